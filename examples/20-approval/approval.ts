// The machine that server01 offers: something is asked for, whoever may answers, and at last it is too late.
import { defineMachine, reply } from '@errand/runtime'
import { assign, emit, setup } from 'xstate'
import { z } from 'zod'

const approvalMachine = setup({
  types: {
    input: {} as { what: string; within: number },
    context: {} as { what: string; within: number; by: string | undefined; why: string | undefined },
    events: {} as
      | { type: 'approve'; by: string }
      | { type: 'reject'; by: string; why: string }
      | { type: 'what is asked' },
    emitted: {} as { type: 'reminder'; what: string },
    output: {} as { what: string; approved: boolean; by: string | undefined },
  },
  delays: { late: ({ context }) => context.within, soon: ({ context }) => context.within / 2 },
}).createMachine({
  id: 'approval',
  context: ({ input }) => ({ ...input, by: undefined, why: undefined }),
  initial: 'waiting',
  states: {
    waiting: {
      on: {
        'what is asked': { actions: reply(({ context }) => `may we have ${context.what}?`) },
        approve: { target: 'approved', actions: assign({ by: ({ event }) => event.by }) },
        reject: { target: 'rejected', actions: assign({ by: ({ event }) => event.by, why: ({ event }) => event.why }) },
      },
      after: {
        soon: { actions: emit(({ context }) => ({ type: 'reminder' as const, what: context.what })) },
        late: 'rejected',
      },
    },
    approved: { type: 'final' },
    rejected: { type: 'final' },
  },
  output: ({ context: { what, by, why } }) => ({ what, approved: by !== undefined && why === undefined, by }),
})

export const approval = defineMachine({
  name: 'approval',
  machine: approvalMachine,
  // Nothing else may be sent to it from outside, and nothing that does not fit.
  events: {
    approve: z.object({ by: z.string().min(1) }),
    reject: z.object({ by: z.string().min(1), why: z.string() }),
    'what is asked': z.object({}),
  },
  input: z.object({ what: z.string(), within: z.number().positive() }),
  // How long it has is nobody's business.
  project: ({ context: { what, by, why } }) => ({ what, by, why }),
})

export const machines = [approval]
