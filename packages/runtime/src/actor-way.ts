// The way to an actor, wherever it is. Implemented by a peer (actor-routes.ts: over its own links) and by a program beside a
// daemon (client-actors.ts: which asks that to pass it on); refs do not know which.
import type { ActorOutbox } from './actor-outbox.ts'
import type { ActorState } from './actor-state.ts'
import type { NameAnswer } from './actor-names.ts'
import type { ActorAddress, MachineDefinition, Monitor, Ref } from './actor-surface.ts'
import type { JobReading } from './link.ts'
import type { NameFollows } from './name-follows.ts'
import type { RequestOptions } from './session-ref.ts'
import type { Cancel, PeerId } from './surface.ts'
import type { Beat, ReadRequest, SessionEvent } from './wire.ts'

/** Why an actor is not seen that may be there, and be seen later: a grant, the address book or other watches may change. */
export const UNSEEN_FOR: ReadonlySet<string> = new Set(['DENIED', 'PEER_NOT_FOUND', 'LIMIT'])
/** It is looked for again after so long, in ms: nobody says when. */
export const LOOK_AGAIN_MS = 10_000

/** A job on a peer. */
export interface ActorPlace {
  readonly peer: PeerId
  readonly session: string
  readonly job: string
}

export interface RefOptions {
  /** What it is made of: then events are checked before they are sent. */
  readonly definition?: MachineDefinition | undefined
  /** As {@link SpawnOptions.onRefused}. */
  readonly onRefused?: ((error: Error, event: unknown) => void) | undefined
}

/** Who has a name, and on which peer it was looked for. */
export type Whereis = NameAnswer & { readonly peer: PeerId }

export interface ActorWay {
  /** Aborts when this peer, or program, closes. */
  readonly over: AbortSignal
  /** How soon a peer that is not heard of is suspected, in ms. */
  readonly beat: Beat
  /**
   * One request, over as many links as it takes, for as long as a lost one is retried (`lostAfter`).
   * @throws PeerUnreachableError, PeerLostError, OutcomeUnknownError, or what is refused
   */
  ask(place: ActorPlace, event: SessionEvent, options?: RequestOptions): Promise<unknown>
  /**
   * Follows it until the returned function is called, or its last state has been told. `away`: its peer cannot be reached;
   * it is tried again for as long as somebody watches.
   */
  watch(
    place: ActorPlace,
    epoch: number,
    listener: (state: ActorState) => void,
    away: (reason: Error) => void,
  ): () => void
  /** Who has those names that refs here follow. */
  readonly names: NameFollows
  /** What it says in that incarnation (0: whichever), as chunks. */
  read(place: ActorPlace, epoch: number, request: ReadRequest, signal: AbortSignal): JobReading
  /** What this process sends there, in order: one for all refs of an actor. */
  outbox(address: ActorAddress): ActorOutbox
  /** The same, where something may wait in it. */
  sending(address: ActorAddress): ActorOutbox | undefined
  /** For a question that leaves at once: whose it is, and its number among what is sent. */
  numbered(address: ActorAddress): { from: string; seq: number }
  ref(address: ActorAddress, options?: RefOptions): Promise<Ref>
  monitor(address: ActorAddress, options?: Cancel): Monitor
}

/** Where that is. */
export function placeOf({ peer, path }: ActorAddress): ActorPlace {
  const [session = '', job = ''] = path.split('/')
  return { peer, session, job }
}
