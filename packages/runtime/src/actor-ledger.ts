// What is known of a durable machine beside its snapshot: the same whether it has just lived through it or finds it again.
import type { AnyActorRef } from 'xstate'
import { Senders } from './actor-senders.ts'
import { TimerTable } from './actor-timers.ts'
import { ACTOR_ROW, type StoredActor } from './stored-actor.ts'

interface Child {
  /** None: it is known from what was written down, and not found yet. */
  readonly ref: AnyActorRef | undefined
  readonly since: number
}

export class ActorLedger {
  readonly timers: TimerTable
  readonly senders: Senders
  /** The first entry that is not handled. */
  next: number
  /** Events that were. */
  handled: number
  /** What it runs, and since how many entries. */
  #children = new Map<string, Child>()
  #seen: unknown

  constructor(was?: StoredActor) {
    this.timers = new TimerTable(was?.timers, was?.lastTimer)
    this.senders = new Senders(was?.senders)
    this.next = was?.next ?? 0
    this.handled = was?.handled ?? 0
    for (const [id, since] of was?.children ?? []) this.#children.set(id, { ref: undefined, since })
  }

  /** XState has made it anew, as it was: its children are others, and the same. */
  found(children: Readonly<Record<string, AnyActorRef>>): void {
    const before = this.#children
    this.#children = new Map(
      Object.entries(children).map(([id, ref]) => [id, { ref, since: before.get(id)?.since ?? 0 }] as const),
    )
    this.#seen = children
  }

  /** Those it has behind entry `number`; -1: at its start. Returns those that are new. */
  saw(children: Readonly<Record<string, AnyActorRef>>, number: number): readonly AnyActorRef[] {
    if (children === this.#seen) return []
    this.#seen = children
    const now: Map<string, Child> = new Map()
    const begun: AnyActorRef[] = []
    for (const [id, ref] of Object.entries(children)) {
      const before = this.#children.get(id)
      const same = before?.ref === ref
      if (!same) begun.push(ref)
      now.set(id, same ? before : { ref, since: number + 1 })
    }
    this.#children = now
    return begun
  }

  /** The one of that id, if it is that one and not another one since. */
  child(id: string, since: number): AnyActorRef | undefined {
    const child = this.#children.get(id)
    return child?.since === since ? child.ref : undefined
  }

  /** Tells it from others of its id: how many entries there were when it was begun. Undefined: it is not there any more. */
  sinceOf(ref: AnyActorRef): number | undefined {
    const child = this.#children.get(ref.id)
    return child?.ref === ref ? child.since : undefined
  }

  stored(of: Pick<StoredActor, 'machine' | 'version' | 'epoch' | 'persisted'>): StoredActor {
    const { machine, version, epoch, persisted } = of
    return {
      v: ACTOR_ROW,
      machine,
      version,
      epoch,
      next: this.next,
      handled: this.handled,
      persisted,
      timers: this.timers.stored(),
      lastTimer: this.timers.last,
      children: [...this.#children].map(([id, { since }]) => [id, since] as const),
      senders: this.senders.all(),
    }
  }
}
