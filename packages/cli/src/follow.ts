// Following jobs to their end: what `run`, `receive --follow` and `session receive` have in common.
import { setTimeout as delay } from 'node:timers/promises'
import {
  codeOf,
  isFinished,
  type Job,
  type JobRecord,
  type JobSnapshot,
  type ReceiveOptions,
} from '@errand/runtime/client'
import type { Context } from './context.ts'
import { EXIT, exitCodeOfJobs, failureOfJobs } from './exit-codes.ts'
import { BROKEN_PIPE, Failure } from './failure.ts'
import { onInterrupt } from './interrupt.ts'
import { LinkNews } from './link-news.ts'
import { sayError } from './render/error.ts'
import type { PlacedJob } from './places.ts'
import { iso, pick, RECORD_FIELDS } from './render/json.ts'
import { jobId } from './render/job.ts'
import { sayQuestion } from './render/question.ts'
import type { RecordPrinter } from './render/record.ts'
import { oneLine } from './render/table.ts'

/** Prints what jobs say until all have ended; resolves to how they ended. @throws the reason of `signal` */
export async function follow(
  jobs: readonly Job[],
  printer: RecordPrinter,
  options: ReceiveOptions,
  signal: AbortSignal,
): Promise<JobSnapshot[]> {
  const others = new AbortController()
  const either = AbortSignal.any([signal, others.signal])
  return Promise.all(
    jobs.map(async (job) => {
      try {
        await printAll(job.receive({ ...options, follow: true, signal: either }), printer)
        either.throwIfAborted()
        const snapshot = await job.wait({ signal: either })
        printer.failure(snapshot)
        return snapshot
      } catch (error) {
        // Nobody prints any more, so nobody may go on taking records.
        others.abort(error)
        throw error
      }
    }),
  )
}

/**
 * Says what jobs ask, and how to answer, and what becomes of the links to where they run, for as long as it is not
 * disposed: whoever waits for a Blocked or Disconnected job without knowing it waits for ever. Not where a program reads
 * (`--json`) or nobody wants words (`--quiet`).
 */
export function sayingNews(context: Context, jobs: readonly PlacedJob[], signal: AbortSignal): AsyncDisposable {
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  const silent = context.quiet || context.json !== undefined
  const watching = silent ? [] : jobs.map((placed) => sayNews(context, placed, either))
  return {
    async [Symbol.asyncDispose]() {
      over.abort()
      await Promise.all(watching)
    },
  }
}

async function sayNews(context: Context, { place, job }: PlacedJob, signal: AbortSignal): Promise<void> {
  let said: string | undefined
  const link = new LinkNews(context)
  try {
    for await (const snapshot of job.watch({ signal })) {
      const question = snapshot.state === 'Blocked' ? snapshot.question : undefined
      if (question && question.id !== said) sayQuestion(context.terminal, snapshot, place.at)
      said = question?.id
      link.job(snapshot)
    }
  } catch {
    // Its news have ended: whoever waits for the job itself hears why.
  }
}

/** How often a map is asked how far it is, in ms: that alone is no news to who watches it. */
const COUNT_MS = 500

/**
 * Shows how far maps are, on a terminal, for as long as it is not disposed. `total`: how many inputs there are, where that is
 * known.
 */
export function showingItems(
  context: Context,
  jobs: readonly PlacedJob[],
  printer: RecordPrinter,
  total: () => number | undefined = () => undefined,
): AsyncDisposable {
  const over = new AbortController()
  const shown = context.terminal.readsErr && context.json === undefined && !context.quiet
  const maps = shown ? jobs.filter(({ job }) => job.type === 'PSTaskJob') : []
  const counting = maps.map((placed) => countItems(placed, printer, total, over.signal))
  return {
    async [Symbol.asyncDispose]() {
      over.abort()
      await Promise.all(counting)
    },
  }
}

async function countItems(
  { place, job }: PlacedJob,
  printer: RecordPrinter,
  total: () => number | undefined,
  signal: AbortSignal,
): Promise<void> {
  try {
    while (!isFinished(job.state)) {
      const { snapshot } = await place.table.job(job.instanceId, { signal })
      if (!isFinished(job.state)) printer.items(snapshot, total())
      await delay(COUNT_MS, undefined, { signal })
    }
  } catch {
    // It is followed beside this: what became of it is said there.
  }
}

/**
 * Writes each change of these jobs' states, and of their children's, until disposed: `job 3 Job3 is Completed` among the
 * words, or with `--json` a record of kind `state`. What has happened by then is written before it settles.
 */
export function writingEvents(context: Context, jobs: readonly PlacedJob[], signal: AbortSignal): AsyncDisposable {
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  const writing = jobs.map(({ job }) => writeEvents(context, job, either))
  return {
    async [Symbol.asyncDispose]() {
      // One that has ended is told to its end; of one that goes on nobody waits for more.
      if (jobs.some(({ job }) => job.endedAt === undefined)) over.abort()
      await Promise.all(writing)
    },
  }
}

async function writeEvents(context: Context, job: Job, signal: AbortSignal): Promise<void> {
  const { terminal, json } = context
  // The last that was told of each: of a long history only the end is kept.
  const told = new Map<string, string>()
  const key = ({ state, at }: JobSnapshot['history'][number]): string => `${state} ${at.getTime()}`
  try {
    for await (const snapshot of job.watch({ signal })) {
      for (const one of [snapshot, ...snapshot.children]) {
        const { instanceId, history, location } = one
        const last = history.findLastIndex((entry) => key(entry) === told.get(instanceId))
        for (const { state, at } of history.slice(last + 1)) {
          const id = jobId(one)
          if (json === undefined) terminal.say(terminal.word('dim', `job ${id} ${oneLine(one.name)} is ${state}`))
          else {
            const change = { at: iso(at), location, jobId: instanceId, kind: 'state', state }
            await terminal.out(`${JSON.stringify(pick(change, json, RECORD_FIELDS))}\n`)
          }
        }
        if (history.length > 0) told.set(instanceId, key(history.at(-1)!))
      }
    }
  } catch {
    // The reader of stdout has left, or the job cannot be watched any more: whoever prints its records, or waits for it,
    // hears that too.
  }
}

/** The next record is taken when the last has been written: a cursor never runs ahead of a slow reader. */
export async function printAll(records: AsyncIterable<JobRecord>, printer: RecordPrinter): Promise<void> {
  const stream = records[Symbol.asyncIterator]()
  for (;;) {
    const step = await stream.next()
    if (step.done) return
    try {
      await printer.print(step.value)
    } catch (error) {
      // A loop that is left says that its record was taken. This one could not be written: thrown back, it was not.
      await stream.throw?.(error)
      throw error
    }
  }
}

/** The exit code for jobs that have ended; with `--json` what is not 0 is said as an error document. */
export function outcome(context: Context, ended: readonly JobSnapshot[]): number {
  const exitCode = exitCodeOfJobs(ended)
  if (exitCode !== EXIT.done && context.json !== undefined) {
    sayError(context.terminal, failureOfJobs(ended), { json: true, verbose: context.verbose })
  }
  return exitCode
}

/**
 * Does `work` until it is done, or until Ctrl-C: then what it waits for is given up and nothing else happens — the job
 * goes on. Resolves to the exit code. `followed`: of these it is said that they do.
 */
export async function untilDetached(
  context: Context,
  work: (signal: AbortSignal) => Promise<number>,
  followed: readonly Job[] = [],
): Promise<number> {
  const detach = new AbortController()
  let exitCode: number | undefined
  using _ = onInterrupt(context.signals, (_times, code) => {
    exitCode = code
    detach.abort(new Error('detached'))
  })
  try {
    return await work(AbortSignal.any([context.signal, detach.signal]))
  } catch (error) {
    if (exitCode === undefined) throw error
    const [job, ...more] = followed.filter(({ endedAt }) => endedAt === undefined)
    if (job && !context.quiet && context.json === undefined) {
      const goesOn = more.length === 0 ? `job ${jobId(job.snapshot)} goes on` : `${more.length + 1} jobs go on`
      context.terminal.say(`errand: ${goesOn}; \`errand receive ${jobId(job.snapshot)} --follow\` follows again`)
    }
    return exitCode
  }
}

/**
 * Follows jobs that this command itself started and answers for: Ctrl-C once stops them and says so, twice ends them by
 * force, a third time leaves them be. A reader of our stdout that leaves stops them too, as it would any program.
 */
export async function followOwn(context: Context, jobs: readonly Job[], printer: RecordPrinter): Promise<number> {
  const { terminal } = context
  const leave = new AbortController()
  const names = jobs.map((job) => (job.id === 0 ? oneLine(job.name) : jobId(job.snapshot))).join(', ')
  let interrupted: number | undefined
  let unreached: unknown
  const stop = (options: { grace?: number }): void => {
    for (const job of jobs) {
      job.stop(options).catch((error: unknown) => {
        // It could not be reached, and may run on: waiting for its end would be waiting for nothing.
        unreached = error
        leave.abort(error)
      })
    }
  }
  using _ = onInterrupt(context.signals, (times, code) => {
    interrupted ??= code
    if (times === 1) {
      terminal.say(`errand: stopping job ${names}, again to kill`)
      stop({})
    } else if (times === 2) {
      terminal.say(`errand: killing job ${names}`)
      stop({ grace: 0 })
    } else leave.abort(new Error('interrupted'))
  })
  try {
    const ended = await follow(jobs, printer, {}, AbortSignal.any([context.signal, leave.signal]))
    return interrupted ?? outcome(context, ended)
  } catch (error) {
    if (codeOf(error) === BROKEN_PIPE) {
      await Promise.allSettled(jobs.map((job) => job.stop({ signal: context.signal })))
      return EXIT.done
    }
    const { broken } = terminal
    if (interrupted === undefined && broken && error === broken) {
      // A full disk is no reason to throw work away: it goes on, and its log has all of it.
      const [first] = jobs.map((job) => jobId(job.snapshot))
      throw new Failure(broken.code, broken.message, `what job ${names} says is kept: \`errand logs ${first}\``)
    }
    if (interrupted === undefined) throw error
    if (unreached !== undefined)
      sayError(terminal, unreached, { json: context.json !== undefined, verbose: context.verbose })
    return interrupted
  }
}
