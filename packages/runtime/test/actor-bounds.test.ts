// What is bounded about actors: what may wait for one, who may wait for it, and how long others wait for their turn.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createChunkWriter } from '@errand/transport'
import { memory } from '@errand/transport/memory'
import { OUTBOX_BYTES, OUTBOX_EVENTS } from '../src/actor-outbox.ts'
import { ActorOutboxes, TELLS_UNDER_WAY } from '../src/actor-outboxes.ts'
import { ActorHost } from '../src/actor-host.ts'
import { SENDERS_MOST, senderOf } from '../src/actor-senders.ts'
import { ActorTurns, TURN_EVENTS, TURN_MS } from '../src/actor-turns.ts'
import type { Execution } from '../src/engine/engine.ts'
import {
  connectLocal,
  createPeer,
  memoryStore,
  type Grant,
  type Job,
  type Outcome,
  type Peer,
  type Ref,
} from '../src/index.ts'
import { ACTOR_ASKS_MOST, INBOX_MOST, OPEN_REQUESTS, TELL_MOST } from '../src/wire.ts'
import { counter } from './fixtures/machines.ts'
import { counting, keeper } from './fixtures/odd-machines.ts'
import { ActorWorld, mayAll } from './support/actor-world.ts'
import { pair } from './support/pair.ts'
import { all, refusal, until } from './support/peers.ts'

type Counter = Ref<typeof counter>

const SENDING: Grant[] = ['connect', 'run:script', 'jobs:read', 'jobs:send']

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const add = { type: 'add', n: 1 } as const

async function total(ref: Counter): Promise<number> {
  const answer = await ref.ask<number>({ type: 'total' })
  if (answer.outcome !== 'ok') throw answer.error
  return answer.value
}

interface Place extends AsyncDisposable {
  readonly peer: Peer
  readonly spawn: () => Promise<Counter>
  /** The job that it is. */
  readonly jobOf: (ref: Counter) => Promise<Job>
}

const places: Record<string, () => Promise<Place>> = {
  here: async () => {
    const peer = await createPeer({ name: 'here', machines: [counter] })
    return {
      peer,
      spawn: () => peer.spawn(counter),
      jobOf: (ref) => peer.job(ref.address.path.split('/')[1]!),
      [Symbol.asyncDispose]: () => peer.close(),
    }
  },
  'on another peer': async () => {
    const both = await pair({
      far: { machines: [counter], policy: { peers: { here: ['connect', 'spawn:counter'] } } },
    })
    const session = await both.here.connect('far')
    return {
      peer: both.here,
      spawn: () => session.spawn(counter),
      jobOf: (ref) => session.job(ref.address.path.split('/')[1]!),
      [Symbol.asyncDispose]: () => both[Symbol.asyncDispose](),
    }
  },
}

describe.each(Object.entries(places))('an actor %s', (_, make) => {
  let place: Place
  beforeAll(async () => void (place = await make()))
  afterAll(() => place[Symbol.asyncDispose]())

  test('whose inbox is full holds the sender back, and nothing is lost', async () => {
    const ref = await place.spawn()
    const job = await place.jobOf(ref)
    await job.suspend()
    let taken = 0
    const tells = Array.from({ length: INBOX_MOST + 3 * TELL_MOST }, (_, n) =>
      ref.tell({ type: 'note', text: String(n) }).then(() => taken++),
    )
    await until('that it is full', async () => (await job.inspect()).inbox === INBOX_MOST)
    // Whatever else is on its way has had its time: an answer there and back.
    await job.inspect()
    expect([(await job.inspect()).inbox, taken]).toEqual([INBOX_MOST, INBOX_MOST])
    await job.resume()
    await Promise.all(tells)
    await until('the last one', async () => (await job.inspect()).inbox === 0)
    const { notes } = (await place.peer.ref<typeof counter>(ref).then(async (seen) => {
      await until('all of it', () => seen.getSnapshot().context?.notes?.length === tells.length)
      return seen.getSnapshot().context
    })) as { notes: string[] }
    expect(notes).toEqual(tells.map((_, n) => String(n)))
  })

  test('that takes nothing has so many events wait for it here, and more are refused', async () => {
    const ref = await place.spawn()
    const job = await place.jobOf(ref)
    await job.suspend()
    for (let n = 0; n < OUTBOX_EVENTS; n++) ref.send(add)
    const no = await refusal('one more', async () => ref.send(add))
    expect(no).toMatchObject({ code: 'LIMIT', message: expect.stringContaining(String(OUTBOX_EVENTS)) })
    expect((no as { hint?: string }).hint).toContain('tell')
    expect(await refusal('one more', () => ref.tell(add))).toMatchObject({ code: 'LIMIT' })
    await job.resume()
    // A question has its place among them, as soon as there is one.
    await until('all of them', async () => (await ref.ask({ type: 'total' })).outcome === 'ok')
    expect(await total(ref)).toBe(OUTBOX_EVENTS)
    await ref.tell(add)
    expect(await total(ref)).toBe(OUTBOX_EVENTS + 1)
  })

  test('that takes nothing has so many bytes wait for it here', async () => {
    const ref = await place.spawn()
    const job = await place.jobOf(ref)
    await job.suspend()
    // Left out by its schema, over there.
    const more = 'x'.repeat(64 * 1024)
    let sent = 0
    const all = (): void => {
      for (; sent < OUTBOX_EVENTS; sent++) ref.send({ ...add, more } as never)
    }
    expect(await refusal('more of them', async () => all())).toMatchObject({ code: 'LIMIT' })
    expect(sent).toBe(OUTBOX_BYTES / more.length)
    await job.resume()
    await until('all that was sent', async () => (await ref.ask({ type: 'total' })).outcome === 'ok')
    expect(await total(ref)).toBe(sent)
  })

  test('has so many questions to answer, and more are refused', async () => {
    const ref = await place.spawn()
    // The last one is what `now` answers.
    const asked: Promise<Outcome<string>>[] = Array.from({ length: ACTOR_ASKS_MOST }, () => ref.ask({ type: 'later' }))
    const over = await ref.ask({ type: 'later' })
    expect(over).toMatchObject({ outcome: 'error', error: { code: 'LIMIT' } })
    await ref.tell({ type: 'now' })
    expect(await Promise.any(asked)).toEqual({ outcome: 'ok', value: 'now' })
    // Room for one.
    const last = ref.ask<string>({ type: 'later' })
    await ref.tell({ type: 'now' })
    expect(await last).toEqual({ outcome: 'ok', value: 'now' })
    ref.stop()
    const ends = await Promise.all(asked)
    expect(ends.filter(({ outcome }) => outcome === 'ok')).toHaveLength(1)
    expect(
      ends.filter((end) => 'error' in end && (end.error as { code?: string }).code === 'OUTCOME_UNKNOWN'),
    ).toHaveLength(ACTOR_ASKS_MOST - 1)
  })

  test('that is flooded leaves others their turns', async () => {
    const flooded = await place.spawn()
    const other = await place.spawn()
    const job = await place.jobOf(flooded)
    for (let n = 0; n < OUTBOX_EVENTS; n++) flooded.send(add)
    // Each of them is asked for while events of the first one wait.
    const behind: number[] = []
    for (let n = 0; n < 3; n++) {
      expect(await total(other)).toBe(0)
      behind.push(flooded.getSnapshot().context.count)
    }
    expect(await total(flooded)).toBe(OUTBOX_EVENTS)
    expect(behind.every((count) => count < OUTBOX_EVENTS)).toBe(true)
    expect((await job.inspect()).inbox).toBe(0)
  })

  test('of very many, each is sent to in one turn, and none of it is lost', async () => {
    const refs: Counter[] = []
    // More than one link has requests under way.
    while (refs.length < 1.5 * OPEN_REQUESTS)
      refs.push(...(await Promise.all(Array.from({ length: 512 }, () => place.spawn()))))
    for (const ref of refs) ref.send(add)
    await Promise.all(refs.map((ref) => ref.tell(add)))
    for (const ref of refs) expect(await total(ref)).toBe(2)
  })
})

test('an actor that emits more than is kept goes on: who listens hears it, and who reads later the newest', async () => {
  await using peer = await createPeer({ machines: [counting], store: memoryStore({ logLimit: 64 * 1024 }) })
  const ref = await peer.spawn(counting)
  const said = 20_000
  let heard = 0
  let unheard = 0
  const listening = await peer.ref<typeof counting>(ref, {
    onRefused: (error) => (unheard += Number(/(\d+) of what it said are gone/.exec(error.message)?.[1])),
  })
  listening.on('said', () => heard++)
  for (let n = 0; n < said; n++) await ref.tell({ type: 'say' })
  await ref.tell({ type: 'finish' })
  const [job] = await peer.jobs()
  expect(await job!.finished).toMatchObject({ state: 'Completed' })
  expect(job!.snapshot.paused).toBeUndefined()
  await until('its end', () => listening.state === 'gone')
  expect(heard + unheard).toBe(said)
  const records = await all(job!.receive())
  expect(records[0]!.kind).toBe('gap')
  const gone = records.reduce((sum, record) => sum + (record.kind === 'gap' ? record.dropped : 0), 0)
  expect(gone + records.filter(({ kind }) => kind === 'output').length).toBe(said + 1)
  expect(records.at(-1)).toMatchObject({ kind: 'output', value: { said } })
})

describe('what is sent to many actors of one peer', () => {
  test('passes through its link so many batches at a time', async () => {
    const answers: (() => void)[] = []
    let most = 0
    const outboxes = new ActorOutboxes(
      () => {
        const { promise, resolve } = Promise.withResolvers<unknown>()
        answers.push(() => resolve({}))
        most = Math.max(most, answers.length)
        return promise
      },
      () => 'far',
    )
    const many = TELLS_UNDER_WAY + 10
    let told = 0
    for (let n = 0; n < many; n++) {
      void outboxes
        .to({ peer: 'far', path: `s/${n}`, epoch: 1 })
        .tell(add)
        .then(() => told++)
    }
    await turn()
    expect(answers.length).toBe(TELLS_UNDER_WAY)
    while (answers.length > 0) {
      answers.shift()!()
      await turn()
    }
    expect([told, most]).toEqual([many, TELLS_UNDER_WAY])
    // Nothing is left of them.
    expect(outboxes.size).toBe(0)
    expect(outboxes.there({ peer: 'far', path: 's/0', epoch: 1 })).toBeUndefined()
  })
})

test('what waits for room on a link and is given up has no place there, and keeps none', async () => {
  const outboxes = new ActorOutboxes(
    () => Promise.resolve({}),
    () => 'far',
  )
  const place = { peer: 'far', session: 's', job: 'j' }
  const answers: ((value: unknown) => void)[] = []
  const asked: string[] = []
  const pass = (what: string, signal?: AbortSignal): Promise<unknown> =>
    outboxes.pass(
      place,
      () => {
        asked.push(what)
        return new Promise((resolve) => answers.push(resolve))
      },
      signal,
    )
  const passing = Array.from({ length: TELLS_UNDER_WAY }, () => pass('before'))
  const left = new AbortController()
  const waiting = [pass('one', left.signal), pass('two'), pass('three', left.signal), pass('four')]
  answers.shift()!(1)
  await passing[0]
  expect(asked.slice(TELLS_UNDER_WAY)).toEqual(['one'])
  left.abort(new Error('enough'))
  expect(await refusal('one given up', () => waiting[2]!)).toMatchObject({ message: 'enough' })
  expect(await refusal('one that comes late', () => pass('late', left.signal))).toMatchObject({ message: 'enough' })
  while (answers.length > 0) {
    answers.shift()!(1)
    await turn()
  }
  await Promise.all([...passing, waiting[0], waiting[1], waiting[3]])
  expect(asked.slice(TELLS_UNDER_WAY)).toEqual(['one', 'two', 'four'])
})

test('programs beside a daemon that tell many actors share its link, and leave room on it', async () => {
  await using world = await ActorWorld.open({ machines: [keeper], peers: { here: mayAll([keeper]), daemon: SENDING } })
  const home = await mkdtemp(join(tmpdir(), 'errand-'))
  const transport = memory({ network: world.network, name: 'daemon' })
  const daemon = await createPeer({ name: 'daemon', home, serveLocal: true, transport, policy: { peers: { far: [] } } })
  const clients = await Promise.all([connectLocal({ home }), connectLocal({ home })])
  try {
    const session = await world.here.connect('far')
    const many = OPEN_REQUESTS / clients.length
    const actors = await Promise.all(Array.from({ length: many }, () => session.spawn(keeper)))
    const telling: Promise<unknown>[] = []
    for (const client of clients)
      for (const { address } of actors) {
        const ref = await client.ref<typeof keeper>({ ...address, peer: 'far' })
        // Its schema does not come to an end.
        telling.push(ref.tell({ type: 'never', n: 1 }).catch(() => undefined))
      }
    // All that they have sent has come to the daemon, and from there as far as it comes.
    for (const client of clients) await client.status()
    await (await clients[0]!.ref<typeof keeper>({ ...actors[0]!.address, peer: 'far' })).ready()
    await daemon.connect('far')
    await Promise.all(clients.splice(0).map((client) => client.close()))
    await Promise.all(telling)
  } finally {
    await Promise.all(clients.map((client) => client.close()))
    await daemon.close()
    await rm(home, { recursive: true })
  }
})

describe('turns', () => {
  class Busy {
    handled = 0
    readonly #events: number
    readonly #handle: (count: number) => void
    constructor(events: number, handle: (count: number) => void = () => undefined) {
      this.#events = events
      this.#handle = handle
    }
    step(): boolean {
      this.#handle(++this.handled)
      return this.handled < this.#events
    }
  }

  test('come round: whoever has much to do is behind the others each time', () => {
    using turns = new ActorTurns()
    const handled: number[] = []
    const flooded = new Busy(10 * TURN_EVENTS, (count) => {
      // While it is at work, another one has something to do too.
      if (count === 1) turns.ready(other)
    })
    const other = new Busy(1, () => handled.push(flooded.handled))
    turns.ready(flooded)
    expect(handled).toEqual([TURN_EVENTS])
  })

  test('are over when the thread was theirs for long enough, and go on when it has been free', async () => {
    using turns = new ActorTurns()
    const slow = new Busy(200, () => {
      const end = performance.now() + 0.5
      while (performance.now() < end);
    })
    const free: number[] = []
    const look = (): void => {
      free.push(slow.handled)
      if (slow.handled < 200) setImmediate(look)
    }
    setImmediate(look)
    turns.ready(slow)
    const first = slow.handled
    expect(first).toBeLessThan(200)
    // Asked to look at it once more: that is no way to have more of the thread.
    turns.ready(slow)
    expect(slow.handled).toBe(first)
    await until('its end', () => free.at(-1) === 200)
    // As often as it had to wait, everybody else had the thread.
    expect(new Set(free).size).toBeGreaterThan((200 * 0.5) / TURN_MS / 4)
  })

  test('are nobody’s when they are over for good', async () => {
    const turns = new ActorTurns()
    const slow = new Busy(100, () => {
      const end = performance.now() + 0.5
      while (performance.now() < end);
    })
    turns.ready(slow)
    turns[Symbol.dispose]()
    const { handled } = slow
    await turn()
    await turn()
    expect(slow.handled).toBe(handled)
  })
})

describe('senders of an actor', () => {
  let host: ActorHost
  let turns: ActorTurns
  beforeEach(() => {
    turns = new ActorTurns()
    const io = { chunk: () => undefined, ended: () => undefined } as never
    host = new ActorHost(counter as never, undefined, 1, io, { turns, tell: () => undefined } as never)
    void host.start()
  })
  afterEach(() => {
    ;(host satisfies Execution).stop()
    turns[Symbol.dispose]()
  })

  const batch = (): Uint8Array => {
    const writer = createChunkWriter()
    writer.add(add)
    return writer.finish()
  }
  const counted = async (): Promise<number> => {
    await until('that it has handled all', () => host.inbox === 0)
    return host.state().seq
  }

  test('are known by their last numbers, the last so many of them; of one that was silent for longest it is forgotten', async () => {
    for (let n = 0; n < SENDERS_MOST; n++) await host.tell(senderOf(`peer ${n}`, 'a'), 1, 1, batch())
    expect(await counted()).toBe(SENDERS_MOST)
    // Each is known: what it has sent before is not taken again.
    for (let n = 0; n < SENDERS_MOST; n++) await host.tell(senderOf(`peer ${n}`, 'a'), 1, 1, batch())
    expect(await counted()).toBe(SENDERS_MOST)
    // The first speaks once more; so the second is the one that is forgotten for a new one.
    await host.tell(senderOf('peer 0', 'a'), 2, 1, batch())
    await host.tell('a new one', 1, 1, batch())
    const before = await counted()
    await host.tell(senderOf('peer 0', 'a'), 2, 1, batch())
    await host.tell(senderOf('peer 2', 'a'), 1, 1, batch())
    expect(await counted()).toBe(before)
    await host.tell(senderOf('peer 1', 'a'), 1, 1, batch())
    expect(await counted()).toBe(before + 1)
  })
})

describe('many actors', () => {
  test('made one after the other leave the thread to others in between', async () => {
    await using place = await places['here']!()
    let told = false
    const timer = setTimeout(() => (told = true), 20)
    // Nothing of this takes longer than a microtask: nobody else would ever have his turn.
    let made = 0
    for (; !told && made < 20_000; made++) {
      using ref = await place.spawn()
      await ref.tell(add)
    }
    clearTimeout(timer)
    expect(told, `a timer of 20 ms, after ${made} actors`).toBe(true)
  })

  test('made all at once are all there, numbered in their order', async () => {
    await using place = await places['here']!()
    const refs = await Promise.all(Array.from({ length: 2_000 }, () => place.spawn()))
    const ids: number[] = []
    for (const ref of refs) ids.push((await place.jobOf(ref)).id)
    expect(ids).toEqual(ids.toSorted((a, b) => a - b))
    expect(new Set(ids).size).toBe(2_000)
  })

  test('that wait to be made when their peer is closed are refused', async () => {
    const place = await places['here']!()
    const made = Array.from({ length: 5_000 }, () => place.spawn())
    const settled = Promise.allSettled(made)
    await made[0]
    await place[Symbol.asyncDispose]()
    const refused = (await settled).filter((one) => one.status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    for (const { reason } of refused)
      expect(['SESSION_CLOSED', 'PEER_CLOSED']).toContain((reason as { code?: string }).code)
  })
})
