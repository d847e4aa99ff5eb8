// Trying again what could not be reached, with pauses that grow.

import { type Clock, systemClock } from './clock.ts'
import { ErrandError } from './errors.ts'
import type { Cancel } from './transport.ts'

/** First pause in ms; each is half as long again, up to the most: 16 attempts in two minutes, then six a minute. */
const BACK_OFF_FIRST = 250
const BACK_OFF_MOST = 10_000
/** Each pause is shortened by up to this part at random: many who lost the same peer do not come back as one. */
const BACK_OFF_JITTER = 0.25

/** Pauses between attempts, in ms, without end: 250 ms growing by half to 10 s, each up to a quarter shorter. */
export function* backOff(random: () => number = Math.random): Generator<number, never> {
  for (let pause = BACK_OFF_FIRST; ; pause = Math.min(pause * 1.5, BACK_OFF_MOST))
    yield pause * (1 - BACK_OFF_JITTER * random())
}

export interface PatienceOptions extends Cancel {
  /** For how many milliseconds, from the first attempt on, to try again. 0: one attempt. */
  readonly patience: number
  /** Ends a pause early when there is a new chance; gives back how to stop listening. */
  readonly onNews?: ((act: () => void) => () => void) | undefined
  readonly random?: (() => number) | undefined
  readonly clock?: Clock | undefined
}

/**
 * Attempts until one succeeds, one fails for another reason than PEER_UNREACHABLE, or patience runs out: then with the
 * last attempt's error.
 * @throws what the attempt throws, or the signal's reason
 */
export async function patiently<T>(attempt: () => Promise<T>, options: PatienceOptions): Promise<T> {
  const { patience, signal, clock = systemClock } = options
  const until = clock.now() + patience
  for (const pause of backOff(options.random)) {
    // Listening from before the attempt: news that comes while it fails is not lost.
    const news = Promise.withResolvers<void>()
    const stop = options.onNews?.(news.resolve)
    try {
      return await attempt()
    } catch (error) {
      signal?.throwIfAborted()
      const left = until - clock.now()
      if (!(error instanceof ErrandError && error.code === 'PEER_UNREACHABLE') || left <= 0) throw error
      const wait = Math.min(pause, left)
      // News may come as often as somebody on the network likes to make it.
      const least = Math.min(BACK_OFF_FIRST, wait)
      await pass(clock, least, undefined, signal)
      await pass(clock, wait - least, news.promise, signal)
    } finally {
      stop?.()
    }
  }
  throw new Error('pauses end never')
}

/** Lets time pass, until `sooner` at the latest. @throws the signal's reason */
async function pass(
  clock: Clock,
  ms: number,
  sooner: Promise<void> | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  signal?.throwIfAborted()
  if (ms <= 0) return
  const over = Promise.withResolvers<void>()
  const timer = clock.after(ms, over.resolve, true)
  const giveUp = (): void => over.reject(signal!.reason as Error)
  signal?.addEventListener('abort', giveUp, { once: true })
  void sooner?.then(over.resolve)
  try {
    await over.promise
  } finally {
    timer.stop()
    signal?.removeEventListener('abort', giveUp)
  }
}
