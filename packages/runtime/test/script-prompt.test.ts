// Lines of an interactive session: what they declare stays, what they evaluate to is shown, what is open goes on.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ScriptError } from '../src/errors.ts'
import { compilePromptLine } from '../src/script-code.ts'

const scope = {
  args: [1, 2],
  job: async (id: number) => ({ id }),
  start: async (work: () => unknown) => work(),
  warn: (text: string) => `warned ${text}`,
}
const enter = (line: string, given: Record<string, unknown> = scope): Promise<{ value: unknown; show: boolean }> => {
  const compiled = compilePromptLine(line, Object.keys(given))
  expect(compiled.incomplete).toBe(false)
  return compiled.run(given)
}
const names: Record<string, unknown> = globalThis

let before: Set<string>
beforeEach(() => {
  before = new Set(Object.getOwnPropertyNames(globalThis))
})
afterEach(() => {
  for (const name of Object.getOwnPropertyNames(globalThis))
    if (!before.has(name)) expect(delete names[name]).toBe(true)
})

describe('the value of the last expression is shown', () => {
  const cases: [line: string, value: unknown][] = [
    ['1 + 1', 2],
    ['1 + 1;', 2],
    ['1 + 1 // two', 2],
    ['1; 2; 3', 3],
    ['1\n2', 2],
    ['let a = 1; a + 1', 2],
    ['let a = 1\na + 1', 2],
    ['let a = 1;; a;;', 1],
    ['{ a: 1 }', { a: 1 }],
    ['  { a: 1, b: [2] }  ', { a: 1, b: [2] }],
    ['{}', {}],
    ['{ a: await job(1) }', { a: { id: 1 } }],
    ['{ a: 1 }.a', 1],
    ['({ a: 1 })', { a: 1 }],
    ['await job(3)', { id: 3 }],
    ['job(3)', { id: 3 }], // a promise is awaited: it could not travel
    ['await start(async () => 4)', 4],
    ['for (const x of args) x; args.length', 2],
    ['"use strict"', 'use strict'],
    ['this === globalThis', true],
    ['typeof nothing', 'undefined'],
    ['`a${`b`}`', 'ab'],
    ['x = 5', 5],
    ['[1, 2].map((n) => n * 2)', [2, 4]],
    ['null', null],
    ['0', 0],
    ["(await import('node:path')).basename('/a/b')", 'b'],
    ['const { basename } = await import("node:path"); basename("/a/b")', 'b'],
    ['if (true) var v = 1; else var v = 2\nv', 1],
    ['do var d = 1; while (false) d', 1],
    ['class A {}new A() instanceof A', true],
  ]
  test.each(cases)('%j', async (line, value) => {
    expect(await enter(line)).toEqual({ value, show: true })
  })

  test.each([
    '',
    '  ',
    '// nothing',
    ';',
    'let a = 1',
    'const b = 2;',
    'var c',
    'function f() { return 1 }',
    'class A {}',
    'undefined',
    'void 0',
    'if (1) 2',
    '{ let a = 1; a }',
    '{ a: 1 };',
    'for (;;) break',
    'label: 1',
    'try { 1 } catch {}',
    '1; let z = 2',
  ])('nothing is shown for %j', async (line) => {
    expect(await enter(line)).toEqual({ value: undefined, show: false })
  })

  test('a function without a name is a value', async () => {
    expect((await enter('function () { return 1 }')).value).toBeTypeOf('function')
    expect((await enter('async function* () {}')).value).toBeTypeOf('function')
    expect((await enter('class {}')).value).toBeTypeOf('function')
  })

  test('what the line throws rejects, with its line', async () => {
    await expect(enter('nothing.there')).rejects.toThrow(ReferenceError)
    await expect(enter('Promise.reject(new Error("no"))')).rejects.toThrow('no')
    const error = await enter('let a = 1\n\n  null.x').catch((thrown: Error) => thrown)
    expect((error as Error).stack).toMatch(/errand:script:3/)
  })
})

describe('what a line declares stays', () => {
  const cases: [line: string, kept: Record<string, unknown>][] = [
    ['let a = 1', { a: 1 }],
    ['let a', { a: undefined }],
    ['let a = 1, b, c = a + 2', { a: 1, b: undefined, c: 3 }],
    ['const a = 1', { a: 1 }],
    ['var a = 1', { a: 1 }],
    ['var a', { a: undefined }],
    ['let { a, b: [c, ...d], ...e } = { a: 1, b: [2, 3, 4], f: 5 }', { a: 1, c: 2, d: [3, 4], e: { f: 5 } }],
    ['const [a, , b = 7] = [1]', { a: 1, b: 7 }],
    ['let{a}={a:1}', { a: 1 }],
    ['let[a]=[1]', { a: 1 }],
    ['const{a,b}={a:1,b:2},[c]=[3]', { a: 1, b: 2, c: 3 }],
    ['let a = await job(1), b = (await job(2)).id', { a: { id: 1 }, b: 2 }],
    ['const { id } = await job(9)', { id: 9 }],
    ['for (var i = 0, n = 3; i < n; i++);', { i: 3, n: 3 }],
    ['for (var i; false;);', { i: undefined }],
    ['for (var k in { a: 1 });', { k: 'a' }],
    ['for (var v of [1, 2]);', { v: 2 }],
    ['for (var { a, b = 2 } of [{ a: 1 }]);', { a: 1, b: 2 }],
    ['for await (var v of [1, 2]);', { v: 2 }],
    ['for (var async of [1]);', { async: 1 }],
    ['if (true) { var a = 1 } else { var b = 2 }', { a: 1, b: undefined }],
    ['if (true) var a = 1\nelse var b', { a: 1, b: undefined }],
    ['while (true) { try { var a = 1; break } finally { var b = 2 } }', { a: 1, b: 2 }],
    ['switch (1) { case 1: var a = 1; let hidden = 2 }', { a: 1, hidden: Error }],
    ['l: { var a = 1; break l }', { a: 1 }],
    ['{ let hidden = 1; var seen = 2 }', { seen: 2, hidden: Error }],
    ['for (let hidden = 0; hidden < 1; hidden++);', { hidden: Error }],
    ['(function () { var hidden = 1 })(); (() => { var hidden })()', { hidden: Error }],
    ['x = 1', { x: 1 }],
    ['[1].forEach(() => { x = 1 })', { x: 1 }],
    ['let a = 1\nlet b = 2\n', { a: 1, b: 2 }],
    ['let f = () => 1\n;[a] = [2]', { a: 2 }],
    ['let a = { b: 1 }\nlet c = a.b // three\n/* four */ let d = 4', { a: { b: 1 }, c: 1, d: 4 }],
    ['let ünï = 1, $ = 2, \\u0061 = 3', { ünï: 1, $: 2, a: 3 }],
    ['let a = 1;let b = 2;class C {}let d = 4', { a: 1, b: 2, d: 4 }],
  ]
  test.each(cases)('%j', async (line, kept) => {
    await enter(line)
    for (const [name, value] of Object.entries(kept)) {
      if (value === Error) expect(name in globalThis).toBe(false)
      else {
        expect(name in globalThis).toBe(true)
        expect(names[name]).toEqual(value)
      }
    }
  })

  test('functions and classes, also before their place on the line', async () => {
    expect((await enter('typeof f + f(); function f() { return 1 }')).show).toBe(false)
    expect(await enter('f()')).toEqual({ value: 1, show: true })
    await enter('async function g() { return f() + 1 }\nfunction* h() { yield 1 }')
    expect((await enter('g()')).value).toBe(2)
    expect((await enter('[...h()]')).value).toEqual([1])
    await enter(
      'class A { static make() { return new A() } }\nclass B extends A { #n = 7; get n() { return this.#n } }',
    )
    expect((await enter('A.make() instanceof A')).value).toBe(true)
    expect((await enter('new B().n')).value).toBe(7)
  })

  test('names are inferred as for any declaration', async () => {
    await enter('let arrow = () => 1, Named = class {}')
    expect((await enter('[arrow.name, Named.name]')).value).toEqual(['arrow', 'Named'])
  })

  test('declaring again and assigning a constant are allowed; later lines see the new value', async () => {
    await enter('const a = 1')
    await enter('const a = 2')
    await enter('a = 3')
    await enter('function read() { return a }')
    await enter('let a = 4')
    expect((await enter('read()')).value).toBe(4)
    await enter('var a')
    expect((await enter('a')).value).toBe(4) // var without a value keeps what is there
    await enter('let a')
    expect((await enter('a')).value).toBe(undefined)
    await enter('function read() { return "new" }')
    expect((await enter('read()')).value).toBe('new')
  })

  test('a statement without its semicolon before a declaration is no call', async () => {
    await enter('let f = () => { throw new Error("called") }')
    expect((await enter('f\nlet a = 1\nf\nconst [b] = [2]\na + b')).value).toBe(3)
  })

  test('a global that cannot be replaced stays as it is', async () => {
    await enter('let undefined = 1')
    expect(undefined).toBe(void 0)
  })
})

describe('the names of the session', () => {
  test('are found, may be replaced by the user, and come back when that is deleted', async () => {
    expect((await enter('job(1)')).value).toEqual({ id: 1 })
    await enter('const job = await start(async () => "mine")')
    expect((await enter('job')).value).toBe('mine')
    await enter('delete globalThis.job')
    expect((await enter('job(2)')).value).toEqual({ id: 2 })
    await enter('job = 3')
    expect((await enter('job')).value).toBe(3)
    expect(names['job']).toBe(3)
    await enter('function job() { return 4 }')
    expect((await enter('job()')).value).toBe(4)
    await enter('delete globalThis.job; let { job } = { job: 5 }')
    expect((await enter('job')).value).toBe(5)
    expect(scope.job).toBeTypeOf('function')
  })

  test('are those of the line that runs, also in a function of an earlier line', async () => {
    await enter('function tell(text) { return warn(text) }')
    expect((await enter('tell("a")')).value).toBe('warned a')
    expect((await enter('tell("b")', { warn: (text: string) => `later ${text}` })).value).toBe('later b')
    await expect(enter('tell("c")', {})).rejects.toThrow(ReferenceError)
    await expect(enter('warn("d")', {})).rejects.toThrow(ReferenceError)
    expect('warn' in globalThis).toBe(false)
  })

  test('a line compiled once runs as often as wanted', async () => {
    const line = compilePromptLine('let n = args[0]; n', ['args'])
    expect(await line.run({ args: [1] })).toEqual({ value: 1, show: true })
    expect(await line.run({ args: [2] })).toEqual({ value: 2, show: true })
  })
})

describe('a line that more text could complete is incomplete', () => {
  test.each([
    'function f() {',
    'function',
    'function (',
    'async function* (',
    'class A {',
    'class A extends',
    'if (true) {',
    'if (true)',
    'if (',
    'for (const x of',
    'for (;;) {',
    'while (1)',
    'do {} ',
    'try {',
    'try {}',
    'try {} catch (e) {',
    'switch (1) { case 1:',
    '{',
    '{ a: 1,',
    '{ a: 1, b',
    '{ a: 1, b:',
    '{ a: [1, {',
    '({',
    '[1, 2,',
    'foo(',
    'foo(1, {\n  a: 1,',
    'await start(async () => {',
    'await',
    'let x =',
    'const x',
    'let { a,',
    'let { a }',
    '1 +',
    'a ? b :',
    'a.',
    'a?.',
    'x =>',
    'async () =>',
    '() => {',
    '`open',
    '`a ${',
    '`a ${b',
    '`a ${b} c',
    '/* open',
    '1 /* open',
    "'continued \\\n",
    "'continued \\",
    'label:',
    'new',
    'typeof',
    '!',
    'class',
    'async function',
    '{ a: 1 } +',
    '{ ...{',
    'let a = 1; function f() {\n  return {\n',
    '{ let a = 1; if (a) {',
  ])('%j', async (line) => {
    const compiled = compilePromptLine(line, ['start'])
    expect(compiled.incomplete).toBe(true)
    await expect(compiled.run({})).rejects.toThrow(ScriptError)
  })

  test('text grows until it is complete', async () => {
    const lines = ['function add(a, b) {', '  const sum = a +', '    b', '  return `${', '    sum}`', '}']
    for (let n = 1; n < lines.length; n++)
      expect(compilePromptLine(lines.slice(0, n).join('\n'), []).incomplete).toBe(true)
    await enter(lines.join('\n'))
    expect((await enter('add(1, 2)')).value).toBe('3')
  })
})

describe('a line that nothing can mend is an error with its place', () => {
  const cases: [line: string, place: string, says?: string][] = [
    ['throw', '1:6'], // no line break may follow
    ['foo)', '1:4'],
    ['foo) +', '1:4'],
    ['foo]', '1:4'],
    ['{ a: 1 ]', '1:8'],
    ['function () {} foo', '1:16'],
    ['try { 1 } foo', '1:1'],
    ['let { a } foo', '1:10'],
    ['}', '1:1'],
    ['let 1 = 2', '1:5'],
    ['{ a: 1, b: }', '1:12'],
    ['foo bar', '1:5'],
    ["'open", '1:1', 'Unterminated string'],
    ["'open\n", '1:1', 'Unterminated string'],
    ['/open', '1:2', 'Unterminated regular expression'],
    ['return 1', '1:1', "'return' outside of function"],
    ['break', '1:1'],
    ['let a; let a', '1:12', 'already been declared'],
    ['1 = 2', '1:1'],
    ["import fs from 'node:fs'", '1:1', "await import('node:fs/promises')"],
    ['export let a', '1:1', 'import and export statements'],
    ['() => await 1', '1:13'],
    ['a\nb c\nd', '2:3', '\n  b c\n    ^'],
    ['for (const x of 1 2) {', '1:19'],
    ['} while', '1:1'],
    ['1) + (1', '1:2'],
    ['{ a: 1 }) + ({ b: 1 }', '1:9'],
  ]
  test.each(cases)('%j', (line, place, says = '') => {
    let error: unknown
    try {
      compilePromptLine(line, [])
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(ScriptError)
    expect((error as Error).message).toContain(`(${place})`)
    expect((error as Error).message).toContain(says)
  })
})
