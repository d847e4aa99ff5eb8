// How an actor looks to a person: its statechart as a tree, what it accepts, waits for, and has done; in wide and narrow
// terminals, in pipes, with colours and without, and whatever its names are.
import { stripVTControlCharacters, styleText } from 'node:util'
import type { ActorInspection, ChartState, ChartTransition } from '@errand/runtime/client'
import { describe, expect, test } from 'vitest'
import { actorDocument, actorText, ACTOR_FIELDS, stateText, type ActorStyle } from '../src/render/actor.ts'
import { DEFS } from '../src/json-schema.ts'
import { chartText } from '../src/render/chart.ts'
import { shownWidth } from '../src/render/table.ts'

const PLAIN: ActorStyle = { columns: undefined, short: false, paint: (_style, text) => text }
const COLORED: ActorStyle = {
  ...PLAIN,
  paint: (style, text) => styleText(style, text, { validateStream: false }),
}
const on = (columns: number): ActorStyle => ({ ...PLAIN, columns })

function transition(event: string, more: Partial<ChartTransition> = {}): ChartTransition {
  return { event, public: true, targets: [], ...more }
}
function state(key: string, more: Partial<ChartState> = {}): ChartState {
  return { key, kind: 'atomic', active: false, on: [], states: [], ...more }
}

const at = new Date('2026-11-22T09:00:00Z')
const review: ActorInspection = {
  address: { peer: 'peer-id', path: 's/j', epoch: 1, machine: 'review' },
  at,
  machine: 'review',
  version: 2,
  durable: true,
  status: 'active',
  value: { waiting: 'first' },
  context: { what: 'a new laptop', open: false },
  accepts: ['approve', 'note'],
  timers: [{ event: 'after patience (3600000 ms)', due: new Date(at.getTime() + 3_000_000) }],
  inbox: 0,
  watchers: 1,
  chart: state('review', {
    kind: 'compound',
    active: true,
    initial: 'waiting',
    states: [
      state('waiting', {
        kind: 'compound',
        active: true,
        initial: 'first',
        tags: ['open'],
        entry: ['remind'],
        on: [
          transition('approve', { targets: ['approved'], guard: 'isOpen', actions: ['remember', 'ring'] }),
          transition('note', { actions: ['remember'] }),
          transition('hidden', { targets: ['approved'], public: false }),
          transition('shout'),
          transition('after patience (3600000 ms)', { targets: ['asking'], public: false }),
        ],
        states: [state('first', { active: true }), state('second')],
      }),
      state('asking', {
        kind: 'parallel',
        invokes: ['lookup', 'w (work)'],
        on: [
          transition('done of lookup', { targets: ['approved'], public: false }),
          transition('', { guard: 'isOpen', targets: ['waiting.first', 'waiting'], public: false }),
        ],
        states: [state('left'), state('last', { kind: 'history', history: 'deep', initial: 'left' })],
      }),
      state('approved', { kind: 'final' }),
    ],
  }),
  transitions: [
    {
      seq: 1,
      at: new Date('2026-11-22T08:59:00Z'),
      event: 'note',
      from: { waiting: 'first' },
      to: { waiting: 'first' },
    },
    { seq: 2, at: new Date('2026-11-22T08:59:30Z'), event: 'ask', from: { waiting: 'first' }, to: 'asking' },
    { seq: 3, at: new Date('2026-11-22T08:59:31Z'), event: 'note', from: 'asking', to: 'asking', ignored: true },
  ],
}

test('a chart, as it is in a pipe', () => {
  expect(chartText(review, PLAIN)).toBe(`\
● review
  ● waiting  initial, tagged open
      on entry / remind
      approve  → approved  [isOpen]  / remember, ring
      note     / remember
      hidden   → approved  (not from outside)
      shout    is ignored
      after patience (1 h)  → asking  in 50 min
    ● first  initial
    ○ second
  ○ asking  all at once, runs lookup, w (work)
      done of lookup  → approved
      always          → waiting.first & waiting  [isOpen]
    ○ left
    ○ last  history, deep, else left
  ○ approved  final
`)
})

test('the same in 40 columns: what does not fit goes on below', () => {
  expect(chartText(review, on(40))).toBe(`\
● review
  ● waiting  initial, tagged open
      on entry / remind
      approve  → approved  [isOpen]
          / remember, ring
      note     / remember
      hidden   → approved
          (not from outside)
      shout    is ignored
      after patience (1 h)  → asking
          in 50 min
    ● first  initial
    ○ second
  ○ asking  all at once, runs lookup,
        w (work)
      done of lookup  → approved
      always  → waiting.first & waiting
          [isOpen]
    ○ left
    ○ last  history, deep, else left
  ○ approved  final
`)
})

test('in 80 columns nothing is cut', () => {
  expect(chartText(review, on(80))).toBe(chartText(review, PLAIN))
})

test('colours say nothing that is not written, and are only where they are wanted', () => {
  const colored = chartText(review, COLORED)
  expect(stripVTControlCharacters(colored)).toBe(chartText(review, PLAIN))
  expect(colored).toContain(styleText(['bold', 'green'], '●', { validateStream: false }))
  // What would be taken now stands out.
  expect(colored).toContain(styleText('bold', 'approve', { validateStream: false }))
  expect(colored).not.toContain(styleText('bold', 'hidden', { validateStream: false }))
})

test('what a large chart leaves out is said where it is missing', () => {
  const chart = state('big', {
    active: true,
    states: [state('a', { on: [transition('e', { targets: ['b'] })], omitted: { transitions: 1_200, states: 0 } })],
    omitted: { transitions: 0, states: 19_000 },
  })
  expect(chartText({ ...review, chart, accepts: [], timers: [] }, PLAIN)).toBe(`\
● big
  ○ a
      e  → b
      … 1200 more transitions
  … 19000 more states
`)
})

describe('whatever its names are', () => {
  const evil = '\u001b]0;title\u0007\u001b[2J\r\nroot@host:~# \u202e'
  const foreign: ActorInspection = {
    ...review,
    machine: evil,
    value: evil,
    context: { [evil]: evil },
    accepts: [evil],
    timers: [{ event: evil, due: at }],
    chart: state(evil, {
      active: true,
      initial: evil,
      tags: [evil],
      invokes: [evil],
      entry: [evil],
      exit: [evil],
      on: [transition(evil, { targets: [evil], guard: evil, actions: [evil] })],
      states: [state(evil, { kind: 'history', history: 'deep', initial: evil }), state('')],
    }),
    transitions: [{ seq: 1, at, event: evil, from: evil, to: { [evil]: evil } }],
  }

  test.each([PLAIN, COLORED, on(40)])('no terminal obeys them', (style) => {
    const text = actorText(foreign, style)
    // oxlint-disable-next-line no-control-regex -- what is looked for
    const ours = text.replaceAll(/\u001b\[[\d;]*m/g, '')
    expect(ours).not.toMatch(/(?!\n)[\p{Cc}\u202a-\u202e\u2066-\u2069]/u)
    // Nor does anything of theirs begin a line.
    expect(ours).not.toMatch(/^root@host/m)
  })

  test.each([20, 40, 80])('no line is wider than %i columns, also of names that are', (columns) => {
    const wide = '漢字'.repeat(100)
    const deep = Array.from({ length: 24 }).reduce<ChartState>(
      (inner) =>
        state(wide, { active: true, states: [inner], on: [transition(wide, { targets: [wide], guard: wide })] }),
      state(wide),
    )
    for (const line of chartText({ ...review, chart: deep }, on(columns)).split('\n')) {
      expect(shownWidth(line)).toBeLessThanOrEqual(columns)
    }
  })
})

test('where it is, as paths of the innermost states', () => {
  expect(stateText('waiting')).toBe('waiting')
  expect(stateText({ waiting: 'first' })).toBe('waiting.first')
  expect(stateText({ left: 'on', right: { deep: 'er', plain: {} }, alone: {} })).toBe(
    'left.on, right.deep.er, right.plain, alone',
  )
  expect(stateText({})).toBe('')
})

test('everything of an actor, in a pipe', () => {
  expect(actorText(review, PLAIN)).toBe(`\
machine      review, version 2, on disk
is in        waiting.first
accepts now  approve, note
timers       after patience (1 h)  in 50 min
watched by   1
context      { what: 'a new laptop', open: false }

${chartText(review, PLAIN)}
TIME                      EVENT  FROM           TO
2026-11-22T08:59:00.000Z  note   waiting.first  waiting.first
2026-11-22T08:59:30.000Z  ask    waiting.first  asking
2026-11-22T08:59:31.000Z  note   asking         (ignored)
`)
})

test('the same in 40 columns', () => {
  const text = actorText(review, { ...on(40), short: true })
  expect(text).toContain(`
timers       after patience (1 h)
               in 50 min
watched`)
  expect(text.slice(text.indexOf('TIME')).replaceAll(/\d\d:\d\d:\d\d/g, '##:##:##')).toBe(`\
TIME      EVENT  TO
##:##:##  note   waiting.first
##:##:##  ask    asking
##:##:##  note   (ignored)
`)
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(40)
})

test('long lists go on below', () => {
  const many = Array.from({ length: 12 }, (_, n) => `event${n}`)
  const value = { left: 'on', right: { deep: 'er', plain: {} } }
  const lines = actorText({ ...review, accepts: many, value }, on(40)).split('\n')
  expect(lines.slice(1, 8)).toEqual([
    'is in        left.on, right.deep.er,',
    '             right.plain',
    'accepts now  event0, event1, event2,',
    '             event3, event4, event5,',
    '             event6, event7, event8,',
    '             event9, event10, event11',
    'timers       after patience (1 h)',
  ])
})

test('of one that has done nothing yet, takes nothing, and holds much', () => {
  const idle: ActorInspection = {
    ...review,
    version: undefined,
    durable: false,
    accepts: [],
    timers: [],
    watchers: 0,
    inbox: 7,
    context: Array.from({ length: 1000 }, (_, n) => n),
    transitions: [],
  }
  const text = actorText(idle, on(80))
  expect(text).toContain('machine      review\n')
  expect(text).toContain('accepts now  nothing\n')
  expect(text).toContain('inbox        7 events\n')
  expect(text).not.toMatch(/timers|watched|TIME/)
  // It is shown as far as one wants to see it; --json has all of it.
  expect(text).toContain('… more, with --json')
  expect(text.split('\n').length).toBeLessThan(60)
})

test('as a document: everything, and null where there is nothing', () => {
  const document = actorDocument(review)
  expect(Object.keys(document)).toEqual(ACTOR_FIELDS)
  expect(Object.keys(DEFS['actor']!['properties'] as object).toSorted()).toEqual(ACTOR_FIELDS.toSorted())
  const chartFields = Object.keys(document['chart'] as object)
  expect(Object.keys(DEFS['chartState']!['properties'] as object)).toEqual(chartFields)
  expect(document).toMatchObject({
    at: '2026-11-22T09:00:00.000Z',
    version: 2,
    timers: [{ event: 'after patience (3600000 ms)', due: '2026-11-22T09:50:00.000Z' }],
    chart: { key: 'review', initial: 'waiting', history: null, tags: [], omitted: null },
    transitions: [{ seq: 1, ignored: false }, { seq: 2 }, { seq: 3, ignored: true }],
  })
  expect(actorDocument({ ...review, version: undefined, context: new Map([[1n, at]]) })).toMatchObject({
    version: null,
    context: { $map: [[{ $bigint: '1' }, { $date: '2026-11-22T09:00:00.000Z' }]] },
  })
})
