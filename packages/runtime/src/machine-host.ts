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
 * By the system of the machine, which its children share. One per process: a machine's module may have a copy of this package
 * of its own.
 */
const HOSTS = Symbol.for('errand.actor-hosts')
export const hosts: WeakMap<ActorSystem<any>, MachineHost> = ((globalThis as Record<symbol, unknown>)[HOSTS] ??=
  new WeakMap()) as WeakMap<ActorSystem<any>, MachineHost>

/** The host of the actor whose action this is; undefined where nobody hosts it. */
export function hostOf(system: ActorSystem<any>): MachineHost | undefined {
  return hosts.get(system)
}
