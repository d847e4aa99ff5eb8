// The fast path against peers that mean no good, or have none of it to offer: handshakes that are garbage, never end,
// or prove nothing. Before a peer is proved nothing it says reaches a muxer, and nothing of it stays.

import { once } from 'node:events'
import { readdirSync, readlinkSync } from 'node:fs'
import { TLSSocket, connect } from 'node:tls'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { describe, expect, test, vi } from 'vitest'
import { createCertificate } from '../src/certificate.ts'
import {
  AGREE,
  type TestNode,
  agreeOnTls,
  agreedTls,
  echoed,
  goodCertificate,
  gone,
  rawListener,
  rawTcp,
  rawTls,
  startNode,
} from './fixtures/direct-node.ts'
import { type Forgery, forgeCertificate } from './fixtures/forge-certificate.ts'

const ALPN = ['/yamux/1.0.0', 'libp2p']
/** yamux: a window update of 0 that opens stream 1. */
const SYN = Buffer.from('000100010000000100000000', 'hex')
/** yamux: a ping, which is answered. */
const PING = Buffer.from('000200010000000000000000', 'hex')
/** Long enough for a handshake on a busy machine where one succeeds, short where the test waits for it to pass. */
const SOON = 500

describe('a listener with TLS on the socket', () => {
  /** Whatever happened before, it takes a good peer, and knows no other. */
  async function stillGood(node: TestNode): Promise<void> {
    const opened = node.opened.length
    const friend = await startNode('direct')
    expect(node.opened.length).toBe(opened)
    await echoed(await friend.libp2p.dial(node.address), new Uint8Array(10))
    expect(node.opened.length).toBe(opened + 1)
    expect(String(node.opened.at(-1)!.remotePeer)).toBe(friend.id)
    await friend.libp2p.stop()
    await vi.waitFor(() => expect(node.libp2p.getConnections()).toEqual([]))
  }

  test.runIf(process.platform === 'linux')('keeps no socket of those who agree on TLS and go away', async () => {
    const node = await startNode('direct')
    await stillGood(node)
    const sockets = (): number =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket')
        } catch {
          return false // the directory's own descriptor
        }
      }).length
    const before = sockets()
    for (let i = 0; i < 20; i++) {
      const stranger = await rawTcp(node.port)
      stranger.write(AGREE)
      await once(stranger, 'data')
      stranger.destroy()
    }
    await vi.waitFor(() => expect(sockets()).toBe(before), { timeout: 10_000, interval: 50 })
    await stillGood(node)
  })

  const noises: Record<string, Uint8Array> = {
    'TLS right away': Buffer.from('16030100c8010000c40303', 'hex'),
    'bytes that are nothing': Buffer.alloc(100_000, 0xa5),
    zeros: Buffer.alloc(70_000),
    'a web browser': Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
  }
  for (const [what, bytes] of Object.entries(noises)) {
    test(`drops what begins with ${what}`, async () => {
      const node = await startNode('direct', { upgradeTimeout: SOON })
      const socket = await rawTcp(node.port)
      socket.write(bytes)
      await gone(socket)
      expect(node.muxed).toEqual([])
      await stillGood(node)
    })
  }

  for (const [what, bytes] of Object.entries({ ...noises, 'an alert': Buffer.from('1503030002022f', 'hex') })) {
    test(`drops who agrees on TLS and goes on with ${what}`, async () => {
      const node = await startNode('direct', { upgradeTimeout: SOON })
      const socket = await agreedTls(node.port)
      socket.write(bytes)
      await gone(socket)
      expect(node.muxed).toEqual([])
      await stillGood(node)
    })
  }

  test('drops who says nothing, at the start or after agreeing on TLS, and who says it too slowly', async () => {
    const node = await startNode('direct', { upgradeTimeout: SOON })
    const slow = await rawTcp(node.port)
    const slower = await agreedTls(node.port)
    const text = Buffer.from('\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n')
    const hello = Buffer.concat([Buffer.from('160301020001', 'hex'), Buffer.alloc(500)])
    let at = 0
    const drip = setInterval(() => {
      slow.write(text.subarray(at % 30, (at % 30) + 1))
      slower.write(hello.subarray(at, ++at))
    }, 20)
    await Promise.all([await rawTcp(node.port), await agreedTls(node.port), slow, slower].map(gone))
    clearInterval(drip)
    expect(at).toBeLessThan(500) // it was time, not their end
    expect(node.muxed).toEqual([])
    await stillGood(node)
  })

  test('keeps only so many that are undecided; more are turned away at once', async () => {
    const node = await startNode('direct', { pending: 5 })
    const sockets = await Promise.all(Array.from({ length: 40 }, () => rawTcp(node.port)))
    let turnedAway = 0
    for (const socket of sockets) void gone(socket).then(() => turnedAway++)
    await vi.waitFor(() => expect(turnedAway).toBe(35))
    for (const socket of sockets) socket.destroy()
    await vi.waitFor(() => expect(turnedAway).toBe(40))
    await stillGood(node)
  })

  test('forgets who leaves at any point of the handshake', async () => {
    // Fewer than leave in all: one that is not forgotten counts until its time is up.
    const node = await startNode('direct', { pending: 10 })
    const hello = await clientHello()
    for (let length = 0; length <= hello.length; length += Math.ceil(hello.length / 24)) {
      for (const leave of ['end', 'resetAndDestroy'] as const) {
        const socket = await agreedTls(node.port)
        socket.write(hello.subarray(0, length))
        socket[leave]()
        await gone(socket)
      }
    }
    expect(node.muxed).toEqual([])
    expect(node.opened).toEqual([])
    await stillGood(node)
  })

  test('hears what is said before it has answered', async () => {
    const node = await startNode('direct')
    const hello = await clientHello()
    for (const cut of [0, 1, 100, hello.length]) {
      const socket = await rawTcp(node.port)
      const answers: Buffer[] = []
      socket.on('data', (bytes) => answers.push(bytes))
      socket.write(Buffer.concat([Buffer.from(AGREE), hello.subarray(0, cut)]))
      await vi.waitFor(() => expect(Buffer.concat(answers).length).toBeGreaterThanOrEqual(AGREE.length))
      socket.write(hello.subarray(cut))
      // Agreed, and then a record of TLS: its part of the handshake.
      await vi.waitFor(() => expect(Buffer.concat(answers).length).toBeGreaterThan(AGREE.length + 100))
      const answer = Buffer.concat(answers)
      expect(answer.subarray(0, AGREE.length).toString()).toBe(AGREE)
      expect(answer.subarray(AGREE.length, AGREE.length + 3)).toEqual(Buffer.of(0x16, 3, 3))
      socket.destroy()
    }
  })

  test('takes a hundred peers at once', async () => {
    const node = await startNode('direct')
    const identities = await Promise.all(Array.from({ length: 100 }, () => generateKeyPair('Ed25519')))
    await Promise.all(
      identities.map(async (identity) =>
        rawTls(node.port, { ...(await createCertificate(identity)), ALPNProtocols: ALPN }),
      ),
    )
    await vi.waitFor(() => expect(node.opened.length).toBe(100))
    expect(node.opened.map(({ remotePeer }) => String(remotePeer)).toSorted()).toEqual(
      identities.map((identity) => String(peerIdFromPrivateKey(identity))).toSorted(),
    )
  })

  test('agrees on the muxer afterwards with who has not done so in the handshake', async () => {
    const node = await startNode('direct')
    for (const protocols of [{ ALPNProtocols: ['libp2p'] }, {}]) {
      const tls = await rawTls(node.port, { ...(await goodCertificate()), ...protocols })
      tls.write('\x13/multistream/1.0.0\n\x0d/yamux/1.0.0\n')
      const [answer] = (await once(tls, 'data')) as [Buffer]
      expect(answer.toString('latin1')).toContain('/multistream/1.0.0')
      await vi.waitFor(() => expect(node.libp2p.getConnections()[0]?.multiplexer).toBe('/yamux/1.0.0'))
      tls.destroy()
      await vi.waitFor(() => expect(node.libp2p.getConnections()).toEqual([]))
    }
  })

  test('breaks off with who offers no protocol it knows', async () => {
    const node = await startNode('direct')
    await expect(rawTls(node.port, { ...(await goodCertificate()), ALPNProtocols: ['h2'] })).rejects.toThrow(
      /no application protocol/,
    )
    expect(node.muxed).toEqual([])
    await stillGood(node)
  })

  test('breaks off with who speaks an older TLS', async () => {
    const node = await startNode('direct')
    const old = rawTls(node.port, { ...(await goodCertificate()), ALPNProtocols: ALPN, maxVersion: 'TLSv1.2' })
    await expect(old).rejects.toThrow(/protocol version/)
    expect(node.muxed).toEqual([])
    await stillGood(node)
  })

  const day = 86_400_000
  const forgeries: Record<string, (() => Promise<Forgery>) | Forgery | undefined> = {
    'no certificate': undefined,
    'a certificate that names nobody': { extensions: () => [] },
    'a certificate of the past': { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) },
    'a certificate somebody else vouches for': async () => ({ signer: await generateKeyPair('Ed25519') }),
    'a certificate in which another key is vouched for': { otherKey: true },
    'a certificate it has not signed': { otherSigner: true },
  }
  for (const [what, forgery] of Object.entries(forgeries)) {
    test(`lets nobody in who shows ${what}, nor what they send ahead`, async () => {
      const node = await startNode('direct')
      const shown = forgery && (await forgeCertificate(typeof forgery === 'function' ? await forgery() : forgery))
      // TLS itself is content, and the client through, before anybody has looked at the certificate.
      const tls = await rawTls(node.port, { ...(shown && { cert: shown.cert, key: shown.key }), ALPNProtocols: ALPN })
      tls.write(Buffer.concat([SYN, Buffer.alloc(100_000)]))
      await gone(tls)
      expect(node.muxed).toEqual([])
      expect(node.opened).toEqual([])
      expect(node.streams).toEqual([])
      await stillGood(node)
    })

    test(`is not believed by a dialler when it shows ${what}`, async () => {
      const node = await startNode('direct')
      const shown = forgery && (await forgeCertificate(typeof forgery === 'function' ? await forgery() : forgery))
      const liar = await rawListener((socket) => {
        void agreeOnTls(socket).then(() => {
          const tls = new TLSSocket(socket, {
            isServer: true,
            ALPNProtocols: ALPN,
            ...(shown && { cert: shown.cert, key: shown.key }),
          })
          tls.on('error', () => {})
          tls.once('secure', () => tls.write(SYN))
        })
      })
      await expect(node.libp2p.dial(liar.address)).rejects.toMatchObject({ name: 'EncryptionFailedError' })
      await gone(liar.sockets[0]!)
      expect(node.muxed).toEqual([])
      expect(node.opened).toEqual([])
    })
  }

  test('gives no tickets, and resumes nothing', async () => {
    const node = await startNode('direct')
    const good = await goodCertificate()
    const sessions: Buffer[] = []
    const first = await rawTls(node.port, { ...good, ALPNProtocols: ALPN })
    first.on('session', (session) => sessions.push(session))
    await vi.waitFor(() => expect(node.opened.length).toBe(1))
    // Tickets come with the first bytes of the other side, if at all.
    first.write(PING)
    await once(first, 'data')
    for (const session of [...sessions, first.getSession()!]) {
      const again: TLSSocket = await rawTls(node.port, { ...good, ALPNProtocols: ALPN, session })
      expect(again.isSessionReused()).toBe(false)
      again.destroy()
      // Without the certificate there is nothing that could stand for it.
      const bare = await rawTls(node.port, { ALPNProtocols: ALPN, session })
      expect(bare.isSessionReused()).toBe(false)
      await gone(bare)
    }
    first.destroy()
    await vi.waitFor(() => expect(node.libp2p.getConnections()).toEqual([]))
  })
})

/** The first thing a client says in TLS. */
async function clientHello(): Promise<Buffer> {
  const said = Promise.withResolvers<Buffer>()
  const ear = await rawListener((socket) => socket.once('data', said.resolve))
  const client = connect({ socket: await rawTcp(Number(ear.address.getComponents()[1]!.value)), ALPNProtocols: ALPN })
  client.on('error', () => {}) // nobody answers
  const hello = await said.promise
  client.destroy()
  return hello
}
