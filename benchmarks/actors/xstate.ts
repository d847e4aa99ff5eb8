// XState alone: what an actor costs that nobody hosts. All that it does it does in the call.

import { type ActorRefFrom, assign, createActor, setup } from 'xstate'
import { check, seconds, typical } from '../transport/row.ts'
import { kibEach, perActor } from './many.ts'
import type { Player } from './player.ts'

const machine = setup({
  types: {
    context: {} as { count: number },
    events: {} as { type: 'add'; n: number } | { type: 'total'; answer: (count: number) => void },
  },
}).createMachine({
  context: { count: 0 },
  on: {
    add: { actions: assign({ count: ({ context, event }) => context.count + event.n }) },
    // It knows no questions: whoever asks says whom to tell.
    total: { actions: ({ context, event }) => event.answer(context.count) },
  },
})

export function xstate(): Player {
  const make = (): ActorRefFrom<typeof machine> => createActor(machine).start()
  const all = (count: number): ActorRefFrom<typeof machine>[] => {
    const actors = Array.from({ length: count }, make)
    for (const actor of actors) actor.send({ type: 'add', n: 1 })
    return actors
  }
  const one = make()
  const total = (): Promise<number> => new Promise((answer) => one.send({ type: 'total', answer }))
  return {
    async send(count) {
      const before = await total()
      const begun = performance.now()
      for (let sent = 0; sent < count; sent++) one.send({ type: 'add', n: 1 })
      const rate = count / seconds(begun)
      check('events', (await total()) - before, count)
      return rate
    },
    async ask(count) {
      const before = await total()
      return typical(count, async () => check('total', await total(), before))
    },
    many: (count) => perActor(count, async () => all(count).forEach((actor) => actor.stop())),
    memory: (count) => kibEach(count, async () => all(count)),
  }
}
