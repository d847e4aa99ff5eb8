// A runspace: one isolate that keeps its variables from one run to the next. One run at a time; its owner sees to that.
// A run that will not stop takes the isolate with it; the next run begins in a new, empty one (epoch + 1).
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import { LaneEngine, type Isolate, type OpenSessionLink } from './lane.ts'
import { CommandEngine } from './command.ts'
import type { Completion } from '../surface.ts'
import { NO_COMPLETION } from '../wire.ts'

export class RunspaceEngine implements Engine {
  readonly #start: () => Isolate
  readonly #openLink: OpenSessionLink
  readonly #onLost: () => void
  readonly #commands = new CommandEngine()
  #lane: LaneEngine | undefined
  #disposed = false

  /** `onLost`: the isolate ended and took the variables with it. */
  constructor(start: () => Isolate, openLink: OpenSessionLink, onLost: () => void) {
    this.#start = start
    this.#openLink = openLink
    this.#onLost = onLost
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    if (spec.work.kind === 'command') return this.#commands.start(spec, io)
    return (this.#lane ??= this.#open()).start(spec, io)
  }

  async complete(text: string): Promise<Completion> {
    try {
      return await (this.#lane ??= this.#open()).complete(text)
    } catch {
      return NO_COMPLETION // no isolate can be begun now: a line that is run says why
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    await Promise.all([this.#lane?.[Symbol.asyncDispose](), this.#commands[Symbol.asyncDispose]()])
  }

  #open(): LaneEngine {
    const isolate = this.#start()
    isolate.hold(false)
    const lane = new LaneEngine(isolate, this.#openLink)
    void isolate.exited.then(() => {
      if (this.#lane === lane) this.#lane = undefined
      if (!this.#disposed) this.#onLost()
    })
    return lane
  }
}
