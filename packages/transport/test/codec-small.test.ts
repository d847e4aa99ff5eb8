// What is small and plain is read by a hand of our own. The guard and cbor-x say what it should have read: under limits of
// one's own, which count every item, they read everything.

import { inspect, isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FAMILIES } from '../campaigns/fixtures/arbitraries.ts'
import { changed, recorded } from '../campaigns/fixtures/hostile.ts'
import { Random } from '../campaigns/fixtures/random.ts'
import { decode, encode } from '../src/codec.ts'
import { MAX_ITEMS } from '../src/codec-limits.ts'
import { OTHER, readSmall } from '../src/codec-small.ts'
import { ErrandError } from '../src/errors.ts'
import { array, bytes, head, map, tag, text, uint } from './fixtures/cbor-bytes.ts'

const hex = (digits: string): number[] => [...Buffer.from(digits, 'hex')]

type Outcome = { value: unknown } | { refusal: string }

function outcome(read: () => unknown): Outcome {
  try {
    return { value: read() }
  } catch (error) {
    return { refusal: `${(error as ErrandError).code}: ${(error as ErrandError).message}` }
  }
}

const slow = (frame: Uint8Array): unknown => decode(frame, { limits: { items: MAX_ITEMS - 1 } })
const small = (frame: Uint8Array): unknown => {
  const own = frame.slice()
  return readSmall(own, Buffer.from(own.buffer), own.length, false)
}

/** Null where both agree. */
function disagreement(frame: Uint8Array): string | null {
  const [ours, theirs] = [outcome(() => decode(frame)), outcome(() => slow(frame))]
  // The second for the order of keys, which deep equality does not look at.
  if (isDeepStrictEqual(ours, theirs) && Buffer.compare(encode(ours), encode(theirs)) === 0) return null
  return `${Buffer.from(frame).toString('hex')}: ${inspect(ours)}, not ${inspect(theirs)}`
}

describe('small plain values are read as the guard and cbor-x read them', () => {
  it.each<[string, number[][]]>([
    [
      'whole numbers',
      [0, 1, 23, 24, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1].flatMap((n) => [uint(n), head(1, n)]),
    ],
    ['numbers in more bytes than they need', [hex('1805'), hex('190005'), hex('1a00000005'), hex('3805')]],
    ['floats', [0.5, NaN, Infinity, -1e300].map((n) => [...encode([n]).subarray(1)])],
    ['simple values', [[0xf4], [0xf5], [0xf6], [0xf7]]],
    ['text', ['', 'a', 'x'.repeat(23), 'x'.repeat(300), 'é水😀'].map(text)],
    ['dates', [tag(1, uint(0)), tag(1, head(1, 7)), tag(1, [...encode(1.25)]), tag(1, [...encode(NaN)])]],
    ['bytes', [0, 1, 64, 65, 512, 513, 4000].map((n) => [...encode(new Uint8Array(n).fill(9))])],
    ['arrays', [array(), array(uint(1), array(array()))]],
    ['objects', [map(), map([text('a'), uint(1)], [text('b'), map([text(''), uint(2)])])]],
    ['the same key twice', [map([text('a'), uint(1)], [text('b'), uint(2)], [text('a'), uint(3)])]],
    [
      'keys that are numbers, and those that objects have',
      [map([text('1'), uint(1)], [text('0'), uint(2)], [text('toString'), uint(3)])],
    ],
  ])('%s', (_, items) => {
    for (const item of items) {
      expect(disagreement(bytes(item))).toBeNull()
      expect(disagreement(bytes(array(item, item)))).toBeNull()
      expect(small(bytes(array(item)))).not.toBe(OTHER)
    }
  })

  it.each<[string, number[]]>([
    ['what ends early', [0x82, 0x01]],
    ['what goes on behind its end', [0x01, 0x01]],
    ['64-bit integers', hex('1b0000000000000001')],
    ['floats of two and four bytes', hex('f93c00')],
    ['text that is not UTF-8', hex('61ff')],
    ['a key that is no text', map([uint(1), uint(1)])],
    ['a key __proto__', map([text('__proto__'), array()])],
    ['a date of a date', tag(1, tag(1, uint(0)))],
    ['a date that is text', tag(1, text('now'))],
    ['bytes under no tag, or under another', hex('4101')],
    ['bytes that are an array', tag(64, array())],
    ['sixty containers in each other', [...Array.from({ length: 60 }, () => 0x81), 0x01]],
    ['an indefinite length', hex('9f01ff')],
    ['four thousand tags in a row, which would be as deep as they are long', Array.from({ length: 4096 }, () => 0xc1)],
    ['nothing', []],
  ])('leaves to them %s', (_, item) => {
    expect(small(bytes(item))).toBe(OTHER)
    expect(disagreement(bytes(item))).toBeNull()
  })

  it('byte arrays that share a block cannot take it along, and those asked for alone have memory of their own', () => {
    const frame = encode({ bytes: new Uint8Array(100) })
    const shared = decode(frame) as { bytes: Uint8Array<ArrayBuffer> }
    expect(shared.bytes.buffer.byteLength).toBeGreaterThan(100)
    expect(() => structuredClone(shared.bytes, { transfer: [shared.bytes.buffer] })).toThrow('transfer')
    const alone = decode(frame, { copy: true }) as { bytes: Uint8Array<ArrayBuffer> }
    expect(alone.bytes.buffer.byteLength).toBe(100)
  })

  it('keeps nothing of the input', () => {
    const frame = encode({ bytes: Uint8Array.of(1, 2, 3), text: 'abc' }).slice()
    const value = decode(frame)
    frame.fill(0)
    expect(value).toEqual({ bytes: Uint8Array.of(1, 2, 3), text: 'abc' })
  })

  it('anything that is written', () => {
    for (const family of Object.values(FAMILIES)) {
      fc.assert(
        fc.property(family, (value) => disagreement(encode(value)) === null),
        { numRuns: 100 },
      )
    }
  })

  it('anything that is written, and then changed', () => {
    const corpus = recorded()
    const rows = Array.from({ length: 40 }, (_, i) =>
      encode({
        id: i * 71,
        name: `row ${i}`,
        at: new Date(i * 1e9),
        tags: ['a', i / 3],
        more: { ok: i % 2 === 0 },
      }).slice(),
    )
    let taken = 0
    for (let row = 0; row < 4_000; row++) {
      const random = new Random(7, row)
      const frame = changed(random.pick(random.once(2) ? corpus : rows), corpus, random)
      expect(disagreement(frame)).toBeNull()
      if (small(frame) !== OTHER) taken++
    }
    expect(taken).toBeGreaterThan(200)
  })
})
