// What is plain is written by a hand of our own. cbor-x says what it should have written.
import { isDeepStrictEqual } from 'node:util'
import { Encoder } from 'cbor-x/index-no-eval'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createChunkWriter, decode, decodeChunk, encode } from '../src/codec.ts'
import { DEFAULT_LIMITS } from '../src/codec-limits.ts'
import { takePlainBuffer, writePlain } from '../src/codec-plain.ts'

const cborX = new Encoder({ mapsAsObjects: true, tagUint8Array: true, useRecords: false, variableMapSize: true })

/** Undefined when it is not plain. Begins in the middle of a buffer that is too short for nearly anything. */
function plain(value: unknown): Buffer | undefined {
  const end = writePlain(value, DEFAULT_LIMITS, Buffer.from('before it'), 7)
  if (end < 0) return undefined
  const buffer = takePlainBuffer()
  expect(buffer.toString('latin1', 0, 7)).toBe('before ')
  return buffer.subarray(7, end)
}

function sameAsCborX(value: unknown): void {
  const ours = plain(value)
  expect(ours?.toString('hex')).toBe(Buffer.from(cborX.encode(value)).toString('hex'))
}

const edges = [0, 1, 23, 24, 255, 256, 65_535, 65_536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]

describe('plain values are written as cbor-x writes them', () => {
  it.each<[string, unknown[]]>([
    ['whole numbers', [...edges, ...edges.slice(1).map((n) => -n), ...edges.map((n) => -1 - n)]],
    ['other numbers', [0.5, -1e300, 5e-324, NaN, Infinity, -Infinity]],
    ['BigInts', [0n, 5n, -1n, 2n ** 64n - 1n, 1n - 2n ** 64n]],
    ['simple values', [true, false, null, undefined]],
    ['dates', [new Date(0), new Date(1), new Date(4_294_967_295_000), new Date(4_294_967_296_000), new Date(NaN)]],
    ['dates before 1970', [new Date(-1), new Date(-1000)]],
    ['text', [0, 1, 15, 23, 24, 47, 48, 49, 255, 256, 65_535, 65_536].map((n) => 'x'.repeat(n))],
    ['text of two bytes a unit', [1, 11, 12, 23, 24, 47, 48, 127, 128, 32_767, 32_768].map((n) => 'é'.repeat(n))],
    ['text of three', [1, 7, 8, 23, 24, 85, 86, 21_845, 21_846].map((n) => '水'.repeat(n))],
    ['pairs', ['😀', `${'x'.repeat(47)}😀`, '\ufeff']],
    ['bytes', [0, 1, 23, 24, 255, 256, 65_536].map((n) => new Uint8Array(n).fill(7))],
    ['arrays', [0, 1, 23, 24, 255, 256, 65_536].map((n) => Array.from({ length: n }, () => 1))],
    [
      'objects',
      [0, 1, 23, 24, 255, 256, 20_000].map((n) =>
        Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, i])),
      ),
    ],
    ['Maps', [0, 1, 23, 24, 256].map((n) => new Map(Array.from({ length: n }, (_, i) => [i, [i]])))],
    ['Sets', [0, 1, 23, 24, 256].map((n) => new Set(Array.from({ length: n }, (_, i) => `m${i}`)))],
  ])('%s', (_, values) => {
    for (const value of values) {
      sameAsCborX(value)
      sameAsCborX([value, { value: structuredClone(value) }])
    }
  })
  it('but for the one BigInt that cbor-x takes for too long (RFC 8949, appendix A)', () => {
    expect(plain(-(2n ** 64n))?.toString('hex')).toBe('3bffffffffffffffff')
  })
  it('anything', () => {
    let written = 0
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme', minLength: 20, maxLength: 60 }))
    fc.assert(
      fc.property(
        fc.anything({
          key: text,
          maxDepth: 5,
          maxKeys: 30,
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withNullPrototype: false,
          values: [fc.integer(), fc.double(), fc.boolean(), text, fc.uint8Array(), fc.constantFrom(null, undefined)],
        }),
        (value) => {
          const ours = plain(value)
          if (ours === undefined) return
          written++
          expect(ours.toString('hex')).toBe(Buffer.from(cborX.encode(value)).toString('hex'))
        },
      ),
      { numRuns: 600 },
    )
    expect(written).toBeGreaterThan(150)
  })
  it('bytes, as many as there are, whatever they say', () => {
    const bytes = Object.defineProperty(Uint8Array.of(1, 2), 'byteLength', { value: 100 })
    for (const value of [bytes, [bytes, -0]]) {
      const back = decode(encode([value])) as unknown[]
      expect([back].flat(3)[0]).toEqual(Uint8Array.of(1, 2))
    }
  })
  it('rows of a chunk: the second defines a shape, which the third uses', () => {
    const writer = createChunkWriter()
    for (const row of [{ a: 1 }, { a: 2, b: { c: 3 } }, { a: 4, b: { c: 5 } }]) writer.add(row)
    const first = [0xa1, 0x61, 0x61, 0x01]
    const second = [0xd9, 0xdf, 0xff, 0x84, 0x19, 0xe0, 0x00, 0x82, 0x61, 0x61, 0x61, 0x62, 0x02]
    const inner = [0xd9, 0xdf, 0xff, 0x83, 0x19, 0xe0, 0x01, 0x81, 0x61, 0x63, 0x03]
    const third = [0xd9, 0xe0, 0x00, 0x82, 0x04, 0xd9, 0xe0, 0x01, 0x81, 0x05]
    expect([...writer.finish()]).toEqual([...first, ...second, ...inner, ...third])
  })
})

describe('what is not plain is left to the slow way', () => {
  class Point {
    x = 1
  }
  const shared = {}
  const cyclic: unknown[] = []
  cyclic.push(cyclic)
  const gone = new Uint8Array(1)
  structuredClone(gone, { transfer: [gone.buffer] })
  it.each<[string, unknown]>([
    ['-0', -0],
    ['a long BigInt', 2n ** 64n],
    ['a lone surrogate', 'a\ud800'],
    ['a long lone surrogate', `${'x'.repeat(60)}\udc00`],
    ['a long text with a byte order mark', `\ufeff${'x'.repeat(20)}`],
    ['a far date', new Date(-4_471_304_788_178_889)],
    ['a key __proto__', JSON.parse('{"__proto__": 1}')],
    ['a key with half a character', { 'a\ud800': 1 }],
    ['an instance', new Point()],
    ['a subclass', new (class extends Map {})()],
    ['an object with another prototype', Object.create({ inherited: 1 })],
    ['a snapshot', { [Symbol.for('errand.snapshot')]: () => 1 }],
    ['an instance that was decoded', decode(encode(new Point()))],
    ['an Error', new Error('x')],
    ['a RegExp', /x/],
    ['floats', new Float64Array(1)],
    ['a Buffer', Buffer.from('x')],
    ['bytes that were given away', gone],
    ['a Proxy of bytes', new Proxy(new Uint8Array(4), { get: (bytes, key): unknown => Reflect.get(bytes, key) })],
    ['floats that say they are bytes', Object.setPrototypeOf(new Float64Array(2), Uint8Array.prototype)],
    ['a function', () => 1],
    ['a shared object', [shared, shared]],
    ['a cycle', cyclic],
    ['65 levels', Array.from({ length: 65 }).reduce((inside: unknown) => [inside], 1)],
    ['a getter that throws', { get a() { throw new Error('no') } }], // prettier-ignore
    ...[1.5, -1, NaN, 2 ** 32, '1', undefined].map((length): [string, unknown] => [
      `an array whose length is ${length}`,
      new Proxy([1, 2], { get: (target, key): unknown => (key === 'length' ? length : Reflect.get(target, key)) }),
    ]),
  ])('%s', (_, value) => {
    expect(plain(value)).toBeUndefined()
    expect(plain([1, { a: [value] }])).toBeUndefined()
  })
  it.each([1.5, -1, NaN, 2 ** 32, '1', undefined])('where an array whose length is %o is refused', (length) => {
    const odd = new Proxy([1], { get: (list, key): unknown => (key === 'length' ? length : Reflect.get(list, key)) })
    expect(() => encode({ odd })).toThrow(
      expect.objectContaining({ code: 'NOT_TRANSFERABLE', path: 'value.odd' }) as Error,
    )
    const marker = { $dropped: 'an array without a length' }
    expect(decode(encode([odd, 1], { lossy: true }))).toEqual([marker, 1])
  })
  it('and the slow way finds the shapes as they were', () => {
    // The second of each pair is given up half-way, after it has met a new shape.
    const rows = [1, 2, 3].flatMap((n) => [{ n }, { [`new${n}`]: n, zero: -0 }, { n: { m: n } }])
    const writer = createChunkWriter()
    for (const row of rows) writer.add(row)
    expect(isDeepStrictEqual(decodeChunk(writer.finish()), rows)).toBe(true)
  })
  it('an object whose fields come and go while they are written', () => {
    const writer = createChunkWriter()
    writer.add(0)
    const fickle: Record<string, unknown> = {
      get first() {
        delete fickle.second
        fickle[`third${Object.keys(fickle).length}`] = 3
        return 1
      },
      second: 2,
    }
    writer.add(fickle)
    writer.add({ calm: true })
    const [, back, calm] = decodeChunk(writer.finish()) as [0, Record<string, unknown>, object]
    expect(back.first).toBe(1)
    expect('second' in back).toBe(false)
    expect(calm).toEqual({ calm: true })
  })
})
