// A machine as it is run where it is kept: whoever keeps it hears of each event that reaches it, and of each action that comes
// of that; and what it invokes says how it has ended to the journal first, and to the machine when it is that entry's turn.
//
// XState's inspection says as much, of everything in the system, at a third of the speed.
import type {
  ActorScope,
  ActorSystem,
  AnyActorLogic,
  AnyActorRef,
  AnyEventObject,
  AnyMachineSnapshot,
  AnyStateMachine,
  Snapshot,
} from 'xstate'
import type { SaidAction } from './actor-timers.ts'

/** Who keeps such a machine. */
export interface Keeper {
  /** An event has reached it. @throws what it is to fail with */
  takes(event: AnyEventObject): void
  /** An action comes of that, and has not been done. @throws the same */
  heard(action: SaidAction, self: unknown): void
  /** That is over. `after`: none where it threw. */
  took(event: AnyEventObject, before: AnyMachineSnapshot, after: AnyMachineSnapshot | undefined): void
  /** Whether this child is to be run. Not where it is known already how it has ended. */
  runs(child: AnyActorRef): boolean
  /** It has come to an end, and was not stopped by then. */
  settled(child: AnyActorRef, failed: boolean, value: unknown): void
}

/** By the system of its actors. */
const keepers = new WeakMap<ActorSystem<any>, Keeper>()
/** Whose actor is being made: it has no system yet. */
let making: Keeper | undefined

/** What `make` makes of a durable machine is kept by that one. */
export function keptBy<T extends { readonly system: ActorSystem<any> }>(keeper: Keeper, make: () => T): T {
  making = keeper
  try {
    const actor = make()
    keepers.set(actor.system, keeper)
    return actor
  } finally {
    making = undefined
  }
}

/** What tells a child that it has ended: it tells its machine. */
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
  made = heardMachine(machine.provide({ actors }))
  known.set(machine, made)
  return made
}

function heardMachine(machine: AnyStateMachine): AnyStateMachine {
  const transition = (before: AnyMachineSnapshot, event: AnyEventObject, scope: Scope): AnyMachineSnapshot => {
    const keeper = keepers.get(scope.system)
    // Of a replay nobody hears here: it hears itself.
    if (!keeper || event.type === 'xstate.stop') return machine.transition(before, event, scope) as AnyMachineSnapshot
    keeper.takes(event)
    let after: AnyMachineSnapshot | undefined
    try {
      after = hearing(keeper, scope, () => machine.transition(before, event, scope) as AnyMachineSnapshot)
      return after
    } finally {
      keeper.took(event, before, after)
    }
  }
  const getInitialSnapshot = (scope: Scope, input: unknown): AnyMachineSnapshot => {
    const first = (): AnyMachineSnapshot => machine.getInitialSnapshot(scope, input) as AnyMachineSnapshot
    return making ? hearing(making, scope, first) : first()
  }
  return Object.create(machine, {
    transition: { value: transition },
    getInitialSnapshot: { value: getInitialSnapshot },
  }) as AnyStateMachine
}

function hearing<T>(keeper: Keeper, scope: Scope, step: () => T): T {
  const execute = scope.actionExecutor
  scope.actionExecutor = (action) => {
    keeper.heard(action, scope.self)
    execute(action)
  }
  try {
    return step()
  } finally {
    scope.actionExecutor = execute
  }
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
      const keeper = keepers.get(system)
      if (status !== 'active' || !keeper?.runs(self)) return
      const abort = new AbortController()
      aborts.set(self, abort)
      const tell = (failed: boolean, value: unknown): void => {
        if ((self.getSnapshot() as Invoked).status === 'active') keeper.settled(self, failed, value)
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
