// The newest chunks of the logs in use: who follows a job that is at work is served from here, without asking the disk.
import type { Chunk } from '../record.ts'

/** What holding a chunk costs beside its bytes. */
const HELD_COST = 512

/** All of a store's, within one bound: the oldest go first, whoever's they are. */
export class RecentChunks {
  readonly #most: number
  #held: { readonly log: RecentLog; readonly cost: number }[] = []
  #oldest = 0
  #cost = 0

  constructor(most: number) {
    this.#most = most
  }

  /** What they cost, in bytes. */
  get cost(): number {
    return this.#cost
  }

  hold(log: RecentLog, chunk: Chunk): void {
    const cost = chunk.bytes.byteLength + HELD_COST
    this.#held.push({ log, cost })
    this.#cost += cost
    while (this.#cost > this.#most && this.#oldest < this.#held.length) {
      const { log: other, cost: gone } = this.#held[this.#oldest++]!
      this.#cost -= gone
      other.dropOldest()
    }
    if (this.#oldest < 64 || this.#oldest < this.#held.length / 2) return
    this.#held = this.#held.slice(this.#oldest)
    this.#oldest = 0
  }
}

/** Those of one log: one behind the other, up to its end. */
export class RecentLog {
  readonly #all: RecentChunks
  #chunks: Chunk[] = []
  #oldest = 0

  constructor(all: RecentChunks) {
    this.#all = all
  }

  add(chunk: Chunk): void {
    const { bytes } = chunk
    // A small part of the memory it came in would hold all of it.
    const small = bytes.byteLength * 2 <= bytes.buffer.byteLength
    const held = small ? { ...chunk, bytes: bytes.slice() } : chunk
    this.#chunks.push(held)
    this.#all.hold(this, held)
  }

  dropOldest(): void {
    this.#oldest++
    if (this.#oldest < 64 || this.#oldest < this.#chunks.length / 2) return
    this.#chunks = this.#chunks.slice(this.#oldest)
    this.#oldest = 0
  }

  /** Those with record `from` and behind, that end at `until`; undefined where not all of them are here. */
  read(from: number, until: number, maxBytes: number): Chunk[] | undefined {
    const first = this.#chunks[this.#oldest]
    if (!first || first.first > from) return undefined
    let low = this.#oldest
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >> 1
      const chunk = this.#chunks[middle]!
      if (chunk.first + chunk.count <= from) low = middle + 1
      else high = middle
    }
    const found: Chunk[] = []
    let bytes = 0
    for (let index = low; index < this.#chunks.length && bytes < maxBytes; index++) {
      const chunk = this.#chunks[index]!
      if (chunk.first >= until) break
      found.push(chunk)
      bytes += chunk.bytes.byteLength
    }
    return found
  }

  /** Those from `seq` on never came about. What they cost is counted until it is their turn to go. */
  cut(seq: number): void {
    for (const [index, chunk] of this.#chunks.entries())
      if (index >= this.#oldest && chunk.first >= seq)
        this.#chunks[index] = { ...chunk, first: Number.POSITIVE_INFINITY }
  }
}
