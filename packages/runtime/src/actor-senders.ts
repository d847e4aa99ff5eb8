// Who has sent to an actor, and how far: what is asked again over another link is not taken again.

/** Senders whose last number is known; of one that was silent for longest it is forgotten. */
export const SENDERS_MOST = 1024

export class Senders {
  /** The one that was silent for longest comes first. */
  readonly #last: Map<string, number>

  constructor(last: Iterable<readonly [from: string, seq: number]> = []) {
    this.#last = new Map(last)
  }

  isNew(from: string, seq: number): boolean {
    return seq > (this.#last.get(from) ?? 0)
  }

  took(from: string, seq: number): void {
    this.#last.delete(from)
    this.#last.set(from, seq)
    const [oldest] = this.#last.keys()
    if (this.#last.size > SENDERS_MOST && oldest !== undefined) this.#last.delete(oldest)
  }

  all(): (readonly [from: string, seq: number])[] {
    return [...this.#last]
  }
}
