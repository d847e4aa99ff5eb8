// What a channel does to its carrier: how many writes, when, and what it keeps.

import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { FramedChannel } from '../src/channel.ts'
import type { ByteDuplex, DuplexSink } from '../src/duplex.ts'
import { ErrandError } from '../src/errors.ts'
import type { Channel, Protocol } from '../src/transport.ts'
import { failing } from './suites/transport.suite.ts'

const PROTOCOL: Protocol = { name: '/test/1', maxFrame: 1 << 20 }

/** One end of a carrier without another end: it keeps what is written and is told what arrives. */
class Line implements ByteDuplex {
  writes: Uint8Array[] = []
  calls: string[] = []
  full = false
  sink!: DuplexSink
  attach(sink: DuplexSink): void {
    this.sink = sink
  }
  write(bytes: Uint8Array): boolean {
    this.writes.push(bytes)
    return !this.full
  }
  pause(): void {
    this.calls.push('pause')
  }
  resume(): void {
    this.calls.push('resume')
  }
  end(): void {
    this.calls.push('end')
  }
  destroy(silent?: boolean): void {
    this.calls.push(silent ? 'destroy silent' : 'destroy')
  }
}

const WELCOME = Buffer.from('82000000', 'hex')

async function opened(protocol: Protocol = PROTOCOL): Promise<{ line: Line; channel: Channel }> {
  const line = new Line()
  const channel = new FramedChannel(line, 'peer', { opens: protocol })
  await nextTurn()
  expect(line.writes).toHaveLength(1) // the hello
  line.sink.data(WELCOME)
  await channel.opened()
  line.writes = []
  return { line, channel }
}

const written = (line: Line): number => line.writes.reduce((sum, { length }) => sum + length, 0)
const valueOf = (bytes: number): Uint8Array => Buffer.concat([frameHeader(bytes + 6), cborBytes(bytes)])
const frameHeader = (length: number): Uint8Array => {
  const header = Buffer.alloc(4)
  header.writeUInt32BE(length)
  return header
}
/** A Uint8Array of CBOR: tag 64, byte string with a length of four bytes less one. */
function cborBytes(length: number): Uint8Array {
  const head = Buffer.from([0xd8, 0x40, 0x5a, 0, 0, 0, 0])
  head.writeUInt32BE(length - 1, 3)
  return Buffer.concat([head, Buffer.alloc(length - 1)])
}

afterEach(() => {
  vi.useRealTimers()
})

describe('a channel', () => {
  test('sends all values of a turn as one write, also those of a loop that awaits each', async () => {
    const { line, channel } = await opened()
    for (let i = 0; i < 1_000; i++) void channel.send(i)
    await nextTurn()
    expect(line.writes).toHaveLength(1)
    for (let i = 0; i < 1_000; i++) await channel.send(i)
    await nextTurn()
    expect(line.writes).toHaveLength(2)
    await channel.send('alone')
    await nextTurn()
    expect(line.writes).toHaveLength(3)
  })

  test('hands over memory that it never writes to again', async () => {
    const { line, channel } = await opened()
    const copies: Buffer[] = []
    for (let turn = 0; turn < 200; turn++) {
      for (let i = 0; i < turn; i++) void channel.send(`${turn} ${i} ${'x'.repeat((turn * i) % 700)}`)
      await nextTurn()
      for (const write of line.writes.slice(copies.length)) copies.push(Buffer.from(write))
    }
    expect(line.writes.map((write, i) => Buffer.compare(write, copies[i]!))).toEqual(copies.map(() => 0))
  })

  test('writes nothing more to a full carrier until it has drained; the sender waits from 256 KiB on', async () => {
    const { line, channel } = await opened()
    line.full = true
    void channel.send(new Uint8Array(100))
    await nextTurn()
    expect(line.writes).toHaveLength(1)
    let resolved = 0
    for (let i = 0; i < 10; i++) void channel.send(new Uint8Array(50 * 1024)).then(() => resolved++)
    await nextTurn()
    expect(line.writes).toHaveLength(1)
    expect(resolved).toBe(5)
    line.full = false
    line.sink.drained()
    await nextTurn()
    expect(resolved).toBe(10)
    expect(written(line)).toBeGreaterThan(500 * 1024)
  })

  test('pauses its carrier beyond 256 KiB unread and resumes at half', async () => {
    const { line, channel } = await opened()
    for (let i = 0; i < 5; i++) line.sink.data(valueOf(60 * 1024))
    expect(line.calls).toEqual(['pause'])
    const values = channel[Symbol.asyncIterator]()
    await values.next()
    await values.next()
    expect(line.calls).toEqual(['pause'])
    await values.next()
    expect(line.calls).toEqual(['pause', 'resume'])
  })

  test('pauses also for a flood of tiny values', async () => {
    const { line, channel } = await opened()
    const tiny = Buffer.from('0000000101', 'hex')
    for (let i = 0; i < 5_000; i++) line.sink.data(tiny)
    expect(line.calls).toEqual(['pause'])
    channel.abort()
  })

  test('ends its carrier only when both sides have ended', async () => {
    const { line, channel } = await opened()
    await channel.end()
    expect(line.calls).toEqual([])
    line.sink.data(Buffer.from('83000000', 'hex'))
    expect(line.calls).toEqual(['end'])
    line.sink.closed()
    expect(await channel.closed).toEqual({})
  })

  test('ends in order with a carrier that is paused when both have ended, however slowly the rest is read', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
    const { line, channel } = await opened()
    void channel.end()
    await nextTurn()
    // One chunk: it fills the inbox, and has the peer's end behind that.
    line.sink.data(Buffer.concat([...Array.from({ length: 300 }, () => valueOf(1024)), Buffer.from('83000000', 'hex')]))
    expect(line.calls).toEqual(['pause', 'resume', 'end'])
    line.sink.closed()
    vi.advanceTimersByTime(20_000)
    expect(await channel.closed).toEqual({})
    let count = 0
    for await (const _ of channel) count++
    expect(count).toBe(300)
  })

  test.each<[string, (channel: Channel) => void]>([
    ['end', (channel) => void channel.end()],
    ['send and end', (channel) => void channel.send(2).then(() => channel.end())],
  ])('a getter that says %s is heard behind the value it is a part of', async (_, act) => {
    const { line, channel } = await opened()
    const sent = channel.send({
      get x() {
        act(channel)
        return 1
      },
    })
    await sent
    await nextTurn()
    const frames = Buffer.concat(line.writes)
    expect(frames.subarray(-4).toString('hex')).toBe('83000000')
    expect(frames.indexOf(Buffer.from('83000000', 'hex'))).toBe(frames.length - 4)
    await expect(channel.send(3)).rejects.toEqual(failing('CHANNEL_CLOSED'))
  })

  test('a value whose getter aborts the channel is not sent, and says so', async () => {
    const { channel } = await opened()
    const abort = {
      get x() {
        channel.abort()
        return 1
      },
    }
    await expect(channel.send(abort)).rejects.toEqual(failing('CHANNEL_CLOSED'))
    const other = (await opened()).channel
    let inner: Promise<void> | undefined
    const outer = other.send({
      get x() {
        inner = other.send({
          get y() {
            other.abort()
            return 1
          },
          big: new Uint8Array(300_000),
        })
        inner.catch(() => {})
        return 1
      },
    })
    await expect(outer).rejects.toEqual(failing('CHANNEL_CLOSED'))
    await expect(inner).rejects.toEqual(failing('CHANNEL_CLOSED'))
  })

  test('gives up a carrier that does not let go within a second of an abort', async () => {
    const { line, channel } = await opened()
    vi.useFakeTimers()
    channel.abort(new Error('enough'))
    expect(line.calls).toEqual(['end'])
    vi.advanceTimersByTime(999)
    expect(line.calls).toEqual(['end'])
    vi.advanceTimersByTime(1)
    expect(line.calls).toEqual(['end', 'destroy'])
  })

  test('tells a peer that does not answer from one that refuses: ten seconds for the handshake', async () => {
    vi.useFakeTimers()
    const line = new Line()
    const opening = new FramedChannel(line, 'peer', { opens: PROTOCOL }).opened()
    const result = expect(opening).rejects.toEqual(failing('PEER_UNREACHABLE'))
    vi.advanceTimersByTime(9_999)
    expect(line.calls).toEqual([])
    vi.advanceTimersByTime(1)
    await result
    expect(line.calls).toEqual(['destroy silent'])
  })

  test('drops an opener that says nothing for ten seconds', () => {
    vi.useFakeTimers()
    const line = new Line()
    const accept = vi.fn()
    const channel = new FramedChannel(line, 'peer', { admit: () => PROTOCOL, accept })
    line.sink.data(new Uint8Array(4))
    vi.advanceTimersByTime(10_000)
    expect(line.calls).toEqual(['destroy'])
    expect(accept).not.toHaveBeenCalled()
    line.sink.closed()
    return channel.gone
  })

  test('beats when it has nothing else to say, not behind a full carrier, and not once it is over', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout', 'performance'] })
    const { line, channel } = await opened({ ...PROTOCOL, heartbeat: { interval: 1_000, suspicion: 4_000 } })
    const pass = (ms: number): void => {
      for (let i = 0; i < ms; i += 100) {
        vi.advanceTimersByTime(100)
        line.sink.data(new Uint8Array(4))
      }
    }
    pass(5_000)
    expect(line.writes.length).toBeGreaterThanOrEqual(4)
    expect(line.writes.length).toBeLessThanOrEqual(6)
    expect(line.writes.every((write) => write.length === 4 && write.every((byte) => byte === 0))).toBe(true)
    line.full = true
    void channel.send(1)
    await nextTurn()
    const before = line.writes.length
    pass(5_000)
    expect(line.writes).toHaveLength(before)
    channel.abort()
    pass(500)
    expect(line.writes).toHaveLength(before + 1) // the abort
  })

  test('whatever arrives: values, then a typed error, and never an exception', async () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .constantFrom(
          '00000000',
          '0000000101',
          '83000000',
          '82000000',
          '81000000',
          '84000000',
          '84000001f6',
          '84000001a0',
        )
        .map((hex) => new Uint8Array(Buffer.from(hex, 'hex'))),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 20 }), fc.boolean(), async (pieces, asOpener) => {
        const line = new Line()
        const role = asOpener ? { opens: PROTOCOL } : { admit: () => PROTOCOL, accept: () => {} }
        const channel = new FramedChannel(line, 'peer', role)
        if (asOpener) line.sink.data(WELCOME)
        const reading = (async () => {
          for await (const _ of channel);
        })().catch((error: unknown) => expect(error).toBeInstanceOf(ErrandError))
        for (const bytes of pieces) line.sink.data(bytes)
        line.sink.closed(new Error('gone'))
        await reading
        expect((await channel.closed).error).toBeInstanceOf(ErrandError)
        await channel.gone
      }),
      { numRuns: 5_000 },
    )
  })
})
