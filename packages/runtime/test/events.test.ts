// What happens on a peer, told to whoever asks: everything once, in its order, and a new beginning where something is missing.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { EventFeed, EVENTS_KEPT, EVENTS_KEPT_MS, EVENTS_MOST, eventStream } from '../src/event-feed.ts'
import { codeOf, type Peer, type PeerEvent } from '../src/index.ts'
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
    await until('left', () => here.told.includes('held build Disconnected'))
    await session.connect()
    await session.close()
    await until('closed', () => [here, far].every(({ told }) => told.some((word) => word.endsWith('build Closed'))))
    expect(here.told.filter((word) => word.includes('build'))).toEqual([
      'held build Opened',
      expect.stringMatching(/Disconnect/),
      ...here.told.filter((word) => word.includes('build')).slice(2),
    ])
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
