// A value as a person types it: text, or JSON where that was said.
import { usage } from './failure.ts'

/** In an object, because the value may be undefined to whoever looks for one. @throws Failure USAGE */
export function typedValue(
  text: string,
  json: boolean,
  hint = 'without --json it is sent as the text it is',
): { readonly value: unknown } {
  if (!json) return { value: text }
  try {
    return { value: JSON.parse(text) as unknown }
  } catch (error) {
    throw usage(`'${text}' is not JSON: ${(error as Error).message}`, hint)
  }
}

/** Text for a question whose schema wants a number, or true or false, as that; anything else as the text it is. */
export function fitting(text: string, schema: unknown): unknown {
  const type = (schema as { type?: unknown } | undefined)?.type
  if ((type === 'number' || type === 'integer') && /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i.test(text))
    return Number(text)
  if (type === 'boolean' && /^\s*(true|yes|y)\s*$/i.test(text)) return true
  if (type === 'boolean' && /^\s*(false|no|n)\s*$/i.test(text)) return false
  return text
}
