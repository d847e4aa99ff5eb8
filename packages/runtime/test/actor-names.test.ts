// Names and groups of one peer: one holder to a name, what is told to whoever asks, and how much there may be of it.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ActorNames,
  GROUPS_MOST,
  MEMBERS_MOST,
  MEMBERSHIPS_MOST,
  NAMES_MOST,
  type Far,
  type GroupAnswer,
  type Member,
} from '../src/actor-names.ts'
import type { ActorAddress } from '../src/actor-surface.ts'
import { codeOf, PeerClosedError } from '../src/errors.ts'
import { News } from '../src/news.ts'
import { CHANGES_MOST, SetFeed } from '../src/set-feed.ts'

const HERE = 'here'
const one: Member = { path: 's/one', epoch: 1 }
const two: Member = { path: 's/two', epoch: 1 }
const at = (member: Member, peer = HERE): ActorAddress => ({ peer, ...member })

/** `alive`: whether an actor of this peer is there. `far`: who is told when an actor elsewhere is down. */
function names(alive: (member: Member) => boolean = () => true, far?: Far): ActorNames {
  return new ActorNames({ self: () => HERE, alive, far: far ?? (() => () => undefined) })
}

function codeFrom(act: () => unknown): string | undefined {
  try {
    act()
  } catch (error) {
    return codeOf(error)
  }
  return 'nothing'
}

/** Whether it has settled by the end of the turns that an answer takes. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false
  promise.then(
    () => (done = true),
    () => (done = true),
  )
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
  return done
}

describe('a name', () => {
  test('has one holder: another one is refused while that is there, and changes nothing', () => {
    const all = names()
    all.register('db', at(one))
    expect(codeFrom(() => all.register('db', at(two)))).toBe('NAME_TAKEN')
    expect(all.holder('db')).toEqual(at(one))
    // The same one again is no news.
    all.register('db', at(one))
    all.register('db', at(two), { replace: true })
    expect(all.holder('db')).toEqual(at(two))
  })

  test('is free when its holder has ended, and not before; what it held before is nobody’s to give back', () => {
    const all = names()
    all.register('db', at(one))
    all.register('db', at(two), { replace: true })
    all.ended(one.path)
    expect(all.holder('db')).toEqual(at(two))
    all.ended(two.path)
    expect(all.holder('db')).toBeUndefined()
    all.register('db', at(one))
    expect(all.unregister('db')).toBe(true)
    expect(all.unregister('db')).toBe(false)
    expect(all.holder('db')).toBeUndefined()
  })

  test('is no actor’s that has ended: nobody would ever take it away again', () => {
    const all = names(({ path }) => path === one.path)
    all.register('db', at(one))
    expect(codeFrom(() => all.register('other', at(two)))).toBe('ACTOR_GONE')
    expect(codeFrom(() => all.register('db', at(two), { replace: true }))).toBe('ACTOR_GONE')
    expect(all.holder('db')).toEqual(at(one))
    expect(all.size).toBe(1)
  })

  test('of an actor elsewhere goes when that is down; the watching ends with the entry, however that goes', () => {
    const watched: { readonly address: ActorAddress; readonly down: () => void; stopped: boolean }[] = []
    const all = names(
      () => true,
      (address, down) => {
        const mine = { address, down, stopped: false }
        watched.push(mine)
        return () => void (mine.stopped = true)
      },
    )
    all.register('db', at(one, 'far'))
    all.register('cache', at(one, 'far'))
    expect(watched.map(({ address }) => address)).toEqual([at(one, 'far'), at(one, 'far')])
    // One of our own by the same path is another one.
    all.ended(one.path)
    expect(all.holder('db')).toEqual(at(one, 'far'))
    watched[0]!.down()
    expect([all.holder('db'), all.holder('cache')]).toEqual([undefined, at(one, 'far')])
    all.register('cache', at(two), { replace: true })
    expect(watched.map(({ stopped }) => stopped)).toEqual([true, true])
    // What is told late is nobody's.
    watched[1]!.down()
    expect(all.holder('cache')).toEqual(at(two))
    all.register('db', at(one, 'far'))
    all.end(new PeerClosedError())
    expect(watched[2]!.stopped).toBe(true)
  })

  test('is written as names of jobs are, and its holder is an actor', () => {
    const all = names()
    for (const name of ['', 'a b', 'ä', 'x'.repeat(129), '\u0000', 3 as unknown as string])
      expect(
        codeFrom(() => all.register(name, at(one))),
        JSON.stringify(name),
      ).toBe('USAGE')
    for (const path of ['', 's', 's/', '/j', 's/j/k', `s/${'x'.repeat(65)}`, 's/j\n'])
      expect(
        codeFrom(() => all.register('db', { peer: HERE, path, epoch: 1 })),
        path,
      ).toBe('USAGE')
    for (const epoch of [0, -1, 1.5, Number.NaN])
      expect(
        codeFrom(() => all.register('db', { ...at(one), epoch })),
        String(epoch),
      ).toBe('USAGE')
    expect(all.size).toBe(0)
    all.register('A-b_c.d:e/f', at(one))
  })

  test('that follows another is that other’s holder of the moment, and none where nobody is known', () => {
    const all = names()
    const follow = { peer: 'far', name: 'db' }
    all.register('db', { ...at(one), follow })
    expect(all.holder('db')).toEqual(at(one))
    expect(codeFrom(() => all.register('x', { peer: 'far', path: '', epoch: 0, follow }))).toBe('USAGE')
  })

  test(`has room for ${NAMES_MOST}, and for another one when one is free`, () => {
    const all = names()
    for (let n = 0; n < NAMES_MOST; n++) all.register(`n${n}`, at(one))
    expect(codeFrom(() => all.register('more', at(one)))).toBe('LIMIT')
    // One that is there already takes no room.
    all.register('n7', at(two), { replace: true })
    all.unregister('n8')
    all.register('more', at(one))
    all.ended(one.path)
    expect(all.size).toBe(1)
  })
})

describe('who asks for a name', () => {
  test('is answered at once without a cursor, and then when another has it', async () => {
    const all = names()
    const first = await all.watchName('db', undefined)
    expect(first.holder).toBeUndefined()
    const next = all.watchName('db', first.cursor)
    all.register('other', at(one))
    expect(await settled(next)).toBe(false)
    all.register('db', at(one))
    expect((await next).holder).toEqual(at(one))
    const moved = all.watchName('db', (await next).cursor)
    all.register('db', at(one))
    expect(await settled(moved)).toBe(false)
    all.register('db', at(two), { replace: true })
    expect((await moved).holder).toEqual(at(two))
    const gone = all.watchName('db', (await moved).cursor)
    all.ended(two.path)
    expect((await gone).holder).toBeUndefined()
  })

  test('is told what one turn did as one, and of another time or another peer at once', async () => {
    const all = names()
    const { cursor } = await all.watchName('db', undefined)
    const next = all.watchName('db', cursor)
    all.register('db', at(one))
    all.register('db', at(two), { replace: true })
    expect((await next).holder).toEqual(at(two))
    const other = names()
    other.register('db', at(one))
    expect((await other.watchName('db', (await next).cursor)).holder).toEqual(at(one))
    expect((await all.watchName('db', 'nonsense')).holder).toEqual(at(two))
    // Came and went meanwhile: it is as it was.
    const idle = all.watchName('free', (await all.watchName('free', undefined)).cursor)
    all.register('free', at(one))
    all.unregister('free')
    expect(await settled(idle)).toBe(false)
    all.end(new PeerClosedError())
    await expect(idle).rejects.toMatchObject({ code: 'PEER_CLOSED' })
  })

  test('may give up, and leaves nothing behind', async () => {
    const all = names()
    const { cursor } = await all.watchName('db', undefined)
    const abort = new AbortController()
    const asking = all.watchName('db', cursor, abort.signal)
    const group = all.watchGroup('g', (await all.watchGroup('g', undefined)).cursor, abort.signal)
    expect(all.waiting).toBe(2)
    abort.abort(new Error('enough'))
    await expect(asking).rejects.toThrow('enough')
    await expect(group).rejects.toThrow('enough')
    expect(all.waiting).toBe(0)
    await expect(all.watchName('db', undefined, abort.signal)).rejects.toThrow('enough')
  })

  test('hears why there is no more of it when the peer closes', async () => {
    const all = names()
    const asking = all.watchName('db', (await all.watchName('db', undefined)).cursor)
    const group = all.watchGroup('g', (await all.watchGroup('g', undefined)).cursor)
    all.end(new PeerClosedError())
    await expect(asking).rejects.toMatchObject({ code: 'PEER_CLOSED' })
    await expect(group).rejects.toMatchObject({ code: 'PEER_CLOSED' })
    await expect(all.watchName('db', undefined)).rejects.toMatchObject({ code: 'PEER_CLOSED' })
    expect(all.waiting).toBe(0)
  })
})

describe('a group', () => {
  const member = (n: number): Member => ({ path: `s/${n}`, epoch: 1, machine: 'm' })

  test('has those actors of this peer that are in it, each once, for as long as they live', async () => {
    const all = names()
    all.began(one, { groups: ['workers', 'others', 'workers'] })
    all.began(two, { groups: ['workers'] })
    const first = await all.watchGroup('workers', undefined)
    expect(first).toMatchObject({
      begins: true,
      joined: [
        [one.path, 1],
        [two.path, 1],
      ],
      left: [],
    })
    all.ended(one.path)
    const next = await all.watchGroup('workers', first.cursor)
    expect(next).toMatchObject({ joined: [], left: [[one.path, 1]] })
    expect(next.begins).toBeUndefined()
    expect(all.groups).toBe(1)
    // Asked `now` it says that nothing has changed.
    expect(await all.watchGroup('workers', next.cursor, undefined, true)).toEqual({
      cursor: next.cursor,
      joined: [],
      left: [],
    })
    all.ended(two.path)
    all.ended(two.path)
    expect(await all.watchGroup('workers', next.cursor)).toMatchObject({ begins: true, joined: [] })
    expect([all.groups, all.memberships]).toEqual([0, 0])
  })

  test('begins with its actors, or they do not begin', () => {
    const all = names()
    all.began(one, { register: 'db', groups: ['a', 'b'] })
    expect([all.holder('db'), all.groups, all.memberships]).toEqual([at(one), 2, 2])
    expect(codeFrom(() => all.began(two, { register: 'db', groups: ['c'] }))).toBe('NAME_TAKEN')
    expect(codeFrom(() => all.began(two, { register: 'free', groups: ['c', 'c d'] }))).toBe('USAGE')
    expect([all.size, all.groups, all.memberships]).toEqual([1, 2, 2])
    all.ended(one.path)
    expect([all.size, all.groups, all.memberships]).toEqual([0, 0, 0])
  })

  test(`has room for ${MEMBERS_MOST}, a peer for ${GROUPS_MOST} of them and for ${MEMBERSHIPS_MOST} memberships`, () => {
    const all = names()
    const into = (who: Member, ...groups: string[]): string | undefined => codeFrom(() => all.began(who, { groups }))
    for (let n = 0; n < MEMBERS_MOST; n++) all.began(member(n), { groups: ['g'] })
    expect(into(one, 'free', 'g')).toBe('LIMIT')
    expect(all.groups).toBe(1)
    // Who is in it already takes no room.
    expect(into(member(3), 'g')).toBe('nothing')
    all.ended(member(3).path)
    expect(into(one, 'g')).toBe('nothing')
    all.began(one, { groups: Array.from({ length: GROUPS_MOST - 1 }, (_, n) => `g${n + 1}`) })
    expect(into(one, 'more')).toBe('LIMIT')
    for (let n = all.memberships; n < MEMBERSHIPS_MOST; n++) all.began(member(n), { groups: [`g${1 + (n % 4)}`] })
    expect(into(two, 'g9')).toBe('LIMIT')
    all.ended(one.path)
    expect([all.groups, all.memberships]).toEqual([5, MEMBERSHIPS_MOST - GROUPS_MOST])
    expect(into(two, 'g9')).toBe('nothing')
  })

  test('comes in parts while others come and go', async () => {
    const all = names()
    for (let n = 0; n < 3 * CHANGES_MOST; n++) all.began(member(n), { groups: ['g'] })
    const seen = new Set<string>()
    const take = ({ joined, left }: GroupAnswer): void => {
      for (const [path] of left) seen.delete(path)
      for (const [path, , machine] of joined) {
        expect([machine, seen.has(path)]).toEqual(['m', false])
        seen.add(path)
      }
    }
    let answer = await all.watchGroup('g', undefined)
    expect(answer.joined).toHaveLength(CHANGES_MOST)
    take(answer)
    for (let n = 0; n < 10; n++) all.ended(member(n).path)
    for (let n = 0; n < 10; n++) all.ended(member(2 * CHANGES_MOST + n).path)
    while (answer.more) take((answer = await all.watchGroup('g', answer.cursor)))
    expect(seen.size).toBe(3 * CHANGES_MOST - 20)
  })
})

describe('news', () => {
  test('wakes who waits for it, and nobody else: one watcher among ten thousand names costs nothing', async () => {
    const news = new News()
    let looks = 0
    let value: string | undefined
    const found = news.poll('n1', () => {
      looks++
      return value
    })
    for (let n = 2; n < 10_000; n++) news.tell(`n${n}`)
    expect(await settled(found)).toBe(false)
    expect([looks, news.waiting]).toEqual([1, 1])
    news.tell('n1')
    expect(await settled(found)).toBe(false)
    value = 'it'
    news.tell('n1')
    news.tell('n1')
    expect(await found).toBe('it')
    expect([looks, news.waiting]).toEqual([3, 0])
  })
})

describe('a set that is told', () => {
  const feed = (): SetFeed<number> => new SetFeed(String)

  test('keeps no more of what has left than there is, and who is behind that begins anew', () => {
    const set = feed()
    set.add(-1)
    const { cursor } = set.since(undefined)!
    for (let n = 0; n < 100_000; n++) {
      set.add(n)
      set.delete(String(n))
    }
    expect(set.kept).toBeLessThan(64)
    expect(set.since(cursor)).toMatchObject({ begins: true, joined: [-1], left: [] })
    for (let n = 0; n < 10_000; n++) set.add(n)
    const { cursor: late } = set.since(cursor)!
    for (let n = 0; n < 10_000; n++) set.delete(String(n))
    expect(set.kept).toBeLessThan(64)
    expect(set.since(late)).toMatchObject({ begins: true, joined: [-1] })
    set.delete('-1')
    expect(set.kept).toBe(0)
  })

  test('is told in parts of what has changed, without repeating what came in between', () => {
    const set = feed()
    for (let n = 0; n < 2 * CHANGES_MOST; n++) set.add(n)
    const first = set.since(undefined)!
    expect([first.joined.length, first.more]).toEqual([CHANGES_MOST, true])
    set.delete('0')
    set.add(0)
    const second = set.since(first.cursor)!
    const third = set.since(second.cursor)!
    expect([second.joined.length, second.begins, third.joined, third.more]).toEqual([
      CHANGES_MOST,
      undefined,
      [0],
      undefined,
    ])
    expect(set.since(third.cursor)).toBeUndefined()
  })
})

describe('a watcher that has caught up', () => {
  const NAMES = ['a', 'b', 'c']
  const PATHS = ['s/0', 's/1', 's/2', 's/3']
  type Step =
    | { readonly do: 'register'; readonly name: string; readonly path: string; readonly replace: boolean }
    | { readonly do: 'unregister'; readonly name: string }
    | { readonly do: 'end'; readonly path: string }
    | { readonly do: 'begin'; readonly path: string; readonly name: string; readonly groups: readonly string[] }
    | { readonly do: 'watch'; readonly watcher: number }

  const name = fc.constantFrom(...NAMES)
  const path = fc.constantFrom(...PATHS)
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ do: fc.constant('register' as const), name, path, replace: fc.boolean() }),
    fc.record({ do: fc.constant('unregister' as const), name }),
    fc.record({ do: fc.constant('end' as const), path }),
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constant('begin' as const), path, name, groups: fc.subarray(NAMES) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('watch' as const), watcher: fc.nat(1) }) },
  )

  /** What anybody would write down by hand. */
  class Model {
    readonly epochs = new Map<string, number>()
    readonly names = new Map<string, string>()
    readonly groups = new Map<string, Set<string>>(NAMES.map((group) => [group, new Set()]))

    keyOf(of: string): string {
      return `${of} ${this.epochs.get(of)}`
    }
    drop(of: string): void {
      for (const [held, by] of this.names) if (by.startsWith(`${of} `)) this.names.delete(held)
      for (const members of this.groups.values())
        for (const key of members) if (key.startsWith(`${of} `)) members.delete(key)
    }
  }

  /** Follows all names and groups, an answer at a time, as far as there are any. */
  class Watcher {
    readonly cursors = new Map<string, string>()
    readonly names = new Map<string, string>()
    readonly groups = new Map<string, Set<string>>(NAMES.map((group) => [group, new Set()]))

    async look(all: ActorNames, most: number): Promise<void> {
      for (const held of NAMES) {
        const answer = await this.#ask(`n ${held}`, (cursor, signal) => all.watchName(held, cursor, signal))
        if (answer?.holder) this.names.set(held, `${answer.holder.path} ${answer.holder.epoch}`)
        else if (answer) this.names.delete(held)
      }
      for (const [group, members] of this.groups) {
        for (let n = 0; n < most; n++) {
          const answer = await this.#ask(`g ${group}`, (cursor, signal) => all.watchGroup(group, cursor, signal))
          if (!answer) break
          if (answer.begins) members.clear()
          for (const [of, epoch] of answer.left) members.delete(`${of} ${epoch}`)
          for (const [of, epoch] of answer.joined) members.add(`${of} ${epoch}`)
        }
      }
    }

    /** Nothing where it would have to wait. */
    async #ask<A extends { readonly cursor: string }>(
      key: string,
      ask: (cursor: string | undefined, signal: AbortSignal) => Promise<A>,
    ): Promise<A | undefined> {
      const abort = new AbortController()
      const asking = ask(this.cursors.get(key), abort.signal)
      asking.catch(() => undefined)
      if (!(await settled(asking))) {
        abort.abort()
        return void (await settled(asking))
      }
      const answer = await asking
      this.cursors.set(key, answer.cursor)
      return answer
    }
  }

  test('sees exactly what there is, whatever was done in between, in any order', async () => {
    const property = fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const model = new Model()
      for (const of of PATHS) model.epochs.set(of, 1)
      const all = names(({ path: of, epoch }) => model.epochs.get(of) === epoch)
      const watchers = [new Watcher(), new Watcher()]
      const member = (of: string): Member => ({ path: of, epoch: model.epochs.get(of)! })
      for (const act of steps) {
        switch (act.do) {
          case 'register': {
            const key = model.keyOf(act.path)
            const taken = model.names.has(act.name) && model.names.get(act.name) !== key && !act.replace
            const register = (): void => all.register(act.name, at(member(act.path)), { replace: act.replace })
            expect(codeFrom(register)).toBe(taken ? 'NAME_TAKEN' : 'nothing')
            if (!taken) model.names.set(act.name, key)
            break
          }
          case 'unregister':
            expect(all.unregister(act.name)).toBe(model.names.delete(act.name))
            break
          case 'end':
            all.ended(act.path)
            model.drop(act.path)
            model.epochs.set(act.path, model.epochs.get(act.path)! + 1)
            break
          case 'begin': {
            // Each attempt of one actor ends before the next begins.
            all.ended(act.path)
            model.drop(act.path)
            const taken = model.names.has(act.name)
            model.epochs.set(act.path, model.epochs.get(act.path)! + 1)
            const begin = (): void => all.began(member(act.path), { register: act.name, groups: act.groups })
            expect(codeFrom(begin)).toBe(taken ? 'NAME_TAKEN' : 'nothing')
            if (taken) break
            model.names.set(act.name, model.keyOf(act.path))
            for (const group of act.groups) model.groups.get(group)!.add(model.keyOf(act.path))
            break
          }
          case 'watch':
            await watchers[act.watcher]!.look(all, 1)
        }
        expect(
          new Map(
            NAMES.flatMap((held) => {
              const holder = all.holder(held)
              return holder ? [[held, `${holder.path} ${holder.epoch}`]] : []
            }),
          ),
        ).toEqual(model.names)
      }
      for (const watcher of watchers) {
        await watcher.look(all, Number.POSITIVE_INFINITY)
        expect([watcher.names, watcher.groups]).toEqual([model.names, model.groups])
      }
      expect(all.waiting).toBe(0)
      for (const of of PATHS) all.ended(of)
      expect([all.size, all.groups, all.memberships]).toEqual([0, 0, 0])
    })
    await fc.assert(property, { numRuns: 300 })
  })

  test('sees exactly what there is of a large set that comes in parts', () => {
    // Small numbers often, so that what has been told leaves and comes again.
    const change = fc.record({ add: fc.boolean(), from: fc.nat(5000), count: fc.nat(700) })
    const property = fc.property(
      fc.array(fc.oneof(change, fc.constant('look' as const)), { maxLength: 60 }),
      (steps) => {
        const set = new SetFeed<number>(String)
        const model = new Set<number>()
        const seen = new Set<number>()
        let cursor: string | undefined
        const look = (): boolean => {
          const answer = set.since(cursor)
          if (!answer) return false
          cursor = answer.cursor
          if (answer.begins) seen.clear()
          expect(answer.joined.length + answer.left.length).toBeLessThanOrEqual(CHANGES_MOST)
          for (const item of answer.left) seen.delete(item)
          for (const item of answer.joined) seen.add(item)
          // Where there is more it is said, and where there is none it is not.
          expect(answer.more === true).toBe(set.since(cursor) !== undefined)
          return true
        }
        for (const act of steps) {
          if (act === 'look') {
            look()
            continue
          }
          for (let n = act.from; n < act.from + act.count; n++) {
            expect(act.add ? set.add(n) : set.delete(String(n))).toBe(act.add ? !model.has(n) : model.has(n))
            if (act.add) model.add(n)
            else model.delete(n)
          }
          expect(set.kept).toBeLessThanOrEqual(4 * model.size)
        }
        for (let looks = 0; look(); looks++) expect(looks).toBeLessThan(100)
        expect(seen).toEqual(model)
      },
    )
    fc.assert(property, { numRuns: 200 })
  })
})
