// Stacks end where errand begins: below a script's own frames stand always the same ones, of whatever ran it. They would
// be most of what a failed job takes, in its log and in its row.
import { fileURLToPath } from 'node:url'
import { ErrandError } from './errors.ts'

const folder = new URL('.', import.meta.url)
/** What stands in our own frames: where our files are, as stacks say it, and what calls them. */
const OWN: readonly string[] = [folder.href, fileURLToPath(folder), 'node:', '/comlink']
/** Causes of causes. */
const DEPTH = 8

/** Cuts the frames of errand, and of Node below them, from the end of the stack of an error and its causes. Never throws. */
export function cutStack(error: Error): void {
  let one: unknown = error
  for (let depth = 0; depth < DEPTH && Error.isError(one); depth++) {
    try {
      const { stack } = one
      const kept = typeof stack === 'string' ? withoutOwn(stack) : stack
      if (kept !== stack) one.stack = kept!
      one = one.cause
    } catch {
      return // Frozen, or what it has instead throws: it stays as it is.
    }
  }
}

/** Of an error that errand itself says: where in errand it was made tells nobody anything, its code does. */
export function cutOwnStack(error: Error): void {
  if (error instanceof ErrandError) cutStack(error)
}

function withoutOwn(stack: string): string {
  const lines = stack.split('\n')
  let length = lines.length
  while (length > 1 && isOwn(lines[length - 1]!)) length--
  return length === lines.length ? stack : lines.slice(0, length).join('\n')
}

/** Lines of the message are no frames. */
function isOwn(line: string): boolean {
  return /^\s+at /.test(line) && OWN.some((own) => line.includes(own))
}
