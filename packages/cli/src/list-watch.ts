// errand list --watch: the table, kept up to date where it stands; where nobody looks, a line per change.
import { setTimeout as delay } from 'node:timers/promises'
import type { JobFilter, JobSnapshot, PeerEvent } from '@errand/runtime/client'
import type { Context } from './context.ts'
import type { Flags } from './flags.ts'
import { JobBoard } from './job-board.ts'
import { hear, sayLost, untilLeft } from './live.ts'
import { filteredJobs, jobsOf, type Place } from './places.ts'
import { Region } from './region.ts'
import { timeText } from './render/event.ts'
import { jobId, jobTable } from './render/job.ts'
import { jobDocument, JOB_FIELDS, pick } from './render/json.ts'
import { cut, oneLine, printable } from './render/table.ts'

/** Jobs that are held of one table: those that ended first are let go of. */
const MOST = 1000
/** Of a line with `--json`: a job, and whether it is gone. */
const FIELDS = [...JOB_FIELDS, 'removed']
/** How often the table is drawn at most, in ms. */
const REDRAW_MS = 100

/** Resolves to the exit code when it is left. */
export function watchList(
  context: Context,
  flags: Flags,
  filter: JobFilter,
  words: readonly string[],
): Promise<number> {
  if (context.json !== undefined || !context.terminal.readsOut) return streamJobs(context, flags, filter, words)
  return untilLeft(context, (signal) => new Table(context, flags, filter, words).show(signal))
}

/** The jobs of a place that are to be shown, as they are now. */
async function look(
  place: Place,
  words: readonly string[],
  flags: Flags,
  filter: JobFilter,
  context: Context,
): Promise<JobSnapshot[]> {
  if (words.length === 0) return (await filteredJobs([place], filter, context)).map(({ job }) => job.snapshot)
  const named = (await jobsOf([place], words, context)).map(({ job }) => job)
  return named.flatMap((job) => [job, ...(flags.children ? job.children : [])]).map(({ snapshot }) => snapshot)
}

/** What is shown of each table; named jobs are known when it begins. */
class Boards {
  readonly #filter: JobFilter
  readonly #boards = new Map<string | undefined, JobBoard>()

  constructor(filter: JobFilter) {
    this.#filter = filter
  }

  get filter(): JobFilter {
    return { ...this.#filter, newest: Math.min(this.#filter.newest ?? MOST, MOST) }
  }

  begin({ location }: Place, jobs: readonly JobSnapshot[], named: boolean): JobSnapshot[] {
    let board = this.#boards.get(location)
    if (!board) {
      const ids = named ? new Set(jobs.map(({ instanceId }) => instanceId)) : undefined
      board = new JobBoard(named ? {} : this.#filter, MOST, ids)
      this.#boards.set(location, board)
    }
    return board.begin(location, jobs)
  }

  keep(there: ReadonlySet<string | undefined>): void {
    for (const at of [...this.#boards.keys()]) if (!there.has(at)) this.#boards.delete(at)
  }

  take({ location }: Place, event: PeerEvent): boolean {
    return event.kind === 'job' && this.#boards.get(location)?.take(location, event) === true
  }

  rows(most: number): ReturnType<JobBoard['rows']> {
    return [...this.#boards.values()].flatMap((board) => board.rows(most))
  }
}

/** Those there are, then each that changes: a line, or with `--json` a document. Resolves to the exit code when it is left. */
export function streamJobs(
  context: Context,
  flags: Flags,
  filter: JobFilter,
  words: readonly string[],
): Promise<number> {
  const { terminal, json, quiet } = context
  if (json !== undefined) pick({}, json, FIELDS)
  const boards = new Boards(filter)
  const print = async ({ location }: Place, job: JobSnapshot, at: Date, removed = false): Promise<void> => {
    if (json !== undefined) {
      const document = { ...jobDocument(job, location), ...(removed && { removed }) }
      return terminal.out(`${JSON.stringify(pick(document, json, FIELDS))}\n`)
    }
    const state = removed ? 'removed' : job.state
    const where = location === undefined ? [] : [location]
    const cells = [
      jobId(job).padEnd(4),
      state.padEnd(12),
      oneLine(job.location),
      oneLine(job.name),
      oneLine(job.command),
    ]
    const line = printable(
      quiet ? [...where, jobId(job)].join(' ') : [timeText(at, terminal.readsOut), ...where, ...cells].join('  '),
    )
    await terminal.out(`${terminal.columns === undefined ? line : cut(line, terminal.columns)}\n`)
  }
  return untilLeft(context, (signal) =>
    hear(
      context,
      { at: flags.at },
      {
        async begin(place) {
          const jobs = await look(place, words, flags, boards.filter, context)
          for (const job of boards.begin(place, jobs, words.length > 0)) {
            await print(place, job, job.history.at(-1)?.at ?? new Date())
          }
        },
        async event(place, event) {
          if (!boards.take(place, event) || event.kind !== 'job') return
          // That its output was read, say, is for programs.
          if (json === undefined && event.states.length === 0 && !event.removed) return
          await print(place, event.job, event.at, event.removed)
        },
        lost: (reason) => sayLost(context, reason),
      },
      signal,
    ),
  )
}

class Table {
  readonly #context: Context
  readonly #flags: Flags
  readonly #words: readonly string[]
  readonly #boards: Boards
  readonly #region: Region
  #notice = ''
  #away: readonly Error[] = []
  #changed = Promise.withResolvers<void>()

  constructor(context: Context, flags: Flags, filter: JobFilter, words: readonly string[]) {
    this.#context = context
    this.#flags = flags
    this.#words = words
    this.#boards = new Boards(filter)
    this.#region = new Region(context.terminal.screen)
  }

  async show(signal: AbortSignal): Promise<void> {
    const { screen } = this.#context.terminal
    const over = new AbortController()
    const change = (): void => this.#changed.resolve()
    screen.on('resize', change)
    const drawing = this.#draw(AbortSignal.any([signal, over.signal]))
    try {
      await hear(
        this.#context,
        { at: this.#flags.at, say: (text) => (this.#notice = text) },
        {
          places: (locations) => this.#boards.keep(locations),
          begin: async (place) => {
            const jobs = await look(place, this.#words, this.#flags, this.#boards.filter, this.#context)
            this.#boards.begin(place, jobs, this.#words.length > 0)
            change()
          },
          event: (place, event) => {
            if (this.#boards.take(place, event)) change()
          },
          away: (reasons) => {
            this.#away = reasons
            change()
          },
        },
        signal,
      )
    } finally {
      over.abort()
      screen.off('resize', change)
      await drawing
      // What it shows last stays.
      this.#region.draw(this.#lines())
      this.#region.leave()
    }
  }

  async #draw(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => aborted.resolve(), { once: true })
    while (!signal.aborted) {
      await Promise.race([this.#changed.promise, aborted.promise])
      if (signal.aborted) return
      this.#changed = Promise.withResolvers()
      this.#region.draw(this.#lines())
      await delay(REDRAW_MS, undefined, { signal }).catch(() => undefined) // aborted: over
    }
  }

  /** No more than fit: what has scrolled away could not be written anew. */
  #lines(): string[] {
    const { terminal } = this.#context
    const { columns, rows } = terminal.size
    const room = Math.max(1, rows - 2)
    const all = this.#boards.rows(MOST)
    const shown = all.slice(-(all.length > room ? room - 1 : room))
    const style = { columns: columns - 1, title: (line: string) => terminal.data('bold', line) }
    const table = shown.length === 0 ? ['no jobs'] : jobTable(shown, style).trimEnd().split('\n')
    if (all.length > shown.length) table.push(cut(`… and ${all.length - shown.length} older ones`, columns - 1))
    const away = this.#away.map(({ message }) => message)
    if (this.#notice !== '' || away.length > 0) {
      const text = printable([this.#notice, ...away].filter((one) => one !== '').join('; '))
      table.push(terminal.data('yellow', cut(away.length > 0 ? `${text}; waiting for it` : text, columns - 1)))
    }
    return table
  }
}
