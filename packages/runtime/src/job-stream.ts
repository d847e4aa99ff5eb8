// What one `receive` gives: a job's records as they are taken, the cursor behind them.
import { isFinished } from './child-jobs.ts'
import { Cursors } from './cursors.ts'
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

/** One generator and no more: what stands around it is paid for with each record. */
export async function* jobStream<O>(
  ref: SessionRef,
  job: string,
  o: ReceiveOptions,
  holder: StreamHolder,
): AsyncGenerator<JobRecord<O> | JobEvent, void> {
  const request = readRequest(o)
  if (o.remove) holder.checkRemovable()
  const moves = !o.keep && o.from === undefined
  const given = holder.given(request.reader)
  // As it was: streams that are open side by side each get everything.
  const had = new Map(o.from === undefined ? given : [])
  const cursors = new Cursors(ref, job, request.reader, (snapshot) => holder.onNews(snapshot))
  const take = (of: string, seq: number): void => {
    if (!moves) return
    given.set(of, Math.max(seq, given.get(of) ?? 0))
    cursors.take(of, seq)
  }
  const isNew = once()
  let left = o.limit ?? Number.POSITIVE_INFINITY
  let last: JobSnapshot | undefined
  const reading = ref.read(job, request, o.signal)
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
        if (event && isNew(event)) yield event
        continue
      }
      const chunk = behind(step.value, had.get(step.value.job))
      // Its cursor could not be heard of then: now it may.
      if (chunk !== step.value) take(chunk.job, chunk.from)
      for (const record of recordsOf<O>(chunk)) {
        if (o.signal?.aborted) return
        if (o.kinds && !o.kinds.includes(record.kind)) {
          take(record.jobId, record.seq + 1)
          continue
        }
        let taken = true
        try {
          yield record
        } catch (error) {
          // Thrown into the stream, as no `for await` does: it could not be taken.
          taken = false
          throw error
        } finally {
          // Handed over is taken, also when the consumer leaves with it: the next receive goes on behind it.
          if (taken) take(record.jobId, record.seq + 1)
        }
        if (--left <= 0) break
      }
    }
  } finally {
    await reading.return(undefined)
    await heardOf(cursors)
  }
  // Only here: whoever leaves early does not come this far, and at a limit or an abort there is no last one.
  if (o.remove && last && isFinished(last.state) && !o.signal?.aborted) await holder.remove()
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
