// errand events: what happens on a peer, a line each, until it is left; of jobs that are named see job-events.ts.
import type { PeerEvent } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import type { Flags } from '../flags.ts'
import { hear, sayLost, untilLeft } from '../live.ts'
import type { Place } from '../places.ts'
import {
  EVENT_FIELDS,
  happeningCells,
  happeningDocument,
  happenings,
  timeText,
  type Happening,
} from '../render/event.ts'
import { pick } from '../render/json.ts'
import { cut, oneLine } from '../render/table.ts'

export default async function events(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { terminal, quiet, json } = context
  // A field that there is not is said at once, and not with the first event.
  if (json !== undefined) pick({}, json, EVENT_FIELDS)
  if (words.length > 0) {
    const { jobEvents } = await import('./job-events.ts')
    return jobEvents(context, flags, words)
  }
  const begun = new Set<string | undefined>()
  const print = async ({ location }: Place, event: PeerEvent): Promise<void> => {
    for (const happening of happenings(event)) {
      if (json !== undefined) {
        await terminal.out(`${JSON.stringify(pick(happeningDocument(happening, location), json, EVENT_FIELDS))}\n`)
      } else await terminal.out(eventLine(context, happening, location))
    }
  }
  return untilLeft(context, (signal) =>
    hear(
      context,
      { at: flags.at },
      {
        async begin(place) {
          const { location } = place
          // A program sees where it begins, and where something was missed; a person only the latter.
          if (json !== undefined) await print(place, { kind: 'begin', at: new Date() })
          else if (begun.has(location) && !quiet) terminal.say('errand: some events may be missing here')
          begun.add(location)
        },
        event: print,
        lost: (reason) => sayLost(context, reason),
      },
      signal,
    ),
  )
}

/** One line: when, of what, what, and the rest. */
export function eventLine(
  { terminal }: Context,
  one: Happening | { readonly at: Date; readonly cells: readonly [string, string, string] },
  from: string | undefined,
): string {
  const [what, state, rest] = 'cells' in one ? one.cells : happeningCells(one)
  const time = timeText(one.at, terminal.readsOut)
  const line = [time, ...(from === undefined ? [] : [oneLine(from)]), what.padEnd(12), state.padEnd(12), rest]
    .join('  ')
    .trimEnd()
  return `${terminal.columns === undefined ? line : cut(line, terminal.columns)}\n`
}
