// A libp2p stream as the carrier of one channel. What is avoided here, and why, was found by experiment:
//
// - `for await`, `lpStream` and the like buffer without bound: only the `message` event with pause() and resume().
// - `onDrain()` works once per stream: only events.
// - `drain` is announced to all streams when the connection has room, whether this one's window has or not; taking it
//   at its word would grow the stream's write buffer without bound. Room is when nothing is left in that buffer.
// - `resume()` first hands out what has gathered, then opens the window. Who pauses while it hands out has the window open
//   for good, and the stream is aborted when 4 MiB have gathered: the pause has to wait until it is through.
// - `idle` is said from within the stream's own sending; what is sent there lies until something else is sent.
// - An exception in a listener ends the process: every listener catches.
// - A window is opened again behind each message, with a frame of its own.
// - A stream may be reset before anybody could listen for it.
// - The streams of a connection that was lost close without an error, as finished ones do: an orderly end is only one
//   where the peer's own end of the stream was seen.

import type { Stream } from '@libp2p/interface'
import type { ByteDuplex, DuplexSink } from './duplex.ts'

/** Bytes taken in before a stream's window is opened again: what is less than that answers itself. */
const LOT = 32 * 1024

/** Of libp2p's yamux, what opens the window of a stream; to none of it there is a setting. */
interface YamuxWindow {
  readonly state: number
  readonly recvWindow: number
  readonly recvWindowCapacity: number
  sendWindowUpdate(): void
}
/** `StreamState.Established`: before, an update says that the stream is opened; behind it, it says nothing. */
const ESTABLISHED = 3

/**
 * yamux opens a window again behind each message, however small: a frame back for each request, and one for each answer,
 * which wakes a process that has nothing to do. From here on it does so by the lot. A stream of another muxer stays as it is.
 */
export function openByTheLot(stream: Stream): void {
  const yamux = stream as unknown as Partial<YamuxWindow>
  const update = yamux.sendWindowUpdate
  if (typeof yamux.recvWindowCapacity !== 'number' || typeof yamux.recvWindow !== 'number' || !update) return
  const window = yamux as YamuxWindow
  window.sendWindowUpdate = () => {
    if (window.state === ESTABLISHED && window.recvWindow - window.recvWindowCapacity < LOT) return
    update.call(window)
  }
}

export class StreamDuplex implements ByteDuplex {
  readonly #stream: Stream
  readonly #forsake: () => void
  #sink: DuplexSink | undefined
  #blocked = false
  #paused = false
  #resuming = false
  #closed = false
  #remoteEnded = false

  /** `forsake` drops the connection: the peer is silent on it, and a dial would find it open, and use it. */
  constructor(stream: Stream, forsake: () => void) {
    openByTheLot(stream)
    this.#stream = stream
    this.#forsake = forsake
  }

  attach(sink: DuplexSink): void {
    const stream = this.#stream
    this.#sink = sink
    this.#on('message', (event) => {
      const { data } = event as unknown as { data: Uint8Array | Iterable<Uint8Array> }
      if (data instanceof Uint8Array) sink.data(data)
      else for (const part of data) sink.data(part)
    })
    this.#on('drain', () => this.#unblock())
    this.#on('idle', () => this.#unblock())
    this.#on('remoteCloseWrite', () => {
      this.#remoteEnded = true
      // A carrier ends both ways; the channel knows whether it was time.
      this.end()
    })
    this.#on('close', (event) => this.#close((event as unknown as { error?: Error }).error))
    if (stream.remoteWriteStatus === 'closed') this.#remoteEnded = true
    if (stream.status !== 'open') queueMicrotask(() => this.#close(new Error(`the stream was ${stream.status}`)))
    else if (this.#remoteEnded) this.end()
  }

  write(bytes: Uint8Array): boolean {
    try {
      this.#blocked = !this.#stream.send(bytes)
      return !this.#blocked
    } catch {
      // Closed for writing meanwhile: `close` is on its way, and says it better.
      return true
    }
  }

  pause(): void {
    this.#paused = true
    if (!this.#resuming) this.#attempt(() => this.#stream.pause())
  }

  resume(): void {
    this.#paused = false
    if (this.#resuming) return
    this.#resuming = true
    this.#attempt(() => this.#stream.resume())
    this.#resuming = false
    if (this.#paused) this.#attempt(() => this.#stream.pause())
  }

  end(): void {
    // Waits for the peer to take what was written; `destroy` breaks that off.
    this.#stream.close().catch((error: Error) => this.#stream.abort(error))
  }

  destroy(silent = false): void {
    const error = new Error(silent ? 'the peer is silent' : 'the channel was closed')
    if (silent) this.#attempt(this.#forsake)
    this.#attempt(() => this.#stream.abort(error))
    // A stream that had ended before says nothing any more.
    queueMicrotask(() => this.#close(error))
  }

  /** Behind the stream's own sending, from within which `idle` is said. */
  #unblock(): void {
    queueMicrotask(() =>
      this.#guard(() => {
        if (!this.#blocked || this.#stream.writableNeedsDrain || this.#stream.writeBufferLength > 0) return
        this.#blocked = false
        this.#sink?.drained()
      }),
    )
  }

  #close(error: Error | undefined): void {
    if (this.#closed) return
    // What came before the end may still lie in the stream because we had paused it: at most its read buffer.
    if (this.#stream.readBufferLength > 0) this.resume()
    this.#closed = true
    this.#sink?.closed(error ?? (this.#remoteEnded ? undefined : new Error('the connection closed')))
  }

  #on(type: 'message' | 'drain' | 'idle' | 'remoteCloseWrite' | 'close', listener: (event: Event) => void): void {
    this.#stream.addEventListener(type, (event: Event) => this.#guard(() => listener(event)))
  }

  #guard(act: () => void): void {
    try {
      act()
    } catch (error) {
      this.#stream.abort(error as Error)
    }
  }

  #attempt(act: () => void): void {
    try {
      act()
    } catch {
      // The stream's state was closing: there is nothing left to pause, resume or abort.
    }
  }
}
