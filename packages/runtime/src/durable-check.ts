// What a durable machine may consist of: whatever can reach it must go through its journal, and be found again after a
// restart. Asked when it is defined; nothing of xstate is loaded for that.
import type { AnyActorLogic, AnyStateMachine } from 'xstate'
import { UsageError } from './errors.ts'

interface Node {
  readonly id: string
  readonly states: Readonly<Record<string, Node>>
  readonly invoke: readonly { readonly src: string; readonly id: string; readonly onSnapshot?: unknown }[]
  readonly entry: readonly unknown[]
  readonly exit: readonly unknown[]
  readonly initial: { readonly actions: readonly unknown[] } | undefined
  readonly always?: readonly { readonly actions: readonly unknown[] }[] | undefined
  readonly transitions: ReadonlyMap<string, readonly { readonly actions: readonly unknown[] }[]>
}

const HINT = 'spawn it on its own and hold its address; what is asked of the world belongs into a `fromPromise`'

/**
 * Whether it can be kept. What only shows when it runs (`spawn` in an `assign`, say) is refused then.
 * @throws UsageError that says why not
 */
export function checkDurable(name: string, machine: AnyStateMachine): void {
  const refuse = (what: string, hint: string = HINT): never => {
    throw new UsageError(`machine '${name}' cannot be durable: ${what}`, { hint })
  }
  const { actors, actions } = machine.implementations as {
    readonly actors: Readonly<Record<string, AnyActorLogic | undefined>>
    readonly actions: Readonly<Record<string, unknown>>
  }
  for (const [src, logic] of Object.entries(actors))
    if (logic && !isPromiseLogic(logic)) refuse(`its actor '${src}' is no promise, so its state would be lost`)
  for (const [key, action] of Object.entries(actions)) checkAction(action, `its action '${key}'`, refuse)
  const look = (node: Node): void => {
    for (const { src, id, onSnapshot } of node.invoke) {
      const where = `what state '${node.id}' invokes`
      if (src.startsWith('xstate.invoke.'))
        refuse(`${where} has no name`, 'name it: `setup({ actors: { fetchIt: fromPromise(…) } })`, `src: "fetchIt"`')
      if (!Object.hasOwn(actors, src) || !actors[src])
        refuse(`${where} ('${src}', as '${id}') is not implemented`, 'setup({ actors })')
      if (onSnapshot !== undefined) refuse(`${where} ('${src}') has an onSnapshot, and a promise has nothing to show`)
    }
    const said = [node.entry, node.exit, node.initial?.actions ?? []]
    for (const transitions of [...node.transitions.values(), node.always ?? []])
      for (const { actions } of transitions) said.push(actions)
    for (const action of said.flat()) checkAction(action, `an action of state '${node.id}'`, refuse)
    for (const state of Object.values(node.states)) look(state)
  }
  look(machine.root as unknown as Node)
}

/** Of those that XState brings. What others do is theirs. */
function checkAction(action: unknown, where: string, refuse: (what: string, hint?: string) => never): void {
  if (typeof action !== 'function') return
  const { type, src, id, delay, to } = action as {
    type?: unknown
    src?: unknown
    id?: unknown
    delay?: unknown
    to?: unknown
  }
  if (type === 'xstate.spawnChild') {
    if (typeof src !== 'string') refuse(`${where} spawns something that has no name`)
    if (id === undefined) refuse(`${where} spawns '${String(src)}' without an \`id\`, by which it is known again`)
  }
  // To whom a function says only when it is called.
  if (type === 'xstate.sendTo' && delay !== undefined && typeof to !== 'function')
    refuse(`${where} sends to another with a delay`, LATER)
}

/** For what is not kept: a timer that is not its own. */
export const LATER = '`raise` an event with the delay, and send when that has come'

/** What `fromPromise` makes, of whatever copy of xstate: it behaves like it. */
export function isPromiseLogic(logic: AnyActorLogic): boolean {
  if (typeof logic.config !== 'function' || typeof logic.start !== 'function' || 'root' in logic) return false
  try {
    const first = logic.getInitialSnapshot({} as never, undefined) as Record<string, unknown>
    // Others of xstate have a context, but for callbacks, which know no such event.
    if ('context' in first || !('input' in first) || first['status'] !== 'active') return false
    const scope = { self: {} } as never
    const last = logic.transition(first, { type: 'xstate.promise.resolve', data: logic } as never, scope) as {
      status?: unknown
      output?: unknown
    }
    return last.status === 'done' && last.output === logic
  } catch {
    return false
  }
}
