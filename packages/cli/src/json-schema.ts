// What `--json` prints, as JSON Schema (draft 2020-12): for tests, for the documentation, for programs that want to check.
// Fields only grow, so a reader must let pass what it does not know.

export type Schema = Readonly<Record<string, unknown>>

const STRING = { type: 'string' } as const
const BOOLEAN = { type: 'boolean' } as const
const COUNT = { type: 'integer', minimum: 0 } as const
const NUMBER = { type: 'number', minimum: 0 } as const

/** ISO 8601 in UTC, as `Date.prototype.toISOString` writes it. */
const TIME = {
  type: 'string',
  pattern: String.raw`^(\d{4}|[+-]\d{6})-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`,
} as const

function ref(name: string): Schema {
  return { $ref: `#/$defs/${name}` }
}
function nullable(schema: Schema): Schema {
  return { anyOf: [schema, { type: 'null' }] }
}
function listOf(items: Schema): Schema {
  return { type: 'array', items }
}
function oneOrMany(schema: Schema): Schema {
  return { anyOf: [schema, listOf(schema)] }
}
function oneOf(...words: (string | number)[]): Schema {
  return { enum: words }
}
/** An object with all of these fields; those of `optional` may be missing. */
function fields(required: Readonly<Record<string, Schema>>, optional: Readonly<Record<string, Schema>> = {}): Schema {
  return { type: 'object', properties: { ...required, ...optional }, required: Object.keys(required) }
}
function tag(name: string, content: Schema): Schema {
  return { ...fields({ [name]: content }), additionalProperties: false }
}

const JOB_STATE = oneOf(
  'NotStarted',
  'Running',
  'Blocked',
  'Suspended',
  'Disconnected',
  'Stopping',
  'Completed',
  'Failed',
  'Stopped',
)

const SESSION_STATE = oneOf('Opening', 'Opened', 'Disconnecting', 'Disconnected', 'Connecting', 'Closed', 'Broken')
/** Whose events, where those of several are told. */
const FROM = { from: STRING } as const

/** What each record has; the rest depends on its kind. */
function record(kinds: readonly string[], more: Schema, optional: Readonly<Record<string, Schema>> = {}): Schema {
  const base = { seq: COUNT, at: TIME, location: STRING, jobId: STRING, kind: oneOf(...kinds) }
  return fields({ ...base, ...(more as Record<string, Schema>) }, optional)
}

const JOB: Readonly<Record<string, Schema>> = {
  /** `3`, or of a child `"3.1"`. */
  id: { anyOf: [COUNT, { type: 'string', pattern: String.raw`^\d+(\.\d+)+$` }] },
  instanceId: STRING,
  name: STRING,
  type: oneOf('RemoteJob', 'BackgroundJob', 'ThreadJob', 'PSTaskJob', 'MachineJob'),
  state: JOB_STATE,
  hasMoreData: BOOLEAN,
  location: STRING,
  peer: STRING,
  command: STRING,
  begunAt: nullable(TIME),
  endedAt: nullable(TIME),
  exitCode: nullable({ type: 'integer' }),
  errorCount: COUNT,
  reason: nullable(ref('errorFields')),
  pid: nullable(COUNT),
  children: listOf(ref('job')),
  question: nullable(ref('question')),
  /** Its present attempt, from 1. */
  epoch: { type: 'integer', minimum: 1 },
  history: listOf(fields({ state: JOB_STATE, at: TIME })),
  paused: nullable(oneOf('output-full')),
  /** Of a map. */
  items: nullable(fields({ taken: COUNT, done: COUNT, failed: COUNT, running: COUNT, queued: COUNT })),
}
/** Whose table it is in, where several were asked. */
const AT = { at: STRING } as const

export const DEFS: Readonly<Record<string, Schema>> = {
  job: fields(JOB, AT),
  /** As `inspect` prints it: of a machine with its actor, null once that has ended. */
  inspectedJob: fields(JOB, { ...AT, actor: nullable(ref('actor')) }),
  /** As `inspect` prints one that is in no table of ours, by its registered name. */
  namedActor: fields({ name: STRING, actor: ref('actor') }, AT),
  actor: fields({
    machine: STRING,
    version: nullable({ type: 'integer', minimum: 1 }),
    durable: BOOLEAN,
    address: fields({ peer: STRING, path: STRING, epoch: COUNT }),
    /** By the clock of its peer, as all its times. */
    at: TIME,
    status: oneOf('active', 'done', 'error', 'stopped', 'gone'),
    value: ref('stateValue'),
    context: ref('value'),
    accepts: listOf(STRING),
    timers: listOf(fields({ event: STRING, due: TIME })),
    inbox: COUNT,
    watchers: COUNT,
    chart: ref('chartState'),
    transitions: listOf(
      fields({
        seq: COUNT,
        at: TIME,
        event: STRING,
        from: ref('stateValue'),
        to: ref('stateValue'),
        ignored: BOOLEAN,
      }),
    ),
  }),
  /** Where a statechart is, as XState says it: a name, or names with what each is in. */
  stateValue: { anyOf: [STRING, { type: 'object', additionalProperties: ref('stateValue') }] },
  chartState: fields({
    key: STRING,
    kind: oneOf('atomic', 'compound', 'parallel', 'final', 'history'),
    active: BOOLEAN,
    initial: nullable(STRING),
    history: nullable(oneOf('shallow', 'deep')),
    tags: listOf(STRING),
    invokes: listOf(STRING),
    entry: listOf(STRING),
    exit: listOf(STRING),
    on: listOf(
      fields({
        event: STRING,
        public: BOOLEAN,
        targets: listOf(STRING),
        guard: nullable(STRING),
        actions: listOf(STRING),
      }),
    ),
    states: listOf(ref('chartState')),
    /** Of a chart that is too large to be shown. */
    omitted: nullable(fields({ transitions: COUNT, states: COUNT })),
  }),
  /** A line of `watch` and `list --watch`: a job as it is now, or that it is gone. */
  watched: fields(JOB, { ...AT, removed: { const: true } }),
  /** A line of `events`. */
  event: {
    anyOf: [
      fields({ at: TIME, event: oneOf('begin') }, FROM),
      fields(
        {
          at: TIME,
          event: { type: 'string', pattern: '^job\\.' },
          state: JOB_STATE,
          previous: nullable(JOB_STATE),
          job: ref('job'),
          reason: nullable(ref('errorFields')),
        },
        FROM,
      ),
      fields(
        {
          at: TIME,
          event: { type: 'string', pattern: '^session\\.' },
          state: SESSION_STATE,
          previous: nullable(SESSION_STATE),
          session: ref('session'),
          /** It is here, for another peer or a client; else held elsewhere. */
          hosted: BOOLEAN,
          reason: nullable(ref('errorFields')),
        },
        FROM,
      ),
      fields({ at: TIME, event: { type: 'string', pattern: '^peer\\.' }, peer: ref('peer') }, FROM),
      // Of `events JOB`.
      fields(
        {
          at: TIME,
          event: oneOf('actor.transition'),
          jobId: STRING,
          seq: COUNT,
          type: STRING,
          previous: ref('stateValue'),
          state: ref('stateValue'),
          ignored: BOOLEAN,
        },
        FROM,
      ),
      fields({ at: TIME, event: oneOf('actor.output'), jobId: STRING, seq: COUNT, value: ref('value') }, FROM),
    ],
  },
  question: fields({
    id: STRING,
    prompt: STRING,
    choices: nullable(listOf(STRING)),
    default: nullable(ref('value')),
    secret: BOOLEAN,
    schema: nullable(ref('value')),
    askedAt: TIME,
  }),
  session: fields({
    id: COUNT,
    instanceId: STRING,
    name: STRING,
    peer: STRING,
    state: SESSION_STATE,
    availability: oneOf('None', 'Available', 'Busy'),
    location: STRING,
    transport: STRING,
    computerType: oneOf('RemoteMachine'),
    configurationName: STRING,
    /** Milliseconds. */
    idleTimeout: NUMBER,
    /** While nobody is attached. */
    expiresAt: nullable(TIME),
    jobs: COUNT,
    epoch: COUNT,
    reason: nullable(ref('errorFields')),
    buffering: oneOf('block', 'drop'),
  }),
  record: {
    oneOf: [
      record(['output', 'warning', 'verbose', 'debug', 'information'], { value: ref('value') }),
      record(['error'], { error: ref('errorFields') }),
      record(
        ['progress'],
        { activity: STRING },
        {
          status: STRING,
          percent: { type: 'number', minimum: 0, maximum: 100 },
          secondsRemaining: NUMBER,
          completed: BOOLEAN,
        },
      ),
      record(['gap'], { dropped: COUNT }),
      // With `--write-events`: among the records, and none itself, so it has no number.
      fields({ at: TIME, location: STRING, jobId: STRING, kind: oneOf('state'), state: JOB_STATE }),
    ],
  },
  /** On stderr, where the exit code is not 0. */
  error: fields({ error: fields({ code: STRING, message: STRING, hint: nullable(STRING) }) }),
  /** An error within a document; its own fields stand beside these. */
  errorFields: fields(
    { name: STRING, message: STRING },
    { code: ref('value'), cause: ref('value'), errors: listOf(ref('errorFields')) },
  ),
  peer: fields({
    name: STRING,
    id: STRING,
    addresses: listOf(STRING),
    grants: listOf(STRING),
    owner: nullable(STRING),
    connected: BOOLEAN,
  }),
  status: fields({
    name: STRING,
    id: STRING,
    pid: COUNT,
    addresses: listOf(STRING),
    home: STRING,
    socket: STRING,
    version: STRING,
    startedAt: TIME,
    jobs: fields({ running: COUNT, total: COUNT }),
    sessions: COUNT,
    /** What is here for others. */
    hosted: fields({ sessions: COUNT, running: COUNT }),
    peers: COUNT,
    /** What others may ask for by name. */
    offers: fields({ jobs: listOf(STRING), machines: listOf(STRING) }),
    onDemand: BOOLEAN,
    /** Where the daemon writes what befell it. */
    log: nullable(STRING),
  }),
  version: fields({ version: STRING, node: STRING, platform: STRING, arch: STRING }),
  /** Milliseconds for one request there and back. */
  ping: fields({ peer: STRING, ms: NUMBER }),
  finding: fields({
    check: STRING,
    status: oneOf('ok', 'warn', 'FAIL'),
    message: STRING,
    hint: nullable(STRING),
  }),
  setting: fields({
    key: STRING,
    value: { anyOf: [STRING, NUMBER, BOOLEAN, listOf(STRING), { type: 'null' }] },
    origin: oneOf('flag', 'environment', 'config.json', 'default'),
  }),
  ticket: fields({ ticket: STRING }),
  process: fields({ pid: COUNT }),
  /** What a machine has replied. */
  answer: fields({ jobId: STRING, value: ref('value') }),

  /** Any value: as JSON has it, with a tag for what JSON lacks. */
  value: {
    anyOf: [
      { type: ['null', 'boolean', 'number', 'string'] },
      listOf(ref('value')),
      ref('tagged'),
      {
        type: 'object',
        // An object that looks like a tag travels as `$object`.
        not: { minProperties: 1, maxProperties: 1, propertyNames: { pattern: String.raw`^\$` } },
        additionalProperties: ref('value'),
      },
    ],
  },
  tagged: {
    oneOf: [
      tag('$bigint', { type: 'string', pattern: String.raw`^-?\d+$` }),
      tag('$date', nullable(TIME)),
      tag('$bytes', { type: 'string', pattern: '^[A-Za-z0-9+/]*={0,2}$' }),
      tag('$map', listOf({ type: 'array', prefixItems: [ref('value'), ref('value')], minItems: 2, items: false })),
      tag('$set', listOf(ref('value'))),
      tag('$number', oneOf('NaN', 'Infinity', '-Infinity', '-0')),
      tag('$undefined', { const: true }),
      tag('$regexp', STRING),
      tag('$url', STRING),
      tag('$error', ref('errorFields')),
      /** So many levels up is the object that stands here. */
      tag('$circular', { type: 'integer', minimum: 1 }),
      tag('$object', listOf({ type: 'array', prefixItems: [STRING, ref('value')], minItems: 2, items: false })),
    ],
  },
}

/** What a command prints with `--json`: one document, or with `lines` one document a line. */
export interface Printed {
  readonly schema: Schema
  readonly lines?: true
}

const JOBS: Printed = { schema: listOf(ref('job')) }
const RECORDS: Printed = { schema: ref('record'), lines: true }
const SESSIONS: Printed = { schema: listOf(ref('session')) }
const INSPECTED = [ref('inspectedJob'), ref('session'), ref('peer'), ref('namedActor')]

/** By command. A command that is not here prints nothing with `--json`; where flags make it follow, records come behind. */
export const PRINTS: Readonly<Record<string, Printed>> = {
  start: { schema: oneOrMany(ref('job')) },
  spawn: { schema: oneOrMany(ref('job')) },
  run: RECORDS,
  map: RECORDS,
  list: JOBS,
  receive: RECORDS,
  logs: RECORDS,
  wait: JOBS,
  stop: JOBS,
  suspend: JOBS,
  resume: JOBS,
  remove: JOBS,
  ask: { schema: ref('answer') },
  inspect: {
    schema: {
      anyOf: [...INSPECTED, listOf({ anyOf: INSPECTED })],
    },
  },
  launch: { schema: ref('process') },
  'session new': { schema: oneOrMany(ref('session')) },
  'session list': SESSIONS,
  'session connect': SESSIONS,
  'session disconnect': SESSIONS,
  'session receive': RECORDS,
  up: { schema: ref('status') },
  down: { schema: ref('process') },
  status: { schema: ref('status') },
  invite: { schema: ref('ticket') },
  join: { schema: ref('peer') },
  'peer list': { schema: listOf(ref('peer')) },
  'peer ping': { schema: ref('ping'), lines: true },
  doctor: { schema: listOf(ref('finding')) },
  config: { schema: oneOrMany(ref('setting')) },
  version: { schema: ref('version') },
  watch: { schema: ref('watched'), lines: true },
  events: { schema: ref('event'), lines: true },
}

/** A schema that stands alone, with all it refers to. */
export function schemaOf(schema: Schema): Schema {
  return { $schema: 'https://json-schema.org/draft/2020-12/schema', ...schema, $defs: DEFS }
}
