// A map whose threads die: the item under way has failed, and nothing else of it is lost or done twice.
import { existsSync, readFileSync } from 'node:fs'
import type { Worker } from 'node:worker_threads'
import { createChunkWriter } from '@errand/transport'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EngineExitError } from '../src/errors.ts'
import { MapEngine } from '../src/engine/map.ts'
import { LaneEngine } from '../src/engine/lane.ts'
import { startWorker } from '../src/engine/worker-isolate.ts'
import type { Ending } from '../src/job-machine.ts'
import type { Job, JobRecord, ScriptContext } from '../src/index.ts'
import { outputOf } from '../src/record.ts'
import { orderedNumbers, range } from './support/numbers.ts'
import { Peers, all, outputs, until } from './support/peers.ts'

let peers: Peers
const threads = new Set<Worker>()
const onWorker = (worker: Worker): void => {
  threads.add(worker)
  worker.once('exit', () => threads.delete(worker))
}
beforeAll(async () => {
  process.on('worker', onWorker)
  peers = await Peers.start()
})
afterAll(async () => {
  process.off('worker', onWorker)
  await peers.close()
})

interface Outcome {
  /** Of the items that failed, in the order of the inputs. */
  readonly failed: readonly { readonly item: number; readonly code: string }[]
  /** Numbers that came, sorted. */
  readonly said: readonly number[]
}

async function outcome(job: Job): Promise<Outcome> {
  await job.finished
  const records: JobRecord[] = await all(job.receive({ keep: true }))
  const failed = records.flatMap((record) =>
    record.kind === 'error' ? [record.error as Error & { item: number; code: string }] : [],
  )
  return {
    failed: failed.map(({ item, code }) => ({ item, code })).toSorted((a, b) => a.item - b.item),
    said: orderedNumbers(await outputs(records)),
  }
}

const lost = (...items: number[]): Outcome['failed'] => items.map((item) => ({ item, code: 'ENGINE_EXIT' }))
const without = (count: number, ...items: number[]): number[] => range(count).filter((i) => !items.includes(i))

describe('a map whose threads die', () => {
  test('process.exit in the middle of many small items: exactly that one has failed, the others are done once', async () => {
    const job = await peers.laptop.map(
      range(3000),
      (_ctx, i) => {
        if (i === 700 || i === 2222) process.exit(3)
        return i
      },
      { throttle: 2 },
    )
    const { failed, said } = await outcome(job)
    expect(failed).toEqual(lost(700, 2222))
    expect(said).toEqual(without(3000, 700, 2222))
    expect(job.state).toBe('Failed')
    expect(job.reason).toMatchObject({ code: 'ITEMS_FAILED', failed: 2 })
  })

  test('each item is begun once, also those that another thread takes over', async () => {
    const log = peers.path('begun')
    const job = await peers.laptop.map(
      range(400),
      (_ctx, i) => {
        process.getBuiltinModule('node:fs').appendFileSync(LOG, `${i}\n`)
        if (i % 50 === 17) process.exit(1)
      },
      { using: { LOG: log } },
    )
    const { failed } = await outcome(job)
    expect(failed).toEqual(lost(17, 67, 117, 167, 217, 267, 317, 367))
    const begun = readFileSync(log, 'utf8').trim().split('\n').map(Number)
    expect(orderedNumbers(begun)).toEqual(range(400))
  })

  test('a thread that is ended from outside: what it had said and not sent is there, its item has failed', async () => {
    const mark = peers.path('mark')
    const gate = peers.gate()
    // Small items, then one that lets nothing else run: what the others said is not sent by then.
    const job = await peers.laptop.map(
      range(500),
      (_ctx, i) => {
        if (i !== 300) return i
        const { appendFileSync, existsSync } = process.getBuiltinModule('node:fs')
        appendFileSync(MARK, `${process.getBuiltinModule('node:worker_threads').threadId}`)
        while (!existsSync(GATE));
        return -1
      },
      { using: { MARK: mark, GATE: gate.path }, throttle: 1 },
    )
    await until('it is at that item', () => existsSync(mark) && readFileSync(mark, 'utf8') !== '')
    const id = Number(readFileSync(mark, 'utf8'))
    await [...threads].find(({ threadId }) => threadId === id)!.terminate()
    const { failed, said } = await outcome(job)
    expect(failed).toEqual(lost(300))
    expect(said).toEqual(without(500, 300))
  })

  test('every item kills its thread: each fails once, and the map ends', async () => {
    const job = await peers.laptop.map(range(8), () => process.exit(9), { throttle: 3 })
    const { failed, said } = await outcome(job)
    expect(failed).toEqual(lost(...range(8)))
    expect(said).toEqual([])
    expect(job.reason).toMatchObject({ code: 'ITEMS_FAILED', failed: 8 })
  })

  test('an error that nobody catches, thrown behind an item that waits: that item is lost', async () => {
    const job = await peers.laptop.map(
      range(6),
      async (ctx: ScriptContext, i: number) => {
        if (i === 2)
          setTimeout(() => {
            throw new RangeError('behind its back')
          }, 1)
        await ctx.sleep(i === 2 ? 60_000 : 1)
        return i
      },
      { throttle: 1 },
    )
    const { failed, said } = await outcome(job)
    expect(failed).toEqual(lost(2))
    expect(said).toEqual(without(6, 2))
  })

  test('ordered: what others took over comes in its place', async () => {
    const job = await peers.laptop.map(
      range(600),
      function* (_ctx, i: number) {
        if (i === 50 || i === 51 || i === 400) process.exit(1)
        yield i
        yield 'x'.repeat(2000)
      },
      { ordered: true, throttle: 3 },
    )
    await job.finished
    const records = await all(job.receive({ keep: true }))
    const numbers = (await outputs(records)).filter((value) => typeof value === 'number')
    expect(numbers).toEqual(without(600, 50, 51, 400))
    // Each failure where its outputs would have been.
    const places = records.flatMap((record, at) =>
      record.kind === 'error' ? [{ item: (record.error as Error & { item: number }).item, at }] : [],
    )
    expect(places.map(({ item }) => item)).toEqual([50, 51, 400])
    for (const { item, at } of places) {
      const before = records.slice(0, at).findLast((one) => one.kind === 'output' && typeof one.value === 'number')
      expect(before).toMatchObject({ value: item === 51 ? 49 : item - 1 })
    }
  })

  test('several items under way in one thread are lost with it, all others are done', async () => {
    const log = peers.path('begun')
    const job = await peers.laptop.map(
      range(60),
      async (ctx: ScriptContext, i: number) => {
        const { appendFileSync, readFileSync } = process.getBuiltinModule('node:fs')
        appendFileSync(LOG, `${i}\n`)
        // Not before as many are under way as there may be.
        while (readFileSync(LOG, 'utf8').split('\n').length <= 30) await ctx.sleep(5)
        if (i === 12) process.exit(1)
        await ctx.sleep(5)
        return i
      },
      { throttle: 30, using: { LOG: log } },
    )
    const { failed, said } = await outcome(job)
    const gone = failed.map(({ item }) => item)
    expect(failed.every(({ code }) => code === 'ENGINE_EXIT')).toBe(true)
    expect(gone).toContain(12)
    expect(gone.length).toBeLessThanOrEqual(6)
    expect(said).toEqual(without(60, ...gone))
    expect(orderedNumbers(readFileSync(log, 'utf8').trim().split('\n').map(Number))).toEqual(range(60))
  })

  test('stopped with thousands in the queue: at once, and what was said is there', async () => {
    const job = await peers.laptop.map(
      range(50_000),
      async (ctx: ScriptContext, i: number) => {
        ctx.info(i)
        await ctx.sleep(60_000)
      },
      { throttle: 3 },
    )
    await until('three are under way', async () => (await all(job.receive({ keep: true }))).length >= 3)
    const last = await job.stop({ grace: '20s' })
    expect(last.state).toBe('Stopped')
    expect(last.items).toMatchObject({ done: 0, failed: 0, running: 0 })
    const said = (await all(job.receive({ keep: true }))).filter(({ kind }) => kind === 'information')
    expect(said).toHaveLength(3)
  })

  test('threads that die before they have begun anything end the map, not the machine', async () => {
    let taken = 0
    const engine = new MapEngine({
      take() {
        taken++
        const isolate = startWorker()
        const lane = new LaneEngine(isolate, () => undefined)
        isolate.kill()
        return { isolate, lane }
      },
    })
    const ended = Promise.withResolvers<Ending>()
    const execution = engine.start(
      {
        job: crypto.randomUUID(),
        work: { kind: 'function', source: '() => 1', command: '', startId: 'x', map: { throttle: 2 }, input: true },
        location: 'here',
        session: {} as never,
      },
      { chunk: () => undefined, ended: ended.resolve },
    )
    const writer = createChunkWriter()
    for (const i of range(10)) writer.add(outputOf(i))
    execution.input!({ count: 10, errors: 0, bytes: writer.finish() })
    execution.endInput!()
    expect(await ended.promise).toMatchObject({ outcome: 'failed', error: expect.any(EngineExitError) })
    expect(taken).toBeLessThanOrEqual(4)
  })
})

declare const LOG: string
declare const MARK: string
declare const GATE: string
