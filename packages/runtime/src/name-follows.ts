// Names that are followed: who has each of them, told to whoever follows it, for as long as somebody does. One question under way
// for each, however many follow; over whatever link there is, and over the next one.
import { backOff, type PeerId } from '@errand/transport'
import type { NameAnswer } from './actor-names.ts'
import type { ActorAddress } from './actor-surface.ts'
import { asError, codeOf } from './errors.ts'

/** What a follower is told. */
export interface NameFollower {
  /** Who has it; undefined: nobody. Told first as soon as it is known, and again after it could not be asked for. */
  found(holder: ActorAddress | undefined): void
  /** It cannot be asked for now. It is tried again. */
  away(reason: Error): void
  /** It may not be asked for, or there is no such peer: nothing more is told. */
  refused(reason: Error): void
}

export interface FollowsHome {
  ask(peer: PeerId, name: string, cursor: string | undefined, signal: AbortSignal): Promise<NameAnswer>
  /** Lets so many milliseconds pass before that peer is tried again, or less. */
  wait(peer: PeerId, ms: number, signal: AbortSignal): Promise<void>
  /** No answer can ever come any more. */
  over(error: Error): boolean
}

interface Followed {
  readonly followers: Set<NameFollower>
  readonly abort: AbortController
  /** What was told last, to whoever comes later. */
  told: ((follower: NameFollower) => void) | undefined
}

/** A peer may come to be in the book, or to let us look; but nobody waits for that. */
const FINAL: ReadonlySet<string> = new Set(['DENIED', 'PEER_NOT_FOUND', 'USAGE'])

export class NameFollows {
  readonly #home: FollowsHome
  readonly #all = new Map<string, Followed>()

  constructor(home: FollowsHome) {
    this.#home = home
  }

  get size(): number {
    return this.#all.size
  }

  /** Until the returned function is called. Nothing is told within this call. */
  follow({ peer, name }: { readonly peer: PeerId; readonly name: string }, follower: NameFollower): () => void {
    const key = JSON.stringify([peer, name])
    let followed = this.#all.get(key)
    if (!followed) {
      followed = { followers: new Set(), abort: new AbortController(), told: undefined }
      this.#all.set(key, followed)
      void this.#ask(key, peer, name, followed)
    }
    const mine = followed
    mine.followers.add(follower)
    if (mine.told) queueMicrotask(() => mine.followers.has(follower) && mine.told?.(follower))
    return () => {
      mine.followers.delete(follower)
      if (mine.followers.size > 0) return
      mine.abort.abort()
      if (this.#all.get(key) === mine) this.#all.delete(key)
    }
  }

  /** Never rejects. */
  async #ask(key: string, peer: PeerId, name: string, followed: Followed): Promise<void> {
    const { signal } = followed.abort
    const tell = (what: (follower: NameFollower) => void): void => {
      followed.told = what
      for (const follower of [...followed.followers]) what(follower)
    }
    // Also where it is answered at once: not within the call that asked for it.
    await Promise.resolve()
    let cursor: string | undefined
    for (let pauses = backOff(); !signal.aborted;) {
      try {
        const answer = await this.#home.ask(peer, name, cursor, signal)
        if (signal.aborted) return
        const { holder } = answer
        cursor = answer.cursor
        pauses = backOff()
        tell((follower) => follower.found(holder))
      } catch (thrown) {
        if (signal.aborted) return
        const reason = asError(thrown)
        if (FINAL.has(codeOf(reason) ?? '') || this.#home.over(reason)) {
          // Who comes later asks anew.
          this.#all.delete(key)
          return tell((follower) => follower.refused(reason))
        }
        // Whoever was there may have gone since: it is to say who is, also where that is the same one.
        cursor = undefined
        tell((follower) => follower.away(reason))
        await this.#home.wait(peer, pauses.next().value, signal)
      }
    }
  }
}
