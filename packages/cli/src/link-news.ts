// What becomes of a link while somebody waits for what is at its other end: lost and tried again, given up, back.
import type { JobSnapshot, SessionSnapshot } from '@errand/runtime/client'
import type { Context } from './context.ts'
import { leavesOf } from './exit-codes.ts'
import { oneLine } from './render/table.ts'

/** Says each thing once, on stderr. */
export class LinkNews {
  readonly #context: Context
  /** Why it is lost, by where. */
  readonly #lost = new Map<string, string>()

  constructor(context: Context) {
    this.#context = context
  }

  /** Of a job's parts elsewhere. */
  job(job: JobSnapshot): void {
    for (const { instanceId, location, state, reason } of leavesOf(job)) {
      // One that failed while it could not be reached says why itself; whether its peer is back is not known by that.
      if (state === 'Failed') this.#lost.delete(instanceId)
      else this.#tell(instanceId, location, state === 'Disconnected', reason)
    }
  }

  session({ instanceId, location, state, reason }: SessionSnapshot): void {
    if (state === 'Broken' || state === 'Closed') this.#lost.delete(instanceId)
    else this.#tell(instanceId, location, state === 'Connecting' || state === 'Disconnected', reason)
  }

  #tell(which: string, location: string, lost: boolean, reason: Error | undefined): void {
    const { terminal } = this.#context
    const before = this.#lost.get(which)
    if (!lost) {
      if (before !== undefined) terminal.say(`errand: ${oneLine(location)} is back`)
      this.#lost.delete(which)
    } else if (reason !== undefined && reason.message !== before) {
      this.#lost.set(which, reason.message)
      terminal.say(`${terminal.word('yellow', 'warning:')} ${oneLine(reason.message)}`)
    }
  }
}
