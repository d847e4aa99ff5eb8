// errand remove: jobs and what they said.
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import { jobDocuments, jobsOf, placesOf } from '../places.ts'
import { each } from './stop.ts'

export default async function remove(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const peer = await context.connect()
  const jobs = await jobsOf(await placesOf(peer, flags.at, context), words, context)
  const running = jobs.filter(({ job }) => job.endedAt === undefined)
  // Naming one job with --force says it all; of many one may be there by mistake. Only a person is asked.
  if (flags.force && running.length > 1 && !context.yes && context.terminal.types) {
    if (!(await context.terminal.confirm(`end and remove ${running.length} running jobs?`))) return EXIT.failed
  }
  const exitCode = await each(context, jobs, (job) =>
    job.remove({ ...(flags.force ? { force: true } : {}), signal: context.signal }),
  )
  if (context.json !== undefined) await context.terminal.out(`${JSON.stringify(jobDocuments(jobs, context.json))}\n`)
  return exitCode
}
