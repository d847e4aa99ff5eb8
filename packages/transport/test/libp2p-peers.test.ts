// What the contract does not say of libp2p: addresses and who answers there, connections, keys, being refused.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { DeniedError, type TransportHost } from '../src/index.ts'
import { createIdentity, libp2p } from '../src/libp2p.ts'
import { spawnPeer } from './fixtures/spawn-peer.ts'
import { PLAIN, echo, failing, host } from './suites/transport.suite.ts'

const LOOPBACK = '/ip4/127.0.0.1/tcp/0'

describe('libp2p peers', () => {
  async function started(changes: Partial<TransportHost> = {}, options: Parameters<typeof libp2p>[0] = {}) {
    const transport = libp2p({ listen: [LOOPBACK], ...options })
    onTestFinished(() => transport.close())
    const its = host(changes)
    await transport.start(its)
    return { transport, its }
  }

  test('say their whole address; whoever else answers there is PROTOCOL', async () => {
    const [alice, bob, eve] = [await started(), await started(), await started()]
    const [address] = bob.transport.addresses
    expect(address).toMatch(new RegExp(`^/ip4/127\\.0\\.0\\.1/tcp/\\d+/p2p/${bob.transport.id}$`))
    await expect(alice.transport.open(eve.transport.id, PLAIN.name, { addresses: [address!] })).rejects.toEqual(
      failing('PROTOCOL'),
    )
    const port = address!.split('/p2p/')[0]!
    await expect(alice.transport.open(eve.transport.id, PLAIN.name, { addresses: [port] })).rejects.toEqual(
      failing('PROTOCOL'),
    )
    await alice.transport.open(bob.transport.id, PLAIN.name, { addresses: [port] })
    expect(eve.its.accepted).toBe(0)
  })

  test('try every address given', async () => {
    const [alice, bob, carol] = [await started(), await started(), await started()]
    const addresses = ['/ip4/127.0.0.1/tcp/1', ...bob.transport.addresses]
    await (await alice.transport.open(bob.transport.id, PLAIN.name, { addresses })).end()
    const { id } = carol.transport
    await expect(alice.transport.open(id, PLAIN.name)).rejects.toEqual(failing('PEER_UNREACHABLE'))
    await expect(alice.transport.open(id, PLAIN.name, { addresses: ['/ip4/127.0.0.1/tcp/1'] })).rejects.toEqual(
      failing('PEER_UNREACHABLE'),
    )
    await expect(alice.transport.open(id, PLAIN.name, { addresses: ['nonsense'] })).rejects.toEqual(
      failing('MALFORMED'),
    )
    await expect(alice.transport.open('nonsense', PLAIN.name)).rejects.toEqual(failing('MALFORMED'))
  })

  test('announce who connects, and not whom they dial', async () => {
    const came: [string, string][] = []
    const alice = await started({ connected: (peer) => void came.push(['alice', peer]) })
    const bob = await started({ connected: (peer) => void came.push(['bob', peer]) }, { listen: [] })
    await bob.transport.open(alice.transport.id, PLAIN.name, { addresses: alice.transport.addresses })
    expect(came).toEqual([['alice', bob.transport.id]])
  })

  test('use one connection for all channels, whoever dialled it', async () => {
    const [alice, bob] = [await started(), await started()]
    const near = await alice.transport.open(bob.transport.id, PLAIN.name, { addresses: bob.transport.addresses })
    // No address: it can only go over the connection that is there.
    const back = await bob.transport.open(alice.transport.id, PLAIN.name)
    void echo(await alice.its.next())
    await back.send(1)
    expect(await back[Symbol.asyncIterator]().next()).toEqual({ done: false, value: 1 })
    await alice.transport.disconnect(bob.transport.id)
    expect((await near.closed).error).toBeDefined()
    expect((await back.closed).error).toBeDefined()
  })

  test('lose nothing that waits in the connection when both have ended before it was read', async () => {
    const [alice, bob] = [await started(), await started()]
    const near = await alice.transport.open(bob.transport.id, PLAIN.name, { addresses: bob.transport.addresses })
    const far = await bob.its.next()
    await far.end()
    const barrier = await alice.transport.open(bob.transport.id, PLAIN.name)
    void echo(await bob.its.next())
    // First what makes the reader pause; then, when that is through, what yamux' window (256 KiB) still lets in.
    for (let i = 0; i < 10; i++) await near.send(new Uint8Array(32_000).fill(i))
    await barrier.send('arrived?')
    await barrier[Symbol.asyncIterator]().next()
    for (let i = 10; i < 16; i++) await near.send(new Uint8Array(32_000).fill(i))
    await near.end()
    expect(await near.closed).toEqual({})
    let next = 0
    for await (const value of far) expect((value as Uint8Array)[0]).toBe(next++)
    expect(next).toBe(16)
    expect(await far.closed).toEqual({})
  })

  test('fallen silent on one channel are dead on all', async () => {
    const quiet = { name: '/test/quiet/1', maxFrame: 1024 }
    const beating = { name: '/test/beating/1', maxFrame: 1024, heartbeat: { interval: 40, suspicion: 200 } }
    const patient = { ...beating, heartbeat: { interval: 40, suspicion: 60_000 } }
    const { peer, addresses, child } = await spawnPeer('libp2p', LOOPBACK, [quiet, patient])
    onTestFinished(() => void child.kill('SIGKILL'))
    const { transport } = await started({ protocols: [quiet, beating] })
    const channel = await transport.open(peer, quiet.name, { addresses })
    await transport.open(peer, beating.name, { addresses })
    child.kill('SIGSTOP')
    expect((await channel.closed).error).toEqual(failing('PEER_UNREACHABLE'))
  })

  test('that dial each other at the same time both get through', async () => {
    const [alice, bob] = [await started(), await started()]
    for (let round = 0; round < 5; round++) {
      const [there, back] = await Promise.all([
        alice.transport.open(bob.transport.id, PLAIN.name, { addresses: bob.transport.addresses }),
        bob.transport.open(alice.transport.id, PLAIN.name, { addresses: alice.transport.addresses }),
      ])
      void echo(await alice.its.next())
      void echo(await bob.its.next())
      for (const channel of [there, back]) {
        await channel.send(round)
        expect(await channel[Symbol.asyncIterator]().next()).toEqual({ done: false, value: round })
      }
      await alice.transport.disconnect(bob.transport.id)
      await bob.transport.disconnect(alice.transport.id)
    }
  })

  test('once refused are refused again, and get in as soon as they are admitted', async () => {
    const admitted = new Set<string>()
    const bob = await started({ admits: (peer) => admitted.has(peer) })
    const alice = await started()
    const open = () => alice.transport.open(bob.transport.id, PLAIN.name, { addresses: bob.transport.addresses })
    await expect(open()).rejects.toEqual(failing('DENIED'))
    await expect(open()).rejects.toEqual(failing('DENIED'))
    admitted.add(alice.transport.id)
    const channel = await open()
    admitted.delete(alice.transport.id)
    // Revoked while connected: new channels are refused though the connection is there.
    await expect(open()).rejects.toEqual(failing('DENIED'))
    await bob.transport.disconnect(alice.transport.id)
    expect((await channel.closed).error).toBeDefined()
    expect(bob.its.accepted).toBe(1)
  })

  test('may have a one-time sibling, which gets no further than the host lets it', async () => {
    const JOIN = { name: '/test/join/1', maxFrame: 1024 }
    const protocols = [PLAIN, JOIN]
    const seed = crypto.getRandomValues(new Uint8Array(32))
    const guest = (await createIdentity(seed)).id
    const bob = await started({
      protocols,
      admits: (peer) => peer === guest,
      accept: (channel) => {
        if (channel.peer === guest && channel.protocol !== JOIN.name) channel.abort(new DeniedError('joining only'))
      },
    })
    const alice = await started({ protocols })
    const sibling = await alice.transport.sibling!(seed)
    onTestFinished(() => sibling.close())
    expect(sibling.id).toBe(guest)
    await sibling.start(host({ protocols }))
    expect(sibling.addresses).toEqual([])
    const { id } = bob.transport
    const { addresses } = bob.transport
    await sibling.open(id, JOIN.name, { addresses })
    await expect(sibling.open(id, PLAIN.name, { addresses })).rejects.toEqual(failing('DENIED'))
    await expect(alice.transport.open(id, JOIN.name, { addresses })).rejects.toEqual(failing('DENIED'))
  })

  test('with a key file keep their id, and hold the key alone', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'errand-key-'))
    onTestFinished(() => rm(directory, { recursive: true, force: true }))
    const keyFile = join(directory, 'key')
    const first = await started({}, { keyFile })
    const { id } = first.transport
    await expect(libp2p({ keyFile }).start(host())).rejects.toEqual(
      expect.objectContaining({ code: 'KEY_IN_USE', message: expect.stringContaining(`${process.pid}`) as string }),
    )
    await first.transport.close()
    expect((await started({}, { keyFile })).transport.id).toBe(id)
  })

  test('whose address is taken say ADDRESS_IN_USE and release their key', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'errand-key-'))
    onTestFinished(() => rm(directory, { recursive: true, force: true }))
    const keyFile = join(directory, 'key')
    const { transport } = await started()
    const taken = transport.addresses[0]!.split('/p2p/')[0]!
    await expect(libp2p({ listen: [taken], keyFile }).start(host())).rejects.toEqual(failing('ADDRESS_IN_USE'))
    await started({}, { keyFile })
  })

  test('say so on a Node that libp2p does not run on', () => {
    const present = Object.getOwnPropertyDescriptor(Promise, 'withResolvers')!
    try {
      Object.assign(Promise, { withResolvers: undefined })
      expect(() => libp2p()).toThrow(expect.objectContaining({ code: 'NODE_TOO_OLD' }) as Error)
    } finally {
      Object.defineProperty(Promise, 'withResolvers', present)
    }
  })

  test('announce what they are told to', async () => {
    const { transport } = await started({}, { announce: ['/dns4/errand.example/tcp/4001'] })
    expect(transport.addresses).toContain(`/dns4/errand.example/tcp/4001/p2p/${transport.id}`)
  })

  test('leave nothing behind: a process that closes its transport ends by itself', async () => {
    const { transport, its } = await started({ accept: (channel) => void echo(channel) })
    const program = `
      import { libp2p } from ${JSON.stringify(new URL('../src/libp2p.ts', import.meta.url).href)}
      const transport = libp2p({ listen: ['${LOOPBACK}'] })
      await transport.start({ protocols: [${JSON.stringify(PLAIN)}], admits: () => true, accept() {} })
      const channel = await transport.open('${transport.id}', '${PLAIN.name}', { addresses: ${JSON.stringify(transport.addresses)} })
      await channel.send('ping')
      for await (const value of channel) { console.log(value); break }
      await transport.close()
    `
    const child = spawn(process.execPath, ['--conditions=source', '--input-type=module-typescript', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    child.stdout.on('data', (text: Buffer) => (said += text.toString()))
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(said).toBe('ping\n')
    expect(its.accepted).toBe(1)
  })
})
