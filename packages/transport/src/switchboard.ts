// All channels of one transport: who may open how many, and the end of them all.

import { FramedChannel } from './channel.ts'
import { type Clock, systemClock } from './clock.ts'
import type { ByteDuplex } from './duplex.ts'
import { ChannelClosedError, DeniedError, ProtocolError } from './errors.ts'
import { type PatienceOptions, patiently } from './patience.ts'
import type { Cancel, Channel, OpenOptions, PeerId, Protocol, TransportHost } from './transport.ts'

/** Channels of one protocol a peer may hold open towards us, where the protocol names no number. */
export const MAX_CHANNELS = 64
/** Channels of all protocols one peer may hold open towards us. */
export const MAX_PEER_CHANNELS = 256
/** Connections of one peer that have not yet said what they want: as many as it may open at once. */
export const MAX_UNANNOUNCED = 256
/** Channels of all peers towards us, those that have not yet said what they want included; and as many of our own. */
export const MAX_TRANSPORT_CHANNELS = 4096

/** Keeps every channel of a transport from its first byte until its carrier is gone. */
export class Switchboard {
  readonly #host: TransportHost
  readonly #clock: Clock
  /** Per peer, and in all, those whose carrier is not yet gone. */
  readonly #channels = new Map<PeerId, Set<FramedChannel>>()
  #size = 0
  /** Those that peers hold open towards us, and what they want. */
  readonly #inbound = new Map<FramedChannel, Protocol | undefined>()
  #outbound = 0
  readonly #closing = new AbortController()

  constructor(host: TransportHost, clock: Clock = systemClock) {
    this.#host = host
    this.#clock = clock
  }

  /** Channels whose carrier is not yet gone. */
  get size(): number {
    return this.#size
  }

  /**
   * What must hold before any connection to `peer` is tried.
   * @throws DeniedError (our own policy, or too many of our own), ProtocolError (not one of ours)
   */
  check(peer: PeerId, protocol: string): Protocol {
    if (this.#closing.signal.aborted) throw new ChannelClosedError('the transport is closed')
    if (!this.#host.admits(peer))
      throw new DeniedError(`${peer} is not admitted here`, { hint: 'allow the peer first' })
    this.#checkOutbound()
    const known = this.#host.protocols.find(({ name }) => name === protocol)
    if (known === undefined) throw new ProtocolError(`${protocol} is not one of this peer's own protocols`)
    return known
  }

  /**
   * Attempts to open, as long as the caller has patience, and no longer than the transport is there.
   * @throws ChannelClosedError once the transport is closed, whatever the attempt came to
   */
  async attempt<T>(act: () => Promise<T>, options: OpenOptions, onNews?: PatienceOptions['onNews']): Promise<T> {
    const { patience = 0, signal } = options
    const closing = this.#closing.signal
    const until = patience > 0 ? AbortSignal.any(signal ? [signal, closing] : [closing]) : signal
    try {
      return await patiently(act, { patience, signal: until, onNews, clock: this.#clock })
    } catch (error) {
      if (!this.#closing.signal.aborted || signal?.aborted) throw error
      throw error instanceof ChannelClosedError ? error : new ChannelClosedError('the transport is closed')
    }
  }

  /** Opens a channel over a fresh carrier, which it owns from here on. Resolves when the peer has accepted. */
  async open(duplex: ByteDuplex, peer: PeerId, protocol: Protocol, options: Cancel = {}): Promise<Channel> {
    try {
      // Each may have come about while the carrier was still connecting.
      if (this.#closing.signal.aborted) throw new ChannelClosedError('the transport is closed')
      if (!this.#host.admits(peer)) throw new DeniedError(`${peer} is not admitted here any more`)
      this.#checkOutbound()
    } catch (error) {
      duplex.destroy()
      throw error
    }
    const channel = new FramedChannel(duplex, peer, { opens: protocol }, this.#clock)
    this.#outbound++
    this.#keep(channel)
    void channel.gone.then(() => this.#outbound--)
    await channel.opened(options)
    return channel
  }

  /** Answers a carrier that `peer` has opened. `negotiated`: the protocol that the carrier itself has agreed on. */
  answer(duplex: ByteDuplex, peer: PeerId, negotiated?: string): void {
    // To be told a reason is worth a second of ours each, but not to any number of them.
    if (this.#size - this.#outbound - this.#inbound.size >= MAX_TRANSPORT_CHANNELS) {
      duplex.destroy()
      return
    }
    const role = {
      admit: (name: string): Protocol => {
        const protocol = this.#admit(peer, name, negotiated)
        this.#inbound.set(channel, protocol)
        return protocol
      },
      accept: (it: Channel): void | Promise<void> => this.#host.accept(it),
    }
    const channel: FramedChannel = new FramedChannel(duplex, peer, role, this.#clock)
    this.#keep(channel)
    if (this.#closing.signal.aborted) channel.abort(new ChannelClosedError('the transport is closed'))
    else if (this.#inbound.size >= MAX_TRANSPORT_CHANNELS) {
      channel.abort(new DeniedError('this peer holds as many channels as it can'))
    } else if (this.#count(peer, undefined) >= MAX_UNANNOUNCED) {
      channel.abort(new DeniedError('too many connections that have not said what they want'))
    } else this.#inbound.set(channel, undefined)
  }

  /** Aborts every channel with `peer`; settles when their carriers are gone. */
  async end(peer: PeerId, reason: Error): Promise<void> {
    const channels = [...(this.#channels.get(peer) ?? [])]
    for (const channel of channels) channel.abort(reason)
    await Promise.all(channels.map(({ gone }) => gone))
  }

  /** Aborts every channel and refuses new ones; settles when all carriers are gone. Idempotent. */
  async close(): Promise<void> {
    const reason = new ChannelClosedError('the transport was closed')
    this.#closing.abort(reason)
    // Who comes while the others go is refused, and waited for like them.
    while (this.#channels.size > 0) {
      await Promise.all([...this.#channels.keys()].map((peer) => this.end(peer, reason)))
    }
  }

  #admit(peer: PeerId, name: string, negotiated: string | undefined): Protocol {
    // The carrier may have asked already; policy may have changed since. And before any look-up (G13).
    if (!this.#host.admits(peer)) throw new DeniedError('this peer does not admit you')
    if (!this.#host.admits(peer, name)) throw new DeniedError('this peer does not admit you to the protocol asked for')
    if (this.#countAll(peer) >= MAX_PEER_CHANNELS)
      throw new DeniedError(`you hold ${MAX_PEER_CHANNELS} channels already`)
    const protocol = this.#host.protocols.find((known) => known.name === name)
    if (protocol === undefined) throw new ProtocolError('this peer does not speak the protocol asked for')
    if (negotiated !== undefined && negotiated !== name) throw new ProtocolError('hello names another protocol')
    const most = protocol.maxChannels ?? MAX_CHANNELS
    if (this.#count(peer, protocol) >= most) throw new DeniedError(`you hold ${most} channels of ${name} already`)
    return protocol
  }

  /** Our own opening is bounded too: a program that leaks channels hears of it before the system runs out. */
  #checkOutbound(): void {
    if (this.#outbound < MAX_TRANSPORT_CHANNELS) return
    throw new DeniedError(`${this.#outbound} channels opened here are open already`, { hint: 'end some of them' })
  }

  /** What the peer holds open towards us of this protocol; without one, what has not yet said what it wants. */
  #count(peer: PeerId, protocol: Protocol | undefined): number {
    let count = 0
    for (const channel of this.#channels.get(peer) ?? []) {
      if (this.#inbound.has(channel) && this.#inbound.get(channel) === protocol) count++
    }
    return count
  }

  /** The same of all protocols. */
  #countAll(peer: PeerId): number {
    let count = 0
    for (const channel of this.#channels.get(peer) ?? []) if (this.#inbound.get(channel) !== undefined) count++
    return count
  }

  #keep(channel: FramedChannel): void {
    let channels = this.#channels.get(channel.peer)
    if (channels === undefined) this.#channels.set(channel.peer, (channels = new Set()))
    const kept = channels
    kept.add(channel)
    this.#size++
    void channel.gone.then(() => {
      kept.delete(channel)
      this.#size--
      this.#inbound.delete(channel)
      if (kept.size === 0 && this.#channels.get(channel.peer) === kept) this.#channels.delete(channel.peer)
    })
  }
}
