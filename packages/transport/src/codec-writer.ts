// Values to bytes: the pre-pass, then cbor-x.

import { Encoder } from 'cbor-x/index-no-eval'
import type { CodecLimits } from './codec-limits.ts'
import { limitsFrom } from './codec-limits.ts'
import { plainItems, takePlainBuffer, writePlain } from './codec-plain.ts'
import type { Shapes } from './codec-shapes.ts'
import { treeOf } from './codec-tree.ts'
import { TooLargeError } from './errors.ts'

/** How `encode` and chunks treat what they are given. */
export interface EncodeOptions {
  /**
   * Replace what cannot travel — functions, symbols, promises, sockets — by a marker of class `Dropped`
   * (`{ $dropped: 'function onClick' }`) instead of refusing. Default false. Limits are kept either way.
   */
  readonly lossy?: boolean | undefined
  readonly limits?: Partial<CodecLimits> | undefined
  /** What the value is called in the paths of errors. Default `value`. */
  readonly name?: string | undefined
}

export interface WriteOptions {
  readonly limits: CodecLimits
  readonly lossy: boolean
  readonly name: string
}

const PLAIN_OPTIONS: WriteOptions = { limits: limitsFrom(undefined), lossy: false, name: 'value' }

export function writeOptionsFrom(options: EncodeOptions | undefined): WriteOptions {
  if (options === undefined) return PLAIN_OPTIONS
  return { limits: limitsFrom(options.limits), lossy: options.lossy ?? false, name: options.name ?? 'value' }
}

/** The part of cbor-x's Encoder we use; `mode` and `useBuffer` are missing in its types. */
interface CborEncoder {
  /** Gives the buffer it writes to, and in it where the item is. */
  encode(value: unknown, mode: number): Buffer & { start: number; end: number }
  useBuffer(buffer: Uint8Array): void
}

// `variableMapSize`: keys come from Object.keys and headers are as short as they can be. No records but ours, no sharing,
// no packing: every item stands alone.
const encoder = new Encoder({
  mapsAsObjects: true,
  tagUint8Array: true,
  useRecords: false,
  variableMapSize: true,
}) as unknown as CborEncoder
/** cbor-x's REUSE_BUFFER_MODE, its buffer instead of a view of it, and RESET_BUFFER_MODE, the next item overwrites this one
 * (not exported by this build). */
const REUSE: number = 512 | 1024
/** A buffer at rest: room for the usual value. */
const FRESH: number = 64 * 1024
/** A larger one is kept up to this, which is a frame of 1 MiB and what is around it. */
const MAX_KEPT: number = 1024 * 1024 + FRESH

/** Where an item is to go. */
export interface Place {
  /** Replaced by a larger one with the same beginning when it is too short. */
  buffer: Buffer
  /** What stands before this is kept. */
  at: number
}

/** How many data items the last value written was. */
export let writtenItems = 0

// Calls so far, and now open. A call within another (a getter that encodes) may have written over the outer one's bytes.
let calls = 0
let open = 0

/**
 * Encodes one value as one CBOR item to `place` and gives its size; to move on is the caller's part. With `shapes` the item
 * may refer to key lists of items written before it.
 * @throws NotTransferableError, TooLargeError; what is behind the place is garbage then
 */
export function writeInto(value: unknown, options: WriteOptions, place: Place, shapes?: Shapes): number {
  const call = ++calls
  // Within another call the other's key lists may never reach the reader.
  const by = open === 0 ? shapes : undefined
  const defined = by === undefined ? 0 : by.count
  open++
  try {
    const start = place.at
    const end = writePlain(value, options.limits, place.buffer, start, by)
    if (end >= 0 && calls === call) {
      const buffer = takePlainBuffer()
      writtenItems = plainItems
      checkSize(end - start, options)
      place.buffer = buffer
      return end - start
    }
    by?.undefine(defined)
    return writeTree(value, options, place, by)
  } catch (error) {
    by?.undefine(defined)
    throw error
  } finally {
    open--
  }
}

/** The slow way, by cbor-x. The place is looked at when the tree is made: getters may have moved it. */
function writeTree(value: unknown, options: WriteOptions, place: Place, shapes: Shapes | undefined): number {
  const { tree, items } = treeOf(value, options, shapes)
  writtenItems = items
  const target = encoder.encode(tree, REUSE)
  const size = target.end - target.start
  // It keeps the largest buffer it ever needed.
  if (target.length > MAX_KEPT) encoder.useBuffer(Buffer.allocUnsafeSlow(FRESH))
  checkSize(size, options)
  const { at } = place
  if (at + size > place.buffer.length) {
    const larger = Buffer.allocUnsafeSlow(Math.max(at + size, Math.min(place.buffer.length * 2, FRESH)))
    place.buffer.copy(larger, 0, 0, at)
    place.buffer = larger
  }
  target.copy(place.buffer, at, target.start, target.end)
  return size
}

function checkSize(size: number, { limits, name }: WriteOptions): void {
  if (size > limits.bytes) throw new TooLargeError(`${name} takes ${size} bytes (limit ${limits.bytes})`, name)
}

const home: Place = { buffer: Buffer.allocUnsafeSlow(FRESH), at: 0 }

/**
 * Encodes one value as one CBOR item. The bytes hold until the next call.
 * @throws NotTransferableError, TooLargeError
 */
export function writeItem(value: unknown, options: WriteOptions): { readonly bytes: Uint8Array } {
  const size = writeInto(value, options, home)
  const bytes = home.buffer.subarray(0, size)
  if (home.buffer.length > MAX_KEPT) home.buffer = Buffer.allocUnsafeSlow(FRESH)
  return { bytes }
}
