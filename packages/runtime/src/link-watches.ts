// What is watched over a link. Snapshots go whole at first, then what has changed since: of a job's twenty fields most
// never do. Both ends know when it is over: a job that has finished has no more news.
import type { PeerId } from '@errand/transport'
import type { ActorState } from './actor-state.ts'
import { isFinished } from './child-jobs.ts'
import { LimitError, ProtocolError } from './errors.ts'
import type { JobState } from './surface.ts'
import { OPEN_WATCHES, type Address, type ControlMessage } from './wire.ts'

type StateMessage = Extract<ControlMessage, { t: 'state' }>
type Fields = Readonly<Record<string, unknown>>

/** The fields that are other ones now; those that are there no more, as undefined. None: nothing has changed. */
export function changeOf(told: object, now: object): Fields | undefined {
  const [before, after] = [told as Fields, now as Fields]
  let change: Record<string, unknown> | undefined
  for (const key in after) if (!isSame(before[key], after[key])) (change ??= {})[key] = after[key]
  for (const key in before) if (!(key in after) && before[key] !== undefined) (change ??= {})[key] = undefined
  return change
}

/** Lists are made anew for each snapshot, what is in them is not. */
function isSame(one: unknown, other: unknown): boolean {
  if (one === other) return true
  if (!Array.isArray(one) || !Array.isArray(other)) return false
  return one.length === other.length && one.every((item, index) => item === other[index])
}

function isOver(of: Address, snapshot: object): boolean {
  if (of.actor !== undefined) return (snapshot as ActorState).status !== 'active'
  return of.job !== undefined && isFinished((snapshot as { state?: JobState }).state!)
}

function keyOf({ session = '', job = '', actor, peer = '' }: Address): string {
  return `${session} ${job} ${actor ?? ''} ${peer}`
}

// ── who watches ───────────────────────────────────────────────────────────────────────────────────────────────────────

interface Watching {
  readonly listener: (snapshot: object) => void
  readonly lost: ((cause: Error | undefined) => void) | undefined
}

interface Watched {
  readonly w: number
  readonly to: Address
  readonly key: string
  readonly listeners: Set<Watching>
  last: object | undefined
  /** It began with an answer, and nobody listens yet: whether there has been news since. */
  news: boolean
}

/** What this side watches. */
export class Watches {
  readonly #peer: PeerId
  readonly #post: (message: ControlMessage) => void
  readonly #byKey = new Map<string, Watched>()
  readonly #byNumber = new Map<number, Watched>()
  /** Begun with an answer: whoever got that listens in the same turn, or nobody does. */
  #unclaimed: Watched[] = []
  #last = 0

  constructor(peer: PeerId, post: (message: ControlMessage) => void) {
    this.#peer = peer
    this.#post = post
  }

  /** For a request that begins to watch what it makes; undefined where there is no room for it. */
  offer(): number | undefined {
    return this.#byKey.size < OPEN_WATCHES ? ++this.#last : undefined
  }

  /** What was asked for under `w` is there, and watched. */
  begin(w: number, to: Address, last: object): void {
    const key = keyOf(to)
    if (this.#byKey.has(key)) return this.decline(w)
    const watched: Watched = { w, to, key, listeners: new Set(), last, news: false }
    this.#add(watched)
    if (this.#unclaimed.push(watched) > 1) return
    setImmediate(() => {
      for (const one of this.#unclaimed.splice(0)) if (one.listeners.size === 0) this.#leave(one)
    })
  }

  /** Nobody wants to hear of it. */
  decline(w: number): void {
    this.#post({ t: 'unwatch', w })
  }

  /** Until the returned function is called, it is over, or the link ends (`lost`). @throws LimitError */
  watch(to: Address, listener: (snapshot: object) => void, lost: Watching['lost']): () => void {
    const key = keyOf(to)
    let watched = this.#byKey.get(key)
    const last = watched?.last
    if (!watched) {
      if (this.#byKey.size >= OPEN_WATCHES) {
        throw new LimitError(`more than ${OPEN_WATCHES} jobs and sessions of ${this.#peer} are watched`, {
          hint: 'let go of handles of jobs that are not needed any more',
        })
      }
      watched = { w: ++this.#last, to, key, listeners: new Set(), last: undefined, news: false }
      this.#add(watched)
      this.#post({ t: 'watch', w: watched.w, to })
    }
    const watching: Watching = { listener, lost }
    const mine = watched
    mine.listeners.add(watching)
    if (mine.news) {
      mine.news = false
      if (isOver(to, mine.last!)) this.#byKey.delete(key)
      listener(mine.last!)
    } else if (last && to.actor !== undefined) listener(last) // it may not change for long
    return () => {
      mine.listeners.delete(watching)
      if (mine.listeners.size === 0) this.#leave(mine)
    }
  }

  /** News. What was let go of a moment ago is nobody's. */
  take({ w, snapshot, changed }: StateMessage): void {
    const watched = this.#byNumber.get(w)
    if (!watched) return
    const { to, key, listeners } = watched
    const now = (watched.last = (snapshot ?? { ...watched.last, ...(changed as object) }) as object)
    const over = isOver(to, now)
    if (over) this.#byNumber.delete(w)
    if (listeners.size === 0) watched.news = true
    else if (over) this.#byKey.delete(key)
    for (const { listener } of [...listeners]) listener(now)
  }

  end(cause: Error | undefined): void {
    const all = [...this.#byKey.values()].flatMap(({ listeners }) => [...listeners])
    this.#byKey.clear()
    this.#byNumber.clear()
    for (const { lost } of all) lost?.(cause)
  }

  #add(watched: Watched): void {
    this.#byKey.set(watched.key, watched)
    this.#byNumber.set(watched.w, watched)
  }

  #leave(watched: Watched): void {
    if (this.#byKey.get(watched.key) === watched) this.#byKey.delete(watched.key)
    if (this.#byNumber.delete(watched.w)) this.#post({ t: 'unwatch', w: watched.w })
  }
}

// ── who is watched ────────────────────────────────────────────────────────────────────────────────────────────────────

/** How news of one watch leaves. */
export interface TellingWays {
  /** At once. `whole`: behind one that was too large for the control channel, and as that went. */
  say(message: StateMessage, whole: boolean): Promise<void> | undefined
  /** With what else is said, or soon; under one key the last one counts. */
  sayLate(key: string, make: () => StateMessage | undefined): void
  /** What was to be said late under this key is not. */
  unsay(key: string): void
}

/** One watch of the other side's. */
class Telling {
  readonly #ways: TellingWays
  readonly #w: number
  readonly #of: Address
  /** As it was told last. */
  #told: object | undefined
  #now: object | undefined
  stop: (() => void) | undefined
  /** A snapshot was too large for the control channel: the next ones must not overtake it. */
  whole = false
  /** Of an actor, which may change in every turn: one is on its way, and others wait for it to have left, as one. */
  #leaving = false
  #waiting = false

  constructor(ways: TellingWays, w: number, of: Address, told: object | undefined) {
    this.#ways = ways
    this.#w = w
    this.#of = of
    this.#told = told
  }

  /** False when it was the last. */
  push(now: object): boolean {
    this.#now = now
    const key = `w ${this.#w}`
    if (this.#isSmallNews(now)) {
      this.#ways.sayLate(key, () => this.#message())
      return true
    }
    this.#ways.unsay(key)
    const over = isOver(this.#of, now)
    if (this.#leaving && !over) {
      this.#waiting = true
      return true
    }
    const message = this.#message()
    const left = message && this.#ways.say(message, this.whole)
    if (left && this.#of.actor !== undefined && !over) {
      this.#leaving = true
      void left.then(() => this.#onLeft())
    }
    return !over
  }

  #onLeft(): void {
    this.#leaving = false
    if (!this.#waiting) return
    this.#waiting = false
    this.push(this.#now!)
  }

  leave(): void {
    this.stop?.()
    this.#ways.unsay(`w ${this.#w}`)
  }

  /** As it is, whole: instead of what could not be sent. */
  again(): StateMessage {
    this.whole = true
    return { t: 'state', w: this.#w, snapshot: this.#told }
  }

  /**
   * Nobody waits for a session's: that it is Busy is no news where the end of a small run is about to follow. Nor for that
   * of a job which has begun what it was to do.
   */
  #isSmallNews(now: object): boolean {
    if (this.whole) return false
    if (this.#of.job === undefined) return true
    const [before, after] = [this.#told, now] as { state?: JobState }[]
    return before?.state === 'NotStarted' && after!.state === 'Running'
  }

  #message(): StateMessage | undefined {
    const [told, now] = [this.#told, this.#now!]
    this.#told = now
    if (!told || this.whole) return { t: 'state', w: this.#w, snapshot: now }
    const changed = changeOf(told, now)
    return changed && { t: 'state', w: this.#w, changed }
  }
}

/** What the other side watches here. */
export class Tellings {
  readonly #ways: TellingWays
  readonly #all = new Map<number, Telling>()

  constructor(ways: TellingWays) {
    this.#ways = ways
  }

  /** Whether one more may be begun. */
  get room(): boolean {
    return this.#all.size < OPEN_WATCHES
  }

  has(w: number): boolean {
    return this.#all.has(w)
  }

  /** `told`: as the other side knows it already. @throws ProtocolError */
  begin(w: number, of: Address, watch: (push: (snapshot: unknown) => void) => () => void, told?: object): void {
    if (this.#all.has(w)) throw new ProtocolError(`watch ${w} is open already`)
    if (!this.room) throw new ProtocolError(`more than ${OPEN_WATCHES} watches on one link`)
    const telling = new Telling(this.#ways, w, of, told)
    this.#all.set(w, telling)
    let stop: () => void
    try {
      stop = watch((snapshot) => {
        if (this.#all.get(w) !== telling || telling.push(snapshot as object)) return
        this.#all.delete(w)
        telling.leave()
      })
    } catch (error) {
      this.#all.delete(w)
      throw error
    }
    // It may have been told at once that it is over.
    if (this.#all.get(w) === telling) telling.stop = stop
    else stop()
  }

  leave(w: number): void {
    const telling = this.#all.get(w)
    this.#all.delete(w)
    telling?.leave()
  }

  /** What is to go instead of one that was too large; undefined where nobody listens any more. */
  again(w: number): StateMessage | undefined {
    return this.#all.get(w)?.again()
  }

  end(): void {
    for (const w of [...this.#all.keys()]) this.leave(w)
  }
}
