// The outboxes of one process: one for each actor that it has something for. Two for one actor would overtake each other, and
// what comes late under a lower number is not taken.
import { ActorOutbox } from './actor-outbox.ts'
import type { ActorAddress } from './actor-surface.ts'
import { placeOf, type ActorPlace } from './actor-way.ts'
import type { RequestOptions } from './session-ref.ts'
import type { SessionEvent } from './wire.ts'

type Asking = (place: ActorPlace, event: SessionEvent, options?: RequestOptions) => Promise<unknown>

export class ActorOutboxes {
  /** This process, as actors know who sends to them. */
  readonly #from: string = crypto.randomUUID()
  readonly #ask: Asking
  readonly #all = new Map<string, ActorOutbox>()
  /** What peers are called: where one has two names there are two ways to it, and what goes on one overtakes the other. */
  readonly #names = new Map<string, number>()
  #last = 0

  constructor(ask: Asking) {
    this.#ask = ask
  }

  /** Those that have something to send, or are listened to. */
  get size(): number {
    return this.#all.size
  }

  /** Events that have not left, of all of them. */
  get waiting(): number {
    let events = 0
    for (const outbox of this.#all.values()) events += outbox.waiting
    return events
  }

  to(address: ActorAddress): ActorOutbox {
    const { peer, path, epoch } = address
    const key = `${peer} ${path} ${epoch}`
    const there = this.#all.get(key)
    if (there) return there
    const place = placeOf(address)
    const numbers = (count: number): number => {
      const first = this.#last + 1
      this.#last += count
      return first
    }
    const name = this.#names.get(peer) ?? this.#names.size
    this.#names.set(peer, name)
    const ask = (event: SessionEvent, options?: RequestOptions): Promise<unknown> => this.#ask(place, event, options)
    const idle = (): void => {
      if (this.#all.get(key) === outbox) this.#all.delete(key)
    }
    const outbox = new ActorOutbox(`${this.#from} ${name} ${epoch}`, epoch, numbers, ask, idle)
    this.#all.set(key, outbox)
    return outbox
  }
}
