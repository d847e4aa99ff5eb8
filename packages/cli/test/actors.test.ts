// Actors at the command line, with a peer in memory: spawned, looked at, followed, sent to.
import type { ActorInspection, ChartState, NamedActor } from '@errand/runtime/client'
import { describe, expect, test } from 'vitest'
import { stripVTControlCharacters } from 'node:util'
import { failure, FakeJob, FakePeer, FakeSession } from './fake-peer.ts'
import { errand, Running } from './harness.ts'

const chart: ChartState = {
  key: 'approval',
  kind: 'compound',
  active: true,
  initial: 'waiting',
  on: [],
  states: [
    {
      key: 'waiting',
      kind: 'atomic',
      active: true,
      on: [
        { event: 'approve', public: true, targets: ['approved'] },
        { event: 'reject', public: true, targets: ['rejected'], guard: 'mayReject' },
      ],
      states: [],
    },
    { key: 'approved', kind: 'final', active: false, on: [], states: [] },
    { key: 'rejected', kind: 'final', active: false, on: [], states: [] },
  ],
}
const inspection: ActorInspection = {
  address: { peer: 'peer-id', path: 's/j', epoch: 1, machine: 'approval' },
  at: new Date('2026-11-22T09:00:10Z'),
  machine: 'approval',
  durable: false,
  status: 'active',
  value: 'waiting',
  context: { what: 'a laptop' },
  accepts: ['approve', 'reject'],
  timers: [],
  inbox: 0,
  watchers: 0,
  chart,
  transitions: [],
}

const actor = (id = 1): FakeJob => {
  const job = new FakeJob(id, ['approval'], { name: `approval${id}` }, { type: 'MachineJob' })
  job.actor = inspection
  return job
}
/** A peer with an actor as its job 1. */
function peerWith(...jobs: FakeJob[]): FakePeer {
  const peer = new FakePeer()
  peer.onStart = () => {}
  for (const job of jobs) peer.add(job)
  return peer
}

describe('spawn', () => {
  const offering = (table: FakePeer | FakeSession): void =>
    void table.machines.set('approval', (job) => void (job.actor = inspection))

  test('prints the id of the job that it is', async () => {
    const peer = peerWith()
    offering(peer)
    const words = ['spawn', 'approval', '--name', 'mine', '--input', '{"what": "a laptop"}']
    expect(await errand(words, { peer })).toEqual({ code: 0, out: '1\n', err: '' })
    expect(peer.spawned).toEqual([['approval', { name: 'mine', input: { what: 'a laptop' } }]])
    expect(peer.table[0]).toMatchObject({ type: 'MachineJob', name: 'mine' })
    await errand(['spawn', 'approval', '--register', 'first', '--group', 'a,b', '--group', 'c'], { peer })
    expect(peer.spawned.pop()).toEqual(['approval', { register: 'first', groups: ['a', 'b', 'c'] }])
    // Without an input it has none.
    await errand(['spawn', 'approval'], { peer })
    expect(peer.spawned[1]).toEqual(['approval', {}])
  })

  test('--at: there, or at several places', async () => {
    const peer = peerWith().knows('server01', 'server02')
    for (const name of ['server01', 'server02']) offering((await peer.home(name)) as FakeSession)
    expect((await errand(['--at', 'server01', 'spawn', 'approval'], { peer })).out).toBe('1\n')
    expect((await errand(['spawn', 'approval', '--at', 'server01,server02'], { peer })).out).toBe(
      'server01 2\nserver02 1\n',
    )
    expect(peer.table).toEqual([])
  })

  test('an input from stdin or a file is one value', async () => {
    const peer = peerWith()
    offering(peer)
    await errand(['spawn', 'approval', '--input', '-'], { peer, stdin: '{\n  "what": [1, 2]\n}\n' })
    expect(peer.spawned[0]).toEqual(['approval', { input: { what: [1, 2] } }])
    const none = await errand(['spawn', 'approval', '--input', '@/nowhere/input.json'], { peer })
    expect(none).toMatchObject({ code: 2, err: expect.stringContaining('/nowhere/input.json cannot be read') })
    const broken = await errand(['spawn', 'approval', '--input', '{what}'], { peer })
    expect(broken).toMatchObject({ code: 2, err: expect.stringContaining('is not JSON') })
    expect(peer.spawned.length).toBe(1)
  })

  test('an input that does not fit is said; where there is none, how to give one', async () => {
    const peer = peerWith()
    peer.startMachine = async () => {
      throw failure('INVALID_INPUT', "machine 'approval' does not take that: a name is needed")
    }
    const none = await errand(['spawn', 'approval'], { peer })
    expect(none).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining('needed\n  --input is what it begins'),
    })
    const wrong = await errand(['spawn', 'approval', '--input', '5'], { peer })
    expect(wrong).toEqual({
      code: 2,
      out: '',
      err: "errand: machine 'approval' does not take that: a name is needed\n",
    })
  })

  test('one that is not offered is no such thing; --json is the job', async () => {
    const peer = peerWith()
    offering(peer)
    expect(await errand(['spawn', 'nobody'], { peer })).toMatchObject({ code: 3, out: '' })
    expect(JSON.parse((await errand(['spawn', 'approval', '--json=id,type'], { peer })).out)).toEqual({
      id: 1,
      type: 'MachineJob',
    })
  })
})

describe('inspect', () => {
  test('shows the job, then its actor', async () => {
    const { out, code } = await errand(['inspect', '1'], { peer: peerWith(actor()) })
    expect(code).toBe(0)
    expect(out).toMatch(/^job 1 {2}approval1\nstate {5}Running since/)
    expect(out).toContain('type      MachineJob\n')
    expect(out).toContain(`
machine      approval
is in        waiting
accepts now  approve, reject
context      { what: 'a laptop' }

● approval
  ● waiting  initial
      approve  → approved
      reject   → rejected  [mayReject]
  ○ approved  final
  ○ rejected  final
`)
  })

  test('with colours only on a terminal, and not with NO_COLOR', async () => {
    const peer = peerWith(actor())
    const colored = await errand(['inspect', '1'], { peer, columns: 80 })
    const plain = await errand(['inspect', '1'], { peer, columns: 80, env: { NO_COLOR: '1' } })
    expect(colored.out).not.toBe(plain.out)
    expect(stripVTControlCharacters(colored.out)).toBe(plain.out)
    const forced = await errand(['inspect', '1', '--color', 'always'], { peer: peerWith(actor()) })
    expect(forced.out).not.toBe(stripVTControlCharacters(forced.out))
  })

  test('of one that has ended the job is left', async () => {
    const job = actor().end()
    const { out, code } = await errand(['inspect', '1'], { peer: peerWith(job) })
    expect(code).toBe(0)
    expect(out).toContain('Completed')
    expect(out).not.toContain('machine ')
    expect(JSON.parse((await errand(['inspect', '1', '--json=state,actor'], { peer: peerWith(job) })).out)).toEqual({
      state: 'Completed',
      actor: null,
    })
    // It may end while it is looked at.
    const late = actor()
    late.inspect = async () => {
      late.end()
      throw failure('ACTOR_GONE', 'it has ended')
    }
    expect(await errand(['inspect', '1'], { peer: peerWith(late) })).toMatchObject({ code: 0, err: '' })
  })

  test('--json: the job with its actor; other jobs have none', async () => {
    const { out } = await errand(['inspect', '1', '--json'], { peer: peerWith(actor()) })
    expect(JSON.parse(out)).toMatchObject({
      id: 1,
      type: 'MachineJob',
      actor: { machine: 'approval', value: 'waiting' },
    })
    const other = await errand(['inspect', '1', '--json'], { peer: peerWith(new FakeJob(1, { code: '1' }, {})) })
    expect(JSON.parse(other.out)).not.toHaveProperty('actor')
  })
})

describe('send', () => {
  const sent = async (words: readonly string[], options: { stdin?: string } = {}): Promise<unknown[]> => {
    const job = actor()
    const { code, err } = await errand(['send', '1', ...words], { peer: peerWith(job), ...options })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    return job.told
  }

  test('a type, a type and its fields, or a whole event', async () => {
    expect(await sent(['approve'])).toEqual([{ type: 'approve' }])
    expect(await sent(['approve', '{"by": "Ann"}'])).toEqual([{ type: 'approve', by: 'Ann' }])
    expect(await sent(['approve {"by": "Ann"}'])).toEqual([{ type: 'approve', by: 'Ann' }])
    expect(await sent(['{"type": "approve", "by": "Ann"}'])).toEqual([{ type: 'approve', by: 'Ann' }])
    expect(await sent(['--json', '{"type": "reject"}'])).toEqual([{ type: 'reject' }])
    expect(await sent(['--json', '"reject"'])).toEqual([{ type: 'reject' }])
  })

  test('each line of stdin', async () => {
    const stdin = 'approve\n\nreject {"why": "too dear"}\n{"type": "approve"}\n'
    const events = [{ type: 'approve' }, { type: 'reject', why: 'too dear' }, { type: 'approve' }]
    expect(await sent([], { stdin })).toEqual(events)
    expect(await sent(['-'], { stdin })).toEqual(events)
  })

  test.each([
    [['approve', '{by}'], 'is not JSON'],
    [['approve', '[1]'], 'are a JSON object'],
    [['{"by": "Ann"}'], 'has no `type`'],
    [['--json', 'approve'], 'is not JSON'],
    [['--json', '5'], 'is no event'],
    [[''], 'is no event'],
    [['--eof'], 'has no input'],
  ])('%j makes no sense, and nothing is sent', async (words, why) => {
    const job = actor()
    const { code, err } = await errand(['send', '1', ...words], { peer: peerWith(job) })
    expect({ code, err, told: job.told }).toEqual({ code: 2, err: expect.stringContaining(why), told: [] })
  })

  test('what is refused is said, with what it takes now', async () => {
    const job = actor()
    job.refuses = ({ type }) => failure('INVALID_EVENT', `machine 'approval' takes no event '${type}' from outside`)
    expect(await errand(['send', '1', 'nonsense'], { peer: peerWith(job) })).toEqual({
      code: 2,
      out: '',
      err: "errand: machine 'approval' takes no event 'nonsense' from outside\n  it accepts now: approve, reject\n",
    })
    const document = JSON.parse((await errand(['send', '1', '"x"', '--json'], { peer: peerWith(job) })).err)
    expect(document).toMatchObject({ error: { code: 'INVALID_EVENT', hint: 'it accepts now: approve, reject' } })
    // Of a line of stdin, which.
    const { err } = await errand(['send', '1'], { peer: peerWith(job), stdin: 'nonsense\n' })
    expect(err).toContain("takes no event 'nonsense'")
  })

  test('what its state has nothing for is sent, and it is said that nothing will come of it', async () => {
    const job = actor()
    const { code, err } = await errand(['send', '1', 'cancel'], { peer: peerWith(job) })
    expect({ code, err }).toEqual({
      code: 0,
      err: "warning: approval1 is in waiting, where it does nothing on 'cancel'; it accepts: approve, reject\n",
    })
    expect(job.told).toEqual([{ type: 'cancel' }])
    expect((await errand(['send', '1', 'cancel', '-q'], { peer: peerWith(job) })).err).toBe('')
  })

  test('to one that has ended nothing can be sent', async () => {
    const job = actor().end()
    expect(await errand(['send', '1', 'approve'], { peer: peerWith(job) })).toMatchObject({
      code: 1,
      err: expect.stringContaining('has ended'),
    })
  })

  test('any other job reads values, as ever, and only one', async () => {
    const job = new FakeJob(1, { code: '1' }, {})
    await errand(['send', '1', 'approve {"by": "Ann"}'], { peer: peerWith(job) })
    expect(job.sent).toEqual(['approve {"by": "Ann"}'])
    const two = await errand(['send', '1', 'approve', '{}'], { peer: peerWith(job) })
    expect(two).toMatchObject({ code: 2, err: expect.stringContaining("'{}' is too much") })
    expect(job.sent.length).toBe(1)
  })

  test('--at and % are who is meant', async () => {
    const peer = peerWith().knows('server01')
    const there = (await peer.home('server01')) as FakeSession
    there.onStart = () => {}
    const job = actor(4)
    there.add(job)
    expect(await errand(['--at', 'server01', 'send', 'approval4', 'approve'], { peer })).toMatchObject({
      code: 0,
      err: '',
    })
    expect(job.told).toEqual([{ type: 'approve' }])
  })
})

describe('ask', () => {
  const asked = (reply?: unknown): FakeJob => {
    const job = actor()
    job.replies = () => reply
    return job
  }

  test('prints what it replies as receive would print it', async () => {
    const job = asked('may we have a laptop?')
    const peer = peerWith(job)
    expect(await errand(['ask', '1', 'what is asked'], { peer })).toEqual({
      code: 0,
      out: 'may we have a laptop?\n',
      err: '',
    })
    expect(job.questions).toEqual([[{ type: 'what is asked' }, {}]])
    for (const value of ['text', { what: 'a laptop', by: undefined }, [{ n: 1 }, { n: 2 }], undefined, null, 5n]) {
      const told = asked(value).yields(value)
      for (const columns of [undefined, 80, 40]) {
        const options = { peer: peerWith(told), ...(columns !== undefined && { columns }) }
        const { out } = await errand(['ask', '1', 'look'], options)
        expect(out).toBe((await errand(['receive', '1', '--keep'], options)).out)
      }
    }
  })

  test('an event is written as for send; --json is how it is answered', async () => {
    const job = asked(new Date('2026-11-22T09:00:00Z'))
    const peer = peerWith(job)
    for (const words of [['price', '{"of": "lamp"}'], ['price {"of": "lamp"}'], ['{"type": "price", "of": "lamp"}']]) {
      const { code, out } = await errand(['ask', '1', ...words, '--json'], { peer })
      expect(code).toBe(0)
      expect(JSON.parse(out)).toEqual({ jobId: job.instanceId, value: { $date: '2026-11-22T09:00:00.000Z' } })
    }
    expect(job.questions.map(([event]) => event)).toEqual(Array(3).fill({ type: 'price', of: 'lamp' }))
    const { out } = await errand(['ask', '1', 'price', '--json=value'], { peer })
    expect(out).toBe('{"value":{"$date":"2026-11-22T09:00:00.000Z"}}\n')
    expect(await errand(['ask', '1', 'price', '--json=values'], { peer })).toMatchObject({ code: 2, out: '' })
    expect(job.questions.length).toBe(4)
  })

  test.each([
    ['INVALID_EVENT', 2, 'it accepts now: approve, reject'],
    ['EVENT_NOT_ACCEPTED', 1, 'it accepts now: approve, reject'],
    ['DENIED', 4, ''],
    ['OUTCOME_UNKNOWN', 5, 'it may have handled it: `errand inspect 1` shows what has become of it'],
    ['RangeError', 1, ''],
  ])('%s is said, and ends it with %i', async (code, exit, hint) => {
    const job = asked()
    job.replies = () => {
      throw failure(code, 'no answer to that')
    }
    const { code: ended, out, err } = await errand(['ask', '1', 'price'], { peer: peerWith(job) })
    expect({ ended, out }).toEqual({ ended: exit, out: '' })
    expect(err).toContain('errand: no answer to that\n')
    expect(err).toContain(hint)
    const document = JSON.parse((await errand(['ask', '1', 'price', '--json'], { peer: peerWith(job) })).err)
    expect(document).toMatchObject({ error: { code, message: 'no answer to that' } })
  })

  test('waits for --timeout, and no longer', async () => {
    const job = asked()
    const there = Promise.withResolvers<void>()
    job.replies = (_, signal) => {
      if (job.questions.length === 2) there.resolve()
      return new Promise((_resolve, reject) => signal!.addEventListener('abort', () => reject(signal!.reason as Error)))
    }
    const { code, err } = await errand(['ask', '1', 'price', '--timeout', '50ms'], { peer: peerWith(job) })
    expect({ code, err }).toEqual({ code: 124, err: expect.stringContaining('not done after 50ms') })
    // Over there it is waited for as long.
    expect(job.questions).toEqual([[{ type: 'price' }, { timeout: '50ms' }]])
    const running = new Running(['ask', '1', 'price'], { peer: peerWith(job) })
    await there.promise
    running.signals.emit('SIGINT')
    expect(await running.ended).toMatchObject({ code: 130, out: '' })
  })

  test('one machine, and nothing else', async () => {
    const peer = peerWith(actor(1), actor(2), new FakeJob(3, { code: '1' }, {}), actor(4).end())
    for (const [word, code, why] of [
      ['approval*', 2, "'approval*' means 3 jobs here"],
      ['none*', 2, "'none*' means no jobs here"],
      ['3', 2, 'is no machine'],
      ['4', 1, 'has ended'],
      ['9', 3, 'no job 9 on laptop'],
    ] as const)
      expect(await errand(['ask', word, 'price'], { peer })).toEqual({
        code,
        out: '',
        err: expect.stringContaining(why),
      })
    for (const words of [['1'], ['1', 'price', '{of}'], ['1', 'price', '[1]'], ['1', ''], ['1', 'a', '{}', 'b']])
      expect(await errand(['ask', ...words], { peer })).toMatchObject({ code: 2, out: '' })
    expect(peer.table.flatMap(({ questions }) => questions)).toEqual([])
  })
})

describe('a registered name', () => {
  /** As somebody else's actor is found by its name. */
  const named = (job: FakeJob, name: string): NamedActor => ({
    name,
    address: { peer: 'peer-id', path: `other-session/${job.instanceId}`, epoch: 1 },
    tell: (event) => job.tell(event),
    ask: (event, o) => job.ask(event, o),
    inspect: () => job.inspect(),
    transitions: (o) => job.transitions(o),
  })
  const world = async (): Promise<{ peer: FakePeer; job: FakeJob }> => {
    const peer = peerWith(actor(1)).knows('server01')
    await peer.home('server01')
    const job = actor(9)
    job.replies = () => 'what?'
    job.happens({ event: 'remind', from: 'waiting', to: 'waiting' })
    peer.called.set('printer', named(job, 'printer'))
    peer.called.set('far-id far', named(job, 'far'))
    return { peer, job }
  }

  test.each([
    [[], 'printer'],
    [['--at', 'server01'], 'far'],
  ])('%j is sent to, asked, looked at and followed by it', async (at, name) => {
    const { peer, job } = await world()
    const type = (...words: string[]): ReturnType<typeof errand> => errand([...at, ...words], { peer })
    expect(await type('send', name, 'approve', '{"by": "Ann"}')).toEqual({ code: 0, out: '', err: '' })
    expect(job.told).toEqual([{ type: 'approve', by: 'Ann' }])
    expect(await type('ask', name, 'what')).toEqual({ code: 0, out: 'what?\n', err: '' })
    expect(JSON.parse((await type('ask', name, 'what', '--json')).out)).toEqual({
      jobId: job.instanceId,
      value: 'what?',
    })
    const looked = await type('inspect', name)
    expect(looked.out).toMatch(new RegExp(`^actor ${name}\ninstance  ${job.instanceId}\nsession   other-session\n`))
    expect(looked.out).toContain('\naccepts now  approve, reject\n')
    expect((await type('inspect', `actor:${name}`)).out).toBe(looked.out)
    expect(JSON.parse((await type('inspect', name, '--json')).out)).toMatchObject({
      name,
      actor: { machine: 'approval', value: 'waiting' },
    })
    expect((await type('events', name)).out).toBe(
      `2026-11-22T09:00:01.000Z  ${name.padEnd(12)}  remind        waiting\n`,
    )
    const [, line] = (await type('events', name, '--json=jobId,type')).out.split('\n')
    expect(JSON.parse(line!)).toEqual({ jobId: job.instanceId, type: 'remind' })
    const following = new Running([...at, 'events', name, '-f'], { peer })
    await following.stdout.has('remind')
    job.happens({ event: 'approve', from: 'waiting', to: 'approved' }).end()
    expect(await following.ended).toMatchObject({ code: 0, out: expect.stringContaining('waiting → approved\n') })
  })

  test('of one of that table is that job', async () => {
    const { peer } = await world()
    const mine = peer.table[0]!
    peer.called.set('mine', named(mine, 'mine'))
    expect((await errand(['inspect', 'mine'], { peer })).out).toMatch(/^job 1 {2}approval1\n/)
    expect((await errand(['events', 'mine'], { peer })).out).toContain('job 1         Running')
    // It is one, however it is called.
    await errand(['send', 'mine', 'approve'], { peer })
    expect(mine.told).toEqual([{ type: 'approve' }])
  })

  test('is looked for where there is no such job, session or peer, and nowhere else', async () => {
    const { peer, job } = await world()
    for (const name of ['approval1', 'server01']) peer.called.set(name, named(job, name))
    expect((await errand(['inspect', 'approval1'], { peer })).out).toMatch(/^job 1 /)
    expect((await errand(['inspect', 'server01'], { peer })).out).toMatch(/^peer server01\n/)
    expect((await errand(['inspect', 'actor:server01'], { peer })).out).toMatch(/^actor server01\n/)
    await errand(['send', 'approval1', 'approve'], { peer })
    expect(peer.table[0]!.told.length).toBe(1)
    expect(job.told).toEqual([])
    peer.lookedFor.length = 0
    for (const words of [
      ['send', '7', 'x'],
      ['send', '7.1', 'x'],
      ['receive', 'printer'],
      ['stop', 'printer'],
    ])
      expect(await errand(words, { peer })).toMatchObject({ code: 3, err: expect.stringContaining('no job ') })
    expect(peer.lookedFor).toEqual([])
  })

  test('that nobody has, or of one we may not look at, is no such job', async () => {
    const { peer } = await world()
    for (const verb of ['send', 'ask'])
      expect(await errand([verb, 'nobody', 'x'], { peer })).toEqual({
        code: 3,
        out: '',
        err: "errand: no job 'nobody' on laptop\n  `errand list` shows the jobs there are\n",
      })
    expect(await errand(['events', 'nobody'], { peer })).toMatchObject({ code: 3 })
    expect((await errand(['inspect', 'nobody'], { peer })).err).toContain(
      "no job 'nobody' on laptop, nor a session, peer or actor of that name\n",
    )
    expect(await errand(['inspect', 'actor:nobody'], { peer })).toMatchObject({
      code: 3,
      err: expect.stringContaining("no actor is called 'nobody' there\n"),
    })
    peer.actor = async () => {
      throw failure('DENIED', 'server01 does not allow this: jobs:read')
    }
    for (const words of [
      ['send', 'printer', 'x'],
      ['inspect', 'printer'],
      ['inspect', 'actor:printer'],
    ]) {
      const { code, err } = await errand(words, { peer })
      expect({ code, err }).toEqual({
        code: 3,
        err: expect.stringMatching(/^errand: no (?:job|actor is called) 'printer'/),
      })
      expect(err).toContain('whether an actor is called so is told with the grant jobs:read\n')
    }
  })
})

describe('events JOB', () => {
  const busy = (): FakeJob =>
    actor().happens(
      { event: 'remind', from: 'waiting', to: 'waiting' },
      { event: 'nonsense', from: 'waiting', to: 'waiting', ignored: true },
    )

  test('what was last, in its order, and ends', async () => {
    const job = busy().yields({ type: 'reminded', who: 'Ann' })
    const { out, err, code } = await errand(['events', '1'], { peer: peerWith(job) })
    expect({ err, code }).toEqual({ err: '', code: 0 })
    expect(out).toBe(`\
2026-11-22T09:00:00.000Z  job 1         Running       localhost  approval1: approval
2026-11-22T09:00:01.000Z  job 1         remind        waiting
2026-11-22T09:00:01.000Z  job 1         says          { type: 'reminded', who: 'Ann' }
2026-11-22T09:00:02.000Z  job 1         nonsense      waiting  (ignored)
`)
    // Nothing of it was taken.
    expect(job.cursors.size).toBe(0)
  })

  test('-f goes on to its end, which comes last', async () => {
    const job = busy()
    const running = new Running(['events', '1', '-f'], { peer: peerWith(job) })
    await running.stdout.has('nonsense')
    job
      .happens({ event: 'approve', from: 'waiting', to: { approved: 'quickly' } })
      .yields('done')
      .end()
    const { out, code } = await running.ended
    expect(code).toBe(0)
    const lines = out.trimEnd().split('\n')
    expect(lines.slice(3, 5).toSorted()).toEqual([
      '2026-11-22T09:00:01.000Z  job 1         says          done',
      '2026-11-22T09:00:03.000Z  job 1         approve       waiting → approved.quickly',
    ])
    expect(lines.slice(5)).toEqual([
      '2026-11-22T09:00:02.000Z  job 1         Completed     localhost  approval1: approval',
    ])
  })

  test('Ctrl-C leaves it alone', async () => {
    const job = busy()
    const running = new Running(['events', '1', '-f'], { peer: peerWith(job) })
    await running.stdout.has('nonsense')
    running.signals.emit('SIGINT')
    expect(await running.ended).toMatchObject({ code: 130, err: '' })
    expect(job.state).toBe('Running')
    expect(job.calls.map(([call]) => call)).not.toContain('stop')
  })

  test('--timeout ends it', async () => {
    expect(await errand(['events', '1', '-f', '--timeout', '50ms'], { peer: peerWith(busy()) })).toMatchObject({
      code: 124,
    })
  })

  test('where some were missed it is said', async () => {
    const job = busy()
    const all = job.transitions.bind(job)
    job.transitions = async function* (o) {
      for await (const one of all(o)) if (one.seq !== 3) yield one
    }
    const running = new Running(['events', '1', '-f'], { peer: peerWith(job) })
    await running.stdout.has('nonsense')
    job
      .happens({ event: 'lost', from: 'waiting', to: 'waiting' }, { event: 'kept', from: 'waiting', to: 'waiting' })
      .end()
    const { err, out } = await running.ended
    expect(err).toBe('errand: some events may be missing here\n')
    expect(out).not.toContain('lost')
    expect(out).toContain('kept')
  })

  test('--json: an object a line', async () => {
    const job = busy().yields({ type: 'reminded', at: new Date(0) })
    const { out } = await errand(['events', '1', '--json'], { peer: peerWith(job) })
    const lines = out
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text) as Record<string, unknown>)
    expect(lines).toMatchObject([
      { event: 'begin' },
      { event: 'job.running', state: 'Running', job: { id: 1 } },
      {
        event: 'actor.transition',
        jobId: job.instanceId,
        seq: 1,
        type: 'remind',
        previous: 'waiting',
        state: 'waiting',
        ignored: false,
      },
      {
        event: 'actor.output',
        jobId: job.instanceId,
        seq: 0,
        value: { type: 'reminded', at: { $date: '1970-01-01T00:00:00.000Z' } },
      },
      { event: 'actor.transition', seq: 2, type: 'nonsense', ignored: true },
    ])
    const picked = await errand(['events', '1', '--json=event,type'], { peer: peerWith(busy()) })
    expect(JSON.parse(picked.out.split('\n')[2]!)).toEqual({ event: 'actor.transition', type: 'remind' })
    expect(await errand(['events', '1', '--json=nonsense'], { peer: peerWith(busy()) })).toMatchObject({
      code: 2,
      out: '',
    })
  })

  test('several, each by its number; of any other job its states', async () => {
    const other = new FakeJob(2, { code: 'x' }, {})
    const peer = peerWith(busy(), other)
    const running = new Running(['events', '1', '2', '-f'], { peer })
    await running.stdout.has('job 2')
    other.end('Failed', { reason: failure('SCRIPT', 'it failed') })
    await running.stdout.has('it failed')
    peer.table[0]!.end()
    const { out, code } = await running.ended
    expect(code).toBe(0)
    expect(out).toMatch(/job 2 {9}Running {7}localhost {2}Job2: x\n/)
    expect(out).toMatch(/job 2 {9}Failed {8}localhost {2}Job2: it failed\n/)
  })

  test('a JOB that there is not is said', async () => {
    expect(await errand(['events', '7'], { peer: peerWith() })).toMatchObject({ code: 3, out: '' })
  })

  test('names that a terminal would obey are plain', async () => {
    const evil = '\u001b[2J\nevil'
    const job = actor()
      .happens({ event: evil, from: evil, to: { [evil]: evil } })
      .yields({ [evil]: evil })
    const { out } = await errand(['events', '1'], { peer: peerWith(job) })
    expect(out).not.toContain('\u001b')
    expect(out.trimEnd().split('\n').length).toBe(3)
  })
})
