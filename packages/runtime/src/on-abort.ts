// Very many who wait for one signal have one listener together: an event target looks through all it has for each one that
// comes or goes.

const waiting = new WeakMap<AbortSignal, Waiting>()

class Waiting {
  readonly #signal: AbortSignal
  readonly #acts = new Set<() => void>()

  constructor(signal: AbortSignal) {
    this.#signal = signal
    waiting.set(signal, this)
    signal.addEventListener('abort', this.#all, { once: true })
  }

  add(act: () => void): () => void {
    // The same function given twice is two.
    const mine = (): void => act()
    this.#acts.add(mine)
    return () => {
      if (this.#acts.delete(mine) && this.#acts.size === 0) this.#end()
    }
  }

  readonly #all = (): void => {
    for (const act of this.#acts) act()
    this.#acts.clear()
    this.#end()
  }

  #end(): void {
    this.#signal.removeEventListener('abort', this.#all)
    if (waiting.get(this.#signal) === this) waiting.delete(this.#signal)
  }
}

/** Calls `act` when the signal aborts, not if it has already, until the returned function is called. `act` must not throw. */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  return (waiting.get(signal) ?? new Waiting(signal)).add(act)
}
