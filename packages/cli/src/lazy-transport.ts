// A transport that is loaded when it is started: a daemon whose peer meets no other never pays for libp2p.
import type { Cancel, Channel, OpenOptions, PeerId, Transport, TransportHost } from '@errand/transport'

export class LazyTransport implements Transport {
  readonly carrier = 'libp2p'
  readonly #load: () => Promise<Transport>
  readonly #onStarted: (transport: Transport) => Promise<void>
  #loading: Promise<Transport> | undefined
  #inner: Transport | undefined

  constructor(load: () => Promise<Transport>, onStarted: (transport: Transport) => Promise<void>) {
    this.#load = load
    this.#onStarted = onStarted
  }

  get id(): PeerId {
    return this.#there.id
  }
  get addresses(): readonly string[] {
    return this.#inner?.addresses ?? []
  }

  async start(host: TransportHost, options?: Cancel): Promise<void> {
    this.#loading ??= this.#load()
    const inner = await this.#loading
    await inner.start(host, options)
    this.#inner = inner
    await this.#onStarted(inner)
  }

  async open(peer: PeerId, protocol: string, options?: OpenOptions): Promise<Channel> {
    return this.#there.open(peer, protocol, options)
  }

  async disconnect(peer: PeerId): Promise<void> {
    await this.#there.disconnect(peer)
  }

  async sibling(seed: Uint8Array): Promise<Transport> {
    const there = this.#there
    if (there.sibling === undefined) throw new TypeError(`${there.carrier} has no siblings`)
    return there.sibling(seed)
  }

  async sign(bytes: Uint8Array): Promise<Uint8Array> {
    const there = this.#there
    if (there.sign === undefined) throw new TypeError(`${there.carrier} signs nothing`)
    return there.sign(bytes)
  }

  async verify(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
    return (await this.#there.verify?.(peer, bytes, signature)) === true
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Also what is being loaded or started at the moment. */
  async close(): Promise<void> {
    const inner = await this.#loading?.catch(() => undefined) // its caller has the error
    await inner?.close()
  }

  get #there(): Transport {
    if (this.#inner === undefined) throw new TypeError('the transport is not started')
    return this.#inner
  }
}
