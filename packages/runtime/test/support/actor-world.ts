// Peers in the test's process around one that offers machines: `far`. The others may do there what they are granted; each
// may also come as a bare link, which says whatever a test wants said. Whoever made it closes it.
import { createChunkWriter, type Transport } from '@errand/transport'
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import {
  createPeer,
  type Grant,
  type MachineDefinition,
  type Peer,
  type PeerOptions,
  type Ref,
} from '../../src/index.ts'
import { ActorHost } from '../../src/actor-host.ts'
import type { ActorOutbox } from '../../src/actor-outbox.ts'
import type { ActorRoutes } from '../../src/actor-routes.ts'
import { ActorTurns } from '../../src/actor-turns.ts'
import type { ExecutionIO } from '../../src/engine/engine.ts'
import type { Link } from '../../src/link.ts'
import { openLink } from '../../src/link-handshake.ts'
import { PeerHandle } from '../../src/peer-handle.ts'
import { PeerHost } from '../../src/peer.ts'
import { type Address, protocols } from '../../src/wire.ts'

export interface ActorWorldOptions {
  readonly machines: readonly MachineDefinition[]
  /** Who may do what there. Default: `here`, which may spawn all of the machines. */
  readonly peers?: Readonly<Record<string, readonly Grant[]>>
  readonly far?: PeerOptions
  /** Of all the others. */
  readonly others?: PeerOptions
  readonly network?: MemoryNetwork
  /** Around what the others speak over. */
  readonly over?: (transport: Transport, name: string) => Transport
}

/** Soon noticed, soon given up. */
const CLOCKS = { heartbeat: 30, suspicion: 400, lostAfter: 5_000 }

export class ActorWorld implements AsyncDisposable {
  readonly network: MemoryNetwork
  readonly #options: ActorWorldOptions
  readonly #peers = new Map<string, Peer>()
  readonly #links: (() => Promise<void>)[] = []
  #host!: PeerHost
  #far!: Peer

  private constructor(options: ActorWorldOptions) {
    this.#options = options
    this.network = options.network ?? createMemoryNetwork()
  }

  static async open(options: ActorWorldOptions): Promise<ActorWorld> {
    const world = new ActorWorld(options)
    await world.restart()
    await world.add('here')
    return world
  }

  get grants(): Readonly<Record<string, readonly Grant[]>> {
    return this.#options.peers ?? { here: mayAll(this.#options.machines) }
  }

  /** far, as a program holds it. */
  get far(): Peer {
    return this.#far
  }
  get host(): PeerHost {
    return this.#host
  }
  get here(): Peer {
    return this.peer('here')
  }
  peer(name: string): Peer {
    return this.#peers.get(name)!
  }

  /** far begins, or begins anew: under the same name, with nothing of what it had. */
  async restart(): Promise<void> {
    const { machines, far } = this.#options
    this.#host = await PeerHost.open({
      ...CLOCKS,
      name: 'far',
      transport: memory({ network: this.network, name: 'far' }),
      machines,
      policy: { peers: Object.fromEntries(Object.entries(this.grants).map(([name, grants]) => [name, [...grants]])) },
      ...far,
    })
    this.#far = new PeerHandle(this.#host)
  }

  /** One more that goes to far; or one again, in a process of its own: it has nothing of what it had. */
  async add(name: string): Promise<Peer> {
    const own = memory({ network: this.network, name })
    const peer = await createPeer({
      ...CLOCKS,
      name,
      transport: this.#options.over?.(own, name) ?? own,
      policy: { peers: { far: [] } },
      ...this.#options.others,
    })
    this.#peers.set(name, peer)
    return peer
  }

  /** A bare link to far under that key, which no peer of the world has. */
  async link(name: string, client: string = crypto.randomUUID()): Promise<Link> {
    const transport = memory({ network: this.network, name, dialOnly: true })
    await transport.start({
      admits: () => true,
      protocols: protocols({ interval: 30, suspicion: 60_000 }),
      accept: (channel) => channel.abort(),
    })
    const link = await openLink({ transport, peer: 'far', self: { client, name } })
    this.#links.push(async () => {
      await link.close()
      await transport.close()
    })
    return link
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#links.map((close) => close()))
    await Promise.all([...this.#peers.values(), this.#far].map((peer) => peer.close()))
  }
}

/** What it takes to spawn any of these. */
export function mayAll(machines: readonly MachineDefinition[]): Grant[] {
  return ['connect', ...machines.map(({ name }) => `spawn:${name}` as const)]
}

/** Where requests to it go. */
export function placeOfRef({ address: { path } }: Ref<any>): Address & { session: string; job: string } {
  const [session = '', job = ''] = path.split('/')
  return { session, job }
}

/** As an outbox would send them. */
export function batchOf(...events: readonly unknown[]): Uint8Array {
  const writer = createChunkWriter()
  for (const event of events) writer.add(event)
  return writer.finish()
}

/** An actor without a peer around it: what it says is heard by nobody. */
export async function hosted(
  machine: MachineDefinition,
  input?: unknown,
): Promise<{ actor: ActorHost; turns: ActorTurns }> {
  const turns = new ActorTurns()
  const io: ExecutionIO = { chunk: ({ bytes }) => actor.credit(bytes.byteLength), ended: () => undefined }
  const actor = new ActorHost(machine, input, 1, io, { turns, tell: () => undefined })
  void actor.start()
  return { actor, turns }
}

/** The ways of a peer of this process. */
export function routesOf(peer: Peer): ActorRoutes {
  return (peer as unknown as { via: PeerHost }).via.routes
}

/** What that peer sends to that actor through. */
export function outboxOf(peer: Peer, { address }: Ref<any>): ActorOutbox {
  return routesOf(peer).outbox(address)
}
