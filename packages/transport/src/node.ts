// The libp2p node under the transport: which parts, and their settings, each for a reason that was measured.

import { identify } from '@libp2p/identify'
import type { PrivateKey, Startable } from '@libp2p/interface'
import type { mdns } from '@libp2p/mdns'
import { noise } from '@libp2p/noise'
import { yamux } from '@libp2p/yamux'
import { type Libp2p, createLibp2p } from 'libp2p'
import { directTcp } from './direct-tcp.ts'
import { directTls } from './direct-tls.ts'
import type { PeerId } from './transport.ts'

/** Streams per connection in each direction, yamux's own default: `maxChannels` refuses long before, and with a reason. */
export const MAX_STREAMS = 1000
/** Connections in all; each costs some 100 KiB at both ends together. */
const MAX_CONNECTIONS = 1000

export interface NodeOptions {
  readonly privateKey: PrivateKey
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  readonly mdns: boolean
  readonly direct: boolean
  admits(peer: PeerId): boolean
  /** Somebody on this network says that the peer is there. */
  heard(peer: PeerId, addresses: readonly string[]): void
}

type MdnsComponents = Parameters<ReturnType<typeof mdns>>[0]

/** A node that is not started. */
export async function createNode(options: NodeOptions): Promise<Libp2p> {
  // On the wire both are the same, and the other end may be any libp2p; ours is the faster end, and is sooner loaded.
  const [tcp, tls] = options.direct ? [directTcp, directTls] : await libp2pOwn()
  const lan = options.mdns ? lanWith((await import('@libp2p/mdns')).mdns, options) : undefined
  const refuses = (peer: { toString(): string }): boolean => !options.admits(peer.toString())
  return createLibp2p({
    start: false,
    privateKey: options.privateKey,
    addresses: { listen: [...options.listen], appendAnnounce: [...options.announce] },
    transports: [tcp()],
    // In order of preference: noise is for those who lack TLS.
    connectionEncrypters: [tls(), noise()],
    // A window that may not outgrow the read buffer, or pausing a busy stream aborts it; and small enough that a stop
    // need not wait behind bulk: 1 MiB costs 0–20 % of the bytes and buys 20 times the latency.
    streamMuxers: [
      yamux({
        maxInboundStreams: MAX_STREAMS,
        maxOutboundStreams: MAX_STREAMS,
        maxEarlyStreams: 64,
        streamOptions: { maxStreamWindowSize: 1 << 20, maxReadBufferLength: 4 << 20 },
      }),
    ],
    // The defaults (5 new connections per second and address, 10 handshakes at a time) hit a mesh on one machine or
    // behind one router.
    connectionManager: {
      maxConnections: MAX_CONNECTIONS,
      inboundConnectionThreshold: 200,
      maxIncomingPendingConnections: 200,
    },
    // Our heartbeat decides who is dead; libp2p's aborts a healthy connection on one slow ping.
    connectionMonitor: { enabled: false },
    // Synchronous: streams that arrive while a gater thinks count as early, and too many of them end the connection.
    connectionGater: {
      denyInboundEncryptedConnection: refuses,
      denyOutboundEncryptedConnection: refuses,
      denyInboundUpgradedConnection: refuses,
      denyOutboundUpgradedConnection: refuses,
    },
    nodeInfo: { userAgent: 'errand' },
    services: { identify: identify(), ...(lan && { lan }) },
  })
}

/**
 * mDNS, not as libp2p's peer discovery: that remembers every peer it hears of, and on a network anybody can say anything
 * about anybody. What is heard of peers that are not admitted is dropped.
 */
function lanWith(create: typeof mdns, options: NodeOptions): (components: MdnsComponents) => Startable {
  return (components) => {
    const discovery = create()(components) as ReturnType<ReturnType<typeof mdns>> & Startable
    discovery.addEventListener('peer', ({ detail }) => {
      const id = detail.id.toString()
      try {
        if (options.admits(id)) options.heard(id, detail.multiaddrs.map(String))
      } catch {
        // A policy that cannot answer says no; thrown on from a listener it would end the process.
      }
    })
    // Only these two: were the whole thing a service, libp2p would find its discovery in it.
    return { start: () => discovery.start(), stop: () => discovery.stop() }
  }
}

async function libp2pOwn() {
  const [{ tcp }, { tls }] = await Promise.all([import('@libp2p/tcp'), import('@libp2p/tls')])
  return [tcp, tls] as const
}
