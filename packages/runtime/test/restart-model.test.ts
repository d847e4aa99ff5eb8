// Killed at every write, and at random ones over many lives: what was promised before holds after, whenever that was.
import { createMemoryNetwork } from '@errand/transport/memory'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { codeOf, createPeer, type Job, type JobSnapshot, type Peer } from '../src/index.ts'
import { memory } from '@errand/transport/memory'
import { isFinished } from '../src/child-jobs.ts'
import { keptDisk } from './support/kept-store.ts'
import { Lives } from './support/lives.ts'
import { all, until } from './support/peers.ts'
import { drawn } from './support/draw.ts'

const network = createMemoryNetwork()
let far: Peer
beforeAll(async () => {
  const policy = { peers: { here: ['connect' as const, 'run:script' as const] } }
  far = await createPeer({ name: 'far', transport: memory({ network, name: 'far' }), policy, temporaryLease: '5m' })
})
afterAll(() => far.close())

/** What was promised to whom. */
interface Promised {
  readonly id: number
  readonly instanceId: string
  readonly startId: string
  /** Its end, where that was told. */
  end?: unknown
  /** Records that somebody had, by their numbers; and how far reader `owner` had come. */
  readonly seen: Map<number, string>
  removed?: boolean
}

const factsOf = ({ children, ...job }: JobSnapshot): unknown => ({
  ...job,
  // How far it is read is no fact of its end.
  hasMoreData: undefined,
  reason: job.reason && [codeOf(job.reason), job.reason.message],
  children: children.map(factsOf),
})

class History {
  readonly promised = new Map<string, Promised>()
  #starts = 0

  async start(peer: Peer, how: Parameters<Peer['start']>[1] = {}, says = 2): Promise<Job> {
    const startId = `start ${++this.#starts}`
    const script = function* (_: unknown, count: number): Generator<number> {
      for (let n = 0; n < count; n++) yield n
      if (count === 3) throw new Error('three')
    }
    const job = (await peer.start(script, {
      engine: how.on ? 'runspace' : 'thread',
      ...how,
      startId,
      args: [says],
    })) as Job
    this.promised.set(job.instanceId, { id: job.id, instanceId: job.instanceId, startId, seen: new Map() })
    void job.finished.then((end) => (this.promised.get(job.instanceId)!.end ??= factsOf(end)))
    return job
  }

  async read(job: Job, limit: number): Promise<void> {
    const one = this.promised.get(job.instanceId)!
    for await (const record of job.receive({ follow: true, limit, keep: true })) {
      one.seen.set(record.seq, JSON.stringify([record.kind, record.kind === 'output' ? record.value : '']))
    }
  }

  /** A life that has ended tells nothing any more. */
  freeze(): void {
    for (const [key, one] of this.promised) this.promised.set(key, { ...one })
  }

  /** Everything that was promised holds, and nothing is there that nobody asked for. */
  async check(peer: Peer, where: string): Promise<void> {
    const jobs = await peer.jobs()
    const ids = jobs.map(({ id }) => id)
    expect(new Set(ids).size, `${where}: numbers`).toBe(ids.length)
    for (const one of this.promised.values()) {
      if (one.removed) {
        expect(
          jobs.some(({ instanceId }) => instanceId === one.instanceId),
          `${where}: removed ${one.id}`,
        ).toBe(false)
        continue
      }
      const job = jobs.find(({ instanceId }) => instanceId === one.instanceId)
      expect(job?.id, `${where}: ${one.startId} was accepted as ${one.id}`).toBe(one.id)
      if (one.end) expect(factsOf(job!.snapshot), `${where}: the end of ${one.id}`).toEqual(one.end)
      const leaf = job!.children[0] ?? job!
      const records = await all(leaf.receive({ from: 0, keep: true }))
      expect(
        records.map(({ seq }) => seq),
        `${where}: numbers of records`,
      ).toEqual(records.map((_, seq) => seq))
      for (const [seq, value] of one.seen) {
        const record = records[seq]!
        expect(
          JSON.stringify([record?.kind, record?.kind === 'output' ? record.value : '']),
          `${where}: record ${seq}`,
        ).toBe(value)
      }
      // Asked for again it is the same one.
      const again = await peer.start(() => 'another', { engine: 'thread', startId: one.startId })
      expect(again.instanceId, `${where}: started again`).toBe(one.instanceId)
    }
  }

  /** Everything ends, and removed leaves nothing. */
  async clear(peer: Peer, lives: Lives, where: string): Promise<void> {
    for (const job of await peer.jobs()) {
      // Its session may be found to be gone just then.
      if (!isFinished(job.state)) await job.stop({ grace: 0 }).catch(() => undefined)
      await job.finished
      await job.remove()
    }
    expect([lives.disk.rows('job'), lives.disk.logs()], where).toEqual([[], []])
    // Nobody waits for a session that nothing was put into.
    await until(`${where}: nothing is held`, () => lives.disk.rows('held').length === 0)
  }
}

const options = { network, policy: { peers: { far: [] } }, stopGrace: 0, lostAfter: '10s' as const }

type Program = (peer: Peer, history: History) => Promise<unknown>

const programs: Record<string, Program> = {
  async 'a job that is read, and removed'(peer, history) {
    const job = await history.start(peer, {}, 2)
    await history.read(job, 2)
    await all(job.receive({ limit: 1 }))
    await job.finished
    // Until it is answered nobody knows.
    history.promised.delete(job.instanceId)
    await job.remove()
    const gone = { id: 0, startId: '', seen: new Map<number, string>(), instanceId: job.instanceId, removed: true }
    history.promised.set(job.instanceId, gone)
    await history.start(peer)
  },
  async 'one that fails, and is tried again'(peer, history) {
    const job = await history.start(peer, { restart: { times: 1, within: '1m' } }, 3)
    await history.read(job, 2)
    await job.finished
  },
  async 'children elsewhere'(peer, history) {
    const job = await history.start(peer, { on: ['far', 'far'] }, 2)
    await job.finished
  },
  async 'one that waits for a time, and one that waits for it'(peer, history) {
    const later = await history.start(peer, { delay: '1h' })
    const behind = await history.start(peer, { after: later })
    await later.stop()
    await behind.finished
  },
}

describe('killed at every write', () => {
  test.each(Object.keys(programs))('everything that was answered is there: %s', { timeout: 120_000 }, async (name) => {
    let died = 0
    for (let writes = 1; ; writes++) {
      await using lives = new Lives({ ...options, disk: keptDisk() })
      const history = new History()
      const where = `killed at write ${writes}`
      const over = lives.start({ writes }).then((peer) => programs[name]!(peer, history))
      over.catch(() => undefined)
      const ended = await Promise.race([over.then(() => 'lived'), lives.disk.killed.then(() => 'died')])
      history.freeze()
      const after = await lives.again()
      await history.check(after, where)
      await history.clear(after, lives, where)
      if (ended === 'lived') break
      died++
    }
    // Fewer would mean that something is not written any more.
    expect(died).toBeGreaterThan(5)
  })
})

describe('killed at random', () => {
  test.each([1, 2, 3, 4])('over many lives, with seed %i', { timeout: 120_000 }, async (seed) => {
    const draw = drawn(seed)
    await using lives = new Lives({ ...options, disk: keptDisk() })
    const history = new History()
    for (let life = 0; life < 5; life++) {
      const where = `seed ${seed}, life ${life}`
      const writes = 3 + draw(40)
      const acts = async (): Promise<void> => {
        const peer = await lives.start({ writes })
        await history.check(peer, where)
        for (let n = 0; n < 12; n++) {
          const which = draw(5)
          if (which === 0) void history.start(peer, { on: 'far' }, draw(4)).catch(() => undefined)
          else if (which === 1) void history.start(peer, { delay: 1 + draw(20) }).catch(() => undefined)
          else {
            const job = await history.start(peer, draw(2) ? { retry: { times: 1, delay: 1 } } : {}, draw(4))
            if (which === 2) await job.finished
            if (which === 3) await history.read(job, 1)
          }
        }
      }
      const over = acts()
      over.catch(() => undefined)
      // What fails before it dies has failed.
      await Promise.race([over, lives.disk.killed])
      history.freeze()
      lives.kill()
    }
    const last = await lives.start()
    await history.check(last, `seed ${seed}, at last`)
    await Promise.all((await last.jobs()).map((job) => job.finished))
    await history.clear(last, lives, `seed ${seed}`)
  })
})
