// npm run docs: docs/CLI.md from the tables of the command line, docs/api from the docstrings. With `--check` nothing is
// written: it fails where a page is not what it would be.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CMDLETS } from '../packages/cli/src/cmdlets.ts'
import { BY_CODE, EXIT } from '../packages/cli/src/exit-codes.ts'
import { flagSpecs, type FlagSpec } from '../packages/cli/src/flags.ts'
import { COMMANDS, type CommandSpec } from '../packages/cli/src/grammar.ts'
import { ACTOR_FIELDS } from '../packages/cli/src/render/actor.ts'
import { JOB_FIELDS, PEER_FIELDS, RECORD_FIELDS, SESSION_FIELDS } from '../packages/cli/src/render/json.ts'
import { TOPICS } from '../packages/cli/src/topics.ts'
import { EXITS, FIELDS, MANUAL } from './manual.ts'

export const CLI_PAGE: string = join(import.meta.dirname, '../docs/CLI.md')

/** The whole page. @throws Error where a field or an exit code is not explained */
export async function cliPage(): Promise<string> {
  const commands = COMMANDS.filter(({ hidden }) => !hidden)
  const groups = [...Map.groupBy(commands, ({ group }) => group)]
  const globals = flagSpecs([])
  const topics = await Promise.all(TOPICS.map(async (topic) => ({ ...topic, text: (await topic.text()).trimEnd() })))
  return [
    '# The command line',
    'Made from the tables in `packages/cli/src` by `npm run docs`; do not edit. `errand help`, `errand help COMMAND` and `errand help TOPIC` say the same in a terminal.',
    fence('errand [--at WHERE] COMMAND [options] …', 'sh'),
    contents(groups),
    '## Words',
    WORDS,
    '## Options of every command',
    flagTable(globals),
    ...groups.flatMap(([group, all]) => [`## ${group}`, ...all.map((command) => section(command))]),
    '## Streams',
    STREAMS,
    '## JSON',
    JSON_WORDS,
    ...documents(),
    '## Exit codes',
    exitTable(),
    '## Files and environment',
    FILES,
    '## Topics',
    'What `errand help TOPIC` prints.',
    ...topics.map(({ name, about, text }) => `### ${name}\n\n${sentence(about)}\n\n${fence(text, 'text')}`),
  ]
    .join('\n\n')
    .concat('\n')
}

const WORDS = `| word | is |
|---|---|
| JOB | a number of the job table, \`3.1\` for a child, a name, the beginning of an instance id, or \`%\`, the newest |
| PEER | a name of \`errand peer list\`, a peer id, or a multiaddr; \`localhost\` is this machine’s own peer, taken the whole way a remote one is |
| SESSION | a number, a name, or the beginning of an instance id; where a PEER is possible too: a number, or \`session:NAME\` |
| DURATION | \`500ms\`, \`30s\`, \`5m\`, \`2h\`, \`7d\`; a bare number is milliseconds |
| TIME | a date as \`2026-11-22T09:30\`, or a duration: so long ago |

**Where?** Two options, each \`PEER|SESSION,…\`. \`--on\` says where the *work* runs; the job is ours, in our table, and what it says
flows here. \`--at\` says whose *job table* a verb speaks to: there the job is theirs, its output stays there, and nothing of this
machine is needed for it to go on. \`--at PEER\` is your standing session \`home\` on that peer, opened on first use. Of several
\`--at\` each line says which; \`--at all\` asks every known peer.

\`\`\`sh
errand start --on server01 -- make          # job 1 of ours, with a child on server01
errand --at server01 start -- make          # job 1 of theirs
errand --at server01 receive 1              # what it has said, fetched now
\`\`\`

**Scripts.** \`-e CODE\` is an expression, which gives its value, or the body of an async generator, in which \`yield\` is output.
Outputs are objects, and arrive as they left: Dates, Maps, BigInts, cycles ([what may be sent](VALUES.md)).

**PowerShell.** A cmdlet in place of a command, in any case, with its own parameters (\`errand Start-Job -Name x\`): the section of each
command names its cmdlet; how each translates is in [POWERSHELL.md](POWERSHELL.md).`

const STREAMS = `Standard output is data, standard error is words: what a job outputs, tables, ids and documents on the one; warnings, errors,
progress, questions and hints on the other. Colours and progress only where a terminal reads, and not with \`NO_COLOR\`. A pipe
that is closed early (\`errand logs 1 | head -1\`) is no error. Ctrl-C in \`run\` and \`map\` stops the job, twice kills it; in
\`receive\`, \`wait\` and other commands that only look it leaves the job alone.`

const JSON_WORDS = `\`--json\` makes every command that prints data print one document; what follows something prints one object a line. \`--json=id,state\`
picks fields, in that order. Fields only grow. Times are ISO 8601 in UTC, durations milliseconds. An error is
\`{"error":{"code","message","hint"}}\` on standard error, whatever the command; codes are kept. What JSON lacks is tagged:
\`{"$bigint":"1"}\`, \`{"$date":"…"}\`, \`{"$bytes":"base64"}\`, \`{"$map":[[k,v],…]}\`, \`{"$set":[…]}\`; \`--raw\` writes bytes as they are.`

const FILES = `| | |
|---|---|
| \`ERRAND_HOME\` | where this machine’s peer keeps what is its own; \`--home\` stands above it. Default: \`$XDG_STATE_HOME/errand\`, else \`~/.local/state/errand\` |
| \`NO_COLOR\`, \`FORCE_COLOR\`, \`TERM=dumb\` | colours; \`--color\` stands above them |
| \`key\` | the peer’s private key, 0600; it is the peer |
| \`peers.json\` | the address book and the policy |
| \`config.json\` | its name, where it listens, and what else \`errand up\` was told to remember |
| \`errand.db\` | jobs, records and sessions |
| \`peer.sock\` | the socket that commands speak to, its owner’s alone |
| \`daemon.log\` | what the peer had to say, a JSON object a line |`

function contents(groups: readonly (readonly [string, readonly CommandSpec[]])[]): string {
  const links = (titles: readonly string[]): string =>
    titles.map((title) => `[${title}](#${anchor(title)})`).join(' · ')
  return [
    `- ${links(['Words', 'Options of every command'])}`,
    ...groups.map(
      ([group, commands]) =>
        `- [${group}](#${anchor(group)}): ${commands.map(({ path }) => `[${path}](#${anchor(`errand ${path}`)})`).join(' · ')}`,
    ),
    `- ${links(['Streams', 'JSON', 'Exit codes', 'Files and environment', 'Topics'])}`,
  ].join('\n')
}

function section(command: CommandSpec): string {
  const { path, usage, summary, flags, examples } = command
  const entry = MANUAL[path] ?? {}
  const own = flagSpecs(flags)
    .slice(0, flags.length)
    .filter(({ hidden }) => !hidden)
  const cmdlets = CMDLETS.filter((cmdlet) => cmdlet.path === path)
  const aliases = cmdlets.map(
    ({ name, aliases: others, parameters }) =>
      `\`${[name, ...others].join('`, `')}\`${
        Object.keys(parameters).length === 0
          ? ''
          : ` with ${Object.keys(parameters)
              .map((one) => `\`-${one}\``)
              .join(' ')}`
      }`,
  )
  return [
    `### errand ${path}`,
    fence(`errand ${path}${own.length > 0 ? ' [options]' : ''} ${usage}`.trimEnd(), 'sh'),
    sentence(summary.replace(/ \([A-Z][A-Za-z]+-[^)]*\)$/, '')),
    ...(entry.about ?? []),
    ...(own.length > 0 ? [flagTable(own)] : []),
    ...(examples === undefined ? [] : [fence(examples.map(commented).join('\n'), 'sh')]),
    ...(entry.prints === undefined ? [] : [`**Prints** ${lower(entry.prints)}`]),
    ...(entry.json === undefined ? [] : [`**With \`--json\`** ${sentenceEnd(entry.json)}`]),
    `**Exits** ${entry.exits === undefined ? 'with 0, or as [every command](#exit-codes).' : `${lower(entry.exits)} Otherwise as [every command](#exit-codes).`}`,
    ...(aliases.length > 0 ? [`**PowerShell** ${aliases.join('; ')}.`] : []),
  ].join('\n\n')
}

function documents(): string[] {
  const fields = {
    job: JOB_FIELDS,
    session: SESSION_FIELDS,
    peer: PEER_FIELDS,
    record: RECORD_FIELDS,
    actor: ACTOR_FIELDS,
  }
  const also = {
    job: 'Every field is always there, but for `at`.',
    session: 'Every field is always there.',
    peer: 'Every field is always there.',
    record: 'What a job said. Which fields there are depends on `kind`.',
    actor: 'The `actor` of an inspected job. Every field is always there.',
  }
  return Object.entries(fields).map(([name, all]) => {
    const meanings = FIELDS[name as keyof typeof FIELDS]
    const missing = all.filter((field) => meanings[field] === undefined)
    const gone = Object.keys(meanings).filter((field) => !all.includes(field))
    if (missing.length + gone.length > 0)
      throw new Error(
        `scripts/manual.ts: fields of ${name} to be explained: ${missing.join()}, to be taken out: ${gone.join()}`,
      )
    const rows = all.map((field) => `| \`${field}\` | ${cell(meanings[field]!)} |`)
    return `### ${name}\n\n${also[name as keyof typeof also]}\n\n| field | is |\n|---|---|\n${rows.join('\n')}`
  })
}

function exitTable(): string {
  const rows = Object.values(EXIT).map((code) => {
    if (EXITS[code] === undefined) throw new Error(`scripts/manual.ts: exit code ${code} is to be explained`)
    const codes = Object.entries(BY_CODE).flatMap(([name, exit]) => (exit === code ? [`\`${name}\``] : []))
    return `| ${code} | ${cell(EXITS[code])} | ${codes.join(' ')} |`
  })
  return `Each error has a code, which \`--json\` shows; codes that are not in this table end a command with 1.\n\n| exit | means | codes of errors |\n|---|---|---|\n${rows.join('\n')}`
}

function flagTable(specs: readonly FlagSpec[]): string {
  const rows = specs
    .filter(({ hidden }) => !hidden)
    .map(({ flags, help }) => `| \`${cell(flags)}\` | ${cell(help.replaceAll(/<([a-z-]+)>/g, '`<$1>`'))} |`)
  return `| option | means |\n|---|---|\n${rows.join('\n')}`
}

function cell(text: string): string {
  return text.replaceAll('|', String.raw`\|`)
}

function fence(text: string, language: string): string {
  return `\`\`\`${language}\n${text}\n\`\`\``
}

/** What is explained behind a line of an example becomes a comment. */
function commented(line: string): string {
  return line.replace(/ {3,}(?=\S)/, '   # ')
}

function sentence(text: string): string {
  return sentenceEnd(`${text.charAt(0).toUpperCase()}${text.slice(1)}`)
}

function sentenceEnd(text: string): string {
  return /[.?!:]$/.test(text) ? text : `${text}.`
}

function lower(text: string): string {
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}`
}

/** A heading's name in a link. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(' ', '-')
}

if (import.meta.main) {
  const page = await cliPage()
  if (!process.argv.includes('--check')) writeFileSync(CLI_PAGE, page)
  else if (readFileSync(CLI_PAGE, 'utf8') !== page) {
    console.error('docs/CLI.md is stale; `npm run docs` makes it anew')
    process.exitCode = 1
  }
  await import('./reference/write-reference.ts')
}
