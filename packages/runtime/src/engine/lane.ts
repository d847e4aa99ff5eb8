// A lane: an engine in another isolate, driven from here.
//
// Control goes through Comlink, one call per turn (`perform`); starts, records, endings, credit and the scripts' own
// requests go beside it over the wire: a MessagePort handed out through Comlink to a worker, the pipe itself to a child
// process. A start is the one word that every job needs: as a call it would cost a small one a third of its time.
// Comlink's calls never settle when a worker dies, so nobody waits for one: `exited` of the isolate is the news, and
// settles every execution.
import { decode, encode, ChannelClosedError, type Channel, type ChannelEnd } from '@errand/transport'
import type { MessagePort } from 'node:worker_threads'
import type { Remote } from 'comlink'
import { LONGEST_TIMER } from '../duration.ts'
import { asError, EngineExitError, JobStoppedError, ProtocolError } from '../errors.ts'
import type { Ending, StopRequest } from '../job-machine.ts'
import { CREDIT_BYTES, type RawChunk } from '../record.ts'
import type { Completion, Question, SessionSnapshot } from '../surface.ts'
import { COMPLETIONS_MOST, NO_COMPLETION, MAP_THROTTLE_MOST } from '../wire.ts'
import type { Claims } from './claims.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'

export type LaneCommand =
  | { readonly do: 'stop'; readonly x: number; readonly request: StopRequest }
  | { readonly do: 'answer'; readonly x: number; readonly question: string; readonly value: Uint8Array }
  | { readonly do: 'suspend' | 'resume'; readonly x: number }
  /** `x` 0: of the engine as a whole. */
  | { readonly do: 'throttle'; readonly x: number; readonly most: number }

/**
 * What whoever starts an execution wants to hear beside what it says: when it has begun (it may have to wait for its turn,
 * or for its isolate to be there), or, after its ending, whether the isolate rests. Each costs a message.
 */
export type Tells = '' | 'begun' | 'rests'

/** Without `session` where it is as it was told with the start before. */
type LaneSpec = Omit<ExecutionSpec, 'session'> & { readonly session?: SessionSnapshot }

/** What is beside Comlink. `link` carries requests of scripts to their session; `n` tells apart who asks. */
export type LaneMessage =
  /** `place`: given ahead, to be begun when what goes on has ended, by whoever takes it there (claims.ts); else -1. */
  | ['start', x: number, spec: Uint8Array, tells: Tells, place: number]
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
  /** After its ending: nothing goes on in this isolate, or something does. */
  | ['rests', x: number, rests: boolean]
  | ['link', n: number, value: Uint8Array | null]
  /** Names for a line that is being typed; `completed` answers it under its number. */
  | ['complete', n: number, text: string]
  | ['completed', n: number, found: Uint8Array]

/** The one object an isolate exposes by Comlink. */
export interface LaneServer {
  /** Workers are handed their port here; a child process has its pipe. */
  connect(port?: MessagePort): void
  perform(commands: readonly LaneCommand[]): void
}

/** Messages to and from the other isolate, batched per turn. */
export interface LaneWire {
  post(messages: readonly LaneMessage[]): void
  /** Bytes of links that were posted and have not left; a thread's port does not know. */
  readonly waiting?: number
  /** Settles when all that was posted has left; a thread's port does not know. */
  readonly left?: Promise<void>
  receive(take: (messages: readonly LaneMessage[]) => void): void
}

export interface IsolateEnd {
  readonly exitCode?: number | undefined
  readonly signal?: string | undefined
  readonly error?: Error | undefined
  /** Where more is known than that: what it did. */
  readonly why?: string | undefined
}

/** `limit`: its `maxMemory`, where it had one. */
export function outOfMemory(limit: number | undefined): string {
  return `ran out of memory${limit === undefined ? '' : `: its limit is ${limit} MiB (maxMemory)`}`
}

/** A worker or a child process that serves an engine. */
export interface Isolate {
  readonly server: Remote<LaneServer>
  readonly wire: LaneWire
  readonly pid: number | undefined
  /** Settles when nothing of it is left, with how it ended. Never rejects. */
  readonly exited: Promise<IsolateEnd>
  /** Memory shared with a worker, which outlives it: how far a map's thread has come (map-page.ts). */
  readonly page?: SharedArrayBuffer
  /** Of what it was given ahead; only a worker is. */
  readonly claims?: Claims
  /** A process's own stdout and stderr (`wrong`), as lines; a worker has none. */
  readonly output?: { onLine(take: (line: string, wrong: boolean) => void): void; pause(): void; resume(): void }
  /** Whether it keeps this process alive: while it works it does, as a spare it does not. */
  hold(working: boolean): void
  /** By force, with all its descendants. */
  kill(): void
  /** It was killed, or has ended by itself, and will be gone, whatever it still says. */
  readonly killed: boolean
  /** A process and its descendants can stand still; a worker cannot. */
  suspend?(): void
  resume?(): void
}

/**
 * Collects what is sent in one turn and sends it once. `whole`: all that a turn of the event loop brings, from whomever; a
 * write to another process costs both as much as a small job does. What must have left when this process ends does not wait
 * so long.
 */
export class Turn<T> {
  readonly #send: (items: readonly T[]) => void
  readonly #whole: boolean
  #items: T[] = []

  constructor(send: (items: readonly T[]) => void, { whole = false }: { readonly whole?: boolean } = {}) {
    this.#send = send
    this.#whole = whole
  }

  push(item: T): void {
    if (this.#items.push(item) > 1) return
    if (this.#whole) setImmediate(() => this.flush())
    else queueMicrotask(() => this.flush())
  }

  /** At once. */
  flush(): void {
    const items = this.#items
    if (items.length === 0) return
    this.#items = []
    this.#send(items)
  }
}

/** Sends what one end says, null for its end; settles when that has left, where it is known. */
type PostLink = (value: Uint8Array | null) => Promise<void> | void

/** Bytes that wait for an isolate to read them beyond which what its scripts asked for is not answered any more. */
export const ANSWERS_FULL = 64 * 1024 * 1024

/**
 * One end of a channel that rides on a lane. Both ends limit themselves: requests are few, reads have credit, and news of an
 * actor waits until what was said of it before has left.
 */
export class LaneChannel implements Channel {
  readonly peer: string
  readonly protocol = 'lane'
  readonly closed: Promise<ChannelEnd>
  readonly #post: PostLink
  readonly #settle: (end: ChannelEnd) => void
  readonly #queue: Uint8Array[] = []
  #wake: (() => void) | undefined
  #over: ChannelEnd | undefined

  constructor(peer: string, post: PostLink) {
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
    await this.#post(encode(value))
  }

  async end(): Promise<void> {
    this.abort()
  }

  abort(reason?: Error): void {
    if (this.#over) return
    void this.#post(null)
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
  if (kind === 'asked' || kind === 'completed') return third instanceof Uint8Array
  if (kind === 'answered') return typeof third === 'string' && (errors === null || errors instanceof Uint8Array)
  if (kind === 'begun' || kind === 'suspended') return true
  if (kind === 'rests') return typeof third === 'boolean'
  return (kind === 'started' || kind === 'input-read') && count(third)
}

export interface LaneServerOptions {
  readonly onLink: (n: number, value: Uint8Array | null) => void
  /** Nothing goes on in this isolate: asked in a turn of its own. */
  readonly rests?: () => boolean
  /** Where it may be given executions ahead: it begins one when nothing else goes on, and the one before did not stop. */
  readonly claims?: Claims
  /** It serves many executions, in isolates of their own: what they say in one turn leaves in one message. */
  readonly many?: boolean
}

/** Serves an engine to the other end of a wire: the inside of an isolate. */
export function serveLane(
  engine: Engine,
  wire: LaneWire,
  { onLink, rests, claims, many = false }: LaneServerOptions,
): LaneServer {
  const executions = new Map<number, Execution>()
  let last = 0
  let session: SessionSnapshot | undefined
  /** Commands to what has not been started yet: they come another way, which may be the shorter one. */
  let early: LaneCommand[] = []
  const ahead: { readonly x: number; readonly spec: ExecutionSpec; readonly tells: Tells; readonly place: number }[] =
    []
  const out = new Turn<LaneMessage>((messages) => wire.post(messages), { whole: many })
  const start = (x: number, bytes: Uint8Array, tells: Tells, place: number): void => {
    const asked = decode(bytes) as LaneSpec
    session = asked.session ?? session
    const spec = { ...asked, session: session! }
    if (place < 0) return begin(x, spec, tells)
    ahead.push({ x, spec, tells, place })
    if (executions.size === 0) beginNext()
  }
  const beginNext = (): void => {
    // What has ended is told first: what begins now may never let go of this thread.
    out.flush()
    for (let next = ahead.shift(); next; next = ahead.shift()) {
      if (claims?.take(next.place, next.x)) return begin(next.x, next.spec, next.tells)
    }
  }
  const begin = (x: number, spec: ExecutionSpec, tells: Tells): void => {
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
        if (tells === 'rests') setImmediate(() => out.push(['rests', x, rests?.() === true]))
        // Behind one that was stopped nothing begins: whoever stopped it ends this isolate.
        if (ahead.length > 0 && executions.size === 0 && ending.outcome !== 'stopped') beginNext()
      },
    }
    const execution = engine.start(spec, io)
    executions.set(x, execution)
    last = x
    if (tells === 'begun' && !execution.queued) out.push(['begun', x])
    if (early.length === 0) return
    const mine = early.filter((command) => command.x === x)
    early = early.filter((command) => command.x !== x)
    for (const command of mine) perform(command)
  }
  const perform = (command: LaneCommand): void => {
    const { x } = command
    const execution = executions.get(x)
    if (x > last) early.push(command)
    else if (command.do === 'throttle') (execution ?? (x === 0 ? engine : undefined))?.throttle?.(command.most)
    else if (command.do === 'stop') execution?.stop(command.request)
    else if (command.do === 'answer') execution?.answer?.(command.question, command.value)
    else if (command.do === 'suspend') execution?.suspend?.()
    else execution?.resume?.()
  }
  /** Answers whatever comes of it: who asked counts on that. In a realm that a script has changed anything may throw. */
  const complete = async (n: number, text: string): Promise<void> => {
    let found: Uint8Array = NOTHING_FOUND
    try {
      if (engine.complete) found = encode(await engine.complete(text))
    } catch {
      // Nobody is kept from typing by that.
    }
    out.push(['completed', n, found])
  }
  wire.receive((messages) => {
    for (const message of messages) {
      const execution = executions.get(message[1])
      if (message[0] === 'start') start(message[1], message[2], message[3], message[4])
      else if (message[0] === 'link') onLink(message[1], message[2])
      else if (message[0] === 'complete') {
        void complete(message[1], message[2])
      } else if (message[0] === 'credit') execution?.credit(message[2])
      else if (message[0] === 'input') execution?.input?.({ count: message[2], errors: 0, bytes: message[3] })
      else if (message[0] === 'input-end')
        execution?.endInput?.(message[2] === null ? undefined : asError(decode(message[2])))
    }
  })
  return {
    connect() {},
    perform(commands) {
      for (const command of commands) perform(command)
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

/** What does not fit is nothing: the script may have sent it. */
function completionOf(bytes: Uint8Array): Completion {
  if (bytes.byteLength === 0 || bytes.byteLength > COMPLETED_MOST) return NO_COMPLETION
  try {
    const { names, on, more } = decode(bytes) as Completion
    const fits = Array.isArray(names) && names.length <= COMPLETIONS_MOST && typeof on === 'string' && count(more)
    return fits && names.every((name) => typeof name === 'string') ? { names, on, more } : NO_COMPLETION
  } catch {
    return NO_COMPLETION
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

/** A clone takes all the memory that bytes are part of: an item of some bytes lies in a block of 16 KiB. */
export function alone(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()
}

function isSame(now: SessionSnapshot, told: SessionSnapshot | undefined): boolean {
  return told !== undefined && SESSION_FIELDS.every((field) => now[field] === told[field])
}
/** Of one session all that changes, but for how many jobs it has: that changes with each, and who wants to know asks. */
const SESSION_FIELDS = [
  'instanceId',
  'name',
  'state',
  'availability',
  'idleTimeout',
  'expiresAt',
  'buffering',
  'epoch',
] as const satisfies readonly (keyof SessionSnapshot)[]

/** Where a script's requests to its session are answered: a channel per asker, served by the host. */
export type OpenSessionLink = (channel: Channel) => void

/** How much longer than the grace a shared isolate gets to end one execution itself (guarantee G9: grace + 2 s). */
const SHARED_MS = 1_500

/** How long a script that has ended may keep its isolate from saying whether it rests. */
const RESTS_MS = 500

/**
 * Bytes that an execution may say beyond its credit: what a script had said without a `yield` goes with its ending, whoever
 * reads: twice PENDING_BYTES, as the last of it may be as large as a record can be. More is not ours: its isolate ends.
 */
export const OVERDRAFT_BYTES = 32 * 1024 * 1024
/** Each of a map's threads, in an isolate that has several, begins with a credit of its own. */
const MAP_OVERDRAFT_BYTES: number = OVERDRAFT_BYTES + MAP_THROTTLE_MOST * CREDIT_BYTES
/** How long who types waits for an isolate to find names for a line. */
const COMPLETE_MS = 1_000
/** Lines that an isolate is asked about and has not answered yet, whether somebody still waits for that or not. */
const COMPLETING_MOST = 8
/** In the place of an answer: cannot fail to be encoded. */
const NOTHING_FOUND = new Uint8Array(0)
/** Bytes of an answer: as many names as there may be, each as long as it may be, fit twice. */
const COMPLETED_MOST = 64 * 1024
/** Links that the scripts of one isolate may have to their sessions: one each. */
export const OPEN_LINKS = 1024

/** In the place of `ended`. `rests`: nothing goes on in the isolate; false where nobody wanted to hear it. */
export type LaneEnded = (ending: Ending, rests: boolean) => void

/** How an execution is started. */
export interface LaneStart {
  /** Hears of the ending instead of `io`. */
  readonly ended?: LaneEnded
  readonly tells?: Tells
  /** Before it is stopped. False: it has ended already, and that is on its way. */
  readonly onStop?: () => boolean
  /** It begins when what goes on there has ended, unless it is taken back before. Only in a worker. */
  readonly ahead?: boolean
}

/** An execution on a lane. */
export interface LaneExecution extends Execution {
  /** Given ahead: it is not to begin. False: it has begun. */
  readonly takeBack: (() => boolean) | undefined
}

interface Remaining {
  readonly io: ExecutionIO
  readonly ended: LaneEnded | undefined
  readonly tells: Tells
  stopping: StopRequest | undefined
  force: NodeJS.Timeout | undefined
  /** It has ended, and its isolate is to say whether it rests. */
  ending: Ending | undefined
  /** Bytes of records that it may still say. */
  credit: number
}

/** The engine at the other end of a lane. */
export class LaneEngine implements Engine {
  readonly #isolate: Isolate
  readonly #openLink: OpenSessionLink
  readonly #shared: boolean
  readonly #executions = new Map<number, Remaining>()
  readonly #links = new Map<number, LaneChannel>()
  /** What it was asked names for and has not answered: what waits there, it works off before it runs another line. */
  readonly #completing = new Map<number, (found: Completion) => void>()
  #lastAsked = 0
  readonly #commands: Turn<LaneCommand>
  readonly #out: Turn<LaneMessage>
  #last = 0
  /** As it was told last. */
  #session: SessionSnapshot | undefined
  #gone: Error | undefined
  /** What it did that no isolate of ours does: nothing it says counts any more. */
  #fault: ProtocolError | undefined
  #heard = 0

  /** `shared`: several executions live in it and its own engine can end one by force; we only if it does not. */
  constructor(isolate: Isolate, openLink: OpenSessionLink, options: { shared?: boolean } = {}) {
    this.#isolate = isolate
    this.#shared = options.shared === true
    this.#openLink = openLink
    // The call's own promise says nothing: it does not settle when the isolate dies.
    this.#commands = new Turn((commands) => void isolate.server.perform(commands).then(undefined, () => undefined))
    this.#out = new Turn((messages) => isolate.wire.post(messages), { whole: isolate.pid !== undefined })
    isolate.wire.receive((messages) => {
      for (const message of messages) this.#take(message)
      this.#heard = performance.now()
    })
    void isolate.exited.then((how) => this.#exited(how))
  }

  /** Its isolate has ended: nothing can be started in it any more. */
  get gone(): boolean {
    return this.#gone !== undefined
  }

  /** Nothing goes on in it. */
  get idle(): boolean {
    return this.#executions.size === 0
  }

  /** When it last was given work, or said something (`performance.now()`). */
  get heard(): number {
    return this.#heard
  }

  start(spec: ExecutionSpec, io: ExecutionIO, options: LaneStart = {}): LaneExecution {
    const { ended, tells = this.#shared ? 'begun' : '', onStop } = options
    const x = ++this.#last
    if (this.#gone) {
      const error = this.#gone
      const ending: Ending = { outcome: 'failed', error }
      queueMicrotask(() => (ended ? ended(ending, false) : io.ended(ending)))
      return { credit() {}, stop() {}, takeBack: undefined }
    }
    const credit = CREDIT_BYTES + (spec.work.map ? MAP_OVERDRAFT_BYTES : OVERDRAFT_BYTES)
    const execution: Remaining = { io, ended, tells, stopping: undefined, force: undefined, ending: undefined, credit }
    this.#executions.set(x, execution)
    this.#heard = performance.now()
    this.#isolate.hold(true)
    const { session, ...rest } = spec
    const told: LaneSpec = isSame(session, this.#session) ? rest : spec
    this.#session = session
    const claims = options.ahead ? this.#isolate.claims : undefined
    const place = claims?.offer(x) ?? -1
    this.#out.push(['start', x, encode(told), tells, place])
    if (this.#isolate.pid !== undefined) io.started?.(this.#isolate.pid)
    return {
      // In a pool it may have to wait for its turn.
      queued: this.#shared,
      credit: (bytes) => {
        execution.credit += bytes
        this.#out.push(['credit', x, bytes])
      },
      input: ({ count, bytes }) => this.#out.push(['input', x, count, bytes]),
      endInput: (error) => this.#out.push(['input-end', x, error ? encode(error, { lossy: true }) : null]),
      answer: (question, value) => this.#commands.push({ do: 'answer', x, question, value: alone(value) }),
      suspend: () => this.#commands.push({ do: 'suspend', x }),
      resume: () => this.#commands.push({ do: 'resume', x }),
      throttle: (most) => this.#commands.push({ do: 'throttle', x, most }),
      takeBack: claims && (() => claims.take(place, x) && this.#executions.delete(x)),
      stop: (request) => {
        if (!this.#executions.has(x) || execution.ending || onStop?.() === false) return
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

  throttle(most: number): void {
    this.#commands.push({ do: 'throttle', x: 0, most })
  }

  /** Settles with nothing when the isolate is busy for longer than somebody who types waits, or gone. */
  async complete(text: string): Promise<Completion> {
    if (this.#gone || this.#completing.size >= COMPLETING_MOST) return NO_COMPLETION
    const n = ++this.#lastAsked
    const found = Promise.withResolvers<Completion>()
    this.#completing.set(n, found.resolve)
    this.#out.push(['complete', n, text])
    const late = setTimeout(found.resolve, COMPLETE_MS, NO_COMPLETION)
    try {
      return await found.promise
    } finally {
      clearTimeout(late)
    }
  }

  #completed(n: number, bytes: Uint8Array): void {
    this.#completing.get(n)?.(completionOf(bytes))
    this.#completing.delete(n)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isolate.kill()
    await this.#isolate.exited
  }

  /** What comes out of an isolate is as trustworthy as the script in it: checked here, where it is taken. */
  #take(message: LaneMessage): void {
    if (this.#fault) return
    if (!fits(message)) return this.refuse('said what no isolate says')
    if (message[0] === 'link') return this.#link(message[1], message[2])
    if (message[0] === 'completed') return this.#completed(message[1], message[2])
    const execution = this.#executions.get(message[1])
    if (!execution) return
    if (message[0] === 'chunk') this.#chunk(execution, { count: message[2], errors: message[3], bytes: message[4] })
    else if (message[0] === 'started') execution.io.started?.(message[2])
    else if (message[0] === 'begun') execution.io.begun?.()
    else if (message[0] === 'input-read') execution.io.inputRead?.(message[2])
    else if (message[0] === 'suspended') execution.io.suspended?.()
    else if (message[0] === 'asked') this.#asked(execution.io, message[2])
    else if (message[0] === 'answered') execution.io.answered?.(message[2], refusalOf(message[3]))
    else if (message[0] === 'ended') this.#ended(message[1], execution, endingOf(message[2]))
    else if (message[0] === 'rests' && execution.ending) this.#over(message[1], execution, execution.ending, message[2])
  }

  /** Not taken beyond what it was granted: who sends without looking must not fill this process's memory. */
  #chunk(execution: Remaining, chunk: RawChunk): void {
    const { byteLength } = chunk.bytes
    if (execution.credit <= 0) return this.refuse('said more than it was given credit for')
    // Each takes some bytes, however small: what counts otherwise would use up the numbers.
    if (chunk.count > byteLength || chunk.errors > chunk.count) return this.refuse('said what no isolate says')
    execution.credit -= byteLength
    execution.io.chunk(chunk)
  }

  /** A link of ours to whoever serves there, and knows it as number 0. Whatever it is sent counts as its answer. */
  open(): Channel {
    const channel = this.#channel(0)
    if (this.#gone) channel.abort(this.#gone)
    return channel
  }

  #channel(n: number): LaneChannel {
    const channel = new LaneChannel('script', (bytes) => {
      // It asks, and does not read what it is told: that would wait here for as long as it likes.
      if ((this.#isolate.wire.waiting ?? 0) > ANSWERS_FULL) return this.refuse('does not read what it asked for')
      this.#out.push(['link', n, bytes])
    })
    this.#links.set(n, channel)
    void channel.closed.then(() => this.#links.delete(n))
    return channel
  }

  /** For what it did. Its end is the ending of all that it was at. */
  refuse(what: string): void {
    this.#fault ??= new ProtocolError(`an isolate ${what}`)
    this.#isolate.kill()
  }

  #ended(x: number, execution: Remaining, ending: Ending): void {
    clearTimeout(execution.force)
    if (execution.tells !== 'rests') return this.#over(x, execution, ending, false)
    execution.ending = ending
    // What it left running may never let go of the isolate.
    execution.force = setTimeout(() => this.#over(x, execution, ending, false), RESTS_MS)
  }

  #over(x: number, execution: Remaining, ending: Ending, rests: boolean): void {
    this.#executions.delete(x)
    clearTimeout(execution.force)
    if (this.#executions.size === 0) this.#isolate.hold(false)
    if (execution.ended) execution.ended(ending, rests)
    else execution.io.ended(ending)
  }

  #asked(io: ExecutionIO, bytes: Uint8Array): void {
    const question = questionOf(bytes)
    if (question) io.asked?.(question)
    else this.refuse('asked what is no question')
  }

  #link(n: number, value: Uint8Array | null): void {
    let channel = this.#links.get(n)
    if (!channel) {
      if (value === null) return
      if (this.#links.size >= OPEN_LINKS) return this.refuse(`opened more than ${OPEN_LINKS} links to its session`)
      channel = this.#channel(n)
      this.#openLink(channel)
    }
    channel.deliver(value)
  }

  #exited(how: IsolateEnd): void {
    const what =
      this.#fault?.message.replace(/^an isolate/, 'was ended: it') ??
      how.why ??
      (how.signal
        ? `was killed by ${how.signal}`
        : how.error
          ? `failed: ${how.error.message}`
          : `exited with code ${how.exitCode}`)
    const error = new EngineExitError(`the process or thread running the job ${what}`, how)
    this.#gone = error
    for (const [x, execution] of this.#executions) {
      const { stopping, ending } = execution
      if (ending) this.#over(x, execution, ending, false)
      else if (stopping) {
        const reason = new JobStoppedError(stopping.reason ?? 'stopped')
        this.#over(x, execution, { outcome: 'stopped', error: reason }, false)
      } else this.#over(x, execution, { outcome: 'failed', error: asError(error), exitCode: how.exitCode }, false)
    }
    for (const channel of this.#links.values()) channel.abort(error)
    for (const found of this.#completing.values()) found(NO_COMPLETION)
    this.#completing.clear()
  }
}
