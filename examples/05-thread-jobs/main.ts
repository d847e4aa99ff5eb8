// Thread jobs: work for the processor in threads of this process, which stays free to do other things.
import { createPeer } from '@errand/runtime'

await using peer = await createPeer()

// While the threads work, this thread goes on: the timer ticks.
let ticks = 0
const timer = setInterval(() => ticks++, 10)

// $jobs = 1..4 | % { Start-ThreadJob { param($from) … } -ArgumentList $_ }
const size = 1_500_000
const jobs = await Promise.all(
  [0, 1, 2, 3].map((part) =>
    peer.start(
      (ctx, from: number, count: number) => {
        let primes = 0
        for (let n = Math.max(2, from); n < from + count; n++) {
          let prime = true
          for (let d = 2; d * d <= n; d++) {
            if (n % d === 0) {
              prime = false
              break
            }
          }
          if (prime) primes++
          // Write-Progress
          if ((n - from) % (count / 4) === 0 && n > from) {
            ctx.progress({ activity: `from ${from}`, percent: Math.round(((n - from) / count) * 100) })
          }
        }
        return primes
      },
      { engine: 'thread', args: [(part * size) / 4, size / 4] },
    ),
  ),
)

// Receive-Job -Wait: one job's records as they come.
let progress = 0
for (const job of jobs) {
  for await (const record of job) {
    if (record.kind === 'progress') progress++
    else if (record.kind === 'output') console.log(`${job.name}, a ${job.type}: ${record.value} primes`)
  }
}
clearInterval(timer)
const found = (await Promise.all(jobs.map((job) => job.output()))).flat().reduce((sum, primes) => sum + primes, 0)
console.log(
  `${found} primes below ${size}; ${progress} reports of progress; ticked meanwhile: ${ticks > 0 ? 'yes' : 'no'}`,
)

// Register-ObjectEvent $job StateChanged: a job's states as they change, here of one that never ends by itself.
const endless = await peer.start(
  () => {
    for (;;);
  },
  { engine: 'thread', name: 'endless' },
)
const states = (async () => {
  const seen: string[] = []
  for await (const { state } of endless.watch()) if (seen.at(-1) !== state) seen.push(state)
  return seen
})()
await endless.wait({ for: ['Running'] })

// Stop-Job $endless: it is asked, then ended; the thread is gone, the process is not.
const { state } = await endless.stop({ grace: '100ms' })
console.log(`${endless.name}: ${state}; was ${(await states).join(' → ')}`)

// Remove-Job *
for (const job of await peer.jobs()) await job.remove()
console.log(`jobs left: ${(await peer.jobs()).length}`)
