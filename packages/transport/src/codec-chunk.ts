// Chunks: values one behind the other, each encoded when it is added. The frame of the data plane, on the wire and on disk.

import type { CodecLimits } from './codec-limits.ts'
import { CHUNK_SLACK, limitsFrom } from './codec-limits.ts'
import { readSequence } from './codec-reader.ts'
import type { EncodeOptions, WriteOptions } from './codec-writer.ts'
import { Shapes, writeItem, writeOptionsFrom } from './codec-writer.ts'
import { TooLargeError } from './errors.ts'

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
  /** The chunk, in a buffer of its own; the writer is empty again and may be used for the next one. */
  finish(): Uint8Array<ArrayBuffer>
}

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
const EMPTY: Uint8Array<ArrayBuffer> = new Uint8Array()
/** The one buffer of that size at rest: chunks are filled one after the other far more often than side by side. */
let spare: Uint8Array<ArrayBuffer> | undefined

class GrowingChunk implements ChunkWriter {
  count = 0
  bytes = 0
  readonly #options: WriteOptions
  #items = 0
  #shapes: Shapes | undefined
  #buffer: Uint8Array<ArrayBuffer> = EMPTY

  constructor(options: WriteOptions) {
    this.#options = options
  }

  add(value: unknown): number {
    try {
      return this.#add(value)
    } catch (error) {
      this.#shapes?.forget()
      throw error
    }
  }

  #add(value: unknown): number {
    const { bytes, items } = writeItem(value, this.#options, this.#shapes)
    const { limits, name } = this.#options
    // Read after writing: a getter of the value may itself have added to this chunk.
    const size = this.bytes + bytes.byteLength
    if (size > limits.bytes + CHUNK_SLACK || this.#items + items > limits.items + CHUNK_SLACK) {
      throw new TooLargeError(`${name} does not fit into the chunk any more`, name)
    }
    if (size > this.#buffer.byteLength) this.#grow(size)
    this.#buffer.set(bytes, this.bytes)
    this.bytes = size
    this.#items += items
    // A lone record needs no shapes; from the second one on they pay, unless nothing repeats.
    if (this.count++ === 0) this.#shapes = new Shapes()
    else if (this.#shapes?.isBarren === true) this.#shapes = undefined
    return bytes.byteLength
  }

  finish(): Uint8Array<ArrayBuffer> {
    const buffer = this.#buffer
    const size = this.bytes
    this.bytes = 0
    this.count = 0
    this.#items = 0
    this.#shapes = undefined
    if (buffer.byteLength > SMALL) this.#buffer = EMPTY
    // Beyond the usual size it is handed over as it is, unless most of it is air.
    if (buffer.byteLength > LARGE && size * 2 > buffer.byteLength) return buffer.subarray(0, size)
    if (buffer.byteLength === LARGE) spare = buffer
    return buffer.slice(0, size)
  }

  #grow(size: number): void {
    let grown: Uint8Array<ArrayBuffer>
    if (size <= SMALL) grown = new Uint8Array(SMALL)
    else if (size > LARGE) grown = new Uint8Array(Math.max(size, this.#buffer.byteLength * 2))
    else {
      grown = spare ?? new Uint8Array(LARGE)
      spare = undefined
    }
    grown.set(this.#buffer.subarray(0, this.bytes))
    if (this.#buffer.byteLength === LARGE) spare = this.#buffer
    this.#buffer = grown
  }
}
