// An actor on the peer that hosts it: XState's own actor of a machine, with an inbox before it that is bounded and drained in
// turns, and with what others may see of it.
//
// Nothing reaches the machine but through the inbox; what it says are records of the job that it is.
import { decode, decodeChunk, encode } from '@errand/transport'
import { createActor, type ActorSystem, type AnyMachineSnapshot, type AnyStateMachine, type StateValue } from 'xstate'
import { acceptsOf, shown, withoutActors, type ActorState } from './actor-state.ts'
import type { ActorTransition, MachineDefinition } from './actor-surface.ts'
import type { ActorTurns, Turned } from './actor-turns.ts'
import {
  ActorGoneError,
  asError,
  EventNotAcceptedError,
  LimitError,
  OutcomeUnknownError,
  plainError,
  ProtocolError,
} from './errors.ts'
import type { Execution, ExecutionIO } from './engine/engine.ts'
import { EventFeed, type FeedAnswer } from './event-feed.ts'
import { checkedEvent, type TypedEvent } from './machine-definition.ts'
import { untilAborted } from './output-log.ts'
import { RecordWriter } from './record.ts'
import { ACTOR_ASKS_MOST, INBOX_MOST, TELL_MOST } from './wire.ts'

/** Senders whose last number is known; of one that was silent for longest it is forgotten. */
export const SENDERS_MOST = 1024
/** What happened last, for people. */
const TRANSITIONS_KEPT = 16

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
  readonly timer: NodeJS.Timeout
}

/** A sender's last batch, and what came of it: where its answer was lost it is asked for again. */
interface Taken {
  readonly seq: number
  readonly last: number
  readonly answer: TellAnswer
}

interface Item {
  readonly event: TypedEvent
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

export class ActorHost implements Execution, Turned {
  readonly definition: MachineDefinition
  readonly epoch: number
  readonly #io: ExecutionIO
  readonly #around: ActorSurroundings
  readonly #writer: RecordWriter
  readonly #actor: ReturnType<typeof createActor<AnyStateMachine>>
  readonly #types: readonly string[]
  readonly #inbox: Item[] = []
  /** Of each sender what was taken last. */
  readonly #senders = new Map<string, Taken>()
  /** Batches and asks behind one that waits for room, or for a schema: in the order in which they came. */
  #entering: Promise<unknown> | undefined
  #room: PromiseWithResolvers<void> | undefined
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
    this.#actor = createActor(definition.machine as AnyStateMachine, {
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
   * @throws ActorGoneError, ProtocolError
   */
  tell(from: string, seq: number, count: number, bytes: Uint8Array, signal?: AbortSignal): Promise<TellAnswer> {
    this.#throwIfOver()
    const events = decodeChunk(bytes)
    if (events.length !== count || count > TELL_MOST)
      throw new ProtocolError(`a batch of ${events.length}, not ${count}`)
    return this.#enter(async () => {
      const before = this.#senders.get(from)
      if (before?.seq === seq) return before.answer
      const refused: [number, Error][] = []
      // Looked at only now: what came before it may have been the same batch, over a link that is gone.
      const taken = events.map((event, index) => (this.#isNew(from, seq + index) ? this.#checked(event) : undefined))
      const items: Item[] = []
      for (const [index, one] of taken.entries()) {
        if (one === undefined) continue
        try {
          const event = one instanceof Promise ? await one : one
          if (event instanceof Error) throw event
          items.push({ event })
        } catch (error) {
          refused.push([index, plainError(error)])
        }
      }
      await this.#waitForRoom(items.length, signal)
      const answer = refused.length > 0 ? { refused } : {}
      this.#took(from, { seq, last: seq + count - 1, answer })
      this.#take(items)
      return answer
    })
  }

  /**
   * One event, and what the machine replies to it, encoded.
   * @throws InvalidEventError, EventNotAcceptedError, ActorGoneError, LimitError; OutcomeUnknownError: no answer in time
   */
  async ask(bytes: Uint8Array, timeout: number, signal?: AbortSignal): Promise<Uint8Array> {
    this.#throwIfOver()
    if (this.#asks.size >= ACTOR_ASKS_MOST)
      throw new LimitError(`${this.definition.name} has ${ACTOR_ASKS_MOST} questions to answer already`)
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    const id = `${this.epoch}.${++this.#lastAsk}`
    const late = (): void =>
      reject(new OutcomeUnknownError(`${this.definition.name} gave no answer within ${timeout} ms`))
    const ask: Ask = { id, resolve, reject, timer: setTimeout(late, timeout) }
    this.#asks.set(id, ask)
    const given = (): void => reject(asError(signal?.reason))
    signal?.addEventListener('abort', given, { once: true })
    promise.catch(() => undefined) // it may be over before anybody waits for it here
    try {
      const checked = checkedEvent(this.definition, decode(bytes))
      if (this.#entering || checked instanceof Promise || this.#inbox.length >= INBOX_MOST) {
        await this.#enter(async () => {
          const event = await checked
          await this.#waitForRoom(1, signal)
          this.#take([{ event, ask }])
        })
      } else this.#take([{ event: checked, ask }])
      return await promise
    } finally {
      clearTimeout(ask.timer)
      signal?.removeEventListener('abort', given)
      this.#asks.delete(id)
    }
  }

  #checked(event: unknown): TypedEvent | Promise<TypedEvent> | Error {
    try {
      return checkedEvent(this.definition, event)
    } catch (error) {
      return asError(error)
    }
  }

  #isNew(from: string, seq: number): boolean {
    return seq > (this.#senders.get(from)?.last ?? 0)
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
    while (this.#inbox.length > 0 && this.#inbox.length + count > INBOX_MOST && !this.#over) {
      this.#room ??= Promise.withResolvers<void>()
      await untilAborted(this.#room.promise, signal)
      signal?.throwIfAborted()
    }
    this.#throwIfOver()
  }

  #took(from: string, taken: Taken): void {
    // The one that was silent for longest comes first.
    this.#senders.delete(from)
    this.#senders.set(from, taken)
    const [oldest] = this.#senders.keys()
    if (this.#senders.size > SENDERS_MOST && oldest !== undefined) this.#senders.delete(oldest)
  }

  #take(items: readonly Item[]): void {
    this.#inbox.push(...items)
    this.#wake()
  }

  #wake(): void {
    if (this.#inbox.length > 0 && !this.#suspended && !this.#writer.full && !this.#over) this.#around.turns.ready(this)
  }

  // ── its turn ────────────────────────────────────────────────────────────────────────────────────────────────────────

  step(): boolean {
    // Who reads what it says sets its pace too.
    if (this.#suspended || this.#over || this.#writer.full) return false
    const item = this.#inbox.shift()
    if (!item) return false
    if (this.#room && this.#inbox.length <= INBOX_MOST / 2) {
      this.#room.resolve()
      this.#room = undefined
    }
    this.#handle(item)
    return this.#inbox.length > 0
  }

  #handle({ event, ask }: Item): void {
    const before = this.#actor.getSnapshot() as AnyMachineSnapshot
    // It would be done nothing about, and nobody would ever answer.
    if (ask && !before.can(event)) {
      return ask.reject(new EventNotAcceptedError(this.definition.name, event.type, JSON.stringify(before.value)))
    }
    this.#asking = ask
    try {
      this.#actor.send(event)
    } finally {
      this.#asking = undefined
    }
    this.#seq++
    this.#note(event.type, before.value, (this.#actor.getSnapshot() as AnyMachineSnapshot).value)
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
    this.#inbox.length = 0
    this.#room?.resolve()
    for (const ask of this.#asks.values()) ask.reject(this.#over)
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

  get watchers(): number {
    return this.#watchers.size
  }
  get inbox(): number {
    return this.#inbox.length
  }
  get value(): StateValue {
    return (this.#actor.getSnapshot() as AnyMachineSnapshot).value
  }
  get transitions(): readonly ActorTransition[] {
    return this.#transitions
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

  #note(event: string, from: StateValue, to: StateValue): void {
    const transition: ActorTransition = { seq: this.#seq, at: new Date(), event, from, to }
    if (this.#transitions.push(transition) > TRANSITIONS_KEPT) this.#transitions.shift()
    for (const listener of this.#listeners) listener(transition)
  }
}
