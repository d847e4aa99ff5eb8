// The names an interactive session and `-e` have in scope: what a script's `ctx` offers, without the `ctx.`.
import { asError, UsageError } from './errors.ts'
import type { Job, JobFilter, JobSnapshot, ReceiveOptions, ScriptContext, StartOptions, Work } from './surface.ts'

/** A promise too: `job = start(…)` without an await is what people type. */
type Which = number | string | Job | JobSnapshot | Promise<Job>

/** Bound to one run: what `receive` finds beside outputs goes to this run's own streams. */
export function promptScope(ctx: ScriptContext, args: readonly unknown[]): Record<string, unknown> {
  const find = async (which: Which): Promise<Job> => {
    const job = await which
    // `wait(job)` before there was a `job = start(…)`: it is the function of that name.
    if (typeof job === 'function')
      throw new UsageError('that is a function, and no job', { hint: 'job(1), or what start(…) gave' })
    return ctx.session.job(job)
  }
  return {
    args,
    ctx,
    signal: ctx.signal,
    sleep: ctx.sleep,
    warn: ctx.warn,
    verbose: ctx.verbose,
    debug: ctx.debug,
    info: ctx.info,
    error: ctx.error,
    progress: ctx.progress,
    ask: ctx.ask,
    input: ctx.input,
    session: ctx.session,
    start: (work: Work, options?: StartOptions) => ctx.session.start(work, options),
    jobs: (filter?: JobFilter) => ctx.session.jobs(filter),
    job: find,
    /** What a job has said since the last receive: its outputs as an array. */
    receive: async (which: Which, options?: ReceiveOptions) => {
      const job = await find(which)
      const values: unknown[] = []
      const said: Error[] = []
      for await (const record of job.receive(options)) {
        if (record.kind === 'output') values.push(record.value)
        else if (record.kind === 'error') {
          said.push(record.error)
          ctx.error(record.error)
        } else if (record.kind === 'progress') ctx.progress(record)
        else if (record.kind === 'gap') ctx.warn(`${record.dropped} records of ${job.name} were lost`)
        else {
          const say = { warning: ctx.warn, verbose: ctx.verbose, debug: ctx.debug, information: ctx.info }[record.kind]
          say(record.value)
        }
      }
      // As Receive-Job does: the failure of a job is said at each receive, and is not the receiver's.
      const { reason } = job
      if (reason && !said.some(({ message }) => message === reason.message)) ctx.error(asError(reason))
      return values
    },
    output: async (which: Which) => (await find(which)).output(),
    wait: async (which: Which, options?: { timeout?: number | string }) => {
      const job = await find(which)
      await job.wait({ ...options, signal: ctx.signal })
      return job
    },
    send: async (which: Which, value: unknown) => (await find(which)).send(value),
    answer: async (which: Which, value: unknown, options?: { question?: string }) =>
      (await find(which)).answer(value, options),
    stop: async (which: Which, options?: { grace?: number | string }) => {
      const job = await find(which)
      await job.stop(options)
      return job
    },
    remove: async (which: Which, options?: { force?: boolean }) => (await find(which)).remove(options),
    save: async (which: Which, path: string, options?: ReceiveOptions & { format?: 'text' | 'ndjson' }) =>
      (await find(which)).save(path, options),
  }
}
