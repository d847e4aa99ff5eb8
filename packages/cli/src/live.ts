// What happens, as it happens: for `events`, `watch` and `list --watch`. This machine's peer may go and come back under them.
import { setTimeout as delay } from 'node:timers/promises'
import { codeOf, type LocalPeer, type PeerEvent, type Session } from '@errand/runtime/client'
import type { Context } from './context.ts'
import { EXIT } from './exit-codes.ts'
import { Failure } from './failure.ts'
import { untilDetached } from './follow.ts'
import { oneLine } from './render/table.ts'
import { placesMeant, type Place, type PlaceMeant } from './places.ts'

/** How often our own peer is looked for when it has gone, in ms. */
const AGAIN_MS = 500
/** The same of another peer: each time it is dialled. */
const OTHERS_AGAIN_MS = 1000

/** Codes of a link that has ended, and of a peer that is not there now. */
const GONE = new Set(['PEER_LOST', 'PEER_CLOSED', 'PEER_UNREACHABLE', 'CHANNEL_CLOSED', 'OUTCOME_UNKNOWN'])

/** Of a session that was closed over there, or that somebody else has. */
const CLOSED = new Set(['SESSION_CLOSED', 'SESSION_NOT_FOUND', 'SESSION_EXPIRED', 'SESSION_STATE'])

export interface Listener {
  /** Places with these locations are heard from now on, and no others: each time our own peer is there anew. */
  places?(locations: ReadonlySet<string | undefined>): void
  /** From here on everything of this place is told: what there is now is to be looked up. Again where something was missed. */
  begin(place: Place, peer: LocalPeer): Promise<void>
  /** The next one of this place comes when this one has been dealt with. */
  event(place: Place, event: PeerEvent): Promise<void> | void
  /** A peer has gone, said once until something is heard of it again. The other places go on, but for when it is our own. */
  lost?(reason: Error): void
  /** Why those that are away now are: it has changed. `silent`: no table is heard. */
  away?(reasons: readonly Error[], silent: boolean): void
}

export interface Hearing {
  /** Whose tables, as `--at` says; our own peer without it. */
  readonly at: readonly string[] | undefined
  /** With `at`: our own peer too, whose sessions and peers are of interest whoever's jobs are. */
  readonly own?: boolean
  /** Where it is said that a known peer is not heard, for a reason that no waiting mends (`--at all`). Default: on stderr. */
  readonly say?: ((text: string) => void) | undefined
}

/**
 * Tells of everything until `signal` aborts. A place that is away is looked for, each by itself; while our own peer is away,
 * which is not started again, nothing is heard of any.
 * @throws what keeps a place of `at` from being spoken to the first time, but with `all`; and what no waiting mends
 */
export async function hear(
  context: Context,
  { at, own = false, say = (text) => context.terminal.say(text) }: Hearing,
  listener: Listener,
  signal: AbortSignal,
): Promise<void> {
  const all = at?.includes('all') === true
  // Each by what `--at` calls it; undefined is our own peer.
  const away = new Map<string | undefined, Error>()
  /** Tables that are heard when all are there. */
  let tables = 1
  const sayAway = (): void => listener.away?.([...away.values()], away.has(undefined) || away.size >= tables)
  const lost = (who: string | undefined, reason: Error): void => {
    if (away.has(who)) return
    away.set(who, reason)
    listener.lost?.(reason)
    sayAway()
  }
  const back = (who: string | undefined): void => {
    if (away.delete(who)) sayAway()
  }

  const follow = async (place: Place, word: string | undefined, peer: LocalPeer, here: AbortSignal): Promise<void> => {
    for await (const event of place.table.events({ signal: here })) {
      if (event.kind !== 'begin') {
        await listener.event(place, event)
        continue
      }
      await listener.begin(place, peer)
      back(word)
      back(undefined)
    }
  }

  /** Until `here` aborts, however often the place goes and comes back. @throws as `hear`, and when our own peer has gone */
  const keep = async ({ word, open }: PlaceMeant, peer: LocalPeer, here: AbortSignal): Promise<void> => {
    /** It was closed over there, and is opened anew: only if that is of no use there is something to say. */
    let reopens = false
    while (!here.aborted) {
      let place: Place | undefined
      try {
        place = await open(here)
        const { session } = place
        await together([(over) => follow(place!, word, peer, over), ...(session ? [linkOf(session)] : [])], here)
      } catch (error) {
        if (here.aborted) return
        const code = codeOf(error) ?? ''
        const closed = place !== undefined && CLOSED.has(code)
        const gone = closed || GONE.has(code)
        if (word === undefined || (!gone && !(all && !place))) throw error
        // When our own peer has gone, that is what there is to say.
        await peer.peers({ signal: here })
        back(undefined)
        if (!gone) return say(`errand: ${word}: ${(error as Error).message}`)
        reopens = closed && !reopens
        if (reopens) continue
        // What comes from there is said as it looks from there.
        lost(word, place ? new Failure('PEER_UNREACHABLE', `${word}: ${(error as Error).message}`) : (error as Error))
        await delay(OTHERS_AGAIN_MS, undefined, { signal: here }).catch(() => undefined) // aborted: over
      }
    }
  }

  let begun = false
  while (!signal.aborted) {
    try {
      const peer = await context.connect(begun ? { again: true, start: false } : {})
      const meant = await placesMeant(peer, at, signal)
      tables = meant.length
      listener.places?.(new Set(meant.map(({ location }) => location)))
      // A word that nobody has is a mistake, and is not waited for.
      if (!begun && !all) await Promise.all(meant.map(({ open }) => open(signal)))
      begun = true
      if (own && at !== undefined) meant.unshift(...(await placesMeant(peer, undefined, signal)))
      await together(
        meant.map((one) => (here) => keep(one, peer, here)),
        signal,
      )
    } catch (error) {
      if (signal.aborted) return
      if (!begun || !GONE.has(codeOf(error) ?? '')) throw error
      // However that came out: of a link that ended, or of nobody who answers.
      lost(undefined, new Failure('PEER_UNREACHABLE', "this machine's peer has gone"))
      await delay(AGAIN_MS, undefined, { signal }).catch(() => undefined) // aborted: over
    }
  }
}

/** Says that a peer has gone and is looked for, where words are wanted: one line a time, on stderr. */
export function sayLost({ terminal, quiet }: Context, { message }: Error): void {
  if (!quiet) terminal.say(`${terminal.word('yellow', 'warning:')} ${oneLine(message)}; waiting for it`)
}

/** A session whose link is lost answers nothing until it is back: throws as soon as it is. */
function linkOf(session: Session): (signal: AbortSignal) => Promise<void> {
  return async (signal) => {
    for await (const { state, reason } of session.watch({ signal })) {
      if (state === 'Connecting' || state === 'Broken' || state === 'Closed') {
        const code = state === 'Connecting' ? 'PEER_UNREACHABLE' : 'SESSION_CLOSED'
        throw new Failure(code, reason?.message ?? `its session is ${state}`)
      }
    }
  }
}

/** All of them; when one fails the others are ended too, and have ended. @throws what the first throws that does */
async function together(acts: readonly ((signal: AbortSignal) => Promise<void>)[], signal: AbortSignal): Promise<void> {
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  const running = acts.map((act) => act(either))
  try {
    await Promise.all(running)
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
