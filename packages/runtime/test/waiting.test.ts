// Waiting for one job and for several: what ends a wait, what does not, and what it says.
import { mkdir } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectLocal, waitAll, waitAny } from '../src/index.ts'
import type { Job, JobState, ScriptContext, StartOptions } from '../src/index.ts'
import { Peers, refusal, until, within, type Gate } from './support/peers.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start('server01')
})
afterAll(() => peers.close())

async function opened(ctx: ScriptContext, gate: string): Promise<string> {
  const { existsSync } = process.getBuiltinModule('node:fs')
  while (!existsSync(gate)) await ctx.sleep(10)
  return gate
}

async function asks(ctx: ScriptContext): Promise<string> {
  return (await ctx.ask('go on?')) as string
}

/** A job that ends when its gate is opened. */
async function gated(more: StartOptions = { engine: 'thread' }): Promise<{ job: Job; gate: Gate }> {
  const gate = peers.gate()
  const job: Job = await peers.laptop.start(opened, { ...more, args: [gate.path] })
  await job.wait({ for: ['Running'], timeout: '10s' })
  return { job, gate }
}

async function asking(): Promise<Job> {
  const job = await peers.laptop.start(asks, { engine: 'thread' })
  await job.wait({ for: ['Blocked'], timeout: '10s' })
  return job
}

const ids = (jobs: readonly Job[]): number[] => jobs.map(({ id }) => id)
const states = (jobs: readonly Job[]): JobState[] => jobs.map(({ state }) => state)
const ending = { grace: 0 } as const

describe('one job', () => {
  test('P33 by name, number, itself, instanceId, snapshot and state it is the same job, Completed', async () => {
    const job = await peers.laptop.start(() => 2, { name: 'p33', engine: 'thread' })
    for (const which of ['p33', job.id, job, job.instanceId, job.snapshot]) {
      const same = await peers.laptop.job(which)
      expect(same).toBe(job)
      expect((await same.wait()).state).toBe('Completed')
    }
    const listed = await peers.laptop.jobs({ state: 'Completed', name: 'p33' })
    expect(listed).toHaveLength(1)
    expect(listed[0]).toBe(job)
    expect((await listed[0]!.wait({ timeout: 0 })).state).toBe('Completed')
  })

  test('P36 a timeout of 0 looks and says how it is; any other is kept, and the job goes on', async () => {
    const { job, gate } = await gated()
    expect(await refusal('waited 0', () => job.wait({ timeout: 0 }))).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('still Running'),
    })
    expect(await refusal('waited 20 ms', () => job.wait({ timeout: 20 }))).toMatchObject({ code: 'TIMEOUT' })
    expect(job.state).toBe('Running')
    await gate.open()
    expect((await job.wait({ timeout: '10s' })).state).toBe('Completed')
    expect((await job.wait({ timeout: 0 })).state).toBe('Completed')
  })

  test('a signal ends the wait with its reason, before and while it waits', async () => {
    const { job, gate } = await gated()
    const stop = new AbortController()
    const waiting = job.wait({ signal: stop.signal })
    stop.abort(new Error('enough'))
    expect(await refusal('aborted', () => waiting)).toMatchObject({ message: 'enough' })
    expect(await refusal('aborted before', () => job.wait({ signal: stop.signal }))).toMatchObject({
      message: 'enough',
    })
    expect(await refusal('aborted output', () => job.output({ signal: stop.signal }))).toMatchObject({
      message: 'enough',
    })
    await gate.open()
    await job.wait()
    // Also of one that has ended: what would be missing must not look like all there was.
    expect(await refusal('aborted output', () => job.output({ signal: stop.signal }))).toMatchObject({
      message: 'enough',
    })
    expect(await job.output()).toEqual([gate.path])
  })

  test('a state that there is not is refused, for it would never come', async () => {
    const { job, gate } = await gated()
    const states = ['Done' as JobState]
    for (const wait of [() => job.wait({ for: states }), () => waitAll([job], { for: states })])
      expect(await refusal('for Done', wait)).toMatchObject({
        code: 'USAGE',
        message: "`for`: there is no state 'Done'",
      })
    expect(await refusal('a bad time', () => job.wait({ timeout: 'soon' }))).toMatchObject({ code: 'USAGE' })
    await gate.open()
    await job.wait()
  })

  test('a handle that was let go of hears of its job again when it is used', async () => {
    const { job, gate } = await gated()
    await job[Symbol.asyncDispose]()
    const waiting = job.wait()
    const both = waitAll([job])
    await gate.open()
    expect((await within('the wait', waiting)).state).toBe('Completed')
    expect((await within('the wait for all', both)).timedOut).toBe(false)
  })
})

describe('several jobs', () => {
  test('P34 waitAny: exactly one, that has ended; the others are not disturbed', async () => {
    const three = [await gated(), await gated(), await gated()]
    const jobs = three.map(({ job }) => job)
    await three[1]!.gate.open()
    const first = await within('any', waitAny(jobs))
    expect(ids(first.finished)).toEqual([jobs[1]!.id])
    expect(first.finished[0]).toBe(jobs[1])
    expect(ids(first.pending)).toEqual([jobs[0]!.id, jobs[2]!.id])
    expect(first.timedOut).toBe(false)
    expect(states(jobs)).toEqual(['Running', 'Completed', 'Running'])
    await three[0]!.gate.open()
    await three[2]!.gate.open()
    await within('all', waitAll(jobs))
    // Several are there: the first that was given, and what is left gives the next one.
    const order: number[] = []
    for (let left = jobs.toReversed(); left.length > 0;) {
      const { finished, pending } = await waitAny(left)
      order.push(...ids(finished))
      left = pending
    }
    expect(order).toEqual(ids(jobs.toReversed()))
  })

  test('waitAll gives them in the order in which they were given, whichever ended first', async () => {
    const three = [await gated(), await gated({}), await gated()]
    const jobs = three.map(({ job }) => job)
    const waiting = waitAll(jobs)
    for (const { gate, job } of three.toReversed()) {
      await gate.open()
      await job.wait()
    }
    const { finished, pending, timedOut } = await within('all', waiting)
    expect(ids(finished)).toEqual(ids(jobs))
    expect(finished.every((job, index) => job === jobs[index])).toBe(true)
    expect({ pending, timedOut }).toEqual({ pending: [], timedOut: false })
  })

  test('the same job twice does not hang; it is told twice', async () => {
    const { job, gate } = await gated()
    const waiting = [waitAll([job, job]), waitAny([job, job])] as const
    await gate.open()
    const [all, any] = await within('both', Promise.all(waiting))
    expect(ids(all.finished)).toEqual([job.id, job.id])
    expect(ids(any.finished)).toEqual([job.id])
    expect(any.pending).toEqual([])
  })

  test('P36 a timeout of 0 looks and returns', async () => {
    const { job, gate } = await gated()
    const over = await peers.laptop.start(() => 1, { engine: 'thread' })
    await over.wait()
    const all = await waitAll([job, over], { timeout: 0 })
    expect([ids(all.finished), ids(all.pending), all.timedOut]).toEqual([[over.id], [job.id], true])
    const any = await waitAny([job], { timeout: 0 })
    expect([any.finished, ids(any.pending), any.timedOut]).toEqual([[], [job.id], true])
    expect((await waitAny([job, over], { timeout: 0 })).timedOut).toBe(false)
    await gate.open()
    await job.wait()
  })

  test('nothing is lost when the time runs out: who has ended is told, who has not goes on', async () => {
    const slow = await gated()
    const quick = await gated()
    await quick.gate.open()
    await quick.job.wait()
    const { finished, pending, timedOut } = await waitAll([slow.job, quick.job], { timeout: 50 })
    expect([ids(finished), ids(pending), timedOut]).toEqual([[quick.job.id], [slow.job.id], true])
    expect(slow.job.state).toBe('Running')
    await slow.gate.open()
    expect((await within('the rest', waitAll(pending))).timedOut).toBe(false)
  })

  test('no jobs are all there at once', async () => {
    for (const wait of [waitAll, waitAny])
      expect(await wait([])).toEqual({ finished: [], pending: [], timedOut: false })
  })

  test('a job that failed or was stopped has ended like any other', async () => {
    const failed = await peers.laptop.start(
      () => {
        throw new Error('no')
      },
      { engine: 'thread' },
    )
    const { job: stopped } = await gated()
    const waiting = waitAll([failed, stopped])
    await stopped.stop(ending)
    expect(states((await within('both', waiting)).finished)).toEqual(['Failed', 'Stopped'])
  })

  test('a signal ends it with its reason, and nothing goes on listening', async () => {
    const { job, gate } = await gated()
    const stop = new AbortController()
    const waiting = waitAll([job], { signal: stop.signal })
    stop.abort(new Error('enough'))
    expect(await refusal('aborted', () => waiting)).toMatchObject({ message: 'enough' })
    expect(await refusal('aborted before', () => waitAny([job], { signal: stop.signal }))).toMatchObject({
      message: 'enough',
    })
    await gate.open()
    expect((await job.wait()).state).toBe('Completed')
  })

  test('`for` counts a state as being there, and it stays counted', async () => {
    const one = await asking()
    const { job, gate } = await gated()
    const waiting = waitAll([one, job], { for: ['Blocked'] })
    await one.answer('go')
    await one.wait()
    await gate.open()
    const { finished, pending } = await within('both', waiting)
    expect([ids(finished), pending]).toEqual([[one.id, job.id], []])
  })

  test('more jobs than run at once', async () => {
    const jobs = await Promise.all(
      Array.from({ length: 6 }, (_, n) => peers.laptop.start((_ctx, m: number) => m, { engine: 'thread', args: [n] })),
    )
    const { finished, timedOut } = await waitAll(jobs)
    expect(ids(finished)).toEqual(ids(jobs))
    expect(timedOut).toBe(false)
  })
})

describe('jobs that stand still', () => {
  test('P38 differs: a Disconnected job ends the wait as pending and not timed out, no warning; force goes on', async () => {
    const session = await peers.laptop.connect('server01')
    const { job, gate } = await gated({ on: session } as StartOptions)
    const other = await gated()
    await session.disconnect()
    await job.wait({ for: ['Disconnected'], timeout: '10s' })
    // While another one moves there is something to wait for.
    const waiting = waitAll([job, other.job])
    await other.gate.open()
    const { finished, pending, timedOut } = await within('what can end', waiting)
    expect([ids(finished), ids(pending), timedOut]).toEqual([[other.job.id], [job.id], false])
    expect(job.state).toBe('Disconnected')
    const any = await within('any', waitAny([job]))
    expect([any.finished, ids(any.pending), any.timedOut]).toEqual([[], [job.id], false])
    expect((await waitAll([job], { force: true, timeout: 50 })).timedOut).toBe(true)
    // Waiting for this very job, by name, is waiting for its end.
    const waits = Promise.all([waitAll([job], { force: true }), job.wait(), job.output()])
    await gate.open()
    await session.receive()
    const [forced, last, values] = await within('with force', waits)
    expect(ids(forced.finished)).toEqual([job.id])
    expect(last.state).toBe('Completed')
    expect(values).toEqual([gate.path])
    await session.close()
  })

  test('P39 differs: Blocked jobs end the wait as pending, with their question, instead of an error; force goes on', async () => {
    const job = await asking()
    const { finished, pending, timedOut } = await within('all', waitAll([job]))
    expect([finished, ids(pending), timedOut]).toEqual([[], [job.id], false])
    expect(pending[0]!.question?.prompt).toBe('go on?')
    expect((await waitAll([job], { timeout: 0 })).timedOut, 'it is not for time to end this').toBe(false)
    const forced = waitAll([job], { force: true })
    await job.answer('yes')
    expect(ids((await within('with force', forced)).finished)).toEqual([job.id])
    expect(await job.output()).toEqual(['yes'])
  })

  test('P39 differs: of any, only when all are Blocked; while another moves it is waited for', async () => {
    const blocked = [await asking(), await asking()]
    const none = await within('any', waitAny(blocked))
    expect([none.finished, ids(none.pending), none.timedOut]).toEqual([[], ids(blocked), false])
    const { job, gate } = await gated()
    const waiting = waitAny([...blocked, job])
    await gate.open()
    expect(ids((await within('the one that moves', waiting)).finished)).toEqual([job.id])
    for (const one of blocked) await one.stop(ending)
  })

  test('a Suspended job ends the wait; one that is set going again counts again', async () => {
    const still = await gated({})
    const other = await gated()
    await still.job.suspend()
    const alone = await within('all', waitAll([still.job]))
    expect([ids(alone.pending), alone.timedOut]).toEqual([[still.job.id], false])
    const waiting = waitAll([still.job, other.job])
    await still.job.resume()
    await until('it runs', () => still.job.state === 'Running')
    await other.gate.open()
    await other.job.wait()
    const early = await Promise.race([
      waiting.then(() => 'over'),
      still.job.wait({ for: ['Running'] }).then(() => 'on'),
    ])
    expect(early).toBe('on')
    await still.gate.open()
    expect(ids((await within('both', waiting)).finished)).toEqual([still.job.id, other.job.id])
  })
})

test('what can be followed no longer ends every wait, also with force, and for its children', async () => {
  const home = peers.path('home')
  await mkdir(home, { mode: 0o700 })
  await peers.process('daemon', { home, daemon: true, network: false })
  const client = await connectLocal({ home })
  const gate = peers.gate()
  const job = await client.start(opened, { args: [gate.path], engine: 'thread' })
  const parent = await client.start(opened, { args: [gate.path], on: 'localhost' })
  await Promise.all([job, parent].map((one) => one.wait({ for: ['Running'], timeout: '10s' })))
  const [child] = parent.children
  const all = waitAll([job, parent, child!], { force: true })
  const waits = [job, parent, child!].map((one) => refusal('wait', () => one.wait()))
  await client.close()
  const { finished, pending, timedOut } = await within('with force', all)
  expect([finished, pending.length, timedOut]).toEqual([[], 3, false])
  for (const one of await within('one by one', Promise.all(waits))) expect(one).toMatchObject({ code: 'PEER_LOST' })
  await gate.open()
})
