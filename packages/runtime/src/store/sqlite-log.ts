// One log of a store on disk, as this thread has it: its numbers in memory, its newest chunks at hand, the rest asked for.
import type { Chunk } from '../record.ts'
import { ChunkEnds } from './chunk-ends.ts'
import { RecentLog, type RecentChunks } from './recent-chunks.ts'
import {
  APPEND,
  BEGIN,
  CHUNK_COST,
  CURSOR,
  FORGET,
  OPEN,
  REWIND,
  SEAL,
  type ChunksRead,
  type LogState,
} from './sqlite-message.ts'
import type { StoredLog } from './store.ts'

/** The reader that retention waits for. */
const OWNER = 'owner'

/** Told what became of a write. */
export interface Waiter {
  /** When it is accepted, or when it is on disk for certain. */
  readonly when: 'accepted' | 'synced'
  done(): void
  refused(error: Error): void
}

/** What a log asks of its store. */
export interface LogHome {
  readonly logLimit: number
  readonly recent: RecentChunks
  /** @throws StoreError where the store takes nothing any more */
  write(operation: readonly (number | string)[], bytes?: Uint8Array, waiter?: Waiter): void
  read(log: number, from: number, until: number, maxBytes: number): Promise<ChunksRead>
  /** It has cursors to be written a moment later. */
  moved(log: SqliteLog): void
}

/** The name under which the file has where a log began, if not at 0: no reader has none. */
const NOBODY = ''

export class SqliteLog implements StoredLog {
  readonly #home: LogHome
  readonly #log: number
  readonly #ends: ChunkEnds
  readonly #recent: RecentLog
  readonly #cursors: Map<string, number>
  /** Readers whose cursors have moved; of the many logs that nothing is said in, nobody's. */
  #moved: Set<string> | undefined
  #waiting: Set<Appending> | undefined
  /** Where what is there of it ended when it was opened. */
  readonly #there: number
  /** Where it began: there a reader stands that is new. */
  #began: number
  /** What it is called, until its file has heard of it: of jobs that say nothing it never does. */
  #unheard: string | undefined
  #sealed = false
  #dropped = false
  start: number
  end: number
  accepted: number

  /** `unheard`: its name, of one that its file does not know yet. */
  constructor(home: LogHome, state: LogState, unheard?: string) {
    this.#home = home
    this.#unheard = unheard
    this.#log = state.log
    this.#ends = new ChunkEnds([...state.ends], [...state.costs], state.before)
    this.#ends.forget(state.start)
    this.#recent = new RecentLog(home.recent)
    this.#cursors = new Map(state.cursors)
    this.#began = this.#cursors.get(NOBODY) ?? 0
    this.start = state.start
    this.end = state.end
    this.accepted = state.end
    this.#there = state.there
  }

  rewind(): void {
    if (this.#there >= this.end) return
    this.#write([REWIND, this.#log])
    this.end = this.#there
    this.accepted = this.#there
  }

  begin(first: number, reader: string, from: number): void {
    if (this.end > this.start) throw new Error('a log begins once')
    this.#write([BEGIN, this.#log, first, reader, from])
    this.#began = first
    if (first > 0) this.#write([CURSOR, this.#log, NOBODY, first])
    this.start = first
    this.end = first
    this.accepted = first
    this.#cursors.set(reader, from)
  }

  append(chunk: Chunk): Promise<void> {
    if (this.#sealed) throw new Error('append to a log whose job has ended')
    const { first, count, errors, bytes } = chunk
    if (first !== this.end) throw new Error(`append at ${first}, but the log ends at ${this.end}`)
    const appending = new Appending(this, first, first + count)
    this.#write([APPEND, this.#log, first, count, errors, bytes.byteLength], bytes, appending)
    ;(this.#waiting ??= new Set()).add(appending)
    this.end += count
    this.#ends.add(this.end, bytes.byteLength + CHUNK_COST)
    this.#recent.add(chunk)
    if (this.#dropped) this.accept(appending)
    else this.#retain()
    return appending.promise
  }

  read(from: number, maxBytes: number): readonly Chunk[] | Promise<readonly Chunk[]> {
    const seq = Math.max(from, this.start)
    if (seq >= this.accepted) return []
    return this.#recent.read(seq, this.accepted, maxBytes) ?? this.#readFile(seq, maxBytes)
  }

  async #readFile(from: number, maxBytes: number): Promise<readonly Chunk[]> {
    const { chunks, bytes } = await this.#home.read(this.#log, from, this.accepted, maxBytes)
    let at = 0
    return chunks.map(({ first, count, errors, length }) => {
      const chunk = { first, count, errors, bytes: bytes.subarray(at, at + length) }
      at += length
      return chunk
    })
  }

  cursor(reader: string): number {
    return this.#cursors.get(reader) ?? this.#began
  }

  setCursor(reader: string, seq: number): void {
    if (seq <= this.cursor(reader)) return
    this.#cursors.set(reader, Math.min(seq, this.end))
    if (this.#dropped) return
    ;(this.#moved ??= new Set()).add(reader)
    this.#home.moved(this)
  }

  /** Where its readers have moved since the last time is written. */
  writeCursors(): void {
    if (!this.#dropped)
      for (const reader of this.#moved ?? []) this.#write([CURSOR, this.#log, reader, this.#cursors.get(reader)!])
    this.#moved?.clear()
  }

  bytesFrom(seq: number): number {
    return seq >= this.end ? 0 : this.#ends.costFrom(seq)
  }

  forget(seq: number): void {
    this.#forget(seq >= this.end ? this.end : this.#ends.endBefore(seq))
  }

  pack(): void {
    if (this.#sealed) return
    this.#sealed = true
    if (this.isKept) this.#write([SEAL, this.#log])
  }

  /** There may be something of it in the file. */
  get isKept(): boolean {
    return this.#unheard === undefined
  }

  /** Its records are deleted; who still holds it may go on, and nothing is kept. */
  drop(): void {
    this.#dropped = true
    for (const appending of this.#waiting ?? []) this.accept(appending)
  }

  accept(appending: Appending): void {
    if (!this.#waiting?.delete(appending)) return
    this.accepted = appending.end
    appending.resolve()
  }

  /** With it whatever was appended behind it: the log ends where it began. */
  refuse(appending: Appending, error: Error): void {
    if (!this.#waiting?.has(appending)) return
    this.end = appending.first
    this.#ends.cut(this.end)
    this.#recent.cut(this.end)
    for (const one of [...this.#waiting]) {
      if (one.first < appending.first) continue
      this.#waiting.delete(one)
      one.reject(error)
    }
  }

  /** Disk is bounded: beyond the limit what `owner` has read goes, oldest first; what it has not read never does. */
  #retain(): void {
    const cursor = Math.min(this.#cursors.get(OWNER) ?? 0, this.accepted)
    let start: number | undefined
    let over = this.#ends.cost - this.#home.logLimit
    while (over > 0) {
      const end = this.#ends.first
      if (end === undefined || end > cursor) break
      this.#ends.forget(end)
      start = end
      over = this.#ends.cost - this.#home.logLimit
    }
    this.#forget(start)
  }

  #forget(start: number | undefined): void {
    if (start === undefined || start <= this.start) return
    this.start = start
    this.#ends.forget(start)
    this.#write([FORGET, this.#log, start])
  }

  #write(operation: readonly (number | string)[], bytes?: Uint8Array, waiter?: Waiter): void {
    if (this.#dropped) return
    if (this.#unheard !== undefined) this.#home.write([OPEN, this.#log, this.#unheard])
    this.#unheard = undefined
    this.#home.write(operation, bytes, waiter)
  }
}

/** A chunk on its way to the disk. */
class Appending implements Waiter {
  readonly when = 'accepted'
  readonly first: number
  readonly end: number
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  readonly #log: SqliteLog

  constructor(log: SqliteLog, first: number, end: number) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#log = log
    this.first = first
    this.end = end
    this.promise = promise
    this.resolve = resolve
    this.reject = reject
  }
  done(): void {
    this.#log.accept(this)
  }
  refused(error: Error): void {
    this.#log.refuse(this, error)
  }
}
