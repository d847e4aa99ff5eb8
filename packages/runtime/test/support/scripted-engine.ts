// An engine that does nothing by itself: the test says what comes of each execution, in any order, also in a wrong one.
// And the jobs it runs, with their logs, without a session around them.
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from '../../src/engine/engine.ts'
import { codeOf, PeerUnreachableError } from '../../src/errors.ts'
import { JobHost, type JobOptions } from '../../src/job.ts'
import type { StopRequest } from '../../src/job-machine.ts'
import { OutputLog } from '../../src/output-log.ts'
import type { Chunk, RawChunk } from '../../src/record.ts'
import type { StoredLog } from '../../src/store/store.ts'
import { memoryStore } from '../../src/store/memory.ts'
import type { Question, SessionSnapshot } from '../../src/surface.ts'

/** What a test wants to happen at once when an execution is asked for something. */
export interface Reactions {
  stop?: (execution: ScriptedExecution, request: StopRequest) => void
  suspend?: (execution: ScriptedExecution) => void
  resume?: (execution: ScriptedExecution) => void
  answer?: (execution: ScriptedExecution, question: string) => void
}

export class ScriptedExecution implements Execution {
  readonly job: string
  readonly io: ExecutionIO
  readonly queued: boolean
  /** What it was asked for, in order; credit apart. */
  readonly calls: string[] = []
  readonly #reactions: Reactions
  /** What `reachable` finds, after as long as the line takes. */
  reach: 'reachable' | 'unreachable' = 'unreachable'
  line: () => Promise<unknown> = () => Promise.resolve()
  #lost = false

  constructor(job: string, io: ExecutionIO, queued: boolean, reactions: Reactions) {
    this.job = job
    this.io = io
    this.queued = queued
    this.#reactions = reactions
  }

  lose(reason: Error): void {
    this.#lost = true
    this.io.lost?.(reason)
  }

  back(): void {
    this.#lost = false
    this.io.back?.()
  }

  credit(): void {}

  stop(request: StopRequest): void {
    this.calls.push('stop')
    this.#reactions.stop?.(this, request)
  }

  input({ count }: RawChunk): void {
    this.calls.push(`input ${count}`)
  }

  endInput(): void {
    this.calls.push('end input')
  }

  answer(question: string): void {
    this.calls.push(`answer ${question}`)
    this.#reactions.answer?.(this, question)
  }

  suspend(): void {
    this.calls.push('suspend')
    this.#reactions.suspend?.(this)
  }

  resume(): void {
    this.calls.push('resume')
    this.#reactions.resume?.(this)
  }

  /** As a session does: those who live in it hear that it is open before whoever asked for it. */
  async reachable(): Promise<void> {
    await this.line()
    if (this.reach === 'unreachable') throw new PeerUnreachableError('server01 does not answer')
    if (this.#lost) this.back()
  }
}

export class ScriptedEngine implements Engine {
  /** In the order in which they were started. */
  readonly executions: ScriptedExecution[] = []
  readonly #queued: (job: string) => boolean
  readonly #reactions: Reactions

  /** `queued`: whether a job has to wait for its turn. */
  constructor(queued: (job: string) => boolean = () => false, reactions: Reactions = {}) {
    this.#queued = queued
    this.#reactions = reactions
  }

  start({ job }: ExecutionSpec, io: ExecutionIO): Execution {
    const execution = new ScriptedExecution(job, io, this.#queued(job), this.#reactions)
    this.executions.push(execution)
    return execution
  }

  of(job: JobHost): ScriptedExecution {
    const found = this.executions.find((one) => one.job === job.instanceId)
    if (!found) throw new Error(`${job.name} was not started`)
    return found
  }

  started(job: JobHost): boolean {
    return this.executions.some((one) => one.job === job.instanceId)
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

const SESSION: SessionSnapshot = Object.freeze({
  id: 0,
  instanceId: '00000000-0000-4000-8000-000000000000',
  name: 'local',
  location: 'here',
  peerId: 'local',
  transport: 'local',
  configurationName: 'errand',
  computerType: 'RemoteMachine',
  state: 'Opened',
  availability: 'Available',
  idleTimeout: 0,
  buffering: 'block',
  jobs: 0,
  epoch: 1,
})

/** A job as a session makes it, with its log; without an engine it is a parent, and has none. */
export function scriptedJob(options: Partial<JobOptions>, stored?: StoredLog, limit = 64 * 1024 * 1024): JobHost {
  const host = new JobHost({
    instanceId: crypto.randomUUID(),
    id: 1,
    name: 'Job1',
    type: 'BackgroundJob',
    location: 'localhost',
    peer: 'local',
    session: () => SESSION,
    spec: { kind: 'code', command: 'scripted', startId: crypto.randomUUID(), input: true },
    stopGrace: 5_000,
    here: 'here',
    ...options,
  })
  if (options.engine) {
    const log = stored ?? (memoryStore().log(host.instanceId) as StoredLog)
    host.attachLog(new OutputLog(log, limit, (bytes) => host.credit(bytes)))
  }
  return host
}

/** A parent and its children, all of one engine, not started yet. */
export function scriptedFamily(
  count: number,
  options: { throttle?: number; queued?: (position: number) => boolean; reactions?: Reactions } = {},
): { parent: JobHost; children: readonly JobHost[]; engine: ScriptedEngine; at: (n: number) => ScriptedExecution } {
  const { throttle, queued, reactions } = options
  const positions = new Map<string, number>()
  const engine = new ScriptedEngine((job) => queued?.(positions.get(job)!) ?? false, reactions)
  const children = Array.from({ length: count }, (_, index) =>
    scriptedJob({
      engine,
      type: 'RemoteJob',
      name: `Job1.${index + 1}`,
      position: index + 1,
      location: `server${index + 1}`,
    }),
  )
  for (const child of children) positions.set(child.instanceId, child.position!)
  const parent = scriptedJob({ type: 'RemoteJob', ...(throttle !== undefined && { throttle }) })
  parent.adopt(children)
  return { parent, children, engine, at: (n) => engine.of(children[n]!) }
}

/** A chunk of so many records, so many of them errors: nobody decodes it. */
export function chunkOf(count: number, errors = 0): RawChunk {
  return { count, errors, bytes: new Uint8Array(8) }
}

export function questionOf(id: string): Question {
  return { id, prompt: `${id}?`, askedAt: new Date() }
}

/** When everything that follows from what was done has happened: nothing here waits for more than promises. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Promises that users wait for, each with what came of it: nothing yet, a value, or an error with this code. */
export class Outcomes {
  readonly all: string[] = []

  follow(act: () => unknown): number {
    const index = this.all.push('pending') - 1
    void (async () => act())().then(
      () => (this.all[index] = 'ok'),
      (error: unknown) => (this.all[index] = codeOf(error) ?? String(error)),
    )
    return index
  }
}

/** A log whose store takes its time: a chunk is accepted when the promise that it is given for it has settled. */
export class SlowLog implements StoredLog {
  readonly #log = memoryStore().log('slow') as StoredLog
  readonly #disk: () => Promise<unknown>
  /** Records that are durable. */
  accepted = 0

  constructor(disk: () => Promise<unknown>) {
    this.#disk = disk
  }

  get start(): number {
    return this.#log.start
  }
  get end(): number {
    return this.#log.end
  }
  begin(first: number, reader: string, from: number): void {
    this.#log.begin(first, reader, from)
  }
  async append(chunk: Chunk): Promise<void> {
    const taken = this.#log.append(chunk)
    await this.#disk()
    await taken
    this.accepted += chunk.count
  }
  read(from: number, maxBytes: number): readonly Chunk[] | Promise<readonly Chunk[]> {
    return this.#log.read(from, maxBytes)
  }
  cursor(reader: string): number {
    return this.#log.cursor(reader)
  }
  setCursor(reader: string, seq: number): void | Promise<void> {
    return this.#log.setCursor(reader, seq)
  }
  bytesFrom(seq: number): number {
    return this.#log.bytesFrom(seq)
  }
  forget(seq: number): void | Promise<void> {
    return this.#log.forget(seq)
  }
}
