// The contract of src/transport.ts, sentence by sentence, for any carrier. Run by memory, socket and libp2p.test.ts.

import { getEventListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Channel, DeniedError, ErrandError, type Protocol } from '../../src/index.ts'
import { endingsContract } from './endings.suite.ts'
import { limitsContract } from './limits.suite.ts'
import {
  BEATING,
  BULK,
  type Carrier,
  FEW,
  KiB,
  PATIENT,
  PLAIN,
  type Started,
  echo,
  failing,
  frameOfControl,
  helloOf,
  host,
  readAll,
  reader,
  startedOn,
  take,
} from './places.ts'

export { type Carrier, PLAIN, type Raw, echo, failing, host } from './places.ts'

export function transportContract(carrier: Carrier): void {
  const started: Started = (hosts) => startedOn(carrier, hosts)

  // Whatever a test does: no promise of ours is rejected behind everybody's back.
  const unhandled: unknown[] = []
  const onUnhandled = (reason: unknown): unknown => unhandled.push(reason)
  beforeAll(() => void process.on('unhandledRejection', onUnhandled))
  afterEach(() => expect(unhandled.splice(0)).toEqual([]))
  afterAll(() => void process.off('unhandledRejection', onUnhandled))

  describe('values', () => {
    test('arrive whole, in the order of send, each once', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      const count = 10_000
      const sending = (async () => {
        for (let i = 0; i < count; i++) await near.send(i)
        await near.end()
      })()
      expect(await readAll(far)).toEqual(Array.from({ length: count }, (_, i) => i))
      await sending
    })

    test('are copied by send: changing them at once changes nothing', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      const value = { n: 0, bytes: new Uint8Array([0]) }
      for (let i = 1; i <= 3; i++) {
        value.n = i
        value.bytes[0] = i
        void near.send(value)
      }
      value.n = 99
      value.bytes[0] = 99
      void near.end()
      const arrived = (await readAll(far)) as (typeof value)[]
      expect(arrived.map(({ n, bytes }) => [n, bytes[0]])).toEqual([
        [1, 1],
        [2, 2],
        [3, 3],
      ])
    })

    test('as large as the limit pass, in both directions', async () => {
      const { pair } = await started()
      const [near, far] = await pair(BULK)
      const large = new Uint8Array(BULK.maxFrame - 64).map((_, i) => i)
      void echo(far)
      const values = reader(near)
      for (let i = 0; i < 3; i++) {
        await near.send(large)
        expect(Buffer.compare((await take(values)) as Uint8Array, large)).toBe(0)
      }
    })

    test('too large to send are refused with FRAME_TOO_LARGE, and the channel lives on', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      await expect(near.send(new Uint8Array(PLAIN.maxFrame))).rejects.toEqual(failing('FRAME_TOO_LARGE'))
      await near.send('after')
      expect(await take(reader(far))).toBe('after')
    })

    test('that cannot travel are refused with NOT_TRANSFERABLE, and the channel lives on', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      await expect(near.send({ callback: () => 1 })).rejects.toEqual(failing('NOT_TRANSFERABLE'))
      await near.send('after')
      expect(await take(reader(far))).toBe('after')
    })

    test('beyond a limit of the codec are refused with TOO_LARGE, and the channel lives on', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      let deep: unknown = 1
      for (let i = 0; i < 100; i++) deep = [deep]
      await expect(near.send(deep)).rejects.toEqual(failing('TOO_LARGE'))
      await near.send('after')
      expect(await take(reader(far))).toBe('after')
    })

    test('larger than the reader allows end the channel at both ends, and no other', async () => {
      const { theirs, dialer, listener, pair } = await started({
        listener: { protocols: [PLAIN, { ...BULK, maxFrame: KiB }] },
      })
      const [other, otherFar] = await pair(PLAIN)
      const near = await dialer.open(listener.id, BULK.name, { addresses: listener.addresses })
      const far = await theirs.next()
      await near.send('small')
      void near.send(new Uint8Array(2 * KiB)).catch(() => {})
      const values = reader(far)
      expect(await take(values)).toBe('small')
      await expect(values.next()).rejects.toEqual(failing('FRAME_TOO_LARGE'))
      expect(await values.next()).toEqual({ done: true, value: undefined })
      expect((await far.closed).error).toEqual(failing('FRAME_TOO_LARGE'))
      expect((await near.closed).error).toEqual(failing('FRAME_TOO_LARGE'))
      await other.send('unmoved')
      expect(await take(reader(otherFar))).toBe('unmoved')
    })
  })

  describe('back-pressure', () => {
    test('a reader that stops makes the sender wait, with few bytes in flight, and loses nothing', async () => {
      const { pair } = await started()
      const [near, far] = await pair(PLAIN)
      const size = 32 * KiB
      const total = 800 // 25 MiB
      let sent = 0
      const sending = (async () => {
        for (; sent < total; sent++) {
          const value = new Uint8Array(size)
          new DataView(value.buffer).setUint32(0, sent)
          await near.send(value)
        }
        await near.end()
      })()
      // Stalled: nothing more went in for a while.
      for (let seen = -1; seen !== sent; await delay(150)) seen = sent
      // 256 KiB here and there, and what carrier and kernel hold: sockets' buffers, yamux' window of 1 MiB.
      expect(sent * size).toBeLessThan(8 * 1024 * KiB)
      let next = 0
      for await (const value of far) {
        const { buffer, byteOffset } = value as Uint8Array
        expect(new DataView(buffer, byteOffset).getUint32(0)).toBe(next++)
      }
      expect(next).toBe(total)
      await sending
    })

    test('a send that waits can be given up, and what it sent arrives all the same', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      const controller = new AbortController()
      let sent = 0
      const stalled = (async () => {
        for (;;) {
          sent++
          await near.send(new Uint8Array(32 * KiB), { signal: controller.signal })
        }
      })()
      for (let seen = -1; seen !== sent; await delay(100)) seen = sent
      controller.abort()
      await expect(stalled).rejects.toEqual(expect.objectContaining({ name: 'AbortError' }))
      void near.end()
      expect(await readAll(far)).toHaveLength(sent)
    })

    test('a sender that does not wait is refused at a limit, and what was taken arrives', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      const sends = Promise.allSettled(Array.from({ length: 1_000 }, () => near.send(new Uint8Array(32 * KiB))))
      void near.end()
      const values = await readAll(far)
      const results = await sends
      const refused = results.filter((it) => it.status === 'rejected').map(({ reason }) => reason as ErrandError)
      expect(refused.length).toBeGreaterThan(0)
      expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['CHANNEL_FULL']))
      expect(values).toHaveLength(1_000 - refused.length)
    })
  })

  describe('several channels', () => {
    test('with values of all sizes both ways at once do not mix', async () => {
      const { pair } = await started()
      const protocols = [PLAIN, BULK, BEATING]
      const size = (channel: number, i: number): number => (channel * 7919 + i * i * 104_729) % (48 * KiB)
      const whole = async (channel: Channel, own: number, other: number): Promise<void> => {
        const sending = (async () => {
          for (let i = 0; i < 60; i++) await channel.send([own, i, new Uint8Array(size(own, i)).fill(own)])
          await channel.end()
        })()
        let next = 0
        for await (const value of channel) {
          const [from, i, bytes] = value as [number, number, Uint8Array]
          expect([from, i, bytes.length]).toEqual([other, next, size(other, next)])
          expect(Buffer.alloc(bytes.length, other).equals(bytes)).toBe(true)
          next++
        }
        expect(next).toBe(60)
        await sending
        expect(await channel.closed).toEqual({})
      }
      const all: Promise<void>[] = []
      for (let i = 0; i < 24; i++) {
        const [near, far] = await pair(protocols[i % protocols.length])
        all.push(whole(near, 2 * i + 1, 2 * i + 2), whole(far, 2 * i + 2, 2 * i + 1))
      }
      await Promise.all(all)
    })

    test('of which some are not read: the others go on', async () => {
      const { pair } = await started()
      let sent = 0
      const stuck: Channel[] = []
      for (let i = 0; i < 4; i++) {
        const [near, far] = await pair(BULK)
        stuck.push(near)
        for (const channel of [near, far]) {
          void (async () => {
            for (; ; sent++) await channel.send(new Uint8Array(32 * KiB))
          })().catch(() => {})
        }
      }
      for (let seen = -1; seen !== sent; await delay(100)) seen = sent
      const [near, far] = await pair()
      void echo(far)
      const values = reader(near)
      for (let i = 0; i < 200; i++) {
        await near.send([i, new Uint8Array(20 * KiB)])
        expect(((await take(values)) as [number])[0]).toBe(i)
      }
      // Bounded in each direction: nothing more has gone in meanwhile.
      expect(sent * 32 * KiB).toBeLessThan(8 * 8 * 1024 * KiB)
      for (const channel of stuck) channel.abort()
    })

    test('full both ways, each empties when it is read, and nothing is lost', async () => {
      const { pair } = await started()
      const channels = await pair()
      const total = 300 // 9.4 MiB each way
      const sent = [0, 0]
      const sending = channels.map(async (channel, side) => {
        for (; sent[side]! < total; sent[side]!++) await channel.send([sent[side], new Uint8Array(32 * KiB)])
        await channel.end()
      })
      for (let seen = ''; seen !== String(sent); await delay(150)) seen = String(sent)
      for (const count of sent) expect(count * 32 * KiB).toBeLessThan(8 * 1024 * KiB)
      await Promise.all(
        channels.map(async (channel) => {
          let next = 0
          for await (const value of channel) expect((value as [number])[0]).toBe(next++)
          expect(next).toBe(total)
        }),
      )
      await Promise.all(sending)
      expect(await Promise.all(channels.map(({ closed }) => closed))).toEqual([{}, {}])
    })
  })

  describe('ending', () => {
    test.each(['opener', 'acceptor'])(
      'half-close by the %s: the other side may still send; then both close in order',
      async (who) => {
        const { pair } = await started()
        const [near, far] = await pair()
        const [first, second] = who === 'opener' ? [near, far] : [far, near]
        await first.send('last words')
        await first.end()
        expect(await readAll(second)).toEqual(['last words'])
        const values = reader(first)
        for (const word of ['still', 'here']) {
          await second.send(word)
          expect(await take(values)).toBe(word)
        }
        await second.end()
        expect(await values.next()).toEqual({ done: true, value: undefined })
        expect(await first.closed).toEqual({})
        expect(await second.closed).toEqual({})
      },
    )

    test('after end() and after the close, send is refused with CHANNEL_CLOSED; end() and abort() change nothing', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      void echo(far)
      const ended = near.end()
      await expect(near.send(1)).rejects.toEqual(failing('CHANNEL_CLOSED'))
      await ended
      expect(await readAll(near)).toEqual([])
      expect(await near.closed).toEqual({})
      await expect(near.send(1)).rejects.toEqual(failing('CHANNEL_CLOSED'))
      near.abort(new Error('too late'))
      await near.end()
      expect(await near.closed).toEqual({})
    })

    test('abort: the other side reads what had arrived, then throws the reason with its code', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      await near.send('before')
      const values = reader(far)
      expect(await take(values)).toBe('before')
      near.abort(new DeniedError('changed my mind', { hint: 'ask again' }))
      await expect(values.next()).rejects.toEqual(
        expect.objectContaining({ name: 'DeniedError', code: 'DENIED', message: 'changed my mind', hint: 'ask again' }),
      )
      expect(await values.next()).toEqual({ done: true, value: undefined })
      expect((await far.closed).error).toEqual(failing('DENIED'))
      expect((await near.closed).error).toEqual(failing('DENIED'))
      await expect(far.send(1)).rejects.toEqual(failing('CHANNEL_CLOSED'))
      await expect(reader(near).next()).rejects.toEqual(failing('DENIED'))
    })

    test('an abort gets through to a peer that has stopped reading, and frees a sender that waits', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      let sent = 0
      const stalled = (async () => {
        for (; ; sent++) await near.send(new Uint8Array(32 * KiB))
      })()
      stalled.catch(() => {})
      for (let seen = -1; seen !== sent; await delay(50)) seen = sent
      near.abort(new DeniedError('enough'))
      await expect(stalled).rejects.toEqual(failing('CHANNEL_CLOSED'))
      expect((await far.closed).error).toBeInstanceOf(Error)
    })

    test('a host whose accept rejects ends that channel with its reason, and no other; after the end it changes nothing', async () => {
      let first = true
      const { open } = await started({
        listener: {
          async accept(channel) {
            const breaks = first
            first = false
            for await (const value of channel) {
              if (breaks) throw new DeniedError('not that value')
              await channel.send(value)
            }
            await channel.end()
            throw new Error('too late to matter')
          },
        },
      })
      const broken = await open(PLAIN)
      const whole = await open(PLAIN)
      await broken.send(1)
      await expect(reader(broken).next()).rejects.toEqual(failing('DENIED'))
      await whole.send(2)
      await whole.end()
      expect(await readAll(whole)).toEqual([2])
      expect(await whole.closed).toEqual({})
    })

    test('a reader that leaves its loop aborts the channel', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      void near.send(1)
      for await (const value of far) {
        expect(value).toBe(1)
        break
      }
      expect((await far.closed).error).toEqual(failing('CHANNEL_CLOSED'))
      expect((await near.closed).error).toEqual(failing('CHANNEL_CLOSED'))
    })

    test('what arrives after the reader has left is nobody’s', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      for (const value of [1, 2, 3]) await near.send(value)
      const values = reader(far)
      expect(await take(values)).toBe(1)
      await values.return!()
      expect(await values.next()).toEqual({ done: true, value: undefined })
      expect((await near.closed).error).toEqual(failing('CHANNEL_CLOSED'))
    })

    test('a channel is iterated once', async () => {
      const { pair } = await started()
      const [near] = await pair()
      reader(near)
      expect(() => reader(near)).toThrow(TypeError)
    })

    test('leaving the scope of `await using` aborts, or ends in order where the peer has ended', async () => {
      const { open, theirs } = await started()
      let far: Channel
      {
        await using near = await open(PLAIN)
        far = await theirs.next()
        await near.send(1)
      }
      expect((await far.closed).error).toEqual(failing('CHANNEL_CLOSED'))
      let near: Channel
      {
        await using it = (near = await open(PLAIN))
        far = await theirs.next()
        await far.end()
        await it.send('bye')
        expect(await readAll(it)).toEqual([])
      }
      expect(await near.closed).toEqual({})
      expect(await readAll(far)).toEqual(['bye'])
    })

    test.each(['listener', 'dialer'] as const)('closing the %s ends every channel at both ends', async (which) => {
      const places = await started()
      const channels = [...(await places.pair()), ...(await places.pair(BULK))]
      await places[which].close()
      await places[which].close()
      for (const channel of channels) expect((await channel.closed).error).toEqual(failing('CHANNEL_CLOSED'))
      await expect(places.open(PLAIN)).rejects.toBeInstanceOf(ErrandError)
    })

    test('disconnect ends every channel with the peer; it may be opened again', async () => {
      const { listener, dialer, pair } = await started()
      const channels = [...(await pair()), ...(await pair(BULK))]
      await listener.disconnect(dialer.id)
      for (const channel of channels) expect((await channel.closed).error).toBeInstanceOf(ErrandError)
      const [near, far] = await pair()
      await near.send(1)
      expect(await take(reader(far))).toBe(1)
    })

    test('500 channels opened and closed leave nothing behind', async () => {
      const { open, theirs } = await started()
      const { signal } = new AbortController()
      const once = async (): Promise<void> => {
        const near = await open(PLAIN, signal)
        void echo(await theirs.next())
        await near.send('ping')
        await near.end()
        expect(await readAll(near)).toEqual(['ping'])
        expect(await near.closed).toEqual({})
      }
      await once()
      const before = process.getActiveResourcesInfo().length
      const warnings: Error[] = []
      const onWarning = (warning: Error): unknown => warnings.push(warning)
      process.on('warning', onWarning)
      for (let i = 0; i < 50; i++) await Promise.all(Array.from({ length: 10 }, once))
      await vi.waitFor(() => expect(process.getActiveResourcesInfo().length).toBeLessThanOrEqual(before + 1))
      process.off('warning', onWarning)
      expect(warnings).toEqual([]) // such as MaxListenersExceededWarning
      expect(getEventListeners(signal, 'abort')).toEqual([])
      // Had any of them been kept, there would be no place for as many as the limit allows.
      const all = await Promise.all(Array.from({ length: 64 }, () => open(PLAIN)))
      expect(all).toHaveLength(64)
    })
  })

  describe('opening', () => {
    test('names the peer and the protocol at both ends', async () => {
      const { listener, dialer, pair } = await started()
      const [near, far] = await pair()
      expect([near.peer, near.protocol]).toEqual([listener.id, PLAIN.name])
      expect([far.peer, far.protocol]).toEqual([dialer.id, PLAIN.name])
    })

    test('resolves only when the peer has accepted: what its host sends first arrives first', async () => {
      const { open } = await started({ listener: { accept: (channel) => void channel.send('welcome') } })
      expect(await take(reader(await open(PLAIN)))).toBe('welcome')
    })

    test('of a protocol that either side does not speak fails with PROTOCOL', async () => {
      const unknown: Protocol = { name: '/test/unknown/1', maxFrame: KiB }
      const { open, theirs } = await started({ dialer: { protocols: [unknown] } })
      await expect(open(unknown)).rejects.toEqual(failing('PROTOCOL'))
      await expect(open(PLAIN)).rejects.toEqual(failing('PROTOCOL'))
      expect(theirs.accepted).toBe(0)
    })

    test('with a signal aborted before fails with its reason', async () => {
      const { open, theirs } = await started()
      await expect(open(PLAIN, AbortSignal.abort(new Error('no')))).rejects.toThrow('no')
      expect(theirs.accepted).toBe(0)
    })

    test('given up on the way fails with the reason, and the accepted end hears of it', async () => {
      const controller = new AbortController()
      const { open, theirs } = await started({
        listener: {
          // Called before the welcome leaves: the opener gives up while it is under way.
          admits: () => (controller.abort(new Error('gave up')), true),
        },
      })
      await expect(open(PLAIN, controller.signal)).rejects.toThrow('gave up')
      if (theirs.accepted > 0) expect((await (await theirs.next()).closed).error).toBeInstanceOf(ErrandError)
    })

    test('towards a peer that is gone fails with PEER_UNREACHABLE', async () => {
      const { listener, dialer } = await started()
      const [peer, addresses] = [listener.id, listener.addresses]
      await listener.close()
      await expect(dialer.open(peer, PLAIN.name, { addresses })).rejects.toEqual(failing('PEER_UNREACHABLE'))
    })

    test('before start and after close fails', async () => {
      const { listener, dialer } = await carrier.places()
      await expect(dialer.open('anybody', PLAIN.name)).rejects.toBeInstanceOf(ErrandError)
      await dialer.close()
      await listener.close()
      await expect(dialer.start(host())).rejects.toEqual(failing('CHANNEL_CLOSED'))
    })

    test('by both at once gives each its own channel', async () => {
      const { listener, dialer, ours, theirs, open } = await started()
      const back = (): Promise<Channel> => listener.open(dialer.id, PLAIN.name, { addresses: dialer.addresses })
      const first = await open(PLAIN)
      void echo(await theirs.next())
      if (listener.carrier === 'socket') return // leads one way only
      const [near, far] = await Promise.all([open(PLAIN), back()])
      void echo(await theirs.next())
      void echo(await ours.next())
      for (const channel of [first, near, far]) {
        await channel.send('mine')
        expect(await take(reader(channel))).toBe('mine')
      }
    })

    test('a transport is started once', async () => {
      const { listener, dialer } = await started()
      await expect(listener.start(host())).rejects.toEqual(failing('CHANNEL_CLOSED'))
      await expect(dialer.start(host())).rejects.toEqual(failing('CHANNEL_CLOSED'))
    })

    test('disconnect from a peer that was never met does nothing', async () => {
      const { listener, dialer, pair } = await started()
      await dialer.disconnect(listener.id)
      await pair()
    })

    test('more channels of a protocol than it allows is DENIED until one is closed; other protocols do not count', async () => {
      const { open, pair } = await started()
      const [first, firstFar] = await pair(FEW)
      await pair(FEW)
      await expect(open(FEW)).rejects.toEqual(failing('DENIED'))
      await open(PLAIN)
      first.abort()
      await firstFar.closed
      await open(FEW)
    })

    test('a storm of opens: as many as allowed are accepted and work, the others are DENIED', async () => {
      const { open } = await started({ listener: { accept: (channel) => void echo(channel) } })
      const results = await Promise.allSettled(Array.from({ length: 300 }, () => open(PLAIN)))
      const accepted = results.filter((it) => it.status === 'fulfilled').map(({ value }) => value)
      expect(accepted).toHaveLength(64)
      for (const it of results) if (it.status === 'rejected') expect(it.reason).toEqual(failing('DENIED'))
      for (const channel of accepted) {
        await channel.send('works')
        expect(await take(reader(channel))).toBe('works')
      }
    })
  })

  describe('default deny', () => {
    test('a peer that is not admitted is refused, and the host never sees a channel', async () => {
      const { open, theirs } = await started({ listener: { admits: () => false } })
      await expect(open(PLAIN)).rejects.toEqual(failing('DENIED'))
      expect(theirs.accepted).toBe(0)
    })

    test('whom we do not admit ourselves we do not call', async () => {
      const { open, theirs } = await started({ dialer: { admits: () => false } })
      await expect(open(PLAIN)).rejects.toEqual(failing('DENIED'))
      expect(theirs.accepted).toBe(0)
    })

    test('the host refuses single channels by aborting them; open fails with its reason', async () => {
      const { open } = await started({
        listener: {
          accept: (channel) => {
            if (channel.protocol !== PLAIN.name) channel.abort(new DeniedError('only plain'))
          },
        },
      })
      await open(PLAIN)
      await expect(open(BULK)).rejects.toEqual(expect.objectContaining({ code: 'DENIED', message: 'only plain' }))
    })

    test('a host that throws ends that channel alone, and tells the peer nothing of its own', async () => {
      const { open } = await started({
        listener: {
          accept: (channel) => {
            if (channel.protocol === BULK.name) throw new Error('secret: /home/bob')
          },
        },
      })
      const other = await open(PLAIN)
      const error = await open(BULK).catch((reason: Error) => reason)
      expect(error).toEqual(failing('INTERNAL'))
      expect(String((error as Error).message)).not.toContain('bob')
      await other.send(1)
    })
  })

  describe('signs of life', () => {
    test('keep a quiet channel open far beyond the suspicion, also while its reader does not read', async () => {
      const { pair } = await started()
      const [near, far] = await pair(BEATING)
      const settled = vi.fn()
      void near.closed.then(settled)
      void far.closed.then(settled)
      // Fill the line until nothing moves any more: now neither value nor sign of life passes that way.
      let sent = 0
      const sending = (async () => {
        for (; sent < 200; sent++) await near.send(new Uint8Array(32 * KiB))
      })()
      await delay(3 * BEATING.heartbeat!.suspicion)
      expect(settled).not.toHaveBeenCalled()
      const values = reader(far)
      for (let i = 0; i < 200; i++) await take(values)
      await sending
      await delay(2 * BEATING.heartbeat!.suspicion)
      expect(settled).not.toHaveBeenCalled()
      await far.send('still here')
      expect(await take(reader(near))).toBe('still here')
    })
  })

  endingsContract(carrier, started)
  limitsContract(carrier, started)

  if (carrier.remote !== undefined) {
    describe('a peer in another process', () => {
      async function connected(protocols: readonly Protocol[], ours: Protocol) {
        const { peer, addresses, child, dialer } = await carrier.remote!(protocols)
        onTestFinished(async () => {
          child.kill('SIGKILL')
          await dialer.close()
        })
        await dialer.start(host({ protocols: [ours] }))
        const open = (): Promise<Channel> => dialer.open(peer, ours.name, { addresses })
        const channel = await open()
        await channel.send('hello')
        const values = reader(channel)
        expect(await take(values)).toBe('hello')
        return { child, channel, values, open }
      }

      test('killed: every channel ends with PEER_UNREACHABLE, and so does the next open', async () => {
        const { child, channel, values, open } = await connected([PLAIN], PLAIN)
        const other = await open()
        child.kill('SIGKILL')
        expect((await channel.closed).error).toEqual(failing('PEER_UNREACHABLE'))
        expect((await other.closed).error).toEqual(failing('PEER_UNREACHABLE'))
        await expect(values.next()).rejects.toEqual(failing('PEER_UNREACHABLE'))
        await expect(open()).rejects.toEqual(failing('PEER_UNREACHABLE'))
      })

      test('frozen: the heartbeat notices; thawed, it can be reached again', async () => {
        const { child, channel, open } = await connected([PATIENT], BEATING)
        child.kill('SIGSTOP')
        expect((await channel.closed).error).toEqual(failing('PEER_UNREACHABLE'))
        child.kill('SIGCONT')
        const again = await open()
        await again.send(1)
        expect(await take(reader(again))).toBe(1)
      })

      test('is not called dead because we stood still ourselves', async () => {
        const { channel, values } = await connected([PATIENT], BEATING)
        const settled = vi.fn()
        void channel.closed.then(settled)
        const nothing = new Int32Array(new SharedArrayBuffer(4))
        for (let round = 0; round < 2; round++) {
          // As a loop would: nothing of this thread runs meanwhile; but it leaves the processor to others.
          Atomics.wait(nothing, 0, 0, 3 * BEATING.heartbeat!.suspicion)
          await channel.send(round)
          expect(await take(values)).toBe(round)
        }
        expect(settled).not.toHaveBeenCalled()
      })
    })
  }

  if (carrier.raw !== undefined) {
    describe('a peer that breaks the rules', () => {
      const hello = (body: object) => frameOfControl(1, body)
      const good = helloOf(PLAIN)
      test.each([
        ['a value that is not CBOR', [good, Buffer.from('00000003ffffff', 'hex')], 'MALFORMED'],
        ['a value cut short', [good, Buffer.from('000000018f', 'hex')], 'MALFORMED'],
        ['a length beyond the limit', [good, Buffer.from('7fffffff', 'hex')], 'FRAME_TOO_LARGE'],
        ['a control frame beyond its limit', [good, Buffer.from('84ffffff', 'hex')], 'FRAME_TOO_LARGE'],
        ['an unknown control frame', [good, Buffer.from('ff000000', 'hex')], 'PROTOCOL'],
        ['a second hello', [good, good], 'PROTOCOL'],
        ['a welcome from the opener', [good, Buffer.from('82000000', 'hex')], 'PROTOCOL'],
        ['an abort without a reason', [good, frameOfControl(4, {})], 'PROTOCOL'],
        ['going away without a word', [good, undefined], 'PEER_UNREACHABLE'],
      ])('%s ends its channel with a typed error and no other', async (_, bytes, code) => {
        const { listener, theirs, pair } = await started()
        const [other, otherFar] = await pair()
        const raw = await carrier.raw!(listener, PLAIN.name)
        for (const part of bytes) raw.write(part ?? new Uint8Array(0))
        const far = await theirs.next()
        await expect(readAll(far)).rejects.toEqual(failing(code))
        expect((await far.closed).error).toEqual(failing(code))
        await raw.closed
        await other.send('unmoved')
        expect(await take(reader(otherFar))).toBe('unmoved')
      })

      test('a value after its end: what came in order counts, but the channel does not end in order', async () => {
        const { listener, theirs } = await started()
        const raw = await carrier.raw!(listener, PLAIN.name)
        raw.write(Buffer.concat([good, Buffer.from('0000000101', 'hex'), Buffer.from('83000000', 'hex')]))
        const far = await theirs.next()
        expect(await readAll(far)).toEqual([1])
        raw.write(Buffer.from('0000000102', 'hex'))
        expect((await far.closed).error).toEqual(failing('PROTOCOL'))
        await raw.closed
      })

      test.each([
        ['a value first', Buffer.from('0000000101', 'hex')],
        ['another version', hello({ v: 2, protocol: PLAIN.name })],
        ['a hello that says nothing', hello({})],
        ['a hello that is no CBOR', Buffer.from('81000001ff', 'hex')],
      ])('%s: refused before the host sees anything', async (_, bytes) => {
        const { listener, theirs, pair } = await started()
        const raw = await carrier.raw!(listener, PLAIN.name)
        raw.write(bytes)
        await raw.closed
        expect(theirs.accepted).toBe(0)
        await pair()
      })
    })
  }
}
