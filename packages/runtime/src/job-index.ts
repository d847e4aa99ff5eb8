// The jobs of one table, found without looking at all of them: by number, instanceId and name, those at work, and those
// that have ended by when they did.
import { isFinished } from './child-jobs.ts'
import { filterJobs } from './job-filter.ts'
import { JobRow, type TableJob } from './job-row.ts'
import type { JobHost } from './job.ts'
import type { JobFilter } from './surface.ts'

export class JobIndex {
  /** Parents; the order is that of the numbers, for they only grow. */
  readonly #byId = new Map<number, TableJob>()
  /** Children too. */
  readonly #byInstance = new Map<string, TableJob>()
  /** Numbers by name, in small letters; names that follow from the number are not in it. */
  readonly #byName = new Map<string, Set<number>>()
  /** No rows yet, by number. */
  readonly #working = new Map<number, JobHost>()
  /** Numbers as they came, so that the last is at hand; some of them may be gone. */
  #ids: number[] = []
  #firstEnded: JobRow | undefined
  #lastEnded: JobRow | undefined

  /** Children not counted. */
  get size(): number {
    return this.#byId.size
  }
  /** With children. */
  get places(): number {
    return this.#byInstance.size
  }

  all(): Iterable<TableJob> {
    return this.#byId.values()
  }

  /** Those that have not become a row: a moment after their end they have. */
  working(): Iterable<JobHost> {
    return this.#working.values()
  }

  get(instanceId: string): TableJob | undefined {
    return this.#byInstance.get(instanceId)
  }

  add(job: JobHost): void {
    this.#working.set(job.id, job)
    this.#enter(job)
  }

  /** One that had ended before the peer was started; in the order in which they did. */
  restore(row: JobRow): void {
    this.#enter(row)
    this.#chain(row)
  }

  #enter(job: TableJob): void {
    this.#byId.set(job.id, job)
    this.#ids.push(job.id)
    for (const one of [job, ...job.children]) this.#byInstance.set(one.instanceId, one)
    const name = job.name.toLowerCase()
    if (name === numbered(job.id)) return
    const same = this.#byName.get(name)
    if (same) same.add(job.id)
    else this.#byName.set(name, new Set([job.id]))
  }

  /** It has ended: this row and its children's take its place. */
  settle(row: JobRow): void {
    this.#byId.set(row.id, row)
    this.#working.delete(row.id)
    for (const one of [row, ...row.children]) this.#byInstance.set(one.instanceId, one)
    this.#chain(row)
  }

  /** Who has ended, and when: oldest first. */
  *ended(): Iterable<JobRow> {
    let row = this.#firstEnded
    while (row) {
      const { newer }: JobRow = row
      yield row
      row = newer
    }
  }

  delete(job: TableJob): void {
    const present = this.#byId.get(job.id)
    if (present?.instanceId !== job.instanceId) return
    this.#byId.delete(job.id)
    this.#working.delete(job.id)
    for (const one of [present, ...present.children]) this.#byInstance.delete(one.instanceId)
    const name = job.name.toLowerCase()
    const same = this.#byName.get(name)
    if (same?.delete(job.id) && same.size === 0) this.#byName.delete(name)
    if (present instanceof JobRow) this.#unchain(present)
    if (this.#ids.length > 64 + 2 * this.#byId.size) this.#ids = [...this.#byId.keys()]
  }

  /** Candidates for a filter, and certainly all jobs that fit it: as few as can be had without looking at each. */
  fitting(filter: JobFilter): Iterable<TableJob> {
    const { id, name, newest, state } = filter
    if (id !== undefined) return this.#numbers(new Set([id].flat()))
    if (name !== undefined && !/[*?]/.test(name)) return this.#numbers(this.#called(name.trim()))
    if (state !== undefined && ![state].flat().some(isFinished)) return this.working()
    if (newest === undefined) return this.all()
    // Who is at work is newer than who has ended, and no child ends after its parent: so many jobs that fit are enough.
    const { newest: _, ...rest } = filter
    const found = new Set<TableJob>()
    let fit = 0
    let batch: Iterable<TableJob> = this.working()
    let row = this.#lastEnded
    for (let size = newest; ; size *= 2) {
      for (const job of filterJobs<TableJob>(batch, rest)) {
        found.add(job.parent ?? job)
        if (!job.parent) fit++
      }
      if (!row || fit >= newest) return found
      const older: TableJob[] = []
      for (; row && older.length < size; row = row.older) older.push(row)
      batch = older
    }
  }

  /**
   * Candidates for a name that somebody gave, and certainly all jobs that are meant, themselves or by a child. Only what
   * could be the beginning of an instanceId, and is nothing else, is compared with all.
   */
  meant(which: number | string): TableJob[] {
    const text = String(which)
    if (text === '%') return this.#numbers(this.#last())
    const found = new Set<number>()
    const number = /^(\d+)(?:\.\d+)?$/.exec(text)
    if (number) found.add(Number(number[1]))
    const exact = this.#byInstance.get(text)
    if (exact) found.add(exact.id)
    for (const id of this.#called(text)) found.add(id)
    const jobs = this.#numbers(found)
    if (jobs.length > 0 || !/^[\da-f-]{4,}$/.test(text)) return jobs
    const begun: number[] = []
    for (const [instanceId, job] of this.#byInstance) if (instanceId.startsWith(text)) begun.push(job.id)
    return this.#numbers(new Set(begun))
  }

  #numbers(ids: Iterable<number>): TableJob[] {
    const found: TableJob[] = []
    for (const id of ids) {
      const job = this.#byId.get(id)
      if (job) found.push(job)
    }
    return found
  }

  /** Those of this name, and those who may have a child of this name: it is its parent's and its place. */
  #called(text: string): ReadonlySet<number> {
    const parent = /^(.*)\.\d+$/.exec(text)?.[1]
    return new Set([...this.#named(text), ...(parent === undefined ? [] : this.#named(parent))])
  }

  #named(text: string): readonly number[] {
    const name = text.toLowerCase()
    const found = [...(this.#byName.get(name) ?? [])]
    const id = Number(/^job(\d{1,15})$/.exec(name)?.[1])
    if (this.#byId.get(id)?.name.toLowerCase() === name && name === numbered(id)) found.push(id)
    return found
  }

  #last(): number[] {
    while (this.#ids.length > 0 && !this.#byId.has(this.#ids.at(-1)!)) this.#ids.pop()
    return this.#ids.slice(-1)
  }

  #chain(row: JobRow): void {
    row.older = this.#lastEnded
    if (this.#lastEnded) this.#lastEnded.newer = row
    this.#firstEnded ??= row
    this.#lastEnded = row
  }

  #unchain(row: JobRow): void {
    if (row.older) row.older.newer = row.newer
    if (row.newer) row.newer.older = row.older
    if (this.#lastEnded === row) this.#lastEnded = row.older
    if (this.#firstEnded === row) this.#firstEnded = row.newer
    row.older = undefined
    row.newer = undefined
  }
}

/** What a job is called that was given no name, in small letters. */
function numbered(id: number): string {
  return `job${id}`
}
