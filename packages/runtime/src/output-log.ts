// The output log of one job: the one place where its records are numbered, kept and read.
//
// Reading never destroys: each named reader has a cursor, and only the reader `owner` holds the producer back when it
// leaves more than the store's limit unread (guarantee G8). A log is sealed once, after its last record.
import { CREDIT_BYTES, type Chunk, type RawChunk } from './record.ts'
import type { StoredLog } from './store/store.ts'

/** The reader everybody means who names none; the only one that can pause a job. */
export const OWNER = 'owner'

/** How much one step of a read takes from the store. */
const READ_BYTES = CREDIT_BYTES

export class OutputLog {
  #stored: StoredLog
  readonly #limit: number
  readonly #onCredit: (bytes: number) => void
  #held = 0
  #errors = 0
  #sealed = false
  #pending: Promise<void> = Promise.resolve()
  /** Wakes readers that stand at the end; there while there are any. */
  #grown: PromiseWithResolvers<void> | undefined
  #listener: (() => void) | undefined

  /** `onCredit` tells the producer how many bytes more it may send; `errors`: so many are in it already. */
  constructor(stored: StoredLog, limit: number, onCredit: (bytes: number) => void, errors = 0) {
    this.#errors = errors
    this.#stored = stored
    this.#limit = limit
    this.#onCredit = onCredit
  }

  /** The log of a job that has ended, to be read again; without `stored` it was empty. */
  static over(stored: StoredLog = EMPTY, errors = 0): OutputLog {
    const log = new OutputLog(stored, Number.POSITIVE_INFINITY, () => undefined, errors)
    log.#sealed = true
    return log
  }

  /** Seq of the oldest record still there. */
  get start(): number {
    return this.#stored.start
  }
  get end(): number {
    return this.#stored.end
  }
  get errors(): number {
    return this.#errors
  }
  get sealed(): boolean {
    return this.#sealed
  }
  /** What it keeps its records in. */
  get stored(): StoredLog {
    return this.#stored
  }
  /** The producer waits because `owner` left too much unread. */
  get paused(): boolean {
    return this.#held > 0
  }

  /** Of an empty log that will be a copy: its first record's number, and where reader `owner` begins. */
  begin(first: number, cursor: number): void {
    this.#stored.begin(first, OWNER, cursor)
  }

  /** Goes on in another log, which is empty: with all that is kept here, and what comes. Who reads it sees no difference. */
  async moveTo(next: StoredLog): Promise<void> {
    const from = this.#stored
    next.begin(from.start, OWNER, from.cursor(OWNER))
    while (next.end < from.end) {
      for (const chunk of await from.read(next.end, READ_BYTES)) await next.append(chunk)
    }
    // Nothing was waited for since they were found to be as long.
    this.#stored = next
    await next.setCursor(OWNER, from.cursor(OWNER))
  }

  /** Numbers and keeps a chunk (or a copied one, numbered already). In order of call; the producer gets its credit back when it is accepted. */
  append(raw: RawChunk, first?: number): void {
    if (this.#sealed || raw.count === 0) return
    if (first !== undefined) {
      // A copy keeps the original's numbers, and takes a chunk only where it ends. The original may have forgotten its
      // oldest records.
      const empty = this.#stored.end === this.#stored.start
      if (empty && first > this.#stored.end) this.begin(first, Math.max(first, this.#stored.cursor(OWNER)))
      if (first + raw.count <= this.#stored.end) return this.#onCredit(raw.bytes.byteLength)
      if (first !== this.#stored.end) {
        throw new Error(`copied chunk starts at ${first}, the log ends at ${this.#stored.end}`)
      }
    }
    this.#errors += raw.errors
    const accepted = this.#stored.append({ ...raw, first: this.#stored.end })
    const done = (): void => {
      this.#held += raw.bytes.byteLength
      this.#release()
      this.#wake()
    }
    if (accepted) this.#pending = Promise.all([this.#pending, accepted]).then(done)
    else done()
  }

  /** Settles when what is in it now is accepted. */
  get settled(): Promise<void> {
    return this.#pending
  }

  /** No record comes any more. Settles when everything is accepted. */
  async seal(): Promise<void> {
    await this.#pending
    this.#sealed = true
    this.#wake()
  }

  cursor(reader: string): number {
    return this.#stored.cursor(reader)
  }

  /** What its records take. */
  get bytes(): number {
    return this.#stored.bytesFrom(this.#stored.start)
  }
  /** Reader `owner` has taken all there is now. */
  get read(): boolean {
    return this.#stored.cursor(OWNER) >= this.#stored.end
  }

  /** Whether reader `owner` has something to read, or may get something. */
  get hasMoreData(): boolean {
    return !this.#sealed || this.#stored.cursor(OWNER) < this.#stored.end
  }

  /** Moves a cursor forward to `seq`: the record its reader takes next. Backwards or beyond the end: ignored. */
  async acknowledge(reader: string, seq: number): Promise<void> {
    if (seq > this.#stored.end) return
    await this.#stored.setCursor(reader, seq)
    if (reader !== OWNER) return
    this.#release()
    this.#listener?.()
  }

  /** Told when a record came or `owner` moved. */
  onChange(listener: () => void): void {
    this.#listener = listener
  }

  /** Where a reading that begins now ends: at its present end, unless it goes on until the log is sealed. */
  endOf(follow: boolean | undefined): number {
    return follow ? Number.POSITIVE_INFINITY : this.#stored.accepted
  }

  /** The next whole chunks, from the one with record `from` on, before record `until`; none where there are no more. */
  async more(from: number, until: number, signal?: AbortSignal): Promise<readonly Chunk[]> {
    while (!signal?.aborted && from < until) {
      const sealed = this.#sealed
      if (from < this.#stored.accepted) return this.#stored.read(from, READ_BYTES)
      if (sealed || until < Number.POSITIVE_INFINITY) break
      // Nothing was waited for since it was looked at: what comes from now on wakes us.
      await untilAborted((this.#grown ??= Promise.withResolvers()).promise, signal)
    }
    return []
  }

  #release(): void {
    if (this.#held === 0) return
    if (this.#stored.bytesFrom(this.#stored.cursor(OWNER)) >= this.#limit) return
    const bytes = this.#held
    this.#held = 0
    this.#onCredit(bytes)
  }

  #wake(): void {
    this.#grown?.resolve()
    this.#grown = undefined
    this.#listener?.()
  }
}

/** Nothing was said, and nothing will be. */
const EMPTY: StoredLog = {
  start: 0,
  end: 0,
  accepted: 0,
  begin: refuse,
  append: refuse,
  read: () => [],
  cursor: () => 0,
  setCursor: () => undefined,
  bytesFrom: () => 0,
  forget: () => undefined,
}

function refuse(): never {
  throw new Error('the log of a job that has ended takes no more')
}

/** Settles with the promise or when the signal aborts, whichever is first; leaves no listener behind. */
export async function untilAborted(promise: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return void (await promise)
  if (signal.aborted) return
  const { promise: aborted, resolve } = Promise.withResolvers<void>()
  const onAbort = (): void => resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
