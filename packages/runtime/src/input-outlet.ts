// The sending end of a job's input: what is sent in a turn leaves as one chunk, one chunk at a time, so that the order
// holds whatever happens on the way.
import { createChunkWriter } from '@errand/transport'
import { asError, codeOf, LimitError } from './errors.ts'
import { CHUNK_BYTES, isGap, outputOf, type RawChunk } from './record.ts'
import { OWNER, untilAborted } from './output-log.ts'
import type { SessionRef } from './session-ref.ts'
import type { StartOptions } from './surface.ts'
import type { SessionEvent } from './wire.ts'

/** Bytes waiting here beyond which `send` refuses: for senders who do not wait. */
const FULL = 16 * 1024 * 1024
/** A source that never waits has this process for so long, and the clock is looked at every so many values. */
const TURN_MS = 5
const LOOK_EVERY = 16

export class InputOutlet {
  readonly #ask: (event: SessionEvent) => Promise<unknown>
  readonly #writer = createChunkWriter()
  /** Closed chunks, and those of another job as they came. */
  readonly #ready: { readonly chunk: RawChunk; readonly taken?: PromiseWithResolvers<void> }[] = []
  #readyBytes = 0
  #flowing: Promise<void> | undefined
  #failed: Error | undefined
  #drained = Promise.withResolvers<void>()
  /** Of the chunk that is being filled: settles when the job has taken it. */
  #taken = Promise.withResolvers<void>()

  constructor(ref: SessionRef, job: string) {
    this.#ask = (event) => ref.request(event, job)
  }

  /**
   * Encodes now: the caller may change the value as soon as this returns. Settles when the job has room for more.
   * @throws InputClosedError, LimitError, NotTransferableError, TooLargeError
   */
  async send(value: unknown, signal?: AbortSignal): Promise<void> {
    let taken: Promise<void> | undefined
    await this.#take(signal, () => {
      this.#writer.add(outputOf(value))
      taken = this.#taken.promise
    })
    if (taken) await untilAborted(taken, signal)
    signal?.throwIfAborted()
  }

  /**
   * The same, waiting only for room here, and not at all where there is some: what is wrong over there the next one hears,
   * or `end`.
   */
  offer(value: unknown, signal: AbortSignal): Promise<void> | undefined {
    if (this.#failed) throw this.#failed
    this.#writer.add(outputOf(value))
    this.#flowing ??= this.#flow()
    return this.#bytes > CHUNK_BYTES ? this.#room(signal) : undefined
  }

  /** Records of another job; the job takes the outputs among them. */
  pass(chunk: RawChunk, signal?: AbortSignal): Promise<void> {
    return this.#take(signal, () => {
      this.#seal()
      this.#ready.push({ chunk })
      this.#readyBytes += chunk.bytes.byteLength
    })
  }

  /** Behind all that was sent. `error`: whoever reads the input gets that. */
  async end(error?: Error): Promise<void> {
    while (this.#flowing) await this.#flowing
    if (this.#failed) throw this.#failed
    await this.#ask({ type: 'end-input', ...(error && { error }) })
  }

  get #bytes(): number {
    return this.#writer.bytes + this.#readyBytes
  }

  async #take(signal: AbortSignal | undefined, take: () => void): Promise<void> {
    signal?.throwIfAborted()
    if (this.#failed) throw this.#failed
    if (this.#bytes > FULL) {
      throw new LimitError(`more than ${FULL >> 20} MiB of input wait to be sent`, {
        hint: 'await `send` before sending more',
      })
    }
    take()
    this.#flowing ??= this.#flow()
    await this.#room(signal)
  }

  async #room(signal: AbortSignal | undefined): Promise<void> {
    while (this.#bytes > CHUNK_BYTES && !this.#failed) {
      await untilAborted(this.#drained.promise, signal)
      signal?.throwIfAborted()
    }
    if (this.#failed) throw this.#failed
  }

  async #flow(): Promise<void> {
    let sending: PromiseWithResolvers<void> | undefined
    try {
      for (;;) {
        // All of this turn; a source that does not wait fills the chunk.
        if (this.#ready.length === 0) await new Promise<void>((resolve) => setImmediate(resolve))
        this.#seal()
        const next = this.#ready.shift()
        if (!next) {
          // In the same breath as the look: what is added from now on starts it again.
          this.#flowing = undefined
          return
        }
        const { chunk, taken } = next
        sending = taken
        this.#readyBytes -= chunk.bytes.byteLength
        this.#wake()
        await this.#ask({ type: 'send', count: chunk.count, bytes: chunk.bytes })
        taken?.resolve()
      }
    } catch (thrown) {
      const error = asError(thrown)
      this.#failed = error
      this.#flowing = undefined
      for (const taken of [sending, this.#taken, ...this.#ready.map((one) => one.taken)]) {
        taken?.promise.catch(() => undefined) // nobody may be waiting for it
        taken?.reject(error)
      }
      this.#ready.length = 0
      this.#wake()
    }
  }

  #seal(): void {
    const { count } = this.#writer
    if (count === 0) return
    const bytes = this.#writer.finish()
    this.#ready.push({ chunk: { count, errors: 0, bytes }, taken: this.#taken })
    this.#taken = Promise.withResolvers()
    this.#readyBytes += bytes.byteLength
  }

  #wake(): void {
    this.#drained.resolve()
    this.#drained = Promise.withResolvers()
  }
}

/** Another job as a source: whose records, and where they are. */
export interface JobSource {
  readonly ref: SessionRef
  readonly instanceId: string
}

/**
 * Gives a job its input, as fast as it takes it, and then its end; what the source throws, the reader of the input gets.
 * Settles when that is done, or the job takes no more; never rejects. `finished`: the job has ended, nothing is read on.
 */
export async function feed(
  outlet: InputOutlet,
  input: NonNullable<StartOptions['input']>,
  source: JobSource | undefined,
  finished: Promise<unknown>,
): Promise<void> {
  const over = new AbortController()
  void finished.then(
    () => over.abort(),
    () => over.abort(),
  )
  try {
    if (source) await pipe(outlet, source, over.signal)
    else await pour(outlet, input as Iterable<unknown> | AsyncIterable<unknown>, over.signal)
    await outlet.end()
  } catch (error) {
    // It takes no more: it has ended, or has ended its input. Anything else is the source's failure.
    if (over.signal.aborted || codeOf(error) === 'INPUT_CLOSED') return
    await outlet.end(asError(error)).catch(() => undefined)
  }
}

async function pour(
  outlet: InputOutlet,
  values: Iterable<unknown> | AsyncIterable<unknown>,
  signal: AbortSignal,
): Promise<void> {
  const waits = Symbol.asyncIterator in values
  const iterator = waits ? values[Symbol.asyncIterator]() : values[Symbol.iterator]()
  let turn = performance.now()
  // One listener for all values: of a source that waits for each, one each would cost more than the values.
  let giveUp = (): void => undefined
  const onAbort = (): void => giveUp()
  signal.addEventListener('abort', onAbort, { once: true })
  const step = (): Promise<IteratorResult<unknown> | undefined> =>
    new Promise((resolve, reject) => {
      giveUp = () => resolve(undefined)
      Promise.resolve(iterator.next()).then(resolve, reject)
    })
  try {
    for (let given = 1; ; given++) {
      // One that has it at hand is not waited for: that would cost more than all the rest.
      const next = waits ? await step() : (iterator.next() as IteratorResult<unknown>)
      if (signal.aborted || !next || next.done) return
      const room = outlet.offer(next.value, signal)
      if (room) await room
      if (given % LOOK_EVERY > 0 || performance.now() - turn < TURN_MS) continue
      await new Promise<void>((resolve) => setImmediate(resolve))
      turn = performance.now()
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    // Not waited for: a source that is waiting itself answers when it is through with that.
    void Promise.resolve(iterator.return?.()).catch(() => undefined)
  }
}

/**
 * Chunk by chunk, undecoded: what is read here counts as taken by its owner. Where records of the source were dropped the
 * input ends with an error: a job must not take what is left for all there was.
 */
async function pipe(outlet: InputOutlet, { ref, instanceId }: JobSource, signal: AbortSignal): Promise<void> {
  const reading = ref.read(instanceId, { reader: OWNER, follow: true }, signal)
  try {
    for (;;) {
      const step = await reading.next()
      if (step.done || signal.aborted) return
      const { job, first, count, from } = step.value
      if (isGap(step.value)) {
        const lost = first + count - Math.max(first, from)
        throw new LimitError(`${lost} records of the job that is its input were dropped before they could be read`, {
          hint: 'a session that blocks drops nothing',
        })
      }
      await outlet.pass(step.value, signal)
      await ref.request({ type: 'acknowledge', reader: OWNER, seqs: [[job, first + count]] }, instanceId)
    }
  } finally {
    await reading.return(undefined)
  }
}
