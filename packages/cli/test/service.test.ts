// `errand up` as something that runs for weeks: what it is told and remembers, how it stays connected, how it leaves.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { argv, Machines, until } from './support/machines.ts'

let machines: Machines
beforeEach(() => void (machines = new Machines()))
afterEach(() => machines[Symbol.asyncDispose]())

/** A daemon in a terminal of its own, so to speak; settles when it answers. */
async function foreground(machine: string, ...flags: string[]) {
  const [file, ...before] = argv
  const child = spawn(file!, [...before, 'up', '--foreground', '--name', machine, ...flags], {
    env: { ...process.env, ERRAND_HOME: machines.home(machine) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exit = once(child, 'exit')
  const said = { text: '' }
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said.text += text))
  await until(() => said.text.includes('home'))
  return { child, said, exited: () => exit.then(([code]) => code as number | null) }
}

/** Says so when it is asked to stop, and stops a second later; `stubborn`: never. */
const polite = (log: string, stubborn = false): string[] => [
  ...['start', '--', 'sh', '-c'],
  `trap 'echo asked >> ${log}; ${stubborn ? ':' : `sleep 1; echo done >> ${log}; exit 0`}' TERM INT
   echo begun >> ${log}; while :; do sleep 0.1; done`,
]
const read = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '')

describe('errand up --store', () => {
  test('jobs are kept in the file that is named, also by the next daemon', async () => {
    const store = join(machines.folder, 'elsewhere.db')
    await machines.up('laptop', '--store', 'elsewhere.db')
    const id = (await machines.ok('laptop', 'start', '--wait', '-e', '"kept"')).trim()
    await machines.ok('laptop', 'down')
    expect(existsSync(store)).toBe(true)
    expect(existsSync(join(machines.home('laptop'), 'errand.db'))).toBe(false)
    await machines.up('laptop')
    expect(await machines.ok('laptop', 'receive', id)).toBe('kept\n')
  })

  test('memory: they are gone with it', async () => {
    await machines.up('laptop', '--store', 'memory')
    await machines.ok('laptop', 'start', '--wait', '-e', '1')
    await machines.ok('laptop', 'down')
    await machines.up('laptop')
    expect(await machines.ok('laptop', 'list', '-q')).toBe('')
    expect(existsSync(join(machines.home('laptop'), 'errand.db'))).toBe(false)
  })
})

describe('errand up --bootstrap', () => {
  test('who cannot be found is reached over the connection that it keeps', { timeout: 60_000 }, async () => {
    await machines.up('server01')
    await machines.ok('laptop', 'up', '--name', 'laptop')
    try {
      await machines.pair('laptop', 'server01')
      await machines.ok('laptop', 'peer', 'allow', 'server01')
      const status = JSON.parse(await machines.ok('server01', 'status', '--json')) as { addresses: string[] }
      await machines.ok('laptop', 'down')
      // Its port is another one now, as if it were behind a router.
      const file = join(machines.home('laptop'), 'config.json')
      const { port: _, ...config } = JSON.parse(read(file)) as Record<string, unknown>
      writeFileSync(file, JSON.stringify(config))
      await machines.ok('laptop', 'up')
      expect(await machines.type('server01', ['run', '--on', 'laptop', '-e', '1'])).toMatchObject({ code: 5 })
      await machines.ok('laptop', 'down')
      writeFileSync(file, JSON.stringify(config))

      await machines.ok('laptop', 'up', '--bootstrap', status.addresses[0]!)
      await until(async () => (await machines.type('server01', ['run', '--on', 'laptop', '-e', '1'])).code === 0)
      expect(JSON.parse(read(file))).toMatchObject({ bootstrap: [status.addresses[0]] })
    } finally {
      await machines.type('laptop', ['down', '--force'])
    }
  })

  test('an address that does not say who is there is refused, and nothing is remembered', async () => {
    const { code, stderr } = await machines.type('laptop', ['up', '--bootstrap', '/ip4/127.0.0.1/tcp/4100'])
    expect([code, stderr]).toEqual([2, expect.stringContaining('does not say who is there')])
    expect(existsSync(join(machines.home('laptop'), 'config.json'))).toBe(false)
  })
})

test('its log is begun anew when it has grown large, and the last one kept', async () => {
  const log = join(machines.home('laptop'), 'daemon.log')
  mkdirSync(machines.home('laptop'), { mode: 0o700 })
  writeFileSync(log, 'x'.repeat(2 << 20))
  await machines.up('laptop')
  expect(statSync(log).size).toBeLessThan(1 << 20)
  expect(statSync(`${log}.1`).size).toBe(2 << 20)
  expect(JSON.parse(await machines.ok('laptop', 'status', '--json'))).toMatchObject({ log })
})

describe('a daemon that is told to leave', () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s: what runs is asked to stop, and may', async (signal) => {
    const { child, exited } = await foreground('laptop')
    const log = join(machines.folder, 'log')
    const id = (await machines.ok('laptop', ...polite(log))).trim()
    await until(() => read(log) !== '')
    child.kill(signal)
    expect(await exited()).toBe(0)
    expect(read(log)).toBe('begun\nasked\ndone\n')
    await machines.up('laptop')
    expect(JSON.parse(await machines.ok('laptop', 'inspect', id, '--json'))).toMatchObject({
      state: 'Stopped',
      reason: { code: 'PEER_SHUTDOWN' },
    })
  })

  test('told twice it ends what does not stop', async () => {
    const { child, exited } = await foreground('laptop')
    const log = join(machines.folder, 'log')
    await machines.ok('laptop', ...polite(log, true))
    await until(() => read(log) !== '')
    child.kill('SIGTERM')
    await until(() => read(log).includes('asked'))
    child.kill('SIGTERM')
    expect(await exited()).toBe(0)
    await until(() => machines.processes('laptop').length === 0)
  })
})
