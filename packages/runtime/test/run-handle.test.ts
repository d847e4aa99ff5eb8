// What a run gives to whoever awaits it, iterates it, or does both: the same, once, and acknowledged once.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { JobReading } from '../src/link.ts'
import { singleRecord, type ReadChunk } from '../src/record.ts'
import { RunHandle } from '../src/run-handle.ts'
import type { SessionRef } from '../src/session-ref.ts'
import type { JobSnapshot } from '../src/surface.ts'
import type { SessionEvent, WorkSpec } from '../src/wire.ts'

const RUN = 'run-1'

/** A session that says what it is told to say. */
class FakeSession {
  readonly asked: SessionEvent[] = []
  /** How often a reading was left, however it came to its end. */
  left = 0
  refusal: Error | undefined
  /** Instead of the end. */
  breaks: Error | undefined
  values: unknown[] = [1, 2, 3]
  last: Partial<JobSnapshot> = { state: 'Completed', streamed: true, children: [], location: 'here' }

  run(signal?: AbortSignal): RunHandle<unknown> {
    const ref = { request: this.#request.bind(this), read: this.#read.bind(this) } as unknown as SessionRef
    const spec = { kind: 'function', source: '', startId: RUN, command: '' } as WorkSpec
    return new RunHandle(ref, Promise.resolve(spec), {}, { signal })
  }

  get acknowledged(): unknown[] {
    return this.asked.flatMap((event) => (event.type === 'acknowledge' ? event.seqs : []))
  }

  async #request(event: SessionEvent): Promise<unknown> {
    this.asked.push(event)
    if (event.type === 'run' && this.refusal) throw this.refusal
    return undefined
  }

  async *#read(): JobReading {
    try {
      // Refused, it has nothing to say, and may not say so either.
      if (this.refusal) await new Promise(() => undefined)
      for (const [first, value] of this.values.entries()) {
        yield { ...singleRecord('output', value), first, from: first, job: RUN, location: 'here' } satisfies ReadChunk
      }
      if (this.breaks) throw this.breaks
      return this.last as JobSnapshot
    } finally {
      this.left++
    }
  }
}

const unhandled: unknown[] = []
const onUnhandled = (reason: unknown): number => unhandled.push(reason)
let session: FakeSession
beforeEach(() => {
  session = new FakeSession()
  unhandled.length = 0
  process.on('unhandledRejection', onUnhandled)
})
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
})

/** The highest place that was acknowledged, and that none was twice. */
async function acknowledged(): Promise<unknown> {
  await new Promise((resolve) => setImmediate(resolve))
  const seqs = session.acknowledged.map((one) => (one as [string, number])[1])
  expect(new Set(seqs).size).toBe(seqs.length)
  expect(seqs).toEqual(seqs.toSorted((a, b) => a - b))
  return seqs.at(-1)
}

describe('a run', () => {
  test('awaited gives all it streamed, once read and acknowledged', async () => {
    expect(await session.run()).toEqual([1, 2, 3])
    expect(await acknowledged()).toBe(3)
    expect(session.left).toBe(1)
  })

  test('awaited gives the one value it returned', async () => {
    session.values = ['only']
    session.last = { ...session.last, streamed: false }
    expect(await session.run()).toBe('only')
  })

  test('awaited twice is read once, and gives the same', async () => {
    const run = session.run()
    const [one, two] = await Promise.all([run, run])
    expect(one).toBe(two)
    expect(await run).toBe(one)
    expect(session.left).toBe(1)
    expect(await acknowledged()).toBe(3)
  })

  test('left before its end, and then awaited, says that it was left', async () => {
    const run = session.run()
    for await (const value of run) if (value === 2) break
    await expect(run).rejects.toThrow('left before it ended')
    expect(await acknowledged()).toBe(2)
    expect(session.left).toBe(1)
  })

  test('iterated to its end, and then awaited, gives nothing twice', async () => {
    const run = session.run()
    const values: unknown[] = []
    for await (const value of run) values.push(value)
    expect(values).toEqual([1, 2, 3])
    expect(await run).toEqual([])
    expect(await acknowledged()).toBe(3)
  })

  test('awaited is not iterated as well', async () => {
    const run = session.run()
    await run
    await expect(run.records().next()).rejects.toThrow('iterated once')
    expect(await run).toEqual([1, 2, 3])
  })

  test('that is refused says so at once, awaited or iterated, though its reading waits for what never comes', async () => {
    session.refusal = new Error('not you')
    const awaited = session.run()
    const iterated = session.run()
    const neither = session.run()
    expect(neither).toBeDefined()
    const outcomes = await Promise.allSettled([Promise.resolve(awaited), iterated.records().next()])
    expect(outcomes).toMatchObject([{ reason: { message: 'not you' } }, { reason: { message: 'not you' } }])
  })

  test('whose reading breaks fails with that, and what came before is acknowledged', async () => {
    session.breaks = new Error('the wire is cut')
    await expect(session.run()).rejects.toThrow('the wire is cut')
    expect(await acknowledged()).toBe(3)
  })

  test('that failed fails whoever awaits it, with its own reason', async () => {
    session.last = { ...session.last, state: 'Failed', reason: new Error('thrown') }
    await expect(session.run()).rejects.toThrow('thrown')
  })

  test('stops by its signal until it has ended, and not any more', async () => {
    const abort = new AbortController()
    await session.run(abort.signal)
    abort.abort()
    expect(session.asked.filter(({ type }) => type === 'stop')).toEqual([])
    await expect(session.run(AbortSignal.abort(new Error('too late')))).rejects.toThrow('too late')
    expect(session.asked.filter(({ type }) => type === 'run')).toHaveLength(1)
  })
})
