// Tells once that an actor is no more, or that its peer has not been heard of for too long. Whoever monitors ends it, or it
// ends with its notice, or with the peer that monitors.
import type { Cancel } from '@errand/transport'
import { createActor } from 'xstate'
import { shownValue, type ActorState } from './actor-state.ts'
import type { ActorAddress, Down, Monitor } from './actor-surface.ts'
import { placeOf, type ActorWay } from './actor-way.ts'
import { Alarm } from './alarm.ts'
import { asError, codeOf, PeerClosedError, PeerUnreachableError } from './errors.ts'
import { monitorMachine, type DownReason, type MonitorActions, type MonitorActor } from './monitor-machine.ts'
import { onAbort } from './on-abort.ts'

/** Answers that mean that its peer knows of no such actor. */
const UNKNOWN: ReadonlySet<string> = new Set(['SESSION_NOT_FOUND', 'JOB_NOT_FOUND', 'ACTOR_GONE', 'SESSION_CLOSED'])

export class ActorMonitor implements MonitorActions, Monitor {
  readonly address: ActorAddress
  readonly down: Promise<Down>
  readonly #way: ActorWay
  readonly #settle: PromiseWithResolvers<Down> = Promise.withResolvers<Down>()
  readonly #machine: MonitorActor
  readonly #signal: AbortSignal | undefined
  readonly #signals: readonly (() => void)[]
  #unwatch: (() => void) | undefined
  #clock: Alarm | undefined
  #heard = false
  #away: Error | undefined
  #told = false

  constructor(way: ActorWay, address: ActorAddress, { signal }: Cancel = {}) {
    signal?.throwIfAborted()
    this.address = address
    this.#way = way
    this.down = this.#settle.promise
    this.down.catch(() => undefined) // most wait by iterating
    this.#signal = signal
    this.#machine = createActor(monitorMachine, { input: this })
    this.#machine.start()
    this.#signals = [way.over, ...(signal ? [signal] : [])].map((one) => onAbort(one, () => this.#leave()))
    if (way.over.aborted) this.#leave()
    else this.#watch()
  }

  #watch(): void {
    const { address } = this
    const unwatch = this.#way.watch(
      placeOf(address),
      address.epoch,
      (state) => this.#see(state),
      (reason) => this.#lost(reason),
    )
    if (this.#over) unwatch()
    else this.#unwatch = unwatch
  }

  get #over(): boolean {
    return this.#machine.getSnapshot().status !== 'active'
  }

  #see(state: ActorState): void {
    if (this.#over) return
    this.#away = undefined
    if (state.status === 'active') {
      this.#heard = true
      this.#machine.send({ type: 'monitor.heard' })
    } else this.#machine.send({ type: 'monitor.ended', why: whyOf(state, this.#heard) })
  }

  #lost(error: Error): void {
    if (this.#over) return
    this.#away = error
    this.#machine.send({ type: 'monitor.away', error, silent: (error as { silent?: unknown }).silent === true })
  }

  // ── what the machine asks for ───────────────────────────────────────────────────────────────────────────────────────

  startClock(): void {
    // A link that breaks was alive at most one sign of life ago.
    const { interval, suspicion } = this.#way.beat
    const left = this.#heard ? Math.max(0, suspicion - interval) : suspicion
    this.#clock = new Alarm(left, () => {
      const error = new PeerUnreachableError(`nothing was heard of ${this.address.peer} for ${suspicion} ms`, {
        ...(this.#away && { cause: this.#away }),
      })
      this.#machine.send({ type: 'monitor.given-up', error })
    })
  }

  stopClock(): void {
    this.#clock?.cancel()
  }

  tell(why: DownReason): void {
    this.#told = true
    this.#settle.resolve(Object.freeze({ address: this.address, ...why, at: new Date() }))
    // Not within the watch that brought it.
    queueMicrotask(() => this.#letGo())
  }

  // ── its end ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #leave(): void {
    if (this.#over) return
    this.#machine.send({ type: 'monitor.left' })
    this.#settle.reject(
      this.#way.over.aborted ? new PeerClosedError() : asError(this.#signal?.reason ?? new LeftError()),
    )
    this.#letGo()
  }

  #letGo(): void {
    for (const unlisten of this.#signals) unlisten()
    this.#unwatch?.()
    this.#unwatch = undefined
    this.#clock?.cancel()
  }

  [Symbol.dispose](): void {
    this.#leave()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Down, void, undefined> {
    try {
      await this.down.catch(() => undefined)
      if (this.#told) yield await this.down
    } finally {
      this[Symbol.dispose]()
    }
  }
}

class LeftError extends Error {
  override readonly name = 'AbortError'
  constructor() {
    super('nobody monitors it any more')
  }
}

/** `heard`: it was there before. */
function whyOf({ status, reason, output }: ActorState, heard: boolean): DownReason {
  const error = reason && { error: reason }
  switch (status) {
    case 'done':
      return { reason: 'exit', ...(output && { output: shownValue(output) }) }
    case 'stopped':
      return { reason: 'stopped', ...error }
    case 'error':
      return { reason: codeOf(reason) === 'PEER_RESTARTED' ? 'peer lost' : 'error', ...error }
    default:
      return { reason: heard && UNKNOWN.has(codeOf(reason) ?? '') ? 'peer lost' : 'gone', ...error }
  }
}
