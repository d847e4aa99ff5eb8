// Runs that were called in a session elsewhere, for as long as nobody has read their end: what is left of them when the
// session is lost under them.
import { OWNER } from './output-log.ts'
import type { SessionEvent, WorkSpec } from './wire.ts'

/** So many are remembered; the oldest goes first, as where they run. */
const CALLS_KEPT = 64

/** A run that may go on there although whoever called it has been told that it is lost. */
export interface LostRun {
  readonly spec: WorkSpec
  /** How many of its records the caller has taken. */
  readonly taken: number
}

export class SentCalls {
  /** By the run's id. */
  readonly #calls = new Map<string, { readonly spec: WorkSpec; taken: number }>()

  /** It is on its way; also when it is sent once more, over another link. */
  sent(spec: WorkSpec): void {
    if (this.#calls.has(spec.startId)) return
    this.#calls.set(spec.startId, { spec, taken: 0 })
    const [oldest] = this.#calls.keys()
    if (this.#calls.size > CALLS_KEPT && oldest !== undefined) this.#calls.delete(oldest)
  }

  /** Refused, or read to its end. */
  over(run: string): void {
    this.#calls.delete(run)
  }

  took({ reader, seqs }: Extract<SessionEvent, { type: 'acknowledge' }>): void {
    if (reader !== OWNER || this.#calls.size === 0) return
    for (const [run, seq] of seqs) {
      const call = this.#calls.get(run)
      if (call) call.taken = Math.max(call.taken, seq)
    }
  }

  /** All of them; none is here any more. */
  take(): readonly LostRun[] {
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    return calls
  }
}
