// What waits for an actor: bounded in events and in bytes. What does not fit waits before it, first come first served.
import { untilAborted } from './output-log.ts'
import { INBOX_MOST } from './wire.ts'

/** Bytes of events in an inbox, as they came; a larger one goes in alone. */
export const INBOX_BYTES: number = 4 * 1024 * 1024

/** Aborts when what waits is wanted no more; asked for only where it has to wait. */
export type Wanted = AbortSignal | (() => AbortSignal) | undefined

export function signalOf(wanted: Wanted): AbortSignal | undefined {
  return typeof wanted === 'function' ? wanted() : wanted
}

interface Sized {
  /** As it came. */
  readonly bytes: number
}

interface Waiting<I> {
  readonly items: readonly I[]
  readonly bytes: number
  /** Their places are kept, and they come in later. */
  readonly reserves: boolean
  readonly settle: (entered: boolean) => void
}

export class ActorInbox<I extends Sized> {
  #items: I[] = []
  #bytes = 0
  /** Of those whose places are kept. */
  #reserved = 0
  #reservedBytes = 0
  readonly #waiting: Waiting<I>[] = []
  #closed = false

  get size(): number {
    return this.#items.length
  }

  /**
   * Puts these in, all together. A promise where they have to wait: false when it was closed meanwhile.
   * @throws (rejects with) the reason of `signal`: they are not in it
   */
  enter(items: readonly I[], signal: Wanted): Promise<boolean> | undefined {
    return this.#enter(items, signal, false)
  }

  /** Keeps places for these, which are put in one by one when they are ready; until `release`. Settles as `enter` does. */
  reserve(items: readonly I[], signal: Wanted): Promise<boolean> | undefined {
    return this.#enter(items, signal, true)
  }

  release(items: readonly I[]): void {
    this.#reserved -= items.length
    this.#reservedBytes -= sizeOf(items)
    this.#makeRoom()
  }

  /** One whose place was kept, or that nobody outside has sent. */
  put(item: I): void {
    this.#items.push(item)
    this.#bytes += item.bytes
  }

  #enter(items: readonly I[], signal: Wanted, reserves: boolean): Promise<boolean> | undefined {
    if (items.length === 0) return undefined
    const bytes = sizeOf(items)
    // Nobody goes before those who wait.
    if (this.#waiting.length === 0 && this.#fits(items.length, bytes)) {
      this.#admit({ items, bytes, reserves })
      return undefined
    }
    return this.#wait(items, bytes, reserves, signalOf(signal))
  }

  async #wait(
    items: readonly I[],
    bytes: number,
    reserves: boolean,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    let settled = false
    const settle = (entered: boolean): void => {
      settled = true
      resolve(entered)
    }
    const waiting: Waiting<I> = { items, bytes, reserves, settle }
    if (this.#closed) return false
    this.#waiting.push(waiting)
    await untilAborted(promise, signal)
    // In it, it is in it: whoever is not there any more to hear that asks again, or wants nothing more of it.
    if (settled) return promise
    this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
    this.#admitWaiting()
    throw signal!.reason
  }

  /** The one that `take` gives. */
  get next(): I | undefined {
    return this.#items[0]
  }

  take(): I | undefined {
    const item = this.#items.shift()
    if (!item) return undefined
    this.#bytes -= item.bytes
    this.#makeRoom()
    return item
  }

  /** Half of it at once: those who wait do not come one by one. */
  #makeRoom(): void {
    if (this.#waiting.length === 0) return
    const [count, bytes] = [this.#items.length + this.#reserved, this.#bytes + this.#reservedBytes]
    if (count <= INBOX_MOST / 2 && bytes <= INBOX_BYTES / 2) this.#admitWaiting()
  }

  /** Nothing goes in or comes out any more. */
  close(): readonly I[] {
    this.#closed = true
    const left = this.#items
    this.#items = []
    this.#bytes = 0
    for (const { settle } of this.#waiting.splice(0)) settle(false)
    return left
  }

  #fits(count: number, bytes: number): boolean {
    if (this.#closed) return false
    const there = this.#items.length + this.#reserved
    if (there === 0) return true
    return there + count <= INBOX_MOST && this.#bytes + this.#reservedBytes + bytes <= INBOX_BYTES
  }

  #admit({ items, bytes, reserves }: Pick<Waiting<I>, 'items' | 'bytes' | 'reserves'>): void {
    if (reserves) {
      this.#reserved += items.length
      this.#reservedBytes += bytes
      return
    }
    this.#items.push(...items)
    this.#bytes += bytes
  }

  #admitWaiting(): void {
    for (let first = this.#waiting[0]; first && this.#fits(first.items.length, first.bytes); first = this.#waiting[0]) {
      this.#waiting.shift()
      this.#admit(first)
      first.settle(true)
    }
  }
}

function sizeOf(items: readonly Sized[]): number {
  let bytes = 0
  for (const item of items) bytes += item.bytes
  return bytes
}
