// The items of a map as its job shows them: counted, listed where they failed; and how many of them are under way at once.
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ScriptContext } from '../src/index.ts'
import { MapItems, ITEM_ROWS } from '../src/map-items.ts'
import { orderedNumbers, range } from './support/numbers.ts'
import { Peers, outputs, refusal, until } from './support/peers.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start()
})
afterAll(() => peers.close())

const lines = (path: string): string[] => (existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [])

describe('items of a map', () => {
  test('a row only where one failed, in pages; all others are counted', async () => {
    const job = await peers.laptop.map(range(500), (_ctx, i) => {
      if (i % 5 === 2) throw Object.assign(new TypeError(`not ${i}`), { code: 'NOT' })
      return i
    })
    await job.finished
    expect(job.snapshot.items).toEqual({ taken: 500, done: 400, failed: 100, running: 0, queued: 0 })
    expect(job.children).toEqual([])
    expect(job.errorCount).toBe(100)
    const rows = [...(await job.items({ limit: 60 })), ...(await job.items({ from: 60, limit: 60 }))]
    expect(orderedNumbers(rows.map(({ index }) => index))).toEqual(range(100).map((i) => i * 5 + 2))
    for (const { index, name, state, reason, seq, endedAt } of rows) {
      expect({ name, state }).toEqual({ name: `${job.name}.${index + 1}`, state: 'Failed' })
      expect(reason).toMatchObject({ name: 'TypeError', message: `not ${index}`, code: 'NOT', item: index })
      expect(endedAt).toBeInstanceOf(Date)
      const [record] = await Array.fromAsync(job.receive({ from: seq, limit: 1 }))
      expect(record).toMatchObject({ kind: 'error', seq, error: expect.objectContaining({ item: index }) })
    }
    expect(await job.items({ from: 100 })).toEqual([])
    // Of the same job once it is only listed.
    const listed = await peers.laptop.job(job.id)
    expect(await listed.items({ from: 99 })).toEqual(rows.slice(99))
    expect((await peers.laptop.jobs({ id: job.id }))[0]!.snapshot.items).toEqual(job.snapshot.items)
  })

  test('while it works: what runs and what waits, as of now', async () => {
    const gate = peers.gate()
    const job = await peers.laptop.map(
      range(10),
      async (ctx: ScriptContext, i: number) => {
        const { existsSync } = process.getBuiltinModule('node:fs')
        if (i === 1) throw new Error('no')
        while (i > 3 && !existsSync(GATE)) await ctx.sleep(5)
      },
      { throttle: 2, using: { GATE: gate.path } },
    )
    const now = async (): Promise<unknown> => (await peers.laptop.job(job.id)).snapshot.items
    await until('two wait for the gate', async () => {
      const items = (await now()) as { running: number; done: number; failed: number }
      return items.running === 2 && items.done === 3 && items.failed === 1
    })
    expect(await now()).toEqual({ taken: 10, done: 3, failed: 1, running: 2, queued: 4 })
    expect((await job.items()).map(({ index }) => index)).toEqual([1])
    await gate.open()
    await job.finished
    expect(job.snapshot.items).toEqual({ taken: 10, done: 9, failed: 1, running: 0, queued: 0 })
  })

  test('what a script says with ctx.error is no failed item, whatever it looks like', async () => {
    const job = await peers.laptop.map(range(4), (ctx: ScriptContext, i: number) => {
      ctx.error(Object.assign(new Error('only said'), { item: i }))
    })
    await job.finished
    expect(job.state).toBe('Completed')
    expect(job.snapshot).toMatchObject({ errorCount: 4, items: { done: 4, failed: 0 } })
    expect(await job.items()).toEqual([])
  })

  test('what is no map has none, and bad questions are refused', async () => {
    const job = await peers.laptop.start(() => 1, { engine: 'thread' })
    await job.finished
    expect(job.snapshot.items).toBeUndefined()
    expect(await refusal('items', () => job.items())).toMatchObject({ code: 'JOB_STATE' })
    expect(await refusal('throttle', () => job.setThrottle(3))).toMatchObject({ code: 'JOB_STATE' })
    const map = await peers.laptop.map([1], () => 1)
    await map.finished
    expect(await refusal('too late', () => map.setThrottle(3))).toMatchObject({ code: 'JOB_STATE' })
    for (const items of [0, 1025, 1.5, '3']) {
      expect(await refusal('throttle', () => map.setThrottle(items as never))).toMatchObject({ code: 'USAGE' })
    }
    for (const o of [{ from: -1 }, { limit: 0 }, { limit: 1001 }]) {
      expect(await refusal('items', () => map.items(o))).toMatchObject({ code: 'USAGE' })
    }
  })

  test('rows are bounded, the count is not', () => {
    const items = new MapItems()
    for (let i = 0; i < ITEM_ROWS + 10; i++) {
      items.taken++
      items.ended++
      items.failed++
      items.add(i, i)
    }
    expect(items.counts()).toMatchObject({ failed: ITEM_ROWS + 10, done: 0 })
    expect(items.rows(ITEM_ROWS - 2, 100)).toEqual([
      { index: ITEM_ROWS - 2, seq: ITEM_ROWS - 2 },
      { index: ITEM_ROWS - 1, seq: ITEM_ROWS - 1 },
    ])
  })
})

describe('items at once', () => {
  /** Notes that it is there, and waits until as many have been as the gate's file says. */
  async function together(ctx: ScriptContext, i: number): Promise<number> {
    const { appendFileSync, existsSync, readFileSync } = process.getBuiltinModule('node:fs')
    appendFileSync(LOG, `${i}\n`)
    for (;;) {
      const wanted = existsSync(GATE) ? Number(readFileSync(GATE, 'utf8')) : Infinity
      if (readFileSync(LOG, 'utf8').split('\n').length > wanted) return i
      await ctx.sleep(5)
    }
  }

  test('more than there are threads: those that wait share them', async () => {
    const [LOG, GATE] = [peers.path('log'), peers.path('gate')]
    appendFileSync(GATE, '40')
    const job = await peers.laptop.map(range(40), together, { throttle: 40, using: { LOG, GATE } })
    expect(orderedNumbers(await job.output())).toEqual(range(40))
  })

  test('never more than the throttle says, and as many as it says from when it is set', async () => {
    const [LOG, GATE] = [peers.path('log'), peers.path('gate')]
    const job = await peers.laptop.map(range(30), together, { throttle: 2, using: { LOG, GATE } })
    await until('two are under way', () => lines(LOG).length === 2)
    await job.setThrottle(7)
    await until('seven are under way', () => lines(LOG).length === 7)
    expect((await peers.laptop.job(job.id)).snapshot.items).toMatchObject({ running: 7, queued: 23 })
    await job.setThrottle(1)
    appendFileSync(GATE, '7')
    expect(orderedNumbers(await outputs(await Array.fromAsync(job.receive({ follow: true }))))).toEqual(range(30))
    expect(job.state).toBe('Completed')
  })

  test('one that takes too long among many that share a thread has failed alone', async () => {
    const job = await peers.laptop.map(
      range(60),
      async (ctx: ScriptContext, i: number) => {
        await ctx.sleep(i === 33 ? 60_000 : 5)
        return i
      },
      { throttle: 30, itemTimeout: 3_000 },
    )
    await job.finished
    expect((await job.items()).map(({ index, reason }) => [index, (reason as { code?: string }).code])).toEqual([
      [33, 'TIMEOUT'],
    ])
    expect(await outputs(job)).toHaveLength(59)
  })
})

declare const LOG: string
declare const GATE: string
