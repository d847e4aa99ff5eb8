// A peer that is killed and started again over the same disk: what it had accepted is there, and says what became of it.
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { codeOf, type Job, type JobSnapshot, type ScriptContext } from '../src/index.ts'
import type { StoredJob } from '../src/stored-job.ts'
import { Lives } from './support/lives.ts'
import { all, outputs, refusal, until } from './support/peers.ts'

let folder: string
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'errand-'))))
afterAll(() => rm(folder, { recursive: true, force: true }))
let files = 0
const path = (): string => join(folder, String(++files))

const thread = { engine: 'thread' } as const
/** Says two things, then waits for a file. */
async function* waits(ctx: ScriptContext, gate: string): AsyncGenerator<string> {
  yield 'one'
  yield 'two'
  const { existsSync: there } = process.getBuiltinModule('node:fs')
  while (!there(gate)) await ctx.sleep(5)
  yield 'three'
}
const said = async (job: Job, count: number): Promise<void> => {
  let seen = 0
  for await (const _ of job.receive({ follow: true, keep: true })) if (++seen === count) return
}
/** That it has begun is on disk: what happens to a job at work is written down a moment later. */
const begun = (lives: Lives, job: Job): Promise<true> =>
  until('its row says that it has begun', () =>
    lives.disk.rows('job').some(({ value }) => {
      const { instanceId, history } = value as StoredJob
      return instanceId === job.instanceId && history.some(({ state }) => state === 'Running')
    }),
  )
/** What no two lives may differ in. */
const facts = ({ children, ...job }: JobSnapshot): unknown => ({
  ...job,
  reason: job.reason && [codeOf(job.reason), job.reason.message],
  children: children.map(facts),
})

describe('jobs that had ended', () => {
  test('are listed with all that was told of them, their output is there, their cursors where they were', async () => {
    await using lives = new Lives()
    const before = await lives.start()
    const done = await before.start(
      function* () {
        for (let n = 0; n < 5; n++) yield n
      },
      { ...thread, name: 'count' },
    )
    const failed = await before.start(() => {
      throw Object.assign(new Error('no'), { code: 'MINE' })
    }, thread)
    const command = await before.start(['sh', '-c', 'echo out; exit 3'])
    const silent = await before.start(() => undefined, thread)
    const map = await before.map([1, 2, 3], (_, n: number) => {
      if (n === 2) throw new Error('two')
      return n
    })
    const ended = await Promise.all([done, failed, command, silent, map].map((job) => job.finished))
    expect(ended.map(({ state }) => state)).toEqual(['Completed', 'Failed', 'Failed', 'Completed', 'Failed'])
    await all(done.receive({ limit: 2 }))
    await all(done.receive({ reader: 'other', limit: 4 }))
    const told = (await before.jobs()).map((job) => facts(job.snapshot))
    const items = await map.items()
    const after = await lives.again()
    const jobs = await after.jobs()
    expect(jobs.map((job) => facts(job.snapshot))).toEqual(told)
    const [one, , , , mapped] = jobs
    expect(await outputs(one!.receive())).toEqual([2, 3, 4])
    expect(await outputs(one!.receive({ reader: 'other' }))).toEqual([4])
    expect(await outputs(one!.receive({ from: 0 }))).toEqual([0, 1, 2, 3, 4])
    expect(await mapped!.items()).toEqual(items)
    expect(items.map(({ index, reason }) => [index, reason?.message])).toEqual([[1, 'two']])
    expect((await after.job('count')).hasMoreData).toBe(false)
    // Numbers go on.
    expect((await after.start(() => 1, thread)).id).toBe(6)
  })

  test('keep their numbers to themselves, removed ones too', async () => {
    await using lives = new Lives()
    const before = await lives.start()
    for (let n = 0; n < 3; n++) await (await before.start(() => 1, thread)).finished
    await (await before.job(3)).remove()
    await (await before.job(2)).remove()
    const after = await lives.again()
    expect((await after.jobs()).map(({ id }) => id)).toEqual([1])
    expect((await after.start(() => 1, thread)).id).toBe(4)
    expect(lives.disk.rows('job')).toHaveLength(2)
    await (
      await after.job(4)
    ).finished
    await (await after.job(4)).remove()
    await (await after.job(1)).remove()
    expect(lives.disk.rows('job')).toEqual([])
    expect(lives.disk.logs()).toEqual([])
    const last = await lives.again()
    expect((await last.start(() => 1, thread)).id).toBe(5)
  })

  test('are found again by the id they were started with', async () => {
    await using lives = new Lives()
    const before = await lives.start()
    const job = await before.start(() => 1, { ...thread, startId: 'once' })
    await job.finished
    const after = await lives.again()
    const again = await after.start(() => 2, { ...thread, startId: 'once' })
    expect([again.id, again.instanceId]).toEqual([job.id, job.instanceId])
    expect(await again.output()).toEqual([1])
    expect(await after.jobs()).toHaveLength(1)
  })

  test('also after a peer that was closed in order: what ran was stopped, and says so', async () => {
    await using lives = new Lives({ stopGrace: 0 })
    const before = await lives.start()
    const done = await before.start(() => 'done', thread)
    await done.finished
    const running = await before.start(waits, { ...thread, args: [path()] })
    await said(running, 2)
    await lives.close()
    const after = await lives.start()
    const [one, two] = await after.jobs()
    expect([one!.state, two!.state, codeOf(two!.reason)]).toEqual(['Completed', 'Stopped', 'PEER_SHUTDOWN'])
    expect(await outputs(two!.receive())).toEqual(['one', 'two'])
  })
})

describe('jobs that had not ended', () => {
  test('have failed, with what they had said and the reason as the last record', async () => {
    await using lives = new Lives()
    const before = await lives.start()
    const job = await before.start(waits, { ...thread, args: [path()] })
    await said(job, 2)
    await begun(lives, job)
    await all(job.receive({ limit: 1 }))
    const after = await lives.again()
    const [found] = await after.jobs()
    expect(found!.instanceId).toBe(job.instanceId)
    expect([found!.state, codeOf(found!.reason), found!.errorCount]).toEqual(['Failed', 'PEER_RESTARTED', 1])
    expect(found!.snapshot.history.map(({ state }) => state)).toEqual(['NotStarted', 'Running', 'Failed'])
    const records = await all(found!.receive())
    expect(records.map(({ seq, kind }) => [seq, kind])).toEqual([
      [1, 'output'],
      [2, 'error'],
    ])
    expect(lives.disk.rows('job')).toHaveLength(1)
    // And it stays so.
    const told = facts(found!.snapshot)
    const [later] = await (await lives.again()).jobs()
    expect({ ...(facts(later!.snapshot) as object), hasMoreData: true }).toEqual({
      ...(told as object),
      hasMoreData: true,
    })
  })

  test('that are tried again begin another attempt: counted, in the same log, under the old deadline', async () => {
    await using lives = new Lives()
    const gate = path()
    const before = await lives.start()
    const job = await before.start(waits, {
      ...thread,
      args: [gate],
      restart: { times: 5, within: '1m' },
      deadline: '1h',
    })
    await said(job, 2)
    await begun(lives, job)
    const after = await lives.again()
    const found = await after.job(job.instanceId)
    await until('the second attempt', () => found.snapshot.epoch === 2 && found.state === 'Running')
    await said(found, 6)
    await writeFile(gate, '')
    expect((await found.finished).state).toBe('Completed')
    const records = await all(found.receive({ from: 0 }))
    expect(records.map(({ seq }) => seq)).toEqual(records.map((_, seq) => seq))
    expect(await outputs(records)).toEqual(['one', 'two', 'one', 'two', 'three'])
    expect(records.map(({ kind }) => kind).filter((kind) => kind !== 'output')).toEqual(['error', 'warning'])
    expect(found.snapshot.begunAt).toEqual(job.snapshot.begunAt)
  })

  test('that were tried often enough have failed', async () => {
    await using lives = new Lives()
    const before = await lives.start()
    const job = await before.start(waits, { ...thread, args: [path()], restart: { times: 1, within: '1m' } })
    await said(job, 2)
    const second = await lives.again()
    const found = await second.job(job.instanceId)
    await until('the second attempt', () => found.snapshot.epoch === 2)
    await said(found, 6)
    const third = await lives.again()
    const last = await third.job(job.instanceId)
    const { state, reason } = await last.finished
    expect([state, codeOf(reason), codeOf(reason?.cause)]).toEqual(['Failed', 'RESTART_INTENSITY', 'PEER_RESTARTED'])
  })

  test('whose deadline passed meanwhile are not tried again', async () => {
    await using lives = new Lives()
    const before = await lives.start()
    const job = await before.start(waits, {
      ...thread,
      args: [path()],
      restart: { times: 9, within: '1m' },
      deadline: 200,
    })
    await said(job, 2)
    lives.kill()
    await new Promise((resolve) => setTimeout(resolve, 250)) // the deadline, on this machine's own clock
    const after = await lives.start()
    const { state, reason } = await (await after.job(job.instanceId)).finished
    expect([state, codeOf(reason)]).toEqual(['Failed', 'TIMEOUT'])
  })

  test('and waited for a time, or for another job, go on waiting', async () => {
    await using lives = new Lives()
    const gate = path()
    const marks = path()
    const mark = (_: ScriptContext, file: string, text: string): void =>
      process.getBuiltinModule('node:fs').appendFileSync(file, text)
    const before = await lives.start()
    const first = await before.start(waits, {
      ...thread,
      args: [gate],
      restart: { times: 3, within: '1m' },
      name: 'first',
    })
    await said(first, 2)
    await before.start(mark, { ...thread, args: [marks, 'b'], after: first, name: 'second' })
    await before.start(mark, { ...thread, args: [marks, 'a'], delay: 400, name: 'later' })
    await before.start(mark, { ...thread, args: [marks, 'never'], delay: '1h', name: 'tomorrow' })
    const after = await lives.again()
    const [, second, later, tomorrow] = await after.jobs()
    expect([second!.state, tomorrow!.state]).toEqual(['NotStarted', 'NotStarted'])
    expect((await later!.finished).state).toBe('Completed')
    expect(second!.state).toBe('NotStarted')
    await writeFile(gate, '')
    expect((await second!.finished).state).toBe('Completed')
    expect(existsSync(marks) && (await import('node:fs')).readFileSync(marks, 'utf8')).toBe('ab')
    expect((await tomorrow!.stop()).state).toBe('Stopped')
    const [, , , last] = await (await lives.again()).jobs()
    expect(last!.state).toBe('Stopped')
  })

  test('nor start when what they waited for has failed with the peer', async () => {
    await using lives = new Lives()
    const before = await lives.start()
    const first = await before.start(waits, { ...thread, args: [path()] })
    await said(first, 2)
    await before.start(() => 1, { ...thread, after: first })
    const after = await lives.again()
    const [, second] = await after.jobs()
    expect((await second!.finished).state).toBe('Stopped')
    expect(second!.reason?.message).toContain('which failed')
  })
})

describe('starting', () => {
  test('is refused while nothing can be written, and leaves nothing behind', async () => {
    await using lives = new Lives()
    const peer = await lives.start()
    lives.disk.full(true)
    const error = await refusal('a start on a full disk', () => peer.start(() => 1, thread))
    expect(codeOf(error)).toBe('STORE')
    expect(await peer.jobs()).toEqual([])
    lives.disk.full(false)
    const job = await peer.start(() => 1, thread)
    expect(await job.output()).toEqual([1])
    expect(lives.disk.rows('job')).toHaveLength(1)
    expect(await (await lives.again()).jobs()).toHaveLength(1)
  })

  test('and an ending waits for room: nobody hears of it before', async () => {
    await using lives = new Lives()
    const peer = await lives.start()
    const gate = path()
    const job = await peer.start(waits, { ...thread, args: [gate] })
    await said(job, 2)
    lives.disk.full(true)
    await writeFile(gate, '')
    await said(job, 3)
    let told = false
    void job.finished.then(() => (told = true))
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect([told, job.state]).toEqual([false, 'Running'])
    lives.disk.full(false)
    expect((await job.finished).state).toBe('Completed')
  })

  test('of a run writes nothing', async () => {
    await using lives = new Lives()
    const peer = await lives.start()
    const before = lives.disk.writes
    expect(await peer.run(() => 7)).toBe(7)
    expect(lives.disk.writes).toBe(before)
  })
})
