// A durable machine at work: XState's actor of it, its journal, its timers and what it invokes. Whatever is to reach the
// machine is written down first, and reaches it in that order; nothing else does.
import {
  createActor,
  type Actor,
  type AnyActorRef,
  type AnyEventObject,
  type AnyMachineSnapshot,
  type AnyStateMachine,
} from 'xstate'
import { chunksOf, type Entry, type EntryEvent, type InputEntry, type OverEntry } from './actor-entry.ts'
import type { ActorJournal, Appended } from './actor-journal.ts'
import { ActorLedger } from './actor-ledger.ts'
import type { Numbered, Replayed } from './actor-replay.ts'
import type { Senders } from './actor-senders.ts'
import { ActorAlarms, type SaidAction } from './actor-timers.ts'
import type { DurableRule } from './actor-surface.ts'
import { LATER } from './durable-check.ts'
import { durableMachine, keptBy, type SettleEvent } from './durable-machine.ts'
import { asError, codeOf, PeerClosedError, UsageError } from './errors.ts'
import { thisMoment } from './moment.ts'

/**
 * So many entries may be about to be handled: their actions are run at most once, so those of the ones that a crash meets
 * there are not run again. What is behind them is handled whenever its turn comes, also after a restart.
 */
export const BEGUN_MOST = 256

/** What it needs of its host. */
export interface KeptHome {
  /** These are on disk, to be handled in this order; `handle` each when `mayHandle` says so. */
  came(entries: readonly Numbered<InputEntry>[]): void
  /** Whether it handles what comes at once. */
  readonly ready: boolean
  /** More was begun: what waited for that may be handled. */
  begun(): void
  /** It cannot be kept any more: it is not worth going on. Told once. */
  lost(error: Error): void
  /** The machine has handled an event, its own among them; `after`: none where it threw. */
  took?(event: AnyEventObject, before: AnyMachineSnapshot, after: AnyMachineSnapshot | undefined): void
}

/** What it is made of. */
export interface KeptKind {
  readonly name: string
  readonly machine: AnyStateMachine
  readonly durable: DurableRule
}

/** `told` settles when they are on disk, and the host has them. @throws StoreError: none of them is there */
export interface Accepted {
  /** The number of the first of them. */
  readonly first: number
  readonly told: Promise<void>
}

interface Options {
  readonly epoch: number
  readonly input?: unknown
  readonly logger?: ((...said: unknown[]) => void) | undefined
}

export class KeptActor {
  /** What it sends to itself by `self.send` comes through the journal as well. */
  readonly actor: Actor<AnyStateMachine>
  readonly #kind: KeptKind
  readonly #epoch: number
  readonly #journal: ActorJournal
  readonly #home: KeptHome
  readonly #ledger: ActorLedger
  readonly #alarms: ActorAlarms
  readonly #send: (event: EntryEvent) => void
  /** The entry that is being handled; -1: none was. */
  #number = -1
  /** What is to reach the machine now: of an entry, and what it has sent to itself. */
  #expected = 0
  /** Entries before this one may be handled. */
  #begun: number
  #beginning = false
  /** Everything that was appended until now is accepted, and told. */
  #told: Promise<void> = Promise.resolve()
  /** Of these it is known how they have ended; they are not run again. */
  readonly #known: ReadonlySet<string>
  /** Behind an earlier life, in which something had been written behind the row. */
  readonly #behind: boolean
  #rest: readonly Numbered<InputEntry>[]
  #kept: number
  /** Until its first row is on disk. */
  #founded: PromiseWithResolvers<void> | undefined
  #turning = false
  #left = false

  /** `was`: how it was found; none: it begins. */
  constructor(kind: KeptKind, journal: ActorJournal, home: KeptHome, options: Options, was?: Replayed) {
    this.#kind = kind
    this.#epoch = options.epoch
    this.#journal = journal
    this.#home = home
    this.#ledger = was?.ledger ?? new ActorLedger()
    this.#begun = this.#ledger.next
    this.#kept = this.#ledger.handled
    this.#rest = was?.rest ?? []
    this.#behind = was !== undefined
    if (!journal.hasRow) this.#founded = Promise.withResolvers<void>()
    this.#known = new Set(
      this.#rest.flatMap(([, entry]) => (entry.kind === 'settled' ? [`${entry.since} ${entry.child}`] : [])),
    )
    this.#alarms = new ActorAlarms(this.#ledger.timers, ({ timer, event: { type } }) =>
      this.#come({ kind: 'timer', at: Date.now(), timer, type }),
    )
    const { input, logger } = options
    const keeper = {
      takes: (event: AnyEventObject) => this.#takes(event),
      heard: (action: SaidAction, self: unknown) => this.#heard(action, self),
      took: (event: AnyEventObject, before: AnyMachineSnapshot, after: AnyMachineSnapshot | undefined) => {
        this.#ledger.handled++
        home.took?.(event, before, after)
      },
      runs: (child: AnyActorRef) => !this.#known.has(`${this.#ledger.sinceOf(child)} ${child.id}`),
      settled: (child: AnyActorRef, failed: boolean, value: unknown) => this.#onSettled(child, failed, value),
    }
    this.actor = keptBy(keeper, () =>
      createActor(durableMachine(kind.machine), {
        ...(logger && { logger }),
        ...(was ? { snapshot: was.persisted as never } : { input: input as never }),
        clock: this.#alarms.clock,
      }),
    )
    const { actor } = this
    const send = actor.send.bind(actor)
    this.#send = (event) => send(event)
    actor.send = (event: EntryEvent) => this.#come({ kind: 'event', at: Date.now(), event })
    if (was) this.#ledger.found(this.#children)
  }

  /** Who has sent to it, and how far. */
  get senders(): Senders {
    return this.#ledger.senders
  }
  /** Events that it has handled, in all its lives. */
  get handled(): number {
    return this.#ledger.handled
  }
  /** What it waits for. */
  get timers(): readonly { readonly timer: number; readonly event: string; readonly due: Date }[] {
    return this.#alarms.dues()
  }

  /**
   * It begins, or goes on: with the rest of its timers, what it was running, and what had come and not been handled. Settles
   * when it may be sent to: nothing lies in the journal of one that has no row.
   */
  async start(): Promise<void> {
    this.actor.start()
    if (this.#left || this.#snapshot.status !== 'active') return
    if (!this.#behind) {
      this.#see(-1)
      this.#ledger.timers.stamp(0, thisMoment())
    }
    // What was found out is not to be found out again.
    const kept = this.#keep()
    if (this.#founded) {
      await kept
      this.#founded.resolve()
      this.#founded = undefined
    }
    const rest = this.#rest
    if (this.#behind)
      this.#alarms.resume(new Set(rest.flatMap(([, entry]) => (entry.kind === 'timer' ? [entry.timer] : []))))
    this.#rest = []
    if (rest.length > 0) this.#home.came(rest)
  }

  // ── what comes ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws PeerClosedError, StoreError, NotTransferableError, TooLargeError: none of them was written */
  accept(inputs: readonly InputEntry[]): Accepted {
    if (this.#left) throw new PeerClosedError()
    const upTo = this.#journal.next + inputs.length
    const begun = this.#home.ready && upTo - this.#ledger.next <= BEGUN_MOST ? upTo : this.#begun
    const begins = begun > this.#begun ? [{ kind: 'begun', upTo } as const] : []
    const { entries, accepted } = this.#append([...inputs, ...begins])
    const before = this.#told
    const told = (async () => {
      await accepted
      await before
      if (this.#left) return
      this.#begun = Math.max(this.#begun, begun)
      this.#home.came(entries.slice(0, inputs.length) as readonly Numbered<InputEntry>[])
    })()
    this.#told = told.catch((error: unknown) => this.#lose(asError(error)))
    return { first: upTo - inputs.length, told }
  }

  #append(entries: readonly Entry[]): Appended {
    try {
      return this.#journal.append(entries)
    } catch (error) {
      // What cannot be written down is its sender's; a store that is gone is ours.
      if (codeOf(error)?.startsWith('STORE_')) this.#lose(asError(error))
      throw error
    }
  }

  /** Settles when what was accepted until now is on disk. */
  get settled(): Promise<void> {
    return this.#told
  }

  /** Of its own. @throws NotTransferableError, TooLargeError: it was not written */
  #come(entry: InputEntry): void {
    if (this.#left) return
    if (this.#founded) {
      chunksOf([entry]) // refused now, if at all: who sends it is there to be told
      void this.#founded.promise.then(() => this.#come(entry))
      return
    }
    try {
      this.accept([entry]).told.catch(() => undefined)
    } catch (error) {
      // Lost with its store, which its host was told: a timer has nobody to tell.
      if (!this.#left) throw error
    }
  }

  #onSettled(child: AnyActorRef, failed: boolean, value: unknown): void {
    const since = this.#ledger.sinceOf(child)
    // Of two of an id the later one counts, as if it had stopped the other: that is all that is found again.
    if (this.#left || since === undefined) return
    const entry = { kind: 'settled', at: Date.now(), child: child.id, since } as const
    try {
      this.#come({ ...entry, failed, value })
    } catch (error) {
      // What cannot be written down cannot be handled: that is how it has ended, then.
      this.#come({ ...entry, failed: true, value: error })
    }
  }

  // ── what is handled ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Whether entry `number` may be handled now. Where not, `begun` is told when more may be. */
  mayHandle(number: number): boolean {
    if (number < this.#begun) return true
    if (!this.#beginning && !this.#left) void this.#begin(number)
    return false
  }

  async #begin(number: number): Promise<void> {
    this.#beginning = true
    const upTo = Math.min(this.#journal.next, number + BEGUN_MOST)
    try {
      await this.#append([{ kind: 'begun', upTo }]).accepted
      this.#begun = Math.max(this.#begun, upTo)
    } catch (error) {
      return this.#lose(asError(error))
    } finally {
      this.#beginning = false
    }
    if (!this.#left) this.#home.begun()
  }

  /** In the order in which they came. False: what it was about is over, and the machine did not hear of it. */
  handle(number: number, entry: InputEntry): boolean {
    this.#number = number
    this.#expected = 1
    const reached = this.#left || this.#snapshot.status !== 'active' ? false : this.#tell(entry)
    this.#expected = 0
    this.#ledger.next = number + 1
    this.#see(number)
    if (!this.#turning) {
      this.#turning = true
      // Once for all that is handled in one go.
      queueMicrotask(() => this.#turned())
    }
    return reached
  }

  #tell(entry: InputEntry): boolean {
    switch (entry.kind) {
      case 'event':
        this.#send(entry.event)
        return true
      case 'timer': {
        const one = this.#ledger.timers.take(entry.timer, entry.type)
        if (!one) return false
        // XState's own, where it knows of it: it has to forget it too.
        const fire = this.#alarms.fireOf(one.timer)
        if (fire) fire()
        else this.#send(one.event)
        return true
      }
      case 'settled': {
        const child = this.#ledger.child(entry.child, entry.since)
        if (!child || (child.getSnapshot() as { status: string }).status !== 'active') return false
        child.send({ type: 'errand.settle', failed: entry.failed, value: entry.value } satisfies SettleEvent)
        return true
      }
    }
  }

  #turned(): void {
    this.#turning = false
    if (this.#left || this.#snapshot.status !== 'active') return
    const { next, timers } = this.#ledger
    const by = thisMoment()
    if (timers.stamp(next, by)) this.#note({ kind: 'timed', upTo: next, by })
    this.#keepIfDue()
  }

  /** One at a time: what is due meanwhile is so behind it. */
  #keepIfDue(): void {
    if (this.#left || this.#snapshot.status !== 'active' || this.#journal.keeping) return
    if (this.#ledger.handled - this.#kept >= this.#kind.durable.every) void this.#keep()
  }

  /** Never rejects. */
  async #keep(): Promise<void> {
    const {
      name: machine,
      durable: { version },
    } = this.#kind
    this.#kept = this.#ledger.handled
    try {
      const persisted = this.actor.getPersistedSnapshot()
      await this.#journal.keep(this.#ledger.stored({ machine, version, epoch: this.#epoch, persisted }))
      this.#keepIfDue()
    } catch (error) {
      this.#lose(asError(error))
    }
  }

  /** Nobody waits for it. */
  #note(entry: Parameters<ActorJournal['append']>[0][number]): void {
    try {
      this.#journal.append([entry]).accepted.catch((error: unknown) => this.#lose(asError(error)))
    } catch (error) {
      this.#lose(asError(error))
    }
  }

  // ── its end ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** It has ended, and `said` so many records before its output: written before that is said. */
  over(how: OverEntry['how'], said: number, error?: unknown): void {
    if (this.#left) return
    this.#left = true
    this.#alarms[Symbol.dispose]()
    const entry = { kind: 'over', how, said } as const
    try {
      this.#journal.append([{ ...entry, error }]).accepted.catch(() => undefined)
    } catch {
      // Its words are enough, and where nothing can be written any more its job's row will say so.
      const { message } = asError(error)
      void (async () => this.#journal.append([{ ...entry, error: new Error(message) }]).accepted)().catch(
        () => undefined,
      )
    }
  }

  /** It is left as it is: it goes on when its peer is back. Settles when what was begun is on disk. */
  async leave(): Promise<void> {
    this.#left = true
    this.#alarms[Symbol.dispose]()
    this.actor.stop()
    await this.#told
  }

  #lose(error: Error): void {
    if (this.#left) return
    this.#left = true
    this.#alarms[Symbol.dispose]()
    this.#home.lost(error)
  }

  // ── what XState says ────────────────────────────────────────────────────────────────────────────────────────────────

  get #snapshot(): AnyMachineSnapshot {
    return this.actor.getSnapshot() as AnyMachineSnapshot
  }
  get #children(): Readonly<Record<string, AnyActorRef>> {
    return this.#snapshot.children as Readonly<Record<string, AnyActorRef>>
  }

  /** Nothing reaches it past its journal: it would not be found again. */
  #takes({ type }: AnyEventObject): void {
    if (this.#expected === 0) throw this.#unfit(`'${type}' reached it past its journal`)
    this.#expected--
  }

  #heard(action: SaidAction, self: unknown): void {
    const timer = this.#ledger.timers.hear(action, this.#number)
    const toOther = action.type === 'xstate.sendTo' && (action.params as { to: unknown }).to !== self
    if (timer && toOther) throw this.#unfit('it sent to another with a delay', LATER)
    if (timer) this.#alarms.coming(timer)
    // Comes of the same entry, and comes again when that is replayed.
    else if (action.type === 'xstate.sendTo' && !toOther) this.#expected++
  }

  /** What it runs now. What could not be found again is not kept to begin with. */
  #see(number: number): void {
    for (const child of this.#ledger.saw(this.#children, number)) {
      const { src, id, sessionId } = child as AnyActorRef & { src: unknown }
      if (typeof src !== 'string') this.#lose(this.#unfit('it spawned something that has no name'))
      else if (id === sessionId)
        this.#lose(this.#unfit(`it spawned '${src}' without an \`id\`, by which it is known again`))
    }
  }

  #unfit(what: string, hint?: string): UsageError {
    return new UsageError(`machine '${this.#kind.name}' is durable, and ${what}`, {
      hint:
        hint ?? 'what a durable machine runs are promises by name: `setup({ actors: { fetchIt: fromPromise(…) } })`',
    })
  }
}
