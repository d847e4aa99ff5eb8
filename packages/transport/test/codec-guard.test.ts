import { Decoder } from 'cbor-x/decode-no-eval'
import { describe, expect, it } from 'vitest'
import { MAX_BYTES, className, decode, decodeChunk, encode } from '../src/codec.ts'
import { RECORD, RECORD_DEFINITION, TAG, TYPED_ARRAY_TAG } from '../src/codec-tags.ts'
import { MalformedError, TooLargeError } from '../src/errors.ts'
import { NULL, array, bytes, head, map, raw, tag, text, uint } from './fixtures/cbor-bytes.ts'

type Refusal = typeof MalformedError | typeof TooLargeError

/** Both ways in refuse, with an error of ours, and go on working. */
function refuses(input: Uint8Array, kind: Refusal): void {
  for (const read of [decode, decodeChunk]) {
    let thrown: unknown
    try {
      read(input)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(kind)
  }
  expect(decode(bytes(array(uint(1))))).toEqual([1])
}

/** The class of what is thrown; `expect` itself is too slow to be asked a million times. */
function thrownBy(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    return (error as object).constructor
  }
  return undefined
}

const repeat = (part: readonly number[], times: number): number[] => Array.from({ length: times }, () => part).flat()
const fill = (length: number, byte: number): number[] => Array.from({ length }, () => byte)

/** Memory that the act takes hold of, garbage included: an upper bound of what it needs. */
function growth(act: () => void): number {
  const before = process.memoryUsage()
  act()
  const after = process.memoryUsage()
  return after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers
}

describe('attacks that kill or stall a bare cbor-x', () => {
  // Each in its own test with a limit of its own: a hang shows as one name, not as a suite that never ends.
  const quick = { timeout: 5000 }

  const doubling = (times: number): number[] => {
    let table = array(uint(1), uint(2))
    for (let i = 0; i < times; i++)
      table = tag(51, [
        ...head(4, 4),
        ...array(table),
        ...array(),
        ...array(),
        ...array(tag(6, uint(0)), tag(6, uint(0))),
      ])
    return table
  }
  it('a packed table that doubles 27 times', quick, () => refuses(bytes(doubling(27)), MalformedError))

  it.each([2, 3])('a bignum of 256 KiB under tag %i', quick, (number) => {
    refuses(bytes(tag(number, raw(fill(256 * 1024, 0xff)))), TooLargeError)
    refuses(bytes(tag(number, raw(fill(1025, 0xff)))), TooLargeError)
  })
  it('16 MiB of the largest bignums, which are taken', quick, () => {
    const one = tag(TAG.bigint, raw(fill(1024, 0xff)))
    const input = bytes([...head(4, 1000), ...repeat(one, 1000)])
    expect((decode(input) as bigint[])[999]).toBe(2n ** 8192n - 1n)
  })

  it('a RegExp by the generic object tag', quick, () => {
    refuses(bytes(tag(27, array(text('RegExp'), text('^(a+)+$'), text('')))), MalformedError)
  })
  it('a long RegExp', quick, () => {
    refuses(bytes(tag(TAG.regexp, text(`/${'a'.repeat(5000)}/`))), TooLargeError)
    refuses(bytes(tag(TAG.regexp, text(`/${'a'.repeat(1025)}/`))), TooLargeError)
  })
  it('generic objects that name functions', quick, () => {
    for (const name of ['constructor', '__defineGetter__', 'Error', 'Function']) {
      refuses(bytes(tag(27, array(text(name), text('return 1'), text('x')))), MalformedError)
    }
  })

  it.each([
    ['empty objects', [0xa0]],
    ['empty arrays', [0x80]],
    ['empty Sets', tag(TAG.set, [0x80])],
    ['dates', tag(TAG.date, uint(0))],
    ['nulls', NULL],
  ])('a million %s, in one array and one behind the other', quick, (_, one) => {
    const million = new Uint8Array(5 + one.length * 1_000_000)
    million.set(head(4, 1_000_000))
    for (let i = 0; i < 1_000_000; i++) million.set(one, 5 + i * one.length)
    const grown = growth(() => {
      refuses(million, TooLargeError)
      expect(() => decodeChunk(million.subarray(5))).toThrow(TooLargeError)
    })
    expect(grown).toBeLessThan(32 * 1024 * 1024)
  })
  it('as many empty objects as are allowed stay within bounds', quick, () => {
    const input = new Uint8Array(5 + 262_143).fill(0xa0)
    input.set(head(4, 262_143))
    expect(growth(() => expect((decode(input) as object[]).length).toBe(262_143))).toBeLessThan(64 * 1024 * 1024)
  })

  it.each([
    ['arrays', [0x81]],
    ['objects', [0xa1, 0x61, 0x61]],
    ['Maps', [...tag(TAG.map, [0xa1]), 0x00]],
    ['Map keys', tag(TAG.map, [0xa1])],
    ['Sets', tag(TAG.set, [0x81])],
    ['class instances', tag(TAG.object, [0x83, 0xf6, 0x61, 0x61])],
  ])('a hundred thousand %s in each other', quick, (_, one) => {
    refuses(bytes([...repeat(one, 100_000), 0x00]), TooLargeError)
  })
  it('half a million tags on one value', quick, () => {
    refuses(bytes([...repeat([0xd8, TAG.shared], 500_000), 0x80]), MalformedError)
    refuses(bytes([...repeat(tag(TAG.snapshot, []), 500_000), 0x80]), MalformedError)
  })

  it.each([2, 3, 4, 5])('lengths that the input cannot hold, major type %i', quick, (major) => {
    const wrap = (item: number[]): number[] => (major === 2 ? tag(64, item) : item)
    for (const length of [24, 256, 65_536, 2 ** 24 - 1, 2 ** 31, 2 ** 32 - 1]) {
      const grown = growth(() => refuses(bytes(wrap(head(major, length))), MalformedError))
      expect(grown).toBeLessThan(8 * 1024 * 1024)
    }
    // 2^32 and more need a 64-bit length, which nothing has.
    refuses(bytes(wrap([(major << 5) | 27, 0, 0, 0, 1, 0, 0, 0, 0])), MalformedError)
    refuses(bytes(wrap([(major << 5) | 27, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])), MalformedError)
  })
  it('arrays that each claim all that is left', quick, () => {
    const nest = (depth: number): number[] => (depth === 0 ? [0] : [...head(4, 60 - depth), ...nest(depth - 1)])
    refuses(bytes(nest(50)), MalformedError)
  })
  it('more bytes than one value may have', quick, () => {
    refuses(new Uint8Array(MAX_BYTES + 128 * 1024), TooLargeError)
  })

  it('records where none are allowed, and their abuse where they are', quick, () => {
    const define = (id: number, keys: number[][], ...values: number[][]): number[] =>
      tag(RECORD_DEFINITION, array(uint(RECORD + id), array(...keys), ...values))
    const good = define(0, [text('user'), text('n')], text('bob'), uint(1))
    expect(decodeChunk(bytes([...good, ...tag(RECORD, array(text('eve'), uint(2)))]))).toEqual([
      { user: 'bob', n: 1 },
      { user: 'eve', n: 2 },
    ])
    expect(() => decode(bytes(good))).toThrow(MalformedError)
    for (const bad of [
      tag(RECORD, array(uint(1), uint(2))), // never defined
      [...good, ...tag(RECORD, array(uint(1)))], // too few values
      [...good, ...tag(RECORD, array(uint(1), uint(2), uint(3)))], // too many
      [...good, ...tag(RECORD, map([text('user'), uint(1)]))],
      [...good, ...tag(RECORD + 1, array(uint(1), uint(2)))],
      define(256, [text('a')], uint(1)),
      define(-1, [text('a')], uint(1)),
      define(0, [text('__proto__')], map()),
      define(0, [uint(1)], uint(1)),
      define(0, [tag(64, raw([1]))], uint(1)),
      define(0, [text('a')]),
      define(0, [], uint(1)),
      tag(RECORD_DEFINITION, array()),
      tag(RECORD_DEFINITION, array(uint(RECORD))),
      tag(RECORD_DEFINITION, array(text('x'), array(), uint(1))),
      tag(RECORD_DEFINITION, array(uint(RECORD), text('ab'), uint(1), uint(2))),
      tag(RECORD_DEFINITION, map([uint(RECORD), array()])),
      tag(RECORD - 2, array(uint(RECORD), array(text('a')))), // definitions without a value
      tag(TAG.map, good),
      tag(TAG.object, good),
      good.slice(0, -1),
      good.slice(0, 12),
    ])
      refuses(bytes(bad), MalformedError)
  })
  it('thousands of definitions', quick, () => {
    const many = Array.from({ length: 8000 }, (_, i) =>
      tag(RECORD_DEFINITION, array(uint(RECORD + (i % 256)), array(text(`k${i}`)), uint(i))),
    ).flat()
    const values = decodeChunk(bytes(many)) as Record<string, number>[]
    expect(values.length).toBe(8000)
    expect(values[7999]).toEqual({ k7999: 7999 })
  })
  it('a shape redefined by one peer does not reach another', () => {
    const mine = bytes(tag(RECORD_DEFINITION, array(uint(RECORD), array(text('user')), text('alice'))))
    const theirs = bytes(tag(RECORD_DEFINITION, array(uint(RECORD), array(text('role')), text('admin'))))
    expect(decodeChunk(theirs)).toEqual([{ role: 'admin' }])
    expect(decodeChunk(mine)).toEqual([{ user: 'alice' }])
    expect(() => decodeChunk(bytes(tag(RECORD, array(text('alice')))))).toThrow(MalformedError)
  })
})

describe('text', () => {
  const utf8 = (...units: number[]): number[] => [...head(3, units.length), ...units]
  const long = Array.from({ length: 200 }, () => 0x61)
  it.each<[string, number[]]>([
    ['a byte that begins nothing', [0xff]],
    ['a byte that goes on with nothing', [0x80]],
    ['a character that is cut', [0xe6, 0xb0]],
    ['a character in too many bytes', [0xc0, 0x80]],
    ['a longer one in too many', [0xe0, 0x82, 0x80]],
    ['the longest in too many', [0xf0, 0x80, 0x80, 0x80]],
    ['half a character', [0xed, 0xa0, 0x80]],
    ['both halves, each by itself', [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]],
    ['a character beyond the last', [0xf4, 0x90, 0x80, 0x80]],
    ['a character beyond all', [0xf8, 0x88, 0x80, 0x80, 0x80]],
    ['a bad byte beside the mark of one', [0xef, 0xbf, 0xbd, 0xff]],
  ])('that is not UTF-8 is refused: %s', (_, bad) => {
    for (const units of [bad, [0x61, ...bad, 0x62], [...long, ...bad], [...bad, ...long]]) {
      refuses(bytes(utf8(...units)), MalformedError)
      refuses(bytes(map([utf8(...units), uint(1)])), MalformedError)
      refuses(bytes(tag(TAG.url, utf8(0x61, 0x3a, ...units))), MalformedError)
      const shape = tag(RECORD_DEFINITION, array(uint(RECORD), array(utf8(...units)), uint(1)))
      expect(() => decodeChunk(bytes(shape))).toThrow(MalformedError)
    }
  })
  it('that is UTF-8 is taken, the mark of a bad byte and byte order marks too', () => {
    const pieces = [
      '\ufffd',
      'a',
      'é',
      '水',
      '😀',
      '\uffff',
      '\u0080',
      '\u07ff',
      '\u0800',
      '\ud7ff',
      '\ue000',
      '\u{10ffff}',
    ]
    for (const piece of pieces) {
      for (const count of [1, 2, 7, 25, 100]) {
        const value = `\ufeff${piece.repeat(count)}\ufffd`
        expect(decode(bytes(text(value)))).toBe(value)
        expect(decode(bytes(map([text(value), uint(1)])))).toEqual({ [value]: 1 })
      }
    }
  })
  it('is not taken for another that looks alike to a table of words', () => {
    const words = Array.from({ length: 30_000 }, (_, i) => `${i % 7}word${(i * 7919) % 30_011}${'-'.repeat(i % 11)}`)
    expect(decode(encode(words))).toEqual(words)
    const keys = Array.from({ length: 10_000 }, (_, i) => ({ [words[i]!]: i }))
    expect(keys.every((key) => Object.keys(decode(encode(key)) as object)[0] === Object.keys(key)[0])).toBe(true)
  })
  it('is read for others who use the same build of cbor-x', () => {
    const theirs = new Decoder({ useRecords: false })
    const value = { text: 'of theirs', long: 'é'.repeat(100) }
    const theirBytes = encode(value)
    expect(theirs.decode(theirBytes)).toEqual(value)
    expect(decode(theirBytes)).toEqual(value)
    expect(theirs.decode(theirBytes)).toEqual(value)
  })
})

describe('prototypes', () => {
  const before = Object.getOwnPropertyNames(Object.prototype).join()
  it('stay as they are', () => {
    const evil = map([text('polluted'), uint(1)])
    refuses(bytes(map([text('__proto__'), evil])), MalformedError)
    const own = decode(bytes(tag(TAG.object, array(NULL, text('__proto__'), evil)))) as object
    expect(Object.getPrototypeOf(own)).toBe(Object.prototype)
    expect(Object.getOwnPropertyDescriptor(own, '__proto__')?.value).toEqual({ polluted: 1 })
    const nested = decode(bytes(map([text('constructor'), map([text('prototype'), evil])]))) as Record<string, unknown>
    expect(Object.hasOwn(nested, 'constructor')).toBe(true)
    const error = decode(
      bytes(tag(TAG.error, array(text('Error'), NULL, NULL, text('m'), NULL, uint(0), text('__proto__'), evil))),
    ) as Error
    expect(error).toBeInstanceOf(Error)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    expect(Object.getOwnPropertyNames(Object.prototype).join()).toBe(before)
  })
})

describe('what is not wholly understood is refused', () => {
  it('every tag number that is not in the table', () => {
    const spoken = new Set<number>([...Object.values(TAG), ...Object.values(TYPED_ARRAY_TAG)])
    // No content that any tag takes lets a foreign tag through.
    const contents = [uint(0), text('http://x/'), raw([0, 0, 0, 0, 0, 0, 0, 0]), array(), map(), array(NULL), NULL]
    // Each of those that are short, and then some of every length.
    for (let number = 0; number < 66_000; number += number < 4096 ? 1 : 7) {
      if (spoken.has(number)) continue
      for (const content of number < TAG.farDate + 100 ? contents : [uint(0)]) {
        if (thrownBy(() => decode(bytes(tag(number, content)))) !== MalformedError) expect.unreachable(`tag ${number}`)
      }
    }
    for (const number of [0x53687264, 1879052288, 2 ** 32 - 1])
      expect(() => decode(bytes(tag(number, uint(0))))).toThrow(MalformedError)
  })
  it('every tag of the table over the wrong content', () => {
    const contents = [
      uint(5),
      head(1, 3),
      text('x'),
      raw([1, 2, 3]),
      array(uint(1), uint(2)),
      map([text('a'), uint(1)]),
      tag(TAG.set, array()),
      tag(32, text('a:b')),
      NULL,
      [0xf9, 0x7e, 0x00],
      tag(TAG.reference, uint(0)),
    ]
    for (const number of [...Object.values(TAG), ...Object.values(TYPED_ARRAY_TAG)]) {
      for (const content of contents) {
        let value: unknown
        try {
          value = decode(bytes(tag(number, content)))
        } catch (error) {
          expect(error instanceof MalformedError || error instanceof TooLargeError).toBe(true)
          continue
        }
        expect(value).not.toHaveProperty('tag')
      }
    }
  })
  it.each<[string, number[]]>([
    ['nothing', []],
    ['bytes behind the end', [...uint(1), ...uint(2)]],
    ['bare bytes', raw([1])],
    ['an indefinite array', [0x9f, 0x01, 0xff]],
    ['an indefinite object', [0xbf, 0x61, 0x61, 0x01, 0xff]],
    ['indefinite text', [0x7f, 0x61, 0x61, 0xff]],
    ['indefinite bytes', tag(64, [0x5f, 0x41, 0x61, 0xff])],
    ['a break', [0xff]],
    ['reserved lengths', [0x1c]],
    ['a simple value', [0xe5]],
    ['a simple value of two bytes', [0xf8, 0x20]],
    ['a number as a key', map([uint(1), uint(1)])],
    ['an array as a key', map([array(), uint(1)])],
    ['a tagged key', map([tag(TAG.text, raw([0x41, 0])), uint(1)])],
    ['half a float', [0xfb, 0, 0, 0]],
    ['a reference to nothing', tag(TAG.reference, uint(0))],
    ['a reference beyond what there is', array(tag(TAG.shared, array()), tag(TAG.reference, uint(1)))],
    ['a reference ahead', array(tag(TAG.reference, uint(0)), tag(TAG.shared, array()))],
    ['a giant reference', array(tag(TAG.shared, array()), tag(TAG.reference, [0x1b, 0, 0, 0, 0, 0, 0, 0, 0]))],
    ['a negative reference', array(tag(TAG.shared, array()), tag(TAG.reference, head(1, 0)))],
    ['a mark on a mark', tag(TAG.shared, tag(TAG.shared, array()))],
    ['a mark on a reference', tag(TAG.shared, tag(TAG.shared, tag(TAG.reference, uint(0))))],
    ['a mark on itself', tag(TAG.shared, tag(TAG.snapshot, tag(TAG.reference, uint(0))))],
    ['a shared number', tag(TAG.shared, tag(TAG.bigint, raw([1])))],
    ['shared text', tag(TAG.shared, tag(TAG.text, raw([0x41, 0])))],
    ['a snapshot of a number', tag(TAG.snapshot, tag(TAG.bigint, raw([1])))],
    ['a date that is no number', tag(TAG.date, NULL)],
    ['a date of 64 bits', tag(TAG.date, [0x1b, 0, 0, 0, 1, 0, 0, 0, 0])],
    ['half a character', tag(TAG.text, raw([0x41]))],
    ['a URL that is none', tag(TAG.url, text('not a url'))],
    ['a pattern that is none', tag(TAG.regexp, text('/(/'))],
    ['flags that are none', tag(TAG.regexp, text('/a/zz'))],
    ['a pattern without slashes', tag(TAG.regexp, text('abc'))],
    ['a pattern of one slash', tag(TAG.regexp, text('/'))],
    ['floats that are cut', tag(86, raw([1, 2, 3]))],
    ['big-endian floats', tag(82, raw([0, 0, 0, 0, 0, 0, 0, 0]))],
    ['an object without a name', tag(TAG.object, array())],
    ['an object with a key alone', tag(TAG.object, array(NULL, text('a')))],
    ['an object whose key is a number', tag(TAG.object, array(NULL, uint(1), uint(1)))],
    ['an object whose name is a number', tag(TAG.object, array(uint(1)))],
    [
      'an object whose key is itself',
      tag(TAG.shared, tag(TAG.object, array(NULL, tag(TAG.reference, uint(0)), uint(1)))),
    ],
    ['an error without fields', tag(TAG.error, array(text('Error')))],
    ['an error of no kind', tag(TAG.error, array(text('Function'), NULL, NULL, text('m'), NULL, uint(0)))],
    ['an error of an inherited kind', tag(TAG.error, array(text('constructor'), NULL, NULL, text('m'), NULL, uint(0)))],
    [
      'an error whose message is itself',
      tag(TAG.shared, tag(TAG.error, array(text('Error'), NULL, NULL, tag(TAG.reference, uint(0)), NULL, uint(0)))),
    ],
    ['an error whose count is text', tag(TAG.error, array(text('Error'), NULL, NULL, text('m'), NULL, text('0')))],
    ['a zero that is none', tag(TAG.negativeZero, uint(1))],
  ])('%s', (_, item) => {
    const input = bytes(item)
    expect(() => decode(input)).toThrow(MalformedError)
    expect(decode(bytes(uint(7)))).toBe(7)
  })
  it('what is not even bytes', () => {
    for (const input of [undefined, null, 'text', [1], {}, new ArrayBuffer(1)]) {
      expect(() => decode(input as never)).toThrow(MalformedError)
    }
  })
})

class Account {
  owner = 'me'
  balance = 10n
}
const cyclic: Record<string, unknown> = { name: 'loop', list: [1, { deep: [new Map()] }] }
cyclic.self = cyclic
cyclic.map = new Map<unknown, unknown>([[cyclic, new Set([cyclic])]])
const samples: unknown[] = [
  { id: 1, kind: 'progress', at: 1_753_000_000_123, ok: true, tags: ['a', 'b'], text: 'x'.repeat(100), nothing: null },
  [new Date(5), new Date(NaN), /a+/gi, new URL('http://x/y'), 10n ** 40n, -(10n ** 40n), -0, 'a\ud800', undefined],
  [
    Uint8Array.of(1, 2),
    Float64Array.of(1, 2),
    BigInt64Array.of(1n),
    new DataView(new ArrayBuffer(9)),
    new ArrayBuffer(3),
    new Uint8Array(5000),
  ],
  new AggregateError([new TypeError('a', { cause: cyclic }), Object.assign(new Error('b'), { code: 'E' })], 'both'),
  { account: new Account(), picture: { [Symbol.for('errand.snapshot')]: () => new Account() }, cyclic },
  new Map<unknown, unknown>([
    [{ a: 1 }, new Set([[1], [2]])],
    ['k', new Map([[1, { b: 2 }]])],
  ]),
  JSON.parse('{"__proto__": {"x": [1, 2, {"y": null}]}, "z": 1}'),
]

/** A small generator with a seed, so that what fails can be made again. */
function randoms(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
    let mixed = Math.imul(state ^ (state >>> 12), 0x297a2d39)
    mixed ^= mixed >>> 15
    return (mixed >>> 0) % below
  }
}

describe('limits', () => {
  const many = Array.from({ length: 300_000 }, () => 0)
  it('that are not there are the usual ones', () => {
    const none = { items: undefined, bytes: undefined, depth: undefined } as unknown as { items: number }
    expect(decode(encode([1], { limits: none }), { limits: none })).toEqual([1])
    expect(() => encode(many, { limits: none })).toThrow(TooLargeError)
    const frame = encode(many, { limits: { items: 300_001 } })
    expect(() => decode(frame, { limits: none })).toThrow(TooLargeError)
    expect(() => decodeChunk(bytes([...frame, ...frame]), none)).toThrow(TooLargeError)
  })
  it.each(['items', 'bytes', 'depth'] as const)('%s that are no limit are refused', (name) => {
    for (const limit of [NaN, 0, -1, null, '5', {}] as number[]) {
      const limits = { [name]: limit }
      expect(() => encode(1, { limits })).toThrow(RangeError)
      expect(() => decode(bytes(uint(1)), { limits })).toThrow(RangeError)
      expect(() => decodeChunk(bytes(uint(1)), limits)).toThrow(RangeError)
    }
  })
})

describe('fuzz', () => {
  it('every prefix of a value is refused, and no byte changed does harm', () => {
    for (const sample of samples) {
      const whole = encode(sample)
      const limit = Math.min(whole.length, 700)
      for (let end = 0; end < limit; end++) {
        if (thrownBy(() => decode(whole.subarray(0, end))) !== MalformedError)
          expect.unreachable(`${end} of ${whole.length} bytes`)
      }
      for (let at = 0; at < limit; at++) {
        for (const flip of [0x01, 0x20, 0x80, 0xff]) {
          const changed = whole.slice()
          changed[at]! ^= flip
          attempt(changed)
        }
      }
    }
  })
  // Others in every run; campaign `fuzz` sends a million such.
  it('2 000 mutated frames: a value, or an error of ours', { timeout: 60_000 }, () => {
    const seed = (Date.now() ^ (process.pid << 8)) | 0
    const random = randoms(seed)
    const names = Object.getOwnPropertyNames(Object.prototype).join()
    const encoded = samples.map((sample) => encode(sample))
    let values = 0
    for (let run = 0; run < 2000; run++) {
      let input = encoded[random(encoded.length)]!.slice()
      for (let edits = 1 + random(4); edits > 0; edits--) {
        const at = random(input.length || 1)
        switch (random(5)) {
          case 0:
            input[at] = random(256)
            break
          case 1:
            input = input.subarray(0, at)
            break
          case 2: {
            const other = encoded[random(encoded.length)]!
            input = Uint8Array.from([...input.subarray(0, at), ...other.subarray(random(other.length))])
            break
          }
          case 3:
            input = Uint8Array.from([
              ...input.subarray(0, at),
              ...tag(Object.values(TAG)[random(18)] ?? 1, []),
              ...input.subarray(at),
            ])
            break
          default:
            input = Uint8Array.from([
              ...input.subarray(0, at),
              ...input.subarray(Math.min(input.length, at + 1 + random(4))),
            ])
        }
      }
      try {
        if (attempt(input)) values++
      } catch (error) {
        throw new Error(`seed ${seed}, run ${run}: ${Buffer.from(input).toString('hex')}`, { cause: error })
      }
    }
    expect(values).toBeGreaterThan(0)
    expect(Object.getOwnPropertyNames(Object.prototype).join()).toBe(names)
    expect(decode(encode(samples[0]))).toEqual(samples[0])
  })
  it('random bytes behind every first byte', () => {
    const random = randoms(7)
    for (let first = 0; first < 256; first++) {
      for (let run = 0; run < 40; run++)
        attempt(Uint8Array.from([first, ...Array.from({ length: random(24) }, () => random(256))]))
    }
  })

  /** True when it was a value; whatever it is, it can be sent on. */
  function attempt(input: Uint8Array): boolean {
    const { length } = input
    for (const read of [decodeChunk, decode]) {
      const thrown = thrownBy(() => read(input))
      if (thrown === undefined) continue
      if (thrown !== MalformedError && thrown !== TooLargeError)
        expect.unreachable(`${(thrown as { name: string }).name} of ${length} bytes`)
      if (read === decode) return false
    }
    const value = decode(input)
    className(value)
    decode(encode(value))
    return true
  }
})
