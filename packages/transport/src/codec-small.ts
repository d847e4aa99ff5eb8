// Small plain values, the commonest of all: read in one go, where the guard and cbor-x would each look at every byte.
//
// What is taken here is what they would have made of it (codec-small.test.ts holds the two together). Whatever is not
// wholly plain, and whatever is wrong, is left to them, from the beginning: they find out what is the matter, and say where.

import { copyOf } from './codec-bytes.ts'
import { TAG, TYPED_ARRAY_TAG } from './codec-tags.ts'
import { nameAt, textAt } from './codec-text.ts'

/** Not a small plain value, or none at all. */
export const OTHER: unique symbol = Symbol('other')

/**
 * Containers within each other. So few cannot exhaust the stack, and 4 KiB of anything that is read here stay far below
 * the limit of items.
 */
const DEEPEST = 16

const UINT8: number = TYPED_ARRAY_TAG.Uint8Array!

let at = 0
let copyAll = false

/**
 * The item in the first `end` bytes, which nobody else can change meanwhile; `OTHER` where it is for others to read.
 * @param source `bytes` as a Buffer
 * @param copy every byte array has memory of its own
 */
export function readSmall(bytes: Uint8Array, source: Buffer, end: number, copy: boolean): unknown {
  at = 0
  copyAll = copy
  try {
    const value = read(bytes, source, end, 0)
    return at === end ? value : OTHER
  } catch {
    return OTHER // `Object.prototype` is frozen, and has this key
  }
}

/** The item that begins at `at`, which is then behind it. After `OTHER` nothing more is read. */
function read(bytes: Uint8Array, source: Buffer, end: number, depth: number): unknown {
  if (at >= end) return OTHER
  const head = bytes[at++]!
  if (head >= 0xe0) return readSimple(head, source, end)
  const argument = argumentOf(head, bytes, end)
  if (argument < 0) return OTHER
  switch (head >> 5) {
    case 0:
      return argument
    case 1:
      return -1 - argument
    case 3: {
      if (argument > end - at) return OTHER
      const from = at
      at += argument
      return textAt(bytes, source, from, argument) ?? OTHER
    }
    case 4: {
      if (argument > end - at || depth === DEEPEST) return OTHER
      const array: unknown[] = []
      for (let left = argument; left > 0; left--) {
        const value = read(bytes, source, end, depth + 1)
        if (value === OTHER) return OTHER
        array.push(value)
      }
      return array
    }
    case 5: {
      if (argument * 2 > end - at || depth === DEEPEST) return OTHER
      const object: Record<string, unknown> = {}
      for (let left = argument; left > 0; left--) {
        const key = readKey(bytes, source, end)
        if (key === undefined) return OTHER
        const value = read(bytes, source, end, depth + 1)
        if (value === OTHER) return OTHER
        object[key] = value
      }
      return object
    }
    case 6:
      if (argument === TAG.date) return readDate(bytes, source, end)
      return argument === UINT8 ? readBytes(bytes, end) : OTHER
    default:
      return OTHER
  }
}

function readDate(bytes: Uint8Array, source: Buffer, end: number): unknown {
  // No tag within: a row of them would be as deep as it is long.
  if (at >= end || bytes[at]! >> 5 === 6) return OTHER
  const seconds = read(bytes, source, end, DEEPEST)
  return typeof seconds === 'number' ? new Date(Math.round(seconds * 1000)) : OTHER
}

function readBytes(bytes: Uint8Array, end: number): unknown {
  const head = at < end ? bytes[at++]! : 0
  const size = head >> 5 === 2 ? argumentOf(head, bytes, end) : -1
  if (size < 0 || size > end - at) return OTHER
  const from = at
  at += size
  return copyOf(bytes.subarray(from, at), copyAll)
}

/** The argument of a head; -1 where it is longer than 32 bits, or not there. */
function argumentOf(head: number, bytes: Uint8Array, end: number): number {
  const short = head & 0x1f
  if (short <= 23) return short
  const size = short === 24 ? 1 : short === 25 ? 2 : short === 26 ? 4 : end
  if (size > end - at) return -1
  let argument = bytes[at++]!
  for (let more = size - 1; more > 0; more--) argument = argument * 256 + bytes[at++]!
  return argument
}

/** Keys are short text; `__proto__` is nobody's. */
function readKey(bytes: Uint8Array, source: Buffer, end: number): string | undefined {
  if (at >= end) return undefined
  const head = bytes[at++]!
  const length = head & 0x1f
  if (head >> 5 !== 3 || length > 23 || length > end - at) return undefined
  const from = at
  at += length
  const key = nameAt(bytes, source, from, length)
  return key === '__proto__' ? undefined : key
}

function readSimple(head: number, source: Buffer, end: number): unknown {
  switch (head) {
    case 0xf4:
      return false
    case 0xf5:
      return true
    case 0xf6:
      return null
    case 0xf7:
      return undefined
    case 0xfb: {
      if (8 > end - at) return OTHER
      const from = at
      at += 8
      return source.readDoubleBE(from)
    }
  }
  return OTHER
}
