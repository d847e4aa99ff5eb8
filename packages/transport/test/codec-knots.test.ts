import { describe, expect, it } from 'vitest'
import { decode, encode } from '../src/codec.ts'
import { TAG } from '../src/codec-tags.ts'
import { NULL, head, tag, text, uint } from './fixtures/cbor-bytes.ts'

describe('a snapshot', () => {
  const quick = { timeout: 5000 }
  const live = (picture: object): object => ({ [Symbol.for('errand.snapshot')]: () => picture })

  it('of one wide object in many places is frozen once', quick, () => {
    // Five minutes, where each place would look at each key.
    const keys = 20_000
    const places = 100_000
    const start = [...head(6, TAG.snapshot), ...head(4, places + 1), ...head(6, TAG.shared), ...head(5, keys)]
    const fields = Array.from({ length: keys }, (_, i) => [...text(`k${i}`), ...NULL]).flat()
    const references = Array.from({ length: places }, () => tag(TAG.reference, uint(0))).flat()
    const rows = decode(Uint8Array.from([...start, ...fields, ...references])) as object[]
    expect(rows.length).toBe(places + 1)
    expect(new Set(rows).size).toBe(1)
    expect([Object.isFrozen(rows), Object.isFrozen(rows[0])]).toEqual([true, true])
  })
  it('freezes what two pictures share, and what is in it', () => {
    const inner = [{ deep: [1] }]
    const shared = { map: new Map([[{ key: 1 }, inner]]), set: new Set([[2]]) }
    const [first, second] = decode(encode([live({ shared }), live([shared])])) as [{ shared: typeof shared }, [unknown]]
    expect(second[0]).toBe(first.shared)
    const [[key, list]] = [...first.shared.map] as [[object, typeof inner]]
    const all = [
      first,
      second,
      first.shared,
      first.shared.map,
      key,
      list,
      list[0],
      list[0]!.deep,
      [...first.shared.set][0],
    ]
    expect(all.every((each) => Object.isFrozen(each))).toBe(true)
  })
  it('freezes what is empty, and Errors with what they hold', () => {
    const picture = decode(encode(live({ array: [], object: {}, error: new Error('m', { cause: [{}] }) }))) as {
      array: unknown[]
      object: object
      error: Error & { cause: [object] }
    }
    const { array, object, error } = picture
    for (const each of [picture, array, object, error, error.cause, error.cause[0]]) {
      expect(Object.isFrozen(each)).toBe(true)
    }
  })
})
