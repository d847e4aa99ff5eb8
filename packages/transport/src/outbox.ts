// What a channel has yet to send, as the bytes it will be sent in. A value is copied once, from the encoder's buffer into
// memory the carrier may keep; and the small values of a turn lie side by side, so that they leave as one write.

import { writeItem, writeOptionsFrom } from './codec-writer.ts'
import { FrameTooLargeError } from './errors.ts'
import { HEADER, controlFrame, writeHeader } from './framing.ts'

/**
 * Most bytes of several frames in one write: four chunks of 64 KiB and their headers. On libp2p each write costs as much
 * as encrypting some 10 KiB, and 64 KiB a write is a third slower than 256 KiB.
 */
const MAX_WRITE = 257 * 1024
/** A frame this large gets memory of its own, and is a write alone. */
const LARGE = 128 * 1024
/** Memory that small frames share: at least this; more where turns have needed more lately, but not while nothing waits. */
const MIN_SLAB = 4 * 1024
const MAX_IDLE_SLAB = 16 * 1024

const OPTIONS = writeOptionsFrom(undefined)

export class Outbox {
  #bytes = 0
  /** Whole frames, in order, before those in the slab. */
  readonly #sealed: Uint8Array[] = []
  #slab: Uint8Array = new Uint8Array(0)
  #from = 0
  #to = 0
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
    const { bytes } = writeItem(value, OPTIONS)
    const { length } = bytes
    if (length > maxFrame) throw new FrameTooLargeError(`the value takes ${length} bytes; the limit is ${maxFrame}`)
    const frame = this.#reserve(HEADER + length)
    writeHeader(frame, 0, length)
    frame.set(bytes, HEADER)
  }

  control(kind: number, body?: Uint8Array): void {
    const frame = controlFrame(kind, body)
    this.#reserve(frame.length).set(frame)
  }

  /** The next write, in memory that is never touched again; undefined when nothing waits. */
  take(): Uint8Array | undefined {
    this.#seal()
    const [first] = this.#sealed
    if (first === undefined) return undefined
    let count = 1
    let size = first.length
    for (const next of this.#sealed.slice(1)) {
      if (size + next.length > MAX_WRITE) break
      size += next.length
      count++
    }
    const parts = this.#sealed.splice(0, count)
    this.#bytes -= size
    if (this.#bytes === 0) {
      this.#usual = Math.max(this.#turn, this.#usual >>> 1)
      this.#turn = 0
      if (this.#slab.length > MAX_IDLE_SLAB) this.#dropSlab()
    }
    return count === 1 ? first : Buffer.concat(parts, size)
  }

  clear(): void {
    this.#sealed.length = 0
    this.#bytes = 0
    this.#dropSlab()
  }

  /** Room for one frame. */
  #reserve(length: number): Uint8Array {
    this.#bytes += length
    this.#turn += length
    if (length >= LARGE) {
      this.#seal()
      const frame = Buffer.allocUnsafeSlow(length)
      this.#sealed.push(frame)
      return frame
    }
    if (length > this.#slab.length - this.#to) {
      this.#seal()
      const wanted = Math.max(2 * this.#turn, this.#usual, length)
      this.#slab = Buffer.allocUnsafeSlow(Math.min(Math.max(wanted, MIN_SLAB), MAX_WRITE))
      this.#from = this.#to = 0
    }
    return this.#slab.subarray(this.#to, (this.#to += length))
  }

  #dropSlab(): void {
    this.#slab = new Uint8Array(0)
    this.#from = this.#to = 0
  }

  #seal(): void {
    if (this.#from === this.#to) return
    this.#sealed.push(this.#slab.subarray(this.#from, this.#to))
    this.#from = this.#to
  }
}
