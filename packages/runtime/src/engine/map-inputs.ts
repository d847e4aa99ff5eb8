// The inputs of a map that nobody works on yet: in chunks, as they came, given out in parts.
import { createChunkWriter } from '@errand/transport'
import { outputOf, valuesIn, valuesOf, type RawChunk } from '../record.ts'
import { blocksOf } from './map-order.ts'

export interface InputChunk {
  readonly bytes: Uint8Array
  /** Which input its first one is. */
  readonly first: number
  readonly count: number
  /** What it counts for where it came from; told as read when its last part has gone. */
  readonly cost: number
  /** Inputs of it that are not done. */
  left: number
  /** The part that was given out last. */
  lastSeq: number
  /** Of a map that works for another: its number there. */
  readonly block: number | undefined
}

/** What is given to one worker: inputs `from` to `to` of a chunk. */
export interface Part {
  /** In the order of the inputs. */
  readonly seq: number
  readonly chunk: InputChunk
  readonly from: number
  readonly to: number
}

export class MapInputs {
  readonly #onTaken: (bytes: number) => void
  /** Another map's blocks instead of inputs. */
  readonly #shared: boolean
  #chunks: InputChunk[] = []
  /** Within the first chunk. */
  #next = 0
  readonly #again: Part[] = []
  #parts = 0
  /** Inputs that have come. */
  taken = 0
  /** Inputs that nobody has. */
  waiting = 0

  /** `onTaken`: chunks of so many bytes have been given out. */
  constructor(shared: boolean, onTaken: (bytes: number) => void) {
    this.#shared = shared
    this.#onTaken = onTaken
  }

  /** @throws ProtocolError */
  push(chunk: RawChunk): void {
    const cost = chunk.bytes.byteLength
    if (!this.#shared) return this.#add(chunk.bytes, this.taken, valuesIn(chunk), cost, undefined)
    const blocks = blocksOf(chunk)
    for (const [index, { seq, first, count, bytes }] of blocks.entries()) {
      this.#add(bytes, first, count, index === blocks.length - 1 ? cost : 0, seq)
    }
  }

  #add(bytes: Uint8Array, first: number, count: number, cost: number, block: number | undefined): void {
    if (count === 0) return this.#onTaken(cost)
    this.#chunks.push({ bytes, first, count, cost, left: count, lastSeq: -1, block })
    this.taken += count
    this.waiting += count
  }

  /** At most so many of those that come next. */
  take(most: number): Part | undefined {
    const again = this.#again.shift()
    if (again) {
      this.waiting -= again.to - again.from
      return again
    }
    const [chunk] = this.#chunks
    if (!chunk) return undefined
    const from = this.#next
    const to = Math.min(chunk.count, from + most)
    const part = { seq: this.#parts++, chunk, from, to }
    chunk.lastSeq = part.seq
    this.waiting -= to - from
    this.#next = to
    if (to === chunk.count) {
      this.#chunks.shift()
      this.#next = 0
      this.#onTaken(chunk.cost)
    }
    return part
  }

  /** What nobody has begun of a part whose worker is gone: before all others, in order. */
  giveBack(part: Part): void {
    this.waiting += part.to - part.from
    const place = this.#again.findIndex(({ seq }) => seq > part.seq)
    this.#again.splice(place < 0 ? this.#again.length : place, 0, part)
  }

  /** Some of them come before what others have done already. */
  get hasBack(): boolean {
    return this.#again.length > 0
  }

  /** Nobody will work on them. */
  drop(): void {
    for (const { cost } of this.#chunks.splice(0)) this.#onTaken(cost)
    this.#again.length = 0
    this.#next = 0
    this.waiting = 0
  }
}

/** A part as a chunk of its own. */
export function partBytes({ chunk, from, to }: Part): Uint8Array {
  if (from === 0 && to === chunk.count) return chunk.bytes
  const writer = createChunkWriter()
  for (const value of valuesOf({ count: 0, errors: 0, bytes: chunk.bytes }).slice(from, to)) writer.add(outputOf(value))
  return writer.finish()
}
