// One script for many inputs (ForEach-Object -Parallel): one execution, whose inputs go in parts to workers of its own:
// threads, or sessions on other peers.
//
// Parts grow as long as they are done quickly, so that an item that takes a second is alone in its part and a hundred
// thousand empty ones cost a few dozen messages. No item is begun twice: of a worker that died, those under way have
// failed, and only those that nobody had begun go to another.
import { Alarm } from '../alarm.ts'
import { codeOf, EngineExitError, ItemsFailedError, PeerLostError, TimeoutError } from '../errors.ts'
import type { Ending, StopRequest } from '../job-machine.ts'
import { MapItems } from '../map-items.ts'
import { singleRecord, type RawChunk } from '../record.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import { MAP_THROTTLE, PeerCrew, SLOW_MS, ThreadCrew, type MapCrew, type MapThreads } from './map-crew.ts'
import { MapInputs, type InputChunk, type Part } from './map-inputs.ts'
import { markChunk } from './map-order.ts'
import { failedItems, type FailedItem } from './map-records.ts'
import {
  endingError,
  ThreadWorker,
  type Given,
  type MapPlace,
  type MapWorker,
  type MapWorkerEvents,
} from './map-worker.ts'

/** Ordered: parts that may be done before one that takes longer is. */
export const HELD_MOST = 1024
/** From this size on a worker has its next part before it is through with the last. */
const AHEAD_FROM = 16
/** How much longer than its time limit an item may take to end by itself, before its thread is ended. */
const TIMEOUT_GRACE = 1_000
/** So many threads in a row that die before they have begun anything: none ever will. */
const BARREN_MOST = 3

/** Maps in this session's threads. */
export class MapEngine implements Engine {
  readonly #threads: MapThreads
  readonly #running = new Set<MapExecution>()

  constructor(threads: MapThreads) {
    this.#threads = threads
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    const execution = new MapExecution(spec, io, new ThreadCrew(this.#threads, spec))
    this.#running.add(execution)
    void execution.done.then(() => this.#running.delete(execution))
    return execution
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running].map((execution) => execution.end()))
  }
}

/** A map that is shared by other peers, each of which begins as soon as it can be reached. */
export class SharedMapEngine implements Engine {
  readonly #places: readonly MapPlace[]

  constructor(places: readonly MapPlace[]) {
    this.#places = places
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    return new MapExecution(spec, io, new PeerCrew(this.#places))
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A chunk that waits for its turn, with what failed in it. */
interface Held {
  readonly worker: MapWorker | undefined
  readonly chunk: RawChunk
  readonly failed: readonly FailedItem[]
}

class MapExecution implements Execution {
  /** Settles after the ending was said. Never rejects. */
  readonly done: Promise<void>
  readonly #spec: ExecutionSpec
  readonly #io: ExecutionIO
  readonly #crew: MapCrew
  readonly #ordered: boolean
  readonly #itemTimeout: number | undefined
  readonly #settle: () => void
  readonly #inputs: MapInputs
  readonly #workers = new Set<MapWorker>()
  readonly #items = new MapItems()
  readonly #events: MapWorkerEvents
  #throttle: number
  #hired = 0
  #giving = false
  #inputEnd: { readonly error?: Error | undefined } | undefined
  /** Looks again whether another worker is wanted. */
  #look: NodeJS.Timeout | undefined
  /** Ordered: the part whose records come next, and those behind it. */
  #head = 0
  readonly #held = new Map<number, { readonly chunks: Held[]; done: boolean }>()
  /** Who is owed credit for what was passed on, oldest first. */
  readonly #owed: { readonly worker: MapWorker | undefined; bytes: number }[] = []
  #owedFrom = 0
  /** Chunks that were credited before they were passed on. */
  readonly #advanced = new WeakSet<RawChunk>()
  /** Records that were passed on: the log's, as there are no others in it. */
  #passed = 0
  /** Items that workers had done who are gone. */
  #doneBefore = 0
  /** Workers in a row that died before they had begun anything. */
  #barren = 0
  readonly #errors: Error[] = []
  #stopping: StopRequest | undefined
  #broken: { readonly error: Error; readonly said: boolean } | undefined
  #paused = false
  #away = false
  #awayFor: Error | undefined
  #over = false

  constructor(spec: ExecutionSpec, io: ExecutionIO, crew: MapCrew) {
    const { throttle, ordered, itemTimeout, shared } = spec.work.map!
    this.#spec = spec
    this.#io = io
    this.#crew = crew
    this.#ordered = ordered === true
    this.#itemTimeout = itemTimeout
    this.#throttle = throttle ?? MAP_THROTTLE
    this.#inputs = new MapInputs(shared === true, (bytes) => io.inputRead?.(bytes))
    const { promise, resolve } = Promise.withResolvers<void>()
    this.done = promise
    this.#settle = resolve
    this.#events = {
      begun: (worker) => this.#onBegun(worker),
      chunk: (worker, chunk) => this.#onChunk(worker, worker.parts[0]?.part.seq, chunk),
      done: (worker, seq) => this.#onDone(worker, seq),
      lost: (_, reason) => {
        this.#awayFor = reason
        this.#sayIfAway()
      },
      back: () => this.#onBack(),
      still: () => this.#sayIfStill(),
      asked: (question) => io.asked?.(question),
      answered: (question, refusal) => io.answered?.(question, refusal),
      ended: (worker, ending) => this.#onEnded(worker, ending),
    }
    crew.share(this.#workers, this.#throttle)
  }

  get items(): MapItems {
    const items = this.#items
    const working = [...this.#workers]
    items.taken = this.#inputs.taken
    items.ended = working.reduce((sum, { done }) => sum + done, this.#doneBefore)
    items.running = working.reduce((sum, { running }) => sum + running, 0)
    return items
  }

  input(chunk: RawChunk): void {
    if (this.#stopping || this.#broken) return
    try {
      this.#inputs.push(chunk)
    } catch (error) {
      this.#break(error as Error)
    }
    this.#dispatch()
  }

  endInput(error?: Error): void {
    this.#inputEnd ??= { error }
    this.#dispatch()
  }

  credit(bytes: number): void {
    let left = bytes
    while (left > 0) {
      const oldest = this.#owed[this.#owedFrom]
      if (!oldest) break
      const part = Math.min(left, oldest.bytes)
      left -= part
      oldest.bytes -= part
      if (oldest.bytes === 0) this.#owedFrom++
      oldest.worker?.execution.credit(part)
    }
    if (this.#owedFrom < 64 || this.#owedFrom * 2 < this.#owed.length) return
    this.#owed.splice(0, this.#owedFrom)
    this.#owedFrom = 0
  }

  throttle(items: number): void {
    this.#throttle = items
    this.#crew.share(this.#workers, items)
    for (const { execution } of this.#workers) execution.throttle?.(items)
    this.#dispatch()
  }

  stop(request: StopRequest): void {
    this.#stopping = request
    this.#paused = false
    this.#inputs.drop()
    for (const worker of this.#workers) worker.stop(request)
    this.#endIfDone()
  }

  answer(question: string, value: Uint8Array): void {
    const [number, ...rest] = question.split('-')
    const worker = [...this.#workers].find((one) => String(one.number) === number)
    worker?.execution.answer?.(rest.join('-'), value)
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

  /** @throws PeerUnreachableError when none of its peers can be reached now */
  async reachable(): Promise<void> {
    const tries = await Promise.allSettled([...this.#workers].map(async ({ execution }) => execution.reachable?.()))
    const refused = tries.filter((one) => one.status === 'rejected')
    if (refused.length > 0 && refused.length === tries.length) throw refused[0]!.reason
  }

  /** By force. */
  async end(): Promise<void> {
    this.stop({ grace: 0 })
    await this.done
  }

  // ── giving out ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Giving out makes room for more input, which comes at once: what follows from that is left to whoever is giving out. */
  #dispatch(): void {
    if (this.#giving) return
    this.#giving = true
    try {
      this.#giveOut()
    } finally {
      this.#giving = false
    }
    this.#endIfDone()
  }

  #giveOut(): void {
    clearTimeout(this.#look)
    const idle = this.#paused || this.#stopping !== undefined || this.#broken !== undefined
    while (this.#inputs.waiting > 0 && !idle) {
      if (this.#held.size >= HELD_MOST && !this.#inputs.hasBack) break
      const worker = this.#free()
      if (!worker) {
        this.#hire()
        break
      }
      this.#give(worker, this.#inputs.take(worker.size)!)
    }
    const drained = this.#inputEnd !== undefined && this.#inputs.waiting === 0 && !this.#paused
    for (const worker of this.#workers) {
      if (worker.held === 0 && !worker.leaving && (drained || worker.lanes === 0)) worker.dismiss()
    }
  }

  /** Whoever has least, if it has room. */
  #free(): MapWorker | undefined {
    let free: MapWorker | undefined
    for (const worker of this.#workers) {
      const { ready, away, leaving, held, lanes, size, parts } = worker
      if (!ready || away || leaving || lanes === 0) continue
      const room = held < lanes || (size >= AHEAD_FROM && parts.length === 1)
      if (room && (!free || held < free.held)) free = worker
    }
    return free
  }

  #hire(): void {
    for (;;) {
      const may = this.#crew.may(this.#workers, this.#throttle)
      if (may === 'never') return
      if (may === 'soon') {
        this.#look = setTimeout(() => this.#dispatch(), SLOW_MS)
        return
      }
      this.#workers.add(this.#crew.hire(++this.#hired, this.#spec, this.#events))
      this.#crew.share(this.#workers, this.#throttle)
    }
  }

  #give(worker: MapWorker, part: Part): void {
    if (this.#ordered) this.#place(worker, part)
    worker.give(part)
    if (this.#itemTimeout === undefined || !(worker instanceof ThreadWorker)) return
    // An item that lets nothing else run cannot be told that its time is over.
    worker.parts.at(-1)!.limit = new Alarm(this.#itemTimeout + TIMEOUT_GRACE, () => worker.kill())
  }

  /** Its records have a place among those of the other parts. */
  #place(worker: MapWorker, part: Part): void {
    if (!this.#held.has(part.seq)) return void this.#held.set(part.seq, { chunks: [], done: false })
    // What somebody else left: it may come before parts this worker has done, and must not wait for credit that they owe.
    for (const { chunks } of this.#held.values()) {
      for (const { worker: from, chunk } of chunks) {
        if (from !== worker || this.#advanced.has(chunk)) continue
        this.#advanced.add(chunk)
        worker.execution.credit(chunk.bytes.byteLength)
      }
    }
  }

  // ── taking in ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #onBegun(worker: MapWorker): void {
    this.#crew.share(this.#workers, this.#throttle)
    if (this.#stopping) return worker.stop(this.#stopping)
    this.#dispatch()
  }

  /** A worker says all of a part before it says that it is through with it. */
  #onChunk(worker: MapWorker | undefined, seq: number | undefined, chunk: RawChunk): void {
    const failed = failedItems(chunk)
    this.#items.failed += failed.length
    const held = seq === undefined ? undefined : this.#held.get(seq)
    if (held && seq !== this.#head) held.chunks.push({ worker, chunk, failed })
    else this.#pass({ worker, chunk, failed })
  }

  #pass({ worker, chunk, failed }: Held): void {
    const owed = this.#advanced.has(chunk) ? undefined : worker
    this.#owed.push({ worker: owed, bytes: chunk.bytes.byteLength })
    for (const { index, at, error } of failed) {
      this.#items.add(index, this.#passed + at)
      if (this.#errors.length < ItemsFailedError.KEPT) this.#errors.push(error)
    }
    this.#passed += chunk.count
    this.#io.chunk(chunk)
  }

  #onDone(worker: MapWorker, seq: number): void {
    const given = worker.release(seq)
    if (!given) return
    this.#barren = 0
    const { part, begunAt } = given
    const took = performance.now() - begunAt
    const count = part.to - part.from
    const { partMs, partMost } = this.#crew
    // A thread that has to be ended takes one item along.
    if (this.#itemTimeout === undefined || !(worker instanceof ThreadWorker)) {
      if (took < partMs && count === worker.size) worker.size = Math.min(worker.size * 2, partMost)
      else if (took > partMs * 4) worker.size = Math.max(1, worker.size >> 1)
    }
    // The next one begins now.
    if (worker.lanes === 1 && worker.parts[0]) worker.parts[0].begunAt = performance.now()
    this.#close(part, count)
    this.#dispatch()
    this.#sayIfStill()
  }

  /** So many items of the part, the last ones, are done. Ordered: lets out what waited for it. */
  #close({ seq, chunk }: Part, count: number): void {
    this.#settleBlock(chunk, count)
    const own = this.#held.get(seq)
    if (!own) return
    own.done = true
    for (let held = this.#held.get(this.#head); held; held = this.#held.get(this.#head)) {
      for (const one of held.chunks.splice(0)) this.#pass(one)
      if (!held.done) return
      this.#held.delete(this.#head++)
    }
  }

  /** Whoever gave us the block hears that it is done, behind all it said. */
  #settleBlock(chunk: InputChunk, count: number): void {
    chunk.left -= count
    if (chunk.left > 0 || chunk.block === undefined) return
    const mark = { worker: undefined, chunk: markChunk(chunk.block), failed: [] }
    const held = this.#held.get(chunk.lastSeq)
    if (held) held.chunks.push(mark)
    else this.#pass(mark)
  }

  // ── whoever leaves ──────────────────────────────────────────────────────────────────────────────────────────────────

  #onEnded(worker: MapWorker, ending: Ending): void {
    this.#workers.delete(worker)
    this.#doneBefore += worker.done
    this.#crew.share(this.#workers, this.#throttle)
    const left = worker.leaving && worker.held === 0
    if (!left && !this.#stopping && !this.#broken) {
      if (worker instanceof ThreadWorker) this.#onDeath(worker, ending)
      else this.#onLoss(worker, endingError(ending))
    }
    this.#dispatch()
    this.#sayIfAway()
    this.#sayIfStill()
  }

  /** The items under way have failed; those it had not begun go to another. */
  #onDeath(worker: ThreadWorker, ending: Ending): void {
    const error = endingError(ending)
    // The script itself cannot be run: no item can be done.
    if (codeOf(error) !== 'ENGINE_EXIT') return this.#break(error, ending.outcome === 'failed' && ending.said === true)
    const { begun } = worker.page
    this.#barren = begun === 0 ? this.#barren + 1 : 0
    if (this.#barren >= BARREN_MOST) return this.#break(error)
    const underWay = worker.page.underWay()
    for (const given of worker.parts.slice()) {
      const { part, before } = given
      const from = Math.min(part.to, part.from + Math.max(0, begun - before))
      const { first } = part.chunk
      for (const index of underWay) {
        if (index < first + part.from || index >= first + from) continue
        this.#doneBefore++
        this.#say(worker, part.seq, index, this.#deathOf(index, given, error as EngineExitError))
      }
      worker.release(part.seq)
      if (from < part.to) {
        this.#settleBlock(part.chunk, from - part.from)
        this.#inputs.giveBack({ ...part, from })
      } else this.#close(part, part.to - part.from)
    }
  }

  #deathOf(index: number, { begunAt }: Given, { message, exitCode }: EngineExitError): Error {
    const limit = this.#itemTimeout
    return limit !== undefined && performance.now() - begunAt >= limit
      ? new TimeoutError(`item ${index} took longer than ${limit} ms, and its thread was ended`)
      : new EngineExitError(`item ${index} was lost: ${message}`, { exitCode })
  }

  /** What a peer was given and has not said to be done may have been done or not: nobody does it again. */
  #onLoss(worker: MapWorker, error: Error): void {
    const { place, parts } = worker
    for (const { part } of parts.slice()) {
      for (let at = part.from; at < part.to; at++) {
        const index = part.chunk.first + at
        const text = `item ${index} was given to ${place}, and whether it was done is unknown: ${error.message}`
        this.#doneBefore++
        this.#say(worker, part.seq, index, new PeerLostError(text))
      }
      worker.release(part.seq)
      this.#close(part, part.to - part.from)
    }
    const others = this.#workers.size > 0 || this.#crew.may(this.#workers, this.#throttle) !== 'never'
    const rest = this.#inputs.waiting > 0 || !this.#inputEnd
    if (!others && rest) return this.#break(error)
    const text = `${place} takes no more part in it: ${error.message}`
    this.#onChunk(undefined, undefined, singleRecord('warning', text))
  }

  #say(worker: MapWorker, seq: number, index: number, error: Error): void {
    const said = Object.assign(error, { item: index })
    this.#onChunk(worker, seq, singleRecord('error', said, index))
  }

  #break(error: Error, said = false): void {
    this.#broken ??= { error, said }
    this.#inputs.drop()
    for (const worker of this.#workers) worker.stop({ grace: 0 })
  }

  /** It can go on as long as one of them can be reached. */
  #sayIfAway(): void {
    if (this.#away || !this.#awayFor || this.#workers.size === 0) return
    if ([...this.#workers].some(({ away }) => !away)) return
    this.#away = true
    this.#io.lost?.(this.#awayFor)
  }

  #onBack(): void {
    if (this.#away) this.#io.back?.()
    this.#away = false
    this.#dispatch()
  }

  #sayIfStill(): void {
    if (this.#paused && [...this.#workers].every(({ still, held }) => still || held === 0)) this.#io.suspended?.()
  }

  #endIfDone(): void {
    if (this.#over || this.#workers.size > 0) return
    const drained = this.#inputEnd !== undefined && this.#inputs.waiting === 0
    if (!drained && !this.#stopping && !this.#broken) return
    this.#over = true
    clearTimeout(this.#look)
    for (const { chunks } of this.#held.values()) for (const one of chunks) this.#pass(one)
    this.#held.clear()
    this.#io.ended(this.#ending())
    this.#settle()
  }

  #ending(): Ending {
    if (this.#stopping) return { outcome: 'stopped' }
    if (this.#broken) return { outcome: 'failed', ...this.#broken }
    if (this.#inputEnd?.error) return { outcome: 'failed', error: this.#inputEnd.error }
    const { failed } = this.#items
    if (failed === 0 || this.#spec.work.map!.shared === true) return { outcome: 'completed', streamed: true }
    // Each of them is in the log, in its place.
    return { outcome: 'failed', error: new ItemsFailedError(failed, this.#inputs.taken, this.#errors), said: true }
  }
}
