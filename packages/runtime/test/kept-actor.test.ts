// What a durable machine is made of, one by one: what it may consist of, its timers, its journal, what becomes of what it is
// sent, and what it cannot do.
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  assign,
  createMachine,
  fromCallback,
  fromObservable,
  fromPromise,
  fromTransition,
  raise,
  sendTo,
  setup,
  spawnChild,
  type AnyActorRef,
  type AnyStateMachine,
} from 'xstate'
import { chunksOf, entriesOf, type Entry } from '../src/actor-entry.ts'
import { ActorJournal } from '../src/actor-journal.ts'
import { senderOf, SENDERS_MOST, Senders } from '../src/actor-senders.ts'
import { ActorAlarms, TimerTable } from '../src/actor-timers.ts'
import { checkDurable, isPromiseLogic } from '../src/durable-check.ts'
import { defineMachine } from '../src/machine-definition.ts'
import { StoreError } from '../src/errors.ts'
import { atLeastSince, thisMoment } from '../src/moment.ts'
import { BEGUN_MOST } from '../src/kept-actor.ts'
import { KEY, KeptLife, kindOf } from './support/kept-life.ts'
import { keptDisk } from './support/kept-store.ts'
import { storeFolder } from './support/store-files.ts'

const X = { type: 'x' } as never
const wait = fromPromise(() => new Promise<never>(() => undefined))

describe('a machine that cannot be durable is refused when it is defined', () => {
  const child = createMachine({})
  const cases: readonly (readonly [what: string, machine: unknown, words: RegExp])[] = [
    ['a machine in it', setup({ actors: { child } }).createMachine({}), /its actor 'child' is no promise/],
    [
      'a callback',
      setup({ actors: { child: fromCallback(() => undefined) } }).createMachine({}),
      /'child' is no promise/,
    ],
    [
      'a reducer',
      setup({ actors: { child: fromTransition((n: number) => n, 0) } }).createMachine({}),
      /'child' is no promise/,
    ],
    [
      'an observable',
      setup({
        actors: { child: fromObservable(() => ({ subscribe: () => ({ unsubscribe() {} }) }) as never) },
      }).createMachine({}),
      /'child' is no promise/,
    ],
    [
      'something without a name',
      createMachine({ invoke: { src: wait } }),
      /what state '\(machine\)' invokes has no name/,
    ],
    [
      'something without a name, deep in it',
      createMachine({ initial: 'a', states: { a: { initial: 'b', states: { b: { invoke: [{ src: wait }] } } } } }),
      /'\(machine\)\.a\.b' invokes has no name/,
    ],
    [
      'something that is not there',
      createMachine({ invoke: { src: 'nothing' } }),
      /'nothing', as '0\.\(machine\)'\) is not implemented/,
    ],
    [
      'onSnapshot',
      setup({ actors: { wait } }).createMachine({ invoke: { src: 'wait', onSnapshot: {} } }),
      /has an onSnapshot/,
    ],
    [
      'a spawned machine',
      createMachine({ entry: spawnChild(child, { id: 'x' }) }),
      /an action of state .* spawns something/,
    ],
    [
      'a spawned promise without an id',
      setup({ actors: { wait } }).createMachine({ on: { go: { actions: spawnChild('wait') } } }),
      /spawns 'wait' without an `id`/,
    ],
    [
      'the same in a named action',
      setup({ actors: { wait }, actions: { go: spawnChild('wait' as never) as never } }).createMachine({}),
      /its action 'go' spawns 'wait' without/,
    ],
    [
      'a delayed send to another',
      createMachine({ always: { guard: () => false, actions: sendTo('other' as never, X, { delay: 5 }) } }),
      /sends to another with a delay/,
    ],
  ]
  test.each(cases)('%s', (_, machine, words) => {
    expect(() => checkDurable('it', machine as AnyStateMachine)).toThrow(words)
    const define = (durable?: true): unknown =>
      defineMachine({
        name: 'it',
        machine: machine as AnyStateMachine,
        events: {},
        ...(durable && { durable }),
      } as never)
    expect(() => define(true)).toThrow(/machine 'it' cannot be durable/)
    // It may be spawned all the same, and ends with its peer.
    define()
  })

  test('promises by name, timers and what is its own are not', () => {
    const machine = setup({ actors: { wait } }).createMachine({
      invoke: { src: 'wait', id: 'w' },
      entry: [
        spawnChild('wait', { id: 'x' }),
        raise({ type: 'x' }, { delay: 5 }),
        sendTo(({ self }) => self, { type: 'x' }, { delay: 5 }),
      ],
      initial: 'a',
      states: { a: { after: { 5: 'b' } }, b: {} },
    })
    checkDurable('it', machine as unknown as AnyStateMachine)
    expect([wait, child, fromCallback(() => undefined)].map((logic) => isPromiseLogic(logic as never))).toEqual([
      true,
      false,
      false,
    ])
  })
})

describe('what only shows when it runs ends it, before it could be lost', () => {
  const cases: readonly (readonly [what: string, machine: AnyStateMachine, words: RegExp])[] = [
    [
      'spawned without a name',
      createMachine({ on: { go: { actions: assign(({ spawn }) => void spawn(wait, { id: 'x' })) } } }) as never,
      /it spawned something that has no name/,
    ],
    [
      'spawned without an id',
      setup({ actors: { wait } }).createMachine({
        on: { go: { actions: assign(({ spawn }) => ({ x: void spawn('wait') })) } },
      }) as never,
      /it spawned 'wait' without an `id`/,
    ],
    [
      'a delayed send to another',
      setup({ actors: { wait } }).createMachine({
        invoke: { src: 'wait', id: 'w' },
        on: { go: { actions: sendTo(() => 'w' as never, X, { delay: 5 }) } },
      }) as never,
      /it sent to another with a delay/,
    ],
    [
      'what a child sends past the journal',
      setup({
        actors: {
          pushes: fromPromise(async ({ self }) =>
            (self as unknown as { _parent: AnyActorRef })._parent.send({ type: 'x' }),
          ),
        },
      }).createMachine({
        on: { go: { actions: assign(({ spawn }) => void spawn('pushes', { id: 'x', syncSnapshot: true })) } },
      }) as never,
      /'xstate\.snapshot\.x' reached it past its journal/,
    ],
  ]
  test.each(cases)('%s', async (_, machine, words) => {
    const life = await KeptLife.begin(kindOf(machine), keptDisk().open())
    await life.send({ type: 'go' })
    expect(((life.reason ?? life.snapshot.error) as Error).message).toMatch(words)
  })

  test('what cannot be written down', async () => {
    const holds = createMachine({
      context: { act: undefined as unknown },
      on: { go: { actions: assign({ act: () => () => 1 }) } },
    }) as unknown as AnyStateMachine
    const life = await KeptLife.begin(kindOf(holds, 1), keptDisk().open())
    await life.send({ type: 'go' })
    await vi.waitFor(() => expect(life.reason?.message).toMatch(/context\.act.*function/))
    await expect(async () => life.send({ type: 'go' })).rejects.toMatchObject({ code: 'PEER_CLOSED' })
  })
})

/** Counts, by `act` in a world that outlives it. */
function counter(acted: string[]): AnyStateMachine {
  return createMachine({
    context: { n: 0 },
    on: {
      add: {
        actions: [
          assign({ n: ({ context }) => context.n + 1 }),
          ({ event, context }) => void acted.push(`${(event as unknown as { v: number }).v} ${context.n}`),
        ],
      },
      self: { actions: ({ self }) => self.send({ type: 'add', v: -1 } as never) },
    },
  }) as unknown as AnyStateMachine
}
const add = (v: number): { type: string; v: number } => ({ type: 'add', v })

describe('what it is sent', () => {
  test('while it stands still is handled by the next life, with what it does about it', async () => {
    const disk = keptDisk()
    const acted: string[] = []
    const kind = kindOf(counter(acted))
    const life = await KeptLife.begin(kind, disk.open())
    await life.send(add(1), 'me', 1)
    life.ready = false
    for (let n = 2; n <= 6; n++) await life.send(add(n), 'me', n)
    expect(acted).toEqual(['1 1'])
    const next = (await KeptLife.again(kind, disk.open())) as KeptLife
    await next.idle()
    expect(acted).toEqual(['1 1', '2 2', '3 3', '4 4', '5 5', '6 6'])
    // And not again.
    const third = (await KeptLife.again(kind, disk.open())) as KeptLife
    expect([third.snapshot.context, acted.length]).toEqual([{ n: 6 }, 6])
    await third.send(add(6), 'me', 6)
    expect(third.snapshot.context.n).toBe(6)
    expect(next.kept.handled).toBe(6)
  })

  test('is begun a little at a time: a crash costs the actions of so many at most', async () => {
    const disk = keptDisk()
    const acted: string[] = []
    const kind = kindOf(counter(acted))
    const life = await KeptLife.begin(kind, disk.open())
    life.ready = false
    const all = 2 * BEGUN_MOST + 50
    for (let n = 1; n <= all; n++) await life.send(add(n), 'me', n)
    // It is ready, is killed, and none of what it had begun was done.
    life.ready = true
    expect(life.kept.mayHandle(life.inbox[0]![0])).toBe(false)
    await life.idle()
    const done = acted.splice(0).length
    expect(done).toBe(all) // this life handled them all, a part after the other
    const parts = (await journalOf(disk)).filter(([, { kind: what }]) => what === 'begun').length
    expect(parts).toBeGreaterThanOrEqual(3)
    disk.kill()
    // As if it had been killed behind the first of those parts.
    const cut = keptDisk()
    const first = cut.open()
    const copy = await ActorJournal.open(first, first.rows!, KEY, { isNew: true })
    const entries = await journalOf(disk)
    const begun = entries.findIndex(([, { kind: what }]) => what === 'begun')
    await copy.append(entries.slice(0, begun + 1).map(([, entry]) => entry)).accepted
    cut.place('actor', KEY, disk.rows('actor')[0]!.value)
    const next = (await KeptLife.again(kind, cut.open())) as KeptLife
    await next.idle()
    expect(next.snapshot.context.n).toBe(all)
    expect(acted.length).toBe(all - BEGUN_MOST)
  })

  test('by itself goes the same way', async () => {
    const disk = keptDisk()
    const acted: string[] = []
    const kind = kindOf(counter(acted))
    const life = await KeptLife.begin(kind, disk.open())
    await life.send({ type: 'self' })
    await vi.waitFor(() => expect(acted).toEqual(['-1 1']))
    const next = (await KeptLife.again(kind, disk.open())) as KeptLife
    expect([next.snapshot.context, acted.length, next.kept.handled]).toEqual([{ n: 1 }, 1, 2])
  })

  test('is known again by its number, of so many senders', async () => {
    const disk = keptDisk()
    const kind = kindOf(counter([]), 8)
    const life = await KeptLife.begin(kind, disk.open())
    for (let n = 0; n < SENDERS_MOST + 10; n++) await life.send(add(n), senderOf(`peer ${n}`, 'a'), 7)
    const next = (await KeptLife.again(kind, disk.open())) as KeptLife
    expect(next.kept.senders.all().length).toBe(SENDERS_MOST)
    expect(next.kept.senders.all()).toEqual(life.kept.senders.all())
    expect(next.kept.senders.isNew(senderOf('peer 9', 'a'), 7)).toBe(true)
    expect(next.kept.senders.isNew(senderOf('peer 10', 'a'), 7)).toBe(false)
    expect(next.kept.senders.isNew(senderOf('peer 10', 'a'), 8)).toBe(true)
  })

  test('who was silent for longest is forgotten first', () => {
    const senders = new Senders()
    for (let n = 0; n < SENDERS_MOST; n++) senders.took(senderOf(`${n}`, 'a'), 1)
    senders.took(senderOf('0', 'a'), 2)
    senders.took('new', 1)
    expect([
      senders.isNew(senderOf('0', 'a'), 2),
      senders.isNew(senderOf('1', 'a'), 1),
      senders.isNew(senderOf('2', 'a'), 1),
    ]).toEqual([false, true, false])
  })

  test('is refused where nothing can be written, and was not handled', async () => {
    const disk = keptDisk()
    const store = disk.open()
    const acted: string[] = []
    let refuses = false
    const failing: typeof store = {
      ...store,
      async log(name, isNew) {
        const log = await store.log(name, isNew)
        return new Proxy(log, {
          get(target, key) {
            const value: unknown = Reflect.get(target, key)
            if (key === 'append' && refuses)
              return async () => {
                throw new StoreError('STORE_FULL', 'there is no room')
              }
            return typeof value === 'function' ? value.bind(target) : value
          },
        })
      },
    }
    const life = await KeptLife.begin(kindOf(counter(acted)), failing)
    await life.send(add(1))
    refuses = true
    await expect(life.send(add(2))).rejects.toMatchObject({ code: 'STORE_FULL' })
    expect([acted, life.reason?.message]).toEqual([['1 1'], 'there is no room'])
  })
})

describe('whose store has died', () => {
  test('it is told once, when a timer or what it runs comes to it', async () => {
    const calls: (() => void)[] = []
    const machine = setup({
      actors: { call: fromPromise(() => new Promise<void>((resolve) => calls.push(resolve))) },
      delays: { soon: 5 },
    }).createMachine({
      initial: 'a',
      invoke: { src: 'call' },
      states: { a: { after: { soon: 'b' } }, b: {} },
    }) as unknown as AnyStateMachine
    for (const what of ['timer', 'promise'] as const) {
      const store = keptDisk().open()
      let died = false
      const dying: typeof store = {
        ...store,
        async log(name, isNew) {
          const log = await store.log(name, isNew)
          return new Proxy(log, {
            get(target, key) {
              const value: unknown = Reflect.get(target, key)
              if (key === 'append' && died)
                return () => {
                  throw new StoreError('STORE_FAILED', 'its worker has died')
                }
              return typeof value === 'function' ? value.bind(target) : value
            },
          })
        },
      }
      const life = await KeptLife.begin(kindOf(machine), dying)
      died = true
      if (what === 'promise') calls.at(-1)!()
      while (!life.reason) await life.changed()
      expect(life.reason.message).toBe('its worker has died')
    }
  })
})

async function journalOf(disk: ReturnType<typeof keptDisk>): Promise<(readonly [number, Entry])[]> {
  const store = disk.open()
  const journal = await ActorJournal.open(store, store.rows!, KEY)
  const read = await journal.read((disk.rows('actor')[0]!.value as { next: number }).next)
  if (typeof read === 'string') throw new Error(read)
  return read
}

describe('its journal', () => {
  test('is forgotten when it is in the row', async () => {
    const disk = keptDisk()
    const store = disk.open()
    const life = await KeptLife.begin(kindOf(counter([]), 10), store)
    const log = await store.log(`${KEY} journal`)
    for (let n = 1; n <= 500; n++) {
      await life.send(add(n), 'me', n)
      await new Promise((resolve) => setImmediate(resolve))
    }
    // What is behind the last row, and what came while that was written.
    expect(log.end - log.start).toBeLessThan(100)
    const next = (await KeptLife.again(kindOf(counter([]), 10), disk.open())) as KeptLife
    expect(next.snapshot.context.n).toBe(500)
  })

  test('is not read where something of it is not understood', () => {
    const entries: Entry[] = [
      { kind: 'event', at: 1, event: { type: 'x', when: new Date(5), big: 7n }, from: 'a', seq: 3 },
      { kind: 'event', at: 1, event: { type: 'x' }, from: undefined, seq: undefined },
      { kind: 'timer', at: 2, timer: 4, type: 't' },
      { kind: 'settled', at: 3, child: 'c', since: 1, failed: false, value: new Map([[1, 2]]) },
      { kind: 'settled', at: 3, child: 'c', since: 1, failed: true, value: new TypeError('no') },
      { kind: 'begun', upTo: 9 },
      { kind: 'timed', upTo: 9, by: thisMoment() },
      { kind: 'over', how: 'error', said: 3, error: new Error('over') },
    ]
    const [chunk] = chunksOf(entries)
    expect(entriesOf(chunk!)).toEqual(entries)
    expect(() => entriesOf({ ...chunk!, count: 3 })).toThrow(/8 entries where there should be 3/)
    const later = chunksOf([{ kind: 'begun', upTo: -1 }])[0]!
    expect(() => entriesOf(later)).toThrow(/a field of an entry \(begun\) does not fit/)
    const bytes = later.bytes.slice()
    bytes[1] = 17
    expect(() => entriesOf({ ...later, bytes })).toThrow(/an entry of kind 17/)
  })

  test('large entries are chunks of their own, and read again', async () => {
    const disk = keptDisk()
    const store = disk.open()
    const journal = await ActorJournal.open(store, store.rows!, KEY, { isNew: true })
    const events = Array.from({ length: 9 }, (_, n) => ({ type: 'x', text: `${n}`.repeat(30_000) }))
    const { entries, accepted } = journal.append(events.map((event) => ({ kind: 'event', at: 0, event })))
    await accepted
    expect(entries.map(([number]) => number)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
    const again = await ActorJournal.open(store, store.rows!, KEY)
    const read = (await again.read(2)) as readonly (readonly [number, { event?: unknown }])[]
    expect(read.map(([number, { event }]) => [number, event])).toEqual(
      events.slice(2).map((event, n) => [n + 2, event]),
    )
  })
})

describe('on disk', () => {
  const place = storeFolder()

  test('row and journal are there together, whatever had been written of them', async () => {
    const acted: string[] = []
    const kind = kindOf(counter(acted), 3)
    for (let kill = 0; kill < 6; kill++) {
      const store = place.open()
      const life = kill === 0 ? await KeptLife.begin(kind, store) : ((await KeptLife.again(kind, store)) as KeptLife)
      expect(life.snapshot.context.n).toBe(kill * 5)
      for (let n = 0; n < 5; n++) await life.send(add(n), 'me', kill * 5 + n + 1)
      await store.terminate()
    }
    expect(acted.length).toBe(30)
    expect(place.troubles()).toEqual([])
  })

  test('a journal in which something is damaged stands still, and is left as it is', async () => {
    const kind = kindOf(counter([]))
    const store = place.open()
    const life = await KeptLife.begin(kind, store)
    for (let n = 0; n < 5; n++) await life.send(add(n))
    await store[Symbol.asyncDispose]()
    const { edit } = await import('./support/store-files.ts')
    edit(place.path, (db) => db.exec('UPDATE piece SET crc = crc + 1 WHERE first = 4'))
    await using again = place.open()
    expect(await KeptLife.again(kind, again)).toMatch(/entries \d+ to \d+ of its journal are missing/)
  })
})

describe('its timers', () => {
  afterEach(() => void vi.useRealTimers())

  test('never ring early, whatever a timer of the system does', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const now = vi.spyOn(performance, 'now')
    const table = new TimerTable()
    const rang: number[] = []
    using alarms = new ActorAlarms(table, ({ timer }) => rang.push(timer))
    now.mockReturnValue(1000)
    alarms.coming(table.set({ type: 'x' }, 50, 0))
    alarms.clock.setTimeout(() => undefined, 50)
    now.mockReturnValue(1049.3) // the system's own goes off a moment early
    vi.advanceTimersByTime(50)
    expect(rang).toEqual([])
    now.mockReturnValue(1050)
    vi.advanceTimersByTime(1)
    expect(rang).toEqual([1])
    vi.advanceTimersByTime(1000)
    expect(rang).toEqual([1])
  })

  test('ring in the order in which they are due, however far off that is', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const table = new TimerTable()
    const rang: string[] = []
    using alarms = new ActorAlarms(table, ({ event }) => rang.push(event.type))
    const day = 86_400_000
    for (const [type, delay] of Object.entries({
      last: 40 * day,
      soon: 10,
      never: Infinity,
      second: 26 * day,
      now: -1,
    })) {
      alarms.coming(table.set({ type }, delay, 0))
      alarms.clock.setTimeout(() => undefined, delay)
    }
    vi.advanceTimersByTime(11)
    expect(rang).toEqual(['now', 'soon'])
    vi.advanceTimersByTime(30 * day)
    expect(rang).toEqual(['now', 'soon', 'second'])
    vi.advanceTimersByTime(30 * day)
    expect(rang).toEqual(['now', 'soon', 'second', 'last'])
    // Those that are handled are of nobody's interest any more.
    for (const { timer, event } of table.all()) if (event.type !== 'never') table.take(timer, event.type)
    expect(table.size).toBe(1)
  })

  test('of an earlier life have the rest of their time, by a clock that nobody sets', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const set = thisMoment()
    const hour = 3_600_000
    const one = (timer: number, moment: Partial<typeof set>, delay = hour) =>
      ({ timer, event: { type: `t${timer}` }, delay, set: { ...set, ...moment } }) as const
    const table = new TimerTable(
      [
        one(1, { up: set.up - 2 * hour }),
        one(2, {}),
        one(3, { wall: set.wall - 2 * hour }), // the clock was set forwards
        one(4, { wall: set.wall + 2 * hour, up: set.up - 2 * hour }), // and back
        one(5, { boot: 'another', wall: set.wall - 2 * hour }),
        one(6, { boot: 'another', wall: set.wall - hour / 2 }),
      ],
      6,
    )
    const rang: number[] = []
    using alarms = new ActorAlarms(table, ({ timer }) => rang.push(timer))
    alarms.resume()
    vi.advanceTimersByTime(1)
    expect(rang).toEqual([1, 4, 5])
    const due = new Map(alarms.dues().map(({ timer, due: when }) => [timer, when.getTime() - Date.now()]))
    expect(due.get(6)).toBeGreaterThan(hour / 2 - 60_000)
    expect(due.get(6)).toBeLessThan(hour / 2 + 60_000)
    expect(due.get(2)).toBeGreaterThan(hour - 60_000)
  })

  test('what has gone by for certain is never more than what has', () => {
    // An hour as far as can be told: it may have been a moment less.
    const set = thisMoment()
    expect(atLeastSince(set, { ...set, up: set.up + 3_600_000 })).toBeLessThan(3_600_000 - 10)
    expect(atLeastSince(set, set)).toBe(0)
    const then = thisMoment()
    const from = performance.now()
    for (let n = 0; n < 200_000; n++) {
      const gone = atLeastSince(then)
      if (gone > performance.now() - from) throw new Error(`${gone} ms in ${performance.now() - from}`)
    }
  })

  test('of one name are cancelled together', () => {
    const table = new TimerTable()
    for (const delay of [1, 2])
      table.hear({ type: 'xstate.raise', params: { event: { type: 'x' }, id: 'a', delay } }, 0)
    table.hear({ type: 'xstate.raise', params: { event: { type: 'x' }, id: 'b', delay: 3 } }, 0)
    table.hear({ type: 'xstate.raise', params: { event: { type: 'now' } } }, 0)
    table.hear({ type: 'xstate.cancel', params: { sendId: 'a' } }, 1)
    expect(table.all().map(({ id }) => id)).toEqual(['b'])
    expect(table.take(99, 'x')).toBeUndefined()
    expect(table.take(3, 'y')).toBeUndefined()
    // Of a chart that numbers them otherwise, it is known by its event.
    expect(table.takeLike(99, 'x')?.id).toBe('b')
    expect(table.takeLike(99, 'x')).toBeUndefined()
    // But for those that were there before.
    const found = new TimerTable([{ timer: 4, event: { type: 'x' }, delay: 1, set: thisMoment() }], 5)
    expect(found.takeLike(5, 'x')).toBeUndefined()
    expect(found.takeLike(6, 'x')).toBeUndefined()
    expect(found.takeLike(4, 'x')?.timer).toBe(4)
  })

  /** Counts how often it has rung: soon for the first time, and not within a test again. */
  const ringing = (first: number): AnyStateMachine =>
    setup({
      types: { context: {} as { rang: number; ms: number } },
      delays: { ms: ({ context }) => context.ms },
    }).createMachine({
      id: 'm',
      context: { rang: 0, ms: first },
      initial: 'a',
      on: { put: { target: '.a', reenter: true } },
      states: {
        a: {
          after: {
            ms: {
              target: 'a',
              reenter: true,
              actions: assign(({ context }) => ({ rang: context.rang + 1, ms: HOUR })),
            },
          },
        },
      },
    }) as unknown as AnyStateMachine
  const HOUR = 3_600_000

  test('put off in the very moment in which they ring, they ring no earlier for that', async () => {
    const disk = keptDisk()
    const kind = kindOf(ringing(HOUR))
    const life = await KeptLife.begin(kind, disk.open())
    const { timer, event } = life.kept.timers[0]!
    await life.send({ type: 'put' })
    // Written behind what has put it off: it was under way.
    await life.ring(timer, event)
    expect([life.snapshot.context.rang, life.kept.timers.map((one) => one.timer)]).toEqual([0, [timer + 1]])
    const next = (await KeptLife.again(kind, disk.open())) as KeptLife
    expect([next.snapshot.context.rang, next.kept.timers.map((one) => one.timer)]).toEqual([0, [timer + 1]])
  })

  test('rung in an earlier life, and not heard there, they are heard once', async () => {
    const disk = keptDisk()
    const kind = kindOf(ringing(1))
    const life = await KeptLife.begin(kind, disk.open())
    life.ready = false
    while (life.inbox.length === 0) await life.changed()
    const next = (await KeptLife.again(kind, disk.open(), (it) => (it.ready = false))) as KeptLife
    await new Promise((resolve) => setTimeout(resolve, 20))
    next.ready = true
    next.handle()
    await next.idle()
    expect(next.snapshot.context).toEqual({ rang: 1, ms: HOUR })
  })

  test('of a chart that has others now are set anew, those it has not are dropped', async () => {
    const chart = (ms: number): AnyStateMachine =>
      createMachine({
        id: 'm',
        context: { rang: 0 },
        initial: 'a',
        states: {
          a: { after: { [ms]: { target: 'b' } }, on: { x: { actions: raise({ type: 'own' }, { delay: 50_000 }) } } },
          b: {},
        },
      }) as unknown as AnyStateMachine
    const disk = keptDisk()
    const life = await KeptLife.begin(kindOf(chart(10_000)), disk.open())
    await life.send({ type: 'x' })
    const kind = kindOf(chart(20_000), 256, { version: 2, migrate: (was) => was })
    const next = (await KeptLife.again(kind, disk.open())) as KeptLife
    expect(next.kept.timers.map(({ event }) => event).toSorted()).toEqual(['own', 'xstate.after.20000.m.a'])
    const same = (await KeptLife.again(kind, disk.open())) as KeptLife
    expect(same.kept.timers.map(({ event }) => event).toSorted()).toEqual(['own', 'xstate.after.20000.m.a'])
  })
})
