// Way 4, detached: the session is left, the work goes on, somebody takes it up later.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Job, JobRecord, Peer, Session } from '../src/index.ts'
import { type Gate, type PeerProcess, Peers, alive, all, outputs, refusal, until, within } from './support/peers.ts'
import { counter, lines, pidOf } from './support/scripts.ts'

/** The counter as text, for a program that is told over IPC what to start. */
const COUNTER = { module: `export default ${counter.toString()}` }
const ENDLESS = { module: 'export default async function* (ctx) { yield process.pid; await ctx.sleep(600_000) }' }

let peers: Peers
let daemon: PeerProcess
beforeAll(async () => {
  peers = await Peers.start('server01')
  daemon = await peers.process('daemon', { daemon: true })
})
afterAll(() => peers.close())

/** How far a counter says it is. */
const counted = async (log: string): Promise<number> =>
  existsSync(log) ? (await readFile(log, 'utf8')).split('\n').length - 1 : 0

/** The seed's own example, on this machine's daemon and on another machine. */
describe.for(['localhost', 'server01'] as const)('detached on %s', (to) => {
  let parent: Peer
  let session: Session
  let job: Job<string>
  let log: string
  let gate: Gate

  beforeAll(async () => {
    // A program of its own, so that its numbers start at 1: on this machine it uses the daemon's home.
    parent = await peers.program(`parent-${to}`, to === 'localhost' ? { network: false, home: daemon.home } : {})
    if (to !== 'localhost') await parent.join(await peers.server(to).ask('invite'))
    gate = peers.gate()
    log = peers.path('counted')
  })
  afterAll(() => parent.close())

  test('S54 a session there is another process than ours', async () => {
    session = await parent.connect(to)
    expect(session).toMatchObject({ id: 1, state: 'Opened', availability: 'Available', location: to })
    const pid = await session.run(pidOf)
    expect(pid).not.toBe(process.pid)
    expect((to === 'localhost' ? daemon : peers.server(to)).processes()).toContain(pid)
  })

  test('S55 the job is 1 Job1 RemoteJob Running True there', async () => {
    job = await parent.start(counter, { on: session, args: [60, { 9: gate.path }, log] })
    expect(await outputs(job.receive({ follow: true, limit: 8 }))).toEqual(lines(1, 8))
    const row = { id: 1, name: 'Job1', type: 'RemoteJob', state: 'Running', hasMoreData: true, location: to }
    expect((await parent.jobs()).map((one) => one.snapshot)).toMatchObject([row])
    expect(job.command).toContain('Output')
    expect(session.availability).toBe('Busy')
  })

  test('S56 S57 once disconnected the session is Disconnected None, and so is the job, with the same id', async () => {
    await session.disconnect()
    const row = { id: 1, location: to, computerType: 'RemoteMachine', state: 'Disconnected', availability: 'None' }
    expect(session.snapshot).toMatchObject(row)
    expect((await parent.sessions()).find(({ id }) => id === 1)).toMatchObject(row)
    expect(session.name).toBe('Runspace1')
    expect(session.transport).toBe(to === 'localhost' ? 'socket' : 'libp2p')
    expect(session.configurationName).not.toBe('')
    expect(session.snapshot.expiresAt).toBeInstanceOf(Date)
    await job.wait({ for: ['Disconnected'] })
    expect(job).toMatchObject({ id: 1, state: 'Disconnected', hasMoreData: true })
    expect(job.reason).toBeUndefined()
  })

  test('S58 it goes on counting meanwhile', async () => {
    await gate.open()
    await until('60 were counted', async () => (await counted(log)) === 60)
    expect(job.state).toBe('Disconnected')
    expect(await outputs(job.receive({ keep: true })), 'what it says meanwhile is kept there').toEqual([])
  })

  test('S59 received by the same client it is the same job', async () => {
    const taken = await session.receive()
    expect(taken).toBe(job)
    expect(session.state).toBe('Opened')
    expect((await parent.jobs()).map(({ id }) => id)).toEqual([1])
  })

  test('S60 wait, receive: it goes on with Output 9, without a hole or a repetition, to Output 60', async () => {
    expect((await job.wait()).state).toBe('Completed')
    const records = await all(job.receive())
    expect(await outputs(records)).toEqual(lines(9, 60))
    const seqs = records.map(({ seq }) => seq)
    expect(seqs).toEqual(Array.from({ length: 52 }, (_, n) => n + 8))
    expect(job.hasMoreData).toBe(false)
    await session.close()
  })
})

describe('the same once more', () => {
  test('S59 taken up while it still runs, the job is Running again, and more is received as it comes', async () => {
    const gates = [peers.gate(), peers.gate()] as const
    const session = await peers.laptop.connect('server01')
    const job = await peers.laptop.start(counter, { on: session, args: [9, { 3: gates[0].path, 6: gates[1].path }] })
    expect(await outputs(job.receive({ follow: true, limit: 2 }))).toEqual(lines(1, 2))
    await session.disconnect()
    await gates[0].open()
    expect(await session.receive()).toBe(job)
    expect((await job.wait({ for: ['Running'] })).state).toBe('Running')
    const rest = outputs(job.receive({ follow: true }))
    await gates[1].open()
    expect(await rest).toEqual(lines(3, 9))
    await session.close()
  })

  test('`connect` opens the same handle again; a session without such a run has nothing to receive', async () => {
    const session = await peers.laptop.connect('server01')
    await session.run(() => {
      Object.assign(globalThis, { kept: 'still here' })
    })
    await session.disconnect()
    await session.connect()
    expect(session).toMatchObject({ state: 'Opened', availability: 'Available' })
    expect(await session.run(() => (globalThis as unknown as { kept: string }).kept)).toBe('still here')
    expect(await within('nothing to receive', session.receive())).toBeUndefined()
    await session.close()
    expect(await refusal('connect a closed session', () => session.connect())).toMatchObject({ code: 'SESSION_CLOSED' })
  })

  test('what is asked of a session that was left is refused, not kept waiting', async () => {
    const session = await peers.laptop.connect('server01')
    await session.disconnect()
    expect(await refusal('start', () => session.start(() => 1))).toMatchObject({ code: 'SESSION_STATE' })
    expect(await refusal('run', () => session.run(() => 1))).toMatchObject({ code: 'SESSION_STATE' })
    await session.close()
  })

  test('a job that was started there goes on while nobody is connected', async () => {
    const gate = peers.gate()
    const log = peers.path('counted')
    const session = await peers.laptop.connect('server01')
    const job = await session.start(counter, { args: [30, { 5: gate.path }, log] })
    expect(await outputs(job.receive({ follow: true, limit: 4 }))).toEqual(lines(1, 4))
    await session.disconnect()
    await gate.open()
    await until('30 were counted', async () => (await counted(log)) === 30)
    await session.connect()
    const again = await session.job(job.id)
    expect((await again.wait()).state).toBe('Completed')
    expect(await outputs(again.receive())).toEqual(lines(5, 30))
    await session.close()
  })
})

describe('another program takes it up', () => {
  /** A program starts the counter, takes three lines, leaves the session, and ends. */
  async function leave(program: PeerProcess, to: string, gate: string): Promise<{ session: string; job: string }> {
    const { instanceId: session } = await program.ask('connect', to)
    const { instanceId: job } = await program.ask('start', COUNTER, { sessions: [session], args: [60, { 9: gate }] })
    const taken = await program.ask('follow', job, { follow: true, limit: 3 })
    expect(await outputs(taken)).toEqual(lines(1, 3))
    expect(await program.ask('disconnect', session)).toMatchObject({ state: 'Disconnected' })
    await program.close()
    return { session, job }
  }

  /** A new one finds the session, takes it up and receives the rest. */
  async function takeUp(peer: Peer, to: string, instanceId: string, open: () => Promise<void>): Promise<JobRecord[]> {
    const found = (await peer.sessions({ on: to })).find((one) => one.instanceId === instanceId)
    expect(found).toMatchObject({ state: 'Disconnected', availability: 'None' })
    const session = await peer.connect(to, { session: instanceId })
    expect(session.instanceId).toBe(instanceId)
    const job = await session.receive()
    expect(job).toMatchObject({ type: 'RemoteJob', state: 'Running', location: to })
    expect((await peer.jobs()).map((one) => one.instanceId)).toContain(job!.instanceId)
    expect(await session.receive(), 'the same client gets the same job').toBe(job)
    await open()
    const records = await all(job!.receive({ follow: true }))
    expect((await job!.finished).state).toBe('Completed')
    again.push(await outputs(job!.receive({ from: 0 })))
    await session.close()
    return records
  }
  /** What the second read once more, from 0. */
  const again: unknown[][] = []

  test('S61 S62 on localhost: nothing is lost, the second goes on where the first had stopped', async () => {
    const gate = peers.gate()
    const options = { network: false, home: daemon.home }
    const { session } = await leave(await peers.process('first', options), 'localhost', gate.path)
    const second = await peers.program('second', options)
    const records = await takeUp(second, 'localhost', session, gate.open)
    expect(await outputs(records)).toEqual(lines(4, 60))
    expect(records[0]?.seq).toBe(3)
    await second.close()
  })

  test('S61 S62 on server01, with the same key: nothing is lost, the second goes on where the first had stopped', async () => {
    const gate = peers.gate()
    const first = await peers.process('phone')
    await first.ask('join', await peers.server('server01').ask('invite'))
    const { session } = await leave(first, 'server01', gate.path)
    const second = await peers.program('phone', { home: first.home })
    expect(second.id).toBe(first.id)
    const records = await takeUp(second, 'server01', session, gate.open)
    expect(await outputs(records)).toEqual(lines(4, 60))
    expect(records[0]?.seq).toBe(3)
    await second.close()
  })

  test('S62 differs: what the first had received is not lost with it either: the second can read it again, from 0', () => {
    expect(again).toEqual([lines(1, 60), lines(1, 60)])
  })

  test('S63 differs: the job belongs to a second program now; it goes on when that one is killed', async () => {
    const first = await peers.process('tablet')
    await first.ask('join', await peers.server('server01').ask('invite'))
    const { instanceId } = await first.ask('connect', 'server01')
    const { instanceId: started } = await first.ask('start', ENDLESS, { sessions: [instanceId] })
    const [pid] = await outputs(await first.ask('follow', started, { follow: true, limit: 1 }))
    await first.ask('disconnect', instanceId)
    await first.close()

    const second = await peers.process('tablet', { home: first.home })
    await second.ask('connect', 'server01', { session: instanceId })
    expect(await second.ask('takeUp', instanceId)).toMatchObject({ state: 'Running', location: 'server01' })
    await second.kill()

    const third = await peers.program('tablet')
    await until('the server has noticed', async () =>
      (await third.sessions({ on: 'server01' })).some(
        (one) => one.instanceId === instanceId && one.availability === 'None',
      ),
    )
    const session = await third.connect('server01', { session: instanceId })
    const job = await session.receive()
    expect(job?.state).toBe('Running')
    // Closing the session is what ends it.
    await session.close()
    expect((await job!.wait()).state).toBe('Stopped')
    await until('its process is gone', () => !alive(pid as number))
    await third.close()
  })
})
