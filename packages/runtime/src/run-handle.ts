// One call and what comes of it: a promise of its value, or its outputs as they come, or all its streams.
import { asError, JobStoppedError } from './errors.ts'
import type { JobHandle } from './job-handle.ts'
import type { JobRecord, JobSnapshot, Output, Run, RunValue } from './surface.ts'

export class RunHandle<R> implements Run<R> {
  readonly #job: Promise<JobHandle<Output<R>>>
  #value: Promise<RunValue<R>> | undefined
  /** The one reading of the run: its records are taken once, by whoever asks first. */
  #iterated: PromiseWithResolvers<Output<R>[]> | undefined

  /** `signal` stops the script, not only the waiting. */
  constructor(job: Promise<JobHandle<Output<R>>>, signal?: AbortSignal) {
    this.#job = job
    // Whoever iterates or awaits gets the failure; nobody who does neither shall crash for it.
    job.catch(() => undefined)
    if (signal) void this.#stopOn(signal)
  }

  then<A = RunValue<R>, B = never>(
    onfulfilled?: ((value: RunValue<R>) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return (this.#value ??= this.#collect()).then(onfulfilled, onrejected)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Output<R>> {
    for await (const record of this.records()) if (record.kind === 'output') yield record.value
    const job = await this.#job
    throwUnlessCompleted(await job.finished)
  }

  async *records(): AsyncGenerator<JobRecord<Output<R>>> {
    const job = await this.#job
    const taken = (this.#iterated ??= Promise.withResolvers())
    let first: Output<R>[] = []
    try {
      for await (const record of job.receive({ follow: true })) {
        if (record.kind === 'output' && first.length === 0) first = [record.value]
        yield record
      }
    } finally {
      taken.resolve(first)
    }
  }

  /** Beside an iteration it is the outcome: what was iterated is not given twice, but for a single returned value. */
  async #collect(): Promise<RunValue<R>> {
    const job = await this.#job
    let values: Output<R>[] = []
    if (this.#iterated) values = await this.#iterated.promise
    else for await (const record of this.records()) if (record.kind === 'output') values.push(record.value)
    const snapshot = await job.finished
    throwUnlessCompleted(snapshot)
    const many = snapshot.streamed || snapshot.children.length > 1 || snapshot.children[0]?.streamed
    return (many ? values : values[0]) as RunValue<R>
  }

  async #stopOn(signal: AbortSignal): Promise<void> {
    const job = await this.#job.catch(() => undefined)
    if (!job) return
    const stop = (): void => void job.stop({ reason: 'aborted by the caller' }).catch(() => undefined)
    if (signal.aborted) return stop()
    signal.addEventListener('abort', stop, { once: true })
    await job.finished
    signal.removeEventListener('abort', stop)
  }
}

/** One target: its own error. Several: all of them, after the rest have ended. */
function throwUnlessCompleted(snapshot: JobSnapshot): void {
  if (snapshot.state === 'Completed') return
  const failed = snapshot.children.filter((child) => child.state !== 'Completed')
  if (snapshot.children.length > 1) {
    const errors = failed.map((child) => child.reason ?? new JobStoppedError(`stopped on ${child.location}`))
    throw new AggregateError(
      errors,
      `${failed.length} of ${snapshot.children.length} targets did not complete: ${failed.map((child) => child.location).join(', ')}`,
    )
  }
  const only = snapshot.children[0] ?? snapshot
  if (only.reason) throw asError(only.reason)
  throw new JobStoppedError(`the run on ${only.location} was stopped`)
}
