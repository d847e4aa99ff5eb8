// The first program: starts the counter in a session on localhost, hears a little of it, disconnects and ends.
import { createPeer } from '@errand/runtime'

const [home = '', lines = '60', pause = '250'] = process.argv.slice(2)
await using peer = await createPeer({ home })

// $session = New-PSSession -ComputerName localhost
const session = await peer.connect('localhost', { name: 'counter' })

// $job = Invoke-Command -Session $session { 1..60 | % { sleep 1; "Output $_" } } -AsJob
const job = await peer.start(
  async function* (ctx, count: number, ms: number) {
    for (let n = 1; n <= count; n++) {
      await ctx.sleep(ms)
      yield `Output ${n}`
    }
  },
  { on: session, args: [Number(lines), Number(pause)] },
)
console.log(`job ${job.id}, a ${job.type} on ${job.location}: ${job.state}`)

// Receive-Job $job: what there is after a while.
for await (const record of job.receive({ follow: true, limit: 5 })) {
  if (record.kind === 'output') console.log(record.value)
}

// Disconnect-PSSession $session
await session.disconnect()
console.log(`session ${session.name}: ${session.state}, ${session.availability}; job ${job.id}: ${job.state}`)
