// errand events JOB: what has happened to jobs, and in those that are actors, a line each; with -f also what happens then.
import type { Context } from '../context.ts'
import type { Flags } from '../flags.ts'
import { sayingNews } from '../follow.ts'
import { tellActor, tellJob, type JobHappening } from '../job-events.ts'
import { untilLeft } from '../live.ts'
import { instanceOf, meantBy, placesOf, type Meant } from '../places.ts'
import { stateText } from '../render/actor.ts'
import { eventText } from '../render/chart.ts'
import { EVENT_FIELDS, happeningDocument, happenings } from '../render/event.ts'
import { jobId } from '../render/job.ts'
import { iso, pick, tagged } from '../render/json.ts'
import { oneLine, printable } from '../render/table.ts'
import { renderValue } from '../render/value.ts'
import { eventLine } from './events.ts'

export async function jobEvents(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { terminal, json, quiet } = context
  const follow = flags.follow === true
  const peer = await context.connect({ patient: follow })
  const places = await placesOf(peer, flags.at, context)
  const meant = await meantBy(peer, places, words, context)
  const placed = meant.filter((one) => 'job' in one)
  const print = async (of: Meant, one: JobHappening): Promise<void> => {
    if (one.kind === 'transition' && one.missed) {
      if (json !== undefined) await terminal.out(lineOf({ at: iso(one.at), event: 'begin', ...fromOf(of) }, json))
      else if (!quiet) terminal.say('errand: some events may be missing here')
    }
    await terminal.out(json === undefined ? textOf(context, of, one) : lineOf(documentOf(of, one), json))
  }
  return untilLeft(context, async (signal) => {
    await using _ = sayingNews(context, follow ? placed : [], signal)
    if (json !== undefined) await terminal.out(lineOf({ at: iso(new Date()), event: 'begin' }, json))
    const over = new AbortController()
    const either = AbortSignal.any([signal, over.signal])
    const tell = (of: Meant): Promise<void> => {
      const options = { follow, signal: either }
      if ('job' in of) return tellJob(of.job, (one) => print(of, one), statesOf, options)
      return tellActor(of.actor, (one) => print(of, one), options)
    }
    if (!follow) {
      for (const of of meant) await tell(of)
      return
    }
    const following = meant.map(tell)
    try {
      await Promise.all(following)
    } finally {
      // When one fails the others are ended too, and have ended.
      over.abort()
      await Promise.allSettled(following)
    }
  })
}

const statesOf: Parameters<typeof tellJob>[2] = (job, states) =>
  happenings({ kind: 'job', at: new Date(), job: { ...job, children: [] }, states })

function lineOf(document: Record<string, unknown>, fields: readonly string[]): string {
  return `${JSON.stringify(pick(document, fields, EVENT_FIELDS))}\n`
}

function fromOf({ place: { location } }: Meant): Record<string, unknown> {
  return location === undefined ? {} : { from: location }
}

function documentOf(of: Meant, one: JobHappening): Record<string, unknown> {
  if (one.kind === 'state') return happeningDocument(one.happening, of.place.location)
  const base = { at: iso(one.at), event: `actor.${one.kind}`, jobId: instanceOf(of) }
  if (one.kind === 'output') return { ...base, seq: one.seq, value: tagged(one.value), ...fromOf(of) }
  const { seq, event, from, to, ignored } = one.transition
  return { ...base, seq, type: event, previous: from, state: to, ignored: ignored === true, ...fromOf(of) }
}

function textOf(context: Context, of: Meant, one: JobHappening): string {
  const { location } = of.place
  if (one.kind === 'state') return eventLine(context, one.happening, location)
  const what = 'job' in of ? `job ${jobId(of.job.snapshot)}` : oneLine(of.actor.name)
  if (one.kind === 'output') {
    const value = printable(renderValue(one.value, { columns: undefined, colors: false }))
    return eventLine(context, { at: one.at, cells: [what, 'says', value] }, location)
  }
  const { event, from, to, ignored } = one.transition
  const [before, after] = [stateText(from), stateText(to)]
  const led = ignored ? `${before}  (ignored)` : before === after ? before : `${before} → ${after}`
  return eventLine(context, { at: one.at, cells: [what, eventText({ event, public: false }), led] }, location)
}
