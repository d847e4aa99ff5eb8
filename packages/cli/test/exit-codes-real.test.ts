// Every exit code of docs/CLI.md, by the real binary in real processes, against two real daemons. And what becomes of
// output that cannot be written.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { argv, Machines, type Typed } from './support/machines.ts'

let machines: Machines
/** Peers that nobody can reach: nothing listens at port 1. */
const NOBODY = '/ip4/127.0.0.1/tcp/1/p2p/12D3KooWBdkA2t9Em8hxATLs1U9h5VebMYdhcMDtXUPxpTaUWtW3'

beforeAll(async () => {
  machines = new Machines()
  await Promise.all(['laptop', 'server01'].map((machine) => machines.up(machine)))
  await machines.pair('laptop', 'server01')
}, 60_000)
afterAll(() => machines[Symbol.asyncDispose](), 60_000)

const type = (...words: string[]): Promise<Typed> => machines.type('laptop', words)
const code = async (...words: string[]): Promise<number> => (await type(...words)).code
const start = async (...words: string[]): Promise<string> => (await machines.ok('laptop', 'start', ...words)).trim()

/** A line of bash in which `errand` is the laptop's. */
async function shell(line: string): Promise<Typed> {
  const quoted = argv.map((word) => `'${word}'`).join(' ')
  const child = spawn('bash', ['-o', 'pipefail', '-c', `errand() { ${quoted} "$@"; }\n${line}`], {
    cwd: machines.folder,
    env: { ...process.env, ERRAND_HOME: machines.home('laptop') },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const [ended] = (await once(child, 'close')) as [number]
  return { code: ended, stdout, stderr }
}

/** Types a command, and signals it once it has printed something. */
async function signalled(signal: NodeJS.Signals, ...words: string[]): Promise<Typed> {
  const [file, ...before] = argv
  const child = spawn(file!, [...before, ...words], {
    env: { ...process.env, ERRAND_HOME: machines.home('laptop') },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (stdout === '') child.kill(signal)
    stdout += text
  })
  // By itself: a command that a signal ends has no exit code.
  const [ended] = (await once(child, 'close')) as [number | null]
  return { code: ended ?? -1, stdout, stderr }
}

const ENDLESS = 'for (let n = 0; ; n++) { yield n; await sleep(20) }'

describe('exit codes', { concurrent: true, timeout: 60_000 }, () => {
  it('0: done, Completed', async () => {
    expect(await code('list')).toBe(0)
    expect(await code('run', '-e', '1 + 1')).toBe(0)
    expect(await code('run', '--on', 'server01', '--', 'true')).toBe(0)
    const job = await start('-e', '1')
    expect(await code('receive', '--wait', job)).toBe(0)
  })

  it('1: the job Failed or was Stopped, or a failure without a code of its own', async () => {
    expect(await code('run', '-e', 'throw new Error("no")')).toBe(1)
    expect(await code('run', '--on', 'server01', '-e', 'throw new Error("no")')).toBe(1)
    const job = await start('-e', ENDLESS)
    expect(await code('remove', job)).toBe(1) // it runs
    expect(await code('stop', job)).toBe(0)
    expect(await code('wait', job)).toBe(1)
    // Of several, 1 if any did not complete, whatever their own codes are.
    const jobs = await Promise.all([start('--', 'sh', '-c', 'exit 7'), start('--', 'true')])
    expect(await code('wait', ...jobs)).toBe(1)
  })

  it("a command's own, here and there, at once and later", async () => {
    expect(await code('run', '--', 'sh', '-c', 'exit 7')).toBe(7)
    expect(await code('run', '--on', 'server01', '--', 'sh', '-c', 'exit 42')).toBe(42)
    const job = await start('--', 'sh', '-c', 'exit 9')
    expect(await code('wait', job)).toBe(9)
    expect(await code('receive', '--wait', job)).toBe(9)
    expect(await code('receive', job)).toBe(0) // without --wait it says what there is
  })

  it.each([
    [['frobnicate']],
    [['start']],
    [['list', '--nothing']],
    [['start', '--args', '{', '-e', '1']],
    [['wait', '--timeout', 'soon', '1']],
    [['join', 'no-ticket']],
    [['list', '--name', 'no such job', '--json=nothing']],
  ])('2: usage: errand %s', async (words) => {
    const { code: ended, stdout, stderr } = await type(...words)
    expect([ended, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/^(errand: |\{"error":\{"code":"USAGE")/)
  })

  it.each([
    [['receive', '4711']],
    [['wait', 'no-such-job']],
    [['session', 'connect', 'session:nowhere']],
    [['run', '--on', 'nobody', '-e', '1']],
  ])('3: no such job, session, peer: errand %s', async (words) => {
    const { code: ended, stdout, stderr } = await type(...words)
    expect([ended, stdout]).toEqual([3, ''])
    expect(stderr).toMatch(/^errand: /)
  })

  it('5: a peer that cannot be reached, a daemon that is not up', async () => {
    expect(await code('run', '--on', NOBODY, '--', 'true')).toBe(5)
    expect(await code('session', 'new', NOBODY)).toBe(5)
    expect(await code('status', '--home', machines.home('nobody'))).toBe(5)
  })

  it('124: --timeout ran out; the job goes on', async () => {
    const job = await start('-e', ENDLESS)
    expect(await code('wait', '--timeout', '50ms', job)).toBe(124)
    expect(await code('receive', '--follow', '--timeout', '50ms', job)).toBe(124)
    expect(JSON.parse(await machines.ok('laptop', 'list', job, '--json=state'))).toEqual([{ state: 'Running' }])
    await machines.ok('laptop', 'stop', job)
  })

  it('125: what failed was ours, and the command never ran; of a script it is a failure like any other', async () => {
    const file = join(machines.folder, 'a-file')
    writeFileSync(file, '')
    const home = join(file, 'home')
    expect(await code('run', '--home', home, '--', 'true')).toBe(125)
    expect(await code('run', '--home', home, '-e', '1')).toBe(1)
    // There is such a program, and no such place.
    expect(await code('run', '-C', '/nowhere', '--', 'true')).toBe(125)
    expect(await code('run', '--on', 'server01', '-C', '/nowhere', '--', 'true')).toBe(125)
    expect(await code('launch', '-C', '/nowhere', '--', 'true')).toBe(125)
  })

  it('126 and 127: not executable, not found; here and there', async () => {
    expect(await code('run', '--', '/etc/passwd')).toBe(126)
    expect(await code('run', '--', 'no-such-program')).toBe(127)
    expect(await code('run', '--on', 'server01', '--', '/etc/passwd')).toBe(126)
    expect(await code('run', '--on', 'server01', '--', 'no-such-program')).toBe(127)
    expect(await code('launch', '--', 'no-such-program')).toBe(127)
  })

  it('130 and 143: a signal stops what was run, and says so', async () => {
    for (const [signal, exits] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const { code: ended, stderr } = await signalled(signal, 'run', '--name', signal, '-e', ENDLESS)
      expect(ended).toBe(exits)
      expect(stderr).toMatch(/^errand: stopping job \d+, again to kill\n/)
      expect(JSON.parse(await machines.ok('laptop', 'list', signal, '--json=state'))).toEqual([{ state: 'Stopped' }])
    }
  })

  it('130 and 143: a signal ends only the receiving', async () => {
    const job = await start('-e', ENDLESS)
    expect((await signalled('SIGINT', 'receive', '--follow', job)).code).toBe(130)
    expect((await signalled('SIGTERM', 'logs', '--follow', job)).code).toBe(143)
    expect(JSON.parse(await machines.ok('laptop', 'list', job, '--json=state'))).toEqual([{ state: 'Running' }])
    await machines.ok('laptop', 'stop', job)
  })
})

describe('output that nobody takes', { concurrent: true, timeout: 60_000 }, () => {
  it('a closed pipe: 0, and not a word', async () => {
    // More than a pipe holds: whoever writes on is told that nobody reads.
    const job = await start('-e', 'for (let n = 0; n < 2000; n++) yield `${n} ${"x".repeat(100)}`')
    await machines.ok('laptop', 'wait', job)
    const first = `0 ${'x'.repeat(100)}\n`
    expect(await shell(`errand logs ${job} | head -1`)).toEqual({ code: 0, stdout: first, stderr: '' })
    const endless = await start('-e', ENDLESS)
    expect(await shell(`errand logs --follow ${endless} | head -1`)).toEqual({ code: 0, stdout: '0\n', stderr: '' })
    expect(JSON.parse(await machines.ok('laptop', 'list', endless, '--json=state'))).toEqual([{ state: 'Running' }])
    await machines.ok('laptop', 'stop', endless)
  })

  it('a closed pipe stops what was run for it', async () => {
    const line = `errand run --name unread -e '${ENDLESS}' | head -1`
    expect(await shell(line)).toEqual({ code: 0, stdout: '0\n', stderr: '' })
    expect(JSON.parse(await machines.ok('laptop', 'list', 'unread', '--json=state'))).toEqual([{ state: 'Stopped' }])
  })

  it('a full disk: one sentence, 1, and what could not be written was not received', async () => {
    const job = await start('-e', 'for (let n = 0; n < 3; n++) yield n')
    await machines.ok('laptop', 'wait', job)
    const said = 'errand: stdout cannot be written: no space left on device\n  make room there, or write it elsewhere\n'
    for (const words of [`logs ${job}`, `receive ${job}`, 'list', 'help']) {
      expect([words, await shell(`errand ${words} >/dev/full`)]).toEqual([words, { code: 1, stdout: '', stderr: said }])
    }
    const ran = await shell('errand run --rm --name full -e 1+1 >/dev/full')
    expect(ran).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^errand: stdout [^]*\n {2}what job (\d+) says is kept: `errand logs \1`\n$/),
    })
    expect(await machines.ok('laptop', 'logs', 'full')).toBe('2\n')
    for (const words of [`receive --wait --json ${job}`, 'list --json']) {
      const { code: ended, stderr } = await shell(`errand ${words} >/dev/full`)
      expect([words, ended, JSON.parse(stderr) as object]).toEqual([
        words,
        1,
        {
          error: {
            code: 'ENOSPC',
            message: 'stdout cannot be written: no space left on device',
            hint: 'make room there, or write it elsewhere',
          },
        },
      ])
    }
    expect(await machines.ok('laptop', 'receive', job)).toBe('0\n1\n2\n')
    expect(await machines.ok('laptop', 'receive', job)).toBe('')
  })

  it('a disk that becomes full: what was written is whole, the rest is received again', async () => {
    const job = await start('-e', 'for (let n = 0; n < 3; n++) yield String(n).repeat(900)')
    await machines.ok('laptop', 'wait', job)
    // A file may have 2 KiB: the third line is the first that does not fit, and only its beginning is written.
    const { code: ended, stderr } = await shell(`trap '' XFSZ; ulimit -f 2; errand receive ${job} >taken`)
    expect([ended, stderr]).toEqual([1, 'errand: stdout cannot be written: file too large\n'])
    const taken = readFileSync(join(machines.folder, 'taken'), 'utf8')
    expect(taken.length).toBe(2048)
    expect(taken.startsWith(`${'0'.repeat(900)}\n${'1'.repeat(900)}\n2`)).toBe(true)
    expect(await machines.ok('laptop', 'receive', job)).toBe(`${'2'.repeat(900)}\n`)
  })
})

// Alone and at last: what it changes is everybody's.
describe('a peer that lets nobody do anything', { timeout: 60_000 }, () => {
  it('4: denied', async () => {
    await machines.ok('server01', 'peer', 'allow', 'laptop', '--grant', 'connect,run:script')
    expect(await code('run', '--on', 'server01', '--', 'true')).toBe(4)
    expect(await code('run', '--on', 'server01', '-e', '1')).toBe(0)
    await machines.ok('server01', 'peer', 'deny', 'laptop')
    expect(await code('session', 'new', 'server01')).toBe(4)
  })
})
