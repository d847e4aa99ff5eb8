// The fast path: TLS directly on the socket, between peers that have it and peers that do not.

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Connection, ConnectionGater, MultiaddrConnection, Stream } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { describe, expect, test, vi } from 'vitest'
import { type SocketConnection, directTcp } from '../src/direct-tcp.ts'
import {
  ECHO,
  SINK,
  type Stack,
  type TestNode,
  agreeOnTls,
  echoed,
  gone,
  rawListener,
  rawTcp,
  startNode,
} from './fixtures/direct-node.ts'

const MiB = 1024 * 1024

describe('TLS on the socket', () => {
  test('is what two peers that have it use, as libp2p names it', async () => {
    const [alice, bob] = [await startNode('direct+noise'), await startNode('direct+noise')]
    const connection = await alice.libp2p.dial(bob.address)
    expect(connection).toMatchObject({ encryption: '/tls/1.0.0', multiplexer: '/yamux/1.0.0', direction: 'outbound' })
    expect(connection.remoteAddr.toString()).toBe(bob.address.toString())
    expect(String(connection.remotePeer)).toBe(bob.id)
    const bytes = randomBytes(300_000)
    expect(bytes.equals(await echoed(connection, bytes))).toBe(true)
    expect([alice.direct.length, bob.direct.length]).toEqual([1, 1])
    const [back] = bob.libp2p.getConnections()
    expect(back).toMatchObject({ encryption: '/tls/1.0.0', multiplexer: '/yamux/1.0.0', direction: 'inbound' })
    expect(back!.remoteAddr.toString()).toMatch(new RegExp(`^/ip4/127\\.0\\.0\\.1/tcp/\\d+/p2p/${alice.id}$`))
  })

  const pairs: [Stack, Stack, string][] = [
    ['direct', 'tls', '/tls/1.0.0'],
    ['tls', 'direct', '/tls/1.0.0'],
    ['direct+noise', 'noise', '/noise'],
    ['noise', 'direct+noise', '/noise'],
    ['tls+noise', 'direct+noise', '/tls/1.0.0'],
    ['direct', 'tcp+direct', '/tls/1.0.0'],
    ['tcp+direct', 'direct', '/tls/1.0.0'],
    ['tcp+direct', 'tls', '/tls/1.0.0'],
  ]
  for (const [from, to, encryption] of pairs) {
    test(`${from} and ${to} understand each other, ${from} dialling`, async () => {
      const [alice, bob] = [await startNode(from), await startNode(to)]
      const connection = await alice.libp2p.dial(bob.address)
      expect(connection).toMatchObject({ encryption, multiplexer: '/yamux/1.0.0' })
      expect(String(connection.remotePeer)).toBe(bob.id)
      const bytes = randomBytes(300_000)
      expect(bytes.equals(await echoed(connection, bytes))).toBe(true)
      for (const [node, stack] of [
        [alice, from],
        [bob, to],
      ] as const) {
        const secured = encryption === '/tls/1.0.0'
        expect(node.direct.length).toBe(secured && stack.startsWith('direct') ? 1 : 0)
        expect(node.indirect.length).toBe(secured && stack === 'tcp+direct' ? 1 : 0)
      }
    })
  }

  test('proves every kind of key that peers have', async () => {
    const bob = await startNode('direct')
    for (const identity of [await generateKeyPair('secp256k1'), await generateKeyPair('RSA', 2048)]) {
      const alice = await startNode('direct', { identity })
      const connection = await alice.libp2p.dial(bob.address)
      await echoed(connection, new Uint8Array(1))
      expect(String(bob.opened.at(-1)!.remotePeer)).toBe(String(peerIdFromPrivateKey(identity)))
    }
  })

  test('ends a dial with an error when somebody else answers, and nothing reaches them', async () => {
    const [alice, bob, eve] = [await startNode('direct'), await startNode('direct'), await startNode('direct')]
    const address = multiaddr(`/ip4/127.0.0.1/tcp/${bob.port}/p2p/${eve.id}`)
    await expect(alice.libp2p.dial(address)).rejects.toMatchObject({
      name: 'EncryptionFailedError',
      message: 'Unexpected Peer',
    })
    expect(alice.muxed).toEqual([])
    // From Bob's side the handshake was a good one; the connection does not stay.
    await vi.waitFor(() => expect(bob.libp2p.getConnections()).toEqual([]))
    expect(bob.streams).toEqual([])
    expect(alice.libp2p.getConnections()).toEqual([])
  })

  test('asks the gater what libp2p asks, with the same and in the same order', async () => {
    const asked = async (stack: Stack): Promise<string[]> => {
      const questions: string[] = []
      const identities = [await generateKeyPair('Ed25519'), await generateKeyPair('Ed25519')] as const
      const names = new Map(identities.map((one, i) => [String(peerIdFromPrivateKey(one)), ['alice', 'bob'][i]!]))
      const name = (one: unknown): string => {
        if (typeof (one as { remoteAddr?: unknown }).remoteAddr === 'object') return 'connection'
        return (
          names.get(String(one)) ??
          String(one)
            .replace(/tcp\/\d+/, 'tcp')
            .replace(/12D3Koo\w+/, (id) => names.get(id)!)
        )
      }
      const gater = (who: string): ConnectionGater =>
        Object.fromEntries(
          [
            'denyDialPeer',
            'denyDialMultiaddr',
            'denyInboundConnection',
            'denyOutboundConnection',
            'denyInboundEncryptedConnection',
            'denyOutboundEncryptedConnection',
            'denyInboundUpgradedConnection',
            'denyOutboundUpgradedConnection',
          ].map((hook) => [
            hook,
            (...args: unknown[]) => {
              questions.push(`${who}: ${hook}(${args.map(name).join(', ')})`)
              return false
            },
          ]),
        )
      const alice = await startNode(stack, { gater: gater('alice'), identity: identities[0] })
      const bob = await startNode(stack, { gater: gater('bob'), identity: identities[1] })
      await echoed(await alice.libp2p.dial(bob.address), new Uint8Array(1))
      // Between the two sides there is no order.
      return questions.toSorted((a, b) => (a[0]! < b[0]! ? -1 : a[0]! > b[0]! ? 1 : 0))
    }
    const questions = await asked('direct')
    expect(questions.length).toBeGreaterThan(6)
    expect(questions).toEqual(await asked('tls'))
  })

  for (const hook of ['denyInboundConnection', 'denyInboundEncryptedConnection', 'denyInboundUpgradedConnection']) {
    test(`lets nobody in whom ${hook} refuses: no stream, no handler`, async () => {
      let refused = 0
      const [alice, bob] = [
        await startNode('direct'),
        await startNode('direct', { gater: { [hook]: () => ++refused > 0 } }),
      ]
      // The dialler may be through before it is refused; then the first stream says so.
      const attempt = alice.libp2p.dial(bob.address).then((connection) => connection.newStream(ECHO))
      await expect(attempt).rejects.toThrow()
      await vi.waitFor(() => expect(alice.libp2p.getConnections()).toEqual([]))
      expect(refused).toBe(1)
      expect(bob.streams).toEqual([])
      expect(bob.opened).toEqual([])
      expect(bob.muxed.length).toBe(hook === 'denyInboundUpgradedConnection' ? 1 : 0)
    })
  }

  for (const hook of ['denyOutboundEncryptedConnection', 'denyOutboundUpgradedConnection']) {
    test(`goes no further where ${hook} refuses`, async () => {
      const [alice, bob] = [await startNode('direct', { gater: { [hook]: () => true } }), await startNode('direct')]
      await expect(alice.libp2p.dial(bob.address)).rejects.toThrow(hook)
      await vi.waitFor(() => expect(bob.libp2p.getConnections()).toEqual([]))
      expect(alice.opened).toEqual([])
    })
  }

  test('gives up a dial at once when told to, in each of its phases', async () => {
    const alice = await startNode('direct')
    const silent = await rawListener(() => {})
    const halfway = await rawListener((socket) => void agreeOnTls(socket))
    for (const { address, sockets } of [silent, halfway]) {
      const giveUp = new AbortController()
      const dial = alice.libp2p.dial(address, { signal: giveUp.signal })
      await vi.waitFor(() => expect(sockets[0]?.bytesRead).toBeGreaterThan(address === halfway.address ? 200 : 0))
      giveUp.abort(new Error('enough'))
      await expect(dial).rejects.toThrow()
      await gone(sockets[0]!)
    }
    await expect(alice.libp2p.dial(silent.address, { signal: AbortSignal.abort() })).rejects.toThrow()
    expect(silent.sockets.length).toBe(1)
  })

  test('tells why it could not connect, or listen', async () => {
    const [alice, bob] = [await startNode('direct'), await startNode('direct')]
    await bob.libp2p.stop()
    await expect(alice.libp2p.dial(bob.address)).rejects.toThrow('ECONNREFUSED')
    const listen = [`/ip4/127.0.0.1/tcp/${alice.port}`]
    await expect(createLibp2p({ addresses: { listen }, transports: [directTcp()] })).rejects.toThrow('EADDRINUSE')
  })

  test('takes the addresses of TCP, and no others', () => {
    const transport = directTcp()(defaultComponents())
    const id = '/p2p/12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv'
    const good = ['/ip4/127.0.0.1/tcp/0', `/ip6/::1/tcp/4001${id}`, '/dns4/example.org/tcp/1', '/dns/example.org/tcp/1']
    const bad = [
      '/ip4/127.0.0.1/tcp/1/ws',
      '/ip4/127.0.0.1/udp/1',
      '/unix/a',
      `/ip4/1.2.3.4/tcp/1${id}/p2p-circuit`,
      id,
    ]
    expect(transport.dialFilter([...good, ...bad].map((one) => multiaddr(one))).map(String)).toEqual(good)
    expect(transport.listenFilter([...good, ...bad].map((one) => multiaddr(one))).map(String)).toEqual(good)
  })

  test('closes with its listener, whatever becomes of its connections', async () => {
    const accepted: MultiaddrConnection[] = []
    const upgradeInbound = async (connection: MultiaddrConnection): Promise<void> => void accepted.push(connection)
    const listener = directTcp()(defaultComponents()).createListener({ upgrader: { upgradeInbound } as never })
    const events: string[] = []
    for (const type of ['listening', 'close'] as const) listener.addEventListener(type, () => events.push(type))
    expect(listener.getAddrs()).toEqual([])
    await listener.close() // not listening: nothing to close
    await listener.listen(multiaddr('/ip4/127.0.0.1/tcp/0'))
    const [address] = listener.getAddrs()
    const socket = await rawTcp(Number(address!.getComponents()[1]!.value))
    await vi.waitFor(() => expect(accepted.length).toBe(1))
    await listener.close()
    await gone(socket)
    expect(accepted[0]!.status).toBe('closed')
    expect(events).toEqual(['listening', 'close'])
  })
})

describe('a connection with TLS on the socket', () => {
  async function connected(): Promise<{ alice: TestNode; bob: TestNode; connection: Connection; back: Connection }> {
    const [alice, bob] = [await startNode('direct'), await startNode('direct')]
    const connection = await alice.libp2p.dial(bob.address)
    await vi.waitFor(() => expect(bob.opened.length).toBe(1))
    return { alice, bob, connection, back: bob.opened[0]! }
  }

  test('carries bulk both ways at once, whole and in order', async () => {
    const { bob, connection, back } = await connected()
    const there = await connection.newStream(SINK)
    await vi.waitFor(() => expect(bob.streams.length).toBe(1))
    const here = bob.streams[0]!
    const sums = [there, here].map((stream) => {
      const hash = createHash('sha256')
      let length = 0
      const { promise, resolve } = Promise.withResolvers<string>()
      stream.addEventListener('message', ({ data }) => {
        for (const part of data instanceof Uint8Array ? [data] : data) hash.update(part)
        if ((length += data.byteLength) === 24 * MiB) resolve(hash.digest('hex'))
      })
      return promise
    })
    const sent = await Promise.all([pour(there, 24 * MiB), pour(here, 24 * MiB)])
    expect(await Promise.all(sums)).toEqual([sent[1], sent[0]])
    expect(back.status).toBe('open')
  })

  test('makes the sender wait for a reader that has stopped, and goes on where it was', async () => {
    const { alice, bob, connection } = await connected()
    const near = alice.direct[0]!
    const far = bob.direct[0]!
    // Many streams, so that it is the connection that fills up and not a stream's window (256 KiB at first).
    const streams = await Promise.all(Array.from({ length: 96 }, () => connection.newStream(SINK)))
    await vi.waitFor(() => expect(bob.streams.length).toBe(96))
    let received = 0
    for (const stream of bob.streams) stream.addEventListener('message', ({ data }) => (received += data.byteLength))
    far.pause()
    const payload = randomBytes(200 * 1024)
    const waiting = (): number => streams.reduce((sum, { writeBufferLength }) => sum + writeBufferLength, 0)
    let peak = 0
    for (const stream of streams) {
      stream.send(payload)
      peak = Math.max(peak, near.writeBufferLength)
    }
    for (let before = Infinity; waiting() < before;) {
      before = waiting()
      await delay(200) // for the kernel to fill up, on both sides
    }
    // What is beyond the kernel's buffers waits in the streams, not in the connection; and nothing on the other side.
    expect(waiting()).toBeGreaterThan(MiB)
    expect(Math.max(peak, near.writeBufferLength)).toBeLessThanOrEqual(MiB)
    expect(far.readBufferLength).toBeLessThanOrEqual(64 * 1024)
    expect(received).toBe(0)
    far.resume()
    await vi.waitFor(() => expect(received).toBe(96 * payload.length), 20_000)
  })

  test('ends when a peer asks on and on and never reads', async () => {
    const { alice, bob } = await connected()
    const near = alice.direct[0]!
    bob.direct[0]!.pause()
    const closed = once(near as never, 'close') as unknown as Promise<[{ error?: Error }]>
    // What nothing can hold back: yamux's answers.
    const answer = new Uint8Array(MiB)
    let sent = 0
    while (near.status === 'open' && sent < 128) {
      near.send(answer)
      sent++
      if (!near.writableNeedsDrain) await new Promise((resolve) => setImmediate(resolve))
    }
    expect((await closed)[0].error).toMatchObject({ name: 'StreamBufferError' })
    expect(sent).toBeLessThan(64)
    await vi.waitFor(() => expect(alice.libp2p.getConnections()).toEqual([]))
  })

  test('ends once, on both sides, however it is ended', async () => {
    const ways: ((near: Connection, far: Connection) => unknown)[] = [
      (near) => near.close(),
      (near) => near.abort(new Error('enough')),
      (near, far) => Promise.all([near.close(), far.close()]),
      (near, far) => [near.abort(new Error('enough')), far.abort(new Error('enough'))],
      (near, far) => [near.abort(new Error('enough')), far.close().catch(() => {})],
      (near, far) => [near.close().catch(() => {}), near.abort(new Error('enough')), far.close().catch(() => {})],
    ]
    const [alice, bob] = [await startNode('direct'), await startNode('direct')]
    for (const end of ways) {
      for (const busy of [false, true]) {
        const near = await alice.libp2p.dial(bob.address)
        const count = bob.opened.length
        const stream = await near.newStream(SINK)
        await vi.waitFor(() => expect(bob.opened.length).toBeGreaterThanOrEqual(count))
        const far = bob.opened.at(-1)!
        let ends = 0
        near.addEventListener('close', () => ends++)
        far.addEventListener('close', () => ends++)
        if (busy) for (let i = 0; i < 32; i++) stream.send(randomBytes(64 * 1024))
        await Promise.resolve(end(near, far)).catch(() => {})
        await vi.waitFor(() => expect(ends).toBe(2))
        await vi.waitFor(() => expect(bob.libp2p.getConnections().length).toBe(0))
        await vi.waitFor(() => expect(alice.libp2p.getConnections().length).toBe(0))
      }
    }
    await vi.waitFor(() => expect([...alice.direct, ...bob.direct].filter(open)).toEqual([]))
  })

  test('leaves no socket behind when it is reset in the middle of an orderly end', async () => {
    await vi.waitFor(() => expect(handles()).toEqual({}))
    const [alice, bob] = [await startNode('direct'), await startNode('direct')]
    for (let turns = 0; turns < 16; turns++) {
      await alice.libp2p.dial(bob.address)
      const near = alice.direct.at(-1)!
      const ended = near.sendClose()
      for (let i = 0; i < turns; i++)
        await (turns % 2 === 0 ? null : new Promise<void>((next) => process.nextTick(next)))
      near.abort(new Error('enough'))
      await ended.catch(() => {})
      await vi.waitFor(() => expect([...alice.libp2p.getConnections(), ...bob.libp2p.getConnections()]).toEqual([]))
    }
    await vi.waitFor(() => expect(handles()).toEqual({ TCPServerWrap: 2 }))
  })

  test('of a stopped node is gone, and so are handshakes that were under way', async () => {
    await vi.waitFor(() => expect(handles()).toEqual({})) // what other tests left is on its way out
    const [alice, bob] = [await startNode('direct'), await startNode('direct', { pending: 50 })]
    await alice.libp2p.dial(bob.address)
    const silent = await rawListener(() => {})
    const dial = alice.libp2p.dial(silent.address)
    dial.catch(() => {})
    const strangers: Socket[] = []
    for (let i = 0; i < 8; i++) {
      const socket = await rawTcp(bob.port)
      strangers.push(socket)
      if (i % 2 === 0) socket.write('\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n')
      if (i % 4 === 0) socket.write(Buffer.of(0x16, 3, 1, 2, 0, 1))
    }
    await vi.waitFor(() => expect(silent.sockets[0]?.bytesRead).toBeGreaterThan(0))
    await Promise.all([alice.libp2p.stop(), bob.libp2p.stop()])
    await expect(dial).rejects.toThrow()
    await Promise.all([...silent.sockets, ...strangers].map(gone))
    await vi.waitFor(() => expect(handles()).toEqual({ TCPServerWrap: 1 })) // this test's own
  })
})

/** What a transport is made from. */
function defaultComponents(): Parameters<ReturnType<typeof directTcp>>[0] {
  const log = Object.assign(() => {}, { error() {}, trace() {}, newScope: () => log, enabled: false })
  return { logger: { forComponent: () => log } }
}

function open(connection: SocketConnection): boolean {
  return connection.status === 'open'
}

function handles(): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) {
    if (/TCP|TLS|Shutdown|Write/.test(kind)) counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}

/** Sends so many random bytes, waiting whenever told to; their digest. */
async function pour(stream: Stream, length: number): Promise<string> {
  const hash = createHash('sha256')
  for (let sent = 0; sent < length; sent += 64 * 1024) {
    const bytes = randomBytes(64 * 1024)
    hash.update(bytes)
    if (!stream.send(bytes)) await drained(stream)
  }
  return hash.digest('hex')
}

/** `drain` tells of the connection, `idle` of the stream, and from within its sending. */
function drained(stream: Stream): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const look = (): void =>
    queueMicrotask(() => {
      if (stream.writableNeedsDrain || stream.writeBufferLength > 0) return
      stream.removeEventListener('drain', look)
      stream.removeEventListener('idle', look)
      resolve()
    })
  stream.addEventListener('drain', look)
  stream.addEventListener('idle', look)
  return promise
}
