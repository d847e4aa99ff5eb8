// Way 4, first program: starts the counter in a session on server01, takes a few lines, leaves. Its own peer, its own key.
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'

const [home = '', ticket = ''] = process.argv.slice(2)
await using peer = await createPeer({
  name: 'program',
  home,
  transport: libp2p({ listen: [], keyFile: `${home}/key` }),
})
await peer.join(ticket)

const session = await peer.connect('server01', { name: 'counting' })
const job = await peer.start(
  async function* (ctx) {
    for (let n = 1; n <= 60; n++) {
      await ctx.sleep(250)
      yield `Output ${n}`
    }
  },
  { on: session },
)
for await (const record of job) {
  if (record.kind === 'output') console.log(record.value)
  if (record.seq === 7) break
}
await session.disconnect()
console.log(
  `session ${session.name} is ${session.state}, job ${job.id} is ${job.state}; this program (pid ${process.pid}) ends`,
)
