import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { createChunkWriter, decode, decodeChunk, encode } from '../src/codec.ts'
import { TAG } from '../src/codec-tags.ts'
import { bytes, tag, text } from './fixtures/cbor-bytes.ts'

// In a file, and so a process, of its own: what other tests left behind would count as held before.
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

// V8 frees buffers on a thread of its own: a single look may come too soon, so the tests wait for the figure.
function held(): number {
  collect()
  return process.memoryUsage().arrayBuffers
}

it('lets go of what giants took', async () => {
  decode(encode('x'.repeat(5000)))
  const before = held()
  // In a function of its own, whose leavings on the stack are gone with it.
  const giants = (): void => {
    decode(encode({ giant: new Uint8Array(12_000_000) }))
    const writer = createChunkWriter()
    writer.add('x'.repeat(5_000_000))
    decodeChunk(writer.finish())
  }
  giants()
  await expect.poll(() => held() - before).toBeLessThan(1_000_000)
})

/** Bytes of everything, text included. */
function heldAtAll(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

it('lets go of keys, wherever they stood', async () => {
  const kilobytes = 256
  const key = (n: number): string => `${n}`.padEnd(kilobytes * 1024, 'x')
  // At each depth and place once, which is where the last keys are remembered to tell new ones.
  const value = (depth: number, place: number): unknown => {
    const wide = Object.fromEntries(Array.from({ length: place }, (_, i) => [`k${i}`, null]))
    let value: unknown = { ...wide, [key(depth * 100 + place)]: null }
    for (let i = 1; i < depth; i++) value = [value]
    return value
  }
  const all = (act: (depth: number, place: number) => void): void => {
    for (let depth = 1; depth < 60; depth += 4) for (let place = 0; place < 24; place += 6) act(depth, place)
  }
  const writer = createChunkWriter()
  const keys = (): void =>
    all((depth, place) => {
      decode(encode(value(depth, place)))
      writer.add(0)
      writer.add({ [key(depth * 100 + place)]: null })
      decodeChunk(writer.finish())
      // Refused when the keys have been seen.
      const whole = encode(value(depth, place))
      expect(() => decode(whole.subarray(0, -1))).toThrow('not a value')
    })
  const before = heldAtAll()
  keys()
  await expect.poll(() => heldAtAll() - before).toBeLessThan(3_000_000)
})

it('lets go of a chunk that turned out malformed', async () => {
  const before = heldAtAll()
  const act = (): void => {
    const writer = createChunkWriter()
    for (let i = 0; i < 3; i++) writer.add({ [`${i}`.padEnd(1_000_000, 'k')]: `${i}`.padEnd(4_000_000, 'x') })
    for (let i = 0; i < 10_000; i++) writer.add([{}])
    // A pattern is only compiled when all that comes before it has been read.
    const end = bytes(tag(TAG.regexp, text('/(/')))
    expect(() => decodeChunk(Buffer.concat([writer.finish(), end]))).toThrow('not a RegExp')
  }
  act()
  await expect.poll(() => heldAtAll() - before).toBeLessThan(4_000_000)
})

it('lets go of the counts of a large Set', async () => {
  const before = held()
  const act = (): void => {
    let value: unknown = 1
    // Each count takes a byte for every other member, and is put aside while what is in the Set is read.
    for (let depth = 0; depth < 30; depth++) {
      value = new Set([value])
      for (let i = 0; i < 8000; i++) (value as Set<unknown>).add(i)
    }
    decode(encode(value))
  }
  act()
  await expect.poll(() => held() - before).toBeLessThan(30_000)
})

it('holds little for a writer that waits', async () => {
  const before = held()
  const writers = Array.from({ length: 1000 }, () => createChunkWriter())
  for (const writer of writers) {
    for (let i = 0; i < 100; i++) writer.add({ i, text: 'some text of a usual record' })
    writer.finish()
    writer.add(1)
    writer.finish()
  }
  await expect.poll(() => held() - before).toBeLessThan(1_000_000)
  expect(writers.every((writer) => writer.count === 0)).toBe(true)
})
