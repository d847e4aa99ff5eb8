// A lane: an engine in another isolate, driven from here.
//
// Control goes through Comlink, one call per turn (`perform`); records, endings, credit and the scripts' own requests go
// beside it over the wire: a MessagePort handed out through Comlink to a worker, the pipe itself to a child process.
// Comlink's calls never settle when a worker dies, so nobody waits for one: `exited` of the isolate is the news, and
// settles every execution.
import { decode, encode, ChannelClosedError, type Channel, type ChannelEnd } from '@errand/transport'
import type { MessagePort } from 'node:worker_threads'
import type { Remote } from 'comlink'
import { LONGEST_TIMER } from '../duration.ts'
import { asError, EngineExitError, JobStoppedError, ProtocolError } from '../errors.ts'
import type { Ending, StopRequest } from '../job-machine.ts'
import type { Question } from '../surface.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'

export type LaneCommand =
  | { readonly do: 'start'; readonly x: number; readonly spec: Uint8Array }
  | { readonly do: 'stop'; readonly x: number; readonly request: StopRequest }
  | { readonly do: 'answer'; readonly x: number; readonly question: string; readonly value: Uint8Array }
  | { readonly do: 'suspend' | 'resume'; readonly x: number }
  | { readonly do: 'throttle'; readonly x: number; readonly items: number }

/** What is beside Comlink. `link` carries requests of scripts to their session; `n` tells apart who asks. */
export type LaneMessage =
  | ['chunk', x: number, count: number, errors: number, bytes: Uint8Array]
  | ['ended', x: number, ending: Uint8Array]
  | ['started', x: number, pid: number]
  | ['credit', x: number, bytes: number]
  | ['input', x: number, count: number, bytes: Uint8Array]
  /** An Error, encoded, or nothing. */
  | ['input-end', x: number, error: Uint8Array | null]
  | ['input-read', x: number, bytes: number]
  | ['asked', x: number, question: Uint8Array]
  | ['answered', x: number, question: string, refusal: Uint8Array | null]
  | ['begun' | 'suspended', x: number]
  | ['link', n: number, value: Uint8Array | null]

/** The one object an isolate exposes by Comlink. */
export interface LaneServer {
  /** Workers are handed their port here; a child process has its pipe. */
  connect(port?: MessagePort): void
  perform(commands: readonly LaneCommand[]): void
}

/** Messages to and from the other isolate, batched per turn. */
export interface LaneWire {
  post(messages: readonly LaneMessage[]): void
  receive(take: (messages: readonly LaneMessage[]) => void): void
}

/** A worker or a child process that serves an engine. */
export interface Isolate {
  readonly server: Remote<LaneServer>
  readonly wire: LaneWire
  readonly pid: number | undefined
  /** Settles when nothing of it is left, with how it ended. Never rejects. */
  readonly exited: Promise<{ exitCode?: number | undefined; signal?: string | undefined; error?: Error | undefined }>
  /** Memory shared with a worker, which outlives it: how far a map's thread has come (map-page.ts). */
  readonly page?: SharedArrayBuffer
  /** A process's own stdout and stderr, as lines; a worker has none. */
  readonly output?: { onLine(take: (line: string) => void): void; pause(): void; resume(): void }
  /** Whether it keeps this process alive: while it works it does, as a spare it does not. */
  hold(working: boolean): void
  /** By force, with all its descendants. */
  kill(): void
  /** A process and its descendants can stand still; a worker cannot. */
  suspend?(): void
  resume?(): void
}

/** Collects what is sent in one turn and sends it once. */
export class Turn<T> {
  readonly #send: (items: readonly T[]) => void
  #items: T[] = []

  constructor(send: (items: readonly T[]) => void) {
    this.#send = send
  }

  push(item: T): void {
    if (this.#items.push(item) > 1) return
    queueMicrotask(() => {
      const items = this.#items
      this.#items = []
      this.#send(items)
    })
  }
}

/** One end of a channel that rides on a lane. Both ends limit themselves: requests are few, reads have credit. */
export class LaneChannel implements Channel {
  readonly peer: string
  readonly protocol = 'lane'
  readonly closed: Promise<ChannelEnd>
  readonly #post: (value: Uint8Array | null) => void
  readonly #settle: (end: ChannelEnd) => void
  readonly #queue: Uint8Array[] = []
  #wake: (() => void) | undefined
  #over: ChannelEnd | undefined

  constructor(peer: string, post: (value: Uint8Array | null) => void) {
    this.peer = peer
    this.#post = post
    const { promise, resolve } = Promise.withResolvers<ChannelEnd>()
    this.closed = promise
    this.#settle = resolve
  }

  /** The other end's message arrived; null is its end. */
  deliver(value: Uint8Array | null): void {
    if (this.#over) return
    if (value === null) this.#close({})
    else this.#queue.push(value)
    this.#wake?.()
  }

  async send(value: unknown): Promise<void> {
    if (this.#over) throw new ChannelClosedError()
    this.#post(encode(value))
  }

  async end(): Promise<void> {
    this.abort()
  }

  abort(reason?: Error): void {
    if (this.#over) return
    this.#post(null)
    this.#close(reason ? { error: reason } : {})
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<unknown> {
    for (;;) {
      const value = this.#queue.shift()
      if (value) yield decode(value)
      else if (this.#over) {
        if (this.#over.error) throw this.#over.error
        return
      } else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.abort()
  }

  #close(end: ChannelEnd): void {
    this.#over = end
    this.#settle(end)
  }
}

const count = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0

function fits(message: LaneMessage): boolean {
  if (!Array.isArray(message) || !count(message[1])) return false
  const [kind, , third, errors, bytes] = message as unknown[]
  if (kind === 'chunk') return count(third) && count(errors) && bytes instanceof Uint8Array
  if (kind === 'ended') return third instanceof Uint8Array
  if (kind === 'link') return third === null || third instanceof Uint8Array
  if (kind === 'asked') return third instanceof Uint8Array
  if (kind === 'answered') return typeof third === 'string' && (errors === null || errors instanceof Uint8Array)
  if (kind === 'begun' || kind === 'suspended') return true
  return (kind === 'started' || kind === 'input-read') && count(third)
}

/** Serves an engine to the other end of a wire: the inside of an isolate. */
export function serveLane(
  engine: Engine,
  wire: LaneWire,
  onLink: (n: number, value: Uint8Array | null) => void,
): LaneServer {
  const executions = new Map<number, Execution>()
  const out = new Turn<LaneMessage>((messages) => wire.post(messages))
  wire.receive((messages) => {
    for (const message of messages) {
      if (message[0] === 'link') onLink(message[1], message[2])
      const execution = executions.get(message[1])
      if (message[0] === 'credit') execution?.credit(message[2])
      else if (message[0] === 'input') execution?.input?.({ count: message[2], errors: 0, bytes: message[3] })
      else if (message[0] === 'input-end')
        execution?.endInput?.(message[2] === null ? undefined : asError(decode(message[2])))
    }
  })
  return {
    connect() {},
    perform(commands) {
      for (const command of commands) {
        const { x } = command
        const there = executions.get(x)
        if (command.do === 'stop') there?.stop(command.request)
        else if (command.do === 'answer') there?.answer?.(command.question, command.value)
        else if (command.do === 'suspend') there?.suspend?.()
        else if (command.do === 'resume') there?.resume?.()
        else if (command.do === 'throttle') there?.throttle?.(command.items)
        if (command.do !== 'start') continue
        const io: ExecutionIO = {
          chunk: ({ count, errors, bytes }) => out.push(['chunk', x, count, errors, bytes]),
          started: (pid) => out.push(['started', x, pid]),
          begun: () => out.push(['begun', x]),
          inputRead: (bytes) => out.push(['input-read', x, bytes]),
          asked: (question) => out.push(['asked', x, encode(question, { lossy: true })]),
          answered: (question, refusal) =>
            out.push(['answered', x, question, refusal ? encode(refusal, { lossy: true }) : null]),
          suspended: () => out.push(['suspended', x]),
          ended: (ending) => {
            executions.delete(x)
            out.push(['ended', x, encodeEnding(ending)])
          },
        }
        const execution = engine.start(decode(command.spec) as ExecutionSpec, io)
        executions.set(x, execution)
        if (!execution.queued) out.push(['begun', x])
      }
    },
  }
}

/** A script may throw anything; what cannot travel must not keep its job from ending. */
function encodeEnding(ending: Ending): Uint8Array {
  return encode(ending, { lossy: true })
}

function endingOf(bytes: Uint8Array): Ending {
  try {
    const ending = decode(bytes) as Ending
    if (['completed', 'failed', 'stopped'].includes(ending?.outcome)) return ending
    return { outcome: 'failed', error: new ProtocolError('the script ended in a way nobody knows') }
  } catch (error) {
    return { outcome: 'failed', error: asError(error) }
  }
}

/** Undefined where it is none. */
function questionOf(bytes: Uint8Array): Question | undefined {
  try {
    const question = decode(bytes) as Question
    const fits = typeof question?.id === 'string' && typeof question.prompt === 'string'
    return fits ? question : undefined
  } catch {
    return undefined
  }
}

function refusalOf(bytes: Uint8Array | null): Error | undefined {
  if (bytes === null) return undefined
  try {
    return asError(decode(bytes))
  } catch (error) {
    return asError(error)
  }
}

/** Where a script's requests to its session are answered: a channel per asker, served by the host. */
export type OpenSessionLink = (channel: Channel) => void

/** How much longer than the grace a shared isolate gets to end one execution itself (guarantee G9: grace + 2 s). */
const SHARED_MS = 1_500

interface Remaining {
  readonly io: ExecutionIO
  stopping: StopRequest | undefined
  force: NodeJS.Timeout | undefined
}

/** The engine at the other end of a lane. */
export class LaneEngine implements Engine {
  readonly #isolate: Isolate
  readonly #openLink: OpenSessionLink
  readonly #shared: boolean
  readonly #executions = new Map<number, Remaining>()
  readonly #links = new Map<number, LaneChannel>()
  readonly #commands: Turn<LaneCommand>
  readonly #out: Turn<LaneMessage>
  #last = 0
  #gone: Error | undefined

  /** `shared`: several executions live in it and its own engine can end one by force; we only if it does not. */
  constructor(isolate: Isolate, openLink: OpenSessionLink, options: { shared?: boolean } = {}) {
    this.#isolate = isolate
    this.#shared = options.shared === true
    this.#openLink = openLink
    // The call's own promise says nothing: it does not settle when the isolate dies.
    this.#commands = new Turn((commands) => void isolate.server.perform(commands).then(undefined, () => undefined))
    this.#out = new Turn((messages) => isolate.wire.post(messages))
    isolate.wire.receive((messages) => {
      for (const message of messages) this.#take(message)
    })
    void isolate.exited.then((how) => this.#exited(how))
  }

  /** Its isolate has ended: nothing can be started in it any more. */
  get gone(): boolean {
    return this.#gone !== undefined
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    const x = ++this.#last
    if (this.#gone) {
      const error = this.#gone
      queueMicrotask(() => io.ended({ outcome: 'failed', error }))
      return { credit() {}, stop() {} }
    }
    const execution: Remaining = { io, stopping: undefined, force: undefined }
    this.#executions.set(x, execution)
    this.#isolate.hold(true)
    this.#commands.push({ do: 'start', x, spec: encode(spec) })
    if (this.#isolate.pid !== undefined) io.started?.(this.#isolate.pid)
    return {
      // In a pool it may have to wait for its turn.
      queued: this.#shared,
      credit: (bytes) => this.#out.push(['credit', x, bytes]),
      input: ({ count, bytes }) => this.#out.push(['input', x, count, bytes]),
      endInput: (error) => this.#out.push(['input-end', x, error ? encode(error, { lossy: true }) : null]),
      answer: (question, value) => this.#commands.push({ do: 'answer', x, question, value }),
      suspend: () => this.#commands.push({ do: 'suspend', x }),
      resume: () => this.#commands.push({ do: 'resume', x }),
      throttle: (items) => this.#commands.push({ do: 'throttle', x, items }),
      stop: (request) => {
        if (!this.#executions.has(x)) return
        execution.stopping = request
        clearTimeout(execution.force)
        // Asked, then after the grace forced: the isolate goes, and its end is the execution's.
        if (this.#shared) {
          this.#commands.push({ do: 'stop', x, request })
          execution.force = setTimeout(() => this.#isolate.kill(), Math.min(request.grace + SHARED_MS, LONGEST_TIMER))
        } else if (request.grace > 0) {
          this.#commands.push({ do: 'stop', x, request })
          execution.force = setTimeout(() => this.#isolate.kill(), Math.min(request.grace, LONGEST_TIMER))
        } else this.#isolate.kill()
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isolate.kill()
    await this.#isolate.exited
  }

  /** What comes out of an isolate is as trustworthy as the script in it: checked here, where it is taken. */
  #take(message: LaneMessage): void {
    if (!fits(message)) return this.#isolate.kill()
    if (message[0] === 'link') return this.#link(message[1], message[2])
    const execution = this.#executions.get(message[1])
    if (!execution) return
    if (message[0] === 'chunk') execution.io.chunk({ count: message[2], errors: message[3], bytes: message[4] })
    else if (message[0] === 'started') execution.io.started?.(message[2])
    else if (message[0] === 'begun') execution.io.begun?.()
    else if (message[0] === 'input-read') execution.io.inputRead?.(message[2])
    else if (message[0] === 'suspended') execution.io.suspended?.()
    else if (message[0] === 'asked') this.#asked(execution.io, message[2])
    else if (message[0] === 'answered') execution.io.answered?.(message[2], refusalOf(message[3]))
    else if (message[0] === 'ended') {
      this.#executions.delete(message[1])
      if (this.#executions.size === 0) this.#isolate.hold(false)
      clearTimeout(execution.force)
      execution.io.ended(endingOf(message[2]))
    }
  }

  #asked(io: ExecutionIO, bytes: Uint8Array): void {
    const question = questionOf(bytes)
    if (question) io.asked?.(question)
    else this.#isolate.kill()
  }

  #link(n: number, value: Uint8Array | null): void {
    let channel = this.#links.get(n)
    if (!channel) {
      if (value === null) return
      channel = new LaneChannel('script', (bytes) => this.#out.push(['link', n, bytes]))
      this.#links.set(n, channel)
      void channel.closed.then(() => this.#links.delete(n))
      this.#openLink(channel)
    }
    channel.deliver(value)
  }

  #exited(how: { exitCode?: number | undefined; signal?: string | undefined; error?: Error | undefined }): void {
    const what = how.signal
      ? `was killed by ${how.signal}`
      : how.error
        ? `failed: ${how.error.message}`
        : `exited with code ${how.exitCode}`
    const error = new EngineExitError(`the process or thread running the job ${what}`, how)
    this.#gone = error
    for (const [x, { io, stopping, force }] of this.#executions) {
      this.#executions.delete(x)
      clearTimeout(force)
      io.ended(
        stopping
          ? { outcome: 'stopped', error: new JobStoppedError(stopping.reason ?? 'stopped') }
          : { outcome: 'failed', error: asError(error), exitCode: how.exitCode },
      )
    }
    for (const channel of this.#links.values()) channel.abort(error)
  }
}
