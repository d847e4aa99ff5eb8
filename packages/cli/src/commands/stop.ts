// errand stop: ask jobs to stop, then end them by force.
import { milliseconds, type Job } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT, exitCodeOf } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { filteredJobs, jobDocuments, jobsOf, placesOf, UNFINISHED, type PlacedJob } from '../places.ts'
import { sayError } from '../render/error.ts'

export default async function stop(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { terminal, quiet } = context
  if (flags.kill && flags.grace !== undefined) throw usage('--kill and --grace exclude each other')
  if (flags.all && words.length > 0) throw usage('--all and JOBs exclude each other')
  if (!flags.all && words.length === 0) throw usage('name the JOBs to stop, or --all', '`errand list` shows them')
  const grace = flags.grace === undefined ? (flags.kill ? { grace: 0 } : {}) : { grace: milliseconds(flags.grace) }
  const peer = await context.connect()
  const places = await placesOf(peer, flags.at, context)
  const jobs = flags.all
    ? await filteredJobs(places, { state: [...UNFINISHED] }, context)
    : await jobsOf(places, words, context)
  if (flags.all && jobs.length === 0 && !quiet) terminal.say('no job runs')
  if (flags.all && jobs.length > 0 && !(await agreed(context, `stop ${countOf(jobs)}?`))) return EXIT.failed
  const exitCode = await each(context, jobs, (job) => job.stop({ ...grace, signal: context.signal }))
  if (context.json !== undefined) await terminal.out(`${JSON.stringify(jobDocuments(jobs, context.json))}\n`)
  return exitCode
}

/** `1 job`, `3 jobs`. */
export function countOf(jobs: readonly unknown[]): string {
  return jobs.length === 1 ? '1 job' : `${jobs.length} jobs`
}

/** Many at once may be more than was meant. Only a person is asked; --yes answers for them. */
export async function agreed({ terminal, yes }: Context, question: string): Promise<boolean> {
  return yes || !terminal.types || terminal.confirm(question)
}

/** Does it to all of them; each failure is said, and the first decides how we exit. */
export async function each(
  context: Context,
  jobs: readonly PlacedJob[],
  work: (job: Job) => Promise<unknown>,
): Promise<number> {
  const done = await Promise.allSettled(jobs.map(({ job }) => work(job)))
  const errors = done.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []))
  const [first, ...others] = errors
  if (first === undefined) return EXIT.done
  for (const error of [first, ...others]) {
    sayError(context.terminal, error, { json: context.json !== undefined, verbose: context.verbose })
  }
  return exitCodeOf(first)
}
