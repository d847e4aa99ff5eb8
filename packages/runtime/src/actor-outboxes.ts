// The outboxes of one process: one for each actor that it has something for. Two for one actor would overtake each other, and
// what comes late under a lower number is not taken.
import { ActorOutbox } from './actor-outbox.ts'
import type { ActorAddress } from './actor-surface.ts'
import { placeOf, type ActorPlace } from './actor-way.ts'
import type { RequestOptions } from './session-ref.ts'
import type { SessionEvent } from './wire.ts'

/**
 * Batches under way over one link at once: half of the requests that it takes (OPEN_REQUESTS). An actor that takes nothing holds its batch
 * back for as long as it likes, and what else is asked over that link must not be refused for it.
 */
export const TELLS_UNDER_WAY = 512

/** What has to pass through one link. */
interface Gate {
  underWay: number
  readonly waiting: (() => void)[]
}

type Asking = (place: ActorPlace, event: SessionEvent, options?: RequestOptions) => Promise<unknown>

export class ActorOutboxes {
  /** This process, as actors know who sends to them. */
  readonly #from: string = crypto.randomUUID()
  readonly #ask: Asking
  readonly #linkTo: (place: ActorPlace) => string | undefined
  readonly #all = new Map<string, ActorOutbox>()
  readonly #gates = new Map<string, Gate>()
  /** What peers are called: where one has two names there are two ways to it, and what goes on one overtakes the other. */
  readonly #names = new Map<string, number>()
  #last = 0
  /** Whose was asked for last: who sends much mostly sends it to one. */
  #latest: { readonly address: ActorAddress; readonly outbox: ActorOutbox } | undefined

  /** `linkTo` names the link that leads there; none: it is here. */
  constructor(ask: Asking, linkTo: (place: ActorPlace) => string | undefined) {
    this.#ask = ask
    this.#linkTo = linkTo
  }

  /** The one for that actor, where there is any: if not, nothing that was sent to it waits. */
  there(address: ActorAddress): ActorOutbox | undefined {
    if (this.#latest?.address === address) return this.#latest.outbox
    return this.#all.size === 0 ? undefined : this.#all.get(keyOf(address))
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

  /** Everything that was sent so far has been answered. Never rejects. */
  async flushed(): Promise<void> {
    await Promise.all([...this.#all.values()].map((outbox) => outbox.flushed()))
  }

  to(address: ActorAddress): ActorOutbox {
    const there = this.there(address)
    if (there) {
      this.#latest = { address, outbox: there }
      return there
    }
    const { epoch } = address
    const key = keyOf(address)
    const place = placeOf(address)
    const numbers = (count: number): number => {
      const first = this.#last + 1
      this.#last += count
      return first
    }
    const onIdle = (): void => {
      if (this.#all.get(key) === outbox) this.#all.delete(key)
      if (this.#latest?.outbox === outbox) this.#latest = undefined
    }
    // What is asked has room of its own: only batches pass through the gate.
    const ask = (event: SessionEvent, options?: RequestOptions): Promise<unknown> =>
      event.type === 'actor.ask'
        ? this.#ask(place, event, options)
        : this.pass(place, () => this.#ask(place, event, options), options?.signal)
    const outbox = new ActorOutbox(this.#fromTo(address), epoch, numbers, ask, onIdle)
    this.#all.set(key, outbox)
    this.#latest = { address, outbox }
    return outbox
  }

  /** For a question that needs no outbox, nothing being before it: whose it is, and its number among what is sent. */
  numbered(address: ActorAddress): { from: string; seq: number } {
    return { from: this.#fromTo(address), seq: ++this.#last }
  }

  #fromTo({ peer, epoch }: ActorAddress): string {
    const name = this.#names.get(peer) ?? this.#names.size
    this.#names.set(peer, name)
    return `${this.#from} ${name} ${epoch}`
  }

  /**
   * Asks it, at once where there is room: what is asked next must not overtake it.
   * @throws (rejects with) the reason of `signal`: it was not asked
   */
  pass(place: ActorPlace, ask: () => Promise<unknown>, signal?: AbortSignal): Promise<unknown> {
    const name = this.#linkTo(place)
    if (name === undefined) return ask()
    let gate = this.#gates.get(name)
    if (!gate) this.#gates.set(name, (gate = { underWay: 0, waiting: [] }))
    return this.#through(name, gate, ask, signal)
  }

  async #through(
    name: string,
    gate: Gate,
    ask: () => Promise<unknown>,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    signal?.throwIfAborted()
    if (gate.underWay < TELLS_UNDER_WAY) gate.underWay++
    // Whoever is through hands on its place.
    else await waitAt(gate, signal)
    try {
      return await ask()
    } finally {
      const next = gate.waiting.shift()
      if (next) next()
      else if (--gate.underWay === 0) this.#gates.delete(name)
    }
  }
}

/** @throws (rejects with) the reason of `signal`: it waits no more, and has no place */
function waitAt({ waiting }: Gate, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const enter = (): void => {
    signal?.removeEventListener('abort', onAbort)
    resolve()
  }
  const onAbort = (): void => {
    waiting.splice(waiting.indexOf(enter), 1)
    reject(signal!.reason)
  }
  waiting.push(enter)
  signal?.addEventListener('abort', onAbort, { once: true })
  return promise
}

function keyOf({ peer, path, epoch }: ActorAddress): string {
  return `${peer} ${path} ${epoch}`
}
