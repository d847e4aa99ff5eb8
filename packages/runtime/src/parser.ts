// The parser of scripts, and the error for text that it refuses: what, where, and the line itself.
import { Parser } from 'acorn'
import type { Expression, Options, Program } from 'acorn'
import { ScriptError } from './errors.ts'

interface Internals {
  exprAllowed: boolean
  parseYield(forInit?: unknown): unknown
}
type Internal = new (...args: any[]) => Internals

// acorn 8.19 loses track of generators in methods and in `async function*` expressions: there it takes the `/` of
// `yield /re/` for a division, and refuses a script that runs.
const ScriptParser = Parser.extend(
  (Base) =>
    class extends (Base as unknown as Internal) {
      override parseYield(forInit?: unknown): unknown {
        this.exprAllowed = true
        return super.parseYield(forInit)
      }
    } as unknown as typeof Parser,
)

type ParseOptions = Omit<Options, 'ecmaVersion' | 'sourceType' | 'preserveParens'>
const always: Options = { ecmaVersion: 'latest', sourceType: 'script', preserveParens: true }

/** Parses the whole text as sloppy code; parentheses are kept as nodes. Throws ParseError. */
export function parseProgram(text: string, options?: ParseOptions): Program {
  return ScriptParser.parse(text, { ...always, ...options })
}

/** Parses the expression at the beginning of the text, which may go on behind it. Throws ParseError. */
export function parseExpression(text: string, options?: ParseOptions): Expression {
  return ScriptParser.parseExpressionAt(text, 0, { ...always, ...options })
}

/** Whether text begins like an object, or like a function or class that may have no name: a statement could not. */
export function beginsLikeValue(text: string): boolean {
  return /^\s*(?:\{|class\b|(?:async\s+)?function\b)/.test(text)
}

/** What acorn throws. */
export interface ParseError extends SyntaxError {
  /** Offset into the parsed text. */
  pos: number
}

/** Runs a parser; anything but a syntax error passes through, and text nested beyond the stack is one too. */
export function attempt<T>(parse: () => T): { node: T; error: undefined } | { node: undefined; error: ParseError } {
  const failed = (error: ParseError) => ({ node: undefined, error })
  try {
    return { node: parse(), error: undefined }
  } catch (error) {
    if (error instanceof SyntaxError && 'pos' in error) return failed(error as ParseError)
    if (error instanceof RangeError) return failed(Object.assign(new SyntaxError('nested too deeply'), { pos: 0 }))
    throw error
  }
}

const width = 100

/** `error.pos` counts from the beginning of `text`. */
export function codeError(text: string, error: ParseError): ScriptError {
  const at = Math.max(0, Math.min(error.pos, text.length))
  const before = text.slice(0, at).split(/\r\n?|[\n\u2028\u2029]/)
  const head = before.at(-1) ?? ''
  const line = head + (/^[^\r\n\u2028\u2029]*/.exec(text.slice(at))?.[0] ?? '')
  const reason = error.message.replace(/ \(\d+:\d+\)$/, '')
  // Of a long line only the part around the place is shown.
  const from = head.length > width * 0.8 ? head.length - width / 2 : 0
  const shown = line.slice(from, from + width)
  const mark = head.slice(from).replace(/[^\t]/g, ' ')
  const module = /'import' and 'export' may/.test(reason)
  const what = module ? 'import and export statements cannot stand here' : reason
  const how = module ? "\nimport like this: const { readFile } = await import('node:fs/promises')" : ''
  return new ScriptError(`${what} (${before.length}:${head.length + 1})\n  ${shown}\n  ${mark}^${how}`, {
    cause: error,
  })
}
