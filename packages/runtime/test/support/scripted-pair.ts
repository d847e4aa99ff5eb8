// Two peers in the test's process; here may do work on far, where an engine does it that does nothing by itself. Whoever
// made them closes them.
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import type { Transport } from '@errand/transport'
import { createPeer, PeerHost, type PeerOptions } from '../../src/peer.ts'
import type { Peer } from '../../src/surface.ts'
import { ScriptedEngine } from './scripted-engine.ts'

export interface ScriptedPair<E extends ScriptedEngine = ScriptedEngine> {
  readonly network: MemoryNetwork
  readonly engine: E
  readonly far: PeerHost
  readonly here: Peer
}

export interface ScriptedPairOptions<E extends ScriptedEngine = ScriptedEngine> {
  readonly network?: MemoryNetwork
  /** Default: one whose executions end when they are stopped. */
  readonly engine?: E
  readonly here?: PeerOptions
  readonly far?: PeerOptions
  /** What here goes out through. */
  readonly line?: (inner: Transport) => Transport
}

/** At once, for both of them. */
export function loseFar(network: MemoryNetwork): void {
  network.cut('here', 'far')
  network.lose('here', 'far')
}

/** Silence is noticed soon. */
const CLOCKS = { heartbeat: 50, suspicion: 400 }

/** An engine whose executions end when they are stopped. */
export function stoppable(): ScriptedEngine {
  return new ScriptedEngine(() => false, { stop: ({ io }) => io.ended({ outcome: 'stopped' }) })
}

/** Far alone: as it is there again after it has been closed. */
export async function scriptedFar(
  network: MemoryNetwork,
  engine: ScriptedEngine,
  o: PeerOptions = {},
): Promise<PeerHost> {
  const far = await PeerHost.open({
    ...CLOCKS,
    name: 'far',
    transport: memory({ network, name: 'far' }),
    policy: { peers: { here: ['connect', 'run:script'] } },
    ...o,
  })
  return Object.assign(far, { engines: () => ({ runspace: engine, thread: engine, process: engine, machine: engine }) })
}

export async function scriptedPair<E extends ScriptedEngine = ScriptedEngine>(
  o: ScriptedPairOptions<E> = {},
): Promise<ScriptedPair<E>> {
  const { network = createMemoryNetwork(), engine = stoppable() as E, line = (inner) => inner } = o
  const far = await scriptedFar(network, engine, o.far)
  const here = await createPeer({
    ...CLOCKS,
    name: 'here',
    transport: line(memory({ network, name: 'here' })),
    policy: { peers: { far: [] } },
    ...o.here,
  })
  return { network, engine, far, here }
}
