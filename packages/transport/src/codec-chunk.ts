// Chunks: values one behind the other, each encoded when it is added. The frame of the data plane, on the wire and on disk.

import type { CodecLimits } from './codec-limits.ts'
import { CHUNK_SLACK, limitsFrom } from './codec-limits.ts'
import { readSequence } from './codec-reader.ts'
import { Shapes } from './codec-shapes.ts'
import type { EncodeOptions, Place, WriteOptions } from './codec-writer.ts'
import { writeInto, writeOptionsFrom, writtenItems } from './codec-writer.ts'
import { ErrandError, TooLargeError } from './errors.ts'

/** Collects values into one chunk: a CBOR sequence that can be decoded alone. */
export interface ChunkWriter {
  /** Values in the chunk. */
  readonly count: number
  /** Its size so far. */
  readonly bytes: number
  /**
   * Encodes a value before it returns, so the caller may change the value at once, and gives the bytes it took.
   * When it throws, the chunk is as it was.
   * @throws NotTransferableError
   * @throws TooLargeError when the value is beyond a limit, or the chunk beyond one largest value and 64 KiB
   */
  add(value: unknown): number
  /**
   * The chunk, in a buffer of its own; the writer is empty again and may be used for the next one.
   * @throws Error within `add`, where a getter of the value asks for it
   */
  finish(): Uint8Array<ArrayBuffer>
  /** Copies what was added from byte `from` on to the same place of `target`, which may be shared and must be large enough. */
  mirror(target: Uint8Array, from: number): void
}

/** An empty writer. It holds at most one chunk, and nothing that would have to be closed. */
export function createChunkWriter(options?: EncodeOptions): ChunkWriter {
  return new GrowingChunk(writeOptionsFrom(options))
}

/**
 * The values of one chunk, in order.
 * @param limits of each value; the whole chunk may be 64 KiB and 65 536 items more than one value
 * @param options `copy`: as for `decode`
 * @throws MalformedError, TooLargeError
 */
export function decodeChunk(
  bytes: Uint8Array,
  limits?: Partial<CodecLimits>,
  options?: { readonly copy?: boolean | undefined },
): unknown[] {
  return readSequence(bytes, limitsFrom(limits), options?.copy ?? false)
}

/** A lone record usually fits; a writer that waits for the next one holds no more than this. */
const SMALL = 512
/** Holds a usual chunk and the record that closed it. */
const LARGE: number = 128 * 1024
/** Less room than this is not worth trying. */
const LOW = 128
const EMPTY: Buffer = Buffer.alloc(0)
/** The one buffer of that size at rest: chunks are filled one after the other far more often than side by side. */
let spare: Buffer | undefined

class GrowingChunk implements ChunkWriter {
  count = 0
  readonly #options: WriteOptions
  readonly #place: Place = { buffer: EMPTY, at: 0 }
  #items = 0
  #shapes: Shapes | undefined
  /** Calls of `add` that have not returned, and where the first of them writes. */
  #adding = 0
  #filling: Buffer | undefined

  constructor(options: WriteOptions) {
    this.#options = options
  }

  get bytes(): number {
    return this.#place.at
  }

  add(value: unknown): number {
    const shapes = this.#shapes
    this.#adding++
    // Away until all is well: where the stack ends while a definition is taken back, it does not come back.
    this.#shapes = undefined
    try {
      const size = this.#write(value, shapes)
      // A lone record needs no shapes; from the second one on they pay, unless nothing repeats.
      if (this.count++ === 0) this.#shapes = new Shapes()
      else if (shapes?.isBarren === false) this.#shapes = shapes
      return size
    } catch (error) {
      if (error instanceof ErrandError) this.#shapes = shapes
      throw error
    } finally {
      if (--this.#adding === 0) this.#filling = undefined
    }
  }

  #write(value: unknown, shapes: Shapes | undefined): number {
    const place = this.#place
    const defined = shapes === undefined ? 0 : shapes.count
    // What a getter adds while the fast way is writing goes to another buffer: here it would be written over.
    if (place.buffer.length - place.at < LOW || place.buffer === this.#filling) this.#grow()
    this.#filling ??= place.buffer
    const size = writeInto(value, this.#options, place, shapes)
    const { limits, name } = this.#options
    // Read after writing: a getter of the value may itself have added to this chunk.
    const end = place.at + size
    const items = this.#items + writtenItems
    if (end > limits.bytes + CHUNK_SLACK || items > limits.items + CHUNK_SLACK) {
      shapes?.undefine(defined)
      throw new TooLargeError(`${name} does not fit into the chunk any more`, name)
    }
    place.at = end
    this.#items = items
    return size
  }

  finish(): Uint8Array<ArrayBuffer> {
    if (this.#adding > 0) throw new Error('the chunk cannot be finished while a value is being added to it')
    const { buffer, at: size } = this.#place
    this.#place.at = 0
    this.count = 0
    this.#items = 0
    this.#shapes = undefined
    if (buffer.length > SMALL) this.#place.buffer = EMPTY
    // Beyond the usual size it is handed over as it is, unless most of it is air.
    if (buffer.length > LARGE && size * 2 > buffer.length) return new Uint8Array(buffer.buffer as ArrayBuffer, 0, size)
    if (buffer.length === LARGE) spare = buffer
    return ownCopy(buffer, 0, size)
  }

  mirror(target: Uint8Array, from: number): void {
    const { buffer, at } = this.#place
    buffer.copy(target, from, from, at)
  }

  #grow(): void {
    const place = this.#place
    const { buffer, at } = place
    if (at === 0 && buffer.length < SMALL) place.buffer = Buffer.allocUnsafeSlow(SMALL)
    else {
      if (buffer.length < LARGE) {
        place.buffer = spare ?? Buffer.allocUnsafeSlow(LARGE)
        spare = undefined
      } else place.buffer = Buffer.allocUnsafeSlow(buffer.length * 2)
      buffer.copy(place.buffer, 0, 0, at)
      if (buffer.length === LARGE && buffer !== this.#filling) spare = buffer
    }
  }
}

/** The bytes from `start` to `end` in memory of their own. */
export function ownCopy(buffer: Buffer, start: number, end: number): Uint8Array<ArrayBuffer> {
  const size = end - start
  // Without the zeros first; below that the engine is faster by itself.
  const own = size > 1024 ? new Uint8Array(Buffer.allocUnsafeSlow(size).buffer) : new Uint8Array(size)
  buffer.copy(own, 0, start, end)
  return own
}
