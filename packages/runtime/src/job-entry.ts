// What is written down of one job, while it is at work and when it has ended (stored-job.ts).
//
// A job's row is on disk before it is launched, and its last one before its end is told. Between those two it is written
// when what follows depends on it (it is launched after a wait, another attempt begins, a session elsewhere takes it), and
// soon after anything else has changed.
import type { JobAttempts } from './job-attempts.ts'
import type { Ending } from './job-machine.ts'
import { KeptRow } from './kept-row.ts'
import { ago, since, thisMoment, type Moment } from './moment.ts'
import { JOB_ROW, type NextAttempt, type OpenJob, type StoredJob } from './stored-job.ts'
import type { StoredRows } from './store/store.ts'

/** What does not change. */
export type EntryHead = Pick<
  StoredJob,
  'session' | 'id' | 'instanceId' | 'startId' | 'name' | 'command' | 'location' | 'type' | 'parent' | 'position'
>
/** How it can be gone on with, as far as that is known from the start. */
export type EntryPlan = Pick<
  OpenJob,
  'spec' | 'target' | 'throttle' | 'lostAfter' | 'shared' | 'durable' | 'delay' | 'after'
>

/** What its host knows of it now. */
export interface EntryFacts extends Pick<
  StoredJob,
  | 'state'
  | 'history'
  | 'reason'
  | 'exitCode'
  | 'pid'
  | 'streamed'
  | 'epoch'
  | 'begunAt'
  | 'errors'
  | 'bytes'
  | 'read'
  | 'items'
> {
  readonly attempts: JobAttempts
  readonly base: number
  readonly again: NextAttempt | undefined
  readonly still: boolean
}

export class JobEntry {
  /** Under which it is written down, and its log's name. */
  readonly key: string
  readonly #row: KeptRow
  readonly #head: EntryHead
  readonly #plan: EntryPlan
  readonly #asked: Moment
  #launched: Moment | undefined
  #freed: Moment | undefined
  #held: string | undefined
  #far: string | undefined
  #verdict: Ending | undefined
  #facts: (() => EntryFacts) | undefined

  /** Of a job that is launched as soon as it is written down, `launches`; with `was` it goes on where that one was. */
  constructor(
    rows: StoredRows,
    key: string,
    head: EntryHead,
    plan: EntryPlan,
    was: OpenJob | { readonly launches: boolean },
  ) {
    this.key = key
    this.#head = head
    this.#plan = plan
    if ('launches' in was) {
      this.#asked = thisMoment()
      if (was.launches) this.#launched = this.#asked
    } else {
      this.#asked = was.asked
      this.#launched = was.launched
      this.#freed = was.freed
      this.#held = was.held
      this.#far = was.far
    }
    this.#row = new KeptRow(rows, 'job', key, () => this.#value(this.#facts!(), true))
  }

  /** Whoever works at it says how it is. */
  follow(facts: () => EntryFacts): void {
    this.#facts = facts
  }

  get launched(): boolean {
    return this.#launched !== undefined
  }
  /** What it was to wait for has come. */
  get freed(): boolean {
    return this.#freed !== undefined
  }
  /** Milliseconds that its deadline has been running. */
  get lasted(): number {
    return this.#launched ? since(this.#launched) : 0
  }
  /** Milliseconds that it has waited. */
  get waited(): number {
    return since(this.#freed ?? this.#asked)
  }

  /** For the first time. @throws StoreError: nothing was written */
  put(): Promise<void> {
    return this.#row.put()
  }

  changed(): void {
    this.#row.changed()
  }

  /** What it waited for has come: from here on its delay counts. */
  free(): void {
    this.#freed = thisMoment()
    this.#row.changed()
  }

  /** It is launched when this has settled: before, a peer that is started again may still launch it. */
  launching(): Promise<void> {
    this.#launched = thisMoment()
    return this.#row.note()
  }

  /** Another attempt begins when this has settled. */
  attempting(): Promise<void> {
    this.#held = undefined
    this.#far = undefined
    this.#verdict = undefined
    return this.#row.note()
  }

  /** That session elsewhere is asked for it when this has settled. */
  placed(session: string): Promise<void> | undefined {
    if (this.#held === session) return undefined
    this.#held = session
    return this.#row.note()
  }

  /** What it is called there. */
  taken(run: string): void {
    if (this.#far === run) return
    this.#far = run
    void this.#row.note()
  }

  /** It was put there before it was written down at all. */
  goesOn({ held, far }: Pick<OpenJob, 'held' | 'far'>): void {
    this.#held = held
    this.#far = far
  }

  /** How it ended elsewhere: that place may be left when this has settled. */
  judged(verdict: Ending): Promise<void> {
    this.#verdict = verdict
    return this.#row.note()
  }

  /** Its end is told when this has settled. */
  async conclude(facts: EntryFacts): Promise<void> {
    try {
      await this.#row.conclude(this.#value(facts, false))
    } catch {
      // A reason with something in it that cannot be written must not keep the job from its end: its words are enough.
      const { reason } = facts
      await this.#row.conclude(this.#value({ ...facts, reason: reason && new Error(reason.message) }, false))
    }
  }

  /** Nothing is written of it any more. */
  leave(): void {
    this.#row.leave()
  }

  delete(): Promise<void> {
    return this.#row.delete()
  }

  /** What it has not is not written; put together by hand, for every start waits for it. */
  #value(facts: EntryFacts, open: boolean): StoredJob {
    const row: Writable<StoredJob> = {
      v: JOB_ROW,
      ...this.#head,
      state: facts.state,
      history: facts.history,
      errors: facts.errors,
    }
    if (facts.reason !== undefined) row.reason = facts.reason
    if (facts.exitCode !== undefined) row.exitCode = facts.exitCode
    if (facts.pid !== undefined) row.pid = facts.pid
    if (facts.streamed !== undefined) row.streamed = facts.streamed
    if (facts.epoch !== undefined) row.epoch = facts.epoch
    if (facts.begunAt !== undefined) row.begunAt = facts.begunAt
    if (facts.bytes !== undefined) row.bytes = facts.bytes
    if (facts.read !== undefined) row.read = facts.read
    if (facts.items !== undefined) row.items = facts.items
    if (open) row.open = this.#open(facts)
    return row
  }

  #open({ attempts, base, again, still }: EntryFacts): OpenJob {
    const open: Writable<OpenJob> = {
      ...this.#plan,
      asked: this.#asked,
      attempt: attempts.count,
      // Our own clock says nothing to another process.
      failures: attempts.failures.map((at) => ago(performance.now() - at)),
      base,
    }
    if (this.#launched) open.launched = this.#launched
    if (this.#freed) open.freed = this.#freed
    if (again) open.again = again
    if (still) open.still = still
    if (this.#held !== undefined) open.held = this.#held
    if (this.#far !== undefined) open.far = this.#far
    if (this.#verdict) open.verdict = this.#verdict
    return open
  }
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] }
