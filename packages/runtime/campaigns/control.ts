// npm run -s campaign -- control [SECONDS]: a script that keeps a processor for itself for so long (10), and one that says
// as much as it can to a reader that keeps up with it, in each engine; and meanwhile how long the peer takes to answer what
// is asked of it. Prints a table; throws where more than one in a hundred answers took 250 ms.
//
// Where other programs want the processors too, most of that time is theirs: `own` leaves out what this thread, ready to
// go on, had to wait for one (as Linux counts it), and is what is judged.

import { createMemoryNetwork, memory } from '@errand/transport/memory'
import { setTimeout as delay } from 'node:timers/promises'
import { createPeer, type Job, type Peer, type ScriptContext, type Session, type Work } from '../src/index.ts'
import { share, type Taken, took } from './fixtures/own-time.ts'

const SECONDS = 10
/** Guarantee G11. */
const MOST_MS = 250
/** Between two requests of one kind. */
const EVERY = { loop: 10, jobs: 20, snapshot: 20, start: 250 } as const
type Request = keyof typeof EVERY

const ENGINES = ['runspace', 'thread', 'process', 'command', 'remote'] as const
type Engine = (typeof ENGINES)[number]

const busy = (_ctx: ScriptContext, ms: number): void => {
  const end = Date.now() + ms
  while (Date.now() < end);
}
const flood = function* (_ctx: ScriptContext, ms: number): Generator<string> {
  const end = Date.now() + ms
  const text = 'x'.repeat(100)
  while (Date.now() < end) yield text
}
const SCRIPTS: Readonly<Record<'busy' | 'flood', Work>> = { busy, flood }
const COMMANDS: Readonly<Record<'busy' | 'flood', string>> = {
  busy: 'const end = Date.now() + ms; while (Date.now() < end);',
  flood:
    'const end = Date.now() + ms, { stdout } = process; const text = ("x".repeat(100) + "\\n").repeat(100);' +
    'const say = () => { while (Date.now() < end) if (!stdout.write(text)) return stdout.once("drain", say) }; say()',
}

interface Asked {
  readonly peer: Peer
  /** Where the work runs, if elsewhere. */
  readonly session: Session | undefined
}

async function start({ peer, session }: Asked, engine: Engine, script: 'busy' | 'flood', ms: number): Promise<Job> {
  if (engine === 'command') return peer.start([process.execPath, '-e', `const ms = ${ms}; ${COMMANDS[script]}`])
  const work = SCRIPTS[script]
  if (engine === 'remote') return peer.start(work, { args: [ms], on: session! })
  return peer.start(work, { args: [ms], engine })
}

async function measured(asked: Asked, job: Job): Promise<Record<Request, Taken[]>> {
  const { peer, session } = asked
  const requests: Record<Request, () => Promise<unknown>> = {
    // What comes in the next turn is the event loop's own delay.
    loop: () => new Promise((resolve) => setImmediate(resolve)),
    jobs: () => (session ? session.jobs() : peer.jobs()),
    snapshot: async () => (session ? session.jobs({ newest: 1 }) : (await peer.job(job.id)).snapshot),
    // A command: neither its runspace nor a thread is what is waited for.
    start: async () => {
      const one = await (session ? session.start(['true']) : peer.start(['true']))
      void one.finished.then(() => one.remove()).catch(() => undefined)
    },
  }
  let over = false
  void job.finished.then(() => (over = true))
  const times: Record<Request, Taken[]> = { loop: [], jobs: [], snapshot: [], start: [] }
  const ask = async (name: Request): Promise<void> => {
    while (!over) {
      times[name].push(await took(requests[name]))
      // A timer that comes late is the loop's delay too.
      const { all, own } = await took(() => delay(EVERY[name]))
      const late = (ms: number): number => Math.max(0, ms - EVERY[name])
      if (name === 'loop') times.loop.push({ all: late(all), own: late(own) })
    }
  }
  await Promise.all((Object.keys(EVERY) as Request[]).map(ask))
  return times
}

export async function run([seconds = String(SECONDS)]: readonly string[]): Promise<void> {
  const ms = Number(seconds) * 1000
  if (!(ms > 0)) throw new Error(`control [SECONDS], not '${seconds}'`)
  const network = createMemoryNetwork()
  await using here = await createPeer({
    name: 'here',
    transport: memory({ network, name: 'here' }),
    policy: { peers: { far: [] } },
  })
  await using far = await createPeer({
    name: 'far',
    transport: memory({ network, name: 'far' }),
    policy: { peers: { here: ['connect', 'run:script', 'run:command'] } },
  })
  const session = await here.connect(far.name)
  const faults: string[] = []
  console.log(
    line('engine', 'script', 'records', 'request', 'asked', 'p50 ms', 'p99 ms', 'worst ms', 'own p99 ms', 'own worst'),
  )
  for (const engine of ENGINES) {
    for (const script of ['busy', 'flood'] as const) {
      const asked = { peer: here, session: engine === 'remote' ? session : undefined }
      const job = await start(asked, engine, script, ms)
      let records = 0
      const reading = (async () => {
        for await (const _ of job.receive({ follow: true })) records++
      })()
      await job.wait({ for: ['Running', 'Completed', 'Failed'] })
      const times = await measured(asked, job)
      await reading
      if (job.state !== 'Completed') throw new Error(`${engine} ${script}: it is ${job.state}`, { cause: job.reason })
      if (script === 'flood' && records < 1_000) throw new Error(`${engine}: it said ${records} records only`)
      for (const [request, all] of Object.entries(times)) {
        const whole = all.map((one) => one.all)
        const own = all.map((one) => one.own)
        const figures = [share(whole, 0.5), share(whole, 0.99), share(whole, 1), share(own, 0.99), share(own, 1)]
        const texts = figures.map((figure) => figure.toFixed(1))
        console.log(line(engine, script, String(records), request, String(all.length), ...texts))
        if (!(share(own, 0.99) < MOST_MS)) faults.push(`${engine} ${script} ${request}: p99 ${texts[3]} ms`)
      }
      await job.remove()
    }
  }
  if (faults.length > 0) throw new Error(`slower than ${MOST_MS} ms: ${faults.join('; ')}`)
}

function line(...[engine, script, ...figures]: string[]): string {
  return [engine!.padEnd(9), script!.padEnd(6), ...figures.map((figure) => figure.padStart(10))].join(' ')
}
