// Reads of one job, and of a parent's children as they come.
import type { JobHost } from './job.ts'
import { singleRecord, type ReadChunk } from './record.ts'
import type { ReadRequest } from './wire.ts'

/** A job's chunks from the reader's cursor, or `from`. */
export async function* readLog(
  host: JobHost,
  request: ReadRequest,
  signal?: AbortSignal,
): AsyncGenerator<ReadChunk, void> {
  // A parent has no log of its own.
  if (host.children.length > 0) return
  await host.ready
  const log = host.log!
  const from = request.from ?? log.cursor(request.reader)
  if (from < log.start) {
    // Older than what is kept: said as one record in the place of the last that is gone.
    const first = log.start - 1
    yield {
      ...singleRecord('gap', log.start - from),
      first,
      from: first,
      job: host.instanceId,
      location: host.location,
    }
  }
  for await (const chunk of log.read(from, { follow: request.follow === true, signal })) {
    yield { ...chunk, job: host.instanceId, location: host.location, from: Math.max(from, chunk.first) }
  }
}

/**
 * Children's chunks: with `follow` in the order they arrive, otherwise child by child as Receive-Job does.
 * Each child is read only as fast as the merged stream is taken.
 */
export async function* mergeReads(
  children: readonly JobHost[],
  request: ReadRequest,
  signal?: AbortSignal,
): AsyncGenerator<ReadChunk, void> {
  if (!request.follow) {
    for (const child of children) yield* readLog(child, request, signal)
    return
  }
  const stop = new AbortController()
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal
  const readings = children.map((child) => readLog(child, request, either))
  const steps: { index: number; step?: IteratorResult<ReadChunk, void>; error?: unknown }[] = []
  let wake = Promise.withResolvers<void>()
  const ask = (index: number): void => {
    readings[index]!.next().then(
      (step) => (steps.push({ index, step }), wake.resolve()),
      (error: unknown) => (steps.push({ index, error }), wake.resolve()),
    )
  }
  let open = readings.length
  readings.forEach((_, index) => ask(index))
  try {
    while (open > 0) {
      const next = steps.shift()
      if (!next) {
        await wake.promise
        wake = Promise.withResolvers<void>()
        continue
      }
      if (!next.step) throw next.error
      if (next.step.done) open--
      else {
        yield next.step.value
        ask(next.index)
      }
    }
  } finally {
    // Wakes those that wait at the end of their log; each then returns by itself.
    stop.abort()
  }
}
