import { setImmediate as turn } from 'node:timers/promises'
import type { Libp2p, Stream } from '@libp2p/interface'
import { expect, onTestFinished, test } from 'vitest'
import { createIdentity, privateKeyOf } from '../src/identity.ts'
import { libp2p } from '../src/libp2p.ts'
import { createNode } from '../src/node.ts'
import { openByTheLot } from '../src/stream-duplex.ts'
import type { Protocol } from '../src/transport.ts'
import { host } from './suites/transport.suite.ts'

const BULK: Protocol = { name: '/test/bulk/1', maxFrame: 64 * 1024 }

// Over a bare stream it took 4 MiB to have the stream aborted: every pause came while the last resume was handing out.
test('a reader that is always slower than the sender gets everything, however often it pauses', async () => {
  const listener = libp2p({ listen: ['/ip4/127.0.0.1/tcp/0'] })
  const dialer = libp2p()
  onTestFinished(async () => {
    await Promise.all([listener.close(), dialer.close()])
  })
  const theirs = host({ protocols: [BULK] })
  await listener.start(theirs)
  await dialer.start(host({ protocols: [BULK] }))
  const near = await dialer.open(listener.id, BULK.name, { addresses: listener.addresses })
  const far = await theirs.next()
  const count = 600 // 18 MiB, several times what may gather
  const sending = (async () => {
    for (let i = 0; i < count; i++) await near.send([i, new Uint8Array(30_000)])
    await near.end()
  })()
  let next = 0
  for await (const value of far) {
    expect((value as unknown[])[0]).toBe(next++)
    for (let i = 0; i < 5; i++) await turn()
  }
  expect(next).toBe(count)
  await sending
})

// Were it opened behind each message, each request of a link would cost two more frames, and a wake-up of who had asked.
test('small messages do not open the window each time; bulk does before it is used up', async () => {
  const node = async (listen: string[]): Promise<Libp2p> => {
    const made = await createNode({
      privateKey: await privateKeyOf(await createIdentity()),
      listen,
      announce: [],
      mdns: false,
      direct: true,
      admits: () => true,
      heard: () => {},
    })
    await made.start()
    onTestFinished(async () => made.stop())
    return made
  }
  const [near, far] = [await node([]), await node(['/ip4/127.0.0.1/tcp/0'])]
  let taken = 0
  const arrived = Promise.withResolvers<Stream>()
  await far.handle('/test/window/1', (stream) => {
    openByTheLot(stream)
    stream.addEventListener('message', (event) => {
      taken += (event as unknown as { data: Uint8Array }).data.byteLength
    })
    arrived.resolve(stream)
  })
  const out = await near.dialProtocol(far.getMultiaddrs(), '/test/window/1')
  const stream = await arrived.promise
  const window = stream as unknown as { recvWindow: number; recvWindowCapacity: number }
  const until = async (bytes: number): Promise<void> => {
    while (taken < bytes) await turn()
  }
  out.send(new Uint8Array(100))
  await until(100)
  const before = window.recvWindowCapacity
  for (let sent = 200; sent <= 10_000; sent += 100) {
    out.send(new Uint8Array(100))
    await until(sent)
  }
  expect(before - window.recvWindowCapacity).toBe(9_900)
  for (let sent = 20_000; sent <= 10_000_000; sent += 10_000) {
    out.send(new Uint8Array(10_000))
    await until(sent)
    expect(window.recvWindow - window.recvWindowCapacity).toBeLessThan(32 * 1024)
  }
})
