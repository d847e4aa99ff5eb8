// errand wait: until jobs are finished.
import type { JobState } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import { outcome, untilDetached } from '../follow.ts'
import { idLines, jobDocuments, jobsOf, placesOf, type PlacedJob } from '../places.ts'
import { defined } from '../work.ts'

export default async function wait(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { terminal, json } = context
  const peer = await context.connect()
  const jobs = await jobsOf(await placesOf(peer, flags.at, context), words, context)
  return untilDetached(context, async (signal) => {
    const there = flags.any ? [await firstOf(jobs, flags.for, signal)] : await allOf(jobs, flags.for, signal)
    await terminal.out(json === undefined ? idLines(there) : `${JSON.stringify(jobDocuments(there, json))}\n`)
    const ended = there.map(({ job }) => job.snapshot)
    if (flags.for && ended.every(({ state }) => flags.for!.includes(state))) return EXIT.done
    return outcome(context, ended)
  })
}

/** In the order they were named, whichever came first. */
async function allOf(
  jobs: readonly PlacedJob[],
  states: JobState[] | undefined,
  signal: AbortSignal,
): Promise<readonly PlacedJob[]> {
  await Promise.all(jobs.map(({ job }) => job.wait({ ...defined({ for: states }), signal })))
  return jobs
}

/** The first that is there; if several are already, the first named. The others are not waited for any longer. */
async function firstOf(
  jobs: readonly PlacedJob[],
  states: JobState[] | undefined,
  signal: AbortSignal,
): Promise<PlacedJob> {
  const rest = new AbortController()
  const either = AbortSignal.any([signal, rest.signal])
  try {
    return await Promise.any(
      jobs.map(async (placed) => {
        await placed.job.wait({ ...defined({ for: states }), signal: either })
        return placed
      }),
    ).catch((error: AggregateError) => {
      throw error.errors[0]
    })
  } finally {
    rest.abort(new Error('another was there first'))
  }
}
