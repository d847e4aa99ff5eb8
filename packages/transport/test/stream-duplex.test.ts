import { setImmediate as turn } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { libp2p } from '../src/libp2p.ts'
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
