// How an error that ends a command is said: one sentence and what to do, or one JSON document.
import { codeOf } from '@errand/runtime/client'
import type { Terminal } from '../terminal.ts'
import { plainLines } from './table.ts'

export interface ErrorStyle {
  readonly json: boolean
  readonly verbose: boolean
}

/** `{code, message, hint}`. */
export function errorDocument(error: unknown): { error: { code: string; message: string; hint: string | null } } {
  return { error: { code: codeOf(error) ?? 'ERROR', message: messageOf(error), hint: hintOf(error) ?? null } }
}

/** Says why a command ends, on stderr. */
export function sayError(terminal: Terminal, error: unknown, style: ErrorStyle): void {
  if (style.json) return terminal.say(escaped(JSON.stringify(errorDocument(error))))
  const hint = hintOf(error)
  terminal.say(`${terminal.word('red', 'errand:')} ${below(messageOf(error))}`)
  if (hint !== undefined) terminal.say(`  ${terminal.word('dim', below(hint))}`)
  const inner = (error as { errors?: unknown }).errors
  if (Array.isArray(inner) && inner.length > 1) for (const each of inner) terminal.say(`  ${below(messageOf(each))}`)
  if (style.verbose && Error.isError(error) && error.stack !== undefined) terminal.say(plainLines(error.stack))
}

/** Another peer may have written it: its further lines do not look as if we had begun them. */
function below(text: string): string {
  return plainLines(text).replaceAll('\n', '\n  ')
}

/** The same document, without the characters that JSON leaves as they are and a terminal obeys. */
function escaped(json: string): string {
  return json.replaceAll(
    /[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function messageOf(error: unknown): string {
  return Error.isError(error) ? error.message : String(error)
}

function hintOf(error: unknown): string | undefined {
  const hint = (error as { hint?: unknown } | undefined)?.hint
  return typeof hint === 'string' && hint !== '' ? hint : undefined
}
