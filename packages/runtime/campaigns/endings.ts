// npm run -s campaign -- endings [JOBS [KIND…]]: so many jobs of each kind (1000), ended in every way there is, and what is
// left of them: processes, threads, file descriptors, timers, listeners, memory. Prints a table; throws where something was
// left, or where a job did not end as it should. Linux.

import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { setTimeout as delay } from 'node:timers/promises'
import { held } from '../../transport/campaigns/fixtures/heap.ts'
import {
  createPeer,
  type Job,
  type JobState,
  type Peer,
  type ScriptContext,
  type Session,
  type Work,
} from '../src/index.ts'
import { beginCensus, census, COUNTED, leftSince, suspects, type Census } from './fixtures/census.ts'
import { ending as namedJob } from './fixtures/ending-job.ts'

const JOBS = 1_000
/** Jobs of one owner that goes away under them. */
const OWNED = 10
/** Short, so that what is ended by force does not take most of the time. */
const GRACE = 100
/** How long a client may be away. */
const LEASE = 200
const PATIENCE = 60_000

const KINDS = ['run', 'thread', 'process', 'command', 'remote', 'map', 'named'] as const
const ENDINGS = [
  'completed',
  'thrown',
  'exit',
  'killed',
  'stopped',
  'forced',
  'removed',
  'session closed',
  'client left',
  'peer closed',
] as const
type Kind = (typeof KINDS)[number]
type Ending = (typeof ENDINGS)[number]

/** At once. Threads wait for their turn by themselves; a runspace does one thing at a time. */
const AT_ONCE: Readonly<Record<Kind, number>> = {
  run: 1,
  thread: 8,
  process: 4,
  command: 8,
  remote: 3,
  map: 2,
  named: 8,
}

/** What there is no such job for. */
const NONE: readonly (readonly [Kind, Ending])[] = [
  // A thread cannot be killed but with its process.
  ['run', 'killed'],
  ['thread', 'killed'],
  ['map', 'killed'],
  // A run is in no table, and a map is the peer's alone.
  ['run', 'removed'],
  ['map', 'session closed'],
  ['map', 'client left'],
]

/** Each is sent as text. */
const SCRIPTS: Readonly<Record<'completed' | 'thrown' | 'exit' | 'killed' | 'forced' | 'endless', Work>> = {
  async *completed() {
    yield 1
  },
  thrown: () => {
    throw new Error('thrown')
  },
  exit: () => process.exit(3),
  killed: (ctx: ScriptContext) => {
    process.kill(process.pid, 'SIGKILL')
    return ctx.sleep(600_000)
  },
  forced: () => {
    for (;;);
  },
  endless: (ctx: ScriptContext) => ctx.sleep(600_000),
}

const COMMANDS: typeof SCRIPTS = {
  completed: ['echo', '1'],
  thrown: ['sh', '-c', 'echo no >&2; exit 1'],
  exit: ['sh', '-c', 'exit 3'],
  killed: ['sh', '-c', 'kill -9 $$'],
  forced: ['sh', '-c', 'trap "" TERM INT HUP; while :; do :; done'],
  // With a child, which must go too.
  endless: ['sh', '-c', 'sleep 600 & sleep 600'],
}

const EXPECTED: Readonly<Partial<Record<Ending, JobState>>> = {
  completed: 'Completed',
  thrown: 'Failed',
  exit: 'Failed',
  killed: 'Failed',
  stopped: 'Stopped',
  forced: 'Stopped',
  removed: 'Stopped',
}

/** Who starts jobs, and where those of other peers run. */
interface Stage extends AsyncDisposable {
  readonly network: MemoryNetwork
  readonly here: Peer
  readonly far: Peer
}

async function stage(): Promise<Stage> {
  const network = createMemoryNetwork()
  const common = { stopGrace: GRACE, temporaryLease: LEASE, jobs: [namedJob] }
  const here = await createPeer({
    ...common,
    name: 'here',
    transport: memory({ network, name: 'here' }),
    policy: { peers: { far: [] } },
  })
  const far = await createPeer({
    ...common,
    name: 'far',
    transport: memory({ network, name: 'far' }),
    policy: { peers: { here: ['connect', 'run:script', 'run:command', 'run:job:ending'] } },
  })
  return {
    network,
    here,
    far,
    async [Symbol.asyncDispose]() {
      await Promise.all([here.close(), far.close()])
      if (network.size > 0) throw new Error(`${network.size} ends of channels are left on the network`)
    },
  }
}

/** Something that was begun: how it ends, and how to end it. */
interface Begun {
  readonly ended: Promise<JobState>
  /** What it failed with, where that is no part of `ended`. */
  readonly why?: () => unknown
  /** Once it is at work. */
  stop(how: 'stopped' | 'forced' | 'removed'): Promise<void>
  /** Out of the table. */
  remove(): Promise<void>
}

function jobBegun(job: Job): Begun {
  const working = (): Promise<unknown> =>
    job.wait({ for: ['Running', 'Completed', 'Failed', 'Stopped'], timeout: PATIENCE })
  return {
    ended: job.finished.then(({ state }) => state),
    async stop(how) {
      await working()
      if (how === 'removed') await job.remove({ force: true })
      else await job.stop(how === 'forced' ? { grace: 0 } : {})
    },
    remove: () => job.remove(),
  }
}

/** A run has no handle: its outcome is all there is. */
function runBegun(begin: (signal: AbortSignal) => PromiseLike<unknown>): Begun {
  const stop = new AbortController()
  let why: unknown
  const ended = Promise.resolve(begin(stop.signal)).then(
    () => 'Completed' as const,
    (error: unknown) => {
      why = error
      return stop.signal.aborted ? ('Stopped' as const) : ('Failed' as const)
    },
  )
  return {
    ended,
    why: () => why,
    async stop() {
      await delay(20)
      stop.abort(new Error('enough'))
      await ended
    },
    remove: async () => undefined,
  }
}

function workOf(kind: Kind, ending: Ending): Work {
  const name = ending in SCRIPTS ? (ending as keyof typeof SCRIPTS) : 'endless'
  return (kind === 'command' ? COMMANDS : SCRIPTS)[name]
}

/** Of its own peer. `borrowed`: where a remote job runs, if not in a session of its own. */
async function begin(kind: Kind, ending: Ending, { here }: Stage, borrowed?: Session): Promise<Begun> {
  const work = workOf(kind, ending)
  switch (kind) {
    case 'run':
      return runBegun((signal) => here.run(work, { signal }))
    case 'thread':
    case 'process':
      return jobBegun(await here.start(work, { engine: kind }))
    case 'command':
      return jobBegun(await here.start(work))
    case 'remote':
      return jobBegun(await here.start(work, { on: borrowed ?? 'far' }))
    case 'map':
      return jobBegun(await here.map([1, 2], work as never))
    case 'named':
      // Whoever is to be killed alone needs a process of his own.
      return jobBegun(await here.start(namedJob, { args: ending, engine: ending === 'killed' ? 'process' : 'thread' }))
  }
}

/** Of a session on another peer. */
async function beginIn(session: Session, kind: Kind, ending: Ending, { here }: Stage): Promise<Begun> {
  const work = workOf(kind, ending)
  if (kind === 'run') return runBegun((signal) => session.run(work, { signal }))
  if (kind === 'remote') return jobBegun(await here.start(work, { on: session }))
  if (kind === 'named') return jobBegun(await session.start(namedJob, { args: ending, engine: 'thread' }))
  return jobBegun(await session.start(work, kind === 'command' ? {} : { engine: kind as 'thread' | 'process' }))
}

async function within<T>(what: string, outcome: Promise<T>): Promise<T> {
  const late = new AbortController()
  const timeout = delay(PATIENCE, undefined, { signal: late.signal }).then(
    () => Promise.reject(new Error(`${what}: nothing came of it within ${PATIENCE} ms`)),
    () => undefined as never,
  )
  try {
    return await Promise.race([outcome, timeout])
  } finally {
    late.abort()
  }
}

async function until(there: () => boolean): Promise<void> {
  while (!there()) await delay(20)
}

/** So many, one after the other, several at once. */
async function many(count: number, atOnce: number, act: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < count) await act(next++)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, lane))
}

/** One job to its end and out of the table. */
async function one(kind: Kind, ending: Ending, on: Stage, borrowed?: Session): Promise<void> {
  const begun = await begin(kind, ending, on, borrowed)
  if (ending === 'stopped' || ending === 'forced' || ending === 'removed')
    await within(`${kind} ${ending}`, begun.stop(ending))
  const state = await within(`${kind} ${ending}`, begun.ended)
  if (state !== EXPECTED[ending]) throw new Error(`a ${kind} that was ${ending} is ${state}`, { cause: begun.why?.() })
  if (ending !== 'removed') await begun.remove()
}

/** Those of one owner, which goes away under them: some are at work by then, some are not. */
async function owned(kind: Kind, ending: Ending, count: number): Promise<void> {
  await using on = await stage()
  const some = kind === 'run' ? 1 : count
  let begun: Begun[]
  if (ending === 'peer closed') {
    begun = await Promise.all(Array.from({ length: some }, () => begin(kind, ending, on)))
    await delay(kind === 'remote' ? 200 : 20)
    await (kind === 'remote' ? on.far : on.here).close()
  } else {
    const session = await on.here.connect('far', { temporary: ending === 'client left' })
    const room = kind === 'remote' ? 1 : some
    begun = await Promise.all(Array.from({ length: room }, () => beginIn(session, kind, ending, on)))
    await delay(20)
    if (ending === 'session closed') await session.close()
    else {
      on.network.kill('here')
      await on.here.close()
      // Its lease ends it, and what runs for it: while far is still there to be closed, nothing else would.
      await within(
        'the lease',
        until(() => census().processes === 0),
      )
    }
  }
  for (const { ended } of begun) await within(`${kind} ${ending}`, ended)
}

interface Row {
  readonly kind: Kind
  readonly ending: Ending
  readonly jobs: number
  readonly seconds: number
  readonly left: Census
  /** Bytes. */
  readonly growth: number
}

/** `before`: as it was before the first row, for what one row has left is left for all that follow. */
async function rowOf(kind: Kind, ending: Ending, jobs: number, before: Census): Promise<Row> {
  const since = performance.now()
  let growth: number
  if (ending === 'session closed' || ending === 'client left' || ending === 'peer closed') {
    await owned(kind, ending, 1)
    const first = await held()
    const each = kind === 'run' || (kind === 'remote' && ending !== 'peer closed') ? 1 : OWNED
    for (let done = 0; done < jobs; done += each) await owned(kind, ending, Math.min(each, jobs - done))
    growth = (await held()) - first
  } else {
    await using on = await stage()
    const sessions = kind === 'remote' ? await Promise.all([1, 2].map(() => on.here.connect('far'))) : []
    await one(kind, ending, on, sessions[0])
    const first = await held()
    // A session does one thing at a time: each lane has its own, the last none, so that one is opened for each job.
    const free = [...sessions]
    await many(jobs, AT_ONCE[kind], async () => {
      const session = free.pop()
      await one(kind, ending, on, session)
      if (session) free.push(session)
    })
    growth = (await held()) - first
  }
  const left = await leftSince(before)
  return { kind, ending, jobs, seconds: (performance.now() - since) / 1000, left, growth }
}

export async function run(args: readonly string[]): Promise<void> {
  const [count = String(JOBS), ...names] = args
  const jobs = Number(count)
  const wrong = names.filter((name) => !(KINDS as readonly string[]).includes(name))
  if (!Number.isInteger(jobs) || jobs < 1 || wrong.length > 0) {
    throw new Error(`endings [JOBS [KIND…]], not '${args.join(' ')}'; kinds: ${KINDS.join(', ')}`)
  }
  beginCensus()
  // What a process opens once and keeps (its reaper, its threads for files, its code) is no job's.
  for (const kind of KINDS) for (const ending of ['completed', 'peer closed'] as const) await warmUp(kind, ending)

  const before = census()

  console.log(line('kind', 'ending', 'jobs', 'seconds', ...COUNTED, 'heap B/job'))
  const faults: string[] = []
  for (const kind of KINDS.filter((kind) => names.length === 0 || names.includes(kind))) {
    const endings = ENDINGS.filter((ending) => !NONE.some(([none, by]) => none === kind && by === ending))
    for (const [index, ending] of endings.entries()) {
      const own = Math.floor(jobs / endings.length) + (index < jobs % endings.length ? 1 : 0)
      if (own === 0) continue
      const row = await rowOf(kind, ending, own, before)
      const counts = COUNTED.map((name) => String(row.left[name]))
      console.log(line(kind, ending, String(own), row.seconds.toFixed(1), ...counts, (row.growth / own).toFixed(0)))
      if (counts.some((left) => left !== '0')) faults.push(`${kind} ${ending}:\n${suspects()}`)
    }
  }
  if (faults.length > 0) throw new Error(`something was left behind:\n${faults.join('\n')}`)
}

async function warmUp(kind: Kind, ending: 'completed' | 'peer closed'): Promise<void> {
  if (ending === 'peer closed') return owned(kind, ending, 1)
  await using on = await stage()
  await one(kind, ending, on)
}

function line(kind: string, ending: string, ...figures: string[]): string {
  return [kind.padEnd(8), ending.padEnd(15), ...figures.map((figure) => figure.padStart(10))].join(' ')
}
