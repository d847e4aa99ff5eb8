// The jobs of one session: those it lists, and the runs it keeps until they have been read.
//
// A listed job that has ended becomes a row (job-row.ts): its actor, its execution and what it was given are let go of.
import { isFinished } from './child-jobs.ts'
import { JobNotFinishedError, JobNotFoundError, LimitError, UsageError } from './errors.ts'
import { filterJobs, findJob } from './job-filter.ts'
import { JobIndex } from './job-index.ts'
import { itemsOf, mergeReads, readLog } from './job-reading.ts'
import { JobRow, type RowHome, type TableJob } from './job-row.ts'
import type { JobHost } from './job.ts'
import { keptText } from './kept-text.ts'
import type { JobReading } from './link.ts'
import { untilAborted } from './output-log.ts'
import type { Store } from './store/store.ts'
import type { ItemSnapshot, JobFilter, JobSnapshot } from './surface.ts'
import type { ReadRequest } from './wire.ts'

/** Finished runs kept for a client that has not taken everything; the oldest goes first. */
const RUNS_KEPT = 64
/** Ends of runs remembered. */
const RETIRED_KEPT = 256
/** Jobs and their children in one table; more are refused. Ended ones take up to 2 KiB each beside what they said. */
export const JOBS_MOST = 200_000

/** Where a table's jobs are kept. */
export interface TableKeeping {
  /** Where their logs are. */
  storeOf(job: TableJob): Store
  /** Deletes what is written of it and its children; undefined where nothing is. */
  forget?(job: TableJob): Promise<unknown> | undefined
  /** One more has ended. */
  settled?(): void
}

/** What there is to tell of a listed job: `read` is of one that has ended. */
export type JobNews = 'added' | 'changed' | 'read' | 'removed'

export class JobTable {
  readonly #keeping: TableKeeping
  readonly #home: RowHome
  /** For messages: whose table it is. */
  readonly #where: string
  readonly #listed = new JobIndex()
  readonly #runs = new Map<string, JobHost>()
  /** Of runs on other peers: aborts with what whoever reads them is to be told. */
  readonly #waited = new Map<string, AbortController>()
  /** What was started by which id: under way, or the job's instanceId for as long as it is there. */
  readonly #started = new Map<string, Promise<JobHost> | string>()
  /** Runs that are over and read to the end, as they were: whose reader lost its link may ask for that end again. */
  readonly #retired = new Map<string, JobSnapshot>()
  /** Texts of commands that rows share, and by how many. */
  readonly #commands = new Map<string, { readonly text: string; rows: number }>()

  readonly #followers = new Set<(job: TableJob, what: JobNews) => void>()

  /** Places of jobs that are being written down, and are not here yet. */
  coming = 0

  constructor(keeping: TableKeeping, home: RowHome, where: string) {
    this.#keeping = keeping
    this.#home = home
    this.#where = where
  }

  /** Tells of all that changes in listed jobs and their children, until the returned function is called. */
  follow(listener: (job: TableJob, what: JobNews) => void): () => void {
    this.#followers.add(listener)
    if (this.#followers.size === 1) for (const job of this.#listed.working()) this.#listenTo(job, true)
    return () => {
      this.#followers.delete(listener)
      if (this.#followers.size === 0) for (const job of this.#listed.working()) this.#listenTo(job, false)
    }
  }

  #listenTo(job: JobHost, listens: boolean): void {
    for (const one of [job, ...job.children]) {
      one.onNews = listens ? () => this.#tell(one, 'changed') : undefined
    }
  }

  #tell(job: TableJob, what: JobNews): void {
    for (const follower of this.#followers) follower(job, what)
  }

  /** Listed jobs. */
  get size(): number {
    return this.#listed.size
  }

  /** Room for a job and so many children. @throws LimitError */
  throwIfFull(children: number): void {
    if (this.#listed.places + this.coming + 1 + children <= JOBS_MOST) return
    throw new LimitError(`${JOBS_MOST} jobs, children counted, is all there can be on ${this.#where}`, {
      hint: 'remove those that are finished: `errand remove`',
    })
  }

  /** Same `startId`: the same job, also while the first start is still under way. */
  once(startId: string, make: () => Promise<JobHost>): Promise<TableJob> {
    const known = this.#started.get(startId)
    if (typeof known === 'string') return Promise.resolve(this.find(known))
    if (known) return known
    const starting = make()
    this.#started.set(startId, starting)
    starting.then(
      ({ instanceId }) => {
        if (this.#started.get(startId) !== starting) return
        // Removed while it was being started: nothing is left to be found again.
        if (this.seek(instanceId)) this.#started.set(startId, instanceId)
        else this.#started.delete(startId)
      },
      () => this.#started.get(startId) === starting && this.#started.delete(startId),
    )
    return starting
  }

  /** @throws UsageError when that id is taken */
  throwIfTaken(instanceId: string): void {
    if (this.seek(instanceId) || this.#retired.has(instanceId))
      throw new UsageError('a job with this id is there already')
  }

  /** Without a number it is a run: in no list, and only kept until it has been read. */
  add(host: JobHost): void {
    if (host.id > 0) {
      this.#listed.add(host)
      if (this.#followers.size > 0) {
        this.#listenTo(host, true)
        for (const one of [host, ...host.children]) this.#tell(one, 'added')
      }
      void host.finished.then(() => this.#settle(host))
      return
    }
    this.#runs.set(host.instanceId, host)
    if (this.#runs.size <= RUNS_KEPT) return
    for (const run of this.#runs.values()) {
      if (isFinished(run.state)) return void this.forget(run)
    }
  }

  /** One that had ended before the peer was started; in the order in which they did. */
  restore(row: JobRow): void {
    this.#listed.restore(row)
    this.#started.set(row.startId, row.instanceId)
  }

  /** One that had not; or a run that somebody may still want to read. */
  restoreHost(host: JobHost): void {
    this.add(host)
    this.#started.set(host.startId, host.instanceId)
  }

  /** The text, kept once for all rows that have it. */
  share(text: string): string {
    return this.#share(text)
  }

  /** Who has ended, oldest first. */
  ended(): Iterable<JobRow> {
    return this.#listed.ended()
  }

  /** A run gets a number, and is a job like any other; who waits for it is told why it need not. */
  enlist(run: JobHost, id: number, lost: Error): void {
    if (!this.#runs.delete(run.instanceId)) return
    run.enlist(id)
    this.add(run)
    this.#waited.get(run.instanceId)?.abort(lost)
    this.#waited.delete(run.instanceId)
  }

  /** Settles when it will not come back either. */
  forget(job: TableJob): Promise<unknown> | undefined {
    this.#waited.delete(job.instanceId)
    // Whoever asks may hold the job as it was before it became a row.
    const present = this.#listed.get(job.instanceId)
    if (present instanceof JobRow) for (const one of [present, ...present.children]) this.#unshare(one.command)
    if (present) {
      this.#listed.delete(present)
      if (this.#followers.size > 0) for (const one of [...present.children, present]) this.#tell(one, 'removed')
    }
    const there = this.#runs.delete(job.instanceId) || present !== undefined
    this.#started.delete(job.startId)
    for (const one of [job, ...job.children]) this.#dropLog(one)
    if (!there) return undefined
    const forgotten = this.#keeping.forget?.(job)
    // Most callers do not wait; of a store that is gone nothing can be deleted.
    forgotten?.catch(() => undefined)
    return forgotten
  }

  #dropLog(job: TableJob): void {
    void this.#keeping.storeOf(job).dropLog(logName(this.#home.session, job))
  }

  runs(): readonly JobHost[] {
    return [...this.#runs.values()]
  }

  /** Jobs and runs. */
  *all(): Iterable<TableJob> {
    yield* this.#listed.all()
    yield* this.#runs.values()
  }

  /** Jobs whose changes are told: those that have ended are among them until they are written down. */
  working(): Iterable<JobHost> {
    return this.#listed.working()
  }

  /** Jobs and runs that have not ended. */
  *unfinished(): Iterable<JobHost> {
    for (const job of this.#listed.working()) if (!isFinished(job.state)) yield job
    for (const run of this.#runs.values()) if (!isFinished(run.state)) yield run
  }

  /** @throws UsageError */
  list(filter: JobFilter): JobSnapshot[] {
    // A filter that is none is refused before it says where to look.
    filterJobs<TableJob>([], filter)
    return filterJobs<TableJob>(this.#listed.fitting(filter), filter).map((job) => job.snapshot())
  }

  /** By any of its names. @throws JobNotFoundError, JobAmbiguousError */
  named(which: number | string): TableJob {
    const run = typeof which === 'string' ? this.#runs.get(which) : undefined
    return run ?? findJob<TableJob>(this.#listed.meant(which), which, this.#where)
  }

  /** By instanceId, children too. */
  seek(job: string): TableJob | undefined {
    const found = this.#listed.get(job) ?? this.#runs.get(job)
    if (found) return found
    // There are few runs, and fewer on several peers.
    for (const run of this.#runs.values()) {
      for (const child of run.children) if (child.instanceId === job) return child
    }
    return undefined
  }

  /** @throws JobNotFoundError */
  find(job: string | undefined): TableJob {
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
    const found = this.find(job)
    if (found.position !== undefined) throw new UsageError(`${found.name} is a child: remove its parent ${found.id}`)
    if (!isFinished(found.state)) {
      if (!force) {
        throw new JobNotFinishedError(`job ${found.id} is ${found.state}, not finished`, {
          hint: 'stop it first, or remove it with force',
        })
      }
      await found.stop({ grace, reason: 'removed by force' })
    }
    await this.forget(found)
    return found.snapshot()
  }

  /** Moves a reader's cursors; answers with the job as it is then. */
  async acknowledge(
    job: string | undefined,
    reader: string,
    seqs: readonly (readonly [string, number])[],
  ): Promise<JobSnapshot> {
    const found = this.find(job)
    for (const [id, seq] of seqs) {
      if (id === found.instanceId) {
        await this.#now(found).acknowledge(reader, seq)
        continue
      }
      // Of a parent, its children's; of nobody else's.
      const one = this.seek(id)
      if (one?.position !== undefined && found.children[one.position - 1]?.instanceId === id)
        await one.acknowledge(reader, seq)
    }
    const snapshot = this.#now(found).snapshot()
    if (this.#followers.size > 0 && found.id > 0 && isFinished(snapshot.state)) this.#tellRead(this.#now(found))
    this.#retire(snapshot)
    return snapshot
  }

  /** One that has ended tells nobody that it was read to its end. */
  #tellRead(job: TableJob): void {
    if (job.hasMoreData) return
    this.#tell(job, 'read')
    if (job.parent && !job.parent.hasMoreData) this.#tell(job.parent, 'read')
  }

  /** A run is kept only for who has not taken it all. */
  #retire(snapshot: JobSnapshot): void {
    const run = this.#runs.get(snapshot.instanceId)
    if (!run || !isFinished(snapshot.state) || snapshot.hasMoreData) return
    void this.forget(run)
    this.#retired.set(run.instanceId, snapshot)
    const [oldest] = this.#retired.keys()
    if (this.#retired.size > RETIRED_KEPT && oldest !== undefined) this.#retired.delete(oldest)
  }

  /** Of a map: the items that failed. @throws JobNotFoundError, JobStateError */
  items(job: string | undefined, from: number, limit: number): Promise<readonly ItemSnapshot[]> {
    return itemsOf(this.find(job), from, limit)
  }

  /**
   * Chunks of a job and its children, then the job as it is after the last.
   * @throws JobNotFoundError, UsageError; PeerLostError: a run that was lost meanwhile
   */
  async *read(job: string, request: ReadRequest, signal?: AbortSignal): JobReading {
    const over = this.#retired.get(job)
    if (over) return over
    const found = this.find(job)
    // Their ends are told behind what they said: that is to be known first.
    for (const one of [found, ...found.children]) if (one instanceof JobRow && !one.log) await one.ready
    const { location } = request
    const lost = found.children.length > 0 && this.#runs.has(job) ? this.#lossOf(job) : undefined
    const either = lost && signal ? AbortSignal.any([signal, lost]) : (lost ?? signal)
    const wanted = (one: TableJob): boolean => location === undefined || same(location, one.location)
    if (found.children.length === 0 || request.recurse === false) {
      if (!wanted(found)) return found.snapshot()
      yield* readLog(found, request, signal)
    } else {
      if (request.from !== undefined && request.from !== 0) {
        throw new UsageError('`from` needs a child: a parent has one sequence per child', {
          hint: 'write 3.1 for the first child of 3',
        })
      }
      const there = found.children.filter(wanted)
      yield* mergeReads(there, request, either)
      if (!signal?.aborted) lost?.throwIfAborted()
      // Who asked for one place does not wait for the others.
      if (location !== undefined) return this.#now(found).snapshot()
    }
    // Whoever read to the end learns how it ended: the end of the log comes a moment before the job's.
    if (request.follow) await untilAborted(found.finished, either)
    if (!signal?.aborted) lost?.throwIfAborted()
    const last = this.#now(found).snapshot()
    // One that said nothing has nothing to be acknowledged: that its reader was told of its end is all.
    if (request.follow && !signal?.aborted) this.#retire(last)
    return last
  }

  #lossOf(run: string): AbortSignal {
    let loss = this.#waited.get(run)
    if (!loss) this.#waited.set(run, (loss = new AbortController()))
    return loss.signal
  }

  /** The same job: meanwhile it may have become a row. */
  #now(job: TableJob): TableJob {
    return this.seek(job.instanceId) ?? job
  }

  /** Ended, and told to everybody: a row from now on. */
  #settle(host: JobHost): void {
    // Not ended: it goes on elsewhere while its table ends. Not there: removed meanwhile.
    if (!isFinished(host.state) || this.#listed.get(host.instanceId) !== host) return
    for (const one of [host, ...host.children]) {
      if (one.log?.end === 0) this.#dropLog(one)
      else one.log?.stored.pack?.()
    }
    this.#listed.settle(host.row(this.#home, (text) => this.#share(text)))
    this.#keeping.settled?.()
  }

  /** The same text, kept once. */
  #share(text: string): string {
    const known = this.#commands.get(text)
    if (known) known.rows++
    else this.#commands.set(text, { text, rows: 1 })
    return known?.text ?? text
  }

  #unshare(text: string): void {
    const known = this.#commands.get(text)
    if (known && --known.rows === 0) this.#commands.delete(text)
  }
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}

/** A run's id is its caller's: only together with its session does it name a log. */
export function logName(session: string, job: Pick<TableJob, 'instanceId'>): string {
  return keptText(`${session} ${job.instanceId}`)
}
