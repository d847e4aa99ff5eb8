// What is typed at a terminal, handed on a line at a time: while a line runs, nobody reads, and what is typed or pasted
// meanwhile waits for the next prompt, so that each line stands behind its own. A question is answered by what is typed
// below it alone: who typed before it was shown meant something else.
//
// The terminal is raw all the while. So Ctrl-C comes as a character: to who edits a line, who knows what it means there;
// and while nobody reads, to `interrupt`, and drops what was typed before it, as a terminal does.
import { EventEmitter } from 'node:events'
import { StringDecoder } from 'node:string_decoder'
import type { Input } from './terminal.ts'

const CTRL_C = '\u0003'
/**
 * Up to the end of a line, or a key that ends it. Tab alone is pressed, and wants names; with others it is pasted, which
 * readline tells by what comes with it.
 */
const ENDS = String.raw`\r\n\x03\x04`
const PIECE = new RegExp(String.raw`^(?:\t(?=\t*(?:$|[${ENDS}]))|[^${ENDS}]*(?:\r\n|[${ENDS}])?)`)
/** What is typed while nobody reads, in characters; what is beyond is dropped. */
const HELD_MOST = 1 << 20

export interface KeysOptions {
  /** Ctrl-C while nobody reads. */
  readonly interrupt: () => void
  /** A line that was typed while nobody reads and that cannot wait. True: it was for us. */
  readonly urgent: (line: string) => boolean
  /** The terminal went away. What was typed and not entered is not to be run: readline, told of the end, would. */
  readonly end: () => void
}

/** What readline reads from: as a terminal's stdin. Gets keys only while it is the one that reads. */
export class KeyInput extends EventEmitter {
  readonly isTTY = true
  readonly isRaw = true
  paused = false
  readonly #keys: Keys

  constructor(keys: Keys) {
    super()
    this.#keys = keys
  }
  resume(): this {
    this.paused = false
    this.#keys.pass()
    return this
  }
  pause(): this {
    this.paused = true
    return this
  }
  /** Ctrl-Z gives the terminal back and takes it again. */
  setRawMode(raw: boolean): this {
    this.#keys.raw(raw)
    return this
  }
}

export class Keys implements Disposable {
  readonly #stdin: Input & { setRawMode?: (raw: boolean) => unknown }
  readonly #options: KeysOptions
  readonly #decoder = new StringDecoder('utf8')
  #held = ''
  /** What was typed before the question that is read now was shown. */
  #before = ''
  #reader: KeyInput | undefined
  #passing = false
  #open = true

  constructor(stdin: Input, options: KeysOptions) {
    this.#stdin = stdin
    this.#options = options
    stdin.on('data', this.#take)
    stdin.on('end', options.end)
    stdin.on('error', options.end)
    this.raw(true)
    stdin.resume()
  }

  /** Keys go there from now on, those that were typed before first. */
  to(reader: KeyInput): void {
    this.#reader = reader
    this.pass()
  }

  /** Keys go there from now on; those that were typed before wait on. */
  afresh(reader: KeyInput): void {
    this.#before += this.#held
    this.#held = ''
    this.to(reader)
  }

  /** What was typed before is dropped. */
  forget(): void {
    this.#before = ''
  }

  /** Keys wait from now on. */
  hold(): void {
    this.#reader = undefined
    this.#held = (this.#before + this.#held).slice(0, HELD_MOST)
    this.#before = ''
    // It came with the line that runs now.
    if (this.#held.includes(CTRL_C)) setImmediate(() => this.#reader ?? this.#look())
  }

  /** Back from Ctrl-Z: a terminal's stream has to be stopped and begun anew. */
  again(): void {
    this.#stdin.pause()
    this.raw(true)
    this.#stdin.resume()
  }

  raw(raw: boolean): void {
    if (this.#open || !raw) this.#stdin.setRawMode?.(raw)
  }

  /** Hands on what waits, up to the end of a line at a time: who has read one may not want the next yet. */
  pass(): void {
    if (this.#passing) return
    this.#passing = true
    try {
      while (this.#reader && !this.#reader.paused && this.#held !== '') {
        const piece = PIECE.exec(this.#held)![0]
        this.#held = this.#held.slice(piece.length)
        this.#reader.emit('data', piece.replace(/\r\n$/, '\r'))
      }
    } finally {
      this.#passing = false
    }
  }

  [Symbol.dispose](): void {
    this.#open = false
    this.#reader = undefined
    this.#stdin.off('data', this.#take)
    this.#stdin.off('end', this.#options.end)
    this.#stdin.off('error', this.#options.end)
    this.raw(false)
    this.#stdin.pause()
  }

  readonly #take = (data: Buffer | string): void => {
    const text = typeof data === 'string' ? data : this.#decoder.write(data)
    this.#held += text
    if (this.#reader) return this.pass()
    this.#look()
    // By hand, not with others in a paste: those are run first.
    const line = /^[^\r\n]*[\r\n]+$/.test(text) && /([^\r\n]*)[\r\n]+$/.exec(this.#held)
    if (line && this.#options.urgent(line[1]!)) this.#held = ''
    this.#held = this.#held.slice(0, HELD_MOST)
  }

  /** Ctrl-C that nobody reads. */
  #look(): void {
    const stop = this.#held.lastIndexOf(CTRL_C)
    if (stop < 0) return
    this.#held = this.#held.slice(stop + 1)
    this.#options.interrupt()
  }
}
