// Between machines: libp2p over TCP, TLS (noise for those who lack it), yamux. The only file, with its neighbours
// identity and stream-duplex, that loads libp2p.

import { identify } from '@libp2p/identify'
import type { Connection, Stream } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { type Libp2p, createLibp2p } from 'libp2p'
import {
  AddressInUseError,
  ChannelClosedError,
  DeniedError,
  ErrandError,
  MalformedError,
  PeerUnreachableError,
  ProtocolError,
} from './errors.ts'
import { type Identity, createIdentity, loadIdentity, privateKeyOf, verify } from './identity.ts'
import { type Lock, holdLock } from './lock.ts'
import { StreamDuplex } from './stream-duplex.ts'
import { Switchboard } from './switchboard.ts'
import type { Cancel, Channel, OpenOptions, PeerId, Transport, TransportHost } from './transport.ts'

export { type Identity, createIdentity, loadIdentity, verify } from './identity.ts'

export interface Libp2pOptions {
  /** Multiaddrs to listen on, e.g. `/ip4/127.0.0.1/tcp/0`. Default: none, we only dial. */
  listen?: readonly string[] | undefined
  /** Where our key is kept; made on first use. One process per key. Default, without `identity`: a key for this run. */
  keyFile?: string | undefined
  /** Our key itself, instead of `keyFile`. */
  identity?: Identity | undefined
  /** Multiaddrs told to others beside those we listen on: a forwarded port, a public name. */
  announce?: readonly string[] | undefined
}

/** How long connecting and asking for a stream may take in all, in milliseconds; libp2p's own limit of a dial. */
const DIAL_TIMEOUT = 10_000
/** Streams per connection in each direction, yamux's own default: `maxChannels` refuses long before, and with a reason. */
const MAX_STREAMS = 1000
/** Connections that broke off before they carried anything until we believe that the peer does not want us. */
const REFUSALS = 2

/**
 * A peer's place on libp2p. Dials only the addresses that `open` is given; looks nobody up, tells nobody but admitted
 * peers its addresses.
 * @throws ErrandError (NODE_TOO_OLD) below Node 22, where libp2p fails later with misleading errors
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
  #identity: Identity | undefined
  #node: Libp2p | undefined
  #switchboard: Switchboard | undefined
  #lock: Lock | undefined
  #starting: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(options: Libp2pOptions) {
    this.#options = options
    this.#identity = options.identity
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

  async open(peer: PeerId, protocol: string, options: OpenOptions = {}): Promise<Channel> {
    options.signal?.throwIfAborted()
    const switchboard = this.#switchboard
    if (switchboard === undefined) throw new ChannelClosedError('the transport is not started')
    const known = switchboard.check(peer, protocol)
    const duplex = await this.#openStream(peer, protocol, options)
    return switchboard.open(duplex, peer, known, options)
  }

  async disconnect(peer: PeerId): Promise<void> {
    await this.#switchboard?.end(peer, new ChannelClosedError('the peer has hung up'))
    await this.#node?.hangUp(parsePeer(peer), { signal: AbortSignal.timeout(1_000) })
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

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #start(host: TransportHost, { signal }: Cancel): Promise<void> {
    const { keyFile, listen = [], announce = [] } = this.#options
    signal?.throwIfAborted()
    try {
      this.#identity ??= keyFile === undefined ? await createIdentity() : await loadIdentity(keyFile)
      if (keyFile !== undefined) this.#lock = await holdLock(`${keyFile}.lock`)
      const admits = (peer: { toString(): string }): boolean => host.admits(peer.toString())
      const node = await createLibp2p({
        start: false,
        privateKey: await privateKeyOf(this.#identity),
        addresses: { listen: [...listen], appendAnnounce: [...announce] },
        transports: [tcp()],
        // In order of preference. TLS moves 1.4 times the bytes of noise between Nodes, and 2.7 times the requests.
        connectionEncrypters: [tls(), noise()],
        // A window that may not outgrow the read buffer, or pausing a busy stream aborts it; and small enough that a
        // stop need not wait behind bulk: 1 MiB costs 0–20 % of the bytes and buys 20 times the latency.
        streamMuxers: [
          yamux({
            maxInboundStreams: MAX_STREAMS,
            maxOutboundStreams: MAX_STREAMS,
            maxEarlyStreams: 64,
            streamOptions: { maxStreamWindowSize: 1 << 20, maxReadBufferLength: 4 << 20 },
          }),
        ],
        // The defaults (5 new connections per second and address, 10 handshakes at a time) hit a mesh on one machine
        // or behind one router.
        connectionManager: {
          maxConnections: 1000,
          inboundConnectionThreshold: 200,
          maxIncomingPendingConnections: 200,
        },
        // Our heartbeat decides who is dead; libp2p's aborts a healthy connection on one slow ping.
        connectionMonitor: { enabled: false },
        // Synchronous: streams that arrive while a gater thinks count as early, and too many of them end the connection.
        connectionGater: {
          denyInboundEncryptedConnection: (peer) => !admits(peer),
          denyOutboundEncryptedConnection: (peer) => !admits(peer),
        },
        nodeInfo: { userAgent: 'errand' },
        services: { identify: identify() },
      })
      this.#node = node
      const switchboard = (this.#switchboard = new Switchboard(host))
      for (const { name } of host.protocols) {
        await node.handle(
          name,
          (stream, connection) => {
            const peer = connection.remotePeer.toString()
            switchboard.answer(new StreamDuplex(stream, () => this.#forsake(peer)), peer, name)
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
  }

  /** A fresh stream to the peer, over the connection there is or a new one. */
  async #openStream(peer: PeerId, protocol: string, options: OpenOptions): Promise<StreamDuplex> {
    const limit = new AbortController()
    const timer = setTimeout(() => {
      limit.abort(new PeerUnreachableError(`${peer} did not answer within ${DIAL_TIMEOUT} ms`))
    }, DIAL_TIMEOUT)
    const giveUp = (): void => limit.abort(options.signal!.reason)
    options.signal?.addEventListener('abort', giveUp, { once: true })
    try {
      let refusals = 0
      let failed: Connection | undefined
      const over = new Set<Connection>()
      for (;;) {
        const link = await this.#connect(peer, options.addresses ?? [], over, limit.signal)
        const stream = link ? await this.#newStream(link.connection, peer, protocol, limit.signal) : 'over'
        if (typeof stream === 'object') return new StreamDuplex(stream, () => this.#forsake(peer))
        // A first time it may have been a connection that was just ending; asked again, that would have said `over`.
        if (stream === 'reset' && link?.connection === failed) {
          throw new DeniedError(`${peer} takes no more channels of ${protocol}`)
        }
        failed = link?.connection
        if (stream === 'over' && failed !== undefined) over.add(failed)
        // Not to admit somebody is done by hanging up, and dialling has succeeded before that shows. A peer that is
        // just going away looks the same, but only once: after that nobody answers.
        if (link?.fresh !== false && ++refusals === REFUSALS) {
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
      if (signal.aborted && reason instanceof PeerUnreachableError) this.#forsake(peer)
      signal.throwIfAborted()
      // A connection whose muxer is closed stays `open`, and would be dialled for ever.
      if (name !== 'ConnectionClosedError' && name !== 'MuxerClosedError') return 'reset'
      connection.abort(error as Error)
      return 'over'
    }
  }

  /** The connection to use; undefined when the peer broke off during the handshake. */
  async #connect(
    peer: PeerId,
    addresses: readonly string[],
    over: ReadonlySet<Connection>,
    signal: AbortSignal,
  ): Promise<{ connection: Connection; fresh: boolean } | undefined> {
    const node = this.#node
    if (node === undefined) throw new ChannelClosedError('the transport is closed')
    // Two peers that dialled each other at once have two connections. Both prefer the same one: that of the smaller id.
    const open = node.getConnections(parsePeer(peer)).filter((one) => one.status === 'open' && !over.has(one))
    const preferred = this.id < peer ? 'outbound' : 'inbound'
    const existing = open.find(({ direction }) => direction === preferred) ?? open[0]
    if (existing !== undefined) return { connection: existing, fresh: false }
    if (addresses.length === 0) {
      throw new PeerUnreachableError(`no address of ${peer} is known`, { hint: 'say where it listens' })
    }
    const targets = addresses.map((address) => parseAddress(address, peer))
    try {
      return { connection: await node.dial(targets, { signal }), fresh: true }
    } catch (error) {
      signal.throwIfAborted()
      const meaning = dialError(peer, error)
      if (meaning === undefined) return undefined
      throw meaning
    }
  }

  #forsake(peer: PeerId): void {
    const error = new PeerUnreachableError(`${peer} is silent`)
    for (const connection of this.#node?.getConnections(peerIdFromString(peer)) ?? []) connection.abort(error)
  }

  async #close(): Promise<void> {
    await this.#starting?.catch(() => {}) // its caller has the error
    await this.#switchboard?.close()
    await this.#stop()
  }

  async #stop(): Promise<void> {
    const node = this.#node
    this.#node = undefined
    await node?.stop()
    await this.#lock?.release()
  }
}

function parsePeer(peer: PeerId): ReturnType<typeof peerIdFromString> {
  try {
    return peerIdFromString(peer)
  } catch (error) {
    throw new MalformedError(`${peer} is not a peer id`, { cause: error })
  }
}

/** An address that only this peer can answer: whoever else does fails the handshake. */
function parseAddress(address: string, peer: PeerId): Multiaddr {
  let parsed: Multiaddr
  try {
    parsed = multiaddr(address)
  } catch (error) {
    throw new MalformedError(`${address} is not a multiaddr`, { cause: error, hint: 'like /ip4/127.0.0.1/tcp/4001' })
  }
  const named = parsed.getComponents().findLast(({ name }) => name === 'p2p')?.value
  if (named !== undefined && named !== peer)
    throw new ProtocolError(`${address} is another peer's address, not ${peer}'s`)
  return withPeer(parsed, peer)
}

function withPeer(address: Multiaddr, peer: PeerId): Multiaddr {
  return address.getComponents().some(({ name }) => name === 'p2p') ? address : address.encapsulate(`/p2p/${peer}`)
}

function unsupported(peer: PeerId, protocol: string, cause: unknown): ProtocolError {
  return new ProtocolError(`${peer} does not speak ${protocol}`, {
    cause,
    hint: 'the two errands are too far apart: update the older one',
  })
}

/** What a failed dial means; undefined where the peer broke off during the handshake, which may mean two things. */
function dialError(peer: PeerId, error: unknown): ErrandError | undefined {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error]
  const text = errors.map((one) => `${(one as Error).name}: ${(one as Error).message}`).join('; ')
  // libp2p wraps what encryption says in an EncryptionFailedError that keeps the message alone.
  if (/unexpected ?peer|does not match expected/i.test(text)) {
    return new ProtocolError(`somebody else than ${peer} answers at its address`, { cause: error })
  }
  if (/denyOutboundEncryptedConnection/.test(text))
    return new DeniedError(`${peer} is not admitted here`, { cause: error })
  if (/ECONNRESET|EPIPE|UnexpectedEOF|EncryptionFailed|ConnectionClosed/.test(text)) return undefined
  return new PeerUnreachableError(`${peer} cannot be reached (${text})`, {
    cause: error,
    hint: 'is it up, and does it still listen at this address?',
  })
}

function listenError(error: unknown, listen: readonly string[]): unknown {
  if (error instanceof Error && /EADDRINUSE/.test(error.message)) {
    return new AddressInUseError(`another process listens on ${listen.join(', ')}`, { cause: error })
  }
  return error
}
