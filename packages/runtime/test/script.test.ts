// A function as text: every form of function, evaluated alone elsewhere; what cannot travel is refused by name.
import defaultFs from 'node:fs'
import { basename, basename as aliased } from 'node:path'
import * as os from 'node:os'
import { runInThisContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { FreeVariableError, ScriptError } from '../src/errors.ts'
import { compileFunction } from '../src/script-compile.ts'
import { commandText, functionSource } from '../src/script.ts'

const evaluate = (text: string): any => runInThisContext(`(${text}\n)`)
const caught = (run: () => unknown): Error => {
  try {
    run()
  } catch (error) {
    return error as Error
  }
  throw new Error('it did not throw')
}
/** Whatever a script gives, as an array: of its yields, or of its one value. */
async function outputs(value: any): Promise<unknown[]> {
  const awaited = await value
  if (typeof awaited?.next !== 'function') return [awaited]
  const all = []
  for await (const one of awaited) all.push(one)
  return all
}

const symbolMethod = {
  [Symbol.asyncIterator]: 0,
  async *[Symbol.iterator](n: number) {
    yield n
    yield n + 1
  },
}

describe('forms: each travels as text and does there what it did here', () => {
  // an expression that makes the function, and what it gives when called with 20
  const forms: [text: string, ...expected: unknown[]][] = [
    ['function f(n) { return n + 1 }', 21],
    ['function (n) { return n + 1 }', 21],
    ['(function f(n) { return n > 0 ? f(n - 1) : "end" })', 'end'],
    ['async function (n) { return n + 1 }', 21],
    ['function* (n) { yield n; yield n + 1 }', 20, 21],
    ['async function* named(n) { yield n; yield* [n + 1] }', 20, 21],
    ['(n) => n + 1', 21],
    ['n => n + 1', 21],
    ['async n => { return n + 1 }', 21],
    ['async (n) => ({ n })', { n: 20 }],
    ['(n, { a = 1 } = {}, ...rest) => n + a + rest.length', 21],
    ['({ run(n) { return n + 1 } }).run', 21],
    ['({ async run(n) { return n + 1 } }).run', 21],
    ['({ *run(n) { yield n } }).run', 20],
    ['({ async *run(n) { yield /[/]}/.test(n) } }).run', false],
    ['async function* (n) { const f = async function* () { yield /[/]}/ }; yield* f() }', /[/]}/],
    ['({ async *run(n) { yield n; yield n + 1 } }).run', 20, 21],
    ['({ async *\nrun\n(n) { yield n } }).run', 20],
    ['({ get(n) { return n + 1 } }).get', 21],
    ['({ set(n) { return n + 1 } }).set', 21],
    ['({ async(n) { return n + 1 } }).async', 21],
    ['({ static(n) { return n + 1 } }).static', 21],
    ['({ function(n) { return n + 1 } }).function', 21],
    ['({ class(n) { return n + 1 } }).class', 21],
    ['({ await(n) { return n + 1 } }).await', 21],
    ['({ __proto__(n) { return n + 1 } }).__proto__', 21],
    ['({ constructor(n) { return n + 1 } }).constructor', 21],
    [`({ 'quoted "name"'(n) { return n + 1 } })['quoted "name"']`, 21],
    ['({ 12(n) { return n + 1 } })[12]', 21],
    ['({ 0x1Fn(n) { return n + 1 } })[31]', 21],
    ['({ ["a" + "b"](n) { return n + 1 } }).ab', 21],
    ['({ async *[/* [ */ Symbol.iterator /* ] */ ](n) { yield n } })[Symbol.iterator]', 20],
    ['({ [[1, 2].join("]")](n) { return n + 1 } })["1]2"]', 21],
    ['({ [(Symbol("s"), "x")](n) { return n + 1 } }).x', 21],
    ['(class { static run(n) { return n + 1 } }).run', 21],
    ['(class { static async *run(n) { yield n } }).run', 20],
    ['(class { run(n) { return n + 1 } }).prototype.run', 21],
    ['new (class { run = (n) => n + 1 })().run', 21],
    ['new (class { run = async function* (n) { yield n } })().run', 20],
    ['Object.getOwnPropertyDescriptor(class { static ["x"](n) { return n } }, "x").value', 20],
    ['new Function("n", "return n + 1")', 21],
    ['(0, async (n) => { await null; return n + 1 })', 21],
    ['function (n) { "use strict"; return this === undefined ? n : 0 }', 20],
    ['function (n) { return this === globalThis ? n : 0 }', 20],
    ['function (n) { return arguments.length + n }', 21],
    ['function (n) { return new.target === undefined ? n : 0 }', 20],
    [
      '(n) => { class A { #x = n; get() { return this.#x } } class B extends A { get() { return super.get() } } return new B().get() }',
      20,
    ],
    ['(n) => ({ __proto__: { m() { return n } }, m() { return super.m() } }).m()', 20],
    ['(n) => (function () { return [this.n, arguments.length, new.target] }).call({ n }, 1)', [20, 1, undefined]],
    ['(n) => { label: for (;;) { break label } return n } // not part of it', 20],
    ['(n) => { /* [native code] } */ return n\n//{ [native code]\n}', 20],
    ['function /* a */ f /* b */ (n /* c */) /* d */ { return n /* e */ }', 20],
    ["async (n) => (await import('node:path')).basename('/a/b') + n", 'b20'],
  ]
  test.each(forms)('%s', async (text, ...expected) => {
    const fn = evaluate(text)
    const source = functionSource(fn)
    const there = compileFunction(source, {}, {})
    expect(there).not.toBe(fn)
    expect(await outputs(there(20))).toEqual(expected)
    if (!/await import/.test(text)) expect(await outputs(fn.call(undefined, 20))).toEqual(expected)
  })

  test('a name survives, also one that was computed', () => {
    const names = ['({ run() {} }).run', '({ [Symbol.iterator]() {} })[Symbol.iterator]', '({ "a b"() {} })["a b"]']
    for (const text of names) {
      const fn = evaluate(text)
      expect(compileFunction(functionSource(fn), {}, {}).name).toBe(fn.name)
    }
  })

  test('two methods of one text but different computed keys keep their own names', () => {
    const make = (key: string): Function => evaluate(`((key) => ({ [key]() { return 1 } })[key])`)(key)
    expect(compileFunction(functionSource(make('a')), {}, {}).name).toBe('a')
    expect(compileFunction(functionSource(make('b')), {}, {}).name).toBe('b')
  })

  test('more texts than are kept: each is still itself', async () => {
    const texts = Array.from({ length: 300 }, (_, n) => `(x) => [${n}, x, y]`)
    const options = { using: { y: 1 } }
    for (let round = 0; round < 2; round++) {
      for (const [n, text] of texts.entries()) {
        expect(compileFunction(functionSource(evaluate(text), options), { y: round }, {})(2)).toEqual([n, 2, round])
      }
    }
  })

  test('functions of this file, as the test runner rewrote them', async () => {
    async function* count(_ctx: unknown, to: number): AsyncGenerator<number> {
      for (let i: number = 1; i <= to; i++) yield i satisfies number
    }
    expect(await outputs(compileFunction(functionSource(count), {}, {})({}, 3))).toEqual([1, 2, 3])
    expect(await outputs(compileFunction(functionSource(symbolMethod[Symbol.iterator]), {}, {})(5))).toEqual([5, 6])
    const imports = async (): Promise<string> => {
      const { sep } = await import('node:path')
      const again = await import('node:path')
      return sep + again.basename('/c/d')
    }
    expect(await compileFunction(functionSource(imports), {}, {})()).toBe('/d')
  })

  test('the text keeps its lines: an error says where in the script it was thrown', () => {
    for (const text of [
      '() => {\n\n  throw new Error("x") }',
      '({ run() {\n\n  throw new Error("x") } }).run',
      '({ [\n"k"\n]() {\n throw new Error("x") } }).k',
    ]) {
      const lines = String(evaluate(text)).split('\n')
      const line = lines.findIndex((one) => one.includes('throw')) + 1
      const error = caught(compileFunction(functionSource(evaluate(text)), {}, {}) as () => unknown)
      expect(error.stack).toMatch(new RegExp(`errand:script:${line}:\\d+`))
    }
  })
})

describe('refused by name, before anything is sent', () => {
  const refused: [text: string, ...says: (string | RegExp)[]][] = [
    ['Math.max', '`max`', 'native code'],
    ['new Proxy(() => 1, {})', 'native code'],
    ['(function work() {}).bind(null)', '`bound work`', 'is bound'],
    ['class Work {}', '`Work`', 'is a class'],
    ['class {}', 'is a class'],
    ['class extends Object { constructor() { super() } }', 'is a class'],
    ['Object.getOwnPropertyDescriptor({ get x() { return 1 } }, "x").get', 'getter'],
    ['Object.getOwnPropertyDescriptor({ set x(v) {} }, "x").set', 'setter'],
    ['Object.getOwnPropertyDescriptor(class { static get x() { return 1 } }, "x").get', 'getter'],
    ['({ run() { return super.x } }).run', '`super`', '(1:16)'],
    ['({ run() { return () => super.x } }).run', '`super`'],
    ['({ run(a = super.x) {} }).run', '`super`'],
    ['(class extends Object { static run() { return super.create() } }).run', '`super`'],
    ['new (class extends Object { run = () => super.x })().run', '`super`'],
    [
      'new (class extends Object { constructor() { const f = () => super(); return Object.assign(() => 1, { f }) } })().f',
      '`super`',
    ],
    ['(class { static #p() {} static get() { return this.#p } }).get()', '#p', 'private'],
    ['(class { static async *#p() {} static get() { return this.#p } }).get()', '#p', 'private'],
    ['(class { #x = 1; run() { return this.#x } }).prototype.run', '`#x`', 'private'],
    ['(class { #x = 1; run(o) { return #x in o } }).prototype.run', '`#x`'],
    ['(class { #x = 1; static run() { return class { #y; m(o) { return o.#x } } } }).run', '`#x`'],
    ['() => this', '`this`', '(1:7)', 'arrow'],
    ['() => { return () => this.x }', '`this`'],
    ['() => ({ [this.x]: 1 })', '`this`'],
    ['() => class { [this.x] = 1 }', '`this`'],
    ['(function () { return () => arguments[0] })()', '`arguments`', 'args'],
    ['(function () { return () => new.target })()', '`new.target`'],
  ]
  test.each(refused)('%s', (text, ...says) => {
    const error = caught(() => functionSource(evaluate(text)))
    expect(error).toBeInstanceOf(ScriptError)
    expect(error).toMatchObject({ code: 'SCRIPT' })
    for (const part of says)
      expect(error.message).toMatch(part instanceof RegExp ? part : new RegExp(part.replace(/[()[\].]/g, '\\$&')))
  })

  test('import.meta: here as the test runner rewrote it, and as it stands', async () => {
    const rewritten = (): string => import.meta.url
    expect(() => functionSource(rewritten)).toThrow('`import.meta`')
    const url = 'data:text/javascript,export default () => { return import.meta.url }'
    const { default: asWritten } = (await import(/* @vite-ignore */ url)) as { default: () => string }
    expect(String(asWritten)).toContain('import.meta')
    expect(() => functionSource(asWritten)).toThrow('uses `import.meta` (1:16)')
  })

  test('a name in `using` that cannot be a variable', () => {
    for (const name of ['a-b', '1a', 'this', 'new', 'a b', 'x = y', '', 'null']) {
      expect(() => functionSource(() => 1, { using: { [name]: 1 } })).toThrow(ScriptError)
    }
    for (const name of ['$', '_', 'ünï', '𝒳', 'of', 'async', 'let']) {
      expect(functionSource(() => 1, { using: { [name]: 1 } })).toBe('() => 1')
    }
  })

  test('text nested beyond any stack is an error, not a crash', () => {
    const fn = evaluate(`() => ${'1 + '.repeat(30_000)}1`)
    const refused = caught(() => {
      functionSource(fn)
      throw new ScriptError('it was read') // a larger stack may well read it
    })
    expect(refused).toBeInstanceOf(ScriptError)
  })
})

describe('names that loaders put in', () => {
  const local = 3
  test('vitest: a function of this file that uses an import of it', () => {
    const named = (): string => basename('/a/b') + aliased('/c/d')
    expect(String(named)).toContain('__vite_ssr_import_')
    const error = caught(() => functionSource(named)) as FreeVariableError
    expect(error).toBeInstanceOf(FreeVariableError)
    expect(error.names).toEqual(['basename'])
    expect(error.message).toContain('`basename` is an import of the surrounding module')
    expect(error.message).toContain("const { basename } = await import('…')")

    const byDefault = caught(() => functionSource(() => defaultFs.readFileSync)) as FreeVariableError
    expect(byDefault.names).toEqual(['default'])
    expect(byDefault.message).toMatch(/`__vite_ssr_import_\d+__\.default`[^]*is an import of the surrounding module/)
    expect(() => functionSource(() => [os])).toThrow('is an import of the surrounding module')
    const mixed = caught(() => functionSource(() => [os.cpus, local])) as FreeVariableError
    expect(mixed.names).toEqual(['cpus', 'local'])
    expect(mixed.message).toContain('using: { local }')
  })

  // Typical output of `esbuild --keep-names` (what tsx runs): every inner function and class is named by a helper.
  const keepNames = `async (ctx, n) => {
  const double = /* @__PURE__ */ __name((x) => x * 2, "double");
  function triple(x) {
    return x * 3;
  }
  __name(triple, "triple");
  class Adder {
    static {
      __name(this, "Adder");
    }
    add(x) {
      return x + 1;
    }
  }
  const inner = /* @__PURE__ */ __name(() => [double.name, triple.name, Adder.name], "inner");
  return [double(n), triple(n), new Adder().add(n), ...inner()];
}`
  test('esbuild, tsx: __name simply works', async () => {
    const there = compileFunction(functionSource(evaluate(keepNames)), {}, {})
    expect(await there({}, 2)).toEqual([4, 6, 3, 'double', 'triple', 'Adder'])
  })

  const explained: [text: string, names: string[], says: string][] = [
    ['() => import_promises.readFile', ['readFile'], '`readFile` is an import'],
    ['() => (0, import_node_path.join)("a", "b")', ['join'], '`join` is an import'],
    ['() => import_node_fs.default.readFileSync("x")', ['default'], '`import_node_fs.default`'],
    ['() => (0, node_path_1.join)("a")', ['join'], '`join` is an import'],
    ['() => node_fs_1.default.readFileSync("x")', ['default'], 'is an import'],
    ['() => (0, _nodepath.join)("a")', ['join'], '`join` is an import'],
    ['() => [(0, a_1.x)(), (0, a_1.y)(), a_1.x]', ['x', 'y', 'a_1'], "const { x, y } = await import('…')"],
    ['() => __vi_import_0__.foo()', ['foo'], '`foo` is an import'],
    ['() => Promise.resolve().then(() => __importStar(require("x")))', ['__importStar', 'require'], 'helper'],
    ['() => require("node:fs")', ['require'], "process.getBuiltinModule('node:fs')"],
    ['() => _async_to_generator(function* () {})', ['_async_to_generator'], 'helper that a compiler'],
    ['() => _asyncToGenerator(function* () {})', ['_asyncToGenerator'], 'helper that a compiler'],
    ['() => _object_spread_props(_object_spread({}, {}), {})', ['_object_spread_props', '_object_spread'], 'ES2022'],
    ['() => _class_private_field_get(1, 2)', ['_class_private_field_get'], 'helper'],
    ['function () { return __awaiter(this, void 0, void 0, function* () {}) }', ['__awaiter'], 'ES2022'],
    ['() => tslib_1.__awaiter(1)', ['tslib_1'], 'helper'],
    ['() => { cov_2f1a9b3c4().f[0]++; cov_2f1a9b3c4().s[0]++; return 1 }', ['cov_2f1a9b3c4'], 'coverage'],
    ['() => { stryMutAct_9fa48("1"); return 1 }', ['stryMutAct_9fa48'], 'coverage'],
    // not ours to explain: plain names that only resemble such
    [
      '() => [user_1.name, _asyncQueue, covariance, import_count]',
      ['user_1', '_asyncQueue', 'covariance', 'import_count'],
      'using: { user_1, _asyncQueue, covariance, import_count }',
    ],
  ]
  test.each(explained)('%s', (text, names, says) => {
    const error = caught(() => functionSource(evaluate(text))) as FreeVariableError
    expect(error).toBeInstanceOf(FreeVariableError)
    expect(error.names).toEqual(names)
    expect(error.message).toContain(says)
  })

  test('only a call of the rewritten import is written back', () => {
    expect(functionSource(evaluate('(x) => __vite_ssr_dynamic_import__(x, __vite_ssr_dynamic_import__("y"))'))).toBe(
      '(x) => import(x, import("y"))',
    )
    expect(() => functionSource(evaluate('() => [__vite_ssr_dynamic_import__]'))).toThrow(FreeVariableError)
    const own = '(__vite_ssr_dynamic_import__) => __vite_ssr_dynamic_import__(1)'
    expect(functionSource(evaluate(own))).toBe(own)
  })
})

describe('commandText: what the Command column shows', () => {
  const shown: [text: string, shown: string][] = [
    ['function () { work();  // why\n  more() }', ' work();  // why\n  more() '],
    ['() => {\n\tdir\n}', '\n\tdir\n'],
    ['() => {}', ''],
    ['async (ctx, n = {}) => n + 1', 'n + 1'],
    ['() => ({ a: 1 })', '({ a: 1 })'],
    ['() => ((1), (2))', '((1), (2))'],
    ['({ async *run() { yield 1 } }).run', ' yield 1 '],
    ['({ [Symbol.iterator]() { go } })[Symbol.iterator]', ' go '],
    ['(a = () => {}) => { b }', ' b '],
  ]
  test.each(shown)('%s', (text, expected) => {
    expect(commandText(evaluate(text))).toBe(expected)
  })
  test('code is itself; what has no text is its name', () => {
    expect(commandText('  yield 1 ')).toBe('  yield 1 ')
    expect(commandText(Math.max)).toBe('max')
    expect(commandText(evaluate('class Work {}'))).toBe('Work')
  })
})
