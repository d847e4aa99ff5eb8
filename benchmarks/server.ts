// The second process of the remote benchmarks: an errand peer, and a bare libp2p node that echoes.
import { join } from 'node:path'
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { bareNode, ECHO } from './bare-node.ts'

const [folder = '.'] = process.argv.slice(2)
const loopback = ['/ip4/127.0.0.1/tcp/0']
const peer = await createPeer({
  name: 'server',
  transport: libp2p({ listen: loopback, keyFile: join(folder, 'server/key') }),
})
const node = await bareNode(loopback)
await node.handle(ECHO, (stream) => {
  stream.addEventListener('message', (event) => {
    stream.send((event as unknown as { data: Uint8Array }).data)
  })
})
process.once('SIGTERM', () => void Promise.all([peer.close(), node.stop()]).then(() => process.exit(0)))
process.send?.({ ticket: await peer.invite(), bare: String(node.getMultiaddrs()[0]) })
