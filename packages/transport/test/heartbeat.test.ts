import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Heartbeat } from '../src/heartbeat.ts'

describe('a heartbeat of 1 s, suspicion 4 s', () => {
  let now: number
  let tick: () => void
  let period: number
  const pulse = { beat: vi.fn(), silent: vi.fn(), deaf: vi.fn(() => false) }
  let heartbeat: Heartbeat

  beforeEach(() => {
    now = 1_000_000
    vi.spyOn(performance, 'now').mockImplementation(() => now)
    vi.spyOn(globalThis, 'setInterval').mockImplementation(((act: () => void, ms: number) => {
      tick = act
      period = ms
      return { unref: () => 0 }
    }) as unknown as typeof setInterval)
    vi.spyOn(globalThis, 'clearInterval').mockImplementation(() => (tick = () => {}))
    heartbeat = new Heartbeat({ interval: 1_000, suspicion: 4_000 }, pulse)
    for (const mock of Object.values(pulse)) mock.mockClear()
    pulse.deaf.mockReturnValue(false)
  })

  afterEach(() => {
    vi.restoreAllMocks()
  })

  /** Ticks in time, with something done in between. */
  function pass(ms: number, between: () => void = () => {}): void {
    for (const until = now + ms; now < until;) {
      now += period
      tick()
      between()
    }
  }

  /** Nothing of ours runs for so long; then the timers, before anything is read. */
  function stall(ms: number): void {
    now += ms
    tick()
  }

  test('calls a silent peer dead after 4 s, and within half a second more; once', () => {
    pass(4_000 - period)
    expect(pulse.silent).not.toHaveBeenCalled()
    pass(2 * period)
    expect(pulse.silent).toHaveBeenCalledTimes(1)
  })

  test('never calls one dead that says anything every three seconds', () => {
    for (let i = 0; i < 20; i++) {
      pass(3_000)
      heartbeat.heard()
    }
    expect(pulse.silent).not.toHaveBeenCalled()
  })

  test('after standing still itself it reads first', () => {
    for (const quiet of [0, 3_000, 3_500]) {
      pass(quiet)
      stall(60_000)
      expect(pulse.silent).not.toHaveBeenCalled()
      heartbeat.heard() // what the kernel has kept for us
      pass(2_000)
      expect(pulse.silent).not.toHaveBeenCalled()
      heartbeat.heard()
    }
  })

  test('after standing still with nothing to read, the peer is dead all the same', () => {
    stall(60_000)
    pass(2 * period)
    expect(pulse.silent).toHaveBeenCalledTimes(1)
  })

  test('does not judge while we do not listen, and starts anew when we do', () => {
    pulse.deaf.mockReturnValue(true)
    pass(20_000)
    pulse.deaf.mockReturnValue(false)
    pass(3_000)
    expect(pulse.silent).not.toHaveBeenCalled()
    pass(2_000)
    expect(pulse.silent).toHaveBeenCalledTimes(1)
  })

  test('beats about once a second in a pause, and not while other things are sent', () => {
    pass(10_000, () => heartbeat.heard())
    expect(pulse.beat.mock.calls.length).toBeGreaterThanOrEqual(9)
    pulse.beat.mockClear()
    heartbeat.sent()
    pass(10_000, () => {
      heartbeat.heard()
      heartbeat.sent()
    })
    expect(pulse.beat).not.toHaveBeenCalled()
  })
})
