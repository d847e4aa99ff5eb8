// The cmdlets that errand understands, their parameters, and what each means in our own words. Tables only; who reads a
// line by them is powershell.ts.
import { looksLikeFile } from './argv.ts'
import { usage } from './failure.ts'

/** A line while its parameters are read. */
export interface Line {
  path: string
  options: string[]
  words: string[]
  positional: string[]
  dashed: boolean
  asJob: boolean
  detached: boolean
}

/** A parameter; `switch` stands alone, the others take one value, in which commas separate. */
export type Parameter =
  | { readonly takes: 'nothing'; readonly set: (line: Line) => void }
  | { readonly takes: 'value'; readonly set: (line: Line, value: string) => void }

export interface Cmdlet {
  readonly name: string
  readonly aliases: readonly string[]
  readonly path: string
  readonly parameters: Readonly<Record<string, Parameter>>
  /** What words without a parameter mean; without it they are the verb's own words. */
  readonly positional?: (line: Line) => void
  /** Decides what only the whole line can tell. */
  readonly finish?: (line: Line) => void
}

// ── Parameters ────────────────────────────────────────────────────────────────────────────────────────────────────────

const flag = (...options: string[]): Parameter => ({ takes: 'nothing', set: (line) => line.options.push(...options) })
const option = (name: string, as: (value: string) => string = (value) => value): Parameter => ({
  takes: 'value',
  set: (line, value) => line.options.push(name, as(value)),
})
const words: Parameter = { takes: 'value', set: (line, value) => line.words.push(...split(value)) }
const ignored: Parameter = { takes: 'nothing', set: () => {} }
const code: Parameter = { takes: 'value', set: (line, value) => line.options.push('-e', unbraced(value)) }
const seconds = (value: string): string => `${value}s`
const lower = (value: string): string => value.toLowerCase()

/** `-Name Job*` filters, `-Name Job1` names: a job or session that is not there is then an error. */
const named: Parameter = {
  takes: 'value',
  set: (line, value) => {
    if (/[*?]/.test(value)) line.options.push('--name', value)
    else line.words.push(...split(value))
  },
}
const hasMoreData: Parameter = {
  takes: 'value',
  set: (line, value) => {
    if (!truth(value)) throw usage('-HasMoreData $false cannot be asked for', 'leave it out, or give $true')
    line.options.push('--has-more')
  },
}
const timeout: Parameter = {
  takes: 'value',
  // −1 is PowerShell's "for ever", which is what no flag says.
  set: (line, value) => void (value === '-1' || line.options.push('--timeout', seconds(value))),
}
const argumentList: Parameter = {
  takes: 'value',
  set: (line, value) => line.options.push('--args', JSON.stringify(split(value).map(literal))),
}
const onSessions: Parameter = {
  takes: 'value',
  set: (line, value) => line.options.push('--on', split(value).map(sessionWord).join(',')),
}

const JOBS: Readonly<Record<string, Parameter>> = {
  Id: words,
  SessionId: words,
  Job: words,
  InstanceId: words,
  Name: words,
  Verbose: flag('-v'),
}
const SESSIONS: Readonly<Record<string, Parameter>> = {
  Session: words,
  Id: words,
  InstanceId: words,
  Name: words,
  Verbose: flag('-v'),
}
const SCRIPT: Readonly<Record<string, Parameter>> = {
  ScriptBlock: code,
  Command: code,
  FilePath: words,
  LiteralPath: words,
  ArgumentList: argumentList,
  Args: argumentList,
  ThrottleLimit: option('--throttle'),
  Verbose: flag('-v'),
}
const startJob = {
  parameters: {
    ...SCRIPT,
    Name: option('-n'),
    JobName: option('-n'),
    WorkingDirectory: option('-C'),
    InitializationScript: option('--init', unbraced),
    InputObject: option('--input', (value: string) => JSON.stringify(split(value).map(literal))),
    DefinitionName: option('--job'),
  },
  positional: (line: Line) => line.positional.forEach((word) => scriptWord(line, word)),
}

export const CMDLETS: readonly Cmdlet[] = [
  { name: 'Start-Job', aliases: ['sajb'], path: 'start', ...startJob },
  {
    name: 'Start-ThreadJob',
    aliases: [],
    path: 'start',
    ...startJob,
    finish: (line) => line.options.push('--engine', 'thread'),
  },
  {
    name: 'Invoke-Command',
    aliases: ['icm'],
    path: 'run',
    parameters: {
      ...SCRIPT,
      ComputerName: option('--on'),
      Cn: option('--on'),
      HostName: option('--on'),
      Session: onSessions,
      AsJob: { takes: 'nothing', set: (line) => void (line.asJob = true) },
      JobName: {
        takes: 'value',
        set: (line, value) => {
          line.asJob = true
          line.options.push('-n', value)
        },
      },
      InDisconnectedSession: { takes: 'nothing', set: (line) => void (line.detached = true) },
      HideComputerName: flag('--prefix', 'never'),
    },
    // `icm server01 { … }` or `icm { … }`: the script comes last.
    positional: (line) => {
      const script = line.options.includes('-e') || line.words.length > 0 ? undefined : line.positional.pop()
      if (line.positional.length > 0) line.options.push('--on', line.positional.join(','))
      if (script !== undefined) scriptWord(line, script)
    },
    finish: (line) => {
      if (line.asJob && line.detached) throw usage('-AsJob and -InDisconnectedSession exclude each other')
      if (line.asJob || line.detached) line.path = 'start'
      if (line.detached) line.options.push('--detach')
      // PowerShell's own leaves no job behind.
      if (line.path === 'run') line.options.push('--rm')
    },
  },
  {
    name: 'Get-Job',
    aliases: ['gjb'],
    path: 'list',
    parameters: {
      ...JOBS,
      Name: named,
      State: option('--state'),
      HasMoreData: hasMoreData,
      IncludeChildJob: flag('--children'),
      Newest: option('--newest'),
      Before: option('--before'),
      After: option('--after'),
    },
  },
  {
    name: 'Receive-Job',
    aliases: ['rcjb'],
    path: 'receive',
    parameters: {
      ...JOBS,
      Keep: flag('--keep'),
      Wait: flag('--wait'),
      AutoRemoveJob: flag('--auto-remove'),
      WriteEvents: flag('--write-events'),
      NoRecurse: flag('--no-recurse'),
      Location: option('--location'),
      ComputerName: option('--location'),
      Cn: option('--location'),
      // We always wait through Disconnected.
      Force: ignored,
    },
  },
  {
    name: 'Wait-Job',
    aliases: ['wjb'],
    path: 'wait',
    parameters: { ...JOBS, Any: flag('--any'), Timeout: timeout, TimeoutSec: timeout, Force: ignored },
  },
  { name: 'Stop-Job', aliases: ['spjb'], path: 'stop', parameters: { ...JOBS, PassThru: ignored } },
  // -Force would suspend at once: a process does so anyway. -Wait waits until it stands still, as we always do.
  {
    name: 'Suspend-Job',
    aliases: ['sujb'],
    path: 'suspend',
    parameters: { ...JOBS, Force: ignored, Wait: ignored },
  },
  { name: 'Resume-Job', aliases: ['rujb'], path: 'resume', parameters: { ...JOBS, Wait: ignored } },
  {
    name: 'ForEach-Object',
    aliases: ['foreach'],
    path: 'map',
    parameters: {
      Parallel: code,
      ThrottleLimit: option('--throttle'),
      // Of all of it, as there; the limit of one item is our own flag.
      TimeoutSeconds: option('--deadline', seconds),
      InputObject: option('--input', (value) => JSON.stringify(split(value).map(literal))),
      Verbose: flag('-v'),
    },
    positional: (line) => line.positional.forEach((word) => scriptWord(line, word)),
  },
  { name: 'Remove-Job', aliases: ['rjb'], path: 'remove', parameters: { ...JOBS, Force: flag('--force') } },
  {
    name: 'Start-Process',
    aliases: ['saps'],
    path: 'launch',
    parameters: {
      FilePath: { takes: 'value', set: (line, value) => line.words.unshift(value) },
      ArgumentList: words,
      Args: words,
      WorkingDirectory: option('-C'),
      Verbose: flag('-v'),
    },
    positional: (line) => {
      const [program, ...rest] = line.positional
      if (program !== undefined) line.words.unshift(program)
      line.words.push(...rest.flatMap(split))
    },
    finish: (line) => void (line.dashed = true),
  },
  {
    name: 'New-PSSession',
    aliases: ['nsn'],
    path: 'session new',
    parameters: {
      ComputerName: words,
      Cn: words,
      HostName: words,
      Name: option('-n'),
      OutputBufferingMode: option('--buffering', lower),
      Verbose: flag('-v'),
    },
  },
  {
    name: 'Get-PSSession',
    aliases: ['gsn'],
    path: 'session list',
    parameters: {
      ...SESSIONS,
      Name: named,
      ComputerName: option('--on'),
      Cn: option('--on'),
      State: {
        takes: 'value',
        set: (line, value) => void (lower(value) === 'all' || line.options.push('--state', value)),
      },
    },
    positional: (line) => {
      if (line.positional.length > 0) line.options.push('--on', line.positional.join(','))
    },
  },
  {
    name: 'Enter-PSSession',
    aliases: ['etsn'],
    path: 'enter',
    parameters: {
      ComputerName: words,
      Cn: words,
      HostName: words,
      Session: { takes: 'value', set: (line, value) => line.words.push(sessionWord(value)) },
      Id: words,
      Name: { takes: 'value', set: (line, value) => line.words.push(`session:${value}`) },
      InstanceId: { takes: 'value', set: (line, value) => line.words.push(`session:${value}`) },
      Verbose: flag('-v'),
    },
  },
  { name: 'Exit-PSSession', aliases: ['exsn'], path: 'exit', parameters: { Verbose: flag('-v') } },
  {
    name: 'Connect-PSSession',
    aliases: ['cnsn'],
    path: 'session connect',
    parameters: {
      ...SESSIONS,
      ComputerName: option('--on'),
      Cn: option('--on'),
      OutputBufferingMode: option('--buffering', lower),
    },
  },
  {
    name: 'Disconnect-PSSession',
    aliases: ['dnsn'],
    path: 'session disconnect',
    parameters: {
      ...SESSIONS,
      IdleTimeoutSec: option('--idle-timeout', seconds),
      OutputBufferingMode: option('--buffering', lower),
    },
  },
  {
    name: 'Receive-PSSession',
    aliases: ['rcsn'],
    path: 'session receive',
    parameters: {
      ...SESSIONS,
      ComputerName: option('--on'),
      Cn: option('--on'),
      OutTarget: option('--out-target', lower),
      JobName: option('-n'),
    },
  },
  { name: 'Remove-PSSession', aliases: ['rsn'], path: 'session remove', parameters: SESSIONS },
]

// ── Values ────────────────────────────────────────────────────────────────────────────────────────────────────────────

export function split(value: string): string[] {
  return value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

/** `$true`, `true`, `1`. */
export function truth(value: string): boolean {
  return /^(\$?true|1)$/i.test(value)
}

/** A number as a number, anything else as the text it is. */
function literal(word: string): unknown {
  if (/^-?\d+(\.\d+)?$/.test(word)) return Number(word)
  if (/^\$(true|false)$/i.test(word)) return truth(word)
  return word
}

/** A number names a session by itself; a name has to say so, because `--on NAME` is a peer first. */
function sessionWord(word: string): string {
  return /^\d+$/.test(word) || word.startsWith('session:') ? word : `session:${word}`
}

function scriptWord(line: Line, word: string): void {
  if (!word.trimStart().startsWith('{') && looksLikeFile(word)) line.words.push(word)
  else line.options.push('-e', unbraced(word))
}

/** A script block's braces are PowerShell's, what is in them is ours; only a pair that encloses everything goes. */
function unbraced(block: string): string {
  const text = block.trim()
  if (!text.startsWith('{') || !text.endsWith('}')) return block
  let depth = 0
  for (let index = 0; index < text.length; index++) {
    if (text[index] === '{') depth++
    else if (text[index] === '}' && --depth === 0 && index < text.length - 1) return block
  }
  return text.slice(1, -1).trim()
}
