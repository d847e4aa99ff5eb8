// Nobody reads: what a job waits with, or loses and says so, on whichever side of a link its records are kept.
import { statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Job, JobRecord, JobSnapshot, ScriptContext, Session, StartOptions } from '../src/index.ts'
import { memoryStore } from '../src/store/memory.ts'
import { range } from './support/numbers.ts'
import { pair, type Pair } from './support/pair.ts'
import { all, refusal, until, within } from './support/peers.ts'

/** What is kept of a job of whom nobody reads, on either peer. */
const LIMIT = 256 * 1024
/** Sixteen times as much. */
const COUNT = 1000
const SIZE = 4096

let folder: string
let two: Pair
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'errand-'))
  const store = (): object => ({ store: memoryStore({ logLimit: LIMIT }) })
  two = await pair({ here: store(), far: store() })
})
afterAll(async () => {
  await two[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

/** Numbers in order, each with a text behind it. The file has a byte for each, and one for the end. */
async function* numbers(_ctx: ScriptContext, count: number, size: number, file: string): AsyncGenerator<string> {
  const { appendFileSync } = process.getBuiltinModule('node:fs')
  for (let n = 0; n < count; n++) {
    appendFileSync(file, '.')
    yield `${n} `.padEnd(size, '.')
  }
  appendFileSync(file, '!')
}

let files = 0
const fileName = (): string => join(folder, String(files++))
/** How many it has said. */
const said = (file: string): number => statSync(file).size
/** The most that can have been said of which nobody read: what is kept, its credit, and the chunks on the way. */
const MOST: number = Math.ceil((LIMIT + 256 * 1024 + 2 * 64 * 1024) / SIZE)
const numbersOf = (records: readonly JobRecord[]): number[] =>
  records.flatMap((record) => (record.kind === 'output' ? [Number.parseInt(String(record.value), 10)] : []))

/** Settles when it waits for its reader. */
async function paused(job: Job): Promise<JobSnapshot> {
  return until('it is paused', () => (job.snapshot.paused === 'output-full' ? job.snapshot : undefined))
}

/** Each number of the sequence is there once: as a record, which is that output, or in a gap. */
function whole(records: readonly JobRecord[], end: number = COUNT): { gaps: number; dropped: number } {
  let [next, gaps, dropped] = [0, 0, 0]
  for (const record of records) {
    if (record.kind === 'gap') {
      gaps++
      dropped += record.dropped
      next += record.dropped
      expect(record.seq).toBe(next - 1)
    } else {
      expect(record.seq).toBe(next)
      expect(numbersOf([record])).toEqual([next])
      next++
    }
  }
  expect(next).toBe(end)
  return { gaps, dropped }
}

const producing = (file: string): StartOptions<[number, number, string]> => ({ args: [COUNT, SIZE, file] })

describe('a session that blocks', () => {
  test.each(['process', 'thread'] as const)(
    'keeps a script in a %s at its yield while nobody reads; then its reader gets all of it',
    async (engine) => {
      await using session = await two.here.connect('far')
      expect(session.snapshot.buffering).toBe('block')
      const file = fileName()
      const job = await session.start(numbers, { ...producing(file), engine })
      const snapshot = await paused(job)
      expect(snapshot).toMatchObject({ state: 'Running', hasMoreData: true, paused: 'output-full' })
      // Another reader does not let it go on.
      expect(numbersOf(await all(job.receive({ reader: 'another' }))).length).toBeGreaterThan(0)
      expect((await session.job(job.id)).snapshot.paused).toBe('output-full')
      expect(said(file)).toBeLessThan(MOST)
      const records = await all(job.receive({ follow: true }))
      expect(whole(records)).toEqual({ gaps: 0, dropped: 0 })
      expect(await job.finished).toMatchObject({ state: 'Completed' })
      expect(job.snapshot.paused).toBeUndefined()
    },
  )

  test('keeps a command at its pipe', async () => {
    await using session = await two.here.connect('far')
    const file = fileName()
    const script = `
      const { appendFileSync, writeSync } = require('node:fs')
      process.stdout._handle.setBlocking(true)
      for (let n = 0; n < ${COUNT}; n++) {
        appendFileSync(${JSON.stringify(file)}, '.')
        writeSync(1, (n + ' ').padEnd(${SIZE}, '.') + '\\n')
      }`
    const job = await session.start([process.execPath, '-e', script])
    await paused(job)
    expect(said(file)).toBeLessThan(2 * MOST)
    expect(job.state).toBe('Running')
    expect(whole(await all(job.receive({ follow: true })))).toEqual({ gaps: 0, dropped: 0 })
    expect(await job.finished).toMatchObject({ state: 'Completed', exitCode: 0 })
  })

  test('keeps a run at its yield when its client has left, until it is taken up', async () => {
    const session = await two.here.connect('far')
    const file = fileName()
    const job = await two.here.start(numbers, { ...producing(file), on: session })
    await paused(job)
    // A parent and its child say the same.
    expect(job.children[0]!.snapshot.paused).toBe('output-full')
    await session.disconnect()
    expect(said(file)).toBeLessThan(MOST)
    expect(await session.receive()).toBe(job)
    expect(whole(await all(job.receive({ follow: true })))).toEqual({ gaps: 0, dropped: 0 })
    expect(said(file)).toBe(COUNT + 1)
    await session.close()
  })

  test('keeps a map at its items', async () => {
    const inputs = range(COUNT)
    const job = await two.here.map(inputs, (_ctx, n) => `${n} `.padEnd(4096, '.'), { ordered: true })
    await paused(job)
    const { items } = (await two.here.job(job.id)).snapshot
    expect(items!.done).toBeLessThan(COUNT / 2)
    expect(whole(await all(job.receive({ follow: true })))).toEqual({ gaps: 0, dropped: 0 })
    expect((await job.finished).state).toBe('Completed')
  })
})

describe('what is read elsewhere is not what a peer keeps', () => {
  test('a job on a temporary session goes on for as long as its reader here reads', async () => {
    const job = await two.here.start(numbers, { ...producing(fileName()), on: 'far' })
    const records = await within('all of it', all(job.receive({ follow: true })))
    expect(whole(records)).toEqual({ gaps: 0, dropped: 0 })
  })

  test('so does a map on other peers', async () => {
    const job = await two.here.map(range(COUNT), (_ctx, n) => `${n} `.padEnd(4096, '.'), { on: 'far', ordered: true })
    expect(whole(await within('all of it', all(job.receive({ follow: true }))))).toEqual({ gaps: 0, dropped: 0 })
  })
})

describe('a session that drops', () => {
  test.each(['process', 'thread'] as const)(
    'keeps no script in a %s back: one gap, and then the newest',
    async (engine) => {
      await using session = await two.here.connect('far', { buffering: 'drop' })
      expect(session.snapshot.buffering).toBe('drop')
      const job = await session.start(numbers, { ...producing(fileName()), engine })
      expect(await within('its end, unread', job.finished)).toMatchObject({ state: 'Completed', hasMoreData: true })
      const records = await all(job.receive())
      const { gaps, dropped } = whole(records)
      expect(gaps).toBe(1)
      expect(records[0]!.kind).toBe('gap')
      // As much is kept as would be of one that waits, but for what goes at once.
      expect((COUNT - dropped) * SIZE).toBeGreaterThan(LIMIT / 2)
      expect((COUNT - dropped) * SIZE).toBeLessThanOrEqual(LIMIT)
      // Again, and for somebody else: the same.
      expect(whole(await all(job.receive({ from: 0 })))).toEqual({ gaps: 1, dropped })
      expect(whole(await all(job.receive({ reader: 'another' })))).toEqual({ gaps: 1, dropped })
      expect(await all(job.receive())).toEqual([])
      expect(await refusal('all of it', () => job.output())).toMatchObject({ code: 'LIMIT' })
    },
  )

  test('nor a command at its pipe', async () => {
    await using session = await two.here.connect('far', { buffering: 'drop' })
    const script = `for (let n = 0; n < ${COUNT}; n++) console.log((n + ' ').padEnd(${SIZE}, '.'))`
    const job = await session.start([process.execPath, '-e', script])
    expect(await within('its end, unread', job.finished)).toMatchObject({ state: 'Completed', exitCode: 0 })
    expect(whole(await all(job.receive()))).toMatchObject({ gaps: 1 })
  })

  test('loses nothing of which its reader keeps up', async () => {
    await using session = await two.here.connect('far', { buffering: 'drop' })
    // Ten at a time, when those before were read.
    const asked = async function* (ctx: ScriptContext): AsyncGenerator<string> {
      let n = 0
      for await (const _ of ctx.input) for (const end = n + 10; n < end; n++) yield `${n} `.padEnd(4096, '.')
    }
    const job = await session.start(asked)
    const records: JobRecord[] = []
    await job.send('more')
    for await (const record of job.receive({ follow: true })) {
      records.push(record)
      if (records.length === COUNT) await job.endInput()
      else if (records.length % 10 === 0) await job.send('more')
    }
    expect(whole(records)).toEqual({ gaps: 0, dropped: 0 })
  })

  test('tells a reader that follows, and is slow, of what went while it was, in its place', async () => {
    await using session = await two.here.connect('far', { buffering: 'drop' })
    const job = await session.start(numbers, producing(fileName()))
    const records: JobRecord[] = []
    for await (const record of job.receive({ follow: true, reader: 'slow' })) {
      records.push(record)
      if (records.length === 1) await within('its end', job.finished)
    }
    const { gaps, dropped } = whole(records)
    expect(records[0]!.kind).toBe('output')
    expect([gaps, dropped > 0]).toEqual([1, true])
  })

  test('a job of ours in it drops here too: the newest is what is left', async () => {
    await using session = await two.here.connect('far', { buffering: 'drop' })
    const job = await two.here.start(numbers, { ...producing(fileName()), on: session })
    expect((await within('its end, unread', job.finished)).state).toBe('Completed')
    const records = await all(job.receive())
    expect(whole(records).dropped).toBeGreaterThan(COUNT / 2)
    expect(numbersOf(records).at(-1)).toBe(COUNT - 1)
  })

  test('what is piped from it into another job ends with an error where something is missing', async () => {
    await using session = await two.here.connect('far', { buffering: 'drop' })
    const source = await session.start(numbers, producing(fileName()))
    await within('its end, unread', source.finished)
    const sum = async (ctx: ScriptContext): Promise<number> => {
      let taken = 0
      for await (const _ of ctx.input) taken++
      return taken
    }
    const target = await two.here.start(sum, { input: source })
    expect(await target.finished).toMatchObject({ state: 'Failed', reason: { code: 'LIMIT' } })
    expect(target.reason!.message).toMatch(/\d+ records of the job that is its input were dropped/)
  })

  test('a map of ours on it loses none: its log is ours', async () => {
    await using session = await two.here.connect('far', { buffering: 'drop' })
    const job = await two.here.map(range(COUNT), (_ctx, n) => `${n} `.padEnd(4096, '.'), { on: session, ordered: true })
    await paused(job)
    expect(whole(await within('all of it', all(job.receive({ follow: true }))))).toEqual({ gaps: 0, dropped: 0 })
  })
})

describe('buffering is changed', () => {
  const waiting = async (buffering: 'block' | 'drop'): Promise<{ session: Session; job: Job; file: string }> => {
    const session = await two.here.connect('far', { buffering })
    const file = fileName()
    const job = await session.start(numbers, producing(file))
    if (buffering === 'block') await paused(job)
    return { session, job, file }
  }
  const done = (file: string): Promise<boolean> => until('all is said', () => said(file) > COUNT)

  test('by whoever leaves: who waited is let go', async () => {
    const { session, job, file } = await waiting('block')
    await session.disconnect({ buffering: 'drop' })
    expect(session.snapshot).toMatchObject({ state: 'Disconnected', buffering: 'drop' })
    await done(file)
    await session.connect()
    const again = await session.job(job.id)
    await again.finished
    expect(whole(await all(again.receive()))).toMatchObject({ gaps: 1 })
    await session.close()
  })

  test('by whoever comes back, or is there: the same', async () => {
    const { session, file } = await waiting('block')
    await session.connect({ buffering: 'drop' })
    expect(session.snapshot).toMatchObject({ state: 'Opened', buffering: 'drop' })
    await done(file)
    await session.close()
    const left = await waiting('block')
    await left.session.disconnect()
    await left.session.connect({ buffering: 'drop' })
    await done(left.file)
    await left.session.close()
    const taken = await waiting('block')
    await taken.session.disconnect()
    const again = await two.here.connect('far', { session: taken.session.instanceId, buffering: 'drop' })
    expect(again.snapshot.buffering).toBe('drop')
    await done(taken.file)
    await again.close()
  })

  test('to block: from then on it waits, and nothing more is lost', async () => {
    await using session = await two.here.connect('far', { buffering: 'drop' })
    await session.disconnect({ buffering: 'block' })
    await session.connect()
    const job = await session.start(numbers, producing(fileName()))
    await paused(job)
    expect(whole(await all(job.receive({ follow: true })))).toEqual({ gaps: 0, dropped: 0 })
  })

  test('under a job of ours: what it had copied it keeps, and behind that stands what was dropped meanwhile', async () => {
    const session = await two.here.connect('far')
    const file = fileName()
    const job = await two.here.start(numbers, { ...producing(file), on: session })
    await paused(job)
    const first = await all(job.receive({ limit: 5 }))
    expect(numbersOf(first)).toEqual(range(5))
    await session.disconnect({ buffering: 'drop' })
    await done(file)
    expect(await session.receive()).toBe(job)
    const rest = await all(job.receive({ follow: true }))
    expect(whole([...first, ...rest]).dropped).toBeGreaterThan(0)
    expect((await job.finished).state).toBe('Completed')
    await session.close()
  })

  test('only by who has the session', async () => {
    const session = await two.here.connect('far')
    const change = async (ctx: ScriptContext): Promise<void> => ctx.session.connect({ buffering: 'drop' })
    expect(await refusal('by a script of it', () => session.run(change))).toMatchObject({ code: 'SESSION_STATE' })
    expect(session.snapshot.buffering).toBe('block')
    await session.close()
  })
})
