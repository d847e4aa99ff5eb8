// What peers say to each other: protocols, messages, the closed list of public events, limits. Pure data and guards.
// docs/PROTOCOL.md describes it field by field.
import type { PeerId, Protocol } from '@errand/transport'
import { count, flag, list, maybe, oneOf, record, shape, text, type Check } from './checks.ts'
import type { ActorAddress } from './actor-surface.ts'
import { ProtocolError, UsageError } from './errors.ts'
import type { Buffering, Completion, Grant, JobFilter, SessionState } from './surface.ts'

/** Neighbouring versions talk; this is ours. */
export const VERSION = 1

export const CONTROL = '/errand/control/1'
export const DATA = '/errand/data/1'
export const JOIN = '/errand/join/1'

/** A control frame. A larger message (arguments, long lists) goes whole over the data channel. */
export const CONTROL_FRAME = 64 * 1024
/** One record may have 16 MiB; the frame around it a little more. */
export const DATA_FRAME = 16 * 1024 * 1024 + 64 * 1024
/** Requests of one link under way at once; one more is refused. */
export const OPEN_REQUESTS = 1024
/** The same of questions that are answered when there is news: they only wait. */
export const OPEN_POLLS = 16_384
/** The same of questions to actors, which answer when they like: what lets them answer must not be refused for them. */
export const OPEN_ASKS = 1024
/** Names that one completion of a line has, and characters of that line that are looked at. */
export const COMPLETIONS_MOST = 200
export const COMPLETION_TEXT = 1024
export const NO_COMPLETION: Completion = Object.freeze({ names: [], on: '', more: 0 })
/** Items of one map at once. */
export const MAP_THROTTLE_MOST = 1024
/** Failed items of a map in one answer. */
export const ITEMS_MOST = 1000
/** Characters of a cursor of a name or a group. */
export const CURSOR_MOST = 512
/** Groups that an actor is in from its start. */
export const ACTOR_GROUPS_MOST = 64
/** Peers that one subscription to a group dials. */
export const GROUP_ON_MOST = 256
/** Reads of one link open at once. */
export const OPEN_READS = 16_384
/** Events of one `actor.tell`. */
export const TELL_MOST = 256
/** Events in an actor's inbox, and questions that it has not answered yet. */
export const INBOX_MOST = 1024
export const ACTOR_ASKS_MOST = 1024
/** How long an answer may be waited for, in ms. */
export const ASK_TIMEOUT_MOST = 86_400_000
/** Sessions and jobs watched over one link, in one direction: of a parent one, whatever its children. */
export const OPEN_WATCHES = 65_536

export interface Beat {
  readonly interval: number
  readonly suspicion: number
}

/**
 * The heartbeat of the local socket, the same at both ends: the kernel tells a socket's end at once, and a client that is
 * stopped for a while (Ctrl-Z) must not be taken for dead.
 */
export const LOCAL_BEAT: Beat = { interval: 1_000, suspicion: 600_000 }

/** Links of one key at once: there is one to a process, and one process to a key but while it comes and goes. */
const KEY_LINKS = 16
/** Links on the local socket at once: each program that speaks to the daemon has one. */
export const LOCAL_LINKS = 128
/** Who joins with one ticket at once: all of them come under its key. */
const TICKET_JOINS = 64

/** The protocols of one peer. The heartbeat is the control channel's: there is one per pair of peers. */
export function protocols(heartbeat: Beat, links = KEY_LINKS): readonly Protocol[] {
  return [
    { name: CONTROL, maxFrame: CONTROL_FRAME, maxChannels: links, heartbeat },
    { name: DATA, maxFrame: DATA_FRAME, maxChannels: links },
    { name: JOIN, maxFrame: 16 * 1024, maxChannels: TICKET_JOINS },
  ]
}

/** Whom an event is for: the peer itself, a session (by instanceId), or a job of that session. */
export interface Address {
  readonly session?: string | undefined
  readonly job?: string | undefined
  /** Of a watch or a read: the actor that this job is, in this incarnation; 0: in whichever. */
  readonly actor?: number | undefined
  /** From a client of ours, who has no way there: on which peer that is. */
  readonly peer?: PeerId | undefined
}

/** What travels for a piece of work. `payload` is encoded where it was given and decoded where it is used. */
export interface WorkSpec {
  readonly kind: 'function' | 'code' | 'module' | 'line' | 'command' | 'job' | 'machine'
  /** Of a `job` or a `machine`: the name it is offered by. */
  readonly job?: string | undefined
  /** Source text of a function, code, module or prompt line. */
  readonly source?: string | undefined
  readonly export?: string | undefined
  readonly argv?: readonly string[] | undefined
  /** CBOR of `{ args, using }`; of a `job`: of its one value; of a `machine`: of its input. */
  readonly payload?: Uint8Array | undefined
  /** Names of an interactive session are in scope: `start`, `sleep`, … */
  readonly prompt?: boolean | undefined
  /** What the Command column shows. */
  readonly command: string
  readonly name?: string | undefined
  readonly engine?: 'runspace' | 'thread' | 'process' | undefined
  readonly cwd?: string | undefined
  readonly env?: Record<string, string | undefined> | undefined
  /** Done first, where the work is. */
  readonly init?: InitSpec | undefined
  /** MiB of heap. */
  readonly maxMemory?: number | undefined
  readonly permissions?: PermissionSpec | undefined
  readonly deadline?: number | undefined
  /** Milliseconds before it is launched. */
  readonly delay?: number | undefined
  /** Launched when this job of the same table has completed: any of its names. */
  readonly after?: number | string | undefined
  /** Done again when it fails, so often; milliseconds. */
  readonly retry?: { readonly times: number; readonly delay: number; readonly factor: number } | undefined
  /** Done again whenever it fails, unless that is more than `times` times `within` milliseconds. */
  readonly restart?: { readonly times: number; readonly within: number } | undefined
  /**
   * A map: the script is called for each input. `itemTimeout` in milliseconds. `shared`: it works for a map elsewhere, its
   * input is blocks of that one's inputs (engine/map-order.ts).
   */
  readonly map?:
    | {
        readonly throttle?: number | undefined
        readonly ordered?: boolean | undefined
        readonly itemTimeout?: number | undefined
        readonly shared?: boolean | undefined
      }
    | undefined
  /** Of a machine: what it is called on its peer, and the groups that it is in there, for as long as it lives. */
  readonly register?: string | undefined
  readonly groups?: readonly string[] | undefined
  /** Of a machine: it ends with its peer, also where it is durable. Whoever started it starts another one. */
  readonly temporary?: boolean | undefined
  /** There will be input: a command gets a standard input, and a run waits for its end. */
  readonly input?: boolean | undefined
  readonly startId: string
}

/** A script before the script: with the same `payload`. */
export interface InitSpec {
  readonly kind: 'function' | 'code' | 'module'
  readonly source: string
  readonly export?: string | undefined
}

/** What a process may do; paths are those of the peer it runs on. */
export interface PermissionSpec {
  readonly read?: readonly string[] | undefined
  readonly write?: readonly string[] | undefined
  readonly childProcess?: boolean | undefined
  readonly worker?: boolean | undefined
}

/** Bounds of `maxMemory`, in MiB: below that an isolate does not start. */
export const MEMORY_LEAST = 32
export const MEMORY_MOST = 1_048_576
/** Paths in one list of permissions. */
export const PATHS_MOST = 256

/** Of what may be at work at once; PowerShell's own bound. */
export const THROTTLE_MOST = 1_000_000

/** What work finds around it in a session, unless it brings its own. */
export interface Surroundings {
  readonly cwd?: string | undefined
  readonly env?: Record<string, string | undefined> | undefined
  readonly init?: InitSpec | undefined
  readonly maxMemory?: number | undefined
  readonly permissions?: PermissionSpec | undefined
}

export interface OpenSession extends Surroundings {
  readonly openId: string
  readonly name?: string | undefined
  readonly temporary?: boolean | undefined
  readonly idleTimeout?: number | undefined
  readonly buffering?: Buffering | undefined
}

/** What `connect` asks for, with durations in milliseconds. */
export interface HeldOptions extends Surroundings {
  readonly session?: string | number | undefined
  readonly name?: string | undefined
  readonly idleTimeout?: number | undefined
  readonly buffering?: Buffering | undefined
  readonly lostAfter?: number | undefined
  readonly force?: boolean | undefined
  readonly temporary?: boolean | undefined
  readonly reconnect?: boolean | undefined
}

/** A read of a job's records: chunks on the data channel, with credit. */
export interface ReadRequest {
  readonly reader: string
  /** Default: the reader's cursor. */
  readonly from?: number | undefined
  /** Instead of the cursor: so many records before the end. */
  readonly tail?: number | undefined
  readonly follow?: boolean | undefined
  /** Only children at this location. */
  readonly location?: string | undefined
  /** false: the job itself without its children. */
  readonly recurse?: boolean | undefined
  /** State changes too, each as a chunk of no records in its place among them. */
  readonly events?: boolean | undefined
  /** The end says how the job ended, and nothing else of it. */
  readonly brief?: boolean | undefined
}

/** Events to a session or one of its jobs, from anybody who may: the closed list (guards below). */
export type SessionEvent =
  | { type: 'start'; spec: WorkSpec; on?: readonly TargetSpec[]; throttle?: number; lostAfter?: number }
  | { type: 'run'; spec: WorkSpec; on?: readonly TargetSpec[]; throttle?: number; lostAfter?: number }
  | { type: 'jobs'; filter: JobFilter }
  | { type: 'job'; which: number | string }
  /** Runs a client lost, or left when it disconnected, and how far it had read: what `receive` takes up. */
  | { type: 'runs' }
  /** Names that could stand at the end of this, which is being typed: as its runspace knows them. */
  | { type: 'complete'; text: string }
  | { type: 'stop'; grace?: number; reason?: string }
  | { type: 'remove'; force?: boolean }
  /** Records for its input: encoded where they are given, decoded where they are read. Answered when there is room. */
  | { type: 'send'; count: number; bytes: Uint8Array }
  | { type: 'end-input'; error?: Error }
  | { type: 'answer'; question?: string; value: Uint8Array }
  | { type: 'suspend' }
  | { type: 'resume' }
  /** So many at once from now on: to a session its thread jobs, to a job its children, to a map its items. */
  | { type: 'throttle'; most: number }
  /** Of a map: the items that failed, in that order. */
  | { type: 'items'; from: number; limit: number }
  /** Moves a reader's cursor in the job or its children: [instanceId, seq of the record to take next]. */
  | { type: 'acknowledge'; reader: string; seqs: readonly (readonly [string, number])[] }
  | {
      type: 'save'
      path: string
      format?: 'text' | 'ndjson'
      read: ReadRequest
      keep?: boolean
      kinds?: readonly string[]
      limit?: number
    }
  | { type: 'disconnect'; idleTimeout?: number; buffering?: Buffering }
  | { type: 'connect'; force?: boolean; buffering?: Buffering }
  | { type: 'receive'; name?: string }
  | { type: 'close'; grace?: number }
  | { type: 'session' }
  /** What happened in its table behind this cursor, as soon as something has. */
  | { type: 'events'; cursor?: string }
  /**
   * To a job that is an actor, in this incarnation (0: whichever). Events of one sender, numbered from `seq` on, gaps
   * allowed: what is not above the last one that was taken from that sender is not taken again. Answered when the others
   * are in its inbox.
   */
  | { type: 'actor.tell'; epoch: number; from: string; seq: number; count: number; bytes: Uint8Array }
  /** One event, and its answer. It has its number among the sender's events; overtaken by a later one it is refused. */
  | { type: 'actor.ask'; epoch: number; from?: string; seq?: number; event: Uint8Array; timeout: number }
  /** By its address, whoever has its session. */
  | { type: 'actor.stop'; epoch: number; reason?: string }
  | { type: 'actor.inspect' }
  /** What happened in it behind this cursor, as soon as something has. */
  | { type: 'actor.transitions'; cursor?: string }

/** Where a child runs, as a client names it: a peer (temporary session) or a session that is held. */
export type TargetSpec = { readonly peer: string } | { readonly session: string }

/** Events to a peer. Those behind `local` are only for clients on this machine's socket. */
export type PeerEvent =
  | { type: 'ping' }
  | { type: 'session.open'; options: OpenSession }
  /** `was`: the client process that had it, of which the asking one is what was started again. */
  | { type: 'session.attach'; session: string | number; force?: boolean; was?: string }
  | { type: 'session.home' }
  | { type: 'sessions' }
  /** Who has that name there, as soon as that is another one than the cursor says. */
  | { type: 'names.watch'; name: string; cursor?: string }
  /** Who of its actors is in that group, as far as that has changed behind the cursor. `now`: also where it has not. */
  | { type: 'groups.watch'; group: string; cursor?: string; now?: boolean }
  | { type: 'local.connect'; to: string; options: HeldOptions }
  | { type: 'local.home'; on: string }
  | { type: 'local.sessions'; on?: string; state?: SessionState }
  | { type: 'local.session'; which: number | string }
  | { type: 'local.launch'; argv: readonly string[]; cwd?: string; env?: Record<string, string | undefined> }
  | { type: 'local.peers' }
  | { type: 'local.ping'; on: string }
  | { type: 'local.invite'; grants?: readonly Grant[]; owner?: string; uses?: number; ttl?: number }
  | { type: 'local.join'; ticket: string; name?: string }
  | { type: 'local.allow'; peer: string; grants: readonly Grant[]; name?: string; owner?: string }
  | { type: 'local.deny'; peer: string; forget?: boolean }
  | { type: 'local.events'; cursor?: string }
  | { type: 'local.register'; name: string; address: ActorAddress; replace?: boolean }
  | { type: 'local.unregister'; name: string }
  /** `names.watch` of that peer, or of this one. */
  | { type: 'local.whereis'; name: string; on?: string; cursor?: string }
  /** Who is in that group on all peers that there is a link to; those of `on` are dialled. */
  | { type: 'local.group'; group: string; on?: readonly string[]; cursor?: string }
  | { type: 'local.status' }
  | { type: 'local.shutdown'; drain?: boolean; force?: boolean }

export type WireEvent = SessionEvent | PeerEvent

/** Answered when there is news: whoever asks them may wait for as long as the link lives. */
export const POLLS: ReadonlySet<string> = new Set<WireEvent['type']>([
  'events',
  'actor.transitions',
  'names.watch',
  'groups.watch',
  'local.events',
  'local.whereis',
  'local.group',
])

/**
 * What a request is that is asked again because its answer was lost. `again`: a question, or one that leads to the same
 * however often it is done; done again, its answer is not kept. `kept`: done once, its answer is kept until it was heard;
 * a peer that remembers nothing may be asked it too, for it has an id of its own or cannot be done twice. `once`: the same,
 * and of a peer that remembers nothing nobody can know whether it was done.
 */
export const REPEAT: { readonly [T in WireEvent['type']]: 'again' | 'kept' | 'once' } = {
  start: 'kept',
  run: 'once',
  jobs: 'again',
  job: 'again',
  runs: 'again',
  complete: 'again',
  stop: 'kept',
  remove: 'kept',
  send: 'once',
  'end-input': 'once',
  answer: 'once',
  suspend: 'once',
  resume: 'once',
  throttle: 'once',
  items: 'again',
  acknowledge: 'again',
  save: 'once',
  disconnect: 'again',
  connect: 'again',
  receive: 'once',
  close: 'kept',
  session: 'again',
  events: 'again',
  // By their numbers taken once.
  'actor.tell': 'again',
  'actor.ask': 'once',
  'actor.stop': 'again',
  'actor.inspect': 'again',
  'actor.transitions': 'again',
  ping: 'again',
  // These also attach who asks, and that has to be done anew over each link.
  'session.open': 'again',
  'session.attach': 'again',
  'session.home': 'again',
  sessions: 'again',
  'names.watch': 'again',
  'groups.watch': 'again',
  'local.connect': 'once',
  'local.home': 'again',
  'local.sessions': 'again',
  'local.session': 'again',
  'local.launch': 'once',
  'local.peers': 'again',
  'local.ping': 'again',
  'local.invite': 'once',
  'local.join': 'once',
  'local.allow': 'once',
  'local.deny': 'once',
  'local.events': 'again',
  'local.register': 'kept',
  'local.unregister': 'kept',
  'local.whereis': 'again',
  'local.group': 'again',
  'local.status': 'again',
  'local.shutdown': 'once',
}

/** Messages on the control channel. */
export type ControlMessage =
  | { t: 'hello'; v: number; link: string; client: string; name: string }
  | { t: 'welcome'; v: number; name: string; self: string; memory?: string }
  /** `late`: nobody waits for the answer; `w`: the job it makes is to be watched under this number. */
  | { t: 'ask'; id: number; to: Address; event: WireEvent; heard?: readonly number[]; late?: boolean; w?: number }
  /** `w`: what was made is watched, and `value` is its first snapshot. */
  | { t: 'ok'; id: number; value?: unknown; w?: number }
  | { t: 'no'; id: number; error: Error }
  | { t: 'give-up'; id: number }
  | { t: 'watch'; w: number; to: Address }
  | { t: 'unwatch'; w: number }
  /** The first one is whole, the others say what has changed. */
  | { t: 'state'; w: number; snapshot?: unknown; changed?: unknown }
  | { t: 'read'; r: number; to: Address; read: ReadRequest; credit: number }
  | { t: 'credit'; r: number; bytes: number }
  | { t: 'unread'; r: number }
  | { t: 'bye' }

/** Messages on the data channel. */
export type DataMessage =
  | { t: 'hello'; link: string }
  | {
      t: 'chunk'
      r: number
      job: string
      location: string
      first: number
      count: number
      errors: number
      from: number
      bytes: Uint8Array
    }
  | { t: 'end'; r: number; error?: Error; job?: unknown }
  /** A control message too large for its own channel. */
  | { t: 'blob'; bytes: Uint8Array }

/** What a named job may be called. */
export function isJobName(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9_.:/-]{1,128}$/.test(value)
}

/** `SESSION/JOB`, by instanceId. */
export function isActorPath(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9-]{1,64}\/[A-Za-z0-9-]{1,64}$/.test(value)
}
/** Of an actor, as opposed to that of a name. */
export function isActorAddress(value: unknown): value is ActorAddress {
  const { peer, path, epoch, machine } = (value ?? {}) as Partial<ActorAddress>
  return isPeerId(peer) && isActorPath(path) && isEpoch(epoch) && isMachineName(machine)
}
export function isEpoch(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}
/** What an actor is made of, where that is known. */
export function isMachineName(value: unknown): value is string | undefined {
  return value === undefined || isJobName(value)
}
function isPeerId(value: unknown): value is PeerId {
  return typeof value === 'string' && value.length > 0 && value.length <= 128
}

// ── Guards: what comes from outside is checked before anything looks at it ────────────────────────────────────────────

const string: Check = (value) => typeof value === 'string' && value.length <= 65_536
const bytes: Check = (value) => value instanceof Uint8Array
const which: Check = (value) => string(value) || count(value)

const env: Check = (value) =>
  record(value) && Object.values(value as object).every((item) => item === undefined || string(item))
const buffering = maybe(oneOf('block', 'drop'))
/** Attempts in a row, and failures that are remembered. */
const times: Check = (value) => count(value) && (value as number) <= 10_000
/** Items of a map at once. */
const mapThrottle: Check = (value) => count(value) && (value as number) >= 1 && (value as number) <= MAP_THROTTLE_MOST
const factor: Check = (value) => typeof value === 'number' && value >= 1 && value <= 1000
const retry: Check = (value) =>
  shape({ times, delay: count, factor })(value) && ['times', 'delay', 'factor'].every((key) => key in (value as object))
const restart: Check = (value) =>
  shape({ times, within: count })(value) && ['times', 'within'].every((key) => key in (value as object))
const init: Check = (value) =>
  shape({ kind: oneOf('function', 'code', 'module'), source: text, export: maybe(string) })(value)
const memory: Check = (value) => count(value) && (value as number) >= MEMORY_LEAST && (value as number) <= MEMORY_MOST
/** A comma or a NUL would end a path on a command line. */
const path: Check = (value) => string(value) && /^[^,\0]+$/.test(value as string)
const paths = maybe(list(path, PATHS_MOST))
const permissions = shape({ read: paths, write: paths, childProcess: maybe(flag), worker: maybe(flag) })
const surroundings = {
  cwd: maybe(string),
  env: maybe(env),
  init: maybe(init),
  maxMemory: maybe(memory),
  permissions: maybe(permissions),
}
const workFields = shape({
  kind: oneOf('function', 'code', 'module', 'line', 'command', 'job', 'machine'),
  job: maybe(isJobName),
  source: maybe(text),
  export: maybe(string),
  argv: maybe(list(text, 4096)),
  payload: maybe(bytes),
  prompt: maybe(flag),
  command: text,
  name: maybe(string),
  engine: maybe(oneOf('runspace', 'thread', 'process')),
  ...surroundings,
  deadline: maybe(count),
  delay: maybe(count),
  after: maybe(which),
  retry: maybe(retry),
  restart: maybe(restart),
  map: maybe(
    shape({ throttle: maybe(mapThrottle), ordered: maybe(flag), itemTimeout: maybe(count), shared: maybe(flag) }),
  ),
  input: maybe(flag),
  register: maybe(isJobName),
  groups: maybe(list(isJobName, ACTOR_GROUPS_MOST)),
  temporary: maybe(flag),
  startId: string,
})
/** Only a named job, or machine, has a name of that kind, and it always has one; only an actor is called something. */
const workSpec: Check = (value) => {
  if (!workFields(value)) return false
  const { kind, job, register, groups, temporary } = value as WorkSpec
  if (kind !== 'machine' && (register !== undefined || groups !== undefined || temporary !== undefined)) return false
  return (kind === 'job' || kind === 'machine') === (job !== undefined)
}
/** Work as it travels, and as it is written down. */
export function isWorkSpec(value: unknown): value is WorkSpec {
  return workSpec(value)
}
const read = shape({
  reader: string,
  from: maybe(count),
  tail: maybe(count),
  follow: maybe(flag),
  location: maybe(string),
  recurse: maybe(flag),
  events: maybe(flag),
  brief: maybe(flag),
})
const target: Check = (value) => shape({ peer: string })(value) || shape({ session: string })(value)
const started: Record<string, Check> = {
  spec: workSpec,
  on: maybe(list(target, 10_000)),
  throttle: maybe(count),
  lostAfter: maybe(count),
}
const openSession = shape({
  openId: string,
  name: maybe(string),
  temporary: maybe(flag),
  idleTimeout: maybe(count),
  buffering,
  ...surroundings,
})

const throttle: Check = (value) => count(value) && (value as number) >= 1 && (value as number) <= THROTTLE_MOST

/** Of names and groups. */
const cursor: Check = (value) => typeof value === 'string' && value.length <= CURSOR_MOST
const sender: Check = (value) => typeof value === 'string' && value.length <= 128
const tellCount: Check = (value) => count(value) && (value as number) >= 1 && (value as number) <= TELL_MOST
const askTimeout: Check = (value) => count(value) && (value as number) <= ASK_TIMEOUT_MOST

const EVENTS: Record<string, Check> = {
  start: shape(started),
  run: shape(started),
  jobs: shape({ filter: record }),
  job: shape({ which }),
  runs: shape({}),
  complete: shape({ text: (value) => string(value) && (value as string).length <= COMPLETION_TEXT }),
  stop: shape({ grace: maybe(count), reason: maybe(string) }),
  remove: shape({ force: maybe(flag) }),
  send: shape({ count, bytes }),
  'end-input': shape({ error: maybe((value) => Error.isError(value)) }),
  answer: shape({ question: maybe(string), value: bytes }),
  suspend: shape({}),
  resume: shape({}),
  throttle: shape({ most: throttle }),
  items: shape({
    from: count,
    limit: (value) => count(value) && (value as number) >= 1 && (value as number) <= ITEMS_MOST,
  }),
  acknowledge: shape({
    reader: string,
    seqs: list((pair) => Array.isArray(pair) && string(pair[0]) && count(pair[1]), 10_000),
  }),
  save: shape({
    path: string,
    format: maybe(oneOf('text', 'ndjson')),
    read,
    keep: maybe(flag),
    kinds: maybe(list(string, 16)),
    limit: maybe(count),
  }),
  disconnect: shape({ idleTimeout: maybe(count), buffering }),
  connect: shape({ force: maybe(flag), buffering }),
  receive: shape({ name: maybe(string) }),
  close: shape({ grace: maybe(count) }),
  session: shape({}),
  events: shape({ cursor: maybe(string) }),
  'actor.tell': shape({ epoch: count, from: sender, seq: count, count: tellCount, bytes }),
  'actor.ask': shape({ epoch: count, from: maybe(sender), seq: maybe(count), event: bytes, timeout: askTimeout }),
  'actor.stop': shape({ epoch: count, reason: maybe(string) }),
  'actor.inspect': shape({}),
  'actor.transitions': shape({ cursor: maybe(string) }),
  ping: shape({}),
  'session.open': shape({ options: openSession }),
  'session.attach': shape({ session: which, force: maybe(flag), was: maybe(string) }),
  'session.home': shape({}),
  sessions: shape({}),
  'names.watch': shape({ name: isJobName, cursor: maybe(cursor) }),
  'groups.watch': shape({ group: isJobName, cursor: maybe(cursor), now: maybe(flag) }),
  'local.connect': shape({
    to: string,
    options: shape({
      session: maybe(which),
      name: maybe(string),
      idleTimeout: maybe(count),
      buffering,
      lostAfter: maybe(count),
      ...surroundings,
      force: maybe(flag),
      temporary: maybe(flag),
      reconnect: maybe(flag),
    }),
  }),
  'local.home': shape({ on: string }),
  'local.sessions': shape({ on: maybe(string), state: maybe(string) }),
  'local.session': shape({ which }),
  'local.launch': shape({ argv: list(text, 4096), cwd: maybe(string), env: maybe(env) }),
  'local.peers': shape({}),
  'local.ping': shape({ on: string }),
  'local.invite': shape({
    grants: maybe(list(string, 64)),
    owner: maybe(string),
    uses: maybe(count),
    ttl: maybe(count),
  }),
  'local.join': shape({ ticket: string, name: maybe(string) }),
  'local.allow': shape({ peer: string, grants: list(string, 64), name: maybe(string), owner: maybe(string) }),
  'local.deny': shape({ peer: string, forget: maybe(flag) }),
  'local.events': shape({ cursor: maybe(string) }),
  'local.register': shape({ name: isJobName, address: isActorAddress, replace: maybe(flag) }),
  'local.unregister': shape({ name: isJobName }),
  'local.whereis': shape({ name: isJobName, on: maybe(string), cursor: maybe(cursor) }),
  'local.group': shape({ group: isJobName, on: maybe(list(string, GROUP_ON_MOST)), cursor: maybe(cursor) }),
  'local.status': shape({}),
  'local.shutdown': shape({ drain: maybe(flag), force: maybe(flag) }),
}

/** An event from outside, or a refusal that names it. @throws UsageError */
export function checkEvent(value: unknown): WireEvent {
  const type = (value as { type?: unknown } | null)?.type
  const check = typeof type === 'string' && Object.hasOwn(EVENTS, type) ? EVENTS[type] : undefined
  if (!check)
    throw new UsageError(`unknown event ${String(type).slice(0, 64)}`, { hint: 'the peers run different versions' })
  if (!check(value)) throw new UsageError(`event ${String(type)} has a field that does not fit`)
  return value as WireEvent
}

const address: Check = shape({ session: maybe(string), job: maybe(string), actor: maybe(count), peer: maybe(string) })
const CONTROL_MESSAGES: Record<string, Check> = {
  hello: shape({ v: count, link: string, client: string, name: string }),
  welcome: shape({ v: count, name: string, self: string, memory: maybe(string) }),
  ask: shape({
    id: count,
    to: address,
    event: record,
    heard: maybe(list(count, OPEN_REQUESTS)),
    late: maybe(flag),
    w: maybe(count),
  }),
  ok: shape({ id: count, w: maybe(count) }),
  no: shape({ id: count, error: (value) => Error.isError(value) }),
  'give-up': shape({ id: count }),
  watch: shape({ w: count, to: address }),
  unwatch: shape({ w: count }),
  state: shape({ w: count, snapshot: maybe(record), changed: maybe(record) }),
  read: shape({ r: count, to: address, read, credit: count }),
  credit: shape({ r: count, bytes: count }),
  unread: shape({ r: count }),
  bye: shape({}),
}
const DATA_MESSAGES: Record<string, Check> = {
  hello: shape({ link: string }),
  chunk: shape({ r: count, job: string, location: string, first: count, count, errors: count, from: count, bytes }),
  end: shape({ r: count, error: maybe((value) => Error.isError(value)), job: maybe(record) }),
  blob: shape({ bytes }),
}

function checkMessage<T>(messages: Record<string, Check>, value: unknown): T {
  const t = (value as { t?: unknown } | null)?.t
  const check = typeof t === 'string' && Object.hasOwn(messages, t) ? messages[t] : undefined
  if (!check?.(value)) throw new ProtocolError(`a message that does not fit: ${String(t).slice(0, 64)}`)
  return value as T
}
/** @throws ProtocolError */
export function checkControl(value: unknown): ControlMessage {
  return checkMessage(CONTROL_MESSAGES, value)
}
/** @throws ProtocolError */
export function checkData(value: unknown): DataMessage {
  return checkMessage(DATA_MESSAGES, value)
}
