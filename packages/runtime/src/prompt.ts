// Lines of an interactive session: what they declare stays, what they evaluate to is shown.
import type { AnyNode, Program, VariableDeclaration } from 'acorn'
import { ScriptError } from './errors.ts'
import { attempt, beginsLikeValue, codeError, parseExpression, parseProgram } from './parser.ts'
import type { ParseError } from './parser.ts'
import { compileBody } from './script-compile.ts'
import type { CompileOptions } from './script-compile.ts'
import { children, patternNames } from './script-scope.ts'

const options = { allowAwaitOutsideFunction: true }

export interface PromptResult {
  value: unknown
  /** False where there is nothing to show: a declaration, an empty line, an expression that is undefined. */
  show: boolean
}
export interface CompiledPromptLine {
  /** True when more text could complete the line: an open brace, template, comment, operator, … Nothing to run then. */
  readonly incomplete: boolean
  /** Evaluates the line in this realm. Rejects with what the line throws. */
  run(scope: Record<string, unknown>): Promise<PromptResult>
}

/**
 * Compiles a line (or several) typed at a prompt. Top-level declarations become properties of globalThis and may be
 * declared again; the last statement, if it is an expression, is awaited and is the value. `names` are found in `scope`
 * unless the user has made globals of that name. Throws ScriptError, with the place, for text that no more text can mend.
 */
export function compilePromptLine(
  line: string,
  names: readonly string[],
  compile: CompileOptions = {},
): CompiledPromptLine {
  const text = readLine(line)
  if (text === undefined) {
    return { incomplete: true, run: () => Promise.reject(new ScriptError('the line is not complete')) }
  }
  const body = `with ($scope) { return async function () { ${text.before} ${text.body}\n} }`
  const wrapper = compileBody(body, ['$scope'], compile)
  return {
    incomplete: false,
    async run(scope) {
      const evaluate = wrapper(visible(names, scope)) as () => Promise<{ value: unknown } | undefined>
      const value = (await evaluate())?.value
      return { value, show: value !== undefined }
    },
  }
}

// One object for all lines of a realm: a function declared on one line and called on a later one finds the later
// line's `warn`, not that of a job that has ended. Assigning, and having assigned, a name means the global of that name.
const scopeObject: object = Object.create(null)
let current: Record<string, unknown> = {}

function visible(names: readonly string[], scope: Record<string, unknown>): object {
  current = scope
  for (const name of Object.keys(scopeObject)) if (!names.includes(name)) Reflect.deleteProperty(scopeObject, name)
  for (const name of names) {
    if (Object.hasOwn(scopeObject, name)) continue
    Object.defineProperty(scopeObject, name, {
      configurable: true,
      enumerable: true,
      get: () => (Object.hasOwn(globalThis, name) ? Reflect.get(globalThis, name) : current[name]) as unknown,
      set: (value: unknown) => {
        Reflect.set(globalThis, name, value)
      },
    })
  }
  return scopeObject
}

interface Rewritten {
  /** Stands on the first line, before the user's text. */
  readonly before: string
  readonly body: string
}

/** The line as the body of an async function that returns `{ value }` if there is one; undefined if it is incomplete. */
function readLine(line: string): Rewritten | undefined {
  // acorn reads a `?.` at the very end as two tokens: it gets a line break to look at.
  const { node, error } = attempt(() => parseProgram(`${line}\n`, options))
  const braces = /^\s*\{/.test(line) && !/;\s*$/.test(line)
  if (error === undefined && !braces) return rewrite(line, node)
  // As in Node's REPL a line in braces is an object if it can be one; `function () {}` can only be an expression.
  const text = `(${line}\n)`
  const value = beginsLikeValue(line) ? attempt(() => parseExpression(text, options)) : undefined
  if (value?.node?.type === 'ParenthesizedExpression' && value.node.end === text.length) {
    return { before: 'return { value: await (', body: `${line}\n) }` }
  }
  if (error === undefined) return rewrite(line, node)
  const errors = [error]
  if (value?.error) errors.push(Object.assign(value.error, { pos: value.error.pos - 1 }))
  if (errors.some((one) => endsTooEarly(one, line))) return undefined
  throw codeError(
    line,
    errors.reduce((a, b) => (b.pos > a.pos ? b : a)),
  )
}

/** Whether the parser ran out of text, rather than into something wrong. */
function endsTooEarly(error: ParseError, line: string): boolean {
  const reason = error.message.replace(/ \(\d+:\d+\)$/, '')
  if (reason === 'Unterminated template' || reason === 'Unterminated comment') return true
  if (reason === 'Unterminated string constant') return /\\(?:\r\n?|\n)?$/.test(line)
  if (reason === 'Missing catch or finally clause') return /\}\s*$/.test(line)
  if (reason.startsWith('Complex binding patterns require')) return error.pos >= line.trimEnd().length
  return reason === 'Unexpected token' && error.pos >= line.length
}

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/**
 * Declarations become assignments, which in sloppy code make properties of globalThis. The text stays where it is, so
 * that the lines of stack traces are those that were typed.
 */
function rewrite(line: string, program: Program): Rewritten {
  const edits: Edit[] = []
  const before: string[] = []
  const declare = (node: VariableDeclaration, parent: AnyNode): void => {
    edits.push(...assignments(line, node, parent))
    if (node.kind !== 'var') return
    const names = new Set<string>()
    for (const { id } of node.declarations) patternNames(id, names)
    for (const name of names) before.push(`if (!(${JSON.stringify(name)} in globalThis)) ${global(name)} = undefined;`)
  }
  const survey = (parent: AnyNode): void => {
    for (const node of children(parent)) {
      const top = parent === program
      if (node.type === 'VariableDeclaration') {
        if (top || node.kind === 'var') declare(node, parent)
      } else if (node.type === 'FunctionDeclaration') {
        // Hoisted, as its author expects: it is there before the first statement runs.
        if (top && node.id) before.push(`${global(node.id.name)} = ${node.id.name};`)
      } else if (node.type === 'ClassDeclaration') {
        if (!top || !node.id) continue
        edits.push({ start: node.start, end: node.start, text: `${node.id.name} = ` })
        edits.push({ start: node.end, end: node.end, text: ';' })
      } else if (!node.type.endsWith('Expression')) survey(node)
    }
  }
  survey(program)
  const last = program.body.findLast((node) => node.type !== 'EmptyStatement')
  if (last?.type === 'ExpressionStatement') {
    const end = line[last.end - 1] === ';' ? last.end - 1 : last.end
    edits.push({ start: last.start, end: last.start, text: 'return { value: await (' })
    edits.push({ start: end, end, text: ') }' })
  }
  let body = ''
  let from = 0
  for (const { start, end, text } of edits.toSorted((a, b) => a.start - b.start)) {
    body += line.slice(from, start) + text
    from = end
  }
  return { before: before.join(' '), body: body + line.slice(from) }
}

function global(name: string): string {
  return `globalThis[${JSON.stringify(name)}]`
}

/** `let a = 1, b` → `;( a = 1, b = undefined);`. The keyword's place is kept, so that columns stay. */
function assignments(line: string, node: VariableDeclaration, parent: AnyNode): Edit[] {
  const edits: Edit[] = []
  const { start, end, kind, declarations } = node
  const keyword = (text: string): void => {
    edits.push({ start, end: start + kind.length, text: text.padStart(kind.length) })
  }
  if (/^For(?:In|Of)?Statement$/.test(parent.type) && !('body' in parent && parent.body === node)) {
    keyword('')
    const [{ id } = {}] = declarations
    // In parentheses, because `for (async of …)` is not allowed.
    if (parent.type !== 'ForStatement' && id?.type === 'Identifier') {
      edits.push({ start: id.start, end: id.start, text: '(' }, { start: id.end, end: id.end, text: ')' })
    }
    return edits
  }
  // The `;` keeps the statement before from taking the parentheses for a call; a lone body (`if (x) var y`) needs none.
  const inList = parent.type === 'Program' || parent.type === 'BlockStatement' || parent.type === 'SwitchCase'
  keyword(inList ? ';(' : '(')
  for (const { id, init } of declarations) {
    if (!init && kind !== 'var') edits.push({ start: id.end, end: id.end, text: ' = undefined' })
  }
  if (line[end - 1] === ';') edits.push({ start: end - 1, end: end - 1, text: ')' })
  else edits.push({ start: end, end, text: ');' })
  return edits
}
