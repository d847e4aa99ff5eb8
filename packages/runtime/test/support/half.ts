// A channel of which a test is the other end.
import { ChannelClosedError, type Channel, type ChannelEnd } from '@errand/transport'

/** One end of a channel, the other of which is the test's. */
export class Half implements Channel {
  readonly peer = 'far'
  readonly protocol = 'half'
  readonly closed: Promise<ChannelEnd>
  readonly sent: unknown[] = []
  readonly #settle: (end: ChannelEnd) => void
  readonly #values: unknown[] = []
  #over = false
  #wake: (() => void) | undefined

  constructor() {
    const { promise, resolve } = Promise.withResolvers<ChannelEnd>()
    this.closed = promise
    this.#settle = resolve
  }

  says(value: unknown): void {
    this.#values.push(value)
    this.#wake?.()
  }

  goes(error?: Error): void {
    this.#over = true
    this.#settle(error ? { error } : {})
    this.#wake?.()
  }

  async send(value: unknown): Promise<void> {
    if (this.#over) throw new ChannelClosedError()
    this.sent.push(value)
  }

  async end(): Promise<void> {
    this.goes()
  }

  abort(error?: Error): void {
    this.#values.length = 0
    this.goes(error)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<unknown> {
    for (;;) {
      if (this.#values.length > 0) yield this.#values.shift()
      else if (this.#over) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.abort()
  }
}
