// Where? `--on` says where the work runs, `--at` whose job table a verb speaks to.
import {
  codeOf,
  isFinished,
  type Job,
  type JobFilter,
  type JobState,
  type LocalPeer,
  type NamedActor,
  type Peer,
  type Session,
  type Target,
} from '@errand/runtime/client'
import type { Context } from './context.ts'
import { Failure, usage } from './failure.ts'
import { JOB_STATES } from './flags.ts'
import { jobId } from './render/job.ts'
import { checkFields, JOB_FIELDS, jobDocument, pick } from './render/json.ts'
import { oneLine, printable } from './render/table.ts'
import { jobWord } from './work.ts'

/** What a peer and a session have in common: a job table. */
type JobTable = Pick<Session, 'start' | 'startMachine' | 'jobs' | 'job' | 'setThrottle' | 'events'>

export interface Place {
  /** What `--at` called it, where several tables are spoken to: then lines and rows say whose they are. */
  readonly location: string | undefined
  /** What `--at` calls it, in a line to type; undefined is our own table. */
  readonly at: string | undefined
  readonly table: JobTable
  /** Whose table it is; our own peer's is no session's. */
  readonly session?: Session | undefined
}

/** A session as typed (`4`, `session:build`), or undefined: then it is a peer first. */
export function sessionWord(word: string): string | number | undefined {
  if (/^\d+$/.test(word)) return Number(word)
  return word.startsWith('session:') ? word.slice('session:'.length) : undefined
}

/** The targets of `--on`. A peer goes by its name: the job opens a temporary session there. */
export async function targetsOf(peer: Peer, on: readonly string[], context: Context): Promise<Target[]> {
  const { signal } = context
  return Promise.all(on.map(async (word): Promise<Target> => (await sessionMeant(peer, word, signal)) ?? word))
}

/**
 * The session a word means: a number, `session:NAME`, or a name that no peer has. Undefined: it is for a peer, or for
 * nobody, which whoever looks for the peer says better. @throws SessionNotFoundError, SessionAmbiguousError
 */
export async function sessionMeant(peer: Peer, word: string, signal: AbortSignal): Promise<Session | undefined> {
  const which = sessionWord(word)
  if (which !== undefined) return peer.session(which, { signal })
  if (word.startsWith('/') || word.toLowerCase() === 'localhost') return undefined
  const known = await peer.peers({ signal })
  const small = word.toLowerCase()
  if (known.some(({ name, id }) => name.toLowerCase() === small || id === word)) return undefined
  return peer.session(word, { signal }).catch((error: unknown) => {
    if (codeOf(error) !== 'SESSION_NOT_FOUND') throw error
    return undefined
  })
}

/** A place that `--at` means, before it is spoken to. */
export interface PlaceMeant {
  /** As it was typed; undefined is our own peer. */
  readonly word: string | undefined
  /** As in {@link Place}. */
  readonly location: string | undefined
  /** Our standing session on a peer is opened on first use. @throws what the place says that cannot be spoken to */
  readonly open: (signal: AbortSignal) => Promise<Place>
}

/** The places of `--at`, our own without it. `all`: our own, and every peer that is known now. */
export async function placesMeant(
  peer: Peer,
  at: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<PlaceMeant[]> {
  const own = (location: string | undefined): PlaceMeant => ({
    word: undefined,
    location,
    open: async () => ({ location, at: undefined, table: peer }),
  })
  const other = (word: string, location: string | undefined, open: typeof tableOf): PlaceMeant => ({
    word,
    location,
    async open(here) {
      const session = await open(peer, word, here)
      return { location, at: word, table: session, session }
    },
  })
  if (at === undefined || at.length === 0) return [own(undefined)]
  if (!at.includes('all')) return at.map((word) => other(word, at.length > 1 ? word : undefined, tableOf))
  if (at.length > 1) throw usage('--at all is every known peer already')
  const known = await peer.peers({ signal })
  const home: typeof tableOf = (_, name, here) => peer.home(name, { signal: here })
  return [own(peer.name), ...known.map(({ name }) => other(name, name, home))]
}

/**
 * The job tables of `--at`, our own without it.
 * @throws whatever the first place that cannot be spoken to says; but `all` skips and says so
 */
export async function placesOf(peer: Peer, at: readonly string[] | undefined, context: Context): Promise<Place[]> {
  const { signal, terminal } = context
  const meant = await placesMeant(peer, at, signal)
  const asked = meant.map((one) => one.open(signal))
  if (!at?.includes('all')) return Promise.all(asked)
  const answers = await Promise.allSettled(asked)
  signal.throwIfAborted()
  return answers.flatMap((answer, index) => {
    if (answer.status === 'fulfilled') return [answer.value]
    terminal.say(`errand: ${oneLine(meant[index]!.word ?? '')}: ${oneLine((answer.reason as Error).message)}`)
    return []
  })
}

async function tableOf(peer: Peer, word: string, signal: AbortSignal): Promise<Session> {
  const session = sessionWord(word)
  if (session !== undefined) return peer.session(session, { signal })
  try {
    return await peer.home(word, { signal })
  } catch (error) {
    if (codeOf(error) !== 'PEER_NOT_FOUND') throw error
    // No peer of that name: a session may have it. If not, the first answer was the better one.
    return peer.session(word, { signal }).catch((second: unknown) => {
      throw codeOf(second) === 'SESSION_NOT_FOUND' ? error : second
    })
  }
}

/** A job with the place whose table it stands in. */
export interface PlacedJob {
  readonly place: Place
  readonly job: Job
}

/** One line a job: its id, and whose table it is in where several are spoken to. */
export function idLines(jobs: readonly PlacedJob[]): string {
  return jobs
    .map(({ place, job }) => [...(place.location === undefined ? [] : [place.location]), jobId(job.snapshot)])
    .map((words) => `${printable(words.join(' '))}\n`)
    .join('')
}

/** The jobs' documents, with the fields that were asked for. */
export function jobDocuments(jobs: readonly PlacedJob[], fields: readonly string[]): Record<string, unknown>[] {
  checkFields(fields, JOB_FIELDS)
  return jobs.map(({ place, job }) => pick(jobDocument(job.snapshot, place.location), fields, JOB_FIELDS))
}

/**
 * The jobs that words name, in their order, each place for itself. `-` stands for the words on stdin, as `errand wait`
 * prints them. @throws JobNotFoundError
 */
export async function jobsOf(
  places: readonly Place[],
  words: readonly string[],
  context: Context,
): Promise<PlacedJob[]> {
  const { signal } = context
  const found = await each(places, words, context, async (place, word) => {
    return { place, job: await place.table.job(jobWord(word), { signal }) }
  })
  // The same job named twice (`errand wait 1 Job1`) is one job.
  const seen = new Set<string>()
  return found.filter(({ job }) => !seen.has(job.instanceId) && seen.add(job.instanceId))
}

/** An actor that has a name there, and is a job of a table that is not ours. */
export interface PlacedActor {
  readonly place: Place
  readonly actor: NamedActor
}
export type Meant = PlacedJob | PlacedActor

/**
 * The same; what is no job there may be the registered name of an actor: a job all the same where it is one of that table.
 * @throws JobNotFoundError
 */
export async function meantBy(
  peer: LocalPeer,
  places: readonly Place[],
  words: readonly string[],
  context: Context,
): Promise<Meant[]> {
  const { signal } = context
  const found = await each<Meant>(places, words, context, async (place, word) => {
    try {
      return { place, job: await place.table.job(jobWord(word), { signal }) }
    } catch (error) {
      if (codeOf(error) !== 'JOB_NOT_FOUND') throw error
      return actorCalled(peer, place, word, error as Error, signal)
    }
  })
  const seen = new Set<string>()
  return found.filter((one) => !seen.has(instanceOf(one)) && seen.add(instanceOf(one)))
}

/** The instanceId of the job that it is. */
export function instanceOf(one: Meant): string {
  return 'job' in one ? one.job.instanceId : one.actor.address.path.split('/').at(-1)!
}

/**
 * Whoever has that registered name on the peer of a place.
 * @throws `noJob`, that there is no such job: nobody has, or we may not look, which is said with it
 */
export async function actorCalled(
  peer: LocalPeer,
  place: Place,
  word: string,
  noJob: Error & { readonly hint?: string | undefined },
  signal: AbortSignal,
): Promise<Meant> {
  // A number is a job's.
  if (/^\d+(?:\.\d+)*$/.test(word)) throw noJob
  const on = place.session?.peerId
  const actor = await peer.actor(word, { ...(on !== undefined && { on }), signal }).catch((error: unknown) => {
    if (codeOf(error) === 'NAME_NOT_FOUND') throw noJob
    if (codeOf(error) !== 'DENIED') throw error
    const hint = [noJob.hint, 'whether an actor is called so is told with the grant jobs:read']
      .filter(Boolean)
      .join('; ')
    throw new Failure(codeOf(noJob)!, noJob.message, hint)
  })
  try {
    return { place, job: await place.table.job(instanceOf({ place, actor }), { signal }) }
  } catch (error) {
    if (codeOf(error) !== 'JOB_NOT_FOUND') throw error
    return { place, actor }
  }
}

async function each<T extends Meant>(
  places: readonly Place[],
  words: readonly string[],
  context: Context,
  one: (place: Place, word: string) => Promise<T>,
): Promise<(T | PlacedJob)[]> {
  const { signal } = context
  const names = words.includes('-') ? await withInput(words, context) : words
  const found = await Promise.all(
    places.map((place) =>
      Promise.all(
        names.map(async (word): Promise<(T | PlacedJob)[]> => {
          // Of names that are like it there may be none; one that is named must be there.
          if (/[*?]/.test(word)) return (await place.table.jobs({ name: word, signal })).map((job) => ({ place, job }))
          return [await one(place, word)]
        }),
      ),
    ),
  )
  return found.flat(2)
}

/** States of jobs that have ended, and of those that have not. */
export const FINISHED: readonly JobState[] = JOB_STATES.filter(isFinished)
export const UNFINISHED: readonly JobState[] = JOB_STATES.filter((state) => !isFinished(state))

/** All jobs of several places that pass a filter. */
export async function filteredJobs(
  places: readonly Place[],
  filter: JobFilter,
  context: Context,
): Promise<PlacedJob[]> {
  const found = await Promise.all(
    places.map(async (place) => {
      const jobs = await place.table.jobs({ ...filter, signal: context.signal })
      return jobs.map((job) => ({ place, job }))
    }),
  )
  return found.flat()
}

/** A line may say where it was too (`server01 3`): the job is its last word. */
async function withInput(words: readonly string[], context: Context): Promise<string[]> {
  const lines: string[] = []
  const { createInterface } = await import('node:readline')
  for await (const line of createInterface({ input: context.terminal.stdin, signal: context.signal })) {
    const word = line.trim().split(/\s+/).at(-1)
    if (word) lines.push(word)
  }
  return words.flatMap((word) => (word === '-' ? lines : [word]))
}
