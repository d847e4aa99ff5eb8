// Values ⇄ CBOR: what errand puts on a wire, on a disk and through a pipe.
//
// cbor-x reads and writes; this module makes it safe and true. Before writing, a look at the value finds what cbor-x gets
// wrong and puts it into tags (codec-plain, codec-tree). Before reading, a linear scan refuses what no encoder of ours
// writes (codec-guard); what remains is read by handlers of our own (codec-reader).
//
// An item on the wire is RFC 8949 CBOR with definite lengths. Text is UTF-8. Keys of maps are text, unless the map has
// tag 259. Integers of 64 bits are BigInts, shorter ones and floats are numbers. Byte strings appear only under a tag.
// Simple values: false, true, null, undefined. Tags, and no others:
//
// | tag | content | is |
// |---|---|---|
// | 1 | number | Date: seconds since 1970; NaN = an invalid Date |
// | 2, 3 | bytes, at most 1024 | BigInt n; -1 - n |
// | 28 | container or tagged container | the n-th (from 0) object of this item that is referred to again |
// | 29 | unsigned integer | that object again; may stand inside it (cycle) |
// | 32 | text | URL |
// | 64, 68, 69, 70, 71, 72, 77, 78, 79, 84, 85, 86 | bytes | Uint8Array, Uint8Clamped-, Uint16-, Uint32-, BigUint64-, Int8-, Int16-, Int32-, BigInt64-, Float16-, Float32-, Float64Array (RFC 8746, little-endian) |
// | 258 | array | Set |
// | 259 | map, keys of any kind | Map |
// | 1280 | 0 | -0 |
// | 1281 | bytes | text that UTF-8 or its decoders change (lone surrogate, leading U+FEFF): UTF-16LE |
// | 1282 | text, pattern at most 1024 units | RegExp as `/pattern/flags` |
// | 1283 | bytes | ArrayBuffer |
// | 1284 | bytes | DataView |
// | 1285 | array: class name or null, then field, value, … | instance of a class; object with a key that a map cannot hold |
// | 1286 | container or tagged container | snapshot of a live object: the same, deep-frozen |
// | 1287 | array: built-in class, own class or null, name or null, message or null, stack or null, count of hidden fields, then field, value, … hidden ones first | Error |
// | 1288 | number | Date in milliseconds since 1970, where seconds in a double are not exact |
//
// A chunk is a sequence of such items, and within it alone two more tags stand for plain objects:
//
// | tag | content | is |
// |---|---|---|
// | 57343 | array: 57344 + n, array of keys, then value, … | an object; its keys are shape n (0..255) from here on |
// | 57344 + n | array: value, … | an object with the keys of shape n |
//
// Limits bind both sides: depth 64, 262 144 items, 16 MiB, BigInt 8 192 bits, RegExp 1 024 units (codec-limits).

import type { CodecLimits } from './codec-limits.ts'
import { limitsFrom } from './codec-limits.ts'
import { readItem } from './codec-reader.ts'
import type { EncodeOptions } from './codec-writer.ts'
import { writeItem, writeOptionsFrom } from './codec-writer.ts'

export { type ChunkWriter, createChunkWriter, decodeChunk } from './codec-chunk.ts'
export { className } from './codec-class.ts'
export {
  CHUNK_SLACK,
  type CodecLimits,
  DEFAULT_LIMITS,
  MAX_BIGINT_BITS,
  MAX_BYTES,
  MAX_DEPTH,
  MAX_ITEMS,
  MAX_REGEXP,
} from './codec-limits.ts'
export type { EncodeOptions } from './codec-writer.ts'

export interface DecodeOptions {
  readonly limits?: Partial<CodecLimits> | undefined
  /**
   * True: every decoded typed array and DataView has memory of its own. Default false: those above 4 KiB are views of
   * the input — they keep it alive, show its neighbourhood through `.buffer`, and change with it. Pass true for what is
   * handed to foreign code or read from bytes that somebody else will read again.
   */
  readonly copy?: boolean | undefined
}

/**
 * One value as one CBOR item that can be decoded alone.
 *
 * Arrives as it was: undefined, -0, NaN, infinities, BigInt, any text, Date, RegExp (without `lastIndex`), URL, Map, Set,
 * ArrayBuffer, DataView, typed arrays, Error with all its fields, cycles and shared references. Arrives as something
 * near: Buffer as Uint8Array; class instances as their own enumerable fields under their class name ({@link className});
 * errors as their nearest built-in class, with their name; boxed primitives as primitives; holes as undefined. Left
 * out: symbol keys, accessors' nature (their value is taken), extra fields of arrays, Maps and Dates. An object with a
 * method `Symbol.for('errand.snapshot')` travels as what that returns and arrives frozen.
 *
 * The bytes may be part of a pool: send or copy them, but do not transfer `.buffer`.
 * @throws NotTransferableError for a function, symbol, promise, … with its path (`value.rows[3].onClick`)
 * @throws TooLargeError beyond a limit, with the path
 */
export function encode(value: unknown, options?: EncodeOptions): Uint8Array<ArrayBuffer> {
  return kept(writeItem(value, writeOptionsFrom(options)).bytes)
}

/**
 * The value of one CBOR item. Runs nothing, changes no prototype, takes time linear in the input, and leaves nothing
 * half-understood: what is not wholly in the table above is refused. Text that is not UTF-8 holds U+FFFD where it is not.
 * @throws MalformedError, TooLargeError — never anything else, whatever the bytes
 */
export function decode(bytes: Uint8Array, options?: DecodeOptions): unknown {
  return readItem(bytes, limitsFrom(options?.limits), options?.copy ?? false)
}

// Most items are short, and a buffer of its own costs more than encoding one: they share blocks.
const BLOCK: number = 16 * 1024
const SHARE_UP_TO: number = 2 * 1024
let block = new Uint8Array(BLOCK)
let used = 0

function kept(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { byteLength } = bytes
  if (byteLength > SHARE_UP_TO) return Uint8Array.prototype.slice.call(bytes) as Uint8Array<ArrayBuffer>
  // A block that somebody transferred after all has length 0 and is replaced.
  if (used + byteLength > block.byteLength) {
    block = new Uint8Array(BLOCK)
    used = 0
  }
  block.set(bytes, used)
  return block.subarray(used, (used += byteLength))
}
