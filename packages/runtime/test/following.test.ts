// Actors by their names: called something from their start, found, and followed from one holder to the next. What is sent
// while nobody has the name waits, within bounds; what nobody can know is said.
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { setup, waitFor, type AnyActorRef } from 'xstate'
import { OUTBOX_BYTES, OUTBOX_EVENTS } from '../src/actor-outbox.ts'
import type { GroupSnapshot } from '../src/actor-surface.ts'
import { connectLocal } from '../src/client.ts'
import {
  codeOf,
  createPeer,
  defineMachine,
  type ActorAddress,
  type Grant,
  type Peer,
  type PeerHost,
  type Ref,
} from '../src/index.ts'
import type { JobSnapshot } from '../src/surface.ts'
import { checkEvent } from '../src/wire.ts'
import { counter, machines } from './fixtures/machines.ts'
import { Peers, refusal, until, within } from './support/peers.ts'

type Counter = Ref<typeof counter>

const hostOf = (peer: Peer): PeerHost => (peer as unknown as { via: PeerHost }).via
const SPAWN = machines.map(({ name }): Grant => `spawn:${name}`)
const ALL: Grant[] = ['connect', 'run:script', 'jobs:read', 'jobs:send', 'jobs:stop', ...SPAWN]
const BEAT = { heartbeat: 100, suspicion: 800 }

const notes = (ref: Counter): readonly string[] => ref.getSnapshot().context.notes
const untilNotes = (ref: Counter, count: number): Promise<unknown> =>
  waitFor(ref as never as AnyActorRef, (seen) => seen.context?.notes.length === count, { timeout: 10_000 })
const untilState = (ref: Ref<any>, state: Ref['state']): Promise<unknown> =>
  until(`it is ${state}`, () => ref.state === state)

let network: MemoryNetwork
let open: Peer[]
let here: Peer
let far: Peer

const start = async (name: string, peers: Record<string, Grant[]>, refused?: string[]): Promise<Peer> => {
  const peer = await createPeer({
    name,
    transport: memory({ network, name }),
    machines,
    policy: { peers },
    log: (_, details) => void refused?.push(String(details?.['what'])),
    ...BEAT,
  })
  open.push(peer)
  return peer
}

beforeEach(async () => {
  network = createMemoryNetwork()
  open = []
  here = await start('here', { far: [] })
  far = await start('far', { here: ALL })
})
afterEach(async () => {
  for (const peer of open) await peer.close()
})

describe('an actor', () => {
  test('is called something and is in its groups from its start, until its end', async () => {
    const ref = await here.spawn(counter, { register: 'db', groups: ['counters', 'all'] })
    const { peer, path } = ref.address
    expect(hostOf(here).names.holder('db')).toEqual({ peer, path, epoch: 1, machine: 'counter' })
    const snapshots = here.group('counters')[Symbol.asyncIterator]()
    expect((await snapshots.next()).value).toMatchObject({ members: [{ peer, path, epoch: 1, machine: 'counter' }] })
    ref.stop()
    expect(((await within('news of the group', snapshots.next())).value as GroupSnapshot).members).toEqual([])
    expect([hostOf(here).names.size, hostOf(here).names.groups]).toEqual([0, 0])
    await snapshots.return!()
  })

  test('that ends as soon as it begins leaves nothing behind', async () => {
    const ref = await here.spawn(counter, { register: 'db', groups: ['g'] })
    await ref.tell({ type: 'finish' })
    await untilState(ref, 'gone')
    expect([hostOf(here).names.size, hostOf(here).names.groups]).toEqual([0, 0])
  })

  test('is not spawned under a name that another one has', async () => {
    const first = await here.spawn(counter, { register: 'db' })
    expect(await refusal('a second one', () => here.spawn(counter, { register: 'db', groups: ['g'] }))).toMatchObject({
      code: 'NAME_TAKEN',
    })
    expect([hostOf(here).names.holder('db')?.path, hostOf(here).names.groups]).toEqual([first.address.path, 0])
    const session = await here.connect('far')
    await session.spawn(counter, { register: 'db' })
    expect(await refusal('a second one there', () => session.spawn(counter, { register: 'db' }))).toMatchObject({
      code: 'NAME_TAKEN',
    })
  })

  test('has a name that is one, and no more groups than it may', async () => {
    const odd = [{ register: 'a b' }, { groups: [''] }, { groups: Array.from({ length: 65 }, (_, n) => `g${n}`) }]
    for (const o of odd) {
      expect(await refusal(JSON.stringify(o), () => here.spawn(counter, o))).toMatchObject({ code: 'USAGE' })
      const spec = { kind: 'machine', job: 'counter', command: 'counter', startId: 's', ...o }
      expect(() => checkEvent({ type: 'start', spec })).toThrow('does not fit')
    }
    // Nothing but an actor is called anything.
    const spec = { kind: 'job', job: 'count', command: 'count', startId: 's' }
    checkEvent({ type: 'start', spec })
    expect(() => checkEvent({ type: 'start', spec: { ...spec, register: 'db' } })).toThrow('does not fit')
    expect(() => checkEvent({ type: 'start', spec: { ...spec, groups: [] } })).toThrow('does not fit')
  })

  test('is not called anything by somebody who may only spawn it', async () => {
    const refused: string[] = []
    const server = await start('server', { here: ['connect', ...SPAWN] }, refused)
    await here.allow('server', [])
    const session = await here.connect('server')
    await session.spawn(counter, { name: 'fine' })
    for (const o of [{ register: 'db' }, { groups: ['g'] }])
      expect(await refusal(JSON.stringify(o), () => session.spawn(counter, o))).toMatchObject({
        code: 'DENIED',
        hint: expect.stringContaining('it needs run:script beside spawn:counter; who owns server') as string,
      })
    expect(refused).toEqual(['spawn:counter with register', 'spawn:counter with groups'])
    await server.allow('here', ['connect', 'run:script', ...SPAWN])
    await session.spawn(counter, { register: 'db', groups: ['g'] })
  })

  test('that is started again is another one: under its name, and what another has meanwhile it goes without', async () => {
    const local = hostOf(here).local
    const spec = {
      kind: 'machine' as const,
      job: 'counter',
      command: 'counter',
      startId: crypto.randomUUID(),
      register: 'db',
      groups: ['g'],
      restart: { times: 5, within: 60_000 },
    }
    const { instanceId, session } = (await local.request({ type: 'start', spec })) as JobSnapshot
    const path = `${session}/${instanceId}`
    const plain: Counter = await here.ref({ peer: here.id, path, epoch: 1 })
    const follows = await here.whereis('db', { definition: counter })
    await plain.ready()
    await plain.tell({ type: 'break' })
    await untilState(plain, 'gone')
    await until('it follows', () => follows.state === 'live' && follows.address.epoch === 2)
    expect(hostOf(here).names.holder('db')).toMatchObject({ path, epoch: 2 })
    const other = await here.spawn(counter)
    await here.register('db', other, { replace: true })
    const second: Counter = await here.ref({ peer: here.id, path, epoch: 2 })
    await second.tell({ type: 'break' })
    await until('the third', () => hostOf(here).hosted(session)?.hasActor(instanceId, 3))
    expect(hostOf(here).names.holder('db')).toMatchObject({ path: other.address.path })
    const { value } = await here.group('g')[Symbol.asyncIterator]().next()
    expect((value as GroupSnapshot).members).toMatchObject([{ path, epoch: 3 }])
    expect(follows.address.path).toBe(other.address.path)
  })
})

describe('a name', () => {
  test('of an actor that is not there is none', async () => {
    const ref = await here.spawn(counter)
    await here.register('db', ref)
    ref.stop()
    await untilState(ref, 'gone')
    expect(await refusal('an ended one', () => here.register('db', ref))).toMatchObject({ code: 'ACTOR_GONE' })
    const other = await here.spawn(counter)
    const later = { ...other.address, epoch: 2 }
    expect(await refusal('another epoch', () => here.register('db', later))).toMatchObject({ code: 'ACTOR_GONE' })
    expect(await refusal('nobody', () => here.whereis('db'))).toMatchObject({ code: 'NAME_NOT_FOUND' })
    const nowhere = { peer: 'far', path: '', epoch: 0 } as ActorAddress
    expect(await refusal('no address', () => here.register('db', nowhere))).toMatchObject({ code: 'USAGE' })
    expect(await refusal('no peer', () => here.whereis('db', { on: 'nobody' }))).toMatchObject({
      code: 'PEER_NOT_FOUND',
    })
  })

  test('here, of an actor elsewhere, goes when that has ended, and stays while its peer only cannot be reached', async () => {
    const session = await here.connect('far')
    const ref = await session.spawn(counter)
    await here.register('db', ref)
    const follows = (await here.whereis('db')) as Counter
    expect(follows.address).toEqual({ ...ref.address, follow: { peer: 'here', name: 'db' } })
    network.cut('here', 'far')
    await untilState(follows, 'stale')
    expect(hostOf(here).names.holder('db')).toBeDefined()
    expect(await refusal('another one', async () => here.register('db', await here.spawn(counter)))).toMatchObject({
      code: 'NAME_TAKEN',
    })
    network.heal('here', 'far')
    await untilState(follows, 'live')
    expect(await follows.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 0 })
    ref.stop()
    await until('it is free', () => hostOf(here).names.size === 0)
    await untilState(follows, 'stale')
  })

  test('and who follows it go on with an actor that could not be seen for a while', { timeout: 40_000 }, async () => {
    const ref = await far.spawn(counter)
    const address = { ...ref.address, peer: far.id }
    await here.register('db', address)
    const follows = (await here.whereis('db')) as Counter
    await untilState(follows, 'live')
    await far.allow('here', ['connect'])
    await until('that it may not be seen', () => follows.state === 'stale' && codeOf(follows.reason) === 'DENIED')
    expect(hostOf(here).names.holder('db')).toMatchObject({ path: address.path })
    await far.allow('here', ALL)
    await untilState(follows, 'live')
    expect(await follows.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 0 })
    // It is called that until it ends, and that is heard again.
    ref.stop()
    await until('that nobody has it', () => hostOf(here).names.holder('db') === undefined)
    await until('why', () => codeOf(follows.reason) === 'NAME_NOT_FOUND')
  })

  test('is looked for by whoever may, and no longer', async () => {
    const session = await here.connect('far')
    await session.spawn(counter, { register: 'db' })
    await far.allow('here', ['connect', 'run:script', ...SPAWN])
    expect(await refusal('without the grant', () => here.whereis('db', { on: 'far' }))).toMatchObject({
      code: 'DENIED',
    })
    await far.allow('here', ALL)
    const ref = (await here.whereis('db', { on: 'far' })) as Counter
    await ref.tell({ type: 'add', n: 1 })
    await far.allow('here', ['connect', 'jobs:send'])
    await untilState(ref, 'gone')
    expect(codeOf(ref.reason)).toBe('DENIED')
    expect(await refusal('send', async () => ref.send({ type: 'total' }))).toMatchObject({ code: 'DENIED' })
  })

  test('is followed by one question, however many follow, and by none when nobody does', async () => {
    await here.spawn(counter, { register: 'db' })
    const refs = await Promise.all(Array.from({ length: 20 }, () => here.whereis('db')))
    await until('one question', () => hostOf(here).names.waiting === 1)
    const [first, ...others] = refs
    for (const ref of others) ref[Symbol.dispose]()
    expect(hostOf(here).names.waiting).toBe(1)
    first![Symbol.dispose]()
    expect(first!.state).toBe('gone')
    await until('no question', () => hostOf(here).names.waiting === 0)
    expect(hostOf(here).routes.names.size).toBe(0)
  })
})

/** Where the name is, and where its holders are. */
const places: Record<string, () => Promise<{ name: Peer; spawn: Peer['spawn']; whereis(): Promise<Ref> }>> = {
  here: async () => ({ name: here, spawn: (of, o) => here.spawn(of, o), whereis: () => here.whereis('db') }),
  'on another peer': async () => {
    const session = await here.connect('far')
    return { name: far, spawn: (of, o) => session.spawn(of, o), whereis: () => here.whereis('db', { on: 'far' }) }
  },
}

describe.each(Object.entries(places))('a ref that follows a name %s', (_, make) => {
  let place: Awaited<ReturnType<typeof make>>
  let first: Counter
  let follows: Counter

  beforeEach(async () => {
    place = await make()
    first = await place.spawn(counter, { register: 'db', input: { from: 1 } })
    follows = (await place.whereis()) as Counter
  })

  const gone = async (): Promise<void> => {
    first.stop()
    await untilState(first, 'gone')
    await untilState(follows, 'stale')
  }
  const next = (from: number): Promise<Counter> => place.spawn(counter, { register: 'db', input: { from } })

  test('goes on with whoever has it next; meanwhile it is stale, and says why', async () => {
    expect([follows.state, follows.getSnapshot().context.count]).toEqual(['live', 1])
    const states: string[] = []
    const counts: number[] = []
    follows.subscribe({ next: ({ context }) => counts.push(context.count), complete: () => states.push('complete') })
    await gone()
    expect(['ACTOR_GONE', 'NAME_NOT_FOUND']).toContain(codeOf(follows.reason))
    // What it shows is how it was.
    expect(follows.getSnapshot()).toMatchObject({ status: 'active', context: { count: 1 } })
    const second = await next(7)
    await untilState(follows, 'live')
    expect([follows.getSnapshot().context.count, follows.reason, follows.address.path]).toEqual([
      7,
      undefined,
      second.address.path,
    ])
    await follows.tell({ type: 'add', n: 1 })
    expect(await second.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 8 })
    await until('its news', () => counts.at(-1) === 8)
    expect(states).toEqual([])
  })

  test('moves at once where it is given to another one while the old one lives', async () => {
    const second = await place.spawn(counter, { input: { from: 7 } })
    await place.name.register('db', second.address, { replace: true })
    await until('it has moved', () => follows.state === 'live' && follows.address.path === second.address.path)
    await follows.tell({ type: 'add', n: 1 })
    expect(await first.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 1 })
    expect(await second.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 8 })
  })

  test('stays with its actor when that only loses the name, until another one has it', async () => {
    await place.name.unregister('db')
    const second = await place.spawn(counter)
    expect(await follows.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 1 })
    await place.name.register('db', second.address)
    await until('it has moved', () => follows.state === 'live' && follows.address.path === second.address.path)
  })

  test('keeps what is sent while nobody has it, in order, for the next one: once', async () => {
    await gone()
    for (let n = 0; n < 300; n++) follows.send({ type: 'note', text: String(n) })
    const told = follows.tell({ type: 'note', text: 'told' })
    const abort = new AbortController()
    const given = follows.tell({ type: 'note', text: 'given up' }, { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(given).rejects.toThrow('enough')
    const asked = follows.ask({ type: 'total' })
    follows.send({ type: 'note', text: 'last' })
    const second = await next(7)
    await within('what was told', told)
    expect(await asked).toEqual({ outcome: 'ok', value: 7 })
    await untilNotes(second, 302)
    expect(notes(second)).toEqual([...Array.from({ length: 300 }, (_, n) => String(n)), 'told', 'last'])
  })

  test('sends and asks in one order, also while nobody has it', async () => {
    const asked: Promise<unknown>[] = []
    const act = (): void => {
      for (let n = 0; n < 3; n++) follows.send({ type: 'add', n: 1 })
      asked.push(follows.ask({ type: 'total' }))
    }
    for (let n = 0; n < 10; n++) act()
    await Promise.all(asked)
    await gone()
    for (let n = 0; n < 10; n++) act()
    await next(100)
    const answers = (await within('the answers', Promise.all(asked))) as { value: number }[]
    expect(answers.map(({ value }) => value)).toEqual(
      [1, 100].flatMap((from) => Array.from({ length: 10 }, (_, n) => from + 3 * (n + 1))),
    )
  })

  test('asks whoever has it next what had not left yet', async () => {
    const [session = '', job] = first.address.path.split('/')
    const host = [here, far].map((peer) => hostOf(peer).hosted(session)).find((found) => found)!
    // It takes nothing, and its inbox is full: the rest waits, and the question behind that.
    await host.request({ type: 'suspend' }, job)
    for (let n = 0; n < 3000; n++) follows.send({ type: 'add', n: 1 })
    const asked = follows.ask({ type: 'total' })
    const second = await place.spawn(counter, { input: { from: 7 } })
    await place.name.register('db', second.address, { replace: true })
    expect(await within('the answer', asked)).toEqual({ outcome: 'ok', value: 7 })
    await host.request({ type: 'resume' }, job)
    expect(await first.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 3001 })
  })

  test('is not sent more than it keeps', async () => {
    await gone()
    for (let n = 0; n < OUTBOX_EVENTS; n++) follows.send({ type: 'pause' })
    expect(await refusal('one more', async () => follows.send({ type: 'pause' }))).toMatchObject({ code: 'LIMIT' })
    expect(await refusal('one more told', () => follows.tell({ type: 'pause' }))).toMatchObject({ code: 'LIMIT' })
    const wide = (await place.name.ref(follows.address)) as Counter
    await untilState(wide, 'stale')
    const text = 'x'.repeat(1024 * 1024)
    for (let bytes = 0; bytes < OUTBOX_BYTES; bytes += text.length) wide.send({ type: 'note', text })
    expect(await refusal('more', async () => wide.send({ type: 'note', text: '' }))).toMatchObject({ code: 'LIMIT' })
    wide[Symbol.dispose]()
  })

  test('checks what is sent as it is sent, also while nobody has it', async () => {
    const plain = await place.name.ref(follows.address, { definition: counter })
    await gone()
    await untilState(plain, 'stale')
    expect(await refusal('nonsense', async () => plain.send({ type: 'secret' } as never))).toMatchObject({
      code: 'INVALID_EVENT',
    })
    expect(
      await refusal('a function', async () => follows.send({ type: 'note', text: (() => 1) as never })),
    ).toMatchObject({
      code: 'NOT_TRANSFERABLE',
    })
  })

  test('asks nobody where nobody has it in time: that is known', async () => {
    await gone()
    const answer = await follows.ask({ type: 'total' }, { timeout: 50 })
    expect(answer.outcome).toBe('error')
    const abort = new AbortController()
    const asking = follows.ask({ type: 'total' }, { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(asking).rejects.toThrow('enough')
    // What was not asked in time is not asked later either.
    const second = await next(7)
    await follows.tell({ type: 'add', n: 1 })
    expect(await second.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 8 })
  })

  test('tells of what waits that nobody will ever take it, when it is let go of', async () => {
    const refused: unknown[] = []
    const ref: Counter = await here.ref(follows.address, {
      onRefused: (error, event) => refused.push([codeOf(error), event]),
    })
    await gone()
    await untilState(ref, 'stale')
    ref.send({ type: 'pause' })
    const told = ref.tell({ type: 'pause' })
    const asked = ref.ask({ type: 'total' })
    ref[Symbol.dispose]()
    await expect(told).rejects.toMatchObject({ code: 'ACTOR_GONE' })
    expect(await asked).toMatchObject({ outcome: 'error', error: { code: 'ACTOR_GONE' } })
    expect(refused).toEqual([['ACTOR_GONE', { type: 'pause' }]])
    expect(await refusal('send', async () => ref.send({ type: 'pause' }))).toMatchObject({ code: 'ACTOR_GONE' })
  })

  test('listens to whoever has it', async () => {
    const emitted: number[] = []
    follows.on('ten', (event: { count: number }) => emitted.push(event.count))
    await until('the first of what it emits', async () => {
      await follows.tell({ type: 'add', n: 10 })
      return emitted.length > 0
    })
    await gone()
    await next(1000)
    await untilState(follows, 'live')
    await until('what the next one emits', async () => {
      await follows.tell({ type: 'add', n: 10 })
      return emitted.at(-1)! > 1000
    })
  })

  test('is read by snapshots from one holder to the next', async () => {
    const counts: number[] = []
    const abort = new AbortController()
    const reading = (async () => {
      for await (const { context } of follows.snapshots({ signal: abort.signal })) counts.push(context.count)
    })()
    await until('the first', () => counts.length > 0)
    await gone()
    await next(7)
    await until('the next one’s', () => counts.at(-1) === 7)
    expect(counts.every((count) => count === 1 || count === 7)).toBe(true)
    abort.abort()
    await within('the end', reading)
  })

  test('arrives elsewhere as one that follows, also where nobody has the name', async () => {
    await gone()
    const address = JSON.parse(JSON.stringify(follows.address)) as ActorAddress
    const other: Counter = await here.ref({ ...address, path: '', epoch: 0 })
    await other.ready()
    await until('why it is stale', () => codeOf(other.reason) === 'NAME_NOT_FOUND')
    expect(other.state).toBe('stale')
    other.send({ type: 'note', text: 'kept' })
    const second = await next(7)
    await untilState(other, 'live')
    await untilNotes(second, 1)
    expect(other.address).toEqual({ ...second.address, follow: follows.address.follow })
    // It stops whoever has it.
    other.stop()
    await untilState(second, 'gone')
  })
})

describe('what becomes of a peer', () => {
  test('that is started again: its refs by name go on with who has it then', async () => {
    const session = await here.connect('far')
    const first = await session.spawn(counter, { register: 'db' })
    const follows = (await here.whereis('db', { on: 'far' })) as Counter
    await far.close()
    await untilState(follows, 'stale')
    follows.send({ type: 'note', text: 'for the next one' })
    far = await start('far', { here: ALL })
    const second = await far.spawn(counter, { register: 'db' })
    await untilState(follows, 'live')
    await untilNotes(second, 1)
    expect(follows.address.path).toBe(second.address.path)
    await untilState(first, 'gone')
  })

  test('that is silent: what it was told is said to be unknown when another has the name', async () => {
    await start('third', { here: ALL })
    await here.allow('third', [])
    const [one, two] = await Promise.all([here.connect('far'), here.connect('third')])
    const [first, second] = await Promise.all([one.spawn(counter), two.spawn(counter, { input: { from: 7 } })])
    await here.register('db', first)
    const follows = (await here.whereis('db')) as Counter
    network.cut('here', 'far')
    // It is not known yet.
    const asked = follows.ask({ type: 'total' })
    const told = refusal('a tell', () => follows.tell({ type: 'add', n: 1 }))
    // Behind that, so nobody has been asked yet.
    const behind = follows.ask({ type: 'total' })
    await new Promise((resolve) => setImmediate(resolve))
    await here.register('db', second, { replace: true })
    expect(await told).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    expect(await asked).toMatchObject({ outcome: 'unknown', error: { code: 'OUTCOME_UNKNOWN' } })
    expect(await behind).toEqual({ outcome: 'ok', value: 7 })
  })

  test('that has the name alone: whoever is meant is live for as long as it can be seen', async () => {
    await start('third', { here: ALL, far: ALL })
    await here.allow('third', [])
    await far.allow('third', [])
    const session = await far.connect('third')
    const ref = await session.spawn(counter)
    await far.register('db', ref)
    const follows = (await here.whereis('db', { on: 'far' })) as Counter
    network.cut('here', 'far')
    await until('the link is lost', async () => !(await here.peers()).find(({ name }) => name === 'far')!.connected)
    expect(await follows.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 0 })
    expect(follows.state).toBe('live')
    network.heal('here', 'far')
    const second = await far.spawn(counter, { input: { from: 7 } })
    await far.register('db', second, { replace: true })
    await until('it has moved', () => follows.state === 'live' && follows.address.path === second.address.path)
  })

  test('that closes: its own refs are gone', async () => {
    await here.spawn(counter, { register: 'db' })
    const follows = await here.whereis('db')
    await here.close()
    await untilState(follows, 'gone')
  })
})

describe('whatever comes in between', () => {
  test('what is sent by a name is handled once, in order, by somebody who had it, or is said to be refused', async () => {
    /** What each has handled, by its path. */
    const handled = new Map<string, number[]>()
    const recorder = defineMachine({
      name: 'recorder',
      machine: setup({
        types: {
          events: {} as { type: 'note'; n: number },
          context: {} as { id: string },
          input: {} as { id: string },
        },
      }).createMachine({
        context: ({ input }) => input,
        on: { note: { actions: ({ context, event }) => void handled.get(context.id)!.push(event.n) } },
      }),
      events: { note: true },
    })
    const offered = { machines: [recorder], ...BEAT }
    const names = ['one', 'two']
    const servers = await Promise.all(
      names.map((name) =>
        createPeer({
          name,
          transport: memory({ network, name }),
          policy: { peers: { here: [...ALL, 'spawn:recorder'] } },
          ...offered,
        }),
      ),
    )
    open.push(...servers)
    for (const name of names) await here.allow(name, [])
    const sessions = await Promise.all(names.map((name) => here.connect(name)))
    let last = 0
    type Act =
      | { readonly do: 'send' | 'tell'; readonly count: number }
      | { readonly do: 'move' | 'end' | 'cut' | 'heal' | 'lose'; readonly to: number }
      | { readonly do: 'wait'; readonly ms: number }
    const act: fc.Arbitrary<Act> = fc.oneof(
      { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('send' as const, 'tell' as const), count: fc.nat(40) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('move' as const, 'end' as const), to: fc.nat(1) }) },
      fc.record({ do: fc.constantFrom('cut' as const, 'heal' as const, 'lose' as const), to: fc.nat(1) }),
      { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 30, 30, 1000) }) },
    )
    const property = fc.asyncProperty(fc.array(act, { minLength: 6, maxLength: 20 }), async (acts) => {
      handled.clear()
      const refs = new Map<string, Ref<any>>()
      let holder: string
      // Spawned by who hosts it: that goes on whatever is cut.
      const move = async (to: number): Promise<void> => {
        const id = `actor ${++last}`
        handled.set(id, [])
        const ref = await servers[to]!.spawn(recorder, { input: { id } })
        refs.set(id, ref)
        holder = id
        await here.register('db', ref.address, { replace: true })
      }
      await move(0)
      const refused = new Set<number>()
      const onRefused = (_: Error, event: unknown): void => void refused.add((event as { n: number }).n)
      const address = (await here.whereis('db')).address
      const follows = await here.ref(address, { onRefused, definition: recorder })
      const sent = new Set<number>()
      const told = new Map<number, Promise<unknown>>()
      let n = 0
      for (const one of acts) {
        if (one.do === 'send' || one.do === 'tell') {
          for (let count = 0; count < one.count; count++) {
            const event = { type: 'note' as const, n: ++n }
            if (one.do === 'send') {
              follows.send(event)
              sent.add(n)
            } else
              told.set(
                n,
                follows.tell(event).then(() => 'ok', codeOf),
              )
          }
        } else if (one.do === 'move') await move(one.to)
        else if (one.do === 'end') refs.get(holder!)!.stop()
        else if (one.do === 'wait') await new Promise((resolve) => setTimeout(resolve, one.ms))
        else network[one.do as 'cut' | 'heal' | 'lose']('here', names[(one as { to: number }).to]!)
      }
      for (const name of names) network.heal('here', name)
      await move(1)
      const { path } = refs.get(holder!)!.address
      await until('it follows', () => follows.state === 'live' && follows.address.path === path)
      await within('the last of it', follows.tell({ type: 'note', n: n + 1 }))
      const outcomes = new Map(
        await within('what was told', Promise.all([...told].map(async ([of, it]) => [of, await it] as const))),
      )
      const all = (): number[] => [...handled.values()].flat()
      await until('all that was sent is somewhere', () =>
        [...sent].every((of) => refused.has(of) || all().includes(of)),
      )
      expect(new Set(all()).size).toBe(all().length)
      for (const notes of handled.values()) expect(notes).toEqual(notes.toSorted((a, b) => a - b))
      // What was acknowledged was handled; of the rest nobody knows, or it is known that it was not.
      for (const [of, outcome] of outcomes) if (outcome === 'ok') expect(all()).toContain(of)
      expect(all().at(-1) === n + 1 || handled.get(holder!)!.at(-1) === n + 1).toBe(true)
      follows[Symbol.dispose]()
      for (const ref of refs.values()) ref.stop()
    })
    await fc.assert(property, { numRuns: 8 })
    expect(sessions.every(({ state }) => state !== 'Broken')).toBe(true)
  })
})

describe('over libp2p, by a program beside a daemon', () => {
  test('names are registered, found and followed, through kill -9 of the server', async () => {
    const peers = await Peers.start()
    try {
      const server = await peers.process('server01', { machines: true })
      const daemon = await peers.program('daemon', { serveLocal: true, machines })
      await daemon.join(await server.ask('invite', { grants: ALL }))
      const client = await connectLocal({ home: peers.homeOf('daemon') })
      try {
        const session = await client.connect('server01')
        const first = await session.spawn(counter, { register: 'db', groups: ['g'], input: { from: 1 } })
        const there = (await client.whereis('db', { on: 'server01' })) as Counter
        expect(there.address).toEqual({ ...first.address, follow: { peer: first.address.peer, name: 'db' } })
        await client.register('counter', first)
        const follows = (await client.whereis('counter')) as Counter
        expect(await follows.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 1 })
        const group = client.group('g')[Symbol.asyncIterator]()
        expect(((await group.next()).value as GroupSnapshot).members).toMatchObject([{ path: first.address.path }])
        await server.kill()
        expect(((await within('news of the group', group.next())).value as GroupSnapshot).members).toEqual([])
        await untilState(follows, 'stale')
        const second = await client.spawn(counter, { input: { from: 7 } })
        await client.register('counter', second, { replace: true })
        await untilState(follows, 'live')
        expect(await follows.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 7 })
        await server.start()
        // Its names went with it.
        await until('nobody has it', () => codeOf(there.reason) === 'NAME_NOT_FOUND')
        expect(there.state).toBe('stale')
        await group.return!()
      } finally {
        await client.close()
      }
      await untilState(await daemon.ref({ peer: 'nobody', path: 'a/b', epoch: 1 }), 'gone')
    } finally {
      await peers.close()
    }
  })
})
