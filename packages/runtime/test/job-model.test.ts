// A job against a plain model of what is promised of it (docs: G3, G5, G6, G7), over an engine that says anything in any
// order; and a parent against the rules by which its children are folded. What fails prints the seed and the path to it.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isFinished } from '../src/child-jobs.ts'
import { InvalidAnswerError } from '../src/errors.ts'
import type { Ending } from '../src/job-machine.ts'
import type { JobHost } from '../src/job.ts'
import { singleRecord } from '../src/record.ts'
import type { JobSnapshot, JobState } from '../src/surface.ts'
import {
  chunkOf,
  Outcomes,
  questionOf,
  scriptedJob,
  ScriptedEngine,
  type ScriptedExecution,
  settled,
  SlowLog,
} from './support/scripted-engine.ts'

const GONE = new Error('the link is gone')
const REQUEST = { grace: 0, reason: 'enough' }
/** History keeps at most so many. */
const HISTORY = 32

// ── the model ─────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Pending {
  readonly index: number
  told: boolean
}

class Model {
  readonly queued: boolean
  state: JobState = 'NotStarted'
  readonly history: JobState[] = ['NotStarted']
  launched = false
  begun = false
  ended = false
  /** Open ones, oldest first. */
  questions: string[] = []
  reachable = false
  stopped = false
  records = 0
  errors = 0
  taken = 0
  sent = 0
  reason: string | undefined
  exitCode: number | undefined
  readonly outcomes: string[] = []
  readonly calls = { stop: 0, suspend: 0, resume: 0, answer: 0 }
  readonly answers = new Map<string, Pending[]>()
  /** Who waits for the end, and who for it to stand still. */
  stops: number[] = []
  suspends: number[] = []

  constructor(queued: boolean) {
    this.queued = queued
  }

  get live(): boolean {
    return this.state === 'Running' || this.state === 'Blocked'
  }

  promise(outcome = 'pending'): number {
    return this.outcomes.push(outcome) - 1
  }

  enter(state: JobState): void {
    if (state === this.state) return
    this.state = state
    this.history.push(state)
    if (this.live) return
    for (const index of this.suspends.splice(0)) this.outcomes[index] = 'ok'
  }

  run(): void {
    this.enter(this.questions.length > 0 ? 'Blocked' : 'Running')
  }

  begin(): void {
    if (!this.begun && this.state === 'NotStarted') this.run()
    this.begun = true
  }

  back(): void {
    this.reason = undefined
    this.run()
    if (this.stopped) this.halt()
  }

  halt(): void {
    this.enter('Stopping')
    if (this.launched) this.calls.stop++
    else this.end({ outcome: 'stopped' })
  }

  /** The first of those who answered is heard, as far as the job can be reached. */
  hear(question: string): void {
    const waiting = this.answers.get(question) ?? []
    for (let first = waiting[0]; first && !first.told; first = waiting[0]) {
      if (this.state === 'Disconnected' && !this.reachable) {
        this.outcomes[first.index] = 'PEER_UNREACHABLE'
        waiting.shift()
        continue
      }
      if (this.state === 'Disconnected') this.back()
      first.told = true
      this.calls.answer++
    }
  }

  close(question: string, outcome: string): void {
    this.questions = this.questions.filter((one) => one !== question)
    const [first, ...others] = this.answers.get(question) ?? []
    if (first) this.outcomes[first.index] = outcome
    for (const { index } of others) this.outcomes[index] = 'QUESTION_ANSWERED'
    this.answers.delete(question)
  }

  end(ending: Ending): void {
    this.ended = true
    for (const question of this.questions) this.close(question, 'QUESTION_ANSWERED')
    if (ending.outcome === 'failed' && !ending.said) {
      this.records++
      this.errors++
    }
    this.exitCode = ending.exitCode
    this.reason = ending.outcome === 'completed' ? undefined : ending.error?.message
    if (ending.outcome === 'stopped' && this.stopped) this.reason = REQUEST.reason
    this.enter(FINAL[ending.outcome])
    for (const index of this.stops.splice(0)) this.outcomes[index] = 'ok'
  }
}

const FINAL = { completed: 'Completed', failed: 'Failed', stopped: 'Stopped' } as const

class Real {
  readonly engine: ScriptedEngine
  readonly host: JobHost
  readonly outcomes = new Outcomes()
  /** The last that a listener heard. */
  told: JobSnapshot
  finished: JobSnapshot | undefined

  constructor(queued: boolean) {
    this.engine = new ScriptedEngine(() => queued)
    this.host = scriptedJob({ engine: this.engine })
    this.told = this.host.snapshot()
    this.host.watch((snapshot) => (this.told = snapshot))
    void this.host.finished.then((snapshot) => (this.finished = snapshot))
  }

  get execution(): ScriptedExecution {
    return this.engine.of(this.host)
  }
}

/** The oldest ones say how it began; of the others the latest are kept. */
function kept(history: readonly JobState[]): readonly JobState[] {
  return history.length <= HISTORY ? history : [...history.slice(0, 2), ...history.slice(2 - HISTORY)]
}

function agree(model: Model, { host, engine, outcomes, told, finished }: Real): void {
  const snapshot = host.snapshot()
  const calls = engine.executions.flatMap((execution) => execution.calls)
  const count = (what: string): number => calls.filter((call) => call.startsWith(what)).length
  const over = isFinished(model.state)
  const question = model.questions[0]
  const hasMoreData = !over || model.taken < model.records
  expect({
    state: snapshot.state,
    history: snapshot.history.map(({ state }) => state),
    question: snapshot.question?.id,
    hasMoreData: snapshot.hasMoreData,
    errorCount: snapshot.errorCount,
    exitCode: snapshot.exitCode,
    reason: snapshot.reason?.message,
    begun: snapshot.begunAt !== undefined,
    ended: snapshot.endedAt !== undefined,
    records: host.log!.end,
    sealed: host.log!.sealed,
    finished: finished?.state,
    told: { state: told.state, hasMoreData: told.hasMoreData, question: told.question?.id },
    outcomes: outcomes.all,
    calls: { stop: count('stop'), suspend: count('suspend'), resume: count('resume'), answer: count('answer') },
    inputs: count('input'),
    executions: engine.executions.length,
  }).toEqual({
    state: model.state,
    history: kept(model.history),
    question,
    hasMoreData,
    errorCount: model.errors,
    exitCode: model.exitCode,
    reason: model.reason,
    begun: model.begun,
    ended: over,
    records: model.records,
    sealed: over,
    finished: over ? model.state : undefined,
    told: { state: model.state, hasMoreData, question },
    outcomes: model.outcomes,
    calls: model.calls,
    inputs: model.launched ? model.sent : 0,
    executions: model.launched ? 1 : 0,
  })
  const times = snapshot.history.map(({ at }) => at.getTime())
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  if (over) expect(snapshot.endedAt).toEqual(snapshot.history.at(-1)!.at)
  if (over && model.begun) expect(snapshot.endedAt!.getTime()).toBeGreaterThanOrEqual(snapshot.begunAt!.getTime())
}

/** One thing that happens to both, after which they agree. */
class Step implements fc.AsyncCommand<Model, Real> {
  readonly #name: string
  readonly #act: (model: Model, real: Real) => void
  readonly #may: (model: Readonly<Model>) => boolean

  constructor(name: string, act: (model: Model, real: Real) => void, may: (model: Readonly<Model>) => boolean) {
    this.#name = name
    this.#act = act
    this.#may = may
  }

  check(model: Readonly<Model>): boolean {
    return this.#may(model)
  }

  async run(model: Model, real: Real): Promise<void> {
    this.#act(model, real)
    await settled()
    agree(model, real)
  }

  toString(): string {
    return this.#name
  }
}

const runs = (model: Readonly<Model>): boolean => model.launched && !model.ended
const always = (): boolean => true

// ── what an engine says ───────────────────────────────────────────────────────────────────────────────────────────────

const chunk = (count: number, errors: number): Step =>
  new Step(
    `chunk of ${count}, ${errors} errors`,
    (model, real) => {
      model.records += count
      model.errors += errors
      real.execution.io.chunk(chunkOf(count, errors))
    },
    runs,
  )

const begun = new Step(
  'begun',
  (model, real) => {
    model.begin()
    real.execution.io.begun?.()
  },
  runs,
)

const asked = (id: string): Step =>
  new Step(
    `asked ${id}`,
    (model, real) => {
      if (!model.questions.includes(id)) model.questions.push(id)
      if (model.state === 'Running') model.run()
      real.execution.io.asked?.(questionOf(id))
    },
    runs,
  )

const answered = (id: string): Step =>
  new Step(
    `answered ${id}`,
    (model, real) => {
      model.close(id, 'ok')
      if (model.state === 'Blocked') model.run()
      real.execution.io.answered?.(id)
    },
    runs,
  )

/** An engine refuses only what it was told. */
const refused = (id: string): Step =>
  new Step(
    `refused ${id}`,
    (model, real) => {
      const first = model.answers.get(id)!.shift()!
      model.outcomes[first.index] = 'INVALID_ANSWER'
      model.hear(id)
      real.execution.io.answered?.(id, new InvalidAnswerError(['it does not fit']))
    },
    (model) => runs(model) && model.questions.includes(id) && model.answers.get(id)?.[0]?.told === true,
  )

const suspended = new Step(
  'suspended',
  (model, real) => {
    if (model.live) model.enter('Suspended')
    real.execution.io.suspended?.()
  },
  runs,
)

const lost = new Step(
  'lost',
  (model, real) => {
    model.enter('Disconnected')
    model.reason = GONE.message
    real.execution.lose(GONE)
  },
  runs,
)

const back = new Step(
  'back',
  (model, real) => {
    model.back()
    real.execution.back()
  },
  (model) => runs(model) && model.state === 'Disconnected',
)

const ended = (ending: Ending): Step =>
  new Step(
    `ended ${ending.outcome}`,
    (model, real) => {
      model.end(ending)
      real.execution.io.ended(ending)
    },
    runs,
  )

// ── what users ask for ────────────────────────────────────────────────────────────────────────────────────────────────

const launch = new Step(
  'launch',
  (model, real) => {
    real.host.start()
    if (model.state !== 'NotStarted') return
    model.launched = true
    if (!model.queued) model.begin()
  },
  (model) => !model.launched,
)

const reach = (reachable: boolean): Step =>
  new Step(
    reachable ? 'it can be reached' : 'it cannot be reached',
    (model, real) => {
      model.reachable = reachable
      real.execution.reach = reachable ? 'reachable' : 'unreachable'
    },
    runs,
  )

const stop = new Step(
  'stop',
  (model, real) => {
    real.outcomes.follow(() => real.host.stop(REQUEST))
    if (isFinished(model.state)) return void model.promise('ok')
    if (model.state === 'Disconnected') {
      if (!model.reachable) return void model.promise('PEER_UNREACHABLE')
      model.back()
    }
    model.stopped = true
    model.stops.push(model.promise())
    model.halt()
  },
  always,
)

const suspend = new Step(
  'suspend',
  (model, real) => {
    real.outcomes.follow(() => real.host.standStill())
    if (model.state === 'Suspended') return void model.promise('ok')
    if (!model.live) return void model.promise('JOB_STATE')
    model.suspends.push(model.promise())
    model.calls.suspend++
  },
  always,
)

const resume = new Step(
  'resume',
  (model, real) => {
    real.outcomes.follow(() => real.host.goOn())
    if (model.state !== 'Suspended') return void model.promise('JOB_STATE')
    model.promise('ok')
    model.run()
    model.calls.resume++
  },
  always,
)

const answer = (id: string): Step =>
  new Step(
    `answer ${id}`,
    (model, real) => {
      real.outcomes.follow(() => real.host.answer(new Uint8Array([1]), id))
      if (!model.questions.includes(id)) return void model.promise('QUESTION_ANSWERED')
      const waiting = model.answers.get(id) ?? []
      model.answers.set(id, waiting)
      waiting.push({ index: model.promise(), told: false })
      model.hear(id)
    },
    always,
  )

const input = new Step(
  'input',
  (model, real) => {
    real.outcomes.follow(() => real.host.input(chunkOf(1)))
    model.promise(model.ended ? 'INPUT_CLOSED' : 'ok')
    if (!model.ended) model.sent++
  },
  always,
)

const take = (count: number): Step =>
  new Step(
    `take ${count}`,
    (model, real) => {
      model.taken = Math.min(model.records, model.taken + count)
      void real.host.log!.acknowledge('owner', model.taken)
    },
    always,
  )

const endings: Ending[] = [
  { outcome: 'completed' },
  { outcome: 'completed', exitCode: 0 },
  { outcome: 'failed', error: new Error('it broke') },
  { outcome: 'failed', error: new Error('it said so'), said: true, exitCode: 3 },
  { outcome: 'stopped' },
  { outcome: 'stopped', error: new Error('by another'), exitCode: 143 },
]
const id = fc.constantFrom('1', '2')
/** What ends a life comes seldom enough for one. */
const often = [
  id.map(asked),
  id.map(answered),
  id.map(answer),
  id.map(refused),
  fc.tuple(fc.integer({ min: 1, max: 3 }), fc.nat(1)).map(([count, errors]) => chunk(count, errors)),
  fc.integer({ min: 1, max: 4 }).map(take),
  fc.constantFrom(suspend, suspended, resume, resume),
  fc.constantFrom(lost, back, back),
]
const steps = [
  ...often,
  ...often,
  fc.boolean().map(reach),
  fc.constantFrom(launch, begun, begun, input),
  fc.oneof(fc.constant(stop), fc.constantFrom(...endings).map(ended), fc.constant(begun)),
]

describe('a job and its model', () => {
  test('agree after every step, whatever an engine says and users ask for', async () => {
    const property = fc.asyncProperty(
      fc.constantFrom('not launched', 'queued', 'launched', 'launched'),
      fc.commands(steps, { maxCommands: 40, size: 'max' }),
      async (begins, commands) => {
        const model = new Model(begins === 'queued')
        const real = new Real(begins === 'queued')
        if (begins !== 'not launched') await launch.run(model, real)
        await fc.asyncModelRun(() => ({ model, real }), commands)
        // In the end nobody waits any more.
        for (const last of [launch, ended({ outcome: 'completed' }), stop]) {
          if (last.check(model)) await last.run(model, real)
        }
        expect(real.outcomes.all).not.toContain('pending')
      },
    )
    await fc.assert(property, { numRuns: 150 })
  })

  test('P9 begun when it runs and not before; ended not before the end, and not before it began', async () => {
    const engine = new ScriptedEngine(() => true)
    const host = scriptedJob({ engine })
    host.start()
    expect([host.state, host.snapshot().begunAt, host.snapshot().endedAt]).toEqual(['NotStarted', undefined, undefined])
    engine.of(host).io.begun?.()
    expect([host.state, host.snapshot().begunAt]).toEqual(['Running', expect.any(Date)])
    expect(host.snapshot().endedAt).toBeUndefined()
    engine.of(host).io.ended({ outcome: 'completed' })
    const { begunAt, endedAt } = await host.finished
    expect(endedAt!.getTime()).toBeGreaterThanOrEqual(begunAt!.getTime())
  })

  test('of a life of a thousand states the first ones and the latest are kept', async () => {
    const engine = new ScriptedEngine()
    const host = scriptedJob({ engine })
    host.start()
    for (let n = 0; n < 500; n++) {
      engine.of(host).lose(GONE)
      engine.of(host).back()
    }
    engine.of(host).io.ended({ outcome: 'completed' })
    const states = (await host.finished).history.map(({ state }) => state)
    expect(states).toHaveLength(HISTORY)
    expect([...states.slice(0, 2), ...states.slice(-3)]).toEqual([
      'NotStarted',
      'Running',
      'Disconnected',
      'Running',
      'Completed',
    ])
  })

  test('P130 a stop of what cannot be reached is refused and changes nothing; of what can, it stops', async () => {
    const engine = new ScriptedEngine()
    const host = scriptedJob({ engine })
    host.start()
    const execution = engine.of(host)
    execution.lose(GONE)
    await expect(host.stop(REQUEST)).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
    expect([host.state, execution.calls]).toEqual(['Disconnected', []])
    execution.reach = 'reachable'
    const stopping = host.stop(REQUEST)
    await settled()
    expect([host.state, execution.calls]).toEqual(['Stopping', ['stop']])
    // Lost again before it could stop: it is not stopped, and will be when it is back.
    execution.lose(GONE)
    expect(host.state).toBe('Disconnected')
    execution.back()
    expect([host.state, execution.calls]).toEqual(['Stopping', ['stop', 'stop']])
    execution.io.ended({ outcome: 'stopped' })
    expect((await stopping).history.map(({ state }) => state)).toEqual([
      'NotStarted',
      'Running',
      'Disconnected',
      'Running',
      'Stopping',
      'Disconnected',
      'Running',
      'Stopping',
      'Stopped',
    ])
  })

  test('P10 finished is heard of after every listener was told; one that throws does no harm to the others', async () => {
    const engine = new ScriptedEngine()
    const host = scriptedJob({ engine })
    const heard: string[] = []
    host.watch(({ state }) => {
      if (isFinished(state)) throw new Error('a listener of no use')
    })
    host.watch(({ state }) => heard.push(state))
    const finished = host.finished.then(({ state }) => heard.push(`finished ${state}`))
    host.start()
    await settled()
    engine.of(host).io.ended({ outcome: 'completed' })
    await finished
    await settled()
    expect(heard).toEqual(['Running', 'Completed', 'finished Completed'])
  })
})

// ── races ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

describe('races', () => {
  const said = fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 1, max: 3 }).map((count) => ({ count })) },
    {
      weight: 7,
      arbitrary: fc.constantFrom(...(['asked', 'asked', 'answered', 'suspended', 'lost', 'lost', 'back'] as const)),
    },
    { weight: 1, arbitrary: fc.constantFrom(...endings) },
  )
  const wanted = fc.constantFrom(...(['stop', 'suspend', 'resume', 'answer', 'answer', 'input'] as const))

  test('of engine, users, line and disk: one ending, after the last record is durable, and nobody is left waiting', async () => {
    const property = fc.asyncProperty(
      fc.scheduler(),
      fc.array(said, { minLength: 1, maxLength: 16, size: 'max' }),
      fc.array(wanted, { maxLength: 10, size: 'max' }),
      fc.boolean(),
      async (scheduler, sayings, wishes, reachable) => {
        const log = new SlowLog(() => scheduler.schedule(Promise.resolve(), 'disk'))
        const engine = new ScriptedEngine()
        const host = scriptedJob({ engine }, log)
        const outcomes = new Outcomes()
        const told: { state: JobState; durable: boolean }[] = []
        host.watch(({ state }) => told.push({ state, durable: log.accepted === log.end && host.log!.sealed }))
        host.start()
        const execution = engine.of(host)
        execution.reach = reachable ? 'reachable' : 'unreachable'
        execution.line = () => scheduler.schedule(Promise.resolve(), 'line')
        let records = 0
        let ending: Ending | undefined
        /** What an engine may say: nothing after its ending. */
        const say = (what: (typeof sayings)[number]): void => {
          if (ending) return
          if (typeof what === 'object' && 'count' in what) {
            records += what.count
            execution.io.chunk(chunkOf(what.count))
          } else if (typeof what === 'object') {
            ending = what
            if (what.outcome === 'failed' && !what.said) records++
            execution.io.ended(what)
          } else if (what === 'asked') execution.io.asked?.(questionOf('1'))
          else if (what === 'answered') execution.io.answered?.('1')
          else if (what === 'suspended') execution.io.suspended?.()
          else if (what === 'lost') execution.lose(GONE)
          else if (host.state === 'Disconnected') execution.back()
        }
        const want = {
          stop: () => host.stop(REQUEST),
          suspend: () => host.standStill(),
          resume: () => host.goOn(),
          answer: () => host.answer(new Uint8Array([1]), '1'),
          input: () => host.input(chunkOf(1)),
        }
        scheduler.scheduleSequence(
          sayings.map((what) => ({ label: JSON.stringify(what), builder: async () => say(what) })),
        )
        scheduler.scheduleSequence(
          wishes.map((wish) => ({ label: wish, builder: async () => outcomes.follow(want[wish]) })),
        )
        const quiet = async (): Promise<void> => {
          do {
            await scheduler.waitIdle()
            await settled()
          } while (scheduler.count() > 0)
        }
        await quiet()
        if (!ending) {
          say({ outcome: 'completed' })
          await quiet()
        }
        const final = FINAL[ending!.outcome]
        const last = await Promise.race([host.finished, settled().then(() => undefined)])
        expect([last?.state, host.state, host.log!.end, log.accepted]).toEqual([final, final, records, records])
        const history = last!.history.map(({ state }) => state)
        expect(history.filter(isFinished)).toEqual([final])
        expect(history.at(-1)).toBe(final)
        const first = told.findIndex(({ state }) => isFinished(state))
        expect(told.slice(first)).not.toEqual([])
        for (const one of told.slice(first)) expect(one).toEqual({ state: final, durable: true })
        expect(outcomes.all).not.toContain('pending')
      },
    )
    await fc.assert(property, { numRuns: 150 })
  })

  /** It asked and is lost; somebody wants something of it, and that takes as long as the line. */
  const overTheLine = async (reach: 'reachable' | 'unreachable', act: (host: JobHost) => Promise<unknown>) => {
    const engine = new ScriptedEngine()
    const host = scriptedJob({ engine })
    host.start()
    const execution = engine.of(host)
    const line = Promise.withResolvers<void>()
    execution.line = () => line.promise
    execution.reach = reach
    execution.io.asked?.(questionOf('1'))
    execution.lose(GONE)
    const outcomes = new Outcomes()
    outcomes.follow(() => act(host))
    await settled()
    const arrive = async (): Promise<string[]> => {
      line.resolve()
      await settled()
      return outcomes.all
    }
    return { host, execution, arrive }
  }
  const answering = (host: JobHost): Promise<void> => host.answer(new Uint8Array([1]), '1')

  test.each(['reachable', 'unreachable'] as const)(
    'a stop is on its way, and the job ends: stopped or not, it is over; %s',
    async (reach) => {
      const { host, execution, arrive } = await overTheLine(reach, (job) => job.stop(REQUEST))
      execution.io.ended({ outcome: 'completed' })
      expect([await arrive(), host.state]).toEqual([['ok'], 'Completed'])
    },
  )

  test('an answer is on its way, and the job ends, or another answers it there: it came too late', async () => {
    const late = await overTheLine('reachable', answering)
    late.execution.io.ended({ outcome: 'completed' })
    expect(await late.arrive()).toEqual(['QUESTION_ANSWERED'])
    const second = await overTheLine('reachable', answering)
    second.execution.io.answered?.('1')
    expect([await second.arrive(), second.execution.calls]).toEqual([['QUESTION_ANSWERED'], []])
  })
})

// ── what an engine must not do ────────────────────────────────────────────────────────────────────────────────────────

describe('an engine that breaks its word', () => {
  const late: Record<string, (execution: ScriptedExecution) => void> = {
    'a second ending': ({ io }) => io.ended({ outcome: 'completed', exitCode: 9 }),
    'a chunk': ({ io }) => io.chunk(chunkOf(2, 1)),
    'that it has begun': ({ io }) => io.begun?.(),
    'its process id': ({ io }) => io.started?.(4711),
    'a question': ({ io }) => io.asked?.(questionOf('9')),
    'that it stands still': ({ io }) => io.suspended?.(),
    'that it is lost': (execution) => execution.lose(GONE),
    'that it is back': (execution) => execution.back(),
  }
  /** One life to its end, and what is to be seen of it then. */
  const life = async (
    ending: Ending,
    say?: (execution: ScriptedExecution) => void,
    later = false,
  ): Promise<unknown> => {
    const engine = new ScriptedEngine()
    const host = scriptedJob({ engine })
    host.start()
    const execution = engine.of(host)
    execution.io.chunk(chunkOf(2))
    execution.io.ended(ending)
    if (!later) say?.(execution)
    await host.finished
    await settled()
    const told: JobState[] = []
    host.watch(({ state }) => told.push(state))
    if (later) say?.(execution)
    await settled()
    // A reader that moves on makes a new snapshot of it.
    await host.log!.acknowledge('owner', 1)
    const { state, reason, exitCode, question, history, errorCount, pid, hasMoreData } = host.snapshot()
    const { end: records, sealed } = host.log!
    const states = history.map((one) => one.state)
    return { state, reason, exitCode, question, states, errorCount, pid, hasMoreData, records, sealed, told }
  }
  test.each(Object.entries(late))('says %s after its ending: nobody hears it', async (_, say) => {
    for (const ending of endings) {
      const right = await life(ending)
      expect(await life(ending, say), `after it ${ending.outcome}, in the same turn`).toEqual(right)
      expect(await life(ending, say, true), `after it ${ending.outcome}, later`).toEqual(right)
    }
  })

  test('begins twice: once', () => {
    const engine = new ScriptedEngine(() => true)
    const host = scriptedJob({ engine })
    host.start()
    engine.of(host).io.begun?.()
    const { begunAt } = host.snapshot()
    engine.of(host).io.begun?.()
    expect(host.snapshot().begunAt).toBe(begunAt)
    expect(host.snapshot().history.map(({ state }) => state)).toEqual(['NotStarted', 'Running'])
  })

  test('asks or is lost before it says that it has begun: that shows', async () => {
    const asking = scriptedJob({ engine: new ScriptedEngine(() => true) })
    asking.start()
    const one = (asking.engine as ScriptedEngine).of(asking)
    one.io.asked?.(questionOf('1'))
    one.io.begun?.()
    expect([asking.state, asking.question?.id]).toEqual(['Blocked', '1'])
    const lost = scriptedJob({ engine: new ScriptedEngine(() => true) })
    lost.start()
    const other = (lost.engine as ScriptedEngine).of(lost)
    other.lose(GONE)
    other.io.begun?.()
    expect(lost.state).toBe('Disconnected')
    other.back()
    expect(lost.state).toBe('Running')
  })

  const broken = { start: 'Failed', stop: 'Failed', suspend: 'Failed', resume: 'Failed' } as const
  test.each(Object.entries(broken))('throws from %s: the job ends %s, and says why', async (what, state) => {
    const fault = (): never => {
      throw new Error(`${what} is broken`)
    }
    const engine = new ScriptedEngine(() => false, { [what]: fault })
    if (what === 'start') engine.start = fault
    const host = scriptedJob({ engine })
    host.start()
    if (what === 'stop') void host.stop(REQUEST)
    if (what === 'suspend') host.standStill().catch(() => undefined)
    if (what === 'resume') {
      engine.of(host).io.suspended?.()
      try {
        host.goOn()
      } catch {
        // said to whoever asked as well
      }
    }
    await settled()
    expect([host.state, host.snapshot().reason?.message]).toEqual([state, `${what} is broken`])
    expect((await host.finished).state).toBe(state)
  })
})

test('what a job fails of is the last record of its log, unless the engine has said it', async () => {
  const ends = async (ending: Ending): Promise<number> => {
    const engine = new ScriptedEngine()
    const host = scriptedJob({ engine })
    host.start()
    engine.of(host).io.chunk(singleRecord('output', 1))
    engine.of(host).io.ended(ending)
    await host.finished
    return host.log!.end
  }
  const error = new Error('no')
  expect(await ends({ outcome: 'failed', error })).toBe(2)
  expect(await ends({ outcome: 'failed', error, said: true })).toBe(1)
  expect(await ends({ outcome: 'completed' })).toBe(1)
})
