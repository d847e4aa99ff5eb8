// The life of a session as its viewer sees it: the peer that opened or took up a session elsewhere.
// Decides; does nothing itself: its host acts (remote-session.ts).
import { setup, type ActorRefFrom } from 'xstate'

export interface RemoteSessionActions {
  /** Tries to attach again, with back-off; sends `link.back` or, once, `link.refused`. */
  reconnect(): void
  /** Starts the clock of `lostAfter`: at its end the host sends `link.given-up`. */
  startRetry(): void
  endRetry(): void
  /** Nothing can come of it any more. */
  conclude(): void
}

export type RemoteSessionEvent =
  | { type: 'session.opened' }
  | { type: 'session.disconnecting' }
  | { type: 'session.disconnected' }
  /** The user wants it back. */
  | { type: 'session.connect' }
  | { type: 'session.closed'; reason?: Error }
  /** Another client has it now. */
  | { type: 'session.taken' }
  | { type: 'link.lost'; reason: Error }
  | { type: 'link.back' }
  /** The far peer answered: the session is gone. */
  | { type: 'link.refused'; reason: Error }
  /** It was tried for long enough, or there is no use in trying: another client has the session. */
  | { type: 'link.given-up' }

export const remoteSessionMachine = setup({
  types: {
    input: {} as RemoteSessionActions,
    context: {} as { host: RemoteSessionActions },
    events: {} as RemoteSessionEvent,
  },
  actions: {
    reconnect: ({ context }) => context.host.reconnect(),
    startRetry: ({ context }) => context.host.startRetry(),
    endRetry: ({ context }) => context.host.endRetry(),
    conclude: ({ context }) => context.host.conclude(),
  },
}).createMachine({
  id: 'remote-session',
  context: ({ input }) => ({ host: input }),
  initial: 'Opening',
  on: { 'session.closed': { target: '.Closed' } },
  states: {
    Opening: {
      on: { 'session.opened': { target: 'Opened' } },
    },
    Opened: {
      on: {
        'session.disconnecting': { target: 'Disconnecting' },
        'link.lost': { target: 'Connecting' },
        'session.taken': { target: 'Disconnected' },
      },
    },
    Disconnecting: {
      on: {
        'session.disconnected': { target: 'Disconnected' },
        'session.opened': { target: 'Opened' },
        // The far side detaches by itself when the link is gone: the wish is fulfilled.
        'link.lost': { target: 'Disconnected' },
      },
    },
    Disconnected: {
      on: { 'session.connect': { target: 'Connecting' } },
    },
    Connecting: {
      entry: ['startRetry', 'reconnect'],
      exit: 'endRetry',
      on: {
        'link.back': { target: 'Opened' },
        'link.refused': { target: 'Broken' },
        'link.given-up': { target: 'Disconnected' },
        'session.disconnecting': { target: 'Disconnected' },
      },
    },
    Closed: { type: 'final', entry: 'conclude' },
    Broken: { type: 'final', entry: 'conclude' },
  },
})

export type RemoteSessionActor = ActorRefFrom<typeof remoteSessionMachine>
