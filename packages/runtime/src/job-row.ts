// A job as its table has it, and what is left of one that has ended: a row. What made it work is gone; what it did can
// be listed, read, acknowledged and removed.
import { STATES } from './child-jobs.ts'
import { InputClosedError, JobStateError } from './errors.ts'
import type { Engine } from './engine/engine.ts'
import type { StopRequest } from './job-machine.ts'
import { notOpen } from './job-questions.ts'
import { OutputLog, OWNER } from './output-log.ts'
import type { MapItems } from './map-items.ts'
import type { RawChunk } from './record.ts'
import { JOB_ROW, writtenJob, type StoredJob } from './stored-job.ts'
import type { StoredLog } from './store/store.ts'
import type { JobSnapshot, JobState, JobType, PeerId } from './surface.ts'

/** What a table and its readers ask of a job, whether it is at work (JobHost) or has ended (JobRow). */
export interface TableJob {
  /** 0: in no table (a run). Children carry their parent's. */
  readonly id: number
  readonly instanceId: string
  readonly startId: string
  readonly name: string
  readonly command: string
  readonly location: string
  /** Its place among its parent's children; of no child undefined. */
  readonly position: number | undefined
  readonly state: JobState
  readonly endedAt: Date | undefined
  /** Reader `owner` has something left, or may get something. */
  readonly hasMoreData: boolean
  /** What runs it, or ran it and is still asked. */
  readonly engine: Engine | undefined
  readonly children: readonly TableJob[]
  readonly parent: TableJob | undefined
  /** Settles with the last snapshot; never rejects. */
  readonly finished: Promise<JobSnapshot>
  /** Settles when there is a log to read. */
  readonly ready: Promise<void>
  /** A parent has none. */
  readonly log: OutputLog | undefined
  /** Of a map. */
  readonly items: MapItems | undefined
  snapshot(): JobSnapshot
  watch(listener: (snapshot: JobSnapshot) => void): () => void
  stop(request: StopRequest): Promise<JobSnapshot>
  input(chunk: RawChunk): Promise<void>
  endInput(error?: Error): void
  answer(value: Uint8Array, id?: string): Promise<void>
  standStill(): Promise<JobSnapshot>
  goOn(): JobSnapshot
  /** @throws JobStateError when it is neither a parent nor a map that runs; UsageError */
  throttle(most: number): JobSnapshot
  /** Moves a reader's cursor in its log. */
  acknowledge(reader: string, seq: number): Promise<void>
}

/** Where its records came from, while somebody there asks how far they have been read. */
export interface RowSource {
  readonly engine: Engine
  acknowledge(seq: number): Promise<void> | undefined
}

/** As on disk, and what it hangs on here. */
export interface RowFacts extends Required<
  Omit<StoredJob, 'v' | 'session' | 'parent' | 'bytes' | 'read' | 'items' | 'open'>
> {
  readonly children: readonly JobRow[]
  /** None where nothing was said. */
  readonly stored: StoredLog | undefined
  /** Of what was there before its peer was started: it is opened when it is wanted. */
  readonly later?: LaterLog | undefined
  readonly source: RowSource | undefined
  readonly items: MapItems | undefined
}

/** A log that is not open: what there is to know of it before. */
export interface LaterLog {
  readonly bytes: number
  /** Reader `owner` has taken it whole. */
  readonly read: boolean
}

/** What all rows of one table have in common. */
export interface RowHome {
  readonly peer: PeerId
  /** instanceId. */
  readonly session: string
  /** Reader `owner` has taken it whole now. */
  onRead?(row: JobRow): void
  /** Opens the log of a job that was there before its peer was started. */
  openLog?(instanceId: string): Promise<StoredLog>
}

type Named = Pick<TableJob, 'name' | 'state'>

/** Its input, once it has ended. */
export function inputClosed(name: string): InputClosedError {
  return new InputClosedError(`${name} has ended: it takes no input any more`)
}
/** An answer without a question. */
export function asksNothing({ name, state }: Named): JobStateError {
  return new JobStateError(`${name} asks nothing: it is ${state}`)
}
/** `what` cannot be done to it in the state it is in. */
export function notNow({ name, state }: Named, what: string): JobStateError {
  return new JobStateError(`${name} is ${state} and cannot be ${what}`)
}

/** Only a map that runs has a throttle. */
export function noMap({ name, state }: Named): JobStateError {
  return new JobStateError(`${name} is no map at work: it is ${state}`)
}

const NO_CHILDREN: readonly JobRow[] = Object.freeze([])

export class JobRow implements TableJob {
  /** Rows in the order in which their jobs ended: the table's. */
  older: JobRow | undefined
  newer: JobRow | undefined
  readonly #home: RowHome
  readonly id: number
  readonly instanceId: string
  readonly startId: string
  readonly name: string
  readonly command: string
  readonly location: string
  readonly #type: JobType
  readonly position: number | undefined
  readonly state: JobState
  readonly #reason: Error | undefined
  readonly #exitCode: number | undefined
  readonly #pid: number | undefined
  readonly #streamed: boolean | undefined
  readonly #epoch: number | undefined
  readonly #errors: number
  /** When it began (NaN: never), then its states, each with when it came to it. The last one is its end. */
  readonly #times: readonly number[]
  readonly children: readonly JobRow[]
  #parent: JobRow | undefined
  #stored: StoredLog | undefined
  #later: LaterLog | undefined
  #opening: Promise<void> | undefined
  #source: RowSource | undefined
  readonly items: MapItems | undefined

  constructor(home: RowHome, facts: RowFacts) {
    this.older = undefined
    this.newer = undefined
    this.#home = home
    this.id = facts.id
    this.instanceId = facts.instanceId
    this.startId = facts.startId
    this.name = facts.name
    this.command = facts.command
    this.location = facts.location
    this.#type = facts.type
    this.position = facts.position
    this.state = facts.state
    this.#reason = facts.reason
    this.#exitCode = facts.exitCode
    this.#pid = facts.pid
    this.#streamed = facts.streamed
    this.#epoch = facts.epoch
    this.#errors = facts.errors
    const { begunAt, history } = facts
    // Made as long as it will be: an array that grows keeps room for more.
    this.#times = Array.from({ length: 1 + 2 * history.length }, (_, index) => {
      if (index === 0) return begunAt?.getTime() ?? Number.NaN
      const { state, at } = history[(index - 1) >> 1]!
      return index % 2 === 1 ? STATES.indexOf(state) : at.getTime()
    })
    this.children = facts.children.length > 0 ? facts.children : NO_CHILDREN
    this.#parent = undefined
    for (const child of this.children) child.#parent = this
    this.#stored = facts.stored
    this.#later = facts.later
    this.#opening = undefined
    this.#source = facts.source
    this.items = facts.items
  }

  get endedAt(): Date {
    return new Date(this.#times.at(-1)!)
  }
  /** What its records and its children's take. */
  get bytes(): number {
    const own = this.#stored ? this.#stored.bytesFrom(this.#stored.start) : (this.#later?.bytes ?? 0)
    return this.children.reduce((sum, child) => sum + child.bytes, own)
  }
  get engine(): Engine | undefined {
    return this.#source?.engine
  }
  get parent(): JobRow | undefined {
    return this.#parent
  }
  get finished(): Promise<JobSnapshot> {
    return Promise.resolve(this.snapshot())
  }
  /** Opens its log where it is not. */
  get ready(): Promise<void> {
    if (!this.#later || this.#stored) return this.#opening ?? Promise.resolve()
    return (this.#opening ??= this.#open())
  }
  /** Made for whoever reads it; undefined before it is open. */
  get log(): OutputLog | undefined {
    if (this.children.length > 0 || (this.#later && !this.#stored)) return undefined
    return OutputLog.over(this.#stored, this.#errors)
  }

  async #open(): Promise<void> {
    try {
      this.#stored = await this.#home.openLog!(this.instanceId)
      this.#later = undefined
    } finally {
      this.#opening = undefined
    }
  }
  get hasMoreData(): boolean {
    if (this.children.length > 0) return this.children.some((child) => child.hasMoreData)
    if (this.#stored) return this.#stored.cursor(OWNER) < this.#stored.end
    return this.#later?.read === false
  }

  snapshot(): JobSnapshot {
    const begun = this.#times[0]!
    const history: { readonly state: JobState; readonly at: Date }[] = []
    for (let index = 1; index < this.#times.length; index += 2) {
      history.push({ state: STATES[this.#times[index]!]!, at: new Date(this.#times[index + 1]!) })
    }
    return Object.freeze({
      id: this.id,
      instanceId: this.instanceId,
      name: this.name,
      command: this.command,
      location: this.location,
      peer: this.#home.peer,
      session: this.#home.session,
      type: this.#type,
      state: this.state,
      hasMoreData: this.hasMoreData,
      reason: this.#reason,
      exitCode: this.#exitCode,
      begunAt: Number.isNaN(begun) ? undefined : new Date(begun),
      endedAt: this.endedAt,
      question: undefined,
      history: Object.freeze(history),
      errorCount: this.#errors + this.children.reduce((sum, child) => sum + child.#errors, 0),
      pid: this.#pid,
      streamed: this.#streamed,
      ...(this.#epoch !== undefined && { epoch: this.#epoch }),
      ...(this.position !== undefined && { parentId: this.id, position: this.position }),
      ...(this.items && { items: this.items.counts() }),
      children: Object.freeze(this.children.map((child) => child.snapshot())),
    })
  }

  /** There will be no news. */
  watch(): () => void {
    return () => undefined
  }

  stop(): Promise<JobSnapshot> {
    return this.finished
  }

  input(): Promise<void> {
    return Promise.reject(inputClosed(this.name))
  }

  endInput(): void {}

  answer(_: Uint8Array, id?: string): Promise<void> {
    return Promise.reject(id === undefined ? asksNothing(this) : notOpen(id, this.name))
  }

  standStill(): Promise<JobSnapshot> {
    return Promise.reject(notNow(this, 'suspended'))
  }

  goOn(): JobSnapshot {
    throw notNow(this, 'resumed')
  }

  throttle(): JobSnapshot {
    throw notNow(this, 'throttled')
  }

  async acknowledge(reader: string, seq: number): Promise<void> {
    if (this.#later) await this.ready
    if (!this.#stored || seq > this.#stored.end) return
    const more = this.hasMoreData
    await this.#stored.setCursor(reader, seq)
    if (reader !== OWNER) return
    const told = this.#source?.acknowledge(seq)
    // By what this one said: another may have said more meanwhile, and has yet to pass it on.
    if (seq < this.#stored.end) return
    this.#source = undefined
    if (more) this.#home.onRead?.(this)
    await told
  }

  /** As it is written down. */
  stored(): StoredJob {
    const {
      children: _,
      hasMoreData,
      history,
      peer: __,
      session,
      question: ___,
      items: ____,
      ...facts
    } = this.snapshot()
    const { errorCount: _____, parentId: ______, endedAt: _______, ...rest } = facts
    return writtenJob({
      v: JOB_ROW,
      ...rest,
      session,
      startId: this.startId,
      history,
      parent: this.#parent?.instanceId,
      position: this.position,
      errors: this.#errors,
      bytes: this.children.length > 0 ? undefined : this.bytes,
      read: !hasMoreData,
      items: this.items?.stored(),
    })
  }
}
