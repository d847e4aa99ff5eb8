import { describe, expect, it } from 'vitest'
import { COMMANDS } from '../src/grammar.ts'
import { TOPICS } from '../src/topics.ts'
import { FakePeer, FakeSession, failure } from './fake-peer.ts'
import { errand, Running, Sink } from './harness.ts'

describe('usage', () => {
  it.each([
    [['strat', 'x'], "'strat' is no command of errand\n  did you mean start?"],
    [['get-jbo'], 'did you mean Get-Job?'],
    [['ps'], 'did you mean list?'],
    [['peers'], 'did you mean peer list?'],
    [['sesion'], 'did you mean session list?'],
    [['list', '--sate', 'x'], "unknown option '--sate'\n  did you mean --state?"],
    [['list', '--newest', 'x'], "--newest: 'x' is not a whole number from 1 on"],
    [['start', '--engine', 'vm', '-e', '1'], "--engine: 'vm' is none of thread, process"],
    [['start', '--args', '[1', '-e', '1'], "--args: '[1' is not JSON"],
    [['start', '--using', '[1]', '-e', '1'], '--using needs a JSON object'],
    [['start', '--env', 'X', '-e', '1'], "--env: 'X' is not NAME=VALUE"],
    [['start', '-n'], "option '-n, --name <name>' argument missing"],
    [['session'], 'errand session what?'],
    [['session', 'lst'], 'did you mean session list?'],
    [['receive'], 'receive needs JOB…'],
    [['enter', 'a', 'b'], "'b' is too much"],
    [['start'], 'nothing to do'],
    [['start', '-e', '1', 'x'], "'x' is too much beside -e CODE"],
    [['start', 'a.ts', 'x'], "'x' is too much beside the file a.ts"],
    [['start', '--args', '1', 'ls'], '--args and --using are for scripts'],
    [['start', '--detach', '-e', '1'], '--detach needs --on'],
    [['start', '--on', 'a', '--at', 'b', '-e', '1'], '--on and --at exclude each other'],
    [['receive', '1', '--auto-remove'], '--auto-remove needs --wait'],
    [['list', '1', '--newest', '1'], 'filters and JOBs exclude each other'],
    [['list', '--state', 'runing'], "'runing' is none of NotStarted"],
    [['list', '--before', 'soon'], "'soon' is not a time"],
    [['list', '--timeout', 'soon'], "'soon' is not a duration"],
    [['--json', '--quiet'], '--json= says how, but not what to do'],
    [['-x'], "unknown option '-x'"],
    [['receive'], 'for example: errand receive 3 --keep'],
    [['list', '-s', 'Runing'], '--state: '],
    [['list', '-s', 'Runing'], 'did you mean Running?'],
    [['start', '--engine', 'proces', '-e', '1'], 'did you mean process?'],
    [['help', 'exitcodes'], 'did you mean `errand help exit-codes`?'],
    [['help', 'zzzzzzzz'], '`errand help` lists commands and topics'],
    [['completion', 'fisch'], 'did you mean fish?'],
    [['up', 'x'], "'x' is too much"],
    [['up', '--listen', 'localhost'], "'localhost' is not a multiaddr"],
  ])('%j ends with 2', async (argv, words) => {
    const peer = new FakePeer()
    const { code, out, err } = await errand(argv, { peer })
    expect(err.replace('--json= says', '--json says')).toContain(words.replace('--json= says', '--json says'))
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(peer.table).toEqual([])
  })
})

describe('errors', () => {
  it('are one sentence and what to do', async () => {
    const { code, err, out } = await errand(['receive', '9'])
    expect({ code, err, out }).toEqual({
      code: 3,
      err: 'errand: no job 9 on laptop\n  `errand list` shows the jobs there are\n',
      out: '',
    })
  })
  it.each([
    [['receive', 'biuld'], 'did you mean build?'],
    [['session', 'connect', 'wrok'], 'did you mean work?'],
    [['--at', 'server1', 'list'], 'did you mean server01?'],
    [['run', '--on', 'session:wokr', '-e', '1'], 'did you mean work?'],
    [['peer', 'allow', 'sever01'], 'did you mean server01?'],
    [['receive', 'something-else'], '`errand list` shows the jobs there are'],
  ])('name what is near to what is not there: %j', async (argv, hint) => {
    const peer = new FakePeer().knows('server01')
    await peer.start(['x'], { name: 'build' })
    peer.hold(new FakeSession(4, 'server01', 'work'))
    const { code, err } = await errand(argv, { peer })
    expect(code).toBe(3)
    expect(err.split('\n')).toContain(`  ${hint}`)
  })
  it('are a document with --json, also those about the flags themselves', async () => {
    const { code, err } = await errand(['receive', '9', '--json'])
    expect(code).toBe(3)
    expect(JSON.parse(err)).toEqual({
      error: { code: 'JOB_NOT_FOUND', message: 'no job 9 on laptop', hint: '`errand list` shows the jobs there are' },
    })
    const wrong = await errand(['list', '--json', '--newest', 'x'])
    expect(wrong.code).toBe(2)
    expect(JSON.parse(wrong.err)).toMatchObject({ error: { code: 'USAGE' } })
  })
  it('show their stack with -v', async () => {
    const peer = new FakePeer()
    peer.peers = async () => {
      throw failure('DENIED', 'not allowed')
    }
    expect(await errand(['peer', 'list', '-v'], { peer })).toMatchObject({
      code: 4,
      err: expect.stringContaining('app.test.ts'),
    })
    expect((await errand(['peer', 'list'], { peer })).err).toBe('errand: not allowed\n')
  })
})

describe('help', () => {
  it('is on stdout and ends with 0', async () => {
    for (const argv of [[], ['--help'], ['-h'], ['help']]) {
      const { code, out, err } = await errand(argv)
      expect({ code, err }).toEqual({ code: 0, err: '' })
      expect(out).toMatch(/^Sessions$/m)
    }
  })
  it('shows examples first when it is asked for at length', async () => {
    expect((await errand(['start', '-h'])).out).toMatch(/^Usage: errand start/)
    expect((await errand(['start', '--help'])).out).toMatch(/^Examples:/)
    expect((await errand(['help', 'start'])).out).toMatch(/^Examples:/)
    expect((await errand(['Start-Job', '--help'])).out).toContain('Usage: errand start')
    expect((await errand(['help', 'sajb'])).out).toContain('Usage: errand start')
    expect((await errand(['session', '--help'])).out).toContain('session disconnect')
    expect((await errand(['session', 'new', '-h'])).out).toContain('Usage: errand session new')
  })
  it('does not ask for help in the name of a command that is run', async () => {
    const peer = new FakePeer()
    await errand(['start', 'ls', '--help'], { peer })
    expect(peer.table[0]?.work).toEqual(['ls', '--help'])
  })
  it.each(COMMANDS.map(({ path }) => path))('has an example of %s that is understood', async (path) => {
    const { examples = [] } = COMMANDS.find((one) => one.path === path)!
    expect(examples.length).toBeGreaterThan(0)
    const { out } = await errand([...path.split(' '), '--help'])
    expect(out).toMatch(/^Examples:\n/)
    for (const example of examples) {
      expect(out).toContain(example)
      // Behind three blanks stands a remark.
      const lines = example
        .replace(/ {3,}.*/, '')
        .split(' | ')
        .filter((line) => line.startsWith('errand '))
      expect(example).toContain('errand ')
      for (const line of lines) {
        const words = [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c!)
        // Asked for help, a line is read to its last flag, and nothing is done.
        const { code, err } = await errand(['-h', ...words.slice(1)])
        expect({ line, code, err }).toEqual({ line, code: 0, err: '' })
      }
    }
  })
  it.each(TOPICS.map(({ name }) => name))('says what %s is about, examples first', async (name) => {
    const { code, out } = await errand(['help', name])
    expect(code).toBe(0)
    expect(out.length).toBeGreaterThan(100)
    expect(out.split('\n').every((line) => line.length <= 125)).toBe(true)
    expect((await errand(['help'])).out).toContain(`  ${name} `)
    if (name !== 'durations') expect(out.split('\n', 2).join(' ')).toContain('errand ')
  })
  it('knows topics', async () => {
    expect((await errand(['help', 'exit-codes'])).out).toContain('124')
    expect((await errand(['help', 'powershell'])).out).toContain('sajb')
    expect(await errand(['help', 'exit-code'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('did you mean `errand help exit-codes`?'),
    })
  })
  it('hides what is not for people', async () => {
    expect((await errand(['up', '--help'])).out).not.toMatch(/ready-fd|on-demand/)
  })
})

describe('version', () => {
  it('is one line, or a document', async () => {
    expect((await errand(['--version'])).out).toMatch(/^errand \d+\.\d+\.\d+\n$/)
    expect((await errand(['version'])).out).toBe((await errand(['--version'])).out)
    expect(JSON.parse((await errand(['version', '--json=node'])).out)).toEqual({ node: process.version })
  })
})

describe('surroundings', () => {
  it('the home is --home, ERRAND_HOME, or the state directory', async () => {
    const homeOf = async (argv: string[], env: NodeJS.ProcessEnv): Promise<string | undefined> => {
      const running = new Running([...argv, 'list'], { env: { ERRAND_HOME: undefined, ...env }, cwd: '/cwd' })
      await running.ended
      return running.reached[0]?.home
    }
    expect(await homeOf(['--home', 'x'], { ERRAND_HOME: '/e' })).toBe('/cwd/x')
    expect(await homeOf([], { ERRAND_HOME: '/e' })).toBe('/e')
    expect(await homeOf([], { XDG_STATE_HOME: '/s' })).toBe('/s/errand')
  })
  it('lets go of the peer, and only once, whatever happened', async () => {
    const peer = new FakePeer()
    await errand(['list'], { peer })
    await errand(['receive', '9'], { peer })
    expect(peer.closed).toBe(2)
    await errand(['help'], { peer })
    expect(peer.closed).toBe(2)
  })
  it('does not start a peer to ask whether there is one', async () => {
    const running = new Running(['status'])
    await running.ended
    expect(running.reached).toEqual([{ home: '/nowhere/home', start: false }])
  })
  it('gives up after --timeout with 124; the job goes on', async () => {
    const peer = new FakePeer()
    peer.onStart = () => {}
    const { code, err } = await errand(['run', '-e', '1', '--timeout', '5ms'], { peer })
    expect({ code, err }).toEqual({
      code: 124,
      err: 'errand: not done after 5ms\n  the outcome is unknown; what has been started goes on: `errand list`\n',
    })
    expect(peer.table[0]?.state).toBe('Running')
  })
  it('colours only what a terminal reads, and what is asked to be coloured', async () => {
    const peer = new FakePeer()
    await peer.start(['x'])
    const escape = '\u001b['
    expect((await errand(['list'], { peer })).out).not.toContain(escape)
    expect((await errand(['list'], { peer, columns: 80 })).out).toContain(escape)
    expect((await errand(['list'], { peer, columns: 80, env: { NO_COLOR: '1' } })).out).not.toContain(escape)
    expect((await errand(['list', '--color', 'never'], { peer, columns: 80 })).out).not.toContain(escape)
    expect((await errand(['list', '--color=always'], { peer })).out).toContain(escape)
  })
})

/** A pipe whose reader leaves after so many writes. */
class Leaving extends Sink {
  #left: number
  constructor(writes: number) {
    super()
    this.#left = writes
  }
  override _write(chunk: Buffer, encoding: string, done: (error?: Error | null) => void): void {
    if (this.#left-- > 0) super._write(chunk, encoding, done)
    else done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
  }
}

describe('a reader that leaves', () => {
  it('ends a command quietly with 0', async () => {
    const peer = new FakePeer()
    const job = (await peer.start(['x'])) as never as { yields(...values: unknown[]): void }
    job.yields(...Array.from({ length: 50 }, (_, index) => index))
    const running = new Running(['receive', '1'], { peer, stdout: new Leaving(3) })
    const { code, out, err } = await running.ended
    expect({ code, out, err }).toEqual({ code: 0, out: '0\n1\n2\n', err: '' })
    // What it never saw is still to be received, but for what was on its way.
    expect(peer.table[0]!.cursors.get('owner')).toBeLessThanOrEqual(5)
  })
  it('stops the job that run runs for it', async () => {
    const peer = new FakePeer()
    peer.onStart = (job) => void job.yields(1, 2, 3)
    const { code, err } = await new Running(['run', '-e', 'x'], { peer, stdout: new Leaving(1) }).ended
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(peer.table[0]?.state).toBe('Stopped')
  })
})
