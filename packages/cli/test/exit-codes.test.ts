import { describe, expect, it } from 'vitest'
import { exitCodeOf, exitCodeOfJobs, failureOfJobs } from '../src/exit-codes.ts'
import { failure, FakeJob } from './fake-peer.ts'

const job = (): FakeJob => new FakeJob(1, ['x'], {})
const parent = (...children: FakeJob[]): FakeJob => {
  const one = new FakeJob(2, ['x'], {}, { type: 'RemoteJob' })
  one.children = children
  return one.end(children.every(({ state }) => state === 'Completed') ? 'Completed' : 'Failed', {
    reason: failure('CHILD_JOB', 'did not complete'),
  })
}
const codeFor = (...jobs: FakeJob[]): number => exitCodeOfJobs(jobs.map(({ snapshot }) => snapshot))

describe('exitCodeOf', () => {
  it.each([
    ['USAGE', 2],
    ['SCRIPT', 2],
    ['SCRIPT_INCOMPLETE', 2],
    ['FREE_VARIABLE', 2],
    ['JOB_AMBIGUOUS', 2],
    ['TICKET', 2],
    ['JOB_NOT_FOUND', 3],
    ['SESSION_NOT_FOUND', 3],
    ['PEER_NOT_FOUND', 3],
    ['DENIED', 4],
    ['PEER_UNREACHABLE', 5],
    ['PEER_LOST', 5],
    ['SESSION_CLOSED', 5],
    ['TIMEOUT', 124],
    ['COMMAND_NOT_STARTED', 125],
    ['COMMAND_NOT_EXECUTABLE', 126],
    ['COMMAND_NOT_FOUND', 127],
    ['EPIPE', 0],
    ['JOB_NOT_FINISHED', 1],
    ['WHATEVER', 1],
  ])('%s: %i', (code, exit) => expect(exitCodeOf(failure(code, ''))).toBe(exit))
  it('is 1 for what has no code', () => {
    expect(exitCodeOf(new Error('x'))).toBe(1)
    expect(exitCodeOf(undefined)).toBe(1)
    expect(exitCodeOf({ code: 20 })).toBe(1) // a DOMException's number
  })
})

describe('exitCodeOfJobs', () => {
  it('is 0 when all completed', () => {
    expect(codeFor(job().end(), job().end())).toBe(0)
    expect(codeFor()).toBe(0)
  })
  it('is the exit code of exactly one command', () => {
    expect(codeFor(job().end('Failed', { exitCode: 3, reason: failure('COMMAND_EXIT', '') }))).toBe(3)
    expect(codeFor(job().end('Stopped', { exitCode: 143 }))).toBe(143)
    expect(codeFor(parent(job().end('Failed', { exitCode: 7, reason: failure('COMMAND_EXIT', '') })))).toBe(7)
  })
  it('is 1 when any of several did not complete', () => {
    expect(codeFor(job().end('Failed', { exitCode: 3 }), job().end())).toBe(1)
    expect(codeFor(parent(job().end('Failed', { exitCode: 3 }), job().end()))).toBe(1)
  })
  it('says why a single one could not run', () => {
    expect(codeFor(job().end('Failed', { reason: failure('COMMAND_NOT_FOUND', '') }))).toBe(127)
    expect(codeFor(parent(job().end('Failed', { reason: failure('PEER_UNREACHABLE', '') })))).toBe(5)
    expect(codeFor(parent(job().end('Failed', { reason: failure('DENIED', '') })))).toBe(4)
  })
  it("is 1 when it failed or was stopped, also by its own deadline: 124 is this command's", () => {
    expect(codeFor(job().end('Failed', { reason: failure('TIMEOUT', 'deadline') }))).toBe(1)
    expect(codeFor(job().end('Failed', { reason: failure('FREE_VARIABLE', '') }))).toBe(1)
    expect(codeFor(job().end('Stopped'))).toBe(1)
  })
})

describe('failureOfJobs', () => {
  it('is the reason of one, and a summary of several', () => {
    const reason = failure('COMMAND_EXIT', 'ended with exit code 3')
    expect(failureOfJobs([job().end('Failed', { reason }).snapshot])).toBe(reason)
    expect(failureOfJobs([job().end('Stopped').snapshot])).toMatchObject({ code: 'JOB_STOPPED' })
    const two = [job().end('Failed', { reason }).snapshot, job().end('Failed', { reason: new Error('boom') }).snapshot]
    expect(failureOfJobs(two)).toMatchObject({ code: 'JOB_FAILED', message: expect.stringContaining('boom') })
  })
})
