// A script: a function that travels as its text. Reads and checks text, runs nothing.
import type { ArrowFunctionExpression, Expression, FunctionExpression, Property } from 'acorn'
import { ScriptError } from './errors.ts'
import { freeVariableError } from './free-variables.ts'
import { attempt, parseExpression } from './parser.ts'
import type { ParseError } from './parser.ts'
import { isVariableName } from './script-compile.ts'
import { globalNames } from './script-globals.ts'
import { scopeReport } from './script-scope.ts'
import type { Reference } from './script-scope.ts'

// Everything that may stand in a function inside a module must parse, so that what cannot travel is refused by name.
const options = {
  allowImportExportEverywhere: true,
  allowSuperOutsideMethod: true,
  checkPrivateFields: false,
}

/** What one text is, whatever it is called with. */
interface Reading {
  /** The text as an expression; of a method with a computed key: without its key, see `source`. */
  readonly source: (name: string) => string
  readonly free: readonly Reference[]
  /** Between the braces, or the expression of an arrow. */
  readonly body: string
  readonly place: (offset: number) => string
}

// A program sends the same few functions again and again, and a new closure has the same text.
const readings = new Map<string, Reading>()
const readingLimit = 256
const readingTextLimit = 65_536 // characters

/**
 * The text of `fn` as an expression that can be evaluated alone elsewhere (`compileFunction`). Methods come wrapped.
 *
 * Throws ScriptError for what has no text of its own or belongs to its surroundings: native code, bound functions,
 * classes, accessors, `super`, an outer `#private`, `import.meta`, and in an arrow `this`, `arguments` and `new.target`.
 * Throws FreeVariableError for names that are neither declared in the text, nor globals of Node, nor in `using` or `scope`.
 */
export function functionSource(
  fn: Function,
  { using = {}, scope }: { using?: Record<string, unknown>; scope?: ReadonlySet<string> } = {},
): string {
  for (const name of Object.keys(using)) {
    if (!isVariableName(name))
      throw new ScriptError(`\`using\`: ${JSON.stringify(name)} cannot be the name of a variable`)
  }
  const { source, free, place } = read(fn)
  const missing = free.filter(({ name }) => !Object.hasOwn(using, name) && !scope?.has(name) && !globalNames.has(name))
  if (missing.length > 0) throw freeVariableError(title(fn), missing, place)
  return source(nameOf(fn))
}

/** What the Command column shows: a function's body between the braces or an arrow's expression, as written; code as given. */
export function commandText(work: Function | string): string {
  if (typeof work === 'string') return work
  try {
    return read(work).body
  } catch {
    return nameOf(work) // cannot be sent either: `functionSource` says why
  }
}

function read(fn: Function): Reading {
  const text = Function.prototype.toString.call(fn)
  let reading = readings.get(text)
  if (reading === undefined) {
    reading = readText(text, fn)
    if (text.length <= readingTextLimit) {
      if (readings.size >= readingLimit) readings.delete(readings.keys().next().value as string)
      readings.set(text, reading)
    }
  }
  return reading
}

function readText(text: string, fn: Function): Reading {
  const { node, method, shift } = parseFunction(text, fn)
  const place = (offset: number): string => lineColumn(text, offset - shift)
  const { node: report, error: tooDeep } = attempt(() => scopeReport(node))
  if (tooDeep) throw new ScriptError(`${title(fn)} cannot be read as text: ${tooDeep.message}`)
  const { free, outside } = report
  // Vite and vitest rewrite `import(x)`; a call of that name is written back, anything else is left to be refused.
  const rewritten = free.filter(({ name, use }) => name === '__vite_ssr_dynamic_import__' && use === 'call')
  for (const { what, at } of outside) throw refusal(what, place(at), fn)
  const meta = free.find(({ name }) => name === '__vite_ssr_import_meta__')
  if (meta) throw refusal('import.meta', place(meta.at), fn)

  let source = text
  for (const { name, at } of rewritten.toReversed()) {
    source = `${source.slice(0, at - shift)}import${source.slice(at - shift + name.length)}`
  }
  const { body } = node
  const inner = body.type === 'BlockStatement' ? { start: body.start + 1, end: body.end - 1 } : body
  return {
    source: method ? methodSource(source, method, shift) : () => source,
    free: free.filter((reference) => reference.name !== '__name' && !rewritten.includes(reference)),
    body: text.slice(inner.start - shift, inner.end - shift),
    place,
  }
}

interface Parsed {
  readonly node: FunctionExpression | ArrowFunctionExpression
  /** The property around it, when the text is a method. */
  readonly method?: Property
  /** How far the tree's offsets lie behind the text's. */
  readonly shift: number
}

function parseFunction(text: string, fn: Function): Parsed {
  const expression = attempt(() => parseExpression(text, options))
  if (expression.node?.end === text.length) return { node: functionNode(expression.node, fn), shift: 0 }
  // Not an expression: `run() {}`, `async *run() {}`, `[key]() {}`, `get x() {}`, `#run() {}`.
  const hidden = /^(?:async\b\s*)?(?:(?:get|set)\b\s*)?\*?\s*(#[\p{ID_Continue}$]+)/u.exec(text)?.[1]
  if (hidden !== undefined) {
    throw new ScriptError(`${title(fn)} is ${hidden}, a private method: it cannot leave its class`)
  }
  const object = attempt(() => parseExpression(`({${text}\n})`, options))
  const inner = object.node?.type === 'ParenthesizedExpression' ? object.node.expression : undefined
  const [method] = inner?.type === 'ObjectExpression' ? inner.properties : []
  if (method?.type === 'Property' && method.kind !== 'init') {
    throw new ScriptError(`${title(fn)} is a ${method.kind}ter: pass the value it stands for`)
  }
  if (method?.type === 'Property' && method.method && method.end === text.length + 2) {
    return { node: functionNode(method.value, fn), method, shift: 2 }
  }
  if (/\{\s*\[native code\]\s*\}$/.test(text)) {
    throw new ScriptError(
      nameOf(fn).startsWith('bound ')
        ? `${title(fn)} is bound: its text is gone. Send the function itself and pass what it was bound to as arguments`
        : `${title(fn)} is native code (or a Proxy): it has no text. Call it from a function: (ctx, ...args) => …`,
    )
  }
  const failure: ParseError = expression.error ?? Object.assign(new SyntaxError('Unexpected token'), { pos: 0 })
  // The reading that got further is the right one.
  const other = object.error
  const [message, pos] =
    other && other.pos - 2 > failure.pos ? [other.message, other.pos - 2] : [failure.message, failure.pos]
  const reason = message.replace(/ \(\d+:\d+\)$/, '')
  const where = lineColumn(text, pos)
  if (/\bsuper\b/.test(reason)) throw refusal('super', where, fn)
  if (/new\.target/.test(reason)) throw refusal('new.target', where, fn)
  throw new ScriptError(`${title(fn)} cannot be read as text: ${reason} (${where})`, { cause: failure })
}

function functionNode(node: Expression, fn: Function): FunctionExpression | ArrowFunctionExpression {
  if (node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression') return node
  if (node.type === 'ClassExpression') {
    throw new ScriptError(`${title(fn)} is a class: send a function that declares it, and makes what it needs of it`)
  }
  throw new ScriptError(`${title(fn)} cannot be read as text`)
}

/** A method as an expression on the same lines. A computed key belongs to the surroundings: the function's name replaces it. */
function methodSource(source: string, method: Property, shift: number): (name: string) => string {
  const { key, computed } = method
  if (!computed) {
    const name = key.type === 'Identifier' ? key.name : key.type === 'Literal' ? String(key.value) : ''
    return () => `({${source}})[${JSON.stringify(name)}]`
  }
  const { async, generator } = method.value as FunctionExpression
  const close = endOfKey(source, key.end - shift)
  const lines = '\n'.repeat(source.slice(0, close).split('\n').length - 1) // so that line numbers stay
  const start = `({${async ? 'async ' : ''}${generator ? '*' : ''}`
  return (name) => `${start}[${JSON.stringify(name)}]${lines}${source.slice(close)}})[${JSON.stringify(name)}]`
}

/** Just behind the `]` of a computed key that ends at `from`; only spaces and comments stand between. */
function endOfKey(source: string, from: number): number {
  const between = /(?:\s+|\/\/.*|\/\*[^]*?\*\/)*/y
  between.lastIndex = from
  between.test(source)
  return between.lastIndex + 1
}

const refusals: Record<string, string> = {
  this: 'an arrow function takes `this` from its surroundings, which stay here; use `function`, or pass what it needs as an argument',
  arguments: 'an arrow function takes `arguments` from its surroundings, which stay here; use `(ctx, ...args) =>`',
  'new.target': 'an arrow function takes `new.target` from its surroundings, which stay here',
  super: '`super` is bound to the object or class around the method, which stays here',
  'import.meta': 'it belongs to the surrounding module; pass what it needs: `using: { url: import.meta.url }`',
}

function refusal(what: string, where: string, fn: Function): ScriptError {
  const why = refusals[what] ?? 'a private name cannot leave its class'
  return new ScriptError(`${title(fn)} uses \`${what}\` (${where}): ${why}`)
}

function nameOf(fn: Function): string {
  return typeof fn.name === 'string' ? fn.name : ''
}

function title(fn: Function): string {
  const name = nameOf(fn)
  return name === '' ? 'the script' : `the script \`${name}\``
}

/** Both from 1. */
function lineColumn(text: string, offset: number): string {
  const before = text.slice(0, offset).split(/\r\n?|[\n\u2028\u2029]/)
  return `${before.length}:${(before.at(-1) ?? '').length + 1}`
}
