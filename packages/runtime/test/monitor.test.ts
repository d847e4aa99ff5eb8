// A monitor tells once, and why.
import { afterEach, describe, expect, test } from 'vitest'
import { memory } from '@errand/transport/memory'
import { connectLocal, createPeer, type Down, type Monitor } from '../src/index.ts'
import { counter, machines } from './fixtures/machines.ts'
import { pair, type Pair } from './support/pair.ts'
import { all, Peers, refusal, until, within } from './support/peers.ts'

const GRANTS = ['connect', ...machines.map(({ name }) => `spawn:${name}` as const)] as const
const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function two(options: Parameters<typeof pair>[0] = {}): Promise<Pair> {
  const both = await pair({
    here: { heartbeat: 20, suspicion: 200, ...options.here },
    far: { machines, policy: { peers: { here: [...GRANTS] } }, heartbeat: 20, suspicion: 200, ...options.far },
  })
  open.push(both)
  return both
}

const notice = (monitor: Monitor): Promise<Down[]> => within('the notice', all(monitor))

describe('a monitor tells once', () => {
  test('that the actor has done its work', async () => {
    const { here } = await two()
    const ref = await (await here.connect('far')).spawn(counter, { input: { from: 3 } })
    const told = notice(here.monitor(ref))
    ref.send({ type: 'finish' })
    expect(await told).toMatchObject([{ reason: 'exit', output: { count: 3 }, address: ref.address }])
    expect(await notice(here.monitor(ref))).toMatchObject([{ reason: 'exit' }])
  })

  test('that it has failed, and that it was stopped', async () => {
    const { here } = await two()
    const session = await here.connect('far')
    const failing = await session.spawn(counter)
    const failed = notice(here.monitor(failing))
    failing.send({ type: 'break' })
    expect(await failed).toMatchObject([{ reason: 'error', error: { message: 'broken as told' } }])
    const stopping = await session.spawn(counter)
    const stopped = notice(here.monitor(stopping))
    stopping.stop()
    expect(await stopped).toMatchObject([{ reason: 'stopped' }])
  })

  test('that its session was closed', async () => {
    const { here } = await two()
    const session = await here.connect('far')
    const told = notice(here.monitor(await session.spawn(counter)))
    await session.close()
    expect(await told).toMatchObject([{ reason: 'stopped' }])
  })

  test('that there never was one', async () => {
    const { here } = await two()
    const session = await here.connect('far')
    const ref = await session.spawn(counter)
    const path = `${session.instanceId}/${crypto.randomUUID()}`
    expect(await notice(here.monitor({ ...ref.address, path }))).toMatchObject([{ reason: 'gone' }])
    expect(await notice(here.monitor({ ...ref.address, epoch: 7 }))).toMatchObject([{ reason: 'gone' }])
    expect(await refusal('monitor', async () => here.monitor({} as never))).toMatchObject({ code: 'USAGE' })
  })

  test('that its peer is silent; and nothing more when that is back', async () => {
    const { here, network } = await two()
    const ref = await (await here.connect('far')).spawn(counter)
    const told: Down[] = []
    const monitor = here.monitor(ref)
    const over = (async () => {
      for await (const down of monitor) told.push(down)
    })()
    network.cut('here', 'far')
    await within('the notice', over)
    expect(told).toMatchObject([{ reason: 'unreachable', error: { code: 'PEER_UNREACHABLE' } }])
    await until('that the ref is stale', () => ref.state === 'stale')
    network.heal('here', 'far')
    await until('that the ref is live', () => ref.state === 'live')
    expect(told).toHaveLength(1)
  })

  test('nothing of a link that breaks and is back in time', async () => {
    const { here, network } = await two({ here: { suspicion: 10_000 }, far: { suspicion: 10_000 } })
    const ref = await (await here.connect('far')).spawn(counter)
    const monitor = here.monitor(ref)
    const states: string[] = []
    const watching = (async () => {
      for await (const state of ref.states()) states.push(state)
    })()
    network.lose('here', 'far')
    await ref.tell({ type: 'add', n: 1 })
    await until('that the ref is live', () => ref.state === 'live')
    ref.stop()
    await within('its end', watching)
    expect(states).toEqual(['live', 'stale', 'live', 'gone'])
    expect(await notice(monitor)).toMatchObject([{ reason: 'stopped' }])
  })

  test('that it is there no more when its peer is heard of again, by who had spawned it and may see nothing else', async () => {
    for (const how of ['its session ended', 'its peer was started again'] as const) {
      const { here, far, network } = await two({ here: { suspicion: 60_000 }, far: { temporaryLease: 50 } })
      const ref = await (await here.connect('far', { temporary: true })).spawn(counter)
      const monitor = here.monitor(ref)
      await ref.ready()
      await ref.tell({ type: 'add', n: 1 })
      network.cut('here', 'far')
      if (how === 'its session ended')
        expect(await notice(far.monitor(ref.address))).toMatchObject([{ reason: 'stopped' }])
      else {
        network.kill('far')
        await far.close()
        const policy = { peers: { here: [...GRANTS] } }
        open.push(await createPeer({ name: 'far', transport: memory({ network, name: 'far' }), machines, policy }))
      }
      network.heal('here', 'far')
      network.lose('here', 'far')
      expect([how, ...(await notice(monitor))]).toMatchObject([how, { reason: 'peer lost' }])
    }
  })

  test('nothing when it was left', async () => {
    const { here } = await two()
    const ref = await (await here.connect('far')).spawn(counter)
    const leaving = new AbortController()
    const monitor = here.monitor(ref, { signal: leaving.signal })
    const told = notice(monitor)
    leaving.abort(new Error('enough'))
    expect(await told).toEqual([])
    expect(await refusal('down', () => monitor.down)).toMatchObject({ message: 'enough' })
    const other = here.monitor(ref)
    other[Symbol.dispose]()
    expect(await notice(other)).toEqual([])
  })

  test('nothing when the peer that monitors is closed', async () => {
    const { here } = await two()
    const monitor = here.monitor(await (await here.connect('far')).spawn(counter))
    await here.close()
    expect(await notice(monitor)).toEqual([])
    expect(await refusal('down', () => monitor.down)).toMatchObject({ code: 'PEER_CLOSED' })
  })

  test('of one that is here', async () => {
    const peer = await createPeer({ machines })
    open.push(peer)
    const ref = await peer.spawn(counter)
    const told = notice(peer.monitor(ref))
    ref.send({ type: 'break' })
    expect(await told).toMatchObject([{ reason: 'error' }])
  })
})

describe('in another process, over libp2p', () => {
  test('that it was killed, by whoever monitors; and when it is back, that it is not there', async () => {
    const peers = await Peers.start()
    open.push({ [Symbol.asyncDispose]: () => peers.close() })
    const server = await peers.process('server01', { machines: true })
    const daemon = await peers.program('daemon', { serveLocal: true })
    for (const peer of [peers.laptop, daemon]) await peer.join(await server.ask('invite', { grants: [...GRANTS] }))
    const client = await connectLocal({ home: peers.homeOf('daemon') })
    open.push(client)
    const ref = await (await peers.laptop.connect('server01')).spawn(counter)
    const another = await (await client.connect('server01')).spawn(counter)
    const told: Down[] = []
    for (const [peer, one] of [[peers.laptop, ref] as const, [client, another] as const])
      void (async () => {
        for await (const down of peer.monitor(one)) told.push(down)
      })()
    const late = await client.ref(another)
    await late.ready()
    await server.kill()
    await until('both notices', () => told.length === 2)
    expect(told).toMatchObject([{ reason: 'unreachable' }, { reason: 'unreachable' }])
    await server.start()
    await until('that they are gone', () => ref.state === 'gone' && another.state === 'gone')
    expect(told).toHaveLength(2)
    // What nobody has ever heard of since it came back is not said to have been lost with it.
    expect(await notice(client.monitor(another))).toMatchObject([{ reason: 'gone' }])
  })
})
