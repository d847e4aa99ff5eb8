// Thread jobs: each in a worker of its own, at most so many at once, first come first served.
// What a script leaves behind (timers, globals, modules) ends with it: its worker goes with the job. A script that can be
// seen to leave nothing has a worker that another had before it, for starting one costs as much as a thousand small jobs.
// One spare is kept warm, so that the next job does not wait for a worker to start.
import { EngineExitError } from '../errors.ts'
import type { Ending } from '../job-machine.ts'
import type { Traces, tracesOf } from '../script-traces.ts'
import type { WorkSpec } from '../wire.ts'
import { DeferredExecution } from './deferred-execution.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import type { LaneExecution, OpenSessionLink } from './lane.ts'
import { MapEngine } from './map.ts'
import { Spare, type Warm } from './spare.ts'
import { startWorker } from './worker-isolate.ts'

/** Thread jobs at once; PowerShell's default ThrottleLimit. */
export const THREADS = 5

/** Loaded beside the first job: most peers have no need of a parser. */
let reads: typeof tracesOf | undefined

/**
 * Jobs that a thread is given beside the one it is at, when all are at work: a thread that waits for its next job sleeps,
 * and waking it takes longer than a small job. They are taken back when another thread is free before, or when the thread
 * is at one that is not small: no job waits longer than that behind one that came later.
 */
const AHEAD = 30
const SMALL_MS = 2
/** Arguments of a job that is given ahead, in bytes: a thread at work keeps them until it looks, also of those taken back. */
const SMALL_BYTES = 4096

interface Queued {
  /** In the order they came. */
  readonly n: number
  readonly spec: ExecutionSpec
  readonly io: ExecutionIO
  readonly traces: Traces
  /** It may be given ahead. */
  readonly small: boolean
  readonly execution: DeferredExecution
  /** It may begin; undefined before that was asked. */
  may: boolean | undefined
}

/** In a thread that has another before it. */
interface Given {
  readonly queued: Queued
  readonly working: LaneExecution
}

/** A thread at work. */
interface Busy {
  readonly warm: Warm
  /** What it is at, and since when (`performance.now()`). */
  at: Queued
  since: number
  /** It is to be given nothing ahead: what it is at is being stopped, or takes its time. */
  alone: boolean
  readonly ahead: Given[]
}

export class ThreadEngine implements Engine {
  #most: number
  #last = 0
  readonly #queue: Queued[] = []
  readonly #working = new Set<Busy>()
  readonly #spare: Spare
  /** By the memory limit of their threads. */
  readonly #maps = new Map<number | undefined, MapEngine>()
  #look: NodeJS.Timeout | undefined
  #disposed = false

  constructor(options: { openLink: OpenSessionLink; threads?: number }) {
    this.#spare = new Spare(startWorker, options.openLink)
    this.#most = options.threads ?? THREADS
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    if (spec.work.map) return this.#mapsWith(spec.work.maxMemory).start(spec, io)
    const execution = new DeferredExecution(() => {
      if (!this.#withdraw(queued)) return false
      io.ended({ outcome: 'stopped' })
      return true
    })
    const traces = spec.setUp ? 'some' : tracesLeft(spec.work)
    const small = traces === 'none' && (spec.work.payload?.byteLength ?? 0) <= SMALL_BYTES
    const queued: Queued = { n: ++this.#last, spec, io, traces, small, execution, may: undefined }
    this.#queue.push(queued)
    this.#next()
    return execution
  }

  queues(work: WorkSpec): boolean {
    return !work.map && (this.#queue.length > 0 || this.#working.size >= this.#most)
  }

  throttle(most: number): void {
    this.#most = most
    // Where there are too many threads now, none goes on with what it has not begun.
    if (this.#working.size > most) for (const busy of this.#working) this.#takeBack(busy)
    this.#next()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    clearTimeout(this.#look)
    for (const busy of this.#working) this.#takeBack(busy)
    for (const { io } of this.#queue.splice(0)) io.ended({ outcome: 'stopped' })
    await Promise.all([
      ...[...this.#maps.values()].map((maps) => maps[Symbol.asyncDispose]()),
      this.#spare.dispose(),
      ...[...this.#working].map(({ warm }) => warm.lane[Symbol.asyncDispose]()),
    ])
  }

  #take(maxMemory: number | undefined): Warm {
    return maxMemory === undefined ? this.#spare.take() : this.#spare.make(() => startWorker({ maxMemory }))
  }

  #mapsWith(maxMemory: number | undefined): MapEngine {
    const maps = this.#maps.get(maxMemory) ?? new MapEngine({ take: () => this.#take(maxMemory) })
    this.#maps.set(maxMemory, maps)
    return maps
  }

  #next(): void {
    if (this.#disposed) {
      const error = new EngineExitError('the threads of this session have ended')
      for (const { io } of this.#queue.splice(0)) io.ended({ outcome: 'failed', error })
      return
    }
    this.#askFirst(this.#most - this.#working.size)
    while (this.#working.size < this.#most) {
      // What was given ahead came before most of what waits here.
      const queued = this.#takeOldest() ?? this.#shift()
      if (!queued) return
      const warm = this.#take(queued.spec.work.maxMemory)
      const busy: Busy = { warm, at: queued, since: performance.now(), alone: queued.traces !== 'none', ahead: [] }
      this.#working.add(busy)
      queued.execution.begin(this.#give(busy, queued, false), queued.io)
    }
    for (let busy = this.#leastGiven(); busy && this.#queue[0]?.small; busy = this.#leastGiven()) {
      this.#askFirst(AHEAD, true)
      if (!this.#queue[0].may) return
      // As many as it may have: they travel together.
      while (busy.ahead.length < AHEAD && this.#queue[0]?.small && this.#queue[0].may) {
        const queued = this.#queue.shift()!
        busy.ahead.push({ queued, working: this.#give(busy, queued, true) })
      }
      this.#look ??= setTimeout(() => this.#lookForSlow(), SMALL_MS).unref()
    }
  }

  /** Asks for the first so many, or those before one that is not small: asked together, they are written down together. */
  #askFirst(many: number, small = false): void {
    for (let place = 0; place < many; place++) {
      const queued = this.#queue[place]
      if (!queued || (small && !queued.small)) return
      this.#mayBegin(queued)
    }
  }

  /** The first in the queue, if it may begin. */
  #shift(): Queued | undefined {
    const [first] = this.#queue
    return first && this.#mayBegin(first) ? this.#queue.shift() : undefined
  }

  /** False: that is being asked, and looked at again then. Where the answer is no, the job is stopped by who was asked. */
  #mayBegin(queued: Queued): boolean {
    if (queued.may !== undefined) return queued.may
    const asked = queued.io.mayBegin?.()
    queued.may = asked === undefined
    asked?.then(
      () => {
        queued.may = true
        this.#next()
      },
      () => undefined,
    )
    return queued.may
  }

  #lookForSlow(): void {
    const before = performance.now() - SMALL_MS
    this.#look = undefined
    let given = false
    for (const busy of this.#working) {
      if (busy.ahead.length === 0) continue
      if (busy.since > before) given = true
      else {
        busy.alone = true
        this.#takeBack(busy)
      }
    }
    if (given) this.#look = setTimeout(() => this.#lookForSlow(), SMALL_MS).unref()
    this.#next()
  }

  #give(busy: Busy, queued: Queued, ahead: boolean): LaneExecution {
    return busy.warm.lane.start(queued.spec, queued.io, {
      ahead,
      tells: queued.traces === 'late' ? 'rests' : '',
      ended: (ending, rests) => this.#ended(busy, queued, ending, rests),
      onStop: () => {
        busy.alone = true
        return this.#takeBack(busy)
      },
    })
  }

  /** A thread that will soon have nothing ahead; none while there are more than there may be. */
  #leastGiven(): Busy | undefined {
    if (this.#working.size > this.#most) return undefined
    let least: Busy | undefined
    for (const busy of this.#working) {
      if (!busy.alone && busy.ahead.length < (least?.ahead.length ?? AHEAD / 2)) least = busy
    }
    return least
  }

  #ended(busy: Busy, queued: Queued, ending: Ending, rests: boolean): void {
    const { isolate, lane } = busy.warm
    const asItWas =
      (queued.traces === 'none' || (queued.traces === 'late' && rests)) &&
      ending.outcome !== 'stopped' &&
      !isolate.killed &&
      !lane.gone
    const next = asItWas ? busy.ahead.shift() : undefined
    if (next) {
      // The thread has begun it by itself.
      busy.at = next.queued
      busy.since = performance.now()
      busy.alone = false
      // First the ending: there are never more at work than there are threads.
      queued.io.ended(ending)
      next.queued.execution.begin(next.working, next.queued.io)
      this.#next()
      return
    }
    // Until it is gone it counts as at work, but begins nothing any more.
    busy.alone = true
    this.#takeBack(busy)
    const over = (): void => {
      this.#working.delete(busy)
      queued.io.ended(ending)
      this.#next()
    }
    if (asItWas && this.#spare.give(busy.warm)) return over()
    // The worker goes with its job; the job has ended when the worker is gone.
    isolate.kill()
    void isolate.exited.then(over)
  }

  /** Its turn has not come, nor will it. False: it has. */
  #withdraw(queued: Queued): boolean {
    const place = this.#queue.indexOf(queued)
    if (place >= 0) return this.#queue.splice(place, 1).length > 0
    for (const { ahead } of this.#working) {
      const at = ahead.findIndex((given) => given.queued === queued)
      if (at < 0) continue
      if (!ahead[at]!.working.takeBack?.()) return false
      ahead.splice(at, 1)
      return true
    }
    return false
  }

  /** What this thread was given ahead waits for another. False: it has begun some of it, and with it ended what it was at. */
  #takeBack({ ahead }: Busy): boolean {
    const kept: Given[] = []
    for (const given of ahead.splice(0).toReversed()) {
      if (given.working.takeBack?.()) this.#wait(given.queued)
      else kept.unshift(given)
    }
    ahead.push(...kept)
    return kept.length === 0
  }

  /** In its place among those that wait. */
  #wait(queued: Queued): void {
    const place = this.#queue.findIndex(({ n }) => n > queued.n)
    this.#queue.splice(place < 0 ? this.#queue.length : place, 0, queued)
  }

  /** Of what was given ahead and has not begun; undefined where an older one waits here, taken back from a slow thread. */
  #takeOldest(): Queued | undefined {
    const given = [...this.#working].flatMap(({ ahead }) => ahead.map((one) => ({ ahead, one })))
    for (const { ahead, one } of given.toSorted((a, b) => a.one.queued.n - b.one.queued.n)) {
      if (one.queued.n > (this.#queue[0]?.n ?? Infinity)) return undefined
      if (!one.working.takeBack?.()) continue
      ahead.splice(ahead.indexOf(one), 1)
      return one.queued
    }
    return undefined
  }
}

/** What is not the text of a function, or not looked at yet, may leave anything. */
function tracesLeft({ kind, source, prompt, env, init, maxMemory }: WorkSpec): Traces {
  if (kind !== 'function' || source === undefined || prompt || env || init || maxMemory) return 'some'
  if (!reads) void import('../script-traces.ts').then((module) => (reads = module.tracesOf))
  return reads?.(source) ?? 'some'
}
