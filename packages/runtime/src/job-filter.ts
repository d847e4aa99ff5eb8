// Which jobs are meant: filters of `jobs()` and the many ways to name one. Pure.
import { STATES } from './child-jobs.ts'
import { JobAmbiguousError, JobNotFoundError, UsageError } from './errors.ts'
import type { JobFilter, JobState } from './surface.ts'

/** @throws UsageError for a state that there is not: nothing would ever be in it */
export function checkStates(states: JobState | readonly JobState[] | undefined, where: string): void {
  const unknown = listOf(states).find((state) => !STATES.includes(state))
  if (unknown === undefined) return
  throw new UsageError(`\`${where}\`: there is no state '${String(unknown)}'`, {
    hint: `states: ${STATES.join(', ')}`,
  })
}

/** What is looked at: of a snapshot, or of a job as its table has it. */
export interface JobFacts {
  readonly id: number
  readonly instanceId: string
  readonly name: string
  readonly command: string
  readonly state: JobState
  readonly hasMoreData: boolean
  readonly endedAt?: Date | undefined
  readonly position?: number | undefined
}
/** A job and its children. */
export type Family<J extends JobFacts> = J & { readonly children: readonly J[] }

/**
 * As Get-Job: jobs are chosen, children appended behind their parents, then what ended when and has what left is chosen
 * among all of them, `newest` last; output by number. @throws UsageError: a filter may come from another peer
 */
export function filterJobs<J extends JobFacts>(jobs: Iterable<Family<J>>, filter: JobFilter): J[] {
  checkFilter(filter)
  const isChosen = chooser(filter)
  const isLeft = sieve(filter)
  const found: J[] = []
  for (const job of jobs) {
    const listed: readonly J[] = isChosen(job)
      ? [job, ...childrenOf(job, filter)]
      : namedChildren(job, filter, isChosen)
    for (const one of listed) if (isLeft(one)) found.push(one)
  }
  const { newest } = filter
  const kept =
    newest === undefined || found.length <= newest
      ? found
      : found.sort((a, b) => ended(b) - ended(a) || byNumber(b, a)).slice(0, newest)
  return kept.sort(byNumber)
}

/** @throws UsageError: what a filter looks for must be what it may look for */
export function checkFilter(filter: JobFilter): void {
  const { id, name, state, childState, hasMoreData, includeChildren, newest, before, after, command } = filter
  const refuse = (what: string, wanted: string, value: unknown): never => {
    throw new UsageError(`\`${what}\` is ${wanted}, not ${typeof value === 'string' ? `'${value}'` : String(value)}`)
  }
  for (const one of listOf(id)) if (!Number.isSafeInteger(one)) refuse('id', "a job's number, or several", one)
  for (const [what, value] of Object.entries({ name, command })) {
    if (value !== undefined && typeof value !== 'string') refuse(what, 'text', value)
  }
  for (const [what, value] of Object.entries({ hasMoreData, includeChildren })) {
    if (value !== undefined && typeof value !== 'boolean') refuse(what, 'true or false', value)
  }
  for (const [what, value] of Object.entries({ before, after })) {
    if (value !== undefined && !(value instanceof Date && !Number.isNaN(value.getTime()))) refuse(what, 'a date', value)
  }
  checkStates(state, 'state')
  checkStates(childState, 'childState')
  if (newest !== undefined && !(Number.isSafeInteger(newest) && newest >= 0))
    refuse('newest', 'a number of jobs from 0 on', newest)
}

/** By what a job is called, does and is at. */
function chooser({ id, name, state, command }: JobFilter): (job: JobFacts) => boolean {
  const ids = id === undefined ? undefined : new Set(listOf(id))
  const states = state === undefined ? undefined : new Set(listOf(state))
  const names = name === undefined ? undefined : wildcard(name)
  const commands = command === undefined ? undefined : wildcard(command)
  return (job) =>
    (ids === undefined || ids.has(job.id)) &&
    (states === undefined || states.has(job.state)) &&
    (names === undefined || names.test(job.name)) &&
    (commands === undefined || commands.test(job.command.trim()))
}

/** By what is left in it and when it ended: of children as well. */
function sieve({ hasMoreData, before, after }: JobFilter): (job: JobFacts) => boolean {
  return (job) =>
    (hasMoreData === undefined || job.hasMoreData === hasMoreData) &&
    (before === undefined || (job.endedAt !== undefined && job.endedAt < before)) &&
    (after === undefined || (job.endedAt !== undefined && job.endedAt > after))
}

function childrenOf<J extends JobFacts>(job: Family<J>, { childState, includeChildren }: JobFilter): readonly J[] {
  if (childState !== undefined) return job.children.filter((child) => child.state === childState)
  return includeChildren ? job.children : []
}

/** A name may be a child's; what else is asked for must hold of the child too. */
function namedChildren<J extends JobFacts>(
  job: Family<J>,
  { name, childState }: JobFilter,
  isChosen: (job: JobFacts) => boolean,
): readonly J[] {
  if (name === undefined || job.children.length === 0 || wildcard(name).test(job.name)) return []
  return job.children.filter((child) => isChosen(child) && (childState === undefined || child.state === childState))
}

function byNumber(a: JobFacts, b: JobFacts): number {
  return a.id - b.id || (a.position ?? 0) - (b.position ?? 0)
}

function listOf<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return []
  return Array.isArray(value) ? (value as readonly T[]) : [value as T]
}

/** Unfinished jobs are the newest of all. */
function ended(job: JobFacts): number {
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
export function findJob<J extends JobFacts>(jobs: readonly Family<J>[], which: number | string, where: string): J {
  const found = candidates(jobs, which)
  if (found.length === 0) throw new JobNotFoundError(which, where)
  if (found.length > 1)
    throw new JobAmbiguousError(
      which,
      found.map((job) => (job.position ? `${job.id}.${job.position}` : job.id)),
    )
  return found[0]!
}

function candidates<J extends JobFacts>(jobs: readonly Family<J>[], which: number | string): J[] {
  const text = String(which)
  if (text === '%') return jobs.toSorted((a, b) => b.id - a.id).slice(0, 1)
  const number = /^(\d+)(?:\.(\d+))?$/.exec(text)
  if (number) {
    const parent = jobs.filter((job) => job.id === Number(number[1]))
    const child = number[2]
    const numbered: J[] =
      child === undefined ? parent : parent.flatMap((job) => job.children.filter((c) => c.position === Number(child)))
    if (numbered.length > 0) return numbered
  }
  const all: J[] = jobs.flatMap((job) => [job, ...job.children])
  const exact = all.filter((job) => job.instanceId === text)
  if (exact.length > 0) return exact
  const named = all.filter((job) => job.name.toLowerCase() === text.toLowerCase())
  if (named.length > 0) return named
  return text.length >= 4 ? all.filter((job) => job.instanceId.startsWith(text)) : []
}
