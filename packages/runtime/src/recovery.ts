// What a peer finds written down when it starts: read, checked, and put in order. What cannot be understood is set aside:
// it stays in the store as it is, is listed nowhere, and is reported (guarantee G16).
import { journalName } from './actor-journal.ts'
import type { StoredFamily } from './job-revival.ts'
import { readStoredJob, type StoredJob } from './stored-job.ts'
import {
  readStoredHeld,
  readStoredPeer,
  readStoredSession,
  type StoredHeld,
  type StoredPeer,
  type StoredSession,
} from './stored-session.ts'
import type { RowKind, StoredRows } from './store/store.ts'

type Report = (message: string, details: Record<string, unknown>) => void

export interface RecoveredSession {
  readonly session: StoredSession
  /** Those that have ended first, in the order in which they did; the others by their numbers. */
  readonly families: readonly StoredFamily[]
  /** The highest number in its rows, also of those that were set aside. */
  readonly lastJob: number
}

export interface Recovered {
  readonly peer: StoredPeer | undefined
  readonly local: RecoveredSession | undefined
  readonly hosted: readonly RecoveredSession[]
  readonly held: readonly StoredHeld[]
  /** Names of the logs of jobs, also of those whose rows were set aside, and of durable machines' journals. */
  readonly logs: ReadonlySet<string>
  /** Rows of durable machines, as they are, by the keys of their jobs. */
  readonly actors: ReadonlyMap<string, unknown>
  /** Keys of rows of such whose job has ended: what was to be deleted when the peer ended. */
  readonly over: readonly string[]
  /** Of such of whose job no row was read: the same, unless that is there and damaged. */
  readonly stray: readonly string[]
}

interface Gathered {
  readonly jobs: Map<string, { readonly job: StoredJob; readonly children: StoredJob[] }>
  lastJob: number
}

/** Everything that is written down. */
export async function recover(rows: StoredRows, report: Report): Promise<Recovered> {
  const aside = (kind: RowKind, key: string, why: string): void =>
    report('set aside a row that is not understood', { kind, key, why })
  const all = async <T extends object>(kind: RowKind, read: (value: unknown) => T | string): Promise<T[]> => {
    const found: T[] = []
    for (const { key, value } of await rows.all(kind)) {
      const row = read(value)
      if (typeof row === 'string') aside(kind, key, row)
      else found.push(row)
    }
    return found
  }
  const [peer] = await all('peer', readStoredPeer)
  const sessions = await all('session', readStoredSession)
  const held = await all('held', readStoredHeld)
  const gathered = new Map<string, Gathered>()
  for (const { instanceId, lastJob } of sessions) gathered.set(instanceId, { jobs: new Map(), lastJob })
  const children: { readonly key: string; readonly row: StoredJob }[] = []
  const logs = new Set<string>()
  const ended = new Set<string>()
  for (const { key, value } of await rows.all('job')) {
    logs.add(key)
    const row = readStoredJob(value)
    if (typeof row !== 'string' && !row.open) ended.add(key)
    // Its number was given, whatever else it says.
    const { id, session } = (value ?? {}) as { id?: unknown; session?: unknown }
    const there = gathered.get(String(session))
    if (there && Number.isSafeInteger(id)) there.lastJob = Math.max(there.lastJob, id as number)
    if (typeof row === 'string') aside('job', key, row)
    else if (!there) aside('job', key, 'its session is not there')
    else if (row.parent === undefined) there.jobs.set(row.instanceId, { job: row, children: [] })
    else children.push({ key, row })
  }
  for (const { key, row } of children) {
    const family = gathered.get(row.session)?.jobs.get(row.parent!)
    if (family) family.children.push(row)
    else aside('job', key, 'its parent is not there')
  }
  const recovered = sessions.map((session): RecoveredSession => {
    const { jobs, lastJob } = gathered.get(session.instanceId)!
    const families = [...jobs.values()]
    for (const family of families) family.children.sort((a, b) => a.position! - b.position!)
    return { session, families: families.toSorted((a, b) => placeOf(a) - placeOf(b) || a.job.id - b.job.id), lastJob }
  })
  const actors = new Map<string, unknown>()
  const over: string[] = []
  const stray: string[] = []
  for (const { key, value } of await rows.all('actor')) {
    if (!logs.has(key)) stray.push(key)
    else if (ended.has(key)) over.push(key)
    else actors.set(key, value)
  }
  // Also where there is no row yet: one that ends at its start has its end in there.
  for (const key of [...logs]) if (!ended.has(key)) logs.add(journalName(key))
  const local = recovered.find(({ session }) => session.kind === 'local')
  const hosted = recovered.filter(({ session }) => session.kind !== 'local')
  return { peer, local, hosted, held, logs, actors, over, stray }
}

/** When it ended. */
function placeOf({ job: { open, history } }: StoredFamily): number {
  return open ? Infinity : history.at(-1)!.at.getTime()
}
