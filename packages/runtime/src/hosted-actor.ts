// An actor as its peer has it, whatever runs it: the peer's own thread (actor-host.ts) or a process (engine/process-actor.ts).
import type { ActorState } from './actor-state.ts'
import type { ActorInspection, ActorTransition } from './actor-surface.ts'
import type { FeedAnswer } from './event-feed.ts'
import type { JobSnapshot } from './surface.ts'

/** What came of a batch: those that were refused, by their place in it. The others are in the inbox. */
export interface TellAnswer {
  readonly refused?: readonly (readonly [index: number, error: Error])[] | undefined
}

/** Where a job is that is an actor. */
export type ActorJob = Pick<JobSnapshot, 'peer' | 'session' | 'instanceId'>

export interface HostedActor {
  /** Its incarnation, from 1. */
  readonly epoch: number
  /** Its end has been said: it takes nothing any more. */
  readonly over: boolean
  /**
   * A batch of one sender's. Settles when it is in the inbox: while that is full, the sender waits.
   * @throws ActorGoneError, ProtocolError
   */
  tell(from: string, seq: number, count: number, bytes: Uint8Array, signal?: AbortSignal): Promise<TellAnswer>
  /**
   * One event, and what the machine replies to it, encoded.
   * @throws InvalidEventError, EventNotAcceptedError, ActorGoneError, LimitError; OutcomeUnknownError: no answer in time
   */
  ask(bytes: Uint8Array, timeout: number, signal?: AbortSignal): Promise<Uint8Array>
  /** Told now, or as soon as it is there, and at most once a turn while it changes. */
  watch(listener: (state: ActorState) => void): () => void
  /** As it is, or was when it ended; undefined where it was not seen yet. */
  state(): ActorState | undefined
  /** Everything known of it, for people. @throws ActorGoneError, TimeoutError: it does nothing at all */
  inspect(job: ActorJob): ActorInspection | Promise<ActorInspection>
  /** What happened behind that cursor, as soon as something has. @throws ActorGoneError: it has ended, and all is told */
  happened(cursor: string | undefined, signal: AbortSignal | undefined): Promise<FeedAnswer<ActorTransition>>
}
