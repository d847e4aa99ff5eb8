// Moves a reader's cursors behind the consumer: while it reads one message at a time, and when it leaves.
import type { SessionRef } from './session-ref.ts'
import type { JobSnapshot } from './surface.ts'

/** Records handed over and not yet said to be taken: what comes again to another handle when this process is killed. */
export const UNSAID_MOST = 256

export class Cursors {
  readonly #ref: SessionRef
  readonly #job: string
  readonly #reader: string
  readonly #onAnswer: ((snapshot: JobSnapshot) => void) | undefined
  #taken = new Map<string, number>()
  #scheduled: NodeJS.Immediate | undefined
  /** Said and not answered yet. */
  #unheard = 0
  /** Handed over since it was last said how far the consumer is. */
  #unsaid = 0
  #said: Promise<void> = Promise.resolve()

  /** `onAnswer`: told the job as it is after a move. */
  constructor(ref: SessionRef, job: string, reader: string, onAnswer?: (snapshot: JobSnapshot) => void) {
    this.#ref = ref
    this.#job = job
    this.#reader = reader
    this.#onAnswer = onAnswer
  }

  /** The consumer has everything of this job (or child) before `seq`. */
  take(job: string, seq: number): void {
    this.#taken.set(job, seq)
    // Where answers are slow, what was taken meanwhile goes together in the next message.
    if (this.#unheard === 0) this.#scheduled ??= setImmediate(() => this.#say())
  }

  /**
   * Asked before so many records are handed over, when all before them have been taken. A consumer that never waits would
   * come to the end of what is here before anything is said.
   */
  room(count: number): Promise<void> | undefined {
    this.#unsaid += count
    if (this.#unsaid <= UNSAID_MOST) return undefined
    this.#unsaid = count
    this.#say()
    // What is said in a turn leaves at its end, or with what the carrier gathers until the end of the next one.
    return new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  }

  /** Says the rest at once; settles when all of it was heard, or cannot be. */
  async settle(): Promise<void> {
    this.#say()
    await this.#said
  }

  #say(): void {
    if (this.#scheduled) clearImmediate(this.#scheduled)
    this.#scheduled = undefined
    if (this.#taken.size === 0) return
    const seqs = [...this.#taken]
    this.#taken = new Map()
    this.#unheard++
    const said = this.#ref
      .request({ type: 'acknowledge', reader: this.#reader, seqs }, this.#job, { late: this.#onAnswer === undefined })
      .then(
        (snapshot) => {
          if (snapshot) this.#onAnswer?.(snapshot as JobSnapshot)
        },
        // The link is gone: what was not acknowledged comes again, to a new handle, with the same numbers (G3).
        () => undefined,
      )
      .then(() => {
        this.#unheard--
        if (this.#taken.size > 0) this.#scheduled ??= setImmediate(() => this.#say())
      })
    this.#said = Promise.all([this.#said, said]).then(() => undefined)
  }
}
