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

/**
 * How a channel ended. `error` is absent exactly when both sides half-closed in order and each knows that the other has
 * received everything.
 */
export interface ChannelEnd {
  readonly error?: Error | undefined
}

/**
 * An ordered stream of values between two peers.
 *
 * - **Order**: values arrive in the order of `send`, each once, or the channel ends with an error: never a hole.
 * - **Copy**: `send` encodes before it returns, so the caller may change the value at once. Byte arrays of a value that
 *   has arrived may be views of more memory than their own: copy what is kept for long, and do not transfer their
 *   `buffer`, in which values may lie that are not read yet.
 * - **Back-pressure**: the promise of `send` settles when the channel will take more. A reader that stops iterating
 *   makes the sender wait; bytes in flight are bounded on both sides (256 KiB here, 256 KiB there, and what the carrier
 *   holds). Values sent in one turn leave as one write (of at most 257 KiB).
 * - **Half-close**: `end()` says "no more from me" after what was sent; the other side's iteration finishes, and it may
 *   still send. When both sides have ended, `closed` settles without error.
 * - **Abort**: `abort(reason)` drops what is queued, on our side in both directions; the other side's iteration throws,
 *   after what had already arrived there, with the reason's code and message where the carrier can still deliver it
 *   within a second. A reason without a `code` arrives as CHANNEL_CLOSED.
 * - **Lost**: when the link breaks or the peer falls silent, the iteration gives what had arrived and then throws
 *   PeerUnreachableError.
 * - **closed** settles in every case — end, abort, lost link, dead peer, closed transport — and never rejects. It does
 *   not wait for what has arrived to be read.
 * - **One reader**: a channel is iterated once. Leaving the loop early aborts the channel. The iteration throws once and
 *   has ended after that. Bytes that are not a value (MALFORMED) abort the channel when they are read.
 * - **Disposal** (`await using`): ends in order where the peer has ended already, aborts otherwise; then waits for
 *   `closed`.
 */
export interface Channel extends AsyncIterable<unknown>, AsyncDisposable {
  /** The authenticated peer at the other end. */
  readonly peer: PeerId
  readonly protocol: string
  readonly closed: Promise<ChannelEnd>
  /**
   * Sends one value. `signal` gives up waiting; what was taken is sent all the same.
   * @throws ChannelClosedError (rejects) once the channel has ended or `end()` was called, also while waiting.
   * @throws FrameTooLargeError when the encoded value exceeds the protocol's `maxFrame`; the channel lives on.
   * @throws NotTransferableError when the value holds something that cannot travel, TooLargeError when it exceeds a limit
   *   of the codec; the channel lives on.
   * @throws ChannelFullError when 16 MiB wait already, because earlier calls were not awaited; the channel lives on.
   */
  send(value: unknown, options?: Cancel): Promise<void>
  /**
   * Half-closes. Settles when all that was sent has been handed to the carrier, or the channel has ended; never rejects
   * (`closed` tells how it went, and is what to wait for before the process exits). Idempotent.
   */
  end(): Promise<void>
  /** Ends the channel now. Nothing happens where it has ended already. */
  abort(reason?: Error): void
}

/** What a peer says about one protocol it speaks, the same at both ends. */
export interface Protocol {
  /** e.g. `/errand/control/1` */
  readonly name: string
  /** Largest encoded value in bytes; a larger one from the peer ends the channel (FRAME_TOO_LARGE). */
  readonly maxFrame: number
  /** Channels of this protocol one peer may hold open towards us, and 256 of all together. Default 64. */
  readonly maxChannels?: number
  /**
   * Milliseconds between signs of life and until silence is called death. A channel with a heartbeat sends an empty
   * frame when it has sent nothing else for `interval`, and aborts itself with PeerUnreachableError after `suspicion`
   * without a byte from the peer (and at most half an interval more). Standing still ourselves is not held against the
   * peer: what it sent meanwhile is read first. While our own reader is so slow that the channel does not listen, nobody
   * is called dead. Put it on one channel per pair of peers: its end is the news; on libp2p it takes the connection
   * along, and older ones with that peer, so that the next `open` dials anew. Default: none.
   */
  readonly heartbeat?: { readonly interval: number; readonly suspicion: number }
}

/**
 * The side of a transport that answers. Both callbacks are the policy's: default deny lives here.
 *
 * A peer may hold 256 channels open towards us, and as many connections that have not said what they want (ten seconds
 * each, whatever they send meanwhile). In all there are 4096 channels towards us and 4096 of our own. Beyond each: DENIED.
 */
export interface TransportHost {
  /**
   * May this peer talk to us at all? Asked synchronously as soon as the handshake has proved who it is, inbound and
   * outbound, before any channel opens. A peer that is not admitted gets no further. With `protocol`: may it open a
   * channel of this protocol, one of ours or not? Asked for each channel a peer opens, before we look anything up (libp2p
   * itself tells admitted peers which protocols there are).
   */
  admits(peer: PeerId, protocol?: string): boolean
  readonly protocols: readonly Protocol[]
  /**
   * Takes over a channel opened by a peer; must read it or end it. May refuse by `channel.abort(reason)` or by throwing:
   * before it returns, and the peer's `open` fails with that reason; later, and the peer's iteration throws it. A promise
   * that it gives back is watched over: when it rejects, the channel is aborted with that, if it has not ended anyway.
   */
  accept(channel: Channel): void | Promise<void>
  /**
   * An admitted peer has connected to us: it can be reached now, also one that listens nowhere. May be said more than once.
   * libp2p and memory.
   */
  connected?(peer: PeerId): void
}

export interface OpenOptions extends Cancel {
  /** Where the peer was last seen: multiaddrs (libp2p), a path (socket); ignored by memory. */
  addresses?: readonly string[] | undefined
  /**
   * Milliseconds to go on trying a peer that cannot be reached: with back-off from 250 ms by half to 10 s, and at once
   * when there is news of it (a new address, or a connection from it). Default 0: one attempt.
   */
  patience?: number | undefined
}

/** One peer's place on a network. Made by `libp2p()`, `socket()` or `memory()`; owned and closed by the peer using it. */
export interface Transport extends AsyncDisposable {
  readonly carrier: 'libp2p' | 'socket' | 'memory'
  /** Our own name; known after `start`, a sibling's at once. @throws ChannelClosedError before */
  readonly id: PeerId
  /** Where others reach us now; empty when we only dial out. libp2p: full multiaddrs ending in `/p2p/<id>`. */
  readonly addresses: readonly string[]
  /**
   * Binds, listens, and answers through `host` from now on. Once.
   * @throws KeyInUseError when another process holds the key. @throws AddressInUseError
   */
  start(host: TransportHost, options?: Cancel): Promise<void>
  /**
   * Opens a channel, connecting first where there is no connection. Resolves only when the peer has accepted it. Waits at
   * most 10 s for a connection and 10 s for the answer, unless told to have patience. On libp2p `peer` may also be a name
   * of its options, or a multiaddr. `protocol` must be one of our own host's.
   * @throws PeerUnreachableError (no address answered, or the link broke on the way)
   * @throws DeniedError (the peer, or our own host, does not admit; it has as many channels from us as it
   *   allows, or 4096 that we have opened are open)
   * @throws ProtocolError (either side does not speak it, or the peer proved to be somebody else)
   * @throws MalformedError (not a peer id, not an address), ChannelClosedError (not started, or closed)
   * @throws whatever ErrandError the peer's host refused with, or the signal's reason
   */
  open(peer: PeerId, protocol: string, options?: OpenOptions): Promise<Channel>
  /** Ends every channel and connection with this peer (revocation); settles when they are gone, after a second at most. */
  disconnect(peer: PeerId): Promise<void>
  /** The same network under another key, dialling only: what a ticket's one-time key joins with. libp2p and memory. */
  sibling?(seed: Uint8Array): Promise<Transport>
  /** A signature of ours over these bytes, for where we speak under another key (a sibling's). libp2p and memory. */
  sign?(bytes: Uint8Array): Promise<Uint8Array>
  /** Whether `peer` gave that signature over these bytes. A malformed one is a no. */
  verify?(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): Promise<boolean>
  /** Ends everything (the peers read CHANNEL_CLOSED), releases the key. Takes about a second at most. Idempotent. */
  close(): Promise<void>
}
