// An actor in a process of its own, as the peer has it: what it is asked goes there undecoded, what it shows comes from there.
//
// Its process may do anything, not answering included. So whatever is on its way there is bounded, and who asks waits no
// longer here than he said.
import { addressOf } from '../actor-address.ts'
import type { ActorState } from '../actor-state.ts'
import type { ActorInspection, ActorTransition } from '../actor-surface.ts'
import { ActorGoneError, codeOf, LimitError, OutcomeUnknownError, TimeoutError } from '../errors.ts'
import { EventFeed, type FeedAnswer } from '../event-feed.ts'
import type { ActorJob, Asker, HostedActor, TellAnswer } from '../hosted-actor.ts'
import type { Ending } from '../job-machine.ts'
import type { Link } from '../link.ts'
import { untilAborted } from '../output-log.ts'
import { ACTOR_ASKS_MOST, type Address, type SessionEvent } from '../wire.ts'
import { RequestWindow } from './request-window.ts'

/** Batches on their way to one process at once, and their bytes: those of other senders wait here. */
export const BATCHES_UNDER_WAY = 64
export const BATCH_BYTES_UNDER_WAY: number = 1024 * 1024
/** Bytes of questions that a process has not answered yet; one alone may have more. */
export const ASK_BYTES_UNDER_WAY: number = 16 * 1024 * 1024
/** How long a process may take for what only people ask, in ms. */
export const INSPECT_MS = 2_000

export class ProcessActor implements HostedActor {
  readonly epoch: number
  readonly #name: string
  readonly #link: Link
  readonly #to: Address
  readonly #window = new RequestWindow(BATCHES_UNDER_WAY, BATCH_BYTES_UNDER_WAY)
  /** Not answered over there yet, whether anybody still waits here or not. */
  #asks = 0
  #askBytes = 0
  #watchers = 0
  #state: ActorState | undefined
  #inspecting: Promise<ActorInspection> | undefined
  #feed: EventFeed<ActorTransition> | undefined
  #over: ActorGoneError | undefined

  /** `name`: of the machine. Whoever made the link ends it. */
  constructor(name: string, epoch: number, job: string, link: Link) {
    this.#name = name
    this.epoch = epoch
    this.#link = link
    this.#to = { job }
  }

  async tell(from: string, seq: number, count: number, bytes: Uint8Array, signal?: AbortSignal): Promise<TellAnswer> {
    this.#throwIfOver()
    signal?.throwIfAborted()
    const { epoch } = this
    const event = { type: 'actor.tell' as const, epoch, from, seq, count, bytes }
    // What is on its way is not called back: asked again, it is taken once.
    let sent = false
    const send = (): Promise<unknown> => {
      sent = true
      return this.#ask(event)
    }
    const told = this.#window.pass(send, bytes.byteLength, signal)
    told.catch(() => undefined) // whoever gave it up
    try {
      await untilAborted(told, signal)
      if (signal?.aborted) throw sent ? this.#unknown(signal.reason) : signal.reason
      return (await told) as TellAnswer
    } catch (error) {
      throw codeOf(error) === 'PEER_LOST' ? this.#lost() : error
    }
  }

  async ask(bytes: Uint8Array, timeout: number, signal?: AbortSignal, by: Asker = {}): Promise<Uint8Array> {
    this.#throwIfOver()
    signal?.throwIfAborted()
    if (this.#asks >= ACTOR_ASKS_MOST)
      throw new LimitError(`${this.#name} has ${ACTOR_ASKS_MOST} questions to answer already`)
    if (this.#asks > 0 && this.#askBytes + bytes.byteLength > ASK_BYTES_UNDER_WAY)
      throw new LimitError(`${this.#name} has questions of ${ASK_BYTES_UNDER_WAY >> 20} MiB to answer already`)
    const unheard = new AbortController()
    let sent = false
    const given = (): void => unheard.abort(sent ? this.#unknown(signal!.reason) : signal!.reason)
    // The other side counts too; this is for when it does not come to that.
    const late = new OutcomeUnknownError(`${this.#name} gave no answer within ${timeout} ms`)
    const timer = setTimeout(() => unheard.abort(late), timeout)
    signal?.addEventListener('abort', given, { once: true })
    this.#asks++
    this.#askBytes += bytes.byteLength
    const send = (): Promise<unknown> => {
      sent = true
      const { from, seq } = by
      const numbered = from !== undefined && seq !== undefined && { from, seq }
      const event = { type: 'actor.ask' as const, epoch: this.epoch, event: bytes, timeout, ...numbered }
      // Given up it has its place until that was heard over there.
      return this.#link.ask(this.#to, event, { signal: unheard.signal, patient: true })
    }
    const asked = this.#window.pass(send, undefined, unheard.signal).finally(() => {
      this.#asks--
      this.#askBytes -= bytes.byteLength
    })
    asked.catch(() => undefined) // who waited for it may have left
    try {
      await untilAborted(asked, unheard.signal)
      unheard.signal.throwIfAborted()
      return (await asked) as Uint8Array
    } catch (error) {
      if (codeOf(error) !== 'PEER_LOST') throw error
      // It may have been handled before its process ended.
      throw sent
        ? new OutcomeUnknownError(`${this.#name} ended before it had answered`, { cause: error })
        : this.#lost()
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', given)
    }
  }

  /** One question is under way at once, for all who ask. */
  async inspect(job: ActorJob): Promise<ActorInspection> {
    this.#throwIfOver()
    const asked = (this.#inspecting ??= (this.#ask({ type: 'actor.inspect' }) as Promise<ActorInspection>).finally(
      () => (this.#inspecting = undefined),
    ))
    const { promise: late, reject } = Promise.withResolvers<never>()
    const why = `${this.#name} has not answered for ${INSPECT_MS} ms: it is busy, or was made to stand still`
    const timer = setTimeout(() => reject(new TimeoutError(why)), INSPECT_MS)
    try {
      const seen = await Promise.race([asked, late])
      const address = addressOf({ ...job, epoch: this.epoch }, job.peer, this.#name)
      return { ...seen, address, watchers: this.#watchers }
    } catch (error) {
      throw codeOf(error) === 'PEER_LOST' ? this.#lost() : error
    } finally {
      clearTimeout(timer)
    }
  }

  happened(cursor: string | undefined, signal: AbortSignal | undefined): Promise<FeedAnswer<ActorTransition>> {
    this.#feed ??= new EventFeed((tell) => this.#follow(tell))
    if (this.#over) this.#feed.end(this.#over)
    return this.#feed.since(cursor, signal)
  }

  watch(listener: (state: ActorState) => void): () => void {
    this.#watchers++
    let watching = true
    // All who watch share what is told of it: one state is under way at once.
    const unwatch = this.#link.watch<ActorState>({ ...this.#to, actor: this.epoch }, (state) => {
      this.#state = state
      if (watching) listener(state)
    })
    return () => {
      if (watching) this.#watchers--
      watching = false
      unwatch()
    }
  }

  get over(): boolean {
    return this.#over !== undefined
  }

  state(): ActorState | undefined {
    return this.#state
  }

  /** It has said how it ended, or its process has: from now on it takes nothing. What is on its way from there still counts. */
  ended({ outcome }: Ending): void {
    const how = outcome === 'completed' ? 'has done its work' : outcome === 'failed' ? 'has failed' : 'was stopped'
    this.#over ??= new ActorGoneError(`${this.#name} ${how}`)
  }

  /** Its process is gone. */
  [Symbol.dispose](): void {
    this.#feed?.end((this.#over ??= this.#lost()))
  }

  #ask(event: SessionEvent): Promise<unknown> {
    return this.#link.ask(this.#to, event)
  }

  #unknown(cause: unknown): OutcomeUnknownError {
    return new OutcomeUnknownError(`${this.#name} was told, and is not any more`, { cause })
  }

  #lost(): ActorGoneError {
    return this.#over ?? new ActorGoneError(`${this.#name} has ended with its process`)
  }

  #throwIfOver(): void {
    if (this.#over) throw this.#over
  }

  /** What happens over there, for the feed that is asked here: it outlives the process. */
  #follow(tell: (transition: ActorTransition) => void): () => void {
    const left = new AbortController()
    const { signal } = left
    const follow = async (): Promise<void> => {
      for (let cursor: string | undefined; !signal.aborted;) {
        const asked = { type: 'actor.transitions' as const, ...(cursor !== undefined && { cursor }) }
        const answer = (await this.#link.ask(this.#to, asked, { signal })) as FeedAnswer<ActorTransition>
        // More has happened over there than is kept: so it is here.
        if (answer.begins && cursor !== undefined) this.#feed!.missed()
        cursor = answer.cursor
        for (const one of answer.events) tell(one)
      }
    }
    follow().catch(() => undefined) // nobody asks any more, or it has ended: who asks hears that
    return () => left.abort()
  }
}
