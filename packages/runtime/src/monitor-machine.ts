// The life of a monitor: how it comes to its one notice. Decides; does nothing itself: its host acts (monitor.ts).
import { setup, type ActorRefFrom } from 'xstate'
import type { Down } from './actor-surface.ts'

/** Why, as far as the actor is concerned. */
export type DownReason = Pick<Down, 'reason' | 'error' | 'output'>

export interface MonitorActions {
  /** Starts the clock: `monitor.given-up` when the peer has not been heard of for as long as that takes to be suspected. */
  startClock(): void
  stopClock(): void
  /** The one notice. */
  tell(why: DownReason): void
}

export type MonitorMachineEvent =
  /** The actor is there. */
  | { type: 'monitor.heard' }
  /** Its peer cannot be reached. `silent`: it has not been heard of for the suspicion time already. */
  | { type: 'monitor.away'; error: Error; silent: boolean }
  | { type: 'monitor.given-up'; error: Error }
  /** It is no more. */
  | { type: 'monitor.ended'; why: DownReason }
  /** Nobody wants to know any more. */
  | { type: 'monitor.left' }

export const monitorMachine = setup({
  types: {
    input: {} as MonitorActions,
    context: {} as { host: MonitorActions },
    events: {} as MonitorMachineEvent,
  },
  actions: {
    startClock: ({ context }) => context.host.startClock(),
    stopClock: ({ context }) => context.host.stopClock(),
    tellWhy: ({ context, event }) => {
      if (event.type === 'monitor.ended') context.host.tell(event.why)
    },
    tellUnreachable: ({ context, event }) => {
      if ('error' in event) context.host.tell({ reason: 'unreachable', error: event.error })
    },
  },
  guards: {
    silent: ({ event }) => event.type === 'monitor.away' && event.silent,
  },
}).createMachine({
  id: 'monitor',
  context: ({ input }) => ({ host: input }),
  // Until it is heard of for the first time nobody knows that it can be.
  initial: 'suspecting',
  on: {
    'monitor.ended': { target: '.down', actions: 'tellWhy' },
    'monitor.left': { target: '.left' },
  },
  states: {
    watching: {
      on: {
        'monitor.away': [{ guard: 'silent', target: 'down', actions: 'tellUnreachable' }, { target: 'suspecting' }],
      },
    },
    suspecting: {
      entry: 'startClock',
      exit: 'stopClock',
      on: {
        'monitor.heard': { target: 'watching' },
        'monitor.given-up': { target: 'down', actions: 'tellUnreachable' },
      },
    },
    down: { type: 'final' },
    left: { type: 'final' },
  },
})

export type MonitorActor = ActorRefFrom<typeof monitorMachine>
