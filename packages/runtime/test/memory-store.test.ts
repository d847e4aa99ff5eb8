import { expect, test } from 'vitest'
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
