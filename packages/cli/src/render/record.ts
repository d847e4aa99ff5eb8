// How records look as they come: outputs on stdout, everything else on stderr with a word in front; or one JSON object a
// line.
import { codeOf, type Job, type JobRecord, type JobSnapshot } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { leavesOf } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import { checkFields, pick, recordDocument, RECORD_FIELDS } from './json.ts'
import { ProgressLine } from './progress.ts'
import { renderValue } from './value.ts'

export interface PrinterOptions {
  /** Put `server01 | ` before each line. */
  readonly prefix: boolean
  /** Bytes as they are. */
  readonly raw: boolean
  /** The exit code of a command becomes ours: then it need not be said. */
  readonly exits?: boolean
}

/** Whether lines need to say where they come from: when asked to, or when there are several places. */
export function needsPrefix(prefix: Flags['prefix'], jobs: readonly JobSnapshot[]): boolean {
  if (prefix === 'always' || prefix === 'never') return prefix === 'always'
  return new Set(jobs.flatMap(leavesOf).map(({ location }) => location.toLowerCase())).size > 1
}

/** The printer for these jobs, as flags ask for it. */
export function printerOf(
  context: Context,
  flags: Pick<Flags, 'prefix' | 'raw'>,
  jobs: readonly Job[],
  options: { exits?: boolean } = {},
): RecordPrinter {
  const snapshots = jobs.map((job) => job.snapshot)
  return new RecordPrinter(context, {
    ...options,
    prefix: needsPrefix(flags.prefix, snapshots),
    raw: flags.raw === true,
  })
}

/** Prints records of any number of jobs, each whole, in the order they are given. */
export class RecordPrinter {
  readonly #context: Context
  readonly #options: PrinterOptions
  readonly #progress = new ProgressLine()
  /** Messages of errors shown, by job: a job's reason that stood among its records is not said twice. */
  readonly #shown = new Map<string, Set<string>>()

  constructor(context: Context, options: PrinterOptions) {
    // Before the first record is taken.
    checkFields(context.json ?? [], RECORD_FIELDS)
    this.#context = context
    this.#options = options
  }

  /** Settles when the reader of stdout takes more. @throws Failure EPIPE */
  async print(record: JobRecord): Promise<void> {
    const { terminal, json } = this.#context
    if (record.kind === 'error') this.#remember(record.jobId, record.error)
    if (json !== undefined) {
      return terminal.out(`${JSON.stringify(pick(recordDocument(record), json, RECORD_FIELDS))}\n`)
    }
    switch (record.kind) {
      case 'output':
      case 'information':
        return this.#data(record, record.value)
      case 'error':
        // One command that is run and followed: its exit code, which becomes ours, says it already.
        if (this.#options.exits && !this.#options.prefix && codeOf(record.error) === 'COMMAND_EXIT') return
        return this.thrown(record.location, record.error)
      case 'progress':
        return terminal.live(this.#progress.take(`${record.jobId} ${record.activity}`, record))
      case 'gap':
        return this.#words(record, terminal.word('yellow', `(${record.dropped} records lost)`))
      default: {
        const text = renderValue(record.value, { columns: undefined, colors: false })
        return this.#words(record, terminal.word('yellow', `${record.kind.toUpperCase()}: ${text}`))
      }
    }
  }

  /**
   * Why a job failed, unless its records said so: the failure is not one of them, and is said at each receive. Also
   * ends its progress.
   */
  failure(job: JobSnapshot): void {
    const leaves = leavesOf(job)
    for (const leaf of leaves) {
      this.#context.terminal.live(this.#progress.end(leaf.instanceId))
      const { state, reason, location, instanceId } = leaf
      if (state !== 'Failed' || reason === undefined || this.#shown.get(instanceId)?.has(reason.message)) continue
      this.#remember(instanceId, reason)
      if (this.#options.exits && leaves.length === 1 && codeOf(reason) === 'COMMAND_EXIT') continue
      if (this.#context.json === undefined) this.thrown(location, reason)
    }
  }

  /** What went wrong at a place, on stderr. */
  thrown(location: string, error: Error): void {
    const { terminal, verbose } = this.#context
    // What a program writes on stderr is its words, not an error of ours to be marked.
    if (error.name === 'NativeCommandError') return terminal.say(this.#prefixed(location, error.message))
    const text = verbose && error.stack !== undefined && error.stack !== '' ? error.stack : error.message
    terminal.say(this.#prefixed(location, terminal.word('red', `ERROR: ${text}`)))
    // Ours say what to do: it was refused over there, say.
    const { hint } = error as { hint?: unknown }
    if (typeof hint === 'string' && hint !== '')
      terminal.say(this.#prefixed(location, terminal.word('dim', `  ${hint}`)))
  }

  /** Whether an error with this message stood among the records. */
  hasSaid(error: unknown): boolean {
    const { message } = error as Error
    return [...this.#shown.values()].some((messages) => messages.has(message))
  }

  async #data(record: JobRecord, value: unknown): Promise<void> {
    const { terminal } = this.#context
    if (this.#options.raw && ArrayBuffer.isView(value)) {
      return terminal.out(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
    }
    const style = {
      columns: terminal.columns,
      colors: terminal.colorsOut,
      title: (line: string) => terminal.data('bold', line),
    }
    await terminal.out(`${this.#prefixed(record.location, renderValue(value, style))}\n`)
  }

  #words({ location }: Pick<JobRecord, 'location'>, text: string): void {
    this.#context.terminal.say(this.#prefixed(location, text))
  }

  #prefixed(location: string, text: string): string {
    if (!this.#options.prefix) return text
    return text
      .split('\n')
      .map((line) => `${location} | ${line}`)
      .join('\n')
  }

  #remember(jobId: string, error: Error): void {
    const messages = this.#shown.get(jobId) ?? new Set()
    this.#shown.set(jobId, messages)
    // A job may write errors for ever; only the last ones can be its reason.
    if (messages.size >= 64) messages.delete(messages.values().next().value!)
    messages.add(error.message)
  }
}
