// Memory for byte arrays that are read as copies.

import { markAsUntransferable } from 'node:worker_threads'

/** The engine keeps arrays up to this many bytes beside the object: asking for their buffer would cost ten times as much. */
export const BESIDE = 64
/** Short byte arrays share blocks of this size, unless memory of their own is asked for. */
const POOL = 4096
const POOL_UP_TO = 512

// Memory of its own for each short array would cost ten times the rest of reading it.
let pool = new Uint8Array(0)
let pooled = 0

/** The same bytes once more; `alone`: in memory of their own, however short. */
export function copyOf(bytes: Uint8Array, alone: boolean): Uint8Array {
  const { byteLength } = bytes
  if (alone || byteLength <= BESIDE || byteLength > POOL_UP_TO) return bytes.slice()
  if (byteLength > pool.byteLength - pooled) {
    pool = new Uint8Array(POOL)
    pooled = 0
    // Who would move one away would take the others' memory with it.
    markAsUntransferable(pool.buffer)
  }
  const own = new Uint8Array(pool.buffer, pooled, byteLength)
  own.set(bytes)
  pooled += byteLength
  return own
}
