// An actor on the peer that hosts it: XState's own actor of a machine, with an inbox before it that is bounded and drained in
// turns, and with what others may see of it.
//
// Nothing reaches the machine but through the inbox; what it says are records of the job that it is.
import { Buffer } from 'node:buffer'
import { isDeepStrictEqual } from 'node:util'
import { decode, decodeChunk, encode } from '@errand/transport'
import {
  createActor,
  type ActorScope,
  type ActorSystem,
  type AnyEventObject,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type StateValue,
} from 'xstate'
import { chunksOf, type InputEntry } from './actor-entry.ts'
import type { ActorJournal } from './actor-journal.ts'
import type { Numbered, Replayed } from './actor-replay.ts'
import { ActorInbox, signalOf, type Wanted } from './actor-inbox.ts'
import { Senders } from './actor-senders.ts'
import { shown, withoutActors, type ActorState } from './actor-state.ts'
import type { ActorInspection, ActorTransition, MachineDefinition } from './actor-surface.ts'
import { inspectActor } from './actor-inspection.ts'
import type { ActorTurns, Turned } from './actor-turns.ts'
import { acceptsOf, eventName } from './chart.ts'
import {
  ActorGoneError,
  asError,
  codeOf,
  EventNotAcceptedError,
  LimitError,
  OutcomeUnknownError,
  PeerClosedError,
  PeerLostError,
  plainError,
  ProtocolError,
  TimeoutError,
} from './errors.ts'
import type { Execution, ExecutionIO } from './engine/engine.ts'
import { Deadlines, type Deadline } from './deadlines.ts'
import { EventFeed, type FeedAnswer } from './event-feed.ts'
import type { ActorJob, Asker, HostedActor, TellAnswer } from './hosted-actor.ts'
import { type Accepted, KeptActor, type KeptKind } from './kept-actor.ts'
import { checkedEvent, type TypedEvent } from './machine-definition.ts'
import { hostOf, setHost, type MachineHost } from './machine-host.ts'
import { untilAborted } from './output-log.ts'
import { RecordWriter } from './record.ts'
import { ACTOR_ASKS_MOST, TELL_MOST } from './wire.ts'

/** How long a schema of an event may take, in ms. */
export const SCHEMA_MS = 30_000
/** An answer, in bytes: it goes in one message. */
export const REPLY_BYTES: number = 16 * 1024 * 1024 - 1024
/** What may wait for room, or for a schema, in bytes as it came: of all senders, of each of which one batch does. */
export const WAITING_BYTES: number = 32 * 1024 * 1024
/** Batches refused in part of which it is known what was refused. */
const REFUSALS_MOST = 64
/** What happened last, for people. */
const TRANSITIONS_KEPT = 16
/** How long it may take until watchers hear that an event was handled which has changed nothing else, in ms. */
const LATE_MS = 5
/** Timers that are shown, of which a machine may have any number. */
const TIMERS_SHOWN = 64

/** What an actor can ask of the peer it is on. */
export interface ActorSurroundings {
  readonly turns: ActorTurns
  /** Sends to an actor anywhere, in this one's name. @throws LimitError */
  tell(address: unknown, event: unknown): void
}

/** Of all questions that actors of this process are asked. */
const deadlines = new Deadlines()

/** A question, until it is answered: the first word counts. */
class Ask {
  readonly id: string
  readonly answer: Promise<Uint8Array>
  /** Nobody waits for its answer any more, or it is there. */
  over = false
  /** The machine has had it, or will in a later life: what becomes of it is known to nobody. */
  begun = false
  readonly #resolve: (value: Uint8Array) => void
  readonly #reject: (error: Error) => void
  #wanted: AbortController | undefined

  constructor(id: string) {
    this.id = id
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    promise.catch(() => undefined) // it may be over before anybody waits for it here
    this.answer = promise
    this.#resolve = resolve
    this.#reject = reject
  }

  /** Aborts when it is over. For what has to wait on its way, which few do. */
  get signal(): AbortSignal {
    this.#wanted ??= new AbortController()
    if (this.over) this.#wanted.abort()
    return this.#wanted.signal
  }

  resolve(value: Uint8Array): void {
    this.#resolve(value)
    this.end()
  }

  reject(error: Error): void {
    this.#reject(error)
    this.end()
  }

  end(): void {
    this.over = true
    this.#wanted?.abort()
  }
}

interface Item {
  readonly event: TypedEvent
  readonly bytes: number
  readonly ask?: Ask | undefined
  /** Who has sent it, and its number there. */
  readonly sent?: readonly [from: string, seq: number] | undefined
  /** Of one that is kept: what its journal says of it. */
  readonly entry?: Numbered<InputEntry> | undefined
}

/** What a durable machine is kept in; `was`: how it was found there. */
export interface KeptIn {
  readonly journal: ActorJournal
  readonly was?: Replayed | undefined
  /** Records that it has said before. */
  readonly said: number
  /** Of one that had ended: its last one among them, its output or its error. */
  readonly saidLast: boolean
  /** Its store takes nothing any more: it stands still where it was, as far as that is written. */
  stranded(error: Error): void
}

interface Place {
  readonly value: StateValue
  readonly tags: readonly string[]
  readonly accepts: readonly string[]
}

type AnyScope = ActorScope<AnyMachineSnapshot, AnyEventObject, ActorSystem<any>>

/** The same machines, but for that the host hears of whatever has reached them. */
const noted = new WeakMap<AnyStateMachine, AnyStateMachine>()

/**
 * A machine whose host is told of each event, its own among them: a timer, the end of what it runs. XState's inspection says
 * so too, of everything in the system, at a third of the speed.
 */
function notedMachine(machine: AnyStateMachine): AnyStateMachine {
  let made = noted.get(machine)
  if (made) return made
  const transition = (before: AnyMachineSnapshot, event: AnyEventObject, scope: AnyScope): AnyMachineSnapshot => {
    const host = hostOf(scope.system) as ActorHost | undefined
    try {
      const after = machine.transition(before, event, scope) as AnyMachineSnapshot
      if (event.type !== 'xstate.stop') host?.took(event, before, after)
      return after
    } catch (error) {
      host?.took(event, before, undefined)
      throw error
    }
  }
  made = Object.create(machine, { transition: { value: transition } }) as AnyStateMachine
  noted.set(machine, made)
  return made
}

export class ActorHost implements HostedActor, MachineHost, Execution, Turned {
  readonly definition: MachineDefinition
  readonly epoch: number
  readonly #io: ExecutionIO
  readonly #around: ActorSurroundings
  readonly #writer: RecordWriter
  readonly #actor: ReturnType<typeof createActor<AnyStateMachine>>
  readonly #types: readonly string[]
  readonly #inbox = new ActorInbox<Item>()
  readonly #senders: Senders
  /** Of a durable one: through which all goes that it handles. */
  readonly #kept: KeptActor | undefined
  readonly #was: Replayed | undefined
  readonly #saidLast: boolean = false
  /** Those that are on their way to the disk, by the number of their first entry. */
  #coming: Map<number, readonly Item[]> | undefined
  /** Of a sender whose last batch was refused in part: where that answer was lost, the batch is asked for again. */
  #refusals: Map<string, { readonly seq: number; readonly answer: TellAnswer }> | undefined
  /** Of each sender what waits for room, or for a schema: what it sends next comes behind that. */
  readonly #entering = new Map<string, Promise<unknown>>()
  /** In bytes, of all of them. */
  #waiting = 0
  #asks: Map<string, Ask> | undefined
  /** Of the event that is being handled. */
  #asking: Ask | undefined
  /** The last one that its state had no transition for. */
  #ignored: AnyEventObject | undefined
  #lastAsk = 0
  /** An ask of an earlier life is none of this one's, though its name may lie in the context. */
  readonly #asksOf: string
  #handled = 0
  #said = 0
  #suspended = false
  /** Why it is no more; made when somebody is to be told: to most of those that end nobody speaks any more. */
  #over: Error | (() => Error) | undefined
  readonly #watchers = new Set<(state: ActorState) => void>()
  /** Told in this turn. */
  #telling = false
  #untold = false
  /** As it was told last. */
  #told: AnyMachineSnapshot | undefined
  #late: NodeJS.Timeout | undefined
  #state: ActorState | undefined
  #context: { of: unknown; bytes: Uint8Array } | undefined
  #in: Place | undefined
  readonly #transitions: ActorTransition[] = []
  #listeners: Set<(transition: ActorTransition) => void> | undefined
  #feed: EventFeed<ActorTransition> | undefined

  /** `input` has been checked. What the machine throws at its start is its ending. */
  constructor(
    definition: MachineDefinition,
    input: unknown,
    epoch: number,
    io: ExecutionIO,
    around: ActorSurroundings,
    kept?: KeptIn,
  ) {
    this.definition = definition
    this.epoch = epoch
    this.#io = io
    this.#around = around
    this.#types = Object.keys(definition.events)
    this.#writer = new RecordWriter((chunk) => io.chunk(chunk))
    const logger = (...said: unknown[]): void => this.#say('information', said.length === 1 ? said[0] : said)
    this.#asksOf = kept ? `${epoch}.${crypto.randomUUID().slice(0, 8)}` : `${epoch}`
    if (kept) {
      const keptHome = this.#home(kept)
      this.#kept = new KeptActor(definition as KeptKind, kept.journal, keptHome, { epoch, input, logger }, kept.was)
      this.#actor = this.#kept.actor
      this.#was = kept.was
      this.#saidLast = kept.saidLast
      this.#said = kept.said
    } else
      this.#actor = createActor(notedMachine(definition.machine as AnyStateMachine), { input: input as never, logger })
    this.#senders = this.#kept?.senders ?? new Senders()
    setHost(this.#actor.system, this)
    this.#actor.on('*', (emitted) => this.#say('output', emitted))
    this.#actor.subscribe({
      next: () => this.#changed(),
      error: (error) => this.#end({ outcome: 'failed', error: plainError(error) }),
      complete: () => this.#onComplete(),
    })
  }

  /** Of a durable one it settles when it may be sent to. */
  start(): void | Promise<void> {
    if (!this.#kept) return void this.#actor.start()
    if (!this.#hadEnded()) return this.#kept.start()
  }

  /** It came to its end in an earlier life, and its job's end was not on disk yet. */
  #hadEnded(): boolean {
    const { over, status, snapshot } = this.#was ?? {}
    if (!over && (status ?? 'active') === 'active') return false
    const how = over?.how ?? status
    const said = this.#saidLast
    if (how === 'done') this.#complete(snapshot?.output, !said)
    else if (how === 'error')
      this.#end({ outcome: 'failed', error: asError(over ? over.error : snapshot!.error), said })
    else this.#end({ outcome: 'stopped' })
    return true
  }

  /** What a durable one needs of us. */
  #home(kept: KeptIn): ConstructorParameters<typeof KeptActor>[2] {
    const ready = (): boolean => this.#ready
    return {
      get ready() {
        return ready()
      },
      came: (entries) => {
        const first = entries[0]?.[0]
        const items = first === undefined ? undefined : this.#coming?.get(first)
        for (const [index, entry] of entries.entries()) {
          const { bytes = 0, ask } = items?.[index] ?? {}
          this.#inbox.put({ event: eventOf(entry[1]), bytes, entry, ask })
        }
        this.#wake()
      },
      begun: () => this.#wake(),
      took: (event, before, after) => this.took(event, before, after),
      lost: (error) => {
        this.#actor.stop()
        if (!codeOf(error)?.startsWith('STORE_')) return this.#end({ outcome: 'failed', error })
        this.#close(error)
        kept.stranded(error)
      },
    }
  }

  get actor(): this {
    return this
  }

  // ── what comes in ───────────────────────────────────────────────────────────────────────────────────────────────────

  async tell(from: string, seq: number, count: number, bytes: Uint8Array, signal?: AbortSignal): Promise<TellAnswer> {
    this.#throwIfOver()
    const { answer, taken } = await this.#enter(from, bytes.byteLength, () =>
      this.#tellIn(from, seq, count, bytes, signal),
    )
    // Of a durable one: answered when they are on disk, while the next batch is on its way already.
    await taken
    return answer
  }

  async #tellIn(
    from: string,
    seq: number,
    count: number,
    bytes: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<{ answer: TellAnswer; taken: Promise<void> | undefined }> {
    signal?.throwIfAborted()
    const before = this.#refusals?.get(from)
    if (before?.seq === seq) return { answer: before.answer, taken: this.#kept?.settled }
    const events = decodeChunk(bytes)
    if (events.length !== count || count > TELL_MOST)
      throw new ProtocolError(`a batch of ${events.length}, not ${count}`)
    const refused: [number, Error][] = []
    // Looked at only now: what came before it may have been the same batch, over a link that is gone, or of an earlier life.
    const isNew = events.map((_, index) => this.#senders.isNew(from, seq + index))
    // That one says of none of them that was not taken that it was.
    const checking = events.map((event) => this.#checked(event, signal))
    const items: Item[] = []
    const size = Math.ceil(bytes.byteLength / count)
    for (const [index, one] of checking.entries()) {
      const event = one instanceof Promise ? await one : one
      if (event instanceof Error) {
        refused.push([index, event])
        continue
      }
      const item = this.#kept ? { event, bytes: size, sent: [from, seq + index] as const } : { event, bytes: size }
      if (isNew[index]) items.push(item)
      else if (this.#kept) for (const [, why] of unwritable(item)) refused.push([index, why])
    }
    signal?.throwIfAborted()
    const room = this.#roomFor(items, signal)
    if (room && !(await room)) this.#throwIfOver()
    const taken = this.#take(items, ({ sent }, error) => refused.push([sent![1] - seq, error]))
    this.#senders.took(from, seq + count - 1)
    const answer = refused.length > 0 ? { refused } : {}
    this.#remember(from, seq, answer)
    return { answer, taken }
  }

  #remember(from: string, seq: number, answer: TellAnswer): void {
    this.#refusals?.delete(from)
    if (!answer.refused) return
    const refusals = (this.#refusals ??= new Map()).set(from, { seq, answer })
    const [oldest] = refusals.keys()
    if (refusals.size > REFUSALS_MOST && oldest !== undefined) refusals.delete(oldest)
  }

  async ask(bytes: Uint8Array, timeout: number, signal?: AbortSignal, by: Asker = {}): Promise<Uint8Array> {
    this.#throwIfOver()
    signal?.throwIfAborted()
    const { name } = this.definition
    const asks = (this.#asks ??= new Map())
    if (asks.size >= ACTOR_ASKS_MOST) throw new LimitError(`${name} has ${ACTOR_ASKS_MOST} questions to answer already`)
    const ask = new Ask(`${this.#asksOf}.${++this.#lastAsk}`)
    asks.set(ask.id, ask)
    let watched: Deadline | undefined
    const late = (): void => ask.reject(new OutcomeUnknownError(`${name} gave no answer within ${timeout} ms`))
    const given = (): void => {
      const reason = asError(signal?.reason)
      ask.reject(
        ask.begun ? new OutcomeUnknownError(`${name} was asked, and is not any more`, { cause: reason }) : reason,
      )
    }
    try {
      const { from = '' } = by
      // In this very call where nothing is before it and nothing has to be waited for: most are answered by then.
      const entering = this.#entering.has(from)
        ? this.#enter(from, bytes.byteLength, async () => this.#askIn(bytes, ask, by))
        : this.#askIn(bytes, ask, by)
      if (entering) {
        entering.catch((error: unknown) => ask.reject(asError(error)))
        if (!this.#entering.has(from)) void this.#enter(from, bytes.byteLength, () => entering).catch(() => undefined)
      }
      if (!ask.over) {
        watched = deadlines.after(timeout, late)
        signal?.addEventListener('abort', given, { once: true })
      }
      return await ask.answer
    } finally {
      ask.end()
      if (watched) {
        watched.end()
        signal?.removeEventListener('abort', given)
      }
      asks.delete(ask.id)
    }
  }

  /** A promise where it has to wait. @throws what keeps it from being handled */
  #askIn(bytes: Uint8Array, ask: Ask, by: Asker): void | Promise<void> {
    if (ask.over) return
    const { from, seq } = by
    if (from !== undefined && seq !== undefined && !this.#senders.isNew(from, seq))
      throw new PeerLostError(
        'its link was lost on the way, and what was sent later has come before it: it is not handled',
      )
    const event = decode(bytes)
    const checked = this.#checked(event, () => ask.signal)
    if (checked instanceof Promise) return checked.then((one) => this.#askChecked(one, bytes.byteLength, ask, by))
    return this.#askChecked(checked, bytes.byteLength, ask, by)
  }

  #askChecked(event: TypedEvent | Error, bytes: number, ask: Ask, { from, seq }: Asker): void | Promise<void> {
    if (event instanceof Error) throw event
    const numbered = from !== undefined && seq !== undefined
    const items: Item[] = [{ event, bytes, ask, ...(numbered && { sent: [from, seq] as const }) }]
    const enter = (): void => {
      void this.#take(items, (_, error) => ask.reject(error))
      if (numbered) this.#senders.took(from, seq)
    }
    const room = this.#roomFor(items, () => ask.signal)
    if (!room) return enter()
    return room.then((entered) => {
      if (!entered) this.#throwIfOver()
      enter()
    })
  }

  /** Undefined: there is room, and it is theirs. False: it has ended meanwhile. @throws (rejects with) the signal's reason */
  #roomFor(items: readonly Item[], signal: Wanted): Promise<boolean> | undefined {
    // Of a durable one they come in when they are on disk.
    return this.#kept ? this.#inbox.reserve(items, signal) : this.#inbox.enter(items, signal)
  }

  /**
   * Undefined: they are in the inbox. Of a durable one it settles when they are on disk; `refuse` hears at once of those that
   * cannot be written down. @throws StoreError, PeerClosedError: none of them is taken
   */
  #take(items: readonly Item[], refuse: (item: Item, error: Error) => void): Promise<void> | undefined {
    if (this.#kept) return this.#takeKept(this.#kept, items, refuse)
    this.#wake()
    return undefined
  }

  #takeKept(kept: KeptActor, items: readonly Item[], refuse: (item: Item, error: Error) => void): Promise<void> {
    // Asked again, it has been taken, and may not be on disk yet.
    if (items.length === 0) return kept.settled
    let accepted: Accepted
    try {
      accepted = kept.accept(items.map(entryOf))
    } catch (error) {
      const unfit = new Map(items.flatMap(unwritable))
      this.#inbox.release(unfit.size > 0 ? [...unfit.keys()] : items)
      if (unfit.size === 0) throw error
      for (const [item, why] of unfit) refuse(item, why)
      const rest = items.filter((item) => !unfit.has(item))
      return this.#takeKept(kept, rest, refuse)
    }
    const { first, told } = accepted
    // From here on it may be handled, in this life or in a later one.
    for (const { ask } of items) if (ask) ask.begun = true
    const coming = (this.#coming ??= new Map()).set(first, items)
    const taken = told.finally(() => {
      coming.delete(first)
      this.#inbox.release(items)
    })
    taken.catch(() => undefined) // who asks waits for its answer
    return taken
  }

  /** It handles what comes. Who reads what it says sets its pace too. */
  get #ready(): boolean {
    return !this.#suspended && !this.#writer.full && !this.#over
  }

  /** As its schema makes it, or why not. A promise, which does not reject, where that takes its time. */
  #checked(event: unknown, signal: Wanted): TypedEvent | Error | Promise<TypedEvent | Error> {
    try {
      const checked = checkedEvent(this.definition, event)
      return checked instanceof Promise ? this.#settled(checked, signalOf(signal)) : checked
    } catch (error) {
      return plainError(error)
    }
  }

  /** One that never settles holds up nobody but who sends such events, and that one not for ever. */
  async #settled(checked: Promise<TypedEvent>, signal: AbortSignal | undefined): Promise<TypedEvent | Error> {
    const late = Promise.withResolvers<Error>()
    const timer = setTimeout(
      () => late.resolve(new TimeoutError(`the schema of an event has not settled within ${SCHEMA_MS} ms`)),
      SCHEMA_MS,
    )
    const settled = Promise.race([checked.catch(plainError), late.promise])
    await untilAborted(settled, signal)
    clearTimeout(timer)
    return signal?.aborted ? asError(signal.reason) : settled
  }

  /** Behind whatever of this sender's waits already. @throws LimitError */
  #enter<T>(from: string, bytes: number, enter: () => Promise<T>): Promise<T> {
    if (this.#waiting > 0 && this.#waiting + bytes > WAITING_BYTES)
      throw new LimitError(`more than ${WAITING_BYTES >> 20} MiB wait to be sent to ${this.definition.name}`)
    this.#waiting += bytes
    const before = this.#entering.get(from)
    const entering = before ? before.then(enter) : enter()
    const settled: Promise<unknown> = entering
      .catch(() => undefined)
      .then(() => {
        this.#waiting -= bytes
        if (this.#entering.get(from) === settled) this.#entering.delete(from)
      })
    this.#entering.set(from, settled)
    return entering
  }

  #wake(): void {
    if (this.#inbox.size > 0 && this.#ready) this.#around.turns.ready(this)
  }

  // ── its turn ────────────────────────────────────────────────────────────────────────────────────────────────────────

  step(): boolean {
    const item = this.#inbox.next
    if (!item || !this.#ready || (item.entry && !this.#kept!.mayHandle(item.entry[0]))) return false
    this.#inbox.take()
    try {
      // What is written down reaches it, whoever still waits for that.
      if (item.entry || !item.ask?.over) this.#handle(item)
    } catch (error) {
      // XState catches what a machine throws; whatever else there is, it is this actor's end, and no other's.
      this.#end({ outcome: 'failed', error: plainError(error) })
    }
    return this.#inbox.size > 0
  }

  #handle({ event, ask, entry }: Item): void {
    if (ask) ask.begun = true
    this.#asking = ask
    this.#ignored = undefined
    try {
      if (!entry) this.#actor.send(event)
      else if (!this.#kept!.handle(...entry)) return
    } finally {
      this.#asking = undefined
    }
    // Nothing was done about it, and nobody would ever answer.
    if (ask && this.#hasIgnored(entry?.[1].kind === 'event' ? entry[1].event : event)) {
      const { value } = this.#actor.getSnapshot() as AnyMachineSnapshot
      ask.reject(new EventNotAcceptedError(this.definition.name, event.type, JSON.stringify(value)))
    }
  }

  #hasIgnored(event: unknown): boolean {
    return this.#ignored === event
  }

  /**
   * The machine has handled an event, whoever it came from; before anybody sees what came of it. `after`: none where it threw.
   */
  took(event: AnyEventObject, before: AnyMachineSnapshot, after: AnyMachineSnapshot | undefined): void {
    // What does something and changes nothing gives the same snapshot as what is not taken at all; what was answered is taken.
    const ignored = after === before && !this.#asking?.over && !isTaken(before, event)
    if (ignored) this.#ignored = event
    const transition: ActorTransition = {
      seq: this.#kept?.handled ?? ++this.#handled,
      at: new Date(),
      event: eventName(this.definition.machine as AnyStateMachine, event.type),
      from: before.value,
      to: (after ?? before).value,
      ...(ignored && { ignored }),
    }
    if (this.#transitions.push(transition) > TRANSITIONS_KEPT) this.#transitions.shift()
    if (this.#listeners) for (const listener of this.#listeners) listener(transition)
  }

  /** Events that it has handled, in all its lives. */
  get #seq(): number {
    return this.#kept?.handled ?? this.#handled
  }

  /** What a machine's `reply` says: to this ask, or to the one it handles. Nobody asked: nothing. */
  reply(value: unknown, to?: string): void {
    const ask = to === undefined ? this.#asking : this.#asks?.get(to)
    if (!ask) return
    try {
      ask.resolve(encode(value, { limits: { bytes: REPLY_BYTES } }))
    } catch (error) {
      // It was handled: who hears of an error asks again.
      const { name } = this.definition
      ask.reject(new OutcomeUnknownError(`${name} gave an answer that cannot travel`, { cause: plainError(error) }))
    }
  }

  /** Names the ask that is being handled, for a later `reply`. */
  get asking(): string | undefined {
    return this.#asking?.id
  }

  /** Sends to an actor anywhere, for one of its actions. That it cannot be sent is said, and is not this one's end. */
  tellOther(address: unknown, event: unknown): void {
    try {
      this.#around.tell(address, event)
    } catch (error) {
      this.#say('warning', `${this.definition.name} could not send to another actor: ${asError(error).message}`)
    }
  }

  // ── what it says ────────────────────────────────────────────────────────────────────────────────────────────────────

  #say(kind: 'output' | 'information' | 'warning', value: unknown): void {
    try {
      this.#writer.write(kind, value)
      this.#said++
    } catch (error) {
      this.#end({ outcome: 'failed', error: asError(error) })
    }
  }

  #onComplete(): void {
    const { status, output } = this.#actor.getSnapshot() as AnyMachineSnapshot
    if (status === 'done') this.#complete(output, true)
  }

  #complete(output: unknown, says: boolean): void {
    this.#kept?.over('done', this.#said)
    if (says && output !== undefined) this.#say('output', output)
    // Whether its last record is its output: who comes after its end finds it there.
    this.#end({ outcome: 'completed', streamed: output === undefined })
  }

  #end(ending: Parameters<ExecutionIO['ended']>[0]): void {
    if (this.#over) return
    const { outcome } = ending
    const error = 'error' in ending ? ending.error : undefined
    if (outcome !== 'completed') this.#kept?.over(outcome === 'failed' ? 'error' : 'stopped', this.#said, error)
    const how = outcome === 'completed' ? 'has done its work' : outcome === 'failed' ? 'has failed' : 'was stopped'
    this.#close(() => new ActorGoneError(`${this.definition.name} ${how}`, error ? { cause: error } : {}))
    this.#halt()
    this.#io.ended(ending)
  }

  #close(why: Error | (() => Error)): void {
    this.#over = why
    this.#state = undefined
    clearTimeout(this.#late)
    this.#inbox.close()
    if (this.#asks?.size) {
      const cause = this.#gone()
      const unanswered = new OutcomeUnknownError(`${this.definition.name} has ended without an answer`, { cause })
      for (const ask of this.#asks.values()) ask.reject(ask.begun ? unanswered : cause)
    }
    this.#feed?.end(this.#gone())
    this.#writer.end()
  }

  /** Nothing of it goes on. XState leaves what a machine runs at work where one of its actions has thrown. */
  #halt(): void {
    this.#actor.stop()
    const { children = {} } = this.#actor.getSnapshot() as Partial<AnyMachineSnapshot>
    for (const child of Object.values(children)) (child as unknown as { _stop(): void })._stop()
  }

  #gone(): Error {
    const over = this.#over!
    return typeof over === 'function' ? (this.#over = over()) : over
  }

  #throwIfOver(): void {
    if (this.#over) throw this.#gone()
  }

  // ── as an execution ─────────────────────────────────────────────────────────────────────────────────────────────────

  credit(bytes: number): void {
    this.#writer.credit(bytes)
    this.#wake()
  }

  stop(): void {
    this.#end({ outcome: 'stopped' })
  }

  /** Of a durable one: its peer goes down, and it goes on with the next one. Settles when what it was sent is on disk. */
  async leave(): Promise<void> {
    if (this.#over) return
    this.#close(new PeerClosedError())
    await this.#kept?.leave()
  }

  suspend(): void {
    this.#suspended = true
    this.#io.suspended?.()
  }

  resume(): void {
    this.#suspended = false
    this.#wake()
  }

  // ── what others see ─────────────────────────────────────────────────────────────────────────────────────────────────

  watch(listener: (state: ActorState) => void): () => void {
    this.#watchers.add(listener)
    listener(this.state())
    return () => this.#watchers.delete(listener)
  }

  /** Its end has been said. */
  get over(): boolean {
    return this.#over !== undefined
  }
  get watchers(): number {
    return this.#watchers.size
  }
  get inbox(): number {
    return this.#inbox.size
  }
  /** It is written down, and goes on with the next start of its peer. */
  get durable(): boolean {
    return this.#kept !== undefined
  }
  get value(): StateValue {
    return (this.#actor.getSnapshot() as AnyMachineSnapshot).value
  }
  get transitions(): readonly ActorTransition[] {
    return this.#transitions
  }
  /** What it will send itself, the next first; timers of what it runs are none of its own. */
  get timers(): ActorInspection['timers'] {
    const machine = this.definition.machine as AnyStateMachine
    return this.#scheduled()
      .map(({ event, due }) => ({ event: eventName(machine, event), due }))
      .toSorted((a, b) => a.due.getTime() - b.due.getTime())
      .slice(0, TIMERS_SHOWN)
  }

  #scheduled(): readonly { readonly event: string; readonly due: Date }[] {
    if (this.#kept) return this.#kept.timers
    const { _scheduledEvents: scheduled } = this.#actor.system.getSnapshot()
    return Object.values(scheduled)
      .filter(({ source, target }) => source === this.#actor && target === this.#actor)
      .map(({ event, startedAt, delay }) => ({ event: event.type, due: new Date(startedAt + delay) }))
  }

  happened(cursor: string | undefined, signal: AbortSignal | undefined): Promise<FeedAnswer<ActorTransition>> {
    this.#feed ??= new EventFeed((tell) => this.follow(tell))
    return this.#feed.since(cursor, signal)
  }

  /** When it has ended: whoever follows it has been told all. Undefined: nobody does. */
  get toldAll(): Promise<void> | undefined {
    return this.#feed?.toldAll
  }

  /** Everything that happens in it from now on. */
  follow(listener: (transition: ActorTransition) => void): () => void {
    const listeners = (this.#listeners ??= new Set()).add(listener)
    return () => listeners.delete(listener)
  }

  inspect(job: ActorJob): ActorInspection {
    return inspectActor(job, this)
  }

  state(): ActorState {
    return (this.#state ??= this.#shown())
  }

  #shown(): ActorState {
    const snapshot = this.#actor.getSnapshot() as AnyMachineSnapshot
    const { status, output, error } = snapshot
    const { value, tags, accepts } = this.#place(snapshot)
    return {
      status,
      epoch: this.epoch,
      seq: this.#seq,
      value,
      tags,
      accepts: status === 'active' ? accepts : [],
      context: this.#shownContext(snapshot),
      ...(output !== undefined && { output: shown(output) }),
      ...(status === 'error' && { reason: asError(error) }),
    }
  }

  /** What follows from the states it is in; the same objects for as long as it is in them, which is what their readers look at. */
  #place(snapshot: AnyMachineSnapshot): Place {
    const { value, tags } = snapshot
    if (!this.#in || !isDeepStrictEqual(this.#in.value, value)) {
      this.#in = { value, tags: [...tags], accepts: acceptsOf(snapshot, this.#types) }
    }
    return this.#in
  }

  #shownContext(snapshot: AnyMachineSnapshot): Uint8Array {
    const { project } = this.definition
    let of: unknown
    try {
      of = project ? project(snapshot) : snapshot.context
    } catch (error) {
      // A projection that throws shows why, and is nobody's end.
      return shown(asError(error))
    }
    if (this.#context?.of !== of || typeof of !== 'object') {
      const bytes = shown(project ? of : withoutActors(of))
      // Most projections make an object anew each time, of what has not changed.
      const same = this.#context && Buffer.compare(this.#context.bytes, bytes) === 0
      this.#context = { of, bytes: same ? this.#context!.bytes : bytes }
    }
    return this.#context!.bytes
  }

  /**
   * At most once a turn: in it, so that it leaves with the answer to what has changed it, as one write. That an event has
   * changed nothing is no news that anybody waits for.
   */
  #changed(): void {
    this.#state = undefined
    this.#untold = true
    if (this.#watchers.size === 0 || this.#telling) return
    if (this.#isAsTold()) {
      this.#late ??= setTimeout(() => this.#tell(), LATE_MS)
      return
    }
    this.#telling = true
    queueMicrotask(() => this.#tell())
    setImmediate(() => {
      this.#telling = false
      if (this.#untold) this.#changed()
    })
  }

  #isAsTold(): boolean {
    const { context, value, status } = this.#actor.getSnapshot() as AnyMachineSnapshot
    const told = this.#told
    return told !== undefined && told.context === context && status === 'active' && isDeepStrictEqual(told.value, value)
  }

  #tell(): void {
    clearTimeout(this.#late)
    this.#late = undefined
    // Its end is told with the job's, when that is known for good.
    if (this.#over || !this.#untold) return
    this.#untold = false
    this.#told = this.#actor.getSnapshot() as AnyMachineSnapshot
    const state = this.state()
    for (const watcher of [...this.#watchers]) watcher(state)
  }
}

function entryOf({ event, sent }: Item): InputEntry {
  return { kind: 'event', at: Date.now(), event, ...(sent && { from: sent[0], seq: sent[1] }) }
}

/** Of one that cannot be written down: it, and why. */
function unwritable(item: Item): [Item, Error][] {
  try {
    chunksOf([entryOf(item)])
    return []
  } catch (error) {
    return [[item, asError(error)]]
  }
}

/** What it is to the machine. */
function eventOf(entry: InputEntry): TypedEvent {
  switch (entry.kind) {
    case 'event':
      return entry.event
    case 'timer':
      return { type: entry.type }
    case 'settled':
      return { type: `xstate.${entry.failed ? 'error' : 'done'}.actor.${entry.child}` }
  }
}

/** Whether its state does anything on it. A guard that throws does so again when it is handled, which is the machine's end. */
function isTaken(snapshot: AnyMachineSnapshot, event: AnyEventObject): boolean {
  try {
    return snapshot.can(event)
  } catch {
    return true
  }
}
