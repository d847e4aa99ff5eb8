// One command line in a test: its terminal, its signals, its peer.
import { EventEmitter } from 'node:events'
import { PassThrough, Writable } from 'node:stream'
import { run } from '../src/app.ts'
import { Terminal } from '../src/terminal.ts'
import type { Context } from '../src/context.ts'
import { FakePeer, failure } from './fake-peer.ts'

export interface Ended {
  code: number
  out: string
  err: string
}

export interface Options {
  peer?: FakePeer
  stdin?: string
  /** Columns of the terminal behind stdout and stderr; none: pipes. */
  columns?: number
  env?: NodeJS.ProcessEnv
  cwd?: string
}

/** A stream that keeps what was written; `fails` makes it a pipe whose reader has left. */
export class Sink extends Writable {
  text = ''
  bytes: Buffer[] = []
  isTTY = false
  columns: number | undefined
  #waiting: { until: (text: string) => boolean; resolve: () => void }[] = []

  constructor(columns?: number) {
    super()
    this.isTTY = columns !== undefined
    this.columns = columns
  }
  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.bytes.push(chunk)
    this.text += chunk.toString()
    for (const one of this.#waiting) if (one.until(this.text)) one.resolve()
    done()
  }
  /** Settles when so much has been written. */
  async has(part: string | RegExp): Promise<void> {
    const until = (text: string): boolean => (typeof part === 'string' ? text.includes(part) : part.test(text))
    if (until(this.text)) return
    await new Promise<void>((resolve) => this.#waiting.push({ until, resolve }))
  }
}

/** A command line that is under way. */
export class Running {
  readonly peer: FakePeer
  readonly stdin: PassThrough & { isTTY?: boolean } = new PassThrough()
  readonly stdout: Sink
  readonly stderr: Sink
  readonly signals: EventEmitter = new EventEmitter()
  readonly reached: { start: boolean; home: string }[] = []
  readonly ended: Promise<Ended>

  constructor(argv: readonly string[], options: Options & { stdout?: Sink } = {}) {
    this.peer = options.peer ?? new FakePeer()
    this.stdout = options.stdout ?? new Sink(options.columns)
    this.stderr = new Sink(options.columns)
    if (options.stdin !== undefined) this.stdin.end(options.stdin)
    const { stdin, stdout, stderr, signals } = this
    this.ended = run(argv, {
      stdin,
      stdout,
      stderr,
      signals,
      env: { ERRAND_HOME: '/nowhere/home', ...options.env },
      cwd: options.cwd ?? '/srv/dir',
      connect: async ({ home, start }) => {
        this.reached.push({ home, start })
        return this.peer
      },
    }).then((code) => ({ code, out: stdout.text, err: stderr.text }))
  }
}

/** A command line from beginning to end. */
export function errand(argv: readonly string[], options: Options = {}): Promise<Ended> {
  return new Running(argv, options).ended
}

/** A context for parts that need one. */
export function contextOf(sinks: { stdout: Sink; stderr: Sink }, change: Partial<Context> = {}): Context {
  const terminal = new Terminal({ stdin: new PassThrough(), ...sinks }, {})
  return {
    terminal,
    env: {},
    cwd: '/srv/dir',
    home: '/home',
    json: undefined,
    verbose: false,
    quiet: false,
    yes: false,
    cmdlet: false,
    signal: new AbortController().signal,
    signals: new EventEmitter(),
    connect: async () => {
      throw failure('PEER_UNREACHABLE', 'no peer in this test')
    },
    ...change,
  }
}
