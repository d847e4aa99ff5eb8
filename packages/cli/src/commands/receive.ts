// errand receive, errand logs: what jobs said.
import { resolve } from 'node:path'
import type { Job, JobRecord, JobSnapshot, ReceiveOptions } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT, leavesOf } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { follow, outcome, printAll, sayingNews, showingItems, untilDetached, writingEvents } from '../follow.ts'
import { jobsOf, placesOf, type PlacedJob } from '../places.ts'
import { jobId } from '../render/job.ts'
import { printerOf, type RecordPrinter } from '../render/record.ts'
import { defined } from '../work.ts'

export default async function receive(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const toTheEnd = flags.follow === true || flags.wait === true
  if (flags.writeEvents && !toTheEnd) throw usage('--write-events needs --wait or --follow')
  if (flags.autoRemove && !toTheEnd) throw usage('--auto-remove needs --wait or --follow')
  const peer = await context.connect({ patient: toTheEnd })
  const places = await placesOf(peer, flags.at, context)
  const placed = await jobsOf(places, words, context)
  const named = placed.map(({ job }) => job)
  const options = receiveOptions(flags)
  return untilDetached(
    context,
    async (signal) => {
      await using _ = sayingNews(context, toTheEnd ? placed : [], signal)
      await using _events = writingEvents(context, flags.writeEvents ? placed : [], signal)
      if (flags.out !== undefined) await save(context, flags, named, options, signal)
      else if (toTheEnd) await receiveToTheEnd(context, flags, placed, options, signal)
      else await receiveNow(context, flags, named, options, signal)
      if (flags.autoRemove) {
        await Promise.all(named.filter((job) => job.endedAt !== undefined).map((job) => job.remove({ signal })))
      }
      if (!toTheEnd) for (const job of named) sayAway(context, job.snapshot)
      if (!flags.wait) return EXIT.done
      return outcome(context, await Promise.all(named.map((job) => job.wait({ signal }))))
    },
    toTheEnd ? named : [],
  )
}

/** What it said after its session was left is there, and not here. */
function sayAway({ terminal, quiet, json }: Context, job: JobSnapshot): void {
  const away = leavesOf(job).filter(({ state }) => state === 'Disconnected')
  if (away.length === 0 || quiet || json !== undefined) return
  const where = [...new Set(away.map(({ location }) => location))].join(', ')
  terminal.say(`job ${jobId(job)} goes on at ${where}, which this machine has left or lost`)
  terminal.say(
    `  ${terminal.word('dim', '`errand session list` shows its session; `errand session connect` takes it up again')}`,
  )
}

/** Everything from the first record on; the cursor stays where it is. */
export function logs(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  return receive(context, { ...flags, keep: true, from: flags.from ?? 0 }, words)
}

function receiveOptions(flags: Flags): ReceiveOptions {
  const { keep, from, kind: kinds, location, reader } = flags
  return defined({ keep, from, kinds, location, reader, recurse: flags.recurse === false ? false : undefined })
}

/** Job by job, child by child where a number of records is asked for; each in the order it spoke. */
async function receiveNow(
  context: Context,
  flags: Flags,
  named: readonly Job[],
  options: ReceiveOptions,
  signal: AbortSignal,
): Promise<void> {
  const printer = printerOf(context, flags, named)
  for (const job of named) {
    for (const part of partsOf(job, flags)) {
      await printPart(part, printer, { ...options, signal }, flags.tail)
      signal.throwIfAborted()
    }
    printer.failure(job.snapshot)
  }
}

async function receiveToTheEnd(
  context: Context,
  flags: Flags,
  placed: readonly PlacedJob[],
  options: ReceiveOptions,
  signal: AbortSignal,
): Promise<void> {
  const named = placed.map(({ job }) => job)
  const printer = printerOf(context, flags, named)
  await using _ = showingItems(context, placed, printer)
  if (flags.tail === undefined) {
    await follow(
      named.flatMap((job) => partsOf(job, flags)),
      printer,
      options,
      signal,
    )
    return
  }
  await Promise.all(
    named.flatMap((job) =>
      partsOf(job, flags).map(async (part) => {
        const next = await printPart(part, printer, { ...options, signal }, flags.tail)
        // A kept cursor has not moved: go on behind what was shown.
        const stays = options.keep === true || options.from !== undefined
        await follow([part], printer, stays && next !== undefined ? { ...options, from: next } : options, signal)
      }),
    ),
  )
}

/** Prints what there is now, or the last `tail` of it. Resolves to the number after the last record, if there was one. */
async function printPart(
  job: Job,
  printer: RecordPrinter,
  options: ReceiveOptions,
  tail: number | undefined,
): Promise<number | undefined> {
  if (tail === undefined) {
    await printAll(job.receive(options), printer)
    return undefined
  }
  const last: JobRecord[] = []
  let next: number | undefined
  for await (const record of job.receive(options)) {
    last.push(record)
    if (last.length > tail) last.shift()
    next = record.seq + 1
  }
  for (const record of last) await printer.print(record)
  return next
}

/** Records are numbered per child: what counts them (`--from`, `--tail`) speaks to each child for itself. */
function partsOf(job: Job, flags: Flags): readonly Job[] {
  const counts = flags.from !== undefined || flags.tail !== undefined
  if (!counts || flags.recurse === false || job.children.length === 0) return [job]
  const { location } = flags
  const there = location === undefined ? job.children : job.children.filter((child) => same(child.location, location))
  return there.flatMap((child) => partsOf(child, flags))
}

function same(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}

/** The file is written where the job's table is; for our own table a path means what it means to who typed it. */
async function save(
  context: Context,
  flags: Flags,
  named: readonly Job[],
  options: ReceiveOptions,
  signal: AbortSignal,
): Promise<void> {
  if (named.length !== 1) throw usage('--out takes one JOB: each would replace the file of the one before')
  if (flags.tail !== undefined) throw usage('--out writes everything that is received: no --tail')
  const path = flags.at === undefined ? resolve(context.cwd, flags.out!) : flags.out!
  await named[0]!.save(path, {
    ...options,
    ...(flags.follow || flags.wait ? { follow: true } : {}),
    format: context.json === undefined ? 'text' : 'ndjson',
    signal,
  })
}
