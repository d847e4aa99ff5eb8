// What a batch of writes does to the file of a store, and what is read from it: rows, and logs in pieces. Lives in the store's
// worker, and does one thing after the other.
import { crc32 } from 'node:zlib'
import { PAGE, StoreDatabase } from './sqlite-database.ts'
import { StoreFault, failureOf, isDamage } from './sqlite-failure.ts'
import * as message from './sqlite-message.ts'
import { CHUNK_COST } from './sqlite-message.ts'
import type { Batch, ChunkHead, ChunksRead, Failure, LogState, RowsRead, StoreSettings } from './sqlite-message.ts'

/** A piece closes at this many bytes or chunks. */
const PIECE_BYTES = 64 * 1024
const PIECE_CHUNKS = 256
/** Bytes of a chunk's head: its count, errors, length and checksum. */
const HEAD = 16
/** Records whose numbers are reserved at a time: half as many as there are, but no fewer and no more. */
const RESERVED_LEAST = 256
const RESERVED_MOST = 1 << 18
/** Pieces that are deleted in one transaction. */
const SLICE = 32
/** Of a log of so many pieces all are known when it is opened; of a larger one a few: looking at each takes its time. */
const KNOWN_PIECES = 256
const KNOWN_OF_MANY = 64
/** Pages given back to the file system at a time; and how many may lie unused before that begins. */
const GIVEN_BACK = 256
const UNUSED_MOST = (64 * 1024 * 1024) / PAGE

/** Logs that one opening of the store can make: their ids are its own, so none is ever given twice. */
const LOGS_A_RUN = 2 ** 26

/** What is known of a log while the store is open. */
interface Log {
  readonly id: number
  readonly name: string
  /** What its store calls it: `id`, or a number of its own for what was new. */
  readonly called: number
  /** It has its row. */
  kept: boolean
  start: number
  end: number
  /** Where its pieces end, as it was opened. */
  there: number
  /** What all of it has cost, also what is forgotten. */
  cost: number
  /** Numbers before this one are never given again; and those of which that is on disk for certain. */
  ceiling: number
  durable: number
  /** How often it has given back what was reserved. */
  releases: number
  /** The opening of the store in which that was reserved. */
  run: number
}

/** Consecutive chunks of a log, gathered to be written together. */
interface Piece {
  readonly first: number
  readonly parts: { readonly count: number; readonly errors: number; readonly bytes: Uint8Array }[]
  bytes: number
}

interface PieceRow {
  first: number
  count: number
  before: number
  cost: number
  crc: number
  heads: Uint8Array
  bytes: Uint8Array
}

/** Numbers that go into a checksum beside the bytes. */
const numbers = new Float64Array(5)
const numberBytes = new Uint8Array(numbers.buffer)

function seed(...values: number[]): number {
  numbers.fill(0)
  numbers.set(values)
  return crc32(numberBytes)
}

export class StoreFile {
  readonly #path: string
  readonly #trouble: (failure: Failure) => void
  readonly #db: StoreDatabase
  readonly #logs = new Map<number, Log>()
  readonly #names = new Map<string, Log>()
  /** Those with numbers reserved that they may not need. */
  readonly #active = new Map<Log, number>()
  /** As they were before the transaction that is under way. */
  readonly #undo = new Map<Log, Log>()
  readonly #dropped = new Set<Log>()
  readonly #pieces = new Map<Log, Piece>()
  readonly #reported = new Set<string>()
  #backwards = false
  #nextLog = 0
  #written = 0
  #hasGarbage = true
  /** Pages may lie unused. */
  #untidy = true

  /** @throws StoreFault */
  constructor(settings: StoreSettings, trouble: (failure: Failure) => void) {
    this.#path = settings.path
    this.#trouble = trouble
    this.#db = new StoreDatabase(settings, trouble)
    this.#nextLog = this.#run * LOGS_A_RUN
  }

  get #run(): number {
    return this.#db.run
  }
  /** Its write-ahead log, to be synced. */
  get wal(): number {
    return this.#db.wal
  }

  /** What could be written is on disk then. */
  close(): void {
    this.#db.close(() => this.#release(0))
  }

  // ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * All of them in one transaction, or nothing. Returns whether what was appended may be seen only when this is synced.
   * @throws what SQLite says; StoreFault for an append that is not where its log ends
   */
  write(batches: readonly Batch[]): boolean {
    return this.#transaction(() => {
      let unsafe = false
      for (const batch of batches) {
        let at = 0
        for (
          let place = 0;
          place < batch.operations.length;
          place += message.LENGTH[batch.operations[place] as number]!
        ) {
          const length = lengthAt(batch.operations, place)
          if (this.#perform(batch.operations, place, batch.bytes.subarray(at, at + length))) unsafe = true
          at += length
        }
      }
      for (const log of this.#pieces.keys()) this.#writePiece(log)
      return unsafe
    })
  }

  /** One batch as far as it goes: each operation by itself. Returns those that could not be done, and why. */
  writeEach(batch: Batch): { unsafe: boolean; refused: { place: number; failure: Failure }[] } {
    const refused: { place: number; failure: Failure }[] = []
    let unsafe = false
    let at = 0
    for (let place = 0, index = 0; place < batch.operations.length; index++) {
      const next = place + message.LENGTH[batch.operations[place] as number]!
      const length = lengthAt(batch.operations, place)
      const bytes = batch.bytes.subarray(at, at + length)
      try {
        if (this.write([{ number: 0, operations: batch.operations.slice(place, next), bytes }])) unsafe = true
      } catch (error) {
        refused.push({ place: index, failure: failureOf(error, this.#path) })
      }
      at += length
      place = next
    }
    return { unsafe, refused }
  }

  #transaction<T>(act: () => T): T {
    const db = this.#db
    db.exec('BEGIN IMMEDIATE')
    try {
      const result = act()
      db.exec('COMMIT')
      this.#undo.clear()
      this.#dropped.clear()
      return result
    } catch (error) {
      // Some failures have ended it already.
      if (db.isTransaction) db.exec('ROLLBACK')
      for (const [log, before] of this.#undo) Object.assign(log, before)
      this.#undo.clear()
      for (const log of this.#dropped) this.#know(log)
      this.#dropped.clear()
      this.#pieces.clear()
      throw error
    }
  }

  /** Returns whether it appended records whose numbers are not reserved for certain. */
  #perform(operations: Batch['operations'], place: number, bytes: Uint8Array): boolean {
    const [, a, b, c, d] = operations.slice(place, place + 5) as [number, never, never, never, never]
    switch (operations[place]) {
      case message.PUT:
        this.#db.do(
          'INSERT INTO kept (id, kind, key, crc, value) VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET crc = excluded.crc, value = excluded.value',
          this.#nextId('kept'),
          a as string,
          b as string,
          rowSum(a, b, bytes),
          bytes,
        )
        this.#written += bytes.byteLength + PAGE
        return false
      case message.DELETE:
        this.#db.do('DELETE FROM kept WHERE kind = ? AND key = ?', a as string, b as string)
        this.#written += PAGE
        return false
      case message.OPEN:
        // Where that transaction came to nothing it is there already.
        if (!this.#logs.has(a)) this.#adopt(b, this.#nextLog++, a)
        return false
      case message.DROP: {
        const log = this.#names.get(a)
        if (log) this.#drop(log)
        else {
          const row = this.#db.get<{ id: number }>('SELECT id FROM log WHERE name = ?', a as string)
          if (row) this.#drop(this.#adopt(a, row.id))
        }
        return false
      }
    }
    const log = this.#logs.get(a)
    // Dropped meanwhile: nobody asks for it any more.
    if (!log) return false
    this.#change(log)
    switch (operations[place]) {
      case message.APPEND:
        return this.#append(log, b, c, d, bytes)
      case message.BEGIN:
        log.start = b
        log.end = Math.max(log.end, b)
        this.#keep(log, Math.max(log.ceiling, b), this.#run)
        this.#db.do('INSERT OR REPLACE INTO cursor (log, reader, seq) VALUES (?, ?, ?)', log.id, c as string, d)
        return false
      case message.FORGET:
        this.#writePiece(log)
        log.start = Math.max(log.start, b)
        this.#keep(log, log.ceiling, log.run)
        this.#forget(log.id, log.start)
        return false
      case message.REWIND:
        log.end = Math.min(log.end, log.there)
        return false
      case message.CURSOR:
        if (!log.kept) this.#keep(log, log.ceiling, this.#run)
        this.#db.do('INSERT OR REPLACE INTO cursor (log, reader, seq) VALUES (?, ?, ?)', log.id, b as string, c)
        this.#written += PAGE
        return false
      default:
        // Sealed: its end is known for good.
        this.#writePiece(log)
        if (log.kept) this.#keep(log, log.end, this.#run)
        return false
    }
  }

  #append(log: Log, first: number, count: number, errors: number, bytes: Uint8Array): boolean {
    if (first !== log.end)
      throw new StoreFault({ code: 'STORE_FAILED', message: `append at ${first}, but ${log.name} ends at ${log.end}` })
    const end = first + count
    const block = Math.min(RESERVED_MOST, Math.max(RESERVED_LEAST, Math.trunc(end / 2)))
    // Ahead of time, so that nobody waits for the disk; the first time in this run there is no such time.
    if (log.ceiling - end < block / 2 || log.run !== this.#run) this.#keep(log, end + block, this.#run)
    let piece = this.#pieces.get(log)
    if (piece && (piece.bytes + bytes.byteLength > PIECE_BYTES || piece.parts.length >= PIECE_CHUNKS)) {
      this.#writePiece(log)
      piece = undefined
    }
    if (!piece) this.#pieces.set(log, (piece = { first, parts: [], bytes: 0 }))
    piece.parts.push({ count, errors, bytes })
    piece.bytes += bytes.byteLength
    log.end = end
    // Where it ended when idle logs were looked for last.
    if (!this.#active.has(log)) this.#active.set(log, -1)
    return end > log.durable
  }

  #writePiece(log: Log): void {
    const piece = this.#pieces.get(log)
    if (!piece) return
    this.#pieces.delete(log)
    const heads = Buffer.alloc(piece.parts.length * HEAD)
    const [only] = piece.parts
    const bytes = piece.parts.length === 1 ? only!.bytes : new Uint8Array(piece.bytes)
    let at = 0
    let seq = piece.first
    for (const [index, part] of piece.parts.entries()) {
      if (bytes !== part.bytes) bytes.set(part.bytes, at)
      heads.writeUInt32LE(part.count, index * HEAD)
      heads.writeUInt32LE(part.errors, index * HEAD + 4)
      heads.writeUInt32LE(part.bytes.byteLength, index * HEAD + 8)
      heads.writeUInt32LE(crc32(part.bytes, seed(log.id, seq, part.count, part.errors)), index * HEAD + 12)
      at += part.bytes.byteLength
      seq += part.count
    }
    const cost = piece.bytes + piece.parts.length * CHUNK_COST
    const count = seq - piece.first
    this.#db.do(
      'INSERT INTO piece (id, log, first, count, before, cost, crc, heads, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      this.#nextId('piece'),
      log.id,
      piece.first,
      count,
      log.cost,
      cost,
      crc32(heads, seed(log.id, piece.first, count, log.cost, cost)),
      heads,
      bytes,
    )
    log.cost += cost
    this.#written += piece.bytes + 2 * PAGE
  }

  /** Behind all others, as SQLite does it; where the file is damaged there, before all others. */
  #nextId(table: 'kept' | 'piece'): number | null {
    if (!this.#backwards) return null
    return this.#db.get<{ id: number }>(`SELECT min(ifnull(min(id), 0), 0) - 1 AS id FROM ${table}`)!.id
  }

  /** Before a log is changed within a transaction. */
  #change(log: Log): void {
    if (!this.#undo.has(log)) this.#undo.set(log, { ...log })
  }

  #keep(log: Log, ceiling: number, run: number): void {
    log.ceiling = ceiling
    log.run = run
    if (log.kept)
      this.#db.do('UPDATE log SET start = ?, ceiling = ?, run = ? WHERE id = ?', log.start, ceiling, run, log.id)
    else
      this.#db.do(
        'INSERT INTO log (id, name, start, ceiling, run) VALUES (?, ?, ?, ?, ?)',
        log.id,
        log.name,
        log.start,
        ceiling,
        run,
      )
    log.kept = true
    this.#written += PAGE
  }

  #drop(log: Log): void {
    this.#pieces.delete(log)
    this.#db.do('DELETE FROM log WHERE id = ?', log.id)
    this.#db.do('DELETE FROM cursor WHERE log = ?', log.id)
    this.#forget(log.id, Number.MAX_SAFE_INTEGER)
    this.#dropped.add(log)
    this.#logs.delete(log.called)
    this.#names.delete(log.name)
    this.#active.delete(log)
    this.#written += PAGE
  }

  /** The first of them at once; where there are more, the rest in its own time. */
  #forget(log: number, until: number): void {
    if (this.#deleteSlice(log, until) < SLICE) return
    this.#db.do('INSERT OR REPLACE INTO garbage (log, until) VALUES (?, ?)', log, until)
    this.#hasGarbage = true
  }

  #deleteSlice(log: number, until: number): number {
    const { changes } = this.#db.do(
      `DELETE FROM piece WHERE id IN (SELECT id FROM piece WHERE log = ? AND first < ? AND first + count <= ? ORDER BY first LIMIT ${SLICE})`,
      log,
      until,
      until,
    )
    if (changes > 0) {
      this.#written += PAGE * Number(changes)
      this.#untidy = true
    }
    return Number(changes)
  }

  /** Does a little of what need not be done at once. Returns whether there is more. @throws what SQLite says */
  tidy(): boolean {
    if (this.#hasGarbage) {
      const next = this.#db.get<{ log: number; until: number }>('SELECT log, until FROM garbage LIMIT 1')
      if (next) {
        this.#transaction(() => {
          if (this.#deleteSlice(next.log, next.until) < SLICE)
            this.#db.do('DELETE FROM garbage WHERE log = ?', next.log)
        })
        return true
      }
      this.#hasGarbage = false
    }
    if (!this.#untidy) return false
    const { unused, pages } = this.#db.get<{ unused: number; pages: number }>(
      'SELECT (SELECT freelist_count FROM pragma_freelist_count) AS unused, (SELECT page_count FROM pragma_page_count) AS pages',
    )!
    this.#untidy = unused >= UNUSED_MOST && unused >= pages / 4
    if (!this.#untidy) return false
    this.#db.exec(`PRAGMA incremental_vacuum(${GIVEN_BACK})`)
    return true
  }

  /** Logs that said nothing since the last time need no numbers in reserve: they would be missed after a host's crash. */
  releaseIdle(): void {
    this.#release(1)
  }

  #release(idle: number): void {
    const still = [...this.#active].filter(([log, end]) => idle === 0 || end === log.end)
    const busy = [...this.#active.keys()].filter((log) => idle !== 0 && !still.some(([one]) => one === log))
    if (still.length > 0)
      this.#transaction(() => {
        for (const [log] of still) {
          this.#change(log)
          if (log.ceiling > log.end) this.#keep(log, log.end, this.#run)
          log.durable = Math.min(log.durable, log.end)
          log.releases++
        }
      })
    this.#active.clear()
    for (const log of busy) this.#active.set(log, log.end)
  }

  get isBusy(): boolean {
    return this.#active.size > 0
  }

  /** Of all logs, what of their numbers would be on disk for certain if what is written now were synced. */
  reserved(): () => void {
    const ceilings = [...this.#active.keys()]
      .filter((log) => log.durable < log.ceiling)
      .map((log) => [log, log.ceiling, log.releases] as const)
    return () => {
      // What was given back meanwhile and reserved again is another reserve, and not on disk.
      for (const [log, ceiling, releases] of ceilings)
        if (log.releases === releases) log.durable = Math.min(log.ceiling, ceiling)
    }
  }

  /** Copies the write-ahead log into the file when it has grown to about `bytes`. Without room it stays as it is. */
  checkpoint(bytes: number): void {
    if (this.#written < bytes) return
    this.#db.exec('PRAGMA wal_checkpoint(PASSIVE)')
    this.#written = 0
  }

  // ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  log(name: string): LogState {
    return this.#db.repairing(() => this.#log(name))
  }

  #log(name: string): LogState {
    const row = this.#db.get<{ id: number; start: number; ceiling: number; run: number }>(
      'SELECT id, start, ceiling, run FROM log WHERE name = ?',
      name,
    )
    let log = this.#names.get(name)
    if (!log) {
      log = this.#adopt(name, row?.id ?? this.#nextLog++)
      // Nothing is reserved for this opening: not before that is on disk may its first record be seen.
      if (row) Object.assign(log, { kept: true, ...row })
    }
    const state = this.#chunkEnds(log)
    const cursors = this.#db.all<{ reader: string; seq: number }>(
      'SELECT reader, seq FROM cursor WHERE log = ?',
      log.id,
    )
    return {
      log: log.called,
      start: log.start,
      end: log.end,
      there: log.there,
      ...state,
      cursors: cursors.map(({ reader, seq }) => [reader, seq] as const),
    }
  }

  #adopt(name: string, id: number, called = id): Log {
    const log: Log = {
      id,
      name,
      called,
      kept: false,
      start: 0,
      end: 0,
      there: 0,
      cost: 0,
      ceiling: 0,
      durable: 0,
      releases: 0,
      run: 0,
    }
    this.#know(log)
    return log
  }

  #know(log: Log): void {
    this.#logs.set(log.called, log)
    this.#names.set(log.name, log)
  }

  /** Where its chunks end; sets its end and its cost. */
  #chunkEnds(log: Log): Pick<LogState, 'ends' | 'costs' | 'before'> {
    const ends: number[] = []
    const costs: number[] = []
    let before: number | undefined
    const last = this.#db.get<{ first: number | null }>(
      'SELECT max(first) AS first FROM piece WHERE log = ?',
      log.id,
    )?.first
    const { firsts, all } = this.#firsts(log)
    for (const first of firsts) {
      const piece = this.#pieceHead(log, first)
      if (!piece) continue
      before ??= piece.before
      let end = first
      let cost = piece.before
      if (all)
        for (let at = 0; at < piece.heads.length; at += HEAD) {
          const heads = Buffer.from(piece.heads.buffer, piece.heads.byteOffset, piece.heads.byteLength)
          end += heads.readUInt32LE(at)
          cost += heads.readUInt32LE(at + 8) + CHUNK_COST
          ends.push(end)
          costs.push(cost)
        }
      else {
        ends.push(first + piece.count)
        costs.push(piece.before + piece.cost)
      }
    }
    if (log.kept) {
      const end = last === null || last === undefined ? undefined : this.#read(log, last)?.end
      const lost = this.#db.get('SELECT 1 FROM lost_run WHERE run = ?', log.run) !== undefined
      // What was said behind the last good piece may have been seen: its numbers are never given again.
      log.end =
        lost || (last !== null && end === undefined) ? Math.max(log.ceiling, end ?? 0) : Math.max(log.start, end ?? 0)
      // A damaged last piece has the numbers it has.
      log.there = last !== null && end === undefined ? log.end : Math.max(log.start, end ?? 0)
      log.cost = costs.at(-1) ?? 0
    }
    return { ends: Float64Array.from(ends), costs: Float64Array.from(costs), before: before ?? 0 }
  }

  /** The first records of all its pieces; where there are many, of some, evenly. */
  #firsts(log: Log): { firsts: readonly number[]; all: boolean } {
    const firsts = this.#db
      .all<{ first: number }>(
        `SELECT first FROM piece INDEXED BY piece_at WHERE log = ? ORDER BY first LIMIT ${KNOWN_PIECES + 1}`,
        log.id,
      )
      .map(({ first }) => first)
    if (firsts.length <= KNOWN_PIECES) return { firsts, all: true }
    const last = this.#db.get<{ first: number }>('SELECT max(first) AS first FROM piece WHERE log = ?', log.id)!.first
    const step = (last - firsts[0]!) / KNOWN_OF_MANY
    const some = new Set<number>()
    for (let index = 0; index < KNOWN_OF_MANY; index++)
      some.add(this.#firstBefore(log, firsts[0]! + index * step) ?? last)
    return { firsts: [...some.add(last)], all: false }
  }

  #firstBefore(log: Log, seq: number): number | undefined {
    const found = this.#db.get<{ first: number | null }>(
      'SELECT max(first) AS first FROM piece WHERE log = ? AND first <= ?',
      log.id,
      Math.trunc(seq),
    )
    return found?.first ?? undefined
  }

  #firstBehind(log: Log, seq: number): number | undefined {
    const found = this.#db.get<{ first: number | null }>(
      'SELECT min(first) AS first FROM piece WHERE log = ? AND first > ?',
      log.id,
      seq,
    )
    return found?.first ?? undefined
  }

  #pieceHead(log: Log, first: number): PieceRow | undefined {
    return this.#whole(
      log,
      first,
      'SELECT first, count, before, cost, crc, heads FROM piece WHERE log = ? AND first = ?',
    )
  }

  /** Its row, if that is what was written. */
  #whole(log: Log, first: number, sql: string): PieceRow | undefined {
    try {
      const row = this.#db.get<PieceRow>(sql, log.id, first)
      if (row && row.crc === crc32(row.heads, seed(log.id, row.first, row.count, row.before, row.cost))) return row
    } catch (error) {
      if (!isDamage(error)) throw error
    }
    this.#report(log, first)
    return undefined
  }

  #report(log: Log, first: number, count?: number): void {
    const what = `${log.name} ${first}`
    if (this.#reported.has(what) || this.#reported.size > 1024) return
    this.#reported.add(what)
    const which = count === undefined ? `from ${first} on` : `${first} to ${first + count - 1}`
    this.#trouble({ code: 'STORE_DAMAGED', message: `${this.#path}: records ${which} of ${log.name} are damaged` })
  }

  #read(log: Log, first: number): { end: number; chunks: (ChunkHead & { bytes: Uint8Array })[] } | undefined {
    const row = this.#whole(
      log,
      first,
      'SELECT first, count, before, cost, crc, heads, bytes FROM piece WHERE log = ? AND first = ?',
    )
    if (!row) return undefined
    const heads = Buffer.from(row.heads.buffer, row.heads.byteOffset, row.heads.byteLength)
    const chunks: (ChunkHead & { bytes: Uint8Array })[] = []
    let at = 0
    let seq = first
    for (let place = 0; place < heads.length; place += HEAD) {
      const count = heads.readUInt32LE(place)
      const errors = heads.readUInt32LE(place + 4)
      const length = heads.readUInt32LE(place + 8)
      const bytes = row.bytes.subarray(at, at + length)
      const good = heads.readUInt32LE(place + 12) === crc32(bytes, seed(log.id, seq, count, errors))
      if (good && bytes.byteLength === length) chunks.push({ first: seq, count, errors, length, bytes })
      else this.#report(log, seq, count)
      at += length
      seq += count
    }
    return { end: seq, chunks }
  }

  read(id: number, from: number, until: number, maxBytes: number): ChunksRead {
    return this.#db.repairing(() => {
      const log = this.#logs.get(id)
      if (!log) return { chunks: [], bytes: new Uint8Array() }
      const found: (ChunkHead & { bytes: Uint8Array })[] = []
      let total = 0
      let first = this.#firstBefore(log, from) ?? this.#firstBehind(log, from)
      for (; first !== undefined && first < until && total < maxBytes; first = this.#firstBehind(log, first))
        for (const chunk of this.#read(log, first)?.chunks ?? []) {
          if (chunk.first + chunk.count <= Math.max(from, log.start)) continue
          if (total >= maxBytes || chunk.first >= until) break
          found.push(chunk)
          total += chunk.length
        }
      const bytes = new Uint8Array(total)
      let at = 0
      for (const chunk of found) {
        bytes.set(chunk.bytes, at)
        at += chunk.length
      }
      return { chunks: found.map(({ first, count, errors, length }) => ({ first, count, errors, length })), bytes }
    })
  }

  rows(kind: string): RowsRead {
    return this.#db.repairing(() => {
      const keys: string[] = []
      const values: Uint8Array[] = []
      for (const row of this.#rowsOf(kind)) {
        if (row && row.crc === rowSum(kind, row.key, row.value)) {
          keys.push(row.key)
          values.push(row.value)
        } else this.#trouble({ code: 'STORE_DAMAGED', message: `${this.#path}: row ${kind} ${row?.key} is damaged` })
      }
      return { keys, values: joined(values), lengths: values.map(({ byteLength }) => byteLength) }
    })
  }

  #rowsOf(kind: string): (RowRead | undefined)[] {
    try {
      return this.#db.all<RowRead>('SELECT key, crc, value FROM kept WHERE kind = ? ORDER BY id', kind)
    } catch (error) {
      if (!isDamage(error)) throw error
    }
    // A page of them is damaged: the others one by one.
    const ids = this.#db.all<{ id: number; key: string }>(
      'SELECT id, key FROM kept INDEXED BY kept_at WHERE kind = ?',
      kind,
    )
    return ids
      .toSorted((a, b) => a.id - b.id)
      .map(({ id, key }) => {
        try {
          return this.#db.get<RowRead>('SELECT key, crc, value FROM kept WHERE id = ?', id)
        } catch (error) {
          if (!isDamage(error)) throw error
          return { key, crc: -1, value: new Uint8Array() }
        }
      })
  }

  /** Names of the logs that are kept. */
  names(): string[] {
    return this.#db.all<{ name: string }>('SELECT name FROM log ORDER BY id').map(({ name }) => name)
  }

  /** What could not be written for damage is tried another way. Returns whether there is one left. */
  goAround(): boolean {
    if (this.#db.repair()) return true
    if (this.#backwards) return false
    return (this.#backwards = true)
  }
}

interface RowRead {
  key: string
  crc: number
  value: Uint8Array<ArrayBuffer>
}

function rowSum(kind: string, key: string, value: Uint8Array): number {
  return crc32(value, crc32(`${kind}\0${key}`))
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}

/** Bytes that belong to an operation. */
function lengthAt(operations: Batch['operations'], place: number): number {
  const code = operations[place]
  if (code === message.PUT) return operations[place + 4] as number
  return code === message.APPEND ? (operations[place + 5] as number) : 0
}
