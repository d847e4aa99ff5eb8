// Commands: a program with arguments, its output lines as records, its exit code as the outcome.
// stdout is output, stderr is error records (PowerShell's NativeCommandError); the pipe is read only while there is
// credit, so a program nobody reads waits in its own write.
import type { Writable } from 'node:stream'
import { constants } from 'node:os'
import { Alarm } from '../alarm.ts'
import { CommandExitError, nativeError } from '../errors.ts'
import type { Ending, StopRequest } from '../job-machine.ts'
import { RecordWriter, valuesOf, type RawChunk } from '../record.ts'
import { startError } from './command-start.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import { eachLine } from './process-isolate.ts'
import { spawnTree, type ProcessTree } from './process-tree.ts'

/** How long after a command's exit its silent pipe is kept open. */
const LINGER_MS = 1_000

export class CommandEngine implements Engine {
  readonly #running = new Map<ProcessTree, Promise<void>>()

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    const { argv = [], cwd, env, input } = spec.work
    const [file = '', ...args] = argv
    const controls: { credit?: Execution['credit']; stop?: Execution['stop'] } = {}
    let tree: ProcessTree
    try {
      tree = spawnTree(file, args, {
        cwd,
        env: { ...process.env, ...env },
        stdio: [input ? 'pipe' : 'ignore', 'pipe', 'pipe'],
      })
    } catch (error) {
      const failed = startError(file, cwd, error)
      queueMicrotask(() => io.ended({ outcome: 'failed', error: failed }))
      return { credit() {}, stop() {} }
    }
    if (tree.pid > 0) io.started?.(tree.pid)
    const done = this.#follow(tree, file, cwd, io, controls)
    this.#running.set(tree, done)
    void done.finally(() => this.#running.delete(tree))
    const { stdin } = tree.child
    const typed = stdin && new StandardInput(stdin, (bytes) => io.inputRead?.(bytes))
    let still = false
    const resume = (): void => {
      if (still) tree.resume()
      still = false
    }
    return {
      credit: (bytes) => controls.credit?.(bytes),
      input: (chunk) => typed?.push(chunk),
      endInput: () => typed?.end(),
      suspend: () => {
        still = true
        tree.suspend()
        io.suspended?.()
      },
      resume,
      // What stands still hears nothing.
      stop: (request) => {
        resume()
        controls.stop?.(request)
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const tree of this.#running.keys()) void tree.end()
    await Promise.all(this.#running.values())
  }

  async #follow(
    tree: ProcessTree,
    file: string,
    cwd: string | undefined,
    io: ExecutionIO,
    controls: { credit?: Execution['credit']; stop?: Execution['stop'] },
  ): Promise<void> {
    const { child } = tree
    const writer = new RecordWriter((chunk) => io.chunk(chunk))
    const streams = [child.stdout, child.stderr].filter((stream) => stream !== null)
    let stopping: StopRequest | undefined
    let force: Alarm | undefined
    controls.credit = (bytes) => {
      writer.credit(bytes)
      if (!writer.full) for (const stream of streams) stream.resume()
    }
    controls.stop = (request) => {
      stopping = request
      force?.cancel()
      if (request.grace <= 0) return void tree.end()
      tree.signal('SIGTERM')
      force = new Alarm(request.grace, () => void tree.end())
    }
    const take = (write: (line: string) => void) => (line: string) => {
      write(line)
      if (writer.full) for (const stream of streams) stream.pause()
    }
    if (child.stdout)
      eachLine(
        child.stdout,
        take((line) => writer.write('output', line)),
      )
    if (child.stderr)
      eachLine(
        child.stderr,
        take((line) => writer.write('error', nativeError(line))),
      )

    const exited = Promise.withResolvers<Ending>()
    // Counted in turns of the clock, not in time: between two of them the pipes have been looked at.
    let silent = 0
    for (const stream of streams) stream.on('data', () => (silent = 0))
    let watching: NodeJS.Timeout | undefined
    child.once('error', (error) => exited.resolve({ outcome: 'failed', error: startError(file, cwd, error) }))
    child.once('exit', () => {
      silent = 0
      void tree.end()
      // `close` comes after the last byte, unless a process outside the tree keeps the pipe open, or nobody reads what
      // is left: then it is closed from here, at once for a command that was stopped.
      watching = setInterval(() => {
        const waits = !stopping && (writer.full || ++silent < 10)
        if (!waits) for (const stream of streams) stream.destroy()
      }, LINGER_MS / 10)
    })
    child.once('close', (code, signal) => exited.resolve(endingOf(file, code, signal)))
    const ending = await exited.promise
    clearInterval(watching)
    force?.cancel()
    await tree.end()
    writer.end()
    io.ended(
      stopping ? { outcome: 'stopped', ...(ending.exitCode !== undefined && { exitCode: ending.exitCode }) } : ending,
    )
  }
}

/**
 * What a command reads: bytes as they are, text and anything else as a line each. A program that does not read, or closes
 * its input, is its own affair: what is left is dropped when it has gone.
 */
class StandardInput {
  readonly #stream: Writable
  readonly #onRead: (bytes: number) => void

  constructor(stream: Writable, onRead: (bytes: number) => void) {
    this.#stream = stream
    this.#onRead = onRead
    stream.on('error', () => undefined)
  }

  push(chunk: RawChunk): void {
    const values = valuesOf(chunk)
    // A pipe that is closed takes no more: whoever sends waits for the command's end, and hears of that.
    const taken = (error?: Error | null): void => {
      if (!error) this.#onRead(chunk.bytes.byteLength)
    }
    if (values.length === 0) return taken()
    values.forEach((value, index) => {
      const last = index === values.length - 1
      this.#stream.write(value instanceof Uint8Array ? value : `${lineOf(value)}\n`, last ? taken : undefined)
    })
  }

  end(): void {
    this.#stream.end()
  }
}

function lineOf(value: unknown): string {
  if (typeof value === 'string') return value
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value)
}

function endingOf(file: string, code: number | null, signal: NodeJS.Signals | null): Ending {
  // What a shell would say: 128 + the signal's number.
  const exitCode = code ?? 128 + (signal ? constants.signals[signal] : 0)
  if (exitCode === 0) return { outcome: 'completed', exitCode }
  const error = signal
    ? new CommandExitError(`${file} (killed by ${signal})`, exitCode)
    : new CommandExitError(file, exitCode)
  return { outcome: 'failed', error, exitCode }
}
