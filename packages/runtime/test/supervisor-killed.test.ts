// A supervisor whose children are in other processes, over libp2p: one is killed, and is what a power cut leaves of it.
import { afterEach, expect, test } from 'vitest'
import { connectLocal, type ActorAddress, type Peer, type Supervisor } from '../src/index.ts'
import { counter, machines } from './fixtures/machines.ts'
import { all, Peers, until, within } from './support/peers.ts'

const GRANTS = ['connect', ...machines.map(({ name }) => `spawn:${name}` as const)] as const

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]()
})

const addressOf = (supervisor: Supervisor): ActorAddress | undefined => supervisor.getSnapshot().children[0]!.address
async function total(peer: Peer, address: ActorAddress): Promise<unknown> {
  using ref = await peer.ref(address)
  return ref.ask({ type: 'total' })
}

test('by a program, and by one beside a daemon: killed here, started there, and back where it was killed again', async () => {
  const peers = await Peers.start()
  open.push({ [Symbol.asyncDispose]: () => peers.close() })
  const servers = await Promise.all(['server01', 'server02'].map((name) => peers.process(name, { machines: true })))
  const daemon = await peers.program('daemon', { serveLocal: true })
  for (const server of servers)
    for (const peer of [peers.laptop, daemon]) await peer.join(await server.ask('invite', { grants: [...GRANTS] }))
  const client = await connectLocal({ home: peers.homeOf('daemon') })
  open.push(client)
  const children = [{ id: 'one', machine: counter, on: ['server01', 'server02'], input: { from: 7 } }]
  const [server01, server02] = servers as [(typeof servers)[0], (typeof servers)[0]]
  const places = [peers.laptop, client]
  const supervisors = await Promise.all(places.map((peer) => peer.supervise({ name: 'crew', children })))
  for (const supervisor of supervisors) await within('that it is up', supervisor.ready())
  const refs = await Promise.all(supervisors.map((supervisor) => supervisor.child('one')))
  for (const ref of refs) expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 7 })
  const before = supervisors.map((supervisor) => addressOf(supervisor)!)
  expect(before.map(({ peer }) => peer)).toEqual([server01.id, server01.id])
  const monitored = places.map((peer, index) => all(peer.monitor(before[index]!)))

  await server01.kill()
  const notices = await within('the notices', Promise.all(monitored))
  expect(notices).toMatchObject([[{ reason: 'unreachable' }], [{ reason: 'unreachable' }]])
  for (const [index, supervisor] of supervisors.entries()) {
    const after = await until('that it is up elsewhere', () => addressOf(supervisor))
    expect([after.peer, supervisor.getSnapshot().children[0]!.reason]).toEqual([server02.id, 'unreachable'])
    expect(await total(places[index]!, after)).toEqual({ outcome: 'ok', value: 7 })
    // The ref that follows goes on.
    expect(await refs[index]!.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 7 })
    expect(refs[index]!.address).toMatchObject({ peer: server02.id, path: after.path })
  }

  // Back again, it is where they go when the other one is killed.
  await server01.start()
  await server02.kill()
  for (const [index, supervisor] of supervisors.entries()) {
    const back = await until('that it is up again', () => {
      const address = addressOf(supervisor)
      return address?.peer === server01.id && address
    })
    expect(await refs[index]!.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 7 })
    expect(refs[index]!.address).toMatchObject({ peer: server01.id, path: back.path })
    expect(supervisor.getSnapshot()).toMatchObject({ value: 'Running', children: [{ restarts: 2 }] })
  }
})

test('a program that is killed leaves no children behind', async () => {
  const peers = await Peers.start()
  open.push({ [Symbol.asyncDispose]: () => peers.close() })
  const server = await peers.process('server01', { machines: true, temporaryLease: 500 })
  await peers.laptop.join(await server.ask('invite', { grants: [...GRANTS, 'jobs:read'] }))
  const program = await peers.process('program')
  await program.ask('join', await server.ask('invite', { grants: [...GRANTS] }))
  const address = await program.ask('supervise', {
    name: 'crew',
    children: [{ id: 'one', machine: 'counter', on: 'server01' }],
  })
  const end = all(peers.laptop.monitor(address))
  await program.kill()
  expect(await within('its end', end)).toMatchObject([{ reason: 'stopped' }])
})
