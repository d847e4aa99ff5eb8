// Whether a script can leave anything behind in the isolate it ran in. Reads text, runs nothing.
//
// What a script changes it has to reach first: a name that is not its own, or a way from a value to what all values
// share. Without either, the isolate is as it was, and may run another. A doubt is a trace; who means to hide one will
// find a way, to threads of nobody but its own session.
import type { AnyNode } from 'acorn'
import { attempt, parseExpression } from './parser.ts'
import { children, scopeReport, unwrap } from './script-scope.ts'

/**
 * `none`: with its end all is over. `late`: nothing that lasts, but what it did not wait for may go on behind its end.
 * `some`: whoever comes after it might find something.
 */
export type Traces = 'none' | 'late' | 'some'

/** Names that only give: nothing that is called or read through them is kept, but for what it returns. */
const harmless = new Set(
  (
    'AggregateError Array ArrayBuffer BigInt BigInt64Array BigUint64Array Boolean DataView Date Error EvalError Float16Array ' +
    'Float32Array Float64Array Infinity Int16Array Int32Array Int8Array Intl Iterator JSON Map Math NaN Number Object Promise ' +
    'RangeError ReferenceError RegExp Set String SyntaxError TextDecoder TextEncoder TypeError URIError URL URLSearchParams ' +
    'Uint16Array Uint32Array Uint8Array Uint8ClampedArray WeakMap WeakSet atob btoa console crypto decodeURI ' +
    'decodeURIComponent encodeURI encodeURIComponent isFinite isNaN parseFloat parseInt performance structuredClone undefined'
  ).split(' '),
)
/** Of these every use is for what comes back at once. */
const values = new Set(['Infinity', 'NaN', 'undefined'])
/** Of these the rest has a memory. */
const gives: Readonly<Record<string, ReadonlySet<string>>> = {
  console: new Set(['log', 'info', 'warn', 'error', 'debug']),
  performance: new Set(['now']),
}
/** Ways from a value to what others share; and `session`, whose link stays. */
const ways = new Set(
  (
    '__proto__ prototype constructor __defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__ getPrototypeOf ' +
    'setPrototypeOf caller callee session'
  ).split(' '),
)
/** What may go on behind an end that did not wait for it. */
const late = new Set('Promise then catch finally sleep ask fromAsync'.split(' '))

const known = new Map<string, Traces>()
const KNOWN_MOST = 256
/** Characters; a longer text is not looked at. */
const TEXT_MOST = 16_384

/** Of the text of a function, as `functionSource` makes it. */
export function tracesOf(source: string): Traces {
  if (source.length > TEXT_MOST) return 'some'
  let traces = known.get(source)
  if (traces === undefined) {
    if (known.size >= KNOWN_MOST) known.delete(known.keys().next().value!)
    known.set(source, (traces = read(source)))
  }
  return traces
}

function read(source: string): Traces {
  const { node } = attempt(() => parseExpression(source))
  if (!node || node.end !== source.length) return 'some'
  const { node: report } = attempt(() => scopeReport(node))
  // Of names that are not its own only those that give; one that is handed on, or written to, may be anything.
  if (!report || report.outside.length > 0) return 'some'
  if (report.free.some(({ name, use }) => !harmless.has(name) || use === 'write')) return 'some'
  const look: Look = { free: new Set(report.free.map(({ at }) => at)), late: false }
  return fits(node, undefined, look) ? (look.late ? 'late' : 'none') : 'some'
}

interface Look {
  /** Where names stand that are not its own. */
  readonly free: ReadonlySet<number>
  late: boolean
}

function fits(node: AnyNode, above: AnyNode | undefined, look: Look): boolean {
  switch (node.type) {
    // In sloppy code `this` of a plain call is the global object.
    case 'ThisExpression':
    case 'ImportExpression':
    case 'WithStatement':
      return false
    case 'Identifier':
      if (ways.has(node.name)) return false
      if (late.has(node.name)) look.late = true
      return !look.free.has(node.start) || values.has(node.name) || isGiven(node.name, node, above)
    case 'Literal':
      // A key may be a text.
      return typeof node.value !== 'string' || !ways.has(node.value)
    case 'ForOfStatement':
      if (node.await) look.late = true
      break
    case 'FunctionExpression':
    case 'FunctionDeclaration':
    case 'ArrowFunctionExpression':
      if (node.async) look.late = true
      break
    case 'AssignmentExpression':
      if (reachesOut(node.left, look)) return false
      break
    case 'UpdateExpression':
      if (reachesOut(node.argument, look)) return false
      break
    case 'UnaryExpression':
      if (node.operator === 'delete' && reachesOut(node.argument, look)) return false
      break
  }
  return children(node).every((child) => fits(child, node, look))
}

/** Only called, or called or read through, or asked what it is: handed on it could be written to. */
function isGiven(name: string, node: AnyNode, above: AnyNode | undefined): boolean {
  switch (above?.type) {
    case 'MemberExpression': {
      if (above.object !== node) return false
      const { property } = above
      return !gives[name] || (!above.computed && property.type === 'Identifier' && gives[name].has(property.name))
    }
    case 'CallExpression':
    case 'NewExpression':
      return above.callee === node
    case 'BinaryExpression':
      return above.operator === 'instanceof'
    default:
      return false
  }
}

/** Whether it is something of a name that is not its own: `Math.max = …`, `[JSON.x] = …`. */
function reachesOut(target: AnyNode, look: Look): boolean {
  const node = unwrap(target)
  if (node.type === 'Identifier') return look.free.has(node.start)
  if (node.type === 'MemberExpression') return reachesOut(node.object, look)
  return children(node).some((child) => reachesOut(child, look))
}
