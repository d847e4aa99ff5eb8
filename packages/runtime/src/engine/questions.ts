// The questions of one script: asked here, answered by whoever watches over the job, checked here where the schema is.
import { decode } from '@errand/transport'
import { asError, ErrandError, InvalidAnswerError, QuestionAnsweredError, UsageError } from '../errors.ts'
import type { Asking, Question, StandardSchema } from '../surface.ts'
import type { ExecutionIO } from './engine.ts'

/** Questions of one script that are open at once; one more is refused. */
const MOST = 64

interface Open {
  readonly asking: Asking
  readonly answered: PromiseWithResolvers<unknown>
}

export class Questions {
  readonly #io: ExecutionIO
  readonly #signal: AbortSignal
  readonly #open = new Map<string, Open>()
  #last = 0

  constructor(io: ExecutionIO, signal: AbortSignal) {
    this.#io = io
    this.#signal = signal
  }

  /** @throws the reason of the stop; UsageError; LimitError */
  async ask(question: Asking | string): Promise<unknown> {
    this.#signal.throwIfAborted()
    const asking: Asking = typeof question === 'string' ? { prompt: question } : question
    if (typeof asking?.prompt !== 'string') throw new UsageError('a question needs a `prompt` to show')
    if (this.#open.size >= MOST) throw new ErrandError('LIMIT', `${MOST} questions are open already`)
    const id = String(++this.#last)
    const answered = Promise.withResolvers<unknown>()
    this.#open.set(id, { asking, answered })
    this.#io.asked?.(shown(id, asking))
    return answered.promise
  }

  answer(id: string, value: Uint8Array): void {
    const open = this.#open.get(id)
    if (!open) return this.#io.answered?.(id, new QuestionAnsweredError('it has its answer already'))
    void this.#check(open.asking, value).then(
      (checked) => {
        // Another one may have fitted while this one was looked at.
        if (!this.#open.delete(id))
          return this.#io.answered?.(id, new QuestionAnsweredError('it has its answer already'))
        this.#io.answered?.(id)
        open.answered.resolve(checked)
      },
      (error: unknown) => this.#io.answered?.(id, asError(error)),
    )
  }

  /** The script was asked to stop, or has ended without waiting for them. */
  close(reason?: Error): void {
    if (this.#open.size > 0) this.#withdraw(reason ?? new QuestionAnsweredError('the script has ended'))
  }

  async #check({ choices, schema, default: usual }: Asking, bytes: Uint8Array): Promise<unknown> {
    const given = decode(bytes)
    const value = (given === undefined || given === '') && usual !== undefined ? usual : given
    if (choices && !choices.includes(value as string)) {
      throw new InvalidAnswerError([`one of ${choices.join(', ')} is wanted`])
    }
    if (!schema) return value
    const result = await schema['~standard'].validate(value)
    if (!result.issues) return result.value
    throw new InvalidAnswerError(
      result.issues.map(({ message, path }) => {
        const where = path
          ?.map((part) => String(typeof part === 'object' ? (part as { key: unknown }).key : part))
          .join('.')
        return where ? `${where}: ${message}` : message
      }),
    )
  }

  #withdraw(reason: Error): void {
    for (const [id, { answered }] of this.#open) {
      this.#open.delete(id)
      this.#io.answered?.(id)
      answered.promise.catch(() => undefined) // the script may have left it alone
      answered.reject(reason)
    }
  }
}

function shown(id: string, { prompt, choices, default: usual, secret, schema }: Asking): Question {
  return {
    id,
    prompt,
    askedAt: new Date(),
    ...(choices && { choices: [...choices] }),
    ...(usual !== undefined && { default: usual }),
    ...(secret && { secret }),
    ...withSchema(schema),
  }
}

/** Some libraries can say a schema as JSON Schema (Standard JSON Schema); the others are only asked. */
function withSchema(schema: StandardSchema | undefined): { schema?: unknown } {
  const standard = schema?.['~standard'] as { jsonSchema?: { input?: (o: object) => unknown } } | undefined
  try {
    const described = standard?.jsonSchema?.input?.({ target: 'draft-2020-12' })
    return described === undefined ? {} : { schema: described }
  } catch {
    return {} // it has parts that JSON Schema has no word for
  }
}
