// The surface of actors across peers: what programs are written against. Types only; nothing here runs.
import type {
  ActorRef,
  AnyEventObject,
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
  /**
   * Each actor runs in a process of its own. None: on the thread of its peer, for code that is trusted as much as that: what it
   * throws in a timer, or in a promise that nobody waits for, ends the peer, as it ends any program.
   */
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
  /** A snapshot after so many events; what came behind it is replayed after a restart. 1 to 65 536, default 256. */
  readonly every: number
  /** Makes of what version `from` had persisted what this version goes on with. None, or it throws: quarantined. */
  readonly migrate?: ((persisted: unknown, from: number) => unknown) | undefined
}

/** The events of a machine that may be sent to it; whatever event, where it is not known what it is made of. */
export type PublicEvent<D> =
  D extends MachineDefinition<infer M, infer P, any>
    ? string extends P
      ? AnyEventObject
      : Extract<EventFromLogic<M>, { type: P }>
    : AnyEventObject
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
  /**
   * Told of each event of a `send` that was refused over there, or could not be brought there; without an event, that what it
   * emits could not be heard, or not all of it (LimitError, PeerLostError). Default: nobody.
   */
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
 * `getSnapshot`, `select` and `id` are those of a local one; a snapshot comes at most once a turn, what it emits from the
 * call of `on` to its end. `stop()` stops the actor; disposing the ref lets go of it, and the actor goes on. Sent to another peer it arrives as its {@link ActorAddress}.
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

/** An actor that was found by its name, to be spoken to without a {@link Ref}: as a Job that is a machine can be. */
export interface NamedActor {
  /** What it was found by. */
  readonly name: string
  readonly address: ActorAddress
  /** As {@link Job.tell}. */
  tell(event: PublicEvent<unknown>, o?: Cancel): Promise<void>
  /** As {@link Job.ask}. */
  ask<T = unknown>(event: PublicEvent<unknown>, o?: { timeout?: Duration } & Cancel): Promise<Outcome<T>>
  /** As {@link Job.inspect}. */
  inspect(o?: Cancel): Promise<ActorInspection>
  /** As {@link Job.transitions}, to the end of this one. */
  transitions(o?: { after?: number } & Cancel): AsyncIterable<ActorTransition>
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
 * `stopped`: it was stopped. `peer lost`: its peer was started again without it, or it ended there while that was not heard of.
 * `unreachable`: its peer has not been heard of for the suspicion time; it may go on there. `gone`: there was none when it was to
 * be monitored, or it may not be seen any more.
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
  /** The key of the state that it begins in; of a history state, where it leads when there was none. */
  readonly initial?: string | undefined
  readonly history?: 'shallow' | 'deep' | undefined
  readonly tags?: readonly string[] | undefined
  /** What it runs while it is in it. */
  readonly invokes?: readonly string[] | undefined
  /** What it does when it comes to it, and when it leaves it. */
  readonly entry?: readonly string[] | undefined
  readonly exit?: readonly string[] | undefined
  readonly on: readonly ChartTransition[]
  readonly states: readonly ChartState[]
  /** The chart is large: so many of its transitions, and of the states in it at any depth, are not here. */
  readonly omitted?: { readonly transitions: number; readonly states: number } | undefined
}
/** What a state does on an event. */
export interface ChartTransition {
  /** `''`: always; `after 5000 ms`; `done of …`; else the event's type. */
  readonly event: string
  /** It may be sent from outside. */
  readonly public: boolean
  /** Keys from the root, `a.b`, `''` for the root itself; none: it stays where it is. With no actions either it is ignored. */
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
  /** When this was so, by the clock that its timers go by. */
  readonly at: Date
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

// ── supervision ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Who is started again with a child that went down. one-for-one: nobody. rest-for-one: those behind it in the list.
 * one-for-all: all. They are stopped first, the last one first, and started in order, each when the one before it is up.
 */
export type SupervisionStrategy = 'one-for-one' | 'one-for-all' | 'rest-for-one'

/**
 * permanent: a child is started again whyever it went down. transient: not after `exit` and `stopped`; a peer that goes down in
 * order has lost it. temporary: never, also not with others.
 */
export type ChildRestart = 'permanent' | 'transient' | 'temporary'

/** A child: an actor that is spawned, monitored, and spawned again. */
export interface ChildSpec<D extends MachineDefinition = MachineDefinition> extends Omit<
  SpawnOptions<SpawnInput<D>>,
  'signal' | 'startId' | 'onRefused'
> {
  /** Its name among its siblings: letters, digits and `_ . : -`. */
  readonly id: string
  /** Offered by each peer that it may be on; its definition, or its name. */
  readonly machine: D | string
  /**
   * The peers it may be on: the last good one is tried first, then the others in their order, also when the one it was on was
   * lost. Up to 64. Default: this peer.
   */
  readonly on?: string | readonly string[]
  /** Default `permanent`. */
  readonly restart?: ChildRestart
  /** A start at one peer that takes longer has failed. Default 30 s, at most 24 h. */
  readonly startWithin?: Duration
  /** One that takes longer to stop is waited for no more; it is still being stopped. Default 10 s, at most 24 h. */
  readonly stopWithin?: Duration
}

/** A child that is a supervisor itself: it runs where this one does, and its failing is that of a child. */
export interface NestedSupervisorSpec {
  /** Its name, too, behind that of the outer one. */
  readonly id: string
  readonly supervisor: Omit<SupervisorOptions, 'name'>
  /** Default `permanent`. */
  readonly restart?: ChildRestart
}

/** What a supervisor watches over, and how. */
export interface SupervisorOptions {
  /**
   * Default `supervisor`. Its children have the names `NAME/ID` on this peer: letters, digits and `_ . : / -`, at most 128. One
   * that somebody else has is not taken from him: that child cannot be started, `NAME_TAKEN`.
   */
  readonly name?: string
  /** Default `one-for-one`. */
  readonly strategy?: SupervisionStrategy
  /**
   * When more restarts than `times` (0 to 10 000, default 3) were needed `within` (default 5 s, at most 24 h), of all children
   * together, starting again does not help: it stops them all and fails. A start that failed because nobody was there to do it
   * does not count: that is waited out.
   */
  readonly intensity?: { readonly times?: number; readonly within?: Duration }
  /**
   * Pause before a child is started again: `delay` (default 100 ms), each time `factor` (1 to 1000, default 2) times the one
   * before, up to `most` (default 30 s, at most 24 h); from the beginning for one that has lived for `within`.
   */
  readonly backOff?: { readonly delay?: Duration; readonly factor?: number; readonly most?: Duration }
  /** 1 to 1 024, in the order in which they are started; supervisors in supervisors go 16 deep. */
  readonly children: readonly (ChildSpec<any> | NestedSupervisorSpec)[]
}

/**
 * Starting: not all of its children have been up yet. Running: all are up, or have done their work. Restarting: some are being
 * started again. Stopping, Failing: all are being stopped. Done: all have done their work. Failed: it gave up.
 */
export type SupervisorState =
  | 'Starting'
  | 'Running'
  | 'Restarting'
  | 'Stopping'
  | 'Failing'
  | 'Done'
  | 'Stopped'
  | 'Failed'

/** A child as it is at one moment. */
export interface SupervisedChild {
  readonly id: string
  /** waiting: for its turn, or a pause. ended: it is not started again, unless with others. */
  readonly state: 'waiting' | 'starting' | 'running' | 'stopping' | 'ended'
  /** Of the one that is up. */
  readonly address: ActorAddress | undefined
  /** The peer it is on, is being started on, or was on last; undefined for this one. */
  readonly on: string | undefined
  /** How often it was up again. */
  readonly restarts: number
  /** It is started then at the earliest. */
  readonly due: Date | undefined
  /** Why it was last not up, or could not be started. */
  readonly reason: Down['reason'] | 'refused' | 'timeout' | undefined
  readonly error: Error | undefined
  /** Of a child that is a supervisor. */
  readonly supervisor: SupervisorSnapshot | undefined
}

/** A supervisor as it is at one moment. */
export interface SupervisorSnapshot {
  readonly name: string
  readonly status: 'active' | 'done' | 'error' | 'stopped'
  readonly value: SupervisorState
  readonly children: readonly SupervisedChild[]
  /** Why it failed. */
  readonly error: Error | undefined
}

/**
 * An actor that starts others, here and on other peers, and starts them again when they go down. It runs in the process that
 * made it, and its children end with it: they are in temporary sessions of this peer.
 *
 * A child that went down as `unreachable` may go on where it is while another is started elsewhere. It is stopped as soon as
 * its peer is back; where it is not back in time its session ends by itself, `temporaryLease` (1 min) after that peer lost ours.
 * @example
 * await using workers = await peer.supervise({
 *   name: 'workers',
 *   children: [
 *     { id: 'one', machine: worker, on: ['server01', 'server02'] },
 *     { id: 'two', machine: worker, on: ['server02', 'server01'] },
 *   ],
 * })
 * await workers.ready()
 * const one = await workers.child('one')
 * one.send({ type: 'work' })
 */
export interface Supervisor extends AsyncDisposable {
  readonly name: string
  /** How it has ended: Done, Stopped or Failed. Never rejects. */
  readonly finished: Promise<SupervisorSnapshot>
  /** All its children are up, or have done their work. @throws SupervisorFailedError, ActorGoneError when it was stopped */
  ready(o?: Cancel): Promise<void>
  /**
   * A ref that follows the child from one incarnation to the next; of one in a nested supervisor: `inner/child`. To stop it
   * does not keep a permanent child from being started again. @throws UsageError when there is no such child
   */
  child(id: string): Promise<Ref<any>>
  /** How it is now. */
  getSnapshot(): SupervisorSnapshot
  /** Told of each change, and of its end by `complete`, or by `error` when it failed. */
  subscribe(
    observer:
      | ((snapshot: SupervisorSnapshot) => void)
      | {
          next?: (snapshot: SupervisorSnapshot) => void
          error?: (error: unknown) => void
          complete?: () => void
        },
    error?: (error: unknown) => void,
    complete?: () => void,
  ): Subscription
  /** How it is, now and whenever that has changed, to its end; what changes faster than it is read is told as one. */
  watch(o?: Cancel): AsyncIterable<SupervisorSnapshot>
  /** Stops its children, the last one first, and then is Stopped. Who gives up waiting does not keep it from that. */
  stop(o?: Cancel): Promise<void>
}

/** How shared fate has ended: `down` is the one that took the other with it, undefined where none did. */
export interface FateEnd {
  readonly down: Down | undefined
  /** Why the other one could not be stopped. */
  readonly error: Error | undefined
}

/** Two actors of which neither outlives the other's failure. Disposed, they have nothing to do with each other any more. */
export interface SharedFate extends Disposable {
  /** Settles once: one went down and the other was stopped, one has done its work, or it was disposed. Never rejects. */
  readonly ended: Promise<FateEnd>
}
