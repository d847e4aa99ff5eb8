// Memory that goes back as soon as its last byte has been used, not when the collector comes for it.
//
// V8 looks through the whole heap each time some 25 to 40 MiB have been allocated for bytes: at half a gigabyte a second
// more than ten times a second, which cost a sender of mebibytes as much as all the rest. So those who know when bytes
// are done with say so. Whoever does not know says nothing, and the collector comes as ever.

import { getHeapSpaceStatistics } from 'node:v8'

/** What memory is lent for. A byte that was used for one purpose may still be needed for another. */
export class Lending {
  /** Noted on the buffer itself, under a name that nobody else has. */
  readonly #unused: symbol = Symbol('unused')
  #out = 0

  /**
   * All of `bytes` is to be used once, by whom it is given to, who then calls `used`; nobody else keeps a view of it.
   * Does nothing with a part of a buffer (others may have the rest) and with what is too small to be worth it.
   */
  lend(bytes: Uint8Array): void {
    const { buffer, byteLength } = bytes
    if (byteLength < WORTH_IT || byteLength !== buffer.byteLength) return
    this.#note(buffer, byteLength)
    this.#out += byteLength
  }

  has(part: Uint8Array): boolean {
    return this.#unusedOf(part.buffer) > 0
  }

  /** These bytes, each counted once, are not needed any more; after the last one of their buffer it is detached. */
  used(part: Uint8Array): void {
    const { buffer } = part
    const before = this.#unusedOf(buffer)
    if (before === 0) return
    const left = before - part.byteLength
    this.#out -= part.byteLength
    this.#note(buffer, left)
    if (left === 0) (buffer as ArrayBuffer).transfer(0)
  }

  /** Bytes lent since the last call that were not given back: who has them knows nothing of this. */
  unreturned(): number {
    const bytes = Math.max(0, this.#out)
    this.#out = 0
    return bytes
  }

  #unusedOf(buffer: ArrayBufferLike): number {
    return (buffer as unknown as Record<symbol, number | undefined>)[this.#unused] ?? 0
  }

  #note(buffer: ArrayBufferLike, bytes: number): void {
    ;(buffer as unknown as Record<symbol, number>)[this.#unused] = bytes
  }
}

/** Bytes that nobody gives back, between two collections of young objects: half of what makes V8 look through the heap. */
const BETWEEN = 32 * 1024 * 1024
/** Words of 8 bytes in one ballast. */
const BALLAST = 1000
/** Bytes after which the size of the space for young objects is asked for again: it grows and shrinks. */
const ASK_EVERY = 64 * 1024 * 1024
let ballast: unknown
/** Ballast for each byte, and bytes since that was worked out. */
let share = 0
let since = Infinity

/**
 * For bytes that nobody gives back. V8 frees them with the objects that stand for them, and collects young objects when
 * these have filled their own space, however many bytes hang on them: a hundred mebibytes later, when it has looked
 * through the whole heap two or three times. With something to fill that space it collects them in time, at a tenth of the
 * cost; a receiver of bulk gets a quarter faster.
 */
export function collectSoon(bytes: number): void {
  if (bytes === 0) return
  since += bytes
  if (since >= ASK_EVERY) {
    since = 0
    const space = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')
    share = space === undefined ? 0 : (space.space_used_size + space.space_available_size) / BETWEEN
  }
  // oxlint-disable-next-line unicorn/no-new-array -- its length is all that matters of it
  for (let rest = bytes * share; rest > 0; rest -= BALLAST * 8) ballast = new Array(BALLAST)
  // Kept until here, or the engine would see that nobody needs it, and not make it.
  if (ballast !== undefined) ballast = undefined
}

/** Below this a buffer of its own is rare, and the noting costs more than the collecting. */
const WORTH_IT = 8 * 1024

/** What a channel has laid out to be sent, and a carrier has written. */
export const toWrite: Lending = new Lending()
/** What a carrier has read, and a channel has copied to where it belongs. */
export const toRead: Lending = new Lending()
