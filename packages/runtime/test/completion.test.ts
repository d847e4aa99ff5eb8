// Names for a line that is being typed: found, in order, bounded; and nothing is disturbed by looking.
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { complete } from '../src/completion.ts'
import { createPeer, type Session } from '../src/index.ts'
import { compilePromptLine } from '../src/script-code.ts'
import { installBuiltinGlobals } from '../src/script-compile.ts'
import { COMPLETIONS_MOST } from '../src/wire.ts'
import { Peers } from './support/peers.ts'

const made = globalThis as unknown as Record<string, unknown>
let before: Set<string>
beforeAll(() => {
  installBuiltinGlobals(globalThis)
  before = new Set(Object.getOwnPropertyNames(globalThis))
})
afterEach(() => {
  for (const name of Object.getOwnPropertyNames(globalThis)) if (!before.has(name)) delete made[name]
})
const names = (text: string): readonly string[] => complete(text).names

describe('what is found', () => {
  test.each([
    ['proc', ['process']],
    ['await proc', ['process']],
    ['process.ve', ['version', 'versions']],
    ['process?.ve', ['version', 'versions']],
    ['process.versions.zl', ['zlib']],
    ['globalThis.process', ['process']],
    ['this.structuredC', ['structuredClone']],
    ['crypto.randomU', ['randomUUID']],
    ['performance.timeO', ['timeOrigin']],
    ['os.hostn', ['hostname']],
    ['JSON.str', ['stringify']],
    ['[1, 2].map(JSON.str', ['stringify']],
    ['[...JSON.str', ['stringify']],
    ['`${JSON.str', ['stringify']],
    ['"a" + JSON.str', ['stringify']],
    ['/* b */ JSON.str', ['stringify']],
    ['recei', ['receive']],
    ['job', ['job', 'jobs']],
    ['jobs.ap', ['apply']],
    ['session.setT', ['setThrottle']],
    ['session.inst', ['instanceId']],
    ['ctx.sl', ['sleep']],
    ['signal.thr', ['throwIfAborted']],
  ])('%j', (text, found) => {
    expect([...names(text)].sort()).toEqual(expect.arrayContaining(found))
    expect(names(text).every((name) => name.startsWith(complete(text).on))).toBe(true)
  })

  test('what lines made, before everything else; theirs above the names of the prompt', async () => {
    await compilePromptLine(
      'let jobber = { first: 1, "not a name": 2, get second() { return 3 } }, list = [{ deep: 1 }]',
      [],
    ).run({})
    expect(names('job')).toEqual(['jobber', 'job', 'jobs'])
    expect(names('jobber.')).toEqual(['first', 'second'])
    expect(names('jobber.toS')).toEqual(['toString'])
    expect(names('list[0].d')).toEqual(['deep'])
    await compilePromptLine('const job = { mine: 1 }', []).run({})
    expect(names('job.')).toEqual(['mine'])
  })

  test('on an empty line what was made and what the prompt has; all of Node only behind a letter', () => {
    made['mine'] = 1
    const found = names('')
    expect(found).toEqual(expect.arrayContaining(['mine', 'start', 'receive', 'save']))
    expect(found.indexOf('mine')).toBeLessThan(found.indexOf('start'))
    expect(names('')).not.toContain('AggregateError')
    expect(names('Aggr')).toEqual(['AggregateError'])
  })

  test('of instances, what their classes have', () => {
    made['map'] = new Map()
    expect(names('map.ha')).toEqual(['has', 'hasOwnProperty'])
    expect(names('map.')).not.toContain('__defineGetter__')
    made['text'] = 'abc'
    expect(names('text.padS')).toEqual(['padStart'])
  })
})

describe('nothing is known', () => {
  test.each([
    "'proc",
    '"proc',
    '`proc',
    '// proc',
    '/* proc',
    'f().to',
    '[1].len',
    '"a".len',
    '5.to',
    'a#b',
    'nobody.a',
    'undefined.a',
    'null.',
  ])('of %j', (text) => expect(complete(text)).toMatchObject({ names: [], more: 0 }))
})

describe('looking disturbs nothing', () => {
  test('getters and proxies are not asked', () => {
    let asked = 0
    const ask = (): object => ({ inner: ++asked })
    const handler = new Proxy({}, { get: () => () => ask() })
    const inherited = Object.create({
      get upper() {
        return ask()
      },
    }) as object
    Object.assign(made, {
      own: {
        get inner() {
          return ask()
        },
      },
      inherited,
      proxied: new Proxy({}, handler),
    })
    Object.defineProperty(globalThis, 'lazy', { configurable: true, enumerable: true, get: ask })
    const bytes = Object.defineProperty(new Uint8Array(9), 'byteLength', { get: ask })
    Object.assign(made, { bytes })
    const child = Object.create(made['proxied'] as object) as object
    Object.assign(made, { child })
    asked = 0
    for (const text of [
      'own.inner.',
      'inherited.upper.',
      'proxied.',
      'proxied.a.',
      'child.',
      'child.a.',
      'lazy.',
      'bytes.',
      'la',
    ])
      complete(text)
    expect(asked).toBe(0)
    expect(names('own.')).toEqual(['inner'])
    expect(names('la')).toContain('lazy')
  })

  test('there are never more than fit on a screen, and it says how many there are', () => {
    made['wide'] = Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`n${at}`, at]))
    const found = complete('wide.n')
    expect(found.names).toHaveLength(COMPLETIONS_MOST)
    expect(found.more).toBe(1000 - COMPLETIONS_MOST)
    made['long'] = { [`l${'o'.repeat(200)}`]: 1, short: 1 }
    expect(names('long.')).toEqual(['short'])
    made['list'] = Array.from({ length: 100_000 }, () => 0)
    expect(names('list.len')).toEqual(['length'])
    made['bytes'] = new Uint8Array(100_000)
    expect(names('bytes.sub')).toEqual(['subarray'])
  })
})

describe('nobody is kept waiting', () => {
  test('by an object with very many names: it gives none, and is listed once', () => {
    const crowd = Object.fromEntries(Array.from({ length: 20_000 }, (_, at) => [`n${at}`, at]))
    Object.assign(made, { crowd, child: Object.create(crowd, { near: { value: 1 } }) as object })
    const listed = vi.spyOn(Object, 'getOwnPropertyNames')
    try {
      expect(complete('crowd.n')).toEqual({ names: [], on: 'n', more: 0 })
      expect(names('crowd.toS')).toEqual(['toString'])
      expect(names('child.n')).toEqual(['near'])
      expect(listed.mock.calls.filter(([object]) => object === crowd)).toHaveLength(1)
    } finally {
      listed.mockRestore()
    }
    made['many'] = Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`n${at}`, at]))
    expect(complete('many.n').more).toBe(10_000 - COMPLETIONS_MOST)
  })

  test('by very many globals: the names of the prompt are there; the others again when they are fewer', async () => {
    for (let at = 0; at < 10_001; at++) made[`save${at}`] = at
    expect(names('save')).toEqual(['save'])
    for (let at = 1; at < 10_001; at++) delete made[`save${at}`]
    await expect.poll(() => names('save'), { timeout: 60_000 }).toEqual(['save0', 'save'])
  })
})

describe('where a script changed the language', () => {
  test.each([
    ['exec', RegExp.prototype],
    ['startsWith', String.prototype],
    ['filter', Array.prototype],
  ])('%s may throw: there are no names', (name, prototype) => {
    const changed = vi.spyOn(prototype as never as Record<string, () => void>, name).mockImplementation(() => {
      throw new Error('changed')
    })
    let found: unknown
    try {
      found = complete('proc // ')
      found = complete('proc')
    } finally {
      changed.mockRestore()
    }
    expect(found).toEqual({ names: [], on: '', more: 0 })
    expect(names('proc')).toContain('process')
  })
})

describe('a session', () => {
  let peers: Peers
  let session: Session
  beforeAll(async () => {
    peers = await Peers.start('server01')
    session = await peers.laptop.connect('server01')
  })
  afterAll(() => peers.close())

  test('knows names before anything was run in it, and those that were made there', async () => {
    expect((await session.complete('process.vers')).names).toEqual(['version', 'versions'])
    await session.run({ line: 'const limit = 7' })
    expect((await session.complete('1 + lim')).names).toEqual(['limit'])
    expect((await session.complete(`${'x'.repeat(5000)} + lim`)).names).toEqual(['limit'])
  })

  test('is not disturbed by that: no job, no run, nothing new in it', async () => {
    const { epoch } = session.snapshot
    await session.complete('lim')
    expect(await session.jobs()).toEqual([])
    expect(session.snapshot).toMatchObject({ epoch, availability: 'Available', jobs: 0 })
    expect(await session.receive()).toBeUndefined()
  })

  test('whose script changed the language gives none, and keeps what it has', async () => {
    const { epoch } = session.snapshot
    const folder = await mkdtemp(join(tmpdir(), 'errand-completion-'))
    try {
      const changed = join(folder, 'changed')
      const back = join(folder, 'back')
      const spoiled = session.run({
        line: `var kept = 42, { exec } = RegExp.prototype, { startsWith } = String.prototype
          RegExp.prototype.exec = String.prototype.startsWith = () => { throw new Error('changed') }
          fs.writeFileSync(${JSON.stringify(changed)}, '')
          while (!fs.existsSync(${JSON.stringify(back)})) await new Promise((resolve) => setTimeout(resolve, 20))
          Object.assign(RegExp.prototype, { exec })
          Object.assign(String.prototype, { startsWith })
          0`,
      })
      const ended = spoiled.then((value) => value)
      await expect.poll(() => existsSync(changed), { timeout: 30_000 }).toBe(true)
      expect(await session.complete('ke')).toEqual({ names: [], on: '', more: 0 })
      await writeFile(back, '')
      expect(await ended).toBe(0)
    } finally {
      await rm(folder, { recursive: true })
    }
    expect((await session.complete('ke')).names).toEqual(['kept'])
    expect(await session.run({ line: 'kept' })).toBe(42)
    expect(session.snapshot.epoch).toBe(epoch)
  })

  test('that is busy knows them while its event loop turns, and gives none where it does not', async () => {
    const waiting = new AbortController()
    const run = session.run({ line: 'await sleep(600_000)' }, { signal: waiting.signal })
    const ended = run.then(undefined, (error: Error) => error)
    await run.job()
    expect((await session.complete('lim')).names).toEqual(['limit'])
    waiting.abort()
    await ended
    const looping = session.run({ line: 'warn("round"); for (;;);' })
    const stopped = looping.then(undefined, (error: { code: string }) => error.code)
    const job = await looping.job()
    expect((await session.complete('lim')).names).toEqual([])
    await job.stop({ grace: 0 })
    expect(await stopped).toBe('JOB_STOPPED')
    expect(session.state).toBe('Opened')
  })
})

describe('a run as a job', () => {
  test('is answered what it asks', async () => {
    await using peer = await createPeer({ name: 'asked' })
    const run = peer.run({ line: "await ask({ prompt: 'sure?', choices: ['yes', 'no'] })" })
    const value = run.then((it) => it)
    const job = await run.job()
    for await (const { question } of job.watch()) if (question) break
    expect(job.question).toMatchObject({ prompt: 'sure?' })
    await job.answer('yes')
    expect(await value).toBe('yes')
  })
  test('is no more when it has ended and was read', async () => {
    await using peer = await createPeer({ name: 'over' })
    const run = peer.run({ line: '1' })
    expect(await run).toBe(1)
    await expect(run.job()).rejects.toMatchObject({ code: 'JOB_NOT_FOUND' })
  })
})
