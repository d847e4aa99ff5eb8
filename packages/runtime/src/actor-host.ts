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
import type { InputEntry } from './actor-entry.ts'
import type { ActorJournal } from './actor-journal.ts'
import type { Numbered, Replayed } from './actor-replay.ts'
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
  ProtocolError,
} from './errors.ts'
import type { Execution, ExecutionIO } from './engine/engine.ts'
import { Deadlines, type Deadline } from './deadlines.ts'
import { EventFeed, type FeedAnswer } from './event-feed.ts'
import type { ActorJob, HostedActor, TellAnswer } from './hosted-actor.ts'
import { KeptActor, type KeptKind } from './kept-actor.ts'
import { checkedEvent, type TypedEvent } from './machine-definition.ts'
import { hostOf, setHost, type MachineHost } from './machine-host.ts'
import { untilAborted } from './output-log.ts'
import { RecordWriter } from './record.ts'
import { ACTOR_ASKS_MOST, INBOX_MOST, TELL_MOST } from './wire.ts'

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
  over = false
  readonly #resolve: (value: Uint8Array) => void
  readonly #reject: (error: Error) => void

  constructor(id: string) {
    this.id = id
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    promise.catch(() => undefined) // it may be over before anybody waits for it here
    this.answer = promise
    this.#resolve = resolve
    this.#reject = reject
  }

  resolve(value: Uint8Array): void {
    this.over = true
    this.#resolve(value)
  }

  reject(error: Error): void {
    this.over = true
    this.#reject(error)
  }
}

interface Item {
  readonly event: TypedEvent
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
  readonly #inbox: Item[] = []
  readonly #senders: Senders
  /** Of a durable one: through which all goes that it handles. */
  readonly #kept: KeptActor | undefined
  readonly #was: Replayed | undefined
  /** On their way to the disk, and which of them are asks. */
  #coming = 0
  readonly #asked = new Map<number, Ask>()
  /** Batches and asks behind one that waits for room, or for a schema: in the order in which they came. */
  #entering: Promise<unknown> | undefined
  #room: PromiseWithResolvers<void> | undefined
  readonly #asks = new Map<string, Ask>()
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
  #over: Error | undefined
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
  readonly #listeners = new Set<(transition: ActorTransition) => void>()
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
      this.#said = kept.said
    } else
      this.#actor = createActor(notedMachine(definition.machine as AnyStateMachine), { input: input as never, logger })
    this.#senders = this.#kept?.senders ?? new Senders()
    setHost(this.#actor.system, this)
    this.#actor.on('*', (emitted) => this.#say('output', emitted))
    this.#actor.subscribe({
      next: () => this.#changed(),
      error: (error) => this.#end({ outcome: 'failed', error: asError(error) }),
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
    if (how === 'done') this.#complete(snapshot?.output, over === undefined || this.#said <= over.said)
    else if (how === 'error') this.#end({ outcome: 'failed', error: asError(over ? over.error : snapshot!.error) })
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
        for (const entry of entries) {
          const [number, input] = entry
          this.#inbox.push({ event: eventOf(input), entry, ask: this.#asked.get(number) })
          this.#asked.delete(number)
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

  tell(from: string, seq: number, count: number, bytes: Uint8Array, signal?: AbortSignal): Promise<TellAnswer> {
    this.#throwIfOver()
    const events = decodeChunk(bytes)
    if (events.length !== count || count > TELL_MOST)
      throw new ProtocolError(`a batch of ${events.length}, not ${count}`)
    return this.#whenTaken(
      this.#enter(async () => {
        const refused: [number, Error][] = []
        // Looked at only now: what came before it may have been the same batch, over a link that is gone.
        const taken = events.map((event, index) =>
          this.#senders.isNew(from, seq + index) ? this.#checked(event) : undefined,
        )
        const items: Item[] = []
        for (const [index, one] of taken.entries()) {
          if (one === undefined) continue
          try {
            const event = one instanceof Promise ? await one : one
            if (event instanceof Error) throw event
            items.push({ event, sent: [from, seq + index] })
          } catch (error) {
            refused.push([index, asError(error)])
          }
        }
        await this.#waitForRoom(items.length, signal)
        this.#senders.took(from, seq + count - 1)
        return { answer: refused.length > 0 ? { refused } : {}, taken: this.#take(items) }
      }),
    )
  }

  /** Answered when they are taken, while the next batch is on its way already. */
  async #whenTaken(entering: Promise<{ answer: TellAnswer; taken: Promise<void> | undefined }>): Promise<TellAnswer> {
    const { answer, taken } = await entering
    await taken
    return answer
  }

  async ask(bytes: Uint8Array, timeout: number, signal?: AbortSignal): Promise<Uint8Array> {
    this.#throwIfOver()
    if (this.#asks.size >= ACTOR_ASKS_MOST)
      throw new LimitError(`${this.definition.name} has ${ACTOR_ASKS_MOST} questions to answer already`)
    const ask = new Ask(`${this.#asksOf}.${++this.#lastAsk}`)
    this.#asks.set(ask.id, ask)
    let watched: Deadline | undefined
    const late = (): void =>
      ask.reject(new OutcomeUnknownError(`${this.definition.name} gave no answer within ${timeout} ms`))
    const given = (): void => ask.reject(asError(signal?.reason))
    const watch = (): void => {
      watched = deadlines.after(timeout, late)
      signal?.addEventListener('abort', given, { once: true })
    }
    try {
      const checked = checkedEvent(this.definition, decode(bytes))
      if (this.#entering || checked instanceof Promise || this.#waiting >= INBOX_MOST) {
        watch()
        await this.#enter(async () => {
          const event = await checked
          await this.#waitForRoom(1, signal)
          this.#takeAsk(event, ask)
        })
      } else {
        this.#takeAsk(checked, ask)
        // Most are answered by now: nothing is left that could be late.
        if (!ask.over) watch()
      }
      return await ask.answer
    } finally {
      if (watched) {
        watched.end()
        signal?.removeEventListener('abort', given)
      }
      this.#asks.delete(ask.id)
    }
  }

  #checked(event: unknown): TypedEvent | Promise<TypedEvent> | Error {
    try {
      return checkedEvent(this.definition, event)
    } catch (error) {
      return asError(error)
    }
  }

  /** Behind whatever waits already. */
  #enter<T>(enter: () => Promise<T>): Promise<T> {
    const before = this.#entering
    const entering = (before ? before.then(enter) : enter()).finally(() => {
      if (this.#entering === settled) this.#entering = undefined
    })
    const settled: Promise<unknown> = entering.catch(() => undefined)
    this.#entering = settled
    return entering
  }

  async #waitForRoom(count: number, signal: AbortSignal | undefined): Promise<void> {
    while (this.#waiting > 0 && this.#waiting + count > INBOX_MOST && !this.#over) {
      this.#room ??= Promise.withResolvers<void>()
      await untilAborted(this.#room.promise, signal)
      signal?.throwIfAborted()
    }
    this.#throwIfOver()
  }

  /** In the inbox, or on their way there. */
  get #waiting(): number {
    return this.#inbox.length + this.#coming
  }

  /** Undefined: they are in the inbox. Of a durable one it settles when they are on disk. @throws StoreError */
  #take(items: readonly Item[]): Promise<void> | undefined {
    if (this.#kept) return this.#takeKept(this.#kept, items)
    this.#inbox.push(...items)
    this.#wake()
    return undefined
  }

  #takeKept(kept: KeptActor, items: readonly Item[]): Promise<void> {
    // Asked again, it has been taken, and may not be on disk yet.
    if (items.length === 0) return kept.settled
    const at = Date.now()
    const { first, told } = kept.accept(
      items.map(({ event, sent }) => ({ kind: 'event', at, event, ...(sent && { from: sent[0], seq: sent[1] }) })),
    )
    for (const [index, { ask }] of items.entries()) if (ask) this.#asked.set(first + index, ask)
    this.#coming += items.length
    const taken = told.finally(() => {
      this.#coming -= items.length
      this.#makeRoom()
    })
    taken.catch(() => undefined) // who asks waits for its answer
    return taken
  }

  #takeAsk(event: TypedEvent, ask: Ask): void {
    void this.#take([{ event, ask }])
  }

  #makeRoom(): void {
    if (!this.#room || this.#waiting > INBOX_MOST / 2) return
    this.#room.resolve()
    this.#room = undefined
  }

  /** It handles what comes. Who reads what it says sets its pace too. */
  get #ready(): boolean {
    return !this.#suspended && !this.#writer.full && !this.#over
  }

  #wake(): void {
    if (this.#inbox.length > 0 && this.#ready) this.#around.turns.ready(this)
  }

  // ── its turn ────────────────────────────────────────────────────────────────────────────────────────────────────────

  step(): boolean {
    const [item] = this.#inbox
    if (!item || !this.#ready || (item.entry && !this.#kept!.mayHandle(item.entry[0]))) return false
    this.#inbox.shift()
    this.#makeRoom()
    this.#handle(item)
    return this.#inbox.length > 0
  }

  #handle({ event, ask, entry }: Item): void {
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
    const ignored = after === before && !this.#asking?.over && !before.can(event)
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
    for (const listener of this.#listeners) listener(transition)
  }

  /** Events that it has handled, in all its lives. */
  get #seq(): number {
    return this.#kept?.handled ?? this.#handled
  }

  /** What a machine's `reply` says: to this ask, or to the one it handles. Nobody asked: nothing. */
  reply(value: unknown, to?: string): void {
    const ask = to === undefined ? this.#asking : this.#asks.get(to)
    if (!ask) return
    let bytes: Uint8Array
    try {
      bytes = encode(value)
    } catch (error) {
      return ask.reject(asError(error))
    }
    ask.resolve(bytes)
  }

  /** Names the ask that is being handled, for a later `reply`. */
  get asking(): string | undefined {
    return this.#asking?.id
  }

  /** Sends to an actor anywhere, for one of its actions. */
  tellOther(address: unknown, event: unknown): void {
    this.#around.tell(address, event)
  }

  // ── what it says ────────────────────────────────────────────────────────────────────────────────────────────────────

  #say(kind: 'output' | 'information', value: unknown): void {
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
    this.#end({ outcome: 'completed' })
  }

  #end(ending: Parameters<ExecutionIO['ended']>[0]): void {
    if (this.#over) return
    const { outcome } = ending
    const error = 'error' in ending ? ending.error : undefined
    if (outcome !== 'completed') this.#kept?.over(outcome === 'failed' ? 'error' : 'stopped', this.#said, error)
    const how = outcome === 'completed' ? 'has done its work' : outcome === 'failed' ? 'has failed' : 'was stopped'
    this.#close(new ActorGoneError(`${this.definition.name} ${how}`, error ? { cause: error } : {}))
    this.#io.ended(ending)
  }

  #close(why: Error): void {
    this.#over = why
    this.#state = undefined
    clearTimeout(this.#late)
    this.#inbox.length = 0
    this.#room?.resolve()
    for (const ask of this.#asks.values()) ask.reject(why)
    this.#feed?.end(why)
    this.#writer.end()
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
    // XState stops at once, and what it runs with it.
    this.#actor.stop()
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
    return this.#inbox.length
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

  /** Everything that happens in it from now on. */
  follow(listener: (transition: ActorTransition) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
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
