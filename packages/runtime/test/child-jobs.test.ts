// A parent is a fold of its children: the fold itself, and parents of real jobs over an engine that says what a test wants.
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { foldChildren, isFinished } from '../src/child-jobs.ts'
import { ChildJobError } from '../src/errors.ts'
import type { JobHost } from '../src/job.ts'
import type { JobState } from '../src/surface.ts'
import {
  chunkOf,
  Outcomes,
  questionOf,
  type ScriptedExecution,
  scriptedFamily,
  settled,
} from './support/scripted-engine.ts'

const STATES: readonly JobState[] = [
  'NotStarted',
  'Running',
  'Blocked',
  'Suspended',
  'Disconnected',
  'Stopping',
  'Completed',
  'Failed',
  'Stopped',
]
const FINAL: readonly JobState[] = ['Completed', 'Failed', 'Stopped']
const GONE = new Error('the link is gone')
const REQUEST = { grace: 0 }

/**
 * The rules of PowerShell's parent, counted as it counts. What it does not know: children that stand still, a parent that
 * is Stopping. Where we differ: all children stopped one by one make it Stopped, and a stop that came too late for every
 * child leaves it Completed.
 */
function counted(states: readonly JobState[], stopped: boolean, held = false): JobState {
  const all = states.length
  const count = (...which: JobState[]): number => states.filter((state) => which.includes(state)).length
  const finished = count(...FINAL)
  if (finished === all) {
    if (count('Failed') > 0) return 'Failed'
    if (stopped ? count('Stopped') > 0 : all > 0 && count('Stopped') === all) return 'Stopped'
    return 'Completed'
  }
  if (finished + count('Disconnected') === all) return 'Disconnected'
  if (stopped) return 'Stopping'
  if (count('Disconnected') > 0 && finished + count('Disconnected', 'Blocked', 'Suspended') === all)
    return 'Disconnected'
  if (count('Blocked') > 0) return 'Blocked'
  if ((held || count('Suspended') > 0) && finished + count('Suspended', 'NotStarted') === all) return 'Suspended'
  return 'Running'
}

/** Every row of so many of these. */
function rows(states: readonly JobState[], length: number): JobState[][] {
  if (length === 0) return [[]]
  return rows(states, length - 1).flatMap((row) => states.map((state) => [...row, state]))
}

/** The same without those that differ only in the order. */
function mixtures(states: readonly JobState[], length: number): JobState[][] {
  const place = (state: JobState): number => states.indexOf(state)
  return rows(states, length).filter((row) => row.every((state, n) => n === 0 || place(row[n - 1]!) <= place(state)))
}

describe('the fold', () => {
  const cases: [children: JobState[], stopped: boolean, parent: JobState][] = [
    [['Completed', 'Completed'], false, 'Completed'],
    [['Completed', 'Failed', 'Stopped'], true, 'Failed'],
    [['Failed', 'Stopped', 'Stopped'], false, 'Failed'],
    [['Completed', 'Stopped'], true, 'Stopped'],
    [['Completed', 'Stopped'], false, 'Completed'],
    [['Stopped', 'Stopped'], false, 'Stopped'],
    [['Completed', 'Completed'], true, 'Completed'],
    [['Failed', 'Running'], false, 'Running'],
    [['NotStarted', 'NotStarted'], false, 'Running'],
    [['Completed', 'NotStarted'], false, 'Running'],
    [['Running', 'Blocked', 'Completed'], false, 'Blocked'],
    [['NotStarted', 'Blocked'], false, 'Blocked'],
    [['Suspended', 'Blocked'], false, 'Blocked'],
    [['Disconnected', 'Completed'], false, 'Disconnected'],
    [['Disconnected', 'Running'], false, 'Running'],
    [['Disconnected', 'NotStarted'], false, 'Running'],
    [['Disconnected', 'Failed'], false, 'Disconnected'],
    [['Disconnected', 'Blocked'], false, 'Disconnected'],
    [['Disconnected', 'Blocked', 'Running'], false, 'Blocked'],
    [['Disconnected', 'Suspended'], false, 'Disconnected'],
    [['Suspended', 'Completed'], false, 'Suspended'],
    [['Suspended', 'NotStarted'], false, 'Suspended'],
    [['Suspended', 'Running'], false, 'Running'],
    [['Stopping', 'Running'], false, 'Running'],
    [['Running', 'Completed'], true, 'Stopping'],
    [['Stopping', 'Disconnected'], true, 'Stopping'],
    [['Stopped', 'Disconnected'], true, 'Disconnected'],
    [[], false, 'Completed'],
    [[], true, 'Completed'],
  ]
  for (const [children, stopped, parent] of cases) {
    it(`${children.join(', ') || 'no children'}${stopped ? ', stopped on the parent' : ''}: ${parent}`, () => {
      expect(foldChildren(children, stopped)).toBe(parent)
    })
  }

  test('of every mixture of up to three children is what counting says, in whatever order they stand', () => {
    const wrong = [1, 2, 3]
      .flatMap((length) => rows(STATES, length))
      .flatMap((row) => [true, false].map((stopped) => ({ row, stopped })))
      .filter(({ row, stopped }) => foldChildren(row, stopped) !== counted(row.toSorted(), stopped))
    expect(wrong).toEqual([])
  })

  test('of a parent whose queue is held: who waits for a turn that does not come keeps it from nothing', () => {
    const held = (...children: JobState[]): JobState => foldChildren(children, false, true)
    expect(held('NotStarted', 'Completed')).toBe('Suspended')
    expect(held('NotStarted', 'Suspended')).toBe('Suspended')
    expect(held('NotStarted', 'Running')).toBe('Running')
    expect(held('NotStarted', 'Blocked')).toBe('Blocked')
    expect(held('NotStarted', 'Disconnected')).toBe('Running')
    expect(held('Failed', 'Completed')).toBe('Failed')
    expect(foldChildren(['NotStarted', 'Suspended'], true, true)).toBe('Stopping')
  })

  test('is finished when all are, and never before', () => {
    for (const row of rows(STATES, 3)) {
      for (const stopped of [true, false]) {
        expect(isFinished(foldChildren(row, stopped))).toBe(row.every((state) => FINAL.includes(state)))
      }
    }
  })
})

/** Brings a child that was started there. */
const BRING: Record<JobState, (child: JobHost, execution: ScriptedExecution) => void> = {
  NotStarted: () => {},
  Running: () => {},
  Blocked: (_, { io }) => io.asked?.(questionOf('1')),
  Suspended: (_, { io }) => io.suspended?.(),
  Disconnected: (_, execution) => execution.lose(GONE),
  Stopping: (child) => void child.stop(REQUEST),
  Completed: (_, { io }) => io.ended({ outcome: 'completed' }),
  Failed: (child, { io }) => io.ended({ outcome: 'failed', error: new Error(`${child.location} broke`) }),
  Stopped: (_, { io }) => io.ended({ outcome: 'stopped' }),
}

describe('a parent', () => {
  test('shows the fold of its children in every mixture of three, unread until the end, and says who failed', async () => {
    for (const row of mixtures(STATES, 3)) {
      const { parent, children, at } = scriptedFamily(3, { queued: (position) => row[position - 1] === 'NotStarted' })
      parent.start()
      for (const [n, state] of row.entries()) BRING[state](children[n]!, at(n))
      await settled()
      const { state, hasMoreData, reason, endedAt, question, begunAt } = parent.snapshot()
      const over = row.every(isFinished)
      const failed = over ? row.flatMap((one, n) => (one === 'Failed' ? [`server${n + 1} broke`] : [])) : []
      const reasons = reason instanceof ChildJobError ? reason.errors.map(({ message }) => message) : reason
      const states = children.map((child) => child.state)
      expect([states, state, hasMoreData, question?.id, begunAt !== undefined, endedAt !== undefined, reasons]).toEqual(
        [
          row,
          counted(row, false),
          // What failed has said so in its log, and nobody has read it.
          !over || row.includes('Failed'),
          row.includes('Blocked') ? `${row.indexOf('Blocked') + 1}.1` : undefined,
          true,
          over,
          failed.length > 0 ? failed : undefined,
        ],
      )
    }
  })

  test('that was stopped shows it in every mixture of endings, and of those that ended before', async () => {
    const before = [...FINAL, 'Running', 'NotStarted', 'Blocked', 'Suspended'] as const
    for (const row of mixtures(before, 2)) {
      if (row.every(isFinished)) continue
      for (const how of rows(FINAL, 2)) {
        const { parent, children, at } = scriptedFamily(2, { queued: (position) => row[position - 1] === 'NotStarted' })
        parent.start()
        for (const [n, state] of row.entries()) BRING[state](children[n]!, at(n))
        await settled()
        const stopping = parent.stop(REQUEST)
        await settled()
        expect(parent.state).toBe('Stopping')
        const open = children.map((child) => !isFinished(child.state))
        for (const [n, state] of how.entries()) if (open[n]) BRING[state](children[n]!, at(n))
        const { state, history } = await stopping
        const last = how.map((one, n) => (open[n] ? one : row[n]!))
        const where = `${row.join(', ')}, then ${how.join(', ')}`
        expect([where, state]).toEqual([where, counted(last, true)])
        expect(history.slice(-2).map((one) => one.state)).toEqual(['Stopping', state])
      }
    }
  })

  test('of one failing child of fifty is Failed after all fifty are done, with the one reason', async () => {
    const { parent, at } = scriptedFamily(50, { throttle: 50 })
    parent.start()
    at(17).io.ended({ outcome: 'failed', error: new RangeError('no room') })
    await settled()
    expect(parent.state).toBe('Running')
    for (let n = 0; n < 50; n++) if (n !== 17) at(n).io.ended({ outcome: 'completed' })
    const { state, reason, errorCount } = await parent.finished
    expect([state, errorCount]).toEqual(['Failed', 1])
    expect(reason).toBeInstanceOf(ChildJobError)
    expect(reason?.message).toBe('1 of 50 did not complete (server18: no room)')
    expect((reason as ChildJobError).errors).toMatchObject([{ name: 'RangeError', message: 'no room' }])
  })

  test('lists the reasons in the order of its children, not of their ends', async () => {
    const { parent, at } = scriptedFamily(3)
    parent.start()
    for (const n of [2, 0, 1]) at(n).io.ended({ outcome: 'failed', error: new Error(`no ${n}`) })
    const { reason } = await parent.finished
    expect((reason as ChildJobError).errors.map(({ message }) => message)).toEqual(['no 0', 'no 1', 'no 2'])
  })

  test('has the exit code of its only child, and none where there are several', async () => {
    const error = new Error('it ended with 3')
    for (const [count, code] of [
      [1, 3],
      [2, undefined],
    ] as const) {
      const { parent, at } = scriptedFamily(count)
      parent.start()
      for (let n = 0; n < count; n++) at(n).io.ended({ outcome: 'failed', error, exitCode: 3 })
      expect((await parent.finished).exitCode).toBe(code)
    }
    const { parent, at } = scriptedFamily(1)
    parent.start()
    at(0).io.ended({ outcome: 'completed', exitCode: 0 })
    expect((await parent.finished).exitCode).toBe(0)
  })

  test('has data until its children are read to the end, and never again', async () => {
    const { parent, children, at } = scriptedFamily(2)
    expect(parent.hasMoreData).toBe(true)
    parent.start()
    at(0).io.chunk(chunkOf(2))
    for (const n of [0, 1]) at(n).io.ended({ outcome: 'completed' })
    await parent.finished
    expect([parent.hasMoreData, ...children.map((child) => child.hasMoreData)]).toEqual([true, true, false])
    const told: boolean[] = []
    parent.watch(({ hasMoreData }) => told.push(hasMoreData))
    await children[0]!.log!.acknowledge('owner', 1)
    expect(parent.hasMoreData).toBe(true)
    await children[0]!.log!.acknowledge('owner', 2)
    await settled()
    expect([parent.hasMoreData, told.at(-1)]).toEqual([false, false])
    await children[0]!.log!.acknowledge('owner', 0)
    expect(parent.hasMoreData).toBe(false)
  })

  test('without children is Completed at once', async () => {
    const { parent } = scriptedFamily(0)
    parent.start()
    expect((await parent.finished).state).toBe('Completed')
  })

  test('that is stopped ends those that work and never starts those that wait', async () => {
    const { parent, children, engine, at } = scriptedFamily(5, { throttle: 2, reactions: { stop: ended } })
    parent.start()
    expect(engine.executions).toHaveLength(2)
    const { state } = await parent.stop(REQUEST)
    await settled()
    expect([state, engine.executions.length]).toEqual(['Stopped', 2])
    expect(children.map((child) => child.state)).toEqual(Array.from({ length: 5 }, () => 'Stopped'))
    expect(children.slice(2).map((child) => child.snapshot().begunAt)).toEqual([undefined, undefined, undefined])
    expect([at(0).calls, at(1).calls]).toEqual([['stop'], ['stop']])
  })

  test('that is stopped while a child cannot be reached waits for it, Disconnected, and stops it when it is back', async () => {
    const { parent, children, at } = scriptedFamily(2, { reactions: { stop: ended } })
    parent.start()
    at(1).lose(GONE)
    await settled()
    expect(parent.state).toBe('Running')
    const stopping = parent.stop(REQUEST)
    await settled()
    expect(children.map((child) => child.state)).toEqual(['Stopped', 'Disconnected'])
    expect(parent.state).toBe('Disconnected')
    await expect(parent.stop(REQUEST), 'asked again').rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
    at(1).back()
    expect((await stopping).state).toBe('Stopped')
    expect((await children[1]!.finished).history.map(({ state }) => state).slice(-3)).toEqual([
      'Running',
      'Stopping',
      'Stopped',
    ])
  })

  test('of which nothing can be reached cannot be stopped, and says so; as soon as all can, it can', async () => {
    const { parent, children, at } = scriptedFamily(2)
    parent.start()
    for (const n of [0, 1]) at(n).lose(GONE)
    await settled()
    expect(parent.state).toBe('Disconnected')
    await expect(parent.stop(REQUEST)).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
    expect([parent.state, ...children.map((child) => child.state)]).toEqual([
      'Disconnected',
      'Disconnected',
      'Disconnected',
    ])
    for (const n of [0, 1]) at(n).reach = 'reachable'
    const stopping = parent.stop(REQUEST)
    await settled()
    expect([parent.state, at(0).calls, at(1).calls]).toEqual(['Stopping', ['stop'], ['stop']])
    for (const n of [0, 1]) at(n).io.ended({ outcome: 'stopped' })
    expect((await stopping).state).toBe('Stopped')
  })

  test('of which one child can be reached can be stopped: that one now, the others when they are back', async () => {
    const { parent, children, at } = scriptedFamily(3, { reactions: { stop: ended } })
    parent.start()
    for (const n of [0, 2]) at(n).lose(GONE)
    at(1).io.asked?.(questionOf('1'))
    at(2).reach = 'reachable'
    await settled()
    expect([parent.state, parent.question?.id]).toEqual(['Disconnected', '2.1'])
    const stopping = parent.stop(REQUEST)
    await settled()
    expect([parent.state, ...children.map((child) => child.state)]).toEqual([
      'Disconnected',
      'Disconnected',
      'Stopped',
      'Stopped',
    ])
    at(0).back()
    expect((await stopping).state).toBe('Stopped')
  })

  test('whose children are lost again as it is being stopped has them stopped when they are back', async () => {
    const { parent, children, at } = scriptedFamily(2)
    parent.start()
    for (const n of [0, 1]) at(n).lose(GONE)
    for (const n of [0, 1]) at(n).reach = 'reachable'
    await settled()
    let seen = false
    children[1]!.watch(({ state }) => {
      if (state !== 'Running' || seen) return
      seen = true
      for (const n of [0, 1]) at(n).lose(GONE)
    })
    const stopping = parent.stop(REQUEST)
    await settled()
    expect([parent.state, at(0).calls, at(1).calls]).toEqual(['Disconnected', [], []])
    for (const n of [0, 1]) at(n).back()
    await settled()
    expect([parent.state, at(0).calls, at(1).calls]).toEqual(['Stopping', ['stop'], ['stop']])
    for (const n of [0, 1]) at(n).io.ended({ outcome: 'stopped' })
    expect((await stopping).state).toBe('Stopped')
  })

  test('stands still when those that have begun do, also while others wait for their turn, and goes on with them', async () => {
    const { parent, children, engine, at } = scriptedFamily(3, {
      throttle: 2,
      reactions: { suspend: ({ io }) => io.suspended?.() },
    })
    parent.start()
    at(1).io.asked?.(questionOf('1'))
    await settled()
    expect((await parent.standStill()).state).toBe('Suspended')
    expect(children.map((child) => child.state)).toEqual(['Suspended', 'Suspended', 'NotStarted'])
    expect(engine.executions).toHaveLength(2)
    await expect(parent.standStill()).resolves.toMatchObject({ state: 'Suspended' })
    parent.goOn()
    await settled()
    expect([parent.state, ...children.map((child) => child.state)]).toEqual([
      'Blocked',
      'Running',
      'Blocked',
      'NotStarted',
    ])
    expect([at(0).calls, at(1).calls]).toEqual([
      ['suspend', 'resume'],
      ['suspend', 'resume'],
    ])
    expect(() => parent.goOn()).toThrow(expect.objectContaining({ code: 'JOB_STATE' }))
  })

  test('told to stand still lets nobody take the place of one that ends meanwhile, until it is to go on', async () => {
    const { parent, children, engine, at } = scriptedFamily(4, { throttle: 2 })
    parent.start()
    await settled()
    const standing = parent.standStill()
    at(0).io.ended({ outcome: 'completed' })
    await settled()
    expect(engine.executions).toHaveLength(2)
    at(1).io.suspended?.()
    expect((await standing).state).toBe('Suspended')
    // Going on by itself, and to its end, it leaves no room for anybody either.
    children[1]!.goOn()
    await settled()
    expect(parent.state).toBe('Running')
    at(1).io.ended({ outcome: 'completed' })
    await settled()
    expect([parent.state, engine.executions.length]).toEqual(['Suspended', 2])
    parent.goOn()
    await settled()
    expect([parent.state, ...children.slice(2).map(({ state }) => state)]).toEqual(['Running', 'Running', 'Running'])
    for (const n of [2, 3]) at(n).io.ended({ outcome: 'completed' })
    expect((await parent.finished).state).toBe('Completed')
  })

  test('told to stand still while all at work end stands still before those that wait, and can be stopped there', async () => {
    for (const how of ['goes on', 'is stopped'] as const) {
      const { parent, children, engine, at } = scriptedFamily(2, { throttle: 1, reactions: { stop: ended } })
      parent.start()
      await settled()
      const standing = parent.standStill()
      at(0).io.ended({ outcome: 'completed' })
      expect((await standing).state).toBe('Suspended')
      await settled()
      expect([parent.state, engine.executions.length]).toEqual(['Suspended', 1])
      if (how === 'goes on') {
        parent.goOn()
        await settled()
        expect([parent.state, children[1]!.state]).toEqual(['Running', 'Running'])
        at(1).io.ended({ outcome: 'completed' })
        expect((await parent.finished).state).toBe('Completed')
      } else {
        expect((await parent.stop(REQUEST)).state).toBe('Stopped')
        expect(children.map(({ state }) => state)).toEqual(['Completed', 'Stopped'])
        expect(engine.executions).toHaveLength(1)
      }
    }
  })

  test('one that is Disconnected holds up nobody; when it is back, nobody begins before there is room', async () => {
    const { parent, children, engine, at } = scriptedFamily(5, { throttle: 2 })
    parent.start()
    await settled()
    at(0).lose(GONE)
    await settled()
    expect(children.map(({ state }) => state)).toEqual([
      'Disconnected',
      'Running',
      'Running',
      'NotStarted',
      'NotStarted',
    ])
    at(0).back()
    at(1).io.ended({ outcome: 'completed' })
    await settled()
    expect(engine.executions).toHaveLength(3)
    at(2).io.ended({ outcome: 'completed' })
    await settled()
    expect(engine.executions).toHaveLength(4)
    for (const n of [0, 3]) at(n).io.ended({ outcome: 'completed' })
    await settled()
    at(4).io.ended({ outcome: 'completed' })
    expect((await parent.finished).state).toBe('Completed')
  })

  test('has as many at work as it is told to, also while it runs, and before it does', async () => {
    const { parent, children, engine, at } = scriptedFamily(6, { throttle: 32 })
    expect(parent.throttle(1).state).toBe('NotStarted')
    parent.start()
    await settled()
    expect(engine.executions).toHaveLength(1)
    parent.throttle(4)
    expect(engine.executions).toHaveLength(4)
    parent.throttle(2)
    for (const n of [0, 1]) at(n).io.ended({ outcome: 'completed' })
    await settled()
    expect(engine.executions).toHaveLength(4)
    at(2).io.ended({ outcome: 'completed' })
    await settled()
    expect(engine.executions).toHaveLength(5)
    expect(() => children[0]!.throttle(2)).toThrow(expect.objectContaining({ code: 'JOB_STATE' }))
    parent.throttle(1_000_000)
    for (const n of [3, 4, 5]) at(n).io.ended({ outcome: 'completed' })
    expect((await parent.finished).state).toBe('Completed')
  })

  test('that is stopped while it stands still is stopped', async () => {
    const { parent, at } = scriptedFamily(2, { reactions: { stop: ended, suspend: ({ io }) => io.suspended?.() } })
    parent.start()
    await parent.standStill()
    expect((await parent.stop(REQUEST)).state).toBe('Stopped')
    expect(at(0).calls).toEqual(['suspend', 'stop'])
  })

  test('shows its children’s questions, first the first child’s, and passes the answers on', async () => {
    const { parent, at } = scriptedFamily(3, { reactions: { answer: ({ io }, question) => io.answered?.(question) } })
    parent.start()
    const value = new Uint8Array([1])
    await expect(parent.answer(value)).rejects.toMatchObject({ code: 'JOB_STATE' })
    for (const n of [2, 1]) at(n).io.asked?.(questionOf('7'))
    await settled()
    expect([parent.state, parent.question?.id]).toEqual(['Blocked', '2.7'])
    await parent.answer(value, '3.7')
    await settled()
    expect([parent.state, parent.question?.id]).toEqual(['Blocked', '2.7'])
    await expect(parent.answer(value, '3.7')).rejects.toMatchObject({ code: 'QUESTION_ANSWERED' })
    await expect(parent.answer(value, '9.7')).rejects.toMatchObject({ code: 'JOB_STATE' })
    await parent.answer(value)
    await settled()
    expect([parent.state, parent.question, at(1).calls]).toEqual(['Running', undefined, ['answer 7']])
  })

  test('gives its input to every child, also to those that wait for their turn, and not to those that have ended', async () => {
    const { parent, children, at } = scriptedFamily(3, { throttle: 1 })
    parent.start()
    await parent.input(chunkOf(4))
    at(0).io.ended({ outcome: 'completed' })
    await children[0]!.finished
    await parent.input(chunkOf(5))
    parent.endInput()
    await settled()
    at(1).io.ended({ outcome: 'completed' })
    await settled()
    expect([at(0).calls, at(1).calls, at(2).calls]).toEqual([
      ['input 4'],
      ['input 4', 'input 5', 'end input'],
      ['input 4', 'input 5', 'end input'],
    ])
    at(2).io.ended({ outcome: 'completed' })
    await parent.finished
    await expect(parent.input(chunkOf(1))).rejects.toMatchObject({ code: 'INPUT_CLOSED' })
  })
})

function ended({ io }: ScriptedExecution): void {
  io.ended({ outcome: 'stopped' })
}

describe('a parent, whatever its children do', () => {
  const says = [
    'asked',
    'answered',
    'suspended',
    'resumed',
    'lost',
    'back',
    'reachable',
    'unreachable',
    'stop it',
    'completed',
    'failed',
    'stopped',
  ] as const
  const wishes = ['stop', 'suspend', 'resume', 'answer', 'input'] as const
  const happening = fc.oneof(
    { weight: 5, arbitrary: fc.record({ child: fc.nat(5), says: fc.constantFrom(...says) }) },
    { weight: 1, arbitrary: fc.record({ wish: fc.constantFrom(...wishes) }) },
  )

  test('starts them in their order, never more than its throttle, none after it was stopped; shows their fold; ends once', async () => {
    const property = fc.asyncProperty(
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 4 }),
      fc.array(happening, { maxLength: 30, size: 'max' }),
      async (count, throttle, happenings) => {
        const { parent, children, engine } = scriptedFamily(count, { throttle })
        const outcomes = new Outcomes()
        let [stopped, held] = [false, false]
        let startedBefore = 0
        const agree = (): void => {
          const states = children.map((child) => child.state)
          const started = engine.executions.map(({ job }) => children.findIndex((child) => child.instanceId === job))
          expect(started).toEqual(started.toSorted((a, b) => a - b))
          expect(new Set(started).size).toBe(started.length)
          // Who comes back is at work again whoever is by then; but nobody begins as one too many.
          const atWork = started.filter((n) => !isFinished(states[n]!) && states[n] !== 'Disconnected')
          if (started.length > startedBefore) expect(atWork.length).toBeLessThanOrEqual(throttle)
          if (stopped || held) expect(started).toHaveLength(startedBefore)
          startedBefore = started.length
          const asking = children.findIndex((child) => child.question !== undefined)
          const { state, question, history, hasMoreData } = parent.snapshot()
          expect([state, states]).toEqual([counted(states, stopped, held), states])
          expect(question?.id).toBe(asking < 0 ? undefined : `${asking + 1}.1`)
          expect(history.filter((one) => isFinished(one.state))).toHaveLength(isFinished(state) ? 1 : 0)
          if (!isFinished(state)) expect(hasMoreData).toBe(true)
        }
        const say = (child: JobHost, what: (typeof says)[number]): void => {
          if (!engine.started(child) || isFinished(child.state)) return
          const execution = engine.of(child)
          const { io } = execution
          if (what === 'asked') io.asked?.(questionOf('1'))
          else if (what === 'answered') io.answered?.('1')
          else if (what === 'suspended') io.suspended?.()
          else if (what === 'resumed') io.resumed?.()
          else if (what === 'lost') execution.lose(GONE)
          else if (what === 'back') {
            if (child.state === 'Disconnected') execution.back()
          } else if (what === 'reachable' || what === 'unreachable') execution.reach = what
          else if (what === 'stop it') outcomes.follow(() => child.stop(REQUEST))
          else if (what === 'failed') io.ended({ outcome: 'failed', error: new Error(child.location) })
          else io.ended({ outcome: what })
        }
        const wish = {
          stop: () => parent.stop(REQUEST),
          suspend: () => parent.standStill(),
          resume: () => parent.goOn(),
          answer: () => parent.answer(new Uint8Array([1])),
          input: () => parent.input(chunkOf(1)),
        }
        parent.start()
        await settled()
        agree()
        for (const one of happenings) {
          if ('wish' in one) {
            const before = isFinished(parent.state)
            if (one.wish === 'suspend') held ||= ['Running', 'Blocked', 'Suspended'].includes(parent.state)
            if (one.wish === 'resume') held = false
            const index = outcomes.follow(wish[one.wish])
            await settled()
            // Refused where it cannot be reached: then nothing was asked of anybody.
            if (one.wish === 'stop' && !before && outcomes.all[index] !== 'PEER_UNREACHABLE') stopped = true
          } else {
            say(children[one.child % count]!, one.says)
            await settled()
          }
          agree()
        }
        if (held) outcomes.follow(wish.resume)
        held = false
        await settled()
        agree()
        // Each round ends at least one of them.
        for (let round = 0; round < count && !isFinished(parent.state); round++) {
          for (const child of children) say(child, 'completed')
          await settled()
          agree()
        }
        expect(isFinished(parent.state)).toBe(true)
        const failed = children.filter((child) => child.state === 'Failed').map((child) => child.location)
        const { state, reason } = await parent.finished
        expect(state).toBe(parent.state)
        const reasons = reason instanceof ChildJobError ? reason.errors.map(({ message }) => message) : []
        expect(reasons).toEqual(failed)
        expect(outcomes.all).not.toContain('pending')
        for (const child of children) {
          const stopping = child.snapshot().history.some((one) => one.state === 'Stopping')
          if (stopping && engine.started(child)) expect(engine.of(child).calls).toContain('stop')
        }
      },
    )
    await fc.assert(property, { numRuns: 60 })
  })
})
