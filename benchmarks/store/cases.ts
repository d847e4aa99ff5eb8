// What keeping things on disk costs: starts that are on disk before they are accepted, records that outlive this process, and a
// large log read from its middle; beside bare node:sqlite doing as much for itself.

import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { encode } from '@errand/transport'
import { createPeer, type Job, type Peer, type ScriptContext } from '@errand/runtime'
import { sqlite } from '@errand/runtime/sqlite'
import { type Row, type Skipped, inTurns, median, progress, row, timed } from '../transport/row.ts'

const suite = 'remote'

const TURNS = 5
const TURN_MS = 1000
/** Calls under way at once. */
const FLYING = 64
const RECORD = 200
const BATCH = 256
/** Chunks that a job may have under way: its credit. */
const CHUNKS_AHEAD = 5
const LOG_BYTES = 2 * 1024 ** 3
const CHUNK = 64 * 1024
const SEEKS = 9

type Measurement = (folder: string) => Promise<Row[]>

/** What is started; it waits, so that nothing of it is run while starts are counted. */
const work = async (ctx: ScriptContext, n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await ctx.sleep(1)
}

/** Whole calls, until they are accepted. Then what was started goes: tens of thousands that wait are not what is measured. */
async function starts(peer: Peer): Promise<number> {
  const jobs: Job[] = []
  const rate = await settledPerSecond(async () => jobs.push(await peer.start(work, { args: [3], delay: '1h' })))
  await Promise.all(jobs.map((job) => job.remove({ force: true })))
  return rate
}

async function durableStart(folder: string): Promise<Row[]> {
  const store = sqlite(join(folder, 'errand.db'))
  await using peer = await createPeer({ name: 'here', store })
  using bare = new DatabaseSync(join(folder, 'bare.db'))
  bare.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE job (key TEXT PRIMARY KEY, value BLOB)')
  const insert = bare.prepare('INSERT INTO job VALUES (?, ?)')
  let key = 0
  const first = await peer.start(work, { args: [3], delay: '1h' })
  // As much as we write down of a job.
  const [written] = await store.rows.all('job')
  await first.remove({ force: true })
  let waiting: { key: string; bytes: Uint8Array; done(): void }[] = []
  /** Whoever waits is in the next commit, as in a program that does this for itself. */
  const commit = (): void => {
    const now = waiting
    waiting = []
    bare.exec('BEGIN')
    for (const one of now) insert.run(one.key, one.bytes)
    bare.exec('COMMIT')
    for (const one of now) one.done()
  }
  const rates = await inTurns(TURNS, {
    ours: () => starts(peer),
    bare: () =>
      settledPerSecond(() => {
        const { promise, resolve } = Promise.withResolvers<void>()
        if (waiting.push({ key: `${key++}`, bytes: encode(written!.value), done: resolve }) === 1) setImmediate(commit)
        return promise
      }),
  })
  const peerName = 'node:sqlite, rows of the same size, group commits with synchronous=FULL on the calling thread'
  return [row({ suite, case: 'durable-start-c64', unit: 'starts/s', ours: rates.ours, peer: rates.bare, peerName })]
}

/** As many as settle in a turn, a second. */
async function settledPerSecond(call: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  let count = 0
  const one = async (): Promise<void> => {
    while (performance.now() - begun < TURN_MS) {
      await call()
      count++
    }
  }
  await Promise.all(Array.from({ length: FLYING }, one))
  return (count / (performance.now() - begun)) * 1000
}

async function durableRecords(folder: string): Promise<Row[]> {
  await using store = sqlite(join(folder, 'errand.db'))
  using bare = new DatabaseSync(join(folder, 'bare.db'))
  bare.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE record (seq INTEGER PRIMARY KEY, value BLOB)',
  )
  const insert = bare.prepare('INSERT INTO record (value) VALUES (?)')
  const record = new Uint8Array(RECORD).fill(7)
  const bytes = new Uint8Array(RECORD * BATCH).fill(7)
  const log = await store.log('job')
  let chunks = 0
  const rates = await inTurns(TURNS, {
    ours: async () => {
      const begun = performance.now()
      const end = log.end
      const ahead: unknown[] = []
      while (performance.now() - begun < TURN_MS) {
        ahead.push(log.append({ first: log.end, count: BATCH, errors: 0, bytes }))
        if (++chunks % 2 === 0) await new Promise((resolve) => setImmediate(resolve))
        if (ahead.length >= CHUNKS_AHEAD) await ahead.shift()
      }
      await Promise.all(ahead)
      const rate = ((log.accepted - end) / (performance.now() - begun)) * 1000
      // As when it was read: nothing is left for the next turn.
      await log.forget(log.end)
      return rate
    },
    bare: () => {
      const begun = performance.now()
      let count = 0
      while (performance.now() - begun < TURN_MS) {
        bare.exec('BEGIN')
        for (let index = 0; index < BATCH; index++) insert.run(record)
        bare.exec('COMMIT')
        count += BATCH
      }
      const rate = (count / (performance.now() - begun)) * 1000
      bare.exec('DELETE FROM record')
      return rate
    },
  })
  const peerName = `node:sqlite, rows of ${RECORD} B in batches of ${BATCH}, synchronous=NORMAL`
  return [row({ suite, case: 'durable-records', unit: 'records/s', ours: rates.ours, peer: rates.bare, peerName })]
}

async function logSeek(folder: string): Promise<Row[]> {
  const path = join(folder, 'errand.db')
  const bytes = new Uint8Array(CHUNK).fill(7)
  const chunks = LOG_BYTES / CHUNK
  {
    await using store = sqlite(path, { logLimit: 2 * LOG_BYTES })
    const log = await store.log('job')
    for (let index = 0; index < chunks;) {
      const some: unknown[] = []
      for (let ahead = 0; ahead < 16; ahead++, index++)
        some.push(log.append({ first: 10 * index, count: 10, errors: 0, bytes }))
      await Promise.all(some)
      if (index % 1024 === 0) progress(`log-seek: ${index >> 4} MiB`)
    }
  }
  const ours: number[] = []
  const middle = (chunks / 2) * 10
  for (let seek = 0; seek < SEEKS; seek++) {
    // Opened anew each time, as by a peer that has just started; that the file opens counts for itself.
    await using store = sqlite(path)
    await store.rows.all('peer')
    const from = middle + 1001 * seek
    const time = await timed(async () => {
      const log = await store.log('job')
      const [first] = await log.read(from, 1)
      if (!first || first.first > from || first.first + first.count <= from || first.bytes.byteLength !== CHUNK)
        throw new Error(`log-seek: asked for ${from}, got ${first?.first}`)
    })
    ours.push(time / 1000)
  }
  // When the store has closed it: whoever closes a file takes away the locks that his process has on it.
  const file = openSync(path, 'r')
  const peer: number[] = []
  for (let seek = 0; seek < SEEKS; seek++)
    peer.push((await timed(async () => readSync(file, bytes, 0, CHUNK, LOG_BYTES / 2 + 100 * CHUNK * seek))) / 1000)
  closeSync(file)
  const peerName = 'pread of as much from the middle of the same file'
  return [row({ suite, case: 'log-seek', unit: 'ms', ours: median(ours), peer: median(peer), peerName })]
}

const measurements: Readonly<Record<string, Measurement>> = {
  'durable-start-c64': durableStart,
  'durable-records': durableRecords,
  'log-seek': logSeek,
}

export const cases: readonly string[] = Object.keys(measurements)

/** The rows of these cases. */
export async function* store(asked: ReadonlySet<string>): AsyncGenerator<Row | Skipped> {
  for (const [name, measure] of Object.entries(measurements)) {
    if (!asked.has(name)) continue
    const folder = mkdtempSync(join(tmpdir(), 'errand-bench-'))
    try {
      yield* await measure(folder)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
