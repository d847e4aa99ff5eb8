// Where the chunks of a log end, and what it had cost up to there: for questions that must be answered at once. Of a log of
// very many chunks not every end is known; what is said then is that of the one before.

/** So many are known of one log at most: 256 KiB. */
const KNOWN_MOST = 16_384

export class ChunkEnds {
  #ends: number[]
  #costs: number[]
  /** Those before this place are forgotten. */
  #oldest = 0
  /** What the log had cost before its first record that is still there. */
  #before: number

  constructor(ends: readonly number[] = [], costs: readonly number[] = [], before = 0) {
    this.#ends = [...ends]
    this.#costs = [...costs]
    this.#before = before
  }

  add(end: number, cost: number): void {
    if (this.#ends.length - this.#oldest >= KNOWN_MOST) this.#thin()
    this.#costs.push(this.#total + cost)
    this.#ends.push(end)
  }

  /** What everything that is there cost. */
  get cost(): number {
    return this.#total - this.#before
  }

  /** What is left from the chunk with record `seq` on. */
  costFrom(seq: number): number {
    const index = this.#indexOf(seq)
    return this.#total - (index > this.#oldest ? this.#costs[index - 1]! : this.#before)
  }

  /** The end of the first chunk, or of a few. */
  get first(): number | undefined {
    return this.#ends[this.#oldest]
  }

  /** The last end that is not behind `seq`. */
  endBefore(seq: number): number | undefined {
    const index = this.#indexOf(seq)
    return index > this.#oldest ? this.#ends[index - 1] : undefined
  }

  /** What ends at or before `seq` is gone. */
  forget(seq: number): void {
    const index = this.#indexOf(seq)
    if (index === this.#oldest) return
    this.#before = this.#costs[index - 1]!
    this.#oldest = index
    if (this.#oldest < 64 || this.#oldest < this.#ends.length / 2) return
    this.#ends = this.#ends.slice(this.#oldest)
    this.#costs = this.#costs.slice(this.#oldest)
    this.#oldest = 0
  }

  /** What was added behind `seq` never came about. */
  cut(seq: number): void {
    const index = this.#indexOf(seq)
    this.#ends.length = index
    this.#costs.length = index
  }

  get #total(): number {
    return this.#ends.length > this.#oldest ? this.#costs.at(-1)! : this.#before
  }

  /** The first that ends behind `seq`. */
  #indexOf(seq: number): number {
    let low = this.#oldest
    let high = this.#ends.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#ends[middle]! <= seq) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Every second one goes; the last stays. */
  #thin(): void {
    const stays = (_: number, index: number): boolean =>
      index >= this.#oldest && (this.#ends.length - 1 - index) % 2 === 0
    const ends = this.#ends.filter(stays)
    this.#costs = this.#costs.filter(stays)
    this.#ends = ends
    this.#oldest = 0
  }
}
