// errand ask: an event to a machine, and what it replies.
import { codeOf } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { Failure, usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { untilDetached } from '../follow.ts'
import { instanceOf, meantBy, placesOf } from '../places.ts'
import { ANSWER_FIELDS, checkFields, pick, tagged } from '../render/json.ts'
import { atWords, shellWord } from '../render/question.ts'
import { outputText } from '../render/record.ts'
import { typedEvent } from '../typed-event.ts'
import { withAccepted } from './send-events.ts'

export default async function ask(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { terminal, json } = context
  const [word = '', text = '', fields] = words
  // JSON is how it is answered; an event says by itself how it is written.
  const event = typedEvent(text, fields, false)
  checkFields(json ?? [], ANSWER_FIELDS)
  const peer = await context.connect()
  const found = await meantBy(peer, await placesOf(peer, flags.at, context), [word], context)
  const [one] = found
  if (!one || found.length > 1)
    throw usage(`'${word}' means ${found.length || 'no'} jobs here`, 'one is asked at a time')
  const actor = 'job' in one ? one.job : one.actor
  const { at } = one.place
  return untilDetached(context, async (signal) => {
    const { timeout } = flags
    const asked = await actor.ask(event, { ...(timeout !== undefined && { timeout }), signal })
    if (asked.outcome !== 'ok') throw await refusal(asked.error)
    const { value } = asked
    if (json !== undefined) {
      const document = { jobId: instanceOf(one), value: tagged(value) }
      await terminal.out(`${JSON.stringify(pick(document, json, ANSWER_FIELDS))}\n`)
    } else await terminal.out(`${outputText(terminal, value)}\n`)
    return EXIT.done

    /** With what there is to do about it. */
    async function refusal(error: Error): Promise<Error> {
      const code = codeOf(error)
      if (code === 'INVALID_EVENT' || code === 'EVENT_NOT_ACCEPTED') return withAccepted(actor, error, signal)
      if (code !== 'OUTCOME_UNKNOWN') return error
      const line = ['errand', ...atWords(at), 'inspect', shellWord(word)].join(' ')
      return new Failure(code, error.message, `it may have handled it: \`${line}\` shows what has become of it`)
    }
  })
}
