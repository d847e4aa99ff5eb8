// Many deadlines, one timer.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Deadlines } from '../src/deadlines.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => vi.useRealTimers())

/** Names of those that were late, in their order. */
function watched() {
  const deadlines = new Deadlines()
  const late: string[] = []
  const after = (ms: number, name: string) => deadlines.after(ms, () => late.push(name))
  return { after, late }
}

test('each is told when it is due, whatever others there are', () => {
  const { after, late } = watched()
  after(30, 'third')
  after(10, 'first')
  after(20, 'second')
  vi.advanceTimersByTime(9)
  expect(late).toEqual([])
  vi.advanceTimersByTime(1)
  expect(late).toEqual(['first'])
  vi.advanceTimersByTime(20)
  expect(late).toEqual(['first', 'second', 'third'])
  vi.advanceTimersByTime(1_000)
  expect(late).toHaveLength(3)
})

test('one that has ended is not late, also where the timer was its own', () => {
  const { after, late } = watched()
  const first = after(10, 'first')
  after(15, 'second')
  first.end()
  first.end()
  vi.advanceTimersByTime(14)
  expect(late).toEqual([])
  vi.advanceTimersByTime(1)
  expect(late).toEqual(['second'])
})

test('a hundred thousand have one timer, which is gone when the last has ended', () => {
  const { after, late } = watched()
  const all = Array.from({ length: 100_000 }, (_, n) => after(1_000 + (n % 7), String(n)))
  expect(vi.getTimerCount()).toBe(1)
  for (const one of all) one.end()
  vi.advanceTimersByTime(2_000)
  expect([late, vi.getTimerCount()]).toEqual([[], 0])
})

test('one that ends another, or begins one, when it is late', () => {
  const deadlines = new Deadlines()
  const late: string[] = []
  const other = deadlines.after(10, () => late.push('other'))
  deadlines.after(10, () => late.push('never'))
  deadlines.after(5, () => {
    late.push('first')
    other.end()
    deadlines.after(3, () => late.push('next'))
  })
  vi.advanceTimersByTime(8)
  expect(late).toEqual(['first', 'next'])
  vi.advanceTimersByTime(2)
  expect(late).toEqual(['first', 'next', 'never'])
})
