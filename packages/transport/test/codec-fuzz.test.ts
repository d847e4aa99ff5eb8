// The short form of the campaign `fuzz`, and each attack that is known to harm a bare cbor-x under its name, as far as
// codec-guard.test.ts has not got it.

import { describe, expect, it } from 'vitest'
import { ATTACKS, manyOf, nested } from '../campaigns/fixtures/attacks.ts'
import { recorded } from '../campaigns/fixtures/hostile.ts'
import { changedIntrinsics, intrinsics } from '../campaigns/fixtures/intrinsics.ts'
import { Random } from '../campaigns/fixtures/random.ts'
import { frameOf, fuzz } from '../campaigns/fuzz.ts'
import { decode, decodeChunk, encode } from '../src/codec.ts'
import { RECORD, RECORD_DEFINITION, TAG } from '../src/codec-tags.ts'
import { MalformedError, TooLargeError } from '../src/errors.ts'
import { array, bytes, head, map, raw, tag, text, uint } from './fixtures/cbor-bytes.ts'

type Refusal = typeof MalformedError | typeof TooLargeError

/** Both ways in refuse, and go on working. */
function refuses(input: Uint8Array, kind: Refusal): void {
  expect(() => decode(input)).toThrow(kind)
  expect(() => decodeChunk(input)).toThrow(kind)
  expect(decode(bytes(array(uint(1))))).toEqual([1])
}

const repeat = (part: readonly number[], times: number): number[] => Array.from({ length: times }, () => part).flat()
const define = (id: number, keys: readonly string[], ...values: number[][]): number[] =>
  tag(RECORD_DEFINITION, array(uint(RECORD + id), array(...keys.map(text)), ...values))

describe('attacks by name', () => {
  const quick = { timeout: 5000 }

  it('a billion laughs: a packed table whose entries hold the table, forty levels', quick, () => {
    const laughs = ATTACKS.find(({ name }) => name === 'a billion laughs, packed')!
    refuses(laughs.make(40, new Random(1)), MalformedError)
  })
  it('a billion laughs by references: taken as the sixty objects that it is, and passed on as them', quick, () => {
    const laughs = ATTACKS.find(({ name }) => name === 'a billion laughs, by references')!
    const frame = laughs.make(60, new Random(1))
    for (const value of [decode(frame), decode(encode(decode(frame))), decodeChunk(frame)[0]]) {
      let levels = 0
      for (let at = value as unknown[]; at.length === 2; at = at[0] as unknown[]) {
        levels++
        if (at[0] !== at[1]) expect.unreachable(`level ${levels} is two`)
      }
      expect(levels).toBe(60)
    }
  })
  it('a million arrays in each other', quick, () => refuses(nested([0x81], 1_000_000), TooLargeError))
  it('two hundred thousand maps in each other', quick, () => {
    refuses(nested([0xa1, 0x61, 0x61], 200_000), TooLargeError)
  })
  it('half a million foreign tags on one value', quick, () => {
    for (const number of [0, 6, 51, 55799]) refuses(nested(head(6, number), 500_000), MalformedError)
  })
  it('a mebibyte of Sets and of dates', quick, () => {
    refuses(manyOf(tag(TAG.set, [0x80]), 262_144), TooLargeError)
    refuses(manyOf(tag(TAG.date, uint(0)), 524_288), TooLargeError)
  })
  it('eight thousand record definitions, each read four times', quick, () => {
    const frame = ATTACKS.find(({ name }) => name.startsWith('thousands of record'))!.make(8000, new Random(1))
    const values = decodeChunk(frame) as Record<string, number>[]
    expect(values.length).toBe(32_000)
    expect(values.at(-1)).toEqual({ k7999: 2 })
    refuses(frame.subarray(0, -1), MalformedError)
    expect(() => decode(frame)).toThrow(MalformedError)
  })
  it.each([
    ['2^32', [0, 0, 0, 1, 0, 0, 0, 0]],
    ['2^53', [0, 0x20, 0, 0, 0, 0, 0, 0]],
    ['2^64 - 1', [255, 255, 255, 255, 255, 255, 255, 255]],
  ])('a length of %s, of bytes, text, arrays and maps', quick, (_, length) => {
    for (const major of [2, 3, 4, 5]) {
      const item = [(major << 5) | 27, ...length]
      refuses(bytes(major === 2 ? tag(64, item) : item), MalformedError)
    }
  })
  it('arrays in each other that all claim to be as long as the input', quick, () => {
    const frame = ATTACKS.find(({ name }) => name === 'arrays that each claim all that is left')!
    for (const size of [10, 63]) refuses(frame.make(size, new Random(1)), MalformedError)
    for (const size of [65, 20_000]) refuses(frame.make(size, new Random(1)), TooLargeError)
  })
  it('constructor.prototype as keys of an object, a record, and a record that is read often', () => {
    const was = intrinsics()
    const evil = map([text('polluted'), uint(1)])
    const ladder = map([text('constructor'), map([text('prototype'), evil])])
    const often = [
      ...define(0, ['constructor', 'n'], map([text('prototype'), evil]), uint(0)),
      ...repeat(tag(RECORD, array(map([text('prototype'), evil]), uint(1))), 50),
    ]
    for (const value of [decode(bytes(ladder)), ...decodeChunk(bytes(often))]) {
      expect(Object.hasOwn(value as object, 'constructor')).toBe(true)
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
    }
    expect(changedIntrinsics(was)).toEqual([])
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })
  it('__proto__ as a key of a record that is read often', () => {
    const evil = map([text('polluted'), uint(1)])
    refuses(bytes([...define(0, ['__proto__'], evil), ...repeat(tag(RECORD, array(evil)), 20)]), MalformedError)
  })
  it('strings in bundles, at false offsets', () => {
    for (const number of [0xdff8, 0xdff9, 0xdffa, 14, 15]) {
      for (const content of [uint(5), [0x1a, 0xff, 0xff, 0xff, 0xff], array(text('a'), uint(9)), raw([1])]) {
        refuses(bytes(tag(number, content)), MalformedError)
      }
    }
  })
  it('shared structures (Shrd)', () => {
    for (const content of [array(array(text('a')), uint(1)), array(), uint(0), raw([1, 2])]) {
      refuses(bytes(tag(0x53687264, content)), MalformedError)
    }
  })
  it('text that is not UTF-8, short and long, as a value, a key, a name and a URL', () => {
    for (const bad of [[0xff], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
      for (const front of [0, 30, 5000]) {
        const some = [...repeat([0x61], front), ...bad]
        const item = [...head(3, some.length), ...some]
        refuses(bytes(item), MalformedError)
        refuses(bytes([0xa1, ...item, 0]), MalformedError)
        refuses(bytes(tag(TAG.object, array(item))), MalformedError)
        refuses(bytes(tag(TAG.url, item)), MalformedError)
      }
    }
  })
  it('keys that are there twice: the last one counts, and nothing is left of the other', () => {
    const twice = map([text('a'), map([text('x'), uint(1)])], [text('b'), uint(2)], [text('a'), uint(3)])
    expect(decode(bytes(twice))).toEqual({ a: 3, b: 2 })
    expect(decode(bytes(tag(TAG.map, twice)))).toEqual(
      new Map([
        ['a', 3],
        ['b', 2],
      ]),
    )
    expect(decodeChunk(bytes(define(0, ['a', 'b', 'a'], uint(1), uint(2), uint(3))))).toEqual([{ a: 3, b: 2 }])
  })
  it('what is cut off, and what has something behind it', () => {
    const frame = encode({ a: [1, 'two', new Date(3)] })
    for (let end = 0; end < frame.length; end++) expect(() => decode(frame.subarray(0, end))).toThrow(MalformedError)
    expect(() => decode(Uint8Array.from([...frame, 0]))).toThrow(MalformedError)
  })
  it('a pattern that backtracks for ever is not run', quick, () => {
    const pattern = decode(bytes(tag(TAG.regexp, text(`/^${'(a+)+'.repeat(40)}$/`)))) as RegExp
    expect(pattern.source.length).toBe(202)
  })
})

describe('fuzz', () => {
  it('3 000 hostile frames do no harm; a million are the campaign’s', { timeout: 120_000 }, async () => {
    // The same in every run: what more of them find, the campaign finds.
    const report = await fuzz({ frames: 3_000, seed: 3 })
    expect(report.broken).toEqual([])
    // They are worth something: some of each sort are taken.
    for (const way of ['item', 'chunk', 'stream']) expect(report.outcomes.get(`${way} taken`)).toBeGreaterThan(250)
    for (const code of ['FRAME_TOO_LARGE', 'PROTOCOL', 'MALFORMED', 'TOO_LARGE']) {
      expect(report.outcomes.get(`stream ${code}`)).toBeGreaterThan(2)
    }
  })
  it('makes the same frame again from its seed and number', () => {
    const corpus = recorded()
    for (const frame of [0, 7, 123_456]) expect(frameOf(5, frame, corpus)).toEqual(frameOf(5, frame, recorded()))
    expect(frameOf(5, 1, corpus)).not.toEqual(frameOf(6, 1, corpus))
  })
  it('sees a prototype that has changed', () => {
    const was = intrinsics()
    Object.defineProperty(Map.prototype, 'injected', { value: 1, configurable: true })
    try {
      expect(changedIntrinsics(was)).toEqual(['Map.prototype'])
    } finally {
      delete (Map.prototype as { injected?: unknown }).injected
    }
    expect(changedIntrinsics(was)).toEqual([])
  })
})
