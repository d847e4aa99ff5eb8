// Which names a function takes from outside: every construct that declares, reads or writes one.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runInThisContext } from 'node:vm'
import { expect, test } from 'vitest'
import { FreeVariableError } from '../src/errors.ts'
import { globalNames } from '../src/script-globals.ts'
import { functionSource } from '../src/script.ts'

/** A function with exactly this text (a test file's own functions are rewritten by the test runner). */
const made = (text: string): Function => runInThisContext(`(${text}\n)`) as Function

function freeNames(fn: Function): readonly string[] {
  try {
    functionSource(fn)
    return []
  } catch (error) {
    if (error instanceof FreeVariableError) return error.names
    throw error
  }
}

// text, then the names it takes from outside in the order of the text
const cases: [text: string, ...names: string[]][] = [
  // declared
  ['() => 1'],
  ['(a, b) => a + b'],
  ['function () { return arguments.length + new.target }'],
  ['function f(n) { return n ? f(n - 1) : f }'],
  ['function* g() { yield* g() }'],
  ['async function* g() { for await (const x of g()) yield x }'],
  ['() => { const f = function me() { return me }; return f }'],
  ['() => { const f = function me() {}; return me }', 'me'],
  ['() => { let a = 1; { let a = 2; a++ } return a }'],
  ['() => { { let a = 1 } return a }', 'a'],
  ['() => { { const a = 1; class B {} } return [a, B] }', 'a', 'B'],
  ['() => { { var a = 1 } return a }'],
  ['() => { if (1) var a = 1; else var b; return a + b }'],
  ['() => { x = 1; var x }'],
  ['() => { return f(); function f() {} }'],
  ['() => { { function inBlock() {} } return inBlock() }'],
  ['() => { label: for (;;) { continue label } }'],
  ['() => { label: { break label } return label }', 'label'],
  ['() => { lab: function f() {} return f }'],
  ['() => { switch (1) { case 0: let a; break; case a: return a } }'],
  ['() => { switch (a) { case 0: let a } }', 'a'],
  ['() => { switch (1) { case b: var v } return v }', 'b'],
  // loops
  ['() => { for (let i = 0, n = i; i < n; i++) i }'],
  ['() => { for (let i = 0; i < 1; i++); return i }', 'i'],
  ['() => { for (var i = 0; i < 1; i++); return i }'],
  ['(o) => { for (const k in o) k; for (const [k, v] of o) k + v; for (const { a: { b } } of o) b }'],
  ['(o) => { for (const { a } of o) b; return a }', 'b', 'a'],
  ['(o) => { for (k of o); for (m in o); }', 'k', 'm'],
  ['(o) => { for ([p, { q: r = s }] of o); }', 'p', 'r', 's'],
  ['async (o) => { for await (const x of o) x }'],
  ['(o) => { while (w) { let w } do { let d } while (d) }', 'w', 'd'],
  // parameters and patterns
  ['({ a, b: { c }, ...rest }, [d, , e = a], ...more) => [a, c, rest, d, e, more]'],
  ['({ a: b }) => a', 'a'],
  ['(a = outer) => a', 'outer'],
  ['(a = inner) => { var inner = 1; return a }', 'inner'],
  ['(a, b = a, c = () => b) => c'],
  ['({ [key]: a }) => a', 'key'],
  ['({ a = dflt }) => a', 'dflt'],
  ['() => { const { a, [a]: b, ...c } = {}; return [b, c] }'],
  ['() => { const { [k]: v = w } = {}; return v }', 'k', 'w'],
  ['() => { const [a, [b = z]] = [] }', 'z'],
  ['() => { let a; [a, { b: a }] = []; ({ a } = {}); ({ c: a = 1, ...a } = {}) }'],
  ['() => { [x, ...y] = []; ({ z, q: w = v } = {}) }', 'x', 'y', 'z', 'w', 'v'],
  ['(o) => { [o.a, o[i]] = []; ({ a: o.b } = {}) }', 'i'],
  // try
  ['() => { try { a() } catch (e) { e } finally { b() } }', 'a', 'b'],
  ['() => { try {} catch ({ message: m }) { m } return m }', 'm'],
  ['() => { try {} catch { err } }', 'err'],
  ['() => { try {} catch ([a = dflt]) { var kept = a } return kept }', 'dflt'],
  // keys are not names
  ['(o) => o.name.other?.deep?.[0]'],
  ['(o) => o[name]', 'name'],
  ['(o) => o?.[name]?.(arg)', 'name', 'arg'],
  ["() => ({ a: 1, 'b': 2, 3: 4, [5]: 6, get g() { return 1 }, set g(v) { v }, m() {}, async *n() {} })"],
  ['() => ({ a, b: c, ...d, [e]: 1, [f]() {} })', 'a', 'c', 'd', 'e', 'f'],
  ['() => ({ m() { return m } })', 'm'],
  ['() => ({ __proto__: base })', 'base'],
  // classes
  ['() => { class A { static me = A; other = new A() } return A }'],
  ['() => class B extends Base {}', 'Base'],
  ['() => class C extends C {}'],
  ['() => { const x = class Inner {}; return Inner }', 'Inner'],
  ['() => class { x = field; static y = stat; [key] = 1; #p = priv }', 'field', 'stat', 'key', 'priv'],
  ['() => class { m() { return this.m } get a() { return a } set a(v) { v } static [k]() {} }', 'a', 'k'],
  ['() => class { static { var v = 1; let l = v; const f = () => l + outer } }', 'outer'],
  ['() => { class A { static { var hidden = 1 } } return hidden }', 'hidden'],
  ['() => class { #x; static has(o) { return #x in o && o.#x } }'],
  ['() => class A extends Object { constructor() { super(); super.x; this.y = () => super.z } static s = super.t }'],
  ['() => class { constructor(a = b) { a } }', 'b'],
  // operators
  ['() => typeof undeclared'],
  ['() => typeof (undeclared)'],
  ['() => typeof undeclared.x', 'undeclared'],
  ["() => typeof maybe === 'function' && maybe()", 'maybe'],
  ['() => { counter++; --other; third += 1; fourth ??= 2; fifth = 3 }', 'counter', 'other', 'third', 'fourth', 'fifth'],
  ['() => { delete gone.x; void nothing }', 'gone', 'nothing'],
  ['() => `a ${b} ${`${c}`}` + tag`x${d}`', 'b', 'c', 'tag', 'd'],
  ['() => a ? b : (c, d)', 'a', 'b', 'c', 'd'],
  ['(x) => [...x, ...y, new Z(w)]', 'y', 'Z', 'w'],
  ['async () => { await a; (await b).c; await import(d) }', 'a', 'b', 'd'],
  ['function* () { const x = yield a; yield* b }', 'a', 'b'],
  ["async () => (await import('node:fs', { with: options })).readFile", 'options'],
  ['() => /x/v.test(s) + 1n + 0x1', 's'],
  ['(o) => { with (o) { anything = other } return after }', 'after'],
  ['() => { eval("var x = 1"); return globalThis.x }'],
  ['() => () => () => deep', 'deep'],
  ['(a) => (b) => { { const c = 1; return () => [a, b, c, d] } }', 'd'],
  ['() => { async function f() { return own } const own = 1; return f }'],
  ['async () => { await using a = make(); using b = a; return b }', 'make'],
  ['() => { for (using x of list) x }', 'list'],
  // globals of Node, and what only looks like one
  [
    '() => [console, process, Buffer, fetch, setTimeout, structuredClone, WebSocket, Float16Array, navigator, undefined]',
  ],
  ['() => [globalThis, global, Intl, Atomics, WebAssembly, URLPattern, AsyncDisposableStack, escape, NaN]'],
  [
    '() => [window, document, localStorage, expect, describe]',
    'window',
    'document',
    'localStorage',
    'expect',
    'describe',
  ],
  [
    '() => [require, module, exports, __filename, __dirname]',
    'require',
    'module',
    'exports',
    '__filename',
    '__dirname',
  ],
  ['() => [fs, path, url]', 'fs', 'path', 'url'],
  ['() => [hasOwnProperty, toString, constructor]', 'hasOwnProperty', 'toString', 'constructor'],
  // spelled strangely
  ['() => \\u0061bc + 𝒳 + ünï', 'abc', '𝒳', 'ünï'],
  ['async => async + let_', 'let_'],
  ['() => { var let_ = 1, of = 2, get = 3, async = 4; return let_ + of + get + async }'],
  ['() => { yield_: 1; var yield = 2; return yield + await_ }', 'await_'],
]

test.each(cases)('%s', (text, ...names) => {
  expect(freeNames(made(text))).toEqual(names)
})

test('what a name is used for does not matter twice: each is listed once, with its places', () => {
  const text = 'function work(ctx) {\n  counter++\n  return counter + ctx.x +\n    total\n}'
  let error: unknown
  try {
    functionSource(made(text))
  } catch (thrown) {
    error = thrown
  }
  expect(error).toBeInstanceOf(FreeVariableError)
  expect(error).toMatchObject({ code: 'FREE_VARIABLE', names: ['counter', 'total'] })
  const { message } = error as Error
  expect(message).toContain('`work`')
  expect(message).toContain('`counter` (2:3, 3:10, assigned)')
  expect(message).toContain('`total` (4:5)')
  expect(message).toContain('`using: { counter, total }` or as arguments')
  expect(message).toContain("imports must be made inside: `const { readFile } = await import('node:fs/promises')`")
  expect(message).toContain('`globalThis.counter = …` keeps')
})

test('one name: how to pass it; a name that is only called: why passing it would not do', () => {
  expect(() => functionSource(made('() => counter'))).toThrow(
    'pass it with `using: { counter }` or as an argument; imports',
  )
  expect(() => functionSource(made('() => helper(1)'))).toThrow('declare `helper` inside the script')
  expect(() => functionSource(made('() => path.join("a")'))).toThrow("const path = await import('node:path')")
})

test('`using` and `scope` are names it finds', () => {
  const fn = made('(ctx) => [limit, session, toString]')
  expect(() => functionSource(fn, { using: { limit: 1 } })).toThrow(FreeVariableError)
  // an own property counts, an inherited one does not
  expect(() => functionSource(fn, { using: { limit: 1 }, scope: new Set(['session']) })).toThrow('toString')
  expect(functionSource(fn, { using: { limit: 1, toString: 2 }, scope: new Set(['session']) })).toBe(String(fn))
  // the same text again with less: what is kept of a text does not know what was passed
  expect(() => functionSource(fn, { using: { limit: 1 } })).toThrow('session')
})

test('the list of globals is that of the Node it runs on, without what a program adds', () => {
  const directory = mkdtempSync(join(tmpdir(), 'errand-globals-'))
  try {
    const file = join(directory, 'globals.mjs')
    writeFileSync(file, 'process.stdout.write(JSON.stringify(Object.getOwnPropertyNames(globalThis)))')
    const env = { ...process.env, NODE_OPTIONS: '' }
    const names = JSON.parse(execFileSync(process.execPath, [file], { encoding: 'utf8', env })) as string[]
    expect([...globalNames].sort()).toEqual(names.sort())
  } finally {
    rmSync(directory, { recursive: true })
  }
})
