// What direct-tcp does with the memory it is given, against what libp2p goes on doing with it.

import { once } from 'node:events'
import { type Socket, connect, createServer } from 'node:net'
import type { Logger } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { expect, onTestFinished, test } from 'vitest'
import { SocketConnection } from '../src/direct-tcp.ts'
import { toWrite } from '../src/lent-memory.ts'

const KiB = 1024

async function connected(): Promise<{ connection: SocketConnection; far: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const socket = connect(port, '127.0.0.1')
  const [far] = (await once(server, 'connection')) as [Socket]
  onTestFinished(() => {
    for (const one of [socket, far]) one.destroy()
    server.close()
  })
  const log: Logger = Object.assign((): void => {}, {
    error() {},
    trace() {},
    enabled: false,
    newScope: () => log,
  })
  const remoteAddr = multiaddr(`/ip4/127.0.0.1/tcp/${port}`)
  return { connection: new SocketConnection({ socket, direction: 'outbound', remoteAddr, log }), far }
}

type Sent = Parameters<SocketConnection['sendData']>[0]

/** Several buffers as one message, as libp2p's list of them. */
function list(...parts: Uint8Array[]): Sent {
  const whole = (): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]))
  return { byteLength: whole().length, subarray: whole, [Symbol.iterator]: () => parts.values() } as unknown as Sent
}

test.each([
  ['put together', 3 * KiB],
  ['written one by one', 40 * KiB],
])('parts that are %s are whole until the caller is through with them, and then given back', async (_, size) => {
  const { connection, far } = await connected()
  const lent = [1, 2].map((fill) => {
    const buffer = new Uint8Array(64 * KiB).fill(fill)
    toWrite.lend(buffer)
    toWrite.used(buffer.subarray(size))
    return buffer
  })
  const parts = lent.map((buffer) => buffer.subarray(0, size))
  let arrived = 0
  far.on('data', (bytes: Buffer) => (arrived += bytes.length))
  connection.sendData(list(...parts))
  // libp2p takes off what was sent now, part by part.
  expect(parts.map(({ length }) => length)).toEqual([size, size])
  await expect.poll(() => arrived).toBe(2 * size)
  expect(lent.map(({ length }) => length)).toEqual([0, 0])
  await connection.close()
})
