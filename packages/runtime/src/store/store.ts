// Where jobs' records and rows are kept. The contract, in prose and types; `memory.ts` keeps it for the life of a process.
import type { Chunk } from '../record.ts'

/**
 * The log of one job.
 *
 * - `append` takes the chunk whose `first` is the log's `end`, and settles when it is accepted: whoever reads it may go on
 *   as if it could not be lost, for it outlives this process where the store does. Chunks are never merged, split or
 *   changed.
 * - `read` gives whole chunks that are accepted: the first one may begin before `from`. A chunk that is damaged is left
 *   out: what follows begins behind it.
 * - Beyond the store's `logLimit` it may forget what reader `owner` has read, oldest first: `start` moves. More only when
 *   told to (`forget`).
 * - A cursor is the seq its reader will read next; it only moves forward. It is kept a moment later: after a crash a reader
 *   may be given again what it had taken in that moment, under the same numbers. A reader that is new stands where the log
 *   began (0, or what `begin` said), also when the store has forgotten that: what it missed is its to be told.
 */
export interface StoredLog {
  /** Seq of the oldest record still there. */
  readonly start: number
  /** Seq the next record will get. */
  readonly end: number
  /** Records before this one are accepted and may be read: `end`, or where appending takes its time a little before it. */
  readonly accepted: number
  /** Of an empty log: its first record will be `first`, and `reader` begins at `from`. For copies of a log elsewhere. */
  begin(first: number, reader: string, from: number): void
  /**
   * While nothing can be written it waits, and its producer with it for want of credit.
   * @throws StoreError where the store was told to fail instead, or is closed: the log ends where it ended
   */
  append(chunk: Chunk): void | Promise<void>
  /** Accepted chunks from record `from` on, at most about `maxBytes` of them; at least one where there is one. */
  read(from: number, maxBytes: number): readonly Chunk[] | Promise<readonly Chunk[]>
  /** The seq that this reader will read next. */
  cursor(reader: string): number
  /** Moves it forward; back does nothing. */
  setCursor(reader: string, seq: number): void | Promise<void>
  /** What keeping the records from `seq` on costs, in bytes; 0 at the end. */
  bytesFrom(seq: number): number
  /** Forgets whole chunks that end at or before record `seq`, read or not: for jobs that would rather lose than wait. */
  forget(seq: number): void | Promise<void>
  /**
   * Of a copy of a log elsewhere, when it has just been opened: it ends behind the last record that is there. What a crash of
   * the host took comes again, under the same numbers.
   */
  rewind?(): void
  /** Its job has ended and nothing is appended any more: it may be kept in less room. Reads and cursors go on. */
  pack?(): void
}

/** What a row is about: the peer itself, a session it hosts, one it holds elsewhere, a job, a durable machine. */
export type RowKind = 'peer' | 'session' | 'held' | 'job' | 'actor'

/** What a peer writes down, so that it can go on after it was killed: values (whatever `encode` takes) by kind and key. */
export interface StoredRows {
  /** As they were put last, in the order in which their keys came. One that cannot be read is left out and reported. */
  all(kind: RowKind): Promise<readonly { readonly key: string; readonly value: unknown }[]>
  /**
   * Settles when it is on disk; `value` may be changed at once. Puts and deletes take effect in the order of their calls,
   * those of one turn together or not at all. `patient`: while nothing can be written (the disk is full, say) it waits
   * until that is over, as appending does, instead of failing: for what has happened already.
   * @throws StoreError where it could not be kept: the row is as it was
   */
  put(kind: RowKind, key: string, value: unknown, options?: { readonly patient?: boolean }): Promise<void>
  /** Settles when that is on disk; patient. Unknown: nothing happens. */
  delete(kind: RowKind, key: string): Promise<void>
}

/**
 * Where a peer keeps what its jobs say. `memoryStore()` and `sqlite(file)` are two; give one to `createPeer`, which closes
 * it.
 */
export interface Store extends AsyncDisposable {
  /** Bytes that reader `owner` may leave unread in one job before its producer pauses. */
  readonly logLimit: number
  /** What outlives the peer beside the logs. None: nothing does, the logs neither. */
  readonly rows?: StoredRows
  /** Opens or makes the log of a job. `isNew`: there never was one of this name, so nothing is looked for. */
  log(job: string, isNew?: boolean): StoredLog | Promise<StoredLog>
  /** Deletes a job's log and cursors. Unknown: nothing happens. */
  dropLog(job: string): void | Promise<void>
  /**
   * Names of the logs that are kept, so that those can be dropped whose job was never written down. None where something is
   * damaged: then nobody can tell whose they are.
   */
  logs?(): Promise<readonly string[]>
  /** Its peer is going: from now on nothing waits until there is room again, but is refused. */
  hurry?(): void
}
