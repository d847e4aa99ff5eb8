// One request over as many links as it takes, under one id: done once, or said to be unknown (docs/decisions/0020).
//
// All requests that outlive a link go through here: a session's, a peer's own, and those of programs that speak to a daemon.
import { codeOf, OutcomeUnknownError, TimeoutError } from './errors.ts'
import { Link } from './link.ts'
import type { RequestOptions } from './session-ref.ts'
import { REPEAT, type Address, type WireEvent } from './wire.ts'

export interface Asking extends RequestOptions {
  /** Who is asked, for people. */
  readonly location: string
  /**
   * A link there; another one where `ended` has, for that reason. No promise where there is one already: what is asked next
   * must not overtake this. @throws when there is none: then that is the answer
   */
  next(ended?: Link, why?: unknown): Link | Promise<Link>
}

/**
 * Asked again over the next link where one ends before it has brought the answer.
 * @throws OutcomeUnknownError: who is asked remembers nothing of it, and it must not be done twice; whatever `next` throws
 */
export async function ask(to: Address, event: WireEvent, asking: Asking): Promise<{ link: Link; answer: unknown }> {
  const { location, signal, until, late, watch, onSend } = asking
  const id = Link.requestId()
  /** What remembers it, where it has been heard there at all. */
  let memory: string | undefined
  /** Refused over this link; over the last one it may have been done. */
  const refused = (error: unknown): unknown =>
    memory !== undefined && REPEAT[event.type] === 'once' && codeOf(error) === 'DENIED'
      ? new OutcomeUnknownError(`${location} was asked for a ${event.type}, and refuses it now`, { cause: error })
      : error
  for (let ended: Link | undefined, why: unknown; ;) {
    let link: Link
    try {
      const found = asking.next(ended, why)
      link = 'then' in found ? await found : found
      if (until !== undefined && (ended || 'then' in found) && performance.now() >= until)
        throw (why as Error | undefined) ?? new TimeoutError(`${location} was not reached in time`)
    } catch (error) {
      throw refused(error)
    }
    // It was started anew meanwhile, say: it cannot tell what it has done before.
    if (memory !== undefined && memory !== link.memory && REPEAT[event.type] === 'once') {
      throw new OutcomeUnknownError(`${location} remembers nothing of a ${event.type} it was asked`)
    }
    const again = memory !== undefined
    // Over a link that has ended before, nothing leaves.
    if (link.open) memory = link.memory
    onSend?.()
    try {
      return { link, answer: await link.ask(to, event, { signal, late, watch, id }) }
    } catch (error) {
      if (link.open || codeOf(error) !== 'PEER_LOST' || signal?.aborted) throw again ? refused(error) : error
      ended = link
      why = error
    }
  }
}
