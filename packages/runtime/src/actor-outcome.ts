// What comes of asking an actor: how long its answer is waited for, and what is known when there is none.
import { decode, type Cancel } from '@errand/transport'
import type { Outcome } from './actor-surface.ts'
import { Deadlines } from './deadlines.ts'
import { milliseconds } from './duration.ts'
import { asError, codeOf, TimeoutError, UsageError } from './errors.ts'
import type { Duration } from './surface.ts'
import { ASK_TIMEOUT_MOST } from './wire.ts'

/** How long an answer is waited for, where nothing else is said. */
const ASK_TIMEOUT = 30_000
/** The other side answers when its time is over; an answer that is on its way by then is waited for. */
export const LATE_MS = 2_000
const UNKNOWN: ReadonlySet<string> = new Set([
  'OUTCOME_UNKNOWN',
  'PEER_LOST',
  'PEER_UNREACHABLE',
  'TIMEOUT',
  'PEER_CLOSED',
])

/** Of all questions that this process asks. */
const deadlines = new Deadlines()

/** @throws UsageError */
export function askTimeout(timeout: Duration | undefined): number {
  const ms = timeout === undefined ? ASK_TIMEOUT : milliseconds(timeout)
  if (ms > ASK_TIMEOUT_MOST) throw new UsageError('an answer is waited for at most a day')
  return ms
}

/** @throws the reason of `signal`, and nothing else */
export async function outcomeOf<T>(asked: () => Promise<unknown>, { signal }: Cancel): Promise<Outcome<T>> {
  let answer: Uint8Array
  try {
    answer = (await asked()) as Uint8Array
  } catch (thrown) {
    signal?.throwIfAborted()
    const error = asError(thrown)
    return { outcome: UNKNOWN.has(codeOf(error) ?? '') ? 'unknown' : 'error', error }
  }
  try {
    return { outcome: 'ok', value: decode(answer) as T }
  } catch (error) {
    // It was handled, whatever this is.
    return { outcome: 'unknown', error: asError(error) }
  }
}

/** What comes of it within that time and a little more; then nobody waits for it. The other side counts too, and says so. */
export function inTime<T>(timeout: number, act: (until: number) => Promise<T>): Promise<T> {
  const ms = timeout + LATE_MS
  return new Promise((resolve, reject) => {
    const deadline = deadlines.after(ms, () => reject(new TimeoutError(`no answer within ${timeout} ms`)))
    act(deadline.due).then(
      (value) => {
        deadline.end()
        resolve(value)
      },
      (error: unknown) => {
        deadline.end()
        reject(asError(error))
      },
    )
  })
}
