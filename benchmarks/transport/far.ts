// The second process, from the first: starts it, opens channels, streams and sockets to it, ends it.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { type Socket, connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Protocol, Transport } from '@errand/transport'
import { libp2p } from '@errand/transport/libp2p'
import type { Libp2p } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { type Stack, bareNode } from '../bare-node.ts'
import { type Talk, talk } from './values.ts'
import { type Wire, socketWire, streamWire } from './wire.ts'

type Part = 'sink' | 'echo' | 'answer'

/** libp2p protocols of the bare nodes, by what the other end does. */
export const BARE: Readonly<Record<Part, string>> = {
  sink: '/errand-bench/bare-sink/1',
  echo: '/errand-bench/bare-echo/1',
  answer: '/errand-bench/bare-answer/1',
}

const MAX_FRAME = 4 * 1024 * 1024
const SINK = '/errand-bench/sink/1'
const ECHO = '/errand-bench/echo/1'
export const PROTOCOLS: readonly Protocol[] = [
  { name: SINK, maxFrame: MAX_FRAME },
  { name: ECHO, maxFrame: MAX_FRAME },
]

/** What the second process says when it is ready. */
export interface Addresses {
  readonly peer: string
  readonly errand: readonly string[]
  readonly bare: Readonly<Record<Stack, string>>
  readonly tcp: number
}

export class Far implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #addresses: Addresses
  readonly #transport: Transport
  readonly #nodes: Readonly<Record<Stack, Libp2p>>
  readonly #sockets: Socket[] = []

  private constructor(
    child: ChildProcess,
    addresses: Addresses,
    transport: Transport,
    nodes: Readonly<Record<Stack, Libp2p>>,
  ) {
    this.#child = child
    this.#addresses = addresses
    this.#transport = transport
    this.#nodes = nodes
  }

  static async start(): Promise<Far> {
    const child = fork(fileURLToPath(new URL('./server.ts', import.meta.url)), { execArgv: ['--conditions=source'] })
    const addresses = await new Promise<Addresses>((resolve, reject) => {
      child.once('message', (message) => resolve(message as Addresses))
      child.once('exit', (code) => reject(new Error(`the second process exited with ${code}`)))
    })
    const transport = libp2p()
    await transport.start({ admits: () => true, protocols: PROTOCOLS, accept: (channel) => channel.abort() })
    return new Far(child, addresses, transport, {
      errand: await bareNode([], 'errand'),
      noise: await bareNode([], 'noise'),
    })
  }

  /** A channel of errand's transport; all of them share a connection. */
  async channel(part: 'sink' | 'echo'): Promise<Talk> {
    const { peer, errand } = this.#addresses
    return talk(await this.#transport.open(peer, part === 'sink' ? SINK : ECHO, { addresses: errand }))
  }

  /** A stream of libp2p alone; all of one stack share a connection. */
  async stream(part: Part, stack: Stack = 'errand'): Promise<Wire> {
    return streamWire(await this.#nodes[stack].dialProtocol(multiaddr(this.#addresses.bare[stack]), BARE[part]))
  }

  async socket(part: Part): Promise<Wire> {
    const socket = connect(this.#addresses.tcp, '127.0.0.1')
    this.#sockets.push(socket)
    socket.write(part)
    await once(socket, 'data')
    return socketWire(socket)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all([this.#transport.close(), ...Object.values(this.#nodes).map((node) => node.stop())])
    if (this.#child.exitCode !== null) return
    this.#child.disconnect()
    await once(this.#child, 'exit')
  }
}
