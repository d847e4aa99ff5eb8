// The timers of a durable machine: which there are, by what was raised with a delay and what was cancelled since, and when
// each is due. XState forgets them with its process, so it is never asked: it says what is to come, and is told when it has.
import type { EntryEvent } from './actor-entry.ts'
import { atLeastSince, thisMoment, type Moment } from './moment.ts'
import type { StoredTimer } from './stored-actor.ts'

export interface ActorTimer {
  readonly timer: number
  readonly id: string | undefined
  readonly event: EntryEvent
  readonly delay: number
  /** Number of the entry that it was set by. */
  readonly by: number
  /** When; known a moment later. */
  set: Moment | undefined
}

/** An action as XState says it, before or instead of doing it. */
export interface SaidAction {
  readonly type: string
  readonly params?: unknown
}

/** Those that are set. */
export class TimerTable {
  readonly #timers = new Map<number, ActorTimer>()
  /** The highest number that was given before it was found. */
  readonly #before: number
  #last: number

  constructor(was: readonly StoredTimer[] = [], last = 0) {
    this.#before = last
    this.#last = last
    for (const { timer, id, event, delay, set } of was)
      this.#timers.set(timer, { timer, id, event, delay, by: -1, set })
  }

  /** The highest number that was given. */
  get last(): number {
    return this.#last
  }
  get size(): number {
    return this.#timers.size
  }

  /** What an action says of timers; returns the one that it sets. `by`: number of the entry that it comes of. */
  hear({ type, params }: SaidAction, by: number): ActorTimer | undefined {
    if (type === 'xstate.cancel') this.#cancel((params as { sendId: string }).sendId)
    if (type !== 'xstate.raise' && type !== 'xstate.sendTo') return undefined
    const { event, id, delay } = params as { event: EntryEvent; id?: string; delay?: number }
    return typeof delay === 'number' ? this.set(event, delay, by, id) : undefined
  }

  set(event: EntryEvent, delay: number, by: number, id?: string): ActorTimer {
    const timer = ++this.#last
    const one: ActorTimer = { timer, id, event, delay, by, set: undefined }
    this.#timers.set(timer, one)
    return one
  }

  /** All of that name: XState lets go of the last one alone, and can never cancel those before it. */
  #cancel(id: string): void {
    for (const one of this.#timers.values()) if (one.id === id) this.#timers.delete(one.timer)
  }

  get(timer: number): ActorTimer | undefined {
    return this.#timers.get(timer)
  }

  /**
   * It was due: its event is to be handled. Undefined: it was cancelled before, or put off; another one of the same event is
   * not due for that.
   */
  take(timer: number, type: string): ActorTimer | undefined {
    const one = this.#timers.get(timer)
    if (one?.event.type !== type) return undefined
    this.#timers.delete(timer)
    return one
  }

  /** The same, told by another chart: what that has set since it was written down may have other numbers here. */
  takeLike(timer: number, type: string): ActorTimer | undefined {
    const same = this.take(timer, type)
    if (same || timer <= this.#before) return same
    const like = this.all().find((one) => one.timer > this.#before && one.event.type === type)
    return like && this.take(like.timer, type)
  }

  drop(timer: number): void {
    this.#timers.delete(timer)
  }

  /** Those set by what is before entry `upTo`, of which it was not known when. Returns whether there were any. */
  stamp(upTo: number, moment: Moment): boolean {
    let any = false
    for (const one of this.#timers.values()) {
      if (one.set || one.by >= upTo) continue
      one.set = moment
      any = true
    }
    return any
  }

  all(): readonly ActorTimer[] {
    return [...this.#timers.values()]
  }

  clear(): void {
    this.#timers.clear()
  }

  stored(): StoredTimer[] {
    return this.all().map(({ timer, id, event, delay, set = thisMoment() }) => ({
      timer,
      ...(id !== undefined && { id }),
      event,
      delay,
      set,
    }))
  }
}

/**
 * A machine that was asleep has no timers that ring meanwhile, and its deadlines pass all the same: so long it may take until
 * that is noticed, in milliseconds.
 */
const LOOK_MS = 60_000

interface Armed {
  /** By our own clock, which nobody sets. */
  readonly due: number
  /** What XState does when it is due. None: it was set in an earlier life. */
  readonly fire: (() => void) | undefined
  rung: boolean
}

/** Rings for those of a table, never early. Whoever made it disposes it. */
export class ActorAlarms implements Disposable {
  readonly #table: TimerTable
  readonly #ring: (timer: ActorTimer) => void
  readonly #armed = new Map<number, Armed>()
  /** Set, and not scheduled by XState yet: it does so in the same order. */
  readonly #coming: ActorTimer[] = []
  #timer: NodeJS.Timeout | undefined
  /** When that one goes off. */
  #next = Number.POSITIVE_INFINITY
  #disposed = false

  /** `ring`: it is due. Told once. */
  constructor(table: TimerTable, ring: (timer: ActorTimer) => void) {
    this.#table = table
    this.#ring = ring
  }

  /** For `createActor`: it asks for exactly those that were `coming`. What it cancels has been heard of before. */
  readonly clock: { setTimeout(fire: () => void, ms: number): number; clearTimeout(timer: number): void } = {
    setTimeout: (fire: () => void): number => {
      const one = this.#coming.shift()
      if (one) this.#arm(one, () => fire())
      return one?.timer ?? 0
    },
    clearTimeout: () => undefined,
  }

  /** XState will schedule it when its step is over. */
  coming(timer: ActorTimer): void {
    this.#coming.push(timer)
  }

  /**
   * Those that were set in an earlier life ring at the rest of their time, at once where that is over; but for those that have
   * `rung` there, which lies in the journal.
   */
  resume(rung: ReadonlySet<number> = new Set()): void {
    for (const one of this.#table.all()) if (!rung.has(one.timer)) this.#arm(one, undefined)
  }

  /** What XState does at its end; undefined where it was set in an earlier life. It rings no more. */
  fireOf(timer: number): (() => void) | undefined {
    const fire = this.#armed.get(timer)?.fire
    this.#armed.delete(timer)
    return fire
  }

  /** When each is due, for people. */
  dues(): { timer: number; event: string; due: Date }[] {
    const now = performance.now()
    return this.#table.all().flatMap(({ timer, event }) => {
      const armed = this.#armed.get(timer)
      return armed ? [{ timer, event: event.type, due: new Date(Date.now() + armed.due - now) }] : []
    })
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    clearTimeout(this.#timer)
    this.#armed.clear()
  }

  #arm(one: ActorTimer, fire: (() => void) | undefined): void {
    if (this.#disposed) return
    const delay = one.delay > 0 ? one.delay : 0
    const left = one.set ? Math.max(0, delay - atLeastSince(one.set)) : delay
    const due = performance.now() + left
    this.#armed.set(one.timer, { due, fire, rung: false })
    if (due < this.#next) this.#wait(due)
  }

  #wait(due: number): void {
    clearTimeout(this.#timer)
    const now = performance.now()
    this.#next = Math.min(due, now + LOOK_MS)
    if (due === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#look(), Math.ceil(this.#next - now))
  }

  /** Node's own timers may go off a moment early. */
  #look(): void {
    const now = performance.now()
    const ringing: { readonly one: ActorTimer; readonly due: number }[] = []
    let next = Number.POSITIVE_INFINITY
    for (const [timer, armed] of this.#armed) {
      const one = this.#table.get(timer)
      if (!one) this.#armed.delete(timer) // cancelled
      else if (armed.rung) continue
      else if (armed.due <= now || isOver(one)) {
        armed.rung = true
        ringing.push({ one, due: armed.due })
      } else next = Math.min(next, armed.due)
    }
    // In the order in which they were due, as if it had never stood still.
    ringing.sort((a, b) => a.due - b.due || a.one.timer - b.one.timer)
    for (const { one } of ringing) this.#ring(one)
    this.#next = Number.POSITIVE_INFINITY
    if (!this.#disposed) this.#wait(next)
  }
}

/** By the time that the machine has been up, asleep or not; where it does not tell, our own clock is all there is. */
function isOver({ set, delay }: ActorTimer): boolean {
  return set !== undefined && set.boot !== '' && atLeastSince(set) >= delay
}
