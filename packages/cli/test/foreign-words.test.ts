// oxlint-disable no-control-regex -- control characters are what is looked for
// What others chose — names of peers, jobs and sessions, commands, reasons — is shown without anything that the terminal of
// who reads it would obey, and without lines that look like ours.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PeerEvent } from '@errand/runtime/client'
import { watchFrame, jobFacts, type WatchView } from '../src/render/watch.ts'
import { Terminal } from '../src/terminal.ts'
import { FakeJob, FakePeer, FakeSession, failure } from './fake-peer.ts'
import { Running, Sink } from './harness.ts'
import { Machines } from './support/machines.ts'

/** A title, two colours, a line of its own, letters turned around. */
const BAD = 'seen\u001b]0;X\u0007\u001b[31m\u001b[35m\u009b31m\u202e\nerrand: forged'
/** What a table that is drawn anew where it stands says to the terminal itself. */
const REDRAWN = /\u001b\[[KJ]|\u001b\[\d+A|\r/g

/** It is shown, nothing of it is obeyed, and nothing looks like a line that we began. */
function expectPlain(text: string): void {
  expectHarmless(text)
  expect(text).not.toMatch(/^errand: forged/m)
}

function expectHarmless(text: string): void {
  expect(text).toContain('seen')
  expect(text).not.toMatch(/(?!\n)[\p{Cc}\u202a-\u202e\u2066-\u2069]/u)
}

/** Everything in it is called so. */
function world(): FakePeer {
  const peer = new FakePeer()
  Object.assign(peer, { name: BAD })
  const reason = (): Error => failure('PEER_UNREACHABLE', BAD, BAD)
  const job = (id: number): FakeJob => {
    return new FakeJob(id, ['sh', '-c', BAD], { name: BAD }, { location: BAD, type: 'RemoteJob' })
  }
  peer.onStart = () => {}
  peer.add(job(1))
  peer.add(job(2)).end('Failed', { reason: reason() })
  peer.add(job(3)).asks(BAD, { choices: [BAD], default: BAD })
  peer.add(job(4)).become('Disconnected', reason())
  const parent = peer.add(job(5))
  parent.children = [new FakeJob(5, ['x'], { name: BAD }, { location: BAD, position: 1, type: 'RemoteJob' })]
  parent.children[0]!.end('Failed', { reason: reason() })
  parent.end('Failed', { reason: reason() })
  peer.add(job(6)).onStop = () => {
    throw reason()
  }
  const session = peer.hold(new FakeSession(1, BAD, BAD))
  session.add(job(7))
  session.onRun = () => {
    throw reason()
  }
  peer.book.push({ name: BAD, id: 'far-id', addresses: [BAD], grants: [BAD as 'admin'], owner: BAD, connected: true })
  const at = new Date('2026-11-22T09:00:00Z')
  const states = [{ state: 'Failed' as const, at }]
  peer.tell(
    { kind: 'job', at, job: peer.table[1]!.snapshot, states },
    { kind: 'job', at, job: { ...peer.table[0]!.snapshot, name: `${BAD} 2` }, states: [{ state: 'Running', at }] },
    { kind: 'session', at, session: { ...session.snapshot, state: 'Broken', reason: reason() }, hosted: false },
    { kind: 'peer', at, peer: peer.book[0]!, wasConnected: false } as PeerEvent,
  )
  return peer
}

interface How {
  readonly stdin?: string
  /** Ctrl-C once this has been said. */
  readonly leave?: RegExp
  /** What a job says may have lines, as what its commands write. */
  readonly lines?: true
}

const asked: [string, readonly string[], How?][] = [
  ['a table of jobs', ['list']],
  ["PowerShell's table of jobs", ['Get-Job']],
  ['jobs as they change', ['list', '--watch'], { leave: /forged 2/ }],
  ['the same by their ids and places', ['--at', 'all', 'list', '--watch', '-q'], { leave: /forged/ }],
  ['a job', ['inspect', '1']],
  ['a job that has failed', ['inspect', '2']],
  ['a job that asks', ['inspect', '3']],
  ['a job with children', ['inspect', '5']],
  ['a session', ['inspect', 'session:1']],
  ['a session by its name', ['inspect', `session:${BAD}`]],
  ['a peer', ['inspect', 'peer:far-id']],
  ['what happens', ['events'], { leave: /peer seen.*connected/ }],
  ['a table of sessions', ['session', 'list']],
  ['a session with nothing to receive', ['session', 'receive', '1']],
  ['a table of peers', ['peer', 'list']],
  ['names of peers', ['peer', 'list', '-q']],
  ['whom we joined', ['join', 'errand1-x', '--name', BAD]],
  ['our own state', ['status']],
  ['places that cannot be asked', ['--at', 'all', 'list']],
  ['ids, each with its place', ['--at', 'all', 'wait', '2']],
  ['a question that is waited for', ['wait', '3'], { leave: /errand answer/ }],
  ['a link that is lost', ['wait', '4'], { leave: /forged/ }],
  ['what was waited for too long', ['wait', '3', '--timeout', '1ms', '-q']],
  ['what cannot be stopped', ['stop', '6']],
  ['changes of state', ['receive', '2', '--wait', '--write-events', '--keep'], { lines: true }],
  ['jobs that are not there', ['inspect', BAD]],
  ['a prompt, and what a line threw', ['enter', '1'], { stdin: 'x\n', lines: true }],
]

describe('words of others', () => {
  for (const color of ['never', 'always'] as const) {
    it.each(asked)(`%s (color: ${color})`, async (_, words, { stdin, leave, lines } = {}) => {
      const peer = world()
      if (words.includes('all')) {
        peer.home = (on) =>
          words.includes('wait') || words.includes('-q')
            ? Promise.resolve(Object.assign(new FakeSession(9, on), { table: [peer.table[1]!] }))
            : Promise.reject(failure('DENIED', BAD))
      }
      const running = new Running([...words, '--color', color], { peer, ...(stdin !== undefined && { stdin }) })
      if (leave) {
        await Promise.race([running.stdout.has(leave), running.stderr.has(leave)])
        running.signals.emit('SIGINT')
      }
      const { out, err } = await running.ended
      // Ours: bold, dim, and what is red or yellow. None of them in the words themselves.
      const said = out + err
      const shown = color === 'never' ? said : said.replaceAll(/\u001b\[(?:[12]|22|3[123]|39)m/g, '')
      if (lines) expectHarmless(shown)
      else expectPlain(shown)
      if (color === 'always') expect(said).not.toMatch(/seen.*\u001b\[3[15]m.*forged/)
    })
  }

  it('an error as a document, which is the same text', async () => {
    const { err } = await new Running(['stop', '6', '--json'], { peer: world() }).ended
    expectPlain(err)
    expect(JSON.parse(err)).toMatchObject({ error: { message: BAD, hint: BAD } })
  })

  it('a table that is drawn where it stands', async () => {
    const running = new Running(['list', '--watch', '--color', 'never'], { peer: world(), columns: 400 })
    await running.stdout.has(/forged 2/)
    running.signals.emit('SIGINT')
    expectPlain((await running.ended).out.replaceAll(REDRAWN, ''))
  })

  it('the whole screen', () => {
    const { snapshot } = world().table[1]!
    const shared = { tabs: ['1 jobs'], tab: 0, right: BAD, footer: BAD }
    const rows = [{ key: '1', cells: [BAD, BAD, ' 1s', BAD] }]
    const output = ['says']
    const bodies: WatchView['body'][] = [
      { kind: 'table', table: { titles: ['ID', 'NAME', 'TIME', 'LOCATION'], rows, selected: 0, empty: '' } },
      { kind: 'table', table: { titles: ['ID'], rows: [], selected: 0, empty: BAD } },
      { kind: 'job', facts: jobFacts(snapshot, BAD, new Date()), output },
    ]
    for (const body of bodies) {
      const lines = watchFrame({ ...shared, body }, { columns: 400, rows: 20 }, (_tone, text) => text)
      expect(lines.filter((line) => line.includes('\n'))).toEqual([])
      expectPlain(lines.join('\n'))
    }
  })
})

describe('what is said on stderr', () => {
  const said = (color: 'always' | 'never', say: (terminal: Terminal) => void): string => {
    const stderr = new Sink()
    say(new Terminal({ stdin: new PassThrough(), stdout: new Sink(), stderr }, {}, color))
    return stderr.text
  }
  it('is plain whoever forgot to see to it', () => {
    expect(said('never', (terminal) => terminal.say(`a ${BAD}\n\tb`))).toBe('a seen\nerrand: forged\n\tb\n')
  })
  it('keeps our colours, and nothing that hides or inverts', () => {
    const text = said('always', (terminal) => {
      terminal.say(`${terminal.word('yellow', 'warning:')} \u001b[8mhidden\u001b[7m\u001b[2J\u001b[40m\u202e`)
    })
    expect(text).toBe('\u001b[33mwarning:\u001b[39m hidden\n')
  })
  it('is as it is where it is passed on', () => {
    expect(said('never', (terminal) => terminal.passOn(BAD))).toBe(`${BAD}\n`)
  })
})

describe('what a job says', () => {
  const says = (): FakePeer => {
    const peer = new FakePeer()
    peer.onStart = () => {}
    peer
      .add(new FakeJob(1, ['x'], {}))
      .say({ kind: 'output', value: 'out \u001b[1mbold\u001b[0m' })
      .say({ kind: 'error', error: Object.assign(new Error('err \u001b[1mbold'), { name: 'NativeCommandError' }) })
      .say({ kind: 'error', error: new Error('one\u001b[2J\n\ttwo') })
      .say({ kind: 'warning', value: 'careful\u001b]0;X\u0007' })
      .end('Failed', { reason: failure('SCRIPT', 'why\u009b31m') })
    return peer
  }
  it('is as it is where a program wrote it, and plain behind a mark of ours', async () => {
    const { out, err } = await new Running(['receive', '1'], { peer: says() }).ended
    expect(out).toBe('out \u001b[1mbold\u001b[0m\n')
    expect(err).toBe('err \u001b[1mbold\nERROR: one\n\ttwo\nWARNING: careful\nERROR: why\n')
  })
  it('is as it is with --raw', async () => {
    const { err } = await new Running(['receive', '1', '--raw'], { peer: says() }).ended
    expect(err).toContain('ERROR: one\u001b[2J\n\ttwo\nWARNING: careful\u001b]0;X\u0007\n')
  })
  it('is the same text in a document', async () => {
    const { out } = await new Running(['receive', '1', '--json'], { peer: says() }).ended
    const records = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; value?: unknown })
    expect(records.find(({ kind }) => kind === 'warning')).toMatchObject({ value: 'careful\u001b]0;X\u0007' })
  })
})

describe('a name that a peer gives itself', { timeout: 120_000 }, () => {
  let machines: Machines
  beforeAll(async () => {
    machines = new Machines()
    // `up` refuses such a name: this one does not ask.
    for (const machine of ['guest', 'host']) {
      await mkdir(machines.home(machine), { mode: 0o700 })
      await writeFile(
        join(machines.home(machine), 'config.json'),
        JSON.stringify({ name: `${machine} ${BAD}${'x'.repeat(100)}`, listen: ['/ip4/127.0.0.1/tcp/0'] }),
      )
      await machines.start(machine)
    }
    await machines.pair('guest', 'host')
  }, 120_000)
  afterAll(() => machines[Symbol.asyncDispose](), 60_000)

  it('is a name in the book of who joins, and of who invited', async () => {
    for (const [machine, other] of [
      ['guest', 'host'],
      ['host', 'guest'],
    ] as const) {
      const names = await machines.ok(machine, 'peer', 'list', '-q')
      expect(names).toMatch(new RegExp(`^${other} seen[^\\n]*forgedx+\\n$`))
      expect(names.trimEnd()).toHaveLength(64)
      expectPlain(names)
      expectPlain(await machines.ok(machine, 'peer', 'list'))
      expectPlain((await machines.type(machine, ['doctor'])).stdout)
      expectPlain((await machines.type(machine, ['status'])).stdout)
      const { peers } = JSON.parse(await readFile(join(machines.home(machine), 'peers.json'), 'utf8')) as {
        peers: { name: string }[]
      }
      expect(peers.map(({ name }) => `${name}\n`)).toEqual([names])
    }
  })

  it('is plain in the words of who refuses too', async () => {
    const name = (await machines.ok('guest', 'peer', 'list', '-q')).trim()
    const guest = (await machines.ok('host', 'peer', 'list', '-q')).trim()
    await machines.ok('host', 'peer', 'deny', guest)
    const refused = await machines.type('guest', ['run', '--on', name, '-e', '1'])
    expect(refused.code).toBe(4)
    expectHarmless(refused.stderr)
    expectPlain((await machines.type('guest', ['doctor'])).stdout)
  })

  it.each([
    ['--name', 'srv\u001b]0;PWNED\u0007\u001b[31mx'],
    ['--name', 'srv\u202ex'],
    ['--name', '12.3'],
    ['--name', 'x'.repeat(65)],
    ['--listen', '/ip4/127.0.0.1/tcp/70000'],
    ['--bootstrap', '/ip4/127.0.0.1/tcp/1'],
    ['--lost-after', 'soon'],
    ['--store', ''],
  ])('is refused by `up` as by `config set`, and so is the rest: %s %j', async (flag, value) => {
    const key = flag.slice(2)
    const up = await new Running(['up', flag, value]).ended
    const set = await new Running(['config', 'set', key, value]).ended
    expect(up).toMatchObject({ code: 2, out: '' })
    expect(up.err).toBe(set.err)
    expect(up.err).not.toMatch(/(?!\n)[\p{Cc}\u202e]/u)
  })
})
