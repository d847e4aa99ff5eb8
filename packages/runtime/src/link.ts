// A link: one control and one data channel between two peers (or between this process and a child, a worker, a CLI).
// Requests with their answers, watched snapshots, and reads of chunks with credit. Symmetric: either side may ask.
//
// Control and data are apart so that a stop or an answer never waits behind bulk. Whoever made the link closes it; when
// either channel ends, the link ends, and every request under way is answered with PeerLostError: outcome unknown.
import { decode, encode, type Channel, type PeerId } from '@errand/transport'
import { isFinished } from './child-jobs.ts'
import { asError, codeOf, LimitError, PeerLostError, ProtocolError } from './errors.ts'
import { Tellings, Watches } from './link-watches.ts'
import { CREDIT_BYTES, type ReadChunk } from './record.ts'
import type { RequestOptions } from './session-ref.ts'
import type { JobSnapshot } from './surface.ts'
import {
  checkControl,
  checkData,
  checkEvent,
  OPEN_ASKS,
  OPEN_POLLS,
  OPEN_READS,
  OPEN_REQUESTS,
  POLLS,
  REPEAT,
  type Address,
  type ControlMessage,
  type DataMessage,
  type ReadRequest,
  type WireEvent,
} from './wire.ts'

/** What a link does with what the other side asks. Absent: every request is refused. */
export interface LinkServer {
  /** Requests of the other side under way at once, but for those that wait for news and questions to actors. Default {@link OPEN_REQUESTS}. */
  readonly openRequests?: number
  /** Answers one event; a rejection is the answer. `id` is unique per client: asked twice, answered once. */
  handle(link: Link, to: Address, event: WireEvent, id: number | undefined, signal: AbortSignal): Promise<unknown>
  /** Names what is remembered of this client's requests; another name than at its link before: nothing is. */
  memoryOf?(client: string): string
  /** The other side has the answers to these requests. */
  heard?(link: Link, ids: readonly number[]): void
  /** Returns the job as it was when its last record had been read. */
  read(link: Link, to: Address, request: ReadRequest, signal: AbortSignal): JobReading
  /** Pushes snapshots until the returned function is called. */
  watch(link: Link, to: Address, push: (snapshot: unknown) => void): () => void
}

/** What is left of a job's last snapshot where the read is `brief`. */
export type JobOutcome = Pick<JobSnapshot, 'state' | 'reason' | 'streamed' | 'location'> & {
  readonly children: readonly JobOutcome[]
}

/** Chunks as they come, then the job as it was after the last: where the read is `brief`, its {@link JobOutcome}. */
export type JobReading = AsyncGenerator<ReadChunk, JobSnapshot | undefined, undefined>

interface Reading {
  readonly queue: ReadChunk[]
  /** Bytes that the other side may still send. */
  credit: number
  wake: () => void
  ended: boolean
  error: Error | undefined
  job: JobSnapshot | undefined
}

/** How many there are of one kind of request, and may be. */
interface Room {
  open: number
  readonly most: number
  /** For people. */
  readonly what: string
}

/** How one of its channels ended. */
interface Ending {
  readonly error: Error | undefined
  /** By us, for what came over it. */
  readonly refused?: true
}

interface AskOptions extends RequestOptions {
  readonly id?: number
  readonly patient?: boolean
}

interface Asked {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  /** Its answer is kept over there until we say that we have heard it. */
  readonly kept: boolean
  /** What it makes is to be watched: in this session. */
  readonly session: string | undefined
}

/** How long the second channel of a link may take to end when the first has ended in order, in ms. */
const GOODBYE_MS = 2_000
/**
 * The same where the first one broke, in ms: what had arrived on the other before it breaks too is read, how far a client
 * had come that was killed, say. That is here already, only in several pieces; what does not break by then is cut.
 */
const LAST_WORDS_MS = 250

/** How long what nobody waits for stays here for company, in ms, and how many such messages at most. */
const LATE_MS = 5
const LATE_MOST = 64

/** Ids of this process's requests: unique per client, also across its links. */
let lastRequest = 0

export class Link {
  readonly peer: PeerId
  /** The other process's id, new at each of its starts: tells a reconnect from a new client. */
  readonly client: string
  /** Names what the other side remembers of our requests. Over two links of one name a request may be asked twice. */
  readonly memory: string
  /** Settles when the link has ended, with why; undefined when it was closed in order. Never rejects. */
  readonly closed: Promise<Error | undefined>
  readonly #control: Channel
  readonly #data: Channel
  readonly #server: LinkServer | undefined
  readonly #asked = new Map<number, Asked>()
  /** Requests whose answers the other side need not keep any more: said with the next one. */
  readonly #heard: number[] = []
  readonly #reads = new Map<number, Reading>()
  readonly #serving = new Map<number, AbortController>()
  readonly #pumps = new Map<number, { credit: number; wake: () => void; abort: AbortController }>()
  readonly #watches: Watches
  readonly #tellings: Tellings
  /** What is being answered. */
  readonly #rooms: Readonly<Record<'requests' | 'polls' | 'asks', Room>>
  /** What nobody waits for: it leaves ahead of the next chunk or end, or soon. */
  readonly #late = new Map<string, () => ControlMessage | undefined>()
  #lateTimer: NodeJS.Timeout | undefined
  #lastRead = 0
  #ended: { error: Error | undefined } | undefined
  /** The other side has said goodbye: it hears nothing any more, but what it said before may still be on its way. */
  #parting = false
  #bye = false

  /** Both channels are past their hello. For a pipe or a worker, `data` may be the same channel as `control`. */
  constructor(control: Channel, data: Channel, other: { client: string; memory?: string }, server?: LinkServer) {
    this.#control = control
    this.#data = data
    this.peer = control.peer
    this.client = other.client
    this.memory = other.memory ?? other.client
    this.#server = server
    this.#rooms = {
      requests: { open: 0, most: server?.openRequests ?? OPEN_REQUESTS, what: 'requests under way' },
      polls: { open: 0, most: OPEN_POLLS, what: 'questions wait for news' },
      asks: { open: 0, most: OPEN_ASKS, what: 'questions to actors under way' },
    }
    this.#watches = new Watches(this.peer, (message) => this.#post(message))
    this.#tellings = new Tellings({
      say: (message, whole) => (whole ? this.#postedBlob(message) : this.#posted(message)),
      sayLate: (key, make) => this.#postLate(key, make),
      unsay: (key) => this.#late.delete(key),
    })
    const same = control === data
    const pumps = same
      ? [this.#receive(control, (value) => this.#onAny(value))]
      : [
          this.#receive(control, (value) => this.#onControl(checkControl(value))),
          this.#receive(data, (value) => this.#onData(checkData(value))),
        ]
    this.closed = Promise.race(pumps).then(async (first) => {
      // Whoever talks nonsense has no last words.
      this.#end(first.refused ? first.error : await this.#goodbye(pumps, first.error))
      return this.#ended?.error
    })
  }

  get open(): boolean {
    return this.#ended === undefined && !this.#parting
  }

  /** The other side went down in order: what ends with it has ended, whether or not that was told. */
  get wasLeft(): boolean {
    return this.#bye
  }

  /**
   * Asks and waits for the answer. `late`: nobody waits for it, so it comes without a value, and with what else is said.
   * `watch`: the job it makes is watched from its answer on, if whoever gets that watches it at once. `patient`: given up, it
   * is still waited for until the other side has said that it heard of that.
   * @throws PeerLostError when the link ends first: whether it was done is unknown
   */
  async ask(to: Address, event: WireEvent, options: AskOptions = {}): Promise<unknown> {
    options.signal?.throwIfAborted()
    if (!this.open) throw this.#lost()
    const id = options.id ?? Link.requestId()
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const w = options.watch && to.session !== undefined ? this.#watches.offer() : undefined
    const session = w === undefined ? undefined : to.session
    this.#asked.set(id, { resolve, reject, kept: REPEAT[event.type] !== 'again', session })
    const onAbort = (): void => {
      this.#post({ t: 'give-up', id })
      if (!options.patient) reject(asError(options.signal?.reason))
    }
    options.signal?.addEventListener('abort', onAbort, { once: true })
    try {
      const heard = this.#heard.splice(0, OPEN_REQUESTS)
      this.#post({
        t: 'ask',
        id,
        to,
        event,
        ...(heard.length > 0 && { heard }),
        ...(options.late && { late: true }),
        ...(w !== undefined && { w }),
      })
      return await promise
    } finally {
      options.signal?.removeEventListener('abort', onAbort)
      this.#asked.delete(id)
    }
  }

  /**
   * Follows the snapshots of a session or job until the returned function is called, the job has finished, or the link ends
   * (`lost`).
   * @throws LimitError
   */
  watch<T>(to: Address, listener: (snapshot: T) => void, lost?: (cause: Error | undefined) => void): () => void {
    if (this.#ended) {
      // Nobody would ever say so any more. Not within this call: who asks has not what it returns yet.
      const { error } = this.#ended
      let told = false
      queueMicrotask(() => told || lost?.(error))
      return () => void (told = true)
    }
    return this.#watches.watch(to, listener as (snapshot: object) => void, lost)
  }

  /** A job's chunks as they are; credit is renewed as they are taken. @throws PeerLostError, or what the peer refused */
  async *read(to: Address, request: ReadRequest, signal?: AbortSignal): JobReading {
    if (!this.open) throw this.#lost()
    const r = ++this.#lastRead
    let wake = Promise.withResolvers<void>()
    const reading: Reading = {
      queue: [],
      credit: CREDIT_BYTES,
      ended: false,
      error: undefined,
      job: undefined,
      wake: () => wake.resolve(),
    }
    this.#reads.set(r, reading)
    const onAbort = (): void => wake.resolve()
    signal?.addEventListener('abort', onAbort, { once: true })
    let taken = 0
    try {
      this.#post({ t: 'read', r, to, read: request, credit: CREDIT_BYTES })
      while (!signal?.aborted) {
        const chunk = reading.queue.shift()
        if (chunk) {
          yield chunk
          taken += chunk.bytes.byteLength
          if (taken >= CREDIT_BYTES / 2) {
            reading.credit += taken
            this.#post({ t: 'credit', r, bytes: taken })
            taken = 0
          }
          continue
        }
        if (reading.ended) {
          if (reading.error) throw reading.error
          return reading.job
        }
        await wake.promise
        wake = Promise.withResolvers<void>()
      }
      return undefined
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#reads.delete(r)
      if (!reading.ended) this.#post({ t: 'unread', r })
    }
  }

  /** Says goodbye: what was sent arrives, then the channels end. */
  async close(): Promise<void> {
    this.#sendLate()
    this.#post({ t: 'bye' })
    if (!this.#ended) await Promise.allSettled([this.#control.end(), this.#data.end()])
    this.#end(undefined)
  }

  /** Ends the link at once; the other side learns why where it still can. */
  abort(reason: Error): void {
    this.#end(reason)
    this.#control.abort(reason)
    this.#data.abort(reason)
  }

  /** A request id for something that may have to be asked again over another link. */
  static requestId(): number {
    return ++lastRequest
  }

  // ── what comes in ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** One channel has ended, for this reason if it did not as it should: so will the other, which may have more to bring. */
  async #goodbye(pumps: readonly Promise<Ending>[], error: Error | undefined): Promise<Error | undefined> {
    if (this.#ended) return undefined
    this.#parting = true
    const { promise: late, resolve } = Promise.withResolvers<undefined>()
    const timer = setTimeout(() => resolve(undefined), error ? LAST_WORDS_MS : GOODBYE_MS)
    const all = Promise.all(pumps).then((endings) => endings.find((ending) => ending.error)?.error)
    try {
      const last = await Promise.race([all, late])
      return error ?? last
    } finally {
      clearTimeout(timer)
    }
  }

  /** Reads one channel to its end; what ends it is the link's ending. */
  async #receive(channel: Channel, take: (value: unknown) => void): Promise<Ending> {
    try {
      for await (const value of channel) {
        try {
          take(value)
        } catch (thrown) {
          // Said before the loop is left: leaving would say only that nobody reads any more.
          const error = asError(thrown)
          channel.abort(error)
          return { error, refused: true }
        }
      }
    } catch (error) {
      channel.abort(asError(error))
      return { error: asError(error) }
    }
    return { error: (await channel.closed).error }
  }

  #onAny(value: unknown): void {
    const t = (value as { t?: string } | null)?.t
    if (t === 'chunk' || t === 'end' || t === 'blob') this.#onData(checkData(value))
    else this.#onControl(checkControl(value))
  }

  #onControl(message: ControlMessage): void {
    switch (message.t) {
      case 'ask':
        if (message.heard) this.#server?.heard?.(this, message.heard)
        return void this.#answer(message)
      case 'ok':
        return this.#onOk(message)
      case 'no':
        return this.#hear(message.id)?.reject(message.error)
      case 'give-up':
        return this.#serving.get(message.id)?.abort(new PeerLostError('the caller gave up'))
      case 'watch': {
        const { w, to } = message
        const server = this.#serverOrRefuse()
        return this.#tellings.begin(w, to, (push) => server.watch(this, to, push))
      }
      case 'unwatch':
        return this.#tellings.leave(message.w)
      case 'state':
        return this.#watches.take(message)
      case 'read':
        return void this.#pump(message.r, message.to, message.read, message.credit)
      case 'credit': {
        const pump = this.#pumps.get(message.r)
        if (pump) {
          pump.credit += message.bytes
          pump.wake()
        }
        return
      }
      case 'bye':
        this.#bye = true
        return
      case 'unread': {
        const pump = this.#pumps.get(message.r)
        pump?.abort.abort()
        pump?.wake()
        return
      }
      default:
        throw new ProtocolError(`${message.t} out of place`)
    }
  }

  #onData(message: DataMessage): void {
    switch (message.t) {
      case 'chunk': {
        const reading = this.#reads.get(message.r)
        if (!reading) return
        // What we hold is what we granted, and one chunk: a sender that does not look at its credit is none to go on with.
        if (reading.credit <= 0) throw new ProtocolError(`read ${message.r} was sent more than it gave credit for`)
        reading.credit -= message.bytes.byteLength
        reading.queue.push(message)
        return reading.wake()
      }
      case 'end': {
        const reading = this.#reads.get(message.r)
        if (!reading) return
        reading.ended = true
        reading.error = message.error
        reading.job = message.job as JobSnapshot | undefined
        return reading.wake()
      }
      // A control message too large for its channel; whatever was said after it may be here already.
      case 'blob':
        return this.#onControl(checkControl(decode(message.bytes)))
      default:
        throw new ProtocolError(`${message.t} out of place`)
    }
  }

  /** Who waits for this answer; nobody any more, where it was given up. */
  #hear(id: number): Asked | undefined {
    const asked = this.#asked.get(id)
    if (asked?.kept !== false) this.#heard.push(id)
    return asked
  }

  #onOk({ id, value, w }: Extract<ControlMessage, { t: 'ok' }>): void {
    const asked = this.#hear(id)
    if (w !== undefined) {
      const job = (value as { instanceId?: unknown } | undefined)?.instanceId
      // It may have been given up meanwhile.
      if (asked?.session === undefined || typeof job !== 'string') this.#watches.decline(w)
      else this.#watches.begin(w, { session: asked.session, job }, value as object)
    }
    asked?.resolve(value)
  }

  async #answer({ id, to, event: asked, late, w }: Extract<ControlMessage, { t: 'ask' }>): Promise<void> {
    const abort = new AbortController()
    // Counted, and not looked up: one may be asked twice under one id. What only waits leaves room for what is to be done.
    const room = this.#roomOf((asked as { type?: unknown }).type)
    try {
      if (++room.open > room.most) throw new LimitError(`more than ${room.most} ${room.what} on one link`)
      this.#serving.set(id, abort)
      const event = checkEvent(asked)
      const value = await this.#serverOrRefuse().handle(this, to, event, id, abort.signal)
      if (late) this.#postLate(`ok ${id}`, () => ({ t: 'ok', id }))
      else if (w !== undefined && event.type === 'start') this.#answerWatched(id, w, to, value as JobSnapshot)
      else this.#post({ t: 'ok', id, value })
    } catch (error) {
      this.#post({ t: 'no', id, error: asError(error) })
    } finally {
      room.open--
      this.#serving.delete(id)
    }
  }

  #roomOf(type: unknown): Room {
    if (type === 'actor.ask') return this.#rooms.asks
    return POLLS.has(type as string) ? this.#rooms.polls : this.#rooms.requests
  }

  /** The answer is the first snapshot of what it tells of. */
  #answerWatched(id: number, w: number, to: Address, job: JobSnapshot): void {
    const over = isFinished(job.state) || !this.#tellings.room || this.#tellings.has(w)
    this.#post({ t: 'ok', id, value: job, ...(!over && { w }) })
    if (over || !this.open) return
    const of = { ...to, job: job.instanceId }
    this.#tellings.begin(w, of, (push) => this.#serverOrRefuse().watch(this, of, push), job)
  }

  /** Sends a read's chunks while there is credit. */
  async #pump(r: number, to: Address, request: ReadRequest, credit: number): Promise<void> {
    if (this.#pumps.has(r)) return this.abort(new ProtocolError(`read ${r} is open already`))
    if (this.#pumps.size >= OPEN_READS) {
      return this.#postData({ t: 'end', r, error: new LimitError(`more than ${OPEN_READS} reads open on one link`) })
    }
    let wake = Promise.withResolvers<void>()
    const pump = { credit, abort: new AbortController(), wake: () => wake.resolve() }
    this.#pumps.set(r, pump)
    const { signal } = pump.abort
    let reading: JobReading | undefined
    try {
      reading = this.#serverOrRefuse().read(this, to, request, signal)
      for (;;) {
        const step = await reading.next()
        if (signal.aborted) return
        if (step.done) {
          const job = step.value && (request.brief ? outcomeOf(step.value) : step.value)
          return this.#postData({ t: 'end', r, ...(job && { job }) })
        }
        while (pump.credit <= 0 && !signal.aborted) {
          await wake.promise
          wake = Promise.withResolvers<void>()
        }
        if (signal.aborted) return
        const { job, location, first, count, errors, from, bytes } = step.value
        pump.credit -= bytes.byteLength
        this.#sendLate()
        await this.#data.send({ t: 'chunk', r, job, location, first, count, errors, from, bytes } satisfies DataMessage)
      }
    } catch (error) {
      if (!signal.aborted) this.#postData({ t: 'end', r, error: asError(error) })
    } finally {
      await reading?.return(undefined)
      this.#pumps.delete(r)
    }
  }

  #serverOrRefuse(): LinkServer {
    if (!this.#server) throw new ProtocolError('this side answers no requests')
    return this.#server
  }

  // ── what goes out ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sent without waiting: control messages are small and few per request, and the channel's end is the news. */
  #post(message: ControlMessage): void {
    void this.#posted(message)
  }

  /** The same; settles when it has left. Never rejects. */
  #posted(message: ControlMessage): Promise<void> | undefined {
    if (!this.open) return undefined
    return this.#control.send(message).catch((error) => this.#unsent(message, asError(error)))
  }

  /**
   * Ahead of the next chunk or end, which show that it is so, or soon: each one alone would cost both ends as much as a
   * small run does. Under one key the last one counts.
   */
  #postLate(key: string, make: () => ControlMessage | undefined): void {
    if (!this.open) return
    this.#late.delete(key)
    this.#late.set(key, make)
    if (this.#late.size >= LATE_MOST) return this.#sendLate()
    // Not stopped when it has left before: what comes then may leave a little earlier.
    this.#lateTimer ??= setTimeout(() => {
      this.#lateTimer = undefined
      this.#sendLate()
    }, LATE_MS)
  }

  #sendLate(): void {
    if (this.#late.size === 0) return
    const late = [...this.#late.values()]
    this.#late.clear()
    for (const make of late) {
      const message = make()
      if (message) this.#post(message)
    }
  }

  /**
   * One too large for the control channel goes whole over the data channel, out of its order: only requests, answers and
   * snapshots can be, and who cares for the order waits for the answer. What cannot be sent at all is said to whoever
   * waits for it; anything else means that the link is gone.
   */
  #unsent(message: ControlMessage, error: Error): void {
    if (codeOf(error) !== 'FRAME_TOO_LARGE') return this.#undeliverable(message, error)
    // What follows must not overtake it: it goes the same way, and whole.
    const again = (message.t === 'ok' || message.t === 'state') && message.w !== undefined
    const whole = again ? this.#tellings.again(message.w!) : undefined
    if (message.t !== 'state') this.#postBlob(message)
    else if (whole) this.#postBlob(whole)
  }

  #postBlob(message: ControlMessage): void {
    void this.#postedBlob(message)
  }

  #postedBlob(message: ControlMessage): Promise<void> | undefined {
    if (!this.open) return undefined
    let bytes: Uint8Array
    try {
      bytes = encode(message)
    } catch (error) {
      this.#undeliverable(message, asError(error))
      return undefined
    }
    return this.#data
      .send({ t: 'blob', bytes } satisfies DataMessage)
      .catch((thrown) => this.#undeliverable(message, asError(thrown)))
  }

  #undeliverable(message: ControlMessage, error: Error): void {
    const own = ['FRAME_TOO_LARGE', 'NOT_TRANSFERABLE', 'TOO_LARGE'].includes(codeOf(error) ?? '')
    if (!own) return this.#broken(error)
    if (message.t === 'ask') this.#asked.get(message.id)?.reject(error)
    else if (message.t === 'ok') this.#post({ t: 'no', id: message.id, error })
    else if (message.t === 'no') {
      const { name, message: text } = message.error
      const plain = Object.assign(new Error(text.slice(0, 1000)), { name, code: codeOf(message.error) })
      this.#post({ t: 'no', id: message.id, error: plain })
    }
    if (message.t === 'ask' || message.t === 'ok' || message.t === 'no' || message.t === 'state') return
    this.#broken(error)
    // A snapshot that cannot travel is not news worth a link; whoever asks for the job gets the refusal.
  }

  #postData(message: DataMessage): void {
    if (!this.open) return
    this.#sendLate()
    this.#data.send(message).catch((error) => this.#broken(error))
  }

  #broken(error: unknown): void {
    // One that has ended takes nothing more, but what the other side said before it may still be to be read: the end comes
    // behind that.
    if (!this.#parting && codeOf(error) !== 'CHANNEL_CLOSED') this.abort(asError(error))
  }

  #lost(): PeerLostError {
    const cause = this.#ended?.error
    return new PeerLostError(
      `the link to ${this.peer} ended${cause ? `: ${cause.message}` : ''}; the outcome is unknown`,
      { cause },
    )
  }

  #end(error: Error | undefined): void {
    if (this.#ended) return
    this.#ended = { error }
    clearTimeout(this.#lateTimer)
    this.#late.clear()
    // The sibling channel must not outlive the one that ended.
    this.#control.abort(error)
    this.#data.abort(error)
    const lost = this.#lost()
    for (const { reject } of this.#asked.values()) reject(lost)
    for (const reading of this.#reads.values()) {
      if (reading.ended) continue
      reading.ended = true
      reading.error = lost
      reading.wake()
    }
    for (const pump of this.#pumps.values()) {
      pump.abort.abort()
      pump.wake()
    }
    for (const abort of this.#serving.values()) abort.abort(lost)
    this.#tellings.end()
    this.#watches.end(error)
  }
}

/** How it ended: of all that a snapshot says this is an eighth, and of an empty run the half of what travels. */
function outcomeOf({ state, reason, streamed, location, children }: JobSnapshot): JobOutcome {
  return { state, reason, streamed, location, children: children.map(outcomeOf) }
}
