// Waiting for several jobs at once.
import type { Cancel } from '@errand/transport'
import { Alarm } from './alarm.ts'
import { isFinished } from './child-jobs.ts'
import { milliseconds } from './duration.ts'
import { standsStill } from './job-event.ts'
import { checkStates } from './job-filter.ts'
import type { Duration, Job, JobState } from './surface.ts'

export interface WaitOptions extends Cancel {
  /** How long at most; 0 looks once. Default: for ever. The jobs go on. */
  timeout?: Duration
  /** States that count as well as having ended: a job that came to one of them is there, whatever it does next. */
  for?: JobState[]
  /** Goes on waiting for jobs that stand still (Blocked, Suspended, Disconnected). Default false. */
  force?: boolean
}

/** How a wait came out; both lists in the order in which the jobs were given, one that was given twice twice. */
export interface Waited<J> {
  /** Those that are there: ended, or in a state of `for`. `waitAny` names one: the first given of those. */
  finished: J[]
  /**
   * All others. With `timedOut` false each of them stands still — it is Blocked, Suspended or Disconnected, or can be
   * followed no longer — and waiting would be for ever: answer, resume or connect, or wait with `force`. After `waitAny`
   * found one: whatever is left to wait for.
   */
  pending: J[]
  timedOut: boolean
}

/**
 * Waits until every job has ended, or nothing more is to be expected: see Waited. Never throws for a job that failed.
 * @throws UsageError; the reason of `signal`
 * @example const { finished, pending, timedOut } = await waitAll([first, second], { timeout: '30s' })
 */
export function waitAll<J extends Job<any>>(jobs: readonly J[], o: WaitOptions = {}): Promise<Waited<J>> {
  return new Waiting(jobs, o, false).outcome()
}

/** The same for the first of them that has ended; the others are not disturbed. @throws UsageError; the reason of `signal` */
export function waitAny<J extends Job<any>>(jobs: readonly J[], o: WaitOptions = {}): Promise<Waited<J>> {
  return new Waiting(jobs, o, true).outcome()
}

class Waiting<J extends Job<any>> {
  readonly #jobs: readonly J[]
  readonly #options: WaitOptions
  readonly #any: boolean
  readonly #there = new Set<J>()
  /** Of those something is to be expected. */
  readonly #moving: Set<J>
  readonly #over = Promise.withResolvers<void>()

  constructor(jobs: readonly J[], options: WaitOptions, any: boolean) {
    this.#jobs = jobs
    this.#options = options
    this.#any = any
    this.#moving = new Set(jobs)
  }

  async outcome(): Promise<Waited<J>> {
    const { timeout, for: wanted, signal } = this.#options
    checkStates(wanted, 'for')
    const limit = timeout === undefined ? undefined : milliseconds(timeout)
    signal?.throwIfAborted()
    for (const job of [...this.#moving]) this.#look(job, job.state)
    if (!this.#enough && limit !== 0) await this.#wait(limit, signal)
    return this.#result()
  }

  get #enough(): boolean {
    return this.#moving.size === 0 || (this.#any && this.#there.size > 0)
  }

  async #wait(limit: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    const leave = new AbortController()
    const onAbort = (): void => this.#over.reject(signal!.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer = limit === undefined ? undefined : new Alarm(limit, () => this.#over.resolve())
    // Also those that stand still: somebody may set them going again.
    const open = new Set(this.#jobs).difference(this.#there)
    const followed = [...open].map((job) => this.#follow(job, leave.signal).catch(this.#over.reject))
    try {
      await this.#over.promise
    } finally {
      timer?.cancel()
      signal?.removeEventListener('abort', onAbort)
      leave.abort()
      await Promise.all(followed)
    }
  }

  async #follow(job: J, signal: AbortSignal): Promise<void> {
    for await (const { state } of job.watch({ signal })) {
      this.#look(job, state)
      if (this.#enough) this.#over.resolve()
      if (this.#there.has(job)) return
    }
    if (signal.aborted) return
    // Its news have ended before it has: nothing more can be heard of it, also by who waits with `force`.
    this.#moving.delete(job)
    if (this.#enough) this.#over.resolve()
  }

  #look(job: J, state: JobState): void {
    if (isFinished(state) || this.#options.for?.includes(state)) {
      this.#there.add(job)
      this.#moving.delete(job)
    } else if (standsStill(state) && !this.#options.force) this.#moving.delete(job)
    else this.#moving.add(job)
  }

  #result(): Waited<J> {
    const first = this.#any ? this.#jobs.find((job) => this.#there.has(job)) : undefined
    const isThere = (job: J): boolean => (this.#any ? job === first : this.#there.has(job))
    return {
      finished: this.#any ? (first ? [first] : []) : this.#jobs.filter(isThere),
      pending: this.#jobs.filter((job) => !isThere(job)),
      timedOut: !this.#enough,
    }
  }
}
