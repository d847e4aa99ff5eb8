// What is written of the peer itself, of a session it hosts, and of one it holds elsewhere.
import { count, flag, maybe, oneOf, record, shape, text, type Check } from './checks.ts'
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

const peer = shape({ lastSession: count, lastHeld: count })
const hosted = shape({
  instanceId: text,
  owner: text,
  name: text,
  id: count,
  idleTimeout: count,
  epoch: count,
  lastJob: count,
  kind: oneOf('local', 'persistent', 'home'),
  buffering: oneOf('block', 'drop'),
  options: maybe(record),
  left: maybe(isMoment),
})
const held = shape({
  instanceId: text,
  place: text,
  location: text,
  client: text,
  id: count,
  lostAfter: count,
  temporary: flag,
  left: flag,
  reconnect: maybe(flag),
  far: record,
})

function read<T>(value: unknown, fits: Check): T | string {
  const v = (value as { v?: unknown } | null | undefined)?.v
  if (v !== SESSION_ROW) return `its form is ${String(v)}, not ${SESSION_ROW}`
  return fits(value) ? (value as T) : 'a field does not fit'
}

/** A row of this form, or why it is none. */
export function readStoredPeer(value: unknown): StoredPeer | string {
  return read(value, peer)
}

/** A row of this form, or why it is none. */
export function readStoredSession(value: unknown): StoredSession | string {
  return read(value, hosted)
}

/** A row of this form, or why it is none. */
export function readStoredHeld(value: unknown): StoredHeld | string {
  return read(value, held)
}
