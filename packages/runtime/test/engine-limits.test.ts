// What an isolate may have and do, what is done in it first, and how many there are at once.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { codeOf, defineJob, type Job, type Peer, type ScriptContext, type Session } from '../src/index.ts'
import { checkEvent } from '../src/wire.ts'
import { pair, type Pair } from './support/pair.ts'
import { all, outputs, refusal } from './support/peers.ts'

let folder: string
let two: Pair
let here: Peer
let session: Session

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'errand-'))
  await writeFile(join(folder, 'open.txt'), 'open')
  await writeFile(join(folder, 'closed.txt'), 'closed')
  two = await pair()
  here = two.here
  session = await here.connect('far')
})
afterAll(async () => {
  await two[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

/** MiB: the least there may be, which is reached soonest. */
const LIMIT = 32

/** Takes memory until there is none left; says so first. */
async function* greedy(ctx: ScriptContext): AsyncGenerator<string> {
  yield 'eating'
  await ctx.sleep(1)
  const eaten: number[][] = []
  for (;;) eaten.push(Array.from({ length: 100_000 }, (_, n) => n + Math.random()))
}

/** Everything in which a script may have a limit of its own. */
const LIMITED: Record<string, (maxMemory: number) => Promise<Job<string>>> = {
  'a thread': (maxMemory) => here.start(greedy, { engine: 'thread', maxMemory }),
  'a process': (maxMemory) => here.start(greedy, { maxMemory }),
  "a thread of another peer's session": (maxMemory) => session.start(greedy, { engine: 'thread', maxMemory }),
  'a child on another peer': (maxMemory) => here.start(greedy, { on: 'far', maxMemory }),
}

describe('maxMemory', { timeout: 60_000 }, () => {
  test.each(Object.entries(LIMITED))('of %s: it ends Failed, says why, and takes nobody along', async (_, start) => {
    const job = await start(LIMIT)
    const waiting = job.output().catch((error: unknown) => codeOf(error))
    const last = await job.finished
    expect(last.state).toBe('Failed')
    const { reason } = (job.children[0] ?? job).snapshot
    expect(codeOf(reason)).toBe('ENGINE_EXIT')
    expect(reason!.message).toContain(`ran out of memory: its limit is ${LIMIT} MiB (maxMemory)`)
    expect(await waiting).toBe('JOB_FAILED')
    const said = await all(job.receive())
    expect(said[0]).toMatchObject({ kind: 'output', value: 'eating' })
    expect(said.at(-1)).toMatchObject({ kind: 'error', error: { code: 'ENGINE_EXIT' } })
    expect(await (await here.start(() => 'well', { engine: 'thread' })).output()).toEqual(['well'])
    expect(await session.run(() => 'well')).toBe('well')
  })

  test('is enough for what needs less, down to the least there may be', async () => {
    for (const engine of ['thread', 'process'] as const) {
      const job = await here.start((_, n) => Array.from({ length: n }, () => n).length, {
        args: [1000],
        engine,
        maxMemory: LIMIT,
      })
      expect(await job.output()).toEqual([1000])
    }
  })

  test('of a map is that of each of its threads: who needs more has failed, the others go on', async () => {
    const job = await here.map(
      [1, 2, 3],
      (_ctx, n) => {
        const eaten: number[][] = []
        while (n === 2) eaten.push(Array.from({ length: 100_000 }, () => Math.random()))
        return n
      },
      { maxMemory: LIMIT, throttle: 1 },
    )
    expect(codeOf((await job.finished).reason)).toBe('ITEMS_FAILED')
    const said = await all(job.receive())
    expect(await outputs(said)).toEqual([1, 3])
    const [error] = said.flatMap((record) => (record.kind === 'error' ? [record.error] : []))
    expect(error).toMatchObject({ code: 'ENGINE_EXIT', item: 1, message: expect.stringContaining(`${LIMIT} MiB`) })
  })

  test('a run with it leaves the runspace, and its variables, alone', async () => {
    await session.run(() => void Object.assign(globalThis, { kept: 7 }))
    await expect(session.run(greedy, { maxMemory: LIMIT })).rejects.toMatchObject({ code: 'ENGINE_EXIT' })
    expect(await session.run(() => (globalThis as { kept?: number }).kept)).toBe(7)
  })
})

describe('permissions', () => {
  const look = async (_ctx: ScriptContext, ...paths: string[]): Promise<string[]> => {
    const { readFileSync } = process.getBuiltinModule('node:fs')
    return paths.map((path) => {
      try {
        return readFileSync(path, 'utf8')
      } catch (error) {
        return (error as NodeJS.ErrnoException).code!
      }
    })
  }

  test('let a script read and write what they name, and nothing else', async () => {
    const args: [string, string] = [join(folder, 'open.txt'), join(folder, 'closed.txt')]
    const job = await here.start(look, { args, permissions: { read: [args[0]] } })
    expect(await job.output()).toEqual([['open', 'ERR_ACCESS_DENIED']])
    // Relative to its directory, which it may work in without being allowed to look at it.
    const relative = await here.start(look, {
      args: ['open.txt', args[1]],
      cwd: folder,
      permissions: { read: ['open.txt'] },
    })
    expect(await relative.output()).toEqual([['open', 'ERR_ACCESS_DENIED']])
    const everything = await here.start(look, { args, permissions: { read: ['*'] } })
    expect(await everything.output()).toEqual([['open', 'closed']])
    const writing = await here.start(
      (_, path: string) => {
        const { writeFileSync } = process.getBuiltinModule('node:fs')
        writeFileSync(`${path}/written.txt`, 'yes')
        writeFileSync(`${path}/closed.txt`, 'no')
      },
      { args: [folder], permissions: { write: [join(folder, 'written.txt')] } },
    )
    await writing.finished
    expect(codeOf(writing.reason)).toBe('ERR_ACCESS_DENIED')
    expect(await readFile(join(folder, 'written.txt'), 'utf8')).toBe('yes')
    expect(await readFile(join(folder, 'closed.txt'), 'utf8')).toBe('closed')
  })

  test('a refused access is the script’s own error: what it does not catch fails it', async () => {
    const job = await here.start(() => process.getBuiltinModule('node:fs').readFileSync('/etc/passwd'), {
      permissions: {},
    })
    const { state, reason } = await job.finished
    expect([state, codeOf(reason)]).toEqual(['Failed', 'ERR_ACCESS_DENIED'])
    expect((await all(job.receive())).at(-1)).toMatchObject({ kind: 'error', error: { code: 'ERR_ACCESS_DENIED' } })
  })

  test('programs and threads are allowed one by one', async () => {
    const tries = async (): Promise<string[]> => {
      const { spawnSync } = process.getBuiltinModule('node:child_process')
      const { Worker } = process.getBuiltinModule('node:worker_threads')
      const one = (act: () => unknown): string => {
        try {
          act()
          return 'done'
        } catch (error) {
          return (error as NodeJS.ErrnoException).code!
        }
      }
      return [one(() => spawnSync('true')), one(() => new Worker('', { eval: true }))]
    }
    const denied = 'ERR_ACCESS_DENIED'
    expect(await (await here.start(tries, { permissions: {} })).output()).toEqual([[denied, denied]])
    expect(await (await here.start(tries, { permissions: { childProcess: true } })).output()).toEqual([
      ['done', denied],
    ])
    expect(await (await here.start(tries, { permissions: { worker: true } })).output()).toEqual([[denied, 'done']])
  })

  test('hold on another peer, for a job there and for a run, and leave its session as it is', async () => {
    const path = join(folder, 'closed.txt')
    const denied = [['ERR_ACCESS_DENIED']]
    expect(await (await session.start(look, { args: [path], permissions: {} })).output()).toEqual(denied)
    expect(await (await here.start(look, { args: [path], on: 'far', permissions: {} })).output()).toEqual(denied)
    expect(await session.run(look, { args: [path], permissions: {} })).toEqual(denied[0])
    expect(await session.run(look, { args: [path] })).toEqual(['closed'])
  })

  test('leave a script what it needs of errand: input, questions, its session, values of every kind', async () => {
    const job = await here.start(
      async function* (ctx: ScriptContext) {
        for await (const value of ctx.input) yield value
        yield ctx.session.name
        yield (await import('node:path')).sep
      },
      { permissions: {}, input: [new Map([[1, new Date(0)]])] },
    )
    expect(await job.output()).toEqual([new Map([[1, new Date(0)]]), 'local', '/'])
  })

  test('a directory that is not there is said', async () => {
    const job = await here.start(look, { cwd: join(folder, 'nowhere'), permissions: {} })
    expect((await job.finished).reason).toMatchObject({
      code: 'ENGINE_EXIT',
      message: expect.stringContaining(`there is no directory ${join(folder, 'nowhere')}`),
    })
  })
})

describe('init', () => {
  const engines = ['thread', 'process'] as const

  test.each(engines)(
    'P73, P74 in a %s: with the arguments and values of the job, its outputs before the job’s',
    async (engine) => {
      const prefix = '>'
      const job = await here.start(
        async function* (ctx: ScriptContext, n: number) {
          yield `${prefix}job ${n} ${(globalThis as { ready?: string }).ready}`
          for await (const value of ctx.input) yield value
        },
        {
          engine,
          args: [1],
          using: { prefix },
          input: ['in'],
          init: async function* (ctx: ScriptContext, n: number) {
            yield `${prefix}init ${n}`
            ctx.warn('careful')
            await ctx.sleep(1)
            Object.assign(globalThis, { ready: 'ready' })
          },
        },
      )
      const said = await all(job.receive({ follow: true }))
      expect(said.map((record) => [record.kind, 'value' in record && record.value])).toEqual([
        ['output', '>init 1'],
        ['warning', 'careful'],
        ['output', '>job 1 ready'],
        ['output', 'in'],
      ])
    },
  )

  test('may be text: code, or a module', async () => {
    const code = await here.start(
      { code: 'globalThis.n' },
      { init: { code: 'globalThis.n = args[0]; yield "i"' }, args: [5] },
    )
    expect(await code.output()).toEqual(['i', 5])
    const module = "import { sep } from 'node:path'\nexport default (ctx, n) => { globalThis.n = sep + n }"
    expect(await (await here.start({ code: 'globalThis.n' }, { init: { module }, args: [5] })).output()).toEqual(['/5'])
  })

  test('that throws fails the job before it has begun; that only says an error does not (PowerShell fails it)', async () => {
    const failed = await here.start(() => 'job', {
      init: () => {
        throw Object.assign(new Error('no licence'), { code: 'E_LICENCE' })
      },
    })
    expect((await failed.finished).reason).toMatchObject({ message: 'no licence', code: 'E_LICENCE' })
    expect(await outputs(failed.receive())).toEqual([])
    const wrong = await here.start(() => 'job', { init: (ctx) => ctx.error('hm') })
    expect(await wrong.output()).toEqual(['job'])
    expect(wrong.errorCount).toBe(1)
  })

  test('is stopped as the job is', async () => {
    const job = await here.start(() => 'job', { init: async (ctx) => ctx.sleep(60_000) })
    await job.wait({ for: ['Running'] })
    expect((await job.stop()).state).toBe('Stopped')
    expect(await outputs(job.receive())).toEqual([])
  })

  test('of a map is done once in each of its threads', async () => {
    const job = await here.map([1, 2, 3, 4], (_ctx, n) => n * (globalThis as unknown as { by: number }).by, {
      init: () => void Object.assign(globalThis, { by: ((globalThis as { by?: number }).by ?? 1) * 10 }),
      throttle: 1,
      ordered: true,
    })
    expect(await job.output()).toEqual([10, 20, 30, 40])
  })

  test('may be larger than a control frame', async () => {
    const code = `globalThis.size = ${JSON.stringify('x'.repeat(100_000))}.length`
    expect(await session.run({ code: 'size' }, { init: { code: `void (${code})` } })).toBe(100_000)
    // What it says itself is not lost beside the value of a run.
    expect(await session.run({ code: 'size' }, { init: { code } })).toEqual([100_000, 100_000])
    expect(await (await session.start({ code: 'size' }, { init: { code } })).output()).toEqual([100_000, 100_000])
  })

  test('goes with a job to another peer', async () => {
    const options = { init: () => void Object.assign(globalThis, { far: 'far' }) }
    const job = await here.start(() => (globalThis as { far?: string }).far, { ...options, on: 'far' })
    expect(await job.output()).toEqual(['far'])
  })
})

describe('cwd and env', () => {
  const seen = (ctx: ScriptContext): unknown[] => [ctx.cwd, process.env['ERRAND_SEEN'], 'HOME' in process.env]
  const env = { ERRAND_SEEN: 'yes', HOME: undefined }

  test('are those of the job in every engine, for what is done first too, and of nobody else', async () => {
    const expected = [folder, 'yes', false]
    const options = { cwd: folder, env, init: seen }
    const twice = [expected, expected]
    expect(await (await here.start(seen, options)).output()).toEqual(twice)
    expect(await (await here.start(seen, { ...options, engine: 'thread' })).output()).toEqual(twice)
    expect(await (await here.start(seen, { ...options, on: 'far' })).output()).toEqual(twice)
    expect(await (await session.start(seen, { ...options, engine: 'thread' })).output()).toEqual(twice)
    expect(await session.run(seen, { cwd: folder, env })).toEqual(expected)
    const command = await here.start(['sh', '-c', 'pwd; echo "$ERRAND_SEEN ${HOME-none}"'], { cwd: folder, env })
    expect(await command.output()).toEqual([folder, 'yes none'])
    // The next in the same runspace, and this process, are as they were.
    expect(await session.run(seen)).toEqual([process.cwd(), undefined, true])
    expect([process.env['ERRAND_SEEN'], 'HOME' in process.env]).toEqual([undefined, true])
  })

  test('a process is really there, and a directory that is not fails it with the system’s own error', async () => {
    expect(await (await here.start(() => process.cwd(), { cwd: folder })).output()).toEqual([folder])
    const job = await here.start(() => process.cwd(), { cwd: join(folder, 'nowhere') })
    expect((await job.finished).reason).toMatchObject({ code: 'ENOENT', message: expect.stringContaining('nowhere') })
    const command = await here.start(['true'], { cwd: join(folder, 'nowhere') })
    expect((await command.finished).reason).toMatchObject({
      code: 'COMMAND_NOT_STARTED',
      message: expect.stringContaining('nowhere'),
    })
  })
})

describe('what cannot be asked for', () => {
  const named = defineJob({ name: 'named', run: () => 1 })
  test.each<[string, () => Promise<unknown>, RegExp]>([
    ['too little memory', () => here.start(() => 1, { maxMemory: 31 }), /maxMemory.*from 32/],
    ['half a MiB', () => here.start(() => 1, { maxMemory: 64.5 }), /maxMemory.*64.5/],
    ['text for memory', () => here.start(() => 1, { maxMemory: '64' as never }), /maxMemory/],
    ['memory of a command', () => here.start(['true'], { maxMemory: 64 }), /maxMemory.*for scripts/],
    ['permissions of a command', () => here.start(['true'], { permissions: {} }), /permissions.*for scripts/],
    ['permissions of a thread', () => here.start(() => 1, { permissions: {}, engine: 'thread' }), /process of its own/],
    ['permissions of a map', () => here.map([1], (_, n) => n, { permissions: {} }), /a map runs in threads/],
    ['memory of a runspace', async () => session.run(() => 1, { maxMemory: 64, engine: 'runspace' }), /maxMemory/],
    [
      'an unknown permission',
      () => here.start(() => 1, { permissions: { net: true } as never }),
      /no permission `net`/,
    ],
    ['paths as text', () => here.start(() => 1, { permissions: { read: '/srv' as never } }), /list of paths/],
    ['a path with a comma', () => here.start(() => 1, { permissions: { read: ['/a,/b'] } }), /without commas/],
    ['too many paths', () => here.start(() => 1, { permissions: { read: Array(257).fill('/a') } }), /256/],
    ['a flag that is none', () => here.start(() => 1, { permissions: { worker: 1 as never } }), /true or false/],
    ['a command as init', () => here.start(() => 1, { init: ['true'] as never }), /init.*function/],
    ['init of a command', () => here.start(['true'], { init: () => 1 }), /init.*for scripts/],
    ['init of a named job', () => here.start(named, { init: () => 1 } as never), /init/],
  ])('%s is refused before anything is started', async (what, act, message) => {
    const before = (await here.jobs()).length
    const error = await refusal(what, act)
    expect([codeOf(error), error.message]).toEqual(['USAGE', expect.stringMatching(message)])
    expect(await here.jobs()).toHaveLength(before)
  })

  test('a function of `init` is read as any other: what it lacks is refused by name', async () => {
    const outside = 1
    await expect(here.start(() => 1, { init: () => outside })).rejects.toMatchObject({
      code: 'FREE_VARIABLE',
      names: ['outside'],
    })
  })

  const spec = { kind: 'function', source: '() => 1', command: '1', startId: 's' }
  test.each([
    { maxMemory: 31 },
    { maxMemory: 2 ** 40 },
    { maxMemory: '64' },
    { permissions: { read: '/srv' } },
    { permissions: { read: ['/a,--allow-child-process'] } },
    { permissions: { read: ['/a\0b'] } },
    { permissions: { read: [''] } },
    { permissions: { write: Array(257).fill('/a') } },
    { permissions: { childProcess: 'yes' } },
    { permissions: [] },
    { init: 'code' },
    { init: { kind: 'command', source: 'x' } },
    { init: { kind: 'code' } },
  ])('%j from another peer is refused', (fields) => {
    expect(() => checkEvent({ type: 'start', spec })).not.toThrow()
    expect(() => checkEvent({ type: 'start', spec: { ...spec, ...fields } })).toThrow(/does not fit/)
  })
})

describe('throttle', () => {
  const nap = async (ctx: ScriptContext): Promise<void> => ctx.sleep(60_000)
  const working = (jobs: readonly Job[]): number => jobs.filter(({ state }) => state === 'Running').length
  const started = (target: Pick<Session, 'start'>, count: number): Promise<Job[]> =>
    Promise.all(Array.from({ length: count }, () => target.start(nap, { engine: 'thread' })))

  test.each(['our own', "another peer's session"])(
    'of the thread jobs of %s: more begin at once, fewer when those at work have ended',
    async (where) => {
      const target = where === 'our own' ? here : session
      await target.setThrottle(1)
      const jobs = await started(target, 5)
      await jobs[0]!.wait({ for: ['Running'] })
      expect(jobs.map(({ state }) => state)).toEqual(['Running', ...Array(4).fill('NotStarted')])
      await target.setThrottle(3)
      await jobs[2]!.wait({ for: ['Running'] })
      expect(working(jobs)).toBe(3)
      await target.setThrottle(1)
      await jobs[0]!.stop({ grace: 0 })
      await jobs[1]!.stop({ grace: 0 })
      expect(jobs[3]!.state).toBe('NotStarted')
      await jobs[2]!.stop({ grace: 0 })
      await jobs[3]!.wait({ for: ['Running'] })
      expect(working(jobs)).toBe(1)
      await Promise.all(jobs.map((job) => job.stop({ grace: 0 })))
      await target.setThrottle(5)
    },
  )

  test('of a job of several targets, while it runs', async () => {
    const targets = [session, await here.connect('far'), await here.connect('far')]
    const job = await here.start(nap, { on: targets, throttle: 1 })
    await job.children[0]!.wait({ for: ['Running'] })
    expect(working(job.children)).toBe(1)
    await job.setThrottle(3)
    await job.children[2]!.wait({ for: ['Running'] })
    expect(working(job.children)).toBe(3)
    await job.stop({ grace: 0 })
    expect(codeOf(await refusal('ended', () => job.setThrottle(1)))).toBe('JOB_STATE')
    for (const one of targets.slice(1)) await one.close()
  })

  test('is a whole number from 1 to 1 000 000', async () => {
    for (const most of [0, -1, 1.5, 1_000_001, Number.NaN, '2' as never]) {
      expect(codeOf(await refusal(`throttle ${most}`, () => here.setThrottle(most)))).toBe('USAGE')
      expect(() => checkEvent({ type: 'throttle', most })).toThrow(/does not fit/)
    }
  })
})
