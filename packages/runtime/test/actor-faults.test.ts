// What machines, schemas, links and other peers may do wrong, one by one: whoever does it bears it, and what is said of it is
// true. Loss and order in general: ref-model.test.ts.
import { decode, encode } from '@errand/transport'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createActor, sendTo, setup, toPromise, type AnyActorRef } from 'xstate'
import type {
  ActorAddress,
  ActorInspection,
  Grant,
  JobSnapshot,
  MachineDefinition,
  Outcome,
  Ref,
} from '../src/index.ts'
import { REPLY_BYTES, SCHEMA_MS, WAITING_BYTES } from '../src/actor-host.ts'
import { SENDERS_MOST } from '../src/actor-senders.ts'
import { type ActorState, SHOWN_BYTES } from '../src/actor-state.ts'
import { MICROSTEPS_MOST } from '../src/machine-bounds.ts'
import { codeOf } from '../src/errors.ts'
import { type Address, INBOX_MOST, type SessionEvent, TELL_MOST } from '../src/wire.ts'
import { MachineRef } from '../src/ref.ts'
import { machineSpec } from '../src/work.ts'
import * as odd from './fixtures/odd-machines.ts'
import {
  ActorWorld,
  type ActorWorldOptions,
  batchOf,
  hosted,
  mayAll,
  outboxOf,
  placeOfRef,
  routesOf,
} from './support/actor-world.ts'
import { Faults } from './support/faulty-transport.ts'
import { range } from './support/numbers.ts'
import { all, refusal, until, within } from './support/peers.ts'

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function world(options: Partial<ActorWorldOptions> = {}): Promise<ActorWorld> {
  const made = await ActorWorld.open({ machines: odd.machines, ...options })
  open.push(made)
  return made
}

/** On far, held from here. */
async function spawned<D extends MachineDefinition>(machine: D, options: Partial<ActorWorldOptions> = {}) {
  const all = await world(options)
  const session = await all.here.connect('far')
  return { world: all, session, ref: (await within('a spawn', session.spawn(machine))) as Ref<D> }
}

/** Events that wait to be handled, and who watches. */
async function seenThere(all: ActorWorld, ref: Ref<any>): Promise<ActorInspection> {
  const { session, job } = placeOfRef(ref)
  return (await all.host.hosted(session)!.request({ type: 'actor.inspect' }, job)) as ActorInspection
}

const gone = (ref: Ref<any>): Promise<true> => until('its end', () => ref.state === 'gone')

describe('what an actor shows of itself', () => {
  test.each(odd.EXHIBITS)('%s: shown as far as it goes, and then something else', async (what) => {
    const { ref } = await spawned(odd.shows)
    await ref.tell({ type: 'show', what })
    await until('that it is shown', () => ref.getSnapshot().seq === 1)
    const seen = odd.seen(what)
    if (seen) expect(ref.getSnapshot().context).toEqual(seen)
    else expect(ref.getSnapshot().context).toMatchObject({ code: 'TOO_LARGE' })
    await ref.tell({ type: 'show', what: 'all is well' })
    await until('what comes next', () => ref.getSnapshot().context.what === 'all is well')
    expect(ref.state).toBe('live')
  })

  test('as much as fits is shown whole', async () => {
    const { ref } = await spawned(odd.shows)
    await ref.tell({ type: 'show', what: 'x'.repeat(SHOWN_BYTES - 100) })
    await until('that it is shown', () => ref.getSnapshot().seq === 1)
    expect(ref.getSnapshot().context.what).toHaveLength(SHOWN_BYTES - 100)
  })

  test.each(['throws', 'is a promise', 'is too much'])('its projection %s', async (how) => {
    const { ref } = await spawned(odd.projects)
    await ref.tell({ type: 'how', how })
    await until('that it is shown', () => ref.getSnapshot().seq === 1)
    const { context } = ref.getSnapshot()
    if (how === 'throws') expect(context).toMatchObject({ message: 'the request failed', code: 'E_AWKWARD' })
    else if (how === 'is a promise') expect(context).toEqual({ $dropped: 'a Promise' })
    else expect(context).toMatchObject({ code: 'TOO_LARGE' })
    await ref.tell({ type: 'how', how: 'well' })
    await until('what comes next', () => ref.getSnapshot().seq === 2)
    expect(ref.getSnapshot().context).toEqual({ how: 'well' })
  })
})

describe('an actor that ends', () => {
  test.each(['break', 'break awkwardly', 'say too much', 'finish', 'stop'] as const)(
    'by %s leaves nothing at work',
    async (how) => {
      const { ref } = await spawned(odd.busy)
      expect(odd.atWork.now).toBe(1)
      if (how === 'stop') ref.stop()
      else ref.send({ type: how })
      await gone(ref)
      expect(odd.atWork.now).toBe(0)
    },
  )

  test.each([odd.entryBreaks, odd.contextBreaks])('before it has begun: $name', async (machine) => {
    const { ref } = await spawned<MachineDefinition>(machine)
    await gone(ref)
    expect(ref.getSnapshot()).toMatchObject({ status: 'error', error: { message: 'broken as told' } })
    expect(odd.atWork.now).toBe(0)
  })

  test.each([odd.atOnce, odd.atOnceChecked])('at once says its output: $name', async (machine) => {
    const { ref } = await spawned(machine)
    await gone(ref)
    expect(ref.getSnapshot()).toMatchObject({ status: 'done', output: { well: 'done' } })
    expect(await toPromise(ref as never as AnyActorRef)).toEqual({ well: 'done' })
  })

  test('says its output to who comes later, and to who was away', async () => {
    const { world: all, ref } = await spawned(odd.counting)
    const emitting = await all.here.ref(ref.address)
    await emitting.ready()
    ref.send({ type: 'say' })
    await ref.tell({ type: 'say' })
    all.network.cut('here', 'far')
    all.network.lose('here', 'far')
    await until('that it is away', () => ref.state === 'stale')
    await (await all.far.ref(ref.address)).tell({ type: 'finish' })
    all.network.heal('here', 'far')
    await gone(ref)
    expect(ref.getSnapshot()).toMatchObject({ status: 'done', output: { said: 2 } })
    const late = await all.here.ref(ref)
    await gone(late)
    expect(late.getSnapshot()).toMatchObject({ status: 'done', output: { said: 2 } })
  })

  test('without an output has none, whatever it has said', async () => {
    const { world: all, ref } = await spawned(odd.busy)
    ref.send({ type: 'say' })
    ref.send({ type: 'finish' })
    await gone(ref)
    const late = await all.here.ref(ref)
    await gone(late)
    expect(late.getSnapshot()).toMatchObject({ status: 'done', output: undefined })
  })

  test('with an error that cannot travel says the rest of it, to its job too', async () => {
    const { ref, session } = await spawned(odd.busy)
    const job = await session.job(placeOfRef(ref).job)
    ref.send({ type: 'break awkwardly' })
    await gone(ref)
    const error = { message: 'the request failed', code: 'E_AWKWARD' }
    expect(ref.getSnapshot()).toMatchObject({ status: 'error', error })
    await until('the end of its job', () => job.state === 'Failed')
    expect(job.reason).toMatchObject(error)
  })
})

/** A keeper, and a ref that knows nothing of its machine: what does not fit is refused over there. */
async function kept(options: Partial<ActorWorldOptions> = {}) {
  const made = await spawned(odd.keeper, options)
  const plain = await made.world.here.ref<typeof odd.keeper>(made.ref.address)
  await plain.ready()
  return { ...made, plain }
}

describe('what is sent', () => {
  test('and refused is refused by itself, whatever its schema throws', async () => {
    const { plain } = await kept()
    const all = await Promise.allSettled([
      plain.tell({ type: 'take', n: 1 }),
      plain.tell({ type: 'throws', n: 2 }),
      plain.tell({ type: 'rejects', n: 3 }),
      plain.tell({ type: 'number', n: 'x' }),
      plain.tell({ type: 'number', n: 4 }),
    ])
    const awkward = { status: 'rejected', reason: { message: 'the request failed', code: 'E_AWKWARD' } }
    expect(all).toMatchObject([
      { status: 'fulfilled' },
      awkward,
      awkward,
      { status: 'rejected', reason: { code: 'INVALID_EVENT' } },
      { status: 'fulfilled' },
    ])
    expect(await plain.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [1, 4] })
  })

  test('and waits for room is bounded too, of all senders together', async () => {
    const { actor } = await hosted(odd.keeper)
    actor.suspend()
    const n = new Uint8Array(WAITING_BYTES / 4)
    const bytes = batchOf({ type: 'take', n })
    const sent = ['a', 'b', 'c', 'd'].map(async (from) => actor.tell(from, 1, 1, bytes).then(() => 'taken', codeOf))
    expect(await sent[3]).toBe('LIMIT')
    // The first is in the inbox, alone.
    const waits = actor.ask(encode({ type: 'take', n }), 1_000, undefined, { from: 'e' }).catch(codeOf)
    expect(
      await refusal('an ask', () => actor.ask(encode({ type: 'take', n }), 1_000, undefined, { from: 'f' })),
    ).toMatchObject({
      code: 'LIMIT',
    })
    actor.resume()
    expect(await waits).toBe('OUTCOME_UNKNOWN')
    expect(await Promise.all(sent.slice(0, 3))).toEqual(['taken', 'taken', 'taken'])
    expect(await actor.tell('d', 1, 1, bytes)).toEqual({})
    actor.stop()
  })

  test('to one that stands still waits, and is not taken when its sender has left', async () => {
    const { actor } = await hosted(odd.keeper)
    actor.suspend()
    const batch = batchOf(...Array.from({ length: TELL_MOST }, (_, n) => ({ type: 'take', n })))
    for (let n = 0; n < INBOX_MOST / TELL_MOST; n++) await actor.tell('a', 1 + n * TELL_MOST, TELL_MOST, batch)
    const lost = new AbortController()
    const waiting = actor.tell('b', 1, 1, batchOf({ type: 'take', n: 'lost' }), lost.signal)
    lost.abort(new Error('the link is lost'))
    expect(await refusal('it', () => waiting)).toMatchObject({ message: 'the link is lost' })
    const again = actor.tell('b', 1, 1, batchOf({ type: 'take', n: 'again' }))
    actor.resume()
    await again
    const kept = decode(await actor.ask(encode({ type: 'kept' }), 1_000, undefined, { from: 'b' })) as unknown[]
    expect([kept.length, kept.at(-1)]).toEqual([INBOX_MOST + 1, 'again'])
    actor.stop()
  })

  test.each(['request', 'reply'] as const)('is refused also where its %s was lost', async (lost) => {
    const faults = new Faults()
    const { plain } = await kept({ over: (transport) => faults.over(transport) })
    faults.lose('actor.tell', lost)
    const all = await Promise.allSettled([plain.tell({ type: 'take', n: 1 }), plain.tell({ type: 'number', n: 'x' })])
    expect(faults.sent).toBe(2)
    expect(all).toMatchObject([{ status: 'fulfilled' }, { status: 'rejected', reason: { code: 'INVALID_EVENT' } }])
    expect(await plain.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [1] })
  })
})

describe('a schema', () => {
  test('that takes its time keeps the order of its sender, and holds up nobody else', async () => {
    odd.schemas.open = Promise.withResolvers()
    const { world: all, plain } = await kept({
      peers: { here: mayAll(odd.machines), other: ['connect', 'jobs:send', 'jobs:read'] },
    })
    const other = await (await all.add('other')).ref<typeof odd.keeper>(plain.address)
    plain.send({ type: 'slow', n: 1 })
    const second = plain.tell({ type: 'take', n: 2 })
    const asked = plain.ask({ type: 'kept' })
    await within('the other one', other.tell({ type: 'take', n: 3 }))
    expect(await other.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [3] })
    odd.schemas.open.resolve()
    await second
    expect(await asked).toEqual({ outcome: 'ok', value: [3, 1, 2] })
  })

  test('that never settles is refused in the end, and what came behind it goes on', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const host = await hosted(odd.keeper)
      const never = host.actor.tell('me', 1, 1, batchOf({ type: 'never', n: 1 }))
      const next = host.actor.tell('me', 2, 1, batchOf({ type: 'take', n: 2 }))
      const asked = host.actor.ask(encode({ type: 'kept' }), SCHEMA_MS * 2, undefined, { from: 'me' })
      await vi.advanceTimersByTimeAsync(SCHEMA_MS)
      expect(await never).toMatchObject({ refused: [[0, { code: 'TIMEOUT' }]] })
      expect(await next).toEqual({})
      expect(decode(await asked)).toEqual([2])
    } finally {
      vi.useRealTimers()
    }
  })

  test('that never settles is given up with who asked', async () => {
    const { plain, session } = await kept()
    expect(await plain.ask({ type: 'never', n: 1 }, { timeout: 20 })).toMatchObject({ outcome: 'unknown' })
    const leaving = new AbortController()
    const asked = plain.ask({ type: 'never', n: 1 }, { signal: leaving.signal }).catch((error: unknown) => error)
    leaving.abort(new Error('enough'))
    expect(await asked).toMatchObject({ message: 'enough' })
    expect(await plain.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [] })
    await session.close()
  })
})

describe('an answer', () => {
  test.each(['function', 'large', 'guarded', 'break', 'finish'] as const)(
    'that cannot come although the event was handled is not said to be an error: %s',
    async (type) => {
      const { ref } = await kept()
      const { outcome, ...rest } = await ref.ask({ type, bytes: 17 * 1024 * 1024 } as { type: 'large'; bytes: number })
      expect([outcome, rest]).toEqual(['unknown', { error: expect.objectContaining({ code: 'OUTCOME_UNKNOWN' }) }])
    },
  )

  test('of an actor that ends before it has come to the question is an error', async () => {
    const { world: all, ref, session } = await kept()
    const job = await session.job(placeOfRef(ref).job)
    await job.suspend()
    const asked = ref.ask({ type: 'kept' })
    const later = ref.ask({ type: 'kept' })
    await until('that they have come', async () => (await seenThere(all, ref)).inbox === 2)
    ref.stop()
    expect(await asked).toMatchObject({ outcome: 'error', error: { code: 'ACTOR_GONE' } })
    expect(await later).toMatchObject({ outcome: 'error', error: { code: 'ACTOR_GONE' } })
  })

  test('as large as it may be arrives', async () => {
    const { ref } = await kept()
    const bytes = REPLY_BYTES - 5
    const answer = await ref.ask<string>({ type: 'large', bytes })
    expect(answer.outcome === 'ok' && answer.value.length).toBe(bytes)
  })

  test('that is given twice is the first one', async () => {
    const { ref } = await kept()
    expect(await ref.ask({ type: 'twice' })).toEqual({ outcome: 'ok', value: 'once' })
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [] })
  })

  test.each(['the request', 'the answer'] as const)('comes although %s was lost', async (what) => {
    const faults = new Faults()
    const { ref } = await kept({ over: (transport) => faults.over(transport) })
    faults.lose('actor.ask', what === 'the request' ? 'request' : 'reply')
    expect(await ref.ask({ type: 'twice' })).toEqual({ outcome: 'ok', value: 'once' })
    expect(faults.sent).toBe(2)
  })

  test('that was lost, and is refused when it is asked for again, is not said to be an error', async () => {
    const faults = new Faults()
    const { world: all, ref } = await kept({
      peers: { here: mayAll(odd.machines), third: ['connect', 'jobs:read', 'jobs:send'] },
      over: (transport, name) => (name === 'third' ? faults.over(transport) : transport),
    })
    const third = await all.add('third')
    const theirs = await third.ref<typeof odd.keeper>(ref.address)
    await theirs.ready()
    faults.lose('actor.ask', 'reply')
    const asked = theirs.ask({ type: 'twice' })
    // Before there is another link.
    while (faults.answers.length === 0) await new Promise((resolve) => setImmediate(resolve))
    await all.far.allow('third', ['connect'])
    const cause = expect.objectContaining({ code: 'DENIED' })
    expect(await asked).toMatchObject({ outcome: 'unknown', error: { code: 'OUTCOME_UNKNOWN', cause } })
  })

  test('comes although the link was lost while the machine thought about it', async () => {
    const { world: all, ref } = await kept()
    const asked = ref.ask({ type: 'later' })
    await until('that it was asked', async () => ref.getSnapshot().seq === 1)
    all.network.lose('here', 'far')
    await until('that it is back', () => ref.state === 'live')
    await ref.tell({ type: 'answer' })
    expect(await asked).toEqual({ outcome: 'ok', value: 'at last' })
  })

  test('of a client that has left is not waited for', async () => {
    const { world: all, ref } = await kept({ peers: { here: mayAll(odd.machines), other: ['connect', 'jobs:send'] } })
    const other = await all.add('other')
    const asked = (await other.ref(ref)).ask({ type: 'later' })
    await until('that it was asked', () => ref.getSnapshot().seq === 1)
    await other.close()
    expect(await asked).toMatchObject({ outcome: 'unknown' })
    // Whoever it is answered for now, nobody takes it for theirs.
    await ref.tell({ type: 'answer' })
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [] })
  })
})

describe('other peers', () => {
  const PEERS = {
    here: mayAll(odd.machines),
    mallory: ['connect', 'jobs:send'],
    reader: ['connect', 'jobs:read'],
    nobody: ['connect'],
    both: ['connect', 'jobs:read', 'jobs:send', 'jobs:stop'],
  } as const

  const tell = (from: string, seq: number, n: unknown, epoch = 1): SessionEvent & { type: 'actor.tell' } => ({
    type: 'actor.tell',
    epoch,
    from,
    seq,
    count: 1,
    bytes: batchOf({ type: 'take', n }),
  })

  test("cannot swallow another one's events by sending in its name", async () => {
    const { world: all, ref, plain } = await kept({ peers: PEERS })
    await ref.tell({ type: 'take', n: 1 })
    const { from } = outboxOf(all.here, ref)
    const mallory = await all.link('mallory')
    await mallory.ask(placeOfRef(ref), tell(from, Number.MAX_SAFE_INTEGER, 'mine'))
    await plain.tell({ type: 'take', n: 2 })
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [1, 'mine', 2] })
    // Who has said the last number there is has nothing more to say.
    await mallory.ask(placeOfRef(ref), tell(from, 5, 'more'))
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [1, 'mine', 2] })
    await mallory.ask(placeOfRef(ref), tell('anew', 1, 'more'))
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [1, 'mine', 2, 'more'] })
  })

  test('cannot make an actor forget what others have sent', async () => {
    const { world: all, ref } = await kept({ peers: PEERS })
    const both = await all.link('both')
    await both.ask(placeOfRef(ref), tell('me', 1, 'once'))
    const mallory = await all.link('mallory')
    for (let n = 0; n < SENDERS_MOST + 10; n++) await mallory.ask(placeOfRef(ref), tell(`name ${n}`, 1, n))
    await both.ask(placeOfRef(ref), tell('me', 1, 'once'))
    const { value } = (await ref.ask<unknown[]>({ type: 'kept' })) as { value: unknown[] }
    expect(value.filter((one) => one === 'once')).toHaveLength(1)
    expect(value).toHaveLength(SENDERS_MOST + 11)
  })

  test.each<
    [string, Partial<Record<keyof SessionEvent | 'epoch' | 'count' | 'bytes' | 'from' | 'seq', unknown>>, string]
  >([
    ['more events than it says', { bytes: batchOf({ type: 'take' }, { type: 'take' }) }, 'PROTOCOL'],
    ['fewer', { count: 7 }, 'PROTOCOL'],
    ['more than there may be', { count: 257 }, 'USAGE'],
    ['none', { count: 0, bytes: new Uint8Array() }, 'USAGE'],
    ['bytes that are no chunk', { bytes: new Uint8Array([0xff, 0, 1, 2]) }, 'MALFORMED'],
    ['half a chunk', { bytes: batchOf({ type: 'take', n: 'x'.repeat(100) }).subarray(0, 50) }, 'MALFORMED'],
    ['what is too deep', { bytes: encode(deep(100), { limits: { depth: 200 } }) }, 'TOO_LARGE'],
    ['to an actor to come', { epoch: 2 }, 'ACTOR_GONE'],
    ['to one of the far future', { epoch: Number.MAX_SAFE_INTEGER }, 'ACTOR_GONE'],
    ['a number beyond all', { seq: Number.MAX_VALUE }, 'USAGE'],
    ['a number below all', { seq: -1 }, 'USAGE'],
    ['half a number', { seq: 1.5 }, 'USAGE'],
    ['a name that is too long', { from: 'x'.repeat(129) }, 'USAGE'],
    ['a name that is none', { from: 7 }, 'USAGE'],
  ])('may send %s: refused, and nothing else', async (_, odd, code) => {
    const { world: all, ref } = await kept({ peers: PEERS })
    const mallory = await all.link('mallory')
    const event = { ...tell('m', 1, 'x'), ...odd } as SessionEvent
    expect(await refusal('it', () => mallory.ask(placeOfRef(ref), event))).toMatchObject({ code })
    expect(mallory.open).toBe(true)
    await mallory.ask(placeOfRef(ref), tell('m', 1, 'fine'))
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: ['fine'] })
  })

  test.each([
    ['no object', 'take', 'INVALID_EVENT'],
    ['nothing', undefined, 'INVALID_EVENT'],
    ['a list', [{ type: 'take' }], 'INVALID_EVENT'],
    ['a type that is none', { type: 7 }, 'INVALID_EVENT'],
    ["the machine's own event", { type: 'xstate.init' }, 'INVALID_EVENT'],
    ['what every object has', { type: 'toString' }, 'INVALID_EVENT'],
    ['the end', { type: 'xstate.stop' }, 'INVALID_EVENT'],
    ['any', { type: '*' }, 'INVALID_EVENT'],
  ])('may send %s: refused, and nothing else', async (_, event, code) => {
    const { world: all, ref } = await kept({ peers: PEERS })
    const mallory = await all.link('mallory')
    const bytes = batchOf(event, { type: 'take', n: 1 })
    const answer = await mallory.ask(placeOfRef(ref), { ...tell('m', 1, 0), count: 2, bytes })
    expect(answer).toMatchObject({ refused: [[0, { code }]] })
    const asked = { type: 'actor.ask', epoch: 1, event: encode(event), timeout: 1_000 } as const
    expect(await refusal('an ask', () => mallory.ask(placeOfRef(ref), asked))).toMatchObject({ code })
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [1] })
  })

  /** Everything that can be asked of an actor, and what that takes. */
  const requests: readonly (readonly [Grant, SessionEvent])[] = [
    ['jobs:send', tell('t', 1, 1)],
    ['jobs:send', { type: 'actor.ask', epoch: 1, event: encode({ type: 'kept' }), timeout: 1_000 }],
    ['jobs:read', { type: 'actor.inspect' }],
    ['jobs:read', { type: 'actor.transitions' }],
    ['jobs:stop', { type: 'actor.stop', epoch: 7 }],
  ]

  test.each(['nobody', 'mallory', 'reader', 'both'] as const)(
    '%s may do what is granted, and learns of nothing else',
    async (name) => {
      const { world: all, ref, session } = await kept({ peers: PEERS })
      const grants: readonly Grant[] = PEERS[name]
      const link = await all.link(name)
      const there = placeOfRef(ref)
      const strange = { session: crypto.randomUUID(), job: crypto.randomUUID() }
      const elsewhere = [
        strange,
        { ...there, job: strange.job },
        { ...there, session: session.instanceId.replace(/./, (first) => (first === '0' ? '1' : '0')) },
      ]
      const codes = async (event: SessionEvent): Promise<unknown[]> => {
        const asked = [there, ...elsewhere].map((to) => link.ask(to, event).then(() => 'ok', codeOf))
        return Promise.all(asked)
      }
      for (const [grant, event] of requests) {
        const [answer, ...others] = await codes(event)
        if (grants.includes(grant)) {
          expect([event.type, answer]).toEqual([event.type, event.type === 'actor.stop' ? 'ACTOR_GONE' : 'ok'])
          for (const code of others) expect(['SESSION_NOT_FOUND', 'JOB_NOT_FOUND']).toContain(code)
        } else expect([answer, ...others]).toEqual(['DENIED', 'DENIED', 'DENIED', 'DENIED'])
      }
      const watched = async (to: Address): Promise<ActorState> => {
        const first = Promise.withResolvers<ActorState>()
        const unwatch = link.watch<ActorState>({ ...to, actor: 1 }, first.resolve)
        const state = await within('its state', first.promise)
        unwatch()
        return state
      }
      const seen = await watched(there)
      if (grants.includes('jobs:read')) expect(seen).toMatchObject({ status: 'active', value: 'on' })
      else
        for (const to of [there, ...elsewhere]) {
          expect(await watched(to)).toEqual({
            status: 'gone',
            epoch: 0,
            seq: 0,
            reason: expect.objectContaining({ code: 'DENIED' }),
          })
        }
      const reading = link.read(there, { reader: 'audit', from: 0 })[Symbol.asyncIterator]().next()
      const read = await reading.then(() => 'ok', codeOf)
      expect(read).toBe(grants.includes('jobs:read') ? 'ok' : 'DENIED')
    },
  )

  test('whose grants are taken away see, hear and send nothing more, over the same link', async () => {
    const { world: all, ref } = await spawned(odd.counting, { peers: PEERS })
    const link = await all.link('both')
    const there = placeOfRef(ref)
    const states: ActorState[] = []
    link.watch<ActorState>({ ...there, actor: 1 }, (state) => states.push(state))
    const reading = link.read(there, { reader: 'audit', from: 0, follow: true })
    await ref.tell({ type: 'say' })
    await within('what it says', reading.next())
    await until('that it is seen', () => states.at(-1)?.seq === 1)
    const { cursor } = (await link.ask(there, { type: 'actor.transitions' })) as { cursor: string }
    const next = reading.next().then(() => 'ok', codeOf)
    const happened = link.ask(there, { type: 'actor.transitions', cursor }).then(() => 'ok', codeOf)
    // Heard over there, and not answered: it waits.
    await link.ask({}, { type: 'ping' })
    await all.far.allow('both', ['connect'])
    await until('that it is told', () => states.at(-1)?.status === 'gone')
    expect(states.at(-1)!.reason).toMatchObject({ code: 'DENIED' })
    const seen = states.length
    expect(await within('the reading', next)).toBe('DENIED')
    expect(await within('what happens', happened)).toBe('DENIED')
    for (const [, event] of requests)
      expect(await refusal(event.type, () => link.ask(there, event))).toMatchObject({ code: 'DENIED' })
    await ref.tell({ type: 'say' })
    await link.ask({}, { type: 'ping' })
    expect(states).toHaveLength(seen)
    expect(link.open).toBe(true)
    await all.far.allow('both', ['connect', 'jobs:read'])
    link.watch<ActorState>({ ...there, actor: 1 }, (state) => states.push(state))
    await until('that it is seen again', () => states.at(-1)?.seq === 2)
  })

  test('who may not ask any more when it was asked: nobody can say what comes of it, unless it was not come to', async () => {
    const { world: all, session, ref, plain } = await kept({ peers: { ...PEERS, other: PEERS.both } })
    const asks = async (name: string) => (await (await all.add(name)).ref<typeof odd.keeper>(ref)) as typeof ref
    const [both, other] = [await asks('both'), await asks('other')]
    const begun = both.ask({ type: 'later' })
    await until('that it was asked', () => ref.getSnapshot().context.askers.length === 1)
    const job = await session.job(placeOfRef(ref).job)
    await job.suspend()
    const waits = other.ask({ type: 'later' })
    await until('that it waits', async () => (await seenThere(all, ref)).inbox === 1)
    for (const name of ['both', 'other']) await all.far.allow(name, ['connect'])
    const denied = expect.objectContaining({ code: 'DENIED' })
    expect(await within('what was asked', begun)).toMatchObject({
      outcome: 'unknown',
      error: { code: 'OUTCOME_UNKNOWN', cause: denied },
    })
    expect(await within('what waits', waits)).toMatchObject({ outcome: 'error', error: { code: 'DENIED' } })
    await job.resume()
    await plain.tell({ type: 'take', n: 1 })
    expect(ref.getSnapshot().context.askers).toHaveLength(1)
  })

  test('who may not come any more are cut off, and told so', async () => {
    const { world: all, ref } = await spawned(odd.keeper, { peers: PEERS })
    const both = await all.add('both')
    const theirs = await both.ref(ref)
    await theirs.ready()
    await all.far.deny('both')
    await gone(theirs)
    expect(theirs.reason).toMatchObject({ code: 'DENIED' })
    expect(await theirs.ask({ type: 'kept' } as never)).toMatchObject({ outcome: 'error', error: { code: 'DENIED' } })
  })
})

describe('a machine', () => {
  test('whose steps never end fails, and holds up nobody for long', async () => {
    const { ref, session } = await spawned(odd.endless)
    const other = await session.spawn(odd.keeper)
    ref.send({ type: 'go' })
    expect(await within('an answer', other.ask({ type: 'kept' }))).toEqual({ outcome: 'ok', value: [] })
    await gone(ref)
    expect(ref.getSnapshot()).toMatchObject({
      status: 'error',
      error: { message: expect.stringContaining(`${MICROSTEPS_MOST}`) },
    })
  })

  test('may say 20 000 things in one step: all of them are there', async () => {
    const { ref, session } = await spawned(odd.loud)
    const job = await session.job(placeOfRef(ref).job)
    await ref.tell({ type: 'say', times: 20_000, bytes: 10 })
    let next = 0
    for await (const record of job.receive({ follow: true })) {
      if (record.kind === 'output' && (record.value as { n: number }).n !== next++) break
      if (next === 20_000) break
    }
    expect(next).toBe(20_000)
    expect(await ref.ask({ type: 'say', times: 0, bytes: 0 }, { timeout: 100 })).toMatchObject({ outcome: 'unknown' })
    expect(ref.state).toBe('live')
  })

  test('that says more in one step than is kept goes on, and the newest of it is there', async () => {
    const { ref, session } = await spawned(odd.loud)
    const job = await session.job(placeOfRef(ref).job)
    await ref.tell({ type: 'say', times: 700, bytes: 100_000 })
    let last: unknown
    let gap = 0
    for await (const record of job.receive({ follow: true })) {
      if (record.kind === 'gap') gap += record.dropped
      if (record.kind === 'output') last = (record.value as { n: number }).n
      if (last === 699) break
    }
    expect(gap).toBeGreaterThan(600)
    expect(ref.state).toBe('live')
  })

  test.each([
    ['no address', 'nonsense'],
    ['nothing', undefined],
    ['one of a peer that nobody knows', { peer: 'unknown', path: 'a/b', epoch: 1 }],
    ['one that leads nowhere', { peer: 'local', path: 'a/b', epoch: 1 }],
    ['one with a strange path', { peer: 'local', path: '', epoch: 0 }],
  ])('that sends to %s goes on', async (_, to) => {
    const { ref } = await spawned(odd.passing)
    for (let n = 0; n < 3; n++) await ref.tell({ type: 'pass', to, times: 10 })
    expect(await ref.ask({ type: 'passed' })).toEqual({ outcome: 'ok', value: 30 })
  })

  test('that sends to one that has gone, or takes no more, goes on, and says so', async () => {
    const { ref, session } = await spawned(odd.passing)
    const keeper = await session.spawn(odd.keeper)
    const to = keeper.address
    const job = await session.job(placeOfRef(ref).job)
    await (await session.job(placeOfRef(keeper).job)).suspend()
    for (let n = 0; n < 20; n++) await ref.tell({ type: 'pass', to, times: 1_000 })
    expect(await ref.ask({ type: 'passed' })).toEqual({ outcome: 'ok', value: 20_000 })
    keeper.stop()
    await gone(keeper)
    for (let n = 0; n < 20; n++) await ref.tell({ type: 'pass', to, times: 1 })
    expect(await ref.ask({ type: 'passed' })).toEqual({ outcome: 'ok', value: 20_020 })
    const [warning] = (await all(job.receive())).filter(({ kind }) => kind === 'warning')
    expect(warning).toMatchObject({ value: expect.stringContaining('could not send') })
  })
})

describe('an actor that is started again', () => {
  /** As whoever may run scripts there asks for it: again for ever. */
  async function restarting(machine: MachineDefinition) {
    const all = await world({ peers: { here: [...mayAll(odd.machines), 'run:script'] } })
    const session = await all.here.connect('far')
    const spec = { ...(await machineSpec(machine.name, { input: 'me' })), restart: { times: 10, within: 60_000 } }
    const job = (await all.host.hosted(session.instanceId)!.request({ type: 'start', spec })) as JobSnapshot
    const at = (epoch: number): ActorAddress => ({
      peer: 'far',
      path: `${session.instanceId}/${job.instanceId}`,
      epoch,
    })
    const ref = (epoch: number): Promise<Ref<typeof odd.failing>> => all.here.ref<typeof odd.failing>(at(epoch))
    return { world: all, session, ref, there: { session: session.instanceId, job: job.instanceId } }
  }

  test.each([odd.failing, odd.failingChecked])('is another one, and old refs are of no use: $name', async (machine) => {
    const { ref } = await restarting(machine)
    const first = await ref(1)
    const whichever = await ref(0)
    for (const one of [first, whichever]) await within('it is there', one.ready())
    const refused: unknown[] = []
    const listening = await ref(1)
    first.send({ type: 'break' })
    await gone(first)
    await gone(listening)
    expect(first.reason).toMatchObject({ code: 'ACTOR_GONE' })
    expect(await first.ask({ type: 'name' })).toMatchObject({ outcome: 'error', error: { code: 'ACTOR_GONE' } })
    const second = await ref(2)
    await within('it is there again', second.ready())
    expect(await second.ask({ type: 'name' })).toEqual({ outcome: 'ok', value: 'me' })
    // One that means whoever it is has gone on to the next one.
    await until('that it is the next one', () => whichever.getSnapshot().epoch === 2)
    expect(await whichever.ask({ type: 'name' })).toEqual({ outcome: 'ok', value: 'me' })
    const early = await ref(3)
    await gone(early)
    const old = await ref(1)
    await gone(old)
    expect(refused).toEqual([])
  })

  test('is seen by who looks while it is on its way', async () => {
    const { ref } = await restarting(odd.failingChecked)
    const first = await ref(1)
    await within('it is there', first.ready())
    const input = Promise.withResolvers<void>()
    odd.lives.input = input.promise
    try {
      first.send({ type: 'break' })
      await gone(first)
      const second = await ref(2)
      const told = second.tell({ type: 'name' })
      const asked = second.ask({ type: 'name' })
      expect(second.state).toBe('connecting')
      input.resolve()
      await within('it is there again', second.ready())
      await told
      expect(await asked).toEqual({ outcome: 'ok', value: 'me' })
    } finally {
      input.resolve()
    }
  })

  test('is stopped while it is on its way, and who waits for it hears that', async () => {
    const never = Promise.withResolvers<void>()
    odd.lives.input = never.promise
    try {
      const { ref, world: all, there } = await restarting(odd.failingChecked)
      const first = await ref(1)
      const told = first.tell({ type: 'name' }).then(() => 'taken', codeOf)
      const stopped = all.host.hosted(there.session)!.request({ type: 'actor.stop', epoch: 1 }, there.job)
      await within('its stop', stopped)
      expect(await told).toBe('ACTOR_GONE')
      await gone(first)
      expect(first.getSnapshot().status).toBe('stopped')
    } finally {
      never.resolve()
    }
  })

  test('and has ended then is nothing to those who knew an earlier one', async () => {
    const { ref, session, there } = await restarting(odd.failing)
    const first = await ref(1)
    await first.ready()
    first.send({ type: 'break' })
    const second = await ref(2)
    await within('it is there again', second.ready())
    await (await session.job(there.job)).stop()
    await gone(second)
    for (const [epoch, status] of [
      [0, 'stopped'],
      [1, 'gone'],
      [2, 'stopped'],
      [3, 'gone'],
    ] as const) {
      const late = await ref(epoch)
      await gone(late)
      expect([epoch, late.getSnapshot().status]).toEqual([epoch, status])
    }
  })
})

describe('a ref', () => {
  test('sends and asks in one order, whether it waits or not', async () => {
    const { ref } = await kept()
    const asked: Promise<Outcome<unknown[]>>[] = []
    for (let n = 0; n < 20; n++) {
      for (let m = 0; m < 3; m++) ref.send({ type: 'take', n: 3 * n + m })
      asked.push(ref.ask<unknown[]>({ type: 'kept' }))
    }
    const answers = await Promise.all(asked)
    expect(answers.map((answer) => answer.outcome === 'ok' && answer.value.length)).toEqual(
      range(20).map((n) => 3 * n + 3),
    )
  })

  test('that asks waits for what it sent before, and for nothing that is sent later', async () => {
    const { ref } = await kept()
    let on = true
    const flood = (async () => {
      while (on) await ref.tell({ type: 'take', n: 0 })
    })()
    const another = (async () => {
      while (on) await ref.tell({ type: 'take', n: 0 })
    })()
    expect(await within('an answer', ref.ask({ type: 'twice' }))).toEqual({ outcome: 'ok', value: 'once' })
    on = false
    await Promise.all([flood, another])
  })

  test('whose peer is away asks for no longer than it was told, also behind what it sent', async () => {
    const { world: all, ref } = await kept()
    all.network.cut('here', 'far')
    all.network.lose('here', 'far')
    await until('that it is away', () => ref.state === 'stale')
    ref.send({ type: 'take', n: 1 })
    const leaving = new AbortController()
    const left = ref.ask({ type: 'kept' }, { signal: leaving.signal }).catch((error: unknown) => error)
    const late = ref.ask({ type: 'kept' }, { timeout: 10 })
    leaving.abort(new Error('enough'))
    expect(await left).toMatchObject({ message: 'enough' })
    expect(await within('it gives up', late)).toMatchObject({ outcome: 'unknown' })
    all.network.heal('here', 'far')
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [1] })
  })

  test('tells of what was refused although who is told throws, and goes on', async () => {
    const { world: all, session } = await spawned(odd.keeper)
    const heard: unknown[] = []
    const { address } = await session.spawn(odd.keeper)
    const ref = await all.here.ref<typeof odd.keeper>(address, {
      onRefused: (error, event) => {
        heard.push([codeOf(error), event])
        throw new Error('who is told throws')
      },
    })
    ref.send({ type: 'number', n: 'x' })
    ref.send({ type: 'take', n: 1 })
    ref.send({ type: 'number', n: 'y' })
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [1] })
    expect(heard).toEqual([
      ['INVALID_EVENT', { type: 'number', n: 'x' }],
      ['INVALID_EVENT', { type: 'number', n: 'y' }],
    ])
    const holder = createActor(
      setup({ types: { events: {} as { type: 'go' } } }).createMachine({
        on: { go: { actions: sendTo(ref as never, { type: 'take', n: () => 'what cannot travel' } as never) } },
      }),
    ).start()
    holder.send({ type: 'go' })
    expect(heard).toHaveLength(3)
    expect(ref.state).not.toBe('gone')
    holder.stop()
  })

  test('tells what was refused because the actor had ended by then', async () => {
    const { world: all, session } = await spawned(odd.keeper)
    const heard: unknown[] = []
    const { address } = await session.spawn(odd.keeper)
    const ref = await all.here.ref<typeof odd.keeper>(address, { onRefused: (error) => heard.push(codeOf(error)) })
    await ref.ready()
    ref.send({ type: 'finish' })
    // A batch of its own: asked for when the first is answered.
    for (let n = 0; n < 300; n++) ref.send({ type: 'take', n })
    await gone(ref)
    await until('that it is told', () => heard.length > 0)
    expect(new Set(heard)).toEqual(new Set(['ACTOR_GONE']))
  })

  test('that is let go of in its first snapshot watches nobody', async () => {
    const { world: all, ref, session } = await spawned(odd.keeper)
    // Here, and over there where somebody watches already: both are told at once.
    const local = await all.far.spawn(odd.keeper)
    for (const [peer, { address }] of [
      [all.far, local],
      [all.here, ref],
    ] as const) {
      const other = new MachineRef(routesOf(peer), address)
      other.subscribe(() => other[Symbol.dispose]())
      await gone(other as never)
    }
    expect((await seenThere(all, local)).watchers).toBe(1)
    ref[Symbol.dispose]()
    await until('that nobody watches', async () => (await seenThere(all, ref)).watchers === 0)
    await session.close()
  })

  test('of which its peer says what cannot be is gone, and that peer is heard as before', async () => {
    const { world: all, session, ref } = await spawned(odd.keeper)
    const other = await session.spawn(odd.keeper)
    const theirs = all.host.hosted(placeOfRef(ref).session)!
    const true_ = { status: 'active', epoch: 1, seq: 1, value: 'on', tags: [], accepts: [] }
    const lies: readonly [what: string, said: unknown][] = [
      ['nothing', {}],
      ['another status', { ...true_, status: 'fine' }],
      ['an epoch before the first', { ...true_, epoch: -1 }],
      ['a count that is none', { ...true_, seq: Number.NaN }],
      ['a value that is none', { ...true_, value: 7 }],
      ['tags that are none', { ...true_, tags: 'ready' }],
      ['what it takes, which is none', { ...true_, accepts: [1] }],
      ['a context that was not encoded', { ...true_, context: { n: 1 } }],
      ['a reason that is no error', { ...true_, status: 'error', reason: 'because' }],
      ['that it is away, of what it has itself', { ...true_, away: 'far' }],
    ]
    const told = vi.spyOn(theirs, 'watchActor')
    const lying = async (said: unknown): Promise<Ref<typeof odd.keeper>> => {
      const made = await session.spawn(odd.keeper)
      made[Symbol.dispose]()
      await until('that nobody watches it', async () => (await seenThere(all, made)).watchers === 0)
      told.mockImplementationOnce((_, __, listener) => {
        listener(said as ActorState)
        return () => undefined
      })
      return all.here.ref<typeof odd.keeper>(made.address)
    }
    for (const [what, said] of lies) {
      const seen = await lying(said)
      await until(`that it is gone: ${what}`, () => seen.state === 'gone')
      expect([what, codeOf(seen.reason)]).toEqual([what, 'PROTOCOL'])
      expect(() => seen.getSnapshot().matches('on')).not.toThrow()
    }
    // Where it only shows what cannot be read, it is there.
    const seen = await lying({ ...true_, context: new Uint8Array([255, 255]) })
    await until('that it is there', () => seen.state === 'live')
    expect(seen.getSnapshot().context).toBeInstanceOf(Error)
    told.mockRestore()
    expect([ref.state, other.state]).toEqual(['live', 'live'])
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [] })
  })

  test('is gone when its peer is closed, and says so to whoever waits', async () => {
    const { world: all, session, ref } = await spawned(odd.keeper)
    const away = await session.spawn(odd.keeper)
    const snapshots = (async () => {
      for await (const one of ref.snapshots()) void one
    })()
    const complete = Promise.withResolvers<void>()
    ref.subscribe({ complete: () => complete.resolve() })
    const asked = ref.ask({ type: 'later' })
    await until('that it was asked', () => ref.getSnapshot().seq === 1)
    await all.here.close()
    await gone(ref)
    await gone(away)
    await within('the snapshots', snapshots)
    await within('the end', complete.promise)
    expect(await within('the answer', asked)).toMatchObject({ outcome: 'unknown' })
    expect(ref.reason).toMatchObject({ code: 'PEER_CLOSED' })
    expect(await refusal('send', async () => ref.send({ type: 'kept' }))).toMatchObject({ code: 'ACTOR_GONE' })
    expect(await refusal('tell', () => ref.tell({ type: 'kept' }))).toMatchObject({ code: 'ACTOR_GONE' })
    expect(await ref.ask({ type: 'kept' })).toMatchObject({ outcome: 'error', error: { code: 'ACTOR_GONE' } })
    ref[Symbol.dispose]()
    const late = await all.here.ref(ref.address)
    await gone(late)
    expect(late.reason).toMatchObject({ code: 'PEER_CLOSED' })
  })
})

describe('sessions, programs and links', () => {
  test('a batch that comes again and again, before it is answered and after, is taken once', async () => {
    const {
      world: all,
      ref,
      session,
    } = await kept({
      peers: { here: mayAll(odd.machines), other: ['connect', 'jobs:send'] },
    })
    const job = await session.job(placeOfRef(ref).job)
    await job.suspend()
    const link = await all.link('other')
    const tell = (n: number): Promise<unknown> => {
      const bytes = batchOf(...range(TELL_MOST).map((m) => ({ type: 'take', n: n * TELL_MOST + m })))
      const seq = 1 + n * TELL_MOST
      return link.ask(placeOfRef(ref), { type: 'actor.tell', epoch: 1, from: 'me', seq, count: TELL_MOST, bytes })
    }
    // There is room for four: the fifth waits for it, as often as it comes.
    await Promise.all([0, 1, 2, 3].flatMap((n) => [tell(n), tell(n)]))
    await Promise.all([tell(0), tell(3)])
    const waiting = [tell(4), tell(4), tell(1)]
    await link.ask({}, { type: 'ping' })
    await job.resume()
    await Promise.all(waiting)
    await tell(4)
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: range(5 * TELL_MOST) })
  })

  test('a session that is left, and one that is closed', async () => {
    const { ref, session } = await kept()
    await session.disconnect()
    await ref.tell({ type: 'take', n: 1 })
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [1] })
    expect(ref.state).toBe('live')
    await session.connect()
    const asked = ref.ask({ type: 'later' })
    await until('that it was asked', () => ref.getSnapshot().seq === 3)
    await session.close()
    await gone(ref)
    expect(ref.getSnapshot().status).toBe('stopped')
    expect(await asked).toMatchObject({ outcome: 'unknown' })
    expect(await ref.ask({ type: 'kept' })).toMatchObject({ outcome: 'error', error: { code: 'ACTOR_GONE' } })
  })

  test('a session that nobody came back to in time: who sends waits in vain, and is told', async () => {
    const { world: all, ref } = await spawned(odd.keeper, { others: { lostAfter: 60_000 } })
    all.network.cut('here', 'far')
    all.network.lose('here', 'far')
    await until('that it is away', () => ref.state === 'stale')
    const told = ref.tell({ type: 'take', n: 1 }).then(() => 'taken', codeOf)
    const asked = ref.ask({ type: 'kept' })
    // As its lease would.
    await all.host.hosted(placeOfRef(ref).session)!.close(0, 'nobody came back', 'SESSION_EXPIRED')
    all.network.heal('here', 'far')
    await gone(ref)
    expect(['DENIED', 'SESSION_NOT_FOUND', 'ACTOR_GONE']).toContain(await told)
    expect(await asked).toMatchObject({ outcome: 'error' })
  })

  test('a program that is killed, and one that begins in its place: what each sends counts for itself', async () => {
    const { world: all, ref } = await spawned(odd.keeper, {
      peers: { here: mayAll(odd.machines), other: ['connect', 'jobs:read', 'jobs:send'] },
    })
    for (let life = 0; life < 3; life++) {
      const other = await all.add('other')
      const theirs = await other.ref<typeof odd.keeper>(ref.address)
      for (let n = 0; n < 5; n++) await theirs.tell({ type: 'take', n: `${life}.${n}` })
      all.network.kill('other')
      await other.close()
    }
    const expected = range(3).flatMap((life) => range(5).map((n) => `${life}.${n}`))
    expect(await ref.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: expected })
  })

  test('a peer that was started again knows nothing of it: gone, for a reason, and what was asked is unknown', async () => {
    const { world: all, ref } = await spawned(odd.keeper)
    const asked = ref.ask({ type: 'later' })
    await until('that it was asked', () => ref.getSnapshot().seq === 1)
    all.network.kill('far')
    const old = all.far
    await all.restart()
    await gone(ref)
    expect(ref.reason).toBeDefined()
    expect(await asked).toMatchObject({ outcome: 'unknown' })
    expect(await refusal('send', async () => ref.send({ type: 'kept' }))).toBeDefined()
    await old.close()
  })
})

function deep(levels: number): unknown {
  let value: unknown = { type: 'take' }
  for (let n = 0; n < levels; n++) value = { type: 'take', value }
  return value
}
