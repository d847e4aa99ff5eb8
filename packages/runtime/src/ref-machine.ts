// The life of a ref: whether what it shows of its actor is how it is. Decides; does nothing itself: its host acts (ref.ts).
import { assign, setup } from 'xstate'

export interface RefActions {
  /** Begins to follow whom it means now. */
  attach(): void
  /** Follows nobody any more. */
  detach(): void
  /** What waits for whoever it means may go there. */
  release(): void
  /** Nothing will ever be told of it any more. */
  conclude(): void
}

export type RefMachineEvent =
  /** It has been heard of. */
  | { type: 'ref.heard' }
  /** Its peer cannot be reached. */
  | { type: 'ref.away'; reason: Error }
  /** It has ended, is another one, or may not be seen. */
  | { type: 'ref.ended'; reason?: Error | undefined }
  /** Of one that follows: whoever it means now is another one. */
  | { type: 'ref.moved' }
  /** Of one that follows: nobody has that name now. */
  | { type: 'ref.vacant'; reason: Error }
  /** Of one that follows: who has that name may not be asked for any more. */
  | { type: 'ref.refused'; reason: Error }
  | { type: 'ref.dispose' }

const ended = [
  // Whoever has the name next is who is meant.
  { guard: 'follows', target: '#ref.stale', actions: 'because' },
  { target: '#ref.gone', actions: 'because' },
] as const
const moved = { guard: 'follows', target: '#ref.connecting', reenter: true } as const

export const refMachine = setup({
  types: {
    input: {} as { host: RefActions; follows: boolean },
    context: {} as { host: RefActions; follows: boolean; reason: Error | undefined },
    events: {} as RefMachineEvent,
  },
  actions: {
    attach: ({ context }) => context.host.attach(),
    detach: ({ context }) => context.host.detach(),
    release: ({ context }) => context.host.release(),
    conclude: ({ context }) => context.host.conclude(),
    because: assign({ reason: ({ context, event }) => ('reason' in event ? event.reason : context.reason) }),
    fine: assign({ reason: undefined }),
  },
  guards: {
    follows: ({ context }) => context.follows,
  },
}).createMachine({
  id: 'ref',
  context: ({ input }) => ({ ...input, reason: undefined }),
  initial: 'connecting',
  on: { 'ref.dispose': { target: '.gone' }, 'ref.refused': { target: '.gone', actions: 'because' } },
  states: {
    connecting: {
      entry: ['detach', 'attach'],
      on: {
        'ref.heard': { target: 'live', actions: 'fine' },
        // Still to be heard of for the first time: there is nothing that could be stale.
        'ref.away': { actions: 'because' },
        'ref.ended': ended,
        'ref.moved': moved,
        'ref.vacant': { target: 'stale', actions: 'because' },
      },
    },
    live: {
      entry: 'release',
      on: {
        'ref.away': { target: 'stale', actions: 'because' },
        'ref.ended': ended,
        'ref.moved': moved,
        // What it shows is how it is, whatever it is called; its end will be told.
        'ref.vacant': {},
      },
    },
    stale: {
      on: {
        'ref.heard': { target: 'live', actions: 'fine' },
        'ref.away': { actions: 'because' },
        'ref.ended': ended,
        'ref.moved': moved,
        'ref.vacant': { actions: 'because' },
      },
    },
    gone: { type: 'final', entry: ['detach', 'conclude'] },
  },
})
