// One job on a hundred peers: a hundred real ones, over a network in this process. Their work is a command that tells in a
// file that it has come, waits for the end of its input, and tells that it goes.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type ChildJobError,
  codeOf,
  createPeer,
  type Job,
  type JobRecord,
  type JobSnapshot,
  type Peer,
} from '../src/index.ts'
import { until } from './support/peers.ts'

const TARGETS = Array.from({ length: 100 }, (_, n) => `far${String(n).padStart(3, '0')}`)
const THROTTLE = 32
/** Nobody is there. */
const EMPTY = TARGETS.filter((_, n) => n % 10 === 7)

let folder: string
let network: MemoryNetwork
let here: Peer
let far: Peer[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'errand-'))
  network = createMemoryNetwork()
  far = []
  here = await createPeer({
    name: 'here',
    transport: memory({ network, name: 'here' }),
    policy: { peers: Object.fromEntries(TARGETS.map((name) => [name, []])) },
  })
})

afterEach(async () => {
  await here.close()
  await Promise.all(far.map((peer) => peer.close()))
  await rm(folder, { recursive: true })
})

async function inhabit(names: readonly string[]): Promise<void> {
  far = await Promise.all(
    names.map((name) =>
      createPeer({
        name,
        transport: memory({ network, name }),
        policy: { peers: { here: ['connect', 'run:command'] } },
      }),
    ),
  )
}

/** Starts the work everywhere; it ends when the gate is opened. */
async function fanOut(): Promise<{ job: Job<string>; open: () => void; marks: () => Promise<string> }> {
  const file = join(folder, 'marks')
  await writeFile(file, '')
  const gate = Promise.withResolvers<void>()
  const input = {
    async *[Symbol.asyncIterator]() {
      await gate.promise
      yield* []
    },
  }
  const script = 'printf + >> "$0"; cat; printf - >> "$0"; echo done'
  const job = (await here.start(['sh', '-c', script, file], { on: TARGETS, throttle: THROTTLE, input })) as Job<string>
  return { job, open: gate.resolve, marks: () => readFile(file, 'latin1') }
}

/** What is told of it, from now on. */
function watched(job: Job): readonly JobSnapshot[] {
  const seen = [job.snapshot]
  void (async () => {
    for await (const snapshot of job.watch()) seen.push(snapshot)
  })()
  return seen
}

/** How many were there at once, at the most. */
function most(marks: string): number {
  let now = 0
  return Math.max(...marks.split('').map((mark) => (now += mark === '+' ? 1 : -1)))
}

const working = ({ children }: JobSnapshot): number =>
  children.filter(({ state }) => state === 'Running' || state === 'Stopping').length

/** At no time more than it may, and nobody before those that stand before it. */
function expectThrottled(seen: readonly JobSnapshot[], last: JobSnapshot): void {
  expect(Math.max(...seen.map(working))).toBeLessThanOrEqual(THROTTLE)
  for (const { children } of seen) {
    const waiting = children.findIndex(({ begunAt }) => begunAt === undefined)
    if (waiting >= 0) expect(children.findLastIndex(({ begunAt }) => begunAt !== undefined)).toBeLessThan(waiting)
  }
  const times = last.children.map(({ begunAt }) => begunAt!.getTime())
  expect(times).toEqual(times.toSorted((a, b) => a - b))
}

async function records(job: Job<string>): Promise<JobRecord<string>[]> {
  const all: JobRecord<string>[] = []
  for await (const record of job.receive()) all.push(record)
  return all
}

const connected = async (): Promise<number> => (await here.peers()).filter((peer) => peer.connected).length

describe('a job on a hundred peers', () => {
  test('P118 has at most 32 of them at work and connected, the others in their order, and all results', async () => {
    await inhabit(TARGETS)
    const { job, open, marks } = await fanOut()
    const seen = watched(job)
    await until('the first 32 have come', async () => (await marks()).length === THROTTLE)
    expect([working(job.snapshot), await connected()]).toEqual([THROTTLE, THROTTLE])
    expect(job.children.slice(THROTTLE).map(({ state }) => state)).toEqual(
      TARGETS.slice(THROTTLE).map(() => 'NotStarted'),
    )
    open()
    expect((await job.finished).state).toBe('Completed')
    expect(job.children.map(({ state }) => state)).toEqual(TARGETS.map(() => 'Completed'))
    const all = await records(job)
    expect(all.map(({ location, kind }) => [location, kind])).toEqual(TARGETS.map((name) => [name, 'output']))
    expect([(await marks()).length, most(await marks())]).toEqual([200, THROTTLE])
    expectThrottled(seen, job.snapshot)
  })

  test('ten of which are not there: ninety results, ten Failed children with the reason, and the parent Failed of them', async () => {
    const there = TARGETS.filter((name) => !EMPTY.includes(name))
    await inhabit(there)
    const job = (await here.start(['echo', 'done'], { on: TARGETS, throttle: THROTTLE })) as Job<string>
    const seen = watched(job)
    const { state, reason } = await job.finished
    expect(state).toBe('Failed')
    const failed = job.children.filter((child) => child.state === 'Failed')
    expect(failed.map(({ location }) => location)).toEqual(EMPTY)
    for (const child of failed) {
      expect(codeOf(child.reason)).toBe('PEER_UNREACHABLE')
      expect(child.reason!.message).toContain(child.location)
    }
    expect(job.children.filter((child) => child.state === 'Completed')).toHaveLength(there.length)
    expect(codeOf(reason)).toBe('CHILD_JOB')
    const { errors } = reason as ChildJobError
    expect(errors.map(({ message }) => EMPTY.find((name) => message.includes(name)))).toEqual(EMPTY)
    const all = await records(job)
    const of = (kind: string): string[] => all.filter((record) => record.kind === kind).map(({ location }) => location)
    expect(of('output')).toEqual(there)
    expect(of('error')).toEqual(EMPTY)
    expectThrottled(seen, job.snapshot)
  })

  test('is stopped: those at work end, and nobody else is ever gone to', async () => {
    await inhabit(TARGETS)
    const { job, marks } = await fanOut()
    await until('the first 32 have come', async () => (await marks()).length === THROTTLE)
    expect((await job.stop({ grace: 0 })).state).toBe('Stopped')
    expect(job.children.map(({ state }) => state)).toEqual(TARGETS.map(() => 'Stopped'))
    expect(job.children.filter(({ begunAt }) => begunAt !== undefined)).toHaveLength(THROTTLE)
    expect(await connected()).toBe(THROTTLE)
    expect((await marks()).replaceAll('-', '')).toHaveLength(THROTTLE)
  })
})
