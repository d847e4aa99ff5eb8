// Whose turn it is among the actors of a peer: XState itself never yields, so a flood to one of them would hold up all else.

/** Events that one actor handles before the next has its turn. */
export const TURN_EVENTS = 256
/** How long actors may have the thread before whatever else waits for it, in milliseconds. */
export const TURN_MS = 5
/** Less than this counts for later turns too, instead of being forgotten at once when the thread has been free. */
const LITTLE_MS = 1
/** The clock is looked at every so many events. */
const LOOK_EVERY = 16
/** So many begin before whatever else waits for the thread. */
const BEGIN_AT_ONCE = 64

/** What has turns. */
export interface Turned {
  /** Handles one event. False: it has none (that it may handle now). */
  step(): boolean
}

export class ActorTurns {
  /** Those that have something to do, in their order. */
  #ready: Turned[] = []
  readonly #waiting = new Set<Turned>()
  #running = false
  #immediate: NodeJS.Immediate | undefined
  /** Since the thread was free last, in milliseconds. */
  #used = 0
  /** What has begun since then, and who waits to begin something new. */
  #begun = 0
  #beginning: (() => void)[] = []

  /**
   * Before something new begins: undefined where there is time left; else settles when the thread has been free, first come
   * first served. Who makes many, one after the other, never lets go of the thread himself: nothing here takes longer than a
   * microtask.
   */
  mayBegin(): Promise<void> | undefined {
    if (this.#used < TURN_MS && this.#begun < BEGIN_AT_ONCE && this.#beginning.length === 0) {
      this.#begun++
      return undefined
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#beginning.push(resolve)
    this.#later()
    return promise
  }

  /** What this takes counts. */
  spend<T>(act: () => T): T {
    // Within an actor's turn it counts already.
    if (this.#running) return act()
    const begun = performance.now()
    try {
      return act()
    } finally {
      this.#used += performance.now() - begun
      if (this.#used >= LITTLE_MS) this.#later()
    }
  }

  /** It has something to do. Done at once where nobody waits and there is time left: who asks one actor waits for no turn. */
  ready(actor: Turned): void {
    if (this.#waiting.has(actor)) return
    this.#waiting.add(actor)
    this.#ready.push(actor)
    if (this.#running) return
    if (this.#used < TURN_MS) this.#run()
    // A little is not worth the event loop's coming round for.
    if (this.#ready.length > 0 || this.#used >= LITTLE_MS) this.#later()
  }

  [Symbol.dispose](): void {
    clearImmediate(this.#immediate)
    this.#ready = []
    this.#waiting.clear()
    // Whoever waits looks whether that is still wanted.
    for (const begin of this.#beginning.splice(0)) begin()
  }

  #later(): void {
    // Also when all is done: what was used is forgotten when the thread has been free.
    this.#immediate ??= setImmediate(() => {
      this.#immediate = undefined
      this.#used = 0
      const beginning = this.#beginning.splice(0, BEGIN_AT_ONCE)
      this.#begun = beginning.length
      for (const begin of beginning) begin()
      if (this.#ready.length > 0) this.#run()
      else if (this.#beginning.length === 0) return
      this.#later()
    })
  }

  #run(): void {
    const begun = performance.now()
    this.#running = true
    let looked = 0
    let over = false
    try {
      while (!over) {
        const actor = this.#ready.shift()
        if (!actor) break
        this.#waiting.delete(actor)
        let left = TURN_EVENTS
        while (left > 0 && actor.step()) {
          left--
          if (++looked % LOOK_EVERY === 0 && performance.now() - begun + this.#used > TURN_MS) {
            over = true
            break
          }
        }
        // It had more: behind the others.
        if ((left === 0 || over) && !this.#waiting.has(actor)) {
          this.#waiting.add(actor)
          this.#ready.push(actor)
        }
      }
    } finally {
      this.#running = false
      this.#used += performance.now() - begun
    }
  }
}
