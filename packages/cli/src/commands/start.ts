// errand start: a job that goes on when this command has ended.
import { setImmediate } from 'node:timers/promises'
import { codeOf, type Job, type JobState, type LocalPeer, type Session, type Work } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import { JOB_STATES, type Flags } from '../flags.ts'
import { follow, outcome, sayingNews, untilDetached } from '../follow.ts'
import { inputOf, type InputSource } from '../input.ts'
import { idLines, jobDocuments, placesOf, sessionMeant, targetsOf, type PlacedJob } from '../places.ts'
import { printerOf } from '../render/record.ts'
import { defined, isCommand, startOptions, workOf } from '../work.ts'
import { printSessions } from './session.ts'

export default async function start(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  if (flags.detach && flags.on === undefined) {
    throw usage('--detach needs --on', 'a job of our own table goes on without it')
  }
  if (flags.detach && (flags.follow || flags.wait)) throw usage('--detach leaves at once: no --follow, no --wait')
  if (flags.detach && flags.input !== undefined)
    throw usage('--detach leaves at once: nobody would give it its --input')
  const work = await workOf(context, flags, words)
  const peer = await context.connect()
  if (flags.detach) return startDetached(context, flags, peer, work)
  const input = givenInput(context, flags, work)
  const started = await startJobs(context, flags, peer, work, input)
  await printStarted(context, started)
  const jobs = started.map(({ job }) => job)
  if (!flags.follow && !flags.wait) {
    if (input) return untilDetached(context, (signal) => giveAll(input, jobs, signal))
    return EXIT.done
  }
  return untilDetached(
    context,
    async (signal) => {
      await using _ = sayingNews(context, started, signal)
      const ended = flags.follow
        ? await follow(jobs, printerOf(context, flags, jobs), {}, signal)
        : await Promise.all(jobs.map((job) => job.wait({ signal })))
      return outcome(context, ended)
    },
    jobs,
  )
}

/** What the job is to read, as `--input` says. @throws Failure USAGE */
export function givenInput(context: Context, flags: Flags, work: Work): InputSource | undefined {
  if (flags.input === undefined) return undefined
  if (flags.at !== undefined && (flags.at.length > 1 || flags.at.includes('all')))
    throw usage('--input goes to one job: name one place with --at', 'or --on: its children all get it')
  return inputOf(context, flags.input, { lines: flags.lines, bytes: isCommand(work) })
}

/** Stays until the job has all of it: it would be lost with us. */
async function giveAll(input: InputSource, jobs: readonly Job[], signal: AbortSignal): Promise<number> {
  const ended = jobs.map((job) => job.wait({ signal }))
  for (const one of ended) one.catch(() => undefined) // whoever leaves does not wait for it
  await Promise.race([input.over, Promise.all(ended)])
  // Behind the end that the source itself is about to say, which then is the one that counts.
  await setImmediate()
  await Promise.all(
    jobs.map((job) =>
      job.endInput({ signal }).catch((error: unknown) => {
        if (codeOf(error) !== 'INPUT_CLOSED') throw error
      }),
    ),
  )
  return EXIT.done
}

/** Starts the work at every place it was asked for: one job per job table. @throws Failure USAGE */
export async function startJobs(
  context: Context,
  flags: Flags,
  peer: LocalPeer,
  work: Work,
  input?: InputSource,
): Promise<PlacedJob[]> {
  if (flags.on !== undefined && flags.at !== undefined) {
    throw usage('--on and --at exclude each other', '--on: the job is ours; --at: the job is theirs')
  }
  const places = await placesOf(peer, flags.at, context)
  const local = flags.on === undefined && flags.at === undefined
  const options = { ...(await startOptions(context, flags, local)), ...(input && { input }) }
  if (flags.on === undefined) {
    // As with Start-ThreadJob it is the limit of all of them from now on.
    if (flags.throttle !== undefined && flags.engine === 'thread') {
      await Promise.all(places.map(({ table }) => table.setThrottle(flags.throttle!, { signal: context.signal })))
    }
    return Promise.all(places.map(async (place) => ({ place, job: await place.table.start(work, options) })))
  }
  const on = await targetsOf(peer, flags.on, context)
  return [{ place: places[0]!, job: await peer.start(work, { ...options, ...remote(flags), on }) }]
}

function remote({ throttle, lostAfter }: Flags): { throttle?: number; lostAfter?: string } {
  return defined({ throttle, lostAfter })
}

async function printStarted(context: Context, started: readonly PlacedJob[]): Promise<void> {
  const { terminal, json } = context
  if (json === undefined) return terminal.out(idLines(started))
  const documents = jobDocuments(started, json)
  await terminal.out(`${JSON.stringify(documents.length === 1 ? documents[0] : documents)}\n`)
}

const BEGUN: JobState[] = JOB_STATES.filter((state) => state !== 'NotStarted')

/**
 * Opens (or borrows) a session per target, starts one job over all of them, and leaves. What was opened here is closed
 * again when the job could not be started: nothing would ever come of it.
 */
async function startDetached(context: Context, flags: Flags, peer: LocalPeer, work: Work): Promise<number> {
  const { signal } = context
  const opened: Session[] = []
  const found = await Promise.allSettled(
    flags.on!.map(async (word): Promise<Session> => {
      const held = await sessionMeant(peer, word, signal)
      if (held !== undefined) return held
      const session = await peer.connect(word, {
        signal,
        ...defined({ lostAfter: flags.lostAfter, name: flags.name }),
      })
      opened.push(session)
      return session
    }),
  )
  const sessions = found.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  try {
    const missing = found.find((one) => one.status === 'rejected')
    if (missing) throw missing.reason
    const job = await peer.start(work, {
      ...(await startOptions(context, flags, false)),
      ...remote(flags),
      on: sessions,
    })
    // On its way, or waiting for its turn: left before that, it would begin only when this machine comes back.
    await Promise.all(job.children.map((child) => child.wait({ for: BEGUN, signal })))
  } catch (error) {
    await Promise.allSettled(opened.map((session) => session.close()))
    throw error
  }
  // From here on the work runs: whoever cannot be left in order is left by its lease.
  const left = await Promise.allSettled(sessions.map((session) => session.disconnect({ signal })))
  await printSessions(context, sessions)
  const failed = left.find((one) => one.status === 'rejected')
  if (failed) throw failed.reason
  return EXIT.done
}
