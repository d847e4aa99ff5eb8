// What is left to say of an actor whose job has ended.
import { goneState, type ActorState } from './actor-state.ts'
import { ActorGoneError } from './errors.ts'
import type { JobSnapshot } from './surface.ts'

const ENDS = { Completed: 'done', Failed: 'error', Stopped: 'stopped' } as const

/** As it is shown: with what it last was, where that is known. */
export function endOf({ state, reason, epoch = 1 }: JobSnapshot, last?: ActorState): ActorState {
  const status = ENDS[state as keyof typeof ENDS] ?? 'gone'
  return { ...(last ?? goneState(new ActorGoneError('it has ended'))), accepts: [], status, epoch, reason }
}

/** For whoever speaks to it. */
export function gone({ name, state, reason }: JobSnapshot): ActorGoneError {
  return new ActorGoneError(`${name} has ended: it is ${state}`, reason ? { cause: reason } : {})
}
