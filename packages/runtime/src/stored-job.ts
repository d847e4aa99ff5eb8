// What is written of a job: enough to list it as it was, and while it is at work to go on with it, or to say why not.
// One row for each child too, so that a parent of thousands is not written again whenever one of them moves.
import { count, flag, list, maybe, oneOf, shape, text, type Check } from './checks.ts'
import { STATES } from './child-jobs.ts'
import type { Ending } from './job-machine.ts'
import { isMoment, type Moment } from './moment.ts'
import type { JobState, JobType } from './surface.ts'
import { isWorkSpec, type TargetSpec, type WorkSpec } from './wire.ts'

/** Of this row's form. Another one is a later version's, and is left alone. */
export const JOB_ROW = 1

export interface StoredJob {
  readonly v: typeof JOB_ROW
  /** instanceId of the session whose table it stands in. */
  readonly session: string
  /** 0: a run, in no list. */
  readonly id: number
  readonly instanceId: string
  readonly startId: string
  readonly name: string
  readonly command: string
  readonly location: string
  readonly type: JobType
  /** Of a child: instanceId of its parent, and its place there. */
  readonly parent?: string | undefined
  readonly position?: number | undefined
  readonly state: JobState
  readonly history: readonly { readonly state: JobState; readonly at: Date }[]
  readonly reason?: Error | undefined
  readonly exitCode?: number | undefined
  readonly pid?: number | undefined
  readonly streamed?: boolean | undefined
  readonly epoch?: number | undefined
  readonly begunAt?: Date | undefined
  /** Errors in its own log. */
  readonly errors: number
  /** Of an ended job: what its records take, 0 where there are none; and whether reader `owner` has taken them whole. */
  readonly bytes?: number | undefined
  readonly read?: boolean | undefined
  readonly items?: StoredItems | undefined
  /** Until it has ended. */
  readonly open?: OpenJob | undefined
}

/** Of a map. `rows`: index and seq of each item that failed, one behind the other. */
export interface StoredItems {
  readonly taken: number
  readonly ended: number
  readonly failed: number
  readonly rows: Float64Array
}

/** What it takes to go on with it. */
export interface OpenJob {
  readonly spec: WorkSpec
  /** Where it runs, of a child. */
  readonly target?: TargetSpec | undefined
  readonly throttle?: number | undefined
  readonly lostAfter?: number | undefined
  /** Of maps that are shared by peers. */
  readonly shared?: boolean | undefined
  /** When it was asked for, and launched: delay and deadline count from there. */
  readonly asked: Moment
  readonly launched?: Moment | undefined
  /** What it waits for has come: its delay counts from here. */
  readonly freed?: Moment | undefined
  /** Milliseconds it waits, and instanceId of what it waits for. */
  readonly delay?: number | undefined
  readonly after?: string | undefined
  readonly attempt: number
  readonly failures: readonly Moment[]
  /** Of a job between two attempts: since when it waits for the next one, and how long, in milliseconds. */
  readonly again?: NextAttempt | undefined
  /** The number in its log of this attempt's first record. */
  readonly base: number
  /** It goes on after its peer was killed: a row of its own says where. */
  readonly durable?: boolean | undefined
  /** Somebody wants it to stand still. */
  readonly still?: boolean | undefined
  /** Of a remote child: instanceId of the session it was put into, and of its run there. */
  readonly held?: string | undefined
  readonly far?: string | undefined
  /** Of a remote child: how it ended there, while that place is still being left. */
  readonly verdict?: Ending | undefined
}

export interface NextAttempt {
  readonly since: Moment
  readonly wait: number
}

const state = oneOf(...STATES)
const date: Check = (value) => value instanceof Date && !Number.isNaN(value.getTime())
const target: Check = (value) => shape({ peer: text })(value) || shape({ session: text })(value)

const openJob = shape({
  spec: isWorkSpec,
  target: maybe(target),
  throttle: maybe(count),
  lostAfter: maybe(count),
  asked: isMoment,
  launched: maybe(isMoment),
  freed: maybe(isMoment),
  delay: maybe(count),
  after: maybe(text),
  attempt: count,
  failures: list(isMoment),
  again: maybe(shape({ since: isMoment, wait: count })),
  base: count,
  durable: maybe(flag),
  still: maybe(flag),
  held: maybe(text),
  far: maybe(text),
  verdict: maybe(shape({ outcome: oneOf('completed', 'failed', 'stopped') })),
})
const storedJob = shape({
  session: text,
  id: count,
  instanceId: text,
  startId: text,
  name: text,
  command: text,
  location: text,
  type: oneOf('RemoteJob', 'BackgroundJob', 'ThreadJob', 'PSTaskJob', 'MachineJob'),
  parent: maybe(text),
  position: maybe(count),
  state,
  history: list(shape({ state, at: date })),
  reason: maybe((value) => Error.isError(value)),
  exitCode: maybe((value) => Number.isSafeInteger(value)),
  begunAt: maybe(date),
  errors: count,
  bytes: maybe(count),
  items: maybe(shape({ taken: count, ended: count, failed: count, rows: (rows) => rows instanceof Float64Array })),
  open: maybe(openJob),
})

/**
 * As it is written: without what it has not. An object of few fields is read in a third of the time, and of rows there are a
 * hundred thousand when a peer starts.
 */
export function writtenJob(job: StoredJob): StoredJob {
  const written: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(job)) if (value !== undefined) written[key] = value
  return written as unknown as StoredJob
}

/** A row of this form, or why it is none. */
export function readStoredJob(value: unknown): StoredJob | string {
  const { v, history } = (value ?? {}) as Partial<StoredJob>
  if (v !== JOB_ROW) return `its form is ${String(v)}, not ${JOB_ROW}`
  if (!storedJob(value) || history!.length === 0) return 'a field does not fit'
  return value as StoredJob
}
