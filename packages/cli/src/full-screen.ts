// The whole terminal for as long as something is shown on it: what stood there before is back afterwards, however it ends.
import { emitKeypressEvents } from 'node:readline'
import type { Terminal } from './terminal.ts'

/** A key as Node's readline names it: `up`, `return`, `escape`, `q`. */
export interface Key {
  readonly name: string
  /** What it types; '' for a key that types nothing. */
  readonly text: string
  readonly ctrl: boolean
}

/** Its own screen, no cursor, lines that are too long are not wrapped. */
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[2J'
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l'
/** How long an Escape may be the first part of another key, in ms. */
const ESCAPE_MS = 50

export class FullScreen implements Disposable {
  readonly #terminal: Terminal
  readonly #onKey: (key: Key) => void
  readonly #onResize: () => void
  #drawn: readonly string[] = []
  #left = false

  /** Until it is disposed keys are the caller's, Ctrl-C among them. */
  constructor(terminal: Terminal, on: { key: (key: Key) => void; resize: () => void }) {
    this.#terminal = terminal
    this.#onKey = on.key
    this.#onResize = () => {
      // The terminal may have moved everything: all of it is written anew.
      this.#drawn = []
      on.resize()
    }
    terminal.screen.write(ENTER)
    terminal.screen.on('resize', this.#onResize)
    // An error that nobody catches ends the process from within: the last that is done there is to put the screen back.
    process.once('exit', this.#restore)
    const { stdin } = terminal
    emitKeypressEvents(stdin, { escapeCodeTimeout: ESCAPE_MS } as never)
    stdin.setRawMode?.(true)
    stdin.on('keypress', this.#onKeypress)
    stdin.resume()
  }

  get columns(): number {
    return this.#terminal.size.columns
  }
  get rows(): number {
    return this.#terminal.size.rows
  }

  /** From the top; lines fit. Only those that are others than before are written. Cleared first: behind the last cell it would be that one. */
  draw(lines: readonly string[]): void {
    let out = ''
    for (let row = 0; row < Math.max(lines.length, this.#drawn.length); row++) {
      const line = lines[row] ?? ''
      if (line !== this.#drawn[row]) out += `\u001b[${row + 1};1H\u001b[K${line}`
    }
    this.#drawn = [...lines]
    if (out !== '') this.#terminal.screen.write(out)
  }

  [Symbol.dispose](): void {
    const { screen, stdin } = this.#terminal
    process.off('exit', this.#restore)
    screen.off('resize', this.#onResize)
    stdin.off('keypress', this.#onKeypress)
    stdin.setRawMode?.(false)
    stdin.pause()
    this.#restore()
  }

  readonly #restore = (): void => {
    if (this.#left) return
    this.#left = true
    this.#terminal.screen.write(LEAVE)
  }

  readonly #onKeypress = (text: string | undefined, key: { name?: string; ctrl?: boolean } | undefined): void => {
    const typed = text ?? ''
    this.#onKey({
      name: key?.name ?? typed,
      // oxlint-disable-next-line no-control-regex -- such keys type nothing
      text: /^[^\u0000-\u001f\u007f-\u009f]+$/.test(typed) ? typed : '',
      ctrl: key?.ctrl === true,
    })
  }
}
