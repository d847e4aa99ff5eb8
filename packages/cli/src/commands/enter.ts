// errand enter: work in a session line by line. Lines come from a terminal, or from a pipe and are echoed then.
import { codeOf, type Peer, type Session } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import { sessionWord } from '../places.ts'
import { Prompt } from '../prompt.ts'
import { jobId } from '../render/job.ts'
import { oneLine } from '../render/table.ts'
import { defined } from '../work.ts'

/** Who leaves waits no longer than this for the session to hear of it, in ms: the daemon goes on telling it. */
const LEAVE_MS = 3_000

export default async function enter(context: Context, flags: Flags, [word]: readonly string[]): Promise<number> {
  const peer = await context.connect()
  const { session, temporary } = await sessionFor(context, flags, peer, word!)
  try {
    const exitCode = await Prompt.read(context, session)
    if (temporary && session.state === 'Opened') await sayWhatEnds(context, session)
    return exitCode
  } finally {
    // Also when the terminal went away: what a temporary session holds must not outlive who entered it.
    if (temporary && session.state === 'Opened') await closeSoon(session)
  }
}

/** errand exit: `Exit-PSSession` where nothing was entered does nothing, as in PowerShell. */
export async function exit(context: Context): Promise<number> {
  if (!context.quiet) context.terminal.say('not in a session: `exit` leaves `errand enter`')
  return EXIT.done
}

/** A peer gets a session that ends as we leave; a session we hold stays as it was. */
async function sessionFor(
  context: Context,
  flags: Flags,
  peer: Peer,
  word: string,
): Promise<{ session: Session; temporary: boolean }> {
  const { signal } = context
  const held = async (which: string | number): Promise<{ session: Session; temporary: boolean }> => {
    const session = await peer.session(which, { signal })
    if (session.state !== 'Opened') await session.connect({ signal })
    return { session, temporary: false }
  }
  const which = sessionWord(word)
  if (which !== undefined) return held(which)
  try {
    const session = await peer.connect(word, { temporary: true, ...defined({ lostAfter: flags.lostAfter }), signal })
    return { session, temporary: true }
  } catch (error) {
    if (codeOf(error) !== 'PEER_NOT_FOUND') throw error
    return held(word).catch((second: unknown) => {
      throw codeOf(second) === 'SESSION_NOT_FOUND' ? error : second
    })
  }
}

async function sayWhatEnds(context: Context, session: Session): Promise<void> {
  let unfinished: string[]
  try {
    const jobs = await session.jobs({ signal: AbortSignal.timeout(LEAVE_MS) })
    unfinished = jobs
      .filter((job) => job.endedAt === undefined)
      .map((job) => `${jobId(job.snapshot)} (${oneLine(job.name)}, ${job.state})`)
  } catch {
    // It cannot be asked any more; what ended the prompt has been said.
    return
  }
  if (unfinished.length > 0) context.terminal.say(`errand: leaving ends job ${unfinished.join(', ')}`)
}

/** One that cannot be told is closed all the same: it is the daemon's as soon as we are gone. */
async function closeSoon(session: Session): Promise<void> {
  const signal = AbortSignal.timeout(LEAVE_MS)
  try {
    await session.close({ signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
