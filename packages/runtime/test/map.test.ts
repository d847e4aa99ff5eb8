// One script for many inputs.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HELD_MOST } from '../src/engine/map.ts'
import { createPeer, memoryStore, type JobRecord, type ScriptContext } from '../src/index.ts'
import { range } from './support/numbers.ts'
import { Peers, all, outputs, refusal, until } from './support/peers.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start()
})
afterAll(() => peers.close())

const errors = async (records: AsyncIterable<JobRecord>): Promise<(Error & { item?: number })[]> =>
  (await all(records)).flatMap((record) => (record.kind === 'error' ? [record.error] : []))

describe('map', () => {
  test('P86 calls the script for each input; all outputs come, in any order', async () => {
    const job = await peers.laptop.map(range(1000), (_ctx, i) => i * 2)
    expect(job).toMatchObject({ type: 'PSTaskJob', name: expect.stringContaining('Job') })
    expect((await job.output()).toSorted((a, b) => a - b)).toEqual(range(1000).map((i) => i * 2))
    expect(job.state).toBe('Completed')
  })

  test('ordered: outputs in the order of the inputs, also where the first take longest', async () => {
    const script = async (ctx: ScriptContext, i: number): Promise<number> => {
      await ctx.sleep((20 - i) * 5)
      return i
    }
    const job = await peers.laptop.map(range(20), script, { ordered: true, throttle: 4 })
    expect(await job.output()).toEqual(range(20))
    const many = await peers.laptop.map(range(20_000), (_ctx, i) => i, { ordered: true })
    expect(await many.output()).toEqual(range(20_000))
  })

  test('P101 ten inputs of a while each, five at once: the first five results are of the first five inputs', async () => {
    const gate = peers.gate()
    const script = async (ctx: ScriptContext, i: number): Promise<number> => {
      const { existsSync } = process.getBuiltinModule('node:fs')
      if (i <= 5) while (!existsSync(ctx.cwd)) await ctx.sleep(10)
      return i
    }
    const job = await peers.laptop.map(
      range(10).map((i) => 10 - i),
      script,
      { cwd: gate.path },
    )
    const first: number[] = []
    for await (const record of job.receive({ follow: true, kinds: ['output'], limit: 5 })) {
      if (record.kind === 'output') first.push(record.value)
    }
    expect(first.every((i) => i > 5)).toBe(true)
    await gate.open()
    await job.finished
    expect(job.state).toBe('Completed')
  })

  test('a generator for an item: its yields are outputs', async () => {
    const job = await peers.laptop.map([2, 3], async function* (_ctx: ScriptContext, count: number) {
      for (let i = 0; i < count; i++) yield `${count}.${i}`
    })
    expect((await job.output()).toSorted()).toEqual(['2.0', '2.1', '3.0', '3.1', '3.2'])
  })

  test('P90 an item that throws is an error with its place; the others go on, and the job has failed in the end', async () => {
    const job = await peers.laptop.map(range(100), (_ctx, i) => {
      if (i % 10 === 3) throw Object.assign(new RangeError(`not ${i}`), { code: 'NOT' })
      return i
    })
    await job.finished
    expect(job.state).toBe('Failed')
    expect(job.reason).toMatchObject({ code: 'ITEMS_FAILED', failed: 10, message: '10 of 100 items failed' })
    const said = await errors(job.receive({ keep: true }))
    expect(said.map(({ item }) => item).toSorted((a, b) => a! - b!)).toEqual(range(10).map((i) => i * 10 + 3))
    expect(said[0]).toMatchObject({ name: 'RangeError', code: 'NOT' })
    expect(await outputs(job)).toHaveLength(90)
  })

  test('a script that cannot be run fails the job at once, not each of its items', async () => {
    const job = await peers.laptop.map(range(1000), (_ctx, i) => i, { using: {}, cwd: '/' })
    await job.finished
    expect(job.state).toBe('Completed')
    const limit = 3
    expect(await refusal('a free name', () => peers.laptop.map([1], (_ctx, i) => i > limit))).toMatchObject({
      code: 'FREE_VARIABLE',
    })
    expect(await refusal('no function', () => peers.laptop.map([1], ['ls'] as never))).toMatchObject({ code: 'USAGE' })
    expect(await refusal('throttle', () => peers.laptop.map([1], () => 1, { throttle: 0 }))).toMatchObject({
      code: 'USAGE',
    })
  })

  test('an item that takes too long has failed TIMEOUT, whether it can be told so or not', async () => {
    const script = async (ctx: ScriptContext, i: number): Promise<number> => {
      if (i === 1) await ctx.sleep(60_000)
      if (i === 2) for (;;);
      return i
    }
    const job = await peers.laptop.map(range(5), script, { itemTimeout: 200 })
    await job.finished
    expect(job.reason).toMatchObject({ code: 'ITEMS_FAILED', failed: 2 })
    const said = await errors(job.receive({ keep: true }))
    expect(new Set(said.map(({ item }) => item))).toEqual(new Set([1, 2]))
    expect(said.every((error) => (error as Error & { code: string }).code === 'TIMEOUT')).toBe(true)
    expect(new Set(await outputs(job))).toEqual(new Set([0, 3, 4]))
  })

  test('an item that ends its thread is lost, and no other', async () => {
    const script = async (ctx: ScriptContext, i: number): Promise<number> => {
      if (i === 4) process.exit(7)
      await ctx.sleep(20)
      return i
    }
    const job = await peers.laptop.map(range(12), script, { throttle: 3 })
    await job.finished
    expect(job.state).toBe('Failed')
    const said = await errors(job.receive({ keep: true }))
    expect(said.map(({ item }) => item)).toEqual([4])
    expect(said[0]).toMatchObject({ code: 'ENGINE_EXIT' })
    expect((await outputs(job)).toSorted((a, b) => (a as number) - (b as number))).toEqual(
      range(12).filter((i) => i !== 4),
    )
  })

  test('inputs are read only as fast as they are dealt with, and no further when the job is stopped', async () => {
    let given = 0
    let left = false
    const job = await peers.laptop.map(
      (function* () {
        try {
          for (;;) {
            given++
            yield new Uint8Array(16 * 1024)
          }
        } finally {
          left = true
        }
      })(),
      (ctx: ScriptContext) => ctx.sleep(60_000),
      { throttle: 2 },
    )
    let before = -1
    await until('the source stands still', async () => {
      const still = given === before
      before = given
      await new Promise((resolve) => setTimeout(resolve, 200))
      return still && given > 2
    })
    expect(given).toBeLessThan(256)
    expect((await job.stop({ grace: 0 })).state).toBe('Stopped')
    await until('the source was let go of', () => left)
  })

  /** How many a source has given when it has given no more for a while. */
  async function stands(given: () => number): Promise<number> {
    let before = -1
    await until('the source stands still', async () => {
      const still = given() === before
      before = given()
      await new Promise((resolve) => setTimeout(resolve, 500))
      return still && before > 0
    })
    return before
  }

  test('nobody reads: the log holds the map back, and that its source; read on, and it goes on to its end', async () => {
    const COUNT = 1200
    await using peer = await createPeer({ store: memoryStore({ logLimit: 256 * 1024 }) })
    let given = 0
    const job = await peer.map(
      (async function* () {
        for (; given < COUNT; given++) yield { given, filling: new Uint8Array(8 * 1024) }
      })(),
      (_ctx, { given }) => ({ given, filling: new Uint8Array(8 * 1024) }),
    )
    // 256 KiB of the log, as much credit for each of five threads, as much input on its way, and what is between.
    expect(await stands(() => given)).toBeLessThan(800)
    const { items } = (await peer.job(job.id)).snapshot
    expect(items!.taken).toBeLessThanOrEqual(given)
    const said = await outputs(job)
    expect(said.map((one) => one.given).toSorted((a, b) => a - b)).toEqual(range(COUNT))
    expect(job.snapshot).toMatchObject({ state: 'Completed', items: { taken: COUNT, done: COUNT } })
  })

  test('ordered, and the first takes long: the others wait when they are far enough ahead, and lose nothing', async () => {
    const COUNT = 900
    const gate = peers.gate()
    let given = 0
    const job = await peers.laptop.map(
      (function* () {
        for (; given < COUNT; given++) yield { given, filling: new Uint8Array(8 * 1024) }
      })(),
      async (ctx, { given }) => {
        const { existsSync } = process.getBuiltinModule('node:fs')
        if (given === 0) while (!existsSync(ctx.cwd)) await ctx.sleep(10)
        return { given, filling: new Uint8Array(16 * 1024) }
      },
      { ordered: true, throttle: 3, cwd: gate.path },
    )
    expect(await stands(() => given)).toBeLessThan(600)
    expect((await job.receive({ keep: true })[Symbol.asyncIterator]().next()).done).toBe(true)
    await gate.open()
    expect((await job.output()).map((one) => one.given)).toEqual(range(COUNT))
  })

  test('ordered, with nothing to say: no more than so many parts are done before the first is', async () => {
    const gate = peers.gate()
    const job = await peers.laptop.map(
      range(3 * HELD_MOST),
      async (ctx, i) => {
        const { existsSync } = process.getBuiltinModule('node:fs')
        if (i === 0) while (!existsSync(ctx.cwd)) await ctx.sleep(10)
      },
      // With a time limit each item is a part.
      { ordered: true, throttle: 2, itemTimeout: '5m', cwd: gate.path },
    )
    const done = async (): Promise<number> => (await peers.laptop.job(job.id)).snapshot.items!.done
    await until('as many are done', async () => (await done()) === HELD_MOST - 1)
    expect((await peers.laptop.job(job.id)).snapshot.items).toMatchObject({ done: HELD_MOST - 1, running: 1 })
    await gate.open()
    expect((await job.wait()).items).toMatchObject({ done: 3 * HELD_MOST })
  })

  test('a source that fails fails the job, behind what was done', async () => {
    const job = await peers.laptop.map(
      (function* () {
        yield 1
        throw new RangeError('no more')
      })(),
      (_ctx, i) => i,
    )
    await job.finished
    expect(job).toMatchObject({ state: 'Failed', reason: expect.objectContaining({ message: 'no more' }) })
    expect(await outputs(job)).toEqual([1])
  })

  test('no inputs: completed, with nothing', async () => {
    const job = await peers.laptop.map([], (_ctx, i) => i)
    expect(await job.output()).toEqual([])
    expect(job.state).toBe('Completed')
  })

  test("another job's outputs are its inputs", async () => {
    const numbers = await peers.laptop.start(async function* () {
      for (let i = 0; i < 100; i++) yield i
    })
    const job = await peers.laptop.map(numbers, (_ctx, i) => i + 1, { ordered: true })
    expect(await job.output()).toEqual(range(100).map((i) => i + 1))
  })

  test('stands still and goes on', async () => {
    const job = await peers.laptop.map(
      range(400),
      async (ctx: ScriptContext, i: number) => {
        await ctx.sleep(20)
        return i
      },
      { ordered: true },
    )
    await until('it is under way', async () => (await all(job.receive({ keep: true }))).length > 3)
    expect((await job.suspend()).state).toBe('Suspended')
    await job.resume()
    expect(await job.output()).toEqual(range(400))
  })
})
