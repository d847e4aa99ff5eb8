// What happens on a peer, told to whoever asks: everything once, in its order, and a new beginning where something is missing.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { encode } from '@errand/transport'
import { EventFeed, EVENTS_BYTES, EVENTS_KEPT, EVENTS_KEPT_MS, EVENTS_MOST, eventStream } from '../src/event-feed.ts'
import {
  codeOf,
  type Grant,
  type JobSnapshot,
  type JobState,
  type Peer,
  type PeerEvent,
  type PeerInfo,
  type SessionSnapshot,
} from '../src/index.ts'
import type { RowHome } from '../src/job-row.ts'
import { JobTable, type TableKeeping } from '../src/job-table.ts'
import type { JobHost } from '../src/job.ts'
import { AroundTeller, tellJobs } from '../src/peer-events.ts'
import { pair, type Pair } from './support/pair.ts'
import { until } from './support/peers.ts'

type Tell = (event: PeerEvent) => void
const peer = (name: string): PeerEvent => ({
  kind: 'peer',
  at: new Date(0),
  peer: { name, id: name, addresses: [], grants: [], connected: true },
  wasConnected: false,
})
const named = (event: PeerEvent): string => (event.kind === 'peer' ? event.peer.name : event.kind)

describe('a feed', () => {
  let tell: Tell | undefined
  let begun: number
  const feed = (): EventFeed => {
    begun = 0
    return new EventFeed((listener) => {
      begun++
      tell = listener
      return () => (tell = undefined)
    })
  }

  test('listens to nothing before it is asked, and begins with where to ask from', async () => {
    const one = feed()
    expect(tell).toBeUndefined()
    const first = await one.since(undefined)
    expect(first.begins).toBe(true)
    expect(first.events).toEqual([])
    tell!(peer('a'))
    tell!(peer('b'))
    const next = await one.since(first.cursor)
    expect(next.begins).toBeUndefined()
    expect(next.events.map(named)).toEqual(['a', 'b'])
    const answer = one.since(next.cursor)
    tell!(peer('c'))
    expect((await answer).events.map(named)).toEqual(['c'])
    expect(begun).toBe(1)
  })

  test('gives two who ask the same, each at its own pace', async () => {
    const one = feed()
    const { cursor } = await one.since(undefined)
    for (let n = 0; n < EVENTS_MOST + 3; n++) tell!(peer(String(n)))
    const first = await one.since(cursor)
    expect(first.events).toHaveLength(EVENTS_MOST)
    expect((await one.since(first.cursor)).events.map(named)).toEqual(['128', '129', '130'])
    expect((await one.since(cursor)).events).toHaveLength(EVENTS_MOST)
  })

  test('answers with no more than 1 MiB, and leaves out nothing', async () => {
    const one = feed()
    let { cursor } = await one.since(undefined)
    const names = Array.from({ length: 100 }, (_, n) =>
      String.fromCodePoint(0x4e00 + n).repeat(n === 50 ? 500_000 : 50_000),
    )
    for (const name of names) tell!(peer(name))
    const seen: string[] = []
    while (seen.length < names.length) {
      const answer = await one.since(cursor)
      seen.push(...answer.events.map(named))
      cursor = answer.cursor
      // One that is larger than that goes alone.
      if (answer.events.length > 1) expect(encode(answer).length).toBeLessThanOrEqual(EVENTS_BYTES)
    }
    expect(seen.map((name) => name[0])).toEqual(names.map((name) => name[0]))
  })

  test('begins anew for who is too far behind', async () => {
    const one = feed()
    const { cursor } = await one.since(undefined)
    for (let n = 0; n <= 2 * EVENTS_KEPT; n++) tell!(peer(String(n)))
    const late = await one.since(cursor)
    expect(late.begins).toBe(true)
    expect(late.events).toEqual([])
    tell!(peer('new'))
    expect((await one.since(late.cursor)).events.map(named)).toEqual(['new'])
  })

  test('lets go when nobody has asked for a minute, and begins anew for who comes back', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const one = feed()
      const { cursor } = await one.since(undefined)
      vi.advanceTimersByTime(EVENTS_KEPT_MS + 1)
      tell!(peer('unheard'))
      expect(tell).toBeUndefined()
      expect((await one.since(cursor)).begins).toBe(true)
      expect(begun).toBe(2)
    } finally {
      vi.useRealTimers()
    }
  })

  test('goes on listening while somebody waits, however long nothing happens', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const one = feed()
      const { cursor } = await one.since(undefined)
      const answer = one.since(cursor)
      vi.advanceTimersByTime(10 * EVENTS_KEPT_MS)
      tell!(peer('late'))
      expect((await answer).events.map(named)).toEqual(['late'])
    } finally {
      vi.useRealTimers()
    }
  })

  test('says what there was before it says that it has ended', async () => {
    const one = feed()
    const { cursor } = await one.since(undefined)
    const waiting = one.since(cursor)
    tell!(peer('last'))
    one.end(new Error('over'))
    expect(tell).toBeUndefined()
    const answer = await waiting
    expect(answer.events.map(named)).toEqual(['last'])
    await expect(one.since(answer.cursor)).rejects.toThrow('over')
    await expect(one.since(undefined)).rejects.toThrow('over')
  })

  test('its stream ends when its signal aborts', async () => {
    const one = feed()
    const leave = new AbortController()
    const seen: string[] = []
    const stream = (async () => {
      for await (const event of eventStream((cursor) => one.since(cursor, leave.signal), leave.signal)) {
        seen.push(named(event))
      }
    })()
    await until('it has begun', () => seen.length === 1)
    tell!(peer('a'))
    await until('it has come', () => seen.length === 2)
    leave.abort()
    await stream
    expect(seen).toEqual(['begin', 'a'])
  })
})

describe('the jobs of a table', () => {
  const at = new Date(0)
  /** A job that says of itself what it is told to. */
  function hostOf(more: Partial<JobSnapshot>): { host: JobHost; history: { state: JobState; at: Date }[] } {
    const history: { state: JobState; at: Date }[] = [
      { state: 'NotStarted', at },
      { state: 'Running', at },
    ]
    const facts = { id: 1, instanceId: 'one', name: 'one', command: '1', location: 'here', ...more }
    const host = {
      ...facts,
      children: [],
      finished: new Promise(() => undefined),
      onNews: undefined,
      get state() {
        return history.at(-1)!.state
      },
      get newest() {
        return history.at(-1)!
      },
      snapshot: () => ({ ...facts, history: [...history], children: [] }),
    }
    return { host: host as unknown as JobHost, history }
  }
  const tableOf = (host: JobHost): JobTable => {
    const table = new JobTable({} as TableKeeping, {} as RowHome, 'here')
    table.add(host)
    return table
  }

  test('one that has ended and is not a row yet is not told anew', () => {
    const { host, history } = hostOf({})
    const table = tableOf(host)
    history.push({ state: 'Completed', at })
    const events: PeerEvent[] = []
    const stop = tellJobs(table, (event) => events.push(event))
    host.onNews!()
    stop()
    expect(events.map((event) => event.kind === 'job' && event.states)).toEqual([[]])
  })

  test('no text of one is longer than 1000 characters', () => {
    const long = 'x'.repeat(65_000)
    const question = { id: '1', prompt: long, askedAt: at }
    const { host } = hostOf({ name: long, command: long, location: long, reason: new Error(long), question })
    const events: PeerEvent[] = []
    const stop = tellJobs(tableOf(host), (event) => events.push(event))
    host.onNews!()
    stop()
    const { job } = events[0] as Extract<PeerEvent, { kind: 'job' }>
    const texts = [job.name, job.command, job.location, job.reason!.message, job.question!.prompt]
    expect(texts.map(({ length }) => length)).toEqual([1000, 1000, 1000, 1000, 1000])
  })
})

describe('sessions and peers', () => {
  test('no text and no list of one is long', async () => {
    const long = 'x'.repeat(65_000)
    const session = { instanceId: 'one', name: long, location: long, state: 'Broken', reason: new Error(long) }
    const known: PeerInfo = {
      name: long,
      id: 'one',
      addresses: Array.from({ length: 1000 }, () => long),
      grants: Array.from({ length: 1000 }, (_, n): Grant => `run:job:${n}`),
      connected: true,
    }
    let there = false
    const events: PeerEvent[] = []
    using teller = new AroundTeller(
      {
        *sessions() {
          if (there) yield { hosted: false, now: () => session as SessionSnapshot }
        },
        peers: () => (there ? [known] : []),
      },
      (event) => events.push(event),
    )
    const look = async (): Promise<void> => {
      teller.look()
      await new Promise((resolve) => setImmediate(resolve))
    }
    there = true
    await look()
    there = false
    await look()
    expect(events.map(({ kind }) => kind)).toEqual(['session', 'peer', 'session', 'peer'])
    for (const event of events) expect(encode(event).length).toBeLessThan(120_000)
  })
})

describe('a peer', () => {
  let peers: Pair
  let over: AbortController
  beforeEach(async () => {
    peers = await pair()
    over = new AbortController()
  })
  afterEach(async () => {
    over.abort()
    await peers[Symbol.asyncDispose]()
  })

  /** Everything that is told, from now on: one word each. */
  async function listen(of: Pick<Peer, 'events'>): Promise<{ told: string[]; ended: Promise<unknown> }> {
    const told: string[] = []
    const ended = (async () => {
      for await (const event of of.events({ signal: over.signal })) told.push(...words(event))
    })()
    ended.catch(() => undefined) // looked at by one test
    await until('it has begun', () => told.length > 0)
    return { told, ended }
  }
  function words(event: PeerEvent): string[] {
    switch (event.kind) {
      case 'begin':
        return ['begin']
      case 'job':
        if (event.removed) return [`${event.job.name} removed`]
        return event.states.map(({ state }) => `${event.job.name} ${state}`)
      case 'session':
        return event.previous === event.session.state && !event.removed
          ? []
          : [`${event.hosted ? 'hosted' : 'held'} ${event.session.name} ${event.session.state}`]
      case 'peer':
        return [`${event.peer.name} ${event.peer.connected ? 'connected' : 'away'}`]
    }
  }

  test('tells every state of a job, once and in order', async () => {
    const { told } = await listen(peers.here)
    const job = await peers.here.start(async (ctx) => ctx.ask('well?'), { name: 'asking' })
    await until('it asks', () => told.includes('asking Blocked'))
    await job.answer('yes')
    await job.wait()
    await until('it is told', () => told.includes('asking Completed'))
    await job.remove()
    await until('that too', () => told.includes('asking removed'))
    expect(told).toEqual([
      'begin',
      'asking NotStarted',
      'asking Running',
      'asking Blocked',
      'asking Running',
      'asking Completed',
      'asking removed',
    ])
  })

  test('tells of a job that was there before only what is new', async () => {
    const job = await peers.here.start(async (ctx) => ctx.ask('well?'), { name: 'before' })
    await job.wait({ for: ['Blocked'] })
    const { told } = await listen(peers.here)
    await job.stop()
    await until('it is told', () => told.includes('before Stopped'))
    expect(told).toEqual(['begin', 'before Stopping', 'before Stopped'])
  })

  test('tells of children by themselves, and that all was read', async () => {
    const seen: PeerEvent[] = []
    const { told } = await listen({
      events: (o) =>
        (async function* () {
          for await (const event of peers.here.events(o)) {
            seen.push(event)
            yield event
          }
        })(),
    })
    const job = await peers.here.start(() => 1, { on: ['far', 'far'], name: 'both' })
    await job.wait()
    for await (const _ of job.receive()) void _
    await until('it was read', () =>
      seen.some((event) => event.kind === 'job' && event.job.name === 'both' && !event.job.hasMoreData),
    )
    for (const name of ['both', 'both.1', 'both.2']) {
      const mine = told.filter((word) => word.startsWith(`${name} `))
      expect(mine[0]).toBe(`${name} NotStarted`)
      expect(mine.at(-1)).toBe(`${name} Completed`)
      expect(new Set(mine).size).toBe(mine.length)
    }
    expect(seen.every((event) => event.kind !== 'job' || event.job.children.length === 0)).toBe(true)
  })

  test('tells of sessions, on both sides, and of peers', async () => {
    const here = await listen(peers.here)
    const far = await listen(peers.far)
    const session = await peers.here.connect('far', { name: 'build' })
    await until('both know', () => here.told.includes('held build Opened') && far.told.length > 2)
    await session.disconnect()
    await until('left', () => [here, far].every(({ told }) => told.some((word) => word.endsWith('build Disconnected'))))
    await session.connect()
    const back = (told: readonly string[]): boolean => told.filter((word) => word.endsWith('build Opened')).length === 2
    await until('taken up again', () => back(here.told) && back(far.told))
    await session.close()
    await until('closed', () => [here, far].every(({ told }) => told.some((word) => word.endsWith('build Closed'))))
    // A state that lasts less than a turn may not be told: those on the way to another.
    const steady = ({ told }: typeof here): string[] =>
      told.filter((word) => word.includes(' build ') && !word.endsWith('ing'))
    const states = ['Opened', 'Disconnected', 'Opened', 'Closed']
    expect(steady(here)).toEqual(states.map((state) => `held build ${state}`))
    expect(steady(far)).toEqual(states.map((state) => `hosted build ${state}`))
    expect(here.told).toContain('far connected')
    await peers.far.close()
    await until('gone', () => here.told.includes('far away'))
    expect(codeOf(await far.ended.catch((error: unknown) => error))).toBe('PEER_CLOSED')
  })

  test('tells of a session elsewhere what happens in its table, and nothing else', async () => {
    const session = await peers.here.connect('far')
    const { told, ended } = await listen(session)
    const job = await session.start(() => 1, { name: 'there' })
    await job.wait()
    await peers.here.start(() => 1, { name: 'here' })
    await until('it is told', () => told.includes('there Completed'))
    expect(told).toEqual(['begin', 'there NotStarted', 'there Running', 'there Completed'])
    await session.close()
    expect(codeOf(await ended.catch((error: unknown) => error))).toMatch(/SESSION_(CLOSED|NOT_FOUND|STATE)|PEER_LOST/)
  })

  test('cuts what has no bound', async () => {
    const events = peers.here.events({ signal: over.signal })[Symbol.asyncIterator]()
    await events.next()
    const job = await peers.here.start({ code: `throw new Error('${'x'.repeat(5000)}')` })
    await job.wait()
    for (;;) {
      const event = (await events.next()).value as PeerEvent
      if (event.kind !== 'job') continue
      expect(event.job.command).toHaveLength(1000)
      if (event.job.state !== 'Failed') continue
      expect(event.job.reason!.message).toHaveLength(1000)
      break
    }
  })
})
