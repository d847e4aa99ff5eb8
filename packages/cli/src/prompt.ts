// The prompt of a session: reads lines, runs them there one after the other, and shows what they say as they say it.
import { codeOf, type Completion, type Question, type Run, type Session, type Work } from '@errand/runtime/client'
import type { Context } from './context.ts'
import { EXIT } from './exit-codes.ts'
import { BROKEN_PIPE, Failure } from './failure.ts'
import { onInterrupt } from './interrupt.ts'
import { HISTORY_MOST, historyFile, LineHistory } from './line-history.ts'
import { LinkNews } from './link-news.ts'
import { PipedLines, TypedLines, type PromptLines } from './prompt-lines.ts'
import { sayError } from './render/error.ts'
import { questionText } from './render/question.ts'
import { RecordPrinter } from './render/record.ts'
import { cut, oneLine } from './render/table.ts'
import { fitting } from './typed-value.ts'

/** A line that more text could complete. */
const INCOMPLETE = 'SCRIPT_INCOMPLETE'
const LEAVE = new Set(['exit', 'exit-pssession', 'exsn'])
/** As in ssh: also while a line runs, in the place of an answer, and in the middle of a line that goes on. */
const LEAVE_AT_ONCE = '~.'
/** Nothing can be run in the session any more. */
const GONE = new Set(['SESSION_CLOSED', 'SESSION_EXPIRED', 'PEER_LOST', 'PEER_CLOSED', 'CHANNEL_CLOSED'])
/** Somebody who pressed Tab waits no longer than this for names, in ms. */
const COMPLETE_MS = 1_000
/** A line that takes longer than this to stop gets a word on how to end it by force, in ms. */
const STOP_MS = 1_000
/** Words and paths, nothing that only JavaScript has. */
const SHELL_LINE = /^\s*[a-z][\w-]*(?:\s+[\w./~=:-]+)*\s*$/
const NAME = /^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u
const NONE: Completion = { names: [], on: '', more: 0 }

interface Running {
  readonly stop: AbortController
  readonly run: Run
  /** Times it was interrupted. */
  times: number
  /** Nobody waits for it any more. */
  readonly left: PromiseWithResolvers<void>
  hint: NodeJS.Timeout | undefined
}

export class Prompt {
  readonly #context: Context
  readonly #session: Session
  readonly #lines: PromptLines
  readonly #history: LineHistory
  /** Lines that do not make a whole yet. */
  #begun: string[] = []
  #running: Running | undefined
  #exitCode: number | undefined
  #hinted = false

  private constructor(context: Context, session: Session, history: LineHistory) {
    const { terminal, json } = context
    this.#context = context
    this.#session = session
    this.#history = history
    this.#lines = terminal.types
      ? new TypedLines(terminal, {
          history: history.latest,
          historySize: HISTORY_MOST,
          complete: (text) => this.#complete(text),
          interrupt: () => this.#interrupt(),
          leave: (line) => {
            if (line.trim() === LEAVE_AT_ONCE) this.#leave(EXIT.done)
            return line.trim() === LEAVE_AT_ONCE
          },
        })
      : new PipedLines(terminal, { echoes: json === undefined })
  }

  /** Reads and runs lines until there are no more, one leaves, or the session is gone. Resolves to the exit code. */
  static async read(context: Context, session: Session): Promise<number> {
    const { terminal, home, env, quiet } = context
    const history = await LineHistory.open(terminal.types ? historyFile(home, env) : undefined)
    if (terminal.types && !quiet) {
      const words = 'JavaScript, or !command; Tab completes; Ctrl-D or exit leaves'
      terminal.say(terminal.word('dim', `${oneLine(session.location)}: ${words}`))
    }
    const prompt = new Prompt(context, session, history)
    const over = new AbortController()
    const watching = prompt.#watch(AbortSignal.any([context.signal, over.signal]))
    try {
      return await prompt.#read()
    } finally {
      over.abort()
      prompt.#lines[Symbol.dispose]()
      await watching
    }
  }

  async #read(): Promise<number> {
    const { signals, signal, terminal } = this.#context
    using _ = onInterrupt(signals, (_times, code) => {
      if (code === EXIT.interrupted && this.#running) this.#interrupt()
      // In a pipe there is nothing else to drop.
      else if (code !== EXIT.interrupted || !terminal.types) this.#leave(code)
    })
    const timeout = (): void => this.#leave(EXIT.timeout)
    signal.addEventListener('abort', timeout, { once: true })
    try {
      while (this.#exitCode === undefined) {
        const entry = await this.#lines.next(
          this.#begun.length === 0 ? `[${oneLine(this.#session.location)}]> ` : '... ',
        )
        if (entry.kind === 'end') break
        if (entry.kind === 'line') {
          if (!(await this.#take(entry.text))) break
        } else {
          if (entry.empty && this.#begun.length === 0) terminal.say('(Ctrl-D or exit leaves)')
          this.#begun = []
        }
      }
      signal.throwIfAborted()
      return this.#exitCode ?? EXIT.done
    } finally {
      signal.removeEventListener('abort', timeout)
    }
  }

  /** Runs a line; false when it leaves. */
  async #take(line: string): Promise<boolean> {
    const begun = this.#begun.length > 0
    const words = line.trim()
    if (words === LEAVE_AT_ONCE || (!begun && LEAVE.has(words.toLowerCase()))) return false
    if (!begun && words === '') return true
    const trouble = this.#history.add(line)
    if (trouble !== undefined) this.#context.terminal.say(`errand: ${trouble}`)
    const command = begun ? undefined : /^\s*!(.*)$/s.exec(line)?.[1]
    const lines = [...this.#begun, line]
    const work: Work = command === undefined ? { line: lines.join('\n') } : ['sh', '-c', command]
    await this.#run(work, lines)
    return true
  }

  async #run(work: Work, lines: string[]): Promise<void> {
    const { terminal } = this.#context
    const printer = new RecordPrinter(this.#context, { prefix: false, raw: false })
    const stop = new AbortController()
    // For a run the signal stops the script; the session stays.
    const run: Run = this.#session.run(work, { signal: stop.signal })
    const running: Running = { stop, run, times: 0, left: Promise.withResolvers(), hint: undefined }
    this.#running = running
    this.#begun = []
    const over = new AbortController()
    const answering = 'line' in work ? this.#answer(running, over.signal) : undefined
    const printing = this.#print(run, printer, running)
    printing.catch(() => undefined) // whoever left it does not hear how it ended
    try {
      await Promise.race([printing, running.left.promise])
    } catch (error) {
      // A broken pipe ends us, not the line.
      if (codeOf(error) === BROKEN_PIPE) throw error
      const { state } = this.#session
      if (codeOf(error) === INCOMPLETE) this.#begun = lines
      else if (this.#exitCode !== undefined) return // what ended us has been said
      else if (GONE.has(codeOf(error) ?? '') || state === 'Broken' || state === 'Closed')
        this.#gone(error, printer.hasSaid(error))
      else if (stop.signal.aborted) terminal.say('stopped')
      else {
        if (!printer.hasSaid(error)) {
          printer.thrown(this.#session.location, Error.isError(error) ? error : new Error(String(error)))
        }
        this.#hint(lines, error)
      }
    } finally {
      clearTimeout(running.hint)
      this.#running = undefined
      over.abort()
      await answering
      terminal.live([])
    }
  }

  /** Somebody types `ls -la`: once, what they want. */
  #hint([line = '', ...more]: string[], error: unknown): void {
    const { terminal, quiet } = this.#context
    const unknown = codeOf(error) === 'SCRIPT' || (Error.isError(error) && error.name === 'ReferenceError')
    if (this.#hinted || !terminal.types || quiet || more.length > 0 || !unknown || !SHELL_LINE.test(line)) return
    this.#hinted = true
    const words = `!${line.trim()} is a command of its shell; errand help enter says what else there is`
    terminal.say(`  ${terminal.word('dim', words)}`)
  }

  async #print(run: Run, printer: RecordPrinter, running: Running): Promise<void> {
    for await (const record of run.records()) {
      if (this.#running !== running) return
      // That the line goes on is for us to know: the prompt says it.
      if (record.kind !== 'error' || codeOf(record.error) !== INCOMPLETE) await printer.print(record)
    }
    await run
  }

  /** Ctrl-C: stops the line that runs, again: by force, and again: leaves it alone. */
  #interrupt(): void {
    const running = this.#running
    if (!running) return
    const { terminal } = this.#context
    const { location, state } = this.#session
    running.times++
    if (state !== 'Opened') {
      // Heard there when it is back, before anything else.
      running.stop.abort(new Error('interrupted'))
      terminal.say(`errand: ${oneLine(location)} cannot be reached now; the line is stopped as soon as it can be`)
      running.left.resolve()
    } else if (running.times === 1) {
      running.stop.abort(new Error('interrupted'))
      const hint = 'stopping; Ctrl-C again ends it by force: variables are lost then'
      running.hint = setTimeout(() => terminal.live([cut(hint, terminal.liveSize.columns - 1)]), STOP_MS)
    } else if (running.times === 2) {
      void running.run.job().then(
        (job) => job.stop({ grace: 0 }).catch(() => undefined),
        () => undefined, // it has ended
      )
    } else {
      terminal.say('errand: not waited for any more; the line may go on there')
      running.left.resolve()
    }
  }

  /** Asks whoever types what the line asks, until `signal`. Never rejects: what goes wrong is the line's end for us. */
  async #answer({ run, left }: Running, signal: AbortSignal): Promise<void> {
    let open: { readonly id: string; readonly closed: AbortController } | undefined
    let asking: Promise<void> | undefined
    try {
      const job = await run.job({ signal })
      for await (const { question } of job.watch({ signal })) {
        if (question?.id === open?.id) continue
        // It has its answer, from here or from elsewhere.
        open?.closed.abort()
        await asking
        if (signal.aborted) break
        open = question && { id: question.id, closed: new AbortController() }
        asking =
          open &&
          this.#ask(question!, AbortSignal.any([signal, open.closed.signal]), (value) =>
            job.answer(value, { question: question!.id }),
          ).catch(left.reject)
      }
    } catch {
      // It is over, or cannot be followed: who waits for it hears why.
    }
    open?.closed.abort()
    await asking
  }

  async #ask(question: Question, signal: AbortSignal, answer: (value: unknown) => Promise<void>): Promise<void> {
    const { terminal } = this.#context
    for (;;) {
      const text = await this.#lines.answer({ text: questionText(question), secret: question.secret === true }, signal)
      if (signal.aborted || this.#exitCode !== undefined) return
      if (text === undefined) return this.#interrupt()
      if (text.trim() === LEAVE_AT_ONCE) return this.#leave(EXIT.done)
      try {
        return await answer(fitting(text, question.schema))
      } catch (error) {
        if (codeOf(error) === 'QUESTION_ANSWERED' || signal.aborted) return
        sayError(terminal, error, { json: false, verbose: this.#context.verbose })
        if (codeOf(error) !== 'INVALID_ANSWER') return
      }
    }
  }

  /** Names for Tab: of the session, or none. A command line of the other machine is its shell's. */
  async #complete(text: string): Promise<Completion> {
    const begun = this.#begun.length > 0
    // At the beginning of a line that goes on Tab indents.
    if (begun && text.trim() === '') return { names: ['  '], on: '', more: 0 }
    if ((!begun && /^\s*!/.test(text)) || this.#session.state !== 'Opened') return NONE
    try {
      const found = await this.#session.complete(text, { signal: AbortSignal.timeout(COMPLETE_MS) })
      const { on } = found
      if (!text.endsWith(on)) return NONE
      // They come from elsewhere and go to a terminal: names, and nothing that it would obey.
      return { ...found, names: found.names.filter((name) => name.startsWith(on) && NAME.test(name)) }
    } catch {
      return NONE // an earlier version, a link that is being lost: who pressed Tab wants names or nothing
    }
  }

  /** Says what becomes of the link, and ends when nothing can be run here any more. Never rejects. */
  async #watch(signal: AbortSignal): Promise<void> {
    const { quiet, json } = this.#context
    const news = quiet || json !== undefined ? undefined : new LinkNews(this.#context)
    try {
      for await (const snapshot of this.#session.watch({ signal })) {
        const { state, reason } = snapshot
        if (state === 'Broken' || state === 'Closed' || state === 'Disconnected') return this.#gone(reason)
        news?.session(snapshot)
      }
    } catch (error) {
      if (!signal.aborted) this.#gone(error)
    }
  }

  #gone(error: unknown, said = false): void {
    if (this.#exitCode !== undefined) return
    const { id, location, name, state } = this.#session
    const { terminal, json, verbose } = this.#context
    let why = error ?? new Error(`session ${name} on ${location} is ${state}`)
    // It may go on there, and be taken up again; one that was only opened to be entered has no number, and may not.
    if (state === 'Disconnected' && id > 0) {
      why = new Failure(codeOf(why) ?? 'PEER_LOST', (why as Error).message, `\`errand enter ${id}\` takes it up again`)
    }
    // Its prompt is not wanted below that any more.
    this.#leave(EXIT.unreachable)
    if (!said) sayError(terminal, why, { json: json !== undefined, verbose })
  }

  #leave(exitCode: number): void {
    this.#exitCode ??= exitCode
    this.#running?.stop.abort(new Error('left'))
    this.#running?.left.resolve()
    this.#lines[Symbol.dispose]()
  }
}
