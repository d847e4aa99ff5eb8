// What dies, who notices, and what is left: programs and servers that are killed, and orderly ends beside them.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Job, JobRecord, Run, ScriptContext, Session } from '../src/index.ts'
import { type PeerProcess, Peers, alive, all, outputs, refusal, until, within } from './support/peers.ts'
import { counter, family, lines } from './support/scripts.ts'

const COUNTER = { module: `export default ${counter.toString()}` }
/** What a client may get again after a crash: the records that it had not yet acknowledged (G3). */
const WINDOW = 256

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start()
  await peers.add('server02', { temporaryLease: 500 })
})
afterAll(() => peers.close())

/** Nobody is attached to the session any more, as the server sees it. */
const left = (program: PeerProcess, instanceId: string): Promise<unknown> =>
  until('the server has noticed', async () =>
    (await program.ask('sessions', 'server02')).some(
      (one) => one.instanceId === instanceId && one.state === 'Disconnected' && one.availability === 'None',
    ),
  )

describe('a program is killed', () => {
  const LINES = 1_000

  test.for(['started on the session', 'started in the session'] as const)(
    'its work goes on; a new one with its key gets every line from the last acknowledged on, with the same numbers: %s',
    async (how) => {
      const gate = peers.gate()
      const log = peers.path('counted')
      const name = how.replaceAll(' ', '-')
      const first = await peers.process(name)
      await first.ask('join', await peers.server('server02').ask('invite'))
      const { instanceId: session } = await first.ask('connect', 'server02')
      const args = [LINES, { 700: gate.path }, log]
      const started =
        how === 'started on the session'
          ? await first.ask('start', COUNTER, { sessions: [session], args })
          : await first.ask('startIn', session, COUNTER, { args })
      const there = how === 'started in the session' ? session : undefined

      // It receives as fast as it can, and is killed in the middle of it.
      const taken: JobRecord[] = []
      const enough = Promise.withResolvers<void>()
      const following = first.follow(
        (record) => {
          taken.push(record)
          if (taken.length === 300) enough.resolve()
        },
        started.instanceId,
        { follow: true },
        there,
      )
      following.catch(() => {}) // it is killed under it
      await enough.promise
      await first.kill()
      await expect(following).rejects.toThrow('has ended (SIGKILL)')
      expect(taken.length).toBeLessThan(LINES)
      const last = taken.at(-1)!.seq
      expect(taken.map(({ seq }) => seq)).toEqual(Array.from({ length: last + 1 }, (_, seq) => seq))

      await gate.open()
      await until('its work goes on to the end', async () =>
        existsSync(log) ? (await readFile(log, 'utf8')).endsWith(`\n${LINES}\n`) : false,
      )

      const second = await peers.process(name, { home: first.home })
      expect(second.id).toBe(first.id)
      await left(second, session)
      await second.ask('connect', 'server02', { session })
      const job = there === undefined ? (await second.ask('takeUp', session))!.instanceId : started.instanceId
      const rest = await second.ask('follow', job, { follow: true }, there)
      const begins = rest[0]!.seq
      expect(begins, 'no hole').toBeLessThanOrEqual(last + 1)
      expect(begins, 'at most the window again').toBeGreaterThanOrEqual(last + 1 - WINDOW)
      expect(rest.map(({ seq }) => seq)).toEqual(Array.from({ length: LINES - begins }, (_, n) => begins + n))
      expect(await outputs(rest)).toEqual(lines(begins + 1, LINES))
      await second.close()
    },
  )

  test('its temporary session ends after the lease, and no process of it is left', async () => {
    const first = await peers.process('borrower')
    await first.ask('join', await peers.server('server02').ask('invite'))
    const work = { module: `export default ${family.toString()}` }
    const { instanceId } = await first.ask('start', work, { on: ['server02'] })
    const pids = await outputs(await first.ask('follow', instanceId, { follow: true, limit: 2 }))
    expect(pids.filter((pid) => alive(pid as number))).toHaveLength(2)
    await first.kill()
    await until('no process is left', () => !pids.some((pid) => alive(pid as number)))
  })
})

/** While a job and a run on two servers and a run in a session go on, one of the servers is killed. */
describe('a server is killed', () => {
  const LINES = 50
  let server01: PeerProcess
  let job: Job<string>
  let run: Run<AsyncGenerator<string>>
  let session: Session
  /** What the run's `records()` gave, and what it threw. */
  const seen: JobRecord[] = []
  let reading: Promise<unknown>
  /** What came of the run in the session. */
  let outcome: Promise<Error>
  const states: string[] = []
  let watching: Promise<void>

  beforeAll(async () => {
    server01 = await peers.add('server01')
    const gate = peers.gate()
    const on = ['server01', 'server02']
    session = await peers.laptop.connect('server01', { lostAfter: '2s' })
    const inSession = session.run(async (ctx: ScriptContext) => ctx.sleep(600_000))
    job = await peers.laptop.start(counter, { args: [LINES, { 2: gate.path }], on, lostAfter: '2s' })
    watching = (async () => {
      for await (const { state } of job.children[0]!.watch()) if (states.push(state) && state === 'Failed') return
    })()
    run = peers.laptop.run(counter, { args: [LINES, { 2: gate.path }], on, lostAfter: '2s' })
    reading = (async () => {
      for await (const record of run.records()) seen.push(record)
    })().catch((error: unknown) => error)
    for (const child of job.children)
      expect(await outputs(child.receive({ follow: true, keep: true, limit: 1 }))).toEqual(lines(1, 1))
    await until('both have said a line', () => seen.length === 2)
    await until('the session is busy', () => session.availability === 'Busy')
    await server01.kill()
    outcome = refusal('the run in the session', () => inSession)
    outcome.catch(() => {}) // looked at later
    await job.children[0]!.wait({ for: ['Disconnected'] })
    await gate.open()
  })

  test('the other child of the job goes on: all its records arrive', async () => {
    const fine = job.children[1]!
    expect((await fine.wait()).state).toBe('Completed')
    expect(await outputs(fine.receive())).toEqual(lines(1, LINES))
  })

  test('its child is Disconnected, then Failed with a reason that names it; what had come is kept', async () => {
    const lost = job.children[0]!
    const { state, reason } = await lost.wait()
    await watching
    expect(state).toBe('Failed')
    expect(states.filter((one, n) => one !== states[n - 1]).slice(-3)).toEqual(['Running', 'Disconnected', 'Failed'])
    expect(reason).toMatchObject({ code: 'PEER_LOST' })
    expect(reason?.message).toContain('server01')
    expect(await outputs(lost.receive())).toEqual(lines(1, 1))
    expect((await job.wait()).state).toBe('Failed')
  })

  test('the run on both gives all records of the other, and throws after the rest', async () => {
    const thrown = await within('the reading of the run', reading)
    const of = (location: string): JobRecord[] => seen.filter((record) => record.location === location)
    expect(await outputs(of('server02'))).toEqual(lines(1, LINES))
    expect(await outputs(of('server01'))).toEqual(lines(1, 1))
    expect(thrown, 'awaiting throws, not `records()`').toBeUndefined()
    const error = await refusal('awaiting the run', () => run)
    expect(error).toBeInstanceOf(AggregateError)
    expect((error as AggregateError).errors).toMatchObject([{ code: 'PEER_LOST' }])
    expect(error.message).toContain('server01')
  })

  test('the run on both says the loss as an error record that names the server', async () => {
    await within('the reading of the run', reading)
    const errors = seen.filter((record) => record.kind === 'error')
    expect(errors).toMatchObject([{ location: 'server01', error: { code: 'PEER_LOST' } }])
    expect(errors[0]?.error.message).toContain('server01')
  })

  test('a session to it says why it is gone, and a run in it does not hang', async () => {
    await until('it is given up', () => session.state === 'Disconnected' || session.state === 'Broken')
    expect(session.snapshot.reason?.message).toContain('server01')
    expect((await outcome).message).toContain('server01')
  })

  test('none of its processes is left', async () => {
    await until('nothing of server01 is left', () => server01.processes().length === 0)
  })

  test('started again with the same home it is the same peer at the same address: no new pairing', async () => {
    const { id, addresses } = server01
    await server01.start()
    expect(server01).toMatchObject({ id, addresses })
    expect(await peers.laptop.run((ctx: ScriptContext) => ctx.location, { on: 'server01' })).toBe('server01')
    await server01.close()
  })
})

describe('an orderly end', () => {
  test('closing the program leaves its persistent session and the work in it', async () => {
    const gate = peers.gate()
    const first = await peers.program('desk')
    await first.join(await peers.server('server02').ask('invite'))
    const session = await first.connect('server02')
    const job = await session.start(counter, { args: [10, { 4: gate.path }] })
    expect(await outputs(job.receive({ follow: true, limit: 3 }))).toEqual(lines(1, 3))
    await first.close()

    const second = await peers.program('desk')
    expect(second.id).toBe(first.id)
    const [found, ...others] = await second.sessions({ on: 'server02' })
    expect(others).toEqual([])
    expect(found).toMatchObject({
      instanceId: session.instanceId,
      state: 'Disconnected',
      availability: 'None',
      jobs: 1,
    })
    const taken = await second.connect('server02', { session: session.instanceId })
    const [again] = await taken.jobs()
    expect(again).toMatchObject({ instanceId: job.instanceId, state: 'Running' })
    await gate.open()
    expect(await outputs(again!.receive({ follow: true }))).toEqual(lines(4, 10))
    await taken.close()
    await second.close()
  })

  test('closing the program ends its temporary sessions and every process in them', async () => {
    const program = await peers.program('kiosk')
    await program.join(await peers.server('server02').ask('invite'))
    const job = await program.start(family, { on: 'server02' })
    const pids = await outputs(job.receive({ follow: true, limit: 2 }))
    expect(pids.filter(alive)).toHaveLength(2)
    await program.close()
    expect((await job.finished).state).toBe('Stopped')
    await until('no process is left', () => !pids.some(alive))
    const again = await peers.program('kiosk')
    expect(await again.sessions({ on: 'server02' })).toEqual([])
    await again.close()
  })

  test('a program that has closed its peer ends by itself', async () => {
    const program = await peers.process('visitor')
    await program.ask('join', await peers.server('server02').ask('invite'))
    const { instanceId } = await program.ask('start', { module: `export default ${counter.toString()}` }, { args: [3] })
    expect(await outputs(await program.ask('follow', instanceId, { follow: true }))).toEqual(lines(1, 3))
    await program.ask('connect', 'server02')
    await program.close('leave')
    // Its reaper notices its end a moment later.
    await until('nothing of it is left', () => program.processes().length === 0)
  })

  test('stopping a job there ends all its processes', async () => {
    const job = await peers.laptop.start(family, { on: 'server02' })
    const pids = await outputs(job.receive({ follow: true, limit: 2 }))
    expect(pids.filter(alive)).toHaveLength(2)
    expect((await job.stop()).state).toBe('Stopped')
    expect(await all(job.receive())).toEqual([])
    await until('no process is left', () => !pids.some(alive))
  })
})
