// A named job: what `defineJob` makes, what is checked about it, and how it is called in the isolate it runs in.
//
// An isolate cannot be handed a closure. What travels into it is the name of a module that exports the definition, or,
// where there is none, the text of `run`. Imported by whoever defines or runs one: nothing heavy is loaded here.
import { decode } from '@errand/transport'
import { imported, moduleUrl, type DefinitionKind } from './definition-module.ts'
import { InvalidInputError, InvalidOutputError, UsageError, type SchemaIssue } from './errors.ts'
import type { JobDefinition, SchemaResult, ScriptContext, StandardSchema } from './surface.ts'
import { isJobName, type WorkSpec } from './wire.ts'

/** Marks a definition, also one that another copy of this package made. */
const MADE = Symbol.for('errand.job')

/** In a spec that has not left its process: the definition its maker held. Keys that are symbols do not travel. */
export const IN_HAND: unique symbol = Symbol('errand.definition')

/** A spec as it goes into an isolate: the peer has put in what it runs under that name. */
export interface OfferedSpec extends WorkSpec {
  /** File to import. None: `source` is the text of `run`, and the input has been checked. */
  readonly module?: string | undefined
}

/** What a job with outputs of its own type may return: one of them, or a generator of them. */
export type Producing<T> = T | Promise<T> | AsyncGenerator<T, T | void, unknown> | Generator<T, T | void, unknown>
/** What `run` returns, once each output has been through the schema. */
export type Produced<R, T> = R extends AsyncGenerator<any, any, any> | Generator<any, any, any>
  ? AsyncGenerator<T, void, unknown>
  : Promise<T>

/** What `defineJob` is told of a job beside what it does. */
export interface JobDescription {
  /** Letters, digits and `-_.:/`, at most 128. What it is offered, granted (`run:job:NAME`) and asked for by. */
  name: string
  /** `import.meta.url` of the file that exports this definition. Default: `run` travels as text. */
  module?: string | URL
}

/**
 * A job with a name, which a peer offers to others: `createPeer({ jobs: [count] })`. Who starts it sends its name and one
 * value, `args`, and no code. `input` and `output` are Standard Schemas (zod, valibot, arktype, …): the value is checked
 * by who sends it and again where it runs, and `run` gets what the schema makes of it; an output that does not fit is
 * not said: the job is Failed with `INVALID_OUTPUT`.
 *
 * With `module: import.meta.url` it is imported where it runs, and found among that file's exports by its name. The file
 * is run by plain Node for it, once per job (per runspace, in a session's `run`): whatever else it does when it is
 * imported it does there too, so definitions belong in a file of their own. Without `module` the text of `run` must be
 * whole by itself, as of any function that is sent, and `output` cannot be checked.
 * @throws UsageError
 * @example
 * export const count = defineJob({
 *   name: 'count', module: import.meta.url, input: z.object({ to: z.number() }),
 *   async *run(ctx, { to }) { for (let n = 1; n <= to; n++) yield n },
 * })
 * await peer.start(count, { on: 'server01', args: { to: 60 } })
 */
export function defineJob<I, V, O, T, R extends Producing<T>>(
  job: JobDescription & {
    input: StandardSchema<V, I>
    output: StandardSchema<O, T>
    run(ctx: ScriptContext, input: V): R
  },
): JobDefinition<I, Produced<R, O>>
export function defineJob<I, V, R>(
  job: JobDescription & { input: StandardSchema<V, I>; output?: undefined; run(ctx: ScriptContext, input: V): R },
): JobDefinition<I, R>
export function defineJob<I, O, T, R extends Producing<T>>(
  job: JobDescription & { input?: undefined; output: StandardSchema<O, T>; run(ctx: ScriptContext, input: I): R },
): JobDefinition<I, Produced<R, O>>
export function defineJob<I, R>(
  job: JobDescription & { input?: undefined; output?: undefined; run(ctx: ScriptContext, input: I): R },
): JobDefinition<I, R>
export function defineJob(
  job: JobDescription & {
    input?: StandardSchema | undefined
    output?: StandardSchema | undefined
    run: JobDefinition['run']
  },
): JobDefinition {
  const { name, input, output, module, run } = job
  if (!isJobName(name)) {
    const given: unknown = name
    const shown = typeof given === 'string' ? `'${given.slice(0, 140)}'` : String(given)
    throw new UsageError(`a job is named by letters, digits and -_.:/ (at most 128), not ${shown}`)
  }
  if (typeof run !== 'function') throw new UsageError(`job '${name}' has no function \`run\``)
  for (const [what, schema] of Object.entries({ input, output })) {
    if (schema === undefined || typeof schema['~standard']?.validate === 'function') continue
    throw new UsageError(`\`${what}\` of job '${name}' is not a Standard Schema`, {
      hint: 'zod, valibot, arktype and others make them: https://standardschema.dev',
    })
  }
  const url = module === undefined ? undefined : moduleUrl(module, `job '${name}'`)
  return Object.freeze({ name, input, output, module: url, run, [MADE]: true })
}

/** Whether {@link defineJob} made it, also one of another copy of this package. */
export function isJobDefinition(value: unknown): value is JobDefinition {
  return typeof value === 'object' && value !== null && (value as { [MADE]?: unknown })[MADE] === true
}

/** What the schema makes of a job's one value. @throws InvalidInputError, what the schema throws */
export async function checkedInput({ name, input }: JobDefinition, value: unknown): Promise<unknown> {
  if (!input) return value
  const result = await input['~standard'].validate(value)
  if (result.issues) throw new InvalidInputError(`job '${name}'`, issuesOf(result))
  return result.value
}

const JOBS: DefinitionKind<JobDefinition> = { word: 'job', made: 'defineJob', is: isJobDefinition }

// ── In the isolate ────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Calls what a peer offers under this name. Only here is a module's schema run on what came from outside: what it costs,
 * it costs this job.
 * @throws JobModuleError, InvalidInputError, InvalidOutputError, what `run` throws
 */
export async function callJob(work: OfferedSpec, ctx: ScriptContext): Promise<unknown> {
  const given = valueOf(work)
  if (work.module === undefined) {
    const { compileFunction } = await import('./script-compile.ts')
    return compileFunction(work.source ?? '', {}, {}, { cwd: ctx.cwd })(ctx, given)
  }
  const definition = await imported(JOBS, work.job ?? '', work.module)
  const value: unknown = await definition.run(ctx, await checkedInput(definition, given))
  if (!definition.output) return value
  return isGenerator(value) ? checkedStream(definition, value) : checkedOutput(definition, value)
}

/** The one value a named job is given. */
export function valueOf({ payload }: WorkSpec): unknown {
  return payload && decode(payload)
}

/** An output as the schema makes it. Waits only where the schema does. */
async function checkedOutput({ name, output }: JobDefinition, value: unknown): Promise<unknown> {
  const result = await output!['~standard'].validate(value)
  if (result.issues) throw new InvalidOutputError(name, issuesOf(result))
  return result.value
}

async function* checkedStream(definition: JobDefinition, values: AnyGenerator): AsyncGenerator<unknown, unknown> {
  let over = false
  try {
    for (;;) {
      const step = await values.next()
      if (step.done) {
        over = true
        return step.value === undefined ? undefined : await checkedOutput(definition, step.value)
      }
      yield await checkedOutput(definition, step.value)
    }
  } finally {
    // Left because the job was stopped or an output did not fit: its own `finally` blocks run.
    if (!over) await values.return(undefined)
  }
}

type AnyGenerator = AsyncGenerator<unknown, unknown> | Generator<unknown, unknown>

function isGenerator(value: unknown): value is AnyGenerator {
  const tag = Object.prototype.toString.call(value)
  return tag === '[object AsyncGenerator]' || tag === '[object Generator]'
}

/** Of what a schema had to say, at most so much is told: a large value can be wrong in a million places. */
const ISSUES = 20
const ISSUE_TEXT = 300
const ISSUE_PATH = 64

export function issuesOf({ issues = [] }: SchemaResult<unknown>): SchemaIssue[] {
  return issues.slice(0, ISSUES).map(({ message, path = [] }) => ({
    message: String(message).slice(0, ISSUE_TEXT),
    path: path.slice(0, ISSUE_PATH).map((part) => {
      const key = typeof part === 'object' && part !== null ? (part as { key: unknown }).key : part
      return typeof key === 'number' ? key : String(key).slice(0, ISSUE_TEXT)
    }),
  }))
}
