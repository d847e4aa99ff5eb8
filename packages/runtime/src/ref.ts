// A ref: an XState actor that stands here for one that is elsewhere. Its snapshot is what that one shows; what is sent to it
// goes there.
import { encode, type Cancel } from '@errand/transport'
import { Actor, type ActorLogic, type AnyEventObject, type Snapshot } from 'xstate'
import { askTimeout, inTime, LATE_MS, outcomeOf } from './actor-outcome.ts'
import { UNSEEN, type ActorState } from './actor-state.ts'
import type { ActorAddress, ActorSnapshot, MachineDefinition, Outcome, RefState } from './actor-surface.ts'
import { LOOK_AGAIN_MS, placeOf, UNSEEN_FOR, type ActorWay, type RefOptions } from './actor-way.ts'
import { SeenSnapshot } from './seen-snapshot.ts'
import {
  ActorGoneError,
  asError,
  codeOf,
  InvalidEventError,
  NameNotFoundError,
  OutcomeUnknownError,
  TimeoutError,
} from './errors.ts'
import { HeldEvents } from './held-events.ts'
import { checkedEvent } from './machine-definition.ts'
import { untilAborted } from './output-log.ts'
import { Listening } from './ref-listening.ts'
import { RefLife } from './ref-life.ts'
import type { RefActions } from './ref-machine.ts'
import type { Duration } from './surface.ts'

type Seen = ActorSnapshot & Snapshot<unknown>

interface HeardEvent {
  readonly type: typeof HEARD
  readonly snapshot: Seen
}
/** Said by a ref to itself: no machine's event can be called so. */
const HEARD = 'xstate.errand.heard'

/** How each tells what its actor has emitted. As an event to itself it would be a snapshot, too. */
const emits = new WeakMap<object, (event: AnyEventObject) => void>()

/** Whatever else it is sent goes to the actor. */
type RefLogic = ActorLogic<Seen, AnyEventObject>

const logic: RefLogic = {
  transition(snapshot, event, scope) {
    if (event.type === HEARD) return (event as unknown as HeardEvent).snapshot
    // Its own beginning and end are its own.
    if (!event.type.startsWith('xstate.')) (scope.self as unknown as MachineRef).pass(event)
    return snapshot
  },
  getInitialSnapshot({ self, emit }) {
    emits.set(self, emit)
    return new SeenSnapshot(UNSEEN) as unknown as Seen
  },
  getPersistedSnapshot: (snapshot) => snapshot,
}

export class MachineRef extends Actor<RefLogic> implements RefActions {
  readonly #way: ActorWay
  readonly #definition: MachineDefinition | undefined
  readonly #onRefused: RefOptions['onRefused']
  readonly #life: RefLife
  #address: ActorAddress
  #unwatch: (() => void) | undefined
  #unheard: (() => void) | undefined
  /** Somebody listens to what is emitted. */
  #listens = false
  #listening: Listening | undefined
  /** To those that were followed and have ended: what they emitted last is still heard. */
  #lastWords: Set<Listening> | undefined
  #over = false
  /** Of one that follows a name. */
  readonly #held: HeldEvents | undefined
  #unfollow: (() => void) | undefined
  /** Whom it follows the states of, or followed to the end. */
  #met: string | undefined
  /** Nobody has the name it follows. */
  #vacant = false
  /** That one has not ended, as far as is known. */
  #watching = false
  /** That one may not be seen now, and is looked for then. */
  #again: NodeJS.Timeout | undefined
  /** Who waits for an answer of whoever is meant: told why there will be none when that is another one. */
  #waiting: Set<(reason: Error) => void> | undefined

  constructor(way: ActorWay, address: ActorAddress, { definition, onRefused }: RefOptions = {}) {
    super(logic, { id: address.follow?.name ?? address.path })
    this.#way = way
    this.#address = address
    this.#definition = definition
    this.#onRefused = onRefused
    // What has failed elsewhere ends no program here: without one XState throws it in nobody's name.
    super.subscribe({ error: () => undefined })
    super.start()
    const { follow } = address
    if (follow) this.#held = new HeldEvents((error, event) => this.#refused(error, event))
    this.#life = new RefLife(this, follow !== undefined)
    this.#life.start()
    if (!follow) return
    this.#unfollow = way.names.follow(follow, {
      found: (holder) => this.#found(follow, holder),
      // Whoever is seen is live, whether or not it can be asked what it is called.
      away: (reason) => this.#watching || this.#life.send({ type: 'ref.away', reason }),
      refused: (reason) => this.#life.send({ type: 'ref.refused', reason }),
    })
  }

  get address(): ActorAddress {
    return this.#address
  }
  get state(): RefState {
    return this.#life.state
  }
  get reason(): Error | undefined {
    return this.#life.reason
  }

  // ── what the machine asks for ───────────────────────────────────────────────────────────────────────────────────────

  /** Who has the name it follows. */
  #found(follow: NonNullable<ActorAddress['follow']>, holder: ActorAddress | undefined): void {
    this.#vacant = !holder
    if (!holder) {
      const { name, peer } = follow
      this.#forgetEnded()
      return this.#life.send({ type: 'ref.vacant', reason: new NameNotFoundError(name, peer) })
    }
    // Also where it has ended: it has the name no longer either, which is told next.
    if (keyOf(holder) === this.#met) return
    this.#hearOut()
    this.#address = Object.freeze({ ...holder, follow })
    const reason = new OutcomeUnknownError(`'${follow.name}' is the name of another one now`)
    for (const leave of [...(this.#waiting ?? [])]) leave(reason)
    this.#life.send({ type: 'ref.moved' })
  }

  /** Nobody has the name, and who had it has ended: who has it next is to be met, and may be that one in a later life. */
  #forgetEnded(): void {
    if (this.#vacant && !this.#watching) this.#met = undefined
  }

  /** What is on its way to one that has ended, or is not meant any more, may still be refused: told later, perhaps. */
  #hearOut(): void {
    const unheard = this.#unheard
    if (!unheard) return
    this.#unheard = undefined
    void this.#way.outbox(this.#address).flushed().then(unheard)
  }

  attach(): void {
    const address = this.#address
    // Nobody is known who has the name.
    if (address.path === '') return
    this.#met = keyOf(address)
    this.#watching = true
    // Heard within this call, it would be told before the machine is where it says it is.
    queueMicrotask(() => {
      // It may mean another one by then.
      if (this.#over || this.#unwatch || this.#address !== address) return
      let over = false
      const unwatch = this.#way.watch(
        placeOf(address),
        address.epoch,
        (state) => {
          if (state.status !== 'active') over = true
          this.#heard(state)
        },
        (reason) => this.#over || this.#life.send({ type: 'ref.away', reason }),
      )
      // Told at once, whoever subscribes may have let go of it.
      if (over || this.#over) unwatch()
      else this.#unwatch = unwatch
    })
    if (this.#onRefused)
      this.#unheard ??= this.#way.outbox(this.#address).onRefused((error, event) => this.#refused(error, event))
    if (!this.#listens) return
    this.#listening?.end()
    this.#listen()
  }

  release(): void {
    if (!this.#held || this.#held.size === 0) return
    const outbox = this.#way.outbox(this.#address)
    this.#held.release(
      (event) => outbox.send(event),
      (event) => this.#orMoved(outbox.tell(event)),
    )
  }

  detach(): void {
    this.#watching = false
    this.#unwatch?.()
    this.#unwatch = undefined
    this.#unheard?.()
    this.#unheard = undefined
  }

  conclude(): void {
    this.#over = true
    this.#listening?.end()
    for (const listening of this.#lastWords ?? []) listening.end()
    clearTimeout(this.#again)
    this.#unfollow?.()
    this.#held?.end(this.#goneError())
    // Those who subscribed are told that it is over: as of a local actor, behind its last snapshot.
    super.stop()
  }

  #heard(state: ActorState): void {
    if (this.#over) return
    if (this.#held && state.status !== 'active') return this.#ended(state)
    const snapshot = new SeenSnapshot(state, super.getSnapshot()) as unknown as Seen
    if (state.status === 'active') {
      this.#life.send({ type: 'ref.heard' })
      return super.send({ type: HEARD, snapshot })
    }
    const end = (): void => {
      if (this.#over) return
      this.#hearOut()
      // A last snapshot that XState does not know the status of is shown, and completes.
      super.send({ type: HEARD, snapshot })
      this.#life.send({ type: 'ref.ended', reason: state.reason })
    }
    if (this.#listening && ENDED.has(state.status)) void this.#listening.toTheEnd().then(end)
    else end()
  }

  /** One that is followed: what is shown stays as it was, for the next one. */
  #ended({ status, reason }: ActorState): void {
    this.#watching = false
    this.#unwatch = undefined
    this.#forgetEnded()
    this.#leaveBehind(status)
    const code = codeOf(reason)
    if (!ENDED.has(status) && UNSEEN_FOR.has(code ?? '')) this.#lookAgain()
    const why =
      code === 'DENIED' || code === 'ACTOR_GONE'
        ? reason
        : new ActorGoneError(`who had the name has ended: ${status}`, { cause: reason })
    this.#life.send({ type: 'ref.ended', reason: why })
  }

  /** As far as is known it has the name still. */
  #lookAgain(): void {
    const met = this.#met
    clearTimeout(this.#again)
    this.#again = setTimeout(() => {
      if (!this.#over && !this.#watching && met !== undefined && this.#met === met) this.attach()
    }, LOOK_AGAIN_MS).unref()
  }

  /** What that one has emitted before its end is heard, whoever is meant by then. */
  #leaveBehind(status: ActorState['status']): void {
    const listening = this.#listening
    this.#listening = undefined
    if (!ENDED.has(status)) listening?.end()
    else if (listening) {
      const all = (this.#lastWords ??= new Set()).add(listening)
      void listening.toTheEnd().then(() => all.delete(listening))
    }
  }

  // ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** It follows, and nobody is known to be meant: what is sent waits. */
  get #waits(): boolean {
    return this.#held !== undefined && this.state !== 'live'
  }

  override send(event: AnyEventObject): void {
    this.#throwIfGone()
    const checked = this.#checked(event)
    if (this.#waits) this.#held!.send(checked)
    else this.#way.outbox(this.#address).send(checked)
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
    const checked = this.#checked(event)
    if (this.#waits) return this.#held!.tell(checked, signal)
    const told = this.#way.outbox(this.#address).tell(checked, signal)
    return this.#held ? this.#orMoved(told) : told
  }

  /** What comes of it, as long as it means this one. @throws OutcomeUnknownError */
  async #orMoved<T>(outcome: Promise<T>): Promise<T> {
    const { promise: moved, reject } = Promise.withResolvers<never>()
    const waiting = (this.#waiting ??= new Set())
    waiting.add(reject)
    try {
      return await Promise.race([outcome, moved])
    } finally {
      waiting.delete(reject)
    }
  }

  async ask<T>(event: AnyEventObject, o: { timeout?: Duration } & Cancel = {}): Promise<Outcome<T>> {
    const { signal } = o
    signal?.throwIfAborted()
    const timeout = askTimeout(o.timeout)
    return outcomeOf(() => {
      this.#throwIfGone()
      const bytes = encode(this.#checked(event))
      const sending = this.#held ? undefined : this.#way.sending(this.#address)
      const atOnce = !this.#held && (!sending || sending.idle)
      return atOnce ? this.#askAtOnce(bytes, timeout, signal) : this.#askInTurn(bytes, timeout, signal)
    }, o)
  }

  /** In this very turn, nothing being before it: what is sent next comes behind it. */
  #askAtOnce(event: Uint8Array, timeout: number, signal: AbortSignal | undefined): Promise<unknown> {
    const { epoch } = this.#address
    const question = { type: 'actor.ask' as const, epoch, event, timeout, ...this.#way.numbered(this.#address) }
    return inTime(timeout, (until) => this.#way.ask(placeOf(this.#address), question, { signal, until }))
  }

  /** In its place among what is sent. */
  async #askInTurn(event: Uint8Array, timeout: number, signal: AbortSignal | undefined): Promise<unknown> {
    const until = performance.now() + timeout
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(new TimeoutError(`no answer within ${timeout} ms`)), timeout + LATE_MS)
    try {
      const wanted = signal ? AbortSignal.any([signal, late.signal]) : late.signal
      if (this.#held) return await this.#askMeant(this.#held, event, until, wanted)
      return await this.#way.outbox(this.#address).ask(event, timeout, wanted)
    } finally {
      clearTimeout(timer)
    }
  }

  /** Of one that follows: whoever is meant when it leaves, in its place among what is sent to that one. */
  #askMeant(held: HeldEvents, event: Uint8Array, until: number, wanted: AbortSignal): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const waiting = (this.#waiting ??= new Set())
    const ask = (): void => {
      const moved = new AbortController()
      let left = false
      const leave = (reason: Error): void => {
        waiting.delete(leave)
        moved.abort(reason)
        if (left) reject(reason)
        // It was asked of nobody yet.
        else wait(true)
      }
      waiting.add(leave)
      const time = Math.max(0, Math.round(until - performance.now()))
      const either = AbortSignal.any([wanted, moved.signal])
      const asked = this.#way.outbox(this.#address).ask(event, time, either, () => (left = true))
      asked.then(
        (answer) => moved.signal.aborted || (waiting.delete(leave), resolve(answer)),
        (error: Error) => moved.signal.aborted || (waiting.delete(leave), reject(error)),
      )
    }
    const wait = (again: boolean): void => {
      const inTime = (): Error => {
        const { reason } = this
        return new ActorGoneError('nobody could be asked in time', reason && { cause: reason })
      }
      try {
        held.ask(event, { ask, reject, wanted, ms: until - performance.now(), inTime, again })
      } catch (error) {
        reject(error)
      }
    }
    if (this.#waits) wait(false)
    else ask()
    return promise
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
    if (this.state === 'gone') throw this.#goneError()
  }

  #goneError(): Error {
    const { reason } = this
    return SAID.has(codeOf(reason) ?? '')
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
    if (!this.#listens && !this.#over) {
      this.#listens = true
      if (this.#watching) this.#listen()
    }
    return super.on(type as never, handler as never)
  }

  #listen(): void {
    const { epoch } = this.#address
    const place = placeOf(this.#address)
    this.#listening = new Listening((request, signal) => this.#way.read(place, epoch, request, signal), {
      emitted: (event) => emits.get(this)!(event),
      unheard: (reason) => this.#refused(reason, undefined),
    })
  }

  async *snapshots({ signal }: Cancel = {}): AsyncGenerator<Seen> {
    let news = Promise.withResolvers<void>()
    const wake = (): void => news.resolve()
    const subscription = this.subscribe({ next: wake, error: wake, complete: wake })
    const unfollow = this.#life.follow(wake)
    try {
      let told: Seen | undefined
      while (!signal?.aborted) {
        const now = this.getSnapshot()
        // Of one that nobody has been met by yet there is nothing to show.
        if (now !== told && (now.epoch > 0 ? this.state !== 'connecting' : this.#over)) yield (told = now)
        if (this.#over && told === this.getSnapshot()) return
        if (now === this.getSnapshot()) await untilAborted(news.promise, signal)
        news = Promise.withResolvers<void>()
      }
    } finally {
      subscription.unsubscribe()
      unfollow()
    }
  }

  async *states({ signal }: Cancel = {}): AsyncGenerator<RefState> {
    let last = this.state
    const waiting: RefState[] = [last]
    let news = Promise.withResolvers<void>()
    const unfollow = this.#life.follow(() => {
      const value = this.state
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
      unfollow()
    }
  }

  async ready({ signal }: Cancel = {}): Promise<void> {
    const there = Promise.withResolvers<void>()
    const look = (): void => void (this.state !== 'connecting' && there.resolve())
    const unfollow = this.#life.follow(look)
    look()
    try {
      await untilAborted(there.promise, signal)
      signal?.throwIfAborted()
    } finally {
      unfollow()
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
    if (!this.#over) this.#life.send({ type: 'ref.dispose' })
  }

  [Symbol.for('errand.snapshot')](): ActorAddress {
    return this.#address
  }
  [Symbol.for('nodejs.util.inspect.custom')](): unknown {
    return { address: this.#address, state: this.state, snapshot: this.getSnapshot() }
  }
}

Object.defineProperty(MachineRef, 'name', { value: 'Ref' })

function keyOf({ peer, path, epoch }: ActorAddress): string {
  return `${peer} ${path} ${epoch}`
}

/** Of one that is only not to be seen any more, nothing more is heard. */
const ENDED: ReadonlySet<string> = new Set(['done', 'error', 'stopped'])
/** States of a ref that wait for who reads them. */
const STATES_MOST = 64
/** Reasons that need no other words. */
const SAID: ReadonlySet<string> = new Set(['ACTOR_GONE', 'DENIED', 'MACHINE_QUARANTINED'])

function defined(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
