// What lies on the disk: rows that are not understood, what is deleted when, and a table of a hundred thousand.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { codeOf, createPeer, type Job, type Peer } from '../src/index.ts'
import { AttemptIO } from '../src/attempt-io.ts'
import type { Ending } from '../src/job-machine.ts'
import { since, thisMoment } from '../src/moment.ts'
import { singleRecord, type RawChunk } from '../src/record.ts'
import { Lives } from './support/lives.ts'
import { all, outputs, refusal, until } from './support/peers.ts'
import { scriptedJob, ScriptedEngine } from './support/scripted-engine.ts'

const thread = { engine: 'thread' } as const
const done = async (peer: Peer, count: number): Promise<Job[]> => {
  const jobs: Job[] = []
  for (let n = 0; n < count; n++) {
    const job = (await peer.start((_, value: string) => value, { ...thread, args: ['x'.repeat(1000)] })) as Job
    await job.finished
    jobs.push(job)
  }
  return jobs
}
const ids = async (peer: Peer): Promise<number[]> => (await peer.jobs()).map(({ id }) => id)

describe('rows that are not understood', () => {
  test('are left where they are, listed nowhere, and reported; their numbers are not given again', async () => {
    const said: [string, unknown][] = []
    await using lives = new Lives({ log: (message, details) => said.push([message, details]) })
    await done(await lives.start(), 3)
    lives.kill()
    const [one, two, three] = lives.disk.rows('job') as { key: string; value: Record<string, unknown> }[]
    const session = one!.value['session'] as string
    lives.disk.place('job', two!.key, { ...two!.value, v: 2, state: 'Pondering' })
    lives.disk.place('job', three!.key, { ...three!.value, history: 'none' })
    lives.disk.place('job', `${session} later`, { v: 9, session, id: 7, what: new Map() })
    lives.disk.place('job', 'elsewhere', { ...one!.value, session: 'gone', instanceId: 'x' })
    lives.disk.place('job', 'orphan', { ...one!.value, parent: 'gone', position: 1, instanceId: 'y' })
    lives.disk.place('job', 'nothing', undefined)
    lives.disk.place('session', 'strange', { v: 1, kind: 'cloud' })
    lives.disk.place('held', 'strange', 'text')
    lives.disk.place('peer', 'strange', { v: 1 })
    const before = lives.disk.rows('job')
    const peer = await lives.start()
    expect(await ids(peer)).toEqual([1])
    expect(said.map(([message]) => message)).toEqual(
      Array.from({ length: 9 }, () => 'set aside a row that is not understood'),
    )
    expect(said.map(([, details]) => (details as { key: string }).key).toSorted()).toEqual(
      [
        two!.key,
        three!.key,
        `${session} later`,
        'elsewhere',
        'orphan',
        'nothing',
        'strange',
        'strange',
        'strange',
      ].toSorted(),
    )
    expect(lives.disk.rows('job')).toEqual(before)
    expect((await done(peer, 1))[0]!.id).toBe(8)
  })

  test('a table whose own row is not understood begins anew, and leaves the old one alone', async () => {
    const said: string[] = []
    await using lives = new Lives({ log: (_, details) => said.push(String(details?.['why'])) })
    await done(await lives.start(), 1)
    lives.kill()
    const [local] = lives.disk.rows('session')
    lives.disk.place('session', local!.key, { ...(local!.value as object), v: 5 })
    const peer = await lives.start()
    expect(await ids(peer)).toEqual([])
    expect(said).toEqual(['its form is 5, not 1', 'its session is not there'])
    expect(lives.disk.rows('job')).toHaveLength(1)
    expect(lives.disk.rows('session')).toHaveLength(2)
  })
})

describe('retention', () => {
  test('by count: what was read goes first, then the oldest, and that is reported', async () => {
    const said: unknown[] = []
    await using lives = new Lives({ retention: { count: 3 }, log: (message) => said.push(message) })
    const peer = await lives.start()
    const [, second] = await done(peer, 3)
    await all(second!.receive())
    await done(peer, 1)
    await until('one has gone', async () => (await ids(peer)).length === 3)
    expect([await ids(peer), said]).toEqual([[1, 3, 4], []])
    await done(peer, 1)
    await until('another has', async () => (await ids(peer)).length === 3)
    expect(await ids(peer)).toEqual([3, 4, 5])
    expect(said).toEqual(['deleted jobs whose output was not read: there was no room for it'])
    await until('its rows and logs too', () => lives.disk.rows('job').length === 3 && lives.disk.logs().length === 3)
    expect(await ids(await lives.again())).toEqual([3, 4, 5])
    // What has not been read to its end is not too old.
    const after = await lives.again({ retention: { age: 0 } })
    expect(await ids(after)).toEqual([3, 4, 5])
    const third = await after.job(3)
    await all(third.receive())
    const read = (): boolean =>
      lives.disk
        .rows('job')
        .some(({ value }) => (value as { id: number; read: boolean }).id === 3 && (value as { read: boolean }).read)
    await until('that it was read is written', read)
    expect(await ids(await lives.again({ retention: { age: 0 } }))).toEqual([4, 5])
    await until('its row too', () => lives.disk.rows('job').length === 2)
    expect(await ids(await lives.again({ retention: { age: '1h' } }))).toEqual([4, 5])
  })

  test('by bytes', async () => {
    await using lives = new Lives()
    await done(await lives.start(), 4)
    expect(await ids(await lives.again({ retention: false }))).toEqual([1, 2, 3, 4])
    expect(await ids(await lives.again({ retention: { bytes: 4_000 } }))).toEqual([3, 4])
    await until('the logs too', () => lives.disk.logs().length === 2)
  })

  test('in memory only where it is asked for', async () => {
    await using plain = await createPeer()
    await done(plain, 3)
    expect(await ids(plain)).toEqual([1, 2, 3])
    await using bounded = await createPeer({ retention: { count: 2 } })
    await done(bounded, 3)
    await until('one has gone', async () => (await ids(bounded)).length === 2)
    expect(codeOf(await refusal('a count that is none', () => createPeer({ retention: { count: -1 } })))).toBe('USAGE')
  })
})

describe('an attempt that is over', () => {
  test('says nothing any more: neither records nor an ending', async () => {
    const chunks: RawChunk[] = []
    const engine = new ScriptedEngine()
    const job = scriptedJob({ engine, retry: { times: 1, delay: 0, factor: 1 } })
    job.start()
    const [first] = engine.executions
    first!.io.chunk(singleRecord('output', 1))
    first!.io.ended({ outcome: 'failed', error: new Error('once') })
    await until('the second attempt', () => engine.executions.length === 2)
    const end = job.log!.end
    first!.io.chunk(singleRecord('output', 'stale'))
    first!.io.ended({ outcome: 'completed' })
    expect([job.log!.end, job.state]).toEqual([end, 'Running'])
    engine.executions[1]!.io.chunk(singleRecord('output', 2))
    expect(job.log!.end).toBe(end + 1)
    engine.executions[1]!.io.ended({ outcome: 'completed' })
    expect((await job.finished).state).toBe('Completed')
    expect(chunks).toEqual([])
  })

  test('nor to anybody else', () => {
    const heard: Ending[] = []
    const io = new AttemptIO({ ended: (ending: Ending) => heard.push(ending) } as never)
    io.leave()
    io.ended({ outcome: 'completed' })
    expect(heard).toEqual([])
  })
})

describe('moments', () => {
  const then = thisMoment()
  test('are measured by what nobody sets, as long as the machine is up', () => {
    const later = { ...then, wall: then.wall - 3_600_000, up: then.up + 5_000 }
    expect(since(then, later)).toBe(5_000)
    expect(since(then, { ...later, wall: then.wall + 3_600_000 })).toBe(5_000)
  })
  test('and by the wall behind a start of the machine: never less than nothing', () => {
    const later = { boot: 'another', up: 10, wall: then.wall + 7_000 }
    expect(since(then, later)).toBe(7_000)
    expect(since(then, { ...later, wall: then.wall - 7_000 })).toBe(0)
  })
})

describe('twenty thousand jobs', () => {
  test(
    'are listed after a start without a look into their logs, each in at most 2 KiB',
    { timeout: 60_000 },
    async () => {
      const COUNT = 20_000
      await using lives = new Lives({ retention: false })
      await done(await lives.start(), 1)
      lives.kill()
      const [one] = lives.disk.rows('job') as { key: string; value: Record<string, unknown> }[]
      const session = one!.value['session'] as string
      for (let id = 2; id <= COUNT; id++) {
        const instanceId = crypto.randomUUID()
        const value = { ...one!.value, id, instanceId, startId: crypto.randomUUID(), name: `Job${id}`, bytes: 1 }
        lives.disk.place('job', `${session} ${instanceId}`, value)
      }
      setFlagsFromString('--expose-gc')
      const collect = runInNewContext('gc') as () => void
      collect()
      const heap = process.memoryUsage().heapUsed
      const peer = await lives.start()
      const listed = (await peer.jobs({ newest: 3 })).map(({ id }) => id)
      collect()
      const each = (process.memoryUsage().heapUsed - heap) / COUNT
      expect(listed).toHaveLength(3)
      expect(lives.disk.opened).toBe(0)
      expect(each).toBeLessThan(2048)
      expect((await peer.start(() => 1, thread)).id).toBe(COUNT + 1)
      expect(await outputs((await peer.job(1)).receive())).toHaveLength(1)
    },
  )
})
