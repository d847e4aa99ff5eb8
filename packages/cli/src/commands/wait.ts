// errand wait: until jobs are finished.
import { isFinished, type JobState } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import { Failure } from '../failure.ts'
import { outcome, sayingNews, untilDetached } from '../follow.ts'
import { idLines, jobDocuments, jobsOf, placesOf, type PlacedJob } from '../places.ts'
import { jobId } from '../render/job.ts'
import { answerLine, atWords, questionText } from '../render/question.ts'
import { defined } from '../work.ts'

export default async function wait(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { terminal, json } = context
  const peer = await context.connect({ patient: true })
  const jobs = await jobsOf(await placesOf(peer, flags.at, context), words, context)
  return untilDetached(context, async (signal) => {
    await using _ = sayingNews(context, jobs, signal)
    const waiting = flags.any ? firstOf(jobs, flags.for, signal).then((one) => [one]) : allOf(jobs, flags.for, signal)
    const there = await waiting.catch((error: unknown) => {
      throw context.signal.aborted ? pending(context.signal.reason, jobs) : error
    })
    await terminal.out(json === undefined ? idLines(there) : `${JSON.stringify(jobDocuments(there, json))}\n`)
    const ended = there.map(({ job }) => job.snapshot)
    if (flags.for && ended.every(({ state }) => flags.for!.includes(state))) return EXIT.done
    return outcome(context, ended)
  })
}

/** Time is up: what is left to wait for, and what each is at. */
function pending(timeout: unknown, jobs: readonly PlacedJob[]): Failure {
  const { code, message } = timeout as Failure
  const open = jobs
    .map(({ place, job }) => ({ at: place.at, job: job.snapshot }))
    .filter(({ job }) => !isFinished(job.state))
  const what = open.slice(0, SHOWN).map(({ job }) => {
    const asks = job.state === 'Blocked' && job.question ? ` (${questionText(job.question)})` : ''
    return `${jobId(job)} is ${job.state}${asks}`
  })
  if (open.length > SHOWN) what.push(`and ${open.length - SHOWN} more`)
  const blocked = open.find(({ job: { state, question } }) => state === 'Blocked' && question)
  const still = open.find(({ job: { state } }) => state === 'Suspended')
  const hint = blocked
    ? answerLine(blocked.job, blocked.at)
    : still
      ? ['errand', ...atWords(still.at), 'resume', jobId(still.job)].join(' ')
      : 'they go on: `errand list`'
  return new Failure(code, `${message}: ${what.join(', ')}`, hint)
}
/** Of those that are pending. */
const SHOWN = 10

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
