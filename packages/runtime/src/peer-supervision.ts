// What a supervisor does with children on peers. Each is in a temporary session that was opened for it alone: closing that ends
// the child, and where its peer is away and not back in time it ends by itself, and the child with it.
import type { ActorAddress, ChildSpec, Down, Monitor, Ref, SpawnOptions } from './actor-surface.ts'
import { placeOf, type ActorWay } from './actor-way.ts'
import { asError, codeOf } from './errors.ts'
import { untilAborted } from './output-log.ts'
import type { PeerRef } from './peer-handle.ts'
import { spawnIn } from './spawn.ts'
import type { Peer, Session } from './surface.ts'
import { LEFT_MS, type Incarnation, type SupervisorPorts } from './supervisor.ts'

/** It was not the child that somebody wanted to stop: its peer went down in order, or its session was left for too long. */
const LOST: ReadonlySet<string> = new Set(['PEER_SHUTDOWN', 'SESSION_EXPIRED'])

/** What it takes of a peer. */
type SupervisingPeer = Pick<Peer, 'id' | 'connect' | 'ref' | 'register'>

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
    // It ends with its supervisor, which its peer takes with it however that ends: nobody would ever look for one that goes on.
    const life = this.#life(await spawnIn(this.#via.local, child.machine, spawnOptions(child), true), undefined)
    try {
      await this.#name(called, life.address)
    } catch (error) {
      await life.stop()
      throw error
    }
    return life
  }

  async #startAt(place: string, child: ChildSpec, called: string, signal: AbortSignal): Promise<Incarnation> {
    // Tried again for as long as it could still be there: then it can be told that it is to end.
    const session = await this.#peer.connect(place, { temporary: true, lostAfter: LEFT_MS, signal })
    try {
      const life = this.#life(await session.spawn(child.machine, { ...spawnOptions(child), signal }), session)
      await this.#name(called, life.address, signal)
      return life
    } catch (error) {
      const closing = session.close().catch(() => undefined) // then its lease ends it
      // Who stops it waits until it is gone; who goes on elsewhere need not.
      if (signal.aborted) await closing
      throw error
    }
  }

  #life(ref: Ref, session: Session | undefined): Life {
    // Its end is what is looked for; what it does is nobody's business here.
    ref[Symbol.dispose]()
    return new Life(this.#via.actors, ref.address, session)
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
  readonly #actors: ActorWay
  readonly #session: Session | undefined
  readonly #monitor: Monitor
  /** Why it is down, as soon as that is known. */
  #reason: Down['reason'] | undefined
  #closing: Promise<void> | undefined

  constructor(actors: ActorWay, address: ActorAddress, session: Session | undefined) {
    this.address = address
    this.#actors = actors
    this.#session = session
    this.#monitor = actors.monitor(address)
    this.down = this.#told()
  }

  async #told(): Promise<Pick<Down, 'reason' | 'error'>> {
    try {
      const { reason, error } = await this.#monitor.down
      this.#reason = reason === 'stopped' && LOST.has(codeOf(error) ?? '') ? 'peer lost' : reason
      // One that was told to stop is down when nothing is left of its session either.
      await this.#closing
      return { reason: this.#reason, error }
    } catch (error) {
      // It was left, or the peer that monitors was closed: nobody will say any more.
      return { reason: 'gone', error: asError(error) }
    }
  }

  async stop(late?: AbortSignal): Promise<void> {
    try {
      // One that cannot be reached is told first that it is to end: a session is closed here whether or not it was told.
      if (this.#reason !== 'unreachable') await (this.#closing = this.#close())
      // Its link may have been lost in that very moment.
      if (this.#reason === undefined || this.#reason === 'unreachable') await this.#end(late)
      await this.#close()
      await untilAborted(this.down, late)
    } finally {
      this.#monitor[Symbol.dispose]()
    }
  }

  /** Where it cannot be told, that is left to its lease. */
  async #close(): Promise<void> {
    await this.#session?.close().catch(() => undefined)
  }

  /** Over whatever link there is, as soon as there is one. */
  async #end(signal: AbortSignal | undefined): Promise<void> {
    const { address } = this
    try {
      await this.#actors.ask(placeOf(address), { type: 'actor.stop', epoch: address.epoch }, { signal })
    } catch (error) {
      // It has ended with its session, or ends with that; without one there is nobody else to end it.
      if (!this.#session) throw error
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
