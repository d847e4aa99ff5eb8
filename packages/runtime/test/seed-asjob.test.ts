// Way 2, AsJob: the work runs on server01, the job and its results are here.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type JobRecord, type ScriptContext, codeOf } from '../src/index.ts'
import { Peers, all, outputs, refusal, until, within } from './support/peers.ts'
import { SYSTEM_LOG, counter, lines, pidOf, readEvents } from './support/scripts.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start('server01', 'server02')
})
afterAll(() => peers.close())

describe('AsJob', () => {
  test('S32 S33 S37 S38 the job is listed here, first Running, then Completed, with its location server01', async () => {
    const gate = peers.gate()
    const program = await peers.program('first-job')
    await program.join(await peers.server('server01').ask('invite'))
    const script = async function* (ctx: ScriptContext, path: string): AsyncGenerator<string> {
      const { existsSync } = process.getBuiltinModule('node:fs')
      yield 'begun'
      while (!existsSync(path)) await ctx.sleep(10)
    }
    const job = await program.start(script, { args: [gate.path], on: 'server01' })
    await job.wait({ for: ['Running'] })
    const row = { id: 1, name: 'Job1', type: 'RemoteJob', hasMoreData: true, location: 'server01' }
    expect((await program.jobs()).map((one) => one.snapshot)).toMatchObject([{ ...row, state: 'Running' }])
    expect(job.command).toContain('begun')
    expect(job.peer).toBe(program.id)
    expect(job.children.map((child) => child.location)).toEqual(['server01'])
    expect(await peers.server('server01').ask('jobs')).toEqual([])

    await gate.open()
    await job.wait()
    expect((await program.jobs()).map((one) => one.snapshot)).toMatchObject([{ ...row, state: 'Completed' }])
    await program.close()
  })

  test('S34 its name is the one it was given', async () => {
    const job = await peers.laptop.start(() => 1, { on: 'server01', name: 'x' })
    expect(job.name).toBe('x')
    expect((await peers.laptop.job('x')).instanceId).toBe(job.instanceId)
    await job.wait()
  })

  test('S34 children take no numbers of their own: 3 and its 3.1 and 3.2, then 4', async () => {
    const { laptop } = peers
    const job = await laptop.start(() => 1, { on: ['server01', 'server02'] })
    const next = await laptop.start(() => 1)
    expect(next.id).toBe(job.id + 1)
    expect(job.children.map((child) => child.name)).toEqual([`Job${job.id}.1`, `Job${job.id}.2`])
    const second = await laptop.job(`${job.id}.2`)
    expect(second).toMatchObject({ location: 'server02', name: `Job${job.id}.2` })
    expect(second.instanceId).toBe(job.children[1]?.instanceId)
    await Promise.all([job.wait(), next.wait()])
  })

  test('S35 it is of the same type as any other job', async () => {
    const { laptop } = peers
    const [remote, local] = [await laptop.start(() => 1, { on: 'server01' }), await laptop.start(() => 1)]
    await Promise.all([remote.wait(), local.wait()])
    expect(Object.getPrototypeOf(remote)).toBe(Object.getPrototypeOf(local))
    const optional = new Set(['pid', 'parentId', 'position', 'exitCode', 'streamed', 'reason'])
    const fields = (snapshot: object): string[] =>
      Object.keys(snapshot)
        .filter((key) => !optional.has(key))
        .toSorted()
    expect(fields(remote.snapshot)).toEqual(fields(local.snapshot))
    expect((await laptop.job(remote.id)).instanceId).toBe(remote.instanceId)
    expect((await laptop.jobs({ id: remote.id })).map((job) => job.instanceId)).toEqual([remote.instanceId])
  })

  test('S36 all verbs work on it here, with no call to server01', async () => {
    const { laptop } = peers
    const job = await laptop.start(counter, { args: [5], on: 'server01' })
    expect((await job.wait()).state).toBe('Completed')
    expect(await outputs(job.receive({ keep: true }))).toEqual(lines(1, 5))
    expect(await outputs(job.receive({ limit: 2 }))).toEqual(lines(1, 2))
    expect(await outputs(job.receive())).toEqual(lines(3, 5))
    expect(await job.output()).toEqual(lines(1, 5))
    await job.remove()
    await expect(laptop.job(job.instanceId)).rejects.toMatchObject({ code: 'JOB_NOT_FOUND' })

    const endless = await laptop.start(
      async function* (ctx: ScriptContext) {
        yield 'begun'
        await ctx.sleep(600_000)
      },
      { on: 'server01' },
    )
    await outputs(endless.receive({ follow: true, limit: 1 }))
    await expect(endless.remove()).rejects.toMatchObject({ code: 'JOB_NOT_FINISHED' })
    expect((await endless.stop()).state).toBe('Stopped')
    await endless.remove()
  })

  test('S39 its results have come by themselves: received here although server01 is gone', async () => {
    const server03 = await peers.add('server03')
    const job = await peers.laptop.start(readEvents, { args: [SYSTEM_LOG, 50], on: 'server03' })
    await job.wait()
    await server03.kill()
    const results = await outputs(((await peers.laptop.job(job.id)) as typeof job).receive())
    expect(results).toHaveLength(50)
    expect(results.map(({ index }) => index)).toEqual(Array.from({ length: 50 }, (_, n) => n))
    await until('nothing of server03 is left', () => server03.processes().length === 0)
  })
})

describe('several locations', () => {
  test('one child each; records carry their location, each once and in its order', async () => {
    const job = await peers.laptop.start(counter, { args: [20], on: ['server01', 'server02'] })
    const records = await all(job.receive({ follow: true }))
    for (const [n, location] of ['server01', 'server02'].entries()) {
      const its = records.filter((record) => record.location === location)
      expect(its.map(({ seq }) => seq)).toEqual(Array.from({ length: 20 }, (_, seq) => seq))
      expect(new Set(its.map(({ jobId }) => jobId))).toEqual(new Set([job.children[n]?.instanceId]))
      expect(await outputs(its)).toEqual(lines(1, 20))
    }
    expect(records).toHaveLength(40)
    expect((await job.finished).state).toBe('Completed')
  })

  test('one that fails does not stop the other; the parent is Failed once all have ended', async () => {
    const script = async (ctx: ScriptContext): Promise<string> => {
      if (ctx.location === 'server01') throw new RangeError('no room on server01')
      return 'fine'
    }
    const job = await peers.laptop.start(script, { on: ['server01', 'server02'] })
    const { state, reason } = await job.wait()
    expect(state).toBe('Failed')
    expect(job.children.map((child) => child.state)).toEqual(['Failed', 'Completed'])
    expect(job.children[0]?.reason).toMatchObject({ name: 'RangeError', message: 'no room on server01' })
    expect(codeOf(reason)).toBe('CHILD_JOB')
    expect(await outputs(job.children[1]!.receive())).toEqual(['fine'])
  })

  test('a run on several: each failure is an error record, the others go on, awaiting throws after the rest', async () => {
    const script = async function* (ctx: ScriptContext): AsyncGenerator<string> {
      yield 'begun'
      if (ctx.location === 'server01') throw new RangeError('no room on server01')
      yield 'ended'
    }
    const run = peers.laptop.run(script, { on: ['server01', 'server02'] })
    const records: JobRecord<string>[] = []
    const reading = (async () => {
      for await (const record of run.records()) records.push(record)
    })()
    const thrown = await within('reading', reading).catch((error: unknown) => error)
    const of = (location: string): JobRecord<string>[] => records.filter((record) => record.location === location)
    expect(await outputs(of('server02'))).toEqual(['begun', 'ended'])
    expect(await outputs(of('server01'))).toEqual(['begun'])
    const [error] = of('server01').filter((record) => record.kind === 'error')
    expect.soft(error?.error).toMatchObject({ name: 'RangeError', message: 'no room on server01' })
    expect.soft(thrown, '`records()` does not throw it too').toBeUndefined()
    const failed = await refusal('awaiting it', () => run)
    expect(failed).toBeInstanceOf(AggregateError)
    expect((failed as AggregateError).errors).toMatchObject([{ name: 'RangeError', message: 'no room on server01' }])
  })

  test('a run on one: its throw rejects as it is', async () => {
    const error = await refusal('it throws', () =>
      peers.laptop.run(
        () => {
          throw new RangeError('no room')
        },
        { on: 'server01' },
      ),
    )
    expect(error).toBeInstanceOf(RangeError)
    expect(error.message).toBe('no room')
  })

  test('one child stopped by itself leaves the parent Completed; the parent stopped is Stopped', async () => {
    const endless = async function* (ctx: ScriptContext, where: string): AsyncGenerator<string> {
      yield 'begun'
      if (where === 'all' || ctx.location === where) await ctx.sleep(600_000)
    }
    const one = await peers.laptop.start(endless, { args: ['server01'], on: ['server01', 'server02'] })
    await outputs(one.children[0]!.receive({ follow: true, limit: 1 }))
    await one.children[0]!.stop()
    expect((await one.wait()).state).toBe('Completed')
    expect(one.children.map((child) => child.state)).toEqual(['Stopped', 'Completed'])

    const both = await peers.laptop.start(endless, { args: ['all'], on: ['server01', 'server02'] })
    for (const child of both.children) await outputs(child.receive({ follow: true, limit: 1 }))
    expect((await both.stop()).state).toBe('Stopped')
    expect(both.children.map((child) => child.state)).toEqual(['Stopped', 'Stopped'])
  })

  test('a location that cannot be reached is a Failed child; the others go on', async () => {
    const server04 = await peers.add('server04')
    await server04.close()
    const job = await peers.laptop.start(pidOf, { on: ['server04', 'server02'], lostAfter: '1s' })
    expect((await job.wait()).state).toBe('Failed')
    const [gone, fine] = job.children
    expect(gone?.state).toBe('Failed')
    expect(gone?.reason?.message).toContain('server04')
    expect(fine?.state).toBe('Completed')
  })
})
