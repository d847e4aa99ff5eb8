// Jobs given ahead, under every order in which what peer and workers do may fall together: both sides are the real ones,
// the worker in between is not, so that a test says which message arrives when, who is at work, and who dies.
import { decode, encode } from '@errand/transport'
import fc from 'fast-check'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { Claims, CLAIMS_BYTES } from '../src/engine/claims.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from '../src/engine/engine.ts'
import {
  serveLane,
  type Isolate,
  type IsolateEnd,
  type LaneCommand,
  type LaneMessage,
  type LaneServer,
  type LaneWire,
} from '../src/engine/lane.ts'
import { ThreadEngine } from '../src/engine/thread.ts'
import type { Ending } from '../src/job-machine.ts'
import type { SessionSnapshot } from '../src/surface.ts'
import type { WorkSpec } from '../src/wire.ts'

vi.mock('../src/engine/worker-isolate.ts', () => ({ startWorker: () => new FakeWorker() }))

/** Texts by what they leave: nobody runs them here. */
const SOURCES = { none: '(_, n) => n', late: 'async (_, n) => n', some: '() => process.pid' }

interface Job {
  readonly n: number
  readonly execution: Execution
  readonly session: SessionSnapshot
  /** Its runs in workers. */
  runs: number
  /** As its worker ended it. */
  ran: Ending['outcome'] | undefined
  begun: boolean
  stopped: boolean
  readonly said: unknown[]
  readonly endings: Ending[]
}

let jobs: Job[] = []
let workers: FakeWorker[] = []
/** In the order in which workers began them. */
let order: number[] = []
let wrong: string[] = []

/** What runs in a worker: one job at a time, which goes on until the test ends it. */
class Scripted implements Engine {
  now: { readonly job: Job; readonly io: ExecutionIO; stopped: boolean } | undefined

  start({ work, session }: ExecutionSpec, io: ExecutionIO): Execution {
    const [n] = (decode(work.payload!) as { args: number[] }).args
    const job = jobs[n!]!
    if (this.now) wrong.push(`job ${n} began while ${this.now.job.n} was at work`)
    if (job.endings.length > 0) wrong.push(`job ${n} began after its end`)
    if (session?.name !== job.session.name) wrong.push(`job ${n} knows another session`)
    if (++job.runs > 1) wrong.push(`job ${n} began twice`)
    order.push(n!)
    const run = { job, io, stopped: false }
    this.now = run
    io.chunk({ count: 1, errors: 0, bytes: encode(n) })
    return { credit() {}, stop: () => void (run.stopped = true) }
  }

  end(outcome: 'completed' | 'failed'): void {
    const { job, io, stopped } = this.now!
    this.now = undefined
    job.ran = stopped ? 'stopped' : outcome
    io.ended(job.ran === 'failed' ? { outcome: 'failed', error: new Error('thrown') } : { outcome: job.ran })
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class FakeWorker implements Isolate {
  readonly pid = undefined
  readonly exited: Promise<IsolateEnd>
  readonly memory = new SharedArrayBuffer(CLAIMS_BYTES)
  readonly claims: Claims = new Claims(this.memory)
  readonly server: Isolate['server']
  readonly wire: LaneWire
  readonly engine = new Scripted()
  killed = false
  held = false
  dead = false
  /** Under way. */
  readonly down: (readonly LaneMessage[])[] = []
  readonly up: (readonly LaneMessage[])[] = []
  readonly commands: (readonly LaneCommand[])[] = []
  readonly #inside: LaneServer
  #takeDown: (messages: readonly LaneMessage[]) => void = () => undefined
  #takeUp: (messages: readonly LaneMessage[]) => void = () => undefined
  readonly #exit: (how: IsolateEnd) => void

  constructor() {
    const { promise, resolve } = Promise.withResolvers<IsolateEnd>()
    this.exited = promise
    this.#exit = resolve
    this.server = {
      perform: async (commands: readonly LaneCommand[]) => void this.commands.push(commands),
    } as unknown as Isolate['server']
    this.wire = { post: (messages) => this.down.push(messages), receive: (take) => (this.#takeUp = take) }
    const inside: LaneWire = {
      post: (messages) => void (this.dead || this.up.push(messages)),
      receive: (take) => (this.#takeDown = take),
    }
    this.#inside = serveLane(this.engine, inside, {
      onLink() {},
      claims: new Claims(this.memory),
      rests: () => true,
    })
    workers.push(this)
  }

  get taken(): number {
    return new Int32Array(this.memory).filter((x) => x !== 0).length
  }
  hold(working: boolean): void {
    this.held = working
  }
  kill(): void {
    this.killed = true
  }

  /** The next message arrives; false where none is under way. */
  deliverDown(): boolean {
    const messages = this.dead ? undefined : this.down.shift()
    if (messages) this.#takeDown(messages)
    return messages !== undefined
  }
  deliverUp(): boolean {
    const messages = this.up.shift()
    if (messages) this.#takeUp(messages)
    return messages !== undefined
  }
  deliverCommands(): boolean {
    const commands = this.dead ? undefined : this.commands.shift()
    if (commands) this.#inside.perform(commands)
    return commands !== undefined
  }
  end(outcome: 'completed' | 'failed'): boolean {
    if (this.dead || !this.engine.now) return false
    this.engine.end(outcome)
    return true
  }
  /** What it said before is heard before. */
  async die(): Promise<boolean> {
    if (this.dead) return false
    this.dead = true
    while (this.deliverUp()) await turn()
    this.#exit({ exitCode: 1 })
    return true
  }
}

/** All that follows at once. */
async function turn(): Promise<void> {
  for (let n = 0; n < 12; n++) await Promise.resolve()
}

let engine: ThreadEngine
/** As it is now: told to a worker only where it has changed. */
let session: SessionSnapshot

function threads(count: number): void {
  jobs = []
  workers = []
  order = []
  wrong = []
  rename('s')
  engine = new ThreadEngine({ openLink() {}, threads: count })
}

function rename(name: string): void {
  session = { instanceId: 's', name, state: 'Opened', availability: 'Available' } as SessionSnapshot
}

function start(traces: keyof typeof SOURCES = 'none'): Job {
  const n = jobs.length
  const work = {
    kind: 'function',
    source: SOURCES[traces],
    startId: '',
    command: '',
    payload: encode({ args: [n] }),
  } as WorkSpec
  const job: Omit<Job, 'execution'> & { execution?: Execution } = {
    n,
    session,
    runs: 0,
    ran: undefined,
    begun: false,
    stopped: false,
    said: [],
    endings: [],
  }
  jobs.push(job as Job)
  job.execution = engine.start(
    { job: 'j', location: 'here', session, work },
    {
      chunk: ({ bytes }) => job.said.push(decode(bytes)),
      begun: () => (job.begun = true),
      ended(ending) {
        job.endings.push(ending)
      },
    },
  )
  return job as Job
}

function stop(job: Job, grace: number): void {
  job.stopped = true
  job.execution.stop({ grace })
}

/** All that is under way arrives, all that is killed dies, all that is at work ends, until nothing happens any more. */
async function settle(): Promise<void> {
  for (let idle = 0; idle < 3;) {
    await turn()
    let moved = false
    for (const worker of [...workers]) {
      if (worker.killed && (await worker.die())) moved = true
      while (worker.deliverDown() || worker.deliverUp() || worker.deliverCommands()) moved = true
      if (worker.end('completed')) moved = true
    }
    // Longer than what takes its time.
    vi.advanceTimersByTime(3)
    idle = moved ? 0 : idle + 1
  }
  await turn()
}

/** What holds when all is over, whatever came in between. */
function expectOrder(): void {
  expect(wrong).toEqual([])
  for (const { n, endings, runs, ran, said, stopped, begun } of jobs) {
    const about = `job ${n}`
    expect(endings, about).toHaveLength(1)
    const [{ outcome }] = endings as [Ending]
    if (runs === 0) expect([outcome, stopped, said], about).toEqual(['stopped', true, []])
    // Its records are its own; those of one that died with its worker may be lost with it.
    else if (outcome === 'completed' || ran === outcome) expect([said, begun], about).toEqual([[n], true])
    if (outcome === 'completed') expect(ran, about).toBe('completed')
    if (outcome === 'stopped') expect(stopped, about).toBe(true)
  }
  for (const worker of workers) {
    if (worker.dead) continue
    expect([worker.taken, worker.held, worker.killed]).toEqual([0, false, false])
  }
}

beforeAll(async () => {
  // What reads scripts is loaded beside the first job.
  threads(1)
  start()
  await import('../src/script-traces.ts')
  await new Promise((resolve) => setImmediate(resolve))
})
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'performance'] })
})
afterEach(async () => {
  await end()
  vi.useRealTimers()
})

async function end(): Promise<void> {
  const disposed = engine[Symbol.asyncDispose]()
  await settle()
  await disposed
  expect(workers.filter(({ dead }) => !dead)).toEqual([])
}

describe('a lane on which jobs are given ahead', () => {
  test('keeps to a throttle that was lowered while all were at work', async () => {
    threads(3)
    for (let n = 0; n < 60; n++) start()
    engine.throttle(1)
    await turn()
    // Each ends what it is at, and no time passes: nothing is slow.
    for (const worker of [...workers]) {
      worker.deliverDown()
      worker.end('completed')
      await turn()
      while (worker.deliverUp());
      await turn()
    }
    expect(workers).toHaveLength(3)
    expect(jobs.filter(({ begun, endings }) => begun && endings.length === 0)).toHaveLength(1)
    await settle()
    expectOrder()
  })

  test('has at no time more at work than there are threads', async () => {
    threads(2)
    for (let n = 0; n < 20; n++) start()
    let most = 0
    for (const job of jobs) {
      const { endings } = job
      const push = endings.push.bind(endings)
      endings.push = (ending) => {
        most = Math.max(most, jobs.filter((other) => other.begun && other.endings.length === 0).length)
        return push(ending)
      }
    }
    await settle()
    expectOrder()
    expect(most).toBe(2)
  })

  test('gives nothing to a thread that has just died', async () => {
    for (let after = 0; after < 8; after++) {
      await end()
      threads(1)
      const first = start()
      await turn()
      workers[0]!.deliverDown()
      const died = workers[0]!.die()
      for (let n = 0; n < after; n++) await Promise.resolve()
      start()
      await died
      await settle()
      expect(first.endings[0]!.outcome).toBe('failed')
      expect(jobs[1]!.endings[0]!.outcome).toBe('completed')
      expectOrder()
    }
  })

  test('lets none wait behind one that takes long', async () => {
    threads(2)
    for (let n = 0; n < 8; n++) start()
    await turn()
    const [slow, other] = workers as [FakeWorker, FakeWorker]
    slow.deliverDown()
    // The other is never free: there is always more.
    for (let round = 0; round < 12; round++) {
      start()
      start()
      while (other.deliverDown());
      other.end('completed')
      await turn()
      while (other.deliverUp());
      vi.advanceTimersByTime(1)
      await turn()
    }
    expect(jobs.slice(0, 8).map(({ endings }) => endings.length)).toEqual([0, 1, 1, 1, 1, 1, 1, 1])
    expect(slow.engine.now?.job.n).toBe(0)
    await settle()
    expectOrder()
  })

  test('begins the oldest first, also where that waits again', async () => {
    threads(2)
    const alone = start('some')
    const slow = start()
    for (let n = 2; n <= 4; n++) start()
    vi.advanceTimersByTime(1)
    engine.throttle(3)
    for (let n = 5; n <= 8; n++) start()
    await turn()
    // What was behind the slow one waits again, and the third thread has enough.
    workers[1]!.deliverDown()
    vi.advanceTimersByTime(1)
    await turn()
    workers[0]!.deliverDown()
    workers[0]!.end('completed')
    await turn()
    while (workers[0]!.deliverUp());
    expect(workers[0]!.killed).toBe(true)
    await workers[0]!.die()
    await turn()
    expect(alone.endings).toHaveLength(1)
    expect(slow.endings).toHaveLength(0)
    expect(jobs.filter(({ begun }) => begun).map(({ n }) => n)).toEqual([0, 1, 2, 3])
    await settle()
    expectOrder()
  })

  test('stops what its worker has begun before it was known here', async () => {
    threads(1)
    start()
    const next = start()
    await turn()
    const [worker] = workers as [FakeWorker]
    worker.deliverDown()
    worker.end('completed')
    stop(next, 1000)
    expect(next.endings).toHaveLength(0)
    await turn()
    while (worker.deliverUp());
    await turn()
    worker.deliverCommands()
    expect(worker.engine.now).toMatchObject({ job: { n: next.n }, stopped: true })
    await settle()
    expect(next.endings).toEqual([{ outcome: 'stopped' }])
    expectOrder()
  })

  test('stops what its worker has not heard of yet', async () => {
    threads(1)
    start()
    await turn()
    const [worker] = workers as [FakeWorker]
    worker.deliverDown()
    const next = start()
    await turn()
    worker.end('completed')
    await turn()
    while (worker.deliverUp());
    stop(next, 1000)
    await turn()
    expect(worker.deliverCommands()).toBe(true)
    worker.deliverDown()
    expect(worker.engine.now).toMatchObject({ job: { n: next.n }, stopped: true })
    await settle()
    expectOrder()
  })
})

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('start' as const), many: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('start-alone' as const), late: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('stop' as const), at: fc.nat(40), grace: fc.constantFrom(0, 1, 1000) }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('down', 'up', 'commands'), at: fc.nat(3) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('completed', 'failed'), at: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('die' as const), at: fc.nat(3), turns: fc.nat(8) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rename' as const), name: fc.constantFrom('s', 't') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('throttle' as const), most: fc.integer({ min: 1, max: 3 }) }) },
)

async function perform(one: typeof step extends fc.Arbitrary<infer T> ? T : never): Promise<void> {
  if (one.do === 'start') for (let n = 0; n < one.many; n++) start()
  else if (one.do === 'start-alone') start(one.late ? 'late' : 'some')
  else if (one.do === 'rename') rename(one.name)
  else if (one.do === 'throttle') engine.throttle(one.most)
  else if (one.do === 'time') vi.advanceTimersByTime(one.ms)
  else if (one.do === 'stop') {
    const job = jobs[one.at % Math.max(jobs.length, 1)]
    if (!job) return
    stop(job, one.grace)
  } else {
    const alive = workers.filter(({ dead, up }) => !dead || up.length > 0)
    const worker = alive[one.at % Math.max(alive.length, 1)]
    if (!worker) return
    if (one.do === 'down') worker.deliverDown()
    else if (one.do === 'up') worker.deliverUp()
    else if (one.do === 'commands') worker.deliverCommands()
    else if (one.do === 'completed') worker.end('completed')
    else if (one.do === 'failed') worker.end('failed')
    else if (one.do === 'die' && worker.engine.now) {
      // What runs in it ends it.
      await worker.die()
      // Somebody starts one while the news spreads.
      for (let n = 0; n < one.turns; n++) await Promise.resolve()
      start()
    }
  }
}

describe('whatever falls together', () => {
  test('each job begins at most once and ends once, as its worker ended it; none is lost', async () => {
    const cases = fc.record({
      count: fc.integer({ min: 1, max: 3 }),
      midway: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, fc.constant(true)),
      steps: fc.array(fc.tuple(step, fc.boolean()), { minLength: 5, maxLength: 60 }),
    })
    await fc.assert(
      fc.asyncProperty(cases, async ({ count, midway, steps }) => {
        threads(count)
        for (const [one, settled] of steps) {
          await perform(one)
          if (settled) await turn()
        }
        if (midway) {
          await end()
          expect(wrong).toEqual([])
          expect(jobs.map(({ endings }) => endings.length)).toEqual(jobs.map(() => 1))
          return
        }
        await settle()
        expectOrder()
        // One thread: in the order they came.
        if (count === 1 && !steps.some(([one]) => one.do === 'throttle'))
          expect(order).toEqual(order.toSorted((a, b) => a - b))
        await end()
      }),
      { numRuns: 200 },
    )
  })
})
