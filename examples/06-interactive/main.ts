// An interactive session, from a program: lines go to a prompt on server01, variables stay from line to line.
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { listen, startPeer } from '../peers.ts'

await using server01 = await startPeer('server01')
await using laptop = await createPeer({ name: 'laptop', transport: libp2p({ listen }) })
await laptop.join(server01.ticket)

// Enter-PSSession -ComputerName server01
await using session = await laptop.connect('server01')

const lines = [
  // $job = Start-Job { Get-EventLog "Windows PowerShell" }
  'const job = await start(async function* () { for (let n = 1; n <= 3; n++) yield `Event ${n}` })',
  // Get-Job $job
  '(await wait(job)).state',
  '(await jobs()).map(({ id, name, state, location }) => `${id} ${name} ${state} ${location}`)',
  // Receive-Job $job > PsLog.txt: a file on server01.
  'const file = path.join(os.tmpdir(), `PsLog-${process.pid}.txt`)',
  'await save(job, file)',
  // Get-Content PsLog.txt
  'await fs.promises.readFile(file, "utf8")',
  // Remove-Item PsLog.txt
  'await fs.promises.rm(file)',
  // A line may fail; the session goes on.
  'job.nothing.there',
  'typeof job',
]

for (const line of lines) {
  console.log(`[${session.location}]> ${line}`)
  const run = session.run({ line })
  for await (const record of run.records()) {
    if (record.kind === 'output') console.log(record.value)
    else if (record.kind === 'error') console.log(`${record.error.name}: ${record.error.message}`)
  }
}
// Exit-PSSession: the session is closed where this program ends.
