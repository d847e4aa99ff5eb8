// What happens, as it happens: for `events`, `watch` and `list --watch`. This machine's peer may go and come back under them.
import { setTimeout as delay } from 'node:timers/promises'
import { codeOf, type LocalPeer, type PeerEvent, type Session } from '@errand/runtime/client'
import type { Context } from './context.ts'
import { EXIT } from './exit-codes.ts'
import { Failure } from './failure.ts'
import { untilDetached } from './follow.ts'
import { placesOf, type Place } from './places.ts'

/** How often a peer that has gone is looked for, in ms. */
const AGAIN_MS = 500

/** Codes of a link that has ended, and of a peer or a session that is not there now. */
const GONE = new Set([
  'PEER_LOST',
  'PEER_CLOSED',
  'PEER_UNREACHABLE',
  'CHANNEL_CLOSED',
  'SESSION_CLOSED',
  'OUTCOME_UNKNOWN',
])

export interface Listener {
  /** These are heard from now on, and no others: each time it begins anew. */
  places?(places: readonly Place[]): void
  /** From here on everything is told: what there is now is to be looked up. Told again where something was missed. */
  begin(place: Place, peer: LocalPeer): Promise<void>
  /** The next one comes when this one has been dealt with. */
  event(place: Place, event: PeerEvent): Promise<void> | void
  /** No more comes until it begins again. */
  lost(reason: Error): void
}

export interface Hearing {
  /** Whose tables, as `--at` says; our own peer without it. */
  readonly at: readonly string[] | undefined
  /** With `at`: our own peer too, whose sessions and peers are of interest whoever's jobs are. */
  readonly own?: boolean
  /** Where it is said that a known peer cannot be reached (`--at all`). Default: on stderr. */
  readonly say?: ((text: string) => void) | undefined
}

/**
 * Tells of everything until `signal` aborts; while this machine's peer is away it is looked for, and not started.
 * @throws what keeps it from beginning the first time, and what no waiting mends
 */
export async function hear(
  context: Context,
  { at, own = false, say }: Hearing,
  listener: Listener,
  signal: AbortSignal,
): Promise<void> {
  let begun = false
  /** What was said of the peer that is away: once, however often it is looked for. */
  let said: string | undefined
  while (!signal.aborted) {
    try {
      const peer = await context.connect(begun ? { again: true, start: false } : {})
      const places = await placesOf(peer, at, context, say)
      listener.places?.(places)
      const ours: Place = { location: undefined, table: peer }
      const follow = async (place: Place, here: AbortSignal): Promise<void> => {
        for await (const event of place.table.events({ signal: here })) {
          begun = true
          said = undefined
          await (event.kind === 'begin' ? listener.begin(place, peer) : listener.event(place, event))
        }
      }
      const all = own && at !== undefined ? [ours, ...places] : places
      await first(
        all.map((place) => async (here) => {
          try {
            await first([(over) => follow(place, over), ...(place.session ? [linkOf(place.session)] : [])], here)
          } catch (error) {
            throw place.session ? of(place.location ?? at![0]!, error as Error) : error
          }
        }),
        signal,
      )
    } catch (error) {
      if (signal.aborted) return
      if (!begun || !GONE.has(codeOf(error) ?? '')) throw error
      const { message } = error as Error
      if (message !== said) listener.lost(error as Error)
      said = message
      await delay(AGAIN_MS, undefined, { signal }).catch(() => undefined) // aborted: over
    }
  }
}

/** A session whose link is lost answers nothing until it is back: throws as soon as it is. */
function linkOf(session: Session): (signal: AbortSignal) => Promise<void> {
  return async (signal) => {
    for await (const { state, reason } of session.watch({ signal })) {
      if (state === 'Connecting' || state === 'Broken' || state === 'Closed')
        throw new Failure('PEER_UNREACHABLE', reason?.message ?? `its session is ${state}`)
    }
  }
}

/**
 * Says where that was: what it says itself is as it looks from there. A session that is not there any more was closed: a
 * standing one is opened anew, and of another one it is said, the next time, that there is none.
 */
function of(place: string, error: Error): Error {
  const code = codeOf(error) === 'SESSION_NOT_FOUND' ? 'SESSION_CLOSED' : codeOf(error)
  if (code === undefined || !GONE.has(code)) return error
  return new Failure(code, `${place}: ${code === 'SESSION_CLOSED' ? 'its session is closed' : error.message}`)
}

/** All of them, until the first ends; then the others are ended too, and have ended. */
async function first(acts: readonly ((signal: AbortSignal) => Promise<void>)[], signal: AbortSignal): Promise<void> {
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  const running = acts.map((act) => act(either))
  try {
    await Promise.race(running)
  } finally {
    over.abort()
    await Promise.allSettled(running)
  }
}

/** As `untilDetached`; when `--timeout` has run out that is all there is to say. */
export function untilLeft(context: Context, work: (signal: AbortSignal) => Promise<void>): Promise<number> {
  return untilDetached(context, async (signal) => {
    try {
      await work(signal)
    } catch (error) {
      if (!context.signal.aborted) throw error
    }
    if (context.signal.aborted) return EXIT.timeout
    signal.throwIfAborted()
    return EXIT.done
  })
}
