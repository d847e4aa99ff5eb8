// Requests to whoever may not read them: so many are under way at once, the others wait here in their order.

interface Waiting {
  readonly bytes: number | undefined
  readonly send: () => void
}

export class RequestWindow {
  readonly #most: number
  readonly #mostBytes: number
  readonly #waiting: Waiting[] = []
  #underWay = 0
  #bytes = 0

  /** `mostBytes`: of all that is under way; one request alone may have more. */
  constructor(most: number, mostBytes: number) {
    this.#most = most
    this.#mostBytes = mostBytes
  }

  /**
   * Behind whatever waits already; within this call where there is room. It is under way until it is answered; without
   * `bytes` it takes no place while it is: who asks so has a bound of his own. @throws the reason of `signal`, while it waits
   */
  pass<T>(ask: () => Promise<T>, bytes: number | undefined, signal?: AbortSignal): Promise<T> {
    if (this.#waiting.length === 0 && this.#fits(bytes)) return this.#send(ask, bytes)
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const onAbort = (): void => {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
      reject(signal!.reason)
      // Those behind it may take no place, or a smaller one.
      this.#next()
    }
    const waiting: Waiting = {
      bytes,
      send: () => {
        signal?.removeEventListener('abort', onAbort)
        this.#send(ask, bytes).then(resolve, reject)
      },
    }
    this.#waiting.push(waiting)
    signal?.addEventListener('abort', onAbort, { once: true })
    return promise
  }

  #fits(bytes: number | undefined): boolean {
    if (bytes === undefined || this.#underWay === 0) return true
    return this.#underWay < this.#most && this.#bytes + bytes <= this.#mostBytes
  }

  #next(): void {
    while (this.#waiting.length > 0 && this.#fits(this.#waiting[0]!.bytes)) this.#waiting.shift()!.send()
  }

  async #send<T>(ask: () => Promise<T>, bytes: number | undefined): Promise<T> {
    if (bytes === undefined) return ask()
    this.#underWay++
    this.#bytes += bytes
    try {
      return await ask()
    } finally {
      this.#underWay--
      this.#bytes -= bytes
      this.#next()
    }
  }
}
