// What a handle holds: the address of a session, here or elsewhere, with its last known snapshot. Events go out,
// snapshots come back. Implemented by the session itself (session.ts), by a session held elsewhere (remote-session.ts)
// and by a link to whoever has it (link-session.ts); handles do not know which.
import type { Cancel } from '@errand/transport'
import type { ActorWay } from './actor-way.ts'
import type { JobReading } from './link.ts'
import type { JobSnapshot, SessionSnapshot } from './surface.ts'
import type { ReadRequest, SessionEvent } from './wire.ts'

export interface RequestOptions extends Cancel {
  /** From then on (`performance.now()`) nobody waits for the answer: it is not asked over another link any more. */
  readonly until?: number | undefined
  /** Nobody waits for the answer, nor for its value: it comes without one, with what else is said. */
  readonly late?: boolean | undefined
  /** Of a start: whoever gets the answer watches the job in the same turn, so that its watch may begin with that. */
  readonly watch?: boolean | undefined
  /** It is about to leave, each time it does. */
  readonly onSend?: (() => void) | undefined
}

export interface SessionRef {
  readonly snapshot: SessionSnapshot
  /** The way to its actors; none from inside a script. */
  readonly actors?: ActorWay | undefined
  /** To the session, or to one of its jobs (instanceId). The answer's shape depends on the event. */
  request(event: SessionEvent, job?: string, options?: RequestOptions): Promise<unknown>
  /** Whole chunks of a job and its children. */
  read(job: string, request: ReadRequest, signal?: AbortSignal): JobReading
  /**
   * Follows a job until the returned function is called; `lost`: no more news can come, for good. `known`: as it was when
   * it was last heard of, for when it cannot be reached before there is any news.
   */
  watchJob(
    job: string,
    listener: (snapshot: JobSnapshot) => void,
    lost?: (reason: Error) => void,
    known?: JobSnapshot,
  ): () => void
  watchSession(listener: (snapshot: SessionSnapshot) => void): () => void
  /** Another session of the same holder: where `receive` puts the job it takes up. */
  elsewhere(session: string): SessionRef
}
