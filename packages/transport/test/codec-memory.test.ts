import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { createChunkWriter, decode, decodeChunk, encode } from '../src/codec.ts'

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
