// What the kinds of jobs have in common and what not, as PowerShell's cases have it: failures that stay where they are,
// values that are copies, threads, maps. Where errand differs on purpose the title says so, and docs/POWERSHELL.md why.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { className, codeOf, type JobRecord, type ScriptContext } from '../src/index.ts'
import { Peers, all, outputs, refusal, until } from './support/peers.ts'
import { pair, type Pair } from './support/pair.ts'
import { pidOf } from './support/scripts.ts'

/** In `using` of scripts that wait. */
declare const GATE: string

let peers: Peers
let two: Pair
beforeAll(async () => {
  ;[peers, two] = await Promise.all([Peers.start(), pair()])
})
afterAll(async () => {
  await two[Symbol.asyncDispose]()
  await peers.close()
})

const thread = { engine: 'thread' } as const
const places = [
  ['as a thread', { engine: 'thread' }],
  ['as a process', { engine: 'process' }],
  ['on another peer', { on: 'far' }],
] as const

const errorsOf = (records: readonly JobRecord[]): (Error & { item?: number })[] =>
  records.flatMap((record) => (record.kind === 'error' ? [record.error] : []))
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

describe('one that fails', () => {
  test('S5 fails alone: thrown in a thread, killed as a process; the one elsewhere completes, and its caller works on', async () => {
    const { here } = two
    const thrown = await here.start(() => {
      throw new Error('mine')
    }, thread)
    const killed = await here.start(async function* (ctx: ScriptContext) {
      yield process.pid
      await ctx.sleep(600_000)
    })
    const [pid] = await outputs(killed.receive({ follow: true, limit: 1 }))
    process.kill(pid!, 'SIGKILL')
    const fine = await here.start(() => 'fine', { on: 'far' })
    await Promise.all([thrown, killed, fine].map((job) => job.finished))
    expect([thrown, killed, fine].map(({ state }) => state)).toEqual(['Failed', 'Failed', 'Completed'])
    expect(thrown.reason?.message).toBe('mine')
    expect(killed.reason).toMatchObject({ code: 'ENGINE_EXIT', signal: 'SIGKILL' })
    expect(await here.run(() => 'works')).toBe('works')
  })

  test('of several children fails the parent when all are done: the reason is the child’s, and the parent lists it', async () => {
    const job = await two.here.start(
      (ctx: ScriptContext) => {
        if (ctx.location === 'far') throw new RangeError('not here')
        return ctx.location
      },
      { on: ['far', 'far'] },
    )
    await job.finished
    expect(job.children.map(({ state, reason }) => [state, reason?.message])).toEqual([
      ['Failed', 'not here'],
      ['Failed', 'not here'],
    ])
    expect(job.reason).toMatchObject({ code: 'CHILD_JOB', errors: job.children.map(({ reason }) => reason) })
  })
})

describe.each(places)('values %s', (_, where) => {
  test('S6 an object with methods arrives as its data, the methods marked; changing it does not change the job’s', async () => {
    const job = await two.here.start(function* () {
      const given = { a: 1, double: () => 2, deep: { b: [1] } }
      yield given
      yield given
    }, where)
    const [first, second] = (await job.output()) as unknown as { a: number; double: unknown; deep: { b: number[] } }[]
    expect(first).toEqual({ a: 1, double: { $dropped: 'function double' }, deep: { b: [1] } })
    first!.a = 7
    first!.deep.b.push(2)
    expect(second).toMatchObject({ a: 1, deep: { b: [1] } })
    expect(await job.output()).toMatchObject([{ a: 1 }, { a: 1 }])
  })

  test('S7 P135 differs: a graph arrives whole, however deep, and is a copy, from a thread too; a class by its name', async () => {
    const job = await two.here.start(() => {
      class Item {
        below: unknown = undefined
      }
      const top = new Item()
      let at = top
      for (let depth = 0; depth < 30; depth++) at = (at.below = new Item()) as Item
      at.below = new Date(0)
      const many = Array.from({ length: 20_000 }, (_, i) => ({ i, text: `item ${i}` }))
      return { top, many, map: new Map([[{ key: 1 }, new Set([1n])]]) }
    }, where)
    const [value] = (await job.output()) as unknown as [
      { top: { below: unknown }; many: unknown[]; map: Map<unknown, unknown> },
    ]
    let at: unknown = value.top
    for (let depth = 0; depth < 30; depth++) {
      expect(className(at)).toBe('Item')
      at = (at as { below: unknown }).below
    }
    expect((at as { below: unknown }).below).toEqual(new Date(0))
    expect(value.many).toHaveLength(20_000)
    expect(value.many.at(-1)).toEqual({ i: 19_999, text: 'item 19999' })
    expect([...value.map]).toEqual([[{ key: 1 }, new Set([1n])]])
  })

  test('P85 differs: what is passed with `using` or as an argument is a copy made at the call, for a thread too', async () => {
    const shared = { n: 1 }
    const started = two.here.start(
      (_ctx, given: { n: number }) => {
        given.n += 10
        shared.n += 100
        return [given.n, shared.n]
      },
      { ...where, args: [shared], using: { shared } },
    )
    shared.n = 5
    // One copy of both: within a call an object is itself.
    expect(await (await started).output()).toEqual([[111, 111]])
    expect(shared).toEqual({ n: 5 })
  })

  test('P133 differs: an output is the value as it was; where it comes from is said by the record', async () => {
    const job = await two.here.start(() => 2, where)
    await job.finished
    const [record] = await all(job.receive({ keep: true }))
    const source = job.children[0] ?? job
    expect(record).toEqual({
      seq: 0,
      at: expect.any(Date),
      kind: 'output',
      value: 2,
      location: 'on' in where ? 'far' : 'localhost',
      jobId: source.instanceId,
    })
  })
})

describe('threads', () => {
  test('P79 P84 at most five at once, of the rest none has begun; when all are done none of their threads is left', async () => {
    const gate = peers.gate()
    const script = async (ctx: ScriptContext, path: string): Promise<number> => {
      const { existsSync } = process.getBuiltinModule('node:fs')
      while (!existsSync(path)) await ctx.sleep(10)
      return process.getBuiltinModule('node:worker_threads').threadId
    }
    const jobs = await Promise.all(range(8).map(() => peers.laptop.start(script, { ...thread, args: [gate.path] })))
    await until('five run', () => jobs.filter(({ state }) => state === 'Running').length === 5)
    expect(jobs.slice(5).map(({ state, begunAt }) => [state, begunAt])).toEqual(
      range(3).map(() => ['NotStarted', undefined]),
    )
    await gate.open()
    const threads = (await Promise.all(jobs.map((job) => job.output()))).flat()
    expect(new Set(threads).size, 'a thread for each at once, and no more').toBeLessThanOrEqual(8)
    expect(jobs.map(({ state }) => state)).toEqual(range(8).map(() => 'Completed'))
  })

  test('P84 a script has the whole language, and what it leaves behind is not there for the next', async () => {
    const script = (): string => {
      const own = globalThis as { left?: string }
      const was = own.left
      own.left = 'behind'
      return `${was} ${process.getBuiltinModule('node:vm').runInThisContext('1 + 1')}`
    }
    for (const where of [thread, {}, { on: 'far' }]) {
      expect(await (await two.here.start(script, where)).output()).toEqual(['undefined 2'])
      expect(await (await two.here.start(script, where)).output()).toEqual(['undefined 2'])
    }
  })
})

describe('maps', () => {
  test('P87 three deep, each with a value of its own by the same name', async () => {
    const job = await peers.laptop.start(async (ctx: ScriptContext) => {
      const level = 1
      const inner = await ctx.session.start(
        async (own: ScriptContext) => {
          const outer = level
          const below = outer + 1
          const innermost = await own.session.start(() => below + 1, { engine: 'thread', using: { below } })
          return [outer, below, ...(await innermost.output())]
        },
        { engine: 'thread', using: { level } },
      )
      return inner.output()
    }, thread)
    expect(await job.output()).toEqual([[[1, 2, 3]]])
  })

  test('P88 a name that only the caller’s caller has is refused at its own level, and fails that job alone', async () => {
    const far = 1
    const job = await peers.laptop.start(
      async (ctx: ScriptContext) => {
        const script = process.getBuiltinModule('node:vm').runInThisContext('() => missing') as () => unknown
        try {
          await ctx.session.start(script, { engine: 'thread' })
          return 'it was started'
        } catch (error) {
          return [far, (error as { code?: string }).code]
        }
      },
      { ...thread, using: { far } },
    )
    expect(await job.output()).toEqual([[1, 'FREE_VARIABLE']])
  })

  test('P91 warnings, verbose, debug and information of its items are told while it goes on', async () => {
    const gate = peers.gate()
    const job = await peers.laptop.map(
      [1, 2],
      async (ctx: ScriptContext, i) => {
        ctx.warn(`w${i}`)
        ctx.verbose(`v${i}`)
        ctx.debug(`d${i}`)
        ctx.info(`i${i}`)
        const { existsSync } = process.getBuiltinModule('node:fs')
        while (!existsSync(ctx.cwd)) await ctx.sleep(10)
      },
      { cwd: gate.path },
    )
    const said: JobRecord[] = []
    for await (const record of job.receive({ follow: true, limit: 8 })) said.push(record)
    expect(job.state).toBe('Running')
    for (const i of [1, 2]) {
      const own = said.flatMap((one) => ('value' in one && String(one.value).endsWith(String(i)) ? [one.kind] : []))
      expect(own).toEqual(['warning', 'verbose', 'debug', 'information'])
    }
    await gate.open()
    expect((await job.finished).state).toBe('Completed')
  })

  test('P92 a function cannot be passed: with `using` it is refused by its path, as an input it fails the job', async () => {
    const twice = (i: number): number => i * 2
    expect(
      await refusal('a function in using', () => peers.laptop.map([1], (_ctx, i) => twice(i), { using: { twice } })),
    ).toMatchObject({ code: 'NOT_TRANSFERABLE', message: expect.stringContaining('using.twice') })
    const job = await peers.laptop.map([1, () => 2], (_ctx, i) => i)
    await job.finished
    expect([job.state, codeOf(job.reason)]).toEqual(['Failed', 'NOT_TRANSFERABLE'])
  })

  test('P94 differs: a map may have a limit for all of it, as any job; then it has Failed TIMEOUT', async () => {
    const job = await peers.laptop.map([1, 2, 3], (ctx: ScriptContext) => ctx.sleep(600_000), { deadline: 300 })
    await job.finished
    expect([job.state, codeOf(job.reason)]).toEqual(['Failed', 'TIMEOUT'])
  })

  test('P95 it is a job like any other: listed, found by its number and its name', async () => {
    const job = await peers.laptop.map([1], (_ctx, i) => i, { name: 'p95' })
    expect((await peers.laptop.jobs({ name: 'p95' })).map(({ id }) => id)).toEqual([job.id])
    expect(await peers.laptop.job('p95')).toBe(job)
    expect(await outputs(job.receive({ follow: true }))).toEqual([1])
  })

  test('P97 items that only say errors: those are records, and it completes', async () => {
    const job = await peers.laptop.map([1, 2], (ctx: ScriptContext, i) => ctx.error(new Error(`Error:${i}`)))
    const said = errorsOf(await all(job.receive({ follow: true })))
    expect(said.map(({ message }) => message).toSorted()).toEqual(['Error:1', 'Error:2'])
    expect(job).toMatchObject({ state: 'Completed', errorCount: 2 })
  })

  test('P99 as many threads as may work at once, used again for the items that follow', async () => {
    const gate = peers.gate()
    const script = async (ctx: ScriptContext): Promise<number> => {
      while (!process.getBuiltinModule('node:fs').existsSync(GATE)) await ctx.sleep(5)
      return process.getBuiltinModule('node:worker_threads').threadId
    }
    const job = await peers.laptop.map(range(12), script, { throttle: 2, using: { GATE: gate.path } })
    await until('two are at work', async () => (await peers.laptop.job(job.id)).snapshot.items?.running === 2)
    await gate.open()
    const threads = await job.output()
    expect(threads).toHaveLength(12)
    expect(new Set(threads).size).toBe(2)
  })

  test('P102 one at once, and time enough for the first only: its output, and then the error of those that took too long', async () => {
    const job = await peers.laptop.map(
      [1, 2],
      async (ctx: ScriptContext, i) => {
        if (i === 2) await ctx.sleep(600_000)
        return `Output ${i}`
      },
      { throttle: 1, itemTimeout: 500 },
    )
    const records = await all(job.receive({ follow: true }))
    expect(records.map(({ kind }) => kind)).toEqual(['output', 'error'])
    expect(await outputs(records)).toEqual(['Output 1'])
    expect(errorsOf(records).map((error) => [codeOf(error), error.item])).toEqual([['TIMEOUT', 1]])
  })

  test('a process of its own is none of the caller’s for a map either: its items run in threads of this process', async () => {
    const job = await peers.laptop.map([1], pidOf)
    expect(await job.output()).toEqual([process.pid])
  })
})
