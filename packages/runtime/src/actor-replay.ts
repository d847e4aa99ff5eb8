// Finds out how a durable machine was from what is written down: the snapshot, and behind it entry by entry. It runs nothing:
// no action, nothing that is invoked. What an action would have done was done in its time, or is lost with it.
import {
  createActor,
  initialTransition,
  transition,
  type AnyActorRef,
  type AnyEventObject,
  type AnyMachineSnapshot,
  type AnyStateMachine,
} from 'xstate'
import type { Entry, InputEntry, OverEntry, SettledEntry } from './actor-entry.ts'
import { ActorLedger } from './actor-ledger.ts'
import type { SaidAction } from './actor-timers.ts'
import { settledSnapshot } from './durable-machine.ts'
import { asError } from './errors.ts'
import type { Moment } from './moment.ts'
import type { StoredActor } from './stored-actor.ts'

export type Numbered<E = Entry> = readonly [number: number, entry: E]

export interface Replayed {
  readonly ledger: ActorLedger
  readonly status: AnyMachineSnapshot['status']
  /** As XState persists it: what it was running is run again by whoever starts it. */
  readonly persisted: unknown
  readonly snapshot: AnyMachineSnapshot
  /** Those behind it, which nobody has begun to handle. */
  readonly rest: readonly Numbered<InputEntry>[]
  /** How it had ended, where that was written. */
  readonly over: OverEntry | undefined
}

/**
 * `machine`: as it is run (`durableMachine`). `now`: since when those timers run of which it is not known when they were
 * set: what set them was handled in the last moment, or is now. `other`: the entries were written by another chart. A text:
 * why this machine cannot go on from there.
 */
export function replay(
  machine: AnyStateMachine,
  row: StoredActor,
  entries: readonly Numbered[],
  now: Moment,
  other = false,
): Replayed | string {
  const found = createActor(machine, { snapshot: row.persisted as never }).getSnapshot() as AnyMachineSnapshot
  // What it was persisted in is no state of this chart.
  if (found.status === 'error' && (row.persisted as { status?: unknown }).status !== 'error')
    return `it cannot be put where it was: ${asError(found.error).message}`
  const ledger = new ActorLedger(row)
  ledger.found(found.children)
  const life = new Life(machine, found, ledger, other)
  let begun = row.next
  let over: OverEntry | undefined
  for (const [, entry] of entries) {
    if (entry.kind === 'begun') begun = Math.max(begun, entry.upTo)
    else if (entry.kind === 'over') over = entry
  }
  const rest: Numbered<InputEntry>[] = []
  for (const [number, entry] of entries) {
    if (entry.kind === 'timed') ledger.timers.stamp(entry.upTo, entry.by)
    if (entry.kind === 'begun' || entry.kind === 'timed' || entry.kind === 'over') continue
    // Taken is taken, handled or not.
    if (entry.kind === 'event' && entry.from !== undefined) ledger.senders.took(entry.from, entry.seq ?? 0)
    if (number < begun) life.handle(number, entry)
    // One that another chart has numbered rings again, under the number that it has in this one.
    else if (!other || entry.kind !== 'timer') rest.push([number, entry])
  }
  // It did not, then; or it was written that it did.
  if (life.failure && over?.how !== 'error') return life.failure
  ledger.next = rest[0]?.[0] ?? nextOf(row, entries)
  ledger.timers.stamp(ledger.next, now)
  const { snapshot } = life
  return { ledger, status: snapshot.status, persisted: life.persisted(), snapshot, rest, over }
}

/**
 * One that had begun, and of which nothing was written by then: what it does at its start was done, or is lost.
 * @throws what its machine throws
 */
export function begunUnseen(machine: AnyStateMachine, input: unknown, now: Moment): Replayed {
  const [snapshot, actions] = initialTransition(machine, input as never)
  const ledger = new ActorLedger()
  for (const action of actions as readonly SaidAction[]) ledger.timers.hear(action, -1)
  ledger.timers.stamp(0, now)
  ledger.saw(snapshot.children as Readonly<Record<string, AnyActorRef>>, -1)
  const persisted = machine.getPersistedSnapshot(snapshot)
  return { ledger, status: snapshot.status, persisted, snapshot, rest: [], over: undefined }
}

/** Behind the last. */
function nextOf({ next }: StoredActor, entries: readonly Numbered[]): number {
  const last = entries.at(-1)
  return last ? last[0] + 1 : next
}

class Life {
  snapshot: AnyMachineSnapshot
  /** What it was doing when it threw, and what. */
  failure: string | undefined
  readonly #machine: AnyStateMachine
  readonly #ledger: ActorLedger
  readonly #other: boolean
  /** What has ended: nothing here ever told XState's own actors. */
  readonly #settled = new Map<AnyActorRef, SettledEntry>()

  constructor(machine: AnyStateMachine, snapshot: AnyMachineSnapshot, ledger: ActorLedger, other: boolean) {
    this.#machine = machine
    this.snapshot = snapshot
    this.#ledger = ledger
    this.#other = other
  }

  handle(number: number, entry: InputEntry): void {
    if (this.snapshot.status !== 'active') return
    const event = this.#eventOf(entry)
    if (!event) return
    // What it sends to itself comes before what was sent to it.
    const events = [event]
    for (let next = events.shift(); next && this.snapshot.status === 'active'; next = events.shift())
      this.#take(next, number, events)
    if (this.snapshot.status !== 'active') this.#ledger.timers.clear()
  }

  #take(event: AnyEventObject, number: number, own: AnyEventObject[]): void {
    this.#ledger.handled++
    try {
      const [next, actions] = transition(this.#machine, this.snapshot, event)
      this.snapshot = next
      for (const action of actions as readonly (SaidAction & { info: { self: unknown } })[]) {
        if (this.#ledger.timers.hear(action, number) || action.type !== 'xstate.sendTo') continue
        const { to, event: sent } = action.params as { to: unknown; event: AnyEventObject }
        if (to === action.info.self) own.push(sent)
      }
      this.#ledger.saw(next.children, number)
    } catch (error) {
      this.snapshot = { ...this.snapshot, status: 'error', error } as AnyMachineSnapshot
      this.failure = `entry ${number} of its journal ('${event.type}') cannot be replayed: ${asError(error).message}`
    }
  }

  /** Undefined: what it was about is over. */
  #eventOf(entry: InputEntry): AnyEventObject | undefined {
    switch (entry.kind) {
      case 'event':
        return entry.event
      case 'timer': {
        const { timer, type } = entry
        const { timers } = this.#ledger
        return (this.#other ? timers.takeLike(timer, type) : timers.take(timer, type))?.event
      }
      case 'settled': {
        const { child, since, failed, value } = entry
        const ref = this.#ledger.child(child, since)
        if (!ref || this.#settled.has(ref) || (ref.getSnapshot() as { status: string }).status !== 'active')
          return undefined
        this.#settled.set(ref, entry)
        return failed
          ? { type: `xstate.error.actor.${child}`, error: value, actorId: child }
          : { type: `xstate.done.actor.${child}`, output: value, actorId: child }
      }
    }
  }

  persisted(): unknown {
    const { snapshot } = this
    const persisted = this.#machine.getPersistedSnapshot(snapshot) as unknown as {
      children: Record<string, { snapshot: unknown }>
    }
    for (const [id, ref] of Object.entries(snapshot.children as Record<string, AnyActorRef>)) {
      const ended = this.#settled.get(ref)
      if (ended) persisted.children[id]!.snapshot = settledSnapshot(ended.failed, ended.value)
    }
    return persisted
  }
}
