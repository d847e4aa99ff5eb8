// docs/VALUES.md against the codec: each row of each table has a sample here that shows it, and each sample has a row.
import { ChildProcess } from 'node:child_process'
import { createSecretKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Socket, createServer } from 'node:net'
import { PassThrough } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { ERROR_CLASSES } from '../src/codec-class.ts'
import { Buckets } from '../src/codec-hash.ts'
import {
  CHUNK_SLACK,
  MAX_BIGINT_BITS,
  MAX_BYTES,
  MAX_DEPTH,
  MAX_ITEMS,
  MAX_REGEXP,
  className,
  createChunkWriter,
  decode,
  encode,
} from '../src/codec.ts'
import { RECORD, RECORD_DEFINITION, TAG, TYPED_ARRAY_TAG } from '../src/codec-tags.ts'
import { MalformedError, NotTransferableError, TooLargeError } from '../src/errors.ts'

// ── The page ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const page = readFileSync(fileURLToPath(new URL('../../../docs/VALUES.md', import.meta.url)), 'utf8')

/** The tables of the page by their heads; each by the first cells of its rows. */
const tables = new Map<string, Map<string, string[]>>()
for (const [, head, body] of page.matchAll(/^(\|.*\|)\n\|[-|]+\|\n((?:\|.*\|\n)+)/gm)) {
  const cells = (line: string): string[] =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim())
  const rows = body!.trimEnd().split('\n').map(cells)
  const title = cells(head!).join(' | ')
  expect(tables.has(title)).toBe(false)
  tables.set(title, new Map(rows.map((row) => [row[0]!, row])))
  expect(tables.get(title)!.size).toBe(rows.length)
}

/** One test a row, and one that there is a sample for each row and a row for each sample. */
function table<T>(
  title: string,
  samples: Readonly<Record<string, T>>,
  show: (sample: T, cells: string[]) => void,
): void {
  const rows = tables.get(title)
  tables.delete(title)
  describe(title, () => {
    it('has the rows that are shown here', () => {
      expect([...(rows?.keys() ?? [])]).toEqual(Object.keys(samples))
    })
    it.each(Object.entries(samples))('%s', (key, sample) => {
      show(sample, rows!.get(key)!)
    })
  })
}

// ── What is asked of samples ──────────────────────────────────────────────────────────────────────────────────────────

const roundTrip = (value: unknown): unknown => decode(encode(value))
const snapshot = Symbol.for('errand.snapshot')

function same(back: unknown, value: unknown): void {
  if (!isDeepStrictEqual(back, value)) expect(back).toStrictEqual(value) // says where
  expect(isDeepStrictEqual(back, value)).toBe(true)
}

function errorOf(act: () => unknown): Error {
  try {
    act()
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}

/** `16 777 216` → 16777216. */
const numberOf = (cell: string): number => Number(/^[\d ]+/.exec(cell)![0].replaceAll(' ', ''))
const numbersOf = (cell: string): number[] => [...cell.matchAll(/\d+/g)].map(Number)
const code = (cell: string): string => /`(.*)`/.exec(cell)![1]!

/** How an item begins, in the words of the page. */
function formOf(bytes: Uint8Array): string {
  const first = bytes[0]!
  const argument = (first & 31) < 24 ? first & 31 : (first & 31) === 24 ? bytes[1]! : (bytes[1]! << 8) | bytes[2]!
  if (first >> 5 === 7) return first === 0xfb ? 'float of 64 bits' : `simple value ${argument}`
  if ((first & 31) === 27) return 'integer, always of 64 bits'
  return ['integer', 'integer', 'bytes', 'text', 'array', 'map', `tag ${argument}`][first >> 5]!
}

const cyclic: Record<string, unknown> = { at: 1 }
cyclic.self = cyclic

interface Travelling {
  readonly values: readonly unknown[]
  /** Where "the same" does not say it. */
  readonly check?: (back: never, value: never) => void
  readonly bound?: { readonly is: number; readonly within: unknown; readonly beyond: unknown }
}

const typedArrays = Object.fromEntries(
  Object.keys(TYPED_ARRAY_TAG).map((name) => {
    const kind = (globalThis as unknown as Record<string, Uint8ArrayConstructor>)[name]!
    return [name, { values: [new kind(new Uint8Array(32).map((_, i) => i * 7).buffer), new kind(0)] }]
  }),
)

const travelling: Readonly<Record<string, Travelling>> = {
  '`undefined`': { values: [undefined] },
  '`null`': { values: [null] },
  '`false`, `true`': { values: [false, true] },
  'whole number of up to 32 bits and its sign': { values: [0, 1, 24, 2 ** 32 - 1, -1, -(2 ** 32)] },
  'any other number, `NaN`, `Infinity`, `-Infinity`': {
    values: [0.5, 2 ** 32, -(2 ** 32) - 1, 2 ** 53, 5e-324, NaN, Infinity, -Infinity],
  },
  '`-0`': { values: [-0] },
  'BigInt of up to 64 bits and its sign': { values: [0n, 1n, -1n, 2n ** 64n - 1n, -(2n ** 64n)] },
  'longer BigInt': {
    values: [2n ** 64n, -(2n ** 64n) - 1n],
    bound: {
      is: MAX_BIGINT_BITS,
      within: [2n ** 8192n - 1n, -(2n ** 8192n)],
      beyond: 2n ** 8192n,
    },
  },
  string: { values: ['', 'a', 'ü水𐅑', 'x'.repeat(100_000), '\0'] },
  'string with half a character, or a long one that begins with U+FEFF': {
    values: ['\ud800', `x\udc00`, `\ufeff${'x'.repeat(99)}`],
  },
  Date: { values: [new Date(0), new Date(1_753_000_000_123), new Date(-1), new Date(NaN)] },
  'Date whose millisecond a double of seconds does not hold (far beyond the year 100 000)': {
    values: [new Date(4_500_000_000_000_021)],
  },
  RegExp: {
    values: [/a\/b/giu, Object.assign(/x/g, { lastIndex: 5 })],
    check: (back: RegExp, value: RegExp) => {
      expect([String(back), back.lastIndex]).toEqual([String(value), 0])
      expect((roundTrip(new RegExp('\ud800')) as RegExp).source).toBe('\\ud800')
    },
    bound: { is: MAX_REGEXP, within: new RegExp('x'.repeat(1024)), beyond: new RegExp('x'.repeat(1025)) },
  },
  URL: { values: [new URL('https://me:pw@example.org:8443/a%20b?c=d#e')] },
  'plain object': {
    values: [{}, { a: 1, '': { b: undefined }, constructor: 2 }],
    check: (back: object, value: object) => {
      same(back, value)
      expect(className(back)).toBeUndefined()
      const chunk = createChunkWriter()
      for (let i = 0; i < 3; i++) chunk.add({ row: i })
      const hex = Buffer.from(chunk.finish()).toString('hex')
      expect(hex).toContain(`d9${RECORD_DEFINITION.toString(16)}`)
      expect(hex).toContain(`d9${RECORD.toString(16)}81`)
    },
  },
  'plain object with a key `__proto__`, or one with half a character': {
    values: [JSON.parse('{"__proto__":{"a":1},"b":2}'), { 'a\ud800': 1 }],
  },
  Array: { values: [[], [1, [2, ['three']]]] },
  Map: {
    values: [
      new Map<unknown, unknown>([
        ['a', 1],
        [{ k: 1 }, new Map()],
        [null, NaN],
        [2n, -0],
      ]),
    ],
  },
  Set: { values: [new Set<unknown>([1, '1', 1n, {}, undefined])] },
  ...typedArrays,
  ArrayBuffer: { values: [new ArrayBuffer(0), Uint8Array.of(1, 2).buffer] },
  DataView: { values: [new DataView(Uint8Array.of(1, 2).buffer)] },
  Error: {
    values: [new Error('a', { cause: -0 }), new TypeError('b'), new AggregateError([new Error('one')], 'c')],
    check: (back: Error, value: Error) => {
      same(back, value)
      expect(Object.getPrototypeOf(back)).toBe(Object.getPrototypeOf(value))
    },
  },
  'object that is met again, also inside itself': {
    values: [cyclic],
    check: (back: typeof cyclic) => {
      expect(back.self).toBe(back)
      const objects = travelling.Map!.values.concat(
        new Date(1),
        /x/,
        new URL('a:b'),
        Uint8Array.of(1),
        new Error('x'),
        [1],
      )
      const [one, two] = roundTrip([objects, [...objects]]) as [unknown[], unknown[]]
      for (const [i, object] of one.entries()) expect(two[i]).toBe(object)
      const [a, b] = roundTrip([{ n: 1 }, { n: 1 }]) as [object, object]
      expect(a).not.toBe(b)
    },
  },
}

table('value | arrives as | CBOR | bound', travelling, ({ values, check = same, bound }, [, arrives, form, limit]) => {
  expect(check !== same || arrives!.startsWith('the same')).toBe(true)
  const forms = form!.includes('tag') ? numbersOf(form!).map((tag) => `tag ${tag}`) : [form!]
  if (form!.startsWith('simple')) forms.push(...numbersOf(form!).map((n) => `simple value ${n}`))
  if (form!.startsWith('map')) forms.push('map')
  for (const value of values) {
    check(roundTrip(value) as never, value as never)
    expect(forms).toContain(formOf(encode(value)))
    // And the same within others.
    const outer = { list: [1, value, { value }], map: new Map([['k', value]]) }
    if (check === same) same(roundTrip(outer), outer)
  }
  expect(limit !== '').toBe(bound !== undefined)
  if (bound === undefined) return
  expect(numberOf(limit!)).toBe(bound.is)
  roundTrip(bound.within)
  expect(errorOf(() => encode({ of: bound.beyond }))).toMatchObject({ code: 'TOO_LARGE', path: 'value.of' })
})

it('all tags of the code are in the table of what travels, but for those named elsewhere', () => {
  const known = new Set(numbersOf(page.slice(0, page.indexOf('## What arrives as something near'))))
  for (const [name, number] of Object.entries({ ...TAG, ...TYPED_ARRAY_TAG })) {
    // A class instance stands under the tag of awkward objects; a snapshot is whatever it is, marked.
    if (name !== 'snapshot') expect(known, name).toContain(number)
  }
})

// ── Something near ────────────────────────────────────────────────────────────────────────────────────────────────────

class Point {
  x = 1
  readonly #hidden = 2
  get sum(): number {
    return this.x + this.#hidden
  }
  norm(): number {
    return this.x
  }
}

/** As XState makes them, and others that are used as theirs are. */
class Actor {
  readonly system = { all: 'of it' }
  send(): void {}
  subscribe(): void {}
  getSnapshot(): void {}
}

class Live {
  readonly secret = 1;
  [snapshot](): unknown {
    return { state: 'running', parts: [{ n: 1 }] }
  }
}

/** For each: the value, and what it arrives as. */
const near: Readonly<Record<string, () => void>> = {
  'instance of a class': () => {
    const back = roundTrip(new Point()) as object
    same(back, { x: 1 })
    expect([className(back), Object.keys(back), JSON.stringify(back)]).toEqual(['Point', ['x'], '{"x":1}'])
    expect('norm' in back || 'sum' in back).toBe(false)
  },
  'instance of a class that was received': () => {
    const back = roundTrip(roundTrip(new Point()))
    same(back, { x: 1 })
    expect(className(back)).toBe('Point')
  },
  'object with a snapshot method': () => {
    const back = roundTrip(new Live()) as { parts: object[] }
    same(back, { state: 'running', parts: [{ n: 1 }] })
    expect(className(back)).toBe('Live')
    for (const part of [back, back.parts, back.parts[0]]) expect(Object.isFrozen(part)).toBe(true)
    expect(Object.isFrozen(roundTrip(back))).toBe(true)
    expect(roundTrip({ [snapshot]: () => 5 })).toBe(5)
    const held = { bytes: Uint8Array.of(1), map: new Map([['a', 1]]), pattern: /a/g }
    const once = roundTrip({ [snapshot]: () => held }) as typeof held
    once.bytes[0] = 2
    once.map.set('b', 2)
    expect([once.bytes[0], once.map.size, 'aa'.replace(once.pattern, 'b')]).toEqual([2, 2, 'bb'])
    for (const picture of [[1], new Map([[1, 1]]), new Set([1])]) {
      const list = roundTrip(Object.assign(new Live(), { [snapshot]: () => picture })) as object
      expect([className(list), Object.isFrozen(list), Object.isFrozen(roundTrip(list))]).toEqual([
        undefined,
        true,
        false,
      ])
    }
  },
  'object without prototype': () => same(roundTrip(Object.assign(Object.create(null), { a: 1 })), { a: 1 }),
  'object with an inherited field': () => same(roundTrip(Object.assign(Object.create({ a: 1 }), { b: 2 })), { b: 2 }),
  'object of a built-in class that the codec does not know (`Intl.DateTimeFormat`)': () => {
    const back = roundTrip(new Intl.DateTimeFormat('en'))
    same(back, {})
    expect(className(back)).toBe('DateTimeFormat')
  },
  'Proxy of a plain object or an array': () => {
    const doubled: ProxyHandler<{ a: number }> = { get: (object, key) => Reflect.get(object, key) * 2 }
    same(roundTrip([new Proxy({ a: 1 }, doubled), new Proxy([1, 2], {})]), [{ a: 2 }, [1, 2]])
  },
  getter: () => {
    const value = {
      get now() {
        return 5
      },
    }
    const back = roundTrip(value) as object
    expect(Object.getOwnPropertyDescriptor(back, 'now')).toMatchObject({ value: 5, writable: true })
  },
  'field that is not enumerable': () => same(roundTrip(Object.defineProperty({ a: 1 }, 'b', { value: 2 })), { a: 1 }),
  'field named by a symbol': () => same(roundTrip({ a: 1, [Symbol('b')]: 2 }), { a: 1 }),
  'hole in an array': () => expect(roundTrip([1, , 3])).toStrictEqual([1, undefined, 3]), // oxlint-disable-line no-sparse-arrays
  'other fields of an array, Map, Set, Date or RegExp': () => {
    for (const make of [() => [1], () => new Map([[1, 2]]), () => new Set([1]), () => new Date(1), () => /x/]) {
      same(roundTrip(Object.assign(make(), { extra: 1 })), make())
    }
  },
  'subclass of Array, Map, Set, Date, RegExp, URL or a typed array': () => {
    const pairs: readonly [object, object][] = [
      [class extends Array<number> {}.from([1]), [1]],
      [new (class extends Map<number, number> {})([[1, 2]]), new Map([[1, 2]])],
      [new (class extends Set<number> {})([1]), new Set([1])],
      [new (class extends Date {})(5), new Date(5)],
      [new (class extends RegExp {})('x', 'g'), /x/g],
      [new (class extends URL {})('a:b'), new URL('a:b')],
      [new (class extends Int16Array {})([1]), Int16Array.of(1)],
    ]
    for (const [value, plain] of pairs) {
      const back = roundTrip(value)
      same(back, plain)
      expect(className(back)).toBeUndefined()
    }
  },
  Buffer: () => same(roundTrip(Buffer.from('hello')), Uint8Array.from(Buffer.from('hello'))),
  'typed array or DataView of a part of its buffer': () => {
    const { buffer } = Uint8Array.from({ length: 64 }, (_, i) => i)
    const parts = [new Uint8Array(buffer, 3, 2), new DataView(buffer, 3, 2)]
    for (const back of roundTrip(parts) as ArrayBufferView[]) {
      expect(Buffer.from(back.buffer, back.byteOffset, back.byteLength)).toEqual(Buffer.of(3, 4))
    }
    for (const part of parts) expect(encode(part).length).toBeLessThan(8)
  },
  'typed array of shared memory': () => {
    const back = roundTrip(new Uint8Array(new SharedArrayBuffer(4))) as Uint8Array
    same(back, new Uint8Array(4))
    expect(back.buffer).toBeInstanceOf(ArrayBuffer)
  },
  'ArrayBuffer that can grow': () => {
    const back = roundTrip(new ArrayBuffer(2, { maxByteLength: 9 })) as ArrayBuffer
    expect([back.byteLength, back.resizable]).toEqual([2, false])
  },
  'boxed primitive': () => same(roundTrip([Object(1), Object('a'), Object(true), Object(7n)]), [1, 'a', true, 7n]),
  'frozen or sealed object': () => {
    for (const value of [Object.freeze({ a: [1] }), Object.seal({ a: [1] })]) {
      const back = roundTrip(value) as object
      same(back, { a: [1] })
      expect(Object.isExtensible(back)).toBe(true)
    }
  },
  'value of another realm': () => {
    const foreign: unknown = runInNewContext(
      '[{ a: 1 }, new Map([[1, new Set([2])]]), new Date(5), new TypeError("no")]',
    )
    const back = roundTrip(foreign) as unknown[]
    same(back.slice(0, 3), [{ a: 1 }, new Map([[1, new Set([2])]]), new Date(5)])
    expect(back[3]).toBeInstanceOf(TypeError)
  },
}

table('value | arrives as', near, (show) => show())

// ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────────

class PaymentError extends RangeError {
  override name = 'PaymentError'
  readonly amount = 3n
  get code(): string {
    return 'E_PAYMENT'
  }
}

const hiddenAs = (back: object, key: string, value: unknown): void => {
  const property = Object.getOwnPropertyDescriptor(back, key)
  same(property?.value, value)
  expect(property?.enumerable).toBe(false)
}

table<() => void>(
  'field | arrives',
  {
    '`message`': () => {
      const arrived = (message: unknown): string =>
        (roundTrip(Object.assign(new Error('x'), { message })) as Error).message
      expect(['no such thing', '', undefined, {}].map(arrived)).toEqual([
        'no such thing',
        '',
        'undefined',
        '[object Object]',
      ])
    },
    '`name`': () => expect((roundTrip(new PaymentError('x')) as Error).name).toBe('PaymentError'),
    '`stack`': () => {
      const error = new Error('x')
      expect(error.stack).toContain('values-doc.test.ts')
      expect((roundTrip(error) as Error).stack).toBe(error.stack)
      delete error.stack
      for (const none of [error, Object.assign(new Error('x'), { stack: undefined })]) {
        expect((roundTrip(none) as Error).stack).toBe('Error: x')
      }
    },
    '`cause`': () =>
      hiddenAs(roundTrip(new Error('x', { cause: new Map([[1, -0]]) })) as Error, 'cause', new Map([[1, -0]])),
    '`errors`': () => {
      const parts = [new TypeError('a'), 'not even an error']
      hiddenAs(roundTrip(new AggregateError(parts, 'both')) as Error, 'errors', parts)
    },
    '`error`, `suppressed`': () => {
      const back = roundTrip(new SuppressedError(1, new Error('early'))) as Error
      hiddenAs(back, 'error', 1)
      hiddenAs(back, 'suppressed', new Error('early'))
    },
    '`code`': () => {
      expect(roundTrip(Object.assign(new Error('x'), { code: 'ECONNREFUSED' }))).toMatchObject({ code: 'ECONNREFUSED' })
      expect((roundTrip(new PaymentError('x')) as PaymentError).code).toBe('E_PAYMENT')
      expect((roundTrip(AbortSignal.abort().reason) as DOMException).code).toBe(20)
    },
    'own field that is enumerable': () => {
      const back = roundTrip(new PaymentError('x')) as PaymentError
      expect(Object.getOwnPropertyDescriptor(back, 'amount')).toMatchObject({ value: 3n, enumerable: true })
    },
    'own field that is not': () => {
      const error = Object.defineProperty(new Error('x'), 'secret', { value: 1 })
      expect(Object.hasOwn(roundTrip(error) as Error, 'secret')).toBe(false)
    },
  },
  (show) => show(),
)

it('names the classes of errors that arrive as themselves', () => {
  const paragraph = /## Errors\n\n(.*?) arrive as themselves/s.exec(page)![1]!
  const names = [...paragraph.matchAll(/`(\w+)`/g)].map((match) => match[1]!)
  expect(names).toEqual([...ERROR_CLASSES.keys()])
  for (const name of names) {
    const error = errorOfClass(name)
    const back = roundTrip(error) as Error
    expect(Object.getPrototypeOf(back)).toBe(Object.getPrototypeOf(error))
    expect([back.message, className(back)]).toEqual(['x', undefined])
  }
  const back = roundTrip(new PaymentError('x'))
  expect(back).toBeInstanceOf(RangeError)
  expect(back).not.toBeInstanceOf(PaymentError)
  expect(className(back)).toBe('PaymentError')
})

function errorOfClass(name: string): Error {
  if (name === 'AggregateError') return new AggregateError([], 'x')
  if (name === 'SuppressedError') return new SuppressedError(1, 2, 'x')
  return new (globalThis as unknown as Record<string, ErrorConstructor>)[name]!('x')
}

// ── Refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────────

type View = new (buffer: ArrayBuffer, offset?: number) => ArrayBufferView

function transferred(): ArrayBuffer {
  const buffer = new ArrayBuffer(8)
  structuredClone(buffer, { transfer: [buffer] })
  return buffer
}

function givenAwayView(kind: View = Uint8Array): ArrayBufferView {
  const view = new kind(new ArrayBuffer(8))
  structuredClone(view, { transfer: [view.buffer as ArrayBuffer] })
  return view
}

function shrunk(kind: View): ArrayBufferView {
  const buffer = new ArrayBuffer(8, { maxByteLength: 8 })
  const view = new kind(buffer, 4)
  buffer.resize(2)
  return view
}

function throws(): never {
  throw new Error('gone')
}

function timer(): NodeJS.Timeout {
  const timer = setTimeout(() => {}, 0)
  clearTimeout(timer)
  return timer
}

function port(): object {
  const { port1 } = new MessageChannel()
  port1.close()
  return port1
}

const secret = createSecretKey(Buffer.from('a secret of some length'))

/** Objects that have the thing in a field `it`: getters cannot be handed on. */
const refused: Readonly<Record<string, readonly (() => unknown)[]>> = {
  'function, class': [() => () => 1, () => class {}],
  'symbol, boxed symbol': [() => Symbol('x'), () => Object(Symbol('x'))],
  Promise: [() => Promise.resolve()],
  WeakMap: [() => new WeakMap()],
  WeakSet: [() => new WeakSet()],
  WeakRef: [() => new WeakRef({})],
  FinalizationRegistry: [() => new FinalizationRegistry(() => {})],
  'generator, async generator': [() => (function* () {})(), () => (async function* () {})()],
  iterator: [() => [1].values(), () => new Map().entries(), () => Iterator.from([1]).map((n) => n)],
  SharedArrayBuffer: [() => new SharedArrayBuffer(1)],
  'ArrayBuffer that was transferred, a view of one': [transferred, givenAwayView, () => givenAwayView(DataView)],
  'view of a part that its ArrayBuffer has no more': [DataView, Uint16Array, Uint8Array].map(
    (kind) => () => shrunk(kind),
  ),
  Blob: [() => new Blob(['x'])],
  File: [() => new File(['x'], 'x')],
  'CryptoKey, KeyObject': [() => secret, () => secret.toCryptoKey('HKDF', false, ['deriveBits'])],
  'stream, web stream, socket': [
    () => new PassThrough(),
    () => new ReadableStream(),
    () => new WritableStream(),
    () => new TransformStream(),
    () => new Socket(),
  ],
  'server, child process, timer': [() => createServer(), () => Reflect.construct(ChildProcess, []), timer],
  'actor (XState)': [() => new Actor()],
  AbortController: [() => new AbortController()],
  'AbortSignal, EventTarget, MessagePort': [() => new AbortController().signal, () => new EventTarget(), port],
  FormData: [() => new FormData()],
  Headers: [() => new Headers()],
  Request: [() => new Request('http://127.0.0.1/')],
  Response: [() => new Response()],
  URLSearchParams: [() => new URLSearchParams('a=b')],
  'Proxy of a Map, Set, Date, RegExp, URL, ArrayBuffer or a view': [
    new Map(),
    new Set(),
    new Date(),
    /x/,
    new URL('a:b'),
    new ArrayBuffer(1),
    new Uint8Array(1),
    new DataView(new ArrayBuffer(1)),
  ].map((target) => () => new Proxy(target, {})),
  'Proxy of an array, with a length that is none': [0.5, -1, NaN, undefined].map(
    (length) => () =>
      new Proxy([], { get: (list, key): unknown => (key === 'length' ? length : Reflect.get(list, key)) }),
  ),
  'getter that throws': [],
  'snapshot method that throws': [() => ({ [snapshot]: throws })],
  'Proxy or Error that throws': [
    () => new Proxy({}, { ownKeys: throws }),
    () => Object.defineProperty(new Error('x'), 'message', { get: throws }),
  ],
}

table('value | what it is called', refused, (makes, [key, called]) => {
  const holders = makes.map((make) => ({ it: make() }))
  if (key === 'getter that throws') {
    holders.push({
      get it(): unknown {
        throw new Error('gone')
      },
    })
  }
  expect(holders.length).toBeGreaterThan(0)
  for (const rows of holders) {
    const error = errorOf(() => encode({ rows })) as NotTransferableError
    expect(error).toBeInstanceOf(NotTransferableError)
    expect(error).toMatchObject({ code: 'NOT_TRANSFERABLE', path: 'value.rows.it' })
    const threw = key!.endsWith('throws')
    expect(error.message).toBe(`value.rows.it is ${called}${threw ? ' (gone)' : ''} and cannot travel`)
    if (threw) expect((error.cause as Error).message).toBe('gone')
  }
})

it('the sentence in the page is the one that is thrown', () => {
  const sentence = /^ {4}(value.*)$/m.exec(page)![1]
  expect(errorOf(() => encode({ rows: [0, 1, 2, { onClick() {} }] })).message).toBe(sentence)
  expect(errorOf(() => encode(Symbol('x'), { name: 'argument' })).message).toMatch(/^argument is a symbol/)
})

it('keys and members that differ arrive as what differs', () => {
  const called = /are refused as `(.*?)`/.exec(page)![1]
  for (const key of [Object('a'), { [snapshot]: () => 'a' }] as object[]) {
    for (const [it, step] of [
      [new Map([[key, 1]]), '.keys()[0]'],
      [new Set([key]), '.values()[0]'],
    ] as const) {
      // prettier-ignore
      const path = `value${step}`
      expect(errorOf(() => encode(it))).toMatchObject({ path, message: `${path} is ${called} and cannot travel` })
    }
  }
})

const unsendable = (): void => {}
table(
  'step into | is written',
  {
    field: { name: unsendable },
    'field whose name is no identifier': { 'not a name': unsendable },
    'element of an array': [0, 1, 2, unsendable],
    'value of a Map under a primitive key': new Map([['k', unsendable]]),
    'value of a Map under another key': new Map([[{}, unsendable]]),
    'key of a Map': new Map([[unsendable, 1]]),
    'member of a Set': new Set([unsendable]),
    'cause of an Error': new Error('x', { cause: unsendable }),
  },
  (value, [, step]) => {
    expect(errorOf(() => encode(value))).toMatchObject({ path: `value${code(step!)}` })
    expect(errorOf(() => encode([value]))).toMatchObject({ path: `value[0]${code(step!)}` })
  },
)

table<[unknown, (back: never) => unknown]>(
  'dropped | marker',
  {
    'function in a field': [{ onClick() {} }, (back: { onClick: unknown }) => back.onClick],
    'function elsewhere': [[function named() {}], (back: unknown[]) => back[0]],
    symbol: [{ tag: Symbol('tag') }, (back: { tag: unknown }) => back.tag],
    'anything else': [{ p: Promise.resolve() }, (back: { p: unknown }) => back.p],
  },
  ([value, place], [, marker]) => {
    const mark = place(decode(encode(value, { lossy: true })) as never)
    same(mark, { $dropped: /\{ \$dropped: '(.*)' \}/.exec(code(marker!))![1] })
    expect(className(mark)).toBe('Dropped')
    expect(() => encode(value)).toThrow(NotTransferableError)
  },
)

// ── Limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])

interface Limit {
  readonly is: number
  readonly within: unknown
  readonly beyond: unknown
  readonly path: string
  /** What `limits` makes of it. */
  readonly option?: 'depth' | 'items' | 'bytes'
}

const limits: Readonly<Record<string, Limit | { readonly is: number }>> = {
  depth: { is: MAX_DEPTH, within: nested(64), beyond: nested(65), path: `value${'[0]'.repeat(64)}`, option: 'depth' },
  items: {
    is: MAX_ITEMS,
    within: Array.from({ length: MAX_ITEMS - 1 }, () => null),
    beyond: Array.from({ length: MAX_ITEMS }, () => null),
    path: 'value',
    option: 'items',
  },
  bytes: {
    is: MAX_BYTES,
    within: new Uint8Array(MAX_BYTES - 7), // tag and head
    beyond: new Uint8Array(MAX_BYTES - 6),
    path: 'value',
    option: 'bytes',
  },
  BigInt: { is: MAX_BIGINT_BITS, within: 2n ** 8192n - 1n, beyond: -(2n ** 8192n) - 1n, path: 'value' },
  RegExp: { is: MAX_REGEXP, within: new RegExp('x'.repeat(1024)), beyond: new RegExp('x'.repeat(1025)), path: 'value' },
  chunk: { is: CHUNK_SLACK },
}

table('limit | is | of | option', limits, (limit, [, is, , option]) => {
  expect(numberOf(is!)).toBe(limit.is)
  if (!('within' in limit)) {
    const chunk = createChunkWriter({ limits: { bytes: 1000 } })
    const add = (): unknown => chunk.add(new Uint8Array(900))
    for (let i = 0; chunk.bytes + 905 <= limit.is + 1000; i++) add()
    expect(errorOf(add)).toBeInstanceOf(TooLargeError)
    return
  }
  roundTrip(limit.within)
  expect(errorOf(() => encode(limit.beyond))).toMatchObject({ code: 'TOO_LARGE', path: limit.path })
  expect(option === '' ? undefined : code(option!)).toBe(limit.option && `limits.${limit.option}`)
  if (limit.option === undefined) return
  const options = { limits: { [limit.option]: limit.is / 2 } }
  expect(errorOf(() => encode(limit.within, options))).toBeInstanceOf(TooLargeError)
  const bytes = encode(limit.within)
  expect(errorOf(() => decode(bytes, options))).toBeInstanceOf(TooLargeError)
})

it('lossy or not, a limit is a limit', () => {
  expect(errorOf(() => encode(nested(65), { lossy: true }))).toBeInstanceOf(TooLargeError)
  expect(() => encode(1, { limits: { depth: 512 } })).not.toThrow()
  for (const depth of [0, 513]) expect(() => encode(1, { limits: { depth } })).toThrow(RangeError)
})

it('numbers chosen to collide are refused, other numbers are not', () => {
  const anchored = (n: number): boolean => {
    const buckets = new Buckets(128, false)
    for (let i = 0; i < 32; i++) buckets.add(1)
    return !buckets.add(n)
  }
  const chosen: number[] = []
  for (let n = 0; chosen.length < 128; n++) if (anchored(n)) chosen.push(n)
  for (const value of [new Set(chosen), new Map(chosen.map((n) => [n, n]))]) {
    expect(errorOf(() => encode([value]))).toMatchObject({ code: 'TOO_LARGE', path: 'value[0]' })
  }
  const any = new Set(Array.from({ length: 128 }, (_, i) => i * 31))
  same(roundTrip(any), any)
  const high = (count: number): Set<bigint> => new Set(Array.from({ length: count }, (_, i) => BigInt(i) << 64n))
  same(roundTrip(high(64)), high(64))
  expect(errorOf(() => encode(high(65)))).toBeInstanceOf(TooLargeError)
})

// ── Bytes from elsewhere ──────────────────────────────────────────────────────────────────────────────────────────────

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'))

/** Bytes of each kind, and what they are: a value, or nothing where they are refused. */
const foreign: Readonly<Record<string, readonly [string, unknown?][]>> = {
  'item of indefinite length': [['9f01ff'], ['bf616101ff'], ['7f6161ff'], ['d8405f4101ff']],
  'tag that is not in the table above': [
    ['c074323031332d30332d32315432303a30343a30305a'],
    ['c501'],
    ['d9d9f700'],
    ['d9e00080'],
  ],
  'byte string without a tag': [['4101'], ['814101']],
  'map with keys other than text, without tag 259': [['a10102'], ['a1f602']],
  'map with a key `__proto__`, without tag 1285': [['a1695f5f70726f746f5f5fa0']],
  'text that is not UTF-8': [['61ff'], ['63eda080']],
  'simple value other than false, true, null, undefined': [['e0'], ['f3'], ['f8ff']],
  'bytes behind the item': [['0000'], ['80f6']],
  'integer of 64 bits': [
    ['1b0000000000000005', 5n],
    ['3b0000000000000005', -6n],
  ],
  'float of 16 or 32 bits': [
    ['f93c00', 1],
    ['fa3fc00000', 1.5],
  ],
  'integer or length in more bytes than it needs': [
    ['1800', 0],
    ['1a00000005', 5],
    ['780161', 'a'],
    ['980101', [1]],
  ],
}

table('bytes | are', foreign, (samples, [key, are]) => {
  for (const [hex, value] of samples) {
    if (are === 'refused') {
      const error = errorOf(() => decode(bytesOf(hex)))
      expect(error, hex).toBeInstanceOf(MalformedError)
      expect(error).toMatchObject({ code: 'MALFORMED' })
    } else {
      same(decode(bytesOf(hex)), value)
      expect(['a BigInt, however small', 'a number', 'the same'], key).toContain(are)
    }
  }
})

it('typed arrays and DataViews above 4 096 bytes are views of the input unless copies are asked for', () => {
  const input = encode([new Uint8Array(4097), new DataView(new ArrayBuffer(4097)), new Uint8Array(4096)])
  const areViews = (copy: boolean): boolean[] =>
    (decode(input, { copy }) as ArrayBufferView[]).map((view) => view.buffer === input.buffer)
  expect(areViews(false)).toEqual([true, true, false])
  expect(areViews(true)).toEqual([false, false, false])
})

it('every table of the page is shown', () => {
  expect([...tables.keys()]).toEqual([])
})
