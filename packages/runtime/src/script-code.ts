// The text after `-e`: one expression, or the body of an async generator.
import type { AnyNode } from 'acorn'
import { attempt, beginsLikeValue, codeError, parseExpression } from './parser.ts'
import type { ParseError } from './parser.ts'
import { compileBody } from './script-compile.ts'
import type { CompileOptions } from './script-compile.ts'
import { children } from './script-scope.ts'

export { compilePromptLine } from './prompt.ts'

export interface CompiledCode {
  /**
   * Evaluates the code with `scope`'s values for the names it was compiled with. An expression gives a promise of its
   * value (which may be a generator: it streams, as any script's); a body gives an async generator of its outputs, the
   * last being what it returned, unless that is undefined.
   */
  run(scope: Record<string, unknown>): unknown
}

/**
 * Compiles text as given to `-e`; `names` are the variables it finds in its scope (it may declare them anew). Text that
 * is one expression, a trailing semicolon aside, is that expression: also `{ a: 1 }`. Anything else, and an expression
 * that itself yields, is the body of an async generator. Throws ScriptError, with the place, for text that does not parse.
 */
export function compileCode(code: string, names: readonly string[], compile: CompileOptions = {}): CompiledCode {
  const variables = [...new Set(names)]
  const { node: expression, error } = attempt(() => expressionOf(code))
  if (error) throw codeError(code, error)
  const body =
    expression === undefined
      ? `return async function* () {${code}\n}`
      : `return async function () { return (${expression}\n) }`
  const wrapper = compileBody(body, variables, compile)
  return {
    run(scope) {
      const made = wrapper(...variables.map((name) => scope[name])) as () => unknown
      return expression === undefined ? outputs(made as () => AsyncGenerator) : made()
    },
  }
}

async function* outputs(body: () => AsyncGenerator): AsyncGenerator {
  const last: unknown = yield* body()
  if (last !== undefined) yield last
}

/** The text of the one expression that `code` is, or undefined for a body. */
function expressionOf(code: string): string | undefined {
  // Tried inside an async generator, where `await` and `yield` are words of the language: `yield [1]` is no index.
  const asExpression = inGenerator('return (\n', code, '\n)')
  if (asExpression.error === undefined) {
    const [statement] = asExpression.body
    const value = statement?.type === 'ReturnStatement' ? statement.argument : undefined
    // One pair of parentheses, ours, around everything: `1) + (2` is not an expression.
    if (asExpression.body.length === 1 && value?.type === 'ParenthesizedExpression' && value.end === asExpression.end) {
      return yields(value) ? undefined : code
    }
  }
  const asBody = inGenerator('', code, '')
  if (asBody.error !== undefined) {
    // Of the two readings the one that got further is the one that was meant.
    const other = beginsLikeValue(code) ? asExpression.error : undefined
    throw codeError(code, other !== undefined && other.pos > asBody.error.pos ? other : asBody.error)
  }
  const statements = asBody.body.filter((node) => node.type !== 'EmptyStatement')
  const [only] = statements
  if (only?.type !== 'ExpressionStatement' || statements.length > 1 || yields(only)) return undefined
  // What stands before it (comments, empty statements) leaves blanks, so that its place stays the same.
  const start = only.start - asBody.start
  const blank = code.slice(0, start).replace(/[^\r\n\u2028\u2029]/g, ' ')
  return blank + code.slice(start, only.end - asBody.start).replace(/;$/, '')
}

type Body =
  | { body: readonly AnyNode[]; start: number; end: number; error: undefined }
  | { body?: undefined; error: ParseError }

/** Parses `open + code + close` as the body of an async generator. An error's `pos` counts from the beginning of `code`. */
function inGenerator(open: string, code: string, close: string): Body {
  const before = `async function* _() {\n${open}`
  const text = `${before}${code}${close}\n}`
  const { node, error } = attempt(() => parseExpression(text))
  if (error) return { error: Object.assign(error, { pos: Math.min(error.pos - before.length, code.length) }) }
  if (node.end < text.length || node.type !== 'FunctionExpression') {
    // The code closed our brace: `} function x() {`.
    return { error: Object.assign(new SyntaxError('Unexpected token'), { pos: node.end - 1 - before.length }) }
  }
  return { body: node.body.body, start: before.length, end: text.length - 2, error: undefined }
}

/** Whether a node yields itself: functions inside it do so for themselves. */
function yields(node: AnyNode): boolean {
  if (node.type === 'YieldExpression') return true
  if (/Function/.test(node.type)) return false
  return children(node).some(yields)
}
