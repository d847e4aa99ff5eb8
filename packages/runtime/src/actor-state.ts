// How an actor is shown: what travels of it. What it shows of
// itself is encoded where it is, once for all that watch it, and decoded where it is looked at.
import { decode, encode } from '@errand/transport'
import type { StateValue } from 'xstate'
import type { ActorSnapshot } from './actor-surface.ts'
import { count, list, maybe, oneOf, record, shape, text, type Check } from './checks.ts'
import { plainError, ProtocolError } from './errors.ts'

/** As it travels. */
export interface ActorState {
  readonly status: ActorSnapshot['status']
  readonly epoch: number
  /** Events that it has handled. */
  readonly seq: number
  readonly value?: StateValue | undefined
  readonly tags?: readonly string[] | undefined
  readonly accepts?: readonly string[] | undefined
  /** CBOR of what it shows as its context. */
  readonly context?: Uint8Array | undefined
  /** Of one that is done: CBOR of its output. */
  readonly output?: Uint8Array | undefined
  /** Why it has failed, was stopped, or is not there. */
  readonly reason?: Error | undefined
  /** From a daemon to its client: nothing else is known now, for its peer cannot be reached. */
  readonly away?: Error | undefined
}

/** No actor is shown yet, or none can be. */
export const UNSEEN: ActorState = Object.freeze({ status: 'active', epoch: 0, seq: 0 })

/** For whoever asks for one that is not there. */
export function goneState(reason: Error, epoch = 0): ActorState {
  return { status: 'gone', epoch, seq: 0, reason }
}

const bytes: Check = (value) => value instanceof Uint8Array
const error = maybe((value) => Error.isError(value))
const fields = shape({
  status: oneOf('active', 'done', 'error', 'stopped', 'gone'),
  epoch: count,
  seq: count,
  value: maybe((value) => text(value) || record(value)),
  tags: maybe(list(text)),
  accepts: maybe(list(text)),
  context: maybe(bytes),
  output: maybe(bytes),
  reason: error,
  away: error,
})

/** What another peer says of an actor; where that is nothing, it is gone for us. */
export function heardState(said: unknown): ActorState {
  return fields(said) ? (said as ActorState) : goneState(new ProtocolError('what was said of an actor does not fit'))
}

/** Whoever says it may say anything: what is none is shown as the error that says so. Never throws. */
export function shownValue(said: Uint8Array): unknown {
  try {
    return decode(said)
  } catch (error) {
    return error
  }
}

/** Of what an actor shows as its context, and as its output, in bytes: both have to fit into one message. */
export const SHOWN_BYTES: number = 4 * 1024 * 1024

/**
 * What cannot travel is left out and marked; where all of it cannot be shown, the error that says why is shown in its place.
 * Never throws: what a machine keeps may be anything, and nobody who only looks at it is to break it.
 */
export function shown(value: unknown): Uint8Array {
  try {
    return encode(value, { lossy: true, limits: { bytes: SHOWN_BYTES } })
  } catch (error) {
    return encode(plainError(error), { lossy: true })
  }
}

/**
 * A copy without actors, where there are any: those that a machine has spawned mean nothing elsewhere, and behind each is all
 * of XState. Those that are deeper encoding marks as left out.
 */
export function withoutActors(value: unknown): unknown {
  try {
    return pruned(value, 4)
  } catch {
    // A getter that throws: encoding says which.
    return value
  }
}

function pruned(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null || depth === 0) return value
  if (isActor(value)) return undefined
  const plain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
  if (!plain) return value
  let copy: Record<string, unknown> | undefined
  for (const [key, item] of Object.entries(value)) {
    const kept = pruned(item, depth - 1)
    if (kept === item) continue
    copy ??= (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>
    copy[key] = kept
  }
  return copy ?? value
}

function isActor(value: object): boolean {
  return 'sessionId' in value && typeof (value as { send?: unknown }).send === 'function' && !('address' in value)
}
