// What jobs leave in memory once they were removed, by the objects that made them: counted after what nobody holds was
// collected. Campaign `endings` counts processes, threads and handles.
import { queryObjects } from 'node:v8'
import { afterAll, beforeAll, test } from 'vitest'
import { LaneEngine } from '../src/engine/lane.ts'
import { ProcessActor } from '../src/engine/process-actor.ts'
import { JobHost } from '../src/job.ts'
import { MachineRef } from '../src/ref.ts'
import { RemoteSession } from '../src/remote-session.ts'
import type { Job } from '../src/index.ts'
import { counter, machines, wild } from './fixtures/process-machines.ts'
import { until } from './support/peers.ts'
import { pair, type Pair } from './support/pair.ts'

/** Whatever else there is hangs on one of them. Each look takes a while: all objects there are are gone through. */
const CLASSES = { LaneEngine, JobHost, RemoteSession, ProcessActor, MachineRef }
const ROUNDS = 3

let two: Pair
beforeAll(async () => {
  two = await pair({ here: { stopGrace: 100, machines }, far: { stopGrace: 100 } })
})
afterAll(() => two[Symbol.asyncDispose]())

/** Looking collects what nobody holds. */
function counts(): readonly [name: string, count: number][] {
  return Object.entries(CLASSES).map(([name, type]) => [
    name,
    queryObjects(type as new () => object, { format: 'count' }),
  ])
}

const toItsEnd = async (starting: Promise<Job>): Promise<void> => {
  const job = await starting
  await job.finished
  await job.remove()
}

const kinds: (() => Promise<void>)[] = [
  () => toItsEnd(two.here.start(() => 1, { engine: 'thread' })),
  () => toItsEnd(two.here.start(() => 1, { engine: 'process' })),
  () => toItsEnd(two.here.start(() => process.exit(1), { engine: 'process' })),
  () => toItsEnd(two.here.start(['true'])),
  () => toItsEnd(two.here.map([1, 2], (_ctx, i) => i)),
  () => toItsEnd(two.here.start(() => 1, { on: 'far' })),
  // An actor in a process, that has done its work, and one whose process was killed.
  async () => {
    const ref = await two.here.spawn(counter)
    await ref.ask({ type: 'total' })
    ref.send({ type: 'finish' })
    await until('its end', () => ref.state === 'gone')
    await (await two.here.job(ref.address.path.split('/')[1]!)).remove()
  },
  async () => {
    const ref = await two.here.spawn(wild)
    ref.send({ type: 'kill' })
    await until('its end', () => ref.state === 'gone')
    await (await two.here.job(ref.address.path.split('/')[1]!)).remove()
  },
  // A session, and what ran in it.
  async () => {
    await using session = await two.here.connect('far')
    await session.run(() => 1)
    const job = await session.start((ctx) => ctx.sleep(600_000), { engine: 'thread' })
    await session.close()
    await job.finished
  },
  // A runspace that was ended by force.
  async () => {
    const job = await two.here.start(
      () => {
        for (;;);
      },
      { engine: 'runspace' },
    )
    await job.stop({ grace: 0 })
    await job.remove()
  },
]

test('nothing is kept of them, however often', { timeout: 120_000 }, async () => {
  for (const act of kinds) await act()
  const before = counts()
  for (let round = 0; round < ROUNDS; round++) for (const act of kinds) await act()
  // Spares may be on their way; one for each of a kind would be more.
  await until('what was made for them is collected', () =>
    counts().every(([, count], index) => count - before[index]![1] < ROUNDS),
  )
})
