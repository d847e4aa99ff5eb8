// What runs as the reaper: remembers trees, and ends them when its parent's pipe ends. Imports nothing heavy.
import { readdirSync, readFileSync } from 'node:fs'

const MARK = 'ERRAND_TREE'
const trees = new Map<number, string>()
let rest = ''

// The parent's group may be killed as a whole; signals meant for it are not for us.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)

process.stdin.setEncoding('utf8')
process.stdin.on('data', (text: string) => {
  const lines = (rest + text).split('\n')
  rest = lines.pop() ?? ''
  for (const line of lines) {
    const [pid, mark] = line.slice(1).split(' ')
    if (line.startsWith('+') && mark) trees.set(Number(pid), mark)
    else if (line.startsWith('-')) trees.delete(Number(pid))
  }
})
process.stdin.on('end', reap)
process.stdin.on('error', reap)

function reap(): void {
  if (trees.size === 0) process.exit(0)
  // Twice more after the first: a child may have been forking while we looked.
  let looks = 0
  const look = (): void => {
    const left = kill()
    if ((left || looks < 2) && ++looks < 100) setTimeout(look, 20)
    else process.exit(0)
  }
  look()
}

/** Kills every process of every tree; says whether there were any. */
function kill(): boolean {
  const marks = new Set(trees.values())
  let found = false
  for (const pid of trees.keys()) found = end(-pid) || found
  if (process.platform !== 'linux' || marks.size === 0) return found
  found = false
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    try {
      const mark = readFileSync(`/proc/${pid}/environ`, 'latin1')
        .split('\0')
        .find((entry) => entry.startsWith(`${MARK}=`))
      if (mark && marks.has(mark.slice(MARK.length + 1))) found = end(pid) || found
    } catch {
      // It ended while we looked, or is not ours to read.
    }
  }
  return found
}

function end(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}
