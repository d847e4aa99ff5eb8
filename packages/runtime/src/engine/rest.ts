// How a script is suspended that shares its process with others: it stands still where it waits anyway.

export class Rest {
  readonly #signal: AbortSignal
  readonly #onStill: () => void
  #wanted: PromiseWithResolvers<void> | undefined
  /** Places at which the script waits now. */
  #waiting = 0

  /** `onStill`: it is suspended, and stands still. */
  constructor(signal: AbortSignal, onStill: () => void) {
    this.#signal = signal
    this.#onStill = onStill
  }

  /** It is to stand still at the next occasion. */
  get wanted(): boolean {
    return this.#wanted !== undefined
  }

  suspend(): void {
    if (this.#wanted || this.#signal.aborted) return
    this.#wanted = Promise.withResolvers()
    if (this.#waiting > 0) this.#onStill()
  }

  /** Also who is stopped: nobody is kept waiting then. */
  resume(): void {
    this.#wanted?.resolve()
    this.#wanted = undefined
  }

  /** Waits for this, and then for as long as the script is suspended. */
  async while<T>(waited: Promise<T> | undefined): Promise<T | undefined> {
    this.#waiting++
    try {
      if (this.#wanted && this.#waiting === 1) this.#onStill()
      return await waited
    } finally {
      while (this.#wanted) await this.#wanted.promise
      this.#waiting--
    }
  }

  /** The same values; whoever reads them waits here. */
  around<T>(values: AsyncIterable<T>): AsyncIterable<T> {
    return {
      [Symbol.asyncIterator]: () => {
        const inner = values[Symbol.asyncIterator]()
        return {
          next: () => this.while(inner.next()) as Promise<IteratorResult<T>>,
          return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
        }
      },
    }
  }
}
