// Values to bytes: the pre-pass, then cbor-x.

import { Encoder } from 'cbor-x/index-no-eval'
import type { CodecLimits } from './codec-limits.ts'
import { limitsFrom } from './codec-limits.ts'
import { isPlain } from './codec-plain.ts'
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
  bytes: Uint8Array
  items: number
}

// `variableMapSize`: keys come from Object.keys and headers are as short as they can be. No records, no sharing, no
// packing: every item stands alone and the reader's guard knows all of it.
const encoder = new Encoder({ useRecords: false, variableMapSize: true, tagUint8Array: true }) as unknown as {
  encode(value: unknown, mode: number): Uint8Array
  useBuffer(buffer: Uint8Array): void
}
/** cbor-x's RESET_BUFFER_MODE (not exported by this build): the next item overwrites this one. */
const REUSE = 1024
/** cbor-x keeps the largest buffer it ever needed; above this it gets a small one back. */
const MAX_KEPT = 1024 * 1024
const FRESH: number = 64 * 1024

const written: Written = { bytes: new Uint8Array(), items: 0 }
// Counts calls into cbor-x: one in the middle of another (a getter that encodes) spoils the outer one's buffer.
let calls = 0

/**
 * Encodes one value as one CBOR item.
 * @throws NotTransferableError, TooLargeError
 */
export function writeItem(value: unknown, options: WriteOptions): Written {
  let bytes: Uint8Array | undefined
  const tally = { items: 0 }
  if (isPlain(value, options.limits, tally)) bytes = tryWrite(value)
  bytes ??= write(treeOf(value, options, tally))
  if (bytes.byteLength > options.limits.bytes) {
    throw new TooLargeError(
      `${options.name} takes ${bytes.byteLength} bytes (limit ${options.limits.bytes})`,
      options.name,
    )
  }
  written.bytes = bytes
  written.items = tally.items
  return written
}

/** Undefined when the value changed under cbor-x's hands (a getter, a proxy): the slow way reads each field once. */
function tryWrite(value: unknown): Uint8Array | undefined {
  const call = calls + 1
  try {
    const bytes = write(value)
    return calls === call ? bytes : undefined
  } catch {
    return undefined
  }
}

function write(tree: unknown): Uint8Array {
  calls++
  const bytes = encoder.encode(tree, REUSE)
  if (bytes.buffer.byteLength > MAX_KEPT) encoder.useBuffer(Buffer.allocUnsafeSlow(FRESH))
  return bytes
}
