// errand doctor against real faults: each is made, found by the real binary, and told with what to do about it.
import { execFileSync } from 'node:child_process'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createPeer } from '@errand/runtime'
import { Machines, until, type Typed } from './support/machines.ts'

interface Finding {
  check: string
  status: 'ok' | 'warn' | 'FAIL'
  message: string
  hint: string | null
}

let machines: Machines
/** Shifts the clock of a process that is started with it. */
let shifted: string
let old: string
beforeAll(async () => {
  machines = new Machines()
  mkdirSync(machines.folder, { recursive: true })
  shifted = join(machines.folder, 'shifted.mjs')
  writeFileSync(shifted, 'const now = Date.now; Date.now = () => now() + Number(process.env.SHIFT)\n')
  old = join(machines.folder, 'old.mjs')
  writeFileSync(
    old,
    "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.9.0' } })\n" +
      "Object.defineProperty(process, 'version', { value: 'v20.9.0' })\n",
  )
  // Three that are up the whole time; each test has a home of its own beside them.
  await Promise.all(['laptop', 'server01', 'server02'].map((machine) => machines.up(machine)))
  await machines.pair('laptop', 'server01')
  await machines.pair('laptop', 'server02')
}, 120_000)
afterAll(() => machines[Symbol.asyncDispose](), 60_000)

/** What is found, by check; the exit code must be that of what is found. */
async function examine(machine: string, env: Record<string, string> = {}): Promise<Map<string, Finding>> {
  const { code, stdout, stderr } = await machines.type(machine, ['doctor', '--json'], { env })
  expect(stderr).toBe('')
  const findings = JSON.parse(stdout) as Finding[]
  for (const { status, message, hint } of findings) {
    expect(message).not.toBe('')
    if (status === 'ok') expect(hint).toBeNull()
    else expect(hint).toMatch(/\w/)
  }
  expect(code).toBe(findings.some(({ status }) => status === 'FAIL') ? 1 : 0)
  return new Map(findings.map((one) => [one.check, one]))
}

describe('errand doctor', { timeout: 120_000 }, () => {
  let home: string
  let name: string
  let number = 0
  beforeEach(() => {
    name = `home${++number}`
    home = machines.home(name)
    mkdirSync(home, { mode: 0o700 })
  })
  afterEach(async () => {
    chmodSync(home, 0o700)
    await machines.type(name, ['down', '--force'])
    rmSync(home, { recursive: true, force: true })
  })

  it('finds nothing wrong where nothing is, and starts nothing', async () => {
    const found = await examine(name)
    expect([...found.values()].map(({ check, status }) => [check, status])).toEqual(
      ['node', 'home', 'disk', 'key', 'book', 'settings', 'daemon', 'store'].map((check) => [check, 'ok']),
    )
    expect(readdirSync(home)).toEqual([])
    expect((await machines.type(name, ['status'])).code).toBe(5)
  })

  it('finds nothing wrong with peers that are well, and says it in lines', async () => {
    const { code, stdout } = await machines.type('laptop', ['doctor'])
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.not.stringContaining('FAIL') as string })
    expect(stdout).toMatch(/^ok {4}peer server01 +answers in [\d.]+ ms, grants us connect,run:script,run:command$/m)
    expect(stdout).toMatch(/^ok {4}clock +agrees with server01, server02$/m)
  })

  it('a Node that is too old', async () => {
    const { code, stderr } = await machines.type(name, ['doctor'], { env: { NODE_OPTIONS: `--import=${old}` } })
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/needs Node 24 or newer, and this is v20\.9\.0 .*\n {2}install it/) as string,
    })
  })

  it('a home that others can enter', async () => {
    chmodSync(home, 0o755)
    const found = await examine(name)
    expect(found.get('home')).toMatchObject({
      status: 'FAIL',
      message: expect.stringContaining('755'),
      hint: `chmod 700 ${home}`,
    })
  })

  it('a key that others can read', async () => {
    writeFileSync(join(home, 'key'), 'x', { mode: 0o644 })
    const found = await examine(name)
    expect(found.get('key')).toMatchObject({ status: 'FAIL', hint: expect.stringContaining(`chmod 600 ${home}/key`) })
  })

  it('settings and an address book that cannot be read', async () => {
    writeFileSync(join(home, 'config.json'), '{"port":"many"}')
    writeFileSync(join(home, 'peers.json'), '{"version":1,')
    const found = await examine(name)
    expect(found.get('settings')).toMatchObject({ status: 'FAIL', message: expect.stringContaining('config.json') })
    expect(found.get('book')).toMatchObject({ status: 'FAIL', message: expect.stringContaining('peers.json') })
  })

  it('a store that is damaged, or is something else', async () => {
    const file = join(home, 'errand.db')
    writeFileSync(file, 'this is no database, and it is long enough to be taken for one'.repeat(100))
    expect((await examine(name)).get('store')).toMatchObject({ status: 'FAIL', message: expect.stringContaining(file) })
    rmSync(file)
    // One that is sound but for two pages in its middle.
    await machines.ok(name, 'run', '-e', '1')
    await machines.ok(name, 'down')
    const before = readdirSync(home)
    expect((await examine(name)).get('store')).toMatchObject({ status: 'ok' })
    expect(readdirSync(home)).toEqual(before)
    const bytes = readFileSync(file)
    bytes.fill(0xee, 8192, Math.min(bytes.length, 3 * 8192))
    writeFileSync(file, bytes)
    expect((await examine(name)).get('store')).toMatchObject({
      status: 'FAIL',
      message: expect.stringContaining('damaged'),
    })
  })

  it('a daemon that does not answer', async () => {
    await machines.ok(name, 'up')
    const pid = await machines.pid(name)
    process.kill(pid, 'SIGSTOP')
    try {
      const found = await examine(name)
      expect(found.get('daemon')).toMatchObject({ status: 'FAIL', message: expect.stringContaining(`process ${pid}`) })
      // Nor does completion wait for it, or say anything.
      const { code, stdout, stderr } = await machines.type(name, ['__complete', '--', 'receive', ''])
      expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '\t\n', stderr: '' })
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    expect((await examine(name)).get('daemon')).toMatchObject({ status: 'ok' })
  })

  it('a lock and a socket that a killed daemon left', async () => {
    await machines.ok(name, 'run', '-e', '1')
    const pid = await machines.pid(name)
    process.kill(pid, 'SIGKILL')
    await until(() => machines.processes(name).length === 0)
    const left = readdirSync(home)
    const found = await examine(name)
    expect(found.get('daemon')).toMatchObject({ status: 'warn', message: expect.stringContaining(String(pid)) })
    // What it had written last is still in a file of its own beside the store.
    expect(left).toContain('errand.db-wal')
    expect(found.get('store')).toMatchObject({ status: 'ok' })
    expect(readdirSync(home)).toEqual(left)
    rmSync(join(home, 'peer.lock'))
    expect((await examine(name)).get('daemon')).toMatchObject({
      status: 'warn',
      message: expect.stringContaining('peer.sock is a socket that nobody answers'),
    })
    // As it says: there is nothing to do.
    await machines.ok(name, 'up')
    expect((await examine(name)).get('daemon')).toMatchObject({ status: 'ok' })
  })

  it('a daemon of another version', async () => {
    await using _ = await createPeer({ home, serveLocal: true, version: '0.0.7', name: 'older' })
    expect((await examine(name)).get('version')).toMatchObject({
      status: 'warn',
      message: expect.stringContaining('0.0.7'),
    })
  })

  it('something else at the place of the socket', async () => {
    const server = createServer((socket) => void socket.on('error', () => {})).listen(join(home, 'peer.sock'))
    await once(server, 'listening')
    const found = await examine(name)
    server.close()
    expect(found.get('daemon')).toMatchObject({ status: 'warn' })
  })

  it('a peer that listens on this machine only, though somebody was invited', async () => {
    const found = await examine('server01')
    expect(found.get('listen')).toMatchObject({
      status: 'warn',
      message: expect.stringContaining('laptop may come here'),
    })
    // Who may come, but was never said to be gone to, is no fault.
    expect(found.get('peer laptop')).toMatchObject({ status: 'ok', message: expect.stringContaining('may come here') })
    // One that listens elsewhere, too.
    await machines.ok(name, 'up', '--listen', '/ip4/0.0.0.0/tcp/0')
    await machines.ok(name, 'invite')
    await machines.pair('laptop', name)
    expect((await examine(name)).get('listen')).toMatchObject({ status: 'ok' })
    await machines.ok('laptop', 'peer', 'remove', name).catch(() => machines.ok('laptop', 'peer', 'list'))
  })

  it('a peer that is not there', async () => {
    await machines.ok(name, 'up', '--listen', '/ip4/127.0.0.1/tcp/0')
    await machines.pair('server02', name)
    await machines.ok(name, 'down')
    const { code, stdout } = await machines.type('server02', ['doctor', '--json'])
    expect(code).toBe(1)
    const gone = (JSON.parse(stdout) as Finding[]).find(
      ({ check, status }) => check.startsWith('peer') && status === 'FAIL',
    )
    expect(gone).toMatchObject({ message: expect.stringContaining('cannot be reached') })
    await machines.ok('server02', 'peer', 'remove', gone!.check.slice('peer '.length))
  })

  it('a grant that is refused: nothing at all, or to run', async () => {
    const before = await machines.ok('server01', 'peer', 'list', '--json')
    const [laptop] = JSON.parse(before) as { name: string }[]
    await machines.ok('server01', 'peer', 'allow', laptop!.name, '--grant', 'connect')
    expect((await examine('laptop')).get('peer server01')).toMatchObject({
      status: 'FAIL',
      message: 'lets us connect, and run nothing',
    })
    await machines.ok('server01', 'peer', 'deny', laptop!.name)
    expect((await examine('laptop')).get('peer server01')).toMatchObject({
      status: 'FAIL',
      message: expect.stringContaining('refuses us'),
    })
    await machines.ok('server01', 'peer', 'allow', laptop!.name)
    expect((await examine('laptop')).get('peer server01')).toMatchObject({ status: 'ok' })
  })

  it('peers that nobody is there to ask', async () => {
    writeFileSync(
      join(home, 'peers.json'),
      JSON.stringify({
        version: 1,
        peers: [{ name: 'server01', id: 'x', addresses: [], grants: [] }],
        invitations: [],
      }),
    )
    expect((await examine(name)).get('peers')).toMatchObject({
      status: 'warn',
      hint: expect.stringContaining('errand up'),
    })
  })

  it('a clock that is off: which, and by how much', async () => {
    const env = { NODE_OPTIONS: `--import=${shifted}`, SHIFT: '300000' }
    const started = await machines.type(name, ['up', '--name', name, '--listen', '/ip4/127.0.0.1/tcp/0'], { env })
    expect(started).toMatchObject({ code: 0 })
    await machines.pair('laptop', name)
    const found = await examine('laptop')
    expect(found.get('clock')).toMatchObject({
      status: 'FAIL',
      message: `the clock of ${name} is 5 min ahead of ours`,
      hint: expect.stringContaining('NTP'),
    })
    await machines.ok('laptop', 'peer', 'remove', name)
    // From there it is all others that differ, alike: then it is ours.
    await machines.pair(name, 'server01')
    await machines.pair(name, 'server02')
    expect((await examine(name)).get('clock')).toMatchObject({
      status: 'FAIL',
      message: "this machine's clock is 5 min ahead of those of server01, server02",
    })
  })

  it('a clock that is off from that of the disk', async () => {
    const found = await examine(name, { NODE_OPTIONS: `--import=${shifted}`, SHIFT: '3600000' })
    expect(found.get('disk')).toMatchObject({ status: 'warn', message: expect.stringContaining('1 h behind') })
  })

  it.skipIf(!canMount())('a disk that is full, or read-only (needs to mount one)', async () => {
    const mounted = mkdtempSync(join(tmpdir(), 'errand-disk-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=700', 'tmpfs', mounted])
    try {
      const at = (): Promise<Typed> => machines.type(name, ['doctor', '--json', '--home', mounted])
      const disk = async (): Promise<Finding> =>
        (JSON.parse((await at()).stdout) as Finding[]).find(({ check }) => check === 'disk')!
      expect(await disk()).toMatchObject({ status: 'warn', message: expect.stringContaining('0 MiB are left') })
      writeFileSync(join(mounted, 'full'), Buffer.alloc(64 * 1024))
      try {
        for (let index = 0; ; index++) writeFileSync(join(mounted, `full${index}`), Buffer.alloc(4096))
      } catch {
        // There is no room any more: that is what was wanted.
      }
      expect(await disk()).toMatchObject({ status: 'FAIL', message: expect.stringContaining('no room') })
      execFileSync('mount', ['-o', 'remount,ro', mounted])
      expect(await disk()).toMatchObject({ status: 'FAIL', message: expect.stringContaining('cannot be written') })
      expect(statSync(mounted).mode & 0o777).toBe(0o700)
    } finally {
      execFileSync('umount', [mounted])
      rmSync(mounted, { recursive: true })
    }
  })

  it.skipIf(!canMount())('a store that could not write, by the word of its daemon (needs to mount one)', async () => {
    const mounted = mkdtempSync(join(tmpdir(), 'errand-disk-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', mounted])
    try {
      await machines.ok(name, 'up', '--store', join(mounted, 'jobs.db'))
      await machines.ok(name, 'start', '-e', 'for (let i = 0; i < 100; i++) yield "x".repeat(100_000)')
      await until(async () => (await examine(name)).get('store')!.status === 'FAIL')
      expect((await examine(name)).get('store')!.message).toContain('no room')
    } finally {
      await machines.type(name, ['down', '--force'])
      execFileSync('umount', [mounted])
      rmSync(mounted, { recursive: true })
    }
  })
})

function canMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'errand-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], { stdio: 'ignore' })
    execFileSync('umount', [folder])
    return true
  } catch {
    return false
  } finally {
    rmSync(folder, { recursive: true })
  }
}
