// Where a transport takes its time from: the system's clock, or one that a test moves by hand.

import { setImmediate as nextTurn } from 'node:timers/promises'

/** Something that will be called, until it is stopped. Stopping twice, or afterwards, does nothing. */
export interface Timer {
  /** It is not called any more. */
  stop(): void
}

/** All times of channels, heartbeats and carriers of ours. Its timers keep no process alive, but where they are told to. */
export interface Clock {
  /** Milliseconds since a moment of the clock's own; never goes back. */
  now(): number
  /** Calls once, after so many milliseconds. `keep`: a process that has nothing else to do waits for it. */
  after(ms: number, act: () => void, keep?: boolean): Timer
  /** Calls again and again; a turn that was missed is not made up for. */
  every(ms: number, act: () => void): Timer
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, act, keep) {
    const timer = setTimeout(act, ms)
    if (keep !== true) timer.unref()
    return { stop: () => clearTimeout(timer) }
  },
  every(ms, act) {
    const timer = setInterval(act, ms).unref()
    return { stop: () => clearInterval(timer) }
  },
}

interface Due extends Timer {
  readonly at: number
  readonly act: () => void
  /** Of those due at the same time, the one that was set first is called first. */
  readonly order: number
}

/** Rounds of immediates in one place of time beyond which something is taken to go round for ever. */
const MAX_ROUNDS = 10_000

/** A clock that stands still until it is moved. For tests: hours pass in the time their work takes. */
export class ManualClock implements Clock {
  readonly #label: string
  /** The next one last. */
  readonly #due: Due[] = []
  #now = 0
  #order = 0
  #moving = false

  /** `label`: what its errors call it. */
  constructor(label = 'the clock') {
    this.#label = label
  }

  now(): number {
    return this.#now
  }

  /** Timers set and not yet called or stopped. */
  get size(): number {
    return this.#due.length
  }

  after(ms: number, act: () => void): Timer {
    return this.#set(ms, act)
  }

  every(ms: number, act: () => void): Timer {
    let next: Timer
    const again = (): void => {
      next = this.#set(ms, again)
      act()
    }
    next = this.#set(ms, again)
    return { stop: () => next.stop() }
  }

  /**
   * Moves on by so many milliseconds, calling what falls due in the order of its time. Before each call, and at the end,
   * all promise jobs and immediates there are have run, and what they set counts too.
   * @throws RangeError for less than nothing. @throws Error when it is being moved already
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`a clock cannot be moved on by ${ms} ms`)
    const until = this.#now + ms
    await this.#move(until, () => false)
    this.#now = until
  }

  /**
   * Moves on from one thing that is due to the next until the promise has settled, and settles with it. @throws Error
   * when nothing is due any more, when `most` milliseconds have passed, and when it is being moved already
   */
  async until<T>(promise: Promise<T>, most = 600_000): Promise<T> {
    let settled = false
    const settle = (): unknown => (settled = true)
    promise.then(settle, settle)
    const from = this.#now
    await this.#move(from + most, () => settled)
    if (settled) return promise
    throw new Error(
      `${this.#label} has nothing more to wait for in ${most} ms, and the promise has not settled (${this.size} timers)`,
    )
  }

  async #move(until: number, enough: () => boolean): Promise<void> {
    if (this.#moving) throw new Error(`${this.#label} is being moved already`)
    this.#moving = true
    try {
      for (;;) {
        await allJobs()
        const next = this.#due.at(-1)
        if (next === undefined || next.at > until || enough()) return
        this.#due.pop()
        this.#now = Math.max(this.#now, next.at)
        next.act()
      }
    } finally {
      this.#moving = false
    }
  }

  #set(ms: number, act: () => void): Timer {
    const at = this.#now + Math.max(0, ms)
    const due: Due = {
      at,
      act,
      order: this.#order++,
      stop: () => {
        const place = this.#placeOf(due)
        if (this.#due[place] === due) this.#due.splice(place, 1)
      },
    }
    this.#due.splice(this.#placeOf(due), 0, due)
    return due
  }

  /** Where it stands, or belongs. */
  #placeOf(due: Due): number {
    let [low, high] = [0, this.#due.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = this.#due[middle]!
      if (other.at > due.at || (other.at === due.at && other.order > due.order)) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Resolves when nothing of this process is left to run but timers and what waits for the system. */
async function allJobs(): Promise<void> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    await nextTurn()
    if (!process.getActiveResourcesInfo().includes('Immediate')) return
  }
  throw new Error(`after ${MAX_ROUNDS} rounds there were still immediates to run`)
}
