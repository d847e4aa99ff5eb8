// A session at the other end of a link. When the link ends, what is there goes on or not: its jobs show Disconnected. Where
// there can be another link instead, everything goes on over that one.
import type { ActorWay } from './actor-way.ts'
import { ask } from './asking.ts'
import { asError, codeOf, PeerLostError } from './errors.ts'
import { isFinished } from './child-jobs.ts'
import type { JobReading, Link } from './link.ts'
import type { RequestOptions, SessionRef } from './session-ref.ts'
import type { JobSnapshot, SessionSnapshot } from './surface.ts'
import type { Address, ReadRequest, SessionEvent, WireEvent } from './wire.ts'

/** The way to the other end. */
export interface Line {
  /** The newest; it may have ended. */
  readonly link: Link
  /** Another one instead of one that has ended. @throws PeerLostError when there is none, for good */
  instead?(ended: Link, signal?: AbortSignal): Promise<Link>
  /** How long another one is waited for, in ms. */
  readonly patience?: number
}

/** Over whatever link there is, and over the next one where there can be one. */
export async function askOver(
  line: Line,
  to: Address,
  event: WireEvent,
  options: RequestOptions = {},
): Promise<unknown> {
  const next = (ended: Link | undefined, why: unknown): Link | Promise<Link> => {
    if (line.instead && !line.link.open) return line.instead(line.link, options.signal)
    if (ended && line.link === ended) throw why
    return line.link
  }
  return (await ask(to, event, { ...options, location: 'the peer', next })).answer
}

export class LinkSessionRef implements SessionRef {
  readonly #line: Line
  /** The peer's own table: where `receive` puts what it takes up. */
  readonly #local: SessionRef | undefined
  readonly actors: ActorWay | undefined
  #snapshot: SessionSnapshot

  constructor(line: Line, snapshot: SessionSnapshot, local?: SessionRef, actors?: ActorWay) {
    this.#line = line
    this.#snapshot = snapshot
    this.#local = local
    this.actors = actors
  }

  /** Keeps `snapshot` up to date from now on, for as long as there is a link. */
  follow(): void {
    const take = (snapshot: SessionSnapshot): void => this.update(snapshot)
    this.#watch<SessionSnapshot>(undefined, take, (cause) => this.#broken(cause))
  }

  update(snapshot: SessionSnapshot): void {
    this.#snapshot = snapshot
  }

  get snapshot(): SessionSnapshot {
    return this.#snapshot
  }

  async request(event: SessionEvent, job?: string, options: RequestOptions = {}): Promise<unknown> {
    const answer = await askOver(this.#line, this.#to(job), event, options)
    // An answer is newer than what was pushed before it.
    if (event.type === 'disconnect' || event.type === 'connect' || event.type === 'close')
      this.update(answer as SessionSnapshot)
    return answer
  }

  read(job: string, request: ReadRequest, signal?: AbortSignal): JobReading {
    if (!this.#line.instead) return this.#line.link.read(this.#to(job), request, signal)
    return this.#readOn(job, request, signal)
  }

  /** Behind the last chunk of each job, over the next link. */
  async *#readOn(job: string, request: ReadRequest, signal: AbortSignal | undefined): JobReading {
    const had = new Map<string, number>()
    for (let { link } = this.#line; ;) {
      // A parent has a sequence for each child, and is read from where its reader is.
      const from = had.get(job) ?? request.from
      const reading = link.read(this.#to(job), { ...request, ...(from !== undefined && { from }) }, signal)
      try {
        for (;;) {
          const step = await reading.next()
          if (step.done) return step.value
          const { job: of, first, count } = step.value
          const next = Math.max(step.value.from, had.get(of) ?? 0)
          if (count > 0 && first + count <= next) continue
          yield { ...step.value, from: next }
          if (count > 0) had.set(of, first + count)
        }
      } catch (error) {
        if (link.open || codeOf(error) !== 'PEER_LOST' || signal?.aborted) throw error
      } finally {
        await reading.return(undefined)
      }
      link = await this.#line.instead!(link, signal)
    }
  }

  watchJob(
    job: string,
    listener: (snapshot: JobSnapshot) => void,
    lost?: (reason: Error) => void,
    known?: JobSnapshot,
  ): () => void {
    let last = known
    const take = (snapshot: JobSnapshot): void => {
      last = snapshot
      listener(snapshot)
    }
    const gone = (cause: Error | undefined): Error =>
      new PeerLostError(`the link to ${this.#peer} ended; the job may go on there`, { cause })
    const seconds = (this.#line.patience ?? 0) / 1000
    const waits = (cause: Error | undefined): Error =>
      new PeerLostError(`the link to ${this.#peer} is lost; trying again for ${seconds} s`, { cause })
    const away = (cause: Error | undefined, reason = waits(cause)): void => {
      if (!last || isFinished(last.state)) return
      listener(Object.freeze({ ...last, state: 'Disconnected' as const, reason }))
    }
    const over = (cause: Error | undefined): void => {
      const reason = gone(cause)
      lost?.(reason)
      away(cause, reason)
    }
    return this.#watch(job, take, over, away)
  }

  watchSession(listener: (snapshot: SessionSnapshot) => void): () => void {
    const take = (snapshot: SessionSnapshot): void => {
      this.#snapshot = snapshot
      listener(snapshot)
    }
    return this.#watch(undefined, take, (cause) => listener(this.#broken(cause)))
  }

  /** No more news of it can come. */
  #broken(cause: Error | undefined): SessionSnapshot {
    if (this.#snapshot.state === 'Closed') return this.#snapshot
    const reason = new PeerLostError(`the link to ${this.#peer} ended`, { cause })
    return (this.#snapshot = Object.freeze({ ...this.#snapshot, state: 'Broken', availability: 'None', reason }))
  }

  elsewhere(session: string): SessionRef {
    if (this.#local?.snapshot.instanceId === session) return this.#local
    return new LinkSessionRef(this.#line, { ...this.#snapshot, instanceId: session }, undefined, this.actors)
  }

  /** Over the next link as well; `lost` when there is none, `away` while there is none yet. */
  #watch<T>(
    job: string | undefined,
    listener: (snapshot: T) => void,
    lost?: (cause: Error | undefined) => void,
    away?: (cause: Error | undefined) => void,
  ): () => void {
    const over = new AbortController()
    let stop: (() => void) | undefined
    const listen = (link: Link): void => {
      stop = link.watch<T>(this.#to(job), listener, (cause) => void onLost(link, cause))
    }
    const onLost = async (link: Link, cause: Error | undefined): Promise<void> => {
      if (over.signal.aborted) return
      if (!this.#line.instead) return lost?.(cause)
      away?.(cause)
      try {
        const next = await this.#line.instead(link, over.signal)
        if (!over.signal.aborted) listen(next)
      } catch (error) {
        if (!over.signal.aborted) lost?.(asError(error))
      }
    }
    listen(this.#line.link)
    return () => {
      over.abort()
      stop?.()
    }
  }

  /** In words; a socket has no name of its own. */
  get #peer(): string {
    const { peer } = this.#line.link
    return peer === 'local' ? 'the peer of this machine' : peer
  }

  #to(job: string | undefined): { session: string; job?: string | undefined } {
    return { session: this.#snapshot.instanceId, job }
  }
}
