// The sessions a peer holds on other peers: persistent ones with a number, home sessions, and those of single calls.
import { setTimeout as delay } from 'node:timers/promises'
import { backOff } from '@errand/transport'
import type { ActorWay } from './actor-way.ts'
import { ask } from './asking.ts'
import type { Engine } from './engine/engine.ts'
import { RemoteEngine } from './engine/remote.ts'
import { asError, PeerLostError, SessionNotFoundError, SessionStateError } from './errors.ts'
import { KeptRow } from './kept-row.ts'
import type { TableJob } from './job-row.ts'
import type { Link } from './link.ts'
import type { Network, Place } from './network.ts'
import { untilAborted, whileWanted } from './output-log.ts'
import { namedSession } from './named-session.ts'
import { RemoteSession } from './remote-session.ts'
import type { LostRun } from './sent-calls.ts'
import type { JobHost } from './job.ts'
import type { HostSession } from './session.ts'
import type { SessionRef } from './session-ref.ts'
import { SESSION_ROW, type StoredHeld } from './stored-session.ts'
import type { StoredRows } from './store/store.ts'
import type { JobSnapshot, PeerId, SessionSnapshot } from './surface.ts'
import type { HeldOptions, PeerEvent, TargetSpec } from './wire.ts'

/** What holding needs of its peer. */
export interface Holder {
  readonly name: string
  readonly network: Network
  readonly lostAfter: number
  /** Where jobs that are taken up go. */
  readonly local: HostSession
  sessionRef(instanceId: string): SessionRef
  /** None: nothing outlives the peer. */
  readonly rows: StoredRows | undefined
  /** This process, as other peers know it. */
  readonly client: string
  /** A numbered session has ended for good. */
  onGone(): void
  /** Something of a session that is held may be new. */
  onChange(): void
  readonly routes: ActorWay
}

/** Of a session that is written down. */
interface Held {
  readonly place: Place
  readonly row: KeptRow | undefined
  readonly home: boolean
}

export class Holding {
  readonly #holder: Holder
  readonly #sessions = new Map<string, RemoteSession>()
  readonly #takingUp = new Map<RemoteSession, Promise<JobSnapshot | undefined>>()
  readonly #homes = new Map<string, Promise<RemoteSession>>()
  readonly #held = new Map<RemoteSession, Held>()
  /** Sessions that came back with us go nowhere before. */
  readonly #up = Promise.withResolvers<void>()
  #leaving = false
  #last = 0

  constructor(holder: Holder) {
    this.#holder = holder
  }

  get(instanceId: string): RemoteSession | undefined {
    return this.#sessions.get(instanceId)
  }

  all(): readonly RemoteSession[] {
    return [...this.#sessions.values()]
  }

  /** Those with a number: what `session list` shows. */
  listed(): readonly RemoteSession[] {
    return this.all().filter((session) => session.options.id > 0)
  }

  /** The last number that was given. */
  get last(): number {
    return this.#last
  }

  /** Numbers up to this one were given. */
  numbered(last: number): void {
    this.#last = Math.max(this.#last, last)
  }

  /** Sessions that we held before we were started again; each is taken up when we can go out (`goOn`). */
  restore(all: readonly StoredHeld[], report: (message: string, details: Record<string, unknown>) => void): void {
    for (const was of all) {
      const place = this.#placeOf(was)
      if (!place) {
        report('left a session: its peer is in the address book no more', { session: was.instanceId, at: was.location })
        this.#holder.rows?.delete('held', was.instanceId).catch(() => undefined) // it is found again, and left again
        continue
      }
      const { id, temporary, lostAfter, reconnect, client, left, home = false } = was
      this.numbered(id)
      const options = { id, temporary, lostAfter, reconnect, kept: true, home }
      const session = this.#hold(place, { was: client, left }, was.far, options)
      if (home) this.#homes.set(place.key, Promise.resolve(session))
    }
  }

  /** Out there is a network now. Temporary sessions that nobody here works with any more are closed. */
  goOn(): void {
    this.#up.resolve()
    const used = new Set([...this.#holder.local.all()].flatMap((job) => [job, ...job.children].map(sessionOf)))
    for (const session of this.all()) {
      if (session.temporary && session.before !== undefined && !used.has(session)) {
        session.close().catch(() => undefined) // over there it ends by its lease
      }
    }
  }

  #placeOf({ place, address }: StoredHeld): Place | undefined {
    const { network } = this.#holder
    for (const to of address === undefined ? [place] : [place, address]) {
      try {
        return network.place(to)
      } catch {
        // Forgotten since; it may still be known by its address.
      }
    }
    return undefined
  }

  /** The engine of a child that was put into this session before we were started again. */
  takenUp(held: string, far: string | undefined): Engine {
    const session = this.#sessions.get(held)
    const location = session?.options.location ?? 'its peer'
    const open = async (): Promise<RemoteSession> => {
      if (session) return session
      throw new PeerLostError('the session it ran in is held no more: what it did there is unknown')
    }
    return new RemoteEngine({ location, open, again: true, ...(far !== undefined && { run: { instanceId: far } }) })
  }

  /** By number, instanceId, name, or a prefix of the instanceId. @throws SessionNotFoundError, SessionAmbiguousError */
  named(which: number | string): RemoteSession {
    const exact = typeof which === 'string' ? this.#sessions.get(which) : undefined
    return exact ?? namedSession(which, this.listed(), ({ snapshot }) => snapshot, this.#holder.name)
  }

  /** A peer has come to us: what was lost with it need not wait before it is tried again. */
  heardOf(peer: PeerId): void {
    for (const session of this.all()) if (session.options.peerId === peer) session.heardOf()
  }

  /** Opens a session there, or takes one up. */
  async open(to: string, options: HeldOptions, signal?: AbortSignal): Promise<RemoteSession> {
    return this.#open(this.#holder.network.place(to), options, options.temporary === true, signal)
  }

  /** Our standing session there, opened on first use. */
  async home(on: string, signal?: AbortSignal): Promise<RemoteSession> {
    const { network } = this.#holder
    const place = network.place(on)
    // One that could not be opened is opened anew.
    const known = await whileWanted(async () => this.#homes.get(place.key)?.catch(() => undefined), signal)
    if (known && known.state !== 'Broken' && known.state !== 'Closed') {
      await known.connect(signal)
      return known
    }
    const opening = (async () => {
      const { link, answer: far } = await this.#ask<SessionSnapshot>(place, { type: 'session.home' }, signal)
      return (
        this.#sessions.get(far.instanceId) ??
        this.#written(this.#hold(place, link, far, { id: 0, temporary: false, kept: true, home: true }))
      )
    })()
    this.#homes.set(place.key, opening)
    return opening
  }

  /** Ours on that peer, whoever of our clients opened them, by its numbers; what is held here shows as it is here. */
  async on(to: string, signal?: AbortSignal): Promise<SessionSnapshot[]> {
    const { network } = this.#holder
    const place = network.place(to)
    const { answer: far } = await this.#ask<SessionSnapshot[]>(place, { type: 'sessions' }, signal)
    const { location, peer: peerId, carrier: transport } = place
    return far.map((one) => {
      const held = this.#sessions.get(one.instanceId)
      return { ...(held?.snapshot ?? { ...one, location, peerId, transport }), id: one.id }
    })
  }

  /** The engine that runs a child there. @throws PeerNotFoundError, SessionNotFoundError: before anything is made */
  target(target: TargetSpec, lostAfter: number | undefined, kept: boolean): { engine: Engine; location: string } {
    if ('session' in target) {
      const session = this.#sessions.get(target.session)
      if (!session) throw new SessionNotFoundError(target.session, this.#holder.name)
      const { location } = session.options
      return { location, engine: new RemoteEngine({ location, open: async () => opened(session) }) }
    }
    const place = this.#holder.network.place(target.peer)
    const { location } = place
    const open = (signal: AbortSignal): Promise<RemoteSession> => this.#open(place, { lostAfter }, true, signal, kept)
    return { location, engine: new RemoteEngine({ location, open }) }
  }

  async #open(
    place: Place,
    options: HeldOptions,
    temporary: boolean,
    signal?: AbortSignal,
    kept = !temporary,
  ): Promise<RemoteSession> {
    await this.#holder.network.linkTo(place, signal)
    const { lostAfter, reconnect, session, force, temporary: _, ...rest } = options
    const openId = crypto.randomUUID()
    const name = `Runspace${this.#last + 1}`
    const event: PeerEvent =
      session === undefined
        ? { type: 'session.open', options: { name, ...rest, openId, ...(temporary && { temporary }) } }
        : { type: 'session.attach', session, ...(force && { force }) }
    // Never given up on the way: a session that was opened for nobody would stay.
    const asked = this.#ask<SessionSnapshot>(place, event)
    await untilAborted(asked, signal)
    if (signal?.aborted) {
      const leave = session === undefined ? { type: 'close' as const } : { type: 'disconnect' as const }
      // The caller has gone, and has the signal's reason; a session that cannot be told ends by its lease.
      asked.then(({ link, answer }) => link.ask({ session: answer.instanceId }, leave)).catch(() => undefined)
      signal.throwIfAborted()
    }
    const { link, answer: far } = await asked
    const known = this.#sessions.get(far.instanceId)
    let held = known
    if (!held) {
      const id = temporary ? 0 : ++this.#last
      held = await this.#written(this.#hold(place, link, far, { id, temporary, lostAfter, reconnect, kept }))
    }
    // One that was opened just now was told how it is to buffer.
    if (known || session !== undefined) await held.connect(signal, { buffering: options.buffering })
    return held
  }

  /**
   * Asked again, under the same id, over the next link if one breaks before it has brought the answer: one that was carried
   * out and not heard of would leave a session for nobody. @throws PeerLostError: the outcome is unknown
   */
  async #ask<T>(place: Place, event: PeerEvent, signal?: AbortSignal): Promise<{ link: Link; answer: T }> {
    const { network, lostAfter } = this.#holder
    const since = performance.now()
    const pauses = backOff()
    const next = async (ended: Link | undefined, why: unknown): Promise<Link> => {
      if (ended) {
        if (performance.now() - since > lostAfter) throw why
        await delay(pauses.next().value, undefined, { signal })
      }
      return network.linkTo(place, signal)
    }
    const { link, answer } = await ask({}, event, { location: place.location, next, signal })
    return { link, answer: answer as T }
  }

  #hold(
    place: Place,
    link: Link | { readonly was: string; readonly left: boolean },
    far: SessionSnapshot,
    { id, temporary, lostAfter, reconnect = false, kept, home = false }: HoldOptions,
  ): RemoteSession {
    const { network, rows } = this.#holder
    const restored = 'was' in link
    const session: RemoteSession = new RemoteSession(
      {
        link: async (signal) => {
          if (restored) await untilAborted(this.#up.promise, signal)
          return network.linkTo(place, signal)
        },
        takeUp: (from, name) => this.#takeUpOnce(from, name),
        leave: (lost, runs) => this.#leave(lost, runs),
        took: (from, run, seq) => void this.#took(from, run, seq),
        sessionRef: (instanceId) => this.#holder.sessionRef(instanceId),
        actors: this.#holder.routes,
        ended: (over) => this.#ended(over),
      },
      {
        id,
        location: place.location,
        peerId: place.peer,
        transport: place.carrier,
        lostAfter: lostAfter ?? this.#holder.lostAfter,
        temporary,
        reconnect,
      },
      link,
      far,
    )
    this.#sessions.set(far.instanceId, session)
    session.onChange(() => this.#holder.onChange())
    this.#holder.onChange()
    if (!kept || !rows) return session
    const row = new KeptRow(rows, 'held', far.instanceId, () => this.#stored(session), restored)
    this.#held.set(session, { place, row, home })
    const { state, left } = session
    let seen = { state, left }
    session.onChange(() => {
      // How it is when we leave in order is not how it was wished to be.
      if ((session.state === seen.state && session.left === seen.left) || this.#leaving) return
      seen = { state: session.state, left: session.left }
      row.changed()
    })
    return session
  }

  /** @throws StoreError: then it is not held, and over there it ends */
  async #written(session: RemoteSession): Promise<RemoteSession> {
    const row = this.#held.get(session)?.row
    if (!row) return session
    try {
      await row.put()
    } catch (error) {
      session.close().catch(() => undefined)
      throw asError(error)
    }
    return session
  }

  #stored(session: RemoteSession): StoredHeld {
    const { place, home } = this.#held.get(session)!
    const { id, lostAfter, reconnect, temporary, location } = session.options
    return {
      v: SESSION_ROW,
      instanceId: session.instanceId,
      id,
      place: place.key,
      address: place.addresses[0],
      location,
      home,
      temporary,
      lostAfter,
      reconnect,
      client: session.before ?? this.#holder.client,
      left: session.left,
      far: session.far,
    }
  }

  #ended(session: RemoteSession): void {
    this.#sessions.delete(session.instanceId)
    this.#holder.onChange()
    const held = this.#held.get(session)
    this.#held.delete(session)
    if (!held || this.#leaving) return held?.row?.leave()
    void held.row?.delete()
    this.#holder.onGone()
  }

  /** One at a time: two that ask together get one job. */
  #takeUpOnce(session: RemoteSession, name: string | undefined): Promise<JobSnapshot | undefined> {
    const under = this.#takingUp.get(session)
    if (under) return under
    const taking = this.#takeUp(session, name).finally(() => this.#takingUp.delete(session))
    this.#takingUp.set(session, taking)
    return taking
  }

  /** The same client gets the job it had; another one a new job that begins where the reader stopped. */
  async #takeUp(session: RemoteSession, name: string | undefined): Promise<JobSnapshot | undefined> {
    const { local } = this.#holder
    const there = [...local.all()].findLast((host) =>
      host.children.some(
        ({ engine, hasMoreData }) => engine instanceof RemoteEngine && engine.session === session && hasMoreData,
      ),
    )
    if (there) return there.snapshot()
    const runs = (await session.request({ type: 'runs' })) as { run: JobSnapshot; cursor: number }[]
    // A run that works for a map says nothing to anybody else.
    const found = runs.findLast(({ run }) => run.hasMoreData && run.type !== 'PSTaskJob')
    if (!found) return undefined
    return (await this.#adopt(session, found.run, found.cursor, name)).snapshot()
  }

  #adopt(
    session: RemoteSession,
    run: Pick<JobSnapshot, 'instanceId' | 'command'>,
    cursor: number,
    name: string | undefined,
  ): Promise<JobHost> {
    const { location } = session.options
    const engine = new RemoteEngine({ location, open: async () => session, run, session })
    return this.#holder.local.takeUp(run, cursor, name, engine, location)
  }

  /** What was only called, and lost with its session, is a job from now on: Disconnected, until the session is back. */
  #leave(session: RemoteSession, runs: readonly LostRun[]): void {
    for (const { id: instanceId, command, name, taken } of runs) {
      // It was received, and is a job already.
      if (this.#copyOf(session, instanceId, this.#holder.local.all())) continue
      // This peer is closing, or its table is full: over there it can still be received.
      this.#adopt(session, { instanceId, command }, taken, name).catch(() => undefined)
    }
  }

  async #took(session: RemoteSession, run: string, seq: number): Promise<void> {
    const left = this.#copyOf(session, run, this.#holder.local.unfinished)
    await left?.ready
    await left?.log?.passTo(seq)
  }

  /** The child of one of these jobs that follows a run that was called in that session. */
  #copyOf(session: RemoteSession, run: string, jobs: Iterable<TableJob>): TableJob | undefined {
    for (const { children } of jobs) {
      for (const child of children) {
        const { engine } = child
        if (engine instanceof RemoteEngine && engine.session === session && engine.run === run) return child
      }
    }
    return undefined
  }

  /** Leaves what is persistent, so that its work goes on over there; nor is what was lost tried any more. */
  async leave(): Promise<void> {
    this.#leaving = true
    for (const { row } of this.#held.values()) row?.leave()
    const kept = this.all().filter((session) => !session.temporary)
    await Promise.allSettled(kept.map((session) => session.request({ type: 'disconnect' })))
  }

  /** Temporary ones end with whoever called for them, at the latest with us: over there they need not wait for their lease. */
  async end(): Promise<void> {
    const open = this.all().filter((session) => session.temporary && session.state === 'Opened')
    // That they end is not waited for: it is said before we say goodbye, and what is said before that is heard.
    for (const session of open) session.close().catch(() => undefined)
    if (open.length > 0) await new Promise((resolve) => setImmediate(resolve))
  }

  /** What could not be told. Not before nothing is written any more: what was put into it goes on when we are back. */
  forsake(): void {
    for (const session of this.all()) if (session.temporary) session.forsake()
  }
}

interface HoldOptions {
  readonly id: number
  readonly temporary: boolean
  readonly lostAfter?: number | undefined
  readonly reconnect?: boolean | undefined
  /** It is written down. */
  readonly kept: boolean
  /** It is our standing session there. */
  readonly home?: boolean
}

/** Where it runs elsewhere. */
function sessionOf({ engine }: TableJob): RemoteSession | undefined {
  return engine instanceof RemoteEngine ? engine.session : undefined
}

/** @throws SessionStateError */
function opened(session: RemoteSession): RemoteSession {
  if (session.state === 'Opened') return session
  throw new SessionStateError(`session ${session.snapshot.name} is ${session.state}, not Opened`, {
    hint: 'connect it first',
  })
}
