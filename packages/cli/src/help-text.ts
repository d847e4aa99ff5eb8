// Help, made from the grammar: what can be typed is said in one place only.
import { Command, Option } from 'commander'
import { usage, type Failure } from './failure.ts'
import { flagSpecs } from './flags.ts'
import { COMMANDS, type CommandSpec } from './grammar.ts'
import { TOPICS } from './topics.ts'

/** A command as commander knows it: its options. Its words are taken off before. */
export function parserOf(command: CommandSpec): Command {
  const parser = new Command(`errand ${command.path}`)
    .usage(`[options] ${command.usage}`.trim())
    .description(command.summary)
  // Ours says it in our words and for both `-h` and `--help`.
  parser.helpOption(false)
  for (const spec of flagSpecs(command.flags)) {
    const option = new Option(spec.flags, spec.help).hideHelp(spec.hidden ?? false)
    if (spec.parse) option.argParser(named(option, spec.parse as Parse))
    parser.addOption(option)
  }
  return parser
}

type Parse = (text: string, before: unknown) => unknown

/** What is wrong with a value is said with the flag it stood behind. */
function named(option: Option, parse: Parse): Parse {
  return (text, before) => {
    try {
      return parse(text, before)
    } catch (error) {
      const { message, hint } = error as Failure
      throw usage(`${option.long ?? option.short}: ${message}`, hint)
    }
  }
}

/** `-h` is short; `--help` and `errand help` show examples first. */
export function commandHelp(command: CommandSpec, examples: boolean): string {
  const text = parserOf(command).helpInformation()
  if (!examples || command.examples === undefined) return text
  return `Examples:\n${command.examples.map((line) => `  ${line}\n`).join('')}\n${text}`
}

/** The commands of one group, `errand session`, each with an example first. */
export function groupHelp(group: string): string {
  const inside = COMMANDS.filter(({ path }) => path.startsWith(`${group} `))
  const examples = inside.flatMap((one) => one.examples?.slice(0, 1) ?? [])
  return `Examples:\n${examples.map((line) => `  ${line}\n`).join('')}\n${lines(inside)}`
}

/** Everything there is, by what it is about. */
export function overview(): string {
  const groups = Map.groupBy(
    COMMANDS.filter(({ hidden }) => !hidden),
    ({ group }) => group,
  )
  return [
    'errand: jobs you send somewhere to be done, and come back from.\n\n',
    "  errand run -e '1 + 1'                          here\n",
    '  errand run --on server01 -- uname -a           there; the results come here\n',
    '  errand --at server01 start backup.ts           there; the results stay there\n',
    '  errand enter server01                          line by line\n',
    ...[...groups].map(([group, commands]) => `\n${group}\n${lines(commands)}`),
    '\nTopics: `errand help TOPIC`\n',
    ...TOPICS.map(({ name, about }) => `  ${name.padEnd(width())}  ${about}\n`),
    '\n`errand COMMAND --help` shows examples first. Something is wrong: `errand doctor`.\n',
  ].join('')
}

function lines(commands: readonly CommandSpec[]): string {
  return commands.map(({ path, summary }) => `  ${path.padEnd(width())}  ${summary}\n`).join('')
}

function width(): number {
  return Math.max(...COMMANDS.map(({ path }) => path.length))
}
