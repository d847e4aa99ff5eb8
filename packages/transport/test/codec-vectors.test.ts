// RFC 8949, appendix A (table 6): every example of an encoded item, by hand. Each decodes to its value or is refused by name.
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { decode, decodeChunk } from '../src/codec.ts'
import { MalformedError } from '../src/errors.ts'

/** In the order of the table: diagnostic notation, bytes, what `decode` gives. */
const taken: readonly [string, string, unknown][] = [
  ['0', '00', 0],
  ['1', '01', 1],
  ['10', '0a', 10],
  ['23', '17', 23],
  ['24', '1818', 24],
  ['25', '1819', 25],
  ['100', '1864', 100],
  ['1000', '1903e8', 1000],
  ['1000000', '1a000f4240', 1_000_000],
  // An integer of 64 bits is a BigInt, also where a number would hold it.
  ['1000000000000', '1b000000e8d4a51000', 1_000_000_000_000n],
  ['18446744073709551615', '1bffffffffffffffff', 18_446_744_073_709_551_615n],
  ['18446744073709551616', 'c249010000000000000000', 18_446_744_073_709_551_616n],
  ['-18446744073709551616', '3bffffffffffffffff', -18_446_744_073_709_551_616n],
  ['-18446744073709551617', 'c349010000000000000000', -18_446_744_073_709_551_617n],
  ['-1', '20', -1],
  ['-10', '29', -10],
  ['-100', '3863', -100],
  ['-1000', '3903e7', -1000],
  ['0.0', 'f90000', 0],
  ['-0.0', 'f98000', -0],
  ['1.0', 'f93c00', 1],
  ['1.1', 'fb3ff199999999999a', 1.1],
  ['1.5', 'f93e00', 1.5],
  ['65504.0', 'f97bff', 65_504],
  ['100000.0', 'fa47c35000', 100_000],
  ['3.4028234663852886e+38', 'fa7f7fffff', 3.4028234663852886e38],
  ['1.0e+300', 'fb7e37e43c8800759c', 1e300],
  ['5.960464477539063e-8', 'f90001', 5.960464477539063e-8],
  ['0.00006103515625', 'f90400', 0.00006103515625],
  ['-4.0', 'f9c400', -4],
  ['-4.1', 'fbc010666666666666', -4.1],
  ['Infinity, half', 'f97c00', Infinity],
  ['NaN, half', 'f97e00', NaN],
  ['-Infinity, half', 'f9fc00', -Infinity],
  ['Infinity, single', 'fa7f800000', Infinity],
  ['NaN, single', 'fa7fc00000', NaN],
  ['-Infinity, single', 'faff800000', -Infinity],
  ['Infinity, double', 'fb7ff0000000000000', Infinity],
  ['NaN, double', 'fb7ff8000000000000', NaN],
  ['-Infinity, double', 'fbfff0000000000000', -Infinity],
  ['false', 'f4', false],
  ['true', 'f5', true],
  ['null', 'f6', null],
  ['undefined', 'f7', undefined],
  ['1(1363896240)', 'c11a514b67b0', new Date(1_363_896_240_000)],
  ['1(1363896240.5)', 'c1fb41d452d9ec200000', new Date(1_363_896_240_500)],
  [
    '32("http://www.example.com")',
    'd82076687474703a2f2f7777772e6578616d706c652e636f6d',
    new URL('http://www.example.com'),
  ],
  ['""', '60', ''],
  ['"a"', '6161', 'a'],
  ['"IETF"', '6449455446', 'IETF'],
  [String.raw`"\"\\"`, '62225c', '"\\'],
  [String.raw`"\u00fc"`, '62c3bc', '\u00fc'],
  [String.raw`"\u6c34"`, '63e6b0b4', '\u6c34'],
  [String.raw`"\ud800\udd51"`, '64f0908591', '\ud800\udd51'],
  ['[]', '80', []],
  ['[1, 2, 3]', '83010203', [1, 2, 3]],
  ['[1, [2, 3], [4, 5]]', '8301820203820405', [1, [2, 3], [4, 5]]],
  [
    '[1, 2, …, 25]',
    '98190102030405060708090a0b0c0d0e0f101112131415161718181819',
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25],
  ],
  ['{}', 'a0', {}],
  ['{"a": 1, "b": [2, 3]}', 'a26161016162820203', { a: 1, b: [2, 3] }],
  ['["a", {"b": "c"}]', '826161a161626163', ['a', { b: 'c' }]],
  [
    '{"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}',
    'a56161614161626142616361436164614461656145',
    { a: 'A', b: 'B', c: 'C', d: 'D', e: 'E' },
  ],
]

/** Definite lengths, and yet nothing that errand speaks. */
const refused: readonly [string, string, string][] = [
  ['simple(16)', 'f0', 'simple value 16'],
  // RFC 7049 had it; RFC 8949, 3.3, calls it not well-formed.
  ['simple(24)', 'f818', 'simple value 24'],
  ['simple(255)', 'f8ff', 'simple value 255'],
  ['0("2013-03-21T20:04:00Z")', 'c074323031332d30332d32315432303a30343a30305a', 'tag 0 is not spoken here'],
  ["23(h'01020304')", 'd74401020304', 'tag 23 is not spoken here'],
  ["24(h'6449455446')", 'd818456449455446', 'tag 24 is not spoken here'],
  ["h''", '40', 'untagged bytes'],
  ["h'01020304'", '4401020304', 'untagged bytes'],
  ['{1: 2, 3: 4}', 'a201020304', 'key of an object is not text'],
]

const INDEFINITE = 'indefinite, reserved or 64-bit length'

/** Lengths that nobody announced, at the top or within. */
const endless: readonly [string, string, string][] = [
  ["(_ h'0102', h'030405')", '5f42010243030405ff', INDEFINITE],
  ['(_ "strea", "ming")', '7f657374726561646d696e67ff', INDEFINITE],
  ['[_ ]', '9fff', INDEFINITE],
  ['[_ 1, [2, 3], [_ 4, 5]]', '9f018202039f0405ffff', INDEFINITE],
  ['[_ 1, [2, 3], [4, 5]]', '9f01820203820405ff', INDEFINITE],
  ['[1, [2, 3], [_ 4, 5]]', '83018202039f0405ff', INDEFINITE],
  ['[1, [_ 2, 3], [4, 5]]', '83019f0203ff820405', INDEFINITE],
  ['[_ 1, 2, …, 25]', '9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff', INDEFINITE],
  ['{_ "a": 1, "b": [_ 2, 3]}', 'bf61610161629f0203ffff', INDEFINITE],
  ['["a", {_ "b": "c"}]', '826161bf61626163ff', INDEFINITE],
  ['{_ "Fun": true, "Amt": -2}', 'bf6346756ef563416d7421ff', INDEFINITE],
]

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'))
/** The same item as the only member of an array. */
const within = (hex: string): Uint8Array => bytesOf(`81${hex}`)

function errorOf(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

it('holds the whole table: 81 examples, and the one that RFC 8949 took out', () => {
  const all = [...taken, ...refused, ...endless].map((row) => row[1])
  expect([taken.length, refused.length, endless.length]).toEqual([62, 9, 11])
  expect(new Set(all).size).toBe(82)
})

describe('of definite length, decoded', () => {
  it.each(taken)('%s', (_, hex, value) => {
    const back = decode(bytesOf(hex))
    expect(isDeepStrictEqual(back, value)).toBe(true)
    expect(String(back)).toBe(String(value))
    expect(isDeepStrictEqual(decode(within(hex)), [value])).toBe(true)
    expect(isDeepStrictEqual(decodeChunk(bytesOf(hex + hex)), [value, value])).toBe(true)
  })
})

describe('refused by name', () => {
  it.each([...refused, ...endless])('%s', (_, hex, reason) => {
    for (const act of [
      () => decode(bytesOf(hex)),
      () => decode(within(hex)),
      () => decodeChunk(bytesOf(hex)),
      () => decodeChunk(bytesOf(`00${hex}`)),
    ]) {
      const error = errorOf(act)
      expect(error).toBeInstanceOf(MalformedError)
      expect((error as MalformedError).code).toBe('MALFORMED')
      expect((error as MalformedError).message).toMatch(new RegExp(`^not a value: ${reason}, before byte \\d+$`))
    }
  })

  it.each([
    ['text', '7b0000000000000001' + '61'],
    ['array', '9b0000000000000001' + '00'],
    ['map', 'bb0000000000000001' + '616100'],
    ['bytes', 'd840' + '5b0000000000000001' + '00'],
    ['tag', 'db0000000000000001' + '00'],
  ])('a head of 64 bits for the length of a %s, which no example shows', (_, hex) => {
    const error = errorOf(() => decode(bytesOf(hex)))
    expect(error).toBeInstanceOf(MalformedError)
    expect((error as MalformedError).message).toContain(INDEFINITE)
  })
})
