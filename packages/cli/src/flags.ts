// The flags of the command line: how they are typed, what may stand behind them, what they mean. A flag means the same
// wherever it is taken.
import type { Grant, JobState, Kind, Permissions, RestartPolicy } from '@errand/runtime/client'
import type { Shapes, Takes } from './argv.ts'
import { usage } from './failure.ts'
import { nearest } from './suggestion.ts'
import { WHEN } from './terminal.ts'

/** What the flags of a command line say, by long name. Durations are text still: whoever uses one reads it. */
export interface Flags {
  eval?: string
  on?: string[]
  at?: string[]
  name?: string
  engine?: 'thread' | 'process'
  /** The job it is, by its name. */
  job?: string
  /** What is to be given: for a script a list, for a named job its one value. */
  args?: unknown
  using?: Record<string, unknown>
  cwd?: string
  env?: Record<string, string>
  init?: string
  maxMemory?: number
  allow?: Permissions
  deadline?: string
  delay?: string
  retry?: number
  restart?: RestartPolicy
  input?: string
  lines?: boolean
  ordered?: boolean
  itemDeadline?: string
  question?: string
  eof?: boolean
  throttle?: number
  lostAfter?: string
  reconnect?: boolean
  detach?: boolean
  follow?: boolean
  wait?: boolean
  rm?: boolean
  prefix?: 'auto' | 'always' | 'never'
  raw?: boolean
  keep?: boolean
  from?: number
  tail?: number
  kind?: Kind[]
  location?: string
  reader?: string
  recurse?: boolean
  out?: string
  autoRemove?: boolean
  any?: boolean
  for?: JobState[]
  grace?: string
  kill?: boolean
  all?: boolean
  force?: boolean
  finished?: boolean
  olderThan?: string
  writeEvents?: boolean
  state?: string[]
  hasMore?: boolean
  children?: boolean
  newest?: number
  before?: string
  after?: string
  watch?: boolean
  idleTimeout?: string
  buffering?: 'block' | 'drop'
  outTarget?: 'job' | 'host'
  listen?: string[]
  store?: string
  mdns?: boolean
  bootstrap?: string[]
  offer?: string[]
  register?: string
  group?: string[]
  foreground?: boolean
  onDemand?: boolean
  readyFd?: number
  drain?: boolean
  grant?: Grant[]
  owner?: string
  uses?: number
  ttl?: string
  json?: string[]
  quiet?: boolean
  verbose?: boolean
  color?: 'auto' | 'always' | 'never'
  timeout?: string
  home?: string
  yes?: boolean
  help?: boolean
  /** The words stood behind `--`: they are a command, whatever they look like. */
  dashed?: boolean
}

export interface FlagSpec {
  /** As commander reads it. */
  readonly flags: string
  readonly help: string
  readonly parse?: ((text: string, before: never) => unknown) & { readonly allowed?: readonly string[] }
  readonly hidden?: boolean
}

export const JOB_STATES: readonly JobState[] = [
  'NotStarted',
  'Running',
  'Blocked',
  'Suspended',
  'Disconnected',
  'Stopping',
  'Completed',
  'Failed',
  'Stopped',
]
const KINDS: readonly Kind[] = ['output', 'error', 'warning', 'verbose', 'debug', 'information', 'progress', 'gap']
export const GRANTS: readonly Grant[] = [
  'connect',
  'run:script',
  'run:command',
  'jobs:read',
  'jobs:send',
  'jobs:answer',
  'jobs:stop',
  'admin',
]

const FLAGS = {
  eval: { flags: '-e, --eval <code>', help: 'an expression, or the body of an async generator (`yield` = output)' },
  on: { flags: '--on <where>', help: 'where the work runs: PEER|SESSION,…; the job is ours', parse: list },
  host: {
    flags: '--on <peer>',
    help: 'the peer that hosts it, where this machine did not open it; then by its number or name there',
    parse: list,
  },
  take: { flags: '--force', help: 'also one that another client has' },
  at: { flags: '--at <where>', help: 'whose job table: PEER|SESSION,…; the job is theirs', parse: list },
  name: { flags: '-n, --name <name>', help: 'a name' },
  engine: { flags: '--engine <kind>', help: 'thread or process (default)', parse: oneOf(['thread', 'process']) },
  job: { flags: '--job <name>', help: 'a job that is offered there by this name; --args is its one value' },
  args: { flags: '--args <json>', help: 'arguments for the script: a JSON array', parse: json },
  using: { flags: '--using <json>', help: 'values the script refers to by name: a JSON object', parse: namedValues },
  cwd: { flags: '-C, --cwd <dir>', help: 'directory to work in' },
  env: { flags: '--env <k=v>', help: 'environment variable; repeatable', parse: pair },
  deadline: { flags: '--deadline <duration>', help: "the job's limit: then it is Failed" },
  init: { flags: '--init <code>', help: 'done first, in the same process or thread: code, or a FILE.ts' },
  maxMemory: { flags: '--max-memory <mib>', help: 'MiB of heap; a script that needs more is Failed', parse: count(1) },
  allow: {
    flags: '--allow <what>',
    help: 'all its process may do: none, read=PATH, write=PATH, child-process, worker; repeatable',
    parse: permissions,
  },
  delay: { flags: '--delay <duration>', help: 'begin so much later' },
  afterJob: { flags: '--after <job>', help: 'begin when this job has completed; if it does not, this one is Stopped' },
  retry: { flags: '--retry <n>', help: 'when it fails: again, at most n times, with growing waits', parse: count(0) },
  restart: {
    flags: '--restart <when>',
    help: 'on-failure[:N]: again whenever it fails, unless more than N (5) times a minute',
    parse: restart,
  },
  input: { flags: '--input <what>', help: 'what it reads: JSON (an array is many), @FILE or -, a line each' },
  spawnInput: { flags: '--input <json>', help: 'what it begins with: JSON, @FILE or - for JSON from stdin' },
  register: { flags: '--register <name>', help: 'found on its peer by this name, for as long as it lives' },
  group: { flags: '--group <name>', help: 'a member of this group on its peer; repeatable', parse: list },
  lines: { flags: '--lines', help: 'each line of input is text, also where it is JSON' },
  ordered: { flags: '--ordered', help: 'results in the order of the inputs' },
  itemDeadline: { flags: '--item-deadline <duration>', help: 'the limit of one item: then that one has failed' },
  question: { flags: '--question <id>', help: 'only to this question, as `list --json` numbers it' },
  eof: { flags: '--eof', help: 'no more input: end it behind what was sent' },
  throttle: {
    flags: '--throttle <n>',
    help: 'at work at once: places (32), items of a map or threads (5)',
    parse: count(1),
  },
  lostAfter: { flags: '--lost-after <duration>', help: 'how long a lost link is retried (default 4m)' },
  reconnect: { flags: '--reconnect', help: 'given up, take it up again when its peer is back' },
  detach: { flags: '--detach', help: 'open a session, start, disconnect; prints the session (needs --on)' },
  follow: { flags: '-f, --follow', help: 'go on to the end; Ctrl-C only detaches' },
  wait: { flags: '--wait', help: "go on to the end; exits with the job's code" },
  rm: { flags: '--rm', help: 'remove the job when it has ended' },
  prefix: {
    flags: '--prefix <when>',
    help: 'put the location before each line: auto, always, never',
    parse: oneOf(['auto', 'always', 'never']),
  },
  raw: { flags: '--raw', help: 'write bytes, errors and warnings as they are' },
  keep: { flags: '-k, --keep', help: 'leave the cursor where it is' },
  from: { flags: '--from <seq>', help: 'start at this record; moves no cursor', parse: count(0) },
  tail: { flags: '--tail <n>', help: 'only the last n of them', parse: count(0) },
  kind: { flags: '--kind <kinds>', help: `only these: ${KINDS.join(',')}`, parse: manyOf(KINDS) },
  location: { flags: '--location <name>', help: 'only what was said there' },
  reader: { flags: '--reader <name>', help: 'whose cursor (default owner)' },
  recurse: { flags: '--no-recurse', help: 'the job itself, without its children' },
  writeEvents: { flags: '--write-events', help: 'also each change of state (needs --wait or --follow)' },
  out: { flags: '-o, --out <file>', help: 'written by the peer whose table is spoken to' },
  autoRemove: { flags: '--auto-remove', help: 'remove the job when it has ended (needs --wait or --follow)' },
  any: { flags: '--any', help: 'until one of them is finished' },
  for: { flags: '--for <state>', help: 'until it is in this state instead of finished', parse: manyOf(JOB_STATES) },
  grace: { flags: '--grace <duration>', help: 'how long to ask before it is ended by force (default 5s)' },
  kill: { flags: '--kill', help: 'end it by force at once' },
  all: { flags: '--all', help: 'every job that has not ended' },
  finished: { flags: '--finished', help: 'every job that has ended' },
  olderThan: { flags: '--older-than <duration>', help: 'every job that ended longer ago than that' },
  force: { flags: '--force', help: 'also what is not finished, or what another client has' },
  state: { flags: '-s, --state <state>', help: 'only those in these states', parse: list },
  hasMore: { flags: '--has-more', help: 'only those with something to receive' },
  children: { flags: '--children', help: 'children too, as 3.1' },
  newest: { flags: '--newest <n>', help: 'the n that ended last', parse: count(1) },
  before: { flags: '--before <time>', help: 'ended before: a time, or 5m for that long ago' },
  after: { flags: '--after <time>', help: 'ended after: a time, or 5m for that long ago' },
  watch: { flags: '-w, --watch', help: 'keep it up to date; where nobody looks, a line per change' },
  idleTimeout: { flags: '--idle-timeout <duration>', help: 'how long it lives without a client (default 2h)' },
  buffering: {
    flags: '--buffering <how>',
    help: 'what its jobs do when nobody reads: block (wait) or drop (the oldest)',
    parse: oneOf(['block', 'drop']),
  },
  outTarget: {
    flags: '--out-target <where>',
    help: 'host: print what it says; job: print the job id',
    parse: oneOf(['job', 'host']),
  },
  listen: { flags: '--listen <addr>', help: 'multiaddr to listen on; remembered', parse: list },
  store: { flags: '--store <where>', help: 'a file to keep jobs in, or memory: gone with the peer; remembered' },
  mdns: { flags: '--mdns', help: 'be found on the local network, and find peers there; remembered' },
  bootstrap: {
    flags: '--bootstrap <addr>',
    help: 'multiaddr, ending in /p2p/ID, of a peer to stay connected with; repeatable, remembered',
    parse: list,
  },
  offer: {
    flags: '--offer <file>',
    help: 'a module whose machines and named jobs others may ask for; repeatable, remembered',
    parse: each,
  },
  foreground: { flags: '--foreground', help: 'stay in this terminal' },
  onDemand: { flags: '--on-demand', help: 'leave after ten idle minutes', hidden: true },
  readyFd: { flags: '--ready-fd <fd>', help: 'where to say that it is up', parse: count(1), hidden: true },
  drain: { flags: '--drain', help: 'wait for running jobs to end' },
  grant: {
    flags: '--grant <grants>',
    help: `what it may do: ${GRANTS.join(',')},run:job:NAME,spawn:NAME`,
    parse: grants,
  },
  owner: { flags: '--owner <name>', help: 'whose it is: peers given the same name share sessions and jobs here' },
  uses: { flags: '--uses <n>', help: 'how often it may be used (default once)', parse: count(1) },
  ttl: { flags: '--ttl <duration>', help: 'how long it may be used (default 1h)' },
  json: { flags: '--json [fields]', help: 'as JSON; --json=id,state picks fields', parse: list },
  quiet: { flags: '-q, --quiet', help: 'ids only, no words' },
  verbose: { flags: '-v, --verbose', help: 'more: stacks of errors' },
  color: { flags: '--color <when>', help: 'auto, always, never', parse: oneOf(WHEN) },
  timeout: { flags: '--timeout <duration>', help: 'how long this command waits; the job goes on' },
  home: { flags: '--home <dir>', help: 'key, store and socket of this peer' },
  yes: { flags: '--yes', help: 'do not ask' },
  help: { flags: '-h, --help', help: 'this' },
} satisfies Partial<Record<keyof Flags | 'afterJob' | 'host' | 'take' | 'spawnInput', FlagSpec>>
export type FlagName = keyof typeof FLAGS

/** Taken by every command. */
const GLOBAL: readonly FlagName[] = ['json', 'quiet', 'verbose', 'color', 'timeout', 'home', 'yes', 'help']

const SPECS: Readonly<Record<FlagName, FlagSpec>> = FLAGS

/** The words by which a flag is typed: `-n`, `--name`. */
export function wordsOf({ flags }: FlagSpec): readonly string[] {
  return flags.split(/[ ,]+/).filter((part) => part.startsWith('-'))
}

/** A flag by one of its words, among those that a command takes; without `names` among all there are. */
export function flagNamed(word: string, names?: readonly FlagName[]): FlagName | undefined {
  const known = names === undefined ? (Object.keys(SPECS) as FlagName[]) : [...names, ...GLOBAL]
  return known.find((name) => wordsOf(SPECS[name]).includes(word))
}

/** The values a flag may have, where they are a fixed set. */
export function allowedFor(name: FlagName): readonly string[] | undefined {
  return SPECS[name].parse?.allowed
}

/** The specs of these flags and of those that every command takes. */
export function flagSpecs(names: readonly FlagName[]): readonly FlagSpec[] {
  return [...names, ...GLOBAL].map((name) => SPECS[name])
}

/** What stands behind each flag, for taking a line apart before its command is known. */
export const SHAPES: Shapes = new Map(
  Object.values(SPECS).flatMap((spec) => {
    const takes: Takes = spec.flags.includes('<') ? 'value' : spec.flags.includes('[') ? 'attached' : 'nothing'
    return wordsOf(spec).map((part): [string, Takes] => [part, takes])
  }),
)

// ── What may stand behind a flag ──────────────────────────────────────────────────────────────────────────────────────

function list(text: string, before: string[] | undefined): string[] {
  const words = text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
  return [...(before ?? []), ...words]
}

/** Each as it is: what it names may have commas in it. */
function each(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text]
}

/** A parser that says what it takes: completion offers that. */
type Chooses<T, Before extends readonly unknown[]> = ((text: string, ...before: Before) => T) & {
  readonly allowed: readonly string[]
}

function oneOf<T extends string>(allowed: readonly T[]): Chooses<T, []> {
  return Object.assign((text: string) => choice(text, allowed), { allowed })
}

/** A named job or machine is granted by its name, whose spelling is judged, and counts as it is written, by the peer. */
function grants(text: string, before: Grant[] | undefined): Grant[] {
  const named = (word: string): word is `run:job:${string}` | `spawn:${string}` => /^(run:job|spawn):/.test(word)
  const words = list(text, undefined).map((word) => (named(word) ? word : choice(word, GRANTS)))
  return [...(before ?? []), ...words]
}

function manyOf<T extends string>(allowed: readonly T[]): Chooses<T[], [before: T[] | undefined]> {
  const parse = (text: string, before: T[] | undefined): T[] => [
    ...(before ?? []),
    ...list(text, undefined).map((word) => choice(word, allowed)),
  ]
  return Object.assign(parse, { allowed })
}

/** PowerShell's people type `-State completed`: case does not matter. */
export function choice<T extends string>(text: string, allowed: readonly T[], before = ''): T {
  const found = allowed.find((word) => word.toLowerCase() === text.toLowerCase())
  if (found !== undefined) return found
  const near = nearest(text, allowed)
  throw usage(`${before}'${text}' is none of ${allowed.join(', ')}`, near && `did you mean ${near}?`)
}

/** As `choice`, for the states of jobs. */
export function jobStates(words: readonly string[]): JobState[] {
  return words.map((word) => choice(word, JOB_STATES, '--state: '))
}

function count(least: number): (text: string) => number {
  return (text) => {
    const number = Number(text)
    if (/^\d+$/.test(text) && number >= least && Number.isSafeInteger(number)) return number
    throw usage(`'${text}' is not a whole number from ${least} on`)
  }
}

function pair(text: string, before: Record<string, string> | undefined): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw usage(`'${text}' is not NAME=VALUE`)
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw usage(`'${text}' is not JSON: ${(error as Error).message}`)
  }
}

/** `on-failure`, `on-failure:10`. */
function restart(text: string): RestartPolicy {
  const found = /^on-failure(?::(\d+))?$/.exec(text)
  if (!found) throw usage(`'${text}' is not on-failure or on-failure:N`)
  return { times: count(0)(found[1] ?? '5'), within: '1m' }
}

function permissions(text: string, before: Permissions = {}): Permissions {
  const [what, ...rest] = text.split('=')
  const path = rest.join('=')
  if (what === 'none' && rest.length === 0) return before
  if (what === 'child-process' && rest.length === 0) return { ...before, childProcess: true }
  if (what === 'worker' && rest.length === 0) return { ...before, worker: true }
  if ((what === 'read' || what === 'write') && path !== '')
    return { ...before, [what]: [...(before[what] ?? []), path] }
  throw usage(`'${text}' is none of none, read=PATH, write=PATH, child-process, worker`)
}

function namedValues(text: string): Record<string, unknown> {
  const value = json(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw usage(`--using needs a JSON object of names and values, not ${text}`)
  }
  return value as Record<string, unknown>
}
