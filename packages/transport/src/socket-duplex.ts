// A Node stream — a socket, or a pipe to a child process — as the carrier of one channel.

import type { Duplex } from 'node:stream'
import type { ByteDuplex, DuplexSink } from './duplex.ts'
import { toRead } from './lent-memory.ts'

/** Takes the stream over: nobody else may read, write or end it. It must not be half-open (`allowHalfOpen: false`). */
export class SocketDuplex implements ByteDuplex {
  readonly #stream: Duplex
  #error: Error | undefined
  #heardEnd = false

  constructor(stream: Duplex) {
    this.#stream = stream
    // From the first moment: an error without a listener would end the process.
    stream.on('error', (error) => (this.#error = error))
    stream.on('end', () => (this.#heardEnd = true))
  }

  attach(sink: DuplexSink): void {
    const stream = this.#stream
    const closed = (): void => {
      const error =
        this.#error ?? (this.#heardEnd && stream.writableFinished ? undefined : new Error('the socket closed'))
      sink.closed(error)
    }
    if (stream.closed) {
      queueMicrotask(closed)
      return
    }
    stream.on('drain', () => sink.drained())
    stream.on('close', closed)
    stream.on('data', (bytes: Buffer) => {
      toRead.lend(bytes)
      sink.data(bytes)
    })
  }

  write(bytes: Uint8Array): boolean {
    // Ended or destroyed meanwhile: `closed` is on its way, and says it better.
    if (!this.#stream.writable) return true
    return this.#stream.write(bytes)
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  end(): void {
    this.#stream.end()
  }

  destroy(): void {
    this.#stream.destroy()
  }
}
