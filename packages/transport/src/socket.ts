// The local carrier: a unix domain socket (on Windows a named pipe) that only its owner may open. One connection per
// channel: connecting costs next to nothing here, and the kernel does the multiplexing.

import { createHash } from 'node:crypto'
import { chmod, lstat, mkdir, rm } from 'node:fs/promises'
import { type Server, type Socket, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import {
  AddressInUseError,
  ChannelClosedError,
  DeniedError,
  MalformedError,
  PeerUnreachableError,
  ProtocolError,
} from './errors.ts'
import { type Lock, holdLock } from './lock.ts'
import { SocketDuplex } from './socket-duplex.ts'
import { Switchboard } from './switchboard.ts'
import type { Cancel, Channel, OpenOptions, PeerId, Transport, TransportHost } from './transport.ts'

/** The only peer there is on a socket: whoever may open the file is the owner. */
const LOCAL: PeerId = 'local'
/** sockaddr_un holds 108 bytes on Linux, 104 on macOS and the BSDs, the closing zero included (unix(7)). */
const MAX_PATH = 103

/**
 * Channels to this machine's own peer, through the socket at `path`. With `listen` it is made, mode 0600; its directory
 * is made 0700 and must be ours alone. A file left by a peer that was killed is replaced. Without `listen`, `path` is
 * where `open` connects to unless an address is given. A path of more than 103 bytes is MALFORMED; see `socketPath`.
 * @example await using daemon = socket({ path: socketPath('/srv/home'), listen: true })
 */
export function socket(options: { path: string; listen?: boolean }): Transport {
  return new SocketTransport(options.path, options.listen ?? false)
}

/**
 * Where the peer of this home has its socket: `<home>/peer.sock`, or, where that is too long for the system, a name made
 * from the home's in the user's runtime directory. Every process of the user gets the same answer.
 */
export function socketPath(home: string): string {
  const absolute = resolve(home)
  const name = createHash('sha256').update(absolute).digest('hex').slice(0, 16)
  if (process.platform === 'win32') return `\\\\.\\pipe\\errand-${name}`
  const plain = join(absolute, 'peer.sock')
  if (Buffer.byteLength(plain) <= MAX_PATH) return plain
  const runtime = process.env['XDG_RUNTIME_DIR']
  const directory = `errand-${process.getuid!()}`
  const short = runtime ? join(runtime, directory, `${name}.sock`) : ''
  if (short !== '' && Buffer.byteLength(short) <= MAX_PATH) return short
  return join(tmpdir(), directory, `${name}.sock`)
}

class SocketTransport implements Transport {
  readonly carrier = 'socket'
  readonly id: PeerId = LOCAL
  readonly #path: string
  readonly #listen: boolean
  #switchboard: Switchboard | undefined
  #server: Server | undefined
  #lock: Lock | undefined
  #starting: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(path: string, listen: boolean) {
    this.#path = path
    this.#listen = listen
  }

  get addresses(): readonly string[] {
    return this.#server?.listening ? [this.#path] : []
  }

  start(host: TransportHost, options: Cancel = {}): Promise<void> {
    if (this.#starting || this.#closing) return Promise.reject(new ChannelClosedError('a transport is started once'))
    return (this.#starting = this.#start(host, options))
  }

  async open(peer: PeerId, protocol: string, options: OpenOptions = {}): Promise<Channel> {
    options.signal?.throwIfAborted()
    const switchboard = this.#switchboard
    if (switchboard === undefined) throw new ChannelClosedError('the transport is not started')
    return switchboard.attempt(() => this.#open(switchboard, peer, protocol, options), options)
  }

  async #open(switchboard: Switchboard, peer: PeerId, protocol: string, options: OpenOptions): Promise<Channel> {
    if (peer !== LOCAL) throw new ProtocolError(`a socket leads to '${LOCAL}' only, not to ${peer}`)
    const known = switchboard.check(peer, protocol)
    const path = options.addresses?.[0] ?? this.#path
    if (!isPipe(path)) await checkDirectory(dirname(path))
    const stream = await dial(path, options.signal)
    return switchboard.open(new SocketDuplex(stream), LOCAL, known, options)
  }

  async disconnect(peer: PeerId): Promise<void> {
    await this.#switchboard?.end(peer, new ChannelClosedError('the local peer has hung up'))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #start(host: TransportHost, { signal }: Cancel): Promise<void> {
    signal?.throwIfAborted()
    const switchboard = new Switchboard(host)
    if (this.#listen) {
      try {
        await this.#bind(switchboard, signal)
      } catch (error) {
        await this.#unbind()
        throw error
      }
    }
    this.#switchboard = switchboard
  }

  /** The lock is held for as long as we listen: so nobody takes our file for a stale one, and we remove no one else's. */
  async #bind(switchboard: Switchboard, signal: AbortSignal | undefined): Promise<void> {
    const path = this.#path
    checkLength(path)
    if (!isPipe(path)) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      await checkDirectory(dirname(path))
      try {
        this.#lock = await holdLock(`${path}.lock`)
      } catch (error) {
        throw new AddressInUseError(`another peer listens at ${path}`, {
          cause: error,
          hint: (error as { hint?: string }).hint,
        })
      }
      await removeStale(path)
    }
    signal?.throwIfAborted()
    const server = createServer({ allowHalfOpen: false }, (stream) => this.#onConnection(switchboard, stream))
    const listening = Promise.withResolvers<void>()
    server.once('error', listening.reject)
    server.listen(path, listening.resolve)
    try {
      await listening.promise
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
      throw new AddressInUseError(`another peer listens at ${path}`, { cause: error })
    }
    this.#server = server
    // From here on an error is one failed accept(2): the connection is lost, the peer goes on.
    server.removeAllListeners('error').on('error', () => {})
    // Between listen and here the directory alone, 0700, keeps others out.
    if (!isPipe(path)) await chmod(path, 0o600)
  }

  #onConnection(switchboard: Switchboard, stream: Socket): void {
    switchboard.answer(new SocketDuplex(stream), LOCAL)
  }

  async #close(): Promise<void> {
    await this.#starting?.catch(() => {}) // its caller has the error
    await this.#switchboard?.close()
    await this.#unbind()
  }

  async #unbind(): Promise<void> {
    const server = this.#server
    // Removes the file as well.
    if (server?.listening) await new Promise((done) => server.close(done))
    await this.#lock?.release()
  }
}

async function dial(path: string, signal: AbortSignal | undefined): Promise<Socket> {
  signal?.throwIfAborted()
  checkLength(path)
  const stream = connect({ path, allowHalfOpen: false })
  const connected = Promise.withResolvers<void>()
  const giveUp = (): void => connected.reject(signal!.reason as Error)
  stream.once('connect', connected.resolve)
  stream.once('error', connected.reject)
  signal?.addEventListener('abort', giveUp, { once: true })
  try {
    await connected.promise
    stream.off('error', connected.reject)
    return stream
  } catch (error) {
    stream.on('error', () => {}).destroy()
    if (signal?.aborted) throw error
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EACCES' || code === 'EPERM') {
      throw new DeniedError(`the socket at ${path} belongs to another user`, { cause: error })
    }
    throw new PeerUnreachableError(`no peer listens at ${path} (${code ?? (error as Error).message})`, { cause: error })
  } finally {
    signal?.removeEventListener('abort', giveUp)
  }
}

/** The system cuts a longer one, or says EINVAL. */
function checkLength(path: string): void {
  const length = Buffer.byteLength(path)
  if (isPipe(path) || length <= MAX_PATH) return
  throw new MalformedError(`${path} has ${length} bytes; the path of a socket has at most ${MAX_PATH}`, {
    hint: 'socketPath(home) gives a short one for any home',
  })
}

/** Whose directory it is decides who may replace the socket in it, and so to whom we talk. */
async function checkDirectory(directory: string): Promise<void> {
  const found = await lstat(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new PeerUnreachableError(`there is no ${directory}`, { cause: error })
    throw error
  })
  if (!found.isDirectory()) {
    throw new MalformedError(`${directory} is not a directory`, { hint: 'a socket stands in one of its own' })
  }
  const ours = found.uid === process.getuid!() && (found.mode & 0o077) === 0
  if (ours) return
  throw new DeniedError(`${directory} is open to other users, or not ours; a socket in it could be anybody's`, {
    hint: `chmod 700 ${directory}`,
  })
}

/** Only under the lock. A socket that still answers belongs to a peer that holds no lock; it is left alone all the same. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket()) throw new AddressInUseError(`${path} is there, and is not a socket`)
  const answered = await dial(path, undefined).then(
    (stream) => stream.destroy(),
    () => undefined,
  )
  if (answered) throw new AddressInUseError(`another process listens at ${path}`)
  await rm(path, { force: true })
}

function isPipe(path: string): boolean {
  return path.startsWith('\\\\.\\pipe\\')
}
