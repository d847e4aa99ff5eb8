import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Heartbeat } from '../src/heartbeat.ts'

describe('a heartbeat of 1 s, suspicion 4 s', () => {
  let now: number
  let tick: () => void
  let period: number
  let afterReading: (() => void) | undefined
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
    afterReading = undefined
    vi.spyOn(globalThis, 'setImmediate').mockImplementation(((act: () => void) => {
      afterReading = act
      return {}
    }) as unknown as typeof setImmediate)
    vi.spyOn(globalThis, 'clearImmediate').mockImplementation(() => (afterReading = undefined))
    vi.spyOn(globalThis, 'clearInterval').mockImplementation(() => (tick = () => {}))
    heartbeat = new Heartbeat({ interval: 1_000, suspicion: 4_000 }, pulse)
    for (const mock of Object.values(pulse)) mock.mockClear()
    pulse.deaf.mockReturnValue(false)
  })

  afterEach(() => {
    vi.restoreAllMocks()
  })

  /** The loop has read what there was; its immediates are next. */
  function read(): void {
    afterReading?.()
    afterReading = undefined
  }

  /** Ticks in time, with something done, and the reading, in between. */
  function pass(ms: number, between: () => void = () => {}): void {
    for (const until = now + ms; now < until;) {
      now += period
      tick()
      between()
      read()
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

  test('calls a silent peer dead also where our own loop is late every time, once it has read twice and found nothing', () => {
    for (let i = 0; i < 3; i++) {
      stall(1_500)
      read()
    }
    expect(pulse.silent).not.toHaveBeenCalled() // 4.5 s, and one reading since they were up
    stall(1_500)
    expect(pulse.silent).not.toHaveBeenCalled() // it may be there to be read
    read()
    expect(pulse.silent).toHaveBeenCalledTimes(1)
  })

  test('never calls one dead whose words are read after each time that we stood still', () => {
    for (let i = 0; i < 20; i++) {
      stall(6_000)
      heartbeat.heard()
      read()
    }
    expect(pulse.silent).not.toHaveBeenCalled()
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
      read()
      pass(2_000)
      expect(pulse.silent).not.toHaveBeenCalled()
      heartbeat.heard()
    }
  })

  test('two ticks without the reading in between, as in a busy loop, are no judgement', () => {
    pass(3_000)
    for (let i = 0; i < 10; i++) {
      now += period
      tick()
    }
    expect(pulse.silent).not.toHaveBeenCalled()
    heartbeat.heard() // what had been there to be read all the time
    read()
    now += period
    tick()
    expect(pulse.silent).not.toHaveBeenCalled()
    pass(4_500)
    expect(pulse.silent).toHaveBeenCalledTimes(1)
  })

  test('stopped, it judges nobody any more', () => {
    pass(4_000 - period)
    heartbeat.stop()
    read()
    pass(4_000)
    expect(pulse.silent).not.toHaveBeenCalled()
  })

  test('after standing still with nothing to read, the peer is dead all the same', () => {
    stall(60_000)
    read()
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
