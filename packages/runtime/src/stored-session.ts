// What is written of the peer itself, of a session it hosts, and of one it holds elsewhere.
import { isMoment, type Moment } from './moment.ts'
import type { SessionKind } from './session.ts'
import type { Buffering, SessionSnapshot } from './surface.ts'
import type { OpenSession } from './wire.ts'

/** Of these rows' form. Another one is a later version's, and is left alone. */
export const SESSION_ROW = 1

/** Numbers that were given: none is given again, though what had it is gone. */
export interface StoredPeer {
  readonly v: typeof SESSION_ROW
  readonly lastSession: number
  readonly lastHeld: number
}

export interface StoredSession {
  readonly v: typeof SESSION_ROW
  readonly instanceId: string
  readonly id: number
  readonly kind: Exclude<SessionKind, 'temporary'>
  readonly owner: string
  /** As it was opened; of a session that nobody opened (local, home) undefined. */
  readonly options?: OpenSession | undefined
  readonly name: string
  readonly idleTimeout: number
  readonly buffering: Buffering
  readonly epoch: number
  readonly lastJob: number
  /** Since when nobody has it; undefined while somebody does. */
  readonly left?: Moment | undefined
}

export interface StoredHeld {
  readonly v: typeof SESSION_ROW
  readonly instanceId: string
  readonly id: number
  /** What leads there: `localhost`, a peer's id, and an address where it is in no book. */
  readonly place: string
  readonly address?: string | undefined
  readonly location: string
  /** It is our standing session there. */
  readonly home?: boolean | undefined
  readonly temporary: boolean
  readonly lostAfter: number
  /** Given up, it is taken up again when its peer is back. */
  readonly reconnect?: boolean | undefined
  /** The client process that has it over there. */
  readonly client: string
  /** Disconnected by command: it is not taken up again by itself. */
  readonly left: boolean
  /** As it was last seen. */
  readonly far: SessionSnapshot
}

type Fields = Record<string, unknown>
const count = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0
const strings = (row: Fields, ...names: string[]): boolean => names.every((name) => typeof row[name] === 'string')
const counts = (row: Fields, ...names: string[]): boolean => names.every((name) => count(row[name]))
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null

function read<T>(value: unknown, fits: (row: Fields) => boolean): T | string {
  const row = (value ?? {}) as Fields
  if (row['v'] !== SESSION_ROW) return `its form is ${String(row['v'])}, not ${SESSION_ROW}`
  return fits(row) ? (value as T) : 'a field does not fit'
}

/** A row of this form, or why it is none. */
export function readStoredPeer(value: unknown): StoredPeer | string {
  return read(value, (row) => counts(row, 'lastSession', 'lastHeld'))
}

/** A row of this form, or why it is none. */
export function readStoredSession(value: unknown): StoredSession | string {
  return read(
    value,
    (row) =>
      strings(row, 'instanceId', 'owner', 'name') &&
      counts(row, 'id', 'idleTimeout', 'epoch', 'lastJob') &&
      ['local', 'persistent', 'home'].includes(row['kind'] as string) &&
      ['block', 'drop'].includes(row['buffering'] as string) &&
      (row['options'] === undefined || isObject(row['options'])) &&
      (row['left'] === undefined || isMoment(row['left'])),
  )
}

/** A row of this form, or why it is none. */
export function readStoredHeld(value: unknown): StoredHeld | string {
  return read(
    value,
    (row) =>
      strings(row, 'instanceId', 'place', 'location', 'client') &&
      counts(row, 'id', 'lostAfter') &&
      typeof row['temporary'] === 'boolean' &&
      typeof row['left'] === 'boolean' &&
      (row['reconnect'] === undefined || typeof row['reconnect'] === 'boolean') &&
      isObject(row['far']),
  )
}
