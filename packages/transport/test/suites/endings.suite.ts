// How channels end, on any carrier: the reason gets across, whatever they were doing; `closed` settles in every case.

import { getEventListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Channel, DeniedError, ErrandError, type Transport } from '../../src/index.ts'
import { BULK, type Carrier, KiB, PLAIN, type Started, echo, failing, host, readAll, reader, take } from './places.ts'

/** Sends until the channel takes no more, and goes on when it does. The promise settles when the channel is over. */
function flood(channel: Channel): { sent: number; over: Promise<unknown> } {
  const flow = { sent: 0, over: Promise.resolve<unknown>(undefined) }
  flow.over = (async () => {
    for (; ; flow.sent++) await channel.send(new Uint8Array(32 * KiB))
  })().catch((error: unknown) => error)
  return flow
}

/** When nothing more has gone in for a while. */
async function stalled(...flows: { sent: number }[]): Promise<void> {
  const total = (): number => flows.reduce((sum, { sent }) => sum + sent, 0)
  for (let seen = -1; seen !== total(); await delay(100)) seen = total()
}

/** Reads and drops; gives what the iteration threw. */
async function drain(channel: Channel): Promise<unknown> {
  try {
    for await (const _ of channel);
    return undefined
  } catch (error) {
    return error
  }
}

const REASON = new DeniedError('changed my mind', { hint: 'ask again' })
const THE_REASON = expect.objectContaining({
  name: 'DeniedError',
  code: 'DENIED',
  message: 'changed my mind',
  hint: 'ask again',
})

export function endingsContract(carrier: Carrier, started: Started): void {
  describe('the reason of an abort', () => {
    // What the two were doing. `aborter` is who is going to; the other one reads, or the reason waits behind what has
    // arrived for as long as that does.
    const doing: Readonly<Record<string, (aborter: Channel, other: Channel) => Promise<void> | void>> = {
      nothing: () => {},
      'bulk from who aborts': async (aborter) => {
        const flow = flood(aborter)
        while (flow.sent < 100) await delay(1)
      },
      'bulk from the other': async (aborter, other) => {
        const flow = flood(other)
        const values = reader(aborter)
        while (flow.sent < 100) await take(values)
      },
      'bulk both ways': async (aborter, other) => {
        const flows = [flood(aborter), flood(other)] as const
        const values = reader(aborter)
        while (flows[0].sent < 100 || flows[1].sent < 100) await take(values)
      },
      'bulk from the other, unread': async (_, other) => stalled(flood(other)),
      'half-closed by who aborts': async (aborter) => {
        await aborter.send('last')
        await aborter.end()
      },
      'half-closed by the other': async (aborter, other) => {
        await other.end()
        expect(await readAll(aborter)).toEqual([])
      },
    }
    describe.each(Object.keys(doing))('while doing: %s', (what) => {
      test.each(['opener', 'acceptor'])('reaches the other side from the %s', async (who) => {
        const { pair } = await started()
        const [near, far] = await pair()
        const [aborter, other] = who === 'opener' ? [near, far] : [far, near]
        const read = drain(other)
        await doing[what]!(aborter, other)
        aborter.abort(REASON)
        expect((await aborter.closed).error).toBe(REASON)
        // Who has ended before hears nothing more in its iteration, but `closed` tells.
        expect((await other.closed).error).toEqual(THE_REASON)
        expect(await read).toEqual(what === 'half-closed by who aborts' ? undefined : THE_REASON)
      })
    })

    test('reaches who had been accepted already when the opener gave up', async () => {
      const controller = new AbortController()
      const { open, theirs } = await started({
        listener: {
          admits: (_, protocol) => {
            if (protocol !== undefined) controller.abort(new DeniedError('gave up'))
            return true
          },
        },
      })
      await expect(open(PLAIN, controller.signal)).rejects.toThrow('gave up')
      const far = await theirs.next()
      expect((await far.closed).error).toEqual(expect.objectContaining({ code: 'DENIED', message: 'gave up' }))
    })

    test('without a code arrives as CHANNEL_CLOSED with its message', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      near.abort(new RangeError('just so'))
      expect(await drain(far)).toEqual(expect.objectContaining({ code: 'CHANNEL_CLOSED', message: 'just so' }))
    })

    test('drops on our side what had arrived, and what was to go', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      for (const value of [1, 2, 3]) void far.send(value)
      const values = reader(near)
      expect(await take(values)).toBe(1)
      void near.send('never leaves')
      near.abort(REASON)
      await expect(values.next()).rejects.toBe(REASON)
      expect(await values.next()).toEqual({ done: true, value: undefined })
      await expect(readAll(far)).rejects.toEqual(THE_REASON)
    })
  })

  describe('`closed` settles, with all that waits', () => {
    /** What they were doing; what waits for their end. */
    const states: Readonly<Record<string, (near: Channel, far: Channel) => Promise<Promise<unknown>[]>>> = {
      idle: () => Promise.resolve([]),
      unread: (near, far) => {
        for (const channel of [near, far]) for (let i = 0; i < 10; i++) void channel.send(i)
        return Promise.resolve([])
      },
      read: (near, far) => Promise.resolve([drain(near), drain(far)]),
      'full both ways': async (near, far) => {
        const flows = [flood(near), flood(far)]
        await stalled(...flows)
        return flows.map(({ over }) => over)
      },
      'full both ways, and ended': async (near, far) => {
        const flows = [flood(near), flood(far)]
        await stalled(...flows)
        return [...flows.map(({ over }) => over), near.end(), far.end()]
      },
    }
    type Places = { listener: Transport; dialer: Transport; pairs: (readonly [near: Channel, far: Channel])[] }
    const acts: Readonly<Record<string, [act: (places: Places) => unknown, code: string]>> = {
      'the opener aborts': [({ pairs }) => pairs.map(([near]) => near.abort(REASON)), 'DENIED'],
      'the acceptor aborts': [({ pairs }) => pairs.map(([, far]) => far.abort(REASON)), 'DENIED'],
      'the dialer is closed': [({ dialer }) => dialer.close(), 'CHANNEL_CLOSED'],
      'the listener is closed': [({ listener }) => listener.close(), 'CHANNEL_CLOSED'],
      'the dialer hangs up': [({ dialer, listener }) => dialer.disconnect(listener.id), 'CHANNEL_CLOSED'],
      'the listener hangs up': [({ dialer, listener }) => listener.disconnect(dialer.id), 'CHANNEL_CLOSED'],
    }
    test.each(Object.keys(acts))('when %s: of idle channels, unread and read ones, and full ones', async (act) => {
      const { listener, dialer, pair } = await started()
      const [end, code] = acts[act]!
      const pairs: Places['pairs'] = []
      const waiting: Promise<unknown>[] = []
      for (const state of Object.values(states)) {
        const [near, far] = await pair()
        pairs.push([near, far])
        waiting.push(...(await state(near, far)))
      }
      await end({ listener, dialer, pairs })
      for (const [i, state] of Object.keys(states).entries()) {
        for (const channel of pairs[i]!) {
          const { error } = await channel.closed
          // Behind a reader that has stopped its carrier the reason may not get across; that it is over does.
          const codes = state.startsWith('full') ? [code, 'PEER_UNREACHABLE'] : [code]
          expect(codes, state).toContain((error as ErrandError).code)
          await expect(channel.send(1)).rejects.toEqual(failing('CHANNEL_CLOSED'))
          await channel.end()
        }
      }
      await Promise.all(waiting)
    })

    test.each(['nobody', 'opener', 'acceptor', 'both'])('without error when both end; reading: %s', async (who) => {
      const { pair } = await started()
      const [near, far] = await pair()
      await near.send(1)
      await far.send(2)
      const reads = [who === 'opener' || who === 'both' ? near : [], who === 'acceptor' || who === 'both' ? far : []]
        .flat()
        .map(readAll)
      await Promise.all([near.end(), far.end()])
      expect(await Promise.all([near.closed, far.closed])).toEqual([{}, {}])
      await Promise.all(reads)
      // It did not wait to be read, but can be.
      if (who === 'nobody') expect([await readAll(near), await readAll(far)]).toEqual([[2], [1]])
    })

    test.each(['dialer', 'listener'] as const)(
      'for an opening that is under way when the %s is closed',
      async (which) => {
        let close = (): void => {}
        const places = await started({
          listener: { admits: (_, protocol) => (protocol === undefined || close(), true) },
        })
        await places.pair()
        const channels: Channel[] = []
        const closing = Promise.withResolvers<void>()
        close = () => closing.resolve(places[which].close())
        const error = await places.open(PLAIN).then(
          (channel) => channels.push(channel),
          (reason: unknown) => reason,
        )
        await closing.promise
        for (const channel of channels) expect((await channel.closed).error).toBeInstanceOf(ErrandError)
        if (channels.length === 0) expect(error).toBeInstanceOf(ErrandError)
      },
    )

    test('of both directions of a channel that either side ends in the same turn as the other aborts', async () => {
      const { pair } = await started()
      for (let i = 0; i < 20; i++) {
        const [near, far] = await pair()
        void near.end()
        void far.end()
        if (i % 2 === 0) near.abort(REASON)
        else far.abort(REASON)
        for (const { error } of await Promise.all([near.closed, far.closed])) {
          if (error !== undefined) expect(error).toEqual(failing('DENIED'))
        }
      }
    })
  })

  describe('a signal', () => {
    test('aborted before: start fails with its reason, and leaves the address to others', async () => {
      const { listener, dialer } = await carrier.places()
      onTestFinished(async () => void (await Promise.all([listener.close(), dialer.close()])))
      const signal = AbortSignal.abort(new Error('no'))
      await expect(listener.start(host(), { signal })).rejects.toThrow('no')
      await expect(dialer.start(host(), { signal })).rejects.toThrow('no')
      expect(listener.addresses).toEqual([])
    })

    test('that aborts later changes nothing for what it was given to', async () => {
      const controller = new AbortController()
      const { open, theirs } = await started()
      const near = await open(PLAIN, controller.signal)
      const far = await theirs.next()
      await near.send('before', { signal: controller.signal })
      controller.abort()
      await near.send('after')
      const values = reader(far)
      expect([await take(values), await take(values)]).toEqual(['before', 'after'])
    })

    test('aborted before: send fails with its reason, takes nothing, and the channel lives on', async () => {
      const { pair } = await started()
      const [near, far] = await pair()
      const signal = AbortSignal.abort(new Error('no'))
      await expect(near.send('never', { signal })).rejects.toThrow('no')
      await near.send('after')
      expect(await take(reader(far))).toBe('after')
    })

    test('keeps no listener, however the call has ended', async () => {
      const { open, theirs, listener, dialer } = await started({
        listener: {
          accept: (channel) => {
            if (channel.protocol === BULK.name) channel.abort(REASON)
          },
        },
      })
      const { signal } = new AbortController()
      const given = { signal }
      const near = await open(PLAIN, signal)
      await expect(open(BULK, signal)).rejects.toEqual(THE_REASON)
      await expect(dialer.open(listener.id, '/test/unknown/1', given)).rejects.toEqual(failing('PROTOCOL'))
      await near.send(1, given)
      await expect(near.send(() => {}, given)).rejects.toEqual(failing('NOT_TRANSFERABLE'))
      const waits: Promise<unknown>[] = []
      // Beyond what the channel takes at once: these wait, until the channel is over.
      for (let i = 0; i < 20; i++)
        waits.push(near.send(new Uint8Array(60 * KiB), given).catch((error: unknown) => error))
      near.abort(REASON)
      expect((await Promise.all(waits)).filter((it) => it instanceof ErrandError).length).toBeGreaterThan(0)
      await expect(near.send(1, given)).rejects.toEqual(failing('CHANNEL_CLOSED'))
      await listener.close()
      await expect(
        dialer.open(listener.id, PLAIN.name, { signal, addresses: listener.addresses }),
      ).rejects.toBeInstanceOf(ErrandError)
      await dialer.close()
      await expect(open(PLAIN, signal)).rejects.toEqual(failing('CHANNEL_CLOSED'))
      expect(theirs.accepted).toBe(2)
      expect(getEventListeners(signal, 'abort')).toEqual([])
    })
  })

  if (carrier.remote !== undefined) {
    test('a peer that is killed: what had arrived can be read, then the iteration throws', async () => {
      const { peer, addresses, child, dialer } = await carrier.remote!([PLAIN])
      onTestFinished(async () => {
        child.kill('SIGKILL')
        await dialer.close()
      })
      await dialer.start(host({ protocols: [PLAIN] }))
      const near = await dialer.open(peer, PLAIN.name, { addresses })
      const witness = await dialer.open(peer, PLAIN.name, { addresses })
      for (const value of [1, 2, 3]) void near.send(value)
      const values = reader(near)
      expect(await take(values)).toBe(1)
      // Behind its answer are the other two, in the same write.
      await witness.send('there?')
      await take(reader(witness))
      child.kill('SIGKILL')
      expect((await near.closed).error).toEqual(failing('PEER_UNREACHABLE'))
      expect([await take(values), await take(values)]).toEqual([2, 3])
      await expect(values.next()).rejects.toEqual(failing('PEER_UNREACHABLE'))
      expect(await values.next()).toEqual({ done: true, value: undefined })
    })
  }

  test('the end of one channel is not the end of its neighbours, whichever way it comes', async () => {
    const { open, theirs } = await started()
    const neighbour = await open(PLAIN)
    void echo(await theirs.next())
    const values = reader(neighbour)
    for (const end of ['abort', 'refuse', 'end', 'flood']) {
      const near = await open(BULK)
      const far = await theirs.next()
      if (end === 'abort') near.abort(REASON)
      else if (end === 'refuse') far.abort(REASON)
      else if (end === 'end') void Promise.all([near.end(), far.end()])
      else {
        const flow = flood(near)
        await stalled(flow)
        far.abort(REASON)
        await flow.over
      }
      await Promise.all([near.closed, far.closed])
      await neighbour.send(end)
      expect(await take(values)).toBe(end)
    }
  })
}
