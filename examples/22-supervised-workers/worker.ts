// What each server offers: a worker that counts what it has done, and says where.
import { hostname } from 'node:os'
import { defineMachine, reply } from '@errand/runtime'
import { assign, emit, setup } from 'xstate'
import { z } from 'zod'

export const worker = defineMachine({
  name: 'worker',
  machine: setup({
    types: {
      context: {} as { done: number; pid: number },
      events: {} as { type: 'task'; n: number } | { type: 'who' },
      emitted: {} as { type: 'done'; n: number },
    },
  }).createMachine({
    id: 'worker',
    context: { done: 0, pid: process.pid },
    on: {
      task: {
        actions: [
          assign({ done: ({ context }) => context.done + 1 }),
          emit(({ event }) => ({ type: 'done' as const, n: event.n })),
        ],
      },
      who: {
        actions: reply(({ context }) => `process ${context.pid} on ${hostname()}, which has done ${context.done}`),
      },
    },
  }),
  events: { task: z.object({ n: z.number() }), who: z.object({}) },
})

export const machines = [worker]
