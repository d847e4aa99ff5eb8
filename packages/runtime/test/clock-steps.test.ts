// Durations are measured by a clock that nobody sets: a day forward or back ends nothing early and prolongs nothing.
import type { MemoryNetwork } from '@errand/transport/memory'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Alarm } from '../src/alarm.ts'
import { Answers } from '../src/answers.ts'
import { LONGEST_TIMER } from '../src/duration.ts'
import { codeOf } from '../src/errors.ts'
import { createPeer, PeerHost } from '../src/peer.ts'
import { HostSession, type SessionHome } from '../src/session.ts'
import { memoryStore } from '../src/store/memory.ts'
import type { Peer, PeerId } from '../src/surface.ts'
import { all, outputs, refusal, until, within } from './support/peers.ts'
import { type Reactions, ScriptedEngine, scriptedJob, settled } from './support/scripted-engine.ts'
import { scriptedPair } from './support/scripted-pair.ts'

const DAY = 86_400_000
/** How long what is tested takes; and how long that has surely not taken, once it has begun. */
const SPAN = 600

let network: MemoryNetwork
let engine: ScriptedEngine
let stops: { code?: string | undefined; reason?: string | undefined }[]
let far: PeerHost
let here: Peer

/** Of one machine: every peer of this process has it. */
function step(by: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + by })
}

beforeEach(async () => {
  stops = []
  const reactions: Reactions = {
    stop: ({ io }, request) => {
      stops.push(request)
      io.ended({ outcome: 'stopped' })
    },
  }
  const options = {
    engine: new ScriptedEngine(() => false, reactions),
    far: { idleTimeout: SPAN, temporaryLease: SPAN },
  }
  ;({ network, engine, far, here } = await scriptedPair(options))
})
afterEach(async () => {
  vi.useRealTimers()
  await Promise.all([here.close(), far.close()])
})

/** What fell due has happened. */
async function turns(): Promise<void> {
  for (let n = 0; n < 5; n++) await new Promise((resolve) => setTimeout(resolve, 1))
}

describe.each([
  ['forward', DAY],
  ['back', -DAY],
])('a day %s', (_, by) => {
  test('a session that was left ends when its idle timeout is over, not before, and says why', async () => {
    const session = await here.connect('far')
    const child = await here.start({ code: '1' }, { on: session })
    await until('it runs there', () => engine.executions.length === 1)
    await session.disconnect()
    step(by)
    await turns()
    expect(await here.sessions({ on: 'far' })).toHaveLength(1)
    await until('it has expired', async () => (await here.sessions({ on: 'far' })).length === 0)
    expect(stops).toMatchObject([{ code: 'SESSION_EXPIRED', reason: expect.stringContaining('nobody came back') }])
    const error = await refusal('a connection', () => session.connect())
    expect(codeOf(error)).toBe('SESSION_EXPIRED')
    expect(error.message).toContain('nobody came back')
    expect((await within('the job', child.finished)).state).toBe('Failed')
  })

  test('a temporary session whose client was lost ends with its lease', async () => {
    await here.start({ code: '1' }, { on: 'far' })
    await until('it runs there', () => engine.executions.length === 1)
    network.kill('here')
    step(by)
    await turns()
    expect(stops).toEqual([])
    await until('it has ended', () => stops.length === 1)
    expect(stops).toMatchObject([{ code: 'SESSION_EXPIRED' }])
  })

  test('a deadline on another peer, also while that cannot be reached', async () => {
    const session = await here.connect('far', { lostAfter: 60_000, idleTimeout: '1h' })
    const job = await session.start({ code: '1' }, { deadline: SPAN })
    network.cut('here', 'far')
    step(by)
    await turns()
    expect(stops).toEqual([])
    await until('it is stopped there', () => stops.length === 1)
    expect(stops[0]!.reason).toContain('deadline')
    network.heal('here', 'far')
    expect(await within('its end', job.finished)).toMatchObject({ state: 'Failed', reason: { code: 'TIMEOUT' } })
  })

  test('a delay', async () => {
    const session = await here.connect('far')
    const job = await session.start({ code: '1' }, { delay: SPAN })
    step(by)
    await turns()
    expect(engine.executions).toHaveLength(0)
    await until('it is launched', () => engine.executions.length === 1)
    await job.wait({ for: ['Running'] })
  })

  test('the wait for another attempt', async () => {
    const session = await here.connect('far')
    await session.start({ code: '1' }, { retry: { times: 1, delay: SPAN } })
    engine.executions[0]!.io.ended({ outcome: 'failed', error: new Error('no') })
    step(by)
    await turns()
    expect(engine.executions).toHaveLength(1)
    await until('it is tried again', () => engine.executions.length === 2)
  })

  test('failures within a time', async () => {
    const job = scriptedJob({ engine, restart: { times: 2, within: 60_000 } })
    job.start()
    for (let n = 0; n < 3; n++) {
      await until('it runs', () => engine.executions[n])
      engine.executions[n]!.io.ended({ outcome: 'failed', error: new Error('no') })
      step(by)
    }
    expect(await job.finished).toMatchObject({ state: 'Failed', reason: { code: 'RESTART_INTENSITY' } })
  })

  test('signs of life', async () => {
    const session = await here.connect('far')
    const seen: string[] = []
    const watching = new AbortController()
    const watch = (async () => {
      for await (const { state } of session.watch({ signal: watching.signal })) seen.push(state)
    })()
    step(by)
    await new Promise((resolve) => setTimeout(resolve, 2 * SPAN))
    await session.jobs()
    watching.abort()
    await watch
    expect(new Set(seen)).toEqual(new Set(['Opened']))
  })

  test('how long a lost link is retried', async () => {
    const session = await here.connect('far', { lostAfter: SPAN })
    network.cut('here', 'far')
    network.lose('here', 'far')
    await until('it is lost', () => session.state === 'Connecting')
    step(by)
    await turns()
    expect(session.state).toBe('Connecting')
    await until('it is given up', () => session.state === 'Disconnected')
  })

  test('how long somebody waits', async () => {
    const session = await here.connect('far')
    const job = await session.start({ code: '1' })
    let over = false
    const waiting = refusal('waiting', () => job.wait({ timeout: SPAN })).finally(() => (over = true))
    step(by)
    await turns()
    expect(over).toBe(false)
    expect(codeOf(await waiting)).toBe('TIMEOUT')
  })

  test('what was answered to a client', () => {
    const answers = new Answers()
    const memory = answers.meet('a')
    answers.leave('a')
    step(by)
    answers.meet('b')
    expect(answers.meet('a')).toBe(memory)
  })
})

test('a generator that never waits hears of its stop, although its clock was set back', async () => {
  await using peer = await createPeer()
  const job = await peer.start(
    async function* () {
      const real = Date.now
      const busy = (): void => {
        for (const end = performance.now() + 2; performance.now() < end;);
      }
      try {
        for (let n = 0; ; n++) {
          if (n === 2) Date.now = () => real() - 86_400_000
          busy()
          yield n
        }
      } finally {
        Date.now = real
        // oxlint-disable-next-line no-unsafe-finally -- what is said here is what is tested
        yield 'heard'
      }
    },
    { engine: 'thread' },
  )
  await until('it works', async () => (await all(job.receive({ keep: true, from: 0 }))).length > 3)
  await within('stopping', job.stop({ grace: '20s' }))
  expect((await outputs(job.receive({ from: 0 }))).length).toBeGreaterThan(3)
})

describe('longer than one timer can wait', () => {
  test('a lease of 30 days', async () => {
    vi.useFakeTimers()
    const home: SessionHome = {
      id: 'far' as PeerId,
      name: 'far',
      store: memoryStore(),
      stopGrace: 0,
      temporaryLease: 60_000,
      idleTimeout: 60_000,
      engines: () => ({ runspace: engine, thread: engine, process: engine, machine: engine }),
      target: () => ({ engine, location: 'far' }),
      sessionRef: () => session,
      sessionClosed: () => undefined,
    }
    const session: HostSession = new HostSession(home, 1, 'persistent', '', { openId: '1', idleTimeout: 30 * DAY })
    session.attach('client')
    session.detach('client')
    expect(30 * DAY).toBeGreaterThan(LONGEST_TIMER)
    await vi.advanceTimersByTimeAsync(30 * DAY - 1)
    expect(session.snapshot.state).toBe('Disconnected')
    await vi.advanceTimersByTimeAsync(1)
    await session.closed
    expect(session.expired?.code).toBe('SESSION_EXPIRED')
  })

  test('an alarm that keeps no process alive, to its end', () => {
    vi.useFakeTimers()
    let rung = 0
    const alarm = new Alarm(LONGEST_TIMER + 5, () => rung++, { keep: false })
    vi.advanceTimersByTime(LONGEST_TIMER + 4)
    expect(rung).toBe(0)
    vi.advanceTimersByTime(1)
    expect(rung).toBe(1)
    alarm.cancel()
  })

  test('a wait of 30 days', async () => {
    const job = scriptedJob({ engine })
    job.start()
    vi.useFakeTimers()
    const { jobHandle } = await import('../src/job-handle.ts')
    const ref = { watchJob: () => () => undefined } as never
    let over: unknown
    const waiting = jobHandle(ref, job.snapshot())
      .wait({ timeout: '30d' })
      .catch((error: unknown) => (over = error))
    await vi.advanceTimersByTimeAsync(30 * DAY - 1)
    expect(over).toBeUndefined()
    await vi.advanceTimersByTimeAsync(1)
    await waiting
    expect(codeOf(over)).toBe('TIMEOUT')
    vi.useRealTimers()
    await settled()
  })
})
