// Machines for tests of the real command line: each a home of its own with a daemon of its own, paired over libp2p on
// loopback. What a test types goes through the real binary in a real process.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testProgram } from '../../../../scripts/test-program.ts'

const main = testProgram(new URL('../../src/main.ts', import.meta.url))
/** How the binary is started: as `npm run errand` does, but for being bundled. */
export const argv: readonly string[] = [
  process.execPath,
  '--conditions=source',
  '--disable-warning=ExperimentalWarning',
  main,
]

export interface Typed {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export class Machines implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'errand-e2e-'))
  readonly #up = new Set<string>()

  home(machine: string): string {
    return join(this.folder, machine)
  }

  /** Types a command on a machine; settles when it has ended, however. */
  async type(
    machine: string,
    words: readonly string[],
    options: { input?: string; env?: Record<string, string> } = {},
  ): Promise<Typed> {
    const [file, ...before] = argv
    const child = spawn(file!, [...before, ...words], {
      cwd: this.folder,
      env: { ...process.env, ERRAND_HOME: this.home(machine), ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    child.stdin.on('error', () => {}) // it ended without reading
    child.stdin.end(options.input ?? '')
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const code = await new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (exitCode, signal) => resolve(exitCode ?? (signal === 'SIGKILL' ? 137 : 1)))
    })
    return { code, stdout, stderr }
  }

  /** Types a command that goes on until it is left. */
  follow(machine: string, ...words: readonly string[]): Following {
    const [file, ...before] = argv
    const env = { ...process.env, ERRAND_HOME: this.home(machine) }
    const child = spawn(file!, [...before, ...words], { cwd: this.folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
    return new Following(child)
  }

  /** The same, and it must have gone well: its stdout. */
  async ok(machine: string, ...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.type(machine, words)
    if (code !== 0) throw new Error(`errand ${words.join(' ')} on ${machine}: exit ${code}\n${stdout}${stderr}`)
    return stdout
  }

  async up(machine: string, ...flags: string[]): Promise<void> {
    await this.start(machine, '--name', machine, '--listen', '/ip4/127.0.0.1/tcp/0', ...flags)
  }

  /** As its settings say. */
  async start(machine: string, ...flags: string[]): Promise<void> {
    this.#up.add(machine)
    await this.ok(machine, 'up', ...flags)
  }

  /** `from` may go to `to`, not the other way round. */
  async pair(from: string, to: string): Promise<void> {
    const ticket = (await this.ok(to, 'invite')).trim()
    await this.ok(from, 'join', ticket)
  }

  async pid(machine: string): Promise<number> {
    return (JSON.parse(await this.ok(machine, 'status', '--json')) as { pid: number }).pid
  }

  /** Live processes of a machine: the daemon, what it started, what is left of it. */
  processes(machine: string): number[] {
    const home = this.home(machine)
    return readdirSync('/proc').flatMap((name) => {
      if (!/^\d+$/.test(name) || Number(name) === process.pid) return []
      try {
        const state = readFileSync(`/proc/${name}/stat`, 'latin1').replace(/^.*\) /s, '')[0]
        const env = readFileSync(`/proc/${name}/environ`, 'utf8')
        return state !== 'Z' && env.includes(`ERRAND_HOME=${home}\0`) ? [Number(name)] : []
      } catch {
        return []
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const machine of this.#up) await this.type(machine, ['down', '--force'])
    await until(() => [...this.#up].every((machine) => this.processes(machine).length === 0))
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A command that goes on: what it has written so far, and its end by Ctrl-C. */
export class Following implements AsyncDisposable {
  stdout = ''
  stderr = ''
  readonly #child: ChildProcess
  readonly #ended: Promise<number>

  constructor(child: ChildProcess) {
    this.#child = child
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.#ended = new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (exitCode) => resolve(exitCode ?? 1))
    })
  }

  get lines(): string[] {
    return this.stdout.split('\n').slice(0, -1)
  }
  /** Each line, as JSON. */
  // oxlint-disable-next-line typescript/no-explicit-any -- what they are is the test's to say
  get documents(): any[] {
    return this.lines.map((line) => JSON.parse(line) as unknown)
  }

  /** Waits for what it says. @throws Error with all it has said, when it ends or says nothing like it in 20 s */
  async until(holds: (said: this) => boolean): Promise<void> {
    let ended: number | undefined
    void this.#ended.then((code) => (ended = code))
    const late = performance.now() + 20_000
    while (!holds(this)) {
      if (ended !== undefined || performance.now() > late)
        throw new Error(`${ended === undefined ? 'not said' : `ended with ${ended}`}:\n${this.stdout}\n${this.stderr}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Its exit code, when it ends by itself. */
  get ended(): Promise<number> {
    return this.#ended
  }

  /** Resolves to the exit code. */
  leave(): Promise<number> {
    this.#child.kill('SIGINT')
    return this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave()
  }
}

/** Waits for a condition; the test's own timeout is the limit. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 50))
}
