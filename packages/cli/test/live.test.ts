// What is live, without a terminal and without a peer: what is shown of what there is, and what is told of what happens.
import { describe, expect, it } from 'vitest'
import type { JobSnapshot, JobState, PeerEvent } from '@errand/runtime/client'
import { JobBoard } from '../src/job-board.ts'
import { happenings } from '../src/render/event.ts'
import { outputLines, spent, watchFrame, type WatchView } from '../src/render/watch.ts'
import { FakeJob, FakePeer, FakeSession, failure } from './fake-peer.ts'
import { errand, Running } from './harness.ts'

const at = new Date('2026-11-22T09:00:00Z')
const job = (id: number, state: JobState = 'Running', more: Partial<JobSnapshot> = {}): JobSnapshot => ({
  ...new FakeJob(id, ['sleep', '600'], {}).snapshot,
  instanceId: `job-${id}`,
  state,
  ...(state === 'Running' ? {} : { endedAt: new Date(+at + id * 1000) }),
  ...more,
})
const news = (of: JobSnapshot, removed?: true): Extract<PeerEvent, { kind: 'job' }> => ({
  kind: 'job',
  at,
  job: of,
  states: [{ state: of.state, at }],
  ...(removed && { removed }),
})
const ids = (board: JobBoard, most?: number): number[] => board.rows(most).map((row) => row.job.id)

describe('the jobs that are shown', () => {
  it('are those that pass the filter, as they pass it', () => {
    const board = new JobBoard({ state: ['Running'] }, 10)
    board.begin(undefined, [job(1)])
    expect(board.take(undefined, news(job(2)))).toBe(true)
    expect(board.take(undefined, news(job(3, 'Failed')))).toBe(false)
    expect(ids(board)).toEqual([1, 2])
    expect(board.take(undefined, news(job(1, 'Completed')))).toBe(true)
    expect(board.take(undefined, news(job(2), true))).toBe(true)
    expect(ids(board)).toEqual([])
  })
  it('are the newest of very many, and no more are held', () => {
    const board = new JobBoard({}, 5)
    board.begin(undefined, [])
    for (let id = 1; id <= 1000; id++) board.take(undefined, news(job(id, 'Completed')))
    board.take(undefined, news(job(1001)))
    for (let id = 1002; id <= 2000; id++) board.take(undefined, news(job(id, 'Completed')))
    // What goes on counts as the newest.
    expect(ids(board)).toEqual([1001, 1997, 1998, 1999, 2000])
    expect(ids(board, 2)).toEqual([1001, 2000])
    expect(board.filter.newest).toBe(5)
  })
  it('have children only where they are asked for, each behind its parent', () => {
    const child = job(1, 'Running', { instanceId: 'child', parentId: 1, position: 1 })
    const without = new JobBoard({}, 10)
    without.begin(undefined, [job(1)])
    expect(without.take(undefined, news(child))).toBe(false)
    const board = new JobBoard({ includeChildren: true }, 10)
    board.begin(undefined, [job(1), job(2)])
    expect(board.take(undefined, news(child))).toBe(true)
    expect(board.rows().map((row) => row.job.instanceId)).toEqual(['job-1', 'child', 'job-2'])
  })
  it('are named ones alone, whatever else happens; each table has its own', () => {
    const board = new JobBoard({}, 10, new Set(['job-1']))
    expect(board.begin('a', [job(1), job(2)]).map(({ id }) => id)).toEqual([1])
    expect(board.take('a', news(job(2)))).toBe(false)
    expect(board.take('b', news(job(1)))).toBe(false)
    board.begin('b', [job(1, 'Failed')])
    expect(board.rows().map((row) => [row.at, row.job.state])).toEqual([
      ['a', 'Running'],
      ['b', 'Failed'],
    ])
  })
  it('are told anew only where they are otherwise than before', () => {
    const board = new JobBoard({}, 10)
    board.begin(undefined, [job(1), job(2)])
    expect(board.begin(undefined, [job(1), job(2, 'Failed'), job(3)]).map(({ id }) => id)).toEqual([2, 3])
  })
})

describe('what is told', () => {
  it('is each state of a job, with the one before', () => {
    const history = (['NotStarted', 'Running', 'Blocked', 'Running', 'Failed'] as const).map((state, n) => ({
      state,
      at: new Date(+at + n),
    }))
    const event: PeerEvent = { kind: 'job', at, job: job(1, 'Failed', { history }), states: history.slice(1) }
    expect(happenings(event).map((one) => [one.event, one.previous])).toEqual([
      ['job.started', 'NotStarted'],
      ['job.blocked', 'Running'],
      ['job.running', 'Blocked'],
      ['job.failed', 'Running'],
    ])
    expect(happenings({ ...event, states: [] })).toEqual([])
  })
  it('says of peers what is new of them', () => {
    const peer = { name: 'far', id: 'far-id', addresses: [], grants: [], connected: true }
    const of = (more: object): string[] =>
      happenings({ kind: 'peer', at, peer, wasConnected: false, ...more }).map(({ event }) => event)
    expect(of({})).toEqual(['peer.connected'])
    expect(of({ wasConnected: true })).toEqual(['peer.changed'])
    expect(of({ peer: { ...peer, connected: false }, wasConnected: true })).toEqual(['peer.lost'])
    expect(of({ removed: true })).toEqual(['peer.removed'])
  })
})

describe('errand events', () => {
  it('goes on when its peer goes away and is back, and says so', async () => {
    const peer = new FakePeer()
    let begun = 0
    const events = peer.events.bind(peer)
    peer.events = async function* (o) {
      if (++begun === 2) throw failure('PEER_UNREACHABLE', 'no errand is up')
      for await (const event of events(o)) {
        yield event
        if (begun === 1 && event.kind === 'job') throw failure('PEER_LOST', 'the link to local ended')
      }
    }
    peer.tell(news(job(1)))
    const running = new Running(['events', '--json=event'], { peer })
    await running.stdout.has(/begin[^]*begin[^]*job\.running/)
    // Once, whatever it says each time it is looked for.
    expect(running.stderr.text).toBe("warning: this machine's peer has gone; waiting for it\n")
    // Only the first time it is started where it is not up.
    expect(running.reached.map(({ start }) => start)).toEqual([true, false, false])
    running.signals.emit('SIGINT')
    expect((await running.ended).code).toBe(130)
  })
  /** Peers near and far with a standing session each; what far answers to who looks for it is the test's. */
  function nearAndFar(): { peer: FakePeer; near: FakeSession; far: FakeSession; looks: (() => void)[] } {
    const peer = new FakePeer().knows('near', 'far')
    const [near, far] = ['near', 'far'].map((name, n) => new FakeSession(90 + n, name, 'home')) as [
      FakeSession,
      FakeSession,
    ]
    peer.homes.set('near', near).set('far', far)
    const looks: (() => void)[] = []
    const home = peer.home.bind(peer)
    peer.home = async (on) => {
      if (on === 'far') looks.shift()?.()
      return home(on)
    }
    return { peer, near, far, looks }
  }
  /** The session's stream breaks behind its first event. */
  function breaks(session: FakeSession, error: Error): void {
    const events = session.events.bind(session)
    let begun = 0
    session.events = async function* (o) {
      const first = ++begun === 1
      for await (const event of events(o)) {
        yield event
        if (first && event.kind === 'job') throw error
      }
    }
  }
  const unreachable = (message: string) => (): never => {
    throw failure('PEER_UNREACHABLE', message)
  }

  it('tells of the other places while one is away, and takes that one up again; says it once', async () => {
    const { peer, near, far, looks } = nearAndFar()
    breaks(far, failure('PEER_LOST', 'the link ended'))
    const running = new Running(['events', '--at', 'near,far', '--json=event,from'], { peer })
    await running.stdout.has(/begin[^]*begin/)
    const seen = Promise.withResolvers<void>()
    looks.push(unreachable('far does not answer'), () => {
      seen.resolve()
      throw failure('PEER_UNREACHABLE', 'no route to far')
    })
    far.tell(news(job(1)))
    await seen.promise
    near.tell(news(job(2)))
    await running.stdout.has(/job.running","from":"near"/)
    expect(running.stderr.text).toBe('warning: far: the link ended; waiting for it\n')
    expect(running.stdout.text.match(/begin/g)).toHaveLength(2)
    await running.stdout.has(/begin[^]*begin[^]*begin/)
    expect(running.stdout.text.match(/"begin","from":"near"/g)).toHaveLength(1)
    expect(running.stderr.text).toBe('warning: far: the link ended; waiting for it\n')
    running.signals.emit('SIGINT')
    expect((await running.ended).code).toBe(130)
  })
  it('opens a session anew that was closed over there, and says only what keeps it from that', async () => {
    const { peer, far, looks } = nearAndFar()
    breaks(far, failure('SESSION_CLOSED', 'session home is closed'))
    const running = new Running(['events', '--at', 'far', '--json=event'], { peer })
    await running.stdout.has('begin')
    looks.push(unreachable('far does not answer'))
    far.tell(news(job(1)))
    await running.stdout.has(/begin[^]*begin/)
    expect(running.stderr.text).toBe('warning: far does not answer; waiting for it\n')
    running.signals.emit('SIGINT')
    expect((await running.ended).code).toBe(130)
  })
  it('with --at all waits for those that are not there yet, and says who lets nobody in', async () => {
    const { peer, looks } = nearAndFar()
    peer.knows('closed')
    const home = peer.home.bind(peer)
    peer.home = async (on) => {
      if (on === 'closed') throw failure('DENIED', 'not allowed there')
      return home(on)
    }
    looks.push(unreachable('far does not answer'))
    const running = new Running(['events', '--at', 'all', '--json=event,from'], { peer })
    await running.stdout.has('"begin","from":"far"')
    expect(running.stderr.text.split('\n').toSorted()).toEqual([
      '',
      'errand: closed: not allowed there',
      'warning: far does not answer; waiting for it',
    ])
    for (const from of ['laptop', 'near', 'far']) {
      expect(running.stdout.text.match(new RegExp(`"begin","from":"${from}"`, 'g'))).toHaveLength(1)
    }
    running.signals.emit('SIGINT')
    expect((await running.ended).code).toBe(130)
  })
  it('ends where one of the places it is asked for cannot be reached from the beginning', async () => {
    const { peer, looks } = nearAndFar()
    looks.push(unreachable('far does not answer'))
    expect(await errand(['events', '--at', 'near,far'], { peer })).toMatchObject({
      code: 5,
      err: 'errand: far does not answer\n',
    })
  })
  it('ends at once with what no waiting mends', async () => {
    const peer = new FakePeer()
    const denied = failure('DENIED', 'not allowed here')
    const refused = { next: () => Promise.reject(denied), [Symbol.asyncIterator]: () => refused }
    peer.events = () => refused as unknown as ReturnType<FakePeer['events']>
    expect(await errand(['events'], { peer })).toMatchObject({ code: 4, err: 'errand: not allowed here\n' })
  })
  it('refuses a field that there is not before it waits for anything', async () => {
    expect(await errand(['events', '--json=what'])).toMatchObject({ code: 2, out: '' })
    expect(await errand(['list', '-w', '--json=what'])).toMatchObject({ code: 2, out: '' })
  })
})

describe('the screen', () => {
  const rows = Array.from({ length: 30 }, (_, n) => ({ key: String(n), cells: [String(n), `job-${n}`, 'Running'] }))
  const view: WatchView = {
    tabs: ['1 jobs 30', '2 sessions 0', '3 peers 0'],
    tab: 0,
    right: 'laptop',
    footer: 'q leave',
    body: { kind: 'table', table: { titles: ['ID', 'NAME', 'STATE'], rows, selected: 20, empty: 'none' } },
  }
  const plain = (_: unknown, text: string): string => text

  it('is as many lines as there are rows, none wider than it is, whatever its size', () => {
    for (let height = 1; height <= 12; height++) {
      for (const columns of [1, 2, 7, 20, 40, 80]) {
        const lines = watchFrame(view, { columns, rows: height }, plain)
        expect(lines).toHaveLength(height)
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns)
        if (columns >= 20) expect(lines.filter((line) => line.startsWith('> 20'))).toHaveLength(1)
      }
    }
  })
  it('never cuts an escape sequence', () => {
    const toned = rows.map((row) => ({ ...row, toned: { cell: 2, tone: 'green' as const } }))
    const table = { titles: ['ID', 'NAME', 'STATE'], rows: toned, selected: 0, empty: '' }
    for (let columns = 1; columns < 40; columns++) {
      const painted = watchFrame(
        { ...view, body: { kind: 'table', table } },
        { columns, rows: 5 },
        (_, text) => `<${text}>`,
      )
      for (const line of painted) expect(line.replaceAll(/<([^<>]*)>/g, '$1').length).toBeLessThanOrEqual(columns)
    }
  })
  it('says how long something has been at work', () => {
    const after = (seconds: number): string => spent(job(1, 'Running', { begunAt: at }), new Date(+at + seconds * 1000))
    expect([0, 59, 60, 3599, 3600, 86_399, 86_400, 360_000].map(after)).toEqual([
      '0s',
      '59s',
      '1m00s',
      '59m59s',
      '1h00m',
      '23h59m',
      '1d00h',
      '4d04h',
    ])
    expect(spent(job(1, 'Running', { begunAt: undefined }), at)).toBe('-')
  })
  it('shows nothing of what a job says that would move its cursor', () => {
    const said = {
      seq: 0,
      at,
      location: 'far',
      jobId: 'x',
      kind: 'output' as const,
      value: 'a\u001b[2J\rb\tc\nd\u0007\n',
    }
    expect(outputLines(said, true)).toEqual(['far | ab  c', 'far | d'])
  })
})
