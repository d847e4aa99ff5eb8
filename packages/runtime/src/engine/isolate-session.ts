// The session as a script sees it: a handle whose requests ride on the lane to the host.
import type { Channel } from '@errand/transport'
import { Link } from '../link.ts'
import { LinkSessionRef } from '../link-session.ts'
import { SessionHandle } from '../session-handle.ts'
import type { Session } from '../surface.ts'
import { LaneChannel } from './lane.ts'
import type { ExecutionSpec } from './engine.ts'

/** One link per isolate, made when a script first asks for its session. */
export class IsolateSession {
  readonly #post: (value: Uint8Array | null) => void
  #channel: LaneChannel | undefined
  #link: Link | undefined
  /** Kept from run to run: a job that a variable holds is the one that a later line finds. */
  #ref: LinkSessionRef | undefined

  constructor(post: (value: Uint8Array | null) => void) {
    this.#post = post
  }

  deliver(value: Uint8Array | null): void {
    this.#channel?.deliver(value)
  }

  open(spec: ExecutionSpec): Session {
    if (!this.#link?.open) {
      this.#channel = new LaneChannel('host', this.#post)
      const channel: Channel = this.#channel
      this.#link = new Link(channel, channel, { client: 'host' })
      this.#ref = new LinkSessionRef({ link: this.#link }, spec.session)
    }
    this.#ref!.update(spec.session)
    return new SessionHandle(this.#ref!, { prompt: spec.work.prompt === true })
  }
}
