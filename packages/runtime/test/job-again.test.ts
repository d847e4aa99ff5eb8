// When a job is launched, for how long it may go on, and what is done when it fails: delay, after, deadline, retry, restart.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Alarm } from '../src/alarm.ts'
import { LONGEST_TIMER } from '../src/duration.ts'
import type { Job, JobRecord, ScriptContext } from '../src/index.ts'
import { JobAttempts } from '../src/job-attempts.ts'
import { singleRecord } from '../src/record.ts'
import { type Deed, InstantSession } from './support/instant-session.ts'
import { Peers, all, outputs, refusal, until } from './support/peers.ts'

const failing = (message: string): Deed => ({
  says: [singleRecord('output', message)],
  ending: { outcome: 'failed', error: new Error(message) },
})
const inState = (job: Job, ...states: Job['state'][]): Promise<unknown> => job.wait({ for: states, timeout: '10s' })
const states = (job: Job): string[] => job.snapshot.history.map(({ state }) => state)
/** What it said, in a word each. */
const said = (records: readonly JobRecord[]): unknown[] =>
  records.map((one) => {
    if (one.kind === 'output') return one.value
    return one.kind === 'error' ? `! ${one.error.message}` : `${one.kind}: ${'value' in one ? String(one.value) : ''}`
  })

describe('delay', () => {
  test('until then it is NotStarted, and listed', async () => {
    await using table = new InstantSession()
    const job = table.handle(await table.start({ delay: 60 }))
    expect(job.state).toBe('NotStarted')
    expect(await table.jobs({ state: 'NotStarted' })).toMatchObject([{ id: 1 }])
    expect(await job.output()).toEqual(['done'])
    const [made, begun] = job.snapshot.history
    // A timer may be early by the part of a millisecond that clocks do not show.
    expect(begun!.at.getTime() - made!.at.getTime()).toBeGreaterThanOrEqual(59)
  })

  test('stopped meanwhile it never begins, nor do its children', async () => {
    let begun = 0
    await using table = new InstantSession(() => (begun++, {}))
    const alone = table.handle(await table.start({ delay: 3_600_000 }))
    const fan = table.handle(await table.start({ delay: 3_600_000 }, [{ peer: 'a' }, { peer: 'b' }]))
    for (const job of [alone, fan]) {
      expect(await job.stop({ reason: 'no more' })).toMatchObject({ state: 'Stopped', reason: { message: 'no more' } })
      expect(job.begunAt).toBeUndefined()
    }
    expect(fan.children.map(({ state }) => state)).toEqual(['Stopped', 'Stopped'])
    expect(begun).toBe(0)
  })

  test('a child that is stopped while its parent waits does not begin; the others do', async () => {
    const at: string[] = []
    await using table = new InstantSession((spec) => (at.push(spec.work.startId.slice(-1)), {}))
    const job = table.handle(await table.start({ delay: 60 }, [{ peer: 'a' }, { peer: 'b' }]))
    await job.children[0]!.stop()
    expect(job.state).toBe('NotStarted')
    expect((await job.wait()).state).toBe('Completed')
    expect(job.children.map(({ state }) => state)).toEqual(['Stopped', 'Completed'])
    expect(at).toEqual(['2'])
  })

  test('a session that is closed takes along what waits in it', async () => {
    const table = new InstantSession()
    const job = table.handle(await table.start({ delay: 3_600_000 }))
    await table.host.close()
    expect((await job.finished).state).toBe('Stopped')
  })

  test('also further off than one timer can wait', () => {
    vi.useFakeTimers()
    try {
      let rung = 0
      const alarm = new Alarm(2 * LONGEST_TIMER + 5, () => rung++)
      vi.advanceTimersByTime(2 * LONGEST_TIMER + 4)
      expect(rung).toBe(0)
      vi.advanceTimersByTime(1)
      expect(rung).toBe(1)
      const other = new Alarm(LONGEST_TIMER + 5, () => rung++)
      vi.advanceTimersByTime(LONGEST_TIMER + 1)
      other.cancel()
      alarm.cancel()
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('after', () => {
  test('it starts when that one has Completed, and not before', async () => {
    const first = Promise.withResolvers<Deed>()
    const order: string[] = []
    await using table = new InstantSession(({ work }) => {
      order.push(work.command)
      return work.command === 'first' ? first.promise : {}
    })
    const a = await table.start({ command: 'first' })
    const b = table.handle(await table.start({ command: 'second', after: a.instanceId }))
    const c = table.handle(await table.start({ command: 'third', after: b.id }))
    expect([b.state, c.state, order]).toEqual(['NotStarted', 'NotStarted', ['first']])
    first.resolve({})
    expect((await c.wait()).state).toBe('Completed')
    expect(order).toEqual(['first', 'second', 'third'])
    // Behind what has ended and is a row by now.
    await table.quiet()
    expect((await table.handle(await table.start({ after: a.id })).wait()).state).toBe('Completed')
  })

  test.each([
    ['failed', failing('bad')],
    ['was stopped', undefined],
  ])('one that %s stops what was to follow, and what was to follow that', async (how, deed) => {
    await using table = new InstantSession(() => (deed ? Promise.resolve(deed) : new Promise<Deed>(() => undefined)))
    const a = table.handle(await table.start({ name: 'build' }))
    const b = table.handle(await table.start({ name: 'test', after: 'build' }))
    const c = table.handle(await table.start({ after: 'test' }))
    if (!deed) await a.stop()
    const message = (name: string, what: string): string => `it was to start after ${name}, which ${what}`
    expect(await b.finished).toMatchObject({ state: 'Stopped', reason: { message: message('build', how) } })
    expect(await c.finished).toMatchObject({ state: 'Stopped', reason: { message: message('test', 'was stopped') } })
    expect(states(c)).not.toContain('Running')
  })

  test('a job that is not there is said, and nothing is made', async () => {
    await using table = new InstantSession()
    expect(await refusal('after nothing', () => table.start({ after: 'x' }))).toMatchObject({ code: 'JOB_NOT_FOUND' })
    expect(await table.start()).toMatchObject({ id: 1 })
  })
})

describe('retry', () => {
  test('once more until it works: one job, one log, a warning between attempts', async () => {
    const ids: string[] = []
    await using table = new InstantSession(({ work }) => {
      ids.push(work.startId)
      return ids.length < 3 ? failing(`no ${ids.length}`) : {}
    })
    const job = table.handle(await table.start({ startId: 'mine', retry: { times: 5, delay: 5, factor: 2 } }))
    const records = await all(job.receive({ follow: true }))
    expect(said(records)).toEqual([
      'no 1',
      '! no 1',
      'warning: attempt 1 failed: no 1; attempt 2 of 6 follows in 5 ms',
      'no 2',
      '! no 2',
      'warning: attempt 2 failed: no 2; attempt 3 of 6 follows in 10 ms',
      'done',
    ])
    expect(records.map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4, 5, 6])
    expect(job.snapshot).toMatchObject({ state: 'Completed', epoch: 3, errorCount: 2 })
    expect(job.reason).toBeUndefined()
    expect(states(job)).toEqual(['NotStarted', 'Running', 'Completed'])
    expect(ids).toEqual(['mine', 'mine~2', 'mine~3'])
    expect(await table.job(1)).toMatchObject({ epoch: 3, errorCount: 2 })
  })

  test('it is Failed as its last attempt is', async () => {
    let attempts = 0
    await using table = new InstantSession(() => failing(`no ${++attempts}`))
    const job = table.handle(await table.start({ retry: { times: 1, delay: 0, factor: 1 } }))
    expect(await job.finished).toMatchObject({ state: 'Failed', reason: { message: 'no 2' }, epoch: 2 })
    expect(attempts).toBe(2)
  })

  test('one that completes or is stopped is not done again, also between attempts', async () => {
    let attempts = 0
    await using table = new InstantSession(() => failing(`no ${++attempts}`))
    const job = table.handle(await table.start({ retry: { times: 9, delay: 3_600_000, factor: 1 } }))
    await until('the first has failed', () => job.snapshot.epoch === 2)
    expect(job.state).toBe('Running')
    expect(await job.stop()).toMatchObject({ state: 'Stopped' })
    expect(attempts).toBe(1)
  })

  test('the next attempt waits while nobody reads what the others said', async () => {
    let attempts = 0
    const large = singleRecord('output', 'x'.repeat(10_000))
    await using table = new InstantSession(
      () => ({ says: [large], ending: { outcome: 'failed', error: new Error(`no ${++attempts}`) } }),
      { logLimit: 5_000 },
    )
    const job = table.handle(await table.start({ retry: { times: 2, delay: 0, factor: 1 } }))
    await until('the first has failed', () => job.snapshot.epoch === 2)
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(attempts).toBe(1)
    expect((await all(job.receive())).length).toBe(3)
    await until('there is room', () => job.snapshot.epoch === 3)
    expect(attempts).toBe(2)
    expect((await all(job.receive({ follow: true }))).length).toBe(5)
    expect(attempts).toBe(3)
  })

  test('what cannot be done again is refused before anything is made', async () => {
    await using table = new InstantSession()
    const retry = { times: 1, delay: 0, factor: 1 }
    const restart = { times: 1, within: 1 }
    for (const spec of [
      { retry, restart },
      { retry, input: true },
      { restart, input: true },
    ])
      expect(await refusal('refused', () => table.start(spec))).toMatchObject({ code: 'USAGE' })
    expect(await table.jobs()).toEqual([])
  })

  test('waits grow up to a day, and the times are counted', () => {
    const error = new Error('no')
    const some = new JobAttempts({ times: 2, delay: 100, factor: 3 }, undefined)
    expect([some.failed(error, 0), some.failed(error, 0), some.failed(error, 0)]).toEqual([
      { wait: 100, of: 3 },
      { wait: 300, of: 3 },
      {},
    ])
    expect(some.count).toBe(3)
    const many = new JobAttempts({ times: 5_000, delay: 1, factor: 1000 }, undefined)
    for (let n = 0; n < 4_999; n++) many.failed(error, 0)
    expect(many.failed(error, 0)).toEqual({ wait: 24 * 3_600_000, of: 5_001 })
  })
})

describe('restart', () => {
  test('at once, whenever it fails; what completes is done', async () => {
    let attempts = 0
    await using table = new InstantSession(() => (++attempts < 4 ? failing(`no ${attempts}`) : {}))
    const job = table.handle(await table.start({ restart: { times: 3, within: 60_000 } }))
    expect(await job.finished).toMatchObject({ state: 'Completed', epoch: 4, errorCount: 3 })
  })

  test('more often than it may within its time, it is Failed RESTART_INTENSITY', async () => {
    let attempts = 0
    await using table = new InstantSession(() => failing(`no ${++attempts}`))
    const job = table.handle(await table.start({ restart: { times: 3, within: 60_000 } }))
    expect(await job.finished).toMatchObject({
      state: 'Failed',
      reason: { code: 'RESTART_INTENSITY', message: 'it failed 4 times within 60000 ms', cause: { message: 'no 4' } },
    })
    expect(attempts).toBe(4)
    const errors = (await all(job.receive())).filter(({ kind }) => kind === 'error')
    expect(said(errors)).toEqual(['! no 1', '! no 2', '! no 3', '! no 4', '! it failed 4 times within 60000 ms'])
  })

  test('failures further apart than that are not too many', () => {
    const attempts = new JobAttempts(undefined, { times: 1, within: 100 })
    const error = new Error('no')
    for (const now of [0, 101, 202, 303]) expect(attempts.failed(error, now)).toEqual({ wait: 0 })
    expect(attempts.failed(error, 403)).toMatchObject({ error: { code: 'RESTART_INTENSITY' } })
  })
})

describe('deadline', () => {
  const late = { state: 'Failed', reason: { code: 'TIMEOUT', message: 'its deadline of 50 ms passed' } }

  test('in the queue the clock runs on', async () => {
    await using table = new InstantSession(() => 'queued')
    const job = table.handle(await table.start({ deadline: 50 }))
    expect(job.state).toBe('NotStarted')
    expect(await job.finished).toMatchObject(late)
    expect((await all(job.receive())).map(({ kind }) => kind)).toEqual(['error'])
  })

  test('of a parent it is one for all: what has completed is, what waits for its turn never begins', async () => {
    const begun: string[] = []
    await using table = new InstantSession(({ work }) => {
      begun.push(work.startId.slice(-1))
      return work.startId.endsWith('1') ? {} : new Promise<Deed>(() => undefined)
    })
    const on = ['a', 'b', 'c'].map((peer) => ({ peer }))
    const job = table.handle(await table.start({ deadline: 50 }, on, { throttle: 1 }))
    expect(await job.finished).toMatchObject(late)
    expect(job.snapshot.children).toMatchObject([{ state: 'Completed' }, late, late])
    expect(begun).toEqual(['1', '2'])
  })

  test('between attempts', async () => {
    await using table = new InstantSession(() => failing('no'))
    const spec = { deadline: 50, retry: { times: 9, delay: 3_600_000, factor: 1 } }
    expect(await table.handle(await table.start(spec)).finished).toMatchObject(late)
  })

  test('it begins with the job: behind the delay', async () => {
    await using table = new InstantSession()
    const job = table.handle(await table.start({ delay: 80, deadline: 50 }))
    expect((await job.finished).state).toBe('Completed')
  })
})

describe('with real work', () => {
  let peers: Peers
  beforeAll(async () => {
    peers = await Peers.start('server01', 'server02')
  })
  afterAll(() => peers.close())

  /** Fails until it has been tried so often; what it knows of that is in a file. */
  const flaky = async function* (ctx: ScriptContext, log: string, succeeds: number): AsyncGenerator<string> {
    const { appendFileSync, readFileSync } = process.getBuiltinModule('node:fs')
    appendFileSync(log, 'x')
    const attempt = readFileSync(log, 'utf8').length
    yield `attempt ${attempt}`
    if (attempt < succeeds) throw new RangeError(`no ${attempt}`)
    await ctx.sleep(1)
  }
  const places: [string, object][] = [
    ['a process', {}],
    ['a thread', { engine: 'thread' }],
    ['server01', { on: 'server01' }],
  ]

  test.each(places)('retry on %s: every attempt is a new start, its records behind the others', async (_, where) => {
    const log = peers.path('attempts')
    const job = await peers.laptop.start(flaky, { ...where, args: [log, 3], retry: { times: 3, delay: 10 } })
    const records = await all(job.receive({ follow: true }))
    const outcome = job.children[0] ?? job
    expect(job.state).toBe('Completed')
    expect(outcome.snapshot.epoch).toBe(3)
    expect(records.map(({ seq }) => seq)).toEqual(records.map((_one, index) => index))
    expect(said(records).filter((one) => !String(one).startsWith('warning'))).toEqual([
      'attempt 1',
      '! no 1',
      'attempt 2',
      '! no 2',
      'attempt 3',
    ])
  })

  test('of several children only the one that failed is tried again', async () => {
    const logs = [peers.path('a'), peers.path('b')]
    const work = async function* (ctx: ScriptContext, names: string[]): AsyncGenerator<number> {
      const { appendFileSync, readFileSync } = process.getBuiltinModule('node:fs')
      const name = names[ctx.location === 'server01' ? 0 : 1]!
      appendFileSync(name, 'x')
      const count = readFileSync(name, 'utf8').length
      if (ctx.location === 'server01' && count < 2) throw new Error('once')
      yield count
    }
    const on = ['server01', 'server02']
    const job = await peers.laptop.start(work, { on, args: [logs], retry: { times: 1, delay: 1 } })
    expect((await job.wait()).state).toBe('Completed')
    expect(job.children.map(({ snapshot }) => snapshot.epoch)).toEqual([2, undefined])
    expect(new Set(await outputs(job.receive()))).toEqual(new Set([1, 2]))
  })

  test('restart: a process that is killed is started again', async () => {
    const job = await peers.laptop.start(
      async function* (ctx: ScriptContext) {
        yield process.pid
        await ctx.sleep(600_000)
      },
      { restart: { times: 3, within: '1m' } },
    )
    const pids: number[] = []
    for await (const pid of job.receive({ follow: true, kinds: ['output'] })) {
      if (pid.kind !== 'output') continue
      pids.push(pid.value)
      if (pids.length === 2) break
      process.kill(pid.value, 'SIGKILL')
    }
    expect(pids[1]).not.toBe(pids[0])
    await until('the snapshot names the new one', () => job.snapshot.pid === pids[1])
    expect(job).toMatchObject({ state: 'Running', snapshot: { epoch: 2 } })
    expect((await job.stop()).state).toBe('Stopped')
  })

  test('a deadline ends what is suspended, and what is somewhere else', async () => {
    const sleeper = async (ctx: ScriptContext): Promise<void> => ctx.sleep(600_000)
    const still = await peers.laptop.start(sleeper, { deadline: 1_500 })
    await inState(still, 'Running')
    await still.suspend()
    const far = await peers.laptop.start(sleeper, { deadline: 400, on: ['server01', 'server02'] })
    await Promise.all([still.finished, far.finished])
    for (const job of [still, far, ...far.children])
      expect(job).toMatchObject({ state: 'Failed', reason: { code: 'TIMEOUT' } })
    expect(states(still)).toContain('Suspended')
    await expect(far.output()).rejects.toMatchObject({ code: 'JOB_FAILED' })
  })

  test('after and delay for a session over there: its own jobs are meant', async () => {
    await using session = await peers.laptop.connect('server01')
    const first = await session.start(() => 1, { engine: 'thread', name: 'first' })
    const next = await session.start(() => 2, { engine: 'thread', after: first, delay: 10 })
    expect(await next.output()).toEqual([2])
    const mine = await peers.laptop.start(() => 1, { engine: 'thread' })
    await mine.wait()
    expect(await refusal('another table', () => session.start(() => 3, { after: mine }))).toMatchObject({
      code: 'JOB_NOT_FOUND',
    })
  })

  test('an option that does not fit is said before anything is sent', async () => {
    const bad = [
      { retry: { times: -1 } },
      { retry: { times: 1, factor: 0.5 } },
      { restart: { times: 1, within: 'soon' } },
    ]
    for (const options of bad)
      expect(await refusal('refused', () => peers.laptop.start(() => 1, options))).toMatchObject({ code: 'USAGE' })
  })
})
