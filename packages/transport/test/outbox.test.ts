import { isDeepStrictEqual } from 'node:util'
import { describe, expect, test } from 'vitest'
import { decode } from '../src/codec.ts'
import { FrameDecoder } from '../src/framing.ts'
import { toWrite } from '../src/lent-memory.ts'
import { Outbox } from '../src/outbox.ts'

const KiB = 1024
const MAX = 4 * 1024 * KiB

/** What the writes say, put together from copies, as a carrier would send them. */
function valuesIn(writes: readonly Uint8Array[]): unknown[] {
  const values: unknown[] = []
  const decoder = new FrameDecoder({ value: (body) => values.push(decode(body, { copy: true })), control: () => {} })
  decoder.limit = MAX
  for (const write of writes) decoder.push(write)
  return values
}

/** Everything that waits, copied. As a carrier does, gives the memory back when it is through with it. */
function taken(outbox: Outbox): Uint8Array[] {
  const writes: Uint8Array[] = []
  for (let write = outbox.take(); write !== undefined; write = outbox.take()) {
    writes.push(Uint8Array.prototype.slice.call(write)) // a Buffer's own `slice` copies nothing
    toWrite.used(write)
  }
  return writes
}

const pattern = (length: number, seed: number): Uint8Array => new Uint8Array(length).map((_, i) => (i * 7 + seed) % 251)

// Around everything that changes the way of a frame: room that is left, a share of memory, memory of its own, pieces.
const SIZES = [
  0, 1, 100, 4000, 4080, 4096, 9000, 65_000, 65_536, 130_000, 131_072, 200_000, 262_144, 524_000, 1_048_576,
]

describe('values', () => {
  test.each(SIZES)('of %i bytes come out as they went in, alone and in a row', (size) => {
    const outbox = new Outbox()
    for (let turn = 0; turn < 4; turn++) {
      const values = Array.from({ length: 1 + 2 * turn }, (_, i) => pattern(size, i + turn))
      for (const value of values) outbox.value(value, MAX)
      // Not `toEqual`, which takes seconds over megabytes.
      expect(isDeepStrictEqual(valuesIn(taken(outbox)), values)).toBe(true)
      expect(outbox.bytes).toBe(0)
    }
  })

  test('that fill the memory they share to its last byte leave nothing behind that is gone', () => {
    const outbox = new Outbox()
    const bare = (length: number): Uint8Array => new Uint8Array(length)
    const turns: unknown[][] = [[bare(4200), bare(4200)], [0, 0, [bare(8405), 1.5]], [1], ['x']]
    for (const values of turns) {
      for (const value of values) outbox.value(value, MAX)
      expect(isDeepStrictEqual(valuesIn(taken(outbox)), values)).toBe(true)
    }
  })

  test('of all sizes in any order, taken now and then, keep their order and their bytes', () => {
    const outbox = new Outbox()
    const sent: unknown[] = []
    const writes: Uint8Array[] = []
    let state = 20251123
    const random = (): number => (state = (state * 1_103_515_245 + 12_345) & 0x7fff_ffff)
    for (let i = 0; i < 200; i++) {
      const size = SIZES[random() % SIZES.length]!
      const value =
        random() % 2 === 0 ? pattern(size, i) : { i, text: 'x'.repeat(size % 5000), bytes: pattern(size, i) }
      sent.push(value)
      outbox.value(value, MAX)
      if (random() % 5 === 0) writes.push(...taken(outbox))
    }
    writes.push(...taken(outbox))
    const arrived = valuesIn(writes)
    expect(arrived).toHaveLength(sent.length)
    for (let i = 0; i < sent.length; i++) expect(isDeepStrictEqual(arrived[i], sent[i])).toBe(true)
  })

  test('may change as soon as they are queued', () => {
    const outbox = new Outbox()
    const bytes = pattern(1_048_576, 1)
    outbox.value(bytes, MAX)
    bytes.fill(0)
    expect(isDeepStrictEqual(valuesIn(taken(outbox)), [pattern(1_048_576, 1)])).toBe(true)
  })

  test('that are refused leave nothing behind', () => {
    const outbox = new Outbox()
    outbox.value('before', MAX)
    expect(() => outbox.value(pattern(2000, 1), 1000)).toThrow(expect.objectContaining({ code: 'FRAME_TOO_LARGE' }))
    expect(() => outbox.value(pattern(500_000, 1), 1000)).toThrow(expect.objectContaining({ code: 'FRAME_TOO_LARGE' }))
    expect(() => outbox.value([pattern(500_000, 1), () => {}], MAX)).toThrow(
      expect.objectContaining({ code: 'NOT_TRANSFERABLE' }),
    )
    outbox.value('after', MAX)
    expect(valuesIn(taken(outbox))).toEqual(['before', 'after'])
  })

  test('a getter that sends on the same channel spoils nothing', () => {
    const outbox = new Outbox()
    const large = pattern(300_000, 3)
    outbox.value('first', MAX)
    outbox.value(
      {
        before: 'x'.repeat(3000),
        get inner() {
          outbox.value({ within: large }, MAX)
          return 1
        },
        after: large,
      },
      MAX,
    )
    outbox.value('last', MAX)
    const arrived = valuesIn(taken(outbox))
    const [outer] = arrived.splice(-2, 1)
    expect(isDeepStrictEqual(outer, { before: 'x'.repeat(3000), inner: 1, after: large })).toBe(true)
    expect([arrived.shift(), arrived.pop()]).toEqual(['first', 'last'])
    expect(arrived.length).toBeGreaterThan(0) // how often a getter is asked is the codec's affair
    for (const value of arrived) expect(isDeepStrictEqual(value, { within: large })).toBe(true)
  })

  test('a getter that ends the channel leaves nothing to send', () => {
    const outbox = new Outbox()
    outbox.value('first', MAX)
    outbox.value(
      {
        get end() {
          outbox.clear()
          return 1
        },
      },
      MAX,
    )
    expect(outbox.take()).toBeUndefined()
    expect(outbox.bytes).toBe(0)
  })
})

describe('writes', () => {
  test('small values of a turn leave as one; a long one in pieces, two of which a window holds', () => {
    const outbox = new Outbox()
    for (let i = 0; i < 1000; i++) outbox.value(i, MAX)
    expect(taken(outbox)).toHaveLength(1)
    outbox.value(pattern(1_048_576, 1), MAX)
    expect(taken(outbox).map(({ length }) => length <= 385 * KiB)).toEqual([true, true, true])
  })

  test('memory that was written goes back, so that a sender of bulk holds none', () => {
    const outbox = new Outbox()
    const buffers = new Set<ArrayBufferLike>()
    for (let i = 0; i < 50; i++) {
      outbox.value(pattern(1_048_576, i), MAX)
      for (let j = 0; j < 5; j++) outbox.value({ bytes: pattern(65_536, j) }, MAX)
      for (let write = outbox.take(); write !== undefined; write = outbox.take()) {
        buffers.add(write.buffer)
        toWrite.used(write)
      }
    }
    const held = [...buffers].filter((buffer) => !(buffer as ArrayBuffer).detached)
    expect(buffers.size).toBeGreaterThan(50)
    expect(held.length).toBeLessThanOrEqual(1) // the memory that the next values share
  })
})
