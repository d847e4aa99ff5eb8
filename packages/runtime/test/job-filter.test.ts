import { describe, expect, it } from 'vitest'
import { filterJobs, findJob, wildcard } from '../src/job-filter.ts'
import type { JobSnapshot } from '../src/surface.ts'

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
  children: [],
  endedAt: new Date(id * 1000),
  ...more,
})
const child = job(3, { instanceId: 'child-1', name: 'Job3.1', parentId: 3, position: 1, state: 'Failed' })
const jobs = [job(2, { name: 'backup' }), job(1), job(3, { children: [child], state: 'Running', endedAt: undefined })]
const ids = (found: readonly JobSnapshot[]): number[] => found.map(({ id }) => id)

describe('filters of jobs', () => {
  it('sorts by number whatever the order of the table', () => expect(ids(filterJobs(jobs, {}))).toEqual([1, 2, 3]))
  it('by state, one or several', () => {
    expect(ids(filterJobs(jobs, { state: 'Running' }))).toEqual([3])
    expect(ids(filterJobs(jobs, { state: ['Running', 'Completed'] }))).toEqual([1, 2, 3])
  })
  it('by name with wildcards, in any case', () => {
    expect(ids(filterJobs(jobs, { name: 'JOB?' }))).toEqual([1, 3])
    expect(ids(filterJobs(jobs, { name: 'b*p' }))).toEqual([2])
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
  })
  it('newest by end, then sorted by number', () => expect(ids(filterJobs(jobs, { newest: 2 }))).toEqual([2, 3]))
  it('takes a wildcard apart from a regular expression', () => {
    expect(wildcard('a.b(c)').test('a.b(c)')).toBe(true)
    expect(wildcard('a.b').test('aXb')).toBe(false)
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
