// Endings that once hung or took others along: each of these was a bug.
import { createMemoryNetwork, memory } from '@errand/transport/memory'
import { afterEach, describe, expect, it } from 'vitest'
import type { Engine } from '../src/engine/engine.ts'
import { createPeer, memoryStore, PeerHost } from '../src/index.ts'
import { PeerHandle } from '../src/peer-handle.ts'
import { singleRecord } from '../src/record.ts'
import type { Grant, Peer, ScriptContext, Session } from '../src/surface.ts'
import { scriptedJob, SlowLog } from './support/scripted-engine.ts'

const open: Peer[] = []
afterEach(async () => {
  for (const peer of open.splice(0).toReversed()) await peer.close()
})

async function local(logLimit?: number): Promise<Peer> {
  const peer = await createPeer({ name: 'here', ...(logLimit && { store: memoryStore({ logLimit }) }) })
  open.push(peer)
  return peer
}

async function remote(): Promise<Session> {
  const network = createMemoryNetwork()
  const policy = { peers: { a: ['connect' as const, 'run:script' as const, 'run:command' as const] } }
  open.push(await createPeer({ name: 'b', transport: memory({ network, name: 'b' }), policy }))
  const a = await createPeer({ name: 'a', transport: memory({ network, name: 'a' }), policy: { peers: { b: [] } } })
  open.push(a)
  return a.connect('b')
}

describe('stopping', () => {
  it('ends a command that waits in its own write because nobody reads', async () => {
    const peer = await local(1 << 20)
    const job = await peer.start(['yes'])
    await job.wait({ for: ['Running'] })
    for await (const _ of job.receive({ keep: true, follow: true, limit: 1000 }));
    expect((await job.stop({ grace: 500 })).state).toBe('Stopped')
  })

  it('with its peer: what would have an hour to stop is ended by force once somebody is in a hurry', async () => {
    const host = await PeerHost.open({ name: 'here', stopGrace: '1h' })
    const peer = new PeerHandle(host)
    open.push(peer)
    const job = await peer.start(['sh', '-c', 'trap "" TERM INT; echo up; while :; do sleep 0.1; done'])
    for await (const _ of job.receive({ follow: true, limit: 1 }));
    const ended = job.wait()
    const closing = host.close()
    await job.wait({ for: ['Stopping'] })
    host.hurry()
    await closing
    expect(await ended).toMatchObject({ state: 'Stopped', reason: { code: 'PEER_SHUTDOWN' } })
  })

  it('ends with a command although a process that left every net keeps its output open', async () => {
    const peer = await local()
    const job = await peer.start(['sh', '-c', 'env -i setsid sleep 20 & echo hi'])
    expect(await job.output()).toEqual(['hi'])
  })

  it('of one thread job in another peer’s session leaves its sisters alone', async () => {
    const session = await remote()
    const endless = async function* (ctx: { sleep(ms: number): Promise<void> }): AsyncGenerator<number> {
      for (let n = 0; ; n++) {
        yield n
        await ctx.sleep(10)
      }
    }
    const loop = await session.start(
      () => {
        for (;;);
      },
      { engine: 'thread' },
    )
    const sister = await session.start(endless, { engine: 'thread' })
    for await (const _ of sister.receive({ follow: true, limit: 2 }));
    expect((await loop.stop({ grace: 100 })).state).toBe('Stopped')
    expect(sister.state).toBe('Running')
    for await (const _ of sister.receive({ follow: true, limit: 2 }));
    expect(await (await session.start(() => 7, { engine: 'thread' })).output()).toEqual([7])
    await sister.stop()
  })

  it('settles whoever waits for a job whose session is closed', async () => {
    const session = await remote()
    const job = await session.start(async (ctx) => ctx.sleep(60_000))
    const waiting = job.wait().then(
      ({ state }) => state,
      (error: { code: string }) => error.code,
    )
    await session.close({ grace: 0 })
    const state = await waiting
    expect(['Stopped', 'SESSION_CLOSED']).toContain(state)
    expect((await job.finished).instanceId).toBe(job.instanceId)
  })
})

describe('a script', () => {
  it('may say a lot in its last turn: every record and the ending arrive', async () => {
    const peer = await local()
    const job = await peer.start(() => {
      for (let n = 0; n < 100; n++) console.log('x'.repeat(100_000))
    })
    let count = 0
    for await (const record of job) if (record.kind === 'information') count++
    expect([count, job.state]).toEqual([100, 'Completed'])
  })

  it.for(['thread', 'process', 'runspace'] as const)(
    'that throws what cannot be shown fails, and its isolate lives: %s',
    async (engine) => {
      const peer = await local()
      const throwing = [
        () => {
          throw Object.create(null)
        },
        () => {
          const { proxy, revoke } = Proxy.revocable({}, {})
          revoke()
          throw proxy
        },
        () => {
          throw Object.defineProperty(new Error('x'), 'odd', {
            enumerable: true,
            get: () => {
              throw new Error('getter')
            },
          })
        },
      ]
      for (const script of throwing) {
        const job = await peer.start(script, { engine })
        const { state, reason } = await job.wait()
        expect([state, (reason as { code?: string }).code]).toEqual(['Failed', undefined])
      }
    },
  )

  it('is not run when its signal is aborted already, and stopped when it aborts', async () => {
    const peer = await local()
    await expect(peer.run(() => 1, { signal: AbortSignal.abort() })).rejects.toThrow()
    const abort = new AbortController()
    const run = peer.run(async (ctx) => ctx.sleep(60_000), { signal: abort.signal })
    setImmediate(() => abort.abort())
    await expect(run).rejects.toMatchObject({ code: 'JOB_STOPPED' })
  })

  it('a peer that goes down while jobs are on their way to it leaves none of them waiting for it', async () => {
    for (let turns = 0; turns < 12; turns++) {
      const network = createMemoryNetwork()
      const peer = (name: string, others: Record<string, Grant[]>): Promise<Peer> =>
        createPeer({ name, transport: memory({ network, name }), policy: { peers: others }, stopGrace: 100 })
      await using here = await peer('here', { far: [] })
      await using far = await peer('far', { here: ['connect', 'run:script'] })
      const jobs = await Promise.all(
        [1, 2, 3].map(() => here.start((ctx: ScriptContext) => ctx.sleep(600_000), { on: 'far' })),
      )
      // Wherever they are by then: asking for a session, asking for the run, or just heard of.
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
      await far.close()
      for (const { state, name } of await Promise.all(jobs.map((job) => job.finished)))
        expect({ turns, name, state }).toMatchObject({ state: expect.stringMatching(/Failed|Stopped/) })
    }
  })

  it('a job whose records cannot be kept any more is stopped, and has failed of that', async () => {
    const engine: Engine = {
      start(_, io) {
        io.chunk(singleRecord('output', 1))
        return { credit() {}, stop: () => io.ended({ outcome: 'stopped' }) }
      },
      async [Symbol.asyncDispose]() {},
    }
    const job = scriptedJob({ engine }, new SlowLog(() => Promise.reject(new Error('the disk is gone'))))
    job.start()
    const { state, reason } = await job.finished
    expect([state, reason?.message]).toEqual(['Failed', 'the disk is gone'])
  })
})
