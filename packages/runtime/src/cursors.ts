// Moves a reader's cursors behind the consumer: while it reads one message at a time, and when it leaves.
import type { SessionRef } from './session-ref.ts'
import type { JobSnapshot } from './surface.ts'

export class Cursors {
  readonly #ref: SessionRef
  readonly #job: string
  readonly #reader: string
  readonly #onAnswer: ((snapshot: JobSnapshot) => void) | undefined
  #taken = new Map<string, number>()
  #scheduled: NodeJS.Immediate | undefined
  /** Said and not answered yet. */
  #unheard = 0
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
