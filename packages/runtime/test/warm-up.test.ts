// What a spare process does while nobody needs it: when, how often, and that nobody hears of it.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from '../src/engine/engine.ts'
import { warming } from '../src/engine/warm-up.ts'
import type { Ending } from '../src/job-machine.ts'
import { recordsOf } from '../src/record.ts'

/** As the warm-up has them. */
const IDLE_MS = 25
const ROUNDS = 3
const ROUND_RECORDS = 6_000
const LONG_MS = 5_000

describe('the warm-up of an engine', () => {
  const COMPLETED: Ending = { outcome: 'completed', streamed: true }
  interface Started {
    readonly spec: ExecutionSpec
    readonly io: ExecutionIO
    readonly execution: Execution & { credit: ReturnType<typeof vi.fn>; stop: ReturnType<typeof vi.fn> }
  }
  let started: Started[]
  let disposed: number
  let engine: Engine

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    started = []
    disposed = 0
    engine = warming({
      start(spec, io) {
        const execution = { credit: vi.fn(), stop: vi.fn() }
        started.push({ spec, io, execution })
        return execution
      },
      async [Symbol.asyncDispose]() {
        disposed++
      },
    })
  })
  afterEach(() => void vi.useRealTimers())

  /** Time passes; each round ends as soon as it has begun. */
  function pass(ms: number, ending: Ending = COMPLETED): void {
    for (let at = 0, ended = 0; at < ms; at++) {
      vi.advanceTimersByTime(1)
      for (; ended < started.length; ended++) started[ended]!.io.ended(ending)
    }
  }
  const job = { job: 'mine' } as ExecutionSpec
  const io: ExecutionIO = { chunk() {}, ended() {} }

  test('begins when nobody has come for a while, has all its rounds, and leaves nothing behind', () => {
    vi.advanceTimersByTime(IDLE_MS - 1)
    expect(started).toHaveLength(0)
    pass(1_000)
    expect(started).toHaveLength(ROUNDS)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('reads what its script says, so that the script goes on', () => {
    vi.advanceTimersByTime(IDLE_MS)
    const [round] = started
    round!.io.chunk({ count: 2, errors: 0, bytes: new Uint8Array(7) })
    expect(round!.execution.credit).toHaveBeenCalledExactlyOnceWith(7)
  })

  test('does not begin where somebody comes before, and what he starts is what is started', () => {
    vi.advanceTimersByTime(IDLE_MS - 1)
    const execution = engine.start(job, io)
    pass(LONG_MS)
    expect(started).toHaveLength(1)
    expect(started[0]!.spec).toBe(job)
    expect(started[0]!.io).toBe(io)
    expect(execution).toBe(started[0]!.execution)
    expect(vi.getTimerCount()).toBe(0)
  })

  test.each(['in the middle of a round', 'between two rounds'])('is over when somebody comes %s', (when) => {
    vi.advanceTimersByTime(IDLE_MS)
    expect(started).toHaveLength(1)
    if (when === 'between two rounds') started[0]!.io.ended(COMPLETED)
    engine.start(job, io)
    if (when === 'in the middle of a round') started[0]!.io.ended(COMPLETED)
    vi.advanceTimersByTime(LONG_MS)
    expect(started.map(({ spec }) => spec.job)).toEqual(['', 'mine'])
    // The job has the process to itself; a round that has ended is left alone.
    expect(started[0]!.execution.stop).toHaveBeenCalledTimes(when === 'in the middle of a round' ? 1 : 0)
    expect(started[1]!.execution.stop).not.toHaveBeenCalled()
    expect(vi.getTimerCount()).toBe(0)
  })

  test.each(['before it', 'in the middle of a round', 'between two rounds'])(
    'ends with its engine: %s',
    async (when) => {
      if (when !== 'before it') vi.advanceTimersByTime(IDLE_MS)
      if (when === 'between two rounds') started[0]!.io.ended(COMPLETED)
      await engine[Symbol.asyncDispose]()
      if (when === 'in the middle of a round') started[0]!.io.ended(COMPLETED)
      expect(disposed).toBe(1)
      expect(vi.getTimerCount()).toBe(0)
      vi.advanceTimersByTime(LONG_MS)
      expect(started).toHaveLength(when === 'before it' ? 0 : 1)
    },
  )

  test('harms nobody by failing, whatever it failed with', () => {
    const error = Object.assign(new Error('no'), { circumstances: () => 'none that can be sent' })
    pass(1_000, { outcome: 'failed', error })
    expect(started).toHaveLength(ROUNDS)
  })
})

const source = (file: string): string => JSON.stringify(fileURLToPath(new URL(`../src/${file}`, import.meta.url)))

/** A host of scripts that is given two jobs as soon as it has begun to warm up, and tells what came of it. */
const PROGRAM = `
  const { warming } = await import(${source('engine/warm-up.ts')})
  const { ScriptHost } = await import(${source('engine/script-host.ts')})
  const surroundings = () => ({ names: Reflect.ownKeys(globalThis).map(String), env: { ...process.env }, cwd: process.cwd() })
  const host = new ScriptHost({ session() {}, ownsProcess: true })
  const before = surroundings()
  const told = { besides: 0, chunks: [] }
  const work = (source) => ({ startId: '', kind: 'function', command: '', source: String(source) })
  const spec = (source) => ({ job: 'mine', location: 'here', session: {}, work: work(source) })
  const jobs = () => {
    const first = Promise.withResolvers()
    const execution = engine.start(spec(script), {
      chunk({ count, errors, bytes }) {
        told.chunks.push({ count, errors, bytes: Buffer.from(bytes).toString('base64') })
        execution.credit(bytes.byteLength)
      },
      ended: first.resolve,
    })
    const second = Promise.withResolvers()
    engine.start(spec(endless), { chunk() {}, ended: second.resolve }).stop({ grace: 0 })
    return Promise.all([first.promise, second.promise])
  }
  const script = async function* (ctx) {
    for (let n = 0; n < 5; n++) {
      yield n
      console.log('said', n)
      process.stdout.write('written ' + n)
      ctx.warn(n)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    yield { names: Reflect.ownKeys(globalThis).map(String), env: { ...process.env }, cwd: process.cwd() }
  }
  const endless = function* () { for (;;) yield 0 }
  const all = Promise.withResolvers()
  let rounds = 0
  const engine = warming({
    start(spec, io) {
      if (spec.job !== '') return host.start(spec, io)
      const chunk = (said) => {
        if (told.besides === 0) all.resolve(jobs())
        told.besides += said.count
        io.chunk(said)
      }
      rounds++
      return host.start(spec, { ...io, chunk })
    },
  })
  // The warm-up keeps no process.
  const hold = setInterval(() => {}, 1_000)
  const endings = await all.promise
  clearInterval(hold)
  console.log(JSON.stringify({ ...told, rounds, before, outcomes: endings.map(({ outcome }) => outcome) }))
`

test('a job that comes in the middle of the warm-up gives its own records and no other, and finds nothing of it', async () => {
  const flags = [
    '--conditions=source',
    '--disable-warning=ExperimentalWarning',
    '--input-type=module',
    '--eval',
    PROGRAM,
  ]
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] })
  const output = Buffer.concat(await child.stdout.toArray()).toString()
  const lines = output.trimEnd().split('\n')
  // Nothing of it is on the process's own stdout either.
  expect(lines).toHaveLength(1)
  const { besides, chunks, rounds, before, outcomes } = JSON.parse(lines[0]!)
  let first = 0
  const records = chunks.flatMap((chunk: { count: number; errors: number; bytes: string }) => {
    const at = first
    first += chunk.count
    const bytes = Buffer.from(chunk.bytes, 'base64')
    return recordsOf({ ...chunk, bytes, first: at, from: at, job: 'mine', location: 'here' })
  })
  // It had begun, was stopped in its middle, and the other rounds never came.
  expect(besides).toBeGreaterThan(0)
  expect(besides).toBeLessThan(ROUND_RECORDS)
  expect(rounds).toBe(1)
  expect(outcomes).toEqual(['completed', 'stopped'])
  const said = [0, 1, 2, 3, 4].flatMap((n) => [
    ['output', n],
    ['information', `said ${n}`],
    ['information', `written ${n}`],
    ['warning', n],
  ])
  const found = records.pop()
  expect(records.map(({ kind, value }: { kind: string; value: unknown }) => [kind, value])).toEqual(said)
  expect(found.value).toEqual(before)
})
