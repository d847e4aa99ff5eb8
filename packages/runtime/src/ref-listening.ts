// What a ref hears of what one actor emits: records of the job that it is, from the moment this is made.
import { asError, codeOf, LimitError, PeerLostError } from './errors.ts'
import type { JobReading } from './link.ts'
import { untilAborted } from './output-log.ts'
import { recordsOf } from './record.ts'
import type { ReadRequest } from './wire.ts'

/** Too much is listened to: it is tried again after so long, in ms. */
const AGAIN_MS = 1_000
/** What comes no more for so long after the actor has ended is waited for no longer, in ms. */
const LATE_MS = 2_000

export interface Listener {
  emitted(event: { readonly type: string }): void
  /** It cannot be heard, or not all of it. */
  unheard(reason: Error): void
}

export class Listening {
  readonly #read: (request: ReadRequest, signal: AbortSignal) => JobReading
  readonly #listener: Listener
  readonly #over = new AbortController()
  readonly #done: Promise<void>
  /** Chunks so far. */
  #came = 0

  constructor(read: (request: ReadRequest, signal: AbortSignal) => JobReading, listener: Listener) {
    this.#read = read
    this.#listener = listener
    this.#done = this.#follow(this.#over.signal)
  }

  /** Nothing more is told. */
  end(): void {
    this.#over.abort()
  }

  /**
   * The actor has ended, which comes another way than what it emitted before that. Settles when all of it has been told; its
   * peer may be lost in between, and then nothing comes any more. Never rejects.
   */
  async toTheEnd(): Promise<void> {
    let seen = this.#came
    const timer = setInterval(() => {
      if (this.#came !== seen) return void (seen = this.#came)
      clearInterval(timer)
      if (this.#over.signal.aborted) return
      this.end()
      this.#listener.unheard(new PeerLostError('it has ended, and what it emitted last cannot be heard'))
    }, LATE_MS)
    await this.#done
    clearInterval(timer)
  }

  /** Never rejects. */
  async #follow(signal: AbortSignal): Promise<void> {
    let from: number | undefined
    for (let told = false; !signal.aborted;) {
      const request = { reader: 'owner', ...(from === undefined ? { tail: 0 } : { from }), follow: true }
      try {
        for await (const chunk of this.#read(request, signal)) {
          this.#came++
          from = chunk.first + chunk.count
          for (const record of recordsOf<{ type?: unknown } | null>(chunk)) {
            if (signal.aborted) return
            if (record.kind === 'gap') this.#listener.unheard(new LimitError(unheard(record.dropped)))
            else if (record.kind === 'output' && typeof record.value?.type === 'string')
              this.#listener.emitted(record.value as { type: string })
          }
        }
        return
      } catch (thrown) {
        // Anything else that keeps it from being read keeps it from being watched, and is told there.
        if (codeOf(thrown) !== 'LIMIT') return
        if (!told) this.#listener.unheard(asError(thrown))
        told = true
      }
      // More read over this link than it takes: somebody may let go.
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, AGAIN_MS).unref()
      await untilAborted(promise, signal)
      clearTimeout(timer)
    }
  }
}

function unheard(records: number): string {
  return `it emitted faster than it is heard: ${records} of what it said are gone`
}
