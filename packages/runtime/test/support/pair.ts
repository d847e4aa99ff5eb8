// Two peers in the test's process, over a network in it as well: here may do work on far. Whoever made them closes them.
// What far does for here it does in a process of its own, as it would over any other carrier.
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { createPeer, type Peer, type PeerOptions } from '../../src/index.ts'

export interface Pair extends AsyncDisposable {
  readonly here: Peer
  readonly far: Peer
  readonly network: MemoryNetwork
}

export async function pair(options: { here?: PeerOptions; far?: PeerOptions } = {}): Promise<Pair> {
  const network = createMemoryNetwork()
  const here = await createPeer({
    name: 'here',
    transport: memory({ network, name: 'here' }),
    policy: { peers: { far: [] } },
    ...options.here,
  })
  const far = await createPeer({
    name: 'far',
    transport: memory({ network, name: 'far' }),
    policy: { peers: { here: ['connect', 'run:script', 'run:command'] } },
    ...options.far,
  })
  return {
    here,
    far,
    network,
    async [Symbol.asyncDispose]() {
      await Promise.all([here.close(), far.close()])
    },
  }
}
