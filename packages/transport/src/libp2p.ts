// Between machines: libp2p. The only file, with its neighbours node, connections, destination, direct-tcp, direct-tls,
// certificate, identity and stream-duplex, that loads libp2p.

import type { Connection, PeerId as NodeId, Stream } from '@libp2p/interface'
import type { Libp2p } from 'libp2p'
import { Connections } from './connections.ts'
import {
  type Destination,
  destinationOf,
  dialError,
  listenError,
  namesFrom,
  parseAddress,
  peerOf,
  unsupported,
  withPeer,
} from './destination.ts'
import { ChannelClosedError, DeniedError, ErrandError, PeerUnreachableError, ProtocolError } from './errors.ts'
import { type Identity, createIdentity, loadIdentity, privateKeyOf, verify } from './identity.ts'
import { KEEP, hold, stayConnected } from './keep.ts'
import { KnownAddresses } from './known-addresses.ts'
import { type Lock, holdLock } from './lock.ts'
import { MAX_STREAMS, createNode } from './node.ts'
import { StreamDuplex } from './stream-duplex.ts'
import { Switchboard } from './switchboard.ts'
import type { Cancel, Channel, OpenOptions, PeerId, Transport, TransportHost } from './transport.ts'

export { type Identity, createIdentity, loadIdentity, verify } from './identity.ts'

/** Who we are on libp2p, where we listen, and whom we find. */
export interface Libp2pOptions {
  /** Multiaddrs to listen on, e.g. `/ip4/127.0.0.1/tcp/0`. Default: none, we only dial. */
  listen?: readonly string[] | undefined
  /** Where our key is kept; made on first use. One process per key. Default, without `identity`: a key for this run. */
  keyFile?: string | undefined
  /** Our key itself, instead of `keyFile`. */
  identity?: Identity | undefined
  /** Multiaddrs told to others beside those we listen on: a forwarded port, a public name. */
  announce?: readonly string[] | undefined
  /** Names for peers, each with its addresses, which end in `/p2p/<id>`: `open(name, …)` dials them. Default: none. */
  peers?: Readonly<Record<string, readonly string[]>> | undefined
  /**
   * Addresses, ending in `/p2p/<id>`, of peers to stay connected with from the start on, for as long as they are admitted:
   * dialled again with back-off when they are lost. So that they reach us where nobody can dial us. Their policy is asked
   * for the protocol `/errand/keep/1`. Default: none.
   */
  bootstrap?: readonly string[] | undefined
  /**
   * Tell the local network that we are here, and find admitted peers on it by their id alone (multicast DNS, UDP 5353).
   * Everybody on that network learns our id and addresses. Default false.
   */
  mdns?: boolean | undefined
  /** Milliseconds a connection may carry no channel until it is closed. Default 60 000. */
  idle?: number | undefined
  /**
   * TLS laid directly over the socket, which moves more than twice the bytes a second; on the wire it is libp2p's own
   * `/tls/1.0.0`. False: libp2p's TCP and TLS as they come. Default true.
   */
  direct?: boolean | undefined
}

/** How long connecting and asking for a stream may take in all, in milliseconds; libp2p's own limit of a dial. */
const DIAL_TIMEOUT = 10_000
/** Connections that broke off before they carried anything until we believe that it is meant. */
const ATTEMPTS = 2
/** How long what we know of a peer may be tried where there is hearsay to try after it, in milliseconds. */
const HALF_DIAL = DIAL_TIMEOUT / 2
const IDLE = 60_000

/**
 * A peer's place on libp2p. Looks nobody up but where its options say so; tells nobody but admitted peers its addresses,
 * `mdns` apart. `open` takes a name of `peers`, a peer id, or a multiaddr that ends in `/p2p/<id>`, and remembers for this
 * run which address worked and what admitted peers say of their own.
 * @throws ErrandError (NODE_TOO_OLD) below Node 22, where libp2p fails later with misleading errors
 * @throws MalformedError, ProtocolError for addresses in the options that are none
 * @example
 * await using peer = await createPeer({
 *   home: './mine',
 *   transport: libp2p({ keyFile: './mine/key', listen: ['/ip4/0.0.0.0/tcp/4100'] }),
 * })
 */
export function libp2p(options: Libp2pOptions = {}): Transport {
  if (typeof Promise.withResolvers !== 'function') {
    throw new ErrandError('NODE_TOO_OLD', `libp2p needs Node 22 or newer; this is ${process.version}`, {
      hint: 'errand itself is tested on Node 24',
    })
  }
  return new Libp2pTransport(options)
}

class Libp2pTransport implements Transport {
  readonly carrier = 'libp2p'
  readonly #options: Libp2pOptions
  readonly #names: ReadonlyMap<string, readonly string[]>
  readonly #known = new KnownAddresses()
  readonly #over = new AbortController()
  #identity: Identity | undefined
  #node: Libp2p | undefined
  #connections: Connections | undefined
  #switchboard: Switchboard | undefined
  #lock: Lock | undefined
  #starting: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(options: Libp2pOptions) {
    this.#options = options
    this.#identity = options.identity
    this.#names = namesFrom(options.peers ?? {})
    for (const address of options.bootstrap ?? []) peerOf(address)
  }

  get id(): PeerId {
    if (this.#identity === undefined) throw new ChannelClosedError('the id is known after start')
    return this.#identity.id
  }

  get addresses(): readonly string[] {
    return this.#node?.getMultiaddrs().map((address) => withPeer(address, this.id).toString()) ?? []
  }

  start(host: TransportHost, options: Cancel = {}): Promise<void> {
    if (this.#starting || this.#closing) return Promise.reject(new ChannelClosedError('a transport is started once'))
    return (this.#starting = this.#start(host, options))
  }

  async open(to: string, protocol: string, options: OpenOptions = {}): Promise<Channel> {
    options.signal?.throwIfAborted()
    const switchboard = this.#switchboard
    if (switchboard === undefined) throw new ChannelClosedError('the transport is not started')
    const there = destinationOf(to, this.#names)
    const onNews = (act: () => void): (() => void) => this.#known.onNews(there.id, act)
    const attempt = async (): Promise<Channel> => {
      const known = switchboard.check(there.id, protocol)
      const duplex = await this.#openStream(there, protocol, options)
      return switchboard.open(duplex, there.id, known, options)
    }
    return switchboard.attempt(attempt, options, onNews)
  }

  async disconnect(to: string): Promise<void> {
    const { id, node } = destinationOf(to, this.#names)
    // One second for both: to tell the reason, and to close.
    const limit = AbortSignal.timeout(1_000)
    await this.#switchboard?.end(id, new ChannelClosedError('the peer has hung up'))
    await this.#connections?.hangUp(node, limit)
  }

  async sibling(seed: Uint8Array): Promise<Transport> {
    return libp2p({ identity: await createIdentity(seed) })
  }

  async sign(bytes: Uint8Array): Promise<Uint8Array> {
    if (this.#identity === undefined) throw new ChannelClosedError('the key is known after start')
    return this.#identity.sign(bytes)
  }

  verify(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
    return verify(peer, bytes, signature)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #start(host: TransportHost, { signal }: Cancel): Promise<void> {
    const { keyFile, listen = [], announce = [] } = this.#options
    signal?.throwIfAborted()
    try {
      this.#identity ??= keyFile === undefined ? await createIdentity() : await loadIdentity(keyFile)
      if (keyFile !== undefined) this.#lock = await holdLock(`${keyFile}.lock`)
      const node = await createNode({
        privateKey: await privateKeyOf(this.#identity),
        listen,
        announce,
        mdns: this.#options.mdns ?? false,
        direct: this.#options.direct ?? true,
        admits: (peer) => host.admits(peer),
        heard: (peer, addresses) => this.#known.heard(peer, addresses),
      })
      this.#node = node
      const protocols = [...host.protocols, KEEP]
      const switchboard = (this.#switchboard = new Switchboard({
        protocols,
        admits: (peer, protocol) => host.admits(peer, protocol),
        accept: (channel) => (channel.protocol === KEEP.name ? hold(channel) : host.accept(channel)),
      }))
      this.#connections = new Connections({
        node,
        id: this.id,
        protocols: new Set(protocols.map(({ name }) => name)),
        idle: this.#options.idle ?? IDLE,
        onOpen: (connection) => this.#onConnection(connection, host),
      })
      // Only peers that are admitted get as far as to say where they listen.
      node.addEventListener('peer:identify', ({ detail: { peerId, listenAddrs } }) => {
        this.#known.heard(peerId.toString(), listenAddrs.map(String))
      })
      for (const { name } of protocols) {
        await node.handle(
          name,
          (stream, connection) => {
            const peer = connection.remotePeer.toString()
            switchboard.answer(new StreamDuplex(stream, () => this.#forsake(connection)), peer, name)
          },
          { maxInboundStreams: MAX_STREAMS, maxOutboundStreams: MAX_STREAMS },
        )
      }
      signal?.throwIfAborted()
      await node.start()
      signal?.throwIfAborted()
    } catch (error) {
      await this.#stop()
      throw listenError(error, listen)
    }
    const { signal: over } = this.#over
    for (const address of this.#options.bootstrap ?? []) {
      const id = peerOf(address)
      const open = (): Promise<Channel> => this.open(id, KEEP.name, { addresses: [address], signal: over })
      void stayConnected({ open, signal: over, onNews: (act) => this.#known.onNews(id, act) })
    }
  }

  #onConnection(connection: Connection, host: TransportHost): void {
    const peer = connection.remotePeer.toString()
    if (connection.direction === 'outbound') this.#known.worked(peer, withPeer(connection.remoteAddr, peer).toString())
    this.#known.wake(peer)
    if (connection.direction === 'inbound') host.connected?.(peer)
  }

  /** A fresh stream to the peer, over the connection there is or a new one. */
  async #openStream(there: Destination, protocol: string, options: OpenOptions): Promise<StreamDuplex> {
    const { id: peer } = there
    const addresses = [...there.addresses, ...(options.addresses ?? [])]
    const limit = new AbortController()
    const timer = setTimeout(() => {
      limit.abort(new PeerUnreachableError(`${peer} did not answer within ${DIAL_TIMEOUT} ms`))
    }, DIAL_TIMEOUT)
    const giveUp = (): void => limit.abort(options.signal!.reason)
    options.signal?.addEventListener('abort', giveUp, { once: true })
    try {
      let refusals = 0
      let broken = 0
      let failed: Connection | undefined
      const over = new Set<Connection>()
      for (;;) {
        const link = await this.#connect(there, addresses, over, limit.signal)
        const stream = link ? await this.#newStream(link.connection, peer, protocol, limit.signal) : 'over'
        if (typeof stream === 'object') return new StreamDuplex(stream, () => this.#forsake(link!.connection))
        // A first time it may have been a connection that was just ending; asked again, that would have said `over`.
        if (stream === 'reset' && link?.connection === failed) {
          throw new DeniedError(`${peer} takes no more channels of ${protocol}`)
        }
        failed = link?.connection
        if (stream === 'over' && failed !== undefined) over.add(failed)
        // Whoever broke off before it knew us may be anybody: a forwarded port without a peer behind it, say.
        if (link === undefined && ++broken === ATTEMPTS) {
          throw new PeerUnreachableError(`whoever listens at the address of ${peer} breaks off the handshake`)
        }
        // Not to admit somebody is done by hanging up, and dialling has succeeded before that shows. A peer that is
        // just going away looks the same, but only once: after that nobody answers. Nor is it a refusal where the peer
        // has dialled us meanwhile, and closed this one of the two.
        if (link?.fresh && this.#connections?.to(there.node, over) === undefined && ++refusals === ATTEMPTS) {
          throw new DeniedError(`${peer} hung up as soon as it knew who we are`, {
            hint: 'it probably does not admit us: pair with it, or have it allow our id',
          })
        }
      }
    } finally {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', giveUp)
    }
  }

  /** `over`: the connection had ended, and is out of the way now. `reset`: the stream was, for whatever reason. */
  async #newStream(
    connection: Connection,
    peer: PeerId,
    protocol: string,
    signal: AbortSignal,
  ): Promise<Stream | 'over' | 'reset'> {
    try {
      return await connection.newStream(protocol, { signal })
    } catch (error) {
      const { name } = error as Error
      if (name === 'UnsupportedProtocolError') throw unsupported(peer, protocol, error)
      const { reason } = signal as { reason: unknown }
      // Ten seconds without an answer: the connection is dead, and would be found open, and used, by the next dial.
      if (signal.aborted && reason instanceof PeerUnreachableError) this.#forsake(connection)
      signal.throwIfAborted()
      // A connection whose muxer is closed stays `open`, and would be dialled for ever.
      if (name !== 'ConnectionClosedError' && name !== 'MuxerClosedError') return 'reset'
      connection.abort(error as Error)
      return 'over'
    }
  }

  /** The connection to use; undefined when the peer broke off during the handshake. */
  async #connect(
    { id, node: peer }: Destination,
    addresses: readonly string[],
    over: ReadonlySet<Connection>,
    signal: AbortSignal,
  ): Promise<{ connection: Connection; fresh: boolean } | undefined> {
    const existing = this.#connections?.to(peer, over)
    if (existing !== undefined) return { connection: existing, fresh: false }
    const given = addresses.map((address) => parseAddress(address, id).toString())
    const { trusted, heard } = this.#known.of(id, given)
    if (trusted.length === 0 && heard.length === 0) {
      throw new PeerUnreachableError(`no address of ${id} is known`, { hint: 'say where it listens' })
    }
    let failure: Error | undefined
    if (trusted.length > 0) {
      try {
        const link = await this.#dial(peer, id, trusted, over, signal, heard.length > 0 ? HALF_DIAL : undefined)
        if (link !== undefined || heard.length === 0) return link
      } catch (error) {
        signal.throwIfAborted()
        const elsewhere = error instanceof ProtocolError && trusted.some((one) => !given.includes(one))
        failure = elsewhere ? moved(id, error) : (error as Error)
        if (heard.length === 0 || error instanceof DeniedError) throw failure
      }
    }
    // Somebody else who answers where the peer was, or is only said to be, proves nothing: addresses get new owners.
    try {
      const link = await this.#dial(peer, id, heard, over, signal)
      if (link !== undefined) return link
    } catch (error) {
      signal.throwIfAborted()
      failure ??= error instanceof ProtocolError ? moved(id, error) : (error as Error)
    }
    if (failure !== undefined) throw failure
    return undefined
  }

  /** `within`: milliseconds, where something else is to be tried after it. */
  async #dial(
    peer: NodeId,
    id: PeerId,
    addresses: readonly string[],
    over: ReadonlySet<Connection>,
    signal: AbortSignal,
    within?: number,
  ): Promise<{ connection: Connection; fresh: boolean } | undefined> {
    const node = this.#node
    if (node === undefined) throw new ChannelClosedError('the transport is closed')
    const targets = addresses.map((address) => parseAddress(address, id))
    const limit = within === undefined ? signal : AbortSignal.any([signal, AbortSignal.timeout(within)])
    try {
      const connection = await node.dial(targets, { signal: limit })
      // The peer may have dialled us in the same moment: then both take the same one of the two.
      const chosen = this.#connections?.to(peer, over) ?? connection
      return { connection: chosen, fresh: chosen === connection }
    } catch (error) {
      signal.throwIfAborted()
      const meaning = dialError(id, error)
      if (meaning === undefined) return undefined
      throw meaning
    }
  }

  #forsake(silent: Connection): void {
    this.#connections?.forsake(
      silent,
      new PeerUnreachableError(`${silent.remotePeer.toString()} is silent`, { silent: true }),
    )
  }

  async #close(): Promise<void> {
    this.#over.abort(new ChannelClosedError('the transport is closed'))
    await this.#starting?.catch(() => {}) // its caller has the error
    await this.#switchboard?.close()
    await this.#stop()
  }

  async #stop(): Promise<void> {
    const node = this.#node
    this.#node = undefined
    this.#connections?.stop()
    await node?.stop()
    dropLastUpdate(node)
    await this.#lock?.release()
  }
}

function moved(peer: PeerId, cause: unknown): PeerUnreachableError {
  return new PeerUnreachableError(`${peer} has moved`, { cause })
}

/** A stopped node notes, a second later, that it listens nowhere any more: for that long the process would not end. */
function dropLastUpdate(node: unknown): void {
  type Inside = { components?: { addressManager?: { _updatePeerStoreAddresses?: { stop?(): void } } } }
  ;(node as Inside | undefined)?.components?.addressManager?._updatePeerStoreAddresses?.stop?.()
}
