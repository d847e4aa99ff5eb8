// Statecharts drawn from a seed, with everything in them that a durable machine may have: nested and parallel states, history,
// timers, raised and cancelled events, what it sends to itself, promises that are invoked and spawned, guards, errors.
import {
  assign,
  cancel,
  createMachine,
  emit,
  enqueueActions,
  fromPromise,
  raise,
  sendTo,
  stopChild,
  type AnyActorRef,
  type AnyStateMachine,
} from 'xstate'
import { drawn } from './draw.ts'

/** What is outside of it. */
export interface World {
  /** An action was run, for entry or event `what`. */
  acted(what: string): void
  /** Something is asked of it that takes its time. */
  call(self: AnyActorRef): Promise<unknown>
}

export const EVENTS = ['a', 'b', 'c', 'd', 'e'] as const
/** Long: in these tests their time comes when it is said. */
const DELAYS = [3_600_000, 7_200_000] as const

interface Context {
  n: number
  log: string[]
  seen: Map<string, number>
  last: Date | undefined
  /** To itself. */
  sent: number
}

export function randomChart(seed: number, world: World): AnyStateMachine {
  const draw = drawn(seed)
  const chance = (percent: number): boolean => draw(100) < percent
  const pick = <T>(of: readonly T[]): T => of[draw(of.length)]!

  // Of no chart in particular: their types know no events.
  const later = (k: number): never => ({ type: 'later', k }) as never
  const replace = (id: string, k: number): unknown =>
    enqueueActions(({ enqueue }) => {
      enqueue.stopChild(id)
      enqueue.spawnChild('work' as never, { id, input: { id, k } } as never)
    })
  const action = (): unknown => {
    const k = draw(1000)
    switch (draw(13)) {
      case 0:
        return raise({ type: pick(EVENTS) })
      case 1:
        return raise(later(k), { delay: pick(DELAYS), id: pick(['t1', 't2']) })
      case 2:
        return raise(({ context }) => later((context as Context).n), { delay: 'soon' as never })
      case 3:
        return cancel(pick(['t1', 't2']))
      case 4:
        // So often and no more: what comes of it may come here again.
        return enqueueActions(({ context, self, enqueue }) => {
          const { sent } = context as Context
          if (sent >= 8) return
          enqueue.assign({ sent: sent + 1 })
          enqueue.sendTo(self as AnyActorRef, { type: 'own', v: k })
        })
      case 5:
        return sendTo(({ self }) => self, later(k), { delay: pick(DELAYS), id: 't1' })
      case 6:
        return emit({ type: 'said', k })
      case 7:
        return replace(pick(['s1', 's2']), k)
      case 8:
        return stopChild(pick(['s1', 's2']))
      case 9:
        return enqueueActions(({ context, enqueue }) => {
          if ((context as Context).n % 2 === 0) enqueue.raise(later(k), { delay: 5_000_000 })
          else enqueue.assign({ n: (context as Context).n + 1 })
        })
      case 10:
        return 'act'
      default:
        return assign(({ context, event }: { context: Context; event: { type: string; v?: number } }) => ({
          n: (context.n * 31 + k + (event.v ?? 0)) % 10_007,
          log: [...context.log.slice(-5), `${event.type} ${k}`],
          seen: new Map(context.seen).set(event.type, k),
          last: new Date(k),
        }))
    }
  }
  const actions = (): unknown[] => Array.from({ length: draw(3) }, action)
  const guard = (): { guard?: unknown } => {
    const k = draw(3)
    return chance(25) ? { guard: ({ context }: { context: Context }) => context.n % 3 !== k } : {}
  }

  let leaves = 0
  const region = (depth: number, size: number, label: string): Record<string, unknown> => {
    const names = Array.from({ length: size }, (_, index) => `${label}${index}`)
    const states: Record<string, unknown> = {}
    const targets = [...names]
    if (depth > 0 && chance(50)) {
      states[`${label}h`] = { type: 'history', history: pick(['shallow', 'deep']), target: names[0] }
      targets.push(`${label}h`)
    }
    const transition = (): unknown => ({
      ...(chance(75) && { target: pick(targets) }),
      ...guard(),
      ...(chance(10) && { reenter: true }),
      actions: actions(),
    })
    for (const name of names) {
      leaves++
      const on: Record<string, unknown> = {}
      for (const event of [...EVENTS, 'later', 'own']) if (chance(50)) on[event] = transition()
      if (chance(3)) on['e'] = { actions: 'fail' }
      const nested = depth > 0 && chance(35)
      const state: Record<string, unknown> = {
        on,
        entry: chance(50) ? ['act', ...actions()] : actions(),
        exit: chance(30) ? actions() : [],
        ...(chance(40) && { after: { [pick(DELAYS)]: transition() } }),
        ...(chance(15) && { after: { soon: transition() } }),
        ...(chance(35) && {
          invoke: {
            src: 'work',
            id: `w${leaves}`,
            input: ({ context }: { context: Context }) => ({ id: `w${leaves}`, k: context.n }),
            onDone: transition(),
            ...(chance(80) && { onError: transition() }),
          },
        }),
        ...(chance(5) && {
          always: { guard: ({ context }: { context: Context }) => context.n % 7 === 3, target: pick(names) },
        }),
      }
      if (nested) Object.assign(state, region(depth - 1, 2 + draw(2), `${name}x`))
      states[name] = state
    }
    return { initial: names[0], states }
  }

  const context: Context = { n: draw(100), log: [], seen: new Map(), last: undefined, sent: 0 }
  const shape = chance(35)
    ? { type: 'parallel', states: { left: region(1, 2 + draw(3), 'l'), right: region(1, 2 + draw(2), 'r') } }
    : region(2, 3 + draw(3), 's')
  if (chance(20) && 'initial' in shape) {
    const states = shape['states'] as Record<string, { on: Record<string, unknown> }>
    states['end'] = { type: 'final' } as never
    states[Object.keys(states).find((name) => states[name]!.on)!]!.on['d'] = { target: 'end', actions: ['act'] }
  }
  return createMachine(
    {
      id: 'chart',
      context,
      output: ({ context }: { context: Context }) => ({ n: context.n }),
      ...shape,
      options: { maxIterations: 60 },
    } as never,
    {
      actors: {
        work: fromPromise(({ self }) => world.call(self)),
      },
      actions: {
        act: ({ event, context }: { event: { type: string }; context: Context }) =>
          world.acted(`${event.type} ${context.n}`),
        fail: assign(() => {
          throw new Error('this event is too much')
        }),
      },
      delays: { soon: ({ context }: { context: Context }) => 4_000_000 + context.n },
    } as never,
  )
}
