// Machines of a chat: a room on server01, and a guest on each peer that takes part. In a room a guest is an address.
import { defineMachine, tellActor, type ActorAddress } from '@errand/runtime'
import { assign, setup } from 'xstate'
import { z } from 'zod'

const address = z.custom<ActorAddress>((value) => typeof (value as ActorAddress | undefined)?.path === 'string')

export const room = defineMachine({
  name: 'room',
  machine: setup({
    types: {
      context: {} as { guests: Record<string, ActorAddress> },
      events: {} as
        | { type: 'enter'; name: string; guest: ActorAddress }
        | { type: 'say'; name: string; text: string }
        | { type: 'leave'; name: string },
    },
  }).createMachine({
    id: 'room',
    context: { guests: {} },
    on: {
      enter: {
        actions: [
          // Those who are there hear of it; whoever comes hears who is there.
          tellActor(
            ({ context }) => Object.values(context.guests),
            ({ event }) => ({ type: 'hear', text: `${event.name} comes in` }),
          ),
          tellActor(
            ({ event }) => event.guest,
            ({ context }) => ({
              type: 'hear',
              text: `there are: ${Object.keys(context.guests).join(', ') || 'nobody'}`,
            }),
          ),
          assign({ guests: ({ context, event }) => ({ ...context.guests, [event.name]: event.guest }) }),
        ],
      },
      say: {
        actions: tellActor(
          ({ context }) => Object.values(context.guests),
          ({ event }) => ({ type: 'hear', text: `${event.name}: ${event.text}` }),
        ),
      },
      leave: {
        actions: assign({
          guests: ({ context, event }) =>
            Object.fromEntries(Object.entries(context.guests).filter(([name]) => name !== event.name)),
        }),
      },
    },
  }),
  events: {
    enter: z.object({ name: z.string(), guest: address }),
    say: z.object({ name: z.string(), text: z.string() }),
    leave: z.object({ name: z.string() }),
  },
  // Who is there, and not where.
  project: ({ context }) => ({ guests: Object.keys(context.guests) }),
})

export const guest = defineMachine({
  name: 'guest',
  machine: setup({
    types: { context: {} as { heard: readonly string[] }, events: {} as { type: 'hear'; text: string } },
  }).createMachine({
    id: 'guest',
    context: { heard: [] },
    on: { hear: { actions: assign({ heard: ({ context, event }) => [...context.heard, event.text] }) } },
  }),
  events: { hear: z.object({ text: z.string() }) },
})

export const machines = [room]
