// Values to bytes: the pre-pass, then cbor-x.

import { Encoder } from 'cbor-x/index-no-eval'
import type { CodecLimits } from './codec-limits.ts'
import { limitsFrom } from './codec-limits.ts'
import { type PlainTally, isPlain } from './codec-plain.ts'
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

/** The encoded item: bytes that hold until the next `writeItem`, and how many data items they are. */
export interface Written {
  readonly bytes: Uint8Array
  readonly items: number
}

/** The part of cbor-x's Encoder we use; `mode` and `useBuffer` are missing in its types. */
interface CborEncoder {
  encode(value: unknown, mode: number): Uint8Array
  useBuffer(buffer: Uint8Array): void
  structures: { nextId?: number }
}

const SHARED_OPTIONS = { mapsAsObjects: true, tagUint8Array: true } as const
// `variableMapSize`: keys come from Object.keys and headers are as short as they can be. No records, no sharing, no
// packing: every item stands alone.
const encoder = new Encoder({ ...SHARED_OPTIONS, useRecords: false, variableMapSize: true }) as unknown as CborEncoder
/** cbor-x's RESET_BUFFER_MODE (not exported by this build): the next item overwrites this one. */
const REUSE = 1024
/** cbor-x keeps the largest buffer it ever needed; above this it gets a small one back. */
const MAX_KEPT: number = 1024 * 1024
const FRESH: number = 64 * 1024

// Calls into cbor-x so far, and now open. A call within another (a getter that encodes) spoils the outer one's buffer.
let calls = 0
let open = 0

/**
 * Encodes one value as one CBOR item. With `shapes` the item may refer to key lists of items written before it.
 * @throws NotTransferableError, TooLargeError; `shapes` must be thrown away then
 */
export function writeItem(value: unknown, options: WriteOptions, shapes?: Shapes): Written {
  // Within another call the other's key lists may never reach the reader.
  const by = shapes !== undefined && open === 0 ? shapes : undefined
  const tally: PlainTally = { items: 0, text: false }
  let bytes: Uint8Array | undefined
  if (isPlain(value, options.limits, tally, false)) bytes = tryWrite(value, options, tally, by)
  bytes ??= write(treeOf(value, options, tally), by?.encoder ?? encoder)
  if (bytes.byteLength > options.limits.bytes) {
    throw new TooLargeError(
      `${options.name} takes ${bytes.byteLength} bytes (limit ${options.limits.bytes})`,
      options.name,
    )
  }
  return { bytes, items: tally.items }
}

/** Undefined when what came out is not the value, and the slow way, which reads each field once, must be taken. */
function tryWrite(
  value: unknown,
  options: WriteOptions,
  tally: PlainTally,
  shapes: Shapes | undefined,
): Uint8Array | undefined {
  const call = calls + 1
  try {
    const bytes = write(value, shapes?.encoder ?? encoder)
    if (calls === call && (!tally.text || !hasLoneSurrogate(bytes) || isPlain(value, options.limits, tally, true)))
      return bytes
  } catch {
    // The value changed under cbor-x's hands: a getter, a proxy.
  }
  shapes?.forget()
  return undefined
}

function write(tree: unknown, by: CborEncoder): Uint8Array {
  calls++
  open++
  try {
    const bytes = by.encode(tree, REUSE)
    if (bytes.buffer.byteLength > MAX_KEPT) by.useBuffer(Buffer.allocUnsafeSlow(FRESH))
    return bytes
  } finally {
    open--
  }
}

/** A surrogate written alone is ED A0..BF; other bytes (of binary data, of numbers) may look like it. */
function hasLoneSurrogate(bytes: Uint8Array): boolean {
  for (let i = bytes.indexOf(0xed); i >= 0; i = bytes.indexOf(0xed, i + 1)) if (bytes[i + 1]! >= 0xa0) return true
  return false
}

/**
 * Key lists of the objects in one chunk. An object with the keys of an earlier one is written as their number and its
 * values: half the time to read, two thirds of the bytes.
 */
export class Shapes {
  #encoder: CborEncoder | undefined

  /** cbor-x's sequential mode: definitions stand where they are first used, and hold from there on. */
  get encoder(): CborEncoder {
    return (this.#encoder ??= new Encoder({ ...SHARED_OPTIONS, sequential: true }) as unknown as CborEncoder)
  }

  /** Nothing repeats: each object defines its own list, which costs more than it saves. */
  get isBarren(): boolean {
    return (this.#encoder?.structures.nextId ?? 0) > MAX_SHAPES
  }

  /** What was written last did not get into the chunk, and with it perhaps a definition. Later ones take its number. */
  forget(): void {
    this.#encoder = undefined
  }
}

/** Real records have a handful of shapes; cbor-x numbers up to 256 and then begins anew. */
const MAX_SHAPES = 64
