// Way 3: the job and its results stay on server01; also what a session is.
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JobSnapshot, ScriptContext, Session } from '../src/index.ts'
import { Peers, alive, all, outputs, refusal, until } from './support/peers.ts'
import { type LogEvent, SYSTEM_LOG, counter, lines, readEvents } from './support/scripts.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start('server01', 'server02')
})
afterAll(() => peers.close())

/** A session of the test's own, so that its numbers start at 1. */
const connect = (to = 'server01'): Promise<Session> => peers.laptop.connect(to)

/** `{ Start-Job { … } }`: makes a job there that says its first line, then waits for the gate. */
const startThere = async (ctx: ScriptContext, path: string): Promise<unknown> =>
  ctx.session.start(
    async function* (inner: ScriptContext, gate: string) {
      const { existsSync } = process.getBuiltinModule('node:fs')
      yield `begun on ${inner.location}`
      while (!existsSync(gate)) await inner.sleep(10)
      yield 'ended'
    },
    { args: [path] },
  )

describe('a session', () => {
  test('S29 a new session is Opened and Available, and stays so', async () => {
    const session = await connect()
    const opened = { state: 'Opened', availability: 'Available', location: 'server01', computerType: 'RemoteMachine' }
    expect(session).toMatchObject(opened)
    expect(session.peerId).toBe(peers.server('server01').id)
    expect(session.transport).toBe('libp2p')
    await session.run(() => 1)
    expect(session).toMatchObject(opened)
    expect((await peers.laptop.sessions()).find((one) => one.instanceId === session.instanceId)).toMatchObject(opened)
    await session.close()
    expect(session.state).toBe('Closed')
  })

  test("S30 a command in it reads server01's file; its lines appear here", async () => {
    const session = await connect()
    const content = async function* (_ctx: ScriptContext, path: string): AsyncGenerator<string> {
      const text = await process.getBuiltinModule('node:fs/promises').readFile(path, 'utf8')
      for (const line of text.split('\n').slice(0, 10)) yield line
    }
    const expected = (await readFile(SYSTEM_LOG, 'utf8')).split('\n').slice(0, 10)
    expect(await session.run(content, { args: [SYSTEM_LOG] })).toEqual(expected)
    expect(await all(session.run(content, { args: [SYSTEM_LOG] }))).toEqual(expected)
    await session.close()
  })

  test('S31 a second command sees the variables of the first', async () => {
    const session = await connect()
    await session.run(() => {
      Object.assign(globalThis, { answer: new Map([['a', 42]]) })
    })
    const answer = await session.run(() => (globalThis as unknown as { answer: Map<string, number> }).answer)
    expect(answer).toEqual(new Map([['a', 42]]))
    const other = await connect()
    expect(await other.run(() => 'answer' in globalThis)).toBe(false)
    await Promise.all([session.close(), other.close()])
  })

  test('does one thing at a time: a second run is refused SESSION_BUSY, a child of `on` is Failed with it', async () => {
    const session = await connect()
    const gate = peers.gate()
    const first = session.run(counter, { args: [2, { 2: gate.path }] })
    const iterator = first[Symbol.asyncIterator]()
    expect(await iterator.next()).toEqual({ value: 'Output 1', done: false })
    expect(session.availability).toBe('Busy')
    expect(await refusal('busy', () => session.run(() => 1))).toMatchObject({ code: 'SESSION_BUSY' })
    const job = await peers.laptop.start(() => 1, { on: session })
    expect((await job.wait()).state).toBe('Failed')
    expect(job.children[0]?.reason).toMatchObject({ code: 'SESSION_BUSY' })
    expect(await (await session.start(() => 'beside it')).output()).toEqual(['beside it'])
    await gate.open()
    expect(await iterator.next()).toEqual({ value: 'Output 2', done: false })
    expect(await iterator.next()).toMatchObject({ done: true })
    expect(await session.run(() => 'free again')).toBe('free again')
    await session.close()
  })
})

describe('kept there', () => {
  test('S41 with a temporary session the job object comes back, then the job is ended: no process is left', async () => {
    const path = peers.path('pids')
    const start = async (ctx: ScriptContext, file: string): Promise<unknown> => {
      const { existsSync } = process.getBuiltinModule('node:fs')
      const job = await ctx.session.start(
        async (inner: ScriptContext, name: string) => {
          const child = process.getBuiltinModule('node:child_process').spawn('sleep', ['600'], { stdio: 'ignore' })
          process.getBuiltinModule('node:fs').writeFileSync(`${name}.part`, `${process.pid} ${child.pid}`)
          process.getBuiltinModule('node:fs').renameSync(`${name}.part`, name)
          await inner.sleep(600_000)
        },
        { args: [file] },
      )
      while (!existsSync(file)) await ctx.sleep(10)
      return job
    }
    const held = (await peers.laptop.sessions()).length
    const job = (await peers.laptop.run(start, { args: [path], on: 'server01' })) as JobSnapshot
    expect(job).toMatchObject({ state: 'Running', location: 'localhost', type: 'BackgroundJob' })
    const pids = (await readFile(path, 'utf8')).split(' ').map(Number)
    expect(pids).toHaveLength(2)
    await until('the job and what it started are gone', () => !pids.some(alive))
    await until('the temporary session is gone', async () => {
      const there = await peers.laptop.sessions({ on: 'server01' })
      return !there.some(({ instanceId }) => instanceId === job.session)
    })
    expect(await peers.laptop.sessions()).toHaveLength(held)
  })

  test('S42 S45 with a persistent session it goes on after the command has returned, at localhost', async () => {
    const session = await connect()
    const gate = peers.gate()
    await session.run(startThere, { args: [gate.path] })
    const snapshot = (await session.run(startThere, { args: [gate.path] })) as JobSnapshot
    expect(snapshot).toMatchObject({ id: 2, name: 'Job2', state: 'Running', location: 'localhost' })
    expect(snapshot.peer).toBe(peers.server('server01').id)
    const job = await session.job(2)
    expect(job.state).toBe('Running')
    await gate.open()
    expect((await job.wait()).state).toBe('Completed')
    for (const location of ['localhost', 'Localhost', 'LocalHost'])
      expect(await outputs(job.receive({ location, keep: true }))).toEqual(['begun on server01', 'ended'])
    expect(await outputs(job.receive({ location: 'server01', keep: true })), 'there it is at home').toEqual([])
    expect(await outputs(job.receive())).toEqual(['begun on server01', 'ended'])
    await session.close()
  })

  test("S43 its number is of server01's session: the list here does not have it", async () => {
    const session = await connect()
    const here = new Set((await peers.laptop.jobs()).map((job) => job.instanceId))
    const job = await session.start(() => 1)
    expect(job.id).toBe(1)
    expect(new Set((await peers.laptop.jobs()).map((one) => one.instanceId))).toEqual(here)
    expect((await session.jobs()).map((one) => one.instanceId)).toEqual([job.instanceId])
    await session.close()
  })

  test('S44 the object that came back is a snapshot: it does not change, until `session.job` makes it live', async () => {
    const session = await connect()
    const gate = peers.gate()
    const snapshot = (await session.run(startThere, { args: [gate.path] })) as JobSnapshot
    await gate.open()
    const live = await session.job(snapshot)
    await live.wait()
    expect(snapshot.state).toBe('Running')
    expect(live.state).toBe('Completed')
    expect(Object.isFrozen(snapshot)).toBe(true)
    expect('receive' in snapshot).toBe(false)
    await session.close()
  })

  test('S46 in three sessions: one job in each, each object with its location', async () => {
    const sessions = [await connect(), await connect('server02'), await connect()]
    const gate = peers.gate()
    const seen: [location: string, snapshot: JobSnapshot][] = []
    for await (const record of peers.laptop.run(startThere, { args: [gate.path], on: sessions }).records())
      if (record.kind === 'output') seen.push([record.location, record.value as JobSnapshot])
    expect(seen.map(([location]) => location).toSorted()).toEqual(['server01', 'server01', 'server02'])
    for (const [location, snapshot] of seen) expect(snapshot.peer).toBe(peers.server(location).id)
    expect(new Set(seen.map(([, { session }]) => session))).toEqual(new Set(sessions.map((one) => one.instanceId)))
    await gate.open()
    for (const session of sessions) {
      const [job, ...none] = await session.jobs()
      expect(none).toEqual([])
      expect((await job!.wait()).state).toBe('Completed')
    }
    await Promise.all(sessions.map((session) => session.close()))
  })

  test('S48 waiting, stopping, removing are commands in the same session', async () => {
    const session = await connect()
    const gate = peers.gate()
    await session.run(startThere, { args: [gate.path] })
    await session.run(startThere, { args: ['/nowhere'] })
    await gate.open()
    const wait = async (ctx: ScriptContext, id: number): Promise<string> =>
      (await (await ctx.session.job(id)).wait()).state
    const stop = async (ctx: ScriptContext, id: number): Promise<string> =>
      (await (await ctx.session.job(id)).stop()).state
    const remove = async (ctx: ScriptContext, id: number): Promise<void> => (await ctx.session.job(id)).remove()
    expect(await session.run(wait, { args: [1] })).toBe('Completed')
    expect(await session.run(stop, { args: [2] })).toBe('Stopped')
    await session.run(remove, { args: [1] })
    expect((await session.jobs()).map(({ id }) => id)).toEqual([2])
    expect(await refusal('removed', () => session.run(wait, { args: [1] }))).toMatchObject({ code: 'JOB_NOT_FOUND' })
    await session.close()
  })
})

describe('the results of Job2 in one session', () => {
  let session: Session
  beforeAll(async () => {
    session = await connect()
    for (let n = 0; n < 2; n++) await (await session.start(readEvents, { args: [SYSTEM_LOG, 25] })).wait()
  })
  afterAll(() => session.close())

  test('S47 asking for the jobs there, from here: 2 Job2 Completed True localhost', async () => {
    const rows = (await session.run((ctx) => ctx.session.jobs())) as unknown as JobSnapshot[]
    expect(rows.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual([1, 2])
    const row = { name: 'Job2', state: 'Completed', hasMoreData: true, location: 'localhost' }
    expect(rows.find(({ id }) => id === 2)).toMatchObject(row)
    expect(rows[0]?.command).toContain('readFile')
  })

  test('S49 S50 receiving with keep brings all results here and leaves them there; again, and they are equal', async () => {
    const receive = async (ctx: ScriptContext, id: number): Promise<unknown[]> => {
      const results: unknown[] = []
      for await (const record of (await ctx.session.job(id)).receive({ keep: true }))
        if (record.kind === 'output') results.push(record.value)
      return results
    }
    const results = await session.run(receive, { args: [2] })
    expect(results).toHaveLength(25)
    expect((await session.job(2)).hasMoreData).toBe(true)
    expect(await session.run(receive, { args: [2] })).toEqual(results)
    expect(await outputs((await session.job(2)).receive({ keep: true }))).toEqual(results)
    expect((await session.job(2)).hasMoreData).toBe(true)
  })

  test('S51 saving inside the braces: a file on server01, nothing comes back, no more data', async () => {
    const save = async (ctx: ScriptContext, id: number): Promise<void> =>
      (await ctx.session.job(id)).save('pslog.ndjson', { format: 'ndjson' })
    expect(await session.run(save, { args: [2] })).toBeUndefined()
    expect(existsSync('pslog.ndjson')).toBe(false)
    const saved = (await readFile(join(peers.server('server01').home, 'pslog.ndjson'), 'utf8')).trimEnd().split('\n')
    expect(saved).toHaveLength(25)
    expect(JSON.parse(saved[24]!)).toMatchObject({ seq: 24, kind: 'output', value: { index: 24, source: SYSTEM_LOG } })
    expect((await session.job(2)).hasMoreData).toBe(false)
  })

  test('S53 redirecting outside the braces: a file here', async () => {
    const job = await session.job(1)
    const path = peers.path('here.txt')
    const values = (await outputs(job.receive())) as LogEvent[]
    await writeFile(path, values.map(({ message }) => message).join('\n'))
    expect((await readFile(path, 'utf8')).split('\n')).toEqual((await readFile(SYSTEM_LOG, 'utf8')).split('\n', 25))
    expect((await session.job(1)).hasMoreData).toBe(false)
  })
})

describe('reading', () => {
  let session: Session
  beforeAll(async () => {
    session = await connect()
  })
  afterAll(() => session.close())

  test('readers are independent, `keep` and `from` move nobody, and reading never destroys', async () => {
    const job = await session.start(counter, { args: [10] })
    await job.wait()
    expect(await outputs(job.receive({ reader: 'one' }))).toEqual(lines(1, 10))
    expect(await outputs(job.receive({ reader: 'one' }))).toEqual([])
    expect(job.hasMoreData, 'which speaks of reader `owner`').toBe(true)
    expect(await outputs(job.receive({ reader: 'two', limit: 4 }))).toEqual(lines(1, 4))
    expect(await outputs(job.receive({ reader: 'two' }))).toEqual(lines(5, 10))
    expect(await outputs(job.receive({ keep: true, limit: 3 }))).toEqual(lines(1, 3))
    expect(await outputs(job.receive({ limit: 3 }))).toEqual(lines(1, 3))
    expect(await outputs(job.receive({ from: 0 }))).toEqual(lines(1, 10))
    expect(await outputs(job.receive())).toEqual(lines(4, 10))
    expect(job.hasMoreData).toBe(false)
    expect(await job.output()).toEqual(lines(1, 10))
  })

  test.for(['kept there', 'process', 'AsJob'] as const)(
    'a consumer that stops early loses nothing, and gets nothing twice: %s',
    async (way) => {
      const start = {
        'kept there': () => session.start(counter, { args: [10] }),
        process: () => peers.laptop.start(counter, { args: [10] }),
        AsJob: () => peers.laptop.start(counter, { args: [10], on: session }),
      }[way]
      const job = await start()
      await job.wait()
      for await (const record of job.receive()) if (record.seq === 3) break
      const rest = await all(job.receive())
      expect(rest.map(({ seq }) => seq)).toEqual([4, 5, 6, 7, 8, 9])
      expect(await outputs(rest)).toEqual(lines(5, 10))
      // Reading never destroys: whoever failed on record 3 may have it again.
      expect((await all(job.children[0]?.receive({ from: 3 }) ?? job.receive({ from: 3 })))[0]?.seq).toBe(3)
    },
  )

  test('two clients of one owner share the cursor', async () => {
    const job = await session.start(counter, { args: [6] })
    await job.wait()
    expect(await outputs(job.receive({ limit: 4 }))).toEqual(lines(1, 4))
    const rest = async (ctx: ScriptContext, id: number): Promise<unknown[]> => {
      const values: unknown[] = []
      for await (const record of (await ctx.session.job(id)).receive())
        if (record.kind === 'output') values.push(record.value)
      return values
    }
    expect(await session.run(rest, { args: [job.id] })).toEqual(lines(5, 6))
    expect(await outputs(job.receive())).toEqual([])
  })
})
