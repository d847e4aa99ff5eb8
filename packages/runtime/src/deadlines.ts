// Many deadlines and one timer: nearly all of what is waited for is over long before it is due, and a timer for each would
// cost as much as the rest of a question.

/** One of them. */
export interface Deadline {
  /** By `performance.now()`. */
  readonly due: number
  /** It is over: nothing is late any more. */
  end(): void
}

interface Pending {
  readonly due: number
  readonly late: () => void
}

export class Deadlines {
  readonly #pending = new Set<Pending>()
  #timer: NodeJS.Timeout | undefined
  /** When that goes off. */
  #at = Infinity

  /** Calls `late` in so many milliseconds, unless it has ended by then. The process is kept alive until then. */
  after(ms: number, late: () => void): Deadline {
    const pending = { due: performance.now() + ms, late }
    if (this.#pending.size === 0) this.#timer?.ref()
    this.#pending.add(pending)
    if (pending.due < this.#at) this.#arm(pending.due)
    return {
      due: pending.due,
      end: () => {
        // The timer stays: there mostly is a next one soon.
        if (this.#pending.delete(pending) && this.#pending.size === 0) this.#timer?.unref()
      },
    }
  }

  #arm(at: number): void {
    clearTimeout(this.#timer)
    this.#at = at
    this.#timer = setTimeout(() => this.#look(), Math.max(1, at - performance.now()))
  }

  #look(): void {
    const now = performance.now()
    this.#timer = undefined
    this.#at = Infinity
    let next = Infinity
    for (const pending of [...this.#pending]) {
      if (pending.due > now) next = Math.min(next, pending.due)
      else if (this.#pending.delete(pending)) pending.late()
    }
    if (next < this.#at) this.#arm(next)
  }
}
