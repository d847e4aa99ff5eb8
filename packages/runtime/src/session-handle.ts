// The handle of a session, wherever it is and whoever holds it.
import type { Cancel } from '@errand/transport'
import type { MachineDefinition, Ref, SpawnInput, SpawnOptions } from './actor-surface.ts'
import { milliseconds } from './duration.ts'
import { codeOf } from './errors.ts'
import { eventStream, type EventsAnswer } from './event-feed.ts'
import { jobHandle, startedJob, type JobHandle } from './job-handle.ts'
import { untilAborted } from './output-log.ts'
import { RunHandle } from './run-handle.ts'
import type { SessionRef } from './session-ref.ts'
import { spawnIn, startMachineIn } from './spawn.ts'
import type {
  Args,
  Availability,
  Buffering,
  Completion,
  Duration,
  Job,
  JobFilter,
  JobSnapshot,
  Output,
  PeerEvent,
  PeerId,
  Run,
  Session,
  SessionSnapshot,
  SessionState,
  StartOptions,
  Work,
} from './surface.ts'
import { COMPLETION_TEXT } from './wire.ts'
import { throttleLimit, workSpec } from './work.ts'

export class SessionHandle implements Session {
  readonly computerType = 'RemoteMachine' as const
  readonly #ref: SessionRef
  readonly #prompt: boolean
  #disconnected = false

  /** `prompt`: functions given to it may use the names of an interactive session. */
  constructor(ref: SessionRef, options: { prompt?: boolean } = {}) {
    this.#ref = ref
    this.#prompt = options.prompt === true
  }

  /** Where its events go: for `on`, which borrows the session. */
  get ref(): SessionRef {
    return this.#ref
  }
  get snapshot(): SessionSnapshot {
    return this.#ref.snapshot
  }
  get id(): number {
    return this.snapshot.id
  }
  get instanceId(): string {
    return this.snapshot.instanceId
  }
  get name(): string {
    return this.snapshot.name
  }
  get location(): string {
    return this.snapshot.location
  }
  get peerId(): PeerId {
    return this.snapshot.peerId
  }
  get transport(): string {
    return this.snapshot.transport
  }
  get configurationName(): string {
    return this.snapshot.configurationName
  }
  get state(): SessionState {
    return this.snapshot.state
  }
  get availability(): Availability {
    return this.snapshot.availability
  }

  run<A extends Args, R>(work: Work<A, R>, o: StartOptions<A> = {}): Run<R> {
    return new RunHandle<R>(this.#ref, workSpec(work, o, { prompt: this.#prompt }), {}, o)
  }

  async start<A extends Args, R>(work: Work<A, R>, o: StartOptions<A> = {}): Promise<Job<Output<R>>> {
    const spec = await workSpec(work, o, { prompt: this.#prompt })
    const snapshot = (await this.#ref.request({ type: 'start', spec }, undefined, {
      signal: o.signal,
      watch: true,
    })) as JobSnapshot
    return startedJob<Output<R>>(this.#ref, snapshot, o.input)
  }

  async spawn<D extends MachineDefinition>(machine: D | string, o: SpawnOptions<SpawnInput<D>> = {}): Promise<Ref<D>> {
    return (await spawnIn(this.#ref, machine, o)) as unknown as Ref<D>
  }

  startMachine<D extends MachineDefinition>(machine: D | string, o: SpawnOptions<SpawnInput<D>> = {}): Promise<Job> {
    return startMachineIn(this.#ref, machine, o)
  }

  async jobs(filter: JobFilter & Cancel = {}): Promise<Job[]> {
    const { signal, ...rest } = filter
    const found = (await this.#ref.request({ type: 'jobs', filter: rest }, undefined, { signal })) as JobSnapshot[]
    return found.map((snapshot) => this.#handle(snapshot))
  }

  async job(which: number | string | Job | JobSnapshot, o: Cancel = {}): Promise<Job> {
    const name = typeof which === 'object' ? which.instanceId : which
    return this.#handle((await this.#ref.request({ type: 'job', which: name }, undefined, o)) as JobSnapshot)
  }

  async setThrottle(most: number, o: Cancel = {}): Promise<void> {
    await this.#ref.request({ type: 'throttle', most: throttleLimit(most) }, undefined, o)
  }

  async complete(text: string, o: Cancel = {}): Promise<Completion> {
    const event = { type: 'complete' as const, text: text.slice(-COMPLETION_TEXT) }
    return (await this.#ref.request(event, undefined, o)) as Completion
  }

  async disconnect(o: { idleTimeout?: Duration; buffering?: Buffering } & Cancel = {}): Promise<void> {
    const event = {
      type: 'disconnect' as const,
      ...(o.idleTimeout !== undefined && { idleTimeout: milliseconds(o.idleTimeout) }),
      ...(o.buffering !== undefined && { buffering: o.buffering }),
    }
    await this.#ref.request(event, undefined, o)
    this.#disconnected = true
  }

  async connect(o: { force?: boolean; buffering?: Buffering } & Cancel = {}): Promise<void> {
    const { force, buffering } = o
    const event = { type: 'connect' as const, ...(force && { force }), ...(buffering !== undefined && { buffering }) }
    await this.#ref.request(event, undefined, o)
    this.#disconnected = false
  }

  async receive(o: { name?: string } & Cancel = {}): Promise<Job | undefined> {
    const event = { type: 'receive' as const, ...(o.name !== undefined && { name: o.name }) }
    const snapshot = (await this.#ref.request(event, undefined, o)) as JobSnapshot | undefined
    this.#disconnected = false
    return snapshot && jobHandle(this.#ref.elsewhere(snapshot.session), snapshot)
  }

  async close(o: { grace?: Duration } & Cancel = {}): Promise<void> {
    const event = { type: 'close' as const, ...(o.grace !== undefined && { grace: milliseconds(o.grace) }) }
    await this.#ref.request(event, undefined, o)
  }

  async *watch(o: Cancel = {}): AsyncGenerator<SessionSnapshot> {
    let changed = Promise.withResolvers<void>()
    const stop = this.#ref.watchSession(() => changed.resolve())
    try {
      for (;;) {
        const snapshot = this.snapshot
        yield snapshot
        if (snapshot.state === 'Closed' || snapshot.state === 'Broken') return
        if (snapshot === this.snapshot) await untilAborted(changed.promise, o.signal)
        changed = Promise.withResolvers<void>()
        if (o.signal?.aborted) return
      }
    } finally {
      stop()
    }
  }

  events(o: Cancel = {}): AsyncGenerator<PeerEvent> {
    const ask = async (cursor: string | undefined): Promise<EventsAnswer> => {
      const event = { type: 'events' as const, ...(cursor !== undefined && { cursor }) }
      return (await this.#ref.request(event, undefined, o)) as EventsAnswer
    }
    return eventStream(ask, o.signal)
  }

  /** Closes it, unless it was disconnected: that was said to be gone on with. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disconnected || ['Disconnected', 'Closed', 'Broken'].includes(this.state)) return
    try {
      await this.close()
    } catch (error) {
      // Over there it ends by its idle timeout: no reason to fail whoever is leaving. `close()` itself says it.
      if (codeOf(error) !== 'PEER_UNREACHABLE') throw error
    }
  }

  [Symbol.for('errand.snapshot')](): SessionSnapshot {
    return this.snapshot
  }
  [Symbol.for('nodejs.util.inspect.custom')](): SessionSnapshot {
    return this.snapshot
  }

  #handle<O = unknown>(snapshot: JobSnapshot): JobHandle<O> {
    return jobHandle<O>(this.#ref, snapshot)
  }
}

Object.defineProperty(SessionHandle, 'name', { value: 'Session' })
