// Whom a peer lets in, how much of it, and for how long, on any carrier.

import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Channel, ErrandError, type Protocol } from '../../src/index.ts'
import { MAX_UNANNOUNCED } from '../../src/switchboard.ts'
import {
  BULK,
  type Carrier,
  KiB,
  PLAIN,
  type Raw,
  type Started,
  echo,
  failing,
  helloOf,
  reader,
  take,
} from './places.ts'

/** Five of 64 channels each: more than the 256 that a peer may have in all. */
const MANY: readonly Protocol[] = ['a', 'b', 'c', 'd', 'e'].map((name) => ({ name: `/test/${name}/1`, maxFrame: KiB }))

export function limitsContract(carrier: Carrier, started: Started): void {
  describe('a peer admitted for one protocol', () => {
    const UNKNOWN: Protocol = { name: '/test/unknown/1', maxFrame: KiB }
    const dialer = { protocols: [PLAIN, BULK, UNKNOWN] }

    test('cannot open another, and does not learn which there are; the host never hears of it', async () => {
      const asked = new Set<string>()
      const {
        open,
        theirs,
        dialer: place,
      } = await started({
        dialer,
        listener: {
          admits: (peer, protocol) => {
            asked.add(peer)
            return protocol === undefined || protocol === PLAIN.name
          },
        },
      })
      const near = await open(PLAIN)
      void echo(await theirs.next())
      const refusals: ErrandError[] = []
      for (const protocol of [BULK, UNKNOWN, BULK, UNKNOWN]) {
        const error = await open(protocol).catch((reason: unknown) => reason)
        if (protocol === UNKNOWN && carrier.negotiates === true) {
          expect(error).toEqual(failing('PROTOCOL'))
          continue
        }
        expect(error).toEqual(failing('DENIED'))
        refusals.push(error as ErrandError)
      }
      const said = refusals.map(({ message }) => message.replaceAll(BULK.name, 'it').replaceAll(UNKNOWN.name, 'it'))
      expect(new Set(said).size).toBe(1)
      expect(theirs.accepted).toBe(1)
      expect([...asked]).toEqual([place.id])
      await near.send('still')
      expect(await take(reader(near))).toBe('still')
    })

    test('is asked about anew for every channel', async () => {
      let allowed = true
      const { open, theirs } = await started({
        listener: { admits: (_, protocol) => protocol === undefined || allowed },
      })
      await open(PLAIN)
      allowed = false
      await expect(open(PLAIN)).rejects.toEqual(failing('DENIED'))
      allowed = true
      await open(PLAIN)
      expect(theirs.accepted).toBe(2)
    })

    test('by a host that throws when asked gets nowhere, and nothing of ours', async () => {
      const { open, theirs } = await started({
        listener: {
          admits: (_, protocol) => {
            if (protocol === BULK.name) throw new Error('secret: /home/bob')
            return true
          },
        },
      })
      await open(PLAIN)
      const error = await open(BULK).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(ErrandError)
      expect(String((error as Error).message)).not.toContain('bob')
      expect(theirs.accepted).toBe(1)
      await open(PLAIN)
    })
  })

  describe('a peer may hold open', () => {
    test('256 channels of all protocols, and one more when one is closed; what we hold open does not count', async () => {
      const hosts = { listener: { protocols: MANY }, dialer: { protocols: MANY } }
      const { open, pair, theirs, listener, dialer } = await started(hosts)
      const pairs: [Channel, Channel][] = []
      for (const protocol of MANY.slice(0, 4)) for (let i = 0; i < 64; i++) pairs.push(await pair(protocol))
      const error = await open(MANY[4]!).catch((reason: unknown) => reason)
      expect(error).toEqual(expect.objectContaining({ code: 'DENIED', message: 'you hold 256 channels already' }))
      expect(theirs.accepted).toBe(256)
      // A socket leads one way only.
      if (listener.carrier !== 'socket') await listener.open(dialer.id, MANY[4]!.name, { addresses: dialer.addresses })
      const [near, far] = pairs[100]!
      near.abort()
      await far.closed
      const [last] = await pair(MANY[4]!)
      await expect(open(MANY[4]!)).rejects.toEqual(failing('DENIED'))
      for (const [one, other] of [pairs[0]!, pairs[255]!]) {
        await one.send('works')
        expect(await take(reader(other))).toBe('works')
      }
      last.abort()
    })

    if (carrier.raw !== undefined) {
      test('so many connections that have not said what they want; those that have do not count', async () => {
        const { listener, theirs, pair } = await started()
        const first = await carrier.raw!(listener, PLAIN.name)
        if (first.again === undefined) return
        const silent: Raw[] = [first]
        while (silent.length < MAX_UNANNOUNCED) silent.push(await first.again())
        const closed = new Set<Raw>()
        for (const raw of silent) void raw.closed.then(() => closed.add(raw))
        const tooMany = await first.again()
        await tooMany.closed
        expect(closed.size).toBe(0)
        // Each of them may still say it, and there is room for another then.
        silent.at(-1)!.write(helloOf(PLAIN))
        await theirs.next()
        const another = await first.again()
        another.write(helloOf(PLAIN))
        await theirs.next()
        expect(theirs.accepted).toBe(2)
        // Nor do they stand in anybody else's way.
        if (listener.carrier !== 'socket') await pair()
        for (const raw of [...silent, another]) raw.write(new Uint8Array(0))
        await Promise.all(silent.map((raw) => raw.closed))
      })

      test('a connection for ten seconds without having said what it wants, however busy it is meanwhile', async () => {
        const { listener, theirs, pair } = await started()
        await pair()
        vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'], shouldAdvanceTime: true })
        onTestFinished(() => void vi.useRealTimers())
        const raws = [await carrier.raw!(listener, PLAIN.name), await carrier.raw!(listener, PLAIN.name)] as const
        const hello = helloOf(PLAIN)
        for (let second = 0; second < 10; second++) {
          raws[0].write(hello.subarray(second, second + 1))
          raws[1].write(new Uint8Array(4)) // a sign of life
          await vi.advanceTimersByTimeAsync(1_000)
        }
        await Promise.all(raws.map(({ closed }) => closed))
        expect(theirs.accepted).toBe(1)
      })
    }
  })
}
