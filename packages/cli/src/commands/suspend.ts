// errand suspend, errand resume: let jobs stand still, and go on.
import type { Job, JobSnapshot } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import type { Flags } from '../flags.ts'
import { jobDocuments, jobsOf, placesOf } from '../places.ts'
import { each } from './stop.ts'

export default function suspend(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  return turn(context, flags, words, (job) => job.suspend({ signal: context.signal }))
}

export function resume(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  return turn(context, flags, words, (job) => job.resume({ signal: context.signal }))
}

async function turn(
  context: Context,
  flags: Flags,
  words: readonly string[],
  act: (job: Job) => Promise<JobSnapshot>,
): Promise<number> {
  const peer = await context.connect()
  const jobs = await jobsOf(await placesOf(peer, flags.at, context), words, context)
  const exitCode = await each(context, jobs, act)
  if (context.json !== undefined) await context.terminal.out(`${JSON.stringify(jobDocuments(jobs, context.json))}\n`)
  return exitCode
}
