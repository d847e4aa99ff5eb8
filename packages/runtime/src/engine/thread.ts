// Thread jobs: each in a worker of its own, at most so many at once, first come first served.
// A worker that ran a job is not used again: what a script left behind (timers, globals) ends with it. One spare is kept
// warm, so that the next job does not wait for a worker to start.
import { EngineExitError } from '../errors.ts'
import { DeferredExecution } from './deferred-execution.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import type { LaneEngine, OpenSessionLink } from './lane.ts'
import { MapEngine } from './map.ts'
import { Spare, type Warm } from './spare.ts'
import { startWorker } from './worker-isolate.ts'

/** Thread jobs at once; PowerShell's default ThrottleLimit. */
export const THREADS = 5

interface Queued {
  readonly spec: ExecutionSpec
  readonly io: ExecutionIO
  readonly execution: DeferredExecution
}

export class ThreadEngine implements Engine {
  #most: number
  readonly #queue: Queued[] = []
  readonly #working = new Set<LaneEngine>()
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
      ...[...this.#working].map((lane) => lane[Symbol.asyncDispose]()),
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
      const { isolate, lane } = this.#take(queued.spec.work.maxMemory)
      this.#working.add(lane)
      const working = lane.start(queued.spec, {
        ...queued.io,
        // The worker goes with its job; the job has ended when the worker is gone.
        ended: (ending) => {
          isolate.kill()
          void isolate.exited.then(() => {
            this.#working.delete(lane)
            queued.io.ended(ending)
            this.#next()
          })
        },
      })
      queued.execution.begin(working, queued.io)
    }
    if (this.#disposed) {
      const error = new EngineExitError('the threads of this session have ended')
      for (const { io } of this.#queue.splice(0)) io.ended({ outcome: 'failed', error })
    }
  }
}
