// The second process of the transport benchmarks: an errand transport, bare libp2p nodes and a TCP server, all doing
// the same things. Ends when its parent lets go of it.

import { createServer } from 'node:net'
import type { Channel } from '@errand/transport'
import { libp2p } from '@errand/transport/libp2p'
import { bareNode } from '../bare-node.ts'
import { BARE, PROTOCOLS } from './far.ts'
import type { Addresses } from './far.ts'
import * as values from './values.ts'
import * as wire from './wire.ts'

const loopback = ['/ip4/127.0.0.1/tcp/0']

const transport = libp2p({ listen: loopback })
await transport.start({
  admits: () => true,
  protocols: PROTOCOLS,
  accept(channel: Channel) {
    const serve = channel.protocol.endsWith('/sink/1') ? values.sink : values.echo
    serve(channel).catch(() => {}) // the client has gone
  },
})

const serve = { sink: wire.sink, echo: wire.echo, answer: wire.answer }
const nodes = { errand: await bareNode(loopback, 'errand'), noise: await bareNode(loopback, 'noise') }
for (const node of Object.values(nodes)) {
  for (const [what, name] of Object.entries(BARE)) {
    await node.handle(name, (stream) => serve[what as keyof typeof BARE](wire.streamWire(stream)))
  }
}

const tcp = createServer((socket) => {
  socket.on('error', () => {}) // the client has gone
  socket.once('data', (bytes) => {
    const what = bytes.toString('latin1')
    serve[what as keyof typeof BARE](wire.socketWire(socket))
    socket.write('.')
  })
})
await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve))

process.once('disconnect', () => process.exit(0))
process.send?.({
  peer: transport.id,
  errand: transport.addresses,
  bare: { errand: String(nodes.errand.getMultiaddrs()[0]), noise: String(nodes.noise.getMultiaddrs()[0]) },
  tcp: (tcp.address() as { port: number }).port,
} satisfies Addresses)
