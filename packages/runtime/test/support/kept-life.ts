// A durable machine through several lives, without a peer around it: what its host does is done here by hand, one step after
// the other, so that it can be killed at any of them.
import type { AnyActorRef, AnyMachineSnapshot, AnyStateMachine } from 'xstate'
import type { EntryEvent, InputEntry } from '../../src/actor-entry.ts'
import { ActorJournal } from '../../src/actor-journal.ts'
import { recoverActor } from '../../src/actor-recovery.ts'
import type { Numbered } from '../../src/actor-replay.ts'
import { KeptActor, type KeptHome, type KeptKind } from '../../src/kept-actor.ts'
import { thisMoment } from '../../src/moment.ts'
import type { Store } from '../../src/store/store.ts'

export const KEY = 'session job'

export function kindOf(machine: AnyStateMachine, every = 256, more: Partial<KeptKind['durable']> = {}): KeptKind {
  return { name: 'test', machine, durable: { version: 1, every, ...more } }
}

/** How it is, but for what follows from when and how often it was killed. */
export interface Shape {
  readonly persisted: unknown
  readonly timers: readonly (readonly [timer: number, event: string])[]
  readonly handled: number
  readonly senders: unknown
}

export class KeptLife implements KeptHome {
  readonly kept: KeptActor
  ready = true
  readonly inbox: Numbered<InputEntry>[] = []
  /** Why it could not go on. */
  reason: Error | undefined
  #changed = Promise.withResolvers<void>()

  private constructor(make: (home: KeptHome) => KeptActor) {
    this.kept = make(this)
    this.kept.actor.subscribe({ error: (error) => this.kept.over('error', 0, error) })
  }

  static async begin(kind: KeptKind, store: Store, input?: unknown): Promise<KeptLife> {
    const journal = await ActorJournal.open(store, store.rows!, KEY, { isNew: true })
    const life = new KeptLife((home) => new KeptActor(kind, journal, home, { epoch: 1, input }))
    await life.kept.start()
    return life
  }

  /** A text: why it is quarantined. `before`: when it was found, and does nothing yet. */
  static async again(
    kind: KeptKind | undefined,
    store: Store,
    before?: (life: KeptLife) => void,
  ): Promise<KeptLife | string> {
    const [row] = await store.rows!.all('actor')
    const journal = await ActorJournal.open(store, store.rows!, KEY)
    const found = await recoverActor(row?.value, kind, journal, thisMoment())
    if (typeof found === 'string') return found
    const life = new KeptLife((home) => new KeptActor(kind!, journal, home, { epoch: 1 }, found))
    before?.(life)
    await life.kept.start()
    return life
  }

  came(entries: readonly Numbered<InputEntry>[]): void {
    this.inbox.push(...entries)
    this.handle()
    this.#tell()
  }
  begun(): void {
    this.handle()
    this.#tell()
  }
  lost(error: Error): void {
    this.reason = error
    this.#tell()
  }

  handle(): void {
    if (!this.ready) return
    for (let next = this.inbox[0]; next && this.kept.mayHandle(next[0]); next = this.inbox[0]) {
      this.inbox.shift()
      this.kept.handle(...next)
    }
  }

  /** All that came has been handled. */
  async idle(): Promise<void> {
    while (this.inbox.length > 0) await this.changed()
  }

  /** Something came, or has been handled. */
  changed(): Promise<void> {
    return this.#changed.promise
  }
  #tell(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }

  /** As a sender does, over as many links as it takes. Settles when it is on disk. */
  async send(event: EntryEvent, from?: string, seq?: number): Promise<void> {
    if (from === undefined || seq === undefined) return this.kept.accept([{ kind: 'event', at: 0, event }]).told
    if (!this.kept.senders.isNew(from, seq)) return this.kept.settled
    this.kept.senders.took(from, seq)
    return this.kept.accept([{ kind: 'event', at: 0, event, from, seq }]).told
  }

  /** Its time has come. */
  ring(timer: number, type: string): Promise<void> {
    return this.kept.accept([{ kind: 'timer', at: 0, timer, type }]).told
  }

  get snapshot(): AnyMachineSnapshot {
    return this.kept.actor.getSnapshot() as AnyMachineSnapshot
  }
  child(id: string): AnyActorRef {
    return (this.snapshot.children as Record<string, AnyActorRef>)[id]!
  }
  /** Ids of what it runs. */
  get running(): string[] {
    const children = this.snapshot.children as Record<string, AnyActorRef>
    return Object.entries(children)
      .filter(([, ref]) => (ref.getSnapshot() as { status: string }).status === 'active')
      .map(([id]) => id)
  }

  shape(): Shape {
    const going = this.snapshot.status === 'active'
    const { children, ...persisted } = this.kept.actor.getPersistedSnapshot() as unknown as Record<string, unknown>
    return {
      // Of one that has ended nothing is run again.
      persisted: structuredClone({ ...persisted, ...(going && { children }) }),
      timers: going ? this.kept.timers.map(({ timer, event }) => [timer, event] as const) : [],
      handled: this.kept.handled,
      senders: this.kept.senders.all(),
    }
  }
}
