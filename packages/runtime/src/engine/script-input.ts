// A script's `ctx.input`: what was sent to it, decoded as it is read. Nothing is read ahead, so what waits is bounded by
// the credit its sender has.
import { valuesOf, type RawChunk } from '../record.ts'

export class ScriptInput implements AsyncIterable<unknown> {
  readonly #onRead: (bytes: number) => void
  readonly #chunks: RawChunk[] = []
  #values: unknown[] = []
  #next = 0
  /** Bytes of the chunk that is being read. */
  #open = 0
  #ending: { readonly error?: Error | undefined } | undefined
  #wake: PromiseWithResolvers<void> | undefined

  /** `onRead`: so many bytes were read, and as many more may come. */
  constructor(onRead: (bytes: number) => void) {
    this.#onRead = onRead
  }

  push(chunk: RawChunk): void {
    this.#chunks.push(chunk)
    this.#wake?.resolve()
  }

  /** No more will come; what has come is read first. */
  end(error?: Error): void {
    this.#ending ??= { error }
    this.#wake?.resolve()
  }

  /** Iterated again after a `break` it goes on behind the last value that was taken. */
  [Symbol.asyncIterator](): AsyncIterator<unknown, undefined> {
    return { next: () => this.#read(), return: async () => ({ done: true, value: undefined }) }
  }

  /** The next chunk as it came; whoever takes it says when it is through with it. Undefined at the end. @throws what the input ended with */
  async chunk(): Promise<RawChunk | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift()
      if (chunk) return chunk
      if (this.#ending) {
        if (this.#ending.error) throw this.#ending.error
        return undefined
      }
      await (this.#wake ??= Promise.withResolvers()).promise
      this.#wake = undefined
    }
  }

  /** Whoever took a chunk says how far it is. */
  read(told: number): void {
    this.#onRead(told)
  }

  async #read(): Promise<IteratorResult<unknown, undefined>> {
    for (;;) {
      if (this.#next < this.#values.length) {
        const value = this.#values[this.#next]
        this.#values[this.#next++] = undefined
        return { done: false, value }
      }
      if (this.#open > 0) this.#onRead(this.#open)
      this.#open = 0
      const chunk = this.#chunks.shift()
      if (chunk) {
        this.#open = chunk.bytes.byteLength
        this.#values = valuesOf(chunk)
        this.#next = 0
      } else if (this.#ending) {
        const { error } = this.#ending
        this.#ending = {} // it throws once, and has ended after that
        if (error) throw error
        return { done: true, value: undefined }
      } else {
        await (this.#wake ??= Promise.withResolvers()).promise
        this.#wake = undefined
      }
    }
  }
}
