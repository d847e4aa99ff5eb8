// The handle of a job, wherever it is: reads its records, follows its state, sends it events.
import { encode, type Cancel } from '@errand/transport'
import { ActorHandle } from './actor-handle.ts'
import type { ActorInspection, ActorTransition, Outcome, PublicEvent } from './actor-surface.ts'
import { Alarm } from './alarm.ts'
import { isFinished } from './child-jobs.ts'
import { milliseconds } from './duration.ts'
import { codeOf, JobFailedError, LimitError, TimeoutError, UsageError } from './errors.ts'
import { feed, InputOutlet, type JobSource } from './input-outlet.ts'
import { checkStates } from './job-filter.ts'
import { readRequest } from './job-reading.ts'
import { jobStream } from './job-stream.ts'
import { untilAborted } from './output-log.ts'
import type { SessionRef } from './session-ref.ts'
import type {
  Duration,
  ItemSnapshot,
  Job,
  JobEvent,
  JobRecord,
  JobSnapshot,
  JobState,
  JobType,
  PeerId,
  Question,
  ReceiveOptions,
  StartOptions,
} from './surface.ts'
import { ITEMS_MOST, type SessionEvent } from './wire.ts'
import { mapThrottleLimit, throttleLimit } from './work.ts'

/** One handle per job and ref, so that who takes up a job gets the object it had. */
const handles = new WeakMap<SessionRef, Map<string, WeakRef<JobHandle>>>()
/** A handle that nobody holds any more leaves no entry behind. */
const collected = new FinalizationRegistry<{ known: Map<string, WeakRef<JobHandle>>; key: string }>(
  ({ known, key }) => {
    if (known.get(key)?.deref() === undefined) known.delete(key)
  },
)

/** The handle of a job that `ref` owns. */
export function jobHandle<O>(ref: SessionRef, snapshot: JobSnapshot, parent?: JobHandle): JobHandle<O> {
  let known = handles.get(ref)
  if (!known) handles.set(ref, (known = new Map()))
  const { instanceId } = snapshot
  const there = known.get(instanceId)?.deref()
  if (there) {
    there.update(snapshot)
    return there as JobHandle<O>
  }
  const mother = parent ? undefined : parentOf(known, snapshot)
  if (mother) {
    const child = mother.children.find((one) => one.instanceId === instanceId)
    if (child) return child as JobHandle<O> // its parent was told of it too
  }
  const handle = new JobHandle<O>(ref, snapshot, parent)
  const keys = snapshot.children.length > 0 && snapshot.id > 0 ? [instanceId, `#${snapshot.id}`] : [instanceId]
  for (const key of keys) {
    known.set(key, new WeakRef(handle as JobHandle))
    collected.register(handle, { known, key })
  }
  return handle
}

/** A child that is listed by itself belongs to the parent that was listed before it. */
function parentOf(known: Map<string, WeakRef<JobHandle>>, { parentId }: JobSnapshot): JobHandle | undefined {
  return parentId ? known.get(`#${parentId}`)?.deref() : undefined
}

/** A job that has just been started, with the input it was started with on its way. */
export function startedJob<O>(ref: SessionRef, snapshot: JobSnapshot, input: StartOptions['input']): JobHandle<O> {
  const handle = jobHandle<O>(ref, snapshot)
  if (input !== undefined) void feed(handle.outlet, input, sourceOf(input), handle.finished)
  return handle
}

/** Where it is a job: its records, and where they are. */
export function sourceOf(input: unknown): JobSource | undefined {
  return input instanceof JobHandle ? input.source : undefined
}

export class JobHandle<O = unknown> implements Job<O> {
  readonly #ref: SessionRef
  readonly #parent: JobHandle | undefined
  #snapshot: JobSnapshot
  #children: readonly Job<O>[] | undefined
  #stopWatching: (() => void) | undefined
  /** Who waits for news of it: of the many that are only started, nobody. */
  #watchers: Set<() => void> | undefined
  #finished: PromiseWithResolvers<JobSnapshot> | undefined
  #outlet: InputOutlet | undefined
  /** No more news can come: its session or the link to it has ended. */
  #lost: Error | undefined
  #given: Map<string, Map<string, number>> | undefined

  constructor(ref: SessionRef, snapshot: JobSnapshot, parent?: JobHandle) {
    this.#ref = ref
    this.#parent = parent
    this.#snapshot = snapshot
    if (!parent) this.#listen()
  }

  get id(): number {
    return this.#snapshot.id
  }
  get instanceId(): string {
    return this.#snapshot.instanceId
  }
  get name(): string {
    return this.#snapshot.name
  }
  get command(): string {
    return this.#snapshot.command
  }
  get location(): string {
    return this.#snapshot.location
  }
  get peer(): PeerId {
    return this.#snapshot.peer
  }
  get type(): JobType {
    return this.#snapshot.type
  }
  get state(): JobState {
    return this.#snapshot.state
  }
  get hasMoreData(): boolean {
    return this.#snapshot.hasMoreData
  }
  get reason(): Error | undefined {
    return this.#snapshot.reason
  }
  get exitCode(): number | undefined {
    return this.#snapshot.exitCode
  }
  get begunAt(): Date | undefined {
    return this.#snapshot.begunAt
  }
  get endedAt(): Date | undefined {
    return this.#snapshot.endedAt
  }
  get question(): Question | undefined {
    return this.#snapshot.question
  }
  get errorCount(): number {
    return this.#snapshot.errorCount
  }
  get snapshot(): JobSnapshot {
    return this.#snapshot
  }
  get parent(): Job<O> | undefined {
    return this.#parent as Job<O> | undefined
  }
  get children(): readonly Job<O>[] {
    return (this.#children ??= this.#snapshot.children.map((child) =>
      jobHandle<O>(this.#ref, child, this as JobHandle),
    ))
  }

  get finished(): Promise<JobSnapshot> {
    if (!this.#finished) {
      this.#finished = Promise.withResolvers()
      this.#listen()
      if (isFinished(this.state) || this.#gone) this.#finished.resolve(this.#snapshot)
    }
    return this.#finished.promise
  }

  /** Newer news of this job, from its watch or an answer. A finished job changes only in what is left to read. */
  update(next: JobSnapshot): void {
    if (isFinished(this.#snapshot.state) && !isFinished(next.state)) return
    this.#snapshot = next
    if (next.children.length > 0) {
      for (const [index, child] of this.children.entries()) {
        const news = next.children[index]
        if (news) (child as JobHandle).update(news)
      }
    }
    for (const wake of [...(this.#watchers ?? [])]) wake()
    if (!isFinished(next.state)) return
    this.#stopWatching?.()
    this.#stopWatching = undefined
    this.#finished?.resolve(next)
  }

  [Symbol.asyncIterator](): AsyncIterator<JobRecord<O>> {
    return this.receive({ follow: true })[Symbol.asyncIterator]()
  }

  receive(o: ReceiveOptions & { writeEvents: true }): AsyncGenerator<JobRecord<O> | JobEvent>
  receive(o?: ReceiveOptions): AsyncGenerator<JobRecord<O>>
  receive(o: ReceiveOptions = {}): AsyncGenerator<JobRecord<O> | JobEvent> {
    return jobStream<O>(this.#ref, this.instanceId, o, {
      given: (reader) => this.#givenTo(reader),
      onNews: (snapshot) => this.update(snapshot),
      checkRemovable: () => this.#throwIfChild(),
      remove: () => this.#removeOver(o.signal),
    })
  }

  async output(o: Cancel = {}): Promise<O[]> {
    const values: O[] = []
    const errors: Error[] = []
    let dropped = 0
    o.signal?.throwIfAborted()
    for await (const record of this.#fromStart(o)) {
      if (record.kind === 'output') values.push(record.value)
      else if (record.kind === 'error') errors.push(record.error)
      else if (record.kind === 'gap') dropped += record.dropped
    }
    // A reading that is broken off ends as one that is over.
    o.signal?.throwIfAborted()
    const { state, reason } = await this.wait(o)
    if (state === 'Completed') {
      if (dropped === 0) return values
      throw new LimitError(
        `${dropped} records of job ${this.#label()} are kept no more: this is not all of its output`,
        {
          hint: 'receive them while it runs; `receive({ from: 0 })` gives what is left',
        },
      )
    }
    if (reason && !errors.some((error) => error.message === reason.message && codeOf(error) === codeOf(reason)))
      errors.push(reason)
    const message = `job ${this.#label()} ${state === 'Stopped' ? 'was stopped' : `failed: ${reason?.message ?? errors[0]?.message ?? 'see its errors'}`}`
    throw new JobFailedError(message, errors, this.#snapshot)
  }

  async save(path: string, o: ReceiveOptions & { format?: 'text' | 'ndjson' } = {}): Promise<void> {
    const read = readRequest(o)
    if (o.writeEvents) throw new UsageError('`writeEvents` is for a stream: a file has records only')
    if (o.tail !== undefined) throw new UsageError('`tail` is for a stream: a file begins at the cursor, or `from`')
    if (o.remove) {
      this.#throwIfChild()
      if (o.limit !== undefined) throw new UsageError('`remove` needs all of the job: no `limit`')
    }
    const event: SessionEvent = {
      type: 'save',
      path,
      read,
      ...(o.format && { format: o.format }),
      ...(o.kinds && { kinds: o.kinds }),
      ...((o.keep || o.from !== undefined) && { keep: true }),
      ...(o.limit !== undefined && Number.isFinite(o.limit) && { limit: o.limit }),
    }
    const last = (await this.#ref.request(event, this.instanceId, o)) as JobSnapshot
    this.update(last)
    if (o.remove && isFinished(last.state)) await this.#removeOver(o.signal)
  }

  async *watch(o: Cancel = {}): AsyncGenerator<JobSnapshot> {
    this.#listen()
    for (;;) {
      const changed = Promise.withResolvers<void>()
      const wake = (): void => changed.resolve()
      ;(this.#watchers ??= new Set()).add(wake)
      try {
        const snapshot = this.#snapshot
        yield snapshot
        if (isFinished(this.#snapshot.state) && snapshot === this.#snapshot) return
        if (this.#gone) return
        if (snapshot === this.#snapshot) await untilAborted(changed.promise, o.signal)
        if (o.signal?.aborted) return
      } finally {
        this.#watchers.delete(wake)
      }
    }
  }

  send(value: unknown, o: Cancel = {}): Promise<void> {
    return this.outlet.send(value, o.signal)
  }

  async endInput(o: Cancel = {}): Promise<void> {
    o.signal?.throwIfAborted()
    await this.outlet.end()
  }

  /** Where its input goes. */
  get outlet(): InputOutlet {
    return (this.#outlet ??= new InputOutlet(this.#ref, this.instanceId))
  }

  /** As another job's input. */
  get source(): JobSource {
    return { ref: this.#ref, instanceId: this.instanceId }
  }

  async answer(value: unknown, o: { question?: string } & Cancel = {}): Promise<void> {
    const { question, signal } = o
    const event = { type: 'answer' as const, value: encode(value), ...(question !== undefined && { question }) }
    await this.#ref.request(event, this.instanceId, { signal })
  }

  async suspend(o: Cancel = {}): Promise<JobSnapshot> {
    this.update((await this.#ref.request({ type: 'suspend' }, this.instanceId, o)) as JobSnapshot)
    return this.#snapshot
  }

  async resume(o: Cancel = {}): Promise<JobSnapshot> {
    this.update((await this.#ref.request({ type: 'resume' }, this.instanceId, o)) as JobSnapshot)
    return this.#snapshot
  }

  async setThrottle(most: number, o: Cancel = {}): Promise<JobSnapshot> {
    const limit = this.type === 'PSTaskJob' ? mapThrottleLimit : throttleLimit
    const event = { type: 'throttle' as const, most: limit(most) }
    this.update((await this.#ref.request(event, this.instanceId, o)) as JobSnapshot)
    return this.#snapshot
  }

  async items(o: { from?: number; limit?: number } & Cancel = {}): Promise<readonly ItemSnapshot[]> {
    const { from = 0, limit = 100, signal } = o
    if (!Number.isSafeInteger(from) || from < 0)
      throw new UsageError(`\`from\` is a whole number from 0 on, not ${from}`)
    if (!Number.isInteger(limit) || limit < 1 || limit > ITEMS_MOST)
      throw new UsageError(`\`limit\` is a whole number from 1 to ${ITEMS_MOST}, not ${limit}`)
    return (await this.#ref.request({ type: 'items', from, limit }, this.instanceId, { signal })) as ItemSnapshot[]
  }

  tell(event: PublicEvent<unknown>, o?: Cancel): Promise<void> {
    return this.#actor.tell(event, o)
  }

  ask<T>(event: PublicEvent<unknown>, o?: { timeout?: Duration } & Cancel): Promise<Outcome<T>> {
    return this.#actor.ask(event, o)
  }

  inspect(o?: Cancel): Promise<ActorInspection> {
    return this.#actor.inspect(o)
  }

  transitions(o?: { after?: number } & Cancel): AsyncGenerator<ActorTransition> {
    return this.#actor.transitions(o)
  }

  get #actor(): ActorHandle {
    return new ActorHandle(
      (event, o) => this.#ref.request(event, this.instanceId, o),
      (before, o) => this.#triedAgain(before, o),
    )
  }

  async #triedAgain(before: number, o: Cancel): Promise<boolean> {
    for await (const { state, epoch = 1 } of this.watch(o)) {
      if (isFinished(state)) return false
      if (epoch !== before) return true
    }
    return false
  }

  async wait(o: { timeout?: Duration; for?: JobState[] } & Cancel = {}): Promise<JobSnapshot> {
    const { for: wanted, signal } = o
    checkStates(wanted, 'for')
    const limit = o.timeout === undefined ? undefined : milliseconds(o.timeout)
    const there = (): boolean => isFinished(this.state) || wanted?.includes(this.state) === true
    signal?.throwIfAborted()
    if (there()) return this.#snapshot
    const over = Promise.withResolvers<void>()
    const timer = limit ? new Alarm(limit, over.resolve) : undefined
    let found: JobSnapshot | undefined
    const changed = (): void => {
      // Kept: it may have gone on by the time this is heard of.
      if (there()) found ??= this.#snapshot
      if (found || this.#gone) over.resolve()
    }
    ;(this.#watchers ??= new Set()).add(changed)
    try {
      this.#listen()
      changed()
      if (limit !== 0) await untilAborted(over.promise, signal)
    } finally {
      timer?.cancel()
      this.#watchers.delete(changed)
    }
    if (found) return found
    signal?.throwIfAborted()
    if (this.#gone) throw this.#gone
    throw this.#tooLate(o.timeout!)
  }

  async stop(o: { grace?: Duration; reason?: string } & Cancel = {}): Promise<JobSnapshot> {
    const event: SessionEvent = {
      type: 'stop',
      ...(o.grace !== undefined && { grace: milliseconds(o.grace) }),
      ...(o.reason !== undefined && { reason: o.reason }),
    }
    this.update((await this.#ref.request(event, this.instanceId, o)) as JobSnapshot)
    return this.#snapshot
  }

  async remove(o: { force?: boolean } & Cancel = {}): Promise<void> {
    const last = (await this.#ref.request(
      { type: 'remove', ...(o.force && { force: true }) },
      this.instanceId,
      o,
    )) as JobSnapshot
    this.update(last)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Whoever waits for it goes on hearing of it.
    if ((this.#watchers?.size ?? 0) > 0 || this.#finished) return
    this.#stopWatching?.()
    this.#stopWatching = undefined
  }

  /** What it is when it crosses the wire: a snapshot (transport's codec calls this). */
  [Symbol.for('errand.snapshot')](): JobSnapshot {
    return this.#snapshot
  }

  [Symbol.for('nodejs.util.inspect.custom')](): JobSnapshot {
    return this.#snapshot
  }

  /** What happens to it is heard from here on, also by a handle that was let go of and is used again. */
  #listen(): void {
    // A child is told of by its parent: one watch for a job of a thousand children.
    if (this.#parent) return this.#parent.#listen()
    if (this.#stopWatching || this.#lost || isFinished(this.state)) return
    const stop = this.#ref.watchJob(
      this.instanceId,
      (next) => this.update(next),
      (reason) => this.#onLost(reason),
      this.#snapshot,
    )
    // It may have been told at once.
    if (isFinished(this.state)) stop()
    else this.#stopWatching = stop
  }

  /** Why no more can be heard of it, ever. */
  get #gone(): Error | undefined {
    return this.#lost ?? (this.#parent ? this.#parent.#gone : undefined)
  }

  /** How far this handle has given each job's records to a reader; a parent's knows of its children's too. */
  #givenTo(reader: string): Map<string, number> {
    const given = ((this.#parent ?? this).#given ??= new Map())
    let known = given.get(reader)
    if (!known) given.set(reader, (known = new Map()))
    return known
  }

  #throwIfChild(): void {
    const { parentId, position } = this.#snapshot
    if (position !== undefined)
      throw new UsageError(`${this.name} is a child and goes with its parent: remove job ${parentId}`)
  }

  /** Somebody else may have been quicker. */
  async #removeOver(signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.remove(signal ? { signal } : {})
    } catch (error) {
      if (codeOf(error) !== 'JOB_NOT_FOUND') throw error
    }
  }

  #onLost(reason: Error): void {
    if (isFinished(this.#snapshot.state)) return
    this.#lost = reason
    for (const child of this.#children ?? []) (child as JobHandle<O>).#onLost(reason)
    for (const wake of [...(this.#watchers ?? [])]) wake()
    this.#finished?.resolve(this.#snapshot)
  }

  /** Everything from the first record on, of the job and its children. */
  #fromStart(o: Cancel): AsyncIterable<JobRecord<O>> {
    return this.receive({ from: 0, follow: true, ...(o.signal && { signal: o.signal }) })
  }

  /** What is pending, and what would move it. */
  #tooLate(timeout: Duration): TimeoutError {
    const still = `job ${this.#label()} is still ${this.state} after ${timeout}`
    const { question } = this
    if (this.state === 'Blocked' && question) {
      return new TimeoutError(`${still}: it asks '${question.prompt}'`, { hint: 'it goes on when that is answered' })
    }
    if (this.state === 'Suspended') return new TimeoutError(still, { hint: 'it goes on when it is resumed' })
    return new TimeoutError(`${still}; it goes on`)
  }

  #label(): string {
    return this.id > 0 ? `${this.id} (${this.name})` : this.name
  }
}

Object.defineProperty(JobHandle, 'name', { value: 'Job' })
