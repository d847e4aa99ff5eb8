// A session on another peer, as the peer that holds it sees it: its actor, its link, and all that must survive the link.
//
// Requests carry one id over all links, so that a lost answer may be asked for again. Reads go on behind the last chunk
// they had. Watches are renewed; while the link is gone the jobs there show Disconnected: what they do is unknown.
import { createActor } from 'xstate'
import { backOff } from '@errand/transport'
import type { ActorWay } from './actor-way.ts'
import { Alarm } from './alarm.ts'
import { ask } from './asking.ts'
import {
  asError,
  codeOf,
  PeerClosedError,
  PeerLostError,
  PeerUnreachableError,
  SessionClosedError,
  SessionStateError,
  TimeoutError,
} from './errors.ts'
import { FarJobs } from './far-jobs.ts'
import { Link, type JobReading } from './link.ts'
import { OWNER, untilAborted, whileWanted } from './output-log.ts'
import {
  remoteSessionMachine,
  type RemoteSessionActions,
  type RemoteSessionActor,
  type RemoteSessionEvent,
} from './remote-session-machine.ts'
import { SentCalls, type LostRun } from './sent-calls.ts'
import type { RequestOptions, SessionRef } from './session-ref.ts'
import type { Buffering, JobSnapshot, PeerId, SessionSnapshot, SessionState } from './surface.ts'
import type { ReadRequest, SessionEvent, WorkSpec } from './wire.ts'

/** How long a peer that is to hear that a session is closed or left may take to be reached, in ms: then its lease ends it. */
const REACH_MS = 10_000
/** How long it may take to answer once it was told, in ms, beside the grace that its jobs were given. */
const TOLD_MS = 60_000
/** Pauses between attempts to reach a peer are no longer than this while it has not been gone for long, in ms. */
const SOON = 1_000
const LONG_GONE = 4 * 60_000

/** States that pass by themselves. */
const WAITING: ReadonlySet<SessionState> = new Set<SessionState>(['Opening', 'Connecting'])
/** Answers that mean that it is gone, for us. What else keeps it from being attached another attempt may overcome. */
const GONE: ReadonlySet<string> = new Set(['SESSION_NOT_FOUND', 'SESSION_CLOSED', 'SESSION_EXPIRED', 'DENIED'])
const SETTLED: ReadonlySet<SessionState> = new Set<SessionState>(['Opened', 'Closed', 'Broken'])

/** What a held session needs of the peer that holds it. */
export interface RemoteSessionHome {
  /** A live link to the session's peer, dialled if there is none. */
  link(signal: AbortSignal): Promise<Link>
  /** The local job that runs in this session, or the far run as a new local job. */
  takeUp(session: RemoteSession, name: string | undefined): Promise<JobSnapshot | undefined>
  sessionRef(instanceId: string): SessionRef
  readonly actors?: ActorWay | undefined
  /** Runs that were lost with the session: each is left behind as a job here. */
  leave(session: RemoteSession, runs: readonly LostRun[]): void
  /** Of one that was left: its caller had taken more of it than had been heard of then. */
  took(session: RemoteSession, run: string, seq: number): void
  /** It is Closed or Broken: out of the table. */
  ended(session: RemoteSession): void
}

export interface RemoteSessionOptions {
  /** The holder's own number. */
  readonly id: number
  /** What we call the peer it is on. */
  readonly location: string
  readonly peerId: PeerId
  readonly transport: string
  readonly lostAfter: number
  readonly temporary: boolean
  /** Given up, it is taken up again when its peer is back. */
  readonly reconnect?: boolean
}

type ConnectWishes = Pick<Extract<SessionEvent, { type: 'connect' }>, 'force'> & {
  readonly buffering?: Buffering | undefined
}

export class RemoteSession implements SessionRef, RemoteSessionActions {
  readonly options: RemoteSessionOptions
  readonly #home: RemoteSessionHome
  readonly #actor: RemoteSessionActor
  readonly #listeners = new Set<() => void>()
  readonly #jobs: FarJobs
  #far: SessionSnapshot
  #link: Link | undefined
  #linkEnd: LinkEnd = { tell: undefined }
  #state: SessionState = 'Opening'
  #reason: Error | undefined
  #retry: Alarm | undefined
  #attempts: AbortController | undefined
  /** Aborts when the session is let go of: everything that is read over it stops there. */
  #attachment = new AbortController()
  #unwatch: (() => void) | undefined
  /** Those who connect by command: the first failure is their answer. */
  readonly #connecting = new Set<(refusal: Error) => void>()
  /** It is tried because of them alone: their answer ends that. */
  #commanded = false
  /** Work that is going to begin over there. */
  readonly #coming = new Set<Promise<void>>()
  /** It is being left by command: nothing is lost by that. */
  #leaving = false
  /** One of them takes it away from whoever has it. */
  #force = false
  /** Ends the pause before the next attempt. */
  #sooner: (() => void) | undefined
  /** Looks out for its peer when it has been given up. */
  #lookout: AbortController | undefined
  readonly #calls = new SentCalls()
  #snapshot: SessionSnapshot | undefined

  /** The client process that has it over there: before, where it was taken up again after a start of ours. */
  #client: string | undefined
  /** Disconnected by command. */
  #left = false
  #closing: Promise<void> | undefined

  /**
   * Over a link on which the session has just been opened or attached. Without one: as it was before we were started
   * again, when process `was` had it; it is taken up again unless it had been `left`.
   */
  constructor(
    home: RemoteSessionHome,
    options: RemoteSessionOptions,
    link: Link | { readonly was: string; readonly left: boolean },
    far: SessionSnapshot,
  ) {
    this.#home = home
    this.options = options
    this.#far = far
    this.#jobs = new FarJobs(far.instanceId)
    this.#actor = createActor(remoteSessionMachine, { input: this })
    this.#actor.subscribe({
      next: ({ value }) => this.#enter(value as SessionState),
      error: () => this.#enter('Broken'),
    })
    this.#actor.start()
    if (link instanceof Link) {
      this.#attached(link)
      this.#send({ type: 'session.opened' })
      return
    }
    this.#client = link.was
    this.#left = link.left
    this.#send({ type: 'session.opened' })
    if (link.left) {
      this.#send({ type: 'session.disconnecting' })
      this.#send({ type: 'session.disconnected' })
      return
    }
    this.#reason = new PeerUnreachableError('this peer was started again; the link there is not back yet')
    this.#send({ type: 'link.lost', reason: this.#reason })
  }

  get instanceId(): string {
    return this.#far.instanceId
  }
  get actors(): ActorWay | undefined {
    return this.#home.actors
  }
  get state(): SessionState {
    return this.#state
  }
  get reason(): Error | undefined {
    return this.#reason
  }
  get temporary(): boolean {
    return this.options.temporary
  }
  /** Disconnected by command: it is not to be taken up again by itself. */
  get left(): boolean {
    return this.#left
  }
  /** As it was last seen over there. */
  get far(): SessionSnapshot {
    return this.#far
  }
  /** The client process that had it before ours, until ours has it. */
  get before(): string | undefined {
    return this.#client
  }

  /** Waits until it is Opened, however long it was left. @throws when it is over */
  async opened(signal?: AbortSignal): Promise<void> {
    await this.#ready(signal, true)
  }

  get snapshot(): SessionSnapshot {
    const { id, location, peerId, transport } = this.options
    const availability = this.#state === 'Opened' ? (this.#far.availability === 'Busy' ? 'Busy' : 'Available') : 'None'
    return (this.#snapshot ??= Object.freeze({
      ...this.#far,
      id,
      location,
      peerId,
      transport,
      state: this.#state,
      availability,
      reason: this.#reason,
    }))
  }

  // ── SessionRef ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async request(event: SessionEvent, job?: string, options: RequestOptions = {}): Promise<unknown> {
    switch (event.type) {
      case 'session':
        return this.snapshot
      case 'disconnect':
        await whileWanted(() => this.#disconnect(event), options.signal)
        return this.snapshot
      case 'connect':
        await this.connect(options.signal, event)
        return this.snapshot
      case 'run':
        return this.#call(event, options)
      case 'receive':
        await this.connect(options.signal)
        return whileWanted(() => this.#home.takeUp(this, event.name), options.signal)
      case 'close':
        await this.close(event.grace, options.signal)
        return this.snapshot
      case 'acknowledge':
        // Nothing can be told over there now; what was left here begins behind it.
        if (event.reader === OWNER && this.#state === 'Disconnected') {
          for (const [run, seq] of event.seqs) this.#home.took(this, run, seq)
        }
        this.#calls.took(event)
        return this.#forward(event, job, options)
      default:
        return this.#forward(event, job, options)
    }
  }

  /**
   * Work of ours is going to begin over there: until `begun` settles this session is not left by our word. Never rejects.
   */
  expect(begun: Promise<unknown>): void {
    const coming = begun.then(
      () => undefined,
      () => undefined, // whoever begins it hears why it does not
    )
    this.#coming.add(coming)
    void coming.then(() => this.#coming.delete(coming))
  }

  /** Begins a run for a job of ours: also when its answer comes only after the session was given up and taken up again. */
  async begin(spec: WorkSpec, signal: AbortSignal): Promise<JobSnapshot> {
    return (await this.#forward({ type: 'run', spec }, undefined, { signal, patient: true })) as JobSnapshot
  }

  /** A run that is nothing but a call: were the session lost under it, nobody here would know of it. */
  async #call(event: Extract<SessionEvent, { type: 'run' }>, options: RequestOptions): Promise<unknown> {
    const { spec } = event
    try {
      const onSend = (): void => void (!this.temporary && this.#calls.sent(spec))
      return await this.#forward(event, undefined, { ...options, onSend })
    } catch (error) {
      this.#calls.over(spec.startId)
      throw error
    }
  }

  /** For whoever waits for it: a session that is left, or given up, ends the reading. */
  read(job: string, request: ReadRequest, signal?: AbortSignal): JobReading {
    return this.#read(job, request, signal, false)
  }

  /** For our own log: goes on when the session is taken up again, however long that takes. */
  copy(job: string, request: ReadRequest, signal: AbortSignal): JobReading {
    return this.#read(job, request, signal, true)
  }

  async *#read(job: string, request: ReadRequest, signal: AbortSignal | undefined, patient: boolean): JobReading {
    let next = request.from
    for (;;) {
      let link: Link
      try {
        link = await this.#ready(signal, patient)
      } catch (error) {
        // Nobody waits any more: a reading that is broken off ends where it is, also while there is no link.
        if (signal?.aborted) return undefined
        throw error
      }
      // Left by command: what is said from now on stays over there.
      const here = signal ? AbortSignal.any([signal, this.#attachment.signal]) : this.#attachment.signal
      const reading = link.read(this.#to(job), { ...request, ...(next !== undefined && { from: next }) }, here)
      try {
        for (;;) {
          const step = await reading.next()
          if (step.done) {
            if (here.aborted && !signal?.aborted) break
            if (!here.aborted) this.#calls.over(job)
            return step.value
          }
          if (here.aborted) break
          const { location } = step.value
          yield { ...step.value, location: location === 'localhost' ? this.options.location : location }
          next = step.value.first + step.value.count
        }
      } catch (error) {
        // The link went: go on behind the last chunk as soon as there is one again. Anything else is an answer.
        if (link.open || codeOf(error) !== 'PEER_LOST') throw error
      } finally {
        await reading.return(undefined)
      }
    }
  }

  /**
   * Its owner has what run `run` said before `seq`. Settles when that was heard over there, so that whoever has been told of
   * its end can be killed and nothing comes again; or when there is no link: nobody waits for one because of this. Not
   * heard, those records come again to whoever takes the run up. Never rejects.
   */
  async tellRead(run: string, seq: number): Promise<void> {
    const heard = new AbortController()
    this.request({ type: 'acknowledge', reader: OWNER, seqs: [[run, seq]] }, run)
      .catch(() => undefined) // then those records come again
      .finally(() => heard.abort())
    await this.#until((state) => state !== 'Opened', heard.signal)
  }

  watchJob(
    job: string,
    listener: (snapshot: JobSnapshot) => void,
    lost?: (reason: Error) => void,
    known?: JobSnapshot,
  ): () => void {
    return this.#jobs.watch(job, listener, lost, known)
  }

  watchSession(listener: (snapshot: SessionSnapshot) => void): () => void {
    return this.onChange(() => listener(this.snapshot))
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  elsewhere(session: string): SessionRef {
    return this.#home.sessionRef(session)
  }

  // ── by command ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Opens it again. While it is being reconnected anyway, it is tried at once, and what becomes of this does not end that.
   * `force`: also from another client, who then has it no more; `buffering`: as its jobs are to do from now on.
   * @throws what kept it from opening
   */
  async connect(signal?: AbortSignal, o: ConnectWishes = {}): Promise<void> {
    await this.#open(signal, o.force === true)
    const { buffering } = o
    if (buffering === undefined || buffering === this.#far.buffering) return
    const event = { type: 'connect' as const, buffering }
    this.#far = (await this.#forward(event, undefined, { ...(signal && { signal }) })) as SessionSnapshot
    this.#changed()
  }

  async #open(signal: AbortSignal | undefined, force: boolean): Promise<void> {
    if (this.#state === 'Opened') return
    this.#throwIfOver()
    signal?.throwIfAborted()
    const refused = Promise.withResolvers<void>()
    let refusal: Error | undefined
    const refuse = (error: Error): void => {
      refusal = error
      refused.resolve()
    }
    this.#connecting.add(refuse)
    this.#force ||= force
    const wasLeft = this.#left
    this.#left = false
    if (this.#state === 'Disconnected') {
      this.#commanded = true
      this.#reason = undefined
      this.#send({ type: 'session.connect' })
    } else this.#sooner?.()
    const over = new AbortController()
    const either = signal ? AbortSignal.any([signal, over.signal]) : over.signal
    try {
      await Promise.race([this.#until((state) => state !== 'Connecting', either), refused.promise])
    } finally {
      over.abort()
      this.#connecting.delete(refuse)
      if (this.#connecting.size === 0) {
        // Nobody wants it any more: it must not open by itself, later.
        if (this.#commanded && this.#state === 'Connecting') {
          this.#left = wasLeft
          this.#send({ type: 'link.given-up' })
        }
        this.#commanded = false
        this.#force = false
      }
    }
    signal?.throwIfAborted()
    if ((this.#state as SessionState) === 'Opened') return
    throw refusal ?? this.#reason ?? new SessionStateError(`session ${this.#far.name} is ${this.#state}`)
  }

  /** Its peer was heard of: there is no use in waiting any longer before it is tried again. */
  heardOf(): void {
    this.#sooner?.()
  }

  /**
   * Ends the far session and its jobs; where it cannot be reached the entry here goes all the same, and that is said. Who
   * gives up waiting does not stop it.
   * @throws PeerUnreachableError; TimeoutError: it was told, and said nothing
   */
  async close(grace?: number, signal?: AbortSignal): Promise<void> {
    if (this.#state === 'Closed' || this.#state === 'Broken') return
    await whileWanted(() => (this.#closing ??= this.#close(grace)), signal)
  }

  async #close(grace: number | undefined): Promise<void> {
    let failed: unknown
    try {
      await this.#tell({ type: 'close', ...(grace !== undefined && { grace }) })
    } catch (error) {
      const code = codeOf(error)
      if (code !== 'SESSION_NOT_FOUND' && code !== 'SESSION_CLOSED') failed = error
    }
    // By our own word: why its link was lost before is not the reason.
    this.#reason = undefined
    this.#send({ type: 'session.closed' })
    if (failed === undefined || this.temporary) return
    // Its new client's work goes on. Or it was told, and what it does is not known.
    if (codeOf(failed) === 'SESSION_STATE' || codeOf(failed) === 'TIMEOUT') throw failed
    throw new PeerUnreachableError(`session ${this.#far.name} on ${this.options.location} could not be told to close`, {
      cause: failed,
      hint: `it is no longer listed here; over there it ends by itself after ${this.#far.idleTimeout / 1000} s`,
    })
  }

  /** Nobody here works with it any more, and nobody is to be told: its peer goes down. */
  forsake(): void {
    this.#reason = new PeerClosedError()
    this.#send({ type: 'session.closed', reason: this.#reason })
  }

  /** Over whatever link there is; a link that breaks on the way is replaced. @throws TimeoutError: it was told */
  async #tell(event: Extract<SessionEvent, { type: 'close' | 'disconnect' }>): Promise<SessionSnapshot> {
    const { location } = this.options
    const { name } = this.#far
    // Not `AbortSignal.timeout`: that would keep the session for as long after it has closed.
    const late = new AbortController()
    const { signal } = late
    const giveUp = (reason: Error) => (): void => late.abort(reason)
    const unreached = new PeerUnreachableError(`${location} could not be reached within ${REACH_MS / 1000} s`)
    let timer = setTimeout(giveUp(unreached), REACH_MS)
    let told = false
    const onSend = (): void => {
      if (told) return
      told = true
      clearTimeout(timer)
      const grace = event.type === 'close' ? (event.grace ?? 0) : 0
      const silent = new TimeoutError(`${location} was told to ${event.type} session ${name}, and gave no answer`, {
        hint: 'whether it did is unknown: look at the sessions there',
      })
      timer = setTimeout(giveUp(silent), TOLD_MS + grace)
    }
    const next = async (ended = this.#link): Promise<Link> => {
      // A peer that went down in order has ended its temporary sessions: nobody is there to be dialled and told.
      if (this.temporary && ended?.wasLeft) throw new SessionClosedError(name)
      return this.#link?.open ? this.#link : this.#home.link(signal)
    }
    try {
      return (await ask(this.#to(undefined), event, { location, next, signal, onSend })).answer as SessionSnapshot
    } finally {
      clearTimeout(timer)
    }
  }

  async #disconnect(event: Extract<SessionEvent, { type: 'disconnect' }>): Promise<void> {
    // What was started on it begins over there first: left before that, it would wait for us, and nobody could take it up.
    while (this.#coming.size > 0 && this.#state === 'Opened' && this.#link?.open)
      await Promise.race([Promise.allSettled(this.#coming), this.#link.closed])
    if (this.#state === 'Disconnected') {
      // Given up so far; from now on it is left, also when we are started again.
      this.#lookout?.abort()
      this.#left = true
      return this.#changed()
    }
    this.#throwIfOver()
    const link = this.#link
    let unheard = true
    let silent: unknown
    this.#leaving = true
    try {
      this.#send({ type: 'session.disconnecting' })
      if (this.#state === 'Disconnecting' && link) {
        try {
          this.#far = await this.#askToLeave(link, event)
          unheard = false
        } catch (error) {
          if (codeOf(error) === 'TIMEOUT') silent = error
          else if (link.open) {
            // Refused (an idle timeout out of bounds, say): nothing has changed.
            this.#send({ type: 'session.opened' })
            throw error
          }
        }
      }
      this.#reason = undefined
      this.#left = true
      this.#detached()
      this.#send({ type: 'session.disconnected' })
    } finally {
      this.#leaving = false
    }
    if (silent) throw silent
    // Without its link it is left over there as well, but not for as long as it was said.
    if (unheard && event.idleTimeout !== undefined) await this.#tellHowLong(event)
  }

  /** Over this link: without it, it is left anyway. @throws TimeoutError: it is silent, or busy beyond reason */
  async #askToLeave(link: Link, event: Extract<SessionEvent, { type: 'disconnect' }>): Promise<SessionSnapshot> {
    const late = new AbortController()
    const { location } = this.options
    const silent = new TimeoutError(`session ${this.#far.name} is left, but ${location} has not said that it knows`, {
      hint: 'connect it, and disconnect it again, when it answers',
    })
    const timer = setTimeout(() => late.abort(silent), REACH_MS)
    try {
      return (await link.ask(this.#to(undefined), event, { signal: late.signal })) as SessionSnapshot
    } finally {
      clearTimeout(timer)
    }
  }

  async #tellHowLong(event: Extract<SessionEvent, { type: 'disconnect' }>): Promise<void> {
    try {
      const far = await this.#tell(event)
      if (this.#state !== 'Disconnected') return
      this.#far = far
      this.#changed()
    } catch (cause) {
      const { location } = this.options
      throw new PeerLostError(
        `session ${this.#far.name} is left, but ${location} could not be told for how long: its idle timeout is unknown`,
        { cause, hint: 'connect it, and disconnect it again, when it can be reached' },
      )
    }
  }

  // ── what the machine asks for ───────────────────────────────────────────────────────────────────────────────────────

  startRetry(): void {
    const { location, lostAfter } = this.options
    this.#retry = new Alarm(lostAfter, () => {
      this.#reason = new PeerUnreachableError(`${location} could not be reached for ${lostAfter / 1000} s`, {
        cause: this.#reason,
      })
      this.#send({ type: 'link.given-up' })
    })
  }

  endRetry(): void {
    this.#retry?.cancel()
    this.#attempts?.abort()
  }

  reconnect(): void {
    this.#attempts = new AbortController()
    void this.#reconnect(this.#attempts.signal)
  }

  conclude(): void {
    this.#detached()
    this.#home.ended(this)
  }

  async #reconnect(signal: AbortSignal): Promise<void> {
    const since = performance.now()
    for (const pause of backOff()) {
      if (signal.aborted) return
      let link: Link | undefined
      try {
        link = await this.#home.link(signal)
        const event = {
          type: 'session.attach' as const,
          session: this.instanceId,
          ...(this.#force && { force: true }),
          ...(this.#client !== undefined && { was: this.#client }),
        }
        const attaching = link.ask({}, event)
        await untilAborted(attaching, signal)
        if (signal.aborted) return this.#attachedInVain(link, attaching)
        this.#far = (await attaching) as SessionSnapshot
        this.#client = undefined
        this.#reason = undefined
        this.#attached(link)
        return this.#send({ type: 'link.back' })
      } catch (error) {
        if (signal.aborted) return
        const code = codeOf(error) ?? ''
        // Theirs, it may be back before long; ours, that is the end of it.
        const downThere = code === 'PEER_CLOSED' && link !== undefined
        const over = GONE.has(code) || (code === 'PEER_CLOSED' && !downThere)
        const { location } = this.options
        const reason = downThere
          ? new PeerUnreachableError(`${location} is going down`, { cause: error })
          : asError(error)
        this.#reason = reason
        // No news for who watches, but so for who looks.
        this.#snapshot = undefined
        // Another client has it: it is still there, and may be ours again.
        if (code === 'SESSION_STATE') return this.#send({ type: 'link.given-up' })
        if (over) return this.#send({ type: 'link.refused', reason })
        // A link that went while it was asked may have been an old one: the next attempt says whether its peer is there.
        if (code !== 'PEER_LOST') {
          if (this.#commanded) return this.#send({ type: 'link.given-up' })
          for (const refuse of [...this.#connecting]) refuse(reason)
        }
      }
      // Whoever waits wants to know within two seconds that it is there again.
      await this.#pause(performance.now() - since < LONG_GONE ? Math.min(pause, SOON) : pause, signal)
    }
  }

  /** It was left, or given up, while it was asked for: had it been heard, it would be ours over there for as long as we live. */
  #attachedInVain(link: Link, attaching: Promise<unknown>): void {
    const leave = async (): Promise<void> => {
      if (this.#state === 'Disconnected') await link.ask(this.#to(undefined), { type: 'disconnect' })
    }
    attaching.then(leave).catch(() => undefined) // refused, or its link has ended: then nobody has it
  }

  /** Before the next attempt, unless there is news. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const over = Promise.withResolvers<void>()
    const timer = setTimeout(over.resolve, ms).unref()
    this.#sooner = over.resolve
    try {
      await untilAborted(over.promise, signal)
    } finally {
      clearTimeout(timer)
      if (this.#sooner === over.resolve) this.#sooner = undefined
    }
  }

  /** Given up, but wanted: as soon as its peer can be reached again it is tried as after a loss. */
  async #lookOut(signal: AbortSignal): Promise<void> {
    for (const pause of backOff()) {
      await this.#pause(pause, signal)
      if (signal.aborted) return
      try {
        await this.#home.link(signal)
      } catch (error) {
        if (codeOf(error) === 'PEER_CLOSED') return
        continue
      }
      if (!signal.aborted) this.#send({ type: 'session.connect' })
      return
    }
  }

  // ── the link ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #attached(link: Link): void {
    this.#link = link
    if (this.#attachment.signal.aborted) this.#attachment = new AbortController()
    this.#linkEnd.tell = undefined
    this.#linkEnd = tellEnd(link, (error) => {
      if (this.#link !== link) return
      const { location, lostAfter } = this.options
      this.#link = undefined
      // What was on its way when that peer went down has not been heard there, and nobody will say so.
      if (link.wasLeft && this.temporary) {
        this.#reason = new PeerLostError(`${location} went down; what it had not said is unknown`)
        return this.#send({ type: 'session.closed', reason: this.#reason })
      }
      this.#reason = new PeerUnreachableError(
        `the link to ${location} is lost; trying again for ${lostAfter / 1000} s`,
        { cause: error },
      )
      this.#send({ type: 'link.lost', reason: this.#reason })
    })
    this.#unwatch = link.watch<SessionSnapshot>({ session: this.instanceId }, (far) => {
      if (this.#link !== link) return
      this.#far = far
      // Closed over there: by expiry, by another client, by its peer shutting down.
      if (far.state === 'Closed') {
        this.#reason = new SessionClosedError(far.name, { hint: `it was closed on ${this.options.location}` })
        this.#send({ type: 'session.closed', reason: this.#reason })
      }
      // Its peer goes down, and it comes back with that: nobody has it, and no lease runs. The link is about to end.
      const goesDown = far.availability === 'None' && far.expiresAt === undefined
      // Attached no more, and not by our word: another client has taken it.
      if (far.state === 'Disconnected' && this.#state === 'Opened' && !goesDown) {
        this.#reason = new SessionStateError(
          `session ${far.name} on ${this.options.location} was taken by another client; what runs there goes on`,
          { hint: 'connect it when it is free again, or take it back with force' },
        )
        this.#detached()
        this.#send({ type: 'session.taken' })
      }
      this.#changed()
    })
    this.#jobs.attach(link)
  }

  /** Lets go of the link, which others may still use. */
  #detached(): void {
    this.#link = undefined
    this.#linkEnd.tell = undefined
    this.#attachment.abort()
    this.#unwatch?.()
    this.#unwatch = undefined
    this.#jobs.detach()
  }

  /** Forwards to the far session over whatever link there is, again over the next one if it breaks: same id, done once. */
  async #forward(
    event: SessionEvent,
    job: string | undefined,
    { signal, late, watch, patient = false, onSend }: RequestOptions & { readonly patient?: boolean },
  ): Promise<unknown> {
    const next = (): Link | Promise<Link> =>
      this.#state === 'Opened' && this.#link?.open ? this.#link : this.#ready(signal, patient)
    const { location } = this.options
    return (await ask(this.#to(job), event, { location, next, signal, late, watch, onSend })).answer
  }

  /** The link, as soon as the session is Opened. @throws when it is over; unless patient, when it is left or given up */
  async #ready(signal: AbortSignal | undefined, patient = false): Promise<Link> {
    for (;;) {
      signal?.throwIfAborted()
      if (this.#state === 'Opened' && this.#link?.open) return this.#link
      this.#throwIfOver()
      if (!patient) this.#throwIfLeft()
      await this.#until((state) => SETTLED.has(state) || (!patient && !WAITING.has(state)), signal)
      // The link may have ended, or be about to, before its machine hears of it.
      if (this.#state !== 'Opened' || this.#link?.open) continue
      if (this.#link) await untilAborted(this.#link.closed, signal)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  #throwIfLeft(): void {
    if (this.#state !== 'Disconnected' && this.#state !== 'Disconnecting') return
    const { name } = this.#far
    const { location } = this.options
    if (codeOf(this.#reason) === 'SESSION_STATE') throw this.#reason!
    if (this.#reason) {
      throw new PeerLostError(`${location} could not be reached again; what goes on in session ${name} is unknown`, {
        cause: this.#reason,
        hint: 'connect the session when it can be reached, and receive what it did: a run is left here as a job',
      })
    }
    throw new SessionStateError(`session ${name} on ${location} is ${this.#state}`, { hint: 'connect it first' })
  }

  #throwIfOver(): void {
    if (this.#state === 'Broken') {
      throw this.#reason ?? new PeerLostError(`session ${this.#far.name} on ${this.options.location} is broken`)
    }
    if (this.#state === 'Closed') throw this.#reason ?? new SessionClosedError(this.#far.name)
  }

  async #until(wanted: (state: SessionState) => boolean, signal?: AbortSignal): Promise<void> {
    while (!wanted(this.#state) && !signal?.aborted) {
      const changed = Promise.withResolvers<void>()
      const stop = this.onChange(() => changed.resolve())
      try {
        await untilAborted(changed.promise, signal)
      } finally {
        stop()
      }
    }
  }

  #to(job: string | undefined): { session: string; job?: string } {
    return { session: this.instanceId, ...(job !== undefined && { job }) }
  }

  /** What comes after the end is nobody's news. */
  #send(event: RemoteSessionEvent): void {
    if (this.#state !== 'Closed' && this.#state !== 'Broken') this.#actor.send(event)
  }

  #enter(state: SessionState): void {
    if (state === this.#state) return
    this.#state = state
    this.#lookout?.abort()
    // Before anybody hears of it: whoever is told that a run is lost finds its job.
    const lost = state === 'Disconnected' && this.#reason && !this.#leaving ? codeOf(this.#reason) : undefined
    if (lost) this.#leaveRuns()
    this.#changed()
    // Who took it is asked for it, not waited for.
    if (lost && lost !== 'SESSION_STATE' && this.options.reconnect && !this.#left) {
      this.#lookout = new AbortController()
      void this.#lookOut(this.#lookout.signal)
    }
    // While it is being left, its jobs are heard of; that may yet be refused.
    if (state === 'Opened' || state === 'Opening' || state === 'Disconnecting') return
    this.#jobs.unknown(this.#reason)
    if (SETTLED.has(state)) this.#jobs.over(this.#reason ?? new SessionClosedError(this.#far.name))
  }

  /** What was only called goes on there, perhaps, and nobody waits for it any more. */
  #leaveRuns(): void {
    const runs = this.#calls.take()
    if (runs.length > 0) this.#home.leave(this, runs)
  }

  #changed(): void {
    this.#snapshot = undefined
    for (const listener of [...this.#listeners]) listener()
  }
}

interface LinkEnd {
  tell: ((error: Error | undefined) => void) | undefined
}

/** A link outlives many sessions: what it keeps until its end must not lead to one that has let go of it. */
function tellEnd(link: Link, tell: (error: Error | undefined) => void): LinkEnd {
  const end: LinkEnd = { tell }
  void toldBy(link, end)
  return end
}

async function toldBy(link: Link, end: LinkEnd): Promise<void> {
  const error = await link.closed
  end.tell?.(error)
}
