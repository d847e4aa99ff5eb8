// Text out of bytes. The guard reads all text of an item while it scans, so that cbor-x, which is slow at it and lets pass
// what is not UTF-8, need not read any.

import { isUtf8 } from 'node:buffer'

/** Text up to this many bytes is looked up before it is made: data repeats its short words, and its keys all the time. */
const LOOKED_UP = 24
/** Powers of two: a place each, the last word that came there. At most 3/4 MiB of short words. */
const NAMES = 2048
const WORDS = 8192
const names: string[] = Array.from({ length: NAMES }, () => '')
const isName = new Uint8Array(NAMES)
const words: string[] = Array.from({ length: WORDS }, () => '')

/**
 * The text that the UTF-8 in `bytes` is, as it is, a leading byte order mark included; undefined when it is not UTF-8.
 * @param source `bytes` as a Buffer
 */
export function textAt(bytes: Uint8Array, source: Buffer, from: number, length: number): string | undefined {
  if (length === 0) return ''
  if (length > LOOKED_UP) return longText(bytes, source, from, length)
  const place = placeOf(bytes, from, length) & (WORDS - 1)
  const known = words[place]!
  if (known.length === length && equals(known, bytes, from, length)) return known
  const made = shortText(bytes, source, from, length)
  if (made?.length === length) words[place] = made
  return made
}

/** The same for keys, in the form in which the engine finds them fastest. */
export function nameAt(bytes: Uint8Array, source: Buffer, from: number, length: number): string | undefined {
  if (length === 0) return ''
  if (length > LOOKED_UP) return longText(bytes, source, from, length)
  const place = placeOf(bytes, from, length) & (NAMES - 1)
  const known = names[place]!
  if (known.length === length && equals(known, bytes, from, length)) {
    if (isName[place] === 1) return known
    isName[place] = 1
    // What was a key once is the engine's one copy of it, which is compared by address.
    return (names[place] = Object.keys({ [known]: 0 })[0]!)
  }
  const made = shortText(bytes, source, from, length)
  if (made?.length === length) {
    names[place] = made
    isName[place] = 0
  }
  return made
}

function placeOf(bytes: Uint8Array, from: number, length: number): number {
  const end = from + length - 1
  let mixed = Math.imul(length, 0x9e3779b1) ^ bytes[end]!
  mixed = Math.imul(mixed, 31) + bytes[from + (length >> 1)]!
  mixed = Math.imul(mixed, 31) + bytes[from]!
  mixed = Math.imul(mixed, 31) + (length > 1 ? bytes[end - 1]! : 0)
  return mixed ^ (mixed >>> 13)
}

/** Only ASCII is in the tables, so a match is a match. */
function equals(known: string, bytes: Uint8Array, from: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (known.charCodeAt(i) !== bytes[from + i]) return false
  return true
}

function shortText(bytes: Uint8Array, source: Buffer, at: number, length: number): string | undefined {
  let all = 0
  for (let i = 0; i < length; i++) all |= bytes[at + i]!
  if (all > 0x7f) return longText(bytes, source, at, length)
  // Asking the engine to read costs as much as some twenty characters by hand.
  const { fromCharCode } = String
  switch (length) {
    case 1:
      return fromCharCode(bytes[at]!)
    case 2:
      return fromCharCode(bytes[at]!, bytes[at + 1]!)
    case 3:
      return fromCharCode(bytes[at]!, bytes[at + 1]!, bytes[at + 2]!)
  }
  const four = fromCharCode(bytes[at]!, bytes[at + 1]!, bytes[at + 2]!, bytes[at + 3]!)
  if (length < 8) return length === 4 ? four : four + shortText(bytes, source, at + 4, length - 4)!
  if (length < 12) {
    const more = fromCharCode(bytes[at + 4]!, bytes[at + 5]!, bytes[at + 6]!, bytes[at + 7]!)
    return length === 8 ? four + more : four + more + shortText(bytes, source, at + 8, length - 8)!
  }
  return source.toString('latin1', at, at + length)
}

function longText(bytes: Uint8Array, source: Buffer, from: number, length: number): string | undefined {
  const text = source.toString('utf8', from, from + length)
  // What is not UTF-8 comes out as U+FFFD, which may also have been meant.
  if (text.includes('\ufffd') && !isText(bytes, from, from + length)) return undefined
  return text
}

/** Up to this many bytes a look at each is faster than asking the engine. */
const SHORT = 128

function isText(bytes: Uint8Array, from: number, end: number): boolean {
  if (end - from > SHORT) return isUtf8(bytes.subarray(from, end))
  for (let at = from; at < end;) {
    const first = bytes[at++]!
    if (first < 0x80) continue
    // How many follow, and what the first of them may be (RFC 3629 section 4).
    const more =
      first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : 0
    if (more === 0 || at + more > end) return false
    const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
    const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
    if (bytes[at]! < least || bytes[at]! > most) return false
    for (let i = 1; i < more; i++) if (bytes[at + i]! >> 6 !== 2) return false
    at += more
  }
  return true
}
