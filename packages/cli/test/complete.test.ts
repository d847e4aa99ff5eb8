// What may stand where the cursor is: the table alone, then with a peer behind it.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { wantedAt } from '../src/complete.ts'
import { COMMANDS, FIRST_WORDS } from '../src/grammar.ts'
import { FakePeer, failure, FakeSession } from './fake-peer.ts'
import { errand } from './harness.ts'

const valuesAt = async (...words: string[]): Promise<string[]> =>
  (await wantedAt(words)).candidates.map(({ value }) => value)

describe('wantedAt', () => {
  it('knows every word that a line can begin with, and no hidden one', async () => {
    const words = await valuesAt('')
    expect(words).toEqual([...FIRST_WORDS])
    expect(words).not.toContain('__complete')
    expect(words.length).toBeGreaterThan(15)
  })
  it('offers cmdlets to who types one', async () => {
    expect(await valuesAt('Get-')).toContain('Get-PSSession')
    expect(await valuesAt('get')).toContain('Get-Job')
    expect(await valuesAt('re')).not.toContain('Receive-Job')
  })
  it('knows the flags of each command that people type', async () => {
    for (const { path, hidden } of COMMANDS) {
      if (hidden) continue
      expect(await valuesAt(...path.split(' '), '-'), path).toContain('--timeout')
    }
  })
  it.each([
    [
      ['list', '-s', ''],
      ['Running', 'Completed'],
    ],
    [['list', '-qs', ''], ['Running']],
    [['session', 'list', '--state', ''], ['Broken']],
    [
      ['run', '--engine', ''],
      ['thread', 'process'],
    ],
    [['run', '--engine=t'], ['thread']],
    [
      ['receive', '--kind', ''],
      ['progress', 'gap'],
    ],
    [
      ['invite', '--grant', ''],
      ['run:command', 'admin'],
    ],
    [['--color', ''], ['never']],
    [['list', '--at', 'x', '--color', ''], ['never']],
    [['Get-PSSession', '-State', ''], ['Broken']],
    [['gjb', '-'], ['-IncludeChildJob']],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [
      ['help', ''],
      ['start', 'session', 'peer'],
    ],
    [['run', 'a.ts', '-'], ['--on']],
    [['-'], ['--on', '--at', '--home']],
  ])('%j: %j', async (words, among) => {
    expect(await valuesAt(...words)).toEqual(expect.arrayContaining(among))
  })
  it.each([
    [['receive', ''], ['JOB']],
    [['--at', 'a', 'receive', '1', ''], ['JOB']],
    [['wait', '--timeout', '3s', ''], ['JOB']],
    [['session', 'connect', ''], ['SESSION']],
    [
      ['enter', ''],
      ['PEER', 'SESSION'],
    ],
    [['peer', 'ping', ''], ['PEER']],
    [['run', '--on', ''], ['PLACE']],
    [['run', '--on=a,'], ['PLACE']],
    [['icm', '-cn', ''], ['PLACE']],
    [['Receive-Job', '-Id', ''], ['JOB']],
    [['Receive-Job', ''], ['JOB']],
    [['list', '--json='], ['FIELD']],
    [['help', 'ex'], ['TOPIC']],
    [['up', ''], []],
    [['join', ''], []],
    [['send', '1', ''], ['EVENT']],
    [['send', '1', 'approve', ''], []],
    [['ask', ''], ['JOB']],
    [['ask', '1', ''], ['EVENT']],
    [['ask', '1', 'price', ''], []],
    [['spawn', ''], ['MACHINE']],
    [['up', '--offer', ''], []],
    [['nonsense', ''], []],
  ])('%j asks for %j', async (words, sources) => {
    expect((await wantedAt(words)).sources).toEqual(sources)
  })
  it.each([
    [['run', ''], 'PROGRAM'],
    [['run', '--', ''], 'PROGRAM'],
    [['run', 'ls', ''], 'FILE'],
    [['run', 'ls', '-'], 'FILE'],
    [['run', '--on', 'a', 'ls', '--on', ''], 'FILE'],
    [['run', '-C', ''], 'FOLDER'],
    [['receive', '1', '-o', ''], 'FILE'],
    [['map', ''], 'FILE'],
    [['run', '--input', '@'], 'FILE'],
    [['list', ''], undefined],
  ])('%j leaves the shell to find a %s', async (words, shell) => {
    expect((await wantedAt(words)).shell).toBe(shell)
  })
  it('keeps what stands before in the same word', async () => {
    expect(await wantedAt(['list', '-s', 'Running,Fa'])).toMatchObject({ prefix: 'Running,', typed: 'Fa' })
    expect(await wantedAt(['run', '--on=a,b'])).toMatchObject({ prefix: '--on=a,', typed: 'b' })
    expect(await wantedAt(['run', '--input', '@f'])).toMatchObject({ prefix: '@', typed: 'f' })
  })
})

describe('errand __complete', () => {
  const complete = async (peer: FakePeer, ...words: string[]): Promise<string[]> => {
    const { code, out, err } = await errand(['__complete', '--', ...words], { peer })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    return out.trimEnd().split('\n').slice(1)
  }
  const busy = async (): Promise<FakePeer> => {
    const peer = new FakePeer().knows('server01', 'windows')
    peer.onStart = () => {}
    const web = await peer.start(['x'], { name: 'web' })
    const done = await peer.start(['y'])
    ;(done as unknown as { end(): void }).end()
    expect(web.state).toBe('Running')
    peer.hold(new FakeSession(4, 'server01', 'work'))
    return peer
  }

  it('gives jobs, the newest first, with their state and name', async () => {
    const peer = await busy()
    expect(await complete(peer, 'receive', '')).toEqual(['2\tCompleted  Job2', '1\tRunning  web'])
    expect(await complete(peer, 'stop', '')).toEqual(['1\tRunning  web'])
    expect(await complete(peer, 'receive', '2', '')).toEqual(['1\tRunning  web'])
    expect((await complete(peer, 'receive', 'w')).map((line) => line.split('\t')[0])).toEqual(['web'])
  })
  it('gives peers and sessions, also in lists', async () => {
    const peer = await busy()
    expect(await complete(peer, 'run', '--on', 'windows,ser')).toEqual(['windows,server01\tpeer'])
    expect(await complete(peer, 'run', '--on', 'sess')).toEqual(['session:work\tsession 4  Opened  server01'])
    expect(await complete(peer, 'session', 'remove', '')).toEqual(['4\tsession work  Opened  server01'])
    expect(await complete(peer, 'list', '--json=id,sta')).toEqual(['--json=id,state'])
  })
  it('says nothing of what is wrong, and shows no control characters', async () => {
    const peer = await busy()
    await peer.start(['z'], { name: 'bad\u001b[2Jname' })
    expect(await complete(peer, 'receive', 'bad')).toEqual([])
    expect((await complete(peer, 'receive', '3'))[0]).toBe('3\tRunning  bad [2Jname')
    peer.jobs = async () => {
      throw failure('DENIED', 'no')
    }
    expect(await complete(peer, 'receive', '')).toEqual([])
  })
  it('starts no daemon, and knows the peers all the same', async () => {
    const home = mkdtempSync(join(tmpdir(), 'errand-'))
    writeFileSync(
      join(home, 'peers.json'),
      JSON.stringify({
        version: 1,
        peers: [{ name: 'server01', id: 'x', addresses: [], grants: [] }],
        invitations: [],
      }),
    )
    // `--home` of the line that is typed.
    expect(await complete(new FakePeer(), '--home', home, 'peer', 'ping', '')).toEqual(['server01\tpeer'])
    expect(await complete(new FakePeer(), '--home', home, 'receive', '')).toEqual([])
    expect(readdirSync(home)).toEqual(['peers.json'])
    rmSync(home, { recursive: true })
  })
})
