// An event as a person types it for an actor: its type, its type and its fields, or all of it as JSON.
import { usage } from './failure.ts'
import { typedValue } from './typed-value.ts'

export type TypedEvent = { readonly type: string }

/** `text` is `TYPE`, `TYPE {…}` or `{"type": …}`, with `json` JSON of an event or of its type. @throws Failure USAGE */
export function typedEvent(text: string, fields: string | undefined, json: boolean): TypedEvent {
  if (fields !== undefined) return withFields(text, fields)
  if (json || text.trimStart().startsWith('{')) {
    const value = parsed(text)
    if (typeof value === 'string') return named(value)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw noEvent(text)
    const { type } = value as { type?: unknown }
    if (typeof type !== 'string') throw usage(`'${text}' has no \`type\`: what kind of event is it?`, HOW)
    return value as TypedEvent
  }
  const [, type, rest] = /^(.*?\S)\s+(\{.*)$/s.exec(text) ?? []
  return type === undefined ? named(text.trim()) : withFields(type.trim(), rest!)
}

function withFields(type: string, fields: string): TypedEvent {
  const value = parsed(fields)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw usage(`the fields of '${type}' are a JSON object, not ${fields}`, HOW)
  return { ...value, ...named(type) }
}

function named(type: string): TypedEvent {
  if (type === '') throw noEvent(type)
  return { type }
}

function parsed(text: string): unknown {
  return typedValue(text, true, HOW).value
}

const HOW = 'TYPE, or TYPE \'{"field": …}\''

function noEvent(text: string): Error {
  return usage(`'${text}' is no event`, HOW)
}
