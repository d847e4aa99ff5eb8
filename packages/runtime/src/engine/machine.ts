// Runs machines that the peer offers, on its own thread: an actor for each job.
import { decode } from '@errand/transport'
import { createMachine, type AnyStateMachine } from 'xstate'
import { ActorHost, type ActorSurroundings } from '../actor-host.ts'
import type { ActorNames } from '../actor-names.ts'
import { asError, codeOf, MachineNotOfferedError, UsageError } from '../errors.ts'
import { checkedSpawnInput, isMachineDefinition } from '../machine-definition.ts'
import type { MachineDefinition } from '../actor-surface.ts'
import { singleRecord } from '../record.ts'
import type { WorkSpec } from '../wire.ts'
import { DeferredExecution } from './deferred-execution.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'

/** Steps that one event may lead to: one that never comes to rest would hold up the peer for ever. */
export const MICROSTEPS_MOST = 10_000

/** The same, with that bound where it has none of its own. */
function bounded(definition: MachineDefinition): MachineDefinition {
  const machine = definition.machine as AnyStateMachine
  const { config, implementations } = machine
  if (Number.isFinite(machine.options.maxIterations)) return definition
  const options = { ...config.options, maxIterations: MICROSTEPS_MOST }
  const made = createMachine({ ...config, options } as never, implementations as never)
  return Object.freeze({ ...definition, machine: made })
}

/** The machines a peer offers: what `createPeer({ machines })` was given. */
export class MachineOffers {
  readonly #machines = new Map<string, MachineDefinition>()
  readonly #where: string

  /** @throws UsageError */
  constructor(machines: readonly MachineDefinition[], where: string) {
    this.#where = where
    for (const [index, machine] of machines.entries()) {
      if (!isMachineDefinition(machine)) throw new UsageError(`machines[${index}] is not what \`defineMachine\` makes`)
      const { name } = machine
      if (this.#machines.has(name))
        throw new UsageError(`two of the machines are named '${name}': a name stands for one`)
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
  readonly #actors = new Set<ActorHost>()

  constructor(offers: MachineOffers, names: ActorNames, around: ActorSurroundings) {
    this.#offers = offers
    this.#names = names
    this.#around = around
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    let definition: MachineDefinition
    let given: unknown
    try {
      definition = this.#offers.find(spec.work.job ?? '')
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
      let actor: ActorHost
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

  /** @throws NameTakenError, LimitError: then there is no actor */
  #begin(definition: MachineDefinition, input: unknown, spec: ExecutionSpec, io: ExecutionIO): ActorHost {
    const path = `${spec.session.instanceId}/${spec.job}`
    this.#call(path, definition.name, spec, io)
    const ours: ExecutionIO = {
      chunk: (chunk) => io.chunk(chunk),
      suspended: () => io.suspended?.(),
      ended: (ending) => {
        this.#actors.delete(actor)
        // Before anybody can be told that it has ended: whoever looks for its name then finds nobody, or the next one.
        this.#names.ended(path)
        io.ended(ending)
      },
    }
    let actor: ActorHost
    try {
      actor = new ActorHost(definition, input, spec.attempt ?? 1, ours, this.#around)
    } catch (error) {
      this.#names.ended(path)
      throw error
    }
    this.#actors.add(actor)
    actor.start()
    return actor
  }

  /** What it is called, before it does anything: what it says first may be asked for by that. */
  #call(path: string, machine: string, { work, attempt: epoch = 1 }: ExecutionSpec, io: ExecutionIO): void {
    const { register, groups } = work
    const member = { path, epoch, machine }
    try {
      this.#names.began(member, { register, groups })
    } catch (error) {
      // One that begins anew does not end for a name that was given to another one meanwhile.
      if (epoch === 1 || codeOf(error) !== 'NAME_TAKEN') throw error
      this.#names.began(member, { groups })
      io.chunk(singleRecord('warning', `it goes on without its name: ${asError(error).message}`))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const actor of [...this.#actors]) actor.stop()
  }
}
