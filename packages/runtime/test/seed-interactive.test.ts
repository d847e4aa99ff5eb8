// Way 1, interactive: prompt lines in a session. The terminal that types them belongs to the command line's tests.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { JobSnapshot } from '../src/index.ts'
import { Peers, alive, until } from './support/peers.ts'
import { SYSTEM_LOG, counter, lines, pidOf, readEvents } from './support/scripts.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start('server01')
})
afterAll(() => peers.close())

test('S14 entering opens a session for itself; later lines run on server01; it is gone as one leaves', async () => {
  const session = await peers.laptop.connect('server01', { temporary: true })
  expect(await peers.laptop.sessions(), 'it is in no list').toEqual([])
  const pid = await session.run({ line: 'process.pid' })
  expect(pid).not.toBe(process.pid)
  expect(peers.server('server01').processes()).toContain(pid)
  expect(await session.run({ line: 'process.pid' })).toBe(pid)
  await session.close()
  await until('its process is gone', () => !alive(pid as number))
})

test('S15 entering an existing session finds what it holds', async () => {
  const session = await peers.laptop.connect('server01')
  await session.run(() => {
    Object.assign(globalThis, { limit: 7 })
  })
  expect(await session.run({ line: 'limit + 1' })).toBe(8)
  await session.run({ line: 'let twice = limit * 2' })
  expect(await session.run(() => (globalThis as unknown as { twice: number }).twice)).toBe(14)
  await session.close()
})

test('S16 the prompt can name the machine: the session says where it is, here and there', async () => {
  const session = await peers.laptop.connect('server01')
  expect(session.location).toBe('server01')
  expect(await session.run({ line: 'ctx.location' })).toBe('server01')
  await session.close()
})

test('S17 a job started at the prompt shows nothing, lives there, and its variable holds one job', async () => {
  const session = await peers.laptop.connect('server01')
  const gate = peers.gate()
  const line = `const work = await start(\n${counter.toString()},\n  { args: [3, { 2: ${JSON.stringify(gate.path)} }] },\n)`
  expect(await session.run({ line })).toBeUndefined()

  const shown = (await session.run({ line: 'work' })) as JobSnapshot
  expect(shown).toMatchObject({ id: 1, name: 'Job1', state: 'Running', location: 'localhost', type: 'BackgroundJob' })
  expect(shown.peer).toBe(peers.server('server01').id)
  expect(await peers.laptop.jobs()).toEqual([])

  // S19: other lines and further jobs while it runs
  expect(await session.run({ line: '1 + 1' })).toBe(2)
  await session.run({ line: 'second = start(async () => 5)' })
  expect(await session.run({ line: 'await output(await second)' })).toEqual([5])

  await gate.open()
  expect(await session.run({ line: '(await wait(work)).state' })).toBe('Completed')
  expect(await session.run({ line: 'work.state' })).toBe('Completed')
  expect(await session.run({ line: 'await receive(work)' })).toEqual(lines(1, 3))
  expect(await session.run({ line: 'await receive(work)' })).toEqual([])
  await session.close()
})

test('S20 leaving before it has finished interrupts the job, and its results are lost', async () => {
  const session = await peers.laptop.connect('server01')
  await session.run({
    line: 'const work = await start(async function* (ctx) { yield process.pid; await ctx.sleep(600_000) })',
  })
  const [pid] = (await session.run({
    line: 'for await (const { value } of work.receive({ follow: true, limit: 1 })) var first = value;\n[first]',
  })) as number[]
  expect(alive(pid!)).toBe(true)
  await session.close()
  await until('its process is gone', () => !alive(pid!))
  const next = await peers.laptop.connect('server01')
  expect(await next.run({ line: 'jobs()' })).toEqual([])
  await next.close()
})

test('S26 saving at the prompt writes a file on server01, not here, and shows nothing', async () => {
  const server01 = peers.server('server01')
  const session = await peers.laptop.connect('server01')
  await session.run({
    line: `const work = await start(${readEvents.toString()}, { args: [${JSON.stringify(SYSTEM_LOG)}, 5] })`,
  })
  await session.run({ line: 'await wait(work)' })
  expect(await session.run({ line: `await save(work, 'PsLog.txt')` })).toBeUndefined()
  expect(existsSync(join(server01.home, 'PsLog.txt'))).toBe(true)
  expect(existsSync('PsLog.txt')).toBe(false)
  expect(await session.run({ line: 'work.hasMoreData' })).toBe(false)
  await session.close()
})

test('S27 after leaving, what is run is run here', async () => {
  const session = await peers.laptop.connect('server01')
  const there = await session.run({ line: 'process.pid' })
  await session.close()
  expect(session.state).toBe('Closed')
  await expect((async () => session.run({ line: '1' }))()).rejects.toMatchObject({ code: 'SESSION_CLOSED' })
  expect(await peers.laptop.run(pidOf)).not.toBe(there)
})

test('S28 the file outlives session and job: a later session reads it', async () => {
  const path = peers.path('pslog.txt')
  const first = await peers.laptop.connect('server01')
  await first.run({ line: `const work = await start(async () => 'kept')` })
  await first.run({ line: 'await wait(work)' })
  await first.run({ line: `await save(work, ${JSON.stringify(path)})` })
  await first.close()

  const read = `(await import('node:fs/promises')).readFile(${JSON.stringify(path)}, 'utf8')`
  const later = await peers.laptop.connect('server01')
  expect(await later.run({ line: `await ${read}` })).toBe('kept\n')
  expect(await peers.laptop.run({ code: `await ${read}` }, { on: 'server01' })).toBe('kept\n')
  expect(await readFile(path, 'utf8')).toBe('kept\n')
  await later.close()
})
