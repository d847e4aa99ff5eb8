// The ways out of a peer and into it: its network (made when first needed), the local socket, and the links on them.
// Who may come in at all is decided here, from the address book; what they may do is decided where they ask (serve.ts).
import { encode, type Channel, type PeerId, type Transport, type TransportHost } from '@errand/transport'
import { socket, socketPath } from '@errand/transport/socket'
import {
  DEFAULT_GRANTS,
  checkGrants,
  checkOwner,
  isGrant,
  peerInfo,
  type AddressBook,
  type KnownPeer,
} from './address-book.ts'
import {
  asError,
  codeOf,
  DeniedError,
  PeerClosedError,
  PeerNotFoundError,
  PeerUnreachableError,
  TicketError,
  UsageError,
} from './errors.ts'
import { defaultHome } from './home.ts'
import type { Link, LinkServer } from './link.ts'
import { firstOf, LinkAcceptor, openLink, WELCOME_MS, type Self } from './link-handshake.ts'
import type { PeerInfo, PingAnswer } from './surface.ts'
import { whileWanted } from './output-log.ts'
import { readTicket, writeTicket } from './ticket.ts'
import { CONTROL, DATA, JOIN, LOCAL_BEAT, LOCAL_LINKS, protocols, VERSION, type Beat } from './wire.ts'

/** What a network is needed for: whoever invites must be reachable, whoever only dials need not listen to the world. */
export type NetworkPurpose = 'dial' | 'invite'

/** Where a name leads. */
export interface Place {
  /** One link per key. */
  readonly key: string
  /** What we call it. */
  readonly location: string
  readonly peer: PeerId
  readonly addresses: readonly string[]
  readonly carrier: string
  transport(): Promise<Transport>
}

export interface NetworkOptions {
  readonly self: Self
  readonly book: AddressBook
  readonly beat: Beat
  /** None: no key, no port. As a function: made when first needed. */
  readonly transport: Transport | ((purpose: NetworkPurpose) => Transport) | undefined
  readonly home: string | undefined
  readonly serveLocal: boolean
  /** Answers requests of whoever is at the other end. */
  readonly server: (peer: PeerId, client: string) => LinkServer
  /** A link came to be: ours (dialled) or a client's (accepted). */
  readonly onLink: (link: Link, dialled: boolean) => void
  readonly refused: (peer: PeerId, what: string) => void
  /** A peer has come to us: it can be reached now, wherever it is. */
  readonly connected: (peer: PeerId) => void
  /** A key stands for another owner from now on. `alone`: before, it stood for nobody but itself, and nobody else for it. */
  readonly moved: (peer: PeerId, owner: string, to: string, alone: boolean) => void
}

/** Of what another peer says that it grants us. */
const GRANTS_TOLD = 1_000
/** A ticket's life, when nothing else is said. */
const TICKET_MS = 3_600_000

export class Network {
  readonly #options: NetworkOptions
  readonly #acceptor: LinkAcceptor
  readonly #links = new Set<Link>()
  readonly #followers = new Set<(link: Link) => void>()
  readonly #dialled = new Map<string, Promise<Link>>()
  /** What came of it, while it is open. */
  readonly #there = new Map<string, Link>()
  /** Dialled by address: admitted although in no book. */
  readonly #strangers = new Set<PeerId>()
  #network: { transport: Transport; purpose: NetworkPurpose } | undefined
  #networkStarting: Promise<Transport> | undefined
  #socketStarting: Promise<Transport> | undefined
  readonly #over = new AbortController()

  constructor(options: NetworkOptions) {
    this.#options = options
    this.#acceptor = new LinkAcceptor(options.self, options.server, (link) => this.keep(link, false))
  }

  get id(): PeerId {
    return this.#network?.transport.id ?? 'local'
  }
  get addresses(): readonly string[] {
    return this.#network?.transport.addresses ?? []
  }
  get purpose(): NetworkPurpose | undefined {
    return this.#network?.purpose
  }
  /** Links that are alive now. */
  get links(): ReadonlySet<Link> {
    return this.#links
  }

  /** Watches over a link until it ends. */
  keep(link: Link, dialled: boolean): void {
    if (this.#over.signal.aborted) return link.abort(new PeerClosedError())
    this.#links.add(link)
    void link.closed.then(() => this.#links.delete(link))
    this.#options.onLink(link, dialled)
    for (const tell of [...this.#followers]) tell(link)
  }

  /** Told of each link that comes to be, whoever dialled it, until the returned function is called. */
  follow(tell: (link: Link) => void): () => void {
    this.#followers.add(tell)
    return () => void this.#followers.delete(tell)
  }

  /** The newest link with that peer over which something can be asked, whoever dialled it. */
  linkWith(peer: PeerId): Link | undefined {
    return [...this.#links].findLast((link) => link.peer === peer && link.open)
  }

  // ── going somewhere ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** A name of the book, a peer id, a multiaddr, or `localhost`. @throws PeerNotFoundError */
  place(to: string): Place {
    if (to.toLowerCase() === 'localhost') {
      const addresses = [socketPath(this.#options.home ?? defaultHome())]
      const transport = (): Promise<Transport> => this.useSocket()
      return { key: 'localhost', location: 'localhost', peer: 'local', addresses, carrier: 'socket', transport }
    }
    const { book } = this.#options
    const known = book.find(to)
    if (known) return this.#placeOf(known)
    const id = /\/p2p\/([^/]+)$/.exec(to)?.[1]
    if (to.startsWith('/') && !id) {
      const hint = `end it with /p2p/ID: \`errand status\` there shows the whole`
      throw new UsageError(`${to} says where a peer is, and not which`, { hint })
    }
    if (!id || !to.startsWith('/')) throw new PeerNotFoundError(to)
    this.#strangers.add(id)
    const there = book.get(id) ?? { name: id.slice(-8), id, addresses: [], grants: [] }
    return this.#placeOf({ ...there, addresses: [to] })
  }

  #placeOf({ id, name, addresses }: KnownPeer): Place {
    const carrier = this.#network?.transport.carrier ?? 'libp2p'
    return { key: id, location: name, peer: id, addresses, carrier, transport: () => this.use('dial') }
  }

  /** A link there that is open now, whoever made it: either side may ask over it. */
  linkThere({ key, peer }: Place): Link | undefined {
    const ours = this.#there.get(key)
    if (ours?.open) return ours
    return key === 'localhost' ? undefined : this.linkWith(peer)
  }

  /** One link per place, whoever needs it; dialled once at a time. @throws PeerUnreachableError, DeniedError */
  async linkTo(place: Place, signal?: AbortSignal): Promise<Link> {
    if (this.#over.signal.aborted) throw new PeerClosedError()
    const there = this.#dialled.get(place.key)
    if (there) {
      // Others may have the time that whoever asks now has not.
      const link = await whileWanted(() => there.catch(() => undefined), signal)
      if (link?.open) return link
      // Several may have waited for a dial that failed: the first of them dials anew, the others join it.
      const newer = this.#dialled.get(place.key)
      if (newer && newer !== there) return whileWanted(() => newer, signal)
    }
    // Under nobody's signal but the network's: others may wait for the same link.
    const dialling = this.#dial(place)
    this.#dialled.set(place.key, dialling)
    const forget = (): void => {
      if (this.#dialled.get(place.key) === dialling) this.#dialled.delete(place.key)
    }
    dialling.then((link) => void link.closed.then(forget), forget)
    return whileWanted(() => dialling, signal)
  }

  async #dial(place: Place): Promise<Link> {
    const { signal } = this.#over
    const { self, server } = this.#options
    const { peer, addresses } = place
    try {
      const transport = await place.transport()
      // What the other side asks over a link of ours it asks as itself; it is nobody's client process.
      const link = await openLink({ transport, peer, addresses, self, server: server(peer, ''), signal })
      this.keep(link, true)
      this.#there.set(place.key, link)
      void link.closed.then(() => this.#there.get(place.key) === link && this.#there.delete(place.key))
      return link
    } catch (error) {
      const cause = asError(error)
      if (signal.aborted) throw new PeerClosedError()
      if (codeOf(cause) !== 'PEER_UNREACHABLE') throw cause
      const hint =
        place.key === 'localhost'
          ? "start this machine's daemon with `errand up`"
          : `is errand up on ${place.location}? \`errand doctor\` asks every peer`
      throw new PeerUnreachableError(`${place.location} cannot be reached: ${reasonOf(cause, peer)}`, { cause, hint })
    }
  }

  /**
   * One request there and back, over the link there is or a new one. How far the other clock is ahead is known to half of
   * `ms`: nobody can tell which of the two ways took longer. @throws PeerNotFoundError, PeerUnreachableError, DeniedError
   */
  async ping(to: string, signal?: AbortSignal): Promise<PingAnswer> {
    const link = await this.linkTo(this.place(to), signal)
    const [sent, begun] = [Date.now(), performance.now()]
    const answer = (await link.ask({}, { type: 'ping' }, { signal })) as { at?: unknown; grants?: unknown }
    const ms = performance.now() - begun
    // Fields of a later version than the other side may be; and it may say whatever it likes.
    const { at, grants } = answer
    return {
      ms,
      ...(Number.isSafeInteger(at) && { off: (at as number) - (sent + ms / 2) }),
      ...(Array.isArray(grants) && { grants: grants.slice(0, GRANTS_TOLD).filter(isGrant) }),
    }
  }

  // ── being there for others ──────────────────────────────────────────────────────────────────────────────────────────

  /** The network, started when first needed; again with a wider reach when somebody is to be invited. */
  use(purpose: NetworkPurpose): Promise<Transport> {
    const { transport: given } = this.#options
    if (this.#over.signal.aborted) return Promise.reject(new PeerClosedError())
    if (!given)
      return Promise.reject(new UsageError('this peer has no network', { hint: 'create it with a transport' }))
    const before = this.#networkStarting
    if (before && (purpose === 'dial' || this.#network?.purpose === 'invite')) return before
    const starting = (async () => {
      const old = await before?.catch(() => undefined)
      if (old && this.#network?.purpose === 'invite') return old
      // Links over it end and are dialled again: sessions survive that.
      await old?.close()
      const transport = typeof given === 'function' ? given(purpose) : given
      await transport.start(this.#host())
      this.#network = { transport, purpose: typeof given === 'function' ? purpose : 'invite' }
      return transport
    })()
    this.#networkStarting = starting
    starting.catch(() => {
      if (this.#networkStarting === starting) this.#networkStarting = undefined
    })
    return starting
  }

  /** The local carrier: answering on the home's socket, and the way to `localhost`. */
  useSocket(): Promise<Transport> {
    const starting = (this.#socketStarting ??= (async () => {
      const { home, serveLocal } = this.#options
      const transport = socket({ path: socketPath(home ?? defaultHome()), ...(serveLocal && { listen: true }) })
      // Whoever may open the socket is the owner: the file's permissions are the policy.
      await transport.start({
        protocols: protocols(LOCAL_BEAT, LOCAL_LINKS),
        admits: () => true,
        accept: (channel) => this.#link(channel),
      })
      return transport
    })())
    starting.catch(() => (this.#socketStarting = undefined))
    return starting
  }

  #host(): TransportHost {
    const { book, beat } = this.#options
    return {
      protocols: protocols(beat),
      admits: (peer) =>
        book.get(peer) !== undefined || this.#strangers.has(peer) || book.invitation(peer) !== undefined,
      accept: (channel) => this.#accept(channel),
      connected: (peer) => this.#options.connected(peer),
    }
  }

  #accept(channel: Channel): void {
    const { peer, protocol } = channel
    if (protocol === JOIN) return void this.#welcome(channel)
    const grants = this.#options.book.get(peer)?.grants ?? []
    if (grants.includes('connect') || grants.includes('admin')) return this.#link(channel)
    this.#options.refused(peer, protocol)
    const { name } = this.#options.self
    const hint = `who owns ${name} can invite you: \`errand invite\` there, \`errand join\` here`
    channel.abort(new DeniedError(`${name} does not allow this: connect`, { hint }))
  }

  #link(channel: Channel): void {
    if (this.#over.signal.aborted) channel.abort(new PeerClosedError())
    else if (channel.protocol === CONTROL) void this.#acceptor.control(channel)
    else if (channel.protocol === DATA) void this.#acceptor.data(channel)
    else channel.abort(new DeniedError(`not here: ${channel.protocol}`))
  }

  // ── pairing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A ticket. @throws UsageError when nobody could come */
  async invite(o: { grants?: readonly string[]; owner?: string; uses?: number; ttl?: number }): Promise<string> {
    const { book, self } = this.#options
    const transport = await this.use('invite')
    if (!transport.sibling) throw new UsageError(`nobody can be invited over ${transport.carrier}`)
    if (transport.addresses.length === 0) {
      throw new UsageError('this peer listens nowhere: nobody could come', { hint: 'start it with --listen' })
    }
    const seed = crypto.getRandomValues(new Uint8Array(32))
    const key = (await transport.sibling(seed)).id
    await book.invite({
      key,
      grants: checkGrants(o.grants ?? DEFAULT_GRANTS),
      owner: o.owner === undefined ? undefined : checkOwner(o.owner),
      uses: Math.max(1, o.uses ?? 1),
      expires: Date.now() + (o.ttl ?? TICKET_MS),
    })
    return writeTicket({ id: transport.id, name: self.name, addresses: transport.addresses, seed })
  }

  /** Takes a ticket: under its one-time key we say who we are, and are let in from then on. @throws TicketError */
  async join(text: string, name: string | undefined, signal?: AbortSignal): Promise<PeerInfo> {
    const { book, self, beat } = this.#options
    const ticket = readTicket(text)
    const transport = await this.use('dial')
    if (ticket.id === transport.id) throw new TicketError('this ticket was issued here: join with it from another peer')
    if (!transport.sibling) throw new UsageError(`nobody can be joined over ${transport.carrier}`)
    const guest = await transport.sibling(ticket.seed)
    try {
      const host = { admits: (peer: PeerId) => peer === ticket.id, protocols: protocols(beat) }
      await guest.start({ ...host, accept: (channel) => channel.abort() })
      const channel = await guest.open(ticket.id, JOIN, { addresses: ticket.addresses, signal })
      const { id, addresses } = transport
      // Under the ticket's key we say who we are, and prove it with our own.
      const proof = await transport.sign?.(joinText(ticket.id, guest.id, id))
      await channel.send({ t: 'join', v: VERSION, id, name: self.name, addresses, proof }, { signal })
      const answer = await firstOf(channel, signal, WELCOME_MS)
      if ((answer as { t?: unknown } | null)?.t !== 'joined') {
        throw new TicketError('the peer that issued the ticket did not take it')
      }
      await channel.end()
      const peer = await book.put({ id: ticket.id, name: name ?? ticket.name, addresses: ticket.addresses })
      return peerInfo(peer, false)
    } catch (error) {
      if (codeOf(error) === 'PEER_UNREACHABLE') {
        const message = `${ticket.name} cannot be reached: ${reasonOf(asError(error), ticket.id)}`
        const hint = `is errand still up on ${ticket.name}, and can it be reached from here? \`errand status\` there shows where it listens`
        throw new PeerUnreachableError(message, { cause: error, hint })
      }
      if (codeOf(error) !== 'DENIED') throw error
      const hint = 'ask for a new one: `errand invite`'
      throw new TicketError('the ticket is used up or expired', { cause: error, hint })
    } finally {
      await guest.close()
    }
  }

  /** The other side of `join`. */
  async #welcome(channel: Channel): Promise<void> {
    try {
      await this.#letIn(channel.peer, await firstOf(channel, undefined, WELCOME_MS))
      await channel.send({ t: 'joined', name: this.#options.self.name })
      await channel.end()
    } catch (error) {
      channel.abort(asError(error))
    }
  }

  /** @throws DeniedError, TicketError: then nothing was used up */
  async #letIn(key: PeerId, message: unknown): Promise<void> {
    const { book } = this.#options
    const usedUp = (): DeniedError => new DeniedError('the ticket is used up or expired')
    const invitation = book.invitation(key)
    if (!invitation) throw usedUp()
    const { t, id, name, addresses, proof } = (message ?? {}) as Record<string, unknown>
    if (t !== 'join' || typeof id !== 'string' || id.length > 128 || typeof name !== 'string') {
      throw new TicketError('not a join')
    }
    const transport = await this.use('dial')
    if (!(proof instanceof Uint8Array) || !(await transport.verify?.(id, joinText(transport.id, key, id), proof))) {
      throw new TicketError('the joining peer did not prove who it is')
    }
    const { grants, owner } = invitation
    const there = book.get(id)
    // Asked again, for the answer was lost: it is in already, and that takes no use.
    if (there && there.owner === owner && grants.every((grant) => there.grants.includes(grant))) return
    // Used first: a crash between the two must not leave a ticket that works twice.
    if (!(await book.use(key))) throw usedUp()
    const known = Array.isArray(addresses) ? addresses.filter(isAddress).slice(0, 16) : []
    await this.#put({ id, name, addresses: known, grants, owner })
  }

  /**
   * Into the book; what hangs on its owner follows. Links of a key that was another's till now end: what it has open there
   * is not its own any more.
   */
  async #put(change: Partial<KnownPeer> & { id: PeerId }): Promise<void> {
    const { book } = this.#options
    const before = book.get(change.id)?.owner ?? change.id
    await book.put(change)
    const owner = book.get(change.id)?.owner ?? change.id
    if (owner === before) return
    const alone = before === change.id && !book.standsFor(before)
    this.#options.moved(change.id, before, owner, alone)
    if (!alone) this.#cutOff(change.id, new DeniedError(`in another name from now on: ${owner}`))
  }

  #cutOff(id: PeerId, reason: Error): void {
    for (const link of [...this.#links]) if (link.peer === id) link.abort(reason)
  }

  /** Knows a peer by its address from now on: it is let in, and allowed nothing that it was not. @throws UsageError */
  async meet(address: string): Promise<void> {
    const { book } = this.#options
    const id = /\/p2p\/([^/]+)$/.exec(address)?.[1]
    if (!address.startsWith('/') || !id)
      throw new UsageError(`'${address}' does not say who is there`, {
        hint: 'a multiaddr that ends in /p2p/<peer id>',
      })
    if (!book.get(id)) await book.put({ id, addresses: [address] })
  }

  async allow(which: string, grants: readonly string[], o: { name?: string; owner?: string }): Promise<void> {
    const { book } = this.#options
    const there = /\/p2p\/([^/]+)$/.exec(which)?.[1]
    const id = book.find(which)?.id ?? there ?? which
    const { name, owner } = o
    await this.#put({
      id,
      grants: checkGrants(grants),
      ...(there !== undefined && { addresses: [which] }),
      ...(name !== undefined && { name }),
      ...(owner !== undefined && { owner: owner === '' ? id : checkOwner(owner) }),
    })
  }

  /** It may do nothing here, and what is open with it ends; `forget`: out of the book too. @throws PeerNotFoundError */
  async deny(which: string, forget: boolean): Promise<KnownPeer> {
    const { book } = this.#options
    const known = book.named(which)
    if (forget) await book.remove(known.id)
    else await book.put({ id: known.id, grants: [] })
    this.#cutOff(known.id, new DeniedError('no longer allowed here'))
    await this.#network?.transport.disconnect(known.id)
    return known
  }

  peers(): PeerInfo[] {
    const connected = new Set([...this.#links].map((link) => link.peer))
    return this.#options.book.all().map((peer) => peerInfo(peer, connected.has(peer.id)))
  }

  /** Ends links and transports; nothing comes in any more. Idempotent. */
  async close(): Promise<void> {
    this.#over.abort()
    await Promise.allSettled([...this.#links].map((link) => link.close()))
    for (const starting of [this.#networkStarting, this.#socketStarting]) {
      const transport = await starting?.catch(() => undefined)
      await transport?.close()
    }
  }
}

/** What may be one: whoever joins says where it is, and that is shown here. */
function isAddress(one: unknown): one is string {
  return typeof one === 'string' && /^\/\P{Cc}{1,511}$/u.test(one)
}

/** Why a peer cannot be reached, without its id: who reads it knows the peer by its name. */
function reasonOf(cause: Error, peer: PeerId): string {
  const said = `${peer} cannot be reached (`
  const { message } = cause
  return message.startsWith(said) ? message.slice(said.length, -1).replaceAll(/\b(?:\w*Error): /g, '') : message
}

/** What a joining peer signs: for this ticket, at this peer, nothing else. */
function joinText(issuer: PeerId, key: PeerId, joiner: PeerId): Uint8Array {
  return encode(['errand join', issuer, key, joiner])
}
