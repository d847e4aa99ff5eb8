// A ref: an XState actor that stands here for one that is elsewhere. Its snapshot is what that one shows; what is sent to it
// goes there.
import { encode, decode, type Cancel } from '@errand/transport'
import { Actor, createActor, type ActorLogic, type AnyEventObject, type Snapshot } from 'xstate'
import { SeenSnapshot, UNSEEN, type ActorState } from './actor-state.ts'
import type { ActorAddress, ActorSnapshot, MachineDefinition, Outcome, RefState } from './actor-surface.ts'
import { placeOf, type ActorWay, type RefOptions } from './actor-way.ts'
import { milliseconds } from './duration.ts'
import { ActorGoneError, asError, codeOf, InvalidEventError, TimeoutError, UsageError } from './errors.ts'
import { checkedEvent } from './machine-definition.ts'
import { untilAborted } from './output-log.ts'
import { valuesOf } from './record.ts'
import { refMachine, type RefActions, type RefActor } from './ref-machine.ts'
import type { Duration } from './surface.ts'
import { ASK_TIMEOUT_MOST } from './wire.ts'

/** How long an answer is waited for, where nothing else is said. */
const ASK_TIMEOUT = 30_000

type Seen = ActorSnapshot & Snapshot<unknown>

interface HeardEvent {
  readonly type: typeof HEARD
  readonly snapshot: Seen
}
interface EmittedEvent {
  readonly type: typeof EMITTED
  readonly event: AnyEventObject
}
/** Said by a ref to itself: no machine's event can be called so. */
const HEARD = 'xstate.errand.heard'
const EMITTED = 'xstate.errand.emitted'

/** Whatever else it is sent goes to the actor. */
type RefLogic = ActorLogic<Seen, AnyEventObject>

const logic: RefLogic = {
  transition(snapshot, event, scope) {
    if (event.type === HEARD) return (event as unknown as HeardEvent).snapshot
    if (event.type === EMITTED) scope.emit((event as unknown as EmittedEvent).event)
    // Its own beginning and end are its own.
    else if (!event.type.startsWith('xstate.')) (scope.self as unknown as MachineRef).pass(event)
    return snapshot
  },
  getInitialSnapshot: () => new SeenSnapshot(UNSEEN) as unknown as Seen,
  getPersistedSnapshot: (snapshot) => snapshot,
}

export class MachineRef extends Actor<RefLogic> implements RefActions {
  readonly #way: ActorWay
  readonly #definition: MachineDefinition | undefined
  readonly #onRefused: RefOptions['onRefused']
  readonly #machine: RefActor
  #address: ActorAddress
  #unwatch: (() => void) | undefined
  #unheard: (() => void) | undefined
  #emitting: AbortController | undefined
  #over = false

  constructor(way: ActorWay, address: ActorAddress, { definition, onRefused }: RefOptions = {}) {
    super(logic, { id: address.path })
    this.#way = way
    this.#address = address
    this.#definition = definition
    this.#onRefused = onRefused
    // What has failed elsewhere ends no program here: without one XState throws it in nobody's name.
    super.subscribe({ error: () => undefined })
    super.start()
    this.#machine = createActor(refMachine, { input: { host: this, follows: false } })
    this.#machine.start()
  }

  get address(): ActorAddress {
    return this.#address
  }
  get state(): RefState {
    return this.#machine.getSnapshot().value
  }
  get reason(): Error | undefined {
    return this.#machine.getSnapshot().context.reason
  }

  // ── what the machine asks for ───────────────────────────────────────────────────────────────────────────────────────

  attach(): void {
    const { epoch } = this.#address
    // Heard within this call, it would be told before the machine is where it says it is.
    queueMicrotask(() => {
      if (this.#over || this.#unwatch) return
      let over = false
      const unwatch = this.#way.watch(
        placeOf(this.#address),
        epoch,
        (state) => {
          if (state.status !== 'active') over = true
          this.#heard(state)
        },
        (reason) => this.#over || this.#machine.send({ type: 'ref.away', reason }),
      )
      // Told at once, whoever subscribes may have let go of it.
      if (over || this.#over) unwatch()
      else this.#unwatch = unwatch
    })
    if (this.#onRefused)
      this.#unheard ??= this.#way.outbox(this.#address).onRefused((error, event) => this.#refused(error, event))
  }

  detach(): void {
    this.#unwatch?.()
    this.#unwatch = undefined
    this.#unheard?.()
    this.#unheard = undefined
  }

  conclude(): void {
    this.#over = true
    this.#emitting?.abort()
    // Those who subscribed are told that it is over: as of a local actor, behind its last snapshot.
    super.stop()
  }

  #heard(state: ActorState): void {
    if (this.#over) return
    const snapshot = new SeenSnapshot(state, super.getSnapshot()) as unknown as Seen
    if (state.status === 'active') {
      this.#machine.send({ type: 'ref.heard' })
      return super.send({ type: HEARD, snapshot })
    }
    this.#hearOut()
    // A last snapshot that XState does not know the status of is shown, and completes.
    super.send({ type: HEARD, snapshot })
    this.#machine.send({ type: 'ref.ended', reason: state.reason })
  }

  /** What was sent to one that has ended is refused over there for that, and told here: later than its end, perhaps. */
  #hearOut(): void {
    const unheard = this.#unheard
    this.#unheard = undefined
    if (unheard) void this.#way.outbox(this.#address).answered().then(unheard)
  }

  // ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  override send(event: AnyEventObject): void {
    this.#throwIfGone()
    this.#way.outbox(this.#address).send(this.#checked(event))
  }

  /** From XState's own actions: what throws there would end the actor whose action it is. */
  pass(event: AnyEventObject): void {
    try {
      this.send(event)
    } catch (error) {
      this.#refused(asError(error), event)
    }
  }

  #refused(error: Error, event: unknown): void {
    try {
      this.#onRefused?.(error, event)
    } catch {
      // Thrown where it is told it would end this ref, and be nobody's.
    }
  }

  async tell(event: AnyEventObject, { signal }: Cancel = {}): Promise<void> {
    signal?.throwIfAborted()
    this.#throwIfGone()
    await this.#way.outbox(this.#address).tell(this.#checked(event), signal)
  }

  async ask<T>(event: AnyEventObject, o: { timeout?: Duration } & Cancel = {}): Promise<Outcome<T>> {
    const { signal } = o
    signal?.throwIfAborted()
    const timeout = o.timeout === undefined ? ASK_TIMEOUT : milliseconds(o.timeout)
    if (timeout > ASK_TIMEOUT_MOST) throw new UsageError('an answer is waited for at most a day')
    const late = new AbortController()
    // The other side counts too, and says so; this is for when it cannot be heard.
    const timer = setTimeout(() => late.abort(new TimeoutError(`no answer within ${timeout} ms`)), timeout + LATE_MS)
    const either = signal ? AbortSignal.any([signal, late.signal]) : late.signal
    let answer: Uint8Array
    try {
      this.#throwIfGone()
      const bytes = encode(this.#checked(event))
      answer = (await this.#way.outbox(this.#address).ask(bytes, timeout, either)) as Uint8Array
    } catch (thrown) {
      signal?.throwIfAborted()
      const error = asError(thrown)
      return { outcome: UNKNOWN.has(codeOf(error) ?? '') ? 'unknown' : 'error', error }
    } finally {
      clearTimeout(timer)
    }
    try {
      return { outcome: 'ok', value: decode(answer) as T }
    } catch (error) {
      // It was handled, whatever this is.
      return { outcome: 'unknown', error: asError(error) }
    }
  }

  /** As it was given: over there it is checked again, and handled as the schema makes it. @throws InvalidEventError */
  #checked(event: AnyEventObject): AnyEventObject {
    if (!this.#definition) {
      if (typeof event?.type !== 'string') throw new InvalidEventError('an event is an object with a `type`')
      return event
    }
    const checked = checkedEvent(this.#definition, event)
    // A schema that takes its time is asked over there alone.
    if (checked instanceof Promise) checked.catch(() => undefined)
    return event
  }

  #throwIfGone(): void {
    if (this.state !== 'gone') return
    const { reason } = this
    throw codeOf(reason) === 'ACTOR_GONE' || codeOf(reason) === 'DENIED'
      ? reason!
      : new ActorGoneError(`there is nobody any more at ${this.#address.path}`, reason ? { cause: reason } : {})
  }

  // ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  override subscribe(...observers: unknown[]): { unsubscribe(): void } {
    const [first, error, complete] = observers as [unknown, ((error: unknown) => void)?, (() => void)?]
    const given = typeof first === 'object' && first !== null ? (first as object) : { next: first, error, complete }
    // One that does not ask for it is given it all the same: see the constructor.
    return super.subscribe({ error: () => undefined, ...defined(given) } as never)
  }

  override on(type: string, handler: (event: never) => void): { unsubscribe(): void } {
    if (!this.#emitting && !this.#over) void this.#follow((this.#emitting = new AbortController()).signal)
    return super.on(type as never, handler as never)
  }

  /** What it emits from now on: records of the job that it is. */
  async #follow(signal: AbortSignal): Promise<void> {
    const request = { reader: 'owner', tail: 0, follow: true }
    try {
      for await (const chunk of this.#way.read(placeOf(this.#address), request, signal)) {
        for (const value of valuesOf(chunk)) {
          if (this.#over) return
          if (typeof (value as { type?: unknown } | null)?.type === 'string')
            super.send({ type: EMITTED, event: value as AnyEventObject })
        }
      }
    } catch {
      // What keeps it from being read keeps it from being watched, and is told there.
    }
  }

  async *snapshots({ signal }: Cancel = {}): AsyncGenerator<Seen> {
    let news = Promise.withResolvers<void>()
    const wake = (): void => news.resolve()
    const subscription = this.subscribe({ next: wake, error: wake, complete: wake })
    const machine = this.#machine.subscribe(wake)
    try {
      let told: Seen | undefined
      while (!signal?.aborted) {
        const now = this.getSnapshot()
        if (now !== told && (this.state !== 'connecting' || this.#over)) yield (told = now)
        if (this.#over && told === this.getSnapshot()) return
        if (now === this.getSnapshot()) await untilAborted(news.promise, signal)
        news = Promise.withResolvers<void>()
      }
    } finally {
      subscription.unsubscribe()
      machine.unsubscribe()
    }
  }

  async *states({ signal }: Cancel = {}): AsyncGenerator<RefState> {
    let last = this.state
    const waiting: RefState[] = [last]
    let news = Promise.withResolvers<void>()
    const subscription = this.#machine.subscribe(({ value }) => {
      if (value === last) return
      last = value
      // Who reads slowly is told the last ones.
      if (waiting.push(value) > STATES_MOST) waiting.shift()
      news.resolve()
    })
    try {
      while (!signal?.aborted) {
        const next = waiting.shift()
        if (next) yield next
        else await untilAborted(news.promise, signal)
        if (next === 'gone') return
        if (waiting.length === 0) news = Promise.withResolvers<void>()
      }
    } finally {
      subscription.unsubscribe()
    }
  }

  async ready({ signal }: Cancel = {}): Promise<void> {
    const there = Promise.withResolvers<void>()
    const look = (): void => void (this.state !== 'connecting' && there.resolve())
    const subscription = this.#machine.subscribe({ next: look, complete: () => there.resolve() })
    look()
    try {
      await untilAborted(there.promise, signal)
      signal?.throwIfAborted()
    } finally {
      subscription.unsubscribe()
    }
    // One that has ended meanwhile was there.
    if (this.state === 'gone' && this.getSnapshot().status === ('gone' as string)) this.#throwIfGone()
  }

  // ── its end ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Stops the actor. That it could not be told is said by its state. */
  override stop(): this {
    if (!this.#over) {
      const { epoch } = this.#address
      this.#way
        .ask(placeOf(this.#address), { type: 'actor.stop', epoch })
        .catch((error) => this.#refused(asError(error), undefined))
    }
    return this
  }

  [Symbol.dispose](): void {
    if (!this.#over) this.#machine.send({ type: 'ref.dispose' })
  }

  [Symbol.for('errand.snapshot')](): ActorAddress {
    return this.#address
  }
  [Symbol.for('nodejs.util.inspect.custom')](): unknown {
    return { address: this.#address, state: this.state, snapshot: this.getSnapshot() }
  }
}

Object.defineProperty(MachineRef, 'name', { value: 'Ref' })

/** States of a ref that wait for who reads them. */
const STATES_MOST = 64
/** The other side answers when its time is over; an answer that is on its way by then is waited for. */
const LATE_MS = 2_000
const UNKNOWN: ReadonlySet<string> = new Set([
  'OUTCOME_UNKNOWN',
  'PEER_LOST',
  'PEER_UNREACHABLE',
  'TIMEOUT',
  'PEER_CLOSED',
])

function defined(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
