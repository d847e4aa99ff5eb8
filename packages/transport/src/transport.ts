// The contract between errand and a network, in prose and types.
//
// A transport moves values over named, authenticated, back-pressured channels between peers, and knows nothing of what
// the values mean. Three carriers keep this contract — libp2p, local socket, memory — and one suite holds them to it
// (test/suites/transport.suite.ts).

/** A peer's public name: the text form of its public key (libp2p's peer id). Local carriers use a name of their own. */
export type PeerId = string

/** Anything that can be given up on. */
export interface Cancel {
  signal?: AbortSignal | undefined
}

/** How a channel ended. `error` is absent exactly when both sides half-closed in order. */
export interface ChannelEnd {
  readonly error?: Error | undefined
}

/**
 * An ordered stream of values between two peers.
 *
 * - **Order**: values arrive in the order of `send`, each once, or the channel ends with an error: never a hole.
 * - **Copy**: `send` encodes before it returns, so the caller may change the value at once.
 * - **Back-pressure**: the promise of `send` settles when the channel will take more. A reader that stops iterating
 *   makes the sender wait; bytes in flight are bounded on both sides. Values sent in one turn leave as one write.
 * - **Half-close**: `end()` says "no more from me" after what was sent; the other side's iteration finishes, and it may
 *   still send. When both sides have ended, `closed` settles without error.
 * - **Abort**: `abort(reason)` drops what is queued; the other side's iteration throws, with the reason's code and
 *   message where the carrier can still deliver it.
 * - **closed** settles in every case — end, abort, lost link, dead peer, closed transport — and never rejects.
 * - **One reader**: a channel is iterated once. Leaving the loop early aborts the channel.
 */
export interface Channel extends AsyncIterable<unknown>, AsyncDisposable {
  /** The authenticated peer at the other end. */
  readonly peer: PeerId
  readonly protocol: string
  readonly closed: Promise<ChannelEnd>
  /**
   * Sends one value.
   * @throws ChannelClosedError (rejects) once the channel has ended or `end()` was called.
   * @throws FrameTooLargeError when the encoded value exceeds the protocol's `maxFrame`; the channel lives on.
   * @throws NotTransferableError when the value holds something that cannot travel; the channel lives on.
   */
  send(value: unknown, options?: Cancel): Promise<void>
  end(): Promise<void>
  abort(reason?: Error): void
}

/** What a peer says about one protocol it speaks, the same at both ends. */
export interface Protocol {
  /** e.g. `/errand/control/1` */
  readonly name: string
  /** Largest encoded value in bytes; a larger one from the peer ends the channel (FRAME_TOO_LARGE). */
  readonly maxFrame: number
  /** Channels of this protocol one peer may hold open towards us; one more is refused. Default 64. */
  readonly maxChannels?: number
  /**
   * Milliseconds between signs of life and until silence is called death. A channel with a heartbeat sends an empty
   * frame when it has sent nothing else for `interval`, and aborts itself with PeerUnreachableError after `suspicion`
   * without a byte from the peer. Put it on one channel per pair of peers: its end is the news. Default: none.
   */
  readonly heartbeat?: { readonly interval: number; readonly suspicion: number }
}

/** The side of a transport that answers. Both callbacks are the policy's: default deny lives here. */
export interface TransportHost {
  /**
   * May this peer talk to us at all? Asked synchronously as soon as the handshake has proved who it is, inbound and
   * outbound, before any channel opens. A peer that is not admitted gets no further.
   */
  admits(peer: PeerId): boolean
  readonly protocols: readonly Protocol[]
  /** Takes over a channel opened by a peer; must read it or end it. May refuse by `channel.abort(reason)`. */
  accept(channel: Channel): void
}

export interface OpenOptions extends Cancel {
  /** Where the peer was last seen: multiaddrs (libp2p), a path (socket); ignored by memory. */
  addresses?: readonly string[] | undefined
}

/** One peer's place on a network. Made by `libp2p()`, `socket()` or `memory()`; owned and closed by the peer using it. */
export interface Transport {
  readonly carrier: 'libp2p' | 'socket' | 'memory'
  /** Our own name; known after `start`. */
  readonly id: PeerId
  /** Where others reach us now; empty when we only dial out. libp2p: full multiaddrs ending in `/p2p/<id>`. */
  readonly addresses: readonly string[]
  /**
   * Binds, listens, and answers through `host` from now on. Once.
   * @throws KeyInUseError when another process holds the key. @throws AddressInUseError
   */
  start(host: TransportHost, options?: Cancel): Promise<void>
  /**
   * Opens a channel, connecting first where there is no connection. Resolves only when the peer has accepted it.
   * @throws PeerUnreachableError (no address answered, or the link broke on the way)
   * @throws DeniedError (the peer, or our own host, does not admit)
   * @throws ProtocolError (the peer does not speak it, or proved to be somebody else)
   */
  open(peer: PeerId, protocol: string, options?: OpenOptions): Promise<Channel>
  /** Ends every channel and connection with this peer (revocation). */
  disconnect(peer: PeerId): Promise<void>
  /** The same network under another key, dialling only: what a ticket's one-time key joins with. libp2p and memory. */
  sibling?(seed: Uint8Array): Promise<Transport>
  /** Ends everything, releases the key. Idempotent. */
  close(): Promise<void>
}
