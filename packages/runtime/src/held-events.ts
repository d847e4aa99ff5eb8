// What is sent to a ref that follows while nobody is known to be meant: kept in order, encoded as it was when it was sent, for
// whoever is meant next. What waits here has been sent to nobody yet.
import { decode, encode } from '@errand/transport'
import { OUTBOX_BYTES, OUTBOX_EVENTS } from './actor-outbox.ts'
import { asError, LimitError } from './errors.ts'
import { untilAborted } from './output-log.ts'

interface Held {
  readonly bytes: Uint8Array
  /** Of one that is waited for. */
  readonly waiter: PromiseWithResolvers<void> | undefined
}

export class HeldEvents {
  readonly #refused: (error: Error, event: unknown) => void
  #events: Held[] = []
  #bytes = 0

  /** `refused`: told of those that nobody waits for. */
  constructor(refused: (error: Error, event: unknown) => void) {
    this.#refused = refused
  }

  /** @throws LimitError, NotTransferableError: nothing was kept */
  send(event: unknown): void {
    this.#add(event, undefined)
  }

  /** Settles when it is in an inbox. Given up while it is here it is sent to nobody. @throws the same, and as `release` says */
  async tell(event: unknown, signal: AbortSignal | undefined): Promise<void> {
    const waiter = Promise.withResolvers<void>()
    waiter.promise.catch(() => undefined) // whoever gave it up
    const held = this.#add(event, waiter)
    await untilAborted(waiter.promise, signal)
    if (signal?.aborted) this.#drop(held)
    signal?.throwIfAborted()
    await waiter.promise
  }

  get size(): number {
    return this.#events.length
  }

  /** There is somebody: all of it goes there, in the same turn. */
  release(send: (event: unknown) => void, tell: (event: unknown) => Promise<void>): void {
    const events = this.#events
    this.#events = []
    this.#bytes = 0
    for (const { bytes, waiter } of events) {
      const event: unknown = decode(bytes)
      if (waiter) tell(event).then(waiter.resolve, waiter.reject)
      else {
        try {
          send(event)
        } catch (error) {
          this.#refused(asError(error), event)
        }
      }
    }
  }

  /** There will never be anybody. */
  end(reason: Error): void {
    const events = this.#events
    this.#events = []
    this.#bytes = 0
    for (const { bytes, waiter } of events) {
      if (waiter) waiter.reject(reason)
      else this.#refused(reason, decode(bytes))
    }
  }

  #add(event: unknown, waiter: Held['waiter']): Held {
    if (this.#events.length >= OUTBOX_EVENTS || this.#bytes >= OUTBOX_BYTES) {
      throw new LimitError(`${this.#events.length} events wait for whoever has the name next`)
    }
    const held = { bytes: encode(event), waiter }
    this.#bytes += held.bytes.byteLength
    this.#events.push(held)
    return held
  }

  #drop(held: Held): void {
    const index = this.#events.indexOf(held)
    if (index < 0) return
    this.#events.splice(index, 1)
    this.#bytes -= held.bytes.byteLength
  }
}
