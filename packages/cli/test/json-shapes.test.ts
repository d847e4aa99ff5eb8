// What `--json` prints, by the real binary, held against the schemas that programs may hold it against.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COMMANDS } from '../src/grammar.ts'
import { DEFS, PRINTS, schemaOf, type Schema } from '../src/json-schema.ts'
import { JOB_FIELDS, PEER_FIELDS, RECORD_FIELDS, SESSION_FIELDS } from '../src/render/json.ts'
import { Machines, until } from './support/machines.ts'

const ajv = new Ajv2020({ allErrors: true, strictTypes: false })
/** Open to fields to come, as programs should be. */
const open = (schema: Schema): ValidateFunction => ajv.compile(schemaOf(schema))
/** The same, and no field that the schema does not know. Errors have fields of their own. */
function closed(schema: Schema): ValidateFunction {
  const defs = Object.fromEntries(
    Object.entries(DEFS).map(([name, def]) => [name, name === 'errorFields' ? def : closedHere(def)]),
  )
  return ajv.compile({ ...schemaOf(closedHere(schema)), $defs: defs })
}
function closedHere(value: unknown): Schema {
  if (Array.isArray(value)) return value.map(closedHere) as never
  if (typeof value !== 'object' || value === null) return value as never
  const inner = Object.fromEntries(Object.entries(value).map(([key, each]) => [key, closedHere(each)]))
  return 'properties' in inner ? { ...inner, additionalProperties: false } : inner
}

let machines: Machines

beforeAll(async () => {
  machines = new Machines()
  // In memory less is kept of what nobody reads: what is dropped is dropped soon.
  await Promise.all([machines.up('laptop'), machines.up('server01', '--store', 'memory')])
}, 60_000)
afterAll(() => machines[Symbol.asyncDispose](), 60_000)

/** Types it with `--json`; its documents, each as its command's schema says and without a field beyond. */
// oxlint-disable-next-line typescript/no-explicit-any -- what they are is what the schemas say
async function printed(machine: string, ...words: string[]): Promise<any[]> {
  const { stdout, stderr } = await machines.type(machine, ['--json', ...words])
  const line = words.join(' ').replace(/^--at \S+ /, '')
  const command = COMMANDS.map(({ path }) => path).find((path) => `${line} `.startsWith(`${path} `))!
  const { schema, lines } = PRINTS[command]!
  const documents = (lines ? stdout.trimEnd().split('\n') : [stdout]).map((text) => JSON.parse(text) as unknown)
  expect(documents.length, stderr).toBeGreaterThan(0)
  for (const document of documents) holds(closed(schema), document)
  return documents
}

function holds(validate: ValidateFunction, document: unknown): void {
  validate(document)
  expect(validate.errors ?? [], JSON.stringify(document)).toEqual([])
}

async function errorOf(...words: string[]): Promise<{ code: string; hint: string | null }> {
  const { stderr } = await machines.type('laptop', ['--json', ...words])
  const document = JSON.parse(stderr) as { error: { code: string; hint: string | null } }
  holds(closed(DEFS['error']!), document)
  return document.error
}

const SAYS = `
  warn('w'); verbose({ v: 1 }); debug('d'); info(['i']); error(new TypeError('e'))
  progress({ activity: 'a', status: 's', percent: 50, secondsRemaining: 2, completed: false })
  const self = { name: 'self' }; self.self = self
  yield [1n, new Date(0), new Uint8Array([0, 255]), new Map([[{ k: 1 }, 2n]]), new Set(['x', undefined])]
  yield [NaN, -0, Infinity, undefined, /x/g, new URL('http://a/'), new RangeError('r', { cause: 1n }), self, { $bigint: 'no' }]
`

describe('--json', { timeout: 60_000 }, () => {
  it('pairing and peers: up, status, invite, join, peer list, peer ping', async () => {
    const [{ ticket }] = await printed('server01', 'invite')
    expect(await printed('laptop', 'join', ticket)).toMatchObject([{ name: 'server01', connected: false, owner: null }])
    expect(await printed('laptop', 'peer', 'ping', 'server01')).toMatchObject([{ peer: 'server01' }])
    const [[peer]] = await printed('laptop', 'peer', 'list')
    expect(peer).toMatchObject({ name: 'server01', connected: true, grants: [] })
    const [[seen]] = await printed('server01', 'peer', 'list')
    expect(seen).toMatchObject({ name: 'laptop', grants: ['connect', 'run:script', 'run:command'] })
    const [status] = await printed('laptop', 'status')
    expect(status).toMatchObject({ name: 'laptop', home: machines.home('laptop'), peers: 1, onDemand: false })
    expect(await printed('laptop', 'up')).toEqual([status])
    expect(await printed('laptop', 'version')).toMatchObject([{ node: process.version }])
  })

  it('records of every kind, with every tag, here and from another peer', async () => {
    const said = await printed('laptop', 'run', '--name', 'said', '-e', SAYS)
    expect(said.map(({ kind }) => kind)).toEqual([
      'warning',
      'verbose',
      'debug',
      'information',
      'error',
      'progress',
      'output',
      'output',
    ])
    expect(said.at(-2).value).toEqual([
      { $bigint: '1' },
      { $date: '1970-01-01T00:00:00.000Z' },
      { $bytes: 'AP8=' },
      { $map: [[{ k: 1 }, { $bigint: '2' }]] },
      { $set: ['x', { $undefined: true }] },
    ])
    expect(said.at(-1).value).toEqual([
      { $number: 'NaN' },
      { $number: '-0' },
      { $number: 'Infinity' },
      { $undefined: true },
      { $regexp: '/x/g' },
      { $url: 'http://a/' },
      { $error: { name: 'RangeError', message: 'r', cause: { $bigint: '1' } } },
      { name: 'self', self: { $circular: 1 } },
      { $object: [['$bigint', 'no']] },
    ])
    expect(await printed('laptop', 'logs', 'said')).toEqual(said)
    const [far] = await printed('laptop', 'run', '--on', 'server01', '-e', '({ at: new Date(0) })')
    expect(far).toMatchObject({ location: 'server01', value: { at: { $date: '1970-01-01T00:00:00.000Z' } } })
    expect(await printed('laptop', 'map', '--ordered', '--input', '[1,2]', '-e', 'item * 2')).toMatchObject([
      { kind: 'output', value: 2 },
      { kind: 'output', value: 4 },
    ])
    const [job, , state] = await printed('laptop', 'receive', 'said', '--kind', 'gap', '--wait', '--write-events')
    expect([job, state]).toMatchObject([{ kind: 'state', state: 'NotStarted' }, { state: 'Completed' }])
    // The same lines in a file.
    const file = join(machines.folder, 'said.ndjson')
    await machines.ok('laptop', 'receive', 'said', '--keep', '--from', '0', '--json', '--out', file)
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(said)
  })

  it('a gap: where records were dropped', async () => {
    await machines.ok('laptop', 'session', 'new', 'server01', '-n', 'drops', '--buffering', 'drop')
    const flood = 'for (let n = 0; n < 60; n++) yield new Uint8Array(1 << 20)'
    await machines.ok('laptop', '--at', 'drops', 'start', '-n', 'flood', '-e', flood)
    await machines.ok('laptop', '--at', 'drops', 'wait', 'flood')
    const [gap] = await printed('laptop', '--at', 'drops', 'logs', 'flood', '--kind', 'gap')
    // Numbered as the last of those it stands for.
    expect(gap).toMatchObject({ kind: 'gap', seq: gap.dropped - 1 })
    await machines.ok('laptop', 'session', 'remove', 'drops')
  })

  it('jobs: start, list, wait, stop, suspend, resume, remove', async () => {
    const [asks] = await printed(
      'laptop',
      'start',
      '-n',
      'asks',
      '-e',
      'await ask({ prompt: "ok?", choices: ["y"], default: "y" })',
    )
    expect(asks).toMatchObject({ name: 'asks', type: 'BackgroundJob', endedAt: null, exitCode: null, children: [] })
    const [blocked] = (await printed('laptop', 'wait', 'asks', '--for', 'Blocked'))[0]
    expect(blocked.question).toMatchObject({ prompt: 'ok?', choices: ['y'], default: 'y', secret: false })
    const [fails] = await printed(
      'laptop',
      'start',
      '--on',
      'server01,localhost',
      '-n',
      'fails',
      '--',
      'sh',
      '-c',
      'exit 3',
    )
    expect(fails.children).toHaveLength(2)
    expect(await machines.type('laptop', ['wait', 'fails'])).toMatchObject({ code: 1 })
    const [[parent, child]] = await printed('laptop', 'list', 'fails', '--children')
    expect(parent).toMatchObject({ state: 'Failed', reason: { code: 'CHILD_JOB' } })
    expect(child).toMatchObject({
      id: `${parent.id}.1`,
      location: 'server01',
      exitCode: 3,
      reason: { code: 'COMMAND_EXIT' },
    })
    const [there] = await printed('laptop', '--at', 'server01', 'start', '-n', 'there', '--', 'true')
    expect(there).toMatchObject({ name: 'there', location: 'localhost' })
    const [everywhere] = await printed('laptop', 'list', '--at', 'all', '--name', 't*')
    expect(everywhere).toMatchObject([{ name: 'there', at: 'server01' }])
    await machines.ok('laptop', 'start', '-n', 'runs', '--', 'sleep', '600')
    expect((await printed('laptop', 'suspend', 'runs'))[0]).toMatchObject([{ state: 'Suspended' }])
    expect((await printed('laptop', 'resume', 'runs'))[0]).toMatchObject([{ state: 'Running' }])
    expect((await printed('laptop', 'stop', 'runs', 'asks'))[0]).toMatchObject([
      { state: 'Stopped' },
      { state: 'Stopped' },
    ])
    expect((await printed('laptop', 'remove', 'runs'))[0]).toMatchObject([{ name: 'runs' }])
    const [each] = await printed('laptop', 'inspect', 'fails', 'peer:server01')
    expect(each).toMatchObject([{ name: 'fails' }, { name: 'server01' }])
    const [launched] = await printed('laptop', 'launch', '--', 'true')
    expect(launched.pid).toBeGreaterThan(1)
  })

  it('sessions: list, disconnect, connect, receive', async () => {
    const [session] = await printed('laptop', 'session', 'new', 'server01', '-n', 'mine', '--buffering', 'drop')
    expect(session).toMatchObject({ name: 'mine', state: 'Opened', buffering: 'drop', expiresAt: null })
    const [[left]] = await printed('laptop', 'session', 'disconnect', 'mine')
    expect(left).toMatchObject({ state: 'Disconnected', availability: 'None', expiresAt: expect.any(String) })
    expect((await printed('laptop', 'session', 'connect', 'mine'))[0]).toMatchObject([{ state: 'Opened' }])
    expect((await printed('laptop', 'session', 'list', 'mine'))[0]).toMatchObject([{ name: 'mine', reason: null }])
    const detached = await machines.ok('laptop', 'start', '--detach', '--on', 'mine', '-e', '6 * 7', '--json')
    holds(closed(PRINTS['session new']!.schema), JSON.parse(detached))
    expect(await printed('laptop', 'session', 'receive', 'mine')).toMatchObject([{ kind: 'output', value: 42 }])
  })

  it('what happens: watch, events', async () => {
    await machines.ok('laptop', 'start', '-n', 'seen', '--', 'sleep', '600')
    await using watched = machines.follow('laptop', 'watch', '--json')
    await using told = machines.follow('laptop', 'events', '--json')
    await until(() => watched.stdout.includes('seen') && told.stdout.includes('begin'))
    await machines.ok('laptop', 'session', 'new', 'server01', '-n', 'seen')
    await machines.ok('laptop', 'session', 'remove', 'seen')
    await machines.ok('laptop', 'remove', '--force', 'seen')
    await until(() => watched.stdout.includes('"removed"') && told.stdout.includes('job.removed'))
    for (const document of watched.documents) holds(closed(PRINTS['watch']!.schema), document)
    for (const document of told.documents) holds(closed(PRINTS['events']!.schema), document)
    expect(watched.documents.at(-1)).toMatchObject({ state: 'Stopped', removed: true })
    const events = told.documents.map(({ event }) => event as string)
    expect(events).toEqual(expect.arrayContaining(['begin', 'session.opened', 'session.closed', 'job.stopped']))
  })

  it('errors: one document on stderr, with a code, a sentence and what to do', async () => {
    expect(await errorOf('frobnicate')).toMatchObject({ code: 'USAGE' })
    expect(await errorOf('receive', '4711')).toMatchObject({ code: 'JOB_NOT_FOUND' })
    expect(await errorOf('run', '--on', 'nobody', '-e', '1')).toMatchObject({ code: 'PEER_NOT_FOUND', hint: /errand/ })
    expect(await errorOf('run', '--', 'no-such-program')).toMatchObject({ code: 'COMMAND_NOT_FOUND' })
  })

  it('doctor, config', async () => {
    const [findings] = await printed('server01', 'doctor')
    expect(findings).toContainEqual(expect.objectContaining({ check: 'daemon', status: 'ok', hint: null }))
    const [settings] = await printed('server01', 'config')
    expect(settings).toContainEqual({ key: 'store', value: 'memory', origin: 'config.json' })
    expect(await printed('server01', 'config', 'get', 'mdns')).toEqual([
      { key: 'mdns', value: false, origin: 'default' },
    ])
  })

  it('down', async () => {
    const pid = await machines.pid('server01')
    expect(await printed('server01', 'down', '--force')).toEqual([{ pid }])
  })
})

describe('the schemas', () => {
  it('know the fields that can be picked', () => {
    const known = (name: string): string[] => Object.keys(DEFS[name]!['properties'] as object)
    expect(known('job')).toEqual(JOB_FIELDS)
    expect(known('session')).toEqual(SESSION_FIELDS)
    expect(known('peer')).toEqual(PEER_FIELDS)
    const kinds = DEFS['record']!['oneOf'] as { properties: object }[]
    expect(new Set(kinds.flatMap(({ properties }) => Object.keys(properties)))).toEqual(new Set(RECORD_FIELDS))
  })

  it('are of commands that there are', () => {
    const paths = COMMANDS.map(({ path }) => path)
    expect(Object.keys(PRINTS).filter((path) => !paths.includes(path))).toEqual([])
  })

  it('let fields pass that are yet to come, and nothing that is not as they say', () => {
    const version = { version: '1', node: 'v24', platform: 'linux', arch: 'x64' }
    const { schema } = PRINTS['version']!
    expect(open(schema)({ ...version, more: 1 })).toBe(true)
    expect(closed(schema)({ ...version, more: 1 })).toBe(false)
    expect(open(schema)({ ...version, node: 24 })).toBe(false)
    expect(open({ $ref: '#/$defs/value' })({ deep: [{ $bigint: 1 }] })).toBe(false)
    expect(open({ $ref: '#/$defs/value' })({ $nothing: 1 })).toBe(false)
  })
})
