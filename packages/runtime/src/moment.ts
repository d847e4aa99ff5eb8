// Moments that are written down, and how long ago they were: also for a peer that was started again since.
//
// The clock on the wall may be set meanwhile, forwards or back. So a moment is also kept by the time that this machine has
// been up, which nobody sets; that counts as long as the machine was not started again.
import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'

export interface Moment {
  /** Milliseconds since 1970. */
  readonly wall: number
  /** Milliseconds that the machine has been up, asleep or not. */
  readonly up: number
  /** Which start of the machine that was; '' where it does not tell. */
  readonly boot: string
}

/** It tells hundredths of a second. */
const EXACT_MS = 10

let boot: string | undefined

function thisBoot(): string {
  if (boot !== undefined) return boot
  try {
    boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    boot = ''
  }
  return boot
}

/** What the system said last, and when by our own clock: asking it costs a file that is read. */
let up = 0
let asked = Number.NEGATIVE_INFINITY

/** Asked anew where we were interrupted meanwhile: what it said would be of a later moment than we take it for. */
function askSystem(): void {
  for (let tries = 0; tries < 8; tries++) {
    asked = performance.now()
    up = uptime() * 1000
    if (performance.now() - asked < 1) return
  }
}

export function thisMoment(): Moment {
  if (performance.now() - asked >= EXACT_MS) askSystem()
  const now = performance.now()
  return { wall: Date.now(), up: Math.round(up + now - asked), boot: thisBoot() }
}

/** So many milliseconds ago. */
export function ago(ms: number): Moment {
  const { wall, up, boot: which } = thisMoment()
  return { wall: wall - ms, up: up - ms, boot: which }
}

/**
 * Milliseconds since then, never less than 0. Over a start of the machine only the clock on the wall is left: one that was
 * set back since counts as no time, one that was set forwards as that much more.
 */
export function since(then: Moment, now: Moment = thisMoment()): number {
  const sameBoot = then.boot !== '' && then.boot === now.boot
  return Math.max(0, sameBoot ? now.up - then.up : now.wall - then.wall)
}

/** What it says is cut off, asked for within a millisecond, and rounded: twice. */
const INEXACT_MS = EXACT_MS + 2

/** As `since`, but for what it cannot tell exactly: so much has gone by for certain, as long as the machine was not started. */
export function atLeastSince(then: Moment, now?: Moment): number {
  return Math.max(0, since(then, now) - INEXACT_MS)
}

export function isMoment(value: unknown): value is Moment {
  const { wall, up, boot: which } = (value ?? {}) as Partial<Moment>
  return Number.isFinite(wall) && Number.isFinite(up) && typeof which === 'string'
}
