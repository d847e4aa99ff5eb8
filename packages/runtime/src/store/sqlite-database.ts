// The database in the file of a store: opened, brought up, told apart from others, and mended where it can be. What lies in it
// is its store's business (sqlite-file.ts).
import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readFileSync, readSync } from 'node:fs'
import { uptime } from 'node:os'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { StoreFault, failureOf, isDamage } from './sqlite-failure.ts'
import type { Failure, StoreSettings } from './sqlite-message.ts'
import { APPLICATION_ID, INDEXES, MIGRATIONS, VERSION } from './sqlite-schema.ts'
import { losesFrames } from './sqlite-wal.ts'

/** Chunks are written in pages of this size, in bytes: smaller ones cost large chunks time, larger ones single records. */
export const PAGE = 8192
/** What of the file is kept in memory, in KiB. */
const CACHE_KIB = 8192

export class StoreDatabase {
  readonly #path: string
  readonly #trouble: (failure: Failure) => void
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  #repaired = false
  /** Which opening of the file this is: one more each time. */
  run = 0
  /** Its write-ahead log, to be synced. */
  readonly wal: number

  /** @throws StoreFault */
  constructor(settings: StoreSettings, trouble: (failure: Failure) => void) {
    this.#path = settings.path
    this.#trouble = trouble
    const made = this.#create()
    this.#db = this.#open(made)
    try {
      this.wal = this.#begin(made, settings)
    } catch (error) {
      this.#db.close()
      throw new StoreFault(failureOf(error, this.#path))
    }
  }

  /** Records are nobody else's business: a new file is its user's alone. Whether it is new, or empty. */
  #create(): boolean {
    try {
      // An open store must not be opened and closed by other means: that would take away SQLite's lock on it.
      if (existsSync(this.#path)) return false
      closeSync(openSync(this.#path, 'ax', 0o600))
      return true
    } catch (error) {
      throw new StoreFault(failureOf(error, this.#path))
    }
  }

  #open(made: boolean): DatabaseSync {
    for (let again = false; ; again = true) {
      let db: DatabaseSync | undefined
      try {
        db = new DatabaseSync(this.#path)
        db.exec('PRAGMA locking_mode = EXCLUSIVE')
        this.#refuseForeign(db, made)
        return db
      } catch (error) {
        db?.close()
        if (!again && isDamage(error) && this.#lengthened()) continue
        throw new StoreFault(failureOf(error, this.#path))
      }
    }
  }

  /** Before anything is written. */
  #refuseForeign(db: DatabaseSync, made: boolean): void {
    const { application_id: application } = db.prepare('PRAGMA application_id').get() as { application_id: number }
    const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
    const { tables } = db.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() as { tables: number }
    if (!made && application !== APPLICATION_ID && (tables > 0 || application !== 0))
      throw new StoreFault({
        code: 'STORE_DAMAGED',
        message: `${this.#path} is another program's database`,
        hint: 'it was left as it is: name another file',
      })
    if (version > VERSION)
      throw new StoreFault({
        code: 'STORE_VERSION',
        message: `${this.#path} is of version ${version}; this one knows version ${VERSION}`,
        hint: 'it was left as it is: use the newer errand, or name another file',
      })
  }

  /** SQLite refuses a file that was cut off; with empty pages in place of those that are gone it gives the others. */
  #lengthened(): boolean {
    const fd = openSync(this.#path, 'r+')
    try {
      const header = Buffer.alloc(100)
      readSync(fd, header, 0, 100, 0)
      const page = header.readUInt16BE(16) === 1 ? 65_536 : header.readUInt16BE(16)
      const size = page * header.readUInt32BE(28)
      if (!header.toString('latin1').startsWith('SQLite format 3\0') || fstatSync(fd).size >= size) return false
      this.#trouble({ code: 'STORE_DAMAGED', message: `${this.#path} was cut off: its end is missing` })
      ftruncateSync(fd, size)
      return true
    } finally {
      closeSync(fd)
    }
  }

  #begin(made: boolean, { maxBytes }: StoreSettings): number {
    const db = this.#db
    const { tables } = db.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() as { tables: number }
    if (made || tables === 0) db.exec(`PRAGMA page_size = ${PAGE}; PRAGMA auto_vacuum = INCREMENTAL`)
    // What a killed process left in the write-ahead log becomes durable here, before anybody sees it.
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -${CACHE_KIB}`)
    const { log: frames } = db.prepare('PRAGMA wal_checkpoint(PASSIVE)').get() as { log: number }
    const wal = openSync(`${this.#path}-wal`, 'r+')
    try {
      const cut = losesFrames(wal, Math.max(0, frames))
      if (cut)
        this.#trouble({
          code: 'STORE_DAMAGED',
          message: `${this.#path}-wal is damaged: what was written last is gone`,
        })
      const { page_size: page } = db.prepare('PRAGMA page_size').get() as { page_size: number }
      if (maxBytes !== undefined) db.exec(`PRAGMA max_page_count = ${Math.max(16, Math.trunc(maxBytes / page))}`)
      db.exec('PRAGMA wal_autocheckpoint = 0; BEGIN IMMEDIATE')
      this.#migrate()
      this.#count(cut)
      db.exec('COMMIT; PRAGMA synchronous = NORMAL')
      return wal
    } catch (error) {
      closeSync(wal)
      throw error
    }
  }

  #migrate(): void {
    const { user_version: version } = this.#db.prepare('PRAGMA user_version').get() as { user_version: number }
    for (const step of MIGRATIONS.slice(version)) this.#db.exec(step)
    this.#db.exec(`PRAGMA user_version = ${VERSION}; PRAGMA application_id = ${APPLICATION_ID}`)
  }

  /** One opening more. When the last one ended with its host, what it wrote last may not have been on disk. */
  #count(cut: boolean): void {
    const last = Number(this.#meta('run') ?? 0)
    const boot = bootId()
    this.run = last + 1
    if (cut || (this.#meta('closed') === 0 && this.#meta('boot') !== boot))
      this.do('INSERT OR IGNORE INTO lost_run (run) VALUES (?)', last)
    for (const [name, value] of Object.entries({ run: this.run, boot, closed: 0 }))
      this.do('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)', name, value)
  }

  #meta(name: string): string | number | undefined {
    return this.get<{ value: string | number }>('SELECT value FROM meta WHERE name = ?', name)?.value
  }

  /** `last`: what is still to be written. What could be is on disk then. */
  close(last: () => void): void {
    try {
      last()
      this.#db.exec('PRAGMA synchronous = FULL')
      this.do("UPDATE meta SET value = 1 WHERE name = 'closed'")
    } catch (error) {
      // No room: the next opening takes it for one that was killed, and finds everything.
      this.#trouble(failureOf(error, this.#path))
    } finally {
      closeSync(this.wal)
      this.#db.close()
    }
  }

  /** What an index cannot tell is asked again when it has been made anew: once, for a damaged one. */
  repairing<T>(act: () => T): T {
    try {
      return act()
    } catch (error) {
      if (!isDamage(error) || !this.repair()) throw error
      return act()
    }
  }

  /** Makes the indexes again of the rows they are of. Returns whether that was tried. */
  repair(): boolean {
    if (this.#repaired) return false
    this.#repaired = true
    this.#trouble({ code: 'STORE_DAMAGED', message: `${this.#path} is damaged: its indexes are made again` })
    this.#db.enableDefensive(false)
    for (const [name, sql] of Object.entries(INDEXES)) {
      try {
        // The new one first: where the table itself is damaged there will be none, and the old one may be whole. Dropping
        // that would read it; its pages are lost, and nothing else.
        this.#db.exec(`PRAGMA writable_schema = ON; BEGIN IMMEDIATE; ${sql.replace(name, 'remade')};
          DELETE FROM sqlite_schema WHERE name = '${name}';
          UPDATE sqlite_schema SET name = '${name}', sql = '${sql}' WHERE name = 'remade'; COMMIT`)
      } catch (error) {
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
        this.#trouble(failureOf(error, this.#path))
      }
      // Read again, by its new name.
      this.#db.exec('PRAGMA writable_schema = RESET')
    }
    this.#db.enableDefensive(true)
    this.#statements.clear()
    return true
  }

  exec(sql: string): void {
    this.#db.exec(sql)
  }
  get isTransaction(): boolean {
    return this.#db.isTransaction
  }

  // ── statements ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (!statement) this.#statements.set(sql, (statement = this.#db.prepare(sql)))
    return statement
  }
  do(sql: string, ...values: (string | number | null | Uint8Array)[]): { changes: number | bigint } {
    return this.#statement(sql).run(...values)
  }
  get<T>(sql: string, ...values: (string | number)[]): T | undefined {
    return this.#statement(sql).get(...values) as T | undefined
  }
  all<T>(sql: string, ...values: (string | number)[]): T[] {
    return this.#statement(sql).all(...values) as T[]
  }
}

/** Another one after every start of the host; where the system has none, when it started, to a minute. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return `at ${Math.round((Date.now() / 1000 - uptime()) / 60)}`
  }
}
