// errand stop: ask jobs to stop, then end them by force.
import { milliseconds, type Job } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT, exitCodeOf } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import { jobDocuments, jobsOf, placesOf, type PlacedJob } from '../places.ts'
import { sayError } from '../render/error.ts'

export default async function stop(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const grace = flags.grace === undefined ? {} : { grace: milliseconds(flags.grace) }
  const peer = await context.connect()
  const jobs = await jobsOf(await placesOf(peer, flags.at, context), words, context)
  const exitCode = await each(context, jobs, (job) => job.stop({ ...grace, signal: context.signal }))
  if (context.json !== undefined) await context.terminal.out(`${JSON.stringify(jobDocuments(jobs, context.json))}\n`)
  return exitCode
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
