// A job on the peer that owns it: its actor, its execution or its children, its log. Machines decide, this acts.
import { createActor } from 'xstate'
import { foldChildren, isFinished } from './child-jobs.ts'
import {
  asError,
  ChildJobError,
  codeOf,
  ErrandError,
  InputClosedError,
  JobStateError,
  JobStoppedError,
  QuestionAnsweredError,
  TimeoutError,
} from './errors.ts'
import { LONGEST_TIMER } from './duration.ts'
import type { Engine, Execution } from './engine/engine.ts'
import {
  jobMachine,
  type Ending,
  type JobActions,
  type JobActor,
  type JobMachineEvent,
  type StopRequest,
} from './job-machine.ts'
import { JobInput } from './job-input.ts'
import type { OutputLog } from './output-log.ts'
import { singleRecord, type RawChunk } from './record.ts'
import type { JobSnapshot, JobState, JobType, PeerId, Question, SessionSnapshot } from './surface.ts'
import type { WorkSpec } from './wire.ts'

export interface JobOptions {
  readonly instanceId: string
  /** 0: in no table (a run). Children carry their parent's. */
  readonly id: number
  readonly name: string
  readonly type: JobType
  readonly location: string
  readonly peer: PeerId
  readonly session: () => SessionSnapshot
  readonly spec: WorkSpec
  /** What runs it; a parent has none, and children instead. */
  readonly engine?: Engine
  readonly position?: number
  /** At most so many children at work at once. */
  readonly throttle?: number
  readonly stopGrace: number
  /** What `ctx.location` says. */
  readonly here: string
  /** The job's engine follows a deadline elsewhere. */
  readonly deadline?: number | undefined
}

/** States of which `history` keeps at most so many. */
const HISTORY = 32
/** States in which there is work that can be told to stand still. */
const LIVE: ReadonlySet<JobState> = new Set<JobState>(['Running', 'Blocked'])

interface OpenQuestion {
  readonly question: Question
  /** Settles when the answer before has been looked at. */
  turn: Promise<unknown>
  verdict: PromiseWithResolvers<void> | undefined
}

export class JobHost implements JobActions {
  readonly instanceId: string
  readonly children: JobHost[] = []
  /** Settles with the last snapshot; never rejects. */
  readonly finished: Promise<JobSnapshot>
  /** Settles when there is a log to read. */
  readonly ready: Promise<void>
  readonly #options: JobOptions
  readonly #actor: JobActor
  readonly #settle: (snapshot: JobSnapshot) => void
  readonly #setReady: () => void
  readonly #listeners = new Set<(snapshot: JobSnapshot) => void>()
  readonly #input = new JobInput()
  readonly #questions = new Map<string, OpenQuestion>()
  readonly #history: { readonly state: JobState; readonly at: Date }[]
  #log: OutputLog | undefined
  #parent: JobHost | undefined
  #execution: Execution | undefined
  #credit = 0
  #state: JobState = 'NotStarted'
  #hasMoreData = true
  #reason: Error | undefined
  #exitCode: number | undefined
  #streamed: boolean | undefined
  #pid: number | undefined
  #begunAt: Date | undefined
  #endedAt: Date | undefined
  #stopRequest: StopRequest | undefined
  #deadline: NodeJS.Timeout | undefined
  #late = false
  #ended = false
  #snapshot: JobSnapshot | undefined
  #scheduled = false

  constructor(options: JobOptions) {
    this.#options = options
    this.instanceId = options.instanceId
    this.#history = [{ state: 'NotStarted', at: new Date() }]
    if (options.engine && options.spec.input !== true) this.#input.end()
    const { promise, resolve } = Promise.withResolvers<JobSnapshot>()
    this.finished = promise
    this.#settle = resolve
    const ready = Promise.withResolvers<void>()
    this.ready = ready.promise
    this.#setReady = ready.resolve
    this.#actor = createActor(jobMachine, { input: this })
    this.#actor.subscribe({
      next: ({ value }) => this.#enter(value as JobState),
      // The machine has no code of its own that throws; if it ever does, the job must still end.
      error: (error) => void this.#onEnded({ outcome: 'failed', error: asError(error) }),
    })
    this.#actor.start()
  }

  get id(): number {
    return this.#options.id
  }
  get name(): string {
    return this.#options.name
  }
  get position(): number | undefined {
    return this.#options.position
  }
  get state(): JobState {
    return this.#state
  }
  get spec(): WorkSpec {
    return this.#options.spec
  }
  get location(): string {
    return this.#options.location
  }
  get log(): OutputLog | undefined {
    return this.#log
  }
  get parent(): JobHost | undefined {
    return this.#parent
  }
  /** Reader `owner` has something left, or may get something. */
  get hasMoreData(): boolean {
    return this.#more()
  }
  get engine(): Engine | undefined {
    return this.#options.engine
  }

  /** The log is made by the session's store, which may need time; a parent has none. */
  attachLog(log: OutputLog): void {
    this.#log = log
    log.onChange(() => this.#onLog())
    this.#setReady()
  }

  /** Reader `owner` is at `seq`: where the log is a copy, the original may know. */
  acknowledged(seq: number): void {
    this.#execution?.acknowledge?.(seq)
  }

  /** The log took so many bytes: the producer may send as many more. */
  credit(bytes: number): void {
    if (this.#execution) this.#execution.credit(bytes)
    else this.#credit += bytes
  }

  adopt(children: readonly JobHost[]): void {
    for (const child of children) {
      child.#parent = this
      this.children.push(child)
    }
  }

  start(): void {
    this.#send({ type: 'job.launch' })
  }

  /** Stops it and waits for its end. Finished: nothing happens. @throws PeerUnreachableError when it cannot be reached */
  async stop(request: StopRequest): Promise<JobSnapshot> {
    if (isFinished(this.#state)) return this.snapshot()
    if (this.#state === 'Disconnected') {
      // Saying Stopped of what runs on elsewhere would be a lie: reach it first, or say that we cannot.
      await this.#execution?.reachable?.()
      for (const child of this.children) {
        if (child.state === 'Disconnected') await child.#execution?.reachable?.()
      }
    }
    this.#stopRequest = request
    this.#send({ type: 'job.stop', request })
    return this.finished
  }

  /** A chunk of its input: to all children of a parent, as fast as the slowest. @throws InputClosedError, LimitError */
  async input(chunk: RawChunk): Promise<void> {
    if (isFinished(this.#state)) throw this.#inputClosed()
    if (this.children.length === 0) return this.#input.send(chunk)
    const open = this.children.filter((child) => !isFinished(child.state))
    await Promise.all(open.map((child) => child.input(chunk)))
  }

  endInput(error?: Error): void {
    for (const child of this.children) child.endInput(error)
    this.#input.end(error)
  }

  /** What it waits for an answer to; of a parent, its children's first, as `2.1` for question 1 of child 2. */
  get question(): Question | undefined {
    const [own] = this.#questions.values()
    if (own) return own.question
    for (const child of this.children) {
      const { question } = child
      if (question) return { ...question, id: `${child.position}.${question.id}` }
    }
    return undefined
  }

  /**
   * Answers the question that is open now, or this one. Answers come one after the other: the first that fits wins.
   * @throws InvalidAnswerError, QuestionAnsweredError, JobStateError, PeerUnreachableError
   */
  async answer(value: Uint8Array, id: string | undefined = this.question?.id): Promise<void> {
    if (id === undefined) throw new JobStateError(`${this.name} asks nothing: it is ${this.#state}`)
    const child = /^(\d+)\.(.*)$/.exec(id)
    if (child && this.children.length > 0) {
      const asking = this.children.find(({ position }) => position === Number(child[1]))
      if (!asking) throw new JobStateError(`${this.name} has no child ${child[1]}`)
      return asking.answer(value, child[2])
    }
    const open = this.#questions.get(id)
    if (!open) throw new QuestionAnsweredError(`question ${id} of ${this.name} has been answered, or was never asked`)
    const turn = open.turn.then(async () => {
      if (this.#questions.get(id) !== open)
        throw new QuestionAnsweredError(`question ${id} of ${this.name} has its answer already`)
      if (this.#state === 'Disconnected') await this.#execution?.reachable?.()
      open.verdict = Promise.withResolvers()
      this.#execution?.answer?.(id, value)
      await open.verdict.promise
    })
    open.turn = turn.catch(() => undefined)
    return turn
  }

  /** Settles when it stands still, or has ended. @throws JobStateError */
  async standStill(): Promise<JobSnapshot> {
    const able = this.children.length > 0 ? this.children.filter(({ state }) => LIVE.has(state)) : [this]
    if (!LIVE.has(this.#state) && this.#state !== 'Suspended') throw this.#notNow('suspended')
    if (this.children.length > 0) await Promise.all(able.map((child) => child.standStill()))
    else if (this.#state !== 'Suspended') {
      if (!this.#execution?.suspend) throw new JobStateError(`${this.name} cannot be suspended where it runs`)
      this.#send({ type: 'job.suspend' })
      await this.#until((state) => state === 'Suspended' || !LIVE.has(state))
    }
    return this.snapshot()
  }

  /** @throws JobStateError unless it is Suspended */
  goOn(): JobSnapshot {
    const still = this.children.filter(({ state }) => state === 'Suspended')
    for (const child of still) child.goOn()
    if (still.length > 0) return this.snapshot()
    if (this.#state !== 'Suspended') throw this.#notNow('resumed')
    this.#send({ type: 'job.resume' })
    return this.snapshot()
  }

  /** Its table ends while it goes on elsewhere: nobody here hears of it any more. Its state stays as it was. */
  async abandon(): Promise<void> {
    await this.#log?.seal()
    this.#settle(this.snapshot())
  }

  /** Its children are being stopped one by one: its ending is a stop. */
  expectStop(request: StopRequest): void {
    this.#stopRequest ??= request
  }

  watch(listener: (snapshot: JobSnapshot) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  snapshot(): JobSnapshot {
    if (this.#snapshot) return this.#snapshot
    const { id, name, type, location, peer, session, spec, position } = this.#options
    return (this.#snapshot = Object.freeze({
      id,
      instanceId: this.instanceId,
      name,
      command: spec.command,
      location,
      peer,
      session: session().instanceId,
      type,
      state: this.#state,
      hasMoreData: this.#more(),
      reason: this.#reason,
      exitCode: this.#exitCode,
      begunAt: this.#begunAt,
      endedAt: this.#endedAt,
      question: this.question,
      history: Object.freeze(this.#history.slice()),
      errorCount: (this.#log?.errors ?? 0) + this.children.reduce((sum, child) => sum + (child.#log?.errors ?? 0), 0),
      pid: this.#pid,
      streamed: this.#streamed,
      ...(position !== undefined && { parentId: id, position }),
      children: Object.freeze(this.children.map((child) => child.snapshot())),
    }))
  }

  // ── what the machine asks for ───────────────────────────────────────────────────────────────────────────────────────

  launch(): void {
    const { engine, deadline } = this.#options
    if (!engine) {
      this.#begun()
      return this.#launchChildren()
    }
    if (deadline !== undefined) {
      this.#deadline = setTimeout(
        () => {
          this.#late = true
          void this.stop({ grace: this.#options.stopGrace, reason: `its deadline of ${deadline} ms passed` }).catch(
            () => undefined,
          )
        },
        Math.min(deadline, LONGEST_TIMER),
      )
    }
    try {
      this.#execute(engine)
    } catch (error) {
      void this.#onEnded({ outcome: 'failed', error: asError(error) })
    }
  }

  #execute(engine: Engine): void {
    const { spec, session } = this.#options
    this.#execution = engine.start(
      { job: this.instanceId, work: spec, location: this.#options.here, session: session() },
      {
        chunk: (chunk: RawChunk, first) => this.#log?.append(chunk, first),
        ended: (ending) => void this.#onEnded(ending),
        begun: () => this.#begun(),
        started: (pid) => {
          this.#pid = pid
          this.#changed()
        },
        inputRead: (bytes) => this.#input.read(bytes),
        asked: (question) => this.#asked(question),
        answered: (question, refusal) => this.#answered(question, refusal),
        suspended: () => this.#send({ type: 'job.suspended' }),
        lost: (reason) => {
          this.#reason = reason
          this.#send({ type: 'job.lost' })
        },
        back: () => {
          this.#reason = undefined
          this.#send({ type: 'job.back', state: this.#questions.size > 0 ? 'Blocked' : 'Running' })
          // Asked to stop while it could not be reached: now it can.
          if (this.#stopRequest) this.#send({ type: 'job.stop', request: this.#stopRequest })
        },
      },
    )
    if (this.#credit > 0) this.#execution.credit(this.#credit)
    this.#input.attach(this.#execution)
    if (!this.#execution.queued) this.#begun()
  }

  /** Once: a queue may say it as well. */
  #begun(): void {
    if (this.#begunAt) return
    this.#begunAt = new Date()
    this.#send({ type: 'job.begun' })
  }

  suspend(): void {
    this.#execution?.suspend?.()
  }

  resume(): void {
    this.#execution?.resume?.()
  }

  #asked(question: Question): void {
    if (this.#questions.has(question.id)) return
    this.#questions.set(question.id, { question: Object.freeze(question), turn: Promise.resolve(), verdict: undefined })
    if (this.#questions.size === 1) this.#send({ type: 'job.asked' })
    this.#changed()
  }

  #answered(id: string, refusal: Error | undefined): void {
    const open = this.#questions.get(id)
    if (!open) return
    if (refusal) open.verdict?.reject(refusal)
    else open.verdict?.resolve()
    if (refusal && codeOf(refusal) === 'INVALID_ANSWER') return
    this.#questions.delete(id)
    if (this.#questions.size === 0) this.#send({ type: 'job.answered' })
    this.#changed()
  }

  /** Nobody reads input or answers any more. */
  #closeInward(): void {
    this.#input.close(this.#inputClosed())
    for (const [id, { verdict }] of this.#questions) {
      this.#questions.delete(id)
      verdict?.promise.catch(() => undefined)
      verdict?.reject(new QuestionAnsweredError(`${this.name} has ended`))
    }
  }

  #inputClosed(): InputClosedError {
    return new InputClosedError(`${this.name} has ended: it takes no input any more`)
  }

  #notNow(what: string): JobStateError {
    return new JobStateError(`${this.name} is ${this.#state} and cannot be ${what}`)
  }

  async #until(there: (state: JobState) => boolean): Promise<void> {
    if (there(this.#state)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = this.watch(({ state }) => there(state) && resolve())
    await promise
    stop()
  }

  halt(request: StopRequest): void {
    for (const child of this.children) {
      if (isFinished(child.state)) continue
      if (child.#state === 'Disconnected') {
        child.#stopRequest = request
        continue
      }
      // One that cannot be reached now does not hold up the others; its state says so.
      void child.stop(request).catch(() => undefined)
    }
    if (this.children.length > 0) return
    if (this.#execution) this.#execution.stop(request)
    else void this.#onEnded({ outcome: 'stopped' })
  }

  // ── children ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** First come, first served; a queued child of a stopped parent never starts. */
  #launchChildren(): void {
    const queue = [...this.children]
    const next = (): void => {
      const child = queue.shift()
      if (!child) return
      if (child.state !== 'NotStarted') return next()
      child.start()
      void child.finished.then(next)
    }
    for (const child of this.children) child.watch(() => this.#onChild())
    for (let count = Math.min(this.#options.throttle ?? 32, queue.length); count > 0; count--) next()
    if (this.children.length === 0) void this.#onEnded({ outcome: 'completed' })
  }

  #onChild(): void {
    this.#snapshot = undefined
    const states = this.children.map((child) => child.state)
    const state = foldChildren(states, this.#stopRequest !== undefined)
    if (!isFinished(state)) {
      this.#send({ type: 'job.children', state })
      return this.#changed()
    }
    if (this.#ended) return this.#changed()
    if (state === 'Failed') {
      const failed = this.children.filter((child) => child.state === 'Failed')
      const reasons = failed.map((child) => child.#reason ?? new Error(`${child.location} failed`))
      const where = failed.map((child) => `${child.location}: ${child.#reason?.message ?? 'failed'}`).join('; ')
      const error = new ChildJobError(
        `${failed.length} of ${this.children.length} did not complete (${where})`,
        reasons,
      )
      const only = this.children.length === 1 ? this.children[0]!.#exitCode : undefined
      return void this.#onEnded({ outcome: 'failed', error, exitCode: only })
    }
    const exitCode = this.children.length === 1 ? this.children[0]!.#exitCode : undefined
    void this.#onEnded(state === 'Stopped' ? { outcome: 'stopped', exitCode } : { outcome: 'completed', exitCode })
  }

  // ── endings ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Once: the log is sealed first, so that whoever hears of the end finds every record. */
  async #onEnded(ending: Ending): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#deadline)
    this.#closeInward()
    // Every failure is in the log too, last, so that whoever only reads hears of it: what a script throws it has said
    // itself, and what failed elsewhere was said there.
    if (ending.outcome === 'failed' && !ending.said) this.#log?.append(singleRecord('error', ending.error))
    await this.#log?.seal()
    const late = this.#late && ending.outcome !== 'completed'
    const told: Ending = late
      ? { outcome: 'failed', error: new TimeoutError(this.#stopRequest?.reason ?? 'its deadline passed') }
      : ending
    this.#exitCode = told.exitCode
    this.#reason = told.outcome === 'completed' ? undefined : told.error
    const why = this.#stopRequest?.reason
    if (told.outcome === 'stopped' && why !== undefined) this.#reason = stopReason(this.#stopRequest!.code, why)
    if (told.outcome === 'completed') this.#streamed = told.streamed
    this.#send({ type: 'job.ended', ending: told })
  }

  /** What comes after the end is nobody's news. */
  #send(event: JobMachineEvent): void {
    if (!isFinished(this.#state)) this.#actor.send(event)
  }

  #enter(state: JobState): void {
    if (state === this.#state) return
    if (isFinished(state)) return this.#conclude(state, this.#reason)
    this.#state = state
    this.#note(state)
    this.#changed()
  }

  #conclude(state: JobState, reason: Error | undefined): void {
    if (isFinished(this.#state)) return
    this.#state = state
    this.#reason = reason
    this.#endedAt = this.#note(state)
    this.#actor.stop()
    this.#snapshot = undefined
    this.#settle(this.snapshot())
    this.#changed()
  }

  #note(state: JobState): Date {
    const at = new Date()
    this.#history.push({ state, at })
    // The first ones say how it began.
    if (this.#history.length > HISTORY) this.#history.splice(2, 1)
    return at
  }

  // ── news ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** True until finished; then while any of it is unread by `owner`. */
  #more(): boolean {
    if (!isFinished(this.#state)) return true
    if (this.children.length > 0) return this.children.some((child) => child.#more())
    return this.#log?.hasMoreData ?? false
  }

  #onLog(): void {
    const more = this.#more()
    // A count of errors alone is no news worth a message per chunk; the next snapshot has it.
    this.#snapshot = undefined
    if (this.#parent) this.#parent.#snapshot = undefined
    if (more === this.#hasMoreData) return
    this.#hasMoreData = more
    this.#changed()
    if (this.#parent) this.#parent.#changed()
  }

  /** Tells listeners once per turn, however much happened in it. */
  #changed(): void {
    this.#snapshot = undefined
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      const snapshot = this.snapshot()
      for (const listener of [...this.#listeners]) listener(snapshot)
    })
  }
}

function stopReason(code: string | undefined, why: string): Error {
  return code === undefined ? new JobStoppedError(why) : new ErrandError(code, why)
}
