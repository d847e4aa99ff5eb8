// Who waits for news, each of one thing by its name. It is asked for, never pushed: who reads slowly takes no memory here,
// and is told as one what happened meanwhile.
import { untilAborted } from './output-log.ts'

export class News {
  readonly #waiting = new Map<string, Set<() => void>>()
  #ended: Error | undefined

  /** Those who wait now. */
  get waiting(): number {
    return [...this.#waiting.values()].reduce((sum, { size }) => sum + size, 0)
  }

  /**
   * What `look` finds, as soon as it finds something: it is called now, and whenever there was news of that.
   * @throws the reason of `end`, or of `signal`; what `look` throws
   */
  async poll<T>(of: string, look: () => T | undefined, signal?: AbortSignal): Promise<T> {
    for (;;) {
      signal?.throwIfAborted()
      if (this.#ended) throw this.#ended
      const found = look()
      if (found !== undefined) return found
      await this.#more(of, signal)
      // What happens in one turn goes in one answer.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Something has happened to it. */
  tell(of: string): void {
    for (const wake of this.#waiting.get(of) ?? []) wake()
  }

  /** Who asks, or waits, is told why there is no more of it. Idempotent. */
  end(reason: Error): void {
    this.#ended ??= reason
    for (const all of this.#waiting.values()) for (const wake of all) wake()
  }

  async #more(of: string, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const there = this.#waiting.get(of)
    if (there) there.add(resolve)
    else this.#waiting.set(of, new Set([resolve]))
    try {
      await untilAborted(promise, signal)
    } finally {
      const all = this.#waiting.get(of)!
      all.delete(resolve)
      if (all.size === 0) this.#waiting.delete(of)
    }
  }
}
