// What waits for whoever has a name next: in one order, each once, and nothing of it is left behind.
import { getEventListeners } from 'node:events'
import { encode } from '@errand/transport'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { HeldEvents } from '../src/held-events.ts'

let held: HeldEvents
let came: unknown[]
let wanted: AbortController
beforeEach(() => {
  vi.useFakeTimers()
  came = []
  wanted = new AbortController()
  held = new HeldEvents((_, event) => came.push(['refused', event]))
})
afterEach(() => void vi.useRealTimers())

const ask = (what: string, { again = false, ms = 1_000 } = {}): void =>
  held.ask(encode(what), {
    ask: () => came.push(what),
    reject: (reason) => came.push([what, reason.message]),
    wanted: wanted.signal,
    ms,
    inTime: () => new Error('late'),
    again,
  })
const release = (): void =>
  held.release(
    (event) => came.push(event),
    async (event) => void came.push(event),
  )
const nothingIsLeft = (): void => {
  expect([held.size, vi.getTimerCount(), getEventListeners(wanted.signal, 'abort').length]).toEqual([0, 0, 0])
}

describe('questions among what is sent', () => {
  test('are asked in their place; before them those that were on their way to another one', () => {
    held.send('one')
    ask('two')
    void held.tell('three', undefined)
    ask('first', { again: true })
    ask('second', { again: true })
    held.send('four')
    release()
    expect(came).toEqual(['first', 'second', 'one', 'two', 'three', 'four'])
    nothingIsLeft()
  })

  test('are asked of nobody when their time is over, or when they are given up', () => {
    held.send('one')
    ask('soon', { ms: 10 })
    ask('later')
    vi.advanceTimersByTime(10)
    expect([came, held.size]).toEqual([[['soon', 'late']], 2])
    wanted.abort(new Error('enough'))
    ask('too late')
    release()
    expect(came).toEqual([['soon', 'late'], ['later', 'enough'], ['too late', 'enough'], 'one'])
    nothingIsLeft()
  })

  test('are told when there will never be anybody', () => {
    held.send('one')
    ask('two')
    held.end(new Error('gone'))
    expect(came).toEqual([
      ['refused', 'one'],
      ['two', 'gone'],
    ])
    nothingIsLeft()
  })
})
