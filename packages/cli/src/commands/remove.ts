// errand remove: jobs and what they said.
import { codeOf, milliseconds } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { filteredJobs, FINISHED, jobDocuments, jobsOf, placesOf } from '../places.ts'
import { agreed, countOf, each } from './stop.ts'

export default async function remove(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { finished, olderThan, force } = flags
  const many = finished === true || olderThan !== undefined
  if (many && words.length > 0) throw usage('--finished and --older-than choose jobs themselves: no JOBs beside them')
  if (many && force) throw usage('--force is for jobs that run, and those chosen here have ended')
  if (!many && words.length === 0)
    throw usage('name the JOBs to remove, or --finished, or --older-than 7d', '`errand list` shows them')
  const before = olderThan === undefined ? undefined : new Date(Date.now() - milliseconds(olderThan))
  const peer = await context.connect()
  const places = await placesOf(peer, flags.at, context)
  const jobs = many
    ? await filteredJobs(places, { state: [...FINISHED], ...(before && { before }) }, context)
    : await jobsOf(places, words, context)
  const running = jobs.filter(({ job }) => job.endedAt === undefined)
  // Naming one job with --force says it all; of many one may be there by mistake.
  if (force && running.length > 1 && !(await agreed(context, `end and remove ${countOf(running)} that run?`)))
    return EXIT.failed
  if (many && jobs.length > 0 && !(await agreed(context, `remove ${countOf(jobs)} and what they said?`)))
    return EXIT.failed
  const exitCode = await each(context, jobs, async (job) => {
    try {
      await job.remove({ ...(force ? { force: true } : {}), signal: context.signal })
    } catch (error) {
      // Chosen by what they are: that somebody else has removed one meanwhile is what was asked for.
      if (!many || codeOf(error) !== 'JOB_NOT_FOUND') throw error
    }
  })
  if (context.json !== undefined) await context.terminal.out(`${JSON.stringify(jobDocuments(jobs, context.json))}\n`)
  else if (many && !context.quiet) context.terminal.say(`${countOf(jobs)} removed`)
  return exitCode
}
