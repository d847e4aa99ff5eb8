// One call and what comes of it: a promise of its value, or its outputs as they come, or all its streams.
//
// The call and the reading of what it says leave together, so that an empty run costs one round trip: the run's id is
// the caller's.
import type { Cancel } from '@errand/transport'
import { asError, JobStoppedError } from './errors.ts'
import { Cursors } from './cursors.ts'
import { feed, InputOutlet } from './input-outlet.ts'
import { ItemStream } from './item-stream.ts'
import { jobHandle, sourceOf } from './job-handle.ts'
import { OWNER, whileWanted } from './output-log.ts'
import { recordsOf, type ReadChunk } from './record.ts'
import type { JobOutcome, JobReading } from './link.ts'
import type { SessionRef } from './session-ref.ts'
import type { Job, JobRecord, JobSnapshot, Output, Run, RunValue, StartOptions } from './surface.ts'
import { CONTROL_FRAME, type SessionEvent, type WorkSpec } from './wire.ts'

type RunEvent = Extract<SessionEvent, { type: 'run' }>

interface Begun {
  readonly job: string
  /** The session's answer: refused or not. */
  readonly answer: Promise<unknown>
  readonly reading: JobReading
  /** What was asked for before anybody wanted it. */
  readonly first: Promise<IteratorResult<ReadChunk, JobSnapshot | undefined>>
}

type Taken<R> = PromiseWithResolvers<{ last: JobOutcome | undefined; first: readonly Output<R>[] }>

export class RunHandle<R> implements Run<R> {
  readonly #ref: SessionRef
  readonly #begun: Promise<Begun>
  #value: Promise<RunValue<R>> | undefined
  #release: (() => void) | undefined
  #refused = false
  #cursors: Cursors | undefined
  /** The reading has come to its end: for who feeds it. */
  #over: PromiseWithResolvers<void> | undefined
  /** The one reading of the run, and what it knows in the end: its records are given once, to whoever asks first. */
  #taken: Taken<R> | undefined

  /** Starts at once. `signal` stops the script, not only the waiting. */
  constructor(
    ref: SessionRef,
    spec: Promise<WorkSpec>,
    event: Omit<RunEvent, 'type' | 'spec'>,
    { signal, input }: Pick<StartOptions, 'signal' | 'input'> = {},
  ) {
    this.#ref = ref
    this.#begun = spec.then((it) => this.#begin({ type: 'run', spec: it, ...event }, signal, input))
    // Whoever awaits or iterates gets the failure; nobody who does neither shall crash for it.
    this.#begun.catch(() => undefined)
  }

  then<A = RunValue<R>, B = never>(
    onfulfilled?: ((value: RunValue<R>) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return (this.#value ??= this.#collect()).then(onfulfilled, onrejected)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Output<R>> {
    for await (const record of this.records()) if (record.kind === 'output') yield record.value
    throwUnlessCompleted((await this.#taken!.promise).last)
  }

  records(): AsyncGenerator<JobRecord<Output<R>>> {
    return new ItemStream(this.#batches(), (record) => this.#cursors?.take(record.jobId, record.seq + 1))
  }

  async job(o: Cancel = {}): Promise<Job<Output<R>>> {
    const { job, answer } = await this.#begun
    await whileWanted(() => answer, o.signal)
    const snapshot = (await this.#ref.request({ type: 'job', which: job }, undefined, o)) as JobSnapshot
    return jobHandle<Output<R>>(this.#ref, snapshot)
  }

  /** A chunk's records at a time. */
  async *#batches(): AsyncGenerator<readonly JobRecord<Output<R>>[], void> {
    if (this.#taken) throw new TypeError('a run is iterated once')
    const taken: Taken<R> = (this.#taken = Promise.withResolvers())
    taken.promise.catch(() => undefined) // who iterates is told by that; nobody may await the value beside
    let first: readonly Output<R>[] = []
    try {
      const begun = await this.#begun
      const cursors = (this.#cursors = new Cursors(this.#ref, begun.job, OWNER))
      try {
        let step = await firstOrRefusal(begun)
        for (; !step.done; step = await begun.reading.next()) {
          const records = recordsOf<Output<R>>(step.value)
          if (first.length === 0) first = outputsOf(records).slice(0, 1)
          yield records
        }
        taken.resolve({ last: step.value, first })
      } finally {
        await this.#leave(begun, cursors)
      }
    } catch (error) {
      // A run that was refused has nothing to read: the refusal is the news.
      const news = (await this.#refusal()) ?? error
      taken.reject(news)
      throw news
    } finally {
      // Who left it before its end, and then asks for its value, hears just that.
      taken.resolve({ last: undefined, first })
    }
  }

  /** For who wants its outputs alone: nothing is handed over record by record. */
  async #outputs(): Promise<readonly Output<R>[]> {
    const outputs: Output<R>[] = []
    for await (const records of this.#batches()) {
      for (const value of outputsOf(records)) outputs.push(value)
      const last = records.at(-1)
      if (last) this.#cursors?.take(last.jobId, last.seq + 1)
    }
    return outputs
  }

  async #leave({ reading }: Begun, cursors: Cursors): Promise<void> {
    const left = reading.return(undefined)
    // Of a call that was refused it may wait for long, and for nothing.
    if (this.#refused) left.catch(() => undefined) // the refusal is the news
    else await left
    this.#release?.()
    this.#over?.resolve()
    // Not waited for: it goes ahead of whatever the caller does next on the same link.
    void cursors.settle()
  }

  #begin(event: RunEvent, signal: AbortSignal | undefined, input: StartOptions['input']): Begun {
    signal?.throwIfAborted()
    const job = event.spec.startId
    // Its end says that it was begun; only what feeds it waits for that.
    const answer = this.#ref.request(event, undefined, { late: input === undefined })
    answer.catch(() => (this.#refused = true))
    const reading = this.#ref.read(job, { reader: OWNER, follow: true, brief: true })
    // A large call takes another way than the small request to read, and may come later: then the answer comes first.
    const first = isSmall(event.spec) ? reading.next() : answer.then(() => reading.next())
    first.catch(() => undefined)
    if (signal) this.#stopOn(signal, job, answer)
    if (input !== undefined) {
      const over = (this.#over = Promise.withResolvers()).promise
      answer.then(
        () => feed(new InputOutlet(this.#ref, job), input, sourceOf(input), over),
        () => undefined,
      )
    }
    return { job, answer, reading, first }
  }

  async #refusal(): Promise<Error | undefined> {
    try {
      await (
        await this.#begun
      ).answer
      return undefined
    } catch (error) {
      return asError(error)
    }
  }

  /** Beside an iteration it is the outcome: what was iterated is not given twice, but for a single returned value. */
  async #collect(): Promise<RunValue<R>> {
    let values: readonly Output<R>[] | undefined
    if (!this.#taken) values = await this.#outputs()
    const { last, first } = await this.#taken!.promise
    throwUnlessCompleted(last)
    const many = last.streamed || last.children.length > 1 || last.children[0]?.streamed
    return (many ? (values ?? []) : first[0]) as RunValue<R>
  }

  /** Until the reading is over; a run that nobody reads is listened for as long as its signal lives. */
  #stopOn(signal: AbortSignal, job: string, answer: Promise<unknown>): void {
    const stop = (): void => {
      this.#ref.request({ type: 'stop', reason: 'aborted by the caller' }, job).catch(() => undefined)
    }
    const listen = (): void => {
      if (signal.aborted) return stop()
      signal.addEventListener('abort', stop, { once: true })
      this.#release = () => signal.removeEventListener('abort', stop)
    }
    answer.then(listen, () => undefined)
  }
}

function outputsOf<O>(records: readonly JobRecord<O>[]): O[] {
  return records.flatMap((record) => (record.kind === 'output' ? [record.value] : []))
}

/** A call that is refused has nothing to read, and its reading may wait for long. */
function firstOrRefusal({ first, answer }: Begun): Begun['first'] {
  return new Promise((resolve, reject) => {
    first.then(resolve, reject)
    answer.catch(reject)
  })
}

/** Surely within one control frame. */
function isSmall({ source, command, payload, env, argv, init, permissions }: WorkSpec): boolean {
  if (init || permissions) return false
  const bytes = (source?.length ?? 0) * 3 + command.length * 3 + (payload?.length ?? 0) + (argv?.join().length ?? 0) * 3
  return bytes < CONTROL_FRAME / 2 && env === undefined
}

/** One target: its own error. Several: all of them, after the rest have ended. */
function throwUnlessCompleted(snapshot: JobOutcome | undefined): asserts snapshot {
  if (!snapshot) throw new JobStoppedError('the run was left before it ended')
  if (snapshot.state === 'Completed') return
  const { children } = snapshot
  const failed = children.filter((child) => child.state !== 'Completed')
  if (children.length > 1) {
    const errors = failed.map((child) => child.reason ?? new JobStoppedError(`stopped on ${child.location}`))
    const where = failed.map((child) => child.location).join(', ')
    throw new AggregateError(errors, `${failed.length} of ${children.length} targets did not complete: ${where}`)
  }
  const only = children[0] ?? snapshot
  if (only.reason) throw asError(only.reason)
  throw new JobStoppedError(`the run on ${only.location} was stopped`)
}
