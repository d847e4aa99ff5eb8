// A job that outlives the program that started it: leave.ts starts, disconnects and ends; come-back.ts, a new process,
// takes it up. Both speak to this machine's errand, which is started here in a home of its own and ended again.
//
//   node --conditions=source examples/04-disconnect-and-receive/main.ts [lines [milliseconds a line]]
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const [count = '60', pause = '250'] = process.argv.slice(2)
const here = import.meta.dirname
const cli = join(here, '../../packages/cli/src/main.ts')

/** Runs a program with this one's Node; prints what it prints, and gives it back. */
async function run(title: string, file: string, ...args: string[]): Promise<string[]> {
  const child = spawn(process.execPath, [...process.execArgv, file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  console.log(`\n${title} (process ${child.pid})`)
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line)
    console.log(`  ${line}`)
  }
  const [code] = await exited
  if (code !== 0) throw new Error(`${file} ended with ${String(code)}`)
  return lines
}

const home = await mkdtemp(join(tmpdir(), 'errand-home-'))
await using atTheEnd = new AsyncDisposableStack()
atTheEnd.defer(() => rm(home, { recursive: true, force: true }))

/** The command line, as in `errand up`. */
async function errand(...args: string[]): Promise<void> {
  await promisify(execFile)(process.execPath, [...process.execArgv, cli, ...args, '--home', home])
}
await errand('up', '--listen', '/ip4/127.0.0.1/tcp/0')
atTheEnd.defer(() => errand('down', '--force'))

const before = await run('the first program', join(here, 'leave.ts'), home, count, pause)
const after = await run('the second program', join(here, 'come-back.ts'), home)

// Nothing is lost and nothing comes twice.
const heard = [...before, ...after].filter((line) => line.startsWith('Output '))
const expected = Array.from({ length: Number(count) }, (_, n) => `Output ${n + 1}`)
if (heard.join() !== expected.join()) throw new Error(`not every line exactly once: ${heard.join(', ')}`)
console.log(`\n${heard.length} lines, each exactly once`)
