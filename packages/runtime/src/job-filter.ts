// Which jobs are meant: filters of `jobs()` and the many ways to name one. Pure.
import { JobAmbiguousError, JobNotFoundError } from './errors.ts'
import type { JobFilter, JobSnapshot } from './surface.ts'

/** As Get-Job: filters together, children behind their parents, `newest` by end, output by number. */
export function filterJobs(jobs: readonly JobSnapshot[], filter: JobFilter): JobSnapshot[] {
  let found = jobs.filter((job) => matches(job, filter))
  if (filter.includeChildren) found = found.flatMap((job) => [job, ...job.children])
  if (filter.newest !== undefined) {
    found = [...found].sort((a, b) => ended(b) - ended(a)).slice(0, filter.newest)
  }
  return found.sort((a, b) => a.id - b.id || (a.position ?? 0) - (b.position ?? 0))
}

function matches(job: JobSnapshot, filter: JobFilter): boolean {
  const { id, name, state, hasMoreData, before, after, command } = filter
  if (id !== undefined && !(Array.isArray(id) ? id : [id]).includes(job.id)) return false
  if (name !== undefined && !wildcard(name).test(job.name)) return false
  if (state !== undefined && !(Array.isArray(state) ? state : [state]).includes(job.state)) return false
  if (hasMoreData !== undefined && job.hasMoreData !== hasMoreData) return false
  if (before && !(job.endedAt && job.endedAt < before)) return false
  if (after && !(job.endedAt && job.endedAt > after)) return false
  return command === undefined || wildcard(command).test(job.command.trim())
}

/** Unfinished jobs are the newest of all. */
function ended(job: JobSnapshot): number {
  return job.endedAt?.getTime() ?? Number.MAX_SAFE_INTEGER
}

/** `*` and `?`, the whole text, any case. Never longer than pattern times text: a pattern may come from another peer. */
export function wildcard(pattern: string): { test(text: string): boolean } {
  const wanted = pattern.trim().toLowerCase()
  return { test: (text) => matchesWildcard(wanted, text.toLowerCase()) }
}

/** Goes back to the last star only: what an earlier star took never has to be taken differently. */
function matchesWildcard(pattern: string, text: string): boolean {
  let at = 0
  let star = -1
  let resume = 0
  let index = 0
  while (index < text.length) {
    if (pattern[at] === '*') {
      star = at++
      resume = index
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === text[index])) {
      at++
      index++
    } else if (star >= 0) {
      at = star + 1
      index = ++resume
    } else return false
  }
  while (pattern[at] === '*') at++
  return at === pattern.length
}

/**
 * The one job that is meant: its number, `3.1` for a child, `%` for the newest, a name, an instanceId or a prefix of at
 * least four characters of one.
 * @throws JobNotFoundError, JobAmbiguousError
 */
export function findJob(jobs: readonly JobSnapshot[], which: number | string, where: string): JobSnapshot {
  const found = candidates(jobs, which)
  if (found.length === 0) throw new JobNotFoundError(which, where)
  if (found.length > 1)
    throw new JobAmbiguousError(
      which,
      found.map((job) => (job.position ? `${job.id}.${job.position}` : job.id)),
    )
  return found[0]!
}

function candidates(jobs: readonly JobSnapshot[], which: number | string): JobSnapshot[] {
  const text = String(which)
  if (text === '%') return jobs.toSorted((a, b) => b.id - a.id).slice(0, 1)
  const number = /^(\d+)(?:\.(\d+))?$/.exec(text)
  if (number) {
    const parent = jobs.filter((job) => job.id === Number(number[1]))
    const child = number[2]
    const numbered =
      child === undefined ? parent : parent.flatMap((job) => job.children.filter((c) => c.position === Number(child)))
    if (numbered.length > 0) return numbered
  }
  const all = jobs.flatMap((job) => [job, ...job.children])
  const exact = all.filter((job) => job.instanceId === text)
  if (exact.length > 0) return exact
  const named = all.filter((job) => job.name.toLowerCase() === text.toLowerCase())
  if (named.length > 0) return named
  return text.length >= 4 ? all.filter((job) => job.instanceId.startsWith(text)) : []
}
