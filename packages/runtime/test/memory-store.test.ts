import { expect, test } from 'vitest'
import { noteParts } from '../src/chunk-memory.ts'
import type { StoredLog } from '../src/store/store.ts'
import { memoryStore } from '../src/store/memory.ts'
import { storeSuite } from './suites/store.suite.ts'

storeSuite('the memory store', () => memoryStore({ logLimit: 10_000 }))

test('what an ended job has said does not hold the memory it came in', () => {
  const log = memoryStore().log('job') as StoredLog
  for (let first = 0; first < 3; first++)
    void log.append({ first, count: 1, errors: 0, bytes: new Uint8Array(1 << 20).subarray(7, 5_007) })
  log.pack?.()
  const chunks = log.read(0, 1_000_000) as readonly { bytes: Uint8Array }[]
  expect(chunks.map(({ bytes }) => [bytes.byteLength, bytes.buffer.byteLength])).toEqual(Array(3).fill([5_000, 5_000]))
})

test('what is dropped unread gives its memory back, with the last that lies in it; what somebody may hold does not', () => {
  const log = memoryStore().log('job') as StoredLog
  const size = 16 * 1024
  const together = new Uint8Array(2 * size)
  const said = [together.subarray(0, size), together.subarray(size), new Uint8Array(size), new Uint8Array(size)]
  noteParts(['chunk', 1, said[0]!])
  noteParts(['chunk', 1, said[1]!])
  noteParts(['chunk', 1, said[2]!])
  const elsewhere = new Uint8Array(size)
  noteParts(['chunk', 1, elsewhere], () => false)
  for (const [first, bytes] of [...said, elsewhere].entries()) void log.append({ first, count: 1, errors: 0, bytes })
  void log.forget(1)
  expect([together.buffer.detached, log.start]).toEqual([false, 1])
  void log.forget(2)
  expect(together.buffer.detached).toBe(true)
  // Read by somebody, who may be about to send it; not noted as ours; not alone in its memory.
  const [third] = log.read(2, 1) as readonly { bytes: Uint8Array }[]
  void log.forget(5)
  expect([third!.bytes.byteLength, said[3]!.byteLength, elsewhere.byteLength]).toEqual([size, size, size])
  expect(log.start).toBe(5)
})
