// The outboxes of one process: one for each actor that it has something for. Two for one actor would overtake each other, and
// what comes late under a lower number is not taken.
import { ActorOutbox } from './actor-outbox.ts'
import type { ActorAddress } from './actor-surface.ts'
import { placeOf, type ActorPlace } from './actor-way.ts'
import type { SessionEvent } from './wire.ts'

export class ActorOutboxes {
  /** This process, as actors know who sends to them. */
  readonly #from: string = crypto.randomUUID()
  readonly #ask: (place: ActorPlace, event: SessionEvent) => Promise<unknown>
  readonly #all = new Map<string, ActorOutbox>()
  #last = 0

  constructor(ask: (place: ActorPlace, event: SessionEvent) => Promise<unknown>) {
    this.#ask = ask
  }

  to(address: ActorAddress): ActorOutbox {
    const key = `${address.peer} ${address.path} ${address.epoch}`
    let outbox = this.#all.get(key)
    if (!outbox) {
      const place = placeOf(address)
      const numbers = (count: number): number => {
        const first = this.#last + 1
        this.#last += count
        return first
      }
      const ask = (event: SessionEvent): Promise<unknown> => this.#ask(place, event)
      outbox = new ActorOutbox(this.#from, address.epoch, numbers, ask, () => this.#all.delete(key))
      this.#all.set(key, outbox)
    }
    return outbox
  }
}
