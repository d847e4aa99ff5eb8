// The handle of a job, wherever it is: reads its records, follows its state, sends it events.
import { encode, type Cancel } from '@errand/transport'
import { isFinished } from './child-jobs.ts'
import { Cursors } from './cursors.ts'
import { LONGEST_TIMER, milliseconds } from './duration.ts'
import { codeOf, JobFailedError, TimeoutError } from './errors.ts'
import { feed, InputOutlet, type JobSource } from './input-outlet.ts'
import { OWNER, untilAborted } from './output-log.ts'
import { recordsOf } from './record.ts'
import type { SessionRef } from './session-ref.ts'
import type {
  Duration,
  Job,
  JobRecord,
  JobSnapshot,
  JobState,
  JobType,
  PeerId,
  Question,
  ReceiveOptions,
  StartOptions,
} from './surface.ts'
import type { SessionEvent } from './wire.ts'

/** One handle per job and ref, so that who takes up a job gets the object it had. */
const handles = new WeakMap<SessionRef, Map<string, WeakRef<JobHandle>>>()
/** A handle that nobody holds any more leaves no entry behind. */
const collected = new FinalizationRegistry<{ known: Map<string, WeakRef<JobHandle>>; instanceId: string }>(
  ({ known, instanceId }) => {
    if (known.get(instanceId)?.deref() === undefined) known.delete(instanceId)
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
  const handle = new JobHandle<O>(ref, snapshot, parent)
  known.set(instanceId, new WeakRef(handle as JobHandle))
  collected.register(handle, { known, instanceId })
  return handle
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

/** How long a reader that leaves waits for its cursor to be heard of. */
const SETTLE_MS = 1_000

export class JobHandle<O = unknown> implements Job<O> {
  readonly #ref: SessionRef
  readonly #parent: JobHandle | undefined
  #snapshot: JobSnapshot
  #children: readonly Job<O>[] | undefined
  #stopWatching: (() => void) | undefined
  readonly #watchers = new Set<() => void>()
  #finished: PromiseWithResolvers<JobSnapshot> | undefined
  #outlet: InputOutlet | undefined
  /** No more news can come: its session or the link to it has ended. */
  #lost: Error | undefined

  constructor(ref: SessionRef, snapshot: JobSnapshot, parent?: JobHandle) {
    this.#ref = ref
    this.#parent = parent
    this.#snapshot = snapshot
    // A child is told of by its parent: one watch for a job of a thousand children.
    if (!parent && !isFinished(snapshot.state)) {
      this.#stopWatching = ref.watchJob(
        snapshot.instanceId,
        (next) => this.update(next),
        (reason) => this.#onLost(reason),
      )
    }
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
      if (isFinished(this.state) || this.#lost) this.#finished.resolve(this.#snapshot)
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
    for (const wake of [...this.#watchers]) wake()
    if (!isFinished(next.state)) return
    this.#stopWatching?.()
    this.#stopWatching = undefined
    this.#finished?.resolve(next)
  }

  [Symbol.asyncIterator](): AsyncIterator<JobRecord<O>> {
    return this.receive({ follow: true })[Symbol.asyncIterator]()
  }

  async *receive(o: ReceiveOptions = {}): AsyncGenerator<JobRecord<O>> {
    const reader = o.reader ?? OWNER
    const moves = !o.keep && o.from === undefined
    const cursors = new Cursors(this.#ref, this.instanceId, reader, (snapshot) => this.update(snapshot))
    let left = o.limit ?? Number.POSITIVE_INFINITY
    const request = {
      reader,
      ...(o.from !== undefined && { from: o.from }),
      ...(o.follow !== undefined && { follow: o.follow }),
      ...(o.location !== undefined && { location: o.location }),
      ...(o.recurse !== undefined && { recurse: o.recurse }),
    }
    const reading = this.#ref.read(this.instanceId, request, o.signal)
    try {
      while (left > 0) {
        const step = await reading.next()
        if (step.done) {
          if (step.value) this.update(step.value)
          break
        }
        for (const record of recordsOf<O>(step.value)) {
          if (!o.kinds || o.kinds.includes(record.kind)) {
            try {
              yield record
            } finally {
              // Handed over is taken, also when the consumer leaves with it: the next receive goes on behind it.
              if (moves) cursors.take(record.jobId, record.seq + 1)
            }
            if (--left <= 0) break
          } else if (moves) cursors.take(record.jobId, record.seq + 1)
        }
      }
    } finally {
      await reading.return(undefined)
      // Bounded: while the link is gone nobody hears it, and leaving must not wait for that.
      await Promise.race([cursors.settle(), new Promise((resolve) => setTimeout(resolve, SETTLE_MS).unref())])
    }
  }

  async output(o: Cancel = {}): Promise<O[]> {
    const values: O[] = []
    const errors: Error[] = []
    for await (const record of this.#fromStart(o)) {
      if (record.kind === 'output') values.push(record.value)
      else if (record.kind === 'error') errors.push(record.error)
    }
    const { state, reason } = await this.wait(o)
    if (state === 'Completed') return values
    if (reason && !errors.some((error) => error.message === reason.message && codeOf(error) === codeOf(reason)))
      errors.push(reason)
    const message = `job ${this.#label()} ${state === 'Stopped' ? 'was stopped' : `failed: ${reason?.message ?? errors[0]?.message ?? 'see its errors'}`}`
    throw new JobFailedError(message, errors, this.#snapshot)
  }

  async save(path: string, o: ReceiveOptions & { format?: 'text' | 'ndjson' } = {}): Promise<void> {
    const read = {
      reader: o.reader ?? OWNER,
      ...(o.from !== undefined && { from: o.from }),
      ...(o.follow !== undefined && { follow: o.follow }),
      ...(o.location !== undefined && { location: o.location }),
    }
    const event: SessionEvent = {
      type: 'save',
      path,
      read,
      ...(o.format && { format: o.format }),
      ...(o.kinds && { kinds: o.kinds }),
      ...((o.keep || o.from !== undefined) && { keep: true }),
    }
    this.update((await this.#ref.request(event, this.instanceId, o)) as JobSnapshot)
  }

  async *watch(o: Cancel = {}): AsyncGenerator<JobSnapshot> {
    for (;;) {
      const changed = Promise.withResolvers<void>()
      const wake = (): void => changed.resolve()
      this.#watchers.add(wake)
      try {
        const snapshot = this.#snapshot
        yield snapshot
        if (isFinished(this.#snapshot.state) && snapshot === this.#snapshot) return
        if (this.#lost) return
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

  async wait(o: { timeout?: Duration; for?: JobState[] } & Cancel = {}): Promise<JobSnapshot> {
    const wanted = o.for
    const there = (): boolean => isFinished(this.state) || wanted?.includes(this.state) === true
    const limit =
      o.timeout === undefined ? undefined : AbortSignal.timeout(Math.min(milliseconds(o.timeout), LONGEST_TIMER))
    const signal = limit && o.signal ? AbortSignal.any([limit, o.signal]) : (limit ?? o.signal)
    while (!there()) {
      if (this.#lost) throw this.#lost
      const changed = Promise.withResolvers<void>()
      const wake = (): void => changed.resolve()
      this.#watchers.add(wake)
      try {
        await untilAborted(changed.promise, signal)
      } finally {
        this.#watchers.delete(wake)
      }
      if (there()) break
      o.signal?.throwIfAborted()
      if (limit?.aborted) {
        throw new TimeoutError(`job ${this.#label()} is still ${this.state} after ${o.timeout}; it goes on`)
      }
    }
    return this.#snapshot
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

  #onLost(reason: Error): void {
    if (isFinished(this.#snapshot.state)) return
    this.#lost = reason
    for (const wake of [...this.#watchers]) wake()
    this.#finished?.resolve(this.#snapshot)
  }

  /** Everything from the first record on, of the job and its children. */
  #fromStart(o: Cancel): AsyncIterable<JobRecord<O>> {
    return this.receive({ from: 0, follow: true, ...(o.signal && { signal: o.signal }) })
  }

  #label(): string {
    return this.id > 0 ? `${this.id} (${this.name})` : this.name
  }
}

Object.defineProperty(JobHandle, 'name', { value: 'Job' })
