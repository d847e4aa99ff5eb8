// Where the command line writes and what it may assume of the reader: stdout is data, stderr is words.
import { Writable, type Readable } from 'node:stream'
import { getSystemErrorMessage, styleText } from 'node:util'
import { BROKEN_PIPE, Failure } from './failure.ts'
import { columnsOf, Region, type Output } from './region.ts'
import { plainLines, plainWords } from './render/table.ts'

export type Input = Readable & {
  readonly isTTY?: boolean | undefined
  /** Keys as they are pressed, without echo. Of a terminal. */
  setRawMode?(on: boolean): unknown
}

/** How often live lines are written anew at most, in ms. */
const REDRAW_MS = 50

export interface Streams {
  readonly stdin: Input
  readonly stdout: Output
  readonly stderr: Output
}

type Style = Parameters<typeof styleText>[0]
export type When = 'auto' | 'always' | 'never'
export const WHEN: readonly When[] = ['auto', 'always', 'never']

/** Takes a line that is being edited off the screen, and puts it back where the cursor is then. */
export interface Editor {
  hide(): void
  show(): void
}

/** The three standard streams of one command. Owns nothing: the process does. */
export class Terminal {
  readonly stdin: Input
  readonly #stdout: Output
  readonly #stderr: Output
  readonly #env: NodeJS.ProcessEnv
  readonly #color: { readonly stdout: boolean; readonly stderr: boolean }
  #broken: Failure | undefined
  #editor: Editor | undefined
  /** Live lines: what is to stand at the bottom of stderr, and what does. */
  readonly #region: Region
  #live: readonly string[] = []
  #drawn: readonly string[] = []
  #drawnAt = -Infinity
  #redraw: NodeJS.Timeout | undefined
  /** What was written last to stdout did not end its line: live lines would stand behind it. */
  #midLine = false

  constructor({ stdin, stdout, stderr }: Streams, env: NodeJS.ProcessEnv, color: When = 'auto') {
    this.stdin = stdin
    this.#stdout = stdout
    this.#stderr = stderr
    this.#env = env
    this.#region = new Region(stderr)
    this.#color = { stdout: colored(stdout, env, color), stderr: colored(stderr, env, color) }
    // Without a listener a reader that leaves would end us with a stack.
    stdout.on('error', (error: NodeJS.ErrnoException) => {
      this.#broken ??= unwritable(error)
    })
    // Nobody reads our words any more: then nobody misses them.
    stderr.on('error', () => {})
  }

  /** The same streams, coloured otherwise. */
  colored(color: When): Terminal {
    return new Terminal({ stdin: this.stdin, stdout: this.#stdout, stderr: this.#stderr }, this.#env, color)
  }

  /** Whether a person reads stdout, stderr, or types at stdin. */
  get readsOut(): boolean {
    return this.#stdout.isTTY === true
  }
  get readsErr(): boolean {
    return this.#stderr.isTTY === true
  }
  get types(): boolean {
    return this.stdin.isTTY === true
  }
  /** Width of the terminal behind stdout; undefined in a pipe, where nothing is ever cut. */
  get columns(): number | undefined {
    return this.readsOut ? columnsOf(this.#stdout) : undefined
  }
  /** Size of the terminal behind stderr, where live lines stand. */
  get liveSize(): { readonly columns: number; readonly rows: number } {
    return { columns: columnsOf(this.#stderr), rows: this.#stderr.rows || 24 }
  }
  /** Size of the terminal behind stdout. */
  get size(): { readonly columns: number; readonly rows: number } {
    return { columns: columnsOf(this.#stdout), rows: this.#stdout.rows || 24 }
  }
  /** Why stdout cannot be written any more. */
  get broken(): Failure | undefined {
    return this.#broken
  }
  /** For who edits lines: what a person looks at. */
  get screen(): Output {
    return this.readsOut || !this.readsErr ? this.#stdout : this.#stderr
  }
  get colorsOut(): boolean {
    return this.#color.stdout
  }

  /**
   * Writes data. Settles when the reader takes more, so who waits for it before taking the next record never moves a
   * cursor past what a full pipe holds. @throws Failure EPIPE once the reader has left, with the system's code (ENOSPC)
   * when it cannot be written
   */
  async out(data: string | Uint8Array): Promise<void> {
    if (this.#broken) throw this.#broken
    // Above the live lines, or the line that is edited, which stand in its way only where both are the same terminal.
    const editor = this.readsOut ? this.#editor : undefined
    if (this.readsOut) {
      this.#lift()
      this.#midLine = data.length > 0 && data.at(-1) !== (typeof data === 'string' ? '\n' : 10)
    }
    editor?.hide()
    const taken = this.#stdout.write(data)
    editor?.show()
    if (!taken) await this.#drained()
    if (this.readsOut) this.#draw()
    if (this.#broken) throw this.#broken
  }

  /**
   * Writes words of ours: whatever names and reasons of others are in them, a terminal obeys nothing but our own colours,
   * and line ends: who puts in a text of one line makes sure that it is one.
   */
  say(text: string): void {
    this.passOn(this.#color.stderr ? plainWords(text) : plainLines(text))
  }

  /** Writes what a program wrote on its stderr, as it is. */
  passOn(text: string): void {
    this.#lift()
    const editor = this.readsErr ? this.#editor : undefined
    editor?.hide()
    this.#stderr.write(`${text}\n`)
    this.#midLine = false
    editor?.show()
    this.#draw()
  }

  /**
   * A line is being edited on the screen from now on: what is written meanwhile stands above it. Undefined: no more. Live
   * lines have no place beside it.
   */
  edited(editor: Editor | undefined): void {
    this.live([])
    this.#editor = editor
  }

  /** Words in a style, where stderr may be coloured. */
  word(style: Style, text: string): string {
    return this.#color.stderr ? styleText(style, text, { validateStream: false }) : text
  }

  /** Data in a style, where stdout may be coloured. */
  data(style: Style, text: string): string {
    return this.#color.stdout ? styleText(style, text, { validateStream: false }) : text
  }

  /**
   * Replaces the live lines at the bottom of stderr, each no wider than `liveSize.columns - 1`; none takes them away. Only on
   * a terminal. Drawn at most every 50 ms.
   */
  live(lines: readonly string[]): void {
    if (!this.readsErr || (this.#editor && lines.length > 0)) return
    this.#live = lines
    if (lines.length === 0) {
      clearTimeout(this.#redraw)
      this.#redraw = undefined
      this.#lift()
    } else if (performance.now() - this.#drawnAt >= REDRAW_MS) this.#draw()
    else this.#redraw ??= setTimeout(() => this.#draw(), REDRAW_MS)
  }

  #draw(): void {
    if (this.#live.length === 0 || this.#midLine) return
    clearTimeout(this.#redraw)
    this.#redraw = undefined
    this.#drawnAt = performance.now()
    this.#drawn = this.#live
    this.#region.draw(this.#live)
  }

  #lift(): void {
    if (this.#drawn.length === 0) return
    this.#drawn = []
    this.#region.clear()
  }

  /** Settles when everything written to stdout has been taken, or never can be. */
  async flush(): Promise<void> {
    this.live([])
    if (this.#broken) return
    await new Promise<void>((resolve) => {
      this.#stdout.write('', () => resolve())
    })
  }

  async #drained(): Promise<void> {
    if (this.#broken || this.#stdout.destroyed) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        for (const event of ['drain', 'error', 'close']) this.#stdout.off(event, done)
        resolve()
      }
      for (const event of ['drain', 'error', 'close']) this.#stdout.on(event, done)
    })
  }

  /**
   * Asks for a line; what is `secret` is not shown while it is typed. Undefined when it was given up: Ctrl-C, Ctrl-D.
   * @throws the reason of `signal`
   */
  async ask(
    question: string,
    { secret, signal }: { secret: boolean; signal: AbortSignal },
  ): Promise<string | undefined> {
    const { createInterface } = await import('node:readline')
    this.#stderr.write(secret ? question : '')
    const hidden = new Writable({ write: (_piece, _encoding, done) => done() })
    const lines = createInterface({ input: this.stdin, output: secret ? hidden : this.#stderr, terminal: this.types })
    try {
      return await new Promise<string | undefined>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        lines.once('SIGINT', () => resolve(undefined))
        lines.once('close', () => resolve(undefined))
        lines.question(secret ? '' : question, resolve)
      })
    } finally {
      lines.close()
      if (secret) this.#stderr.write('\n')
    }
  }

  /** Asks on the terminal. Where nobody types the answer is no: such questions have a flag that answers them. */
  async confirm(question: string): Promise<boolean> {
    if (!this.types) return false
    const { createInterface } = await import('node:readline/promises')
    const lines = createInterface({ input: this.stdin, output: this.#stderr })
    try {
      return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `)).trim())
    } finally {
      lines.close()
    }
  }
}

/** https://no-color.org and FORCE_COLOR as Node reads them; a flag stands above both. */
function colored(stream: Output, env: NodeJS.ProcessEnv, when: When): boolean {
  if (when !== 'auto') return when === 'always'
  const said = colorOf(env)
  return said === undefined ? stream.isTTY === true : said === 'always'
}

/** What the environment says of colours; undefined: nothing. */
export function colorOf(env: NodeJS.ProcessEnv): 'always' | 'never' | undefined {
  const { FORCE_COLOR: force, NO_COLOR: no, TERM: term } = env
  if (force !== undefined) return force !== '0' && force !== 'false' ? 'always' : 'never'
  return (no !== undefined && no !== '') || term === 'dumb' ? 'never' : undefined
}

/** `stdout cannot be written: no space left on device`. */
function unwritable({ code, errno, message }: NodeJS.ErrnoException): Failure {
  const why = errno === undefined ? message : getSystemErrorMessage(errno)
  const hint = code === 'ENOSPC' || code === 'EDQUOT' ? 'make room there, or write it elsewhere' : undefined
  return new Failure(
    code === 'ERR_STREAM_DESTROYED' ? BROKEN_PIPE : (code ?? 'STDOUT'),
    `stdout cannot be written: ${why}`,
    hint,
  )
}
