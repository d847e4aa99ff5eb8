// Jobs that come back with their peer: rows of those that have ended, and hosts of those that had not, each with what is
// to be done about it. A job of which nothing is known to be left elsewhere has failed, unless it is to be tried again.
import { isFinished } from './child-jobs.ts'
import type { Engine } from './engine/engine.ts'
import { PeerLostError, PeerRestartedError } from './errors.ts'
import type { JobEntry } from './job-entry.ts'
import { JobHost, type JobOptions } from './job.ts'
import { JobRow, type RowHome, type TableJob } from './job-row.ts'
import { MapItems } from './map-items.ts'
import { OutputLog } from './output-log.ts'
import type { OpenJob, StoredJob } from './stored-job.ts'
import type { Buffering } from './surface.ts'
import type { StoredLog } from './store/store.ts'
import type { WorkSpec } from './wire.ts'

/** A job without a parent, and its children in their places. */
export interface StoredFamily {
  readonly job: StoredJob
  readonly children: readonly StoredJob[]
}

/** What reviving needs of the session. */
export interface RevivalHome {
  readonly rowHome: RowHome
  readonly logLimit: number
  readonly buffering: Buffering
  log(instanceId: string): Promise<StoredLog>
  share(text: string): string
  entry(job: StoredJob, open: OpenJob): JobEntry
  /** What all its jobs have in common. */
  common(id: number): Pick<JobOptions, 'id' | 'peer' | 'session' | 'stopGrace' | 'here'>
  /** What runs it here. */
  engine(job: StoredJob, open: OpenJob): Engine
  /** What runs a child elsewhere; where it was put into a session already, that one and no other. */
  remote(open: OpenJob): Engine
  /** By instanceId; undefined when it was removed. */
  find(job: string): TableJob | undefined
}

/** A job that has ended. Its log is opened when somebody wants to read it. */
export function revivedRow({ job, children }: StoredFamily, home: RevivalHome): JobRow {
  const rows = children.map((child) => revivedRow({ job: child, children: [] }, home))
  // Field by field: spread, a hundred thousand of them take three seconds.
  return new JobRow(home.rowHome, {
    id: job.id,
    instanceId: job.instanceId,
    startId: job.startId,
    name: job.name,
    command: home.share(job.command),
    location: job.location,
    type: job.type,
    state: job.state,
    history: job.history,
    errors: job.errors,
    position: job.position,
    reason: job.reason,
    exitCode: job.exitCode,
    pid: job.pid,
    streamed: job.streamed,
    epoch: job.epoch,
    begunAt: job.begunAt,
    children: rows,
    stored: undefined,
    later: job.bytes ? { bytes: job.bytes, read: job.read === true } : undefined,
    source: undefined,
    items: job.items && MapItems.from(job.items),
  })
}

/** One that had not ended, or a child of one: as it was, doing nothing yet. */
export async function revivedHost(family: StoredFamily, home: RevivalHome): Promise<Revived> {
  const children: Revived[] = []
  for (const child of family.children) children.push(await revivedHost({ job: child, children: [] }, home))
  const { job } = family
  const open = isFinished(job.state) ? undefined : job.open
  const leaf = family.children.length === 0
  const stored = leaf && (open || job.bytes) ? await home.log(job.instanceId) : undefined
  // It is a copy: what our host's crash took of it is over there.
  if (open?.held !== undefined && !open.again) stored?.rewind?.()
  const said: WorkSpec = open?.spec ?? { kind: 'code', command: job.command, startId: job.startId }
  // How often it is done is seen to here, not where it runs.
  const { retry, restart, ...spec } = said
  const after = open?.after === undefined ? undefined : (home.find(open.after) ?? 'removed')
  const host = new JobHost({
    ...home.common(job.id),
    instanceId: job.instanceId,
    name: job.name,
    type: job.type,
    location: job.location,
    spec,
    was: job,
    ...(open && { entry: home.entry(job, open) }),
    ...(open && leaf && { engine: job.parent === undefined ? home.engine(job, open) : home.remote(open) }),
    ...(job.position !== undefined && { position: job.position }),
    ...(open?.throttle !== undefined && { throttle: open.throttle }),
    ...(job.parent === undefined && { deadline: spec.deadline, delay: open?.delay }),
    ...(typeof after === 'object' && { after }),
    ...(leaf && retry && { retry }),
    ...(leaf && restart && { restart }),
  })
  if (leaf) {
    if (open && stored) host.openLog(stored, home.logLimit, home.buffering, { errors: job.errors })
    else host.attachLog(OutputLog.over(stored, job.errors))
  }
  host.adopt(children.map((child) => child.host))
  return { host, job, open, children, orphaned: after === 'removed' && open?.freed === undefined }
}

export interface Revived {
  readonly host: JobHost
  readonly job: StoredJob
  readonly open: OpenJob | undefined
  readonly children: readonly Revived[]
  /** What it was to wait for is not there any more. */
  readonly orphaned: boolean
}

/** Sets it going again, or ends it. Settles when that is known: what goes on is not waited for. */
export function resume({ host, job, open, children, orphaned }: Revived): Promise<unknown> | undefined {
  if (!open) return undefined
  if (open.launched === undefined && job.parent === undefined && job.begunAt === undefined) {
    if (orphaned) return host.stop({ grace: 0, reason: 'it was to start after a job that was removed' })
    host.start()
    return undefined
  }
  if (children.length > 0) {
    for (const child of children) {
      const { verdict, held, again } = child.open ?? {}
      if (again) child.host.waitOn(again)
      else if (verdict) child.host.endAs(verdict)
      else if (held !== undefined)
        child.host.takeUp(new PeerLostError('this peer was started again; the link there is not back yet'))
    }
    host.goOnWithChildren()
    return undefined
  }
  if (open.again) {
    host.waitOn(open.again)
    return undefined
  }
  if (open.durable) {
    host.goOnHere()
    return undefined
  }
  const what = open.shared
    ? 'a map that is shared by peers is not taken up again'
    : 'what it had not said by then is lost'
  host.fail(new PeerRestartedError(`the peer ended while ${job.name} was ${job.state}, and was started again: ${what}`))
  return host.again ? undefined : host.finished
}
