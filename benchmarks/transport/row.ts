// What a benchmark says: ours beside a peer, both measured in the same run.

/** One result. `ratio` is in goodness: 1 is as good as the peer, 2 twice as good, also where less is better. */
export interface Row {
  readonly suite: 'transport' | 'remote' | 'jobs' | 'actors' | 'cli'
  readonly case: string
  /** Of `ours` and `peer`: of something a second more is better, of a time or size (`ms`, `µs`, `KiB`, `MiB`) less. */
  readonly unit: string
  readonly ours: number
  readonly peer: number
  readonly peerName: string
  readonly ratio: number
  /** What our side kept jobs and records in, where it matters. */
  readonly store?: string
}

/** A case that cannot be measured here, and why. */
export interface Skipped {
  readonly suite: Row['suite']
  readonly case: string
  readonly skipped: string
}

export function row({ unit, ours, peer, ...rest }: Omit<Row, 'ratio'>): Row {
  const lessIsBetter = unit === 'ms' || unit === 'µs' || unit === 'KiB' || unit === 'MiB'
  return { ...rest, unit, ours, peer, ratio: lessIsBetter ? peer / ours : ours / peer }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/**
 * The median of each contestant's results. They take turns, and every other turn backwards, so that whatever else the
 * machine does meets all of them alike. One turn before that counts for nothing: compilers warm up.
 */
export async function inTurns<Name extends string>(
  turns: number,
  contestants: Readonly<Record<Name, () => number | Promise<number>>>,
): Promise<Record<Name, number>> {
  const names = Object.keys(contestants) as Name[]
  const results = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>
  for (let turn = 0; turn <= turns; turn++) {
    for (const name of turn % 2 === 0 ? names : names.toReversed()) {
      progress(`${turn}/${turns} ${name}`)
      const result = await contestants[name]()
      if (turn > 0) results[name].push(result)
    }
  }
  progress('')
  return Object.fromEntries(names.map((name) => [name, median(results[name])])) as Record<Name, number>
}

/** Median of that many calls, one after the other, in microseconds. */
export async function typical(calls: number, call: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < calls; i++) times.push(await timed(call))
  return median(times)
}

/** Microseconds. */
export async function timed(call: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await call()
  return (performance.now() - begun) * 1000
}

/** One line on a terminal's stderr, the last one overwritten; nothing anywhere else. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

/** Since `begun`. */
export function seconds(begun: number): number {
  return (performance.now() - begun) / 1000
}

/** What is fast but wrong does not count. */
export function check(what: string, is: unknown, expected: unknown): void {
  if (is !== expected) throw new Error(`${what}: ${String(is)}, not ${String(expected)}`)
}

/** Calls a second, so many of them at a time; those that have begun when the time is over are waited for. */
export async function perSecond(flying: number, ms: number, call: () => Promise<void>): Promise<number> {
  let done = 0
  const begun = performance.now()
  const caller = async (): Promise<void> => {
    while (performance.now() - begun < ms) {
      await call()
      done++
    }
  }
  await Promise.all(Array.from({ length: flying }, caller))
  return done / seconds(begun)
}
