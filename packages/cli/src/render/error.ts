// How an error that ends a command is said: one sentence and what to do, or one JSON document.
import { codeOf } from '@errand/runtime/client'
import type { Terminal } from '../terminal.ts'

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
  if (style.json) return terminal.say(JSON.stringify(errorDocument(error)))
  const hint = hintOf(error)
  terminal.say(`${terminal.word('red', 'errand:')} ${messageOf(error)}`)
  if (hint !== undefined) terminal.say(`  ${terminal.word('dim', hint)}`)
  const inner = (error as { errors?: unknown }).errors
  if (Array.isArray(inner) && inner.length > 1) for (const each of inner) terminal.say(`  ${messageOf(each)}`)
  if (style.verbose && Error.isError(error) && error.stack !== undefined) terminal.say(error.stack)
}

function messageOf(error: unknown): string {
  return Error.isError(error) ? error.message : String(error)
}

function hintOf(error: unknown): string | undefined {
  const hint = (error as { hint?: unknown } | undefined)?.hint
  return typeof hint === 'string' && hint !== '' ? hint : undefined
}
