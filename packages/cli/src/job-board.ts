// The jobs of one or several tables, kept up to date from what happens: those that pass a filter, and no more than so many.
import { filterJobs, type JobFilter, type JobSnapshot, type PeerEvent } from '@errand/runtime/client'
import type { JobRow } from './render/job.ts'

type JobHappening = Extract<PeerEvent, { kind: 'job' }>

export class JobBoard {
  readonly #filter: JobFilter
  /** Named ones only, by instanceId. */
  readonly #named: ReadonlySet<string> | undefined
  readonly #most: number
  /** By whose table: its jobs by instanceId. */
  readonly #tables = new Map<string | undefined, Map<string, JobSnapshot>>()

  /** `filter.newest` or `most` bounds what is held of each table. */
  constructor(filter: JobFilter, most: number, named?: ReadonlySet<string>) {
    this.#filter = filter
    this.#most = Math.min(filter.newest ?? most, most)
    this.#named = named
  }

  /** What to list when it begins. */
  get filter(): JobFilter {
    return { ...this.#filter, newest: this.#most }
  }

  /** What there is in a table now, instead of what was known of it; resolves to those that are new or otherwise than before. */
  begin(at: string | undefined, jobs: readonly JobSnapshot[]): JobSnapshot[] {
    const before = this.#tables.get(at)
    const now = new Map(jobs.filter((job) => this.#isNamed(job)).map((job) => [job.instanceId, job]))
    this.#tables.set(at, now)
    return [...now.values()].filter((job) => !isSame(before?.get(job.instanceId), job))
  }

  /** What is known of other tables is forgotten. */
  keep(tables: ReadonlySet<string | undefined>): void {
    for (const at of [...this.#tables.keys()]) if (!tables.has(at)) this.#tables.delete(at)
  }

  /** Whether that is shown: it passes, or did. */
  take(at: string | undefined, { job, removed }: JobHappening): boolean {
    const table = this.#tables.get(at)
    if (!table) return false
    const was = table.delete(job.instanceId)
    if (removed || !this.#passes(job, table)) return was
    table.set(job.instanceId, job)
    // Now and then: choosing the newest looks at all of them.
    if (table.size > 2 * this.#most)
      this.#tables.set(at, byId(filterJobs<JobSnapshot>(table.values(), { newest: this.#most })))
    return this.#tables.get(at)!.has(job.instanceId)
  }

  /** By number, the newest last; at most `most` of each table. */
  rows(most: number = this.#most): JobRow[] {
    return [...this.#tables].flatMap(([at, table]) =>
      filterJobs<JobSnapshot>(table.values(), { newest: Math.min(most, this.#most) }).map((job) => ({ job, at })),
    )
  }

  #isNamed({ instanceId }: JobSnapshot): boolean {
    return this.#named === undefined || this.#named.has(instanceId)
  }

  #passes(job: JobSnapshot, table: ReadonlyMap<string, JobSnapshot>): boolean {
    if (!this.#isNamed(job)) return false
    const { newest: _, includeChildren, ...filter } = this.#filter
    if (job.position === undefined || this.#named) return filterJobs<JobSnapshot>([job], filter).length > 0
    // A child is listed behind its parent, and is asked only what is asked of all that are listed.
    const { hasMoreData, before, after } = filter
    const listed =
      includeChildren && [...table.values()].some(({ id, position }) => id === job.id && position === undefined)
    const asked = {
      ...(hasMoreData !== undefined && { hasMoreData }),
      ...(before && { before }),
      ...(after && { after }),
    }
    return listed === true && filterJobs<JobSnapshot>([job], asked).length > 0
  }
}

function byId(jobs: readonly JobSnapshot[]): Map<string, JobSnapshot> {
  return new Map(jobs.map((job) => [job.instanceId, job]))
}

/** As far as a table shows it. */
function isSame(one: JobSnapshot | undefined, other: JobSnapshot): boolean {
  return one !== undefined && one.state === other.state && one.hasMoreData === other.hasMoreData
}
