import { createSecretKey } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { createServer } from 'node:net'
import { PassThrough } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DEFAULT_LIMITS, MAX_ITEMS, className, decode, encode } from '../src/codec.ts'
import type { EncodeOptions } from '../src/codec.ts'
import { NotTransferableError, TooLargeError } from '../src/errors.ts'

const roundTrip = (value: unknown, options?: EncodeOptions): unknown => decode(encode(value, options))
const snapshot = Symbol.for('errand.snapshot')

function errorOf(act: () => unknown): Error & { path?: string } {
  try {
    act()
  } catch (error) {
    return error as Error & { path?: string }
  }
  throw new Error('nothing was thrown')
}

const exact: [string, unknown][] = [
  ['undefined', undefined],
  ['null', null],
  ['true', true],
  ['false', false],
  ['0', 0],
  ['-0', -0],
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
  ['23', 23],
  ['24', 24],
  ['2^32 - 1', 2 ** 32 - 1],
  ['2^32', 2 ** 32],
  ['-2^32', -(2 ** 32)],
  ['-2^32 - 1', -(2 ** 32) - 1],
  ['largest safe integer', Number.MAX_SAFE_INTEGER],
  ['smallest double', Number.MIN_VALUE],
  ['0.1', 0.1],
  ['0n', 0n],
  ['10n', 10n],
  ['-1n', -1n],
  ['2^64 - 1', 2n ** 64n - 1n],
  ['2^64', 2n ** 64n],
  ['-2^64', -(2n ** 64n)],
  ['-2^64 - 1', -(2n ** 64n) - 1n],
  ['8192 bits', 2n ** 8192n - 1n],
  ['-8192 bits', -(2n ** 8192n)],
  ['empty text', ''],
  ['text of 23', 'x'.repeat(23)],
  ['text of 64', 'x'.repeat(64)],
  ['text of 70 000', 'ä'.repeat(70_000)],
  ['emoji', '👩‍👩‍👧 née 日本'],
  ['Hangul, which is full of ED bytes', '힣'.repeat(10)],
  ['short lone surrogate', 'a\ud800b'],
  ['long lone surrogate', `${'x'.repeat(100)}\udc00`],
  ['short byte order mark', '\ufeffid;name'],
  ['long byte order mark', `\ufeff${'id;name'.repeat(20)}`],
  ['byte order mark at 65 bytes', `\ufeff${'x'.repeat(62)}`],
  ['byte order mark alone', '\ufeff'],
  ['date', new Date(1_753_000_000_123)],
  ['date before 1970', new Date(-1)],
  ['first date', new Date(-8.64e15)],
  ['last date', new Date(8.64e15)],
  ['far date', new Date(-4_400_000_000_000_377)],
  ['invalid date', new Date(NaN)],
  ['RegExp', /a\/b[/]\n(?<n>c)/giu],
  ['empty RegExp', new RegExp('')],
  ['RegExp with unicode sets', /[\p{L}--[a-z]]/v],
  ['RegExp of 1024', new RegExp('x'.repeat(1024))],
  ['URL', new URL('https://me:pw@xn--bcher-kva.example:8443/a%20b?c=d&c=e#f')],
  ['empty object', {}],
  ['empty array', []],
  ['object', { a: 1, b: { c: [1, 'two', null, undefined] }, '': 3, 7: 'seven', ö: 1 }],
  ['key constructor', { constructor: 'me', toString: 1, hasOwnProperty: 2, length: 3 }],
  ['key __proto__', JSON.parse('{"__proto__": {"polluted": true}, "a": 1}')],
  ['keys that cbor-x uses', { __keys__: 1, a: 2 }],
  ['key with lone surrogate', { 'a\ud800': 1 }],
  ['key with long byte order mark', { [`\ufeff${'x'.repeat(80)}`]: 1 }],
  ['wide object', Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`k${i}`, i]))],
  [
    'Map',
    new Map<unknown, unknown>([
      ['a', 1],
      [2, 'b'],
      [{ k: 1 }, [1]],
      [null, undefined],
      [NaN, -0],
    ]),
  ],
  ['Map in Map', new Map([[new Map([[1, 2]]), new Map([[{ plain: true }, new Map()]])]])],
  ['object in Map in object', { m: new Map([['o', { p: { q: 1 } }]]), after: { r: 1 } }],
  ['Set', new Set<unknown>([1, 'a', { b: 1 }, new Set([1]), undefined, NaN])],
  ['Uint8Array', Uint8Array.of(1, 2, 3)],
  ['empty Uint8Array', new Uint8Array()],
  ['Uint8ClampedArray', Uint8ClampedArray.of(1, 255)],
  ['Int8Array', Int8Array.of(-1, 1)],
  ['Int16Array', Int16Array.of(-300, 300)],
  ['Uint16Array', Uint16Array.of(1, 65_535)],
  ['Int32Array', Int32Array.of(-70_000, 70_000)],
  ['Uint32Array', Uint32Array.of(1, 2 ** 32 - 1)],
  ['BigInt64Array', BigInt64Array.of(-1n, 2n ** 62n)],
  ['BigUint64Array', BigUint64Array.of(1n, 2n ** 64n - 1n)],
  ['Float16Array', Float16Array.of(1.5, -0, NaN)],
  ['Float32Array', Float32Array.of(1.5, -0, NaN)],
  ['Float64Array', Float64Array.of(0.1, -0, Infinity)],
  ['empty Float64Array', new Float64Array()],
  ['ArrayBuffer', Uint8Array.of(1, 2, 3).buffer],
  ['DataView', new DataView(Uint8Array.of(1, 2, 3).buffer)],
  ['large Float64Array', new Float64Array(10_000).fill(0.25)],
]

describe('what arrives as it was', () => {
  it.each(exact)('%s', (_, value) => {
    expect(isDeepStrictEqual(roundTrip(value), value)).toBe(true)
  })
  it.each(exact)('%s, nested and beside others', (_, value) => {
    const outer = { before: 1, list: [value, { value }], map: new Map([['k', value]]), after: 'x' }
    expect(isDeepStrictEqual(roundTrip(outer), outer)).toBe(true)
  })

  it('keeps the order of keys, entries and members', () => {
    const back = roundTrip({
      z: 1,
      a: new Map([
        ['y', 1],
        ['b', 2],
      ]),
      m: new Set(['x', 'c']),
    }) as Record<string, unknown>
    expect(Object.keys(back)).toEqual(['z', 'a', 'm'])
    expect([...(back.a as Map<string, number>).keys()]).toEqual(['y', 'b'])
    expect([...(back.m as Set<string>)]).toEqual(['x', 'c'])
  })

  it('keeps the class of typed arrays in a view that is not aligned, and only its bytes', () => {
    const buffer = new ArrayBuffer(64)
    new Uint8Array(buffer).fill(7)
    const back = roundTrip([new Uint8Array(buffer, 3, 2), new Float64Array(buffer, 8, 2)]) as [Uint8Array, Float64Array]
    expect(back[0]).toEqual(Uint8Array.of(7, 7))
    expect(back[1].length).toBe(2)
    expect(encode(new Uint8Array(buffer, 3, 2)).byteLength).toBeLessThan(8)
  })

  it('keeps what a RegExp of half a character matches', () => {
    const back = roundTrip([/x/, new RegExp('a\ud800', 'u')]) as RegExp[]
    expect([back[1]!.test('a\ud800'), back[1]!.test('a')]).toEqual([true, false])
  })
  it('takes bytes over shared memory as bytes', () => {
    const view = new Int16Array(new SharedArrayBuffer(4))
    view[1] = 5
    expect(roundTrip(view)).toEqual(Int16Array.of(0, 5))
  })
})

describe('what arrives as something near', () => {
  it('Buffer as Uint8Array', () => {
    const back = roundTrip({ b: Buffer.from('hello') }) as { b: Uint8Array }
    expect(Object.getPrototypeOf(back.b)).toBe(Uint8Array.prototype)
    expect(back.b).toEqual(Uint8Array.from(Buffer.from('hello')))
  })
  it('boxed primitives as primitives', () => {
    expect(roundTrip([Object(1), Object('a'), Object(true), Object(7n), Object(-0)])).toEqual([1, 'a', true, 7n, -0])
  })
  it('holes as undefined', () => {
    const sparse = [1, , 3] // oxlint-disable-line no-sparse-arrays
    expect(roundTrip(sparse)).toStrictEqual([1, undefined, 3])
  })
  it('null-prototype objects as plain', () => {
    const back = roundTrip({ o: Object.assign(Object.create(null), { a: 1 }) }) as { o: object }
    expect(Object.getPrototypeOf(back.o)).toBe(Object.prototype)
    expect(className(back.o)).toBeUndefined()
    expect(back.o).toEqual({ a: 1 })
  })
  it('getters as their value, read once where the value is not plain', () => {
    let reads = 0
    const value = {
      get now() {
        reads++
        return -0
      },
    }
    expect(roundTrip({ value })).toStrictEqual({ value: { now: -0 } })
    expect(reads).toBeGreaterThan(0)
  })
  it('Map and Array subclasses as Map and Array', () => {
    class Names extends Map<string, string> {}
    class List extends Array<number> {}
    expect(isDeepStrictEqual(roundTrip(new Names([['a', 'b']])), new Map([['a', 'b']]))).toBe(true)
    expect(isDeepStrictEqual(roundTrip(List.of(1, 2)), [1, 2])).toBe(true)
  })
  it('values of another realm as ours', () => {
    const foreign: unknown = runInNewContext(
      `({ a: [1], m: new Map([[1, new Set([2])]]), d: new Date(5), r: /x/g, t: new Float32Array([1]), e: new TypeError('no'), n: -0 })`,
    )
    const back = roundTrip(foreign) as Record<string, unknown>
    const { e, ...rest } = back
    expect(
      isDeepStrictEqual(rest, {
        a: [1],
        m: new Map([[1, new Set([2])]]),
        d: new Date(5),
        r: /x/g,
        t: Float32Array.of(1),
        n: -0,
      }),
    ).toBe(true)
    expect(e).toBeInstanceOf(TypeError)
    expect(className(back)).toBeUndefined()
  })
})

describe('classes', () => {
  class Point {
    x = 1
    readonly #secret = 2
    get sum(): number {
      return this.x + this.#secret
    }
  }
  it('arrive as data with their name', () => {
    const back = roundTrip({ p: new Point() }) as { p: object }
    expect(back).toEqual({ p: { x: 1 } })
    expect(Object.getPrototypeOf(back.p)).toBe(Object.prototype)
    expect(className(back.p)).toBe('Point')
    expect(Object.keys(back.p)).toEqual(['x'])
    expect(JSON.stringify(back)).toBe('{"p":{"x":1}}')
  })
  it('keep their name when they are passed on', () => {
    expect(className(roundTrip(roundTrip(new Point())))).toBe('Point')
  })
  it('are not known of plain data, primitives and live instances', () => {
    for (const value of [roundTrip({ a: 1 }), 1, null, undefined, 'x', new Point()]) {
      expect(className(value)).toBeUndefined()
    }
  })
  it('keep awkward fields', () => {
    const odd = Object.assign(new Point(), { ['__keys__']: 1 })
    Object.defineProperty(odd, '__proto__', { value: 5, enumerable: true })
    const back = roundTrip(odd) as object
    expect(Object.getOwnPropertyDescriptor(back, '__proto__')?.value).toBe(5)
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype)
  })
})

describe('errors', () => {
  it.each([Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError])(
    '%o keeps its class',
    (kind) => {
      const error = new kind('no such thing', { cause: { why: -0 } })
      const back = roundTrip({ error }) as { error: Error }
      expect(Object.getPrototypeOf(back.error)).toBe(kind.prototype)
      expect(isDeepStrictEqual(back.error, error)).toBe(true)
      expect(back.error.stack).toBe(error.stack)
      expect(back.error.cause).toEqual({ why: -0 })
      expect(Object.keys(back.error)).toEqual([])
      expect(Object.prototype.propertyIsEnumerable.call(back.error, 'cause')).toBe(false)
    },
  )
  it('keeps codes, own fields and what they hold', () => {
    const error = Object.assign(new Error('refused'), { code: 'ECONNREFUSED', errno: -111, detail: new Map([[1, 2n]]) })
    const back = roundTrip(error) as typeof error
    expect(isDeepStrictEqual(back, error)).toBe(true)
    expect(Object.keys(back)).toEqual(['code', 'errno', 'detail'])
  })
  it('keeps a code that is a getter of the class', () => {
    class Coded extends Error {
      get code(): string {
        return 'E_CODED'
      }
    }
    expect((roundTrip(new Coded('x')) as { code: string }).code).toBe('E_CODED')
  })
  it('brings unknown classes back as the nearest known one, with their name', () => {
    class PaymentError extends RangeError {
      override name = 'PaymentError'
      readonly amount = 3
    }
    const back = roundTrip(new PaymentError('too much')) as PaymentError
    expect(back).toBeInstanceOf(RangeError)
    expect(back).not.toBeInstanceOf(PaymentError)
    expect(back.name).toBe('PaymentError')
    expect(back.amount).toBe(3)
    expect(className(back)).toBe('PaymentError')
    expect(className(roundTrip(back))).toBe('PaymentError')
  })
  it('keeps the parts of an AggregateError', () => {
    const error = new AggregateError([new TypeError('a'), 'not even an error'], 'both', { cause: new Error('root') })
    const back = roundTrip(error) as AggregateError
    expect(back).toBeInstanceOf(AggregateError)
    expect(isDeepStrictEqual(back, error)).toBe(true)
    expect(back.errors[0]).toBeInstanceOf(TypeError)
    expect((back.cause as Error).message).toBe('root')
  })
  it('keeps SuppressedError and DOMException', () => {
    const suppressed = roundTrip(new SuppressedError(new Error('late'), new Error('early'), 'both')) as SuppressedError
    expect(suppressed).toBeInstanceOf(SuppressedError)
    expect([suppressed.error.message, suppressed.suppressed.message]).toEqual(['late', 'early'])
    const abort = roundTrip(AbortSignal.abort().reason) as DOMException
    expect(abort).toBeInstanceOf(DOMException)
    expect([abort.name, abort.code]).toEqual(['AbortError', 20])
  })
  it('does not leave the stack trace limit changed', () => {
    const before = Error.stackTraceLimit
    Error.stackTraceLimit = 7
    roundTrip(new Error('x'))
    const after = Error.stackTraceLimit
    Error.stackTraceLimit = before
    expect(after).toBe(7)
  })
  it('takes errors whose fields are not what they should be', () => {
    const odd = new Error('x')
    Object.assign(odd, { name: 5, stack: { not: 'text' }, errors: ['a'] })
    const back = roundTrip(odd) as Error & { errors: unknown }
    expect(back.message).toBe('x')
    expect(back.name).toBe(5)
    expect(back.errors).toEqual(['a'])
  })
})

describe('identity', () => {
  it('restores shared references through every kind of container', () => {
    const one = { name: 'one' }
    const value = {
      a: one,
      list: [one, [one]],
      map: new Map<unknown, unknown>([[one, one]]),
      set: new Set([one]),
      error: new Error('e', { cause: one }),
      own: Object.assign(new (class Box {})(), { one }),
    }
    const back = roundTrip(value) as typeof value
    const it = back.a
    expect(it).toEqual({ name: 'one' })
    expect(
      [
        back.list[0],
        (back.list[1] as unknown[])[0],
        [...back.map.keys()][0],
        back.map.get(it),
        [...back.set][0],
        back.error.cause,
        (back.own as { one: unknown }).one,
      ].every((x) => x === it),
    ).toBe(true)
  })
  it.each<[string, () => { root: unknown; step: (root: never) => unknown }]>([
    [
      'an object',
      () => {
        const o: Record<string, unknown> = {}
        o.o = o
        return { root: o, step: (r: { o: unknown }) => r.o }
      },
    ],
    [
      'an array',
      () => {
        const a: unknown[] = [1]
        a.push(a)
        return { root: a, step: (r: unknown[]) => r[1] }
      },
    ],
    [
      'a Map value',
      () => {
        const m = new Map<string, unknown>()
        m.set('m', m)
        return { root: m, step: (r: Map<string, unknown>) => r.get('m') }
      },
    ],
    [
      'a Map key',
      () => {
        const m = new Map<unknown, unknown>()
        m.set(m, 1)
        return { root: m, step: (r: Map<unknown, unknown>) => [...r.keys()][0] }
      },
    ],
    [
      'a Set',
      () => {
        const s = new Set<unknown>()
        s.add(s)
        return { root: s, step: (r: Set<unknown>) => [...r][0] }
      },
    ],
    [
      'a cause',
      () => {
        const e = new TypeError('x')
        e.cause = e
        return { root: e, step: (r: Error) => r.cause }
      },
    ],
    [
      'the errors of an AggregateError',
      () => {
        const e = new AggregateError([])
        e.errors.push(e)
        return { root: e, step: (r: AggregateError) => r.errors[0] }
      },
    ],
    [
      'a field of a class',
      () => {
        class Node {
          self: unknown = this
        }
        return { root: new Node(), step: (r: { self: unknown }) => r.self }
      },
    ],
    [
      'a key __proto__',
      () => {
        const o: object = JSON.parse('{"__proto__":0}')
        Object.defineProperty(o, '__proto__', { value: o })
        return { root: o, step: (r: object) => Object.getOwnPropertyDescriptor(r, '__proto__')?.value }
      },
    ],
    [
      'all of them on the way',
      () => {
        const e = new Error('x')
        const root = { list: [new Map([['k', new Set([e])]])] }
        e.cause = root
        return { root, step: (r: { list: [Map<string, Set<Error>>] }) => [...r.list[0].get('k')!][0]!.cause }
      },
    ],
  ])('restores a cycle through %s', (_, make) => {
    const { root, step } = make()
    const back = roundTrip(root)
    expect(step(back as never)).toBe(back)
  })
  it('keeps the order of Map and Set when a cycle is tied', () => {
    const map = new Map<unknown, unknown>([['first', 1]])
    map.set(map, 2).set('last', 3)
    expect([...(roundTrip(map) as Map<unknown, unknown>).values()]).toEqual([1, 2, 3])
  })
  it('restores shared dates, bytes, URLs and patterns', () => {
    const parts = [
      new Date(1),
      Uint8Array.of(1),
      new URL('a:b'),
      /x/,
      new ArrayBuffer(1),
      new DataView(new ArrayBuffer(1)),
    ]
    const back = roundTrip([parts, [...parts]]) as [unknown[], unknown[]]
    parts.forEach((_, i) => expect(back[0][i]).toBe(back[1][i]))
  })
  it('restores 100 000 shared objects, which is more than 16 bits count', () => {
    const parts = Array.from({ length: 80_000 }, (_, i) => [i])
    const back = roundTrip([parts, parts.toReversed()]) as [number[][], number[][]]
    for (const i of [0, 1, 65_535, 65_536, 79_999]) {
      expect(back[0][i]).toEqual([i])
      expect(back[1][79_999 - i]).toBe(back[0][i])
    }
  })
  it('restores a list whose links are longer than any stack', () => {
    const nodes: { next?: unknown }[] = Array.from({ length: 50_000 }, () => ({}))
    nodes.forEach((node, i) => (node.next = nodes[(i + 1) % nodes.length]))
    // Flat on the wire: each node stands in the list before it is linked to.
    const flat = nodes.map((node) => node)
    const error = errorOf(() => encode(flat))
    expect(error).toBeInstanceOf(TooLargeError) // the first node holds the second, and so on: 64 deep
    const backwards: { next?: unknown; self?: unknown }[] = [{}]
    for (let i = 1; i < 50_000; i++) backwards.push({ next: backwards[i - 1] })
    backwards[0]!.next = backwards[0]
    const back = roundTrip(backwards) as typeof backwards
    expect(back[49_999]!.next).toBe(back[49_998])
    expect(back[0]!.next).toBe(back[0])
  })
  it('does not share what was not shared', () => {
    const back = roundTrip([{ a: 1 }, { a: 1 }]) as object[]
    expect(back[0]).not.toBe(back[1])
  })
})

describe('snapshots of live objects', () => {
  class Job {
    readonly id: number
    children: Job[] = []
    parent?: Job
    constructor(id: number) {
      this.id = id
    }
    stop(): void {}
    [snapshot](): unknown {
      return { id: this.id, children: this.children, ...(this.parent ? { parent: this.parent } : {}), stop: undefined }
    }
  }
  it('arrive under the class name, deep-frozen', () => {
    const job = new Job(1)
    job.children.push(new Job(2))
    job.children[0]!.parent = job
    const back = roundTrip({ job, list: [job, job.children[0]] }) as { job: Job; list: Job[] }
    expect(className(back.job)).toBe('Job')
    expect(back.job).toBe(back.list[0])
    expect(back.job.children[0]).toBe(back.list[1])
    expect(back.job.children[0]!.parent).toBe(back.job)
    for (const frozen of [back.job, back.job.children, back.job.children[0]]) expect(Object.isFrozen(frozen)).toBe(true)
    expect(Object.isFrozen(back)).toBe(false)
    expect(Object.isFrozen(back.list)).toBe(false)
  })
  it('stay snapshots when they are passed on', () => {
    const back = roundTrip(roundTrip(new Job(3))) as Job
    expect(className(back)).toBe('Job')
    expect(Object.isFrozen(back)).toBe(true)
  })
  it('may be a snapshot that was received', () => {
    const received = roundTrip(new Job(4)) as Job
    class Remote {
      readonly again = this;
      [snapshot](): unknown {
        return received
      }
    }
    const remote = new Remote()
    const back = roundTrip([remote, remote, received, received]) as Job[]
    expect(back[0]).toEqual({ id: 4, children: [], stop: undefined })
    expect(className(back[0])).toBe('Remote')
    expect(new Set(back).size).toBe(1)
    expect(Object.isFrozen(back[0])).toBe(true)
    const plain = { [snapshot]: () => received }
    expect(className((roundTrip([plain, plain]) as Job[])[1])).toBe('Job')
  })
  it('may be one picture of two, or the object itself', () => {
    const picture = { id: 5 }
    const [one, two] = [1, 2].map(() => ({ [snapshot]: () => picture }))
    const back = roundTrip([one, picture, two]) as object[]
    expect(new Set(back).size).toBe(1)
    expect(new Set(roundTrip([picture, one, two]) as object[]).size).toBe(1)
    class Itself {
      readonly id = 6
      readonly same = this;
      [snapshot](): unknown {
        return this
      }
    }
    const itself = roundTrip(new Itself()) as Itself
    expect([itself.id, itself.same, Object.isFrozen(itself), className(itself)]).toEqual([6, itself, true, 'Itself'])
  })
  it('may be any value, and hold bytes and Maps', () => {
    const live = (picture: unknown): object => ({ [snapshot]: () => picture })
    expect(roundTrip([live(5), live('x'), live(null), live(undefined)])).toEqual([5, 'x', null, undefined])
    const back = roundTrip([live([{ a: 1 }]), live(new Map([['k', { b: Uint8Array.of(1) }]]))]) as [
      object[],
      Map<string, object>,
    ]
    expect(Object.isFrozen(back[0][0])).toBe(true)
    expect(Object.isFrozen(back[1].get('k'))).toBe(true)
  })
  it('are refused when the method fails, with the path', () => {
    const broken = {
      [snapshot]: () => {
        throw new Error('gone')
      },
    }
    const error = errorOf(() => encode({ jobs: [broken] }))
    expect(error).toBeInstanceOf(NotTransferableError)
    expect(error.path).toBe('value.jobs[0]')
    expect((error.cause as Error).message).toBe('gone')
  })
})

describe('refusals', () => {
  const cases: [string, () => unknown, string][] = [
    ['function', () => ({ rows: [0, 1, 2, { onClick() {} }] }), 'value.rows[3].onClick'],
    ['class', () => [class {}], 'value[0]'],
    ['function at the root', () => () => 1, 'value'],
    ['symbol', () => ({ 'not a name': Symbol('x') }), 'value["not a name"]'],
    ['boxed symbol', () => [Object(Symbol('x'))], 'value[0]'],
    ['promise', () => new Map([['k', { p: Promise.resolve() }]]), 'value.get("k").p'],
    [
      'promise as Map key',
      () =>
        new Map<unknown, unknown>([
          [1, 1],
          [Promise.resolve(), 1],
        ]),
      'value.keys()[1]',
    ],
    ['value under an object key', () => new Map([[{}, () => 1]]), 'value.values()[0]'],
    ['WeakMap', () => new Set([1, new WeakMap()]), 'value.values()[1]'],
    ['WeakSet', () => ({ w: new WeakSet() }), 'value.w'],
    ['WeakRef', () => ({ w: new WeakRef({}) }), 'value.w'],
    ['generator', () => [(function* () {})()], 'value[0]'],
    ['async generator', () => [(async function* () {})()], 'value[0]'],
    ['iterator', () => [[1].values(), 1], 'value[0]'],
    ['Map iterator', () => ({ i: new Map().entries() }), 'value.i'],
    ['SharedArrayBuffer', () => ({ s: new SharedArrayBuffer(1) }), 'value.s'],
    ['stream', () => ({ out: new PassThrough() }), 'value.out'],
    ['server', () => ({ server: createServer() }), 'value.server'],
    [
      'timer',
      () => {
        const t = setTimeout(() => {}, 1)
        clearTimeout(t)
        return { t }
      },
      'value.t',
    ],
    ['signal', () => ({ signal: new AbortController().signal }), 'value.signal'],
    ['web stream', () => ({ s: new ReadableStream() }), 'value.s'],
    ['key', () => ({ k: createSecretKey(Buffer.from('secret')) }), 'value.k'],
    ['headers', () => ({ h: new Headers() }), 'value.h'],
    ['search parameters', () => ({ q: new URL('http://x/?a=b').searchParams }), 'value.q'],
    ['blob', () => ({ b: new Blob(['x']) }), 'value.b'],
    ['emitter with a listener', () => ({ e: new EventEmitter().on('x', () => {}) }), 'value.e._events.x'],
    ['function in an error', () => Object.assign(new Error('x'), { retry() {} }), 'value.retry'],
    ['function in a cause', () => new Error('x', { cause: { deep: () => 1 } }), 'value.cause.deep'],
    [
      'function in a class',
      () => ({
        p: new (class {
          run = () => 1
        })(),
      }),
      'value.p.run',
    ],
    [
      'getter that throws',
      () => ({
        a: {
          get b() {
            throw new Error('no')
          },
        },
      }),
      'value.a.b',
    ],
    [
      'detached buffer',
      () => {
        const b = new ArrayBuffer(8)
        structuredClone(b, { transfer: [b] })
        return { b }
      },
      'value.b',
    ],
    [
      'detached view',
      () => {
        const b = new Uint8Array(8)
        structuredClone(b, { transfer: [b.buffer] })
        return { b }
      },
      'value.b',
    ],
    [
      'hostile proxy',
      () => ({
        p: new Proxy(
          {},
          {
            ownKeys: () => {
              throw new Error('no')
            },
          },
        ),
      }),
      'value.p',
    ],
  ]
  it.each(cases)('%s: with the path', (_, make, path) => {
    const value = make()
    const error = errorOf(() => encode(value))
    expect(error).toBeInstanceOf(NotTransferableError)
    expect((error as NotTransferableError).code).toBe('NOT_TRANSFERABLE')
    expect(error.path).toBe(path)
    expect(error.message).toContain(path)
  })
  it.each(cases.slice(0, -1))('%s: dropped and marked when lossy', (_, make) => {
    const marks: string[] = []
    const met = new Set<unknown>()
    const walk = (value: unknown): void => {
      if (typeof value !== 'object' || value === null || met.has(value)) return
      met.add(value)
      if (className(value) === 'Dropped') marks.push((value as { $dropped: string }).$dropped)
      else if (value instanceof Map) for (const entry of value) entry.forEach(walk)
      else if (value instanceof Set) value.forEach(walk)
      else for (const key of Object.getOwnPropertyNames(value)) walk((value as Record<string, unknown>)[key])
    }
    walk(roundTrip(make(), { lossy: true }))
    expect(marks.length).toBe(1)
    expect(marks[0]).not.toBe('')
  })
  it('names what was dropped', () => {
    expect(roundTrip({ onClick() {}, s: Symbol('tag'), p: Promise.resolve(), x: 1 }, { lossy: true })).toEqual({
      onClick: { $dropped: 'function onClick' },
      s: { $dropped: 'symbol tag' },
      p: { $dropped: 'a Promise' },
      x: 1,
    })
    expect(roundTrip(function named() {}, { lossy: true })).toEqual({ $dropped: 'function named' })
  })
  it('calls the value by the name given', () => {
    expect(errorOf(() => encode([{ f() {} }], { name: 'args' })).path).toBe('args[0].f')
  })
  it('writes the next value right after a refusal', () => {
    errorOf(() => encode({ a: 'x'.repeat(100), f() {} }))
    expect(roundTrip({ a: 1 })).toEqual({ a: 1 })
  })
})

describe('limits', () => {
  const nested = (depth: number, inside: unknown = 1): unknown => {
    let value = inside
    for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { v: value }
    return value
  }
  class Wrap {
    v: unknown
    constructor(v: unknown) {
      this.v = v
    }
  }
  it('takes 64 levels of any container and no more', () => {
    const wraps: ((v: unknown) => unknown)[] = [
      (v) => [v],
      (v) => ({ v }),
      (v) => new Map([['k', v]]),
      (v) => new Map([[v, 1]]),
      (v) => new Set([v]),
      (v) => new Wrap(v),
      (v) => new Error('e', { cause: v }),
      (v) => ({ [snapshot]: () => ({ v }) }),
    ]
    for (const wrap of wraps) {
      let value: unknown = 1
      for (let i = 0; i < 64; i++) value = wrap(value)
      expect(() => roundTrip(value)).not.toThrow()
      expect(errorOf(() => encode(wrap(value)))).toBeInstanceOf(TooLargeError)
    }
  })
  it('says where it became too deep', () => {
    const error = errorOf(() => encode({ a: nested(64) }))
    expect(error).toBeInstanceOf(TooLargeError)
    expect(error.path).toMatch(/^value\.a\[0\]\.v\[0\]\.v/)
    expect((error as TooLargeError).code).toBe('TOO_LARGE')
  })
  it('takes as many items as it says and no more', () => {
    const full = Array.from({ length: MAX_ITEMS - 1 }, (_, i) => i)
    expect(roundTrip(full)).toEqual(full)
    const error = errorOf(() => encode({ list: [...full, 1] }))
    expect(error).toBeInstanceOf(TooLargeError)
    expect(error.path).toBe('value.list')
  })
  it('refuses a sparse giant at once', () => {
    const giant: unknown[] = []
    giant[2 ** 32 - 2] = 1
    expect(errorOf(() => encode({ giant })).path).toBe('value.giant')
  })
  it('refuses text, bytes and totals beyond the size', () => {
    expect(errorOf(() => encode({ a: 'x'.repeat(2 ** 24) })).path).toBe('value.a')
    expect(errorOf(() => encode({ a: new Uint8Array(2 ** 24 + 1) })).path).toBe('value.a')
    expect(errorOf(() => encode({ a: 'ä'.repeat(2 ** 23) }))).toBeInstanceOf(TooLargeError)
    expect(errorOf(() => encode(['abc', 'defg'], { limits: { bytes: 6 } })).path).toBe('value[1]')
  })
  it('refuses big BigInts and long patterns', () => {
    expect(errorOf(() => encode({ n: 2n ** 8192n })).path).toBe('value.n')
    expect(errorOf(() => encode({ n: -(2n ** 8192n) - 1n }))).toBeInstanceOf(TooLargeError)
    expect(errorOf(() => encode({ r: new RegExp('x'.repeat(1025)) })).path).toBe('value.r')
  })
  it('takes a depth that is no depth for a mistake of the caller', () => {
    expect(() => encode(1, { limits: { depth: 0 } })).toThrow(RangeError)
    expect(() => encode(1, { limits: { depth: 100_000 } })).toThrow(RangeError)
  })
  it('gives each side the limits it asks for', () => {
    const bytes = encode(nested(100), { limits: { depth: 100 } })
    expect(errorOf(() => decode(bytes))).toBeInstanceOf(TooLargeError)
    expect(isDeepStrictEqual(decode(bytes, { limits: { depth: 100 } }), nested(100))).toBe(true)
    expect(errorOf(() => decode(encode([1, 2, 3]), { limits: { items: 3 } }))).toBeInstanceOf(TooLargeError)
    expect(errorOf(() => decode(encode('abc'), { limits: { bytes: 3 } }))).toBeInstanceOf(TooLargeError)
    expect(DEFAULT_LIMITS).toEqual({ depth: 64, items: 262_144, bytes: 16 * 1024 * 1024 })
  })
})

describe('memory', () => {
  it('gives bytes that later calls do not touch', () => {
    const made = Array.from({ length: 2000 }, (_, i) => [i, encode({ i, pad: 'x'.repeat(i) })] as const)
    encode('y'.repeat(3_000_000))
    for (const [i, bytes] of made) expect((decode(bytes) as { i: number }).i).toBe(i)
  })
  it('does not keep a giant buffer for small values', () => {
    encode(new Uint8Array(10_000_000))
    expect(encode({ a: 1 }).buffer.byteLength).toBeLessThan(65_536)
    expect(encode('x'.repeat(5_000)).buffer.byteLength).toBe(5_003)
  })
  it('survives a caller who transfers what it should not', () => {
    const bytes = encode({ a: 1 })
    structuredClone(bytes, { transfer: [bytes.buffer] })
    expect(roundTrip({ b: 2 })).toEqual({ b: 2 })
  })
  it('copies short bytes, shows long ones as views, copies all when asked', () => {
    const value = { short: new Uint8Array(4096).fill(1), long: new Uint8Array(4097).fill(1) }
    const bytes = encode(value)
    const views = decode(bytes) as typeof value
    const copies = decode(bytes, { copy: true }) as typeof value
    expect(isDeepStrictEqual(views, value)).toBe(true)
    bytes.fill(2)
    expect(views.short[0]).toBe(1)
    expect(views.long[0]).toBe(2)
    expect(copies).toEqual(value)
  })
  it('gives short ones memory that the input does not share, and of their own when asked to', () => {
    const value = Array.from({ length: 200 }, (_, i) => new Uint8Array(i * 4).fill(i))
    const bytes = encode(value)
    const back = decode(bytes) as Uint8Array[]
    const copies = decode(bytes, { copy: true }) as Uint8Array[]
    bytes.fill(255)
    back[50]!.fill(0)
    value[50]!.fill(0)
    expect(back).toEqual(value)
    expect(copies.every((copy) => copy.buffer.byteLength === copy.byteLength)).toBe(true)
    for (const part of back) {
      // One that is moved away does not take another along.
      try {
        structuredClone(part, { transfer: [part.buffer as ArrayBuffer] })
        expect(part.buffer.byteLength).toBe(0)
      } catch (error) {
        expect((error as Error).name).toBe('DataCloneError')
      }
    }
    expect(back.filter((part) => part.byteLength > 0).every((part) => part.every((byte) => byte <= 200))).toBe(true)
    for (const copy of copies) structuredClone(copy, { transfer: [copy.buffer as ArrayBuffer] })
  })
  it('decodes a Buffer, a part of a buffer and shared memory alike', () => {
    const value = { b: new Uint8Array(5000).fill(3), f: Float64Array.of(1, 2), t: 'text' }
    const bytes = encode(value)
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 1), 1)
    shared.set(bytes)
    for (const input of [Buffer.from(bytes), new Uint8Array([0, ...bytes]).subarray(1), shared]) {
      const back = decode(input) as typeof value
      expect(isDeepStrictEqual(back, value)).toBe(true)
      expect(Object.getPrototypeOf(back.b)).toBe(Uint8Array.prototype)
      expect('dataView' in input).toBe(false)
    }
  })
})

describe('values that do not hold still', () => {
  it('takes a getter that encodes', () => {
    const seen: Uint8Array[] = []
    const value = {
      before: 'a',
      get inner() {
        seen.push(encode({ nested: 'x'.repeat(20_000) }))
        return 7
      },
      after: 'b'.repeat(100),
    }
    expect(roundTrip(value)).toEqual({ before: 'a', inner: 7, after: 'b'.repeat(100) })
    for (const bytes of seen) expect(decode(bytes)).toEqual({ nested: 'x'.repeat(20_000) })
    expect(roundTrip({ next: 1 })).toEqual({ next: 1 })
  })
  it.each([10, 20_000])('takes a getter deep inside that encodes %i characters', (size) => {
    const deep = {
      get inner() {
        encode({ nested: 'x'.repeat(size) })
        return { calm: true }
      },
    }
    const value = { before: 'a'.repeat(50), list: [1, { deep }, 2], after: 'b'.repeat(50) }
    expect(roundTrip(value)).toEqual({
      before: 'a'.repeat(50),
      list: [1, { deep: { inner: { calm: true } } }, 2],
      after: 'b'.repeat(50),
    })
  })
  it('sees what is shared although a getter encoded in between, once', () => {
    const one = { one: 1 }
    let reads = 0
    const value = {
      a: one,
      get lazy() {
        if (reads++ === 0) encode([1, 2, { three: 3 }])
        return 'made'
      },
      b: one,
    }
    const back = roundTrip(value) as { a: object; b: object }
    expect(back).toEqual({ a: one, lazy: 'made', b: one })
    expect(back.a).toBe(back.b)
  })
  it('takes a getter that changes its mind', () => {
    let reads = 0
    const value = {
      get fickle() {
        return reads++ === 1 ? () => 1 : 'calm'
      },
    }
    expect(roundTrip({ a: 1, value })).toEqual({ a: 1, value: { fickle: 'calm' } })
  })
  it('takes a getter that makes a new object each time', () => {
    const value = {
      get fresh() {
        return { self: -0 }
      },
    }
    expect(roundTrip(value)).toStrictEqual({ fresh: { self: -0 } })
  })
  it('is not led astray by polluted prototypes', () => {
    Object.defineProperty(Object.prototype, 'injected', {
      value: () => 1,
      enumerable: true,
      configurable: true,
      writable: true,
    })
    try {
      expect(Object.keys(roundTrip({ a: { b: 1 } }) as object)).toEqual(['a'])
    } finally {
      delete (Object.prototype as { injected?: unknown }).injected
    }
  })
})

const unit16 = fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit))
const anyText = fc.oneof(
  fc.string({ unit: unit16 }),
  fc.string({ unit: unit16, minLength: 60, maxLength: 70 }),
  fc.string(),
)

describe('properties', () => {
  it('any value arrives as it was', () => {
    fc.assert(
      fc.property(
        fc.anything({
          key: fc.oneof(anyText, fc.constantFrom('__proto__', 'constructor', '__keys__')),
          values: [fc.integer(), fc.double(), fc.boolean(), fc.constantFrom(null, undefined, -0), anyText, fc.bigInt()],
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
        }),
        (value) => isDeepStrictEqual(roundTrip(value), value),
      ),
      { numRuns: 500 },
    )
  })

  // A graph: each node is a container of some kind, each edge leads to any node.
  const kinds = ['array', 'object', 'map', 'set', 'error', 'class', 'aggregate', 'proto'] as const
  class Thing {
    [field: string]: unknown
  }
  const graph = fc
    .array(fc.record({ kind: fc.constantFrom(...kinds), edges: fc.array(fc.nat(29), { maxLength: 4 }) }), {
      minLength: 1,
      maxLength: 30,
    })
    .map((nodes) => {
      const made = nodes.map(({ kind }) =>
        kind === 'array'
          ? []
          : kind === 'map'
            ? new Map()
            : kind === 'set'
              ? new Set()
              : kind === 'error'
                ? new TypeError('e')
                : kind === 'aggregate'
                  ? new AggregateError([])
                  : kind === 'class'
                    ? new Thing()
                    : {},
      )
      nodes.forEach(({ edges, kind }, n) => {
        const node: unknown = made[n]
        edges.forEach((edge, i) => {
          const to: unknown = made[edge % made.length]
          if (Array.isArray(node)) node.push(to)
          else if (node instanceof Map) node.set(i % 2 ? to : i, i % 2 ? i : to)
          else if (node instanceof Set) node.add(to)
          else if (node instanceof AggregateError) node.errors.push(to)
          else if (node instanceof Error) node.cause = to
          else if (kind === 'proto')
            Object.defineProperty(node, i ? `f${i}` : '__proto__', {
              value: to,
              enumerable: true,
              writable: true,
              configurable: true,
            })
          else (node as Record<string, unknown>)[`f${i}`] = to
        })
      })
      return made[0]
    })

  /** Walks both side by side: same shape, and one partner for each object, always the same. */
  function isomorphic(left: unknown, right: unknown): boolean {
    const partner = new Map<unknown, unknown>()
    const taken = new Set<unknown>()
    const open: [unknown, unknown][] = [[left, right]]
    for (let pair = open.pop(); pair; pair = open.pop()) {
      const [a, b] = pair
      if (typeof a !== 'object' || a === null) {
        if (!Object.is(a, b)) return false
        continue
      }
      if (partner.has(a) || taken.has(b)) {
        if (partner.get(a) !== b) return false
        continue
      }
      partner.set(a, b)
      taken.add(b)
      const expected = a instanceof Thing ? Object.prototype : Object.getPrototypeOf(a)
      if (typeof b !== 'object' || b === null || Object.getPrototypeOf(b) !== expected) return false
      if (a instanceof Thing && className(b) !== 'Thing') return false
      const parts = (x: object): unknown[] =>
        x instanceof Map
          ? [...x].flat()
          : x instanceof Set
            ? [...x]
            : Object.getOwnPropertyNames(x)
                .filter((key) => key !== 'stack')
                .toSorted()
                .flatMap((key) => [key, Object.getOwnPropertyDescriptor(x, key)!.value])
      const [ours, theirs] = [parts(a), parts(b)]
      if (ours.length !== theirs.length) return false
      ours.forEach((part, i) => open.push([part, theirs[i]]))
    }
    return true
  }

  it('any graph arrives with its identities', () => {
    fc.assert(
      fc.property(graph, (root) => isomorphic(root, roundTrip(root))),
      { numRuns: 500 },
    )
  })
  it('what was decoded can be encoded again, to the same bytes', () => {
    fc.assert(
      fc.property(graph, (root) => {
        const bytes = encode(root)
        return Buffer.compare(encode(decode(bytes)), bytes) === 0
      }),
      { numRuns: 200 },
    )
  })
  it('what is encoded within limits is decoded within the same limits', () => {
    fc.assert(
      fc.property(
        fc.oneof(graph, fc.anything({ withMap: true, withSet: true, withTypedArray: true })),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 20_000 }),
        (value, depth, items, bytes) => {
          const limits = { depth, items, bytes }
          let encoded: Uint8Array
          try {
            encoded = encode(value, { limits })
          } catch (error) {
            return error instanceof TooLargeError
          }
          decode(encoded, { limits })
          return true
        },
      ),
      { numRuns: 500 },
    )
  })
})
