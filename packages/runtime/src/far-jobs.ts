// The jobs of a session elsewhere that somebody here watches: followed over whatever link there is. While there is none
// they show Disconnected, for what they do cannot be known; when there will be none any more, that is said.
import { isFinished } from './child-jobs.ts'
import type { Link } from './link.ts'
import type { JobSnapshot } from './surface.ts'

type Listener = (snapshot: JobSnapshot) => void
type Lost = (reason: Error) => void

interface WatchedJob {
  readonly listeners: Set<Listener>
  /** Told when no more news can come. */
  readonly lost: Set<Lost>
  last: JobSnapshot | undefined
  stop: (() => void) | undefined
}

export class FarJobs {
  readonly #session: string
  readonly #jobs = new Map<string, WatchedJob>()
  #link: Link | undefined
  /** Why nothing of them can be known now. */
  #unknown: { readonly reason: Error | undefined } | undefined
  /** Why nothing of them can be known any more. */
  #over: Error | undefined

  /** `session`: its instanceId. */
  constructor(session: string) {
    this.#session = session
  }

  /** Until the returned function is called. `known`: as it was when it was last heard of. */
  watch(job: string, listener: Listener, lost?: Lost, known?: JobSnapshot): () => void {
    const there = this.#jobs.get(job)
    const watched: WatchedJob = there ?? { listeners: new Set(), lost: new Set(), last: known, stop: undefined }
    const { listeners, lost: told } = watched
    listeners.add(listener)
    if (!there) {
      this.#jobs.set(job, watched)
      // What has been heard since it was answered is told at once.
      if (this.#link) this.#follow(job, watched, this.#link)
    } else if (there.last) listener(there.last)
    if (lost) told.add(lost)
    if (this.#unknown) this.#tellUnknown(watched, this.#unknown.reason)
    // Nobody would say so later; not within this call, for who asks has not what it returns yet.
    const over = this.#over
    if (over && lost) queueMicrotask(() => told.has(lost) && lost(over))
    return () => {
      listeners.delete(listener)
      if (lost) told.delete(lost)
      if (listeners.size > 0 || this.#jobs.get(job)?.listeners !== listeners) return
      this.#jobs.get(job)?.stop?.()
      this.#jobs.delete(job)
    }
  }

  /** From now on their news come over this link. */
  attach(link: Link): void {
    this.#link = link
    this.#unknown = undefined
    for (const [job, watched] of this.#jobs) this.#follow(job, watched, link)
  }

  /** No more news come over the link there was; others may still use it. */
  detach(): void {
    this.#link = undefined
    for (const watched of this.#jobs.values()) {
      watched.stop?.()
      watched.stop = undefined
    }
  }

  /** What they do cannot be known now. */
  unknown(reason: Error | undefined): void {
    this.#unknown = { reason }
    for (const watched of this.#jobs.values()) this.#tellUnknown(watched, reason)
  }

  /** Nor ever again. */
  over(reason: Error): void {
    this.#over = reason
    for (const { lost } of this.#jobs.values()) for (const tell of [...lost]) tell(reason)
  }

  #follow(job: string, watched: WatchedJob, link: Link): void {
    watched.stop = link.watch<JobSnapshot>({ session: this.#session, job }, (snapshot) => {
      watched.last = snapshot
      for (const listener of [...watched.listeners]) listener(snapshot)
    })
  }

  #tellUnknown(watched: WatchedJob, reason: Error | undefined): void {
    const { last } = watched
    if (!last || isFinished(last.state) || last.state === 'Disconnected') return
    watched.last = Object.freeze({ ...last, state: 'Disconnected' as const, reason })
    for (const listener of [...watched.listeners]) listener(watched.last)
  }
}
