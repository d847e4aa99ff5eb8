// What a killed process leaves at the end of the write-ahead log is no damage; what was written behind damage is.
import { closeSync, copyFileSync, fstatSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { losesFrames } from '../src/store/sqlite-wal.ts'
import { storeFolder } from './support/store-files.ts'

const place = storeFolder()
const FRAME = 24 + 4096

/** A database whose last transaction wrote several frames, changed by `act`; what is found when it is opened. */
function opened(act: (wal: number, frames: number) => void): { lost: boolean; rows: number } {
  const copy = `${place.path}-copy`
  for (const end of ['', '-wal', '-shm']) rmSync(place.path + end, { force: true })
  using db = new DatabaseSync(place.path)
  db.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a BLOB); CREATE INDEX i ON t (a)')
  db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  for (let n = 0; n < 5; n++) db.exec(`INSERT INTO t VALUES (zeroblob(${9000 + n}))`)
  for (const end of ['', '-wal']) copyFileSync(place.path + end, copy + end)
  const wal = openSync(`${copy}-wal`, 'r+')
  try {
    act(wal, (fstatSync(wal).size - 32) / FRAME)
    using again = new DatabaseSync(copy)
    const { log } = again.prepare('PRAGMA wal_checkpoint(PASSIVE)').get() as { log: number }
    const { rows } = again.prepare('SELECT count(*) AS rows FROM t').get() as { rows: number }
    return { lost: losesFrames(wal, log), rows }
  } finally {
    closeSync(wal)
  }
}

const spoil = (wal: number, frame: number): void =>
  void writeSync(wal, Uint8Array.of(0xa5, 0xa5), 0, 2, 32 + frame * FRAME + 24 + 100)

test('as it was written, nothing is lost', () => {
  expect(opened(() => undefined)).toEqual({ lost: false, rows: 5 })
})

test('a last transaction that is torn at any place was told to nobody', () => {
  for (let torn = 1; torn <= 6; torn++) {
    const found = opened((wal, frames) => {
      // Its header was written, its page was not.
      const last = Buffer.alloc(24)
      readSync(wal, last, 0, 24, 32 + (frames - 1) * FRAME)
      if (torn === 1) spoil(wal, frames - 1)
      else ftruncateSync(wal, 32 + (frames - 1) * FRAME - (torn - 2) * 1000)
    })
    expect(found).toEqual({ lost: false, rows: 4 })
  }
})

test('damage further in front, or in its header, loses what was written behind it', () => {
  const middle = opened((wal, frames) => spoil(wal, Math.trunc(frames / 2)))
  expect(middle.lost).toBe(true)
  expect(middle.rows).toBeLessThan(5)
  const header = opened((wal) => void writeSync(wal, Uint8Array.of(0xff), 0, 1, 17))
  expect(header.lost).toBe(true)
})
