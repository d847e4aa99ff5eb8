// A network inside one process, for tests: latency, and partitions that can be switched on and off.

import { createHash } from 'node:crypto'
import type { ByteDuplex, DuplexSink } from './duplex.ts'
import { AddressInUseError, ChannelClosedError, DeniedError, PeerUnreachableError } from './errors.ts'
import { Switchboard } from './switchboard.ts'
import type { Cancel, Channel, OpenOptions, PeerId, Transport, TransportHost } from './transport.ts'

/** Bytes under way in one direction of one channel beyond which its sender has to wait; as a socket's buffers would. */
const WINDOW = 256 * 1024

export interface MemoryNetwork {
  /**
   * Cuts the line between two peers, by name. Their channels fall silent without news; new ones cannot be opened.
   * What is under way is kept, as TCP would go on trying, and arrives in order if the line is healed in time.
   */
  cut(a: PeerId, b: PeerId): void
  heal(a: PeerId, b: PeerId): void
}

class Network implements MemoryNetwork {
  readonly latency: number
  readonly places = new Map<PeerId, MemoryTransport>()
  readonly #cuts = new Set<string>()
  readonly #waiting = new Set<() => void>()

  constructor(latency: number) {
    this.latency = latency
  }

  cut(a: PeerId, b: PeerId): void {
    this.#cuts.add(lineOf(a, b))
  }

  heal(a: PeerId, b: PeerId): void {
    this.#cuts.delete(lineOf(a, b))
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const deliver of waiting) deliver()
  }

  isCut(line: string): boolean {
    return this.#cuts.has(line)
  }

  /** Calls back at the next heal. The same callback waits once. */
  afterHeal(deliver: () => void): void {
    this.#waiting.add(deliver)
  }

  forget(deliver: () => void): void {
    this.#waiting.delete(deliver)
  }
}

/** A network for `memory()`. `latency`: milliseconds each write takes to the other side; default 0, that is the next turn. */
export function createMemoryNetwork(options: { latency?: number } = {}): MemoryNetwork {
  return new Network(options.latency ?? 0)
}

/**
 * A peer's place on a memory network, under `name`, which is its id and its address. Values are encoded, framed, bounded
 * and decoded as on any other carrier.
 */
export function memory(options: { network: MemoryNetwork; name: string }): Transport {
  return new MemoryTransport(options.network as Network, options.name)
}

class MemoryTransport implements Transport {
  readonly carrier = 'memory'
  readonly id: PeerId
  readonly #network: Network
  #host: TransportHost | undefined
  #switchboard: Switchboard | undefined
  #closing: Promise<void> | undefined

  constructor(network: Network, name: string) {
    this.#network = network
    this.id = name
  }

  get addresses(): readonly string[] {
    return this.#network.places.get(this.id) === this ? [this.id] : []
  }

  // oxlint-disable-next-line typescript/require-await -- a rejection, not a throw
  async start(host: TransportHost, options: Cancel = {}): Promise<void> {
    options.signal?.throwIfAborted()
    if (this.#host !== undefined || this.#closing) throw new ChannelClosedError('a transport is started once')
    if (this.#network.places.has(this.id)) throw new AddressInUseError(`${this.id} is taken on this network`)
    this.#host = host
    this.#switchboard = new Switchboard(host)
    this.#network.places.set(this.id, this)
  }

  async open(peer: PeerId, protocol: string, options: OpenOptions = {}): Promise<Channel> {
    options.signal?.throwIfAborted()
    if (this.#switchboard === undefined) throw new ChannelClosedError('the transport is not started')
    const known = this.#switchboard.check(peer, protocol)
    const line = lineOf(this.id, peer)
    const there = this.#network.places.get(peer)
    if (there === undefined || this.#network.isCut(line)) {
      throw new PeerUnreachableError(`${peer} does not answer on the memory network`)
    }
    if (!there.#host!.admits(this.id)) throw new DeniedError(`${peer} does not admit ${this.id}`)
    const ours = new MemoryDuplex(this.#network, line)
    const theirs = new MemoryDuplex(this.#network, line)
    ours.join(theirs)
    theirs.join(ours)
    there.#switchboard!.answer(theirs, this.id)
    return this.#switchboard.open(ours, peer, known, options)
  }

  async disconnect(peer: PeerId): Promise<void> {
    await this.#switchboard?.end(peer, new ChannelClosedError(`${this.id} has hung up`))
  }

  sibling(seed: Uint8Array): Promise<Transport> {
    const name = `key-${createHash('sha256').update(seed).digest('hex').slice(0, 32)}`
    return Promise.resolve(memory({ network: this.#network, name }))
  }

  /** There are no keys in one process: a name that signs is taken at its word. */
  sign(bytes: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(signatureOf(this.id, bytes))
  }

  verify(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
    return Promise.resolve(Buffer.compare(signatureOf(peer, bytes), signature) === 0)
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#switchboard?.close()
      if (this.#network.places.get(this.id) === this) this.#network.places.delete(this.id)
    })()
    return this.#closing
  }
}

function signatureOf(name: PeerId, bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(name).update('\0').update(bytes).digest()
}

/** What is under way: bytes, the other side's end, or its death. */
type Parcel = { readonly at: number } & ({ readonly bytes: Uint8Array } | { readonly end: 'ended' | 'died' })

class MemoryDuplex implements ByteDuplex {
  readonly #network: Network
  readonly #line: string
  readonly #arriving: Parcel[] = []
  #arrivingBytes = 0
  #other!: MemoryDuplex
  #sink: DuplexSink | undefined
  #paused = false
  #ended = false
  #closed = false
  #dying = false
  #scheduled = false

  constructor(network: Network, line: string) {
    this.#network = network
    this.#line = line
  }

  join(other: MemoryDuplex): void {
    this.#other = other
  }

  attach(sink: DuplexSink): void {
    this.#sink = sink
    this.#schedule()
  }

  write(bytes: Uint8Array): boolean {
    if (this.#closed || this.#ended) return true
    const other = this.#other
    other.#arrive({ at: this.#arrivalTime(), bytes })
    return other.#arrivingBytes < WINDOW
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#schedule()
  }

  end(): void {
    if (this.#closed || this.#ended) return
    this.#ended = true
    this.#other.#arrive({ at: this.#arrivalTime(), end: 'ended' })
  }

  destroy(): void {
    if (this.#closed) return
    this.#other.#arrive({ at: this.#arrivalTime(), end: 'died' })
    // Never from within a call of the channel's own.
    queueMicrotask(() => this.#close(new Error('destroyed')))
  }

  readonly #deliver = (): void => {
    this.#scheduled = false
    while (!this.#closed && this.#sink !== undefined && this.#arriving.length > 0) {
      if (this.#network.isCut(this.#line)) {
        this.#network.afterHeal(this.#deliver)
        return
      }
      const parcel = this.#arriving[0]!
      if (parcel.at > performance.now()) break
      // Death is news that no pause may hold back; what came before it is delivered first, and is bounded.
      if (this.#paused && !this.#dying) return
      this.#arriving.shift()
      if ('bytes' in parcel) {
        const wasFull = this.#arrivingBytes >= WINDOW
        this.#arrivingBytes -= parcel.bytes.length
        this.#sink.data(parcel.bytes)
        if (wasFull && this.#arrivingBytes < WINDOW && !this.#other.#closed) this.#other.#sink?.drained()
      } else if (parcel.end === 'died') this.#close(new Error('the other side is gone'))
      else if (this.#ended) this.#close()
      else {
        // A carrier ends both ways, as sockets without half-open do; the channel knows whether it was time.
        this.end()
        this.#close()
      }
    }
    if (!this.#paused || this.#dying) this.#schedule()
  }

  #arrive(parcel: Parcel): void {
    if (this.#closed) return
    this.#arriving.push(parcel)
    if ('bytes' in parcel) this.#arrivingBytes += parcel.bytes.length
    else if (parcel.end === 'died') this.#dying = true
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#closed || this.#sink === undefined || this.#arriving.length === 0) return
    this.#scheduled = true
    const wait = this.#arriving[0]!.at - performance.now()
    if (wait > 0) setTimeout(this.#deliver, wait)
    else setImmediate(this.#deliver)
  }

  #close(error?: Error): void {
    if (this.#closed) return
    this.#closed = true
    this.#arriving.length = 0
    this.#network.forget(this.#deliver)
    this.#sink?.closed(error)
  }

  #arrivalTime(): number {
    return performance.now() + this.#network.latency
  }
}

function lineOf(a: PeerId, b: PeerId): string {
  return JSON.stringify([a, b].toSorted())
}
