// Memory that goes back as soon as its last byte has been used, not when the collector comes for it.
//
// V8 looks through the whole heap each time some 25 to 40 MiB have been allocated for bytes: at half a gigabyte a second
// more than ten times a second, which cost a sender of mebibytes as much as all the rest. So those who know when bytes
// are done with say so. Whoever does not know says nothing, and the collector comes as ever.

/** What memory is lent for. A byte that was used for one purpose may still be needed for another. */
export class Lending {
  /** Noted on the buffer itself, under a name that nobody else has. */
  readonly #unused: symbol = Symbol('unused')

  /**
   * All of `bytes` is to be used once, by whom it is given to, who then calls `used`; nobody else keeps a view of it.
   * Does nothing with a part of a buffer (others may have the rest) and with what is too small to be worth it.
   */
  lend(bytes: Uint8Array): void {
    const { buffer, byteLength } = bytes
    if (byteLength >= WORTH_IT && byteLength === buffer.byteLength) this.#note(buffer, byteLength)
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
    this.#note(buffer, left)
    if (left === 0) (buffer as ArrayBuffer).transfer(0)
  }

  #unusedOf(buffer: ArrayBufferLike): number {
    return (buffer as unknown as Record<symbol, number | undefined>)[this.#unused] ?? 0
  }

  #note(buffer: ArrayBufferLike, bytes: number): void {
    ;(buffer as unknown as Record<symbol, number>)[this.#unused] = bytes
  }
}

/** Noted on a buffer that was made for one value that was to come, and holds nothing else. */
const alone: unique symbol = Symbol('alone')

export function made(buffer: ArrayBufferLike & { [alone]?: true }): void {
  buffer[alone] = true
}

/** Bytes that came in a value lie in memory that nothing else came in: it is the receiver's to give back. */
export function liesAlone({ buffer }: { readonly buffer: ArrayBufferLike & { [alone]?: true } }): boolean {
  return buffer[alone] === true
}

/** Below this a buffer of its own is rare, and the noting costs more than the collecting. */
const WORTH_IT = 8 * 1024

/** What a channel has laid out to be sent, and a carrier has written. */
export const toWrite: Lending = new Lending()
/** What a carrier has read, and a channel has copied to where it belongs. */
export const toRead: Lending = new Lending()
