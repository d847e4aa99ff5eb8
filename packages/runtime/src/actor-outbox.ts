// What one process sends to one actor: what is sent in a turn leaves as one batch, one batch at a time, so that the order
// holds over reconnects; each event has a number, by which it is taken once however often its batch is asked for.
import { createChunkWriter, decodeChunk } from '@errand/transport'
import { asError, codeOf, LimitError } from './errors.ts'
import { untilAborted } from './output-log.ts'
import type { TellAnswer } from './hosted-actor.ts'
import type { RequestOptions } from './session-ref.ts'
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
  readonly count: number
  readonly bytes: Uint8Array
  readonly waiters: readonly (Waiter | undefined)[]
}

/** An event that is answered, in its place among the others. */
interface Question {
  readonly event: Uint8Array
  readonly timeout: number
  readonly signal: AbortSignal
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
  readonly onLeft: (() => void) | undefined
}

export class ActorOutbox {
  /** Whose it is, as the actor knows it. */
  readonly from: string
  readonly #ask: (event: SessionEvent, options?: RequestOptions) => Promise<unknown>
  readonly #epoch: number
  readonly #numbers: (count: number) => number
  readonly #onIdle: () => void
  #writer = createChunkWriter()
  #waiters: (Waiter | undefined)[] = []
  readonly #closed: (Batch | Question)[] = []
  #events = 0
  #bytes = 0
  #begun = false
  /** Events that have left, since it was made. */
  #done = 0
  /** Who waits for so many of them. */
  readonly #flushes: { readonly at: number; readonly resolve: () => void }[] = []
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
    ask: (event: SessionEvent, options?: RequestOptions) => Promise<unknown>,
    onIdle: () => void,
  ) {
    this.from = from
    this.#epoch = epoch
    this.#numbers = numbers
    this.#ask = ask
    this.#onIdle = onIdle
  }

  /** Told of events that nobody waits for and that were refused, until the returned function is called. */
  onRefused(listener: (error: Error, event: unknown) => void): () => void {
    this.#refusals.add(listener)
    return () => {
      if (this.#refusals.delete(listener)) this.#rest()
    }
  }

  /** Events that have not left, or are not answered for. */
  get waiting(): number {
    return this.#events
  }

  /** Nothing waits here, and nobody listens: what is sent next may go through another one. */
  get idle(): boolean {
    return !this.#begun && this.#refusals.size === 0
  }

  /** Everything that was sent so far has been answered, and what was asked has left. Never rejects. */
  flushed(): Promise<void> {
    if (this.#events === 0) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#flushes.push({ at: this.#done + this.#events, resolve })
    return promise
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

  /**
   * Its answer, encoded as it is. It leaves behind what was sent before it, and what is sent next leaves behind it. `onLeft`: it
   * is not called back any more.
   * @throws LimitError, the reason of `signal`, whatever asking throws
   */
  async ask(event: Uint8Array, timeout: number, signal: AbortSignal, onLeft?: () => void): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    promise.catch(() => undefined) // whoever gave it up
    this.#throwIfFull()
    this.#close()
    this.#closed.push({ event, timeout, signal, resolve, reject, onLeft })
    this.#events++
    this.#bytes += event.byteLength
    // In this turn, where nothing is before it.
    this.#begin(true)
    await untilAborted(promise, signal)
    signal.throwIfAborted()
    return promise
  }

  #throwIfFull(): void {
    if (this.#failed) throw this.#failed
    if (this.#events < OUTBOX_EVENTS && this.#bytes < OUTBOX_BYTES) return
    throw new LimitError(`${this.#events} events wait to be sent to this actor: it takes them no faster`, {
      hint: 'await `tell` to send as fast as it takes',
    })
  }

  #add(event: unknown, waiter: Waiter | undefined): void {
    this.#throwIfFull()
    try {
      this.#bytes += this.#writer.add(event)
    } catch (error) {
      this.#rest()
      throw error
    }
    this.#events++
    this.#waiters.push(waiter)
    if (this.#waiters.length === TELL_MOST || this.#writer.bytes >= BATCH_BYTES) this.#close()
    this.#begin(false)
  }

  #close(): void {
    const count = this.#waiters.length
    if (count === 0) return
    this.#closed.push({ count, bytes: this.#writer.finish(), waiters: this.#waiters })
    this.#waiters = []
  }

  #begin(now: boolean): void {
    if (this.#begun) return
    this.#begun = true
    if (now) void this.#flow()
    // What is sent in this turn goes together.
    else queueMicrotask(() => void this.#flow())
  }

  /** Never rejects. */
  async #flow(): Promise<void> {
    for (;;) {
      if (this.#closed.length === 0) this.#close()
      const next = this.#closed.shift()
      if (!next) break
      if ('count' in next) {
        await this.#deliver(next)
        this.#left(next.count, next.bytes)
      } else {
        await this.#put(next)
        this.#left(1, next.event)
      }
    }
    this.#begun = false
    this.#rest()
  }

  #left(count: number, { byteLength }: Uint8Array): void {
    this.#events -= count
    this.#bytes -= byteLength
    this.#done += count
    while (this.#flushes[0] && this.#flushes[0].at <= this.#done) this.#flushes.shift()!.resolve()
  }

  #rest(): void {
    if (this.idle) this.#onIdle()
  }

  /** Settles when it has left: its answer may take very long. */
  async #put({ event, timeout, signal, resolve, reject, onLeft }: Question): Promise<void> {
    if (signal.aborted) return
    const left = Promise.withResolvers<void>()
    const seq = this.#numbers(1)
    const asked = { type: 'actor.ask', epoch: this.#epoch, from: this.from, seq, event, timeout } as const
    const onSend = (): void => {
      onLeft?.()
      left.resolve()
    }
    const answer = this.#ask(asked, { signal, onSend })
    answer.then(resolve, reject)
    answer.then(
      () => left.resolve(),
      () => left.resolve(),
    )
    await left.promise
  }

  async #deliver({ count, bytes, waiters }: Batch): Promise<void> {
    const seq = this.#numbers(count)
    const event = { type: 'actor.tell', epoch: this.#epoch, from: this.from, seq, count, bytes } as const
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
    for (const listener of [...this.#refusals]) {
      try {
        listener(error, event)
      } catch {
        // One that fails keeps no news from the others, nor what waits from leaving.
      }
    }
  }
}

/** What an actor that takes nothing any more answers. */
const ENDS: ReadonlySet<string> = new Set(['ACTOR_GONE', 'JOB_NOT_FOUND', 'SESSION_NOT_FOUND', 'SESSION_CLOSED'])
