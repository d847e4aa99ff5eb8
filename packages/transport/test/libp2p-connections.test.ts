// Finding peers and keeping connections: names, remembered addresses, patience, bootstrap, one connection a pair, idleness.

import { type AddressInfo, type Socket, connect, createServer } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Channel, TransportHost } from '../src/index.ts'
import { type Identity, type Libp2pOptions, createIdentity, libp2p } from '../src/libp2p.ts'
import { PLAIN, echo, failing, host } from './suites/transport.suite.ts'

const LOOPBACK = '/ip4/127.0.0.1/tcp/0'

async function started(options: Libp2pOptions = {}, changes: Partial<TransportHost> = {}) {
  const transport = libp2p({ listen: [LOOPBACK], ...options })
  onTestFinished(() => transport.close())
  const its = host(changes)
  await transport.start(its)
  return { transport, its }
}

/** A loopback port that nobody has now. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Says something both ways; the channel works. */
async function works(channel: Channel, far: Promise<Channel>): Promise<void> {
  void echo(await far)
  await channel.send('there?')
  expect(await channel[Symbol.asyncIterator]().next()).toEqual({ done: false, value: 'there?' })
}

describe('a peer is reached', () => {
  test('by a name of ours, by an address that says whose it is, and by its id', async () => {
    const bob = await started()
    const alice = await started({ peers: { server01: bob.transport.addresses } })
    for (const to of ['server01', bob.transport.addresses[0]!, bob.transport.id]) {
      const channel = await alice.transport.open(to, PLAIN.name)
      expect(channel.peer).toBe(bob.transport.id)
      await works(channel, bob.its.next())
    }
    await alice.transport.disconnect('server01')
    await expect(alice.transport.open('server02', PLAIN.name)).rejects.toEqual(failing('MALFORMED'))
    await expect(alice.transport.open('/ip4/127.0.0.1/tcp/1', PLAIN.name)).rejects.toEqual(failing('MALFORMED'))
  })

  test('whatever its clock is set to: two days back, and years before it was started', async () => {
    const bob = await started()
    const alice = await started({ peers: { bob: bob.transport.addresses } })
    onTestFinished(() => void vi.useRealTimers())
    for (const now of [Date.now() - 2 * 86_400_000, Date.UTC(1980, 0)]) {
      vi.useFakeTimers({ toFake: ['Date'], now })
      await works(await alice.transport.open('bob', PLAIN.name), bob.its.next())
      await alice.transport.disconnect('bob')
    }
  })

  test('names and bootstrap addresses that are none are refused before anything is dialled', () => {
    const address = '/ip4/127.0.0.1/tcp/4001'
    expect(() => libp2p({ peers: { a: [address] } })).toThrow(expect.objectContaining({ code: 'MALFORMED' }) as Error)
    expect(() => libp2p({ peers: { a: [] } })).toThrow(expect.objectContaining({ code: 'MALFORMED' }) as Error)
    expect(() => libp2p({ bootstrap: [address] })).toThrow(expect.objectContaining({ code: 'MALFORMED' }) as Error)
    expect(() => libp2p({ bootstrap: ['x'] })).toThrow(expect.objectContaining({ code: 'MALFORMED' }) as Error)
  })

  test('by its id alone where it was reached before, and where it has dialled us and said where it listens', async () => {
    const [alice, bob, carol] = [await started(), await started(), await started()]
    await alice.transport.open(bob.transport.id, PLAIN.name, { addresses: bob.transport.addresses })
    await alice.transport.disconnect(bob.transport.id)
    await alice.transport.open(bob.transport.id, PLAIN.name)
    await carol.transport.open(alice.transport.id, PLAIN.name, { addresses: alice.transport.addresses })
    await carol.transport.disconnect(alice.transport.id)
    await vi.waitFor(() => alice.transport.open(carol.transport.id, PLAIN.name))
  })

  test('at the address that works, when somebody else answers at one that was only heard of', async () => {
    const identity = await createIdentity()
    const first = await started({ identity })
    const alice = await started()
    // Bob says where he listens, then moves; Mallory takes the port.
    await first.transport.open(alice.transport.id, PLAIN.name, { addresses: alice.transport.addresses })
    await first.transport.disconnect(alice.transport.id)
    const old = first.transport.addresses[0]!.split('/p2p/')[0]!
    await first.transport.close()
    const mallory = await started({ listen: [old] })
    const bob = await started({ identity })
    await expect(alice.transport.open(identity.id, PLAIN.name)).rejects.toEqual(failing('PEER_UNREACHABLE'))
    const channel = await alice.transport.open(identity.id, PLAIN.name, { addresses: bob.transport.addresses })
    await works(channel, bob.its.next())
    expect(mallory.its.accepted).toBe(0)
  })
})

/** A wire to a port, which can be cut: then it carries nothing, not even an end. */
async function wireTo(port: number): Promise<{ port: number; cut(): void }> {
  let cut = false
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('data', (bytes) => void (cut || other.write(bytes)))
      one.on('end', () => void (cut || other.end()))
      one.on('close', () => void (cut || other.destroy()))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, cut: () => (cut = true) }
}

describe('a peer that comes back while we have not noticed that it was gone', () => {
  test('is reached over its new connection, which outlives the old one', async () => {
    const beating = { name: '/test/beating/1', maxFrame: 1024, heartbeat: { interval: 100, suspicion: 1_500 } }
    const protocols = [PLAIN, beating]
    const server = await started({}, { protocols })
    const wire = await wireTo(Number(server.transport.addresses[0]!.split('/')[4]))
    const via = `/ip4/127.0.0.1/tcp/${wire.port}/p2p/${server.transport.id}`
    const identity = await createIdentity()
    const first = await started({ identity, listen: [] }, { protocols })
    await first.transport.open(via, beating.name)
    const old = await server.its.next()
    wire.cut()
    // Not close(): that would be told, were there still a wire. This one simply is not asked any more.
    const second = await started({ identity, listen: [] }, { protocols })
    const channel = await second.transport.open(server.transport.addresses[0]!, PLAIN.name)
    await works(channel, server.its.next())
    const back = await server.transport.open(identity.id, PLAIN.name)
    await works(back, second.its.next())
    expect((await old.closed).error).toEqual(failing('PEER_UNREACHABLE'))
    for (const it of [channel, back]) await it.send('still here')
  })

  test('and has moved, is found where it said it is, although somebody else lives where it was', async () => {
    const alice = await started()
    const identity = await createIdentity()
    const before = await started({ identity })
    const old = before.transport.addresses[0]!.split('/p2p/')[0]!
    await alice.transport.open(before.transport.addresses[0]!, PLAIN.name) // worked, and is remembered
    await before.transport.close()
    await started({ listen: [old] })
    const after = await started({ identity })
    await after.transport.open(alice.transport.id, PLAIN.name, { addresses: alice.transport.addresses })
    await after.transport.disconnect(alice.transport.id)
    await works(await alice.transport.open(identity.id, PLAIN.name, { patience: 20_000 }), after.its.next())
  })
})

describe('patience', () => {
  async function absent(): Promise<{ identity: Identity; address: string }> {
    return { identity: await createIdentity(), address: `/ip4/127.0.0.1/tcp/${await freePort()}` }
  }

  test('waits for a peer that is not there yet', async () => {
    const { identity, address } = await absent()
    const alice = await started()
    const opening = alice.transport.open(identity.id, PLAIN.name, { addresses: [address], patience: 60_000 })
    await expect(alice.transport.open(identity.id, PLAIN.name, { addresses: [address] })).rejects.toEqual(
      failing('PEER_UNREACHABLE'),
    )
    const bob = await started({ identity, listen: [address] })
    await works(await opening, bob.its.next())
  })

  test('goes on at once when the peer comes by itself', async () => {
    const alice = await started()
    const identity = await createIdentity()
    const opening = alice.transport.open(identity.id, PLAIN.name, { patience: 600_000 })
    const bob = await started({ identity, listen: [] })
    await bob.transport.open(alice.transport.id, PLAIN.name, { addresses: alice.transport.addresses })
    await works(await opening, bob.its.next())
  })

  test('ends with the last failure, with the signal, and with the transport', async () => {
    const { identity, address } = await absent()
    const alice = await started()
    const open = (patience: number, signal?: AbortSignal) =>
      alice.transport.open(identity.id, PLAIN.name, { addresses: [address], patience, signal })
    await expect(open(300)).rejects.toEqual(failing('PEER_UNREACHABLE'))
    const controller = new AbortController()
    const givenUp = open(600_000, controller.signal)
    setTimeout(() => controller.abort(), 50)
    await expect(givenUp).rejects.toEqual(expect.objectContaining({ name: 'AbortError' }))
    const closed = open(600_000).catch((error: unknown) => error)
    // In a long pause: it ends with the transport, not with the pause.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    await alice.transport.close()
    expect(await Promise.race([closed, new Promise((resolve) => setImmediate(resolve))])).toEqual(
      failing('CHANNEL_CLOSED'),
    )
  })

  test.each(['hangs up', 'resets', 'speaks another language'])(
    'also waits where somebody answers who is no peer, and %s: a forwarded port, say',
    async (how) => {
      const { identity } = await absent()
      const forward = createServer((socket) => {
        socket.on('error', () => {}).resume()
        if (how === 'hangs up') socket.end()
        else if (how === 'resets') socket.resetAndDestroy()
        else socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
      })
      await new Promise<void>((resolve) => forward.listen(0, '127.0.0.1', resolve))
      const address = `/ip4/127.0.0.1/tcp/${(forward.address() as AddressInfo).port}`
      const alice = await started()
      const once = alice.transport.open(identity.id, PLAIN.name, { addresses: [address] })
      await expect(once).rejects.toEqual(failing('PEER_UNREACHABLE'))
      const opening = alice.transport.open(identity.id, PLAIN.name, { addresses: [address], patience: 60_000 })
      await new Promise((resolve) => forward.close(resolve))
      const bob = await started({ identity, listen: [address] })
      await works(await opening, bob.its.next())
    },
  )

  test('is not for refusals', async () => {
    const bob = await started({}, { admits: () => false })
    const alice = await started()
    await expect(alice.transport.open(bob.transport.addresses[0]!, PLAIN.name, { patience: 600_000 })).rejects.toEqual(
      failing('DENIED'),
    )
  })
})

describe('a bootstrap peer', () => {
  test('is connected from the start, and again when it comes back: it reaches us where nobody could dial us', async () => {
    const identity = await createIdentity()
    const address = `/ip4/127.0.0.1/tcp/${await freePort()}`
    const server = await started({ identity, listen: [address] })
    const laptop = await started({ listen: [], idle: 100, bootstrap: [`${address}/p2p/${identity.id}`] })
    const { id } = laptop.transport
    await works(await server.transport.open(id, PLAIN.name, { patience: 30_000 }), laptop.its.next())
    await server.transport.close()
    const again = await started({ identity, listen: [address] })
    await works(await again.transport.open(id, PLAIN.name, { patience: 30_000 }), laptop.its.next())
    // What keeps the connection is nobody's channel.
    expect(again.its.accepted + server.its.accepted).toBe(0)
    expect(laptop.its.accepted).toBe(2)
  })

  test('that does not admit us is asked again, now and then', async () => {
    const admitted = new Set<string>()
    const server = await started({}, { admits: (peer) => admitted.has(peer) })
    const laptop = await started({ listen: [], bootstrap: server.transport.addresses })
    admitted.add(laptop.transport.id)
    await works(await server.transport.open(laptop.transport.id, PLAIN.name, { patience: 30_000 }), laptop.its.next())
  })
})

describe('connections', () => {
  /** Connections between the two, as the operating system counts them for us: sockets of this process. */
  const sockets = (): number =>
    process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap' || name === 'TLSWrap').length

  test('of two peers that dial each other at once become one, and no channel is lost', async () => {
    const before = sockets()
    const [alice, bob] = [await started(), await started()]
    for (let round = 0; round < 20; round++) {
      const [there, back] = await Promise.all([
        alice.transport.open(bob.transport.id, PLAIN.name, { addresses: bob.transport.addresses }),
        bob.transport.open(alice.transport.id, PLAIN.name, { addresses: alice.transport.addresses }),
      ])
      await works(there, bob.its.next())
      await works(back, alice.its.next())
      for (const channel of [there, back]) await channel[Symbol.asyncDispose]()
      // The last word on which connection stays comes within a second or so; nothing is left of the other.
      const one = await alice.transport.open(bob.transport.id, PLAIN.name)
      const far = await bob.its.next()
      await vi.waitFor(() => expect(sockets() - before).toBe(2), { timeout: 5_000, interval: 20 })
      one.abort()
      await far.closed
      await alice.transport.disconnect(bob.transport.id)
      await vi.waitFor(() => expect(sockets() - before).toBe(0), { timeout: 5_000, interval: 20 })
    }
  })

  test('that carry no channel are closed when they have been idle, and dialled again when needed', async () => {
    const before = sockets()
    const [alice, bob] = [await started({ idle: 200 }), await started()]
    const channel = await alice.transport.open(bob.transport.addresses[0]!, PLAIN.name)
    const far = await bob.its.next()
    // A channel that says nothing keeps its connection.
    await new Promise((resolve) => setTimeout(resolve, 600))
    await channel.send(1)
    expect(await far[Symbol.asyncIterator]().next()).toEqual({ done: false, value: 1 })
    channel.abort()
    await vi.waitFor(() => expect(sockets()).toBe(before), { timeout: 5_000, interval: 20 })
    await works(await alice.transport.open(bob.transport.id, PLAIN.name), bob.its.next())
  })
})
