// The children of one parent: first come, first served, so many at work at once.
import { isFinished } from './child-jobs.ts'
import type { JobState } from './surface.ts'

/** Of a child, what its queue needs. */
export interface QueuedChild {
  readonly state: JobState
  readonly finished: Promise<unknown>
  start(): void
}

export class ChildQueue {
  readonly #waiting: QueuedChild[]
  readonly #begun = new Set<QueuedChild>()
  #most: number
  #held = false

  /** Begins with `next`. Those that have begun already count as at work. */
  constructor(children: readonly QueuedChild[], most: number) {
    this.#waiting = children.filter(({ state }) => state === 'NotStarted')
    this.#most = most
    for (const child of children) if (child.state !== 'NotStarted' && !isFinished(child.state)) this.#begin(child)
  }

  /** At most so many from now on: what is at work beyond that ends in its own time. */
  set most(most: number) {
    this.#most = most
    this.next()
  }

  /** Nobody's turn comes while the parent is to stand still. */
  get held(): boolean {
    return this.#held
  }

  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
    this.next()
  }

  /**
   * Starts whose turn has come. Asked again when a child's state has changed: the limit is one of open connections, so who
   * is Disconnected holds up nobody. When it is back it is at work again, if need be as one more than there should be, and
   * nobody else begins before there is room.
   */
  next(): void {
    while (!this.#held && this.#atWork < this.#most) {
      const child = this.#waiting.shift()
      if (!child) return
      // Stopped before its turn came: it never starts.
      if (child.state !== 'NotStarted') continue
      this.#begin(child)
      child.start()
    }
  }

  #begin(child: QueuedChild): void {
    this.#begun.add(child)
    void child.finished.then(() => {
      this.#begun.delete(child)
      this.next()
    })
  }

  get #atWork(): number {
    let count = 0
    for (const { state } of this.#begun) if (!isFinished(state) && state !== 'Disconnected') count++
    return count
  }
}
