// The bytes of a channel: a header of four bytes, big-endian, then that many bytes of body.
//
//   0                        a sign of life, nothing more
//   1 … 2^31 - 1             a value: one CBOR item of that length
//   1kkkkkkk llllllll×3      (top bit set) a control frame of kind k with a body of l bytes, at most 4096
//
//   kind  name     body                      sent by, and when
//   1     HELLO    { v: 1, protocol }        the opener, first
//   2     WELCOME  none                      the acceptor, first, when its host has taken the channel over
//   3     END      none                      either, once: no more values from me (signs of life may still follow)
//   4     ABORT    { code, message, hint? }  either, once: nothing after this counts
//
// END and ABORT are frames of our own because a carrier's half-close says too little: on libp2p the streams of a peer
// that was killed close without an error, just as those of one that had finished. The carrier itself is ended only
// after END has gone both ways, so seeing it end any earlier means that the link was lost.

import { FrameTooLargeError, ProtocolError } from './errors.ts'
import { made, toRead } from './lent-memory.ts'

export const HELLO = 1
export const WELCOME = 2
export const END = 3
export const ABORT = 4

/** Bytes of a frame's header. */
export const HEADER = 4
/** Largest body of a control frame in bytes: a protocol's name or the sentence of an error. */
export const MAX_CONTROL = 4096

const CONTROL_BIT = 0x8000_0000
/**
 * A body announced to be larger is not allocated at once but grows with what really arrives. A mebibyte and the message
 * around it: that is what bulk travels in, and growing by the last few bytes would cost a copy of the whole.
 */
const TRUSTED_ALLOCATION = (1 << 20) + 32 * 1024

/** A whole control frame. */
export function controlFrame(kind: number, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const frame = new Uint8Array(HEADER + body.length)
  writeHeader(frame, 0, (CONTROL_BIT | (kind << 24) | body.length) >>> 0)
  frame.set(body, HEADER)
  return frame
}

/** The header of a value of `length` bytes, written into `target` at `offset`. */
export function writeHeader(target: Uint8Array, offset: number, length: number): void {
  target[offset] = length >>> 24
  target[offset + 1] = length >>> 16
  target[offset + 2] = length >>> 8
  target[offset + 3] = length
}

function readHeader(source: Uint8Array, offset: number): number {
  const low = (source[offset + 1]! << 16) | (source[offset + 2]! << 8) | source[offset + 3]!
  return source[offset]! * 0x100_0000 + low
}

/** What a decoder finds. Bodies are views of what was pushed wherever a frame did not cross chunks. */
export interface FrameListener {
  value(body: Uint8Array): void
  control(kind: number, body: Uint8Array): void
}

/**
 * Cuts a stream of bytes into frames. Limits are checked on the header, before a byte of the body is kept.
 * After an error it must not be used again; the bytes behind a broken header mean nothing.
 */
export class FrameDecoder {
  /** Largest value taken, in bytes; 0 refuses every value (before the handshake is through). */
  limit = 0
  readonly #listener: FrameListener
  #header = 0
  #headerBytes = 0
  /** Bytes the body of the current frame is to have; 0 while reading a header. */
  #need = 0
  /** 0 for a value. */
  #kind = 0
  #body: Uint8Array | undefined
  #have = 0
  #stopped = false

  constructor(listener: FrameListener) {
    this.#listener = listener
  }

  /** Drops everything from now on, also what is left of the chunk being pushed. */
  stop(): void {
    this.#stopped = true
    this.#body = undefined
  }

  /** @throws FrameTooLargeError, ProtocolError */
  push(chunk: Uint8Array): void {
    let at = 0
    let headers = 0
    while (at < chunk.length && !this.#stopped) {
      if (this.#need > 0) at = this.#readBody(chunk, at)
      else if (this.#headerBytes === 0 && chunk.length - at >= HEADER) {
        this.#header = readHeader(chunk, at)
        at += HEADER
        headers += HEADER
        this.#begin()
      } else {
        this.#header = ((this.#header << 8) | chunk[at++]!) >>> 0
        headers++
        if (++this.#headerBytes === HEADER) this.#begin()
      }
    }
    // Where all else in it was copied it goes now.
    if (headers > 0 && toRead.has(chunk)) toRead.used(chunk.subarray(0, headers))
  }

  #begin(): void {
    const header = this.#header
    this.#header = 0
    this.#headerBytes = 0
    if (header === 0) return
    if (header >= CONTROL_BIT) {
      this.#kind = (header >>> 24) & 0x7f
      this.#need = header & 0xff_ffff
      if (this.#kind < HELLO || this.#kind > ABORT) throw new ProtocolError(`unknown control frame ${this.#kind}`)
      if (this.#need > MAX_CONTROL) {
        throw new FrameTooLargeError(`a control frame of ${this.#need} bytes; the limit is ${MAX_CONTROL}`)
      }
      if (this.#need === 0) this.#listener.control(this.#kind, new Uint8Array(0))
      return
    }
    if (header > this.limit) {
      throw this.limit === 0
        ? new ProtocolError('a value before the handshake')
        : new FrameTooLargeError(`a value of ${header} bytes; the limit of this protocol is ${this.limit}`)
    }
    this.#kind = 0
    this.#need = header
  }

  #readBody(chunk: Uint8Array, at: number): number {
    const missing = this.#need - this.#have
    const taken = Math.min(missing, chunk.length - at)
    // A plain Uint8Array even where the chunk is a Buffer: the codec must not hand out Buffers.
    const part = new Uint8Array(chunk.buffer, chunk.byteOffset + at, taken)
    if (this.#have === 0 && taken === this.#need) this.#emit(part)
    else {
      this.#reserve(this.#have + taken).set(part, this.#have)
      toRead.used(part)
      this.#have += taken
      if (this.#have === this.#need) this.#emit(this.#body!.subarray(0, this.#need))
    }
    return at + taken
  }

  /** One buffer per frame rather than a list of chunks: a peer that dribbles single bytes must not cost a view each. */
  #reserve(bytes: number): Uint8Array {
    const body = this.#body
    if (body !== undefined && body.length >= bytes) return body
    const size = Math.min(this.#need, Math.max(TRUSTED_ALLOCATION, bytes, (body?.length ?? 0) * 2))
    const slab = Buffer.allocUnsafeSlow(size)
    made(slab.buffer)
    const grown = new Uint8Array(slab.buffer, slab.byteOffset, size)
    if (body !== undefined) grown.set(body.subarray(0, this.#have))
    this.#body = grown
    return grown
  }

  #emit(body: Uint8Array): void {
    const kind = this.#kind
    this.#need = 0
    this.#have = 0
    this.#body = undefined
    if (kind === 0) this.#listener.value(body)
    else this.#listener.control(kind, body)
  }
}
