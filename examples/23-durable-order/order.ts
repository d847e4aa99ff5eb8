// An order that outlives its server: each event is on disk before it is handled, and a deadline is a time of day.
import { setTimeout as sleep } from 'node:timers/promises'
import { defineMachine } from '@errand/runtime'
import { assign, fromPromise, setup } from 'xstate'
import { z } from 'zod'

export const order = defineMachine({
  name: 'order',
  machine: setup({
    types: {
      context: {} as { items: readonly string[]; paid: number; parcel: string | undefined },
      events: {} as { type: 'add'; item: string } | { type: 'pay'; amount: number },
    },
    actors: {
      // Work that takes its time. Not done when the server dies, it is begun again; done, it is not.
      pack: fromPromise(async ({ input }: { input: readonly string[] }) => {
        await sleep(200)
        return `a parcel of ${input.join(' and ')}`
      }),
    },
    delays: { cooling: 3_000 },
  }).createMachine({
    id: 'order',
    context: { items: [], paid: 0, parcel: undefined },
    initial: 'open',
    states: {
      open: {
        on: {
          add: { actions: assign({ items: ({ context, event }) => [...context.items, event.item] }) },
          pay: { target: 'packing', actions: assign({ paid: ({ event }) => event.amount }) },
        },
      },
      packing: {
        invoke: {
          src: 'pack',
          input: ({ context }) => context.items,
          onDone: { target: 'cooling', actions: assign({ parcel: ({ event }) => event.output }) },
        },
      },
      // It can be thought better of; then it goes.
      cooling: { after: { cooling: 'sent' } },
      sent: { type: 'final' },
    },
    output: ({ context }) => ({ parcel: context.parcel, paid: context.paid }),
  }),
  events: { add: z.object({ item: z.string() }), pay: z.object({ amount: z.number().positive() }) },
  durable: { version: 1 },
})

export const machines = [order]
