// Where jobs' records and rows are kept. The contract, in prose and types; `memory.ts` keeps it for the life of a process.
import type { Chunk } from '../record.ts'

/**
 * The log of one job.
 *
 * - `append` takes the chunk whose `first` is the log's `end`, and settles when it is accepted (on disk, where the store
 *   has one). Chunks are never merged, split or changed.
 * - `read` gives whole chunks: the first one may begin before `from`.
 * - Beyond the store's `logLimit` it may forget what reader `owner` has read, oldest first: `start` moves. Never more.
 * - A cursor is the seq its reader will read next; it only moves forward.
 */
export interface StoredLog {
  /** Seq of the oldest record still there. */
  readonly start: number
  /** Seq the next record will get. */
  readonly end: number
  /** Of an empty log: its first record will be `first`, and `reader` begins at `from`. For copies of a log elsewhere. */
  begin(first: number, reader: string, from: number): void
  append(chunk: Chunk): void | Promise<void>
  read(from: number, maxBytes: number): readonly Chunk[] | Promise<readonly Chunk[]>
  cursor(reader: string): number
  setCursor(reader: string, seq: number): void | Promise<void>
  /** What keeping the records from `seq` on costs, in bytes; 0 at the end. */
  bytesFrom(seq: number): number
  /** Its job has ended and nothing is appended any more: it may be kept in less room. Reads and cursors go on. */
  pack?(): void
}

export interface Store extends AsyncDisposable {
  /** Bytes that reader `owner` may leave unread in one job before its producer pauses. */
  readonly logLimit: number
  /** Opens or makes the log of a job. */
  log(job: string): StoredLog | Promise<StoredLog>
  /** Deletes a job's log and cursors. Unknown: nothing happens. */
  dropLog(job: string): void | Promise<void>
}
