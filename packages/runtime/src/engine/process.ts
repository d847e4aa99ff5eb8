// Background jobs: each script in a process of its own, each command as the process it is. No limit of its own: as
// PowerShell's Start-Job, all start at once. One spare process is kept warm for scripts once the first has run.
import { CommandEngine } from './command.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import { LaneEngine, type Isolate, type OpenSessionLink } from './lane.ts'
import { startProcess } from './process-isolate.ts'
import { singleRecord } from '../record.ts'

interface Process {
  readonly isolate: Isolate
  readonly lane: LaneEngine
  /** Where lines of its own stdout and stderr go. */
  onLine: ((line: string) => void) | undefined
}

export class ProcessEngine implements Engine {
  readonly #openLink: OpenSessionLink
  readonly #commands = new CommandEngine()
  readonly #working = new Set<LaneEngine>()
  #spare: Process | undefined
  #disposed = false

  constructor(options: { openLink: OpenSessionLink }) {
    this.#openLink = options.openLink
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    if (spec.work.kind === 'command') return this.#commands.start(spec, io)
    const process = this.#take()
    const { isolate, lane } = process
    process.onLine = (line) => io.chunk(singleRecord('information', line))
    this.#working.add(lane)
    return lane.start(spec, {
      chunk: (chunk) => io.chunk(chunk),
      started: (pid) => io.started?.(pid),
      // The process goes with its job, with whatever it started; the job has ended when all are gone.
      ended: (ending) => {
        isolate.kill()
        void isolate.exited.then(() => {
          this.#working.delete(lane)
          io.ended(ending)
        })
      },
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    const lanes = [...this.#working, ...(this.#spare ? [this.#spare.lane] : [])]
    this.#spare = undefined
    await Promise.all([this.#commands[Symbol.asyncDispose](), ...lanes.map((lane) => lane[Symbol.asyncDispose]())])
  }

  #take(): Process {
    const taken = this.#spare ?? this.#make()
    this.#spare = undefined
    setImmediate(() => {
      if (!this.#disposed) this.#spare ??= this.#make()
    }).unref()
    return taken
  }

  #make(): Process {
    let made: Process | undefined
    const isolate = startProcess({ serves: 'scripts', onLine: (line) => made?.onLine?.(line) })
    isolate.hold(false)
    made = { isolate, lane: new LaneEngine(isolate, this.#openLink), onLine: undefined }
    void isolate.exited.then(() => {
      if (this.#spare === made) this.#spare = undefined
    })
    return made
  }
}
