// One job on two machines (AsJob): a parent here, a child for each machine, results here as they are produced.
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import eventlog from '../eventlog.ts'
import { listen, startPeer } from '../peers.ts'

await using server01 = await startPeer('server01')
await using server02 = await startPeer('server02')
await using laptop = await createPeer({ name: 'laptop', transport: libp2p({ listen }) })
await laptop.join(server01.ticket)
await laptop.join(server02.ticket)
const on = ['server01', 'server02']

// $job = Invoke-Command -ComputerName server01, server02 { Get-EventLog system -Newest 3 } -AsJob
const job = await laptop.start(eventlog, { on, args: [{ log: 'system', newest: 3 }], name: 'events' })

// $job | Wait-Job
await job.wait()

// Get-Job -IncludeChildJob
console.log('Id   Name      Type       State      Location')
for (const each of await laptop.jobs({ includeChildren: true })) {
  const { parentId, position, name, type, state, location } = each.snapshot
  const id = parentId === undefined ? String(each.id) : `${parentId}.${position}`
  console.log(`${id.padEnd(4)} ${name.padEnd(9)} ${type}  ${state}  ${location}`)
}

// Receive-Job $job: each record says where it comes from.
for await (const record of job.receive()) {
  if (record.kind === 'output') {
    const { date, source, level, message } = record.value
    console.log(`${record.location}  ${date.toISOString()}  ${source}  ${level}  ${message.slice(0, 60)}`)
  } else if (record.kind === 'warning') console.log(`${record.location}  WARNING: ${String(record.value)}`)
}

// Invoke-Command -ComputerName server01, server02 { … }: without a job, one machine's failure is not the other's.
const run = laptop.run(
  (ctx) => {
    if (ctx.location === 'server02') throw new Error('the disk is full')
    return `${ctx.location} is fine`
  },
  { on },
)
for await (const record of run.records()) {
  if (record.kind === 'output') console.log(`${record.location}: ${record.value}`)
  else if (record.kind === 'error') console.log(`${record.location}: ${record.error.message}`)
}
await run.then(
  () => {
    throw new Error('server02 did not fail')
  },
  (error: AggregateError) => console.log(error.message),
)
