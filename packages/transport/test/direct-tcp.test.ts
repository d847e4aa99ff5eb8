// What direct-tcp does with the memory it is given, against what libp2p goes on doing with it.

import { once } from 'node:events'
import { type Socket, connect, createServer } from 'node:net'
import { Worker } from 'node:worker_threads'
import type { DialTransportOptions, Logger } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { expect, onTestFinished, test, vi } from 'vitest'
import { directTcp, SocketConnection } from '../src/direct-tcp.ts'
import { toWrite } from '../src/lent-memory.ts'

const KiB = 1024

const log: Logger = Object.assign((): void => {}, {
  error() {},
  trace() {},
  enabled: false,
  newScope: () => log,
})

async function connected(): Promise<{ connection: SocketConnection; near: Socket; far: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const socket = connect(port, '127.0.0.1')
  const [[far]] = (await Promise.all([once(server, 'connection'), once(socket, 'connect')])) as [[Socket], unknown]
  onTestFinished(() => {
    for (const one of [socket, far]) one.destroy()
    server.close()
  })
  const remoteAddr = multiaddr(`/ip4/127.0.0.1/tcp/${port}`)
  return { connection: new SocketConnection({ socket, direction: 'outbound', remoteAddr, log }), near: socket, far }
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

test('what several streams say in one turn is one write; what is said in the next one is another', async () => {
  const { connection, near, far } = await connected()
  let arrived = ''
  far.on('data', (bytes: Buffer) => (arrived += bytes.toString()))
  const writes = vi.spyOn(near as unknown as { _writeGeneric(): void }, '_writeGeneric')
  const say = (text: string): void => void connection.sendData(list(Buffer.from(text)))
  // As channels do: each behind all promise jobs of the turn.
  for (const text of ['a', 'b']) process.nextTick(() => say(text))
  await expect.poll(() => arrived).toBe('ab')
  expect(writes).toHaveBeenCalledTimes(1)
  say('c')
  await expect.poll(() => arrived).toBe('abc')
  expect(writes).toHaveBeenCalledTimes(2)
  await connection.close()
})

/** Listens, and takes nobody in until it is told to: the kernel answers as many as its queue holds, and no more. */
const DEAF = `
  const { parentPort, workerData } = require('node:worker_threads')
  const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    parentPort.postMessage(server.address().port)
    Atomics.wait(workerData, 0, 0)
  })
`

test('a line that swallows what it is asked is asked again by another socket, and one connection comes of it', async () => {
  const told = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(DEAF, { eval: true, workerData: told })
  const [port] = (await once(worker, 'message')) as [number]
  const queued = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')]
  onTestFinished(async () => {
    for (const socket of queued) socket.destroy()
    await worker.terminate()
  })
  await Promise.all(queued.map((socket) => once(socket, 'connect')))
  const asking = (): number => process.getActiveResourcesInfo().filter((one) => one === 'ConnectWrap').length

  const transport = directTcp()({ logger: { forComponent: () => log } })
  const dial = (signal: AbortSignal): Promise<unknown> =>
    transport.dial(multiaddr(`/ip4/127.0.0.1/tcp/${port}`), {
      signal,
      upgrader: { upgradeOutbound: async (connection: SocketConnection) => connection },
    } as unknown as DialTransportOptions)
  const givenUp = new AbortController()
  const vain = dial(givenUp.signal)
  await expect.poll(asking, { timeout: 5_000 }).toBe(2)
  givenUp.abort()
  await expect(vain).rejects.toThrow('aborted')
  await expect.poll(asking).toBe(0)

  const dialled = dial(new AbortController().signal)
  await expect.poll(asking, { timeout: 5_000 }).toBe(2)
  Atomics.store(told, 0, 1)
  Atomics.notify(told, 0)
  const connection = (await dialled) as SocketConnection
  await expect.poll(asking).toBe(0)
  expect(connection.status).toBe('open')
  await connection.close()
})
