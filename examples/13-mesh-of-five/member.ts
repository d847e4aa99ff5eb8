// One peer of the mesh, a process of its own: gives its tasks to the others, each as fast as that one does them, and does
// theirs.
import { once } from 'node:events'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import { codeOf, createPeer, type ScriptContext } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { listen } from '../peers.ts'

/** What a member is told: who else is there, by a ticket, and what it is to have done. */
export type Told = { readonly meet: string } | { readonly tasks: readonly number[] }
/** What it says: how it can be met, each result once, and whom it has lost with a task. */
export type Said = { readonly ticket: string } | Result | { readonly lost: string; readonly task: number }
export interface Result {
  readonly task: number
  readonly primes: number
  readonly by: string
}

/** Task n: how many primes there are from n × SIZE on, below (n + 1) × SIZE. */
export const SIZE = 20_000

function countPrimes(_ctx: ScriptContext, from: number, size: number): number {
  const isPrime = (n: number): boolean => {
    for (let d = 2; d * d <= n; d++) if (n % d === 0) return false
    return n > 1
  }
  return Array.from({ length: size }, (_, index) => from + index).filter(isPrime).length
}

/** What a peer that is not there any more is to whom it was to help. */
const GONE = new Set(['PEER_LOST', 'PEER_UNREACHABLE', 'SESSION_CLOSED'])

if (import.meta.main) {
  const [name = '', home = '', pace] = process.argv.slice(2)
  // What is slow here is slow in all that is started here.
  if (pace === 'slow') setPriority(5)
  const left = once(process, 'disconnect')
  await using peer = await createPeer({ name, home, transport: libp2p({ listen, keyFile: join(home, 'key') }) })
  const say = (said: Said): void => void process.send?.(said)

  // A queue that many take from: whoever is free has the next.
  let queue!: ReadableStreamDefaultController<number>
  const tasks = new ReadableStream<number>({ start: (controller) => void (queue = controller) }).getReader()

  /** Joins another peer, and gives it one task after the other until it is gone, or we are. */
  const giveTo = async (ticket: string): Promise<void> => {
    let by = ''
    let task: number | undefined
    try {
      by = (await peer.join(ticket)).name
      await using session = await peer.connect(by, { lostAfter: '500ms' })
      while ((task = (await tasks.read()).value) !== undefined) {
        const primes = await session.run(countPrimes, { args: [task * SIZE, SIZE] })
        say({ task, primes, by })
      }
    } catch (error) {
      if (!GONE.has(codeOf(error) ?? '')) throw error
      // Begun there or not, nobody has heard of a result: whoever is free does it.
      if (task === undefined) return
      queue.enqueue(task)
      say({ lost: by, task })
    }
  }

  const giving: Promise<void>[] = []
  process.on('message', (told: Told) => {
    if ('meet' in told) giving.push(giveTo(told.meet))
    else for (const task of told.tasks) queue.enqueue(task)
  })
  say({ ticket: await peer.invite({ uses: 10 }) })
  await left
  queue.close()
  await Promise.all(giving)
}
