// What an offered machine is bounded in beside its inbox: XState takes as many steps for one event as it is led to.
import { createMachine, type AnyStateMachine } from 'xstate'
import type { MachineDefinition } from './actor-surface.ts'

/** Steps that one event may lead to: one that never comes to rest would hold up the peer for ever. */
export const MICROSTEPS_MOST = 10_000

/** The same, with that bound where it has none of its own. */
export function bounded(definition: MachineDefinition): MachineDefinition {
  const machine = definition.machine as AnyStateMachine
  const { config, implementations } = machine
  if (Number.isFinite(machine.options.maxIterations)) return definition
  const options = { ...config.options, maxIterations: MICROSTEPS_MOST }
  const made = createMachine({ ...config, options } as never, implementations as never)
  return Object.freeze({ ...definition, machine: made })
}
