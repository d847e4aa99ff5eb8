// Who may ask who is called what on a peer, what a question has to look like, and when it stops being answered. Spoken by hand,
// over the memory carrier.
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import type { Transport } from '@errand/transport'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { codeOf, createPeer, type Grant, type Peer, type PeerHost } from '../src/index.ts'
import type { Link } from '../src/link.ts'
import { openLink } from '../src/link-handshake.ts'
import { checkEvent, isActorAddress, protocols, type PeerEvent } from '../src/wire.ts'
import { refusal, until, within } from './support/peers.ts'

const hostOf = (peer: Peer): PeerHost => (peer as unknown as { via: PeerHost }).via
const actor = { path: 's/a', epoch: 1 }
const READ: Grant[] = ['connect', 'jobs:read']

let network: MemoryNetwork
let server: Peer
let host: PeerHost
let refused: [string, string][]
let open: (() => Promise<void>)[]

beforeEach(async () => {
  network = createMemoryNetwork()
  refused = []
  server = await createPeer({
    name: 'server',
    transport: memory({ network, name: 'server' }),
    policy: { peers: { alice: READ, bob: ['connect', 'run:script', 'run:command'], root: ['connect', 'admin'] } },
    log: (_, details) => void refused.push([String(details?.['peer']), String(details?.['what'])]),
  })
  host = hostOf(server)
  open = [() => server.close()]
})
afterEach(async () => {
  for (const close of open.toReversed()) await close()
})

async function linkAs(name: string): Promise<Link> {
  const transport: Transport = memory({ network, name })
  await transport.start({
    admits: () => true,
    protocols: protocols({ interval: 1000, suspicion: 60_000 }),
    accept: (channel) => channel.abort(),
  })
  const link = await openLink({ transport, peer: 'server', self: { client: name, name } })
  open.push(async () => {
    await link.close()
    await transport.close()
  })
  return link
}

const questions: PeerEvent[] = [
  { type: 'names.watch', name: 'db' },
  { type: 'groups.watch', group: 'workers' },
]
const owners: PeerEvent[] = [
  { type: 'local.register', name: 'db', address: { peer: 'server', ...actor } },
  { type: 'local.unregister', name: 'db' },
  { type: 'local.whereis', name: 'db' },
  { type: 'local.group', group: 'workers' },
]

describe('who may ask', () => {
  test('names and groups: who may look at jobs here; to register: who owns the peer', async () => {
    host.names.began(actor, { register: 'db', groups: ['workers'] })
    for (const name of ['alice', 'root']) {
      const link = await linkAs(name)
      expect(await link.ask({}, questions[0]!)).toMatchObject({ holder: { peer: 'server', ...actor } })
      expect(await link.ask({}, questions[1]!)).toMatchObject({ begins: true, joined: [['s/a', 1]] })
      for (const event of owners) {
        expect(codeOf(await refusal(event.type, () => link.ask({}, event)))).toBe('DENIED')
      }
    }
    expect(host.names.holder('db')).toEqual({ peer: 'server', ...actor })
  })

  test('is settled before anything is looked at: what is there and what is not sound the same', async () => {
    host.names.began(actor, { register: 'db', groups: ['workers'] })
    const link = await linkAs('bob')
    const messages = new Set<string>()
    for (const event of [
      ...questions,
      { type: 'names.watch', name: 'none' },
      { type: 'groups.watch', group: 'none' },
    ]) {
      const error = await refusal(event.type, () => link.ask({}, event as PeerEvent))
      expect(codeOf(error)).toBe('DENIED')
      messages.add(error.message)
    }
    expect(messages).toEqual(new Set(['server does not allow this: jobs:read']))
    expect(refused).toEqual(Array.from({ length: 4 }, () => ['bob', 'jobs:read']))
  })

  test('no script: its session is all that it may speak to', async () => {
    const answers = await server.run(
      async (ctx, events: object[]) => {
        // What a script's handles speak with.
        const { ref } = ctx.session as unknown as { ref: { request(event: object): Promise<unknown> } }
        const code = (error: unknown): string => (error as { code: string }).code
        return Promise.all(events.map((event) => ref.request(event).then(() => 'ok', code)))
      },
      { args: [[...questions, ...owners]] },
    )
    expect(answers).toEqual(Array.from({ length: 6 }, () => 'DENIED'))
  })

  test('ends at once when the grant is taken away, also for who waits; who has it goes on waiting', async () => {
    await server.allow('carol', READ)
    const [alice, carol] = [await linkAs('alice'), await linkAs('carol')]
    const cursors = (await Promise.all(questions.map((event) => alice.ask({}, event)))) as { cursor: string }[]
    const ask = (link: Link): Promise<unknown>[] =>
      questions.map((event, index) => link.ask({}, { ...event, cursor: cursors[index]!.cursor } as PeerEvent))
    const [hers, others] = [ask(alice), ask(carol)]
    const outcome = Promise.all(hers.map((asking) => asking.catch(codeOf)))
    await until('all of them wait', () => host.names.waiting === 4)
    // Something else is new: nobody is refused for that.
    await server.allow('alice', ['connect', 'jobs:read', 'jobs:send'])
    await server.allow('somebody', ['connect'])
    expect([host.names.waiting, refused]).toEqual([4, []])
    await server.allow('alice', ['connect', 'jobs:send'])
    expect(await within('the refusal', outcome)).toEqual(['DENIED', 'DENIED'])
    expect(host.names.waiting).toBe(2)
    host.names.began(actor, { register: 'db', groups: ['workers'] })
    expect(await Promise.all(others)).toMatchObject([{ holder: actor }, { joined: [['s/a', 1]] }])
    expect(alice.open).toBe(true)
  })
})

describe('a question', () => {
  test('that does not fit is refused, and the link goes on', async () => {
    const address = { peer: 'server', ...actor }
    const odd: object[] = [
      { type: 'names.watch' },
      { type: 'names.watch', name: '' },
      { type: 'names.watch', name: 'a b' },
      { type: 'names.watch', name: 'db', cursor: 1 },
      { type: 'names.watch', name: 'db', cursor: 'c'.repeat(513) },
      { type: 'groups.watch', group: 'x'.repeat(129) },
      { type: 'groups.watch', group: 'g', now: 'yes' },
      { type: 'local.register', name: 'db' },
      { type: 'local.register', name: 'db', address: 'server/s/a' },
      { type: 'local.register', name: 'db', address: { ...address, peer: '' } },
      { type: 'local.register', name: 'db', address: { ...address, path: 's' } },
      { type: 'local.register', name: 'db', address: { ...address, epoch: 0 } },
      { type: 'local.register', name: 'db', address: { ...address, machine: 'a b' } },
      { type: 'local.register', name: 'db', address, replace: 1 },
      { type: 'local.unregister', name: 1 },
      { type: 'local.whereis', name: 'db', on: 1 },
      { type: 'local.group', group: 'g', on: 'far' },
      { type: 'local.group', group: 'g', on: Array.from({ length: 257 }, () => 'far') },
    ]
    const link = await linkAs('root')
    for (const event of odd) {
      const error = await refusal(JSON.stringify(event), () => link.ask({}, event as PeerEvent))
      expect(codeOf(error), JSON.stringify(event)).toBe('USAGE')
    }
    for (const event of [...questions, ...owners]) expect(checkEvent(event)).toBe(event)
    expect(await link.ask({}, { type: 'ping' })).toMatchObject({ name: 'server' })
  })

  test('a path is a session’s and a job’s, and nothing that could be anything else', () => {
    const uuid = crypto.randomUUID()
    expect(isActorAddress({ peer: 'p', path: `${uuid}/${uuid}`, epoch: 1 })).toBe(true)
    for (const path of ['', '/', 'a/', '/a', 'a', 'a/b/c', '../a', 'a/b\n', `${'a'.repeat(65)}/b`, 1]) {
      expect(isActorAddress({ peer: 'p', path, epoch: 1 }), String(path)).toBe(false)
    }
    for (const value of [undefined, null, 1, 'x', [], {}]) expect(isActorAddress(value)).toBe(false)
  })
})

describe('whereis', () => {
  test('of another peer goes over the link there is, or a new one, and says which peer that is', async () => {
    const client = await createPeer({
      name: 'client',
      transport: memory({ network, name: 'alice' }),
      policy: { peers: { server: [] } },
    })
    open.push(() => client.close())
    const asker = hostOf(client)
    host.names.began(actor, { register: 'db' })
    type Found = { peer: string; cursor: string; holder?: object }
    const ask = (event: object): Promise<Found> =>
      asker.ask({ type: 'local.whereis', name: 'db', ...event } as PeerEvent) as Promise<Found>
    const found = await ask({ on: 'server' })
    expect(found).toMatchObject({ peer: 'server', holder: { peer: 'server', ...actor } })
    expect(await ask({})).toEqual({ peer: 'alice', cursor: expect.any(String) })
    expect(await ask({ on: 'alice' })).toEqual({ peer: 'alice', cursor: expect.any(String) })
    const next = ask({ on: 'server', cursor: found.cursor })
    host.names.ended('s/a')
    expect(await within('the news', next)).toEqual({ peer: 'server', cursor: expect.any(String) })
    expect(await ask({ on: 'nobody' }).catch(codeOf)).toBe('PEER_NOT_FOUND')
    await server.allow('alice', ['connect'])
    expect(await ask({ on: 'server' }).catch(codeOf)).toBe('DENIED')
    await server.close()
    expect(['PEER_UNREACHABLE', 'PEER_LOST']).toContain(await ask({ on: 'server' }).catch(codeOf))
  })
})
