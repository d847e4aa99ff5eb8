// What a supervisor does with children on peers. Each is in a temporary session that was opened for it alone: closing that ends
// the child, and where its peer is away and not back in time it ends by itself, and the child with it.
import type { ActorAddress, ChildSpec, Down, Monitor, Ref, SpawnOptions } from './actor-surface.ts'
import { placeOf } from './actor-way.ts'
import { asError, codeOf } from './errors.ts'
import { untilAborted } from './output-log.ts'
import type { PeerRef } from './peer-handle.ts'
import type { Peer, Session } from './surface.ts'
import { LEFT_MS, type Incarnation, type SupervisorPorts } from './supervisor.ts'

/** What it takes of a peer. */
type SupervisingPeer = Pick<Peer, 'id' | 'connect' | 'spawn' | 'ref' | 'register'>

export class PeerSupervision implements SupervisorPorts {
  readonly #peer: SupervisingPeer
  readonly #via: PeerRef
  /** Names that are its children's. */
  readonly #names = new Set<string>()

  constructor(peer: SupervisingPeer, via: PeerRef) {
    this.#peer = peer
    this.#via = via
  }

  get over(): AbortSignal {
    return this.#via.actors.over
  }

  /** A program beside a daemon has none of its own: what it starts there is to end with it. */
  get #own(): 'localhost' | undefined {
    return this.#via.local.snapshot.transport === 'socket' ? 'localhost' : undefined
  }

  start(child: ChildSpec, called: string, on: string | undefined, signal: AbortSignal): Promise<Incarnation> {
    const place = on ?? this.#own
    return place === undefined ? this.#startHere(child, called) : this.#startAt(place, child, called, signal)
  }

  /** Not given up on the way: no session would end it. What is up when nobody wants it any more is stopped. */
  async #startHere(child: ChildSpec, called: string): Promise<Incarnation> {
    const { actors } = this.#via
    const { address } = letGo(await this.#peer.spawn(child.machine, spawnOptions(child)))
    const stop = async (signal?: AbortSignal): Promise<void> => {
      await actors.ask(placeOf(address), { type: 'actor.stop', epoch: address.epoch }, { signal })
    }
    try {
      await this.#name(called, address)
    } catch (error) {
      await stop()
      throw error
    }
    return new Life(actors.monitor(address), stop)
  }

  async #startAt(place: string, child: ChildSpec, called: string, signal: AbortSignal): Promise<Incarnation> {
    // Tried again for as long as it could still be there: then it can be told that it is to end.
    const session = await this.#peer.connect(place, { temporary: true, lostAfter: LEFT_MS, signal })
    try {
      const { address } = letGo(await session.spawn(child.machine, { ...spawnOptions(child), signal }))
      await this.#name(called, address, signal)
      return new Life(this.#via.actors.monitor(address), (late) => closeWhenThere(session, late))
    } catch (error) {
      const closing = session.close().catch(() => undefined) // then its lease ends it
      // Who stops it waits until it is gone; who goes on elsewhere need not.
      if (signal.aborted) await closing
      throw error
    }
  }

  /** Whoever follows the name goes on with this one. One that had it before its first child is somebody else's. */
  async #name(name: string, address: ActorAddress, signal?: AbortSignal): Promise<void> {
    try {
      await this.#peer.register(name, address, { replace: this.#names.has(name), ...(signal && { signal }) })
      this.#names.add(name)
    } catch (error) {
      // It has ended already: why, its monitor says.
      if (codeOf(error) !== 'ACTOR_GONE') throw error
    }
  }

  async follow(name: string): Promise<Ref> {
    const { id: peer } = this.#peer
    return this.#peer.ref({ peer, path: '', epoch: 0, follow: { peer, name } })
  }
}

class Life implements Incarnation {
  readonly address: ActorAddress
  readonly down: Promise<Pick<Down, 'reason' | 'error'>>
  readonly #monitor: Monitor
  readonly #stop: (late: AbortSignal) => Promise<void>

  constructor(monitor: Monitor, stop: (late: AbortSignal) => Promise<void>) {
    this.address = monitor.address
    this.#monitor = monitor
    this.#stop = stop
    // It was left, or the peer that monitors was closed: nobody will say any more.
    this.down = monitor.down.catch((error: unknown) => ({ reason: 'gone', error: asError(error) }))
  }

  async stop(late: AbortSignal): Promise<void> {
    try {
      await this.#stop(late)
      // That it has been told is not yet that it is heard of.
      await untilAborted(this.down, late)
    } finally {
      this.#monitor[Symbol.dispose]()
    }
  }
}

function spawnOptions({ input, name, register, groups }: ChildSpec): SpawnOptions {
  return {
    input,
    ...(name !== undefined && { name }),
    ...(register !== undefined && { register }),
    ...(groups !== undefined && { groups }),
  }
}

/** Its end is what is looked for; what it does is nobody's business here. */
function letGo(ref: Ref): Ref {
  ref[Symbol.dispose]()
  return ref
}

/** While its peer is away it is tried again by itself; what is there again is ours again, and can be closed. */
async function closeWhenThere(session: Session, signal: AbortSignal): Promise<void> {
  // That the link is lost may be heard here before the session has heard of it.
  await new Promise((resolve) => setImmediate(resolve))
  for await (const { state } of session.watch({ signal })) if (state !== 'Connecting') break
  await session.close()
}
