// The sessions a peer hosts: opened by its own clients and by other peers, owned by owners, attached to clients.
import type { Channel } from '@errand/transport'
import type { Engine } from './engine/engine.ts'
import { LaneEngine } from './engine/lane.ts'
import { ProcessEngine } from './engine/process.ts'
import { startProcess } from './engine/process-isolate.ts'
import { RunspaceEngine } from './engine/runspace.ts'
import { ThreadEngine } from './engine/thread.ts'
import { startWorker } from './engine/worker-isolate.ts'
import { UsageError } from './errors.ts'
import { namedSession } from './named-session.ts'
import type { Principal } from './serve.ts'
import { HostSession, type SessionEngines, type SessionHome } from './session.ts'
import type { StoredSession } from './stored-session.ts'
import type { PeerId, SessionSnapshot } from './surface.ts'
import type { OpenSession } from './wire.ts'

const IDLE_LEAST = 60_000
const IDLE_MOST = 30 * 86_400_000
/** Sessions one owner may have open here. */
const SESSIONS_MOST = 256
/** Sessions that have expired and are remembered, so that who comes too late hears why. */
const EXPIRED_KEPT = 256
/** Sessions that have ended of which it is known whose they were. */
const ENDED_KEPT = 1024

export class Hosting {
  readonly #home: SessionHome
  readonly #sessions = new Map<string, HostSession>()
  readonly #opened = new Map<string, Promise<HostSession>>()
  readonly #homes = new Map<string, Promise<HostSession>>()
  /** Whose they were. */
  readonly #ended = new Map<string, string>()
  readonly #expired = new Map<string, { readonly owner: string; readonly why: Error }>()
  readonly #onGone: () => void
  readonly #onChange: () => void
  #last = 0

  /** `onGone`: a session has ended for good; its number must not be given again. `onChange`: something may be new of one. */
  constructor(home: SessionHome, onGone: () => void, onChange: () => void) {
    this.#home = home
    this.#onGone = onGone
    this.#onChange = onChange
  }

  /** The last number that was given. */
  get last(): number {
    return this.#last
  }

  /** Numbers up to this one were given. */
  numbered(last: number): void {
    this.#last = Math.max(this.#last, last)
  }

  /** A session that was here before the peer was started again; nobody has it. */
  restore(was: StoredSession): HostSession {
    const session = this.#add(new HostSession(this.#home, was.id, was.kind, was.owner, was.options, was))
    this.numbered(was.id)
    const { openId } = was.options ?? {}
    if (openId !== undefined) this.#remember(openId, session, Promise.resolve(session))
    return session
  }

  get(instanceId: string): HostSession | undefined {
    return this.#sessions.get(instanceId)
  }

  all(): readonly HostSession[] {
    return [...this.#sessions.values()]
  }

  forget(session: HostSession): void {
    // Its peer goes down, and it goes on with the next one: who asks for it over the last of a link is not told that it is gone.
    if (session.comesBack) return this.#onChange()
    if (this.#sessions.delete(session.instanceId)) this.#onGone()
    this.#onChange()
    this.#ended.set(session.instanceId, session.owner)
    const [first] = this.#ended.keys()
    if (this.#ended.size > ENDED_KEPT && first !== undefined) this.#ended.delete(first)
    if (!session.expired) return
    this.#expired.set(session.instanceId, { owner: session.owner, why: session.expired })
    const [oldest] = this.#expired.keys()
    if (this.#expired.size > EXPIRED_KEPT && oldest !== undefined) this.#expired.delete(oldest)
  }

  /** It was that owner's, and has ended; not for ever known. */
  wasOf({ owner }: Principal, instanceId: string): boolean {
    return this.#ended.get(instanceId) === owner
  }

  /** What an owner may take up; temporary sessions are their call's alone. */
  of(principal: Principal, client: string): SessionSnapshot[] {
    return this.all()
      .filter((session) => session.owner === principal.owner && session.kind !== 'temporary')
      .map((session) => session.snapshotFor(client))
  }

  /**
   * Asked twice with one id: one session. Who asks over another link has it from there; who has gone meanwhile (`signal`)
   * must not be given it. @throws UsageError
   */
  async open(
    principal: Principal,
    client: string,
    options: OpenSession,
    signal?: AbortSignal,
  ): Promise<SessionSnapshot> {
    const under = this.#opened.get(options.openId)
    const known = under && (await under)
    if (known && known.owner === principal.owner) {
      signal?.throwIfAborted()
      known.attach(client)
      return known.snapshotFor(client)
    }
    const opening = this.#open(principal, client, options)
    this.#opened.set(options.openId, opening)
    opening.catch(() => this.#opened.delete(options.openId))
    return (await opening).snapshotFor(client)
  }

  async #open({ owner }: Principal, client: string, options: OpenSession): Promise<HostSession> {
    if (this.all().filter((session) => session.owner === owner).length >= SESSIONS_MOST) {
      throw new UsageError(`${SESSIONS_MOST} sessions are open here already`, { hint: 'close some first' })
    }
    if (options.idleTimeout !== undefined && !options.temporary) boundedIdle(options.idleTimeout)
    const session = this.#add(
      new HostSession(this.#home, ++this.#last, options.temporary ? 'temporary' : 'persistent', owner, options),
    )
    session.attach(client)
    await this.#write(session)
    this.#remember(options.openId, session)
    return session
  }

  /** @throws StoreError: then it is not there */
  async #write(session: HostSession): Promise<void> {
    try {
      await session.written()
    } catch (error) {
      await session.close(0, 'it could not be written down')
      throw error
    }
  }

  #remember(openId: string, session: HostSession, opening?: Promise<HostSession>): void {
    if (opening) this.#opened.set(openId, opening)
    const mine = this.#opened.get(openId)
    void session.closed.then(() => {
      if (this.#opened.get(openId) === mine) this.#opened.delete(openId)
    })
  }

  /**
   * By number, name or instanceId, among the owner's own; a temporary one is nobody's but its client's.
   * @throws SessionNotFoundError, SessionAmbiguousError, SessionExpiredError, SessionStateError
   */
  attach(principal: Principal, client: string, which: string | number, force: boolean, was?: string): SessionSnapshot {
    const gone = this.#expired.get(String(which))
    if (gone?.owner === principal.owner) throw gone.why
    const mine = this.all().filter(
      ({ owner, kind, openedBy }) =>
        owner === principal.owner &&
        (kind !== 'temporary' || openedBy === client || (was !== undefined && openedBy === was)),
    )
    const session = namedSession(which, mine, (one) => one, this.#home.name)
    session.attach(client, force, was)
    return session.snapshotFor(client)
  }

  /** The owner's standing session, made on first use. */
  async homeOf({ owner }: Principal): Promise<HostSession> {
    const under = this.#homes.get(owner)
    if (under) return under
    const there = this.all().find((session) => session.kind === 'home' && session.owner === owner)
    if (there) return there
    const making = (async () => {
      const session = this.#add(new HostSession(this.#home, ++this.#last, 'home', owner))
      await this.#write(session)
      return session
    })().finally(() => this.#homes.delete(owner))
    this.#homes.set(owner, making)
    return making
  }

  /** A client process is gone: its sessions go on, detached. */
  clientLost(client: string): void {
    for (const session of this.all()) session.detach(client)
  }

  /** A key that stood for itself alone has got a name: what it has open it brings along. */
  rename(owner: string, to: string): void {
    for (const session of this.all()) if (session.owner === owner) session.moveTo(to)
  }

  /** A key may no longer be here, or not in that name: what nobody else can take up ends with it, and at once. */
  closeTemporary(peer: PeerId): void {
    for (const session of this.all()) {
      if (session.kind === 'temporary' && session.openedBy?.startsWith(`${peer} `))
        void session.close(0, 'its owner may no longer be here')
    }
  }

  /** An owner may no longer be here. */
  closeOwned(owner: string): void {
    for (const session of this.all()) {
      if (session.owner === owner) void session.close(0, 'its owner may no longer be here')
    }
  }

  #add(session: HostSession): HostSession {
    this.#sessions.set(session.instanceId, session)
    session.onChange(this.#onChange)
    this.#onChange()
    return session
  }
}

/**
 * The engines of one session. The owner's own threads live in this process; what others run is kept out of it, in
 * processes of its own: one for the runspace, which a hard stop replaces, and one for threads, which it must not touch.
 */
export function sessionEngines(
  session: HostSession,
  openLink: (channel: Channel) => void,
  onLost: () => void,
): Omit<SessionEngines, 'machine'> {
  const process = new ProcessEngine({ openLink })
  if (session.kind === 'local') {
    const runspace = new RunspaceEngine(() => startWorker(), openLink, onLost)
    return { process, runspace, thread: new ThreadEngine({ openLink }) }
  }
  const { cwd, env, maxMemory, permissions } = session.surroundings
  const scripts = { serves: 'scripts', cwd, env, maxMemory, permissions } as const
  const runspace = new RunspaceEngine(() => startProcess(scripts), openLink, onLost)
  const thread = lazyEngine(() => {
    const isolate = startProcess({ serves: 'threads', cwd, env })
    isolate.hold(false)
    return new LaneEngine(isolate, openLink, { shared: true })
  })
  return { process, runspace, thread }
}

/** An engine that is made when it is first needed, and again when its isolate has ended. */
function lazyEngine(make: () => LaneEngine): Engine {
  let made: LaneEngine | undefined
  let most: number | undefined
  return {
    start(spec, io) {
      if (!made || made.gone) {
        made = make()
        if (most !== undefined) made.throttle(most)
      }
      return made.start(spec, io)
    },
    throttle(limit) {
      most = limit
      made?.throttle(limit)
    },
    [Symbol.asyncDispose]: async () => made?.[Symbol.asyncDispose](),
  }
}

/** @throws UsageError */
export function boundedIdle(ms: number): number {
  if (ms >= IDLE_LEAST && ms <= IDLE_MOST) return ms
  throw new UsageError(`an idle timeout is from 1 min to 30 d, not ${ms} ms`)
}
