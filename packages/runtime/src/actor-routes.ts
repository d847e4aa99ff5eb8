// A peer's ways to actors: those that it hosts itself, and those elsewhere over its links, whatever becomes of the sessions
// they were spawned in. What is asked or watched goes on over the next link when one ends.
import type { Cancel } from '@errand/transport'
import { ActorLinks } from './actor-links.ts'
import { ActorOutboxes } from './actor-outboxes.ts'
import type { ActorOutbox } from './actor-outbox.ts'
import { goneState, heardState, type ActorState } from './actor-state.ts'
import { checkedName, type ActorNames } from './actor-names.ts'
import type { ActorAddress, Monitor, Ref } from './actor-surface.ts'
import {
  LOOK_AGAIN_MS,
  placeOf,
  UNSEEN_FOR,
  type ActorPlace,
  type ActorWay,
  type RefOptions,
  type Whereis,
} from './actor-way.ts'
import { ask } from './asking.ts'
import {
  ActorGoneError,
  asError,
  codeOf,
  PeerClosedError,
  PeerUnreachableError,
  SessionNotFoundError,
} from './errors.ts'
import type { JobReading, Link } from './link.ts'
import { ActorMonitor } from './monitor.ts'
import { NameFollows } from './name-follows.ts'
import type { Network, Place } from './network.ts'
import { MachineRef } from './ref.ts'
import type { HostSession } from './session.ts'
import { onAbort } from './on-abort.ts'
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
  readonly #links: ActorLinks
  readonly outboxes: ActorOutboxes = new ActorOutboxes(
    (place, event, options) => this.ask(place, event, options),
    (place) => (this.#isHere(place) ? undefined : place.peer),
  )
  readonly names: NameFollows = new NameFollows({
    ask: (peer, name, cursor, signal) => this.whereis({ on: peer, name, cursor }, signal),
    wait: (peer, ms, signal) => this.#links.wait(peer, ms, signal),
    over: () => this.#home.over.aborted,
  })

  constructor(home: RoutesHome) {
    this.#home = home
    this.#links = new ActorLinks(home.network, home.over)
  }

  get over(): AbortSignal {
    return this.#home.over
  }
  get beat(): Beat {
    return this.#home.beat
  }

  /** A peer has come to us, or we to it: what waits to try it again need not wait. */
  heardOf(peer: PeerId): void {
    this.#links.heardOf(peer)
  }

  outbox(address: ActorAddress): ActorOutbox {
    return this.outboxes.to(address)
  }

  numbered(address: ActorAddress): { from: string; seq: number } {
    return this.outboxes.numbered(address)
  }

  sending(address: ActorAddress): ActorOutbox | undefined {
    return this.outboxes.there(address)
  }

  async ref(address: ActorAddress, options: RefOptions = {}): Promise<Ref> {
    return new MachineRef(this, address, options) as unknown as Ref
  }

  monitor(address: ActorAddress, options: Cancel = {}): Monitor {
    return new ActorMonitor(this, address, options)
  }

  /** What another process has to say to an actor, in this peer's name: beside what this one says. */
  passOn(place: ActorPlace, event: SessionEvent, options: RequestOptions): Promise<unknown> {
    const ask = (): Promise<unknown> => this.ask(place, event, options)
    // What is asked has room of its own.
    return event.type === 'actor.tell' ? this.outboxes.pass(place, ask, options.signal) : ask()
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
    if (this.#isHere(place)) {
      const answer = this.#hosted(place).request(event, place.job, options)
      options.onSend?.()
      return answer
    }
    const there = network.place(place.peer)
    /** Since when it is without an answer and without a link that lasts. */
    let since = performance.now()
    let linked = since
    const next = async (why: unknown): Promise<Link> => {
      // It may have waited for long, over a link that was there all the time.
      if (performance.now() - linked > LASTING) since = performance.now()
      let failed: Error | undefined
      const late = new AbortController()
      const timer = setTimeout(() => late.abort(), Math.max(0, since + lostAfter - performance.now()))
      try {
        const either = options.signal ? AbortSignal.any([options.signal, late.signal]) : late.signal
        return await this.#links.link(there, either, (error) => (failed = error))
      } catch (error) {
        if (!late.signal.aborted || options.signal?.aborted) throw error
        // It was lost on its way, and nobody knows what became of it; or it has never left.
        throw why ?? unreachable(there, lostAfter, failed)
      } finally {
        clearTimeout(timer)
        linked = performance.now()
      }
    }
    // In the same turn where there is a link: what is asked next must not overtake it.
    const now = (ended: Link | undefined, why: unknown): Link | Promise<Link> =>
      (ended ? undefined : network.linkThere(there)) ?? next(why)
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

  /** Tells, once, that an actor is no more; of one that may not be watched nobody knows. Ends with what it returns. */
  untilDown(address: ActorAddress, down: () => void): () => void {
    let over = false
    let unwatch: (() => void) | undefined
    let again: NodeJS.Timeout | undefined
    const look = (): void => {
      unwatch = this.watch(
        placeOf(address),
        address.epoch,
        ({ status, reason }) => {
          if (over || status === 'active' || codeOf(reason) === 'PEER_CLOSED') return
          if (!UNSEEN_FOR.has(codeOf(reason) ?? '')) return down()
          again = setTimeout(look, LOOK_AGAIN_MS).unref()
        },
        () => undefined,
      )
    }
    look()
    return () => {
      over = true
      clearTimeout(again)
      unwatch?.()
    }
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
    return new FarWatch(this.#home, this.#links, place, epoch, listener, away).end
  }

  async *read(place: ActorPlace, epoch: number, request: ReadRequest, signal: AbortSignal): JobReading {
    if (this.#isHere(place)) return yield* this.#hosted(place).readActor(place.job, epoch, request, signal)
    const there = this.#home.network.place(place.peer)
    let from = request.from
    let { tail } = request
    const to = { session: place.session, job: place.job, actor: epoch }
    while (!signal.aborted) {
      let link: Link | undefined
      try {
        // In the same turn where there is a link: of what is sent next, all that comes is to be read.
        link = this.#home.network.linkThere(there) ?? (await this.#links.link(there, signal, () => undefined))
        const asked = { ...request, tail, ...(from !== undefined && { from, tail: undefined }) }
        const reading = link.read(to, asked, signal)
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
        // Said over a link that is there it is the answer.
        if (codeOf(error) !== 'PEER_LOST' || link?.open) throw error
      }
    }
    return undefined
  }
}

/** A link that has lasted for so long, in ms, was one: what is lost with it is not lost for its sake. */
const LASTING = 10_000

function unreachable({ location }: Place, ms: number, cause: Error | undefined): PeerUnreachableError {
  return new PeerUnreachableError(`${location} could not be reached for ${ms / 1000} s`, { ...(cause && { cause }) })
}

/** Nobody watches any more. One for all: an error with a stack for each costs more than the rest of its end. */
const ENDED = new Error('nobody watches this actor any more')

/** One watcher of an actor elsewhere: over the link there is, and the next one. */
class FarWatch {
  readonly #home: RoutesHome
  readonly #links: ActorLinks
  readonly #place: ActorPlace
  readonly #epoch: number
  readonly #listener: (state: ActorState) => void
  readonly #away: (reason: Error) => void
  readonly #over = new AbortController()
  readonly #unclose: () => void
  #unwatch: (() => void) | undefined
  /** What remembers us there, as long as it was seen. */
  #memory: string | undefined

  constructor(
    home: RoutesHome,
    links: ActorLinks,
    place: ActorPlace,
    epoch: number,
    listener: (state: ActorState) => void,
    away: (reason: Error) => void,
  ) {
    this.#home = home
    this.#links = links
    this.#place = place
    this.#epoch = epoch
    this.#listener = listener
    this.#away = away
    this.#unclose = onAbort(home.over, () => this.#closed())
    if (home.over.aborted) this.#closed()
    else void this.#follow()
  }

  readonly end = (): void => {
    this.#over.abort(ENDED)
    this.#unclose()
    this.#unwatch?.()
  }

  /** Nothing of it can be heard here any more. */
  #closed(): void {
    this.#tell(goneState(new PeerClosedError()))
  }

  async #follow(): Promise<void> {
    const { signal } = this.#over
    try {
      const { network } = this.#home
      const there = network.place(this.#place.peer)
      const link = network.linkThere(there) ?? (await this.#links.link(there, signal, this.#away))
      if (!signal.aborted) this.#listen(link)
    } catch (error) {
      // Denied, or not in the book any more.
      if (!signal.aborted) this.#tell(goneState(asError(error)))
    }
  }

  #listen(link: Link): void {
    const { session, job } = this.#place
    const lost = (cause: Error | undefined): void => {
      if (this.#over.signal.aborted) return
      this.#away(cause ?? new PeerClosedError(`the link to ${this.#place.peer} ended`))
      void this.#follow()
    }
    const to = { session, job, actor: this.#epoch }
    const told = (state: ActorState): void => {
      const seen = heardState(state)
      if (seen.status === 'active') this.#memory = link.memory
      // Started again it does not know whose it was: what it does not let us see is not there any more.
      const anew = this.#memory !== undefined && this.#memory !== link.memory && codeOf(seen.reason) === 'DENIED'
      this.#tell(anew ? goneState(new ActorGoneError('its peer was started again', { cause: seen.reason })) : seen)
    }
    const unwatch = link.watch<ActorState>(to, told, lost)
    // Told at once, it may be over already.
    if (this.#over.signal.aborted) unwatch()
    else this.#unwatch = unwatch
  }

  #tell(state: ActorState): void {
    if (this.#over.signal.aborted) return
    if (state.status !== 'active') this.end()
    this.#listener(state)
  }
}
