import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ErrandError } from '../src/errors.ts'
import { ABORT, END, FrameDecoder, HEADER, HELLO, MAX_CONTROL, controlFrame, writeHeader } from '../src/framing.ts'

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
