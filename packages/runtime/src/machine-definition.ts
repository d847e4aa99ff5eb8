// A machine that a peer offers: what `defineMachine` makes, what is checked about it, and what may be sent to it.
// Imported by whoever defines one or sends to one: nothing heavy is loaded here, xstate neither.
import type { AnyStateMachine, ContextFrom, EventFromLogic, SnapshotFrom } from 'xstate'
import { moduleUrl, type DefinitionKind } from './definition-module.ts'
import { InvalidEventError, InvalidInputError, UsageError } from './errors.ts'
import { issuesOf } from './job-definition.ts'
import type { DurableRule, MachineDefinition } from './actor-surface.ts'
import { checkDurable } from './durable-check.ts'
import type { SchemaResult, StandardSchema } from './surface.ts'
import { isJobName, MEMORY_LEAST, MEMORY_MOST } from './wire.ts'

/** Marks a definition, also one that another copy of this package made. */
const MADE = Symbol.for('errand.machine')

/** Events between two snapshots of a durable machine, where nothing else is said, and at most. */
const EVERY = 256
const EVERY_MOST = 65_536

/** What `defineMachine` is told. */
export interface MachineDescription<M extends AnyStateMachine, E, C> {
  /** Letters, digits and `-_.:/`, at most 128. What it is offered, granted (`spawn:NAME`) and spawned by. */
  name: string
  machine: M
  /**
   * What may be sent to it from outside: for each type the Standard Schema of the event without its `type`, or `true` for
   * whatever comes. All else is refused; what it sends to itself is not asked about.
   */
  events: E
  /** Of the input that it is spawned with: checked by who spawns it and again where it runs. */
  input?: StandardSchema
  /** What others see as `context`. Default: the whole context, but for actors in it. */
  project?: (snapshot: SnapshotFrom<M>) => C
  /**
   * Where its peer has a store on disk (`createPeer({ store: sqlite(path) })`; the daemon has one): each event is written down before it is handled, and after the peer was killed the
   * machine goes on where it was, its timers too. `true`: version 1, a snapshot after 256 events. Default: it ends with
   * its peer.
   *
   * What it invokes or spawns are promises by name (`setup({ actors })`), spawned ones with an `id`: each is run again if it
   * had not ended. Its actions are done at most once. What `assign` makes of something else than the event (the time, a
   * random number) may be another one after a restart: send it with the event, or say `every: 1`.
   */
  durable?: true | DurableOptions
  /**
   * Each actor gets a process of its own, some 70 MB and a tenth of a second: whatever its code does there, loop, leak or
   * exit, is its own end alone, Failed with `ENGINE_EXIT`. Needs `module`; not for a durable machine. Default: the thread of
   * its peer, where an actor takes some KiB and must not block.
   */
  isolate?: 'process'
  /**
   * `import.meta.url` of the file that exports this definition, by itself: plain Node imports it in that process, with
   * whatever else it does when it is imported, and finds it there by its name. `@errand/runtime/client` is the lighter half to
   * import there.
   */
  module?: string | URL
  /** MiB of heap of that process, 32 to 1 048 576: beyond that it ends. Default: Node's own limit. */
  maxMemory?: number
}

/** As {@link DurableRule}, with defaults. */
export interface DurableOptions {
  /** Default 1. */
  version?: number
  /** Default 256. */
  every?: number
  /** What version `from` had persisted, as this one goes on with it. */
  migrate?: (persisted: unknown, from: number) => unknown
}

/**
 * A statechart with a name, which a peer offers to others: `createPeer({ machines: [approval] })`. Who spawns it sends its
 * name and its input, and no code; it runs on the peer's own thread, or in a process of its own (`isolate`), as a job.
 * @throws UsageError
 * @example
 * export const approval = defineMachine({
 *   name: 'approval', machine: approvalMachine,
 *   events: { approve: z.object({ by: z.string() }), reject: z.object({ by: z.string(), why: z.string() }) },
 * })
 * const ref = await session.spawn(approval, { input: { what: 'a new laptop' } })
 */
export function defineMachine<
  M extends AnyStateMachine,
  const E extends { readonly [T in EventFromLogic<M>['type']]?: StandardSchema | true },
  C = ContextFrom<M>,
>(of: MachineDescription<M, E, C>): MachineDefinition<M, keyof E & string, C> {
  const { name, machine, events, input, project } = of as unknown as MachineDescription<
    M,
    Record<string, StandardSchema | true>,
    C
  >
  if (!isJobName(name)) {
    const given: unknown = name
    const shown = typeof given === 'string' ? `'${given.slice(0, 140)}'` : String(given)
    throw new UsageError(`a machine is named by letters, digits and -_.:/ (at most 128), not ${shown}`)
  }
  if (typeof (machine as { transition?: unknown } | undefined)?.transition !== 'function' || !('root' in machine))
    throw new UsageError(`\`machine\` of '${name}' is what \`createMachine\` of xstate 5 makes`)
  if (typeof events !== 'object' || events === null)
    throw new UsageError(`machine '${name}' does not say which \`events\` may be sent to it`, {
      hint: 'events: { approve: true }, or a Standard Schema for each',
    })
  for (const [type, schema] of Object.entries(events)) {
    // Its own: who could send these would be inside.
    if (type === '*' || type.startsWith('xstate.'))
      throw new UsageError(`'${type}' is no event that may be sent to machine '${name}' from outside`)
    if (schema !== true) checkSchema(schema, `event '${type}'`, name)
  }
  if (input !== undefined) checkSchema(input, '`input`', name)
  if (project !== undefined && typeof project !== 'function')
    throw new UsageError(`\`project\` of machine '${name}' is a function of its snapshot`)
  const durable = durableRule(name, of.durable)
  if (durable) checkDurable(name, machine)
  return Object.freeze({
    name,
    machine,
    events: Object.freeze({ ...events }),
    input,
    project,
    durable,
    ...placeOf(name, of),
    [MADE]: true,
  }) as unknown as MachineDefinition<M, keyof E & string, C>
}

/** Whether {@link defineMachine} made it, also one of another copy of this package. */
export function isMachineDefinition(value: unknown): value is MachineDefinition {
  return typeof value === 'object' && value !== null && (value as { [MADE]?: unknown })[MADE] === true
}

/** How machines are looked for in a module. */
export const MACHINES: DefinitionKind<MachineDefinition> = {
  word: 'machine',
  made: 'defineMachine',
  is: isMachineDefinition,
}

/** @throws UsageError */
function checkSchema(schema: StandardSchema | undefined, what: string, name: string): void {
  if (typeof schema?.['~standard']?.validate === 'function') return
  throw new UsageError(`${what} of machine '${name}' has no Standard Schema`, {
    hint: 'zod, valibot, arktype and others make them: https://standardschema.dev; `true` takes whatever comes',
  })
}

/** @throws UsageError */
function durableRule(
  name: string,
  durable: MachineDescription<AnyStateMachine, unknown, unknown>['durable'],
): DurableRule | undefined {
  if (durable === undefined) return undefined
  const { version = 1, every = EVERY, migrate } = durable === true ? {} : durable
  if (!Number.isSafeInteger(version) || version < 1)
    throw new UsageError(`\`durable.version\` of machine '${name}' is a whole number from 1 on, not ${version}`)
  if (!Number.isSafeInteger(every) || every < 1 || every > EVERY_MOST)
    throw new UsageError(
      `\`durable.every\` of machine '${name}' is a whole number from 1 to ${EVERY_MOST}, not ${every}`,
    )
  if (migrate !== undefined && typeof migrate !== 'function')
    throw new UsageError(`\`durable.migrate\` of machine '${name}' is a function`)
  return Object.freeze({ version, every, migrate })
}

/** Where its actors run. @throws UsageError */
function placeOf(
  name: string,
  {
    isolate,
    module,
    maxMemory,
    durable,
  }: Pick<MachineDescription<AnyStateMachine, unknown, unknown>, 'isolate' | 'module' | 'maxMemory' | 'durable'>,
): Pick<MachineDefinition, 'isolate' | 'module' | 'maxMemory'> {
  const url = module === undefined ? undefined : moduleUrl(module, `machine '${name}'`)
  if (isolate === undefined) {
    if (maxMemory === undefined) return { module: url }
    throw new UsageError(`\`maxMemory\` of machine '${name}' is the limit of a process: give it one`, {
      hint: "isolate: 'process', module: import.meta.url",
    })
  }
  if (isolate !== 'process') {
    const given: unknown = isolate
    throw new UsageError(`\`isolate\` of machine '${name}' can be 'process', not '${String(given).slice(0, 140)}'`)
  }
  if (url === undefined)
    throw new UsageError(`machine '${name}' is to run in a process and has no \`module\`: it is imported there`, {
      hint: 'module: import.meta.url, in the file that exports it',
    })
  if (durable !== undefined)
    throw new UsageError(`machine '${name}' is \`durable\`, and so it runs on the thread of its peer, not in a process`)
  const fits = Number.isSafeInteger(maxMemory) && maxMemory! >= MEMORY_LEAST && maxMemory! <= MEMORY_MOST
  if (maxMemory !== undefined && !fits)
    throw new UsageError(
      `\`maxMemory\` of machine '${name}' is a whole number of MiB from ${MEMORY_LEAST} to ${MEMORY_MOST}, not ${maxMemory}`,
    )
  return { isolate, module: url, maxMemory }
}

// ── what comes from outside ───────────────────────────────────────────────────────────────────────────────────────────

export type TypedEvent = { readonly type: string }

/**
 * An event as its schema makes it; a promise only where the schema takes its time.
 * @throws InvalidEventError, or what the schema throws
 */
export function checkedEvent(of: MachineDefinition, event: unknown): TypedEvent | Promise<TypedEvent> {
  const { type } = (typeof event === 'object' && event !== null ? event : {}) as { type?: unknown }
  if (typeof type !== 'string')
    throw new InvalidEventError(`machine '${of.name}' takes events, objects with a \`type\``)
  const schema = Object.hasOwn(of.events, type) ? of.events[type] : undefined
  if (schema === undefined) {
    throw new InvalidEventError(`machine '${of.name}' takes no event '${type.slice(0, 140)}' from outside`, [], {
      hint: `it takes: ${Object.keys(of.events).join(', ') || 'none'}`,
    })
  }
  if (schema === true) return event as TypedEvent
  const { type: _, ...fields } = event as Record<string, unknown>
  const result = schema['~standard'].validate(fields)
  return result instanceof Promise
    ? result.then((settled) => made(of, type, settled))
    : made(of, type, result as SchemaResult<unknown>)
}

function made({ name }: MachineDefinition, type: string, result: SchemaResult<unknown>): TypedEvent {
  if (result.issues) throw new InvalidEventError(`machine '${name}' does not take this '${type}'`, issuesOf(result))
  return { ...(result.value as object), type }
}

/** What its schema makes of the input. @throws InvalidInputError, what the schema throws */
export async function checkedSpawnInput(of: MachineDefinition, input: unknown): Promise<unknown> {
  if (!of.input) return input
  const result = await of.input['~standard'].validate(input)
  if (result.issues) throw new InvalidInputError(`machine '${of.name}'`, issuesOf(result))
  return result.value
}
