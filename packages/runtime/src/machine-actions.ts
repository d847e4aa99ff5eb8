// What a machine's actions may do that is a peer's: answer who asked, and send to actors elsewhere.
import type { ActionArgs, AnyActorRef } from 'xstate'
import type { ActorAddress } from './actor-surface.ts'
import { UsageError } from './errors.ts'
import { hostOf } from './machine-host.ts'

/** What XState gives an action: context, event, self, system. */
export type MachineActionArgs = ActionArgs<any, any, any>
/** A value, or what makes one of what the action is given. */
export type From<T, A extends MachineActionArgs> = T | ((args: A) => T)

function given<T, A extends MachineActionArgs>(from: From<T, A>, args: A): T {
  return typeof from === 'function' ? (from as (args: A) => T)(args) : from
}

/**
 * An action: answers who asked (`ref.ask`) with this value; who only sent hears nothing. Without `to` it answers the event
 * that is being handled; `to` is what {@link askOf} gave for an earlier one. The first answer counts.
 * @example on: { total: { actions: reply(({ context }) => context.total) } }
 */
export function reply<V, A extends MachineActionArgs = MachineActionArgs>(
  value: From<V, A>,
  o: { to?: From<string | undefined, A> } = {},
): (args: A) => void {
  // Named: a chart shows what it does.
  return function reply(args) {
    const to = given(o.to, args)
    // Told to answer an earlier one, and there is none: not whoever happens to ask now.
    if ('to' in o && to === undefined) return
    hostOf(args.self.system)?.reply(given(value, args), to)
  }
}

/**
 * Names the ask that is being handled, to be kept in the context until it can be answered; undefined where nobody asks.
 * @example approve: { actions: assign({ asker: ({ self }) => askOf(self) }) }
 */
export function askOf(self: AnyActorRef): string | undefined {
  return hostOf(self.system)?.asking
}

/**
 * An action: sends an event to the actor at an address, or to each of several, on whatever peer, as `ref.send` does. In a
 * context an actor elsewhere is its address: a ref that is sent arrives as one.
 * @throws UsageError where no peer hosts the machine
 * @example join: { actions: tellActor(({ event }) => event.member, { type: 'welcome' }) }
 */
export function tellActor<A extends MachineActionArgs = MachineActionArgs>(
  to: From<ActorAddress | readonly ActorAddress[], A>,
  event: From<{ readonly type: string }, A>,
): (args: A) => void {
  return function tellActor(args) {
    const host = hostOf(args.self.system)
    if (!host) throw new UsageError('`tellActor` needs a peer that hosts the machine', { hint: 'spawn it there' })
    const address = given(to, args)
    const said = given(event, args)
    for (const one of Array.isArray(address) ? (address as readonly ActorAddress[]) : [address])
      host.tellOther(one, said)
  }
}
