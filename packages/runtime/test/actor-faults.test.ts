// What machines, schemas, links and other peers may do wrong, one by one: whoever does it bears it, and what is said of it is
// true. Loss and order in general: ref-model.test.ts.
import { afterEach, describe, expect, test } from 'vitest'
import { toPromise, type AnyActorRef } from 'xstate'
import type { MachineDefinition, Ref } from '../src/index.ts'
import { SHOWN_BYTES } from '../src/actor-state.ts'
import * as odd from './fixtures/odd-machines.ts'
import { ActorWorld, type ActorWorldOptions, placeOfRef } from './support/actor-world.ts'
import { Faults } from './support/faulty-transport.ts'
import { until, within } from './support/peers.ts'

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
  test.each(['break', 'break awkwardly', 'say too much', 'finish', 'stop'] as const)('by %s leaves nothing at work', async (how) => {
    const { ref } = await spawned(odd.busy)
    expect(odd.atWork.now).toBe(1)
    if (how === 'stop') ref.stop()
    else ref.send({ type: how })
    await gone(ref)
    expect(odd.atWork.now).toBe(0)
  })

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

describe('what is sent', () => {
  /** A ref that knows nothing of its machine: what does not fit is refused over there. */
  async function kept(options: Partial<ActorWorldOptions> = {}) {
    const made = await spawned(odd.keeper, options)
    const plain = await made.world.here.ref<typeof odd.keeper>(made.ref.address)
    await plain.ready()
    return { ...made, plain }
  }

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

  test.each(['request', 'reply'] as const)('is refused also where its %s was lost', async (lost) => {
    const faults = new Faults()
    const { plain } = await kept({ over: (transport) => faults.over(transport) })
    faults.lose('actor.tell', lost)
    const all = await Promise.allSettled([plain.tell({ type: 'take', n: 1 }), plain.tell({ type: 'number', n: 'x' })])
    expect(faults.sent).toBe(2)
    expect(all).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: { code: 'INVALID_EVENT' } },
    ])
    expect(await plain.ask({ type: 'kept' })).toEqual({ outcome: 'ok', value: [1] })
  })
})
