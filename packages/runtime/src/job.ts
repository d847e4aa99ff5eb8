// A job on the peer that owns it, until it has ended: its actor, its execution or its children, its log. Machines decide,
// this acts.
import { createActor } from 'xstate'
import { gone } from './actor-end.ts'
import { Alarm } from './alarm.ts'
import { AttemptIO } from './attempt-io.ts'
import { foldChildren, isFinished } from './child-jobs.ts'
import { ChildQueue } from './child-queue.ts'
import { cutOwnStack } from './error-stack.ts'
import { asError, ChildJobError, ErrandError, JobStateError, JobStoppedError, TimeoutError } from './errors.ts'
import type { Engine, Execution, ExecutionIO } from './engine/engine.ts'
import { RemoteEngine } from './engine/remote.ts'
import { JobAttempts, type RestartRule, type RetryRule } from './job-attempts.ts'
import {
  jobLogic,
  type Ending,
  type JobActions,
  type JobActor,
  type JobLife,
  type JobMachineEvent,
  type StopRequest,
} from './job-machine.ts'
import type { HostedActor } from './hosted-actor.ts'
import type { EntryFacts, JobEntry } from './job-entry.ts'
import { JobInput } from './job-input.ts'
import { JobQuestions } from './job-questions.ts'
import { asksNothing, inputClosed, JobRow, noMap, notNow, type RowHome, type TableJob } from './job-row.ts'
import { MapItems } from './map-items.ts'
import { since, thisMoment } from './moment.ts'
import { ACTOR_LOG_BYTES, OutputLog, OWNER, untilAborted } from './output-log.ts'
import { recordsOf, singleRecord, type RawChunk } from './record.ts'
import type { NextAttempt, StoredJob } from './stored-job.ts'
import type { StoredLog } from './store/store.ts'
import type { Buffering, JobSnapshot, JobState, JobType, Kind, PeerId, Question, SessionSnapshot } from './surface.ts'
import type { InitSpec, WorkSpec } from './wire.ts'
import { mapThrottleLimit } from './work.ts'

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
  /** What its session does first in whatever runs a script. */
  readonly setUp?: InitSpec | undefined
  /** What `ctx.location` says. */
  readonly here: string
  /** Milliseconds from its launch on; a parent's is its children's too, those in the queue not excepted. */
  readonly deadline?: number | undefined
  /** Milliseconds it waits before it is launched. */
  readonly delay?: number | undefined
  /** It is launched when this one has completed; the delay begins then. */
  readonly after?: TableJob | undefined
  /** Of what has an engine. */
  readonly retry?: RetryRule | undefined
  readonly restart?: RestartRule | undefined
  /** What is written down of it, where that outlives the peer. */
  readonly entry?: JobEntry | undefined
  /** As it was when its peer ended. */
  readonly was?: StoredJob | undefined
}

/** States of which `history` keeps at most so many. */
const HISTORY = 32
/** Of so many attempts it is known where in the log they ended. */
const ATTEMPT_ENDS_KEPT = 16
/** States in which there is work that can be told to stand still. */
const LIVE: ReadonlySet<JobState> = new Set<JobState>(['Running', 'Blocked'])

export class JobHost implements JobActions, ExecutionIO, TableJob {
  readonly instanceId: string
  readonly children: JobHost[] = []
  /** Settles with the last snapshot; never rejects. */
  readonly finished: Promise<JobSnapshot>
  readonly #options: JobOptions
  /** instanceId */
  readonly #session: string
  #id: number
  #name: string
  /** Made by the first thing that happens to it: what waits has nothing to decide, and there may be very many that wait. */
  #actor: JobActor | undefined
  readonly #settle: (snapshot: JobSnapshot) => void
  readonly #listeners = new Set<(snapshot: JobSnapshot) => void>()
  /** Its table's: there is news, for whoever asks for it. Of very many jobs nobody does. */
  onNews: (() => void) | undefined
  readonly #input = new JobInput()
  #entry: JobEntry | undefined
  readonly #questions: JobQuestions
  readonly #history: { readonly state: JobState; readonly at: Date }[]
  #log: OutputLog | undefined
  #ready: PromiseWithResolvers<void> | undefined
  #parent: JobHost | undefined
  #execution: Execution | undefined
  /** The session it was put into, and its run there. */
  #elsewhere: { readonly held?: string; readonly far?: string } = {}
  /** Of the attempt under way. */
  #io: AttemptIO | undefined
  #credit = 0
  #state: JobState = 'NotStarted'
  #hasMoreData = true
  /** It was told to stand still. */
  #still: boolean
  /** A durable machine is to go on where it was. */
  #goesOn = false
  /** Its peer goes down, and it goes on with the next one. */
  #left = false
  /** As it was told last. */
  #paused = false
  /** It runs elsewhere, and waits there. */
  #farFull = false
  #reason: Error | undefined
  #exitCode: number | undefined
  #streamed: boolean | undefined
  #pid: number | undefined
  #begunAt: Date | undefined
  #endedAt: Date | undefined
  #stopRequest: StopRequest | undefined
  #launched = false
  /** Until it is launched, and between attempts. */
  #alarm: Alarm | undefined
  #deadline: Alarm | undefined
  #late = false
  /** Why its log takes nothing any more. */
  #unkeptFor: Error | undefined
  readonly #attempts: JobAttempts
  /** Of a parent that has been launched. */
  #queue: ChildQueue | undefined
  #throttle: number
  /** The number in our log of the first record of this attempt: what comes numbered from elsewhere counts from there. */
  #base = 0
  /** Of the last attempts before it: up to where in our log what they said is. */
  #attemptEnds: Map<number, number> | undefined
  /** Between two attempts, where it is written down. */
  #next: NextAttempt | undefined
  /** The next attempt waits for a reader: its log is full. */
  #wantsRoom = false
  #ended = false
  /** Its end, written down already and not told yet. */
  #endsAt: Date | undefined
  /** On its way to where it was: that is no news. */
  #quiet = false
  /** Of a map that came back: how far it was. */
  readonly #itemsLeft: MapItems | undefined
  /** Errors in its log when it was written down. */
  #errors: number
  #snapshot: JobSnapshot | undefined
  #scheduled = false

  constructor(options: JobOptions) {
    this.#options = options
    this.instanceId = options.instanceId
    this.#session = options.session().instanceId
    this.#id = options.id
    this.#name = options.name
    this.#throttle = options.throttle ?? 32
    const { was, entry } = options
    this.#attempts = was?.open
      ? new JobAttempts(options.retry, options.restart, {
          count: was.open.attempt,
          failures: was.open.failures.map((at) => performance.now() - since(at)),
        })
      : new JobAttempts(options.retry, options.restart)
    this.#questions = new JobQuestions(options.name)
    this.#history = was ? [...was.history] : [{ state: 'NotStarted', at: new Date() }]
    this.#begunAt = was?.begunAt
    this.#base = was?.open?.base ?? 0
    this.#still = was?.open?.still === true
    this.#itemsLeft = was?.items && MapItems.from(was.items)
    this.#errors = was?.errors ?? 0
    this.#entry = entry
    entry?.follow(() => this.#facts())
    if (options.engine && options.spec.input !== true) this.#input.end()
    const { promise, resolve } = Promise.withResolvers<JobSnapshot>()
    this.finished = promise
    this.#settle = resolve
    if (was && isFinished(was.state)) this.#restoreEnd(was)
  }

  get id(): number {
    return this.#id
  }
  get name(): string {
    return this.#name
  }
  get spec(): WorkSpec {
    return this.#options.spec
  }
  /** What does not change about it. */
  get head(): Pick<JobOptions, 'instanceId' | 'id' | 'name' | 'type' | 'location' | 'position'> {
    const { instanceId, id, name, type, location, position } = this.#options
    return { instanceId, id, name, type, location, ...(position !== undefined && { position }) }
  }
  get position(): number | undefined {
    return this.#options.position
  }
  get state(): JobState {
    return this.#state
  }
  /** The state it is in, and since when. */
  get newest(): { readonly state: JobState; readonly at: Date } {
    return this.#history.at(-1)!
  }
  get startId(): string {
    return this.#options.spec.startId
  }
  get command(): string {
    return this.#options.spec.command
  }
  get endedAt(): Date | undefined {
    return this.#endedAt
  }
  get location(): string {
    return this.#options.location
  }
  get log(): OutputLog | undefined {
    return this.#log
  }
  /** Settles when there is a log to read. */
  get ready(): Promise<void> {
    if (!this.#ready) {
      this.#ready = Promise.withResolvers()
      if (this.#log) this.#ready.resolve()
    }
    return this.#ready.promise
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
  /** What is written down of it. */
  get entry(): JobEntry | undefined {
    return this.#entry
  }
  /** Whether another attempt follows when this one fails. */
  get again(): boolean {
    return this.#attempts.ruled
  }
  /** Before which record of the log that attempt has ended; undefined: it has not, or is the last one. */
  endOfAttempt(attempt: number): number | undefined {
    // Who asks for one of long ago, or of an earlier life, has nothing more to read.
    return attempt === this.attempt ? undefined : (this.#attemptEnds?.get(attempt) ?? 0)
  }
  /** Which attempt is under way, from 1. */
  get attempt(): number {
    return this.#attempts.count
  }
  /** Of a machine that is at work. */
  get actor(): HostedActor | undefined {
    return this.#execution?.actor
  }
  /** Of a machine that is written down, and cannot go on: why. */
  get quarantine(): Error | undefined {
    return this.#execution?.quarantine
  }
  /** What it is at goes on with the next start of its peer. */
  get durable(): boolean {
    return this.#execution?.leave !== undefined
  }
  /** Its peer goes down, and it goes on with the next one. */
  get left(): boolean {
    return this.#left
  }
  get items(): MapItems | undefined {
    return this.#execution?.items ?? this.#itemsLeft
  }

  /** What it says is kept there. `cursor`: of a copy, where its reader begins. */
  openLog(
    stored: StoredLog,
    limit: number,
    how: Buffering,
    o: { errors?: number; cursor?: number | undefined } = {},
  ): void {
    const actor = this.#options.spec.kind === 'machine'
    const log = new OutputLog(
      stored,
      actor ? Math.min(limit, ACTOR_LOG_BYTES) : limit,
      (bytes) => this.credit(bytes),
      actor ? 'drop' : 'block',
      o.errors,
      actor,
    )
    // Before anybody can read it.
    if (o.cursor !== undefined) log.begin(0, o.cursor)
    this.attachLog(log)
    this.setBuffering(how)
  }

  /** The log is made by the session's store, which may need time; a parent has none. */
  attachLog(log: OutputLog): void {
    this.#log = log
    log.onChange(() => this.#onLog())
    log.onFailed((error) => this.#unkept(error))
    this.#ready?.resolve()
  }

  /** What it says, or that it goes on, cannot be kept any more: then it is not worth going on. */
  #unkept(error: Error): void {
    if (this.#ended) return
    this.#unkeptFor = error
    void this.stop({ grace: 0, reason: error.message }).catch(() => undefined)
  }

  /**
   * As its session has it, unless it runs in another: that one's counts. A map's log is where the map is. A machine never waits
   * for a reader.
   */
  setBuffering(how: Buffering): void {
    const { engine, spec } = this.#options
    if (spec.kind === 'machine' || engine instanceof RemoteEngine || spec.map?.shared) return
    this.#log?.setBuffering(how)
  }

  async acknowledge(reader: string, seq: number): Promise<void> {
    const log = this.#log
    await log?.acknowledge(reader, seq)
    // Where the log is a copy, the original may know; whoever has read all of it knows that it does.
    const told = reader === OWNER && seq > this.#base ? this.#execution?.acknowledge?.(seq - this.#base) : undefined
    if (log?.sealed && seq >= log.end) await told
  }

  /** The log took so many bytes: the producer may send as many more. */
  credit(bytes: number): void {
    if (this.#execution) this.#execution.credit(bytes)
    // Between attempts nobody is owed anything: the next one begins with a credit of its own.
    else if (this.#attempts.count === 1) this.#credit += bytes
  }

  /** A run that was lost gets the number of a job, and its children with it. */
  enlist(id: number): void {
    this.#id = id
    // One that was given a name keeps it.
    if (this.#options.spec.name === undefined) this.#name = `Job${id}`
    for (const child of this.children) {
      child.#id = id
      child.#name = `${this.#name}.${child.position}`
      child.#changed()
    }
    this.#changed()
  }

  adopt(children: readonly JobHost[]): void {
    for (const child of children) {
      child.#parent = this
      this.children.push(child)
    }
  }

  /** Launches it: now, or when what it waits for has come. */
  start(): void {
    const { after } = this.#options
    if (after && !this.#entry?.freed) void after.finished.then((last) => this.#onPredecessor(last))
    else this.#launchLater()
  }

  // ── as it was when its peer ended: each of these instead of `start` ─────────────────────────────────────────────────

  /** It was at work, and that work is lost: it has failed, unless it is to be tried again. */
  fail(error: Error): void {
    this.#resume()
    this.ended({ outcome: 'failed', error })
  }

  /** It waited for its next attempt: so it does for the rest of that time. */
  waitOn(next: NextAttempt): void {
    this.#resume()
    this.#next = next
    this.#alarm = new Alarm(Math.max(0, next.wait - since(next.since)), () => this.#again())
  }

  /** Its work is elsewhere and may go on there: it is taken up where its log ends, when that place can be reached. */
  takeUp(reason: Error): void {
    this.#resume()
    this.lost(reason)
    this.#attempt(this.#options.engine!)
  }

  /** It had ended elsewhere, and that was not told yet. */
  endAs(ending: Ending): void {
    this.#resume()
    this.ended(ending)
  }

  /** A durable machine: it goes on where it was. */
  goOnHere(): void {
    this.#resume()
    this.#goesOn = true
    const still = this.#still
    this.#attempt(this.#options.engine!)
    if (still) this.#send({ type: 'job.suspend' })
  }

  /** A parent, when its children are where they were. */
  goOnWithChildren(): void {
    this.#resume()
    this.#launchChildren()
    this.#onChild()
  }

  #resume(): void {
    this.#launched = true
    this.#quiet = true
    this.#send({ type: 'job.begun' })
    this.#quiet = false
    this.#startDeadline()
  }

  #restoreEnd({ state, reason, exitCode, streamed, pid }: StoredJob): void {
    this.#ended = true
    this.#launched = true
    this.#state = state
    this.#reason = reason
    this.#exitCode = exitCode
    this.#streamed = streamed
    this.#pid = pid
    this.#endedAt = new Date(this.#history.at(-1)!.at)
    this.#closeInward()
    this.#changed()
  }

  /** Stops it and waits for its end. Finished: nothing happens. @throws PeerUnreachableError when it cannot be reached */
  async stop(request: StopRequest): Promise<JobSnapshot> {
    if (isFinished(this.#state) || this.#left) return this.snapshot()
    if (this.#state === 'Disconnected') {
      // Saying Stopped of what runs on elsewhere would be a lie: reach it first, or say that we cannot.
      try {
        await this.#reach()
      } catch (error) {
        // It has ended meanwhile: stopped or not, it is over.
        if (this.#ended) return this.finished
        throw error
      }
    }
    this.#stopRequest = request
    // A parent some of whose children cannot be reached yet: the others are stopped now.
    if (this.#state === 'Disconnected' && this.children.length > 0) this.halt(request)
    else this.#send({ type: 'job.stop', request })
    return this.finished
  }

  /** Of a parent one child that can be reached is enough. @throws PeerUnreachableError */
  async #reach(): Promise<void> {
    if (this.children.length === 0) return this.#execution?.reachable?.()
    const open = this.children.filter((child) => !isFinished(child.state))
    const tries = await Promise.allSettled(
      open.map(async (child) => (child.state === 'Disconnected' ? child.#execution?.reachable?.() : undefined)),
    )
    const refused = tries.filter((one) => one.status === 'rejected')
    if (refused.length > 0 && refused.length === tries.length) throw refused[0]!.reason
  }

  /** Of a machine: settles when its actor is there. @throws ActorGoneError, MachineQuarantinedError; the reason of `signal` */
  async actorThere(signal?: AbortSignal): Promise<HostedActor> {
    await this.#until((state) => this.actor !== undefined || this.quarantine !== undefined || isFinished(state), signal)
    signal?.throwIfAborted()
    const { actor, quarantine } = this
    if (quarantine && !isFinished(this.#state)) throw quarantine
    if (!actor || isFinished(this.#state)) throw gone(this.snapshot())
    return actor
  }

  /** A chunk of its input: to all children of a parent, as fast as the slowest. @throws InputClosedError, LimitError */
  async input(chunk: RawChunk): Promise<void> {
    if (isFinished(this.#state)) throw inputClosed(this.name)
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
    const own = this.#questions.first
    if (own) return own
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
    if (id === undefined) throw asksNothing(this)
    const child = /^(\d+)\.(.*)$/.exec(id)
    if (child && this.children.length > 0) {
      const asking = this.children.find(({ position }) => position === Number(child[1]))
      if (!asking) throw new JobStateError(`${this.name} has no child ${child[1]}`)
      return asking.answer(value, child[2])
    }
    const reach = async (): Promise<void> => {
      if (this.#state === 'Disconnected') await this.#execution?.reachable?.()
    }
    return this.#questions.answer(id, reach, () => this.#execution?.answer?.(id, value))
  }

  /** Settles when it stands still, or has ended. @throws JobStateError */
  async standStill(): Promise<JobSnapshot> {
    const able = this.children.length > 0 ? this.children.filter(({ state }) => LIVE.has(state)) : [this]
    if (!LIVE.has(this.#state) && this.#state !== 'Suspended') throw notNow(this, 'suspended')
    if (this.children.length > 0) {
      // Nor does anybody take the place of one that ends meanwhile.
      this.#queue?.hold()
      await Promise.all(able.map((child) => child.standStill()))
      this.#onChild()
    } else if (this.#state !== 'Suspended') {
      if (!this.#execution?.suspend) throw new JobStateError(`${this.name} cannot be suspended where it runs`)
      this.#send({ type: 'job.suspend' })
      await this.#until((state) => state === 'Suspended' || !LIVE.has(state))
    }
    return this.snapshot()
  }

  /** @throws JobStateError unless it is Suspended; MachineQuarantinedError */
  goOn(): JobSnapshot {
    if (this.quarantine) throw this.quarantine
    const still = this.children.filter(({ state }) => state === 'Suspended')
    const held = this.#queue?.held === true
    for (const child of still) child.goOn()
    if (held) this.#queue?.release()
    if (still.length > 0 || (held && this.#state !== 'Suspended')) return this.snapshot()
    if (this.#state !== 'Suspended') throw notNow(this, 'resumed')
    this.#send({ type: 'job.resume' })
    return this.snapshot()
  }

  /** What is left of it now that it has ended. `share`: the same text, kept once for many. */
  row(home: RowHome, share: (text: string) => string): JobRow {
    const { id, name } = this
    const { type, location, position, engine } = this.#options
    const log = this.#log
    const execution = this.#execution
    // A session that was opened for this alone has ended: nobody there asks what has been read here.
    const asked = engine instanceof RemoteEngine && engine.session?.temporary === false && log?.hasMoreData === true
    const base = this.#base
    const acknowledge = (seq: number): Promise<void> | undefined =>
      seq > base ? execution?.acknowledge?.(seq - base) : undefined
    return new JobRow(home, {
      id,
      instanceId: this.instanceId,
      startId: this.startId,
      name,
      command: share(this.command),
      location,
      type,
      position,
      state: this.#state,
      reason: this.#reason,
      exitCode: this.#exitCode,
      pid: this.#pid,
      streamed: this.#streamed,
      epoch: this.#epoch,
      errors: log?.errors ?? 0,
      begunAt: this.#begunAt,
      history: this.#history,
      children: this.children.map((child) => child.row(home, share)),
      stored: log && log.end > 0 ? log.stored : undefined,
      source: asked ? { engine, acknowledge } : undefined,
      items: this.items,
    })
  }

  /** From now on it is written down. @throws StoreError */
  async keep(entry: JobEntry): Promise<void> {
    entry.follow(() => this.#facts())
    entry.goesOn(this.#elsewhere)
    if (this.#ended) {
      await this.finished
      this.#log?.stored.pack?.()
      return entry.conclude(this.#facts())
    }
    this.#entry = entry
    await entry.put()
  }

  /** Its table ends while it goes on elsewhere: nobody here hears of it any more. Its state stays as it was. */
  async abandon(): Promise<void> {
    this.#entry?.leave()
    await this.#log?.seal()
    this.#settle(this.snapshot())
  }

  /** A durable machine whose peer goes down. Settles when all of it is on disk. */
  async leave(): Promise<void> {
    this.#left = true
    await this.#execution?.leave?.()
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
    const { items } = this
    // Of a map at work the numbers change without any news.
    if (this.#snapshot && (!items || this.#ended)) return this.#snapshot
    const { id, name } = this
    const { type, location, spec, position, was, session } = this.#options
    // One that came back was made before its peer had a name on the network.
    const peer = was ? session().peerId : this.#options.peer
    return (this.#snapshot = Object.freeze({
      id,
      instanceId: this.instanceId,
      name,
      command: spec.command,
      location,
      peer,
      session: this.#session,
      type,
      state: this.#state,
      hasMoreData: this.#more(),
      ...(this.#full && { paused: 'output-full' as const }),
      reason: this.#reason,
      exitCode: this.#exitCode,
      begunAt: this.#begunAt,
      endedAt: this.#endedAt,
      question: this.question,
      history: Object.freeze(this.#history.slice()),
      errorCount: (this.#log?.errors ?? 0) + this.children.reduce((sum, child) => sum + (child.#log?.errors ?? 0), 0),
      pid: this.#pid,
      streamed: this.#streamed,
      ...(this.#epoch !== undefined && { epoch: this.#epoch }),
      ...(position !== undefined && { parentId: id, position }),
      ...(items && { items: items.counts() }),
      children: Object.freeze(this.children.map((child) => child.snapshot())),
    }))
  }

  // ── what the machine asks for ───────────────────────────────────────────────────────────────────────────────────────

  launch(): void {
    this.#launched = true
    const { engine } = this.#options
    this.#startDeadline()
    if (!engine) {
      this.begun()
      return this.#launchChildren()
    }
    this.#attempt(engine)
  }

  // ── when it is launched, and for how long it may go on ──────────────────────────────────────────────────────────────

  #launchLater(): void {
    const { delay = 0, position } = this.#options
    const entry = this.#entry
    // That a child has begun is known by the session it is put into: see `placed`.
    // What waits for its turn has not begun either: see `mayBegin`.
    const waits = this.#options.engine?.queues?.(this.#options.spec) === true
    const written = !entry || entry.launched || position !== undefined || waits
    const launch = (): void => {
      if (written) this.#send({ type: 'job.launch' })
      else
        entry.launching().then(
          () => this.#send({ type: 'job.launch' }),
          (error) => this.#unkept(asError(error)),
        )
    }
    if (delay === 0) return launch()
    // Stopped while it waited for another: it waits for nothing any more.
    const left = entry ? Math.max(0, delay - entry.waited) : delay
    if (this.#state === 'NotStarted') this.#alarm = new Alarm(left, launch)
  }

  /** From its launch on, whatever was started again since. */
  #startDeadline(): void {
    const { deadline } = this.#options
    if (deadline === undefined) return
    const left = this.#entry ? Math.max(0, deadline - this.#entry.lasted) : deadline
    this.#deadline = new Alarm(left, () => this.#expire(deadline))
  }

  #onPredecessor(last: JobSnapshot): void {
    if (last.state === 'Completed') {
      this.#entry?.free()
      return this.#launchLater()
    }
    const how = last.state === 'Failed' ? 'failed' : last.state === 'Stopped' ? 'was stopped' : 'was left'
    void this.stop({ grace: 0, reason: `it was to start after ${last.name}, which ${how}` }).catch(() => undefined)
  }

  /** Whatever it is at: queued, standing still, waiting for an answer or for its next attempt. */
  #expire(deadline: number): void {
    if (isFinished(this.#state)) return
    const request = { grace: this.#options.stopGrace, reason: `its deadline of ${deadline} ms passed` }
    const open = this.children.filter((child) => !isFinished(child.state))
    this.#late = true
    // One that cannot be reached hears of it when it is back, or its own peer's clock ends it there.
    this.#stopRequest ??= request
    for (const child of open) {
      child.#late = true
      if (this.#state !== 'Disconnected') continue
      child.#stopRequest ??= request
      void child.stop(request).catch(() => undefined)
    }
    if (open.length === 0 || this.#state !== 'Disconnected') void this.stop(request).catch(() => undefined)
  }

  // ── attempts ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #attempt(engine: Engine): void {
    this.#wantsRoom = false
    this.#farFull = false
    try {
      this.#execute(engine)
    } catch (error) {
      this.ended({ outcome: 'failed', error: asError(error) })
    }
  }

  #execute(engine: Engine): void {
    const { spec, session, setUp } = this.#options
    const attempt = this.#attempts.count
    // A start over there is known by its id: another attempt is another start.
    const work = attempt === 1 ? spec : { ...spec, startId: `${spec.startId}~${attempt}` }
    const io = (this.#io = new AttemptIO(this))
    const from = (this.#log?.end ?? 0) - this.#base
    const kept = this.#entry && { key: this.#entry.key, again: this.#goesOn }
    this.#goesOn = false
    const execution = engine.start(
      {
        job: this.instanceId,
        work,
        location: this.#options.here,
        session: session(),
        from,
        attempt,
        ...(kept && { kept }),
        ...(setUp && { setUp }),
      },
      io,
    )
    // Over before it was at work: there is nothing to speak to. Of an actor its end is all there is to see.
    if (this.#io !== io) {
      if (this.#ended && execution.actor) this.#execution = execution
      return
    }
    this.#execution = execution
    if (this.#credit > 0) this.#execution.credit(this.#credit)
    this.#credit = 0
    this.#input.attach(this.#execution)
    if (!this.#execution.queued) this.begun()
  }

  // ── what an attempt says ────────────────────────────────────────────────────────────────────────────────────────────

  chunk(chunk: RawChunk, first?: number): void {
    this.#log?.append(chunk, first === undefined ? undefined : first + this.#base)
  }

  async has(kind: Kind, first: number): Promise<boolean> {
    const end = this.#log?.end ?? 0
    for (let from = this.#base + first; from < end;) {
      for (const chunk of await this.#log!.more(from, end)) {
        if (recordsOf({ ...chunk, job: '', location: '', from }).some((one) => one.kind === kind)) return true
        from = chunk.first + chunk.count
      }
    }
    return false
  }

  started(pid: number): void {
    this.#pid = pid
    this.#entry?.changed()
    this.#changed()
  }

  inputRead(bytes: number): void {
    this.#input.read(bytes)
  }

  suspended(): void {
    this.#send({ type: 'job.suspended' })
  }

  resumed(): void {
    this.#send({ type: 'job.resumed' })
  }

  placed(session: string): Promise<void> | undefined {
    this.#elsewhere = { held: session }
    return this.#entry?.placed(session)
  }

  judged(ending: Ending): Promise<void> | undefined {
    const entry = this.#entry
    return entry && this.#log?.settled.then(() => entry.judged(ending))
  }

  taken(run: string): void {
    this.#elsewhere = { ...this.#elsewhere, far: run }
    this.#entry?.taken(run)
  }

  lost(reason: Error): void {
    this.#reason = reason
    this.#send({ type: 'job.lost' })
    // News also where it was lost before: now it is given up.
    this.#changed()
  }

  back(): void {
    this.#reason = undefined
    this.#send({ type: 'job.back', state: this.#questions.size > 0 ? 'Blocked' : 'Running' })
    // Asked to stop while it could not be reached: now it can.
    if (this.#stopRequest) this.#send({ type: 'job.stop', request: this.#stopRequest })
  }

  buffered(how: Buffering): void {
    this.#log?.setBuffering(how)
  }

  full(full: boolean): void {
    if (full === this.#farFull) return
    this.#farFull = full
    this.#changed()
  }

  /** An attempt has ended: with it the job, unless it is to be tried again. */
  ended(ending: Ending): void {
    if (this.#ended) return
    this.#leave()
    if (ending.outcome !== 'failed' || this.#stopRequest || this.#late) return void this.#onEnded(ending)
    const failed = this.#attempts.count
    const verdict = this.#attempts.failed(ending.error, performance.now())
    if (!('wait' in verdict)) {
      const { error } = verdict
      if (!error) return void this.#onEnded(ending)
      if (!ending.said) this.#log?.append(singleRecord('error', ending.error))
      return void this.#onEnded({ outcome: 'failed', error, exitCode: ending.exitCode })
    }
    const { wait, of } = verdict
    this.#noteAttemptEnd(failed)
    this.#execution = undefined
    this.#pid = undefined
    if (!ending.said) this.#log?.append(singleRecord('error', ending.error))
    const next = `attempt ${failed + 1}${of === undefined ? '' : ` of ${of}`}`
    const when = wait > 0 ? `in ${wait} ms` : 'now'
    const said = `attempt ${failed} failed: ${ending.error.message}; ${next} follows ${when}`
    this.#log?.append(singleRecord('warning', said))
    this.#goOnRunning()
    if (this.#entry) {
      this.#next = { since: thisMoment(), wait }
      this.#entry.changed()
    }
    this.#alarm = new Alarm(wait, () => this.#again())
  }

  #noteAttemptEnd(attempt: number): void {
    const ends = (this.#attemptEnds ??= new Map())
    ends.set(attempt, this.#log?.end ?? 0)
    ends.delete(attempt - ATTEMPT_ENDS_KEPT)
  }

  /** Not before there is room for what it will say: attempts that nobody reads must not fill the memory. */
  #again(): void {
    if (this.#ended) return
    this.#wantsRoom = this.#log?.paused === true
    if (this.#wantsRoom) return
    this.#base = this.#log?.end ?? 0
    this.#next = undefined
    if (!this.#entry) return this.#attempt(this.#options.engine!)
    this.#entry.attempting().then(
      () => this.#ended || this.#attempt(this.#options.engine!),
      (error) => this.#unkept(asError(error)),
    )
  }

  /** What this attempt may still say is nobody's news. */
  #leave(): void {
    this.#io?.leave()
    this.#io = undefined
  }

  /** Wherever its last attempt left it, it is at work until the next begins. */
  #goOnRunning(): void {
    this.#questions.withdraw(`attempt ${this.#attempts.count - 1} of ${this.name} has ended`)
    this.#send({ type: 'job.answered' })
    if (this.#state === 'Suspended') this.#send({ type: 'job.resume' })
    if (this.#state === 'Disconnected') {
      this.#reason = undefined
      this.#send({ type: 'job.back', state: 'Running' })
    }
    this.#changed()
  }

  /** Attempts it has taken, where it is not the first. */
  get #epoch(): number | undefined {
    return this.#attempts.count > 1 ? this.#attempts.count : undefined
  }

  /** From here on a peer that is started again takes it for begun. */
  mayBegin(): Promise<void> | undefined {
    const entry = this.#entry
    if (!entry || entry.launched) return undefined
    const written = entry.launching()
    written.catch((error: unknown) => this.#unkept(asError(error)))
    return written
  }

  /** Once: a queue may say it as well. One that goes on is there now. */
  begun(): void {
    if (this.#begunAt) {
      // Another attempt. Whoever waits for its actor hears of it only by this.
      if (this.actor) this.#changed()
      return
    }
    this.#begunAt = new Date()
    this.#send({ type: 'job.begun' })
    // News also where it is no change of state: it was lost before it said so.
    this.#changed()
  }

  suspend(): void {
    this.#still = true
    this.#tell((execution) => execution.suspend?.())
  }

  resume(): void {
    this.#still = false
    this.#tell((execution) => execution.resume?.())
  }

  /** An engine does not throw; if one ever does, the job must still end, and say why. */
  #tell(act: (execution: Execution) => void): void {
    try {
      if (this.#execution) act(this.#execution)
    } catch (error) {
      void this.#onEnded({ outcome: 'failed', error: asError(error) })
    }
  }

  asked(question: Question): void {
    if (!this.#questions.ask(question)) return
    if (this.#questions.size === 1) this.#send({ type: 'job.asked' })
    this.#changed()
  }

  answered(id: string, refusal?: Error): void {
    if (!this.#questions.close(id, refusal)) return
    if (this.#questions.size === 0) this.#send({ type: 'job.answered' })
    this.#changed()
  }

  /** Nobody reads input or answers any more. */
  #closeInward(): void {
    this.#input.close(() => inputClosed(this.name))
    this.#questions.withdraw(`${this.name} has ended`)
  }

  async #until(there: (state: JobState) => boolean, signal?: AbortSignal): Promise<void> {
    if (there(this.#state)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = this.watch(({ state }) => there(state) && resolve())
    await untilAborted(promise, signal)
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
    if (this.#execution) this.#tell((execution) => execution.stop(request))
    else void this.#onEnded({ outcome: 'stopped' })
  }

  /** So many children, or items of a map, at once from now on, also of those that wait. @throws JobStateError, UsageError */
  throttle(most: number): JobSnapshot {
    if (this.#options.spec.map) {
      if (!this.#execution?.throttle || isFinished(this.#state)) throw noMap(this)
      this.#execution.throttle(mapThrottleLimit(most))
      return this.snapshot()
    }
    if (this.children.length === 0) throw new JobStateError(`${this.name} has no children to be throttled`)
    this.#throttle = most
    if (this.#queue) this.#queue.most = most
    return this.snapshot()
  }

  // ── children ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #launchChildren(): void {
    this.#queue = new ChildQueue(this.children, this.#throttle)
    this.#queue.next()
    if (this.children.length === 0) void this.#onEnded({ outcome: 'completed' })
  }

  #onChild(): void {
    this.#snapshot = undefined
    // Before that a child can do nothing but be stopped.
    if (!this.#launched && !this.children.every((child) => isFinished(child.state))) return this.#changed()
    this.#queue?.next()
    const states = this.children.map((child) => child.state)
    const state = foldChildren(states, this.#stopRequest !== undefined, this.#queue?.held)
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
    this.#leave()
    this.#deadline?.cancel()
    this.#alarm?.cancel()
    this.#closeInward()
    const asked: Ending = this.#late && ending.outcome !== 'completed' ? this.#tooLate(ending) : ending
    const told: Ending = this.#unkeptFor ? { outcome: 'failed', error: this.#unkeptFor, said: true } : asked
    if (told.outcome === 'failed') cutOwnStack(told.error)
    // Every failure is in the log too, last, so that whoever only reads hears of it: what a script throws it has said
    // itself, and what failed elsewhere was said there.
    if (told.outcome === 'failed' && !told.said) this.#log?.append(singleRecord('error', told.error))
    await this.#log?.seal()
    // In one turn with its last row: after a crash of the host no log of a job that has ended is said to lack what it never had.
    if (this.#entry) this.#log?.stored.pack?.()
    const why = this.#stopRequest?.reason
    const stopped = told.outcome === 'stopped' && why !== undefined
    const reason = stopped
      ? stopReason(this.#stopRequest!.code, why)
      : told.outcome === 'completed'
        ? undefined
        : told.error
    const { exitCode } = told
    const streamed = told.outcome === 'completed' ? told.streamed : this.#streamed
    // A store that is gone says less of it; it is told all the same.
    if (this.#entry)
      await this.#writeEnd(this.#entry, told, { reason, exitCode, streamed }).then(
        () => this.#execution?.concluded?.(),
        () => undefined,
      )
    this.#exitCode = exitCode
    this.#reason = reason
    this.#streamed = streamed
    this.#send({ type: 'job.ended', ending: told })
  }

  /** Before anybody hears of it: who is told of an end finds the same one after a restart. */
  async #writeEnd(
    entry: JobEntry,
    { outcome }: Ending,
    how: Pick<EntryFacts, 'reason' | 'exitCode' | 'streamed'>,
  ): Promise<void> {
    const at = (this.#endsAt = new Date())
    const state = outcome === 'completed' ? 'Completed' : outcome === 'failed' ? 'Failed' : 'Stopped'
    await entry.conclude({ ...this.#facts(), ...how, state, history: [...this.#history, { state, at }] })
  }

  #facts(): EntryFacts {
    return {
      state: this.#state,
      history: this.#history,
      reason: this.#reason,
      exitCode: this.#exitCode,
      pid: this.#pid,
      streamed: this.#streamed,
      epoch: this.#epoch,
      begunAt: this.#begunAt,
      errors: this.#log?.errors ?? this.#errors,
      bytes: this.#log?.bytes,
      read: this.#log?.read,
      items: this.items?.stored(),
      attempts: this.#attempts,
      base: this.#base,
      again: this.#next,
      still: this.#still,
    }
  }

  #tooLate(ending: Ending): Ending {
    const why = this.#stopRequest?.reason ?? 'its deadline passed'
    const { error, exitCode } = 'error' in ending ? ending : { error: undefined, exitCode: ending.exitCode }
    return { outcome: 'failed', error: new TimeoutError(why, { ...(error && { cause: error }) }), exitCode }
  }

  /** What comes after the end is nobody's news. */
  #send(event: JobMachineEvent): void {
    if (!isFinished(this.#state)) (this.#actor ??= this.#begunActor()).send(event)
  }

  #begunActor(): JobActor {
    const actor = createActor(jobLogic)
    actor.subscribe({
      next: ({ context }) => this.#step(context),
      error: (error) => this.#broken(error),
    })
    return actor.start()
  }

  /** Does what the machine asks for, and is where it leads. */
  #step({ place, calls, event }: JobLife): void {
    try {
      for (const call of calls) {
        if (call !== 'halt') this[call]()
        else if (event?.type === 'job.stop') this.halt(event.request)
      }
    } catch (error) {
      this.#broken(error)
    }
    this.#enter(place.state)
  }

  /** Neither the machine nor what it asks for has code that throws; if it ever does, the job must still end. */
  #broken(thrown: unknown): void {
    const error = asError(thrown)
    void this.#onEnded({ outcome: 'failed', error }).then(() => this.#conclude('Failed', error))
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
    // One of its own: what is in a snapshot twice takes the codec ten times as long.
    this.#endedAt = new Date(this.#note(state, this.#endsAt))
    this.#actor?.stop()
    this.#changed()
  }

  #note(state: JobState, at: Date = new Date()): Date {
    // It is there already, or will be at once: see `#resume`.
    if (this.#quiet || this.#history.at(-1)!.state === state) return at
    this.#history.push({ state, at })
    if (!isFinished(state)) this.#entry?.changed()
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

  /** It waits for its reader, and will go on; so does a parent's child. */
  get #full(): boolean {
    if (isFinished(this.#state)) return false
    if (this.children.length > 0) return this.children.some((child) => child.#full)
    return this.#farFull || this.#log?.paused === true
  }

  #onLog(): void {
    const more = this.#more()
    const paused = this.#log?.paused === true
    // A count of errors alone is no news worth a message per chunk; the next snapshot has it.
    this.#snapshot = undefined
    // How far a map is changes with what its items say.
    if (this.#entry && !this.#ended && (this.#options.spec.map || this.#log!.errors !== this.#errors)) {
      this.#errors = this.#log!.errors
      this.#entry.changed()
    }
    if (this.#parent) this.#parent.#snapshot = undefined
    if (this.#wantsRoom && !this.#log?.paused) this.#again()
    if (more === this.#hasMoreData && paused === this.#paused) return
    this.#hasMoreData = more
    this.#paused = paused
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
      if (this.#parent) this.#parent.#onChild()
      this.onNews?.()
      // Most children are watched by nobody but their parent, which asks for what it wants to know.
      const over = isFinished(this.#state)
      if (this.#listeners.size === 0 && !over) return
      const snapshot = this.snapshot()
      for (const listener of [...this.#listeners]) {
        try {
          listener(snapshot)
        } catch {
          // One that fails keeps no news from the others, nor the job from its end.
        }
      }
      if (over) this.#settle(snapshot)
    })
  }
}

function stopReason(code: string | undefined, why: string): Error {
  return code === undefined ? new JobStoppedError(why) : new ErrandError(code, why)
}
