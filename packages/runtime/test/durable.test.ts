// Durable machines on a peer that is killed and started again over the same disk.
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { assign, emit, fromPromise, setup } from 'xstate'
import { createMemoryNetwork, memory } from '@errand/transport/memory'
import {
  type ActorAddress,
  codeOf,
  createPeer,
  defineMachine,
  type Job,
  type JobRecord,
  type MachineDefinition,
  type Ref,
} from '../src/index.ts'
import { INBOX_BYTES } from '../src/actor-inbox.ts'
import { StoreError } from '../src/errors.ts'
import { reply } from '../src/machine-actions.ts'
import { ACTOR_LOG_BYTES } from '../src/output-log.ts'
import { INBOX_MOST } from '../src/wire.ts'
import { validating } from './fixtures/odd-machines.ts'
import { keptDisk } from './support/kept-store.ts'
import { Lives } from './support/lives.ts'
import { all, outputs, refusal, until, within } from './support/peers.ts'
import { edit, storeFolder } from './support/store-files.ts'

/** What happened outside of machines, whatever became of them. */
const seen: string[] = []

interface Calls {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}
const calls: Calls[] = []

function orderOf(version = 1, more: Partial<Parameters<typeof defineMachine>[0]['durable'] & object> = {}) {
  return defineMachine({
    name: 'order',
    machine: setup({
      types: {
        context: {} as { items: string[]; paid: unknown; reminded: number },
        events: {} as
          | { type: 'item'; name: string }
          | { type: 'total' }
          | { type: 'pay' }
          | { type: 'wait'; ms: number }
          | { type: 'done' }
          | { type: 'break' },
        output: {} as { items: number },
        emitted: {} as { type: 'added'; name: string },
      },
      actors: {
        pay: fromPromise(() => {
          const { promise, resolve, reject } = Promise.withResolvers<unknown>()
          calls.push({ resolve, reject })
          return promise
        }),
      },
      delays: { waits: ({ event }) => (event as { ms: number }).ms },
    }).createMachine({
      id: 'order',
      context: { items: [], paid: undefined, reminded: 0 },
      initial: 'open',
      output: ({ context }) => ({ items: context.items.length }),
      on: {
        total: { actions: reply(({ context }) => context.items.length) },
        done: '.over',
        break: {
          actions: assign(() => {
            throw new RangeError('broken as told')
          }),
        },
      },
      states: {
        open: {
          on: {
            item: {
              actions: [
                assign({ items: ({ context, event }) => [...context.items, event.name] }),
                ({ event }) => void seen.push(event.name),
                emit(({ event }) => ({ type: 'added' as const, name: event.name })),
              ],
            },
            pay: 'paying',
            wait: 'waiting',
          },
        },
        waiting: {
          after: { waits: { target: 'open', actions: assign({ reminded: ({ context }) => context.reminded + 1 }) } },
          on: { item: { actions: assign({ items: ({ context, event }) => [...context.items, event.name] }) } },
        },
        paying: {
          invoke: {
            src: 'pay',
            onDone: { target: 'open', actions: assign({ paid: ({ event }) => event.output }) },
            onError: {
              target: 'open',
              actions: assign({ paid: ({ event }) => `no: ${(event.error as Error).message}` }),
            },
          },
        },
        over: { type: 'final' },
      },
    }),
    events: { item: true, total: true, pay: true, wait: true, done: true, break: true },
    durable: { version, every: 4, ...more },
  })
}
const order = orderOf()
type Order = typeof order

function lives(machine: MachineDefinition = order, disk = keptDisk()): Lives {
  seen.length = 0
  calls.length = 0
  return new Lives({ machines: [machine], disk, stopGrace: 0 })
}

async function again(peers: Lives, ref: Ref<Order>, machines?: readonly MachineDefinition[]): Promise<Ref<Order>> {
  const peer = await peers.again(machines ? { machines } : {})
  const next = (await peer.ref(ref.address)) as unknown as Ref<Order>
  return next
}

/** That its job stands still is on disk. */
async function standing(peers: Lives): Promise<void> {
  await until('that is written', () => {
    const [row] = peers.disk.rows('job')
    return row && (row.value as { open?: { still?: boolean } }).open?.still
  })
}

const items = (n: number, from = 0): string[] => Array.from({ length: n }, (_, index) => `item ${from + index}`)

describe('a durable machine whose peer is killed', () => {
  test('goes on where it was, as the same actor', async () => {
    await using peers = lives()
    const peer = await peers.start()
    const ref = await peer.spawn(order)
    for (const name of items(10)) await ref.tell({ type: 'item', name })
    const said = async (): Promise<string[]> => {
      const [job] = (await peers.peer.jobs()) as [Job]
      return (await outputs(job.receive({ from: 0, keep: true }))).map((one) => (one as { name: string }).name)
    }
    await until('all of it is said', async () => (await said()).length === 10)
    const next = await again(peers, ref)
    await next.ready()
    expect(next.getSnapshot()).toMatchObject({ value: 'open', context: { items: items(10) }, epoch: 1, seq: 10 })
    await next.tell({ type: 'item', name: 'last' })
    expect(await next.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 11 })
    expect(seen).toEqual([...items(10), 'last'])
    const [job] = (await peers.peer.jobs()) as [Job]
    expect(job.state).toBe('Running')
    await until('what it says now', async () => (await said()).length === 11)
    expect(await said()).toEqual([...items(10), 'last'])
  })

  test('over many lives, each of which takes a few', async () => {
    await using peers = lives()
    let ref: Ref<Order> = await (await peers.start()).spawn(order)
    for (let life = 0; life < 12; life++) {
      for (const name of items(3, life * 3)) await ref.tell({ type: 'item', name })
      ref = await again(peers, ref)
    }
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 36 })
    expect(ref.getSnapshot().context.items).toEqual(items(36))
    // Each was accepted; what it does about the last one of a life it may have been killed before: once at most.
    expect(items(36)).toEqual(expect.arrayContaining(seen))
    expect(new Set(seen).size).toBe(seen.length)
  })

  test('goes on as well when it was closed in order', async () => {
    await using peers = lives()
    const ref = await (await peers.start()).spawn(order)
    for (const name of items(3)) await ref.tell({ type: 'item', name })
    await peers.close()
    const peer = await peers.start()
    const next = (await peer.ref(ref.address)) as unknown as Ref<Order>
    expect(await next.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 3 })
    expect((await peer.jobs()).map(({ state }) => state)).toEqual(['Running'])
  })

  test('its timers are deadlines: none is lost, none is early, and what is over is due at once', async () => {
    await using peers = lives()
    const peer = await peers.start()
    const [short, long, never] = [await peer.spawn(order), await peer.spawn(order), await peer.spawn(order)]
    const set = performance.now()
    await short.tell({ type: 'wait', ms: 30 })
    await long.tell({ type: 'wait', ms: 400 })
    await never.tell({ type: 'wait', ms: 3_000_000_000 })
    await delay(60)
    const [a, b, c] = [
      await again(peers, short),
      (await peers.peer.ref(long.address)) as unknown as Ref<Order>,
      (await peers.peer.ref(never.address)) as unknown as Ref<Order>,
    ]
    let rang = 0
    b.subscribe(({ context }) => context.reminded > 0 && (rang ||= performance.now()))
    await until('the short one', () => a.getSnapshot().context?.reminded === 1)
    await until('the long one', () => rang > 0)
    expect(rang - set).toBeGreaterThanOrEqual(400)
    await c.ready()
    expect(c.getSnapshot().value).toBe('waiting')
    // Once.
    for (const ref of [a, b]) expect(ref.getSnapshot()).toMatchObject({ value: 'open', context: { reminded: 1 } })
  })

  test('what it had invoked is run again, unless how it ended is known', async () => {
    await using peers = lives()
    let ref: Ref<Order> = await (await peers.start()).spawn(order)
    await ref.tell({ type: 'pay' })
    expect(calls.length).toBe(1)
    ref = await again(peers, ref)
    await ref.ready()
    expect(calls.length).toBe(2)
    calls[1]!.resolve(new Map([['amount', 7n]]))
    await until('it is paid', () => ref.getSnapshot().value === 'open')
    ref = await again(peers, ref)
    await ref.ready()
    expect(ref.getSnapshot().context.paid).toEqual(new Map([['amount', 7n]]))
    expect(calls.length).toBe(2)
    await ref.tell({ type: 'pay' })
    await until('it pays', () => ref.getSnapshot().value === 'paying')
    // How it has ended cannot be written down: that is how it has ended.
    calls[2]!.resolve(() => 1)
    await until('it is known', () => ref.getSnapshot().value === 'open')
    expect(ref.getSnapshot().context.paid).toMatch(/^no: .*function/)
    // By one whose peer has died nobody hears of it.
    calls[0]!.resolve('too late')
  })

  test('what it was sent while it stood still is handled when it goes on, in whichever life', async () => {
    await using peers = lives()
    const peer = await peers.start()
    const ref = await peer.spawn(order)
    const job = (await peer.jobs())[0]!
    await job.suspend()
    for (const name of items(9)) await ref.tell({ type: 'item', name })
    expect(seen).toEqual([])
    await standing(peers)
    let next = await again(peers, ref)
    await next.ready()
    const same = (await peers.peer.jobs())[0]!
    expect([same.state, next.getSnapshot().context.items, seen]).toEqual(['Suspended', [], []])
    await next.tell({ type: 'item', name: 'item 9' })
    next = await again(peers, ref)
    await next.ready()
    await (await peers.peer.jobs())[0]!.resume()
    expect(await next.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 10 })
    // With what it does about them: nobody had begun to.
    expect(seen).toEqual(items(10))
  })

  test('asked in one life it does not answer in the next; whoever asks is told that nobody knows', async () => {
    await using peers = lives()
    const peer = await peers.start()
    const ref = await peer.spawn(order)
    const answer = ref.ask({ type: 'pay' }, { timeout: '20s' })
    await until('it is asked', () => calls.length === 1)
    await peers.close()
    expect(await within('what came of it', answer)).toMatchObject({ outcome: 'unknown' })
  })

  test('asked while it stands still it is asked: a later life does what it is asked, though nobody hears the answer', async () => {
    await using peers = lives()
    const peer = await peers.start()
    const ref = await peer.spawn(order)
    const job = (await peer.jobs())[0]!
    await job.suspend()
    const answer = ref.ask({ type: 'item', name: 'asked' })
    await ref.tell({ type: 'item', name: 'told' })
    await standing(peers)
    await peers.close()
    expect(await within('what came of it', answer)).toMatchObject({ outcome: 'unknown' })
    const next = await again(peers, ref)
    await (await peers.peer.jobs())[0]!.resume()
    expect(await next.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 2 })
    expect(next.getSnapshot().context.items).toEqual(['asked', 'told'])
  })
})

const unfit = defineMachine({
  name: 'unfit',
  machine: setup({
    types: { context: {} as { count: number }, events: {} as { type: 'add'; what: string } | { type: 'total' } },
  }).createMachine({
    context: { count: 0 },
    on: {
      add: { actions: assign({ count: ({ context }) => context.count + 1 }) },
      total: { actions: reply(({ context }) => context.count) },
    },
  }),
  events: {
    // Its schema makes of it what cannot be written down.
    add: validating<{ type: 'add'; what: string }>((value: { type: 'add'; what: string }) => ({
      value: value.what === 'plain' ? value : { ...value, made: value.what === 'function' ? () => 1 : unreadable() },
    })),
    total: true,
  },
  durable: { version: 1 },
})

function unreadable(): object {
  let deep: unknown = 'the end'
  for (let n = 0; n < 1000; n++) deep = { deep }
  return deep as object
}

describe('what cannot be written down', () => {
  test('is refused to who sends it, one by one, and takes no room', async () => {
    await using peers = lives(unfit)
    const ref = (await (await peers.start()).spawn(unfit)) as Ref<typeof unfit>
    let plain = 0
    for (let n = 0; n < 3; n++) {
      const told = Array.from({ length: INBOX_MOST / 2 }, (_, index) => {
        const what = ['plain', 'function', 'deep'][index % 3]!
        if (what === 'plain') plain++
        return ref.tell({ type: 'add', what }).then(
          () => [what, 'taken'],
          (error: unknown) => [what, codeOf(error)],
        )
      })
      const codes = { plain: 'taken', function: 'NOT_TRANSFERABLE', deep: 'TOO_LARGE' }
      for (const [what, came] of await within('the batches', Promise.all(told)))
        expect(came).toBe(codes[what as keyof typeof codes])
      const asked = await ref.ask({ type: 'add', what: 'function' })
      expect(asked).toMatchObject({ outcome: 'error', error: { code: 'NOT_TRANSFERABLE' } })
    }
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: plain })
    const next = (await (await peers.again()).ref(ref.address)) as unknown as Ref<typeof unfit>
    expect(await next.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: plain })
  })

  test('is refused by the next life too, where the answer of this one was lost', { timeout: 60_000 }, async () => {
    let writes = 0
    for (let kill = 1; kill <= Math.max(writes, 6); kill++) {
      const network = createMemoryNetwork()
      const policy = { peers: { here: ['connect' as const, 'spawn:unfit' as const] } }
      await using far = new Lives({ name: 'far', network, machines: [unfit], policy, stopGrace: 0 })
      await using here = await createPeer({ name: 'here', transport: memory({ network, name: 'here' }), ...known })
      await far.start()
      const spawned = await (await here.home('far')).spawn(unfit)
      await far.close()
      await far.start({ writes: kill })
      const ref = (await here.ref(spawned.address)) as unknown as Ref<typeof unfit>
      const told = ['function', 'plain', 'odd', 'deep', 'plain'].map((what) =>
        ref.tell(what === 'odd' ? ({ type: 'nothing' } as never) : { type: 'add', what }).then(
          () => 'taken',
          (error: unknown) => codeOf(error),
        ),
      )
      const all = Promise.all(told)
      await Promise.race([far.disk.killed, all])
      writes = Math.max(writes, far.disk.writes + 1)
      const next = await far.again()
      expect(await within('what came of it', all), `killed at write ${kill}`).toEqual([
        'NOT_TRANSFERABLE',
        'taken',
        'INVALID_EVENT',
        'TOO_LARGE',
        'taken',
      ])
      const it = (await next.ref(spawned.address)) as unknown as Ref<typeof unfit>
      expect(await it.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 2 })
    }
  })

  test('large events wait before it, as for any other', async () => {
    await using peers = lives()
    const peer = await peers.start()
    const ref = await peer.spawn(order)
    const job = (await peer.jobs())[0]!
    await job.suspend()
    const name = 'x'.repeat(64 * 1024)
    let taken = 0
    const told = Array.from({ length: 40 }, async () => {
      const sender = (await peer.ref(ref.address)) as unknown as Ref<Order>
      for (let n = 0; n < 4; n++) await sender.tell({ type: 'item', name }).then(() => taken++)
    })
    await until('that it is full', () => taken >= INBOX_BYTES / name.length - 2)
    await delay(20)
    expect(taken).toBeLessThanOrEqual(INBOX_BYTES / name.length)
    await job.resume()
    await Promise.all(told)
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 160 })
  })
})

const journals = (peers: Lives): string[] => peers.disk.logs().filter((name) => name.endsWith('journal'))

async function empty(peers: Lives): Promise<void> {
  await until('nothing is left of it', () => peers.disk.rows('actor').length + journals(peers).length === 0)
}

interface Row {
  readonly handled: number
  readonly version: number
}

/** It is written that it has come so far. */
async function written(peers: Lives, so: (row: Row) => boolean): Promise<void> {
  await until('its row', () => peers.disk.rows('actor').some(({ value }) => so(value as Row)))
}

/** Its emitted events are on disk. */
async function said(peers: Lives, count: number): Promise<void> {
  await until('it has said that', async () => {
    const [job] = (await peers.peer.jobs()) as [Job]
    return (await outputs(job.receive({ from: 0, keep: true }))).length === count
  })
}

/** Whoever goes to it. */
const known = { policy: { peers: { far: [] } } }

describe('a durable machine that begins', () => {
  test('killed at any write, it is there or was never accepted; what its start does is done once at most', async () => {
    const done: string[] = []
    const greeter = defineMachine({
      name: 'greeter',
      machine: setup({ types: { context: {} as { for: string }, input: {} as { for: string } } }).createMachine({
        context: ({ input }) => ({ for: input.for }),
        initial: 'waiting',
        entry: ({ context }) => void done.push(context.for),
        states: { waiting: { after: { 20: 'greeted' } }, greeted: {} },
      }),
      events: {},
      durable: true,
    })
    let writes = 0
    for (let kill = 1; kill <= Math.max(writes, 4); kill++) {
      done.length = 0
      await using peers = lives(greeter)
      await peers.start()
      await peers.close()
      const input = { for: `life ${kill}` }
      const options = { input, startId: 'the one', name: 'greeter' }
      const first = await peers.start({ writes: kill })
      let accepted = false
      const spawning = first.spawn(greeter, options).then(() => (accepted = true))
      spawning.catch(() => undefined)
      await Promise.race([peers.disk.killed, spawning])
      writes = Math.max(writes, peers.disk.writes + 1)
      const before = done.splice(0).length
      const peer = await peers.again()
      const found = await peer.jobs()
      if (accepted) expect(found.length).toBe(1)
      const ref = await peer.spawn(greeter, options)
      await until('its timer', () => ref.getSnapshot().value === 'greeted')
      expect((await peer.jobs()).length).toBe(1)
      expect(ref.getSnapshot().context).toEqual({ for: `life ${kill}` })
      expect(before + done.length, `killed at write ${kill}`).toBeLessThanOrEqual(1)
      if (accepted || found.length === 0) expect(before + done.length).toBe(1)
    }
  })

  test('and ends at once, is over in whichever life', async () => {
    const brief = defineMachine({
      name: 'brief',
      machine: setup({ types: { output: {} as { done: boolean } } }).createMachine({
        initial: 'over',
        output: { done: true },
        states: { over: { type: 'final' } },
      }),
      events: {},
      durable: true,
    })
    let writes = 0
    for (let kill = 1; kill <= Math.max(writes, 4); kill++) {
      await using peers = lives(brief)
      await peers.start()
      await peers.close()
      const first = await peers.start({ writes: kill })
      const options = { startId: 'the one' }
      const spawning = first.spawn(brief, options).then((ref) => until('its end', () => ref.state === 'gone'))
      spawning.catch(() => undefined)
      await Promise.race([peers.disk.killed, spawning])
      writes = Math.max(writes, peers.disk.writes + 1)
      const peer = await peers.again()
      const ref = await peer.spawn(brief, options)
      const job = (await peer.jobs())[0]!
      await until('its end', () => ref.state === 'gone' || job.state === 'Suspended')
      expect([kill, job.state]).toEqual([kill, 'Completed'])
      expect([kill, await outputs(job.receive({ from: 0 }))]).toEqual([kill, [{ done: true }]])
      await empty(peers)
    }
  })

  test('and fails at once, has failed in whichever life', async () => {
    const broken = defineMachine({
      name: 'broken',
      machine: setup({}).createMachine({
        entry: () => {
          throw new RangeError('broken at its start')
        },
      }),
      events: {},
      durable: true,
    })
    let ended = 0
    let writes = 0
    for (let kill = 1; kill <= Math.max(writes, 4); kill++) {
      await using peers = lives(broken)
      await peers.start()
      await peers.close()
      const first = await peers.start({ writes: kill })
      const options = { startId: 'the one' }
      const spawning = first.spawn(broken, options).then((ref) => until('its end', () => ref.state === 'gone'))
      spawning.catch(() => undefined)
      await Promise.race([peers.disk.killed, spawning])
      writes = Math.max(writes, peers.disk.writes + 1)
      peers.kill()
      const wasWritten = journals(peers).length > 0
      const peer = await peers.start()
      const job = (await peer.jobs())[0]
      if (!job || !wasWritten) continue
      ended++
      await until('its end', () => job.state !== 'NotStarted' && job.state !== 'Running')
      expect([kill, job.state, job.reason?.message]).toEqual([kill, 'Failed', 'broken at its start'])
      await empty(peers)
    }
    expect(ended).toBeGreaterThan(0)
  })

  test('goes on; one that is not durable ends with its peer', async () => {
    for (const machine of [order, { ...order, durable: undefined } as MachineDefinition]) {
      const network = createMemoryNetwork()
      const policy = { peers: { here: ['connect' as const, 'spawn:order' as const] } }
      await using far = new Lives({ name: 'far', network, machines: [machine], policy, stopGrace: 0 })
      await using here = await createPeer({ name: 'here', transport: memory({ network, name: 'here' }), ...known })
      await far.start()
      const session = await here.connect('far')
      const ref = (await session.spawn(machine)) as unknown as Ref<Order>
      await ref.tell({ type: 'item', name: 'one' })
      expect(far.disk.rows('actor').length).toBe(machine === order ? 1 : 0)
      await far.again()
      if (machine === order) {
        await ref.tell({ type: 'item', name: 'two' })
        expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 2 })
        continue
      }
      await until('it is gone', () => ref.state === 'gone')
      expect(codeOf(ref.getSnapshot().error)).toBe('PEER_RESTARTED')
    }
  })

  test('in a session of another peer goes on with that session, and its refs over there with it', async () => {
    const network = createMemoryNetwork()
    const policy = { peers: { here: ['connect' as const, 'spawn:order' as const] } }
    await using far = new Lives({ name: 'far', network, machines: [order], policy, stopGrace: 0 })
    await using here = await createPeer({ name: 'here', transport: memory({ network, name: 'here' }), ...known })
    await far.start()
    const sessions = [await here.connect('far', { name: 'work' }), await here.home('far')]
    const refs = await Promise.all(sessions.map((session) => session.spawn(order)))
    let told = 0
    for (let life = 0; life < 4; life++) {
      for (const ref of refs) for (const name of items(5, told)) await ref.tell({ type: 'item', name })
      told += 5
      if (life < 3) await far.again()
    }
    for (const ref of refs) {
      expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: told })
      await until('what it shows', () => ref.getSnapshot().context.items.length === told)
      expect(ref.getSnapshot().context.items).toEqual(items(told))
    }
  })

  test('told while its peer goes down in order, it is told once, in that life or the next', async () => {
    const network = createMemoryNetwork()
    const policy = { peers: { here: ['connect' as const, 'spawn:order' as const, 'run:script' as const] } }
    await using far = new Lives({ name: 'far', network, machines: [order], policy, stopGrace: 150 })
    await using here = await createPeer({ name: 'here', transport: memory({ network, name: 'here' }), ...known })
    await far.start()
    const home = await here.home('far')
    const ref = await home.spawn(order)
    using monitor = here.monitor(ref.address)
    const downs: unknown[] = []
    monitor.down.then(
      (down) => downs.push(down),
      () => undefined,
    )
    const states: string[] = []
    let n = 0
    const told: string[] = []
    for (let life = 0; life < 2; life++) {
      await ref.tell({ type: 'item', name: `before ${life}` })
      told.push(`before ${life}`)
      // So long it takes to go down.
      const busy = await home.start(() => {
        for (;;);
      })
      await until('that it is busy', () => busy.state === 'Running')
      let closed = false
      const closing = far.close().then(() => (closed = true))
      const sent: Promise<void>[] = []
      const asked: Promise<{ outcome: string }>[] = []
      const late: Ref<Order>[] = []
      while (!closed) {
        for (const it of [ref, (await here.ref(ref.address)) as unknown as Ref<Order>]) {
          const name = `${n++}`
          told.push(name)
          const tell = it.tell({ type: 'item', name })
          tell.catch(() => undefined)
          sent.push(tell)
          late.push(it)
        }
        asked.push(ref.ask({ type: 'total' }))
        await delay(1)
      }
      await closing
      await far.start()
      await within('all of it', Promise.all(sent))
      for (const { outcome } of await Promise.all(asked)) expect(['ok', 'unknown']).toContain(outcome)
      await until('that all see it', () => late.every(({ state }) => state !== 'connecting' && state !== 'stale'))
      states.push(...late.map(({ state }) => state))
      expect(sent.length).toBeGreaterThan(10)
      for (const it of late) if (it !== ref) it[Symbol.dispose]()
    }
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: told.length })
    await until('what it shows', () => ref.getSnapshot().context.items.length === told.length)
    expect(ref.getSnapshot().context.items.toSorted()).toEqual(told.toSorted())
    expect([new Set(states), downs]).toEqual([new Set(['live']), []])
  })

  test('whoever listens to it hears it in its next life too, however the last one ended', async () => {
    const network = createMemoryNetwork()
    const policy = { peers: { here: ['connect' as const, 'spawn:order' as const] } }
    await using far = new Lives({ name: 'far', network, machines: [order], policy, stopGrace: 0 })
    await using here = await createPeer({ name: 'here', transport: memory({ network, name: 'here' }), ...known })
    await far.start()
    const ref = await (await here.home('far')).spawn(order)
    const heard: string[] = []
    ref.on('added', ({ name }) => void heard.push(name))
    for (const how of ['kill', 'close', 'close', 'kill']) {
      const name = `${how} ${heard.length}`
      await ref.tell({ type: 'item', name })
      await until(`that it hears ${name}`, () => heard.at(-1) === name)
      if (how === 'kill') far.kill()
      else await far.close()
      await far.start()
    }
    await ref.tell({ type: 'item', name: 'last' })
    await until('that it hears the last', () => heard.at(-1) === 'last')
    expect(heard).toEqual(['kill 0', 'close 1', 'close 2', 'kill 3', 'last'])
  })

  test('is called in its next lives what it was spawned as, and not while it stands still', async () => {
    await using peers = lives()
    const ref = await (await peers.start()).spawn(order, { register: 'the-order' })
    await ref.tell({ type: 'item', name: 'one' })
    const found = async (): Promise<string | undefined> => {
      const follows = (await peers.peer.whereis('the-order')) as unknown as Ref<Order>
      await follows.ready()
      return follows.address.path
    }
    await again(peers, ref)
    expect(await found()).toBe(ref.address.path)
    await peers.again({ machines: [] })
    await until('it stands still', async () => (await peers.peer.jobs())[0]!.state === 'Suspended')
    expect(
      codeOf(await refusal('a name', () => peers.peer.whereis('the-order').then((it) => it.ready()))),
    ).toBeDefined()
    await again(peers, ref)
    expect(await found()).toBe(ref.address.path)
  })

  test('is followed by its name through a life in which it stands still', async () => {
    const network = createMemoryNetwork()
    const policy = { peers: { here: ['connect' as const, 'jobs:read' as const, 'jobs:send' as const] } }
    await using far = new Lives({ name: 'far', network, machines: [order], policy, stopGrace: 0 })
    await using here = await createPeer({ name: 'here', transport: memory({ network, name: 'here' }), ...known })
    await (await far.start()).spawn(order, { register: 'the-order' })
    const follows = (await here.whereis('the-order', { on: 'far' })) as unknown as Ref<Order>
    const heard: string[] = []
    follows.on('added', ({ name }: { name: string }) => heard.push(name))
    await until('it', () => follows.state === 'live')
    await follows.tell({ type: 'item', name: 'one' })
    for (let life = 0; life < 2; life++) {
      await far.again({ machines: [] })
      await until('that it stands still', () => codeOf(follows.reason) === 'NAME_NOT_FOUND')
      expect(follows.state).toBe('stale')
      const told = follows.tell({ type: 'item', name: `kept ${life}` })
      await far.again()
      await until('it', () => follows.state === 'live')
      await within('what was told', told)
    }
    expect(await follows.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 3 })
    await until('the last', () => heard.includes('kept 1'))
  })

  test('supervised on its own peer, it ends with its supervisor, however that ends', async () => {
    for (const how of ['kill', 'close'] as const) {
      await using peers = lives()
      for (let life = 0; life < 3; life++) {
        const peer = await peers.start()
        const at = async (): Promise<number> =>
          (await peer.jobs()).filter(({ state }) => state === 'Running' || state === 'Suspended').length
        expect([how, life, await at()]).toEqual([how, life, 0])
        const supervisor = await peer.supervise({ children: [{ id: 'a', machine: order }] })
        await supervisor.ready()
        expect(await at()).toBe(1)
        if (how === 'kill') peers.kill()
        else await peers.close()
      }
      expect([peers.disk.rows('actor'), journals(peers)]).toEqual([[], []])
    }
  })

  test('that fails and is to be tried again begins anew, as another actor', async () => {
    await using peers = lives()
    const peer = await peers.start()
    const session = (await peer.sessions())[0]
    expect(session).toBeUndefined()
    const ref = await peer.spawn(order)
    await ref.tell({ type: 'item', name: 'one' })
    peers.kill()
    // Written by hand: nothing asks for it when a machine is spawned.
    const [{ key, value }] = peers.disk.rows('job') as [{ key: string; value: { open: { spec: object } } }]
    const spec = { ...value.open.spec, restart: { times: 3, within: 60_000 } }
    peers.disk.place('job', key, { ...value, open: { ...value.open, spec } })
    const next = await again(peers, ref)
    expect(await next.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 1 })
    next.send({ type: 'break' })
    await until(
      'another one',
      () => (peers.disk.rows('actor')[0]?.value as { epoch?: number } | undefined)?.epoch === 2,
    )
    await until('that the first is gone', () => next.state === 'gone')
    const second = (await peers.peer.ref({ ...ref.address, epoch: 2 })) as unknown as Ref<Order>
    expect(await second.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 0 })
    await second.tell({ type: 'item', name: 'two' })
    const third = await again(peers, second)
    expect(await third.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 1 })
    expect(third.getSnapshot().context.items).toEqual(['two'])
  })
})

describe('a durable machine that ends', () => {
  test('leaves nothing but its job', async () => {
    await using peers = lives()
    const peer = await peers.start()
    for (const how of ['done', 'break', 'stop', 'remove'] as const) {
      const ref = await peer.spawn(order)
      const job = (await peer.jobs({ newest: 1 }))[0]!
      await ref.tell({ type: 'item', name: how })
      expect(peers.disk.rows('actor').length).toBe(1)
      if (how === 'stop') ref.stop()
      else if (how === 'remove') await job.remove({ force: true })
      else ref.send({ type: how })
      await within('its end', job.finished)
      await empty(peers)
    }
    const jobs = await peer.jobs()
    expect(jobs.map(({ state, reason }) => [state, reason?.message])).toEqual([
      ['Completed', undefined],
      ['Failed', 'broken as told'],
      ['Stopped', undefined],
    ])
  })

  test(
    'killed at any write of its last moments, it ends once, and says its output once',
    { timeout: 60_000 },
    async () => {
      for (const last of ['done', 'break'] as const) {
        let writes = 0
        for (let kill = 1; kill <= Math.max(writes, 8); kill++) {
          await using peers = lives()
          const ref = await (await peers.start()).spawn(order)
          for (const name of items(5)) await ref.tell({ type: 'item', name })
          await said(peers, 5)
          // From here on its disk lives for so many writes.
          const peer = await peers.again()
          await (await peer.ref(ref.address)).ready()
          await peers.close()
          const dying = await peers.start({ writes: kill })
          const it = (await dying.ref(ref.address)) as unknown as Ref<Order>
          it.send({ type: last })
          const job = (await dying.jobs())[0]
          await Promise.race([peers.disk.killed, job?.finished])
          writes = Math.max(writes, peers.disk.writes + 1)
          const after = await peers.again()
          const same = (await after.jobs())[0]!
          if (same.state === 'Running') {
            // It was not taken: it is asked again by whoever sent it.
            const ref2 = (await after.ref(ref.address)) as unknown as Ref<Order>
            await ref2.ready().catch(() => undefined) // it stands still, see below
            if (ref2.state === 'live') {
              expect(ref2.getSnapshot().context.items).toEqual(items(5))
              ref2.send({ type: last })
            }
          }
          // What throws may do so because it is another one now: it stands still then, and can be stopped.
          await until('its end', () => same.state !== 'Running')
          if (same.state === 'Suspended') {
            expect(last).toBe('break')
            await same.stop()
          }
          const all = await outputs(same.receive({ from: 0 }))
          expect(all.filter((one) => 'items' in (one as object)).length, `killed at write ${kill}`).toBe(
            last === 'done' ? 1 : 0,
          )
          expect(all.length).toBe(last === 'done' ? 6 : 5)
          await empty(peers)
        }
      }
    },
  )
})

describe('a durable machine of which its peer says something too', () => {
  /** Kills it at each of the writes of its last moments; then it is over. */
  async function ended(last: 'done' | 'break', check: (records: readonly JobRecord[], kill: number) => void) {
    let writes = 0
    for (let kill = 1; kill <= Math.max(writes, 8); kill++) {
      await using peers = lives()
      const peer = await peers.start()
      const first = await peer.spawn(order, { register: 'mine' })
      const other = await peer.spawn(order)
      await peer.register('mine', other, { replace: true })
      other.send({ type: 'done' })
      await until('its end', () => other.state === 'gone')
      // Two have that name by now; only one of them gets it again.
      const ref = await peer.spawn(order, { register: 'mine', name: 'second' })
      expect(ref.address.path).not.toBe(first.address.path)
      for (const name of items(3)) await ref.tell({ type: 'item', name })
      await peers.again()
      await (await peers.peer.ref(ref.address)).ready()
      await peers.close()
      const dying = await peers.start({ writes: kill })
      const it = (await dying.ref(ref.address)) as unknown as Ref<Order>
      it.send({ type: last })
      const job = (await dying.jobs()).find((one) => one.name === 'second')
      await Promise.race([peers.disk.killed, job?.finished])
      writes = Math.max(writes, peers.disk.writes + 1)
      const after = await peers.again()
      const same = (await after.jobs()).find((one) => one.name === 'second')!
      const again = (await after.ref(ref.address)) as unknown as Ref<Order>
      await again.ready().catch(() => undefined)
      if (same.state === 'Running' && again.state === 'live') again.send({ type: last })
      await until('its end', () => same.state !== 'Running')
      if (same.state === 'Suspended') await same.stop()
      check(await all(same.receive({ from: 0 })), kill)
    }
  }

  test('says its output once, whenever it was killed', { timeout: 60_000 }, async () => {
    let warned = 0
    await ended('done', (records, kill) => {
      const said = records.filter((one) => one.kind === 'output' && 'items' in (one.value as object))
      expect(said.length, `killed at write ${kill}`).toBe(1)
      expect(said[0]).toBe(records.at(-1))
      warned += records.filter(({ kind }) => kind === 'warning').length
    })
    expect(warned).toBeGreaterThan(0)
  })

  test('says why it has failed once', { timeout: 60_000 }, async () => {
    await ended('break', (records, kill) => {
      expect(records.filter(({ kind }) => kind === 'error').length, `killed at write ${kill}`).toBeLessThanOrEqual(1)
    })
  })
})

describe('a durable machine that says more than is kept of it', () => {
  const folder = storeFolder()
  const text = 'x'.repeat(60_000)
  const talker = defineMachine({
    name: 'talker',
    machine: setup({
      types: {
        context: {} as { n: number },
        events: {} as { type: 'say' } | { type: 'done' },
        emitted: {} as { type: 'said'; text: string },
        output: {} as { n: number },
      },
    }).createMachine({
      context: { n: 0 },
      initial: 'on',
      output: ({ context }) => context,
      states: {
        on: {
          on: {
            say: { actions: [assign({ n: ({ context }) => context.n + 1 }), emit({ type: 'said' as const, text })] },
            done: 'over',
          },
        },
        over: { type: 'final' },
      },
    }),
    events: { say: true, done: true },
    durable: { version: 1, every: 16 },
  })

  test('says it on through its lives, under numbers of its own, and its output once', { timeout: 60_000 }, async () => {
    let ref: Ref<typeof talker> | undefined
    let n = 0
    for (let life = 0; life < 4; life++) {
      const store = folder.open()
      const peer = await createPeer({ machines: [talker], store, stopGrace: 0 })
      ref = (ref ? await peer.ref(ref.address) : await peer.spawn(talker)) as unknown as Ref<typeof talker>
      for (let k = 0; k < 60; k++, n++) await ref.tell({ type: 'say' })
      const job = (await peer.jobs())[0]!
      if (life === 3) {
        ref.send({ type: 'done' })
        expect((await within('its end', job.finished)).state).toBe('Completed')
      }
      const records = await all(job.receive({ from: 0, keep: true }))
      const first = records[0]!
      if (life > 0) expect(first).toMatchObject({ kind: 'gap', dropped: first.seq + 1 })
      expect(records.map(({ seq }) => seq)).toEqual(records.map((_, index) => first.seq + index))
      expect(records.length * text.length).toBeLessThan(ACTOR_LOG_BYTES * 1.1)
      if (life === 3) {
        const values = records.flatMap((one) => (one.kind === 'output' ? [one.value as { type?: string }] : []))
        expect(values.filter(({ type }) => type === undefined)).toEqual([{ n }])
        await peer.close()
      } else {
        await store.terminate()
        await peer.close()
      }
    }
  })
})

describe('a durable machine whose job cannot be read', () => {
  const folder = storeFolder()

  test('is left as it is: whoever mends the file has it again', async () => {
    let address: ActorAddress | undefined
    for (const damage of [1, -1, 0]) {
      await using peer = await createPeer({ machines: [order], store: folder.open(), stopGrace: 0 })
      expect((await peer.jobs()).length).toBe(damage === -1 ? 0 : address ? 1 : 0)
      if (damage !== -1) {
        const ref = (address ? await peer.ref(address) : await peer.spawn(order)) as unknown as Ref<Order>
        for (const name of items(5)) await ref.tell({ type: 'item', name })
        expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: address ? 10 : 5 })
        address = ref.address
      }
      await peer.close()
      edit(folder.path, (db) => db.prepare("UPDATE kept SET crc = crc + ? WHERE kind = 'job'").run(damage))
    }
    expect(folder.troubles()).toContainEqual(expect.stringMatching(/^STORE_DAMAGED .* row job .* is damaged$/))
  })
})

describe('a durable machine that cannot go on', () => {
  const why = async (ref: Ref<Order>): Promise<string | undefined> =>
    codeOf(await refusal('a tell', () => ref.tell({ type: 'total' })))

  async function standsStill(
    peers: Lives,
    ref: Ref<Order>,
    machines: readonly MachineDefinition[],
    reason: RegExp,
  ): Promise<void> {
    const before = [peers.disk.rows('actor'), journals(peers)]
    const peer = await peers.again({ machines })
    const job = (await peer.jobs())[0]!
    await until('it stands still', () => job.state === 'Suspended')
    const it = (await peer.ref(ref.address)) as unknown as Ref<Order>
    expect(await why(it)).toBe('MACHINE_QUARANTINED')
    const records = []
    for await (const record of job.receive({ from: 0 })) records.push(record)
    const warning = records.findLast(({ kind }) => kind === 'warning') as { value: string } | undefined
    expect(warning?.value).toMatch(reason)
    expect(codeOf(await refusal('going on', () => job.resume()))).toBe('MACHINE_QUARANTINED')
    expect(await it.ask({ type: 'total' })).toMatchObject({ outcome: 'error', error: { code: 'MACHINE_QUARANTINED' } })
    expect([peers.disk.rows('actor'), journals(peers)]).toEqual(before)
  }

  test('stands still until what is offered can go on with it', async () => {
    await using peers = lives()
    let ref: Ref<Order> = await (await peers.start()).spawn(order)
    for (const name of items(6)) await ref.tell({ type: 'item', name })
    await standsStill(peers, ref, [], /no durable machine 'order' is offered/)
    await standsStill(peers, ref, [{ ...order, durable: undefined } as MachineDefinition], /no durable machine/)
    await standsStill(peers, ref, [orderOf(2)], /written by version 1 .* version 2 .* no `migrate`/)
    const failing = orderOf(2, {
      migrate: () => {
        throw new Error('no way')
      },
    })
    await standsStill(peers, ref, [failing], /`migrate` failed: no way/)
    await standsStill(peers, ref, [orderOf(2, { migrate: () => undefined })], /gave no snapshot/)
    await standsStill(
      peers,
      ref,
      [orderOf(2, { migrate: (was) => ({ ...(was as object), value: 'nowhere' }) })],
      /nowhere/,
    )
    ref = await again(peers, ref)
    expect(await ref.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 6 })
    expect(ref.getSnapshot().context.items).toEqual(items(6))
  })

  test('goes on as another version, which is told what the last one had', async () => {
    await using peers = lives()
    let ref: Ref<Order> = await (await peers.start()).spawn(order)
    for (const name of items(6)) await ref.tell({ type: 'item', name })
    await written(peers, ({ handled }) => handled >= 4)
    peers.kill()
    const { handled } = peers.disk.rows('actor')[0]!.value as Row
    const next = orderOf(3, {
      migrate(was, from) {
        const { context, ...rest } = was as { context: { items: string[] } }
        return { ...rest, context: { ...context, items: context.items.map((name) => `${from} ${name}`) } }
      },
    })
    ref = await again(peers, ref, [next])
    await ref.ready()
    const old = items(handled).map((name) => `1 ${name}`)
    expect(ref.getSnapshot().context.items).toEqual([...old, ...items(6 - handled, handled)])
    await written(peers, ({ version }) => version === 3)
    ref = await again(peers, ref, [orderOf(3)])
    await ref.ready()
    expect(ref.getSnapshot().context.items).toEqual([...old, ...items(6 - handled, handled)])
  })

  test('rows of a later errand, and journals that lack something, are left alone', async () => {
    await using peers = lives()
    const ref = await (await peers.start()).spawn(order)
    for (const name of items(6)) await ref.tell({ type: 'item', name })
    await written(peers, ({ handled }) => handled >= 4)
    // What it makes needless is forgotten.
    for (const name of items(6, 6)) await ref.tell({ type: 'item', name })
    await written(peers, ({ handled }) => handled >= 8)
    peers.kill()
    const [{ key, value }] = peers.disk.rows('actor') as [{ key: string; value: object }]
    peers.disk.place('actor', key, { ...value, v: 2 })
    await standsStill(peers, ref, [order], /its form is 2/)
    peers.disk.place('actor', key, { ...value, next: 0 })
    await standsStill(peers, ref, [order], /entries 0 to \d+ of its journal are missing/)
    peers.disk.place('actor', key, value)
    const next = await again(peers, ref)
    expect(await next.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 12 })
  })

  test('where its store takes nothing any more stands still, and is not lost', async () => {
    await using peers = lives()
    const ref = await (await peers.start()).spawn(order)
    for (const name of items(6)) await ref.tell({ type: 'item', name })
    peers.kill()
    let refuses = false
    const store = peers.disk.open()
    const failing: typeof store = {
      ...store,
      async log(name, isNew) {
        const log = await store.log(name, isNew)
        return new Proxy(log, {
          get(target, key) {
            const value: unknown = Reflect.get(target, key)
            if (key === 'append' && refuses && name.endsWith('journal'))
              return async () => {
                throw new StoreError('STORE_FULL', 'there is no room')
              }
            return typeof value === 'function' ? value.bind(target) : value
          },
        })
      },
    }
    await using peer = await createPeer({ name: 'here', machines: [order], store: failing, stopGrace: 0 })
    const it = (await peer.ref(ref.address)) as unknown as Ref<Order>
    await it.tell({ type: 'item', name: 'item 6' })
    const job = (await peer.jobs())[0]!
    await job.suspend()
    const asked = it.ask({ type: 'item', name: 'item 7' })
    await it.tell({ type: 'item', name: 'item 8' })
    refuses = true
    expect(codeOf(await refusal('a tell', () => it.tell({ type: 'item', name: 'lost' })))).toBe('STORE_FULL')
    // It lies in its journal, and is done whenever it goes on.
    expect(await within('what came of it', asked)).toMatchObject({ outcome: 'unknown' })
    expect(await why((await peer.ref(ref.address)) as unknown as Ref<Order>)).toBe('MACHINE_QUARANTINED')
    await peer.close()
    const next = await again(peers, ref)
    expect(await next.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 9 })
    expect(next.getSnapshot().context.items).toEqual(items(9))
  })

  test('can be stopped, and leaves nothing', async () => {
    await using peers = lives()
    const ref = await (await peers.start()).spawn(order)
    await ref.tell({ type: 'item', name: 'one' })
    await standsStill(peers, ref, [], /no durable/)
    const job = (await peers.peer.jobs())[0]!
    await job.stop()
    expect(job.state).toBe('Stopped')
    await empty(peers)
  })
})
