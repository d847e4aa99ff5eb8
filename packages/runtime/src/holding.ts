// The sessions a peer holds on other peers: persistent ones with a number, home sessions, and those of single calls.
import type { Engine } from './engine/engine.ts'
import { RemoteEngine } from './engine/remote.ts'
import { SessionNotFoundError, SessionStateError } from './errors.ts'
import type { Link } from './link.ts'
import type { Network, Place } from './network.ts'
import { untilAborted } from './output-log.ts'
import { RemoteSession } from './remote-session.ts'
import type { HostSession } from './session.ts'
import type { SessionRef } from './session-ref.ts'
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
}

export class Holding {
  readonly #holder: Holder
  readonly #sessions = new Map<string, RemoteSession>()
  readonly #takingUp = new Map<RemoteSession, Promise<JobSnapshot | undefined>>()
  readonly #homes = new Map<string, Promise<RemoteSession>>()
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
      return this.#sessions.get(far.instanceId) ?? this.#hold(place, link, far, { id: 0, temporary: false })
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
  target(target: TargetSpec, lostAfter: number | undefined): { engine: Engine; location: string } {
    if ('session' in target) {
      const session = this.#sessions.get(target.session)
      if (!session) throw new SessionNotFoundError(target.session, this.#holder.name)
      const { location } = session.options
      return { location, engine: new RemoteEngine({ location, open: async () => opened(session) }) }
    }
    const place = this.#holder.network.place(target.peer)
    const { location } = place
    const open = (signal: AbortSignal): Promise<RemoteSession> => this.#open(place, { lostAfter }, true, signal)
    return { location, engine: new RemoteEngine({ location, open }) }
  }

  async #open(place: Place, options: HeldOptions, temporary: boolean, signal?: AbortSignal): Promise<RemoteSession> {
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
    const held = known ?? this.#hold(place, link, far, { id: temporary ? 0 : ++this.#last, temporary, lostAfter })
    // One that was opened just now was told how it is to buffer.
    if (session !== undefined) await held.connect(signal, options.buffering)
    return held
  }

  #hold(
    place: Place,
    link: Link,
    far: SessionSnapshot,
    { id, temporary, lostAfter }: { id: number; temporary: boolean; lostAfter?: number | undefined },
  ): RemoteSession {
    const { network } = this.#holder
    const session: RemoteSession = new RemoteSession(
      {
        link: (signal) => network.linkTo(place, signal),
        takeUp: (from, name) => this.#takeUpOnce(from, name),
        sessionRef: (instanceId) => this.#holder.sessionRef(instanceId),
        ended: (over) => void this.#sessions.delete(over.instanceId),
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
    return session
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
    const open = this.all().filter((session) => !session.temporary && session.state === 'Opened')
    await Promise.allSettled(open.map((session) => session.request({ type: 'disconnect' })))
  }
}

/** @throws SessionStateError */
function opened(session: RemoteSession): RemoteSession {
  if (session.state === 'Opened') return session
  throw new SessionStateError(`session ${session.snapshot.name} is ${session.state}, not Opened`, {
    hint: 'connect it first',
  })
}
