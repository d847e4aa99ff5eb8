// Values as JSON can hold them: on the command line (`--json`) and in files that `save` writes.

/** How a value of one's own class is said; undefined: as its fields. */
export type SpecialJson = (value: object) => unknown

/**
 * What JSON lacks is an object with one field that says what it is: `{"$bigint":"1"} {"$date":"…"} {"$bytes":"base64"}
 * {"$map":[[k,v],…]} {"$set":[…]}`, `$number` (NaN, -0, ±Infinity), `$undefined`, `$regexp`, `$url`, `$error`,
 * `$circular`. An object that could be taken for one of these travels as `$object`.
 */
export function jsonValue(value: unknown, special?: SpecialJson): unknown {
  return tagged(value, [], special)
}

/** An error: its own fields stand beside name, message and code; the stack is for people. */
export function jsonError(error: unknown, special?: SpecialJson): Record<string, unknown> {
  return errorFields(error, [], special)
}

function tagged(value: unknown, above: readonly object[], special: SpecialJson | undefined): unknown {
  switch (typeof value) {
    case 'bigint':
      return { $bigint: String(value) }
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : { $number: Object.is(value, -0) ? '-0' : String(value) }
    case 'undefined':
      return { $undefined: true }
    case 'object':
      return value === null ? null : taggedObject(value, above, special)
    default:
      return typeof value === 'string' || typeof value === 'boolean' ? value : String(value)
  }
}

function taggedObject(value: object, above: readonly object[], special: SpecialJson | undefined): unknown {
  // Depth is bounded by what travels at all (64), so a list is as good as a set here.
  const depth = above.indexOf(value)
  if (depth >= 0) return { $circular: above.length - depth }
  const said = special?.(value)
  if (said !== undefined) return said
  const inner = [...above, value]
  const each = (item: unknown): unknown => tagged(item, inner, special)
  if (Array.isArray(value)) return Array.from(value, each)
  if (value instanceof Date) return { $date: Number.isNaN(value.getTime()) ? null : value.toISOString() }
  if (value instanceof Map) return { $map: [...value].map(([key, item]) => [each(key), each(item)]) }
  if (value instanceof Set) return { $set: [...value].map(each) }
  if (value instanceof RegExp) return { $regexp: String(value) }
  if (value instanceof URL) return { $url: value.href }
  if (value instanceof ArrayBuffer) return { $bytes: Buffer.from(value).toString('base64') }
  if (ArrayBuffer.isView(value)) {
    return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
  }
  if (Error.isError(value)) return { $error: errorFields(value, above, special) }
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => [key, each(item)])
  const [only] = entries
  if (entries.length === 1 && only![0].startsWith('$')) return { $object: entries }
  return Object.fromEntries(entries)
}

function errorFields(
  error: unknown,
  above: readonly object[],
  special: SpecialJson | undefined,
): Record<string, unknown> {
  if (typeof error !== 'object' || error === null) return { name: 'Error', message: String(error) }
  if (above.includes(error)) return { name: 'Error', message: '[circular]' }
  const { name, message, code, cause, errors, stack: _, ...own } = error as Error & Record<string, unknown>
  const inner = [...above, error]
  const one = (it: unknown): unknown => errorFields(it, inner, special)
  return {
    name: String(name),
    message: String(message),
    ...(code === undefined ? {} : { code: tagged(code, inner, special) }),
    ...(tagged(own, inner, special) as object),
    ...(cause === undefined ? {} : { cause: Error.isError(cause) ? one(cause) : tagged(cause, inner, special) }),
    ...(Array.isArray(errors) ? { errors: errors.map(one) } : {}),
  }
}
