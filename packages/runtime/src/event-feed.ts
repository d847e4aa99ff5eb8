// What happens on a peer, kept for whoever asks what has happened since. It is asked for, never pushed: who reads slowly
// holds up nobody, takes no memory here, and is told when something was left out for that.
import { untilAborted } from './output-log.ts'
import type { PeerEvent } from './surface.ts'

/** Events kept; who is further behind is to look anew. */
export const EVENTS_KEPT = 2048
/** Events in one answer. */
export const EVENTS_MOST = 128
/** What they take together, as estimated; one that alone takes more goes alone. In bytes. */
export const EVENTS_BYTES: number = 1024 * 1024
/** So long after the last question nothing is kept any more, in milliseconds. */
export const EVENTS_KEPT_MS = 60_000

/** What has happened, and how to ask for what comes next. */
export interface FeedAnswer<E> {
  readonly cursor: string
  /** Behind what was asked about some are missing, or it was asked for the first time: since then they are all told. */
  readonly begins?: true | undefined
  readonly events: readonly E[]
}
export type EventsAnswer = FeedAnswer<PeerEvent>

export class EventFeed<E = PeerEvent> {
  readonly #listen: (tell: (event: E) => void) => () => void
  /** Of the time since `listen` was called last: numbers of another time mean nothing. */
  #name = ''
  #events: E[] = []
  /** The number of the first of them. */
  #first = 0
  #stop: (() => void) | undefined
  readonly #waiting = new Set<() => void>()
  #askedAt = 0
  #ended: Error | undefined
  /** Whoever asked last has not given up waiting: he will ask again. */
  #followed = false
  readonly #told = Promise.withResolvers<void>()

  /** `listen`: tells of everything from now on, until what it returned is called. Only while somebody asks. */
  constructor(listen: (tell: (event: E) => void) => () => void) {
    this.#listen = listen
  }

  /**
   * What happened behind `cursor`, as soon as something has; without one only where to ask from.
   * @throws the reason of `end`, or of `signal`
   */
  async since(cursor: string | undefined, signal?: AbortSignal): Promise<FeedAnswer<E>> {
    this.#askedAt = performance.now()
    this.#followed = true
    if (!this.#stop && !this.#ended) this.#begin()
    const at = this.#numberOf(cursor)
    if (at === undefined && this.#ended) throw this.#tellEnd(this.#ended)
    if (at === undefined) return { cursor: this.#cursor(this.#next), begins: true, events: [] }
    if (at === this.#next && !this.#ended) await this.#more(signal)
    // What happens in one turn goes in one answer.
    await new Promise((resolve) => setImmediate(resolve))
    // It may have waited for longer than they are kept.
    const from = this.#numberOf(cursor)
    if (from === undefined) return { cursor: this.#cursor(this.#next), begins: true, events: [] }
    if (from === this.#next && this.#ended) throw this.#tellEnd(this.#ended)
    const events = this.#answer(from - this.#first)
    return { cursor: this.#cursor(from + events.length), events }
  }

  /** As many as go in one. */
  #answer(from: number): E[] {
    const events = this.#events.slice(from, from + EVENTS_MOST)
    let bytes = 0
    const end = events.findIndex((event) => (bytes += weightOf(event)) > EVENTS_BYTES)
    return end === -1 ? events : events.slice(0, Math.max(1, end))
  }

  /** Some have happened and will never be told: whoever asks next is to look anew. */
  missed(): void {
    this.#name = crypto.randomUUID()
    this.#events = []
    this.#first = 0
    for (const wake of this.#waiting) wake()
  }

  /** Behind the last event who asks is told why there are no more. Idempotent. */
  end(reason: Error): void {
    this.#ended ??= reason
    this.#stop?.()
    this.#stop = undefined
    for (const wake of this.#waiting) wake()
  }

  /** Behind `end`: settles when whoever follows has been told that, and with it all before it. Undefined: nobody follows. */
  get toldAll(): Promise<void> | undefined {
    return this.#followed ? this.#told.promise : undefined
  }

  #tellEnd(reason: Error): Error {
    this.#followed = false
    this.#told.resolve()
    return reason
  }

  get #next(): number {
    return this.#first + this.#events.length
  }

  #cursor(number: number): string {
    return `${this.#name} ${number}`
  }

  /** Undefined for one of another time, and where it is kept no more. */
  #numberOf(cursor: string | undefined): number | undefined {
    const [name, number] = cursor?.split(' ') ?? []
    const at = Number(number)
    return name === this.#name && at >= this.#first && at <= this.#next ? at : undefined
  }

  #begin(): void {
    this.#name = crypto.randomUUID()
    this.#first = 0
    this.#stop = this.#listen((event) => this.#tell(event))
  }

  #rest(): void {
    this.#stop?.()
    this.#stop = undefined
    this.#events = []
    this.#name = ''
  }

  #tell(event: E): void {
    // Nobody has come back for them. Seen here, so that nothing has to be timed.
    if (this.#waiting.size === 0 && performance.now() - this.#askedAt > EVENTS_KEPT_MS) return this.#rest()
    this.#events.push(event)
    // Half of them at once: taking one off the front each time copies all the others.
    if (this.#events.length > 2 * EVENTS_KEPT) this.#first += this.#events.splice(0, EVENTS_KEPT).length
    for (const wake of this.#waiting) wake()
  }

  async #more(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.add(resolve)
    try {
      await untilAborted(promise, signal)
    } finally {
      this.#waiting.delete(resolve)
      this.#askedAt = performance.now()
    }
    if (signal?.aborted) this.#followed = false
    signal?.throwIfAborted()
  }
}

/** No less than it takes encoded, in bytes: a character takes at most three, a number, a date or a head at most 16. */
function weightOf(value: unknown): number {
  if (typeof value === 'string') return 16 + 3 * value.length
  if (typeof value !== 'object' || value === null) return 16
  // An error's message and stack are not enumerable.
  const keys = value instanceof Error ? Object.getOwnPropertyNames(value) : Object.keys(value)
  let bytes = 16
  for (const key of keys) bytes += weightOf(key) + weightOf((value as Record<string, unknown>)[key])
  return bytes
}

/** For a handle: everything from now on, as it comes; ends when `signal` aborts. @throws what asking throws */
export async function* eventStream(
  ask: (cursor: string | undefined) => Promise<EventsAnswer>,
  signal: AbortSignal | undefined,
): AsyncGenerator<PeerEvent> {
  for (let cursor: string | undefined; !signal?.aborted;) {
    let answer: EventsAnswer
    try {
      answer = await ask(cursor)
    } catch (error) {
      if (signal?.aborted) return
      throw error
    }
    cursor = answer.cursor
    if (answer.begins) yield { kind: 'begin', at: new Date() }
    yield* answer.events
  }
}
