// What a job has asked and nobody has answered yet. Answers to one question come one after the other: the first that fits
// wins.
import { codeOf, QuestionAnsweredError } from './errors.ts'
import type { Question } from './surface.ts'

interface OpenQuestion {
  readonly question: Question
  /** Settles when the answer before has been looked at. */
  turn: Promise<unknown>
  verdict: PromiseWithResolvers<void> | undefined
}

/** No such question of that job is open. */
export function notOpen(id: string, job: string): QuestionAnsweredError {
  return new QuestionAnsweredError(`question ${id} of ${job} has been answered, or was never asked`)
}

/** Of the many jobs that ask nothing. */
const NONE = new Map<string, never>()

export class JobQuestions {
  #open: Map<string, OpenQuestion> = NONE
  /** Of the job, for messages. */
  readonly #name: string

  constructor(name: string) {
    this.#name = name
  }

  get size(): number {
    return this.#open.size
  }

  /** The one that was asked first. */
  get first(): Question | undefined {
    const [first] = this.#open.values()
    return first?.question
  }

  /** False: it is open already. */
  ask(question: Question): boolean {
    if (this.#open.has(question.id)) return false
    if (this.#open === NONE) this.#open = new Map()
    this.#open.set(question.id, { question: Object.freeze(question), turn: Promise.resolve(), verdict: undefined })
    return true
  }

  /**
   * `tell` gives the answer to whoever asks, once it was reached; settles when `close` has said what came of it.
   * @throws QuestionAnsweredError, and what `reach` throws
   */
  answer(id: string, reach: () => Promise<void>, tell: () => void): Promise<void> {
    const open = this.#open.get(id)
    if (!open) {
      return Promise.reject(notOpen(id, this.#name))
    }
    const late = (): boolean => this.#open.get(id) !== open
    const turn = open.turn.then(async () => {
      if (!late()) {
        try {
          await reach()
        } catch (error) {
          if (!late()) throw error
        }
      }
      // Also while it was being reached.
      if (late()) throw new QuestionAnsweredError(`question ${id} of ${this.#name} has its answer already`)
      const verdict = Promise.withResolvers<void>()
      open.verdict = verdict
      tell()
      await verdict.promise
    })
    open.turn = turn.catch(() => undefined)
    return turn
  }

  /** What came of the last answer; false: an answer that does not fit leaves it open. */
  close(id: string, refusal: Error | undefined): boolean {
    const open = this.#open.get(id)
    if (!open) return false
    if (refusal) open.verdict?.reject(refusal)
    else open.verdict?.resolve()
    if (refusal && codeOf(refusal) === 'INVALID_ANSWER') return false
    return this.#open.delete(id)
  }

  /** Nobody takes an answer any more. */
  withdraw(why: string): void {
    for (const [id, { verdict }] of this.#open) {
      this.#open.delete(id)
      verdict?.reject(new QuestionAnsweredError(why))
    }
  }
}
