// State changes among records: what `writeEvents` asks for. On the way each is a chunk of no records, whose bytes are the
// event: it counts for nothing where records are counted.
import { decode, encode } from '@errand/transport'
import { isFinished } from './child-jobs.ts'
import { ProtocolError } from './errors.ts'
import type { ReadChunk } from './record.ts'
import type { JobEvent, JobSnapshot, JobState } from './surface.ts'

/** States in which nothing moves until somebody answers, resumes or connects. */
const STILL: ReadonlySet<JobState> = new Set<JobState>(['Blocked', 'Suspended', 'Disconnected'])

/** It does not go on by itself; nor has it ended. */
export function standsStill(state: JobState): boolean {
  return STILL.has(state)
}

type Change = Pick<JobEvent, 'at' | 'state' | 'previous' | 'reason'>

/** States in which a stream says how the job is: on its way it is followed, not told of. */
export function isTold(state: JobState): boolean {
  return STILL.has(state) || isFinished(state)
}

/** A change of a job of which all records before `first` had been said. */
export function eventChunk(job: JobSnapshot, change: Change, first: number): ReadChunk {
  const { instanceId, location } = job
  // As with records: what cannot travel of a reason is left out and marked.
  const bytes = encode(change, { lossy: true })
  return { job: instanceId, location, first, from: first, count: 0, errors: 0, bytes }
}

/** @throws ProtocolError */
export function eventOf(chunk: ReadChunk): JobEvent {
  const change = decode(chunk.bytes, { copy: true }) as Partial<Change> | null
  if (typeof change?.state !== 'string' || typeof change.previous !== 'string' || !(change.at instanceof Date))
    throw new ProtocolError('a state change that does not fit')
  const { at, state, previous, reason } = change
  return {
    kind: 'state',
    at,
    location: chunk.location,
    jobId: chunk.job,
    state,
    previous,
    ...(reason !== undefined && { reason }),
  }
}
