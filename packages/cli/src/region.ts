// Lines at the end of what a terminal shows, written anew in place: progress, and a table that is kept up to date.
import type { Writable } from 'node:stream'
import { shownWidth } from './render/table.ts'

export type Output = Writable & {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly rows?: number | undefined
}

/** A terminal that does not know its width says 0. */
export function columnsOf(stream: Output): number {
  return stream.columns || 80
}

export class Region {
  readonly #stream: Output
  #lines: readonly string[] = []

  constructor(stream: Output) {
    this.#stream = stream
  }

  /** In the place of what stood there. Lines fit, one cell less than the terminal is wide; none: nothing is left. */
  draw(lines: readonly string[]): void {
    if (lines.length === 0 && this.#lines.length === 0) return
    // One write: nobody sees it half done. The cursor rests on the last line's first cell, where what the terminal itself
    // writes (^C) wraps nothing.
    this.#stream.write(`${this.#back()}${lines.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J\r`)
    this.#lines = lines
  }

  /** Nothing of it is left; what is written next begins where it stood. */
  clear(): void {
    this.draw([])
  }

  /** It stays as it is; what is written next comes below. */
  leave(): void {
    if (this.#lines.length > 0) this.#stream.write('\n')
    this.#lines = []
  }

  /** To its first cell. In a window that has become narrower the terminal has wrapped what was one line. */
  #back(): string {
    if (this.#lines.length === 0) return ''
    const columns = columnsOf(this.#stream)
    const rows = this.#lines.map((line) => Math.max(1, Math.ceil(shownWidth(line) / columns)))
    const up = rows.reduce((sum, each) => sum + each, 0) - 1
    return `\r${up > 0 ? `\u001b[${up}A` : ''}`
  }
}
