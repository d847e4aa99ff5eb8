// Work as it is given — a function, a command, text, a named job — turned into what travels: a WorkSpec. Refused before
// it is sent.
import { encode } from '@errand/transport'
import { refuseWhileImporting } from './definition-module.ts'
import { milliseconds } from './duration.ts'
import { UsageError } from './errors.ts'
import { checkedInput, IN_HAND, isJobDefinition, valueOf } from './job-definition.ts'
import { checkedSpawnInput, isMachineDefinition } from './machine-definition.ts'
import { whileWanted } from './output-log.ts'
import type { MachineDefinition, SpawnOptions } from './actor-surface.ts'
import type {
  ConnectOptions,
  JobDefinition,
  Permissions,
  RestartPolicy,
  RetryPolicy,
  StartOptions,
  Work,
} from './surface.ts'
import {
  ACTOR_GROUPS_MOST,
  isJobName,
  MEMORY_LEAST,
  MEMORY_MOST,
  PATHS_MOST,
  MAP_THROTTLE_MOST,
  THROTTLE_MOST,
  type InitSpec,
  type PermissionSpec,
  type Surroundings,
  type WorkSpec,
} from './wire.ts'

/** Names an interactive session and `-e` have in scope beside what they are given. */
export const PROMPT_NAMES: readonly string[] = [
  'args',
  'ctx',
  'signal',
  'sleep',
  'warn',
  'verbose',
  'debug',
  'info',
  'error',
  'progress',
  'ask',
  'input',
  'session',
  'start',
  'jobs',
  'job',
  'receive',
  'output',
  'wait',
  'send',
  'answer',
  'stop',
  'remove',
  'save',
]

/**
 * What travels for this work. Values are copied now: what the caller changes afterwards does not reach the job.
 * @throws UsageError, ScriptError, FreeVariableError, NotTransferableError, InvalidInputError
 */
export function workSpec(work: Work, options: StartOptions, how: { prompt?: boolean } = {}): Promise<WorkSpec> {
  refuseWhileImporting('work is started')
  if (isJobDefinition(work)) return jobSpec(work, options)
  const { args = [], using = {} } = options
  const values = (args as readonly unknown[]).length > 0 || Object.keys(using).length > 0
  // Before the first await: the caller may change its objects as soon as we return.
  const payload = values ? encode({ args, using }) : undefined
  const common = commonOf(options, payload)
  return describe(work, using, how.prompt === true).then(async (described) => {
    const init = options.init && (await describeInit(options.init, using))
    return { ...described, ...common, ...(init && { init }) }
  })
}

/** @throws UsageError, ScriptError, FreeVariableError */
async function describeInit(work: Work, using: Record<string, unknown> = {}): Promise<InitSpec> {
  const {
    kind,
    source,
    export: name,
  } = isJobDefinition(work) ? { kind: 'job', source: undefined, export: undefined } : await describe(work, using, false)
  if ((kind === 'function' || kind === 'code' || kind === 'module') && source !== undefined)
    return { kind, source, ...(name !== undefined && { export: name }) }
  throw new UsageError('`init` is a function, { code } or { module }: it runs in the isolate of the script behind it')
}

/** What a session is opened with. @throws UsageError, ScriptError, FreeVariableError */
export async function surroundings({ cwd, env, init, maxMemory, permissions }: ConnectOptions): Promise<Surroundings> {
  return {
    ...(cwd !== undefined && { cwd }),
    ...(env !== undefined && { env }),
    ...(init !== undefined && { init: await describeInit(init) }),
    ...(maxMemory !== undefined && { maxMemory: memoryLimit(maxMemory) }),
    ...(permissions !== undefined && { permissions: permissionSpec(permissions) }),
  }
}

/** A job by its name, and the one value it takes: checked here, so that what it would refuse is not sent. */
function jobSpec(job: JobDefinition, options: StartOptions): Promise<WorkSpec> {
  const { name } = job
  if (options.using !== undefined) {
    throw new UsageError(`job '${name}' takes one value, \`args\`; \`using\` is for a function's text`)
  }
  if (options.init !== undefined) {
    throw new UsageError(`job '${name}' brings with it what it needs; \`init\` is for scripts that are sent`)
  }
  const payload = options.args === undefined ? undefined : encode(options.args)
  const common = commonOf(options, payload)
  const spec: WorkSpec & { [IN_HAND]: JobDefinition } = {
    kind: 'job',
    job: name,
    command: name,
    ...common,
    [IN_HAND]: job,
  }
  // The copy is what is checked: it is what arrives. What the schema makes of it stays here; there it is made again.
  return checked(spec, job, options.signal)
}

/** A machine by its name, and its input: checked here, so that what it would refuse is not sent. */
export async function machineSpec(of: MachineDefinition | string, o: SpawnOptions): Promise<WorkSpec> {
  refuseWhileImporting('a machine is spawned')
  const name = typeof of === 'string' ? of : of.name
  if (!isJobName(name) || (typeof of !== 'string' && !isMachineDefinition(of)))
    throw new UsageError('a machine is what `defineMachine` makes, or the name of one that is offered there')
  const payload = o.input === undefined ? undefined : encode(o.input)
  const spec: WorkSpec = {
    kind: 'machine',
    job: name,
    command: name,
    startId: o.startId ?? crypto.randomUUID(),
    ...(payload && { payload }),
    ...(o.name !== undefined && { name: o.name }),
    ...(o.register !== undefined && { register: o.register }),
    ...(o.groups !== undefined && { groups: [...o.groups] }),
  }
  const odd = [...(spec.groups ?? []), ...(o.register === undefined ? [] : [o.register])].find((one) => !isJobName(one))
  if (odd !== undefined) throw new UsageError(`'${String(odd).slice(0, 150)}' is no name of an actor or a group`)
  if (spec.groups && spec.groups.length > ACTOR_GROUPS_MOST)
    throw new UsageError(`an actor is spawned into at most ${ACTOR_GROUPS_MOST} groups`)
  if (typeof of !== 'string') await whileWanted(() => checkedSpawnInput(of, valueOf(spec)), o.signal)
  return spec
}

/** A schema may ask somebody and wait for long: whoever gives the call up does not wait with it. */
async function checked(spec: WorkSpec, job: JobDefinition, signal: AbortSignal | undefined): Promise<WorkSpec> {
  await whileWanted(() => checkedInput(job, valueOf(spec)), signal)
  return spec
}

/** Of every kind of work. */
function commonOf(options: StartOptions, payload: Uint8Array | undefined): Omit<WorkSpec, keyof Described> {
  return {
    startId: options.startId ?? crypto.randomUUID(),
    ...(payload && { payload }),
    ...(options.name !== undefined && { name: options.name }),
    ...(options.engine !== undefined && { engine: options.engine }),
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    ...(options.env !== undefined && { env: options.env }),
    ...(options.input !== undefined && { input: true }),
    ...(options.maxMemory !== undefined && { maxMemory: memoryLimit(options.maxMemory) }),
    ...(options.permissions !== undefined && { permissions: permissionSpec(options.permissions) }),
    ...(options.deadline !== undefined && { deadline: milliseconds(options.deadline) }),
    ...(options.delay !== undefined && { delay: milliseconds(options.delay) }),
    ...(options.after !== undefined && { after: nameOf(options.after) }),
    ...(options.retry !== undefined && { retry: retryRule(options.retry) }),
    ...(options.restart !== undefined && { restart: restartRule(options.restart) }),
  }
}

/** How a job that is meant travels. */
function nameOf(job: NonNullable<StartOptions['after']>): number | string {
  return typeof job === 'object' ? job.instanceId : job
}

/** How many at once. @throws UsageError */
export function throttleLimit(most: number): number {
  if (Number.isSafeInteger(most) && most >= 1 && most <= THROTTLE_MOST) return most
  throw new UsageError(`a throttle is a whole number from 1 to ${THROTTLE_MOST}, not ${String(most)}`)
}

/** Items of a map at once. @throws UsageError */
export function mapThrottleLimit(items: number): number {
  if (Number.isInteger(items) && items >= 1 && items <= MAP_THROTTLE_MOST) return items
  throw new UsageError(`throttle is a whole number from 1 to ${MAP_THROTTLE_MOST}, not ${String(items)}`)
}

/** @throws UsageError */
function memoryLimit(mib: number): number {
  if (Number.isSafeInteger(mib) && mib >= MEMORY_LEAST && mib <= MEMORY_MOST) return mib
  throw new UsageError(`\`maxMemory\` is a whole number of MiB from ${MEMORY_LEAST} to ${MEMORY_MOST}, not ${mib}`)
}

/** @throws UsageError */
function permissionSpec(permissions: Permissions): PermissionSpec {
  const { read, write, childProcess, worker, ...rest } = permissions
  const [odd] = Object.keys(rest)
  if (odd !== undefined) {
    throw new UsageError(`there is no permission \`${odd}\``, {
      hint: 'permissions: read, write (lists of paths), childProcess, worker (true or false)',
    })
  }
  for (const [what, list] of Object.entries({ read, write })) {
    if (list === undefined) continue
    if (!Array.isArray(list)) throw new UsageError(`\`permissions.${what}\` is a list of paths`)
    if (list.length > PATHS_MOST) throw new UsageError(`\`permissions.${what}\` has more than ${PATHS_MOST} paths`)
    const bad: unknown = list.find((path) => typeof path !== 'string' || !/^[^,\0]+$/.test(path))
    if (bad !== undefined)
      throw new UsageError(`\`permissions.${what}\` takes paths without commas, not ${JSON.stringify(bad)}`)
  }
  for (const [what, may] of Object.entries({ childProcess, worker })) {
    if (may !== undefined && typeof may !== 'boolean') throw new UsageError(`\`permissions.${what}\` is true or false`)
  }
  return {
    ...(read && { read: [...read] }),
    ...(write && { write: [...write] }),
    ...(childProcess !== undefined && { childProcess }),
    ...(worker !== undefined && { worker }),
  }
}

/** @throws UsageError */
function retryRule({ times, delay = '1s', factor = 2 }: RetryPolicy): NonNullable<WorkSpec['retry']> {
  if (!(factor >= 1 && factor <= 1000))
    throw new UsageError(`\`retry.factor\` is a number from 1 to 1000, not ${factor}`)
  return { times: often('retry', times), delay: milliseconds(delay), factor }
}

/** @throws UsageError */
function restartRule({ times, within }: RestartPolicy): NonNullable<WorkSpec['restart']> {
  return { times: often('restart', times), within: milliseconds(within) }
}

function often(what: string, times: number): number {
  if (Number.isSafeInteger(times) && times >= 0 && times <= 10_000) return times
  throw new UsageError(`\`${what}.times\` is a whole number from 0 to 10000, not ${times}`)
}

/**
 * The parser is 235 KB: loaded by who sends functions, not by who sends commands. Kept: asking for it each time would cost
 * more than the rest.
 */
let script: typeof import('./script.ts') | undefined

type Described = Pick<WorkSpec, 'kind' | 'source' | 'argv' | 'export' | 'prompt' | 'command'>

async function describe(
  work: Exclude<Work, JobDefinition>,
  using: Record<string, unknown>,
  prompt: boolean,
): Promise<Described> {
  if (typeof work === 'function') {
    const { commandText, functionSource } = (script ??= await import('./script.ts'))
    // At a prompt the built-in modules are there by name, and so they are where a function of it runs.
    const names = prompt ? new Set([...PROMPT_NAMES, ...(await import('./script-globals.ts')).builtinNames]) : undefined
    const source = functionSource(work, { using, ...(names && { scope: names }) })
    return { kind: 'function', source, command: commandText(work), ...(prompt && { prompt }) }
  }
  if (isCommand(work)) {
    if (work.length === 0 || work[0] === '') throw new UsageError('a command needs the name of a program')
    return { kind: 'command', argv: [...work], command: work.map(quoted).join(' ') }
  }
  if (typeof work !== 'object' || work === null) throw noWork(work)
  if ('code' in work) return { kind: 'code', source: work.code, command: work.code, prompt: true }
  if ('line' in work) return { kind: 'line', source: work.line, command: work.line, prompt: true }
  if ('module' in work) {
    const command = work.file ?? work.module
    return { kind: 'module', source: work.module, command, ...(work.export !== undefined && { export: work.export }) }
  }
  throw noWork(work)
}

function noWork(work: unknown): UsageError {
  return new UsageError(
    'work is a function, a command (an array of strings), what defineJob made, { code }, { module } or { line }',
    typeof work === 'string' ? { hint: "a command is a list: ['uname', '-a']; code is { code: '1 + 1' }" } : {},
  )
}

function isCommand(work: unknown): work is readonly string[] {
  if (!Array.isArray(work)) return false
  const odd = work.findIndex((word) => typeof word !== 'string')
  if (odd >= 0) throw new UsageError(`a command is an array of strings; word ${odd} is a ${typeof work[odd]}`)
  return true
}

/** For people to read, in the way a shell would take it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}
