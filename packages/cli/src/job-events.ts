// What happens to jobs, and in those that are actors: what was last, then, to who follows, whatever happens to their ends.
import {
  codeOf,
  isFinished,
  type ActorTransition,
  type Job,
  type JobSnapshot,
  type NamedActor,
} from '@errand/runtime/client'
import type { Happening } from './render/event.ts'

/** One thing of a job; `missed`: before it some are not told. */
export type JobHappening =
  | { readonly kind: 'state'; readonly at: Date; readonly happening: Happening }
  | { readonly kind: 'transition'; readonly at: Date; readonly transition: ActorTransition; readonly missed: boolean }
  | { readonly kind: 'output'; readonly at: Date; readonly seq: number; readonly value: unknown }

/** Told one at a time: the next one comes when this one has been dealt with. */
export type Tell = (one: JobHappening) => Promise<void>

/** Records of an actor that are looked at for what it has said last. */
const RECORDS = 16

/** What of it is known already. */
interface Known {
  readonly state: string | undefined
  readonly transition: number
  readonly record: number
}

/** Tells of a job what was last, in its order; with `follow` also what happens to its end. @throws the reason of `signal` */
export async function tellJob(
  job: Job,
  tell: Tell,
  happenings: Happenings,
  { follow, signal }: { follow: boolean; signal: AbortSignal },
): Promise<void> {
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  const stream = follow && job.type === 'MachineJob' ? job.transitions({ signal: either }) : undefined
  const transitions = stream?.[Symbol.asyncIterator]()
  // Asked for before anything is looked up: from then on none is missed, also if it ends meanwhile.
  const first = transitions?.next()
  first?.catch(() => undefined) // whoever reads on hears of it
  try {
    const { last, known, ended } = await lastOf(job, happenings, signal)
    for (const one of last) await tell(one)
    if (follow && !ended) {
      const next = transitions && { first: first!, then: () => transitions.next() }
      await followJob(job, tell, happenings, known, next, over, either)
    }
    signal.throwIfAborted()
  } finally {
    over.abort()
    await first?.catch(() => undefined)
  }
}

/** The same of an actor that is in no table of ours: what has happened in it, for what its job says is not ours to see. */
export async function tellActor(
  actor: NamedActor,
  tell: Tell,
  { follow, signal }: { follow: boolean; signal: AbortSignal },
): Promise<void> {
  const transitions = follow ? actor.transitions({ signal }) : (await actor.inspect({ signal })).transitions
  let last: number | undefined
  for await (const transition of transitions) {
    const { at, seq } = transition
    await tell({ kind: 'transition', at, transition, missed: last !== undefined && seq > last + 1 })
    last = seq
  }
  signal.throwIfAborted()
}

/** A stream of which the first one was asked for already. */
interface Begun {
  readonly first: Promise<IteratorResult<ActorTransition>>
  readonly then: () => Promise<IteratorResult<ActorTransition>>
}

/** The states that a job has come to, as they are told. */
export type Happenings = (job: JobSnapshot, states: JobSnapshot['history']) => readonly Happening[]

async function lastOf(
  job: Job,
  happenings: Happenings,
  signal: AbortSignal,
): Promise<{ last: readonly JobHappening[]; known: Known; ended: boolean }> {
  // As it was before that: what becomes of it meanwhile is told to who follows.
  const { snapshot } = job
  const isActor = job.type === 'MachineJob'
  const transitions = isActor ? await lastTransitions(job, signal) : []
  const outputs: JobHappening[] = []
  let record = 0
  if (isActor) {
    for await (const one of job.receive({ tail: RECORDS, keep: true, signal })) {
      record = one.seq + 1
      if (one.kind === 'output') outputs.push({ kind: 'output', at: one.at, seq: one.seq, value: one.value })
    }
  }
  const last = [
    ...happenings(snapshot, snapshot.history).map((happening): JobHappening => {
      return { kind: 'state', at: happening.at, happening }
    }),
    ...transitions.map((transition): JobHappening => {
      return { kind: 'transition', at: transition.at, transition, missed: false }
    }),
    ...outputs,
  ]
  // Those of one instant: it began before it did anything, and what it says is of what it has done. Its end is behind both.
  const rank = (one: JobHappening): number =>
    one.kind === 'state' ? (isEnd(one.happening) ? 3 : 0) : one.kind === 'transition' ? 1 : 2
  return {
    last: last.toSorted((a, b) => a.at.getTime() - b.at.getTime() || rank(a) - rank(b)),
    known: { state: keyOf(snapshot.history.at(-1)), transition: transitions.at(-1)?.seq ?? 0, record },
    ended: isFinished(snapshot.state),
  }
}

async function lastTransitions(job: Job, signal: AbortSignal): Promise<readonly ActorTransition[]> {
  if (isFinished(job.state)) return []
  try {
    return (await job.inspect({ signal })).transitions
  } catch (error) {
    // It has ended meanwhile.
    if (codeOf(error) === 'ACTOR_GONE') return []
    throw error
  }
}

/** Its end is told behind all that led to it. */
async function followJob(
  job: Job,
  tell: Tell,
  happenings: Happenings,
  known: Known,
  begun: Begun | undefined,
  over: AbortController,
  signal: AbortSignal,
): Promise<void> {
  let ending: readonly Happening[] = []
  const states = async (): Promise<void> => {
    let last = known.state
    for await (const snapshot of job.watch({ signal })) {
      const { history } = snapshot
      const from = history.findLastIndex((one) => keyOf(one) === last) + 1
      last = keyOf(history.at(-1))
      for (const happening of happenings(snapshot, history.slice(from))) {
        if (isEnd(happening)) ending = [...ending, happening]
        else await tell({ kind: 'state', at: happening.at, happening })
      }
    }
  }
  const transitions = async ({ first, then }: Begun): Promise<void> => {
    let last = known.transition
    let told = true
    for (let step = await first; !step.done; step = await then()) {
      const { at, seq } = step.value
      // The last ones are given first. One that was tried again counts anew.
      if (told && seq <= last) continue
      told = false
      await tell({ kind: 'transition', at, transition: step.value, missed: seq > last + 1 })
      last = seq
    }
  }
  const outputs = async (): Promise<void> => {
    const from = known.record
    for await (const one of job.receive({ from, follow: true, kinds: ['output'], signal })) {
      if (one.kind === 'output') await tell({ kind: 'output', at: one.at, seq: one.seq, value: one.value })
    }
  }
  const all = begun ? [states(), transitions(begun), outputs()] : [states()]
  try {
    await Promise.all(all)
  } catch (error) {
    // When one fails the others are ended too, and have ended.
    over.abort()
    await Promise.allSettled(all)
    throw error
  }
  for (const happening of ending) await tell({ kind: 'state', at: happening.at, happening })
}

function keyOf(one: JobSnapshot['history'][number] | undefined): string | undefined {
  return one && `${one.state} ${one.at.getTime()}`
}

function isEnd({ state }: Happening): boolean {
  return state !== undefined && isFinished(state as JobSnapshot['state'])
}
