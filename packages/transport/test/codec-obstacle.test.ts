// What stands in the way of travelling: found out once for a class, and never from what one instance has of its own.

import { describe, expect, it } from 'vitest'
import { className, decode, encode } from '../src/codec.ts'

describe('an instance', () => {
  it('with a field called constructor is data, whatever that is', () => {
    for (const constructor of [1, null, { name: 7 }, 'KeyObject']) {
      class First {}
      expect(decode(encode(Object.assign(new First(), { constructor })))).toEqual({ constructor })
    }
  })

  it('that looks like a stream says nothing about its class', () => {
    class Plain {}
    const odd = Object.assign(new Plain(), { pipe: () => {}, on: () => {} })
    expect(() => encode(odd)).toThrow(expect.objectContaining({ code: 'NOT_TRANSFERABLE' }) as Error)
    expect(className(decode(encode(new Plain())))).toBe('Plain')
  })

  it('of a class of streams is refused, the first and the second', () => {
    class Pipe {
      pipe(): void {}
      on(): void {}
    }
    for (const it of [new Pipe(), new Pipe()]) {
      expect(() => encode({ it })).toThrow(expect.objectContaining({ path: 'value.it' }) as Error)
    }
  })
})

describe('a Proxy', () => {
  it.each([
    new Map([[1, 2]]),
    new Set([1]),
    new Date(),
    /x/,
    new Uint8Array(3),
    new ArrayBuffer(2),
    new URL('http://x'),
  ])('of %o is refused: its content would be lost without a word', (target) => {
    encode(target) // the class itself is known by now
    expect(() => encode({ it: new Proxy(target, {}) })).toThrow(
      expect.objectContaining({ code: 'NOT_TRANSFERABLE', path: 'value.it' }) as Error,
    )
  })

  it('of plain data is what it shows', () => {
    expect(decode(encode([new Proxy({ a: 1 }, {}), new Proxy([1], {})]))).toEqual([{ a: 1 }, [1]])
  })
})
