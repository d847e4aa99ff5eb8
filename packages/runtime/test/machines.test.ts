// Every machine, walked: what each event does in each state that can be reached, held as tables. Whoever changes a machine
// changes its table, and the difference says what was changed.
import { describe, expect, test, vi } from 'vitest'
import { createActor, type AnyEventObject, type AnyMachineSnapshot, type AnyStateMachine } from 'xstate'
import { getAdjacencyMap, getShortestPaths } from 'xstate/graph'
import { isFinished } from '../src/child-jobs.ts'
import { jobLogic, jobMachine, type JobLife, type JobMachineEvent, type StopRequest } from '../src/job-machine.ts'
import { monitorMachine, type MonitorMachineEvent } from '../src/monitor-machine.ts'
import { refMachine, type RefMachineEvent } from '../src/ref-machine.ts'
import { remoteSessionMachine, type RemoteSessionEvent } from '../src/remote-session-machine.ts'
import { sessionMachine, type SessionMachineEvent } from '../src/session-machine.ts'
import type { JobState } from '../src/surface.ts'

/**
 * State × event: the state it leads to, if that is another one, and what the host is asked for. An event that is not there
 * does nothing. `?` behind a state: a question is open.
 */
type Table = Readonly<Record<string, Readonly<Record<string, string>>>>

interface Walk {
  readonly table: Table
  /** What XState's own walk says of the same, which calls nothing. */
  readonly pure: Table
  /** Transitions that were taken. */
  readonly taken: ReadonlySet<string>
}

const stateOf = ({ value, status, context }: AnyMachineSnapshot): string =>
  `${String(value)}${status === 'active' && (context as { asking?: boolean }).asking ? ' ?' : ''}`

/** One for each transition that is written in the machine. */
const transitionsOf = (machine: AnyStateMachine): Map<unknown, string> =>
  new Map(
    [machine.root, ...Object.values(machine.root.states)].flatMap(({ id, transitions }) =>
      [...transitions.values()].flatMap((all) =>
        all.map((one, index) => [one, `${id}: ${one.eventType} (${index})`] as const),
      ),
    ),
  )

/** Brings an actor to each state on the shortest way, once for each event, and sends it that event. */
function walk(
  machine: AnyStateMachine,
  actions: readonly string[],
  events: Record<string, AnyEventObject>,
  inputOf: (host: object) => object = (host) => host,
): Walk {
  const names = new Map(Object.entries(events).map(([name, event]) => [event, name]))
  const known = transitionsOf(machine)
  const taken = new Set<string>()
  const table: Record<string, Record<string, string>> = {}
  const pure: Record<string, Record<string, string>> = {}
  const options = {
    events: Object.values(events),
    input: inputOf(Object.fromEntries(actions.map((action) => [action, () => expect.fail('a walk calls nothing')]))),
    serializeState: (snapshot: AnyMachineSnapshot) => stateOf(snapshot),
    serializeEvent: (event: AnyEventObject) => names.get(event) ?? event.type,
    stopWhen: ({ status }: AnyMachineSnapshot) => status !== 'active',
  }
  for (const [from, { transitions }] of Object.entries(getAdjacencyMap(machine, options))) {
    pure[from] = {}
    for (const { event, state } of Object.values<{ event: AnyEventObject; state: AnyMachineSnapshot }>(transitions)) {
      const to = stateOf(state)
      if (to !== from) pure[from][names.get(event)!] = to
    }
  }
  // XState warns of each event that comes after the end: here they are meant to.
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => {})
  for (const { state, steps } of getShortestPaths(machine, options)) {
    const from = stateOf(state as AnyMachineSnapshot)
    table[from] = {}
    for (const [name, event] of Object.entries(events)) {
      let calls: string[] = []
      const errors: unknown[] = []
      const input = inputOf(Object.fromEntries(actions.map((action) => [action, () => calls.push(`${action}()`)])))
      const actor = createActor(machine, {
        input,
        inspect: (seen) => {
          if (seen.type !== '@xstate.microstep') return
          for (const one of seen._transitions) if (known.has(one)) taken.add(known.get(one)!)
        },
      })
      actor.subscribe({ error: (error) => errors.push(error) })
      actor.start()
      for (const step of steps) if (names.has(step.event)) actor.send(step.event)
      expect(stateOf(actor.getSnapshot())).toBe(from)
      calls = []
      actor.send(event)
      const to = stateOf(actor.getSnapshot())
      expect(errors, `${name} in ${from} throws`).toEqual([])
      const effect = [...(to === from ? [] : [to]), ...calls].join(' ')
      if (effect !== '') table[from][name] = effect
      actor.stop()
    }
  }
  warned.mockRestore()
  return { table, pure, taken }
}

/** The states that the table leads to. */
function statesOnly(table: Table): Table {
  const rows = Object.entries(table).map(([from, row]) => {
    const states = Object.entries(row).map(([event, effect]) => [event, effect.replace(/ ?\w+\(\)/g, '')] as const)
    return [from, Object.fromEntries(states.filter(([, to]) => to !== ''))] as const
  })
  return Object.fromEntries(rows)
}

/** Holds a machine against its tables, one for each of the lives it can lead. */
function tables(machine: AnyStateMachine, actions: readonly string[], lives: Record<string, Life>): void {
  const walks = Object.entries(lives).map(([name, { events, table, input }]) => ({
    name,
    expected: table,
    ...walk(machine, actions, events, input),
  }))
  test.each(walks)('$name: every event in every state', ({ table, expected, pure }) => {
    expect(table).toEqual(expected)
    expect(pure).toEqual(statesOnly(expected))
  })

  test('every state can be reached, and every transition is taken', () => {
    const reached = new Set(walks.flatMap(({ table }) => Object.keys(table).map((state) => state.replace(' ?', ''))))
    expect([...reached].toSorted()).toEqual(Object.keys(machine.root.states).toSorted())
    const taken = new Set(walks.flatMap((one) => [...one.taken]))
    expect([...transitionsOf(machine).values()].filter((one) => !taken.has(one))).toEqual([])
  })

  test('every final state ignores every event', () => {
    const final = Object.values(machine.root.states).filter(({ type }) => type === 'final')
    expect(final.length).toBeGreaterThan(0)
    for (const { table } of walks) for (const { key } of final) expect([key, table[key]]).toEqual([key, {}])
  })
}

interface Life {
  readonly events: Record<string, AnyEventObject>
  readonly table: Table
  /** What the machine is given of its host. Default: that itself. */
  readonly input?: (host: object) => object
}

describe('the machine of a ref', () => {
  const reason = new Error('no')
  const plain: Record<string, RefMachineEvent> = {
    heard: { type: 'ref.heard' },
    away: { type: 'ref.away', reason },
    ended: { type: 'ref.ended', reason },
    dispose: { type: 'ref.dispose' },
  }
  const follows: Record<string, RefMachineEvent> = {
    ...plain,
    moved: { type: 'ref.moved' },
    vacant: { type: 'ref.vacant', reason },
    refused: { type: 'ref.refused', reason },
  }
  const over = 'gone detach() conclude()'
  const live = 'live release()'
  tables(refMachine, ['attach', 'detach', 'release', 'conclude'], {
    'of an actor': {
      input: (host) => ({ host, follows: false }),
      events: plain,
      table: {
        connecting: { heard: live, ended: over, dispose: over },
        live: { away: 'stale', ended: over, dispose: over },
        stale: { heard: live, ended: over, dispose: over },
        gone: {},
      },
    },
    'of a name': {
      input: (host) => ({ host, follows: true }),
      events: follows,
      table: {
        connecting: {
          heard: live,
          ended: 'stale',
          moved: 'detach() attach()',
          vacant: 'stale',
          refused: over,
          dispose: over,
        },
        live: { away: 'stale', ended: 'stale', moved: 'connecting detach() attach()', refused: over, dispose: over },
        stale: { heard: live, moved: 'connecting detach() attach()', refused: over, dispose: over },
        gone: {},
      },
    },
  })
})

describe('the job machine', () => {
  const request: StopRequest = { grace: 0 }
  const endings: Record<string, JobMachineEvent> = {
    completed: { type: 'job.ended', ending: { outcome: 'completed' } },
    failed: { type: 'job.ended', ending: { outcome: 'failed', error: new Error('no') } },
    stopped: { type: 'job.ended', ending: { outcome: 'stopped' } },
  }
  const ends = { completed: 'Completed', failed: 'Failed', stopped: 'Stopped' }
  const over = { Completed: {}, Failed: {}, Stopped: {} }

  const execution: Record<string, JobMachineEvent> = {
    launch: { type: 'job.launch' },
    begun: { type: 'job.begun' },
    stop: { type: 'job.stop', request },
    asked: { type: 'job.asked' },
    answered: { type: 'job.answered' },
    suspend: { type: 'job.suspend' },
    suspended: { type: 'job.suspended' },
    resume: { type: 'job.resume' },
    resumed: { type: 'job.resumed' },
    lost: { type: 'job.lost' },
    'back, running': { type: 'job.back', state: 'Running' },
    'back, asking': { type: 'job.back', state: 'Blocked' },
    'back, still': { type: 'job.back', state: 'Suspended' },
    ...endings,
  }
  const back = { 'back, running': 'Running', 'back, asking': 'Blocked ?' }

  const states: JobState[] = ['NotStarted', 'Running', 'Blocked', 'Suspended', 'Disconnected', 'Stopping']
  const finished: JobState[] = ['Completed', 'Failed', 'Stopped']
  const parent: Record<string, JobMachineEvent> = {
    launch: { type: 'job.launch' },
    begun: { type: 'job.begun' },
    stop: { type: 'job.stop', request },
    ...Object.fromEntries(
      [...states, ...finished].map((state) => [`children ${state}`, { type: 'job.children' as const, state }]),
    ),
    ...endings,
  }
  /** Where its children are, it goes, unless it is there. */
  const follow = (from: JobState): Record<string, string> =>
    Object.fromEntries(
      states.filter((to) => to !== 'NotStarted' && to !== from).map((to) => [`children ${to}`, to] as const),
    )

  tables(jobMachine, ['launch', 'halt', 'suspend', 'resume'], {
    'one with an execution': {
      events: execution,
      table: {
        NotStarted: {
          launch: 'launch()',
          begun: 'Running',
          stop: 'Stopping halt()',
          asked: 'NotStarted ?',
          lost: 'Disconnected',
          ...ends,
        },
        'NotStarted ?': {
          launch: 'launch()',
          begun: 'Blocked ?',
          stop: 'Stopping ? halt()',
          answered: 'NotStarted',
          lost: 'Disconnected ?',
          ...ends,
        },
        Running: {
          stop: 'Stopping halt()',
          asked: 'Blocked ?',
          suspend: 'suspend()',
          suspended: 'Suspended',
          lost: 'Disconnected',
          ...ends,
        },
        'Blocked ?': {
          stop: 'Stopping ? halt()',
          answered: 'Running',
          suspend: 'suspend()',
          suspended: 'Suspended ?',
          lost: 'Disconnected ?',
          ...ends,
        },
        Suspended: {
          stop: 'Stopping halt()',
          asked: 'Suspended ?',
          resume: 'Running resume()',
          resumed: 'Running',
          lost: 'Disconnected',
          ...ends,
        },
        'Suspended ?': {
          stop: 'Stopping ? halt()',
          answered: 'Suspended',
          resume: 'Blocked ? resume()',
          resumed: 'Blocked ?',
          lost: 'Disconnected ?',
          ...ends,
        },
        // A stop would be a lie: the host reaches it first.
        Disconnected: {
          stop: 'halt()',
          asked: 'Disconnected ?',
          ...back,
          'back, still': 'Suspended',
          ...ends,
        },
        'Disconnected ?': {
          stop: 'halt()',
          answered: 'Disconnected',
          ...back,
          'back, still': 'Suspended ?',
          ...ends,
        },
        Stopping: { stop: 'halt()', asked: 'Stopping ?', lost: 'Disconnected', ...ends },
        'Stopping ?': { stop: 'halt()', answered: 'Stopping', lost: 'Disconnected ?', ...ends },
        ...over,
      },
    },
    'one with children': {
      events: parent,
      table: {
        NotStarted: { launch: 'launch()', begun: 'Running', stop: 'Stopping halt()', ...ends },
        Running: { stop: 'Stopping halt()', ...follow('Running'), ...ends },
        Blocked: { stop: 'Stopping halt()', ...follow('Blocked'), ...ends },
        Suspended: { stop: 'Stopping halt()', ...follow('Suspended'), ...ends },
        Disconnected: { stop: 'halt()', ...follow('Disconnected'), ...ends },
        Stopping: { stop: 'halt()', ...follow('Stopping'), ...ends },
        ...over,
      },
    },
  })

  test.each([
    ['an execution', execution],
    ['children', parent],
  ])("a job's actor takes the same steps, with %s", (_, events) => {
    const all = Object.entries(events)
    const told = ({ place: { state, asking } }: JobLife): string =>
      `${state}${asking && !isFinished(state) ? ' ?' : ''}`
    const seen = new Map<string, readonly JobMachineEvent[]>([['NotStarted', []]])
    const { table } = walk(jobMachine, ['launch', 'halt', 'suspend', 'resume'], events)
    // A map goes on with what is added to it meanwhile.
    for (const [from, path] of seen) {
      for (const [name, event] of all) {
        const actor = createActor(jobLogic).start()
        for (const step of path) actor.send(step)
        expect(told(actor.getSnapshot().context)).toBe(from)
        actor.send(event)
        const { context } = actor.getSnapshot()
        const to = told(context)
        const effect = [...(to === from ? [] : [to]), ...context.calls.map((call) => `${call}()`)].join(' ')
        expect(effect, `${name} in ${from}`).toBe(table[from]![name] ?? '')
        if (!seen.has(to)) seen.set(to, [...path, event])
        actor.stop()
      }
    }
    expect([...seen.keys()].toSorted()).toEqual(Object.keys(table).toSorted())
  })

  test('each step comes with its event: which request to stop', () => {
    const requests: StopRequest[] = []
    const actor = createActor(jobLogic)
    actor.subscribe(({ context: { calls, event } }) => {
      if (calls.includes('halt') && event?.type === 'job.stop') requests.push(event.request)
    })
    actor.start()
    const soft: StopRequest = { grace: 5_000, reason: 'enough' }
    const hard: StopRequest = { grace: 0 }
    actor.send({ type: 'job.begun' })
    actor.send({ type: 'job.stop', request: soft })
    actor.send({ type: 'job.stop', request: hard })
    expect(requests).toEqual([soft, hard])
    actor.stop()
  })
})

describe('the machine of a session where it is', () => {
  const events: Record<string, SessionMachineEvent> = {
    attach: { type: 'session.attach' },
    detach: { type: 'session.detach' },
    expired: { type: 'session.expired' },
    close: { type: 'session.close' },
    ended: { type: 'session.ended' },
  }
  tables(sessionMachine, ['startLease', 'endLease', 'shutDown'], {
    'a session': {
      events,
      table: {
        Opened: { detach: 'Disconnected startLease()', close: 'Closing shutDown()' },
        Disconnected: {
          attach: 'Opened endLease()',
          expired: 'Closing endLease() shutDown()',
          close: 'Closing endLease() shutDown()',
        },
        Closing: { ended: 'Closed' },
        Closed: {},
      },
    },
  })
})

describe('the machine of a session as its holder sees it', () => {
  const reason = new Error('gone')
  const events: Record<string, RemoteSessionEvent> = {
    opened: { type: 'session.opened' },
    disconnecting: { type: 'session.disconnecting' },
    disconnected: { type: 'session.disconnected' },
    connect: { type: 'session.connect' },
    closed: { type: 'session.closed' },
    taken: { type: 'session.taken' },
    lost: { type: 'link.lost', reason },
    back: { type: 'link.back' },
    refused: { type: 'link.refused', reason },
    'given up': { type: 'link.given-up' },
  }
  tables(remoteSessionMachine, ['reconnect', 'startRetry', 'endRetry', 'conclude'], {
    'a held session': {
      events,
      table: {
        Opening: { opened: 'Opened', closed: 'Closed conclude()' },
        Opened: {
          disconnecting: 'Disconnecting',
          lost: 'Connecting startRetry() reconnect()',
          taken: 'Disconnected',
          closed: 'Closed conclude()',
        },
        Disconnecting: {
          opened: 'Opened',
          disconnected: 'Disconnected',
          lost: 'Disconnected',
          closed: 'Closed conclude()',
        },
        Disconnected: { connect: 'Connecting startRetry() reconnect()', closed: 'Closed conclude()' },
        Connecting: {
          disconnecting: 'Disconnected endRetry()',
          back: 'Opened endRetry()',
          refused: 'Broken endRetry() conclude()',
          'given up': 'Disconnected endRetry()',
          closed: 'Closed endRetry() conclude()',
        },
        Closed: {},
        Broken: {},
      },
    },
  })
})

describe('what a ref says of its state', () => {
  const none = (): void => undefined
  const reason = new Error('gone')
  test('says why it is stale or gone, and nothing while it is live', () => {
    const actor = createActor(refMachine, {
      input: { host: { attach: none, detach: none, release: none, conclude: none }, follows: false },
    }).start()
    const why = (): unknown => actor.getSnapshot().context.reason
    actor.send({ type: 'ref.away', reason })
    expect([actor.getSnapshot().value, why()]).toEqual(['connecting', reason])
    actor.send({ type: 'ref.heard' })
    expect([actor.getSnapshot().value, why()]).toEqual(['live', undefined])
    actor.send({ type: 'ref.ended', reason })
    expect([actor.getSnapshot().value, why()]).toEqual(['gone', reason])
  })
})

describe('the machine of a monitor', () => {
  const error = new Error('away')
  const events: Record<string, MonitorMachineEvent> = {
    heard: { type: 'monitor.heard' },
    away: { type: 'monitor.away', error, silent: false },
    'away, and silent': { type: 'monitor.away', error, silent: true },
    'given up': { type: 'monitor.given-up', error },
    ended: { type: 'monitor.ended', why: { reason: 'exit' } },
    left: { type: 'monitor.left' },
  }
  tables(monitorMachine, ['startClock', 'stopClock', 'tell'], {
    'a monitor': {
      events,
      table: {
        suspecting: {
          heard: 'watching stopClock()',
          'given up': 'down stopClock() tell()',
          ended: 'down stopClock() tell()',
          left: 'left stopClock()',
        },
        watching: {
          away: 'suspecting startClock()',
          'away, and silent': 'down tell()',
          ended: 'down tell()',
          left: 'left',
        },
        down: {},
        left: {},
      },
    },
  })
})
