// Chunks that say who they are: what is in them follows from their number.
import type { Chunk } from '../../src/record.ts'

/** Bytes that no other chunk of its log has. */
export function chunkOf(first: number, count = 1, size = 40): Chunk {
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at++) bytes[at] = (first * 31 + at * 7 + (first >> 8)) & 0xff
  return { first, count, errors: count > 2 ? 1 : 0, bytes }
}

/** The chunk that a log goes on with, which follows from its number alone. */
export function nextChunk(first: number): Chunk {
  return chunkOf(first, 1 + (first % 4), (first * 37) % 2000)
}
