// The surface of actors across peers: what programs are written against. Types only; nothing here runs.
import type {
  ActorRef,
  AnyStateMachine,
  ContextFrom,
  EmittedFrom,
  EventFromLogic,
  InputFrom,
  OutputFrom,
  Readable,
  SnapshotFrom,
  StateValue,
  StateValueFrom,
  Subscription,
} from 'xstate'
import type { Cancel, Duration, PeerId, StandardSchema } from './surface.ts'

/**
 * A statechart that a peer offers by name: `createPeer({ machines: [approval] })`. Others spawn it, each needing the grant
 * `spawn:NAME`, and send no code. {@link defineMachine} makes one.
 */
export interface MachineDefinition<M extends AnyStateMachine = any, P extends string = string, C = any> {
  readonly name: string
  readonly machine: M
  /** What may be sent to it from outside: the closed list, each with the schema of its fields, or `true` for any. */
  readonly events: { readonly [type in P]: StandardSchema | true }
  /** Of the input it is spawned with. */
  readonly input?: StandardSchema | undefined
  /** What of it others see as `context`. Default: the whole context, but for actors in it. */
  readonly project?: ((snapshot: SnapshotFrom<M>) => C) | undefined
  /** Kept on disk, event by event: it goes on after its peer was killed. */
  readonly durable?: DurableRule | undefined
  /** Each actor runs in a process of its own. None: on the thread of its peer. */
  readonly isolate?: 'process' | undefined
  /** The file that exports it: what such a process imports. */
  readonly module?: string | undefined
  /** MiB of heap of such a process. */
  readonly maxMemory?: number | undefined
  /** For types alone. Never there. */
  readonly '~types'?: { readonly public: P; readonly context: C } | undefined
}

/** How a durable machine is kept. */
export interface DurableRule {
  /** Of the statechart: a peer that finds another one on disk asks `migrate`. From 1 on. */
  readonly version: number
  /** A snapshot after so many events. 1 to 65 536, default 256. */
  readonly every: number
  /** Makes of what version `from` had persisted what this version goes on with. None, or it throws: quarantined. */
  readonly migrate?: ((persisted: unknown, from: number) => unknown) | undefined
}

/** The events of a machine that may be sent to it. */
export type PublicEvent<D> =
  D extends MachineDefinition<infer M, infer P, any> ? Extract<EventFromLogic<M>, { type: P }> : { type: string }
/** What a ref shows of an actor made of this definition. */
export type RefSnapshot<D> =
  D extends MachineDefinition<infer M, any, infer C>
    ? ActorSnapshot<unknown extends C ? ContextFrom<M> : C, StateValueFrom<M>, OutputFrom<M>>
    : ActorSnapshot
/** What it takes to spawn one. */
export type SpawnInput<D> = D extends MachineDefinition<infer M, any, any> ? InputFrom<M> : unknown
/** What it emits. */
export type RefEmitted<D> = D extends MachineDefinition<infer M, any, any> ? EmittedFrom<M> : { type: string }

/** How an actor is spawned. */
export interface SpawnOptions<I = unknown> extends Cancel {
  /** For its machine's `input`; checked by the definition's schema, here and there. */
  input?: I
  /** Of the job that it is. Default `JobN`. */
  name?: string
  /**
   * Its name on its peer, for as long as it lives; free before its end is told. While another one has it nothing is spawned
   * (NameTakenError). Needs `run:script` there. See {@link Peer.whereis}.
   */
  register?: string
  /** The groups that it is in on its peer, for as long as it lives; at most 64. Needs the same. See {@link Peer.group}. */
  groups?: readonly string[]
  /** Same client, same id: one actor. Default: a new id per call. */
  startId?: string
  /** Told of each event of a `send` that was refused over there, or could not be brought there. Default: nobody. */
  onRefused?: (error: Error, event: unknown) => void
}

/** Where an actor is: plain data, which may be kept, sent, and made a ref again by `peer.ref(address)`. */
export interface ActorAddress {
  readonly peer: PeerId
  /** `SESSION/JOB`, by instanceId. */
  readonly path: string
  /** Its incarnation, from 1: one that was restarted is another one, and old refs are of no use for it. */
  readonly epoch: number
  /** What it is made of, for people. */
  readonly machine?: string | undefined
  /**
   * It is whoever has this name on that peer at the time: a ref follows it from one to the next. `path` and `epoch` are the
   * last one known, '' and 0 where none was.
   */
  readonly follow?: { readonly peer: PeerId; readonly name: string } | undefined
}

/** An actor as it was at one moment: plain data but for the three questions at its end. */
export interface ActorSnapshot<C = any, V = StateValue, O = unknown> {
  /** `gone`: nothing is known of it any more, see `reason`. */
  readonly status: 'active' | 'done' | 'error' | 'stopped' | 'gone'
  readonly value: V
  /** As the machine projects it. */
  readonly context: C
  readonly tags: ReadonlySet<string>
  /** Of its public events those that it has a transition for now; guards are not asked. */
  readonly accepts: readonly string[]
  readonly output: O | undefined
  readonly error: unknown
  readonly epoch: number
  /** Counts its events: which of two snapshots is the later one. */
  readonly seq: number
  /** As XState's: whether it is in this state, or below it. */
  matches(value: unknown): boolean
  /** Whether a state it is in has that tag. */
  hasTag(tag: string): boolean
  /** Whether its state has a transition for such an event; guards are not asked. */
  can(event: { readonly type: string }): boolean
}

/**
 * connecting: it has not been heard of yet. live: what is shown is how it is. stale: its peer cannot be reached, what is
 * shown is how it was; what is sent waits. gone: it has ended, was restarted, or may not be used (any more).
 */
export type RefState = 'connecting' | 'live' | 'stale' | 'gone'

/** What came of an ask. `unknown`: nobody can say whether it was handled. */
export type Outcome<T> =
  | { readonly outcome: 'ok'; readonly value: T }
  | { readonly outcome: 'error'; readonly error: Error }
  | { readonly outcome: 'unknown'; readonly error: Error }

/**
 * A reference to an actor, wherever it is. Usable wherever XState takes an ActorRef: its `send`, `subscribe`, `on`,
 * `getSnapshot`, `select` and `id` are those of a local one; a snapshot comes at most once a turn. `stop()` stops the actor;
 * disposing the ref lets go of it, and the actor goes on. Sent to another peer it arrives as its {@link ActorAddress}.
 */
export interface Ref<D = MachineDefinition>
  extends Omit<ActorRef<any, any, any>, 'send' | 'getSnapshot' | 'subscribe' | 'select'>, Disposable {
  readonly address: ActorAddress
  readonly state: RefState
  /** Why it is `gone` or `stale`. */
  readonly reason: Error | undefined
  /**
   * At most once, in order with what else this process sends it. Never waits: while the actor's inbox is full or its peer
   * is away it is kept here, up to 16 384 events or 4 MiB. What is refused over there is told to `onRefused`.
   * @throws InvalidEventError, ActorGoneError, LimitError: nothing was sent
   */
  send(event: PublicEvent<D>): void
  /**
   * The same, and settles when it is in the actor's inbox (of a durable one: on disk), once, over as many links as that takes:
   * wait for it to send no faster than the actor takes.
   * @throws InvalidEventError, ActorGoneError, DeniedError, LimitError
   */
  tell(event: PublicEvent<D>, o?: Cancel): Promise<void>
  /**
   * Sends it and waits for what the machine answers with `reply`. Its state accepts no such event: `error`. No answer within
   * `timeout` (default 30 s), or its peer is lost meanwhile: `unknown`. @throws the reason of `signal`
   */
  ask<T = unknown>(event: PublicEvent<D>, o?: { timeout?: Duration } & Cancel): Promise<Outcome<T>>
  /** As it was shown last: at most a turn and the way here ago while the ref is live. */
  getSnapshot(): RefSnapshot<D>
  /** Each snapshot from now on, then how it ended. What has failed elsewhere and nobody observes ends no program here. */
  subscribe(
    observer:
      | ((snapshot: RefSnapshot<D>) => void)
      | { next?: (snapshot: RefSnapshot<D>) => void; error?: (error: unknown) => void; complete?: () => void },
    error?: (error: unknown) => void,
    complete?: () => void,
  ): Subscription
  /** A part of its snapshot, told when that has changed. */
  select<T>(selector: (snapshot: RefSnapshot<D>) => T, equal?: (a: T, b: T) => boolean): Readable<T>
  /** How it is, now and whenever that has changed, to its end; what changes faster than it is read is told as one. */
  snapshots(o?: Cancel): AsyncIterable<RefSnapshot<D>>
  /** Its own state, now and whenever that has changed, to `gone`. */
  states(o?: Cancel): AsyncIterable<RefState>
  /** The first snapshot has come. @throws ActorGoneError, DeniedError */
  ready(o?: Cancel): Promise<void>
}

/** The actors behind a group's name, on this peer and on those that it is connected with, as they were at one moment. */
export interface GroupSnapshot {
  /** Of all peers that are `reached`. */
  readonly members: readonly ActorAddress[]
  /** This peer first. */
  readonly peers: readonly {
    readonly id: PeerId
    readonly name: string
    /** Its members are in it. Otherwise it cannot be reached now, or does not let us look, and whom it has is unknown. */
    readonly reached: boolean
    /** Why it is not. */
    readonly reason?: Error | undefined
  }[]
}

/**
 * Why an actor is no more, or cannot be seen any more: said once. `exit`: it has done its work. `error`: it has failed.
 * `stopped`: it was stopped. `peer lost`: its peer was started again without it. `unreachable`: its peer has not been heard of
 * for the suspicion time; it may go on there. `gone`: there was none when it was to be monitored, or it may not be seen.
 */
export interface Down {
  readonly address: ActorAddress
  readonly reason: 'exit' | 'error' | 'stopped' | 'peer lost' | 'unreachable' | 'gone'
  readonly error?: Error | undefined
  /** Of one that has done its work. */
  readonly output?: unknown
  readonly at: Date
}

/**
 * Waits for the one notice: from the call on, whether anybody iterates yet or not. It ends with its notice, when its `signal`
 * aborts, when it is disposed, or with the peer that monitors.
 * @example for await (const { reason } of peer.monitor(ref)) console.log(`it is down: ${reason}`)
 */
export interface Monitor extends AsyncIterable<Down>, Disposable {
  readonly address: ActorAddress
  /** The notice. Rejects where there will be none: it was left, or the peer that monitors was closed. */
  readonly down: Promise<Down>
}

/** One state of a statechart, for people. */
export interface ChartState {
  readonly key: string
  readonly kind: 'atomic' | 'compound' | 'parallel' | 'final' | 'history'
  /** It is in it now. */
  readonly active: boolean
  readonly initial?: string | undefined
  readonly tags?: readonly string[] | undefined
  /** What it runs while it is in it. */
  readonly invokes?: readonly string[] | undefined
  readonly on: readonly ChartTransition[]
  readonly states: readonly ChartState[]
}
/** What a state does on an event. */
export interface ChartTransition {
  /** `''`: always; `after 5000 ms`; `done of …`; else the event's type. */
  readonly event: string
  /** It may be sent from outside. */
  readonly public: boolean
  /** Keys from the root, `a.b`; none: it stays where it is. */
  readonly targets: readonly string[]
  readonly guard?: string | undefined
  readonly actions?: readonly string[] | undefined
}

/** Something that has happened in an actor. */
export interface ActorTransition {
  readonly seq: number
  readonly at: Date
  /** The event's type. */
  readonly event: string
  readonly from: StateValue
  readonly to: StateValue
  /** The state had no transition for it. */
  readonly ignored?: true | undefined
}

/** Everything known of an actor: what `errand inspect ACTOR` shows. */
export interface ActorInspection {
  readonly address: ActorAddress
  readonly machine: string
  readonly version?: number | undefined
  readonly durable: boolean
  readonly status: ActorSnapshot['status']
  readonly value: StateValue
  readonly context: unknown
  readonly accepts: readonly string[]
  /** What it waits for: it goes on by itself then. */
  readonly timers: readonly { readonly event: string; readonly due: Date }[]
  /** Events in its inbox. */
  readonly inbox: number
  readonly watchers: number
  readonly chart: ChartState
  /** The last 16, oldest first. */
  readonly transitions: readonly ActorTransition[]
}
