import { describe, expect, it } from 'vitest'
import { FakeJob, FakePeer, FakeSession, failure } from './fake-peer.ts'
import { LinkNews } from '../src/link-news.ts'
import { contextOf, errand, Running, Sink } from './harness.ts'

describe('session', () => {
  it('new opens one there, and it stays open', async () => {
    const peer = new FakePeer().knows('a', 'b')
    expect(
      await errand(['session', 'new', 'a', '-n', 'x', '--idle-timeout', '5m', '--buffering', 'drop'], { peer }),
    ).toEqual({ code: 0, out: '1\n', err: '' })
    expect(peer.connects).toEqual([['a', { name: 'x', idleTimeout: '5m', buffering: 'drop' }]])
    expect((await errand(['New-PSSession', '-cn', 'a,b'], { peer })).out).toBe('a 2\nb 3\n')
    expect(peer.held.map(({ state }) => state)).toEqual(['Opened', 'Opened', 'Opened'])
    expect(await errand(['session', 'new', 'a', 'nobody'], { peer })).toMatchObject({ code: 3, out: '4\n' })
  })
  it('list shows those we hold, or those a peer hosts', async () => {
    const peer = new FakePeer().knows('a')
    peer.hold(new FakeSession(1, 'a', 'build'))
    peer.hold(new FakeSession(2, 'b')).state = 'Disconnected'
    expect((await errand(['session', 'list'], { peer })).out).toMatch(
      /^ID +NAME +STATE.*\n1 +build +Opened.*\n2 +Session2 +Disconnected.*\n$/,
    )
    expect((await errand(['session', 'list', '-q', '--on', 'a'], { peer })).out).toBe('1\n')
    expect((await errand(['session', 'list', '-q', '-s', 'disconnected'], { peer })).out).toBe('2\n')
    expect((await errand(['gsn', '-Name', 'bui*', '-q'], { peer })).out).toBe('1\n')
    expect((await errand(['session', 'list', '-q', 'build'], { peer })).out).toBe('1\n')
    expect((await errand(['Get-PSSession'], { peer })).out).toMatch(/^ Id Name {12}Transport ComputerName/)
    expect(JSON.parse((await errand(['session', 'list', '--json=id,location'], { peer })).out)).toEqual([
      { id: 1, location: 'a' },
      { id: 2, location: 'b' },
    ])
    expect(await errand(['session', 'list', '9'], { peer })).toMatchObject({ code: 3 })
    expect(await errand(['session', 'list'])).toEqual({ code: 0, out: '', err: 'no sessions\n' })
  })
  it('list by a name that several have shows them all, each once; one that nobody has is not found', async () => {
    const peer = new FakePeer()
    for (const [id, name] of [
      [1, 'build'],
      [2, 'Build'],
      [3, 'other'],
    ] as const) {
      peer.hold(new FakeSession(id, 'a', name))
    }
    expect((await errand(['Get-PSSession', '-Name', 'build', '-q'], { peer })).out).toBe('1\n2\n')
    expect((await errand(['session', 'list', 'build', '2', '-q'], { peer })).out).toBe('1\n2\n')
    expect((await errand(['session', 'list', 'build', 'none', '-q'], { peer })).code).toBe(3)
  })
  it('disconnect leaves, connect takes up again, both once', async () => {
    const peer = new FakePeer()
    const session = peer.hold(new FakeSession(1, 'a'))
    expect((await errand(['Disconnect-PSSession', '1', '-IdleTimeoutSec', '120'], { peer })).out).toMatch(
      /1 Session1.*Disconnected.*None\n$/,
    )
    await errand(['session', 'disconnect', '1'], { peer })
    expect((await errand(['session', 'connect', '1'], { peer })).out).toContain('Opened')
    await errand(['session', 'connect', '1'], { peer })
    expect(session.calls.map(([call]) => call)).toEqual(['disconnect', 'connect'])
    expect(session.calls[0]?.[1]).toMatchObject({ idleTimeout: '120s' })
  })
  it('connect and disconnect say how it is to buffer, connect also of one that is open', async () => {
    const peer = new FakePeer().knows('a')
    const session = peer.hold(new FakeSession(1, 'a'))
    await errand(['session', 'connect', '1', '--buffering', 'drop'], { peer })
    await errand(['Disconnect-PSSession', '1', '-OutputBufferingMode', 'Block'], { peer })
    expect(session.calls).toMatchObject([
      ['connect', { buffering: 'drop' }],
      ['disconnect', { buffering: 'block' }],
    ])
    await errand(['session', 'connect', 'build', '--on', 'a', '--buffering', 'drop'], { peer })
    expect(peer.connects).toEqual([['a', { session: 'build', buffering: 'drop' }]])
    expect(await errand(['session', 'connect', '1', '--buffering', 'both'], { peer })).toMatchObject({ code: 2 })
    const [document] = JSON.parse((await errand(['session', 'list', '--json'], { peer })).out) as object[]
    expect(document).toMatchObject({ buffering: 'block' })
  })
  it('connect --on takes up what another client left', async () => {
    const peer = new FakePeer().knows('a')
    await errand(['session', 'connect', 'build', '--on', 'a', '--force'], { peer })
    expect(peer.connects).toEqual([['a', { session: 'build', force: true }]])
  })
  it('connect --force takes back what another client has taken', async () => {
    const peer = new FakePeer()
    const session = peer.hold(new FakeSession(1, 'a'))
    session.state = 'Disconnected'
    expect((await errand(['session', 'connect', '1', '--force'], { peer })).code).toBe(0)
    expect(session.calls).toEqual([['connect', { force: true }]])
  })
  it('new says what is done first in it, and what may be had and done there', async () => {
    const peer = new FakePeer().knows('a')
    const limits = ['--max-memory', '64', '--allow', 'read=/srv']
    const opened = await errand(['session', 'new', 'a', '--init', 'globalThis.db = open()', ...limits], { peer })
    expect(opened).toEqual({ code: 0, out: '1\n', err: '' })
    const init = { code: 'globalThis.db = open()' }
    expect(peer.connects).toEqual([['a', { init, maxMemory: 64, permissions: { read: ['/srv'] } }]])
  })

  it('new --reconnect takes it up again when its peer is back', async () => {
    const peer = new FakePeer().knows('a')
    await errand(['session', 'new', 'a', '--lost-after', '1m', '--reconnect'], { peer })
    expect(peer.connects).toEqual([['a', { lostAfter: '1m', reconnect: true }]])
  })
  it('--on takes a session’s name without its prefix where no peer has it; a peer comes first', async () => {
    const peer = new FakePeer().knows('a', 'build')
    peer.onStart = (job) => void job.end()
    peer.hold(new FakeSession(1, 'a', 'build'))
    peer.hold(new FakeSession(2, 'a', 'deploy'))
    for (const [word, to] of [
      ['deploy', 2],
      ['Deploy', 2],
      ['session:build', 1],
      ['build', 'build'],
    ] as const) {
      expect((await errand(['start', '--on', word, '-e', '1'], { peer })).code, word).toBe(0)
      const { on } = peer.table.at(-1)!.options as { on?: [FakeSession | string] }
      expect(
        on?.map((one) => (typeof one === 'string' ? one : one.id)),
        word,
      ).toEqual([to])
    }
  })
  it('whoever waits hears what becomes of the link: lost, given up, back', async () => {
    const peer = new FakePeer().knows('server01')
    const lost = (text: string): Error => failure('PEER_UNREACHABLE', text)
    const started = Promise.withResolvers<FakeJob>()
    peer.onStart = started.resolve
    const one = new Running(['run', '--on', 'server01', '-e', '1'], { peer })
    const job = await started.promise
    const [child] = job.children
    child!.become('Disconnected', lost('the link to server01 is lost; trying again for 240 s'))
    await one.stderr.has('warning: the link to server01 is lost; trying again for 240 s\n')
    child!.become('Disconnected', lost('server01 could not be reached for 240 s'))
    await one.stderr.has('warning: server01 could not be reached for 240 s\n')
    child!.become('Running')
    await one.stderr.has('errand: server01 is back\n')
    child!.end()
    job.end()
    expect((await one.ended).code).toBe(0)
  })
  it('whoever works in a session hears of its link too, each thing once', () => {
    const stderr = new Sink()
    const news = new LinkNews(contextOf({ stdout: new Sink(), stderr }))
    const { snapshot } = new FakeSession(1, 'server01')
    const reason = new Error('the link to server01 is lost; trying again for 240 s')
    news.session(snapshot)
    for (let n = 0; n < 2; n++) news.session({ ...snapshot, state: 'Connecting', reason })
    news.session({ ...snapshot, state: 'Disconnected', reason: new Error('server01 could not be reached for 240 s') })
    for (let n = 0; n < 2; n++) news.session(snapshot)
    expect(stderr.text).toBe(
      [
        'warning: the link to server01 is lost; trying again for 240 s',
        'warning: server01 could not be reached for 240 s',
        'errand: server01 is back\n',
      ].join('\n'),
    )
    // Left by command: that is no news to who left.
    news.session({ ...snapshot, state: 'Disconnected' })
    expect(stderr.text).toMatch(/is back\n$/)
  })
  it('receive follows what runs there, or prints its job', async () => {
    const peer = new FakePeer()
    const session = peer.hold(new FakeSession(1, 'a'))
    expect(await errand(['session', 'receive', '1'], { peer })).toEqual({
      code: 0,
      out: '',
      err: 'session Session1 has nothing to receive\n',
    })
    session.waiting = new FakeJob(5, ['x'], {})
    expect((await errand(['rcsn', '-Session', '1', '-OutTarget', 'Job'], { peer })).out).toBe('5\n')
    const one = new Running(['session', 'receive', '1'], { peer })
    session.waiting.yields('Output 9')
    await one.stdout.has('Output 9\n')
    session.waiting.yields('Output 10').end()
    expect(await one.ended).toEqual({ code: 0, out: 'Output 9\nOutput 10\n', err: '' })
  })
  it('remove ends it', async () => {
    const peer = new FakePeer()
    const session = peer.hold(new FakeSession(1, 'a'))
    expect(await errand(['session', 'remove', '1'], { peer })).toEqual({ code: 0, out: '', err: '' })
    expect(session.state).toBe('Closed')
  })
  it('exit outside of enter does nothing', async () => {
    expect(await errand(['Exit-PSSession'])).toMatchObject({ code: 0, out: '' })
  })
})

describe('enter', () => {
  const entered = (lines: string, play: FakeSession['onRun'] = () => {}): { peer: FakePeer; session: FakeSession } => {
    const peer = new FakePeer()
    const session = peer.hold(new FakeSession(1, 'server01'))
    session.onRun = play
    return { peer, session }
  }
  it('echoes lines that come from a pipe with their prompt', async () => {
    const { peer, session } = entered('', (work, job) => {
      if ('line' in work && work.line === '1 + 1') job.yields(2)
      if (Array.isArray(work))
        job
          .yields('from sh')
          .say({ kind: 'error', error: Object.assign(new Error('err'), { name: 'NativeCommandError' }) })
    })
    expect(await errand(['enter', '1'], { peer, stdin: '1 + 1\n\n!echo x\nexit\n9\n' })).toEqual({
      code: 0,
      out: '[server01]> 1 + 1\n2\n[server01]> \n[server01]> !echo x\nfrom sh\n[server01]> exit\n',
      err: 'err\n',
    })
    expect(session.runs).toEqual([{ line: '1 + 1' }, ['sh', '-c', 'echo x']])
  })
  it('goes on with a line that is not complete', async () => {
    const { peer, session } = entered('', (work, job) => {
      if (!('line' in work)) return
      if (!work.line.endsWith('}')) throw failure('SCRIPT_INCOMPLETE', 'the line is not complete')
      job.yields('whole')
    })
    expect((await errand(['enter', '1'], { peer, stdin: 'if (1) {\nexit\n}\n' })).out).toBe(
      '[server01]> if (1) {\n... exit\n... }\nwhole\n',
    )
    expect(session.runs.at(-1)).toEqual({ line: 'if (1) {\nexit\n}' })
  })
  it('says what a line throws, once, and goes on', async () => {
    const { peer } = entered('', (work, job) => {
      if ('line' in work && work.line === 'bad') throw new Error('boom')
      job.yields('fine')
    })
    expect(await errand(['enter', '1'], { peer, stdin: 'bad\ngood\n' })).toEqual({
      code: 0,
      out: '[server01]> bad\n[server01]> good\nfine\n',
      err: 'ERROR: boom\n',
    })
  })
  it.each(['exit', 'Exit-PSSession', 'EXSN', '~.'])('%s leaves', async (word) => {
    const { peer, session } = entered('')
    await errand(['enter', '1'], { peer, stdin: `${word}\n1\n` })
    expect(session.runs).toEqual([])
  })
  it('opens a session on a peer and ends it, naming the jobs that end with it', async () => {
    const peer = new FakePeer().knows('server01')
    const connect = peer.connect.bind(peer)
    peer.connect = async (to, o) => {
      const session = (await connect(to, o)) as FakeSession
      session.onStart = () => {}
      await session.start(['sleep'], { name: 'long' })
      await session.start(['done'])
      session.table[1]!.end()
      return session
    }
    expect(await errand(['Enter-PSSession', '-ComputerName', 'server01'], { peer, stdin: '' })).toEqual({
      code: 0,
      out: '',
      err: 'errand: leaving ends job 1 (long, Running)\n',
    })
    expect(peer.held[0]?.state).toBe('Closed')
  })
  it('leaves a session that was there as it was, and connects it first', async () => {
    const { peer, session } = entered('')
    session.state = 'Disconnected'
    await errand(['enter', 'Session1'], { peer, stdin: '' })
    expect(session).toMatchObject({ state: 'Opened', calls: [['connect', {}]] })
    expect(await errand(['enter', 'nobody'], { peer, stdin: '' })).toMatchObject({
      code: 3,
      err: expect.stringContaining("no peer 'nobody'"),
    })
  })
  it('Ctrl-C ends the line that runs and not the session', async () => {
    const ready = Promise.withResolvers<void>()
    const { peer, session } = entered('', async (work, job, signal) => {
      if (!('line' in work) || work.line !== 'forever') return void job.yields('next')
      ready.resolve()
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(failure('JOB_STOPPED', 'stopped'))),
      )
    })
    const one = new Running(['enter', '1'], { peer, stdin: 'forever\nagain\n' })
    await ready.promise
    one.signals.emit('SIGINT')
    expect(await one.ended).toMatchObject({
      code: 0,
      out: '[server01]> forever\n[server01]> again\nnext\n',
      err: 'stopped\n',
    })
    expect(session.state).toBe('Opened')
  })
  it('SIGTERM leaves, and ends a session that was only entered', async () => {
    const peer = new FakePeer().knows('server01')
    const one = new Running(['enter', 'server01'], { peer })
    one.stdin.write('1\n')
    await one.stdout.has('[server01]> 1\n')
    one.signals.emit('SIGTERM')
    expect(await one.ended).toMatchObject({ code: 143 })
    expect(peer.held[0]?.state).toBe('Closed')
  })
  it('ends with 5 when the session is gone', async () => {
    const { peer, session } = entered('', () => {
      session.state = 'Broken'
      throw failure('PEER_LOST', 'the link to server01 is gone')
    })
    expect(await errand(['enter', '1'], { peer, stdin: '1\n2\n' })).toMatchObject({
      code: 5,
      out: '[server01]> 1\n',
      err: 'ERROR: the link to server01 is gone\n',
    })
  })
  it('gives the next line of a pipe to a line that asks; of what is secret the answer is not echoed', async () => {
    const { peer, session } = entered('', async (work, job) => {
      if (!('line' in work)) return
      const secret = work.line === 'secret'
      job.asks('name?', { secret })
      const answered = new Promise<unknown>((resolve) => {
        const answer = job.answer.bind(job)
        job.answer = async (value, o) => {
          await answer(value, o)
          resolve(value)
        }
      })
      job.yields(`got ${String(await answered).length}`)
    })
    expect(await errand(['enter', '1'], { peer, stdin: 'ask\nbob\nsecret\nhunter2\nexit\n' })).toMatchObject({
      code: 0,
      out: '[server01]> ask\nname? bob\ngot 3\n[server01]> secret\nname? \ngot 7\n[server01]> exit\n',
    })
    expect(session.runs).toEqual([{ line: 'ask' }, { line: 'secret' }])
  })
  it('leaves the next line of a pipe to the prompt when a question is withdrawn', async () => {
    const { peer, session } = entered('', async (work, job) => {
      if (!('line' in work) || work.line !== 'ask') return
      const asked = Promise.withResolvers<void>()
      const watch = job.watch.bind(job)
      job.watch = async function* (o) {
        for await (const snapshot of watch(o)) {
          yield snapshot
          // Who wants the next one has put the question of this one.
          if (snapshot.question) asked.resolve()
        }
      }
      job.asks('name?')
      await asked.promise
      job.question = undefined
    })
    const one = new Running(['enter', '1'], { peer })
    one.stdin.write('ask\n')
    await one.stdout.has('name? \n')
    one.stdin.end('1 + 1\n2 + 2\n')
    expect(await one.ended).toMatchObject({
      code: 0,
      out: '[server01]> ask\nname? \n[server01]> 1 + 1\n[server01]> 2 + 2\n',
    })
    expect(session.runs).toEqual([{ line: 'ask' }, { line: '1 + 1' }, { line: '2 + 2' }])
  })
  it('ends when nobody reads any more what a line asks', async () => {
    const { peer } = entered('', async (_, job, signal) => {
      job.asks('name?')
      await new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(failure('JOB_STOPPED', ''))),
      )
    })
    const stdout = new Sink()
    const write = stdout._write.bind(stdout)
    stdout._write = (chunk, encoding, done) => {
      if (!String(chunk).startsWith('name?')) write(chunk, encoding, done)
      else done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
    }
    const one = new Running(['enter', '1'], { peer, stdin: 'ask\nbob\n3\n', stdout })
    expect(await one.ended).toEqual({ code: 0, out: '[server01]> ask\n', err: '' })
  })
  it('~. leaves in the place of an answer', async () => {
    const answers: unknown[] = []
    const { peer } = entered('', async (_, job, signal) => {
      job.asks('name?')
      job.answer = async (value) => void answers.push(value)
      await new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(failure('JOB_STOPPED', ''))),
      )
    })
    const one = new Running(['enter', '1'], { peer, stdin: 'ask\n~.\n3\n' })
    expect(await one.ended).toMatchObject({ code: 0, out: '[server01]> ask\nname? ~.\n' })
    expect(answers).toEqual([])
  })
  it('indents with Tab where a line goes on', async () => {
    const { peer, session } = entered('', (work) => {
      if ('line' in work && !work.line.endsWith('}')) throw failure('SCRIPT_INCOMPLETE', 'the line is not complete')
    })
    const one = new Running(['enter', '1'], { peer, columns: 80 })
    one.stdin.isTTY = true
    await one.stdout.has('[server01]> ')
    one.stdin.write('{\r')
    await one.stdout.has('... ')
    one.stdin.write('\t')
    await one.stdout.has(/\.\.\. [^ ]* {2}$/)
    one.stdin.write('a }\r\u0004')
    expect(await one.ended).toMatchObject({ code: 0 })
    expect(session.runs.at(-1)).toEqual({ line: '{\n  a }' })
    expect(session.calls).toEqual([])
  })
  it('completes with names that the session gives, and with nothing else that comes from there', async () => {
    const { peer, session } = entered('')
    session.completion = { names: ['okay', '\u001b[2Jo', 'o\u001b[2J', 'other'], on: 'oka', more: 0 }
    const one = new Running(['enter', '1'], { peer, columns: 80 })
    one.stdin.isTTY = true
    await one.stdout.has('[server01]> ')
    one.stdin.write('oka')
    await one.stdout.has('oka')
    one.stdin.write('\t')
    await one.stdout.has('okay')
    session.complete = async () => {
      throw failure('USAGE', 'unknown event complete')
    }
    one.stdin.write(' + x')
    one.stdin.write('\t')
    one.stdin.write('\r\u0004')
    expect(await one.ended).toMatchObject({ code: 0, err: expect.not.stringContaining('unknown') })
    expect(session.runs).toEqual([{ line: 'okay + x' }])
    expect(one.stdout.text).not.toContain('\u001b[2J')
  })
  it('leaves when its terminal goes away, and does not run what was typed and not entered', async () => {
    const { peer, session } = entered('')
    const one = new Running(['enter', '1'], { peer, columns: 80 })
    one.stdin.isTTY = true
    await one.stdout.has('[server01]> ')
    one.stdin.end('rm()')
    expect(await one.ended).toMatchObject({ code: 0 })
    expect(session.runs).toEqual([])
  })
  it('edits on a terminal: prompt, lines, Ctrl-C', async () => {
    const { peer, session } = entered('', (_, job) => void job.yields('out'))
    const one = new Running(['enter', '1'], { peer, columns: 80, env: { NO_COLOR: '1' } })
    one.stdin.isTTY = true
    await one.stdout.has('[server01]> ')
    one.stdin.write('half a line\u0003')
    one.stdin.write('1 + 1\r')
    await one.stdout.has('out')
    one.stdin.write('\u0004')
    expect(await one.ended).toMatchObject({ code: 0 })
    expect(session.runs).toEqual([{ line: '1 + 1' }])
  })
})

describe('peers', () => {
  it('invite prints the ticket alone, and says when nobody could come', async () => {
    const peer = new FakePeer()
    const { out, err } = await errand(
      ['invite', '--grant', 'connect,run:script', '--ttl', '5m', '--uses', '2', '--owner', 'me'],
      { peer },
    )
    expect(out).toBe('errand1-ticket\n')
    expect(err).toContain('this machine only')
    expect(peer.asked).toEqual([['invite', { grants: ['connect', 'run:script'], ttl: '5m', uses: 2, owner: 'me' }]])
    await errand(['invite', '--grant', 'Connect,run:job:reports/Daily'], { peer })
    expect(peer.asked.at(-1)).toEqual(['invite', { grants: ['connect', 'run:job:reports/Daily'] }])
    peer.addresses = ['/ip4/127.0.0.1/tcp/1', '/ip4/10.0.0.1/tcp/1']
    expect((await errand(['invite'], { peer })).err).toContain('reached from elsewhere now')
    expect((await errand(['invite', '-q'], { peer })).err).toBe('')
  })
  it('join prints what the other is called', async () => {
    const peer = new FakePeer()
    expect(await errand(['join', 'errand1-x', '-n', 'big'], { peer })).toEqual({ code: 0, out: 'big\n', err: '' })
  })
  it('keeps the address book', async () => {
    const peer = new FakePeer().knows('server01')
    expect((await errand(['peer', 'list'], { peer })).out).toMatch(
      /^NAME +CONNECTED.*\nserver01 +no +- +connect +id-of-server01\n$/,
    )
    expect((await errand(['peer', 'list', '-q'], { peer })).out).toBe('server01\n')
    expect(JSON.parse((await errand(['peer', 'list', '--json'], { peer })).out)).toMatchObject([
      { name: 'server01', owner: null },
    ])
    await errand(['peer', 'allow', 'Server01', '--grant', 'admin'], { peer })
    await errand(['peer', 'deny', 'server01'], { peer })
    const id = '12D3KooWBhvSkXG1hzyCqzMgNyJ8Kf7mgnGyJx9yzU1qAjQpTn3k'
    await errand(['peer', 'add', `/ip4/127.0.0.1/tcp/1/p2p/${id}`, '-n', 'x', '--grant', 'connect'], { peer })
    expect(peer.asked).toEqual([
      ['allow', ['id-of-server01', ['admin'], {}]],
      ['deny', 'server01'],
      ['allow', [`/ip4/127.0.0.1/tcp/1/p2p/${id}`, ['connect'], { name: 'x' }]],
    ])
    expect(await errand(['peer', 'allow', 'nobody'], { peer })).toMatchObject({ code: 3 })
    expect(await errand(['peer', 'add', 'nobody'], { peer })).toMatchObject({ code: 2 })
  })
  it('pings', async () => {
    const peer = new FakePeer().knows('server01')
    expect((await errand(['peer', 'ping', 'server01'], { peer })).out).toMatch(/^server01 [\d.]+ ms\n$/)
    expect(await errand(['peer', 'ping', 'nobody', 'server01'], { peer })).toMatchObject({
      code: 3,
      out: expect.stringMatching(/^server01/),
    })
  })
  it('status is a page or a document', async () => {
    const { out } = await errand(['status'])
    expect(out).toMatch(/^name +laptop\npeer id +peer-id\naddresses +\/ip4/)
    expect(JSON.parse((await errand(['status', '--json=name,startedAt'])).out)).toEqual({
      name: 'laptop',
      startedAt: '1970-01-01T00:00:00.000Z',
    })
  })
  it('down says what keeps it from leaving', async () => {
    const peer = new FakePeer()
    peer.onStart = () => {}
    await peer.start(['a'])
    peer.onShutdown = (o) => {
      if (!('force' in o)) throw failure('JOB_NOT_FINISHED', 'one job runs here')
    }
    expect(await errand(['down'], { peer })).toMatchObject({
      code: 1,
      err: 'errand: one job runs here\n  --drain waits for them, --force ends them\n',
    })
    // Its process id is beyond what there can be: it has ended already.
    expect(await errand(['down', '--force'], { peer })).toEqual({ code: 0, out: '', err: '' })
  })
})
