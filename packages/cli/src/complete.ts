// What may stand where the cursor is: walks the one table of commands as the parser does. Pure; who asks this machine's
// peer for what is alive there is commands/complete.ts.
import { looksLikeFile, scan, splitVerb, splitWork } from './argv.ts'
import type { Cmdlet } from './cmdlets.ts'
import { allowedFor, flagNamed, flagSpecs, GRANTS, JOB_STATES, SHAPES, wordsOf, type FlagName } from './flags.ts'
import { COMMANDS, FIRST_WORDS, GROUPS, type CommandSpec } from './grammar.ts'

/** One thing that may be typed, and what it is. */
export interface Candidate {
  readonly value: string
  readonly about: string
}

/** What is alive, or lies on the disk, and cannot be read off the table. */
export type Source = 'JOB' | 'SESSION' | 'PEER' | 'PLACE' | 'FIELD' | 'TOPIC' | 'KEY' | 'EVENT' | 'MACHINE'

/** What is wanted: candidates; sources of more; or what only the shell knows, names of files and commands. */
export interface Wanted {
  /** What stands before each candidate in the same word: `--on=`, `server01,`. */
  readonly prefix: string
  /** What a candidate begins with. */
  readonly typed: string
  readonly candidates: readonly Candidate[]
  /** Not offered again. */
  readonly said: readonly string[]
  readonly sources: readonly Source[]
  /** `FOLDER`: files, but only those that hold others. `PROGRAM`: what a shell can start. */
  readonly shell: 'FILE' | 'FOLDER' | 'PROGRAM' | undefined
  /** The command, where it is known: `session list`. */
  readonly path: string | undefined
  /** Whose jobs: the value of `--at`. */
  readonly at: string | undefined
  /** The value of `--home`. */
  readonly home: string | undefined
}

/** What a word of a usage line stands for, or a flag's value: one of the sources, the shell's, or words as they are. */
type Kind = Source | 'FILE' | 'FOLDER' | 'PROGRAM' | 'INPUT' | 'COMMAND' | readonly string[]

/** A word that nobody types: it stands where the cursor is, and where it turns up is what the cursor's word means. */
const CURSOR = '\0'

/** Behind flags whose value is no fixed set. Without an entry nothing is offered. */
const VALUES: Partial<Record<FlagName, readonly Kind[]>> = {
  on: ['PLACE'],
  at: ['PLACE', ['all']],
  location: ['PLACE'],
  afterJob: ['JOB'],
  cwd: ['FOLDER'],
  home: ['FOLDER'],
  init: ['FILE'],
  out: ['FILE'],
  offer: ['FILE'],
  input: ['INPUT'],
  spawnInput: ['INPUT'],
  restart: [['on-failure']],
  allow: [['none', 'read=', 'write=', 'child-process', 'worker']],
  grant: [GRANTS],
  json: ['FIELD'],
}
const SESSION_STATES = ['Opening', 'Opened', 'Disconnected', 'Connecting', 'Broken', 'Closed']
/** Flags and parameters whose value is a list with commas. */
const LISTS = new Set<string>(['on', 'at', 'state', 'for', 'kind', 'grant', 'json'])

/** Behind a cmdlet's parameter, by its name in small letters. */
const PARAMETERS: Readonly<Record<string, Kind>> = {
  computername: 'PLACE',
  cn: 'PLACE',
  hostname: 'PLACE',
  session: 'SESSION',
  filepath: 'FILE',
  literalpath: 'FILE',
  workingdirectory: 'FOLDER',
  initializationscript: 'FILE',
  outtarget: ['Job', 'Host'],
  outputbufferingmode: ['Block', 'Drop'],
  hasmoredata: ['$true'],
}

/** What the last of these words may become; those before it stand as they are. */
export async function wantedAt(words: readonly string[]): Promise<Wanted> {
  const before = words.slice(0, -1)
  const typed = words.at(-1) ?? ''
  // In `--on=ser` the flag and the beginning of its value are one word.
  const attached = /^(--[\w-]+=)(.*)$/s.exec(typed)
  const line = splitVerb([...before, CURSOR], SHAPES, (word) => GROUPS.has(word))
  const { verb } = line
  const base = {
    prefix: '',
    typed,
    candidates: [],
    said: [],
    sources: [],
    shell: undefined,
    path: undefined,
    ...(await globals(line.before, verb, line.after)),
  }
  const behind = flagBefore(line.before)
  if (behind !== undefined) return { ...base, ...valueOf(flagNamed(behind), undefined, typed) }
  if (verb === undefined || verb === CURSOR) {
    if (attached) return { ...base, ...flagValue(attached, undefined) }
    if (typed.startsWith('-')) return { ...base, candidates: flagCandidates(['on', 'at']) }
    return { ...base, candidates: await firstWords(typed) }
  }
  if (GROUPS.has(verb) && (line.subverb === undefined || line.subverb === CURSOR)) {
    if (typed.startsWith('-')) return { ...base, candidates: flagCandidates([]) }
    return { ...base, candidates: commandsOf(verb) }
  }
  const path = line.subverb === undefined ? verb : `${verb} ${line.subverb}`
  const command = COMMANDS.find((one) => one.path === path)
  if (command) return { ...base, path, ...inCommand(command, line.after, typed, attached) }
  const { cmdletNamed } = await import('./powershell.ts')
  const cmdlet = cmdletNamed(verb)
  if (cmdlet) return { ...base, path: cmdlet.path, ...(await inCmdlet(cmdlet, line.after, typed, attached)) }
  return base
}

type Part = Partial<Wanted>
type Attached = RegExpExecArray | null

function inCommand(command: CommandSpec, after: readonly string[], typed: string, attached: Attached): Part {
  if (command.words === 'work') {
    const { options, words, dashed } = splitWork(after, SHAPES)
    const flag = flagBefore(options)
    if (flag !== undefined) return valueOf(flagNamed(flag, command.flags), command, typed)
    // Behind the first word all belongs to the command; but a FILE takes no words of its own.
    const at = words.indexOf(CURSOR)
    const ours = !dashed && (at === 0 || (at === 1 && looksLikeFile(words[0]!)))
    if (ours && attached) return flagValue(attached, command)
    if (ours && typed.startsWith('-')) return { candidates: flagCandidates(command.flags) }
    return kinds([at === 0 ? 'PROGRAM' : 'FILE'], typed)
  }
  const { options, words, rest = [] } = scan(after, SHAPES)
  const flag = flagBefore(options)
  if (flag !== undefined) return valueOf(flagNamed(flag, command.flags), command, typed)
  const ours = !rest.includes(CURSOR)
  if (ours && attached) return flagValue(attached, command)
  if (ours && typed.startsWith('-')) return { candidates: flagCandidates(command.flags) }
  const all = [...words, ...rest]
  const wanted = kinds(positional(command.usage, all.indexOf(CURSOR), all), typed)
  return { ...wanted, said: all }
}

async function inCmdlet(cmdlet: Cmdlet, after: readonly string[], typed: string, attached: Attached): Promise<Part> {
  const { parametersLike } = await import('./powershell.ts')
  const last = after.at(-2)
  if (last !== undefined && /^-[A-Za-z]{2}/.test(last)) {
    const [named] = parametersLike(cmdlet, last.slice(1))
    if (named?.[1].takes === 'value') {
      const name = named[0].toLowerCase()
      const kind = PARAMETERS[name] ?? (/^(?:id|name|instanceid|job|sessionid)$/.test(name) ? thing(cmdlet) : undefined)
      if (name === 'state') return kinds([cmdlet.path.startsWith('session') ? SESSION_STATES : JOB_STATES], typed, true)
      return kinds(kind === undefined ? [] : [kind], typed, true)
    }
  }
  const command = COMMANDS.find(({ path }) => path === cmdlet.path)!
  if (attached) return flagValue(attached, command)
  if (typed.startsWith('--')) return { candidates: flagCandidates(command.flags) }
  if (typed.startsWith('-')) {
    return { candidates: Object.keys(cmdlet.parameters).map((name) => ({ value: `-${name}`, about: '' })) }
  }
  if (command.words === 'work') return kinds(['FILE'], typed)
  return kinds(positional(command.usage, 0, []), typed, true)
}

function thing({ path }: Cmdlet): Kind | undefined {
  if (path.startsWith('session ') || path === 'enter') return path === 'session new' ? undefined : 'SESSION'
  return path === 'start' || path === 'run' || path === 'launch' ? undefined : 'JOB'
}

// ── Values ────────────────────────────────────────────────────────────────────────────────────────────────────────────

function flagValue([, flag, value]: RegExpExecArray, command: CommandSpec | undefined): Part {
  const part = valueOf(flagNamed(flag!.slice(0, -1), command?.flags), command, value!)
  return { ...part, prefix: flag! + (part.prefix ?? ''), typed: part.typed ?? value! }
}

function valueOf(name: FlagName | undefined, command: CommandSpec | undefined, typed: string): Part {
  if (name === undefined) return {}
  const states = command?.group === 'Sessions' ? SESSION_STATES : JOB_STATES
  const fixed = name === 'state' ? states : allowedFor(name)
  return kinds(fixed ? [fixed] : (VALUES[name] ?? []), typed, LISTS.has(name))
}

/** What a word of these kinds may become. In a `list` only what stands behind the last comma is still open. */
function kinds(wanted: readonly Kind[], typed: string, list = false): Part {
  const comma = list ? typed.lastIndexOf(',') + 1 : 0
  const said = typed.slice(0, comma).split(',')
  const sources: Source[] = []
  const candidates: Candidate[] = []
  let shell: Wanted['shell']
  let prefix = typed.slice(0, comma)
  let open = typed.slice(comma)
  for (const kind of wanted) {
    if (typeof kind !== 'string') candidates.push(...kind.map((value) => ({ value, about: '' })))
    else if (kind === 'COMMAND') candidates.push(...COMMANDS.filter((one) => !one.hidden).map(described))
    else if (kind === 'INPUT') {
      // `@FILE`; anything else is JSON.
      if (!typed.startsWith('@')) candidates.push({ value: '-', about: 'each line of stdin' })
      else [shell, prefix, open] = ['FILE', '@', typed.slice(1)]
    } else if (kind === 'FILE' || kind === 'FOLDER' || kind === 'PROGRAM') shell = kind
    else sources.push(kind)
  }
  return { prefix, typed: open, candidates, said, sources, shell }
}

/** What a usage line says of its word number `at`: `JOB…`, `PEER|SESSION`, `[COMMAND|TOPIC]`, `get|set|unset`. */
function positional(usage: string, at: number, words: readonly string[]): Kind[] {
  const parts = usage
    .replaceAll(/[[\]]/g, '')
    .replaceAll(/(?<!\S)\|(?!\S)/g, '|')
    .split(/\s+/)
  const part = at < parts.length && !parts[at - 1]?.includes('…') ? parts[at] : parts.find((one) => one.includes('…'))
  if (part === undefined || (at > 0 && words[0] === 'help')) return []
  const literal: string[] = []
  const found: Kind[] = []
  for (const one of part.replaceAll('…', '').split('|')) {
    if (/^(?:JOB|SESSION|PEER|TOPIC|KEY|COMMAND|EVENT|MACHINE)$/.test(one)) found.push(one as Source)
    else if (one.startsWith('FILE')) found.push('FILE')
    else if (/^[a-z][a-z-]*$/.test(one)) literal.push(one)
  }
  // A map takes a function, or the file of one.
  if (usage.includes('FILE') && found.length === 0) found.push('FILE')
  return literal.length > 0 ? [literal, ...found] : found
}

// ── Words of the table ────────────────────────────────────────────────────────────────────────────────────────────────

function described({ path, summary }: CommandSpec): Candidate {
  return { value: path.split(' ', 1)[0]!, about: path.includes(' ') ? '' : summary }
}

async function firstWords(typed: string): Promise<Candidate[]> {
  const own = FIRST_WORDS.map((word) => ({
    value: word,
    about:
      COMMANDS.find(({ path }) => path === word)?.summary ??
      commandsOf(word)
        .map(({ value }) => value)
        .join(', '),
  }))
  // Cmdlets are offered to who types one: among our own words they would be two thirds of a long list.
  const meant = /^[A-Z]|-/.test(typed) || (typed !== '' && !own.some(({ value }) => value.startsWith(typed)))
  if (!meant) return own
  const { SPELLINGS } = await import('./powershell.ts')
  return [...own, ...SPELLINGS.map(({ name, path }) => ({ value: name, about: `errand ${path}` }))]
}

function commandsOf(group: string): Candidate[] {
  return COMMANDS.filter(({ path, hidden }) => !hidden && path.startsWith(`${group} `)).map(({ path, summary }) => ({
    value: path.slice(group.length + 1),
    about: summary,
  }))
}

function flagCandidates(names: readonly FlagName[]): Candidate[] {
  return flagSpecs(names)
    .filter(({ hidden }) => !hidden)
    .map((spec) => ({ value: wordsOf(spec).at(-1)!, about: spec.help }))
}

/** The flag whose value the cursor's word is. */
function flagBefore(options: readonly string[]): string | undefined {
  const at = options.indexOf(CURSOR)
  if (at < 1) return undefined
  const flag = options[at - 1]!
  // Of `-kn` the last letter takes it.
  return flag.startsWith('--') ? flag : `-${flag.at(-1)}`
}

/** What stands in the line for all of it, wherever it stands. */
async function globals(
  before: readonly string[],
  verb: string | undefined,
  after: readonly string[],
): Promise<{ at: string | undefined; home: string | undefined }> {
  const command = COMMANDS.find(({ path }) => path === verb)
  const own = command?.words === 'work' ? splitWork(after, SHAPES).options : scan(after, SHAPES).options
  const options = [...before, ...own]
  const value = (flag: string): string | undefined => {
    const attached = options.find((option) => option.startsWith(`${flag}=`))
    if (attached !== undefined) return attached.slice(flag.length + 1)
    const at = options.indexOf(flag)
    const next = at < 0 ? undefined : options[at + 1]
    return next === CURSOR ? undefined : next
  }
  return { at: value('--at'), home: value('--home') }
}
