// The mission's introduction: three kinds of jobs, what isolates them, what ends with their parent.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Job, type ScriptContext, codeOf, createPeer } from '../src/index.ts'
import { Peers, alive, outputs, until } from './support/peers.ts'
import { SYSTEM_LOG, counter, family, lines, pidOf, readEvents } from './support/scripts.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start('server01')
})
afterAll(() => peers.close())

/** The first two outputs of `family`: a process and the one it started. */
const pidsOf = (job: Job<number>): Promise<number[]> => outputs(job.receive({ follow: true, limit: 2 }))

describe('three kinds of jobs', () => {
  test('S1 each way to start makes its kind: RemoteJob, BackgroundJob, ThreadJob', async () => {
    const { laptop } = peers
    const jobs = await Promise.all([
      laptop.start(() => 'done', { on: 'server01' }),
      laptop.start(() => 'done'),
      laptop.start(() => 'done', { engine: 'thread' }),
    ])
    expect(jobs.map((job) => job.type)).toEqual(['RemoteJob', 'BackgroundJob', 'ThreadJob'])
    expect(await Promise.all(jobs.map((job) => job.output()))).toEqual([['done'], ['done'], ['done']])
    expect(jobs.map((job) => job.state)).toEqual(['Completed', 'Completed', 'Completed'])
  })

  test("S2 a RemoteJob runs in the process of the peer's session, not in ours", async () => {
    const server01 = peers.server('server01')
    const session = await peers.laptop.connect('server01')
    const pid = await session.run(pidOf)
    const job = await peers.laptop.start(pidOf, { on: session })
    expect(await job.output()).toEqual([pid])
    expect(pid).not.toBe(process.pid)
    expect(server01.processes()).toContain(pid)
    expect(pid, 'the work of others has a process of its own, aside from the peer').not.toBe(server01.pid)
    await session.close()
  })

  test('S3 a BackgroundJob runs in another local process than its caller', async () => {
    const job = await peers.laptop.start(async (ctx: ScriptContext) => [process.pid, process.ppid, ctx.location])
    const [[pid, parent, location]] = (await job.output()) as [[number, number, string]]
    expect(pid).not.toBe(process.pid)
    expect(parent).toBe(process.pid)
    expect(location).toBe('laptop')
    expect(job.location).toBe('localhost')
  })

  test("S4 a ThreadJob runs in its caller's process, on another thread", async () => {
    const where = async (): Promise<[number, number]> => [
      process.pid,
      process.getBuiltinModule('node:worker_threads').threadId,
    ]
    const job = await peers.laptop.start(where, { engine: 'thread' })
    const [[pid, thread]] = (await job.output()) as [[number, number]]
    const [ours, here] = await where()
    expect(pid).toBe(ours)
    expect(thread).not.toBe(here)
  })

  test('a script may import what Node has', async () => {
    const job = await peers.laptop.start(async () => (await import('node:path')).posix.join('a', 'b'))
    expect(await job.output()).toEqual(['a/b'])
  })
})

describe('the parent', () => {
  test('S8 sees the states and collects the output although nobody receives', async () => {
    const gate = peers.gate()
    const job = await peers.laptop.start(counter, { args: [3, { 2: gate.path }], on: 'server01' })
    const states: string[] = []
    for await (const { state } of job.watch()) {
      states.push(state)
      if (state === 'Running') await gate.open()
      if (state === 'Completed') break
    }
    expect(states).toContain('Running')
    expect(states.at(-1)).toBe('Completed')
    const found = await peers.laptop.job(job.id)
    expect(found).toMatchObject({ state: 'Completed', hasMoreData: true })
    expect(await outputs(found.receive())).toEqual(lines(1, 3))
  })

  test('S9 a completed process job leaves no process, and its results can still be received', async () => {
    const job = await peers.laptop.start(pidOf)
    await job.wait()
    const [pid] = await outputs(job.receive())
    expect(pid).toBeTypeOf('number')
    await until(`process ${pid} is gone`, () => !alive(pid!))
  })

  test('S10 when the parent ends, its jobs and all their processes end', async () => {
    const parent = await createPeer({ name: 'parent' })
    const jobs = [await parent.start(family), await parent.start(family)]
    const thread = await parent.start(
      async function* (ctx: ScriptContext) {
        yield process.pid
        await ctx.sleep(600_000)
      },
      { engine: 'thread' },
    )
    await outputs(thread.receive({ follow: true, limit: 1 }))
    const pids = (await Promise.all(jobs.map(pidsOf))).flat()
    expect(pids.filter(alive)).toHaveLength(4)

    await parent.close()

    expect(pids.filter(alive)).toEqual([])
    for (const job of [...jobs, thread]) {
      const { state, reason } = await job.finished
      expect(state).toBe('Stopped')
      expect(codeOf(reason)).toBe('PEER_SHUTDOWN')
    }
  })

  test('S10 also when the parent is killed', async () => {
    const parent = await peers.process('parent', { network: false })
    const { instanceId } = await parent.ask('start', { module: `export default ${family.toString()}` })
    const pids = await outputs(await parent.ask('follow', instanceId, { follow: true, limit: 2 }))
    expect(pids.filter((pid) => alive(pid as number))).toHaveLength(2)
    await parent.kill()
    await until('no process of the parent is left', () => parent.processes().length === 0)
  })

  test('S12 a launched process is not a job, is not listed, and survives its parent', async () => {
    const parent = await createPeer({ name: 'parent' })
    const { pid } = await parent.launch(['sleep', '600'])
    expect(await parent.jobs()).toEqual([])
    await parent.close()
    expect(alive(pid)).toBe(true)
    process.kill(pid)
    await until('the launched process is gone', () => !alive(pid))
  })
})

describe('results', () => {
  test('S13 interactive, AsJob and kept there give the same objects for the same script', async () => {
    const { laptop } = peers
    const session = await laptop.connect('server01')
    const expected = await (await laptop.start(readEvents, { args: [SYSTEM_LOG, 20] })).output()
    expect(expected).toHaveLength(20)
    expect(expected[0]).toMatchObject({ index: 0, source: SYSTEM_LOG })
    expect(expected[0]?.time).toBeInstanceOf(Date)

    const line = `await output(await start(${readEvents.toString()}, { args: [${JSON.stringify(SYSTEM_LOG)}, 20] }))`
    const asJob = await laptop.start(readEvents, { args: [SYSTEM_LOG, 20], on: 'server01' })
    const kept = await session.start(readEvents, { args: [SYSTEM_LOG, 20] })
    expect(await session.run({ line })).toEqual(expected)
    expect(await asJob.output()).toEqual(expected)
    expect(await kept.output()).toEqual(expected)
    await session.close()
  })

  test.for(['thread', 'process', 'AsJob', 'kept there'] as const)(
    'S25 more data before receiving, none after: %s',
    async (way) => {
      const { laptop } = peers
      const session = await laptop.connect('server01')
      const start = {
        thread: () => laptop.start(counter, { args: [3], engine: 'thread' }),
        process: () => laptop.start(counter, { args: [3] }),
        AsJob: () => laptop.start(counter, { args: [3], on: session }),
        'kept there': () => session.start(counter, { args: [3] }),
      }[way]
      const job = await start()
      await job.wait()
      expect(job.hasMoreData).toBe(true)
      expect(await outputs(job.receive({ keep: true }))).toEqual(lines(1, 3))
      expect(job.hasMoreData).toBe(true)
      expect(await outputs(job.receive())).toEqual(lines(1, 3))
      expect(job.hasMoreData).toBe(false)
      expect(await outputs(job.receive())).toEqual([])
      await session.close()
    },
  )

  test('S25 a job that said nothing has no more data when it has ended', async () => {
    const jobs = [await peers.laptop.start(() => {}), await peers.laptop.start(() => {}, { on: 'server01' })]
    for (const job of jobs) {
      await job.wait()
      expect(job.hasMoreData).toBe(false)
    }
  })
})
