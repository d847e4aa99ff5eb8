// What is worth knowing about more than one command: `errand help TOPIC`.

export interface Topic {
  readonly name: string
  readonly about: string
  readonly text: () => string | Promise<string>
}

function lines(...all: readonly string[]): () => string {
  return () => `${all.join('\n')}\n`
}

export const TOPICS: readonly Topic[] = [
  {
    name: 'exit-codes',
    about: 'what a command says by ending',
    text: lines(
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
    ),
  },
  {
    name: 'durations',
    about: 'how lengths of time are written',
    text: lines(
      'Durations are 500ms, 30s, 5m, 2h or 7d; a bare number is milliseconds.',
      '--timeout limits how long a command waits, --deadline limits the job.',
    ),
  },
  {
    name: 'input',
    about: 'what a job is to read',
    text: lines(
      'What a job reads: --input of start, run and map, the stdin of map and send',
      '  --input JSON   one value; an array is many',
      '  --input @FILE  each line of a file here',
      '  --input -      each line of stdin; what map reads anyway',
      'A line that is JSON is that value, any other is text; with --lines all are text. A single line that is an array',
      '(errand list --json) is its items. A command reads lines and bytes as they are, from its standard input.',
      'A script has them in `input`: for await (const value of input) …',
    ),
  },
  {
    name: 'events',
    about: 'what `errand events --json` says',
    text: lines(
      'With --json each line of `errand events` is an object; --json=at,event picks fields. Fields only grow, as do events.',
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
    ),
  },
  {
    name: 'enter',
    about: 'what can be typed at the prompt of a session',
    text: lines(
      'At the prompt of a session',
      '  1 + 1, await …, const …    JavaScript, run there; what a line declares stays',
      '  !df -h                     a command of its shell; Ctrl-C stops it',
      '  start(…)  jobs()  job(1)  receive(1)  output(1)  wait(1)  stop(1)  remove(1)  save(1, PATH)  send(1, …)',
      '  answer(1, …)               jobs of this session, by number, name or as a value: job = await start(…)',
      '  ask progress warn sleep    and the modules of Node by name: fs, os, path, …',
      '  Tab                        completes names; twice lists them. Up and Down: earlier lines that begin so',
      '  Ctrl-C                     stops the line that runs; twice by force, which loses the variables',
      '  exit, Ctrl-D               leaves; ~. also while a line runs. A session that was opened to enter it ends then',
      'A line that is not complete goes on at `... `. What a line asks is answered there, or by the next line of a pipe.',
      'Lines are kept in HOME/enter-history, 1000 of them, readable by you alone; one that begins with a blank is not, and',
      'answers never are. ERRAND_HISTORY=FILE keeps them there instead, ERRAND_HISTORY= (empty) nowhere.',
    ),
  },
  {
    name: 'powershell',
    about: 'the cmdlets that are understood as typed',
    text: async () => {
      const { SPELLINGS } = await import('./powershell.ts')
      return [
        'Cmdlets are understood in any case, with their parameters; Get-Job and Get-PSSession print their own columns.',
        ...SPELLINGS.map(({ name, aliases, path }) => `  ${[name, ...aliases].join(', ').padEnd(28)} errand ${path}`),
        '',
      ].join('\n')
    },
  },
]
