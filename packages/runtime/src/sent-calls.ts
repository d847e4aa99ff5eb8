// Runs that were called in a session elsewhere, for as long as nobody has read their end: what is left of them when the
// session is lost under them.
import { OWNER } from './output-log.ts'
import type { SessionEvent, WorkSpec } from './wire.ts'

/** So many are remembered; the oldest goes first, as where they run. */
const CALLS_KEPT = 64

/** A run that may go on there although whoever called it has been told that it is lost. */
export interface LostRun {
  readonly id: string
  readonly command: string
  /** That it was given. */
  readonly name: string | undefined
  /** How many of its records the caller has taken. */
  readonly taken: number
}

export class SentCalls {
  /** By id. Not what they were called with: that may be large. */
  readonly #calls = new Map<string, LostRun & { taken: number }>()

  /** It is on its way; also when it is sent once more, over another link. */
  sent({ startId: id, command, name }: WorkSpec): void {
    if (this.#calls.has(id)) return
    this.#calls.set(id, { id, command, name, taken: 0 })
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
