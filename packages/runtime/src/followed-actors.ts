// Actors that are followed: of one that has ended meanwhile who follows it is told the rest.
import { codeOf } from './errors.ts'
import type { HostedActor } from './hosted-actor.ts'

/** Actors of a session whose last transitions are kept for who asks again; of more, who asks hears that they have ended. */
export const FOLLOWED_MOST = 32

export class FollowedActors {
  /** The one that was asked about longest ago comes first. */
  readonly #actors = new Map<string, HostedActor>()

  /** The actor of a job that `find` finds, or that it was when it was asked about last. @throws what `find` throws */
  async followed(job: string, find: () => HostedActor | Promise<HostedActor>): Promise<HostedActor> {
    let actor: HostedActor
    try {
      actor = await find()
    } catch (error) {
      const last = codeOf(error) === 'ACTOR_GONE' ? this.#actors.get(job) : undefined
      if (!last) throw error
      return last
    }
    this.#actors.delete(job)
    this.#actors.set(job, actor)
    const [oldest] = this.#actors.keys()
    if (this.#actors.size > FOLLOWED_MOST && oldest !== undefined) this.#actors.delete(oldest)
    return actor
  }
}
