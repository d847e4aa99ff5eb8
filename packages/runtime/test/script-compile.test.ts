// Text becomes a function again, in a thread, in a process: what it sees, what it can import, what its errors say.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ScriptError } from '../src/errors.ts'
import { builtinNames } from '../src/script-globals.ts'
import { compileFunction, installBuiltinGlobals, isVariableName } from '../src/script-compile.ts'

const compiler = new URL('../src/script-compile.ts', import.meta.url).href
const flags = ['--conditions=source']
const env = { ...process.env, NODE_OPTIONS: '' }

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'errand-compile-'))
  const module = join(directory, 'node_modules', 'far-away')
  mkdirSync(module, { recursive: true })
  writeFileSync(join(module, 'package.json'), '{ "name": "far-away", "type": "module", "exports": "./index.js" }')
  writeFileSync(join(module, 'index.js'), 'export const here = "a package of the directory"')
  writeFileSync(join(directory, 'beside.mjs'), 'export const here = "a file of the directory"')
})
afterAll(() => rmSync(directory, { recursive: true }))

const caught = (run: () => unknown): Error => {
  try {
    run()
  } catch (error) {
    return error as Error
  }
  throw new Error('it did not throw')
}

describe('what a function sees', () => {
  test('`using` and `scope` by name, the former first; and the globals of this realm', () => {
    const source = '() => [a, b, typeof c, typeof process, globalThis === self()]'
    const self = (): typeof globalThis => globalThis
    expect(compileFunction(source, { a: 1 }, { a: 2, b: 3, self })()).toEqual([1, 3, 'undefined', 'object', true])
  })

  test('one text compiled again sees what it is given now; nothing is shared between the two', () => {
    const source = '() => [limit, ++limit, (f.calls = (f.calls ?? 0) + 1)]'.replace('=>', '=> { function f() {} return')
    const text = `${source} }`
    const first = compileFunction(text, { limit: 1 }, {})
    const second = compileFunction(text, { limit: 10 }, {})
    expect(first()).toEqual([1, 2, 1])
    expect(second()).toEqual([10, 11, 1])
    expect(first()).toEqual([2, 3, 1])
    expect(compileFunction('() => typeof limit', {}, {})()).toBe('undefined')
  })

  test('objects are passed as they are, strange names too', () => {
    const value = { n: 1 }
    expect(compileFunction('() => value', { value }, {})()).toBe(value)
    expect(
      compileFunction('() => [ünï, $, _, of, __proto__]', { ünï: 1, $: 2, _: 3, of: 4, ['__proto__']: 5 }, {})(),
    ).toEqual([1, 2, 3, 4, 5])
    for (const name of ['a-b', '1a', 'this', 'a=b', '']) {
      expect(isVariableName(name)).toBe(false)
      expect(() => compileFunction('() => 1', { [name]: 1 }, {})).toThrow(ScriptError)
    }
  })

  test('sloppy by default, strict where it says so', () => {
    expect(compileFunction('function () { return this }', {}, {})()).toBe(globalThis)
    expect(compileFunction('function () { "use strict"; return this }', {}, {})()).toBe(undefined)
    const names: Record<string, unknown> = globalThis
    try {
      compileFunction('() => { kept = 1; globalThis.also = 2 }', {}, {})()
      expect([names['kept'], names['also']]).toEqual([1, 2])
    } finally {
      delete names['kept']
      delete names['also']
    }
  })

  test('text that is no function, or does not compile, is a ScriptError that says where', () => {
    expect(() => compileFunction('1', {}, {})).toThrow(ScriptError)
    const error = caught(() => compileFunction('() => {\n  let x = 1\n  let 5\n}', {}, {}))
    expect(error).toBeInstanceOf(ScriptError)
    expect(error.message).toMatch(/Unexpected number \(line 3\)\n\s+let 5\n\s+\^/)
  })
})

describe('errors carry the places of the script', () => {
  test.each([
    ['() => { throw new Error("x") }', 1, '\\d+'], // what stands before it moves the columns of the first line
    ['() => {\n  throw new Error("x") }', 2, 9],
    ['function () {\r\n\r\n   return null.x }', 3, 16],
  ])('%j', (source, line, column) => {
    const error = caught(compileFunction(source, {}, {}) as () => unknown)
    expect(error.stack).toMatch(new RegExp(`errand:script:${line}:${column}\\b`))
    const withNames = caught(compileFunction(source, { a: 1, b: 2 }, { c: 3 }, { cwd: directory }) as () => unknown)
    expect(withNames.stack).toMatch(new RegExp(`errand:script:${line}:${column}\\b`))
  })
})

// Plain Node, no test runner around: what happens in a worker and in a child process.
const probe = `
  import { compileFunction, installBuiltinGlobals } from ${JSON.stringify(compiler)}
  const failure = async (run) => { try { return await run() } catch (error) { return error.code ?? error.message } }
  export async function probe(directory) {
    const run = (text, options) => failure(() => compileFunction(text, {}, {}, options)())
    installBuiltinGlobals(globalThis)
    const stack = (() => { try { compileFunction('() => {\\n  null.x }', {}, {})() } catch (error) { return error.stack.split('\\n')[1].trim() } })()
    return {
      builtin: await run('async () => typeof (await import("node:os")).cpus'),
      bare: await run('async () => typeof (await import("fs/promises")).readFile'),
      inner: await run('async () => { const f = () => import("node:path"); return (await f()).basename("/a/b") }'),
      inEval: await run('async () => (await eval("import(\\'node:path\\')")).basename("/a/b")'),
      attributes: await run('async () => (await import("data:application/json,[1]", { with: { type: "json" } })).default'),
      package: await run('async () => (await import("far-away")).here', { cwd: directory }),
      file: await run('async () => (await import("./beside.mjs")).here', { cwd: directory }),
      url: await run('async () => (await import("file://' + directory + '/beside.mjs")).here'),
      elsewhere: await run('async () => (await import("far-away")).here', { cwd: '/' }),
      ours: await run('async () => (await import("acorn")).version', { cwd: '/' }),
      modules: typeof fs.readFileSync + typeof child_process.spawn + typeof performance.now,
      stack,
    }
  }
`
const expected = {
  builtin: 'function',
  bare: 'function',
  inner: 'b',
  inEval: 'b',
  attributes: [1],
  package: 'a package of the directory',
  file: 'a file of the directory',
  url: 'a file of the directory',
  elsewhere: 'ERR_MODULE_NOT_FOUND',
  ours: 'ERR_MODULE_NOT_FOUND',
  modules: 'functionfunctionfunction',
  stack: 'at errand:script:2:8',
}

describe('import() works where scripts run, quietly', () => {
  test('in a child process', () => {
    const program = `${probe}\nconsole.log(JSON.stringify(await probe(${JSON.stringify(directory)})))`
    const { stdout, stderr } = spawnSync(process.execPath, [...flags, '--input-type=module', '-e', program], {
      encoding: 'utf8',
      env,
    })
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual(expected)
  })

  test('in a child process, from its own directory when none is given', () => {
    const program = `import { compileFunction } from ${JSON.stringify(compiler)}
      console.log((await compileFunction('async () => (await import("far-away")).here', {}, {})()))
      process.emitWarning('a warning of its own')`
    const run = spawnSync(process.execPath, [...flags, '--input-type=module', '-e', program], {
      encoding: 'utf8',
      env,
      cwd: directory,
    })
    expect(run.stdout).toBe('a package of the directory\n')
    expect(run.stderr).toContain('a warning of its own') // only the one about the loader is unheard
    expect(run.stderr).not.toContain('Experimental')
  })

  test('in a worker', async () => {
    const program = `${probe}
      import { parentPort, workerData } from 'node:worker_threads'
      parentPort.postMessage(await probe(workerData))`
    const url = new URL(`data:text/javascript,${encodeURIComponent(program)}`)
    const worker = new Worker(url, { workerData: directory, execArgv: flags, stderr: true, env })
    let stderr = ''
    worker.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const exited = new Promise((resolve) => worker.once('exit', resolve))
    const answer = await new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    await exited
    expect(answer).toEqual(expected)
    expect(stderr).toBe('')
  })

  test('what a worker loads for it brings no parser along', () => {
    const program = `
      import { registerHooks } from 'node:module'
      const loaded = []
      registerHooks({ resolve: (specifier, context, next) => { const found = next(specifier, context); loaded.push(found.url); return found } })
      await import(${JSON.stringify(compiler)})
      console.log(loaded.join('\\n'))`
    const loaded = execFileSync(process.execPath, [...flags, '--input-type=module', '-e', program], {
      encoding: 'utf8',
      env,
    })
    expect(loaded).toContain('script-compile.ts')
    expect(loaded).not.toContain('acorn')
  })
})

describe('built-in modules by name', () => {
  test('at first use, not enumerable, replaceable; what is there already stays', () => {
    const target: Record<string, unknown> = { path: 'mine', console }
    installBuiltinGlobals(target)
    expect(Object.keys(target)).toEqual(['path', 'console'])
    expect(target['path']).toBe('mine')
    expect(Object.getOwnPropertyDescriptor(target, 'fs')).not.toHaveProperty('value')
    expect(target['fs']).toBe(process.getBuiltinModule('node:fs'))
    expect(Object.getOwnPropertyDescriptor(target, 'fs')).toMatchObject({
      writable: true,
      configurable: true,
      enumerable: false,
    })
    target['os'] = 'mine too'
    expect(target['os']).toBe('mine too')
    expect(delete target['zlib']).toBe(true)
  })

  test('names that are identifiers and no globals of Node', () => {
    for (const name of ['fs', 'path', 'os', 'child_process', 'worker_threads', 'url', 'util', 'zlib']) {
      expect(builtinNames).toContain(name)
    }
    for (const name of ['process', 'console', 'crypto', 'fs/promises', 'node:sqlite', '_http_agent']) {
      expect(builtinNames).not.toContain(name)
    }
  })
})
