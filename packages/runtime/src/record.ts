// Records: what a job says, and the chunks they travel in.
//
// A record is encoded where it is produced, before control returns to the script, and decoded where it is consumed.
// Everything between — host, store, network — moves chunks and looks only at their headers.
import { createChunkWriter, decodeChunk, type ChunkWriter } from '@errand/transport'
import { LimitError, ProtocolError } from './errors.ts'
import type { JobRecord, Kind, Progress } from './surface.ts'

/** The wire's numbers for the kinds: an index into this list (docs/PROTOCOL.md, Records). Append only. */
export const KINDS: readonly Kind[] = [
  'output',
  'error',
  'warning',
  'verbose',
  'debug',
  'information',
  'progress',
  'gap',
]

const OUTPUT: number = KINDS.indexOf('output')
const GAP: number = KINDS.indexOf('gap')

/** Records as their producer hands them over: not numbered yet. */
export interface RawChunk {
  readonly count: number
  /** How many of them are of kind `error`: the log counts without decoding. */
  readonly errors: number
  readonly bytes: Uint8Array
}

/** Records as the log keeps them: numbered `first` to `first + count - 1`. Boundaries never change. */
export interface Chunk extends RawChunk {
  readonly first: number
}

/** A chunk on its way to a reader: a parent's chunks come from several children. */
export interface ReadChunk extends Chunk {
  readonly job: string
  readonly location: string
  /** The first record the reader has not had: a cursor may stand inside a chunk. */
  readonly from: number
}

/** A chunk closes at this size; a larger record is a chunk alone. */
export const CHUNK_BYTES = 64 * 1024
/** A chunk closes after this long within one turn, so that a busy script is heard. */
export const CHUNK_MS = 5
/** Bytes a producer may be ahead of who reads or stores; renewed at half. */
export const CREDIT_BYTES = 256 * 1024
/** Records said without a `yield` (warnings in a loop) cannot be paused, only refused: here. */
export const PENDING_BYTES = 16 * 1024 * 1024

/** Activities whose progress waits at once, and how long one may be to wait: more goes its way as any other record. */
const PROGRESS_MOST = 64
const PROGRESS_TEXT = 1024

/** As it lies in a chunk; of a map's item, its number. */
type SaidRecord = readonly [kind: number, at: number, value: unknown, item?: number]
/** Of most, all the time: a map of its own is made with the first. */
const NONE_SAID = new Map<string, never>()

/**
 * Collects what a script says during a turn into chunks; sends them while there is credit. Lives in the isolate.
 *
 * Progress is a state, not an event: it waits, and the next of its activity takes its place, until something else is said
 * or it can leave. So a loop that reports and says nothing else fills neither the log nor the memory, however long nobody
 * reads; what it reported last always comes, and always between the records it was said between.
 */
export class RecordWriter {
  readonly #send: (chunk: RawChunk) => void
  #chunk: ChunkWriter = createChunkWriter({ lossy: true })
  #errors = 0
  #openedAt = 0
  #scheduled: NodeJS.Immediate | undefined
  #closed: RawChunk[] = []
  #closedBytes = 0
  #sent = 0
  #credit: number
  #waiting: (() => void)[] = []
  /** When the last record was said, in milliseconds of the epoch: asking for the time costs as much as a small one. */
  lastAt = 0
  /** The newest of each activity since the last other record, in the order they were said. */
  #progress: Map<string, SaidRecord> = NONE_SAID

  constructor(send: (chunk: RawChunk) => void, credit: number = CREDIT_BYTES) {
    this.#send = send
    this.#credit = credit
  }

  /**
   * Encodes one record now; what cannot travel is left out and marked. `item`: of a map, the place of the input that failed
   * with this error. @throws TooLargeError, LimitError: nothing was written
   */
  write(kind: Kind, value: unknown, item?: number): void {
    if (this.#closedBytes + this.#chunk.bytes > PENDING_BYTES) {
      throw new LimitError(`more than ${PENDING_BYTES >> 20} MiB of records wait to be read`, {
        hint: 'use a generator and `yield`: it waits until there is room',
      })
    }
    const now = Date.now()
    this.lastAt = now
    const code = kind === 'output' ? OUTPUT : KINDS.indexOf(kind)
    const state = kind === 'progress' ? progressOf(value) : undefined
    const said = state ?? value
    const record: SaidRecord = item === undefined ? [code, now, said] : [code, now, said, item]
    if (state) return this.#report(`${item ?? ''} ${state.activity}`, now, record)
    if (this.#progress.size > 0) this.#sayProgress()
    this.#chunk.add(record)
    if (kind === 'error') this.#errors++
    if (this.#chunk.count === 1) this.#openedAt = now
    if (this.#chunk.bytes >= CHUNK_BYTES || Math.abs(now - this.#openedAt) >= CHUNK_MS) this.#close()
    else this.#scheduled ??= setImmediate(() => this.flush())
  }

  #report(activity: string, now: number, record: SaidRecord): void {
    if (this.#progress.size === 0 && this.#chunk.count === 0) this.#openedAt = now
    // Behind the others: what was said last comes last.
    this.#progress.delete(activity)
    if (this.#progress.size >= PROGRESS_MOST) this.#sayProgress()
    if (this.#progress === NONE_SAID) this.#progress = new Map()
    this.#progress.set(activity, record)
    if (!this.full && Math.abs(now - this.#openedAt) >= CHUNK_MS) this.flush()
    else this.#scheduled ??= setImmediate(() => this.flush())
  }

  #sayProgress(): void {
    for (const [activity, record] of this.#progress) {
      this.#progress.delete(activity)
      this.#chunk.add(record)
    }
  }

  /** Chunks that have been sent. */
  get sentChunks(): number {
    return this.#sent
  }

  /** Bytes in the chunk that is being filled. */
  get openBytes(): number {
    return this.#chunk.bytes
  }

  /** Copies what is in that chunk from byte `from` on to the same place of `target`: memory that outlives the isolate. */
  mirror(target: Uint8Array, from: number): void {
    this.#chunk.mirror(target, from)
  }

  /** Whether the next record should wait for `ready`. */
  get full(): boolean {
    return this.#credit <= 0
  }

  /** Settles when there is credit again. */
  async ready(signal: AbortSignal): Promise<void> {
    while (this.#credit <= 0 && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const wake = (): void => resolve()
      this.#waiting.push(wake)
      signal.addEventListener('abort', wake, { once: true })
      await promise
      // A job may wait a million times: the signal, which lives as long, must not keep what each left behind.
      signal.removeEventListener('abort', wake)
    }
  }

  /** Settles when everything written so far has been sent, which may have to wait for credit. */
  async sent(signal: AbortSignal): Promise<void> {
    this.flush()
    while (this.#closed.length + this.#progress.size > 0 && !signal.aborted) await this.ready(signal)
  }

  credit(bytes: number): void {
    this.#credit += bytes
    this.#drain()
    if (this.#credit > 0 && this.#progress.size > 0) this.flush()
    if (this.#credit > 0) for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Sends what there is, as far as credit goes. */
  flush(): void {
    if (this.#scheduled) clearImmediate(this.#scheduled)
    this.#scheduled = undefined
    // Where it could not leave anyway it goes on waiting: the next may take its place.
    if (this.#credit > 0) this.#sayProgress()
    this.#close()
  }

  /** Sends everything, credit or not: the script has ended and the ending must come after its records. */
  end(): void {
    this.#credit = Number.POSITIVE_INFINITY
    this.flush()
  }

  #close(): void {
    if (this.#chunk.count > 0) {
      const { count } = this.#chunk
      const chunk: RawChunk = { count, errors: this.#errors, bytes: this.#chunk.finish() }
      this.#chunk = createChunkWriter({ lossy: true })
      this.#errors = 0
      this.#closed.push(chunk)
      this.#closedBytes += chunk.bytes.byteLength
    }
    this.#drain()
  }

  #drain(): void {
    while (this.#credit > 0) {
      const chunk = this.#closed.shift()
      if (!chunk) return
      this.#closedBytes -= chunk.bytes.byteLength
      this.#credit -= chunk.bytes.byteLength
      this.#sent++
      this.#send(chunk)
    }
  }
}

/** A copy, where it is what it should be: short and flat. Anything else is encoded as it is said. */
function progressOf(value: unknown): Progress | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const copy: Record<string, unknown> = { ...value }
  let text = 0
  for (const part of Object.values(copy)) {
    if (typeof part === 'string') text += part.length
    else if (part !== undefined && typeof part !== 'number' && typeof part !== 'boolean') return undefined
  }
  return typeof copy['activity'] === 'string' && text <= PROGRESS_TEXT ? (copy as unknown as Progress) : undefined
}

/** One record as a chunk of its own, for what the host itself must say (a gap). `item` as for {@link RecordWriter.write}. */
export function singleRecord(kind: Kind, value: unknown, item?: number): RawChunk {
  const writer = createChunkWriter({ lossy: true })
  writer.add([KINDS.indexOf(kind), Date.now(), value, ...(item === undefined ? [] : [item])])
  return { count: 1, errors: kind === 'error' ? 1 : 0, bytes: writer.finish() }
}

/**
 * The chunk that stands in the place of so many records that are gone: it has all their numbers, and one record that says
 * how many they were. So a sequence stays dense for whoever copies it.
 */
export function gapChunk(count: number): RawChunk {
  return { ...singleRecord('gap', count), count }
}

/** Whether a chunk is one of those; nothing is decoded. */
export function isGap({ bytes }: RawChunk): boolean {
  return bytes[0] === 0x83 && bytes[1] === GAP
}

/** The outputs in a chunk: what a job's input is made of, whether they were sent or are another job's. */
export function valuesOf(chunk: RawChunk): unknown[] {
  const items = decodeChunk(chunk.bytes, undefined, { copy: true })
  return items.flatMap((item) => (Array.isArray(item) && item[0] === OUTPUT ? [item[2]] : []))
}

/** A value as it lies in such a chunk. Nobody asks when it was given. */
export function outputOf(value: unknown): readonly unknown[] {
  return [OUTPUT, 0, value]
}

/** How many there are. What was sent says so itself; another job's records, which have their times, are not all outputs. */
export function valuesIn({ count, bytes }: RawChunk): number {
  const sent = bytes[0] === 0x83 && bytes[1] === OUTPUT && bytes[2] === 0
  return sent ? count : valuesOf({ count, errors: 0, bytes }).length
}

/** Written out: objects put together of others cost a reader of many as much as decoding them. */
function recordOf<O>(
  { location, job: jobId }: ReadChunk,
  seq: number,
  at: Date,
  kind: Kind,
  value: unknown,
): JobRecord<O> {
  switch (kind) {
    case 'output':
      return { seq, at, location, jobId, kind, value: value as O }
    case 'error':
      return { seq, at, location, jobId, kind, error: value as Error }
    case 'progress':
      return { seq, at, location, jobId, ...(value as { activity: string }), kind }
    case 'gap':
      return { seq, at, location, jobId, kind, dropped: value as number }
    default:
      return { seq, at, location, jobId, kind, value }
  }
}

/** Decodes a chunk's records from its `from` on. A kind of a later version comes as information, never as a failure. */
export function recordsOf<O>(chunk: ReadChunk): JobRecord<O>[] {
  // Copied: the bytes may be the store's own, and somebody else's to read again.
  const items = decodeChunk(chunk.bytes, undefined, { copy: true })
  if (items.length !== chunk.count) {
    const [only] = items as unknown[][]
    if (items.length !== 1 || only?.[0] !== GAP || only[2] !== chunk.count)
      throw new ProtocolError(`a chunk of ${items.length} records says it has ${chunk.count}`)
    // In the place of the last that is gone, and of those only that this reader would have been given.
    const end = chunk.first + chunk.count
    const dropped = end - Math.max(chunk.from, chunk.first)
    return dropped > 0 ? [recordOf<O>(chunk, end - 1, new Date(only[1] as number), 'gap', dropped)] : []
  }
  const records: JobRecord<O>[] = []
  for (let index = Math.max(0, chunk.from - chunk.first); index < items.length; index++) {
    const [code, at, value] = items[index] as [number, number, unknown]
    records.push(recordOf<O>(chunk, chunk.first + index, new Date(at), KINDS[code] ?? 'information', value))
  }
  return records
}
