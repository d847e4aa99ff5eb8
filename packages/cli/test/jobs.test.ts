import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { failure, FakeJob, FakePeer, FakeSession } from './fake-peer.ts'
import { errand, Running } from './harness.ts'

const running = (peer: FakePeer = new FakePeer()): FakePeer => {
  peer.onStart = () => {}
  return peer
}

describe('start', () => {
  it('prints the id and nothing else, and does not wait', async () => {
    const peer = running()
    expect(await errand(['start', '-n', 'x', '-e', '1 + 1'], { peer })).toEqual({ code: 0, out: '1\n', err: '' })
    expect(peer.table[0]).toMatchObject({ work: { code: '1 + 1' }, name: 'x', state: 'Running' })
  })
  it("takes the caller's directory and environment along for local work only", async () => {
    const peer = running().knows('server01')
    const env = { A: '1', ERRAND_HOME: '/h' }
    await errand(['start', '-C', 'sub', '--env', 'B=2=3', '--env', 'C=', '--', 'ls'], { peer, env, cwd: '/srv/dir' })
    expect(peer.table[0]?.options).toMatchObject({ cwd: '/srv/dir/sub', env: { A: '1', B: '2=3', C: '' } })
    await errand(['start', '--on', 'server01', 'ls'], { peer, env })
    expect(peer.table[1]?.options).not.toHaveProperty('cwd')
    expect(peer.table[1]?.options).not.toHaveProperty('env')
    await errand(['--at', 'server01', 'start', '--env', 'B=2', '-C', 'sub', 'ls'], { peer, env })
    expect(peer.homes.get('server01')?.table[0]?.options).toMatchObject({ cwd: 'sub', env: { B: '2' } })
  })
  it('hands over what the script is given', async () => {
    const peer = running()
    await errand(
      ['start', '-e', 'x', '--args', '[1,"a"]', '--using', '{"n":1}', '--engine', 'thread', '--deadline', '30s'],
      { peer },
    )
    expect(peer.table[0]?.options).toMatchObject({ args: [1, 'a'], using: { n: 1 }, engine: 'thread', deadline: '30s' })
    await errand(['start', '-e', 'x', '--args', '5'], { peer })
    expect(peer.table[1]?.options.args).toEqual([5])
  })
  it('sends a file as text, and a file behind -- as a command', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'errand-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, 'a.ts'), 'export default (): number => 1')
    const peer = running()
    await errand(['start', 'a.ts', '--name', 'x'], { peer, cwd: folder })
    expect(peer.table[0]).toMatchObject({ name: 'x', work: { module: 'export default ()         => 1', file: 'a.ts' } })
    await errand(['start', '--', 'a.ts'], { peer, cwd: folder })
    expect(peer.table[1]?.work).toEqual(['a.ts'])
  })
  it('--on names peers, and resolves numbers and session:NAME', async () => {
    const peer = running()
    const session = peer.hold(new FakeSession(4, 'server02', 'build'))
    await errand(
      ['start', '--on', 'server01,4', '--on', 'session:build', '--throttle', '2', '--lost-after', '1m', 'ls'],
      { peer },
    )
    expect(peer.table[0]?.children.map(({ location }) => location)).toEqual(['server01', 'server02', 'server02'])
    expect(session.table).toEqual([])
  })
  it('--at speaks to the table of a peer or a session; several print where', async () => {
    const peer = running().knows('server01', 'server02')
    peer.hold(new FakeSession(4, 'server03', 'build'))
    expect((await errand(['--at', 'server01', 'start', 'ls'], { peer })).out).toBe('1\n')
    expect((await errand(['start', '--at', 'session:build', 'ls'], { peer })).out).toBe('1\n')
    // No peer has this name, but a session has.
    expect((await errand(['start', '--at', 'build', 'ls'], { peer })).out).toBe('2\n')
    expect((await errand(['--at', 'server01,server02', 'start', 'ls'], { peer })).out).toBe('server01 2\nserver02 1\n')
    expect(peer.table).toEqual([])
    expect(await errand(['--at', 'nobody', 'start', 'ls'], { peer })).toMatchObject({
      code: 3,
      err: expect.stringContaining("no peer 'nobody'"),
    })
  })
  it('prints a document with --json, with the fields that were picked', async () => {
    const { out } = await errand(['start', '--json', '-e', '1'], { peer: running() })
    expect(JSON.parse(out)).toMatchObject({ id: 1, state: 'Running', command: '1', children: [] })
    expect(JSON.parse((await errand(['start', '--json=id,name', '-e', '1'], { peer: running() })).out)).toEqual({
      id: 1,
      name: 'Job1',
    })
  })
  it('--wait ends as the job ends, --follow prints what it says', async () => {
    const peer = new FakePeer()
    peer.onStart = (job) =>
      void job.yields('a').end('Failed', { exitCode: 3, reason: failure('COMMAND_EXIT', 'x ended with exit code 3') })
    expect(await errand(['start', '--wait', 'x'], { peer })).toMatchObject({ code: 3, out: '1\n' })
    expect(await errand(['start', '-f', 'x'], { peer })).toMatchObject({ code: 3, out: '2\na\n' })
  })
  it('--follow only detaches at Ctrl-C', async () => {
    const peer = running()
    const one = new Running(['start', '-f', 'x'], { peer })
    await one.stdout.has('1\n')
    peer.table[0]!.yields('a')
    await one.stdout.has('a\n')
    one.signals.emit('SIGINT')
    const goesOn = 'errand: job 1 goes on; `errand receive 1 --follow` follows again\n'
    expect(await one.ended).toMatchObject({ code: 130, err: goesOn })
    expect(peer.table[0]).toMatchObject({ state: 'Running', calls: [['receive', expect.anything()]] })
  })
})

describe('start --detach', () => {
  it('opens a session, starts in it, leaves it, and prints the session', async () => {
    const peer = running().knows('server01')
    expect(await errand(['start', '--detach', '--on', 'server01', '-e', 'x'], { peer })).toEqual({
      code: 0,
      out: '1\n',
      err: '',
    })
    expect(peer.held[0]).toMatchObject({ state: 'Disconnected', calls: [['disconnect', expect.anything()]] })
    expect(peer.table[0]?.children[0]?.location).toBe('server01')
  })
  it('is one job over several, and says where each is', async () => {
    const peer = running().knows('a', 'b')
    expect((await errand(['start', '--detach', '--on', 'a,b', '-e', 'x'], { peer })).out).toBe('a 1\nb 2\n')
    expect(peer.table).toHaveLength(1)
  })
  it('closes what it opened when there is no job to leave behind', async () => {
    const peer = running().knows('a')
    expect(await errand(['start', '--detach', '--on', 'a,nobody', '-e', 'x'], { peer })).toMatchObject({
      code: 3,
      out: '',
    })
    expect(peer.held.map(({ state }) => state)).toEqual(['Closed'])
    peer.start = async () => {
      throw failure('FREE_VARIABLE', 'x is not defined')
    }
    expect(await errand(['start', '--detach', '--on', 'a', '-e', 'x'], { peer })).toMatchObject({ code: 2, out: '' })
    expect(peer.held.map(({ state }) => state)).toEqual(['Closed', 'Closed'])
  })
  it('does not close a session when leaving it went wrong: the work is in it', async () => {
    const peer = running()
    const session = peer.hold(new FakeSession(1, 'a'))
    session.disconnect = async () => {
      throw failure('PEER_LOST', 'the link is gone')
    }
    expect(await errand(['start', '--detach', '--on', '1', '-e', 'x'], { peer })).toMatchObject({ code: 5, out: '1\n' })
    expect(session.state).toBe('Opened')
  })
})

describe('run', () => {
  it('prints what the job says and ends as it ends', async () => {
    const peer = new FakePeer()
    peer.onStart = (job) => void job.yields('a', 2).end()
    expect(await errand(['run', '-e', 'x'], { peer })).toEqual({ code: 0, out: 'a\n2\n', err: '' })
    expect(peer.live[0]?.hasMoreData).toBe(false)
    peer.onStart = (job) =>
      void job.end('Failed', { exitCode: 7, reason: failure('COMMAND_EXIT', 'x ended with exit code 7') })
    expect(await errand(['run', 'x'], { peer })).toEqual({ code: 7, out: '', err: '' })
    peer.onStart = (job) => void job.end('Failed', { reason: new Error('boom') })
    expect(await errand(['run', '-e', 'x'], { peer })).toEqual({ code: 1, out: '', err: 'ERROR: boom\n' })
    peer.onStart = (job) => void job.end('Failed', { reason: failure('COMMAND_NOT_FOUND', 'x: command not found') })
    expect(await errand(['run', 'x'], { peer })).toEqual({ code: 127, out: '', err: 'ERROR: x: command not found\n' })
  })
  it('says a failure as a document with --json', async () => {
    const peer = new FakePeer()
    peer.onStart = (job) => void job.yields(1).end('Failed', { reason: new TypeError('boom') })
    const { code, out, err } = await errand(['run', '--json', '-e', 'x'], { peer })
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({ seq: 0, kind: 'output', value: 1 })
    expect(JSON.parse(err)).toMatchObject({ error: { code: 'JOB_FAILED', message: expect.stringContaining('boom') } })
  })
  it('says where lines come from when there are several places', async () => {
    const peer = new FakePeer()
    peer.onStart = (job) => {
      for (const child of job.children) child.yields(`from ${child.location}`).end()
      job.end()
    }
    expect((await errand(['run', '--on', 'a,b', 'x'], { peer })).out).toBe('a | from a\nb | from b\n')
    expect((await errand(['run', '--on', 'a', 'x'], { peer })).out).toBe('from a\n')
    expect((await errand(['run', '--on', 'a,b', '--prefix', 'never', 'x'], { peer })).out).toBe('from a\nfrom b\n')
  })
  it('--rm removes the job, Invoke-Command does so by itself', async () => {
    const peer = new FakePeer()
    await errand(['run', 'x'], { peer })
    await errand(['run', '--rm', 'x'], { peer })
    await errand(['icm', '{ 1 }'], { peer })
    expect(peer.live.map(({ id }) => id)).toEqual([1])
  })
  it('ends with 125 when a command could not be started by us, and as ever when there is a better reason', async () => {
    const peer = new FakePeer()
    peer.start = async () => {
      throw failure('LIMIT', 'too many jobs')
    }
    expect(await errand(['run', 'x'], { peer })).toMatchObject({ code: 125, err: 'errand: too many jobs\n' })
    expect(await errand(['run', '-e', 'x'], { peer })).toMatchObject({ code: 1 })
    peer.start = async () => {
      throw failure('DENIED', 'no')
    }
    expect(await errand(['run', 'x'], { peer })).toMatchObject({ code: 4 })
  })

  it('Ctrl-C once stops the job and says so, twice kills', async () => {
    const peer = running()
    const one = new Running(['run', '--rm', 'x'], { peer })
    await peerHas(peer, 1)
    const job = peer.table[0]!
    job.onStop = ({ grace }) => void (grace === 0 && job.end('Stopped'))
    job.yields('a')
    await one.stdout.has('a\n')
    one.signals.emit('SIGINT')
    await one.stderr.has('stopping job 1, again to kill')
    expect(job.state).toBe('Running')
    one.signals.emit('SIGINT')
    const { code, err } = await one.ended
    expect(code).toBe(130)
    expect(err).toBe('errand: stopping job 1, again to kill\nerrand: killing job 1\n')
    expect(job.calls.filter(([call]) => call === 'stop')).toEqual([
      ['stop', {}],
      ['stop', { grace: 0 }],
    ])
    expect(job.removed).toBe(true)
  })
  it('prints what a job still says while it stops', async () => {
    const peer = running()
    const one = new Running(['run', 'x'], { peer })
    await peerHas(peer, 1)
    peer.table[0]!.onStop = () => void peer.table[0]!.yields('bye').end('Stopped')
    peer.table[0]!.yields('a')
    await one.stdout.has('a\n')
    one.signals.emit('SIGTERM')
    expect(await one.ended).toMatchObject({ code: 143, out: 'a\nbye\n' })
  })
  it('leaves a job that cannot be reached, and says so', async () => {
    const peer = running()
    const one = new Running(['run', '--on', 'a', 'x'], { peer })
    await peerHas(peer, 1)
    peer.table[0]!.onStop = () => {
      throw failure('PEER_UNREACHABLE', 'a cannot be reached')
    }
    peer.table[0]!.children[0]!.yields('x')
    await one.stdout.has('x')
    one.signals.emit('SIGINT')
    expect(await one.ended).toMatchObject({ code: 130, err: expect.stringContaining('a cannot be reached') })
  })
  it('leaves at the third Ctrl-C, whatever the job does', async () => {
    const peer = running()
    const one = new Running(['run', 'x'], { peer })
    await peerHas(peer, 1)
    peer.table[0]!.onStop = () => {}
    peer.table[0]!.yields('x')
    await one.stdout.has('x')
    for (let time = 0; time < 3; time++) one.signals.emit('SIGINT')
    expect(await one.ended).toMatchObject({ code: 130 })
  })
  it('stops what is only just being started', async () => {
    const peer = running()
    const gate = Promise.withResolvers<void>()
    const starting = Promise.withResolvers<void>()
    const start = peer.start.bind(peer)
    peer.start = async (work, options) => {
      starting.resolve()
      await gate.promise
      return start(work, options)
    }
    const one = new Running(['run', 'x'], { peer })
    await starting.promise
    one.signals.emit('SIGINT')
    gate.resolve()
    expect(await one.ended).toMatchObject({ code: 130, err: 'errand: stopping it as soon as it has started\n' })
    expect(peer.table[0]?.state).toBe('Stopped')
  })
})

/** Settles when the peer has so many jobs. */
async function peerHas(peer: FakePeer, jobs: number): Promise<void> {
  if (peer.table.length >= jobs) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const before = peer.onStart
  peer.onStart = (job) => {
    before(job)
    resolve()
  }
  await promise
}

describe('list', () => {
  const jobs = async (): Promise<FakePeer> => {
    const peer = running()
    await peer.start(['ls'])
    peer.table[0]!.yields(1).end()
    await peer.start(['x'], { on: ['a', 'b'] })
    return peer
  }
  it('is a table, ids, a document, or PowerShell as it was', async () => {
    const peer = await jobs()
    expect((await errand(['list'], { peer })).out).toMatch(
      /^ID +NAME +TYPE +STATE +MORE +LOCATION +COMMAND\n1 .*\n2 .*\n$/,
    )
    expect((await errand(['list', '-q'], { peer })).out).toBe('1\n2\n')
    expect(JSON.parse((await errand(['list', '--json'], { peer })).out)).toMatchObject([
      { id: 1 },
      { id: 2, children: [{ id: '2.1' }, { id: '2.2' }] },
    ])
    expect(JSON.parse((await errand(['list', '--json=id,state'], { peer })).out)).toEqual([
      { id: 1, state: 'Completed' },
      { id: 2, state: 'Running' },
    ])
    expect((await errand(['gjb'], { peer })).out).toMatch(
      /^Id {5}Name {12}PSJobTypeName {3}State {9}HasMoreData {5}Location {13}Command\n--/,
    )
  })
  it('names jobs, also children', async () => {
    const peer = await jobs()
    expect((await errand(['list', '-q', '2', '2.1'], { peer })).out).toBe('2\n2.1\n')
    expect((await errand(['list', '-q', '--children', '2'], { peer })).out).toBe('2\n2.1\n2.2\n')
    expect(await errand(['list', '9'], { peer })).toMatchObject({ code: 3 })
  })
  it('hands filters to the table', async () => {
    const peer = await jobs()
    await errand(
      [
        'list',
        '-s',
        'running,Completed',
        '--name',
        'J*',
        '--has-more',
        '--newest',
        '2',
        '--children',
        '--before',
        '2026-11-22T00:00:00Z',
      ],
      { peer },
    )
    expect(peer.filters[0]).toEqual({
      state: ['Running', 'Completed'],
      name: 'J*',
      hasMoreData: true,
      newest: 2,
      includeChildren: true,
      before: new Date('2026-11-22T00:00:00Z'),
    })
    const now = Date.now()
    await errand(['list', '--after', '5m'], { peer })
    expect(now - (peer.filters[1]?.after?.getTime() ?? 0)).toBeGreaterThan(290_000)
  })
  it('prints nothing for none but a word, and no word when quiet', async () => {
    expect(await errand(['list'])).toEqual({ code: 0, out: '', err: 'no jobs\n' })
    expect(await errand(['list', '-q'])).toEqual({ code: 0, out: '', err: '' })
    expect(await errand(['list', '--json'])).toEqual({ code: 0, out: '[]\n', err: '' })
  })
  it('asks several tables, and all there are', async () => {
    const peer = (await jobs()).knows('server01', 'server02')
    await (await peer.home('server01')).start(['far'])
    const home = peer.home.bind(peer)
    peer.home = async (on) => {
      if (on === 'server02') throw failure('PEER_UNREACHABLE', 'server02 cannot be reached')
      return home(on)
    }
    const all = await errand(['list', '--at', 'all'], { peer })
    expect(all.code).toBe(0)
    expect(all.out).toMatch(/^AT +ID .*\nlaptop +1 .*\nlaptop +2 .*\nserver01 +1 .*far\n$/)
    expect(all.err).toBe('errand: server02: server02 cannot be reached\n')
    expect((await errand(['list', '-q', '--at', 'server01'], { peer })).out).toBe('1\n')
    expect(await errand(['list', '--at', 'server02'], { peer })).toMatchObject({ code: 5 })
  })
})

describe('receive and logs', () => {
  const spoken = async (): Promise<{ peer: FakePeer; job: FakeJob }> => {
    const peer = running()
    await peer.start(['x'])
    return { peer, job: peer.table[0]!.yields('a', 'b', 'c') }
  }
  it('prints what is new, and leaves the cursor with --keep', async () => {
    const { peer, job } = await spoken()
    expect((await errand(['receive', '1', '--keep'], { peer })).out).toBe('a\nb\nc\n')
    expect((await errand(['Receive-Job', '-SessionId', '1', '-Keep'], { peer })).out).toBe('a\nb\nc\n')
    expect((await errand(['receive', '1'], { peer })).out).toBe('a\nb\nc\n')
    job.yields('d')
    expect((await errand(['receive', '1'], { peer })).out).toBe('d\n')
    expect((await errand(['receive', '1'], { peer })).out).toBe('')
    expect((await errand(['receive', '1', '--reader', 'other'], { peer })).out).toBe('a\nb\nc\nd\n')
    expect((await errand(['logs', '1'], { peer })).out).toBe('a\nb\nc\nd\n')
    expect((await errand(['receive', '1', '--from', '2'], { peer })).out).toBe('c\nd\n')
  })
  it('writes changes of state among the records, where it was asked to', async () => {
    const { peer, job } = await spoken()
    const one = new Running(['receive', '1', '--wait', '--write-events'], { peer })
    await one.stderr.has('Running')
    job.end()
    expect(await one.ended).toEqual({
      code: 0,
      out: 'a\nb\nc\n',
      err: 'job 1 Job1 is Running\njob 1 Job1 is Completed\n',
    })
    const { out } = await errand(['receive', '1', '--wait', '--write-events', '--json'], { peer })
    expect(out.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as unknown]))).toMatchObject([
      { kind: 'state', state: 'Running', jobId: job.instanceId },
      { kind: 'state', state: 'Completed', location: 'localhost' },
    ])
    const picked = await errand(['receive', '1', '--wait', '--write-events', '--json=state'], { peer })
    expect(picked.out).toBe('{"state":"Running"}\n{"state":"Completed"}\n')
    expect(await errand(['receive', '1', '--write-events'], { peer })).toMatchObject({ code: 2 })
  })
  it('chooses kinds and the last of them', async () => {
    const { peer, job } = await spoken()
    job.say({ kind: 'warning', value: 'w' })
    expect(await errand(['logs', '1', '--kind', 'warning'], { peer })).toMatchObject({ out: '', err: 'WARNING: w\n' })
    expect((await errand(['logs', '1', '--tail', '2'], { peer })).out).toBe('c\n')
    expect((await errand(['logs', '1', '--tail', '0'], { peer })).out).toBe('')
  })
  it('--wait goes on to the end and ends as the job ends', async () => {
    const { peer, job } = await spoken()
    const one = new Running(['receive', '1', '--wait', '--auto-remove'], { peer })
    await one.stdout.has('c\n')
    job.yields('d').end('Failed', { exitCode: 4 })
    expect(await one.ended).toMatchObject({ code: 4, out: 'a\nb\nc\nd\n' })
    expect(job.removed).toBe(true)
  })
  it('--follow ends with 0 as the job ends, and only detaches at Ctrl-C', async () => {
    const { peer, job } = await spoken()
    const one = new Running(['receive', '1', '-f'], { peer })
    await one.stdout.has('c\n')
    one.signals.emit('SIGINT')
    const goesOn = 'errand: job 1 goes on; `errand receive 1 --follow` follows again\n'
    expect(await one.ended).toMatchObject({ code: 130, err: goesOn })
    expect(job.state).toBe('Running')
    job.yields('d').end('Failed')
    expect(await errand(['receive', '1', '-f'], { peer })).toMatchObject({ code: 0, out: 'd\n' })
  })
  it('--follow --tail goes on behind the last record shown, also where the cursor stays', async () => {
    const { peer, job } = await spoken()
    const one = new Running(['logs', '1', '-f', '--tail', '1'], { peer })
    await one.stdout.has('c\n')
    job.yields('d').end()
    expect(await one.ended).toMatchObject({ code: 0, out: 'c\nd\n' })
  })
  it('says at each receive why a job failed', async () => {
    const { peer, job } = await spoken()
    job.end('Failed', { reason: new Error('boom') })
    expect(await errand(['receive', '1'], { peer })).toMatchObject({ code: 0, err: 'ERROR: boom\n' })
    expect(await errand(['receive', '1'], { peer })).toMatchObject({ code: 0, out: '', err: 'ERROR: boom\n' })
    expect(await errand(['receive', '1', '--json'], { peer })).toMatchObject({ code: 0, err: '' })
  })
  it('asks each child where records are counted', async () => {
    const peer = running()
    await peer.start(['x'], { on: ['a', 'b'] })
    const [a, b] = peer.table[0]!.children
    a!.yields(1, 2)
    b!.yields(3)
    expect((await errand(['logs', '1'], { peer })).out).toBe('a | 1\na | 2\nb | 3\n')
    expect((await errand(['logs', '1', '--location', 'B'], { peer })).out).toBe('')
    expect((await errand(['logs', '1', '--location', 'b'], { peer })).out).toBe('b | 3\n')
    expect((await errand(['logs', '1.1', '--tail', '1'], { peer })).out).toBe('2\n')
    expect((await errand(['receive', '1', '--no-recurse'], { peer })).out).toBe('')
    expect((await errand(['receive', '1'], { peer })).out).toBe('a | 1\na | 2\nb | 3\n')
  })
  it('has the file written where the table is', async () => {
    const { peer, job } = await spoken()
    await errand(['receive', '1', '-o', 'log.txt', '--keep', '--kind', 'output'], { peer, cwd: '/srv/dir' })
    expect(job.calls).toEqual([
      ['save', expect.objectContaining({ path: '/srv/dir/log.txt', keep: true, kinds: ['output'], format: 'text' })],
    ])
    peer.knows('server01')
    const far = (await (await peer.home('server01')).start(['x'])) as FakeJob
    await errand(['--at', 'server01', 'receive', '1', '-o', 'log.txt', '--json'], { peer })
    expect(far.calls).toEqual([['save', expect.objectContaining({ path: 'log.txt', format: 'ndjson' })]])
  })
  it('takes ids from stdin, as wait prints them', async () => {
    const { peer } = await spoken()
    expect((await errand(['receive', '-'], { peer, stdin: 'server01 1\n\n' })).out).toBe('a\nb\nc\n')
  })
})

describe('wait, stop, remove', () => {
  it('waits for all, in the order they were named', async () => {
    const peer = running()
    await peer.start(['a'])
    await peer.start(['b'])
    const one = new Running(['wait', '2', '1', 'Job2'], { peer })
    peer.table[0]!.end()
    peer.table[1]!.end()
    expect(await one.ended).toEqual({ code: 0, out: '2\n1\n', err: '' })
  })
  it('--any is the first that is finished', async () => {
    const peer = running()
    for (const name of ['a', 'b', 'c']) await peer.start([name])
    peer.table[1]!.end('Failed', { exitCode: 9 })
    expect(await errand(['wait', '--any', '1', '2', '3'], { peer })).toMatchObject({ code: 9, out: '2\n' })
    expect(peer.table.map(({ state }) => state)).toEqual(['Running', 'Failed', 'Running'])
  })
  it('--for a state is done when it is there', async () => {
    const peer = running()
    await peer.start(['a'])
    expect(await errand(['wait', '1', '--for', 'running'], { peer })).toMatchObject({ code: 0, out: '1\n' })
    peer.table[0]!.end('Failed')
    expect(await errand(['wait', '1', '--for', 'Running'], { peer })).toMatchObject({ code: 1, out: '1\n' })
  })
  it('prints nothing when its time is up', async () => {
    const peer = running()
    await peer.start(['a'])
    expect(await errand(['wait', '1', '--timeout', '5ms'], { peer })).toMatchObject({ code: 124, out: '' })
    expect(await errand(['Wait-Job', '1', '-Timeout', '0'], { peer })).toMatchObject({ code: 124, out: '' })
  })
  it('stops with the grace that was given', async () => {
    const peer = running()
    await peer.start(['a'])
    await peer.start(['b'])
    expect(await errand(['stop', '1', '2', '--grace', '2s'], { peer })).toEqual({ code: 0, out: '', err: '' })
    expect(peer.table.map(({ calls }) => calls)).toEqual([[['stop', { grace: 2000 }]], [['stop', { grace: 2000 }]]])
  })
  it('stops all that have not ended, by force where it is to be', async () => {
    const peer = running()
    for (const name of ['a', 'b', 'c']) await peer.start([name])
    peer.table[0]!.end()
    expect(await errand(['stop', '--all', '--kill'], { peer })).toEqual({ code: 0, out: '', err: '' })
    expect(peer.table.map(({ calls }) => calls)).toEqual([[], [['stop', { grace: 0 }]], [['stop', { grace: 0 }]]])
    expect(await errand(['stop', '--all'], { peer })).toEqual({ code: 0, out: '', err: 'no job runs\n' })
    for (const odd of [[], ['1', '--all'], ['1', '--kill', '--grace', '1s']])
      expect(await errand(['stop', ...odd], { peer })).toMatchObject({ code: 2 })
  })
  it('takes a name with a wildcard for all that are like it, and none is no mistake', async () => {
    const peer = running()
    for (const name of ['build-1', 'build-2', 'other']) await peer.start(['x'], { name })
    expect(await errand(['stop', 'build-*'], { peer })).toMatchObject({ code: 0 })
    expect(peer.table.map(({ state }) => state)).toEqual(['Stopped', 'Stopped', 'Running'])
    expect(await errand(['Remove-Job', '-Name', 'BUILD*'], { peer })).toMatchObject({ code: 0 })
    expect(peer.live.map(({ name }) => name)).toEqual(['other'])
    expect(await errand(['wait', 'build-*'], { peer })).toMatchObject({ code: 0, out: '' })
    expect(await errand(['wait', 'build-1'], { peer })).toMatchObject({ code: 3 })
  })
  it('says each failure and stops the others all the same', async () => {
    const peer = running()
    await peer.start(['a'])
    await peer.start(['b'])
    peer.table[0]!.onStop = () => {
      throw failure('PEER_UNREACHABLE', 'a cannot be reached')
    }
    expect(await errand(['stop', '1', '2'], { peer })).toEqual({
      code: 5,
      out: '',
      err: 'errand: a cannot be reached\n',
    })
    expect(peer.table[1]?.state).toBe('Stopped')
  })
  it('removes what is finished, and with --force what is not', async () => {
    const peer = running()
    await peer.start(['a'])
    expect(await errand(['remove', '1'], { peer })).toMatchObject({
      code: 1,
      err: expect.stringContaining('not finished'),
    })
    expect(peer.live).toHaveLength(1)
    expect(await errand(['remove', '1', '--force'], { peer })).toMatchObject({ code: 0 })
    expect(peer.live).toHaveLength(0)
  })
  it('removes all that have ended, or have ended long ago', async () => {
    const peer = running()
    for (const name of ['a', 'b', 'c']) await peer.start([name])
    peer.table[0]!.end()
    peer.table[2]!.end('Failed')
    expect(await errand(['remove', '--older-than', '7d'], { peer })).toMatchObject({ code: 0, out: '' })
    const { state, before } = peer.filters.at(-1)!
    expect(state).toEqual(['Completed', 'Failed', 'Stopped'])
    expect(Date.now() - before!.getTime()).toBeGreaterThanOrEqual(7 * 86_400_000)
    await peer.start(['d'])
    peer.table[3]!.end()
    expect(await errand(['remove', '--finished'], { peer })).toEqual({ code: 0, out: '', err: '1 job removed\n' })
    expect(peer.live.map(({ command }) => command)).toEqual(['b'])
    for (const odd of [[], ['1', '--finished'], ['--finished', '--force']])
      expect(await errand(['remove', ...odd], { peer })).toMatchObject({ code: 2 })
  })
  it('asks a person before it ends several, and nobody else', async () => {
    const jobs = async (): Promise<FakePeer> => {
      const peer = running()
      await peer.start(['a'])
      await peer.start(['b'])
      return peer
    }
    const asked = async (answer: string, argv: string[]): Promise<[number, number]> => {
      const peer = await jobs()
      const one = new Running(argv, { peer, columns: 80 })
      one.stdin.isTTY = true
      one.stdin.write(answer)
      const { code } = await one.ended
      return [code, peer.live.length]
    }
    expect(await asked('n\n', ['remove', '--force', '1', '2'])).toEqual([1, 2])
    expect(await asked('y\n', ['remove', '--force', '1', '2'])).toEqual([0, 0])
    expect(await asked('', ['remove', '--force', '--yes', '1', '2'])).toEqual([0, 0])
    expect(await asked('n\n', ['stop', '--all'])).toEqual([1, 2])
    expect(await asked('', ['stop', '--all', '--yes'])).toEqual([0, 2])
    const piped = await jobs()
    expect(await errand(['remove', '--force', '1', '2'], { peer: piped })).toMatchObject({ code: 0 })
    expect(piped.live).toHaveLength(0)
  })
})

describe('inspect', () => {
  it('says all that is known of a job, and what to do', async () => {
    const peer = running()
    await peer.start(['make', 'all'])
    const job = peer.table[0]!.yields('x')
    job.end('Failed', { reason: failure('COMMAND_EXIT', 'make ended with exit code 2'), exitCode: 2 })
    const { code, out } = await errand(['inspect', '1'], { peer })
    expect(code).toBe(0)
    expect(out).toMatch(/^job 1 {2}Job1\nstate {6}Failed since \d{4}-/)
    for (const line of [
      'why        make ended with exit code 2 (COMMAND_EXIT)',
      'to read    errand receive 1',
      'exit code  2',
      'command    make all',
    ])
      expect(out.split('\n')).toContain(line)
    expect(JSON.parse((await errand(['inspect', '1', '--json'], { peer })).out)).toMatchObject({
      id: 1,
      state: 'Failed',
      reason: { code: 'COMMAND_EXIT' },
    })
  })
  it('says what a Blocked job asks, with the line that answers it', async () => {
    const peer = running()
    await peer.start(['x'])
    peer.table[0]!.asks('Go on?', { choices: ['yes', 'no'] })
    const { out } = await errand(['inspect', '1'], { peer })
    expect(out).toContain('asks      Go on? (yes, no)\n          errand answer 1 yes\n')
  })
  it('knows sessions and peers too, and takes a word for a job first', async () => {
    const peer = running().knows('build', 'server01')
    peer.hold(new FakeSession(4, 'server01', 'build'))
    expect((await errand(['inspect', 'build'], { peer })).out).toMatch(/^session 4 {2}build\n/)
    expect((await errand(['inspect', 'peer:build'], { peer })).out).toMatch(/^peer build\n/)
    expect((await errand(['inspect', 'SERVER01'], { peer })).out).toMatch(/^peer server01\n/)
    await peer.start(['x'], { name: 'build' })
    expect((await errand(['inspect', 'build'], { peer })).out).toMatch(/^job 1 {2}build\n/)
    expect((await errand(['inspect', 'session:build'], { peer })).out).toMatch(/^session 4 {2}build\n/)
    const both = await errand(['inspect', 'build', 'peer:server01', '--json'], { peer })
    expect(JSON.parse(both.out)).toMatchObject([{ name: 'build', command: 'x' }, { name: 'server01' }])
  })
  it.each([
    ['7', 'no job 7 on laptop\n'],
    ['job:7', 'no job 7 on laptop\n'],
    ['session:7', "there is no session '7'"],
    ['peer:x', "there is no peer 'x'"],
    ['x', "no job 'x' on laptop, nor a session, peer or actor of that name\n"],
  ])('%s is not there: 3', async (word, said) => {
    expect(await errand(['inspect', word])).toMatchObject({ code: 3, err: expect.stringContaining(said) })
  })
  it('says of a job elsewhere what others say when it is not there, and when it is, lines that speak of that place', async () => {
    const peer = new FakePeer().knows('server01')
    const home = (await peer.home('server01')) as FakeSession
    for (const word of ['7', 'job:7', 'x']) {
      const { err: told } = await errand(['--at', 'server01', 'receive', word.replace('job:', '')], { peer })
      const { err } = await errand(['--at', 'server01', 'inspect', word], { peer })
      expect(err.split('\n')[0]).toContain(told.split('\n')[0])
    }
    home.onStart = (job) => void job.yields('a').asks('Go on?', { choices: ['yes', 'no'] })
    const job = await home.start(['x'])
    const { out } = await errand(['--at', 'server01', 'inspect', String(job.id)], { peer })
    expect(out).toContain(`errand --at server01 receive ${job.id}\n`)
    expect(out).toContain(`errand --at server01 answer ${job.id} yes\n`)
    const { err } = await errand(['--at', 'server01', 'wait', String(job.id), '--timeout', '50ms'], { peer })
    expect(err).toContain(`errand --at server01 answer ${job.id} yes\n`)
    const listed = await errand(['--at', 'server01', 'list'], { peer })
    expect(listed.err).toContain(`errand --at server01 answer ${job.id} yes\n`)
  })
})

describe('launch', () => {
  it('prints the pid of what is no job', async () => {
    const peer = new FakePeer()
    expect(await errand(['launch', '--', 'sleep', '5'], { peer, env: { A: '1' } })).toEqual({
      code: 0,
      out: '4711\n',
      err: '',
    })
    expect(peer.launched).toEqual([[['sleep', '5'], { cwd: '/srv/dir', env: expect.objectContaining({ A: '1' }) }]])
    expect(peer.table).toEqual([])
    expect(await errand(['launch'], { peer })).toMatchObject({ code: 2 })
  })
})
