// The first look at foreign bytes: one linear scan that proves an item harmless before cbor-x reads it.
//
// cbor-x alone dies of 350 bytes (a packed table that doubles), hangs on 256 KiB of bignum and half-understands unknown
// tags. Nothing here allocates per item, recurses, or trusts a length before the bytes for it are seen.

import type { CodecLimits } from './codec-limits.ts'
import { MAX_BIGINT_BITS, MAX_REGEXP } from './codec-limits.ts'
import {
  LastKeys,
  extraOfBigint,
  extraOfBytes,
  extraOfRegExp,
  extraOfShape,
  extraOfTag,
  extraOfText,
  extraOfUrl,
} from './codec-cost.ts'
import { type Buckets, bucketsFor, collision } from './codec-hash.ts'
import { KeyList } from './codec-shapes.ts'
import { RECORD, RECORD_DEFINITION, RECORD_SHAPES, TAG, TYPED_ARRAY_TAG } from './codec-tags.ts'
import { nameAt, textAt } from './codec-text.ts'
import { MalformedError, TooLargeError } from './errors.ts'

// CBOR major types, and what may follow a tag as a set of them (bit = major type).
const UINT = 0
const NINT = 1
const BYTES = 2
const TEXT = 3
const ARRAY = 4
const MAP = 5
const TAGGED = 6
const SIMPLE = 7
/** Bytes come only under the tag that says which kind they are: a bare byte string is nobody's value. */
const ANY = 0xff & ~(1 << BYTES)

/** What may follow each tag; 0 = the tag is refused. */
const CONTENT = new Uint8Array(TAG.farDate + 1)
CONTENT[TAG.date] = CONTENT[TAG.farDate] = (1 << UINT) | (1 << NINT) | (1 << SIMPLE)
CONTENT[TAG.bigint] = CONTENT[TAG.negativeBigint] = 1 << BYTES
CONTENT[TAG.shared] = CONTENT[TAG.snapshot] = (1 << ARRAY) | (1 << MAP) | (1 << TAGGED)
CONTENT[TAG.reference] = CONTENT[TAG.negativeZero] = 1 << UINT
CONTENT[TAG.url] = CONTENT[TAG.regexp] = 1 << TEXT
CONTENT[TAG.set] = CONTENT[TAG.object] = CONTENT[TAG.error] = 1 << ARRAY
CONTENT[TAG.map] = 1 << MAP
CONTENT[TAG.text] = CONTENT[TAG.arrayBuffer] = CONTENT[TAG.dataView] = 1 << BYTES
for (const tag of Object.values(TYPED_ARRAY_TAG)) CONTENT[tag] = 1 << BYTES

/** The most that our encoder writes: shared, snapshot, shared, snapshot (one that is passed on), object. */
const MAX_TAGS = 5
const MAX_BIGINT_BYTES = MAX_BIGINT_BITS / 8
/** UTF-8 of the longest pattern, its two slashes and flags; its length in units is checked when it is made. */
const MAX_REGEXP_BYTES = MAX_REGEXP * 3 + 16

/** Where the keys of a container begin, which is with each second item from there on: a plain object, tag 1285, tag 1287. */
const NO_KEYS = -1
const PLAIN_KEYS = 0
const OBJECT_KEYS = 1
const ERROR_KEYS = 6

// Containers open at the moment; index = depth. Shared by all scans: a scan runs to its end without leaving the function.
let leftAbove = new Uint32Array(65)
let sizeAbove = new Uint32Array(65)
let firstKeyAbove = new Int8Array(65)
let bucketsAbove: (Buckets | undefined)[] = []
/** There have been some. */
let bucketed = false
const lastKeys = new LastKeys()

/** What the scans of a source have found, one item after the other. */
export interface Findings {
  /** Items seen. */
  items: number
  /** All text, in the order in which it stands. */
  readonly texts: string[]
  /** The key lists that are defined, likewise. Undefined: records are not allowed here. */
  readonly definitions: KeyList[] | undefined
}

// The lists that hold at this point of the sequence, by their numbers.
const lists: (KeyList | undefined)[] = Array.from({ length: RECORD_SHAPES })

/** Forgets the key lists of the sequence before. */
export function beginSequence(): void {
  lists.fill(undefined)
}

// Where `readCount` and `guardKeys` stopped.
let after = 0

/**
 * Scans the item that begins at `start` and gives the position after it.
 * @param source `bytes` as a Buffer
 * @throws MalformedError, TooLargeError
 */
export function guardItem(
  bytes: Uint8Array,
  source: Buffer,
  start: number,
  end: number,
  limits: CodecLimits,
  findings: Findings,
): number {
  lastKeys.begin()
  try {
    return scan(bytes, source, start, end, limits, findings)
  } finally {
    lastKeys.end()
    if (bucketed) {
      bucketsAbove = []
      bucketed = false
    }
  }
}

function scan(
  bytes: Uint8Array,
  source: Buffer,
  start: number,
  end: number,
  limits: CodecLimits,
  findings: Findings,
): number {
  const { texts } = findings
  if (limits.depth >= leftAbove.length) {
    leftAbove = new Uint32Array(limits.depth + 1)
    sizeAbove = new Uint32Array(limits.depth + 1)
    firstKeyAbove = new Int8Array(limits.depth + 1)
  }
  let position = start
  let items = 1
  let depth = 0
  let size = 1 // of the open container, in items
  let left = 1 // of them still to come
  let firstKey = NO_KEYS // of the open container
  let tag = 0 // the tag just read, and how many in a row
  let tags = 0
  let want = ANY
  let shared = 0
  let buckets: Buckets | undefined // of the open container, where numbers in it might collide
  for (;;) {
    if (position >= end) throw truncated(position)
    const begin = position
    const head = bytes[position++]!
    const major = head >> 5
    let argument = head & 0x1f
    if (argument > 23) {
      if (argument === 24) {
        if (position + 1 > end) throw truncated(position)
        argument = bytes[position++]!
      } else if (argument === 25) {
        if (position + 2 > end) throw truncated(position)
        argument = (bytes[position]! << 8) | bytes[position + 1]!
        position += 2
      } else if (argument === 26) {
        if (position + 4 > end) throw truncated(position)
        argument =
          bytes[position]! * 0x1000000 +
          ((bytes[position + 1]! << 16) | (bytes[position + 2]! << 8) | bytes[position + 3]!)
        position += 4
      } else if (argument === 27 && (major <= NINT || major === SIMPLE)) {
        if (position + 8 > end) throw truncated(position)
        argument = Infinity // only a tag's content asks, and no tag allows that much
        position += 8
      } else {
        throw malformed('indefinite, reserved or 64-bit length', position - 1)
      }
    }
    if (((want >> major) & 1) === 0) throw malformed(tags ? `wrong content of tag ${tag}` : 'untagged bytes', position)
    // Every second item of what has keys is one, and the last item is none.
    const isKey = firstKey >= 0 && (left & 1) === 0 && size - left >= firstKey
    if (isKey && firstKey === PLAIN_KEYS && major !== TEXT) throw malformed('key of an object is not text', position)

    switch (major) {
      case UINT:
        if (tag === TAG.reference && tags > 0 && argument >= shared) throw malformed('reference to nothing', position)
        if (tag === TAG.negativeZero && tags > 0 && argument !== 0) throw malformed('not a zero', position)
        break
      case BYTES:
        if (tag <= TAG.negativeBigint && argument > MAX_BIGINT_BYTES) {
          throw tooLarge(`BigInt of ${argument * 8} bits (limit ${MAX_BIGINT_BITS})`, position)
        }
        if (argument > end - position) throw truncated(position)
        items += tag <= TAG.negativeBigint ? extraOfBigint(argument) : extraOfBytes(argument)
        if (isKey) items += lastKeys.extra(depth, (size - left - firstKey) >> 1, undefined)
        position += argument
        break
      case TEXT: {
        if (tags > 0 && tag === TAG.regexp && argument > MAX_REGEXP_BYTES) throw tooLarge('RegExp', position)
        if (argument > end - position) throw truncated(position)
        const text = isKey ? nameAt(bytes, source, position, argument) : textAt(bytes, source, position, argument)
        if (text === undefined) throw malformed('text that is not UTF-8', position)
        if (isKey && tags === 0) {
          // cbor-x would rename it; we write objects that have it as entries.
          if (firstKey !== PLAIN_KEYS) items += extraOfText(argument)
          else if (text === '__proto__') throw malformed('bare key __proto__', position)
          items += lastKeys.extra(depth, (size - left - firstKey) >> 1, text)
        } else if (tags > 0) {
          if (tag === TAG.regexp) items += extraOfRegExp(text)
          else if (text.length !== argument) throw malformed('a URL that is not ASCII', position)
          else items += extraOfUrl(argument)
        } else items += extraOfText(argument)
        texts.push(text)
        position += argument
        break
      }
      case ARRAY:
      case MAP: {
        const count = major === MAP ? argument * 2 : argument
        if (count > end - position) throw truncated(position)
        let keys = major === MAP ? PLAIN_KEYS : NO_KEYS
        if (tags > 0) {
          if (tag === TAG.map) keys = NO_KEYS
          else if (tag === TAG.object || tag === TAG.error) {
            keys = tag === TAG.error ? ERROR_KEYS : OBJECT_KEYS
            if (count < keys || ((count - keys) & 1) === 1) throw malformed(`wrong length of tag ${tag}`, position)
          }
        }
        items += count
        if (items > limits.items) throw tooLarge(`more than ${limits.items} items`, position)
        if (depth >= limits.depth) throw tooLarge(`nested deeper than ${limits.depth}`, position)
        if (count > 0) {
          sizeAbove[depth] = size
          leftAbove[depth] = left - 1
          firstKeyAbove[depth] = firstKey
          bucketsAbove[depth] = buckets
          depth++
          size = left = count
          firstKey = keys
          buckets = undefined
          if (tags > 0 && (tag === TAG.map || tag === TAG.set)) {
            buckets = bucketsFor(argument, tag === TAG.map)
            bucketed ||= buckets !== undefined
          }
          tags = 0
          want = ANY
          continue
        }
        break
      }
      case TAGGED: {
        if (argument >= RECORD_DEFINITION) {
          if (findings.definitions === undefined || argument >= RECORD + RECORD_SHAPES) {
            throw malformed(`tag ${argument} is not spoken here`, position)
          }
          let count = readCount(bytes, position, end, ARRAY)
          if (argument === RECORD_DEFINITION) {
            count = guardDefinition(bytes, source, after, end, count, findings)
            items += count + extraOfShape(count)
          } else if (count !== lists[argument - RECORD]?.keys.length) {
            throw malformed('a record that does not fit its shape', position)
          }
          position = after
          items += count
          if (items > limits.items) throw tooLarge(`more than ${limits.items} items`, position)
          if (depth >= limits.depth) throw tooLarge(`nested deeper than ${limits.depth}`, position)
          if (count === 0) break
          sizeAbove[depth] = size
          leftAbove[depth] = left - 1
          firstKeyAbove[depth] = firstKey
          bucketsAbove[depth] = buckets
          depth++
          size = left = count
          firstKey = NO_KEYS
          buckets = undefined
          tags = 0
          want = ANY
          continue
        }
        const inner = argument < CONTENT.length ? CONTENT[argument]! : 0
        if (inner === 0) throw malformed(`tag ${argument} is not spoken here`, position)
        if (++tags > MAX_TAGS) throw malformed('too many tags on one item', position)
        if (tags > 1 && tag === TAG.shared && (argument === TAG.shared || argument === TAG.reference)) {
          throw malformed('shared mark on a mark', position)
        }
        if (argument === TAG.shared) shared++
        items += extraOfTag(argument)
        tag = argument
        want = inner
        continue
      }
      case SIMPLE:
        // false, true, null, undefined, floats of 2, 4, 8 bytes; the rest is cbor-x's packing or nobody's.
        if (head < 0xf4 || head === 0xf8) throw malformed(`simple value ${argument}`, position)
        break
    }

    if (items > limits.items) throw tooLarge(`more than ${limits.items} items`, position)
    if (
      buckets !== undefined &&
      (!buckets.keysOnly || (left & 1) === 0) &&
      (tags === 0 ? major <= NINT || head >= 0xf9 : tag <= TAG.negativeBigint && tag !== TAG.date) &&
      !buckets.add(
        major === UINT && argument < Infinity
          ? argument
          : major === NINT && argument < Infinity
            ? -1 - argument
            : numberAt(bytes, begin, tag),
      )
    ) {
      throw collision('the value', `byte ${position}`)
    }

    tags = 0
    want = ANY
    left--
    while (left === 0) {
      if (depth === 0) {
        findings.items += items
        return position
      }
      depth--
      size = sizeAbove[depth]!
      left = leftAbove[depth]!
      buckets = bucketsAbove[depth]
      firstKey = firstKeyAbove[depth]!
    }
  }
}

/** The float or 64-bit integer at `at`; or of a BigInt in bytes, under the given tag, the last 64 bits, which are enough. */
function numberAt(bytes: Uint8Array, at: number, tag: number): number | bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (bytes[at]!) {
    case 0xf9:
      return view.getFloat16(at + 1)
    case 0xfa:
      return view.getFloat32(at + 1)
    case 0xfb:
      return view.getFloat64(at + 1)
    case 0x1b:
      return view.getBigUint64(at + 1)
    case 0x3b:
      return -1n - view.getBigUint64(at + 1)
  }
  const length = readCount(bytes, at, bytes.length, BYTES)
  let digit = 0n
  for (let i = Math.max(after, after + length - 8); i < after + length; i++) digit = (digit << 8n) | BigInt(bytes[i]!)
  return tag === TAG.bigint ? digit : -1n - digit
}

/** [number of the shape, [key, …], value, …]: notes the shape and gives the number of values; `after` is where they begin. */
function guardDefinition(
  bytes: Uint8Array,
  source: Buffer,
  start: number,
  end: number,
  count: number,
  findings: Findings,
): number {
  const number = readCount(bytes, start, end, UINT) - RECORD
  if (!(number >= 0 && number < RECORD_SHAPES)) throw malformed('a shape with a wrong number', after)
  const size = readCount(bytes, after, end, ARRAY)
  if (size !== count - 2) throw malformed('a record that does not fit its shape', after)
  if (size > end - after) throw truncated(after)
  const keys: string[] = []
  for (let i = 0; i < size; i++) {
    const length = readCount(bytes, after, end, TEXT)
    if (length > end - after) throw truncated(after)
    const key = nameAt(bytes, source, after, length)
    if (key === undefined) throw malformed('text that is not UTF-8', after)
    if (key === '__proto__') throw malformed('bare key __proto__', after)
    keys.push(key)
    findings.texts.push(key)
    after += length
  }
  const list = new KeyList(number, keys)
  lists[number] = list
  findings.definitions!.push(list)
  return size
}

/** The argument of a head of the given major type, at most 32 bits; `after` is what follows it. */
function readCount(bytes: Uint8Array, position: number, end: number, major: number): number {
  if (position >= end) throw truncated(position)
  const head = bytes[position]!
  if (head >> 5 !== major) throw malformed('wrong content of a record', position)
  const short = head & 0x1f
  if (short < 24) {
    after = position + 1
    return short
  }
  if (short > 26) throw malformed('indefinite, reserved or 64-bit length', position)
  const size = 1 << (short - 24)
  if (size > end - position - 1) throw truncated(position)
  let count = 0
  for (let i = 1; i <= size; i++) count = count * 256 + bytes[position + i]!
  after = position + 1 + size
  return count
}

function truncated(position: number): MalformedError {
  return new MalformedError(`not a value: the bytes end early, at byte ${position}`)
}

function malformed(what: string, position: number): MalformedError {
  return new MalformedError(`not a value: ${what}, before byte ${position}`)
}

function tooLarge(what: string, position: number): TooLargeError {
  return new TooLargeError(`the value is too large to take: ${what}, before byte ${position}`, `byte ${position}`)
}
