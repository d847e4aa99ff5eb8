// One map that several peers share.
import { existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JobRecord, ScriptContext } from '../src/index.ts'
import { orderedNumbers, range } from './support/numbers.ts'
import { Peers, all, outputs, refusal, until } from './support/peers.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start('server01', 'server02')
})
afterAll(() => peers.close())

const on = ['server01', 'server02']
const begun = (path: string): string[] => (existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [])
const warnings = (records: readonly JobRecord[]): unknown[] =>
  records.flatMap((record) => (record.kind === 'warning' ? [record.value] : []))

describe('a map on several peers', () => {
  test('each input is done once, by whoever has room, and both take part', async () => {
    const job = await peers.laptop.map(
      range(300),
      async (ctx: ScriptContext, i: number) => {
        await ctx.sleep(2)
        return { i, where: ctx.location }
      },
      { on, throttle: 2 },
    )
    expect(job).toMatchObject({ type: 'PSTaskJob', location: 'server01,server02' })
    const said = await job.output()
    expect(orderedNumbers(said.map(({ i }) => i))).toEqual(range(300))
    expect(new Set(said.map(({ where }) => where))).toEqual(new Set(on))
    expect(job.snapshot).toMatchObject({
      state: 'Completed',
      items: { taken: 300, done: 300, failed: 0, running: 0, queued: 0 },
    })
  })

  test('ordered: in the order of the inputs, wherever they were done', async () => {
    const job = await peers.laptop.map(
      range(2000),
      function* (ctx: ScriptContext, i: number) {
        yield i
        if (i % 3 === 0) yield `${ctx.location}`
      },
      { on, ordered: true, throttle: 2 },
    )
    const said = await job.output()
    expect(said.filter((value) => typeof value === 'number')).toEqual(range(2000))
    expect(said).toHaveLength(2000 + 667)
  })

  test('an item that fails there, by throwing or by ending its thread, is a failed item here with its place', async () => {
    const job = await peers.laptop.map(
      range(100),
      (_ctx, i) => {
        if (i === 20) throw new RangeError('no')
        if (i === 60) process.exit(1)
        return i
      },
      { on, throttle: 2 },
    )
    await job.finished
    expect(job.state).toBe('Failed')
    expect(job.reason).toMatchObject({ code: 'ITEMS_FAILED', failed: 2, message: '2 of 100 items failed' })
    const rows = (await job.items()).toSorted((a, b) => a.index - b.index)
    expect(rows.map(({ index, reason }) => [index, reason?.message.slice(0, 17)])).toEqual([
      [20, 'no'],
      [60, 'item 60 was lost:'],
    ])
    expect(orderedNumbers(await outputs(job))).toEqual(range(100).filter((i) => i !== 20 && i !== 60))
  })

  test('a peer that is not there takes no part: a warning, and the others do it all', async () => {
    const third = await peers.add('server03')
    await third.kill()
    const job = await peers.laptop.map(range(50), (_ctx, i) => i, { on: ['server03', 'server01'], throttle: 1 })
    await job.finished
    expect(job.state).toBe('Completed')
    const records = await all(job.receive({ keep: true }))
    expect(orderedNumbers(await outputs(records))).toEqual(range(50))
    // Where the map is over before it is known, nobody waits to hear it.
    for (const warning of warnings(records)) expect(warning).toContain('server03')
    const alone = await peers.laptop.map(range(5), (_ctx, i) => i, { on: 'server03', throttle: 1 })
    await alone.finished
    expect(alone).toMatchObject({ state: 'Failed', reason: expect.objectContaining({ code: 'PEER_UNREACHABLE' }) })
  })

  test('a peer that is lost: what it had and had not said to be done has failed, and is done by nobody else', async () => {
    const [LOG, gate] = [peers.path('begun'), peers.gate()]
    const fourth = await peers.add('server04')
    const job = await peers.laptop.map(
      range(60),
      async (ctx: ScriptContext, i: number) => {
        const { appendFileSync, existsSync } = process.getBuiltinModule('node:fs')
        appendFileSync(LOG, `${i} ${ctx.location}\n`)
        while (!existsSync(GATE)) await ctx.sleep(5)
        return i
      },
      { on: ['server01', 'server04'], throttle: 3, lostAfter: '1s', using: { LOG, GATE: gate.path } },
    )
    await until('each has three', () => begun(LOG).length === 6)
    const there = begun(LOG).flatMap((line) => (line.endsWith('server04') ? [Number.parseInt(line, 10)] : []))
    expect(there).toHaveLength(3)
    await fourth.kill()
    await until('its items have failed', async () => (await peers.laptop.job(job.id)).snapshot.items?.failed === 3)
    expect(job.state).toBe('Running')
    await gate.open()
    await job.finished
    const rows = await job.items()
    expect(rows.map(({ index }) => index).toSorted((a, b) => a - b)).toEqual(there.toSorted((a, b) => a - b))
    expect(rows.every(({ reason }) => (reason as { code?: string }).code === 'PEER_LOST')).toBe(true)
    const records = await all(job.receive({ keep: true }))
    expect(orderedNumbers(await outputs(records))).toEqual(range(60).filter((i) => !there.includes(i)))
    expect(warnings(records)).toEqual([expect.stringContaining('server04')])
    expect(orderedNumbers(begun(LOG).map((line) => Number.parseInt(line, 10)))).toEqual(range(60))
    expect(job.snapshot.items).toEqual({ taken: 60, done: 57, failed: 3, running: 0, queued: 0 })
  })

  test('disconnected from all of its sessions it is Disconnected, and goes on when they are back', async () => {
    const gate = peers.gate()
    const session = await peers.laptop.connect('server01')
    const job = await peers.laptop.map(
      range(20),
      async (ctx: ScriptContext, i: number) => {
        const { existsSync } = process.getBuiltinModule('node:fs')
        while (i === 3 && !existsSync(GATE)) await ctx.sleep(5)
        return i
      },
      { on: session, throttle: 2, using: { GATE: gate.path } },
    )
    await until('all but one are done', async () => (await peers.laptop.job(job.id)).snapshot.items?.done === 19)
    await session.disconnect()
    await job.wait({ for: ['Disconnected'] })
    await gate.open()
    await session.connect()
    expect(orderedNumbers(await job.output())).toEqual(range(20))
    expect(job.snapshot.history.map(({ state }) => state)).toContain('Disconnected')
    expect(job.state).toBe('Completed')
    // What was left there is nothing that anybody could take up.
    expect(await session.receive()).toBeUndefined()
    await session.close()
  })

  test('items ask here, wherever they are done, and each gets its own answer', async () => {
    const job = await peers.laptop.map(['a', 'b', 'c'], (ctx: ScriptContext, name) => ctx.ask(`which ${name}?`), { on })
    const answered = new Set<string>()
    while (answered.size < 3) {
      const { question } = await job.wait({ for: ['Blocked'] })
      if (!question || answered.has(question.id)) continue
      answered.add(question.id)
      await job.answer(`this ${question.prompt.slice(6, 7)}`, { question: question.id })
      await until('it is closed', () => job.question?.id !== question.id)
    }
    expect(new Set(await job.output())).toEqual(new Set(['this a', 'this b', 'this c']))
  })

  test('stopped: nothing of it is left on any of them; suspended: it stands still on all', async () => {
    const LOG = peers.path('begun')
    const script = async (ctx: ScriptContext, i: number): Promise<void> => {
      process.getBuiltinModule('node:fs').appendFileSync(LOG, `${i}\n`)
      await ctx.sleep(i < 4 ? 1 : 60_000)
    }
    const job = await peers.laptop.map(range(5000), script, { on, throttle: 2, using: { LOG } })
    await until('four sleep', () => begun(LOG).length >= 8)
    expect((await job.suspend()).state).toBe('Suspended')
    await job.resume()
    const last = await job.stop()
    expect(last).toMatchObject({ state: 'Stopped', items: { running: 0, failed: 0 } })
    expect(begun(LOG).length).toBeLessThan(20)
    await until('no session is left there', async () =>
      (await Promise.all(on.map((name) => peers.laptop.sessions({ on: name })))).every((some) => some.length === 0),
    )
  })

  test('the throttle is each peer’s, also when it is set while it runs; a target that is none is refused', async () => {
    const [LOG, gate] = [peers.path('begun'), peers.gate()]
    const job = await peers.laptop.map(
      range(40),
      async (ctx: ScriptContext, i: number) => {
        const { appendFileSync, existsSync } = process.getBuiltinModule('node:fs')
        appendFileSync(LOG, `${i}\n`)
        while (!existsSync(GATE)) await ctx.sleep(5)
      },
      { on, throttle: 1, using: { LOG, GATE: gate.path } },
    )
    await until('one on each', () => begun(LOG).length === 2)
    await job.setThrottle(3)
    await until('three on each', () => begun(LOG).length === 6)
    await gate.open()
    expect((await job.wait()).state).toBe('Completed')
    expect(await refusal('nowhere', () => peers.laptop.map([1], () => 1, { on: [] }))).toMatchObject({ code: 'USAGE' })
    expect(await refusal('nobody', () => peers.laptop.map([1], () => 1, { on: 'nobody' }))).toMatchObject({
      code: 'PEER_NOT_FOUND',
    })
  })
})

declare const GATE: string
