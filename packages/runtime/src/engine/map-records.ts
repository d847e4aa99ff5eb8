// What a map looks at in the chunks that pass through it: which items failed. All else in them is nobody's business here.
import { decodeChunk } from '@errand/transport'
import { KINDS, type RawChunk } from '../record.ts'

const ERROR: number = KINDS.indexOf('error')

/** A record that says that an item failed. */
export interface FailedItem {
  readonly index: number
  /** Its place in the chunk. */
  readonly at: number
  readonly error: Error
}

const NONE: readonly FailedItem[] = []

/** Those of one chunk. What cannot be read says nothing. */
export function failedItems(chunk: RawChunk): readonly FailedItem[] {
  if (chunk.errors === 0) return NONE
  try {
    return decodeChunk(chunk.bytes, undefined, { copy: true }).flatMap((record, at) => {
      const [kind, , error, index] = Array.isArray(record) ? (record as unknown[]) : []
      const says = kind === ERROR && Number.isSafeInteger(index) && Error.isError(error)
      return says ? [{ index: index as number, at, error }] : []
    })
  } catch {
    return NONE
  }
}

/** What a thread had written and not sent, as a chunk. */
export function chunkOfSaved(bytes: Uint8Array): RawChunk | undefined {
  if (bytes.byteLength === 0) return undefined
  try {
    const records = decodeChunk(bytes)
    const errors = records.filter((record) => Array.isArray(record) && record[0] === ERROR).length
    return { count: records.length, errors, bytes }
  } catch {
    return undefined // the thread wrote into it what it should not
  }
}
