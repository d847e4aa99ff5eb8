// What a call may carry, there and back over libp2p, and what is refused before it leaves.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ScriptContext, type Session, className } from '../src/index.ts'
import { Peers, all, refusal } from './support/peers.ts'
import { counter } from './support/scripts.ts'

let peers: Peers
let session: Session
beforeAll(async () => {
  peers = await Peers.start('server01')
  session = await peers.laptop.connect('server01')
})
afterAll(() => peers.close())

const echo = async <T>(value: T): Promise<T> => (await session.run((_ctx, given: T) => given, { args: [value] })) as T

describe('values come back as they were', () => {
  const cases: [name: string, value: unknown][] = [
    ['undefined', [undefined]],
    ['null', null],
    ['NaN', Number.NaN],
    ['-0', -0],
    ['Infinity', [Infinity, -Infinity]],
    ['numbers', [0, 1.5, -1, 2 ** 31, 2 ** 53 - 1, -(2 ** 53), Number.MIN_VALUE, Number.MAX_VALUE]],
    ['text', ['', 'ünï', '日本', '😀', '\0', 'x'.repeat(10_000)]],
    ['Date', new Date(1_234_567_890_123)],
    ['an invalid Date', new Date(Number.NaN)],
    ['BigInt', [0n, -1n, 2n ** 64n, -(2n ** 200n)]],
    ['RegExp', [/a+/giu, new RegExp('/', 'y')]],
    [
      'Map',
      new Map<unknown, unknown>([
        [{ a: 1 }, new Set([1, 'a'])],
        ['k', new Map()],
      ]),
    ],
    ['Set', new Set<unknown>([1, 'a', null, undefined])],
    [
      'typed arrays',
      [new Uint8Array([1, 2]), new Int16Array([-1]), new Float64Array([1.5, -0]), new BigInt64Array([5n])],
    ],
    ['ArrayBuffer', new Uint8Array([1, 2, 3]).buffer],
    ['DataView', new DataView(new Uint8Array([1, 2, 3, 4]).buffer, 1, 2)],
    ['URL', new URL('https://example.org/a?b=c#d')],
    [
      'own keys',
      Object.fromEntries([
        ['__proto__', 1],
        ['constructor', 2],
        ['toString', 3],
      ]),
    ],
    ['holes and lengths', [1, [], [[]], {}]],
  ]
  test.for(cases)('%s', async ([, value]) => {
    const back = await echo(value)
    expect(back).toStrictEqual(value)
    expect(Object.is(value, -0)).toBe(Object.is(back, -0))
  })

  test.for([70_000, 100_000, 1_000_000])('an argument of %i bytes, sent apart from its request', async (size) => {
    const own = await peers.laptop.connect('server01') // nobody else shall suffer for it
    const text = 'x'.repeat(size)
    const give = async function* (_ctx: ScriptContext, given: unknown): AsyncGenerator<unknown> {
      yield given
    }
    // Several: the two parts travel on channels of their own, and either may be first.
    for (let n = 0; n < 4; n++) expect(await own.run(give, { args: [text] })).toEqual([text])
    const bytes = new Uint8Array(size).fill(7)
    expect(await own.run(give, { args: [bytes] })).toEqual([bytes])
    await own.close()
  })

  test('cycles and shared references, through containers too', async () => {
    interface Node {
      self?: Node
      map?: Map<string, unknown>
      pair?: [object, object]
    }
    const node: Node = {}
    const shared = { n: 1 }
    node.self = node
    node.map = new Map<string, unknown>([
      ['node', node],
      ['set', new Set([node])],
    ])
    node.pair = [shared, shared]
    const back = await echo(node)
    expect(back.self).toBe(back)
    expect(back.map?.get('node')).toBe(back)
    expect((back.map!.get('set') as Set<unknown>).has(back)).toBe(true)
    expect(back.pair?.[0]).toBe(back.pair?.[1])
    expect(back.pair?.[0]).toEqual({ n: 1 })
  })

  test('errors with name, message, code, cause, errors, stack and own fields', async () => {
    const cause = new RangeError('below')
    const error = Object.assign(new TypeError('above', { cause }), { code: 'E_ABOVE', path: ['a', 1] })
    const back = await echo(error)
    expect(back).toBeInstanceOf(TypeError)
    expect(back).toMatchObject({ name: 'TypeError', message: 'above', code: 'E_ABOVE', path: ['a', 1] })
    expect(back.stack).toBe(error.stack)
    expect(back.cause).toBeInstanceOf(RangeError)
    expect((back.cause as Error).message).toBe('below')
    const many = await echo(new AggregateError([error, new Error('other')], 'both'))
    expect(many).toBeInstanceOf(AggregateError)
    expect(many.errors.map(({ message }: Error) => message)).toEqual(['above', 'other'])
  })

  test('an instance arrives as data with the name of its class', async () => {
    const made = await session.run(() => {
      class Point {
        x = 1
        y = 2
        get sum(): number {
          return this.x + this.y
        }
      }
      return new Point()
    })
    expect(made).toMatchObject({ x: 1, y: 2 })
    expect(className(made)).toBe('Point')
    expect('sum' in made).toBe(false)
  })

  test('what a script throws is thrown here: its name, code, fields and cause', async () => {
    const thrown = await refusal('it throws', () =>
      session.run(() => {
        throw Object.assign(new RangeError('too far', { cause: 'a string' }), { code: 'E_FAR', at: 7 })
      }),
    )
    expect(thrown).toBeInstanceOf(RangeError)
    expect(thrown).toMatchObject({ message: 'too far', code: 'E_FAR', at: 7, cause: 'a string' })
  })

  test('every yield as it was when it was yielded', async () => {
    const growing = function* (): Generator<{ n: number }> {
      const one = { n: 0 }
      while (one.n < 3) {
        one.n++
        yield one
      }
    }
    expect(await all(session.run(growing))).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
    expect(await session.run(growing)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
  })

  test('all streams, in the order they were said', async () => {
    const say = function* (ctx: ScriptContext): Generator<string> {
      ctx.warn('w')
      yield 'o'
      ctx.verbose('v')
      ctx.debug('d')
      ctx.info('i')
      ctx.error(new Error('e'))
      ctx.progress({ activity: 'p', percent: 50 })
    }
    const records = await all(session.run(say).records())
    const kinds = ['warning', 'output', 'verbose', 'debug', 'information', 'error', 'progress']
    expect(records.map(({ kind }) => kind)).toEqual(kinds)
    expect(records.map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4, 5, 6])
  })

  test('the records of a run say where it ran', async () => {
    const [record] = await all(session.run(() => 1).records())
    expect(record).toMatchObject({ kind: 'output', value: 1, location: 'server01' })
  })
})

describe('what is refused before it leaves', () => {
  test('a free variable: the message names it and says how to pass it', async () => {
    const limit = 5
    const gate = peers.gate()
    // The session is busy: whatever reached it would be refused for that reason.
    const busy = session.run(counter, { args: [2, { 2: gate.path }] })
    const iterator = busy[Symbol.asyncIterator]()
    await iterator.next()
    const jobs = (await session.jobs()).length
    const attempts = [
      (): PromiseLike<unknown> => session.run(() => limit + 1),
      (): PromiseLike<unknown> => session.start(() => limit + 1),
      (): PromiseLike<unknown> => peers.laptop.start(() => limit + 1, { on: session }),
      (): PromiseLike<unknown> => peers.laptop.run(() => limit + 1, { on: 'server01' }),
    ]
    for (const attempt of attempts) {
      const error = await refusal(attempt.toString(), attempt)
      expect(error).toMatchObject({ code: 'FREE_VARIABLE', names: ['limit'] })
      const words = `${error.message} ${(error as { hint?: string }).hint ?? ''}`
      expect(error.message).toContain('limit')
      expect(words).toContain('using')
    }
    expect((await session.jobs()).length).toBe(jobs)
    await gate.open()
    await iterator.next()
    await iterator.next()
    expect(await session.run(() => limit + 1, { using: { limit } })).toBe(6)
  })

  test('a value that cannot travel: the message says where it is', async () => {
    const refused = [
      (): PromiseLike<unknown> => session.run((_ctx, _a: unknown) => 1, { args: [{ a: [() => 1] }] }),
      (): PromiseLike<unknown> => session.run((_ctx, _a: unknown) => 1, { args: [{ a: [Symbol('s')] }] }),
      (): PromiseLike<unknown> => session.run((_ctx, _a: unknown) => 1, { args: [{ a: [new WeakMap()] }] }),
    ]
    for (const attempt of refused) {
      const error = await refusal(attempt.toString(), attempt)
      expect(error).toMatchObject({ code: 'NOT_TRANSFERABLE' })
      expect(error.message).toMatch(/\ba\b.*0/)
    }
  })

  test('in output it is dropped, and the rest arrives', async () => {
    const back = await session.run(() => ({ kept: 1, f: () => 1 }) as { kept: number; f?: unknown })
    expect(back.kept).toBe(1)
    expect(back.f).not.toBeTypeOf('function')
  })

  test('a deeper value than the limit: TOO_LARGE; the session lives on', async () => {
    let deep: unknown = 1
    for (let n = 0; n < 100; n++) deep = { deep }
    const error = await refusal('too deep', () => session.run((_ctx, given: unknown) => given, { args: [deep] }))
    expect(error).toMatchObject({ code: 'TOO_LARGE' })
    expect(await session.run(() => 'alive')).toBe('alive')
  })
})
