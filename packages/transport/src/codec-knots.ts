// What is left to do when an item has been read: objects that refer to one they are part of, and snapshots.
//
// Walks with a list of their own: what is cyclic or shared can be longer than any stack.

/** Stands where an object refers to one it is part of, until that one is complete. */
export class Knot {
  readonly id: number
  constructor(id: number) {
    this.id = id
  }
}

/** Puts the objects meant in the place of knots. */
export function tie(root: unknown, shared: readonly (object | undefined)[]): void {
  const met = new Set<object>()
  const open: object[] = []
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || value instanceof Knot || met.has(value)) return
    met.add(value)
    open.push(value)
  }
  const untied = (value: unknown): unknown => (value instanceof Knot ? shared[value.id] : value)
  visit(root)
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) {
        const member: unknown = value[i]
        if (member instanceof Knot) value[i] = shared[member.id]
        else visit(member)
      }
    } else if (value instanceof Map) {
      let tied = false
      for (const [key, member] of value) {
        tied ||= key instanceof Knot || member instanceof Knot
        visit(key)
        visit(member)
      }
      if (!tied) continue
      // All entries again, for the order's sake.
      const entries = [...value]
      value.clear()
      for (const [key, member] of entries) value.set(untied(key), untied(member))
    } else if (value instanceof Set) {
      let tied = false
      for (const member of value) {
        tied ||= member instanceof Knot
        visit(member)
      }
      if (!tied) continue
      const members = [...value]
      value.clear()
      for (const member of members) value.add(untied(member))
    } else if (hasFields(value)) {
      for (const key of Object.getOwnPropertyNames(value)) {
        const member: unknown = (value as Record<string, unknown>)[key]
        if (member instanceof Knot) Object.defineProperty(value, key, { value: shared[member.id] })
        else visit(member)
      }
    }
  }
}

/**
 * Freezes an object and all that it holds. What has no freezing (bytes, Map and Set content) stays as it is; so does a
 * RegExp, which could not match any more with `g` or `y`.
 */
export function freeze(root: object): void {
  const open: object[] = []
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || value instanceof RegExp) return
    // What has just been read can be extended until it has been here. Whether it is frozen would be asked key by key.
    if (!Object.isExtensible(value)) return
    Object.freeze(value)
    open.push(value)
  }
  visit(root)
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (Array.isArray(value)) for (const member of value) visit(member)
    else if (value instanceof Map) {
      for (const [key, member] of value) {
        visit(key)
        visit(member)
      }
    } else if (value instanceof Set) for (const member of value) visit(member)
    else for (const key of Object.getOwnPropertyNames(value)) visit((value as Record<string, unknown>)[key])
  }
}

function hasFields(value: object): boolean {
  return !(ArrayBuffer.isView(value) || value instanceof Date || value instanceof RegExp || value instanceof URL)
}
