// What runs in a store's worker: everything that came meanwhile is written in one transaction, synced when somebody waits
// for that and at the latest a little later, and what cannot be written waits or is refused.
import { fdatasync } from 'node:fs'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { failureOf, isDamage, isPassing } from './sqlite-failure.ts'
import { StoreFile } from './sqlite-file.ts'
import { APPEND, DELETE, DROP, FORGET, LENGTH, PUT } from './sqlite-message.ts'
import type { Batch, Failure, FromWorker, StoreSettings, ToWorker } from './sqlite-message.ts'

/** What is accepted is on disk after this long, whatever happens to the host. */
const SYNC_MS = 50
/** How long a log says nothing before it needs no numbers in reserve. */
const IDLE_MS = 1_000
/** How often what waits is tried again while nothing can be written: nobody tells when there is room. */
const AGAIN_MS = 100
/** Bytes and messages that are taken into one transaction; others wait in the port, bounded by their producers' credit. */
const TURN_BYTES = 4 * 1024 * 1024
const TURN_MESSAGES = 256
/** The write-ahead log is copied into the file when it has about this size: what it holds at most, beside a transaction. */
const WAL_BYTES = 8 * 1024 * 1024

/**
 * A batch that waits, without what of it was refused; `places` is where its operations stood. Batches up to `upTo` are done
 * with it: those behind it of which nothing was left.
 */
interface Held {
  readonly batch: Batch
  readonly places: readonly number[]
  upTo: number
}

if (!parentPort) throw new Error('this file runs in a worker thread')
const port = parentPort
const settings = workerData as StoreSettings

class StoreWorker {
  readonly #file: StoreFile
  readonly #held: Held[] = []
  #blocked: Failure | undefined
  /** What cannot be written is refused, whoever asked for it. */
  #hurried = false
  #again: NodeJS.Timeout | undefined
  /** Numbers of batches: written, known to be on disk, told. */
  #written = 0
  #synced = 0
  #told = { accepted: 0, synced: 0 }
  /** Written, but to be seen only when it is synced; the first of each transaction. */
  #unsafe: number[] = []
  #syncing = false
  #syncWanted = false
  #syncSoon: NodeJS.Timeout | undefined
  #idle: NodeJS.Timeout | undefined
  #tidying: NodeJS.Immediate | undefined
  #closing: number | undefined

  constructor() {
    this.#file = new StoreFile(settings, trouble)
    port.on('message', (message: ToWorker) => this.#turn(message))
    port.on('close', () => this.#end())
  }

  #turn(message: ToWorker): void {
    let batches: Batch[] = []
    let bytes = 0
    let next: ToWorker | undefined = message
    for (let count = 1; next; count++) {
      if (next.type === 'batch') {
        batches.push(next.batch)
        bytes += next.batch.bytes.byteLength
      } else if (next.type === 'hurry') this.#hurry()
      else {
        this.#write(batches)
        batches = []
        this.#answer(next)
      }
      if (count >= TURN_MESSAGES || bytes >= TURN_BYTES) break
      next = (receiveMessageOnPort(port) as { message: ToWorker } | undefined)?.message
    }
    this.#write(batches)
    this.#tell()
    try {
      this.#file.checkpoint(WAL_BYTES)
    } catch (error) {
      // Without room the write-ahead log stays as it is, until writing fails as well.
      if (!isPassing(error)) trouble(failureOf(error, settings.path))
    }
    this.#tidy()
  }

  // ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #write(batches: readonly Batch[]): void {
    if (batches.length === 0) return
    if (this.#blocked) {
      for (const batch of batches) this.#hold(batch)
      return
    }
    try {
      this.#done(batches, this.#file.write(batches))
    } catch (error) {
      // Each by itself: what one asks for must not keep the others out.
      if (batches.length > 1) for (const batch of batches) this.#write([batch])
      else if (isPassing(error)) {
        this.#block(failureOf(error, settings.path))
        this.#hold(batches[0]!)
      } else {
        const [batch] = batches as [Batch]
        this.#writeEach({ batch, places: placesOf(batch), upTo: batch.number }, error)
      }
    }
  }

  #writeEach({ batch, places, upTo }: Held, why: unknown): void {
    if (isDamage(why) && this.#file.goAround()) return this.#write([batch])
    const { unsafe, refused } = this.#file.writeEach(batch)
    for (const { place, failure } of refused) this.#refuse(batch.number, [places[place]!], failure)
    this.#done([batch], unsafe, upTo)
  }

  #done(batches: readonly Batch[], unsafe: boolean, upTo = batches.at(-1)!.number): void {
    this.#written = upTo
    if (unsafe) this.#unsafe.push(batches[0]!.number)
    if (unsafe || batches.some(({ operations }) => waitsForDisk(operations))) this.#sync()
    else this.#syncSoon ??= setTimeout(() => this.#sync(), SYNC_MS)
    this.#idle ??= setTimeout(() => this.#release(), IDLE_MS)
  }

  #block(failure: Failure): void {
    this.#blocked = failure
    trouble(failure)
    this.#again = setInterval(() => this.#retry(), AGAIN_MS)
  }

  /** What may wait waits; what asked to be told is. */
  #hold(batch: Batch): void {
    const operations: (number | string)[] = []
    const parts: Uint8Array[] = []
    const places: number[] = []
    const refused: number[] = []
    const freeing: (number | string)[] = []
    let at = 0
    for (const [place, operation, length] of operationsOf(batch)) {
      const [code] = operation
      const impatient = this.#hurried || (code === PUT ? operation[3] === 0 : code === APPEND && settings.failing)
      if (impatient) refused.push(place)
      else {
        operations.push(...operation)
        parts.push(batch.bytes.subarray(at, at + length))
        places.push(place)
      }
      if (code === DROP || code === FORGET) freeing.push(...operation)
      at += length
    }
    if (refused.length > 0) this.#refuse(batch.number, refused, this.#blocked!)
    const last = this.#held.at(-1)
    // However long it lasts: what is refused takes no room.
    if (last && operations.length === 0) last.upTo = batch.number
    else {
      const { number } = batch
      this.#held.push({ batch: { number, operations, bytes: Buffer.concat(parts) }, places, upTo: number })
    }
    if (freeing.length > 0) this.#free(freeing)
  }

  /** What makes room does not wait behind what needs it. */
  #free(operations: readonly (number | string)[]): void {
    try {
      this.#file.write([{ number: 0, operations, bytes: new Uint8Array() }])
    } catch {
      return // in its turn, then
    }
    this.#retry()
  }

  /** Also what waits already. */
  #hurry(): void {
    this.#hurried = true
    const [first] = this.#held
    if (!first) return
    const { upTo } = this.#held.at(-1)!
    for (const { batch, places } of this.#held) this.#refuse(batch.number, places, this.#blocked!)
    const nothing = { number: first.batch.number, operations: [], bytes: new Uint8Array() }
    this.#held.splice(0, Infinity, { batch: nothing, places: [], upTo })
  }

  #retry(): void {
    try {
      this.#file.checkpoint(0)
    } catch {
      // Said already.
    }
    for (let next = this.#held[0]; next; next = this.#held[0]) {
      try {
        this.#done([next.batch], this.#file.write([next.batch]), next.upTo)
      } catch (error) {
        if (isPassing(error)) return this.#tell()
        this.#writeEach(next, error)
      }
      this.#held.shift()
    }
    this.#blocked = undefined
    clearInterval(this.#again)
    this.#tell()
  }

  #refuse(number: number, places: readonly number[], failure: Failure): void {
    post({ type: 'refused', number, places, failure })
  }

  // ── on disk ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #sync(): void {
    this.#syncWanted = true
    if (this.#syncing) return
    this.#syncing = true
    this.#syncWanted = false
    clearTimeout(this.#syncSoon)
    this.#syncSoon = undefined
    const written = this.#written
    const reserved = this.#file.reserved()
    // Beside the writing, which goes on meanwhile.
    fdatasync(this.#file.wal, (error) => {
      this.#syncing = false
      if (error) {
        // What it could not write it may have forgotten: to try again would be to believe it.
        post({ type: 'failed', failure: failureOf(error, settings.path) })
        port.close()
        return
      }
      reserved()
      this.#synced = written
      this.#unsafe = this.#unsafe.filter((number) => number > written)
      this.#tell()
      if (this.#syncWanted) this.#sync()
      else if (this.#closing !== undefined) this.#close(this.#closing)
    })
  }

  #release(): void {
    this.#idle = undefined
    if (this.#closing !== undefined) return
    try {
      this.#file.releaseIdle()
    } catch (error) {
      if (!isPassing(error)) trouble(failureOf(error, settings.path))
    }
    this.#syncSoon ??= setTimeout(() => this.#sync(), SYNC_MS)
    if (this.#file.isBusy) this.#idle = setTimeout(() => this.#release(), IDLE_MS)
  }

  #tell(): void {
    const accepted = this.#unsafe.length > 0 ? this.#unsafe[0]! - 1 : this.#written
    if (accepted <= this.#told.accepted && this.#synced <= this.#told.synced) return
    this.#told = { accepted: Math.max(accepted, this.#told.accepted), synced: this.#synced }
    post({ type: 'done', ...this.#told })
  }

  #tidy(): void {
    this.#tidying ??= setImmediate(() => {
      this.#tidying = undefined
      if (this.#closing !== undefined) return
      try {
        if (this.#file.tidy()) this.#tidy()
      } catch (error) {
        // Another time: after the next write.
        if (!isPassing(error)) trouble(failureOf(error, settings.path))
      }
    })
  }

  // ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #answer(message: Exclude<ToWorker, { type: 'batch' | 'hurry' }>): void {
    // Who asks has heard of everything that was accepted before.
    this.#tell()
    const { request } = message
    try {
      switch (message.type) {
        case 'log': {
          const value = this.#file.log(message.name)
          return post({ type: 'answer', request, value }, [value.ends.buffer, value.costs.buffer])
        }
        case 'read': {
          const value = this.#file.read(message.log, message.from, message.until, message.maxBytes)
          return post({ type: 'answer', request, value }, [value.bytes.buffer])
        }
        case 'rows': {
          const value = this.#file.rows(message.kind)
          return post({ type: 'answer', request, value }, [value.values.buffer])
        }
        case 'logs':
          return post({ type: 'answer', request, value: this.#file.names() })
        case 'close':
          if (this.#blocked) this.#retry()
          this.#closing = request
          if (!this.#syncing) this.#close(request)
      }
    } catch (error) {
      post({ type: 'error', request, failure: failureOf(error, settings.path) })
    }
  }

  #close(request: number): void {
    this.#end()
    this.#file.close()
    if (!this.#blocked) {
      this.#unsafe = []
      this.#synced = this.#written
    }
    this.#tell()
    post({ type: 'answer', request, value: undefined })
    port.close()
  }

  #end(): void {
    clearInterval(this.#again)
    clearTimeout(this.#syncSoon)
    clearTimeout(this.#idle)
    clearImmediate(this.#tidying)
  }
}

function* operationsOf({
  operations,
}: Batch): Generator<[place: number, operation: (number | string)[], length: number]> {
  for (let at = 0, place = 0; at < operations.length; place++) {
    const next = at + LENGTH[operations[at] as number]!
    const operation = operations.slice(at, next)
    const hasBytes = operation[0] === PUT || operation[0] === APPEND
    yield [place, operation, hasBytes ? (operation.at(-1) as number) : 0]
    at = next
  }
}

function placesOf(batch: Batch): number[] {
  return [...operationsOf(batch)].map(([place]) => place)
}

function waitsForDisk(operations: Batch['operations']): boolean {
  for (let at = 0; at < operations.length; at += LENGTH[operations[at] as number]!)
    if (operations[at] === PUT || operations[at] === DELETE) return true
  return false
}

function post(message: FromWorker, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, transfer)
}

function trouble(failure: Failure): void {
  post({ type: 'trouble', failure })
}

let store: StoreWorker | undefined
try {
  store = new StoreWorker()
  post({ type: 'opened' })
} catch (error) {
  post({ type: 'failed', failure: failureOf(error, settings.path) })
  port.close()
}
void store
