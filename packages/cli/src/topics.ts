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
    name: 'jobs',
    about: 'what a job is, and how its results are taken',
    text: lines(
      'errand run -e "1 + 1"          starts a job and follows it to its end',
      'errand start -- make all       starts one, prints its id, and goes; the job goes on',
      'errand list                    the jobs there are',
      'errand receive 3               what job 3 has said since the last receive',
      'errand receive 3 --keep        the same, and the next receive gives it again',
      'errand wait 3                  until it has ended',
      'errand remove 3                it, and what it said',
      '',
      'A JOB is its number, 3.1 for a child of 3, its name, a beginning of its instance id, or % for the newest.',
      '',
      'States: NotStarted, Running, Blocked (it asks: `errand answer`), Suspended, Disconnected (its peer is away, it goes on',
      'there), Stopping; and ended: Completed, Failed, Stopped. A job with --on has one child for each place, and folds theirs.',
      "Jobs live in this machine's peer, not in your terminal: they go on when you log out, until `errand down`.",
    ),
  },
  {
    name: 'sessions',
    about: 'a place on another peer that stays, with its variables and jobs',
    text: lines(
      'errand session new server01 -n work        opens one there; prints its number',
      "errand run --on session:work -e 'x = 41'   runs in it: globals stay for the next run",
      'errand enter session:work                  work in it line by line',
      'errand session disconnect work             leaves it; its work goes on',
      'errand session connect work                takes it up again, also from another machine of yours',
      'errand session receive work                takes up what runs in it',
      'errand session remove work                 ends it and its jobs',
      '',
      'A SESSION is its number, its name or a beginning of its instance id; where a peer is possible too, session:NAME.',
      '`run --on PEER` opens a temporary one, which ends with the run. `--at PEER` is your standing session `home` there.',
      'Nobody comes back to one in time (--idle-timeout, 2h): it ends, and so do its jobs.',
    ),
  },
  {
    name: 'where',
    about: '--on and --at: where work runs, and whose job table is meant',
    text: lines(
      'errand run --on server01 -- df -h            the work runs there; the job is ours: `errand list` here shows it',
      'errand start --on server01,server02 a.ts     one job here, a child for each place',
      'errand --at server01 start a.ts              the job is there, in its table; its results stay until received',
      'errand --at server01 list                    that table; --at all asks every known peer',
      'errand --at server01 receive 2 --keep        a job of that table, by its number there',
      '',
      '--on says where the work runs. When this machine is switched off, who takes its results is gone (--detach: take up later).',
      '--at says whose job table a verb speaks to. The job needs nothing of this machine any more.',
      'Each takes PEER|SESSION,…: a number or session:NAME is a session, anything else a peer first. PEER is a name of',
      "`errand peer list`, a peer id, or a multiaddr. localhost is this machine's peer, taken the whole way a remote one is.",
      "Local jobs have the caller's directory and environment; remote ones their host's, unless -C and --env say otherwise.",
    ),
  },
  {
    name: 'exit-codes',
    about: 'what a command says by ending',
    text: lines(
      'errand run -- make || echo "exit code $?"',
      '',
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
      'errand wait 3 --timeout 90s',
      '',
      'Durations are 500ms, 30s, 5m, 2h or 7d; a bare number is milliseconds.',
      '--timeout limits how long a command waits, --deadline limits the job.',
    ),
  },
  {
    name: 'input',
    about: 'what a job is to read',
    text: lines(
      "errand run --input '[1,2,3]' -e 'for await (const n of input) yield 2 * n'",
      'tail -f log | errand send 3',
      '',
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
    name: 'json',
    about: 'what programs read: documents, fields, errors',
    text: lines(
      'errand list --json | jq -r \'.[] | select(.state == "Failed") | .id\'',
      'errand list --json=id,state             only these fields, in this order',
      'errand receive 3 --follow --json        one record a line, as they come',
      '',
      '--json makes every command print one document; what follows something prints one object a line. Fields only grow.',
      'Data is on stdout, words are on stderr. An error is {"error":{"code","message","hint"}} on stderr; codes are kept.',
      'What JSON lacks is tagged: {"$bigint":"1"} {"$date":"…"} {"$bytes":"base64"} {"$map":[[k,v],…]} {"$set":[…]}.',
      '--raw writes bytes as they are.',
    ),
  },
  {
    name: 'environment',
    about: 'variables, and where things lie',
    text: lines(
      'ERRAND_HOME=/tmp/try errand up           another peer on this machine, with all that is its own',
      '',
      "ERRAND_HOME       key, address book, store, settings, socket and log of this machine's peer; --home stands above it",
      '                  (default: $XDG_STATE_HOME/errand, else ~/.local/state/errand)',
      'XDG_RUNTIME_DIR   where the socket lies when the name of the home is too long for one',
      'NO_COLOR, FORCE_COLOR, TERM=dumb   colours; --color stands above them',
      '',
      '`errand config` shows every setting and where its value comes from.',
    ),
  },
  {
    name: 'enter',
    about: 'what can be typed at the prompt of a session',
    text: lines(
      'errand enter server01',
      '',
      'At the prompt of a session',
      '  1 + 1, await …, const …    JavaScript, run there; what a line declares stays',
      '  !df -h                     a command of its shell; Ctrl-C stops it',
      '  start(…)  jobs()  job(1)  receive(1)  output(1)  wait(1)  stop(1)  remove(1)  save(1, PATH)  send(1, …)',
      '  answer(1, …)               jobs of this session, by number, name or as a value: job = await start(…)',
      '  ask progress warn sleep    and the modules of Node by name: fs, os, path, …',
      '  Tab                        completes names; twice lists them. Up and Down: earlier lines that begin so',
      '  Ctrl-C                     stops the line that runs; twice by force, which loses the variables',
      '  exit, Ctrl-D               leaves; ~. also while a line runs or asks. A session that was opened for it ends then',
      'A line that is not complete goes on at `... `. What a line asks is answered there, or by the next line of a pipe;',
      'what was typed before it was asked waits for the prompt.',
      'Lines are kept in HOME/enter-history, 1000 of them, readable by you alone; one that begins with a blank is not, and',
      'answers never are. ERRAND_HISTORY=FILE keeps them there instead, ERRAND_HISTORY= (empty) nowhere.',
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
    name: 'powershell',
    about: 'the cmdlets that are understood as typed',
    text: async () => {
      const { SPELLINGS } = await import('./powershell.ts')
      return [
        "errand Start-Job -Name backup -ScriptBlock '{ 1 + 1 }'",
        'errand Get-Job -State Running',
        '',
        'Cmdlets are understood in any case, with their parameters; Get-Job and Get-PSSession print their own columns.',
        ...SPELLINGS.map(({ name, aliases, path }) => `  ${[name, ...aliases].join(', ').padEnd(28)} errand ${path}`),
        '',
      ].join('\n')
    },
  },
]
