// How far a map's thread has come, in memory that it shares with its peer and that outlives it.
//
// A thread may end at any instruction: by `process.exit`, for want of memory, by force. What it had sent by then arrives;
// what it had not is copied here after each item. So the peer can tell exactly which items are done, with all they said,
// which one was under way, and which nobody has begun.
import { CHUNK_BYTES, type RecordWriter } from '../record.ts'

/** Items under way in one thread. */
const SLOTS_MOST = 256

// Numbers, then bytes: doubles, each written in one go.
const SAVED = 0
const BEGUN = 1
const DONE = 2
const BUSY = 3
const SINCE = 4
const SLOTS = 5
const BYTES_AT = (SLOTS + SLOTS_MOST) * 8
/** A chunk closes at CHUNK_BYTES: the one that is being filled always fits. */
export const PAGE_BYTES: number = BYTES_AT + CHUNK_BYTES

/** More than a chunk is long: which chunk it is and how much of it is here are one number. */
const SIZES: number = 2 * CHUNK_BYTES

/** Milliseconds of a clock that nobody sets, and that is the same in all threads: `performance.now()` is each one's own. */
function sharedNow(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1_000 + nanoseconds / 1e6
}

export class MapPage {
  readonly #numbers: Float64Array
  readonly #bytes: Uint8Array
  readonly #free: number[] = []
  #used = 0
  #chunk = 0
  #size = 0

  constructor(memory: SharedArrayBuffer) {
    this.#numbers = new Float64Array(memory, 0, SLOTS + SLOTS_MOST)
    this.#bytes = new Uint8Array(memory, BYTES_AT)
  }

  // ── in the thread ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** An item is under way; gives what `end` wants to know. */
  begin(item: number): number {
    const slot = this.#free.pop() ?? this.#used++
    // In this order: between the two it counts as not begun, and has not.
    this.#numbers[SLOTS + slot] = item + 1
    this.#numbers[BEGUN] = this.#numbers[BEGUN]! + 1
    return slot
  }

  /** It is done, and what it said is saved or sent. */
  end(slot: number): void {
    this.#numbers[SLOTS + slot] = 0
    this.#numbers[DONE] = this.#numbers[DONE]! + 1
    this.#free.push(slot)
  }

  /** From now on it has something to do, or has not. */
  work(busy: boolean): void {
    const since = this.#numbers[SINCE]!
    if (busy === since > 0) return
    if (busy) this.#numbers[SINCE] = sharedNow()
    else {
      this.#numbers[BUSY] = this.#numbers[BUSY]! + sharedNow() - since
      this.#numbers[SINCE] = 0
    }
  }

  /** Copies what is written and not sent; everything before it must have been sent. */
  save(writer: RecordWriter): void {
    const { sentChunks, openBytes } = writer
    const from = sentChunks === this.#chunk ? this.#size : 0
    if (openBytes === from && sentChunks === this.#chunk) return
    writer.mirror(this.#bytes, from)
    this.#chunk = sentChunks
    this.#size = openBytes
    this.#numbers[SAVED] = sentChunks * SIZES + openBytes
  }

  // ── for the peer ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** So many items it has begun. */
  get begun(): number {
    return this.#numbers[BEGUN]!
  }

  /** So many of them are done. */
  get done(): number {
    return this.#numbers[DONE]!
  }

  /** For so many milliseconds it has had something to do. */
  get busy(): number {
    const since = this.#numbers[SINCE]!
    return this.#numbers[BUSY]! + (since > 0 ? sharedNow() - since : 0)
  }

  /** Which ones are under way. */
  underWay(): number[] {
    return [...this.#numbers.subarray(SLOTS, SLOTS + SLOTS_MOST)].filter((one) => one > 0).map((one) => one - 1)
  }

  /** Records it had not sent, if so many chunks are all that it had. */
  saved(received: number): Uint8Array {
    const saved = this.#numbers[SAVED]!
    const chunk = Math.trunc(saved / SIZES)
    return chunk === received ? this.#bytes.slice(0, saved - chunk * SIZES) : new Uint8Array()
  }
}
