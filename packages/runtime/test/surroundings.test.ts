// What a session is opened with is around all that runs in it: what is done first, and what may be had and done.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { codeOf, type ConnectOptions, defineJob, type Grant, type Peer, type ScriptContext } from '../src/index.ts'
import { Lives } from './support/lives.ts'
import { pair, type Pair } from './support/pair.ts'
import { all, outputs, until } from './support/peers.ts'

const GRANTS: Grant[] = ['connect', 'run:script', 'run:command', 'run:job:named']

let folder: string
let two: Pair
let here: Peer

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'errand-'))
  await writeFile(join(folder, 'closed.txt'), 'closed')
  two = await pair({ far: { jobs: [named], policy: { peers: { here: GRANTS } } } })
  here = two.here
})
afterAll(async () => {
  await two[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

const named = defineJob({ name: 'named', run: () => typeof (globalThis as { times?: number }).times })

/** Counts how often it was done where it is looked at. */
const init = (ctx: ScriptContext): string => {
  const it = globalThis as { times?: number }
  it.times = (it.times ?? 0) + 1
  ctx.info('set up')
  return 'nobody sees this'
}
const times = (): number | undefined => (globalThis as { times?: number }).times

describe('init', () => {
  test('is done once in a runspace, before its first run, and again in a new one; nobody sees what it returns', async () => {
    await using session = await here.connect('far', { init })
    expect(await session.run({ code: 'times' })).toBe(1)
    expect(await session.run(times)).toBe(1)
    // Beside the work's own.
    expect(await session.run(times, { init: () => void Object.assign(globalThis, { times: 10 }) })).toBe(10)
    await expect(session.run(() => process.exit(3))).rejects.toMatchObject({ code: 'ENGINE_EXIT' })
    const said = await all(session.run(times).records())
    expect(said.map(({ kind }) => kind)).toEqual(['warning', 'information', 'output'])
    expect(said.at(-1)).toMatchObject({ value: 1 })
  })

  test('is done before each script that the session starts: in a process, in threads, in those of a map', async () => {
    await using session = await here.connect('far', {
      init: { code: 'globalThis.times = (globalThis.times ?? 0) + 1' },
    })
    for (const engine of ['process', 'thread', 'thread'] as const)
      expect(await (await session.start(times, { engine })).output()).toEqual([1])
    const mapped = await here.map([5, 6], (_, n) => [n, (globalThis as { times?: number }).times], {
      on: session,
      throttle: 1,
      ordered: true,
    })
    expect(await mapped.output()).toEqual([
      [5, 1],
      [6, 1],
    ])
    // What the peer offers by a name is one whole, and a command a program of its own.
    expect(await (await session.start(named)).output()).toEqual(['undefined'])
    expect(await (await session.start(['echo', 'well'])).output()).toEqual(['well'])
  })

  test('is its own text, whatever is run behind it', async () => {
    const init = { module: 'export default () => { globalThis.from = "default" }' }
    await using session = await here.connect('far', { init })
    const module = 'export const named = () => globalThis.from; export default () => "not this"'
    expect(await (await session.start({ module, export: 'named' })).output()).toEqual(['default'])
    const own = { module: 'export default () => { globalThis.from = "own" }' }
    expect(await (await session.start({ module, export: 'named' }, { init: own })).output()).toEqual(['own'])
  })

  test('that throws fails what was to be run, and is tried again by the next', async () => {
    const file = join(folder, 'ready.txt')
    await using session = await here.connect('far', {
      init: { code: `if (!fs.existsSync(${JSON.stringify(file)})) throw new Error('not ready'); globalThis.ready = 1` },
    })
    await expect(session.run({ code: 'ready' })).rejects.toThrow('not ready')
    const job = await session.start({ code: 'ready' })
    expect((await job.finished).reason).toMatchObject({ message: 'not ready' })
    await writeFile(file, '')
    expect(await session.run({ code: 'ready' })).toBe(1)
    expect(await (await session.start({ code: 'ready' })).output()).toEqual([1])
  })

  test('may take its time: it is stopped with what was to be run', async () => {
    await using session = await here.connect('far', { init: async (ctx: ScriptContext) => ctx.sleep(60_000) })
    const job = await session.start(() => 'never', { engine: 'thread' })
    await job.wait({ for: ['Running'] })
    expect((await job.stop()).state).toBe('Stopped')
    expect(await outputs(job.receive())).toEqual([])
  })

  test('is there again after its peer was killed, with the session', async () => {
    const { network } = two
    const policy = { peers: { here: ['connect' as const, 'run:script' as const] } }
    await using lives = new Lives({ name: 'third', network, policy })
    await lives.start()
    await here.allow('third', [])
    await using session = await here.connect('third', { init })
    expect(await session.run(times)).toBe(1)
    await lives.again()
    // Of one that was asked before that was noticed nobody knows what became.
    const again = await until('it is there again', async () => {
      const [ran] = await Promise.allSettled([session.run(times)])
      return ran.status === 'fulfilled' && ran.value
    })
    expect([again, session.snapshot.epoch]).toEqual([1, 2])
  })
})

describe('limits', { timeout: 60_000 }, () => {
  const read = (_: unknown, path: string): string => {
    try {
      return process.getBuiltinModule('node:fs').readFileSync(path, 'utf8')
    } catch (error) {
      return (error as NodeJS.ErrnoException).code!
    }
  }

  test('permissions hold in its runspace and its processes, unless a job has its own; nothing runs in threads', async () => {
    await using session = await here.connect('far', { permissions: { read: [join(folder, 'open.txt')] } })
    const args: [string] = [join(folder, 'closed.txt')]
    expect(await session.run(read, { args })).toBe('ERR_ACCESS_DENIED')
    expect(await (await session.start(read, { args })).output()).toEqual(['ERR_ACCESS_DENIED'])
    const refused = { code: 'USAGE', message: expect.stringContaining('do not hold in its threads') }
    await expect(session.start(read, { args, engine: 'thread' })).rejects.toMatchObject(refused)
    const mapped = await here.map([1], (_, n) => n, { on: session })
    expect((await mapped.finished).reason).toMatchObject({ message: refused.message })
    expect(await (await session.start(read, { args, permissions: { read: args } })).output()).toEqual(['closed'])
  })

  test('maxMemory is that of its runspace, which is new then, and of each of its jobs', async () => {
    await using session = await here.connect('far', { maxMemory: 48 })
    const greedy = {
      code: 'const eaten = []; for (;;) eaten.push(Array.from({ length: 100000 }, () => Math.random()))',
    }
    await expect(session.run(greedy)).rejects.toMatchObject({
      code: 'ENGINE_EXIT',
      message: expect.stringContaining('its limit is 48 MiB (maxMemory)'),
    })
    expect(await session.run(() => 'well')).toBe('well')
    for (const engine of ['process', 'thread'] as const) {
      const job = await session.start(greedy, { engine })
      expect((await job.finished).reason).toMatchObject({ message: expect.stringContaining('48 MiB') })
    }
  })
})

describe('refused, before anything is opened', () => {
  const WRONG: readonly [string, ConnectOptions, RegExp][] = [
    ['what is no script', { init: ['true'] as never }, /`init` is a function/],
    ['a limit that is none', { maxMemory: 1 }, /maxMemory/],
    ['a permission that is none', { permissions: { net: true } as never }, /no permission `net`/],
    ['something around a session that is there', { session: 1, cwd: '/' }, /`cwd` is of a session that is opened/],
  ]
  test.each(WRONG)('%s', async (_, options, message) => {
    await expect(here.connect('far', options)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(message),
    })
    expect(await here.sessions()).toEqual([])
  })

  test('what somebody may not run, nobody runs for him', async () => {
    await using other = await pair({ far: { policy: { peers: { here: ['connect', 'run:command'] } } } })
    expect(codeOf(await other.here.connect('far', { init }).catch((error: unknown) => error))).toBe('DENIED')
    await using session = await other.here.connect('far', { cwd: folder })
    expect(await (await session.start(['pwd'])).output()).toEqual([folder])
  })
})
