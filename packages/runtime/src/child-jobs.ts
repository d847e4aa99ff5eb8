// A parent's state is a pure fold of its children (reference: PowerShell's HandleChildJobStateChanged).
import type { JobState } from './surface.ts'

/** All there are, each at its number in a row's history: append only. */
export const STATES: readonly JobState[] = [
  'NotStarted',
  'Running',
  'Blocked',
  'Suspended',
  'Disconnected',
  'Stopping',
  'Completed',
  'Failed',
  'Stopped',
]

const FINISHED: ReadonlySet<JobState> = new Set<JobState>(['Completed', 'Failed', 'Stopped'])

/** Nothing is known to be done in these. */
const STILL: ReadonlySet<JobState> = new Set<JobState>(['Disconnected', 'Blocked', 'Suspended'])

/** Whether a job in this state has ended: Completed, Failed or Stopped. */
export function isFinished(state: JobState): boolean {
  return FINISHED.has(state)
}

/**
 * Finished only when all children are: Failed if any failed, else Stopped if the parent was stopped or every child
 * was, else Completed. Before that it is what those are that have not finished: Disconnected if all are; Stopping if the
 * parent was stopped; Disconnected if some are and no other moves; Blocked if any is; Suspended if all that have begun
 * are, or, where nobody's turn comes any more (`held`), none has; else Running.
 */
export function foldChildren(children: readonly JobState[], stopped: boolean, held = false): JobState {
  const open = children.filter((state) => !isFinished(state))
  if (open.length === 0) {
    if (children.includes('Failed')) return 'Failed'
    const whole = children.length > 0 && children.every((state) => state === 'Stopped')
    return whole || (stopped && children.includes('Stopped')) ? 'Stopped' : 'Completed'
  }
  if (open.every((state) => state === 'Disconnected')) return 'Disconnected'
  if (stopped) return 'Stopping'
  if (open.includes('Disconnected') && open.every((state) => STILL.has(state))) return 'Disconnected'
  if (open.includes('Blocked')) return 'Blocked'
  // Whoever waits for its turn waits as long as those before it stand still.
  const begun = open.filter((state) => state !== 'NotStarted')
  return (held || begun.length > 0) && begun.every((state) => state === 'Suspended') ? 'Suspended' : 'Running'
}
