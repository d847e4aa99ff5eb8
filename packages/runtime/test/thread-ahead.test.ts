// Jobs that a thread is given before it is done with the one before: none is lost, none is run twice, none waits behind a
// long one, and none can tell.
import { decode, encode } from '@errand/transport'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { Claims, CLAIMS_BYTES } from '../src/engine/claims.ts'
import type { Execution } from '../src/engine/engine.ts'
import { ThreadEngine } from '../src/engine/thread.ts'
import type { Ending } from '../src/job-machine.ts'
import { functionSource } from '../src/script.ts'
import type { SessionSnapshot } from '../src/surface.ts'
import type { WorkSpec } from '../src/wire.ts'

const ENDLESS = (): void => {
  for (;;);
}
const ECHO = (_: unknown, value: unknown): unknown => value

interface Started {
  readonly execution: Execution
  readonly ended: Promise<Ending>
  begun: boolean
  readonly said: unknown[]
}

describe('jobs given ahead', () => {
  let engine: ThreadEngine | undefined
  /** In the order they were begun, and ended, as this side hears of it. */
  let began: unknown[] = []
  let over: unknown[] = []

  async function threads(count: number): Promise<void> {
    engine = new ThreadEngine({ openLink() {}, threads: count })
    began = []
    over = []
    // What reads scripts is loaded beside the first: then they may share threads.
    await start(ECHO, 0).ended
    await import('../src/script-traces.ts')
  }

  function start(script: Function, ...args: unknown[]): Started {
    const work = {
      kind: 'function',
      source: functionSource(script),
      startId: '',
      command: '',
      payload: encode({ args }),
    } as WorkSpec
    const { promise, resolve } = Promise.withResolvers<Ending>()
    const session = { instanceId: 's', name: 's', state: 'Opened', availability: 'Available' } as SessionSnapshot
    const started: Omit<Started, 'execution'> = { ended: promise, begun: false, said: [] }
    const execution = engine!.start(
      { job: 'j', location: 'here', session, work },
      {
        chunk: ({ bytes }) => started.said.push((decode(bytes) as unknown[])[2]),
        begun() {
          started.begun = true
          began.push(args[0])
        },
        ended(ending) {
          over.push(args[0])
          resolve(ending)
        },
      },
    )
    return Object.assign(started, { execution })
  }

  afterEach(async () => await engine?.[Symbol.asyncDispose]())

  test('a thousand small ones: each once, each its own', async () => {
    await threads(3)
    const jobs = Array.from({ length: 1000 }, (_, n) => start(ECHO, n))
    for (const [n, job] of jobs.entries()) {
      expect((await job.ended).outcome).toBe('completed')
      expect(job.begun).toBe(true)
      expect(job.said).toEqual([n])
    }
  })

  test('in one thread they begin and end in the order they came', async () => {
    await threads(1)
    began = []
    over = []
    const jobs = Array.from({ length: 50 }, (_, n) => start(ECHO, n))
    await Promise.all(jobs.map((job) => job.ended))
    const inOrder = Array.from({ length: 50 }, (_, n) => n)
    expect(over).toEqual(inOrder)
    expect(began.slice(-49)).toEqual(inOrder.slice(1))
  })

  test('none waits behind one that takes long', async () => {
    await threads(2)
    const long = start(ENDLESS)
    const jobs = Array.from({ length: 100 }, (_, n) => start(ECHO, n))
    for (const job of jobs) expect((await job.ended).outcome).toBe('completed')
    long.execution.stop({ grace: 0 })
    expect((await long.ended).outcome).toBe('stopped')
  })

  test('those behind one that is stopped by force are run by the next thread, each once', async () => {
    await threads(1)
    const long = start(ENDLESS, 'long')
    const jobs = Array.from({ length: 20 }, (_, n) => start(ECHO, n))
    long.execution.stop({ grace: 0 })
    expect((await long.ended).outcome).toBe('stopped')
    for (const [n, job] of jobs.entries()) {
      expect((await job.ended).outcome).toBe('completed')
      expect(job.said).toEqual([n])
    }
    expect(over.slice(-21)).toEqual(['long', ...jobs.keys()])
  })

  test('one that is stopped before it began never begins, and the others do', async () => {
    await threads(1)
    const jobs = Array.from({ length: 20 }, (_, n) => start(ECHO, n))
    const stopped = new Set([3, 4, 11, 19])
    for (const n of stopped) jobs[n]!.execution.stop({ grace: 1000 })
    for (const [n, job] of jobs.entries()) {
      expect((await job.ended).outcome).toBe(stopped.has(n) ? 'stopped' : 'completed')
      expect(job.said).toEqual(stopped.has(n) ? [] : [n])
    }
  })

  test('what cannot share a thread is not overtaken by what can', async () => {
    await threads(1)
    began = []
    const first = start(ECHO, 'a')
    const alone = start(() => process.pid, 'b')
    const after = start(ECHO, 'c')
    await Promise.all([first.ended, alone.ended, after.ended])
    expect(began.slice(-2)).toEqual(['b', 'c'])
    expect((await after.ended).outcome).toBe('completed')
  })

  test('one with much to carry waits for its turn here, and those behind it too', async () => {
    await threads(1)
    const long = start(ENDLESS)
    const much = start(ECHO, 'x'.repeat(100_000))
    const after = start(ECHO, 'after')
    long.execution.stop({ grace: 0 })
    expect([(await long.ended).outcome, (await much.ended).outcome]).toEqual(['stopped', 'completed'])
    expect((await after.ended).outcome).toBe('completed')
    expect(much.said).toEqual(['x'.repeat(100_000)])
    expect(over.slice(-2)[1]).toBe('after')
  })

  test('all end with their threads: at work, given ahead, waiting', async () => {
    await threads(2)
    const jobs = [start(ENDLESS), start(ENDLESS), ...Array.from({ length: 30 }, (_, n) => start(ECHO, n))]
    await engine![Symbol.asyncDispose]()
    const outcomes = await Promise.all(jobs.map((job) => job.ended.then(({ outcome }) => outcome)))
    expect(outcomes.slice(2)).toEqual(Array.from({ length: 30 }, () => 'stopped'))
  })

  test('whatever is stopped whenever: each ends once, and what was not stopped has run', async () => {
    await threads(2)
    const cases = fc.array(
      fc.record({ long: fc.boolean(), stop: fc.option(fc.nat(30)), grace: fc.constantFrom(0, 5) }),
      { minLength: 5, maxLength: 16 },
    )
    await fc.assert(
      fc.asyncProperty(cases, async (wanted) => {
        let ends = 0
        const jobs = wanted.map(({ long, stop, grace }, n) => {
          const job = long ? start(ENDLESS) : start(ECHO, n)
          void job.ended.then(() => ends++)
          const request = { grace }
          // One that never ends by itself is always stopped.
          if (stop !== null || long) setTimeout(() => job.execution.stop(request), stop ?? 30)
          return job
        })
        for (const [n, job] of jobs.entries()) {
          const { outcome } = await job.ended
          const { long, stop } = wanted[n]!
          if (long) expect(outcome).toBe('stopped')
          else if (stop === null) expect([outcome, job.said]).toEqual(['completed', [n]])
          else expect(outcome === 'completed' ? job.said : []).toEqual(outcome === 'completed' ? [n] : [])
        }
        expect(ends).toBe(jobs.length)
      }),
      { numRuns: 6 },
    )
  }, 60_000)
})

describe('a claim', () => {
  test('is given to the first of both sides that asks, and never for what lay there before', () => {
    const memory = new SharedArrayBuffer(CLAIMS_BYTES)
    const here = new Claims(memory)
    const there = new Claims(memory)
    const place = here.offer(7)
    expect(there.take(place, 7)).toBe(true)
    expect(here.take(place, 7)).toBe(false)
    expect(here.offer(8)).toBe(place)
    expect(there.take(place, 7)).toBe(false)
    expect(here.take(place, 8)).toBe(true)
    expect(there.take(place, 8)).toBe(false)
  })

  test('has as many places as there are, each for one', () => {
    const claims = new Claims(new SharedArrayBuffer(CLAIMS_BYTES))
    const places = Array.from({ length: CLAIMS_BYTES / 4 }, (_, n) => claims.offer(n + 1))
    expect(new Set(places).size).toBe(places.length)
    expect(() => claims.offer(99)).toThrow('more ahead')
  })
})
