// A million events for one actor: the peer it is on answers everybody else meanwhile, and does not grow, also where somebody
// watches that actor who has stopped reading. Linux: what other programs want of the processors is not counted.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { share, type Taken, waitedForProcessor } from '../campaigns/fixtures/own-time.ts'
import type { Grant, Ref, Session } from '../src/index.ts'
import { counter } from './fixtures/machines.ts'
import { Peers, type PeerProcess, until } from './support/peers.ts'

const EVENTS = 1_000_000
const ASKED_EVERY_MS = 10
/** Guarantee G11. */
const MOST_MS = 250
const MIB = 1024 ** 2

const GRANTS: Grant[] = ['connect', 'spawn:counter', 'jobs:send', 'jobs:read']

let peers: Peers
let server: PeerProcess
let flooder: PeerProcess
let watcher: PeerProcess
let session: Session
let flooded: Ref<typeof counter>

beforeAll(async () => {
  peers = await Peers.start()
  // Whoever stands still is not given up while the flood lasts.
  server = await peers.process('server01', { machines: true, suspicion: 120_000 })
  flooder = await peers.process('flooder')
  watcher = await peers.process('watcher', { suspicion: 120_000 })
  await peers.laptop.join(await server.ask('invite', { grants: GRANTS }))
  await flooder.ask('join', await server.ask('invite', { grants: GRANTS }))
  await watcher.ask('join', await server.ask('invite', { grants: GRANTS }))
  session = await peers.laptop.connect('server01')
  flooded = await session.spawn(counter)
  await watcher.ask('look', flooded.address)
})
afterAll(() => peers.close())

/** What others ask of the peer meanwhile, one after the other. */
async function asking(over: () => boolean): Promise<Record<string, Taken[]>> {
  const other = await session.spawn(counter)
  const job = await session.job(flooded.address.path.split('/')[1]!)
  const requests: Record<string, () => Promise<unknown>> = {
    jobs: () => session.jobs({ newest: 1 }),
    inspect: () => job.inspect(),
    ask: async () => expect(await other.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 0 }),
  }
  const times: Record<string, Taken[]> = {}
  while (!over()) {
    for (const [name, request] of Object.entries(requests)) {
      const waited = (): number => waitedForProcessor() + waitedForProcessor(server.pid)
      const [since, before] = [performance.now(), waited()]
      await request()
      const all = performance.now() - since
      ;(times[name] ??= []).push({ all, own: Math.max(0, all - (waited() - before)) })
    }
    await new Promise((resolve) => setTimeout(resolve, ASKED_EVERY_MS))
  }
  return times
}

test('a flood of a million events delays nobody else, and grows nothing', { timeout: 300_000 }, async () => {
  // Once, so that what is measured has been compiled.
  await flooder.ask('flood', flooded.address, EVENTS / 10)
  const before = await server.ask('memory')
  process.kill(watcher.pid, 'SIGSTOP')
  let over = false
  let most = 0
  const looking = (async () => {
    while (!over) {
      most = Math.max(most, (await server.ask('memory')).heap)
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  })()
  const flood = flooder.ask('flood', flooded.address, EVENTS).finally(() => (over = true))
  const times = await asking(() => over)
  expect(await flood).toBe(EVENTS * 1.1)
  await looking
  const after = await server.ask('memory')
  process.kill(watcher.pid, 'SIGCONT')

  for (const [name, taken] of Object.entries(times)) {
    const own = taken.map((one) => one.own)
    console.log(
      `${name}: ${own.length} asked, p50 ${share(own, 0.5).toFixed(1)} ms, p99 ${share(own, 0.99).toFixed(1)} ms, ` +
        `worst ${share(own, 1).toFixed(1)} ms`,
    )
    expect(own.length, name).toBeGreaterThan(50)
    expect(share(own, 0.99), name).toBeLessThan(MOST_MS)
  }
  const [grown, held] = [(most - before.heap) / MIB, (after.heap - before.heap) / MIB]
  console.log(`grown by ${grown.toFixed(1)} MiB, of which ${held.toFixed(1)} MiB are still held`)
  // What is not garbage: a million events would be some 60 MiB, and what is told of each of them more than that. Held are the
  // records that it says, one for each ten.
  expect(grown).toBeLessThan(16)
  expect(held).toBeLessThan(8)
  // Who stood still sees how it is now.
  await until('the last of it', async () => (await watcher.ask('seen', flooded.address)) === EVENTS * 1.1)
})
