// Memory of records that are dropped unread goes back at once, not when the collector comes for it.
//
// V8 comes each time some 25 to 40 MiB have been allocated for bytes, and later where the processors are wanted elsewhere: a
// producer of 100 MB a second whom nobody reads would cost a peer twice what it keeps. Several chunks may lie in one piece
// of memory, as they came: it goes with the last of them.

/** Noted on the buffer itself, under a name that nobody else has: how many may still be wanted. */
const wanted: unique symbol = Symbol('wanted')
type Noted = ArrayBufferLike & { [wanted]?: number }

/** Below this the noting costs more than the collecting. */
const WORTH_IT = 8 * 1024

/** All of the bytes that have come in one piece of memory, of which nobody else has any, before any is given back. */
export function noteParts(message: readonly unknown[], alone: (part: Uint8Array) => boolean = () => true): void {
  for (const part of message) {
    if (!(part instanceof Uint8Array)) continue
    const noted: Noted = part.buffer
    if (noted.byteLength >= WORTH_IT && alone(part)) noted[wanted] = (noted[wanted] ?? 0) + 1
  }
}

/** These were kept by whom they were given to, were given to nobody else, and are wanted no more. Each once. */
export function giveBack({ buffer }: Uint8Array): void {
  const noted: Noted = buffer
  if (noted[wanted] === undefined || --noted[wanted] > 0) return
  ;(buffer as ArrayBuffer).transfer(0)
}
