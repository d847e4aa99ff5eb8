// How much one value may be. The same numbers bind both sides, so what `encode` accepts `decode` accepts.

/** Bounds of one value, on its way out and on its way in. */
export interface CodecLimits {
  /** Containers (array, object, Map, Set, Error) within each other. 1 to 512; default 64. */
  readonly depth: number
  /** Data items: each value, each key, each field name; more for what takes longer to make. Default 262 144. */
  readonly items: number
  /** Encoded size in bytes. Default 16 MiB. */
  readonly bytes: number
}

/** Deep enough for any data people write down; shallow enough that no walk of it, ours or a reader's, meets the stack. */
export const MAX_DEPTH = 64
/**
 * An empty object costs one byte on the wire and ~60 on the heap: this many are ~16 MiB and ~10 ms, not a killer. What
 * takes longer counts for more (codec-cost).
 */
export const MAX_ITEMS = 262_144
/** The largest record (guarantee G14). */
export const MAX_BYTES: number = 16 * 1024 * 1024
/** BigInt digits print and multiply in more than linear time; 8 192 bits hold any key or counter (G15). */
export const MAX_BIGINT_BITS = 8192
/** UTF-16 units of a pattern: compiling and running a foreign pattern is the danger, and long ones are never typed (G15). */
export const MAX_REGEXP = 1024
/**
 * What decoding may take hold of, garbage included: so many bytes for each byte of the input, and so many for each item.
 * A Map of its own for each of its two bytes is the most anybody gets out of it.
 */
export const MEMORY_PER_BYTE = 4
export const MEMORY_PER_ITEM = 384
/** A chunk closes at 64 KiB (architecture, data plane): beside one largest record it may hold this much more. */
export const CHUNK_SLACK: number = 64 * 1024
/** Frames above this recursion would be ours to answer for: cbor-x reads by recursion. */
const DEEPEST = 512

/** What one value may be at most, on both sides of a wire: {@link MAX_DEPTH}, {@link MAX_ITEMS}, {@link MAX_BYTES}. */
export const DEFAULT_LIMITS: CodecLimits = Object.freeze({ depth: MAX_DEPTH, items: MAX_ITEMS, bytes: MAX_BYTES })

/**
 * The defaults with what the caller changes; undefined changes nothing.
 * @throws RangeError when `depth` is not in 1..512, `items` or `bytes` not 1 at least
 */
export function limitsFrom(changes: Partial<CodecLimits> | undefined): CodecLimits {
  if (changes === undefined || changes === DEFAULT_LIMITS) return DEFAULT_LIMITS
  const { depth = MAX_DEPTH, items = MAX_ITEMS, bytes = MAX_BYTES } = changes
  check('depth', depth, DEEPEST)
  check('items', items, Infinity)
  check('bytes', bytes, Infinity)
  return { depth, items, bytes }
}

/** What is no number compares with none: there would be no limit. */
function check(name: string, limit: number, most: number): void {
  if (typeof limit === 'number' && limit >= 1 && limit <= most) return
  throw new RangeError(`limits.${name} is ${limit}; it must be ${most === Infinity ? '1 at least' : `in 1..${most}`}`)
}
