// The supervisor's machine: every state it can come to and every edge between them, for each strategy, held against what is
// promised; and a world of children that start, fail, hang and die in any order, against a plain model. Time is a number.
// Each run prints its seed; ERRAND_TEST_SEED=… runs that one again.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createActor, type AnyEventObject, type AnyMachineSnapshot, type SnapshotFrom } from 'xstate'
import { getAdjacencyMap } from 'xstate/graph'
import type { ChildRestart, Down, SupervisionStrategy } from '../src/actor-surface.ts'
import {
  type ChildLife,
  type ChildRules,
  dueAt,
  type SupervisorActions,
  type SupervisorContext,
  type SupervisorEvent,
  supervisorMachine,
  type SupervisorRules,
} from '../src/supervisor-machine.ts'

type Snapshot = SnapshotFrom<typeof supervisorMachine>

const SEED = Number(process.env['ERRAND_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
console.log(`supervisor-model: ERRAND_TEST_SEED=${SEED}`)
const STRATEGIES: readonly SupervisionStrategy[] = ['one-for-one', 'one-for-all', 'rest-for-one']
const KINDS: readonly ChildRestart[] = ['permanent', 'transient', 'temporary']
const REASONS: readonly Down['reason'][] = ['exit', 'error', 'stopped', 'peer lost', 'unreachable', 'gone']
const FINAL = new Set(['Done', 'Stopped', 'Failed'])
/** Times in the worlds that are walked, so coarse that there are few to tell apart. LATER is later than `within`. */
const [PAUSE, WITHIN, LATER] = [4_000, 5_000, 8_000]
const BROKE = new Error('it broke')

const lives = ({ phase }: ChildLife): boolean => phase === 'starting' || phase === 'running' || phase === 'stopping'
const settled = ({ phase }: ChildLife): boolean => phase === 'running' || phase === 'ended'
/** As it is written in the surface, not as the machine asks. */
const again = (kind: ChildRestart, reason: Down['reason']): boolean =>
  ({
    permanent: true,
    transient: ['error', 'peer lost', 'unreachable', 'gone'].includes(reason),
    temporary: false,
  })[kind]

const child = (more: Partial<ChildRules> = {}): ChildRules => ({
  restart: 'permanent',
  places: 1,
  startWithin: LATER,
  stopWithin: LATER,
  ...more,
})
const rules = (
  strategy: SupervisionStrategy,
  children: ChildRules[],
  more: Partial<SupervisorRules> = {},
): SupervisorRules => ({
  strategy,
  times: 1,
  within: WITHIN,
  delay: PAUSE,
  factor: 1,
  most: 30_000,
  children,
  ...more,
})

// ── every state and every edge ────────────────────────────────────────────────────────────────────────────────────────

const nobody: SupervisorActions = {
  start: () => expect.fail('a walk does nothing'),
  stop: () => expect.fail('a walk does nothing'),
  release: () => expect.fail('a walk does nothing'),
}

/** All that may happen to it next, and what is said of earlier incarnations. */
function happenings({ context }: Snapshot, reasons: readonly Down['reason'][]): SupervisorEvent[] {
  const { now: at } = context
  const due = dueAt(context)
  const events: SupervisorEvent[] = [
    { type: 'supervisor.stop', at },
    { type: 'supervisor.time', at: at + LATER },
    // A clock that is told late, and one that is told early.
    { type: 'supervisor.time', at: at - 1 },
  ]
  if (due !== undefined) events.push({ type: 'supervisor.time', at: due })
  for (const [index, { phase, attempt }] of context.children.entries()) {
    const told = { child: index, attempt, at }
    if (phase === 'starting' || phase === 'stopping') {
      events.push({ type: 'child.up', ...told })
      events.push({ type: 'child.refused', absent: false, error: BROKE, ...told })
      events.push({ type: 'child.refused', absent: true, error: BROKE, ...told })
    }
    if (phase === 'starting' || phase === 'running' || phase === 'stopping') {
      for (const reason of reasons) events.push({ type: 'child.down', reason, ...told })
    }
    events.push(...stale(index, attempt, phase, at))
  }
  return events
}

function stale(index: number, attempt: number, phase: string, at: number): SupervisorEvent[] {
  const over = phase === 'waiting' || phase === 'ended' ? attempt : attempt - 1
  if (over < 1) return []
  const told = { child: index, attempt: over, at }
  return [
    { type: 'child.up', ...told },
    { type: 'child.refused', absent: false, error: BROKE, ...told },
    { type: 'child.down', reason: 'error', ...told },
  ]
}

function isStale({ context }: Snapshot, event: SupervisorEvent): boolean {
  if (!('child' in event)) return false
  const { attempt, phase } = context.children[event.child]!
  return event.attempt !== attempt || phase === 'waiting' || phase === 'ended'
}

/** The same for states that differ in nothing but when they were, and how often; pauses do not grow in these worlds. */
function form({ value, context }: Snapshot): string {
  const {
    now,
    children,
    restarts,
    clearing,
    ending,
    rules: { within },
  } = context
  const left = (at: number): number | string => (at === Infinity ? '-' : Math.max(0, at - now))
  const rows = children.map((one) => [
    one.phase,
    one.place,
    one.preferred,
    one.tried,
    one.absent,
    one.phase === 'waiting' ? left(one.notBefore) : '-',
    left(one.deadline),
    one.lives > 0,
  ])
  const recent = restarts.filter((at) => now - at <= within).map((at) => now - at)
  return JSON.stringify([value, rows, recent, clearing, ending])
}

interface Edge {
  readonly from: Snapshot
  readonly event: SupervisorEvent
  readonly to: Snapshot
}

function walk(of: SupervisorRules, reasons: readonly Down['reason'][]): { states: Snapshot[]; edges: Edge[] } {
  const map = getAdjacencyMap(supervisorMachine, {
    input: { rules: of, host: nobody, at: 0 },
    events: (snapshot: Snapshot) => happenings(snapshot, reasons),
    serializeState: (snapshot: AnyMachineSnapshot) => form(snapshot as Snapshot),
    serializeEvent: (event: AnyEventObject) => JSON.stringify({ ...event, at: 0, now: event['at'] as number }),
    stopWhen: ({ status }: AnyMachineSnapshot) => status !== 'active',
    limit: 2_000_000,
  } as never) as unknown as Record<
    string,
    { state: Snapshot; transitions: Record<string, { event: SupervisorEvent; state: Snapshot }> }
  >
  const states = Object.values(map).map(({ state }) => state)
  const edges = Object.values(map).flatMap(({ state: from, transitions }) =>
    Object.values(transitions).map(({ event, state: to }) => ({ from, event, to })),
  )
  return { states, edges }
}

function holdsAt({ value, context, status }: Snapshot): void {
  const {
    children,
    restarts,
    rules: { times, within },
    clearing,
    overrun,
  } = context
  const active = status === 'active'
  expect(restarts.length).toBeLessThanOrEqual(overrun ? times + 1 : times)
  expect(restarts.every((at, i) => context.now - at >= 0 && (i === 0 || at >= restarts[i - 1]!))).toBe(true)
  expect(restarts.length < 2 || restarts.at(-1)! - restarts[0]! <= within).toBe(true)
  if (value === 'Running') expect(children.every(settled)).toBe(true)
  if (value === 'Restarting') expect(children.every(settled)).toBe(false)
  if (value === 'Failing' || value === 'Failed') expect(overrun).toBeDefined()
  else expect(overrun).toBeUndefined()
  expect(active).toBe(!FINAL.has(String(value)))
  if (!active) expect(children.every(({ phase }) => phase === 'ended')).toBe(true)
  else {
    // It waits for something: a word from a child, a time, or nothing is to be done.
    const idle =
      !children.some(({ phase }) => phase === 'starting' || phase === 'stopping') && dueAt(context) === undefined
    if (idle) expect(value).toBe('Running')
  }
  // Two are never being stopped at a time, and never is one started while others of its group are yet to be stopped.
  expect(children.filter(({ phase }) => phase === 'stopping').length).toBeLessThanOrEqual(1)
  if (clearing !== undefined && active) {
    const stopping = children.findIndex(({ phase }) => phase === 'stopping')
    expect(stopping).toBeGreaterThanOrEqual(clearing)
    expect(children.slice(stopping + 1).some(lives)).toBe(false)
  }
}

type Order = readonly ['start' | 'stop' | 'release', number, number]

/** An actor that is where a snapshot says, and what it asks for from then on. */
function revived({ context, ...rest }: Snapshot): { actor: ReturnType<typeof actorAt>; orders: Order[] } {
  const orders: Order[] = []
  const host: SupervisorActions = {
    start: (...[index, attempt]) => void orders.push(['start', index, attempt]),
    stop: (...told) => void orders.push(['stop', ...told]),
    release: (...told) => void orders.push(['release', ...told]),
  }
  return { actor: actorAt({ ...rest, context: { ...context, host } } as Snapshot), orders }
}

function actorAt(snapshot: Snapshot) {
  const { rules: of, host, now: at } = snapshot.context
  return createActor(supervisorMachine, { input: { rules: of, host, at }, snapshot: snapshot as never }).start()
}

function holdsOver({ from, event, to }: Edge): void {
  const { strategy } = from.context.rules
  const { actor, orders } = revived(from)
  actor.send(event)
  expect(form(actor.getSnapshot())).toBe(form(to))
  expect(to.context.now).toBe(Math.max(from.context.now, event.at))
  if (isStale(from, event)) {
    expect(orders).toEqual([])
    expect({ ...to.context, orders: [] }).toEqual({ ...from.context, orders: [] })
    return
  }
  const living = new Map(from.context.children.flatMap((one, index) => (lives(one) ? [[index, one.attempt]] : [])))
  const ending = to.context.ending || to.context.overrun !== undefined
  for (const [what, index, attempt] of orders) {
    const after = to.context.children[index]!
    if (what === 'release') {
      // Of one that there is, once.
      expect(living.get(index)).toBe(attempt)
      living.delete(index)
    } else if (what === 'stop') {
      expect(living.get(index)).toBe(attempt)
      expect(Math.max(...living.keys())).toBe(index)
      expect(strategy === 'one-for-one' && !ending).toBe(false)
    } else {
      // Never two at a time, and none that was there before.
      expect(living.has(index)).toBe(false)
      expect(attempt).toBe(from.context.children[index]!.attempt + 1)
      living.set(index, attempt)
      expect(ending).toBe(false)
      // A round begins at the place that is preferred, and knows nothing of the one before.
      if (from.context.children[index]!.phase === 'waiting')
        expect([after.tried, after.absent, after.place]).toEqual([0, true, after.preferred])
      // In order; another place is tried at once, and one for one whoever was up before waits for nobody.
      const inTurn = after.tried === 0 && (strategy !== 'one-for-one' || after.lives === 0)
      if (inTurn) expect(to.context.children.slice(0, index).every(settled)).toBe(true)
    }
  }
  const known = to.context.children.flatMap((one, index) => (lives(one) ? [[index, one.attempt]] : []))
  expect(Object.fromEntries(living)).toEqual(Object.fromEntries(known))
}

/** Whatever has happened, when starts and stops succeed from now on it comes to rest. */
function comesToRest(from: Snapshot): Snapshot {
  const { actor } = revived(from)
  let { now: at } = from.context
  for (let n = 0; n < 200; n++) {
    const { context, status } = actor.getSnapshot()
    if (status !== 'active') break
    const busy = context.children.findIndex(({ phase }) => phase === 'starting' || phase === 'stopping')
    const due = dueAt(context)
    if (busy !== -1) {
      const { phase, attempt } = context.children[busy]!
      if (phase === 'starting') actor.send({ type: 'child.up', child: busy, attempt, at })
      else actor.send({ type: 'child.down', reason: 'stopped', child: busy, attempt, at })
    } else if (due === undefined) break
    else actor.send({ type: 'supervisor.time', at: (at = due) })
  }
  return actor.getSnapshot()
}

/** State × event: where it leads. An event that is not there does nothing, or cannot be. */
const STEPS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Starting: {
    'child.up': 'Running Starting',
    'child.refused': 'Done Failed Failing Running Starting',
    'child.down': 'Done Failed Failing Running Starting',
    'supervisor.time': 'Done Failed Failing Running Starting',
    'supervisor.stop': 'Stopped Stopping',
  },
  Running: {
    'child.up': 'Running',
    'child.refused': 'Running',
    'child.down': 'Done Failed Failing Restarting Running',
    'supervisor.time': 'Running',
    'supervisor.stop': 'Stopping',
  },
  Restarting: {
    'child.up': 'Restarting Running',
    'child.refused': 'Failed Failing Restarting',
    'child.down': 'Failed Failing Restarting',
    'supervisor.time': 'Failed Failing Restarting',
    'supervisor.stop': 'Stopped Stopping',
  },
  Stopping: {
    'child.up': 'Stopping',
    'child.refused': 'Stopped Stopping',
    'child.down': 'Stopped Stopping',
    'supervisor.time': 'Stopped Stopping',
    'supervisor.stop': 'Stopping',
  },
  Failing: {
    'child.up': 'Failing',
    'child.refused': 'Failed Failing',
    'child.down': 'Failed Failing',
    'supervisor.time': 'Failed Failing',
    'supervisor.stop': 'Failing',
  },
}

describe('every state and every edge', () => {
  const worlds = STRATEGIES.flatMap((strategy): [string, SupervisorRules, readonly Down['reason'][]][] => [
    [`${strategy}: three permanent children`, rules(strategy, [child(), child(), child()]), ['error']],
    [
      `${strategy}: one of each kind`,
      rules(strategy, [child({ restart: 'transient' }), child({ restart: 'temporary' }), child()]),
      ['exit', 'error'],
    ],
    [
      `${strategy}: two children with two places each`,
      rules(strategy, [child({ places: 2 }), child({ places: 2, restart: 'transient' })]),
      ['exit', 'error', 'peer lost'],
    ],
    [`${strategy}: one that is started once, alone`, rules(strategy, [child({ restart: 'temporary' })]), REASONS],
    [
      `${strategy}: one that is started once, the last`,
      rules(strategy, [child(), child({ restart: 'temporary' })]),
      REASONS,
    ],
    [
      `${strategy}: no restart is one too many, and there is no pause`,
      rules(strategy, [child({ restart: 'temporary', places: 2 }), child()], { times: 0, delay: 0 }),
      REASONS,
    ],
  ])
  const edges: Edge[] = []

  test.each(worlds)('%s', { timeout: 120_000 }, (name, of, reasons) => {
    const walked = walk(of, reasons)
    edges.push(...walked.edges)
    for (const state of walked.states) holdsAt(state)
    for (const edge of walked.edges) holdsOver(edge)
    for (const state of walked.states) {
      const last = comesToRest(state)
      const value = String(last.value)
      expect(value === 'Running' || FINAL.has(value), `${name}: ${form(state)} ends as ${form(last)}`).toBe(true)
    }
  })

  test('the states of the chart, and where each event leads from there', () => {
    const sets: Record<string, Record<string, Set<string>>> = {}
    for (const { from, event, to } of edges) {
      const row = (sets[String(from.value)] ??= {})
      ;(row[event.type] ??= new Set()).add(String(to.value))
    }
    const table = Object.fromEntries(
      Object.entries(sets).map(([from, row]) => [
        from,
        Object.fromEntries(Object.entries(row).map(([type, to]) => [type, [...to].toSorted().join(' ')])),
      ]),
    )
    expect(table).toEqual(STEPS)
    const reached = new Set(edges.flatMap(({ from, to }) => [String(from.value), String(to.value)]))
    expect([...reached].toSorted()).toEqual(Object.keys(supervisorMachine.root.states).toSorted())
  })
})

// ── a world of children ───────────────────────────────────────────────────────────────────────────────────────────────

interface Life {
  readonly child: number
  readonly attempt: number
  readonly place: number
  /** Where it is by the world, which the supervisor need not know. */
  state: 'starting' | 'up' | 'down'
  told: boolean
  released: boolean
}

/** What the machine asks for, done as the test says; and what was promised, counted beside it. */
class World implements SupervisorActions {
  readonly rules: SupervisorRules
  readonly actor
  readonly lives: Life[] = []
  /** `start 0`, `stop 2`, as they were asked for. */
  readonly log: string[] = []
  concluded = 0
  now = 0

  constructor(of: SupervisorRules) {
    this.rules = of
    this.actor = createActor(supervisorMachine, { input: { rules: of, host: this, at: 0 } })
    // What is thrown below, by an expectation, would otherwise be nobody's.
    this.actor.subscribe({ error: (error) => (this.#broken ??= error), complete: () => this.concluded++ })
    this.actor.start()
  }

  #broken: unknown

  get snapshot(): Snapshot {
    if (this.#broken !== undefined) throw this.#broken
    return this.actor.getSnapshot()
  }
  get value(): string {
    return String(this.snapshot.value)
  }
  get context(): SupervisorContext {
    return this.snapshot.context
  }
  get active(): boolean {
    return this.snapshot.status === 'active'
  }

  start(index: number, attempt: number, place: number): void {
    const mine = this.lives.filter((life) => life.child === index)
    expect(mine.filter(({ released }) => !released)).toEqual([])
    expect(attempt).toBe(mine.length + 1)
    expect(place).toBeGreaterThanOrEqual(0)
    expect(place).toBeLessThan(this.rules.children[index]!.places)
    this.lives.push({ child: index, attempt, place, state: 'starting', told: false, released: false })
    this.log.push(`start ${index}`)
  }

  stop(index: number, attempt: number): void {
    const life = this.life(index, attempt)
    expect([life.released, life.told]).toEqual([false, false])
    life.told = true
    this.log.push(`stop ${index}`)
  }

  release(index: number, attempt: number): void {
    const life = this.life(index, attempt)
    expect(life.released).toBe(false)
    life.released = true
  }

  life(index: number, attempt: number): Life {
    const found = this.lives.find((life) => life.child === index && life.attempt === attempt)
    if (found === undefined) throw new Error(`child ${index} has no attempt ${attempt}`)
    return found
  }

  /** The one that the supervisor goes by. */
  current(index: number): Life | undefined {
    return this.lives.find((life) => life.child === index && !life.released)
  }

  // What comes of a start or a life; said as it is, also of one that was released, which the machine must not heed.
  rises(life: Life): void {
    if (life.state !== 'starting') return
    life.state = 'up'
    this.tell({ type: 'child.up', child: life.child, attempt: life.attempt, at: this.now })
  }
  refuses(life: Life, absent: boolean): void {
    if (life.state !== 'starting') return
    life.state = 'down'
    this.tell({ type: 'child.refused', absent, error: BROKE, child: life.child, attempt: life.attempt, at: this.now })
  }
  falls(life: Life, reason: Down['reason']): void {
    if (life.state !== 'up') return
    life.state = 'down'
    this.tell({ type: 'child.down', reason, child: life.child, attempt: life.attempt, at: this.now })
  }
  pass(ms: number): void {
    const until = this.now + ms
    for (let due = dueAt(this.context); this.active && due !== undefined && due <= until; due = dueAt(this.context)) {
      this.now = due
      this.tell({ type: 'supervisor.time', at: due })
    }
    this.now = until
  }

  tell(event: SupervisorEvent): void {
    this.actor.send(event)
    holdsAt(this.snapshot)
  }

  /** Starts and stops succeed, and the clock goes on, until nothing is waited for. */
  settle(): void {
    for (let n = 0; n < 1_000 && this.active; n++) {
      const life = this.lives.find((one) => !one.released && (one.state === 'starting' || one.told))
      if (life) {
        if (life.state === 'starting' && !life.told) this.rises(life)
        else if (life.state === 'starting') this.refuses(life, false)
        else this.falls(life, 'stopped')
        continue
      }
      const due = dueAt(this.context)
      if (due === undefined) return
      this.pass(due - this.now)
    }
  }

  /** `index: attempts`. */
  get attempts(): number[] {
    return this.rules.children.map((_, index) => this.lives.filter((life) => life.child === index).length)
  }
}

const kind = fc.constantFrom(...KINDS)
const strategy = fc.constantFrom(...STRATEGIES)
const reason = fc.constantFrom(...REASONS)

describe('children that go down', () => {
  test('one by one: exactly those that are to be are started again, in order, and stopped from the last one on', () => {
    const property = fc.property(
      strategy,
      fc.array(kind, { minLength: 1, maxLength: 6 }),
      fc.nat(),
      reason,
      fc.array(fc.nat(), { maxLength: 2 }),
      (how, kinds, which, why, done) => {
        const world = new World(
          rules(
            how,
            kinds.map((restart) => child({ restart })),
            { times: 10 },
          ),
        )
        world.settle()
        expect(world.log.splice(0)).toEqual(kinds.map((_, index) => `start ${index}`))
        // Some have done their work before.
        const ended = new Set<number>()
        for (const at of done.map((n) => n % kinds.length)) {
          if (kinds[at] === 'permanent' || ended.size + 1 === kinds.length) continue
          world.falls(world.current(at) ?? ({ state: 'down' } as Life), 'exit')
          ended.add(at)
        }
        expect(world.log).toEqual([])
        const alive = kinds.map((_, index) => index).filter((index) => !ended.has(index))
        const dies = alive[which % alive.length]!
        world.falls(world.current(dies)!, why)
        world.settle()
        const restarts = again(kinds[dies]!, why)
        const behind = how === 'one-for-all' ? 0 : how === 'rest-for-one' ? dies : undefined
        const stopped = alive.filter((index) => behind !== undefined && index >= behind && index !== dies)
        const started = kinds
          .map((_, index) => index)
          .filter(
            (index) => index === dies || (behind !== undefined && index >= behind && kinds[index] !== 'temporary'),
          )
        expect(world.log).toEqual(
          restarts
            ? [...stopped.toReversed().map((index) => `stop ${index}`), ...started.map((index) => `start ${index}`)]
            : [],
        )
        expect(world.value).toBe(!restarts && alive.length === 1 ? 'Done' : 'Running')
      },
    )
    fc.assert(property, { seed: SEED, numRuns: 500 })
  })

  test('two at once: one of a group that goes down while it is brought down is no failure of its own', () => {
    const world = new World(rules('one-for-all', [child(), child(), child()], { times: 1 }))
    world.settle()
    const [first, second, third] = [0, 1, 2].map((index) => world.current(index)!)
    world.log.length = 0
    world.falls(first!, 'error')
    world.falls(second!, 'error')
    world.falls(third!, 'error')
    world.settle()
    expect([world.value, world.context.restarts.length]).toEqual(['Running', 1])
    expect(world.log).toEqual(['stop 2', 'start 0', 'start 1', 'start 2'])
  })

  test('a failure before those that are brought down takes them all with it', () => {
    const world = new World(rules('rest-for-one', [child(), child(), child(), child()], { times: 2 }))
    world.settle()
    world.log.length = 0
    world.falls(world.current(2)!, 'error')
    world.falls(world.current(0)!, 'error')
    world.settle()
    expect(world.log).toEqual(['stop 3', 'stop 1', 'start 0', 'start 1', 'start 2', 'start 3'])
    expect(world.context.restarts.length).toBe(2)
  })
})

describe('where and when a child is started again', () => {
  const one = (more: Partial<SupervisorRules> = {}, places = 3): World =>
    new World(
      rules('one-for-one', [child({ places, startWithin: Infinity })], {
        times: 1_000,
        within: 60_000,
        delay: 100,
        factor: 2,
        ...more,
      }),
    )
  const placesOf = (world: World): number[] => world.lives.map(({ place }) => place)

  test('the last good place first; another where it is refused, or where its peer was lost', () => {
    const world = one()
    world.refuses(world.current(0)!, false)
    world.rises(world.current(0)!)
    expect(placesOf(world)).toEqual([0, 1])
    for (const why of ['error', 'unreachable', 'peer lost', 'exit'] as const) {
      world.falls(world.current(0)!, why)
      world.settle()
    }
    expect(placesOf(world)).toEqual([0, 1, 1, 2, 0, 0])
    // All of them once, and then a pause.
    world.falls(world.current(0)!, 'error')
    world.pass(60_000)
    for (let n = 0; n < 3; n++) world.refuses(world.current(0)!, n !== 1)
    expect(placesOf(world).slice(6)).toEqual([0, 1, 2])
    expect(world.current(0)).toBeUndefined()
  })

  test('pauses grow to the longest, and begin anew for one that has lived for long enough', () => {
    const world = one({ most: 1_000 }, 1)
    const pauses: number[] = []
    const fall = (): void => {
      world.falls(world.current(0)!, 'error')
      pauses.push(dueAt(world.context)! - world.now)
      world.settle()
    }
    world.settle()
    for (let n = 0; n < 6; n++) fall()
    world.pass(59_999)
    fall()
    world.pass(60_000)
    fall()
    fall()
    expect(pauses).toEqual([100, 200, 400, 800, 1_000, 1_000, 1_000, 100, 200])
  })

  test('where nobody is there to start it is waited for, and that is no restart', () => {
    const world = one({ times: 0, most: 30_000 }, 2)
    for (let n = 0; n < 40; n++) {
      world.refuses(world.current(0)!, true)
      world.refuses(world.current(0)!, true)
      world.pass(30_000)
    }
    expect([world.value, world.context.restarts]).toEqual(['Starting', []])
    world.rises(world.current(0)!)
    expect(world.value).toBe('Running')
    world.falls(world.current(0)!, 'error')
    expect(world.value).toBe('Failed')
  })

  test('a start or a stop that never comes to an end is given up', () => {
    const world = new World(rules('one-for-one', [child(), child({ places: 2 })], { times: 0 }))
    world.rises(world.current(0)!)
    const hangs = world.current(1)!
    world.pass(LATER)
    expect([hangs.released, world.current(1)!.place]).toEqual([true, 1])
    // It was started after all, which is heard too late.
    world.rises(hangs)
    expect(world.context.children[1]).toMatchObject({ phase: 'starting', attempt: 2 })
    world.rises(world.current(1)!)
    world.tell({ type: 'supervisor.stop', at: world.now })
    expect(world.log.slice(-1)).toEqual(['stop 1'])
    world.pass(LATER)
    world.pass(LATER)
    expect([world.value, world.concluded, world.lives.every(({ released }) => released)]).toEqual(['Stopped', 1, true])
  })
})

describe('anything, in any order', () => {
  /** When it has to give up, counted by what happens to the children alone. */
  class Counted {
    readonly #world: World
    readonly #tried = new Map<number, { refusals: number; heard: boolean }>()
    #failures: number[] = []
    overrun = false

    constructor(world: World) {
      this.#world = world
    }

    /** Called with what is about to happen to a child by which the supervisor goes. */
    falls({ child: index, told }: Life, why: Down['reason']): void {
      const { rules: of, context } = this.#world
      const grouped = context.clearing !== undefined && index >= context.clearing
      if (!told && !grouped && !context.ending && again(of.children[index]!.restart, why)) this.#count()
    }

    /** `heard`: somebody was there, and refused it or said nothing. */
    refuses({ child: index, told }: Life, heard: boolean): void {
      const { rules: of, context } = this.#world
      if (told || context.ending || (context.clearing !== undefined && index >= context.clearing)) {
        this.#tried.delete(index)
        return
      }
      const round = this.#tried.get(index) ?? { refusals: 0, heard: false }
      round.refusals++
      round.heard ||= heard
      this.#tried.set(index, round)
      if (round.refusals < of.children[index]!.places) return
      this.#tried.delete(index)
      if (round.heard && of.children[index]!.restart !== 'temporary') this.#count()
    }

    rises({ child: index }: Life): void {
      this.#tried.delete(index)
    }

    #count(): void {
      const { now, rules: of } = this.#world
      this.#failures = [...this.#failures, now].filter((at) => now - at <= of.within)
      this.overrun ||= this.#failures.length > of.times
    }
  }

  type Act = (world: World, counted: Counted) => void
  const lifeOf = (world: World, n: number): Life | undefined => {
    const living = world.lives.filter(({ released }) => !released)
    return living[n % Math.max(1, living.length)]
  }
  const acts: fc.Arbitrary<{ name: string; act: Act }>[] = [
    fc.nat(9).map((n) => ({
      name: `up ${n}`,
      act: (world, counted) => {
        const life = lifeOf(world, n)
        if (life?.state !== 'starting') return
        counted.rises(life)
        world.rises(life)
      },
    })),
    fc.tuple(fc.nat(9), fc.boolean()).map(([n, absent]) => ({
      name: `refused ${n}${absent ? ', nobody there' : ''}`,
      act: (world, counted) => {
        const life = lifeOf(world, n)
        if (life?.state !== 'starting') return
        counted.refuses(life, !absent)
        world.refuses(life, absent)
      },
    })),
    fc.tuple(fc.nat(9), reason).map(([n, why]) => ({
      name: `down ${n}: ${why}`,
      act: (world, counted) => {
        const life = lifeOf(world, n)
        if (life?.state !== 'up') return
        counted.falls(life, why)
        world.falls(life, why)
      },
    })),
    // Of one that was given up: whatever comes of it changes nothing.
    fc.tuple(fc.nat(99), reason).map(([n, why]) => ({
      name: `late word of ${n}: ${why}`,
      act: (world) => {
        const gone = world.lives.filter(({ released }) => released)
        const life = gone[n % Math.max(1, gone.length)]
        if (!life) return
        const before = { ...world.context, now: 0, orders: [] }
        const told = { child: life.child, attempt: life.attempt, at: world.now }
        world.tell({ type: 'child.up', ...told })
        world.tell({ type: 'child.down', reason: why, ...told })
        world.tell({ type: 'child.refused', absent: false, error: BROKE, ...told })
        expect({ ...world.context, now: 0, orders: [] }).toEqual(before)
      },
    })),
    fc.constantFrom(1, 99, 100, 1_000, 4_999, 5_001, 9_000).map((ms) => ({
      name: `${ms} ms`,
      act: (world) => {
        // Not as far as where a start or a stop is given up: the count beside it hears of none of that.
        const last = Math.min(...world.context.children.map(({ deadline }) => deadline)) - 1
        world.pass(Math.max(0, Math.min(ms, last - world.now)))
      },
    })),
  ]
  const stop = fc.constant({
    name: 'stop',
    act: ((world) => world.tell({ type: 'supervisor.stop', at: world.now })) as Act,
  })
  const script = fc.array(
    fc.oneof(...acts.map((arbitrary) => ({ arbitrary, weight: 12 })), { arbitrary: stop, weight: 1 }),
    {
      maxLength: 80,
      size: 'max',
    },
  )
  const children = fc.array(
    fc
      .record({ restart: kind, places: fc.integer({ min: 1, max: 3 }) })
      .map((more) => child({ ...more, startWithin: 50_000, stopWithin: 50_000 })),
    { minLength: 1, maxLength: 5 },
  )

  test('it gives up exactly when it has to, starts nothing afterwards, and always comes to rest', () => {
    const ends = new Map<string, number>()
    const property = fc.property(
      strategy,
      children,
      fc.integer({ min: 0, max: 4 }),
      fc.constantFrom(0, 100, 1_000),
      script,
      (how, all, times, delay, happens) => {
        const world = new World(rules(how, all, { times, delay, factor: 2 }))
        const counted = new Counted(world)
        let stopped = false
        for (const { name, act } of happens) {
          if (!world.active) break
          const before = world.log.length
          stopped ||= name === 'stop' && world.value !== 'Failing'
          act(world, counted)
          const gaveUp = world.value === 'Failing' || world.value === 'Failed'
          expect([name, gaveUp]).toEqual([name, counted.overrun])
          if (gaveUp || stopped)
            expect(world.log.slice(before).filter((order) => order.startsWith('start'))).toEqual([])
        }
        const before = world.log.length
        world.settle()
        const { value } = world
        ends.set(value, (ends.get(value) ?? 0) + 1)
        if (counted.overrun) expect(value).toBe('Failed')
        else if (stopped) expect(value).toBe('Stopped')
        else expect(['Running', 'Done']).toContain(value)
        if (counted.overrun || stopped)
          expect(world.log.slice(before).filter((order) => order.startsWith('start'))).toEqual([])
        // What is up is what the supervisor knows of, and each child once.
        const known = world.lives.filter(({ released }) => !released)
        expect(new Set(known.map((life) => life.child)).size).toBe(known.length)
        expect(known.every(({ state, told }) => state === 'up' && !told)).toBe(true)
        expect(world.concluded).toBe(world.active ? 0 : 1)
      },
    )
    fc.assert(property, { seed: SEED, numRuns: 1_000 })
    // It was not the same end each time.
    expect([...ends.keys()].toSorted()).toEqual(['Done', 'Failed', 'Running', 'Stopped'])
  })

  test('also when starts and stops hang, and are given up', () => {
    const hasty = children.map((all) => all.map((one) => ({ ...one, startWithin: 700, stopWithin: 300 })))
    const wait = fc.constantFrom(100, 300, 700, 2_000).map((ms) => ({
      name: `${ms} ms`,
      act: ((world) => world.pass(ms)) as Act,
    }))
    const property = fc.property(
      strategy,
      hasty,
      fc.integer({ min: 0, max: 20 }),
      fc.array(fc.oneof(...acts.slice(0, 4), wait, wait), { maxLength: 60, size: 'max' }),
      (how, all, times, happens) => {
        const world = new World(rules(how, all, { times, delay: 100, factor: 2 }))
        const counted = new Counted(world)
        for (const { act } of happens) if (world.active) act(world, counted)
        world.settle()
        expect(['Running', 'Done', 'Failed']).toContain(world.value)
      },
    )
    fc.assert(property, { seed: SEED, numRuns: 500 })
  })
})
