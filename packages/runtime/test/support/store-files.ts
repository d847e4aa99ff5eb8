// For tests of the store on disk: a folder of one test's own, chunks that say who they are, and hands in its file.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect } from 'vitest'
import type { StoreError } from '../../src/errors.ts'
import type { Chunk } from '../../src/record.ts'
import { sqlite, type SqliteOptions, type SqliteStore } from '../../src/store/sqlite.ts'
import type { StoredLog } from '../../src/store/store.ts'

export interface StoreFolder {
  readonly path: string
  /** What the stores opened here had to say since it was asked last. */
  troubles(): string[]
  open(options?: SqliteOptions): SqliteStore
}

/** One for each test of the file that calls this. */
export function storeFolder(): StoreFolder {
  let folder = ''
  let heard: StoreError[] = []
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'errand-store-'))
    heard = []
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))
  const place = {
    get path() {
      return join(folder, 'errand.db')
    },
    troubles() {
      const said = heard.map(({ code, message }) => `${code} ${message.replaceAll(folder, '')}`)
      heard = []
      return said
    },
    open: (options: SqliteOptions = {}) =>
      sqlite(join(folder, 'errand.db'), { onTrouble: (error) => heard.push(error), ...options }),
  }
  return place
}

/** All that can be read from `from` on, a little at a time. */
export async function readAll(log: StoredLog, from = 0, step = 3000): Promise<Chunk[]> {
  const all: Chunk[] = []
  for (let next = from; ;) {
    const some = await log.read(next, step)
    if (some.length === 0) return all
    for (const { first, count, errors, bytes } of some) {
      expect(first + count).toBeGreaterThan(next)
      all.push({ first, count, errors, bytes: bytes.slice() })
      next = first + count
    }
  }
}

/** In the file of a store that is not open. */
export function edit<T>(path: string, act: (db: DatabaseSync) => T): T {
  using db = new DatabaseSync(path)
  return act(db)
}
