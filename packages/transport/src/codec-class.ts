// Of which class a value is, and what a decoded one remembers of the class it had.

/** Non-enumerable own property of decoded class instances and errors of unknown class: the class name. */
export const CLASS: unique symbol = Symbol.for('errand.class') as never

/**
 * A method of a live object (a job handle, a session handle): what it returns travels in the object's place, under the
 * object's class name, and arrives deep-frozen.
 */
export const SNAPSHOT: unique symbol = Symbol.for('errand.snapshot') as never

/** The class a decoded value had where it was encoded; undefined for plain data and for values never encoded. */
export function className(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const name = (value as { [CLASS]?: unknown })[CLASS]
  return typeof name === 'string' ? name : undefined
}

/** Writes down the class name where {@link className} reads it. */
export function nameClass(object: object, name: string): void {
  Object.defineProperty(object, CLASS, { value: name })
}

/** Errors that come back as instances of their own class. Anything else comes back as its nearest one of these. */
export const ERROR_CLASSES: ReadonlyMap<string, ErrorConstructor> = new Map(
  [
    'Error',
    'TypeError',
    'RangeError',
    'SyntaxError',
    'ReferenceError',
    'EvalError',
    'URIError',
    'AggregateError',
    'SuppressedError',
    'DOMException',
  ]
    .map((name) => [name, (globalThis as Record<string, unknown>)[name] as ErrorConstructor] as const)
    .filter((entry) => entry[1] !== undefined),
)

/** Fields an Error may own without showing them in `Object.keys`. */
export const HIDDEN_ERROR_FIELDS: readonly string[] = ['cause', 'errors', 'error', 'suppressed']

/** The name of the class `value` is an instance of; undefined for plain objects and the nameless. */
export function classOf(value: object): string | undefined {
  const constructor: unknown = Object.getPrototypeOf(value)?.constructor
  if (typeof constructor !== 'function' || typeof constructor.name !== 'string') return undefined
  return constructor.name === 'Object' || constructor.name === '' ? undefined : constructor.name
}

/** The nearest class of this error that every JavaScript has. By name: the error may come from another realm. */
export function builtInOf(value: Error): string {
  let proto: unknown = Object.getPrototypeOf(value)
  while (typeof proto === 'object' && proto !== null) {
    const name: unknown = (proto as { constructor?: { name?: unknown } }).constructor?.name
    if (typeof name === 'string' && ERROR_CLASSES.has(name)) return name
    proto = Object.getPrototypeOf(proto)
  }
  return 'Error'
}
