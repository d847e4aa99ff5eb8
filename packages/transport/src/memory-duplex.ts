// One end of a channel on a memory network: what is under way to it, and when it arrives.

import type { Timer } from './clock.ts'
import type { ByteDuplex, DuplexSink } from './duplex.ts'
import type { PeerId } from './transport.ts'

/** Bytes under way in one direction of one channel beyond which its sender has to wait; as a socket's buffers would. */
const WINDOW = 256 * 1024

/** What an end of a channel asks of the network it is on. */
export interface Wire {
  now(): number
  /** Calls when the time has come; with 0 in the next turn. Keeps the process alive: something is under way. */
  later(ms: number, act: () => void): Timer
  /** Whether nothing passes between these two now. */
  isCut(a: PeerId, b: PeerId): boolean
  isFrozen(name: PeerId): boolean
  /** Calls back at the next heal or thaw. The same callback waits once. */
  whenMoved(act: () => void): void
  /** This end is closed, and does not wait any more. */
  closed(end: MemoryDuplex, waiting: () => void): void
  log(what: string, end: MemoryDuplex, bytes?: number): void
}

/** Whose end of which channel this is. */
export interface Place {
  readonly name: PeerId
  readonly peer: PeerId
  /** The channel's number on its network. */
  readonly channel: number
  /** Whether it was opened from here. */
  readonly opened: boolean
  /** Milliseconds that the next parcel from here takes. */
  latency(): number
}

/** What is under way: bytes, the other side's end, or its death. */
type Parcel = { readonly bytes: Uint8Array } | { readonly end: 'ended' | 'died' }
type Posted = Parcel & { readonly at: number }

export class MemoryDuplex implements ByteDuplex {
  readonly place: Place
  readonly #wire: Wire
  #other!: MemoryDuplex
  #sink: DuplexSink | undefined
  /** Written while our process stood still: its system has not got them yet. */
  #unsent: Parcel[] = []
  #arriving: Posted[] = []
  /** Bytes on their way to us, those that the other side has not sent yet included. */
  #arrivingBytes = 0
  #latest = 0
  #paused = false
  #ended = false
  #closed = false
  #dying = false
  #lost = false
  #timer: Timer | undefined

  constructor(wire: Wire, place: Place) {
    this.#wire = wire
    this.place = place
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
    this.#other.#arrivingBytes += bytes.length
    this.#post({ bytes })
    return this.#other.#arrivingBytes < WINDOW
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
    this.#post({ end: 'ended' })
  }

  destroy(): void {
    if (this.#closed) return
    this.#post({ end: 'died' })
    // Never from within a call of the channel's own.
    queueMicrotask(() => this.#close(new Error('destroyed')))
  }

  /** The link is lost, and with it what was under way from and to us. */
  lose(): void {
    this.#unsent = []
    this.#lost = true
    this.#dying = true
    this.#arriving = [{ end: 'died', at: this.#wire.now() }]
    this.#deliver()
  }

  /** Our process is gone: what its system has got still arrives, and then the news. */
  die(): void {
    this.#unsent = []
    if (!this.#closed) this.#send({ end: 'died' })
    this.#close(new Error('killed'))
  }

  #post(parcel: Parcel): void {
    if (!this.#wire.isFrozen(this.place.name)) return this.#send(parcel)
    this.#unsent.push(parcel)
    this.#wire.whenMoved(this.#thawed)
  }

  readonly #thawed = (): void => {
    for (const parcel of this.#unsent.splice(0)) this.#post(parcel)
  }

  /** Each takes its own time, and none overtakes another. */
  #send(parcel: Parcel): void {
    const other = this.#other
    this.#wire.log('bytes' in parcel ? 'sends' : parcel.end, this, 'bytes' in parcel ? parcel.bytes.length : undefined)
    if (other.#closed) return
    this.#latest = Math.max(this.#latest, this.#wire.now() + this.place.latency())
    other.#arriving.push({ ...parcel, at: this.#latest })
    if ('end' in parcel && parcel.end === 'died') other.#dying = true
    other.#schedule()
  }

  readonly #deliver = (): void => {
    this.#timer?.stop()
    this.#timer = undefined
    while (!this.#closed && this.#sink !== undefined && this.#arriving.length > 0) {
      const { name, peer } = this.place
      if (this.#wire.isFrozen(name) || (!this.#lost && this.#wire.isCut(name, peer))) {
        this.#wire.whenMoved(this.#deliver)
        return
      }
      const parcel = this.#arriving[0]!
      if (parcel.at > this.#wire.now()) break
      // Death is news that no pause may hold back; what came before it is delivered first, and is bounded.
      if (this.#paused && !this.#dying) return
      this.#arriving.shift()
      if ('bytes' in parcel) this.#take(parcel.bytes)
      else if (parcel.end === 'died') this.#close(new Error('the other side is gone'))
      else {
        // A carrier ends both ways, as sockets without half-open do; the channel knows whether it was time.
        this.end()
        this.#close()
      }
    }
    if (!this.#paused || this.#dying) this.#schedule()
  }

  #take(bytes: Uint8Array): void {
    const wasFull = this.#arrivingBytes >= WINDOW
    this.#arrivingBytes -= bytes.length
    this.#wire.log('gets', this, bytes.length)
    this.#sink!.data(bytes)
    if (wasFull && this.#arrivingBytes < WINDOW && !this.#other.#closed) this.#other.#sink?.drained()
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed || this.#sink === undefined || this.#arriving.length === 0) return
    this.#timer = this.#wire.later(this.#arriving[0]!.at - this.#wire.now(), this.#deliver)
  }

  #close(error?: Error): void {
    if (this.#closed) return
    this.#closed = true
    this.#arriving = []
    this.#timer?.stop()
    this.#wire.log(error === undefined ? 'closes' : `closes: ${error.message}`, this)
    this.#wire.closed(this, this.#deliver)
    this.#sink?.closed(error)
  }
}
