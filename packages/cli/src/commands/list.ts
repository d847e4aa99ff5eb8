// errand list: the job table.
import { milliseconds, type JobFilter } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import { jobStates, type Flags } from '../flags.ts'
import { filteredJobs, idLines, jobDocuments, jobsOf, placesOf, type PlacedJob } from '../places.ts'
import { jobTable, powershellJobTable } from '../render/job.ts'
import { sayWaiting } from '../render/question.ts'
import { defined } from '../work.ts'

export default async function list(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const filter = filterBeside(words, flags)
  const named = words.length > 0
  if (flags.watch) {
    if (context.cmdlet) throw usage('--watch is for errand list')
    const { watchList } = await import('../list-watch.ts')
    return watchList(context, flags, filter, words)
  }
  const peer = await context.connect()
  const places = await placesOf(peer, flags.at, context)
  const found = named ? await jobsOf(places, words, context) : await filteredJobs(places, filter, context)
  const jobs =
    named && flags.children
      ? found.flatMap(({ place, job }) => [job, ...job.children].map((each) => ({ place, job: each })))
      : found
  await print(context, jobs)
  // PowerShell's table is a table; everybody else may not know what Blocked wants of them.
  if (context.json === undefined && !context.quiet && !context.cmdlet) {
    for (const { place, job } of jobs) {
      // A parent speaks for its children.
      if (job.parent === undefined || !jobs.some((one) => one.job === job.parent))
        sayWaiting(context.terminal, job.snapshot, place.at)
    }
  }
  if (jobs.length === 0 && !context.quiet && context.json === undefined)
    context.terminal.say(Object.keys(filter).length > 0 ? 'no such jobs' : 'no jobs')
  return EXIT.done
}

async function print(context: Context, jobs: readonly PlacedJob[]): Promise<void> {
  const { terminal, json, quiet, cmdlet } = context
  if (json !== undefined) return terminal.out(`${JSON.stringify(jobDocuments(jobs, json))}\n`)
  if (quiet) return terminal.out(idLines(jobs))
  const rows = jobs.map(({ place, job }) => ({ job: job.snapshot, at: place.location }))
  const style = { columns: terminal.columns, title: (line: string) => terminal.data('bold', line) }
  await terminal.out(cmdlet ? powershellJobTable(rows) : jobTable(rows, style))
}

/** As `filterOf`. @throws Failure USAGE where jobs are named beside a filter */
export function filterBeside(words: readonly string[], flags: Flags): JobFilter {
  const filter = filterOf(flags)
  if (words.length === 0 || Object.keys(filter).every((key) => key === 'includeChildren')) return filter
  throw usage('filters and JOBs exclude each other', 'name the jobs, or filter all of them')
}

/** Which jobs, as flags say. @throws Failure USAGE */
export function filterOf(flags: Flags): JobFilter {
  return defined({
    name: flags.name,
    state: flags.state && jobStates(flags.state),
    hasMoreData: flags.hasMore,
    includeChildren: flags.children,
    newest: flags.newest,
    before: flags.before === undefined ? undefined : timeOf(flags.before),
    after: flags.after === undefined ? undefined : timeOf(flags.after),
  })
}

/** A time as a date is written, or a duration: so long ago. */
function timeOf(text: string): Date {
  if (/^\d+(?:\.\d+)?(?:ms|s|m|h|d)$/.test(text)) return new Date(Date.now() - milliseconds(text))
  const time = new Date(text)
  if (!Number.isNaN(time.getTime())) return time
  throw usage(`'${text}' is not a time`, 'write 2026-11-22T09:30, or 5m for five minutes ago')
}
