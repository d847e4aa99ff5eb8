// The command line against three real daemons over libp2p.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { argv, Machines, until } from './support/machines.ts'

let machines: Machines
const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '')

beforeAll(async () => {
  machines = new Machines()
  await Promise.all(['laptop', 'server01', 'server02'].map((machine) => machines.up(machine)))
  await machines.pair('laptop', 'server01')
  await machines.pair('laptop', 'server02')
}, 120_000)
afterAll(() => machines[Symbol.asyncDispose](), 60_000)

describe('jobs on other peers', { timeout: 120_000 }, () => {
  it('one start on two peers is one id; the rows carry where they come from', async () => {
    const id = (await machines.ok('laptop', 'start', '--on', 'server01,server02', '--', 'uname', '-a')).trim()
    expect(id).toMatch(/^\d+$/)
    expect((await machines.ok('laptop', 'wait', id)).trim()).toBe(id)
    const rows = lines(await machines.ok('laptop', 'receive', id, '--json')).map(
      (line) => JSON.parse(line) as { location: string; value: string },
    )
    expect(rows.map(({ location }) => location).toSorted()).toEqual(['server01', 'server02'])
    const list = JSON.parse(await machines.ok('laptop', 'list', id, '--json')) as { location: string; state: string }[]
    expect(list[0]).toMatchObject({ location: 'server01,server02', state: 'Completed' })
  })

  it('a run that says nothing for longer than any heartbeat is waited for', async () => {
    const { code, stderr } = await machines.type('laptop', ['run', '--', 'sleep', '6'])
    expect([code, stderr]).toEqual([0, ''])
  })

  it('S41 what a temporary session started ends with it: nothing is listed there, no process is left', async () => {
    const before = machines.processes('server01').length
    const { code, stdout } = await machines.type('laptop', [
      'run',
      '--on',
      'server01',
      '--json',
      '-e',
      'await start(async function*(){ for(;;){ yield 1; await sleep(100) } })',
    ])
    expect(code).toBe(0)
    const record = JSON.parse(lines(stdout)[0]!) as { value: { state: string; pid: number } }
    expect(record.value.state).toBe('Running')
    expect(lines(await machines.ok('laptop', '--at', 'server01', 'list', '-q'))).toEqual([])
    expect(existsSync(`/proc/${record.value.pid}`)).toBe(false)
    // Spares come and go; what ran the job must not be among them.
    await until(() => machines.processes('server01').length <= before + 1)
  })

  it('what was started and left at once is taken up by another machine of the same owner', async () => {
    await Promise.all(['desk', 'tablet'].map((machine) => machines.up(machine)))
    const ticket = (await machines.ok('server01', 'invite', '--owner', 'me', '--uses', '2', '-q')).trim()
    for (const machine of ['desk', 'tablet']) await machines.ok(machine, 'join', ticket)
    // Each time, however soon it is left: five, because it is about an instant.
    for (let time = 1; time <= 5; time++) {
      const code = 'for (const n of [1, 2, 3]) { yield n; await sleep(50) }'
      const left = await machines.ok('desk', 'start', '--on', 'server01', '--detach', '-n', `left${time}`, '-e', code)
      expect(left).toMatch(/^\d+\n$/)
      expect(await machines.ok('tablet', 'session', 'receive', `left${time}`, '--on', 'server01')).toBe('1\n2\n3\n')
    }
    // One that somebody else has is taken with --force, and only so.
    await machines.ok('desk', 'session', 'new', 'server01', '-n', 'mine')
    await machines.ok('desk', 'session', 'disconnect', 'mine')
    await machines.ok('tablet', 'session', 'connect', 'mine', '--on', 'server01')
    expect((await machines.type('desk', ['session', 'receive', 'mine'])).code).not.toBe(0)
    expect((await machines.type('desk', ['session', 'receive', 'mine', '--force'])).code).toBe(0)
  })

  it('with --at it is the standing session: the job goes on', async () => {
    const endless = 'for(;;){ yield 1; await sleep(100) }'
    const id = (await machines.ok('laptop', '--at', 'server01', 'start', '-e', endless)).trim()
    await machines.ok('laptop', 'run', '--on', 'server01', '-e', '1')
    const [job] = JSON.parse(await machines.ok('laptop', '--at', 'server01', 'list', id, '--json')) as {
      state: string
    }[]
    expect(job?.state).toBe('Running')
    await machines.ok('laptop', '--at', 'server01', 'remove', id, '--force')
    expect(lines(await machines.ok('laptop', '--at', 'server01', 'list', '-q'))).toEqual([])
  })

  it('S14 S16 S17 S19 an interactive session is on the other machine, and its prompt says so', async () => {
    const input = 'job = start(async () => process.pid)\nos.hostname().length > 0\nexit\n'
    const { code, stdout } = await machines.type('laptop', ['enter', 'server01'], { input })
    expect(code).toBe(0)
    expect(lines(stdout)[0]).toBe('[server01]> job = start(async () => process.pid)')
    expect(stdout).toMatch(/Job1 +BackgroundJob/)
    expect(stdout).toContain('true')
  })

  it('S15 S29 S30 S31 enter a session that stays: what was set is there for the next', async () => {
    const id = (await machines.ok('laptop', 'session', 'new', 'server01', '--name', 'stays')).trim()
    await machines.type('laptop', ['enter', 'session:stays'], { input: 'x = 41\n' })
    expect((await machines.ok('laptop', 'run', '--on', 'session:stays', '-e', 'x + 1')).trim()).toBe('42')
    const [session] = JSON.parse(await machines.ok('laptop', 'session', 'list', '--json')) as {
      id: number
      state: string
      availability: string
    }[]
    expect(session).toMatchObject({ id: Number(id), state: 'Opened', availability: 'Available' })
    await machines.ok('laptop', 'session', 'remove', id)
  })

  it('S26 S27 S28 results saved there outlive the session, and are nowhere here', async () => {
    const file = join(machines.home('server01'), 'PsLog.txt')
    const input = `job = start(async function* () { yield 'one'; yield 'two' })\nawait wait(job)\nsave(job, ${JSON.stringify(file)})\nexit\n`
    await machines.type('laptop', ['enter', 'server01'], { input })
    expect(readFileSync(file, 'utf8')).toBe('one\ntwo\n')
    const read = `(await fs.promises.readFile(${JSON.stringify(file)}, 'utf8')).trim().split('\\n')`
    const { stdout } = await machines.type('laptop', ['run', '--on', 'server01', '--json', '-e', read])
    expect((JSON.parse(lines(stdout)[0]!) as { value: string[] }).value).toEqual(['one', 'two'])
  })

  it('S56 S57 disconnected: the tables have the columns of PowerShell', async () => {
    const id = (
      await machines.ok('laptop', 'start', '--on', 'server01', '--detach', '-e', 'for(;;){ yield 1; await sleep(50) }')
    ).trim()
    const sessions = lines(await machines.ok('laptop', 'Get-PSSession'))
    expect(sessions[0]).toBe(
      ' Id Name            Transport ComputerName    ComputerType    State         ConfigurationName     Availability',
    )
    expect(sessions.at(-1)).toMatch(/Runspace\d+ +libp2p +server01 +RemoteMachine +Disconnected +errand +None/)
    const jobs = lines(await machines.ok('laptop', 'Get-Job'))
    expect(jobs[0]).toBe(
      'Id     Name            PSJobTypeName   State         HasMoreData     Location             Command',
    )
    expect(jobs.at(-1)).toMatch(/RemoteJob +Disconnected +True +server01/)
    await machines.ok('laptop', 'session', 'remove', id)
  })

  it('P104 started in a session that is left at once: Disconnected; received, it is 2, and from there', async () => {
    const line = ['Invoke-Command', '-cn', 'server01', '-InDisconnectedSession', '{ 1 + 1 }']
    const { code, stdout } = await machines.type('laptop', line)
    expect(code).toBe(0)
    const id = lines(stdout).at(-1)!.trim().split(/\s+/)[0]!
    const [row] = JSON.parse(await machines.ok('laptop', 'session', 'list', id, '--json')) as object[]
    expect(row).toMatchObject({ state: 'Disconnected', availability: 'None', location: 'server01' })
    const received = lines(await machines.ok('laptop', 'Receive-PSSession', '-Id', id, '--json'))
    expect(received.map((one) => JSON.parse(one) as object)).toMatchObject([{ value: 2, location: 'server01' }])
    await machines.ok('laptop', 'Remove-PSSession', id)
  })

  it('an owner with two machines: each sees what the other has there, takes it up by its number, and not unasked', async () => {
    await machines.up('phone')
    await machines.ok('phone', 'join', (await machines.ok('server01', 'invite', '--owner', 'me')).trim())
    // The laptop was paired long ago, in its own name: what it has comes along.
    await machines.ok('laptop', 'session', 'new', 'server01', '--name', 'shared')
    await machines.ok('server01', 'peer', 'allow', 'laptop', '--owner', 'me')
    expect(await machines.ok('server01', 'peer', 'list')).toMatch(/laptop +yes +me [^]*phone +no +me /)
    const endless = 'for(let n=0;;n++){ yield n; await sleep(50) }'
    const job = (await machines.ok('laptop', 'start', '--on', 'shared', '-e', endless)).trim()

    interface Row {
      id: number
      name: string
      state: string
      availability: string
    }
    const seen = async (): Promise<Row | undefined> =>
      (JSON.parse(await machines.ok('phone', 'session', 'list', '--on', 'server01', '--json')) as Row[]).find(
        ({ name }) => name === 'shared',
      )
    const row = await seen()
    expect(row).toMatchObject({ state: 'Disconnected', availability: 'Busy' })
    const connect = ['session', 'connect', String(row!.id), '--on', 'server01']
    const refused = await machines.type('phone', connect)
    expect([refused.code, refused.stdout]).toEqual([1, ''])
    expect(refused.stderr).toContain('attached to another client')
    expect(await machines.ok('phone', ...connect, '--force')).toMatch(/shared +Opened +Busy/)

    const mine = async (): Promise<Row | undefined> =>
      (JSON.parse(await machines.ok('laptop', 'session', 'list', '--json')) as Row[]).find(
        ({ name }) => name === 'shared',
      )
    await until(async () => (await mine())?.state === 'Disconnected')
    expect(await machines.ok('laptop', 'list', job)).toContain('Disconnected')
    const number = (await machines.ok('phone', 'session', 'receive', 'shared', '--out-target', 'job')).trim()
    const numbers = lines(await machines.ok('phone', 'receive', number, '--from', '0', '--json')).map(
      (line) => (JSON.parse(line) as { value: number }).value,
    )
    expect(numbers).toEqual(numbers.map((_, index) => index))

    expect(await machines.ok('laptop', 'session', 'connect', 'shared', '--force')).toMatch(/shared +Opened +Busy/)
    await until(async () => (await machines.ok('laptop', 'list', job)).includes('Running'))
    await machines.ok('laptop', 'session', 'remove', 'shared')
    await until(async () => (await seen()) === undefined)
  })

  it('server01 restarted is reachable again without new pairing, at the same address', async () => {
    const before = JSON.parse(await machines.ok('server01', 'status', '--json')) as { addresses: string[] }
    await machines.ok('server01', 'down', '--force')
    await until(() => machines.processes('server01').length === 0)
    await machines.up('server01')
    const after = JSON.parse(await machines.ok('server01', 'status', '--json')) as { addresses: string[] }
    expect(after.addresses).toEqual(before.addresses)
    expect((await machines.ok('laptop', 'run', '--on', 'server01', '-e', '6 * 7')).trim()).toBe('42')
  })

  it('a daemon killed in the middle: the other goes on, its own child fails with its name, nothing hangs, nothing is left', async () => {
    const [file, ...before] = argv
    const code = 'for (let i=0;i<100;i++){ yield i; await sleep(100) }'
    const run = spawn(
      file!,
      [...before, 'run', '--lost-after', '4s', '--json', '--on', 'server01,server02', '-e', code],
      {
        env: { ...process.env, ERRAND_HOME: machines.home('laptop') },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let stdout = ''
    run.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    const closed = once(run, 'close')
    await until(() => stdout.includes('server01'))
    const pid = await machines.pid('server01')
    process.kill(pid, 'SIGKILL')
    await until(async () => (await machines.ok('laptop', 'list', '--children', '--json')).includes('"Disconnected"'))
    const [exitCode] = (await closed) as [number]
    expect(exitCode).toBe(1)
    const records = lines(stdout).map((line) => JSON.parse(line) as { location: string; kind: string; value: number })
    const from = (where: string): number[] =>
      records.filter((it) => it.location === where && it.kind === 'output').map(({ value }) => value)
    expect(from('server02')).toEqual(Array.from({ length: 100 }, (_, index) => index))
    expect(from('server01')).toEqual(from('server01').map((_, index) => index))
    const [job] = JSON.parse(await machines.ok('laptop', 'list', '%', '--json')) as {
      state: string
      children: { location: string; state: string; reason: { message: string; code: string } }[]
    }[]
    expect(job?.state).toBe('Failed')
    const child = job?.children.find(({ location }) => location === 'server01')
    expect(child).toMatchObject({
      state: 'Failed',
      reason: { code: 'PEER_LOST', message: expect.stringContaining('server01') },
    })
    await until(() => machines.processes('server01').length === 0)
    await machines.up('server01')
  })

  it('a peer that was not invited gets no further, and is told nothing', async () => {
    await machines.up('stranger')
    const { addresses } = JSON.parse(await machines.ok('server01', 'status', '--json')) as { addresses: string[] }
    const { code, stdout } = await machines.type('stranger', ['run', '--on', addresses[0]!, '-e', '6 * 7'])
    expect(code).toBe(4)
    expect(stdout).toBe('')
  })
})
