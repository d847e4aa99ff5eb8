// The jobs of one session: those it lists, and the runs it keeps until they have been read.
import { isFinished } from './child-jobs.ts'
import { JobNotFinishedError, JobNotFoundError, UsageError } from './errors.ts'
import { filterJobs, findJob } from './job-filter.ts'
import { mergeReads, readLog } from './job-reading.ts'
import type { JobHost } from './job.ts'
import type { JobReading } from './link.ts'
import { OWNER } from './output-log.ts'
import type { Store } from './store/store.ts'
import type { JobFilter, JobSnapshot } from './surface.ts'
import type { ReadRequest } from './wire.ts'

/** Finished runs kept for a client that has not taken everything; the oldest goes first. */
const RUNS_KEPT = 64
/** Ends of runs remembered. */
const RETIRED_KEPT = 256
/** Jobs in one table; one more is refused. */
const JOBS_MOST = 100_000

export class JobTable {
  readonly #store: Store
  readonly #session: string
  /** For messages: whose table it is. */
  readonly #where: string
  readonly #jobs = new Map<string, JobHost>()
  readonly #runs = new Map<string, JobHost>()
  readonly #started = new Map<string, Promise<JobHost>>()
  /** Runs that are over and read to the end, as they were: whose reader lost its link may ask for that end again. */
  readonly #retired = new Map<string, JobSnapshot>()

  constructor(store: Store, session: string, where: string) {
    this.#store = store
    this.#session = session
    this.#where = where
  }

  /** Listed jobs. */
  get size(): number {
    return this.#jobs.size
  }

  /** @throws UsageError */
  throwIfFull(): void {
    if (this.#jobs.size >= JOBS_MOST) throw new UsageError(`${JOBS_MOST} jobs are there: remove some first`)
  }

  /** Same `startId`: the same job, also while the first start is still under way. */
  once(startId: string, make: () => Promise<JobHost>): Promise<JobHost> {
    const known = this.#started.get(startId)
    if (known) return known
    const starting = make()
    this.#started.set(startId, starting)
    starting.catch(() => this.#started.delete(startId))
    return starting
  }

  /** @throws UsageError when that id is taken */
  throwIfTaken(instanceId: string): void {
    if (this.seek(instanceId) || this.#retired.has(instanceId))
      throw new UsageError('a job with this id is there already')
  }

  /** Without a number it is a run: in no list, and only kept until it has been read. */
  add(host: JobHost): void {
    if (host.id > 0) return void this.#jobs.set(host.instanceId, host)
    this.#runs.set(host.instanceId, host)
    if (this.#runs.size <= RUNS_KEPT) return
    for (const run of this.#runs.values()) {
      if (isFinished(run.state)) return this.forget(run)
    }
  }

  forget(host: JobHost): void {
    this.#jobs.delete(host.instanceId)
    this.#runs.delete(host.instanceId)
    this.#started.delete(host.spec.startId)
    for (const one of [host, ...host.children]) void this.#store.dropLog(logName(this.#session, one))
  }

  jobs(): readonly JobHost[] {
    return [...this.#jobs.values()]
  }

  runs(): readonly JobHost[] {
    return [...this.#runs.values()]
  }

  *hosts(): Iterable<JobHost> {
    yield* this.#jobs.values()
    yield* this.#runs.values()
  }

  list(filter: JobFilter): JobSnapshot[] {
    return filterJobs(this.#snapshots(), filter)
  }

  /** By any of its names. @throws JobNotFoundError, JobAmbiguousError */
  named(which: number | string): JobSnapshot {
    const run = typeof which === 'string' ? this.#runs.get(which) : undefined
    return run?.snapshot() ?? findJob(this.#snapshots(), which, this.#where)
  }

  /** By instanceId, children too. */
  seek(job: string): JobHost | undefined {
    const found = this.#jobs.get(job) ?? this.#runs.get(job)
    if (found) return found
    for (const parent of this.hosts()) {
      const child = parent.children.find((one) => one.instanceId === job)
      if (child) return child
    }
    return undefined
  }

  /** @throws JobNotFoundError */
  find(job: string | undefined): JobHost {
    const found = job === undefined ? undefined : this.seek(job)
    if (!found) throw new JobNotFoundError(job, this.#where)
    return found
  }

  /** The end of a run that has been read and forgotten. */
  retired(job: string | undefined): JobSnapshot | undefined {
    return job === undefined ? undefined : this.#retired.get(job)
  }

  /** @throws JobNotFinishedError unless finished or `force`; UsageError for a child */
  async remove(job: string | undefined, force: boolean, grace: number): Promise<JobSnapshot> {
    const host = this.find(job)
    if (host.parent) throw new UsageError(`${host.name} is a child: remove its parent ${host.id}`)
    if (!isFinished(host.state)) {
      if (!force) throw new JobNotFinishedError(host.id, host.state)
      await host.stop({ grace, reason: 'removed by force' })
    }
    this.forget(host)
    return host.snapshot()
  }

  /** Moves a reader's cursors; answers with the job as it is then. */
  async acknowledge(
    job: string | undefined,
    reader: string,
    seqs: readonly (readonly [string, number])[],
  ): Promise<JobSnapshot> {
    const host = this.find(job)
    for (const [id, seq] of seqs) {
      const one = id === host.instanceId ? host : host.children.find((child) => child.instanceId === id)
      await one?.log?.acknowledge(reader, seq)
      if (reader === OWNER) one?.acknowledged(seq)
    }
    const snapshot = host.snapshot()
    // A run is kept only for who has not taken it all.
    if (this.#runs.has(host.instanceId) && isFinished(snapshot.state) && !snapshot.hasMoreData) {
      this.forget(host)
      this.#retired.set(host.instanceId, snapshot)
      const [oldest] = this.#retired.keys()
      if (this.#retired.size > RETIRED_KEPT && oldest !== undefined) this.#retired.delete(oldest)
    }
    return snapshot
  }

  /** Chunks of a job and its children, then the job as it is after the last. @throws JobNotFoundError, UsageError */
  async *read(job: string, request: ReadRequest, signal?: AbortSignal): JobReading {
    const over = this.#retired.get(job)
    if (over) return over
    const host = this.find(job)
    const { location } = request
    const wanted = (one: JobHost): boolean => location === undefined || same(location, one.location)
    if (host.children.length === 0 || request.recurse === false) {
      if (!wanted(host)) return host.snapshot()
      yield* readLog(host, request, signal)
    } else {
      if (request.from !== undefined && request.from !== 0) {
        throw new UsageError('`from` needs a child: a parent has one sequence per child', {
          hint: 'write 3.1 for the first child of 3',
        })
      }
      yield* mergeReads(host.children.filter(wanted), request, signal)
    }
    // Whoever read to the end learns how it ended: the end of the log comes a moment before the job's.
    if (request.follow && !signal?.aborted) await host.finished
    return host.snapshot()
  }

  #snapshots(): JobSnapshot[] {
    return this.jobs().map((job) => job.snapshot())
  }
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}

/** A run's id is its caller's: only together with its session does it name a log. */
export function logName(session: string, job: JobHost): string {
  return `${session} ${job.instanceId}`
}
