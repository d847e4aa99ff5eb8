// errand session …: places on other peers in which work is done.
import type { Peer, Session, SessionSnapshot } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import { choice, type Flags } from '../flags.ts'
import { follow, outcome, sayingNews, untilDetached } from '../follow.ts'
import { sessionWord } from '../places.ts'
import { jobId } from '../render/job.ts'
import { checkFields, jobDocument, pick, sessionDocument, SESSION_FIELDS } from '../render/json.ts'
import { printerOf } from '../render/record.ts'
import { powershellSessionTable, sessionTable } from '../render/session.ts'
import { oneLine } from '../render/table.ts'
import { defined, initOf } from '../work.ts'

/** errand session new PEER…: stays open until it is closed, or has been left for its idle timeout. */
export async function open(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const names = flags.name?.split(',') ?? []
  const { idleTimeout, buffering, lostAfter, reconnect, cwd, env, maxMemory, allow: permissions } = flags
  const init = await initOf(context, flags)
  const options = { idleTimeout, buffering, lostAfter, reconnect, cwd, env, init, maxMemory, permissions }
  const peer = await context.connect()
  const opened = await Promise.allSettled(
    words.map((to, index) =>
      peer.connect(to, {
        ...defined({ ...options, name: names[index] }),
        signal: context.signal,
      }),
    ),
  )
  // Those that were opened are there: they are printed although another could not be.
  const sessions = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  if (sessions.length > 0) await printSessions(context, sessions)
  const failed = opened.find((one) => one.status === 'rejected')
  if (failed) throw failed.reason
  return EXIT.done
}

const STATES = ['Opening', 'Opened', 'Disconnecting', 'Disconnected', 'Connecting', 'Closed', 'Broken'] as const

/** errand session list [SESSION…]. */
export async function list(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { terminal, json, quiet } = context
  const { signal } = context
  const states = flags.state?.map((state) => choice(state, STATES))
  const peer = await context.connect()
  let found: readonly SessionSnapshot[]
  if (flags.on !== undefined) {
    const hosted = await Promise.all(flags.on.map((on) => peer.sessions({ on, signal })))
    found = hosted.flat().filter((session) => words.length === 0 || words.some((word) => isNamed(session, word)))
  } else if (words.length > 0) {
    found = await meant(peer, words, signal)
  } else found = await peer.sessions({ signal })
  const { name } = flags
  const sessions = found.filter(
    (session) => (!states || states.includes(session.state)) && (name === undefined || isLike(session.name, name)),
  )
  if (json !== undefined) await terminal.out(`${JSON.stringify(documentsOf(sessions, json))}\n`)
  else if (quiet) await terminal.out(sessions.map(({ id }) => `${id}\n`).join(''))
  else await showSessions(context, sessions)
  if (sessions.length === 0 && !quiet && json === undefined) terminal.say('no sessions')
  return EXIT.done
}

/** errand session connect SESSION…: with `--on PEER` one that this machine does not hold yet. */
export async function connect(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const peer = await context.connect()
  const sessions = await Promise.all(words.map((word) => takeUp(context, flags, peer, word)))
  await showSessions(
    context,
    sessions.map(({ snapshot }) => snapshot),
  )
  return EXIT.done
}

/** errand session disconnect SESSION… */
export async function disconnect(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { signal } = context
  const { idleTimeout, buffering } = flags
  const peer = await context.connect()
  const sessions = await Promise.all(words.map((word) => sessionOf(peer, word, signal)))
  await Promise.all(
    sessions.map(async (session) => {
      // Left already: that is what was asked for.
      if (session.state !== 'Disconnected') await session.disconnect({ ...defined({ idleTimeout, buffering }), signal })
    }),
  )
  await showSessions(
    context,
    sessions.map(({ snapshot }) => snapshot),
  )
  return EXIT.done
}

/** errand session receive SESSION: the run that was started in it, as a job of ours. */
export async function receive(context: Context, flags: Flags, [word]: readonly string[]): Promise<number> {
  const { terminal, json } = context
  const peer = await context.connect()
  const session =
    flags.on === undefined && !flags.force
      ? await sessionOf(peer, word!, context.signal)
      : await takeUp(context, flags, peer, word!)
  const job = await session.receive({ ...defined({ name: flags.name }), signal: context.signal })
  if (job === undefined) {
    if (!context.quiet) terminal.say(`session ${oneLine(session.name)} has nothing to receive`)
    return EXIT.done
  }
  if (flags.outTarget === 'job') {
    const { snapshot } = job
    await terminal.out(
      json === undefined ? `${jobId(snapshot)}\n` : `${JSON.stringify(pick(jobDocument(snapshot), json))}\n`,
    )
    return EXIT.done
  }
  return untilDetached(context, async (signal) => {
    await using _ = sayingNews(context, [{ place: { location: undefined, at: undefined, table: peer }, job }], signal)
    return outcome(context, await follow([job], printerOf(context, flags, [job]), {}, signal))
  })
}

/** errand session remove SESSION…: also what runs in it. */
export async function remove(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { signal } = context
  const peer = await context.connect()
  const sessions = await Promise.all(words.map((word) => sessionOf(peer, word, signal)))
  await Promise.all(sessions.map((session) => session.close({ ...defined({ grace: flags.grace }), signal })))
  return EXIT.done
}

/** The numbers of sessions that were just opened: data for the next command. With several a line says where. */
export async function printSessions({ terminal, json }: Context, sessions: readonly Session[]): Promise<void> {
  if (json !== undefined) {
    const documents = documentsOf(
      sessions.map(({ snapshot }) => snapshot),
      json,
    )
    return terminal.out(`${JSON.stringify(documents.length === 1 ? documents[0] : documents)}\n`)
  }
  const several = sessions.length > 1
  await terminal.out(sessions.map(({ location, id }) => `${several ? `${oneLine(location)} ` : ''}${id}\n`).join(''))
}

/** A session this machine holds. @throws SessionNotFoundError */
function sessionOf(peer: Peer, word: string, signal: AbortSignal): Promise<Session> {
  return peer.session(sessionWord(word) ?? word, { signal })
}

async function takeUp(context: Context, flags: Flags, peer: Peer, word: string): Promise<Session> {
  const { signal } = context
  const { force, buffering } = flags
  if (flags.on === undefined) {
    const session = await sessionOf(peer, word, signal)
    if (session.state !== 'Opened' || buffering) await session.connect({ ...defined({ force, buffering }), signal })
    return session
  }
  const [on, ...others] = flags.on
  if (on === undefined || others.length > 0) throw usage('--on names one PEER here: the one that hosts the session')
  return peer.connect(on, { session: sessionWord(word) ?? word, ...defined({ force, buffering }), signal })
}

async function showSessions(context: Context, sessions: readonly SessionSnapshot[]): Promise<void> {
  const { terminal, json, cmdlet } = context
  if (json !== undefined) return terminal.out(`${JSON.stringify(documentsOf(sessions, json))}\n`)
  const style = { columns: terminal.columns, title: (line: string) => terminal.data('bold', line) }
  await terminal.out(cmdlet ? powershellSessionTable(sessions) : sessionTable(sessions, style))
}

function documentsOf(sessions: readonly SessionSnapshot[], fields: readonly string[]): Record<string, unknown>[] {
  checkFields(fields, SESSION_FIELDS)
  return sessions.map((session) => pick(sessionDocument(session), fields, SESSION_FIELDS))
}

/** Those we hold that words name, each once: all of a name that several have. @throws SessionNotFoundError */
async function meant(peer: Peer, words: readonly string[], signal: AbortSignal): Promise<SessionSnapshot[]> {
  const held = await peer.sessions({ signal })
  const found = await Promise.all(
    words.map(async (word) => {
      const named = held.filter((session) => isNamed(session, word))
      return named.length > 0 ? named : [(await sessionOf(peer, word, signal)).snapshot]
    }),
  )
  return [...new Map(found.flat().map((session) => [session.instanceId, session])).values()]
}

function isNamed(session: SessionSnapshot, word: string): boolean {
  const which = sessionWord(word) ?? word
  if (typeof which === 'number') return session.id === which
  return (
    (which.length >= 4 && session.instanceId.startsWith(which)) || session.name.toLowerCase() === which.toLowerCase()
  )
}

/** `*` and `?`, the whole name, any case. */
function isLike(name: string, pattern: string): boolean {
  const text = pattern.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
  return new RegExp(`^${text.replaceAll('*', '.*').replaceAll('?', '.')}$`, 'is').test(name)
}
