// Receiving: what a consumer gets, what it does not, and where the next one goes on. And jobs found, stopped and removed.
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { memoryStore } from '../src/index.ts'
import { jobStream } from '../src/job-stream.ts'
import { singleRecord, type ReadChunk } from '../src/record.ts'
import { saveRecords } from '../src/save.ts'
import type { SessionRef } from '../src/session-ref.ts'
import type { Job, JobEvent, JobRecord, ReceiveOptions, ScriptContext, StartOptions, Target } from '../src/index.ts'
import { Peers, alive, all, outputs, refusal, until, within } from './support/peers.ts'
import { counter, lines } from './support/scripts.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start('server01', 'server02')
})
afterAll(() => peers.close())

type Where = Pick<StartOptions, 'engine' | 'name'> & { on?: Target | Target[] }
const thread = { engine: 'thread' } as const
/** Everywhere a script can be a job. */
const places: [string, Where][] = [
  ['in a process', {}],
  ['in a thread', thread],
  ['on server01', { on: 'server01' }],
]

async function ended<O>(started: Promise<Job<O>>): Promise<Job<O>> {
  const job = await started
  await job.wait()
  return job
}
const two = (where: Where = thread): Promise<Job<number>> => peers.laptop.start(() => 2, where)
/** Of each kind two, in turn. */
const talk = (where: Where = thread): Promise<Job<string>> =>
  peers.laptop.start(async function* (ctx: ScriptContext) {
    for (const n of [1, 2]) {
      yield `Output ${n}`
      ctx.warn(`Warning ${n}`)
      ctx.error(new Error(`Error ${n}`))
    }
  }, where)
/** Says `Output 1` and so on up to the first gate that is shut. */
const counting = (to: number, gates: Record<number, string> = {}, where: Where = thread): Promise<Job<string>> =>
  peers.laptop.start(counter, { ...where, args: [to, gates] })

const states = (events: readonly (JobRecord | JobEvent)[]): string[] =>
  events.map((one) => (one.kind === 'state' ? one.state : one.kind === 'output' ? String(one.value) : one.kind))

describe.each(places)('Receive-Job %s', (_, where) => {
  test('P42 to the end: 2, then the job is Completed and has no more data', async () => {
    const job = await two(where)
    expect(await outputs(job.receive({ follow: true }))).toEqual([2])
    expect(job.state).toBe('Completed')
    expect(job.hasMoreData).toBe(false)
  })

  test('P43 keep, receive, receive: 2, 2, nothing', async () => {
    const job = await ended(two(where))
    expect(await outputs(job.receive({ keep: true }))).toEqual([2])
    expect(job.hasMoreData).toBe(true)
    expect(await outputs(job.receive())).toEqual([2])
    expect(await outputs(job.receive())).toEqual([])
    expect(job.hasMoreData).toBe(false)
  })

  test('tail: the last records there are, then what follows; no cursor moves', async () => {
    const job = await ended(talk(where))
    expect((await all(job.receive({ tail: 2 }))).map(({ seq }) => seq)).toEqual([4, 5])
    expect(await outputs(job.receive({ tail: 3, follow: true, kinds: ['output'] }))).toEqual(['Output 2'])
    expect(await all(job.receive({ tail: 0 }))).toEqual([])
    expect(await all(job.receive({ tail: 100 }))).toHaveLength(6)
    expect(await all(job.receive())).toHaveLength(6)
  })

  test('P51 an endless counter: what two partial receives got is strictly consecutive', async () => {
    const job = await peers.laptop.start(async function* (ctx: ScriptContext) {
      for (let n = 0; ; n++) {
        yield n
        if (n % 100 === 0) await ctx.sleep(1)
      }
    }, where)
    const got: number[] = []
    const seqs: number[] = []
    for (const most of [500, 1_000]) {
      for await (const record of job.receive({ follow: true })) {
        if (record.kind !== 'output') continue
        got.push(record.value)
        seqs.push(record.seq)
        if (got.length >= most) break
      }
    }
    await job.stop({ grace: 0 })
    expect(got).toEqual(Array.from({ length: 1_000 }, (_, n) => n))
    expect(seqs).toEqual(got)
    // The rest is there too, and joins on.
    expect((await outputs(job.receive({ limit: 1 })))[0] ?? 1_000).toBe(1_000)
  })

  test('P49 follow and remove: 2, and the job is gone', async () => {
    const job = await two({ ...where, name: 'p49' })
    expect(await outputs(job.receive({ follow: true, remove: true }))).toEqual([2])
    expect(await refusal('a job that was removed', () => peers.laptop.job('p49'))).toMatchObject({
      code: 'JOB_NOT_FOUND',
    })
    expect(await refusal('its records', () => all(job.receive()))).toMatchObject({ code: 'JOB_NOT_FOUND' })
    // Who holds it sees what it was.
    expect(job).toMatchObject({ name: 'p49', state: 'Completed', hasMoreData: false })
  })
})

describe('places', () => {
  test('P45 location of the job itself, in any case: 2', async () => {
    const local = await ended(two())
    expect(await outputs(local.receive({ keep: true, location: 'localhost' }))).toEqual([2])
    expect(await outputs(local.receive({ location: 'LocalHost' }))).toEqual([2])
    const far = await ended(two({ on: 'server01' }))
    expect(await outputs(far.receive({ location: 'Server01' }))).toEqual([2])
    expect(far.hasMoreData).toBe(false)
  })

  test('P46 location of another place: nothing, and nothing is passed over', async () => {
    for (const where of [thread, { on: 'server01' }]) {
      const job = await ended(two(where))
      expect(await all(job.receive({ location: 'server02' }))).toEqual([])
      expect(await within('to the end', all(job.receive({ location: 'server02', follow: true })))).toEqual([])
      expect(await outputs(job.receive())).toEqual([2])
    }
  })

  test('of several children only those there; the others keep their place', async () => {
    const job = await ended(
      peers.laptop.start((ctx: ScriptContext) => ctx.location, { on: ['server01', 'server02', 'server01'] }),
    )
    expect(await outputs(job.receive({ location: 'server01' }))).toEqual(['server01', 'server01'])
    expect(job.hasMoreData).toBe(true)
    expect(await outputs(job.receive())).toEqual(['server02'])
    expect(job.hasMoreData).toBe(false)
  })

  test('followed at one place is over with what is there, however long the others go on', async () => {
    const job = await peers.laptop.start(
      async (ctx: ScriptContext) => {
        if (ctx.location === 'server02') await ctx.sleep(600_000)
        return ctx.location
      },
      { on: ['server01', 'server02'] },
    )
    const got = await within(
      'server01 alone',
      all(job.receive({ follow: true, location: 'server01', writeEvents: true })),
    )
    expect(got.map((one) => (one.kind === 'state' ? one.state : one.kind))).toEqual(['output', 'Completed'])
    expect(job.children[0]!.state).toBe('Completed')
    expect(job.state).toBe('Running')
    await job.stop({ grace: 0 })
    expect(await within('both', outputs(job.receive({ follow: true })))).toEqual([])
  })

  test('P57 differs: there is no -Session; a session knows its own jobs, and a thread job here is none of them', async () => {
    const job = await ended(two())
    const session = await peers.laptop.connect('server01')
    expect(await refusal('a thread job of the laptop', () => session.job(job))).toMatchObject({ code: 'JOB_NOT_FOUND' })
    await session.close()
    expect(await outputs(job.receive())).toEqual([2])
  })

  test('recurse: false is the parent alone, which says nothing itself; a signal ends following it', async () => {
    const gate = peers.gate()
    const job = await counting(2, { 2: gate.path }, { on: 'server01' })
    expect(await outputs(job.receive({ follow: true, keep: true, limit: 1 }))).toEqual(lines(1, 1))
    expect(await all(job.receive({ recurse: false }))).toEqual([])
    const stop = new AbortController()
    const following = all(job.receive({ recurse: false, follow: true, signal: stop.signal }))
    stop.abort()
    expect(await within('what was given up', following)).toEqual([])
    await gate.open()
    expect(await within('to the end', all(job.receive({ recurse: false, follow: true })))).toEqual([])
    expect(job.state).toBe('Completed')
    expect(await outputs(job.receive())).toEqual(lines(1, 2))
  })
})

describe('a consumer that does not take everything', () => {
  test('leaves early, by break or by an error of its own: the next receive begins behind what it had', async () => {
    const job = await ended(counting(6))
    for await (const record of job.receive()) if (record.seq === 1) break
    const own = new Error('mine')
    const thrown = await refusal('throw in the loop', async () => {
      for await (const record of job.receive()) if (record.seq === 3) throw own
    })
    expect(thrown).toBe(own)
    expect(await outputs(job.receive())).toEqual(lines(5, 6))
  })

  test('what is thrown into the stream was not taken, and comes again', async () => {
    const job = await ended(counting(3))
    const records = job.receive()[Symbol.asyncIterator]()
    await records.next()
    expect((await records.next()).value).toMatchObject({ seq: 1 })
    await refusal('thrown in', () => records.throw!(new Error('could not be written')))
    expect(await outputs(job.receive())).toEqual(lines(2, 3))
  })

  test('asks for one and never again: that one was not taken', async () => {
    const job = await ended(counting(3))
    const records = job.receive()[Symbol.asyncIterator]()
    expect((await records.next()).value).toMatchObject({ seq: 0 })
    expect(await outputs(job.receive())).toEqual(lines(1, 3))
    await records.return!()
  })

  test('limit: so many records, and the next receive goes on; limit 0 takes none', async () => {
    const job = await ended(counting(5))
    expect(await outputs(job.receive({ limit: 0 }))).toEqual([])
    expect(await outputs(job.receive({ limit: 2 }))).toEqual(lines(1, 2))
    expect(await outputs(job.receive({ limit: 2, keep: true }))).toEqual(lines(3, 4))
    expect(await outputs(job.receive({ limit: 2, from: 1 }))).toEqual(lines(2, 3))
    expect(await outputs(job.receive({ limit: 9 }))).toEqual(lines(3, 5))
  })

  test('limit with kinds counts records of those kinds; the cursor stays behind the last of them', async () => {
    const job = await ended(talk())
    const warned = await all(job.receive({ kinds: ['warning'], limit: 1 }))
    expect(warned).toMatchObject([{ seq: 1, value: 'Warning 1' }])
    const rest = await all(job.receive({ keep: true }))
    expect(rest.map(({ seq }) => seq)).toEqual([2, 3, 4, 5])
    expect((await all(job.receive({ kinds: ['output', 'error'], limit: 2 }))).map(({ seq }) => seq)).toEqual([2, 3])
    expect((await all(job.receive({ kinds: ['warning'] }))).map(({ seq }) => seq)).toEqual([4])
    // Read to the end: the cursor has passed the rest, which is still there.
    expect(await all(job.receive())).toEqual([])
    expect(job.hasMoreData).toBe(false)
    expect((await all(job.receive({ from: 0, kinds: ['error'] }))).map(({ seq }) => seq)).toEqual([2, 5])
  })

  test('a signal ends a stream that is followed; what was not taken comes next', async () => {
    for (const where of [thread, { on: 'server01' }]) {
      const gate = peers.gate()
      const job = await counting(4, { 3: gate.path }, where)
      const stop = new AbortController()
      const got: unknown[] = []
      for await (const record of job.receive({ follow: true, signal: stop.signal })) {
        if (record.kind === 'output') got.push(record.value)
        if (got.length === 2) stop.abort()
      }
      expect(got).toEqual(lines(1, 2))
      await gate.open()
      expect(await outputs(job.receive({ follow: true }))).toEqual(lines(3, 4))
    }
  })
})

describe('several readers at once', () => {
  test.each(places)('each gets everything once and in order, at its own pace: %s', async (_, where) => {
    const gates = { 40: peers.gate(), 80: peers.gate() }
    const job = await counting(100, { 40: gates[40].path, 80: gates[80].path }, where)
    const follow = (reader: string): Promise<unknown[]> => outputs(job.receive({ follow: true, reader }))
    const slow = (async () => {
      const got: unknown[] = []
      for (;;) {
        const some = await outputs(job.receive({ follow: true, reader: 'slow', limit: 7 }))
        if (some.length === 0) return got
        got.push(...some)
      }
    })()
    const readers = [follow('owner'), follow('one'), follow('two'), slow]
    await outputs(job.receive({ follow: true, reader: 'first', limit: 39 }))
    await gates[40].open()
    const late = follow('late')
    await outputs(job.receive({ follow: true, reader: 'first', limit: 40 }))
    await gates[80].open()
    for (const got of await within('all readers', Promise.all([...readers, late]))) expect(got).toEqual(lines(1, 100))
    expect(await outputs(job.receive({ follow: true, reader: 'first' }))).toEqual(lines(80, 100))
  })

  test('a kept read beside a moving one sees what it began with', async () => {
    const job = await ended(counting(4))
    const kept = job.receive({ keep: true })[Symbol.asyncIterator]()
    expect((await kept.next()).value).toMatchObject({ seq: 0 })
    expect(await outputs(job.receive())).toEqual(lines(1, 4))
    for (const seq of [1, 2, 3]) expect((await kept.next()).value).toMatchObject({ seq })
    expect((await kept.next()).done).toBe(true)
  })
})

describe('options that do not fit are refused before anything is read', () => {
  const bad: [string, ReceiveOptions][] = [
    ['from before the first', { from: -1 }],
    ['from half a record', { from: 0.5 }],
    ['half a record before the end', { tail: 0.5 }],
    ['two beginnings', { from: 0, tail: 1 }],
    ['limit', { limit: -1 }],
    ['limit', { limit: Number.NaN }],
    ['kinds', { kinds: ['stdout' as 'output'] }],
    ['a reader without a name', { reader: '' }],
    ['a reader with a long one', { reader: 'r'.repeat(257) }],
    ['location', { location: 7 as unknown as string }],
    ['remove without follow', { remove: true }],
    ['remove and keep', { remove: true, follow: true, keep: true }],
    ['remove of one place', { remove: true, follow: true, location: 'server01' }],
    ['remove without the children', { remove: true, follow: true, recurse: false }],
  ]
  // Also over a link, which must outlive it. One job for all: none of them moves its cursor.
  describe.each<[string, Where]>([
    ['here', thread],
    ['elsewhere', { on: 'server01' }],
  ])('%s', (_place, where) => {
    let job: Job<number>
    beforeAll(async () => {
      job = await ended(two(where))
    })

    test.each(bad)('%s', async (_, options) => {
      expect(await refusal('receive', () => all(job.receive(options)))).toMatchObject({ code: 'USAGE' })
      expect(await refusal('save', () => job.save(peers.path('never'), options))).toMatchObject({ code: 'USAGE' })
      expect(await outputs(job.receive({ keep: true }))).toEqual([2])
    })

    test('and whoever comes then gets it', async () => {
      expect(await outputs(job.receive())).toEqual([2])
    })
  })

  test('from of a parent names a child to ask', async () => {
    const job = await ended(two({ on: 'server01' }))
    expect(await refusal('from 1', () => all(job.receive({ from: 1 })))).toMatchObject({ code: 'USAGE' })
    expect(await outputs(job.receive({ from: 0 }))).toEqual([2])
    expect(await outputs(job.children[0]!.receive({ from: 0 }))).toEqual([2])
    expect(await all(job.children[0]!.receive({ from: 1 }))).toEqual([])
  })

  test('remove of a child: it goes with its parent', async () => {
    const job = await ended(two({ on: 'server01' }))
    const [child] = job.children
    const refused = [
      () => all(child!.receive({ follow: true, remove: true })),
      () => child!.save(peers.path('never'), { follow: true, remove: true }),
      () => child!.remove(),
    ]
    for (const act of refused) expect(await refusal('a child', act)).toMatchObject({ code: 'USAGE' })
    expect(await outputs(job.receive())).toEqual([2])
  })
})

describe('state changes among the records', () => {
  test('P47 with events: 2, the child, the parent; each names its job', async () => {
    const job = await two({ on: 'server01' })
    const got = await all(job.receive({ follow: true, writeEvents: true }))
    expect(states(got)).toEqual(['2', 'Completed', 'Completed'])
    const [record, child, parent] = got as [JobRecord, JobEvent, JobEvent]
    expect(child).toMatchObject({ kind: 'state', jobId: job.children[0]!.instanceId, location: 'server01' })
    expect(parent).toMatchObject({ kind: 'state', jobId: job.instanceId, previous: 'Running' })
    expect(child.at).toEqual(job.children[0]!.endedAt)
    expect(record.jobId).toBe(child.jobId)
    // No record: it is not in the log, and does not come again.
    expect(await all(job.receive())).toEqual([])
    expect(job.hasMoreData).toBe(false)
  })

  test('P47 differs: a job without children is one event, not two', async () => {
    for (const where of [thread, {}]) {
      const job = await two(where)
      const got = await all(job.receive({ follow: true, writeEvents: true }))
      expect(states(got)).toEqual(['2', 'Completed'])
      expect(got[1]).toEqual({
        kind: 'state',
        at: job.endedAt,
        location: 'localhost',
        jobId: job.instanceId,
        state: 'Completed',
        previous: 'Running',
      })
    }
  })

  test('without it there are none', async () => {
    expect(states(await all((await two()).receive({ follow: true })))).toEqual(['2'])
  })

  test.each(places)('Blocked stands where the job asked, %s', async (_, where) => {
    const gate = peers.gate()
    const job = await peers.laptop.start(
      async function* (ctx: ScriptContext, path: string) {
        yield 'one'
        while (!process.getBuiltinModule('node:fs').existsSync(path)) await ctx.sleep(10)
        yield String(await ctx.ask('and?'))
        yield 'three'
      },
      { ...where, args: [gate.path] },
    )
    const got: (JobRecord | JobEvent)[] = []
    for await (const one of job.receive({ follow: true, writeEvents: true })) {
      got.push(one)
      // A question overtakes what was said in the same breath.
      if (one.kind === 'output' && one.value === 'one') await gate.open()
      if (one.kind === 'state' && one.state === 'Blocked' && one.jobId === job.instanceId) await job.answer('two')
    }
    const each = where.on === undefined ? 1 : 2
    const blocked = Array.from({ length: each }, () => 'Blocked')
    expect(states(got)).toEqual(['one', ...blocked, 'two', 'three', ...blocked.map(() => 'Completed')])
  })

  test('Disconnected stands where the link was left, and the stream goes on behind it', async () => {
    const gate = peers.gate()
    const session = await peers.laptop.connect('server01')
    const job = await counting(4, { 3: gate.path }, { on: session })
    const got: (JobRecord | JobEvent)[] = []
    const reading = (async () => {
      for await (const one of job.receive({ follow: true, writeEvents: true })) got.push(one)
    })()
    await until('two were said', () => got.length === 2)
    await session.disconnect()
    await until('both were told', () => got.length === 4)
    await gate.open()
    await session.receive()
    await within('the stream', reading)
    expect(states(got)).toEqual([
      ...lines(1, 2),
      'Disconnected',
      'Disconnected',
      ...lines(3, 4),
      'Completed',
      'Completed',
    ])
    await session.close()
  })

  test('a failure has its reason; each child is told behind its last record, the parent last', async () => {
    const job = await peers.laptop.start(
      async function* (ctx: ScriptContext) {
        yield ctx.location
        if (ctx.location === 'server02') throw new RangeError('not here')
      },
      { on: ['server01', 'server02'] },
    )
    const got = await all(job.receive({ follow: true, writeEvents: true }))
    for (const [location, kinds] of [
      ['server01', ['server01', 'Completed']],
      ['server02', ['server02', 'error', 'Failed']],
    ] as const)
      expect(states(got.filter((one) => one.location === location))).toEqual(kinds)
    expect(got.at(-1)).toMatchObject({
      kind: 'state',
      jobId: job.instanceId,
      state: 'Failed',
      reason: { code: 'CHILD_JOB' },
    })
    const failed = got.find((one) => one.kind === 'state' && one.location === 'server02') as JobEvent
    expect(failed.reason).toMatchObject({ name: 'RangeError', message: 'not here' })
  })

  test('without follow: how each job is, behind what there was', async () => {
    const job = await ended(two({ on: 'server01' }))
    expect(states(await all(job.receive({ writeEvents: true })))).toEqual(['2', 'Completed', 'Completed'])
    expect(states(await all(job.receive({ writeEvents: true })))).toEqual(['Completed', 'Completed'])
    const gate = peers.gate()
    const running = await counting(1, { 1: gate.path })
    await running.wait({ for: ['Running'] })
    expect(await all(running.receive({ writeEvents: true }))).toEqual([])
    await gate.open()
    await running.wait()
  })

  test('filters are for records: events are in no kind, no limit and no file', async () => {
    const job = await ended(talk())
    const options = { follow: true, keep: true, writeEvents: true } as const
    expect(states(await all(job.receive({ ...options, kinds: ['warning'] })))).toEqual([
      'warning',
      'warning',
      'Completed',
    ])
    expect(states(await all(job.receive({ ...options, limit: 1 })))).toEqual(['Output 1'])
    expect(await refusal('events to a file', () => job.save(peers.path('never'), options))).toMatchObject({
      code: 'USAGE',
    })
  })

  test('P48 differs: no job object is put among the results; each record names its job, and that is one look away', async () => {
    const job = await two({ on: 'server01' })
    const [first] = await all(job.receive({ follow: true }))
    const child = await peers.laptop.job(first!.jobId)
    expect(child).toMatchObject({ location: 'server01', parent: job })
    expect(first).toMatchObject({ kind: 'output', value: 2 })
  })
})

describe('auto-remove', () => {
  const listed = async (job: Job): Promise<boolean> =>
    (await peers.laptop.jobs({ id: job.id })).some(({ instanceId }) => instanceId === job.instanceId)

  test('not before the last record was taken', async () => {
    const job = await ended(counting(2))
    const records = job.receive({ follow: true, remove: true })[Symbol.asyncIterator]()
    await records.next()
    await records.next()
    expect(await listed(job)).toBe(true)
    expect((await records.next()).done).toBe(true)
    expect(await listed(job)).toBe(false)
  })

  test('not when the consumer leaves early, at a limit, or is given up: what is left can be received', async () => {
    const job = await ended(counting(6))
    const options = { follow: true, remove: true } as const
    for await (const record of job.receive(options)) if (record.seq === 1) break
    expect(await outputs(job.receive({ ...options, limit: 2 }))).toEqual(lines(3, 4))
    const stop = new AbortController()
    for await (const _ of job.receive({ ...options, signal: stop.signal })) stop.abort()
    expect(await listed(job)).toBe(true)
    expect(await outputs(job.receive(options))).toEqual(lines(6, 6))
    expect(await listed(job)).toBe(false)
  })

  test('not while it is Disconnected: it is followed on, and removed when it has ended', async () => {
    const gate = peers.gate()
    const session = await peers.laptop.connect('server01')
    const job = await counting(3, { 2: gate.path }, { on: session })
    const reading = outputs(job.receive({ follow: true, remove: true }))
    await job.wait({ for: ['Running'] })
    await session.disconnect()
    await job.wait({ for: ['Disconnected'], timeout: '10s' })
    expect(await listed(job)).toBe(true)
    await gate.open()
    await session.receive()
    expect(await within('to the end', reading)).toEqual(lines(1, 3))
    expect(await listed(job)).toBe(false)
    await session.close()
  })

  test('also of one that failed, with what it had said; somebody else may have been quicker', async () => {
    const failing = (): Promise<Job> =>
      peers.laptop.start(async function* () {
        yield 1
        throw new Error('no')
      }, thread)
    const job = await failing()
    const kinds = (await all(job.receive({ follow: true, remove: true, writeEvents: true }))).map(({ kind }) => kind)
    expect(kinds).toEqual(['output', 'error', 'state'])
    expect(await listed(job)).toBe(false)
    const other = await ended(failing())
    const records = other.receive({ follow: true, remove: true })[Symbol.asyncIterator]()
    await records.next()
    await records.next()
    await other.remove()
    expect((await records.next()).done).toBe(true)
  })

  test('a file as well: whole, and then the job is gone', async () => {
    const path = peers.path('whole.txt')
    const job = await counting(3)
    await job.save(path, { follow: true, remove: true })
    expect(await readFile(path, 'utf8')).toBe('Output 1\nOutput 2\nOutput 3\n')
    expect(await listed(job)).toBe(false)
  })
})

describe('Get-Job', () => {
  test('P58 by name, number, instanceId and state: one Completed job', async () => {
    const job = await ended(two({ ...thread, name: 'p58' }))
    for (const which of ['p58', 'P58', job.id, job.instanceId]) expect(await peers.laptop.job(which)).toBe(job)
    for (const filter of [{ name: 'p58' }, { name: 'P5?' }, { id: job.id }]) {
      const found = await peers.laptop.jobs({ ...filter, state: 'Completed' })
      expect(found).toHaveLength(1)
      expect(found[0]).toBe(job)
    }
    expect(await peers.laptop.jobs({ name: 'p58', state: ['Running', 'Failed'] })).toEqual([])
  })

  test('P59 before and after, round its end and not on it', async () => {
    const job = await ended(two({ ...thread, name: 'p59' }))
    const end = job.endedAt!.getTime()
    const found = async (before: number, after: number): Promise<number> =>
      (await peers.laptop.jobs({ name: 'p59', before: new Date(before), after: new Date(after) })).length
    expect(await found(end + 1, end - 1)).toBe(1)
    expect(await found(end, end - 1)).toBe(0)
    expect(await found(end + 1, end)).toBe(0)
  })

  test('P60 by whether it has more data', async () => {
    const job = await ended(two({ ...thread, name: 'p60' }))
    const found = async (hasMoreData: boolean): Promise<number> =>
      (await peers.laptop.jobs({ name: 'p60', hasMoreData })).length
    expect([await found(true), await found(false)]).toEqual([1, 0])
    await outputs(job.receive())
    expect([await found(true), await found(false)]).toEqual([0, 1])
  })

  test('P61 with children: two, the parent first; childState the same', async () => {
    const job = await ended(two({ on: 'server01', name: 'p61' }))
    for (const filter of [{ includeChildren: true }, { childState: 'Completed' }] as const) {
      const found = await peers.laptop.jobs({ name: 'p61', ...filter })
      expect(found.map(({ name }) => name)).toEqual(['p61', 'p61.1'])
      expect(found[0]).toBe(job)
      expect(found[1]).toBe(job.children[0])
      expect(found[1]!.parent).toBe(job)
    }
    expect(await peers.laptop.jobs({ name: 'p61', childState: 'Failed' })).toHaveLength(1)
    const [child] = await peers.laptop.jobs({ name: 'p61.1' })
    expect(child).toBe(job.children[0])
  })

  test('P64 lists several, by number', async () => {
    const jobs = [await two({ name: 'p64' }), await two({ ...thread, name: 'p64' }), await two({ name: 'p64' })]
    await Promise.all(jobs.map((job) => job.wait()))
    const found = await peers.laptop.jobs({ name: 'p64' })
    expect(found.map(({ id }) => id)).toEqual(jobs.map(({ id }) => id))
    expect((await peers.laptop.jobs({ name: 'p64', newest: 2 })).length).toBe(2)
    expect(await refusal('a name of three', () => peers.laptop.job('p64'))).toMatchObject({ code: 'JOB_AMBIGUOUS' })
  })

  test('by what it does, and not by what there is not', async () => {
    await ended(peers.laptop.start(['echo', 'p63'], { name: 'p63' }))
    const found = async (command: string): Promise<number> => (await peers.laptop.jobs({ name: 'p63', command })).length
    expect([await found(' ECHO p63 '), await found('echo*'), await found('echo')]).toEqual([1, 1, 0])
    expect(await refusal('a bad filter', () => peers.laptop.jobs({ state: 'Done' as 'Failed' }))).toMatchObject({
      code: 'USAGE',
    })
  })
})

describe('Remove-Job, Stop-Job', () => {
  test('P65 by name, number, instanceId and state: gone', async () => {
    const named = async (): Promise<Job> => ended(two({ ...thread, name: 'p65' }))
    for (const which of [(): string => 'p65', (job: Job): number => job.id, (job: Job): string => job.instanceId]) {
      const job = await named()
      await (await peers.laptop.job(which(job))).remove()
      expect(await peers.laptop.jobs({ name: 'p65' })).toEqual([])
      expect(await refusal('once more', () => job.remove())).toMatchObject({ code: 'JOB_NOT_FOUND' })
    }
    for (let n = 0; n < 3; n++) await named()
    await Promise.all((await peers.laptop.jobs({ name: 'p65', state: 'Completed' })).map((job) => job.remove()))
    expect(await peers.laptop.jobs({ name: 'p65' })).toEqual([])
  })

  test('P66 of one that runs is refused: it is there and runs on; of several the others go', async () => {
    const gate = peers.gate()
    const running = await counting(1, { 1: gate.path }, { name: 'p66' })
    await running.wait({ for: ['Running'] })
    const over = [await ended(two({ ...thread, name: 'p66' })), await ended(two({ ...thread, name: 'p66' }))]
    const done = await Promise.allSettled([over[0]!, running, over[1]!].map((job) => job.remove()))
    expect(done.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((done[1] as PromiseRejectedResult).reason).toMatchObject({ code: 'JOB_NOT_FINISHED' })
    const found = await peers.laptop.jobs({ name: 'p66' })
    expect(found).toHaveLength(1)
    expect(found[0]!.state).toBe('Running')
    await gate.open()
    expect(await running.output()).toEqual(lines(1, 1))
    await running.remove()
  })

  test.each(places)('P67 with force it is stopped and gone, with what it ran in: %s', async (_, where) => {
    const job = await peers.laptop.start(
      async function* (ctx: ScriptContext) {
        yield process.getBuiltinModule('node:child_process').spawn('sleep', ['600'], { stdio: 'ignore' }).pid!
        await ctx.sleep(600_000)
      },
      { ...where, name: 'p67' },
    )
    const [pid] = await outputs(job.receive({ follow: true, limit: 1 }))
    await job.remove({ force: true })
    expect(job.state).toBe('Stopped')
    expect(await peers.laptop.jobs({ name: 'p67' })).toEqual([])
    if (where.engine !== 'thread') await until('what it ran is gone', () => !alive(pid!))
    else process.kill(pid!, 'SIGKILL')
  })

  test.each([
    ['name', () => 'p69'],
    ['number', (job: Job) => job.id],
    ['instanceId', (job: Job) => job.instanceId],
    ['state', undefined],
  ] as const)(
    'P69 stopped by %s when it was drained: Stopped, no more data, and nothing was added',
    async (_, which) => {
      for (const where of [thread, {}]) {
        const job = await peers.laptop.start(
          async function* (ctx: ScriptContext) {
            yield 1
            yield 2
            await ctx.sleep(600_000)
          },
          { ...where, name: 'p69' },
        )
        expect(await outputs(job.receive({ follow: true, limit: 2 }))).toEqual([1, 2])
        const found = which
          ? [await peers.laptop.job(which(job))]
          : await peers.laptop.jobs({ name: 'p69', state: 'Running' })
        expect(found).toHaveLength(1)
        expect((await found[0]!.stop()).state).toBe('Stopped')
        expect(job).toMatchObject({ state: 'Stopped', hasMoreData: false, errorCount: 0 })
        expect(await all(job.receive({ from: 0 }))).toHaveLength(2)
        await job.remove()
      }
    },
  )
})

test('output says when some of it is kept no more, instead of leaving it out', async () => {
  const small = await peers.program('small', { network: false, store: memoryStore({ logLimit: 64 * 1024 }) })
  const job = await small.start(async function* () {
    for (let n = 0; n < 100; n++) yield String(n).padEnd(16 * 1024, '.')
  }, thread)
  expect(await outputs(job.receive({ follow: true }))).toHaveLength(100)
  const lost = await refusal('all of it', () => job.output())
  expect(lost).toMatchObject({ code: 'LIMIT' })
  const [gap, ...rest] = await all(job.receive({ from: 0 }))
  expect(gap).toMatchObject({ kind: 'gap', dropped: 100 - rest.length })
  expect(lost.message).toContain(`${100 - rest.length} records`)
})

describe('to a file', () => {
  test('only so many, only the parent, only of a place: the rest is received later', async () => {
    const job = await ended(counting(4))
    const path = peers.path('some.txt')
    await job.save(path, { limit: 2 })
    expect(await readFile(path, 'utf8')).toBe('Output 1\nOutput 2\n')
    expect(await outputs(job.receive())).toEqual(lines(3, 4))
    const far = await ended(two({ on: 'server01' }))
    await far.save(path, { recurse: false })
    expect(await readFile(path, 'utf8')).toBe('')
    expect(await outputs(far.receive())).toEqual([2])
  })

  test('a record that cannot be written was not taken', async () => {
    const worse = {
      [Symbol.for('nodejs.util.inspect.custom')]: () => {
        throw new Error('cannot be shown')
      },
    }
    const taken: number[] = []
    const records = (async function* (): AsyncGenerator<JobRecord> {
      for (const [seq, value] of ['one', worse, 'three'].entries()) {
        yield { seq, at: new Date(), location: 'here', jobId: 'j', kind: 'output', value }
        taken.push(seq)
      }
    })()
    const path = peers.path('worse.txt')
    expect(await refusal('a bad record', () => saveRecords(path, records))).toMatchObject({
      message: 'cannot be shown',
    })
    expect(taken).toEqual([0])
    expect((await records.next()).done, 'nobody reads on').toBe(true)
  })

  test('ndjson keeps what JSON lacks by a tag, errors with their fields, and knots', async () => {
    const job = await ended(
      peers.laptop.start(async function* (ctx: ScriptContext) {
        const knot: { self?: unknown } = {}
        knot.self = knot
        yield knot
        yield [1n, -0, Number.NaN, undefined, new Date(0), new Map([['k', new Set([1])]]), new Uint8Array([1, 2])]
        yield { $bigint: 'not one' }
        ctx.error(Object.assign(new RangeError('far'), { code: 'FAR', cause: new Error('near') }))
      }, thread),
    )
    const path = peers.path('all.ndjson')
    await job.save(path, { format: 'ndjson' })
    const text = await readFile(path, 'utf8')
    const [knot, list, like, error] = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(knot).toMatchObject({ seq: 0, kind: 'output', jobId: job.instanceId, value: { self: { $circular: 1 } } })
    expect(list.value).toEqual([
      { $bigint: '1' },
      { $number: '-0' },
      { $number: 'NaN' },
      { $undefined: true },
      { $date: '1970-01-01T00:00:00.000Z' },
      { $map: [['k', { $set: [1] }]] },
      { $bytes: 'AQI=' },
    ])
    expect(like.value).toEqual({ $object: [['$bigint', 'not one']] })
    expect(error.error).toMatchObject({ name: 'RangeError', message: 'far', code: 'FAR', cause: { message: 'near' } })
  })
})

test('a script that returns what it receives hands on the records', async () => {
  const job = await peers.laptop.start(async (ctx: ScriptContext) => {
    const inner = await ctx.session.start(() => 2, { engine: 'thread' })
    return inner.receive({ follow: true })
  }, thread)
  expect(await outputs(job.receive({ follow: true }))).toMatchObject([{ kind: 'output', value: 2 }])
})

describe('a cursor that cannot be heard of', () => {
  /** Ten records; the far cursor stays where it is while `heard` is not called. */
  function deaf() {
    const asked: [string, number][][] = []
    const waiting: (() => void)[] = []
    const ref = {
      request: (event: { seqs: [string, number][] }) => {
        asked.push(event.seqs)
        return new Promise<void>((resolve) => waiting.push(resolve))
      },
      async *read(): AsyncGenerator<ReadChunk, undefined> {
        for (let first = 0; first < 10; first++) {
          yield { ...singleRecord('output', first), first, from: first, job: 'j', location: 'here' }
          // As over a link: a turn for each.
          await new Promise<void>((resolve) => setImmediate(resolve))
        }
        return undefined
      },
    } as unknown as SessionRef
    const given = new Map<string, number>()
    const holder = { given: () => given, onNews: () => {}, checkRemovable: () => {}, remove: async () => {} }
    const receive = (o: ReceiveOptions = {}) => jobStream<number>(ref, 'j', o, holder)
    const heard = (): void => {
      for (const answer of waiting.splice(0)) answer()
    }
    return { asked, receive, heard }
  }

  test('what one handle gave it does not give again, and says so once more', async () => {
    const { asked, receive, heard } = deaf()
    const first: number[] = []
    for await (const { seq } of receive() as AsyncIterable<JobRecord>) if (first.push(seq) === 4) break
    expect(first).toEqual([0, 1, 2, 3])
    heard()
    asked.length = 0
    const kept = (await all(receive({ keep: true }))) as JobRecord[]
    expect(kept.map(({ seq }) => seq)).toEqual([4, 5, 6, 7, 8, 9])
    expect(asked).toEqual([])
    const rest = all(receive())
    await until('it was said again', () => asked.length > 0)
    expect(asked[0]).toEqual([['j', 4]])
    heard()
    await until('the rest was said', () => asked.length > 1)
    heard()
    expect(((await rest) as JobRecord[]).map(({ seq }) => seq)).toEqual([4, 5, 6, 7, 8, 9])
    expect(asked.at(-1)).toEqual([['j', 10]])
    // Asked for by number they are there.
    expect(await all(receive({ from: 0 }))).toHaveLength(10)
  })

  test('no more than one message waits for its answer while it reads, and one when it leaves', async () => {
    const { asked, receive } = deaf()
    expect(await all(receive())).toHaveLength(10)
    expect(asked.length).toBe(2)
    expect(asked[1]).toEqual([['j', 10]])
  })
})
