// One isolate kept warm, so that the next job does not wait for a worker or a process to start; and those that came back
// as they had been, for as long as jobs come.
import { LaneEngine, type Isolate, type OpenSessionLink } from './lane.ts'

export interface Warm {
  readonly isolate: Isolate
  readonly lane: LaneEngine
}

/** What came back and was not needed for so long goes. */
const KEPT_MS = 5_000
/** The next spare is started beside a job that has said nothing for so long, and beside any after so long. */
const SILENT_MS = 25
const LATE_MS = 500
const LOOK_MS = 10

export class Spare {
  readonly #start: () => Isolate
  readonly #openLink: OpenSessionLink
  readonly #kept: Warm[] = []
  /** Since the last look as few have been kept. */
  #fewest = 0
  #look: NodeJS.Timeout | undefined
  #late: NodeJS.Timeout | undefined
  #disposed = false

  constructor(start: () => Isolate, openLink: OpenSessionLink) {
    this.#start = start
    this.#openLink = openLink
  }

  /** One that was started for this job alone, with limits of its own. */
  make(start: () => Isolate): Warm {
    const isolate = start()
    return { isolate, lane: new LaneEngine(isolate, this.#openLink) }
  }

  /** The one that came back last, the spare, or a new one. */
  take(): Warm {
    let taken = this.#kept.pop()
    // What has died is kept until all that it started has gone, too.
    while (taken?.isolate.killed) taken = this.#kept.pop()
    taken ??= this.#make()
    this.#fewest = Math.min(this.#fewest, this.#kept.length)
    if (this.#kept.length === 0) this.#fillBeside(taken.lane)
    return taken
  }

  /**
   * One that was taken, and in which nothing is left of what it ran. False: it is not kept, for it was killed (its last
   * word may have been under way), or nobody will take it any more.
   */
  give(warm: Warm): boolean {
    if (this.#disposed || warm.isolate.killed || warm.lane.gone) return false
    this.#kept.push(warm)
    if (this.#kept.length > 1) this.#look ??= setTimeout(() => this.#thin(), KEPT_MS).unref()
    return true
  }

  async dispose(): Promise<void> {
    this.#disposed = true
    clearTimeout(this.#look)
    clearTimeout(this.#late)
    await Promise.all(this.#kept.splice(0).map(({ lane }) => lane[Symbol.asyncDispose]()))
  }

  /**
   * The next spare comes when the job has ended or fallen silent: starting one holds up this process, and takes from a
   * job what it needs to start, and from its readers what they need to keep up.
   */
  #fillBeside(lane: LaneEngine): void {
    const latest = performance.now() + LATE_MS
    const look = (): void => {
      const now = performance.now()
      if (lane.idle || now - lane.heard >= SILENT_MS || now >= latest) this.#fill()
      else this.#late = setTimeout(look, LOOK_MS).unref()
    }
    this.#late ??= setTimeout(look, LOOK_MS).unref()
  }

  #fill(): void {
    clearTimeout(this.#late)
    this.#late = undefined
    if (!this.#disposed && this.#kept.length === 0) this.#kept.push(this.#make())
  }

  /** Those that have not been needed since the last look, but for one. */
  #thin(): void {
    for (const { isolate } of this.#kept.splice(0, Math.max(0, this.#fewest - 1))) isolate.kill()
    this.#fewest = this.#kept.length
    this.#look = this.#kept.length > 1 ? setTimeout(() => this.#thin(), KEPT_MS).unref() : undefined
  }

  #make(): Warm {
    const made = this.make(this.#start)
    const { isolate } = made
    isolate.hold(false)
    // A spare that dies by itself is no spare.
    void isolate.exited.then(() => {
      const place = this.#kept.indexOf(made)
      if (place >= 0) this.#kept.splice(place, 1)
    })
    return made
  }
}
