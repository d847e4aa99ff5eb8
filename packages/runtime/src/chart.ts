// A statechart as data: what `errand inspect` shows of a machine, and which of its events it would take now. Pure.
import type { AnyMachineSnapshot, AnyStateMachine, StateValue } from 'xstate'
import type { ChartState, ChartTransition } from './actor-surface.ts'

/**
 * How large a chart may be, in characters and what goes with them: a few thousand states and transitions, which nobody reads.
 * Also what a machine of any size may cost its peer and the link for being looked at.
 */
export const CHART_SIZE = 256 * 1024
/** Levels below the root that are shown. Each is two within each other in the answer, and a codec takes 64. */
export const CHART_DEPTH = 24
/** Characters of a name; names beyond these are cut. */
const NAME = 200
/** Names of a list: of actions, tags, targets. */
const NAMES = 16
/** What a state or a transition weighs beside its names: its fields. */
const WEIGHT = 80

type Node = AnyStateMachine['root']
type Transition = NonNullable<Node['always']>[number]

/**
 * The chart of a machine with the states it is in marked; `value` undefined: none. Of one that is too large what matters is
 * there: the states that it is in, their transitions, and of the others as many as {@link CHART_SIZE} allows, from the root
 * down. `publicTypes`: the events that may be sent from outside.
 */
export function chartOf(
  machine: AnyStateMachine,
  value: StateValue | undefined,
  publicTypes: readonly string[],
): ChartState {
  const names = namesOf(machine)
  let left = CHART_SIZE
  const root = new Draft(machine.root, value, 0)
  const active: Draft[] = []
  const others: Draft[] = []
  const add = (drafts: readonly Draft[]): void => {
    for (const draft of drafts) {
      if (draft.depth <= CHART_DEPTH) (draft.active ? active : others).push(draft)
    }
  }
  add([root])
  const begin = (draft: Draft): void => {
    left -= draft.begin()
    add(draft.children)
  }
  const fill = (draft: Draft): void => {
    left -= draft.fill(names, publicTypes, left)
  }
  // Both grow while they are walked.
  for (const draft of active) if (left > 0) begin(draft)
  // The innermost are asked first, and those around them may have any number.
  for (const draft of active.toReversed()) if (draft.shown) fill(draft)
  for (const draft of others) {
    if (left <= 0) break
    begin(draft)
    fill(draft)
  }
  return root.done()
}

/** A state on its way into the chart. */
class Draft {
  readonly depth: number
  readonly active: boolean
  children: readonly Draft[] = []
  shown = false
  readonly #node: Node
  readonly #value: StateValue | undefined
  #own: Omit<ChartState, 'on' | 'states'> | undefined
  #on: ChartTransition[] = []
  #transitions = 0

  constructor(node: Node, value: StateValue | undefined, depth: number) {
    this.#node = node
    this.#value = value
    this.active = value !== undefined
    this.depth = depth
  }

  /** It is in the chart, and its states may be; what it weighs. */
  begin(): number {
    const node = this.#node
    const { key, type, history, tags } = node
    const initial = initialOf(node)
    this.shown = true
    this.#own = {
      key: short(key),
      kind: type,
      active: this.active,
      ...(initial !== undefined && { initial: short(initial) }),
      ...(type === 'history' && { history: history === 'deep' ? 'deep' : 'shallow' }),
      ...(tags.length > 0 && { tags: list(tags, String) }),
      ...(node.invoke.length > 0 && { invokes: list(invokesOf(node), ({ of }) => of) }),
      ...actions('entry', node.entry),
      ...actions('exit', node.exit),
    }
    this.children = Object.values(node.states).map(
      (child) => new Draft(child as Node, valueIn(this.#value, child.key), this.depth + 1),
    )
    return weigh(this.#own)
  }

  /** Its transitions, as many as there is room for; what they weigh. */
  fill(names: Names, publicTypes: readonly string[], room: number): number {
    let weight = 0
    const { transitions, always = [] } = this.#node
    for (const one of [...[...transitions.values()].flat(), ...always]) {
      this.#transitions++
      if (weight > room) continue
      const shown = transitionOf(one, names, publicTypes)
      weight += weigh(shown)
      this.#on.push(shown)
    }
    return weight
  }

  done(): ChartState {
    const states = this.children.filter(({ shown }) => shown)
    const transitions = this.#transitions - this.#on.length
    const away = this.children.reduce((sum, child) => sum + (child.shown ? 0 : sizeOf(child.#node)), 0)
    return {
      ...this.#own!,
      on: this.#on,
      states: states.map((child) => child.done()),
      ...((transitions > 0 || away > 0) && { omitted: { transitions, states: away } }),
    }
  }
}

/** States in a state, itself too. */
function sizeOf(node: Node): number {
  const nodes: Node[] = [node]
  // Grows while it is walked.
  for (const one of nodes) nodes.push(...(Object.values(one.states) as Node[]))
  return nodes.length
}

function initialOf({ type, initial, config }: Node): string | undefined {
  if (type === 'compound') return initial.target[0]?.key
  if (type !== 'history') return undefined
  const { target } = config as { target?: unknown }
  return typeof target === 'string' ? target.replace(/^[.#]/, '') : undefined
}

/** What a state's value says of one of its states: undefined if it is not in it. */
function valueIn(value: StateValue | undefined, key: string): StateValue | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'string') return value === key ? {} : undefined
  return Object.hasOwn(value, key) ? value[key] : undefined
}

function transitionOf(one: Transition, names: Names, publicTypes: readonly string[]): ChartTransition {
  const { eventType, target = [], guard } = one
  return {
    event: short(names.get(eventType) ?? named(eventType)),
    public: !eventType.startsWith('xstate.') && publicTypes.some((type) => fits(type, eventType)),
    targets: list(target, (to) => to.path.join('.')),
    ...(guard !== undefined && { guard: short(guardName(guard)) }),
    ...actions('actions', one.actions),
  }
}

// ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Names of the events that a machine sends itself, by their type. */
type Names = ReadonlyMap<string, string>
const known = new WeakMap<AnyStateMachine, Names>()

/**
 * An event as people know it: `after 500 ms`, `done of review`, `error of worker` for those that XState makes, whose types
 * name places within it; any other is called what it is called.
 */
export function eventName(machine: AnyStateMachine, type: string): string {
  return type.startsWith('xstate.') ? (namesOf(machine).get(type) ?? named(type)) : type
}

/** One that no state of the machine names: of an actor that it has spawned, say. */
function named(type: string): string {
  if (!type.startsWith('xstate.')) return type
  const [, what, whose] = /^xstate\.(done|error|snapshot)\.(?:actor\.|state\.)?(.+)$/s.exec(type) ?? []
  return what === undefined ? type.slice('xstate.'.length) : `${what} of ${whose}`
}

/** Once for each machine: types of events hold ids of states, which are anything. */
function namesOf(machine: AnyStateMachine): Names {
  const there = known.get(machine)
  if (there) return there
  const names = new Map<string, string>()
  const nodes: Node[] = [machine.root]
  // Grows while it is walked.
  for (const node of nodes) {
    nodes.push(...(Object.values(node.states) as Node[]))
    names.set(`xstate.done.state.${node.id}`, `done of ${node.path.join('.') || 'all'}`)
    for (const { id, label } of invokesOf(node)) {
      names.set(`xstate.done.actor.${id}`, `done of ${label}`)
      names.set(`xstate.error.actor.${id}`, `error of ${label}`)
      names.set(`xstate.snapshot.${id}`, `snapshot of ${label}`)
    }
    for (const { delay, eventType } of node.after) names.set(eventType, `after ${delayName(machine, delay)}`)
  }
  known.set(machine, names)
  return names
}

function delayName({ implementations }: AnyStateMachine, delay: unknown): string {
  const ms = typeof delay === 'string' ? (implementations.delays as Record<string, unknown>)[delay] : delay
  const time = typeof ms === 'number' ? `${ms} ms` : undefined
  return typeof delay === 'string' ? `${delay}${time === undefined ? '' : ` (${time})`}` : (time ?? 'a while')
}

/** What a state runs: by its id and what it is, as far as somebody has named them. */
function invokesOf({ invoke, id: state }: Node): { id: string; label: string; of: string }[] {
  const sources = invoke.map(({ src }) =>
    typeof src !== 'string' || src.startsWith('xstate.invoke.') ? 'inline' : src,
  )
  return invoke.map(({ id }, index) => {
    const src = sources[index]!
    if (id !== `${index}.${state}`) return { id, label: id, of: src === 'inline' || src === id ? id : `${id} (${src})` }
    // Two of a kind are told apart by their place.
    const label = src === 'inline' || sources.indexOf(src) !== index ? `${src} ${index + 1}` : src
    return { id, label, of: label }
  })
}

function guardName(guard: unknown, depth = 0): string {
  if (typeof guard === 'string') return guard
  const { type, name, guards, stateValue } = guard as {
    type?: unknown
    name?: string
    guards?: readonly unknown[]
    stateValue?: StateValue
  }
  if (typeof type === 'string') return type
  if (depth > 4) return '…'
  if (stateValue !== undefined) return `in ${leavesOf(stateValue).join(' and ')}`
  if (!Array.isArray(guards)) return functionName(name)
  const inner = list(guards, (one) => guardName(one, depth + 1))
  if (name === 'not') return `not ${inner[0]}`
  const all = inner.join(` ${name} `)
  return depth > 0 && guards.length > 1 ? `(${all})` : all
}

/** Paths of the innermost states of a value. */
function leavesOf(value: StateValue, depth = 0): string[] {
  if (typeof value === 'string') return [value]
  return Object.entries(value).flatMap(([key, inner]) => {
    const leaves = inner === undefined || depth > CHART_DEPTH ? [] : leavesOf(inner, depth + 1)
    return leaves.length === 0 ? [key] : leaves.map((leaf) => `${key}.${leaf}`)
  })
}

/** The field of a list of actions, which is not there where there are none. */
function actions<K extends string>(field: K, all: readonly unknown[]): { [F in K]?: string[] } {
  // The timers of `after` are set and cleared by actions of XState's own.
  const theirs = all.filter((one) => !String(timerOf(one)).startsWith('xstate.after.'))
  return theirs.length === 0 ? {} : ({ [field]: list(theirs, actionName) } as { [F in K]?: string[] })
}

function timerOf(action: unknown): unknown {
  const { type, id, sendId } = action as { type?: unknown; id?: unknown; sendId?: unknown }
  return type === 'xstate.raise' ? id : type === 'xstate.cancel' ? sendId : undefined
}

/** Fields of the actions of XState that are of interest; each may be a function of what is known only then. */
interface BuiltIn {
  readonly type?: unknown
  readonly name?: string
  readonly event?: unknown
  readonly to?: unknown
  readonly src?: unknown
  readonly actorRef?: unknown
  readonly sendId?: unknown
  /** Of `assign`: by the names of what it changes. */
  readonly assignment?: unknown
}

function actionName(action: unknown): string {
  if (typeof action === 'string') return action
  const { type, name, event, to, src, actorRef, sendId, assignment } = action as BuiltIn
  if (typeof type !== 'string') return functionName(name)
  if (!type.startsWith('xstate.')) return type
  const what = type.slice('xstate.'.length)
  if (what === 'assign' && typeof assignment === 'object' && assignment !== null)
    return `assign ${list(Object.keys(assignment), String).join(' ')}`.trimEnd()
  const sent = (event as { type?: unknown } | undefined)?.type
  const words: unknown[] =
    what === 'sendTo' ? ['send', sent, ...text('to', to)] : [what, sent ?? src ?? actorRef ?? sendId]
  return words.filter((word) => typeof word === 'string').join(' ')
}

function text(before: string, word: unknown): string[] {
  return typeof word === 'string' ? [before, word === '#_parent' ? 'its parent' : word] : []
}

/** Nobody has named it: the language may have, after the field that it is the value of. */
function functionName(name: string | undefined): string {
  return name === undefined || ['', 'guard', 'actions', 'entry', 'exit'].includes(name) ? 'inline' : name
}

function list<T>(all: readonly T[], name: (one: T) => string): string[] {
  const shown = all.slice(0, NAMES).map((one) => short(name(one)))
  return all.length > NAMES ? [...shown, `… ${all.length - NAMES} more`] : shown
}

function short(name: string): string {
  return name.length > NAME ? `${name.slice(0, NAME - 1)}…` : name
}

/** About what it takes on the wire: a letter is up to three bytes there. */
function weigh(shown: object): number {
  let weight = WEIGHT
  for (const value of Object.values(shown).flat()) {
    if (typeof value === 'string') weight += Buffer.byteLength(value) + 2
  }
  return weight
}

// ── what it accepts ───────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Of these types those that the machine has a transition for in the states it is in; guards are not asked. None of one that has
 * ended.
 */
export function acceptsOf(snapshot: AnyMachineSnapshot, publicTypes: readonly string[]): string[] {
  if (snapshot.status !== 'active') return []
  const { machine, value } = snapshot as AnyMachineSnapshot & { machine: AnyStateMachine; value: StateValue }
  return publicTypes.filter((type) => answerOf(machine.root, value, type) === 'takes')
}

/**
 * What a state does with an event: takes it, if a guard allows; keeps it from the states around it, by a transition that does
 * nothing; or leaves it to them. As XState asks: the innermost first, and the state around regions when none of these has it.
 */
function answerOf(node: Node, value: StateValue, type: string): 'takes' | 'keeps' | 'leaves' {
  let kept = false
  for (const key of typeof value === 'string' ? [value] : Object.keys(value)) {
    const child = Object.hasOwn(node.states, key) ? (node.states[key] as Node) : undefined
    if (!child) continue
    const answer = answerOf(child, typeof value === 'string' ? {} : (value[key] ?? {}), type)
    if (answer === 'takes') return answer
    kept ||= answer === 'keeps'
  }
  if (kept) return 'keeps'
  for (const { target, actions: does, guard } of candidates(node, type)) {
    if (target !== undefined || does.length > 0) return 'takes'
    if (guard === undefined) return 'keeps'
  }
  return 'leaves'
}

/** Transitions of a state that are asked for an event: those of its name first, then wildcards, the longest first. */
function candidates({ transitions }: Node, type: string): readonly Transition[] {
  const exact = transitions.get(type) ?? []
  const wild = [...transitions.keys()].filter((descriptor) => descriptor !== type && fits(type, descriptor))
  if (wild.length === 0) return exact
  return [...exact, ...wild.toSorted((a, b) => b.length - a.length).flatMap((key) => transitions.get(key) ?? [])]
}

/** `mouse.*` is for `mouse.up` and, as XState reads it, for `mouse`. */
function fits(type: string, descriptor: string): boolean {
  if (descriptor === type || descriptor === '*') return true
  return descriptor.endsWith('.*') && `${type}.`.startsWith(descriptor.slice(0, -1))
}
