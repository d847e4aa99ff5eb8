// Into a job and out of it while it runs: input, questions, standing still. On this peer and on another one.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Job, JobState, ScriptContext, StartOptions } from '../src/index.ts'
import { Peers, alive, refusal, until } from './support/peers.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start('server01')
})
afterAll(() => peers.close())

/** Everywhere a script can be a job. */
const places: [string, Pick<StartOptions, 'engine'> & { on?: string }][] = [
  ['in a process', {}],
  ['in a thread', { engine: 'thread' }],
  ['on server01', { on: 'server01' }],
]

const inState = (job: Job, ...states: JobState[]): Promise<unknown> => job.wait({ for: states, timeout: '10s' })

async function* doubling(ctx: ScriptContext): AsyncGenerator<number> {
  for await (const value of ctx.input) yield (value as number) * 2
}

describe.each(places)('input %s', (_, where) => {
  test('P23 an iterable is read as ctx.input, in order, and ends', async () => {
    const job = await peers.laptop.start(doubling, { ...where, input: Array.from({ length: 1000 }, (_, i) => i) })
    expect(await job.output()).toEqual(Array.from({ length: 1000 }, (_, i) => i * 2))
    expect(job.state).toBe('Completed')
  })

  test('what is sent arrives in order, values whole, until endInput', async () => {
    const job = await peers.laptop.start(async function* (ctx: ScriptContext) {
      for await (const value of ctx.input) yield value
    }, where)
    const values = [1, 'two', new Map([[3, new Date(3)]]), new Error('four'), undefined, { five: new Uint8Array(5) }]
    for (const value of values) await job.send(value)
    const [first] = await Promise.all([job.send('a'), job.send('b')])
    expect(first).toBeUndefined()
    await job.endInput()
    expect(await job.output()).toEqual([...values.map((v) => v), 'a', 'b'])
    expect(await refusal('sent to a job that has ended', () => job.send(1))).toMatchObject({ code: 'INPUT_CLOSED' })
  })

  test('a source that fails fails whoever reads it, with its error', async () => {
    const job = await peers.laptop.start(doubling, {
      ...where,
      input: (function* () {
        yield 1
        throw Object.assign(new RangeError('the source broke'), { code: 'BROKE' })
      })(),
    })
    await job.finished
    expect(job.state).toBe('Failed')
    const reason = (job.children[0] ?? job).reason
    expect(reason).toMatchObject({ name: 'RangeError', message: 'the source broke', code: 'BROKE' })
  })

  test('a source is read only as fast as the job takes it, and let go of when the job is stopped', async () => {
    let given = 0
    let left = false
    const job = await peers.laptop.start(
      async (ctx: ScriptContext) => {
        await ctx.sleep(60_000)
      },
      {
        ...where,
        input: (async function* () {
          try {
            for (;;) {
              given++
              yield new Uint8Array(64 * 1024)
            }
          } finally {
            left = true
          }
        })(),
      },
    )
    await inState(job, 'Running')
    let before = -1
    await until('the source stands still', async () => {
      const still = given === before
      before = given
      await new Promise((resolve) => setTimeout(resolve, 200))
      return still && given > 4
    })
    expect(given).toBeLessThan(64)
    await job.stop({ grace: 0 })
    await until('the source was let go of', () => left)
  })

  test('reading that was broken off goes on behind the last value', async () => {
    const job = await peers.laptop.start(
      async (ctx: ScriptContext) => {
        const read: unknown[] = []
        for await (const value of ctx.input) if (read.push(value) === 2) break
        for await (const value of ctx.input) read.push(value)
        return read
      },
      { ...where, input: [1, 2, 3, 4] },
    )
    expect(await job.output()).toEqual([[1, 2, 3, 4]])
  })
})

describe('input', () => {
  test("a job's outputs are another job's input, through two peers", async () => {
    const numbers = await peers.laptop.start(
      async function* () {
        for (let i = 0; i < 5000; i++) yield i
        console.warn('not an output')
      },
      { on: 'server01' },
    )
    const doubled = await peers.laptop.start(doubling, { on: 'server01', input: numbers })
    const sum = await peers.laptop.run(
      async (ctx: ScriptContext) => {
        let sum = 0
        for await (const value of ctx.input) sum += value as number
        return sum
      },
      { input: doubled },
    )
    expect(sum).toBe(4999 * 5000)
    expect(numbers.state).toBe('Completed')
  })

  test('a command reads it: text as lines, bytes as they are, then the end', async () => {
    const job = await peers.laptop.start(['cat'], { input: ['one', 'two', Buffer.from('th'), 'ree'] })
    expect(await job.output()).toEqual(['one', 'two', 'three'])
    const far = await peers.laptop.start(['wc', '-l'], {
      on: 'server01',
      input: (function* () {
        for (let i = 0; i < 20_000; i++) yield `line ${i}`
      })(),
    })
    expect(await far.output()).toEqual(['20000'])
  })

  test('a command that closes its input early is not harmed, nor is the source', async () => {
    let left = false
    const job = await peers.laptop.start(['head', '-n', '2'], {
      input: (function* () {
        try {
          for (let i = 0; ; i++) yield `line ${i}`
        } finally {
          left = true
        }
      })(),
    })
    expect(await job.output()).toEqual(['line 0', 'line 1'])
    expect(job.state).toBe('Completed')
    await until('the source was let go of', () => left)
  })

  test('a command without it reads nothing, and refuses what is sent', async () => {
    const job = await peers.laptop.start(['cat'])
    expect(await job.output()).toEqual([])
    expect(await refusal('sent', () => job.send('x'))).toMatchObject({ code: 'INPUT_CLOSED' })
  })

  test('a run reads what it was given, and nothing where it was given nothing', async () => {
    const session = await peers.laptop.connect('server01')
    const count = async (ctx: ScriptContext): Promise<number> => {
      let count = 0
      for await (const _ of ctx.input) count++
      return count
    }
    expect(await session.run(count, { input: new Set([1, 2, 3]) })).toBe(3)
    expect(await session.run(count)).toBe(0)
    expect(await peers.laptop.run(count, { input: [1] })).toBe(1)
    await session.close()
  })

  test('what is sent to a parent goes to all its children', async () => {
    const job = await peers.laptop.start(doubling, { on: ['server01', 'server01'] })
    await job.send(21)
    await job.endInput()
    await job.wait()
    expect(job.state).toBe('Completed')
    expect(await job.output()).toEqual([42, 42])
  })
})

describe.each(places)('a question %s', (_, where) => {
  const asking = async (ctx: ScriptContext): Promise<string> => {
    const name = (await ctx.ask({ prompt: 'Who?', choices: ['ann', 'bob'], default: 'ann' })) as string
    return `hello ${name}`
  }

  test('P56 a job that asks is Blocked and shows its question; the answer flows back, and it runs', async () => {
    const job = await peers.laptop.start(asking, where)
    await inState(job, 'Blocked')
    expect(job.question).toMatchObject({ prompt: 'Who?', choices: ['ann', 'bob'], default: 'ann' })
    expect((await peers.laptop.job(job.instanceId)).snapshot.question).toMatchObject({ prompt: 'Who?' })
    expect(await refusal('no choice', () => job.answer('carl'))).toMatchObject({ code: 'INVALID_ANSWER' })
    expect(job.state).toBe('Blocked')
    await job.answer('bob')
    expect(await job.output()).toEqual(['hello bob'])
    expect(job.snapshot.question).toBeUndefined()
    const states = job.snapshot.history.map(({ state }) => state)
    expect(states.at(0)).toBe('NotStarted')
    expect(states.slice(-4)).toEqual(['Running', 'Blocked', 'Running', 'Completed'])
    expect(await refusal('too late', () => job.answer('ann'))).toMatchObject({ code: 'JOB_STATE' })
  })

  test('an empty answer is the default; of two answers the first that fits wins', async () => {
    const job = await peers.laptop.start(asking, where)
    await inState(job, 'Blocked')
    const question = job.question!.id
    const answers = await Promise.allSettled([
      job.answer('nobody', { question }),
      job.answer('', { question }),
      job.answer('bob', { question }),
    ])
    expect(answers.map((it) => (it.status === 'fulfilled' ? 'ok' : (it.reason as { code: string }).code))).toEqual([
      'INVALID_ANSWER',
      'ok',
      'QUESTION_ANSWERED',
    ])
    expect(await job.output()).toEqual(['hello ann'])
  })

  test('what a schema refuses leaves it open, with what is wrong; what it makes of an answer is the answer', async () => {
    const job = await peers.laptop.start(async (ctx: ScriptContext) => {
      const schema = {
        '~standard': {
          version: 1 as const,
          vendor: 'test',
          validate: (value: unknown) =>
            typeof value === 'number' && value % 2 === 0
              ? { value: value * 10 }
              : { issues: [{ message: 'not even', path: ['count'] }] },
        },
      }
      return ctx.ask({ prompt: 'An even number?', schema })
    }, where)
    await inState(job, 'Blocked')
    const wrong = await refusal('odd', () => job.answer(3))
    expect(wrong).toMatchObject({ code: 'INVALID_ANSWER', message: expect.stringContaining('count: not even') })
    await job.answer(4)
    expect(await job.output()).toEqual([40])
  })

  test('a job that is stopped while it asks is Stopped, and the answer has nowhere to go', async () => {
    const job = await peers.laptop.start(asking, where)
    await inState(job, 'Blocked')
    const question = job.question!.id
    await job.stop()
    expect(job.state).toBe('Stopped')
    expect(await refusal('stopped', () => job.answer('ann', { question }))).toMatchObject({ code: 'QUESTION_ANSWERED' })
  })

  test('a script that catches the end of its question, or asks two at once, is served', async () => {
    const job = await peers.laptop.start(async (ctx: ScriptContext) => {
      const both = await Promise.all([ctx.ask('first'), ctx.ask('second')])
      return both
    }, where)
    await inState(job, 'Blocked')
    await until('both are asked', async () => job.question?.prompt === 'first')
    await job.answer(1)
    await until('the second is shown', () => job.question?.prompt === 'second')
    expect(job.state).toBe('Blocked')
    await job.answer(2)
    expect(await job.output()).toEqual([[1, 2]])
  })
})

test('a question survives a disconnect, and is answered by whoever takes the job up', async () => {
  const session = await peers.laptop.connect('server01')
  const job = await peers.laptop.start(async (ctx: ScriptContext) => `so ${String(await ctx.ask('Well?'))}`, {
    on: session,
  })
  await inState(job, 'Blocked')
  await session.disconnect()
  await inState(job, 'Disconnected')
  const taken = await session.receive()
  expect(taken?.instanceId).toBe(job.instanceId)
  await inState(job, 'Blocked')
  await taken!.answer('be it')
  expect(await job.output()).toEqual(['so be it'])
  await session.close()
})

describe('standing still', () => {
  test.each(places)('a script %s goes on where it was', async (_, where) => {
    const job = await peers.laptop.start(async function* (ctx: ScriptContext) {
      for (let i = 0; i < 40; i++) {
        yield i
        await ctx.sleep(10)
      }
    }, where)
    await inState(job, 'Running')
    const still = await job.suspend()
    expect(still.state).toBe('Suspended')
    const seen = async (): Promise<number> => {
      let count = 0
      for await (const _ of job.receive({ keep: true, from: 0 })) count++
      return count
    }
    let before = -1
    await until('nothing comes any more', async () => {
      const now = await seen()
      const same = now === before
      before = now
      await new Promise((resolve) => setTimeout(resolve, 100))
      return same
    })
    expect(before).toBeLessThan(40)
    expect(await refusal('twice', () => job.resume().then(() => job.resume()))).toMatchObject({ code: 'JOB_STATE' })
    expect(await job.output()).toEqual(Array.from({ length: 40 }, (_, i) => i))
    expect(job.snapshot.history.map(({ state }) => state)).toEqual(expect.arrayContaining(['Suspended', 'Completed']))
  })

  test('a process that loops, and a command with what it started, stand still at once, and end when they are stopped', async () => {
    const loop = await peers.laptop.start(() => {
      for (;;);
    })
    const command = await peers.laptop.start(['sh', '-c', 'sleep 60 & while :; do :; done'])
    for (const job of [loop, command]) {
      await inState(job, 'Running')
      expect((await job.suspend()).state).toBe('Suspended')
      // The system stops one that runs on another core a moment after the signal was sent.
      await until('it stands still', () => {
        const { readFileSync } = process.getBuiltinModule('node:fs')
        const stat = readFileSync(`/proc/${job.snapshot.pid}/stat`, 'latin1')
        return stat.slice(stat.lastIndexOf(')') + 2)[0] === 'T'
      })
      const pid = job.snapshot.pid!
      expect((await job.stop({ grace: 100 })).state).toBe('Stopped')
      expect(alive(pid)).toBe(false)
    }
  })

  test('a job that has ended, or not begun, cannot', async () => {
    const job = await peers.laptop.start(() => 1)
    await job.finished
    expect(await refusal('ended', () => job.suspend())).toMatchObject({ code: 'JOB_STATE' })
    expect(await refusal('ended', () => job.resume())).toMatchObject({ code: 'JOB_STATE' })
  })
})

test('thread jobs beyond the limit are NotStarted until their turn comes', async () => {
  const gate = peers.gate()
  const waits = async (ctx: ScriptContext, path: string): Promise<void> => {
    const { existsSync } = process.getBuiltinModule('node:fs')
    while (!existsSync(path)) await ctx.sleep(10)
  }
  const jobs = await Promise.all(
    Array.from({ length: 7 }, () => peers.laptop.start(waits, { engine: 'thread', args: [gate.path] })),
  )
  await until('five run', () => jobs.filter(({ state }) => state === 'Running').length === 5)
  const queued = jobs.filter(({ state }) => state === 'NotStarted')
  expect(queued).toHaveLength(2)
  expect(queued[0]!.begunAt).toBeUndefined()
  expect((await queued[1]!.stop()).state).toBe('Stopped')
  await gate.open()
  await Promise.all(jobs.map((job) => job.wait({ timeout: '20s' })))
  expect(queued[0]!.state).toBe('Completed')
})

describe('a wait that is over before the job', () => {
  test('tells what is pending: the question, or that it is suspended', async () => {
    const job = await peers.laptop.start(
      async (ctx: ScriptContext) => {
        await ctx.ask('delete it?')
        await ctx.sleep(600_000)
      },
      { engine: 'thread' },
    )
    await inState(job, 'Blocked')
    expect(await refusal('asking', () => job.wait({ timeout: 0 }))).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(/is still Blocked after 0: it asks 'delete it\?'$/),
    })
    await job.answer('yes')
    await inState(job, 'Running')
    await job.suspend()
    expect(await refusal('standing still', () => job.wait({ timeout: '1ms' }))).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(/is still Suspended after 1ms$/),
    })
    await job.stop({ grace: 0 })
  })
})
