// The way to actors of a program beside a daemon: that passes on what is asked, to wherever the actor is. Loads xstate only
// when a ref is made.
import { setTimeout as delay } from 'node:timers/promises'
import { ActorOutboxes } from './actor-outboxes.ts'
import type { ActorOutbox } from './actor-outbox.ts'
import { goneState, heardState, type ActorState } from './actor-state.ts'
import type { ActorAddress, Down, Monitor, Ref } from './actor-surface.ts'
import type { ActorPlace, ActorWay, RefOptions, Whereis } from './actor-way.ts'
import { asError, codeOf, PeerLostError } from './errors.ts'
import type { JobReading, Link } from './link.ts'
import { askOver, type Line } from './link-session.ts'
import { NameFollows } from './name-follows.ts'
import type { RequestOptions } from './session-ref.ts'
import type { Cancel } from './surface.ts'
import type { Address, Beat, ReadRequest, SessionEvent } from './wire.ts'

/** The daemon hears of its peers as it was told to; a program beside it takes the usual for granted. */
const BEAT: Beat = { interval: 1_000, suspicion: 4_000 }

export class ClientActors implements ActorWay {
  readonly beat = BEAT
  readonly over: AbortSignal
  readonly #line: Line
  readonly #outboxes: ActorOutboxes = new ActorOutboxes(
    (place, event, options) => this.ask(place, event, options),
    () => 'daemon',
  )

  readonly names: NameFollows = new NameFollows({
    ask: async (on, name, cursor, signal) => {
      const event = { type: 'local.whereis' as const, on, name, ...(cursor !== undefined && { cursor }) }
      return (await askOver(this.#line, {}, event, { signal })) as Whereis
    },
    wait: async (_, ms, signal) => delay(ms, undefined, { signal, ref: false }).catch(() => undefined),
    // Of a daemon that goes down another one may come, until that was waited for in vain.
    over: (error) => !this.#line.link.open && (!this.#line.instead || codeOf(error) === 'PEER_LOST'),
  })

  constructor(line: Line, over: AbortSignal) {
    this.#line = line
    this.over = over
  }

  async ask(place: ActorPlace, event: SessionEvent, options: RequestOptions = {}): Promise<unknown> {
    for (;;) {
      const { link } = this.#line
      try {
        return await askOver(this.#line, toward(place), event, options)
      } catch (error) {
        // What has numbers is taken once, whichever daemon passes it on.
        if (event.type !== 'actor.tell' || !this.#isDaemons(error)) throw error
        await link.closed
      }
    }
  }

  watch(
    place: ActorPlace,
    epoch: number,
    listener: (state: ActorState) => void,
    away: (reason: Error) => void,
  ): () => void {
    const over = new AbortController()
    let stop: (() => void) | undefined
    const take = (link: Link, said: ActorState): void => {
      const state = heardState(said)
      if (state.away) away(state.away)
      else if (this.#isDaemons(state.reason)) void link.closed.then(() => onLost(link, state.reason))
      else listener(state)
    }
    const gone = (reason: Error): void => {
      if (!over.signal.aborted) listener(goneState(reason, epoch))
    }
    const onLost = async (link: Link, cause: Error | undefined): Promise<void> => {
      if (over.signal.aborted) return
      const reason = new PeerLostError('the link to the peer of this machine ended', { cause })
      if (!this.#line.instead) return gone(reason)
      away(reason)
      try {
        const next = await this.#line.instead(link, over.signal)
        if (!over.signal.aborted) listen(next)
      } catch (error) {
        gone(asError(error))
      }
    }
    const listen = (link: Link): void => {
      try {
        stop = link.watch<ActorState>(
          { ...toward(place), actor: epoch },
          (said) => take(link, said),
          (cause) => void onLost(link, cause),
        )
      } catch (error) {
        gone(asError(error))
      }
      // Told at once, nobody may want to hear more.
      if (over.signal.aborted) stop?.()
    }
    listen(this.#line.link)
    return () => {
      over.abort()
      stop?.()
    }
  }

  async *read(place: ActorPlace, epoch: number, request: ReadRequest, signal: AbortSignal): JobReading {
    let asked = request
    const to = { ...toward(place), actor: epoch }
    for (let { link } = this.#line; ;) {
      const reading = link.read(to, asked, signal)
      try {
        for (;;) {
          const step = await reading.next()
          if (step.done) return step.value
          yield step.value
          asked = { ...asked, tail: undefined, from: step.value.first + step.value.count }
        }
      } catch (error) {
        if (signal.aborted) throw error
        if (this.#isDaemons(error)) await link.closed
        else if (!this.#line.instead || link.open || codeOf(error) !== 'PEER_LOST') throw error
      } finally {
        await reading.return(undefined)
      }
      link = await this.#line.instead!(link, signal)
    }
  }

  /** That is the daemon's own end, and nothing is said of the actor: another one may take its place. */
  #isDaemons(reason: unknown): boolean {
    return this.#line.instead !== undefined && codeOf(reason) === 'PEER_CLOSED'
  }

  outbox(address: ActorAddress): ActorOutbox {
    return this.#outboxes.to(address)
  }

  numbered(address: ActorAddress): { from: string; seq: number } {
    return this.#outboxes.numbered(address)
  }

  sending(address: ActorAddress): ActorOutbox | undefined {
    return this.#outboxes.there(address)
  }

  monitor(address: ActorAddress, options: Cancel = {}): Monitor {
    return new LoadedMonitor(this, address, options)
  }

  async ref(address: ActorAddress, options: RefOptions = {}): Promise<Ref> {
    const { MachineRef } = await import('./ref.ts')
    return new MachineRef(this, address, options) as unknown as Ref
  }
}

/** A monitor from the first moment on, though what it is made of has yet to be loaded. */
class LoadedMonitor implements Monitor {
  readonly address: ActorAddress
  readonly down: Promise<Down>
  readonly #left = new AbortController()
  readonly #loaded: Promise<Monitor>

  constructor(way: ActorWay, address: ActorAddress, { signal }: Cancel) {
    signal?.throwIfAborted()
    this.address = address
    const either = signal ? AbortSignal.any([signal, this.#left.signal]) : this.#left.signal
    this.#loaded = import('./monitor.ts').then(({ ActorMonitor }) => new ActorMonitor(way, address, { signal: either }))
    this.down = this.#loaded.then(({ down }) => down)
    this.down.catch(() => undefined) // most wait by iterating
  }

  [Symbol.dispose](): void {
    this.#left.abort()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Down, void, undefined> {
    try {
      yield* await this.#loaded
    } finally {
      this[Symbol.dispose]()
    }
  }
}

function toward({ peer, session, job }: ActorPlace): Address {
  return { peer, session, job }
}
