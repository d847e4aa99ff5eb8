// What is written of a durable machine beside its journal: how it was behind so many entries.
import { count, list, shape, text, type Check } from './checks.ts'
import type { EntryEvent } from './actor-entry.ts'
import { isMoment, type Moment } from './moment.ts'

/** Of this row's form, and of the entries in its journal. Another one is a later version's, and is left alone. */
export const ACTOR_ROW = 1

export interface StoredActor {
  readonly v: typeof ACTOR_ROW
  /** What it is made of, and of which version that was. */
  readonly machine: string
  readonly version: number
  /** Which attempt of its job it is: another one is another actor. */
  readonly epoch: number
  /** The first entry of the journal that is not in `persisted`. */
  readonly next: number
  /** Events that it had handled. */
  readonly handled: number
  /** As XState persists it. */
  readonly persisted: unknown
  readonly timers: readonly StoredTimer[]
  /** The highest number of a timer that there was. */
  readonly lastTimer: number
  /** What it was running: id, and how many entries there were when it was begun. */
  readonly children: readonly (readonly [id: string, since: number])[]
  /** Of each sender the last number that was taken; who was silent for longest comes first. */
  readonly senders: readonly (readonly [from: string, seq: number])[]
}

export interface StoredTimer {
  readonly timer: number
  /** By which it can be cancelled. */
  readonly id?: string | undefined
  readonly event: EntryEvent
  /** It is due so many milliseconds after it was set. */
  readonly delay: number
  readonly set: Moment
}

const pair: Check = (value) => Array.isArray(value) && value.length === 2 && text(value[0]) && count(value[1])
const timer = shape({
  timer: count,
  event: shape({ type: text }),
  delay: (delay) => typeof delay === 'number',
  set: isMoment,
})
const stored = shape({
  machine: text,
  version: count,
  epoch: count,
  next: count,
  handled: count,
  persisted: shape({}),
  timers: list(timer),
  lastTimer: count,
  children: list(pair),
  senders: list(pair),
})

/** A row of this form, or why it is none. */
export function readStoredActor(value: unknown): StoredActor | string {
  const { v } = (value ?? {}) as Partial<StoredActor>
  if (v !== ACTOR_ROW) return `its form is ${String(v)}, not ${ACTOR_ROW}`
  return stored(value) ? (value as StoredActor) : 'a field does not fit'
}
