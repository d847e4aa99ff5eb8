// errand help: a command, or something worth knowing about all of them.
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { COMMANDS } from '../grammar.ts'
import { commandHelp, groupHelp, overview } from '../help-text.ts'
import { isCmdlet, spell, SPELLINGS } from '../powershell.ts'
import { nearest } from '../suggestion.ts'

const TOPICS: Readonly<Record<string, () => string>> = {
  'exit-codes': () =>
    [
      'Exit codes',
      '  0         done; for run, wait, receive --wait: Completed',
      '  1         the job Failed or was Stopped, or a general failure; exactly one job that is a command: its own code',
      '  2         usage: nothing has been done',
      '  3         no such job, session or peer',
      '  4         denied',
      '  5         peer unreachable, session Broken',
      '  124       --timeout ran out; the job goes on',
      '  125       the command could not be started by us; 126 not executable; 127 not found',
      '  130, 143  ended by a signal',
      '',
    ].join('\n'),
  durations: () =>
    'Durations are 500ms, 30s, 5m, 2h or 7d; a bare number is milliseconds.\n' +
    '--timeout limits how long a command waits, --deadline limits the job.\n',
  input: () =>
    [
      'What a job reads: --input of start, run and map, the stdin of map and send',
      '  --input JSON   one value; an array is many',
      '  --input @FILE  each line of a file here',
      '  --input -      each line of stdin; what map reads anyway',
      'A line that is JSON is that value, any other is text; with --lines all are text. A single line that is an array',
      '(errand list --json) is its items. A command reads lines and bytes as they are, from its standard input.',
      'A script has them in `input`: for await (const value of input) …',
      '',
    ].join('\n'),
  events: () =>
    [
      commandHelp(
        COMMANDS.find(({ path }) => path === 'events')!,
        true,
      ).trimEnd(),
      '',
      'With --json each line is an object; --json=at,event picks fields. Fields only grow, and so do the events.',
      '  at        when, ISO 8601 UTC',
      '  event     begin               from here on nothing is left out: the first line, and again where some were missed',
      '            job.created .started .running .blocked .suspended .disconnected .stopping',
      '            job.completed .failed .stopped .removed',
      '            session.opening .opened .connecting .connected .disconnecting .disconnected .closed .broken',
      '            peer.connected .lost .changed .removed',
      '  state     the state it has come to, and previous: the one before, null for a new one (jobs, sessions)',
      '  reason    why, or null: {name, message, code} (jobs, sessions)',
      '  job       as `errand list --json` has it, as it is now; children is empty, for each has events of its own,',
      '            and of texts of more than 1000 characters there is the beginning',
      '  session   as `errand session list --json` has it; hosted: true where it is here for another peer or a client',
      '  peer      as `errand peer list --json` has it',
      '  from      whose events, with several --at',
      'Ctrl-C leaves (130), --timeout ends it (124). When this peer goes away it is waited for.',
      '',
    ].join('\n'),
  powershell: () =>
    [
      'Cmdlets are understood in any case, with their parameters; Get-Job and Get-PSSession print their own columns.',
      ...SPELLINGS.map(({ name, aliases, path }) => `  ${[name, ...aliases].join(', ').padEnd(28)} errand ${path}`),
      '',
    ].join('\n'),
}

export default async function help({ terminal }: Context, _flags: Flags, words: readonly string[]): Promise<number> {
  const word = words.join(' ').toLowerCase()
  if (word === '') await terminal.out(overview())
  else if (Object.hasOwn(TOPICS, word)) await terminal.out(TOPICS[word]!())
  else {
    const path = isCmdlet(word) ? spell(word, []).path : word
    const command = COMMANDS.find((one) => one.path === path)
    const group = COMMANDS.filter((one) => one.path.startsWith(`${path} `))
    if (command) await terminal.out(commandHelp(command, true))
    else if (group.length > 0) await terminal.out(groupHelp(path))
    else {
      const near = nearest(word, [...COMMANDS.map((one) => one.path), ...Object.keys(TOPICS)])
      throw usage(`there is no help on '${word}'`, near && `did you mean ${near}?`)
    }
  }
  return EXIT.done
}
