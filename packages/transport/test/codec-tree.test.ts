// What goes the slow way: what it counts, what it calls the same, and what it does with values that resist being read.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FAMILIES } from '../campaigns/fixtures/arbitraries.ts'
import { guardItem } from '../src/codec-guard.ts'
import { writeInto, writtenItems } from '../src/codec-writer.ts'
import { DEFAULT_LIMITS, MAX_ITEMS, className, decode, encode } from '../src/codec.ts'
import type { EncodeOptions } from '../src/codec.ts'
import { MalformedError, NotTransferableError, TooLargeError } from '../src/errors.ts'

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

/** The smallest limit of items under which it works. */
function leastItems(act: (limits: { readonly items: number }) => unknown): number {
  let [least, most] = [1, MAX_ITEMS]
  while (least < most) {
    const items = (least + most) >> 1
    try {
      act({ items })
      most = items
    } catch (error) {
      if (!(error instanceof TooLargeError)) throw error
      least = items + 1
    }
  }
  return least
}

describe('both sides count alike', () => {
  class Point {
    x = 1
    readonly 'a key that is rather long, for a key' = 'y'
  }
  const shared = { one: 1 }
  const failed = new AggregateError([new TypeError('half \ud800'.repeat(9))], 'both', { cause: shared })
  const values: [string, unknown][] = [
    ['awkward text', ['\ud800', '\ud800'.repeat(32), '\ud800'.repeat(33), `\ufeff${'x'.repeat(99)}`]],
    ['awkward keys', { [`${'x'.repeat(40)}\ud800`]: 1, ['__proto__x']: 2 }],
    ['plain text', [-0, 'x'.repeat(24), 'x'.repeat(25), 'é'.repeat(12), 'é'.repeat(13), 'x'.repeat(300)]],
    ['BigInts', [-0, -(2n ** 64n), -(2n ** 64n) - 1n, 2n ** 64n - 1n, 2n ** 64n, -1n, 2n ** 8192n - 1n]],
    ['errors', [failed, new DOMException('x', 'AbortError'), Object.assign(new Error(''), { code: 'E', own: 1 })]],
    ['instances', [new Point(), new Point(), decode(encode(new Point()))]],
    ['identities', [shared, shared, new Map([[shared, new Set([shared])]])]],
    ['snapshots', [{ [snapshot]: () => shared }, { [snapshot]: () => [new Point()] }, { [snapshot]: () => 'x' }]],
    ['bytes', [new Uint8Array(64), new Uint8Array(65), new DataView(new ArrayBuffer(65)), new ArrayBuffer(3), -0]],
    ['patterns and URLs', [/\p{L}x/u, /a/gi, new URL('https://example.org/a?b=c')]],
    ['keys', [{ a: 1, b: 2 }, { a: 1, c: 2 }, { b: { a: -0 } }, Object.fromEntries([...Array(40).keys()].entries())]],
    ['what was dropped', [() => 1, Symbol('s'), { run() {} }, Promise.resolve()]],
  ]
  it.each(values)('%s', (_, value) => {
    const lossy = true
    const bytes = encode(value, { lossy })
    const least = leastItems((limits) => encode(value, { lossy, limits }))
    expect(least).toBeGreaterThan(1)
    expect(leastItems((limits) => decode(bytes, { limits }))).toBe(least)
  })
  it.each(Object.entries(FAMILIES))('random %s', (_, family) => {
    const sameCount = (value: unknown): void => {
      const place = { buffer: Buffer.alloc(64), at: 0 }
      const size = writeInto(value, { limits: DEFAULT_LIMITS, lossy: false, name: 'value' }, place)
      const findings = { items: 0, texts: [], definitions: undefined }
      guardItem(place.buffer, place.buffer, 0, size, DEFAULT_LIMITS, findings)
      expect(findings.items).toBe(writtenItems)
    }
    fc.assert(
      fc.property(family, (value) => {
        sameCount(value)
        sameCount([value, -0, value])
      }),
    )
  })
})

describe('a snapshot that is what holds it', () => {
  interface Holder {
    a: unknown
    b?: unknown
  }
  const held = (twice: boolean): Holder => {
    const live = { [snapshot]: (): Holder => holder }
    const holder: Holder = twice ? { a: live, b: live } : { a: live }
    return holder
  }
  it.each([false, true])('arrives as that, frozen (met again: %s)', (twice) => {
    const back = roundTrip([held(twice), 1]) as [Holder, 1]
    expect(back[0].a).toBe(back[0])
    expect(Object.keys(back[0])).toEqual(twice ? ['a', 'b'] : ['a'])
    if (twice) expect(back[0].b).toBe(back[0])
    expect(Object.isFrozen(back[0])).toBe(true)
    expect(Object.isFrozen(back)).toBe(false)
  })
  it('in containers of every kind, and within another snapshot', () => {
    const live: object = { [snapshot]: () => list }
    const outer = { [snapshot]: () => ({ list, live }) }
    const list: unknown[] = [new Map([[live, new Set([live])]]), new Error('e', { cause: live }), outer, live]
    const back = roundTrip(list) as typeof list
    const [[key, set]] = [...(back[0] as Map<unknown, Set<unknown>>)] as [[unknown, Set<unknown>]]
    const { list: inner, live: alive } = back[2] as { list: unknown; live: unknown }
    for (const it of [key, [...set][0], (back[1] as Error).cause, inner, alive, back[3]]) expect(it).toBe(back)
    expect(Object.isFrozen(back)).toBe(true)
  })
  it.each([
    ['itself', [0xd8, 28, 0xd9, 0x05, 0x06, 0xd8, 29, 0]],
    ['itself, by way of another', [0xd8, 28, 0xd9, 5, 6, 0xd8, 28, 0xd9, 5, 6, 0xd8, 29, 0]],
    ['itself, within', [0x81, 0xd8, 28, 0x81, 0xd8, 28, 0xd9, 5, 6, 0xd8, 29, 1]],
  ])('is refused where it is nothing but %s', (_, bytes) => {
    expect(errorOf(() => decode(Uint8Array.from(bytes)))).toBeInstanceOf(MalformedError)
  })
})

describe('what resists being read', () => {
  const revoked = (target: object): object => {
    const { proxy, revoke } = Proxy.revocable(target, {})
    revoke()
    return proxy
  }
  const transferred = (): DataView => {
    const view = new DataView(new ArrayBuffer(8), 4)
    structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] })
    return view
  }
  const shrunk = (kind: new (buffer: ArrayBuffer, offset: number, length: number) => object): object => {
    const buffer = new ArrayBuffer(8, { maxByteLength: 8 })
    const view = new kind(buffer, 4, 4)
    buffer.resize(2)
    return view
  }
  const throwing = (key: string | symbol, target: object = {}): object =>
    Object.defineProperty(target, key, {
      enumerable: true,
      configurable: true,
      get: () => {
        throw new Error('no')
      },
    })
  const trapped = (target: object, trap: keyof ProxyHandler<object>): object =>
    new Proxy(target, {
      [trap]: () => {
        throw new Error('no')
      },
    })
  const silent = trapped({}, 'get')
  const cases: [string, () => unknown, RegExp][] = [
    ['a revoked Proxy', () => revoked({}), /^an object that throws when it is read \(.*revoked/],
    ['a revoked Proxy of an array', () => revoked([]), /revoked/],
    ['a revoked Proxy of a function', () => revoked(() => 1), /^function/],
    [
      'a Proxy that lists no keys',
      () => trapped({ a: 1 }, 'ownKeys'),
      /^an object that throws when it is read \(no\)$/,
    ],
    ['a DataView of a buffer that was transferred', transferred, /^an ArrayBuffer that was given away$/],
    ['a DataView beyond its buffer', () => shrunk(DataView), /^a view beyond the end of its buffer$/],
    ['bytes beyond their buffer', () => shrunk(Uint8Array), /^a view beyond the end of its buffer$/],
    ['an Error without a message', () => throwing('message', new Error('x')), /^an object that throws .*\(no\)$/],
    ['an Error whose name is no text', () => Object.assign(new Error('x'), { message: { toString: 1 } }), /throws/],
    ['a snapshot method that cannot be had', () => throwing(snapshot), /^an object that throws .*\(no\)$/],
    ['a Proxy that throws what says nothing', () => new Proxy({}, { getPrototypeOf: () => { throw silent } }), /^an object that throws .*\(something/], // prettier-ignore
    ['a snapshot that throws what says nothing', () => ({ [snapshot]: () => { throw silent } }), /^a snapshot that failed \(something/], // prettier-ignore
    ['a field that throws what says nothing', () => Object.defineProperty([0], 0, { get: () => { throw revoked({}) } }), /^a getter that throws \(something/], // prettier-ignore
    ['an element that throws', () => throwing('0', []), /^a getter that throws \(no\)$/],
    ['a boxed number that is something else', () => throwing('valueOf', Object(1) as object), /^$/],
  ]
  it.each(cases)('%s: a marker in its place when lossy, else the path to it', (_, make, what) => {
    const before = { n: 1 }
    const back = roundTrip({ before, it: [before, make()], after: before }, { lossy: true }) as {
      before: object
      it: [object, unknown]
      after: object
    }
    expect(back.after).toBe(back.before)
    expect(back.it[0]).toBe(back.before)
    if (what.source === '^$') {
      expect(back.it[1]).toBe(1)
      return
    }
    const mark = (Array.isArray(back.it[1]) ? back.it[1][0] : back.it[1]) as { $dropped: string }
    expect(className(mark)).toBe('Dropped')
    expect(mark.$dropped).toMatch(what)
    const error = errorOf(() => encode({ it: [before, make()] }))
    expect(error).toBeInstanceOf(NotTransferableError)
    expect(error.path).toMatch(/^value\.it\[1\]/)
  })
  it('what was met in the part that was dropped is met for the first time after it', () => {
    const inner = { n: -0 }
    const half = Object.assign(throwing('message', new Error('x')), { inner })
    // The getter of the second field takes away what the first was read of.
    const late = trapped([inner, 1], 'has')
    const broken = new Proxy([inner, 0], {
      get: (target, key) => {
        if (key === 'length') return 2
        if (key === '1') throw new Error('late')
        return Reflect.get(target, key) as unknown
      },
    })
    const cyclic: unknown[] = []
    cyclic.push(new Map([[cyclic, inner]]), half, broken, late, inner, cyclic)
    const back = roundTrip([cyclic, inner], { lossy: true }) as [unknown[], object]
    expect(back[0][5]).toBe(back[0])
    expect(back[0][4]).toBe(back[1])
    expect(back[1]).toStrictEqual({ n: -0 })
  })
  it('thousands of them, beside thousands of others', () => {
    const errors = Array.from({ length: 5000 }, () => throwing('stack', new Error('x')))
    const objects = Array.from({ length: 20_000 }, () => ({ n: 1 }))
    const back = roundTrip([-0, objects, errors], { lossy: true }) as [0, unknown[], object[]]
    expect([back[1].length, back[2].length, className(back[2][4999])]).toEqual([20_000, 5000, 'Dropped'])
  })
})

describe('keys and members that would become one', () => {
  const picture = (value: unknown): object => ({ [snapshot]: () => value })
  it.each<[string, unknown, string]>([
    ['a boxed key', new Map<unknown, unknown>([['a', 1], [Object('a'), 2]]), '.keys()[1]'], // prettier-ignore
    ['a boxed member', new Set([Object(1), Object(1)]), '.values()[0]'],
    ['half a character', new Set(['\ud800', Object('\ud800')]), '.values()[1]'],
    ['a boxed -0', new Set<unknown>([0, Object(-0)]), '.values()[1]'],
    ['snapshots', new Map([[picture('a'), 1], [picture('a'), 2]]), '.keys()[0]'], // prettier-ignore
    ['a hundred BigInts', new Set(Array.from({ length: 100 }, (_, i) => Object(BigInt(i) << 64n))), '.values()[0]'],
  ])('%s: refused, with the path', (_, value, step) => {
    const error = errorOf(() => encode({ it: value }))
    expect(error).toBeInstanceOf(NotTransferableError)
    expect(error.path).toBe(`value.it${step}`)
    const { size } = value as Set<unknown>
    expect((roundTrip(value, { lossy: true }) as Set<unknown>).size).toBe(size)
  })
  it('snapshots that are objects are keys like others, and primitives are values', () => {
    const back = roundTrip(new Map([[picture({ a: 1 }), Object('x')]])) as Map<object, unknown>
    expect([...back]).toEqual([[{ a: 1 }, 'x']])
  })
  it('what a getter adds to the Map or Set that is being read is neither counted nor sent', () => {
    let n = 0
    const growing = (grow: (n: number) => void): object =>
      Object.defineProperty({}, 'late', {
        enumerable: true,
        get: () => {
          for (let i = 0; i < 1000; i++) grow(++n)
          return -0
        },
      })
    const map = new Map<unknown, unknown>()
    map.set(0, growing((key) => map.set(key, key))) // prettier-ignore
    const set = new Set<unknown>()
    set.add(growing((member) => set.add(member)))
    const limits = { items: 3000 }
    for (const it of [map, set]) {
      const back = decode(encode(it, { limits }), { limits }) as Set<unknown>
      expect([back.size, it.size]).toEqual([1001, 2001])
    }
  })
})

describe('patterns with half a character', () => {
  const CLASS = '^[\\ud83d\ude00]$'
  it.each<[RegExp, readonly string[], readonly string[]]>([
    [new RegExp('^\\\ud800$'), ['\ud800'], ['\\ud800', '\\\ud800']],
    [new RegExp('^\\\\\ud800$'), ['\\\ud800'], ['\ud800']],
    [new RegExp('^[\\\ud800-\ud802]$'), ['\ud801'], ['u', '\\']],
    [new RegExp('^\\\\\\\ud800$'), ['\\\ud800'], []],
    [new RegExp('^\\ud83d\ude00$', 'u'), [], ['\u{1f600}']],
    [new RegExp('^\ud83d\\ude00$', 'u'), [], ['\u{1f600}']],
    [new RegExp(CLASS, 'v'), ['\ud83d', '\ude00'], ['\u{1f600}']],
    [new RegExp('^\ud83d\\ude00$'), ['\u{1f600}'], ['\ud83d']],
    [new RegExp('^\ude00$', 'u'), ['\ude00'], ['\u{1f600}']],
    [new RegExp('^\u{1f600}$', 'u'), ['\u{1f600}'], ['\ud83d']],
    [new RegExp('^\\\u{1f600}$'), ['\u{1f600}'], ['\ud83d']],
  ])('%o matches what it matched', (pattern, yes, no) => {
    const back = roundTrip(pattern) as RegExp
    for (const it of [pattern, back]) {
      for (const text of yes) expect(it.test(text), `${it} ${JSON.stringify(text)}`).toBe(true)
      for (const text of no) expect(it.test(text), `${it} ${JSON.stringify(text)}`).toBe(false)
    }
    expect(back.flags).toBe(pattern.flags)
  })
})

describe('errors that do not hold still', () => {
  it('have each field read once', () => {
    const reads: string[] = []
    const once = (key: string, first: unknown, then: unknown): PropertyDescriptor => ({
      configurable: true,
      get: () => {
        const again = reads.includes(key)
        reads.push(key)
        return again ? then : first
      },
    })
    const error = Object.defineProperties(new Error('x'), {
      code: once('code', 'E_FIRST', { not: 'a code' }),
      name: once('name', 'First', {}),
      message: once('message', 'first', {}),
      stack: once('stack', 'at first', {}),
      cause: once('cause', 1, () => {}),
    })
    const back = roundTrip(error) as Error & { code: unknown }
    expect([back.code, back.name, back.message, back.stack, back.cause]).toEqual([
      'E_FIRST',
      'First',
      'first',
      'at first',
      1,
    ])
    expect(reads.toSorted()).toEqual(['cause', 'code', 'message', 'name', 'stack'])
  })
  it('a DOMException keeps its name, whatever that is', () => {
    for (const name of ['DOMException', 'Error', 'AbortError', '']) {
      const back = roundTrip(new DOMException('x', name)) as DOMException
      expect([back.name, back.message, back.code]).toEqual([name, 'x', name === 'AbortError' ? 20 : 0])
    }
  })
})

describe('a process that has hardened its prototypes', () => {
  it.each([1, 1000])('refuses what it cannot take, and never otherwise than it says (%i)', (count) => {
    const bytes = encode(Array.from({ length: count }, () => ({ hardened: 'x'.repeat(9) })))
    expect(decode(bytes)).toHaveLength(count)
    Object.defineProperty(Object.prototype, 'hardened', { value: 1, configurable: true })
    try {
      expect(errorOf(() => decode(bytes))).toBeInstanceOf(MalformedError)
    } finally {
      delete (Object.prototype as { hardened?: unknown }).hardened
    }
    expect(decode(bytes)).toHaveLength(count)
  })
})
