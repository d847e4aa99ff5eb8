import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { onAbort } from '../src/on-abort.ts'

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length

test('ten thousand wait for one signal with one listener; each is told once, and none stays', () => {
  const over = new AbortController()
  const told: number[] = []
  for (let n = 0; n < 10_000; n++) onAbort(over.signal, () => told.push(n))
  expect(listeners(over.signal)).toBe(1)
  over.abort()
  expect(told).toEqual(Array.from({ length: 10_000 }, (_, n) => n))
  expect(listeners(over.signal)).toBe(0)
})

test('who has let go is not told; the last one takes the listener along; the next one brings it again', () => {
  const over = new AbortController()
  const told: string[] = []
  const tell = (name: string) => () => void told.push(name)
  const [first, second] = [onAbort(over.signal, tell('first')), onAbort(over.signal, tell('second'))]
  first()
  first()
  expect(listeners(over.signal)).toBe(1)
  second()
  expect(listeners(over.signal)).toBe(0)
  onAbort(over.signal, tell('third'))
  over.abort()
  expect(told).toEqual(['third'])
})

test('the same function given twice is told twice; whoever lets go of another one when told keeps it from being told', () => {
  const over = new AbortController()
  let told = 0
  const tell = (): void => void told++
  const unlisten = onAbort(over.signal, tell)
  onAbort(over.signal, tell)
  over.abort()
  expect(told).toBe(2)
  unlisten()

  const next = new AbortController()
  const names: string[] = []
  onAbort(next.signal, () => {
    names.push('first')
    leave()
  })
  const leave = onAbort(next.signal, () => names.push('second'))
  next.abort()
  expect(names).toEqual(['first'])
})

test('of one that has aborted already nobody is told', () => {
  let told = 0
  const unlisten = onAbort(AbortSignal.abort(), () => told++)
  expect(told).toBe(0)
  unlisten()
})
