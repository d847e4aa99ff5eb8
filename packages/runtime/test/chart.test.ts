// A statechart as data: what is shown of machines of many shapes, which is held against XState's own account of them.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  and,
  assign,
  cancel,
  createActor,
  createMachine,
  emit,
  enqueueActions,
  fromPromise,
  log,
  not,
  or,
  raise,
  sendTo,
  setup,
  spawnChild,
  stateIn,
  stopChild,
  type AnyMachineSnapshot,
  type AnyStateMachine,
} from 'xstate'
import { encode } from '@errand/transport'
import type { ChartState, ChartTransition } from '../src/actor-surface.ts'
import { reply, tellActor } from '../src/machine-actions.ts'
import { acceptsOf, CHART_DEPTH, CHART_SIZE, chartOf, eventName } from '../src/chart.ts'

/** Where a machine is when it has begun, and has taken these. */
function snapshotOf(machine: AnyStateMachine, ...events: string[]): AnyMachineSnapshot {
  const actor = createActor(machine).start()
  for (const type of events) actor.send({ type })
  const snapshot = actor.getSnapshot()
  actor.stop()
  return snapshot
}

function chart(machine: AnyStateMachine, publicTypes: readonly string[] = [], ...events: string[]): ChartState {
  return chartOf(machine, snapshotOf(machine, ...events).value, publicTypes)
}

/** A state by its path. */
function at(root: ChartState, path: string): ChartState {
  let state = root
  for (const key of path.split('.')) {
    const found = state.states.find((one) => one.key === key)
    if (!found) throw new Error(`no state ${path}`)
    state = found
  }
  return state
}

/** `EVENT → TARGETS [guard] / actions`, a `!` before what may be sent. */
function line({ event, public: open, targets, guard, actions }: ChartTransition): string {
  return [
    `${open ? '!' : ''}${event}`,
    ...(targets.length > 0 ? [`→ ${targets.join(' & ')}`] : []),
    ...(guard === undefined ? [] : [`[${guard}]`]),
    ...(actions === undefined ? [] : [`/ ${actions.join(', ')}`]),
  ].join(' ')
}

/** Paths of the states that it is in, and of all others, in the order in which they are shown. */
function paths(state: ChartState, active: boolean, before = ''): string[] {
  return state.states.flatMap((child) => {
    const path = before === '' ? child.key : `${before}.${child.key}`
    return [...(child.active === active ? [path] : []), ...paths(child, active, path)]
  })
}

const light = setup({
  guards: { isDay: () => true, isOpen: (_args, _params: { door: string }) => true },
  actions: { ring: () => {}, note: (_args, _params: { text: string }) => {} },
  delays: { patience: 5_000, later: () => 100 },
  actors: { work: fromPromise(async () => 1) },
}).createMachine({
  id: 'light',
  initial: 'red',
  states: {
    red: {
      tags: ['stop'],
      entry: ['ring', { type: 'note', params: { text: 'x' } }],
      exit: 'ring',
      on: {
        go: [{ guard: 'isDay', target: 'green', actions: ['ring'] }, { target: 'blinking' }],
        note: { actions: { type: 'note', params: { text: 'x' } } },
        knock: { guard: { type: 'isOpen', params: { door: 'a' } }, target: 'green' },
        shout: undefined,
        again: { target: 'red', reenter: true },
      },
    },
    green: {
      after: { 500: 'red', patience: { target: 'blinking' }, later: 'red' },
      always: { guard: 'isDay', target: 'red' },
    },
    blinking: { type: 'final' },
  },
})

describe('states', () => {
  test('are those of the machine, in their order, with what they are', () => {
    const root = chart(light, ['go'])
    expect(root).toMatchObject({ key: 'light', kind: 'compound', active: true, initial: 'red' })
    expect(root.states.map(({ key, kind, active }) => [key, kind, active])).toEqual([
      ['red', 'atomic', true],
      ['green', 'atomic', false],
      ['blinking', 'final', false],
    ])
    expect(at(root, 'red')).toMatchObject({ tags: ['stop'], entry: ['ring', 'note'], exit: ['ring'] })
    expect(at(root, 'red')).not.toHaveProperty('omitted')
  })

  test('of none that is known nothing is active', () => {
    const root = chartOf(light, undefined, [])
    expect(root.active).toBe(false)
    expect(paths(root, true)).toEqual([])
  })

  test('a value that the machine does not have marks nothing that it is not', () => {
    expect(paths(chartOf(light, 'violet', []), true)).toEqual([])
    expect(paths(chartOf(light, { red: { dark: 'deep' } }, []), true)).toEqual(['red'])
    expect(paths(chartOf(light, { __proto__: null, toString: {} } as never, []), true)).toEqual([])
  })

  test('of a parallel state all regions are active, and what is within them', () => {
    const machine = createMachine({
      id: 'p',
      type: 'parallel',
      states: {
        left: { initial: 'off', states: { off: { on: { l: 'on' } }, on: {} } },
        right: { initial: 'off', states: { off: {}, on: { initial: 'deep', states: { deep: {} } } }, on: { r: '.on' } },
        plain: {},
      },
    })
    expect(chart(machine)).toMatchObject({ kind: 'parallel', active: true })
    expect(chart(machine).initial).toBeUndefined()
    expect(paths(chart(machine, [], 'l', 'r'), true)).toEqual([
      'left',
      'left.on',
      'right',
      'right.on',
      'right.on.deep',
      'plain',
    ])
  })

  test('history says how deep it remembers, and where it leads when there is nothing to remember', () => {
    const machine = createMachine({
      initial: 'away',
      states: {
        away: { on: { back: 'home.last', all: '#home.every' } },
        home: {
          id: 'home',
          initial: 'a',
          states: {
            a: {},
            b: {},
            last: { type: 'history', target: 'b' },
            every: { type: 'history', history: 'deep' },
          },
        },
      },
    })
    const root = chart(machine)
    expect(at(root, 'home.last')).toMatchObject({ kind: 'history', history: 'shallow', initial: 'b', active: false })
    expect(at(root, 'home.every')).toMatchObject({ kind: 'history', history: 'deep' })
    expect(at(root, 'home.every').initial).toBeUndefined()
    expect(at(root, 'away').on.map(line)).toEqual(['back → home.last', 'all → home.every'])
    // It is never in a history state, but in what that led to.
    expect(paths(chart(machine, [], 'back'), true)).toEqual(['home', 'home.b'])
  })

  test('what a state runs goes by its id, else by what it is', () => {
    const machine = setup({
      actors: { work: fromPromise(async () => 1), other: fromPromise(async () => 1) },
    }).createMachine({
      id: 'm',
      initial: 'a',
      states: {
        a: {
          invoke: [
            { src: 'work', id: 'w', onDone: 'b', onError: 'c', onSnapshot: { actions: function note() {} } },
            { src: 'other', onDone: 'b' },
            { src: 'other', onDone: 'c' },
            { src: fromPromise(async () => 1), onDone: 'b' },
          ],
        },
        b: {},
        c: {},
      },
    })
    const a = at(chart(machine), 'a')
    expect(a.invokes).toEqual(['w (work)', 'other', 'other 3', 'inline 4'])
    expect(a.on.map(line)).toEqual([
      'done of w → b',
      'error of w → c',
      'snapshot of w / note',
      'done of other → b',
      'done of other 3 → c',
      'done of inline 4 → b',
    ])
    // As they arrive they have the same names.
    expect(eventName(machine, 'xstate.done.actor.w')).toBe('done of w')
    expect(eventName(machine, 'xstate.done.actor.1.m.a')).toBe('done of other')
  })
})

describe('transitions', () => {
  test('have their event, their targets, guards and actions by name, in the order they are asked', () => {
    expect(at(chart(light, ['go', 'knock']), 'red').on.map(line)).toEqual([
      '!go → green [isDay] / ring',
      '!go → blinking',
      'note / note',
      '!knock → green [isOpen]',
      'shout',
      'again → red',
    ])
  })

  test('by themselves: after a time, by its name too, and always', () => {
    expect(at(chart(light), 'green').on.map(line)).toEqual([
      'after 500 ms → red',
      'after patience (5000 ms) → blinking',
      'after later → red',
      ' → red [isDay]',
    ])
    expect(eventName(light, 'xstate.after.500.light.green')).toBe('after 500 ms')
    expect(eventName(light, 'xstate.after.patience.light.green')).toBe('after patience (5000 ms)')
  })

  test('a delay that was provided is the one that is shown', () => {
    const machine = light.provide({ delays: { patience: 1_000 } })
    expect(at(chart(machine), 'green').on.map(line)).toContain('after patience (1000 ms) → blinking')
  })

  test('when a state is done; of regions when all are', () => {
    const machine = createMachine({
      id: 'm',
      initial: 'a',
      states: {
        a: { initial: 'x', onDone: 'b', states: { x: { on: { e: 'y' } }, y: { type: 'final' } } },
        b: {
          id: 'bee',
          type: 'parallel',
          onDone: [{ guard: () => false, target: 'a' }, { target: 'c' }],
          states: { l: { initial: 'f', states: { f: { type: 'final' } } } },
        },
        c: {},
      },
    })
    const root = chart(machine)
    expect(at(root, 'a').on.map(line)).toEqual(['done of a → b'])
    expect(at(root, 'b').on.map(line)).toEqual(['done of b → a [inline]', 'done of b → c'])
    expect(eventName(machine, 'xstate.done.state.m.a')).toBe('done of a')
    expect(eventName(machine, 'xstate.done.state.bee')).toBe('done of b')
  })

  test('what nobody has named is inline; guards that are made of others say of which', () => {
    const machine = setup({ guards: { g: () => true, h: (_args, _p: { x: number }) => true } }).createMachine({
      initial: 'a',
      states: {
        a: {
          on: {
            one: { guard: () => true, target: 'b', actions: () => {} },
            two: {
              guard: function isFine() {
                return true
              },
              actions: function shout() {},
            },
            three: {
              guard: and(['g', not('g'), or(['g', { type: 'h', params: { x: 1 } }]), stateIn('a')]),
              target: 'b',
            },
            four: { guard: stateIn({ a: 'deep' }), target: 'b', actions: [() => {}] },
          },
        },
        b: {},
      },
    })
    expect(at(chart(machine), 'a').on.map(line)).toEqual([
      'one → b [inline] / inline',
      'two [isFine] / shout',
      'three → b [g and not g and (g or h) and in a]',
      'four → b [in a.deep] / inline',
    ])
  })

  test('actions of XState say what they do, as far as that is written down', () => {
    const machine = setup({ actors: { work: fromPromise(async () => 1) } }).createMachine({
      entry: [
        assign({}),
        assign({ count: 1, by: () => 'Ann' }),
        assign(() => ({ count: 2 })),
        reply('yes'),
        tellActor({} as never, { type: 'x' }),
        raise({ type: 'next' }),
        raise(() => ({ type: 'computed' })),
        raise({ type: 'later' }, { delay: 50 }),
        emit({ type: 'said' }),
        sendTo('worker', { type: 'do' }),
        sendTo('worker', () => ({ type: 'do' })),
        spawnChild('work'),
        stopChild('worker'),
        cancel('later'),
        log('x'),
        enqueueActions(() => {}),
      ],
      after: { 10: { actions: assign({}) } },
    })
    expect(chartOf(machine, {}, []).entry).toEqual([
      'assign',
      'assign count by',
      'assign',
      'reply',
      'tellActor',
      'raise next',
      'raise',
      'raise later',
      'emit said',
      'send do to worker',
      'send to worker',
      'spawnChild work',
      'stopChild worker',
      'cancel later',
      'log',
      'enqueueActions',
    ])
    // The timers that a state sets and clears are its transitions, and no actions of anybody's.
    expect(chartOf(machine, {}, []).exit).toBeUndefined()
    expect(chartOf(machine, {}, []).on.map(line)).toEqual(['after 10 ms / assign'])
  })

  test('several targets, and the root itself', () => {
    const machine = createMachine({
      id: 'root',
      initial: 'p',
      states: {
        p: {
          type: 'parallel',
          states: {
            l: { initial: 'a', states: { a: {}, b: {} } },
            r: { initial: 'a', states: { a: {}, b: {} } },
          },
        },
      },
      on: { both: { target: ['.p.l.b', '.p.r.b'] }, whole: { target: '#root', reenter: true } },
    })
    expect(chart(machine).on.map(line)).toEqual(['both → p.l.b & p.r.b', 'whole → '])
  })

  test('of a wildcard: public where any public event fits it', () => {
    const machine = createMachine({
      on: { 'mouse.*': { actions: log() }, '*': { actions: log() }, 'xstate.error.actor.*': {} },
    })
    expect(chartOf(machine, {}, ['mouse.up']).on.map((one) => one.public)).toEqual([true, true, false])
    expect(chartOf(machine, {}, ['mousetrap']).on.map((one) => one.public)).toEqual([false, true, false])
    expect(chartOf(machine, {}, []).on.map((one) => one.public)).toEqual([false, false, false])
  })

  test('names that the machine does not know are told as they came', () => {
    expect(eventName(light, 'go')).toBe('go')
    expect(eventName(light, 'xstate.init')).toBe('init')
    expect(eventName(light, 'xstate.done.actor.spawned-3')).toBe('done of spawned-3')
    expect(eventName(light, 'xstate.error.actor.spawned-3')).toBe('error of spawned-3')
  })
})

describe('bounds', () => {
  const wide = (count: number): AnyStateMachine =>
    createMachine({
      id: 'wide',
      initial: `s${count - 1}`,
      states: Object.fromEntries(
        Array.from({ length: count }, (_, n) => [
          `s${n}`,
          { on: { next: `s${(n + 1) % count}`, back: { target: `s${(n + count - 1) % count}`, actions: 'note' } } },
        ]),
      ),
    })

  const countOf = (state: ChartState): number => state.states.reduce((sum, child) => sum + countOf(child), 1)
  const leftOut = (state: ChartState): number =>
    state.states.reduce((sum, child) => sum + leftOut(child), state.omitted?.states ?? 0)

  test('of a chart of thousands of states the one it is in is there, and it is said how many are not', () => {
    const root = chart(wide(20_000))
    expect(at(root, 's19999')).toMatchObject({ active: true, on: [{ event: 'next' }, { event: 'back' }] })
    expect(countOf(root) + leftOut(root)).toBe(20_001)
    expect(root.omitted!.states).toBeGreaterThan(10_000)
    expect(encode(root).length).toBeLessThan(CHART_SIZE)
    // It is as good as full, and in the order of the machine.
    expect(JSON.stringify(root).length).toBeGreaterThan(CHART_SIZE / 3)
    expect(root.states[0]!.key).toBe('s0')
    expect(root.states.at(-1)!.key).toBe('s19999')
  })

  test('one that fits is whole', () => {
    const root = chart(wide(200))
    expect(countOf(root)).toBe(201)
    expect(leftOut(root)).toBe(0)
    expect(JSON.stringify(root)).not.toContain('omitted')
  })

  test('a state of ever so many transitions', () => {
    const on = Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`event${n}`, { actions: 'note' }]))
    const root = chartOf(createMachine({ initial: 'a', states: { a: {}, b: {} }, on }), 'a', [])
    expect(root.on.length).toBeGreaterThan(1_000)
    expect(root.on.length + root.omitted!.transitions).toBe(50_000)
    expect(encode(root).length).toBeLessThan(CHART_SIZE)
    // The state it is in is told nevertheless.
    expect(at(root, 'a').active).toBe(true)
  })

  test('of ever so many regions that it is in at once', () => {
    const keys = Array.from({ length: 20_000 }, (_, n) => `r${n}`)
    const states = Object.fromEntries(keys.map((key) => [key, { on: { e: { actions: 'note' } } }]))
    // Its value is made here: XState takes minutes to begin in so many.
    const value = Object.fromEntries(keys.map((key) => [key, {}]))
    const root = chartOf(createMachine({ type: 'parallel', states }), value, [])
    expect(encode(root).length).toBeLessThan(CHART_SIZE)
    expect(countOf(root)).toBeGreaterThan(1_000)
    expect(countOf(root) + leftOut(root)).toBe(20_001)
  })

  test('names of any length, and lists of any length', () => {
    const long = 'x'.repeat(100_000)
    const many = Array.from({ length: 10_000 }, () => long)
    const machine = createMachine({
      id: long,
      initial: long,
      states: { [long]: { tags: many, entry: many, on: { [long]: { target: long, guard: long, actions: many } } } },
    })
    const root = chart(machine)
    expect(encode(root).length).toBeLessThan(CHART_SIZE)
    const [state] = root.states
    expect(state!.active).toBe(true)
    expect(state!.key.length).toBeLessThanOrEqual(200)
    expect(state!.entry!.at(-1)).toBe('… 9984 more')
    expect(state!.on[0]!.actions!.at(-1)).toBe('… 9984 more')
  })

  test('states within states, deeper than is shown', () => {
    const levels = 200
    let config: Record<string, unknown> = {}
    for (let n = 0; n < levels; n++) config = { initial: 'in', states: { in: config } }
    const root = chart(createMachine(config))
    let depth = 0
    let deepest = root
    while (deepest.states[0]) {
      deepest = deepest.states[0]
      depth++
    }
    expect(depth).toBe(CHART_DEPTH)
    expect(deepest).toMatchObject({ active: true, omitted: { states: levels - CHART_DEPTH, transitions: 0 } })
    expect(() => encode({ chart: { chart: root } })).not.toThrow()
  })

  test('a guard of guards of guards', () => {
    let guard: unknown = 'g'
    for (let n = 0; n < 1_000; n++) guard = not(guard as 'g')
    const machine = createMachine({ on: { e: { guard: guard as 'g', actions: 'a' } } })
    expect(chartOf(machine, {}, []).on[0]!.guard!.length).toBeLessThanOrEqual(200)
  })
})

describe('what it accepts', () => {
  test('the public events that it has a transition for, guards unasked', () => {
    const types = ['go', 'note', 'knock', 'shout', 'again', 'other']
    expect(acceptsOf(snapshotOf(light), types)).toEqual(['go', 'note', 'knock', 'again'])
    expect(acceptsOf(snapshotOf(light), ['again', 'go'])).toEqual(['again', 'go'])
    expect(acceptsOf(snapshotOf(light), [])).toEqual([])
  })

  test('nothing once it has ended', () => {
    const machine = createMachine({
      initial: 'a',
      on: { '*': { actions: log() } },
      states: { a: { on: { e: 'z' } }, z: { type: 'final' } },
    })
    expect(acceptsOf(snapshotOf(machine), ['e', 'f'])).toEqual(['e', 'f'])
    expect(acceptsOf(snapshotOf(machine, 'e'), ['e', 'f'])).toEqual([])
  })

  test('of those above it too, unless they are forbidden below', () => {
    const machine = createMachine({
      initial: 'a',
      on: { stop: '.end', log: { actions: log() }, maybe: '.end' },
      states: { a: { on: { stop: undefined, maybe: { guard: () => true } } }, end: {} },
    })
    expect(acceptsOf(snapshotOf(machine), ['stop', 'log', 'maybe'])).toEqual(['log', 'maybe'])
  })

  test('wildcards take all, those of a kind all of that kind', () => {
    const machine = createMachine({
      initial: 'a',
      states: { a: { on: { 'mouse.*': 'b', quiet: undefined } }, b: { on: { '*': 'a', quiet: undefined } } },
    })
    const types = ['mouse.up', 'mouse', 'mousetrap', 'key', 'quiet']
    expect(acceptsOf(snapshotOf(machine), types)).toEqual(['mouse.up', 'mouse'])
    // What is forbidden by its name is forbidden: it is asked before the wildcard.
    expect(acceptsOf(snapshotOf(machine, 'mouse.up'), types)).toEqual(['mouse.up', 'mouse', 'mousetrap', 'key'])
  })
})

// ── any machine ───────────────────────────────────────────────────────────────────────────────────────────────────────

const TYPES = ['a', 'b', 'c.d', 'c.e', 'c']
const DESCRIPTORS = [...TYPES, '*', 'c.*']
interface Drawn {
  readonly kind: 'atomic' | 'compound' | 'parallel'
  readonly on: readonly { type: string; does: 'nothing' | 'goes' | 'acts'; guarded: boolean }[]
  readonly children: readonly Drawn[]
}

const drawnOn = fc.array(
  fc.record({
    type: fc.constantFrom(...DESCRIPTORS),
    does: fc.constantFrom<'nothing' | 'goes' | 'acts'>('nothing', 'goes', 'acts'),
    guarded: fc.boolean(),
  }),
  { maxLength: 4 },
)
const { drawn } = fc.letrec<{ drawn: Drawn; leaf: Drawn; inner: Drawn }>((tie) => ({
  drawn: fc.oneof({ depthSize: 'small', withCrossShrink: true }, tie('leaf'), tie('inner')),
  leaf: fc.record({ kind: fc.constant('atomic' as const), on: drawnOn, children: fc.constant([]) }),
  inner: fc.record({
    kind: fc.constantFrom('compound' as const, 'parallel' as const),
    on: drawnOn,
    children: fc.array(tie('drawn'), { minLength: 1, maxLength: 3 }),
  }),
}))

/** A machine of it, each guard of which is a bit of its own. */
function machineOf(root: Drawn, guards: { count: number; answers: number }): AnyStateMachine {
  const config = ({ kind, on, children }: Drawn): Record<string, unknown> => {
    const transitions: Record<string, unknown[]> = {}
    for (const { type, does, guarded } of on) {
      const bit = guarded && guards.count < 8 ? 1 << guards.count++ : undefined
      ;(transitions[type] ??= []).push({
        ...(bit !== undefined && { guard: () => (guards.answers & bit) !== 0 }),
        ...(does === 'goes' && { target: '#root' }),
        ...(does === 'acts' && { actions: 'act' }),
      })
    }
    return {
      on: transitions,
      ...(kind === 'parallel' && { type: 'parallel' }),
      ...(kind === 'compound' && { initial: 's0' }),
      ...(children.length > 0 && { states: Object.fromEntries(children.map((child, n) => [`s${n}`, config(child)])) }),
    }
  }
  return createMachine({ ...config(root), id: 'root' })
}

test('of any machine: it accepts what it could take, whatever its guards may answer', () => {
  fc.assert(
    fc.property(drawn, (root) => {
      const guards = { count: 0, answers: 0 }
      const machine = machineOf(root, guards)
      const snapshot = snapshotOf(machine)
      const could = TYPES.filter((type) => {
        for (guards.answers = 0; guards.answers < 1 << guards.count; guards.answers++) {
          if (snapshot.can({ type })) return true
        }
        return false
      })
      expect(acceptsOf(snapshot, TYPES)).toEqual(could)
    }),
    { numRuns: 500 },
  )
})

test('of any machine: the states it is in are those that are marked, and every state and transition is there', () => {
  fc.assert(
    fc.property(drawn, (root) => {
      const machine = machineOf(root, { count: 0, answers: 0 })
      const snapshot = snapshotOf(machine)
      const shown = chartOf(machine, snapshot.value, [])
      const nodes = (snapshot as unknown as { _nodes: { path: string[] }[] })._nodes.map(({ path }) => path.join('.'))
      expect([...(shown.active ? [''] : []), ...paths(shown, true)].toSorted()).toEqual(nodes.toSorted())
      const transitionsOf = (state: ChartState): number =>
        state.states.reduce((sum, child) => sum + transitionsOf(child), state.on.length)
      const drawnIn = (one: Drawn): number => one.children.reduce((sum, child) => sum + drawnIn(child), one.on.length)
      expect(transitionsOf(shown)).toBe(drawnIn(root))
    }),
    { numRuns: 200 },
  )
})
