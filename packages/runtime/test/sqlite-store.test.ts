// A store on disk keeps the contract, and finds everything again.
import { rmSync, statSync, writeFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { memoryStore } from '../src/store/memory.ts'
import { MIGRATIONS } from '../src/store/sqlite-schema.ts'
import { sqlite, type SqliteStore } from '../src/store/sqlite.ts'
import type { Store } from '../src/store/store.ts'
import { storeSuite } from './suites/store.suite.ts'
import { chunkOf } from './support/chunks.ts'
import { edit, readAll, storeFolder } from './support/store-files.ts'

const place = storeFolder()

storeSuite('the store on disk', () => place.open({ logLimit: 20_000 }))

test('the next opening finds logs, cursors and rows as they were', async () => {
  const at = new Date(1_700_000_000_000)
  const chunks = [chunkOf(0, 3), chunkOf(3, 1, 200_000), chunkOf(4, 5, 0), chunkOf(9)]
  {
    await using store = place.open()
    const log = await store.log('job')
    for (const chunk of chunks) void log.append(chunk)
    void log.setCursor('owner', 4)
    void log.setCursor('another', 2)
    const copy = await store.log('copy')
    copy.begin(40, 'owner', 42)
    await copy.append(chunkOf(40, 2))
    await store.rows.put('job', 'a', { at })
    await store.rows.put('job', 'b', 1)
    await store.rows.put('job', 'a', { at, again: true })
    await store.rows.put('session', 'a', 'another kind')
    await store.rows.delete('job', 'never there')
  }
  await using store = place.open()
  const log = await store.log('job')
  expect([log.start, log.end, log.accepted]).toEqual([0, 10, 10])
  expect(['owner', 'another', 'new'].map((reader) => log.cursor(reader))).toEqual([4, 2, 0])
  expect(await readAll(log)).toEqual(chunks)
  expect([log.bytesFrom(10), log.bytesFrom(9)]).toEqual([0, 72])
  const copy = await store.log('copy')
  expect([copy.start, copy.end, copy.cursor('owner'), copy.cursor('new')]).toEqual([40, 42, 42, 40])
  expect(await store.rows.all('job')).toEqual([
    { key: 'a', value: { at, again: true } },
    { key: 'b', value: 1 },
  ])
  expect(await store.rows.all('held')).toEqual([])
  expect(await store.logs()).toEqual(['job', 'copy'])
  expect(place.troubles()).toEqual([])
})

test('a new file is its user’s alone, and nothing is made before it is needed', async () => {
  await using store = place.open()
  expect(() => statSync(place.path)).toThrow('ENOENT')
  await store.rows.put('peer', 'p', 1)
  expect(statSync(place.path).mode & 0o777).toBe(0o600)
  expect(statSync(`${place.path}-wal`).mode & 0o777).toBe(0o600)
})

test('what one turn puts is on disk together, in the order of the calls', async () => {
  {
    await using store = place.open()
    const value = { n: 1 }
    const first = store.rows.put('job', 'a', value)
    value.n = 2
    void store.rows.put('job', 'b', value)
    void store.rows.delete('job', 'b')
    void store.rows.put('job', 'c', value)
    await first
    expect((await store.rows.all('job')).map(({ key }) => key)).toEqual(['a', 'c'])
  }
  await using store = place.open()
  expect(await store.rows.all('job')).toEqual([
    { key: 'a', value: { n: 1 } },
    { key: 'c', value: { n: 2 } },
  ])
})

test('a value that cannot be kept is refused, and nothing of it is there', async () => {
  await using store = place.open()
  await expect(store.rows.put('job', 'a', () => 1)).rejects.toMatchObject({ code: 'NOT_TRANSFERABLE' })
  expect(await store.rows.all('job')).toEqual([])
})

test('a second store on the same file is refused, and told what to do; then it can be had', async () => {
  {
    await using store = place.open()
    await store.rows.put('peer', 'p', 1)
    await using second = place.open()
    const refused = { code: 'STORE_IN_USE', hint: expect.stringContaining('another file') as string }
    await expect(second.rows.put('peer', 'p', 2)).rejects.toMatchObject(refused)
    await expect(second.log('job')).rejects.toMatchObject(refused)
    expect(await store.rows.all('peer')).toEqual([{ key: 'p', value: 1 }])
  }
  await using third = place.open()
  expect(await third.rows.all('peer')).toEqual([{ key: 'p', value: 1 }])
})

test('after closing every call fails, and closing again is nothing', async () => {
  const store = place.open()
  const log = await store.log('job')
  await log.append(chunkOf(0))
  await store[Symbol.asyncDispose]()
  await store[Symbol.asyncDispose]()
  const code = 'STORE_CLOSED'
  await expect(store.rows.put('job', 'a', 1)).rejects.toMatchObject({ code })
  await expect(store.rows.delete('job', 'a')).rejects.toMatchObject({ code })
  await expect(store.rows.all('job')).rejects.toMatchObject({ code })
  await expect(store.log('other')).rejects.toMatchObject({ code })
  await expect((async () => log.append(chunkOf(1)))()).rejects.toMatchObject({ code })
  expect(log.end).toBe(1)
  store.dropLog('job')
  await log.setCursor('owner', 1)
})

test('a store that was never asked for anything closes without a file', async () => {
  await place.open()[Symbol.asyncDispose]()
  expect(() => statSync(place.path)).toThrow('ENOENT')
})

test.each([
  ['', {}],
  [':memory:', {}],
  ['x.db', { logLimit: 0 }],
  ['x.db', { maxBytes: 1.5 }],
  ['x.db', { whenFull: 'wait' as 'pause' }],
])('bad arguments are refused before anything is done: %j %j', (path, options) => {
  expect(() => sqlite(path, options)).toThrow(expect.objectContaining({ code: 'USAGE' }))
})

test('a file of version 1 is brought up; one of a newer version is left as it is', async () => {
  edit(place.path, (db) => {
    // As version 1 wrote it: one log of one record, its number 7 of 20 reserved, and a row.
    db.exec(MIGRATIONS[0]!)
    db.exec(`PRAGMA user_version = 1; PRAGMA application_id = ${0x65727264}; PRAGMA journal_mode = WAL`)
    db.exec("INSERT INTO log (id, name, start, ceiling) VALUES (3, 'job', 7, 20)")
    db.exec("INSERT INTO cursor VALUES (3, 'owner', 7)")
    db.exec("INSERT INTO meta VALUES ('run', 1), ('boot', 'an earlier one'), ('closed', 1)")
  })
  {
    await using store = place.open()
    const log = await store.log('job')
    expect([log.start, log.end, log.cursor('owner')]).toEqual([7, 7, 7])
    await log.append(chunkOf(7))
    expect(await readAll(log)).toEqual([chunkOf(7)])
  }
  const before = edit(place.path, (db) => {
    expect(db.prepare('SELECT run FROM log').get()).toEqual({ run: 2 })
    db.exec('PRAGMA user_version = 99')
    return db.prepare('SELECT * FROM meta').all()
  })
  {
    await using store = place.open()
    await expect(store.rows.all('job')).rejects.toMatchObject({
      code: 'STORE_VERSION',
      message: expect.stringContaining('99') as string,
    })
  }
  expect(edit(place.path, (db) => db.prepare('SELECT * FROM meta').all())).toEqual(before)
})

test('another program’s database, and what is no database, are refused and left as they are', async () => {
  edit(place.path, (db) => db.exec('CREATE TABLE theirs (a)'))
  {
    await using store = place.open()
    await expect(store.rows.all('job')).rejects.toMatchObject({
      code: 'STORE_DAMAGED',
      message: expect.stringContaining('another program') as string,
    })
  }
  expect(edit(place.path, (db) => db.prepare('SELECT name FROM sqlite_schema').all())).toEqual([{ name: 'theirs' }])
  writeFileSync(place.path, 'These are notes, and quite a lot of them. '.repeat(1000))
  const { size } = statSync(place.path)
  await using store = place.open()
  await expect(store.rows.all('job')).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
  expect(statSync(place.path).size).toBe(size)
})

test('an empty file is a new store; a folder that is not there is said', async () => {
  writeFileSync(place.path, '')
  {
    await using store = place.open()
    await store.rows.put('peer', 'p', 1)
  }
  await using other = sqlite(`${place.path}-nowhere/errand.db`)
  await expect(other.rows.all('peer')).rejects.toMatchObject({ code: 'STORE_FAILED' })
})

test('a dropped log’s room is used again, and a large one goes a little at a time', async () => {
  const fill = async (store: Store, name: string): Promise<void> => {
    const log = await store.log(name)
    for (let first = 0; first < 300; first++) await log.append(chunkOf(first, 1, 20_000))
  }
  {
    await using store = place.open()
    await fill(store, 'one')
  }
  const { size } = statSync(place.path)
  {
    await using store = place.open()
    await store.log('one')
    // Killed in the middle of it, the next opening goes on: here it is closed at once.
    store.dropLog('one')
  }
  {
    await using store = place.open()
    expect((await store.log('one')).end).toBe(0)
    await fill(store, 'two')
  }
  expect(statSync(place.path).size).toBeLessThan(size * 1.5)
})

test('of a log of many pieces not every end is known when it is opened again: nothing is said to be less than it is', async () => {
  const CHUNKS = 700
  let left: number
  {
    await using store = place.open()
    const log = await store.log('job')
    // Each too large to share a piece with the next.
    for (let first = 0; first < 2 * CHUNKS; first += 2) await log.append(chunkOf(first, 2, 33_000))
    left = log.bytesFrom(0)
    // Bounded, however much was written.
    expect(statSync(`${place.path}-wal`).size).toBeLessThan(24 * 1024 * 1024)
  }
  await using store = place.open()
  const log = await store.log('job')
  const end = 2 * CHUNKS
  expect([log.start, log.end]).toEqual([0, end])
  expect([log.bytesFrom(0), log.bytesFrom(end)]).toEqual([left, 0])
  const each = left / CHUNKS
  for (let seq = 0; seq < end; seq += 101) {
    const there = (CHUNKS - Math.trunc(seq / 2)) * each
    expect(log.bytesFrom(seq)).toBeGreaterThanOrEqual(there)
    expect(log.bytesFrom(seq)).toBeLessThan(there + left / 30)
    expect((await log.read(seq, 1))[0]).toEqual(chunkOf(seq - (seq % 2), 2, 33_000))
  }
  // Whole chunks, no more than was asked for.
  await log.forget(end / 2 + 1)
  expect(log.start).toBeGreaterThan(end / 2 - 100)
  expect(log.start).toBeLessThanOrEqual(end / 2)
  expect((await log.read(0, 1))[0]!.first).toBe(log.start)
  for (let first = end; first < end + 20; first += 2) await log.append(chunkOf(first, 2, 33_000))
  expect(log.bytesFrom(end)).toBe(10 * each)
})

// ── against a model ────────────────────────────────────────────────────────────────────────────────────────────────────

type Op =
  | { op: 'append'; log: number; count: number; size: number }
  | { op: 'cursor'; log: number; reader: string; seq: number }
  | { op: 'forget' | 'check'; log: number; seq: number }
  | { op: 'begin' | 'drop' | 'pack'; log: number }
  | { op: 'put'; key: number; value: number }
  | { op: 'delete'; key: number }
  | { op: 'reopen' | 'settle' }

const log = fc.nat(2)
const operation: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ op: fc.constant('append'), log, count: fc.integer({ min: 1, max: 5 }), size: fc.nat(3000) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant('cursor'), log, reader: fc.constantFrom('owner', 'a'), seq: fc.nat(60) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('forget', 'check'), log, seq: fc.nat(60) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('begin', 'drop', 'pack'), log }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('put'), key: fc.nat(4), value: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('delete'), key: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('reopen', 'settle') }) },
) as fc.Arbitrary<Op>

test(
  'whatever is done to it in whatever order, it is what the memory store is, also opened again',
  { timeout: 120_000 },
  () =>
    fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 60 }), async (operations) => {
        // The memory store counts what a chunk costs differently: neither of them reaches its limit.
        const model = memoryStore({ logLimit: 1e9 })
        const rows = new Map<string, number>()
        const sealed = new Set<number>()
        let store: SqliteStore = place.open({ logLimit: 1e9 })
        const name = (index: number): string => `log ${index}`
        const pending: unknown[] = []
        try {
          for (const one of [...operations, { op: 'reopen' } as Op]) {
            const both = 'log' in one ? [await model.log(name(one.log)), await store.log(name(one.log))] : []
            switch (one.op) {
              case 'append':
                if (sealed.has(one.log)) break
                for (const each of both) pending.push(each.append(chunkOf(each.end, one.count, one.size)))
                break
              case 'cursor':
                for (const each of both) void each.setCursor(one.reader, one.seq)
                break
              case 'forget':
                for (const each of both) void each.forget(one.seq)
                break
              case 'begin':
                if (both[0]!.end === both[0]!.start && !sealed.has(one.log))
                  for (const each of both) each.begin(each.end + 7, 'owner', each.end + 7)
                break
              case 'pack':
                sealed.add(one.log)
                for (const each of both) each.pack?.()
                break
              case 'drop':
                sealed.delete(one.log)
                void model.dropLog(name(one.log))
                store.dropLog(name(one.log))
                break
              case 'check': {
                await Promise.all(pending)
                const [expected, found] = both as [(typeof both)[0], (typeof both)[0]]
                expect(await readAll(found!, one.seq)).toEqual(await readAll(expected!, one.seq))
                break
              }
              case 'put':
                rows.set(`${one.key}`, one.value)
                pending.push(store.rows.put('job', `${one.key}`, one.value))
                break
              case 'delete':
                rows.delete(`${one.key}`)
                pending.push(store.rows.delete('job', `${one.key}`))
                break
              case 'settle':
                await Promise.all(pending)
                break
              case 'reopen':
                await store[Symbol.asyncDispose]()
                await Promise.all(pending)
                store = place.open({ logLimit: 1e9 })
                expect(await store.rows.all('job')).toEqual([...rows].map(([key, value]) => ({ key, value })))
                for (const index of [0, 1, 2]) {
                  const [expected, found] = [await model.log(name(index)), await store.log(name(index))]
                  expect([found.start, found.end, found.accepted]).toEqual([expected.start, expected.end, expected.end])
                  for (const reader of ['owner', 'a', 'new']) expect(found.cursor(reader)).toBe(expected.cursor(reader))
                  expect(await readAll(found)).toEqual(await readAll(expected))
                  expect(found.bytesFrom(0) > 0).toBe(expected.bytesFrom(0) > 0)
                }
            }
          }
        } finally {
          await store[Symbol.asyncDispose]()
        }
        // The next run begins with nothing.
        rmSync(place.path)
      }),
      { numRuns: 8 },
    ),
)
