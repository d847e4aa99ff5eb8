// Hands out the items of batches one by one: what an async generator does, without its price for each item, which is more
// than decoding a small record costs.
export class ItemStream<T> implements AsyncGenerator<T, void> {
  readonly #batches: AsyncGenerator<readonly T[], void>
  readonly #onTaken: (item: T) => void
  readonly #signal: AbortSignal | undefined
  #items: readonly T[] = []
  #at = 0
  /** The item before `#at` was handed out, and nothing has been heard since. */
  #out = false
  /** What is under way: as with a generator, whoever asks meanwhile waits for its turn. */
  #turn: Promise<void> | undefined

  /**
   * `onTaken`: a consumer came back for the next item, or left with this one; not where it throws one back. Called
   * before the batch behind it is asked for. `signal`: what is left of a batch then is not handed out; the batches are
   * asked for the next, and end.
   */
  constructor(batches: AsyncGenerator<readonly T[], void>, onTaken: (item: T) => void, signal?: AbortSignal) {
    this.#batches = batches
    this.#onTaken = onTaken
    this.#signal = signal
  }

  next(): Promise<IteratorResult<T, void>> {
    return this.#turn === undefined && this.#hasMore()
      ? Promise.resolve(this.#hand())
      : this.#inTurn(() => this.#more())
  }

  return(): Promise<IteratorResult<T, void>> {
    return this.#inTurn(async () => {
      this.#settle()
      return this.#leave()
    })
  }

  throw(error: unknown): Promise<IteratorResult<T, void>> {
    return this.#inTurn(async () => {
      this.#out = false
      await this.#leave()
      throw error
    })
  }

  /** A script may return a stream: it is told by this that its items are the script's. */
  get [Symbol.toStringTag](): string {
    return 'AsyncGenerator'
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #more(): Promise<IteratorResult<T, void>> {
    for (;;) {
      if (this.#hasMore()) return this.#hand()
      this.#settle()
      this.#items = []
      this.#at = 0
      const step = await this.#batches.next()
      if (step.done) return { value: undefined, done: true }
      this.#items = step.value
    }
  }

  #hasMore(): boolean {
    return this.#at < this.#items.length && !this.#signal?.aborted
  }

  #hand(): IteratorResult<T, void> {
    this.#settle()
    this.#out = true
    return { value: this.#items[this.#at++]!, done: false }
  }

  #settle(): void {
    if (!this.#out) return
    this.#out = false
    this.#onTaken(this.#items[this.#at - 1]!)
  }

  async #leave(): Promise<IteratorResult<T, void>> {
    this.#items = []
    this.#at = 0
    await this.#batches.return()
    return { value: undefined, done: true }
  }

  #inTurn(work: () => Promise<IteratorResult<T, void>>): Promise<IteratorResult<T, void>> {
    const result = this.#turn ? this.#turn.then(work) : work()
    const turn: Promise<void> = result.then(
      () => this.#over(turn),
      () => this.#over(turn),
    )
    this.#turn = turn
    return result
  }

  #over(turn: Promise<void>): void {
    if (this.#turn === turn) this.#turn = undefined
  }
}
