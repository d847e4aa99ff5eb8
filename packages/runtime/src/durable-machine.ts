// A machine as it is run where it is kept: what it invokes says how it has ended to the journal first, and to the machine
// when it is that entry's turn.
import type { ActorScope, ActorSystem, AnyActorLogic, AnyActorRef, AnyStateMachine, Snapshot } from 'xstate'

/** Who keeps the machine that invokes. */
export interface Invoker {
  /** Whether it is to be run. Not where it is known already how it has ended. */
  runs(child: AnyActorRef): boolean
  /** It has come to an end, and was not stopped by then. */
  settled(child: AnyActorRef, failed: boolean, value: unknown): void
}

/** By the system of its actors. */
const invokers = new WeakMap<ActorSystem<any>, Invoker>()

export function invokesFor(system: ActorSystem<any>, invoker: Invoker): void {
  invokers.set(system, invoker)
}

/** What tells such a child that it has ended: it tells its machine. */
export interface SettleEvent {
  readonly type: 'errand.settle'
  readonly failed: boolean
  readonly value: unknown
}

type Invoked =
  | { status: 'active'; output: undefined; error: undefined; input: unknown }
  | { status: 'done'; output: unknown; error: undefined; input: undefined }
  | { status: 'error'; output: undefined; error: unknown; input: undefined }
  | { status: 'stopped'; output: undefined; error: undefined; input: undefined }
type Creator = (args: {
  input: unknown
  system: ActorSystem<any>
  self: AnyActorRef
  signal: AbortSignal
  emit: (event: { type: string }) => void
}) => unknown
type Scope = ActorScope<any, any>

const known = new WeakMap<AnyStateMachine, AnyStateMachine>()

/** The same machine, for actors that are kept; made once. It has passed `checkDurable`. */
export function durableMachine(machine: AnyStateMachine): AnyStateMachine {
  let made = known.get(machine)
  if (made) return made
  const actors: Record<string, AnyActorLogic> = {}
  for (const [src, logic] of Object.entries(machine.implementations.actors as Record<string, AnyActorLogic>))
    if (logic) actors[src] = journalled(logic.config as Creator)
  made = machine.provide({ actors })
  known.set(machine, made)
  return made
}

/** How one that has ended is persisted: it is not begun again. */
export function settledSnapshot(failed: boolean, value: unknown): Invoked {
  return failed
    ? { status: 'error', output: undefined, error: value, input: undefined }
    : { status: 'done', output: value, error: undefined, input: undefined }
}

/** As `fromPromise` makes it, but for who is told first. */
function journalled(create: Creator): AnyActorLogic {
  const aborts = new WeakMap<AnyActorRef, AbortController>()
  const logic = {
    config: create,
    getInitialSnapshot: (_: Scope, input: unknown): Invoked => ({
      status: 'active',
      output: undefined,
      error: undefined,
      input,
    }),
    getPersistedSnapshot: (snapshot: Invoked): Invoked => snapshot,
    restoreSnapshot: (snapshot: Snapshot<unknown>): Invoked => snapshot as Invoked,
    transition(snapshot: Invoked, event: { type: string }, { self }: Scope): Invoked {
      if (snapshot.status !== 'active') return snapshot
      if (event.type === 'errand.settle') {
        const { failed, value } = event as SettleEvent
        aborts.delete(self)
        return settledSnapshot(failed, value)
      }
      if (event.type !== 'xstate.stop') return snapshot
      aborts.get(self)?.abort()
      aborts.delete(self)
      return { status: 'stopped', output: undefined, error: undefined, input: undefined }
    },
    start({ status, input }: Invoked, { self, system, emit }: Scope): void {
      const invoker = invokers.get(system)
      if (status !== 'active' || !invoker?.runs(self)) return
      const abort = new AbortController()
      aborts.set(self, abort)
      const tell = (failed: boolean, value: unknown): void => {
        if ((self.getSnapshot() as Invoked).status === 'active') invoker.settled(self, failed, value)
      }
      // What it throws before its promise is there is an end of it too.
      const promise = (async () => create({ input, system, self, signal: abort.signal, emit }))()
      promise.then(
        (output) => tell(false, output),
        (error: unknown) => tell(true, error),
      )
    },
  }
  return logic as unknown as AnyActorLogic
}
