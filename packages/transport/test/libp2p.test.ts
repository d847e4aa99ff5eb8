import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { describe, onTestFinished } from 'vitest'
import { libp2p } from '../src/libp2p.ts'
import { spawnPeer } from './fixtures/spawn-peer.ts'
import type { Raw } from './suites/places.ts'
import { transportContract } from './suites/transport.suite.ts'

const LOOPBACK = '/ip4/127.0.0.1/tcp/0'

describe('libp2p', () => {
  transportContract({
    places: () => Promise.resolve({ listener: libp2p({ listen: [LOOPBACK] }), dialer: libp2p() }),
    remote: async (protocols) => ({ ...(await spawnPeer('libp2p', LOOPBACK, protocols)), dialer: libp2p() }),
    negotiates: true,
    // A libp2p of another house: noise instead of TLS, and nobody's framing.
    async raw(listener, protocol) {
      const node = await createLibp2p({ transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()] })
      onTestFinished(() => node.stop())
      const again = async (): Promise<Raw> => {
        const addresses = listener.addresses.map((address) => multiaddr(address))
        const stream = await node.dialProtocol(addresses, protocol, { maxOutboundStreams: 1000 })
        stream.addEventListener('message', () => {})
        stream.addEventListener('remoteCloseWrite', () => void stream.close())
        const closed = new Promise((resolve) => stream.addEventListener('close', resolve))
        return {
          write: (bytes) => void (bytes.length === 0 ? stream.abort(new Error('gone')) : stream.send(bytes)),
          closed,
          again,
        }
      }
      return again()
    },
  })
})
