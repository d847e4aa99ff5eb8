// The quick look before encoding: is this a tree that cbor-x writes right as it stands?
//
// Nearly everything is, so this allocates nothing and touches each value once. "No" is never an error: it sends the
// value through codec-tree.ts, which finds out what is the matter and says where.

import { CLASS, SNAPSHOT } from './codec-class.ts'
import type { CodecLimits } from './codec-limits.ts'

const MAX_UINT64 = 0xffff_ffff_ffff_ffffn
const MIN_NINT64: bigint = -1n - MAX_UINT64

/** Above 64 bytes cbor-x reads text with a TextDecoder, which swallows a leading byte order mark; 3 bytes a unit at most. */
const BOM_LOSS = 16
/**
 * Below this length cbor-x writes text unit by unit, so that a lone surrogate shows in the bytes: the writer looks there,
 * once per item, because asking each of the many short strings costs as much as the rest of this scan.
 */
const SHORT_TEXT = 64

// State of the one scan that may run; a getter that calls `encode` finds `scanning` set and takes the slow way.
let scanning = false
let thorough = false
let itemsLeft = 0
let bytesLeft = 0
let maxDepth = 0
// Objects met, to notice cycles and sharing: a short list as long as it is short, then a Set.
const FEW = 12
const few: (object | undefined)[] = Array.from({ length: FEW })
let fewCount = 0
let many: Set<object> | undefined

/** What the look saw on its way. */
export interface PlainTally {
  items: number
  /** There is text or bytes in the value. */
  text: boolean
}

/**
 * True when `value` holds only strings, numbers, 64-bit BigInts, booleans, null, undefined, Date, Uint8Array, and plain
 * objects, arrays, Maps and Sets of them — each object once, within the limits, no key or text that CBOR cannot carry.
 * The tally is then right.
 *
 * Unless `all`, short text is taken on trust: the caller must look for lone surrogates in the bytes.
 */
export function isPlain(value: unknown, limits: CodecLimits, tally: PlainTally, all: boolean): boolean {
  if (scanning) return false
  scanning = true
  thorough = all
  itemsLeft = limits.items - 1
  bytesLeft = limits.bytes
  maxDepth = limits.depth
  try {
    const answer = plain(value, 0)
    tally.items = limits.items - itemsLeft
    tally.text = bytesLeft < limits.bytes
    return answer
  } catch {
    return false // a getter or a proxy threw: the slow way says where
  } finally {
    scanning = false
    for (let i = 0; i < fewCount; i++) few[i] = undefined
    fewCount = 0
    many = undefined
  }
}

function plain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
      return carries(value)
    case 'number':
      return value !== 0 || 1 / value > 0
    case 'boolean':
    case 'undefined':
      return true
    case 'bigint':
      return value <= MAX_UINT64 && value >= MIN_NINT64
    case 'object':
      return value === null || plainObject(value, depth + 1)
    default:
      return false
  }
}

function plainObject(object: object, depth: number): boolean {
  if (!isFirst(object)) return false
  switch (object.constructor) {
    case Object: {
      if (depth > maxDepth) return false
      const fields = object as { [key: string]: unknown; [CLASS]?: unknown; [SNAPSHOT]?: unknown }
      if (fields[SNAPSHOT] !== undefined || fields[CLASS] !== undefined) return false
      for (const key in fields) {
        if ((itemsLeft -= 2) < 0 || isAwkwardKey(key) || !carries(key) || !plain(fields[key], depth)) return false
      }
      return true
    }
    case Array: {
      if (depth > maxDepth || !Array.isArray(object) || (itemsLeft -= object.length) < 0) return false
      for (let i = 0; i < object.length; i++) if (!plain(object[i], depth)) return false
      return true
    }
    case Map: {
      const map = object as Map<unknown, unknown>
      if (depth > maxDepth || (itemsLeft -= map.size * 2) < 0) return false
      for (const entry of map) if (!plain(entry[0], depth) || !plain(entry[1], depth)) return false
      return true
    }
    case Set: {
      const set = object as Set<unknown>
      if (depth > maxDepth || (itemsLeft -= set.size) < 0) return false
      for (const member of set) if (!plain(member, depth)) return false
      return true
    }
    case Uint8Array: {
      // One whose buffer was given away looks empty; cbor-x throws over it, and the slow way says so.
      return (bytesLeft -= (object as Uint8Array).byteLength) >= 0
    }
    case Date:
      return isExactInSeconds((object as Date).getTime())
    default:
      return false
  }
}

/** Can UTF-8, as cbor-x writes and reads it, carry this text? Spends its length. */
function carries(text: string): boolean {
  if ((bytesLeft -= text.length) < 0) return false
  if (text.length < SHORT_TEXT && !thorough) return text.length < BOM_LOSS || text.charCodeAt(0) !== 0xfeff
  return !isAwkward(text)
}

/** Text that would not survive UTF-8 and cbor-x: a lone surrogate, or a byte order mark in front. */
export function isAwkward(text: string): boolean {
  return !text.isWellFormed() || (text.length >= BOM_LOSS && text.charCodeAt(0) === 0xfeff)
}

/** cbor-x writes a Date as seconds in a double, which past the year 100 000 or so is not the millisecond any more. */
export function isExactInSeconds(time: number): boolean {
  return Object.is(Math.round((time / 1000) * 1000), time)
}

/** Keys that cbor-x renames (`__proto__`), or keeps its own notes under where it writes records (`__keys__`). */
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
