// What one process sends to one actor: what is sent in a turn leaves as one batch, one batch at a time, so that the order
// holds over reconnects; each event has a number, by which it is taken once however often its batch is asked for.
import { createChunkWriter, decodeChunk } from '@errand/transport'
import { asError, codeOf, LimitError } from './errors.ts'
import { untilAborted } from './output-log.ts'
import type { TellAnswer } from './hosted-actor.ts'
import type { SessionEvent } from './wire.ts'
import { TELL_MOST } from './wire.ts'

/** Events, and their bytes, that may wait here: for senders who do not wait. */
export const OUTBOX_EVENTS = 16_384
export const OUTBOX_BYTES: number = 4 * 1024 * 1024
/** A batch closes at this size; a larger event is one alone. */
const BATCH_BYTES = 48 * 1024

/** What becomes of one event. None: nobody waits for it. */
interface Waiter {
  resolve(): void
  reject(error: Error): void
}

interface Batch {
  readonly seq: number
  readonly count: number
  readonly bytes: Uint8Array
  readonly waiters: readonly (Waiter | undefined)[]
}

export class ActorOutbox {
  readonly #ask: (event: SessionEvent) => Promise<unknown>
  readonly #from: string
  readonly #epoch: number
  readonly #numbers: (count: number) => number
  readonly #onIdle: () => void
  #writer = createChunkWriter()
  #waiters: (Waiter | undefined)[] = []
  readonly #closed: Omit<Batch, 'seq'>[] = []
  #events = 0
  #bytes = 0
  #flowing: Promise<void> | undefined
  #begun = false
  /** It takes nothing more, for good. */
  #failed: Error | undefined
  readonly #refusals = new Set<(error: Error, event: unknown) => void>()

  /**
   * `numbers`: takes so many numbers and gives the first, each higher than any before in this process. `onIdle`: nothing
   * waits here any more.
   */
  constructor(
    from: string,
    epoch: number,
    numbers: (count: number) => number,
    ask: (event: SessionEvent) => Promise<unknown>,
    onIdle: () => void,
  ) {
    this.#from = from
    this.#epoch = epoch
    this.#numbers = numbers
    this.#ask = ask
    this.#onIdle = onIdle
  }

  /** Told of events that nobody waits for and that were refused, until the returned function is called. */
  onRefused(listener: (error: Error, event: unknown) => void): () => void {
    this.#refusals.add(listener)
    return () => {
      this.#refusals.delete(listener)
      if (this.idle) this.#onIdle()
    }
  }

  /** Nothing waits here, and nobody listens: what is sent next may go through another one. */
  get idle(): boolean {
    return !this.#begun && this.#refusals.size === 0
  }

  /** Encodes now. @throws LimitError, NotTransferableError, what has ended it: nothing was taken */
  send(event: unknown): void {
    this.#add(event, undefined)
  }

  /** The same; settles when it is in the inbox. @throws the same, InvalidEventError, ActorGoneError, PeerUnreachableError */
  async tell(event: unknown, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#add(event, { resolve, reject })
    promise.catch(() => undefined) // whoever gave it up
    await untilAborted(promise, signal)
    signal?.throwIfAborted()
    await promise
  }

  /** All that was sent so far has been answered. Never rejects. */
  async flushed(): Promise<void> {
    while (this.#flowing) await this.#flowing
  }

  #add(event: unknown, waiter: Waiter | undefined): void {
    if (this.#failed) throw this.#failed
    if (this.#events >= OUTBOX_EVENTS || this.#bytes >= OUTBOX_BYTES) {
      throw new LimitError(`${this.#events} events wait to be sent to this actor: it takes them no faster`, {
        hint: 'await `tell` to send as fast as it takes',
      })
    }
    this.#bytes += this.#writer.add(event)
    this.#events++
    this.#waiters.push(waiter)
    if (this.#waiters.length === TELL_MOST || this.#writer.bytes >= BATCH_BYTES) this.#close()
    if (this.#begun) return
    this.#begun = true
    // What is sent in this turn goes together.
    this.#flowing = Promise.resolve().then(() => this.#flow())
  }

  #close(): void {
    const count = this.#waiters.length
    if (count === 0) return
    this.#closed.push({ count, bytes: this.#writer.finish(), waiters: this.#waiters })
    this.#waiters = []
  }

  async #flow(): Promise<void> {
    for (;;) {
      if (this.#closed.length === 0) this.#close()
      const next = this.#closed.shift()
      if (!next) break
      const seq = this.#numbers(next.count)
      await this.#deliver({ ...next, seq })
      this.#events -= next.count
      this.#bytes -= next.bytes.byteLength
    }
    this.#begun = false
    this.#flowing = undefined
    if (this.idle) this.#onIdle()
  }

  async #deliver({ seq, count, bytes, waiters }: Batch): Promise<void> {
    const event = { type: 'actor.tell', epoch: this.#epoch, from: this.#from, seq, count, bytes } as const
    try {
      const { refused = [] } = (await this.#ask(event)) as TellAnswer
      const errors = new Map(refused)
      for (const [index, waiter] of waiters.entries()) {
        const error = errors.get(index)
        if (!error) waiter?.resolve()
        else if (waiter) waiter.reject(asError(error))
        else this.#tellRefused(asError(error), bytes, index)
      }
    } catch (thrown) {
      const error = asError(thrown)
      // Nobody will ever take what is sent to it: all that waits hears that, and so does who sends more.
      if (ENDS.has(codeOf(error) ?? '')) this.#failed = error
      for (const [index, waiter] of waiters.entries()) {
        if (waiter) waiter.reject(error)
        else this.#tellRefused(error, bytes, index)
      }
    }
  }

  #tellRefused(error: Error, bytes: Uint8Array, index: number): void {
    if (this.#refusals.size === 0) return
    const event = decodeChunk(bytes)[index]
    for (const listener of [...this.#refusals]) listener(error, event)
  }
}

/** What an actor that takes nothing any more answers. */
const ENDS: ReadonlySet<string> = new Set(['ACTOR_GONE', 'JOB_NOT_FOUND', 'SESSION_NOT_FOUND', 'SESSION_CLOSED'])
