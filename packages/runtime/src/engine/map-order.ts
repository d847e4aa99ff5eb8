// What a map and those who work for it say to each other, within the inputs and the records of an execution.
//
// A thread is given parts of chunks of inputs: the chunk itself comes along when it does not have it. A peer is given
// blocks, chunks of their own, and says behind all records of a block that it is done.
import { createChunkWriter, decode, decodeChunk, encode } from '@errand/transport'
import { ProtocolError } from '../errors.ts'
import { outputOf, valuesOf, type RawChunk } from '../record.ts'

/** For a thread: the inputs `from` to `to` of a chunk, the first of which is input `first` of the map. */
export interface Order {
  readonly seq: number
  readonly first: number
  readonly from: number
  readonly to: number
  /** Items at once that wait for something. */
  readonly lanes: number
  /** The chunk; undefined: the one of the order before. */
  readonly bytes: Uint8Array | undefined
}

export function orderChunk({ seq, first, from, to, lanes, bytes }: Order): RawChunk {
  return { count: 1, errors: 0, bytes: encode([seq, first, from, to, lanes, bytes]) }
}

export function orderOf(chunk: RawChunk): Order {
  const [seq, first, from, to, lanes, bytes] = decode(chunk.bytes) as [
    number,
    number,
    number,
    number,
    number,
    Uint8Array,
  ]
  return { seq, first, from, to, lanes, bytes }
}

/** For a peer: a chunk of inputs, the first of which is input `first` of the map. */
export interface Block {
  readonly seq: number
  readonly first: number
  readonly count: number
  readonly bytes: Uint8Array
}

export function blockChunk({ seq, first, count, bytes }: Block): RawChunk {
  const writer = createChunkWriter()
  writer.add(outputOf([seq, first, count, bytes]))
  return { count: 1, errors: 0, bytes: writer.finish() }
}

/** @throws ProtocolError */
export function blocksOf(chunk: RawChunk): Block[] {
  return valuesOf(chunk).map((value) => {
    const [seq, first, count, bytes] = Array.isArray(value) ? (value as unknown[]) : []
    if (!isCount(seq) || !isCount(first) || !isCount(count) || count === 0 || !(bytes instanceof Uint8Array))
      throw new ProtocolError('a block of inputs that does not fit')
    return { seq, first, count, bytes }
  })
}

/** Beyond all kinds of records: whoever does not know it takes it for information. */
const BLOCK_DONE = 255
/** Such a chunk is never longer. */
const MARK_BYTES = 64

export function markChunk(seq: number): RawChunk {
  const writer = createChunkWriter()
  writer.add([BLOCK_DONE, Date.now(), seq])
  return { count: 1, errors: 0, bytes: writer.finish() }
}

/** The block that is done, where the chunk says that. */
export function markOf(chunk: RawChunk): number | undefined {
  if (chunk.count !== 1 || chunk.bytes.byteLength > MARK_BYTES) return undefined
  const [record] = decodeChunk(chunk.bytes)
  return Array.isArray(record) && record[0] === BLOCK_DONE && isCount(record[2]) ? record[2] : undefined
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
