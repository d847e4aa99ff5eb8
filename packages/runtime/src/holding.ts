// The sessions a peer holds on other peers: persistent ones with a number, home sessions, and those of single calls.
import type { Engine } from './engine/engine.ts'
import { RemoteEngine } from './engine/remote.ts'
import { asError, PeerLostError, SessionNotFoundError, SessionStateError } from './errors.ts'
import { KeptRow } from './kept-row.ts'
import type { TableJob } from './job-row.ts'
import type { Link } from './link.ts'
import type { Network, Place } from './network.ts'
import { untilAborted } from './output-log.ts'
import { RemoteSession } from './remote-session.ts'
import type { HostSession } from './session.ts'
import type { SessionRef } from './session-ref.ts'
import { SESSION_ROW, type StoredHeld } from './stored-session.ts'
import type { StoredRows } from './store/store.ts'
import type { JobSnapshot, SessionSnapshot } from './surface.ts'
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
        void this.#holder.rows?.delete('held', was.instanceId)
        continue
      }
      const { id, temporary, lostAfter, client, left, home = false } = was
      this.numbered(id)
      const session = this.#hold(place, { was: client, left }, was.far, { id, temporary, lostAfter, kept: true, home })
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

  /** By number, instanceId, name, or a prefix of the instanceId. @throws SessionNotFoundError */
  named(which: number | string): RemoteSession {
    const text = String(which)
    const listed = this.listed()
    const found =
      listed.find((session) => String(session.options.id) === text) ??
      this.all().find((session) => session.instanceId === text) ??
      listed.find((session) => session.snapshot.name === text) ??
      (text.length >= 4 ? listed.find((session) => session.instanceId.startsWith(text)) : undefined)
    if (!found) throw new SessionNotFoundError(which, this.#holder.name)
    return found
  }

  /** Opens a session there, or takes one up. */
  async open(to: string, options: HeldOptions, signal?: AbortSignal): Promise<RemoteSession> {
    return this.#open(this.#holder.network.place(to), options, options.temporary === true, signal)
  }

  /** Our standing session there, opened on first use. */
  async home(on: string, signal?: AbortSignal): Promise<RemoteSession> {
    const { network } = this.#holder
    const place = network.place(on)
    const known = await this.#homes.get(place.key)?.catch(() => undefined)
    if (known && known.state !== 'Broken' && known.state !== 'Closed') {
      await known.connect(signal)
      return known
    }
    const opening = (async () => {
      const link = await network.linkTo(place, signal)
      const far = (await link.ask({}, { type: 'session.home' }, { signal })) as SessionSnapshot
      return (
        this.#sessions.get(far.instanceId) ??
        this.#written(this.#hold(place, link, far, { id: 0, temporary: false, kept: true, home: true }))
      )
    })()
    this.#homes.set(place.key, opening)
    return opening
  }

  /** Ours on that peer, whoever of our clients opened them; what is held here shows as it is here. */
  async on(to: string, signal?: AbortSignal): Promise<SessionSnapshot[]> {
    const { network } = this.#holder
    const place = network.place(to)
    const link = await network.linkTo(place, signal)
    const far = (await link.ask({}, { type: 'sessions' }, { signal })) as SessionSnapshot[]
    const { location, peer: peerId, carrier: transport } = place
    return far.map((one) => this.#sessions.get(one.instanceId)?.snapshot ?? { ...one, location, peerId, transport })
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
    const link = await this.#holder.network.linkTo(place, signal)
    const { lostAfter, session, force, temporary: _, ...rest } = options
    const openId = crypto.randomUUID()
    const name = `Runspace${this.#last + 1}`
    const event: PeerEvent =
      session === undefined
        ? { type: 'session.open', options: { name, ...rest, openId, ...(temporary && { temporary }) } }
        : { type: 'session.attach', session, ...(force && { force }) }
    // Never given up on the way: a session that was opened for nobody would stay.
    const asked = link.ask({}, event) as Promise<SessionSnapshot>
    await untilAborted(asked, signal)
    if (signal?.aborted) {
      const leave = session === undefined ? { type: 'close' as const } : { type: 'disconnect' as const }
      // The caller has gone, and has the signal's reason; a session that cannot be told ends by its lease.
      asked.then(({ instanceId }) => link.ask({ session: instanceId }, leave)).catch(() => undefined)
      signal.throwIfAborted()
    }
    const far = await asked
    const known = this.#sessions.get(far.instanceId)
    if (!known) {
      const id = temporary ? 0 : ++this.#last
      return this.#written(this.#hold(place, link, far, { id, temporary, lostAfter, kept }))
    }
    await known.connect(signal)
    return known
  }

  #hold(
    place: Place,
    link: Link | { readonly was: string; readonly left: boolean },
    far: SessionSnapshot,
    { id, temporary, lostAfter, kept, home = false }: HoldOptions,
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
        sessionRef: (instanceId) => this.#holder.sessionRef(instanceId),
        ended: (over) => this.#ended(over),
      },
      {
        id,
        location: place.location,
        peerId: place.peer,
        transport: place.carrier,
        lostAfter: lostAfter ?? this.#holder.lostAfter,
        temporary,
      },
      link,
      far,
    )
    this.#sessions.set(far.instanceId, session)
    if (!kept || !rows) return session
    const row = new KeptRow(rows, 'held', far.instanceId, () => this.#stored(session), restored)
    this.#held.set(session, { place, row, home })
    let seen = session.state
    session.onChange(() => {
      // How it is when we leave in order is not how it was wished to be.
      if (session.state === seen || this.#leaving) return
      seen = session.state
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
    const { id, lostAfter, temporary, location } = session.options
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
      client: session.before ?? this.#holder.client,
      left: session.left,
      far: session.far,
    }
  }

  #ended(session: RemoteSession): void {
    this.#sessions.delete(session.instanceId)
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
    const { location } = session.options
    const engine = new RemoteEngine({ location, open: async () => session, run: found.run })
    return (await local.takeUp(found.run, found.cursor, name, engine, location)).snapshot()
  }

  /** Leaves what is persistent, so that its work goes on over there. */
  async leave(): Promise<void> {
    this.#leaving = true
    for (const { row } of this.#held.values()) row?.leave()
    const open = this.all().filter((session) => !session.temporary && session.state === 'Opened')
    await Promise.allSettled(open.map((session) => session.request({ type: 'disconnect' })))
  }
}

interface HoldOptions {
  readonly id: number
  readonly temporary: boolean
  readonly lostAfter?: number | undefined
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
