// stdout where it is a file. A disk that is almost full takes only the first part of a write; Node's own stream for files
// takes that for all of it, so that the end of what was printed is missing and nobody hears of it.
import { fstatSync, writeSync } from 'node:fs'
import { Writable } from 'node:stream'

/** Whether it is a file: pipes, terminals and devices are what Node's stream is good for. */
export function isFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile()
  } catch {
    return false // closed: what is written there is refused
  }
}

/** Writes to a file, all of it or an error. Each write is done when it returns. */
export function fileOutput(fd: number): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      try {
        for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at)
      } catch (error) {
        return done(error as Error)
      }
      done()
    },
  })
}
