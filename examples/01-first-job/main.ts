// A job: start it, wait for it, receive what it said. Then the three kinds of jobs, side by side.
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { listen, startPeer } from '../peers.ts'

await using server01 = await startPeer('server01')
await using laptop = await createPeer({ name: 'laptop', transport: libp2p({ listen }) })
await laptop.join(server01.ticket)

// $job = Start-Job { 1..3 | % { sleep 0.1; "Output $_" } }
const job = await laptop.start(async function* (ctx) {
  for (let n = 1; n <= 3; n++) {
    await ctx.sleep(100)
    yield `Output ${n}`
  }
})
console.log(`${job.name} is a ${job.type}: ${job.state}`)

// Wait-Job $job
await job.wait()
console.log(`${job.name} is ${job.state}, more data: ${job.hasMoreData}`)

// Receive-Job $job
for await (const record of job.receive()) {
  if (record.kind === 'output') console.log(`  ${record.seq}: ${record.value}`)
}

// Receive-Job $job: what was received is not received again; the log still has it.
console.log(`${job.name} is ${job.state}, more data: ${job.hasMoreData}, said in all: ${(await job.output()).length}`)

// Remove-Job $job
await job.remove()

// $background = Start-Job { $PID }
const background = await laptop.start(() => process.pid)
// $thread = Start-ThreadJob { $PID }
const thread = await laptop.start(() => process.pid, { engine: 'thread' })
// $remote = Invoke-Command -ComputerName server01 { $PID } -AsJob
const remote = await laptop.start(() => process.pid, { on: 'server01' })

console.log(`\nthis program is process ${process.pid}; server01 is process ${server01.pid}`)
console.log('Id  Type           Location   Process')
for (const each of [background, thread, remote]) {
  // Wait-Job | Receive-Job
  const [pid] = await each.output()
  console.log(`${each.id}   ${each.type.padEnd(13)}  ${each.location.padEnd(9)}  ${pid}`)
}
