// Whose a session is and who has it: owners with several keys, clients that come and go, what one leaves to the next. Over
// a network in this process, so that a line can be cut.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { codeOf, createPeer, type Grant, type Peer, type PeerOptions, type ScriptContext } from '../src/index.ts'
import { alive, all, outputs, refusal, until, within } from './support/peers.ts'
import { counter, family, lines } from './support/scripts.ts'

const GRANTS: Grant[] = ['connect', 'run:script', 'run:command']
const BEAT = { heartbeat: 50, suspicion: 250 }

let folder: string
let files = 0
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'errand-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))
const path = (name: string): string => join(folder, `${files++}-${name}`)
const open = (gate: string): Promise<void> => writeFile(gate, '')

let network: MemoryNetwork
let far: Peer
let peers: Peer[]

async function peer(name: string, options: PeerOptions = {}): Promise<Peer> {
  const transport = memory({ network, name })
  const made = await createPeer({ name, transport, policy: { peers: { far: [] } }, ...BEAT, ...options })
  peers.push(made)
  return made
}

beforeEach(async () => {
  network = createMemoryNetwork()
  peers = []
  far = await peer('far', {
    policy: {
      peers: { laptop: GRANTS, phone: GRANTS, other: GRANTS },
      owners: { me: ['laptop', 'phone'], you: ['other'] },
    },
  })
})
afterEach(async () => {
  await Promise.all(peers.map((one) => one.close()))
})

const seen = async (who: Peer): Promise<unknown[]> =>
  (await who.sessions({ on: 'far' })).map(({ name, state, availability }) => [name, state, availability])
const taken = async (job: { receive: (o: object) => AsyncIterable<{ seq: number }> }): Promise<number> =>
  (await all(job.receive({ keep: true, from: 0 }))).length

/** Says something in every stream, then waits for the gate. */
async function* talker(ctx: ScriptContext, gate: string): AsyncGenerator<string> {
  const { existsSync } = process.getBuiltinModule('node:fs')
  ctx.warn('careful')
  ctx.info('fyi')
  ctx.verbose('in detail')
  ctx.error(new Error('not quite'))
  yield 'begun'
  while (!existsSync(gate)) await ctx.sleep(10)
  ctx.warn('last')
  yield 'ended'
}
const sleeps = (ctx: ScriptContext): Promise<void> => ctx.sleep(600_000)

describe('an owner with several keys', () => {
  test('each of them lists and takes up its sessions, jobs and cursors; another owner sees nothing of it', async () => {
    const [laptop, phone, other] = await Promise.all(['laptop', 'phone', 'other'].map((name) => peer(name)))
    const session = await laptop!.connect('far', { name: 'work' })
    const kept = await session.start(counter, { args: [6], name: 'kept' })
    await kept.wait()
    expect(await outputs(kept.receive({ limit: 2 }))).toEqual(lines(1, 2))
    await session.disconnect()

    expect(await seen(phone!)).toEqual([['work', 'Disconnected', 'None']])
    const again = await phone!.connect('far', { session: 'work' })
    const job = await again.job('kept')
    expect(job.instanceId).toBe(kept.instanceId)
    expect(await outputs(job.receive()), 'from the cursor they share').toEqual(lines(3, 6))
    expect(await outputs(job.receive({ from: 0 })), 'and all of it, asked for').toEqual(lines(1, 6))

    expect(await seen(other!)).toEqual([])
    for (const which of ['work', again.instanceId, 1]) {
      const error = await refusal('another’s', () => other!.connect('far', { session: which, force: true }))
      expect(codeOf(error)).toBe('SESSION_NOT_FOUND')
    }
    const [mine, theirs] = [await phone!.home('far'), await other!.home('far')]
    expect((await laptop!.home('far')).instanceId).toBe(mine.instanceId)
    expect(theirs.instanceId).not.toBe(mine.instanceId)
  })

  test('tickets of one name let in keys of one owner; a name that is none is refused before there is a ticket', async () => {
    const [one, two] = [await peer('one'), await peer('two')]
    await one.join(await far.invite({ owner: 'us' }))
    await two.join(await far.invite({ owner: 'us' }))
    expect((await far.peers()).filter(({ owner }) => owner === 'us').map(({ name }) => name)).toEqual(['one', 'two'])
    await (await one.connect('far', { name: 'ours' })).disconnect()
    expect((await two.connect('far', { session: 'ours' })).state).toBe('Opened')
    for (const owner of ['', ' us', 'u\ns', 'x'.repeat(65)])
      expect(codeOf(await refusal(`owner ${owner}`, () => far.invite({ owner })))).toBe('USAGE')
  })

  test('a key that is revoked loses what it has open; its owner’s sessions stay with the others, till there are none', async () => {
    const [laptop, phone] = await Promise.all(['laptop', 'phone'].map((name) => peer(name)))
    const gate = path('gate')
    const session = await laptop!.connect('far', { name: 'work' })
    const job = await session.start(counter, { args: [4, { 3: gate }] })
    expect(await outputs(job.receive({ follow: true, limit: 2 }))).toEqual(lines(1, 2))
    const run = session.run(sleeps)
    await until('it runs', () => session.availability === 'Busy')

    await far.deny('laptop')
    await until('it is closed to the laptop', () => session.state === 'Broken')
    expect(codeOf(session.snapshot.reason)).toBe('DENIED')
    await refusal('its run', () => run)
    expect(codeOf(await refusal('a new one', () => laptop!.connect('far')))).toBe('DENIED')

    await until('nobody has it', async () => (await phone!.sessions({ on: 'far' }))[0]?.availability === 'None')
    const again = await phone!.connect('far', { session: 'work' })
    await open(gate)
    const same = await again.job(job.id)
    expect(await outputs(same.receive({ follow: true }))).toEqual(lines(3, 4))
    await again.disconnect()

    // Nobody could ever take it up: the last key takes its owner's sessions with it, also behind one that is still in the book.
    await far.deny('phone')
    await far.allow('laptop', GRANTS)
    expect(
      await within(
        'the list',
        until('they are closed', async () => (await seen(laptop!)).length === 0),
      ),
    ).toBe(true)
  })

  test('what a key that is revoked, or moved, has called there ends at once, whoever else its owner is', async () => {
    for (const cut of [() => far.deny('laptop'), () => far.allow('laptop', GRANTS, { owner: 'you' })]) {
      await far.allow('laptop', GRANTS, { owner: 'me' })
      const laptop = await peer('laptop')
      const job = await laptop.start(family, { on: 'far' })
      const pids = await outputs(job.receive({ follow: true, limit: 2 }))
      expect(pids.map(alive)).toEqual([true, true])
      await cut()
      await until('nothing of it runs', () => !pids.some(alive))
      expect((await within('the job', job.finished)).state).toBe('Failed')
      await laptop.close()
    }
  })

  test('a key that stood for itself brings its sessions along to the name it gets; they go on as they were', async () => {
    await far.allow('alone', GRANTS)
    const [alone, phone] = [await peer('alone'), await peer('phone')]
    const session = await alone.connect('far', { name: 'mine' })
    expect(await seen(phone)).toEqual([])
    await far.allow('alone', GRANTS, { owner: 'me' })
    expect([session.state, await session.run(() => 1 + 1)]).toEqual(['Opened', 2])
    expect(await seen(phone)).toEqual([['mine', 'Disconnected', 'Busy']])
  })

  test('a key that is moved to another owner leaves its sessions where they are, and what it had open is closed', async () => {
    const [laptop, phone, other] = await Promise.all(['laptop', 'phone', 'other'].map((name) => peer(name)))
    const session = await laptop!.connect('far', { name: 'work' })
    const job = await session.start(sleeps)
    await job.wait({ for: ['Running'] })
    await (await other!.connect('far', { name: 'yours' })).disconnect()

    await far.allow('laptop', GRANTS, { owner: 'you' })
    await until('it is not its session any more', () => session.state === 'Broken')
    expect(codeOf(session.snapshot.reason)).toBe('SESSION_NOT_FOUND')
    expect(await seen(laptop!)).toEqual([['yours', 'Disconnected', 'None']])
    expect(await seen(phone!)).toEqual([['work', 'Disconnected', 'None']])
    const again = await phone!.connect('far', { session: 'work' })
    expect((await again.job(job.id)).state).toBe('Running')

    // Back to its own name: neither the one nor the other.
    await far.allow('laptop', GRANTS, { owner: '' })
    const sees = (): Promise<unknown[]> => seen(laptop!).catch(() => ['cut off, and asked again over the next link'])
    await until('it has nothing', async () => (await sees()).length === 0)
  })

  test('a temporary session is its client’s alone: not listed for the owner’s others, nor taken, not even left alone', async () => {
    const [laptop, phone] = await Promise.all(['laptop', 'phone'].map((name) => peer(name)))
    const brief = await laptop!.connect('far', { temporary: true })
    expect(await seen(phone!)).toEqual([])
    network.cut('laptop', 'far')
    await until('it is lost', () => brief.state === 'Connecting')
    for (const which of [1, brief.instanceId, brief.name]) {
      const error = await refusal('a temporary one', () => phone!.connect('far', { session: which, force: true }))
      expect(codeOf(error)).toBe('SESSION_NOT_FOUND')
    }
    network.heal('laptop', 'far')
    await until('its own client has it again', () => brief.state === 'Opened')
    expect(await brief.run(() => 2)).toBe(2)
  })
})

describe('a session that another client takes by force', () => {
  test('the former sees it Disconnected with the reason, and disturbs nothing; what it waited for is left to it as jobs', async () => {
    const [laptop, phone] = await Promise.all(['laptop', 'phone'].map((name) => peer(name)))
    const gate = path('gate')
    const session = await laptop!.connect('far', { name: 'work' })
    const kept = await session.start(counter, { args: [4, { 3: gate }] })
    expect(await outputs(kept.receive({ follow: true, limit: 2 }))).toEqual(lines(1, 2))
    const run = session.run(counter, { args: [5, { 4: gate }], name: 'called' })
    const came: string[] = []
    const reading = (async () => {
      for await (const line of run) came.push(line)
    })()
    reading.catch(() => undefined) // looked at below
    await until('three lines have come', () => came.length === 3)
    expect(codeOf(await refusal('unasked', () => phone!.connect('far', { session: 'work' })))).toBe('SESSION_STATE')

    const again = await phone!.connect('far', { session: 'work', force: true })
    expect(again).toMatchObject({ state: 'Opened', availability: 'Busy' })
    await until('the former has heard of it', () => session.state === 'Disconnected')
    expect(session.availability).toBe('None')
    expect(codeOf(session.snapshot.reason)).toBe('SESSION_STATE')
    expect(session.snapshot.reason?.message).toContain('taken by another client')
    expect(codeOf(await refusal('the run that was called', () => reading))).toBe('SESSION_STATE')
    const left = await laptop!.job('called')
    expect(left).toMatchObject({ state: 'Disconnected', hasMoreData: true, location: 'far' })

    // Nothing that the former may still try reaches what is the other's now.
    for (const act of [
      () => session.run(() => 1),
      () => session.start(() => 1),
      () => kept.stop(),
      () => left.stop(),
      () => session.connect(),
      () => outputs(kept.receive({ follow: true })),
    ]) {
      expect(codeOf(await refusal('by the former', act))).toBe('SESSION_STATE')
    }
    expect(session.state).toBe('Disconnected')
    expect((await again.job(kept.id)).state).toBe('Running')
    expect(again.state).toBe('Opened')

    const received = (await again.receive())!
    await open(gate)
    // What the former had taken is taken, but for what it had not said yet when it lost the session.
    const rest = await outputs(received.receive({ follow: true }))
    expect(rest.length).toBeGreaterThanOrEqual(2)
    expect(rest).toEqual(lines(6 - rest.length, 5))
    expect(await outputs((await again.job(kept.id)).receive({ follow: true }))).toEqual(lines(3, 4))

    // Once it is free the former may have it again, and finds there what it had left.
    await again.disconnect()
    await session.connect()
    expect((await within('the job that was left', left.finished)).state).not.toBe('Disconnected')
    expect(await session.run(() => 'mine again')).toBe('mine again')
  })

  test('the former goes on where it was once the other has left: every line once, whoever had the session', async () => {
    const [laptop, phone] = await Promise.all(['laptop', 'phone'].map((name) => peer(name)))
    const gate = path('gate')
    const session = await laptop!.connect('far', { name: 'work' })
    const job = await laptop!.start(counter, { args: [6, { 4: gate }], on: session })
    const following = outputs(job.receive({ follow: true }))
    await until('three lines have come', async () => (await taken(job)) === 3)
    const again = await phone!.connect('far', { session: 'work', force: true })
    await within('the job', job.wait({ for: ['Disconnected'] }))
    await open(gate)
    await again.disconnect()
    await session.connect()
    expect(await within('the stream', following)).toEqual(lines(1, 6))
  })

  test('it is taken back by force in the same way, by the handle that had it', async () => {
    const [laptop, phone] = await Promise.all(['laptop', 'phone'].map((name) => peer(name)))
    const session = await laptop!.connect('far', { name: 'work' })
    await session.run(() => void Object.assign(globalThis, { kept: 7 }))
    const again = await phone!.connect('far', { session: 'work', force: true })
    await until('the former has heard of it', () => session.state === 'Disconnected')
    await session.connect({ force: true })
    expect(await session.run(() => (globalThis as { kept?: number }).kept)).toBe(7)
    await until('so has the other', () => again.state === 'Disconnected')
  })

  test('closing what another has takes it out of the list here, says so, and ends nothing there', async () => {
    const [laptop, phone] = await Promise.all(['laptop', 'phone'].map((name) => peer(name)))
    const session = await laptop!.connect('far', { name: 'work' })
    const again = await phone!.connect('far', { session: 'work', force: true })
    await until('the former has heard of it', () => session.state === 'Disconnected')
    expect(codeOf(await refusal('closing', () => session.close()))).toBe('SESSION_STATE')
    expect([session.state, await laptop!.sessions()]).toEqual(['Closed', []])
    expect(await again.run(() => 3)).toBe(3)
  })

  test('one that was taken while its client was away stays Disconnected when that is back, and says why', async () => {
    const [laptop, phone] = await Promise.all(['laptop', 'phone'].map((name) => peer(name)))
    const session = await laptop!.connect('far', { name: 'work', reconnect: true })
    network.cut('laptop', 'far')
    await until('it is lost', () => session.state === 'Connecting')
    await until('there too', async () => (await phone!.sessions({ on: 'far' }))[0]?.availability === 'None')
    const again = await phone!.connect('far', { session: 'work' })
    network.heal('laptop', 'far')
    await until('it is back', () => session.state === 'Disconnected')
    expect(codeOf(session.snapshot.reason)).toBe('SESSION_STATE')
    expect(await again.run(() => 4)).toBe(4)
  })
})

describe('a line that is lost', () => {
  test('a connect by command while it is being retried says at once that it cannot be, and does not end the retry', async () => {
    const laptop = await peer('laptop')
    const session = await laptop.connect('far', { lostAfter: '1m' })
    network.cut('laptop', 'far')
    await until('it is lost', () => session.state === 'Connecting')
    expect(codeOf(await refusal('connecting', () => session.connect()))).toBe('PEER_UNREACHABLE')
    expect(session.state).toBe('Connecting')
    network.heal('laptop', 'far')
    await within('one that succeeds', session.connect())
    expect(await session.run(() => 5)).toBe(5)
  })

  test('given up it is Disconnected; by command it is tried once; asked for beforehand, it is back by itself', async () => {
    const laptop = await peer('laptop')
    const asked = await laptop.connect('far', { lostAfter: 300, reconnect: true })
    const not = await laptop.connect('far', { lostAfter: 300 })
    const gate = path('gate')
    const job = await laptop.start(counter, { args: [4, { 3: gate }], on: asked })
    const following = outputs(job.receive({ follow: true }))
    await until('two lines have come', async () => (await taken(job)) === 2)
    network.cut('laptop', 'far')
    await until('both are given up', () => asked.state === 'Disconnected' && not.state === 'Disconnected')
    expect(asked.snapshot.reason?.message).toContain('could not be reached for 0.3 s')
    expect(codeOf(await refusal('by command', () => not.connect()))).toBe('PEER_UNREACHABLE')
    expect(not.state).toBe('Disconnected')
    await open(gate)
    network.heal('laptop', 'far')
    expect(await within('the stream', following)).toEqual(lines(1, 4))
    expect(asked.state).toBe('Opened')
    expect(not.state).toBe('Disconnected')
  })

  test('one that is left by command while its peer is looked out for is not taken up any more', async () => {
    const laptop = await peer('laptop')
    const session = await laptop.connect('far', { lostAfter: 100, reconnect: true })
    network.cut('laptop', 'far')
    await until('it is given up', () => session.state === 'Disconnected')
    await session.disconnect()
    network.heal('laptop', 'far')
    // Another one that is looked out for has come back in the meantime: so would this one have.
    const second = await laptop.connect('far', { lostAfter: 100, reconnect: true })
    network.cut('laptop', 'far')
    await until('it is given up', () => second.state === 'Disconnected')
    network.heal('laptop', 'far')
    await until('the other is back', () => second.state === 'Opened')
    expect(session.state).toBe('Disconnected')
  })

  test.for(['session.run', 'peer.run'] as const)(
    'a run whose session is lost under it is refused to its caller and left as a Disconnected job, by its name: %s',
    async (way) => {
      const laptop = await peer('laptop')
      const session = await laptop.connect('far', { lostAfter: 300 })
      const gate = path('gate')
      const options = { args: [5, { 4: gate }] as [number, Record<number, string>], name: 'called' }
      const run =
        way === 'session.run' ? session.run(counter, options) : laptop.run(counter, { ...options, on: session })
      const came: string[] = []
      const reading = (async () => {
        for await (const line of run) came.push(line)
      })()
      reading.catch(() => undefined) // looked at below
      await until('three lines have come', () => came.length === 3)
      expect(await laptop.jobs(), 'a run is in no table').toEqual([])
      network.cut('laptop', 'far')
      expect(codeOf(await refusal('the run', () => reading))).toBe('PEER_LOST')
      expect(came).toEqual(lines(1, 3))

      const [job, ...others] = await laptop.jobs()
      expect(others).toEqual([])
      expect(job).toMatchObject({ id: 1, name: 'called', type: 'RemoteJob', state: 'Disconnected', hasMoreData: true })
      expect(job!.children.map(({ name, state }) => [name, state])).toEqual([['called.1', 'Disconnected']])
      expect(job!.command).toContain('Output')
      expect(await laptop.job('called')).toBe(job)
      expect(codeOf(await refusal('removing', () => job!.remove()))).toBe('JOB_NOT_FINISHED')

      network.heal('laptop', 'far')
      await open(gate)
      expect(await session.receive(), 'the same client gets the same job').toBe(job)
      expect(await outputs(job!.receive({ follow: true })), 'what its caller had is not given again').toEqual(
        lines(4, 5),
      )
      expect((await job!.finished).state).toBe('Completed')
      expect(await outputs(job!.children[0]!.receive({ from: 0 }))).toEqual(lines(1, 5))
      expect((await laptop.jobs()).map(({ id }) => id)).toEqual([1])
      expect((await (await laptop.start(() => 1)).wait()).id).toBe(2)
    },
  )

  test('of several places, a run waits for those that can be reached; then what was lost is left', async () => {
    const laptop = await peer('laptop', { policy: { peers: { far: [], near: [] } } })
    await peer('near', { policy: { peers: { laptop: GRANTS } } })
    const sessions = [await laptop.connect('far', { lostAfter: 200 }), await laptop.connect('near')]
    const gates = { far: path('gate'), near: path('gate') }
    const script = async function* (ctx: ScriptContext, paths: Record<string, string>): AsyncGenerator<string> {
      const { existsSync } = process.getBuiltinModule('node:fs')
      yield `begun ${ctx.location}`
      while (!existsSync(paths[ctx.location]!)) await ctx.sleep(10)
      yield `ended ${ctx.location}`
    }
    const run = laptop.run(script, { args: [gates], on: sessions })
    const came: string[] = []
    const reading = (async () => {
      for await (const line of run) came.push(line)
    })()
    reading.catch(() => undefined) // looked at below
    await until('both have begun', () => came.length === 2)
    network.cut('laptop', 'far')
    await until('it is given up', () => sessions[0]!.state === 'Disconnected')
    expect(await laptop.jobs()).toEqual([])
    await open(gates.near)
    expect(codeOf(await refusal('the run', () => reading))).toBe('PEER_LOST')
    expect(came.slice(2)).toEqual(['ended near'])
    const [job] = await laptop.jobs()
    expect(job!.children.map(({ state }) => state)).toEqual(['Disconnected', 'Completed'])
    network.heal('laptop', 'far')
    await open(gates.far)
    await sessions[0]!.connect()
    expect(await outputs(job!.receive({ follow: true }))).toEqual(['ended far'])
    expect((await job!.finished).state).toBe('Completed')
  })
})

describe('receiving on a session from another client', () => {
  test('all streams come, each record once, under the same numbers as where it runs', async () => {
    const [laptop, phone] = await Promise.all(['laptop', 'phone'].map((name) => peer(name)))
    const gate = path('gate')
    const session = await laptop!.connect('far', { name: 'work' })
    const job = await laptop!.start(talker, { args: [gate], on: session })
    await until('it has said five', async () => (await taken(job)) === 5)
    await session.disconnect()
    const again = await phone!.connect('far', { session: 'work' })
    const received = (await again.receive({ name: 'mine' }))!
    expect(received).toMatchObject({ name: 'mine', type: 'RemoteJob', location: 'far' })
    expect(received.command).toBe(job.command)
    await open(gate)
    const records = await all(received.receive({ follow: true }))
    expect(records.map(({ seq, kind }) => [seq, kind])).toEqual([
      [0, 'warning'],
      [1, 'information'],
      [2, 'verbose'],
      [3, 'error'],
      [4, 'output'],
      [5, 'warning'],
      [6, 'output'],
    ])
    expect((await phone!.jobs()).map(({ name, state }) => [name, state])).toEqual([['mine', 'Completed']])
  })

  test('several runs and jobs of one session: each run is taken up, the latest first; jobs are there by their numbers', async () => {
    const [laptop, phone] = await Promise.all(['laptop', 'phone'].map((name) => peer(name)))
    const session = await laptop!.connect('far', { name: 'work' })
    // One after the other, and nobody takes what they say.
    for (const said of ['one', 'two']) {
      const gate = path(said)
      session.run(
        async (ctx: ScriptContext, word: string, wait: string) => {
          while (!process.getBuiltinModule('node:fs').existsSync(wait)) await ctx.sleep(10)
          return word
        },
        { args: [said, gate], name: said },
      )
      await until('it runs', () => session.availability === 'Busy')
      await open(gate)
      await until('it has run', () => session.availability === 'Available')
    }
    const gate = path('gate')
    session.run(counter, { args: [3, { 2: gate }] })
    await (await session.start(() => 'kept', { name: 'kept' })).wait()
    await until('the last one runs', () => session.availability === 'Busy')
    await session.disconnect()
    await open(gate)

    const again = await phone!.connect('far', { session: 'work' })
    const said: unknown[] = []
    for (let job = await again.receive(); job; job = await again.receive()) {
      expect(await again.receive(), 'until it was read it is the same').toBe(job)
      said.push(await outputs(job.receive({ follow: true })))
    }
    expect(said).toEqual([lines(1, 3), ['two'], ['one']])
    expect((await phone!.jobs()).map(({ id }) => id)).toEqual([1, 2, 3])
    expect((await again.jobs()).map(({ name }) => name)).toEqual(['kept'])
    expect(await outputs((await again.job('kept')).receive())).toEqual(['kept'])
  })
})

describe('which session is meant', () => {
  test('a number, a name in any case, an instanceId or its beginning; where a name is several, a number decides', async () => {
    const laptop = await peer('laptop')
    const [one, two, three] = [
      await laptop.connect('far', { name: 'build' }),
      await laptop.connect('far', { name: 'Build' }),
      await laptop.connect('far', { name: 'other' }),
    ]
    expect((await laptop.session(2)).instanceId).toBe(two.instanceId)
    expect((await laptop.session('OTHER')).instanceId).toBe(three.instanceId)
    expect((await laptop.session(one.instanceId.slice(0, 13))).instanceId).toBe(one.instanceId)
    const error = await refusal('a name of two', () => laptop.session('build'))
    expect(codeOf(error)).toBe('SESSION_AMBIGUOUS')
    expect(error.message).toContain('1, 2')
    expect(codeOf(await refusal('none', () => laptop.session('nothing')))).toBe('SESSION_NOT_FOUND')
    await two.disconnect()
    expect(codeOf(await refusal('there too', () => laptop.connect('far', { session: 'build' })))).toBe(
      'SESSION_AMBIGUOUS',
    )
    expect((await laptop.sessions({ state: 'Disconnected' })).map(({ id }) => id)).toEqual([2])
  })

  test('numbers here are ours, those of a list over there its own: what is read there can be typed there', async () => {
    const [laptop, phone] = await Promise.all(['laptop', 'phone'].map((name) => peer(name)))
    await (await phone!.connect('far', { name: 'first' })).disconnect()
    const second = await laptop!.connect('far', { name: 'second' })
    expect((await laptop!.sessions()).map(({ id, name }) => [id, name])).toEqual([[1, 'second']])
    const there = await laptop!.sessions({ on: 'far' })
    expect(there.map(({ id, name, state }) => [id, name, state])).toEqual([
      [1, 'first', 'Disconnected'],
      [2, 'second', 'Opened'],
    ])
    const taken = await laptop!.connect('far', { session: there[0]!.id })
    expect([taken.name, taken.id, second.id]).toEqual(['first', 2, 1])
  })
})
