// The answering side of a link: who is asking, what may they, and to which session or job does it go.
//
// Default deny, checked before any look-up: a refusal never tells whether an id exists. Each request is carried out once
// per client, however often it is asked.
import type { PeerId } from '@errand/transport'
import { senderOf } from './actor-senders.ts'
import { goneState, UNSEEN, type ActorState } from './actor-state.ts'
import type { ActorRoutes } from './actor-routes.ts'
import type { ActorPlace } from './actor-way.ts'
import type { Answers } from './answers.ts'
import { asError, codeOf, DeniedError, SessionNotFoundError } from './errors.ts'
import type { JobReading, Link, LinkServer } from './link.ts'
import { untilAborted, whileWanted } from './output-log.ts'
import { HostSession } from './session.ts'
import type { SessionRef } from './session-ref.ts'
import type { Grant, SessionSnapshot } from './surface.ts'
import {
  POLLS,
  type Address,
  type PeerEvent,
  type ReadRequest,
  type SessionEvent,
  type WireEvent,
  type WorkSpec,
} from './wire.ts'

/** Who is at the other end of a link. */
export interface Principal {
  readonly kind: 'owner' | 'peer' | 'script'
  readonly peer: PeerId
  /** In whose name: sessions are an owner's, not a key's. */
  readonly owner: string
  /** Asked each time: grants change while a link is open. */
  may(grant: Grant): boolean
  /** A script may speak to the session it runs in, and to no other. */
  readonly session?: string
  /** This very process, come round through its own socket (`localhost`). */
  readonly self?: boolean
}

/** What serving needs of the peer. */
export interface Served {
  /** What the peer calls itself: who is refused reads it elsewhere. */
  readonly name: string
  /** Sessions this principal may address, hosted or held. */
  session(principal: Principal, instanceId: string): SessionRef | undefined
  /** It was this principal's, and has ended: that is no secret. Not for ever known. */
  hadSession(principal: Principal, instanceId: string): boolean
  /** Whether whoever is at the other end has that session now, for what it asks. @throws SessionStateError */
  admit(principal: Principal, link: Link, ref: SessionRef, event: SessionEvent['type']): void
  /** Any session that is hosted here, whoever owns it: for who may deal with jobs of others. */
  hosted(instanceId: string): HostSession | undefined
  /** The ways to actors on other peers, for clients of ours. */
  readonly routes: ActorRoutes
  /** Until the returned function is called, told whenever somebody may do something else than before. */
  onGrants(listener: () => void): () => void
  /** A session as this client sees it. */
  view(ref: SessionRef, client: string): SessionSnapshot
  peerEvent(principal: Principal, link: Link, event: PeerEvent, signal: AbortSignal): Promise<unknown>
  sessionEvent(
    principal: Principal,
    link: Link,
    ref: SessionRef,
    event: SessionEvent,
    job: string | undefined,
    signal: AbortSignal,
  ): Promise<unknown>
  /** Something was refused: policy wants to know. */
  refused(principal: Principal, what: string): void
}

const PEER_EVENTS = new Set([
  'ping',
  'session.open',
  'session.attach',
  'session.home',
  'sessions',
  'names.watch',
  'groups.watch',
])

/** What it takes to do this with a job of somebody else. */
const WITH_OTHERS: { readonly [T in WireEvent['type']]?: Grant } = {
  'actor.inspect': 'jobs:read',
  'actor.transitions': 'jobs:read',
  'actor.tell': 'jobs:send',
  'actor.ask': 'jobs:send',
  'actor.stop': 'jobs:stop',
  send: 'jobs:send',
  'end-input': 'jobs:send',
  answer: 'jobs:answer',
  stop: 'jobs:stop',
  suspend: 'jobs:stop',
  resume: 'jobs:stop',
}

/** What may have been handled when it is refused. */
const TO_ACTORS: ReadonlySet<WireEvent['type']> = new Set(['actor.tell', 'actor.ask'])

/** What those say who take nothing any more because their peer goes down. */
const LEFT: ReadonlySet<string> = new Set(['PEER_CLOSED', 'SESSION_CLOSED'])

/** What somebody may set who may do nothing but start a job by its name. */
const NAMED_EVENT = new Set(['type', 'spec'])
const NAMED_SPEC = new Set(['kind', 'job', 'command', 'payload', 'input', 'name', 'deadline', 'startId'])

function grantFor({ kind, job }: WorkSpec): Grant {
  if (kind === 'job') return `run:job:${job}`
  if (kind === 'machine') return `spawn:${job}`
  return kind === 'command' ? 'run:command' : 'run:script'
}

/** The first thing an event sets beyond that; a field of a later version is one too. */
function beyondName(event: { readonly spec: WorkSpec }): string | undefined {
  const set = (fields: object): string[] =>
    Object.entries(fields).flatMap(([field, value]) => (value === undefined ? [] : [field]))
  const odd =
    set(event).find((field) => !NAMED_EVENT.has(field)) ?? set(event.spec).find((field) => !NAMED_SPEC.has(field))
  // The Command column shows what runs, not what somebody calls it.
  return odd ?? (event.spec.command === event.spec.job ? undefined : 'another command')
}

export class Server implements LinkServer {
  readonly principal: Principal
  readonly #served: Served
  readonly #answers: Answers

  constructor(principal: Principal, served: Served, answers: Answers) {
    this.principal = principal
    this.#served = served
    this.#answers = answers
  }

  memoryOf(client: string): string {
    return this.#answers.meet(client)
  }

  heard(link: Link, ids: readonly number[]): void {
    this.#answers.heard(link.client, ids)
  }

  handle(link: Link, to: Address, event: WireEvent, id: number | undefined, signal: AbortSignal): Promise<unknown> {
    // Policy before the memory of answers too: grants may have gone since.
    try {
      this.#check(event)
      this.#checkOthers(to, event.type)
    } catch (error) {
      return Promise.reject(error as Error)
    }
    const act = (wanted: AbortSignal): Promise<unknown> =>
      this.#orLeft(to, wanted, () => this.#carryOut(link, to, event, wanted))
    if (event.type !== 'actor.ask')
      return this.#answers.once(link.client, id, event, () =>
        POLLS.has(event.type) ? this.#whileAllowed(to, event, signal, act) : act(signal),
      )
    // What was asked goes on without its link: it is asked for again over the next one.
    return this.#answers.onceWanted(link.client, id, event, { signal, here: () => link.open }, act)
  }

  /**
   * What is refused by a durable machine only because its peer goes down is answered by nobody: with its link lost whoever asks
   * does so again in its next life, or knows that nobody knows.
   */
  async #orLeft(to: Address, wanted: AbortSignal, act: () => Promise<unknown>): Promise<unknown> {
    try {
      return await act()
    } catch (error) {
      const left = LEFT.has(codeOf(error) ?? '') && this.#hasLeft(to)
      if (left && !wanted.aborted) await untilAborted(new Promise<never>(() => undefined), wanted)
      throw error
    }
  }

  #hasLeft({ session, job }: Address): boolean {
    return session !== undefined && this.#served.hosted(session)?.hasLeft(job) === true
  }

  async #carryOut(link: Link, to: Address, event: WireEvent, signal: AbortSignal): Promise<unknown> {
    if (to.peer !== undefined) return this.#passOn(to, event as SessionEvent, signal)
    if (to.session === undefined) return this.#served.peerEvent(this.principal, link, event as PeerEvent, signal)
    const sent = this.#signed(event) as SessionEvent
    const others = this.#ofOthers(to, event.type)
    if (others) return this.#whileAllowed(to, event, signal, (until) => others.request(sent, to.job, { signal: until }))
    const ref = this.#find(to.session)
    // An actor is its address: whoever has its session at the time.
    if (!event.type.startsWith('actor.'))
      this.#served.admit(this.principal, link, ref, event.type as SessionEvent['type'])
    return this.#served.sessionEvent(this.principal, link, ref, sent, to.job, signal)
  }

  /** What waits is looked at again whenever grants change: what one may not do or see any more ends there and then. */
  async #whileAllowed<T>(
    to: Address,
    event: WireEvent,
    signal: AbortSignal,
    act: (until: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (this.principal.kind !== 'peer') return act(signal)
    const refused = new AbortController()
    const stop = this.#served.onGrants(() => {
      try {
        this.#check(event)
        this.#ofOthers(to, event.type)
      } catch (error) {
        refused.abort(error)
      }
    })
    try {
      const either = AbortSignal.any([signal, refused.signal])
      // Only the actor knows whether it has had it by then.
      if (TO_ACTORS.has(event.type)) return await act(either)
      return await whileWanted(() => act(either), refused.signal)
    } finally {
      stop()
    }
  }

  /** Nobody sends to an actor in another peer's name: its numbers would count there. */
  #signed(event: WireEvent): WireEvent {
    const { kind, peer } = this.principal
    if (kind === 'owner' || (event.type !== 'actor.tell' && event.type !== 'actor.ask')) return event
    return { ...event, from: senderOf(peer, event.from ?? '') }
  }

  read(link: Link, to: Address, request: ReadRequest, signal: AbortSignal): JobReading {
    this.#check({ type: 'session' })
    if (to.peer !== undefined) return this.#served.routes.read(this.#elsewhere(to), to.actor ?? 0, request, signal)
    const others = this.#ofOthers(to, 'actor.inspect')
    if (others) return this.#orReadLater(to, request, this.#readOthers(others, to, request, signal), signal)
    const ref = this.#find(to.session)
    let reading: JobReading
    if (to.actor === undefined) {
      this.#served.admit(this.principal, link, ref, 'jobs')
      reading = ref.read(to.job ?? '', request, signal)
    } else {
      // One that is held elsewhere is read there.
      if (!(ref instanceof HostSession)) throw new SessionNotFoundError(to.session, this.#served.name)
      reading = ref.readActor(to.job ?? '', to.actor, request, signal)
    }
    // One generator more costs a small run as much as reading its chunk: only where it may be needed.
    const comesBack = ref instanceof HostSession && ref.comesBackWith(to.job)
    return comesBack ? this.#orReadLater(to, request, reading, signal) : reading
  }

  /** The same of what is read to its end: it has not come to that, and is read on in its next life. */
  async *#orReadLater(to: Address, { follow }: ReadRequest, reading: JobReading, signal: AbortSignal): JobReading {
    const end = yield* reading
    if (follow && this.#hasLeft(to) && !signal.aborted) await untilAborted(new Promise<never>(() => undefined), signal)
    return end
  }

  async *#readOthers(session: HostSession, to: Address, request: ReadRequest, signal: AbortSignal): JobReading {
    const over = new AbortController()
    const either = AbortSignal.any([signal, over.signal])
    const reading =
      to.actor === undefined
        ? session.read(to.job!, request, either)
        : session.readActor(to.job!, to.actor, request, either)
    try {
      for (;;) {
        // While it waited for its reader, too.
        this.#check({ type: 'session' })
        this.#ofOthers(to, 'actor.inspect')
        const step = await this.#whileAllowed(to, { type: 'actor.inspect' }, signal, () => reading.next())
        if (step.done) return step.value
        yield step.value
      }
    } finally {
      // First: a step that waits for more would hold up the end.
      over.abort()
      await reading.return(undefined)
    }
  }

  watch(link: Link, to: Address, push: (snapshot: unknown) => void): () => void {
    this.#check({ type: 'session' })
    if (to.actor !== undefined) return this.#watchActor(to, to.actor, push)
    const ref = this.#served.session(this.principal, to.session ?? '')
    if (!ref) return () => undefined
    if (to.job !== undefined) return ref.watchJob(to.job, push)
    const tell = (): void => push(this.#served.view(ref, link.client))
    tell()
    return ref.watchSession(tell)
  }

  /** What is watched of an actor, for as long as it may be. */
  #watchActor(to: Address, epoch: number, push: (state: ActorState) => void): () => void {
    if (to.peer !== undefined) {
      const away = (reason: Error): void => push({ ...UNSEEN, away: reason })
      return this.#served.routes.watch(this.#elsewhere(to), epoch, push, away)
    }
    let unwatch: (() => void) | undefined
    let over = false
    const end = (): void => {
      over = true
      unwatch?.()
      forget?.()
    }
    const look = (): HostSession | undefined => {
      try {
        this.#check({ type: 'session' })
        const session = this.#ofOthers(to, 'actor.inspect') ?? this.#find(to.session)
        // One that is held elsewhere is watched there.
        return session instanceof HostSession ? session : undefined
      } catch (error) {
        end()
        push(goneState(asError(error)))
        return undefined
      }
    }
    const forget = this.#served.onGrants(() => void look())
    const session = look()
    if (over) return end
    if (!session) {
      end()
      push(goneState(new SessionNotFoundError(to.session, this.#served.name)))
      return end
    }
    unwatch = session.watchActor(to.job ?? '', epoch, (state) => {
      if (!over) push(state)
    })
    if (over) unwatch()
    return end
  }

  /** The session of somebody else's job, where it is not one's own. @throws DeniedError, SessionNotFoundError */
  #ofOthers(to: Address, type: WireEvent['type']): HostSession | undefined {
    const grant = this.#checkOthers(to, type)
    if (grant === undefined || !this.principal.may(grant)) return undefined
    const found = this.#served.hosted(to.session!)
    if (found) return found
    throw new SessionNotFoundError(to.session, this.#served.name)
  }

  /**
   * What it takes to do this with a job that is not one's own; undefined where it is, or nobody may. Said before it is looked
   * whether there is any. @throws DeniedError
   */
  #checkOthers({ session, job }: Address, type: WireEvent['type']): Grant | undefined {
    const { principal } = this
    const grant = WITH_OTHERS[type]
    if (principal.kind !== 'peer' || grant === undefined || session === undefined || job === undefined) return undefined
    if (this.#served.session(principal, session) || this.#served.hadSession(principal, session)) return undefined
    // Of other jobs nobody was told before that there may be any.
    if (type.startsWith('actor.') && !principal.may(grant)) this.#refuse(grant)
    return grant
  }

  /** For a client of ours. */
  #passOn(to: Address, event: SessionEvent, signal: AbortSignal): Promise<unknown> {
    return this.#served.routes.passOn(this.#elsewhere(to), event, { signal })
  }

  /** @throws DeniedError: nobody else's way leads through here */
  #elsewhere({ peer, session, job }: Address): ActorPlace {
    if (this.principal.kind !== 'owner') this.#refuse('requests for another peer')
    return { peer: peer ?? 'local', session: session ?? '', job: job ?? '' }
  }

  #refuse(what: string, needs?: string): never {
    this.#served.refused(this.principal, what)
    const { name } = this.#served
    throw new DeniedError(`${name} does not allow this: ${what}`, {
      hint: `${needs === undefined ? '' : `it needs ${needs}; `}who owns ${name} can allow it there: \`errand peer allow\``,
    })
  }

  #find(session: string | undefined): SessionRef {
    const ref = session === undefined ? undefined : this.#served.session(this.principal, session)
    if (!ref) throw new SessionNotFoundError(session ?? '', 'this peer')
    return ref
  }

  /** Policy first, then everything else. */
  #check(event: WireEvent): void {
    const { principal } = this
    if (principal.kind === 'owner') return
    const refuse = (what: string): never => this.#refuse(what)
    if (principal.kind === 'script') {
      // A session's own scripts: its jobs and itself, never the peer.
      if (PEER_EVENTS.has(event.type) || event.type.startsWith('local.')) refuse(event.type)
      if ((event.type === 'start' || event.type === 'run') && event.on) refuse(`${event.type} on other peers`)
      return
    }
    if (event.type.startsWith('local.')) refuse(event.type)
    if (!principal.may('connect')) refuse('connect')
    // Writing files is the peer's user's act, as running a script is.
    if (event.type === 'save' && !principal.may('run:script')) refuse('save')
    // Who is called what here is no one session's.
    if ((event.type === 'names.watch' || event.type === 'groups.watch') && !principal.may('jobs:read'))
      refuse('jobs:read')
    // It tells what a script would see.
    if (event.type === 'complete' && !principal.may('run:script')) refuse('complete')
    // Both reach into every process of the session: NODE_OPTIONS alone would run anything.
    if (event.type === 'session.open' && !principal.may('run:script')) {
      const { cwd, env, init } = event.options
      if (init !== undefined) refuse('init of a session')
      if ((cwd !== undefined || env !== undefined) && !principal.may('run:command')) refuse('cwd or env of a session')
    }
    if (event.type !== 'start' && event.type !== 'run') return
    // Fanning out from here would act in this peer's name.
    if (event.on) refuse(`${event.type} on other peers`)
    const grant = grantFor(event.spec)
    if (!principal.may(grant)) refuse(grant)
    if ((event.spec.kind !== 'job' && event.spec.kind !== 'machine') || principal.may('run:script')) return
    const beyond = beyondName(event)
    if (beyond !== undefined) this.#refuse(`${grant} with ${beyond}`, `run:script beside ${grant}`)
  }
}
