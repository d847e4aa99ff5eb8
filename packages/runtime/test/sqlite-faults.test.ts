// What happens to a disk: its host crashes, bytes of the file change or are missing, it is full, its worker dies.
import { execFileSync, spawnSync } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test, vi } from 'vitest'
import { OutputLog } from '../src/output-log.ts'
import { readLog } from '../src/job-reading.ts'
import type { TableJob } from '../src/job-row.ts'
import { recordsOf, singleRecord } from '../src/record.ts'
import { sqlite } from '../src/store/sqlite.ts'
import { StoreFile } from '../src/store/sqlite-file.ts'
import { APPEND } from '../src/store/sqlite-message.ts'
import type { Store, StoredLog } from '../src/store/store.ts'
import { chunkOf } from './support/chunks.ts'
import { edit, readAll, storeFolder } from './support/store-files.ts'

const place = storeFolder()

/** The file as it lies there, elsewhere: what a crash would have left, if it came now. */
function copyTo(path: string): string {
  for (const end of ['', '-wal']) copyFileSync(place.path + end, path + end)
  return path
}

/** A host that starts again has another boot id; that of the last opening is in the file. */
function asAfterBoot(path: string): void {
  edit(path, (db) => db.exec("UPDATE meta SET value = 'an earlier one' WHERE name = 'boot'"))
}

const firsts = async (log: StoredLog, from = 0): Promise<number[]> =>
  (await readAll(log, from)).map(({ first }) => first)

/** What a reader of a job with this log is given. */
async function records(stored: StoredLog, from = 0): Promise<unknown[]> {
  const log = OutputLog.over(stored)
  const job = { children: [], log, instanceId: 'job', location: 'here' } as Partial<TableJob> as TableJob
  const found: unknown[] = []
  for await (const chunk of readLog(job, { reader: 'owner', from }))
    for (const record of recordsOf(chunk))
      found.push(record.kind === 'gap' ? { seq: record.seq, dropped: record.dropped } : record.seq)
  return found
}

/** A chunk with one record that can be read. */
const said = (first: number): Parameters<StoredLog['append']>[0] => ({ ...singleRecord('output', first), first })

// ── the host ───────────────────────────────────────────────────────────────────────────────────────────────────────────

test('after a crash of the host a log goes on behind a gap, and no number is given twice', async () => {
  const crashed = `${place.path}-crashed`
  let end: number
  {
    await using store = place.open()
    const log = await store.log('job')
    const ended = await store.log('ended')
    for (let first = 0; first < 3; first++) await log.append(said(first))
    await ended.append(said(0))
    ended.pack?.()
    await store.rows.put('job', 'a', 1)
    copyTo(crashed)
    // Accepted, and seen by whoever reads; the host crashes before they are on disk.
    for (let first = 3; first < 10; first++) await log.append(said(first))
    end = log.end
  }
  asAfterBoot(crashed)
  {
    await using store = sqlite(crashed)
    const log = await store.log('job')
    expect(log.end).toBeGreaterThanOrEqual(end)
    const next = log.end
    const gap = { seq: next - 1, dropped: next - 3 }
    expect(await records(log)).toEqual([0, 1, 2, gap])
    await log.append(said(next))
    expect(await records(log)).toEqual([0, 1, 2, gap, next])
    expect(await records(log, 5)).toEqual([{ seq: next - 1, dropped: next - 5 }, next])
    const ended = await store.log('ended')
    expect([ended.end, await records(ended)]).toEqual([1, [0]])
    expect(await store.rows.all('job')).toEqual([{ key: 'a', value: 1 }])
  }
  // Opened again it is the same, and the next crash takes nothing of what was on disk.
  asAfterBoot(crashed)
  await using store = sqlite(crashed)
  const log = await store.log('job')
  expect((await records(log)).slice(0, 3)).toEqual([0, 1, 2])
  expect(await firsts(log)).toHaveLength(4)
})

test('a copy goes on where it ends after a crash of the host: what is missing comes again, under its numbers', async () => {
  const crashed = `${place.path}-crashed`
  {
    await using store = place.open()
    const log = await store.log('copy')
    for (let first = 0; first < 3; first++) await log.append(said(first))
    await store.rows.put('job', 'a', 1)
    copyTo(crashed)
  }
  asAfterBoot(crashed)
  for (const end of [3, 5]) {
    await using store = sqlite(crashed)
    const log = await store.log('copy')
    log.rewind?.()
    expect([log.end, log.accepted]).toEqual([end, end])
    for (let first = end; first < end + 2; first++) await log.append(said(first))
    expect(await records(log)).toEqual(numbers(0, end + 2))
  }
})

test('a process that was killed is no crash of its host: nothing is missing, and numbers go on', async () => {
  const killed = `${place.path}-killed`
  {
    await using store = place.open()
    const log = await store.log('job')
    for (let first = 0; first < 5; first++) await log.append(said(first))
    copyTo(killed)
  }
  await using store = sqlite(killed)
  const log = await store.log('job')
  expect(log.end).toBe(5)
  await log.append(said(5))
  expect(await records(log)).toEqual([0, 1, 2, 3, 4, 5])
})

test('a log that has been silent for a while misses nothing after a crash of the host', async () => {
  const crashed = `${place.path}-crashed`
  await using store = place.open()
  const log = await store.log('job')
  await log.append(said(0))
  const reserved = (): boolean => {
    copyTo(crashed)
    return edit(crashed, (db) => (db.prepare('SELECT ceiling FROM log').get() as { ceiling: number }).ceiling > 1)
  }
  while (reserved()) await new Promise((resolve) => setTimeout(resolve, 50))
  asAfterBoot(crashed)
  await using after = sqlite(crashed)
  const again = await after.log('job')
  expect([again.end, await records(again)]).toEqual([1, [0]])
})

/** What the worker does with a log, and what it says: whether what was appended may be seen only when it is synced. */
function fileOfOne(): { file: StoreFile; append: () => boolean } {
  const file = new StoreFile({ path: place.path, failing: false, maxBytes: undefined }, () => undefined)
  const { log } = file.log('job')
  let first = 0
  return {
    file,
    append: () => file.write([{ number: 0, operations: [APPEND, log, first++, 1, 0, 1], bytes: Uint8Array.of(first) }]),
  }
}

test('a log that goes on speaking keeps its numbers in reserve: it does not wait for the disk once a second', () => {
  const { file, append } = fileOfOne()
  expect(append()).toBe(true)
  file.reserved()()
  for (let second = 0; second < 3; second++) {
    expect(append()).toBe(false)
    file.releaseIdle()
  }
  // Silent from one look to the next.
  file.releaseIdle()
  expect(append()).toBe(true)
  file.close()
})

test('numbers given back while their reserve was on its way to the disk are not taken for reserved', () => {
  const { file, append } = fileOfOne()
  append()
  const synced = file.reserved()
  for (let look = 0; look < 2; look++) file.releaseIdle()
  expect(append()).toBe(true)
  synced()
  // The crash that comes now may leave the file without the new reserve.
  expect(append()).toBe(true)
  file.close()
})

// ── the file ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Finds bytes in the file and changes the last of them. */
function spoil(path: string, bytes: Uint8Array): void {
  const fd = openSync(path, 'r+')
  try {
    const content = Buffer.alloc(fstatSync(fd).size)
    readSync(fd, content, 0, content.byteLength, 0)
    const at = content.indexOf(bytes)
    expect(at).toBeGreaterThan(0)
    const last = at + bytes.byteLength - 1
    writeSync(fd, Uint8Array.of(content[last]! ^ 0xff), 0, 1, last)
  } finally {
    closeSync(fd)
  }
}

async function filled(): Promise<void> {
  await using store = place.open()
  for (const name of ['job', 'other']) {
    const log = await store.log(name)
    for (let first = 0; first < 20; first++)
      await log.append({ ...chunkOf(first + (name === 'job' ? 0 : 5000)), first })
  }
  for (let key = 0; key < 20; key++) await store.rows.put('job', `key ${key}`, `the value of ${key}.`)
}

/** What the store has, and what it says of the rest. */
async function left(store: Store): Promise<{ job: number[]; other: number; rows: number }> {
  const [job, other] = [await firsts(await store.log('job')), await firsts(await store.log('other'))]
  return { job, other: other.length, rows: (await store.rows!.all('job')).length }
}

test('a damaged chunk is reported and left out; everything else is there', async () => {
  await filled()
  spoil(place.path, chunkOf(7).bytes)
  await using store = place.open()
  const found = await left(store)
  expect(found).toEqual({ job: Array.from({ length: 20 }, (_, n) => n).filter((n) => n !== 7), other: 20, rows: 20 })
  expect(place.troubles()).toEqual(['STORE_DAMAGED /errand.db: records 7 to 7 of job are damaged'])
  // And it goes on.
  const log = await store.log('job')
  await log.append(chunkOf(20))
  expect((await firsts(log)).slice(-2)).toEqual([19, 20])
})

test('where the last chunk is damaged its number is not given again', async () => {
  await filled()
  spoil(place.path, chunkOf(19).bytes)
  await using store = place.open()
  const log = await store.log('job')
  expect(log.end).toBe(20)
  await log.append(chunkOf(20))
  expect(await firsts(log)).toEqual([...Array.from({ length: 19 }, (_, n) => n), 20])
})

test('a damaged row is reported and left out, and can be put again', async () => {
  await filled()
  spoil(place.path, Buffer.from('the value of 7.'))
  await using store = place.open()
  expect((await store.rows.all('job')).map(({ key }) => key)).toEqual(
    Array.from({ length: 20 }, (_, n) => `key ${n}`).filter((key) => key !== 'key 7'),
  )
  expect(place.troubles()).toEqual(['STORE_DAMAGED /errand.db: row job key 7 is damaged'])
  await store.rows.put('job', 'key 7', 'again')
  expect((await store.rows.all('job'))[7]).toEqual({ key: 'key 7', value: 'again' })
})

const PAGE = 8192

function fill(page: number): void {
  const fd = openSync(place.path, 'r+')
  writeSync(fd, new Uint8Array(PAGE).fill(0xa5), 0, PAGE, (page - 1) * PAGE)
  closeSync(fd)
}

const numbers = (from: number, end: number): number[] => Array.from({ length: end - from }, (_, n) => from + n)

test('a damaged page of an index is made again of what it was of', async () => {
  await filled()
  const roots = edit(place.path, (db) =>
    ['piece_at', 'kept_at'].map(
      (name) =>
        (db.prepare('SELECT rootpage AS page FROM sqlite_schema WHERE name = ?').get(name) as { page: number }).page,
    ),
  )
  for (const page of roots) fill(page)
  {
    await using store = place.open()
    expect(await left(store)).toEqual({ job: numbers(0, 20), other: 20, rows: 20 })
    await store.rows.put('job', 'key 20', 1)
    await (await store.log('job')).append(chunkOf(20))
  }
  expect(place.troubles()).toEqual(['STORE_DAMAGED /errand.db is damaged: its indexes are made again'])
  expect(edit(place.path, (db) => db.prepare('PRAGMA integrity_check').all())).not.toContainEqual(
    expect.objectContaining({ integrity_check: expect.stringMatching(/index|malformed/) as string }),
  )
  await using store = place.open()
  expect(await left(store)).toEqual({ job: numbers(0, 21), other: 20, rows: 21 })
})

test('a damaged page takes the chunks that were in it, also the newest: the others are there, and all goes on', async () => {
  {
    await using store = place.open()
    for (const name of ['job', 'other']) {
      const log = await store.log(name)
      for (let first = 0; first < 100; first++) await log.append(chunkOf(first, 1, 500))
    }
    for (let key = 0; key < 100; key++) await store.rows.put('job', `key ${key}`, 'x'.repeat(500))
  }
  const leaves = edit(place.path, (db) =>
    ['piece', 'kept'].flatMap((name) => {
      const sql = "SELECT pageno AS page FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path"
      const pages = (db.prepare(sql).all(name) as { page: number }[]).map(({ page }) => page)
      expect(pages.length).toBeGreaterThan(4)
      return [pages[1]!, pages.at(-1)!]
    }),
  )
  for (const page of leaves) fill(page)
  {
    await using store = place.open()
    const found = await left(store)
    for (const count of [found.job.length, found.other, found.rows]) {
      expect(count).toBeGreaterThan(60)
      expect(count).toBeLessThan(100)
    }
    for (const name of ['job', 'other', 'new']) {
      const log = await store.log(name)
      expect(log.end).toBe(name === 'new' ? 0 : 100)
      await log.append(chunkOf(log.end))
    }
    await store.rows.put('job', 'key 100', 'again')
  }
  expect(place.troubles().every((one) => one.startsWith('STORE_DAMAGED'))).toBe(true)
  await using store = place.open()
  expect((await firsts(await store.log('job'))).at(-1)).toBe(100)
  expect(await firsts(await store.log('new'))).toEqual([0])
  expect((await store.rows.all('job')).map(({ key }) => key)).toContain('key 100')
})

test('a file that was cut off gives what is left of it', async () => {
  {
    await using store = place.open()
    await store.rows.put('job', 'a', 1)
    const log = await store.log('job')
    for (let first = 0; first < 40; first++) await log.append(chunkOf(first, 1, 20_000))
  }
  truncateSync(place.path, Math.trunc(statSync(place.path).size / 2 / 8192) * 8192)
  await using store = place.open()
  expect(await store.rows.all('job')).toEqual([{ key: 'a', value: 1 }])
  const log = await store.log('job')
  const found = await firsts(log)
  expect(found.length).toBeGreaterThan(10)
  expect(found).toEqual(Array.from({ length: found.length }, (_, n) => n))
  expect(log.end).toBe(40)
  expect(place.troubles()[0]).toBe('STORE_DAMAGED /errand.db was cut off: its end is missing')
})

test('a write-ahead log that is damaged in its middle is noticed: what came behind is missing, and no number is given twice', async () => {
  const damaged = `${place.path}-damaged`
  {
    await using store = place.open()
    const log = await store.log('job')
    for (let first = 0; first < 10; first++) await log.append(said(first))
    copyTo(damaged)
  }
  const wal = `${damaged}-wal`
  const fd = openSync(wal, 'r+')
  // Behind the header and three quarters of its frames: there are many.
  const frame = 24 + 8192
  const frames = Math.trunc((fstatSync(fd).size - 32) / frame)
  expect(frames).toBeGreaterThan(20)
  writeSync(fd, Uint8Array.of(0xff, 0xff, 0xff), 0, 3, 32 + Math.trunc((frames * 3) / 4) * frame + 24 + 8000)
  closeSync(fd)
  const troubles: string[] = []
  await using store = sqlite(damaged, { onTrouble: ({ code }) => troubles.push(code) })
  const log = await store.log('job')
  expect(troubles).toEqual(['STORE_DAMAGED'])
  expect(log.end).toBeGreaterThanOrEqual(10)
  const found = await records(log)
  expect(found.length).toBeLessThan(11)
  const gap = found.at(-1) as { seq: number; dropped: number }
  expect(gap.seq).toBe(log.end - 1)
  expect(found.slice(0, -1)).toEqual(Array.from({ length: log.end - gap.dropped }, (_, n) => n))
})

// ── no room ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const BIG = 100_000

test('without room what has happened waits, what is asked for is refused, reads go on; with room all of it goes on', async () => {
  {
    await using store = place.open({ maxBytes: 2_000_000 })
    const log = await store.log('large')
    const small = await store.log('small')
    await small.append(chunkOf(0))
    await store.rows.put('job', 'before', 1)
    const waiting: Promise<unknown>[] = []
    let accepted = 0
    for (let first = 0; first < 40; first++) {
      waiting.push(Promise.resolve(log.append(chunkOf(first, 1, BIG))).then(() => accepted++))
      await turn()
    }
    await expect(store.rows.put('job', 'refused', big())).rejects.toMatchObject({ code: 'STORE_FULL' })
    const patient = store.rows.put('job', 'patient', 2, { patient: true })
    await expect(store.rows.put('job', 'refused', 3)).rejects.toMatchObject({ code: 'STORE_FULL' })
    expect(accepted).toBeLessThan(40)
    expect(place.troubles()).toHaveLength(1)
    // Reads, also of what is on disk alone.
    expect(await small.read(0, 1)).toEqual([chunkOf(0)])
    expect((await store.rows.all('job')).map(({ key }) => key)).toEqual(['before'])
    expect((await readAll(log)).map(({ first }) => first)).toEqual(Array.from({ length: log.accepted }, (_, n) => n))
    expect(await store.log('new')).toMatchObject({ end: 0 })
    // Room comes from what is forgotten, until all that waited has found a place.
    while (accepted < 40) {
      await log.forget(log.accepted)
      await turn()
    }
    await Promise.all([...waiting, patient])
    await store.rows.put('job', 'after', 4)
  }
  await using store = place.open()
  expect((await store.rows.all('job')).map(({ key }) => key)).toEqual(['before', 'patient', 'after'])
  expect((await store.log('large')).end).toBe(40)
})

test('however long there is no room, where readers have moved does not pile up, and what was refused is done with', async () => {
  const posts = vi.spyOn(Worker.prototype, 'postMessage')
  onTestFinished(() => posts.mockRestore())
  await using store = place.open({ maxBytes: 1_000_000 })
  const log = await store.log('job')
  for (let first = 0; first < 5; first++) await log.append(chunkOf(first))
  for (let first = 5; place.troubles().length === 0; first++) {
    Promise.resolve(log.append(chunkOf(first, 1, BIG))).catch(() => undefined) // closed while it waits
    await turn()
  }
  const before = posts.mock.calls.length
  for (let seq = 1; seq <= 5; seq++) {
    void log.setCursor('owner', seq)
    await new Promise((resolve) => setTimeout(resolve, 60)) // cursors are written 50 ms later
  }
  expect(posts.mock.calls.length - before).toBe(1)
  // What was refused is done with, in its turn: behind it all goes on.
  for (let n = 0; n < 5; n++) await expect(store.rows.put('job', 'refused', n)).rejects.toThrow('no room')
  store.dropLog('job')
  await store.rows.delete('job', 'never there')
  await store.rows.put('job', 'a', 1)
  expect(await store.rows.all('job')).toEqual([{ key: 'a', value: 1 }])
})

test('told to fail where there is no room, a log ends where it is accepted, and goes on from there', async () => {
  await using store = place.open({ maxBytes: 1_000_000, whenFull: 'fail' })
  const log = await store.log('job')
  const other = await store.log('other')
  const appended: Promise<void>[] = []
  for (let first = 0; first < 20 && log.end === first; first++) {
    const one = Promise.resolve(log.append(chunkOf(first, 1, BIG)))
    one.catch(() => undefined) // looked at below
    appended.push(one)
    await turn()
  }
  const settled = await Promise.allSettled(appended)
  const done = settled.filter(({ status }) => status === 'fulfilled').length
  expect(done).toBeGreaterThan(0)
  expect(done).toBeLessThan(settled.length)
  expect(settled.slice(0, done).every(({ status }) => status === 'fulfilled')).toBe(true)
  expect(settled.at(-1)).toMatchObject({ reason: { code: 'STORE_FULL' } })
  expect([log.end, log.accepted]).toEqual([done, done])
  expect(await readAll(log)).toHaveLength(done)
  store.dropLog('job')
  // By itself, as soon as there is room: a later one is taken.
  for (;;) {
    try {
      await other.append(chunkOf(0))
      break
    } catch (error) {
      expect(error).toMatchObject({ code: 'STORE_FULL' })
    }
  }
  expect(other.end).toBe(1)
})

test('closed while nothing can be written, it lets go of who waits, and what was accepted is there', async () => {
  let end: number
  {
    await using store = place.open({ maxBytes: 1_000_000 })
    const log = await store.log('job')
    const waiting: Promise<void>[] = []
    for (let first = 0; first < 20; first++) {
      waiting.push(Promise.resolve(log.append(chunkOf(first, 1, BIG))))
      await turn()
    }
    const settled = Promise.allSettled(waiting)
    await expect(store.rows.put('job', 'a', big())).rejects.toMatchObject({ code: 'STORE_FULL' })
    await store[Symbol.asyncDispose]()
    expect((await settled).at(-1)).toMatchObject({ reason: { code: 'STORE_CLOSED' } })
    end = log.accepted
    expect(end).toBeGreaterThan(0)
  }
  await using store = place.open()
  expect(await readAll(await store.log('job'))).toHaveLength(end)
})

/** A batch is a turn's: what is written in several finds room one by one. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function big(): Uint8Array {
  return new Uint8Array(BIG)
}

/** A file system of 8 MiB for `act`; undefined where this user may not mount one. */
async function onSmallDisk(act: (disk: string) => Promise<void>): Promise<void> {
  const disk = `${place.path}-disk`
  mkdirSync(disk)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk])
  try {
    await act(disk)
  } finally {
    execFileSync('umount', [disk])
  }
}

const mayMount =
  process.platform === 'linux' && spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0

test.skipIf(!mayMount)('a disk that is full is waited for, and goes on when somebody makes room (needs to mount)', () =>
  onSmallDisk(async (disk) => {
    writeFileSync(join(disk, 'ballast'), new Uint8Array(7_000_000))
    await using store = sqlite(join(disk, 'errand.db'), { onTrouble: () => undefined })
    const log = await store.log('job')
    const waiting: unknown[] = []
    for (let first = 0; first < 20; first++) {
      waiting.push(log.append(chunkOf(first, 1, BIG)))
      await turn()
    }
    await expect(store.rows.put('job', 'a', big())).rejects.toMatchObject({ code: 'STORE_FULL' })
    expect(log.accepted).toBeLessThan(20)
    expect(await readAll(log)).toHaveLength(log.accepted)
    rmSync(join(disk, 'ballast'))
    await Promise.all(waiting)
    await store.rows.put('job', 'a', 1)
    expect(await readAll(log)).toHaveLength(20)
  }),
)

test.skipIf(!mayMount)('a disk that the store has filled has room again when a log is dropped (needs to mount)', () =>
  onSmallDisk(async (disk) => {
    await using store = sqlite(join(disk, 'errand.db'), { onTrouble: () => undefined })
    const large = await store.log('large')
    const other = await store.log('other')
    let failed = false
    const settle = (): void => void (failed = true)
    const waiting: unknown[] = []
    for (let first = 0; !failed; first++) {
      waiting.push(Promise.resolve(large.append(chunkOf(first, 1, BIG))))
      if (first % 10 === 9) await store.rows.put('job', 'a', first).catch(settle)
    }
    const after = other.append(chunkOf(0))
    store.dropLog('large')
    await after
    await store.rows.put('job', 'b', 1)
    await Promise.all(waiting)
    expect(await readAll(other)).toEqual([chunkOf(0)])
  }),
)

test.skipIf(!mayMount)(
  'on a file system that is read-only a store does not open, and says why; then it does (needs to mount)',
  () =>
    onSmallDisk(async (disk) => {
      const path = join(disk, 'errand.db')
      {
        await using store = sqlite(path)
        await store.rows.put('job', 'a', 1)
      }
      const remount = (how: string): void => void execFileSync('mount', ['-o', `remount,${how}`, disk])
      remount('ro')
      {
        await using store = sqlite(path)
        const refused = { code: 'STORE_READ_ONLY' }
        await expect(store.rows.put('job', 'a', 2)).rejects.toMatchObject(refused)
        await expect(store.log('job')).rejects.toMatchObject(refused)
        await using none = sqlite(join(disk, 'another.db'))
        await expect(none.rows.all('job')).rejects.toMatchObject(refused)
      }
      remount('rw')
      await using store = sqlite(path)
      expect(await store.rows.all('job')).toEqual([{ key: 'a', value: 1 }])
    }),
)

// ── the worker ─────────────────────────────────────────────────────────────────────────────────────────────────────────

test('when its worker dies every call that waits fails, and every later one', async () => {
  const store = place.open()
  const log = await store.log('job')
  await log.append(chunkOf(0))
  const calls = [
    store.rows.put('job', 'a', 1),
    Promise.resolve(log.append(chunkOf(1))),
    store.rows.all('job'),
    Promise.resolve(store.log('other')),
  ]
  await store.terminate()
  // Where the worker was quicker than its end, what was answered is so.
  const [put, appended] = (await Promise.allSettled(calls)).map((call) => {
    if (call.status === 'rejected') expect(call.reason).toMatchObject({ code: 'STORE_FAILED' })
    return call.status === 'fulfilled'
  })
  await expect(store.rows.put('job', 'a', 1)).rejects.toMatchObject({ code: 'STORE_FAILED' })
  const next = chunkOf(appended ? 2 : 1)
  await expect((async () => log.append(next))()).rejects.toMatchObject({ code: 'STORE_FAILED' })
  await expect((async () => log.read(0, 1))()).resolves.toEqual([chunkOf(0)])
  await store[Symbol.asyncDispose]()
  await using again = place.open()
  // What nobody was told of may be there; what somebody was told of is.
  const { end } = await again.log('job')
  expect(await readAll(await again.log('job'))).toEqual([chunkOf(0), chunkOf(1)].slice(0, end))
  expect(end).toBeGreaterThan(appended ? 1 : 0)
  if (put) expect(await again.rows.all('job')).toEqual([{ key: 'a', value: 1 }])
})
