// Lines typed at a prompt, from one time to the next: a file in the home that only its owner reads.
import { appendFileSync } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Lines that are offered; the file is made as short again when it has twice as many. */
export const HISTORY_MOST = 1000
/** A longer line was pasted, and is nobody's to find again. */
const LINE_MOST = 10_000

/** `ERRAND_HISTORY` names another file; empty, nothing is kept. */
export function historyFile(home: string, env: NodeJS.ProcessEnv): string | undefined {
  const named = env['ERRAND_HISTORY']
  return named === undefined ? join(home, 'enter-history') : named === '' ? undefined : named
}

export class LineHistory {
  readonly #file: string | undefined
  #lines: readonly string[]
  /** Why it is not kept: said once. */
  #failed = false

  private constructor(file: string | undefined, lines: readonly string[]) {
    this.#file = file
    this.#lines = lines
  }

  /** Never fails: what cannot be read is empty. */
  static async open(file: string | undefined): Promise<LineHistory> {
    const text = file === undefined ? '' : await readFile(file, 'utf8').catch(() => '')
    const lines = text.split('\n').filter((line) => line !== '')
    const history = new LineHistory(file, lines.slice(-HISTORY_MOST))
    if (file !== undefined && lines.length > 2 * HISTORY_MOST) await history.#shorten(file)
    return history
  }

  /** The latest first, each once. */
  get latest(): string[] {
    return [...new Set(this.#lines.toReversed())]
  }

  /**
   * Written before the line runs, so that it is there whatever becomes of us. A line that begins with a blank is not kept.
   * Returns why it could not be, once.
   */
  add(line: string): string | undefined {
    if (this.#file === undefined || this.#failed || /^\s|^$/.test(line) || line.length > LINE_MOST) return undefined
    if (line === this.#lines.at(-1)) return undefined
    this.#lines = [...this.#lines.slice(1 - HISTORY_MOST), line]
    try {
      // In one write: several prompts may add to it. At once: Ctrl-C right behind it is for the line, which is to run then.
      appendFileSync(this.#file, `${line}\n`, { mode: 0o600 })
      return undefined
    } catch (error) {
      this.#failed = true
      return `lines are not kept: ${(error as Error).message}`
    }
  }

  async #shorten(file: string): Promise<void> {
    const next = `${file}.${process.pid}`
    try {
      await writeFile(next, `${this.#lines.join('\n')}\n`, { mode: 0o600 })
      await rename(next, file)
    } catch {
      // It stays as long as it is; the next prompt tries again.
    }
  }
}
