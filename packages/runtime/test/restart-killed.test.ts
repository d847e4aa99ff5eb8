// Real peers with a store on disk, really killed: SIGKILL of the process, then another one in the same home.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectLocal } from '../src/client.ts'
import { codeOf, type ScriptContext } from '../src/index.ts'
import { alive, all, outputs, Peers, until, within } from './support/peers.ts'
import { drawn } from './support/draw.ts'

let peers: Peers
beforeAll(async () => void (peers = await Peers.start()))
afterAll(() => peers.close())

/** Counts, and notes its process. */
async function* counts(ctx: ScriptContext, to: number, gates: Record<number, string>): AsyncGenerator<number> {
  const { existsSync } = process.getBuiltinModule('node:fs')
  for (let n = 0; n < to; n++) {
    while (gates[n] !== undefined && !existsSync(gates[n]!)) await ctx.sleep(5)
    yield n
  }
}

describe('a daemon that is killed', () => {
  test('a client waits for the next one, and goes on: the same jobs, its reader where it was', async () => {
    const daemon = await peers.process('daemon', { network: false, daemon: true, disk: true })
    const client = await connectLocal({ home: daemon.home, lostAfter: '1m' })
    try {
      const gate = peers.gate()
      const done = await client.start(() => 'done')
      await done.finished
      const lost = await client.start(['sh', '-c', 'echo out; sleep 600'])
      await until('it said something', () => lost.snapshot.pid && lost.hasMoreData)
      const again = await client.start(counts, {
        args: [2_000, { 1_000: gate.path }],
        restart: { times: 3, within: '1m' },
      })
      const seen: number[] = []
      const kinds = new Map<string, number>()
      const reading = (async () => {
        for await (const { seq, kind } of again) {
          seen.push(seq)
          kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
        }
      })()
      await until('half of it was read', () => seen.length === 1_000)
      const pids = daemon.processes()
      await daemon.kill()
      await until('its processes are gone', () => !pids.some(alive))
      await daemon.start()
      await gate.open()
      await within('the rest', reading, 25_000)
      expect(seen).toEqual(seen.map((_, seq) => seq))
      expect(Object.fromEntries(kinds)).toEqual({ output: 3_000, error: 1, warning: 1 })
      await until('all of it is known', () => again.state === 'Completed' && lost.state === 'Failed')
      expect(codeOf(lost.reason)).toBe('PEER_RESTARTED')
      expect(await outputs(lost.receive({ from: 0 }))).toEqual(['out'])
      expect((await client.jobs()).map(({ id, state }) => [id, state])).toEqual([
        [1, 'Completed'],
        [2, 'Failed'],
        [3, 'Completed'],
      ])
      expect(await done.output()).toEqual(['done'])
      expect((await client.start(() => 1)).id).toBe(4)
    } finally {
      await client.close()
    }
  })

  test('at any moment: every start that was answered is there', { timeout: 90_000 }, async () => {
    const daemon = await peers.process('mortal', { network: false, daemon: true, disk: true })
    const client = await connectLocal({ home: daemon.home, lostAfter: '1m' })
    const draw = drawn(5)
    const accepted = new Map<string, number>()
    const marks = join(daemon.home, 'marks')
    try {
      for (let round = 0; round < 6; round++) {
        let going = true
        const starting = (async () => {
          while (going) {
            const job = await client.start(
              (_: ScriptContext, file: string, text: string) =>
                process.getBuiltinModule('node:fs').appendFileSync(file, text),
              { engine: 'thread', args: [marks, '.'] },
            )
            expect(accepted.has(job.instanceId)).toBe(false)
            accepted.set(job.instanceId, job.id)
          }
        })()
        const most = accepted.size + 5 + draw(40)
        await until('some were started', () => accepted.size >= most)
        await daemon.kill()
        going = false
        await daemon.start()
        await within('the last start is answered by the next daemon', starting, 25_000)
        const jobs = new Map((await client.jobs()).map((job) => [job.instanceId, job]))
        for (const [instanceId, id] of accepted) expect(jobs.get(instanceId)?.id).toBe(id)
        await until('all have ended', async () =>
          (await client.jobs()).every(({ state }) => state === 'Completed' || state === 'Failed'),
        )
      }
      const jobs = await client.jobs()
      expect(new Set(jobs.map(({ id }) => id)).size).toBe(jobs.length)
      // At most once: each is done or not, none twice.
      expect(readFileSync(marks, 'utf8').length).toBeLessThanOrEqual(jobs.length)
      expect(jobs.filter(({ state }) => state === 'Completed').length).toBeLessThanOrEqual(
        readFileSync(marks, 'utf8').length,
      )
    } finally {
      await client.close()
    }
  })
})

describe('a server that is killed', () => {
  test('its sessions are those of who had them, and what is done there from here goes on', async () => {
    const server = await peers.add('server', { disk: true })
    const session = await peers.laptop.connect('server', { name: 'work' })
    const gate = peers.gate()
    const job = await session.start(counts, { args: [300, { 100: gate.path }], restart: { times: 3, within: '1m' } })
    const reading = all(job)
    await until('it is at work', () => job.state === 'Running')
    const pids = server.processes()
    await server.kill()
    await until('its processes are gone', () => !pids.some(alive))
    await server.start()
    await gate.open()
    const records = await within('all of it', reading, 25_000)
    expect(records.map(({ seq }) => seq)).toEqual(records.map((_, seq) => seq))
    expect((await outputs(records)).slice(-300)).toEqual(Array.from({ length: 300 }, (_, n) => n))
    expect([job.state, session.state]).toEqual(['Completed', 'Opened'])
    await session.close()
  })
})
