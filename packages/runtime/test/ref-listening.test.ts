// What a ref hears of what its actor emits: each event once, in order, of this incarnation and no other, over whatever comes
// in between, from the call of `on` to the last before its end.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { memory } from '@errand/transport/memory'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { emit, setup } from 'xstate'
import {
  connectLocal,
  createPeer,
  defineMachine,
  type ActorAddress,
  type JobSnapshot,
  type Peer,
  type Ref,
} from '../src/index.ts'
import { codeOf } from '../src/errors.ts'
import type { JobReading } from '../src/link.ts'
import { type ReadChunk, singleRecord } from '../src/record.ts'
import { Listening } from '../src/ref-listening.ts'
import { HostSession } from '../src/session.ts'
import { machineSpec } from '../src/work.ts'
import { ActorWorld, type ActorWorldOptions, mayAll } from './support/actor-world.ts'
import { range } from './support/numbers.ts'
import { until } from './support/peers.ts'

const speaker = defineMachine({
  name: 'speaker',
  machine: setup({
    types: {
      events: {} as { type: 'say'; n: number } | { type: 'hush' | 'finish' | 'break' },
      emitted: {} as { type: 'said'; n: number },
    },
  }).createMachine({
    initial: 'on',
    states: {
      on: {
        on: {
          say: { actions: emit(({ event }) => ({ type: 'said' as const, n: event.n })) },
          break: {
            actions: () => {
              throw new RangeError('broken as told')
            },
          },
          hush: {},
          finish: 'off',
        },
      },
      off: { type: 'final' },
    },
  }),
  events: { say: true, hush: true, finish: true, break: true },
})
type Speaker = Ref<typeof speaker>

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function world(options: Partial<ActorWorldOptions> = {}): Promise<ActorWorld> {
  const made = await ActorWorld.open({
    machines: [speaker],
    peers: { here: [...mayAll([speaker]), 'run:script', 'jobs:read', 'jobs:send'] },
    ...options,
  })
  open.push(made)
  return made
}

function heardOf(ref: Speaker): number[] {
  const heard: number[] = []
  ref.on('said', ({ n }: { n: number }) => heard.push(n))
  return heard
}

/** As one on that peer says it. */
async function atHome(all: ActorWorld, ref: { readonly address: ActorAddress }): Promise<Speaker> {
  const here = (await all.far.ref<typeof speaker>({ ...ref.address, peer: 'local' })) as Speaker
  await here.ready()
  return here
}

/** What `on` has asked for has been heard over there, and what that answers here. */
async function settled(ref: Speaker): Promise<void> {
  for (let n = 0; n < 10; n++) await ref.tell({ type: 'hush' })
}

describe('a link that is lost', () => {
  test.each([
    ['before anything was emitted', []],
    ['after something was', [0, 1]],
  ])('%s: what is emitted meanwhile is heard, once', async (_, before) => {
    const all = await world()
    const session = await all.here.connect('far')
    const ref: Speaker = await session.spawn(speaker)
    const there = await atHome(all, ref)
    await ref.ready()
    const heard = heardOf(ref)
    for (const n of before) await ref.tell({ type: 'say', n })
    await settled(ref)
    await until('what was said before', () => heard.length === before.length)
    all.network.lose('here', 'far')
    for (const n of range(5)) await there.tell({ type: 'say', n: 10 + n })
    await until('that it is back', () => ref.state === 'live')
    await ref.tell({ type: 'say', n: 99 })
    await until('the last', () => heard.includes(99))
    expect(heard).toEqual([...before, 10, 11, 12, 13, 14, 99])
  })

  test('again and again: each is heard, in order, and its end behind them', async () => {
    const all = await world()
    const session = await all.here.connect('far')
    const ref: Speaker = await session.spawn(speaker)
    const there = await atHome(all, ref)
    await ref.ready()
    const heard = heardOf(ref)
    await settled(ref)
    for (let n = 0; n < 20; n++) {
      await there.tell({ type: 'say', n })
      if (n % 4 !== 3) continue
      all.network.lose('here', 'far')
      await until('that it is back', () => ref.state === 'live')
    }
    await there.tell({ type: 'finish' })
    await until('its end', () => ref.state === 'gone')
    expect(heard).toEqual(range(20))
  })
})

test('what is emitted is no snapshot: who subscribes is told what has changed', async () => {
  const all = await world()
  const ref: Speaker = await (await all.here.connect('far')).spawn(speaker)
  const heard = heardOf(ref)
  const seen: unknown[] = []
  ref.subscribe((snapshot) => seen.push(snapshot))
  for (let n = 0; n < 500; n++) ref.send({ type: 'say', n })
  await until('all of it', () => heard.length === 500 && ref.getSnapshot().seq === 500)
  expect(new Set(seen).size).toBe(seen.length)
})

test('who follows a name from one to the next, over links that are lost, has one reading open, and in the end none', async () => {
  let open = 0
  const plain = Object.getOwnPropertyDescriptor(HostSession.prototype, 'readActor')!
  const counted = vi.spyOn(HostSession.prototype, 'readActor').mockImplementation(async function* (
    this: HostSession,
    ...args
  ) {
    open++
    try {
      return yield* (plain.value as HostSession['readActor']).apply(this, args)
    } finally {
      open--
    }
  })
  try {
    const all = await world()
    const session = await all.here.connect('far')
    const spawn = (): Promise<Speaker> => session.spawn(speaker)
    const name = (ref: Speaker): Promise<void> =>
      all.far.register('speaker', { ...ref.address, peer: 'local' }, { replace: true })
    let holder = await spawn()
    await name(holder)
    const follows = (await all.here.whereis('speaker', { on: 'far', definition: speaker })) as Speaker
    await until('the first', () => follows.state === 'live')
    const heard = heardOf(follows)
    for (const n of range(24)) {
      await settled(follows)
      follows.send({ type: 'say', n })
      await until('it', () => heard.length === n + 1)
      const next = await spawn()
      const before = holder
      holder = next
      // It ends, loses its name while it lives, or is not heard of just then.
      if (n % 3 === 0) before.stop()
      else await name(next)
      if (n % 3 === 2) all.network.lose('here', 'far')
      if (n % 3 === 0) await name(next)
      await until('the next', () => follows.state === 'live' && follows.address.path === next.address.path)
    }
    expect(heard).toEqual(range(24))
    await until('that one is read', () => open === 1)
    follows[Symbol.dispose]()
    await until('that none is', () => open === 0)
  } finally {
    counted.mockRestore()
  }
})

describe('a program beside a daemon', () => {
  /** A daemon in that world, as often as it is started, and programs that wait for the next one. */
  async function beside(all: ActorWorld) {
    const home = await mkdtemp(join(tmpdir(), 'errand-'))
    const closing: Peer[] = []
    const started = async (peer: Promise<Peer>): Promise<Peer> => (closing.unshift(await peer), closing[0]!)
    return {
      start: () =>
        started(
          createPeer({
            name: 'daemon',
            home,
            serveLocal: true,
            transport: memory({ network: all.network, name: 'daemon' }),
            policy: { peers: { far: [] } },
          }),
        ),
      client: () => started(connectLocal({ home, lostAfter: 20_000 })),
      async [Symbol.asyncDispose]() {
        for (const peer of closing) await peer.close()
        await rm(home, { recursive: true })
      },
    }
  }

  test('hears each event once, whichever link is lost, also where its daemon is started again', async () => {
    const all = await world({ peers: { here: mayAll([speaker]), daemon: ['connect', 'jobs:read', 'jobs:send'] } })
    const { start, client: connected, [Symbol.asyncDispose]: end } = await beside(all)
    try {
      let daemon = await start()
      const client = await connected()
      const session = await all.here.connect('far')
      const own: Speaker = await session.spawn(speaker)
      const there = await atHome(all, own)
      const ref = (await client.ref<typeof speaker>({ ...own.address, peer: 'far' })) as Speaker
      await ref.ready()
      await all.far.register('speaker', { ...own.address, peer: 'local' })
      const follows = (await client.whereis('speaker', { on: 'far', definition: speaker })) as Speaker
      await follows.ready()
      const [heard, byName] = [heardOf(ref), heardOf(follows)]
      for (const one of [ref, follows]) await settled(one)
      let last = 0
      const say = async (): Promise<void> => {
        for (let n = 0; n < 3; n++) await there.tell({ type: 'say', n: last++ })
      }
      for (let round = 0; round < 3; round++) {
        all.network.lose('daemon', 'far')
        await say()
        await until('that it is back', () => ref.state === 'live' && follows.state === 'live')
        await say()
        await daemon.close()
        await say()
        daemon = await start()
        await until('that it is back', () => ref.state === 'live' && follows.state === 'live')
        for (const one of [ref, follows]) await one.tell({ type: 'hush' })
        await say()
      }
      await there.tell({ type: 'finish' })
      await until('its end', () => ref.state === 'gone')
      expect(ref.getSnapshot().status).toBe('done')
      expect(heard).toEqual(range(last))
      await until('the last of it', () => byName.length === last)
      expect(byName).toEqual(range(last))
      // Whoever has the name next is meant.
      const next: Speaker = await session.spawn(speaker)
      await all.far.register('speaker', { ...next.address, peer: 'local' })
      await until('the next one', () => follows.state === 'live' && follows.address.path === next.address.path)
    } finally {
      await end()
    }
  })

  test('tells each event once while its daemon is started again and again', async () => {
    const all = await world({ peers: { here: mayAll([speaker]), daemon: ['connect', 'jobs:read', 'jobs:send'] } })
    const { start, client, [Symbol.asyncDispose]: end } = await beside(all)
    try {
      let daemon = await start()
      const told = await client()
      const session = await all.here.connect('far')
      const own: Speaker = await session.spawn(speaker)
      const there = await atHome(all, own)
      const heard = heardOf(there)
      const ref = (await told.ref<typeof speaker>({ ...own.address, peer: 'far' })) as Speaker
      await ref.ready()
      let last = 0
      const over = new AbortController()
      const telling = (async () => {
        while (!over.signal.aborted) await Promise.all(range(20).map(() => ref.tell({ type: 'say', n: last++ })))
      })()
      for (let round = 0; round < 5; round++) {
        const before = heard.length
        await until('that it is told', () => heard.length > before + 100)
        await daemon.close()
        daemon = await start()
      }
      over.abort()
      await telling
      await until('the last', () => heard.length >= last)
      expect(heard).toEqual(range(last))
    } finally {
      await end()
    }
  })
})

describe('a session', () => {
  test('that is left goes on with its actors, and who listens hears them', async () => {
    const all = await world()
    const session = await all.here.connect('far')
    const before: Speaker = await session.spawn(speaker)
    const early = heardOf(before)
    await settled(before)
    await session.disconnect()
    const ref = (await all.here.ref<typeof speaker>(before.address)) as Speaker
    await ref.ready()
    const heard = heardOf(ref)
    for (const n of range(3)) await ref.tell({ type: 'say', n })
    await until('it, by who came later', () => heard.length === 3)
    await until('it, by who was there', () => early.length === 3)
    expect([early, heard]).toEqual([range(3), range(3)])
  })
})

describe('an actor that is started again', () => {
  async function restarting(register?: string) {
    const all = await world()
    const session = await all.here.connect('far')
    const restart = { times: 10, within: 60_000 }
    const spec = { ...(await machineSpec('speaker', {})), restart, ...(register && { register }) }
    const { instanceId } = (await all.host.hosted(session.instanceId)!.request({ type: 'start', spec })) as JobSnapshot
    const path = `${session.instanceId}/${instanceId}`
    const at = async (epoch: number): Promise<Speaker> => {
      const ref = (await all.here.ref<typeof speaker>({ peer: 'far', path, epoch })) as Speaker
      await ref.ready()
      return ref
    }
    return { all, at }
  }

  test('is heard as the one it is', async () => {
    const { at } = await restarting()
    const first = await at(1)
    const whichever = await at(0)
    const [heard, heardAll] = [heardOf(first), heardOf(whichever)]
    const seen: string[] = []
    first.on('said', () => seen.push('said'))
    first.subscribe({ error: () => seen.push('its end') })
    for (const n of range(3)) first.send({ type: 'say', n })
    first.send({ type: 'break' })
    await until('the next one', () => whichever.getSnapshot().epoch === 2)
    for (const n of range(3)) await whichever.tell({ type: 'say', n: 10 + n })
    await until('all of it', () => heardAll.length === 6)
    await until('its end', () => first.state === 'gone')
    expect(heard).toEqual(range(3))
    expect(seen).toEqual(['said', 'said', 'said', 'its end'])
    expect(heardAll).toEqual([0, 1, 2, 10, 11, 12])
  })

  test('is heard once by who follows its name', async () => {
    const { all } = await restarting('speaker')
    const follows = (await all.here.whereis('speaker', { on: 'far', definition: speaker })) as Speaker
    await until('it', () => follows.state === 'live')
    const heard = heardOf(follows)
    for (const life of range(4)) {
      await until('it', () => follows.state === 'live' && follows.address.epoch === life + 1)
      await settled(follows)
      for (const n of range(3)) follows.send({ type: 'say', n: life * 10 + n })
      follows.send({ type: 'break' })
    }
    await until('the last', () => follows.state === 'live' && follows.address.epoch === 5)
    await settled(follows)
    await follows.tell({ type: 'say', n: 99 })
    await until('the last', () => heard.includes(99))
    expect(heard).toEqual([0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32, 99])
  })
})

describe('what was emitted before an end', () => {
  afterEach(() => void vi.useRealTimers())

  /** A reading of which each chunk comes when the test says so. */
  function slow() {
    const heard: unknown[] = []
    const unheard: (string | undefined)[] = []
    let next = Promise.withResolvers<ReadChunk | undefined>()
    let ended = 0
    async function* read(_: unknown, signal: AbortSignal): JobReading {
      try {
        for (let chunk; (chunk = await Promise.race([next.promise, aborted(signal)]));) {
          next = Promise.withResolvers()
          yield chunk
        }
      } finally {
        ended++
      }
      return undefined
    }
    const listening = new Listening(read, {
      emitted: (event) => heard.push((event as { n?: number }).n),
      unheard: (error) => unheard.push(codeOf(error)),
    })
    const come = (n: number): void => next.resolve(chunkOf(n))
    return { listening, heard, unheard, come, end: () => next.resolve(undefined), ended: () => ended }
  }

  const aborted = (signal: AbortSignal): Promise<undefined> =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined)))

  const chunkOf = (n: number): ReadChunk => ({
    job: 'job',
    location: 'here',
    first: n,
    from: n,
    ...singleRecord('output', { type: 'said', n }),
  })

  test('is waited for, for as long as it comes', async () => {
    vi.useFakeTimers()
    const { listening, heard, unheard, come, end, ended } = slow()
    let over = false
    void listening.toTheEnd().then(() => (over = true))
    for (const n of range(10)) {
      await vi.advanceTimersByTimeAsync(1_900)
      come(n)
    }
    await vi.advanceTimersByTimeAsync(0)
    expect([heard, over]).toEqual([range(10), false])
    end()
    await vi.advanceTimersByTimeAsync(0)
    expect([heard, unheard, over, ended()]).toEqual([range(10), [], true, 1])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('and does not come any more is not waited for: that is said, and nothing is left', async () => {
    vi.useFakeTimers()
    const { listening, heard, unheard, come, ended } = slow()
    let over = false
    void listening.toTheEnd().then(() => (over = true))
    come(0)
    await vi.advanceTimersByTimeAsync(10_000)
    expect([heard, unheard, over, ended()]).toEqual([[0], ['PEER_LOST'], true, 1])
    expect(vi.getTimerCount()).toBe(0)
  })
})
