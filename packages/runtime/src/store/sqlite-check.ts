// Whether the file of a store is sound, looked at without changing it.
import { existsSync, rmSync, statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { StoreError } from '../errors.ts'
import { failureOf } from './sqlite-failure.ts'
import type { Failure } from './sqlite-message.ts'
import { APPLICATION_ID, VERSION } from './sqlite-schema.ts'

/** Larger files are not read to their end: that would take longer than who asks waits. */
const WHOLE = 256 * 1024 * 1024

/**
 * What is wrong with the file of a store that nobody has open; undefined: nothing, or there is none yet. Blocks while it
 * reads, up to 256 MiB of it.
 */
export function checkStore(path: string): StoreError | undefined {
  if (!existsSync(path)) return undefined
  const failure = failureIn(path)
  return failure && new StoreError(failure.code as `STORE_${string}`, failure.message, { hint: failure.hint })
}

function failureIn(path: string): Failure | undefined {
  const memory = `${path}-shm`
  const before = existsSync(memory)
  try {
    return lookedInto(path)
  } catch (error) {
    return failureOf(error, path)
  } finally {
    // SQLite needs it to read what a killed peer left in its write-ahead log, and leaves it. Our stores use none.
    if (!before) rmSync(memory, { force: true })
  }
}

/** @throws whatever SQLite says */
function lookedInto(path: string): Failure | undefined {
  using db = open(path)
  const { application_id: application } = db.prepare('PRAGMA application_id').get() as { application_id: number }
  const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
  const { tables } = db.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() as { tables: number }
  if (application !== APPLICATION_ID && (tables > 0 || application !== 0))
    return { code: 'STORE_DAMAGED', message: `${path} is another program's database`, hint: 'name another file' }
  if (version > VERSION)
    return {
      code: 'STORE_VERSION',
      message: `${path} is of version ${version}; this one knows version ${VERSION}`,
      hint: 'use the newer errand, or name another file',
    }
  if (statSync(path).size > WHOLE) return undefined
  const found = Object.values(db.prepare('PRAGMA quick_check(1)').get() ?? {})[0]
  if (found === 'ok') return undefined
  const hint = 'what is sound in it can be read; to begin anew, move it away while no peer is up'
  return { code: 'STORE_DAMAGED', message: `${path} is damaged (${String(found)})`, hint }
}

/** Where nothing is left in a write-ahead log SQLite need make no files beside it, and take no lock. */
function open(path: string): DatabaseSync {
  if (existsSync(`${path}-wal`)) return new DatabaseSync(path, { readOnly: true })
  const url = pathToFileURL(path)
  url.searchParams.set('immutable', '1')
  return new DatabaseSync(url, { readOnly: true })
}
