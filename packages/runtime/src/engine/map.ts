// One script for many inputs (ForEach-Object -Parallel): one execution, whose items go in batches to workers of its own.
//
// Each worker runs the script in a loop over the batches it is given; what it says comes back as chunks, and how far it is
// as input that it has read. Batches grow as long as they are done quickly, so that an item that takes a second is alone in
// its batch and a hundred thousand empty ones cost a few hundred messages.
import { createChunkWriter } from '@errand/transport'
import { LONGEST_TIMER } from '../duration.ts'
import { codeOf, EngineExitError, ItemsFailedError, TimeoutError } from '../errors.ts'
import type { Ending, StopRequest } from '../job-machine.ts'
import { outputOf, singleRecord, valuesOf, type RawChunk } from '../record.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import type { LaneEngine } from './lane.ts'
import type { Warm } from './spare.ts'

/** Items at once where nothing else is said; PowerShell's default ThrottleLimit. */
export const MAP_THROTTLE = 5
/** A batch that was done sooner than this doubles, one that took longer than four times as much halves. */
const BATCH_MS = 5
const BATCH_MOST = 1024
/** From this size on a worker has its next batch before it is through with the last. */
const AHEAD_FROM = 16
/** How much longer than its time limit an item may take to end by itself, before its worker is ended. */
const TIMEOUT_GRACE = 1_000

interface Batch {
  /** In the order of the inputs. */
  readonly seq: number
  readonly first: number
  readonly count: number
  readonly bytes: number
  begunAt: number
}

interface MapWorker {
  readonly number: number
  readonly warm: Warm
  readonly execution: Execution
  readonly batches: Batch[]
  size: number
  limit: NodeJS.Timeout | undefined
  /** It is there, and works. */
  begun: boolean
  still: boolean
}

/** What it takes workers from: the pool's spare. */
export interface MapWorkers {
  take(): Warm
}

export class MapEngine implements Engine {
  readonly #workers: MapWorkers
  readonly #running = new Set<MapExecution>()

  constructor(workers: MapWorkers) {
    this.#workers = workers
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    const execution = new MapExecution(spec, this.#workers, io)
    this.#running.add(execution)
    void execution.done.then(() => this.#running.delete(execution))
    return execution
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running].map((execution) => execution.end()))
  }
}

class MapExecution implements Execution {
  /** Settles after the ending was said. Never rejects. */
  readonly done: Promise<void>
  readonly #spec: ExecutionSpec
  readonly #supply: MapWorkers
  readonly #io: ExecutionIO
  readonly #throttle: number
  readonly #settle: () => void
  readonly #workers = new Set<MapWorker>()
  #started = 0
  /** Inputs that no worker has yet, and the bytes of their chunks, told as read when the last of a chunk has gone. */
  #items: unknown[] = []
  #next = 0
  #chunkEnds: { readonly at: number; readonly bytes: number }[] = []
  #index = 0
  #inputEnd: { readonly error?: Error | undefined } | undefined
  #batches = 0
  /** Ordered: the batch whose records come next, and those of batches behind it. */
  #head = 0
  readonly #held = new Map<number, { readonly chunks: RawChunk[]; readonly from: MapWorker; done: boolean }>()
  /** Who is owed credit for what was passed on, oldest first. */
  readonly #owed: { readonly worker: MapWorker; bytes: number }[] = []
  #failed = 0
  readonly #errors: Error[] = []
  #stopping: StopRequest | undefined
  #broken: Error | undefined
  #paused = false
  #over = false

  constructor(spec: ExecutionSpec, supply: MapWorkers, io: ExecutionIO) {
    this.#spec = spec
    this.#supply = supply
    this.#io = io
    this.#throttle = spec.work.map?.throttle ?? MAP_THROTTLE
    const { promise, resolve } = Promise.withResolvers<void>()
    this.done = promise
    this.#settle = resolve
  }

  input(chunk: RawChunk): void {
    const values = valuesOf(chunk)
    for (const value of values) this.#items.push(value)
    this.#chunkEnds.push({ at: this.#items.length, bytes: chunk.bytes.byteLength })
    this.#dispatch()
  }

  endInput(error?: Error): void {
    this.#inputEnd ??= { error }
    this.#dispatch()
  }

  credit(bytes: number): void {
    let left = bytes
    while (left > 0) {
      const [oldest] = this.#owed
      if (!oldest) return
      const part = Math.min(left, oldest.bytes)
      left -= part
      oldest.bytes -= part
      if (oldest.bytes === 0) this.#owed.shift()
      oldest.worker.execution.credit(part)
    }
  }

  stop(request: StopRequest): void {
    this.#stopping = request
    this.#paused = false
    for (const { execution } of this.#workers) execution.stop(request)
    this.#endIfDone()
  }

  answer(question: string, value: Uint8Array): void {
    const [number, id = ''] = question.split('-')
    const worker = [...this.#workers].find((one) => String(one.number) === number)
    worker?.execution.answer?.(id, value)
  }

  suspend(): void {
    this.#paused = true
    for (const worker of this.#workers) worker.execution.suspend?.()
    this.#sayIfStill()
  }

  resume(): void {
    this.#paused = false
    for (const worker of this.#workers) {
      worker.still = false
      worker.execution.resume?.()
    }
    this.#dispatch()
  }

  /** By force. */
  async end(): Promise<void> {
    this.stop({ grace: 0 })
    await this.done
  }

  // ── giving out ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #dispatch(): void {
    while (this.#next < this.#items.length && !this.#paused && !this.#stopping && !this.#broken) {
      const worker = this.#free()
      if (!worker) return
      this.#give(worker)
    }
    if (this.#inputEnd && this.#next === this.#items.length && !this.#paused) {
      for (const worker of this.#workers) worker.execution.endInput?.()
      this.#endIfDone()
    }
  }

  /** Whoever has nothing; a new one while there may be more; whoever has little. */
  #free(): MapWorker | undefined {
    for (const worker of this.#workers) if (worker.batches.length === 0) return worker
    if (this.#workers.size < this.#throttle) return this.#start()
    for (const worker of this.#workers) if (worker.size >= AHEAD_FROM && worker.batches.length === 1) return worker
    return undefined
  }

  #give(worker: MapWorker): void {
    const count = Math.min(worker.size, this.#items.length - this.#next)
    const writer = createChunkWriter()
    const first = this.#index
    for (let i = 0; i < count; i++) {
      writer.add(outputOf([this.#index++, this.#items[this.#next]]))
      this.#items[this.#next++] = undefined
    }
    const bytes = writer.finish()
    const batch = { seq: this.#batches++, first, count, bytes: bytes.byteLength, begunAt: performance.now() }
    worker.batches.push(batch)
    if (this.#spec.work.map!.ordered) this.#held.set(batch.seq, { chunks: [], from: worker, done: false })
    worker.execution.input?.({ count, errors: 0, bytes })
    if (worker.begun) this.#limit(worker)
    while (this.#chunkEnds[0] && this.#chunkEnds[0].at <= this.#next)
      this.#io.inputRead?.(this.#chunkEnds.shift()!.bytes)
    if (this.#next < this.#items.length) return
    this.#items = []
    this.#next = 0
    this.#chunkEnds = []
  }

  /** An item that lets nothing else run cannot be told that its time is over. */
  #limit(worker: MapWorker): void {
    const { itemTimeout } = this.#spec.work.map!
    if (itemTimeout === undefined) return
    worker.limit = setTimeout(() => worker.warm.isolate.kill(), Math.min(itemTimeout + TIMEOUT_GRACE, LONGEST_TIMER))
  }

  #start(): MapWorker {
    const number = ++this.#started
    const warm = this.#supply.take()
    const lane: LaneEngine = warm.lane
    const worker: MapWorker = {
      number,
      warm,
      // The first thing a lane says comes in a later turn.
      execution: lane.start(
        this.#spec,
        {
          chunk: (chunk) => this.#onChunk(worker, chunk),
          begun: () => {
            worker.begun = true
            // What it was given while it was being started begins now.
            for (const batch of worker.batches) batch.begunAt = performance.now()
            if (worker.batches.length > 0) this.#limit(worker)
          },
          inputRead: () => this.#onBatch(worker),
          asked: (question) => this.#io.asked?.({ ...question, id: `${number}-${question.id}` }),
          answered: (question, refusal) => this.#io.answered?.(`${number}-${question}`, refusal),
          suspended: () => {
            worker.still = true
            this.#sayIfStill()
          },
          ended: (ending) => {
            clearTimeout(worker.limit)
            warm.isolate.kill()
            void warm.isolate.exited.then(() => this.#onEnded(worker, ending))
          },
        },
        { tells: 'begun' },
      ),
      batches: [],
      size: 1,
      limit: undefined,
      begun: false,
      still: false,
    }
    this.#workers.add(worker)
    return worker
  }

  // ── taking in ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A worker says all of a batch before it says that it is through with it. */
  #onChunk(worker: MapWorker, chunk: RawChunk): void {
    const batch = worker.batches[0]
    const held = batch && this.#held.get(batch.seq)
    if (held && batch.seq !== this.#head) held.chunks.push(chunk)
    else this.#pass(worker, chunk)
  }

  #pass(worker: MapWorker, chunk: RawChunk): void {
    this.#owed.push({ worker, bytes: chunk.bytes.byteLength })
    this.#io.chunk(chunk)
  }

  #onBatch(worker: MapWorker): void {
    const batch = worker.batches.shift()
    if (!batch) return
    clearTimeout(worker.limit)
    const took = performance.now() - batch.begunAt
    if (this.#spec.work.map!.itemTimeout === undefined) {
      if (took < BATCH_MS && batch.count === worker.size) worker.size = Math.min(worker.size * 2, BATCH_MOST)
      else if (took > BATCH_MS * 4) worker.size = Math.max(1, worker.size >> 1)
    }
    this.#close(batch)
    this.#dispatch()
  }

  /** Ordered: lets out what waited for this batch. */
  #close(batch: Batch): void {
    const own = this.#held.get(batch.seq)
    if (!own) return
    own.done = true
    for (let held = this.#held.get(this.#head); held; held = this.#held.get(this.#head)) {
      for (const chunk of held.chunks.splice(0)) this.#pass(held.from, chunk)
      if (!held.done) return
      this.#held.delete(this.#head++)
    }
  }

  #onEnded(worker: MapWorker, ending: Ending): void {
    this.#workers.delete(worker)
    const failed = ending.outcome === 'failed' ? ending.error : undefined
    if (codeOf(failed) === 'ITEMS_FAILED') {
      const items = failed as ItemsFailedError
      this.#failed += items.failed
      this.#errors.push(...items.errors)
    } else if (codeOf(failed) === 'ENGINE_EXIT' && worker.batches.length > 0) this.#onDeath(worker, failed!)
    else if (failed && !this.#stopping) this.#break(failed)
    this.#dispatch()
    this.#endIfDone()
  }

  /** What it was at is lost, and whether it was done is unknown. The others go on, and another takes its place. */
  #onDeath(worker: MapWorker, error: Error): void {
    const { itemTimeout } = this.#spec.work.map!
    for (const batch of worker.batches) {
      for (let index = batch.first; index < batch.first + batch.count && !this.#stopping; index++) {
        const own =
          itemTimeout !== undefined && performance.now() - batch.begunAt >= itemTimeout
            ? new TimeoutError(`item ${index} took longer than ${itemTimeout} ms, and its thread was ended`)
            : new EngineExitError(`item ${index} was lost: ${error.message}`)
        const said = Object.assign(own, { item: index })
        this.#failed++
        if (this.#errors.length < ItemsFailedError.KEPT) this.#errors.push(said)
        this.#pass(worker, singleRecord('error', said))
      }
      this.#close(batch)
    }
  }

  /** The script itself cannot be run: no item can be done. */
  #break(error: Error): void {
    this.#broken ??= error
    for (const { execution } of this.#workers) execution.stop({ grace: 0 })
  }

  #sayIfStill(): void {
    if (this.#paused && [...this.#workers].every(({ still }) => still)) this.#io.suspended?.()
  }

  #endIfDone(): void {
    if (this.#over || this.#workers.size > 0) return
    const drained = this.#inputEnd !== undefined && this.#next === this.#items.length
    if (!drained && !this.#stopping && !this.#broken) return
    this.#over = true
    this.#io.ended(this.#ending())
    this.#settle()
  }

  #ending(): Ending {
    if (this.#stopping) return { outcome: 'stopped' }
    const error = this.#broken ?? this.#inputEnd?.error
    if (error) return { outcome: 'failed', error }
    if (this.#failed === 0) return { outcome: 'completed', streamed: true }
    // Each of them is in the log, in its place.
    return { outcome: 'failed', error: new ItemsFailedError(this.#failed, this.#index, this.#errors), said: true }
  }
}
