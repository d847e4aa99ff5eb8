// Awkward instants: a peer or its store dies between two writes, or its disk is full just then.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createMemoryNetwork, memory } from '@errand/transport/memory'
import { describe, expect, test } from 'vitest'
import { codeOf, createPeer, type Job, type Peer, type ScriptContext } from '../src/index.ts'
import type { Moment } from '../src/moment.ts'
import { isFinished } from '../src/child-jobs.ts'
import { singleRecord } from '../src/record.ts'
import { sqlite } from '../src/store/sqlite.ts'
import { Lives } from './support/lives.ts'
import { all, until, within } from './support/peers.ts'
import { edit, storeFolder } from './support/store-files.ts'

const place = storeFolder()
const thread = { engine: 'thread' } as const
const gate = (name: string): string => join(place.path, '..', name)

/** Says one thing, then waits for a file. */
async function* waits(ctx: ScriptContext, file: string): AsyncGenerator<string> {
  yield 'one'
  const { existsSync: there } = process.getBuiltinModule('node:fs')
  while (!there(file)) await ctx.sleep(5)
  yield 'two'
}
const said = async (job: Job, count: number): Promise<void> => {
  let seen = 0
  for await (const _ of job.receive({ follow: true, keep: true })) if (++seen === count) return
}
const ids = async (peer: Peer): Promise<number[]> => (await peer.jobs()).map(({ id }) => id)

describe('a job that is tried again', () => {
  test('is not said to fail too often for what failed long before its peer was started again', async () => {
    await using lives = new Lives()
    const before = await lives.start()
    const job = await before.start(waits, {
      ...thread,
      args: [gate('never')],
      restart: { times: 1, within: '1m' },
    })
    await said(job, 1)
    const again = async (ago: number, epoch: number): Promise<void> => {
      lives.kill()
      const [row] = lives.disk.rows('job') as { key: string; value: { open: { failures: Moment[] } } }[]
      const { open } = row!.value
      const failures = open.failures.map((at) => ({ ...at, wall: at.wall - ago, up: at.up - ago }))
      lives.disk.place('job', row!.key, { ...row!.value, open: { ...open, failures } })
      const found = await (await lives.start()).job(job.instanceId)
      // An output of each attempt, and of each failure an error and a warning.
      await said(found, 3 * epoch - 2)
      expect(found.snapshot.epoch).toBe(epoch)
    }
    await again(0, 2)
    await again(120_000, 3)
    const last = await (await lives.again()).job(job.instanceId)
    expect(codeOf((await last.finished).reason)).toBe('RESTART_INTENSITY')
  })

  test('and waits for its next attempt goes on waiting: none is lost', async () => {
    await using lives = new Lives()
    const file = gate('there')
    const before = await lives.start()
    const job = await before.start(
      (_, path: string) => {
        if (!process.getBuiltinModule('node:fs').existsSync(path)) throw new Error('not yet')
        return 'done'
      },
      { ...thread, args: [file], retry: { times: 1, delay: 1_000 } },
    )
    await said(job, 2)
    const waiting = (): boolean =>
      (lives.disk.rows('job')[0]!.value as { open?: { again?: unknown } }).open?.again !== undefined
    await until('that it waits is written', waiting)
    writeFileSync(file, '')
    const after = await lives.again()
    const found = await after.job(job.instanceId)
    expect([found.state, found.snapshot.epoch]).toEqual(['Running', 2])
    expect((await found.finished).state).toBe('Completed')
    const records = await all(found.receive({ from: 0 }))
    expect(records.map(({ kind }) => kind)).toEqual(['error', 'warning', 'output'])
  })
})

test('a map that was killed says how far it was', async () => {
  await using lives = new Lives({ stopGrace: 0 })
  const before = await lives.start()
  const job = await before.map(
    [1, 2, 3, 4],
    async (ctx, n: number, file = '') => {
      const { existsSync } = process.getBuiltinModule('node:fs')
      while (n === 4 && !existsSync(file)) await ctx.sleep(5)
      return n
    },
    { ordered: true },
  )
  await said(job as Job, 3)
  const written = (): boolean => (lives.disk.rows('job')[0]!.value as { items?: { ended: number } }).items?.ended === 3
  await until('that is written', written)
  const [found] = await (await lives.again()).jobs()
  expect([found!.state, found!.snapshot.items]).toMatchObject(['Failed', { taken: 4, done: 3, failed: 0, running: 0 }])
})

describe('thread jobs that wait for a thread', () => {
  test('have not begun, and begin when their peer is there again: each once, in their order', async () => {
    await using lives = new Lives({ stopGrace: 0 })
    const before = await lives.start()
    const marks = gate('marks')
    const mark = async (ctx: ScriptContext, file: string, text: string, until?: string): Promise<void> => {
      const { appendFileSync, existsSync } = process.getBuiltinModule('node:fs')
      appendFileSync(file, text)
      while (until !== undefined && !existsSync(until)) await ctx.sleep(5)
    }
    const start = (peer: Peer, text: string, file?: string): Promise<Job<void>> =>
      peer.start(mark, { ...thread, args: [marks, text, file] })
    // Five at once.
    const open = gate('open')
    for (const text of '1234') await start(before, text, gate('never'))
    const fifth = await start(before, '5', open)
    const waiting = []
    for (const text of 'abc') waiting.push(await start(before, text, gate('never')))
    writeFileSync(open, '')
    await fifth.finished
    await until('the first of those has begun', () => readFileSync(marks, 'utf8').includes('a'))
    expect(waiting.map(({ state }) => state).slice(1)).toEqual(['NotStarted', 'NotStarted'])
    writeFileSync(gate('never'), '')
    lives.kill()
    const jobs = await (await lives.start()).jobs()
    const ends = await within('their ends', Promise.all(jobs.map((job) => job.finished)))
    expect(ends.map(({ state, reason }) => (reason ? codeOf(reason) : state))).toEqual([
      ...Array.from({ length: 4 }, () => 'PEER_RESTARTED'),
      'Completed',
      'PEER_RESTARTED',
      'Completed',
      'Completed',
    ])
    const marked = readFileSync(marks, 'utf8')
    const sorted = (text: string): string => text.split('').toSorted().join('')
    expect([sorted(marked.slice(0, 6)), sorted(marked.slice(6))]).toEqual(['12345a', 'bc'])
  })
})

describe('numbers', () => {
  test('of jobs that were removed are not given again, also where their table could not be written for a while', async () => {
    await using lives = new Lives()
    const peer = await lives.start()
    for (let n = 0; n < 3; n++) await (await peer.start(() => n, { ...thread, using: { n } })).finished
    lives.disk.full(true)
    // Its runspace is new then: something to write down.
    await peer.run(() => process.exit(0)).then(undefined, () => undefined)
    const [local] = lives.disk.rows('session') as { key: string; value: { epoch: number; lastJob: number } }[]
    await new Promise((resolve) => setTimeout(resolve, 100)) // it is tried 50 ms later
    lives.disk.full(false)
    await (await peer.job(3)).remove()
    expect(local!.value.lastJob).toBe(0)
    const after = await lives.again()
    expect(await ids(after)).toEqual([1, 2])
    expect((await after.start(() => 1, thread)).id).toBe(4)
  })

  test('of runs that became jobs are not given again', async () => {
    const network = createMemoryNetwork()
    await using _far = await createPeer({
      name: 'far',
      transport: memory({ network, name: 'far' }),
      policy: { peers: { here: ['connect', 'run:script'] } },
      stopGrace: 0,
    })
    await using here = new Lives({ name: 'here', network, policy: { peers: { far: [] } }, stopGrace: 0 })
    const peer = await here.start()
    const session = await peer.connect('far', { lostAfter: 200 })
    const run = peer.run(waits, { on: session, args: [gate('never')] })
    const lost = (async () => {
      for await (const _ of run) network.kill('far')
    })()
    const error = await within(
      'the run is lost',
      lost.then(undefined, (why: unknown) => why),
    )
    expect(codeOf(error)).toBe('PEER_LOST')
    expect(await ids(peer)).toEqual([1])
    await until('it is written', () => (here.disk.rows('session')[0]!.value as { lastJob: number }).lastJob === 1)
    const after = await here.again()
    expect((await after.start(() => 1, thread)).id).toBe(2)
  })
})

describe('a store on disk', () => {
  test('after a crash of the host no job that had ended is said to have lost anything', async () => {
    const crashed = `${place.path}-crashed`
    {
      await using peer = await createPeer({ store: place.open() })
      const job = await peer.start(function* () {
        yield* [1, 2, 3]
      }, thread)
      await job.finished
      for (const end of ['', '-wal']) copyFileSync(place.path + end, crashed + end)
    }
    edit(crashed, (db) => db.exec("UPDATE meta SET value = 'an earlier one' WHERE name = 'boot'"))
    await using peer = await createPeer({ store: sqlite(crashed) })
    const job = await peer.job(1)
    expect(job.state).toBe('Completed')
    expect((await all(job.receive())).map(({ seq, kind }) => [seq, kind])).toEqual([
      [0, 'output'],
      [1, 'output'],
      [2, 'output'],
    ])
    expect(job.hasMoreData).toBe(false)
  })

  test('is let go of by a peer that does not come to be', async () => {
    await expect(createPeer({ store: place.open(), retention: { count: -1 } })).rejects.toMatchObject({ code: 'USAGE' })
    await using peer = await createPeer({ store: place.open() })
    expect(await peer.jobs()).toEqual([])
  })

  test('that dies ends what waits for it, and nothing else', async () => {
    const store = place.open()
    const network = createMemoryNetwork()
    await using peer = await createPeer({
      store,
      name: 'here',
      stopGrace: 0,
      transport: memory({ network, name: 'here' }),
      policy: { peers: { there: ['connect', 'run:script'] } },
    })
    await using client = await createPeer({
      name: 'there',
      transport: memory({ network, name: 'there' }),
      policy: { peers: { here: [] } },
    })
    const session = await client.connect('here')
    const first = await peer.start(waits, { ...thread, args: [gate('first')] })
    const next = await peer.start(() => 1, { ...thread, after: first })
    const done = await peer.start(() => 1, thread)
    await done.finished
    const running = await session.start(waits, { args: [gate('never')] })
    await said(running as Job, 1)
    // The last ones, for they must not be launched before it dies.
    const later = await peer.start(() => 1, { ...thread, delay: 2_000 })
    const again = await peer.start(
      () => {
        throw new Error('no')
      },
      { ...thread, retry: { times: 1, delay: 2_000 } },
    )
    await said(again, 2)
    await store.terminate()
    // Its client leaves: that is written down as well.
    await session.disconnect()
    await done.remove().catch(() => undefined)
    writeFileSync(gate('first'), '')
    expect(codeOf((await first.finished).reason)).toBe('STORE_FAILED')
    const ends = await within('their ends', Promise.all([next.finished, later.finished, again.finished]))
    expect(ends.map(({ state, reason }) => [state, codeOf(reason)])).toEqual([
      ['Stopped', 'JOB_STOPPED'],
      ['Failed', 'STORE_FAILED'],
      ['Failed', 'STORE_FAILED'],
    ])
    expect(await peer.run(() => 7)).toBe(7)
  })
})

describe('records of which no job is known', () => {
  test('are deleted when the store is opened; those of rows that are not understood are not', async () => {
    await using lives = new Lives()
    const before = await lives.start()
    for (const n of [1, 2]) await (await before.start((_, value: number) => value, { ...thread, args: [n] })).finished
    lives.kill()
    const [one, two] = lives.disk.rows('job') as { key: string; value: Record<string, unknown> }[]
    lives.disk.place('job', two!.key, { ...two!.value, v: 2 })
    // Written before its job was, which never was.
    const store = lives.disk.open()
    await (await store.log('stray')).append({ ...singleRecord('output', 1), first: 0 })
    expect(lives.disk.logs()).toEqual([one!.key, two!.key, 'stray'])
    await lives.start()
    expect(lives.disk.logs()).toEqual([one!.key, two!.key])
  })

  test('stay where something is damaged: nobody can tell whose they are', async () => {
    {
      await using store = place.open()
      for (const name of ['a', 'b']) await (await store.log(name)).append({ ...singleRecord('output', 1), first: 0 })
      await store.rows.put('job', 'a', { some: 'value' })
      expect(await store.logs()).toEqual(['a', 'b'])
    }
    edit(place.path, (db) => db.exec('UPDATE kept SET crc = crc + 1'))
    await using peer = await createPeer({ store: place.open() })
    expect(await peer.jobs()).toEqual([])
    await peer.close()
    await using store = place.open()
    expect((await store.log('a')).end).toBe(1)
  })
})

describe('without room', () => {
  test('a peer that is closed does not wait for it; what it could not write it says when it is back', async () => {
    await using lives = new Lives({ stopGrace: 0 })
    const peer = await lives.start()
    const job = await peer.start(waits, { ...thread, args: [gate('never')] })
    await said(job, 1)
    lives.disk.full(true)
    await within('it closes', lives.close(), 8_000)
    lives.disk.full(false)
    const [found] = await (await lives.start()).jobs()
    expect([found!.state, codeOf(found!.reason)]).toEqual(['Failed', 'PEER_RESTARTED'])
  })

  test('nor does its store', async () => {
    const store = place.open({ maxBytes: 1_000_000 })
    await using peer = await createPeer({ store, stopGrace: 0 })
    const job = await peer.start(function* () {
      for (;;) yield 'x'.repeat(10_000)
    }, thread)
    await until('it is full', () => place.troubles().some((one) => one.startsWith('STORE_FULL')))
    await within('it closes', peer.close(), 8_000)
    expect(isFinished(job.state)).toBe(true)
  })
})

test('what a crash of the host took of a copy is copied again: nothing that is still over there is missing', async () => {
  const network = createMemoryNetwork()
  const open = async (name: string, path?: string): Promise<Peer> =>
    createPeer({
      name,
      transport: memory({ network, name }),
      policy: { peers: { here: ['connect', 'run:script'], far: [] } },
      stopGrace: 0,
      ...(path !== undefined && { store: sqlite(path) }),
    })
  await using _far = await open('far')
  const crashed = `${place.path}-crashed`
  const counts = async function* (ctx: ScriptContext, files: string[]): AsyncGenerator<number> {
    const { existsSync } = process.getBuiltinModule('node:fs')
    for (let n = 0; n < 30; n++) {
      while (n % 10 === 0 && n > 0 && !existsSync(files[n / 10 - 1]!)) await ctx.sleep(5)
      yield n
    }
  }
  const before = await open('here', place.path)
  const session = await before.connect('far')
  const job = await before.start(counts, { on: session, args: [[gate('first'), gate('second')]] })
  await said(job as Job, 10)
  // On disk for certain, whatever was said before.
  await (
    await before.start(() => 1, thread)
  ).finished
  for (const end of ['', '-wal']) copyFileSync(place.path + end, crashed + end)
  writeFileSync(gate('first'), '')
  await said(job as Job, 20)
  network.kill('here')
  edit(crashed, (db) => db.exec("UPDATE meta SET value = 'an earlier one' WHERE name = 'boot'"))
  {
    await using after = await open('here', crashed)
    const found = await after.job(job.instanceId)
    writeFileSync(gate('second'), '')
    expect((await within('its end', found.finished)).state).toBe('Completed')
    const records = await all(found.receive({ from: 0, recurse: true }))
    expect(records.map(({ seq, kind }) => (kind === 'output' ? seq : kind))).toEqual(
      Array.from({ length: 30 }, (_, n) => n),
    )
  }
  await before.close()
})
