// A session's table: what an ended job costs, what finding one among many takes, and how much room there is.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { held } from '../../transport/campaigns/fixtures/heap.ts'
import { codeOf, LimitError, memoryStore } from '../src/index.ts'
import { JobRow } from '../src/job-row.ts'
import type { JobHost } from '../src/job.ts'
import { Answers } from '../src/answers.ts'
import { JOBS_MOST, JobTable } from '../src/job-table.ts'
import type { Link } from '../src/link.ts'
import { singleRecord } from '../src/record.ts'
import { type Principal, type Served, Server } from '../src/serve.ts'
import type { SessionEvent } from '../src/wire.ts'
import { InstantSession } from './support/instant-session.ts'
import { Peers, all, outputs, refusal } from './support/peers.ts'

/** Benchmark `table-100k` has more, and says how long it takes. */
const MANY = 20_000

/** How often rows are looked at, in whatever way, while this is done. */
async function looks(act: () => unknown): Promise<number> {
  let count = 0
  const own = Object.getOwnPropertyDescriptors(JobRow.prototype)
  for (const [key, one] of Object.entries(own) as [string, PropertyDescriptor][]) {
    if (key === 'constructor') continue
    const counted = (seen: (...args: unknown[]) => unknown) =>
      function (this: JobRow, ...args: unknown[]): unknown {
        count++
        return seen.apply(this, args)
      }
    const { get, value } = one as { get?: () => unknown; value?: () => unknown }
    const looked = get ? { ...one, get: counted(get) } : { ...one, value: counted(value!) }
    Object.defineProperty(JobRow.prototype, key, looked)
  }
  try {
    await act()
  } finally {
    Object.defineProperties(JobRow.prototype, own)
  }
  return count
}

describe(`${MANY} finished jobs`, () => {
  let few: InstantSession
  let many: InstantSession
  let bytes: number
  beforeAll(async () => {
    few = new InstantSession()
    await few.fill(100)
    many = new InstantSession()
    const before = await held()
    // As it comes over a link: a text of its own for each.
    await many.fill(MANY, () => ({ command: Buffer.from('some.command --with=an-argument').toString() }))
    bytes = (await held()) - before
  }, 120_000)
  afterAll(async () => {
    await Promise.all([few, many].map((session) => session[Symbol.asyncDispose]()))
  })

  test('each takes at most 2 KiB, with its record that nobody has read', async () => {
    expect(await many.jobs({ newest: 1 })).toMatchObject([{ id: MANY, state: 'Completed', hasMoreData: true }])
    expect(bytes / MANY).toBeLessThan(2048)
    // It is not what nothing would take: the measurement saw them.
    expect(bytes / MANY).toBeGreaterThan(200)
  })

  const same: [string, (table: InstantSession, id: number) => Promise<unknown>][] = [
    ['the newest 20', (table) => table.jobs({ newest: 20 })],
    ['the newest 20 with children', (table) => table.jobs({ newest: 20, includeChildren: true })],
    ['by number', (table, id) => table.jobs({ id: [id, id - 1] })],
    ['by name', (table, id) => table.jobs({ name: `job${id}` })],
    ['those at work', (table) => table.jobs({ state: ['Running', 'NotStarted'] })],
    ['one, by its number', (table, id) => table.job(id)],
    ['one, by its name', (table, id) => table.job(`Job${id}`)],
    ['one that is not there, by a number', (table) => table.job(900_000).catch(() => undefined)],
    ['one that is not there, by a name', (table) => table.job('nowhere').catch(() => undefined)],
    ['one, the newest', (table) => table.job('%')],
    ['one, by its instanceId', async (table, id) => table.job((await table.job(id)).instanceId)],
    ['reading one', async (table, id) => table.read((await table.job(id)).instanceId)],
    ['acknowledging', async (table, id) => table.acknowledge(await table.job(id), 1)],
    [
      'starting one and removing it',
      async (table) => {
        const { instanceId } = await table.start({ name: 'x' })
        await table.quiet()
        await table.host.request({ type: 'remove' }, instanceId)
      },
    ],
  ]
  test.each(same)('%s looks at no more rows than with 100', async (_, act) => {
    const [a, b] = [await looks(() => act(few, 50)), await looks(() => act(many, MANY / 2))]
    expect(b).toBeLessThanOrEqual(a)
    expect(b).toBeLessThan(1_000)
  })

  test('what must look at all of them makes a snapshot only of those it found', async () => {
    const snapshots = vi.spyOn(JobRow.prototype, 'snapshot')
    try {
      expect(await many.jobs({ name: 'job1234?' })).toHaveLength(10)
      expect(await many.jobs({ state: 'Failed' })).toEqual([])
      expect(await many.jobs({ after: new Date(Date.now() + 1_000) })).toEqual([])
      const one = (await many.job(77)).instanceId
      expect((await many.job(one.slice(0, 13))).id).toBe(77)
      expect(snapshots).toHaveBeenCalledTimes(12)
    } finally {
      snapshots.mockRestore()
    }
  })
})

describe('a table has an end', () => {
  /** No more of a job than a table asks for while it is at work. */
  const job = (id: number, children: number): JobHost => {
    const child = (position: number): object => ({ id, instanceId: `${id}.${position}`, position, children: [] })
    return {
      id,
      instanceId: `${id}`,
      name: `Job${id}`,
      startId: `${id}`,
      children: Array.from({ length: children }, (_, index) => child(index + 1)),
      finished: new Promise(() => undefined),
    } as unknown as JobHost
  }

  test('at JOBS_MOST jobs, children counted, one more is refused, and room is made by removing', () => {
    const store = memoryStore()
    const table = new JobTable({ storeOf: () => store }, { peer: 'p', session: 's' }, 'here')
    const parents = JOBS_MOST / 1000
    for (let id = 1; id <= parents; id++) {
      table.throwIfFull(999)
      table.add(job(id, 999))
    }
    expect(() => table.throwIfFull(0)).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    void table.forget(table.find('7'))
    expect(() => table.throwIfFull(1000)).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    table.throwIfFull(999)
    expect(table.size).toBe(parents - 1)
  })

  test('a start asks for its room, children counted, before anything is made; a run is not listed', async () => {
    await using session = new InstantSession()
    const asked = vi.spyOn(JobTable.prototype, 'throwIfFull').mockImplementation(() => {
      throw new LimitError('full')
    })
    try {
      const on = ['a', 'b', 'c'].map((peer) => ({ peer }))
      expect(await refusal('full', () => session.start({}, on))).toMatchObject({ code: 'LIMIT' })
      expect(asked).toHaveBeenLastCalledWith(3)
      const spec = { kind: 'code', source: '1', command: '1', startId: crypto.randomUUID() } as const
      expect(await session.host.request({ type: 'run', spec })).toMatchObject({ id: 0 })
    } finally {
      asked.mockRestore()
    }
    expect(await session.start()).toMatchObject({ id: 1 })
  })
})

describe('an ended job', () => {
  test('is listed, found, read, acknowledged and removed as before', async () => {
    const said = [singleRecord('output', 1), singleRecord('error', new Error('two')), singleRecord('output', 3)]
    const error = Object.assign(new Error('no luck'), { code: 'LUCK' })
    await using table = new InstantSession(() => ({
      says: said,
      ending: { outcome: 'failed', error, exitCode: 7, said: true },
    }))
    const begun = await table.start({ name: 'mine', command: 'work' })
    await table.quiet()
    const job = await table.job('MINE')
    expect(job).toMatchObject({
      id: 1,
      instanceId: begun.instanceId,
      name: 'mine',
      command: 'work',
      location: 'localhost',
      peer: 'a-peer',
      session: table.host.instanceId,
      type: 'BackgroundJob',
      state: 'Failed',
      hasMoreData: true,
      reason: error,
      exitCode: 7,
      errorCount: 1,
      children: [],
    })
    expect(job.history.map(({ state }) => state)).toEqual(['NotStarted', 'Running', 'Failed'])
    expect(job.history[2]?.at).toEqual(job.endedAt)
    expect(job.begunAt).toBeInstanceOf(Date)
    expect(Object.keys(job)).toEqual(Object.keys(begun))
    expect(Object.isFrozen(job)).toBe(true)

    const { instanceId } = job
    expect(await table.read(instanceId)).toEqual([0, 1, 2])
    expect((await table.acknowledge(job, 2)).hasMoreData).toBe(true)
    expect(await table.read(instanceId)).toEqual([2])
    expect((await table.acknowledge(job, 1)).hasMoreData).toBe(true)
    expect((await table.acknowledge(job, 3)).hasMoreData).toBe(false)
    expect(await table.read(instanceId)).toEqual([])
    expect(await table.read(instanceId, 'another')).toEqual([0, 1, 2])
    expect((await table.jobs({ hasMoreData: false })).map(({ id }) => id)).toEqual([1])

    expect(await table.host.request({ type: 'stop' }, instanceId)).toMatchObject({ state: 'Failed' })
    const chunk = singleRecord('output', 0)
    const inward = { type: 'send' as const, count: 1, bytes: chunk.bytes }
    expect(await refusal('input', () => table.host.request(inward, instanceId))).toMatchObject({ code: 'INPUT_CLOSED' })
    const answer = { type: 'answer' as const, value: chunk.bytes }
    expect(await refusal('an answer', () => table.host.request(answer, instanceId))).toMatchObject({
      code: 'JOB_STATE',
    })
    expect(
      await refusal('a late answer', () => table.host.request({ ...answer, question: '1' }, instanceId)),
    ).toMatchObject({ code: 'QUESTION_ANSWERED' })
    for (const type of ['suspend', 'resume'] as const)
      expect(await refusal(type, () => table.host.request({ type }, instanceId))).toMatchObject({ code: 'JOB_STATE' })

    await table.host.request({ type: 'remove' }, instanceId)
    expect(await refusal('removed', () => table.job('mine'))).toMatchObject({ code: 'JOB_NOT_FOUND' })
    expect(await refusal('its log', () => table.read(instanceId))).toMatchObject({ code: 'JOB_NOT_FOUND' })
    expect(await table.jobs()).toEqual([])
  })

  test('the same startId is the same job for as long as it is there', async () => {
    await using table = new InstantSession()
    const startId = crypto.randomUUID()
    const [first, second] = await Promise.all([table.start({ startId }), table.start({ startId })])
    await table.quiet()
    const third = await table.start({ startId })
    expect([second.instanceId, third.instanceId]).toEqual([first.instanceId, first.instanceId])
    expect(third.state).toBe('Completed')
    expect(await table.jobs()).toHaveLength(1)
    await table.host.request({ type: 'remove' }, first.instanceId)
    expect((await table.start({ startId })).instanceId).not.toBe(first.instanceId)
  })

  test('its children are rows of it: found, read and counted, and gone with it', async () => {
    await using table = new InstantSession(({ work }) =>
      work.startId.endsWith('.2') ? { ending: { outcome: 'failed', error: new Error('second') } } : {},
    )
    await table.start({ name: 'fan' }, [{ peer: 'server01' }, { peer: 'server02' }])
    await table.quiet()
    const parent = await table.job('fan')
    expect(parent).toMatchObject({ state: 'Failed', hasMoreData: true, errorCount: 1 })
    expect(parent.children).toMatchObject([
      { name: 'fan.1', parentId: 1, position: 1, location: 'server01', state: 'Completed' },
      { name: 'fan.2', parentId: 1, position: 2, location: 'server02', state: 'Failed', reason: { message: 'second' } },
    ])
    const child = parent.children[1]!
    for (const which of ['1.2', 'fan.2', child.instanceId])
      expect((await table.job(which)).instanceId).toBe(child.instanceId)
    expect((await table.jobs({ includeChildren: true })).map(({ name }) => name)).toEqual(['fan', 'fan.1', 'fan.2'])
    expect(await table.read(parent.instanceId)).toEqual([0, 0, 1])
    expect(await table.read(child.instanceId)).toEqual([0, 1])
    const refused = await refusal('a child', () => table.host.request({ type: 'remove' }, child.instanceId))
    expect(codeOf(refused)).toBe('USAGE')
    // A reader of one job moves nothing in another.
    const other = await table.start()
    await table.quiet()
    const event = { type: 'acknowledge' as const, reader: 'owner', seqs: [[other.instanceId, 1]] as const }
    await table.host.request(event, parent.instanceId)
    expect((await table.job(other.instanceId)).hasMoreData).toBe(true)
    await table.host.request({ type: 'remove' }, parent.instanceId)
    expect(await refusal('gone', () => table.job(child.instanceId))).toMatchObject({ code: 'JOB_NOT_FOUND' })
  })

  test('the newest are those that ended last, whatever their numbers, also after some were removed', async () => {
    await using table = new InstantSession()
    const waits = await table.start({ delay: 60_000, name: 'waits' })
    await table.fill(5)
    const newest = async (n: number): Promise<number[]> => (await table.jobs({ newest: n })).map(({ id }) => id)
    expect(await newest(3)).toEqual([1, 5, 6])
    await table.host.request({ type: 'stop', grace: 0 }, waits.instanceId)
    await table.quiet()
    expect(await newest(1)).toEqual([1])
    expect(await newest(3)).toEqual([1, 5, 6])
    for (const id of [5, 1]) await table.host.request({ type: 'remove' }, (await table.job(id)).instanceId)
    expect(await newest(2)).toEqual([4, 6])
    expect((await table.job('%')).id).toBe(6)
    await table.host.request({ type: 'remove' }, (await table.job(6)).instanceId)
    expect((await table.job('%')).id).toBe(4)
    expect(await newest(9)).toEqual([2, 3, 4])
  })

  test('several of one name are said to be, however they came by it', async () => {
    await using table = new InstantSession()
    await table.fill(1)
    await table.fill(2, () => ({ name: 'job1' }))
    expect(await refusal('three of them', () => table.job('Job1'))).toMatchObject({ code: 'JOB_AMBIGUOUS' })
    expect((await table.jobs({ name: 'JOB1' })).map(({ id }) => id)).toEqual([1, 2, 3])
    await table.host.request({ type: 'remove' }, (await table.job(1)).instanceId)
    await table.host.request({ type: 'remove' }, (await table.job(2)).instanceId)
    expect((await table.job('Job1')).id).toBe(3)
  })
})

describe('what is kept of answers', () => {
  test('what only looks is looked up again when it is asked again; what does something is done once', async () => {
    const done: string[] = []
    const served = {
      session: () => ({}),
      admit: () => undefined,
      sessionEvent: async (...[, , , event]: Parameters<Served['sessionEvent']>) => done.push(event.type),
    } as unknown as Served
    const owner: Principal = { kind: 'owner', peer: 'local', owner: '', may: () => true }
    const server = new Server(owner, served, new Answers())
    const ask = (event: SessionEvent, id: number): Promise<unknown> =>
      server.handle({ client: 'c' } as Link, { session: 's' }, event, id, new AbortController().signal)
    expect([await ask({ type: 'jobs', filter: {} }, 1), await ask({ type: 'jobs', filter: {} }, 1)]).toEqual([1, 2])
    expect([await ask({ type: 'stop' }, 2), await ask({ type: 'stop' }, 2)]).toEqual([3, 3])
    expect(done).toEqual(['jobs', 'jobs', 'stop'])
  })
})

describe('of a real peer', () => {
  let peers: Peers
  beforeAll(async () => {
    peers = await Peers.start('server01')
  })
  afterAll(() => peers.close())

  test('a reader that follows a job into its end hears how it is by then', async () => {
    const job = await peers.laptop.start({ code: 'yield 1; yield 2' }, { engine: 'thread' })
    expect(await outputs(job.receive({ follow: true }))).toEqual([1, 2])
    expect(job).toMatchObject({ state: 'Completed', hasMoreData: false })
    const again = await peers.laptop.job(job.id)
    expect(again).toMatchObject({ state: 'Completed', hasMoreData: false })
    expect(await again.output()).toEqual([1, 2])
    expect(await all(again.watch())).toHaveLength(1)
  })

  test('what is read here of a job that has ended is not given there to whoever asks next', async () => {
    const session = await peers.laptop.connect('server01')
    const job = await peers.laptop.start({ code: 'yield 1; yield 2' }, { on: session })
    await job.wait()
    // Unread, it is the one that is taken up.
    expect((await session.receive())?.instanceId).toBe(job.instanceId)
    expect(await outputs(job.receive())).toEqual([1, 2])
    expect(await session.receive()).toBeUndefined()
    await session.close()
  })
})

test('of two that are told at once how far it was read, the one that knows more is passed on to where it came from', async () => {
  const stored = await memoryStore().log('far')
  for (const first of [0, 1]) await stored.append({ first, ...singleRecord('output', first) })
  const told: number[] = []
  const row = new JobRow({ peer: 'here', session: 's' }, {
    id: 1,
    state: 'Completed',
    history: [],
    children: [],
    stored,
    source: { engine: {}, acknowledge: async (seq: number) => void told.push(seq) },
  } as unknown as ConstructorParameters<typeof JobRow>[1])
  await Promise.all([row.acknowledge('owner', 1), row.acknowledge('owner', 2)])
  expect(told).toEqual([1, 2])
  // Nobody there asks any more.
  await row.acknowledge('owner', 2)
  expect(told).toEqual([1, 2])
})

test('a run that said nothing is kept until its reader was told of its end; who asks again is told again', async () => {
  await using session = new InstantSession(() => ({ says: [] }))
  const startId = crypto.randomUUID()
  await session.host.request({ type: 'run', spec: { kind: 'code', source: '', command: '', startId } })
  const runs = async (): Promise<unknown[]> => (await session.host.request({ type: 'runs' })) as unknown[]
  const read = (): Promise<unknown> => session.host.read(startId, { reader: 'owner', follow: true }).next()
  expect(await runs()).toHaveLength(1)
  expect(await read()).toMatchObject({ done: true, value: { state: 'Completed' } })
  expect(await runs()).toHaveLength(0)
  expect(await read()).toMatchObject({ done: true, value: { state: 'Completed' } })
})
