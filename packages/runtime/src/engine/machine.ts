// Runs machines that the peer offers, on its own thread: an actor for each job.
import { decode } from '@errand/transport'
import { createMachine, type AnyStateMachine } from 'xstate'
import { ActorHost, type ActorSurroundings } from '../actor-host.ts'
import { asError, MachineNotOfferedError, UsageError } from '../errors.ts'
import { checkedSpawnInput, isMachineDefinition } from '../machine-definition.ts'
import type { MachineDefinition } from '../actor-surface.ts'
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
  readonly #around: ActorSurroundings
  readonly #actors = new Set<ActorHost>()

  constructor(offers: MachineOffers, around: ActorSurroundings) {
    this.#offers = offers
    this.#around = around
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    let definition: MachineDefinition
    let given: unknown
    try {
      definition = this.#offers.find(spec.work.job ?? '')
      given = spec.work.payload && decode(spec.work.payload)
    } catch (error) {
      io.ended({ outcome: 'failed', error: asError(error) })
      return { credit() {}, stop() {} }
    }
    if (!definition.input) return this.#begin(definition, given, spec, io)
    const input = checkedSpawnInput(definition, given)
    // Its schema may take its time; stopped meanwhile it has nothing to begin any more.
    let over = false
    const waiting = new DeferredExecution(() => {
      over = true
      io.ended({ outcome: 'stopped' })
      return true
    })
    input.then(
      (checked) => {
        if (!over) waiting.begin(this.#begin(definition, checked, spec, io), io)
      },
      (error: unknown) => {
        if (over) return
        waiting.abandon()
        io.ended({ outcome: 'failed', error: asError(error) })
      },
    )
    return waiting
  }

  #begin(definition: MachineDefinition, input: unknown, spec: ExecutionSpec, io: ExecutionIO): ActorHost {
    const ours: ExecutionIO = {
      chunk: (chunk) => io.chunk(chunk),
      suspended: () => io.suspended?.(),
      ended: (ending) => {
        this.#actors.delete(actor)
        io.ended(ending)
      },
    }
    const actor = new ActorHost(definition, input, spec.attempt ?? 1, ours, this.#around)
    this.#actors.add(actor)
    actor.start()
    return actor
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const actor of [...this.#actors]) actor.stop()
  }
}
