// Who may do what on libp2p, seen from both sides of a refusal: what the one who is refused gets to know and to use, and
// what has run for it here. That is nothing, or the test says what.

import { once } from 'node:events'
import { type Server, createServer } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Channel, PeerId, Protocol, Transport } from '../src/index.ts'
import { MAX_UNANNOUNCED } from '../src/switchboard.ts'
import { type Libp2pOptions, libp2p } from '../src/libp2p.ts'
import { BareChannel, UNLIMITED, barePeer, dial } from './fixtures/bare-peer.ts'
import { PLAIN, echo, failing } from './suites/transport.suite.ts'

const LOOPBACK = '/ip4/127.0.0.1/tcp/0'
const OTHER: Protocol = { name: '/test/other/1', maxFrame: 1024 }
const FEW: Protocol = { name: '/test/few/1', maxFrame: 1024, maxChannels: 2 }
/** Spoken by nobody. */
const ABSENT = '/test/absent/1'

/** Everything the host is asked and given. */
interface Watched {
  transport: Transport
  where: { addresses: readonly string[] }
  admits(peer: PeerId, protocol?: string): boolean
  asked: { peer: PeerId; protocol: string | undefined }[]
  accepted: Channel[]
}

async function started(
  admits: Watched['admits'] = () => true,
  options: Libp2pOptions = { listen: [LOOPBACK] },
  protocols: readonly Protocol[] = [PLAIN, OTHER, FEW],
): Promise<Watched> {
  const transport = libp2p(options)
  onTestFinished(() => transport.close())
  const watched: Watched = { transport, where: { addresses: [] }, admits, asked: [], accepted: [] }
  await transport.start({
    protocols,
    admits(peer, protocol) {
      watched.asked.push({ peer, protocol })
      return watched.admits(peer, protocol)
    },
    accept(channel) {
      watched.accepted.push(channel)
      void echo(channel)
    },
  })
  watched.where = { addresses: transport.addresses }
  return watched
}

const open = (from: Watched, to: Watched, protocol: string, where = to.where): Promise<Channel> =>
  from.transport.open(to.transport.id, protocol, where)

async function works(channel: Channel): Promise<void> {
  await channel.send('works')
  expect(await channel[Symbol.asyncIterator]().next()).toEqual({ done: false, value: 'works' })
}

describe('a peer that is not in the policy', () => {
  test.each<[string, Libp2pOptions]>([
    ['errand’s own way', {}],
    ['libp2p’s usual stack', { direct: false }],
  ])('is refused the connection (%s), before anything of ours runs for it but the policy', async (_, options) => {
    const bob = await started(() => false)
    const alice = await started(undefined, options)
    const before = sockets()
    for (const protocol of [PLAIN.name, OTHER.name]) {
      await expect(open(alice, bob, protocol)).rejects.toEqual(failing('DENIED'))
    }
    expect(bob.accepted).toEqual([])
    // Asked about the peer, and never for a protocol: it got no further than its name.
    expect(bob.asked.length).toBeGreaterThan(0)
    for (const question of bob.asked) expect(question).toEqual({ peer: alice.transport.id, protocol: undefined })
    // And it is not left connected.
    await vi.waitFor(() => expect(sockets()).toBe(before))
  })

  test.each(['tls', 'noise'] as const)(
    'and is no errand at all (%s) learns nothing: neither addresses nor protocols, by identify or by asking',
    async (encryption) => {
      const bob = await started(() => false)
      const mallory = await barePeer({ encryption })
      const identified: unknown[] = []
      mallory.addEventListener('peer:identify', ({ detail }) => identified.push(detail))
      // The dial may succeed: then the connection ends before anything can be said on it.
      const connection = await dial(mallory, bob.transport).catch(() => undefined)
      if (connection !== undefined) {
        for (const protocol of ['/ipfs/id/1.0.0', '/ipfs/id/push/1.0.0', PLAIN.name, ABSENT]) {
          await expect(connection.newStream(protocol)).rejects.toThrow()
        }
        if (connection.status === 'open') await once(connection as unknown as EventTarget, 'close')
      }
      expect(mallory.getConnections()).toEqual([])
      expect(identified).toEqual([])
      // All it may keep is what it knew before, and that it has dialled.
      for (const { protocols, metadata, addresses } of await mallory.peerStore.all()) {
        expect(protocols).toEqual([])
        expect([...metadata.keys()].filter((key) => !key.startsWith('last-dial-'))).toEqual([])
        for (const { multiaddr } of addresses) expect(bob.where.addresses.join()).toContain(multiaddr.toString())
      }
      expect(bob.asked.every(({ protocol }) => protocol === undefined)).toBe(true)
      expect(bob.accepted).toEqual([])
    },
  )

  test('and whom we ask for ourselves is not even dialled', async () => {
    const alice = await started(() => false)
    let knocked = 0
    const server = createServer((socket) => {
      knocked++
      socket.destroy()
    })
    const port = await listening(server)
    const bob = await started()
    for (const addresses of [[`/ip4/127.0.0.1/tcp/${port}`], bob.where.addresses]) {
      await expect(open(alice, bob, PLAIN.name, { addresses })).rejects.toEqual(failing('DENIED'))
    }
    expect(knocked).toBe(0)
    expect(bob.asked).toEqual([])
  })

  test('and is struck off while we dial it is left before a channel opens', async () => {
    const bob = await started()
    let asked = 0
    const alice = await started(() => asked++ === 0)
    await expect(open(alice, bob, PLAIN.name)).rejects.toEqual(failing('DENIED'))
    expect(asked).toBeGreaterThan(1)
    expect(bob.accepted).toEqual([])
  })

  test('cannot come in behind one that is: another key from the same address is another peer', async () => {
    const admitted = new Set<PeerId>()
    const bob = await started((peer) => admitted.has(peer))
    const [alice, eve] = [await started(), await started()]
    admitted.add(alice.transport.id)
    const channel = await open(alice, bob, PLAIN.name)
    await expect(open(eve, bob, PLAIN.name)).rejects.toEqual(failing('DENIED'))
    await works(channel)
    expect(bob.accepted).toHaveLength(1)
  })
})

describe('a peer allowed one protocol', () => {
  const only =
    (name: string) =>
    (_: PeerId, protocol?: string): boolean =>
      protocol === undefined || protocol === name

  test('opens that one and no other, and a refusal does not tell whether there is such a protocol', async () => {
    const bob = await started(only(PLAIN.name))
    const alice = await started()
    const channel = await open(alice, bob, PLAIN.name)
    await expect(open(alice, bob, OTHER.name)).rejects.toEqual(failing('DENIED'))
    await expect(open(alice, bob, FEW.name)).rejects.toEqual(failing('DENIED'))
    await works(channel)
    expect(bob.accepted.map(({ protocol }) => protocol)).toEqual([PLAIN.name])
  })

  test('cannot ask for another on a stream of its own protocol', async () => {
    const bob = await started(only(PLAIN.name))
    const connection = await dial(await barePeer(), bob.transport)
    const refusals: Error[] = []
    for (const named of [OTHER.name, ABSENT]) {
      const channel = await BareChannel.open(connection, PLAIN.name, named)
      refusals.push(await channel.aborted)
      await channel.closed
    }
    const [there, absent] = refusals
    expect(there).toEqual(failing('DENIED'))
    expect(absent!.message).toBe(there!.message)
    expect(bob.accepted).toEqual([])
    await (
      await BareChannel.open(connection, PLAIN.name)
    ).welcome
  })

  test('keeps it where it may name the other: what counts is the name that was agreed on', async () => {
    const bob = await started()
    const connection = await dial(await barePeer(), bob.transport)
    const channel = await BareChannel.open(connection, PLAIN.name, OTHER.name)
    expect(await channel.aborted).toEqual(failing('PROTOCOL'))
    expect(bob.accepted).toEqual([])
  })

  test('may be allowed none: then it may be connected, and nothing else', async () => {
    const bob = await started((_, protocol) => protocol === undefined)
    const alice = await started()
    await expect(open(alice, bob, PLAIN.name)).rejects.toEqual(failing('DENIED'))
    // Staying connected is a channel like others.
    const keeper = await started(undefined, { bootstrap: [...bob.where.addresses] })
    await expect(open(keeper, bob, PLAIN.name)).rejects.toEqual(failing('DENIED'))
    expect(bob.accepted).toEqual([])
  })
})

describe('revocation', () => {
  test('disconnect closes what is open, whoever opened it, and what was only begun', async () => {
    const admitted = new Set<PeerId>()
    const bob = await started((peer) => admitted.has(peer))
    const alice = await started()
    const mallory = await barePeer()
    for (const peer of [alice.transport.id, String(mallory.peerId)]) admitted.add(peer)
    const bystander = await started()
    admitted.add(bystander.transport.id)
    const unmoved = await open(bystander, bob, PLAIN.name)
    const theirs = [await open(alice, bob, PLAIN.name), await open(alice, bob, OTHER.name)]
    const ours = await bob.transport.open(alice.transport.id, PLAIN.name)
    const connection = await dial(mallory, bob.transport)
    const begun = new BareChannel(await connection.newStream(PLAIN.name, UNLIMITED))
    const held = await BareChannel.open(connection, PLAIN.name)
    await held.welcome

    admitted.clear()
    admitted.add(bystander.transport.id)
    const before = bob.accepted.length
    await Promise.all([bob.transport.disconnect(alice.transport.id), bob.transport.disconnect(String(mallory.peerId))])
    for (const channel of [...theirs, ours, ...alice.accepted]) {
      expect((await channel.closed).error).toBeInstanceOf(Error)
    }
    await Promise.all([begun.closed, held.closed])
    if (connection.status === 'open') await once(connection as unknown as EventTarget, 'close')

    // Nothing new, in neither direction.
    await expect(open(alice, bob, PLAIN.name)).rejects.toEqual(failing('DENIED'))
    await expect(open(bob, alice, PLAIN.name)).rejects.toEqual(failing('DENIED'))
    const again = await dial(mallory, bob.transport).catch(() => undefined)
    if (again) await expect(again.newStream(PLAIN.name)).rejects.toThrow()
    expect(bob.accepted).toHaveLength(before)
    await works(unmoved)
  })

  test('over a connection that survives nothing new is opened: not a channel, not one that was begun before', async () => {
    const admitted = new Set<PeerId>()
    // One that answers for protocols without another look at the peer: that look is not its alone.
    const bob = await started((peer, protocol) => protocol !== undefined || admitted.has(peer))
    const alice = await started()
    const mallory = await barePeer()
    for (const peer of [alice.transport.id, String(mallory.peerId)]) admitted.add(peer)
    const channel = await open(alice, bob, PLAIN.name)
    const connection = await dial(mallory, bob.transport)
    const begun = new BareChannel(await connection.newStream(PLAIN.name, UNLIMITED))
    await (
      await BareChannel.open(connection, OTHER.name)
    ).welcome
    const before = bob.accepted.length

    admitted.clear()
    begun.hello(PLAIN.name)
    expect(await begun.aborted).toEqual(failing('DENIED'))
    expect(await (await BareChannel.open(connection, OTHER.name)).aborted).toEqual(failing('DENIED'))
    await expect(open(alice, bob, OTHER.name)).rejects.toEqual(failing('DENIED'))
    await expect(open(bob, alice, OTHER.name)).rejects.toEqual(failing('DENIED'))
    expect(bob.accepted).toHaveLength(before)
    // What was open is the holder's to end: disconnect is the one that does.
    await works(channel)
  })

  test('of one protocol leaves the others', async () => {
    const allowed = new Set([PLAIN.name, OTHER.name])
    const bob = await started((_, protocol) => protocol === undefined || allowed.has(protocol))
    const alice = await started()
    await open(alice, bob, OTHER.name)
    allowed.delete(OTHER.name)
    await expect(open(alice, bob, OTHER.name)).rejects.toEqual(failing('DENIED'))
    await works(await open(alice, bob, PLAIN.name))
  })
})

describe('an impostor', () => {
  test('at an address we knew is found out, gets nothing, and cannot use the line in the other direction', async () => {
    const bob = await started()
    // Only dials: the one way to it is a connection it has made.
    const alice = await started(undefined, {})
    await works(await open(alice, bob, PLAIN.name))
    const [address] = bob.where.addresses
    await bob.transport.close()
    const eve = await started(undefined, { listen: [address!.split('/p2p/')[0]!] })

    // What was remembered may have a new owner, and is no reason to give up; what is said is somebody's mistake.
    await expect(open(alice, bob, PLAIN.name, { addresses: [] })).rejects.toEqual(failing('PEER_UNREACHABLE'))
    for (const where of [bob.where, { addresses: [address!.split('/p2p/')[0]!] }]) {
      await expect(open(alice, bob, PLAIN.name, where)).rejects.toEqual(failing('PROTOCOL'))
    }
    expect(eve.accepted).toEqual([])
    await expect(eve.transport.open(alice.transport.id, PLAIN.name)).rejects.toEqual(
      expect.objectContaining({ code: expect.stringMatching(/^(PEER_UNREACHABLE|DENIED)$/) as string }),
    )
    expect(alice.accepted).toEqual([])
    expect(alice.asked.some(({ peer }) => peer === eve.transport.id)).toBe(false)
  })

  test('that only copies bytes, or answers with others, is no peer', async () => {
    const bob = await started()
    const alice = await started()
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (bytes) => socket.write(bytes)) // what it says itself
    })
    const port = await listening(server)
    await expect(open(alice, bob, PLAIN.name, { addresses: [`/ip4/127.0.0.1/tcp/${port}`] })).rejects.toEqual(
      expect.objectContaining({ code: expect.stringMatching(/^(PEER_UNREACHABLE|PROTOCOL|DENIED)$/) as string }),
    )
    expect(bob.asked).toEqual([])
  })
})

describe('limits of a peer', () => {
  test('leave the others’ room alone: channels of a protocol', async () => {
    const bob = await started()
    const [alice, carol] = [await started(), await started()]
    const mine = [await open(alice, bob, FEW.name), await open(alice, bob, FEW.name)]
    await expect(open(alice, bob, FEW.name)).rejects.toEqual(failing('DENIED'))
    const theirs = [await open(carol, bob, FEW.name), await open(carol, bob, FEW.name)]
    await expect(open(carol, bob, FEW.name)).rejects.toEqual(failing('DENIED'))
    // What bob opens himself is not alice's to count.
    await works(await bob.transport.open(alice.transport.id, FEW.name))
    for (const channel of [...mine, ...theirs]) await works(channel)
    mine[0]!.abort()
    await mine[0]!.closed
    await works(await open(alice, bob, FEW.name))
  })

  test('leave the others’ room alone: streams that say nothing', async () => {
    const bob = await started()
    const alice = await started()
    const connection = await dial(await barePeer(), bob.transport)
    const silent = await Promise.all(
      Array.from(
        { length: MAX_UNANNOUNCED + 16 },
        async () => new BareChannel(await connection.newStream(PLAIN.name, UNLIMITED)),
      ),
    )
    // One too many is told so at once, and not after the handshake's time.
    const refused = await Promise.all(silent.slice(MAX_UNANNOUNCED).map(({ aborted }) => aborted))
    for (const error of refused) expect(error).toEqual(failing('DENIED'))
    await works(await open(alice, bob, PLAIN.name))
    // One that says something now is served, and makes room.
    silent[0]!.hello(PLAIN.name)
    await silent[0]!.welcome
    await (
      await BareChannel.open(connection, PLAIN.name)
    ).welcome
  })
})

/** Sockets of this process: both ends of the connections between transports of one test. */
function sockets(): number {
  return process.getActiveResourcesInfo().filter((it) => it === 'TCPSocketWrap').length
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  return (server.address() as { port: number }).port
}
