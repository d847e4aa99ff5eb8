// The words of the command line: what can be typed, and nothing of what it does. Help, suggestions and the parser all
// walk this one table.
import type { Verb } from './context.ts'
import type { FlagName } from './flags.ts'

export interface CommandSpec {
  /** `start`, `session list`. */
  readonly path: string
  readonly group: 'Jobs' | 'Sessions' | 'Peers' | 'Other'
  readonly usage: string
  readonly summary: string
  readonly flags: readonly FlagName[]
  /** How many words it takes; `work` takes them as they are. */
  readonly words: readonly [least: number, most: number] | 'work'
  readonly examples?: readonly string[]
  /** Loads what it does; nothing of a command is loaded before it was typed. */
  readonly load: () => Promise<{ default: Verb }>
}

const MANY = Number.POSITIVE_INFINITY
const WORK: readonly FlagName[] = [
  'eval',
  'on',
  'at',
  'name',
  'engine',
  'args',
  'using',
  'cwd',
  'env',
  'deadline',
  'throttle',
  'lostAfter',
]
const RECEIVE: readonly FlagName[] = [
  'at',
  'keep',
  'follow',
  'wait',
  'autoRemove',
  'from',
  'tail',
  'kind',
  'location',
  'reader',
  'recurse',
  'prefix',
  'raw',
  'out',
]
const WORK_USAGE = '[--] CMD… | FILE.ts[#export] | -e CODE'

export const COMMANDS: readonly CommandSpec[] = [
  {
    path: 'start',
    group: 'Jobs',
    usage: WORK_USAGE,
    summary: 'start a job; prints its id (Start-Job)',
    flags: [...WORK, 'detach', 'follow', 'wait', 'prefix', 'raw'],
    words: 'work',
    examples: [
      "errand start -e 'for (let i = 1; i <= 60; i++) { await sleep(1000); yield `Output ${i}` }'",
      'errand start --on server01,server02 -- uname -a',
      'errand --at server01 start build.ts',
    ],
    load: () => import('./commands/start.ts'),
  },
  {
    path: 'run',
    group: 'Jobs',
    usage: WORK_USAGE,
    summary: "start and follow; exits with the job's code (Invoke-Command)",
    flags: [...WORK, 'rm', 'prefix', 'raw'],
    words: 'work',
    examples: ['errand run --on server01 -- df -h', "errand run -e '1 + 1'"],
    load: () => import('./commands/run.ts'),
  },
  {
    path: 'list',
    group: 'Jobs',
    usage: '[JOB…]',
    summary: 'the job table (Get-Job)',
    flags: ['at', 'state', 'name', 'hasMore', 'children', 'newest', 'before', 'after'],
    words: [0, MANY],
    examples: ['errand list -s Running,Disconnected', 'errand list --at all', 'errand list --json=id,state'],
    load: () => import('./commands/list.ts'),
  },
  {
    path: 'receive',
    group: 'Jobs',
    usage: 'JOB…',
    summary: 'what is new since the last receive (Receive-Job)',
    flags: RECEIVE,
    words: [1, MANY],
    examples: ['errand receive 3 --keep', 'errand --at server01 receive 2 --wait', 'errand wait 1 | errand receive -'],
    load: () => import('./commands/receive.ts'),
  },
  {
    path: 'logs',
    group: 'Jobs',
    usage: 'JOB',
    summary: 'everything it said: receive --keep --from 0',
    flags: RECEIVE,
    words: [1, MANY],
    load: () => import('./commands/receive.ts').then(({ logs }) => ({ default: logs })),
  },
  {
    path: 'wait',
    group: 'Jobs',
    usage: 'JOB…',
    summary: 'until finished; prints the ids (Wait-Job)',
    flags: ['at', 'any', 'for'],
    words: [1, MANY],
    examples: ['errand wait 1 2 --any --timeout 30s'],
    load: () => import('./commands/wait.ts'),
  },
  {
    path: 'stop',
    group: 'Jobs',
    usage: 'JOB…',
    summary: 'ask it to stop, then end it by force (Stop-Job)',
    flags: ['at', 'grace'],
    words: [1, MANY],
    load: () => import('./commands/stop.ts'),
  },
  {
    path: 'remove',
    group: 'Jobs',
    usage: 'JOB…',
    summary: 'delete it and what it said (Remove-Job)',
    flags: ['at', 'force'],
    words: [1, MANY],
    load: () => import('./commands/remove.ts'),
  },
  {
    path: 'launch',
    group: 'Jobs',
    usage: '[--] CMD…',
    summary: 'a process that is no job and survives all of us; prints its pid (Start-Process)',
    flags: ['cwd', 'env'],
    words: 'work',
    load: () => import('./commands/launch.ts'),
  },
  {
    path: 'session new',
    group: 'Sessions',
    usage: 'PEER…',
    summary: 'open a session there; prints its number (New-PSSession)',
    flags: ['name', 'idleTimeout', 'buffering', 'cwd', 'env', 'lostAfter'],
    words: [1, MANY],
    load: () => session('open'),
  },
  {
    path: 'session list',
    group: 'Sessions',
    usage: '[SESSION…]',
    summary: 'those we hold; with --on those of ours that a peer hosts (Get-PSSession)',
    flags: ['on', 'state', 'name'],
    words: [0, MANY],
    load: () => session('list'),
  },
  {
    path: 'session connect',
    group: 'Sessions',
    usage: 'SESSION…',
    summary: 'take it up again (Connect-PSSession)',
    flags: ['on', 'name', 'force'],
    words: [1, MANY],
    load: () => session('connect'),
  },
  {
    path: 'session disconnect',
    group: 'Sessions',
    usage: 'SESSION…',
    summary: 'leave it; its work goes on (Disconnect-PSSession)',
    flags: ['idleTimeout', 'buffering'],
    words: [1, MANY],
    load: () => session('disconnect'),
  },
  {
    path: 'session receive',
    group: 'Sessions',
    usage: 'SESSION',
    summary: 'take up what runs in it (Receive-PSSession)',
    flags: ['on', 'name', 'outTarget', 'prefix', 'raw', 'force'],
    words: [1, 1],
    load: () => session('receive'),
  },
  {
    path: 'session remove',
    group: 'Sessions',
    usage: 'SESSION…',
    summary: 'end it and its jobs (Remove-PSSession)',
    flags: ['grace'],
    words: [1, MANY],
    load: () => session('remove'),
  },
  {
    path: 'enter',
    group: 'Sessions',
    usage: 'PEER|SESSION',
    summary: 'work there interactively (Enter-PSSession)',
    flags: ['lostAfter'],
    words: [1, 1],
    examples: ['errand enter server01'],
    load: () => import('./commands/enter.ts'),
  },
  {
    path: 'exit',
    group: 'Sessions',
    usage: '',
    summary: 'leaves `enter`; outside of it there is nothing to leave (Exit-PSSession)',
    flags: [],
    words: [0, 0],
    load: () => import('./commands/enter.ts').then(({ exit }) => ({ default: exit })),
  },
  {
    path: 'up',
    group: 'Peers',
    usage: '',
    summary: "start this machine's peer",
    flags: ['name', 'listen', 'lostAfter', 'foreground', 'onDemand', 'readyFd'],
    words: [0, MANY],
    examples: ['errand up --listen /ip4/0.0.0.0/tcp/4100'],
    load: () => import('./commands/up.ts'),
  },
  {
    path: 'down',
    group: 'Peers',
    usage: '',
    summary: "end this machine's peer",
    flags: ['drain', 'force'],
    words: [0, 0],
    load: () => import('./commands/down.ts'),
  },
  {
    path: 'status',
    group: 'Peers',
    usage: '',
    summary: "is this machine's peer up?",
    flags: [],
    words: [0, 0],
    load: () => import('./commands/status.ts'),
  },
  {
    path: 'invite',
    group: 'Peers',
    usage: '',
    summary: 'print a ticket that lets its holder join once',
    flags: ['grant', 'owner', 'uses', 'ttl'],
    words: [0, 0],
    load: () => import('./commands/invite.ts'),
  },
  {
    path: 'join',
    group: 'Peers',
    usage: 'TICKET',
    summary: 'take a ticket: from now on we may go there',
    flags: ['name'],
    words: [1, 1],
    load: () => import('./commands/invite.ts').then(({ join }) => ({ default: join })),
  },
  {
    path: 'peer list',
    group: 'Peers',
    usage: '',
    summary: 'the address book and the policy',
    flags: [],
    words: [0, 0],
    load: () => peer('list'),
  },
  {
    path: 'peer add',
    group: 'Peers',
    usage: 'ID',
    summary: 'name a peer and what it may do here',
    flags: ['name', 'grant', 'owner'],
    words: [1, 1],
    load: () => peer('add'),
  },
  {
    path: 'peer remove',
    group: 'Peers',
    usage: 'PEER…',
    summary: 'out of the address book; closes what is open',
    flags: [],
    words: [1, MANY],
    load: () => peer('remove'),
  },
  {
    path: 'peer ping',
    group: 'Peers',
    usage: 'PEER…',
    summary: 'does it answer, and how fast',
    flags: [],
    words: [1, MANY],
    load: () => peer('ping'),
  },
  {
    path: 'peer allow',
    group: 'Peers',
    usage: 'PEER',
    summary: 'set what it may do here',
    flags: ['grant', 'name', 'owner'],
    words: [1, 1],
    load: () => peer('allow'),
  },
  {
    path: 'peer deny',
    group: 'Peers',
    usage: 'PEER…',
    summary: 'it may do nothing here; closes what is open',
    flags: [],
    words: [1, MANY],
    load: () => peer('deny'),
  },
  {
    path: 'help',
    group: 'Other',
    usage: '[COMMAND|TOPIC]',
    summary: 'a command, or a topic: exit-codes, durations, powershell',
    flags: [],
    words: [0, 2],
    load: () => import('./commands/help.ts'),
  },
  {
    path: 'version',
    group: 'Other',
    usage: '',
    summary: 'what this is',
    flags: [],
    words: [0, 0],
    load: () => import('./commands/version.ts'),
  },
]

/** The first words of commands that need a second one. */
export const GROUPS: ReadonlySet<string> = new Set(
  COMMANDS.filter(({ path }) => path.includes(' ')).map(({ path }) => path.slice(0, path.indexOf(' '))),
)

/** Words that a line can begin with. */
export const FIRST_WORDS: readonly string[] = [...new Set(COMMANDS.map(({ path }) => path.split(' ', 1)[0]!))]

function session(verb: 'open' | 'list' | 'connect' | 'disconnect' | 'receive' | 'remove'): Promise<{ default: Verb }> {
  return import('./commands/session.ts').then((verbs) => ({ default: verbs[verb] }))
}
function peer(verb: 'list' | 'add' | 'allow' | 'deny' | 'remove' | 'ping'): Promise<{ default: Verb }> {
  return import('./commands/peer.ts').then((verbs) => ({ default: verbs[verb] }))
}
