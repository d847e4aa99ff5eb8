// Jobs on another peer, as PowerShell's cases have it: as a job here, kept there, left and taken up again, cut off. Over a
// network in this process, so that a line can be cut. Where errand differs on purpose the title says so, and
// docs/POWERSHELL.md why.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { memory } from '@errand/transport/memory'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { codeOf, createPeer, type Job, type JobRecord, type Peer, type ScriptContext } from '../src/index.ts'
import { alive, all, outputs, refusal, until, within } from './support/peers.ts'
import { pair, type Pair } from './support/pair.ts'
import { counter, family, lines } from './support/scripts.ts'

let folder: string
let gates = 0
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'errand-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const path = (name: string): string => join(folder, `${gates++}-${name}`)
const open = (gate: string): Promise<void> => writeFile(gate, '')
const sleeps = (ctx: ScriptContext): Promise<void> => ctx.sleep(600_000)

describe('on another peer', () => {
  let two: Pair
  let here: Peer
  beforeAll(async () => {
    two = await pair()
    here = two.here
  })
  afterAll(() => two[Symbol.asyncDispose]())

  test('S21 S22 shown, or asked for by itself, a job is as it is now', async () => {
    const job = await here.start(() => 1, { on: 'far' })
    await job.finished
    expect(await here.job(job)).toBe(job)
    expect(await here.job(job.snapshot)).toBe(job)
    expect(job.snapshot).toMatchObject({ id: job.id, name: `Job${job.id}`, state: 'Completed', hasMoreData: true })
  })

  test('S24 a job that was started over there is at localhost, there; what it says is from there, here', async () => {
    await using session = await here.connect('far')
    const job = await session.start((ctx: ScriptContext) => ctx.location)
    await job.finished
    expect(job.location).toBe('localhost')
    const [record] = await all(job.receive())
    expect(record).toMatchObject({ location: 'far', value: 'far' })
  })

  test('P103 a session: its place, its configuration, Opened and Available', async () => {
    await using session = await here.connect('far', { name: 'p103' })
    expect(session).toMatchObject({
      name: 'p103',
      location: 'far',
      configurationName: 'errand',
      computerType: 'RemoteMachine',
      state: 'Opened',
      availability: 'Available',
    })
    expect((await here.sessions()).map(({ name }) => name)).toContain('p103')
  })

  test('P104 left at once with its work: Disconnected; received later: 2, and where it is from', async () => {
    await using session = await here.connect('far')
    const job = await here.start(() => 1 + 1, { on: session })
    await session.disconnect()
    expect(session).toMatchObject({ state: 'Disconnected', availability: 'None' })
    const received = await session.receive()
    expect(received).toBe(job)
    const [record] = await all(received!.receive({ follow: true }))
    expect(record).toMatchObject({ kind: 'output', value: 2, location: 'far' })
  })

  test('P105 disconnected, connected: it runs what it is given', async () => {
    await using session = await here.connect('far')
    await session.disconnect()
    await session.connect()
    expect(await session.run(() => 1 + 1)).toBe(2)
  })

  test('P109 what a run sets stays where it ran, for the next run there', async () => {
    await here.run(() => void Object.assign(globalThis, { p109: 9 }))
    expect(await here.run(() => (globalThis as { p109?: number }).p109)).toBe(9)
    expect(typeof (globalThis as { p109?: number }).p109, 'the caller’s own is another place').toBe('undefined')
  })

  test('P110 P113 a file’s text and a value by its name, run there', async () => {
    expect(await here.run({ module: 'export default () => 1 + 1' }, { on: 'far' })).toBe(2)
    const number = 100
    expect(await here.run(() => number, { on: 'far', using: { number } })).toBe(100)
  })

  test('P111 as a job, received to its end and removed with it: 2', async () => {
    const job = await here.start(() => 1 + 1, { on: 'far', name: 'p111' })
    expect(await outputs(job.receive({ follow: true, remove: true }))).toEqual([2])
    expect(await here.jobs({ name: 'p111' })).toEqual([])
  })

  test('P112 two that were left, taken up by their names: both Opened', async () => {
    for (const name of ['left-1', 'left-2']) await (await here.connect('far', { name })).disconnect()
    const again = await Promise.all(['left-1', 'left-2'].map((session) => here.connect('far', { session })))
    expect(again.map(({ name, state }) => [name, state])).toEqual([
      ['left-1', 'Opened'],
      ['left-2', 'Opened'],
    ])
    await Promise.all(again.map((session) => session.close()))
  })

  test('P116 differs: a function is not sent by name but declared inside; with `using` it is refused', async () => {
    const twice = (i: number): number => i * 2
    expect(
      await refusal('a function in using', async () => here.run(() => twice(2), { on: 'far', using: { twice } })),
    ).toMatchObject({ code: 'NOT_TRANSFERABLE' })
    const inside = (): number => {
      const own = (i: number): number => i * 2
      return own(2)
    }
    expect(await here.run(inside, { on: 'far' })).toBe(4)
  })

  test('P121 its session is closed under it: the child is Stopped, and its parent; nobody failed', async () => {
    const session = await here.connect('far')
    const [on, there] = [await here.start(sleeps, { on: session }), await session.start(sleeps)]
    await on.wait({ for: ['Running'] })
    await session.close()
    expect([(await on.finished).state, on.children[0]?.state]).toEqual(['Stopped', 'Stopped'])
    expect((await within('the job there', there.finished)).state).toBe('Stopped')
  })

  test('P128 a session in which nothing runs has nothing to receive, left or not', async () => {
    await using session = await here.connect('far')
    expect(await session.receive()).toBeUndefined()
    await session.disconnect()
    expect(await session.receive()).toBeUndefined()
    expect(session.state).toBe('Opened')
  })

  test('P137 an error there: where, its class, code, fields, cause and stack', async () => {
    const job = await here.start(
      () => {
        const cause = new RangeError('below')
        throw Object.assign(new TypeError('above', { cause }), { code: 'E_ABOVE', target: { name: 'x' } })
      },
      { on: 'far' },
    )
    await job.finished
    const [record] = await all(job.receive())
    expect(record).toMatchObject({ kind: 'error', location: 'far' })
    const { error } = record as { error: Error & { code?: string } }
    expect(error).toBeInstanceOf(TypeError)
    expect(error).toMatchObject({ message: 'above', code: 'E_ABOVE', target: { name: 'x' } })
    expect(error.cause).toBeInstanceOf(RangeError)
    expect(error.stack).toContain('errand:script')
    expect(job.reason?.message).toContain('far: above')
  })

  test('P138 one place: what is thrown there is thrown here; several: the others go on, and then all of it is told', async () => {
    const script = (ctx: ScriptContext, bad: string): string => {
      if (ctx.location === bad) throw new RangeError('there')
      return ctx.location
    }
    expect(await refusal('one', async () => here.run(script, { on: 'far', args: ['far'] }))).toMatchObject({
      name: 'RangeError',
      message: 'there',
    })
    await using session = await here.connect('far')
    await session.run(() => void Object.assign(globalThis, { bad: true }))
    const run = here.run(
      () => {
        if ((globalThis as { bad?: boolean }).bad) throw new RangeError('there')
        return 'fine'
      },
      { on: [session, 'far'] },
    )
    const records: JobRecord[] = []
    const taken = (async () => {
      for await (const record of run.records()) records.push(record)
    })()
    expect(await refusal('two', () => run)).toBeInstanceOf(AggregateError)
    await taken.catch(() => undefined) // as the run itself: it is told behind the last record
    expect(await outputs(records)).toEqual(['fine'])
    expect(records.filter(({ kind }) => kind === 'error')).toHaveLength(1)

    const several = await refusal('several', async () => here.run(script, { on: ['far', 'far'], args: ['far'] }))
    expect(several).toBeInstanceOf(AggregateError)
    expect((several as AggregateError).errors.map(({ message }: Error) => message)).toEqual(['there', 'there'])
  })

  test('one child stopped by itself: the others complete, and so does the parent; stopped as a whole it is Stopped', async () => {
    const gate = path('gate')
    const job = await here.start(counter, { args: [2, { 2: gate }], on: ['far', 'far'] })
    for (const child of job.children) await outputs(child.receive({ follow: true, keep: true, limit: 1 }))
    await job.children[0]!.stop({ grace: 0 })
    expect(job.state).toBe('Running')
    await open(gate)
    expect((await job.finished).state).toBe('Completed')
    expect(job.children.map(({ state }) => state)).toEqual(['Stopped', 'Completed'])
    const whole = await here.start(sleeps, { on: ['far', 'far'] })
    await whole.wait({ for: ['Running'] })
    expect((await whole.stop({ grace: 0 })).children.map(({ state }) => state)).toEqual(['Stopped', 'Stopped'])
    expect(whole.state).toBe('Stopped')
  })

  test('while it is Disconnected it is not finished: it cannot be removed, and is followed on to its end', async () => {
    const gate = path('gate')
    await using session = await here.connect('far')
    const job = await here.start(counter, { args: [4, { 3: gate }], on: session })
    const following = outputs(job.receive({ follow: true }))
    await until('two lines have come', async () => (await all(job.receive({ keep: true, from: 0 }))).length === 2)
    await session.disconnect()
    expect(job).toMatchObject({ state: 'Disconnected', hasMoreData: true })
    expect(await refusal('removed', () => job.remove())).toMatchObject({ code: 'JOB_NOT_FINISHED' })
    await open(gate)
    await session.connect()
    expect(await within('the stream', following)).toEqual(lines(1, 4))
    expect(job.snapshot.history.map(({ state }) => state)).toEqual([
      'NotStarted',
      'Running',
      'Disconnected',
      'Running',
      'Completed',
    ])
  })
})

describe('when the line is cut', () => {
  const beat = { heartbeat: 50, suspicion: 250 }
  let two: Pair
  let here: Peer
  beforeEach(async () => {
    two = await pair({ here: { ...beat, lostAfter: 60_000 }, far: beat })
    here = two.here
  })
  afterEach(() => two[Symbol.asyncDispose]())

  /** Four lines on far, the last two behind a gate; two have come. */
  async function halfway(lostAfter?: number): Promise<{ job: Job<string>; gate: string }> {
    const gate = path('gate')
    const session = await here.connect('far', lostAfter === undefined ? {} : { lostAfter })
    const job = await here.start(counter, { args: [4, { 3: gate }], on: session })
    await until('two lines have come', async () => (await all(job.receive({ keep: true, from: 0 }))).length === 2)
    return { job, gate }
  }

  test('P131 for a while: a warning, Disconnected and Running again, every line once; for longer than it is tried: Disconnected', async () => {
    const { job, gate } = await halfway()
    const [info] = await here.sessions()
    const session = await here.session(info!)
    const told: string[] = []
    const watching = (async () => {
      for await (const { state, reason } of session.watch()) {
        told.push(reason === undefined ? state : `${state}: ${reason.message}`)
        if (told.length > 1 && state === 'Opened') return
      }
    })()
    const following = outputs(job.receive({ follow: true }))
    two.network.cut('here', 'far')
    await within('the loss', job.wait({ for: ['Disconnected'] }))
    await open(gate)
    two.network.heal('here', 'far')
    expect(await within('the stream', following)).toEqual(lines(1, 4))
    expect((await job.finished).state).toBe('Completed')
    expect(job.snapshot.history.map(({ state }) => state)).toContain('Disconnected')
    await within('the news', watching)
    expect(told).toContain('Connecting: the link to far is lost; trying again for 60 s')
    expect(told.at(-1)).toBe('Opened')

    const second = await halfway(300)
    two.network.cut('here', 'far')
    await until('it is given up', async () =>
      (await here.sessions()).some(({ state, reason }) => state === 'Disconnected' && reason !== undefined),
    )
    expect(second.job.state).toBe('Disconnected')
    const given = (await here.sessions()).find(({ state }) => state === 'Disconnected')
    expect(given?.reason?.message).toBe('far could not be reached for 0.3 s')
    two.network.heal('here', 'far')
    // Nothing of it is lost by that, nor doubled: it is connected, and goes on.
    await open(second.gate)
    await (await here.session(given!)).connect()
    expect(await within('the rest', outputs(second.job.receive({ follow: true })))).toEqual(lines(1, 4))
  })

  test('P121 lost for good: the child is Failed with why, and so is the parent; what had come is kept', async () => {
    const gate = path('gate')
    const job = await here.start(counter, { args: [4, { 3: gate }], on: 'far', lostAfter: 300 })
    await until('two lines have come', async () => (await all(job.receive({ keep: true, from: 0 }))).length === 2)
    two.network.cut('here', 'far')
    await within('the end', job.finished)
    expect([job.state, job.children[0]?.state, codeOf(job.children[0]?.reason)]).toEqual([
      'Failed',
      'Failed',
      'PEER_LOST',
    ])
    expect(await outputs(job.receive())).toEqual(lines(1, 2))
    two.network.heal('here', 'far')
  })

  test('P115 a peer that does not answer in time: no session, and why', async () => {
    two.network.freeze('far')
    const error = await refusal('a connection', () => here.connect('far', { signal: AbortSignal.timeout(300) }))
    expect(error.name).toBe('TimeoutError')
    expect(await here.sessions()).toEqual([])
    two.network.thaw('far')
  })

  test('P124 left for longer than it may be: it is listed no more, and its job is Failed when it is asked for', async () => {
    await using brief = await pair({ far: { idleTimeout: 300 } })
    const session = await brief.here.connect('far')
    const job = await brief.here.start(counter, { args: [4, { 3: path('gate') }], on: session })
    await until('two lines have come', async () => (await all(job.receive({ keep: true, from: 0 }))).length === 2)
    await session.disconnect()
    await until('it has expired', async () => (await brief.here.sessions({ on: 'far' })).length === 0)
    expect(codeOf(await refusal('a connection', () => session.connect()))).toBe('SESSION_EXPIRED')
    expect((await within('the job', job.finished)).state).toBe('Failed')
    expect(await outputs(job.receive())).toEqual(lines(1, 2))
  })

  test('P129 a session that was left is closed there too; where nobody can be reached that is said, and it is listed no more', async () => {
    const left = await here.connect('far', { name: 'left' })
    const work = await left.start(family)
    const pids = await outputs(work.receive({ follow: true, limit: 2 }))
    await left.disconnect()
    expect(pids.map(alive)).toEqual([true, true])
    await left.close()
    expect(await here.sessions({ on: 'far' })).toEqual([])
    await until('what ran in it is gone', () => !pids.some(alive))

    const lost = await here.connect('far', { name: 'lost' })
    await lost.disconnect()
    two.network.cut('here', 'far')
    expect(codeOf(await refusal('closing', () => lost.close()))).toBe('PEER_UNREACHABLE')
    expect(await here.sessions()).toEqual([])
    two.network.heal('here', 'far')
  })

  test('P130 what cannot be reached is not stopped: refused, and still Disconnected; reached again it is', async () => {
    const { job } = await halfway(300)
    two.network.cut('here', 'far')
    await until('it is given up', async () =>
      (await here.sessions()).some(({ state, reason }) => state === 'Disconnected' && reason !== undefined),
    )
    expect(codeOf(await refusal('stopping', () => job.stop()))).toMatch(/PEER_UNREACHABLE|PEER_LOST/)
    expect(job.state).toBe('Disconnected')
    two.network.heal('here', 'far')
    const [session] = await here.sessions({ on: 'far' })
    expect((await job.stop()).state).toBe('Stopped')
    expect(job.children[0]?.state).toBe('Stopped')
    // It was the run over there that was stopped: nothing has the runspace any more.
    expect(await (await here.session(session!)).run(() => 1)).toBe(1)
  })

  test('P127 another peer sees nothing of it, and gets nothing of it, not even that it is there', async () => {
    const other = await createPeer({
      name: 'other',
      transport: memory({ network: two.network, name: 'other' }),
      policy: { peers: { far: [] } },
    })
    await two.far.allow('other', ['connect', 'run:script'])
    const mine = await here.connect('far', { name: 'mine' })
    expect(await other.sessions({ on: 'far' })).toEqual([])
    for (const session of ['mine', mine.instanceId]) {
      expect(codeOf(await refusal('another’s session', () => other.connect('far', { session })))).toBe(
        'SESSION_NOT_FOUND',
      )
    }
    await other.close()
  })

  test('S11 whoever started it leaves for good: the work goes on, and the next one with its key receives the rest', async () => {
    const { gate } = await halfway()
    const [session] = await here.sessions()
    await (await here.session(session!)).disconnect({ idleTimeout: '1m' })
    await here.close()
    await open(gate)
    const next = await createPeer({
      name: 'here',
      transport: memory({ network: two.network, name: 'here' }),
      policy: { peers: { far: [] } },
    })
    const again = await next.connect('far', { session: session!.instanceId })
    const job = await again.receive()
    const rest = await outputs(job!.receive({ follow: true }))
    expect(rest.at(-1)).toBe('Output 4')
    expect(rest).toEqual(lines(4 - rest.length + 1, 4))
    await again.close()
    await next.close()
  })

  test('a peer that closes as its line is lost does not wait for what it cannot reach any more', async () => {
    for (const temporary of [true, false]) {
      const other = await createPeer({
        name: `other-${temporary}`,
        transport: memory({ network: two.network, name: `other-${temporary}` }),
        policy: { peers: { far: [] } },
      })
      await two.far.allow(`other-${temporary}`, ['connect', 'run:script'])
      const session = await other.connect('far', { temporary })
      const job = await other.start(sleeps, { on: session })
      await job.wait({ for: ['Running'] })
      // As its own connections end, and before it has noticed.
      two.network.kill(`other-${temporary}`)
      await within('closing', other.close())
      // What it does is unknown, unless it was heard of that there is no way back.
      expect(['Disconnected', 'Failed']).toContain((await within('the job', job.finished)).state)
    }
  })

  test('one session is Opened for who has it and Disconnected, Busy, for its owner’s others, who cannot take it unasked', async () => {
    const session = await here.connect('far', { name: 'ours' })
    const second = await createPeer({
      name: 'second',
      transport: memory({ network: two.network, name: 'second' }),
      policy: { peers: { far: [] } },
    })
    await two.far.allow('here', ['connect', 'run:script'], { owner: 'me' })
    await two.far.allow('second', ['connect', 'run:script'], { owner: 'me' })
    await session.close()
    const shared = await here.connect('far', { name: 'shared' })
    const seen = async (): Promise<unknown[]> =>
      (await second.sessions({ on: 'far' })).map(({ name, state, availability }) => [name, state, availability])
    expect([shared.state, shared.availability]).toEqual(['Opened', 'Available'])
    expect(await seen()).toEqual([['shared', 'Disconnected', 'Busy']])
    expect(codeOf(await refusal('taking it', () => second.connect('far', { session: 'shared' })))).toBe('SESSION_STATE')
    await shared.disconnect()
    expect(await seen()).toEqual([['shared', 'Disconnected', 'None']])
    const taken = await second.connect('far', { session: 'shared' })
    expect(taken.state).toBe('Opened')
    await taken.close()
    await second.close()
  })
})
