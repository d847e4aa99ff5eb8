// Values ⇄ CBOR: what errand puts on a wire, on a disk and through a pipe.
//
// cbor-x reads and writes; this module makes it safe, true and fast. What is plain is looked at and written in one go
// (codec-plain). All else is put into tags where cbor-x would get it wrong (codec-tree), and cbor-x writes that. Before
// reading, a linear scan refuses what no encoder of ours writes (codec-guard) and reads all text on its way (codec-text);
// what remains is read by cbor-x, with handlers of our own (codec-reader). Small plain values are read in one go, in the
// same way (codec-small).
//
// An item on the wire is RFC 8949 CBOR with definite lengths. Text is valid UTF-8. Keys of maps are text, unless the map
// has tag 259. Integers of 64 bits are BigInts, shorter ones and floats are numbers. Byte strings appear only under a tag.
// Simple values: false, true, null, undefined. Tags, and no others:
//
// | tag | content | is |
// |---|---|---|
// | 1 | number | Date: seconds since 1970; NaN = an invalid Date |
// | 2, 3 | bytes, at most 1024 | BigInt n; -1 - n |
// | 28 | container or tagged container | the n-th (from 0) object of this item that is referred to again |
// | 29 | unsigned integer | that object again; may stand inside it (cycle) |
// | 32 | text, ASCII | URL |
// | 64, 68, 69, 70, 71, 72, 77, 78, 79, 84, 85, 86 | bytes | Uint8Array, Uint8Clamped-, Uint16-, Uint32-, BigUint64-, Int8-, Int16-, Int32-, BigInt64-, Float16-, Float32-, Float64Array (RFC 8746, little-endian) |
// | 258 | array | Set |
// | 259 | map, keys of any kind | Map |
// | 1280 | 0 | -0 |
// | 1281 | bytes | text that UTF-8 or its decoders change (lone surrogate, leading U+FEFF): UTF-16LE |
// | 1282 | text, pattern at most 1024 units | RegExp as `/pattern/flags`, as it prints itself |
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
// Limits bind both sides: depth 64, 262 144 items, 16 MiB, BigInt 8 192 bits, RegExp 1 024 units (codec-limits). What takes
// long to make counts for several items (codec-cost); numbers that collide are refused in Maps and Sets (codec-hash).

import { ownCopy } from './codec-chunk.ts'
import type { CodecLimits } from './codec-limits.ts'
import { limitsFrom } from './codec-limits.ts'
import { readItem } from './codec-reader.ts'
import type { EncodeOptions, Place } from './codec-writer.ts'
import { writeInto, writeOptionsFrom } from './codec-writer.ts'

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

/** How bytes are read. */
export interface DecodeOptions {
  /** What a value may be at most. Default: {@link DEFAULT_LIMITS}. */
  readonly limits?: Partial<CodecLimits> | undefined
  /**
   * True: every decoded typed array and DataView has memory of its own. Default false: those above 4 KiB are views of
   * the input — they keep it alive, show its neighbourhood through `.buffer`, and change with it — and Uint8Arrays of 65 to
   * 512 bytes share blocks of 4 KiB with each other, which cannot be transferred. Pass true for what is handed to foreign
   * code or read from bytes that somebody else will read again.
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
 * @example decode(encode(new Map([['at', new Date(0)]]))) // a Map with a Date
 */
export function encode(value: unknown, options?: EncodeOptions): Uint8Array<ArrayBuffer> {
  // One whose memory somebody transferred after all has length 0.
  if (block.buffer.length === 0) block = newBlock()
  const place = block
  const { buffer } = place
  const size = writeInto(value, writeOptionsFrom(options), place)
  const { buffer: written, at: start } = place
  if (written === buffer && size <= SHARE_UP_TO) {
    place.at = start + size
    return new Uint8Array(buffer.buffer as ArrayBuffer, start, size)
  }
  if (size <= SHARE_UP_TO) {
    // It did not fit any more.
    block = newBlock()
    written.copy(block.buffer, 0, start, start + size)
    block.at = size
    return new Uint8Array(block.buffer.buffer as ArrayBuffer, 0, size)
  }
  place.buffer = buffer
  // What hardly fits into its buffer may keep it.
  if (size > OWN_FROM && size * 1.25 > written.length) return new Uint8Array(written.buffer as ArrayBuffer, start, size)
  return ownCopy(written, start, start + size)
}

/**
 * The value of one CBOR item. Runs nothing, changes no prototype, takes time linear in the input, and leaves nothing
 * half-understood: what is not wholly in the table above is refused, text that is not UTF-8 too.
 * @throws MalformedError, TooLargeError — never anything else, whatever the bytes
 */
export function decode(bytes: Uint8Array, options?: DecodeOptions): unknown {
  return readItem(bytes, limitsFrom(options?.limits), options?.copy ?? false)
}

// Most items are short, and a buffer of its own costs more than encoding one: they share blocks.
const BLOCK: number = 16 * 1024
const SHARE_UP_TO: number = 2 * 1024
const OWN_FROM: number = 128 * 1024
const newBlock = (): Place => ({ buffer: Buffer.allocUnsafeSlow(BLOCK), at: 0 })
let block: Place = newBlock()
