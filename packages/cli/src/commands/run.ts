// errand run: start and follow; this command ends as the job ends.
import type { Work } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT, exitCodeOf } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import { followOwn, sayingNews } from '../follow.ts'
import { onInterrupt } from '../interrupt.ts'
import type { PlacedJob } from '../places.ts'
import { sayError } from '../render/error.ts'
import { printerOf } from '../render/record.ts'
import { isCommand, workOf } from '../work.ts'
import { givenInput, startJobs } from './start.ts'

export default async function run(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { terminal, verbose } = context
  const json = context.json !== undefined
  const work = await workOf(context, flags, words)
  let started: readonly PlacedJob[] | number
  try {
    started = await startUnlessInterrupted(context, flags, work)
  } catch (error) {
    // As docker says it: what failed was not the command, which never ran.
    if (!isCommand(work) || exitCodeOf(error) !== EXIT.failed) throw error
    sayError(terminal, error, { json, verbose })
    return EXIT.beforeCommand
  }
  if (typeof started === 'number') return started
  const jobs = started.map(({ job }) => job)
  await using _ = sayingNews(context, started, context.signal)
  const exitCode = await followOwn(context, jobs, printerOf(context, flags, jobs, { exits: true }))
  if (flags.rm) await Promise.all(jobs.filter((job) => job.endedAt !== undefined).map((job) => job.remove()))
  return exitCode
}

/** Ctrl-C before there is a job: it is stopped as soon as there is one. Resolves to an exit code then. */
async function startUnlessInterrupted(
  context: Context,
  flags: Flags,
  work: Work,
): Promise<readonly PlacedJob[] | number> {
  let interrupted: number | undefined
  let started: readonly PlacedJob[]
  {
    using _ = onInterrupt(context.signals, (times, code) => {
      interrupted = code
      if (times === 1) context.terminal.say('errand: stopping it as soon as it has started')
    })
    const input = givenInput(context, flags, work)
    started = await startJobs(context, flags, await context.connect(), work, input)
  }
  if (interrupted === undefined) return started
  await Promise.all(started.map(({ job }) => job.stop({ signal: context.signal })))
  return interrupted
}
