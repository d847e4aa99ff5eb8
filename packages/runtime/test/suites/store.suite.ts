// What every store must keep. A new one is held to it by one line in its own test file.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Chunk } from '../../src/record.ts'
import type { Store, StoredLog } from '../../src/store/store.ts'

const chunk = (first: number, count: number, size = 10): Chunk => ({
  first,
  count,
  errors: 0,
  bytes: new Uint8Array(size).fill(first),
})

export function storeSuite(name: string, open: () => Promise<Store> | Store): void {
  describe(`${name} keeps the store contract`, () => {
    let store: Store
    let log: StoredLog
    beforeEach(async () => {
      store = await open()
      log = await store.log('job')
    })
    afterEach(() => store[Symbol.asyncDispose]())

    it('numbers from 0 and gives back whole chunks, the first one also when asked from its middle', async () => {
      for (const [first, count] of [
        [0, 3],
        [3, 1],
        [4, 5],
      ] as const)
        await log.append(chunk(first, count))
      expect([log.start, log.end]).toEqual([0, 9])
      const from = async (seq: number): Promise<number[]> => (await log.read(seq, 1000)).map(({ first }) => first)
      expect(await from(0)).toEqual([0, 3, 4])
      expect(await from(2)).toEqual([0, 3, 4])
      expect(await from(3)).toEqual([3, 4])
      expect(await from(8)).toEqual([4])
      expect(await from(9)).toEqual([])
    })

    it('accepts in order what is appended without waiting, and gives nothing that it has not accepted', async () => {
      const chunks = Array.from({ length: 50 }, (_, first) => chunk(first, 1, 200))
      const seen: number[] = []
      const appended = chunks.map((one) => Promise.resolve(log.append(one)).then(() => seen.push(one.first)))
      expect(log.end).toBe(50)
      const some = await log.read(0, 100_000)
      expect(some.length).toBeLessThanOrEqual(log.accepted)
      await Promise.all(appended)
      expect([log.accepted, seen]).toEqual([50, chunks.map(({ first }) => first)])
      expect(await log.read(0, 100_000)).toEqual(chunks)
    })

    it('refuses a chunk that does not begin where the log ends', async () => {
      await log.append(chunk(0, 2))
      await expect((async () => log.append(chunk(3, 1)))()).rejects.toThrow()
      await expect((async () => log.append(chunk(1, 1)))()).rejects.toThrow()
      expect(log.end).toBe(2)
    })

    it('reads no more than about what was asked for, and always at least one chunk', async () => {
      for (let first = 0; first < 10; first++) await log.append(chunk(first, 1, 100))
      expect((await log.read(0, 250)).length).toBe(3)
      expect((await log.read(0, 1)).length).toBe(1)
    })

    it('moves cursors forward only, each reader its own, none beyond the end', async () => {
      await log.append(chunk(0, 5))
      await log.setCursor('a', 3)
      await log.setCursor('a', 1)
      await log.setCursor('b', 99)
      expect([log.cursor('a'), log.cursor('b'), log.cursor('new')]).toEqual([3, 5, 0])
    })

    it('says how many bytes are left from a record on', async () => {
      for (let first = 0; first < 4; first++) await log.append(chunk(first, 1, 100))
      const left = [0, 2, 3, 4].map((seq) => log.bytesFrom(seq))
      expect(left.at(-1)).toBe(0)
      expect(left[0]).toBe(4 * left[2]!)
      expect(left[2]).toBeGreaterThanOrEqual(100)
    })

    it('begins a copy at the number its original has', async () => {
      log.begin(40, 'owner', 42)
      await log.append(chunk(40, 5))
      expect([log.start, log.end, log.cursor('owner'), log.cursor('other')]).toEqual([40, 45, 42, 40])
    })

    it('forgets beyond its limit only what the owner has read', async () => {
      const size = Math.ceil(store.logLimit / 10)
      for (let first = 0; first < 15; first++) await log.append(chunk(first, 1, size))
      expect(log.start).toBe(0)
      await log.setCursor('owner', 3)
      await log.append(chunk(15, 1, size))
      expect(log.start).toBe(3)
      await log.setCursor('owner', 16)
      await log.append(chunk(16, 1, size))
      expect(log.start).toBeGreaterThanOrEqual(6)
      expect((await log.read(log.start, 1))[0]?.first).toBe(log.start)
      expect(log.end).toBe(17)
    })

    it('forgets what it is told to, whole chunks only, and never hands out less than it says', async () => {
      for (const [first, count] of [
        [0, 3],
        [3, 1],
        [4, 5],
      ] as const)
        await log.append(chunk(first, count))
      await log.forget(2)
      expect(log.start).toBe(0)
      await log.forget(8)
      expect([log.start, log.end, log.cursor('new')]).toEqual([4, 9, 4])
      expect((await log.read(0, 1000)).map(({ first }) => first)).toEqual([4])
      expect(log.bytesFrom(0)).toBe(log.bytesFrom(4))
      await log.append(chunk(9, 1))
      log.pack?.()
      await log.forget(9)
      expect([log.start, log.end]).toEqual([9, 10])
      expect((await log.read(0, 1000)).map(({ first }) => first)).toEqual([9])
      await log.forget(99)
      expect([log.start, log.end]).toEqual([10, 10])
      expect(await log.read(0, 1000)).toEqual([])
      await log.forget(0)
      expect(log.start).toBe(10)
    })

    it.each([
      ['few bytes', 3],
      ['many bytes', 3_000],
    ])('gives the same when its job has ended: %s', async (_, size) => {
      // Views of something larger, as they come over a wire.
      const view = (first: number, count: number): Chunk => ({
        first,
        count,
        errors: count - 1,
        bytes: new Uint8Array(4 * size).fill(first).subarray(size, 2 * size),
      })
      log.begin(40, 'owner', 41)
      for (const [first, count] of [
        [40, 3],
        [43, 1],
        [44, 2],
      ] as const)
        await log.append(view(first, count))
      await log.setCursor('another', 43)
      const seen = async (): Promise<unknown> => ({
        range: [log.start, log.end],
        cursors: ['owner', 'another', 'new'].map((reader) => log.cursor(reader)),
        all: (await log.read(0, 1_000_000)).map((one) => ({ ...one, bytes: [...one.bytes] })),
        some: (await log.read(43, 1)).map(({ first }) => first),
        left: [40, 43, 46].map((seq) => log.bytesFrom(seq)),
      })
      const before = await seen()
      log.pack?.()
      expect(await seen()).toEqual(before)
      log.pack?.()
      await log.setCursor('owner', 99)
      await log.setCursor('late', 44)
      expect([log.cursor('owner'), log.cursor('late')]).toEqual([46, 44])
      expect((await store.log('job')).end).toBe(46)
    })

    it('opens the same log twice, and forgets a dropped one', async () => {
      await log.append(chunk(0, 2))
      expect((await store.log('job')).end).toBe(2)
      await store.dropLog('job')
      await store.dropLog('never there')
      expect((await store.log('job')).end).toBe(0)
    })
  })
}
