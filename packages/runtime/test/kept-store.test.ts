// The disk that tests of restarts use keeps what it promises.
import { expect, test } from 'vitest'
import { storeSuite } from './suites/store.suite.ts'
import { keptDisk } from './support/kept-store.ts'

storeSuite('the disk of a test', () => keptDisk({ logLimit: 20_000 }).open())

test('the next peer finds rows and logs as they were when the last one was killed', async () => {
  const disk = keptDisk()
  const first = disk.open()
  const at = new Date(1_700_000_000_000)
  await first.rows!.put('job', 'a', { at })
  await first.rows!.put('job', 'b', 1)
  await first.rows!.put('job', 'a', { at, again: true })
  await (await first.log('a')).append({ first: 0, count: 2, errors: 0, bytes: new Uint8Array(3) })
  disk.kill()
  void first.rows!.put('job', 'c', 2)
  void (await first.log('a')).append({ first: 2, count: 1, errors: 0, bytes: new Uint8Array(3) })
  await using second = disk.open()
  expect(await second.rows!.all('job')).toEqual([
    { key: 'a', value: { at, again: true } },
    { key: 'b', value: 1 },
  ])
  expect((await second.log('a')).end).toBe(2)
})
