// errand itself: two peers over encrypted libp2p, the far one's work in processes of its own.

import { join } from 'node:path'
import { createPeer, type Job } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import type { Rival } from './rival.ts'

/** What the far peer keeps jobs and records in. */
export const STORE = 'memory'

export const errand: Rival = {
  name: `errand, encrypted, store: ${STORE}`,

  async serve(folder) {
    const transport = libp2p({ listen: ['/ip4/127.0.0.1/tcp/0'], keyFile: join(folder, 'far/key') })
    return (await createPeer({ name: 'far', transport })).invite()
  },

  async connect(ticket, folder) {
    const transport = libp2p({ listen: [], keyFile: join(folder, 'near/key') })
    const peer = await createPeer({ name: 'near', transport })
    await peer.join(ticket)
    const session = await peer.connect('far')
    const jobs: Job[] = []
    return {
      call: async (input) =>
        input === undefined
          ? await session.run((): number | undefined => undefined)
          : await session.run((_, value: number) => value + 1, { args: [input] }),
      async job() {
        const job = await session.start(() => {}, { engine: 'thread' })
        jobs.push(job)
        const { state, reason } = await job.finished
        if (state !== 'Completed') throw new Error(`a job is ${state}`, { cause: reason })
      },
      clear: async () => void (await Promise.all(jobs.splice(0).map((job) => job.remove()))),
      async records(count, take) {
        const run = session.run(
          function* (_, many: number) {
            for (let id = 0; id < many; id++) yield { id, name: 'item-123', ok: true }
          },
          { args: [count] },
        )
        for await (const item of run) take(item)
      },
      [Symbol.asyncDispose]: () => peer.close(),
    }
  },
}
