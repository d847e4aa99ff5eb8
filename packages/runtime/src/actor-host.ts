// An actor on the peer that hosts it: XState's own actor of a machine, with an inbox before it that is bounded and drained in
// turns, and with what others may see of it.
//
// Nothing reaches the machine but through the inbox; what it says are records of the job that it is.
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
import { ActorInbox } from './actor-inbox.ts'
import { Senders } from './actor-senders.ts'
import { shown, withoutActors, type ActorState } from './actor-state.ts'
import type { ActorInspection, ActorTransition, MachineDefinition } from './actor-surface.ts'
import type { ActorTurns, Turned } from './actor-turns.ts'
import { acceptsOf, eventName } from './chart.ts'
import {
  ActorGoneError,
  asError,
  EventNotAcceptedError,
  LimitError,
  OutcomeUnknownError,
  PeerLostError,
  plainError,
  ProtocolError,
  TimeoutError,
} from './errors.ts'
import type { Execution, ExecutionIO } from './engine/engine.ts'
import { EventFeed, type FeedAnswer } from './event-feed.ts'
import { checkedEvent, type TypedEvent } from './machine-definition.ts'
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
/** Timers that are shown, of which a machine may have any number. */
const TIMERS_SHOWN = 64

/** What came of a batch: those that were refused, by their place in it. The others are in the inbox. */
export interface TellAnswer {
  readonly refused?: readonly (readonly [index: number, error: Error])[] | undefined
}

/** What an actor can ask of the peer it is on. */
export interface ActorSurroundings {
  readonly turns: ActorTurns
  /** Sends to an actor anywhere, in this one's name. @throws LimitError */
  tell(address: unknown, event: unknown): void
}

interface Ask {
  readonly id: string
  readonly resolve: (value: Uint8Array) => void
  readonly reject: (error: Error) => void
  /** The machine has had it: what becomes of it is not known to nobody. */
  begun: boolean
  /** Aborts when nobody waits for its answer any more. */
  readonly over: AbortSignal
}

/** Who asks, and the number of that among what it sends. */
export interface Asker {
  readonly from?: string | undefined
  readonly seq?: number | undefined
}

interface Item {
  readonly event: TypedEvent
  readonly bytes: number
  readonly ask?: Ask | undefined
}

/**
 * Whose actions are asking: by the system of the machine, which its children share. One per process: a machine's module may
 * have a copy of this package of its own.
 */
const HOSTS = Symbol.for('errand.actor-hosts')
const hosts = ((globalThis as Record<symbol, unknown>)[HOSTS] ??= new WeakMap()) as WeakMap<ActorSystem<any>, ActorHost>

/** The host of the actor whose action this is. @throws UsageError where nobody hosts it */
export function hostOf(system: ActorSystem<any>): ActorHost | undefined {
  return hosts.get(system)
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
    const host = hosts.get(scope.system)
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

export class ActorHost implements Execution, Turned {
  readonly definition: MachineDefinition
  readonly epoch: number
  readonly #io: ExecutionIO
  readonly #around: ActorSurroundings
  readonly #writer: RecordWriter
  readonly #actor: ReturnType<typeof createActor<AnyStateMachine>>
  readonly #types: readonly string[]
  readonly #inbox = new ActorInbox<Item>()
  readonly #senders = new Senders()
  /** Of a sender whose last batch was refused in part: where that answer was lost, the batch is asked for again. */
  readonly #refusals = new Map<string, { readonly seq: number; readonly answer: TellAnswer }>()
  /** Of each sender what waits for room, or for a schema: what it sends next comes behind that. */
  readonly #entering = new Map<string, Promise<unknown>>()
  /** In bytes, of all of them. */
  #waiting = 0
  readonly #asks = new Map<string, Ask>()
  /** Of the event that is being handled. */
  #asking: Ask | undefined
  #lastAsk = 0
  #seq = 0
  #suspended = false
  #over: Error | undefined
  readonly #watchers = new Set<(state: ActorState) => void>()
  #telling = false
  #state: ActorState | undefined
  #context: { of: unknown; bytes: Uint8Array } | undefined
  readonly #transitions: ActorTransition[] = []
  readonly #listeners = new Set<(transition: ActorTransition) => void>()
  #feed: EventFeed<ActorTransition> | undefined

  /** `input` has been checked. What the machine throws at its start is its ending. */
  constructor(
    definition: MachineDefinition,
    input: unknown,
    epoch: number,
    io: ExecutionIO,
    around: ActorSurroundings,
  ) {
    this.definition = definition
    this.epoch = epoch
    this.#io = io
    this.#around = around
    this.#types = Object.keys(definition.events)
    this.#writer = new RecordWriter((chunk) => io.chunk(chunk))
    this.#actor = createActor(notedMachine(definition.machine as AnyStateMachine), {
      input: input as never,
      logger: (...said: unknown[]) => this.#say('information', said.length === 1 ? said[0] : said),
    })
    hosts.set(this.#actor.system, this)
    this.#actor.on('*', (emitted) => this.#say('output', emitted))
    this.#actor.subscribe({
      next: () => this.#changed(),
      error: (error) => this.#end({ outcome: 'failed', error: plainError(error) }),
      complete: () => this.#onComplete(),
    })
  }

  start(): void {
    this.#actor.start()
  }

  get actor(): this {
    return this
  }

  // ── what comes in ───────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * A batch of one sender's. Settles when it is in the inbox: while that is full, the sender waits.
   * @throws ActorGoneError, ProtocolError; LimitError: too much waits already
   */
  async tell(from: string, seq: number, count: number, bytes: Uint8Array, signal?: AbortSignal): Promise<TellAnswer> {
    this.#throwIfOver()
    return this.#enter(from, bytes.byteLength, async () => {
      signal?.throwIfAborted()
      const before = this.#refusals.get(from)
      if (before?.seq === seq) return before.answer
      const events = decodeChunk(bytes)
      if (events.length !== count || count > TELL_MOST)
        throw new ProtocolError(`a batch of ${events.length}, not ${count}`)
      const refused: [number, Error][] = []
      // Looked at only now: what came before it may have been the same batch, over a link that is gone.
      const checking = events.map((event, index) =>
        this.#senders.isNew(from, seq + index) ? this.#checked(event, signal) : undefined,
      )
      const items: Item[] = []
      const size = bytes.byteLength / count
      for (const [index, one] of checking.entries()) {
        if (one === undefined) continue
        const event = one instanceof Promise ? await one : one
        if (event instanceof Error) refused.push([index, event])
        else items.push({ event, bytes: size })
      }
      signal?.throwIfAborted()
      const room = this.#inbox.enter(items, signal)
      if (room && !(await room)) this.#throwIfOver()
      this.#senders.took(from, seq + count - 1)
      const answer = refused.length > 0 ? { refused } : {}
      this.#remember(from, seq, answer)
      this.#wake()
      return answer
    })
  }

  #remember(from: string, seq: number, answer: TellAnswer): void {
    this.#refusals.delete(from)
    if (!answer.refused) return
    this.#refusals.set(from, { seq, answer })
    const [oldest] = this.#refusals.keys()
    if (this.#refusals.size > REFUSALS_MOST && oldest !== undefined) this.#refusals.delete(oldest)
  }

  /**
   * One event, in its place among what its sender sends, and what the machine replies to it, encoded.
   * @throws InvalidEventError, EventNotAcceptedError, ActorGoneError, LimitError: it was not handled;
   * OutcomeUnknownError: no answer in time, or none that could be told
   */
  async ask(bytes: Uint8Array, timeout: number, signal?: AbortSignal, by: Asker = {}): Promise<Uint8Array> {
    this.#throwIfOver()
    const { name } = this.definition
    if (this.#asks.size >= ACTOR_ASKS_MOST)
      throw new LimitError(`${name} has ${ACTOR_ASKS_MOST} questions to answer already`)
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    const over = new AbortController()
    const ask: Ask = { id: `${this.epoch}.${++this.#lastAsk}`, resolve, reject, over: over.signal, begun: false }
    this.#asks.set(ask.id, ask)
    const late = (): void => reject(new OutcomeUnknownError(`${name} gave no answer within ${timeout} ms`))
    const timer = setTimeout(late, timeout)
    const given = (): void => reject(asError(signal?.reason))
    signal?.addEventListener('abort', given, { once: true })
    try {
      this.#enter(by.from ?? '', bytes.byteLength, () => this.#askIn(bytes, ask, by)).catch(reject)
      return await promise
    } finally {
      over.abort()
      clearTimeout(timer)
      signal?.removeEventListener('abort', given)
      this.#asks.delete(ask.id)
    }
  }

  async #askIn(bytes: Uint8Array, ask: Ask, { from, seq }: Asker): Promise<void> {
    ask.over.throwIfAborted()
    const numbered = from !== undefined && seq !== undefined
    if (numbered && !this.#senders.isNew(from, seq))
      throw new PeerLostError(
        'its link was lost on the way, and what was sent later has come before it: it is not handled',
      )
    const checked = this.#checked(decode(bytes), ask.over)
    const event = checked instanceof Promise ? await checked : checked
    if (event instanceof Error) throw event
    const room = this.#inbox.enter([{ event, bytes: bytes.byteLength, ask }], ask.over)
    if (room && !(await room)) this.#throwIfOver()
    if (numbered) this.#senders.took(from, seq)
    this.#wake()
  }

  /** As its schema makes it, or why not. A promise, which does not reject, where that takes its time. */
  #checked(event: unknown, signal: AbortSignal | undefined): TypedEvent | Error | Promise<TypedEvent | Error> {
    try {
      const checked = checkedEvent(this.definition, event)
      return checked instanceof Promise ? this.#settled(checked, signal) : checked
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
    if (this.#inbox.size > 0 && !this.#suspended && !this.#writer.full && !this.#over) this.#around.turns.ready(this)
  }

  // ── its turn ────────────────────────────────────────────────────────────────────────────────────────────────────────

  step(): boolean {
    // Who reads what it says sets its pace too.
    if (this.#suspended || this.#over || this.#writer.full) return false
    const item = this.#inbox.take()
    if (!item) return false
    try {
      if (!item.ask?.over.aborted) this.#handle(item)
    } catch (error) {
      // XState catches what a machine throws; whatever else there is, it is this actor's end, and no other's.
      this.#end({ outcome: 'failed', error: plainError(error) })
    }
    return this.#inbox.size > 0
  }

  #handle({ event, ask }: Item): void {
    const before = this.#actor.getSnapshot() as AnyMachineSnapshot
    // It would be done nothing about, and nobody would ever answer.
    if (ask && !isTaken(before, event)) {
      return ask.reject(new EventNotAcceptedError(this.definition.name, event.type, JSON.stringify(before.value)))
    }
    if (ask) ask.begun = true
    this.#asking = ask
    try {
      this.#actor.send(event)
    } finally {
      this.#asking = undefined
    }
  }

  /**
   * The machine has handled an event, whoever it came from; before anybody sees what came of it. `after`: none where it threw.
   */
  took(event: AnyEventObject, before: AnyMachineSnapshot, after: AnyMachineSnapshot | undefined): void {
    // What does something and changes nothing gives the same snapshot as what is not taken at all.
    const ignored = after === before && !before.can(event)
    const transition: ActorTransition = {
      seq: ++this.#seq,
      at: new Date(),
      event: eventName(this.definition.machine as AnyStateMachine, event.type),
      from: before.value,
      to: (after ?? before).value,
      ...(ignored && { ignored }),
    }
    if (this.#transitions.push(transition) > TRANSITIONS_KEPT) this.#transitions.shift()
    for (const listener of this.#listeners) listener(transition)
  }

  /** What a machine's `reply` says: to this ask, or to the one it handles. Nobody asked: nothing. */
  reply(value: unknown, to?: string): void {
    const ask = to === undefined ? this.#asking : this.#asks.get(to)
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
    } catch (error) {
      this.#end({ outcome: 'failed', error: asError(error) })
    }
  }

  #onComplete(): void {
    const snapshot = this.#actor.getSnapshot() as AnyMachineSnapshot
    if (snapshot.status !== 'done') return
    const { output } = snapshot
    if (output !== undefined) this.#say('output', output)
    // Whether its last record is its output: who comes after its end finds it there.
    this.#end({ outcome: 'completed', streamed: output === undefined })
  }

  #end(ending: Parameters<ExecutionIO['ended']>[0]): void {
    if (this.#over) return
    const { name } = this.definition
    const how =
      ending.outcome === 'completed' ? 'has done its work' : ending.outcome === 'failed' ? 'has failed' : 'was stopped'
    this.#over = new ActorGoneError(`${name} ${how}`, 'error' in ending && ending.error ? { cause: ending.error } : {})
    this.#halt()
    this.#state = undefined
    this.#inbox.close()
    const unanswered = new OutcomeUnknownError(`${name} has ended without an answer`, { cause: this.#over })
    for (const ask of this.#asks.values()) ask.reject(ask.begun ? unanswered : this.#over)
    this.#feed?.end(this.#over)
    this.#writer.end()
    this.#io.ended(ending)
  }

  /** Nothing of it goes on. XState leaves what a machine runs at work where one of its actions has thrown. */
  #halt(): void {
    this.#actor.stop()
    const { children = {} } = this.#actor.getSnapshot() as Partial<AnyMachineSnapshot>
    for (const child of Object.values(children)) (child as unknown as { _stop(): void })._stop()
  }

  #throwIfOver(): void {
    if (this.#over) throw this.#over
  }

  // ── as an execution ─────────────────────────────────────────────────────────────────────────────────────────────────

  credit(bytes: number): void {
    this.#writer.credit(bytes)
    this.#wake()
  }

  stop(): void {
    this.#end({ outcome: 'stopped' })
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

  /** Told now, and at most once a turn while it changes. */
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
  get value(): StateValue {
    return (this.#actor.getSnapshot() as AnyMachineSnapshot).value
  }
  get transitions(): readonly ActorTransition[] {
    return this.#transitions
  }
  /** What it will send itself, the next first; timers of what it runs are none of its own. */
  get timers(): ActorInspection['timers'] {
    const { _scheduledEvents: scheduled } = this.#actor.system.getSnapshot()
    return Object.values(scheduled)
      .filter(({ source, target }) => source === this.#actor && target === this.#actor)
      .map(({ event, startedAt, delay }) => ({
        event: eventName(this.definition.machine as AnyStateMachine, event.type),
        due: new Date(startedAt + delay),
      }))
      .toSorted((a, b) => a.due.getTime() - b.due.getTime())
      .slice(0, TIMERS_SHOWN)
  }

  /** What happened behind that cursor, as soon as something has. */
  happened(cursor: string | undefined, signal: AbortSignal | undefined): Promise<FeedAnswer<ActorTransition>> {
    this.#feed ??= new EventFeed((tell) => this.follow(tell))
    return this.#feed.since(cursor, signal)
  }

  /** Everything that happens in it from now on. */
  follow(listener: (transition: ActorTransition) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  state(): ActorState {
    return (this.#state ??= this.#shown())
  }

  #shown(): ActorState {
    const snapshot = this.#actor.getSnapshot() as AnyMachineSnapshot
    const { status, value, tags, output, error } = snapshot
    return {
      status,
      epoch: this.epoch,
      seq: this.#seq,
      value,
      tags: [...tags],
      accepts: status === 'active' ? acceptsOf(snapshot, this.#types) : [],
      context: this.#shownContext(snapshot),
      ...(output !== undefined && { output: shown(output) }),
      ...(status === 'error' && { reason: asError(error) }),
    }
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
      this.#context = { of, bytes: shown(project ? of : withoutActors(of)) }
    }
    return this.#context!.bytes
  }

  #changed(): void {
    this.#state = undefined
    if (this.#watchers.size === 0 || this.#telling) return
    this.#telling = true
    setImmediate(() => {
      this.#telling = false
      // Its end is told with the job's, when that is known for good.
      if (this.#over) return
      const state = this.state()
      for (const watcher of [...this.#watchers]) watcher(state)
    })
  }
}

/** Whether its state does anything on it. A guard that throws does so again when it is handled, which is the machine's end. */
function isTaken(snapshot: AnyMachineSnapshot, event: TypedEvent): boolean {
  try {
    return snapshot.can(event)
  } catch {
    return true
  }
}
