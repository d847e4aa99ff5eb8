// Whose actions are asking: what whoever hosts a machine does for its actions. Loads nothing: a machine's module imports it,
// and XState alone beside it.
import type { ActorSystem } from 'xstate'

/** @see reply, askOf, tellActor in machine-actions.ts */
export interface MachineHost {
  /** To this ask, or to the one that is being handled. Nobody asked: nothing. */
  reply(value: unknown, to?: string): void
  /** Names the ask that is being handled, for a later `reply`. */
  readonly asking: string | undefined
  /** Sends to an actor anywhere, in the name of this one. */
  tellOther(address: unknown, event: unknown): void
}

/**
 * Written on the system of the machine, which its children share. By a symbol that all know: a machine's module may have a copy
 * of this package of its own. Not in a WeakMap: what is in one survives until all of the memory is looked through, with all
 * that hangs on it.
 */
const HOST = Symbol.for('errand.actor-host')
type Hosted = ActorSystem<any> & { [HOST]?: MachineHost }

/** The host of the actor whose action this is; undefined where nobody hosts it. */
export function hostOf(system: ActorSystem<any>): MachineHost | undefined {
  return (system as Hosted)[HOST]
}

/** Who acts for the machine that has this system. */
export function setHost(system: ActorSystem<any>, host: MachineHost): void {
  ;(system as Hosted)[HOST] = host
}
