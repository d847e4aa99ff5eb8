// How long jobs that have ended are kept. Only this and `remove` delete what a job has said (guarantee G4).
//
// What reader `owner` has taken whole goes first, oldest first. What it has not goes only where there is no room otherwise:
// by number or size, never by age, and that is reported.
import type { JobRow } from './job-row.ts'
import type { JobTable } from './job-table.ts'

/** Of one session's table; durations in milliseconds. */
export interface RetentionRule {
  /** Ended for longer, and read to its end. */
  readonly age?: number | undefined
  /** Jobs that have ended. */
  readonly count?: number | undefined
  /** What their records take. */
  readonly bytes?: number | undefined
}

/** How often it looks for what has become too old, in milliseconds. */
const LOOK_MS = 10 * 60_000
/** Beyond a bound by less than this part of it nothing is looked for: a look goes through all that have ended. */
const SLACK = 0.02

export class Retention {
  readonly #rule: RetentionRule
  readonly #log: (message: string, details: Record<string, unknown>) => void
  readonly #tables = new Set<JobTable>()
  readonly #timer: NodeJS.Timeout
  /** Ended since it looked last. */
  readonly #since = new WeakMap<JobTable, number>()

  /** Whoever made it ends it. */
  constructor(rule: RetentionRule, log: (message: string, details: Record<string, unknown>) => void) {
    this.#rule = rule
    this.#log = log
    this.#timer = setInterval(() => {
      for (const table of this.#tables) this.#sweep(table)
    }, LOOK_MS).unref()
  }

  /** One that was there before the peer was started. */
  take(table: JobTable): void {
    this.#tables.add(table)
    this.#sweep(table)
  }

  /** One more has ended there. */
  look(table: JobTable): void {
    this.#tables.add(table)
    const more = (this.#since.get(table) ?? 0) + 1
    this.#since.set(table, more)
    const { count, bytes } = this.#rule
    const each = count === undefined ? (bytes === undefined ? Infinity : 64) : Math.max(1, Math.floor(count * SLACK))
    if (more >= each) this.#sweep(table)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #sweep(table: JobTable): void {
    this.#since.set(table, 0)
    const { age, count = Infinity, bytes = Infinity } = this.#rule
    const ended = [...table.ended()]
    const oldest = age === undefined ? -Infinity : Date.now() - age
    let jobs = ended.length
    let size = bytes === Infinity ? 0 : ended.reduce((sum, row) => sum + row.bytes, 0)
    const drop = (row: JobRow): void => {
      jobs--
      if (bytes < Infinity) size -= row.bytes
      void table.forget(row)
    }
    const unread: JobRow[] = []
    for (const row of ended) {
      if (row.hasMoreData) unread.push(row)
      else if (jobs > count || size > bytes || row.endedAt.getTime() < oldest) drop(row)
    }
    let lost = 0
    for (const row of unread) {
      if (jobs <= count && size <= bytes) break
      drop(row)
      lost++
    }
    if (lost > 0)
      this.#log('deleted jobs whose output was not read: there was no room for it', { jobs: lost, count, bytes })
  }
}
