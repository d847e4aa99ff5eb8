// errand inspect: everything known of a job, a session or a peer.
import {
  codeOf,
  isFinished,
  type ActorInspection,
  type Job,
  type JobSnapshot,
  type LocalPeer,
  type NamedActor,
  type PeerInfo,
  type SessionSnapshot,
} from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { Failure } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { actorCalled, placesOf, sessionWord, type Place } from '../places.ts'
import { actorDocument, actorText } from '../render/actor.ts'
import { facts, span } from '../render/facts.ts'
import { jobId, jobTable } from '../render/job.ts'
import {
  iso,
  JOB_FIELDS,
  jobDocument,
  peerDocument,
  PEER_FIELDS,
  pick,
  sessionDocument,
  SESSION_FIELDS,
} from '../render/json.ts'
import { answerLine, atWords, questionText } from '../render/question.ts'
import { sessionTable } from '../render/session.ts'
import { oneLine } from '../render/table.ts'
import { jobWord } from '../work.ts'

/** One thing, as it is shown. */
interface Known {
  readonly document: Record<string, unknown>
  readonly fields: readonly string[]
  readonly text: string
}

export default async function inspect(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { terminal, json } = context
  const peer = await context.connect()
  const places = await placesOf(peer, flags.at, context)
  const found: Known[] = []
  for (const word of words) found.push(...(await named(context, peer, places, word)))
  if (json !== undefined) {
    const documents = found.map(({ document, fields }) => pick(document, json, fields))
    await terminal.out(`${JSON.stringify(documents.length === 1 ? documents[0] : documents)}\n`)
  } else await terminal.out(found.map(({ text }) => text).join('\n'))
  return EXIT.done
}

/** A job first, then a session, a peer, an actor's name; `job:`, `session:`, `peer:` and `actor:` say which. */
async function named(context: Context, peer: LocalPeer, places: readonly Place[], word: string): Promise<Known[]> {
  const [, kind, rest] = /^(job|session|peer|actor):(.+)$/s.exec(word) ?? [undefined, undefined, word]
  const jobs = kind === undefined || kind === 'job' ? await jobsNamed(context, places, rest!) : undefined
  if (jobs && !Error.isError(jobs)) return jobs
  if (kind === 'job') throw jobs!
  const session = kind === undefined || kind === 'session' ? await sessionNamed(context, peer, rest!) : undefined
  if (session) return [session]
  if (kind === 'session') throw missing('session', rest!)
  const other = kind === undefined || kind === 'peer' ? await peerNamed(context, peer, rest!) : undefined
  if (other) return [other]
  if (kind === 'peer') throw missing('peer', rest!)
  if (kind === 'actor') return actorsNamed(context, peer, places, rest!, missing('actor', rest!))
  if (/^\d/.test(word)) throw jobs!
  const none = `${jobs!.message}, nor a session, peer or actor of that name`
  const lists = '`errand list`, `errand session list` and `errand peer list` show those there are'
  return actorsNamed(context, peer, places, rest!, new Failure('JOB_NOT_FOUND', none, lists))
}

function missing(what: 'session' | 'peer' | 'actor', word: string): Failure {
  if (what === 'actor') return new Failure('NAME_NOT_FOUND', `no actor is called '${word}' there`)
  const [code, list] = {
    session: ['SESSION_NOT_FOUND', '`errand session list`'],
    peer: ['PEER_NOT_FOUND', '`errand peer list`'],
  }[what]
  return new Failure(code!, `there is no ${what} '${word}'`, `${list} shows those there are`)
}

/** Those that are called so on the peers of the places. @throws `none` */
async function actorsNamed(
  context: Context,
  peer: LocalPeer,
  places: readonly Place[],
  word: string,
  none: Failure,
): Promise<Known[]> {
  const { signal } = context
  const found = await Promise.all(
    places.map(async (place) => {
      try {
        const one = await actorCalled(peer, place, word, none, signal)
        if ('job' in one) return jobKnown(context, one.job, place, await actorOf(one.job, signal))
        return actorKnown(context, one.actor, place, await one.actor.inspect({ signal }))
      } catch (error) {
        if (codeOf(error) !== none.code) throw error
        return error as Error
      }
    }),
  )
  const actors = found.filter((one): one is Known => !Error.isError(one))
  if (actors.length === 0) throw found[0]
  return actors
}

function actorKnown(
  context: Context,
  { name, address }: NamedActor,
  { location }: Place,
  actor: ActorInspection,
): Known {
  const [session, instance] = address.path.split('/')
  const text = facts([
    ['table of', location],
    ['instance', instance],
    ['session', session],
    ['peer', address.peer],
  ])
  return {
    document: { name, actor: actorDocument(actor), ...(location !== undefined && { at: location }) },
    fields: ['name', 'actor', 'at'],
    text: `${context.terminal.data('bold', `actor ${oneLine(name)}`)}\n${text}\n${shownActor(context, actor)}`,
  }
}

function shownActor({ terminal }: Context, actor: ActorInspection): string {
  const { columns, readsOut: short } = terminal
  return actorText(actor, { columns, short, paint: (style, words) => terminal.data(style, words) })
}

/** Those of the places that have one; none has: what the first of them says. */
async function jobsNamed(context: Context, places: readonly Place[], word: string): Promise<Known[] | Error> {
  const { signal } = context
  const found = await Promise.all(
    places.map(async (place) => {
      try {
        const job = await place.table.job(jobWord(word), { signal })
        return jobKnown(context, job, place, await actorOf(job, signal))
      } catch (error) {
        if (codeOf(error) !== 'JOB_NOT_FOUND') throw error
        return error as Error
      }
    }),
  )
  const jobs = found.filter((one): one is Known => !Error.isError(one))
  return jobs.length > 0 ? jobs : (found[0] as Error)
}

async function sessionNamed(context: Context, peer: LocalPeer, word: string): Promise<Known | undefined> {
  const { signal } = context
  const session = await peer.session(sessionWord(word) ?? word, { signal }).catch(unless('SESSION_NOT_FOUND'))
  if (!session) return undefined
  // Whoever is not connected with it cannot ask it.
  const jobs = session.state === 'Opened' ? await session.jobs({ signal }) : []
  return sessionKnown(
    context,
    session.snapshot,
    jobs.map(({ snapshot }) => snapshot),
  )
}

async function peerNamed(context: Context, peer: LocalPeer, word: string): Promise<Known | undefined> {
  const { signal } = context
  const id = /\/p2p\/([^/]+)$/.exec(word)?.[1] ?? word
  const known = await peer.peers({ signal })
  const there =
    known.find((one) => one.id === id || one.name.toLowerCase() === word.toLowerCase()) ??
    (id.length >= 8 ? known.find((one) => one.id.startsWith(id)) : undefined)
  if (!there) return undefined
  const sessions = await peer.sessions({ signal })
  return peerKnown(
    context,
    there,
    sessions.filter(({ peerId }) => peerId === there.id),
  )
}

function unless(code: string): (error: unknown) => undefined {
  return (error) => {
    if (codeOf(error) !== code) throw error
    return undefined
  }
}

/** Of a machine that is at work: what is known of its actor. */
function actorOf(job: Job, signal: AbortSignal): Promise<ActorInspection | undefined> | undefined {
  if (job.type !== 'MachineJob' || isFinished(job.state)) return undefined
  // It may have ended meanwhile.
  return job.inspect({ signal }).catch(unless('ACTOR_GONE'))
}

function jobKnown(
  context: Context,
  { snapshot: job }: Job,
  { location, at }: Place,
  actor: ActorInspection | undefined,
): Known {
  const { terminal } = context
  const { state, reason, question, begunAt, endedAt, children, history } = job
  const title = terminal.data('bold', `job ${jobId(job)}  ${oneLine(job.name)}`)
  const since = history.at(-1)?.at
  const text = facts([
    ['state', since === undefined ? state : `${state} since ${iso(since)}`],
    ['why', whyOf(reason)],
    ['asks', question && `${questionText(question)}\n${answerLine(job, at)}`],
    ['paused', job.paused && 'as much as is kept of it was left unread'],
    ['to read', job.hasMoreData ? ['errand', ...atWords(at), 'receive', jobId(job)].join(' ') : 'nothing new'],
    ['command', job.command],
    ['type', job.type],
    ['where', job.location],
    ['table of', location],
    ['pid', job.pid === undefined ? undefined : String(job.pid)],
    ['exit code', job.exitCode === undefined ? undefined : String(job.exitCode)],
    ['errors', job.errorCount === 0 ? undefined : String(job.errorCount)],
    ['attempt', job.epoch === undefined ? undefined : String(job.epoch)],
    ['items', itemsOf(job)],
    ['begun', iso(begunAt) ?? undefined],
    ['ended', iso(endedAt) ?? undefined],
    ['took', begunAt && endedAt && span(endedAt.getTime() - begunAt.getTime())],
    ['history', history.map(({ state: was, at: when }) => `${iso(when)}  ${was}`).join('\n')],
    ['instance', job.instanceId],
    ['session', job.session],
    ['peer', job.peer],
    ['children', children.length === 0 ? undefined : childTable(context, children)],
  ])
  const seen = actor && shownActor(context, actor)
  return {
    document: { ...jobDocument(job, location), ...(job.type === 'MachineJob' && { actor: actorOrNull(actor) }) },
    fields: [...JOB_FIELDS, 'actor'],
    text: `${title}\n${text}${seen === undefined ? '' : `\n${seen}`}`,
  }
}

function actorOrNull(actor: ActorInspection | undefined): Record<string, unknown> | null {
  return actor === undefined ? null : actorDocument(actor)
}

function childTable({ terminal }: Context, children: readonly JobSnapshot[]): string {
  const width = terminal.columns === undefined ? undefined : Math.max(20, terminal.columns - LABELS)
  const failed = children.flatMap((job) => (job.reason ? [`${jobId(job)} ${whyOf(job.reason)}`] : []))
  const rows = children.map((job) => ({ job }))
  return [jobTable(rows, { columns: width }).trimEnd(), ...failed].join('\n')
}
/** Columns that the labels take. */
const LABELS = 11

function itemsOf({ items }: JobSnapshot): string | undefined {
  if (items === undefined) return undefined
  return Object.entries(items)
    .filter(([, count]) => count !== undefined)
    .map(([what, count]) => `${String(count)} ${what}`)
    .join(', ')
}

/** Error after error: what came of what. */
function whyOf(reason: Error | undefined): string | undefined {
  const lines: string[] = []
  for (let error: unknown = reason; Error.isError(error) && lines.length < 8; error = error.cause) {
    const code = codeOf(error)
    lines.push(`${lines.length === 0 ? '' : 'because: '}${error.message}${code === undefined ? '' : ` (${code})`}`)
  }
  return lines.length === 0 ? undefined : lines.join('\n')
}

function sessionKnown({ terminal }: Context, session: SessionSnapshot, jobs: readonly JobSnapshot[]): Known {
  const title = terminal.data('bold', `session ${session.id}  ${oneLine(session.name)}`)
  const text = facts([
    ['state', session.state],
    ['why', whyOf(session.reason)],
    ['availability', session.availability],
    ['where', session.location],
    ['expires', iso(session.expiresAt) ?? undefined],
    ['idle timeout', span(session.idleTimeout)],
    ['buffering', session.buffering],
    ['transport', session.transport],
    ['runspace', `number ${session.epoch}`],
    ['instance', session.instanceId],
    ['peer', session.peerId],
    ['jobs', jobs.length === 0 ? String(session.jobs) : jobTable(jobs.map((job) => ({ job }))).trimEnd()],
  ])
  return { document: sessionDocument(session), fields: SESSION_FIELDS, text: `${title}\n${text}` }
}

function peerKnown({ terminal }: Context, peer: PeerInfo, sessions: readonly SessionSnapshot[]): Known {
  const title = terminal.data('bold', `peer ${oneLine(peer.name)}`)
  const text = facts([
    ['connected', peer.connected ? 'yes' : 'no'],
    ['id', peer.id],
    ['addresses', peer.addresses.join('\n') || 'none known: it has to come to us'],
    ['may here', peer.grants.join(', ') || 'nothing'],
    ['owner', peer.owner],
    ['sessions', sessions.length === 0 ? 'none' : sessionTable(sessions).trimEnd()],
  ])
  return { document: peerDocument(peer), fields: PEER_FIELDS, text: `${title}\n${text}` }
}
