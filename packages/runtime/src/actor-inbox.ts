// What waits for an actor: bounded in events and in bytes. What does not fit waits before it, first come first served.
import { untilAborted } from './output-log.ts'
import { INBOX_MOST } from './wire.ts'

/** Bytes of events in an inbox, as they came; a larger one goes in alone. */
export const INBOX_BYTES: number = 4 * 1024 * 1024

interface Sized {
  /** As it came. */
  readonly bytes: number
}

interface Waiting<I> {
  readonly items: readonly I[]
  readonly bytes: number
  readonly settle: (entered: boolean) => void
}

export class ActorInbox<I extends Sized> {
  #items: I[] = []
  #bytes = 0
  readonly #waiting: Waiting<I>[] = []
  #closed = false

  get size(): number {
    return this.#items.length
  }

  /**
   * Puts these in, all together. A promise where they have to wait: false when it was closed meanwhile.
   * @throws (rejects with) the reason of `signal`: they are not in it
   */
  enter(items: readonly I[], signal: AbortSignal | undefined): Promise<boolean> | undefined {
    if (items.length === 0) return undefined
    let bytes = 0
    for (const item of items) bytes += item.bytes
    // Nobody goes before those who wait.
    if (this.#waiting.length === 0 && this.#fits(items.length, bytes)) {
      this.#put(items, bytes)
      return undefined
    }
    return this.#wait(items, bytes, signal)
  }

  async #wait(items: readonly I[], bytes: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    let settled = false
    const settle = (entered: boolean): void => {
      settled = true
      resolve(entered)
    }
    const waiting: Waiting<I> = { items, bytes, settle }
    if (this.#closed) return false
    this.#waiting.push(waiting)
    await untilAborted(promise, signal)
    // In it, it is in it: whoever is not there any more to hear that asks again, or wants nothing more of it.
    if (settled) return promise
    this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
    this.#admit()
    throw signal!.reason
  }

  take(): I | undefined {
    const item = this.#items.shift()
    if (!item) return undefined
    this.#bytes -= item.bytes
    // Half of it at once: those who wait do not come one by one.
    if (this.#waiting.length > 0 && this.#items.length <= INBOX_MOST / 2 && this.#bytes <= INBOX_BYTES / 2)
      this.#admit()
    return item
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
    if (this.#items.length === 0) return true
    return this.#items.length + count <= INBOX_MOST && this.#bytes + bytes <= INBOX_BYTES
  }

  #put(items: readonly I[], bytes: number): void {
    this.#items.push(...items)
    this.#bytes += bytes
  }

  #admit(): void {
    for (let first = this.#waiting[0]; first && this.#fits(first.items.length, first.bytes); first = this.#waiting[0]) {
      this.#waiting.shift()
      this.#put(first.items, first.bytes)
      first.settle(true)
    }
  }
}
