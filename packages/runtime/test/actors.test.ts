// An actor is driven through its ref as if it were local, wherever it is: the same tests for one here, one on another peer
// in this process, one in another process over libp2p, one that a daemon's client holds, and those in processes of their own.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createActor, sendTo, setup, toPromise, waitFor, type AnyActorRef } from 'xstate'
import { connectLocal, createPeer, type ActorAddress, type Outcome, type Peer, type Ref } from '../src/index.ts'
import type { RefSnapshot } from '../src/index.ts'
import { counter, machines, room, worker } from './fixtures/machines.ts'
import { machines as processMachines } from './fixtures/process-machines.ts'
import { pair, type Pair } from './support/pair.ts'
import { Peers, refusal, until, within } from './support/peers.ts'

interface Place extends AsyncDisposable {
  readonly peer: Peer
  /** Spawns there. */
  readonly spawn: Peer['spawn']
}

const GRANTS = ['connect', ...machines.map(({ name }) => `spawn:${name}` as const)] as const

const places: Record<string, () => Promise<Place>> = {
  here: async () => {
    const peer = await createPeer({ name: 'here', machines })
    return { peer, spawn: (machine, o) => peer.spawn(machine, o), [Symbol.asyncDispose]: () => peer.close() }
  },
  'on another peer': async () => {
    const both: Pair = await pair({ far: { machines, policy: { peers: { here: [...GRANTS] } } } })
    const session = await both.here.connect('far')
    return {
      peer: both.here,
      spawn: (machine, o) => session.spawn(machine, o),
      [Symbol.asyncDispose]: () => both[Symbol.asyncDispose](),
    }
  },
  'in another process, over libp2p': async () => {
    const peers = await Peers.start()
    const server = await peers.process('server01', { machines: true })
    await peers.laptop.join(await server.ask('invite', { grants: [...GRANTS] }))
    const session = await peers.laptop.connect('server01')
    return {
      peer: peers.laptop,
      spawn: (machine, o) => session.spawn(machine, o),
      [Symbol.asyncDispose]: () => peers.close(),
    }
  },
  'in a host process': async () => {
    const peer = await createPeer({ name: 'here', machines: processMachines })
    return { peer, spawn: (machine, o) => peer.spawn(machine, o), [Symbol.asyncDispose]: () => peer.close() }
  },
  'in a host process of another process, over libp2p': async () => {
    const peers = await Peers.start()
    const machines = new URL('./fixtures/process-machines.ts', import.meta.url).href
    const server = await peers.process('server01', { machines })
    await peers.laptop.join(await server.ask('invite', { grants: [...GRANTS] }))
    const session = await peers.laptop.connect('server01')
    return {
      peer: peers.laptop,
      spawn: (machine, o) => session.spawn(machine, o),
      [Symbol.asyncDispose]: () => peers.close(),
    }
  },
  'by a client of a daemon, elsewhere': async () => {
    const peers = await Peers.start()
    const server = await peers.process('server01', { machines: true })
    const daemon = await peers.program('daemon', { serveLocal: true })
    await daemon.join(await server.ask('invite', { grants: [...GRANTS] }))
    const client = await connectLocal({ home: peers.homeOf('daemon') })
    const session = await client.connect('server01')
    return {
      peer: client,
      spawn: (machine, o) => session.spawn(machine, o),
      async [Symbol.asyncDispose]() {
        await client.close()
        await peers.close()
      },
    }
  },
}

describe.each(Object.entries(places))('an actor %s', (_, make) => {
  let place: Place
  beforeAll(async () => void (place = await make()))
  afterAll(() => place[Symbol.asyncDispose]())

  const spawned = (from = 0): Promise<Ref<typeof counter>> => place.spawn(counter, { input: { from } })

  test('is there when it has been spawned, with its first snapshot', async () => {
    const ref = await spawned(7)
    expect(ref.state).toBe('live')
    expect(ref.getSnapshot()).toMatchObject({
      status: 'active',
      value: 'counting',
      context: { count: 7, notes: [] },
      epoch: 1,
    })
    const snapshot = ref.getSnapshot()
    expect(snapshot.matches('counting')).toBe(true)
    expect(snapshot.hasTag('open')).toBe(true)
    expect(snapshot.can({ type: 'add' })).toBe(true)
    expect(snapshot.can({ type: 'go on' })).toBe(false)
    // Its own events are nobody's to send.
    expect(snapshot.accepts).not.toContain('secret')
  })

  test('handles what is sent, in order', async () => {
    const ref = await spawned()
    for (let n = 0; n < 1000; n++) ref.send({ type: 'note', text: String(n) })
    const { context } = await waitFor(ref as never as AnyActorRef, (seen) => seen.context.notes.length === 1000)
    expect(context.notes).toEqual(Array.from({ length: 1000 }, (_, n) => String(n)))
  })

  test('is asked, behind what was sent before', async () => {
    const ref = await spawned()
    for (let n = 1; n <= 300; n++) ref.send({ type: 'add', n })
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 45_150 })
    const gone = await refusal('an event that is none', async () => ref.send({ type: 'secret' } as never))
    expect(gone).toMatchObject({ code: 'INVALID_EVENT' })
    const no = await ref.ask({ type: 'go on' })
    expect(no).toMatchObject({ outcome: 'error', error: { code: 'EVENT_NOT_ACCEPTED' } })
    const late = await ref.ask({ type: 'note', text: 'nobody answers' }, { timeout: 20 })
    expect(late).toMatchObject({ outcome: 'unknown', error: { code: 'OUTCOME_UNKNOWN' } })
  })

  test('answers later', async () => {
    const ref = await spawned()
    const answer: Promise<Outcome<string>> = ref.ask({ type: 'later' })
    await ref.tell({ type: 'now' })
    expect(await answer).toEqual({ outcome: 'ok', value: 'now' })
  })

  test('refuses what does not fit, by whoever sends it', async () => {
    const ref = await spawned()
    expect(await refusal('send', async () => ref.send({ type: 'add', n: 'x' as never }))).toMatchObject({
      code: 'INVALID_EVENT',
      issues: [{ path: ['n'], message: 'a number' }],
    })
    const refused: unknown[] = []
    // Nothing is known of its machine here: it is refused over there.
    const plain = await place.peer.ref(ref.address, { onRefused: (error, event) => refused.push([error, event]) })
    const no = await refusal('tell', () => plain.tell({ type: 'add', n: 'x' } as never))
    expect(no).toMatchObject({ code: 'INVALID_EVENT' })
    plain.send({ type: 'nonsense' })
    plain.send({ type: 'add', n: 1 } as never)
    await until('what was refused', () => refused.length > 0)
    expect(refused).toMatchObject([[{ code: 'INVALID_EVENT' }, { type: 'nonsense' }]])
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 1 })
  })

  test('an input that does not fit spawns nothing', async () => {
    const no = await refusal('spawn', () => place.spawn(counter, { input: { from: 'x' as never } }))
    expect(no).toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringMatching(/^machine '\w+' does not take that: /) as string,
    })
    const none = await refusal('spawn', () => place.spawn('nobody'))
    expect(['MACHINE_NOT_OFFERED', 'DENIED']).toContain((none as { code?: string }).code)
  })

  test('is subscribed, selected, and listened to', async () => {
    const ref = await spawned()
    const seen: RefSnapshot<typeof counter>[] = []
    const emitted: unknown[] = []
    const counts: number[] = []
    ref.subscribe((snapshot) => seen.push(snapshot))
    ref.on('ten', (event) => emitted.push(event))
    ref.select(({ context }) => context.count).subscribe((count) => counts.push(count))
    await ref.tell({ type: 'add', n: 10 })
    await ref.tell({ type: 'pause' })
    await until('that it pauses', () => seen.at(-1)?.value === 'paused')
    expect(counts.at(-1)).toBe(seen.at(-1)!.context.count)
    await until('what it emitted', () => emitted.length > 0)
    expect(emitted).toEqual([{ type: 'ten', count: 10 }])
  })

  test('is listened to from the very call on, to the last it emits before its end', async () => {
    const ref = await spawned()
    {
      using before = await place.peer.ref<typeof counter>(ref)
      let ten = 0
      before.on('ten', () => ten++)
      await before.tell({ type: 'add', n: 10 })
      await until('the first one', () => ten === 1)
    }
    const heard: unknown[] = []
    ref.on('ten', ({ count }) => heard.push(count))
    ref.subscribe({ complete: () => heard.push('its end') })
    for (let n = 0; n < 100; n++) ref.send({ type: 'add', n: 10 })
    ref.send({ type: 'finish' })
    await until('its end', () => ref.state === 'gone')
    expect(heard).toEqual([...Array.from({ length: 100 }, (_, n) => 20 + 10 * n), 'its end'])
  })

  test('is sent to by a local machine that holds it', async () => {
    const ref = await spawned()
    const holder = createActor(
      setup({
        types: { context: {} as { remote: Ref<typeof counter> }, events: {} as { type: 'go' } },
      }).createMachine({
        context: { remote: ref },
        on: { go: { actions: sendTo(({ context }) => context.remote as never, { type: 'add', n: 3 } as never) } },
      }),
    ).start()
    holder.send({ type: 'go' })
    holder.send({ type: 'go' })
    await waitFor(ref as never as AnyActorRef, (seen) => seen.context.count === 6)
    holder.stop()
  })

  test('does its work, and says its output', async () => {
    const ref = await spawned(41)
    ref.send({ type: 'add', n: 1 })
    ref.send({ type: 'finish' })
    expect(await toPromise(ref as never as AnyActorRef)).toEqual({ count: 42 })
    await until('that it is gone', () => ref.state === 'gone')
    expect(ref.getSnapshot()).toMatchObject({ status: 'done', value: 'finished', output: { count: 42 } })
    expect(await refusal('send', async () => ref.send({ type: 'total' }))).toMatchObject({ code: 'ACTOR_GONE' })
    expect(await ref.ask({ type: 'total' })).toMatchObject({ outcome: 'error', error: { code: 'ACTOR_GONE' } })
  })

  test('fails with its error, which ends nobody else', async () => {
    const ref = await spawned()
    const failed: unknown[] = []
    ref.subscribe({ error: (error) => failed.push(error) })
    ref.send({ type: 'break' })
    await until('its error', () => failed.length > 0)
    expect(failed).toMatchObject([{ name: 'RangeError', message: 'broken as told' }])
    await until('that it is gone', () => ref.state === 'gone')
    expect(ref.getSnapshot()).toMatchObject({ status: 'error', error: { message: 'broken as told' } })
  })

  test('is stopped', async () => {
    const ref = await spawned()
    let complete = false
    ref.subscribe({ complete: () => (complete = true) })
    ref.stop()
    await until('its end', () => ref.state === 'gone')
    expect(ref.getSnapshot()).toMatchObject({ status: 'stopped' })
    expect(complete).toBe(true)
  })

  test('is followed by snapshots, to its end', async () => {
    const ref = await spawned()
    const values: unknown[] = []
    const reading = (async () => {
      for await (const snapshot of ref.snapshots()) values.push([snapshot.status, snapshot.value])
    })()
    await ref.tell({ type: 'pause' })
    await until('that it pauses', () => values.length === 2)
    await ref.tell({ type: 'finish' })
    await within('the end', reading)
    expect(values).toEqual([
      ['active', 'counting'],
      ['active', 'paused'],
      ['done', 'finished'],
    ])
  })

  test('holds actors elsewhere by their addresses, and sends to them', async () => {
    const chat = await place.spawn(room)
    const ann = await spawned()
    const bob = await spawned()
    for (const [name, member] of Object.entries({ Ann: ann, Bob: bob })) {
      await chat.tell({ type: 'join', name, member: member as unknown as ActorAddress })
    }
    await chat.tell({ type: 'say', name: 'Ann', text: 'hello' })
    for (const member of [ann, bob])
      await waitFor(member as never as AnyActorRef, (seen) => seen.context.notes.length === 2)
    await waitFor(chat as never as AnyActorRef, (seen) => seen.context.said === 1)
    expect(ann.getSnapshot().context.notes).toEqual(['welcome Ann', 'Ann: hello'])
    expect(bob.getSnapshot().context.notes).toEqual(['welcome Bob', 'Ann: hello'])
    expect(chat.getSnapshot().context.names).toEqual(['Ann', 'Bob'])
  })

  test('has timers, and what it invokes', async () => {
    const ref = await place.spawn(worker)
    ref.send({ type: 'rest', ms: 30 })
    await waitFor(ref as never as AnyActorRef, (seen) => seen.value === 'resting')
    await waitFor(ref as never as AnyActorRef, (seen) => seen.value === 'idle')
    ref.send({ type: 'work', ms: 1 })
    await waitFor(ref as never as AnyActorRef, (seen) => seen.context.done === 1)
    ref.send({ type: 'work', ms: 1, fails: true })
    await until('its end', () => ref.state === 'gone')
    expect(ref.getSnapshot()).toMatchObject({ status: 'error', error: { message: 'the work failed' } })
  })

  test('two refs of one actor send in one order, and each is let go of alone', async () => {
    const ref = await spawned()
    const other = await place.peer.ref<typeof counter>(ref)
    await other.ready()
    for (let n = 0; n < 100; n++) (n % 2 ? ref : other).send({ type: 'note', text: String(n) })
    await waitFor(ref as never as AnyActorRef, (seen) => seen.context.notes.length === 100)
    expect(ref.getSnapshot().context.notes).toEqual(Array.from({ length: 100 }, (_, n) => String(n)))
    other[Symbol.dispose]()
    expect(other.state).toBe('gone')
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 0 })
  })
})
