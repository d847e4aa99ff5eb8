// The cases of the suite `remote`: work given to another process on this machine, and waited for, beside the engines a
// program would use in errand's place. All that can be had here are open at once, each with a second process of its own,
// and take turns within one run; a result is checked before its time counts.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Row, type Skipped, inTurns, row, typical, check, perSecond, seconds } from '../transport/row.ts'
import { STORE } from './errand.ts'
import { type Engine, programOf, startBroker } from './rival.ts'
import { rivals } from './rivals.ts'

const suite = 'remote'

// Engines that are asked for work serve for weeks: the first turn of each, which does not count, is long enough for V8 to
// have compiled what it does, ours and everybody's.
const CALLS = 1_000
const CALL_TURNS = 9
/** Jobs under way at once, and how long a turn of as many as possible takes. */
const FLYING = 64
const RATE_MS = 2_500
const RATE_TURNS = 5
const RECORDS = 100_000
const RECORD_TURNS = 5

/** One end of an engine, open in this process, and what is to end with it. */
interface Open {
  readonly name: string
  readonly engine: Engine
}

interface Case {
  readonly name: string
  readonly unit: string
  readonly turns: number
  /** What the row says of ours, beside the store. */
  readonly ours: string
  /** Whom it can be done with, and is worth it. */
  readonly peers: readonly string[]
  turn(engine: Engine): Promise<number>
}

const measurements: readonly Case[] = [
  {
    name: 'remote-run-empty',
    unit: 'µs',
    turns: CALL_TURNS,
    ours: 'session.run',
    peers: ['grpc', 'bullmq', 'nats', 'moleculer', 'fetch', 'echo'],
    turn: (engine) => typical(CALLS, async () => check('empty work', await engine.call(), undefined)),
  },
  {
    name: 'remote-jobs-c64',
    unit: 'jobs/s',
    turns: RATE_TURNS,
    ours: 'session.start of a thread job to its end',
    peers: ['grpc', 'bullmq', 'nats', 'moleculer', 'fetch'],
    async turn(engine) {
      const rate = await perSecond(
        FLYING,
        RATE_MS,
        engine.job ? () => engine.job!() : async () => check('empty work', await engine.call(), undefined),
      )
      await engine.clear?.()
      return rate
    },
  },
  {
    name: 'remote-records',
    unit: 'records/s',
    turns: RECORD_TURNS,
    ours: 'session.run of a generator, for await',
    peers: ['grpc', 'bullmq', 'nats', 'moleculer', 'fetch'],
    async turn(engine) {
      let next = 0
      const begun = performance.now()
      await engine.records!(RECORDS, ({ id }) => {
        if (id !== next++) throw new Error(`item ${next - 1} is not the one sent`)
      })
      const rate = RECORDS / seconds(begun)
      check('items', next, RECORDS)
      return rate
    },
  },
]

/** gRPC is the peer of the case itself; the others beside it are cases of their own. */
function nameOf(one: Case, peer: string): string {
  return peer === 'grpc' ? one.name : `${one.name}-${peer}`
}

export const cases: readonly string[] = measurements.flatMap((one) => one.peers.map((peer) => nameOf(one, peer)))

/** The rows of these cases. */
export async function* remote(asked: ReadonlySet<string>): AsyncGenerator<Row | Skipped> {
  await using stack = new AsyncDisposableStack()
  const open = new Map<string, Open>()
  const absent = new Map<string, string>()
  const wanted = new Set(measurements.flatMap((one) => one.peers.filter((peer) => asked.has(nameOf(one, peer)))))
  for (const peer of ['errand', ...wanted]) {
    const opened = await start(peer, stack)
    if (typeof opened === 'string') absent.set(peer, opened)
    else open.set(peer, opened)
  }
  const ours = open.get('errand')!
  for (const one of measurements) {
    const beside = new Map<string, Open>()
    for (const peer of one.peers.filter((name) => asked.has(nameOf(one, name)))) {
      const there = open.get(peer)
      if (there && (one.name !== 'remote-records' || there.engine.records)) beside.set(peer, there)
      else yield { suite, case: nameOf(one, peer), skipped: absent.get(peer) ?? 'it has no stream of results' }
    }
    if (beside.size === 0) continue
    const contestants = [['errand', ours] as const, ...beside].map(
      ([name, { engine }]) => [name, () => one.turn(engine)] as const,
    )
    const results = await inTurns(one.turns, Object.fromEntries(contestants))
    for (const [peer, { name }] of beside) {
      yield row({
        suite,
        case: nameOf(one, peer),
        unit: one.unit,
        ours: results['errand']!,
        peer: results[peer]!,
        peerName: `${name}; ours: ${one.ours}`,
        store: STORE,
      })
    }
  }
}

/** The engine with all it needs, which ends with `stack`; or why it cannot be had here. */
async function start(name: string, stack: AsyncDisposableStack): Promise<Open | string> {
  const rival = await rivals[name]!()
  const folder = mkdtempSync(join(tmpdir(), 'errand-bench-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  let where = folder
  if (rival.broker) {
    const program = programOf(rival.broker)
    if (program === undefined) return `none of ${rival.broker.programs.join(', ')} here (${rival.broker.hint})`
    where = stack.use(await startBroker(rival.broker, program, folder)).address
  }
  const child = fork(fileURLToPath(new URL('./far.ts', import.meta.url)), [name, where], {
    execArgv: ['--conditions=source'],
  })
  const exit = once(child, 'exit')
  stack.defer(async () => {
    if (child.exitCode === null && child.signalCode === null) child.disconnect()
    await exit
  })
  const failed = exit.then(([code]) => Promise.reject(new Error(`the process of ${name} exited with ${String(code)}`)))
  failed.catch(() => {}) // once it serves, its end is our doing
  const [address] = (await Promise.race([once(child, 'message'), failed])) as [string]
  const engine = stack.use(await rival.connect(address, where))
  check(`${name}'s answer`, await engine.call(41), 42)
  return { name: rival.name, engine }
}
