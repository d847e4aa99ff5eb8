// nact: actors within one process, each with a mailbox that has no bound.

import { dispatch, query, type Ref, spawn, start, stop } from 'nact'
import { check, seconds, typical } from '../transport/row.ts'
import { kibEach, perActor } from './many.ts'
import type { Player } from './player.ts'

type Message = { readonly type: 'add'; readonly n: number } | { readonly type: 'total'; readonly sender: Ref<number> }

const TIMEOUT = 30_000

export function nact(): Player {
  const system = start()
  let handled = 0
  const make = (): Ref<Message> =>
    spawn(system, (count: number | undefined, message: Message) => {
      const before = count ?? 0
      handled++
      if (message.type === 'add') return before + message.n
      dispatch(message.sender, before)
      return before
    })
  /** Each has handled an event. */
  const all = async (count: number): Promise<Ref<Message>[]> => {
    const actors = Array.from({ length: count }, make)
    const before = handled
    for (const actor of actors) dispatch(actor, { type: 'add', n: 1 })
    while (handled < before + count) await new Promise(setImmediate)
    return actors
  }
  const one = make()
  const total = (): Promise<number> =>
    query(one, (sender: Ref<number>): Message => ({ type: 'total', sender }), TIMEOUT)
  return {
    async send(count) {
      const before = await total()
      const begun = performance.now()
      for (let sent = 0; sent < count; sent++) dispatch(one, { type: 'add', n: 1 })
      const after = await total()
      const rate = count / seconds(begun)
      check('events', after - before, count)
      return rate
    },
    async ask(count) {
      const before = await total()
      return typical(count, async () => check('total', await total(), before))
    },
    many: (count) => perActor(count, async () => (await all(count)).forEach(stop)),
    async memory(count) {
      const actors: Ref<Message>[] = []
      const grown = await kibEach(count, async () => {
        actors.push(...(await all(count)))
        return actors
      })
      actors.forEach(stop)
      return grown
    },
  }
}
