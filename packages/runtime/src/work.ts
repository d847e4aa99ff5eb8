// Work as it is given — a function, a command, text — turned into what travels: a WorkSpec. Refused before it is sent.
import { encode } from '@errand/transport'
import { milliseconds } from './duration.ts'
import { UsageError } from './errors.ts'
import type { StartOptions, Work } from './surface.ts'
import type { WorkSpec } from './wire.ts'

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
  'session',
  'start',
  'jobs',
  'job',
  'receive',
  'output',
  'wait',
  'stop',
  'remove',
  'save',
]

/**
 * What travels for this work. Values are copied now: what the caller changes afterwards does not reach the job.
 * @throws UsageError, ScriptError, FreeVariableError, NotTransferableError
 */
export function workSpec(work: Work, options: StartOptions, how: { prompt?: boolean } = {}): Promise<WorkSpec> {
  const { args = [], using = {} } = options
  const values = (args as readonly unknown[]).length > 0 || Object.keys(using).length > 0
  // Before the first await: the caller may change its objects as soon as we return.
  const payload = values ? encode({ args, using }) : undefined
  const common = {
    startId: options.startId ?? crypto.randomUUID(),
    ...(payload && { payload }),
    ...(options.name !== undefined && { name: options.name }),
    ...(options.engine !== undefined && { engine: options.engine }),
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    ...(options.env !== undefined && { env: options.env }),
    ...(options.input !== undefined && { input: true }),
    ...(options.deadline !== undefined && { deadline: milliseconds(options.deadline) }),
  }
  return describe(work, using, how.prompt === true).then((described) => ({ ...described, ...common }))
}

type Described = Pick<WorkSpec, 'kind' | 'source' | 'argv' | 'export' | 'prompt' | 'command'>

async function describe(work: Work, using: Record<string, unknown>, prompt: boolean): Promise<Described> {
  if (typeof work === 'function') {
    // The parser is 235 KB: loaded by who sends functions, not by who sends commands.
    const { commandText, functionSource } = await import('./script.ts')
    // At a prompt the built-in modules are there by name, and so they are where a function of it runs.
    const names = prompt ? new Set([...PROMPT_NAMES, ...(await import('./script-globals.ts')).builtinNames]) : undefined
    const source = functionSource(work, { using, ...(names && { scope: names }) })
    return { kind: 'function', source, command: commandText(work), ...(prompt && { prompt }) }
  }
  if (isCommand(work)) {
    if (work.length === 0 || work[0] === '') throw new UsageError('a command needs the name of a program')
    return { kind: 'command', argv: [...work], command: work.map(quoted).join(' ') }
  }
  if ('code' in work) return { kind: 'code', source: work.code, command: work.code, prompt: true }
  if ('line' in work) return { kind: 'line', source: work.line, command: work.line, prompt: true }
  if ('module' in work) {
    const command = work.file ?? work.module
    return { kind: 'module', source: work.module, command, ...(work.export !== undefined && { export: work.export }) }
  }
  throw new UsageError('work is a function, a command (an array of strings), { code }, { module } or { line }')
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
