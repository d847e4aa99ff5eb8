// Another CBOR library reads what we write, and we read what it writes.
//
// cborg splits the bytes into items. Its handlers below, and the pass after them, are written from the table of tags in
// docs/PROTOCOL.md ("Values") and from nothing else, so what is right here is right for anybody who has only the table.
//
// Two things need more than a handler. A handler of cborg's sees content when all of it has been read, but tags 28 and 29
// and the key lists of a chunk count in the order of the bytes, from the outside in: these tags are kept and resolved in a
// second pass, which makes each container before what is in it and so ties cycles too. And cborg takes an integer of 64
// bits for a number where one can hold it, and U+FEFF in front of text for a byte order mark: its tokenizer is told better.
import { isDeepStrictEqual } from 'node:util'
import * as cborg from 'cborg'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { className, createChunkWriter, decode, encode } from '../src/codec.ts'
import { MalformedError } from '../src/errors.ts'

// ── A reader of errand's CBOR, from the table ─────────────────────────────────────────────────────────────────────────

const DEFINITION = 57343
const SHAPE = 57344
const SHAPES = 256
const KEPT = [28, 29, 258, 1285, 1286, 1287, DEFINITION, ...Array.from({ length: SHAPES }, (_, n) => SHAPE + n)]

type Handler = cborg.TagDecoder
type Kind = new (buffer: ArrayBuffer) => ArrayBufferView

const memoryOf = (content: unknown): ArrayBuffer => Uint8Array.from(content as Uint8Array).buffer
const view =
  (kind: Kind): Handler =>
  (content) =>
    new kind(memoryOf(content()))
const magnitude = (content: unknown): bigint => BigInt(`0x0${Buffer.from(content as Uint8Array).toString('hex')}`)

const tags: { [tag: number]: Handler } = {
  ...cborg.Tagged.preserve(...KEPT),
  1: (content) => new Date(Math.round((content() as number) * 1000)),
  2: (content) => magnitude(content()),
  3: (content) => -1n - magnitude(content()),
  32: (content) => new URL(content() as string),
  64: view(Uint8Array),
  68: view(Uint8ClampedArray),
  69: view(Uint16Array),
  70: view(Uint32Array),
  71: view(BigUint64Array),
  72: view(Int8Array),
  77: view(Int16Array),
  78: view(Int32Array),
  79: view(BigInt64Array),
  84: view(Float16Array),
  85: view(Float32Array),
  86: view(Float64Array),
  259: (content) => new cborg.Tagged(259, content.entries()),
  1280: (content) => -(content() as number),
  1281: (content) => Buffer.from(content() as Uint8Array).toString('utf16le'),
  1282: (content) => {
    const [, pattern, flags] = /^\/(.*)\/(\w*)$/s.exec(content() as string)!
    return new RegExp(pattern!, flags)
  },
  1283: (content) => memoryOf(content()),
  1284: (content) => new DataView(memoryOf(content())),
  1288: (content) => new Date(content() as number),
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const OPTIONS = {
  tags,
  allowIndefinite: false,
  allowUndefined: true,
  allowBigInt: true,
  rejectDuplicateMapKeys: true,
  retainStringBytes: true,
}

class Tokenizer extends cborg.Tokenizer {
  override next(): cborg.Token {
    const head = this.data[this.pos()]!
    const token = super.next()
    if (head === 0x1b || head === 0x3b) return new cborg.Token(token.type, BigInt(token.value), token.encodedLength)
    if (token.byteValue === undefined) return token
    return new cborg.Token(token.type, utf8.decode(token.byteValue), token.encodedLength)
  }
}

const classes = new WeakMap<object, string>()

/** The second pass over one item; key lists outlive it, as far as the chunk goes. */
class Item {
  readonly #lists: Map<number, string[]>
  readonly #shared: unknown[] = []
  readonly #pictures: object[] = []
  /** Numbers given by tag 28 to what comes next. */
  #marks: number[] = []

  constructor(lists: Map<number, string[]>) {
    this.#lists = lists
  }

  read(node: unknown): unknown {
    const value = this.#value(node)
    for (const picture of this.#pictures) freeze(picture)
    return value
  }

  /** Said of each container before what is in it is looked at. */
  #made<T>(object: T): T {
    for (const id of this.#marks) this.#shared[id] = object
    this.#marks = []
    return object
  }

  #value(node: unknown): unknown {
    if (node instanceof cborg.Tagged) return this.#tagged(node.tag, node.value)
    if (Array.isArray(node)) {
      const array: unknown[] = this.#made([])
      for (const member of node) array.push(this.#value(member))
      return array
    }
    if (typeof node !== 'object' || node === null) return node
    if (Object.getPrototypeOf(node) !== Object.prototype) return this.#made(node)
    return this.#fields(this.#made({}), Object.entries(node).flat())
  }

  #tagged(tag: number, content: unknown): unknown {
    const list = content as unknown[]
    switch (tag) {
      case 28:
        this.#marks.push(this.#shared.push(undefined) - 1)
        return this.#value(content)
      case 29:
        return this.#shared[content as number]
      case 258: {
        const set = this.#made(new Set())
        for (const member of list) set.add(this.#value(member))
        return set
      }
      case 259: {
        const map = this.#made(new Map())
        for (const [key, value] of content as [unknown, unknown][]) map.set(this.#value(key), this.#value(value))
        return map
      }
      case 1285: {
        const object = this.#made({})
        const name = this.#value(list[0])
        if (name !== null) classes.set(object, name as string)
        return this.#fields(object, list.slice(1))
      }
      case 1286: {
        const picture = this.#value(content) as object
        this.#pictures.push(picture)
        return picture
      }
      case 1287:
        return this.#error(list)
      case DEFINITION: {
        const [number, keys, ...values] = list
        this.#lists.set(number as number, keys as string[])
        return this.#record(number as number, values)
      }
      default:
        return this.#record(tag, list)
    }
  }

  #record(number: number, values: readonly unknown[]): object {
    const keys = this.#lists.get(number)!
    expect(values.length).toBe(keys.length)
    const object = this.#made({})
    return this.#fields(
      object,
      keys.flatMap((key, i) => [key, values[i]]),
    )
  }

  #error(list: readonly unknown[]): Error {
    const [base, own, name, message, stack, hidden] = list.slice(0, 6).map((node) => this.#value(node))
    const error = this.#made(newError(base as string, message ?? undefined, name ?? undefined))
    if (own !== null) classes.set(error, own as string)
    if (base !== 'DOMException' && name !== null) hide(error, 'name', name)
    if (stack !== null) hide(error, 'stack', stack)
    this.#fields(error, list.slice(6), hidden as number)
    return error
  }

  #fields<T extends object>(object: T, pairs: readonly unknown[], hidden = 0): T {
    for (let i = 0; i < pairs.length; i += 2) {
      const key = this.#value(pairs[i]) as string
      const value = this.#value(pairs[i + 1])
      Object.defineProperty(object, key, { value, writable: true, enumerable: i / 2 >= hidden, configurable: true })
    }
    return object
  }
}

function newError(base: string, message: unknown, name: unknown): Error {
  if (base === 'DOMException') return new DOMException(message as string, name as string)
  if (base === 'AggregateError') return new AggregateError([], message as string)
  if (base === 'SuppressedError') return new SuppressedError(undefined, undefined, message as string)
  return new (globalThis as unknown as Record<string, ErrorConstructor>)[base]!(message as string)
}

function hide(error: Error, key: string, value: unknown): void {
  Object.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true })
}

function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return
  for (const member of membersOf(Object.freeze(value))) freeze(member)
}

/** The values of a CBOR sequence: one item of `encode`, or the items of a chunk. */
function readByCborg(bytes: Uint8Array): unknown[] {
  const tokenizer = new Tokenizer(bytes, OPTIONS)
  const lists = new Map<number, string[]>()
  const values: unknown[] = []
  while (!tokenizer.done()) values.push(new Item(lists).read(cborg.tokensToObject(tokenizer, OPTIONS)))
  return values
}

function chunkOf(values: readonly unknown[]): Uint8Array {
  const chunk = createChunkWriter()
  for (const value of values) chunk.add(value)
  return chunk.finish()
}

// ── What is compared ──────────────────────────────────────────────────────────────────────────────────────────────────

function membersOf(value: object): unknown[] {
  if (value instanceof Map) return [...value].flat()
  if (value instanceof Set) return [...value]
  if (ArrayBuffer.isView(value) || value instanceof Date || value instanceof URL || value instanceof RegExp) return []
  return Object.getOwnPropertyNames(value).map((key) => (value as Record<string, unknown>)[key])
}

/** All objects of a value numbered in the order of first meeting, said for each place: equal for equal graphs. */
function places(value: unknown, numbers: Map<unknown, number> = new Map()): number[] {
  if (typeof value !== 'object' || value === null) return []
  const known = numbers.get(value)
  if (known !== undefined) return [known]
  numbers.set(value, numbers.size)
  return [numbers.size - 1, ...membersOf(value).flatMap((member) => places(member, numbers))]
}

function same(back: unknown, sent: unknown): void {
  if (!isDeepStrictEqual(back, sent)) expect(back).toStrictEqual(sent) // says where
  expect(isDeepStrictEqual(back, sent)).toBe(true)
  expect(places(back)).toEqual(places(sent))
}

class Point {
  x = 1
  to: Point | undefined
}

class Meter {
  readonly unit = 'V';
  [Symbol.for('errand.snapshot')](): unknown {
    return { unit: this.unit, readings: [1, 2] }
  }
}

class PaymentError extends RangeError {
  override name = 'PaymentError'
  readonly amount = 12n
}

function cycle(): unknown {
  const error = new Error('knot')
  const value = { list: [new Map<unknown, unknown>([['set', new Set<unknown>([error])]])] }
  value.list[0]!.set(value.list, value)
  error.cause = value
  return value
}

/** Every family of values that travels whole. */
const families: readonly [string, unknown][] = [
  ['undefined, null, booleans', [undefined, null, true, false]],
  ['integers', [0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, -1, -(2 ** 32), -(2 ** 53)]],
  ['floats', [0.1, 1e300, 5e-324, -4.1, NaN, Infinity, -Infinity]],
  ['-0', [-0, { at: -0 }]],
  ['BigInts of 64 bits', [0n, 1n, -1n, 2n ** 53n, 2n ** 64n - 1n, -(2n ** 64n)]],
  ['longer BigInts', [2n ** 64n, -(2n ** 64n) - 1n, 2n ** 8192n - 1n, -(2n ** 8192n), 2n ** 4001n]],
  ['text', ['', 'a', 'ü水𐅑', 'x'.repeat(300), '힣'.repeat(30_000)]],
  ['text that UTF-8 would change', ['\ud800', `${'x'.repeat(99)}\udc00`, `\ufeff${'id;'.repeat(30)}`, '\ufeffid;ö']],
  ['objects', { a: 1, '': { b: [] }, ö: {}, constructor: 1, 'not a name': undefined }],
  ['an object with a key __proto__', JSON.parse('{"__proto__": {"a": 1}, "b": 2}')],
  ['an object with an awkward key', { 'a\ud800': 1, __keys__: 2 }],
  ['a wide object', Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`key ${i}`, i]))],
  ['arrays', [[], [1, [2, [3]]], Array.from({ length: 300 }, (_, i) => i)]],
  [
    'Map',
    new Map<unknown, unknown>([
      ['a', 1],
      [{ k: 1 }, new Map([[1n, -0]])],
      [NaN, undefined],
      [null, []],
    ]),
  ],
  ['Set', new Set<unknown>([1, '1', 1n, { a: new Set() }, undefined])],
  ['Date', [new Date(1_753_000_000_123), new Date(-1), new Date(0), new Date(NaN), new Date(8.64e15)]],
  ['RegExp', [/a\/b[/]\n(?<n>c)/giu, /x/, /[\p{L}--[a-z]]/v, new RegExp('')]],
  ['URL', new URL('https://me:pw@xn--bcher-kva.example:8443/a%20b?c=d#f')],
  ['Uint8Array', [Uint8Array.of(1, 2), new Uint8Array(), new Uint8Array(100_000).fill(7)]],
  ['Uint8ClampedArray', Uint8ClampedArray.of(0, 255)],
  ['Uint16Array', Uint16Array.of(1, 65_535)],
  ['Uint32Array', Uint32Array.of(1, 2 ** 32 - 1)],
  ['BigUint64Array', BigUint64Array.of(1n, 2n ** 64n - 1n)],
  ['Int8Array', Int8Array.of(-128, 127)],
  ['Int16Array', Int16Array.of(-300, 300)],
  ['Int32Array', Int32Array.of(-70_000, 70_000)],
  ['BigInt64Array', BigInt64Array.of(-1n, 2n ** 62n)],
  ['Float16Array', Float16Array.of(1.5, -0, NaN)],
  ['Float32Array', Float32Array.of(1.5, -0, Infinity)],
  ['Float64Array', Float64Array.of(0.1, -0, NaN)],
  ['ArrayBuffer', Uint8Array.of(1, 2, 3).buffer],
  ['DataView', new DataView(Uint8Array.of(9, 1, 2, 3).buffer)],
  [
    'Errors of every class',
    [
      new Error('a', { cause: new TypeError('root') }),
      new RangeError(''),
      new SyntaxError('b'),
      new ReferenceError('c'),
      new EvalError('d'),
      new URIError('e'),
      new AggregateError([new Error('one'), 'two'], 'both'),
      new SuppressedError(new Error('late'), new Error('early'), 'f'),
      new DOMException('gone', 'AbortError'),
    ],
  ],
  ['an Error with code and fields', Object.assign(new Error('x', { cause: -0 }), { code: 'E_X', at: new Date(1) })],
  [
    'shared references',
    ((one, when) => ({ a: one, b: [one, when], c: new Map([[one, when]]), d: when }))({ n: 1 }, new Date(5)),
  ],
  ['cycles', cycle()],
  ['rows', Array.from({ length: 20 }, (_, id) => ({ id, ok: id % 2 === 0, at: { x: id, y: -0 } }))],
]

describe('cborg reads what encode writes', () => {
  it.each(families)('%s', (_, value) => {
    const bytes = encode(value)
    const [back, ...more] = readByCborg(bytes)
    expect(more).toEqual([])
    same(back, value)
    expect(places(back)).toEqual(places(decode(bytes)))
  })

  it('stacks of errors', () => {
    const error = new Error('a', { cause: new TypeError('b') })
    const [back] = readByCborg(encode(error)) as [Error]
    expect(back.stack).toBe(error.stack)
    expect((back.cause as Error).stack).toBe((error.cause as Error).stack)
  })

  it('instances of classes, by name', () => {
    const point = new Point()
    point.to = point
    const bytes = encode({ point, again: point })
    const [back] = readByCborg(bytes) as [{ point: Point; again: Point }]
    expect(back.point.x).toBe(1)
    expect([back.again, back.point.to]).toEqual([back.point, back.point])
    expect(classes.get(back.point)).toBe('Point')
    expect(className((decode(bytes) as { point: object }).point)).toBe('Point')
  })

  it('errors of classes that only the sender has', () => {
    const [back] = readByCborg(encode(new PaymentError('too much'))) as [PaymentError]
    expect(back).toBeInstanceOf(RangeError)
    expect([back.name, back.message, back.amount, classes.get(back)]).toEqual([
      'PaymentError',
      'too much',
      12n,
      'PaymentError',
    ])
  })

  it('snapshots, frozen and shared', () => {
    const meter = new Meter()
    const [back] = readByCborg(encode([meter, { meter }])) as [[Meter, { meter: Meter }]]
    same(back[0], { unit: 'V', readings: [1, 2] })
    expect(back[1].meter).toBe(back[0])
    expect(classes.get(back[0])).toBe('Meter')
    expect([Object.isFrozen(back[0]), Object.isFrozen(back[1])]).toEqual([true, false])
  })

  it('what a lossy encoding puts in the place of a function', () => {
    const [back] = readByCborg(encode({ onClick() {} }, { lossy: true })) as [{ onClick: object }]
    expect(back).toEqual({ onClick: { $dropped: 'function onClick' } })
    expect(classes.get(back.onClick)).toBe('Dropped')
  })
})

describe('cborg reads chunks', () => {
  it('of every family at once', () => {
    const values = families.map((row) => row[1])
    const back = readByCborg(chunkOf(values))
    expect(back.length).toBe(values.length)
    back.forEach((value, i) => same(value, values[i]))
  })

  it('of rows, which take the key lists of those before', () => {
    const rows = Array.from({ length: 200 }, (_, id) => [0, id, { id, name: `n${id}`, at: { x: id, tags: [{ id }] } }])
    const bytes = chunkOf(rows)
    expect(bytes.length).toBeLessThan(rows.reduce((sum, row) => sum + encode(row).length, 0))
    same(readByCborg(bytes), rows)
  })

  it('of more key lists than there are numbers', () => {
    const rows = Array.from({ length: 700 }, (_, i) => ({ [`a${i % 300}`]: i, [`b${i % 7}`]: { [`c${i % 290}`]: i } }))
    same(readByCborg(chunkOf(rows)), rows)
  })

  it('of rows that are shared, cyclic and slow to write', () => {
    const rows = Array.from({ length: 20 }, (_, id) => {
      const row: Record<string, unknown> = { id, when: new Date(id), zero: -0, self: null }
      row.self = row
      return row
    })
    const back = readByCborg(chunkOf(rows))
    back.forEach((row, i) => same(row, rows[i]))
  })
})

// ── Values nobody thought of ──────────────────────────────────────────────────────────────────────────────────────────

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.constant('__proto__'))
const json = fc.anything({
  key: text,
  maxDepth: 4,
  values: [fc.boolean(), fc.integer(), fc.maxSafeInteger(), fc.double(), text, fc.constant(null)],
})
const typedArrays = [
  fc.uint8Array(),
  fc.uint8ClampedArray(),
  fc.uint16Array(),
  fc.uint32Array(),
  fc.bigUint64Array(),
  fc.int8Array(),
  fc.int16Array(),
  fc.int32Array(),
  fc.bigInt64Array(),
  fc.float32Array(),
  fc.float64Array(),
] as const
const anything = fc.anything({
  key: text,
  maxDepth: 4,
  withMap: true,
  withSet: true,
  values: [
    fc.integer(),
    fc.double(),
    text,
    fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) }),
    fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }),
    fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n - 1n }),
    fc.constantFrom(undefined, null, true, false, -0),
    fc.date({ noInvalidDate: false }),
    ...typedArrays,
  ],
})

/** Containers that hold each other and themselves, in every way. */
const graphs = fc
  .array(fc.tuple(fc.nat(3), fc.array(fc.nat(11), { maxLength: 4 })), { minLength: 1, maxLength: 12 })
  .map((plan) => {
    const nodes = plan.map(([kind]) => [[], {}, new Map(), new Set()][kind]!)
    plan.forEach(([, targets], at) => {
      const node: unknown = nodes[at]
      targets.forEach((target, i) => {
        const other = nodes[target % nodes.length]
        if (Array.isArray(node)) node.push(other)
        else if (node instanceof Map) node.set(i % 2 === 0 ? i : other, other)
        else if (node instanceof Set) node.add(other)
        else (node as Record<string, unknown>)[`k${i}`] = other
      })
    })
    return nodes[0]
  })

describe('random values', () => {
  it.each([
    ['JSON-like', json],
    ['typed arrays', fc.array(fc.oneof(...typedArrays))],
    ['anything', anything],
  ])('%s: cborg reads what encode and chunks write', (_, values) => {
    fc.assert(
      fc.property(fc.array(values, { minLength: 1, maxLength: 3 }), (list: unknown[]) => {
        same(readByCborg(encode(list)), [list])
        const back = readByCborg(chunkOf(list))
        back.forEach((value, i) => same(value, list[i]))
        expect(back.length).toBe(list.length)
      }),
      { numRuns: 300 },
    )
  })

  it('graphs: cborg finds every object where we put it', () => {
    fc.assert(
      fc.property(graphs, (root) => {
        const bytes = encode(root)
        const [back] = readByCborg(bytes)
        expect(places(back)).toEqual(places(root))
        expect(places(decode(bytes))).toEqual(places(root))
      }),
      { numRuns: 500 },
    )
  })
})

// ── The other way ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** What cborg makes of it: it has no -0. */
function withoutNegativeZero(value: unknown): unknown {
  if (Object.is(value, -0)) return 0
  if (Array.isArray(value)) return value.map(withoutNegativeZero)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withoutNegativeZero(member)]))
}

describe('decode reads what cborg writes', () => {
  const plainKey = text.filter((key) => key !== '__proto__')
  const number = fc.oneof(
    fc.integer(),
    fc.integer({ min: -(2 ** 32), max: 2 ** 32 - 1 }),
    // Whole ones beyond 32 bits it writes as integers of 64 bits: below.
    fc.double().filter((n) => !Number.isSafeInteger(n) || Math.abs(n) < 2 ** 32),
  )
  const data = fc.anything({
    key: plainKey,
    maxDepth: 5,
    values: [fc.boolean(), number, text, fc.constantFrom(null, undefined)],
  })

  it('of data like JSON, random', () => {
    fc.assert(
      fc.property(data, (value) => {
        const bytes = cborg.encode(value)
        expect(isDeepStrictEqual(decode(bytes), withoutNegativeZero(value))).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  it('with floats of any width', () => {
    const values = [1.5, 65_504.5, 3.4028234663852886e38, 0.1, NaN, Infinity, -Infinity]
    for (const options of [{}, { float64: true }]) expect(decode(cborg.encode(values, options))).toEqual(values)
  })

  it('whole numbers beyond 32 bits as BigInts: an integer of 64 bits is one', () => {
    expect(decode(cborg.encode([2 ** 32, 2 ** 53 - 1, -(2 ** 32) - 1]))).toEqual([
      2n ** 32n,
      2n ** 53n - 1n,
      -(2n ** 32n) - 1n,
    ])
    expect(decode(cborg.encode(2 ** 32 - 1))).toBe(2 ** 32 - 1)
    // What a sender that has numbers only does about it.
    const asFloats: cborg.TypeEncoder = (n: number) =>
      Math.abs(n) < 2 ** 32 ? null : new cborg.Token(cborg.Type.float, n)
    expect(decode(cborg.encode([2 ** 53 - 1], { typeEncoders: { number: asFloats } }))).toEqual([2 ** 53 - 1])
  })

  it('but not bytes without a tag, a key __proto__, or Maps with other keys than text', () => {
    for (const [value, reason] of [
      [{ bytes: Uint8Array.of(1) }, 'untagged bytes'],
      [JSON.parse('{"__proto__": 1}'), 'bare key __proto__'],
      [new Map([[1, 2]]), 'key of an object is not text'],
    ] as const) {
      const bytes = cborg.encode(value)
      expect(() => decode(bytes)).toThrow(MalformedError)
      expect(() => decode(bytes)).toThrow(reason)
    }
  })

  it('and bytes, Maps and Sets under the tags of the table', () => {
    const bytes = (value: Uint8Array): cborg.Token[] => [
      new cborg.Token(cborg.Type.tag, 64),
      new cborg.Token(cborg.Type.bytes, value),
    ]
    const value = new cborg.Tagged(258, [
      new cborg.Tagged(259, new Map([[1, Uint8Array.of(7)]])),
      new cborg.Tagged(1, 5),
    ])
    expect(decode(cborg.encode(value, { typeEncoders: { Uint8Array: bytes } }))).toEqual(
      new Set([new Map([[1, Uint8Array.of(7)]]), new Date(5000)]),
    )
  })
})
