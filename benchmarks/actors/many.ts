// What many actors cost: time, and memory.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { seconds } from '../transport/row.ts'

/** Actors of one turn, at least: few are made again and again, so that collecting them is counted as it is for many. */
const AT_LEAST = 10_000
/** Under way at once. */
const FLYING = 64

/** Microseconds an actor, of all that were made; `after` is beside the time. */
export async function perActor(
  count: number,
  round: () => Promise<void>,
  after?: () => Promise<unknown>,
): Promise<number> {
  let us = 0
  let made = 0
  for (; made < AT_LEAST; made += count) {
    const begun = performance.now()
    await round()
    us += seconds(begun) * 1e6
    await after?.()
  }
  return us / made
}

/** KiB by which this process has grown for each of them, when what is garbage has gone. */
export async function kibEach(count: number, make: () => Promise<unknown>): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const used = (): number => {
    collect()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const before = used()
  const made = await make()
  const grown = used() - before
  // Held until then.
  if (made === undefined) throw new Error('there is nothing that was made')
  return grown / count / 1024
}

/** What comes of each, so many at a time. */
export async function eachOf<T, R>(items: readonly T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const mine = next++
      results[mine] = await act(items[mine]!)
    }
  }
  await Promise.all(Array.from({ length: FLYING }, worker))
  return results
}
