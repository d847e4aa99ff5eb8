// This machine's peer: found where its socket is, or started. Of two commands that start it at the same moment one wins —
// the peer itself sees to that, by the lock of its socket — and the other finds the winner's.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdir, open, rename, stat } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { codeOf, connectLocal, unmarked, type LocalPeer } from '@errand/runtime/client'
import { Failure } from './failure.ts'

/** How long a daemon may take until it answers, in milliseconds, before starting it counts as failed. */
const START_MS = 30_000
/** A daemon that is being started by somebody else answers soon; asking costs a connect(2). */
const ASK_MS = 25
/** How often we ask before we try to start one ourselves again: the other may have been on its way out. */
const ASKS = 40

/** A start that failed with this code met a daemon that is there already, or still: the lock of its home is held. */
export const TAKEN = 'KEY_IN_USE'

export interface DaemonOptions {
  readonly home: string
  /** How long it is waited for when it goes, in ms. Default 0. */
  readonly lostAfter?: number
  readonly env: NodeJS.ProcessEnv
  readonly signal: AbortSignal
  /** Flags for `up --foreground`. */
  readonly flags: readonly string[]
}

/** The one that answers now, or undefined. @throws DeniedError for a home that is not ours alone */
export async function findDaemon(home: string, signal: AbortSignal, lostAfter = 0): Promise<LocalPeer | undefined> {
  try {
    return await connectLocal({ home, lostAfter, signal })
  } catch (error) {
    if (codeOf(error) === 'PEER_UNREACHABLE') return undefined
    throw error
  }
}

/**
 * Finds or starts it; `started` says which. Resolves when it answers.
 * @throws Failure DAEMON, or with the code of what kept it from starting
 */
export async function findOrStartDaemon(options: DaemonOptions): Promise<{ peer: LocalPeer; started: boolean }> {
  const { home, signal, lostAfter } = options
  const late = AbortSignal.timeout(START_MS)
  const either = AbortSignal.any([signal, late])
  for (;;) {
    const peer = await findDaemon(home, signal, lostAfter)
    if (peer) return { peer, started: false }
    const held = await startDaemon(options, either).catch((error: unknown) => {
      throw late.aborted && !signal.aborted ? silent(home, 'it does not get ready') : error
    })
    if (held === undefined) {
      const mine = await findDaemon(home, signal, lostAfter)
      if (mine) return { peer: mine, started: true }
    } else {
      // Somebody else's: it listens in a moment, or was just leaving.
      for (let asked = 0; asked < ASKS; asked++) {
        const other = await findDaemon(home, signal, lostAfter)
        if (other) return { peer: other, started: false }
        await delay(ASK_MS, undefined, { signal })
      }
    }
    if (late.aborted) throw silent(home, held ?? 'it was there, and is gone')
  }
}

function silent(home: string, why: string): Failure {
  return new Failure('DAEMON', `this machine's peer does not answer: ${why}`, `see ${logOf(home)}`)
}

/** Starts one that outlives us. Undefined when it is up; who holds its place when another does. */
async function startDaemon({ home, env, flags }: DaemonOptions, signal: AbortSignal): Promise<string | undefined> {
  await makeHome(home)
  const main = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url))
  await makeRoom(logOf(home))
  const log = await open(logOf(home), 'a', 0o600)
  let child: ChildProcess
  try {
    child = spawn(
      process.execPath,
      [...process.execArgv, main, 'up', '--foreground', '--ready-fd', '3', '--home', home, ...flags],
      // Its own session and no terminal: neither our Ctrl-C nor our end is its.
      { cwd: home, env: unmarked(env), detached: true, stdio: ['ignore', log.fd, log.fd, 'pipe'] },
    )
  } finally {
    await log.close()
  }
  let said: ReadyLine
  try {
    said = await readyLine(child, signal)
  } finally {
    child.unref()
  }
  if (said.up) return undefined
  const { code, message, hint } = said.error
  if (code === TAKEN) return message
  throw new Failure(code, `this machine's peer could not be started: ${message}`, hint ?? `see ${logOf(home)}`)
}

/** What a daemon says on its pipe, one line of JSON: that it is up, or why it is not. */
export type ReadyLine = { up: true } | { up: false; error: { code: string; message: string; hint: string | null } }

async function readyLine(child: ChildProcess, signal: AbortSignal): Promise<ReadyLine> {
  const ended = Promise.withResolvers<ReadyLine>()
  const giveUp = (): void => ended.reject(signal.reason)
  signal.addEventListener('abort', giveUp, { once: true })
  const died = (message: string): void => ended.resolve({ up: false, error: { code: 'DAEMON', message, hint: null } })
  child.once('error', (error) => died(error.message))
  const pipe = child.stdio[3] as NodeJS.ReadableStream & { destroy(): void }
  let text = ''
  pipe.setEncoding('utf8')
  pipe.on('data', (piece: string) => {
    text += piece
    const line = /^(.*)\n/.exec(text)?.[1]
    if (line !== undefined) ended.resolve(JSON.parse(line) as ReadyLine)
  })
  // Closed without a line: it died before it could say why. Its last words are in its log.
  pipe.once('close', () => {
    if (child.exitCode !== null || child.signalCode !== null)
      return died(`it ended with ${child.signalCode ?? child.exitCode}`)
    void once(child, 'exit').then(([code, killed]) => died(`it ended with ${(killed ?? code) as string}`))
  })
  try {
    return await ended.promise
  } finally {
    signal.removeEventListener('abort', giveUp)
    pipe.destroy()
  }
}

/** With what is above it. Not `recursive`: where nothing can be made (/proc), Node's own tries for ever. */
async function makeHome(home: string): Promise<void> {
  const make = (): Promise<unknown> => mkdir(home, { mode: 0o700 })
  try {
    await make().catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT' || existsSync(dirname(home))) throw error
      await makeHome(dirname(home))
      await make()
    })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return
    if (error instanceof Failure) throw error
    const { message } = error as Error
    throw new Failure('HOME', `${home} cannot be made: ${message}`, 'choose another place: --home DIR, or ERRAND_HOME')
  }
}

/** Where a daemon in the background writes what an operator may want to know, a JSON object a line. */
export function logOf(home: string): string {
  return join(home, 'daemon.log')
}

/** What was written before is kept once, as `daemon.log.1`: with one daemon after the other it would grow for ever. */
async function makeRoom(log: string): Promise<void> {
  const { size } = await stat(log).catch(() => ({ size: 0 })) // the first
  // Of two that start one at once one is first.
  if (size > LOG_BYTES) await rename(log, `${log}.1`).catch(() => undefined)
}
const LOG_BYTES = 1 << 20
