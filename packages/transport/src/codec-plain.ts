// Plain values to bytes: looked at and written in one go.
//
// Nearly everything is plain, and cbor-x takes twice as long over it. So what is written here is what cbor-x would write,
// byte for byte but for -2^64 (codec-plain.test.ts holds the two together). Each field is read once and next to nothing is
// allocated. What is not plain is never an error here: it goes through codec-tree.ts and cbor-x, which find out what is the
// matter and say where.

import { types } from 'node:util'
import { CLASS, SNAPSHOT } from './codec-class.ts'
import { LastKeys, extraOfBytes, extraOfShape, extraOfTag, extraOfText } from './codec-cost.ts'
import { collides } from './codec-hash.ts'
import type { CodecLimits } from './codec-limits.ts'
import type { Shapes, Step } from './codec-shapes.ts'
import { LITTLE_ENDIAN, RECORD, RECORD_DEFINITION, TAG, TYPED_ARRAY_TAG } from './codec-tags.ts'

const UINT = 0x00
const NINT = 0x20
const BYTES = 0x40
const TEXT = 0x60
const ARRAY = 0x80
const MAP = 0xa0

const UINT8: number = TYPED_ARRAY_TAG.Uint8Array!
const UINT8_EXTRA: number = extraOfTag(UINT8)
const MAP_EXTRA: number = extraOfTag(TAG.map)
const SET_EXTRA: number = extraOfTag(TAG.set)

const MAX_UINT64 = 0xffff_ffff_ffff_ffffn
const MIN_NINT64: bigint = -1n - MAX_UINT64

/** Where readers leave text above 64 bytes to a TextDecoder, it swallows a leading byte order mark; 3 bytes a unit at most. */
const BOM_LOSS = 16
/** Up to this length writing ASCII by hand is faster than asking the engine. */
const SHORT_TEXT = 48
/** The longest head. */
const HEAD = 9

// V8 compiles all that reads and writes bytes as if memory never went back, and when the first of it does throws all of that
// away, in the middle of the work. So the first goes back when nothing has been compiled yet; and here, for this is part of
// every isolate: a bundle leaves out the modules it has no use for.
new ArrayBuffer(1).transfer(0)

// State of the one writing that may run; a getter that calls `encode` finds `writing` set and takes the slow way.
let writing = false
const NOWHERE: Buffer = Buffer.alloc(0)
let out: Buffer = NOWHERE
let at = 0
let itemsLeft = 0
let bytesLeft = 0
let maxDepth = 0
let shaping: Shapes | undefined
const lastKeys = new LastKeys()
// Objects met, to notice cycles and sharing: a short list as long as it is short, then a Set.
const FEW = 12
const few: (object | undefined)[] = Array.from({ length: FEW })
let fewCount = 0
let many: Set<object> | undefined

const { get: byteLengthOf } = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  'byteLength',
) as { readonly get: (this: Uint8Array) => number }

const float = new Float64Array(1)
const floatBytes = new Uint8Array(float.buffer)

/** The items of what was written last. */
export let plainItems = 0

/** Where it was written: the buffer that was given, or a larger one with the same beginning. */
export function takePlainBuffer(): Buffer {
  const taken = out
  out = NOWHERE
  return taken
}

/**
 * Writes `value` into `buffer` from `start` on and gives the position behind it; -1 when it is not plain, and then what is
 * behind `start` is garbage.
 *
 * Plain are strings, numbers, 64-bit BigInts, booleans, null, undefined, Date, Uint8Array, and bare objects, arrays, Maps
 * and Sets of them — each object once, within the limits, no key or text that CBOR cannot carry.
 */
export function writePlain(
  value: unknown,
  limits: CodecLimits,
  buffer: Buffer,
  start: number,
  shapes?: Shapes,
): number {
  if (writing) return -1
  for (const _ in Object.prototype) return -1 // polluted: what a loop over an object gives is not its own
  lastKeys.begin()
  writing = true
  out = buffer
  at = start
  itemsLeft = limits.items - 1
  bytesLeft = limits.bytes
  maxDepth = limits.depth
  shaping = shapes
  const defined = shapes?.count ?? 0
  let done = false
  try {
    done = put(value, 0)
  } catch {
    // A getter or a proxy threw: the slow way says where.
  } finally {
    writing = false
    plainItems = limits.items - itemsLeft
    for (let i = 0; i < fewCount; i++) few[i] = undefined
    fewCount = 0
    many = undefined
    shaping = undefined
    lastKeys.end()
    if (!done) shapes?.undefine(defined)
  }
  if (done) return at
  out = NOWHERE
  return -1
}

function put(value: unknown, depth: number): boolean {
  room(HEAD)
  switch (typeof value) {
    case 'string': {
      const start = at
      if (!putText(value)) return false
      // Its head is of two bytes where it begins to matter.
      return (itemsLeft -= extraOfText(at - start - 2)) >= 0
    }
    case 'number':
      return putNumber(value)
    case 'boolean':
      out[at++] = value ? 0xf5 : 0xf4
      return true
    case 'undefined':
      out[at++] = 0xf7
      return true
    case 'bigint':
      return putBigint(value)
    case 'object':
      if (value !== null) return putObject(value, depth + 1)
      out[at++] = 0xf6
      return true
    default:
      return false
  }
}

function putObject(object: object, depth: number): boolean {
  if (!isFirst(object)) return false
  switch (Object.getPrototypeOf(object)) {
    case Object.prototype:
    case null:
      if (depth > maxDepth || !isData(object)) return false
      return shaping === undefined ? putFields(object as Fields, depth) : putRecord(object as Fields, depth)
    case Array.prototype:
      return depth <= maxDepth && Array.isArray(object) && putArray(object, depth)
    case Map.prototype:
      return depth <= maxDepth && putMap(object as Map<unknown, unknown>, depth)
    case Set.prototype:
      return depth <= maxDepth && putSet(object as Set<unknown>, depth)
    case Uint8Array.prototype:
      return putBytes(object as Uint8Array)
    case Date.prototype:
      return putDate(Date.prototype.getTime.call(object))
    default:
      return false
  }
}

type Fields = { readonly [key: string]: unknown }

/** Neither a live object nor an instance of a class that was decoded. */
function isData(object: { readonly [CLASS]?: unknown; readonly [SNAPSHOT]?: unknown }): boolean {
  return object[SNAPSHOT] === undefined && object[CLASS] === undefined
}

function putFields(object: Fields, depth: number): boolean {
  const start = at++
  let count = 0
  for (const key in object) {
    itemsLeft -= 2 + lastKeys.extra(depth, count++, key)
    if (itemsLeft < 0 || !putKey(key) || !put(object[key], depth)) return false
  }
  if (count < 24) {
    out[start] = MAP | count
    return true
  }
  // The head is longer than was thought.
  room(HEAD)
  const end = at
  const more = headSize(count) - 1
  out.copyWithin(start + 1 + more, start + 1, end)
  at = start
  head(MAP, count)
  at = end + more
  return true
}

/** Like text, but for the names that cbor-x changes. */
function putKey(key: string): boolean {
  room(HEAD)
  return !isAwkwardKey(key) && putText(key)
}

/** An object with a shape: its keys are looked at first, for its head says whether the shape is new. */
function putRecord(object: Fields, depth: number): boolean {
  const shapes = shaping!
  if (shapes.isBarren) return putFields(object, depth)
  let step: Step = shapes.root
  let count = 0
  for (const key in object) {
    const next = step.to(key) ?? shapes.add(step, key)
    if (next === undefined) return putFields(object, depth) // no key for a shape, or too many of them
    step = next
    count++
  }
  itemsLeft -= step.number >= 0 ? count : count * 2 + extraOfShape(count)
  if (itemsLeft < 0) return false
  if (step.number >= 0) {
    head(0xc0, RECORD + step.number)
    head(ARRAY, count)
  } else {
    const keys = step.keys()
    shapes.define(step)
    head(0xc0, RECORD_DEFINITION)
    head(ARRAY, count + 2)
    room(2 * HEAD)
    head(UINT, RECORD + step.number)
    head(ARRAY, count)
    for (const key of keys) if (!putKey(key)) return false
  }
  // A field may be gone, or another be there, when its turn comes: getters do as they please.
  for (const key in object) {
    count--
    if (!put(object[key], depth)) return false
  }
  return count === 0
}

function putArray(array: readonly unknown[], depth: number): boolean {
  const { length } = array
  // Of a Proxy it may be anything.
  if (length >>> 0 !== length || (itemsLeft -= length) < 0) return false
  head(ARRAY, length)
  for (let i = 0; i < length; i++) if (!put(array[i], depth)) return false
  return true
}

function putMap(map: Map<unknown, unknown>, depth: number): boolean {
  const { size } = map
  if ((itemsLeft -= size * 2 + MAP_EXTRA) < 0 || collides(size, map.keys())) return false
  head(0xc0, TAG.map)
  head(MAP, size)
  let count = 0
  for (const entry of map) {
    count++
    if (!put(entry[0], depth) || !put(entry[1], depth)) return false
  }
  return count === size
}

function putSet(set: Set<unknown>, depth: number): boolean {
  const { size } = set
  if ((itemsLeft -= size + SET_EXTRA) < 0 || collides(size, set)) return false
  head(0xc0, TAG.set)
  head(ARRAY, size)
  let count = 0
  for (const member of set) {
    count++
    if (!put(member, depth)) return false
  }
  return count === size
}

function putBytes(bytes: Uint8Array): boolean {
  // What it says of itself may be wrong, and then what was here before would be sent.
  if (!types.isUint8Array(bytes)) return false
  const byteLength = byteLengthOf.call(bytes)
  itemsLeft -= UINT8_EXTRA + extraOfBytes(byteLength)
  if (itemsLeft < 0 || (bytesLeft -= byteLength) < 0 || (byteLength === 0 && isPerhapsGone(bytes))) return false
  room(HEAD + byteLength)
  head(0xc0, UINT8)
  head(BYTES, byteLength)
  out.set(bytes, at)
  at += byteLength
  return true
}

/** One whose buffer was given away, or has shrunk, looks empty; the slow way says so. */
function isPerhapsGone(bytes: Uint8Array): boolean {
  const buffer = bytes.buffer as ArrayBuffer
  return buffer.detached || buffer.resizable
}

function putDate(time: number): boolean {
  if (!isExactInSeconds(time)) return false
  room(1 + HEAD)
  const seconds = time / 1000
  out[at++] = 0xc0 | TAG.date
  if (seconds >>> 0 === seconds) put32(0x1a, seconds)
  else putFloat(seconds)
  return true
}

function putNumber(value: number): boolean {
  if (value >>> 0 === value) {
    if (value === 0 && 1 / value < 0) return false
    head(UINT, value)
  } else if (value < 0 && value >= -0x1_0000_0000 && Math.floor(value) === value) head(NINT, -1 - value)
  else putFloat(value)
  return true
}

function putFloat(value: number): void {
  float[0] = value
  const bytes = floatBytes
  const o = out
  o[at] = 0xfb
  // Big-endian on the wire; every platform that Node 24 is built for but one is little-endian.
  for (let i = 1; i <= 8; i++) o[at + i] = bytes[LITTLE_ENDIAN ? 8 - i : i - 1]!
  at += 9
}

function putBigint(value: bigint): boolean {
  if (value > MAX_UINT64 || value < MIN_NINT64) return false
  out[at++] = value < 0n ? NINT | 27 : UINT | 27
  at = out.writeBigUInt64BE(value < 0n ? -1n - value : value, at)
  return true
}

/** The tag numbers and lengths there are; there is room. */
function head(major: number, argument: number): void {
  if (argument < 24) out[at++] = major | argument
  else if (argument < 0x100) {
    out[at++] = major | 24
    out[at++] = argument
  } else if (argument < 0x10000) {
    out[at++] = major | 25
    out[at++] = argument >> 8
    out[at++] = argument & 0xff
  } else put32(major | 26, argument)
}

function headSize(argument: number): number {
  return argument < 24 ? 1 : argument < 0x100 ? 2 : argument < 0x10000 ? 3 : 5
}

function put32(first: number, value: number): void {
  out[at++] = first
  out[at++] = value >>> 24
  out[at++] = (value >>> 16) & 0xff
  out[at++] = (value >>> 8) & 0xff
  out[at++] = value & 0xff
}

/** Text, when CBOR can carry it. */
function putText(value: string): boolean {
  const { length } = value
  if ((bytesLeft -= length) < 0) return false
  if (length > SHORT_TEXT) return putLongText(value)
  room(2 + length)
  const o = out
  let end = at + (length < 24 ? 1 : 2)
  for (let i = 0; i < length; i++) {
    const unit = value.charCodeAt(i)
    if (unit > 0x7f) return putLongText(value)
    o[end++] = unit
  }
  head(TEXT, length)
  at = end
  return true
}

function putLongText(value: string): boolean {
  if (isAwkward(value)) return false
  const { length } = value
  room(5 + length * 3)
  const guess = headSize(length)
  const start = at
  const size = out.write(value, start + guess, length * 3, 'utf8')
  const found = headSize(size)
  if (found > guess) out.copyWithin(start + found, start + guess, start + guess + size)
  head(TEXT, size)
  at = start + found + size
  return true
}

/**
 * One place that asks, so that one place has seen it happen: code that was compiled where it never did is thrown away when
 * it does, at the end of the first buffer, in the middle of the work.
 */
function room(bytes: number): void {
  if (at + bytes > out.length) grow(bytes)
}

function grow(bytes: number): void {
  const grown = Buffer.allocUnsafeSlow(Math.max(at + bytes + HEAD, out.length * 2))
  out.copy(grown, 0, 0, at)
  out = grown
}

/** Text that would not survive UTF-8 and its readers: a lone surrogate, or a byte order mark in front. */
export function isAwkward(text: string): boolean {
  return !text.isWellFormed() || (text.length >= BOM_LOSS && text.charCodeAt(0) === 0xfeff)
}

/** cbor-x writes a Date as seconds in a double, which past the year 100 000 or so is not the millisecond any more. */
export function isExactInSeconds(time: number): boolean {
  return Object.is(Math.round((time / 1000) * 1000), time)
}

/** Keys that cbor-x renames (`__proto__`), or once kept its own notes under (`__keys__`). */
export function isAwkwardKey(key: string): boolean {
  return key === '__proto__' || key === '__keys__'
}

function isFirst(object: object): boolean {
  if (many !== undefined) {
    const size = many.size
    many.add(object)
    return many.size > size
  }
  for (let i = 0; i < fewCount; i++) if (few[i] === object) return false
  if (fewCount < FEW) few[fewCount++] = object
  else many = new Set(few as object[]).add(object)
  return true
}
