// What is given to a job to read: JSON as typed, or the lines of a file or of stdin, taken only as fast as the job does.
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type { Context } from './context.ts'
import { usage } from './failure.ts'

export interface InputOptions {
  /** Lines are text, also those that are JSON. */
  readonly lines?: boolean | undefined
  /** For a command's standard input: bytes as they are. */
  readonly bytes?: boolean | undefined
}

/** A source that tells when nothing more is read of it. */
export class InputSource implements AsyncIterable<unknown> {
  /** Settles when it is at its end, or has been let go of. @throws what it failed with */
  readonly over: Promise<void>
  /** How many there are: known of values that were typed, and of all at their end. */
  total: number | undefined
  readonly #values: AsyncIterable<unknown>
  readonly #settle: PromiseWithResolvers<void>

  constructor(values: AsyncIterable<unknown>, total?: number) {
    this.#values = values
    this.total = total
    this.#settle = Promise.withResolvers()
    this.over = this.#settle.promise
    this.over.catch(() => undefined) // the job hears of it too
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<unknown> {
    let taken = 0
    try {
      for await (const value of this.#values) {
        taken++
        yield value
      }
      this.total = taken
    } catch (error) {
      this.#settle.reject(error)
      throw error
    } finally {
      this.#settle.resolve()
    }
  }
}

/** What `--input` names: JSON, `@FILE`, `-`. @throws Failure USAGE, also from the source when a line is broken JSON */
export function inputOf(context: Context, what: string, options: InputOptions): InputSource {
  if (what === '-') return new InputSource(read(context.terminal.stdin, options, context.signal))
  if (what.startsWith('@'))
    return new InputSource(readFile(resolve(context.cwd, what.slice(1)), options, context.signal))
  let value: unknown
  try {
    value = JSON.parse(what)
  } catch (error) {
    throw usage(
      `--input: '${what}' is not JSON: ${(error as Error).message}`,
      'JSON, @FILE for a file, or - for stdin; text is written with quotes: \'"text"\'',
    )
  }
  const values: unknown[] = Array.isArray(value) ? value : [value]
  return new InputSource(given(values), values.length)
}

async function* given(values: readonly unknown[]): AsyncGenerator<unknown> {
  yield* values
}

async function* readFile(path: string, options: InputOptions, signal: AbortSignal): AsyncGenerator<unknown> {
  const stream = createReadStream(path)
  const broken = Promise.withResolvers<never>()
  broken.promise.catch(() => undefined) // whoever reads on hears of it; nobody may
  stream.once('error', (error) => broken.reject(usage(`${path} cannot be read: ${error.message}`)))
  // A line reader hears nothing of a file that cannot be opened.
  await Promise.race([once(stream, 'ready').catch(() => broken.promise), broken.promise])
  try {
    yield* read(stream, options, signal)
  } finally {
    stream.destroy()
  }
}

async function* read(stream: Readable, options: InputOptions, signal: AbortSignal): AsyncGenerator<unknown> {
  if (options.bytes) {
    for await (const piece of stream)
      yield typeof piece === 'string' ? Buffer.from(piece) : new Uint8Array(piece as Buffer)
    return
  }
  const lines = createInterface({ input: stream, signal })
  yield* options.lines ? lines : valuesOf(lines)
}

/** Lines as values: JSON where they are, text where not; a lone array is its items. @throws Failure USAGE */
async function* valuesOf(lines: AsyncIterable<string>): AsyncGenerator<unknown> {
  let number = 0
  let alone: readonly unknown[] | undefined
  for await (const line of lines) {
    number++
    if (line.trim() === '') continue
    if (alone) yield alone
    alone = undefined
    const value = valueOf(line, number)
    if (number === 1 && Array.isArray(value)) alone = value as unknown[]
    else yield value
  }
  if (alone) yield* alone
}

function valueOf(line: string, number: number): unknown {
  try {
    return JSON.parse(line)
  } catch (error) {
    if (!/^\s*[{[]/.test(line)) return line
    throw usage(
      `line ${number} of the input is not JSON: ${(error as Error).message}`,
      'one value a line (`jq -c .`); with --lines each line is text',
    )
  }
}
