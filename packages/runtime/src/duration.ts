// Durations as people write them.
import { UsageError } from './errors.ts'
import type { Duration } from './surface.ts'

/** The longest `setTimeout` keeps (about 24.8 days); beyond it a timer would fire at once. */
export const LONGEST_TIMER: number = 2 ** 31 - 1

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `500ms 30s 5m 2h 7d`, or milliseconds, as milliseconds. @throws UsageError */
export function milliseconds(duration: Duration): number {
  if (typeof duration === 'number') {
    if (Number.isFinite(duration) && duration >= 0) return Math.round(duration)
    throw new UsageError(`a duration must be a number of milliseconds from 0 on, not ${duration}`)
  }
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(duration.trim())
  const unit = UNITS[match?.[2] ?? 'ms']
  if (!match || unit === undefined) {
    throw new UsageError(`'${duration}' is not a duration`, { hint: 'write 500ms, 30s, 5m, 2h or 7d' })
  }
  return Math.round(Number(match[1]) * unit)
}
