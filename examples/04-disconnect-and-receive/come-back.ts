// The second program, a new process: finds the session that was left, takes up what runs in it, hears the rest.
import { createPeer } from '@errand/runtime'

const [home = ''] = process.argv.slice(2)
await using peer = await createPeer({ home })

// Get-PSSession -ComputerName localhost
const [left] = await peer.sessions({ on: 'localhost', state: 'Disconnected' })
if (!left) throw new Error('no session was left on localhost')
const minutes = Math.round(((left.expiresAt?.getTime() ?? 0) - Date.now()) / 60_000)
console.log(`session ${left.name}: ${left.state}, ends in ${minutes} minutes if nobody takes it up`)

// Connect-PSSession; $job = Receive-PSSession -Session $session -OutTarget Job
await using session = await peer.connect('localhost', { session: left.instanceId })
const job = await session.receive()
if (!job) throw new Error('nothing runs in the session')
console.log(`job ${job.id}, a ${job.type} on ${job.location}: ${job.state}`)

// $job | Receive-Job -Wait: it goes on where the first program left off.
for await (const record of job) {
  if (record.kind === 'output') console.log(record.value)
}
console.log(`job ${job.id}: ${(await job.finished).state}`)
// Remove-PSSession $session: where this program ends.
