// When a spare is started, and that none is where nobody will need it: with isolates that only say what the test says, on
// a clock that stands still.
import { encode } from '@errand/transport'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ExecutionSpec } from '../src/engine/engine.ts'
import type { Isolate, IsolateEnd, LaneMessage } from '../src/engine/lane.ts'
import { startProcess } from '../src/engine/process-isolate.ts'
import { Spare, type Warm } from '../src/engine/spare.ts'
import type { SessionSnapshot } from '../src/surface.ts'

/** As the spare has them. */
const SILENT_MS = 25
const LATE_MS = 500
const LOOK_MS = 10

class FakeIsolate implements Isolate {
  readonly server = { perform: async () => {} } as unknown as Isolate['server']
  readonly pid = undefined
  readonly #exit = Promise.withResolvers<IsolateEnd>()
  readonly exited = this.#exit.promise
  readonly wire: Isolate['wire'] = { post() {}, receive: (take) => (this.says = (message) => take([message])) }
  says: (message: LaneMessage) => void = () => {}
  killed = false

  hold(): void {}

  kill(): void {
    this.killed = true
    this.#exit.resolve({ signal: 'SIGKILL' })
  }

  /** It ends by itself. */
  die(): void {
    this.#exit.resolve({ exitCode: 1 })
  }
}

describe('a spare', () => {
  let started: FakeIsolate[]
  let spare: Spare

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    started = []
    spare = new Spare(
      () => {
        const isolate = new FakeIsolate()
        started.push(isolate)
        return isolate
      },
      () => {},
    )
  })
  afterEach(async () => {
    await spare.dispose()
    vi.useRealTimers()
  })

  /** Takes one and gives it a job. */
  function work(): Warm & { says(): void; ends(): void } {
    const warm = spare.take()
    const isolate = warm.isolate as FakeIsolate
    const spec = { job: '', location: '', session: {} as SessionSnapshot, work: {} } as unknown as ExecutionSpec
    warm.lane.start(spec, { chunk() {}, ended() {} })
    return {
      ...warm,
      says: () => isolate.says(['chunk', 1, 1, 0, new Uint8Array(1)]),
      ends: () => isolate.says(['ended', 1, encode({ outcome: 'completed' })]),
    }
  }
  /** For so long it says something each millisecond. */
  function chatter(ms: number, ...jobs: { says(): void }[]): void {
    for (let at = 0; at < ms; at++) {
      for (const job of jobs) job.says()
      vi.advanceTimersByTime(1)
    }
  }

  test('is started when the job has ended, and is what the next one gets', () => {
    const job = work()
    chatter(100, job)
    expect(started).toHaveLength(1)
    job.ends()
    expect(started).toHaveLength(1)
    vi.advanceTimersByTime(LOOK_MS)
    expect(started).toHaveLength(2)
    expect(work().isolate).toBe(started[1])
  })

  test('is started beside a job that has fallen silent', () => {
    const job = work()
    chatter(100, job)
    vi.advanceTimersByTime(SILENT_MS - 2)
    expect(started).toHaveLength(1)
    vi.advanceTimersByTime(2 + LOOK_MS)
    expect(started).toHaveLength(2)
  })

  test('is started beside a job that never says anything, but not while that starts', () => {
    work()
    vi.advanceTimersByTime(SILENT_MS - 1)
    expect(started).toHaveLength(1)
    vi.advanceTimersByTime(1 + LOOK_MS)
    expect(started).toHaveLength(2)
  })

  test('is started at the latest after half a second, however much the job says', () => {
    const job = work()
    chatter(LATE_MS - 1, job)
    expect(started).toHaveLength(1)
    chatter(1 + LOOK_MS, job)
    expect(started).toHaveLength(2)
    chatter(2 * LATE_MS, job)
    expect(started).toHaveLength(2)
  })

  test('is one, whoever comes while it is due', () => {
    const first = work()
    chatter(10, first)
    const second = work()
    expect(started).toHaveLength(2)
    expect(vi.getTimerCount()).toBe(1)
    chatter(LATE_MS, first, second)
    expect(started).toHaveLength(3)
    expect(work().isolate).toBe(started[2])
    vi.advanceTimersByTime(2 * LATE_MS)
    expect(started).toHaveLength(4)
  })

  test('is not started where one came back while it was due', () => {
    const job = work()
    job.ends()
    expect(spare.give(job)).toBe(true)
    vi.advanceTimersByTime(2 * LATE_MS)
    expect(started).toHaveLength(1)
    expect(work().isolate).toBe(started[0])
    vi.advanceTimersByTime(2 * LATE_MS)
    expect(started).toHaveLength(2)
  })

  test('is not started where nobody will take it: disposed while it was due', async () => {
    const job = work()
    chatter(3 * LOOK_MS, job)
    await spare.dispose()
    expect(vi.getTimerCount()).toBe(0)
    vi.advanceTimersByTime(2 * LATE_MS)
    expect(started).toHaveLength(1)
    expect(spare.give(job)).toBe(false)
  })

  test('goes with who keeps it', async () => {
    work()
    vi.advanceTimersByTime(LATE_MS)
    expect(started.map(({ killed }) => killed)).toEqual([false, false])
    await spare.dispose()
    expect(started.map(({ killed }) => killed)).toEqual([false, true])
    expect(vi.getTimerCount()).toBe(0)
  })

  test.each([
    ['has gone', (isolate: FakeIsolate) => isolate.die()],
    ['is dead, though not all of it has gone', (isolate: FakeIsolate) => (isolate.killed = true)],
  ])('is not taken where it %s', async (_, end) => {
    work()
    vi.advanceTimersByTime(LATE_MS)
    expect(started).toHaveLength(2)
    end(started[1]!)
    await Promise.resolve()
    expect(work().isolate).toBe(started[2])
    vi.advanceTimersByTime(LATE_MS)
    expect(started).toHaveLength(4)
  })
})

test('a process that has died is known to be dead at once, though what it started may still be there', async () => {
  const isolate = startProcess({ serves: 'scripts' })
  const { pid = 0 } = isolate
  const isThere = (): boolean => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }
  process.kill(pid, 'SIGKILL')
  // Until it has been waited for.
  while (isThere()) await new Promise((resolve) => setImmediate(resolve))
  expect(isolate.killed).toBe(true)
  await isolate.exited
})
