// The store of a process that keeps nothing: arrays. Logs end with the process.
import type { Chunk } from '../record.ts'
import type { Store, StoredLog } from './store.ts'

/** What keeping a chunk costs beside its bytes: the objects around them (measured: 350 to 850 B). */
const CHUNK_COST = 512
/** Memory per job that reader `owner` may leave unread (docs/ARCHITECTURE.md, Who notices what). */
const LOG_LIMIT = 64 * 1024 * 1024

class MemoryLog implements StoredLog {
  readonly #limit: number
  #chunks: Chunk[] = []
  /** Bytes ever written before each chunk, so that `bytesFrom` is a search and not a sum. */
  #before: number[] = []
  #bytes = 0
  /** Chunks before this place are forgotten; the arrays are cut when that is half of them. */
  #oldest = 0
  readonly #cursors = new Map<string, number>()
  start = 0
  end = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  begin(first: number, reader: string, from: number): void {
    if (this.#chunks.length > 0) throw new Error('a log begins once')
    this.start = first
    this.end = first
    this.#cursors.set(reader, from)
  }

  append(chunk: Chunk): void {
    if (chunk.first !== this.end) throw new Error(`append at ${chunk.first}, but the log ends at ${this.end}`)
    this.#chunks.push(chunk)
    this.#before.push(this.#bytes)
    this.#bytes += chunk.bytes.byteLength + CHUNK_COST
    this.end += chunk.count
    this.#retain()
  }

  read(from: number, maxBytes: number): readonly Chunk[] {
    const found: Chunk[] = []
    let bytes = 0
    for (let index = this.#indexOf(from); index < this.#chunks.length && bytes < maxBytes; index++) {
      const chunk = this.#chunks[index]!
      found.push(chunk)
      bytes += chunk.bytes.byteLength
    }
    return found
  }

  cursor(reader: string): number {
    return this.#cursors.get(reader) ?? this.start
  }

  setCursor(reader: string, seq: number): void {
    if (seq > this.cursor(reader)) this.#cursors.set(reader, Math.min(seq, this.end))
  }

  bytesFrom(seq: number): number {
    const index = this.#indexOf(seq)
    return index < this.#chunks.length ? this.#bytes - this.#before[index]! : 0
  }

  /** Memory is bounded: beyond the limit what `owner` has read goes, oldest first; what it has not read never does. */
  #retain(): void {
    const cursor = this.#cursors.get('owner') ?? 0
    while (this.#bytes - this.#before[this.#oldest]! > this.#limit) {
      const chunk = this.#chunks[this.#oldest]!
      if (chunk.first + chunk.count > cursor) return
      this.#oldest++
      this.start = chunk.first + chunk.count
    }
    if (this.#oldest < 64 || this.#oldest < this.#chunks.length / 2) return
    this.#chunks = this.#chunks.slice(this.#oldest)
    this.#before = this.#before.slice(this.#oldest)
    this.#oldest = 0
  }

  /** The chunk that holds `seq`, by bisection: logs of a million chunks are read from the middle. */
  #indexOf(seq: number): number {
    let low = this.#oldest
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >> 1
      const chunk = this.#chunks[middle]!
      if (chunk.first + chunk.count <= seq) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** A store that lives as long as its process. */
export function memoryStore(options: { logLimit?: number } = {}): Store {
  const logs = new Map<string, MemoryLog>()
  return {
    logLimit: options.logLimit ?? LOG_LIMIT,
    log(job) {
      let log = logs.get(job)
      if (!log) logs.set(job, (log = new MemoryLog(options.logLimit ?? LOG_LIMIT)))
      return log
    },
    dropLog(job) {
      logs.delete(job)
    },
    async [Symbol.asyncDispose]() {
      logs.clear()
    },
  }
}
