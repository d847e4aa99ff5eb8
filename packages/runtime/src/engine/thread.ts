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
import type { OpenSessionLink } from './lane.ts'
import { MapEngine } from './map.ts'
import { Spare, type Warm } from './spare.ts'
import { startWorker } from './worker-isolate.ts'

/** Thread jobs at once; PowerShell's default ThrottleLimit. */
export const THREADS = 5

/** Loaded beside the first job: most peers have no need of a parser. */
let reads: typeof tracesOf | undefined

interface Queued {
  readonly spec: ExecutionSpec
  readonly io: ExecutionIO
  readonly execution: DeferredExecution
}

export class ThreadEngine implements Engine {
  #most: number
  readonly #queue: Queued[] = []
  readonly #working = new Set<Warm>()
  readonly #spare: Spare
  /** By the memory limit of their threads. */
  readonly #maps = new Map<number | undefined, MapEngine>()
  #disposed = false

  constructor(options: { openLink: OpenSessionLink; threads?: number }) {
    this.#spare = new Spare(startWorker, options.openLink)
    this.#most = options.threads ?? THREADS
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    if (spec.work.map) return this.#mapsWith(spec.work.maxMemory).start(spec, io)
    const execution = new DeferredExecution(() => {
      const place = this.#queue.findIndex((queued) => queued.execution === execution)
      if (place < 0) return
      this.#queue.splice(place, 1)
      io.ended({ outcome: 'stopped' })
    })
    this.#queue.push({ spec, io, execution })
    this.#next()
    return execution
  }

  throttle(most: number): void {
    this.#most = most
    this.#next()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    for (const { io } of this.#queue.splice(0)) io.ended({ outcome: 'stopped' })
    await Promise.all([
      ...[...this.#maps.values()].map((maps) => maps[Symbol.asyncDispose]()),
      this.#spare.dispose(),
      ...[...this.#working].map(({ lane }) => lane[Symbol.asyncDispose]()),
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
    while (this.#working.size < this.#most && !this.#disposed) {
      const queued = this.#queue.shift()
      if (!queued) return
      const warm = this.#take(queued.spec.work.maxMemory)
      const { isolate, lane } = warm
      this.#working.add(warm)
      const { spec, io } = queued
      const traces = tracesLeft(spec.work)
      const over = (ending: Ending): void => {
        this.#working.delete(warm)
        io.ended(ending)
        this.#next()
      }
      const ended = (ending: Ending, rests: boolean): void => {
        const asItWas = traces === 'none' || (traces === 'late' && rests)
        if (asItWas && ending.outcome !== 'stopped' && this.#spare.give(warm)) return over(ending)
        // The worker goes with its job; the job has ended when the worker is gone.
        isolate.kill()
        void isolate.exited.then(() => over(ending))
      }
      const working = lane.start(spec, io, { ended, tells: traces === 'late' ? 'rests' : '' })
      queued.execution.begin(working, queued.io)
    }
    if (this.#disposed) {
      const error = new EngineExitError('the threads of this session have ended')
      for (const { io } of this.#queue.splice(0)) io.ended({ outcome: 'failed', error })
    }
  }
}

/** What is not the text of a function, or not looked at yet, may leave anything. */
function tracesLeft({ kind, source, prompt, env, init, maxMemory }: WorkSpec): Traces {
  if (kind !== 'function' || source === undefined || prompt || env || init || maxMemory) return 'some'
  if (!reads) void import('../script-traces.ts').then((module) => (reads = module.tracesOf))
  return reads?.(source) ?? 'some'
}
