// Named jobs: defined once, typed from end to end, offered by a peer to others who send a name and one value.
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { encode, type Channel, type Protocol } from '@errand/transport'
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from 'vitest'
import {
  codeOf,
  connectLocal,
  createPeer,
  defineJob,
  type Grant,
  type Job,
  type JobDefinition,
  type Peer,
  type ScriptContext,
  type StartOptions,
} from '../src/index.ts'
import { CONTROL, DATA, protocols, VERSION } from '../src/wire.ts'
import { count, hiding, numbers, place, range, schema, single } from './fixtures/jobs.ts'
import { Peers, all, refusal, until, within } from './support/peers.ts'

/** Travels as text. */
const twice = defineJob({
  name: 'twice',
  input: schema<number, number | string>(async (value, wrong) => {
    if (Number.isNaN(Number(value))) wrong('a number is wanted')
    return Number(value)
  }),
  run: async (_ctx, n) => n * 2,
})
/** Has no answer about its input, ever. */
const silent = defineJob({
  name: 'silent',
  input: schema<number>(() => new Promise<never>(() => undefined)),
  run: () => 'never',
})

/** As whoever calls it defines it who does not know what it takes: everything is sent. */
const unchecked = ({ name }: JobDefinition): JobDefinition<unknown, string> => defineJob({ name, run: () => 'here' })

let peers: Peers
let server: Peer
beforeAll(async () => {
  peers = await Peers.start()
  server = await peers.program('server', { jobs: [count, place, numbers, single, twice, silent] })
  await peers.laptop.join(await server.invite({ grants: ['admin'] }))
})
afterAll(() => peers.close())

/** A peer that may do only so much on the server. */
async function guest(name: string, ...grants: Grant[]): Promise<Peer> {
  const peer = await peers.program(name)
  await peer.join(await server.invite({ grants }))
  return peer
}

const errorsOf = async (job: Job): Promise<Error[]> =>
  (await all(job.receive({ from: 0, follow: true }))).flatMap((one) => (one.kind === 'error' ? [one.error] : []))

describe('the types of a named job', () => {
  const peer = undefined as unknown as Peer
  const says = defineJob({ name: 'says', run: (_ctx, text: string) => [text] })

  test('args is what the input schema takes, run gets what it makes, outputs are what run yields or returns', () => {
    expectTypeOf(count).toEqualTypeOf<
      JobDefinition<{ from?: number; to: number | string }, AsyncGenerator<number, void, unknown>>
    >()
    defineJob({
      name: 'x',
      input: range,
      run(ctx, input) {
        expectTypeOf(ctx).toEqualTypeOf<ScriptContext>()
        expectTypeOf(input).toEqualTypeOf<{ from: number; to: number }>()
      },
    })
    const started = () => peer.start(count, { args: { to: '3' }, on: 'server', name: 'n', deadline: '1s' })
    expectTypeOf(started).returns.toEqualTypeOf<Promise<Job<number>>>()
    const many = async () => await peer.run(count, { args: { to: 3 } })
    expectTypeOf(many).returns.toEqualTypeOf<Promise<number[]>>()
    const one = async () => await peer.run(says, { args: 'a' })
    expectTypeOf(one).returns.toEqualTypeOf<Promise<string[]>>()
  })

  test('outputs of an output schema are what it makes', () => {
    const made = defineJob({
      name: 'made',
      output: schema<Date, number>((value) => new Date(value as number)),
      *run() {
        yield 1
      },
    })
    expectTypeOf(() => peer.start(made)).returns.toEqualTypeOf<Promise<Job<Date>>>()
    const value = async () => await peer.run(made)
    expectTypeOf(value).returns.toEqualTypeOf<Promise<Date[]>>()
    const alone = defineJob({ name: 'alone', output: schema<Date, number>(() => new Date()), run: async () => 1 })
    const only = async () => await peer.run(alone)
    expectTypeOf(only).returns.toEqualTypeOf<Promise<Date>>()
    // @ts-expect-error: a string is not what the schema takes
    defineJob({ name: 'wrong', output: schema<number>(Number), run: () => 'a' })
  })

  test('a value that does not fit, or is missing, does not compile', () => {
    const wrong = (): unknown[] => [
      // @ts-expect-error: to is a number or a string
      peer.start(count, { args: { to: true } }),
      // @ts-expect-error: it needs a value
      peer.start(count),
      // @ts-expect-error: it needs a value
      peer.run(count, { on: 'server' }),
      // @ts-expect-error: args is the value, not a list of them
      peer.start(count, { args: [{ to: 1 }] }),
      // @ts-expect-error: a name is all that is sent
      peer.start(count, { args: { to: 1 }, using: { limit: 1 } }),
      // @ts-expect-error: text is wanted
      peer.start(says, { args: 1 }),
    ]
    expect(wrong).toBeTypeOf('function')
  })
})

/** Everywhere a named job can run. */
const places: [string, Pick<StartOptions, 'engine'> & { on?: string }][] = [
  ['in a process', {}],
  ['in a thread', { engine: 'thread' }],
  ['in the runspace', { engine: 'runspace' }],
  ['on a peer that offers it', { on: 'server' }],
]

describe.each(places)('a named job %s', (_, where) => {
  test('gets what the schema makes of its value, and streams what it yields', async () => {
    const job = await peers.laptop.start(count, { ...where, args: { to: '3' } })
    expect(await job.output()).toEqual([1, 2, 3])
    expect(job).toMatchObject({ state: 'Completed', command: 'count' })
    expect(await peers.laptop.run(count, { ...where, args: { from: 2, to: 3 } })).toEqual([2, 3])
  })

  test('has what its file imports and declares', async () => {
    const [said] = await (await peers.laptop.start(place, where)).output()
    const location = where.on ?? 'laptop'
    expect(said).toMatchObject({ file: 'jobs.ts', location })
    expect(said!.pid === process.pid).toBe(where.engine !== undefined)
    expect(said!.threadId === 0).toBe(where.engine === undefined)
  })

  test('travels as text where it names no module', async () => {
    expect(await peers.laptop.run(twice, { ...where, args: '21' })).toBe(42)
    const job = await peers.laptop.start(twice, { ...where, args: 4 })
    expect(await job.output()).toEqual([8])
  })

  test('with an output that does not fit ends there: INVALID_OUTPUT, after what did fit', async () => {
    const left = peers.path('left')
    const job = await peers.laptop.start(numbers, { ...where, args: { values: [1, 2, 'three', 4], left } })
    await job.finished
    const one = job.children[0] ?? job
    expect(one.reason).toMatchObject({ code: 'INVALID_OUTPUT', issues: [{ message: 'a number is wanted', path: [] }] })
    expect(one.state).toBe('Failed')
    const records = await all(job.receive())
    expect(records.map((record) => (record.kind === 'output' ? record.value : record.kind))).toEqual([2, 4, 'error'])
    expect(existsSync(left), 'its finally blocks have run').toBe(true)
  })

  test('that returns one value has that checked', async () => {
    expect(await peers.laptop.run(single, { ...where, args: 'fits' })).toBe('fits')
    const error = await refusal('a number', async () => peers.laptop.run(single, { ...where, args: 1 }))
    expect(error).toMatchObject({
      code: 'INVALID_OUTPUT',
      issues: [{ path: ['at', 'the', 'top'] }],
      message: expect.stringContaining('at.the.top: a string is wanted'),
    })
  })

  test('that is stopped while its outputs are checked leaves in order', async () => {
    const left = peers.path('left')
    const job = await peers.laptop.start(numbers, { ...where, args: { values: [1], left, wait: true } })
    for await (const record of job.receive({ follow: true, limit: 1 })) expect(record).toMatchObject({ value: 2 })
    expect((await job.stop()).state).toBe('Stopped')
    expect(existsSync(left)).toBe(true)
  })

  test('is told of a value it does not take before anything is sent', async () => {
    const before = (await peers.laptop.jobs()).length
    const args = { to: 'many' }
    const issue = { message: 'a number is wanted', path: ['range', 0, 'to'] }
    for (const act of [
      () => peers.laptop.start(count, { ...where, args }),
      async () => peers.laptop.run(count, { ...where, args }),
    ]) {
      expect(await refusal('many', act)).toMatchObject({
        name: 'InvalidInputError',
        code: 'INVALID_INPUT',
        issues: [issue],
        message: expect.stringContaining('range.0.to: a number is wanted'),
      })
    }
    expect(await peers.laptop.jobs()).toHaveLength(before)
  })
})

describe('a named job elsewhere', () => {
  test('lives in a session, and runs in its runspace, whose modules stay', async () => {
    const session = await peers.laptop.connect('server')
    const job = await session.start(count, { args: { to: 2 } })
    expect(await job.output()).toEqual([1, 2])
    expect((await session.run(place)).calls).toBe(1)
    expect((await session.run(place)).calls).toBe(2)
    expect((await (await session.start(place)).output())[0]!.calls, 'a job has an isolate of its own').toBe(1)
    await session.close()
  })

  test('checks its value again there: who sends what it does not take has a failed job', async () => {
    const session = await peers.laptop.connect('server')
    for (const job of [count, twice]) {
      const careless = unchecked(job)
      const started = await session.start(careless, { args: { to: 'many' } })
      const { state, reason } = await started.wait()
      expect(state).toBe('Failed')
      expect(reason).toMatchObject({ code: 'INVALID_INPUT', issues: [{ message: 'a number is wanted' }] })
      expect((await errorsOf(started)).map(codeOf)).toEqual(['INVALID_INPUT'])
      expect(codeOf(await refusal('a run', async () => session.run(careless, { args: 'no' })))).toBe('INVALID_INPUT')
      const child = await peers.laptop.start(careless, { args: {}, on: session })
      await child.finished
      expect(child.children[0]!.reason).toMatchObject({ code: 'INVALID_INPUT' })
    }
    await session.close()
  })

  test('says only so much about a value that is wrong everywhere', async () => {
    const everywhere = defineJob({
      name: 'everywhere',
      input: schema<unknown[]>((value, wrong) => {
        for (const index of (value as unknown[]).keys()) wrong('wrong'.repeat(1000), index)
        return value
      }),
      run: () => undefined,
    })
    const args = Array.from({ length: 10_000 }, (_, index) => index)
    const error = await refusal('everything', () => peers.laptop.start(everywhere, { args }))
    expect((error as unknown as { issues: unknown[] }).issues).toHaveLength(20)
    expect(error.message.length).toBeLessThan(2000)
  })

  test('that is not offered is refused JOB_NOT_OFFERED', async () => {
    const other = unchecked(hiding())
    const session = await peers.laptop.connect('server')
    const error = await refusal('a start', () => session.start(other))
    expect(error).toMatchObject({ code: 'JOB_NOT_OFFERED', message: "server offers no job 'hidden'" })
    expect(codeOf(await refusal('a run', async () => session.run(other)))).toBe('JOB_NOT_OFFERED')
    expect(await session.jobs()).toEqual([])
    const job = await peers.laptop.start(other, { on: 'server' })
    await job.finished
    expect(job.children[0]).toMatchObject({ state: 'Failed', reason: { code: 'JOB_NOT_OFFERED' } })
    await session.close()
  })

  test('whose schema never answers can be stopped, and has a deadline', async () => {
    const session = await peers.laptop.connect('server')
    const careless = unchecked(silent)
    const job = await session.start(careless, { args: 1 })
    expect((await job.stop()).state).toBe('Stopped')
    const late = await session.start(careless, { args: 1, deadline: 50 })
    expect(await late.wait()).toMatchObject({ state: 'Failed', reason: { code: 'TIMEOUT' } })
    await session.start(careless, { args: 1 })
    await within('its session closes', session.close())
    // Asked on the caller's side, where the call can be given up.
    const patience = new AbortController()
    const starting = peers.laptop.start(silent, { args: 1, on: 'server', signal: patience.signal })
    patience.abort()
    expect(await refusal('given up', () => starting)).toMatchObject({ name: 'AbortError' })
  })

  test("is started from a script of the session by that peer's definition", async () => {
    const url = new URL('./fixtures/jobs.ts', import.meta.url).href
    const said = await peers.laptop.run(
      async (ctx, from: string) => {
        const { count: counting } = (await import(from)) as typeof import('./fixtures/jobs.ts')
        return (await ctx.session.start(counting, { args: { to: 2 } })).output()
      },
      { on: 'server', args: [url] },
    )
    expect(said).toEqual([1, 2])
  })

  test("is asked of this machine's daemon like of any other peer", async () => {
    const home = peers.path('home')
    await peers.program('daemon', { home, serveLocal: true, network: false, jobs: [count] })
    await using daemon = await connectLocal({ home })
    expect(await (await daemon.start(count, { args: { to: 2 } })).output()).toEqual([1, 2])
    expect(codeOf(await refusal('another', () => daemon.start(place)))).toBe('JOB_NOT_OFFERED')
  })
})

describe('whoever may start a named job', () => {
  test('P141 differs: granted one by name, runs that and nothing else: no script, no command, no other job', async () => {
    const peer = await guest('guest', 'connect', 'run:job:count', 'run:job:not-there')
    const session = await peer.connect('server')
    expect(await (await session.start(count, { args: { to: 2 }, name: 'mine', deadline: '1m' })).output()).toEqual([
      1, 2,
    ])
    expect(await session.run(count, { args: { to: 1 } })).toEqual([1])
    const far = await peer.start(count, { args: { to: 3 }, on: 'server' })
    expect(await far.output()).toEqual([1, 2, 3])
    expect((await session.jobs()).map(({ name }) => name)).toEqual(['mine'])
    for (const act of [
      () => session.start(() => 1),
      () => session.start(['true']),
      () => session.start({ code: '1' }),
      () => session.start(place),
      () => session.start(unchecked(hiding())),
      () => session.complete('proc'),
    ]) {
      expect(codeOf(await refusal('anything else', act as () => Promise<unknown>))).toBe('DENIED')
    }
    // Its own grant is not news of what is there.
    const granted = defineJob({ name: 'not-there', run: () => 1 })
    expect(codeOf(await refusal('granted', () => session.start(granted)))).toBe('JOB_NOT_OFFERED')
    await session.close()
  })

  test('may say nothing of how it runs: DENIED, and nothing was started', async () => {
    const peer = await guest('modest', 'connect', 'run:job:count')
    const session = await peer.connect('server')
    const beyond = [
      { engine: 'thread' },
      { cwd: '/' },
      { env: { NODE_OPTIONS: '--require=/x' } },
      { maxMemory: 64 },
      { permissions: {} },
    ] as const
    for (const options of beyond) {
      const error = await refusal('a start', () => session.start(count, { args: { to: 1 }, ...options }))
      expect(error).toMatchObject({ code: 'DENIED', message: expect.stringContaining(Object.keys(options)[0]!) })
    }
    expect(await session.jobs()).toEqual([])
    for (const options of [{ cwd: '/' }, { env: { NODE_OPTIONS: '--require=/x' } }]) {
      expect(codeOf(await refusal('a session', () => peer.connect('server', options)))).toBe('DENIED')
    }
    await session.close()
  })

  test('is not who may run scripts: run:script does not imply it', async () => {
    const peer = await guest('scripter', 'connect', 'run:script', 'run:command')
    const session = await peer.connect('server', { cwd: '/' })
    expect(await session.run(() => process.cwd())).toBe('/')
    expect(codeOf(await refusal('a named job', () => session.start(count, { args: { to: 1 } })))).toBe('DENIED')
    await session.close()
  })

  test('with scripts allowed as well may say how it runs', async () => {
    const peer = await guest('both', 'connect', 'run:script', 'run:job:test/place:1.0_a-b')
    const session = await peer.connect('server')
    const job = await session.start(place, { engine: 'thread' })
    expect((await job.output())[0]!.threadId).toBeGreaterThan(0)
    await session.close()
  })

  test('is known by a grant that is spelled right', async () => {
    const grants = ['run:job:', 'run:job:a b', `run:job:${'n'.repeat(129)}`, 'run:jobs:a', 'run:job'] as Grant[]
    for (const grant of grants) {
      expect(await refusal(grant, () => server.invite({ grants: [grant] }))).toMatchObject({
        code: 'USAGE',
        hint: expect.stringContaining('run:job:NAME'),
      })
      expect(codeOf(await refusal(grant, () => server.allow('somebody', [grant])))).toBe('USAGE')
      const policy = { peers: { somebody: [grant] } }
      expect(codeOf(await refusal(grant, () => createPeer({ policy })))).toBe('USAGE')
    }
    await server.allow('somebody', [`run:job:${'n'.repeat(128)}`, 'run:job:a/b:c.d_e-F9'])
  })
})

describe('straight on the wire', () => {
  let network: MemoryNetwork
  let host: Peer
  let open: AsyncDisposable[]
  let ask: (event: object, job?: string) => Promise<{ t: string; value?: any; error?: Error & { code?: string } }>
  let session: string

  beforeEach(async () => {
    network = createMemoryNetwork()
    const bob: Grant[] = ['connect', 'run:job:count', 'run:job:test/place:1.0_a-b']
    host = await createPeer({
      name: 'host',
      transport: memory({ network, name: 'host' }),
      jobs: [count, place, twice],
      policy: { peers: { bob, carol: ['connect'], alice: [...bob, 'run:script', 'run:job:twice'] } },
    })
    open = [host]
  })
  afterEach(async () => {
    for (const one of open.toReversed()) await one[Symbol.asyncDispose]()
  })

  /** Speaks as that peer, in a session of its own, and says what it likes. */
  async function speak(name: string): Promise<void> {
    const transport = memory({ network, name })
    open.push(transport)
    await transport.start({
      admits: () => true,
      protocols: protocols({ interval: 1000, suspicion: 4000 }) as Protocol[],
      accept: (channel) => channel.abort(),
    })
    const control: Channel = await transport.open('host', CONTROL)
    const link = crypto.randomUUID()
    await control.send({ t: 'hello', v: VERSION, link, client: name, name })
    await (await transport.open('host', DATA)).send({ t: 'hello', link })
    const answers = control[Symbol.asyncIterator]()
    await answers.next()
    let last = 0
    const say = async (to: object, event: object) => {
      const id = ++last
      await control.send({ t: 'ask', id, to, event })
      for (;;) {
        const { value } = (await answers.next()) as { value: { t: string; id?: number } }
        if (value.id === id) return value
      }
    }
    const opened = (await say({}, { type: 'session.open', options: { openId: 'o' } })) as {
      value?: { instanceId: string }
    }
    session = opened.value!.instanceId
    ask = (event, job) => say({ session, job }, event)
  }

  const spec = (more: object = {}): object => ({
    kind: 'job',
    job: 'count',
    command: 'count',
    payload: encode({ to: 2 }),
    startId: crypto.randomUUID(),
    ...more,
  })

  test('everything but the value, a name, a deadline, input and an id is DENIED, and is looked at no further', async () => {
    await speak('bob')
    const allowed = await ask({ type: 'start', spec: spec({ name: 'n', deadline: 60_000, input: false }) })
    expect(allowed).toMatchObject({ t: 'ok', value: { name: 'n', command: 'count' } })
    const beyond: object[] = [
      { cwd: '/' },
      { env: {} },
      { engine: 'process' },
      { using: { limit: 1 } },
      { source: 'process.exit()' },
      { argv: ['sh'] },
      { export: 'default' },
      { prompt: false },
      { module: 'file:///etc/passwd' },
      { init: { kind: 'code', source: 'process.exit()' } },
      { restart: { times: 1, within: 1 } },
      { retry: { times: 1, delay: 0, factor: 1 } },
      { delay: 1 },
      { after: 'x' },
      { throttle: 1 },
      { command: 'something harmless' },
      { anything: 'a later version has' },
    ]
    for (const more of beyond) {
      for (const type of ['start', 'run']) {
        const answer = await ask({ type, spec: spec(more) })
        expect(answer, JSON.stringify(more)).toMatchObject({ t: 'no', error: { code: 'DENIED' } })
      }
    }
    for (const more of [{ throttle: 1 }, { lostAfter: 1 }, { on: [{ peer: 'localhost' }] }, { anything: 1 }]) {
      const answer = await ask({ type: 'start', spec: spec(), ...more })
      expect(answer, JSON.stringify(more)).toMatchObject({ t: 'no', error: { code: 'DENIED' } })
    }
    for (const kind of ['function', 'code', 'module', 'line', 'command']) {
      const { job: _, ...rest } = spec({ kind, source: '1', argv: ['true'] }) as { job: string }
      expect(await ask({ type: 'start', spec: rest }), kind).toMatchObject({ t: 'no', error: { code: 'DENIED' } })
    }
    const { value: jobs } = await ask({ type: 'jobs', filter: {} })
    expect(jobs).toHaveLength(1)
  })

  test('what is offered is not told to who may not have it', async () => {
    await speak('carol')
    const said: unknown[] = []
    for (const job of ['count', 'twice', 'not-there']) {
      const { t, error } = await ask({ type: 'start', spec: spec({ job, command: job }) })
      expect(t).toBe('no')
      said.push([error!.code, error!.message.replaceAll(job, 'NAME')])
    }
    expect(new Set(said.map((one) => JSON.stringify(one))).size).toBe(1)
    expect(said[0]).toEqual(['DENIED', expect.stringContaining('run:job:NAME')])
  })

  test('a name that is none, or a name where none belongs, does not fit', async () => {
    await speak('alice')
    for (const more of [
      { job: undefined },
      { job: '' },
      { job: 'a b' },
      { job: '../../etc/passwd\0' },
      { job: 'n'.repeat(129) },
      { job: 7 },
      { job: ['count'] },
      { kind: 'function', source: '() => 1' },
    ]) {
      const answer = await ask({ type: 'start', spec: spec(more) })
      expect(answer, JSON.stringify(more)).toMatchObject({ t: 'no', error: { code: 'USAGE' } })
    }
  })

  test('what runs under a name is what the peer offers, whatever else is said of it', async () => {
    await speak('alice')
    const evil = { source: '() => "evil"', module: 'data:text/javascript,export default () => "evil"', export: 'x' }
    for (const [job, payload, made] of [
      ['count', { to: 2 }, [1, 2]],
      ['twice', 21, [42]],
    ] as const) {
      const more = { job, command: job, payload: encode(payload), ...evil }
      const { value } = await ask({ type: 'start', spec: spec(more) })
      const far = await until('it has ended', async () => {
        const { value: now } = await ask({ type: 'job', which: value.instanceId })
        return now.endedAt && now
      })
      expect(far).toMatchObject({ state: 'Completed', errorCount: 0 })
      const path = peers.path('records')
      const saved = { type: 'save', path, format: 'ndjson', read: { reader: 'r' } }
      await ask(saved, value.instanceId)
      const lines = readFileSync(path, 'utf8').trim().split('\n')
      expect(lines.map((line) => (JSON.parse(line) as { value: unknown }).value)).toEqual(made)
    }
  })

  test('a value that is no CBOR, or not what is taken, fails the job and nothing else', async () => {
    await speak('bob')
    for (const payload of [
      Uint8Array.of(0xff, 0x00, 0x1c),
      new Uint8Array(),
      encode({ args: [{ to: 1 }], using: { x: 1 } }),
      encode(null),
      encode({ to: Number.NaN }),
    ]) {
      const { value } = await ask({ type: 'start', spec: spec({ payload }) })
      const far = await until('it has ended', async () => {
        const { value: now } = await ask({ type: 'job', which: value.instanceId })
        return now.endedAt && now
      })
      expect(far.state).toBe('Failed')
    }
    expect(await ask({ type: 'start', spec: spec() })).toMatchObject({ t: 'ok' })
  })
})

describe('createPeer', () => {
  const limit = 5

  test('refuses what it cannot offer, and says what to do', async () => {
    const free = defineJob({ name: 'free', run: () => limit })
    expect(await refusal('a free variable', () => createPeer({ jobs: [free] }))).toMatchObject({
      code: 'FREE_VARIABLE',
      names: ['limit'],
      hint: expect.stringContaining('module: import.meta.url'),
    })
    const bound = defineJob({ name: 'bound', run: (() => 1).bind(null) })
    expect(await refusal('no text', () => createPeer({ jobs: [bound] }))).toMatchObject({
      code: 'SCRIPT',
      hint: expect.stringContaining('module: import.meta.url'),
    })
    const judged = defineJob({ name: 'judged', output: schema<number>(Number), run: () => 1 })
    expect(await refusal('an output schema without a module', () => createPeer({ jobs: [judged] }))).toMatchObject({
      code: 'USAGE',
      hint: expect.stringContaining('module: import.meta.url'),
    })
    const gone = defineJob({ name: 'gone', module: new URL('./not-there.ts', import.meta.url), run: () => 1 })
    expect(await refusal('a module that is not there', () => createPeer({ jobs: [gone] }))).toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('not-there.ts'),
    })
    const again = defineJob({ name: 'count', run: () => 1 })
    expect(await refusal('two of a name', () => createPeer({ jobs: [count, again] }))).toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining("'count'"),
    })
    const plain = { name: 'plain', run: () => 1 }
    expect(codeOf(await refusal('no definition', () => createPeer({ jobs: [plain] })))).toBe('USAGE')
  })

  test('need not offer to others what its own program has at hand', async () => {
    await using peer = await createPeer({ name: 'alone' })
    expect(await peer.run(count, { args: { to: 2 } })).toEqual([1, 2])
    expect(await (await peer.start(twice, { args: 2 })).output()).toEqual([4])
    const job = await peer.start(defineJob({ name: 'free', run: () => limit }))
    expect(await job.wait()).toMatchObject({ state: 'Failed', reason: { code: 'FREE_VARIABLE' } })
  })
})

describe('defineJob', () => {
  test('takes names of letters, digits and -_.:/, at most 128', () => {
    for (const name of ['a', 'reports/daily:v1.2_x-Y', 'n'.repeat(128)]) {
      expect(defineJob({ name, run: () => 1 }).name).toBe(name)
    }
    for (const name of ['', ' ', 'a b', 'ä', 'a\n', 'a*', 'n'.repeat(129), undefined, 7]) {
      expect(() => defineJob({ name: name as string, run: () => 1 }), String(name)).toThrow(/is named by/)
    }
  })

  test('refuses what is no function, no schema, no file', () => {
    const job = { name: 'x', run: () => 1 }
    expect(() => defineJob({ ...job, run: 'x' as never })).toThrow('no function `run`')
    expect(() => defineJob({ ...job, input: {} as never })).toThrow('`input` of job')
    expect(() => defineJob({ ...job, output: 7 as never })).toThrow('`output` of job')
    expect(() => defineJob({ ...job, module: './x.ts' })).toThrow('file: URL')
    expect(() => defineJob({ ...job, module: 'data:text/javascript,1' })).toThrow('file: URL')
  })

  test('is for one value: more is refused before anything is sent', async () => {
    const using = { using: { limit: 1 } } as object
    const error = await refusal('using', () => peers.laptop.start(count, { args: { to: 1 }, ...using }))
    expect(error).toMatchObject({ code: 'USAGE', message: expect.stringContaining('`using`') })
    expect(codeOf(await refusal('a function', () => peers.laptop.start(unchecked(count), { args: () => 1 })))).toBe(
      'NOT_TRANSFERABLE',
    )
  })
})

describe('the module of a named job', () => {
  const from = (name: string): URL => new URL(`./fixtures/${name}.ts`, import.meta.url)

  test.each(places.slice(0, 3))(
    'that cannot be imported %s fails the job: JOB_MODULE, with the reason',
    async (_, where) => {
      const broken = defineJob({ name: 'broken', module: from('jobs-broken'), run: () => 1 })
      const job = await peers.laptop.start(broken, where)
      expect((await job.wait()).reason).toMatchObject({
        code: 'JOB_MODULE',
        message: expect.stringMatching(/job 'broken'.*jobs-broken\.ts.*this file breaks/),
        cause: { name: 'RangeError' },
      })
    },
  )

  test('that does not export it says what it does export', async () => {
    const job = await peers.laptop.start(hiding())
    expect((await job.wait()).reason).toMatchObject({
      code: 'JOB_MODULE',
      message: expect.stringMatching(/does not export it; it exports.*'count'/),
    })
  })

  const run = async (options: string[], program: string, env: NodeJS.ProcessEnv = {}): Promise<any> => {
    const args = ['--conditions=source', ...options, fileURLToPath(from(program))]
    const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } })
    return JSON.parse(stdout)
  }

  test('that is the whole program does not run it again in every isolate', async () => {
    const refused = ['JOB_MODULE', expect.stringContaining('a peer is created while the module')]
    expect(await run([], 'jobs-program')).toEqual({ process: refused, thread: refused })
    const ran = ['ran']
    expect(await run([], 'jobs-program', { GUARDED: '1' })).toEqual({ process: ran, thread: ran })
  })

  test('that starts itself through the daemon does not go on for ever', async () => {
    const home = peers.path('home')
    const starter = defineJob({ name: 'starter', module: from('jobs-starter'), run: () => 1 })
    const host = await peers.program('starting', { home, serveLocal: true, network: false, jobs: [starter] })
    const job = await host.start(starter, { env: { STARTER_HOME: home } })
    const reason = { code: 'JOB_MODULE', message: expect.stringContaining('work is started while the module') }
    expect(await job.wait()).toMatchObject({ state: 'Failed', reason })
    expect(await host.jobs()).toHaveLength(1)
  })

  test('is imported by plain Node, also under tsx', async () => {
    const tsx = createRequire(import.meta.url).resolve('tsx')
    const said = [1, 2, 42]
    expect(await run(['--import', tsx], 'jobs-tsx')).toEqual({ process: said, thread: said })
  })
})
