// A program beside this one that answers by lines. Whoever starts it ends it.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export class Program implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #exit: Promise<unknown>
  readonly #lines: string[] = []
  #news = Promise.withResolvers<void>()
  #said = ''
  #over = false

  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.#child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#exit = once(this.#child, 'close').then(() => {
      this.#over = true
      this.#news.resolve()
    })
    createInterface(this.#child.stdout!).on('line', (line) => {
      this.#lines.push(line)
      this.#news.resolve()
    })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-4096)
      this.#news.resolve()
    })
  }

  /** The next line that it prints. @throws Error when it has ended */
  async line(): Promise<string> {
    await this.#until(() => this.#lines.length > 0)
    return this.#lines.shift()!
  }

  /** It has said this on its stderr. @throws Error when it has ended */
  warned(text: string): Promise<void> {
    return this.#until(() => this.#said.includes(text))
  }

  write(text: string): void {
    this.#child.stdin!.write(text)
  }

  async #until(there: () => boolean): Promise<void> {
    while (!there()) {
      if (this.#over) throw new Error(`${this.#child.spawnfile} has ended: ${this.#said}`)
      await this.#news.promise
      this.#news = Promise.withResolvers()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill()
    await this.#exit
  }
}
