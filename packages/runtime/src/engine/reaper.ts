// The reaper: a small process that outlives this one just long enough to end what it leaves behind (guarantee G10).
// It holds the read end of a pipe; when we die, by whatever signal, the pipe ends, and it kills every tree it was told of.
import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { isolateEntry } from './isolate-entry.ts'

export interface Reaper {
  /** Should we die, end this tree. Returns how to forget it. */
  watch(pid: number, mark: string): () => void
}

let only: Reaper | undefined

/** The reaper of this process: one, started with the first tree. It ends by itself after us. */
export function reaper(): Reaper {
  return (only ??= startReaper())
}

function startReaper(): Reaper {
  const child: ChildProcess = spawn(process.execPath, [fileURLToPath(isolateEntry('reaper-entry'))], {
    detached: true, // a Ctrl-C for our group must not take it along
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.unref()
  const { stdin } = child
  // A pipe that is open but unused must not keep us alive either.
  ;(stdin as unknown as { unref?: () => void } | null)?.unref?.()
  const watched = new Map<number, string>()
  child.on('error', () => undefined) // no process to be had: the trees still end in every orderly case
  stdin?.on('error', () => undefined)
  child.once('exit', () => {
    only = undefined
    // Somebody killed it: the next tree starts another, which is told of everything still alive.
    const left = [...watched]
    if (left.length > 0) {
      const next = reaper()
      for (const [pid, mark] of left) next.watch(pid, mark)
    }
  })
  return {
    watch(pid, mark) {
      watched.set(pid, mark)
      stdin?.write(`+${pid} ${mark}\n`)
      return () => {
        watched.delete(pid)
        stdin?.write(`-${pid}\n`)
      }
    },
  }
}
