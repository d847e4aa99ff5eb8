// What a command says by ending (docs/CLI.md, Exit codes). Programs are written against these numbers.
import { codeOf, type JobSnapshot } from '@errand/runtime/client'
import { BROKEN_PIPE, Failure } from './failure.ts'

export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  unknown: 3,
  denied: 4,
  unreachable: 5,
  timeout: 124,
  beforeCommand: 125,
  notExecutable: 126,
  notFound: 127,
  interrupted: 130,
  terminated: 143,
} as const

/** How errors with these codes end a command; all others with 1. */
export const BY_CODE: Readonly<Record<string, number>> = {
  [BROKEN_PIPE]: EXIT.done,
  USAGE: EXIT.usage,
  SCRIPT: EXIT.usage,
  SCRIPT_INCOMPLETE: EXIT.usage,
  FREE_VARIABLE: EXIT.usage,
  JOB_AMBIGUOUS: EXIT.usage,
  SESSION_AMBIGUOUS: EXIT.usage,
  INVALID_ANSWER: EXIT.usage,
  INVALID_INPUT: EXIT.usage,
  INVALID_EVENT: EXIT.usage,
  JOB_NOT_OFFERED: EXIT.unknown,
  MACHINE_NOT_OFFERED: EXIT.unknown,
  TICKET: EXIT.usage,
  JOB_NOT_FOUND: EXIT.unknown,
  SESSION_NOT_FOUND: EXIT.unknown,
  SESSION_EXPIRED: EXIT.unknown,
  PEER_NOT_FOUND: EXIT.unknown,
  NAME_NOT_FOUND: EXIT.unknown,
  DENIED: EXIT.denied,
  PEER_UNREACHABLE: EXIT.unreachable,
  PEER_LOST: EXIT.unreachable,
  OUTCOME_UNKNOWN: EXIT.unreachable,
  PEER_CLOSED: EXIT.unreachable,
  CHANNEL_CLOSED: EXIT.unreachable,
  SESSION_CLOSED: EXIT.unreachable,
  TIMEOUT: EXIT.timeout,
  COMMAND_NOT_STARTED: EXIT.beforeCommand,
  COMMAND_NOT_EXECUTABLE: EXIT.notExecutable,
  COMMAND_NOT_FOUND: EXIT.notFound,
}

/** For an error that ends a command. */
export function exitCodeOf(error: unknown): number {
  return BY_CODE[codeOf(error) ?? ''] ?? EXIT.failed
}

/** A job's reason may be an error of the place it should have run at: only these say more than "it failed". */
const TELLING = new Set<number>([
  EXIT.unknown,
  EXIT.denied,
  EXIT.unreachable,
  EXIT.beforeCommand,
  EXIT.notExecutable,
  EXIT.notFound,
])

/**
 * For jobs that have ended: 0 when all Completed. Exactly one (a parent of one child counts as that child) speaks for
 * itself — a command's own exit code, or why it could not run; of several, 1 if any did not complete.
 */
export function exitCodeOfJobs(jobs: readonly JobSnapshot[]): number {
  const leaves = jobs.flatMap(leavesOf)
  const [only] = leaves
  if (only === undefined || leaves.length > 1) {
    return jobs.every((job) => job.state === 'Completed') ? EXIT.done : EXIT.failed
  }
  if (only.exitCode !== undefined && only.exitCode !== 0) return only.exitCode
  if (jobs.every((job) => job.state === 'Completed')) return EXIT.done
  const code = exitCodeOf(only.reason)
  return TELLING.has(code) ? code : EXIT.failed
}

/** The jobs that did the work: a parent's children, and theirs; a job without children itself. */
export function leavesOf(job: JobSnapshot): readonly JobSnapshot[] {
  return job.children.length === 0 ? [job] : job.children.flatMap(leavesOf)
}

/** Why jobs that have ended make us exit with something else than 0, as an error with a code. */
export function failureOfJobs(jobs: readonly JobSnapshot[]): Error {
  const failed = jobs.flatMap(leavesOf).filter(({ state }) => state !== 'Completed')
  const [only] = failed
  if (failed.length === 1 && only?.reason !== undefined && codeOf(only.reason) !== undefined) return only.reason
  const what = failed.map((job) => `${job.name} ${job.state}${job.reason ? `: ${job.reason.message}` : ''}`).join('; ')
  return new Failure(only?.state === 'Stopped' ? 'JOB_STOPPED' : 'JOB_FAILED', what)
}
