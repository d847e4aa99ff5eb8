// Runs scripts in this isolate: the inside of a worker, a child process, a runspace.
//
// What a script says is encoded before control returns to it; between two yields it waits for credit and lets the
// event loop turn, so that a stop is heard. A script that never lets go is ended from outside, with its isolate.
import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { format } from 'node:util'
import { decode } from '@errand/transport'
import { LONGEST_TIMER } from '../duration.ts'
import { cutStack } from '../error-stack.ts'
import { asError, ErrandError, JobStoppedError, nativeError } from '../errors.ts'
import type { Ending, StopRequest } from '../job-machine.ts'
import { RecordWriter } from '../record.ts'
import { compileFunction, installBuiltinGlobals } from '../script-compile.ts'
import type { Completion, Kind, Progress, ScriptContext, Session } from '../surface.ts'
import { NO_COMPLETION, type WorkSpec } from '../wire.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import { MapLoop } from './map-host.ts'
import { Questions } from './questions.ts'
import { Rest } from './rest.ts'
import { ScriptInput } from './script-input.ts'

/** How long one execution may keep the event loop for itself between two yields. */
const TURN_MS = 5

export interface ScriptHostOptions {
  /** The session as a script sees it. */
  readonly session: (spec: ExecutionSpec) => Session
  /** This isolate is a process of its own: directory and environment are set on it. */
  readonly ownsProcess: boolean
  /** Of a thread: memory that outlives it. */
  readonly page?: SharedArrayBuffer
}

/** Whose console this is. */
const current = new AsyncLocalStorage<Running>()

interface Running {
  readonly writer: RecordWriter
  readonly abort: AbortController
  readonly input: ScriptInput
  readonly questions: Questions
  readonly rest: Rest
}

export class ScriptHost implements Engine {
  readonly #options: ScriptHostOptions
  #isSetUp = false

  constructor(options: ScriptHostOptions) {
    this.#options = options
    installBuiltinGlobals(globalThis)
    captureConsole()
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    const abort = new AbortController()
    const running: Running = {
      writer: new RecordWriter((chunk) => io.chunk(chunk)),
      abort,
      input: new ScriptInput((bytes) => io.inputRead?.(bytes)),
      questions: new Questions(io, abort.signal),
      rest: new Rest(abort.signal, () => io.suspended?.()),
    }
    void current
      .run(running, () => this.#execute(spec, running))
      .then((ending) => {
        running.writer.end()
        running.questions.close()
        io.ended(ending)
      })
    return {
      credit: (bytes) => running.writer.credit(bytes),
      stop: (request: StopRequest) => {
        const reason = new JobStoppedError(request.reason ?? 'stopped')
        abort.abort(reason)
        // Told here and not by the signal: a listener costs a small job more than all it does.
        running.questions.close(reason)
        running.rest.resume()
      },
      input: (chunk) => running.input.push(chunk),
      endInput: (error) => running.input.end(error),
      answer: (question, value) => running.questions.answer(question, value),
      suspend: () => running.rest.suspend(),
      resume: () => running.rest.resume(),
    }
  }

  async complete(text: string): Promise<Completion> {
    try {
      return (await import('../completion.ts')).complete(text)
    } catch {
      return NO_COMPLETION // it was loaded into a realm that a script had changed
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #execute(spec: ExecutionSpec, running: Running): Promise<Ending> {
    const { signal } = running.abort
    let restore: (() => void) | undefined
    try {
      restore = place(spec, this.#options.ownsProcess)
      const ctx = this.#context(spec, running)
      await this.#setUp(spec, ctx, running)
      if (signal.aborted) return { outcome: 'stopped' }
      const initialized = await this.#init(spec, ctx, running)
      if (signal.aborted) return { outcome: 'stopped' }
      if (spec.work.map) return await this.#map(spec, running)
      const value = await this.#call(spec, ctx)
      const streamed = (await pump(value, running)) || initialized
      return signal.aborted ? { outcome: 'stopped' } : { outcome: 'completed', streamed }
    } catch (error) {
      // What a script throws after it was asked to stop is its way of stopping.
      if (signal.aborted) return { outcome: 'stopped' }
      // The last thing it said, so that every reader hears of it in its place; and the reason the job failed.
      return { outcome: 'failed', error: sayError(running.writer, asError(error)), said: true }
    } finally {
      restore?.()
    }
  }

  /** What the session does in each isolate, once; where it has failed the next one tries again. Nobody sees its outputs. */
  async #setUp(spec: ExecutionSpec, ctx: ScriptContext, { abort }: Running): Promise<void> {
    const { setUp, work } = spec
    if (!setUp || this.#isSetUp || work.kind === 'job') return
    const { prompt: _, payload: __, export: ___, ...rest } = work
    const value = await this.#call({ ...spec, work: { ...rest, ...setUp } }, ctx)
    if (isGenerator(value)) for await (const _ of value) if (abort.signal.aborted) break
    this.#isSetUp = !abort.signal.aborted
  }

  /**
   * What is done before the work, as if it stood before it: its outputs are outputs, what it throws fails the job. True
   * when there may be some: then the work's own value is not the only one.
   */
  async #init(spec: ExecutionSpec, ctx: ScriptContext, running: Running): Promise<boolean> {
    const { init, export: _, ...work } = spec.work
    if (!init) return false
    const value = await this.#call({ ...spec, work: { ...work, ...init } }, ctx)
    return (await pump(value, running)) || value !== undefined
  }

  /** Calls the script for each input; an item that fails says so, and the others go on. */
  async #map(spec: ExecutionSpec, running: Running): Promise<Ending> {
    const { itemTimeout } = spec.work.map!
    const { cwd = process.cwd(), source = '' } = spec.work
    const script = compileFunction(source, given(spec.work).using, {}, { cwd })
    const call = (ctx: ScriptContext, value: unknown): unknown => script(ctx, value)
    const context = (mine: Running): ScriptContext => this.#context(spec, mine)
    const { page } = this.#options
    return new MapLoop({ running, page, itemTimeout, call, context, finish, sayError, mustPause, pause }).run()
  }

  /** Evaluates the work's text and calls it. */
  async #call({ work }: ExecutionSpec, ctx: ScriptContext): Promise<unknown> {
    if (work.kind === 'job') return (await import('../job-definition.ts')).callJob(work, ctx)
    const { args, using } = given(work)
    const source = work.source ?? ''
    switch (work.kind) {
      case 'function': {
        const scope = work.prompt ? (await import('../prompt-scope.ts')).promptScope(ctx, args) : {}
        return compileFunction(source, using, scope, { cwd: ctx.cwd })(ctx, ...args)
      }
      case 'code': {
        const { compileCode } = await import('../script-code.ts')
        const scope = { ...(await import('../prompt-scope.ts')).promptScope(ctx, args), ...using }
        return compileCode(source, Object.keys(scope), { cwd: ctx.cwd }).run(scope)
      }
      case 'line': {
        const { compilePromptLine } = await import('../script-code.ts')
        const scope = { ...(await import('../prompt-scope.ts')).promptScope(ctx, args), ...using }
        const compiled = compilePromptLine(source, Object.keys(scope), { cwd: ctx.cwd })
        if (compiled.incomplete)
          throw new ErrandError('SCRIPT_INCOMPLETE', 'the line goes on: a bracket, quote or comment is open')
        const { value, show } = await compiled.run(scope)
        // Shown to whoever typed the line: how we came to run it is nothing to them.
        if (Error.isError(value)) cutStack(value)
        return show ? value : undefined
      }
      case 'module': {
        const exported = await importText(source)
        const script = exported[work.export ?? 'default']
        if (typeof script === 'function') return script(ctx, ...args)
        if (work.export !== undefined) throw new TypeError(`the module exports no function ${work.export}`)
        return undefined
      }
      default:
        throw new TypeError(`a ${work.kind} is not a script`)
    }
  }

  #context(spec: ExecutionSpec, { writer, abort, input, questions, rest }: Running): ScriptContext {
    const session = this.#options.session
    let opened: Session | undefined
    const say =
      (kind: Kind) =>
      (value: unknown): void =>
        writer.write(kind, value)
    return {
      input: rest.around(input),
      signal: abort.signal,
      location: spec.location,
      cwd: spec.work.cwd ?? process.cwd(),
      get session() {
        return (opened ??= session(spec))
      },
      sleep: (ms) => rest.while(sleep(ms, abort.signal)),
      ask: (question) => {
        // What it said before goes ahead of what it asks.
        writer.flush()
        return rest.while(questions.ask(question))
      },
      progress: (progress: Progress) => writer.write('progress', progress),
      error: (error) => writer.write('error', asError(error)),
      warn: say('warning'),
      verbose: say('verbose'),
      debug: say('debug'),
      info: say('information'),
    }
  }
}

/** Writes what a script returned: a generator's yields one by one, anything else as one output. True: it streamed. */
async function pump(value: unknown, running: Running): Promise<boolean> {
  const { writer, abort } = running
  if (!isGenerator(value)) {
    if (value !== undefined) writer.write('output', value)
    return false
  }
  const { signal } = abort
  let turn = Date.now()
  let taken = false
  try {
    while (!signal.aborted) {
      const next = value.next()
      // What has it at hand is not waited for: that would cost more than the record.
      const step = next instanceof Promise ? await next : next
      if (step.done) {
        if (step.value !== undefined && !signal.aborted) writer.write('output', step.value)
        taken = true
        return true
      }
      writer.write('output', step.value)
      if (mustPause(running, turn, writer.lastAt)) turn = await pause(running, turn)
    }
    return true
  } catch (error) {
    taken = true
    throw error
  } finally {
    if (!taken) await value.return(undefined) // its own `finally` blocks run
  }
}

/** Asked between two records, where waiting for nothing would cost more than the record. `turn`: when it began. */
function mustPause({ writer, rest }: Running, turn: number, now: number = Date.now()): boolean {
  // Also where the clock was set back meanwhile.
  return rest.wanted || writer.full || Math.abs(now - turn) >= TURN_MS
}

/** Stands still when asked to, waits for credit, and gives way to the event loop; tells when the turn began. */
async function pause({ writer, abort, rest }: Running, turn: number): Promise<number> {
  if (rest.wanted) await rest.while(undefined)
  if (writer.full) await writer.ready(abort.signal)
  if (Math.abs(Date.now() - turn) < TURN_MS) return turn
  // What never waits runs in microtasks: without this no stop and no credit would ever be heard.
  await new Promise<void>((resolve) => setImmediate(resolve))
  return Date.now()
}

/** Also longer than one timer can wait. */
async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  let left = ms
  for (; left > LONGEST_TIMER; left -= LONGEST_TIMER) await delay(LONGEST_TIMER, undefined, { signal })
  await delay(left, undefined, { signal })
}

/** What the work was given. */
function given({ payload }: WorkSpec): { args: unknown[]; using: Record<string, unknown> } {
  const { args = [], using = {} } = (payload ? decode(payload) : {}) as {
    args?: unknown[]
    using?: Record<string, unknown>
  }
  return { args, using }
}

/** Writes what an item's call gave; most give a plain value, and waiting for it would cost more than the call. */
function finish(value: unknown, running: Running): Promise<unknown> | undefined {
  const waits = typeof value === 'object' && value !== null && ('then' in value || isGenerator(value))
  if (waits) return Promise.resolve(value).then((awaited) => pump(awaited, running))
  if (value !== undefined) running.writer.write('output', value)
  return undefined
}

/** Writes what a script threw, or, where that cannot be written, what it was: the script's failure must not be ours. */
function sayError(writer: RecordWriter, error: Error, item?: number): Error {
  cutStack(error)
  try {
    writer.write('error', error, item)
    return error
  } catch (unwritable) {
    let text = 'it cannot be shown'
    try {
      text = String(error.message).slice(0, 1000)
    } catch {
      // Its message is a getter that throws.
    }
    const plain = new Error(`${text} (the error itself cannot travel: ${asError(unwritable).message.slice(0, 200)})`)
    try {
      writer.write('error', plain, item)
    } catch {
      // Nothing more can be said: the writer is full. The reason of the job says it.
    }
    return plain
  }
}

type AnyGenerator = AsyncGenerator<unknown, unknown> | Generator<unknown, unknown>

function isGenerator(value: unknown): value is AnyGenerator {
  const tag = Object.prototype.toString.call(value)
  return tag === '[object AsyncGenerator]' || tag === '[object Generator]'
}

/** A module of one file from its text. `data:` modules may import `node:` modules and nothing else. */
function importText(source: string): Promise<Record<string, unknown>> {
  const text = `${source}\n//# sourceURL=errand:script`
  return import(`data:text/javascript;base64,${Buffer.from(text).toString('base64')}#${importCount++}`)
}
/** Each run is a module of its own: the same text imported twice would otherwise run once. */
let importCount = 0

/**
 * Directory and environment of one execution; what it returns puts back what was there. A thread has an environment of
 * its own but no directory: `ctx.cwd` says where the session is.
 */
function place({ work }: ExecutionSpec, ownsProcess: boolean): () => void {
  const before: [string, string | undefined][] = Object.keys(work.env ?? {}).map((name) => [name, process.env[name]])
  const here = ownsProcess && work.cwd !== undefined ? process.cwd() : undefined
  // Who is there already goes nowhere, for which it might have no permission.
  const directory = here === work.cwd ? undefined : here
  if (directory !== undefined) process.chdir(work.cwd!)
  setEnvironment(Object.entries(work.env ?? {}))
  return () => {
    setEnvironment(before)
    // Only if the script has not moved itself: in a runspace that is kept.
    if (directory !== undefined && process.cwd() === work.cwd) process.chdir(directory)
  }
}

function setEnvironment(entries: readonly (readonly [string, string | undefined])[]): void {
  for (const [name, value] of entries) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
}

/** console.*, process.stdout and process.stderr inside a script are its streams; outside one they stay what they were. */
let captured = false
function captureConsole(): void {
  if (captured) return
  captured = true
  const kinds: [keyof Console & ('log' | 'info' | 'warn' | 'error' | 'debug'), Kind][] = [
    ['log', 'information'],
    ['info', 'information'],
    ['warn', 'warning'],
    ['error', 'error'],
    ['debug', 'debug'],
  ]
  for (const [method, kind] of kinds) {
    const original = console[method].bind(console)
    console[method] = (...values: unknown[]): void => {
      const running = current.getStore()
      if (!running) return original(...values)
      const only = values.length === 1 ? values[0] : undefined
      if (kind === 'error') running.writer.write(kind, Error.isError(only) ? only : new Error(format(...values)))
      else running.writer.write(kind, values.length === 1 && typeof only === 'object' ? only : format(...values))
    }
  }
  captureStream(process.stdout, ({ writer }, text) => writer.write('information', text))
  // As of any program: what it writes there is its words, one error record each, without a stack of ours.
  captureStream(process.stderr, ({ writer }, text) => writer.write('error', nativeError(text)))
}

function captureStream(stream: NodeJS.WriteStream, say: (running: Running, text: string) => void): void {
  const write = stream.write.bind(stream) as (...all: unknown[]) => boolean
  stream.write = ((data: string | Uint8Array, ...rest: unknown[]): boolean => {
    const running = current.getStore()
    if (!running) return write(data, ...rest)
    const bytes = typeof data === 'string' ? Buffer.from(data, encodingOf(rest[0])) : Buffer.from(data)
    say(running, bytes.toString().replace(/\n$/, ''))
    for (const callback of rest) if (typeof callback === 'function') callback()
    return true
  }) as typeof stream.write
}

function encodingOf(word: unknown): BufferEncoding {
  return typeof word === 'string' && Buffer.isEncoding(word) ? word : 'utf8'
}
