// What counts for more than one item, because making it takes longer. The figures are multiples of what an item may take,
// some 200 ns: the limit of items over 50 ms. Both sides count alike, so that what is written is read.

import { TAG, TYPED_ARRAY_TAG } from './codec-tags.ts'

/** Added for the kinds that always take as long. */
const EXTRA = new Uint8Array(TAG.farDate + 1)
EXTRA[TAG.bigint] = EXTRA[TAG.negativeBigint] = 2
EXTRA[TAG.text] = EXTRA[TAG.snapshot] = EXTRA[TAG.map] = EXTRA[TAG.set] = 1
EXTRA[TAG.object] = 3
EXTRA[TAG.error] = 12
EXTRA[TAG.arrayBuffer] = EXTRA[TAG.dataView] = 4
for (const tag of Object.values(TYPED_ARRAY_TAG)) EXTRA[tag] = 1

/** Added to the items for a value of this tag, beside what its content adds. */
export function extraOfTag(tag: number): number {
  return EXTRA[tag]!
}

/** Text up to this many bytes is read by hand. */
const SHORT_TEXT = 24

/** Added for text of so many bytes that is a value: not a key, and not the text of a URL or RegExp. */
export function extraOfText(bytes: number): number {
  return bytes > SHORT_TEXT ? 1 : 0
}

/** Added for a BigInt of so many bytes. */
export function extraOfBigint(bytes: number): number {
  return bytes >> 5
}

/** The engine keeps arrays up to this many bytes beside the object; longer ones need memory of their own. */
const BESIDE = 64

/** Added for the bytes of a typed array. */
export function extraOfBytes(length: number): number {
  return length > BESIDE ? 4 : 0
}

/** Added for a URL of this length. */
export function extraOfUrl(length: number): number {
  return 12 + (length >> 3)
}

/** In front of a part where case does not matter, and the like. */
const IGNORES_CASE = /\(\?[ms]*i/

/**
 * Added for a RegExp, as `/pattern/flags`. The engine reads 20 characters of a pattern in the time of an item, but only one
 * eighth of one where case or Unicode is to be looked up, and of a class with ranges both for each letter in them, an
 * eighth of that; a property (`\p{L}`) takes 100 µs, and one that stands for sequences (`\p{RGI_Emoji}`) more than 2 ms.
 */
export function extraOfRegExp(text: string): number {
  const { length } = text
  const flags = text.slice(text.lastIndexOf('/'))
  if (!flags.includes('u') && !flags.includes('v')) return 10 + (length >> 1)
  const each = text.includes('[') && (flags.includes('i') || IGNORES_CASE.test(text)) ? 64 : 8
  return 10 + length * each + 512 * count(text, '\\p') + 512 * count(text, '\\P') + 16_384 * count(text, 'RGI_')
}

/**
 * Added for a key of an object that is not the key which the last object at the same depth had at the same place: the
 * engine makes a new form of object for each. From the 24th key on it has long made a table of it.
 */
const NEW_KEY = 6
const TABLE_KEY = 1
/** Keys of an object before it is a table. */
const PLACES = 24
/** Added for a list of keys, however short. */
const SHAPE = 3
/** Keys longer than this are let go of when the item is done: what is kept of foreign ones would have no bound. */
const KEPT = 64

/** The keys that the last objects of each depth had, by their place. */
export class LastKeys {
  #keys: (string | undefined)[][] = []
  /** How many of them are of this item. */
  #counts: number[] = []
  #long = false

  /** Before an item. */
  begin(): void {
    for (let depth = 0; depth < this.#counts.length; depth++) this.#counts[depth] = 0
  }

  /** After an item, also one that is refused. */
  end(): void {
    if (!this.#long) return
    this.#keys = []
    this.#counts = []
    this.#long = false
  }

  /** What to add for this key; undefined is one that is like no other. */
  extra(depth: number, place: number, key: string | undefined): number {
    if (place >= PLACES) return TABLE_KEY
    while (this.#counts.length <= depth) {
      this.#counts.push(0)
      this.#keys.push([])
    }
    const keys = this.#keys[depth]!
    if (place < this.#counts[depth]!) {
      if (keys[place] === key && key !== undefined) return 0
    } else this.#counts[depth] = place + 1
    keys[place] = key
    if (key !== undefined && key.length > KEPT) this.#long = true
    return NEW_KEY
  }
}

/** Added for the definition of a shape with so many keys. */
export function extraOfShape(keys: number): number {
  return SHAPE + (keys <= PLACES ? keys * NEW_KEY : PLACES * NEW_KEY + (keys - PLACES) * TABLE_KEY)
}

function count(text: string, part: string): number {
  let times = 0
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) times++
  return times
}
