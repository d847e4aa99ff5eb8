// Reads of one job, and of a parent's children as they come: their chunks, and state changes in their place among them.
import { JobStateError, UsageError } from './errors.ts'
import { eventChunk, isTold } from './job-event.ts'
import type { TableJob } from './job-row.ts'
import { OWNER, untilAborted } from './output-log.ts'
import { KINDS, recordsOf, type ReadChunk } from './record.ts'
import type { ItemSnapshot, JobRecord, JobSnapshot, ReceiveOptions } from './surface.ts'
import type { ReadRequest } from './wire.ts'

/** Characters of a reader's name. */
const READER_MOST = 256

type Change = JobSnapshot['history'][number]

/** What is asked of the job's peer for these options. @throws UsageError, said before anything is read */
export function readRequest(o: ReceiveOptions): ReadRequest {
  const { reader = OWNER, from, tail, limit, kinds, location } = o
  if (typeof reader !== 'string' || reader.length === 0 || reader.length > READER_MOST)
    throw new UsageError(`a reader's name has 1 to ${READER_MOST} characters`)
  if (from !== undefined && !isCount(from))
    throw new UsageError(`\`from\` is the number of a record, from 0 on, not ${from}`)
  if (tail !== undefined && !isCount(tail))
    throw new UsageError(`\`tail\` is a number of records, from 0 on, not ${tail}`)
  if (tail !== undefined && (from !== undefined || o.writeEvents))
    throw new UsageError('`tail` says where to begin: no `from`, no `writeEvents`')
  if (limit !== undefined && limit !== Number.POSITIVE_INFINITY && !isCount(limit))
    throw new UsageError(`\`limit\` is a number of records, from 0 on, not ${limit}`)
  if (location !== undefined && typeof location !== 'string') throw new UsageError('`location` is a name')
  const unknown = kinds?.find((kind) => !KINDS.includes(kind))
  if (unknown !== undefined)
    throw new UsageError(`there is no kind '${unknown}'`, { hint: `kinds: ${KINDS.join(', ')}` })
  if (o.remove) {
    // Removing takes away what this stream would leave unread.
    if (!o.follow) throw new UsageError('`remove` needs `follow`: a job is removed when it has ended')
    if (o.keep) throw new UsageError('`keep` and `remove` exclude each other')
    if (location !== undefined || o.recurse === false)
      throw new UsageError('`remove` needs all of the job: no `location`, no `recurse: false`')
  }
  return {
    reader,
    ...(from !== undefined && { from }),
    ...(tail !== undefined && { tail }),
    ...(o.follow !== undefined && { follow: o.follow }),
    ...(location !== undefined && { location }),
    ...(o.recurse !== undefined && { recurse: o.recurse }),
    ...(o.writeEvents && { events: true }),
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** A job's chunks from the reader's cursor, or `from`; of a parent, which has no log of its own, only its changes. */
export function readLog(host: TableJob, request: ReadRequest, signal?: AbortSignal): AsyncGenerator<ReadChunk, void> {
  if (!request.events) return chunksOf(host, request, signal)
  return request.follow ? merge([host], [host], request, signal) : withPresent(host, request, signal)
}

async function* withPresent(
  host: TableJob,
  request: ReadRequest,
  signal: AbortSignal | undefined,
): AsyncGenerator<ReadChunk, void> {
  yield* chunksOf(host, request, signal)
  yield* present(host)
}

/**
 * Children's chunks: with `follow` in the order they arrive, otherwise child by child as Receive-Job does.
 * Each child is read only as fast as the merged stream is taken.
 */
export async function* mergeReads(
  children: readonly TableJob[],
  request: ReadRequest,
  signal?: AbortSignal,
): AsyncGenerator<ReadChunk, void> {
  // Where only one place is asked for, the stream is over with what is there: the parent may go on elsewhere.
  const parent = request.location === undefined ? children[0]?.parent : undefined
  if (request.follow) {
    // A child's change is heard, and told, before what its parent makes of it.
    yield* merge(children, request.events ? [...children, ...(parent ? [parent] : [])] : [], request, signal)
    await untilAborted(Promise.all((parent ? [parent] : children).map((one) => one.finished)), signal)
    return
  }
  for (const child of children) {
    yield* chunksOf(child, request, signal)
    if (request.events) yield* present(child)
  }
  if (request.events && parent) yield* present(parent)
}

async function* chunksOf(
  host: TableJob,
  request: ReadRequest,
  signal: AbortSignal | undefined,
): AsyncGenerator<ReadChunk, void> {
  if (host.children.length > 0) return
  if (!host.log) await untilAborted(host.ready, signal)
  const { log } = host
  if (!log || signal?.aborted) return
  const { tail } = request
  const from = request.from ?? (tail === undefined ? log.cursor(request.reader) : Math.max(log.start, log.end - tail))
  // One generator and no other within it: each costs a small run as much as reading its chunk.
  const until = log.endOf(request.follow)
  for (let next = from; ;) {
    const chunks = await log.more(next, until, signal)
    if (chunks.length === 0) return
    for (const { first, count, errors, bytes } of chunks) {
      if (first >= until || signal?.aborted) return
      yield { first, count, errors, bytes, job: host.instanceId, location: host.location, from: Math.max(from, first) }
      next = first + count
    }
  }
}

/** The chunks of several as they come, and the changes of those `told`, until all have ended. */
async function* merge(
  children: readonly TableJob[],
  told: readonly TableJob[],
  request: ReadRequest,
  signal: AbortSignal | undefined,
): AsyncGenerator<ReadChunk, void> {
  const stop = new AbortController()
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal
  let wake = Promise.withResolvers<void>()
  const news = new StateNews(told, children, request, () => wake.resolve())
  const readings = children.map((child) => chunksOf(child, request, either))
  const steps: { index: number; step?: IteratorResult<ReadChunk, void>; error?: unknown }[] = []
  const ask = (index: number): void => {
    readings[index]!.next().then(
      (step) => (steps.push({ index, step }), wake.resolve()),
      (error: unknown) => (steps.push({ index, error }), wake.resolve()),
    )
  }
  let open = readings.length
  let ended = told.length === 0
  let ending: Promise<void> | undefined
  readings.forEach((_, index) => ask(index))
  try {
    for (;;) {
      const change = news.due()
      if (change) {
        yield change
        continue
      }
      const next = steps.shift()
      if (!next) {
        if (open > 0) await wake.promise
        else {
          if (ended || signal?.aborted) return
          // Also of one that goes on elsewhere when its table ends: no more is heard of it.
          ending ??= Promise.all(told.map((host) => host.finished)).then(() => {
            ended = true
            news.look()
          })
          await untilAborted(Promise.race([wake.promise, ending]), signal)
        }
        wake = Promise.withResolvers<void>()
        continue
      }
      if (!next.step) throw next.error
      if (next.step.done) {
        open--
        news.read(children[next.index]!, Number.POSITIVE_INFINITY)
        continue
      }
      const chunk = next.step.value
      yield chunk
      news.read(children[next.index]!, chunk.first + chunk.count)
      ask(next.index)
    }
  } finally {
    news.close()
    // Wakes those that wait at the end of their log; each then returns by itself.
    stop.abort()
  }
}

/** How a job is, where that is told at all, behind what was read of it. */
function* present(host: TableJob): Generator<ReadChunk> {
  const job = host.snapshot()
  const chunk = changeChunk(job, job.history.length - 1, host.log?.end ?? 0)
  if (chunk) yield chunk
}

function changeChunk(job: JobSnapshot, index: number, first: number): ReadChunk | undefined {
  const change = job.history[index]
  if (!change || !isTold(change.state)) return undefined
  const previous = job.history[index - 1]?.state ?? 'NotStarted'
  const reason = index === job.history.length - 1 ? job.reason : undefined
  return eventChunk(job, { ...change, previous, ...(reason !== undefined && { reason }) }, first)
}

/**
 * Changes of jobs that are being read, one behind the other as they happened. Each waits until what its job had said by
 * then was read: a log ends before its job does, so that the last one comes behind the last record.
 */
class StateNews {
  readonly #request: ReadRequest
  readonly #told: readonly TableJob[]
  readonly #reading: ReadonlySet<TableJob>
  readonly #queue: { readonly host: TableJob; readonly chunk: ReadChunk }[] = []
  readonly #seen = new Map<TableJob, Change>()
  readonly #read = new Map<TableJob, number>()
  readonly #stops: (() => void)[] = []

  constructor(told: readonly TableJob[], reading: readonly TableJob[], request: ReadRequest, wake: () => void) {
    this.#request = request
    this.#reading = new Set(reading)
    this.#told = told
    this.look()
    for (const host of told) {
      const stop = host.watch(() => {
        this.#hear(host)
        wake()
      })
      this.#stops.push(stop)
    }
  }

  /** At all of them, without waiting to be told. */
  look(): void {
    for (const host of this.#told) this.#hear(host)
  }

  /** Everything of this job before `seq` was given. */
  read(host: TableJob, seq: number): void {
    if (this.#seen.has(host)) this.#read.set(host, seq)
  }

  due(): ReadChunk | undefined {
    const next = this.#queue[0]
    if (!next || next.chunk.first > this.#position(next.host)) return undefined
    this.#queue.shift()
    return next.chunk
  }

  close(): void {
    for (const stop of this.#stops) stop()
  }

  #position(host: TableJob): number {
    if (!this.#reading.has(host) || !host.log) return Number.POSITIVE_INFINITY
    return Math.max(this.#read.get(host) ?? 0, this.#request.from ?? host.log.cursor(this.#request.reader))
  }

  /** What is new in its history; at first, how it is. */
  #hear(host: TableJob): void {
    const job = host.snapshot()
    const { history } = job
    const seen = this.#seen.get(host)
    // The middle of a long history is forgotten: then only its end is known to be new.
    const known = history.findLastIndex(({ state, at }) => state === seen?.state && at.getTime() === seen.at.getTime())
    for (let index = known < 0 ? Math.max(0, history.length - 1) : known + 1; index < history.length; index++) {
      const chunk = changeChunk(job, index, host.log?.end ?? 0)
      if (chunk) this.#queue.push({ host, chunk })
    }
    const last = history.at(-1)
    if (last) this.#seen.set(host, last)
  }
}

/** Of a map: items that failed, each with the record that says so. @throws JobStateError when it is no map */
export async function itemsOf(map: TableJob, from: number, limit: number): Promise<readonly ItemSnapshot[]> {
  if (!map.log) await map.ready
  const { items, log, name, location, instanceId: job } = map
  if (!items) throw new JobStateError(`${name} is no map: it has no items`)
  const found: ItemSnapshot[] = []
  let end = 0
  let records: JobRecord[] = []
  for (const { index, seq } of items.rows(from, limit)) {
    // Those of one chunk, mostly.
    if (seq >= end || records[0] === undefined || seq < records[0].seq) {
      records = []
      if (log && seq >= log.start) {
        const [chunk] = await log.more(seq, log.end)
        if (chunk) {
          records = recordsOf({ ...chunk, job, location, from: chunk.first })
          end = chunk.first + chunk.count
        }
      }
    }
    const record = records.find((one) => one.seq === seq)
    const why = record?.kind === 'error' ? { endedAt: record.at, reason: record.error } : {}
    found.push({ index, name: `${name}.${index + 1}`, state: 'Failed', seq, ...why })
  }
  return found
}
