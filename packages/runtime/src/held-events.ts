// What is sent to a ref that follows while nobody is known to be meant: kept in order, encoded as it was when it was sent, for
// whoever is meant next. What waits here has been sent to nobody yet.
import { decode, encode } from '@errand/transport'
import { OUTBOX_BYTES, OUTBOX_EVENTS } from './actor-outbox.ts'
import { asError, LimitError } from './errors.ts'
import { untilAborted } from './output-log.ts'

/** What is to be asked when there is somebody. */
export interface HeldQuestion {
  readonly ask: () => void
  readonly reject: (reason: Error) => void
  readonly wanted: AbortSignal
  /** So long it waits, in ms; then `inTime` says why it was not asked. */
  readonly ms: number
  readonly inTime: () => Error
  /** It was on its way to another one: it comes before what was sent since. */
  readonly again: boolean
}

interface Held {
  readonly bytes: Uint8Array
  /** Of one that is waited for. */
  readonly waiter?: PromiseWithResolvers<void> | undefined
  /** Of a question. */
  readonly question?: Pick<HeldQuestion, 'ask' | 'reject' | 'again'> | undefined
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
    this.#add({ bytes: encode(event) })
  }

  /** Settles when it is in an inbox. Given up while it is here it is sent to nobody. @throws the same, and as `release` says */
  async tell(event: unknown, signal: AbortSignal | undefined): Promise<void> {
    const waiter = Promise.withResolvers<void>()
    waiter.promise.catch(() => undefined) // whoever gave it up
    const held = this.#add({ bytes: encode(event), waiter })
    await untilAborted(waiter.promise, signal)
    if (signal?.aborted) this.#drop(held)
    signal?.throwIfAborted()
    await waiter.promise
  }

  /** Asked in its place among what is sent. @throws LimitError: it was not kept */
  ask(bytes: Uint8Array, { ask, reject, wanted, ms, inTime, again }: HeldQuestion): void {
    const leave = (): void => {
      clearTimeout(timer)
      wanted.removeEventListener('abort', onAbort)
    }
    const giveUp = (reason: Error): void => {
      leave()
      this.#drop(held)
      reject(reason)
    }
    const onAbort = (): void => giveUp(asError(wanted.reason))
    const question = {
      again,
      ask: () => (leave(), ask()),
      reject: (reason: Error) => (leave(), reject(reason)),
    }
    const held = this.#add({ bytes, question })
    const timer = setTimeout(() => giveUp(inTime()), Math.max(0, ms))
    if (wanted.aborted) onAbort()
    else wanted.addEventListener('abort', onAbort, { once: true })
  }

  get size(): number {
    return this.#events.length
  }

  /** There is somebody: all of it goes there, in the same turn. */
  release(send: (event: unknown) => void, tell: (event: unknown) => Promise<void>): void {
    const events = this.#events
    this.#events = []
    this.#bytes = 0
    for (const { bytes, waiter, question } of events) {
      if (question) {
        question.ask()
        continue
      }
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
    for (const { bytes, waiter, question } of events) {
      if (waiter ?? question) (waiter ?? question)!.reject(reason)
      else this.#refused(reason, decode(bytes))
    }
  }

  #add(held: Held): Held {
    if (this.#events.length >= OUTBOX_EVENTS || this.#bytes >= OUTBOX_BYTES) {
      throw new LimitError(`${this.#events.length} events wait for whoever has the name next`)
    }
    this.#bytes += held.bytes.byteLength
    const at = held.question?.again ? this.#events.findIndex(({ question }) => !question?.again) : -1
    this.#events.splice(at < 0 ? this.#events.length : at, 0, held)
    return held
  }

  #drop(held: Held): void {
    const index = this.#events.indexOf(held)
    if (index < 0) return
    this.#events.splice(index, 1)
    this.#bytes -= held.bytes.byteLength
  }
}
