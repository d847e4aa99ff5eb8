// A parent's state is a pure fold of its children (reference: PowerShell's HandleChildJobStateChanged).
import type { JobState } from './surface.ts'

const FINISHED: ReadonlySet<JobState> = new Set<JobState>(['Completed', 'Failed', 'Stopped'])

export function isFinished(state: JobState): boolean {
  return FINISHED.has(state)
}

/**
 * Finished only when all children are: Failed if any failed, else Stopped if the parent was stopped or every child
 * was, else Completed. Before that: Blocked if any is, Disconnected or Suspended if all that are not finished are, else
 * Running.
 */
export function foldChildren(children: readonly JobState[], stopped: boolean): JobState {
  if (children.every(isFinished)) {
    if (children.includes('Failed')) return 'Failed'
    if (
      children.length > 0 &&
      (stopped ? children.includes('Stopped') : children.every((state) => state === 'Stopped'))
    ) {
      return 'Stopped'
    }
    return 'Completed'
  }
  const open = children.filter((state) => !isFinished(state))
  if (open.includes('Blocked')) return 'Blocked'
  if (open.every((state) => state === 'Disconnected')) return 'Disconnected'
  if (!stopped && open.every((state) => state === 'Suspended')) return 'Suspended'
  return stopped ? 'Stopping' : 'Running'
}
