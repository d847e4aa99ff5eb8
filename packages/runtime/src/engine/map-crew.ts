// Where a map's workers come from, how many there are, and what each may have at once.
import { availableParallelism } from 'node:os'
import type { ExecutionSpec } from './engine.ts'
import { PeerWorker, ThreadWorker, type MapPlace, type MapWorker, type MapWorkerEvents } from './map-worker.ts'
import type { Warm } from './spare.ts'

/** Items at once where nothing else is said; PowerShell's default ThrottleLimit. */
export const MAP_THROTTLE = 5
/** Up to so many items at once each have a thread for themselves; of more, those that wait share theirs. */
const THREADS_LEAST = 5
/** A part that was done sooner than this doubles, one that took longer than four times as much halves. */
const PART_MS = 5
export const PART_MOST = 8192
/** Where it has to travel, and all of it is lost with the peer. */
const FAR_PART_MS = 50
export const FAR_PART_MOST = 1024
/** Whether one more thread is wanted is seen from what those did that have been there for so long. */
export const SLOW_MS = 25
/** If items are quick, not before there has been enough of them for so long: until then it would cost more than it does. */
const PATIENCE_MS = 200
/** Items that take less than this on average need cores rather than threads. */
const QUICK_MS = 1
/** What a new thread may need beside that: its code is loaded and compiled with the first ones. */
const COLD_MS = 50
/** Peers that are being connected to at once. */
const CONNECTING_MOST = 32
const CORES: number = availableParallelism()

/** What it takes threads from: the pool's spare. */
export interface MapThreads {
  take(): Warm
}

/** Where a map's workers come from. */
export interface MapCrew {
  readonly partMs: number
  readonly partMost: number
  /** So many there may be at once, and whether another can be had now. */
  may(workers: ReadonlySet<MapWorker>, throttle: number): 'now' | 'soon' | 'never'
  hire(number: number, spec: ExecutionSpec, events: MapWorkerEvents): MapWorker
  /** How much each may have under way. */
  share(workers: ReadonlySet<MapWorker>, throttle: number): void
}

export class ThreadCrew implements MapCrew {
  readonly partMs = PART_MS
  readonly partMost = PART_MOST
  readonly #threads: MapThreads
  /** Each item under way has its own: outputs in order, an item's own. */
  readonly #ordered: boolean
  #hiredAt = 0

  constructor(threads: MapThreads, spec: ExecutionSpec) {
    this.#threads = threads
    this.#ordered = spec.work.map?.ordered === true
  }

  may(workers: ReadonlySet<MapWorker>, throttle: number): 'now' | 'soon' | 'never' {
    if (workers.size >= this.#most(throttle)) return 'never'
    if (workers.size === 0) return 'now'
    const starting = [...workers].filter(({ ready }) => !ready).length
    // Starting one takes a core for as long as a thousand small items.
    if (starting >= Math.max(1, CORES - 1)) return 'soon'
    const now = performance.now()
    const newest = [...workers].reduce((at, { readyAt }) => Math.max(at, readyAt), this.#hiredAt)
    // Not before it is known what those can do that are there.
    if (now - newest < SLOW_MS) return 'soon'
    if (!this.#quick(workers)) return 'now'
    return workers.size < CORES && now - newest > PATIENCE_MS ? 'now' : 'soon'
  }

  hire(number: number, spec: ExecutionSpec, events: MapWorkerEvents): MapWorker {
    this.#hiredAt = performance.now()
    return new ThreadWorker(number, 1, this.#threads.take(), spec, events)
  }

  share(workers: ReadonlySet<MapWorker>, throttle: number): void {
    const most = this.#most(throttle)
    let place = 0
    for (const worker of workers) {
      // There may be more than there are to be now: those have nothing to do.
      worker.lanes = place < most ? Math.floor(throttle / most) + (place < throttle % most ? 1 : 0) : 0
      place++
    }
  }

  /** Items that are over at once need a core each, and more threads would only need memory. */
  #quick(workers: ReadonlySet<MapWorker>): boolean {
    let [busy, expected] = [0, 0]
    for (const worker of workers) {
      busy += worker.busy
      expected += (worker.ready ? COLD_MS : 0) + worker.done * QUICK_MS
    }
    return busy <= expected
  }

  #most(throttle: number): number {
    return this.#ordered ? throttle : Math.min(throttle, Math.max(THREADS_LEAST, CORES))
  }
}

export class PeerCrew implements MapCrew {
  readonly partMs = FAR_PART_MS
  readonly partMost = FAR_PART_MOST
  readonly #places: MapPlace[]
  #throttle = MAP_THROTTLE

  constructor(places: readonly MapPlace[]) {
    this.#places = [...places]
  }

  may(workers: ReadonlySet<MapWorker>): 'now' | 'soon' | 'never' {
    if (this.#places.length === 0) return 'never'
    return [...workers].filter(({ ready }) => !ready).length < CONNECTING_MOST ? 'now' : 'soon'
  }

  hire(number: number, spec: ExecutionSpec, events: MapWorkerEvents): MapWorker {
    return new PeerWorker(number, this.#throttle, this.#places.shift()!, spec, events)
  }

  share(workers: ReadonlySet<MapWorker>, throttle: number): void {
    this.#throttle = throttle
    for (const worker of workers) worker.lanes = throttle
  }
}
