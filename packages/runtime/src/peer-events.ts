// What there is to tell of a peer: of the jobs of one table, of the sessions it holds and hosts, of the peers it knows.
import { codeOf, ErrandError } from './errors.ts'
import type { JobTable } from './job-table.ts'
import type { TableJob } from './job-row.ts'
import { keptText } from './kept-text.ts'
import type { JobSnapshot, JobState, PeerEvent, PeerInfo, SessionSnapshot, SessionState } from './surface.ts'

/** Characters of a text in an event, but for ids: many events are kept, and many go in one answer. */
const TEXT_MOST = 1000
/** Of a peer's addresses, and of its grants. */
const LIST_MOST = 100

type Tell = (event: PeerEvent) => void
type Entry = { readonly state: JobState; readonly at: Date }

/** Tells of the jobs of a table, their children too, until the returned function is called. */
export function tellJobs(table: JobTable, tell: Tell): () => void {
  /** The newest state of each that was told, or was there before. */
  const told = new WeakMap<TableJob, Entry>()
  for (const job of table.working()) for (const one of [job, ...job.children]) told.set(one, one.newest)
  return table.follow((job, what) => {
    const snapshot = job.snapshot()
    const { history } = snapshot
    const states = what === 'added' ? history : what === 'changed' ? behind(history, told.get(job)) : []
    const newest = history.at(-1)
    if (newest && what !== 'removed') told.set(job, newest)
    tell({
      kind: 'job',
      at: states.at(-1)?.at ?? new Date(),
      job: brief(snapshot),
      states,
      ...(what === 'removed' && { removed: true as const }),
    })
  })
}

/** What came after the last one that was told. */
function behind(history: readonly Entry[], last: Entry | undefined): readonly Entry[] {
  const at = last === undefined ? -1 : history.indexOf(last)
  if (at >= 0 || !last) return history.slice(at + 1)
  // The middle of a long history is not kept.
  return history.filter((entry) => entry.at > last.at)
}

/** Without its children, each of which has events of its own; long texts are cut. */
function brief(job: JobSnapshot): JobSnapshot {
  const { name, command, location, reason, question } = job
  return Object.freeze({
    ...job,
    name: shortened(name),
    command: shortened(command),
    location: shortened(location),
    children: [],
    ...(reason && { reason: shortly(reason) }),
    ...(question && { question: { id: question.id, prompt: shortened(question.prompt), askedAt: question.askedAt } }),
  })
}

function briefSession(session: SessionSnapshot): SessionSnapshot {
  const { name, location, reason } = session
  const brief = { ...session, name: shortened(name), location: shortened(location) }
  return Object.freeze({ ...brief, ...(reason && { reason: shortly(reason) }) })
}

function briefPeer(peer: PeerInfo): PeerInfo {
  const { name, addresses, grants } = peer
  return Object.freeze({
    ...peer,
    name: shortened(name),
    addresses: addresses.slice(0, LIST_MOST).map(shortened),
    grants: grants.slice(0, LIST_MOST),
  })
}

function shortly(error: Error): Error {
  const code = codeOf(error)
  const message = shortened(error.message)
  return code === undefined ? new Error(message) : new ErrandError(code, message)
}

function shortened(text: string): string {
  // In one piece: a part of a text keeps all of it.
  return text.length > TEXT_MOST ? keptText(`${text.slice(0, TEXT_MOST - 1)}…`) : text
}

// ── sessions and peers ────────────────────────────────────────────────────────────────────────────────────────────────

/** What a peer knows of sessions and peers. There are few of them: each time something may have changed all are compared. */
export interface Around {
  sessions(): Generator<{ readonly hosted: boolean; readonly now: () => SessionSnapshot }>
  peers(): readonly PeerInfo[]
}

/** Tells of sessions and peers. Whoever has one says by `look` that something may have changed, and ends it. */
export class AroundTeller implements Disposable {
  readonly #around: Around
  readonly #tell: Tell
  readonly #sessions = new Map<
    string,
    { readonly now: () => SessionSnapshot; hosted: boolean; told: SessionSnapshot }
  >()
  #peers = new Map<string, PeerInfo>()
  #looking = false
  #over = false

  constructor(around: Around, tell: Tell) {
    this.#around = around
    this.#tell = tell
    for (const { hosted, now } of around.sessions()) {
      const told = now()
      this.#sessions.set(keyOf(hosted, told), { now, hosted, told })
    }
    this.#peers = new Map(around.peers().map((peer) => [peer.id, peer]))
  }

  /** Once per turn, however much happens in it. */
  look(): void {
    if (this.#looking) return
    this.#looking = true
    setImmediate(() => {
      this.#looking = false
      if (this.#over) return
      this.#lookAtSessions()
      this.#lookAtPeers()
    })
  }

  [Symbol.dispose](): void {
    this.#over = true
  }

  #lookAtSessions(): void {
    const there = new Set<string>()
    for (const { hosted, now } of this.#around.sessions()) {
      const is = now()
      const key = keyOf(hosted, is)
      there.add(key)
      const known = this.#sessions.get(key)
      if (known && isSameSession(known.told, is)) continue
      this.#sessions.set(key, { now, hosted, told: is })
      this.#say(is, hosted, known?.told.state)
    }
    for (const [key, { now, hosted, told }] of this.#sessions) {
      if (there.has(key)) continue
      this.#sessions.delete(key)
      const last = now()
      const over = last.state === 'Closed' || last.state === 'Broken'
      this.#say(over ? last : { ...last, state: 'Closed', availability: 'None' }, hosted, told.state, true)
    }
  }

  #say(session: SessionSnapshot, hosted: boolean, previous: SessionState | undefined, removed = false): void {
    this.#tell({
      kind: 'session',
      at: new Date(),
      session: briefSession(session),
      hosted,
      ...(previous !== undefined && { previous }),
      ...(removed && { removed }),
    })
  }

  #lookAtPeers(): void {
    const now = new Map(this.#around.peers().map((peer) => [peer.id, peer]))
    for (const [id, peer] of now) {
      const known = this.#peers.get(id)
      if (known && JSON.stringify(known) === JSON.stringify(peer)) continue
      this.#tell({ kind: 'peer', at: new Date(), peer: briefPeer(peer), wasConnected: known?.connected === true })
    }
    for (const [id, peer] of this.#peers) {
      if (now.has(id)) continue
      const gone = briefPeer({ ...peer, connected: false })
      this.#tell({ kind: 'peer', at: new Date(), peer: gone, wasConnected: peer.connected, removed: true })
    }
    this.#peers = now
  }
}

/** `localhost` is both ends of one session. */
function keyOf(hosted: boolean, { instanceId }: SessionSnapshot): string {
  return `${hosted ? 'hosted' : 'held'} ${instanceId}`
}

function isSameSession(one: SessionSnapshot, other: SessionSnapshot): boolean {
  return (
    one.state === other.state &&
    one.availability === other.availability &&
    one.jobs === other.jobs &&
    one.buffering === other.buffering &&
    one.idleTimeout === other.idleTimeout &&
    one.epoch === other.epoch &&
    one.reason?.message === other.reason?.message &&
    one.expiresAt?.getTime() === other.expiresAt?.getTime()
  )
}
