// What has arrived on a channel and is not yet read: undecoded, so that what is counted is what is held.

import { decode } from './codec.ts'
import { ErrandError, MalformedError } from './errors.ts'

/** Bytes waiting to be read beyond which the carrier is paused; it goes on at half. */
const HIGH = 256 * 1024
/** What a waiting value costs beside its bytes, so that a flood of tiny ones is bounded too. */
const VALUE_COST = 64

type Result = IteratorResult<unknown, undefined>

/** Who waits for a value that has not arrived. */
interface Reader {
  readonly resolve: (result: Result) => void
  readonly reject: (error: Error) => void
}

/** The end of an iteration. */
export const DONE: Result = { done: true, value: undefined }
const TAKEN: Uint8Array = new Uint8Array(0)

/** What an inbox asks of its channel. */
export interface Flow {
  pause(): void
  resume(): void
  /** These bytes were not a value. */
  malformed(reason: Error): void
}

export class Inbox {
  readonly #flow: Flow
  readonly #readers: Reader[] = []
  #values: Uint8Array[] = []
  #next = 0
  #bytes = 0
  #paused = false
  #ending: { error?: Error | undefined } | undefined

  constructor(flow: Flow) {
    this.#flow = flow
  }

  /** True while the carrier is paused because nobody reads. */
  get paused(): boolean {
    return this.#paused
  }

  /** Nothing waits and nothing will come. */
  get finished(): boolean {
    return this.#ending !== undefined && this.#next === this.#values.length
  }

  push(body: Uint8Array): void {
    if (this.#readers.length > 0) {
      this.#hand(body)
      return
    }
    this.#values.push(body)
    this.#bytes += body.length + VALUE_COST
    if (this.#bytes > HIGH && !this.#paused) {
      this.#paused = true
      this.#flow.pause()
    }
  }

  read(): Promise<Result> {
    if (this.#next < this.#values.length) {
      try {
        // The common case, and a promise that is settled already costs a fifth of one with its resolvers.
        return Promise.resolve({ done: false, value: decode(this.#take()) })
      } catch (error) {
        this.#spoil(error)
      }
    }
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject })
      if (this.#ending !== undefined) this.#settle()
    })
  }

  /** No more will come: what waits may still be read, then the reading ends or throws. The first word counts. */
  close(error?: Error): void {
    if (this.#ending !== undefined) return
    this.#ending = { error }
    this.#settle()
  }

  /** The same at once: what waits is dropped, which a reader must not take for an end in order. */
  abort(error: Error): void {
    this.#values = []
    this.#next = 0
    this.#ending = undefined
    this.close(error)
  }

  #take(): Uint8Array {
    const body = this.#values[this.#next]!
    this.#values[this.#next++] = TAKEN // let go of the bytes
    if (this.#next === this.#values.length || this.#next === 1024) {
      this.#values.splice(0, this.#next)
      this.#next = 0
    }
    this.#bytes -= body.length + VALUE_COST
    if (this.#paused && this.#bytes <= HIGH / 2) {
      this.#paused = false
      this.#flow.resume()
    }
    return body
  }

  /** To the first who waits. */
  #hand(body: Uint8Array): void {
    let value: unknown
    try {
      value = decode(body)
    } catch (error) {
      this.#spoil(error)
      return
    }
    this.#readers.shift()!.resolve({ done: false, value })
  }

  #spoil(error: unknown): void {
    const reason = error instanceof ErrandError ? error : new MalformedError('not a value', { cause: error })
    this.abort(reason)
    this.#flow.malformed(reason)
  }

  /** Ends the reading of all who wait: the first throws, where there is an error; after that it has simply ended. */
  #settle(): void {
    for (const reader of this.#readers.splice(0)) {
      const error = this.#ending?.error
      this.#ending = {}
      if (error === undefined) reader.resolve(DONE)
      else reader.reject(error)
    }
  }
}
