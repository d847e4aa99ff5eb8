// Very many refs, and what is left of them when they are let go of: nothing, at neither end.
import { getEventListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { codeOf, type ActorAddress, type Ref } from '../src/index.ts'
import { OPEN_READS } from '../src/wire.ts'
import * as odd from './fixtures/odd-machines.ts'
import { ActorWorld, routesOf } from './support/actor-world.ts'
import { until } from './support/peers.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const ACTORS = 500
const REFS = 10_000

type Keeper = Ref<typeof odd.keeper>

async function watchersThere(world: ActorWorld, { path }: ActorAddress): Promise<number> {
  const [session = '', job = ''] = path.split('/')
  const inspected = await world.host.hosted(session)!.request({ type: 'actor.inspect' }, job)
  return (inspected as { watchers: number }).watchers
}

/** What programs do with a ref, each another thing. */
const USES: readonly ((ref: Keeper) => unknown)[] = [
  () => undefined,
  (ref) => void ref.subscribe(() => undefined),
  (ref) => ref.tell({ type: 'take', n: 1 }),
  (ref) => ref.ask({ type: 'kept' }),
  (ref) => ref.send({ type: 'take', n: 2 }),
  (ref) => ref.snapshots()[Symbol.asyncIterator]().next(),
  (ref) => ref.states()[Symbol.asyncIterator]().next(),
  (ref) => ref.ask({ type: 'kept' }, { signal: new AbortController().signal }),
  // Never answered.
  (ref) => void ref.ask({ type: 'later' }, { timeout: 200 }),
  (ref) => void ref.on('*', () => undefined),
]

test.each(['on another peer', 'on the same peer'])(
  `${REFS} refs, to actors %s`,
  { timeout: 120_000 },
  async (where) => {
    await using world = await ActorWorld.open({ machines: odd.machines })
    const far = where === 'on another peer'
    const peer = far ? world.here : world.far
    const session = far ? await peer.connect('far') : peer
    const routes = routesOf(peer)
    const addresses: ActorAddress[] = []
    for (let n = 0; n < ACTORS; n++) {
      const ref = await session.spawn(odd.keeper)
      addresses.push(ref.address)
      ref[Symbol.dispose]()
    }
    const listeners = getEventListeners(routes.over, 'abort').length

    // In a function of its own, whose frame holds nothing of it later.
    const held = await (async () => {
      const refs: Keeper[] = []
      const used: unknown[] = []
      for (let n = 0; n < REFS; n++) {
        const ref = await peer.ref<typeof odd.keeper>(
          addresses[n % ACTORS]!,
          n % 3 === 0 ? { onRefused: () => undefined } : {},
        )
        refs.push(ref)
        used.push(USES[Math.floor(n / ACTORS) % USES.length]!(ref))
      }
      await Promise.all(refs.map((ref) => ref.ready()))
      await Promise.all(used)
      expect(refs.every(({ state }) => state === 'live')).toBe(true)
      for (const ref of refs) ref[Symbol.dispose]()
      expect(refs.every(({ state }) => state === 'gone')).toBe(true)
      return refs.map((ref) => new WeakRef(ref))
    })()

    await until('that nobody watches', async () => {
      for (const address of addresses) if ((await watchersThere(world, address)) > 0) return false
      return true
    })
    await until('that nothing waits', () => routes.outboxes.size === 0)
    expect(getEventListeners(routes.over, 'abort')).toHaveLength(listeners)
    await until('that nothing holds them', () => {
      collect()
      return held.every((ref) => ref.deref() === undefined)
    })
  },
)

// Each has a read open for as long as somebody listens.
test(
  `${OPEN_READS} refs over one link listen to what their actors emit; one more does as soon as another one lets go`,
  { timeout: 60_000 },
  async () => {
    await using world = await ActorWorld.open({ machines: odd.machines })
    const session = await world.here.connect('far')
    const actors = await Promise.all(Array.from({ length: ACTORS }, () => session.spawn(odd.counting)))
    const address = (n: number): ActorAddress => actors[n % ACTORS]!.address
    const refs: Ref<typeof odd.counting>[] = []
    let heard = 0
    for (let n = 0; n < OPEN_READS; n++) {
      const ref = await world.here.ref<typeof odd.counting>(address(n))
      ref.on('said', () => heard++)
      refs.push(ref)
    }
    await Promise.all(refs.map((ref) => ref.ready()))
    for (const actor of actors) actor.send({ type: 'say' })
    await until('that all are heard', () => heard === OPEN_READS)

    const refused: [string | undefined, unknown][] = []
    using late = await world.here.ref<typeof odd.counting>(address(0), {
      onRefused: (error, event) => refused.push([codeOf(error), event]),
    })
    let lateHeard = 0
    late.on('said', () => lateHeard++)
    await until('that it is refused', () => refused.length > 0)
    // Whatever else it is for it does.
    await late.tell({ type: 'say' })
    expect(lateHeard).toBe(0)
    refs.pop()![Symbol.dispose]()
    await until('that it is heard', async () => {
      actors[0]!.send({ type: 'say' })
      await delay(50)
      return lateHeard > 0
    })
    expect(refused).toEqual([['LIMIT', undefined]])
    for (const ref of [...refs, ...actors]) ref[Symbol.dispose]()
  },
)
