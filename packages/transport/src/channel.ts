// The one implementation of Channel, over any carrier of bytes: opening, order, limits, back-pressure, both endings.

import { decodeReason, encodeReason } from './abort-reason.ts'
import { type Clock, type Timer, systemClock } from './clock.ts'
import { decode, encode } from './codec.ts'
import type { ByteDuplex } from './duplex.ts'
import { ChannelClosedError, ChannelFullError, ErrandError, PeerUnreachableError, ProtocolError } from './errors.ts'
import { ABORT, END, FrameDecoder, HEADER, HELLO, WELCOME, controlFrame } from './framing.ts'
import { Heartbeat } from './heartbeat.ts'
import { DONE, Inbox } from './inbox.ts'
import { Outbox } from './outbox.ts'
import type { Cancel, Channel, ChannelEnd, PeerId, Protocol } from './transport.ts'

/** Version of framing and handshake; a peer of another one is refused in the handshake. */
const VERSION = 1
/** Bytes waiting to be sent beyond which `send` makes its caller wait; it goes on at half. */
const OUTBOX_HIGH = 256 * 1024
/** Bytes waiting to be sent beyond which `send` refuses: for senders who do not wait. */
const OUTBOX_FULL = 16 * 1024 * 1024
/** How long a peer may take from connecting to its first frame. */
const HANDSHAKE_TIMEOUT = 10_000
/** How long an aborted channel keeps its carrier to let the reason arrive. */
const LINGER = 1_000
/** How long a peer that has ended as we have may say nothing at all and not let go of the carrier. */
const CLOSE_TIMEOUT = 10_000
/** How often a channel that is not read writes a sign of life: a socket tells of its peer's death only when it is used. */
const PROBE = 1_000

/** How a side takes part in the handshake. */
export type Role = {
  /** The other end is a process of ours: it may take its time, and when it is gone that shows. */
  readonly patient?: boolean
} & (
  | { readonly opens: Protocol }
  | {
      /** The protocol asked for, or throws the refusal. */
      admit(name: string): Protocol
      /** The host's turn; it may refuse by aborting or throwing. */
      accept(channel: Channel): void | Promise<void>
    }
)

const SENT: Promise<void> = Promise.resolve()
const BEAT: Uint8Array = new Uint8Array(HEADER)

/** A channel between two peers; see `Channel` for what it promises. Ends its carrier itself, in every case. */
export class FramedChannel implements Channel {
  readonly peer: PeerId
  readonly closed: Promise<ChannelEnd>
  /** Settles (never rejects) when the carrier has been let go of: at the latest `LINGER` after an abort. */
  readonly gone: Promise<void>
  readonly #duplex: ByteDuplex
  readonly #role: Role
  readonly #clock: Clock
  readonly #decoder: FrameDecoder
  readonly #settleClosed: (end: ChannelEnd) => void
  readonly #settleGone: () => void
  #protocol: Protocol | undefined
  #opened: PromiseWithResolvers<void> | undefined
  #open = false
  #end: ChannelEnd | undefined
  #heartbeat: Heartbeat | undefined
  /** One at a time: first the handshake's limit, later the linger's. */
  #deadline: Timer | undefined
  #gone = false
  #lingering = false

  // Outgoing.
  readonly #outbox = new Outbox()
  #full = false
  #flushing = false
  #senders: PromiseWithResolvers<void>[] = []
  #ending: PromiseWithResolvers<void> | undefined
  #endSent = false

  // Incoming.
  readonly #inbox: Inbox
  #probe: Timer | undefined
  #endReceived = false
  #reading = false

  constructor(duplex: ByteDuplex, peer: PeerId, role: Role, clock: Clock = systemClock) {
    this.peer = peer
    this.#duplex = duplex
    this.#role = role
    this.#clock = clock
    const closed = Promise.withResolvers<ChannelEnd>()
    this.closed = closed.promise
    this.#settleClosed = closed.resolve
    const gone = Promise.withResolvers<void>()
    this.gone = gone.promise
    this.#settleGone = gone.resolve
    this.#inbox = new Inbox({
      pause: () => this.#pause(),
      resume: () => this.#resume(),
      malformed: (error) => this.#finish({ error }, { tell: true }),
    })
    this.#decoder = new FrameDecoder({
      value: (body) => this.#onValue(body),
      control: (kind, body) => this.#onControl(kind, body),
    })
    if (!role.patient) this.#setDeadline(HANDSHAKE_TIMEOUT, () => this.#onHandshakeTimeout())
    duplex.attach({
      data: (bytes) => this.#onData(bytes),
      drained: () => this.#onDrained(),
      closed: (error) => this.#onClosed(error),
    })
    if ('opens' in role) {
      this.#protocol = role.opens
      this.#sendControl(HELLO, encode({ v: VERSION, protocol: role.opens.name }))
    }
  }

  get protocol(): string {
    return this.#protocol?.name ?? ''
  }

  /**
   * Waits for the handshake: at the opener for the acceptor's word, at the acceptor until its host has taken over. Once;
   * a channel that is refused or given up is ended.
   * @throws the refusal, PeerUnreachableError, or the signal's reason
   */
  async opened(options: Cancel = {}): Promise<void> {
    const { signal } = options
    const giveUp = (): void => this.#finish({ error: errorOf(signal!.reason) }, { tell: true })
    if (signal?.aborted) giveUp()
    if (this.#end?.error !== undefined) throw this.#end.error
    if (this.#open) return
    const opened = Promise.withResolvers<void>()
    this.#opened = opened
    signal?.addEventListener('abort', giveUp, { once: true })
    try {
      await opened.promise
    } finally {
      signal?.removeEventListener('abort', giveUp)
    }
  }

  send(value: unknown, options?: Cancel): Promise<void> {
    const signal = options?.signal
    try {
      signal?.throwIfAborted()
      if (this.#end !== undefined || this.#ending !== undefined) throw this.#closedError()
      if (this.#outbox.bytes >= OUTBOX_FULL) {
        throw new ChannelFullError(`${this.#outbox.bytes} bytes wait to be sent to ${this.peer}`, {
          hint: 'await send() before sending more',
        })
      }
      this.#outbox.value(value, this.#protocol!.maxFrame)
      // A getter of the value may have ended the channel, and then nothing was queued.
      if (this.#end !== undefined) throw this.#closedError()
    } catch (error) {
      return Promise.reject(error as Error)
    }
    this.#scheduleFlush()
    if (this.#outbox.bytes < OUTBOX_HIGH) return SENT
    return this.#roomInOutbox(signal)
  }

  /** Settles when all that was sent, and the end itself, has been handed to the carrier or the channel has ended. */
  end(): Promise<void> {
    if (this.#ending === undefined) {
      this.#ending = Promise.withResolvers<void>()
      if (this.#end !== undefined) this.#ending.resolve()
      else this.#sendControl(END)
    }
    return this.#ending.promise
  }

  abort(reason: Error = new ChannelClosedError('the channel was aborted')): void {
    // Where both have ended there is nothing left to abort, only a carrier not to wait for for ever.
    if (this.#end === undefined && this.#done()) this.#linger()
    else this.#finish({ error: errorOf(reason) }, { tell: true, dropInbox: true })
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown, undefined> {
    if (this.#reading) throw new TypeError('a channel is iterated once')
    this.#reading = true
    let left = false
    return {
      next: () => (left ? Promise.resolve(DONE) : this.#inbox.read()),
      return: () => {
        left = true
        // Behind the code that left: if it was an error, that may be a better reason (see `TransportHost.accept`).
        if (!this.#inbox.finished) setImmediate(() => this.abort(new ChannelClosedError('the reader left')))
        return Promise.resolve(DONE)
      },
    }
  }

  /** Ends in order where the peer has ended already, else aborts; then waits until the channel is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#endReceived) void this.end()
    else this.abort()
    await this.closed
  }

  // --- sending

  #sendControl(kind: number, body?: Uint8Array): void {
    this.#outbox.control(kind, body)
    this.#scheduleFlush()
  }

  #scheduleFlush(): void {
    if (this.#flushing || this.#full) return
    this.#flushing = true
    // Behind all promise jobs of this turn: also a loop of `await send()` leaves as one write.
    queueMicrotask(() => process.nextTick(() => this.#flush()))
  }

  #flush(): void {
    this.#flushing = false
    while (!this.#full && this.#end === undefined) {
      const write = this.#outbox.take()
      if (write === undefined) break
      this.#write(write)
    }
    if (this.#end !== undefined) return
    if (this.#outbox.bytes < OUTBOX_HIGH / 2) for (const sender of this.#senders.splice(0)) sender.resolve()
    if (this.#ending !== undefined && this.#outbox.bytes === 0 && !this.#endSent) {
      this.#endSent = true
      this.#ending.resolve()
      this.#endCarrierIfDone()
    }
  }

  #write(bytes: Uint8Array): void {
    this.#heartbeat?.sent()
    if (!this.#duplex.write(bytes)) this.#full = true
  }

  /** Not behind a full carrier, where it would only pile up: then the peer is not listening, and knows it. */
  #beat(): void {
    if (!this.#full && this.#outbox.bytes === 0 && !this.#done()) this.#write(BEAT)
  }

  #onDrained(): void {
    this.#full = false
    this.#flush()
  }

  #roomInOutbox(signal: AbortSignal | undefined): Promise<void> {
    const room = Promise.withResolvers<void>()
    this.#senders.push(room)
    if (signal === undefined) return room.promise
    const giveUp = (): void => {
      this.#senders = this.#senders.filter((sender) => sender !== room)
      room.reject(errorOf(signal.reason))
    }
    signal.addEventListener('abort', giveUp, { once: true })
    return room.promise.finally(() => signal.removeEventListener('abort', giveUp))
  }

  // --- receiving

  #onData(bytes: Uint8Array): void {
    if (this.#end !== undefined) return
    this.#heartbeat?.heard()
    if (this.#done() && !this.#lingering) this.#awaitClose()
    try {
      this.#decoder.push(bytes)
    } catch (error) {
      // Anything else is a mistake on our side, and not the peer's to read.
      const own = new ErrandError('INTERNAL', 'the peer failed to answer', { cause: error })
      this.#finish({ error: error instanceof ErrandError ? error : own }, { tell: true })
    }
  }

  #onValue(body: Uint8Array): void {
    if (!this.#open || this.#endReceived) {
      throw new ProtocolError(this.#endReceived ? 'a value after the end' : 'a value before the handshake')
    }
    this.#inbox.push(body)
  }

  #onControl(kind: number, body: Uint8Array): void {
    if (kind === ABORT) {
      this.#finish({ error: decodeReason(body) })
      this.#duplex.destroy()
    } else if (kind === HELLO && !this.#open && 'admit' in this.#role) this.#welcome(this.#role, body)
    else if (kind === WELCOME && !this.#open && 'opens' in this.#role) {
      this.#begin(this.#role.opens)
      this.#opened?.resolve()
    } else if (kind === END && this.#open && !this.#endReceived) {
      this.#endReceived = true
      this.#inbox.close()
      this.#endCarrierIfDone()
    } else throw new ProtocolError(`control frame ${kind} out of place`)
  }

  #pause(): void {
    if (this.#end !== undefined) return
    this.#duplex.pause()
    this.#probe = this.#clock.every(PROBE, () => this.#beat())
  }

  #resume(): void {
    if (this.#end !== undefined) return
    this.#probe?.stop()
    this.#heartbeat?.heard()
    this.#duplex.resume()
  }

  // --- beginning and ending

  #welcome(role: Exclude<Role, { opens: Protocol }>, body: Uint8Array): void {
    const hello = decode(body) as { v?: unknown; protocol?: unknown } | null
    if (hello?.v !== VERSION || typeof hello.protocol !== 'string') {
      throw new ProtocolError(`this peer speaks version ${VERSION} of errand's channels`, {
        hint: 'the two errands are too far apart: update the older one',
      })
    }
    this.#begin(role.admit(hello.protocol))
    // First in the queue, before anything the host sends; taken back by an abort, which empties the queue.
    this.#sendControl(WELCOME)
    void role.accept(this)?.catch((error: unknown) => this.abort(errorOf(error)))
    this.#opened?.resolve()
  }

  #begin(protocol: Protocol): void {
    this.#protocol = protocol
    this.#open = true
    this.#decoder.limit = protocol.maxFrame
    this.#deadline?.stop()
    if (protocol.heartbeat === undefined) return
    const pulse = {
      beat: () => this.#beat(),
      silent: () => {
        const error = new PeerUnreachableError(
          `no sign of life from ${this.peer} for ${protocol.heartbeat!.suspicion} ms`,
          { silent: true },
        )
        this.#finish({ error })
        this.#duplex.destroy(true)
      },
      deaf: () => this.#inbox.paused,
    }
    this.#heartbeat = new Heartbeat(protocol.heartbeat, pulse, this.#clock)
  }

  #onHandshakeTimeout(): void {
    const error = new PeerUnreachableError(`${this.peer} did not answer within ${HANDSHAKE_TIMEOUT} ms`)
    this.#finish({ error })
    // A peer that was reached and stays dumb is as good as silent; but one that never asks for anything is only rude.
    this.#duplex.destroy('opens' in this.#role)
  }

  #endCarrierIfDone(): void {
    if (!this.#done() || this.#end !== undefined) return
    // No values come any more, however slowly we read; but what is paused would not see the carrier's end.
    if (this.#inbox.paused) this.#resume()
    this.#duplex.end()
    this.#awaitClose()
  }

  /** A peer that is slow to read what we have said gives signs of life meanwhile, also behind its END. */
  #awaitClose(): void {
    this.#setDeadline(CLOSE_TIMEOUT, () => {
      // Once more, should it have been us who stood still: what came meanwhile is read in between.
      this.#setDeadline(LINGER, () => {
        this.#finish({ error: new PeerUnreachableError(`${this.peer} has ended but does not close the channel`) })
        this.#duplex.destroy()
      })
    })
  }

  /** Both sides have said all they had to; only the carrier's own end is still to come. */
  #done(): boolean {
    return this.#endSent && this.#endReceived
  }

  #onClosed(error?: Error): void {
    this.#gone = true
    this.#deadline?.stop()
    if (this.#done() && error === undefined) this.#finish({})
    else this.#finish({ error: new PeerUnreachableError(`the link to ${this.peer} was lost`, { cause: error }) })
    this.#settleGone()
  }

  /**
   * The one ending; later ones change nothing. What has arrived stays readable (`dropInbox` apart), then the iteration
   * throws. `tell`: the peer is given the reason, and the carrier `LINGER` to deliver it; otherwise the carrier is the
   * caller's to destroy.
   */
  #finish(end: ChannelEnd, how: { tell?: boolean; dropInbox?: boolean } = {}): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#decoder.stop()
    this.#heartbeat?.stop()
    this.#probe?.stop()
    this.#deadline?.stop()
    this.#outbox.clear()
    if (how.dropInbox) this.#inbox.abort(end.error!)
    else this.#inbox.close(end.error)
    for (const sender of this.#senders.splice(0)) sender.reject(this.#closedError())
    this.#ending?.resolve()
    if (end.error !== undefined) this.#opened?.reject(end.error)
    this.#settleClosed(end)
    if (!how.tell || this.#gone) return
    this.#duplex.write(controlFrame(ABORT, encodeReason(end.error!)))
    this.#duplex.end()
    this.#linger()
    // Read on (and drop), or the carrier would never see that the peer has let go.
    if (this.#inbox.paused) this.#duplex.resume()
  }

  #linger(): void {
    this.#lingering = true
    if (!this.#gone) this.#setDeadline(LINGER, () => this.#duplex.destroy())
  }

  #setDeadline(ms: number, act: () => void): void {
    this.#deadline?.stop()
    this.#deadline = this.#clock.after(ms, act)
  }

  #closedError(): ChannelClosedError {
    const cause = this.#end?.error
    if (this.#end === undefined) return new ChannelClosedError('end() was called on this channel')
    return new ChannelClosedError(`the channel to ${this.peer} is closed${cause ? `: ${cause.message}` : ''}`, {
      cause,
    })
  }
}

/** For what may be anything at run time: the reason of a signal, or what a caller without types gave. */
function errorOf(reason: unknown): Error {
  return reason instanceof Error ? reason : new ChannelClosedError(String(reason))
}
