// What becomes of a link while somebody waits for what is at its other end: lost and tried again, given up, back.
import type { JobSnapshot, Session, SessionSnapshot } from '@errand/runtime/client'
import type { Context } from './context.ts'
import { leavesOf } from './exit-codes.ts'

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
      this.#tell(instanceId, location, state === 'Disconnected', reason)
    }
  }

  session({ instanceId, location, state, reason }: SessionSnapshot): void {
    this.#tell(instanceId, location, state === 'Connecting' || state === 'Disconnected', reason)
  }

  #tell(which: string, location: string, lost: boolean, reason: Error | undefined): void {
    const { terminal } = this.#context
    const before = this.#lost.get(which)
    if (!lost) {
      if (before !== undefined) terminal.say(`errand: ${location} is back`)
      this.#lost.delete(which)
    } else if (reason !== undefined && reason.message !== before) {
      this.#lost.set(which, reason.message)
      terminal.say(`${terminal.word('yellow', 'warning:')} ${reason.message}`)
    }
  }
}

/** Says what becomes of a session's link for as long as it is not disposed; nothing where nobody wants words. */
export function sayingLink(context: Context, session: Session): AsyncDisposable {
  const over = new AbortController()
  const signal = AbortSignal.any([context.signal, over.signal])
  const silent = context.quiet || context.json !== undefined
  const watching = silent ? undefined : tell(new LinkNews(context), session, signal)
  return {
    async [Symbol.asyncDispose]() {
      over.abort()
      await watching
    },
  }
}

async function tell(news: LinkNews, session: Session, signal: AbortSignal): Promise<void> {
  try {
    for await (const snapshot of session.watch({ signal })) news.session(snapshot)
  } catch {
    // No more can be heard of it: whoever uses it is told why.
  }
}
