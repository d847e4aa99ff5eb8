// What docs/CLI.md says beside what the tables of the command line know: what each command does in full, what it prints
// as JSON, how it ends, and what the fields of the documents mean. `write-docs.ts` puts the two together.

export interface Entry {
  /** Paragraphs behind the summary. */
  readonly about?: readonly string[]
  /** What it prints without `--json`. */
  readonly prints?: string
  /** What it prints with `--json`. */
  readonly json?: string
  /** How it ends, where that is more than what holds for all commands. */
  readonly exits?: string
}

const WORK =
  'What is done is one of four. A **command** with its arguments: behind `--` whatever it looks like, and never through a ' +
  'shell (`-- sh -c LINE` asks for one). A **file** (.ts, .mts, .js, .mjs): one self-contained ES module, whose default export (or ' +
  '`#export`) is the script; types are stripped here, only `node:` modules may be imported; a file that exports none is a ' +
  'program. **Code** behind `-e`: one expression gives its value, anything else is the body of an async generator ' +
  '(`yield` = output), with `args`, the names of `--using`, `input`, `signal`, `sleep(ms)`, `warn`, `verbose`, `debug`, ' +
  '`info`, `error`, `progress`, `ask`, `session`, `start`, `jobs`, `job`, `receive`, `wait`, `stop`, `remove` and Node’s ' +
  'modules by name in scope. A **named job**, `--job NAME`, that the peer it runs on offers: no code is sent.'

const JOB = 'one [job](#job) document; an array where there are several'
const JOBS = 'an array of [job](#job) documents'
const RECORDS = '[records](#record), one a line, as they come'
const SESSIONS = 'an array of [session](#session) documents'
const SESSION = 'one [session](#session) document; an array where there are several'
const AS_JOBS = 'as the jobs end: 0 when all Completed, a single command’s own code, otherwise 1.'

export const MANUAL: Readonly<Record<string, Entry>> = {
  start: {
    about: [
      'Starts a job and leaves it to go on, also when you log out. Standard output is its id and nothing else, so that ' +
        '`id=$(errand start …)` works.',
      WORK,
      'With `--on` the job is ours and has one child for each place; what they say flows here. With `--at` it is theirs: it is in ' +
        'their table, and its output stays there until it is received. Local work has the directory and environment of this ' +
        'shell, other work that of its host, unless `-C` and `--env` say otherwise.',
      '`--detach` opens a session at each place of `--on`, starts the job in it, and leaves: the sessions’ numbers are printed, and ' +
        '`errand session receive` takes up what they said, here or from another machine of yours.',
    ],
    prints: 'The id; `LOCATION ID`, a line each, for several `--at`.',
    json: `${JOB}; with \`--detach\` [session](#session) documents`,
    exits: `0 once it is started. With \`--wait\` or \`--follow\`: ${AS_JOBS}`,
  },
  run: {
    about: [
      'Starts a job and follows it to its end. Outputs go to standard output, all else it says to standard error; of several ' +
        'places each line says which (`--prefix`).',
      'What is done is said as for [start](#errand-start).',
      '`run --on SESSION` runs in that session’s runspace: what it puts on `globalThis` is there for the next run.',
      'Ctrl-C stops the job and says so; a second one ends it by force; a third leaves it. It is also stopped when whoever ' +
        'reads our output has left.',
    ],
    json: `${RECORDS}; an error document on standard error when the code is not 0`,
    exits: `${AS_JOBS} 125 when a command could not be started by us, 126 not executable, 127 not found. 130 after Ctrl-C.`,
  },
  spawn: {
    about: [
      'MACHINE is a statechart that the peer offers by this name (`errand up --offer FILE`, `createPeer({ machines })`). It becomes a job of ' +
        'type MachineJob, which is there until it is done, stopped, or fails: [inspect](#errand-inspect) shows where it is and what it ' +
        'accepts, [send](#errand-send) sends it events, [events](#errand-events) follows it. Standard output is the id and nothing else.',
      'The job lives where it is spawned, so the place is said with `--at`: `errand --at server01 list` then shows it. Another peer ' +
        'needs the grant `spawn:MACHINE` for it, and no other.',
    ],
    prints: 'The id; `LOCATION ID`, a line each, for several `--at`.',
    json: JOB,
    exits: '0 once it has begun, 2 when it does not take that input, 3 when there is no such machine there.',
  },
  map: {
    about: [
      'Does the same for each input, several at once (`--throttle`), in threads here or on other peers, as one job with one log. ' +
        'Inputs are the lines of standard input, or what `--input` names, and are read only as fast as they are dealt with.',
      'The script is an arrow function, an expression or body that has `item` in scope (`-e`), or a FILE. An item that throws has ' +
        'failed and is an error record with `item`, its place among the inputs; the others go on.',
    ],
    json: RECORDS,
    exits: '0 when every item was done, 1 when some failed.',
  },
  list: {
    about: [
      'The job table, by number, newest last. Filters hold together. `--at all` asks every known peer and passes over those that do not answer.',
    ],
    prints:
      'Columns `ID NAME TYPE STATE MORE LOCATION COMMAND`, cut to the width of a terminal and never in a pipe; `AT` before them for ' +
      'several tables. As `Get-Job` PowerShell’s own columns.',
    json: JOBS,
  },
  receive: {
    about: [
      'Prints what jobs have said since the last receive, and remembers how far that is; `--keep` leaves that mark where it was, so ' +
        'that the next receive gives the same again. `--reader` keeps a mark of its own. `-` reads the ids from standard input.',
      '`--follow` and `--wait` go on to the end; Ctrl-C only detaches, the job goes on. With `--out` the peer whose table it is ' +
        'writes a file instead, as text or, with `--json`, one record a line.',
    ],
    json: RECORDS,
    exits: `0; with \`--wait\`: ${AS_JOBS}`,
  },
  logs: { about: ['Everything a job has said, from the first record on; no mark is moved.'], json: RECORDS },
  wait: {
    about: [
      'Waits until the jobs have ended, or are in a state of `--for`; with `--any` until one is. Blocked, Suspended and Disconnected ' +
        'jobs are waited for, and why they stand still is said. Ctrl-C only detaches.',
    ],
    prints: 'The ids of those that are there, for `errand receive -`.',
    json: JOBS,
    exits: `${AS_JOBS} 124 when \`--timeout\` ran out: the jobs go on.`,
  },
  stop: {
    about: [
      'Asks jobs to stop (SIGTERM for commands, `signal` for scripts), waits `--grace`, then ends them by force with all they ' +
        'have started. What they said stays.',
    ],
    prints: 'Nothing.',
    json: JOBS,
    exits: '0 when each has ended; otherwise as the first that could not be stopped.',
  },
  suspend: { prints: 'Nothing.', json: JOBS },
  resume: { prints: 'Nothing.', json: JOBS },
  answer: {
    about: [
      'A Blocked job asks something. VALUE is text, or JSON with `--json`; without it you are asked, and what is secret is not ' +
        'shown; in a pipe all of standard input is the answer. One that does not fit is refused and the question stays open.',
    ],
    prints: 'Nothing.',
    exits: '2 when the answer does not fit.',
  },
  send: {
    about: [
      'Gives a running job something to read: VALUE, or each line of standard input, read only as fast as the job takes it. ' +
        'With `--json` values are JSON, otherwise text. `--eof` ends the input behind it.',
      'To a machine it sends events, one or each line of standard input: a type (`approve`), a type and its fields (`approve ' +
        '\'{"by": "Ann"}\'`, also as one word), or all of it as JSON. It settles when the event is in the inbox. What the machine does ' +
        'not take from outside, or what does not fit, is refused, and what it accepts now is said; an event that its present state has ' +
        'nothing for is sent and warned of.',
      'Where no job is called so JOB may be the registered name (`spawn --register`) of an actor on that peer, whoever has spawned it. To ' +
        'look for names on another peer takes the grant `jobs:read` there, to send to what somebody else has spawned `jobs:send`.',
    ],
    prints: 'Nothing.',
    exits: '1 when the job has ended, 2 when an event is refused.',
  },
  ask: {
    about: [
      'Sends an event to a machine, written as for [send](#errand-send), and waits for what the machine replies to it (`reply`): half a ' +
        'minute, or as long as `--timeout` says. One machine is asked at a time; it may be said by its registered name.',
    ],
    prints: 'What it replies, as `receive` prints an output.',
    json: 'an object: `jobId`, the instanceId of the job that it is, and `value`.',
    exits:
      '1 when its state has nothing for the event, when it fails over it, or has ended; 2 when the event is refused; 5 when no answer ' +
      'came, and it may have handled it; 124 when `--timeout` ran out.',
  },
  remove: {
    about: ['Deletes jobs that have ended with all they said; `--force` ends those first that have not.'],
    prints: 'Nothing; how many were removed, on standard error, where they were chosen by a flag.',
    json: JOBS,
  },
  inspect: {
    about: [
      'Everything known: of a job its states with their times, why it failed, what it waits for, its children; of a session and a ' +
        'peer the same kind of things. A word is a job first, then a session, then a peer, then the registered name of an actor; `job:`, ' +
        '`session:`, `peer:` and `actor:` say which.',
      'Of a machine that is at work its actor too: where it is (`●` in the tree of its states), what it accepts now, its timers, its ' +
        'context, and what it did last. In the tree `approve → approved [isOpen] / remember` is: on the event approve, if the guard ' +
        'isOpen allows it, it does remember and comes to the state approved. A chart of thousands of states is shown in part, with the ' +
        'states it is in.',
    ],
    json:
      'the [job](#job), [session](#session) or [peer](#peer) document; an array where there are several. Of a machine’s job with ' +
      '`actor`, an [actor](#actor) document, null once it has ended; of an actor that is found by its name and is no job of that table ' +
      '`name` and `actor`',
  },
  launch: {
    about: [
      'Starts a program that is nobody’s job: not listed, not stopped by anything of ours, and still there after `errand down`.',
    ],
    prints: 'Its process id.',
    json: '`{"pid"}`',
  },
  'session new': {
    about: [
      'Opens a session on each PEER: a place that keeps variables (of `run`), jobs and their output until it is removed, or nobody ' +
        'has come back to it for `--idle-timeout`. A comma list of `--name` names them in order.',
    ],
    prints: 'Its number; `LOCATION NUMBER`, a line each, for several.',
    json: SESSION,
  },
  'session list': {
    prints:
      'Columns `ID NAME STATE AVAILABILITY JOBS TRANSPORT EXPIRES LOCATION`. As `Get-PSSession` PowerShell’s own columns.',
    json: SESSIONS,
  },
  'session connect': {
    about: ['With `--on PEER` a session of yours that this machine does not hold yet.'],
    prints: 'The sessions, as `session list` does.',
    json: SESSIONS,
  },
  'session disconnect': { prints: 'The sessions, as `session list` does.', json: SESSIONS },
  'session receive': {
    about: ['Takes up what was started in it and left, from where it was left, as a job of ours, and follows it.'],
    json: `${RECORDS}; with \`--out-target job\` the [job](#job)`,
    exits: AS_JOBS,
  },
  'session remove': { prints: 'Nothing.' },
  enter: {
    about: [
      'A prompt in a session there: JavaScript with `await`, `!command` for a command, the job verbs as functions. A PEER gets a ' +
        'temporary session, which ends with all it has started when you leave; a SESSION stays as it was. `exit` or `~.` leaves; ' +
        'Ctrl-C ends the line that runs. When standard input is no terminal its lines are run and echoed.',
    ],
    exits: '0; 5 when the link was lost for good.',
  },
  exit: { prints: 'Nothing.' },
  up: {
    about: [
      'Starts this machine’s peer in the background and prints what it is. It goes on until `errand down`. (One that a command started ' +
        'because it needed it leaves after ten idle minutes.) It listens on this machine only until somebody is invited or ' +
        '`--listen` says otherwise; its port is chosen once and kept.',
      '`--offer FILE` names a module, in TypeScript or JavaScript, which is imported into the peer: what it exports that `defineMachine` ' +
        'and `defineJob` made, others who are granted `spawn:NAME` and `run:job:NAME` may ask for. Changed files are read when it is ' +
        'started again; `errand config unset offer` takes all of it back.',
      'In the foreground it is a service: the first SIGTERM or Ctrl-C asks what runs to stop, the second is in a hurry.',
    ],
    prints: 'As `errand status`.',
    json: 'as `errand status`',
    exits: '0 also when it is up already.',
  },
  down: {
    about: ['Refused while jobs run, unless `--drain` waits for them or `--force` ends them.'],
    prints: 'Nothing.',
    json: '`{"pid"}`: of the process that has ended',
    exits: '0 also when there was none; 1 while jobs run.',
  },
  status: {
    prints: 'A line for each thing; with `-q` the peer id.',
    json: '`{"name","id","pid","addresses","home","socket","version","startedAt","jobs":{"running","total"},"sessions","hosted":{"sessions","running"},"peers","offers":{"jobs","machines"},"onDemand","log"}`',
    exits: '0 when it is up, 5 when it is not.',
  },
  invite: {
    about: [
      'A ticket is one line. Whoever has it may join, as often as `--uses` and as long as `--ttl` say, and may then do here what ' +
        '`--grant` says: letting a peer run scripts is giving it a login.',
    ],
    prints: 'The ticket.',
    json: '`{"ticket"}`',
  },
  join: {
    about: ['From now on we may go to the peer that issued the ticket; it may not come here for that.'],
    prints: 'What that peer is called here.',
    json: 'a [peer](#peer) document',
    exits: '2 for a ticket that is unreadable, used up or expired.',
  },
  'peer list': {
    prints: 'Columns `NAME CONNECTED OWNER GRANTS ID ADDRESSES`; with `-q` the names.',
    json: 'an array of [peer](#peer) documents',
  },
  'peer add': {
    about: ['ID is a peer id, or a multiaddr that ends in one. Without `--grant` it may do nothing here.'],
    prints: 'Nothing.',
  },
  'peer remove': { prints: 'Nothing.' },
  doctor: {
    about: [
      'Looks at Node, the home and its disk, the key, the settings, the daemon and its lock, the store, where this peer listens; and ' +
        'asks each known peer whether it answers, what it grants us, and what time it is. Nothing is changed, but for a file that it writes into the home and removes; no peer is started.',
      'A peer that does not answer within 3 s is out of reach. Clocks that differ by more than 2 s are warned of, by more than a ' +
        'minute they are a fault.',
    ],
    prints:
      'A line for each check: `ok`, `warn` or `FAIL`, what was looked at, what was found; below it what to do. With `-q` only faults.',
    json: 'an array of `{"check","status","message","hint"}`',
    exits: '0 when nothing is a FAIL, else 1.',
  },
  config: {
    about: [
      'Without words: every setting with its value and who says so, `flag`, `environment`, `config.json` or `default`, in this order. ' +
        '`set` and `unset` change `config.json` in the home; fields in it that errand does not know are kept.',
      'A peer that is up has read its settings already: then it is said that it has to be started again.',
    ],
    prints: '`KEY VALUE ORIGIN WHAT`; with `get` the value alone, a line each where there are several.',
    json: '`{"key","value","origin"}`, for all an array of them; `value` is null where there is none yet',
  },
  completion: {
    about: [
      'A script to be sourced by bash (4.4 or newer), zsh or fish. It asks errand at each Tab, so jobs, sessions and peers are those there ' +
        'are now; no peer is started or dialled for it, and what is not told within half a second is left out.',
    ],
    prints: 'The script.',
  },
  'peer ping': {
    prints: '`PEER N ms`, a line each.',
    json: '`{"peer","ms"}`, one a line',
    exits: '5 when one does not answer.',
  },
  'peer allow': {
    about: ['Without `--grant`: connect, run:script and run:command.'],
    prints: 'Nothing.',
  },
  'peer deny': { prints: 'Nothing.' },
  events: {
    about: [
      'Without JOB everything that happens, until it is left. With JOB: the states of these jobs, and of a machine what it did last, event ' +
        'by event, also those that it sent itself (a timer, the end of what it runs), and what it emitted; then it ends. With `--follow` ' +
        'it goes on to the ends of the jobs, over lost links too; Ctrl-C only leaves. What a machine did is known while it is at work.',
      'Of an actor that is said by its registered name, and is no job of that table, there is what it did.',
    ],
    prints: 'A line for each; `(ignored)` behind what the state it was in had nothing for.',
    json: 'an object a line, as [`errand help events`](#events) describes them',
    exits: '130 after Ctrl-C, 124 when `--timeout` ran out.',
  },
  demo: {
    about: [
      'Three peers in three processes on this machine, paired over TCP: the three kinds of jobs, and the four ways of working with ' +
        'other machines that about_Remote_Jobs describes, on this machine’s own logs. Shows what is typed and what that prints, and ' +
        'checks what it claims. It lives in a temporary folder; your own peer is not touched, and nothing is left when it ends, also by Ctrl-C.',
    ],
    json: '`{"ok","seconds","checks":[{"what","ok"}]}`',
    exits: '0 when all of it worked, 1 otherwise; 130 after Ctrl-C.',
  },
  help: { exits: '2 when there is no help on that.' },
  version: { prints: 'One line.', json: '`{"version","node","platform","arch"}`' },
}

/** What fields of documents mean; a field that is missing here fails the making of the page. */
export const FIELDS: Readonly<
  Record<'job' | 'session' | 'peer' | 'record' | 'actor', Readonly<Record<string, string>>>
> = {
  job: {
    id: 'number in its table; text such as `"3.1"` for a child',
    instanceId: 'its name everywhere',
    name: 'text',
    type: '`RemoteJob`, `BackgroundJob`, `ThreadJob`, `PSTaskJob` (a map) or `MachineJob`',
    state:
      '`NotStarted`, `Running`, `Blocked` (it asks), `Suspended`, `Disconnected` (its peer is away), `Stopping`, `Completed`, `Failed`, `Stopped`',
    hasMoreData: 'whether there is something to receive',
    location: 'where it runs',
    peer: 'id of the peer in whose table it is',
    command: 'what it does, as text',
    begunAt: 'time; null before',
    endedAt: 'time; null before',
    exitCode: 'of a command; null otherwise',
    errorCount: 'error records so far',
    reason: 'why it failed or was stopped, as an error: `{name, message, code, …}`; or null',
    pid: 'of its process, for people; or null',
    children: 'job documents',
    question: 'what it waits for an answer to: `{id, prompt, choices, default, secret, schema, askedAt}`; or null',
    epoch: 'its attempt, from 1',
    history: 'the states it has been in: `[{state, at}]`, the last 32',
    items: 'of a map: `{taken, done, failed, running, queued}`; or null',
    paused: '`"output-full"` while it waits for its reader; or null',
    at: 'whose table, only where several were asked',
  },
  session: {
    id: 'number here; on the peer that hosts it, the host’s',
    instanceId: 'its name everywhere',
    name: 'text',
    peer: 'id of the peer it is on',
    state: '`Opening`, `Opened`, `Disconnecting`, `Disconnected`, `Connecting`, `Closed`, `Broken`',
    availability: '`Available`, `Busy` or `None`',
    location: 'name of the peer it is on',
    transport: '`libp2p`, `socket` or `memory`',
    computerType: '`RemoteMachine`',
    configurationName: '`errand`',
    idleTimeout: 'milliseconds that it lives without a client',
    expiresAt: 'time at which it ends unless taken up; null while somebody is attached',
    jobs: 'how many are in its table',
    epoch: 'one more each time its variables were lost',
    reason: 'why it is Broken, as an error; or null',
    buffering: '`block` or `drop`: what its jobs do when nobody reads',
  },
  peer: {
    name: 'what it is called here',
    id: 'its public key',
    addresses: 'multiaddrs',
    grants: 'what it may do here; empty when only we may go there',
    owner: 'the name in our policy that it stands for; or null',
    connected: 'whether there is a connection now',
  },
  actor: {
    machine: 'what it is made of, by the name that it is offered by',
    version: 'of the machine, where it is kept on disk; or null',
    durable: 'whether it is kept on disk, event by event',
    address: '`{peer, path, epoch}`: where it is, and which attempt',
    at: 'when this was so, by the clock of its peer',
    status: '`active`',
    value: 'where it is, as XState says it: `"waiting"`, `{"waiting": "first"}`',
    context: 'what the machine shows as its context',
    accepts: 'events that may be sent to it and that its state has a transition for; guards are not asked',
    timers: 'what it will send itself: `[{event, due}]`, the next first, 64 at most',
    inbox: 'events that wait to be handled',
    watchers: 'how many follow what it shows',
    chart:
      'its statechart, a state: `{key, kind, active, initial, history, tags, invokes, entry, exit, on, states, omitted}`. `kind` is `atomic`, ' +
      '`compound`, `parallel`, `final` or `history`; `states` are states; `on` are transitions `{event, public, targets, guard, actions}`, ' +
      'of which `event` is a type, `""` (always), `after 500 ms` or `done of NAME`, `public` says whether it may be sent, and `targets` ' +
      'are paths from the root. `omitted` is null, or how many `{transitions, states}` are left out here of a chart that is too large',
    transitions: 'what it did last: `[{seq, at, event, from, to, ignored}]`, 16 at most, the last one last',
  },
  record: {
    seq: 'number from 0, per job; of a parent, per child',
    at: 'time',
    location: 'where it was said',
    jobId: 'instanceId of the job, of a parent the child, that said it',
    kind: '`output`, `error`, `warning`, `verbose`, `debug`, `information`, `progress`, `gap`; with `--write-events` also `state`',
    value: 'what was said; not of error, progress and gap',
    error: '`{name, message, code, …}`, of kind error',
    activity: 'of kind progress',
    status: 'of kind progress',
    percent: '0 to 100, of kind progress',
    secondsRemaining: 'of kind progress',
    completed: 'of kind progress',
    dropped: 'how many records are lost here, of kind gap',
    state: 'with `--write-events`, of kind state: what the job has come to',
  },
}

/** What each exit code means; one that is missing here fails the making of the page. */
export const EXITS: Readonly<Record<number, string>> = {
  0: 'done; for `run`, `wait`, `receive --wait`: Completed. Also when who reads our output has left',
  1: 'the job Failed or was Stopped, or a general failure. Exactly one job that is a command: its own exit code, whatever that is',
  2: 'usage: nothing has been done',
  3: 'no such job, session, peer, machine or name',
  4: 'denied by the peer’s policy',
  5: 'the peer cannot be reached, or the session is Broken',
  124: '`--timeout` ran out; the job goes on',
  125: 'our failure before the command ran',
  126: 'the command is not executable',
  127: 'the command was not found',
  130: 'ended by Ctrl-C (SIGINT)',
  143: 'ended by SIGTERM',
}
