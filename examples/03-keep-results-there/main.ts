// A job that is started there, listed there, received there: its results stay on the other machine until we ask.
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import eventlog from '../eventlog.ts'
import { listen, startPeer } from '../peers.ts'

await using server01 = await startPeer('server01')
await using laptop = await createPeer({ name: 'laptop', transport: libp2p({ listen }) })
await laptop.join(server01.ticket)

// $s = New-PSSession -ComputerName server01
await using session = await laptop.connect('server01')

// Invoke-Command -Session $s { Start-Job { Get-EventLog system } }
const job = await session.start(eventlog, { args: [{ log: 'system', newest: 2 }], name: 'events' })
console.log(
  `started there: job ${job.id}, ${job.name}, location ${job.location}; here: ${(await laptop.jobs()).length} jobs`,
)

// Invoke-Command -Session $s { Wait-Job 1 }
await job.wait()

// Invoke-Command -Session $s { Get-Job }
for (const each of await session.jobs()) {
  console.log(`listed there:  job ${each.id}, ${each.name}, ${each.state}, more data: ${each.hasMoreData}`)
}

// $results = Invoke-Command -Session $s { Receive-Job 1 -Keep }: twice, and it is all still there.
for (const time of ['first', 'second']) {
  const results = []
  for await (const record of job.receive({ keep: true })) if (record.kind === 'output') results.push(record.value)
  const newest = results.at(-1)
  console.log(`received with keep, ${time} time: ${results.length} events, the last of ${newest?.date.toISOString()}`)
}

// Invoke-Command -Session $s { Receive-Job 1 > pslog.txt }: a file on server01.
const folder = await session.run(async () => {
  const { mkdtemp } = await import('node:fs/promises')
  const { tmpdir } = await import('node:os')
  return mkdtemp(`${tmpdir()}/logs-`)
})
await job.save(`${folder}/pslog.txt`)
console.log(`saved there; more data: ${job.hasMoreData}`)

// Invoke-Command -Session $s { Get-Content pslog.txt; Remove-Item pslog.txt }
const content = await session.run(
  async (_ctx, place: string) => {
    const { readFile, rm } = await import('node:fs/promises')
    const text = await readFile(`${place}/pslog.txt`, 'utf8')
    await rm(place, { recursive: true })
    return text
  },
  { args: [folder] },
)
console.log(content.trimEnd())
