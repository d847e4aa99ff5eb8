// The network between the peers of one process: who is on it, what passes between whom, and what a test does to it.

import { type Clock, ManualClock, type Timer, systemClock } from './clock.ts'
import { MemoryDuplex, type Wire } from './memory-duplex.ts'
import type { PeerId } from './transport.ts'

/** Events that the trace keeps: those of the last few seconds of a busy network. */
const TRACE = 10_000

/** How a memory network behaves from the start. */
export interface MemoryNetworkOptions {
  /** What everything that is drawn is drawn from: a whole number below 2^32. Default: a random one; see `seed`. */
  readonly seed?: number | undefined
  /**
   * Milliseconds that each write takes to the other side, or the least and the most that are drawn for each. Writes of
   * one channel never overtake each other; those of two channels do. Default 0, that is the next turn.
   */
  readonly latency?: number | readonly [least: number, most: number] | undefined
  /** `manual`: time stands still until the test moves it, and all that the transports do is repeatable. Default `real`. */
  readonly clock?: 'real' | 'manual' | undefined
}

/** Names of peers: one, or one side of a partition. */
export type Names = PeerId | readonly PeerId[]

/** What a test does to a memory network. Made by `createMemoryNetwork`; holds nothing that would have to be closed. */
export interface MemoryNetwork {
  /** To be printed where a test fails: with it, `createMemoryNetwork({ seed })` draws the same again. */
  readonly seed: number
  /** The time that its transports live by. */
  readonly clock: Clock
  /** Ends of channels that are not closed yet. */
  readonly size: number
  /**
   * Cuts the line between two peers, or between two sides. Their channels fall silent without news; new ones cannot be
   * opened. What is under way is kept, as TCP would go on trying, and arrives in order if the line is healed in time.
   */
  cut(a: Names, b: Names): void
  /** Joins what was cut: what waited on both sides arrives, in order. */
  heal(a: Names, b: Names): void
  /** Loses the connection of two peers: their channels end at both ends, what was under way is gone. New ones may open. */
  lose(a: Names, b: Names): void
  /**
   * Stops a peer as SIGSTOP would: its channels read nothing, send nothing and run no timers until it is thawed. What
   * arrives meanwhile waits, as much as the window allows. Calls to its transport from the test's own code do return.
   */
  freeze(name: PeerId): void
  /** Lets it go on: first the timers that fell due, then what has come in. */
  thaw(name: PeerId): void
  /** Ends a peer as SIGKILL would: its channels end at both ends without a word, and its name is free again. */
  kill(name: PeerId): void
  /**
   * Moves a manual clock by so many milliseconds: what falls due happens in the order of its time, with all promise jobs
   * and immediates run in between. @throws TypeError where the clock is real
   */
  advance(ms: number): Promise<void>
  /**
   * Moves a manual clock from one thing that is due to the next until the promise has settled, and settles with it.
   * @throws TypeError where the clock is real. @throws Error when nothing is due any more, or after `most` milliseconds
   * (default 600 000) of the clock
   */
  until<T>(promise: Promise<T>, most?: number): Promise<T>
  /** What has happened, a line each, the latest 10 000: the same lines for the same seed and program on a manual clock. */
  trace(): readonly string[]
}

/** Where a transport stands on the network. */
export interface Occupant {
  /** Reached over what it has opened itself, and not otherwise. */
  readonly dialOnly: boolean
  admits(peer: PeerId): boolean
  answer(duplex: MemoryDuplex, peer: PeerId): void
  /** Its process is gone. */
  killed(): void
}

/** A network for the peers of one process, whose `memory()` transports are given it. @throws RangeError for a latency that is none */
export function createMemoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  return new Network(options)
}

export class Network implements MemoryNetwork, Wire {
  readonly seed: number
  readonly clock: Clock
  readonly #manual: ManualClock | undefined
  readonly #latency: readonly [least: number, most: number]
  readonly #places = new Map<PeerId, Occupant>()
  readonly #ends = new Set<MemoryDuplex>()
  #channels = 0
  readonly #cuts = new Set<string>()
  readonly #frozen = new Map<PeerId, Set<() => void>>()
  #waiting = new Set<() => void>()
  readonly #trace: string[] = []
  #forgotten = 0

  constructor({ seed, latency = 0, clock }: MemoryNetworkOptions) {
    this.seed = (seed ?? Math.floor(Math.random() * 2 ** 32)) >>> 0
    this.#latency = typeof latency === 'number' ? [latency, latency] : latency
    const [least, most] = this.#latency
    if (!(least >= 0 && most >= least && most < 2 ** 31)) throw new RangeError(`${String(latency)} is no latency`)
    this.#manual = clock === 'manual' ? new ManualClock(`the clock of the network of seed ${this.seed}`) : undefined
    this.clock = this.#manual ?? systemClock
  }

  get size(): number {
    return this.#ends.size
  }

  // --- what a test does

  cut(a: Names, b: Names): void {
    this.#log(`cut ${sideOf(a)} from ${sideOf(b)}`)
    for (const line of linesOf(a, b)) this.#cuts.add(line)
  }

  heal(a: Names, b: Names): void {
    this.#log(`heal ${sideOf(a)} and ${sideOf(b)}`)
    for (const line of linesOf(a, b)) this.#cuts.delete(line)
    this.#move()
  }

  lose(a: Names, b: Names): void {
    this.#log(`lose ${sideOf(a)} and ${sideOf(b)}`)
    const lines = linesOf(a, b)
    for (const end of [...this.#ends]) if (lines.has(lineOf(end.place.name, end.place.peer))) end.lose()
  }

  freeze(name: PeerId): void {
    this.#log(`freeze ${name}`)
    if (!this.#frozen.has(name)) this.#frozen.set(name, new Set())
  }

  thaw(name: PeerId): void {
    this.#log(`thaw ${name}`)
    const timers = this.#frozen.get(name)
    if (timers === undefined) return
    // As a process does that runs again: first what fell due, then what has come in. One of them may stop another.
    for (const act of timers) {
      timers.delete(act)
      act()
    }
    this.#frozen.delete(name)
    this.#move()
  }

  kill(name: PeerId): void {
    this.#log(`kill ${name}`)
    this.#frozen.delete(name)
    const place = this.#places.get(name)
    this.#places.delete(name)
    for (const end of [...this.#ends]) if (end.place.name === name) end.die()
    place?.killed()
  }

  async advance(ms: number): Promise<void> {
    await this.#clockOfTest().advance(ms)
  }

  async until<T>(promise: Promise<T>, most = 600_000): Promise<T> {
    return await this.#clockOfTest().until(promise, most)
  }

  trace(): readonly string[] {
    const [least, most] = this.#latency
    const first = `seed ${this.seed}, latency ${least} to ${most} ms`
    const events = this.#trace.slice(-TRACE)
    const before = this.#forgotten + this.#trace.length - events.length
    return [before === 0 ? first : `${first}, ${before} events before these`, ...events]
  }

  // --- what transports do

  /** Takes a name. False when somebody has it. */
  occupy(name: PeerId, place: Occupant): boolean {
    if (this.#places.has(name)) return false
    this.#places.set(name, place)
    return true
  }

  leave(name: PeerId, place: Occupant): void {
    if (this.occupantOf(name) === place) this.#places.delete(name)
  }

  occupantOf(name: PeerId): Occupant | undefined {
    return this.#places.get(name)
  }

  /** Whether a channel that `name` opened to `peer` is open. */
  isConnected(name: PeerId, peer: PeerId): boolean {
    return [...this.#ends].some(({ place }) => place.opened && place.name === name && place.peer === peer)
  }

  /** The clock of one peer, which stands still while the peer does. */
  clockOf(name: PeerId): Clock {
    const held = (act: () => void) => (): void => {
      const late = this.#frozen.get(name)
      if (late === undefined) act()
      else late.add(act)
    }
    const stopping = (timer: Timer, act: () => void): Timer => ({
      stop: () => {
        timer.stop()
        this.#frozen.get(name)?.delete(act)
      },
    })
    return {
      now: () => this.clock.now(),
      after: (ms, act, keep) => stopping(this.clock.after(ms, held(act), keep), act),
      every: (ms, act) => stopping(this.clock.every(ms, held(act)), act),
    }
  }

  /** A new connection from one peer to another that is there: our end of it. The other is answered. */
  connect(from: PeerId, to: PeerId): MemoryDuplex {
    const channel = ++this.#channels
    const ends = [
      new MemoryDuplex(this, { name: from, peer: to, channel, opened: true, latency: this.#draws(channel, 0) }),
      new MemoryDuplex(this, { name: to, peer: from, channel, opened: false, latency: this.#draws(channel, 1) }),
    ] as const
    ends[0].join(ends[1])
    ends[1].join(ends[0])
    for (const end of ends) this.#ends.add(end)
    this.log('connects', ends[0])
    const place = this.#places.get(to)
    const answer = (): void => {
      // A system takes connections for a process that stands still; and that may be killed, or close, before it moves.
      if (this.isFrozen(to)) this.whenMoved(answer)
      else if (place === undefined || this.#places.get(to) !== place) ends[1].destroy()
      else if (this.#ends.has(ends[1])) place.answer(ends[1], from)
    }
    answer()
    return ends[0]
  }

  // --- what the ends of channels ask

  now(): number {
    return this.clock.now()
  }

  later(ms: number, act: () => void): Timer {
    if (this.#manual !== undefined) return this.#manual.after(ms, act)
    if (ms > 0) {
      const timer = setTimeout(act, ms)
      return { stop: () => clearTimeout(timer) }
    }
    const turn = setImmediate(act)
    return { stop: () => clearImmediate(turn) }
  }

  isCut(a: PeerId, b: PeerId): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(lineOf(a, b))
  }

  isFrozen(name: PeerId): boolean {
    return this.#frozen.has(name)
  }

  whenMoved(act: () => void): void {
    this.#waiting.add(act)
  }

  closed(end: MemoryDuplex, waiting: () => void): void {
    this.#ends.delete(end)
    this.#waiting.delete(waiting)
  }

  log(what: string, { place }: MemoryDuplex, bytes?: number): void {
    this.#log(`#${place.channel} ${place.name} ${what}${bytes === undefined ? '' : ` ${bytes}`}`)
  }

  #log(event: string): void {
    // On the system's clock no two runs are alike, and a busy test should not pay for what nobody compares.
    if (this.#manual === undefined) return
    this.#trace.push(`${this.now().toFixed(3)} ${event}`)
    if (this.#trace.length < 2 * TRACE) return
    this.#forgotten += TRACE
    this.#trace.splice(0, TRACE)
  }

  /** What is between has changed: whoever waits looks again, in the order of their waiting. */
  #move(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const act of waiting) act()
  }

  #clockOfTest(): ManualClock {
    if (this.#manual === undefined) throw new TypeError("only a network with { clock: 'manual' } can be moved on")
    return this.#manual
  }

  /** Every direction of every channel draws for itself, so that what one does changes nothing for another. */
  #draws(channel: number, side: number): () => number {
    const [least, most] = this.#latency
    if (least === most) return () => least
    let state = Math.imul(this.seed ^ Math.imul(2 * channel + side, 0x9e37_79b1), 0x85eb_ca6b)
    return () => {
      // mulberry32, Tommy Ettinger, public domain
      state = (state + 0x6d2b_79f5) | 0
      let drawn = Math.imul(state ^ (state >>> 15), state | 1)
      drawn ^= drawn + Math.imul(drawn ^ (drawn >>> 7), drawn | 61)
      return least + ((most - least) * ((drawn ^ (drawn >>> 14)) >>> 0)) / 2 ** 32
    }
  }
}

function lineOf(a: PeerId, b: PeerId): string {
  return JSON.stringify(a < b ? [a, b] : [b, a])
}

/** Every line between the two sides. */
function linesOf(a: Names, b: Names): Set<string> {
  return new Set([a].flat().flatMap((one) => [b].flat().map((other) => lineOf(one, other))))
}

function sideOf(names: Names): string {
  return [names].flat().join(', ')
}
