// What an actor says, read as what one incarnation of it says: the log is its job's, and that of all of them.
import { ActorGoneError, UsageError } from './errors.ts'
import { JobHost } from './job.ts'
import type { TableJob } from './job-row.ts'
import type { JobReading } from './link.ts'
import { untilAborted } from './output-log.ts'
import type { ReadRequest } from './wire.ts'

const NOTHING = new Uint8Array(0)

/**
 * To the end of that incarnation (0: whichever; then of the job). With `tail` the first chunk is empty: it says where the reading
 * begins, so that whoever loses it before anything was said goes on there.
 * @throws ActorGoneError, UsageError
 */
export async function* readActor(
  job: TableJob | undefined,
  epoch: number,
  request: ReadRequest,
  signal?: AbortSignal,
): JobReading {
  if (!job) throw new ActorGoneError('there is no such actor')
  const { type } = job.snapshot()
  if (type !== 'MachineJob') throw new UsageError(`${job.name} is no machine: it emits nothing`)
  if (!job.log) await untilAborted(job.ready, signal)
  const { log } = job
  if (!log || signal?.aborted) return undefined
  const { tail, reader, follow } = request
  const from = request.from ?? (tail === undefined ? log.cursor(reader) : Math.max(log.start, log.end - tail))
  const over = new AbortController()
  let until = log.endOf(follow)
  const look = (): void => {
    const end = endOf(job, epoch)
    if (end === undefined || over.signal.aborted) return
    until = Math.min(until, end)
    over.abort()
  }
  const unwatch = job.watch(look)
  try {
    look()
    const { instanceId, location } = job
    const chunk = (first: number, count: number, errors: number, bytes: Uint8Array) =>
      ({ first, count, errors, bytes, job: instanceId, location, from: Math.max(from, first) }) as const
    if (tail !== undefined) yield chunk(from, 0, 0, NOTHING)
    const either = signal ? AbortSignal.any([signal, over.signal]) : over.signal
    for (let next = from; !signal?.aborted;) {
      const ended = over.signal.aborted
      // The last of it may be on its way into the store.
      if (ended) await untilAborted(log.settled, signal)
      const chunks = await log.more(next, until, ended ? signal : either)
      if (chunks.length === 0 && ended === over.signal.aborted) return undefined
      for (const { first, count, errors, bytes } of chunks) {
        if (first >= until || signal?.aborted) return undefined
        yield chunk(first, count, errors, bytes)
        next = first + count
      }
    }
    return undefined
  } finally {
    unwatch()
  }
}

/** Before which record of its job that incarnation has ended; undefined: it has not, or is the last one. */
function endOf(job: TableJob, epoch: number): number | undefined {
  if (epoch === 0) return undefined
  if (job instanceof JobHost) return job.endOfAttempt(epoch)
  return epoch === (job.snapshot().epoch ?? 1) ? undefined : 0
}
