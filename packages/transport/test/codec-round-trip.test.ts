// The short form of the campaign `round-trip`: some hundred values of each family, other ones each time; and that it would
// see what is lost.

import { describe, expect, it } from 'vitest'
import { FAMILIES } from '../campaigns/fixtures/arbitraries.ts'
import { difference } from '../campaigns/fixtures/difference.ts'
import { roundTrips } from '../campaigns/round-trip.ts'

describe('random values arrive as they left', () => {
  it.each(Object.keys(FAMILIES))('%s', (family) => {
    const seed = (Date.now() ^ (process.pid << 8)) & 0x7fff_ffff
    // What it throws names the seed.
    expect(roundTrips(family, 400, seed).values).toBe(400)
  })
})

describe('a difference is seen', () => {
  class Account {}
  const shared = {}
  const hidden = (fields: object): Error => {
    const error = new Error('e')
    error.stack = 's'
    for (const [key, value] of Object.entries(fields)) Object.defineProperty(error, key, { value, configurable: true })
    return error
  }
  const shown = (fields: object): Error => Object.assign(hidden({}), fields)
  it.each<[string, unknown, unknown]>([
    ['-0', -0, 0],
    ['NaN', NaN, undefined],
    ['1 and 1n', 1n, 1],
    ['text', 'a\ud800', 'a\ufffd'],
    ['depth', { a: [{ b: 1 }] }, { a: [{ b: 2 }] }],
    ['the order of keys', { a: 1, b: 2 }, { b: 2, a: 1 }],
    ['a key undefined', { a: undefined }, {}],
    ['the order of a Map', new Map([[1, 1], [2, 2]]), new Map([[2, 2], [1, 1]])], // prettier-ignore
    ['the order of a Set', new Set([1, 2]), new Set([2, 1])],
    ['a key of a Map', new Map([[{ a: 1 }, 1]]), new Map([[{ a: 2 }, 1]])],
    ['an invalid date', new Date(NaN), new Date(0)],
    ['flags', /a/g, /a/i],
    ['a URL', new URL('a:b'), 'a:b'],
    ['the kind of an array', new Int8Array(1), new Uint8Array(1)],
    ['bytes', new Uint8Array([1, 2]).subarray(1), new Uint8Array([1])],
    ['the bytes of a NaN', new Uint8Array(new Float64Array([NaN]).buffer), new Uint8Array(8)],
    ['an ArrayBuffer', new ArrayBuffer(1), new Uint8Array(1)],
    ['a class', new Account(), {}],
    ['the class of an error', new TypeError('e'), new Error('e')],
    ['a stack', new Error('e'), new Error('e')],
    ['a cause', hidden({ cause: 1 }), hidden({})],
    ['a cause that can be seen', hidden({ cause: 1 }), shown({ cause: 1 })],
    ['a cause that cannot be seen any more', shown({ cause: 1 }), hidden({ cause: 1 })],
    ['a code', shown({ code: 'A' }), shown({ code: 'B' })],
    ['two that were one', [shared, shared], [{}, {}]],
    ['one that was two', [{}, {}], [shared, shared]],
  ])('%s', (_, sent, arrived) => {
    expect(difference(sent, arrived)).toMatch(/^value/)
  })
  it('with the path to it', () => {
    const sent = { rows: [new Map([['k', new Set([1, -0.5])]])] }
    const arrived = { rows: [new Map([['k', new Set([1, 0.5])]])] }
    expect(difference(sent, arrived)).toBe('value["rows"][0].values()[0].values()[1]: -0.5 arrived as 0.5')
  })
  it('and cycles are none', () => {
    const loop = (): unknown => {
      const list: unknown[] = []
      list.push(new Map([[list, { list }]]))
      return list
    }
    expect(difference(loop(), loop())).toBeUndefined()
  })
  it('nor is what an error of a class arrives as', () => {
    class Mine extends RangeError {
      override name = 'Mine'
    }
    const sent = new Mine('m')
    const arrived = Object.assign(new RangeError('m'), { name: 'Mine' })
    arrived.stack = sent.stack!
    Object.defineProperty(arrived, Symbol.for('errand.class'), { value: 'Mine' })
    expect(difference(sent, arrived)).toBeUndefined()
  })
})
