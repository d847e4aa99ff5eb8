// A session on another peer, as the peer that holds it sees it: its actor, its link, and all that must survive the link.
//
// Requests carry one id over all links, so that a lost answer may be asked for again. Reads go on behind the last chunk
// they had. Watches are renewed; while the link is gone the jobs there show Disconnected: what they do is unknown.
import { createActor } from 'xstate'
import { backOff, type Cancel } from '@errand/transport'
import { isFinished } from './child-jobs.ts'
import { LONGEST_TIMER } from './duration.ts'
import {
  asError,
  codeOf,
  PeerLostError,
  PeerRestartedError,
  PeerUnreachableError,
  SessionClosedError,
  SessionStateError,
  TimeoutError,
} from './errors.ts'
import { Link, type JobReading } from './link.ts'
import { untilAborted } from './output-log.ts'
import {
  remoteSessionMachine,
  type RemoteSessionActions,
  type RemoteSessionActor,
  type RemoteSessionEvent,
} from './remote-session-machine.ts'
import type { SessionRef } from './session-ref.ts'
import type { JobSnapshot, PeerId, SessionSnapshot, SessionState } from './surface.ts'
import type { ReadRequest, SessionEvent } from './wire.ts'

/** How long a peer may take to answer that a session is closed, in ms; after that its lease ends it. */
const CLOSE_TIMEOUT = 10_000

/** States that pass by themselves. */
const WAITING: ReadonlySet<SessionState> = new Set<SessionState>(['Opening', 'Connecting'])
const SETTLED: ReadonlySet<SessionState> = new Set<SessionState>(['Opened', 'Closed', 'Broken'])

/** What a held session needs of the peer that holds it. */
export interface RemoteSessionHome {
  /** A live link to the session's peer, dialled if there is none. */
  link(signal: AbortSignal): Promise<Link>
  /** The local job that runs in this session, or the far run as a new local job. */
  takeUp(session: RemoteSession, name: string | undefined): Promise<JobSnapshot | undefined>
  sessionRef(instanceId: string): SessionRef
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
}

export class RemoteSession implements SessionRef, RemoteSessionActions {
  readonly options: RemoteSessionOptions
  readonly #home: RemoteSessionHome
  readonly #actor: RemoteSessionActor
  readonly #listeners = new Set<() => void>()
  readonly #jobs = new Map<string, WatchedJob>()
  #far: SessionSnapshot
  #link: Link | undefined
  #linkEnd: LinkEnd = { tell: undefined }
  #state: SessionState = 'Opening'
  #reason: Error | undefined
  #retry: NodeJS.Timeout | undefined
  #attempts: AbortController | undefined
  /** Aborts when the session is let go of: everything that is read over it stops there. */
  #attachment = new AbortController()
  #unwatch: (() => void) | undefined
  /** A connect by command: its first failure is the answer. */
  #asked = false
  #snapshot: SessionSnapshot | undefined

  /** The client process that has it over there: before, where it was taken up again after a start of ours. */
  #client: string | undefined
  /** Disconnected by command. */
  #left = false

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

  async request(event: SessionEvent, job?: string, options: Cancel = {}): Promise<unknown> {
    switch (event.type) {
      case 'session':
        return this.snapshot
      case 'disconnect':
        await this.#disconnect(event)
        return this.snapshot
      case 'connect':
        await this.connect(options.signal)
        return this.snapshot
      case 'receive':
        await this.connect(options.signal)
        return this.#home.takeUp(this, event.name)
      case 'close':
        await this.close(event.grace)
        return this.snapshot
      default:
        return this.#forward(event, job, options)
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
      const link = await this.#ready(signal, patient)
      // Left by command: what is said from now on stays over there.
      const here = signal ? AbortSignal.any([signal, this.#attachment.signal]) : this.#attachment.signal
      const reading = link.read(this.#to(job), { ...request, ...(next !== undefined && { from: next }) }, here)
      try {
        for (;;) {
          const step = await reading.next()
          if (step.done) {
            if (here.aborted && !signal?.aborted) break
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

  watchJob(job: string, listener: (snapshot: JobSnapshot) => void, lost?: (reason: Error) => void): () => void {
    let watched = this.#jobs.get(job)
    if (!watched) {
      watched = { listeners: new Set(), lost: new Set(), last: undefined, stop: undefined }
      this.#jobs.set(job, watched)
      if (this.#link && this.#state === 'Opened') this.#watch(job, watched, this.#link)
    } else if (watched.last) listener(watched.last)
    const { listeners } = watched
    listeners.add(listener)
    if (lost) watched.lost.add(lost)
    return () => {
      listeners.delete(listener)
      if (lost) watched.lost.delete(lost)
      if (listeners.size > 0 || this.#jobs.get(job)?.listeners !== listeners) return
      this.#jobs.get(job)?.stop?.()
      this.#jobs.delete(job)
    }
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

  /** Opens it again, or waits while it is being reconnected. @throws what kept it from opening */
  async connect(signal?: AbortSignal): Promise<void> {
    if (this.#state === 'Opened') return
    this.#throwIfOver()
    this.#asked = true
    this.#left = false
    this.#reason = undefined
    this.#send({ type: 'session.connect' })
    try {
      await this.#until((state) => state !== 'Connecting', signal)
    } finally {
      this.#asked = false
    }
    signal?.throwIfAborted()
    if ((this.#state as SessionState) !== 'Opened') {
      throw this.#reason ?? new SessionStateError(`session ${this.#far.name} is ${this.#state}`)
    }
  }

  /** Ends the far session and its jobs; where it cannot be reached the entry here goes all the same, and that is said. */
  async close(grace?: number): Promise<void> {
    if (this.#state === 'Closed' || this.#state === 'Broken') return
    let failed: unknown
    // Not `AbortSignal.timeout`: that would keep the session for as long after it has closed.
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(new TimeoutError('it gave no answer')), CLOSE_TIMEOUT)
    try {
      await this.#tellToClose(late.signal, grace)
    } catch (error) {
      const code = codeOf(error)
      if (code !== 'SESSION_NOT_FOUND' && code !== 'SESSION_CLOSED') failed = error
    } finally {
      clearTimeout(timer)
    }
    // By our own word: why its link was lost before is not the reason.
    this.#reason = undefined
    this.#send({ type: 'session.closed' })
    if (failed === undefined || this.temporary) return
    throw new PeerUnreachableError(`session ${this.#far.name} on ${this.options.location} could not be told to close`, {
      cause: failed,
      hint: `it is no longer listed here; over there it ends by itself after ${this.#far.idleTimeout / 1000} s`,
    })
  }

  /** Over whatever link there is; a link that breaks on the way is replaced, and closing twice is closing. */
  async #tellToClose(signal: AbortSignal, grace: number | undefined): Promise<void> {
    for (;;) {
      const link = this.#link?.open ? this.#link : await this.#home.link(signal)
      try {
        await link.ask({ session: this.instanceId }, { type: 'close', ...(grace !== undefined && { grace }) })
        return
      } catch (error) {
        if (link.open || codeOf(error) !== 'PEER_LOST' || signal.aborted) throw error
      }
    }
  }

  async #disconnect(event: Extract<SessionEvent, { type: 'disconnect' }>): Promise<void> {
    if (this.#state === 'Disconnected') return
    this.#throwIfOver()
    const link = this.#link
    this.#send({ type: 'session.disconnecting' })
    if (this.#state === 'Disconnecting' && link) {
      try {
        this.#far = (await link.ask({ session: this.instanceId }, event)) as SessionSnapshot
      } catch (error) {
        if (link.open) {
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
  }

  // ── what the machine asks for ───────────────────────────────────────────────────────────────────────────────────────

  startRetry(): void {
    this.#retry = setTimeout(
      () => {
        this.#reason ??= new PeerUnreachableError(
          `${this.options.location} could not be reached for ${this.options.lostAfter / 1000} s`,
        )
        this.#send({ type: 'link.given-up' })
      },
      Math.min(this.options.lostAfter, LONGEST_TIMER),
    )
  }

  endRetry(): void {
    clearTimeout(this.#retry)
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
    for (const pause of backOff()) {
      if (signal.aborted) return
      try {
        const link = await this.#home.link(signal)
        const far = (await link.ask(
          {},
          {
            type: 'session.attach',
            session: this.instanceId,
            ...(this.#client !== undefined && { was: this.#client }),
          },
          { signal },
        )) as SessionSnapshot
        if (signal.aborted) return
        this.#far = far
        this.#client = undefined
        this.#reason = undefined
        this.#attached(link)
        return this.#send({ type: 'link.back' })
      } catch (error) {
        if (signal.aborted) return
        const reason = asError(error)
        const passing = ['PEER_UNREACHABLE', 'PEER_LOST', 'CHANNEL_CLOSED'].includes(codeOf(reason) ?? '')
        this.#reason = reason
        if (!passing) return this.#send({ type: 'link.refused', reason })
        if (this.#asked) return this.#send({ type: 'link.given-up' })
      }
      await untilAborted(new Promise((resolve) => setTimeout(resolve, pause).unref()), signal)
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
      this.#changed()
    })
    for (const [job, watched] of this.#jobs) this.#watch(job, watched, link)
  }

  /** Lets go of the link, which others may still use. */
  #detached(): void {
    this.#link = undefined
    this.#linkEnd.tell = undefined
    this.#attachment.abort()
    this.#unwatch?.()
    this.#unwatch = undefined
    for (const watched of this.#jobs.values()) {
      watched.stop?.()
      watched.stop = undefined
    }
  }

  #watch(job: string, watched: WatchedJob, link: Link): void {
    watched.stop = link.watch<JobSnapshot>(this.#to(job), (snapshot) => {
      watched.last = snapshot
      for (const listener of [...watched.listeners]) listener(snapshot)
    })
  }

  /** Forwards to the far session over whatever link there is, again over the next one if it breaks: same id, done once. */
  async #forward(event: SessionEvent, job: string | undefined, options: Cancel): Promise<unknown> {
    const id = Link.requestId()
    let process: string | undefined
    for (;;) {
      const link = await this.#ready(options.signal)
      // A run is in no row: asked for again of a peer that was started again, it might be done twice.
      if (event.type === 'run' && process !== undefined && process !== link.client) {
        throw new PeerRestartedError(`${this.options.location} was started again while it was asked for this`, {
          hint: 'whether it was done is unknown',
        })
      }
      process = link.client
      try {
        return await link.ask(this.#to(job), event, { signal: options.signal, id })
      } catch (error) {
        if (link.open || codeOf(error) !== 'PEER_LOST') throw error
      }
    }
  }

  /** The link, as soon as the session is Opened. @throws when it is over; unless patient, when it is left or given up */
  async #ready(signal: AbortSignal | undefined, patient = false): Promise<Link> {
    for (;;) {
      signal?.throwIfAborted()
      if (this.#state === 'Opened' && this.#link?.open) return this.#link
      this.#throwIfOver()
      if (!patient) this.#throwIfLeft()
      await this.#until((state) => SETTLED.has(state) || (!patient && !WAITING.has(state)), signal)
      // The link may have ended a moment before its machine hears of it.
      if (this.#state === 'Opened' && !this.#link?.open) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  #throwIfLeft(): void {
    if (this.#state !== 'Disconnected' && this.#state !== 'Disconnecting') return
    const { name } = this.#far
    const { location } = this.options
    if (this.#reason) {
      throw new PeerLostError(`${location} could not be reached again; what goes on in session ${name} is unknown`, {
        cause: this.#reason,
        hint: 'connect the session when it can be reached, and receive what it did',
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
    this.#changed()
    if (state === 'Opened' || state === 'Opening') return
    for (const watched of this.#jobs.values()) {
      const { last } = watched
      if (!last || isFinished(last.state) || last.state === 'Disconnected') continue
      watched.last = Object.freeze({ ...last, state: 'Disconnected' as const, reason: this.#reason })
      for (const listener of [...watched.listeners]) listener(watched.last)
    }
    if (!SETTLED.has(state)) return
    const reason = this.#reason ?? new SessionClosedError(this.#far.name)
    for (const { lost } of this.#jobs.values()) for (const tell of [...lost]) tell(reason)
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

interface WatchedJob {
  readonly listeners: Set<(snapshot: JobSnapshot) => void>
  /** Told when no more news can come. */
  readonly lost: Set<(reason: Error) => void>
  last: JobSnapshot | undefined
  stop: (() => void) | undefined
}
