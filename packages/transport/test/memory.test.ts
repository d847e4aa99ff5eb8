import { describe, expect, onTestFinished, test } from 'vitest'
import { createMemoryNetwork, memory } from '../src/memory.ts'
import { PLAIN, echo, failing, host, transportContract } from './suites/transport.suite.ts'

describe('memory', () => {
  transportContract({
    async places() {
      const network = createMemoryNetwork()
      return { listener: memory({ network, name: 'bob' }), dialer: memory({ network, name: 'alice' }) }
    },
  })
})

describe('memory network', () => {
  const beating = { ...PLAIN, heartbeat: { interval: 40, suspicion: 200 } }

  async function two(latency = 0, protocol = PLAIN) {
    const network = createMemoryNetwork({ latency })
    const alice = memory({ network, name: 'alice' })
    const bob = memory({ network, name: 'bob' })
    const theirs = host({ protocols: [protocol] })
    await alice.start(host({ protocols: [protocol] }))
    await bob.start(theirs)
    onTestFinished(async () => {
      await Promise.all([alice.close(), bob.close()])
    })
    const near = await alice.open('bob', protocol.name)
    return { network, alice, bob, near, far: await theirs.next() }
  }

  test('a cut is silent, and found by the heartbeat at both ends', async () => {
    const { network, alice, near, far } = await two(0, beating)
    network.cut('bob', 'alice')
    await expect(alice.open('bob', beating.name)).rejects.toEqual(failing('PEER_UNREACHABLE'))
    expect((await near.closed).error).toEqual(failing('PEER_UNREACHABLE'))
    expect((await far.closed).error).toEqual(failing('PEER_UNREACHABLE'))
  })

  test('a cut healed in time loses nothing and changes no order', async () => {
    const { network, near, far } = await two()
    network.cut('alice', 'bob')
    for (let i = 0; i < 100; i++) await near.send(i)
    void near.end()
    network.heal('alice', 'bob')
    const values: unknown[] = []
    for await (const value of far) values.push(value)
    expect(values).toEqual(Array.from({ length: 100 }, (_, i) => i))
  })

  test('a cut line takes only so much, like a real one', async () => {
    const { network, near } = await two()
    network.cut('alice', 'bob')
    let sent = 0
    const stalled = (async () => {
      for (;;) {
        await near.send(new Uint8Array(32_768))
        sent++
      }
    })()
    stalled.catch(() => {})
    for (let seen = -1; seen !== sent; await new Promise((done) => setTimeout(done, 50))) seen = sent
    expect(sent * 32_768).toBeLessThan(1024 * 1024)
    network.heal('alice', 'bob')
    near.abort()
    await expect(stalled).rejects.toEqual(failing('CHANNEL_CLOSED'))
  })

  test('latency delays every write by as much', async () => {
    const { near, far } = await two(30)
    void echo(far)
    const values = near[Symbol.asyncIterator]()
    const before = performance.now()
    await near.send(1)
    await values.next()
    expect(performance.now() - before).toBeGreaterThanOrEqual(59)
  })

  test('a name is taken once; a sibling has a name made from its seed, known at once', async () => {
    const { network, alice } = await two()
    await expect(memory({ network, name: 'bob' }).start(host())).rejects.toEqual(failing('ADDRESS_IN_USE'))
    const seed = new Uint8Array(32).fill(7)
    const sibling = await alice.sibling!(seed)
    expect(sibling.id).toBe((await alice.sibling!(seed)).id)
    expect(sibling.id).not.toBe(alice.id)
    await sibling.start(host())
    const channel = await sibling.open('bob', PLAIN.name)
    expect(channel.peer).toBe('bob')
    await sibling.close()
    expect((await channel.closed).error).toEqual(failing('CHANNEL_CLOSED'))
  })
})
