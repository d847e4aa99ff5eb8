import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createChunkWriter, decode, decodeChunk, encode } from '../src/codec.ts'
import { MAX_ITEMS, MEMORY_PER_BYTE, MEMORY_PER_ITEM } from '../src/codec-limits.ts'
import { RECORD, RECORD_DEFINITION, TAG } from '../src/codec-tags.ts'
import { MalformedError, TooLargeError } from '../src/errors.ts'
import { NULL, array, bytes, head, map, raw, tag, text, uint } from './fixtures/cbor-bytes.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function refusal(act: () => unknown): TooLargeError {
  try {
    act()
  } catch (error) {
    expect(error).toBeInstanceOf(TooLargeError)
    return error as TooLargeError
  }
  throw new Error('nothing was refused')
}

function accepts(act: () => unknown): boolean {
  try {
    act()
    return true
  } catch (error) {
    if (error instanceof TooLargeError) return false
    throw error
  }
}

/** The smallest limit of items with which this is accepted. */
function itemsOf(accepted: (items: number) => boolean): number {
  let low = 0
  let high = 1
  while (!accepted(high)) high *= 2
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (accepted(middle)) high = middle
    else low = middle
  }
  return high
}

const unlimited = { items: 1e9 }
const sent = (value: unknown): number => itemsOf((items) => accepts(() => encode(value, { limits: { items } })))
const taken = (value: unknown): number => {
  const whole = encode(value, { limits: unlimited })
  return itemsOf((items) => accepts(() => decode(whole, { limits: { items } })))
}

class Point {
  x = 1
}

/** Without a stack, which is longer in one place than in another. */
function bare(error: Error): Error {
  return Object.defineProperty(error, 'stack', { value: undefined })
}

describe('both sides count alike', () => {
  const kinds: readonly [string, unknown, number][] = [
    ['a number', 5, 1],
    ['text of 24 bytes', ['x'.repeat(24), 'é'.repeat(12)], 3],
    ['longer text', ['x'.repeat(25), 'é'.repeat(13), 'x'.repeat(10_000)], 7],
    ['longer text beside a thing that is not plain', ['x'.repeat(25), 'é'.repeat(13), -0], 6],
    ['a long key', { ['x'.repeat(25)]: 1 }, 9],
    [
      'a Map in itself',
      (() => {
        const it = new Map()
        return it.set(1, it)
      })(),
      4,
    ],
    ['awkward text', '\ud800', 2],
    ['a date', new Date(5), 1],
    ['an empty object', {}, 1],
    ['an object of one key, which is new', { a: 1 }, 9],
    [
      'the same keys again',
      [
        { a: 1, b: 2 },
        { a: 3, b: 4 },
      ],
      3 + 2 * (2 + 6) + 2 * 2,
    ],
    ['other keys', [{ a: 1 }, { b: 1 }, { a: 1 }], 4 + 3 * 8],
    ['the same keys at another depth', [{ a: { b: { a: 1 } } }, { a: { b: { a: 1 } } }], 3 + 3 * 8 + 3 * 2],
    ['a table of 100 keys', Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, 1])), 201 + 24 * 6 + 76],
    ['a Map', new Map([[1, 2]]), 4],
    ['a Set', new Set([1, 2]), 4],
    ['short bytes', new Uint8Array(64), 2],
    ['bytes', new Uint8Array(65), 6],
    ['floats', new Float64Array(9), 6],
    ['an ArrayBuffer', new ArrayBuffer(1), 5],
    ['a DataView', new DataView(new ArrayBuffer(100)), 9],
    ['a long BigInt', 2n ** 100n, 3],
    ['the longest BigInt', 2n ** 8192n - 1n, 3 + 32],
    ['a URL', new URL('http://example.com/'), 1 + 12 + 2],
    ['a RegExp', /ab+c/g, 1 + 10 + 3],
    ['a RegExp of Unicode', /ab+c/u, 1 + 10 + 7 * 8],
    ['a RegExp with a property', /\p{L}/u, 1 + 10 + 8 * 8 + 512],
    ['a RegExp of sequences', /\p{RGI_Emoji}/v, 1 + 10 + 16 * 8 + 512 + 16_384],
    ['an instance', new Point(), 7 + 6],
    ['like instances', [new Point(), new Point()], 1 + 2 * 7 + 6],
    ['an object with an awkward key', { '\ud800': 1, b: 2 }, 1 + 5 + 3 + 1 + 2 * 6],
    ['the same twice', [{ '\ud800': 1 }, { '\ud800': 1 }], 1 + 2 * (1 + 3 + 3 + 1 + 6)],
    ['an object with a key for which there is no other way', JSON.parse('{"__proto__":1,"b":2}'), 1 + 5 + 3 + 2 * 6],
    ['an Error of two fields', Object.assign(bare(new Error('m')), { a: 1, b: 2 }), 1 + 12 + 10 + 2 * 6],
    ['like Errors', [0, 1].map((n) => Object.assign(bare(new RangeError('m')), { n })), 1 + 2 * (1 + 12 + 8) + 6],
    ['a field where the last object had the same key', [{ x: 0 }, new Point()], 1 + (1 + 2 + 6) + 7],
    ['a RegExp of Unicode and either case', /ab+c/iu, 1 + 10 + 8 * 8],
    ['a RegExp of such classes', /[a-c]/iv, 1 + 10 + 9 * 64],
    ['a RegExp that says so within', /(?i:[a-c])/u, 1 + 10 + 13 * 64],
    ['a snapshot', { [Symbol.for('errand.snapshot')]: () => [1] }, 3],
  ]
  it.each(kinds)('%s', (_, value, items) => {
    expect(sent(value)).toBe(items)
    expect(taken(value)).toBe(items)
  })
  it('anything that shares nothing', () => {
    const one = fc.oneof(
      fc.anything({
        withBigInt: true,
        withDate: true,
        withMap: true,
        withSet: true,
        withTypedArray: true,
        maxDepth: 4,
      }),
      fc.constantFrom(...kinds.map(([, value]) => value)),
      fc.string().map((message) => Object.assign(new Error(message), { code: 'E' })),
    )
    fc.assert(
      fc.property(fc.array(one, { maxLength: 6 }), (values) => {
        const value = values.map((each, i) => ({ each: fresh(each), [`k${i % 3}`]: i }))
        expect(taken(value)).toBe(sent(value))
      }),
      { numRuns: 100 },
    )
  })
  it('rows of a chunk: what one writer takes, one reader takes', () => {
    const limits = { items: 100 }
    const writer = createChunkWriter({ limits })
    for (let i = 0; i < 100_000; i++) {
      const row = { [`k${i % 70}`]: i, when: new URL(`http://x/${i}`), bytes: new Uint8Array(i % 100) }
      if (!accepts(() => writer.add(row))) break
    }
    expect(writer.count).toBeGreaterThan(100)
    decodeChunk(writer.finish(), limits)
  })
  it('and the sender says where it is too much', () => {
    const urls = Array.from({ length: 30_000 }, () => new URL('http://example.com/'))
    expect(refusal(() => encode({ urls })).path).toMatch(/^value\.urls\[\d+\]/)
    expect(refusal(() => encode({ rows: [/x/, new RegExp('\\p{RGI_Emoji}'.repeat(20), 'v')] })).path).toBe(
      'value.rows[1]',
    )
  })
})

/** The same in objects of its own, where that can be had. */
function fresh(value: unknown): unknown {
  if (value instanceof Point) return new Point()
  try {
    return structuredClone(value)
  } catch {
    return 0
  }
}

describe('what would take long is refused before it is begun', () => {
  // Each in its own test with a limit of its own: a hang shows as one name, not as a suite that never ends.
  const quick = { timeout: 20_000 }
  const refuses = (item: readonly number[]): void => {
    refusal(() => decode(bytes(item)))
    refusal(() => decodeChunk(bytes(item)))
  }
  it('RegExps of properties that stand for sequences, 2 ms each', quick, () => {
    refuses(tag(TAG.regexp, text(`/${'\\p{RGI_Emoji}'.repeat(70)}/v`)))
    refuses(array(...Array.from({ length: 20 }, () => tag(TAG.regexp, text('/\\p{RGI_Emoji}/iv')))))
    expect(decode(encode([/^\p{RGI_Emoji}+$/v, /\p{L}/iu]))).toEqual([/^\p{RGI_Emoji}+$/v, /\p{L}/iu])
  })
  it('RegExps of other properties, 100 µs each', quick, () => {
    const one = tag(TAG.regexp, text(`/${'\\p{L}'.repeat(100)}/iu`))
    refuses(array(...Array.from({ length: 6 }, () => one)))
    refuses(array(...Array.from({ length: 6 }, () => tag(TAG.regexp, text(`/${'\\P{Lu}'.repeat(100)}/v`)))))
  })
  it('RegExps where case is looked up', quick, () => {
    refuses(array(...Array.from({ length: 40 }, () => tag(TAG.regexp, text(`/${'\\W'.repeat(500)}/iu`)))))
  })
  it('RegExps of classes where case is looked up, 20 ms each', quick, () => {
    const one = (i: number): number[] => tag(TAG.regexp, text(`/[${'\u0100-\uffff'.repeat(330)}]x${i}/iv`))
    refuses(array(...Array.from({ length: 5 }, (_, i) => one(i))))
    refuses(array(...Array.from({ length: 5 }, (_, i) => tag(TAG.regexp, text(`/(?i:[${'\\W'.repeat(480)}])x${i}/u`)))))
  })
  it('RegExps at all', quick, () => {
    refuses([...head(4, 30_000), ...Array.from({ length: 30_000 }, (_, i) => tag(TAG.regexp, text(`/${i}/`))).flat()])
  })
  it('URLs', quick, () => {
    const one = tag(TAG.url, text('a:b'))
    refuses([...head(4, 30_000), ...Array.from({ length: 30_000 }, () => one).flat()])
    refuses(tag(TAG.url, text(`http://x/${'../'.repeat(800_000)}`)))
  })
  it('URLs of other scripts, which nobody writes so', quick, () => {
    expect(() => decode(bytes(tag(TAG.url, text('http://bücher.example/'))))).toThrow(MalformedError)
    expect(decode(encode(new URL('http://bücher.example/ä')))).toEqual(new URL('http://bücher.example/ä'))
  })
  it('objects of ever new keys', quick, () => {
    const objects = Array.from({ length: 40_000 }, (_, i) => map([text(`k${i}`), uint(1)]))
    refuses([...head(4, objects.length), ...objects.flat()])
  })
  it('instances and Errors of ever new fields', quick, () => {
    const fields = (i: number, count: number): number[][] =>
      Array.from({ length: count }, (_, k) => [text(`k${i}_${k}`), uint(1)]).flat()
    for (const count of [2, 24]) {
      const some = (one: (i: number) => number[], counts: number): number[] => {
        const many = Math.ceil(MAX_ITEMS / counts) + 1
        return [...head(4, many), ...Array.from({ length: many }, (_, i) => one(i)).flat()]
      }
      // Each new field counts six more than itself.
      refuses(some((i) => tag(TAG.object, array(NULL, ...fields(i, count))), 5 + count * 8))
      refuses(
        some(
          (i) => tag(TAG.error, array(text('Error'), NULL, NULL, NULL, NULL, uint(0), ...fields(i, count))),
          19 + count * 8,
        ),
      )
    }
  })
  it('an Error of too many fields', quick, () => {
    const count = 100_000
    const fields = Array.from({ length: count }, (_, i) => [...text(`k${i}`), ...uint(1)])
    const start = [
      ...head(6, TAG.error),
      ...head(4, 6 + count * 2),
      ...text('Error'),
      ...NULL,
      ...NULL,
      ...NULL,
      ...NULL,
    ]
    refuses([...start, ...uint(0), ...fields.flat()])
  })
  it('empty definitions', quick, () => {
    const one = tag(RECORD_DEFINITION, array(uint(RECORD), array()))
    refusal(() => decodeChunk(bytes(Array.from({ length: 200_000 }, () => one).flat())))
  })
  it('memory for each of many bytes', quick, () => {
    for (const one of [
      tag(TAG.arrayBuffer, raw([1])),
      tag(TAG.dataView, raw([])),
      tag(86, raw(Array.from({ length: 72 }, () => 0))),
    ])
      refuses([...head(4, 60_000), ...Array.from({ length: 60_000 }, () => one).flat()])
  })
  it('Errors', quick, () => {
    const one = tag(TAG.error, array(text('DOMException'), NULL, NULL, NULL, NULL, uint(0)))
    refuses([...head(4, 30_000), ...Array.from({ length: 30_000 }, () => one).flat()])
  })
})

describe('numbers that collide', () => {
  const quick = { timeout: 20_000 }
  // V8's ComputeUnseededHash and ComputeLongHash (src/utils/utils.h), in plain words.
  const hash32 = (n: number): number => {
    let h = n >>> 0
    h = (~h + (h << 15)) >>> 0
    h = (h ^ (h >>> 12)) >>> 0
    h = (h + (h << 2)) >>> 0
    h = (h ^ (h >>> 4)) >>> 0
    h = Math.imul(h, 2057) >>> 0
    return (h ^ (h >>> 16)) >>> 0
  }
  const mask = 2n ** 64n - 1n
  const hash64 = (n: bigint): bigint => {
    let h = n & mask
    h = (~h + (h << 18n)) & mask
    h ^= h >> 31n
    h = (h * 21n) & mask
    h ^= h >> 11n
    h = (h + (h << 6n)) & mask
    return h ^ (h >> 22n)
  }
  const bits = (n: number): bigint => {
    const view = new DataView(new ArrayBuffer(8))
    view.setFloat64(0, n)
    return view.getBigUint64(0)
  }
  function some<T>(make: (i: number) => T, fits: (value: T) => boolean): T[] {
    const found: T[] = []
    for (let i = 1; found.length < 200; i++) {
      const value = make(i)
      if (fits(value)) found.push(value)
    }
    return found
  }
  const colliding: readonly [string, readonly (number | bigint)[]][] = [
    [
      'whole numbers',
      some(
        (i) => i,
        (n) => hash32(n) % 128 === 5,
      ),
    ],
    [
      'negative ones',
      some(
        (i) => -i,
        (n) => hash32(n) % 128 === 7,
      ),
    ],
    [
      'floats',
      some(
        (i) => i + 0.5,
        (n) => hash64(bits(n)) % 128n === 3n,
      ),
    ],
    [
      'numbers beyond 32 bits',
      some(
        (i) => i + 2 ** 40,
        (n) => hash64(bits(n)) % 128n === 3n,
      ),
    ],
    [
      'BigInts',
      some(
        (i) => BigInt(i),
        (n) => hash64(n) % 128n === 9n,
      ),
    ],
    [
      'BigInts below zero',
      some(
        (i) => -BigInt(i),
        (n) => hash64(-n) % 128n === 9n,
      ),
    ],
    ['BigInts alike in 64 bits', Array.from({ length: 200 }, (_, i) => (BigInt(i) << 64n) + 5n)],
    ['the same below zero', Array.from({ length: 200 }, (_, i) => -(BigInt(i) << 64n) - 5n)],
  ]
  /** The item of each as `encode` writes it: it refuses the whole. */
  const items = (values: readonly unknown[]): number[][] => values.map((value) => [...encode(value)])
  it.each(colliding)('%s', quick, (_, values) => {
    const set = bytes(tag(TAG.set, array(...items(values))))
    const entries = bytes(tag(TAG.map, map(...items(values).map((item) => [item, NULL] as const))))
    for (const input of [set, entries]) {
      expect(refusal(() => decode(input)).message).toContain('collide')
      refusal(() => decodeChunk(input))
    }
    const path = refusal(() => encode({ deep: [new Set(values)] })).path
    expect(path).toBe('value.deep[0]')
    expect(refusal(() => encode({ map: new Map(values.map((value) => [value, 1])), zero: -0 })).path).toBe('value.map')
    // As values of a Map, or in an array, they do no harm.
    expect(decode(encode(values))).toEqual(values)
    const back = decode(encode(new Map(values.map((value, i) => [`k${i}`, value])))) as Map<string, unknown>
    expect([...back.values()]).toEqual(values)
  })
  it('nested in one another', quick, () => {
    const inner = tag(TAG.set, array(...items(colliding[0]![1])))
    const half = colliding[0]![1].slice(0, 100)
    refusal(() => decode(bytes(tag(TAG.set, array(...items(half), inner, ...items(colliding[0]![1].slice(100)))))))
    refusal(() => decode(bytes(tag(TAG.map, map([inner, uint(1)])))))
  })
  it('of any width on the wire', quick, () => {
    const floats = colliding[0]![1].map((n) => {
      const view = new DataView(new ArrayBuffer(9))
      view.setUint8(0, 0xfb)
      view.setFloat64(1, Number(n))
      return [...new Uint8Array(view.buffer)]
    })
    refusal(() => decode(bytes(tag(TAG.set, array(...floats)))))
  })
  it.each([1, 2, 7, 64, 1000, 4096, 65_536, 0.1, 1 / 3, 2 ** 33, -5])(
    'but not multiples of %d, however many',
    (step) => {
      for (const count of [65, 1000, 30_000]) {
        const set = new Set(Array.from({ length: count }, (_, i) => i * step))
        expect((decode(encode(set)) as Set<number>).size).toBe(set.size)
      }
    },
  )
  it('nor Dates of one time, or text', () => {
    const dates = new Set(Array.from({ length: 200 }, () => new Date(5)))
    expect((decode(encode(dates)) as Set<Date>).size).toBe(200)
    const words = new Map(Array.from({ length: 10_000 }, (_, i) => [`${i}`, i]))
    expect((decode(encode(words)) as Map<string, number>).size).toBe(10_000)
  })
})

describe('memory', () => {
  /** What the act takes hold of, garbage included. */
  function growth(act: () => void): number {
    collect()
    const before = process.memoryUsage()
    act()
    const after = process.memoryUsage()
    return after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers
  }
  const many = (one: readonly number[], count: number): Uint8Array => {
    const start = head(4, count)
    const whole = Buffer.alloc(start.length + one.length * count)
    whole.set(start)
    whole.fill(Uint8Array.from(one), start.length)
    return new Uint8Array(whole.buffer, whole.byteOffset, whole.length)
  }
  it.each<[string, readonly number[], number]>([
    ['nulls', NULL, 1],
    ['empty objects', map(), 1],
    ['empty arrays', array(), 1],
    ['empty Maps', tag(TAG.map, map()), 2],
    ['Maps', tag(TAG.map, map([uint(1), uint(1)])), 4],
    ['empty Sets', tag(TAG.set, array()), 2],
    ['dates', tag(TAG.date, uint(5)), 1],
    ['short bytes', tag(64, raw([1])), 2],
    ['floats', tag(86, raw([])), 2],
    ['bytes', tag(64, raw(Array.from({ length: 65 }, () => 1))), 6],
    ['ArrayBuffers', tag(TAG.arrayBuffer, raw([])), 5],
    ['DataViews', tag(TAG.dataView, raw([])), 9],
    ['BigInts', tag(TAG.bigint, raw([1, 2, 3, 4, 5, 6, 7, 8, 9])), 3],
    ['text', text('é'), 1],
    ['text of 60 bytes', text('é'.repeat(30)), 2],
    ['awkward text', tag(TAG.text, raw([1, 1])), 2],
    ['instances', tag(TAG.object, array(text('A'), text('a'), uint(1))), 7],
    ['errors', tag(TAG.error, array(text('Error'), NULL, NULL, NULL, NULL, uint(0))), 19],
    ['RegExps', tag(TAG.regexp, text('/a/')), 12],
    ['URLs', tag(TAG.url, text('a:b')), 13],
    ['shared marks', tag(TAG.shared, array()), 1],
    ['snapshots', tag(TAG.snapshot, array()), 2],
  ])('%s, as many as are allowed', (_, one, items) => {
    // Of a field that is new to the first of them it has six less.
    const input = many(one, Math.floor((MAX_ITEMS - 1 - 6) / items))
    const bound = input.length * MEMORY_PER_BYTE + MAX_ITEMS * MEMORY_PER_ITEM
    expect(growth(() => decode(input))).toBeLessThan(bound)
    expect(growth(() => decode(input, { copy: true }))).toBeLessThan(bound)
  })
  it('one text or array of bytes as large as is allowed', () => {
    for (const value of ['é'.repeat(8_000_000), new Uint8Array(16_000_000)]) {
      const input = encode(value)
      expect(growth(() => decode(input, { copy: true }))).toBeLessThan(input.length * MEMORY_PER_BYTE)
    }
  })
})
