// What is kept of a session's jobs: where their logs are, which rows are written, and when a run becomes worth both.
//
// A job is written down when it is listed. A run needs to outlive nothing, until its session is lost under it: its caller
// may come back to what it has said. Temporary sessions have no rows, and what they own ends with them.
import { RemoteEngine } from './engine/remote.ts'
import { JobEntry, type EntryPlan } from './job-entry.ts'
import type { StoredFamily } from './job-revival.ts'
import type { JobHost, JobOptions } from './job.ts'
import type { JobRow, RowHome, TableJob } from './job-row.ts'
import { logName, type TableKeeping } from './job-table.ts'
import type { OpenJob, StoredJob } from './stored-job.ts'
import type { Store, StoredRows } from './store/store.ts'
import type { PeerId } from './surface.ts'

/** Connections a fan-out opens at once (PowerShell's default ThrottleLimit). */
export const THROTTLE = 32

export type Again = Pick<JobOptions, 'retry' | 'restart'>

/** What only a child has: a row is written without what it has not. */
function childOf(parent: string | undefined, position: number | undefined): Pick<StoredJob, 'parent' | 'position'> {
  return parent === undefined ? {} : { parent, position }
}

/** What is known of a run that may be left, beside itself. */
export interface LeftHow {
  readonly lostAfter: number | undefined
  readonly again: Again
  /** It had been written down before, under this number. */
  readonly id?: number
}

export interface KeepingHome {
  /** instanceId of the session. */
  readonly session: string
  readonly store: Store
  /** For logs that need not outlive the peer; none: the store's does not either. */
  readonly memory: Store | undefined
  /** None: nothing of it outlives the peer. */
  readonly rows: StoredRows | undefined
  peer(): PeerId
  seek(job: string): TableJob | undefined
  /** A job's rows go: what else is written in that turn. */
  gone(job: TableJob): Promise<unknown> | undefined
}

type Head = Pick<JobOptions, 'instanceId' | 'id' | 'name' | 'type' | 'location' | 'position'>

export class JobKeeping {
  readonly rowHome: RowHome
  readonly #home: KeepingHome
  readonly #rows: StoredRows | undefined
  /** Runs, and their children, that are written down as jobs are. */
  readonly #runs = new Set<string>()
  /** Such that could not be, though they are jobs since: their logs are where runs have theirs, and they end with us. */
  readonly #unkept = new Set<string>()

  constructor(home: KeepingHome) {
    this.#home = home
    this.#rows = home.rows
    const { session, store } = home
    this.rowHome = {
      get peer() {
        return home.peer()
      },
      session,
      ...(home.rows && {
        onRead: (row: JobRow) => this.#writeRead(row),
        openLog: async (job: string) => store.log(logName(session, { instanceId: job })),
      }),
    }
  }

  /** What its table asks for. */
  keeps(settled: () => void): TableKeeping {
    return {
      storeOf: (job) => this.storeOf(job),
      ...(this.#rows && { forget: (job: TableJob) => this.forget(job) }),
      settled,
    }
  }

  storeOf({ id, instanceId }: Pick<TableJob, 'id' | 'instanceId'>): Store {
    const { store, memory = store } = this.#home
    if (!this.#rows || this.#unkept.has(instanceId)) return memory
    return id > 0 || this.#runs.has(instanceId) ? store : memory
  }

  /** Whether it is written down. */
  has({ id, instanceId }: Pick<TableJob, 'id' | 'instanceId'>): boolean {
    return this.#rows !== undefined && !this.#unkept.has(instanceId) && (id > 0 || this.#runs.has(instanceId))
  }

  /** A run that was found written down, with its children. */
  restored({ job, children }: StoredFamily): void {
    for (const { instanceId } of [job, ...children]) this.#runs.add(instanceId)
  }

  /** Of what is to be written down; undefined where nothing is. `queued`: it may have to wait for its turn. */
  entry(head: Head, parent: string | undefined, plan: EntryPlan, queued = false): JobEntry | undefined {
    if (!this.#rows) return undefined
    const { session } = this.#home
    const { instanceId, id, name, type, location, position } = head
    const { startId, command } = plan.spec
    const launches = plan.delay === undefined && plan.after === undefined && parent === undefined && !queued
    return new JobEntry(
      this.#rows,
      logName(session, head),
      { session, id, instanceId, startId, name, command, location, type, ...childOf(parent, position) },
      plan,
      { launches },
    )
  }

  /** Of what was written down, and goes on. */
  again(job: StoredJob, open: OpenJob): JobEntry {
    const { session, id, instanceId, startId, name, command, location, type, parent, position } = job
    const head = { session, id, instanceId, startId, name, command, location, type, ...childOf(parent, position) }
    return new JobEntry(this.#rows!, logName(this.#home.session, job), head, open, open)
  }

  /** Deletes what is written of it and its children; undefined where nothing is. */
  forget(job: TableJob): Promise<unknown> | undefined {
    const kept = this.has(job)
    const family = [job, ...job.children]
    for (const { instanceId } of family) {
      this.#runs.delete(instanceId)
      this.#unkept.delete(instanceId)
    }
    if (!kept) return undefined
    const deleted = family.map((one) => this.#rows!.delete('job', logName(this.#home.session, one)))
    return Promise.all([...deleted, this.#home.gone(job)])
  }

  /** Known without its log from now on. */
  #writeRead(row: JobRow): void {
    if (this.#home.seek(row.instanceId) !== row || !this.has(row)) return
    // Not written: it shows more than there is until it is read again.
    void this.#rows!.put('job', logName(this.#home.session, row), row.stored()).catch(() => undefined)
  }

  // ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What they say from now on, and have said, outlives us. */
  async keepRuns(runs: readonly JobHost[]): Promise<void> {
    if (this.#rows) await Promise.allSettled(runs.map((run) => this.#keepRun(run)))
  }

  async #keepRun(run: JobHost): Promise<void> {
    const { log, spec } = run
    // What works for a map has nothing to say to anybody else.
    if (this.has(run) || !log || run.children.length > 0 || spec.map) return
    await this.#keepLog(run)
    await run.keep(this.entry(run.head, undefined, { spec })!)
    // Read to its end meanwhile.
    if (this.#home.seek(run.instanceId) !== run) await this.forget(run)
  }

  /** A run over sessions elsewhere that will be job `id`. In one turn: all of it, or nothing. @throws StoreError */
  async keepLost(run: JobHost, id: number, { lostAfter, again }: LeftHow): Promise<void> {
    for (const one of [run, ...run.children]) await this.#keepLog(one)
    const name = run.spec.name ?? `Job${id}`
    const own = this.entry({ ...run.head, id, name }, undefined, { spec: run.spec, throttle: THROTTLE })!
    const written = run.children.map((child) => {
      const { head, engine } = child
      const session = engine instanceof RemoteEngine ? engine.session : undefined
      const target = session && { session: session.instanceId }
      const plan = { spec: { ...child.spec, ...again }, target, lostAfter }
      return child.keep(this.entry({ ...head, id, name: `${name}.${head.position}` }, run.instanceId, plan)!)
    })
    await Promise.all([run.keep(own), ...written])
  }

  /** It is a job now. What could not be kept of it stays where runs are. */
  enlisted(run: JobHost): void {
    for (const { instanceId } of [run, ...run.children]) if (!this.#runs.has(instanceId)) this.#unkept.add(instanceId)
  }

  async #keepLog({ instanceId, log }: JobHost): Promise<void> {
    if (log) {
      const { session, store, memory } = this.#home
      const name = logName(session, { instanceId })
      await log.moveTo(await store.log(name))
      await memory?.dropLog(name)
    }
    this.#runs.add(instanceId)
  }
}
