// Whether work that has failed is done again, and when. Decides; does nothing itself: the job acts (job.ts).
import { RestartIntensityError } from './errors.ts'

/** So often again, each time after a longer wait. Milliseconds. */
export interface RetryRule {
  readonly times: number
  readonly delay: number
  readonly factor: number
}
/** Again at once and for ever, unless it fails more than `times` times within `within` milliseconds. */
export interface RestartRule {
  readonly times: number
  readonly within: number
}

/** Waits between attempts grow no further. */
const LONGEST_WAIT = 24 * 3_600_000

const FIRST = { count: 1, failures: [] }

/** What follows a failure: another attempt in so many milliseconds, or the end, with this error where it is another. */
export type Verdict = { readonly wait: number; readonly of?: number } | { readonly error?: Error }

export class JobAttempts {
  readonly #retry: RetryRule | undefined
  readonly #restart: RestartRule | undefined
  /** When the last failures were; no more of them than the rule asks for. */
  readonly #failures: number[]
  #count: number

  /** `count`, `failures`: as it had come when it was written down. */
  constructor(
    retry: RetryRule | undefined,
    restart: RestartRule | undefined,
    { count, failures }: { readonly count: number; readonly failures: readonly number[] } = FIRST,
  ) {
    this.#retry = retry
    this.#restart = restart
    this.#count = count
    this.#failures = [...failures]
  }

  /** It is done again when it fails. */
  get ruled(): boolean {
    return this.#retry !== undefined || this.#restart !== undefined
  }

  get failures(): readonly number[] {
    return this.#failures
  }

  /** The present attempt, from 1. */
  get count(): number {
    return this.#count
  }

  /** It failed at `now` (milliseconds): a verdict with `wait` begins the next attempt. */
  failed(error: Error, now: number): Verdict {
    const verdict = this.#retry ? this.#retried(this.#retry) : this.#restart ? this.#restarted(error, now) : {}
    if ('wait' in verdict) this.#count++
    return verdict
  }

  #retried({ times, delay, factor }: RetryRule): Verdict {
    if (this.#count > times) return {}
    return { wait: Math.min(delay * factor ** (this.#count - 1), LONGEST_WAIT), of: times + 1 }
  }

  #restarted(error: Error, now: number): Verdict {
    const { times, within } = this.#restart!
    const recent = this.#failures
    recent.push(now)
    while (now - recent[0]! > within) recent.shift()
    if (recent.length <= times) return { wait: 0 }
    return { error: new RestartIntensityError(recent.length, within, { cause: error }) }
  }
}
