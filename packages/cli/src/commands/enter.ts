// errand enter: work in a session line by line. Lines come from a terminal, or from a pipe and are echoed then.
import { createInterface, type Interface } from 'node:readline'
import { codeOf, type Peer, type Session, type Work } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT, exitCodeOf } from '../exit-codes.ts'
import { BROKEN_PIPE } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { onInterrupt } from '../interrupt.ts'
import { sayingLink } from '../link-news.ts'
import { sessionWord } from '../places.ts'
import { jobId } from '../render/job.ts'
import { RecordPrinter } from '../render/record.ts'
import { defined } from '../work.ts'

export default async function enter(context: Context, flags: Flags, [word]: readonly string[]): Promise<number> {
  const peer = await context.connect()
  const { session, temporary } = await sessionFor(context, flags, peer, word!)
  try {
    await using _ = sayingLink(context, session)
    const exitCode = await new Prompt(context, session).read()
    if (temporary) await sayWhatEnds(context, session)
    return exitCode
  } finally {
    // Also when the terminal went away: what a temporary session holds must not outlive who entered it.
    if (temporary) await session.close()
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
    const jobs = await session.jobs({ signal: context.signal })
    unfinished = jobs
      .filter((job) => job.endedAt === undefined)
      .map((job) => `${jobId(job.snapshot)} (${job.name}, ${job.state})`)
  } catch {
    // It cannot be asked any more; what ended the prompt has been said.
    return
  }
  if (unfinished.length > 0) context.terminal.say(`errand: leaving ends job ${unfinished.join(', ')}`)
}

/** A line that more text could complete. */
const INCOMPLETE = 'SCRIPT_INCOMPLETE'
const LEAVE = new Set(['exit', 'exit-pssession', 'exsn', '~.'])
/** Nothing can be run in the session any more. */
const GONE = new Set(['SESSION_CLOSED', 'PEER_LOST', 'PEER_CLOSED', 'CHANNEL_CLOSED'])

class Prompt {
  readonly #context: Context
  readonly #session: Session
  readonly #lines: Interface
  /** Lines that do not make a whole yet. */
  #begun: string[] = []
  #running: AbortController | undefined
  #exitCode: number | undefined
  /** No more lines: Ctrl-D, which may be typed while a line still runs, or the end of a pipe. */
  #ended = false

  constructor(context: Context, session: Session) {
    const { terminal } = context
    this.#context = context
    this.#session = session
    this.#lines = createInterface({
      input: terminal.stdin,
      ...(terminal.types ? { output: terminal.screen, terminal: true } : { terminal: false }),
    })
    this.#lines.once('close', () => (this.#ended = true))
  }

  /** Reads and runs lines until there are no more or one leaves. Resolves to the exit code. */
  async read(): Promise<number> {
    const { signals, signal } = this.#context
    using _ = onInterrupt(signals, (_times, code) => (code === EXIT.terminated ? this.#leave(code) : this.#interrupt()))
    // A terminal in raw mode hands Ctrl-C to whoever reads its keys.
    this.#lines.on('SIGINT', () => this.#interrupt())
    const timeout = (): void => this.#lines.close()
    signal.addEventListener('abort', timeout, { once: true })
    try {
      this.#prompt()
      for await (const line of this.#lines) {
        if (!(await this.#take(line)) || this.#exitCode !== undefined) break
        this.#prompt()
      }
      signal.throwIfAborted()
      return this.#exitCode ?? EXIT.done
    } finally {
      signal.removeEventListener('abort', timeout)
      this.#lines.close()
    }
  }

  #prompt(): void {
    const prompt = this.#begun.length === 0 ? `[${this.#session.location}]> ` : '... '
    if (this.#context.terminal.types) {
      if (this.#ended) return
      this.#lines.setPrompt(prompt)
      this.#lines.prompt()
    } else this.#echo = prompt
  }
  /** In a pipe the prompt is written with its line, so that a transcript ends with the last thing that happened. */
  #echo = ''

  /** Runs a line; false when it leaves. */
  async #take(line: string): Promise<boolean> {
    const { terminal, json } = this.#context
    if (!terminal.types && json === undefined) await terminal.out(`${this.#echo}${line}\n`)
    const begun = this.#begun.length > 0
    if (!begun && LEAVE.has(line.trim().toLowerCase())) return false
    if (line.trim() === '~.') return false
    if (!begun && line.trim() === '') return true
    const command = begun ? undefined : /^\s*!(.*)$/s.exec(line)?.[1]
    const text = [...this.#begun, line].join('\n')
    const work: Work = command === undefined ? { line: text } : ['sh', '-c', command]
    return this.#run(work, [...this.#begun, line])
  }

  async #run(work: Work, lines: string[]): Promise<boolean> {
    const printer = new RecordPrinter(this.#context, { prefix: false, raw: false })
    const running = new AbortController()
    this.#running = running
    try {
      // For a run the signal stops the script; the session stays.
      const run = this.#session.run(work, { signal: running.signal })
      for await (const record of run.records()) {
        // That the line goes on is for us to know: the prompt says it.
        if (record.kind !== 'error' || codeOf(record.error) !== INCOMPLETE) await printer.print(record)
      }
      await run
      this.#begun = []
    } catch (error) {
      if (codeOf(error) === INCOMPLETE) {
        this.#begun = lines
        return true
      }
      this.#begun = []
      // A broken pipe ends us, not the line.
      if (codeOf(error) === BROKEN_PIPE) throw error
      if (running.signal.aborted) this.#context.terminal.say('stopped')
      else if (!printer.hasSaid(error)) {
        printer.thrown(this.#session.location, Error.isError(error) ? error : new Error(String(error)))
      }
      if (GONE.has(codeOf(error) ?? '') || this.#session.state === 'Broken' || this.#session.state === 'Closed') {
        this.#exitCode = exitCodeOf(error) === EXIT.failed ? EXIT.unreachable : exitCodeOf(error)
        return false
      }
    } finally {
      this.#running = undefined
      this.#context.terminal.live([])
    }
    return true
  }

  /** Ctrl-C: ends the line that runs; without one, drops what was typed; in a pipe there is nothing else to drop. */
  #interrupt(): void {
    if (this.#running) return this.#running.abort(new Error('interrupted'))
    if (!this.#context.terminal.types) return this.#leave(EXIT.interrupted)
    if (this.#ended) return
    this.#begun = []
    this.#lines.write(null, { ctrl: true, name: 'e' })
    this.#lines.write(null, { ctrl: true, name: 'u' })
    this.#prompt()
  }

  #leave(exitCode: number): void {
    this.#exitCode = exitCode
    this.#running?.abort(new Error('left'))
    this.#lines.close()
  }
}
