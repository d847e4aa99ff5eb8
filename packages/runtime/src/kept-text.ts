// Text that is kept for long, many times over.

/**
 * The same text in one piece. What was put together of pieces keeps them all: an id of random digits takes 700 B so, and
 * 56 B in one piece.
 */
export function keptText(text: string): string {
  return Buffer.from(text).toString()
}
