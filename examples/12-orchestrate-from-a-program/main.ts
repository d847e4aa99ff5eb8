// Runs the pipeline as one would who has bad luck: it is killed in the middle and run again; another release is cancelled.
// Around it: two machines to test on, a server that has the source, and a home of its own for this machine's errand.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { startPeer } from '../peers.ts'

await using atTheEnd = new AsyncDisposableStack()
const home = await mkdtemp(join(tmpdir(), 'errand-home-'))
atTheEnd.defer(() => rm(home, { recursive: true, force: true }))
// `errand` is the one of this repository, and has a home of its own.
const root = join(import.meta.dirname, '../..')
const env = { ...process.env, ERRAND_HOME: home, PATH: `${root}${delimiter}${process.env['PATH']}` }
async function errand(...words: string[]): Promise<string> {
  return (await promisify(execFile)('errand', words, { env })).stdout
}

// A server that is not ready at first.
let asked = 0
const server = createServer((_request, response) => {
  response.writeHead(asked++ === 0 ? 503 : 200).end('export const double = (n: number): number => 2 * n\n')
}).listen(0, '127.0.0.1')
await once(server, 'listening')
atTheEnd.defer(() => void server.close())
const source = `http://127.0.0.1:${(server.address() as AddressInfo).port}/main.ts`

// Pairing is done once, by hand: it is remembered, and this machine's errand need not be up.
const machines = await Promise.all(['server01', 'server02'].map((name) => startPeer(name)))
for (const machine of machines) atTheEnd.use(machine)
for (const { ticket } of machines) await errand('join', ticket)
await errand('down')
atTheEnd.defer(async () => void (await errand('down', '--force')))

/** Runs the program; at the first line that says `when`, it gets the signal. Resolves to what it said and how it ended. */
async function run(release: string, when?: string, signal?: NodeJS.Signals): Promise<{ said: string; end: unknown }> {
  console.log(`\n$ node pipeline.ts ${release}`)
  const program = spawn(
    process.execPath,
    [...process.execArgv, join(import.meta.dirname, 'pipeline.ts'), release, source],
    {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const exited = once(program, 'exit')
  let said = ''
  for await (const line of createInterface({ input: program.stdout })) {
    console.log(line)
    if (when !== undefined && !said.includes(when) && line.includes(when)) program.kill(signal)
    said += `${line}\n`
  }
  const [code, killed] = (await exited) as [number | null, NodeJS.Signals | null]
  console.log(`(ended with ${killed ?? code})`)
  return { said, end: killed ?? code }
}

const first = await run('1.0.0', '25 %', 'SIGKILL')
const second = await run('1.0.0')
const third = await run('2.0.0', '25 %', 'SIGINT')
const left = await errand('list', '--quiet')

if (first.end !== 'SIGKILL' || second.end !== 0 || third.end !== 130) throw new Error('one of them ended otherwise')
if (!second.said.includes('report  server02: 16 passed, 0 failed')) throw new Error('the second did not report')
if (asked !== 3) throw new Error(`built anew: the source was asked for ${asked} times`)
if (left !== '') throw new Error(`jobs are left: ${left}`)
