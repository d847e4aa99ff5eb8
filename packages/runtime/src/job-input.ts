// What was sent to a job and not read by it yet: in order, whoever sends, and bounded.
import { InputClosedError, LimitError } from './errors.ts'
import type { Execution } from './engine/engine.ts'
import { CREDIT_BYTES, type RawChunk } from './record.ts'

/** Bytes waiting here beyond which `send` waits. */
const HIGH = CREDIT_BYTES
/** Bytes waiting here beyond which `send` refuses: for senders who do not wait. */
const FULL = 16 * 1024 * 1024
/** What a chunk that waits costs beside its bytes, so that a flood of tiny ones is bounded too. */
const CHUNK_COST = 128

export class JobInput {
  readonly #queue: RawChunk[] = []
  #bytes = 0
  #credit = CREDIT_BYTES
  #execution: Execution | undefined
  #ending: { readonly error?: Error | undefined } | undefined
  #endTold = false
  /** Why, for whoever asks: an error of its own for each. */
  #closed: (() => Error) | undefined
  #senders: PromiseWithResolvers<void>[] = []

  /** Settles when there is room for more. @throws InputClosedError, LimitError: then nothing was taken */
  send(chunk: RawChunk): Promise<void> {
    const closed = this.#closed?.() ?? (this.#ending && new InputClosedError('its input has been ended'))
    if (closed) return Promise.reject(closed)
    // It holds nothing, and would take room.
    if (chunk.bytes.byteLength === 0) return Promise.resolve()
    if (this.#bytes + chunk.bytes.byteLength + CHUNK_COST * this.#queue.length > FULL) {
      return Promise.reject(
        new LimitError(`more than ${FULL >> 20} MiB of input wait to be read`, {
          hint: 'await `send` before sending more',
        }),
      )
    }
    this.#queue.push(chunk)
    this.#bytes += chunk.bytes.byteLength
    this.#drain()
    if (this.#bytes <= HIGH) return Promise.resolve()
    const room = Promise.withResolvers<void>()
    this.#senders.push(room)
    return room.promise
  }

  /** Idempotent: the first word counts. */
  end(error?: Error): void {
    this.#ending ??= { error }
    this.#drain()
  }

  /** Where it goes from now on. Another attempt of the job: what the one before took is gone, the rest is given to it. */
  attach(execution: Execution): void {
    this.#execution = execution
    this.#credit = CREDIT_BYTES
    this.#endTold = false
    this.#drain()
  }

  /** The job has read so many bytes. */
  read(bytes: number): void {
    this.#credit += bytes
    this.#drain()
  }

  /** Nobody reads any more: whoever waits is told why. */
  close(reason: () => Error): void {
    if (this.#closed) return
    this.#closed = reason
    this.#queue.length = 0
    this.#bytes = 0
    for (const sender of this.#senders.splice(0)) sender.reject(reason())
  }

  #drain(): void {
    const execution = this.#execution
    if (!execution || this.#closed) return
    while (this.#credit > 0) {
      const chunk = this.#queue.shift()
      if (!chunk) break
      this.#bytes -= chunk.bytes.byteLength
      this.#credit -= chunk.bytes.byteLength
      execution.input?.(chunk)
    }
    if (this.#bytes <= HIGH) for (const sender of this.#senders.splice(0)) sender.resolve()
    if (this.#ending && !this.#endTold && this.#queue.length === 0) {
      this.#endTold = true
      execution.endInput?.(this.#ending.error)
    }
  }
}
