// What a channel has yet to send, as the bytes it will be sent in. A value is encoded where it is sent from; and the small
// values of a turn lie side by side, so that they leave as one write.

import { type Place, writeInto, writeItem, writeOptionsFrom } from './codec-writer.ts'
import { FrameTooLargeError } from './errors.ts'
import { HEADER, controlFrame, writeHeader } from './framing.ts'
import { toWrite } from './lent-memory.ts'

/**
 * Most bytes of several frames in one write: four chunks of 64 KiB and their headers. On libp2p each write costs as much
 * as encrypting some 10 KiB, and 64 KiB a write is a third slower than 256 KiB.
 */
const MAX_WRITE = 257 * 1024
/**
 * Most bytes of one frame in one write: a mebibyte and what is around it in three. The window of a stream is a mebibyte,
 * and opens again behind each write that has arrived: so two are on their way while one is taken in. Of 129 to 1100 KiB
 * this is the fastest, by a twelfth against halves.
 */
const MAX_PIECE = 385 * 1024
/** A frame this large that did not fit keeps the memory it was given to itself. */
const LARGE = 128 * 1024
/** Memory that frames share: at least this; more where turns have needed more lately, but not while nothing waits. */
const MIN_SLAB = 4 * 1024
const MAX_IDLE_SLAB = 16 * 1024

/** The encoder wants room for the longest head there is before it writes a short one. */
const SLACK = 16

const OPTIONS = writeOptionsFrom(undefined)
const NOTHING: Buffer = Buffer.alloc(0)

export class Outbox {
  #bytes = 0
  /** Whole frames, in order, before those in the slab. */
  readonly #sealed: Uint8Array[] = []
  #slab: Buffer = NOTHING
  #from = 0
  #to = 0
  readonly #place: Place = { buffer: NOTHING, at: 0 }
  #encoding = false
  /** What a getter of the value says: it comes behind that value, whose place is taken. */
  readonly #behind: Uint8Array[] = []
  #cleared = false
  /** Bytes of the last value, unless it was large: what the next one is taken to need. */
  #likely = 0
  /** Bytes of this turn, that is since the outbox was last empty, and of those before. */
  #turn = 0
  #usual = 0

  /** Bytes waiting. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Encodes and queues a value, which may change afterwards.
   * @throws FrameTooLargeError, NotTransferableError, TooLargeError; then nothing was queued
   */
  value(value: unknown, maxFrame: number): void {
    if (this.#encoding) {
      this.#valueWithin(value, maxFrame)
      return
    }
    try {
      this.#valueAlone(value, maxFrame)
    } finally {
      if (this.#behind.length > 0) for (const frame of this.#behind.splice(0)) this.#append(frame)
    }
  }

  control(kind: number, body?: Uint8Array): void {
    const frame = controlFrame(kind, body)
    if (this.#encoding) this.#behind.push(frame)
    else if (this.#slab.length - this.#to < frame.length) this.#append(frame)
    else {
      this.#slab.set(frame, this.#to)
      this.#to += frame.length
      this.#count(frame.length)
    }
  }

  /** The next write, in memory that is never touched again; undefined when nothing waits. */
  take(): Uint8Array | undefined {
    this.#seal()
    const sealed = this.#sealed
    const first = sealed[0]
    if (first === undefined) return undefined
    let count = 1
    let size = first.length
    for (; count < sealed.length; count++) {
      const more = size + sealed[count]!.length
      if (more > MAX_WRITE) break
      size = more
    }
    let write = first
    if (size > MAX_PIECE) {
      size = MAX_PIECE
      write = first.subarray(0, MAX_PIECE)
      sealed[0] = first.subarray(MAX_PIECE)
    } else if (count === 1) sealed.shift()
    else {
      const parts = sealed.splice(0, count)
      write = Buffer.concat(parts, size)
      for (const part of parts) toWrite.used(part)
      toWrite.lend(write)
    }
    this.#bytes -= size
    if (this.#bytes === 0) {
      this.#usual = Math.max(this.#turn, this.#usual >>> 1)
      this.#turn = 0
      if (this.#slab.length > MAX_IDLE_SLAB) this.#dropSlab()
    }
    return write
  }

  /** For good: nothing is queued any more. */
  clear(): void {
    this.#cleared = true
    this.#sealed.length = 0
    this.#bytes = 0
    this.#slab = NOTHING
    this.#from = this.#to = 0
  }

  #valueAlone(value: unknown, maxFrame: number): void {
    // What is longer than there is room for gets larger memory from the encoder, with a copy of what is in this one.
    const likely = HEADER + this.#likely + SLACK
    if (this.#slab.length - this.#to < likely) this.#renewSlab(likely)
    const slab = this.#slab
    const start = this.#to
    const { memory, size } = this.#encode(value, slab, start + HEADER)
    if (size > maxFrame) throw tooLarge(size, maxFrame)
    // A getter has ended the channel: nothing is sent any more.
    if (this.#slab !== slab) return
    writeHeader(memory, start, size)
    const end = start + HEADER + size
    this.#likely = size < LARGE ? size : 0
    if (memory === slab) {
      this.#to = end
      this.#count(end - start)
    } else this.#takeLarger(memory, start, end)
  }

  #encode(value: unknown, buffer: Buffer, at: number): { memory: Buffer; size: number } {
    const place = this.#place
    place.buffer = buffer
    place.at = at
    this.#encoding = true
    try {
      const size = writeInto(value, OPTIONS, place)
      return { memory: place.buffer, size }
    } finally {
      this.#encoding = false
      place.buffer = NOTHING
    }
  }

  /** What a getter of a value sends: the slab belongs to that value, whose bytes may be half written. */
  #valueWithin(value: unknown, maxFrame: number): void {
    const { bytes } = writeItem(value, OPTIONS)
    if (bytes.length > maxFrame) throw tooLarge(bytes.length, maxFrame)
    const frame = new Uint8Array(HEADER + bytes.length)
    writeHeader(frame, 0, bytes.length)
    frame.set(bytes, HEADER)
    this.#append(frame)
  }

  #append(frame: Uint8Array): void {
    if (this.#cleared) return
    this.#seal()
    this.#sealed.push(frame)
    this.#count(frame.length)
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    this.#turn += bytes
  }

  /** The encoder needed more room than the slab had: this has a copy of it in front, which nobody needs. */
  #takeLarger(memory: Buffer, start: number, end: number): void {
    this.#seal()
    toWrite.lend(memory)
    toWrite.used(memory.subarray(0, start))
    if (end - start < LARGE) {
      this.#dropSlab()
      this.#slab = memory
      this.#from = start
      this.#to = end
      this.#count(end - start)
    } else {
      this.#sealed.push(memory.subarray(start, end))
      toWrite.used(memory.subarray(end))
      this.#bytes += end - start
    }
  }

  #renewSlab(least: number): void {
    this.#dropSlab()
    const wanted = Math.max(2 * this.#turn, this.#usual + SLACK, least, MIN_SLAB)
    this.#slab = Buffer.allocUnsafeSlow(Math.min(wanted, MAX_WRITE))
    toWrite.lend(this.#slab)
  }

  #dropSlab(): void {
    this.#seal()
    // One that is full may have been given back already, with its last frame.
    if (this.#to < this.#slab.length) toWrite.used(this.#slab.subarray(this.#to))
    this.#slab = NOTHING
    this.#from = this.#to = 0
  }

  #seal(): void {
    if (this.#from === this.#to) return
    this.#sealed.push(this.#slab.subarray(this.#from, this.#to))
    this.#from = this.#to
  }
}

function tooLarge(length: number, maxFrame: number): FrameTooLargeError {
  return new FrameTooLargeError(`the value takes ${length} bytes; the limit is ${maxFrame}`)
}
