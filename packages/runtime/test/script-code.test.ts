// What stands after -e: one expression, or the body of an async generator.
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { ScriptError } from '../src/errors.ts'
import { compileCode } from '../src/script-code.ts'

const scope = {
  args: [1, 2],
  input: 'in',
  sleep: (ms: number) => new Promise((resolve) => setTimeout(resolve, ms)),
  start: async (work: unknown) => ({ started: typeof work }),
  gen: async function* () {
    yield 'a'
    yield 'b'
  },
}
const run = (code: string): unknown => compileCode(code, Object.keys(scope)).run(scope)
const isGenerator = (value: unknown): value is AsyncGenerator =>
  Object.prototype.toString.call(value) === '[object AsyncGenerator]'

async function all(generator: unknown): Promise<unknown[]> {
  const values = []
  for await (const value of generator as AsyncGenerator) values.push(value)
  return values
}

const names: Record<string, unknown> = globalThis
afterEach(() => {
  for (const name of ['x', 'y', 'kept']) delete names[name]
})

describe('one expression is its value', () => {
  const cases: [code: string, value: unknown][] = [
    ['1 + 1', 2],
    [' 1 + 1 ; ', 2],
    ['1 + 1 // two', 2],
    ['/* one */ 1; // more', 1],
    ['\n\n1\n', 1],
    [';;1;;', 1],
    ['{ a: 1 }', { a: 1 }],
    ['{ a: 1, b: { c: [2] } }', { a: 1, b: { c: [2] } }],
    ['{ a: 1 };', undefined], // with its semicolon it is a block with a label, as in Node's REPL
    ['{}', {}],
    ['{ args, ...{ b: 2 } }', { args: [1, 2], b: 2 }],
    ['({ a: await Promise.resolve(3) })', { a: 3 }],
    ['(1, 2)', 2],
    ['1, 2', 2],
    ['(1) + (2)', 3],
    ['[args, input]', [[1, 2], 'in']],
    ['Promise.resolve(5)', 5],
    ['await Promise.resolve(5)', 5],
    ['await start(async function*(){ for(;;){ yield 1; await sleep(100) } })', { started: 'function' }],
    ['start(function* () { yield 1 })', { started: 'function' }],
    ['(() => { return 4 })()', 4],
    ['(function () { return this === globalThis })()', true],
    ['x = 5', 5],
    ["'use strict'", 'use strict'],
    ['`a${1}b`', 'a1b'],
    ['/;/.source', ';'],
    ["(await import('node:path')).basename('/a/b')", 'b'],
    ['typeof nothing', 'undefined'],
    ['undefined', undefined],
    ['args.length > 1 ? "many" : "few"', 'many'],
  ]
  test.each(cases)('%s', async (code, value) => {
    const result = run(code)
    if (code === '{ a: 1 };') expect(await all(result)).toEqual([])
    else expect(await result).toEqual(value)
  })

  test('a function is a value too; it is not called', async () => {
    expect(await run('async function* () { yield 1 }')).toBeTypeOf('function')
    expect(await run('() => 1')).toBeTypeOf('function')
    expect(await run('class A {}')).toBeTypeOf('function')
  })

  test('a generator object is the value: whoever runs it streams it', async () => {
    expect(await all(await run('gen()'))).toEqual(['a', 'b'])
    expect(await all(await run('(async function* () { yield 1; yield 2 })()'))).toEqual([1, 2])
    expect(await run('[1, 2]')).toEqual([1, 2])
  })

  test('a rejected promise and a throw reject', async () => {
    await expect(run('Promise.reject(new Error("no"))')).rejects.toThrow('no')
    await expect(run('nothing.there')).rejects.toThrow(ReferenceError)
  })
})

describe('anything else is a body: yield is output, return is one more', () => {
  const cases: [code: string, ...outputs: unknown[]][] = [
    [''],
    ['  // nothing\n'],
    ['yield 1', 1],
    ['yield', undefined],
    ['yield [1]', [1]], // not `yield[1]`
    ['yield (1)', 1], // not a call
    ['yield -1', -1],
    ['yield `t`', 't'],
    ['yield /r/.source', 'r'],
    ['yield* [1, 2]', 1, 2],
    ['yield* gen()', 'a', 'b'],
    ['(yield 1, yield 2)', 1, 2],
    ['[yield 1].length', 1],
    ['({ [yield 1]: 2 })', 1],
    ['const o = { *g() { yield 1 } }; yield* o.g()', 1],
    ['for (let i = 0; i < 3; i++) { yield i }', 0, 1, 2],
    ['for (const a of args) yield a', 1, 2],
    ['for await (const a of gen()) yield a + input', 'ain', 'bin'],
    ['const n = await Promise.resolve(2)\nyield n\nyield n * 2', 2, 4],
    ['return 7', 7],
    ['yield 1; return 2', 1, 2],
    ['yield 1; return undefined', 1],
    ['return await Promise.resolve(3)', 3],
    ['return Promise.resolve(3)', 3],
    ['return [1, 2]', [1, 2]],
    ['return { a: 1 }', { a: 1 }],
    ['let args = 5; yield args', 5], // a name of the scope may be declared anew
    ['const input = input2(); function input2() { return 6 } yield input', 6],
    ['var start = 1; yield start', 1],
    ['function sleep() { return 8 } yield sleep()', 8],
    ['1; 2'],
    ['let x = 1'],
    ['if (args.length) yield "some"; else yield "none"', 'some'],
    ['if (true) { yield 1 }', 1],
    ['{ yield 1 }', 1],
    ['{ let a = 1; yield a }', 1],
    ['try { throw new Error("e") } catch (e) { yield e.message } finally { yield "f" }', 'e', 'f'],
    ['label: for (;;) { yield 1; break label }', 1],
    ['"use strict"; yield (function () { return this })()', undefined],
    ['"not strict"; yield (function () { return this === globalThis })()', true],
    ['class A { static v = 1 } yield A.v', 1],
    ['await using r = { async [Symbol.asyncDispose]() {} }; yield 1', 1],
    ['yield 1 // the end', 1],
    ["const { basename } = await import('node:path'); yield basename('/a/b')", 'b'],
  ]
  test.each(cases)('%s', async (code, ...outputs) => {
    const result = run(code)
    expect(isGenerator(result)).toBe(true)
    expect(await all(result)).toEqual(outputs)
  })

  test('nothing runs before the first output is asked for, and leaving early runs `finally`', async () => {
    names['kept'] = []
    const generator = run(
      'try { kept.push("began"); yield 1; yield 2 } finally { kept.push("ended") }',
    ) as AsyncGenerator
    expect(names['kept']).toEqual([])
    for await (const value of generator) {
      expect(value).toBe(1)
      break
    }
    expect(names['kept']).toEqual(['began', 'ended'])
  })

  test('a throw comes after the outputs before it, with the line it was thrown on', async () => {
    const generator = run('yield 1\n\nthrow new Error("late")') as AsyncGenerator
    expect(await generator.next()).toEqual({ value: 1, done: false })
    const error = await generator.next().then(
      () => undefined,
      (thrown: Error) => thrown,
    )
    expect(error?.message).toBe('late')
    expect(error?.stack).toMatch(/errand:script:3:7/)
  })

  test('sloppy globals stay in the realm; a second run of one compilation starts anew', async () => {
    await all(run('x = 1; globalThis.y = 2'))
    expect([names['x'], names['y']]).toEqual([1, 2])
    const code = compileCode('let n = 0; yield ++n; yield args', ['args'])
    expect(await all(code.run({ args: 1 }))).toEqual([1, 1])
    expect(await all(code.run({ args: 2 }))).toEqual([1, 2])
  })
})

describe('text that does not parse says where, and shows the line', () => {
  const cases: [code: string, place: string, says?: string][] = [
    ['let x = ;', '1:9', 'let x = ;'],
    ['yield 1\nyield ]\nyield 3', '2:7', '\n  yield ]\n        ^'],
    ['1 +', '1:4'],
    ['if (', '1:5'],
    ['{ a: 1, b: }', '1:12'],
    ['1) + (2', '1:2'],
    ['} function x() {', '1:1'],
    ['yield 1 }); (function () {', '1:9'],
    ['1\n)', '2:1'],
    ['"open', '1:1', 'Unterminated string'],
    ['`open', '1:2', 'Unterminated template'],
    ['/* open', '1:1', 'Unterminated comment'],
    ['let a; let a', '1:12', 'already been declared'],
    ['\ta b', '1:4', '\n  \ta b\n  \t  ^'],
    ['function () {}\nfoo bar', '2:1'],
    ['yield 1 } yield 2', '1:9'],
    ["import fs from 'node:fs'", '1:1', "await import('node:fs/promises')"],
    ['export const a = 1', '1:1', 'import and export statements cannot stand here'],
    ['() => await 1', '1:13'],
  ]
  test.each(cases)('%j', (code, place, says = '') => {
    let error: unknown
    try {
      compileCode(code, ['args'])
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(ScriptError)
    expect((error as Error).message).toContain(`(${place})`)
    expect((error as Error).message).toContain(says)
  })

  test('of a long line only the part around the place', () => {
    let error: unknown
    try {
      compileCode(`yield [${'1, '.repeat(500)} ; ${'2, '.repeat(500)}]`, [])
    } catch (thrown) {
      error = thrown
    }
    const lines = (error as Error).message.split('\n')
    expect(lines[0]).toContain('(1:1509)')
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(120)
    expect(lines[1]?.[lines[2]?.indexOf('^') ?? 0]).toBe(';')
  })

  test('a name that cannot be a variable', () => {
    expect(() => compileCode('yield 1', ['a-b'])).toThrow(ScriptError)
  })

  // V8 is the judge: what it takes as a body or as an expression is taken, everything else is a ScriptError.
  test('any soup of tokens', () => {
    const pieces = (
      'let_x_=_1 var_y const_{x}_=_y x x_+_1 ; \n {_a:_1_} { } ( [x] function_f()_{} function*_g()_{_yield_1_} async_()_=>_{ yield_1 ' +
      'await_x class_A_{} for_(var_i_of_x) for_(let_i_=_0;;) for_await_(const_q_of_x) if_(x) else `t${x}` ` ${ return_x do_x;_while(y) ' +
      'try_{}_catch_(e)_{} switch_(x)_{_case_1:_var_s_} lab: //_c\n /*_c_*/ "use_strict" throw_x using_u_=_null await_using_w_=_null ' +
      'yield_/r/ x_/=_2 = , =>_x ...x ?.y ??_z new_A import("x") import export var_async let_async break debugger \' " / /* #p'
    )
      .split(' ')
      .map((piece) => piece.replaceAll('_', ' '))
    const AsyncGenerator = Object.getPrototypeOf(async function* () {}).constructor as (body: string) => unknown
    const takes = (body: string): boolean => {
      try {
        AsyncGenerator(body)
        return true
      } catch {
        return false
      }
    }
    const soup = fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 7 }).map((some) => some.join(' '))
    fc.assert(
      fc.property(soup, (code) => {
        let taken = true
        try {
          compileCode(code, ['x'])
        } catch (error) {
          if (!(error instanceof ScriptError)) throw error
          taken = false
        }
        // An expression stands in parentheses and in brackets; `1) + (2` only in the former.
        expect(taken).toBe(takes(code) || (takes(`return (${code}\n)`) && takes(`return [${code}\n]`)))
      }),
      { numRuns: 1000 },
    )
  })
})
