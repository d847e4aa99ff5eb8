import { describe, expect, it } from 'vitest'
import { jobId, jobTable, powershellJobTable } from '../src/render/job.ts'
import {
  errorFields,
  jobDocument,
  JOB_FIELDS,
  pick,
  recordDocument,
  sessionDocument,
  SESSION_FIELDS,
  tagged,
} from '../src/render/json.ts'
import { ProgressBars } from '../src/render/progress.ts'
import { powershellSessionTable, sessionTable } from '../src/render/session.ts'
import { cut, table } from '../src/render/table.ts'
import { renderValue } from '../src/render/value.ts'
import { failure, FakeJob, FakeSession } from './fake-peer.ts'

/** What the wire leaves on an object that was a job or a session elsewhere. */
const named = <T extends object>(value: T, name: string): T =>
  Object.defineProperty(value, Symbol.for('errand.class'), { value: name })

const job = (id: number, code: string): FakeJob => new FakeJob(id, { code }, {})

describe('table', () => {
  it('is as wide as its widest cells, without blanks at the end', () => {
    expect(
      table(
        [{ title: 'A' }, { title: 'LONG' }],
        [
          ['xyz', '1'],
          ['', '22'],
        ],
        { gap: '  ' },
      ),
    ).toBe('A    LONG\nxyz  1\n     22\n')
  })
  it('prints nothing for no rows', () => expect(table([{ title: 'A' }], [], { gap: ' ' })).toBe(''))
  it('counts cells of a terminal, not letters', () => {
    expect(
      table(
        [{ title: 'N' }, { title: 'X' }],
        [
          ['漢字', '1'],
          ['a', '2'],
        ],
        { gap: '  ' },
      ),
    ).toBe('N     X\n漢字  1\na     2\n')
  })
  it('keeps a row on one line, and off the cursor', () => {
    expect(table([{ title: 'A' }], [['a\n\tb\u001b[2Jc']], { gap: ' ' })).toBe('A\na b [2Jc\n')
  })
  it('is cut to a terminal and never in a pipe', () => {
    const rows = [['1', 'a long command']]
    expect(table([{ title: 'ID' }, { title: 'COMMAND' }], rows, { gap: '  ', columns: 10 })).toBe(
      'ID  COMMA…\n1   a lon…\n',
    )
    expect(table([{ title: 'ID' }, { title: 'COMMAND' }], rows, { gap: '  ' })).toContain('a long command')
  })
  it('cuts between characters', () => {
    expect(cut('漢字漢字', 5)).toBe('漢字…')
    expect(cut('漢字漢字', 4)).toBe('漢…')
    expect(cut('abc', 3)).toBe('abc')
  })
})

describe('job tables', () => {
  it('is ID NAME TYPE STATE MORE LOCATION COMMAND', () => {
    const text = jobTable([{ job: job(1, '1 + 1').yields(2).end().snapshot }, { job: job(12, 'sleep').snapshot }])
    expect(text).toBe(
      [
        'ID  NAME   TYPE           STATE      MORE  LOCATION   COMMAND',
        '1   Job1   BackgroundJob  Completed  yes   localhost  1 + 1',
        '12  Job12  BackgroundJob  Running    yes   localhost  sleep',
        '',
      ].join('\n'),
    )
  })
  it('says whose table, where there are several', () => {
    expect(jobTable([{ job: job(1, 'x').snapshot, at: 'server01' }])).toMatch(/^AT +ID .*\nserver01 +1 /)
  })
  it('numbers children behind their parent', () => {
    expect(jobId(new FakeJob(3, ['x'], {}, { position: 1 }).snapshot)).toBe('3.1')
  })
  it("has PowerShell's columns and widths, and its ellipsis", () => {
    const one = job(1, 'Get-Eventlog "Windows PowerShell" -Newest 5').yields('x').end()
    const text = powershellJobTable([{ job: one.snapshot }])
    expect(text).toBe(
      [
        'Id     Name            PSJobTypeName   State         HasMoreData     Location             Command',
        '--     ----            -------------   -----         -----------     --------             -------',
        '1      Job1            BackgroundJob   Completed     True            localhost            Get-Eventlog "Windows Po…',
        '',
      ].join('\n'),
    )
    expect(text.split('\n')[2]!.slice(-25)).toHaveLength(25)
  })
})

describe('session tables', () => {
  it("has PowerShell's columns and widths", () => {
    const session = new FakeSession(1, 'localhost', 'Runspace1')
    session.state = 'Disconnected'
    session.availability = 'None'
    const snapshot = { ...session.snapshot, transport: 'WSMan', configurationName: 'Microsoft.PowerShell' }
    expect(powershellSessionTable([snapshot])).toBe(
      [
        ' Id Name            Transport ComputerName    ComputerType    State         ConfigurationName     Availability',
        ' -- ----            --------- ------------    ------------    -----         -----------------     ------------',
        '  1 Runspace1       WSMan     localhost       RemoteMachine   Disconnected  Microsoft.PowerShell          None',
        '',
      ].join('\n'),
    )
  })
  it('shows when one ends', () => {
    const snapshot = { ...new FakeSession(2, 'server01').snapshot, expiresAt: new Date('2026-11-22T10:00:00Z') }
    expect(sessionTable([snapshot])).toMatch(
      /EXPIRES.*\n2 .*Opened +Available +0 +libp2p +2026-11-22T10:00:00.000Z +server01\n/,
    )
  })
})

describe('JSON', () => {
  it('has every field of a job, in documents that only grow', () => {
    const document = jobDocument(
      job(1, 'x').end('Failed', { reason: failure('COMMAND_EXIT', 'bad'), exitCode: 3 }).snapshot,
    )
    expect(Object.keys(document)).toEqual(JOB_FIELDS.filter((field) => field !== 'at'))
    expect(document).toMatchObject({
      id: 1,
      state: 'Failed',
      begunAt: '2026-11-22T09:00:00.000Z',
      exitCode: 3,
      reason: { name: 'Error', message: 'bad', code: 'COMMAND_EXIT' },
    })
    expect(jobDocument(job(1, 'x').snapshot)).toMatchObject({
      endedAt: null,
      exitCode: null,
      reason: null,
      children: [],
    })
    expect(Object.keys(sessionDocument(new FakeSession(1, 'a').snapshot))).toEqual(SESSION_FIELDS)
  })
  it('picks fields, and says which there are', () => {
    const document = jobDocument(job(1, 'x').snapshot)
    expect(pick(document, ['state', 'id'])).toEqual({ state: 'Running', id: 1 })
    expect(pick(document, [])).toBe(document)
    expect(() => pick(document, ['status'])).toThrow(
      expect.objectContaining({ code: 'USAGE', hint: expect.stringContaining('state') }),
    )
  })
  it('has a line for each kind of record', () => {
    const one = job(1, 'x').say(
      { kind: 'output', value: 1n },
      { kind: 'error', error: Object.assign(new TypeError('boom'), { code: 'E', extra: 1n }) },
      { kind: 'progress', activity: 'copying', percent: 50 },
      { kind: 'gap', dropped: 12 },
    )
    const base = { at: '2026-11-22T09:00:01.000Z', location: 'localhost', jobId: one.instanceId }
    expect(one.records.map((record) => JSON.parse(JSON.stringify(recordDocument(record))) as unknown)).toEqual([
      { seq: 0, ...base, kind: 'output', value: { $bigint: '1' } },
      {
        seq: 1,
        ...base,
        kind: 'error',
        error: { name: 'TypeError', message: 'boom', code: 'E', extra: { $bigint: '1' } },
      },
      { seq: 2, ...base, kind: 'progress', activity: 'copying', percent: 50 },
      { seq: 3, ...base, kind: 'gap', dropped: 12 },
    ])
  })
  it.each([
    [1n, { $bigint: '1' }],
    [new Date(0), { $date: '1970-01-01T00:00:00.000Z' }],
    [new Date(Number.NaN), { $date: null }],
    [new Uint8Array([1, 2, 255]), { $bytes: 'AQL/' }],
    [new Uint16Array([1, 2]).subarray(1), { $bytes: 'AgA=' }],
    [new Uint8Array([1, 2]).buffer, { $bytes: 'AQI=' }],
    [new Map<unknown, unknown>([[{ a: 1n }, new Set([1])]]), { $map: [[{ a: { $bigint: '1' } }, { $set: [1] }]] }],
    [Number.NaN, { $number: 'NaN' }],
    [-0, { $number: '-0' }],
    [Number.NEGATIVE_INFINITY, { $number: '-Infinity' }],
    [
      [undefined, null],
      [{ $undefined: true }, null],
    ],
    [/a/gi, { $regexp: '/a/gi' }],
    [new URL('http://x/'), { $url: 'http://x/' }],
    [{ $date: 'not one' }, { $object: [['$date', 'not one']] }],
    [
      { $a: 1, b: 2 },
      { $a: 1, b: 2 },
    ],
    ['text', 'text'],
  ])('tags %o', (value, written) => expect(tagged(value)).toEqual(written))
  it('ends at cycles, and shows what is merely shared', () => {
    const cycle: Record<string, unknown> = { a: 1 }
    cycle['self'] = cycle
    expect(tagged(cycle)).toEqual({ a: 1, self: { $circular: 1 } })
    const shared = { x: 1 }
    expect(tagged([shared, shared])).toEqual([{ x: 1 }, { x: 1 }])
    const error = new Error('loop')
    error.cause = error
    expect(errorFields(error)).toMatchObject({ message: 'loop', cause: { message: '[circular]' } })
  })
  it('shows jobs and sessions that a script returned as their documents', () => {
    const snapshot = named(job(2, 'x').snapshot, 'Job')
    expect(tagged([snapshot])).toEqual([jobDocument(snapshot)])
  })
})

describe('renderValue', () => {
  const pipe = { columns: undefined, colors: false }
  const screen = { columns: 80, colors: false }
  it('leaves text as it is', () => expect(renderValue('a\nb ', pipe)).toBe('a\nb '))
  it('writes anything else on one line in a pipe, whole', () => {
    const value = { a: [1, 2, { b: 'x'.repeat(200) }], c: new Map([[1, 2]]) }
    const text = renderValue(value, pipe)
    expect(text).not.toContain('\n')
    expect(text).toContain('x'.repeat(200))
    expect(
      renderValue(
        Array.from({ length: 300 }, (_, index) => index),
        pipe,
      ),
    ).toContain('299')
  })
  it('shows rows as a table to a person, and as data in a pipe', () => {
    const rows = [
      { name: 'a', size: 1 },
      { name: 'bb', size: 22 },
    ]
    expect(renderValue(rows, screen)).toBe('name  size\na     1\nbb    22')
    expect(renderValue(rows, pipe)).toBe("[ { name: 'a', size: 1 }, { name: 'bb', size: 22 } ]")
    expect(renderValue([{ a: 1 }, { b: 1 }], screen)).not.toMatch(/^a/)
    expect(renderValue([{ a: { b: 1 } }, { a: { b: 2 } }], screen)).toContain('{')
  })
  it('shows jobs and sessions as tables, also in a pipe', () => {
    expect(renderValue(named(job(2, 'x').snapshot, 'Job'), pipe)).toMatch(/^ID +NAME.*\n2 +Job2 .*x$/)
    expect(renderValue([named(new FakeSession(1, 'a').snapshot, 'Session')], pipe)).toMatch(/^ID +NAME +STATE/)
    expect(renderValue([], pipe)).toBe('[]')
  })
  it('says what class an object had', () => {
    expect(renderValue(named({ x: 1 }, 'Point'), pipe)).toBe('Point { x: 1 }')
  })
})

describe('progress', () => {
  const wide = { columns: 80, rows: 24 }
  it('says what, how far and how long, in columns', () => {
    const bars = new ProgressBars()
    bars.take('j1', 'here', { activity: 'Copying', status: '3 of 9', percent: 33.4, secondsRemaining: 12 })
    bars.take('j2', 'here', { activity: 'Waiting' })
    bars.take('j3', 'here', { activity: 'x', percent: 140 })
    expect(bars.lines(wide)).toEqual([
      'Copying: 3 of 9  [######--------------]  33%  12s left',
      'Waiting',
      'x                [####################] 100%',
    ])
  })
  it('has a bar only where there is room, and keeps the numbers where there is hardly any', () => {
    const bars = new ProgressBars()
    bars.take('j1', 'here', { activity: 'Copying everything there is', percent: 50, secondsRemaining: 3 })
    expect(bars.lines({ columns: 40, rows: 24 })).toEqual(['Copying everything ther…   50%  3s left'])
    for (const columns of [1, 5, 12, 20, 39, 49, 50, 51, 200]) {
      for (const line of bars.lines({ columns, rows: 24 })) expect(line.length).toBeLessThan(Math.max(2, columns))
    }
  })
  it('shows as many as fit and counts the others', () => {
    const bars = new ProgressBars()
    for (let n = 1; n <= 20; n++) bars.take(`j${n}`, 'here', { activity: `a${n}` })
    expect(bars.lines({ columns: 80, rows: 10 })).toEqual(['a1', 'a2', 'a3', 'a4', '… and 16 more'])
    expect(bars.lines({ columns: 80, rows: 1 })).toEqual(['… and 20 more'])
  })
  it('lets go of what is completed, and of all of a job that has ended', () => {
    const bars = new ProgressBars()
    bars.take('j1', 'here', { activity: 'a' })
    bars.take('j2', 'here', { activity: 'b', percent: 1 })
    bars.take('j1', 'here', { activity: 'a', completed: true })
    expect(bars.lines(wide)).toEqual(['b  [--------------------]   1%'])
    bars.end('j2')
    expect(bars.lines(wide)).toEqual([])
  })
  it('counts the items of a map, with a bar where their number is known', () => {
    const bars = new ProgressBars()
    const items = { taken: 12, done: 6, failed: 2, running: 4, queued: 0 }
    bars.count('j1', 'Job3', items, undefined)
    expect(bars.lines(wide)).toEqual(['Job3  8 done  4 at work  2 failed'])
    bars.count('j1', 'Job3', items, 16)
    expect(bars.lines(wide)).toEqual(['Job3  [##########----------]  50%  8/16  4 at work  2 failed'])
  })
})
