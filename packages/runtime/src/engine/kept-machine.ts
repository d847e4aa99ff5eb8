// One durable machine of a peer that keeps it: begun and written down, or found and gone on with. One that cannot go on
// stands still, and nothing of it is touched.
import { asError, MachineQuarantinedError } from '../errors.ts'
import { ActorHost, type ActorSurroundings, type KeptIn } from '../actor-host.ts'
import type { ActorJournal } from '../actor-journal.ts'
import { recoverActor } from '../actor-recovery.ts'
import { begunUnseen, type Replayed } from '../actor-replay.ts'
import type { MachineDefinition } from '../actor-surface.ts'
import { durableMachine } from '../durable-machine.ts'
import type { KeptActors } from '../kept-actors.ts'
import type { KeptKind } from '../kept-actor.ts'
import { thisMoment } from '../moment.ts'
import { singleRecord } from '../record.ts'
import type { Execution, ExecutionIO, ExecutionSpec } from './engine.ts'

export interface KeptMachineHome {
  readonly kept: KeptActors
  readonly around: ActorSurroundings
  /** What it is made of; undefined: it is not offered (any more). */
  readonly definition: MachineDefinition | undefined
  /** What it was given, as its schema makes it. */
  input(definition: MachineDefinition): unknown
  /**
   * Before it does anything: from now on it is called what it is to be called, or goes on without that.
   * @throws NameTakenError, LimitError
   */
  begins(warn: (why: string) => void): void
  /** Before anybody can be told that it has ended. */
  over(): void
}

export class KeptMachine implements Execution {
  readonly #home: KeptMachineHome
  readonly #spec: ExecutionSpec
  readonly #io: ExecutionIO
  readonly #key: string
  #host: ActorHost | undefined
  /** It may be sent to. */
  #there = false
  #quarantine: MachineQuarantinedError | undefined
  /** Bytes of credit, and whether it is to stand still, while there is no actor. */
  #credit = 0
  #suspended = false
  #over = false
  /** Records in its log before those of its actor. */
  #said: number

  /** It begins at once, and ends `over`. */
  constructor(home: KeptMachineHome, spec: ExecutionSpec, io: ExecutionIO) {
    this.#home = home
    this.#spec = spec
    this.#key = spec.kept!.key
    this.#said = spec.from ?? 0
    this.#io = {
      chunk: (chunk) => io.chunk(chunk),
      has: async (kind, from) => (await io.has?.(kind, from)) ?? false,
      suspended: () => io.suspended?.(),
      begun: () => io.begun?.(),
      ended: (ending) => {
        if (this.#over) return
        this.#over = true
        home.over()
        io.ended(ending)
      },
    }
    this.#open().catch((error: unknown) => this.#io.ended({ outcome: 'failed', error: asError(error) }))
  }

  get queued(): boolean {
    return !this.#there
  }
  get actor(): ActorHost | undefined {
    return this.#there ? this.#host : undefined
  }
  get quarantine(): Error | undefined {
    return this.#quarantine
  }

  async #open(): Promise<void> {
    const { kept, definition } = this.#home
    const { attempt = 1, kept: { again } = { again: false } } = this.#spec
    const row = kept.take(this.#key)
    // One of an earlier attempt is of another actor, which has failed.
    if (!again || (row !== undefined && isOfAnother(row, attempt))) {
      kept.drop(this.#key)
      return this.#begin(await kept.journal(this.#key, { isNew: true }))
    }
    try {
      const journal = await kept.journal(this.#key, { hasRow: row !== undefined })
      if (row === undefined) {
        // Not on disk when its peer ended: only what it does at its start can have been done, and have been its end.
        const entries = await journal.read(0)
        const ends = typeof entries === 'string' ? [] : entries.flatMap(([, one]) => (one.kind === 'over' ? [one] : []))
        if (typeof entries !== 'string' && ends.length === entries.length)
          return await this.#begin(journal, { over: ends[0] })
        return this.#standStill('what is written of it is missing, or damaged')
      }
      const was = await recoverActor(row, definition?.durable && (definition as KeptKind), journal, thisMoment())
      if (typeof was === 'string') return this.#standStill(was)
      await this.#run(definition!, { journal, was }, undefined)
    } catch (error) {
      this.#standStill(`it cannot be gone on with: ${asError(error).message}`)
    }
  }

  /** `unseen`: whether it has begun before is known only where it has ended. What its start does is not done again then. */
  async #begin(journal: ActorJournal, unseen?: Pick<Replayed, 'over'>): Promise<void> {
    const { definition } = this.#home
    if (!definition?.durable) return this.#standStill(`no durable machine '${this.#spec.work.job}' is offered here`)
    const input = await this.#home.input(definition)
    const was = unseen && { ...begunUnseen(durableMachine(definition.machine), input, thisMoment()), ...unseen }
    await this.#run(definition, { journal, was }, input)
  }

  async #run(definition: MachineDefinition, kept: Pick<KeptIn, 'journal' | 'was'>, input: unknown): Promise<void> {
    // What it says last, or its job of it, comes behind what it had said when its end was written.
    const { over, status = 'active' } = kept.was ?? {}
    const saidLast = over !== undefined && (await this.#io.has!(over.how === 'done' ? 'output' : 'error', over.said))
    if (this.#over) return
    // One that has ended says nothing behind that.
    if (!over && status === 'active') this.#home.begins((why) => this.#warn(why))
    const stranded = (error: Error): void => {
      this.#there = false
      this.#standStill(`nothing can be written of it: ${error.message}`)
    }
    const keptIn = { ...kept, said: this.#said, saidLast, stranded }
    const host = new ActorHost(definition, input, this.#spec.attempt ?? 1, this.#io, this.#home.around, keptIn)
    this.#host = host
    // Before it handles anything that it was sent in an earlier life.
    if (this.#suspended) host.suspend()
    host.credit(this.#credit)
    await host.start()
    if (this.#over || this.#quarantine) return
    this.#there = true
    this.#io.begun?.()
  }

  /** Nothing of it is run, and nothing deleted. */
  #standStill(why: string): void {
    if (this.#over) return
    this.#home.over()
    this.#quarantine = new MachineQuarantinedError(this.#spec.work.job ?? 'a machine', why)
    this.#io.begun?.()
    this.#warn(this.#quarantine.message)
    this.#io.suspended?.()
  }

  #warn(why: string): void {
    this.#said++
    this.#io.chunk(singleRecord('warning', why))
  }

  credit(bytes: number): void {
    if (this.#host) this.#host.credit(bytes)
    else this.#credit += bytes
  }

  stop(): void {
    if (this.#host && !this.#quarantine) this.#host.stop()
    else this.#io.ended({ outcome: 'stopped' })
  }

  suspend(): void {
    this.#suspended = true
    if (this.#host) this.#host.suspend()
    else this.#io.suspended?.()
  }

  resume(): void {
    this.#suspended = false
    this.#host?.resume()
  }

  async leave(): Promise<void> {
    this.#over = true
    this.#home.over()
    await this.#host?.leave()
  }

  concluded(): void {
    this.#home.kept.drop(this.#key)
  }
}

/** What is of a later form says it too, or nobody knows and it is left alone. */
function isOfAnother(row: unknown, attempt: number): boolean {
  const { epoch } = row as { epoch?: unknown }
  return typeof epoch === 'number' && epoch !== attempt
}
