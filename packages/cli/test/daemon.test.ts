// The daemon and the command line as processes of their own: what only they can show.
import { spawn, type ChildProcess } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { PeerHost } from '@errand/runtime'
import { testProgram } from '../../../scripts/test-program.ts'
import { isAlive } from '../src/commands/down.ts'
import { whenIdle } from '../src/daemon.ts'

const main = testProgram(new URL('../src/main.ts', import.meta.url))
const argv = ['--conditions=source', main]

interface Ended {
  code: number | null
  out: string
  err: string
}

let home: string
async function moveIn(): Promise<void> {
  home = await mkdtemp(join(tmpdir(), 'errand-'))
}
/** No daemon is left behind. */
async function moveOut(): Promise<void> {
  await errand('down', '--force')
  await rm(home, { recursive: true, force: true })
}

/** A command line under way, with its output as it comes. */
function begin(...words: string[]): { child: ChildProcess; ended: Promise<Ended>; has(part: string): Promise<void> } {
  const child = spawn(process.execPath, [...argv, ...words], {
    env: { ...process.env, ERRAND_HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  const waiting: { part: string; resolve: () => void }[] = []
  const seen = (): void => waiting.forEach(({ part, resolve }) => (out + err).includes(part) && resolve())
  child.stdout.on('data', (piece) => ((out += String(piece)), seen()))
  child.stderr.on('data', (piece) => ((err += String(piece)), seen()))
  const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, out, err })))
  return {
    child,
    ended,
    has: (part) => {
      if ((out + err).includes(part)) return Promise.resolve()
      return new Promise((resolve) => waiting.push({ part, resolve }))
    },
  }
}
const errand = (...words: string[]): Promise<Ended> => begin(...words).ended

interface Status {
  pid: number
  name: string
  addresses: string[]
  onDemand: boolean
  jobs: { total: number }
}
async function status(): Promise<Status> {
  const { out } = await errand('status', '--json')
  return JSON.parse(out) as Status
}

describe('the daemon', { timeout: 120_000 }, () => {
  beforeEach(moveIn)
  afterEach(moveOut)
  it('is started by the first command that needs it, once, however many come at the same moment', async () => {
    expect(await errand('status')).toMatchObject({ code: 5, err: expect.stringContaining('errand up') })
    const all = await Promise.all(Array.from({ length: 4 }, (_, index) => errand('run', '-e', String(index))))
    expect(all.map(({ code, out, err }) => [code, out, err])).toEqual(
      [0, 1, 2, 3].map((index) => [0, `${index}\n`, '']),
    )
    // One table has them all: there was one daemon.
    expect(await status()).toMatchObject({ onDemand: true, jobs: { total: 4 } })
    expect(await readFile(join(home, 'daemon.log'), 'utf8')).toBe('')
  })
  it('is gone when `down` ends, and says so when there is none', async () => {
    await errand('up')
    const { pid } = await status()
    expect(await errand('down')).toEqual({ code: 0, out: '', err: '' })
    expect(await isAlive(pid)).toBe(false)
    expect(await errand('down')).toEqual({ code: 0, out: '', err: 'not up\n' })
  })
  it('does not leave while jobs run, unless it may end them or wait for them', async () => {
    await errand('start', '-e', 'await sleep(60000)')
    const { pid } = await status()
    expect(await errand('down')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/one job runs here\n.*--drain.*--force/),
    })
    expect(await errand('down', '--drain', '--timeout', '300ms')).toMatchObject({ code: 124 })
    expect(await isAlive(pid)).toBe(true)
    expect(await errand('down', '--force')).toMatchObject({ code: 0 })
    expect(await isAlive(pid)).toBe(false)
  })
  it('keeps its name and its port', async () => {
    const { out } = await errand('up', '--name', 'laptop', '--listen', '/ip4/127.0.0.1/tcp/0')
    expect(out).toMatch(/^name +laptop\npeer id +12D3Koo\w+\naddresses +\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\//)
    const before = await status()
    expect(await errand('up')).toMatchObject({ code: 0, out, err: 'already up\n' })
    expect((await errand('up', '--name', 'other')).err).toContain('not in force')
    await errand('down')
    await errand('up')
    const after = await status()
    expect(after).toMatchObject({ name: 'laptop', addresses: before.addresses })
    expect(after.pid).not.toBe(before.pid)
  })
  it('needs no port before there is another peer', async () => {
    await errand('run', '-e', '1')
    expect((await status()).addresses).toEqual([])
  })
  it('says why it could not be started', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => taken.once('listening', resolve))
    const { port } = taken.address() as { port: number }
    const failed = await errand('up', '--listen', `/ip4/127.0.0.1/tcp/${port}`)
    taken.close()
    expect(failed).toMatchObject({ code: 1, out: '', err: expect.stringContaining('could not be started') })
    expect(failed.err).toContain(String(port))

    await writeFile(join(home, 'config.json'), 'nonsense')
    expect(await errand('up', '--json')).toMatchObject({ code: 1, err: expect.stringContaining('"code":"CONFIG"') })
    await rm(join(home, 'config.json'))

    for (const impossible of ['/proc/nowhere', '/dev/null/home', '/dev/null'])
      expect(await errand('up', '--home', impossible)).toMatchObject({
        code: 1,
        err: expect.stringContaining(impossible),
      })

    await chmod(home, 0o755)
    const open = await errand('up')
    await chmod(home, 0o700)
    expect(open).toMatchObject({ code: 4, err: expect.stringContaining('chmod 700') })
  })
  it('runs in a terminal until it is told to leave', async () => {
    const one = begin('up', '--foreground', '--name', 'here')
    await one.has('peers ')
    expect((await status()).pid).toBe(one.child.pid)
    one.child.kill('SIGTERM')
    expect(await one.ended).toMatchObject({ code: 0, err: '' })
    expect(await errand('status')).toMatchObject({ code: 5 })
  })
  it('comes back after it was killed, and who follows a job has waited for it', async () => {
    const { out } = await errand('start', '-e', 'yield 1; await sleep(600_000)')
    const id = out.trim()
    const [receiving, waiting] = [begin('receive', id, '--follow'), begin('wait', id)]
    await receiving.has('1\n')
    const { pid } = await status()
    process.kill(pid, 'SIGKILL')
    await receiving.has('trying again for 10 s')
    expect(await errand('run', '-e', '2')).toEqual({ code: 0, out: '2\n', err: '' })
    expect((await status()).pid).not.toBe(pid)
    expect(await receiving.ended).toMatchObject({
      code: 0,
      out: '1\n',
      err: expect.stringContaining('was started again'),
    })
    expect(await waiting.ended).toMatchObject({ code: 1, out: `${id}\n` })
  })
})

describe('whenIdle', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  const peer = (how: { idle: boolean }) => {
    const fake = {
      idle: how.idle,
      activeAt: performance.now(),
      close: vi.fn(async () => {}),
    }
    return fake as typeof fake & PeerHost
  }
  it('leaves when nobody has needed it for long enough, and not before', () => {
    const one = peer({ idle: true })
    using _ = whenIdle(one, 600_000, 30_000, () => false)
    vi.advanceTimersByTime(599_999)
    expect(one.close).not.toHaveBeenCalled()
    vi.advanceTimersByTime(30_001)
    expect(one.close).toHaveBeenCalled()
  })
  it.each([
    ['somebody is there', { idle: false, needed: false }],
    ['it is needed', { idle: true, needed: true }],
  ])('stays while %s', (_name, { needed, ...how }) => {
    const one = peer(how)
    using _ = whenIdle(one, 600_000, 30_000, () => needed)
    vi.advanceTimersByTime(6_000_000)
    expect(one.close).not.toHaveBeenCalled()
  })
  it('counts from when it was last needed, and no more once it is disposed', () => {
    const one = peer({ idle: true })
    {
      using _ = whenIdle(one, 600_000, 30_000, () => false)
      vi.advanceTimersByTime(500_000)
      one.activeAt = performance.now()
      vi.advanceTimersByTime(500_000)
    }
    vi.advanceTimersByTime(6_000_000)
    expect(one.close).not.toHaveBeenCalled()
  })
})

describe('a command line', { timeout: 120_000 }, () => {
  // One home and one daemon for all of them: each has jobs of its own.
  beforeAll(moveIn)
  afterAll(moveOut)

  /** Starts a job and says its number. */
  const start = async (...words: string[]): Promise<string> => {
    const { code, out, err } = await errand('start', ...words)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^\d+\n$/)
    return out.trim()
  }

  it('takes Ctrl-C for its job: stops it, and leaves nothing running', async () => {
    const one = begin(
      'run',
      '-n',
      'long',
      '-e',
      "yield process.pid; try { await sleep(60000) } finally { yield 'never' }",
    )
    await one.has('\n')
    one.child.kill('SIGINT')
    const { code, out, err } = await one.ended
    expect({ code, err }).toEqual({
      code: 130,
      err: expect.stringMatching(/^errand: stopping job \d+, again to kill\n$/) as string,
    })
    expect(await isAlive(Number.parseInt(out, 10))).toBe(false)
    expect((await errand('list', 'long', '--json=state')).out).toBe('[{"state":"Stopped"}]\n')
  })
  it('ends quietly when its reader leaves', async () => {
    const { code } = await errand(
      'start',
      '--wait',
      '-n',
      'much',
      '-e',
      'for (let i = 0; i < 20000; i++) yield "x".repeat(100)',
    )
    expect(code).toBe(0)
    const one = begin('receive', 'much')
    await one.has('x')
    one.child.stdout!.destroy()
    expect(await one.ended).toMatchObject({ code: 0, err: '' })
  })
  it("ends with a command's own code", async () => {
    expect(await errand('run', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7')).toEqual({
      code: 7,
      out: 'out\n',
      err: 'err\n',
    })
    expect((await errand('run', '--', 'no-such-command')).code).toBe(127)
    expect((await errand('run', '--', '/dev/null')).code).toBe(126)
  })
  it('shows what a job asks with the line that answers it', async () => {
    const id = await start('-e', "yield await ask({ prompt: 'sure?', choices: ['yes', 'no'] })")
    const waiting = begin('wait', id)
    await waiting.has(`job ${id} asks: sure? (yes, no)\n  errand answer ${id} yes\n`)
    expect(await errand('wait', id, '--timeout', '2s', '-q')).toMatchObject({
      code: 124,
      err: `errand: not done after 2s: ${id} is Blocked (sure? (yes, no))\n  errand answer ${id} yes\n`,
    })
    expect(await errand('answer', id, 'maybe')).toMatchObject({
      code: 2,
      err: expect.stringContaining('it asks: sure?'),
    })
    expect(await errand('answer', id, 'yes')).toEqual({ code: 0, out: '', err: '' })
    expect(await waiting.ended).toMatchObject({ code: 0, out: `${id}\n` })
    expect((await errand('receive', id)).out).toBe('yes\n')
  })
  it('feeds a job, suspends it and lets it go on', async () => {
    const fed = await start('-e', 'for await (const value of input) yield value')
    await errand('send', fed, 'one')
    await errand('send', fed, '--json', '{"two":2}', '--eof')
    expect((await errand('receive', fed, '--wait')).out).toBe('one\n{ two: 2 }\n')
    const loop = await start('-n', 'loop', '-e', 'await sleep(60000)')
    expect(await errand('suspend', 'loop')).toEqual({ code: 0, out: '', err: '' })
    expect((await errand('list', '-q', '-s', 'Suspended')).out).toBe(`${loop}\n`)
    expect(await errand('Resume-Job', '-Name', 'loop')).toMatchObject({ code: 0 })
    expect((await errand('list', '-q', '-s', 'Running')).out).toBe(`${loop}\n`)
    // Given with its start it stays until the job has it.
    const given = await start('--input', '[1,2]', '-e', 'for await (const value of input) yield value')
    expect((await errand('receive', given, '--wait')).out).toBe('1\n2\n')
  })
  it('does the same for many, from a list of jobs or a file of work', async () => {
    await errand('run', '-n', 'a', '-e', '1')
    const listed = (await errand('list', 'a', '--json')).out
    expect((await errand('map', '--input', listed, "x => x.name + ' ' + x.state")).out).toBe('a Completed\n')
    await writeFile(join(home, 'twice.ts'), 'export default (ctx: object, n: number): number => 2 * n\n')
    expect(await errand('map', '--ordered', '--input', '[1,2,3]', `${home}/twice.ts`)).toEqual({
      code: 0,
      out: '2\n4\n6\n',
      err: '',
    })
    expect(await errand('map', '--input', '[1,2]', 'x => y')).toMatchObject({
      code: 2,
      err: expect.stringContaining('y'),
    })
  })
  it('starts a job again, after another, and within limits', async () => {
    const failing = await errand('run', '-n', 'broken', '--retry', '1', '-e', "throw new Error('no')")
    expect(failing).toMatchObject({ code: 1, err: expect.stringMatching(/attempt 1 failed: no; attempt 2 of 2/) })
    const after = await start('--after', 'broken', '--', 'true')
    const [second] = JSON.parse((await errand('list', after, '--json')).out) as { state: string; reason: object }[]
    expect(second).toMatchObject({ state: 'Stopped', reason: { code: 'JOB_STOPPED' } })
    expect(await errand('run', '--allow', 'none', '-e', "fs.readFileSync('/etc/passwd')")).toMatchObject({ code: 1 })
    expect((await errand('run', '--init', 'void (globalThis.k = 5)', '-e', 'k')).out).toBe('5\n')
  })
  it('runs where and as its caller is', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'errand-'))
    await writeFile(
      join(folder, 'a.ts'),
      "import { basename } from 'node:path'\nexport const where = (): string => basename(process.cwd())\n",
    )
    expect((await errand('run', '-C', folder, '--env', 'X=1', '--', 'sh', '-c', 'pwd; echo $X')).out).toBe(
      `${folder}\n1\n`,
    )
    expect((await errand('run', '-C', folder, `${folder}/a.ts#where`)).out).toBe(`${folder.split('/').at(-1)}\n`)
    await rm(folder, { recursive: true })
  })
})
