// Thread jobs: each in a worker of its own, at most so many at once, first come first served.
// A worker that ran a job is not used again: what a script left behind (timers, globals) ends with it. One spare is kept
// warm, so that the next job does not wait for a worker to start.
import type { StopRequest } from '../job-machine.ts'
import { EngineExitError } from '../errors.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import { LaneEngine, type Isolate, type OpenSessionLink } from './lane.ts'
import { startWorker } from './worker-isolate.ts'

/** Thread jobs at once; PowerShell's default ThrottleLimit. */
export const THREADS = 5

interface Queued {
  readonly spec: ExecutionSpec
  readonly io: ExecutionIO
  execution: Execution | undefined
  credit: number
}

export class ThreadEngine implements Engine {
  readonly #openLink: OpenSessionLink
  readonly #most: number
  readonly #queue: Queued[] = []
  readonly #working = new Set<LaneEngine>()
  #spare: { isolate: Isolate; lane: LaneEngine } | undefined
  #disposed = false

  constructor(options: { openLink: OpenSessionLink; threads?: number }) {
    this.#openLink = options.openLink
    this.#most = options.threads ?? THREADS
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    const queued: Queued = { spec, io, execution: undefined, credit: 0 }
    this.#queue.push(queued)
    this.#next()
    return {
      credit: (bytes) => queued.execution?.credit(bytes),
      stop: (request: StopRequest) => {
        if (queued.execution) return queued.execution.stop(request)
        const place = this.#queue.indexOf(queued)
        if (place < 0) return
        this.#queue.splice(place, 1)
        io.ended({ outcome: 'stopped' })
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    for (const { io } of this.#queue.splice(0)) io.ended({ outcome: 'stopped' })
    const lanes = [...this.#working, ...(this.#spare ? [this.#spare.lane] : [])]
    this.#spare = undefined
    await Promise.all(lanes.map((lane) => lane[Symbol.asyncDispose]()))
  }

  #next(): void {
    while (this.#working.size < this.#most && !this.#disposed) {
      const queued = this.#queue.shift()
      if (!queued) return
      const { isolate, lane } = this.#take()
      this.#working.add(lane)
      queued.execution = lane.start(queued.spec, {
        chunk: (chunk) => queued.io.chunk(chunk),
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
    }
    if (this.#disposed) {
      const error = new EngineExitError('the threads of this session have ended')
      for (const { io } of this.#queue.splice(0)) io.ended({ outcome: 'failed', error })
    }
  }

  #take(): { isolate: Isolate; lane: LaneEngine } {
    const taken = this.#spare ?? this.#make()
    this.#spare = undefined
    // In the background, once this job is on its way.
    setImmediate(() => {
      if (!this.#disposed) this.#spare ??= this.#make()
    }).unref()
    return taken
  }

  #make(): { isolate: Isolate; lane: LaneEngine } {
    const isolate = startWorker()
    isolate.hold(false)
    const made = { isolate, lane: new LaneEngine(isolate, this.#openLink) }
    // A spare that dies by itself is no spare.
    void isolate.exited.then(() => {
      if (this.#spare === made) this.#spare = undefined
    })
    return made
  }
}
