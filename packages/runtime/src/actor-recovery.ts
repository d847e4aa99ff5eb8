// A durable machine found by its peer's next start: how it was, or why it cannot go on yet. One that cannot is quarantined:
// nothing of it is run and nothing is deleted, so that a peer with the right definition can still go on with it.
import type { AnyMachineSnapshot, AnyStateMachine } from 'xstate'
import type { ActorJournal } from './actor-journal.ts'
import { replay, type Replayed } from './actor-replay.ts'
import { durableMachine } from './durable-machine.ts'
import { asError } from './errors.ts'
import type { KeptKind } from './kept-actor.ts'
import type { Moment } from './moment.ts'
import { readStoredActor, type StoredActor } from './stored-actor.ts'

/**
 * `kind`: what is offered by its machine's name now. A text: why it is quarantined.
 * @throws StoreError
 */
export async function recoverActor(
  stored: unknown,
  kind: KeptKind | undefined,
  journal: ActorJournal,
  now: Moment,
): Promise<Replayed | string> {
  const row = readStoredActor(stored)
  if (typeof row === 'string') return `what is written of it is not understood: ${row}`
  if (!kind) return `no durable machine '${row.machine}' is offered here any more`
  const machine = durableMachine(kind.machine)
  const there = migrated(row, kind)
  if (typeof there === 'string') return there
  let entries
  try {
    entries = await journal.read(row.next)
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (typeof code === 'string' && code.startsWith('STORE_')) throw error
    return `its journal is not understood: ${asError(error).message}`
  }
  if (typeof entries === 'string') return entries
  try {
    const found = replay(machine, there, entries, now, there !== row)
    if (typeof found === 'string') return there === row ? `${found}; was it changed without a new version?` : found
    if (there !== row && found.status === 'active') reschedule(machine, found, now)
    return found
  } catch (error) {
    return `it cannot be put where it was: ${asError(error).message}`
  }
}

/** As this version wants it. */
function migrated(row: StoredActor, { name, durable: { version, migrate } }: KeptKind): StoredActor | string {
  if (row.version === version) return row
  const between = `it was written by version ${row.version} of '${name}', and version ${version} is offered`
  if (!migrate) return `${between}, which has no \`migrate\``
  try {
    const persisted = migrate(row.persisted, row.version)
    if (typeof persisted !== 'object' || persisted === null) return `${between}, whose \`migrate\` gave no snapshot`
    return { ...row, version, persisted }
  } catch (error) {
    return `${between}, whose \`migrate\` failed: ${asError(error).message}`
  }
}

/** What it waits for in the states that it is in: those of its chart as it is now. What had waited as long goes on waiting. */
function reschedule(machine: AnyStateMachine, { snapshot, ledger }: Replayed, now: Moment): void {
  const wanted = new Map<string, unknown>()
  // Not by `after` of a state, whose first reader gives it all its timers once more.
  for (const { entry } of snapshot._nodes)
    for (const action of entry as readonly { type?: string; id?: string; delay?: unknown }[])
      if (action.type === 'xstate.raise' && action.id?.startsWith(AFTER)) wanted.set(action.id, action.delay)
  for (const { timer, event } of ledger.timers.all()) {
    if (wanted.delete(event.type)) continue
    if (event.type.startsWith(AFTER)) ledger.timers.drop(timer)
  }
  for (const [type, delay] of wanted) {
    const ms = millisecondsOf(machine, delay, snapshot)
    if (ms !== undefined) ledger.timers.set({ type }, ms, -1, type).set = now
  }
}

const AFTER = 'xstate.after.'

function millisecondsOf(machine: AnyStateMachine, delay: unknown, snapshot: AnyMachineSnapshot): number | undefined {
  const delays = machine.implementations.delays as Readonly<Record<string, unknown>>
  const given = typeof delay === 'string' ? delays[delay] : delay
  const ms: unknown =
    typeof given === 'function'
      ? (given as (args: unknown) => unknown)({ context: snapshot.context, event: { type: 'xstate.init' } })
      : given
  return typeof ms === 'number' ? ms : undefined
}
