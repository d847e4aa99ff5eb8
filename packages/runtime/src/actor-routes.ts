// A peer's ways to actors: those that it hosts itself, and those elsewhere over its links, whatever becomes of the sessions
// they were spawned in. What is asked or watched goes on over the next link when one ends.
import { backOff, type Cancel } from '@errand/transport'
import { ActorOutboxes } from './actor-outboxes.ts'
import type { ActorOutbox } from './actor-outbox.ts'
import { goneState, type ActorState } from './actor-state.ts'
import { checkedName, type ActorNames } from './actor-names.ts'
import type { ActorAddress, Monitor, Ref } from './actor-surface.ts'
import { placeOf, type ActorPlace, type ActorWay, type RefOptions, type Whereis } from './actor-way.ts'
import { ask } from './asking.ts'
import { asError, codeOf, PeerClosedError, SessionNotFoundError } from './errors.ts'
import type { JobReading, Link } from './link.ts'
import { ActorMonitor } from './monitor.ts'
import { NameFollows } from './name-follows.ts'
import type { Network } from './network.ts'
import { untilAborted } from './output-log.ts'
import { MachineRef } from './ref.ts'
import type { HostSession } from './session.ts'
import type { RequestOptions } from './session-ref.ts'
import type { PeerId } from './surface.ts'
import type { Beat, ReadRequest, SessionEvent } from './wire.ts'

/** What the ways need of the peer. */
export interface RoutesHome {
  readonly beat: Beat
  readonly name: string
  /** Its id; 'local' before it has a network. */
  readonly id: PeerId
  readonly network: Network
  readonly lostAfter: number
  /** A session that it hosts, its own among them. */
  hosted(instanceId: string): HostSession | undefined
  readonly names: ActorNames
  /** Aborts when it closes. */
  readonly over: AbortSignal
}

export class ActorRoutes implements ActorWay {
  readonly #home: RoutesHome
  readonly #pauses: Pauses
  readonly #outboxes = new ActorOutboxes(
    (place, event) => this.ask(place, event),
    (place) => (this.#isHere(place) ? undefined : place.peer),
  )
  readonly names: NameFollows = new NameFollows({
    ask: (peer, name, cursor, signal) => this.whereis({ on: peer, name, cursor }, signal),
    wait: (peer, ms, signal) => this.#pauses.wait(peer, ms, signal),
    over: () => this.#home.over.aborted,
  })

  constructor(home: RoutesHome) {
    this.#home = home
    this.#pauses = new Pauses(home.over)
  }

  get over(): AbortSignal {
    return this.#home.over
  }
  get beat(): Beat {
    return this.#home.beat
  }

  /** A peer has come to us: what waits to try it again need not wait. */
  heardOf(peer: PeerId): void {
    this.#pauses.end(peer)
  }

  outbox(address: ActorAddress): ActorOutbox {
    return this.#outboxes.to(address)
  }

  sending(address: ActorAddress): ActorOutbox | undefined {
    return this.#outboxes.there(address)
  }

  async ref(address: ActorAddress, options: RefOptions = {}): Promise<Ref> {
    return new MachineRef(this, address, options) as unknown as Ref
  }

  monitor(address: ActorAddress, options: Cancel = {}): Monitor {
    return new ActorMonitor(this, address, options)
  }

  /** What another process has to say to an actor, in this peer's name: beside what this one says. */
  passOn(place: ActorPlace, event: SessionEvent, options: RequestOptions): Promise<unknown> {
    return this.#outboxes.pass(place, () => this.ask(place, event, options))
  }

  #isHere({ peer }: ActorPlace): boolean {
    return peer === this.#home.id || peer === 'local'
  }

  /** @throws SessionNotFoundError */
  #hosted({ session }: ActorPlace): HostSession {
    const found = this.#home.hosted(session)
    if (!found) throw new SessionNotFoundError(session, this.#home.name)
    return found
  }

  async ask(place: ActorPlace, event: SessionEvent, options: RequestOptions = {}): Promise<unknown> {
    const { over, network, lostAfter } = this.#home
    if (over.aborted) throw new PeerClosedError()
    if (this.#isHere(place)) return this.#hosted(place).request(event, place.job, options)
    const there = network.place(place.peer)
    // It may have been asked long before its link ended.
    const next = async (ended: Link | undefined, why: unknown): Promise<Link> => {
      const since = performance.now()
      const pauses = backOff()
      for (let reason = why, again = ended !== undefined; ; again = true) {
        if (again) {
          if (over.aborted) throw new PeerClosedError()
          if (performance.now() - since > lostAfter) throw reason
          await this.#pauses.wait(there.peer, pauses.next().value, options.signal)
        }
        try {
          return network.linkThere(there) ?? (await network.linkTo(there, options.signal))
        } catch (error) {
          if (codeOf(error) !== 'PEER_UNREACHABLE' || options.signal?.aborted) throw error
          reason = error
        }
      }
    }
    // In the same turn where there is a link: what is asked next must not overtake it.
    const now = (ended: Link | undefined, why: unknown): Link | Promise<Link> =>
      (ended ? undefined : network.linkThere(there)) ?? next(ended, why)
    const to = { session: place.session, job: place.job }
    const { answer } = await ask(to, event, { ...options, location: there.location, next: now })
    return answer
  }

  /**
   * Who has that name on that peer, or on this one, as soon as it is another one than `cursor` says.
   * @throws PeerNotFoundError, PeerUnreachableError, PeerLostError, DeniedError
   */
  async whereis(
    { name, on, cursor }: { name: string; on?: string | undefined; cursor?: string | undefined },
    signal?: AbortSignal,
  ): Promise<Whereis> {
    const { network, names, id } = this.#home
    if (on === undefined || on === id || on === 'local') {
      return { peer: id, ...(await names.watchName(name, cursor, signal)) }
    }
    const there = network.place(on)
    const link = network.linkThere(there) ?? (await network.linkTo(there, signal))
    const event = { type: 'names.watch' as const, name, ...(cursor !== undefined && { cursor }) }
    const answer = checkedName(there.location, await link.ask({}, event, { signal }))
    // The daemon of this machine, by way of its socket, is known by no other name here.
    return { ...answer, peer: there.key === 'localhost' ? 'localhost' : there.peer }
  }

  /** Tells, once, that an actor is no more; whether one is that may not be watched nobody knows. Ends with what it returns. */
  untilDown(address: ActorAddress, down: () => void): () => void {
    return this.watch(
      placeOf(address),
      address.epoch,
      ({ status, reason }) => {
        if (status !== 'active' && !UNKNOWN.has(codeOf(reason) ?? '')) down()
      },
      () => undefined,
    )
  }

  watch(
    place: ActorPlace,
    epoch: number,
    listener: (state: ActorState) => void,
    away: (reason: Error) => void,
  ): () => void {
    if (this.#isHere(place)) {
      try {
        return this.#hosted(place).watchActor(place.job, epoch, listener)
      } catch (error) {
        listener(goneState(asError(error)))
        return () => undefined
      }
    }
    return new FarWatch(this.#home, this.#pauses, place, epoch, listener, away).end
  }

  async *read(place: ActorPlace, request: ReadRequest, signal: AbortSignal): JobReading {
    if (this.#isHere(place)) return yield* this.#hosted(place).read(place.job, request, signal)
    const { network } = this.#home
    const there = network.place(place.peer)
    const pauses = backOff()
    let from = request.from
    let { tail } = request
    while (!signal.aborted) {
      try {
        const link = network.linkThere(there) ?? (await network.linkTo(there, signal))
        const asked = { ...request, tail, ...(from !== undefined && { from, tail: undefined }) }
        const reading = link.read({ session: place.session, job: place.job }, asked, signal)
        try {
          for (;;) {
            const step = await reading.next()
            if (step.done) return step.value
            yield step.value
            from = step.value.first + step.value.count
            tail = undefined
          }
        } finally {
          await reading.return(undefined)
        }
      } catch (error) {
        if (signal.aborted) break
        const code = codeOf(error)
        if (code !== 'PEER_LOST' && code !== 'PEER_UNREACHABLE') throw error
        await this.#pauses.wait(there.peer, pauses.next().value, signal)
      }
    }
    return undefined
  }
}

/** Why an actor cannot be watched that may well be there. */
const UNKNOWN: ReadonlySet<string> = new Set(['DENIED', 'PEER_NOT_FOUND', 'PEER_CLOSED', 'LIMIT'])

/** Waiting before a peer is tried again. */
class Pauses {
  readonly #over: AbortSignal
  readonly #waiting = new Map<PeerId, Set<() => void>>()

  constructor(over: AbortSignal) {
    this.#over = over
  }

  /** Until then, or sooner: it has been heard of, nobody wants it any more, or the peer closes. */
  async wait(peer: PeerId, ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiting = this.#waiting.get(peer) ?? new Set()
    this.#waiting.set(peer, waiting.add(resolve))
    const timer = setTimeout(resolve, ms)
    try {
      await untilAborted(promise, signal ? AbortSignal.any([signal, this.#over]) : this.#over)
    } finally {
      clearTimeout(timer)
      waiting.delete(resolve)
      if (waiting.size === 0) this.#waiting.delete(peer)
    }
  }

  end(peer: PeerId): void {
    for (const resolve of this.#waiting.get(peer) ?? []) resolve()
  }
}

/** One watcher of an actor elsewhere: over the link there is, and the next one. */
class FarWatch {
  readonly #home: RoutesHome
  readonly #pauses: Pauses
  readonly #place: ActorPlace
  readonly #epoch: number
  readonly #listener: (state: ActorState) => void
  readonly #away: (reason: Error) => void
  readonly #over = new AbortController()
  #unwatch: (() => void) | undefined

  constructor(
    home: RoutesHome,
    pauses: Pauses,
    place: ActorPlace,
    epoch: number,
    listener: (state: ActorState) => void,
    away: (reason: Error) => void,
  ) {
    this.#home = home
    this.#pauses = pauses
    this.#place = place
    this.#epoch = epoch
    this.#listener = listener
    this.#away = away
    void this.#follow()
  }

  readonly end = (): void => {
    this.#over.abort()
    this.#unwatch?.()
  }

  async #follow(): Promise<void> {
    const signal = AbortSignal.any([this.#over.signal, this.#home.over])
    for (const pause of backOff()) {
      try {
        const { network } = this.#home
        const there = network.place(this.#place.peer)
        const link = network.linkThere(there) ?? (await network.linkTo(there, signal))
        if (signal.aborted) return
        this.#listen(link)
        return
      } catch (thrown) {
        if (signal.aborted) return
        const error = asError(thrown)
        // Denied, or not in the book any more: no use in trying.
        if (codeOf(error) !== 'PEER_UNREACHABLE') return this.#tell(goneState(error))
        this.#away(error)
      }
      await this.#pauses.wait(this.#place.peer, pause, signal)
      if (signal.aborted) return
    }
  }

  #listen(link: Link): void {
    const { session, job } = this.#place
    const lost = (cause: Error | undefined): void => {
      if (this.#over.signal.aborted) return
      this.#away(cause ?? new PeerClosedError(`the link to ${this.#place.peer} ended`))
      void this.#follow()
    }
    try {
      const to = { session, job, actor: this.#epoch }
      this.#unwatch = link.watch<ActorState>(to, (state) => this.#tell(state), lost)
    } catch (error) {
      this.#tell(goneState(asError(error)))
    }
  }

  #tell(state: ActorState): void {
    if (this.#over.signal.aborted) return
    if (state.status !== 'active') this.end()
    this.#listener(state)
  }
}
