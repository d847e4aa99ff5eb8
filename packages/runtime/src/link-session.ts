// A session at the other end of a link. When the link ends, what is there goes on or not: its jobs show Disconnected.
import { PeerLostError } from './errors.ts'
import { isFinished } from './child-jobs.ts'
import type { JobReading, Link } from './link.ts'
import type { RequestOptions, SessionRef } from './session-ref.ts'
import type { JobSnapshot, SessionSnapshot } from './surface.ts'
import type { ReadRequest, SessionEvent } from './wire.ts'

export class LinkSessionRef implements SessionRef {
  readonly #link: Link
  /** The peer's own table: where `receive` puts what it takes up. */
  readonly #local: SessionRef | undefined
  #snapshot: SessionSnapshot

  constructor(link: Link, snapshot: SessionSnapshot, local?: SessionRef) {
    this.#link = link
    this.#snapshot = snapshot
    this.#local = local
  }

  /** Keeps `snapshot` up to date from now on, for as long as the link lives. */
  follow(): void {
    const take = (snapshot: SessionSnapshot): void => this.update(snapshot)
    this.#link.watch({ session: this.#snapshot.instanceId }, take, () => {
      this.#snapshot = Object.freeze({ ...this.#snapshot, state: 'Broken' as const, availability: 'None' as const })
    })
  }

  update(snapshot: SessionSnapshot): void {
    this.#snapshot = snapshot
  }

  get snapshot(): SessionSnapshot {
    return this.#snapshot
  }

  async request(event: SessionEvent, job?: string, { signal, late }: RequestOptions = {}): Promise<unknown> {
    const answer = await this.#link.ask({ session: this.#snapshot.instanceId, job }, event, { signal, late })
    // An answer is newer than what was pushed before it.
    if (event.type === 'disconnect' || event.type === 'connect' || event.type === 'close')
      this.update(answer as SessionSnapshot)
    return answer
  }

  read(job: string, request: ReadRequest, signal?: AbortSignal): JobReading {
    return this.#link.read({ session: this.#snapshot.instanceId, job }, request, signal)
  }

  watchJob(job: string, listener: (snapshot: JobSnapshot) => void, lost?: (reason: Error) => void): () => void {
    let last: JobSnapshot | undefined
    const take = (snapshot: JobSnapshot): void => {
      last = snapshot
      listener(snapshot)
    }
    return this.#link.watch({ session: this.#snapshot.instanceId, job }, take, (cause) => {
      const reason = new PeerLostError(`the link to ${this.#link.peer} ended; the job may go on there`, { cause })
      lost?.(reason)
      if (!last || isFinished(last.state)) return
      listener(Object.freeze({ ...last, state: 'Disconnected' as const, reason }))
    })
  }

  watchSession(listener: (snapshot: SessionSnapshot) => void): () => void {
    return this.#link.watch<SessionSnapshot>({ session: this.#snapshot.instanceId }, (snapshot) => {
      this.#snapshot = snapshot
      listener(snapshot)
    })
  }

  elsewhere(session: string): SessionRef {
    if (this.#local?.snapshot.instanceId === session) return this.#local
    return new LinkSessionRef(this.#link, { ...this.#snapshot, instanceId: session })
  }
}
