// How records look as they come: outputs on stdout, everything else on stderr with a word in front; or one JSON object a
// line.
import { codeOf, type Job, type JobRecord, type JobSnapshot } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { leavesOf } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import { checkFields, pick, recordDocument, RECORD_FIELDS } from './json.ts'
import type { Terminal } from '../terminal.ts'
import { ProgressBars } from './progress.ts'
import { oneLine, pad, plainLines, widthOf } from './table.ts'
import { renderValue } from './value.ts'

export interface PrinterOptions {
  /** Put `server01 | ` before each line. */
  readonly prefix: boolean
  /** Where jobs run, so that all prefixes are as wide and each has a colour. */
  readonly locations?: readonly string[]
  /** Bytes as they are, and what jobs say beside their output too. */
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
    locations: snapshots.flatMap(leavesOf).map(({ location }) => location),
    raw: flags.raw === true,
  })
}

/** An output as stdout shows it: data, which stays as it is. */
export function outputText(terminal: Terminal, value: unknown): string {
  const title = (line: string): string => terminal.data('bold', line)
  return renderValue(value, { columns: terminal.columns, colors: terminal.colorsOut, title })
}

/** Prints records of any number of jobs, each whole, in the order they are given. */
export class RecordPrinter {
  readonly #context: Context
  readonly #options: PrinterOptions
  readonly #progress = new ProgressBars()
  readonly #colors: ReadonlyMap<string, Color>
  readonly #width: number
  /** Messages of errors shown, by job: a job's reason that stood among its records is not said twice. */
  readonly #shown = new Map<string, Set<string>>()

  constructor(context: Context, options: PrinterOptions) {
    // Before the first record is taken.
    checkFields(context.json ?? [], RECORD_FIELDS)
    this.#context = context
    this.#options = options
    const locations = options.locations ?? []
    this.#colors = colorsOf(locations)
    this.#width = Math.max(0, ...locations.map((one) => widthOf(oneLine(one))))
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
        if (this.#context.quiet) return
        this.#progress.take(record.jobId, record.location, record)
        return this.#showProgress()
      case 'gap':
        return this.#words(record, terminal.word('yellow', `(${record.dropped} records lost)`))
      default: {
        const text = renderValue(record.value, { columns: undefined, colors: false })
        return this.#words(record, terminal.word('yellow', `${record.kind.toUpperCase()}: ${this.#theirs(text)}`))
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
      this.#progress.end(leaf.instanceId)
      const { state, reason, location, instanceId } = leaf
      if (state !== 'Failed' || reason === undefined || this.#shown.get(instanceId)?.has(reason.message)) continue
      this.#remember(instanceId, reason)
      if (this.#options.exits && leaves.length === 1 && codeOf(reason) === 'COMMAND_EXIT') continue
      if (this.#context.json === undefined) this.thrown(location, reason)
    }
    this.#progress.end(job.instanceId)
    this.#showProgress()
  }

  /** How far a map is. */
  items(job: JobSnapshot, total: number | undefined): void {
    if (!job.items || this.#context.json !== undefined || this.#context.quiet) return
    this.#progress.count(job.instanceId, job.name, job.items, total)
    this.#showProgress()
  }

  #showProgress(): void {
    const { terminal } = this.#context
    if (!terminal.readsErr) return
    const where = (location: string): string => this.#prefix(location, (style, text) => terminal.word(style, text))
    terminal.live(this.#progress.lines(terminal.liveSize, this.#options.prefix ? { where } : {}))
  }

  /** What went wrong at a place, on stderr. */
  thrown(location: string, error: Error): void {
    const { terminal, verbose } = this.#context
    // What a program writes on stderr is its words, not an error of ours to be marked.
    if (error.name === 'NativeCommandError') return terminal.passOn(this.#said(location, error.message))
    const text = verbose && error.stack !== undefined && error.stack !== '' ? error.stack : error.message
    this.#words({ location }, terminal.word('red', `ERROR: ${this.#theirs(text)}`))
    // Ours say what to do: it was refused over there, say.
    const { hint } = error as { hint?: unknown }
    if (typeof hint === 'string' && hint !== '')
      this.#words({ location }, terminal.word('dim', `  ${plainLines(hint)}`))
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
    const text = this.#prefixed(record.location, outputText(terminal, value), (how, word) => terminal.data(how, word))
    await terminal.out(`${text}\n`)
  }

  #words({ location }: Pick<JobRecord, 'location'>, text: string): void {
    const { terminal } = this.#context
    const line = this.#said(location, text)
    if (this.#options.raw) terminal.passOn(line)
    else terminal.say(line)
  }

  /** What a job says behind a mark of ours. Its outputs, and what its programs write, are data and stay as they are. */
  #theirs(text: string): string {
    return this.#options.raw ? text : plainLines(text)
  }

  #said(location: string, text: string): string {
    const { terminal } = this.#context
    return this.#prefixed(location, text, (style, word) => terminal.word(style, word))
  }

  #prefixed(location: string, text: string, paint: Paint): string {
    if (!this.#options.prefix) return text
    const prefix = this.#prefix(location, paint)
    return text
      .split('\n')
      .map((line) => `${prefix}${line}`)
      .join('\n')
  }

  #prefix(location: string, paint: Paint): string {
    return `${paint(this.#colors.get(location.toLowerCase()) ?? 'cyan', pad(oneLine(location), this.#width))} | `
  }

  #remember(jobId: string, error: Error): void {
    const messages = this.#shown.get(jobId) ?? new Set()
    this.#shown.set(jobId, messages)
    // A job may write errors for ever; only the last ones can be its reason.
    if (messages.size >= 64) messages.delete(messages.values().next().value!)
    messages.add(error.message)
  }
}

type Color = (typeof COLORS)[number]
type Paint = (style: Color, text: string) => string
/** Told apart on a dark and on a light ground; red and yellow are for errors and warnings. */
const COLORS = ['cyan', 'magenta', 'green', 'blue', 'cyanBright', 'magentaBright', 'greenBright', 'blueBright'] as const

/** A location has the same colour each time, and another one than its neighbours for as long as there are enough. */
function colorsOf(locations: readonly string[]): ReadonlyMap<string, Color> {
  const colors = new Map<string, Color>()
  const taken = new Set<Color>()
  for (const location of new Set(locations.map((one) => one.toLowerCase()).toSorted())) {
    let at = 0
    for (const character of location) at = (at * 31 + character.codePointAt(0)!) % 65_521
    if (taken.size === COLORS.length) taken.clear()
    while (taken.has(COLORS[at % COLORS.length]!)) at++
    const color = COLORS[at % COLORS.length]!
    taken.add(color)
    colors.set(location, color)
  }
  return colors
}
