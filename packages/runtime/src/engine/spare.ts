// One isolate kept warm, so that the next job does not wait for a worker or a process to start.
import { LaneEngine, type Isolate, type OpenSessionLink } from './lane.ts'

export interface Warm {
  readonly isolate: Isolate
  readonly lane: LaneEngine
}

export class Spare {
  readonly #start: () => Isolate
  readonly #openLink: OpenSessionLink
  #kept: Warm | undefined
  #disposed = false

  constructor(start: () => Isolate, openLink: OpenSessionLink) {
    this.#start = start
    this.#openLink = openLink
  }

  /** One that was started for this job alone, with limits of its own. */
  make(start: () => Isolate): Warm {
    const isolate = start()
    return { isolate, lane: new LaneEngine(isolate, this.#openLink) }
  }

  /** The spare, or a new one; the next spare is started in the background, once this job is on its way. */
  take(): Warm {
    const taken = this.#kept ?? this.#make()
    this.#kept = undefined
    setImmediate(() => {
      if (!this.#disposed) this.#kept ??= this.#make()
    }).unref()
    return taken
  }

  async dispose(): Promise<void> {
    this.#disposed = true
    const kept = this.#kept
    this.#kept = undefined
    await kept?.lane[Symbol.asyncDispose]()
  }

  #make(): Warm {
    const made = this.make(this.#start)
    const { isolate } = made
    isolate.hold(false)
    // A spare that dies by itself is no spare.
    void isolate.exited.then(() => {
      if (this.#kept === made) this.#kept = undefined
    })
    return made
  }
}
