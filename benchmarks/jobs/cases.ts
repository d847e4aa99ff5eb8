// The cases of the suite `jobs`: thread and process jobs on a peer of their own, beside what a program would use in their
// place. What is compared is measured in turns within one run, and a result is checked before its time counts.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { createPeer, type Job, type Peer } from '@errand/runtime'
import * as Comlink from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { type Row, type Skipped, inTurns, median, row, typical, check, perSecond, seconds } from '../transport/row.ts'
import { openPool, type Pool, type PoolName, poolNames } from './pools.ts'
import type { Order } from './records-worker.ts'
import { tableCosts } from './table.ts'
import type { tasks } from './task.ts'

const suite = 'jobs'

const TURNS = 9
const CALLS = 400
/** Calls of a pool's turn under way at once; fewer would measure how pools wait for their next call. */
const FLYING = 512
/** How long a turn of as many calls as possible takes, and then until the last of them has ended. */
const RATE_MS = 1000
const RATE_TURNS = 5
const INPUTS = 100_000
const MAP_TURNS = 3
const MANY_INPUTS = 1_000_000
/** MiB by which a map of them may grow this process, its threads counted. */
const MANY_MOST = 200
/** How often the process is asked how large it is. */
const SAMPLE_MS = 10
const RECORDS = 100_000
const BATCH = 256
/** First records in one turn. */
const FIRSTS = 5
/** A job that follows sooner than the next spare is there would measure how workers and processes start. */
const SPARE_MS = 300
/** That, or as long as so many bare processes take to start here and now. */
const SPARE_STARTS = 10
/** A table that would take longer to fill is left out. */
const FILL_MS = 300_000
/** Thread jobs that tell how long, so many at a time, when as many have gone before. */
const PROBES = 512

type Measurement = () => Promise<(Row | Skipped)[]>

/** `run` goes to the session's runspace, which is a thread here; with `engine` each is a thread job. */
async function threadRun(): Promise<Row[]> {
  await using peer = await createPeer()
  await using worker = await comlinkWorker()
  const { remote } = worker
  check('a run', await peer.run((_, input: number) => input + 1, { args: [41] }), 42)
  check('a Comlink call', await remote.echo(42), 42)
  const times = await inTurns(TURNS, {
    ours: () => typical(CALLS, async () => check('an empty run', await peer.run(() => {}), undefined)),
    comlink: () => typical(CALLS, async () => check('an empty call', await remote.empty(), undefined)),
  })
  return [
    row({
      suite,
      case: 'thread-run-empty',
      unit: 'µs',
      ours: times.ours,
      peer: times.comlink,
      peerName: 'Comlink, a call of a worker',
    }),
  ]
}

async function threadStart(): Promise<Row[]> {
  await using peer = await createPeer()
  await using pools = openPools()
  const started = async (): Promise<Job<void>> => {
    const job = await peer.start(() => {}, { engine: 'thread' })
    completed(await job.finished)
    return job
  }
  const rates = await inTurns(RATE_TURNS, {
    ours: async () => {
      const jobs: Job[] = []
      const rate = await perSecond(FLYING, RATE_MS, async () => void jobs.push(await started()))
      // Beside the time: the table is the next turn's.
      await Promise.all(jobs.map((job) => job.remove()))
      return rate
    },
    ...each(pools.open, (pool) =>
      perSecond(FLYING, RATE_MS, async () => check('a task', await pool.call('empty', 0), undefined)),
    ),
  })
  return besidePools('thread-start-empty', 'jobs/s', rates)
}

async function map(): Promise<Row[]> {
  await using peer = await createPeer()
  await using pools = openPools()
  const inputs = Array.from({ length: INPUTS }, (_, index) => index)
  const sum = inputs.reduce((all, one) => all + one, 0)
  // What an empty script has done cannot be seen: that every input is run once is, where each says what it was given.
  const echo = await peer.map(inputs, (_, input) => input)
  const said = await echo.output()
  check('inputs of a map', said.length, INPUTS)
  check('their sum', total(said), sum)
  await echo.remove()
  for (const [name, pool] of pools.open) {
    let back = 0
    await all(inputs, async (input) => {
      const said = await pool.call('echo', input)
      back += said as number
    })
    check(`the sum of ${name}'s`, back, sum)
  }
  const rates = await inTurns(MAP_TURNS, {
    ours: async () => {
      const begun = performance.now()
      const job = await peer.map(inputs, () => {})
      completed(await job.finished)
      const rate = INPUTS / seconds(begun)
      await job.remove()
      return rate
    },
    ...each(pools.open, async (pool) => {
      const begun = performance.now()
      let done = 0
      await all(inputs, async (input) => {
        check('a task', await pool.call('empty', input), undefined)
        done++
      })
      check('tasks', done, INPUTS)
      return INPUTS / seconds(begun)
    }),
  })
  return besidePools('map-100k-empty', 'inputs/s', rates)
}

/** Inputs that come one by one, an output for each, read as they come: how much larger this process is at most meanwhile. */
async function mapMemory(): Promise<Row[]> {
  await using peer = await createPeer()
  async function* inputs(): AsyncGenerator<{ id: number; name: string }> {
    for (let id = 0; id < MANY_INPUTS; id++) yield { id, name: 'item-123' }
  }
  await spareReady()
  const before = process.memoryUsage.rss()
  let most = before
  const sampling = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), SAMPLE_MS)
  let [count, sum] = [0, 0]
  try {
    const job = await peer.map(inputs(), (_, { id }) => ({ id, square: id * 2 }))
    for await (const record of job) {
      if (record.kind !== 'output') continue
      count++
      sum += record.value.id
    }
    completed(await job.finished)
  } finally {
    clearInterval(sampling)
  }
  check('outputs', count, MANY_INPUTS)
  check('their sum', sum, (MANY_INPUTS * (MANY_INPUTS - 1)) / 2)
  const grown = (most - before) / 2 ** 20
  return [
    row({ suite, case: 'map-1m-memory', unit: 'MiB', ours: grown, peer: MANY_MOST, peerName: 'the most it may be' }),
  ]
}

/** From the start of a thread job on the warm spare to its last record, and from the order to a worker to its last. */
async function threadRecords(): Promise<Row[]> {
  await using peer = await createPeer()
  const rates = await inTurns(TURNS, {
    single: () => posted(1),
    ours: () => received(peer, 'thread'),
    batched: () => posted(BATCH),
  })
  const of = { suite, unit: 'records/s', ours: rates.ours } as const
  return [
    row({ ...of, case: 'thread-records', peer: rates.single, peerName: 'postMessage, a record each' }),
    row({ ...of, case: 'thread-records-256', peer: rates.batched, peerName: `postMessage, ${BATCH} records each` }),
  ]
}

async function processFirstRecord(): Promise<Row[]> {
  await using peer = await createPeer()
  const several = async (once: () => Promise<number>): Promise<number> => {
    const times: number[] = []
    for (let i = 0; i < FIRSTS; i++) times.push(await once())
    return median(times)
  }
  const times = await inTurns(RATE_TURNS, {
    ours: () => several(() => firstRecord(peer)),
    fork: () => several(ready),
  })
  return [
    row({
      suite,
      case: 'process-first-record',
      unit: 'ms',
      ours: times.ours,
      peer: times.fork,
      peerName: "child_process.fork to its 'ready'",
    }),
  ]
}

async function processRecords(): Promise<Row[]> {
  await using peer = await createPeer()
  const rates = await inTurns(TURNS, { ours: () => received(peer, 'process'), fork: sent })
  return [
    row({
      suite,
      case: 'process-records',
      unit: 'records/s',
      ours: rates.ours,
      peer: rates.fork,
      peerName: 'process.send, a record each',
    }),
  ]
}

/** Each request with 100 000 finished jobs, beside the same with 100: nobody else's, so its own peer. */
async function table(): Promise<(Row | Skipped)[]> {
  const filling = TABLE_JOBS / (await threadJobs())
  if (filling * 1000 > FILL_MS) {
    const skipped = `${TABLE_JOBS} thread jobs would take ${Math.ceil(filling / 60)} min`
    return TABLE_CASES.map((name) => ({ suite, case: name, skipped }))
  }
  const { newest20, start, receive } = await tableCosts()
  const costs = [
    ['table-100k-list', newest20],
    ['table-100k-start', start],
    ['table-100k-receive', receive],
  ] as const
  return costs.map(([name, { few, many }]) =>
    row({ suite, case: name, unit: 'µs', ours: many, peer: few, peerName: 'the same with 100 jobs' }),
  )
}

// ── ours ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Records a second, from the start of a job to the last one received. */
async function received(peer: Peer, engine: 'thread' | 'process'): Promise<number> {
  await spareReady()
  const begun = performance.now()
  const job = await peer.start(
    function* (_, count: number) {
      for (let id = 0; id < count; id++) yield { id, name: 'item-123', ok: true }
    },
    { engine, args: [RECORDS] },
  )
  let count = 0
  for await (const record of job) {
    if (record.kind !== 'output' || record.value.id !== count) throw new Error(`record ${count} is not the one sent`)
    count++
  }
  const rate = RECORDS / seconds(begun)
  check('records', count, RECORDS)
  completed(await job.finished)
  await job.remove()
  return rate
}

/** Milliseconds from the start of a script in a process to its first record. */
async function firstRecord(peer: Peer): Promise<number> {
  await spareReady()
  const begun = performance.now()
  const job = await peer.start(() => 'ready', { engine: 'process' })
  let took: number | undefined
  for await (const record of job) {
    took ??= performance.now() - begun
    check('the first record', record.kind === 'output' && record.value, 'ready')
  }
  completed(await job.finished)
  await job.remove()
  return took!
}

async function spareReady(): Promise<void> {
  await delay(Math.max(SPARE_MS, SPARE_STARTS * (await ready())))
}

function completed({ state, reason }: { state: string; reason?: Error | undefined }): void {
  if (state !== 'Completed') throw new Error(`a job is ${state}`, { cause: reason })
}

/** Thread jobs a second, roughly. */
async function threadJobs(): Promise<number> {
  await using peer = await createPeer()
  const probe = async (): Promise<number> => {
    const begun = performance.now()
    const jobs = await Promise.all(Array.from({ length: PROBES }, () => peer.start(() => {}, { engine: 'thread' })))
    for (const job of jobs) completed(await job.finished)
    return PROBES / seconds(begun)
  }
  await probe()
  return await probe()
}

// ── the peers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

interface ComlinkWorker extends AsyncDisposable {
  readonly remote: Comlink.Remote<typeof tasks>
}

async function comlinkWorker(): Promise<ComlinkWorker> {
  const worker = new Worker(new URL('./comlink-worker.ts', import.meta.url))
  return {
    remote: Comlink.wrap<typeof tasks>(nodeEndpoint(worker)),
    [Symbol.asyncDispose]: async () => void (await worker.terminate()),
  }
}

/** Records a second, from the order to a worker that waits for it to the last of them. A new one each time, as ours. */
async function posted(batch: number): Promise<number> {
  const worker = new Worker(new URL('./records-worker.ts', import.meta.url))
  await once(worker, 'message')
  const arrived = new Promise<void>((resolve, reject) => {
    let count = 0
    const take = (item: { id: number }): void => {
      if (item.id !== count) return reject(new Error(`record ${count} is not the one posted`))
      if (++count === RECORDS) resolve()
    }
    worker.once('error', reject)
    worker.on('message', (message: { id: number } | { id: number }[]) => {
      if (Array.isArray(message)) for (const item of message) take(item)
      else take(message)
    })
  })
  const begun = performance.now()
  worker.postMessage({ count: RECORDS, batch } satisfies Order)
  await arrived
  const rate = RECORDS / seconds(begun)
  await worker.terminate()
  return rate
}

/** Without what this process was started with: nothing it would have to load. */
function forked(): ChildProcess {
  return fork(fileURLToPath(new URL('./bare-child.cjs', import.meta.url)), { execArgv: [] })
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit')
  child.disconnect()
  await exit
}

/** Milliseconds. */
async function ready(): Promise<number> {
  const begun = performance.now()
  const child = forked()
  const [said] = await once(child, 'message')
  const took = performance.now() - begun
  check('what the child said', said, 'ready')
  await ended(child)
  return took
}

/** Records a second, from the order to a child that waits for it to the last of them. A new one each time, as ours. */
async function sent(): Promise<number> {
  const child = forked()
  await once(child, 'message')
  const arrived = new Promise<void>((resolve, reject) => {
    let count = 0
    child.once('error', reject)
    child.on('message', (item: { id: number }) => {
      if (item.id !== count) return reject(new Error(`record ${count} is not the one sent`))
      if (++count === RECORDS) resolve()
    })
  })
  const begun = performance.now()
  child.send(RECORDS)
  await arrived
  const rate = RECORDS / seconds(begun)
  await ended(child)
  return rate
}

interface Pools extends AsyncDisposable {
  readonly open: ReadonlyMap<PoolName, Pool>
}

function openPools(): Pools {
  const open = new Map(poolNames.map((name) => [name, openPool(name)]))
  return {
    open,
    [Symbol.asyncDispose]: async () =>
      void (await Promise.all([...open.values()].map((pool) => pool[Symbol.asyncDispose]()))),
  }
}

/** A turn of each pool. */
function each(
  open: ReadonlyMap<PoolName, Pool>,
  turn: (pool: Pool) => Promise<number>,
): Record<PoolName, () => Promise<number>> {
  const turns = [...open].map(([name, pool]) => [name, () => turn(pool)])
  return Object.fromEntries(turns) as Record<PoolName, () => Promise<number>>
}

/** piscina is the peer of the case itself; the others beside it are cases of their own. */
const POOL_SUFFIXES = poolNames.map((name) => (name === 'piscina' ? '' : `-${name}`))

function besidePools(name: string, unit: string, rates: Record<PoolName | 'ours', number>): Row[] {
  return poolNames.map((pool, at) =>
    row({ suite, case: `${name}${POOL_SUFFIXES[at]}`, unit, ours: rates.ours, peer: rates[pool], peerName: pool }),
  )
}

// ── measuring ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0)
}

/** Every input once, `FLYING` of them at a time. */
async function all<I>(inputs: readonly I[], call: (input: I) => Promise<void>): Promise<void> {
  let next = 0
  const caller = async (): Promise<void> => {
    while (next < inputs.length) await call(inputs[next++]!)
  }
  await Promise.all(Array.from({ length: FLYING }, caller))
}

// ── the suite ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const TABLE_JOBS = 100_000
const TABLE_CASES = ['table-100k-list', 'table-100k-start', 'table-100k-receive']

/** What is measured together. */
const measurements: readonly { readonly cases: readonly string[]; readonly run: Measurement }[] = [
  { cases: ['thread-run-empty'], run: threadRun },
  { cases: POOL_SUFFIXES.map((suffix) => `thread-start-empty${suffix}`), run: threadStart },
  { cases: POOL_SUFFIXES.map((suffix) => `map-100k-empty${suffix}`), run: map },
  { cases: ['map-1m-memory'], run: mapMemory },
  { cases: ['thread-records', 'thread-records-256'], run: threadRecords },
  { cases: ['process-first-record'], run: processFirstRecord },
  { cases: ['process-records'], run: processRecords },
  { cases: TABLE_CASES, run: table },
]

export const cases: readonly string[] = measurements.flatMap((one) => one.cases)

/** The rows of these cases. */
export async function* jobs(asked: ReadonlySet<string>): AsyncGenerator<Row | Skipped> {
  const wanted = measurements.filter((one) => one.cases.some((name) => asked.has(name)))
  for (const { run } of wanted) yield* (await run()).filter((one) => asked.has(one.case))
}
