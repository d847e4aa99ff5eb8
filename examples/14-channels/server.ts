// A peer that answers: who it is and where it listens goes to the parent, then it squares numbers until it is told to stop.
import type { Channel } from '@errand/transport'
import { libp2p } from '@errand/transport/libp2p'
import { listen } from '../peers.ts'
import { protocols } from './protocols.ts'

const [client] = process.argv.slice(2)
await using transport = libp2p({ listen })

async function squares(channel: Channel): Promise<void> {
  for await (const n of channel) await channel.send({ n, square: (n as bigint) * (n as bigint), at: new Date() })
  await channel.end()
}

await transport.start({
  protocols,
  // Default deny: this one client, and this one protocol. A key proves who it is, before it gets here.
  admits: (peer, protocol) => peer === client && (protocol === undefined || protocol === '/example/squares/1'),
  accept: (channel) => void squares(channel).catch((error: Error) => console.log(`server: ${error.message}`)),
})
process.send!(transport.addresses)
await new Promise((resolve) => process.once('disconnect', resolve))
