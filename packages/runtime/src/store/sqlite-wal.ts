// What SQLite does not tell of its write-ahead log: whether it ended where writing ended. Its recovery stops at the first
// frame that is not whole, silently; whatever had been committed behind a damaged one is gone.
import { fstatSync, readSync } from 'node:fs'

const HEADER = 32
const FRAME = 24

/**
 * Whether a committed transaction and more lie behind the `frames` that were recovered. A process that is killed in the
 * middle of writing leaves one that ends with a torn frame and nothing behind it: that was told to nobody.
 */
export function losesFrames(fd: number, frames: number): boolean {
  const { size } = fstatSync(fd)
  if (size < HEADER) return false
  const header = read(fd, 0, HEADER)
  if (!isWhole(header)) return header.some((byte) => byte !== 0)
  const page = header.readUInt32BE(8)
  const salts = header.subarray(16, 24)
  let committed = false
  for (let index = frames; HEADER + index * (FRAME + page) + FRAME <= size; index++) {
    const frame = read(fd, HEADER + index * (FRAME + page), FRAME)
    // Frames of an earlier round have other salts; the last one of a transaction says how large the file is then.
    if (!frame.subarray(8, 16).equals(salts)) return false
    if (committed) return true
    committed = frame.readUInt32BE(4) !== 0
  }
  return false
}

function read(fd: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  readSync(fd, bytes, 0, length, at)
  return bytes
}

function isWhole(header: Buffer): boolean {
  const big = (header.readUInt32BE(0) & 1) === 1
  const word = (at: number): number => (big ? header.readUInt32BE(at) : header.readUInt32LE(at))
  let one = 0
  let two = 0
  for (let at = 0; at < 24; at += 8) {
    one = (one + word(at) + two) >>> 0
    two = (two + word(at + 4) + one) >>> 0
  }
  return header.readUInt32BE(24) === one && header.readUInt32BE(28) === two
}
