// docs/PROTOCOL.md against the code: what it states is what the constants, guards and types say, in both directions.
// Fields of messages are held by the types below: one that is added or removed does not compile here until it is named.
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { runInNewContext } from 'node:vm'
import { createChunkWriter, encode } from '@errand/transport'
import { describe, expect, test } from 'vitest'
import { RECORD, RECORD_DEFINITION, TAG, TYPED_ARRAY_TAG } from '../../transport/src/codec-tags.ts'
import { ABORT, END, HELLO, MAX_CONTROL, WELCOME, controlFrame } from '../../transport/src/framing.ts'
import { KEEP } from '../../transport/src/keep.ts'
import { milliseconds } from '../src/duration.ts'
import { LANE, LANE_FD } from '../src/engine/process-isolate.ts'
import { OWNER } from '../src/output-log.ts'
import { CREDIT_BYTES, KINDS } from '../src/record.ts'
import { writeTicket } from '../src/ticket.ts'
import type { JobSnapshot, SessionSnapshot } from '../src/surface.ts'
import * as wire from '../src/wire.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const page = readFileSync(`${root}docs/PROTOCOL.md`, 'utf8')

/** The text below a heading, up to the next one of its rank or higher; a `##` includes its `###`. */
function section(title: string): string {
  const lines = page.split('\n')
  const start = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, '') === title)
  if (start < 0) throw new Error(`no section ${title}`)
  const rank = /^#+/.exec(lines[start]!)![0].length
  const end = lines.findIndex((line, at) => at > start && /^#+ /.test(line) && /^#+/.exec(line)![0].length <= rank)
  return lines.slice(start + 1, end < 0 ? undefined : end).join('\n')
}

/** The rows of a section's tables, without heads and rules, as cells. */
function rows(title: string): string[][] {
  const lines = section(title).split('\n')
  return lines
    .filter((line, at) => line.startsWith('|') && !line.startsWith('|-') && lines[at + 1]?.startsWith('|-') !== true)
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    )
}

/** Words in backticks. */
function words(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!)
}

/** `1 024 ms` → 1024. */
function numberOf(cell: string): number {
  return Number(/^[\d ]+/.exec(cell)![0].replaceAll(' ', ''))
}

function hex(text: string): string {
  return text.replaceAll(/\s/g, '')
}

const sorted = (list: Iterable<string>): string[] => [...list].toSorted()

// ── Fields, by type ───────────────────────────────────────────────────────────────────────────────────────────────────

type Fields<M, But extends PropertyKey = never> = Record<Exclude<keyof M, But>, true>
type ByT<U extends { t: string }> = { [T in U['t']]: Fields<Extract<U, { t: T }>, 't'> }
type ByType<U extends { type: string }> = { [T in U['type']]: Fields<Extract<U, { type: T }>, 'type'> }

const control: ByT<wire.ControlMessage> = {
  hello: { v: true, link: true, client: true, name: true },
  welcome: { v: true, name: true, self: true, memory: true },
  ask: { id: true, to: true, event: true, heard: true, late: true, w: true },
  ok: { id: true, value: true, w: true },
  no: { id: true, error: true },
  'give-up': { id: true },
  watch: { w: true, to: true },
  unwatch: { w: true },
  state: { w: true, snapshot: true, changed: true },
  read: { r: true, to: true, read: true, credit: true },
  credit: { r: true, bytes: true },
  unread: { r: true },
  bye: {},
}

const data: ByT<wire.DataMessage> = {
  hello: { link: true },
  chunk: { r: true, job: true, location: true, first: true, count: true, errors: true, from: true, bytes: true },
  end: { r: true, error: true, job: true },
  blob: { bytes: true },
}

const started = { spec: true, on: true, throttle: true, lostAfter: true } as const
const events: ByType<wire.WireEvent> = {
  start: started,
  run: started,
  jobs: { filter: true },
  job: { which: true },
  runs: {},
  complete: { text: true },
  stop: { grace: true, reason: true },
  remove: { force: true },
  send: { count: true, bytes: true },
  'end-input': { error: true },
  answer: { question: true, value: true },
  suspend: {},
  resume: {},
  throttle: { most: true },
  items: { from: true, limit: true },
  acknowledge: { reader: true, seqs: true },
  save: { path: true, format: true, read: true, keep: true, kinds: true, limit: true },
  disconnect: { idleTimeout: true, buffering: true },
  connect: { force: true, buffering: true },
  receive: { name: true },
  close: { grace: true },
  session: {},
  events: { cursor: true },
  'actor.tell': { epoch: true, from: true, seq: true, count: true, bytes: true },
  'actor.ask': { epoch: true, from: true, seq: true, event: true, timeout: true },
  'actor.stop': { epoch: true, reason: true },
  'actor.inspect': {},
  'actor.transitions': { cursor: true },
  ping: {},
  'session.open': { options: true },
  'session.attach': { session: true, force: true, was: true },
  'session.home': {},
  sessions: {},
  'names.watch': { name: true, cursor: true },
  'groups.watch': { group: true, cursor: true, now: true },
  'local.connect': { to: true, options: true },
  'local.home': { on: true },
  'local.sessions': { on: true, state: true },
  'local.session': { which: true },
  'local.launch': { argv: true, cwd: true, env: true },
  'local.peers': {},
  'local.ping': { on: true },
  'local.invite': { grants: true, owner: true, uses: true, ttl: true },
  'local.join': { ticket: true, name: true },
  'local.allow': { peer: true, grants: true, name: true, owner: true },
  'local.deny': { peer: true, forget: true },
  'local.events': { cursor: true },
  'local.register': { name: true, address: true, replace: true },
  'local.unregister': { name: true },
  'local.whereis': { name: true, on: true, cursor: true },
  'local.group': { group: true, on: true, cursor: true },
  'local.status': {},
  'local.shutdown': { drain: true, force: true },
}

const spec: Fields<wire.WorkSpec> = {
  kind: true,
  source: true,
  export: true,
  argv: true,
  payload: true,
  prompt: true,
  command: true,
  name: true,
  engine: true,
  cwd: true,
  env: true,
  init: true,
  maxMemory: true,
  permissions: true,
  deadline: true,
  delay: true,
  after: true,
  retry: true,
  restart: true,
  map: true,
  input: true,
  job: true,
  register: true,
  groups: true,
  temporary: true,
  startId: true,
}
const open: Fields<wire.OpenSession> = {
  openId: true,
  name: true,
  temporary: true,
  idleTimeout: true,
  buffering: true,
  cwd: true,
  env: true,
  init: true,
  maxMemory: true,
  permissions: true,
}
const held: Fields<wire.HeldOptions> = {
  session: true,
  name: true,
  idleTimeout: true,
  buffering: true,
  lostAfter: true,
  cwd: true,
  env: true,
  init: true,
  maxMemory: true,
  permissions: true,
  force: true,
  temporary: true,
  reconnect: true,
}
const read: Fields<wire.ReadRequest> = {
  reader: true,
  from: true,
  tail: true,
  follow: true,
  location: true,
  recurse: true,
  events: true,
  brief: true,
}

const job: Fields<JobSnapshot> = {
  id: true,
  instanceId: true,
  name: true,
  command: true,
  location: true,
  peer: true,
  session: true,
  type: true,
  state: true,
  hasMoreData: true,
  paused: true,
  reason: true,
  exitCode: true,
  begunAt: true,
  endedAt: true,
  errorCount: true,
  question: true,
  history: true,
  epoch: true,
  pid: true,
  streamed: true,
  parentId: true,
  position: true,
  items: true,
  children: true,
}
const session: Fields<SessionSnapshot> = {
  id: true,
  instanceId: true,
  name: true,
  location: true,
  peerId: true,
  transport: true,
  configurationName: true,
  computerType: true,
  state: true,
  availability: true,
  idleTimeout: true,
  expiresAt: true,
  buffering: true,
  jobs: true,
  epoch: true,
  reason: true,
}

/** Name → fields of a table whose first cell is a name and whose second lists fields in backticks. */
function fieldTable(table: string[][]): Record<string, string[]> {
  return Object.fromEntries(table.map(([name, fields]) => [words(name!)[0] ?? name!, sorted(words(fields!))]))
}
function fieldNames(known: Record<string, Record<string, true>>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(known).map(([name, fields]) => [name, sorted(Object.keys(fields))]))
}

describe('PROTOCOL.md', () => {
  test('names the kinds of control frames', () => {
    const kinds = rows('Frames').filter(([kind]) => /^\d$/.test(kind!))
    expect(kinds.map(([kind, name]) => [Number(kind), words(name!)[0]])).toEqual([
      [HELLO, 'HELLO'],
      [WELCOME, 'WELCOME'],
      [END, 'END'],
      [ABORT, 'ABORT'],
    ])
    expect(section('Frames')).toContain(`at most ${MAX_CONTROL} bytes`)
  })

  test('shows the bytes of a hello', () => {
    const bytes = controlFrame(HELLO, encode({ v: wire.VERSION, protocol: wire.CONTROL }))
    expect(hex(section('Frames'))).toContain(Buffer.from(bytes).toString('hex'))
  })

  test('lists every CBOR tag, and no other', () => {
    const stated = rows('Values').map(([tag]) => tag!)
    const spoken = [...Object.values(TAG), ...Object.values(TYPED_ARRAY_TAG)].toSorted((a, b) => a - b)
    expect(stated).toEqual([...spoken.map(String), String(RECORD_DEFINITION), `${RECORD} + n`])
  })

  test('names the type of each typed array beside its tag', () => {
    const stated = Object.fromEntries(rows('Values').map(([tag, , is]) => [tag, is]))
    for (const [name, tag] of Object.entries(TYPED_ARRAY_TAG)) expect(stated[tag]).toContain(name)
  })

  test('shows the bytes of a cycle', () => {
    const cycle: Record<string, unknown> = { a: 1 }
    cycle['self'] = cycle
    expect(hex(section('Values'))).toContain(Buffer.from(encode(cycle)).toString('hex'))
  })

  test('lists the protocols with their limits', () => {
    const known = wire.protocols({ interval: 1, suspicion: 1 })
    const stated = rows('Channels').filter(([name]) => name!.startsWith('`/'))
    expect(stated.map(([name, most, channels]) => [words(name!)[0], numberOf(most!), channels])).toEqual([
      ...[...known, KEEP].map(({ name, maxFrame, maxChannels }) => [name, maxFrame, String(maxChannels)]),
      [LANE.name, LANE.maxFrame, '—'],
    ])
    expect(section('Channels')).toContain(`descriptor ${LANE_FD}`)
  })

  test('lists the control messages with their fields', () => {
    expect(fieldTable(rows('Control messages'))).toEqual(fieldNames(control))
  })

  test('lists the data messages with their fields', () => {
    expect(fieldTable(rows('Data messages'))).toEqual(fieldNames(data))
  })

  test('lists the events with their fields', () => {
    const table = rows('Events').slice(0, Object.keys(events).length)
    const stated = fieldTable(table)
    // `run` says "the same" as `start`.
    expect({ ...stated, run: stated['start'] }).toEqual(fieldNames(events))
  })

  test('the guard knows every event that is listed', () => {
    for (const type of Object.keys(events)) {
      let refusal = ''
      try {
        wire.checkEvent({ type })
      } catch (error) {
        refusal = (error as Error).message
      }
      expect(refusal, type).not.toContain('unknown event')
    }
  })

  test('lists what stands in work, options and reads', () => {
    const table = rows('Work')
    // `kind` is followed by its values, and `payload` by what is in it.
    const stated = table.map(([, fields]) => words(fields!.replaceAll(/\([^)]*\)/g, '')).toSorted())
    expect(stated).toEqual([spec, open, held, read].map((fields) => sorted(Object.keys(fields))))
  })

  test('lists the fields of snapshots', () => {
    expect(fieldTable(rows('Snapshots'))).toEqual(fieldNames({ job, session }))
  })

  test('numbers the kinds of records', () => {
    const stated = rows('Records').filter(([kind]) => /^\d$/.test(kind!))
    expect(stated.map(([kind, name]) => [Number(kind), words(name!)[0]])).toEqual(KINDS.map((name, at) => [at, name]))
  })

  test('shows the bytes of chunks', () => {
    const bytes = (records: readonly unknown[]): string => {
      const writer = createChunkWriter()
      for (const record of records) writer.add(record)
      return Buffer.from(writer.finish()).toString('hex')
    }
    const shown = hex(section('Records'))
    const at = 1_700_000_000_000
    expect(shown).toContain(
      bytes([
        [KINDS.indexOf('output'), at, 'Output 1'],
        [KINDS.indexOf('warning'), at + 1, 'careful'],
      ]),
    )
    const outputs = [true, false, true].map((ok, index) => [KINDS.indexOf('output'), 0, { id: index + 1, ok }])
    expect(shown).toContain(bytes(outputs))
  })

  test('says how reading begins', () => {
    expect(section('Reading').replaceAll(/(?<=\d) (?=\d)/g, '')).toContain(`${CREDIT_BYTES} bytes`)
    expect(section('Reading')).toContain(`default reader is \`${OWNER}\``)
  })

  test('says how a ticket begins', () => {
    const ticket = writeTicket({ id: 'id', name: 'name', addresses: [], seed: new Uint8Array(32) })
    const prefix = words(section('Tickets and joining')).find((word) => word.endsWith('-'))
    expect(ticket.startsWith(prefix ?? 'none')).toBe(true)
  })

  test('states each limit as its constant does', () => {
    const stated = rows('Limits').filter(([, , file]) => file?.endsWith('.ts'))
    expect(stated.length).toBeGreaterThan(40)
    for (const [name, value, file] of stated) {
      const constant = words(name!)[0]!
      expect(numberOf(value!), `${constant} in ${file}`).toBe(constantOf(file!, constant))
    }
  })

  test('leaves out no limit of the wire', () => {
    const stated = rows('Limits').map(([name]) => words(name!)[0])
    for (const file of ['runtime/src/wire.ts', 'transport/src/codec-limits.ts', 'runtime/src/record.ts']) {
      for (const name of numbersIn(file)) expect(stated, file).toContain(name)
    }
  })

  test('states the clocks as createPeer does', () => {
    const source = readFileSync(`${root}packages/runtime/src/peer.ts`, 'utf8')
    const known = new Map<string, number>()
    for (const [, name, value] of source.matchAll(/milliseconds\(options\.(\w+) \?\? ('[^']+'|[\d_]+)\)/g)) {
      known.set(name!, milliseconds(value!.startsWith("'") ? value!.slice(1, -1) : Number(value!.replaceAll('_', ''))))
    }
    const stated = rows('Limits').filter(([, value]) => /^\d+(?:ms|s|m|h|d)$/.test(value!))
    expect(new Map(stated.map(([name, value]) => [words(name!)[0], milliseconds(value!)]))).toEqual(known)
  })

  test('lists the error codes', () => {
    for (const [name, codes] of rows('Error codes')) expect(sorted(words(codes!)), name).toEqual(codesIn(name!))
  })
})

/** The value of a constant that is written as arithmetic. */
function constantOf(file: string, name: string): number | undefined {
  const source = readFileSync(`${root}packages/${file}`, 'utf8')
  const written = new RegExp(`^(?:export )?const ${name}(?:: number)? = ([\\d_\\s*+<()-]+)$`, 'm').exec(source)?.[1]
  return written === undefined ? undefined : (runInNewContext(written) as number)
}

/** Names of exported constants that are numbers, but for the version and internal ones. */
function numbersIn(file: string): string[] {
  const source = readFileSync(`${root}packages/${file}`, 'utf8')
  const names = [...source.matchAll(/^export const ([A-Z][A-Z_]+)(?:: number)? = [\d_\s*+<()-]+$/gm)].map(
    (it) => it[1]!,
  )
  return names.filter((name) => name !== 'VERSION')
}

/** Codes that errors of a package are made with. */
function codesIn(name: string): string[] {
  const folder = `${root}packages/${name}/src`
  const found = new Set<string>()
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue
    const source = readFileSync(`${folder}/${file}`, 'utf8')
    const made =
      /(?:\bsuper|new ErrandError|new CommandStartError|\bcode)(?:\(\s*|: | = missing \? )'([A-Z_]{3,})'(?: : '([A-Z_]+)')?/g
    for (const [, one, other] of source.matchAll(made)) for (const code of [one, other]) if (code) found.add(code)
  }
  return sorted(found)
}
