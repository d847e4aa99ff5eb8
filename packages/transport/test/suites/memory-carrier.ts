// The memory carrier as the contract's suites take it.

import type { Transport } from '../../src/index.ts'
import type { Network } from '../../src/memory-network.ts'
import { type MemoryNetwork, type MemoryNetworkOptions, createMemoryNetwork, memory } from '../../src/memory.ts'
import type { Carrier, Raw } from './places.ts'

/** The contract's places on networks of this kind. */
export function memoryCarrier(options: MemoryNetworkOptions): Carrier {
  const networks = new WeakMap<Transport, MemoryNetwork>()
  const raw = (network: MemoryNetwork): Promise<Raw> => {
    const duplex = (network as Network).connect('mallory', 'bob')
    const closed = new Promise((resolve) => duplex.attach({ data: () => {}, drained: () => {}, closed: resolve }))
    const write = (bytes: Uint8Array): unknown => (bytes.length === 0 ? duplex.destroy() : duplex.write(bytes))
    return Promise.resolve({ write, closed, again: () => raw(network) })
  }
  return {
    places() {
      const network = createMemoryNetwork(options)
      const listener = memory({ network, name: 'bob' })
      networks.set(listener, network)
      return Promise.resolve({ listener, dialer: memory({ network, name: 'alice' }) })
    },
    raw: (listener) => raw(networks.get(listener)!),
  }
}
