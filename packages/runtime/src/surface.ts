// The TypeScript surface: what programs are written against. Types only; nothing here runs.
import type { Cancel, PeerId } from '@errand/transport'
import type {
  ActorAddress,
  ActorInspection,
  ActorTransition,
  GroupSnapshot,
  MachineDefinition,
  Monitor,
  Outcome,
  PublicEvent,
  Ref,
  SharedFate,
  SpawnInput,
  SpawnOptions,
  Supervisor,
  SupervisorOptions,
} from './actor-surface.ts'

export type { Cancel, PeerId } from '@errand/transport'

/** Milliseconds, or text: `500ms 30s 5m 2h 7d`. */
export type Duration = number | string
/** Environment variables; `undefined` removes one. */
export type Env = Record<string, string | undefined>
/** The arguments of a script, behind its `ctx`: whatever `encode` takes. */
export type Args = readonly unknown[]
/** A program and its arguments. Never a shell line: use `['sh', '-c', line]` to ask for a shell. */
export type Command = readonly [string, ...string[]]

/**
 * A function that travels as its source text: what it refers to by name must be global there, or be given with `using`
 * (FreeVariableError otherwise). A generator's yields are the job's outputs, another function's awaited value is its one.
 */
export type Script<A extends Args = any, R = unknown> = (ctx: ScriptContext, ...args: [...A]) => R
/** What a job does: a function, a named job, a command, or text. */
export type Work<A extends Args = any, R = unknown> =
  | Script<A, R>
  | JobDefinition<A, R>
  | Command
  | Code
  | ModuleText
  | PromptLine
/** What `defineJob` makes: a job that is asked for by its name, with one value. */
export interface JobDefinition<I = any, R = unknown> {
  readonly name: string
  readonly input?: StandardSchema | undefined
  readonly output?: StandardSchema | undefined
  /** The file: URL of the module that exports it. */
  readonly module?: string | undefined
  /** What it does, with the input as its schema made it. */
  readonly run: (ctx: ScriptContext, input: any) => unknown
  /** For types alone: what it takes, and what its `run` returns. Never there. */
  readonly '~types'?: { readonly takes: I; readonly makes: R } | undefined
}
/** Text as after `-e`: one expression is its value; anything else is the body of an async generator. */
export interface Code {
  readonly code: string
}
/** The text of one self-contained ES module, types already stripped. Its default export (or `export`) is the script;
 * a module that exports none is a program: running it is the job. Imports: `node:` modules only. */
export interface ModuleText {
  readonly module: string
  readonly export?: string | undefined
  /** What the Command column shows. */
  readonly file?: string | undefined
}
/** One line of an interactive session: declarations stay in the runspace, the last value is the output. */
export interface PromptLine {
  readonly line: string
}
/** What a job says for what a script returns: a generator's yields one by one, otherwise the awaited value. */
export type Output<R> = R extends AsyncGenerator<infer T> ? T : R extends Generator<infer T> ? T : Awaited<R>
/** A name opens a temporary session there; a Session is borrowed. */
export type Target = string | Session
/**
 * `run:job:NAME`: to start that named job, exactly that, and to say nothing of how it runs; `spawn:NAME`: the same of a
 * machine. No other grant implies them. `jobs:…`: what one may do with jobs and actors of others, by their addresses: `read`
 * looks at them, `send` sends to them, `answer` answers their questions, `stop` ends them.
 */
export type Grant =
  | 'connect'
  | 'run:script'
  | 'run:command'
  | `run:job:${string}`
  | `spawn:${string}`
  | `jobs:${'read' | 'send' | 'answer' | 'stop'}`
  | 'admin'

/**
 * PowerShell's states. NotStarted: it waits for its turn, for another job or for its time. Blocked: it asks something
 * (`question`). Suspended: it was told to stand still. Disconnected: the peer it runs on cannot be reached, it goes on
 * there as far as anybody knows. Completed, Failed and Stopped are final.
 */
export type JobState =
  | 'NotStarted'
  | 'Running'
  | 'Blocked'
  | 'Suspended'
  | 'Disconnected'
  | 'Stopping'
  | 'Completed'
  | 'Failed'
  | 'Stopped'
/** Where it runs: on another peer, in a process of its own, in a thread; a map is a PSTaskJob, an actor a MachineJob. */
export type JobType = 'RemoteJob' | 'BackgroundJob' | 'ThreadJob' | 'PSTaskJob' | 'MachineJob'
/**
 * Opened: it can be used. Disconnected: nobody is attached, or its link was lost for longer than `lostAfter`; its jobs go
 * on there, and `connect` opens it again. Closed and Broken are final: it was closed, or is found to be gone there.
 */
export type SessionState = 'Opening' | 'Opened' | 'Disconnecting' | 'Disconnected' | 'Connecting' | 'Closed' | 'Broken'
/** What happens when reader `owner` leaves as much unread as is kept: the producer waits, or the oldest records go. */
export type Buffering = 'block' | 'drop'
/** PowerShell's word: Available for a run, Busy with one, None while it is not Opened or another client has it. */
export type Availability = 'None' | 'Available' | 'Busy'

/** `output` is what a script yields or returns; the rest are PowerShell's streams; a `gap` marks lost records. */
export type Kind = 'output' | 'error' | 'warning' | 'verbose' | 'debug' | 'information' | 'progress' | 'gap'

/** How far a job is, as far as it says. Records of one `activity` follow each other; `completed` ends it. */
export interface Progress {
  /** What is being done: what tells one bar from another. */
  activity: string
  /** What it is at just now. */
  status?: string
  /** 0 to 100 */
  percent?: number
  /** As estimated by the script. */
  secondsRemaining?: number
  completed?: boolean
}

/** What a script asks whoever watches over it (`ctx.ask`). */
export interface Question {
  /** Counted per job, from 1. */
  readonly id: string
  readonly prompt: string
  /** One of these, where it is a choice. */
  readonly choices?: readonly string[] | undefined
  /** What an empty answer means. */
  readonly default?: unknown
  /** It is not to be shown while it is typed. */
  readonly secret?: boolean | undefined
  /** What an answer looks like, as JSON Schema, where the script's schema can say so. */
  readonly schema?: unknown
  readonly askedAt: Date
}
/** What `ctx.ask` takes. `schema`: any Standard Schema; what does not fit is refused, and the question stays open. */
export interface Asking {
  prompt: string
  choices?: readonly string[]
  default?: unknown
  secret?: boolean
  schema?: StandardSchema
}
/** The part of a Standard Schema (standardschema.dev, version 1) that is used here: zod, valibot, arktype and others. */
export interface StandardSchema<Output = unknown, Input = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    /** What it makes of a value, or what is wrong with it. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}
/** What a schema says: the value as it makes it, or why it does not fit. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] }

/** One thing a job said. `seq` counts from 0 over all kinds of one job (of one child, under a parent). */
export type JobRecord<O = unknown> = { seq: number; at: Date; location: string; jobId: string } & (
  | { kind: 'output'; value: O }
  | { kind: 'error'; error: Error }
  | { kind: 'warning' | 'verbose' | 'debug' | 'information'; value: unknown }
  | ({ kind: 'progress' } & Progress)
  | { kind: 'gap'; dropped: number }
)

/**
 * What `writeEvents` puts among the records: a job of the stream stands still (Blocked, Suspended, Disconnected) or has
 * ended. It is no record: it has no number, moves no cursor and is in no log. It comes behind what had arrived of its job
 * by then (an ending behind the last record, always), and a child's before its parent's.
 */
export interface JobEvent {
  readonly kind: 'state'
  /** When it came to that state. */
  readonly at: Date
  readonly location: string
  readonly jobId: string
  readonly state: JobState
  readonly previous: JobState
  /** Why, where there is a reason: of a failure, a stop, a lost link. */
  readonly reason?: Error | undefined
}

/**
 * What happens on a peer, or in one session. `begin`: from here on nothing is left out, look at what there is now. It is the
 * first event, and comes again where some were missed: the reader was too slow, or the peer was started again.
 */
export type PeerEvent = { readonly at: Date } & (
  | { readonly kind: 'begin' }
  | {
      readonly kind: 'job'
      /** As it is now, without its `children`: each has events of its own. Texts of more than 1000 characters are cut. */
      readonly job: JobSnapshot
      /** Those it has come to since its last event, oldest first. None: something else about it is new. */
      readonly states: readonly { readonly state: JobState; readonly at: Date }[]
      readonly removed?: true | undefined
    }
  | {
      readonly kind: 'session'
      readonly session: SessionSnapshot
      /** Of another peer, or of this one's own clients, here; else one that this peer holds elsewhere. */
      readonly hosted: boolean
      /** The state before; of a new one none. */
      readonly previous?: SessionState | undefined
      /** It is listed no more. */
      readonly removed?: boolean | undefined
    }
  | {
      readonly kind: 'peer'
      readonly peer: PeerInfo
      readonly wasConnected: boolean
      /** It is in the address book no more. */
      readonly removed?: boolean | undefined
    }
)

/** Of a map: its inputs, each counted once behind `taken`. */
export interface ItemCounts {
  /** Those that have come so far: the sum of the others. */
  readonly taken: number
  readonly done: number
  readonly failed: number
  readonly running: number
  /** No worker has begun them, or they were stopped. */
  readonly queued: number
}

/** An item of a map that failed: the row of a child. Those that run or are done are only counted. */
export interface ItemSnapshot {
  /** Its place among the inputs, from 0. */
  readonly index: number
  /** `Job3.18` for index 17. */
  readonly name: string
  readonly state: 'Failed'
  /** The record that says so. */
  readonly seq: number
  /** When it failed, and why; undefined where the log keeps that record no more. */
  readonly endedAt?: Date | undefined
  readonly reason?: Error | undefined
}

/** A job as it was at one moment: plain, frozen data. What crosses the wire when a script returns a job. */
export interface JobSnapshot {
  readonly id: number
  readonly instanceId: string
  readonly name: string
  readonly command: string
  readonly location: string
  /** The peer in whose job table it stands. */
  readonly peer: PeerId
  /** instanceId of the session that owns it. */
  readonly session: string
  readonly type: JobType
  readonly state: JobState
  readonly hasMoreData: boolean
  /**
   * It is in that state, and waits for its reader: as much as is kept was left unread by reader `owner` (of a parent: of one
   * of its children). It goes on when some of it is received, or when its session's buffering becomes `drop`.
   */
  readonly paused?: 'output-full' | undefined
  readonly reason?: Error | undefined
  readonly exitCode?: number | undefined
  readonly begunAt?: Date | undefined
  readonly endedAt?: Date | undefined
  readonly errorCount: number
  /** What it waits for an answer to, while it is Blocked; of a parent, its children's first. */
  readonly question?: Question | undefined
  /** The states it has been in, oldest first, with when it came to each; at most the last 32. */
  readonly history: readonly { readonly state: JobState; readonly at: Date }[]
  /** Process id of the work, where it runs in a process of its own; for people, never for addressing. */
  readonly pid?: number | undefined
  /** True when the script returned a generator: its outputs are a stream, not one value. */
  readonly streamed?: boolean | undefined
  /** Its present attempt, counted from 1; said of those that needed more than one. */
  readonly epoch?: number | undefined
  /** For a child: its parent's id and its position in it, e.g. `3.1`. */
  readonly parentId?: number | undefined
  readonly position?: number | undefined
  /** Of a map: its items, when the snapshot was made. Their numbers alone are no news to who watches. */
  readonly items?: ItemCounts | undefined
  readonly children: readonly JobSnapshot[]
}

/** A session as it was at one moment: plain, frozen data. */
export interface SessionSnapshot {
  /** The holder's own number; on the peer that hosts it, the host's. */
  readonly id: number
  readonly instanceId: string
  readonly name: string
  /** Name of the peer it is on, as the viewer calls it. */
  readonly location: string
  readonly peerId: PeerId
  readonly transport: string
  readonly configurationName: string
  readonly computerType: 'RemoteMachine'
  readonly state: SessionState
  readonly availability: Availability
  /** Milliseconds; how long it lives on without a client. */
  readonly idleTimeout: number
  /** When it ends unless taken up: known while nobody is attached. */
  readonly expiresAt?: Date | undefined
  /** Of its jobs. */
  readonly buffering: Buffering
  /** Jobs in its table. */
  readonly jobs: number
  /** Counts runspaces: one more each time variables were lost. */
  readonly epoch: number
  readonly reason?: Error | undefined
}
/** A session in a list: what {@link Peer.sessions} gives. */
export type SessionInfo = SessionSnapshot

export interface StartOptions<A extends Args = any> extends Cancel {
  args?: A
  /** Values the script's text refers to by name: `using: { limit }`. */
  using?: Record<string, unknown>
  /**
   * What the script reads from `ctx.input`, and a command from its standard input (text as lines, bytes as they are). It
   * is read only as fast as the job takes it. A job's outputs, when it is a job.
   */
  input?: Iterable<unknown> | AsyncIterable<unknown> | Job
  /** Default `JobN`. */
  name?: string
  /** Default: a script gets a process of its own. */
  engine?: 'runspace' | 'thread' | 'process'
  cwd?: string
  env?: Env
  /**
   * Done first, in the same isolate and with the same `args` and `using`: what it yields or returns comes before the
   * job's own outputs (a run's value is then the array of all), what it puts on `globalThis` is there, and what it throws
   * fails the job. In a map each thread does it once. Not for commands and named jobs.
   */
  init?: Script | ModuleText | Code
  /**
   * MiB of JavaScript heap, 32 to 1 048 576 (buffers lie outside of it): a script that needs more is Failed `ENGINE_EXIT`,
   * and only it. It gets a thread or a process of its own, also as a `run`. Not for commands. Default: Node's own limit.
   */
  maxMemory?: number
  /** What the script's process may do; it gets one of its own, also as a `run`. Default: all that the peer's user may. */
  permissions?: Permissions
  /**
   * The job's limit: then what has not completed is stopped, and is Failed `TIMEOUT`. Counted from its launch (behind
   * `delay` and `after`), whatever it is at: waiting for its turn, Blocked, Suspended or between attempts. With `on` it is
   * one limit for all. What cannot be reached then is ended by the peer it runs on. Default none.
   */
  deadline?: Duration
  /** It is NotStarted for so long, and can be stopped meanwhile; behind `after` it is counted from there. Default 0. */
  delay?: Duration
  /**
   * A job of the same table: this one is NotStarted until that one has Completed. Is that one Failed or Stopped, this one
   * is Stopped, and its reason says so.
   */
  after?: number | string | Job | JobSnapshot
  /** Done again when it fails: it may be done several times. With `on`, each child for itself. Default: never. */
  retry?: RetryPolicy
  /** Done again whenever it fails, for work that is to go on for good. Not together with `retry`. Default: never. */
  restart?: RestartPolicy
  /** Same client, same id: one job. Default: a new id per call. */
  startId?: string
}

/**
 * Node's permission model for one process (nodejs.org/api/permissions.html): what is not named here is refused to the
 * script with `ERR_ACCESS_DENIED`, which is an error like any other. A seat belt, not a wall: Node itself does not claim
 * to hold back malicious code with it, and the network is not part of it. Reading the code it runs on is always allowed.
 */
export interface Permissions {
  /** Files, directories with all in them, or beginnings (`/srv/log-*`); `*` is everything. Relative to the job's `cwd`. */
  read?: readonly string[]
  write?: readonly string[]
  /** Starting programs, which may do whatever they like. Default false. */
  childProcess?: boolean
  /** Starting threads, in which none of this holds. Default false. */
  worker?: boolean
}

/**
 * After a failure the job stays what it is, one job with one log: a warning marks where the next attempt begins, and
 * `epoch` counts. It is Failed when the last attempt is. A stop or the deadline ends it also between attempts; no input
 * can be given with it, and the next attempt waits while its log is full.
 */
export interface RetryPolicy {
  /** At most so many attempts more. 0 to 10 000. */
  times: number
  /** Before the second attempt. Default 1 s. */
  delay?: Duration
  /** Each wait is so many times the one before, up to 24 h. 1 to 1000, default 2. */
  factor?: number
}
/** As RetryPolicy, at once and for ever: unless it fails more than `times` times `within`. Then Failed `RESTART_INTENSITY`. */
export interface RestartPolicy {
  /** 0 to 10 000. */
  times: number
  within: Duration
}

/** For a named job: `args` is its one value, as its `input` schema takes it. */
export interface NamedJobOptions<I> extends Omit<StartOptions, 'args' | 'using'> {
  args?: I
}
/** Needed where the job cannot do without a value. */
export type NamedJobArgs<I, More = unknown> = undefined extends I
  ? [o?: NamedJobOptions<I> & More]
  : [o: NamedJobOptions<I> & { args: I } & More]

/** How a map is done; all else as for `start`. */
export type MapOptions = Omit<StartOptions, 'input' | 'args' | 'engine'> & {
  /**
   * Items at once, on each peer. 1 to 1024, default 5. As many as there are cores, and at least 5, have a thread each; of
   * more, those that wait for something share threads. With `ordered` each has its own.
   */
  throttle?: number
  /** Outputs in the order of the inputs. Default false: as they come. */
  ordered?: boolean
  /** For each item: then its `ctx.signal` aborts, it has failed TIMEOUT, and nobody waits for it. Default none. */
  itemTimeout?: Duration
  /**
   * Done by these peers, which get inputs as they have room. One that cannot be reached, or is lost, takes no more part: a
   * warning says so. What a lost one was given and had not said to be done has failed PEER_LOST: it may have been done,
   * and nobody does it again. When none is left the job has failed.
   */
  on?: Target | readonly Target[]
  /** With `on`: how long a lost link is retried. Default 4 min. */
  lostAfter?: Duration
}

/** What a script gets as its first argument; behind `-e` the same is in scope by name. */
export interface ScriptContext {
  /** What `job.send` and the option `input` give it; ends with `endInput`. Read once. */
  readonly input: AsyncIterable<unknown>
  /** Aborts when the job is stopped or its deadline is over: what it awaits should end with it. */
  readonly signal: AbortSignal
  /** The name of the peer this runs on. */
  readonly location: string
  readonly cwd: string
  /** The session this runs in; a job started there ends with it. */
  readonly session: Session
  /** Rejects when the job is stopped. */
  readonly sleep: (ms: number) => Promise<void>
  /** Asks whoever watches over the job: it is Blocked until one of them has answered. Rejects when it is stopped. */
  readonly ask: (question: Asking | string) => Promise<any>
  /** Says how far it is. */
  readonly progress: (p: Progress) => void
  /** An error record; the script goes on. To fail, throw. */
  readonly error: (e: unknown) => void
  /** A record of PowerShell's warning stream. */
  readonly warn: (v: unknown) => void
  /** A record of the verbose stream. */
  readonly verbose: (v: unknown) => void
  /** A record of the debug stream. */
  readonly debug: (v: unknown) => void
  /** A record of the information stream. */
  readonly info: (v: unknown) => void
}

/**
 * Which jobs: those for which all of it holds, by number. `id`, `name`, `state` and `command` choose jobs; then children
 * are appended; `hasMoreData`, `before`, `after` and at last `newest` choose among what there is then.
 */
export interface JobFilter {
  id?: number | number[]
  /** `*` and `?` are wildcards; case does not matter. A child is found by its own name where its parent's does not fit. */
  name?: string
  state?: JobState | JobState[]
  /** Appends the children in this state behind their parents, and instead of `includeChildren`; every parent stays. */
  childState?: JobState
  hasMoreData?: boolean
  /** Appends all children behind their parents. */
  includeChildren?: boolean
  /** The n that ended last; what has not ended counts as the newest. */
  newest?: number
  /** Ended before this, strictly; what has not ended is left out. */
  before?: Date
  /** Ended after this, strictly; what has not ended is left out. */
  after?: Date
  /** Compared without space around it, in any case; `*` and `?` are wildcards. */
  command?: string
}

/** How a job is read. When `signal` aborts, the stream ends where it is. */
export interface ReceiveOptions extends Cancel {
  /** Read without moving the cursor. Default false. */
  keep?: boolean
  /** Go on to the job's end, also while it is Blocked, Suspended or Disconnected. Default false: what there is now. */
  follow?: boolean
  /** Start at this record instead of the cursor; moves no cursor. A parent has one sequence per child: only 0 there. */
  from?: number
  /** Start so many records before the end, whatever their kind; of a parent, of each child. Moves no cursor. */
  tail?: number
  /** Only these. The cursor passes the others as well: use `keep`, or another `reader`, to have them later. */
  kinds?: Kind[]
  /** Only what was said there, in any case: of a parent, the children at that place. Nobody is there: nothing comes. */
  location?: string
  /** At most this many records, of `kinds`; the cursor stays behind the last of them. */
  limit?: number
  /** Whose cursor: each name has its own, a new one begins at the first record. 1 to 256 characters. Default `owner`. */
  reader?: string
  /** false: the job itself without its children. Default true. */
  recurse?: boolean
  /** State changes too, each in its place: see JobEvent. Without `follow`, how each job is when all was read. */
  writeEvents?: boolean
  /**
   * With `follow`: removes the job once it has ended and its last record was taken, for every reader. Not when the
   * consumer leaves early, `limit` or `signal` ends the stream, or the job can only be followed no longer.
   */
  remove?: boolean
}

/**
 * A handle on a job: what is known of it changes as news comes, and each method asks the peer in whose table it stands.
 * Iterating it is `receive({ follow: true })`. Disposing it (`await using`) lets go of the handle; the job goes on.
 */
export interface Job<O = unknown> extends AsyncIterable<JobRecord<O>>, AsyncDisposable {
  /** Counted per session; 0 for a run, which is in no table. */
  readonly id: number
  readonly instanceId: string
  readonly name: string
  readonly command: string
  readonly location: string
  readonly peer: PeerId
  readonly type: JobType
  readonly state: JobState
  readonly hasMoreData: boolean
  readonly reason?: Error | undefined
  readonly exitCode?: number | undefined
  readonly begunAt?: Date | undefined
  readonly endedAt?: Date | undefined
  readonly errorCount: number
  /** What it waits for an answer to. */
  readonly question?: Question | undefined
  readonly snapshot: JobSnapshot
  readonly children: readonly Job<O>[]
  readonly parent?: Job<O> | undefined
  /** Settles when the job has ended, in every case; never rejects. */
  readonly finished: Promise<JobSnapshot>
  /**
   * What there is now, then ends; `follow` goes on to the end. Moves the reader's cursor past each record taken: what the
   * consumer did not take comes next time. @throws UsageError, JobNotFoundError, PeerLostError
   */
  receive(o: ReceiveOptions & { writeEvents: true }): AsyncIterable<JobRecord<O> | JobEvent>
  /** The same, records alone. */
  receive(o?: ReceiveOptions): AsyncIterable<JobRecord<O>>
  /**
   * Waits as `wait` does, then every output from the first on. Moves no cursor: a job that says more than is kept unread is
   * `paused` until somebody receives it. @throws JobFailedError; LimitError when some of it is kept no more
   */
  output(o?: Cancel): Promise<O[]>
  /** Writes the records to a file on the job's own peer (0600) and moves the cursor as `receive` does. */
  save(path: string, o?: ReceiveOptions & { format?: 'text' | 'ndjson' }): Promise<void>
  /** A snapshot now and whenever it has changed, to its end; what changes faster than it is read is told as one. */
  watch(o?: Cancel): AsyncIterable<JobSnapshot>
  /**
   * To its `ctx.input`, and of a parent to all its children's. Settles when it was taken and there is room for more; calls
   * of one turn go together. @throws InputClosedError, LimitError, NotTransferableError
   */
  send(value: unknown, o?: Cancel): Promise<void>
  /** No more of it: its `ctx.input` ends behind what was sent. */
  endInput(o?: Cancel): Promise<void>
  /**
   * Answers its question; the first answer that fits wins.
   * @throws InvalidAnswerError: the question stays open; QuestionAnsweredError; JobStateError when it asks nothing
   */
  answer(value: unknown, o?: { question?: string } & Cancel): Promise<void>
  /**
   * A process stands still at once, a script elsewhere at its next `yield`, `sleep` or `ask`; a machine takes nothing more out
   * of its inbox, while its timers and what it invokes go on. Settles when it does.
   */
  suspend(o?: Cancel): Promise<JobSnapshot>
  /** @throws JobStateError unless it is Suspended */
  resume(o?: Cancel): Promise<JobSnapshot>
  /**
   * So many at work at once from now on: targets of a job of several (1 to 1 000 000), items of a map (1 to 1024). With more
   * than there were, the next ones begin; with fewer, those at work end in their own time. @throws UsageError, JobStateError
   * for any other job, and when it has ended
   */
  setThrottle(most: number, o?: Cancel): Promise<JobSnapshot>
  /**
   * Until finished, or in one of the states of `for`; through Blocked, Suspended and Disconnected unless `for` names them
   * (`waitAll` stops there). `timeout` 0 looks once. @throws TimeoutError: the job goes on, its outcome unknown
   */
  wait(o?: { timeout?: Duration; for?: JobState[] } & Cancel): Promise<JobSnapshot>
  /** Asks, waits `grace` (5 s), then ends it by force. Resolves when it has ended. */
  stop(o?: { grace?: Duration; reason?: string } & Cancel): Promise<JobSnapshot>
  /**
   * Of a map: the items that failed, in the order in which they did, from the `from`-th on (default 0), at most `limit`
   * (1 to 1000, default 100); fewer are the last ones. Of the first 100 000 there are rows, of more only the count in
   * `snapshot.items`. @throws JobStateError when it is no map
   */
  items(o?: { from?: number; limit?: number } & Cancel): Promise<readonly ItemSnapshot[]>
  /**
   * Of a MachineJob: one event for the actor that it is. Settles when it is in its inbox; calls that do not wait for each other
   * have no order. @throws InvalidEventError, ActorGoneError once it has ended, UsageError for any other job
   */
  tell(event: PublicEvent<unknown>, o?: Cancel): Promise<void>
  /**
   * Of a MachineJob: as `tell`, and waits for what the machine answers with `reply`, as {@link Ref.ask} does. It never throws but
   * the reason of `signal`: what is refused, and that it is no MachineJob, is an outcome too.
   */
  ask<T = unknown>(event: PublicEvent<unknown>, o?: { timeout?: Duration } & Cancel): Promise<Outcome<T>>
  /** Of a MachineJob: everything known of its actor. @throws ActorGoneError once it has ended, UsageError for any other job */
  inspect(o?: Cancel): Promise<ActorInspection>
  /**
   * Of a MachineJob: what happened last in its actor (16 at most, of those behind `after`), then whatever happens, to its end.
   * Where `seq` jumps some were missed; where it falls it is another one, the job was tried again. @throws UsageError
   */
  transitions(o?: { after?: number } & Cancel): AsyncIterable<ActorTransition>
  /**
   * Takes it and its records away; `force` stops it first. Handles keep what they knew. @throws JobNotFinishedError unless
   * finished or `force`; UsageError for a child, which goes with its parent; JobNotFoundError
   */
  remove(o?: { force?: boolean } & Cancel): Promise<void>
}

/** One call: await it for the value, iterate it for outputs as they come, `records()` for all streams. */
export interface Run<R = unknown> extends PromiseLike<RunValue<R>>, AsyncIterable<Output<R>> {
  /** Everything it says, of every kind, as it comes. Read once, here or by iterating. */
  records(): AsyncIterable<JobRecord<Output<R>>>
  /**
   * The run as a job, while it is under way: to follow its state, to answer what it asks, to stop it harder.
   * @throws JobNotFoundError once it has ended and been read; what it was refused with
   */
  job(o?: Cancel): Promise<Job<Output<R>>>
}
/** What awaiting a {@link Run} gives: all that a generator yielded, otherwise the one value. */
export type RunValue<R> = R extends AsyncGenerator<infer T> ? T[] : R extends Generator<infer T> ? T[] : Awaited<R>

/** What {@link Session.complete} found. */
export interface Completion {
  /** Whole names, each beginning with `on`, what was made in the session first. At most 200. */
  readonly names: readonly string[]
  /** The end of the text, in whose place one of them could stand. */
  readonly on: string
  /** How many more there are. */
  readonly more: number
}

/**
 * A place on another peer (or this one) that keeps variables, jobs and their output. It lives there until it is closed,
 * or its `idleTimeout` has passed without a client; disposing it (`await using`) closes one that is Opened and leaves one
 * that was disconnected alone.
 */
export interface Session extends AsyncDisposable {
  readonly id: number
  readonly instanceId: string
  readonly name: string
  readonly location: string
  readonly peerId: PeerId
  readonly transport: string
  readonly configurationName: string
  readonly computerType: 'RemoteMachine'
  readonly state: SessionState
  readonly availability: Availability
  readonly snapshot: SessionSnapshot
  /** Runs in the session's runspace: what is put on `globalThis` stays. One at a time. @throws SessionBusyError */
  run<I, R>(job: JobDefinition<I, R>, ...o: NamedJobArgs<I>): Run<R>
  /** The same for anything but a named job. */
  run<A extends Args, R>(work: Work<A, R>, o?: StartOptions<A>): Run<R>
  /** Starts a job that lives there; its results stay there until received. */
  start<I, R>(job: JobDefinition<I, R>, ...o: NamedJobArgs<I>): Promise<Job<Output<R>>>
  /** The same for anything but a named job. */
  start<A extends Args, R>(work: Work<A, R>, o?: StartOptions<A>): Promise<Job<Output<R>>>
  /**
   * Spawns a machine that is offered there: a job that lives there, held here by the ref, which has been heard of. By its name
   * alone nothing is checked before it is sent, and nothing is known of its types.
   * @throws UsageError, InvalidInputError, MachineNotOfferedError, DeniedError
   * @example
   * const ref = await session.spawn(approval, { input: { what: 'a new laptop' } })
   * ref.send({ type: 'approve', by: 'Ann' })
   */
  spawn<D extends MachineDefinition>(machine: D | string, o?: SpawnOptions<SpawnInput<D>>): Promise<Ref<D>>
  /** The same for who needs no ref: the job that it is, which has begun; nothing of XState is loaded for it here. */
  startMachine<D extends MachineDefinition>(machine: D | string, o?: SpawnOptions<SpawnInput<D>>): Promise<Job>
  /** Its job table, by number; runs are not in it. */
  jobs(filter?: JobFilter & Cancel): Promise<Job[]>
  /** One of them, as {@link Peer.job} finds it. @throws JobNotFoundError, JobAmbiguousError */
  job(which: number | string | Job | JobSnapshot, o?: Cancel): Promise<Job>
  /** So many of its thread jobs at once from now on, those that wait already among them. 1 to 1 000 000, at first 5. */
  setThrottle(most: number, o?: Cancel): Promise<void>
  /**
   * Names with which a line that is being typed could go on in its runspace; `text` ends at the cursor (its last 1 024
   * characters count). Runs nothing and calls no getter. Nothing is known, and no names are given, where that would take
   * a run, of what has more than 10 000 names of its own, and where the runspace does not answer within a second.
   */
  complete(text: string, o?: Cancel): Promise<Completion>
  /**
   * Leaves; what runs there, or was started on it and is about to begin, goes on, with `buffering` in this way from now on.
   * @throws SessionStateError unless Opened
   */
  disconnect(o?: { idleTimeout?: Duration; buffering?: Buffering } & Cancel): Promise<void>
  /**
   * The same handle, opened again; while a lost link is being retried, tried at once. `force`: also where another client
   * has it, which is then told so: what it waits for there is lost to it and goes on. `buffering` also changes that of one
   * that is open. @throws SessionStateError while another client has it; PeerUnreachableError: a retry that was under way
   * goes on; SessionNotFoundError
   */
  connect(o?: { force?: boolean; buffering?: Buffering } & Cancel): Promise<void>
  /**
   * Takes up what runs or ran there without anybody to take it: the same Job for the same client, a new one otherwise,
   * with all streams, from where the owner's clients have read to. The latest first; asked again when that was read, the
   * one before it. undefined if there is none.
   */
  receive(o?: { name?: string } & Cancel): Promise<Job | undefined>
  /** Ends the session and its jobs. */
  close(o?: { grace?: Duration } & Cancel): Promise<void>
  /** A snapshot now and whenever it has changed, until it is Closed or Broken. */
  watch(o?: Cancel): AsyncIterable<SessionSnapshot>
  /** What happens in its job table, from now on: `begin` and `job`. Ends when `signal` aborts. @throws as `jobs` does */
  events(o?: Cancel): AsyncIterable<PeerEvent>
}

/** How a session is opened or taken up. */
export interface ConnectOptions extends Cancel {
  /** Take up this session (number on its host, name or instanceId) instead of opening one. */
  session?: string | number
  name?: string
  /** Default 2 h; 1 min to 30 d. */
  idleTimeout?: Duration
  /**
   * What its jobs do when reader `owner` leaves as much unread as the peer keeps of one (48 MiB in memory): `block`, they
   * wait, at a `yield`, a pipe, an item; or `drop`, they go on, and the oldest records go: in their place a reader finds a
   * `gap` that says how many. Also of a session that is taken up: what runs there is let go, or waits, from now on. Default:
   * a new one blocks, one that is taken up stays as it was.
   */
  buffering?: Buffering
  /** How long a lost link is retried before Disconnected. Default 4 min. */
  lostAfter?: Duration
  /** Where its work runs, and in what environment, unless that says otherwise. Of a new session, as are the next three. */
  cwd?: string
  env?: Env
  /**
   * Done once in its runspace, before the first run and again where that is new, and once before each script and map that
   * it starts: what it puts on `globalThis` is there. It takes no arguments; what it returns is nobody's output, what it
   * says by other streams is. What it throws fails what was to be run. Not for commands and named jobs.
   */
  init?: Script | ModuleText | Code
  /** As in {@link StartOptions}: of its runspace, and of each script that it starts and that says nothing else. */
  maxMemory?: number
  /** The same. Nothing runs in threads there then: Node's permissions do not hold in them. */
  permissions?: Permissions
  /** Take a session attached elsewhere away from whoever has it. */
  force?: boolean
  /** When it was lost for longer than `lostAfter`: take it up again once its peer is back. Default false. */
  reconnect?: boolean
  /** Not listed, and ended with whoever opened it, also when that is killed. Default false. */
  temporary?: boolean
}

/** An entry of the address book. */
export interface PeerInfo {
  readonly name: string
  readonly id: PeerId
  readonly addresses: readonly string[]
  /** What it may do here; empty when only we may go there. */
  readonly grants: readonly Grant[]
  readonly owner?: string | undefined
  readonly connected: boolean
}

/** What came of a ping. */
export interface PingAnswer {
  /** There and back, in milliseconds; a connection, where there was none, is not in it. */
  readonly ms: number
  /** How far the clock there is ahead of ours, in milliseconds, known to half of `ms`. None: that peer does not say. */
  readonly off?: number
  /** What we may do there. None: that peer does not say. */
  readonly grants?: readonly Grant[]
}

/** Where work runs that belongs here. */
export interface OnTargets {
  on?: Target | readonly Target[]
  /** Targets at work at once. Default 32. */
  throttle?: number
  /** How long a lost link is retried. Default 4 min. */
  lostAfter?: Duration
}

/**
 * A running errand, in this process ({@link createPeer}) or this machine's daemon ({@link connectLocal}): its job table,
 * the sessions it holds elsewhere, its address book. Disposing it closes it.
 */
export interface Peer extends AsyncDisposable {
  readonly id: PeerId
  readonly name: string
  readonly addresses: readonly string[]
  /**
   * Starts a job that belongs here; with `on`, one child per target whose records flow here.
   * @throws UsageError, FreeVariableError, NotTransferableError: then there is no job. What goes wrong later is its `reason`
   * @example
   * const job = await peer.start((ctx, a: number, b: number) => a * b, { args: [6, 7], on: 'server01' })
   * console.log(await job.output()) // [42]
   */
  start<I, R>(job: JobDefinition<I, R>, ...o: NamedJobArgs<I, OnTargets>): Promise<Job<Output<R>>>
  /** The same for anything but a named job. */
  start<A extends Args, R>(work: Work<A, R>, o?: StartOptions<A> & OnTargets): Promise<Job<Output<R>>>
  /**
   * Runs and follows: one target's throw rejects; of several, AggregateError after the rest.
   * @example console.log(await peer.run(['uname', '-sr'], { on: 'server01' })) // Linux 6.18.44
   */
  run<I, R>(job: JobDefinition<I, R>, ...o: NamedJobArgs<I, OnTargets>): Run<R>
  /** The same for anything but a named job. */
  run<A extends Args, R>(work: Work<A, R>, o?: StartOptions<A> & OnTargets): Run<R>
  /**
   * The script once for each input, in threads or `on` other peers, as one job with one log: its outputs as they come, or
   * `ordered`. Inputs are read only as fast as they are dealt with. An item that throws is an error record with `item`, its
   * place among the inputs; so is one that ends its thread (ENGINE_EXIT). The others go on, and the job has Failed
   * `ITEMS_FAILED` in the end; `job.items()` lists those that failed. @throws UsageError, FreeVariableError
   */
  map<I, O>(
    inputs: Iterable<I> | AsyncIterable<I> | Job<I>,
    script: (ctx: ScriptContext, item: I) => O,
    o?: MapOptions,
  ): Promise<Job<Output<O>>>
  /** Spawns a machine that this peer offers, here: as {@link Session.spawn}. */
  spawn<D extends MachineDefinition>(machine: D | string, o?: SpawnOptions<SpawnInput<D>>): Promise<Ref<D>>
  /** The same for who needs no ref: as {@link Session.startMachine}. */
  startMachine<D extends MachineDefinition>(machine: D | string, o?: SpawnOptions<SpawnInput<D>>): Promise<Job>
  /**
   * A ref of the actor at that address, wherever that is, for as long as its grants allow: for actors of others `jobs:read`,
   * and `jobs:send` to send to them. It need not have been heard of yet: `ref.ready()`. Dispose it to let go of the actor. `onRefused`: as {@link SpawnOptions.onRefused}. @throws UsageError
   * @example const member = await peer.ref(event.member)
   */
  ref<D extends MachineDefinition = MachineDefinition>(
    address: ActorAddress | Ref<any>,
    o?: { definition?: D; onRefused?: (error: Error, event: unknown) => void },
  ): Promise<Ref<D>>
  /**
   * Told once that the actor is no more, with the reason; also that its peer has not been heard of for the suspicion time. Of an
   * actor that was gone before, that is told at once. @throws UsageError, the reason of `signal`
   */
  monitor(actor: ActorAddress | Ref<any>, o?: Cancel): Monitor
  /**
   * From now on neither outlives the other's failure: when one goes down otherwise than by `exit`, the other is stopped. That
   * takes the grant `jobs:stop` for actors of others. Dispose the result, or close this peer, and they are on their own.
   * @throws UsageError
   * @example using fate = peer.link(session, window)
   */
  link(a: ActorAddress | Ref<any>, b: ActorAddress | Ref<any>): SharedFate
  /**
   * Starts children, here and on other peers, and starts them again when they go down, as {@link SupervisorOptions} say. It has
   * begun, and need not be ready; closing this peer stops it. @throws UsageError
   */
  supervise(options: SupervisorOptions): Promise<Supervisor>
  /** Opens (or takes up) a session: a name of the address book, a peer id, a multiaddr, or `localhost`. */
  connect(to: string, o?: ConnectOptions): Promise<Session>
  /** Sessions this peer holds; with `on`, those of ours that peer hosts, whoever of our clients opened them. */
  sessions(o?: { on?: string; state?: SessionState } & Cancel): Promise<readonly SessionInfo[]>
  /** A session this peer holds, by number, name or instanceId. @throws SessionNotFoundError */
  session(which: number | string | SessionSnapshot, o?: Cancel): Promise<Session>
  /** Our standing session `home` on a peer, opened on first use; jobs started there stay there. */
  home(on: string, o?: Cancel): Promise<Session>
  /** Its own job table, by number; runs are not in it. */
  jobs(filter?: JobFilter & Cancel): Promise<Job[]>
  /** Number, `3.1`, name, prefix of the instanceId, `%` (the newest), or a job or snapshot. @throws JobNotFoundError */
  job(which: number | string | Job | JobSnapshot, o?: Cancel): Promise<Job>
  /** So many thread jobs of its own at once from now on, those that wait already among them. 1 to 1 000 000, at first 5. */
  setThrottle(most: number, o?: Cancel): Promise<void>
  /** Start-Process: not a job, not listed, survives us. */
  launch(command: Command, o?: { cwd?: string; env?: Env } & Cancel): Promise<{ pid: number }>
  /** The address book: whom it may go to, and who may do what here. */
  peers(o?: Cancel): Promise<readonly PeerInfo[]>
  /**
   * What happens here, from now on: to jobs of this peer's table, to sessions it holds and hosts (temporary ones not
   * counted), to peers of its address book. A reader that is more than 2048 events behind, or takes none for a minute, gets
   * a new `begin` in their place. Ends when `signal` aborts.
   */
  events(o?: Cancel): AsyncIterable<PeerEvent>
  /**
   * From now on that actor, of whichever peer, has this name on this one, until it ends, it is unregistered or another one
   * replaces it. Letters, digits and `_ . : / -`, at most 128; at most 65 536 names. `replace`: also where another one has it.
   * @throws NameTakenError, ActorGoneError, LimitError, UsageError
   * @example await peer.register('printer', await session.spawn(printer), { replace: true })
   */
  register(name: string, actor: Ref<any> | ActorAddress, o?: { replace?: boolean } & Cancel): Promise<void>
  /** Nobody has that name any more. False when nobody had. */
  unregister(name: string, o?: Cancel): Promise<boolean>
  /**
   * A ref of whoever has this name on this peer, or `on` another: it goes on with the next one when that has ended, was started
   * again, or the name is given to another one. While nobody has it, or nobody can be reached, it is `stale`, and what is
   * sent waits (16 384 events or 4 MiB; an `ask` for its `timeout`). It is `gone` when it may not be asked for. For another
   * peer it needs `jobs:read` there. A ref of an address with `follow` is the same, also where nobody has the name yet.
   * @throws NameNotFoundError, PeerNotFoundError, PeerUnreachableError, PeerLostError, DeniedError
   * @example const printer = await peer.whereis('printer', { on: 'server01', definition: printerMachine })
   */
  whereis<D extends MachineDefinition = MachineDefinition>(
    name: string,
    o?: { on?: string; definition?: D; onRefused?: (error: Error, event: unknown) => void } & Cancel,
  ): Promise<Ref<D>>
  /**
   * The actors behind a group's name, now and whenever that has changed: those of this peer and of all peers of the address
   * book that it is connected with (each asks for the grant `jobs:read` there), and of those `on`, which are dialled, and
   * again whenever they are lost. The members of a peer that is lost are out of it, and in it again when it is back. The
   * first snapshot comes when each has been asked; what changes faster than it is read is told as one. At most 65 536 members
   * a peer. Ends when `signal` aborts. @throws PeerNotFoundError, UsageError, LimitError, PeerClosedError
   * @example for await (const { members } of peer.group('workers')) console.log(members.length)
   */
  group(name: string, o?: { on?: readonly string[] } & Cancel): AsyncIterable<GroupSnapshot>
  /** A ticket: one pasted line that lets its holder join once. Default: connect, run:script, run:command, 1 h, once. */
  invite(o?: { grants?: Grant[]; owner?: string; uses?: number; ttl?: Duration } & Cancel): Promise<string>
  /** Takes a ticket: from now on this peer may go to the one that issued it. */
  join(ticket: string, o?: { name?: string } & Cancel): Promise<PeerInfo>
  /**
   * What a peer may do here from now on; a multiaddr also says where it is. `owner`: in whose name. A key that had none
   * brings its sessions along; one that is moved from another name leaves them there, and what it has open is closed.
   * '' gives it back its own. @throws UsageError
   */
  allow(peer: PeerId, grants: Grant[], o?: { name?: string; owner?: string } & Cancel): Promise<void>
  /** It may do nothing here any more, and what is open with it is closed; we may still go there. */
  deny(peer: PeerId, o?: Cancel): Promise<void>
  /** The same, and out of the address book. */
  forget(peer: PeerId, o?: Cancel): Promise<void>
  /** Stops what must stop, leaves what may go on (docs/ARCHITECTURE.md, "What ends with its parent"). */
  close(o?: Cancel): Promise<void>
}
