// What libp2p, left to its defaults and helpers, does to a mesh of busy peers. Each trap is named by what one falls into
// and by the part of the reference (section of libp2p's facts and traps) that tells of it; each test walks into it through
// our transport, the other side where it matters a bare libp2p with settings of its own.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, IdentifyResult } from '@libp2p/interface'
import type { YamuxMuxerInit } from '@libp2p/yamux'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Channel, type Protocol, type Transport, type TransportHost } from '../src/index.ts'
import { libp2p } from '../src/libp2p.ts'
import { BareChannel, UNLIMITED, barePeer, dial } from './fixtures/bare-peer.ts'
import { PLAIN, echo, failing, host } from './suites/transport.suite.ts'

const LOOPBACK = '/ip4/127.0.0.1/tcp/0'
const KiB = 1024
const MiB = 1024 * KiB
/** Values larger than anything libp2p's helpers take. */
const BULK: Protocol = { name: '/test/bulk/1', maxFrame: 16 * MiB }
/** More channels at once than libp2p lets through by default: 32 in, 64 out. */
const MANY: Protocol = { name: '/test/many/1', maxFrame: KiB, maxChannels: 200 }
const PROTOCOLS = [PLAIN, BULK, MANY]
/**
 * What may be under way on one channel: 256 KiB and a write at the sender, yamux' window of 1 MiB, 256 KiB at the reader,
 * and the values being handed over. What falls into a trap passes this by tens of MiB.
 */
const UNDER_WAY = 2.5 * MiB

type Place = { transport: Transport; its: ReturnType<typeof host>; where: { addresses: readonly string[] } }

async function started(changes: Partial<TransportHost> = {}): Promise<Place> {
  const transport = libp2p({ listen: [LOOPBACK] })
  onTestFinished(() => transport.close())
  const its = host({ protocols: PROTOCOLS, ...changes })
  await transport.start(its)
  return { transport, its, where: { addresses: transport.addresses } }
}

/** Two places and a way to open channels between them. */
async function two(): Promise<{ alice: Place; bob: Place; pair: (protocol: Protocol) => Promise<[Channel, Channel]> }> {
  const [alice, bob] = [await started(), await started()]
  return {
    alice,
    bob,
    async pair(protocol) {
      const near = await alice.transport.open(bob.transport.id, protocol.name, bob.where)
      return [near, await bob.its.next()]
    },
  }
}

/** A channel still does what a channel is for. */
async function works(near: Channel, far: Channel): Promise<void> {
  void echo(far)
  await answers(near)
}

async function answers(channel: Channel): Promise<void> {
  await channel.send('works')
  expect(await channel[Symbol.asyncIterator]().next()).toEqual({ done: false, value: 'works' })
}

/** Opens so many, each wave as wide as a peer may be before it has said what it wants. */
async function inWaves(count: number, open: () => Promise<Channel>): Promise<Channel[]> {
  const channels: Channel[] = []
  while (channels.length < count) {
    const width = Math.min(60, count - channels.length)
    channels.push(...(await Promise.all(Array.from({ length: width }, open))))
  }
  return channels
}

/** Waits until a count stands still, for `turns` looks in a row. */
async function stalled(count: () => number, turns = 4): Promise<number> {
  for (let seen = -1, same = 0; same < turns; await delay(25)) {
    same = count() === seen ? same + 1 : 0
    seen = count()
  }
  return count()
}

describe('waiting for room', () => {
  test('onDrain() waits once and never again (1.3): of 60 MiB to a slow reader, little is ever under way', async () => {
    const { pair } = await two()
    const [near, far] = await pair(BULK)
    const size = 60 * KiB
    const total = Math.ceil((60 * MiB) / size)
    let sent = 0
    const sending = (async () => {
      const value = new Uint8Array(size)
      for (; sent < total; sent++) await near.send(value)
      await near.end()
    })()
    let read = 0
    let most = 0
    for await (const value of far) {
      read += (value as Uint8Array).length / size
      most = Math.max(most, sent - read)
      // Slower than any sender: every so often it stands still until the sender does too.
      if (read % 100 === 0) await stalled(() => sent, 1)
      most = Math.max(most, sent - read)
    }
    await sending
    expect(read).toBe(total)
    expect(most * size).toBeLessThan(UNDER_WAY)
  })

  test('drain is told to every stream when the connection has room (1.2, 1.4): one that is not read takes no more for it', async () => {
    const { pair } = await two()
    const [near, far] = await pair(BULK)
    const [busy, busyFar] = await pair(BULK)
    const size = 32 * KiB
    const total = 800
    let sent = 0
    const sending = (async () => {
      for (; sent < total; sent++) await near.send(new Uint8Array(size))
      await near.end()
    })()
    await stalled(() => sent)
    const pouring = (async () => {
      for (let i = 0; i < 120; i++) await busy.send(new Uint8Array(512 * KiB))
      await busy.end()
    })()
    for await (const _ of busyFar) expect(sent * size).toBeLessThan(UNDER_WAY)
    await pouring
    let read = 0
    for await (const _ of far) read++
    expect(read).toBe(total)
    await sending
  })
})

describe('reading', () => {
  test('for await takes in without bound, and a pause of a busy stream ends it (1.3): neither, for a bare peer that pours', async () => {
    const { transport, its } = await started()
    const node = await barePeer()
    const bare = await BareChannel.open(await dial(node, transport), BULK.name)
    const size = 32 * KiB
    const total = 2_000
    const channel = await its.next()
    const values = channel[Symbol.asyncIterator]()
    let read = 0
    const readTo = async (count: number): Promise<void> => {
      for (; read < count; read++) expect((await values.next()).done).toBe(false)
    }
    bare.pour(total, size)
    // Busy first, and again: the reader's window has grown as far as it may whenever the reading stops.
    for (let round = 1; round <= 4; round++) {
      await readTo(round * 400)
      expect((await stalled(() => bare.left)) - read * size).toBeLessThan(UNDER_WAY)
      expect(bare.stream.status).toBe('open')
    }
    await readTo(total)
    await channel.send('still here')
    await bare.arrived(1)
  })

  test('4 MiB are the most that lpStream takes (1.3): 12 MiB pass, both ways', async () => {
    const { pair } = await two()
    const [near, far] = await pair(BULK)
    const large = new Uint8Array(12 * MiB).map((_, i) => i >> 8)
    void echo(far)
    await near.send(large)
    const { value } = await near[Symbol.asyncIterator]().next()
    expect(Buffer.compare(value as Uint8Array, large)).toBe(0)
  })
})

describe('windows', () => {
  test.each<[string, YamuxMuxerInit | undefined]>([
    ['of libp2p’s defaults', undefined],
    ['that takes more at once than it says', { streamOptions: { initialStreamWindowSize: MiB } }],
    ['that never lets its window grow', { streamOptions: { maxStreamWindowSize: 256 * KiB } }],
  ])('a first window is not negotiated (1.4): 8 MiB at once do not overrun a peer %s', async (_, muxer) => {
    const { transport, its } = await started()
    const bare = await BareChannel.open(await dial(await barePeer(muxer && { muxer }), transport), BULK.name)
    bare.stream.pause()
    const channel = await its.next()
    const sends = Array.from({ length: 4 }, () => channel.send(new Uint8Array(2 * MiB)))
    await stalled(() => bare.stream.readBufferLength)
    expect(bare.stream.status).toBe('open')
    bare.stream.resume()
    await bare.arrived(4)
    await Promise.all(sends)
    // And the other way round it may send as much as it likes, which is less than it could.
    if (muxer?.streamOptions?.initialStreamWindowSize === undefined) {
      bare.pour(8, MiB)
      let read = 0
      for await (const _ of channel) if (++read === 8) break
    }
  })

  test('who starts with a larger window than the rest of the world loses its connection (1.4), and nobody else does', async () => {
    const { alice, bob, pair } = await two()
    const [near, far] = await pair(PLAIN)
    const node = await barePeer({ muxer: { streamOptions: { initialStreamWindowSize: MiB } } })
    const bare = await BareChannel.open(await dial(node, bob.transport), BULK.name)
    const channel = await bob.its.next()
    bare.value(MiB - KiB)
    await bare.closed
    expect((await channel.closed).error).toEqual(failing('PEER_UNREACHABLE'))
    await works(near, far)
    const again = await BareChannel.open(await dial(node, bob.transport), PLAIN.name)
    await again.welcome
    expect(alice.its.accepted).toBe(0)
  })
})

describe('many streams', () => {
  test('32 in and 64 out of a protocol is all that libp2p takes (1.5): 200 channels both ways at once, right after dialling', async () => {
    const { alice, bob } = await two()
    const near = await inWaves(200, () => alice.transport.open(bob.transport.id, MANY.name, bob.where))
    const far = await Promise.all(near.map(() => bob.its.next()))
    // Those opened by the side that was dialled go over the same connection: it has no address.
    await inWaves(200, () => bob.transport.open(alice.transport.id, MANY.name))
    for (const channel of far) void echo(channel)
    for (const channel of near) {
      await channel.send(1)
      expect((await channel[Symbol.asyncIterator]().next()).value).toBe(1)
    }
  })

  test('streams opened at once on a fresh connection count as early and end it at 10 (1.4): 300 of a bare peer are each answered, with a reason', async () => {
    const { transport } = await started()
    const connection = await dial(await barePeer(), transport)
    // Behind one another on the wire, without waiting for anything.
    const channels = await Promise.all(
      Array.from({ length: 300 }, () => BareChannel.open(connection, PLAIN.name).catch((error: Error) => error)),
    )
    let welcome = 0
    const refused: unknown[] = []
    await Promise.all(
      channels.map((channel) => {
        if (channel instanceof Error) throw channel
        return Promise.race([
          channel.welcome.then(() => void welcome++),
          channel.aborted.then((error) => void refused.push(error)),
          channel.closed.then((error) => {
            throw new Error('reset without a word', { cause: error })
          }),
        ])
      }),
    )
    expect(welcome).toBe(64)
    expect(refused).toEqual(Array.from({ length: 236 }, () => failing('DENIED')))
    expect(connection.status).toBe('open')
  })

  test('the 1001st stream of a connection is one too many (1.4): an error with a code, and only until one is closed', async () => {
    const node = await barePeer({
      addresses: { listen: [LOOPBACK] },
      muxer: { maxInboundStreams: 5_000, maxOutboundStreams: 5_000 },
    })
    await node.handle(PLAIN.name, (stream) => new BareChannel(stream).takeOver(), UNLIMITED)
    const { transport } = await started()
    const where = { addresses: node.getMultiaddrs().map(String) }
    const open = (): Promise<Channel> => transport.open(String(node.peerId), PLAIN.name, where)
    const channels = await inWaves(980, open)
    let refusal: unknown
    while (refusal === undefined && channels.length <= 1000) {
      await open().then(
        (channel) => channels.push(channel),
        (error: unknown) => (refusal = error),
      )
    }
    expect(refusal).toEqual(failing('DENIED'))
    expect(channels.length).toBeLessThanOrEqual(1000)
    channels.pop()!.abort()
    // The bare peer does not let go of its side: the stream is ours to drop, a second later.
    await vi.waitFor(async () => channels.push(await open()), { timeout: 10_000 })
    for (const channel of channels) await channel.send(1)
  })

  test('a stream closed by one side alone stays for ever (1.2): ours close with the other side, whatever it had said', async () => {
    const { transport, its } = await started()
    const connection = await dial(await barePeer(), transport)
    const silent = await Promise.all(Array.from({ length: 30 }, () => connection.newStream(PLAIN.name, UNLIMITED)))
    const spoken = await Promise.all(Array.from({ length: 30 }, () => BareChannel.open(connection, PLAIN.name)))
    await Promise.all(spoken.map(({ welcome }) => welcome))
    const bare = [...silent, ...spoken.map(({ stream }) => stream)]
    const gone = bare.map((stream) => once(stream as unknown as EventTarget, 'close'))
    await Promise.all(bare.map((stream) => stream.close()))
    await Promise.all(gone)
    for (const _ of spoken) {
      expect((await (await its.next()).closed).error).toEqual(failing('PEER_UNREACHABLE'))
    }
    // All of them gone over there too, or there would be no place.
    const again = await Promise.all(Array.from({ length: 64 }, () => BareChannel.open(connection, PLAIN.name)))
    await Promise.all(again.map(({ welcome }) => welcome))
  })

  test('a stream that only we close stays too (1.2): an end in order does not wait for ever for a peer that never closes', async () => {
    const { transport, its } = await started()
    const bare = await BareChannel.open(await dial(await barePeer(), transport), PLAIN.name)
    const channel = await its.next()
    bare.end()
    void channel.end()
    await bare.ended
    // Both have said all they had to; the bare peer keeps its side of the stream open.
    await channel.closed
    await bare.closed
  })

  test('a stream may be reset before anybody could listen for it (1.1): open fails, with a code, each time', async () => {
    const node = await barePeer({ addresses: { listen: [LOOPBACK] } })
    let asked = 0
    await node.handle(
      PLAIN.name,
      (stream) => {
        asked++
        stream.abort(new Error('no'))
      },
      UNLIMITED,
    )
    await node.handle(MANY.name, (stream) => new BareChannel(stream).takeOver(), UNLIMITED)
    const { transport } = await started()
    const where = { addresses: node.getMultiaddrs().map(String) }
    const other = await transport.open(String(node.peerId), MANY.name, where)
    const opens = Array.from({ length: 20 }, () => transport.open(String(node.peerId), PLAIN.name, where))
    for (const it of await Promise.allSettled(opens)) {
      expect(it).toEqual({
        status: 'rejected',
        reason: expect.objectContaining({ code: expect.any(String) as string }),
      })
    }
    expect(asked).toBeGreaterThanOrEqual(20)
    await other.send('unmoved')
  })

  test('nothing ends a stream that says nothing (1.2, 4): both ends of one give up after the handshake’s time', async () => {
    const node = await barePeer({ addresses: { listen: [LOOPBACK] } })
    await node.handle(PLAIN.name, (stream) => void new BareChannel(stream), UNLIMITED)
    const { transport, its } = await started()
    const connection = await dial(node, transport)
    const dumb = new BareChannel(await connection.newStream(PLAIN.name, UNLIMITED))
    // Byte by byte is as good as nothing: a HELLO that is never whole.
    const dribbling = new BareChannel(await connection.newStream(PLAIN.name, UNLIMITED))
    const dribble = setInterval(() => {
      if (dribbling.stream.status === 'open') dribbling.stream.send(new Uint8Array(0))
    }, 500)
    dribbling.stream.send(Uint8Array.of(0x81, 0, 0))
    onTestFinished(() => clearInterval(dribble))
    const where = { addresses: node.getMultiaddrs().map(String) }
    const asking = transport.open(String(node.peerId), PLAIN.name, where)
    await Promise.all([expect(asking).rejects.toEqual(failing('PEER_UNREACHABLE')), dumb.closed, dribbling.closed])
    expect(its.accepted).toBe(0)
  })

  test('an exception in a listener ends the process (1.2): not one that the host throws, wherever it is asked', async () => {
    const program = `
      import { libp2p } from ${JSON.stringify(new URL('../src/libp2p.ts', import.meta.url).href)}
      const transport = libp2p({ listen: ['${LOOPBACK}'] })
      let throwing = 'nothing'
      const perhaps = (what) => { if (throwing === what) throw new Error('the host failed') }
      await transport.start({
        protocols: ${JSON.stringify(PROTOCOLS)},
        admits(peer, protocol) { perhaps(protocol === undefined ? 'admits' : 'admits protocol'); return true },
        accept(channel) {
          perhaps('accept')
          void (async () => {
            for await (const value of channel) {
              if (channel.protocol === '${PLAIN.name}') throwing = value
              await channel.send(value)
            }
          })().catch(() => {})
        },
      })
      console.log(JSON.stringify({ id: transport.id, addresses: transport.addresses }))
      process.stdin.resume().on('end', () => process.exit(0))
    `
    const child = spawn(process.execPath, ['--conditions=source', '--input-type=module-typescript', '-e', program], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
    const place = JSON.parse(line) as { id: string; addresses: string[] }
    const { transport } = await started()
    const steering = await transport.open(place.id, PLAIN.name, place)
    const values = steering[Symbol.asyncIterator]()
    const order = async (what: string): Promise<void> => {
      await steering.send(what)
      expect((await values.next()).value).toBe(what)
    }
    const stranger = await started()
    for (const what of ['accept', 'admits protocol', 'admits']) {
      await order(what)
      // The one peer asks over a connection that is there, the other for one.
      for (const { transport: by } of [{ transport }, stranger]) {
        await expect(by.open(place.id, BULK.name, place)).rejects.toEqual(
          expect.objectContaining({ code: expect.any(String) as string }),
        )
      }
      await order('nothing')
      await answers(await stranger.transport.open(place.id, BULK.name, place))
    }
    child.stdin.end()
    expect(await once(child, 'exit')).toEqual([0, null])
  })
})

describe('connections', () => {
  test('5 a second from one address, 10 handshakes at a time is all that libp2p takes (1.5): 30 peers dial at once', async () => {
    const { transport, its, where } = await started()
    const dialers = await Promise.all(Array.from({ length: 30 }, () => started()))
    const channels = await Promise.all(dialers.map((it) => it.transport.open(transport.id, PLAIN.name, where)))
    for (const channel of channels) await works(channel, await its.next())
  })

  test.each([
    ['goes away in order', (muxer: Muxer) => muxer.sendGoAway(0)],
    ['goes away with an error', (muxer: Muxer) => muxer.sendGoAway(2)],
  ])(
    'a connection whose muxer is closed says that it is open (1.4): a peer that %s is dialled anew',
    async (_, goAway) => {
      const node = await barePeer({ addresses: { listen: [LOOPBACK] } })
      await node.handle(PLAIN.name, (stream) => new BareChannel(stream).takeOver(), UNLIMITED)
      const { transport } = await started()
      const where = { addresses: node.getMultiaddrs().map(String) }
      const channel = await transport.open(String(node.peerId), PLAIN.name, where)
      const [connection] = node.getConnections() as (Connection & { muxer: Muxer })[]
      // The TCP connection stays as it is.
      goAway(connection!.muxer)
      expect((await channel.closed).error).toEqual(failing('PEER_UNREACHABLE'))
      const again = await transport.open(String(node.peerId), PLAIN.name, where)
      await again.send('works')
    },
  )

  test('peers that dial each other at once have two connections (1.1): one is left, and no channel is lost for it', async () => {
    const sockets = (): number => process.getActiveResourcesInfo().filter((it) => it === 'TCPSocketWrap').length
    const before = sockets()
    const [alice, bob] = [await started(), await started()]
    const channels = await Promise.all([
      alice.transport.open(bob.transport.id, PLAIN.name, bob.where),
      bob.transport.open(alice.transport.id, PLAIN.name, alice.where),
    ])
    const far = [await bob.its.next(), await alice.its.next()]
    for (const [i, channel] of channels.entries()) await works(channel, far[i]!)
    await Promise.all(channels.map((channel) => channel.end()))
    for (const { closed } of [...channels, ...far]) expect(await closed).toEqual({})
    // Both ends of one.
    await vi.waitFor(() => expect(sockets() - before).toBe(2), { timeout: 10_000 })
    await works(await alice.transport.open(bob.transport.id, PLAIN.name), await bob.its.next())
    expect(sockets() - before).toBe(2)
  })

  test('an address is forgotten after an hour, connected or not (1.5): ours is remembered for as long as we run', async () => {
    const [alice, bob] = [await started(), await started({ accept: (channel) => void echo(channel) })]
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => void vi.useRealTimers())
    const open = (where?: { addresses: readonly string[] }): Promise<Channel> =>
      alice.transport.open(bob.transport.id, PLAIN.name, where)
    const channel = await open(bob.where)
    // Also beyond the six hours after which the peer itself is forgotten.
    for (const hours of [2, 5]) {
      vi.setSystemTime(Date.now() + hours * 3_600_000)
      await answers(await open())
    }
    await alice.transport.disconnect(bob.transport.id)
    expect((await channel.closed).error).toBeDefined()
    await answers(await open())
  })

  test('identify tells everybody which Node it runs on (4): ours says errand', async () => {
    const { transport } = await started()
    const node = await barePeer()
    const identified = once(node as unknown as EventTarget, 'peer:identify') as Promise<[CustomEvent<IdentifyResult>]>
    await dial(node, transport)
    const [{ detail }] = await identified
    expect(detail.agentVersion).toBe('errand')
    const said = [detail.agentVersion, detail.protocolVersion, ...detail.protocols].join()
    expect(said).not.toContain(process.versions.node)
  })
})

type Muxer = { sendGoAway(reason: number): void }
