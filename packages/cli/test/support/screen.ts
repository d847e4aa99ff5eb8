// A real terminal for tests: tmux (Debian: apt-get install tmux), of which each screen has a server of its own.
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { argv } from './machines.ts'

const run = promisify(execFile)
/** How long something may take until it is on the screen, in ms: also on a machine that has much else to do. */
const PATIENCE_MS = 20_000
const LOOK_MS = 40

/** Whether there is a terminal to test in. */
export const hasTmux: boolean = (() => {
  try {
    execFileSync('tmux', ['-V'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

export interface ScreenOptions {
  readonly columns?: number
  readonly rows?: number
  /** Beside PATH and the like; TERM is tmux's. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

/** A command line, as words of a program. */
export function errand(...words: readonly string[]): string[] {
  return [...argv, ...words]
}

/** A program in a terminal. Dispose of it: that ends the program (SIGHUP) and its terminal. */
export class Screen implements AsyncDisposable {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** Starts a program. Its screen stays when it has ended. */
  static async open(program: readonly string[], options: ScreenOptions = {}): Promise<Screen> {
    const { columns = 80, rows = 24, env = {}, cwd = process.cwd() } = options
    const screen = new Screen(mkdtempSync(join(tmpdir(), 'errand-screen-')))
    const given = Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`])
    // A terminal is a person's: what tells programs that nobody looks is not handed on.
    const cleared = ['NO_COLOR', 'FORCE_COLOR', 'CI'].filter((name) => !(name in env)).flatMap((name) => ['-u', name])
    await screen.#tmux(
      ...[
        'start-server',
        ';',
        'set-option',
        '-g',
        'remain-on-exit',
        'on',
        ';',
        'set-option',
        '-g',
        'status',
        'off',
        ';',
      ],
      ...['set-option', '-g', 'remain-on-exit-format', '', ';'],
      ...['set-option', '-g', 'default-terminal', 'tmux-256color', ';', 'set-option', '-g', 'escape-time', '0', ';'],
      ...['new-session', '-d', '-x', String(columns), '-y', String(rows), '-c', cwd, ...given, '--'],
      // tmux may lose how a program ended. A shell that traps Ctrl-C outlives it; the program gets it as ever.
      ...['env', ...cleared, 'sh', '-c', `trap : INT; "$@"; echo $? > '${join(screen.#folder, 'exit')}'`, 'sh'],
      ...program,
    )
    return screen
  }

  /** What is visible, without the blanks at the ends of lines and empty lines at the end. */
  async text(): Promise<string> {
    return trimmed(await this.#tmux('capture-pane', '-p'))
  }

  /** The same with its colours, as escape sequences. */
  async styled(): Promise<string> {
    return trimmed(await this.#tmux('capture-pane', '-p', '-e'))
  }

  /** What is visible and what has been scrolled away. */
  async scrollback(): Promise<string> {
    return trimmed(await this.#tmux('capture-pane', '-p', '-S', '-'))
  }

  /** Types text as it is; no Enter behind it. */
  async type(text: string): Promise<void> {
    await this.#tmux('send-keys', '-l', '--', text)
  }

  /** Types text and Enter. */
  async line(text: string): Promise<void> {
    if (text !== '') await this.type(text)
    await this.key('Enter')
  }

  /** Presses keys by tmux's names: `Enter`, `C-c`, `Up`, `Tab`, `Escape`, `q`. */
  async key(...names: readonly string[]): Promise<void> {
    await this.#tmux('send-keys', '--', ...names)
  }

  /** Whether a program has the alternate screen, and whether the cursor is shown. */
  async modes(): Promise<{ alternate: boolean; cursor: boolean }> {
    const said = await this.#tmux('display-message', '-p', '#{alternate_on} #{cursor_flag}')
    const [alternate, cursor] = said.trim().split(' ')
    return { alternate: alternate === '1', cursor: cursor === '1' }
  }

  /** The process id of the program. */
  async pid(): Promise<number> {
    const shell = (await this.#tmux('display-message', '-p', '#{pane_pid}')).trim()
    const children = await readFile(`/proc/${shell}/task/${shell}/children`, 'utf8')
    return Number(children.trim().split(' ')[0])
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux('resize-window', '-x', String(columns), '-y', String(rows))
  }

  /** Waits until the screen shows it; resolves to the screen. @throws Error with the screen when it never does */
  async until(shown: string | RegExp | ((text: string) => boolean), patience = PATIENCE_MS): Promise<string> {
    const there = (text: string): boolean =>
      typeof shown === 'string' ? text.includes(shown) : typeof shown === 'function' ? shown(text) : shown.test(text)
    const late = performance.now() + patience
    for (;;) {
      const text = await this.text()
      if (there(text)) return text
      if (performance.now() > late) throw new Error(`not on the screen after ${patience} ms: ${String(shown)}\n${text}`)
      await delay(LOOK_MS)
    }
  }

  /** Waits until the program has ended; resolves to its exit code. */
  async exited(patience = PATIENCE_MS): Promise<number> {
    const late = performance.now() + patience
    for (;;) {
      const code = await readFile(join(this.#folder, 'exit'), 'utf8').catch(() => '')
      if (code.endsWith('\n')) return Number(code)
      if (performance.now() > late) throw new Error(`has not ended after ${patience} ms\n${await this.text()}`)
      await delay(LOOK_MS)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tmux('kill-server').catch(() => undefined) // gone already
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #tmux(...args: readonly string[]): Promise<string> {
    const { stdout } = await run('tmux', ['-S', join(this.#folder, 'tmux'), '-f', '/dev/null', '-u', ...args])
    return stdout
  }
}

function trimmed(screen: string): string {
  return screen
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
    .trimEnd()
}
