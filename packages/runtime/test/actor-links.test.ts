// The way back to a peer, for very many who wait for it: tried once for all of them, soon again, and not for ever again at once.
import { createMemoryNetwork, type MemoryNetwork } from '@errand/transport/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ActorLinks } from '../src/actor-links.ts'
import { codeOf, DeniedError, PeerUnreachableError } from '../src/errors.ts'
import type { Link } from '../src/link.ts'
import type { Network, Place } from '../src/network.ts'
import { createPeer } from '../src/index.ts'
import { counter } from './fixtures/machines.ts'
import { ActorWorld } from './support/actor-world.ts'
import { range } from './support/numbers.ts'
import { refusal, until, within } from './support/peers.ts'

const there = { key: 'far', peer: 'far', location: 'far' } as Place
const unreachable = (): Error => new PeerUnreachableError('far does not answer')

/** A network whose links are made when a test says so. */
class Dials {
  dials = 0
  open: Link | undefined
  answer: () => Promise<Link> = () => Promise.reject(unreachable())

  linkThere(): Link | undefined {
    return this.open
  }
  async linkTo(): Promise<Link> {
    this.dials++
    return (this.open = await this.answer())
  }
}

let dials: Dials
let over: AbortController
let links: ActorLinks
beforeEach(() => {
  dials = new Dials()
  over = new AbortController()
  links = new ActorLinks(dials as unknown as Network, over.signal)
})
afterEach(() => over.abort())

const link = { open: true } as Link

describe('very many who wait for a link', () => {
  test('wait for one dial, are told of each that was in vain, and get the link that came of it', async () => {
    const told = new Map<number, number>()
    const waiting = range(1000).map((n) => links.link(there, undefined, () => told.set(n, (told.get(n) ?? 0) + 1)))
    await until('two attempts', () => dials.dials >= 2)
    dials.answer = () => Promise.resolve(link)
    expect(new Set(await within('the link', Promise.all(waiting)))).toEqual(new Set([link]))
    expect(dials.dials).toBeLessThan(20)
    expect(new Set(told.values())).toEqual(new Set([dials.dials - 1]))
    expect(told.size).toBe(1000)
  })

  test('give it up one by one, and nobody dials for nobody', async () => {
    const leaving = new AbortController()
    const one = links.link(there, leaving.signal, () => undefined)
    const other = links.link(there, undefined, () => undefined)
    await until('an attempt', () => dials.dials > 0)
    leaving.abort(new Error('enough'))
    expect(await refusal('it', () => one)).toMatchObject({ message: 'enough' })
    dials.answer = () => Promise.resolve(link)
    expect(await within('the other', other)).toBe(link)
    dials.open = undefined
    dials.answer = () => Promise.reject(unreachable())
    const alone = new AbortController()
    const last = links.link(there, alone.signal, () => undefined)
    await until('an attempt', () => dials.dials > 2)
    alone.abort(new Error('enough'))
    await refusal('it', () => last)
    const { dials: so } = dials
    // Whoever comes later begins anew, at once.
    dials.answer = () => Promise.resolve(link)
    expect(
      await within(
        'anew',
        links.link(there, undefined, () => undefined),
      ),
    ).toBe(link)
    expect(dials.dials).toBeLessThanOrEqual(so + 2)
  })

  test.each([
    ['may not go there', () => new DeniedError('not you'), 'DENIED'],
    ['are closed', () => (over.abort(), unreachable()), 'PEER_CLOSED'],
  ])('%s: told so, all of them', async (_, answer, code) => {
    dials.answer = () => Promise.reject(answer())
    const waiting = range(10).map((n) => links.link(there, undefined, () => n).catch(codeOf))
    expect(new Set(await within('the answer', Promise.all(waiting)))).toEqual(new Set([code]))
    expect(dials.dials).toBe(1)
  })

  test.each(['CHANNEL_CLOSED', 'PEER_LOST', 'PROTOCOL', 'TIMEOUT', undefined])(
    'go on waiting where a dial fails by %s',
    async (code) => {
      dials.answer = () => Promise.reject(Object.assign(new Error('it broke while it was made'), { code }))
      const waiting = links.link(there, undefined, () => (dials.answer = () => Promise.resolve(link)))
      expect(await within('the link', waiting)).toBe(link)
    },
  )

  test('need not wait any longer when the peer is heard of', async () => {
    const times: number[] = []
    const waiting = links.link(there, undefined, () => times.push(dials.dials))
    for (let n = 1; n <= 60; n++) {
      await until('an attempt', () => times.length >= n)
      links.heardOf('somebody else')
      links.heardOf('far')
    }
    dials.answer = () => Promise.resolve(link)
    links.heardOf('far')
    expect(await within('the link', waiting)).toBe(link)
  })

  test('wait a little where the last link there lasted for less', async () => {
    dials.answer = () => Promise.resolve(link)
    await links.link(there, undefined, () => undefined)
    dials.open = undefined
    let got = false
    const next = links.link(there, undefined, () => undefined).then(() => (got = true))
    // Immediates and promises alone do not bring it.
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect([got, dials.dials]).toEqual([false, 1])
    await within('the next one', next)
    expect(dials.dials).toBe(2)
  })
})

describe('refs of a peer that is lost', () => {
  let network: MemoryNetwork
  let world: ActorWorld
  let dialled: number
  beforeEach(async () => {
    network = createMemoryNetwork()
    dialled = 0
    world = await ActorWorld.open({
      machines: [counter],
      network,
      over: (transport) =>
        new Proxy(transport, {
          get: (target, name) => {
            const value: unknown = Reflect.get(target, name, target)
            if (name === 'open') dialled++
            return typeof value === 'function' ? value.bind(target) : value
          },
        }),
    })
  })
  afterEach(() => world[Symbol.asyncDispose]())

  test('dial for all of them together, and are back with it', async () => {
    const session = await world.here.connect('far')
    const refs = await Promise.all(range(300).map(() => session.spawn(counter)))
    await session.disconnect()
    const before = dialled
    network.cut('here', 'far')
    network.lose('here', 'far')
    await until('that all are stale', () => refs.every((ref) => ref.state === 'stale'))
    await until('some attempts', () => dialled > before + 3)
    network.heal('here', 'far')
    await until('that all are live', () => refs.every((ref) => ref.state === 'live'))
    expect(dialled - before).toBeLessThan(40)
  })

  test('of a name that nobody has are gone', async () => {
    const ref = await world.here.ref({ peer: 'nobody', path: 'a/b', epoch: 1 })
    await until('its end', () => ref.state === 'gone')
    expect(ref.reason).toMatchObject({ code: 'PEER_NOT_FOUND' })
    const alone = await createPeer({ name: 'alone' })
    const lost = await alone.ref({ peer: 'far', path: 'a/b', epoch: 1 })
    await until('its end', () => lost.state === 'gone')
    await alone.close()
  })
})
