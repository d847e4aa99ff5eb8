// npm run -s campaign -- clients [CLIENTS [ROUNDS]]: so many clients (500), each with a key and a node of its own, four
// processes full of them, come to one peer over libp2p again and again (8): each takes up its session, asks for its jobs,
// leaves it and goes for good, and comes back as a new one. Meanwhile the peer's own control plane is asked all the time.
// Prints a line for each round; throws where somebody was not served, where more than one in a hundred answers took 250 ms
// (as in `control`, of the peer's own time), or where clients that have left leave memory behind.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { libp2p } from '@errand/transport/libp2p'
import { held } from '../../transport/campaigns/fixtures/heap.ts'
import { ToldProcess } from '../../transport/campaigns/fixtures/told-process.ts'
import { createPeer } from '../src/index.ts'
import type { CrowdOptions, CrowdOrder, Visits } from './fixtures/client-crowd.ts'
import { share, type Taken, took } from './fixtures/own-time.ts'

const CROWD = fileURLToPath(new URL('./fixtures/client-crowd.ts', import.meta.url))
const CLIENTS = 500
const ROUNDS = 8
const PROCESSES = 4
/** Of one process, at the same time. */
const AT_ONCE = 8
/** The last so many rounds say whether memory grows: what is made once is made by then. */
const JUDGED = 5
const MOST_MS = 250
const MOST_BYTES = 1024
const PATIENCE = 600_000
/** Between two questions of the peer's own. */
const EVERY = 20

class Crowd extends ToldProcess<CrowdOrder, { ready: boolean }> {
  #ready = false

  static async start(options: CrowdOptions): Promise<Crowd> {
    const it = new Crowd(CROWD, options)
    await it.started('a crowd', () => it.#ready)
    return it
  }

  protected heard(): void {
    this.#ready = true
  }
}

/** Bytes a round, by least squares. */
function slopeOf(values: readonly number[]): number {
  const middle = (values.length - 1) / 2
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const products = values.map((value, index) => (index - middle) * (value - mean))
  const squares = values.map((_, index) => (index - middle) ** 2)
  return products.reduce((sum, one) => sum + one, 0) / squares.reduce((sum, one) => sum + one, 0)
}

export async function run([clients = String(CLIENTS), rounds = String(ROUNDS)]: readonly string[]): Promise<void> {
  const [count, times] = [Number(clients), Number(rounds)]
  if (!(Number.isInteger(count) && count >= PROCESSES) || !(Number.isInteger(times) && times > 1))
    throw new Error(`clients [CLIENTS [ROUNDS]], not '${clients} ${rounds}'`)
  const folder = mkdtempSync(join(tmpdir(), 'errand-clients-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'far'), { mode: 0o700 })
  await using far = await createPeer({
    name: 'far',
    home: join(folder, 'far'),
    transport: libp2p({ listen: ['/ip4/127.0.0.1/tcp/0'], keyFile: join(folder, 'far', 'key') }),
  })
  const each = Math.ceil(count / PROCESSES)
  const crowds = await Promise.all(
    Array.from({ length: PROCESSES }, (_, index) =>
      Crowd.start({ folder, first: index * each, count: Math.min(each, count - index * each), atOnce: AT_ONCE }),
    ),
  )
  const faults: string[] = []
  try {
    const all = async (order: (crowd: number) => Promise<CrowdOrder>): Promise<Visits[]> =>
      (await Promise.all(crowds.map(async (crowd, index) => crowd.tell(await order(index), PATIENCE)))) as Visits[]
    const joined = await all(async (index) => {
      const tickets: string[] = []
      for (let n = index * each; n < Math.min(count, (index + 1) * each); n++)
        tickets.push(await far.invite({ grants: ['connect'] }))
      return { do: 'join', tickets }
    })
    const served = joined.reduce((sum, one) => sum + one.served, 0)
    console.log(`${served} of ${count} clients have joined, and opened a session each`)
    if (served < count) throw new Error(joined.flatMap(({ refused }) => refused).join('\n'))
    console.log(line('round', 'served', 'attach p50', 'p99 ms', 'ask p99 ms', 'own p99 ms', 'whole p99', 'held MiB'))
    const kept: number[] = []
    for (let round = 1; round <= times; round++) {
      const over = new AbortController()
      const asking = control(far, over.signal)
      const visits = await all(async () => ({ do: 'visit' }))
      over.abort()
      const answers = await asking
      await delay(1_000) // what the last ones left is closed
      kept.push(await held())
      const here = visits.reduce((sum, one) => sum + one.served, 0)
      const refused = visits.flatMap((one) => one.refused)
      if (here < count)
        faults.push(`round ${round}: ${count - here} were not served: ${refused.slice(0, 3).join('; ')}`)
      const attached = visits.flatMap((one) => one.attached)
      const asked = visits.flatMap((one) => one.asked)
      const own = share(
        answers.map((one) => one.own),
        0.99,
      )
      if (!(own < MOST_MS)) faults.push(`round ${round}: control plane p99 ${own.toFixed(1)} ms`)
      const figures = [
        share(attached, 0.5),
        share(attached, 0.99),
        share(asked, 0.99),
        own,
        share(
          answers.map((one) => one.all),
          0.99,
        ),
        kept.at(-1)! / 2 ** 20,
      ]
      console.log(line(String(round), String(here), ...figures.map((figure) => figure.toFixed(1))))
    }
    const judged = kept.slice(-JUDGED)
    const slope = slopeOf(judged) / count
    console.log(`heap after gc over the last ${judged.length} rounds: ${slope.toFixed(0)} bytes a client and round`)
    if (!(slope < MOST_BYTES)) faults.push(`memory grows by ${slope.toFixed(0)} bytes a client and round`)
  } finally {
    await Promise.all(crowds.map((crowd) => crowd.end()))
  }
  if (faults.length > 0) throw new Error(faults.join('\n'))
}

/** What the peer itself is asked while others come and go: its event loop's delay, and its jobs. */
async function control(far: Awaited<ReturnType<typeof createPeer>>, over: AbortSignal): Promise<Taken[]> {
  const answers: Taken[] = []
  while (!over.aborted) {
    answers.push(await took(() => far.jobs()))
    const { all, own } = await took(() => delay(EVERY))
    answers.push({ all: Math.max(0, all - EVERY), own: Math.max(0, own - EVERY) })
  }
  return answers
}

function line(...cells: readonly string[]): string {
  return cells.map((cell) => cell.padStart(11)).join(' ')
}
