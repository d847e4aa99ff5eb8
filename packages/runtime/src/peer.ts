// A peer: a running errand. It hosts sessions for others, holds sessions elsewhere, owns a job table and an address book.
// This file puts the parts together and owns them; each ends before the peer has closed.
import { spawn } from 'node:child_process'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { holdLock, type Cancel, type Channel, type Lock, type PeerId, type Transport, type TransportHost } from '@errand/transport'
import { socket, socketPath } from '@errand/transport/socket'
import { AddressBook, DEFAULT_GRANTS, GRANTS, peerInfo, type KnownPeer } from './address-book.ts'
import type { PeerStatus } from './client.ts'
import { milliseconds } from './duration.ts'
import type { Engine } from './engine/engine.ts'
import { LaneEngine } from './engine/lane.ts'
import { ProcessEngine } from './engine/process.ts'
import { startProcess } from './engine/process-isolate.ts'
import { MARK } from './engine/process-tree.ts'
import { RemoteEngine } from './engine/remote.ts'
import { RunspaceEngine } from './engine/runspace.ts'
import { ThreadEngine } from './engine/thread.ts'
import { startWorker } from './engine/worker-isolate.ts'
import {
  asError,
  CommandStartError,
  DeniedError,
  JobNotFinishedError,
  PeerClosedError,
  PeerNotFoundError,
  PeerUnreachableError,
  SessionNotFoundError,
  SessionStateError,
  TicketError,
  UsageError,
} from './errors.ts'
import { Link } from './link.ts'
import { LinkAcceptor, openLink, type Self } from './link-handshake.ts'
import { PeerHandle, type PeerRef } from './peer-handle.ts'
import { RemoteSession } from './remote-session.ts'
import { Answers, Server, type Principal, type Served } from './serve.ts'
import { HostSession, type SessionEngines, type SessionHome } from './session.ts'
import type { SessionRef } from './session-ref.ts'
import { memoryStore } from './store/memory.ts'
import type { Store } from './store/store.ts'
import type { Duration, Grant, JobSnapshot, Peer, PeerInfo, SessionSnapshot, SessionState } from './surface.ts'
import { readTicket, writeTicket } from './ticket.ts'
import {
  CONTROL,
  DATA,
  JOIN,
  protocols,
  VERSION,
  type HeldOptions,
  type OpenSession,
  type PeerEvent,
  type SessionEvent,
  type TargetSpec,
} from './wire.ts'

/** What a network is needed for: whoever invites must be reachable, whoever only dials need not listen to the world. */
export type NetworkPurpose = 'dial' | 'invite'

export interface PeerOptions {
  /** What others may call us. Default: the machine's host name. */
  name?: string
  /** None: local jobs only, no key, no port. As a function: made when first needed. */
  transport?: Transport | ((purpose: NetworkPurpose) => Transport)
  /** Where the address book is kept, and which daemon `localhost` is. Default: in memory, and the user's daemon. */
  home?: string
  /** Default: memory. */
  store?: Store
  /** Default deny. */
  policy?: { peers?: Record<PeerId, Grant[]>; owners?: Record<string, PeerId[]> }
  /** Answers on the home's socket: what makes a peer this machine's daemon. Default false. */
  serveLocal?: boolean
  /** One sign of life per connection. Default 1 s. */
  heartbeat?: Duration
  /** Silence that counts as lost. Default 4 s. */
  suspicion?: Duration
  /** How long a lost link is retried. Default 4 min. */
  lostAfter?: Duration
  /** How long a session lives without its client. Default 2 h; sessions may ask for 1 min to 30 d. */
  idleTimeout?: Duration
  /** The same for a temporary session. Default 1 min. */
  temporaryLease?: Duration
  /** What a job that is stopped gets before force. Default 5 s. */
  stopGrace?: Duration
  /** Shown by `status`. */
  version?: string
  onDemand?: boolean
  /** Refusals and other things an operator wants to know. Default: nowhere. */
  log?: (message: string, details?: Record<string, unknown>) => void
}

const IDLE_LEAST = 60_000
const IDLE_MOST = 30 * 86_400_000
/** Sessions one owner may have open here. */
const SESSIONS_MOST = 256
/** A ticket's life, when nothing else is said. */
const TICKET_MS = 3_600_000

/** Where a name leads. */
interface Place {
  readonly key: string
  readonly location: string
  readonly peer: PeerId
  readonly addresses: readonly string[] | undefined
  readonly carrier: string
  transport(): Promise<Transport>
}

/**
 * Starts a peer. Close it (or `await using`) to end what it owns.
 * @throws KeyInUseError, AddressInUseError, UsageError
 * @example await using peer = await createPeer({ transport: libp2p({ keyFile: './key' }) })
 */
export async function createPeer(options: PeerOptions = {}): Promise<Peer> {
  const host = await PeerHost.open(options)
  return new PeerHandle(host)
}

export class PeerHost implements PeerRef, SessionHome, Served {
  readonly name: string
  readonly store: Store
  readonly stopGrace: number
  readonly temporaryLease: number
  readonly idleTimeout: number
  /** Settles when it has closed, by whoever. */
  readonly closed: Promise<void>
  readonly #options: PeerOptions
  readonly #lostAfter: number
  readonly #self: Self
  readonly #book: AddressBook
  readonly #acceptor: LinkAcceptor
  readonly #answers = new Answers()
  readonly #hosted = new Map<string, HostSession>()
  readonly #held = new Map<string, RemoteSession>()
  readonly #homes = new Map<string, Promise<RemoteSession>>()
  readonly #opened = new Map<string, Promise<SessionSnapshot>>()
  readonly #dialled = new Map<string, Promise<Link>>()
  /** Every live link, and the newest of each client process: only its end is the client's. */
  readonly #links = new Set<Link>()
  readonly #clients = new Map<string, Link>()
  /** Dialled by address: admitted although in no book. */
  readonly #strangers = new Set<PeerId>()
  readonly #startedAt = new Date()
  readonly #settleClosed: () => void
  #local: HostSession | undefined
  #socket: Transport | undefined
  #socketStarting: Promise<Transport> | undefined
  #homeLock: Lock | undefined
  #network: { transport: Transport; purpose: NetworkPurpose } | undefined
  #networkStarting: Promise<Transport> | undefined
  #lastHosted = 0
  #lastHeld = 0
  #closing: Promise<void> | undefined
  /** When somebody last wanted something: an on-demand daemon leaves after a while. */
  #activeAt = Date.now()

  private constructor(options: PeerOptions, book: AddressBook) {
    this.#options = options
    this.#book = book
    this.name = options.name ?? hostname()
    this.store = options.store ?? memoryStore()
    this.stopGrace = milliseconds(options.stopGrace ?? 5_000)
    this.temporaryLease = milliseconds(options.temporaryLease ?? 60_000)
    this.idleTimeout = milliseconds(options.idleTimeout ?? '2h')
    this.#lostAfter = milliseconds(options.lostAfter ?? '4m')
    this.#self = { client: crypto.randomUUID(), name: this.name }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.closed = promise
    this.#settleClosed = resolve
    this.#acceptor = new LinkAcceptor(
      this.#self,
      (control) => new Server(this.#principal(control), this, this.#answers),
      (link) => this.#keep(link),
    )
  }

  static async open(options: PeerOptions): Promise<PeerHost> {
    const book = await AddressBook.open(options.home === undefined ? undefined : join(options.home, 'peers.json'))
    const host = new PeerHost(options, book)
    try {
      await host.#start()
    } catch (error) {
      await host.close()
      throw error
    }
    return host
  }

  async #start(): Promise<void> {
    const { policy, transport, serveLocal, home } = this.#options
    for (const [id, grants] of Object.entries(policy?.peers ?? {})) {
      await this.#book.put({ id, grants: checkGrants(grants) })
    }
    for (const [owner, ids] of Object.entries(policy?.owners ?? {})) {
      for (const id of ids) await this.#book.put({ id, owner, grants: this.#book.get(id)?.grants ?? DEFAULT_GRANTS })
    }
    if (typeof transport === 'object') await this.#useNetwork('invite')
    else if (transport && !this.#book.empty) await this.#useNetwork('dial')
    this.#local = new HostSession(this, 0, 'local', '')
    if (!serveLocal) return
    if (home === undefined) throw new UsageError('a peer that answers locally needs a home')
    this.#homeLock = await holdLock(join(home, 'peer.lock'))
    await this.#useSocket()
  }

  // ── PeerRef: what handles ask ───────────────────────────────────────────────────────────────────────────────────────

  get id(): PeerId {
    return this.#network?.transport.id ?? 'local'
  }
  get addresses(): readonly string[] {
    return this.#network?.transport.addresses ?? []
  }
  get local(): HostSession {
    if (!this.#local) throw new PeerClosedError()
    return this.#local
  }
  get activeAt(): number {
    return this.#activeAt
  }
  /** Nobody would miss it: no session, no unfinished job, no client. */
  get idle(): boolean {
    return this.#links.size === 0 && this.#held.size === 0 && this.#hosted.size === 0 && this.local.unfinished.length === 0
  }

  ask(event: PeerEvent, options: Cancel = {}): Promise<unknown> {
    return this.#ownerEvent(event, options.signal)
  }

  held(snapshot: SessionSnapshot): SessionRef {
    return this.sessionRef(snapshot.instanceId)
  }

  /** @throws SessionNotFoundError */
  sessionRef(instanceId: string): SessionRef {
    const ref = this.#held.get(instanceId) ?? (this.#local?.instanceId === instanceId ? this.#local : undefined)
    if (!ref) throw new SessionNotFoundError(instanceId, this.name)
    return ref
  }

  // ── SessionHome: what sessions need ─────────────────────────────────────────────────────────────────────────────────

  engines(session: HostSession, onLost: () => void): SessionEngines {
    const openLink = (channel: Channel): void => this.#serveScript(session, channel)
    const process = new ProcessEngine({ openLink })
    // The owner's own threads live in this process; what others run is kept out of it, in processes of its own.
    if (session.kind === 'local') {
      return { process, thread: new ThreadEngine({ openLink }), runspace: new RunspaceEngine(() => startWorker(), openLink, onLost) }
    }
    const { cwd, env } = session
    return {
      process,
      thread: lazyEngine(() => {
        const isolate = startProcess({ serves: 'threads', cwd, env })
        isolate.hold(false)
        return new LaneEngine(isolate, openLink)
      }),
      runspace: new RunspaceEngine(() => startProcess({ serves: 'scripts', cwd, env }), openLink, onLost),
    }
  }

  target(target: TargetSpec, lostAfter: number | undefined): { engine: Engine; location: string } {
    if ('session' in target) {
      const session = this.#held.get(target.session)
      if (!session) throw new SessionNotFoundError(target.session, this.name)
      const { location } = session.options
      return { location, engine: new RemoteEngine({ location, open: async () => this.#borrow(session) }) }
    }
    const place = this.#place(target.peer)
    const open = async (signal: AbortSignal): Promise<RemoteSession> => this.#openSession(place, { lostAfter }, true, signal)
    return { location: place.location, engine: new RemoteEngine({ location: place.location, open }) }
  }

  /** A hosted session is over. */
  sessionClosed(session: HostSession): void {
    this.#hosted.delete(session.instanceId)
  }

  #borrow(session: RemoteSession): RemoteSession {
    if (session.state !== 'Opened') {
      throw new SessionStateError(`session ${session.snapshot.name} is ${session.state}, not Opened`, { hint: 'connect it first' })
    }
    return session
  }

  // ── Served: what others ask ─────────────────────────────────────────────────────────────────────────────────────────

  session(principal: Principal, instanceId: string): SessionRef | undefined {
    this.#activeAt = Date.now()
    if (principal.kind === 'script') {
      return principal.session !== instanceId ? undefined : (this.#hosted.get(instanceId) ?? this.#local)
    }
    if (principal.kind === 'owner' && !principal.self) {
      if (this.#local?.instanceId === instanceId) return this.#local
      return this.#held.get(instanceId) ?? this.#hosted.get(instanceId)
    }
    const hosted = this.#hosted.get(instanceId)
    return hosted?.owner === principal.owner ? hosted : undefined
  }

  view(ref: SessionRef, client: string): SessionSnapshot {
    return ref instanceof HostSession ? ref.snapshotFor(client) : ref.snapshot
  }

  async sessionEvent(
    _: Principal,
    link: Link,
    ref: SessionRef,
    event: SessionEvent,
    job: string | undefined,
    signal: AbortSignal,
  ): Promise<unknown> {
    this.#throwIfClosing()
    // Leaving is the client's act: the session it hosts learns who left.
    if (ref instanceof HostSession && event.type === 'disconnect') {
      ref.detach(link.client, event.idleTimeout === undefined ? undefined : boundedIdle(event.idleTimeout))
      return ref.snapshotFor(link.client)
    }
    return ref.request(event, job, { signal })
  }

  async peerEvent(principal: Principal, link: Link, event: PeerEvent, signal: AbortSignal): Promise<unknown> {
    this.#throwIfClosing()
    this.#activeAt = Date.now()
    switch (event.type) {
      case 'ping':
        return { name: this.name, version: VERSION }
      case 'sessions':
        return this.#sessionsOf(principal, link.client)
      case 'session.open':
        return this.#host(principal, link, event.options)
      case 'session.attach':
        return this.#attach(principal, link, event.session, event.force === true)
      case 'session.home':
        return this.#homeOf(principal).snapshotFor(link.client)
      default:
        return this.#ownerEvent(event, signal)
    }
  }

  refused(principal: Principal, what: string): void {
    this.#options.log?.('refused', { peer: principal.peer, owner: principal.owner, what })
  }

  // ── hosting ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #sessionsOf(principal: Principal, client: string): SessionSnapshot[] {
    return [...this.#hosted.values()]
      .filter((session) => session.owner === principal.owner && session.kind !== 'temporary')
      .map((session) => session.snapshotFor(client))
  }

  /** Asked twice with one id, also over another link: one session. */
  #host(principal: Principal, link: Link, options: OpenSession): Promise<SessionSnapshot> {
    const known = this.#opened.get(options.openId)
    if (known) return known
    const opening = (async () => {
      const mine = [...this.#hosted.values()].filter(({ owner }) => owner === principal.owner)
      if (mine.length >= SESSIONS_MOST) throw new UsageError(`${SESSIONS_MOST} sessions are open here already`)
      if (options.idleTimeout !== undefined && !options.temporary) boundedIdle(options.idleTimeout)
      const session = new HostSession(this, ++this.#lastHosted, options.temporary ? 'temporary' : 'persistent', principal.owner, options)
      this.#hosted.set(session.instanceId, session)
      session.attach(link.client)
      void session.closed.then(() => this.#opened.delete(options.openId))
      return session.snapshotFor(link.client)
    })()
    this.#opened.set(options.openId, opening)
    opening.catch(() => this.#opened.delete(options.openId))
    return opening
  }

  async #attach(principal: Principal, link: Link, which: string | number, force: boolean): Promise<SessionSnapshot> {
    const session = [...this.#hosted.values()].find(
      (it) => it.owner === principal.owner && (it.instanceId === which || it.id === which || it.name === which || String(it.id) === which),
    )
    if (!session) throw new SessionNotFoundError(which, this.name)
    session.attach(link.client, force)
    return session.snapshotFor(link.client)
  }

  #homeOf(principal: Principal): HostSession {
    for (const session of this.#hosted.values()) {
      if (session.kind === 'home' && session.owner === principal.owner) return session
    }
    const session = new HostSession(this, ++this.#lastHosted, 'home', principal.owner)
    this.#hosted.set(session.instanceId, session)
    return session
  }

  #serveScript(session: HostSession, channel: Channel): void {
    const principal: Principal = { kind: 'script', peer: 'script', owner: session.owner, session: session.instanceId, may: () => true }
    // Scripts ask over a lane of their own; ids of different isolates must not meet.
    this.#keep(new Link(channel, channel, { client: crypto.randomUUID() }, new Server(principal, this, new Answers())), false)
  }

  #principal(control: Channel): Principal {
    const { peer } = control
    if (peer === 'local') return { kind: 'owner', peer, owner: '', may: () => true, self: false }
    return {
      kind: 'peer',
      peer,
      owner: this.#book.get(peer)?.owner ?? peer,
      may: (grant) => {
        const grants = this.#book.get(peer)?.grants ?? []
        return grants.includes(grant) || grants.includes('admin')
      },
    }
  }

  #keep(link: Link, client = true): void {
    this.#links.add(link)
    if (client) this.#clients.set(link.client, link)
    void link.closed.then(() => {
      this.#links.delete(link)
      // A client that is back over a newer link has not left.
      if (!client || this.#clients.get(link.client) !== link) return
      this.#clients.delete(link.client)
      this.#activeAt = Date.now()
      for (const session of this.#hosted.values()) session.detach(link.client)
    })
  }

  // ── holding ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #place(to: string): Place {
    if (to.toLowerCase() === 'localhost') {
      const path = socketPath(this.#options.home ?? this.#userHome())
      return { key: 'localhost', location: 'localhost', peer: 'local', addresses: [path], carrier: 'socket', transport: () => this.#useSocket() }
    }
    const known = this.#book.find(to)
    if (known) return this.#placeOf(known)
    const id = /\/p2p\/([^/]+)$/.exec(to)?.[1]
    if (!to.startsWith('/') || !id) throw new PeerNotFoundError(to)
    const there = this.#book.get(id)
    this.#strangers.add(id)
    return { ...this.#placeOf(there ?? { name: id.slice(-8), id, addresses: [], grants: [] }), addresses: [to] }
  }

  #placeOf({ id, name, addresses }: KnownPeer): Place {
    const carrier = this.#network?.transport.carrier ?? 'libp2p'
    return { key: id, location: name, peer: id, addresses, carrier, transport: () => this.#useNetwork('dial') }
  }

  #userHome(): string {
    const env = process.env
    return env['ERRAND_HOME'] ?? join(env['XDG_STATE_HOME'] || join(env['HOME'] ?? '.', '.local', 'state'), 'errand')
  }

  /** One link per peer, whoever needs it; dialled once at a time. */
  async #linkTo(place: Place, signal?: AbortSignal): Promise<Link> {
    this.#throwIfClosing()
    const there = this.#dialled.get(place.key)
    if (there) {
      const link = await there.catch(() => undefined)
      if (link?.open) return link
    }
    const dialling = this.#dial(place, signal)
    this.#dialled.set(place.key, dialling)
    const forget = (): void => {
      if (this.#dialled.get(place.key) === dialling) this.#dialled.delete(place.key)
    }
    dialling.then((link) => void link.closed.then(forget), forget)
    return dialling
  }

  async #dial(place: Place, signal?: AbortSignal): Promise<Link> {
    const transport = await place.transport()
    const { peer, addresses } = place
    const principal: Principal = peer === 'local' ? { ...this.#principal({ peer } as Channel), may: () => false, kind: 'peer' } : this.#principal({ peer } as Channel)
    const server = new Server(principal, this, this.#answers)
    try {
      const link = await openLink({ transport, peer, addresses, self: this.#self, server, signal })
      this.#keep(link, false)
      return link
    } catch (error) {
      signal?.throwIfAborted()
      const cause = asError(error)
      if ((cause as { code?: string }).code !== 'PEER_UNREACHABLE') throw cause
      const hint = place.key === 'localhost' ? 'start this machine\'s daemon with `errand up`' : `is errand up on ${place.location}?`
      throw new PeerUnreachableError(`${place.location} cannot be reached: ${cause.message}`, { cause, hint })
    }
  }

  async #openSession(place: Place, options: HeldOptions, temporary: boolean, signal?: AbortSignal): Promise<RemoteSession> {
    const link = await this.#linkTo(place, signal)
    const { lostAfter, session, force, ...rest } = options
    const event: PeerEvent =
      session === undefined
        ? { type: 'session.open', options: { openId: crypto.randomUUID(), ...(temporary && { temporary }), ...rest } }
        : { type: 'session.attach', session, ...(force && { force }) }
    const far = (await link.ask({}, event, { signal })) as SessionSnapshot
    const known = this.#held.get(far.instanceId)
    if (known) return known
    return this.#hold(place, link, far, temporary, lostAfter)
  }

  #hold(place: Place, link: Link, far: SessionSnapshot, temporary: boolean, lostAfter: number | undefined): RemoteSession {
    const held: RemoteSession = new RemoteSession(
      {
        link: (signal) => this.#linkTo(place, signal),
        takeUp: (session, name) => this.#takeUp(session, name),
        sessionRef: (instanceId) => this.sessionRef(instanceId),
        ended: (session) => {
          this.#held.delete(session.instanceId)
        },
      },
      {
        id: temporary ? 0 : ++this.#lastHeld,
        location: place.location,
        peerId: place.peer,
        transport: place.carrier,
        lostAfter: lostAfter ?? this.#lostAfter,
        temporary,
      },
      link,
      far,
    )
    this.#held.set(far.instanceId, held)
    return held
  }

  /** The same client gets the job it had; another one a new job that begins where the reader stopped. */
  async #takeUp(session: RemoteSession, name: string | undefined): Promise<JobSnapshot | undefined> {
    const there = [...this.local.hosts()].findLast((host) =>
      host.children.some((child) => child.engine instanceof RemoteEngine && child.engine.session === session && child.snapshot().hasMoreData),
    )
    if (there) return there.snapshot()
    const runs = (await session.request({ type: 'runs' })) as JobSnapshot[]
    const run = runs.findLast((one) => one.hasMoreData)
    if (!run) return undefined
    const { location } = session.options
    const engine = new RemoteEngine({ location, open: async () => session, run })
    return (await this.local.takeUp(run, name, engine, location)).snapshot()
  }

  async #heldHome(on: string, signal?: AbortSignal): Promise<RemoteSession> {
    const place = this.#place(on)
    const known = await this.#homes.get(place.key)?.catch(() => undefined)
    if (known && known.state !== 'Broken' && known.state !== 'Closed') {
      await known.connect(signal)
      return known
    }
    const opening = (async () => {
      const link = await this.#linkTo(place, signal)
      const far = (await link.ask({}, { type: 'session.home' }, { signal })) as SessionSnapshot
      return this.#held.get(far.instanceId) ?? this.#holdHome(place, link, far)
    })()
    this.#homes.set(place.key, opening)
    return opening
  }

  /** Home sessions have no number here: they are named by their peer. */
  #holdHome(place: Place, link: Link, far: SessionSnapshot): RemoteSession {
    const held = this.#hold(place, link, far, false, undefined)
    this.#lastHeld--
    ;(held.options as { id: number }).id = 0
    return held
  }

  // ── by the owner's word ─────────────────────────────────────────────────────────────────────────────────────────────

  async #ownerEvent(event: PeerEvent, signal?: AbortSignal): Promise<unknown> {
    this.#throwIfClosing()
    signal?.throwIfAborted()
    switch (event.type) {
      case 'local.connect': {
        const { options } = event
        if (options.idleTimeout !== undefined) boundedIdle(options.idleTimeout)
        return (await this.#openSession(this.#place(event.to), options, false, signal)).snapshot
      }
      case 'local.home':
        return (await this.#heldHome(event.on, signal)).snapshot
      case 'local.sessions':
        return this.#sessions(event.on, event.state, signal)
      case 'local.session':
        return this.#heldNamed(event.which).snapshot
      case 'local.launch':
        return this.#launch(event)
      case 'local.peers':
        return this.#peers()
      case 'local.invite':
        return this.#invite(event)
      case 'local.join':
        return this.#join(event.ticket, event.name, signal)
      case 'local.allow': {
        const id = this.#book.find(event.peer)?.id ?? event.peer
        const { name, owner } = event
        await this.#book.put({ id, grants: checkGrants(event.grants), ...(name !== undefined && { name }), ...(owner !== undefined && { owner }) })
        return undefined
      }
      case 'local.deny':
        return this.#deny(event.peer)
      case 'local.status':
        return this.#status()
      case 'local.shutdown':
        return this.#shutdown(event)
      default:
        throw new UsageError(`${event.type} needs a session`)
    }
  }

  async #sessions(on: string | undefined, state: SessionState | undefined, signal?: AbortSignal): Promise<SessionSnapshot[]> {
    const listed = [...this.#held.values()].filter((session) => !session.temporary && session.options.id > 0).map((session) => session.snapshot)
    const found = on === undefined ? listed : await this.#sessionsOn(on, signal)
    return state === undefined ? found : found.filter((session) => session.state === state)
  }

  /** Asks the peer; what is held here shows as it is here. */
  async #sessionsOn(on: string, signal?: AbortSignal): Promise<SessionSnapshot[]> {
    const place = this.#place(on)
    const link = await this.#linkTo(place, signal)
    const far = (await link.ask({}, { type: 'sessions' }, { signal })) as SessionSnapshot[]
    return far.map((snapshot) => {
      const held = this.#held.get(snapshot.instanceId)
      if (held) return held.snapshot
      return { ...snapshot, location: place.location, peerId: place.peer, transport: place.carrier }
    })
  }

  /** @throws SessionNotFoundError */
  #heldNamed(which: number | string): RemoteSession {
    const all = [...this.#held.values()].filter((session) => !session.temporary)
    const text = String(which)
    const named = (test: (session: RemoteSession) => boolean): RemoteSession | undefined => all.find(test)
    const found =
      named((session) => session.options.id > 0 && String(session.options.id) === text) ??
      named((session) => session.instanceId === text) ??
      named((session) => session.options.id > 0 && session.snapshot.name === text) ??
      (text.length >= 4 ? named((session) => session.instanceId.startsWith(text)) : undefined)
    if (!found) throw new SessionNotFoundError(which, this.name)
    return found
  }

  async #launch(event: Extract<PeerEvent, { type: 'local.launch' }>): Promise<{ pid: number }> {
    const [file = '', ...args] = event.argv
    const env = { ...process.env, ...event.env }
    // Not ours: neither the reaper nor a parent's stop may find it.
    delete env[MARK]
    const child = spawn(file, args, { cwd: event.cwd, env, detached: true, stdio: 'ignore' })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', (cause: NodeJS.ErrnoException) => {
        const missing = cause.code === 'ENOENT'
        const code = missing ? 'COMMAND_NOT_FOUND' : 'COMMAND_NOT_EXECUTABLE'
        reject(new CommandStartError(code, missing ? `${file}: command not found` : `${file} could not be started: ${cause.message}`, { cause }))
      })
    })
    child.unref()
    return { pid: child.pid! }
  }

  #peers(): PeerInfo[] {
    const connected = new Set([...this.#links].map((link) => link.peer))
    return this.#book.all().map((peer) => peerInfo(peer, connected.has(peer.id)))
  }

  async #invite(event: Extract<PeerEvent, { type: 'local.invite' }>): Promise<string> {
    const transport = await this.#useNetwork('invite')
    if (!transport.sibling) throw new UsageError(`nobody can be invited over ${transport.carrier}`)
    if (transport.addresses.length === 0) throw new UsageError('this peer listens nowhere: nobody could come', { hint: 'start it with --listen' })
    const seed = crypto.getRandomValues(new Uint8Array(32))
    const key = (await transport.sibling(seed)).id
    const { grants, owner, uses, ttl } = event
    await this.#book.invite({
      key,
      grants: checkGrants(grants ?? DEFAULT_GRANTS),
      owner,
      uses: Math.max(1, uses ?? 1),
      expires: Date.now() + (ttl ?? TICKET_MS),
    })
    return writeTicket({ id: transport.id, name: this.name, addresses: transport.addresses, seed })
  }

  async #join(text: string, name: string | undefined, signal?: AbortSignal): Promise<PeerInfo> {
    const ticket = readTicket(text)
    const transport = await this.#useNetwork('dial')
    if (ticket.id === transport.id) throw new TicketError('this ticket was issued here: join with it from another peer')
    if (!transport.sibling) throw new UsageError(`nobody can be joined over ${transport.carrier}`)
    const guest = await transport.sibling(ticket.seed)
    try {
      await guest.start({ admits: (peer) => peer === ticket.id, protocols: this.#protocols(), accept: (channel) => channel.abort() })
      const channel = await guest.open(ticket.id, JOIN, { addresses: ticket.addresses, signal })
      await channel.send({ t: 'join', v: VERSION, id: transport.id, name: this.name, addresses: transport.addresses }, { signal })
      for await (const answer of channel) {
        if ((answer as { t?: unknown } | null)?.t !== 'joined') break
        await channel.end()
        const peer = await this.#book.put({ id: ticket.id, name: name ?? ticket.name, addresses: ticket.addresses })
        return peerInfo(peer, false)
      }
      throw new TicketError('the peer that issued the ticket did not take it')
    } catch (error) {
      if ((error as { code?: string }).code !== 'DENIED') throw error
      throw new TicketError('the ticket is used up or expired', { cause: error, hint: 'ask for a new one: `errand invite`' })
    } finally {
      await guest.close()
    }
  }

  async #deny(which: string): Promise<void> {
    const known = this.#book.named(which)
    await this.#book.remove(known.id)
    for (const session of [...this.#hosted.values()]) {
      if (session.owner === (known.owner ?? known.id)) void session.close(0, 'its owner may no longer be here')
    }
    for (const link of [...this.#links]) if (link.peer === known.id) link.abort(new DeniedError('no longer allowed here'))
    await this.#network?.transport.disconnect(known.id)
  }

  #status(): PeerStatus & { local: SessionSnapshot } {
    const { home, version, onDemand, serveLocal } = this.#options
    return {
      pid: process.pid,
      name: this.name,
      id: this.id,
      version: version ?? '0.0.0',
      home,
      socket: serveLocal && home !== undefined ? socketPath(home) : undefined,
      addresses: this.addresses,
      startedAt: this.#startedAt,
      jobs: { running: this.local.unfinished.length, total: this.local.snapshot.jobs },
      sessions: [...this.#held.values()].filter((session) => !session.temporary).length + this.#hosted.size,
      peers: this.#book.all().length,
      onDemand: onDemand === true,
      local: this.local.snapshot,
    }
  }

  async #shutdown(event: { drain?: boolean; force?: boolean }): Promise<void> {
    const unfinished = [this.local, ...this.#hosted.values()].flatMap((session) => [...session.unfinished])
    if (unfinished.length > 0 && event.drain) await Promise.all(unfinished.map((job) => job.finished))
    else if (unfinished.length > 0 && !event.force) {
      const [first] = unfinished
      throw new JobNotFinishedError(unfinished.length > 1 ? `${first!.id} and ${unfinished.length - 1} more` : first!.id, first!.state)
    }
    // After the answer is on its way.
    setImmediate(() => void this.close())
  }

  // ── networks ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #protocols(): TransportHost['protocols'] {
    const { heartbeat, suspicion } = this.#options
    return protocols({ interval: milliseconds(heartbeat ?? 1_000), suspicion: milliseconds(suspicion ?? 4_000) })
  }

  /** The network, started when first needed; again with a wider reach when somebody is to be invited. */
  #useNetwork(purpose: NetworkPurpose): Promise<Transport> {
    const { transport: given } = this.#options
    if (!given) return Promise.reject(new UsageError('this peer has no network', { hint: 'create it with a transport' }))
    if (this.#networkStarting && (purpose === 'dial' || this.#network?.purpose === 'invite')) return this.#networkStarting
    const before = this.#networkStarting
    const starting = (async () => {
      const old = await before?.catch(() => undefined)
      if (this.#network?.purpose === 'invite' && old) return old
      await old?.close()
      const transport = typeof given === 'function' ? given(purpose) : given
      await transport.start(this.#transportHost())
      this.#network = { transport, purpose: typeof given === 'function' ? purpose : 'invite' }
      return transport
    })()
    this.#networkStarting = starting
    starting.catch(() => {
      if (this.#networkStarting === starting) this.#networkStarting = undefined
    })
    return starting
  }

  #transportHost(): TransportHost {
    return {
      protocols: this.#protocols(),
      admits: (peer) => this.#book.get(peer) !== undefined || this.#strangers.has(peer) || this.#book.invitation(peer) !== undefined,
      accept: (channel) => this.#accept(channel),
    }
  }

  #accept(channel: Channel): void {
    const { peer, protocol } = channel
    if (this.#closing) return channel.abort(new PeerClosedError())
    if (protocol === JOIN) return void this.#welcome(channel)
    const grants = this.#book.get(peer)?.grants ?? []
    if (!grants.includes('connect') && !grants.includes('admin')) {
      this.#options.log?.('refused', { peer, what: protocol })
      return channel.abort(new DeniedError('not allowed here: connect', { hint: 'the owner of that peer can invite you' }))
    }
    if (protocol === CONTROL) void this.#acceptor.control(channel)
    else if (protocol === DATA) void this.#acceptor.data(channel)
    else channel.abort(new DeniedError(`not allowed here: ${protocol}`))
  }

  /** A ticket's one-time key: it may say who its holder is, once. */
  async #welcome(channel: Channel): Promise<void> {
    try {
      for await (const message of channel) {
        const invitation = this.#book.invitation(channel.peer)
        if (!invitation) throw new DeniedError('the ticket is used up or expired')
        const { t, id, name, addresses } = message as { t?: unknown; id?: unknown; name?: unknown; addresses?: unknown }
        if (t !== 'join' || typeof id !== 'string' || id.length > 128 || typeof name !== 'string') throw new TicketError('not a join')
        // Used first: a crash between the two must not leave a ticket that works twice.
        await this.#book.use(channel.peer)
        const { grants, owner } = invitation
        const known = Array.isArray(addresses) ? addresses.filter((address) => typeof address === 'string').slice(0, 16) : []
        await this.#book.put({ id, name: name.slice(0, 64), addresses: known, grants, owner })
        await channel.send({ t: 'joined', name: this.name })
        await channel.end()
        return
      }
    } catch (error) {
      channel.abort(asError(error))
    }
  }

  /** The local carrier: answering on the home's socket, and the way to `localhost`. */
  #useSocket(): Promise<Transport> {
    return (this.#socketStarting ??= (async () => {
      const { home, serveLocal } = this.#options
      const transport = socket({ path: socketPath(home ?? this.#userHome()), ...(serveLocal && { listen: true }) })
      await transport.start({
        protocols: this.#protocols(),
        admits: () => true,
        accept: (channel) => {
          if (channel.protocol === CONTROL) void this.#acceptor.control(channel)
          else if (channel.protocol === DATA) void this.#acceptor.data(channel)
          else channel.abort(new DeniedError(`not here: ${channel.protocol}`))
        },
      })
      return (this.#socket = transport)
    })())
  }

  // ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #throwIfClosing(): void {
    if (this.#closing) throw new PeerClosedError()
  }

  /** What must stop stops, what may go on elsewhere is left to go on. Idempotent. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close().finally(() => this.#settleClosed()))
  }

  async #close(): Promise<void> {
    const held = [...this.#held.values()]
    // Persistent sessions are left, not ended: their work goes on over there.
    await Promise.allSettled(held.filter((session) => !session.temporary && session.state === 'Opened').map((session) => session.request({ type: 'disconnect' })))
    const reason = 'PEER_SHUTDOWN: this peer is going down'
    await Promise.allSettled([this.#local, ...this.#hosted.values()].map((session) => session?.close(undefined, reason)))
    await Promise.allSettled([...this.#links].map((link) => link.close()))
    const network = await this.#networkStarting?.catch(() => undefined)
    const local = await this.#socketStarting?.catch(() => undefined)
    await Promise.allSettled([network?.close(), local?.close()])
    await this.#homeLock?.[Symbol.asyncDispose]()
    await this.store[Symbol.asyncDispose]()
  }
}

/** @throws UsageError */
function checkGrants(grants: readonly string[]): Grant[] {
  const unknown = grants.filter((grant) => !(GRANTS as readonly string[]).includes(grant))
  if (unknown.length > 0) throw new UsageError(`unknown grant ${unknown.join(', ')}`, { hint: `there are: ${GRANTS.join(' ')}` })
  return grants as Grant[]
}

/** @throws UsageError */
function boundedIdle(ms: number): number {
  if (ms >= IDLE_LEAST && ms <= IDLE_MOST) return ms
  throw new UsageError(`an idle timeout is from 1 min to 30 d, not ${ms} ms`)
}

/** An engine that is made when it is first needed. */
function lazyEngine(make: () => Engine): Engine {
  let made: Engine | undefined
  return {
    start: (spec, io) => (made ??= make()).start(spec, io),
    [Symbol.asyncDispose]: async () => made?.[Symbol.asyncDispose](),
  }
}
