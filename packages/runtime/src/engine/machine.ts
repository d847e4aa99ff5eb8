// Runs machines that the peer offers, an actor for each job: on its own thread, or where the machine says so in a process.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { decode } from '@errand/transport'
import { ActorHost, type ActorSurroundings } from '../actor-host.ts'
import type { ActorNames } from '../actor-names.ts'
import { bounded } from '../machine-bounds.ts'
import { asError, codeOf, MachineNotOfferedError, UsageError } from '../errors.ts'
import { checkedSpawnInput, isMachineDefinition } from '../machine-definition.ts'
import type { MachineDefinition } from '../actor-surface.ts'
import type { Ending } from '../job-machine.ts'
import { singleRecord, type RawChunk } from '../record.ts'
import type { WorkSpec } from '../wire.ts'
import { DeferredExecution } from './deferred-execution.ts'
import type { KeptActors } from '../kept-actors.ts'
import { KeptMachine } from './kept-machine.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import { MachineProcesses, type PassOn } from './machine-processes.ts'

/** The machines a peer offers: what `createPeer({ machines })` was given. */
export class MachineOffers {
  readonly #machines = new Map<string, MachineDefinition>()
  readonly #where: string

  /** @throws UsageError */
  constructor(machines: readonly MachineDefinition[], where: string) {
    this.#where = where
    for (const [index, machine] of machines.entries()) {
      if (!isMachineDefinition(machine)) throw new UsageError(`machines[${index}] is not what \`defineMachine\` makes`)
      const { name, isolate, module } = machine
      if (this.#machines.has(name))
        throw new UsageError(`two of the machines are named '${name}': a name stands for one`)
      if (isolate && !existsSync(fileURLToPath(module!)))
        throw new UsageError(`the module of machine '${name}' is not there: ${module}`)
      this.#machines.set(name, bounded(machine))
    }
  }

  get names(): string[] {
    return [...this.#machines.keys()]
  }

  get(name: string): MachineDefinition | undefined {
    return this.#machines.get(name)
  }

  /** @throws MachineNotOfferedError */
  throwUnlessOffered({ kind, job = '' }: WorkSpec): void {
    if (kind === 'machine') this.find(job)
  }

  /** @throws MachineNotOfferedError */
  find(name: string): MachineDefinition {
    const found = this.#machines.get(name)
    if (!found) throw new MachineNotOfferedError(name, this.#where)
    return found
  }
}

export class MachineEngine implements Engine {
  readonly #offers: MachineOffers
  readonly #names: ActorNames
  readonly #around: ActorSurroundings
  readonly #kept: KeptActors | undefined
  readonly #actors = new Set<ActorHost>()
  readonly #processes: MachineProcesses

  /** `kept`: where durable ones are written down. None: they end with the peer. */
  constructor(offers: MachineOffers, names: ActorNames, around: ActorSurroundings, passOn: PassOn, kept?: KeptActors) {
    this.#offers = offers
    this.#names = names
    this.#around = around
    this.#processes = new MachineProcesses(passOn)
    this.#kept = kept
  }

  mayBegin(): Promise<void> | undefined {
    return this.#around.turns.mayBegin()
  }

  keeps({ job = '', temporary }: WorkSpec): boolean {
    return this.#kept !== undefined && temporary !== true && this.#offers.get(job)?.durable !== undefined
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    const kept = this.#kept
    if (kept && spec.kept && (spec.kept.again || this.keeps(spec.work))) {
      const { job = '', payload } = spec.work
      const path = pathOf(spec)
      const home = {
        kept,
        around: this.#around,
        definition: this.#offers.get(job),
        input: (of: MachineDefinition) => checkedSpawnInput(of, payload && decode(payload)),
        begins: (warn: (why: string) => void) => this.#call(path, job, spec, warn),
        over: () => this.#names.ended(path),
      }
      return new KeptMachine(home, spec, io)
    }
    let definition: MachineDefinition
    let given: unknown
    try {
      definition = this.#offers.find(spec.work.job ?? '')
      // None of its own code runs here, its schema neither.
      if (definition.isolate) return this.#begin(definition, undefined, spec, io)
      given = spec.work.payload && decode(spec.work.payload)
      if (!definition.input) return this.#begin(definition, given, spec, io)
    } catch (error) {
      io.ended({ outcome: 'failed', error: asError(error) })
      return { credit() {}, stop() {} }
    }
    // Its schema may take its time; stopped meanwhile it has nothing to begin any more.
    let over = false
    const waiting = new DeferredExecution(() => {
      over = true
      io.ended({ outcome: 'stopped' })
      return true
    })
    const begin = async (): Promise<void> => {
      let actor: Execution
      try {
        const input = await checkedSpawnInput(definition, given)
        if (over) return
        actor = this.#begin(definition, input, spec, io)
      } catch (error) {
        if (over) return
        waiting.abandon()
        return io.ended({ outcome: 'failed', error: asError(error) })
      }
      waiting.begin(actor, io)
    }
    void begin()
    return waiting
  }

  /** Here, or in a process, which checks the input itself. @throws NameTakenError, LimitError: then there is no actor */
  #begin(definition: MachineDefinition, input: unknown, spec: ExecutionSpec, io: ExecutionIO): Execution {
    const path = pathOf(spec)
    this.#call(path, definition.name, spec, (why) => io.chunk(singleRecord('warning', why)))
    // Before anybody can be told that it has ended: whoever looks for its name then finds nobody, or the next one.
    const ours = new LastWord(io, () => {
      if (actor) this.#actors.delete(actor)
      this.#names.ended(path)
    })
    let actor: ActorHost | undefined
    try {
      if (definition.isolate) return this.#processes.start(definition, spec, ours)
      return this.#around.turns.spend(() => {
        actor = new ActorHost(definition, input, spec.attempt ?? 1, ours, this.#around)
        this.#actors.add(actor)
        void actor.start()
        return actor
      })
    } catch (error) {
      this.#names.ended(path)
      throw error
    }
  }

  /** What it is called, before it does anything: what it says first may be asked for by that. */
  #call(
    path: string,
    machine: string,
    { work, attempt: epoch = 1, kept }: ExecutionSpec,
    warn: (why: string) => void,
  ): void {
    const { register, groups } = work
    const member = { path, epoch, machine }
    try {
      this.#names.began(member, { register, groups })
    } catch (error) {
      // One that begins anew, or goes on, does not end for a name that was given to another one meanwhile.
      if ((epoch === 1 && !kept?.again) || codeOf(error) !== 'NAME_TAKEN') throw error
      this.#names.began(member, { groups })
      warn(`it goes on without its name: ${asError(error).message}`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const actor of [...this.#actors]) actor.stop()
    await this.#processes[Symbol.asyncDispose]()
  }
}

/** Passes on what an actor says; what is to be done before anybody can be told that it has ended is done first. */
class LastWord implements ExecutionIO {
  readonly #io: ExecutionIO
  readonly #before: () => void

  constructor(io: ExecutionIO, before: () => void) {
    this.#io = io
    this.#before = before
  }

  chunk(chunk: RawChunk): void {
    this.#io.chunk(chunk)
  }
  started(pid: number): void {
    this.#io.started?.(pid)
  }
  begun(): void {
    this.#io.begun?.()
  }
  suspended(): void {
    this.#io.suspended?.()
  }
  ended(ending: Ending): void {
    this.#before()
    this.#io.ended(ending)
  }
}

function pathOf({ session, job }: ExecutionSpec): string {
  return `${session.instanceId}/${job}`
}
