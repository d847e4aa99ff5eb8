// The actors behind a group's name on all peers that are connected: who is in it while links come and go, who may look, and
// what a peer that talks nonsense comes to. Real peers over the memory network; actors are written down by hand.
import fc from 'fast-check'
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ActorNames, MEMBERS_MOST, type GroupAnswer, type Member } from '../src/actor-names.ts'
import { connectLocal } from '../src/client.ts'
import { PeerClosedError, PeerLostError } from '../src/errors.ts'
import { groupStream } from '../src/group-stream.ts'
import { GroupUnions, UNION_KEPT_MS, UNIONS_MOST, type UnionsHome } from '../src/group-unions.ts'
import { codeOf, createPeer, type Grant, type Peer, type PeerHost } from '../src/index.ts'
import type { Link } from '../src/link.ts'
import { openLink } from '../src/link-handshake.ts'
import { CHANGES_MOST } from '../src/set-feed.ts'
import type { GroupSnapshot } from '../src/actor-surface.ts'
import { GROUP_ON_MOST, OPEN_POLLS, protocols } from '../src/wire.ts'
import { refusal, until, within } from './support/peers.ts'

const ALL: Grant[] = ['connect', 'run:script', 'jobs:read']
/** Shorter than by default, so that silence is told soon; not so short that a busy machine is taken for a silent one. */
const BEAT = { heartbeat: 100, suspicion: 800 }

const hostOf = (peer: Peer): PeerHost => (peer as unknown as { via: PeerHost }).via
const member = (name: string): Member => ({ path: `s/${name}`, epoch: 1 })

/** What there is to see: the names of its members by peer, and the peers that are not reached, each once. */
function seen({ members, peers }: GroupSnapshot): { in: string[]; out: string[] } {
  return {
    in: members.map(({ peer, path }) => `${peer}/${path.slice(2)}`).toSorted(),
    out: peers
      .filter(({ reached }) => !reached)
      .map(({ name }) => name)
      .toSorted(),
  }
}

/** One reader of a group, a snapshot at a time. */
class Reader {
  readonly #snapshots: AsyncIterator<GroupSnapshot>
  last: GroupSnapshot | undefined

  constructor(snapshots: AsyncIterable<GroupSnapshot>) {
    this.#snapshots = snapshots[Symbol.asyncIterator]()
  }

  async next(): Promise<GroupSnapshot> {
    const step = await within('a snapshot of the group', this.#snapshots.next())
    if (step.done) throw new Error('the group has ended')
    return (this.last = step.value)
  }

  /** Reads on until it is like that. */
  async until(what: { in: string[]; out?: string[] }): Promise<GroupSnapshot> {
    const wanted = JSON.stringify({ in: what.in, out: what.out ?? [] })
    for (let snapshot = this.last; ; snapshot = await this.next()) {
      if (snapshot && JSON.stringify(seen(snapshot)) === wanted) return snapshot
    }
  }

  async done(): Promise<void> {
    await within('the end of the group', this.#snapshots.return!(undefined))
  }
}

describe('over a network', () => {
  let network: MemoryNetwork
  let open: Peer[]
  let here: Peer
  let far: Peer
  let third: Peer

  const start = async (name: string, peers: Record<string, Grant[]>): Promise<Peer> => {
    const peer = await createPeer({ name, transport: memory({ network, name }), policy: { peers }, ...BEAT })
    open.push(peer)
    return peer
  }

  beforeEach(async () => {
    network = createMemoryNetwork()
    open = []
    here = await start('here', { far: [], third: ['connect'] })
    far = await start('far', { here: ALL, third: [] })
    third = await start('third', { here: ALL, far: [] })
  })
  afterEach(async () => {
    for (const peer of open) await peer.close()
  })

  test('is the members of this peer and of all that it is connected with, whoever has dialled whom', async () => {
    hostOf(here).names.began(member('a'), { groups: ['g'] })
    hostOf(far).names.began(member('b'), { groups: ['g'] })
    hostOf(far).names.began(member('x'), { groups: ['other'] })
    hostOf(third).names.began(member('c'), { groups: ['g'] })
    const reader = new Reader(here.group('g'))
    expect(seen(await reader.next())).toEqual({ in: ['here/a'], out: [] })
    await using _ = await here.connect('far')
    await reader.until({ in: ['far/b', 'here/a'] })
    // This one comes to us.
    await third.sessions({ on: 'here' })
    const { peers } = await reader.until({ in: ['far/b', 'here/a', 'third/c'] })
    expect(peers.map(({ id, name, reached }) => [id, name, reached])).toEqual([
      ['here', 'here', true],
      ['far', 'far', true],
      ['third', 'third', true],
    ])
    hostOf(far).names.ended(member('b').path)
    hostOf(third).names.began(member('d'), { groups: ['g'] })
    await reader.until({ in: ['here/a', 'third/c', 'third/d'] })
    // Who comes later has it whole at once.
    expect(seen(await new Reader(here.group('g')).next())).toEqual({ in: ['here/a', 'third/c', 'third/d'], out: [] })
  })

  test('loses those of a peer that falls silent, says why, and has them back when that is back', async () => {
    hostOf(far).names.began(member('a'), { groups: ['g'] })
    hostOf(far).names.began(member('b'), { groups: ['g'] })
    await using _ = await here.connect('far')
    const reader = new Reader(here.group('g'))
    await reader.until({ in: ['far/a', 'far/b'] })
    network.cut('here', 'far')
    const { peers } = await reader.until({ in: [], out: ['far'] })
    expect(codeOf(peers.find(({ name }) => name === 'far')!.reason)).toBe('PEER_LOST')
    // Meanwhile.
    hostOf(far).names.ended(member('a').path)
    hostOf(far).names.began(member('c'), { groups: ['g'] })
    network.heal('here', 'far')
    await reader.until({ in: ['far/b', 'far/c'] })
  })

  test('dials those it is told to, again and again, and a peer that comes back as another one begins anew', async () => {
    hostOf(far).names.began(member('a'), { groups: ['g'] })
    const reader = new Reader(here.group('g', { on: ['far'] }))
    expect(seen(await reader.next())).toEqual({ in: ['far/a'], out: [] })
    await far.close()
    const { peers } = await reader.until({ in: [], out: ['far'] })
    expect(peers).toHaveLength(2)
    const again = await start('far', { here: ALL })
    hostOf(again).names.began(member('b'), { groups: ['g'] })
    await reader.until({ in: ['far/b'] })
    expect(codeOf(await refusal('nobody', () => new Reader(here.group('g', { on: ['nobody'] })).next()))).toBe(
      'PEER_NOT_FOUND',
    )
    expect(codeOf(await refusal('localhost', () => new Reader(here.group('g', { on: ['localhost'] })).next()))).toBe(
      'USAGE',
    )
    expect(codeOf(await refusal('no name', () => new Reader(here.group('a b')).next()))).toBe('USAGE')
  })

  test('that cannot be reached from the start is said with the first snapshot', async () => {
    await third.close()
    hostOf(far).names.began(member('a'), { groups: ['g'] })
    const reader = new Reader(here.group('g', { on: ['third', 'far'] }))
    const first = await reader.next()
    expect(seen(first)).toEqual({ in: ['far/a'], out: ['third'] })
    expect(codeOf(first.peers.find(({ name }) => name === 'third')!.reason)).toBe('PEER_UNREACHABLE')
  })

  test('shows nobody of a peer that does not grant `jobs:read`, and whoever is there as soon as it does', async () => {
    hostOf(far).names.began(member('a'), { groups: ['g'] })
    await far.allow('here', ['connect', 'run:script'])
    await using _ = await here.connect('far')
    const reader = new Reader(here.group('g'))
    const first = await reader.next()
    expect(seen(first)).toEqual({ in: [], out: ['far'] })
    expect(codeOf(first.peers[1]!.reason)).toBe('DENIED')
    await far.allow('here', ALL)
    await reader.until({ in: ['far/a'] })
    // And takes it away at once, although nothing has happened to the group.
    await far.allow('here', ['connect', 'run:script'])
    const after = await reader.until({ in: [], out: ['far'] })
    expect(codeOf(after.peers[1]!.reason)).toBe('DENIED')
  })

  test('is told as one where much has changed before it is read', async () => {
    const reader = new Reader(here.group('g'))
    await reader.next()
    for (let n = 0; n < 5_000; n++) hostOf(here).names.began(member(`m${n}`), { groups: ['g'] })
    for (let n = 0; n < 4_999; n++) hostOf(here).names.ended(`s/m${n}`)
    expect(seen(await reader.next())).toEqual({ in: ['here/m4999'], out: [] })
  })

  test('comes whole, however large', async () => {
    for (let n = 0; n < 5_000; n++) hostOf(far).names.began(member(`m${n}`), { groups: ['g'] })
    const reader = new Reader(here.group('g', { on: ['far'] }))
    expect((await reader.next()).members).toHaveLength(5_000)
  })

  test('ends with its signal, and with its peer', async () => {
    const abort = new AbortController()
    const aborted = here.group('g', { signal: abort.signal })[Symbol.asyncIterator]()
    const closed = here.group('g')[Symbol.asyncIterator]()
    await Promise.all([aborted.next(), closed.next()])
    const [end, failure] = [aborted.next(), closed.next()]
    abort.abort()
    expect(await within('the end', end)).toEqual({ done: true, value: undefined })
    const closing = expect(failure).rejects.toMatchObject({ code: 'PEER_CLOSED' })
    await here.close()
    await closing
  })

  test('is the same for a program beside the peer', async () => {
    const home = await mkdtemp(join(tmpdir(), 'errand-'))
    const daemon = await createPeer({
      name: 'daemon',
      home,
      serveLocal: true,
      transport: memory({ network, name: 'daemon' }),
      policy: { peers: { far: [] } },
    })
    open.push(daemon)
    await far.allow('daemon', ALL)
    hostOf(far).names.began(member('a'), { groups: ['g'] })
    hostOf(daemon).names.began(member('b'), { groups: ['g'] })
    await using client = await connectLocal({ home })
    const reader = new Reader(client.group('g', { on: ['far'] }))
    expect(seen(await reader.next())).toEqual({ in: ['daemon/b', 'far/a'], out: [] })
    const elsewhere = { peer: 'nobody', path: 's/b', epoch: 1 }
    await client.register('db', elsewhere)
    await expect(client.register('db', { peer: 'far', path: 's/a', epoch: 1 })).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    })
    expect(hostOf(daemon).names.holder('db')).toEqual(elsewhere)
    expect([await client.unregister('db'), await client.unregister('db')]).toEqual([true, false])
    hostOf(far).names.ended('s/a')
    await reader.until({ in: ['daemon/b'] })
    await reader.done()
    await rm(home, { recursive: true, force: true })
  })

  test(`leaves room for requests: ${OPEN_POLLS} questions may wait on one link, and one more is refused`, async () => {
    await far.allow('asker', ALL)
    const transport = memory({ network, name: 'asker' })
    await transport.start({
      admits: () => true,
      protocols: protocols({ interval: 1000, suspicion: 60_000 }),
      accept: (channel) => channel.abort(),
    })
    try {
      const self = { client: crypto.randomUUID(), name: 'asker' }
      const link = await openLink({ transport, peer: 'far', self })
      const { cursor } = (await link.ask({}, { type: 'names.watch', name: 'n' })) as { cursor: string }
      const ask = (signal?: AbortSignal): Promise<unknown> =>
        link.ask({}, { type: 'names.watch', name: 'n', cursor }, { signal })
      // One each: a signal with thousands of listeners takes long for one more.
      const aborts = Array.from({ length: OPEN_POLLS }, () => new AbortController())
      const asking = Promise.allSettled(aborts.map(({ signal }) => ask(signal)))
      expect(codeOf(await refusal('one more', () => ask()))).toBe('LIMIT')
      expect(await link.ask({}, { type: 'ping' })).toMatchObject({ name: 'far' })
      for (const abort of aborts) abort.abort()
      await asking
      await until('they are given up', () => hostOf(far).names.waiting === 0)
      const last = ask()
      hostOf(far).names.began(member('a'), { register: 'n' })
      expect(await last).toMatchObject({ holder: { path: 's/a' } })
      await link.close()
    } finally {
      await transport.close()
    }
  })

  test('is what there is, once all is quiet again, whatever came before', async () => {
    const PEERS = ['here', 'far', 'third']
    type Act =
      | { readonly do: 'join' | 'end'; readonly peer: string; readonly name: string }
      | { readonly do: 'cut' | 'heal' | 'lose'; readonly peer: string }
      | { readonly do: 'restart' }
      | { readonly do: 'look' }
    const peer = fc.constantFrom(...PEERS)
    const name = fc.constantFrom('a', 'b', 'c')
    const away = fc.constantFrom('far', 'third')
    const act: fc.Arbitrary<Act> = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ do: fc.constantFrom('join' as const, 'join' as const, 'end' as const), peer, name }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constantFrom('cut' as const, 'heal' as const, 'lose' as const), peer: away }),
      },
      fc.constant({ do: 'restart' as const }),
      fc.constant({ do: 'look' as const }),
    )
    let count = 0
    let looks = 0
    const property = fc.asyncProperty(fc.array(act, { minLength: 4, maxLength: 16 }), async (acts) => {
      const group = `g${++count}`
      const model = new Map<string, Set<string>>(PEERS.map((one) => [one, new Set()]))
      const peers: Record<string, Peer> = { here, far, third }
      const reader = new Reader(here.group(group, { on: ['far', 'third'] }))
      await reader.next()
      for (const one of acts) {
        switch (one.do) {
          case 'join':
            hostOf(peers[one.peer]!).names.began(member(one.name), { groups: [group] })
            model.get(one.peer)!.add(one.name)
            break
          case 'end':
            hostOf(peers[one.peer]!).names.ended(`s/${one.name}`)
            model.get(one.peer)!.delete(one.name)
            break
          case 'cut':
          case 'heal':
          case 'lose':
            network[one.do]('here', one.peer)
            break
          case 'restart':
            await third.close()
            peers['third'] = third = await start('third', { here: ALL, far: [] })
            model.get('third')!.clear()
            break
          case 'look': {
            // Something is new: then it comes, whatever else happens. Another one each time: one that comes as soon as it has
            // left is no news.
            const look = `seen${++looks}`
            hostOf(here).names.began(member(look), { groups: [group] })
            const found = await reader.next()
            // Nobody is in it who never was.
            for (const { path } of found.members) expect(path).toMatch(/^s\/(?:[abc]|seen\d+)$/)
            hostOf(here).names.ended(`s/${look}`)
          }
        }
      }
      for (const one of ['far', 'third']) network.heal('here', one)
      await reader.until({
        in: [...model].flatMap(([one, all]) => [...all].map((path) => `${one}/${path}`)).toSorted(),
      })
      await reader.done()
      for (const [one, all] of model) for (const path of all) hostOf(peers[one]!).names.ended(`s/${path}`)
    })
    await fc.assert(property, { numRuns: 6 })
  })
})

describe('with links that the test makes', () => {
  /** A link to a peer, over which its names are asked, until it ends. */
  class FakeLink {
    readonly peer: string
    readonly #names: ActorNames
    readonly #over = new AbortController()
    readonly closed: Promise<void>
    /** Instead of what is true. */
    lie: ((event: { cursor?: string }) => unknown) | undefined
    asked = 0

    constructor(peer: string, names: ActorNames) {
      this.peer = peer
      this.#names = names
      this.closed = new Promise((resolve) => this.#over.signal.addEventListener('abort', () => resolve()))
    }
    get open(): boolean {
      return !this.#over.signal.aborted
    }
    async ask(
      _: object,
      event: { group: string; cursor?: string; now?: boolean },
      { signal }: { signal: AbortSignal },
    ): Promise<unknown> {
      this.asked++
      const until = AbortSignal.any([signal, this.#over.signal])
      if (this.lie) return this.lie(event)
      return this.#names.watchGroup(event.group, event.cursor, until, event.now)
    }
    end(): void {
      this.#over.abort(new PeerLostError('the link ended'))
    }
  }

  const book = ['far', 'third']
  let names: Record<string, ActorNames>
  let links: FakeLink[]
  let followers: Set<(link: Link) => void>
  let home: UnionsHome
  let unions: GroupUnions

  const named = (self: string): ActorNames =>
    new ActorNames({ self: () => self, alive: () => true, far: () => () => undefined })

  beforeEach(() => {
    names = { here: named('here'), far: named('far'), third: named('third') }
    links = []
    followers = new Set()
    home = {
      self: () => 'here',
      name: 'here',
      own: (group, cursor, signal) => names['here']!.watchGroup(group, cursor, signal),
      connected: () => book.filter((peer) => links.some((link) => link.open && link.peer === peer)),
      nameOf: (peer) => (book.includes(peer) ? peer : undefined),
      linkWith: (peer) => links.findLast((link) => link.open && link.peer === peer) as unknown as Link,
      follow: (tell) => {
        followers.add(tell)
        return () => void followers.delete(tell)
      },
      place: () => expect.fail('nobody is dialled'),
      linkTo: () => expect.fail('nobody is dialled'),
    }
    unions = new GroupUnions(home)
  })
  afterEach(() => {
    unions.end(new PeerClosedError())
    for (const link of links) link.end()
    vi.useRealTimers()
  })

  function link(peer: string): FakeLink {
    const one = new FakeLink(peer, names[peer]!)
    links.push(one)
    for (const tell of [...followers]) tell(one as unknown as Link)
    return one
  }
  const read = (group: string): Reader =>
    new Reader(groupStream((cursor) => unions.watch({ group, cursor }), undefined))

  test('does not flicker where another link is there already', async () => {
    names['far']!.began(member('a'), { groups: ['g'] })
    const first = link('far')
    const reader = read('g')
    expect(seen(await reader.next())).toEqual({ in: ['far/a'], out: [] })
    link('far')
    first.end()
    names['far']!.began(member('b'), { groups: ['g'] })
    expect(seen(await reader.next())).toEqual({ in: ['far/a', 'far/b'], out: [] })
  })

  test('has those of a peer that is back although nothing has happened there meanwhile', async () => {
    names['far']!.began(member('a'), { groups: ['g'] })
    link('far')
    link('third')
    const reader = read('g')
    await reader.next()
    for (const one of links.splice(0)) one.end()
    await reader.until({ in: [], out: ['far', 'third'] })
    link('far')
    link('third')
    await reader.until({ in: ['far/a'] })
  })

  test('asks only for what is new when a link is back, and for everything where the peer knows no more', async () => {
    for (let n = 0; n < 100; n++) names['far']!.began(member(`m${n}`), { groups: ['g'] })
    link('far')
    const reader = read('g')
    expect((await reader.next()).members).toHaveLength(100)
    links[0]!.end()
    await reader.until({ in: [], out: ['far'] })
    names['far']!.began(member('new'), { groups: ['g'] })
    const answers: GroupAnswer[] = []
    const watch = names['far']!.watchGroup.bind(names['far'])
    names['far']!.watchGroup = async (...given) => {
      const answer = await watch(...given)
      answers.push(answer)
      return answer
    }
    link('far')
    while ((await reader.next()).members.length < 101);
    expect(answers).toMatchObject([{ joined: [['s/new', 1]], left: [] }])
    // Started again: what it tells anew takes the place of all that was known, in one step.
    names['far'] = named('far')
    for (let n = 0; n < 3_000; n++) names['far'].began(member(`n${n}`), { groups: ['g'] })
    links.at(-1)!.end()
    link('far')
    for (let size = 101; size !== 3_000; size = reader.last!.members.length) {
      expect([0, 101]).toContain(size)
      await reader.next()
    }
    expect(reader.last!.members.every(({ path }) => path.startsWith('s/n'))).toBe(true)
  })

  test('takes no part of a peer that answers nonsense, or more than there can be; the others go on', async () => {
    names['far']!.began(member('a'), { groups: ['g'] })
    names['third']!.began(member('b'), { groups: ['g'] })
    link('far')
    const liar = link('third')
    const lies: unknown[] = [
      undefined,
      null,
      { cursor: 1, joined: [], left: [] },
      { cursor: 'c', joined: 'all', left: [] },
      { cursor: 'c'.repeat(513), joined: [], left: [] },
      { cursor: 'c', joined: [['no path', 1]], left: [] },
      { cursor: 'c', joined: [['s/x', 0]], left: [] },
      { cursor: 'c', joined: [['s/x', 1, 'a b']], left: [] },
      { cursor: 'c', joined: Array.from({ length: CHANGES_MOST + 1 }, (_, n) => [`s/${n}`, 1]), left: [] },
    ]
    for (const [index, lie] of lies.entries()) {
      liar.lie = () => lie
      const reader = read('g')
      const snapshot = await reader.next()
      expect(seen(snapshot), String(index)).toEqual({ in: ['far/a'], out: ['third'] })
      expect(codeOf(snapshot.peers.find(({ name }) => name === 'third')!.reason)).toBe('PROTOCOL')
      unions.end(new PeerClosedError())
      unions = new GroupUnions(home)
    }
  })

  test('that never ends what it tells, or tells of too many, takes no part either', async () => {
    const liar = link('far')
    let told = 0
    liar.lie = () => {
      const joined = Array.from({ length: CHANGES_MOST }, (_, n) => [`s/${told + n}`, 1])
      told += CHANGES_MOST
      return { cursor: 'c', ...(told === CHANGES_MOST && { begins: true }), joined, left: [], more: true }
    }
    const reader = read('g')
    const snapshot = await reader.next()
    expect(seen(snapshot)).toEqual({ in: [], out: ['far'] })
    expect(codeOf(snapshot.peers[1]!.reason)).toBe('PROTOCOL')
    expect(told).toBeLessThanOrEqual(2 * MEMBERS_MOST + CHANGES_MOST)
  })

  test(`dials no more than ${GROUP_ON_MOST} peers for one group`, async () => {
    const on = Array.from({ length: GROUP_ON_MOST + 1 }, (_, n) => `p${n}`)
    expect(codeOf(await refusal('one more', () => unions.watch({ group: 'g', on })))).toBe('USAGE')
    expect(unions.size).toBe(0)
  })

  test(`follows ${UNIONS_MOST} groups at once, and lets go of one that nobody asks for any more`, async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const far = link('far')
    for (let n = 0; n < UNIONS_MOST; n++) await unions.watch({ group: `g${n}` })
    expect(codeOf(await refusal('one more', () => unions.watch({ group: 'more' })))).toBe('LIMIT')
    // One that is followed already is none more.
    const first = await unions.watch({ group: 'g1' })
    const waiting = unions.watch({ group: 'g1', cursor: first.cursor })
    vi.advanceTimersByTime(UNION_KEPT_MS - 1)
    expect(unions.size).toBe(UNIONS_MOST)
    vi.advanceTimersByTime(1)
    expect(unions.size).toBe(1)
    await vi.waitFor(() => expect(names['far']!.waiting).toBe(1))
    names['far']!.began(member('a'), { groups: ['g1'] })
    const { cursor, joined } = await waiting
    expect(joined).toEqual([{ peer: 'far', ...member('a') }])
    vi.advanceTimersByTime(UNION_KEPT_MS)
    expect([unions.size, followers.size]).toEqual([0, 0])
    // Who comes back later is told anew.
    expect(await unions.watch({ group: 'g1', cursor })).toMatchObject({ begins: true, joined: [{ peer: 'far' }] })
    expect(far.open).toBe(true)
  })
})
