// Way 4, second program: a new process with the same key finds the session and receives the rest.
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'

const [home = ''] = process.argv.slice(2)
await using peer = await createPeer({
  name: 'program',
  home,
  transport: libp2p({ listen: [], keyFile: `${home}/key` }),
})

const [there] = await peer.sessions({ on: 'server01', state: 'Disconnected' })
console.log(`pid ${process.pid} finds session ${there?.name} on ${there?.location}: ${there?.state}`)
await using session = await peer.connect('server01', { session: there!.instanceId })
const job = await session.receive()
for await (const record of job!) if (record.kind === 'output') console.log(record.value)
console.log(`job ${job!.name} is ${job!.state}`)
