// Which children of a supervisor are started, stopped and started again, where, and when it gives up. Decides; does nothing
// itself: its host acts (supervisor.ts). Time comes with the events, in milliseconds of a clock that never goes back.
//
// Every start of a child is an attempt with a number of its own. What is said of any but the present one is of an earlier
// incarnation and changes nothing. Each attempt is released once, whatever became of it: its host then sees to it that
// nothing is left of it, also where it cannot be reached for now.
import { assign, setup, type ActorRefFrom } from 'xstate'
import type { ChildRestart, Down, SupervisionStrategy } from './actor-surface.ts'

/** All times in milliseconds. */
export interface SupervisorRules {
  readonly strategy: SupervisionStrategy
  /** More restarts than this `within`, of all children together: it gives up. */
  readonly times: number
  readonly within: number
  /** Pause before a child's first restart; each is `factor` times the one before, up to `most`. */
  readonly delay: number
  readonly factor: number
  readonly most: number
  /** In the order in which they are started. */
  readonly children: readonly ChildRules[]
}

export interface ChildRules {
  readonly restart: ChildRestart
  /** Places where it may be started, at least 1. */
  readonly places: number
  /** So long a start, and a stop, may take; Infinity for as long as it takes. */
  readonly startWithin: number
  readonly stopWithin: number
}

/** What the machine asks of whoever hosts it, in this order. Children and places by their index. */
export interface SupervisorActions {
  /** Its outcome is `child.up` or `child.refused`, then `child.down`. */
  start(child: number, attempt: number, place: number): void
  /** To be ended, also while it is being started: its outcome is `child.refused` or `child.down`. */
  stop(child: number, attempt: number): void
  /** Nothing waits for it any more. What may be left of it is to be ended as soon as that can be done. */
  release(child: number, attempt: number): void
}

export type SupervisorEvent = { readonly at: number } & (
  | { type: 'child.up'; child: number; attempt: number }
  /** It could not be started. `absent`: nobody was there to start it. */
  | { type: 'child.refused'; child: number; attempt: number; absent: boolean; error: Error }
  | { type: 'child.down'; child: number; attempt: number; reason: Down['reason']; error?: Error | undefined }
  /** It is `dueAt` now. */
  | { type: 'supervisor.time' }
  | { type: 'supervisor.stop' }
)

/**
 * waiting: to be started, in its turn and not before `notBefore`. starting, stopping: until `deadline`. ended: it is not
 * started any more, unless with others.
 */
export type ChildPhase = 'waiting' | 'starting' | 'running' | 'stopping' | 'ended'

export interface ChildLife {
  readonly phase: ChildPhase
  /** Of its starts, from 1; 0 before the first. */
  readonly attempt: number
  readonly place: number
  /** Tried first: the last good one, or the one behind a peer that was lost. */
  readonly preferred: number
  /** Places in this round at which it could not be started, and whether nobody was there at any of them. */
  readonly tried: number
  readonly absent: boolean
  readonly notBefore: number
  readonly deadline: number
  readonly since: number
  /** In a row, without having lived for `within` between them. */
  readonly failures: number
  /** How often it was up. */
  readonly lives: number
  /** Why it is not up, or was not before. */
  readonly reason: Down['reason'] | 'refused' | 'timeout' | undefined
  readonly error: Error | undefined
}

type Order =
  | { readonly do: 'start'; readonly child: number; readonly attempt: number; readonly place: number }
  | { readonly do: 'stop' | 'release'; readonly child: number; readonly attempt: number }

export interface SupervisorContext {
  readonly host: SupervisorActions
  readonly rules: SupervisorRules
  readonly now: number
  readonly children: readonly ChildLife[]
  /** When the last ones were decided, no older than `within`. */
  readonly restarts: readonly number[]
  /** Those from here on are to be down before any of them is started again: the last one first. */
  readonly clearing: number | undefined
  /** Nothing is started any more. */
  readonly ending: boolean
  /** The failure that was one too many. */
  readonly overrun: { readonly child: number; readonly error: Error | undefined } | undefined
  /** What the present event leads to. */
  readonly orders: readonly Order[]
}

// ── what an event leads to ────────────────────────────────────────────────────────────────────────────────────────────

type Writable<T> = { -readonly [K in keyof T]: T[K] }
type Child = Writable<ChildLife>
/** A copy that is changed step by step, and is the next context. */
interface Draft extends Omit<Writable<SupervisorContext>, 'children' | 'restarts' | 'orders'> {
  children: Child[]
  restarts: number[]
  orders: Order[]
}

function drafted(context: SupervisorContext, at: number): Draft {
  return {
    ...context,
    now: Math.max(context.now, at),
    children: context.children.map((child) => ({ ...child })),
    restarts: [...context.restarts],
    orders: [],
  }
}

function decided(context: SupervisorContext, event: SupervisorEvent): SupervisorContext {
  const draft = drafted(context, event.at)
  if (event.type === 'supervisor.time') pass(draft)
  else if (event.type !== 'supervisor.stop') {
    const child = draft.children[event.child]
    // Word of an earlier incarnation, or of one that was given up: what it was about has been decided.
    if (child === undefined || child.attempt !== event.attempt || !lives(child)) return draft
    if (event.type === 'child.up') up(draft, child)
    else if (event.type === 'child.refused') refused(draft, event.child, event.absent, 'refused', event.error)
    else down(draft, event.child, event.reason, event.error)
  }
  goOn(draft)
  return draft
}

/** Everything is to be down, the last one first; nothing is started again. */
function endingAll(context: SupervisorContext, at: number): SupervisorContext {
  const draft = drafted(context, at)
  draft.ending = true
  draft.clearing = 0
  for (const child of draft.children) if (child.phase === 'waiting') child.phase = 'ended'
  goOn(draft)
  return draft
}

function up(draft: Draft, child: Child): void {
  // It was told to stop meanwhile: its host ends it, and says so.
  if (child.phase !== 'starting') return
  Object.assign(child, { phase: 'running', since: draft.now, deadline: Infinity, tried: 0, absent: true })
  child.preferred = child.place
  child.lives++
}

function refused(
  draft: Draft,
  index: number,
  absent: boolean,
  reason: 'refused' | 'timeout' | Down['reason'],
  error: Error | undefined,
): void {
  const child = draft.children[index]!
  const { places, restart } = draft.rules.children[index]!
  Object.assign(child, { reason, error })
  release(draft, index)
  if (toBeDown(draft, index)) return rest(draft, index)
  child.tried++
  child.absent &&= absent
  if (child.tried < places) return begin(draft, index)
  const nobody = child.absent
  Object.assign(child, { tried: 0, absent: true })
  if (restart === 'temporary') child.phase = 'ended'
  // Nobody has met it: those before it go on, and those behind it wait for it.
  else failed(draft, index, { first: index, last: index, counted: !nobody })
}

function down(draft: Draft, index: number, reason: Down['reason'], error: Error | undefined): void {
  const child = draft.children[index]!
  const { places, restart } = draft.rules.children[index]!
  const lost = reason === 'unreachable' || reason === 'peer lost'
  if (child.phase === 'starting') return refused(draft, index, lost, reason, error)
  Object.assign(child, { reason, error })
  release(draft, index)
  if (lost) child.preferred = (child.place + 1) % places
  if (toBeDown(draft, index)) return rest(draft, index)
  if (!startedAgain(restart, reason)) return void (child.phase = 'ended')
  const { strategy, within } = draft.rules
  if (draft.now - child.since >= within) child.failures = 0
  const first = strategy === 'one-for-all' ? 0 : index
  const last = strategy === 'one-for-one' ? index : draft.children.length - 1
  failed(draft, index, { first, last, counted: true })
}

function startedAgain(restart: ChildRestart, reason: Down['reason']): boolean {
  if (restart === 'temporary') return false
  return restart === 'permanent' || (reason !== 'exit' && reason !== 'stopped')
}

/** It is started again, and with it those from `first` to `last`; unless that has been too often. */
function failed(
  draft: Draft,
  index: number,
  { first, last, counted }: { readonly first: number; readonly last: number; readonly counted: boolean },
): void {
  const child = draft.children[index]!
  const { times, within, delay, factor, most, children } = draft.rules
  // Where nobody was there to start it nothing was started: waiting is what cures that, and what `most` is for.
  if (counted) {
    draft.restarts = [...draft.restarts.filter((at) => draft.now - at <= within), draft.now]
    if (draft.restarts.length > times) {
      child.phase = 'ended'
      draft.overrun = { child: index, error: child.error }
      return
    }
  }
  const pause = delay === 0 ? 0 : Math.min(delay * factor ** child.failures, most)
  child.failures++
  for (let at = first; at <= last; at++) {
    const other = draft.children[at]!
    if (other.phase === 'ended' && at !== index && children[at]!.restart === 'temporary') continue
    other.notBefore = Math.max(other.notBefore, draft.now + pause)
    // One that had done its work does it again: it may be what the others begin with.
    if (at === index || other.phase === 'ended') other.phase = 'waiting'
  }
  // Behind one that could not be started there is nobody to be stopped: they wait for their turn. What is being cleared
  // already is behind it.
  if (last > first) draft.clearing = first
}

/** What is over at this time: starts and stops that took too long. */
function pass(draft: Draft): void {
  for (const [index, child] of draft.children.entries()) {
    if (child.deadline > draft.now) continue
    if (child.phase === 'starting') refused(draft, index, false, 'timeout', undefined)
    else if (child.phase === 'stopping') {
      Object.assign(child, { reason: 'timeout', error: undefined })
      release(draft, index)
      rest(draft, index)
    }
  }
}

/** Stops whoever is next to be stopped; when nobody is, starts those whose turn has come. */
function goOn(draft: Draft): void {
  if (draft.overrun && !draft.ending) return
  if (draft.clearing !== undefined) {
    const from = draft.clearing
    // One after the other: whoever was started later may need those before it to the end.
    if (draft.children.some(({ phase }, index) => index >= from && phase === 'stopping')) return
    const last = draft.children.findLastIndex((child, index) => index >= from && lives(child))
    if (last !== -1) return stop(draft, last)
    draft.clearing = undefined
  }
  if (draft.ending) return
  let allUp = true
  for (const [index, child] of draft.children.entries()) {
    const due = child.phase === 'waiting' && child.notBefore <= draft.now
    // One for one it waits for others only before it was up for the first time.
    if (due && (allUp || (draft.rules.strategy === 'one-for-one' && child.lives > 0))) begin(draft, index)
    allUp &&= settled(child)
  }
}

function begin(draft: Draft, index: number): void {
  const child = draft.children[index]!
  const { places, startWithin } = draft.rules.children[index]!
  child.phase = 'starting'
  child.attempt++
  child.place = (child.preferred + child.tried) % places
  child.deadline = draft.now + startWithin
  draft.orders.push({ do: 'start', child: index, attempt: child.attempt, place: child.place })
}

function stop(draft: Draft, index: number): void {
  const child = draft.children[index]!
  child.phase = 'stopping'
  child.deadline = draft.now + draft.rules.children[index]!.stopWithin
  draft.orders.push({ do: 'stop', child: index, attempt: child.attempt })
}

function release(draft: Draft, index: number): void {
  const child = draft.children[index]!
  child.deadline = Infinity
  draft.orders.push({ do: 'release', child: index, attempt: child.attempt })
}

/** It is down as it was to be: until its turn comes, or for good. */
function rest(draft: Draft, index: number): void {
  const child = draft.children[index]!
  Object.assign(child, { tried: 0, absent: true })
  child.phase = draft.ending || draft.rules.children[index]!.restart === 'temporary' ? 'ended' : 'waiting'
}

function toBeDown({ children, clearing, ending, overrun }: Draft, index: number): boolean {
  if (ending || overrun !== undefined || children[index]!.phase === 'stopping') return true
  return clearing !== undefined && index >= clearing
}

function lives({ phase }: ChildLife): boolean {
  return phase === 'starting' || phase === 'running' || phase === 'stopping'
}

function settled({ phase }: ChildLife): boolean {
  return phase === 'running' || phase === 'ended'
}

/** When the next `supervisor.time` is to be told; undefined while nothing is waited for. */
export function dueAt({ now, children }: SupervisorContext): number | undefined {
  const times = children.map(({ phase, notBefore, deadline }) => {
    if (phase === 'starting' || phase === 'stopping') return deadline
    return phase === 'waiting' && notBefore > now ? notBefore : Infinity
  })
  const next = Math.min(...times)
  return next === Infinity ? undefined : next
}

// ── the statechart ────────────────────────────────────────────────────────────────────────────────────────────────────

const step = { actions: ['decide', 'act'] } as const
const news = { 'child.up': step, 'child.refused': step, 'child.down': step, 'supervisor.time': step } as const
const atWork = { ...news, 'supervisor.stop': { target: 'Stopping' } } as const
const gaveUp = { guard: 'overrun', target: 'Failing' } as const
const done = { guard: 'allEnded', target: 'Done' } as const

export const supervisorMachine = setup({
  types: {
    input: {} as { readonly rules: SupervisorRules; readonly host: SupervisorActions; readonly at: number },
    context: {} as SupervisorContext,
    events: {} as SupervisorEvent,
  },
  actions: {
    begin: assign(({ context }) => {
      const draft = drafted(context, context.now)
      goOn(draft)
      return draft
    }),
    decide: assign(({ context, event }) => decided(context, event)),
    endAll: assign(({ context, event }) => endingAll(context, event.at)),
    act: ({ context: { host, orders } }) => {
      for (const order of orders) {
        if (order.do === 'start') host.start(order.child, order.attempt, order.place)
        else host[order.do](order.child, order.attempt)
      }
    },
  },
  guards: {
    overrun: ({ context }) => context.overrun !== undefined,
    allEnded: ({ context }) => context.children.every(({ phase }) => phase === 'ended'),
    settled: ({ context }) => context.children.every(settled),
    unsettled: ({ context }) => !context.children.every(settled),
  },
}).createMachine({
  id: 'supervisor',
  context: ({ input: { rules, host, at } }) => ({
    host,
    rules,
    now: at,
    children: rules.children.map((): ChildLife => ({
      phase: 'waiting',
      attempt: 0,
      place: 0,
      preferred: 0,
      tried: 0,
      absent: true,
      notBefore: at,
      deadline: Infinity,
      since: at,
      failures: 0,
      lives: 0,
      reason: undefined,
      error: undefined,
    })),
    restarts: [],
    clearing: undefined,
    ending: false,
    overrun: undefined,
    orders: [],
  }),
  initial: 'Starting',
  states: {
    // Not all of them have been up.
    Starting: {
      entry: ['begin', 'act'],
      on: atWork,
      always: [gaveUp, done, { guard: 'settled', target: 'Running' }],
    },
    Running: { on: atWork, always: [gaveUp, done, { guard: 'unsettled', target: 'Restarting' }] },
    Restarting: { on: atWork, always: [gaveUp, done, { guard: 'settled', target: 'Running' }] },
    Stopping: { entry: ['endAll', 'act'], on: news, always: { guard: 'allEnded', target: 'Stopped' } },
    Failing: { entry: ['endAll', 'act'], on: news, always: { guard: 'allEnded', target: 'Failed' } },
    // Every child has done its work, and none is to be started again.
    Done: { type: 'final' },
    Stopped: { type: 'final' },
    Failed: { type: 'final' },
  },
})

export type SupervisorActor = ActorRefFrom<typeof supervisorMachine>
