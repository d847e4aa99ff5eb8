// libp2p over TCP, like @libp2p/tcp, with connections that give their socket away: what encrypts a connection can lay
// itself directly over the socket (direct-tls.ts) instead of over an event per chunk and layer. On the wire nothing
// differs, so whoever speaks libp2p over TCP can be at the other end.

import { once, setMaxListeners } from 'node:events'
import { type Server, type Socket, connect, createServer } from 'node:net'
import {
  AbortError,
  type ComponentLogger,
  type Connection,
  type CreateListenerOptions,
  type DialTransportOptions,
  InvalidParametersError,
  type Listener,
  type ListenerEvents,
  type Logger,
  type MessageStreamDirection,
  StreamMessageEvent,
  TimeoutError,
  type Transport,
  TypedEventEmitter,
  type Upgrader,
  serviceCapabilities,
  transportSymbol,
} from '@libp2p/interface'
import {
  AbstractMultiaddrConnection,
  type SendResult,
  getNetConfig,
  getThinWaistAddresses,
  ipPortToMultiaddr,
} from '@libp2p/utils'
import type { Multiaddr } from '@multiformats/multiaddr'
import { toRead, toWrite } from './lent-memory.ts'

/** Silence, in both directions, that ends a connection, in milliseconds; @libp2p/tcp's. */
const IDLE_TIMEOUT = 120_000
/**
 * Unsent bytes that end a connection. Streams stop at their window (1 MiB here) and when the socket is full; what goes
 * on growing are answers, to a peer that asks and does not read.
 */
const MAX_UNSENT = 8 * 1024 * 1024
/** Between two sockets that ask for the same connection, in milliseconds: any line answers in less. */
const ASK_AGAIN = 1_000
/** Up to here bytes are put together before they are written: what TLS sends as one record (RFC 8446, 5.1). */
const SMALL_WRITE = 16_384
/** Bytes read for which what is written meanwhile waits. */
const GATHERED = 64 * 1024
/** `/ip4/…/tcp/…` and its kin, with or without `/p2p/…`, and nothing behind. */
const TCP = /^(ip4|(ip6zone\/)?ip6|dns|dns4|dns6)\/tcp(\/p2p)?$/

type Components = { readonly logger: ComponentLogger }

/** For `transports` of a libp2p node, in the place of @libp2p/tcp; without unix sockets, and without metrics. */
export function directTcp(): (components: Components) => Transport {
  return (components) => new DirectTcp(components)
}

class DirectTcp implements Transport {
  readonly [transportSymbol] = true
  readonly [Symbol.toStringTag] = 'direct-tcp'
  readonly [serviceCapabilities] = ['@libp2p/transport']
  readonly #log: Logger

  constructor({ logger }: Components) {
    this.#log = logger.forComponent('errand:direct-tcp')
  }

  async dial(address: Multiaddr, options: DialTransportOptions): Promise<Connection> {
    const socket = await connectTo(address, options.signal)
    const connection = new SocketConnection({ socket, direction: 'outbound', remoteAddr: address, log: this.#log })
    try {
      return await options.upgrader.upgradeOutbound(connection, options)
    } catch (error) {
      connection.abort(error as Error)
      throw error
    }
  }

  createListener({ upgrader }: CreateListenerOptions): Listener {
    return new DirectListener(upgrader, this.#log)
  }

  listenFilter(addresses: Multiaddr[]): Multiaddr[] {
    return addresses.filter((address) =>
      TCP.test(
        address
          .getComponents()
          .map(({ name }) => name)
          .join('/'),
      ),
    )
  }

  dialFilter(addresses: Multiaddr[]): Multiaddr[] {
    return this.listenFilter(addresses)
  }
}

class DirectListener extends TypedEventEmitter<ListenerEvents> implements Listener {
  readonly #upgrader: Upgrader
  readonly #log: Logger
  readonly #server: Server
  readonly #connections = new Set<SocketConnection>()
  readonly #closing = new AbortController()
  #address: Multiaddr | undefined

  constructor(upgrader: Upgrader, log: Logger) {
    super()
    this.#upgrader = upgrader
    this.#log = log
    // Every connection that is being upgraded listens; the connection manager bounds them.
    setMaxListeners(Infinity, this.#closing.signal)
    this.#server = createServer({ noDelay: true, keepAlive: true }, (socket) => this.#accept(socket))
    this.#server.on('listening', () => this.safeDispatchEvent('listening'))
    this.#server.on('close', () => this.safeDispatchEvent('close'))
    this.#server.on('error', (error) => this.safeDispatchEvent('error', { detail: error }))
  }

  async listen(address: Multiaddr): Promise<void> {
    const { host, port, type } = getNetConfig(address)
    this.#server.listen({ host, port, ipv6Only: type === 'ip6' })
    await once(this.#server, 'listening') // rejects with the server's error
    this.#address = address
  }

  getAddrs(): Multiaddr[] {
    const bound = this.#server.address()
    return bound === null || typeof bound === 'string' ? [] : getThinWaistAddresses(this.#address, bound.port)
  }

  updateAnnounceAddrs(): void {
    // Nothing to add: a port is all there is to know.
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#closing.abort(new AbortError('the listener was closed'))
    for (const connection of this.#connections) connection.destroy()
    await closed // and with it every socket that was accepted
  }

  #accept(socket: Socket): void {
    let connection: SocketConnection
    try {
      // Both are unknown when the other end has gone already.
      const remoteAddr = ipPortToMultiaddr(socket.remoteAddress!, socket.remotePort!)
      connection = new SocketConnection({ socket, direction: 'inbound', remoteAddr, log: this.#log })
    } catch {
      socket.destroy()
      return
    }
    this.#connections.add(connection)
    socket.once('close', () => this.#connections.delete(connection))
    this.#upgrader
      .upgradeInbound(connection, { signal: this.#closing.signal })
      .catch((error: Error) => connection.abort(error))
  }
}

interface SocketConnectionInit {
  readonly socket: Socket
  readonly direction: MessageStreamDirection
  readonly remoteAddr: Multiaddr
  readonly log: Logger
}

/**
 * A connection of a libp2p node that reads from and writes to a socket, and owns it. The socket can be taken over once:
 * `release` it, lay something over it, `adopt` that.
 */
export class SocketConnection extends AbstractMultiaddrConnection {
  readonly #tcp: Socket
  /** Where bytes go through: the TCP socket, or what was laid over it. Undefined in between. */
  #socket: Socket | undefined
  #gathering = false
  #gathered = 0

  constructor({ socket, ...init }: SocketConnectionInit) {
    super({ ...init, inactivityTimeout: IDLE_TIMEOUT, maxWriteBufferLength: MAX_UNSENT })
    this.#tcp = socket
    // For good, whatever is laid over the socket: its end is the connection's.
    socket.on('error', this.#onError)
    socket.on('close', this.#onClose)
    this.#attach(socket)
  }

  /**
   * Gives away the socket, which still ends with the connection and the other way round, and has to read what came in
   * so far once more.
   * @throws Error when the connection has ended, or given its socket away
   */
  release(): Socket {
    const socket = this.#tcp
    if (this.status !== 'open' || socket.destroyed) throw new Error('the connection has closed')
    if (this.#socket !== socket) throw new Error('the connection has given its socket away')
    // What was gathered goes out first: who lays something over the socket writes past what node still holds.
    while (socket.writableCorked > 0) socket.uncork()
    this.#socket = undefined
    socket.off('data', this.#onBytes)
    socket.off('drain', this.#onDrain)
    socket.off('end', this.#onEnd)
    socket.off('timeout', this.#onTimeout)
    socket.setTimeout(0)
    socket.pause()
    const early = this.readBuffer.subarray()
    this.readBuffer.consume(early.length)
    if (early.length > 0) socket.unshift(early)
    return socket
  }

  /**
   * Reads from and writes to this from now on. It must lie over the socket that was released, and end with it.
   * @throws Error when the connection has ended meanwhile
   */
  adopt(socket: Socket): void {
    if (this.status !== 'open' || socket.destroyed) throw new Error('the connection has closed')
    socket.on('error', this.#onError)
    this.#attach(socket)
  }

  /** Ends the connection at once, in order: the other end sees it closed, not reset. */
  destroy(): void {
    this.#socket?.destroy()
    this.#tcp.destroy()
  }

  sendData(data: Parameters<AbstractMultiaddrConnection['sendData']>[0]): SendResult {
    const socket = this.#socket
    if (socket === undefined) return { sentBytes: 0, canSendMore: false }
    // What is used is given back when libp2p, which takes off what we have sent, does not look at it any more.
    // As one write, for a frame's header is a part of its own; TLS puts several buffers into one anyway, at more cost.
    if (data.byteLength <= SMALL_WRITE) {
      const whole = data.subarray()
      this.#gatherTurn(socket)
      socket.write(whole)
      for (const part of [...data]) if (part.buffer !== whole.buffer) queueMicrotask(() => toWrite.used(part))
    } else {
      socket.cork()
      for (const part of data) {
        if (toWrite.has(part)) socket.write(part, (error) => error ?? toWrite.used(part)) // never from within the call
        else socket.write(part)
      }
      socket.uncork()
    }
    return { sentBytes: data.byteLength, canSendMore: !socket.writableNeedDrain }
  }

  async sendClose(options?: { signal?: AbortSignal }): Promise<void> {
    if (this.#tcp.destroyed) return
    ;(this.#socket ?? this.#tcp).destroySoon()
    if (!this.#tcp.closed) await once(this.#tcp, 'close', options)
  }

  sendReset(): void {
    // libuv cannot reset what it is shutting down, and node would then never close it. What was laid over a socket that
    // is given away shuts it down unseen.
    if (this.#socket === undefined || this.#tcp.writableEnded || this.#socket.writableEnded) this.destroy()
    else this.#tcp.resetAndDestroy()
  }

  sendPause(): void {
    this.#socket?.pause()
  }

  sendResume(): void {
    this.#socket?.resume()
  }

  #attach(socket: Socket): void {
    this.#socket = socket
    socket.on('data', this.#onBytes)
    socket.on('drain', this.#onDrain)
    socket.on('end', this.#onEnd)
    socket.on('timeout', this.#onTimeout)
    socket.setTimeout(IDLE_TIMEOUT)
  }

  /**
   * What is written because of what has come in leaves as one write, after all of it was looked at: the muxer's window
   * update together with the answer, instead of in front of it. Each write costs as much as some forty small frames. But
   * of bulk the socket may have a mebibyte more, and the sender would stand still until we are through with that.
   */
  #gather(read: number): void {
    const socket = this.#socket
    if (socket === undefined) return
    this.#gathered += read
    if (this.#gathered >= GATHERED) this.#letGo()
    if (this.#gathering) return
    this.#gathering = true
    this.#gathered = 0
    socket.cork()
    setImmediate(this.#letGo)
  }

  /**
   * Streams that say something in the same turn, each a few bytes, say it in one write: what a channel has to say it says
   * behind all promise jobs, and this lets go behind that.
   */
  #gatherTurn(socket: Socket): void {
    if (this.#gathering) return
    this.#gathering = true
    socket.cork()
    process.nextTick(this.#letGo)
  }

  readonly #letGo = (): void => {
    if (!this.#gathering) return
    this.#gathering = false
    this.#socket?.uncork()
  }

  readonly #onBytes = (bytes: Uint8Array): void => {
    this.#gather(bytes.length)
    toRead.lend(bytes)
    // Straight on where nothing waits, not through the read buffer: a tenth of what receiving costs.
    if (this.readStatus === 'readable' && this.readBufferLength === 0 && this.listenerCount('message') > 0) {
      this.dispatchEvent(new StreamMessageEvent(bytes))
    } else this.onData(bytes)
  }
  readonly #onDrain = (): void => void this.safeDispatchEvent('drain')
  // Nobody reads any more: node ends and closes the socket by itself, once it is rid of what it has.
  readonly #onEnd = (): void => this.onTransportClosed()
  readonly #onError = (error: Error): void => this.abort(error)
  readonly #onTimeout = (): void => {
    this.abort(new TimeoutError(`nothing was heard for ${IDLE_TIMEOUT} ms`))
    // Where the peer has ended and takes nothing, there is nothing left to abort.
    this.destroy()
  }
  readonly #onClose = (hadError: boolean): void => {
    if (hadError) this.abort(new Error('the connection broke'))
    else this.onTransportClosed()
  }
}

/**
 * A connected TCP socket. What a line has swallowed the kernel asks again after one, three, seven seconds …; so that a line
 * that is back is noticed sooner, another socket asks every second, and the first that is answered is the one.
 * @throws AbortError, or the system's error
 */
async function connectTo(address: Multiaddr, signal: AbortSignal): Promise<Socket> {
  const { host, port, type } = getNetConfig(address)
  if (port === undefined) throw new InvalidParametersError(`${address.toString()} has no port`)
  signal.throwIfAborted()
  const family = type === 'dns4' ? 4 : type === 'dns6' ? 6 : 0
  const asking = new Set<Socket>()
  const { promise: first, resolve, reject } = Promise.withResolvers<Socket>()
  const ask = (): void => {
    const socket = connect({ host, port, family, noDelay: true, keepAlive: true })
    asking.add(socket)
    socket.once('connect', () => resolve(socket))
    socket.once('error', reject)
  }
  const onAbort = (): void => reject(new AbortError())
  signal.addEventListener('abort', onAbort, { once: true })
  const again = setInterval(ask, ASK_AGAIN)
  ask()
  try {
    const socket = await first
    asking.delete(socket)
    socket.off('error', reject)
    return socket
  } finally {
    clearInterval(again)
    signal.removeEventListener('abort', onAbort)
    for (const socket of asking) {
      socket.on('error', () => {}) // one more may be on its way
      socket.destroy()
    }
  }
}
