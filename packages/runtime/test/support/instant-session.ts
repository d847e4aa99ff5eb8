// A session of its own kind: whole, with its table and its logs, but its work is done at once, in this process. For tests
// that need many jobs.
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from '../../src/engine/engine.ts'
import { jobHandle, type JobHandle } from '../../src/job-handle.ts'
import type { Ending } from '../../src/job-machine.ts'
import { type RawChunk, singleRecord } from '../../src/record.ts'
import { HostSession, type SessionHome } from '../../src/session.ts'
import { memoryStore } from '../../src/store/memory.ts'
import type { JobFilter, JobSnapshot } from '../../src/surface.ts'
import type { TargetSpec, WorkSpec } from '../../src/wire.ts'

/** What a job says before it ends, and how it ends. Default: one output, then Completed. */
export interface Deed {
  readonly says?: readonly RawChunk[]
  readonly ending?: Ending
}
/** With a promise the job is at work until that settles, or it is stopped; `queued`: it waits for a turn that never comes. */
export type Doing = (spec: ExecutionSpec) => Deed | Promise<Deed> | 'queued'

class InstantEngine implements Engine {
  readonly #doing: Doing

  constructor(doing: Doing) {
    this.#doing = doing
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    let over = false
    const end = (ending: Ending): void => {
      if (!over) io.ended(ending)
      over = true
    }
    const doing = this.#doing(spec)
    const finish = ({ says = [singleRecord('output', 'done')], ending = { outcome: 'completed' } }: Deed): void => {
      if (over) return
      for (const chunk of says) io.chunk(chunk)
      end(ending)
    }
    // As an engine does: nothing comes of it within its start.
    if (doing instanceof Promise) void doing.then(finish)
    else if (doing !== 'queued') queueMicrotask(() => finish(doing))
    const stop = (): void => queueMicrotask(() => end({ outcome: 'stopped' }))
    return { credit: () => undefined, stop, ...(doing === 'queued' && { queued: true }) }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export class InstantSession implements AsyncDisposable {
  readonly host: HostSession

  constructor(doing: Doing = () => ({}), options: { logLimit?: number } = {}) {
    const engine = new InstantEngine(doing)
    const home: SessionHome = {
      id: 'a-peer',
      name: 'here',
      store: memoryStore(options),
      stopGrace: 0,
      temporaryLease: 60_000,
      idleTimeout: 60_000,
      engines: () => ({ runspace: engine, thread: engine, process: engine, machine: engine }),
      target: (target) => ({ engine, location: 'peer' in target ? target.peer : target.session }),
      sessionRef: () => this.host,
      sessionClosed: () => undefined,
    }
    this.host = new HostSession(home, 1, 'temporary', '')
  }

  async start(
    spec: Partial<WorkSpec> = {},
    on?: readonly TargetSpec[],
    options: { throttle?: number } = {},
  ): Promise<JobSnapshot> {
    const whole: WorkSpec = { kind: 'code', source: '1', command: '1', startId: crypto.randomUUID(), ...spec }
    return (await this.host.request({ type: 'start', spec: whole, ...(on && { on }), ...options })) as JobSnapshot
  }

  /** The job as a program holds it. */
  handle(job: JobSnapshot): JobHandle {
    return jobHandle(this.host, job)
  }

  /** So many jobs, one after the other, and until they have ended. */
  async fill(count: number, spec: () => Partial<WorkSpec> = () => ({})): Promise<void> {
    const waiting = this.host.unfinished.length
    for (let n = 0; n < count; n++) await this.start(spec())
    await this.quiet(waiting)
  }

  /** When all but so many have ended, and are rows. */
  async quiet(waiting = 0): Promise<void> {
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
    while (this.host.unfinished.length > waiting) await turn()
    await turn()
  }

  async jobs(filter: JobFilter = {}): Promise<JobSnapshot[]> {
    return (await this.host.request({ type: 'jobs', filter })) as JobSnapshot[]
  }

  async job(which: number | string): Promise<JobSnapshot> {
    return (await this.host.request({ type: 'job', which })) as JobSnapshot
  }

  /** Seqs of the records there are for this reader. */
  async read(job: string, reader = 'owner'): Promise<number[]> {
    const seqs: number[] = []
    for await (const { first, count } of this.host.read(job, { reader }))
      for (let seq = first; seq < first + count; seq++) seqs.push(seq)
    return seqs
  }

  async acknowledge(job: JobSnapshot, seq: number, reader = 'owner'): Promise<JobSnapshot> {
    const of = (job.children[0] ?? job).instanceId
    const event = { type: 'acknowledge' as const, reader, seqs: [[of, seq]] as const }
    return (await this.host.request(event, job.instanceId)) as JobSnapshot
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.host.close()
  }
}
