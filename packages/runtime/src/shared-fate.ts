// Shared fate of two actors: when one of them ends otherwise than by having done its work, the other is stopped. Once, whatever
// else happens to either: which of the two was first is what counts, and what a stop leads to is no news.
import type { Down, FateEnd, SharedFate } from './actor-surface.ts'
import { asError } from './errors.ts'

/** What it takes, of actors of whatever kind. */
export interface FatePorts<A> {
  /** The notice that it is down; none when `signal` aborts first. */
  monitor(actor: A, signal: AbortSignal): AsyncIterable<Down>
  /** @throws when it could not be stopped */
  stop(actor: A, reason: string): Promise<void>
}

/** Links the two until one of them is down or the result is disposed. */
export function linkActors<A>(a: A, b: A, ports: FatePorts<A>): SharedFate {
  return new Fate(a, b, ports)
}

class Fate<A> implements SharedFate {
  readonly ended: Promise<FateEnd>
  readonly #ports: FatePorts<A>
  readonly #end = Promise.withResolvers<FateEnd>()
  readonly #over = new AbortController()

  constructor(a: A, b: A, ports: FatePorts<A>) {
    this.ended = this.#end.promise
    this.#ports = ports
    void this.#watch(a, b)
    void this.#watch(b, a)
  }

  [Symbol.dispose](): void {
    this.#over.abort()
    this.#end.resolve({ down: undefined, error: undefined })
  }

  async #watch(one: A, other: A): Promise<void> {
    const { signal } = this.#over
    let down: Down | undefined
    let error: Error | undefined
    try {
      for await (down of this.#ports.monitor(one, signal)) break
    } catch (thrown) {
      error = asError(thrown)
    }
    if (signal.aborted) return
    // From here on the other's end, which this may bring about, is nobody's news.
    this.#over.abort()
    if (down === undefined || down.reason === 'exit') return this.#end.resolve({ down: undefined, error })
    try {
      await this.#ports.stop(other, `the actor it is linked with went down: ${down.reason}`)
    } catch (thrown) {
      error = asError(thrown)
    }
    this.#end.resolve({ down, error })
  }
}
