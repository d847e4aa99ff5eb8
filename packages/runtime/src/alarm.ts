// One time to come: rings once, unless it is cancelled first. Also when it is further off than one timer can wait.
import { LONGEST_TIMER } from './duration.ts'

export class Alarm {
  #timer: NodeJS.Timeout | undefined

  /** Rings in `ms` milliseconds, never within this turn. Whoever made it cancels it. */
  constructor(ms: number, ring: () => void) {
    this.#wait(ms, ring)
  }

  /** Idempotent. */
  cancel(): void {
    clearTimeout(this.#timer)
  }

  #wait(left: number, ring: () => void): void {
    const step = Math.min(left, LONGEST_TIMER)
    this.#timer = setTimeout(() => (left > step ? this.#wait(left - step, ring) : ring()), step)
  }
}
