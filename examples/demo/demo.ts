// npm run demo: the mission on this machine. Three peers in three processes pair over TCP, then the three kinds of jobs
// and the four ways of about_Remote_Jobs, in its order, on this machine's own event logs.
// Everything lives in .demo/ beside this project; every process it starts is gone when it ends.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { styleText } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, '.demo')
const cli = join(root, 'packages/cli/src/main.ts')
const eventlog = 'examples/eventlog.ts'
const begun = Date.now()
const failures: string[] = []

const home = (peer: string): string => join(folder, peer)
const node = ['--conditions=source', '--disable-warning=ExperimentalWarning']

interface Done {
  code: number
  stdout: string
  stderr: string
}

/** Runs a program to its end, shows what it prints as it comes. */
function run(
  file: string,
  args: readonly string[],
  options: { peer?: string; input?: string; show?: boolean } = {},
): Promise<Done> {
  const env = { ...process.env, ...(options.peer && { ERRAND_HOME: home(options.peer) }) }
  const child = spawn(process.execPath, [...node, file, ...args], { cwd: root, env, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.end(options.input ?? '')
  const done: Done = { code: 0, stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    done.stdout += text
    if (options.show !== false) process.stdout.write(narrow(text))
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    done.stderr += text
    if (options.show !== false) process.stdout.write(styleText('dim', text))
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ ...done, code: code ?? 1 }))
  })
}

/** Commands and tickets can be very long; a reader of the demo has seen enough of them at the width of a page. */
function narrow(text: string): string {
  return text.replaceAll(/^(.{159}).+$/gm, '$1…')
}

function title(text: string): void {
  console.log(`\n${styleText(['bold', 'cyan'], `── ${text} `.padEnd(96, '─'))}`)
}

function note(text: string): void {
  console.log(styleText('dim', `# ${text}`))
}

/** A command as somebody types it on that machine, and what it shows. A command that fails fails the demo. */
async function type(
  peer: string,
  words: readonly string[],
  options: { input?: string; expect?: number } = {},
): Promise<string> {
  const shown = words.map((word) => (/[\s'"(){};|&<>*$!]/.test(word) ? `'${word}'` : word)).join(' ')
  console.log(`${styleText('green', `${peer}$`)} errand ${shown.replaceAll(`${root}/`, '').replaceAll(root, '')}`)
  const { code, stdout } = await run(cli, words, { peer, ...(options.input !== undefined && { input: options.input }) })
  if (code !== (options.expect ?? 0)) fail(`errand ${shown} exited with ${code}`)
  return stdout
}

function fail(what: string): void {
  failures.push(what)
  console.log(styleText('red', `! ${what}`))
}

function check(holds: boolean, what: string): void {
  if (holds) note(`checked: ${what}`)
  else fail(`not so: ${what}`)
}

/** Every process that was started from .demo or with one of its homes, but us. */
function processesLeft(): string[] {
  if (!existsSync('/proc/self/environ')) return []
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return []
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      const ours = readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`${folder}/`) || command.includes(`${folder}/`)
      return ours ? [`${pid} ${command}`] : []
    } catch {
      return []
    }
  })
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 10_000
  while (!holds()) {
    if (Date.now() > end) return fail(`not so after 10 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  note(`checked: ${what}`)
}

const peers = ['laptop', 'server01', 'server02']
const on = 'server01,server02'

async function demo(): Promise<void> {
  title('Three peers, three processes')
  for (const peer of peers) await type(peer, ['up', '--name', peer, '--listen', '/ip4/127.0.0.1/tcp/0'])
  note('pairing: one pasted line; from then on laptop may go there, not the other way round')
  for (const peer of ['server01', 'server02']) {
    const ticket = (await type(peer, ['invite'])).trim()
    await type('laptop', ['join', ticket])
  }
  await type('laptop', ['peer', 'list'])

  title('Three kinds of jobs')
  note('each says which process and which thread it ran in')
  const who =
    'const { threadId } = await import("node:worker_threads"); yield `process ${process.pid}, thread ${threadId}`'
  const remote = (await type('laptop', ['start', '--on', 'server01', '-e', who])).trim()
  const background = (await type('laptop', ['start', '-e', who])).trim()
  const thread = (await type('laptop', ['start', '--engine', 'thread', '-e', who])).trim()
  await type('laptop', ['wait', remote, background, thread])
  for (const id of [remote, background, thread]) await type('laptop', ['receive', id, '--keep'])
  await type('laptop', ['Get-Job'])
  note(
    'the process of the remote job is one of server01; of the background job, one of its own; of the thread job, this:',
  )
  await type('laptop', ['status'])

  title('Way 1: an interactive session')
  const saved = join(home('server01'), 'PsLog.txt')
  await type('laptop', ['enter', 'server01'], {
    input: `const { default: eventlog } = await import(${JSON.stringify(join(root, eventlog))})
job = await start(eventlog, { name: 'events', args: [{ newest: 20 }] })
await wait(job)
jobs()
await save(job, ${JSON.stringify(saved)}, { format: 'ndjson' })
exit
`,
  })
  note('the session is gone, the file is still there: read back over a session that stays')
  await type('laptop', ['session', 'new', 'server01', '--name', 's'])
  const read = `const lines = (await fs.promises.readFile(${JSON.stringify(saved)}, "utf8")).trimEnd().split("\\n"); for (const line of lines.slice(-3)) yield JSON.parse(line).value`
  await type('laptop', ['run', '--on', 'session:s', '-e', read])

  title('Way 2: AsJob — the work there, the job and its results here')
  const asJob = (
    await type('laptop', ['start', '--on', on, '--name', 'events', eventlog, '--args', '[{"newest":3}]'])
  ).trim()
  await type('laptop', ['wait', asJob])
  await type('laptop', ['Get-Job', asJob])
  await type('laptop', ['receive', asJob])

  title('Way 3: started there, kept there, received when we like')
  const kept = (await type('laptop', ['--at', 'server01', 'start', eventlog, '--args', '[{"newest":3}]'])).trim()
  await type('laptop', ['--at', 'server01', 'wait', kept])
  await type('laptop', ['--at', 'server01', 'list'])
  const first = await type('laptop', ['--at', 'server01', 'receive', kept, '--keep'])
  const second = await type('laptop', ['--at', 'server01', 'receive', kept, '--keep'])
  check(first === second && first !== '', 'received twice with --keep: the same')

  title('Way 4: detached — 60 lines, 250 ms a line, from one program to the next')
  const ticket = (await run(cli, ['invite'], { peer: 'server01', show: false })).stdout.trim()
  mkdirSync(home('program'), { recursive: true })
  console.log(`${styleText('green', 'laptop$')} node leave.ts`)
  const before = await run(join(root, 'examples/demo/leave.ts'), [home('program'), ticket])
  note('that process is gone. The counter goes on counting on server01.')
  console.log(`${styleText('green', 'laptop$')} node take-up.ts`)
  const after = await run(join(root, 'examples/demo/take-up.ts'), [home('program')])
  if (before.code !== 0 || after.code !== 0) fail('a program of way 4 failed')
  const lines = `${before.stdout}${after.stdout}`.split('\n').filter((line) => line.startsWith('Output '))
  const wanted = Array.from({ length: 60 }, (_, index) => `Output ${index + 1}`)
  check(lines.join() === wanted.join(), 'lines 1 to 60, each once, over the two programs')

  title('And what needs no session at all: Start-Process')
  const pid = Number((await type('laptop', ['launch', '--', 'sleep', '300'])).trim())
  await type('laptop', ['down', '--force'])
  check(alive(pid), 'launched: it survives even the peer')
  process.kill(pid)
}

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true, mode: 0o700 })
try {
  await demo()
} catch (error) {
  fail(error instanceof Error ? error.message : String(error))
} finally {
  title('The end')
  for (const peer of peers) await run(cli, ['down', '--force'], { peer, show: false })
  await until('no process is left', () => processesLeft().length === 0)
  for (const left of processesLeft()) fail(`still there: ${left}`)
  rmSync(folder, { recursive: true, force: true })
  const seconds = ((Date.now() - begun) / 1000).toFixed(1)
  const verdict = failures.length === 0 ? styleText('green', 'all of it worked') : styleText('red', failures.join('\n'))
  console.log(`${verdict} (${seconds} s; ${relative(root, folder)} is removed)`)
  process.exitCode = failures.length === 0 ? 0 : 1
}
