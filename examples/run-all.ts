// Runs every example, one after the other. Exit code 1 when one fails, takes too long, or leaves a process behind.
//
//   node --conditions=source examples/run-all.ts [part of a name …]
import { execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

/** How long one may take, in milliseconds. */
const LIMIT = 90_000
/** How long what it started may take to end after it: a reaper outlives its process for a moment. In milliseconds. */
const LEAVE = 10_000
/** What an example is given here so that it does not take longer than it must. */
const shorter: Readonly<Record<string, readonly string[]>> = { '04-disconnect-and-receive': ['60', '20'] }

/** Marks every process that an example starts, wherever it goes: descendants inherit it. */
const MARK = 'ERRAND_EXAMPLE'

/** The processes that carry a mark. Windows does not tell; there nothing is found. */
async function marked(mark: string): Promise<{ pid: number; command: string }[]> {
  const carries = `${MARK}=${mark}`
  if (process.platform === 'linux') {
    return readdirSync('/proc').flatMap((name) => {
      const pid = Number(name)
      if (!Number.isInteger(pid)) return []
      try {
        const [environment, command] = ['environ', 'cmdline'].map((file) =>
          readFileSync(`/proc/${pid}/${file}`, 'utf8'),
        )
        return environment!.includes(carries) ? [{ pid, command: command!.replaceAll('\0', ' ') }] : []
      } catch {
        return [] // it ended meanwhile, or is not ours
      }
    })
  }
  if (process.platform !== 'darwin') return []
  const { stdout } = await promisify(execFile)('ps', ['-axwwE', '-o', 'pid=,command='], { maxBuffer: 2 ** 26 })
  return stdout.split('\n').flatMap((line) => {
    const [, pid, command] = /^ *(\d+) (.*)$/.exec(line) ?? []
    return command?.includes(carries) ? [{ pid: Number(pid), command: command.slice(0, 80) }] : []
  })
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // gone
  }
}

/** Runs one; resolves to what is wrong with it, and to what it said. */
async function run(name: string): Promise<{ wrong: string[]; said: string }> {
  const mark = randomUUID()
  const file = join(import.meta.dirname, name, 'main.ts')
  const child = spawn(process.execPath, [...process.execArgv, file, ...(shorter[name] ?? [])], {
    env: { ...process.env, [MARK]: mark },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text))
  let late = false
  const limit = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, LIMIT)
  const closed = once(child, 'close')
  const [code, signal] = await once(child, 'exit')
  clearTimeout(limit)
  const wrong: string[] = []
  if (late) wrong.push(`not done after ${LIMIT / 1000} s`)
  else if (code !== 0) wrong.push(`ended with ${String(signal ?? code)}`)

  const patience = Date.now() + LEAVE
  let left = await marked(mark)
  while (left.length > 0 && Date.now() < patience) {
    await delay(50)
    left = await marked(mark)
  }
  for (const { pid, command } of left) {
    wrong.push(`left process ${pid}: ${command}`)
    kill(pid)
  }
  // Its last words; whoever still holds its output is not waited for.
  await Promise.race([closed, delay(1_000, undefined, { ref: false })])
  return { wrong, said }
}

const asked = process.argv.slice(2)
const names = readdirSync(import.meta.dirname)
  .filter((name) => existsSync(join(import.meta.dirname, name, 'main.ts')))
  .filter((name) => asked.length === 0 || asked.some((part) => name.includes(part)))
  .toSorted()
if (names.length === 0) throw new Error(`no example is called ${asked.join(' or ')}`)

let failed = 0
for (const name of names) {
  const begun = performance.now()
  const { wrong, said } = await run(name)
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  console.log(`${name.padEnd(28)} ${seconds.padStart(5)} s  ${wrong.length === 0 ? 'ok' : 'FAILED'}`)
  if (wrong.length === 0) continue
  failed++
  console.log([...wrong, said].join('\n').trimEnd().replaceAll(/^/gm, '  '))
}
console.log(failed === 0 ? `all ${names.length} examples ran` : `${failed} of ${names.length} examples failed`)
process.exitCode = failed === 0 ? 0 : 1
