// Numbers that collide: the one way in which a Map or Set that is taken from a peer could be slow.
//
// The engine finds strings and objects by hashes that nobody outside knows, but the hash of a number follows from the number
// alone. Who picks them so that all fall into one bucket makes 30 000 of them (150 KB) take seconds to put into a Set, and
// 130 000 minutes. What is counted here is how many of a Map's keys or a Set's members share a bucket.

import { LITTLE_ENDIAN } from './codec-tags.ts'
import { TooLargeError } from './errors.ts'

/** A Map or Set up to this size is not looked at: at its worst it is slow enough only in numbers the limit of items forbids. */
const LOOKED_AT = 64
/** The engine has two entries a bucket on average, at most; of well-spread ones no bucket gets half as many as this. */
const MOST = 32

const double = new Float64Array(1)
const halves = new Uint32Array(double.buffer)
const LOW = LITTLE_ENDIAN ? 0 : 1

/** The buckets of one Map or Set. */
export class Buckets {
  /** Of a Map only the keys count. */
  readonly keysOnly: boolean
  readonly #counts: Uint8Array

  constructor(size: number, keysOnly: boolean) {
    this.keysOnly = keysOnly
    this.#counts = new Uint8Array(2 ** Math.ceil(Math.log2(size)) / 2)
  }

  /** False when too many have come to the bucket of this one. */
  add(value: number | bigint): boolean {
    const counts = this.#counts
    const bucket = hash(value) & (counts.length - 1)
    return ++counts[bucket]! <= MOST
  }
}

/** The buckets to count for a Map or Set of this size; undefined where it does not matter. */
export function bucketsFor(size: number, keysOnly: boolean): Buckets | undefined {
  return size > LOOKED_AT ? new Buckets(size, keysOnly) : undefined
}

/** True when these hold numbers that collide. */
export function collides(size: number, values: Iterable<unknown>): boolean {
  const buckets = bucketsFor(size, false)
  if (buckets === undefined) return false
  for (const value of values) {
    if ((typeof value === 'number' || typeof value === 'bigint') && !buckets.add(value)) return true
  }
  return false
}

/** The same as a refusal, where `what` says what it is of. */
export function collision(what: string, path: string): TooLargeError {
  return new TooLargeError(`${what} holds numbers that collide: more than ${MOST} of them share a bucket`, path)
}

/** V8's hash of a number: ComputeUnseededHash for what is an int32, ComputeLongHash for all others (src/utils/utils.h). */
function hash(value: number | bigint): number {
  if (typeof value === 'bigint') {
    const digit = BigInt.asUintN(64, value < 0n ? -value : value)
    return longHash(Number(digit >> 32n), Number(digit & 0xffff_ffffn))
  }
  if ((value | 0) !== value) {
    double[0] = value
    return longHash(halves[1 - LOW]!, halves[LOW]!)
  }
  let h = value | 0
  h = (~h + (h << 15)) | 0
  h ^= h >>> 12
  h = (h + (h << 2)) | 0
  h ^= h >>> 4
  h = Math.imul(h, 2057)
  h ^= h >>> 16
  return h & 0x3fff_ffff
}

function longHash(high: number, low: number): number {
  // (h << 18) - h - 1
  let hi = ((high << 18) | (low >>> 14)) >>> 0
  let lo = (low << 18) >>> 0
  const lower = lo - low - 1
  hi = (hi - high + Math.floor(lower / 0x1_0000_0000)) >>> 0
  lo = lower >>> 0
  // h ^ (h >> 31)
  lo = (lo ^ ((hi << 1) | (lo >>> 31))) >>> 0
  hi = (hi ^ (hi >>> 31)) >>> 0
  // h * 21
  const product = lo * 21
  hi = (Math.imul(hi, 21) + Math.floor(product / 0x1_0000_0000)) >>> 0
  lo = product >>> 0
  // h ^ (h >> 11)
  lo = (lo ^ ((hi << 21) | (lo >>> 11))) >>> 0
  hi = (hi ^ (hi >>> 11)) >>> 0
  // h + (h << 6)
  const sum = lo + ((lo << 6) >>> 0)
  hi = (hi + ((hi << 6) | (lo >>> 26)) + Math.floor(sum / 0x1_0000_0000)) >>> 0
  lo = sum >>> 0
  // h ^ (h >> 22)
  lo ^= (hi << 10) | (lo >>> 22)
  return lo & 0x3fff_ffff
}
