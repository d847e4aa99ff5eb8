// Supervisors and shared fate over real peers, in the test's process and over a network in it that is cut and healed: what is
// started where, what becomes of what could not be reached, and what is left over there.
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { afterEach, describe, expect, test } from 'vitest'
import { fromCallback, setup } from 'xstate'
import {
  type ActorAddress,
  type ChildSpec,
  createPeer,
  defineMachine,
  type Down,
  type MachineDefinition,
  type Peer,
  type PeerOptions,
  type Supervisor,
  type SupervisorOptions,
} from '../src/index.ts'
import { counter } from './fixtures/machines.ts'
import { all, refusal, until, within } from './support/peers.ts'

const GRANTS = ['connect', 'spawn:counter', 'spawn:probe'] as const
const BEAT = { heartbeat: 20, suspicion: 200 }

/** The names of peers on which a probe is, once for each. */
const alive: string[] = []
/** Is nothing but there. */
const probe = (peer: string): MachineDefinition =>
  defineMachine({
    name: 'probe',
    machine: setup({
      actors: {
        there: fromCallback(() => {
          alive.push(peer)
          return () => void alive.splice(alive.indexOf(peer), 1)
        }),
      },
    }).createMachine({ invoke: { src: 'there' } }),
    events: {},
  })

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]()
})

interface Place {
  readonly here: Peer
  readonly server01: Peer
  readonly server02: Peer
  readonly network: MemoryNetwork
}

async function three(server: PeerOptions = {}, client: PeerOptions = {}): Promise<Place> {
  const network = createMemoryNetwork()
  const make = async (name: string, options: PeerOptions): Promise<Peer> => {
    const offered = { machines: [counter, probe(name)] }
    const peer = await createPeer({ name, transport: memory({ network, name }), ...BEAT, ...offered, ...options })
    open.push(peer)
    return peer
  }
  const serves: PeerOptions = { policy: { peers: { here: [...GRANTS] } }, ...server }
  const server01 = await make('server01', serves)
  const server02 = await make('server02', serves)
  const here = await make('here', { policy: { peers: { server01: [], server02: [] } }, ...client })
  return { here, server01, server02, network }
}

const spec = (id: string, more: Partial<ChildSpec<any>> = {}): ChildSpec<any> => ({ id, machine: counter, ...more })
const both = ['server01', 'server02']

async function supervise(peer: Peer, children: ChildSpec<any>[], more: Partial<SupervisorOptions> = {}) {
  const supervisor = await peer.supervise({ name: 'crew', backOff: { delay: 10 }, ...more, children })
  open.push(supervisor)
  await within('that all are up', supervisor.ready())
  return supervisor
}
const childOf = (supervisor: Supervisor, id: string) => supervisor.getSnapshot().children.find((one) => one.id === id)!
const addressOf = (supervisor: Supervisor, id: string): ActorAddress => childOf(supervisor, id).address!
/** Up again, as another one than before. */
const anew = (supervisor: Supervisor, id: string, before: ActorAddress): Promise<ActorAddress> =>
  until(`that ${id} is up again`, () => {
    const { state, address } = childOf(supervisor, id)
    return state === 'running' && address?.path !== before.path && address
  })
const noticeOf = async (peer: Peer, address: ActorAddress): Promise<Down> =>
  (await within('the notice', all(peer.monitor(address))))[0]!
async function send(peer: Peer, address: ActorAddress, event: { type: string }): Promise<void> {
  using ref = await peer.ref(address)
  await ref.tell(event)
}
async function count(peer: Peer, address: ActorAddress): Promise<unknown> {
  using ref = await peer.ref(address)
  return ref.ask({ type: 'total' })
}

describe('a supervisor over peers', () => {
  test('has its children where they are to be, each alone in a session that ends with it', async () => {
    const { here, server01 } = await three()
    const supervisor = await supervise(here, [
      spec('a', { on: 'server01', input: { from: 1 } }),
      spec('b', { on: 'server02', input: { from: 2 } }),
      spec('c', { input: { from: 3 } }),
      spec('d', { on: 'server01', machine: 'probe' }),
    ])
    expect(alive).toEqual(['server01'])
    const addresses = ['a', 'b', 'c'].map((id) => addressOf(supervisor, id))
    expect(addresses.map(({ peer }) => peer)).toEqual(['server01', 'server02', here.id])
    const counts = await Promise.all(addresses.map((address) => count(here, address)))
    expect(counts).toEqual([1, 2, 3].map((value) => ({ outcome: 'ok', value })))
    const ends = [noticeOf(server01, addresses[0]!), ...addresses.map((address) => noticeOf(here, address))]
    await supervisor.stop()
    expect((await Promise.all(ends)).map(({ reason }) => reason)).toEqual(['stopped', 'stopped', 'stopped', 'stopped'])
    // Of its session nothing is left.
    expect(await noticeOf(here, addresses[0]!)).toMatchObject({ reason: 'gone' })
    expect(alive).toEqual([])
  })

  test('starts one that has failed again, where it was, and clears away what was made for it', async () => {
    const { here } = await three()
    const supervisor = await supervise(here, [spec('a', { on: both }), spec('b')])
    for (const id of ['a', 'b']) {
      const before = addressOf(supervisor, id)
      await send(here, before, { type: 'break' })
      const after = await anew(supervisor, id, before)
      expect(after.peer).toBe(before.peer)
      expect(childOf(supervisor, id)).toMatchObject({
        restarts: 1,
        reason: 'error',
        error: { message: 'broken as told' },
      })
    }
    const before = addressOf(supervisor, 'a')
    await send(here, before, { type: 'finish' })
    await anew(supervisor, 'a', before)
    expect(childOf(supervisor, 'a')).toMatchObject({ restarts: 2, reason: 'exit' })
    await until('that its session is closed', async () => (await noticeOf(here, before)).reason === 'gone')
  })

  test('leaves one alone whose link broke and is back in time', async () => {
    const { here, network } = await three({ ...BEAT, suspicion: 10_000 })
    const supervisor = await supervise(here, [spec('a', { on: both })])
    const address = addressOf(supervisor, 'a')
    await send(here, address, { type: 'pause' })
    network.lose('here', 'server01')
    expect(await count(here, address)).toEqual({ outcome: 'ok', value: 0 })
    expect([addressOf(supervisor, 'a'), childOf(supervisor, 'a').restarts]).toEqual([address, 0])
  })

  test('starts one elsewhere whose peer is silent, and stops the other one when that is back', async () => {
    const { here, server01, network } = await three()
    const supervisor = await supervise(here, [spec('a', { on: both })])
    const before = addressOf(supervisor, 'a')
    const end = noticeOf(server01, before)
    network.cut('here', 'server01')
    const after = await anew(supervisor, 'a', before)
    expect([before.peer, after.peer, childOf(supervisor, 'a').reason]).toEqual(['server01', 'server02', 'unreachable'])
    // Over there it goes on, for now.
    expect(await count(server01, before)).toEqual({ outcome: 'ok', value: 0 })
    network.heal('here', 'server01')
    expect(await end).toMatchObject({ reason: 'stopped' })
    expect(addressOf(supervisor, 'a')).toEqual(after)
    expect(await count(here, after)).toEqual({ outcome: 'ok', value: 0 })
  })

  test('starts one elsewhere whose peer goes down in order: it was not that one that was to stop', async () => {
    const { here, server01 } = await three()
    const supervisor = await supervise(here, [
      spec('a', { on: both, restart: 'transient' }),
      spec('b', { on: both, restart: 'transient' }),
      spec('c', { on: both, restart: 'temporary' }),
    ])
    const before = addressOf(supervisor, 'a')
    // That is somebody's wish.
    using b = await here.ref(addressOf(supervisor, 'b'))
    b.stop()
    await until('that it is over', () => childOf(supervisor, 'b').state === 'ended')
    await server01.close()
    expect((await anew(supervisor, 'a', before)).peer).toBe('server02')
    expect(childOf(supervisor, 'a')).toMatchObject({ reason: 'peer lost', error: { code: 'PEER_SHUTDOWN' } })
    expect(['b', 'c'].map((id) => childOf(supervisor, id).state)).toEqual(['ended', 'ended'])
    expect(childOf(supervisor, 'b').reason).toBe('stopped')
  })

  test('one that cannot be reached in time ends by itself', async () => {
    const { here, server01, network } = await three({ temporaryLease: 300 })
    const supervisor = await supervise(here, [spec('a', { on: both })])
    const before = addressOf(supervisor, 'a')
    const end = noticeOf(server01, before)
    network.cut('here', 'server01')
    expect(await end).toMatchObject({ reason: 'stopped', error: { code: 'SESSION_EXPIRED' } })
    expect((await anew(supervisor, 'a', before)).peer).toBe('server02')
  })

  test('goes to another place where it is refused, or where nobody is there; and waits where nobody is at any', async () => {
    const { here, network } = await three({ machines: [] })
    const failing = await here.supervise({
      name: 'failing',
      backOff: { delay: 1 },
      children: [spec('a', { on: both })],
    })
    expect((await within('that it gives up', failing.finished)).error).toMatchObject({
      code: 'RESTART_INTENSITY',
      cause: { code: 'MACHINE_NOT_OFFERED' },
    })
    const elsewhere = await three()
    network.cut('here', both)
    elsewhere.network.cut('here', 'server01')
    const supervisor = await supervise(elsewhere.here, [spec('a', { on: both, startWithin: '2s' })])
    expect(addressOf(supervisor, 'a').peer).toBe('server02')
  })

  test('what it was starting when it is stopped is not there afterwards', async () => {
    const { here, network } = await three()
    // There is a link, over which nothing is answered.
    await here.connect('server01')
    network.cut('here', 'server01')
    const supervisor = await here.supervise({
      name: 'crew',
      children: [spec('a', { machine: 'probe' }), spec('b', { machine: 'probe', on: 'server01' })],
    })
    await until('that it is starting', () => childOf(supervisor, 'b').state === 'starting')
    expect(alive).toEqual(['here'])
    const stopping = supervisor.stop()
    network.heal('here', 'server01')
    await within('its end', stopping)
    expect(supervisor.getSnapshot()).toMatchObject({
      value: 'Stopped',
      children: [{ state: 'ended' }, { state: 'ended' }],
    })
    expect(await refusal('ready', () => supervisor.ready())).toMatchObject({ code: 'ACTOR_GONE' })
    await until('that none is left', () => alive.length === 0)
  })

  test('closing the peer stops it, and its children elsewhere with it', async () => {
    const { here, server01 } = await three()
    const supervisor = await supervise(here, [spec('a', { on: 'server01' }), spec('b')])
    const end = noticeOf(server01, addressOf(supervisor, 'a'))
    await here.close()
    expect(await end).toMatchObject({ reason: 'stopped' })
    expect(supervisor.getSnapshot().value).toBe('Stopped')
  })

  test('one for all over peers: one that is lost takes the others with it, wherever they are', async () => {
    const { here, network, server02 } = await three()
    const supervisor = await supervise(here, [spec('a', { on: 'server02' }), spec('b', { on: both }), spec('c')], {
      strategy: 'one-for-all',
    })
    const before = ['a', 'b', 'c'].map((id) => addressOf(supervisor, id))
    const end = noticeOf(server02, before[0]!)
    network.cut('here', 'server01')
    expect(await end).toMatchObject({ reason: 'stopped' })
    for (const [index, id] of ['a', 'b', 'c'].entries()) await anew(supervisor, id, before[index]!)
    expect(['a', 'b', 'c'].map((id) => addressOf(supervisor, id).peer)).toEqual(['server02', 'server02', here.id])
  })
})

describe('a ref of a child', () => {
  test('goes on with the next one, here and elsewhere, and what is sent meanwhile is for that', async () => {
    const { here, server01, network } = await three()
    const supervisor = await supervise(here, [spec('a', { on: both, input: { from: 5 } })])
    const ref = await supervisor.child('a')
    await within('that it is there', ref.ready())
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 5 })
    const before = addressOf(supervisor, 'a')
    await ref.tell({ type: 'break' })
    await anew(supervisor, 'a', before)
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 5 })
    const end = noticeOf(server01, addressOf(supervisor, 'a'))
    network.cut('here', 'server01')
    await until('that it is lost', () => childOf(supervisor, 'a').state !== 'running')
    await until('that nobody is meant', () => ref.state === 'stale')
    ref.send({ type: 'add', n: 3 })
    await until(
      'that the next one has it',
      async () => ((await ref.ask({ type: 'total' })) as { value?: unknown }).value === 8,
    )
    expect(ref.address).toMatchObject({ peer: 'server02', follow: { name: 'crew/a' } })
    network.heal('here', 'server01')
    expect(await end).toMatchObject({ reason: 'stopped' })
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 8 })
    // Nobody has the name any more.
    await supervisor.stop()
    await until('that nobody is meant', () => ref.state === 'stale')
    ref[Symbol.dispose]()
  })

  test('of one in an inner supervisor; and before it is up', async () => {
    // Nothing is to be lost here: a moment in which this process gets no processor is longer than what others wait.
    const patient = { suspicion: 60_000 }
    const { here, network } = await three(patient, patient)
    network.cut('here', both)
    const inner = { children: [spec('x', { on: both })], backOff: { delay: 10, most: 50 } }
    const supervisor = await here.supervise({ name: 'crew', children: [{ id: 'in', supervisor: inner }] })
    open.push(supervisor)
    using ref = await supervisor.child('in/x')
    ref.send({ type: 'add', n: 1 })
    expect(ref.state).not.toBe('live')
    network.heal('here', both)
    await within('that it is up', supervisor.ready())
    await within('that it is there', ref.ready())
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 1 })
  })

  test("a name that is somebody else's is not taken from him", async () => {
    const { here } = await three()
    const other = await here.spawn(counter)
    await here.register('crew/a', other)
    const supervisor = await here.supervise({
      name: 'crew',
      backOff: { delay: 1 },
      children: [spec('a', { machine: 'probe' })],
    })
    expect((await within('that it gives up', supervisor.finished)).error).toMatchObject({
      cause: { code: 'NAME_TAKEN' },
    })
    await until('that none is left', () => alive.length === 0)
    expect(await (await here.whereis('crew/a')).ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 0 })
  })
})

describe('shared fate over peers', () => {
  async function linked() {
    const place = await three()
    const { here } = place
    const one = await (await here.connect('server01')).spawn(counter)
    const other = await (await here.connect('server02')).spawn(counter)
    return { ...place, one, other, fate: here.link(one, other) }
  }

  test('one that fails takes the other with it', async () => {
    const { here, one, other, fate } = await linked()
    const end = noticeOf(here, other.address)
    await one.tell({ type: 'break' })
    expect(await end).toMatchObject({
      reason: 'stopped',
      error: { message: 'the actor it is linked with went down: error' },
    })
    expect(await fate.ended).toMatchObject({ down: { reason: 'error', address: one.address }, error: undefined })
  })

  test('one that cannot be reached any more does so too', async () => {
    const { here, network, other, fate } = await linked()
    const end = noticeOf(here, other.address)
    network.cut('here', 'server01')
    expect(await end).toMatchObject({ reason: 'stopped' })
    expect(await fate.ended).toMatchObject({ down: { reason: 'unreachable' } })
  })

  test('one that has done its work does not, nor when they were unlinked', async () => {
    const { here, one, other, fate } = await linked()
    await one.tell({ type: 'finish' })
    expect(await fate.ended).toEqual({ down: undefined, error: undefined })
    const third = await (await here.connect('server01')).spawn(counter)
    here.link(third, other)[Symbol.dispose]()
    const end = noticeOf(here, third.address)
    await third.tell({ type: 'break' })
    expect(await end).toMatchObject({ reason: 'error' })
    expect(await other.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 0 })
  })

  test('one that is gone already does at once; who is no actor is refused', async () => {
    const { here, one, other, fate } = await linked()
    using _ = fate
    const end = noticeOf(here, one.address)
    await other.tell({ type: 'finish' })
    await fate.ended
    const gone = here.link(
      { ...other.address, path: `${other.address.path.split('/')[0]}/${crypto.randomUUID()}` },
      one,
    )
    expect(await gone.ended).toMatchObject({ down: { reason: 'gone' }, error: undefined })
    expect(await end).toMatchObject({ reason: 'stopped' })
    expect(await refusal('link', async () => here.link(one, {} as never))).toMatchObject({ code: 'USAGE' })
  })
})
