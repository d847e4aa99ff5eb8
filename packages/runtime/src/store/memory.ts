// The store of a process that keeps nothing: arrays. Logs end with the process.
import { giveBack } from '../chunk-memory.ts'
import type { Chunk } from '../record.ts'
import type { Store, StoredLog } from './store.ts'

/** What keeping a chunk costs beside its bytes: the objects around them (measured: 350 to 850 B). */
const CHUNK_COST = 512
/** Memory per job that reader `owner` may leave unread: with what is around it less than the 64 MiB of guarantee G8. */
const LOG_LIMIT = 48 * 1024 * 1024
/** The log of an ended job up to this size is kept as one string: a typed array costs 300 B more than its bytes. */
const PACKED_MOST = 4096

/** In the place of a chunk that is forgotten until its array is cut: its bytes go at once. */
const GONE: Chunk = { first: 0, count: 0, errors: 0, bytes: new Uint8Array(0) }

/** The reader that retention waits for: of most logs the only one. */
const OWNER = 'owner'

/** Chunks of an ended job: their bytes one after the other, and of each its count, errors and length. */
interface Packed {
  readonly bytes: string
  readonly chunks: readonly number[]
}

class MemoryLog implements StoredLog {
  readonly #limit: number
  #chunks: Chunk[] = []
  /** Bytes ever written before each chunk, so that `bytesFrom` is a search and not a sum. */
  #before: number[] = []
  #bytes = 0
  /** Chunks before this place are forgotten; the arrays are cut when that is half of them. */
  #oldest = 0
  #owner: number | undefined
  #others: Map<string, number> | undefined
  #packed: Packed | undefined
  #began = 0
  /** Chunks that begin before this record may be in somebody's hands. */
  #given = 0
  start = 0
  end = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get accepted(): number {
    return this.end
  }

  begin(first: number, reader: string, from: number): void {
    if (this.end > this.start) throw new Error('a log begins once')
    this.#began = first
    this.start = first
    this.end = first
    this.#place(reader, from)
  }

  append(chunk: Chunk): void {
    if (this.#packed) throw new Error('append to a log whose job has ended')
    if (chunk.first !== this.end) throw new Error(`append at ${chunk.first}, but the log ends at ${this.end}`)
    this.#chunks.push(chunk)
    this.#before.push(this.#bytes)
    this.#bytes += chunk.bytes.byteLength + CHUNK_COST
    this.end += chunk.count
    this.#retain()
  }

  read(from: number, maxBytes: number): readonly Chunk[] {
    const chunks = this.#all()
    const found: Chunk[] = []
    let bytes = 0
    for (let index = this.#indexOf(from, chunks); index < chunks.length && bytes < maxBytes; index++) {
      const chunk = chunks[index]!
      found.push(chunk)
      bytes += chunk.bytes.byteLength
      this.#given = Math.max(this.#given, chunk.first + chunk.count)
    }
    return found
  }

  cursor(reader: string): number {
    return (reader === OWNER ? this.#owner : this.#others?.get(reader)) ?? this.#began
  }

  setCursor(reader: string, seq: number): void {
    if (seq > this.cursor(reader)) this.#place(reader, Math.min(seq, this.end))
  }

  bytesFrom(seq: number): number {
    const chunks = this.#all()
    const index = this.#indexOf(seq, chunks)
    if (!this.#packed) return index < chunks.length ? this.#bytes - this.#before[index]! : 0
    return chunks.slice(index).reduce((sum, { bytes }) => sum + bytes.byteLength + CHUNK_COST, 0)
  }

  forget(seq: number): void {
    const chunks = this.#all()
    const index = this.#indexOf(seq, chunks)
    this.start = Math.max(this.start, chunks[index]?.first ?? this.end)
    if (this.#packed) this.#packed = packed(chunks.slice(index))
    else {
      for (; this.#oldest < index; this.#oldest++) {
        const { first, bytes } = this.#chunks[this.#oldest]!
        if (first >= this.#given) giveBack(bytes)
        this.#chunks[this.#oldest] = GONE
      }
      this.#cut()
    }
  }

  pack(): void {
    if (this.#packed) return
    const kept = this.#chunks.slice(this.#oldest)
    const size = kept.reduce((sum, { bytes }) => sum + bytes.byteLength, 0)
    if (size > PACKED_MOST) {
      // Some are a small part of the memory they came in, and would hold all of it.
      this.#chunks = kept.map((chunk) =>
        chunk.bytes.byteLength * 2 > chunk.bytes.buffer.byteLength ? chunk : { ...chunk, bytes: chunk.bytes.slice() },
      )
      this.#before = this.#before.slice(this.#oldest)
      this.#oldest = 0
      return
    }
    this.#packed = packed(kept)
    this.#chunks = NONE
    this.#before = NONE
    this.#oldest = 0
  }

  #place(reader: string, seq: number): void {
    if (reader === OWNER) this.#owner = seq
    else (this.#others ??= new Map()).set(reader, seq)
  }

  #all(): readonly Chunk[] {
    return this.#packed ? unpacked(this.#packed, this.start) : this.#chunks
  }

  /** Memory is bounded: beyond the limit what `owner` has read goes, oldest first; what it has not read never does. */
  #retain(): void {
    const cursor = this.#owner ?? 0
    while (this.#bytes - this.#before[this.#oldest]! > this.#limit) {
      const chunk = this.#chunks[this.#oldest]!
      if (chunk.first + chunk.count > cursor) return
      this.#chunks[this.#oldest++] = GONE
      this.start = chunk.first + chunk.count
    }
    this.#cut()
  }

  #cut(): void {
    if (this.#oldest < 64 || this.#oldest < this.#chunks.length / 2) return
    this.#chunks = this.#chunks.slice(this.#oldest)
    this.#before = this.#before.slice(this.#oldest)
    this.#oldest = 0
  }

  /** The chunk that holds `seq`, by bisection: logs of a million chunks are read from the middle. */
  #indexOf(seq: number, chunks: readonly Chunk[]): number {
    let low = this.#oldest
    let high = chunks.length
    while (low < high) {
      const middle = (low + high) >> 1
      const chunk = chunks[middle]!
      if (chunk.first + chunk.count <= seq) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** What a packed log has instead: nothing is ever put there. */
const NONE: never[] = []

function packed(kept: readonly Chunk[]): Packed {
  const bytes = Buffer.concat(kept.map((chunk) => chunk.bytes)).toString('latin1')
  // Made as long as it will be: an array that grows keeps room for more.
  const chunks = Array.from({ length: 3 * kept.length }, (_, index) => {
    const chunk = kept[Math.trunc(index / 3)]!
    return [chunk.count, chunk.errors, chunk.bytes.byteLength][index % 3]!
  })
  return { bytes, chunks }
}

function unpacked(packed: Packed, start: number): Chunk[] {
  const bytes = new Uint8Array(Buffer.from(packed.bytes, 'latin1'))
  const chunks: Chunk[] = []
  let first = start
  let at = 0
  for (let index = 0; index < packed.chunks.length; index += 3) {
    const [count = 0, errors = 0, length = 0] = packed.chunks.slice(index, index + 3)
    chunks.push({ first, count, errors, bytes: bytes.subarray(at, at + length) })
    first += count
    at += length
  }
  return chunks
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
