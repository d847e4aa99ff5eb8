// errand answer: what a Blocked job waits for.
import { codeOf, type JobSnapshot, type Question } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { Failure, usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { jobsOf, placesOf } from '../places.ts'
import { jobId } from '../render/job.ts'
import { questionText } from '../render/question.ts'
import { fitting, typedValue } from '../typed-value.ts'

export default async function answer(context: Context, flags: Flags, [word, text]: readonly string[]): Promise<number> {
  const json = context.json !== undefined
  const given = text === undefined ? undefined : typedValue(text, json)
  const peer = await context.connect()
  const places = await placesOf(peer, flags.at, context)
  if (places.length > 1) throw usage('an answer is for one job: name one place with --at')
  const [placed] = await jobsOf(places, [word!], context)
  if (!placed) throw usage('an answer is for one job')
  const { job } = placed
  const question = openQuestion(job.snapshot, flags.question)
  const typed = given ?? (await asked(context, question, json))
  if (!typed) return EXIT.interrupted
  const value = json ? typed.value : fitting(String(typed.value), question.schema)
  try {
    // To this one: by now it may be asking something else.
    await job.answer(value, { question: question.id, signal: context.signal })
  } catch (error) {
    if (codeOf(error) !== 'INVALID_ANSWER') throw error
    throw new Failure('INVALID_ANSWER', (error as Error).message, `it asks: ${questionText(question)}`)
  }
  return EXIT.done
}

/** @throws Failure JOB_STATE when it asks nothing */
function openQuestion(job: JobSnapshot, id: string | undefined): Question {
  const all = [job, ...job.children].flatMap(({ question }) => question ?? [])
  const found = id === undefined ? job.question : (all.find((one) => one.id === id) ?? unseen(id))
  if (found) return found
  throw new Failure(
    'JOB_STATE',
    `job ${jobId(job)} asks nothing: it is ${job.state}`,
    '`errand list -s Blocked` shows which do',
  )
}

/** Behind the first one there may be others, which only the job knows. */
function unseen(id: string): Question {
  return { id, prompt: `question ${id}`, askedAt: new Date(0) }
}

/** From whoever types, who is shown what is asked; from a pipe all of it. Undefined: Ctrl-C. */
async function asked(
  { terminal, signal }: Context,
  question: Question,
  json: boolean,
): Promise<{ readonly value: unknown } | undefined> {
  if (terminal.types) {
    const line = await terminal.ask(`${questionText(question)} `, { secret: question.secret === true, signal })
    return line === undefined ? undefined : typedValue(line, json && line !== '')
  }
  let text = ''
  for await (const piece of terminal.stdin) text += String(piece)
  return typedValue(text.replace(/\r?\n$/, ''), json)
}
