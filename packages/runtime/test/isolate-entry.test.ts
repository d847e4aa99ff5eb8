// Which file an isolate starts from: never from a bundle of sources that have changed since; and, built, from wherever a
// program has the packages, which may load them once more inside an isolate.
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundleIsolates } from '../../../scripts/bundle-isolates.ts'
import { BUNDLE_SOURCES, isFresh, isolateEntry } from '../src/engine/isolate-entry.ts'
import { createPeer } from '../src/index.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'errand-bundles-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('from source', () => {
  const source = join(folder, 'source.ts')
  const bundles = pathToFileURL(`${join(folder, 'isolates')}/`)
  beforeAll(() => {
    mkdirSync(bundles)
    writeFileSync(source, 'export const one = 1\n')
    const { size, mtimeMs } = statSync(source)
    writeFileSync(new URL(BUNDLE_SOURCES, bundles), JSON.stringify({ '../source.ts': [size, mtimeMs] }))
  })

  test('a bundle is as good as its sources, until one of them is written, longer, or gone', () => {
    const { atime, mtime, mtimeMs } = statSync(source)
    expect(isFresh(bundles)).toBe(true)
    utimesSync(source, atime, (mtimeMs + 1) / 1000)
    expect(isFresh(bundles)).toBe(false)
    utimesSync(source, atime, mtime)
    writeFileSync(source, 'export const one = 11\n')
    utimesSync(source, atime, mtime)
    expect(isFresh(bundles)).toBe(false)
    rmSync(source)
    expect(isFresh(bundles)).toBe(false)
    expect(isFresh(pathToFileURL(`${folder}/nowhere/`))).toBe(false)
  })

  test('these tests have bundles of what they test, and isolates start from them', async () => {
    await bundleIsolates()
    expect(isolateEntry('worker-entry').pathname).toMatch(/\/dist\/isolates\/worker-entry\.js$/)
    await using peer = await createPeer({ name: 'bundled' })
    const where = (): string => new Error('here').stack!
    expect(await peer.run(where)).toContain('/dist/isolates/worker-entry.js')
    const [stack] = await (await peer.start(where)).output()
    expect(stack).toContain('/dist/isolates/process-entry.js')
  })

  test('what only machines need is in no other bundle', async () => {
    await bundleIsolates()
    const xstate = /['"]xstate\.init/
    const entries = ['machine-entry', 'process-entry', 'worker-entry', 'reaper-entry', 'sqlite-entry'] as const
    const having = entries.filter((name) => xstate.test(readFileSync(isolateEntry(name), 'utf8')))
    expect(having).toEqual(['machine-entry'])
  })
})

describe('built, in the node_modules of a program', () => {
  const program = join(folder, 'program')
  const installed = join(program, 'node_modules')

  /** A package as it is packed, and beside it what it depends on. */
  function install(name: string): void {
    const home = join(root, 'packages', name)
    const there = join(installed, '@errand', name)
    mkdirSync(there, { recursive: true })
    for (const part of ['package.json', 'dist']) cpSync(join(home, part), join(there, part), { recursive: true })
    for (const one of dependencies(join(home, 'node_modules'))) {
      const link = join(installed, one)
      if (existsSync(link)) continue
      mkdirSync(join(link, '..'), { recursive: true })
      symlinkSync(realpathSync(join(home, 'node_modules', one)), link)
    }
  }

  function dependencies(modules: string): string[] {
    return readdirSync(modules)
      .filter((name) => !name.startsWith('.') && name !== '@errand')
      .flatMap((name) =>
        name.startsWith('@') ? readdirSync(join(modules, name)).map((one) => `${name}/${one}`) : name,
      )
  }

  const home = join(folder, 'home')

  beforeAll(async () => {
    mkdirSync(home, { mode: 0o700 }) // nobody else's
    // What is built already is left alone.
    execFileSync(process.execPath, [
      join(root, 'node_modules/typescript/bin/tsc'),
      '-b',
      join(root, 'packages/runtime'),
    ])
    await bundleIsolates()
    install('transport')
    install('runtime')
    writeFileSync(join(program, 'package.json'), '{ "type": "module" }')
    writeFileSync(
      join(program, 'jobs.js'),
      `import { defineJob, ErrandError, FreeVariableError, PeerUnreachableError } from '@errand/runtime'
       const limit = 1
       export const count = defineJob({
         name: 'count',
         module: import.meta.url,
         async *run(ctx, { to }) { for (let n = 1; n <= to; n++) yield n },
       })
       export const classes = defineJob({
         name: 'classes',
         module: import.meta.url,
         async run(ctx) {
           try {
             await ctx.session.start(() => limit)
           } catch (error) {
             return [FreeVariableError, ErrandError, Error, PeerUnreachableError].map((one) => error instanceof one)
           }
         },
       })
       export const nested = defineJob({
         name: 'nested',
         module: import.meta.url,
         run: async (ctx) => (await ctx.session.start(twice, { args: 21 })).output(),
       })
       export const twice = defineJob({ name: 'twice', module: import.meta.url, run: (ctx, n) => n * 2 })`,
    )
    writeFileSync(
      join(program, 'machines.js'),
      `import { defineMachine, reply } from '@errand/runtime/client'
       import { assign, createMachine } from 'xstate'
       export const sum = defineMachine({
         name: 'sum',
         machine: createMachine({
           context: { total: 0 },
           on: {
             add: { actions: assign({ total: ({ context, event }) => context.total + event.n }) },
             where: { actions: reply(({ context }) => [context.total, process.pid, process.argv.length]) },
           },
         }),
         events: { add: true, where: true },
         isolate: 'process',
         module: import.meta.url,
       })`,
    )
    writeFileSync(
      join(program, 'main.js'),
      `import { createPeer } from '@errand/runtime'
       import { count, classes, nested, twice } from './jobs.js'
       import { sum } from './machines.js'
       const home = process.argv[2]
       await using daemon = await createPeer({ name: 'daemon', home, serveLocal: true })
       await using peer = await createPeer({ name: 'built', home, jobs: [count, classes, nested, twice], machines: [sum] })
       const said = {}
       const of = async (job) => (await job).output()
       for (const engine of process.argv.slice(3)) {
         said[engine] = {
           text: await of(peer.start(() => new Error('here').stack.match(/isolates.[a-z-]*/)?.[0], { engine })),
           count: await of(peer.start(count, { engine, args: { to: 3 } })),
           classes: await of(peer.start(classes, { engine })),
           nested: await of(peer.start(nested, { engine })),
           module: await of(peer.start({ code: "const { milliseconds } = await import('@errand/runtime'); return milliseconds('2s')" }, { engine })),
         }
       }
       // Hosted: a session whose threads live in a process of their own.
       await using session = await peer.connect('localhost')
       said.hosted = await of(session.start(() => process.execArgv.join(), { engine: 'thread' }))
       said.run = await session.run((ctx) => typeof ctx.session.run)
       const ref = await peer.spawn(sum)
       ref.send({ type: 'add', n: 42 })
       const { value: [total, pid, argv] } = await ref.ask({ type: 'where' })
       said.machine = [total, pid !== process.pid, argv]
       console.log(JSON.stringify(said))`,
    )
  }, 120_000)

  test('isolates start from bundles, and know the jobs, errors and packages of the program', () => {
    const text = execFileSync(process.execPath, ['main.js', home, 'thread', 'process'], {
      cwd: program,
      encoding: 'utf8',
    })
    const said = {
      count: [1, 2, 3],
      classes: [[true, true, true, false]],
      nested: [[42]],
      module: [2000],
    }
    expect(JSON.parse(text)).toEqual({
      thread: { text: ['isolates/worker-entry'], ...said },
      process: { text: ['isolates/process-entry'], ...said },
      hosted: [''],
      run: 'function',
      machine: [42, true, 1],
    })
  })

  test('without bundles they start from their entries', () => {
    rmSync(join(installed, '@errand/runtime/dist/isolates'), { recursive: true })
    const text = execFileSync(process.execPath, ['main.js', home, 'thread'], { cwd: program, encoding: 'utf8' })
    expect(JSON.parse(text)).toMatchObject({
      thread: { text: [], count: [1, 2, 3] },
      hosted: [''],
      machine: [42, true, 1],
    })
  })
})
