// What one `receive` gives: a job's records as they are taken, the cursor behind them.
import { isFinished } from './child-jobs.ts'
import { Cursors, UNSAID_MOST } from './cursors.ts'
import { ItemStream } from './item-stream.ts'
import { eventOf } from './job-event.ts'
import { readRequest } from './job-reading.ts'
import { recordsOf, type ReadChunk } from './record.ts'
import type { SessionRef } from './session-ref.ts'
import type { JobEvent, JobRecord, JobSnapshot, ReceiveOptions } from './surface.ts'

/** How long a reader that leaves waits for its cursor to be heard of. */
const SETTLE_MS = 1_000

export interface StreamHolder {
  /** How far each job's records were given to a reader before: those are not given again. */
  given(reader: string): Map<string, number>
  /** The job as it is now. */
  onNews(snapshot: JobSnapshot): void
  /** @throws UsageError when it could not be removed later either */
  checkRemovable(): void
  /** It has ended and all of it was taken. */
  remove(): Promise<void>
}

export function jobStream<O>(
  ref: SessionRef,
  job: string,
  o: ReceiveOptions,
  holder: StreamHolder,
): AsyncGenerator<JobRecord<O> | JobEvent, void> {
  const reading = new Reading<O>(ref, job, o, holder)
  // Handed over is taken, also when the consumer leaves with it: the next receive goes on behind it.
  const onTaken = (item: JobRecord<O> | JobEvent): void => {
    if (item.kind !== 'state') reading.take(item.jobId, item.seq + 1)
  }
  return new ItemStream(reading.batches(), onTaken, o.signal)
}

class Reading<O> {
  readonly #ref: SessionRef
  readonly #job: string
  readonly #o: ReceiveOptions
  readonly #holder: StreamHolder
  #given: Map<string, number> | undefined
  #cursors: Cursors | undefined

  constructor(ref: SessionRef, job: string, o: ReceiveOptions, holder: StreamHolder) {
    this.#ref = ref
    this.#job = job
    this.#o = o
    this.#holder = holder
  }

  /** All of this job (or child) before `seq` was taken. */
  take(of: string, seq: number): void {
    if (!this.#cursors) return
    this.#given?.set(of, Math.max(seq, this.#given.get(of) ?? 0))
    this.#cursors.take(of, seq)
  }

  /** A chunk's records at a time, or an event. */
  async *batches(): AsyncGenerator<readonly (JobRecord<O> | JobEvent)[], void> {
    const o = this.#o
    const holder = this.#holder
    const request = readRequest(o)
    if (o.remove) holder.checkRemovable()
    const given = holder.given(request.reader)
    // As it was: streams that are open side by side each get everything.
    const fromCursor = o.from === undefined && o.tail === undefined
    const had = new Map(fromCursor ? given : [])
    if (!o.keep && fromCursor) {
      this.#given = given
      this.#cursors = new Cursors(this.#ref, this.#job, request.reader, (snapshot) => holder.onNews(snapshot))
    }
    const isNew = once()
    let left = o.limit ?? Number.POSITIVE_INFINITY
    let last: JobSnapshot | undefined
    const reading = this.#ref.read(this.#job, request, o.signal)
    try {
      while (left > 0) {
        const step = await reading.next()
        if (step.done) {
          last = step.value
          if (last) holder.onNews(last)
          break
        }
        if (step.value.count === 0) {
          const event = o.writeEvents ? eventOf(step.value) : undefined
          if (event && isNew(event)) yield [event]
          continue
        }
        const chunk = behind(step.value, had.get(step.value.job))
        // Its cursor could not be heard of then: now it may.
        if (chunk !== step.value) this.take(chunk.job, chunk.from)
        const records = recordsOf<O>(chunk)
        const wanted = o.kinds ? records.filter(({ kind }) => o.kinds!.includes(kind)) : records
        const batch = wanted.length > left ? wanted.slice(0, left) : wanted
        left -= batch.length
        if (o.signal?.aborted) return
        for (let at = 0; at < batch.length; at += UNSAID_MOST) {
          const part = batch.length > UNSAID_MOST ? batch.slice(at, at + UNSAID_MOST) : batch
          const said = this.#cursors?.room(part.length)
          if (said) await said
          if (o.signal?.aborted) return
          yield part
        }
        if (o.signal?.aborted) return
        // Those behind it that are not wanted, too, unless the last one wanted was the last at all.
        const end = records.at(-1)
        if (end && left > 0) this.take(end.jobId, end.seq + 1)
      }
    } finally {
      await reading.return(undefined)
      if (this.#cursors) await heardOf(this.#cursors)
    }
    // Only here: whoever leaves early does not come this far, and at a limit or an abort there is no last one.
    if (o.remove && last && isFinished(last.state) && !o.signal?.aborted) await holder.remove()
  }
}

function behind(chunk: ReadChunk, from: number | undefined): ReadChunk {
  return from === undefined || from <= chunk.from ? chunk : { ...chunk, from }
}

/** After a link was lost the reading begins anew, and with how the job is: that may have been told. */
function once(): (event: JobEvent) => boolean {
  const told = new Map<string, string>()
  return ({ jobId, state, at }) => {
    const change = `${state} ${at.getTime()}`
    const isNew = told.get(jobId) !== change
    told.set(jobId, change)
    return isNew
  }
}

/** Bounded: while the link is gone nobody hears it, and leaving must not wait for that. */
async function heardOf(cursors: Cursors): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, SETTLE_MS)
  try {
    await Promise.race([cursors.settle(), promise])
  } finally {
    clearTimeout(timer)
  }
}
