import { describe, expect, it } from 'vitest'
import { filterJobs, findJob, wildcard } from '../src/job-filter.ts'
import type { JobFilter, JobSnapshot, JobState } from '../src/surface.ts'

const job = (id: number, more: Partial<JobSnapshot> = {}): JobSnapshot => ({
  id,
  instanceId: `${id}${id}${id}${id}-0000`,
  name: `Job${id}`,
  command: 'true',
  location: 'localhost',
  peer: 'p',
  session: 's',
  type: 'BackgroundJob',
  state: 'Completed',
  hasMoreData: false,
  errorCount: 0,
  history: [],
  children: [],
  endedAt: new Date(id * 1000),
  ...more,
})
const child = job(3, { instanceId: 'child-1', name: 'Job3.1', parentId: 3, position: 1, state: 'Failed' })
const jobs = [job(2, { name: 'backup' }), job(1), job(3, { children: [child], state: 'Running', endedAt: undefined })]
const ids = (found: readonly JobSnapshot[]): number[] => found.map(({ id }) => id)

describe('filters of jobs', () => {
  it('P64 lists all jobs, by number whatever the order of the table', () =>
    expect(ids(filterJobs(jobs, {}))).toEqual([1, 2, 3]))
  it('by number, one or several', () => {
    expect(ids(filterJobs(jobs, { id: 2 }))).toEqual([2])
    expect(ids(filterJobs(jobs, { id: [3, 1, 9] }))).toEqual([1, 3])
    expect(filterJobs(jobs, { id: [] })).toEqual([])
  })
  it('by state, one or several', () => {
    expect(ids(filterJobs(jobs, { state: 'Running' }))).toEqual([3])
    expect(ids(filterJobs(jobs, { state: ['Running', 'Completed'] }))).toEqual([1, 2, 3])
  })
  it('by name with wildcards, in any case', () => {
    expect(ids(filterJobs(jobs, { name: 'JOB?' }))).toEqual([1, 3])
    expect(ids(filterJobs(jobs, { name: 'b*p' }))).toEqual([2])
    expect(filterJobs(jobs, { name: 'ob1' })).toEqual([])
  })
  it('by command: the whole text without space around it, in any case, with wildcards', () => {
    const some = [
      job(1, { command: '  1 + 1\n' }),
      job(2, { command: 'Get-EventLog\nSystem' }),
      job(3, { command: '1+1' }),
    ]
    expect(ids(filterJobs(some, { command: '1 + 1' }))).toEqual([1])
    expect(ids(filterJobs(some, { command: ' 1 + 1 ' }))).toEqual([1])
    expect(ids(filterJobs(some, { command: 'get-eventlog*' }))).toEqual([2])
    expect(ids(filterJobs(some, { command: '1?1' }))).toEqual([3])
  })
  it('with children behind their parents', () => {
    expect(filterJobs(jobs, { includeChildren: true }).map(({ name }) => name)).toEqual([
      'Job1',
      'backup',
      'Job3',
      'Job3.1',
    ])
  })
  it('before and after speak of the end: unfinished jobs are in neither', () => {
    expect(ids(filterJobs(jobs, { before: new Date(1500) }))).toEqual([1])
    expect(ids(filterJobs(jobs, { after: new Date(0) }))).toEqual([1, 2])
    expect(ids(filterJobs(jobs, { after: new Date(0), before: new Date(2000) }))).toEqual([1])
  })
  it('before and after are strict: what ended at that very moment is in neither', () => {
    expect(filterJobs([job(1)], { before: new Date(1000) })).toEqual([])
    expect(filterJobs([job(1)], { after: new Date(1000) })).toEqual([])
    expect(ids(filterJobs([job(1)], { after: new Date(999), before: new Date(1001) }))).toEqual([1])
  })
  it('newest by end, then sorted by number', () => expect(ids(filterJobs(jobs, { newest: 2 }))).toEqual([2, 3]))
  it('newest is counted last, among what is left', () => {
    expect(ids(filterJobs(jobs, { newest: 1, state: 'Completed' }))).toEqual([2])
    const ended = [job(1, { endedAt: new Date(9000) }), job(2), job(3)]
    expect(ids(filterJobs(ended, { newest: 2 }))).toEqual([1, 3])
    expect(ids(filterJobs(ended, { newest: 9 }))).toEqual([1, 2, 3])
    expect(filterJobs(ended, { newest: 0 })).toEqual([])
  })
  it('takes a wildcard apart from a regular expression', () => {
    expect(wildcard('a.b(c)').test('a.b(c)')).toBe(true)
    expect(wildcard('a.b').test('aXb')).toBe(false)
  })
  it('a pattern made to go back and forth takes no longer than it is long', () => {
    expect(wildcard('a*'.repeat(2_000) + 'b').test('a'.repeat(20_000))).toBe(false)
  })
})

describe('filters and children', () => {
  const of = (id: number, position: number, state: JobState, more: Partial<JobSnapshot> = {}): JobSnapshot =>
    job(id, { instanceId: `c${id}.${position}`, name: `fan.${position}`, parentId: id, position, state, ...more })
  const fan = job(2, {
    name: 'fan',
    state: 'Failed',
    hasMoreData: true,
    children: [
      of(2, 1, 'Completed', { hasMoreData: true, endedAt: new Date(500) }),
      of(2, 2, 'Failed', { endedAt: new Date(1500) }),
      of(2, 3, 'Stopped', { hasMoreData: true, endedAt: new Date(2000) }),
    ],
  })
  const two = [fan, job(1)]
  const names = (filter: JobFilter): string[] => filterJobs(two, filter).map(({ name }) => name)

  it('P61 includeChildren appends all, childState those in that state; every parent stays, first', () => {
    expect(names({ includeChildren: true })).toEqual(['Job1', 'fan', 'fan.1', 'fan.2', 'fan.3'])
    expect(names({ childState: 'Completed' })).toEqual(['Job1', 'fan', 'fan.1'])
    expect(names({ childState: 'Running' })).toEqual(['Job1', 'fan'])
  })
  it('childState wins over includeChildren', () =>
    expect(names({ childState: 'Failed', includeChildren: true })).toEqual(['Job1', 'fan', 'fan.2']))
  it('state and command look at parents only', () => {
    expect(names({ state: 'Stopped' })).toEqual([])
    expect(names({ state: 'Completed' })).toEqual(['Job1'])
    expect(names({ state: 'Failed', includeChildren: true })).toEqual(['fan', 'fan.1', 'fan.2', 'fan.3'])
    expect(names({ command: 'true' })).toEqual(['Job1', 'fan'])
  })
  it('hasMoreData, before, after and newest look at the appended children too', () => {
    expect(names({ includeChildren: true, hasMoreData: true })).toEqual(['fan', 'fan.1', 'fan.3'])
    expect(names({ childState: 'Failed', hasMoreData: true })).toEqual(['fan'])
    expect(names({ includeChildren: true, before: new Date(1500) })).toEqual(['Job1', 'fan.1'])
    expect(names({ includeChildren: true, after: new Date(1000) })).toEqual(['fan', 'fan.2', 'fan.3'])
    expect(names({ includeChildren: true, newest: 2 })).toEqual(['fan', 'fan.3'])
  })
  it('a child is found by its own name, once', () => {
    expect(names({ name: 'fan.2' })).toEqual(['fan.2'])
    expect(names({ name: '*.3' })).toEqual(['fan.3'])
    expect(names({ name: 'fan*' })).toEqual(['fan'])
    expect(names({ name: '*.?', state: 'Stopped' })).toEqual(['fan.3'])
    expect(names({ name: 'fan*', includeChildren: true })).toEqual(['fan', 'fan.1', 'fan.2', 'fan.3'])
  })
})

describe('a filter that does not fit is refused, and says what is wrong', () => {
  const bad: [string, unknown, string][] = [
    ['a state that there is not', { state: 'Done' }, "`state`: there is no state 'Done'"],
    ['one of several', { state: ['Running', 'Done'] }, "`state`: there is no state 'Done'"],
    ['a child state', { childState: 'completed' }, "`childState`: there is no state 'completed'"],
    ['a number as text', { id: '3' }, "`id` is a job's number, or several, not '3'"],
    ['a name that is none', { name: 7 }, '`name` is text, not 7'],
    ['a command that is none', { command: null }, '`command` is text, not null'],
    ['no date', { before: 'yesterday' }, "`before` is a date, not 'yesterday'"],
    ['an invalid date', { after: new Date('never') }, '`after` is a date, not Invalid Date'],
    ['half a job', { newest: 1.5 }, '`newest` is a number of jobs from 0 on, not 1.5'],
    ['less than none', { newest: -1 }, '`newest` is a number of jobs from 0 on, not -1'],
    ['yes', { hasMoreData: 'yes' }, "`hasMoreData` is true or false, not 'yes'"],
  ]
  it.each(bad)('%s', (_, filter, message) => {
    // Also where there is nothing to look at.
    expect(() => filterJobs([], filter as JobFilter)).toThrow(expect.objectContaining({ code: 'USAGE', message }))
  })
})

describe('naming one job', () => {
  const name = (which: number | string): string => findJob(jobs, which, 'here').name
  it('by number, as text, as a child, the newest', () => {
    expect([name(2), name('2'), name('3.1'), name('%')]).toEqual(['backup', 'backup', 'Job3.1', 'Job3'])
  })
  it('by name, instanceId and prefix', () => {
    expect([name('BACKUP'), name('child-1'), name('2222')]).toEqual(['backup', 'Job3.1', 'backup'])
  })
  it('none and several are said', () => {
    expect(() => name('nope')).toThrow(expect.objectContaining({ code: 'JOB_NOT_FOUND' }))
    expect(() => name('3.2')).toThrow(expect.objectContaining({ code: 'JOB_NOT_FOUND' }))
    expect(() => findJob([job(1, { name: 'x' }), job(2, { name: 'x' })], 'x', 'here')).toThrow(
      expect.objectContaining({ code: 'JOB_AMBIGUOUS' }),
    )
  })
})
