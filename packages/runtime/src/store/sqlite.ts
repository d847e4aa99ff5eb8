// A store on disk: one file, in node:sqlite, in a worker of its own. This thread never touches the disk; it sends what was
// written in a turn in one message, and is told what is accepted and what is on disk.
import { resolve as resolvePath } from 'node:path'
import { Worker } from 'node:worker_threads'
import { decode, encode } from '@errand/transport'
import { isolateEntry, isolateFlags } from '../engine/isolate-entry.ts'
import { StoreError, UsageError } from '../errors.ts'
import { RecentChunks } from './recent-chunks.ts'
import { SqliteLog, type LogHome, type Waiter } from './sqlite-log.ts'
import { DELETE, DROP, PUT } from './sqlite-message.ts'
import type { ChunksRead, Failure, FromWorker, LogState, RowsRead, StoreSettings, ToWorker } from './sqlite-message.ts'
import type { RowKind, Store, StoredLog, StoredRows } from './store.ts'

/** Disk per job that reader `owner` may leave unread. */
const LOG_LIMIT = 1024 * 1024 * 1024
/** Memory for the newest chunks of all logs together. */
const RECENT_BYTES = 8 * 1024 * 1024
/** Of those whose rows are on disk at the same time so many are told in one turn, a millisecond's work. */
const TOLD_AT_ONCE = 16
/** A cursor is written so much later, with all others that have moved by then. */
const CURSOR_MS = 50

/** How much a store in a file may keep, and what it does when it cannot. */
export interface SqliteOptions {
  /** Bytes that reader `owner` may leave unread in one job before its producer pauses. Default: 1 GiB. */
  readonly logLimit?: number
  /** Bytes the file may have, beside its write-ahead log; beyond that it is full. Default: as many as there is room for. */
  readonly maxBytes?: number
  /** What becomes of records while nothing can be written: their job waits, or fails. Default: `pause`. */
  readonly whenFull?: 'pause' | 'fail'
  /**
   * Told what is wrong with the file: damage that was found, or that nothing can be written. The store goes on. Default: a
   * warning of the process.
   */
  readonly onTrouble?: (error: StoreError) => void
}

/**
 * A store that keeps everything in the file `path`, which is opened, or made for its user alone, when it is first asked for
 * something. Give it to `createPeer`, which closes it. One process at a time has a file.
 *
 * Records are accepted when they survive the end of this process, and on disk at most 50 ms later; rows are put when they
 * are on disk. Every call fails with StoreError where the file cannot be opened (STORE_IN_USE, STORE_VERSION,
 * STORE_DAMAGED, STORE_READ_ONLY, STORE_FAILED), when the store is closed (STORE_CLOSED) or its worker has died
 * (STORE_FAILED).
 * @throws UsageError for options that make no sense
 * @example await using peer = await createPeer({ store: sqlite('./errand.db') })
 */
export function sqlite(path: string, options: SqliteOptions = {}): SqliteStore {
  if (typeof path !== 'string' || path === '' || path === ':memory:')
    throw new UsageError('a store needs the path of a file', { hint: '`memoryStore()` keeps nothing' })
  for (const name of ['logLimit', 'maxBytes'] as const) {
    const value = options[name]
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0))
      throw new UsageError(`\`${name}\` is a number of bytes, not ${value}`)
  }
  if (options.whenFull !== undefined && !['pause', 'fail'].includes(options.whenFull))
    throw new UsageError(`\`whenFull\` is 'pause' or 'fail', not '${options.whenFull}'`)
  return new FileStore(resolvePath(path), options)
}

/** A {@link Store} in a file. Closing it writes what there is; while nothing can be written, what waits is refused. */
export interface SqliteStore extends Store {
  readonly rows: StoredRows
  /** Takes effect in its turn; where nothing is written any more it is nothing. */
  dropLog(job: string): void
  logs(): Promise<readonly string[]>
  hurry(): void
  /** Ends the worker as a crash would, for tests of that: every call fails with STORE_FAILED from then on. */
  terminate(): Promise<void>
}

/** What was written in one turn, until it is on disk. */
interface Sent {
  readonly number: number
  readonly waiters: (Waiter | undefined)[]
}

interface Asked {
  resolve(value: unknown): void
  reject(error: Error): void
}

class FileStore implements SqliteStore, LogHome {
  readonly logLimit: number
  readonly recent: RecentChunks = new RecentChunks(RECENT_BYTES)
  readonly rows: StoredRows
  readonly #settings: StoreSettings
  readonly #onTrouble: (error: StoreError) => void
  readonly #logs = new Map<string, Promise<SqliteLog> | SqliteLog>()
  #worker: Worker | undefined
  #exited: Promise<void> = Promise.resolve()
  /** Why nothing is taken any more. */
  #ended: StoreError | undefined
  #closing: Promise<void> | undefined
  // The turn's batch.
  #operations: (number | string)[] = []
  #parts: Uint8Array[] = []
  #waiters: (Waiter | undefined)[] = []
  #turn: NodeJS.Immediate | undefined
  /** What they wait for has come, and they have not been told. */
  readonly #done: Waiter[] = []
  #telling: NodeJS.Immediate | undefined
  // Batches that are not accepted, and not on disk.
  #number = 0
  #unaccepted: Sent[] = []
  #unsynced: Sent[] = []
  #request = 0
  readonly #asked = new Map<number, Asked>()
  readonly #moved = new Set<SqliteLog>()
  #cursors: NodeJS.Timeout | undefined
  /** The batch in which cursors were written last, and the last one that is accepted. */
  #cursorsIn = 0
  #accepted = 0
  /** Numbers of logs that are new, below 0: the file's own are above. */
  #lastNew = 0
  /** Something in the file is not what was written. */
  #damaged = false

  constructor(path: string, { logLimit = LOG_LIMIT, maxBytes, whenFull, onTrouble }: SqliteOptions) {
    this.logLimit = logLimit
    this.#settings = { path, failing: whenFull === 'fail', maxBytes }
    this.#onTrouble = onTrouble ?? ((error) => process.emitWarning(error))
    this.rows = {
      all: async (kind) => {
        return this.#decoded(kind, await this.#ask<RowsRead>({ type: 'rows', kind }))
      },
      put: (kind, key, value, { patient = false } = {}) => {
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        try {
          const bytes = encode(value)
          const operation = [PUT, kind, key, patient ? 1 : 0, bytes.byteLength]
          this.write(operation, bytes, { when: 'synced', done: resolve, refused: reject })
        } catch (error) {
          reject(error as Error)
        }
        return promise
      },
      delete: (kind, key) => {
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        try {
          this.write([DELETE, kind, key], undefined, { when: 'synced', done: resolve, refused: reject })
        } catch (error) {
          reject(error as Error)
        }
        return promise
      },
    }
  }

  log(job: string, isNew = false): StoredLog | Promise<StoredLog> {
    const known = this.#logs.get(job)
    if (known) return known
    // To ask for each would part what its turn writes into as many transactions.
    if (isNew) {
      const log = new SqliteLog(this, nothing(--this.#lastNew), job)
      this.#logs.set(job, log)
      return log
    }
    const opening = this.#ask<LogState>({ type: 'log', name: job }).then(
      (state) => {
        const log = new SqliteLog(this, state)
        if (this.#logs.get(job) === opening) this.#logs.set(job, log)
        else log.drop()
        return log
      },
      (error: unknown) => {
        if (this.#logs.get(job) === opening) this.#logs.delete(job)
        throw error
      },
    )
    this.#logs.set(job, opening)
    return opening
  }

  dropLog(job: string): void {
    const known = this.#logs.get(job)
    this.#logs.delete(job)
    if (known instanceof SqliteLog) known.drop()
    if (!(known instanceof SqliteLog) || known.isKept) this.write([DROP, job])
  }

  async logs(): Promise<readonly string[]> {
    const names = await this.#ask<string[]>({ type: 'logs' })
    return this.#damaged ? [] : names
  }

  hurry(): void {
    if (!this.#ended) this.#post({ type: 'hurry' })
  }

  /** Idempotent. */
  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    if (this.#worker && !this.#ended) {
      this.#writeCursors(true)
      await this.#ask({ type: 'close' }, true).catch(() => undefined)
    }
    this.#end(closed(this.#settings.path))
    await this.#exited
    this.#worker = undefined
  }

  async terminate(): Promise<void> {
    await this.#worker?.terminate()
    await this.#exited
  }

  // ── for its logs ────────────────────────────────────────────────────────────────────────────────────────────────────

  write(operation: readonly (number | string)[], bytes?: Uint8Array, waiter?: Waiter): void {
    // Where nothing is written any more, what nobody waits for is nothing.
    if (!waiter && (this.#ended || this.#closing)) return
    this.#start()
    for (const value of operation) this.#operations.push(value)
    if (bytes) this.#parts.push(bytes)
    this.#waiters.push(waiter)
    this.#turn ??= setImmediate(() => this.#flush())
  }

  read(log: number, from: number, until: number, maxBytes: number): Promise<ChunksRead> {
    return this.#ask({ type: 'read', log, from, until, maxBytes })
  }

  moved(log: SqliteLog): void {
    this.#moved.add(log)
    this.#cursors ??= setTimeout(() => this.#writeCursors(), CURSOR_MS).unref()
  }

  #writeCursors(last = false): void {
    clearTimeout(this.#cursors)
    this.#cursors = undefined
    if (this.#ended) return
    // While nothing can be written readers go on: one write of theirs under way, however long that lasts.
    if (this.#cursorsIn > this.#accepted && !last) {
      this.#cursors = setTimeout(() => this.#writeCursors(), CURSOR_MS).unref()
      return
    }
    this.#cursorsIn = this.#number + 1
    for (const log of this.#moved) log.writeCursors()
    this.#moved.clear()
  }

  // ── the worker ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws StoreError when it has ended */
  #start(closing = false): Worker {
    if (this.#ended) throw this.#ended
    if (this.#closing && !closing && !this.#worker) throw closed(this.#settings.path)
    if (this.#worker) return this.#worker
    const worker = new Worker(isolateEntry('sqlite-entry'), {
      name: 'store',
      execArgv: [...isolateFlags, '--disable-warning=ExperimentalWarning'],
      workerData: this.#settings,
    })
    this.#worker = worker
    worker.on('message', (message: FromWorker) => this.#hear(message))
    let thrown: unknown
    worker.on('error', (error) => (thrown = error))
    this.#exited = new Promise((resolve) => {
      worker.once('exit', () => {
        const why = { code: 'STORE_FAILED', message: `the worker of ${this.#settings.path} has died` }
        // Its last messages are delivered in the very moment of its exit.
        this.#end(this.#closing ? closed(this.#settings.path) : errorOf(why, thrown))
        resolve()
      })
    })
    worker.unref()
    return worker
  }

  #flush(): void {
    clearImmediate(this.#turn)
    this.#turn = undefined
    if (this.#operations.length === 0) return
    const bytes = new Uint8Array(this.#parts.reduce((sum, { byteLength }) => sum + byteLength, 0))
    let at = 0
    for (const part of this.#parts) {
      bytes.set(part, at)
      at += part.byteLength
    }
    const number = ++this.#number
    const sent = { number, waiters: this.#waiters }
    const batch = { number, operations: this.#operations, bytes }
    this.#operations = []
    this.#parts = []
    this.#waiters = []
    this.#unaccepted.push(sent)
    this.#unsynced.push(sent)
    this.#post({ type: 'batch', batch }, bytes)
  }

  #post(message: ToWorker, bytes?: Uint8Array<ArrayBuffer>): void {
    this.#worker?.postMessage(message, bytes ? [bytes.buffer] : [])
    this.#hold()
  }

  /** While something is under way, and until a closing worker has exited, the process does not end by itself. */
  #hold(): void {
    if (this.#unsynced.length > 0 || this.#asked.size > 0 || this.#closing) this.#worker?.ref()
    else this.#worker?.unref()
  }

  #ask<T>(question: Question, closing = false): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#start(closing)
      // Behind everything that was written before.
      this.#flush()
      const request = ++this.#request
      this.#asked.set(request, { resolve: resolve as (value: unknown) => void, reject })
      this.#post({ ...question, request })
    })
  }

  #hear(message: FromWorker): void {
    switch (message.type) {
      case 'done':
        this.#accepted = message.accepted
        this.#settle(this.#unaccepted, message.accepted, 'accepted')
        this.#settle(this.#unsynced, message.synced, 'synced')
        break
      case 'refused': {
        const sent = this.#unsynced.find(({ number }) => number === message.number)
        for (const place of message.places) {
          sent?.waiters[place]?.refused(errorOf(message.failure))
          delete sent?.waiters[place]
        }
        // However long nothing can be written: what was refused takes no room here.
        if (sent?.waiters.every((waiter) => waiter === undefined))
          [this.#unaccepted, this.#unsynced] = [this.#unaccepted, this.#unsynced].map((queue) =>
            queue.filter((one) => one !== sent),
          ) as [Sent[], Sent[]]
        break
      }
      case 'answer':
        this.#take(message.request)?.resolve(message.value)
        break
      case 'error':
        this.#take(message.request)?.reject(errorOf(message.failure))
        break
      case 'trouble':
        this.#damaged ||= message.failure.code === 'STORE_DAMAGED'
        this.#onTrouble(errorOf(message.failure))
        break
      case 'failed':
        this.#end(errorOf(message.failure))
    }
    this.#hold()
  }

  #take(request: number): Asked | undefined {
    const asked = this.#asked.get(request)
    this.#asked.delete(request)
    return asked
  }

  #settle(queue: Sent[], upTo: number, when: Waiter['when']): void {
    let count = 0
    for (; count < queue.length && queue[count]!.number <= upTo; count++)
      for (const waiter of queue[count]!.waiters) if (waiter?.when === when) this.#done.push(waiter)
    if (count > 0) queue.splice(0, count)
    this.#tell()
  }

  /**
   * So many in a turn, so that what they write next is on its way to the disk while the others are told: all at once, this
   * thread and the disk would wait for each other in turns.
   */
  #tell(most = TOLD_AT_ONCE): void {
    if (this.#telling) return
    for (const waiter of this.#done.splice(0, most)) waiter.done()
    if (this.#done.length === 0) return
    this.#telling = setImmediate(() => {
      this.#telling = undefined
      this.#flush()
      this.#tell()
    })
  }

  /** Whoever waits hears of it, and whoever comes. */
  #end(error: StoreError): void {
    if (this.#ended) return
    this.#ended = error
    clearTimeout(this.#cursors)
    clearImmediate(this.#turn)
    clearImmediate(this.#telling)
    this.#telling = undefined
    this.#tell(Infinity)
    const waiters = [...this.#unsynced.flatMap((sent) => sent.waiters), ...this.#waiters]
    this.#unaccepted = []
    this.#unsynced = []
    this.#operations = []
    this.#waiters = []
    this.#parts = []
    for (const waiter of waiters) waiter?.refused(error)
    for (const asked of this.#asked.values()) asked.reject(error)
    this.#asked.clear()
  }

  #decoded(kind: RowKind, { keys, values, lengths }: RowsRead): { readonly key: string; readonly value: unknown }[] {
    const rows: { key: string; value: unknown }[] = []
    let at = 0
    for (const [index, key] of keys.entries()) {
      const bytes = values.subarray(at, (at += lengths[index]!))
      try {
        rows.push({ key, value: decode(bytes) })
      } catch (error) {
        this.#damaged = true
        const message = `${this.#settings.path}: row ${kind} ${key} cannot be read`
        this.#onTrouble(errorOf({ code: 'STORE_DAMAGED', message }, error))
      }
    }
    return rows
  }
}

type Question = ToWorker extends infer M ? (M extends { request: number } ? Omit<M, 'request'> : never) : never

const NONE: Float64Array<ArrayBuffer> = new Float64Array()

/** A log in which nothing is. */
function nothing(log: number): LogState {
  return { log, start: 0, end: 0, there: 0, ends: NONE, costs: NONE, before: 0, cursors: [] }
}

function closed(path: string): StoreError {
  return errorOf({ code: 'STORE_CLOSED', message: `the store ${path} is closed` })
}

function errorOf({ code, message, hint }: Failure, cause?: unknown): StoreError {
  return new StoreError(code as `STORE_${string}`, message, { hint, ...(cause !== undefined && { cause }) })
}
