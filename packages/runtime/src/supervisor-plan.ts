// What a supervisor is told to do, checked and made whole: rules for its machine, places and names for its host.
import type { ChildSpec, NestedSupervisorSpec, SupervisorOptions } from './actor-surface.ts'
import { milliseconds } from './duration.ts'
import { UsageError } from './errors.ts'
import type { Duration } from './surface.ts'
import type { ChildRules, SupervisorRules } from './supervisor-machine.ts'
import { isJobName } from './wire.ts'

/** Children of one supervisor. */
const CHILDREN_MOST = 1024
/** Supervisors in supervisors. */
const NESTED_MOST = 16
/** Places of one child. */
const PLACES_MOST = 64
const TIMES_MOST = 10_000
const FACTOR_MOST = 1000
/** Any time, in ms. */
const TIME_MOST = 86_400_000

const STRATEGIES = ['one-for-one', 'one-for-all', 'rest-for-one'] as const
const RESTARTS = ['permanent', 'transient', 'temporary'] as const

export interface ChildPlan {
  readonly id: string
  /** Refs follow it under this one. */
  readonly name: string
  /** undefined: this peer. */
  readonly places: readonly (string | undefined)[]
  /** What to start: an actor, or a supervisor. */
  readonly spec: ChildSpec<any> | SupervisorPlan
}

export interface SupervisorPlan {
  readonly name: string
  readonly rules: SupervisorRules
  readonly children: readonly ChildPlan[]
}

/** @throws UsageError */
export function planOf(
  options: SupervisorOptions,
  name: string = options.name ?? 'supervisor',
  depth = 1,
): SupervisorPlan {
  const { strategy = 'one-for-one', intensity = {}, backOff = {}, children } = options
  const what = `supervisor '${name}'`
  if (depth > NESTED_MOST) throw new UsageError(`supervisors in supervisors go no deeper than ${NESTED_MOST}`)
  if (!isJobName(name)) throw new UsageError(`'${String(name)}' is no name: letters, digits and _ . : / -, at most 128`)
  known(strategy, STRATEGIES, `the strategy of ${what}`)
  if (!Array.isArray(children) || children.length === 0) throw new UsageError(`${what} has no children`)
  if (children.length > CHILDREN_MOST) throw new UsageError(`${what} has more than ${CHILDREN_MOST} children`)
  const most = time(backOff.most ?? 30_000, `the longest pause of ${what}`)
  const plans: ChildPlan[] = []
  const ids = new Set<string>()
  const rules: ChildRules[] = []
  for (const child of children as readonly (ChildSpec<any> | NestedSupervisorSpec)[]) {
    const { id, restart = 'permanent' } = child
    const childName = `${name}/${id}`
    if (typeof id !== 'string' || id === '' || id.includes('/') || !isJobName(childName)) {
      throw new UsageError(
        `'${childName}' is no name for a child: letters, digits and _ . : -, at most 128 with its supervisor's`,
      )
    }
    if (ids.has(id)) throw new UsageError(`${what} has two children '${id}'`)
    ids.add(id)
    const each = `child '${id}' of ${what}`
    known(restart, RESTARTS, `the restart of ${each}`)
    if ('supervisor' in child) {
      plans.push({ id, name: childName, places: [undefined], spec: planOf(child.supervisor, childName, depth + 1) })
      // It bounds by itself how long its children take.
      rules.push({ restart, places: 1, startWithin: Infinity, stopWithin: Infinity })
      continue
    }
    const places = placesOf(child.on, each)
    plans.push({ id, name: childName, places, spec: child })
    rules.push({
      restart,
      places: places.length,
      startWithin: time(child.startWithin ?? 30_000, `the start of ${each}`, 1),
      stopWithin: time(child.stopWithin ?? 10_000, `the stop of ${each}`, 1),
    })
  }
  return {
    name,
    children: plans,
    rules: {
      strategy,
      times: number(intensity.times ?? 3, 0, TIMES_MOST, `the restarts of ${what}`, true),
      within: time(intensity.within ?? 5_000, `the time in which ${what} counts restarts`, 1),
      delay: Math.min(time(backOff.delay ?? 100, `the first pause of ${what}`), most),
      factor: number(backOff.factor ?? 2, 1, FACTOR_MOST, `the factor by which pauses of ${what} grow`),
      most,
      children: rules,
    },
  }
}

/** The child that is called that; of a supervisor in this one `inner/child`. @throws UsageError */
export function childOf(plan: SupervisorPlan, path: string): ChildPlan {
  let within = plan
  const ids = path.split('/')
  for (const [at, id] of ids.entries()) {
    const child = within.children.find((one) => one.id === id)
    if (child === undefined) break
    const last = at === ids.length - 1
    const inner = isPlan(child.spec) ? child.spec : undefined
    if (last && !inner) return child
    if (last || !inner) break
    within = inner
  }
  throw new UsageError(`supervisor '${plan.name}' has no child '${path}'`)
}

export function isPlan(spec: ChildPlan['spec']): spec is SupervisorPlan {
  return 'rules' in spec
}

function placesOf(on: string | readonly string[] | undefined, what: string): readonly (string | undefined)[] {
  if (on === undefined) return [undefined]
  const places = typeof on === 'string' ? [on] : on
  if (!Array.isArray(places) || places.length === 0 || places.some((one) => typeof one !== 'string' || one === '')) {
    throw new UsageError(`${what} needs the name of a peer, or a list of some`)
  }
  if (places.length > PLACES_MOST) throw new UsageError(`${what} has more than ${PLACES_MOST} places`)
  return [...new Set(places)]
}

function known(word: string, words: readonly string[], what: string): void {
  if (!words.includes(word)) throw new UsageError(`${what} is one of ${words.join(', ')}; not '${word}'`)
}

function number(value: number, least: number, most: number, what: string, whole = false): number {
  if (value >= least && value <= most && (!whole || Number.isInteger(value))) return value
  throw new UsageError(`${what}: from ${least} to ${most}, not ${value}`)
}

function time(duration: Duration, what: string, least = 0): number {
  return number(milliseconds(duration), least, TIME_MOST, `${what}, in ms`)
}
