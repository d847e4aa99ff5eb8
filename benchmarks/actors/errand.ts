// errand itself: actors on this peer, and on another one over encrypted libp2p.

import { createPeer, type Peer, type PeerHost, type Ref } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { check, seconds, typical } from '../transport/row.ts'
import { counter } from './counter.ts'
import { eachOf, kibEach, perActor } from './many.ts'
import type { Player } from './player.ts'

type Counter = Ref<typeof counter>

/** Of so many events one is waited for, and so many of those are under way at once: what waits here has a bound. */
const WINDOW = 1024
const WINDOWS = 8

export async function here(): Promise<Player> {
  const peer = await createPeer({ name: 'here', machines: [counter] })
  return playing(peer, peer)
}

export async function there(ticket: string): Promise<Player> {
  const peer = await createPeer({ name: 'near', transport: libp2p({ listen: [] }) })
  await peer.join(ticket)
  const session = await peer.connect('far')
  // What `errand peers` asks of a daemon. Nothing crosses the link but one small request and its answer.
  const { via } = peer as unknown as { via: PeerHost }
  return {
    ...(await playing(peer, session)),
    ping: (count) => typical(count, () => via.ask({ type: 'local.ping', on: 'far' })),
    run: (count) => typical(count, async () => check('empty work', await session.run(() => {}), undefined)),
  }
}

async function playing(peer: Peer, place: Pick<Peer, 'spawn' | 'jobs'>): Promise<Player> {
  const one = await place.spawn(counter)
  const make = (): Promise<Counter> => place.spawn(counter)
  const add = (ref: Counter): Promise<void> => ref.tell({ type: 'add', n: 1 })
  const clear = async (): Promise<void> => {
    for (;;) {
      const jobs = await place.jobs({ state: 'Stopped', newest: 1_000 })
      if (jobs.length === 0) return
      await eachOf(jobs, (job) => job.remove())
    }
  }
  return {
    async send(count) {
      const before = await total(one)
      const begun = performance.now()
      await flood(one, count)
      const after = await total(one)
      const rate = count / seconds(begun)
      check('events', after - before, count)
      return rate
    },
    async ask(count) {
      const before = await total(one)
      return typical(count, async () => check('total', await total(one), before))
    },
    many: (count) =>
      perActor(
        count,
        async () => {
          const refs = await eachOf(Array.from({ length: count }), make)
          await eachOf(refs, add)
          await eachOf(refs, stopped)
        },
        clear,
      ),
    async memory(count) {
      const refs: Counter[] = []
      const grown = await kibEach(count, async () => {
        refs.push(...(await eachOf(Array.from({ length: count }), make)))
        await eachOf(refs, add)
        // Held as addresses: what a ref takes is the holder's.
        for (const ref of refs) ref[Symbol.dispose]()
        return refs.splice(0).map(({ address }) => address)
      })
      const jobs = await peer.jobs({ state: 'Running' })
      await eachOf(
        jobs.filter((job) => !one.address.path.endsWith(job.instanceId)),
        (job) => job.remove({ force: true }),
      )
      return grown
    },
  }
}

export async function flood(ref: Counter, count: number): Promise<void> {
  const waited: Promise<void>[] = []
  for (let sent = 1; sent <= count; sent++) {
    if (sent % WINDOW !== 0) ref.send({ type: 'add', n: 1 })
    else if (waited.push(ref.tell({ type: 'add', n: 1 })) > WINDOWS) await waited.shift()
  }
  await Promise.all(waited)
}

async function total(ref: Counter): Promise<number> {
  const answer = await ref.ask<number>({ type: 'total' })
  if (answer.outcome !== 'ok') throw answer.error
  return answer.value
}

async function stopped(ref: Counter): Promise<void> {
  const gone = new Promise<void>((resolve) => ref.subscribe({ complete: resolve }))
  ref.stop()
  await gone
  check('its end', ref.getSnapshot().status, 'stopped')
}
