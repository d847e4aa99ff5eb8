// Real peers for tests: every server is a process of its own on 127.0.0.1, the test's own process is the laptop; they
// were paired by tickets. Whoever made it closes it; closing says which processes were left behind
// (it looks into /proc: Linux).
import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { libp2p } from '@errand/transport/libp2p'
import { testProgram } from '../../../../scripts/test-program.ts'
import { alive } from '../../campaigns/fixtures/marked.ts'
import { type JobRecord, type Peer, type PeerOptions, createPeer } from '../../src/index.ts'
import type { Commands, PeerProcessOptions, Reply, Request } from './peer-process.ts'

export { alive }

/** In the environment of everything a fixture's peer started, and of what that started. */
const MARK = 'ERRAND_TEST_PEER'
const PROGRAM = testProgram(new URL('./peer-process.ts', import.meta.url))
const LOOPBACK = '/ip4/127.0.0.1/tcp/0'
const WAIT_MS = 25_000
const LOOK_MS = 10
/** What has not settled by then never will: nothing that is waited for so takes longer than 5 s. */
const HANG_MS = 12_000
const CLOSE_MS = 12_000

/** Looks until there is something to see. @throws Error that says what was waited for */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  timeout: number = WAIT_MS,
): Promise<Exclude<T, undefined | null | false>> {
  const deadline = Date.now() + timeout
  for (;;) {
    const seen = await look()
    if (seen !== undefined && seen !== null && seen !== false) return seen as Exclude<T, undefined | null | false>
    if (Date.now() > deadline) throw new Error(`waited ${timeout} ms in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** What comes of it, unless it hangs. @throws Error that says what hung */
export async function within<T>(what: string, outcome: PromiseLike<T>, timeout: number = HANG_MS): Promise<T> {
  const hung = Promise.withResolvers<never>()
  const timer = setTimeout(() => hung.reject(new Error(`nothing came of it in ${timeout} ms: ${what}`)), timeout)
  try {
    return await Promise.race([outcome, hung.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** The error that comes of it. @throws Error when none does */
export async function refusal(what: string, act: () => PromiseLike<unknown>): Promise<Error> {
  let value: unknown
  try {
    value = await within(
      what,
      (async () => act())(), // what throws at once is a refusal too
    )
  } catch (error) {
    return error as Error
  }
  throw new Error(`it was not refused: ${what}; it gave ${String(value)}`)
}

/** Live processes that carry this mark, whoever their parent is by now. */
function processesMarked(mark: string): number[] {
  const entry = `${MARK}=${mark}`
  const found: number[] = []
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
      if (environment.some((one) => one.startsWith(entry)) && alive(pid)) found.push(pid)
    } catch {
      // ended while we looked, or not ours
    }
  }
  return found
}

/** What they are, for a message. */
function described(pids: readonly number[]): string {
  return pids
    .map((pid) => {
      try {
        return `${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').slice(0, 200)}`
      } catch {
        return String(pid)
      }
    })
    .join('\n')
}

function isOurReaper(pid: number): boolean {
  const line = described([pid])
  return line.includes('reaper-entry') && parentOf(pid) === process.pid
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return undefined
  }
}

/** The values of the outputs, in the order they came. */
export async function outputs<O>(records: AsyncIterable<JobRecord<O>> | Iterable<JobRecord<O>>): Promise<O[]> {
  const values: O[] = []
  for await (const record of records) if (record.kind === 'output') values.push(record.value)
  return values
}

/** Everything, in the order it came. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const taken: T[] = []
  for await (const item of items) taken.push(item)
  return taken
}

/** `namespace`: the network namespace it runs in, which is there already (Linux, as root). */
type PlacedOptions = PeerProcessOptions & { namespace?: string }

/** A peer in a process of its own. Started again with the same home it is the same peer at the same address. */
export class PeerProcess {
  readonly name: string
  readonly home: string
  readonly mark: string
  id = ''
  addresses: readonly string[] = []
  #options: PlacedOptions
  #child: ChildProcess | undefined
  #calls = 0
  #waiting = new Map<number, Waiting>()

  constructor(options: PlacedOptions, mark: string) {
    this.name = options.name
    this.home = options.home
    this.mark = mark
    this.#options = options
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Its own process and everything that it, or what it started, started. */
  processes(): number[] {
    return processesMarked(this.mark)
  }

  async start(): Promise<this> {
    await mkdir(this.home, { recursive: true, mode: 0o700 }) // a daemon's home is nobody else's
    const { namespace, ...options } = this.#options
    const node = ['--conditions=source']
    const child = fork(PROGRAM, [JSON.stringify(options)], {
      cwd: this.home,
      ...(namespace === undefined
        ? { execArgv: node }
        : { execPath: 'ip', execArgv: ['netns', 'exec', namespace, process.execPath, ...node] }),
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, [MARK]: this.mark },
    })
    this.#child = child
    let said = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text))
    const ready = Promise.withResolvers<void>()
    child.on('message', (message: Reply) => {
      if ('ready' in message) {
        this.id = message.ready.id
        this.addresses = message.ready.addresses
        const port = /\/tcp\/(\d+)/.exec(this.addresses[0] ?? '')?.[1]
        if (port !== undefined) this.#options = { ...this.#options, port: Number(port) }
        return ready.resolve()
      }
      const waiting = this.#waiting.get(message.call)
      if ('record' in message) return waiting?.record?.(message.record)
      this.#waiting.delete(message.call)
      if ('value' in message) waiting?.resolve(message.value)
      else waiting?.reject(Object.assign(message.error, { code: message.code }))
    })
    child.on('exit', (code, signal) => {
      const error = new Error(`${this.name} has ended (${signal ?? code})\n${said}`)
      ready.reject(error)
      for (const { reject } of this.#waiting.values()) reject(error)
      this.#waiting.clear()
    })
    await ready.promise
    return this
  }

  ask<K extends keyof Commands>(command: K, ...args: Parameters<Commands[K]>): ReturnType<Commands[K]> {
    return this.#ask(command, args) as ReturnType<Commands[K]>
  }

  /** `follow`, with each record at the moment the program has taken it. */
  follow(record: (one: JobRecord) => void, ...args: Parameters<Commands['follow']>): ReturnType<Commands['follow']> {
    return this.#ask('follow', args, record) as ReturnType<Commands['follow']>
  }

  #ask(command: keyof Commands, args: unknown[], record?: (one: JobRecord) => void): Promise<unknown> {
    const call = ++this.#calls
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#waiting.set(call, { resolve, reject, ...(record && { record }) })
    const request: Request = { call, command, args }
    this.#child!.send(request, (error) => error && reject(error))
    return promise
  }

  /** Ends it without a word, as a power cut would. */
  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  /** Ends it in order; `leave`: without helping it to exit once its peer is closed. */
  async close(how: 'close' | 'leave' = 'close'): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit', { signal: AbortSignal.timeout(CLOSE_MS) })
    try {
      await Promise.all([this.ask(how), exited])
    } catch (error) {
      await this.kill()
      throw new Error(`${this.name} did not close in order`, { cause: error })
    }
  }
}

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  readonly record?: (one: JobRecord) => void
}

type Changes = Partial<Omit<PlacedOptions, 'name'>>

export class Peers {
  /** The peer that the test itself is. */
  readonly laptop: Peer
  readonly #folder: string
  readonly #run: string
  readonly #servers = new Map<string, PeerProcess>()
  readonly #programs: Peer[] = []
  #files = 0

  private constructor(folder: string, run: string, laptop: Peer) {
    this.#folder = folder
    this.#run = run
    this.laptop = laptop
  }

  /** Starts the laptop and servers of these names, and lets the laptop go to each. */
  static async start(...names: string[]): Promise<Peers> {
    const folder = await mkdtemp(join(tmpdir(), 'errand-'))
    const run = randomUUID()
    process.env[MARK] = `${run}/laptop`
    const home = join(folder, 'laptop')
    await mkdir(home)
    const transport = libp2p({ listen: [LOOPBACK], keyFile: join(home, 'key') })
    const peers = new Peers(folder, run, await createPeer({ name: 'laptop', home, transport }))
    try {
      await Promise.all(names.map((name) => peers.add(name)))
    } catch (error) {
      await peers.close().catch(() => {}) // why it could not start says more
      throw error
    }
    return peers
  }

  /** One more server, paired with the laptop. */
  async add(name: string, changes: Changes = {}): Promise<PeerProcess> {
    const server = await this.process(name, changes)
    await this.laptop.join(await server.ask('invite'))
    return server
  }

  /** One more process with a peer in it, paired with nobody. */
  async process(name: string, changes: Changes = {}): Promise<PeerProcess> {
    const home = changes.home ?? join(this.#folder, name)
    const options = { name, network: true, port: 0, daemon: false, ...changes, home }
    const server = new PeerProcess(options, `${this.#run}/${name}`)
    this.#servers.set(name, server)
    return server.start()
  }

  /** One more peer in the test's process, like the laptop; with the same home it has the same key. */
  async program(name: string, options: PeerOptions & { network?: boolean } = {}): Promise<Peer> {
    const { network = true, ...rest } = options
    const home = rest.home ?? join(this.#folder, name)
    await mkdir(home, { recursive: true, mode: 0o700 })
    const transport = network ? { transport: libp2p({ listen: [LOOPBACK], keyFile: join(home, 'key') }) } : {}
    const peer = await createPeer({ name, ...transport, ...rest, home })
    this.#programs.push(peer)
    return peer
  }

  server(name: string): PeerProcess {
    const server = this.#servers.get(name)
    if (server === undefined) throw new Error(`no server ${name} was started`)
    return server
  }

  /** Where a program or server of that name keeps what it keeps. */
  homeOf(name: string): string {
    return join(this.#folder, name)
  }

  /** The path of a file that is not there yet. */
  path(name: string): string {
    return join(this.#folder, `${++this.#files}-${name}`)
  }

  /** A gate for scripts: they wait until the file is there. */
  gate(): Gate {
    const path = this.path('gate')
    return { path, open: () => writeFile(path, '') }
  }

  /** Closes every peer and removes what they wrote. @throws Error when a process is left; it is ended all the same */
  async close(): Promise<void> {
    const closed = await Promise.allSettled([
      this.laptop.close(),
      ...this.#programs.map((peer) => peer.close()),
      ...[...this.#servers.values()].map((server) => server.close()),
    ])
    // The reaper of the test's own process watches for that process, and lives as long.
    const left = (): number[] => processesMarked(`${this.#run}/`).filter((pid) => !isOurReaper(pid))
    const none = await until('no process is left', () => left().length === 0, 8_000).catch(() => false)
    const orphans = left()
    const text = described(orphans)
    for (const pid of orphans) if (alive(pid)) process.kill(pid, 'SIGKILL')
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
    for (const one of closed) if (one.status === 'rejected') throw one.reason
    if (!none && orphans.length > 0) throw new Error(`${orphans.length} processes were left behind:\n${text}`)
  }
}

export interface Gate {
  readonly path: string
  readonly open: () => Promise<void>
}
