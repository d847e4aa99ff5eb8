import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { DeniedError, PeerUnreachableError } from '../src/errors.ts'
import { type PatienceOptions, backOff, patiently } from '../src/patience.ts'

const gone = new PeerUnreachableError('gone')

describe('back-off', () => {
  it('grows by half from 250 ms to 10 s, each pause up to a quarter shorter', () => {
    const pauses = (random: () => number) => {
      const some = backOff(random)
      return Array.from({ length: 12 }, () => some.next().value)
    }
    const longest = pauses(() => 0)
    expect(longest.slice(0, 4)).toEqual([250, 375, 562.5, 843.75])
    expect(longest.at(-1)).toBe(10_000)
    expect(pauses(() => 1)).toEqual(longest.map((pause) => pause * 0.75))
  })
})

describe('patience', () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => vi.useRealTimers())

  function tries(outcomes: (Error | string)[], options: Partial<PatienceOptions> = {}) {
    const at: number[] = []
    const begun = performance.now()
    const result = patiently(
      () => {
        at.push(performance.now() - begun)
        const outcome = outcomes[at.length - 1] ?? gone
        return typeof outcome === 'string' ? Promise.resolve(outcome) : Promise.reject(outcome)
      },
      { patience: 60_000, random: () => 0, ...options },
    )
    result.catch(() => {})
    return { at, result }
  }

  it('attempts once where there is none', async () => {
    const { at, result } = tries([], { patience: 0 })
    await expect(result).rejects.toBe(gone)
    expect(at).toEqual([0])
  })

  it('attempts again after each pause, until it succeeds', async () => {
    const { at, result } = tries([gone, gone, gone, 'here'])
    await vi.advanceTimersByTimeAsync(2_000)
    expect(await result).toBe('here')
    expect(at).toEqual([0, 250, 625, 1187])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('attempts a last time when it runs out, and ends with that error', async () => {
    const last = new PeerUnreachableError('still gone')
    const { at, result } = tries([gone, gone, last], { patience: 400 })
    await vi.advanceTimersByTimeAsync(1_000)
    await expect(result).rejects.toBe(last)
    expect(at).toEqual([0, 250, 400])
  })

  it('is not for other errors', async () => {
    const denied = new DeniedError('no')
    const { at, result } = tries([gone, denied])
    await vi.advanceTimersByTimeAsync(1_000)
    await expect(result).rejects.toBe(denied)
    expect(at).toHaveLength(2)
  })

  it('goes on at news, also at news that came during the attempt, but not in a frenzy', async () => {
    const listeners = new Set<() => void>()
    const onNews = (act: () => void): (() => void) => {
      listeners.add(act)
      return () => listeners.delete(act)
    }
    const { at, result } = tries([gone, gone, gone, gone, gone, gone, 'here'], { onNews })
    await vi.advanceTimersByTimeAsync(1_200) // in the pause of 844 ms that began at 1187
    for (const act of [...listeners]) act()
    await vi.advanceTimersByTimeAsync(300)
    expect(at).toEqual([0, 250, 625, 1187, 1437])
    for (let ms = 0; ms < 1_000; ms++) {
      for (const act of [...listeners]) act()
      await vi.advanceTimersByTimeAsync(1)
    }
    expect(await result).toBe('here')
    expect(at.slice(5)).toEqual([1687, 1937])
    expect(listeners.size).toBe(0)
  })

  it('ends with its signal, in a pause as well as before', async () => {
    const controller = new AbortController()
    const { result } = tries([], { signal: controller.signal })
    await vi.advanceTimersByTimeAsync(300)
    controller.abort()
    await expect(result).rejects.toBe(controller.signal.reason)
    expect(vi.getTimerCount()).toBe(0)
    await expect(tries([], { signal: controller.signal }).result).rejects.toBe(controller.signal.reason)
  })
})
