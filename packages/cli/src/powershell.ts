// PowerShell's spellings: `errand Start-Job -Name x -ScriptBlock '{ … }'`. A cmdlet with its parameters is turned into one
// of our own verbs with our own flags; nothing behind this file knows that PowerShell exists.
import { scan } from './argv.ts'
import { CMDLETS, split, truth, type Cmdlet, type Line, type Parameter } from './cmdlets.ts'
import { usage } from './failure.ts'
import { SHAPES } from './flags.ts'
import { nearest } from './suggestion.ts'

/** One of our verbs, as if it had been typed. */
export interface Spelled {
  readonly path: string
  readonly options: readonly string[]
  readonly words: readonly string[]
  /** The words are a command, whatever they look like. */
  readonly dashed: boolean
}

const BY_WORD: ReadonlyMap<string, Cmdlet> = new Map(
  CMDLETS.flatMap((cmdlet) =>
    [cmdlet.name, ...cmdlet.aliases].map((word): [string, Cmdlet] => [word.toLowerCase(), cmdlet]),
  ),
)

/** Every cmdlet that is understood, for suggestions. */
export const CMDLET_NAMES: readonly string[] = CMDLETS.map(({ name }) => name)

/** Each cmdlet with its aliases and our verb, for `errand help powershell`. */
export const SPELLINGS: readonly { name: string; aliases: readonly string[]; path: string }[] = CMDLETS

export function isCmdlet(verb: string): boolean {
  return cmdletNamed(verb) !== undefined
}

/**
 * Turns a cmdlet's line into one of our verbs. Our own flags are understood beside its parameters.
 * @throws Failure USAGE for a parameter it has not got
 */
export function spell(verb: string, tokens: readonly string[]): Spelled {
  const cmdlet = cmdletNamed(verb)
  if (!cmdlet) throw usage(`'${verb}' is no cmdlet that errand knows`)
  const line: Line = {
    path: cmdlet.path,
    options: [],
    words: [],
    positional: [],
    dashed: false,
    asJob: false,
    detached: false,
  }
  read(line, cmdlet, tokens)
  if (cmdlet.positional) cmdlet.positional(line)
  else line.words.push(...line.positional.flatMap(split))
  cmdlet.finish?.(line)
  return { path: line.path, options: line.options, words: line.words, dashed: line.dashed }
}

function read(line: Line, cmdlet: Cmdlet, tokens: readonly string[]): void {
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index]!
    if (token === '--') {
      line.dashed = true
      line.words.push(...tokens.slice(index + 1))
      return
    }
    if (/^-[A-Za-z]{2}/.test(token)) {
      const [name, attached] = parted(token)
      const parameter = parameterOf(cmdlet, name)
      if (parameter.takes === 'nothing') {
        if (attached === undefined || truth(attached)) parameter.set(line)
        continue
      }
      const value = attached ?? tokens[++index]
      if (value === undefined) throw usage(`-${name} needs a value`)
      const block = attached === undefined ? blockAt(tokens, index) : 1
      if (block > 1) {
        parameter.set(line, tokens.slice(index, index + block).join(' '))
        index += block - 1
        continue
      }
      const whole = [value]
      // `-ComputerName server01, server02`: the shell made two words of one list.
      while (whole.at(-1)!.endsWith(',') && tokens[index + 1] !== undefined) whole.push(tokens[++index]!)
      parameter.set(line, whole.join(''))
    } else if (token.startsWith('-') && token !== '-') {
      // One of our own flags: with the word behind it, if it takes one whatever that is.
      const takes = scan([token, 'value'], SHAPES).words.length === 0
      line.options.push(...scan(takes ? tokens.slice(index, index + 2) : [token], SHAPES).options)
      if (takes) index++
    } else {
      const block = blockAt(tokens, index)
      line.positional.push(tokens.slice(index, index + block).join(' '))
      index += block - 1
    }
  }
}

/** How many tokens a script block has that begins here: `{ 3 + 3 }` without quotes are five words to a shell. */
function blockAt(tokens: readonly string[], from: number): number {
  if (!tokens[from]!.startsWith('{')) return 1
  let depth = 0
  for (let index = from; index < tokens.length; index++) {
    for (const letter of tokens[index]!) depth += letter === '{' ? 1 : letter === '}' ? -1 : 0
    if (depth <= 0) return index - from + 1
  }
  return 1
}

/** `-Keep:$false` as name and value. */
function parted(token: string): [name: string, value: string | undefined] {
  const colon = token.indexOf(':')
  return colon < 0 ? [token.slice(1), undefined] : [token.slice(1, colon), token.slice(colon + 1)]
}

/** By its name in any case, or by a beginning that no other parameter has, as PowerShell does. */
function parameterOf(cmdlet: Cmdlet, name: string): Parameter {
  const found = parametersLike(cmdlet, name)
  const [first] = found
  if (first && found.every(([, parameter]) => parameter === first[1])) return first[1]
  if (first) throw usage(`-${name} could be ${found.map(([parameter]) => `-${parameter}`).join(' or ')}`)
  const near = nearest(name, Object.keys(cmdlet.parameters))
  throw usage(`${cmdlet.name} has no parameter -${name}`, near && `did you mean -${near}?`)
}

/** Those that a name may mean: the one that has it, else all that begin with it. */
export function parametersLike(cmdlet: Cmdlet, name: string): readonly (readonly [string, Parameter])[] {
  const typed = name.toLowerCase()
  const known = Object.entries(cmdlet.parameters)
  const exact = known.find(([parameter]) => parameter.toLowerCase() === typed)
  return exact ? [exact] : known.filter(([parameter]) => parameter.toLowerCase().startsWith(typed))
}

/** By its name or alias, in any case. */
export function cmdletNamed(verb: string): Cmdlet | undefined {
  return BY_WORD.get(verb.toLowerCase())
}
