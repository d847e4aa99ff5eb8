// A child whose work is a run in a session on another peer: the same spec over there, its chunks copied here by number.
//
// What it says goes on flowing into our log whoever reads it; the far cursor moves only as our reader does, so that a
// client that dies leaves nothing behind that the next one would not get.
import { Alarm } from '../alarm.ts'
import { isFinished } from '../child-jobs.ts'
import { asError, codeOf, InputClosedError, JobStoppedError, PeerLostError, SessionClosedError } from '../errors.ts'
import type { Ending, StopRequest } from '../job-machine.ts'
import { OWNER } from '../output-log.ts'
import { CREDIT_BYTES, type RawChunk } from '../record.ts'
import type { RemoteSession } from '../remote-session.ts'
import type { JobSnapshot } from '../surface.ts'
import type { SessionEvent } from '../wire.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'

export interface RemoteTarget {
  readonly location: string
  /** The session to run in: borrowed, or opened for this one call. */
  open(signal: AbortSignal): Promise<RemoteSession>
  /** A run that is there already, to be taken up, in this session. */
  readonly run?: Pick<JobSnapshot, 'instanceId'>
  readonly session?: RemoteSession
  /** It is gone on with after we were started again: whatever state the session is in, and our log where it ends. */
  readonly again?: boolean
}

export class RemoteEngine implements Engine {
  readonly #target: RemoteTarget
  readonly #running = new Set<RemoteExecution>()
  /** The session it runs in, once there is one. */
  session: RemoteSession | undefined

  /** Of a run that was taken up: its id over there. */
  get run(): string | undefined {
    return this.#target.run?.instanceId
  }

  /** The session was lost, and is not tried any more: what runs in it is out of reach until somebody connects it. */
  get lost(): boolean {
    const { session } = this
    // What ran in a temporary one has failed with it.
    return session?.state === 'Disconnected' && session.reason !== undefined && !session.temporary
  }

  constructor(target: RemoteTarget) {
    this.#target = target
    this.session = target.session
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    const execution = new RemoteExecution(this.#target, spec, io, (session) => (this.session = session))
    this.#running.add(execution)
    void execution.done.then(() => this.#running.delete(execution))
    return execution
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running].map((execution) => execution.done))
  }
}

class RemoteExecution implements Execution {
  /** Settles after the ending was said. Never rejects. */
  readonly done: Promise<void>
  readonly #target: RemoteTarget
  readonly #io: ExecutionIO
  readonly #opening = new AbortController()
  readonly #over = new AbortController()
  #session: RemoteSession | undefined
  #far: string | undefined
  #stopping: StopRequest | undefined
  #credit = CREDIT_BYTES
  #wake: (() => void) | undefined
  #lost = false
  /** The session was left or given up, and that was said. */
  #given = false
  #leaseEnd: Alarm | undefined
  #verdict: Ending | undefined
  /** The far run's id, once there is one. */
  readonly #begun = Promise.withResolvers<string>()
  #told: Promise<unknown>
  #question: string | undefined
  /** The far run stood still when we last heard of it. */
  #still = false

  constructor(target: RemoteTarget, spec: ExecutionSpec, io: ExecutionIO, onSession: (session: RemoteSession) => void) {
    this.#target = target
    this.#io = io
    this.#begun.promise.catch(() => undefined) // it may end before anything was to be told to it
    this.#told = Promise.resolve()
    this.done = this.#run(spec, onSession).then((ending) => io.ended(ending))
  }

  credit(bytes: number): void {
    this.#credit += bytes
    this.#wake?.()
  }

  stop(request: StopRequest): void {
    this.#stopping = request
    this.#wake?.()
    if (this.#far === undefined) return this.#opening.abort()
    const { grace, reason } = request
    // Its answer is the far job's end, which the reading sees too; a lost link asks again by itself.
    void this.#session
      ?.request({ type: 'stop', grace, ...(reason !== undefined && { reason }) }, this.#far)
      .catch(() => undefined)
  }

  input({ count, bytes }: RawChunk): void {
    this.#forward({ type: 'send', count, bytes }).then(
      () => this.#io.inputRead?.(bytes.byteLength),
      () => undefined, // it takes no more, and says so by ending
    )
  }

  endInput(error?: Error): void {
    // Not heard over there: it has ended, and says so itself.
    this.#forward({ type: 'end-input', ...(error && { error }) }).catch(() => undefined)
  }

  answer(question: string, value: Uint8Array): void {
    this.#forward({ type: 'answer', question, value }).then(
      () => this.#io.answered?.(question),
      (refusal: unknown) => this.#io.answered?.(question, asError(refusal)),
    )
  }

  // Refused: it has ended, or is in another state, which the watching shows.
  suspend(): void {
    this.#forward({ type: 'suspend' }).catch(() => undefined)
  }

  resume(): void {
    this.#forward({ type: 'resume' }).catch(() => undefined)
  }

  throttle(most: number): void {
    this.#forward({ type: 'throttle', most }).catch(() => undefined)
  }

  /** One after the other, in the order in which they were said here. */
  #forward(event: SessionEvent): Promise<unknown> {
    const told = this.#told.then(async () => {
      const far = await this.#begun.promise
      return this.#session!.request(event, far)
    })
    this.#told = told.catch(() => undefined) // who asked hears of it; the next one's turn comes all the same
    return told
  }

  async reachable(): Promise<void> {
    await this.#session?.connect()
  }

  acknowledge(seq: number): Promise<void> | undefined {
    if (this.#far === undefined || !this.#session || this.#session.temporary) return undefined
    return this.#session.tellRead(this.#far, seq)
  }

  async #run(spec: ExecutionSpec, onSession: (session: RemoteSession) => void): Promise<Ending> {
    let stopWatching: (() => void) | undefined
    let stopFollowing: (() => void) | undefined
    try {
      const session = await this.#target.open(this.#opening.signal)
      this.#session = session
      onSession(session)
      if (!this.#target.again) session.expect(this.#begun.promise)
      this.#io.buffered?.(session.snapshot.buffering)
      stopWatching = session.onChange(() => this.#onSession(session))
      const placed = this.#io.placed?.(session.instanceId)
      if (placed) await placed
      // Where it is back already that is news.
      if (this.#target.again) this.#lost = session.state === 'Opened'
      // Taken up, it may be of a session that is away: the job hears that.
      this.#onSession(session)
      if (this.#target.again) {
        if (!this.#target.run) await session.opened(this.#over.signal)
        if (this.#verdict) return this.#verdict
      }
      const run =
        this.#target.run ??
        // Not given up when stopped meanwhile: it would run on over there. The answer says what to stop.
        (await session.begin(spec.work, this.#over.signal))
      this.#far = run.instanceId
      this.#io.taken?.(run.instanceId)
      this.#begun.resolve(run.instanceId)
      this.#io.begun?.()
      stopFollowing = session.watchJob(run.instanceId, (snapshot) => this.#follow(snapshot))
      if (this.#stopping) this.stop(this.#stopping)
      const alone = session.temporary || spec.work.map?.shared === true
      const last = await this.#copy(session, run.instanceId, spec.from ?? 0, alone)
      return await this.#judged(this.#verdict ?? endingOf(last, this.#stopping))
    } catch (error) {
      return this.#verdict ?? this.#endingAfter(asError(error))
    } finally {
      stopWatching?.()
      stopFollowing?.()
      this.#begun.reject(new InputClosedError('it has ended'))
      this.#leaseEnd?.cancel()
      // What the call started over there ends with its session; the job has ended when that is done.
      if (this.#session?.temporary) await this.#session.close().catch(() => undefined)
    }
  }

  /** Before a session that was opened for it alone is closed: over there nobody could be asked again. */
  async #judged(ending: Ending): Promise<Ending> {
    const written = this.#session?.temporary ? this.#io.judged?.(ending) : undefined
    if (written) await written
    return ending
  }

  /**
   * `alone`: nobody else will ever read that run. Then what we have is read: else its log would fill while ours is emptied,
   * and it would wait for ever.
   */
  async #copy(session: RemoteSession, run: string, from: number, alone: boolean): Promise<JobSnapshot | undefined> {
    let untold = 0
    const request = { reader: OWNER, follow: true, from }
    const reading = session.copy(run, request, this.#over.signal)
    for (;;) {
      const step = await reading.next()
      if (step.done) return step.value
      const { count, errors, bytes, first } = step.value
      this.#credit -= bytes.byteLength
      this.#io.chunk({ count, errors, bytes }, first)
      untold += bytes.byteLength
      if (alone && untold >= CREDIT_BYTES / 2) {
        untold = 0
        void session.tellRead(run, first + count)
      }
      // A run that is being stopped is read to its end: what it had said is bounded over there.
      while (this.#credit <= 0 && !this.#over.signal.aborted && !this.#stopping)
        await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  /** The session's state is the child's news: unreachable is Disconnected, never Failed, until the lease must be over. */
  #onSession(session: RemoteSession): void {
    const { state } = session
    this.#io.buffered?.(session.snapshot.buffering)
    if (state === 'Opened') {
      this.#leaseEnd?.cancel()
      if (this.#lost) this.#io.back?.()
      this.#lost = false
      this.#given = false
      return
    }
    if (state !== 'Connecting' && state !== 'Disconnected' && state !== 'Disconnecting') return
    if (!this.#lost) {
      this.#lost = true
      this.#io.lost?.(session.reason ?? new SessionClosedError(session.snapshot.name, { hint: 'it was disconnected' }))
    }
    if (state !== 'Disconnected' || this.#given) return
    this.#given = true
    // Why it is not tried any more is news, too: whoever waits for a run hears of it.
    if (session.reason) this.#io.lost?.(session.reason)
    if (session.temporary) return this.#giveUp(`${this.#target.location} could not be reached again`, session)
    this.#leaseEnd?.cancel()
    const must = `the session on ${this.#target.location} must have ended by now`
    this.#leaseEnd = new Alarm(session.snapshot.idleTimeout, () => this.#giveUp(must, session), { keep: false })
  }

  /** What the far job waits for, a reader too, and whether it stands still, is ours to show. */
  #follow({ question, state, paused }: JobSnapshot): void {
    if (isFinished(state)) return
    this.#io.full?.(paused !== undefined)
    if (this.#question !== undefined && this.#question !== question?.id) this.#io.answered?.(this.#question)
    if (question && this.#question !== question.id) this.#io.asked?.(question)
    this.#question = question?.id
    if (state === 'Suspended') this.#io.suspended?.()
    else if (this.#still && (state === 'Running' || state === 'Blocked')) this.#io.resumed?.()
    this.#still = state === 'Suspended'
  }

  #giveUp(why: string, session: RemoteSession): void {
    this.#verdict = {
      outcome: 'failed',
      error: new PeerLostError(`${why}: what it did there is unknown`, { cause: session.reason }),
    }
    this.#over.abort()
    this.#wake?.()
  }

  /** It could not begin, or not be followed to its end. */
  #endingAfter(error: Error): Ending {
    if (this.#far === undefined && !this.#target.again) {
      return this.#stopping ? { outcome: 'stopped' } : { outcome: 'failed', error }
    }
    const code = codeOf(error)
    if (code === 'JOB_NOT_FOUND' || (this.#target.again && code === 'SESSION_NOT_FOUND')) {
      const { location } = this.#target
      const why = code === 'JOB_NOT_FOUND' ? `${location} knows it no more` : `its session on ${location} has ended`
      return { outcome: 'failed', error: new PeerLostError(`${why}: what it did there is unknown`, { cause: error }) }
    }
    // Closed in order, here or over there, takes its work along: stopped, not broken.
    if (this.#session?.state !== 'Closed') return { outcome: 'failed', error }
    const why = `the session on ${this.#target.location} was closed`
    return { outcome: 'stopped', error: new JobStoppedError(why, { cause: error }) }
  }
}

/** How the far run ended is how the child ended. */
function endingOf(last: JobSnapshot | undefined, stopping: StopRequest | undefined): Ending {
  const exitCode = last?.exitCode
  if (last?.state === 'Completed') return { outcome: 'completed', exitCode, streamed: last.streamed }
  if (last?.state === 'Failed') {
    return { outcome: 'failed', error: last.reason ?? new Error('it failed over there'), exitCode, said: true }
  }
  if (stopping || last?.state === 'Stopped') return { outcome: 'stopped', exitCode, error: last?.reason }
  return { outcome: 'failed', error: new PeerLostError('the far job ended without saying how') }
}
