// The output log of one job: the one place where its records are numbered, kept and read.
//
// Reading never destroys: each named reader has a cursor, and only the reader `owner` holds the producer back when it
// leaves more than the store's limit unread (guarantee G8). Then it waits (`block`), or the oldest of those go (`drop`):
// whoever reads meets a gap in their place. A log is sealed once, after its last record.
import { asError, StoreError } from './errors.ts'
import { CREDIT_BYTES, gapChunk, isGap, type Chunk, type RawChunk } from './record.ts'
import type { StoredLog } from './store/store.ts'
import type { Buffering } from './surface.ts'

/** The reader everybody means who names none; the only one that can pause a job. */
export const OWNER = 'owner'

/**
 * Of what an actor says the newest so many bytes stay, or less where the store's limit is less. Those it means listen, and most
 * leave no trace of having read: it must not wait for one who takes it all.
 */
export const ACTOR_LOG_BYTES: number = 4 * 1024 * 1024

/** How much one step of a read takes from the store. */
const READ_BYTES = CREDIT_BYTES

/**
 * Of the limit: so far below it `owner` must be before a producer that waits goes on, and so much more than needed goes at
 * once of what is dropped. Else both would happen with every chunk, and be told.
 */
const SLACK = 1 / 16

export class OutputLog {
  #stored: StoredLog
  readonly #limit: number
  readonly #onCredit: (bytes: number) => void
  #buffering: Buffering
  /** Credit that is kept back. */
  #held = 0
  #paused = false
  /** The store is forgetting what was dropped. */
  #dropping = false
  #errors = 0
  /** The limit is for all that is kept, and not only for what `owner` has not read. */
  readonly #newest: boolean
  #sealed = false
  #pending: Promise<void> = Promise.resolve()
  /** Wakes readers that stand at the end; there while there are any. */
  #grown: PromiseWithResolvers<void> | undefined
  #listener: (() => void) | undefined
  #failed = false
  #onFailed: ((error: Error) => void) | undefined

  /**
   * `limit`: bytes that `owner` may leave unread. `onCredit` tells the producer how many bytes more it may send; `errors`: so
   * many are in it already. `newest`: no more than that is kept, read or not.
   */
  constructor(
    stored: StoredLog,
    limit: number,
    onCredit: (bytes: number) => void,
    buffering: Buffering = 'block',
    errors = 0,
    newest: boolean = false,
  ) {
    this.#errors = errors
    this.#newest = newest
    this.#stored = stored
    this.#limit = limit
    this.#onCredit = onCredit
    this.#buffering = buffering
  }

  /** The log of a job that has ended, to be read again; without `stored` it was empty. */
  static over(stored: StoredLog = EMPTY, errors = 0): OutputLog {
    const log = new OutputLog(stored, Number.POSITIVE_INFINITY, () => undefined, 'block', errors)
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
    return this.#paused
  }

  /** What happens at the limit from now on; a producer that waits is let go at once where the oldest may go. */
  setBuffering(buffering: Buffering): void {
    if (buffering === this.#buffering) return
    this.#buffering = buffering
    this.#fit()
    this.#listener?.()
  }

  /** Of an empty log that will be a copy: its first record's number, and where reader `owner` begins. */
  begin(first: number, cursor: number): void {
    this.#stored.begin(first, OWNER, cursor)
  }

  /**
   * Goes on in another log, which is empty: with all that is kept here, and what comes. Who reads it sees no difference.
   * @throws StoreError: it goes on where it was
   */
  async moveTo(next: StoredLog): Promise<void> {
    const from = this.#stored
    next.begin(from.start, OWNER, from.cursor(OWNER))
    while (next.end < from.end) {
      const there = next.end
      for (const chunk of await from.read(there, READ_BYTES)) await next.append(chunk)
      // Of a peer that is going what is written may come to nothing: to try that again would never end.
      if (next.end === there) throw new StoreError('STORE_FAILED', 'what it has said could not be kept elsewhere')
    }
    // Nothing was waited for since they were found to be as long.
    this.#stored = next
    await next.setCursor(OWNER, from.cursor(OWNER))
  }

  /** Numbers and keeps a chunk (or a copied one, numbered already). In order of call; the producer gets its credit back when it is accepted. */
  append(raw: RawChunk, first?: number): void {
    if (this.#sealed || this.#failed || raw.count === 0) return
    const size = raw.bytes.byteLength
    let chunk = raw
    if (first !== undefined) {
      // A copy keeps the original's numbers, and takes a chunk only where it ends. The original may have forgotten its
      // oldest records.
      const empty = this.#stored.end === this.#stored.start
      if (empty && first > this.#stored.end) this.begin(first, Math.max(first, this.#stored.cursor(OWNER)))
      const { end } = this.#stored
      if (first + raw.count <= end) return this.#onCredit(size)
      // Over there what we had not got yet may have been dropped together with what we have.
      if (first < end && isGap(raw)) chunk = gapChunk(first + raw.count - end)
      else if (first !== end) throw new Error(`copied chunk starts at ${first}, the log ends at ${end}`)
    }
    this.#errors += chunk.errors
    let accepted: void | Promise<void>
    try {
      accepted = this.#stored.append({ ...chunk, first: this.#stored.end })
    } catch (error) {
      return this.#fail(asError(error))
    }
    const done = (): void => {
      this.#held += size
      this.#fit()
      this.#wake()
    }
    if (accepted)
      this.#pending = Promise.all([this.#pending, accepted]).then(done, (error) => this.#fail(asError(error)))
    else done()
  }

  /** Settles when what is in it now is accepted, or was refused. Never rejects. */
  get settled(): Promise<void> {
    return this.#pending
  }

  /** No record comes any more. Settles when everything is accepted, or was refused. */
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
    this.#fit()
    this.#listener?.()
  }

  /** Reader `owner` has what comes before `seq` from elsewhere, also where nothing of it has been copied yet. */
  async passTo(seq: number): Promise<void> {
    if (this.end > this.start) return this.acknowledge(OWNER, seq)
    if (seq > this.cursor(OWNER)) this.begin(this.start, seq)
  }

  /** Told once, when the store has refused a chunk for good: nothing is kept from there on. */
  onFailed(listener: (error: Error) => void): void {
    this.#onFailed = listener
  }

  #fail(error: Error): void {
    if (this.#failed) return
    this.#failed = true
    this.#onFailed?.(error)
  }

  /** Told when a record came or `owner` moved. */
  onChange(listener: () => void): void {
    this.#listener = listener
  }

  /** Where a reading that begins now ends: at its present end, unless it goes on until the log is sealed. */
  endOf(follow: boolean | undefined): number {
    return follow ? Number.POSITIVE_INFINITY : this.#stored.accepted
  }

  /**
   * The next whole chunks, from the one with record `from` on, before record `until`; none where there are no more. In the
   * place of what is gone, dropped or damaged, stands a gap.
   */
  async more(from: number, until: number, signal?: AbortSignal): Promise<readonly Chunk[]> {
    while (!signal?.aborted && from < until) {
      const sealed = this.#sealed
      const { accepted } = this.#stored
      if (from < accepted) return withGaps(from, until, accepted, await this.#stored.read(from, READ_BYTES))
      if (sealed || until < Number.POSITIVE_INFINITY) break
      // Nothing was waited for since it was looked at: what comes from now on wakes us.
      await untilAborted((this.#grown ??= Promise.withResolvers()).promise, signal)
    }
    return []
  }

  /** Whether its producer goes on. Asked whenever something was accepted, or `owner` has read. */
  #fit(): void {
    if (this.#dropping || (this.#held === 0 && this.#buffering === 'block')) return
    const unread = this.#newest ? this.bytes : this.#stored.bytesFrom(this.#stored.cursor(OWNER))
    if (unread >= (this.#paused && this.#buffering === 'block' ? this.#limit * (1 - SLACK) : this.#limit)) {
      this.#paused = this.#buffering === 'block'
      if (this.#paused || this.#drop()) return
    }
    this.#paused = false
    const bytes = this.#held
    this.#held = 0
    if (bytes > 0) this.#onCredit(bytes)
  }

  /** The oldest go, whole chunks; the newest never does. True: that takes its time, and the producer waits as long. */
  #drop(): boolean {
    const stored = this.#stored
    const most = this.#limit * (1 - SLACK)
    let [low, high] = [stored.start, Math.max(stored.start, stored.accepted - 1)]
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2)
      if (stored.bytesFrom(middle) > most) low = middle + 1
      else high = middle
    }
    const forgotten = stored.forget(low)
    if (!forgotten) return false
    this.#dropping = true
    const over = (): void => {
      this.#dropping = false
      this.#fit()
      this.#listener?.()
    }
    // Not forgotten, it is there still, and takes room: whoever said it waits until that is tried again.
    forgotten.then(over, () => (this.#dropping = false))
    return true
  }

  #wake(): void {
    this.#grown?.resolve()
    this.#grown = undefined
    this.#listener?.()
  }
}

/** Chunks as a store gives them, and in each hole between them, from `from` on and before `until`, a gap. */
function withGaps(from: number, until: number, accepted: number, chunks: readonly Chunk[]): readonly Chunk[] {
  const whole: Chunk[] = []
  let next = from
  const skip = (to: number): void => {
    const end = Math.min(to, until)
    if (end > next) whole.push({ ...gapChunk(end - next), first: next })
  }
  for (const chunk of chunks) {
    skip(chunk.first)
    whole.push(chunk)
    next = chunk.first + chunk.count
  }
  if (chunks.length === 0) skip(accepted)
  return whole
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

/** What comes of it, as long as it is waited for: what was begun goes on. @throws the signal's reason */
export async function whileWanted<T>(act: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  signal?.throwIfAborted()
  const acting = act()
  acting.catch(() => undefined) // who asked may have gone
  await untilAborted(acting, signal)
  signal?.throwIfAborted()
  return acting
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
