// The life of a session on the peer that hosts it. Decides; does nothing itself: its host acts (session.ts).
// What a viewer sees is relative to the viewer: attached here means Opened for its client, Disconnected for others.
import { setup, type ActorRefFrom } from 'xstate'

export interface SessionActions {
  /** Starts the lease: at its end the host sends `session.expired`. */
  startLease(): void
  endLease(): void
  /** Ends jobs and runspace, then sends `session.ended`. */
  shutDown(): void
}

export type SessionMachineEvent =
  /** A client has it, for itself. */
  | { type: 'session.attach' }
  /** The client left, or its link was lost. */
  | { type: 'session.detach' }
  | { type: 'session.expired' }
  | { type: 'session.close' }
  | { type: 'session.ended' }

export const sessionMachine = setup({
  types: {
    input: {} as SessionActions,
    context: {} as { host: SessionActions },
    events: {} as SessionMachineEvent,
  },
  actions: {
    startLease: ({ context }) => context.host.startLease(),
    endLease: ({ context }) => context.host.endLease(),
    shutDown: ({ context }) => context.host.shutDown(),
  },
}).createMachine({
  id: 'session',
  context: ({ input }) => ({ host: input }),
  initial: 'Opened',
  states: {
    Opened: {
      on: {
        'session.detach': { target: 'Disconnected' },
        'session.close': { target: 'Closing' },
      },
    },
    Disconnected: {
      entry: 'startLease',
      exit: 'endLease',
      on: {
        'session.attach': { target: 'Opened' },
        'session.expired': { target: 'Closing' },
        'session.close': { target: 'Closing' },
      },
    },
    Closing: {
      entry: 'shutDown',
      on: { 'session.ended': { target: 'Closed' } },
    },
    Closed: { type: 'final' },
  },
})

export type SessionActor = ActorRefFrom<typeof sessionMachine>
