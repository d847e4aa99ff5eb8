// What was answered to whom: a request that is asked again is answered again, and not done again.
//
// An answer is kept until its client says that it has heard it, with its next request; so there is mostly one per client.
// What need not be kept is not (REPEAT in wire.ts).
import { LimitError, OutcomeUnknownError } from './errors.ts'
import { REPEAT, type WireEvent } from './wire.ts'

/**
 * Answers of one client that it has not said to have heard: as many as may be under way, OPEN_REQUESTS and OPEN_ASKS. Beyond,
 * the oldest is forgotten.
 */
const ANSWERS_KEPT = 2048

/** A client without a link for so long has lost what was kept for it, when room is needed for another. */
const CLIENT_KEPT_MS = 10 * 60_000
/** So many clients without a link are remembered; beyond, the one that has been away for longest is not. */
const CLIENTS_KEPT = 1024

interface Kept {
  readonly answer: Promise<unknown>
  settled: boolean
}

interface Client {
  /** Tells this memory from the next one of the same client. */
  readonly memory: string
  readonly kept: Map<number, Kept>
  /** The newest request whose answer was forgotten unheard. */
  forgotten: number
}

export class Answers {
  readonly #clients = new Map<string, Client>()
  /** Those without a link, in the order of their leaving. */
  readonly #away = new Map<string, { readonly client: Client; readonly since: number }>()

  /** Answers that are kept, those under way among them. */
  get size(): number {
    const all = [...this.#clients.values(), ...[...this.#away.values()].map(({ client }) => client)]
    return all.reduce((sum, { kept }) => sum + kept.size, 0)
  }

  /** A client has a link: names what is remembered of it. Another name than before: nothing that it asked before is. */
  meet(client: string): string {
    const before = performance.now() - CLIENT_KEPT_MS
    for (const [name, { since }] of this.#away) {
      if (since >= before) break
      this.#away.delete(name)
    }
    const known = this.#of(client)
    this.#away.delete(client)
    this.#clients.set(client, known)
    return known.memory
  }

  /** Its last link has ended; it may come back. */
  leave(client: string): void {
    const known = this.#clients.get(client)
    if (!known) return
    this.#clients.delete(client)
    this.#keep(client, known)
  }

  /** It is gone for good. */
  forget(client: string): void {
    this.#clients.delete(client)
    this.#away.delete(client)
  }

  /** It has these answers, and will not ask for them again. */
  heard(client: string, ids: readonly number[]): void {
    const kept = this.#clients.get(client)?.kept
    for (const id of ids) kept?.delete(id)
  }

  /** @throws OutcomeUnknownError (rejects) where that was answered and the answer is forgotten; LimitError */
  once(client: string, id: number | undefined, { type }: WireEvent, act: () => Promise<unknown>): Promise<unknown> {
    // Also while it is under way: what attaches who asks has to do so over the link it is asked over now.
    if (id === undefined || REPEAT[type] === 'again') return act()
    const known = this.#of(client)
    const there = known.kept.get(id)
    if (there) return there.answer
    if (id <= known.forgotten) {
      return Promise.reject(new OutcomeUnknownError(`${type} was asked before, and its answer is kept no more`))
    }
    if (known.kept.size >= ANSWERS_KEPT && !makeRoom(known)) {
      return Promise.reject(new LimitError(`more than ${ANSWERS_KEPT} requests of one client are under way`))
    }
    const kept: Kept = { answer: act(), settled: false }
    known.kept.set(id, kept)
    const settle = (): void => void (kept.settled = true)
    kept.answer.then(settle, settle)
    return kept.answer
  }

  #of(client: string): Client {
    const known = this.#clients.get(client) ?? this.#away.get(client)?.client
    // One that was never met has no link either: nobody would say that it has left.
    return known ?? this.#keep(client, { memory: crypto.randomUUID(), kept: new Map(), forgotten: 0 })
  }

  #keep(name: string, client: Client): Client {
    this.#away.set(name, { client, since: performance.now() })
    const [oldest] = this.#away.keys()
    if (this.#away.size > CLIENTS_KEPT && oldest !== undefined) this.#away.delete(oldest)
    return client
  }
}

/** Forgets the oldest that is not under way. */
function makeRoom(client: Client): boolean {
  for (const [id, { settled }] of client.kept) {
    if (!settled) continue
    client.forgotten = Math.max(client.forgotten, id)
    return client.kept.delete(id)
  }
  return false
}
