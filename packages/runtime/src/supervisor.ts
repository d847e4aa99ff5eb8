// A supervisor's host: starts, stops and watches what its machine decides about (supervisor-machine.ts), and shows how it is.
//
// An attempt to have a child up is this host's from its start until nothing can be left of it, which may be long after its
// machine has gone on: a peer that was away comes back with an actor that has been replaced. It is stopped then; and where it
// cannot be reached in time, the temporary session that it is in ends by itself.
import { createActor } from 'xstate'
import type {
  ActorAddress,
  ChildSpec,
  Down,
  Ref,
  SupervisedChild,
  Supervisor,
  SupervisorOptions,
  SupervisorSnapshot,
  SupervisorState,
} from './actor-surface.ts'
import { Alarm } from './alarm.ts'
import { ActorGoneError, asError, codeOf, JobStoppedError, SupervisorFailedError, TimeoutError } from './errors.ts'
import { untilAborted, whileWanted } from './output-log.ts'
import type { Cancel } from './surface.ts'
import {
  dueAt,
  type SupervisorActions,
  type SupervisorActor,
  type SupervisorContext,
  supervisorMachine,
  type SupervisorEvent,
} from './supervisor-machine.ts'
import { childOf, type ChildPlan, isPlan, planOf, type SupervisorPlan } from './supervisor-plan.ts'

/**
 * So long what was given up is still tried to be stopped, in ms: twice as long as a temporary session outlives its client. After
 * that there is nothing left of it.
 */
export const LEFT_MS = 120_000
/** Nobody was there to start it. */
const ABSENT: ReadonlySet<string | undefined> = new Set(['PEER_UNREACHABLE', 'PEER_LOST'])

/** What a supervisor needs of the peer it runs on. */
export interface SupervisorPorts {
  /** Aborts when that peer closes: the supervisor is stopped. */
  readonly over?: AbortSignal
  /**
   * Starts it on that peer, undefined for this one; from then on it is who has `name`. When it rejects, also because `signal` has
   * aborted, nothing is left of it, or what is left ends by itself.
   */
  start(child: ChildSpec<any>, name: string, place: string | undefined, signal: AbortSignal): Promise<Incarnation>
  /** A ref to whoever has that name at the time. */
  follow(name: string): Promise<Ref<any>>
}

/** A child that is up, once. */
export interface Incarnation {
  readonly address: ActorAddress | undefined
  /** Said once; never rejects. */
  readonly down: Promise<Pick<Down, 'reason' | 'error'>>
  /**
   * Ends it and whatever was made for it; called once, also when it is down. Where its peer is away that waits for it to come
   * back, until `signal` aborts.
   */
  stop(signal: AbortSignal): Promise<void>
}

type Listener = (snapshot: SupervisorSnapshot) => void

interface Observer {
  next?: Listener
  error?: (error: unknown) => void
  complete?: () => void
}

const STATUS: Readonly<Record<SupervisorState, SupervisorSnapshot['status']>> = {
  Starting: 'active',
  Running: 'active',
  Restarting: 'active',
  Stopping: 'active',
  Failing: 'active',
  Done: 'done',
  Stopped: 'stopped',
  Failed: 'error',
}

/**
 * Starts children and keeps them up; whoever called it ends it.
 * @throws UsageError
 */
export function supervise(ports: SupervisorPorts, options: SupervisorOptions): SupervisorHost {
  return new SupervisorHost(ports, planOf(options))
}

export class SupervisorHost implements Supervisor {
  readonly name: string
  readonly finished: Promise<SupervisorSnapshot>
  readonly #ports: SupervisorPorts
  readonly #plan: SupervisorPlan
  readonly #actor: SupervisorActor
  /** What it asks for: done when it is where it says it is, and not while it goes there. */
  readonly #orders: (() => void)[] = []
  /** By child: the attempt that its machine goes by. */
  readonly #attempts: (Attempt | undefined)[] = []
  readonly #ready = Promise.withResolvers<void>()
  readonly #finish = Promise.withResolvers<SupervisorSnapshot>()
  readonly #observers = new Set<Observer>()
  #snapshot: SupervisorSnapshot | undefined
  #failure: SupervisorFailedError | undefined
  /** What the last change was about. */
  #seen = ''
  #alarm: Alarm | undefined

  constructor(ports: SupervisorPorts, plan: SupervisorPlan) {
    this.name = plan.name
    this.finished = this.#finish.promise
    this.#ports = ports
    this.#plan = plan
    this.#ready.promise.catch(() => undefined) // nobody need wait for it
    const host: SupervisorActions = {
      start: (...attempt) => this.#orders.push(() => void this.#run(this.#begun(...attempt))),
      stop: (child) => this.#orders.push(() => this.#attempts[child]?.end()),
      release: (child) => this.#orders.push(() => this.#release(child)),
    }
    this.#actor = createActor(supervisorMachine, { input: { rules: plan.rules, host, at: performance.now() } })
    this.#actor.start()
    this.#act()
    const { over } = ports
    const close = (): void => this.#tell({ type: 'supervisor.stop', at: performance.now() })
    if (over?.aborted) close()
    else over?.addEventListener('abort', close, { once: true })
    void this.finished.then(() => over?.removeEventListener('abort', close))
  }

  getSnapshot(): SupervisorSnapshot {
    return (this.#snapshot ??= this.#show())
  }

  async ready({ signal }: Cancel = {}): Promise<void> {
    await whileWanted(() => this.#ready.promise, signal)
  }

  async child(id: string): Promise<Ref<any>> {
    return this.#ports.follow(childOf(this.#plan, id).name)
  }

  subscribe(
    observer: Listener | Observer,
    error?: (error: unknown) => void,
    complete?: () => void,
  ): { unsubscribe(): void } {
    // One of its own each time: who subscribes twice is told twice.
    const own: Observer =
      typeof observer === 'function'
        ? { next: observer, ...(error && { error }), ...(complete && { complete }) }
        : { ...observer }
    if (this.#active) this.#observers.add(own)
    else this.#tellEnd(own)
    return { unsubscribe: () => void this.#observers.delete(own) }
  }

  async *watch({ signal }: Cancel = {}): AsyncGenerator<SupervisorSnapshot> {
    for (let last: SupervisorSnapshot | undefined; !signal?.aborted && (last?.status ?? 'active') === 'active';) {
      const changed = Promise.withResolvers<void>()
      const wake = (): void => changed.resolve()
      const subscription = this.subscribe({ next: wake, error: wake, complete: wake })
      try {
        const now = this.getSnapshot()
        if (now === last) await untilAborted(changed.promise, signal)
        else yield (last = now)
      } finally {
        subscription.unsubscribe()
      }
    }
  }

  async stop({ signal }: Cancel = {}): Promise<void> {
    const stop = (): Promise<unknown> => {
      this.#tell({ type: 'supervisor.stop', at: performance.now() })
      return this.finished
    }
    await whileWanted(stop, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  // ── what the machine asks for ───────────────────────────────────────────────────────────────────────────────────────

  #begun(child: number, number: number, place: number): Attempt {
    return (this.#attempts[child] = new Attempt(child, number, this.#plan.children[child]!.places[place]))
  }

  /** From its start to its end; what comes of it after it was released is nobody's news. */
  async #run(attempt: Attempt): Promise<void> {
    const { child, number } = attempt
    const plan = this.#plan.children[child]!
    let life: Incarnation
    try {
      life = await this.#start(plan, attempt)
    } catch (thrown) {
      const error = asError(thrown)
      const absent = ABSENT.has(codeOf(error))
      const at = performance.now()
      return this.#say(attempt, { type: 'child.refused', child, attempt: number, absent, error, at })
    }
    // One that was told to stop while it was being started is stopped now; its machine hears of its end alone.
    if (attempt.lives(life)) this.#say(attempt, { type: 'child.up', child, attempt: number, at: performance.now() })
    const { reason, error } = await life.down
    this.#say(attempt, { type: 'child.down', child, attempt: number, reason, error, at: performance.now() })
  }

  async #start({ name, spec }: ChildPlan, attempt: Attempt): Promise<Incarnation> {
    const { place, signal } = attempt
    if (!isPlan(spec)) return this.#ports.start(spec, name, place, signal)
    const inner = (attempt.inner = new SupervisorHost(this.#ports, spec))
    inner.subscribe(() => this.#changed())
    try {
      await inner.ready({ signal })
    } catch (error) {
      // What it has started is down before it is said to be.
      await inner.stop()
      throw error
    }
    return { address: undefined, down: inner.finished.then(downOf), stop: (late) => inner.stop({ signal: late }) }
  }

  #release(child: number): void {
    this.#attempts[child]?.end()
    this.#attempts[child] = undefined
  }

  #say(attempt: Attempt, event: SupervisorEvent): void {
    if (this.#attempts[attempt.child] === attempt) this.#tell(event)
  }

  #tell(event: SupervisorEvent): void {
    if (!this.#active) return
    this.#actor.send(event)
    this.#act()
  }

  #act(): void {
    for (let order = this.#orders.shift(); order; order = this.#orders.shift()) order()
    this.#moved()
    if (!this.#active) this.#ended()
  }

  get #active(): boolean {
    return this.#actor.getSnapshot().status === 'active'
  }

  // ── what the machine has come to ────────────────────────────────────────────────────────────────────────────────────

  #moved(): void {
    const { value, context } = this.#actor.getSnapshot()
    this.#wake(context)
    if (value === 'Running' || value === 'Done') this.#ready.resolve()
    const children = context.children.map(({ phase, attempt, lives, reason }) => [phase, attempt, lives, reason])
    const seen = JSON.stringify([value, children])
    if (seen === this.#seen) return
    this.#seen = seen
    this.#changed()
  }

  /** One alarm for whatever is due next. */
  #wake(context: SupervisorContext): void {
    this.#alarm?.cancel()
    const due = dueAt(context)
    if (due === undefined) return
    // A timer may ring a little before its time, which would be too early for what is due.
    const ring = (): void => this.#tell({ type: 'supervisor.time', at: Math.max(due, performance.now()) })
    this.#alarm = new Alarm(Math.max(0, due - performance.now()), ring)
  }

  #changed(): void {
    this.#snapshot = undefined
    for (const { next } of [...this.#observers]) calling(() => next?.(this.getSnapshot()))
  }

  #ended(): void {
    this.#alarm?.cancel()
    const snapshot = this.getSnapshot()
    const { name } = this
    this.#ready.reject(snapshot.error ?? new ActorGoneError(`supervisor '${name}' was stopped`))
    this.#finish.resolve(snapshot)
    for (const observer of [...this.#observers]) this.#tellEnd(observer)
    this.#observers.clear()
  }

  #tellEnd({ error, complete }: Observer): void {
    const failure = this.getSnapshot().error
    calling(() => (failure ? error?.(failure) : complete?.()))
  }

  #show(): SupervisorSnapshot {
    const { value, context } = this.#actor.getSnapshot()
    const { overrun, rules } = context
    if (overrun && !this.#failure) {
      const { id } = this.#plan.children[overrun.child]!
      const cause = this.#showChild(overrun.child, context).error
      this.#failure = new SupervisorFailedError(this.name, id, rules.times, rules.within, { cause })
    }
    return Object.freeze({
      name: this.name,
      status: STATUS[value],
      value,
      children: Object.freeze(context.children.map((_, child) => this.#showChild(child, context))),
      error: this.#failure,
    })
  }

  #showChild(child: number, { children, now }: SupervisorContext): SupervisedChild {
    const { phase, place, lives, notBefore, reason, error } = children[child]!
    const { id, places } = this.#plan.children[child]!
    const attempt = this.#attempts[child]
    const on = places[place]
    const late = reason === 'timeout' ? new TimeoutError(`child '${id}' took too long to start or to stop`) : undefined
    return Object.freeze({
      id,
      state: phase,
      address: attempt?.address,
      on,
      restarts: Math.max(0, lives - 1),
      due: phase === 'waiting' && notBefore > now ? new Date(Date.now() + notBefore - performance.now()) : undefined,
      reason,
      error: error ?? late,
      supervisor: attempt?.inner?.getSnapshot(),
    })
  }
}

/** One try to have a child up. */
class Attempt {
  readonly child: number
  readonly number: number
  readonly place: string | undefined
  /** Of a child that is a supervisor. */
  inner: SupervisorHost | undefined
  readonly #wanted = new AbortController()
  #life: Incarnation | undefined

  constructor(child: number, number: number, place: string | undefined) {
    this.child = child
    this.number = number
    this.place = place
  }

  /** Aborts when it is wanted no more. */
  get signal(): AbortSignal {
    return this.#wanted.signal
  }
  get address(): ActorAddress | undefined {
    return this.#life?.address
  }

  /** False: it is wanted no more, and is being stopped. */
  lives(life: Incarnation): boolean {
    this.#life = life
    if (this.#wanted.signal.aborted) void this.#halt(life)
    return !this.#wanted.signal.aborted
  }

  /** Whether it is being started, up or down. Idempotent. */
  end(): void {
    if (this.#wanted.signal.aborted) return
    this.#wanted.abort(new JobStoppedError('its supervisor wants it no more'))
    if (this.#life) void this.#halt(this.#life)
  }

  async #halt(life: Incarnation): Promise<void> {
    const late = new AbortController()
    const giveUp = new TimeoutError(`it could not be stopped within ${LEFT_MS} ms`)
    const alarm = new Alarm(LEFT_MS, () => late.abort(giveUp), { keep: false })
    try {
      await life.stop(late.signal)
    } catch {
      // Whether it is down its notice says, to whoever still listens; where nobody can be reached its session ends by itself.
    } finally {
      alarm.cancel()
    }
  }
}

function downOf({ status, error }: SupervisorSnapshot): Pick<Down, 'reason' | 'error'> {
  return { reason: status === 'done' ? 'exit' : status === 'error' ? 'error' : 'stopped', error }
}

/** What others throw when they are told something is no affair of the supervisor's: it stays uncaught. */
function calling(tell: () => void): void {
  try {
    tell()
  } catch (error) {
    setTimeout(() => {
      throw error
    })
  }
}
