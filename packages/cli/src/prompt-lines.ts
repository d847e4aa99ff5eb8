// Where the lines of a prompt come from: a terminal, where they are edited, or a pipe, where they are echoed. Each is asked
// for when the one before it is done.
import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'
import type { Completion } from '@errand/runtime/client'
import { KeyInput, Keys } from './keys.ts'
import type { Terminal } from './terminal.ts'

export type Entry =
  | { readonly kind: 'line'; readonly text: string }
  /** Ctrl-C; `empty`: nothing had been typed. */
  | { readonly kind: 'dropped'; readonly empty: boolean }
  | { readonly kind: 'end' }

export interface Question {
  readonly text: string
  /** What is typed is not shown. */
  readonly secret: boolean
}

export interface PromptLines extends Disposable {
  /** Settles with `end` when it was disposed, too. */
  next(prompt: string): Promise<Entry>
  /**
   * While a line runs. Undefined: given up with Ctrl-C or Ctrl-D, no more lines, or `signal`; a line that comes after that
   * is the next prompt's.
   */
  answer(question: Question, signal: AbortSignal): Promise<string | undefined>
}

export interface TypedOptions {
  /** The latest first. */
  readonly history: string[]
  readonly historySize: number
  /** Names for the end of a line up to the cursor. Must not reject. */
  readonly complete: (text: string) => Promise<Completion>
  /** Ctrl-C while a line runs. */
  readonly interrupt: () => void
  /** A line that leaves at once, also typed while another one runs. */
  readonly leave: (line: string) => boolean
}

export class TypedLines implements PromptLines {
  readonly #terminal: Terminal
  readonly #keys: Keys
  readonly #input: KeyInput
  readonly #lines: Interface
  #entered: ((entry: Entry) => void) | undefined
  #closed = false

  constructor(terminal: Terminal, options: TypedOptions) {
    const { history, historySize, complete, interrupt, leave } = options
    this.#terminal = terminal
    this.#keys = new Keys(terminal.stdin, { interrupt, urgent: leave, end: () => this.#lines.close() })
    this.#input = new KeyInput(this.#keys)
    const completer = (text: string, done: (error: null, found: [string[], string]) => void): void => {
      void complete(text).then(({ names, on, more }) => {
        // Of a list that is cut the common beginning is not known: the last entry has none with the others.
        const found = more > 0 ? [...names, `… ${more} more`] : [...names]
        // Nobody edits any more: readline would stumble over it.
        if (!this.#closed) done(null, [found, on])
      })
    }
    this.#lines = createInterface({
      input: this.#input as unknown as NodeJS.ReadableStream,
      output: terminal.screen,
      terminal: true,
      history,
      historySize,
      removeHistoryDuplicates: true,
      completer,
    })
    this.#lines.on('SIGCONT', () => this.#again(this.#lines))
    this.#lines.on('line', (text) => this.#enter({ kind: 'line', text }))
    this.#lines.on('SIGINT', () => {
      const empty = this.#lines.line === ''
      // What was typed stays on the screen, as a shell leaves it; below it readline clears its line, and we its prompt.
      this.#lines.write(null, { ctrl: true, name: 'e' })
      terminal.screen.write(`^C${'\n'.repeat(this.#lines.getCursorPos().rows + 1)}`)
      this.#lines.write(null, { ctrl: true, name: 'u' })
      terminal.screen.write('\r\u001b[J')
      this.#enter({ kind: 'dropped', empty })
    })
    this.#lines.once('close', () => {
      this.#closed = true
      this.#enter({ kind: 'end' })
    })
  }

  async next(prompt: string): Promise<Entry> {
    if (this.#closed) return { kind: 'end' }
    const { promise, resolve } = Promise.withResolvers<Entry>()
    this.#entered = resolve
    this.#terminal.edited(editorOf(this.#lines, this.#terminal))
    this.#lines.setPrompt(prompt)
    this.#lines.prompt()
    this.#keys.to(this.#input)
    return promise
  }

  async answer({ text, secret }: Question, signal: AbortSignal): Promise<string | undefined> {
    if (this.#closed || signal.aborted) return undefined
    const { screen } = this.#terminal
    const input = new KeyInput(this.#keys)
    const hidden = new Writable({ write: (_piece, _encoding, done) => done() })
    const lines = createInterface({
      input: input as unknown as NodeJS.ReadableStream,
      output: secret ? hidden : screen,
      terminal: true,
      historySize: 0,
    })
    const { promise, resolve } = Promise.withResolvers<string | undefined>()
    const giveUp = (): void => resolve(undefined)
    lines.once('line', (line) => {
      this.#keys.hold()
      resolve(line)
    })
    lines.on('SIGCONT', () => this.#again(lines))
    lines.once('SIGINT', () => {
      this.#keys.forget()
      giveUp()
    })
    lines.once('close', giveUp)
    this.#lines.once('close', giveUp)
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      this.#terminal.edited(
        secret
          ? { hide: () => screen.write('\r\u001b[2K'), show: () => screen.write(`${text} `) }
          : editorOf(lines, this.#terminal),
      )
      if (secret) screen.write(`${text} `)
      lines.setPrompt(`${text} `)
      lines.prompt()
      this.#keys.afresh(input)
      const line = await promise
      // The next thing said begins a line of its own: readline ended it only where it read one.
      if (secret || line === undefined) screen.write('\n')
      return line
    } finally {
      this.#terminal.edited(undefined)
      this.#keys.hold()
      signal.removeEventListener('abort', giveUp)
      this.#lines.off('close', giveUp)
      lines.close()
      // Closing it gave the terminal back.
      if (!this.#closed) this.#keys.raw(true)
    }
  }

  [Symbol.dispose](): void {
    this.#lines.close()
    this.#keys[Symbol.dispose]()
  }

  /** readline stops reading when it is left with Ctrl-Z, and leaves it to us to begin again. */
  #again(lines: Interface): void {
    this.#keys.again()
    lines.prompt(true)
  }

  #enter(entry: Entry): void {
    this.#keys.hold()
    this.#terminal.edited(undefined)
    // Whoever says something next, the shell among them, begins a line of its own.
    if (entry.kind === 'end' && this.#entered) this.#terminal.screen.write('\n')
    this.#entered?.(entry)
    this.#entered = undefined
  }
}

/** Takes the line that is being edited away and puts it back, for what is said meanwhile. */
function editorOf(lines: Interface, { screen }: Terminal): { hide(): void; show(): void } {
  return {
    hide() {
      const { rows } = lines.getCursorPos()
      screen.write(`${rows > 0 ? `\u001b[${rows}A` : ''}\r\u001b[J`)
    },
    show() {
      // readline goes up by as many rows as the cursor was below its prompt.
      screen.write('\n'.repeat(lines.getCursorPos().rows))
      lines.prompt(true)
    },
  }
}

export class PipedLines implements PromptLines {
  readonly #terminal: Terminal
  readonly #echoes: boolean
  readonly #lines: Interface
  readonly #each: AsyncIterator<string>
  /** The line that is waited for. A question that is withdrawn leaves it to who asks next. */
  #awaited: Promise<IteratorResult<string>> | undefined

  constructor(terminal: Terminal, { echoes }: { readonly echoes: boolean }) {
    this.#terminal = terminal
    this.#echoes = echoes
    this.#lines = createInterface({ input: terminal.stdin, terminal: false })
    this.#each = this.#lines[Symbol.asyncIterator]()
  }

  /** The prompt is written with its line, so that a transcript ends with the last thing that happened. */
  async next(prompt: string): Promise<Entry> {
    const { done, value } = await this.#line()
    this.#awaited = undefined
    if (done) return { kind: 'end' }
    if (this.#echoes) await this.#terminal.out(`${prompt}${value}\n`)
    return { kind: 'line', text: value }
  }

  async answer({ text, secret }: Question, signal: AbortSignal): Promise<string | undefined> {
    if (signal.aborted) return undefined
    const { promise: withdrawn, resolve } = Promise.withResolvers<void>()
    const giveUp = (): void => resolve()
    signal.addEventListener('abort', giveUp, { once: true })
    let line: string | undefined
    try {
      const read = await Promise.race([this.#line(), withdrawn])
      // Also where both came at once.
      if (read && !signal.aborted) {
        this.#awaited = undefined
        if (!read.done) line = read.value
      }
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
    if (this.#echoes) await this.#terminal.out(`${text} ${secret ? '' : (line ?? '')}\n`)
    return line
  }

  #line(): Promise<IteratorResult<string>> {
    if (!this.#awaited) {
      this.#awaited = this.#each.next()
      this.#awaited.catch(() => undefined) // told to who asks next
    }
    return this.#awaited
  }

  [Symbol.dispose](): void {
    this.#lines.close()
  }
}
