// From a command line to an exit code: finds the command, reads its flags, gives it its context, says what went wrong.
import { resolve } from 'node:path'
import type { LocalPeer } from '@errand/runtime/client'
import { scan, splitVerb, splitWork } from './argv.ts'
import type { Context, Signals, Verb } from './context.ts'
import { BROKEN_PIPE, Failure, usage } from './failure.ts'
import { flagNamed, SHAPES, type Flags } from './flags.ts'
import { COMMANDS, FIRST_WORDS, GROUPS, type CommandSpec } from './grammar.ts'
import { nearest } from './suggestion.ts'
import { colorOf, Terminal, type Streams, type When } from './terminal.ts'

/** Longer than this a timer does not wait (about 24.8 days): it would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1

/** What a command line runs in. `process` is one. */
export interface Surroundings extends Streams {
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  readonly signals: Signals
  /** This machine's peer. Default: found at its socket, or started. */
  readonly connect?: (how: Reach) => Promise<LocalPeer>
}

/** How long a daemon that has gone is waited for by who follows jobs, in ms: as long as one takes to be started again. */
const PATIENCE = 10_000

interface Reach {
  readonly home: string
  readonly start: boolean
  readonly lostAfter: number
  readonly env: NodeJS.ProcessEnv
  readonly signal: AbortSignal
}

/** A command line that has been understood. */
interface Line {
  readonly command: CommandSpec
  readonly options: readonly string[]
  readonly words: readonly string[]
  readonly dashed: boolean
  readonly cmdlet: boolean
}

/** Runs one command line. Resolves to its exit code when everything it printed has been taken; never rejects. */
export async function run(argv: readonly string[], around: Surroundings): Promise<number> {
  let terminal = new Terminal(around, around.env)
  // Until flags are read, what is wrong with them is said in the way they seem to ask for.
  let style = { json: argv.some((token) => token === '--json' || token.startsWith('--json=')), verbose: false }
  try {
    const line = await lineOf(argv)
    if (typeof line === 'string') {
      await terminal.out(line)
      return 0
    }
    const flags = await flagsOf(line)
    if (typeof flags === 'string') {
      await terminal.out(flags)
      return 0
    }
    style = { json: flags.json !== undefined, verbose: flags.verbose === true }
    const [{ default: verb }, home] = await Promise.all([line.command.load(), homeOf(flags, around)])
    const color = flags.color ?? (await colorKept(home, around.env))
    if (color !== undefined) terminal = terminal.colored(color)
    return await perform(verb, line, flags, home, around, terminal)
  } catch (error) {
    // Loaded only now: most commands do not fail.
    const [{ exitCodeOf }, { sayError }] = await Promise.all([import('./exit-codes.ts'), import('./render/error.ts')])
    if ((error as { code?: unknown }).code !== BROKEN_PIPE) sayError(terminal, error, style)
    return exitCodeOf(error)
  } finally {
    await terminal.flush()
  }
}

/** What other command lines call what we have. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  ...{ ls: 'list', ps: 'list', jobs: 'list', rm: 'remove', kill: 'stop', ssh: 'enter', exec: 'run', top: 'watch' },
  ...{ sessions: 'session list', peers: 'peer list', cat: 'logs', tail: 'receive --follow' },
}

/** Finds the command; text when a line asks only for words about us. @throws Failure USAGE */
async function lineOf(argv: readonly string[]): Promise<Line | string> {
  const { verb, subverb, before, after } = splitVerb(argv, SHAPES, (word) => GROUPS.has(word))
  if (verb === undefined) return about(before)
  const path = GROUPS.has(verb) ? `${verb} ${subverb}` : verb
  const command = COMMANDS.find((one) => one.path === path)
  if (command?.words === 'work') {
    const { options, words, dashed } = splitWork(after, SHAPES)
    return { command, options: [...before, ...options], words, dashed, cmdlet: false }
  }
  if (command) {
    const { options, words, rest = [] } = scan(after, SHAPES)
    return { command, options: [...before, ...options], words: [...words, ...rest], dashed: false, cmdlet: false }
  }
  if (GROUPS.has(verb)) return group(verb, subverb, before)
  const { isCmdlet, spell, CMDLET_NAMES } = await import('./powershell.ts')
  if (isCmdlet(verb)) {
    const spelled = spell(verb, after)
    const spoken = COMMANDS.find((one) => one.path === spelled.path)!
    return { ...spelled, command: spoken, options: [...before, ...spelled.options], cmdlet: true }
  }
  const near = ELSEWHERE[verb.toLowerCase()] ?? nearest(verb, [...FIRST_WORDS, ...CMDLET_NAMES])
  throw usage(
    `'${verb}' is no command of errand`,
    near === undefined ? '`errand help` lists them' : `did you mean ${GROUPS.has(near) ? `${near} list` : near}?`,
  )
}

/** A line without a verb: `errand`, `errand --help`, `errand --version`. */
async function about(options: readonly string[]): Promise<string> {
  if (options.includes('--version')) {
    const { versionOf } = await import('./version.ts')
    return `errand ${versionOf()}\n`
  }
  const odd = options.find((option) => option !== '-h' && option !== '--help')
  if (odd !== undefined && flagNamed(odd.split('=', 1)[0]!) === undefined)
    throw usage(`unknown option '${odd}'`, '`errand help` lists the commands, and `errand help COMMAND` its options')
  if (odd !== undefined) throw usage(`${odd} says how, but not what to do`, '`errand help` lists the commands')
  const { overview } = await import('./help-text.ts')
  return overview()
}

async function group(verb: string, subverb: string | undefined, options: readonly string[]): Promise<string> {
  const { groupHelp } = await import('./help-text.ts')
  if (subverb === undefined && options.some((option) => option === '-h' || option === '--help')) return groupHelp(verb)
  const inside = COMMANDS.filter(({ path }) => path.startsWith(`${verb} `)).map(({ path }) => path)
  if (subverb === undefined) throw usage(`errand ${verb} what?`, `there are ${inside.join(', ')}`)
  const near = nearest(`${verb} ${subverb}`, inside)
  throw usage(
    `'${verb} ${subverb}' is no command of errand`,
    near ? `did you mean ${near}?` : `there are ${inside.join(', ')}`,
  )
}

/** Reads a command's flags; text when they ask for help. @throws Failure USAGE */
async function flagsOf({ command, options, words, dashed }: Line): Promise<Flags | string> {
  // Without flags there is nothing to parse, and a parser need not be loaded.
  const flags = options.length === 0 ? {} : await parsed(command, options)
  if (flags.help) {
    const { commandHelp } = await import('./help-text.ts')
    return commandHelp(command, options.includes('--help'))
  }
  if (command.words !== 'work') {
    const [least, most] = command.words
    if (words.length < least) {
      const example = command.examples?.[0]?.split(/ {3,}/)[0]
      throw usage(`${command.path} needs ${command.usage}`, example && `for example: ${example}`)
    }
    if (words.length > most)
      throw usage(`'${words[most]}' is too much`, `errand ${command.path} ${command.usage}`.trim())
  }
  return { ...flags, dashed }
}

async function parsed(command: CommandSpec, options: readonly string[]): Promise<Flags> {
  const { parserOf } = await import('./help-text.ts')
  const parser = parserOf(command)
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
  try {
    parser.parse([...options], { from: 'user' })
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    if (!String(code).startsWith('commander.')) throw error
    const [what, suggestion] = message.replace(/^error: /, '').split('\n', 2)
    // Its words are ours but for the capital: "(Did you mean --state?)".
    const near = suggestion?.replace(/^\(D?d?(.*)\)$/, 'd$1')
    throw usage(what!, near ?? `\`errand help ${command.path}\` shows its flags`)
  }
  return parser.opts()
}

async function homeOf({ home }: Flags, { env, cwd }: Surroundings): Promise<string> {
  if (home !== undefined) return resolve(cwd, home)
  const { defaultHome } = await import('@errand/runtime/client')
  return defaultHome(env)
}

/** `color` of the settings, where neither a flag nor the environment says one. */
async function colorKept(home: string, env: NodeJS.ProcessEnv): Promise<When | undefined> {
  if (colorOf(env) !== undefined) return undefined
  const { readConfig } = await import('./config.ts')
  // Who needs the rest of a broken file says what is wrong with it.
  return (await readConfig(home).catch(() => undefined))?.color
}

async function perform(
  verb: Verb,
  line: Line,
  flags: Flags,
  home: string,
  around: Surroundings,
  terminal: Terminal,
): Promise<number> {
  const { milliseconds } = await import('@errand/runtime/client')
  const limit = flags.timeout === undefined ? undefined : milliseconds(flags.timeout)
  const late = new AbortController()
  const timer =
    limit === undefined
      ? undefined
      : setTimeout(() => late.abort(timeout(flags.timeout!)), Math.min(limit, LONGEST_TIMER))
  const reach = around.connect ?? reachDaemon
  let connected: Promise<LocalPeer> | undefined
  let givenUp: AbortSignal = late.signal
  const context: Context = {
    terminal,
    env: around.env,
    cwd: around.cwd,
    home,
    json: flags.json,
    verbose: flags.verbose === true,
    quiet: flags.quiet === true,
    yes: flags.yes === true,
    cmdlet: line.cmdlet,
    signal: late.signal,
    signals: around.signals,
    connect: async ({ start = true, patient = false, again = false, signal } = {}) => {
      const before = again ? connected : undefined
      if (before) connected = undefined
      await (await before?.catch(() => undefined))?.close() // who asked for it has heard why it was none
      const lostAfter = patient ? PATIENCE : 0
      const either = signal === undefined ? late.signal : AbortSignal.any([late.signal, signal])
      givenUp = either
      connected ??= reach({ home, start, lostAfter, env: around.env, signal: either })
      // It tidies up before it gives up, and with a daemon that stands still that takes seconds.
      const gaveUp = aborted(either).then((): never => {
        throw late.signal.aborted ? silent(flags.timeout!) : either.reason
      })
      return Promise.race([connected, gaveUp])
    },
  }
  try {
    return await verb(context, flags, line.words)
  } catch (error) {
    // Whatever it was doing when its time was up: that is why it ends.
    // Who knows more about that has said so under the same code.
    const same = (error as Partial<Failure>).code === 'TIMEOUT' && error instanceof Failure
    if (late.signal.aborted && !same) throw late.signal.reason
    throw exitsUnknown(error) ? await nearer(error, connected) : error
  } finally {
    clearTimeout(timer)
    const closed = connected?.then(
      (peer) => peer.close(),
      () => undefined, // its command has said why
    )
    // One that does not answer would not answer our goodbye: who has waited long enough does not wait for that.
    await Promise.race([closed, aborted(givenUp)])
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** A name that nobody has: only then is it worth asking which are there. */
function exitsUnknown(error: unknown): boolean {
  return /^(?:JOB|SESSION|PEER)_NOT_FOUND$/.test(String((error as { code?: unknown }).code))
}

async function nearer(error: unknown, connected: Promise<LocalPeer> | undefined): Promise<unknown> {
  const peer = await connected?.catch(() => undefined)
  if (!peer) return error
  const { withNearName } = await import('./near-names.ts')
  return withNearName(error, peer)
}

function silent(limit: string): Failure {
  return new Failure(
    'TIMEOUT',
    `this machine's peer did not answer within ${limit}`,
    '`errand doctor` looks at what is wrong with it',
  )
}

function timeout(limit: string): Failure {
  return new Failure(
    'TIMEOUT',
    `not done after ${limit}`,
    'the outcome is unknown; what has been started goes on: `errand list`',
  )
}

async function reachDaemon({ home, start, lostAfter, env, signal }: Reach): Promise<LocalPeer> {
  if (!start) {
    const { connectLocal } = await import('@errand/runtime/client')
    return connectLocal({ home, lostAfter, signal })
  }
  const { findOrStartDaemon } = await import('./local-peer.ts')
  return (await findOrStartDaemon({ home, lostAfter, env, signal, flags: ['--on-demand'] })).peer
}
