// Who has a job that a worker was given before its turn: the worker, which begins it, or its peer, which takes it back.
// A worker may be at work and hear nothing, so they settle it in memory that both see.

/** More than any one worker is given ahead (thread.ts, `AHEAD`). */
const PLACES = 32
export const CLAIMS_BYTES: number = PLACES * Int32Array.BYTES_PER_ELEMENT

/** Nobody's. Executions are numbered from 1 on. */
const FREE = 0

export class Claims {
  readonly #places: Int32Array

  constructor(memory: SharedArrayBuffer) {
    this.#places = new Int32Array(memory)
  }

  /** Lays execution `x` out, and tells where. @throws Error when all places are taken */
  offer(x: number): number {
    const place = this.#places.findIndex((_, at) => Atomics.load(this.#places, at) === FREE)
    if (place < 0) throw new Error('a worker was given more ahead than there is room for')
    Atomics.store(this.#places, place, x)
    return place
  }

  /** True for the one of both sides that asks first; never for a job that lay there before the one that lies there now. */
  take(place: number, x: number): boolean {
    return Atomics.compareExchange(this.#places, place, x, FREE) === x
  }
}
