// A run on another peer as a job here, over a session that is only what the test says of it.
import { expect, test } from 'vitest'
import { RemoteEngine } from '../src/engine/remote.ts'
import type { RemoteSession } from '../src/remote-session.ts'
import type { JobSnapshot, JobState } from '../src/surface.ts'
import type { SessionEvent } from '../src/wire.ts'
import { questionOf, scriptedJob, settled } from './support/scripted-engine.ts'

/** The far run, told of by hand, and what was asked of it. */
function farRun(): { session: RemoteSession; asked: string[]; is: (state: JobState, more?: object) => Promise<void> } {
  const run = scriptedJob({ name: 'run' }).snapshot()
  const over = Promise.withResolvers<JobSnapshot>()
  const asked: string[] = []
  let tell: (snapshot: JobSnapshot) => void = () => {}
  const session = {
    state: 'Opened',
    temporary: false,
    snapshot: { buffering: 'block' },
    onChange: () => () => {},
    tellRead: async () => {},
    expect: () => {},
    request: async (event: SessionEvent) => {
      asked.push(event.type)
      return run
    },
    begin: async () => {
      asked.push('run')
      return run
    },
    run: async () => {
      asked.push('run')
      return run
    },
    watchJob: (_: string, listener: (snapshot: JobSnapshot) => void) => {
      tell = listener
      return () => {}
    },
    // oxlint-disable-next-line require-yield -- it says nothing
    async *copy() {
      return over.promise
    },
  } as unknown as RemoteSession
  const is = async (state: JobState, more: object = {}): Promise<void> => {
    const snapshot = { ...run, ...more, state }
    if (state === 'Completed') over.resolve(snapshot)
    else tell(snapshot)
    await settled()
  }
  return { session, asked, is }
}

test('a far run that somebody else suspends and resumes is shown so here, and is not resumed once more', async () => {
  const { session, asked, is } = farRun()
  const job = scriptedJob({ engine: new RemoteEngine({ location: 'far', open: async () => session }) })
  job.start()
  await settled()
  await is('Running')
  await is('Suspended')
  expect(job.state).toBe('Suspended')
  await is('Running')
  expect(job.state).toBe('Running')
  const question = questionOf('1')
  await is('Blocked', { question })
  await is('Suspended', { question })
  expect(job.state).toBe('Suspended')
  await is('Blocked', { question })
  expect(job.state).toBe('Blocked')
  await is('Suspended', { question })
  // On its way to its end it has not been resumed.
  await is('Stopping', { question })
  expect(job.state).toBe('Suspended')
  expect(asked).toEqual(['run'])
  await is('Completed')
  expect((await job.finished).state).toBe('Completed')
})
