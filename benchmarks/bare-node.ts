// libp2p alone: what errand's transport is measured against.

import { identify } from '@libp2p/identify'
import type { Libp2p } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
// Not exported: nobody but this is to have a node of ours without the channels over it.
import { createIdentity, privateKeyOf } from '../packages/transport/src/identity.ts'
import { createNode } from '../packages/transport/src/node.ts'

export const ECHO = '/errand-bench/echo/1'

/** `errand`: the node that errand's transport runs, to the last setting. `noise`: libp2p's usual, at its defaults. */
export type Stack = 'errand' | 'noise'

/** A started node, answering nothing yet. */
export async function bareNode(listen: string[] = [], stack: Stack = 'errand'): Promise<Libp2p> {
  if (stack === 'noise') {
    return createLibp2p({
      addresses: { listen },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      services: { identify: identify() },
    })
  }
  const node = await createNode({
    privateKey: await privateKeyOf(await createIdentity()),
    listen,
    announce: [],
    mdns: false,
    direct: true,
    admits: () => true,
    heard: () => {},
  })
  await node.start()
  return node
}
