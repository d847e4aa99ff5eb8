// errand send ACTOR EVENT: events to machines, each of which says what it does not take.
import { codeOf, type ActorInspection, type NamedActor } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { Failure, usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { untilDetached } from '../follow.ts'
import { inputOf } from '../input.ts'
import { stateText } from '../render/actor.ts'
import { oneLine } from '../render/table.ts'
import { typedEvent, type TypedEvent } from '../typed-event.ts'

/** A job that is a machine, or an actor that was found by its name. */
export type Actor = Pick<NamedActor, 'name' | 'tell' | 'ask' | 'inspect'>

/** `text` and `fields` are the words behind the job; none, or `-`: each line of stdin is an event. */
export async function sendEvents(
  context: Context,
  flags: Flags,
  actors: readonly Actor[],
  [text = '-', fields]: readonly string[],
): Promise<number> {
  const json = context.json !== undefined
  if (flags.eof) throw usage(`${actors[0]!.name} has no input that could end`, 'it is a machine, and is sent events')
  const one = text === '-' ? undefined : typedEvent(text, fields, json)
  return untilDetached(context, async (signal) => {
    if (one) {
      await Promise.all(actors.map((actor) => sendOne(context, actor, one, signal)))
      return EXIT.done
    }
    for await (const line of inputOf({ ...context, signal }, '-', { lines: true })) {
      if ((line as string).trim() === '') continue
      const event = typedEvent(line as string, undefined, json)
      // The next line is read when it is in the inbox.
      await Promise.all(actors.map((actor) => tell(actor, event, signal)))
    }
    signal.throwIfAborted()
    return EXIT.done
  })
}

/** Whoever sends one by hand wants to know whether anything can come of it. */
async function sendOne(context: Context, actor: Actor, event: TypedEvent, signal: AbortSignal): Promise<void> {
  const { terminal, quiet, json } = context
  const before = quiet || json !== undefined ? undefined : await seen(actor, signal)
  await tell(actor, event, signal)
  if (!before || before.accepts.includes(event.type)) return
  const where = `${actor.name} is in ${stateText(before.value)}, where it does nothing on '${event.type}'`
  terminal.say(`${terminal.word('yellow', 'warning:')} ${oneLine(`${where}; ${acceptsText(before)}`)}`)
}

/** @throws what refuses it, and what it takes now */
async function tell(actor: Actor, event: TypedEvent, signal: AbortSignal): Promise<void> {
  try {
    await actor.tell(event, { signal })
  } catch (error) {
    throw codeOf(error) === 'INVALID_EVENT' ? await withAccepted(actor, error as Error, signal) : error
  }
}

/** Why it refuses an event, with what it takes now. */
export async function withAccepted(actor: Actor, error: Error, signal: AbortSignal): Promise<Error> {
  const now = await seen(actor, signal)
  if (!now) return error
  return new Failure(codeOf(error)!, error.message, `it accepts now: ${now.accepts.join(', ') || 'nothing'}`)
}

function acceptsText({ accepts }: ActorInspection): string {
  return `it accepts: ${accepts.join(', ') || 'nothing'}`
}

/** Undefined: whoever may send to it may not look at it, or it has ended meanwhile. */
async function seen(actor: Actor, signal: AbortSignal): Promise<ActorInspection | undefined> {
  try {
    return await actor.inspect({ signal })
  } catch (error) {
    if (codeOf(error) === 'ACTOR_GONE' || codeOf(error) === 'DENIED') return undefined
    throw error
  }
}
