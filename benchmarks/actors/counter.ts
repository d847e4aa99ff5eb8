// What every actor of these benchmarks does: it counts, and says how far it is.

import { defineMachine, reply } from '@errand/runtime'
import { assign, setup } from 'xstate'

export const counter = defineMachine({
  name: 'counter',
  machine: setup({
    types: { context: {} as { count: number }, events: {} as { type: 'add'; n: number } | { type: 'total' } },
  }).createMachine({
    context: { count: 0 },
    on: {
      add: { actions: assign({ count: ({ context, event }) => context.count + event.n }) },
      total: { actions: reply(({ context }) => context.count) },
    },
  }),
  events: { add: true, total: true },
})
