// The peer that actors are on, in a process of its own: says how it can be joined, and how large it is when it is asked.

import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { counter } from './counter.ts'

process.once('disconnect', () => process.exit(0))
const peer = await createPeer({
  name: 'far',
  transport: libp2p({ listen: ['/ip4/127.0.0.1/tcp/0'] }),
  machines: [counter],
})
process.on('message', () => process.send!(process.memoryUsage.rss() / 1024 ** 2))
process.send!(await peer.invite({ grants: ['connect', 'run:script', `spawn:${counter.name}`], uses: 3 }))
