import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ErrandError } from '../src/errors.ts'
import { ABORT, END, FrameDecoder, HEADER, HELLO, MAX_CONTROL, controlFrame, writeHeader } from '../src/framing.ts'
import { liesAlone, toRead } from '../src/lent-memory.ts'

type Found = { kind: number; body: number[] }

function decoder(limit: number): { found: Found[]; decoder: FrameDecoder } {
  const found: Found[] = []
  const it = new FrameDecoder({
    value: (body) => found.push({ kind: 0, body: [...body] }),
    control: (kind, body) => found.push({ kind, body: [...body] }),
  })
  it.limit = limit
  return { found, decoder: it }
}

function valueFrame(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER + body.length)
  writeHeader(frame, 0, body.length)
  frame.set(body, HEADER)
  return frame
}

/** The same bytes in pieces of the given sizes, again and again. */
function* pieces(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!
    yield bytes.subarray(at, at + size)
    at += size
  }
}

const frames = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant(0), body: fc.uint8Array({ minLength: 1, maxLength: 300 }) }),
    fc.record({ kind: fc.integer({ min: HELLO, max: ABORT }), body: fc.uint8Array({ maxLength: 40 }) }),
    fc.constant('beat' as const),
  ),
  { maxLength: 30 },
)

describe('frames', () => {
  test('come out as they went in, however the bytes were cut', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 }), (sent, sizes) => {
        const bytes = Buffer.concat(
          sent.map((frame) =>
            frame === 'beat'
              ? new Uint8Array(HEADER)
              : frame.kind === 0
                ? valueFrame(frame.body)
                : controlFrame(frame.kind, frame.body),
          ),
        )
        const it = decoder(300)
        for (const piece of pieces(bytes, sizes)) it.decoder.push(piece)
        expect(it.found).toEqual(
          sent.filter((frame) => frame !== 'beat').map(({ kind, body }) => ({ kind, body: [...body] })),
        )
      }),
    )
  })

  test('larger than what is allocated on trust come out whole', () => {
    const body = new Uint8Array(5 << 20).map((_, i) => i * 31)
    let got: Uint8Array | undefined
    const it = new FrameDecoder({ value: (found) => (got = found), control: () => {} })
    it.limit = body.length
    for (const piece of pieces(valueFrame(body), [60_000, 1, 70_001])) it.push(piece)
    expect(Buffer.compare(got!, body)).toBe(0)
  })

  test('that did not cross chunks are views, and no Buffers', () => {
    const chunk = Buffer.from(valueFrame(new Uint8Array([7, 8])))
    let got: Uint8Array | undefined
    const it = new FrameDecoder({ value: (found) => (got = found), control: () => {} })
    it.limit = 2
    it.push(chunk)
    expect(got!.buffer).toBe(chunk.buffer)
    expect(got!.constructor).toBe(Uint8Array)
  })
})

describe('limits', () => {
  const header = (value: number): Uint8Array => {
    const bytes = new Uint8Array(HEADER)
    writeHeader(bytes, 0, value)
    return bytes
  }

  test.each([
    ['a value of one byte too many', 100, header(101), 'FRAME_TOO_LARGE'],
    ['the largest length there is', 100, header(0x7fff_ffff), 'FRAME_TOO_LARGE'],
    ['any value before the handshake', 0, header(1), 'PROTOCOL'],
    ['a control frame of one byte too many', 100, header(0x8100_0000 + MAX_CONTROL + 1), 'FRAME_TOO_LARGE'],
    ['a control frame of no kind', 100, header(0x8000_0000), 'PROTOCOL'],
    ['a control frame of an unknown kind', 100, header(0x8500_0000), 'PROTOCOL'],
  ])('%s is refused at its header', (_, limit, bytes, code) => {
    const it = decoder(limit)
    expect(() => it.decoder.push(bytes)).toThrow(expect.objectContaining({ code }))
    expect(it.found).toEqual([])
  })

  test('what is announced and does not come takes no memory', () => {
    const before = process.memoryUsage().arrayBuffers
    const waiting = Array.from({ length: 16 }, () => {
      const it = decoder(0x7fff_ffff)
      it.decoder.push(header(0x7fff_ffff))
      it.decoder.push(new Uint8Array(10))
      return it
    })
    // 32 GiB announced; 1 MiB each is the most that is laid out in advance.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(17 << 20)
    expect(waiting).toHaveLength(16)
  })

  test('a body that comes byte by byte takes one buffer', () => {
    const size = 1 << 20
    const it = decoder(0x7fff_ffff)
    it.decoder.push(header(0x7fff_ffff))
    globalThis.gc?.()
    const before = process.memoryUsage()
    const byte = new Uint8Array(1)
    for (let i = 0; i < size; i++) it.decoder.push(byte)
    const after = process.memoryUsage()
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(8 << 20)
  })

  test('whatever the bytes: frames, or a typed error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 64 }), (bytes, size) => {
        const it = decoder(100)
        try {
          for (const piece of pieces(bytes, [size])) it.decoder.push(piece)
        } catch (error) {
          expect(error).toBeInstanceOf(ErrandError)
        }
        for (const { body } of it.found) expect(body.length).toBeLessThanOrEqual(MAX_CONTROL)
      }),
      { numRuns: 20_000 },
    )
  })

  test('a decoder that was stopped finds nothing more, not even in the chunk at hand', () => {
    const kinds: number[] = []
    const it: FrameDecoder = new FrameDecoder({
      value: () => kinds.push(0),
      control: (kind) => {
        kinds.push(kind)
        it.stop()
      },
    })
    it.push(Buffer.concat([controlFrame(END), controlFrame(END)]))
    it.push(controlFrame(END))
    expect(kinds).toEqual([END])
  })
})

describe('memory that a carrier has read into', () => {
  /** Frames, one behind the other, as a carrier reads them: each piece in memory of its own. */
  const read = (bodies: readonly number[], size: number): Uint8Array<ArrayBuffer>[] => {
    const bytes = Buffer.concat(bodies.map((length, n) => valueFrame(new Uint8Array(length).fill(n + 1))))
    return [...pieces(bytes, [size])].map((piece) => new Uint8Array(piece))
  }

  test('goes back when all of it was copied, headers and all, and not where some was handed out as it is', () => {
    const found: Uint8Array[] = []
    const it = new FrameDecoder({ value: (body) => found.push(body), control: () => undefined })
    it.limit = 100_000
    // The second piece ends a value and begins another, the third holds a small one whole, and the fourth is not worth it.
    const parts = read([50_000, 30_000, 100, 40_000], 40_000)
    for (const part of parts) {
      toRead.lend(part)
      it.push(part)
    }
    expect(parts.map((part) => part.buffer.detached)).toEqual([true, true, false, false])
    expect(found.map((body) => [body.length, new Set(body)])).toEqual([
      [50_000, new Set([1])],
      [30_000, new Set([2])],
      [100, new Set([3])],
      [40_000, new Set([4])],
    ])
    // And who got what was copied has that memory to itself.
    expect(found.map(liesAlone)).toEqual([true, true, false, true])
  })
})
