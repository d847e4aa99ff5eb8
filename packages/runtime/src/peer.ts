// A peer: a running errand. It hosts sessions for others, holds sessions elsewhere, owns a job table and an address book.
// This file puts the parts together and owns them; each has ended before the peer has closed.
import { hostname } from 'node:os'
import { holdLock, type Cancel, type Channel, type Lock, type PeerId, type Transport } from '@errand/transport'
import { socketPath } from '@errand/transport/socket'
import { ActorNames } from './actor-names.ts'
import { ActorRoutes, type RoutesHome } from './actor-routes.ts'
import type { MachineDefinition } from './actor-surface.ts'
import { ActorTurns } from './actor-turns.ts'
import { checkedAddress } from './actor-address.ts'
import { AddressBook, bookFile, checkGrants, checkOwner, DEFAULT_GRANTS } from './address-book.ts'
import { Answers } from './answers.ts'
import type { PeerStatus } from './client.ts'
import { refuseWhileImporting } from './definition-module.ts'
import { milliseconds } from './duration.ts'
import type { Engine } from './engine/engine.ts'
import { MachineEngine, MachineOffers } from './engine/machine.ts'
import type { PassOn } from './engine/machine-processes.ts'
import { JobNotFinishedError, PeerClosedError, PeerLostError, SessionNotFoundError, UsageError } from './errors.ts'
import { EventFeed } from './event-feed.ts'
import { GroupUnions } from './group-unions.ts'
import { Holding } from './holding.ts'
import { lockFile } from './home.ts'
import { boundedIdle, Hosting, sessionEngines } from './hosting.ts'
import { JobOffers } from './job-offers.ts'
import { KeptActors } from './kept-actors.ts'
import { KeptRow } from './kept-row.ts'
import { launch } from './launch.ts'
import { Link } from './link.ts'
import type { Self } from './link-handshake.ts'
import { Network, type NetworkPurpose } from './network.ts'
import { untilAborted, whileWanted } from './output-log.ts'
import { AroundTeller, tellJobs, type Around } from './peer-events.ts'
import { PeerHandle, type PeerRef } from './peer-handle.ts'
import { recover, type Recovered } from './recovery.ts'
import { Retention } from './retention.ts'
import { Server, type Principal, type Served } from './serve.ts'
import { HostSession, type SessionEngines, type SessionHome } from './session.ts'
import type { SessionRef } from './session-ref.ts'
import { SESSION_ROW, type StoredPeer } from './stored-session.ts'
import { memoryStore } from './store/memory.ts'
import type { Store } from './store/store.ts'
import type { Duration, Grant, JobDefinition, Peer, SessionSnapshot, SessionState } from './surface.ts'
import { VERSION, type Beat, type PeerEvent, type SessionEvent, type TargetSpec } from './wire.ts'

/** What a peer is made of. All of it has a default: `createPeer()` works on this machine alone and keeps nothing. */
export interface PeerOptions {
  /** What others may call us. Default: the machine's host name. */
  name?: string
  /** None: local jobs only, no key, no port. As a function: made when first needed. */
  transport?: Transport | ((purpose: NetworkPurpose) => Transport)
  /**
   * Start the network at once: `invite`, to be reachable; `dial`, to reach others. Default: a transport that is given is
   * started at once, a function is asked when there is somebody to go to, or to invite.
   */
  reach?: NetworkPurpose
  /**
   * Multiaddrs, ending in `/p2p/<id>`, of peers that are in the address book from the start: known, and allowed nothing here
   * unless they are already. Staying connected with them is the transport's: `libp2p({ bootstrap })`. Default: none.
   */
  bootstrap?: readonly string[]
  /** Where the address book is kept, and which daemon `localhost` is. Default: in memory, and the user's daemon. */
  home?: string
  /**
   * Where jobs, what they said and durable machines are kept: `sqlite(path)` of `@errand/runtime/sqlite` is a file. Closed with the
   * peer, and when none comes to be. Default: memory.
   */
  store?: Store
  /**
   * How long jobs that have ended are kept, of each session: `age` since their end, `count` of them, `bytes` of their
   * records. By age only those go whose output reader `owner` has taken whole; by count and bytes those first, then the
   * oldest, which is reported to `log`. `false`: until they are removed. Default with a store that outlives the peer: 30
   * days, 100 000 jobs, any size; in memory: until they are removed.
   */
  retention?: { age?: Duration; count?: number; bytes?: number } | false
  /** Jobs that others may ask for by name, each needing the grant `run:job:NAME`. Default: none. */
  jobs?: readonly JobDefinition[]
  /** Machines that others may spawn by name, each needing the grant `spawn:NAME`. Default: none. */
  machines?: readonly MachineDefinition[]
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

/**
 * Starts a peer. Close it (or `await using`) to end what it owns.
 * @throws KeyInUseError, AddressInUseError, UsageError; FreeVariableError, ScriptError for one of its `jobs`
 * @example await using peer = await createPeer({ transport: libp2p({ keyFile: './key' }) })
 */
export async function createPeer(options: PeerOptions = {}): Promise<Peer> {
  return new PeerHandle(await PeerHost.open(options))
}

/**
 * The peer itself. Programs hold its handle; a daemon also wants to know when it is idle and when it has closed.
 * @internal for the command line's daemon; its members may change without notice
 */
export class PeerHost implements PeerRef, SessionHome, Served {
  readonly name: string
  readonly store: Store
  readonly memory: Store | undefined
  readonly retention: Retention | undefined
  readonly stopGrace: number
  readonly temporaryLease: number
  readonly idleTimeout: number
  /** Settles when it has closed, by whoever's word. */
  readonly closed: Promise<void>
  readonly #options: PeerOptions
  readonly #book: AddressBook
  readonly #offers: JobOffers
  readonly #machines: MachineOffers
  readonly #turns = new ActorTurns()
  readonly routes: ActorRoutes
  readonly #over = new AbortController()
  readonly #grantListeners = new Set<() => void>()
  readonly #self: Self
  readonly #network: Network
  readonly #hosting: Hosting
  readonly #holding: Holding
  readonly #answers = new Answers()
  readonly #events: EventFeed
  /** Who is called what here. */
  readonly names: ActorNames
  readonly #unions: GroupUnions
  /** While somebody wants to hear of it. */
  #teller: AroundTeller | undefined
  readonly #row: KeptRow | undefined
  /** Durable machines. */
  readonly #kept: KeptActors | undefined
  /** The newest link of each client process: only its end is the client's. */
  readonly #clients = new Map<string, Link>()
  readonly #startedAt = new Date()
  readonly #settleClosed: () => void
  #local: HostSession | undefined
  #homeLock: Lock | undefined
  #closing: Promise<void> | undefined
  #activeAt = performance.now()

  private constructor(options: PeerOptions, book: AddressBook, offers: JobOffers, found: Recovered | undefined) {
    this.#options = options
    this.#book = book
    this.#offers = offers
    this.name = nameOf(options)
    this.#machines = new MachineOffers(options.machines ?? [], this.name)
    this.store = options.store ?? memoryStore()
    const { rows } = this.store
    this.memory = rows && memoryStore()
    this.retention = retentionOf(options)
    this.#row = rows && new KeptRow(rows, 'peer', 'peer', () => this.#stored())
    this.#kept = rows && new KeptActors(this.store, rows, found?.actors)
    this.stopGrace = milliseconds(options.stopGrace ?? 5_000)
    this.temporaryLease = milliseconds(options.temporaryLease ?? 60_000)
    this.idleTimeout = milliseconds(options.idleTimeout ?? '2h')
    const { promise, resolve } = Promise.withResolvers<void>()
    this.closed = promise
    this.#settleClosed = resolve
    this.#self = { client: crypto.randomUUID(), name: this.name }
    const interval = milliseconds(options.heartbeat ?? 1_000)
    const beat = { interval, suspicion: milliseconds(options.suspicion ?? 4_000) }
    this.#network = new Network({
      self: this.#self,
      book,
      beat,
      transport: options.transport,
      home: options.home,
      serveLocal: options.serveLocal === true,
      server: (peer, client) => new Server(this.#principal(peer, client), this, this.#answers),
      onLink: (link, dialled) => this.#onLink(link, dialled),
      refused: (peer, what) => options.log?.('refused', { peer, what }),
      // One that only dials out can be reached again now.
      connected: (peer) => {
        this.#holding.heardOf(peer)
        this.routes.heardOf(peer)
      },
      moved: (peer, owner, to, alone) => this.#moved(peer, owner, to, alone),
    })
    book.onChange = () => {
      this.#teller?.look()
      for (const listener of [...this.#grantListeners]) listener()
    }
    this.names = new ActorNames({
      self: () => this.id,
      alive: ({ path, epoch }) => {
        const [session = '', job = ''] = path.split('/')
        return this.hosted(session)?.hasActor(job, epoch) === true
      },
      far: (address, down) => this.routes.untilDown(address, down),
    })
    this.routes = new ActorRoutes(this.#routesHome(beat, options))
    this.#unions = new GroupUnions({
      self: () => this.id,
      name: this.name,
      own: (group, cursor, signal) => this.names.watchGroup(group, cursor, signal),
      connected: () => this.#network.peers().flatMap(({ id, connected }) => (connected ? [id] : [])),
      nameOf: (peer) => book.get(peer)?.name,
      linkWith: (peer) => this.#network.linkWith(peer),
      follow: (tell) => this.#network.follow(tell),
      place: (to) => this.#network.place(to),
      linkTo: (place, signal) => this.#network.linkTo(place, signal),
    })
    this.#hosting = new Hosting(
      this,
      () => this.#onGone(),
      () => this.#teller?.look(),
    )
    this.#holding = new Holding({
      name: this.name,
      network: this.#network,
      lostAfter: milliseconds(options.lostAfter ?? '4m'),
      local: (this.#local = new HostSession(this, 0, 'local', '', undefined, found?.local?.session)),
      rows,
      client: this.#self.client,
      onGone: () => this.#onGone(),
      onChange: () => this.#teller?.look(),
      sessionRef: (instanceId) => this.sessionRef(instanceId),
      routes: this.routes,
    })
    this.#events = new EventFeed((tell) => {
      const stop = tellJobs(this.local.table, tell)
      const teller = (this.#teller = new AroundTeller(
        { sessions: () => this.#listedSessions(), peers: () => this.#network.peers() },
        tell,
      ))
      return () => {
        stop()
        teller[Symbol.dispose]()
        this.#teller = undefined
      }
    })
  }

  #routesHome(beat: Beat, options: PeerOptions): RoutesHome {
    const id = (): PeerId => this.id
    return {
      name: this.name,
      beat,
      get id() {
        return id()
      },
      network: this.#network,
      lostAfter: milliseconds(options.lostAfter ?? '4m'),
      hosted: (instanceId) => this.hosted(instanceId),
      names: this.names,
      over: this.#over.signal,
    }
  }

  /** Held and hosted, but for those that are one call's. */
  *#listedSessions(): ReturnType<Around['sessions']> {
    for (const session of this.#holding.listed()) yield { hosted: false, now: () => session.snapshot }
    for (const session of this.#hosting.all()) {
      if (session.kind !== 'temporary') yield { hosted: true, now: () => session.hosted }
    }
  }

  static async open(options: PeerOptions): Promise<PeerHost> {
    try {
      return await PeerHost.#open(options)
    } catch (error) {
      // What it was given it closes, also where it does not come to be: nobody else has the file then.
      await options.store?.[Symbol.asyncDispose]()
      throw error
    }
  }

  static async #open(options: PeerOptions): Promise<PeerHost> {
    refuseWhileImporting('a peer is created')
    const offers = await JobOffers.open(options.jobs ?? [], nameOf(options))
    const book = await AddressBook.open(options.home === undefined ? undefined : bookFile(options.home))
    // One daemon a home: who is the second says that, and not that its store is in use.
    const lock = await lockOf(options)
    let host: PeerHost
    let found: Recovered | undefined
    try {
      // Before anything is made: what cannot be read at all keeps it from starting.
      found = options.store?.rows && (await recover(options.store.rows, reporting(options)))
      host = new PeerHost(options, book, offers, found)
    } catch (error) {
      await lock?.[Symbol.asyncDispose]()
      throw error
    }
    host.#homeLock = lock
    try {
      await host.#start(found)
    } catch (error) {
      await host.close()
      throw error
    }
    return host
  }

  async #start(found: Recovered | undefined): Promise<void> {
    const { policy, transport, reach, bootstrap = [], serveLocal } = this.#options
    for (const [id, grants] of Object.entries(policy?.peers ?? {}))
      await this.#book.put({ id, grants: checkGrants(grants) })
    for (const [owner, ids] of Object.entries(policy?.owners ?? {})) {
      checkOwner(owner)
      for (const id of ids) await this.#book.put({ id, owner, grants: this.#book.get(id)?.grants ?? DEFAULT_GRANTS })
    }
    for (const address of bootstrap) await this.#network.meet(address)
    if (found) await this.#restore(found)
    if (transport && reach) await this.#network.use(reach)
    else if (typeof transport === 'object') await this.#network.use('invite')
    else if (transport && !this.#book.empty) await this.#network.use('dial')
    this.#holding.goOn()
    // Last: whoever finds the socket finds a peer that is ready.
    if (serveLocal) await this.#network.useSocket()
  }

  /** Everything is as it was; what was at work goes on, has failed, or waits for its peer. */
  async #restore({ peer, local, hosted, held, logs, over, stray }: Recovered): Promise<void> {
    for (const key of over) this.#kept?.drop(key)
    await this.#dropStrays(logs, stray)
    this.#hosting.numbered(peer?.lastSession ?? 0)
    this.#holding.numbered(peer?.lastHeld ?? 0)
    // Our own table is written down before anything is put into it.
    if (!local) await this.local.written()
    this.#holding.restore(held, reporting(this.#options))
    const sessions = [
      ...(local ? [{ host: this.local, found: local }] : []),
      ...hosted.map((one) => ({ host: this.#hosting.restore(one.session), found: one })),
    ]
    for (const { host, found } of sessions) {
      host.numbered(found.lastJob)
      await host.restore(found.families)
    }
    const ended = Promise.all(sessions.map(({ host }) => host.goOn()))
    // Their endings are told when they are on disk. While that takes nothing the peer is there all the same.
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), RESTORE_MS)
    await untilAborted(ended, late.signal)
    clearTimeout(timer)
    for (const { host } of sessions) this.retention?.take(host.table)
  }

  /** Logs, and durable machines, whose job was never written down, or whose row is gone: nothing else would ever delete them. */
  async #dropStrays(known: ReadonlySet<string>, machines: readonly string[]): Promise<void> {
    const logs = (await this.store.logs?.()) ?? []
    // None: nothing is there, or something is damaged and may be whose they are.
    if (logs.length > 0) for (const key of machines) this.#kept?.drop(key)
    const strays = logs.filter((name) => !known.has(name))
    for (const name of strays) void this.store.dropLog(name)
    if (strays.length > 0) this.#options.log?.('deleted records of which no job is known', { jobs: strays.length })
  }

  #stored(): StoredPeer {
    return { v: SESSION_ROW, lastSession: this.#hosting.last, lastHeld: this.#holding.last }
  }

  /** In the same turn as its row goes: its number is not given again. */
  #onGone(): void {
    if (!this.#closing) void this.#row?.note()
  }

  // ── PeerRef: what handles ask ───────────────────────────────────────────────────────────────────────────────────────

  get id(): PeerId {
    return this.#network.id
  }
  get addresses(): readonly string[] {
    return this.#network.addresses
  }
  get local(): HostSession {
    return this.#local!
  }
  get actors(): ActorRoutes {
    return this.routes
  }

  ask(event: PeerEvent, options: Cancel = {}): Promise<unknown> {
    return this.#ownerEvent(event, options.signal)
  }

  held(snapshot: SessionSnapshot): SessionRef {
    return this.sessionRef(snapshot.instanceId)
  }

  /** A session this peer holds, or its own. @throws SessionNotFoundError */
  sessionRef(instanceId: string): SessionRef {
    const ref = this.#holding.get(instanceId) ?? (this.local.instanceId === instanceId ? this.local : undefined)
    if (!ref) throw new SessionNotFoundError(instanceId, this.name)
    return ref
  }

  /** What its network has been started for; undefined: it has none. */
  get reach(): NetworkPurpose | undefined {
    return this.#network.purpose
  }
  /** Nobody would miss it now: no client, no session, no unfinished job. */
  get idle(): boolean {
    const { size } = this.#network.links
    const sessions = this.#holding.all().length + this.#hosting.all().length
    return size === 0 && sessions === 0 && this.local.unfinished.length === 0
  }
  /** When a link last came or went, by `performance.now()`. */
  get activeAt(): number {
    return this.#activeAt
  }

  // ── SessionHome: what sessions need ─────────────────────────────────────────────────────────────────────────────────

  engines(session: HostSession, onLost: () => void): SessionEngines {
    const engines = sessionEngines(session, (channel) => this.#serveScript(session, channel), onLost)
    const { runspace, thread, process } = engines
    const offering = (engine: Engine): Engine => this.#offers.engine(engine)
    const around = {
      turns: this.#turns,
      tell: (address: unknown, event: unknown) => this.routes.outbox(checkedAddress(address)).send(event),
    }
    const passOn: PassOn = (place, event, o) => this.routes.passOn(place, event, o)
    const machine = new MachineEngine(this.#machines, this.names, around, passOn, this.#kept)
    return { runspace: offering(runspace), thread: offering(thread), process: offering(process), machine }
  }

  target(target: TargetSpec, lostAfter: number | undefined, kept: boolean): { engine: Engine; location: string } {
    return this.#holding.target(target, lostAfter, kept)
  }

  takenUp(held: string, far: string | undefined): Engine {
    return this.#holding.takenUp(held, far)
  }

  sessionClosed(session: HostSession): void {
    this.#hosting.forget(session)
  }

  // ── Served: what others ask ─────────────────────────────────────────────────────────────────────────────────────────

  session(principal: Principal, instanceId: string): SessionRef | undefined {
    if (principal.kind === 'script') {
      if (principal.session !== instanceId) return undefined
      return this.#hosting.get(instanceId) ?? this.local
    }
    const hosted = this.#hosting.get(instanceId)
    if (principal.kind === 'peer') return hosted?.owner === principal.owner ? hosted : undefined
    if (this.local.instanceId === instanceId) return this.local
    // `localhost` is both ends of one session here: our own link means the hosted end, a client's the held one.
    return principal.self ? (hosted ?? this.#holding.get(instanceId)) : (this.#holding.get(instanceId) ?? hosted)
  }

  hosted(instanceId: string): HostSession | undefined {
    return this.#hosting.get(instanceId) ?? (this.local.instanceId === instanceId ? this.local : undefined)
  }

  hadSession(principal: Principal, instanceId: string): boolean {
    return principal.kind === 'peer' && this.#hosting.wasOf(principal, instanceId)
  }

  onGrants(listener: () => void): () => void {
    this.#grantListeners.add(listener)
    return () => this.#grantListeners.delete(listener)
  }

  admit({ kind }: Principal, link: Link, ref: SessionRef, event: SessionEvent['type']): void {
    // A session's own scripts are part of it; leaving what one has not got is no crime.
    if (kind !== 'script' && ref instanceof HostSession && event !== 'disconnect') ref.admit(link.client, event)
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
    const starts = event.type === 'start' || event.type === 'run'
    // What runs elsewhere is offered there. Policy has said yes before: see serve.ts.
    if (starts && !event.on && ref instanceof HostSession) {
      this.#offers.throwUnlessOffered(event.spec)
      this.#machines.throwUnlessOffered(event.spec)
    }
    if (!(ref instanceof HostSession)) return ref.request(event, job, { signal })
    // Leaving is the client's act: the session it hosts learns who left. So is saying how it is to buffer.
    if (event.type === 'disconnect') {
      const idleTimeout = event.idleTimeout === undefined ? undefined : boundedIdle(event.idleTimeout)
      ref.detach(link.client, idleTimeout, event.buffering)
    } else if (event.type === 'connect' && event.buffering !== undefined) ref.rebuffer(link.client, event.buffering)
    else return ref.request(event, job, { signal })
    return ref.snapshotFor(link.client)
  }

  async peerEvent(principal: Principal, link: Link, event: PeerEvent, signal: AbortSignal): Promise<unknown> {
    this.#throwIfClosing()
    switch (event.type) {
      case 'ping':
        return { name: this.name, version: VERSION, at: Date.now(), grants: this.#grantsOf(principal) }
      case 'sessions':
        return this.#hosting.of(principal, link.client)
      case 'session.open':
        return this.#hosting.open(principal, link.client, event.options, signal)
      case 'session.attach':
        return this.#hosting.attach(
          principal,
          link.client,
          event.session,
          event.force === true,
          before(link, event.was),
        )
      case 'session.home':
        return (await this.#hosting.homeOf(principal)).snapshotFor(link.client)
      case 'names.watch':
        return this.names.watchName(event.name, event.cursor, signal)
      case 'groups.watch':
        return this.names.watchGroup(event.group, event.cursor, signal, event.now)
      case 'local.connect': {
        const snapshot = (await this.#ownerEvent(event, signal)) as SessionSnapshot
        // A temporary session is its client's: it goes when the client does, however that ends.
        if (event.options.temporary) {
          const close = (): void =>
            void this.#holding
              .get(snapshot.instanceId)
              ?.close()
              .catch(() => undefined)
          void link.closed.then(close)
        }
        return snapshot
      }
      default:
        return this.#ownerEvent(event, signal)
    }
  }

  refused(principal: Principal, what: string): void {
    this.#options.log?.('refused', { peer: principal.peer, owner: principal.owner, what })
  }

  #principal(peer: PeerId, client: string): Principal {
    // Whoever may open the socket is the owner.
    if (peer === 'local') return { kind: 'owner', peer, owner: '', may: () => true, self: client === this.#self.client }
    const book = this.#book
    return {
      kind: 'peer',
      peer,
      // Asked each time, as grants are: the book may change while a link is open.
      get owner() {
        return book.get(peer)?.owner ?? peer
      },
      may: (grant) => {
        const grants = book.get(peer)?.grants ?? []
        return grants.includes(grant) || grants.includes('admin')
      },
    }
  }

  /** Nobody learns more than what is granted to themselves. */
  #grantsOf({ kind, peer }: Principal): readonly Grant[] {
    return kind === 'peer' ? (this.#book.get(peer)?.grants ?? []) : ['admin']
  }

  #serveScript(session: HostSession, channel: Channel): void {
    const { owner, instanceId } = session
    const principal: Principal = { kind: 'script', peer: 'script', owner, session: instanceId, may: () => true }
    // Scripts ask over a lane of their own; ids of different isolates must not meet.
    const server = new Server(principal, this, new Answers())
    // Its lane ends it, with the isolate.
    void new Link(channel, channel, { client: crypto.randomUUID() }, server)
  }

  #onLink(link: Link, dialled: boolean): void {
    this.#activeAt = performance.now()
    this.#teller?.look()
    void link.closed.then(() => this.#teller?.look())
    this.routes.heardOf(link.peer)
    if (dialled) return
    // What it asked over an older link and nobody has read yet must not come behind what it asks over this one.
    this.#clients.get(link.client)?.abort(new PeerLostError('its client is back over a newer link'))
    this.#clients.set(link.client, link)
    void link.closed.then(() => {
      this.#activeAt = performance.now()
      // A client that is back over a newer link has not left.
      if (this.#clients.get(link.client) !== link) return
      this.#clients.delete(link.client)
      // Who said goodbye asks nothing again: most are programs that have done what they came for.
      if (link.wasLeft) this.#answers.forget(link.client)
      else this.#answers.leave(link.client)
      this.#hosting.clientLost(link.client)
    })
  }

  // ── by the owner's word ─────────────────────────────────────────────────────────────────────────────────────────────

  async #ownerEvent(event: PeerEvent, signal?: AbortSignal): Promise<unknown> {
    this.#throwIfClosing()
    signal?.throwIfAborted()
    switch (event.type) {
      case 'local.connect': {
        if (event.options.idleTimeout !== undefined) boundedIdle(event.options.idleTimeout)
        return (await this.#holding.open(event.to, event.options, signal)).snapshot
      }
      case 'local.home':
        return (await this.#holding.home(event.on, signal)).snapshot
      case 'local.sessions':
        return this.#sessions(event.on, event.state, signal)
      case 'local.session':
        return this.#holding.named(event.which).snapshot
      case 'local.launch':
        return launch(event.argv, event)
      case 'local.peers':
        return this.#network.peers()
      case 'local.ping':
        return this.#network.ping(event.on, signal)
      case 'local.events':
        return this.#events.since(event.cursor, signal)
      case 'local.invite':
        return this.#network.invite(event)
      case 'local.join':
        return this.#network.join(event.ticket, event.name, signal)
      case 'local.allow':
        return this.#network.allow(event.peer, event.grants, event)
      case 'local.deny': {
        const denied = await this.#network.deny(event.peer, event.forget === true)
        // An owner's other keys keep their sessions; those this one had are detached with its links.
        this.#hosting.closeTemporary(denied.id)
        return this.#closeUnlessOwned(denied.owner ?? denied.id)
      }
      case 'local.register':
        return this.names.register(event.name, event.address, event)
      case 'local.unregister':
        return this.names.unregister(event.name)
      case 'local.whereis':
        return this.routes.whereis(event, signal)
      case 'local.group':
        return this.#unions.watch(event, signal)
      case 'local.status':
        return this.#status()
      case 'local.shutdown':
        return this.#shutdown(event, signal)
      default:
        throw new UsageError(`${event.type} comes over a link`)
    }
  }

  /** Nobody could ever take up what is an owner's who has no key any more that may come here. */
  #closeUnlessOwned(owner: string): void {
    if (!this.#book.standsFor(owner)) this.#hosting.closeOwned(owner)
  }

  /** A key stands for another owner from now on. `alone`: it stood for nobody but itself. */
  #moved(peer: PeerId, owner: string, to: string, alone: boolean): void {
    if (alone) return this.#hosting.rename(owner, to)
    this.#hosting.closeTemporary(peer)
    this.#closeUnlessOwned(owner)
  }

  async #sessions(
    on: string | undefined,
    state: SessionState | undefined,
    signal?: AbortSignal,
  ): Promise<SessionSnapshot[]> {
    const found =
      on === undefined ? this.#holding.listed().map((session) => session.snapshot) : await this.#holding.on(on, signal)
    return state === undefined ? found : found.filter((session) => session.state === state)
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
      sessions: this.#holding.listed().length + this.#hosting.all().length,
      hosted: {
        sessions: this.#hosting.all().length,
        running: this.#hosting.all().reduce((count, session) => count + session.unfinished.length, 0),
      },
      peers: this.#book.all().length,
      offers: { jobs: this.#offers.names, machines: this.#machines.names },
      onDemand: onDemand === true,
      local: this.local.snapshot,
    }
  }

  async #shutdown({ drain, force }: { drain?: boolean; force?: boolean }, signal?: AbortSignal): Promise<void> {
    const here = this.local.mortal
    const ofOthers = this.#hosting.all().flatMap((session) => [...session.mortal])
    const mortal = [...here, ...ofOthers]
    // Who gives up waiting has not shut anything down.
    if (drain) await whileWanted(() => Promise.all(mortal.map((job) => job.finished)), signal)
    else if (mortal.length > 0 && !force) {
      const say = (jobs: number, of: string): string =>
        `${jobs === 1 ? `one job${of} runs` : `${jobs} jobs${of} run`} here`
      const told = [
        ...(here.length > 0 ? [say(here.length, '')] : []),
        ...(ofOthers.length > 0 ? [say(ofOthers.length, ' of others')] : []),
      ]
      throw new JobNotFinishedError(told.join(', and '), { hint: 'drain waits for them, force ends them' })
    }
    // After the answer is on its way.
    setImmediate(() => void this.close())
  }

  // ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #throwIfClosing(): void {
    if (this.#closing) throw new PeerClosedError()
  }

  /** What must stop stops, what may go on elsewhere is left to go on. Idempotent. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close().finally(() => this.#settleClosed()))
  }

  /** While it closes: what has been asked to stop is ended by force. */
  hurry(): void {
    for (const session of [this.local, ...this.#hosting.all()]) session.hurry()
  }

  async #close(): Promise<void> {
    // Endings wait until they can be written; whoever closes a peer does not wait for somebody to make room.
    const late = setTimeout(() => this.store.hurry?.(), LEAVE_MS)
    this.#over.abort(new PeerClosedError())
    await this.#holding.leave()
    const reason = `${this.name} is going down`
    await Promise.allSettled(
      [this.local, ...this.#hosting.all()].map((session) => session.close(undefined, reason, 'PEER_SHUTDOWN', true)),
    )
    this.#turns[Symbol.dispose]()
    await this.#holding.end()
    this.#events.end(new PeerClosedError())
    this.#unions.end(new PeerClosedError())
    this.names.end(new PeerClosedError())
    // Who listens hears how everything has ended: their answers leave in the turn after the one in which they are woken.
    for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve))
    await this.#network.close()
    await this.#homeLock?.[Symbol.asyncDispose]()
    this.retention?.[Symbol.dispose]()
    this.#row?.leave()
    clearTimeout(late)
    await this.store[Symbol.asyncDispose]()
    await this.memory?.[Symbol.asyncDispose]()
    this.#holding.forsake()
  }
}

/** How long a start waits for the endings of jobs that did not survive to be on disk, in milliseconds. */
const RESTORE_MS = 2_000
/** How long a peer that closes waits for a store that can write nothing, in milliseconds. */
const LEAVE_MS = 2_000
/** What is kept of jobs that have ended, where nothing else is said and it is kept at all. */
const KEPT = { age: '30d', count: 100_000 } as const

/** @throws UsageError */
function retentionOf(options: PeerOptions): Retention | undefined {
  const { retention = options.store?.rows ? KEPT : false } = options
  if (retention === false) return undefined
  const { age, count, bytes } = retention as Exclude<PeerOptions['retention'], false | undefined>
  for (const [what, most] of Object.entries({ count, bytes })) {
    if (most !== undefined && !(Number.isSafeInteger(most) && most >= 0))
      throw new UsageError(`\`retention.${what}\` is a whole number from 0 on, not ${most}`)
  }
  return new Retention({ age: age === undefined ? undefined : milliseconds(age), count, bytes }, reporting(options))
}

/** @throws UsageError, AddressInUseError */
async function lockOf({ serveLocal, home }: PeerOptions): Promise<Lock | undefined> {
  if (!serveLocal) return undefined
  if (home === undefined) throw new UsageError('a peer that answers locally needs a home')
  return holdLock(lockFile(home))
}

function reporting({ log }: PeerOptions): (message: string, details: Record<string, unknown>) => void {
  return (message, details) => log?.(message, details)
}

/** The client process that was there before, as links name them: of the same key. */
function before({ client }: Link, was: string | undefined): string | undefined {
  return was === undefined ? undefined : `${client.slice(0, client.lastIndexOf(' ') + 1)}${was}`
}

function nameOf({ name }: PeerOptions): string {
  return name ?? hostname()
}
