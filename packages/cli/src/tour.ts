// The tour of `errand demo`: three peers of its own on this machine, in a folder of its own, and what can be done with
// them. Everything in it is typed and answered as it would be between machines; it shows both, and checks what it claims.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { copyFile, mkdir, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Failure } from './failure.ts'
import type { Terminal } from './terminal.ts'

const fromSource = import.meta.url.endsWith('.ts')
/** What the tour is given along: programs as a user would write them. The build puts them into the package. */
const FILES = ['eventlog.ts', 'leave.ts', 'take-up.ts'] as const
const PEERS = ['laptop', 'server01', 'server02'] as const
type PeerName = (typeof PEERS)[number]

/** How long a program that was told to end may take, in milliseconds, until it is killed. */
const GRACE = 3_000
/** How long processes of peers that are down may take to be gone, in milliseconds. */
const PATIENCE = 10_000
/** Columns after which a line is cut where nobody says how many there are. */
const WIDTH = 160

export interface TourOptions {
  readonly terminal: Terminal
  readonly env: NodeJS.ProcessEnv
  /** `all`, the headings and what was checked, or nothing. */
  readonly show: 'all' | 'checks' | 'nothing'
  /** Ends it where it is; what it has started is ended all the same. */
  readonly signal: AbortSignal
}

export interface Check {
  readonly what: string
  readonly ok: boolean
}

/**
 * Plays the tour. When it settles, no process and no file of it is left. Resolves to what was checked.
 * @throws Failure DEMO when something that is typed does not work, the signal's reason, or Failure EPIPE when nobody reads
 */
export async function playTour(options: TourOptions): Promise<readonly Check[]> {
  const tour = new Tour(options)
  try {
    await tour.play()
  } finally {
    await tour.close()
  }
  return tour.checks
}

/** Where one of the tour's programs lies here. */
function placeOf(file: (typeof FILES)[number]): URL {
  if (!fromSource) return new URL(`./tour/${file}`, import.meta.url)
  return new URL(`../../../examples/${file === 'eventlog.ts' ? '' : 'demo/'}${file}`, import.meta.url)
}

class Tour {
  readonly checks: Check[] = []
  readonly #options: TourOptions
  readonly #folder: string
  readonly #main = fileURLToPath(new URL(fromSource ? './main.ts' : './main.js', import.meta.url))
  /** What was launched and belongs to nobody. */
  #launched: number | undefined
  /** Whatever is shown is written one behind the other. */
  #shown: Promise<void> = Promise.resolve()
  readonly #unread = new AbortController()
  readonly #signal: AbortSignal

  constructor(options: TourOptions) {
    this.#options = options
    this.#signal = AbortSignal.any([options.signal, this.#unread.signal])
    // The real path: processes are known again by it.
    this.#folder = realpathSync(mkdtempSync(join(tmpdir(), 'errand-demo-')))
  }

  async play(): Promise<void> {
    const { signal } = this.#options
    signal.throwIfAborted()
    this.#note(`in ${this.#folder}, which is removed at the end; Ctrl-C ends it and cleans up`)
    await this.#prepare()
    await this.#pair()
    await this.#kinds()
    await this.#interactive()
    await this.#asJob()
    await this.#keptThere()
    await this.#detached()
    await this.#launch()
  }

  /** Ends what runs, removes what lies about. */
  async close(): Promise<void> {
    this.#title('The end')
    if (this.#launched !== undefined && alive(this.#launched)) process.kill(this.#launched)
    const up = PEERS.filter((peer) => existsSync(this.#home(peer)))
    await Promise.all(
      up.map((peer) => this.#run([this.#main, 'down', '--force'], { peer, silent: true, always: true })),
    )
    const until = performance.now() + PATIENCE
    while (this.#processesLeft().length > 0 && performance.now() < until) await delay(50)
    this.#check(this.#processesLeft().length === 0, ['no process is left', ...this.#processesLeft()].join('\n  '))
    rmSync(this.#folder, { recursive: true, force: true })
    await this.#shown
  }

  // ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────────

  async #pair(): Promise<void> {
    this.#title('Three peers, three processes')
    for (const peer of PEERS) {
      // Waited for also when we are to end: one that is half up would not be found, and stay.
      await this.#type(peer, ['up', '--name', peer, '--listen', '/ip4/127.0.0.1/tcp/0'], { always: true })
    }
    this.#note('pairing: one pasted line; from then on laptop may go there, not the other way round')
    for (const peer of ['server01', 'server02'] as const) {
      await this.#type('laptop', ['join', (await this.#type(peer, ['invite'])).trim()])
    }
    await this.#type('laptop', ['peer', 'list'])
  }

  async #kinds(): Promise<void> {
    this.#title('Three kinds of jobs')
    this.#note('each says which process and which thread it ran in')
    const who =
      'const { threadId } = await import("node:worker_threads"); yield `process ${process.pid}, thread ${threadId}`'
    const remote = await this.#started('laptop', ['start', '--on', 'server01', '-e', who])
    const background = await this.#started('laptop', ['start', '-e', who])
    const thread = await this.#started('laptop', ['start', '--engine', 'thread', '-e', who])
    await this.#type('laptop', ['wait', remote, background, thread])
    for (const id of [remote, background, thread]) await this.#type('laptop', ['receive', id, '--keep'])
    await this.#type('laptop', ['Get-Job'])
    this.#note('the remote job ran in a process of server01, the background job in one of its own,')
    this.#note('the thread job in this one:')
    await this.#type('laptop', ['status'])
  }

  async #interactive(): Promise<void> {
    this.#title('Way 1: an interactive session')
    const saved = join(this.#home('server01'), 'PsLog.txt')
    await this.#type('laptop', ['enter', 'server01'], {
      input: `const { default: eventlog } = await import(${JSON.stringify(join(this.#folder, 'eventlog.ts'))})
job = await start(eventlog, { name: 'events', args: [{ newest: 20 }] })
await wait(job)
jobs()
await save(job, ${JSON.stringify(saved)}, { format: 'ndjson' })
exit
`,
    })
    this.#note('the session is gone, the file is still there: read back over a session that stays')
    await this.#type('laptop', ['session', 'new', 'server01', '--name', 's'])
    const read = `const lines = (await fs.promises.readFile(${JSON.stringify(saved)}, "utf8")).trimEnd().split("\\n"); for (const line of lines.slice(-3)) yield JSON.parse(line).value`
    await this.#type('laptop', ['run', '--on', 'session:s', '-e', read])
  }

  async #asJob(): Promise<void> {
    this.#title('Way 2: AsJob — the work there, the job and its results here')
    const on = 'server01,server02'
    const newest = ['--args', '[{"newest":3}]']
    const job = await this.#started('laptop', ['start', '--on', on, '--name', 'events', 'eventlog.ts', ...newest])
    await this.#type('laptop', ['wait', job])
    await this.#type('laptop', ['Get-Job', job])
    await this.#type('laptop', ['receive', job])
  }

  async #keptThere(): Promise<void> {
    this.#title('Way 3: started there, kept there, received when we like')
    const at = ['--at', 'server01']
    const job = await this.#started('laptop', [...at, 'start', 'eventlog.ts', '--args', '[{"newest":3}]'])
    await this.#type('laptop', [...at, 'wait', job])
    await this.#type('laptop', [...at, 'list'])
    const first = await this.#type('laptop', [...at, 'receive', job, '--keep'])
    const second = await this.#type('laptop', [...at, 'receive', job, '--keep'])
    this.#check(first === second && first !== '', 'received twice with --keep: the same')
  }

  async #detached(): Promise<void> {
    this.#title('Way 4: detached — 60 lines, 250 ms a line, from one program to the next')
    const ticket = (await this.#run([this.#main, 'invite'], { peer: 'server01', silent: true })).stdout.trim()
    const before = await this.#program(['leave.ts', 'program', ticket])
    this.#note('that process is gone. The counter goes on counting on server01.')
    const after = await this.#program(['take-up.ts', 'program'])
    const lines = `${before}${after}`.split('\n').filter((line) => line.startsWith('Output '))
    const wanted = Array.from({ length: 60 }, (_, index) => `Output ${index + 1}`)
    this.#check(lines.join() === wanted.join(), 'lines 1 to 60, each once, over the two programs')
  }

  async #launch(): Promise<void> {
    this.#title('And what needs no session at all: Start-Process')
    this.#launched = Number(
      await this.#started('laptop', ['launch', '--', process.execPath, '-e', 'setTimeout(() => {}, 3e5)']),
    )
    await this.#type('laptop', ['down', '--force'])
    this.#check(alive(this.#launched), 'launched: it survives even the peer')
  }

  // ── how ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #home(peer: PeerName): string {
    return join(this.#folder, peer)
  }

  /** What a user has in the folder they work in: their files, and the packages their programs import. */
  async #prepare(): Promise<void> {
    for (const file of FILES) await copyFile(placeOf(file), join(this.#folder, file))
    const packages = join(this.#folder, 'node_modules', '@errand')
    await mkdir(packages, { recursive: true })
    const { resolve } = createRequire(import.meta.url)
    for (const name of ['runtime', 'transport']) {
      await symlink(dirname(resolve(`@errand/${name}/package.json`)), join(packages, name), 'junction')
    }
    await mkdir(join(this.#folder, 'program'))
  }

  /** A command as somebody types it on that machine, and what it shows. Resolves to its stdout. @throws Failure DEMO */
  async #type(
    peer: PeerName,
    words: readonly string[],
    options: { input?: string; always?: boolean } = {},
  ): Promise<string> {
    this.#signal.throwIfAborted()
    this.#prompt(peer, ['errand', ...words])
    const { code, stdout } = await this.#run([this.#main, ...words], { peer, ...options })
    this.#signal.throwIfAborted()
    if (code !== 0) throw new Failure('DEMO', `${peer}: errand ${words.join(' ')} ended with ${code}`)
    return stdout
  }

  /** The same, where what is printed is an id. */
  async #started(peer: PeerName, words: readonly string[]): Promise<string> {
    return (await this.#type(peer, words)).trim()
  }

  /** A program of the user's. */
  async #program(words: readonly string[]): Promise<string> {
    this.#prompt('laptop', ['node', ...words])
    const { code, stdout } = await this.#run(words)
    if (code !== 0) throw new Failure('DEMO', `node ${words.join(' ')} ended with ${code}`)
    return stdout
  }

  /** Runs a program of Node's to its end and shows what it prints as it comes. `always`: also while we are to end. */
  async #run(
    words: readonly string[],
    options: { peer?: PeerName; input?: string; silent?: boolean; always?: boolean } = {},
  ): Promise<{ code: number; stdout: string }> {
    const { peer, input = '', silent = false, always = false } = options
    if (!always) this.#signal.throwIfAborted()
    const flags = process.execArgv.filter((flag) => !flag.startsWith('--disable-warning'))
    const child = spawn(process.execPath, [...flags, '--disable-warning=ExperimentalWarning', ...words], {
      cwd: this.#folder,
      env: { ...this.#options.env, ...(peer && { ERRAND_HOME: this.#home(peer) }) },
      // A group of its own: Ctrl-C is ours to deal with.
      detached: process.platform !== 'win32',
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    let late: NodeJS.Timeout | undefined
    const end = (): void => {
      child.kill('SIGTERM')
      late = setTimeout(() => child.kill('SIGKILL'), GRACE)
    }
    if (!always) this.#signal.addEventListener('abort', end, { once: true })
    child.stdin.on('error', () => {}) // it ended before it read everything: its exit code says how
    child.stdin.end(input)
    let stdout = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      if (!silent) this.#show(this.#cut(text))
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (!silent) this.#show(this.#options.terminal.data('dim', this.#cut(text)))
    })
    try {
      const code = await new Promise<number>((resolve, reject) => {
        child.once('error', reject)
        child.once('close', (status) => resolve(status ?? 1))
      })
      if (!always) this.#signal.throwIfAborted()
      return { code, stdout }
    } finally {
      clearTimeout(late)
      this.#signal.removeEventListener('abort', end)
    }
  }

  /** Every process that knows one of our homes. Only Linux tells; elsewhere there seems to be none. */
  #processesLeft(): string[] {
    if (!existsSync('/proc/self/environ')) return []
    return readdirSync('/proc').flatMap((pid) => {
      if (!/^\d+$/.test(pid) || Number(pid) === process.pid || Number(pid) === this.#launched) return []
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
        return `${environment}${command}`.includes(`${this.#folder}/`) ? [`${pid} ${command}`] : []
      } catch {
        return [] // it ended meanwhile, or is not ours
      }
    })
  }

  #title(text: string): void {
    const rule = `── ${text} `.padEnd(Math.min(96, this.#width), '─')
    if (this.#options.show !== 'nothing') this.#write(`\n${this.#options.terminal.data(['bold', 'cyan'], rule)}\n`)
  }

  #note(text: string): void {
    this.#show(`${this.#options.terminal.data('dim', `# ${text}`)}\n`)
  }

  #prompt(peer: string, words: readonly string[]): void {
    const shown = words
      .map((word) =>
        word.startsWith('errand1-') ? `${word.slice(0, 40)}…` : word === process.execPath ? 'node' : word,
      )
      .map((word) => (/[\s'"(){};|&<>*$!]/.test(word) ? `'${word}'` : word))
    this.#show(`${this.#options.terminal.data('green', `${peer}$`)} ${shown.join(' ')}\n`)
  }

  #check(ok: boolean, what: string): void {
    this.checks.push({ what, ok })
    const { terminal, show } = this.#options
    const text = ok ? terminal.data('dim', `# checked: ${what}`) : terminal.data('red', `! not so: ${what}`)
    if (show !== 'nothing') this.#write(`${text}\n`)
  }

  /** Tickets and tables can be very long: cut at the width of the terminal, or of a page. */
  #cut(text: string): string {
    return text.replaceAll(new RegExp(`^(.{${this.#width - 1}}).{2,}$`, 'gm'), '$1…')
  }

  get #width(): number {
    return this.#options.terminal.columns ?? WIDTH
  }

  #show(text: string): void {
    if (this.#options.show === 'all') this.#write(text)
  }

  /** A reader that has left ends the tour. */
  #write(text: string): void {
    this.#shown = this.#shown
      .then(() => this.#options.terminal.out(text))
      .catch((error: unknown) => this.#unread.abort(error))
  }
}

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
