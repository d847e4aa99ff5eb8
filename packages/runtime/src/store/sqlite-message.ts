// What passes between a store and its worker: a batch for each turn in which something was written, and requests that are
// answered. The port keeps their order, so a request sees everything that was written before it.
import type { RowKind } from './store.ts'

/** What keeping a chunk costs beside its bytes: its head and its share of a page. */
export const CHUNK_COST = 32

/** The operations of a batch, each followed by what is named beside it. */
export const PUT = 0 // kind, key, patient (0 or 1), length of its value
export const DELETE = 1 // kind, key
export const APPEND = 2 // log, first, count, errors, length of its bytes
export const BEGIN = 3 // log, first, reader, from
export const FORGET = 4 // log, the first record that stays
export const CURSOR = 5 // log, reader, seq
export const SEAL = 6 // log
export const DROP = 7 // name of a log
export const OPEN = 8 // log, name: a new one, by a number that its store has made up
export const REWIND = 9 // log
/** How many values belong to an operation, itself included. */
export const LENGTH: readonly number[] = [5, 3, 6, 5, 3, 4, 2, 2, 3, 2]

/** One turn's writes. They take effect together or not at all, but for appends that may wait. */
export interface Batch {
  readonly number: number
  readonly operations: readonly (number | string)[]
  /** Values and bytes, one behind the other in the order of their operations. */
  readonly bytes: Uint8Array<ArrayBuffer>
}

export interface StoreSettings {
  readonly path: string
  /** Appends fail where nothing can be written, instead of waiting. */
  readonly failing: boolean
  readonly maxBytes: number | undefined
}

export interface Failure {
  readonly code: string
  readonly message: string
  readonly hint?: string
}

export interface ChunkHead {
  readonly first: number
  readonly count: number
  readonly errors: number
  readonly length: number
}

/** A log as the file has it. */
export interface LogState {
  readonly log: number
  readonly start: number
  readonly end: number
  /** Where its last piece ends; after a crash of the host, or where that is damaged, `end` may be behind it. */
  readonly there: number
  /** Ends of chunks, not of all of them where there are many; and what the log had cost up to each. */
  readonly ends: Float64Array<ArrayBuffer>
  readonly costs: Float64Array<ArrayBuffer>
  /** What it had cost before its first record. */
  readonly before: number
  readonly cursors: readonly (readonly [reader: string, seq: number])[]
}

export type ToWorker =
  | { readonly type: 'batch'; readonly batch: Batch }
  | { readonly type: 'log'; readonly request: number; readonly name: string }
  | {
      readonly type: 'read'
      readonly request: number
      readonly log: number
      readonly from: number
      readonly until: number
      readonly maxBytes: number
    }
  | { readonly type: 'rows'; readonly request: number; readonly kind: RowKind }
  | { readonly type: 'logs'; readonly request: number }
  | { readonly type: 'hurry' }
  | { readonly type: 'close'; readonly request: number }

export interface ChunksRead {
  readonly chunks: readonly ChunkHead[]
  readonly bytes: Uint8Array<ArrayBuffer>
}

export interface RowsRead {
  readonly keys: readonly string[]
  /** One behind the other, and how long each is: memory of its own for each of a hundred thousand takes its time. */
  readonly values: Uint8Array<ArrayBuffer>
  readonly lengths: readonly number[]
}

export type FromWorker =
  | { readonly type: 'opened' }
  | { readonly type: 'failed'; readonly failure: Failure }
  | { readonly type: 'trouble'; readonly failure: Failure }
  /** Batches up to these numbers are accepted, and are really on disk. */
  | { readonly type: 'done'; readonly accepted: number; readonly synced: number }
  /** Of a batch that is not done yet: these operations never will be. */
  | { readonly type: 'refused'; readonly number: number; readonly places: readonly number[]; readonly failure: Failure }
  | { readonly type: 'answer'; readonly request: number; readonly value: unknown }
  | { readonly type: 'error'; readonly request: number; readonly failure: Failure }
