// An actor that is spoken to without a ref, and so without XState: through the job that it is, or by its address.
import { createChunkWriter, encode, type Cancel } from '@errand/transport'
import { askTimeout, inTime, outcomeOf } from './actor-outcome.ts'
import type {
  ActorAddress,
  ActorInspection,
  ActorTransition,
  NamedActor,
  Outcome,
  PublicEvent,
} from './actor-surface.ts'
import { codeOf } from './errors.ts'
import type { FeedAnswer } from './event-feed.ts'
import type { TellAnswer } from './hosted-actor.ts'
import type { RequestOptions } from './session-ref.ts'
import type { Duration } from './surface.ts'
import type { SessionEvent } from './wire.ts'

/** To whichever incarnation is at work. */
export type AskActor = (event: SessionEvent, options: RequestOptions) => Promise<unknown>

export class ActorHandle {
  readonly #request: AskActor
  readonly #triedAgain: (before: number, o: Cancel) => Promise<boolean>

  /** `triedAgain`: whether another one has come after that one, as soon as that is known. Default: none does. */
  constructor(request: AskActor, triedAgain: (before: number, o: Cancel) => Promise<boolean> = async () => false) {
    this.#request = request
    this.#triedAgain = triedAgain
  }

  async tell(event: PublicEvent<unknown>, o: Cancel = {}): Promise<void> {
    o.signal?.throwIfAborted()
    const chunk = createChunkWriter()
    chunk.add(event)
    // A sender of its own: of one sender what was asked again after a later one would be taken for old.
    const from = crypto.randomUUID()
    const told = { type: 'actor.tell' as const, epoch: 0, from, seq: 1, count: 1, bytes: chunk.finish() }
    const { refused } = (await this.#request(told, o)) as TellAnswer
    if (refused?.[0]) throw refused[0][1]
  }

  async ask<T>(event: PublicEvent<unknown>, o: { timeout?: Duration } & Cancel = {}): Promise<Outcome<T>> {
    const { signal } = o
    signal?.throwIfAborted()
    const timeout = askTimeout(o.timeout)
    return outcomeOf(async () => {
      const asked = { type: 'actor.ask' as const, epoch: 0, event: encode(event), timeout }
      return inTime(timeout, (until) => this.#request(asked, { signal, until }))
    }, o)
  }

  async inspect(o: Cancel = {}): Promise<ActorInspection> {
    return (await this.#request({ type: 'actor.inspect' }, o)) as ActorInspection
  }

  async *transitions(o: { after?: number } & Cancel = {}): AsyncGenerator<ActorTransition> {
    const { signal } = o
    let last = o.after ?? 0
    let epoch: number | undefined
    for (let cursor: string | undefined; !signal?.aborted;) {
      let events: readonly ActorTransition[]
      try {
        const event = { type: 'actor.transitions' as const, ...(cursor !== undefined && { cursor }) }
        const answer = (await this.#request(event, o)) as FeedAnswer<ActorTransition>
        ;({ cursor, events } = answer)
        // From here on none is missed; the last of those before are known as well.
        if (answer.begins) {
          const { address, transitions } = await this.inspect(o)
          if (epoch !== undefined && epoch !== address.epoch) last = 0
          epoch = address.epoch
          events = transitions
        }
      } catch (error) {
        if (signal?.aborted) return
        if (codeOf(error) !== 'ACTOR_GONE') throw error
        // All of it is told. Where the job is tried again, the next one goes on.
        if (epoch === undefined || !(await this.#triedAgain(epoch, o))) return
        cursor = undefined
        continue
      }
      for (const one of events) {
        if (one.seq <= last) continue
        last = one.seq
        yield one
      }
    }
  }
}

/** One that was found by its name. */
export class NamedActorHandle extends ActorHandle implements NamedActor {
  readonly name: string
  readonly address: ActorAddress

  constructor(name: string, address: ActorAddress, request: AskActor) {
    super(request)
    this.name = name
    this.address = address
  }
}
