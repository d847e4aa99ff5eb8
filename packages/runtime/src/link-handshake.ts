// How two channels become a link: the opener says which two belong together, the acceptor answers who it is.
// docs/PROTOCOL.md, Link.
import type { Channel, PeerId, Transport } from '@errand/transport'
import { asError, PeerUnreachableError, ProtocolError } from './errors.ts'
import { Link, type LinkServer } from './link.ts'
import { checkControl, checkData, CONTROL, DATA, VERSION } from './wire.ts'

/** How long the second channel of a link may take after the first. */
const PAIRING_MS = 10_000
/** How long whoever was dialled may take to say who it is: a silent one must not be waited for without end. */
export const WELCOME_MS = 30_000

/** Neighbouring versions talk (G16). @throws ProtocolError */
function checkVersion(theirs: number): void {
  if (Math.abs(theirs - VERSION) <= 1) return
  throw new ProtocolError(`this peer speaks version ${VERSION} of errand's links, the other ${theirs}`, {
    hint: 'update the older one',
  })
}

/** Who we are, to the other side of a link. */
export interface Self {
  /** This process: new at each start, so that a reconnect can be told from a new client. */
  readonly client: string
  readonly name: string
}

export interface Dialling {
  readonly transport: Transport
  readonly peer: PeerId
  readonly addresses?: readonly string[] | undefined
  readonly self: Self
  readonly server?: LinkServer
  readonly signal?: AbortSignal | undefined
}

/** Opens a link. @throws PeerUnreachableError, DeniedError, ProtocolError */
export async function openLink({ transport, peer, addresses, self, server, signal }: Dialling): Promise<Link> {
  const link = crypto.randomUUID()
  const control = await transport.open(peer, CONTROL, { addresses, signal })
  try {
    await control.send({ t: 'hello', v: VERSION, link, client: self.client, name: self.name })
    const data = await transport.open(peer, DATA, { addresses, signal })
    try {
      await data.send({ t: 'hello', link })
      const welcome = checkControl(await firstOf(control, signal, WELCOME_MS))
      if (welcome.t !== 'welcome') throw new ProtocolError(`${peer} answered a hello with ${welcome.t}`)
      checkVersion(welcome.v)
      const { self: client, memory } = welcome
      return new Link(control, data, { client, ...(memory !== undefined && { memory }) }, server)
    } catch (error) {
      data.abort(asError(error))
      throw error
    }
  } catch (error) {
    control.abort(asError(error))
    throw error
  }
}

/** Pairs the channels that come in. */
export class LinkAcceptor {
  readonly #self: Self
  readonly #server: (peer: PeerId, client: string) => LinkServer
  readonly #accept: (link: Link, server: LinkServer) => void
  readonly #waiting = new Map<string, Slot>()

  constructor(
    self: Self,
    server: (peer: PeerId, client: string) => LinkServer,
    accept: (link: Link, server: LinkServer) => void,
  ) {
    this.#self = self
    this.#server = server
    this.#accept = accept
  }

  async control(channel: Channel): Promise<void> {
    try {
      const hello = checkControl(await firstOf(channel, undefined, PAIRING_MS))
      if (hello.t !== 'hello') throw new ProtocolError(`a link begins with hello, not ${hello.t}`)
      checkVersion(hello.v)
      const data = await this.#pair(`${channel.peer} ${hello.link}`)
      const server = this.#server(channel.peer, hello.client)
      // What a client calls itself counts only together with the key it has proved: nobody can be another's client.
      const client = `${channel.peer} ${hello.client}`
      const memory = server.memoryOf?.(client)
      const { name, client: self } = this.#self
      const sent = channel.send({ t: 'welcome', v: VERSION, name, self, ...(memory !== undefined && { memory }) })
      // In the same turn: were its older link to end in between, its memory would go that it has just been promised.
      this.#accept(new Link(channel, data, { client }, server), server)
      await sent
    } catch (error) {
      channel.abort(asError(error))
    }
  }

  async data(channel: Channel): Promise<void> {
    try {
      const hello = checkData(await firstOf(channel, undefined, PAIRING_MS))
      if (hello.t !== 'hello') throw new ProtocolError(`a data channel begins with hello, not ${hello.t}`)
      this.#slot(`${channel.peer} ${hello.link}`).resolve(channel)
    } catch (error) {
      channel.abort(asError(error))
    }
  }

  /** The data channel of a control channel; either may come first. */
  async #pair(key: string): Promise<Channel> {
    const slot = this.#slot(key)
    // From now on it is we who wait, and for no longer.
    clearTimeout(slot.late)
    const late = setTimeout(
      () => slot.reject(new PeerUnreachableError('the data channel of the link did not come')),
      PAIRING_MS,
    )
    try {
      return await slot.promise
    } finally {
      clearTimeout(late)
      this.#waiting.delete(key)
    }
  }

  #slot(key: string): Slot {
    let slot = this.#waiting.get(key)
    if (!slot) {
      const pair = Promise.withResolvers<Channel>()
      pair.promise.catch(() => undefined)
      // A data channel whose control channel never comes must not stay.
      const late = setTimeout(() => {
        if (!this.#waiting.delete(key)) return
        void pair.promise.then(
          (channel) => channel.abort(new ProtocolError('a data channel without its control channel')),
          () => undefined,
        )
      }, PAIRING_MS)
      late.unref()
      this.#waiting.set(key, (slot = { ...pair, late }))
    }
    return slot
  }
}

/** `late`: until its control channel asks for it. */
type Slot = PromiseWithResolvers<Channel> & { readonly late: NodeJS.Timeout }

/** The first value of a channel that goes on to be read by somebody else: one iterator, handed on. */
export async function firstOf(channel: Channel, signal: AbortSignal | undefined, ms: number): Promise<unknown> {
  const iterator = channel[Symbol.asyncIterator]()
  // The channel is iterated once; whoever comes next gets the same iterator.
  ;(channel as { [Symbol.asyncIterator]: () => AsyncIterator<unknown> })[Symbol.asyncIterator] = () => iterator
  const giveUp = (): void => channel.abort(asError(signal?.reason))
  signal?.addEventListener('abort', giveUp, { once: true })
  // Not `AbortSignal.timeout`: that keeps the channel until its time has come, long after its first value has.
  const silence = (): void => channel.abort(new PeerUnreachableError(`nothing was said for ${ms / 1000} s`))
  const late = setTimeout(silence, ms)
  try {
    const first = await iterator.next()
    if (first.done) throw new PeerUnreachableError('the link ended before it began')
    return first.value
  } finally {
    signal?.removeEventListener('abort', giveUp)
    clearTimeout(late)
  }
}
