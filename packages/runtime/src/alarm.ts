// One time to come: rings once, unless it is cancelled first. Also when it is further off than one timer can wait.
import { LONGEST_TIMER } from './duration.ts'

export class Alarm {
  readonly #keep: boolean
  #timer: NodeJS.Timeout | undefined

  /**
   * Rings in `ms` milliseconds of a machine that runs, whatever its clock is set to meanwhile, never within this turn.
   * Whoever made it cancels it. `keep: false`: a process that has nothing else to do does not wait for it.
   */
  constructor(ms: number, ring: () => void, { keep = true }: { keep?: boolean } = {}) {
    this.#keep = keep
    this.#wait(ms, ring)
  }

  /** Idempotent. */
  cancel(): void {
    clearTimeout(this.#timer)
  }

  #wait(left: number, ring: () => void): void {
    const step = Math.min(left, LONGEST_TIMER)
    this.#timer = setTimeout(() => (left > step ? this.#wait(left - step, ring) : ring()), step)
    if (!this.#keep) this.#timer.unref()
  }
}
