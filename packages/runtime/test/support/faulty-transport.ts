// A transport that loses requests and answers. Within a connection nothing is lost: it breaks right before the one that is
// to be lost would be delivered, and whoever asked asks again over the next one.
import { PeerUnreachableError, type Channel, type Transport } from '@errand/transport'
import { CONTROL, type ControlMessage } from '../../src/wire.ts'

export type Loss = 'request' | 'reply'

export class Faults {
  /** What was answered, also where the answer did not arrive. */
  readonly answers: unknown[] = []
  /** Requests that were sent, each time they were. */
  sent = 0
  #type: string | undefined
  #losses: Loss[] = []
  #double = false
  #behind = 0
  #held: (() => void) | undefined
  /** The link's other channel. */
  #beside: Channel | undefined

  /** Of requests of this type: loses them, or their answers, in this order; then they get through. */
  lose(type: string, ...losses: readonly Loss[]): this {
    this.#type = type
    this.#losses = [...losses]
    return this
  }

  /** The next one of this type is delivered twice. */
  double(type: string): this {
    this.#type = type
    this.#double = true
    return this
  }

  /** The next one of this type is delivered behind so many that are sent after it. */
  delay(type: string, behind: number): this {
    this.#type = type
    this.#behind = behind
    return this
  }

  over(inner: Transport): Transport {
    return new Proxy(inner, {
      get: (target, name) => {
        if (name === 'open') {
          return async (...args: Parameters<Transport['open']>) => {
            const channel = await target.open(...args)
            if (args[1] === CONTROL) return this.#around(channel)
            this.#beside = channel
            return channel
          }
        }
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }

  #around(channel: Channel): Channel {
    /** Requests on this connection whose answers count. */
    const asked = new Map<number, boolean>()
    const cut = (): never => {
      const error = new PeerUnreachableError('the connection broke')
      channel.abort(error)
      // A connection breaks with all that is on it.
      this.#beside?.abort(error)
      throw error
    }
    const send = async (value: unknown, options?: { signal?: AbortSignal }): Promise<void> => {
      const message = value as ControlMessage
      if (message.t !== 'ask') return channel.send(value, options)
      if (message.event.type !== this.#type) {
        await channel.send(value, options)
        if (this.#behind > 0 && this.#held && --this.#behind === 0) this.#held()
        return
      }
      this.sent++
      const loss = this.#losses.shift()
      if (loss === 'request') cut()
      asked.set(message.id, loss === 'reply')
      if (this.#behind > 0 && !this.#held) {
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#held = resolve
        await promise
      }
      await channel.send(value, options)
      if (!this.#double) return
      this.#double = false
      await channel.send(value, options)
    }
    const hear = (value: unknown): void => {
      const message = value as ControlMessage
      if ((message.t !== 'ok' && message.t !== 'no') || !asked.has(message.id)) return
      this.answers.push(message.t === 'ok' ? message.value : message.error)
      if (asked.get(message.id)) cut()
    }
    return {
      peer: channel.peer,
      protocol: channel.protocol,
      closed: channel.closed,
      send,
      end: () => channel.end(),
      abort: (reason) => channel.abort(reason),
      async *[Symbol.asyncIterator]() {
        for await (const value of channel) {
          hear(value)
          yield value
        }
      },
      [Symbol.asyncDispose]: () => channel[Symbol.asyncDispose](),
    }
  }
}
