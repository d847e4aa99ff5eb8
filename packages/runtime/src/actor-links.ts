// The link to a peer that actors are on: the one there is, or the next one. Very many may wait for it, a ref each: it is tried
// once for all of them.
import { backOff } from '@errand/transport'
import { asError, codeOf, PeerClosedError } from './errors.ts'
import type { Link } from './link.ts'
import type { Network, Place } from './network.ts'
import { untilAborted } from './output-log.ts'
import type { PeerId } from './surface.ts'

/** Between two attempts at most, in ms: that a peer is back is to be known soon… */
const SOON = 1_000
/** …unless it has been away for so long. */
const LONG_GONE = 4 * 60_000
/** After a link that has lasted no longer than this the next one waits, in ms: it may end as soon, and the one after it. */
const BRIEF = 250

/** It would be the same the next time. */
const FINAL: ReadonlySet<string> = new Set(['DENIED', 'PEER_NOT_FOUND', 'PEER_CLOSED', 'USAGE'])

interface Waiter {
  readonly resolve: (link: Link) => void
  readonly reject: (error: Error) => void
  readonly failed: (error: Error) => void
}

interface Attempts {
  readonly peer: PeerId
  readonly waiting: Set<Waiter>
  sooner: () => void
}

export class ActorLinks {
  readonly #network: Network
  readonly #over: AbortSignal
  /** By the key of the place. */
  readonly #under = new Map<string, Attempts>()
  readonly #waiting = new Map<PeerId, Set<() => void>>()
  /** When the last link there was made. */
  readonly #made = new Map<string, number>()

  /** `over`: aborts when the peer closes. */
  constructor(network: Network, over: AbortSignal) {
    this.#network = network
    this.#over = over
  }

  /** A peer has come to us, or we to it: what waits to try it again need not wait. */
  heardOf(peer: PeerId): void {
    for (const attempts of this.#under.values()) if (attempts.peer === peer) attempts.sooner()
    for (const sooner of this.#waiting.get(peer) ?? []) sooner()
  }

  /** Who asks a peer something again and again lets so many milliseconds pass in between, or less: see `heardOf`. */
  async wait(peer: PeerId, ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiting = this.#waiting.get(peer) ?? new Set()
    this.#waiting.set(peer, waiting.add(resolve))
    const timer = setTimeout(resolve, Math.min(ms, SOON))
    try {
      await untilAborted(promise, AbortSignal.any([signal, this.#over]))
    } finally {
      clearTimeout(timer)
      waiting.delete(resolve)
      if (waiting.size === 0 && this.#waiting.get(peer) === waiting) this.#waiting.delete(peer)
    }
  }

  /**
   * Until there is one. `failed` is told of each attempt that was in vain.
   * @throws DeniedError, PeerNotFoundError, PeerClosedError, UsageError; the reason of `signal`
   */
  async link(there: Place, signal: AbortSignal | undefined, failed: (error: Error) => void): Promise<Link> {
    signal?.throwIfAborted()
    if (this.#over.aborted) throw new PeerClosedError()
    const open = this.#network.linkThere(there)
    if (open) return open
    const { promise, resolve, reject } = Promise.withResolvers<Link>()
    promise.catch(() => undefined) // whoever gave it up
    const waiter: Waiter = { resolve, reject, failed }
    const attempts = this.#under.get(there.key)
    if (attempts) attempts.waiting.add(waiter)
    else void this.#try(there, waiter)
    await untilAborted(promise, signal)
    this.#under.get(there.key)?.waiting.delete(waiter)
    signal?.throwIfAborted()
    return promise
  }

  /** For as long as somebody waits. */
  async #try(there: Place, first: Waiter): Promise<void> {
    const attempts: Attempts = { peer: there.peer, waiting: new Set([first]), sooner: () => undefined }
    const { waiting } = attempts
    this.#under.set(there.key, attempts)
    const since = performance.now()
    const brief = BRIEF - (since - (this.#made.get(there.key) ?? Number.NEGATIVE_INFINITY))
    if (brief > 0) await this.#pause(attempts, brief)
    for (const pause of backOff()) {
      if (waiting.size === 0) break
      try {
        const link = this.#network.linkThere(there) ?? (await this.#network.linkTo(there))
        this.#made.set(there.key, performance.now())
        for (const { resolve } of waiting) resolve(link)
        break
      } catch (thrown) {
        const error = asError(thrown)
        if (this.#over.aborted || FINAL.has(codeOf(error) ?? '')) {
          for (const { reject } of waiting) reject(this.#over.aborted ? new PeerClosedError() : error)
          break
        }
        for (const { failed } of [...waiting]) failed(error)
      }
      if (waiting.size > 0)
        await this.#pause(attempts, performance.now() - since < LONG_GONE ? Math.min(pause, SOON) : pause)
    }
    this.#under.delete(there.key)
  }

  async #pause(attempts: Attempts, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    attempts.sooner = resolve
    await untilAborted(promise, this.#over)
    clearTimeout(timer)
  }
}
