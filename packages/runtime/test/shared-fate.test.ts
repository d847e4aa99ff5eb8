// Shared fate of two actors, whichever goes down first, however, and whatever is done with the link meanwhile.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ActorAddress, Down, FateEnd, SharedFate } from '../src/actor-surface.ts'
import { PeerUnreachableError } from '../src/errors.ts'
import { type FatePorts, linkActors } from '../src/shared-fate.ts'
import { settled } from './support/scripted-engine.ts'

type Name = 'a' | 'b'
const REASONS: readonly Down['reason'][] = ['exit', 'error', 'stopped', 'peer lost', 'unreachable', 'gone']
const address: ActorAddress = { peer: 'here', path: 'session/job', epoch: 1 }
const notice = (reason: Down['reason']): Down => ({ address, reason, at: new Date(0) })

class Ports implements FatePorts<Name> {
  readonly stops: string[] = []
  readonly monitors = { a: Promise.withResolvers<Down>(), b: Promise.withResolvers<Down>() }
  readonly open = new Set<Name>()
  stopping: (actor: Name) => Promise<void> = async (actor) => this.down(actor, 'stopped')

  async *monitor(actor: Name, signal: AbortSignal): AsyncGenerator<Down> {
    this.open.add(actor)
    const aborted = Promise.withResolvers<undefined>()
    signal.addEventListener('abort', () => aborted.resolve(undefined))
    try {
      const down = await Promise.race([this.monitors[actor].promise, aborted.promise])
      if (down) yield down
    } finally {
      this.open.delete(actor)
    }
  }

  async stop(actor: Name, reason: string): Promise<void> {
    this.stops.push(`${actor}: ${reason}`)
    await this.stopping(actor)
  }

  down(actor: Name, reason: Down['reason']): void {
    this.monitors[actor].resolve(notice(reason))
  }
}

function linked(): { ports: Ports; fate: SharedFate; ends: FateEnd[] } {
  const ports = new Ports()
  const fate = linkActors('a', 'b', ports)
  const ends: FateEnd[] = []
  void fate.ended.then((end) => ends.push(end))
  return { ports, fate, ends }
}

describe('shared fate', () => {
  test.each(REASONS.flatMap((reason) => (['a', 'b'] as const).map((who) => [reason, who] as const)))(
    '%s of %s',
    async (reason, who) => {
      const { ports, ends } = linked()
      await settled()
      expect([...ports.open]).toEqual(['a', 'b'])
      ports.down(who, reason)
      await settled()
      const other = who === 'a' ? 'b' : 'a'
      const stops = reason === 'exit' ? [] : [`${other}: the actor it is linked with went down: ${reason}`]
      expect(ports.stops).toEqual(stops)
      expect(ends).toEqual([{ down: reason === 'exit' ? undefined : notice(reason), error: undefined }])
      expect(ports.open.size).toBe(0)
      // What becomes of the other is its own affair.
      ports.down(other, 'error')
      await settled()
      expect([ports.stops, ends.length]).toEqual([stops, 1])
    },
  )

  test('both at once: the first one counts, and nobody is stopped twice', async () => {
    const { ports, ends } = linked()
    ports.down('b', 'error')
    ports.down('a', 'unreachable')
    await settled()
    expect([ports.stops.length, ends.length]).toEqual([1, 1])
  })

  test('disposed it is over, also when both go down in the same turn; after the end that changes nothing', async () => {
    const first = linked()
    first.ports.down('a', 'error')
    first.fate[Symbol.dispose]()
    await settled()
    expect([first.ports.stops, first.ends, first.ports.open.size]).toEqual([
      [],
      [{ down: undefined, error: undefined }],
      0,
    ])
    const second = linked()
    second.ports.down('a', 'error')
    await settled()
    second.fate[Symbol.dispose]()
    await settled()
    expect([second.ports.stops.length, second.ends]).toEqual([1, [{ down: notice('error'), error: undefined }]])
  })

  test('one that cannot be stopped, or watched: that is said', async () => {
    const lost = new PeerUnreachableError('server01 does not answer')
    const { ports, ends } = linked()
    ports.stopping = () => Promise.reject(lost)
    ports.down('a', 'peer lost')
    await settled()
    expect(ends).toEqual([{ down: notice('peer lost'), error: lost }])
    const unseen = linked()
    unseen.ports.monitors.b.reject(lost)
    await settled()
    expect([unseen.ends, unseen.ports.stops, unseen.ports.open.size]).toEqual([
      [{ down: undefined, error: lost }],
      [],
      0,
    ])
  })

  test('whatever happens, in any order: at most one stop, one end, and nothing watched any more', async () => {
    const step = fc.oneof(
      fc.tuple(fc.constantFrom<Name>('a', 'b'), fc.constantFrom(...REASONS)).map(([who, reason]) => ({ who, reason })),
      fc.constantFrom('dispose' as const, 'turn' as const),
    )
    const property = fc.asyncProperty(fc.array(step, { maxLength: 6 }), async (steps) => {
      const { ports, fate, ends } = linked()
      const first: Partial<Record<Name, Down['reason']>> = {}
      let disposed = false
      for (const one of steps) {
        if (one === 'turn') await settled()
        else if (one === 'dispose') {
          fate[Symbol.dispose]()
          disposed = true
        } else {
          ports.down(one.who, one.reason)
          first[one.who] ??= one.reason
        }
      }
      await settled()
      const downs = Object.values(first)
      expect(ends.length).toBe(downs.length > 0 || disposed ? 1 : 0)
      expect(ports.stops.length).toBeLessThanOrEqual(1)
      // Where neither failed nobody is stopped; where both did, unlinked never, one of them was.
      if (downs.every((reason) => reason === 'exit')) expect(ports.stops).toEqual([])
      if (downs.length > 0 && downs.every((reason) => reason !== 'exit') && !disposed)
        expect(ports.stops.length).toBe(1)
      fate[Symbol.dispose]()
      await settled()
      expect([ends.length, ports.open.size]).toEqual([1, 0])
    })
    await fc.assert(property, { numRuns: 300 })
  })
})
