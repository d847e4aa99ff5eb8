// Bytes to values: the guard, then cbor-x with handlers of our own, then the knots of cyclic values.
//
// `cbor-x/index-no-eval` is a copy of cbor-x that nobody else in the process uses, without `new Function` and without
// the native string reader: its extension registry, which is global to the copy, is ours alone.

import { Decoder, Tag, addExtension } from 'cbor-x/index-no-eval'
import { ERROR_CLASSES, nameClass } from './codec-class.ts'
import { type Tally, guardItem, noShapes } from './codec-guard.ts'
import type { CodecLimits } from './codec-limits.ts'
import { CHUNK_SLACK, MAX_BIGINT_BITS, MAX_REGEXP } from './codec-limits.ts'
import { TAG, TYPED_ARRAY_TAG } from './codec-tags.ts'
import { ErrandError, MalformedError, TooLargeError } from './errors.ts'

/**
 * Decoded bytes up to this many are copies; longer ones are views of the input. A view keeps the whole input alive, so
 * a short one would be a bad bargain; a copy costs as much as the bytes, so a long one would be.
 */
const COPY_UP_TO = 4096

const decoder = new Decoder({ useRecords: false, mapsAsObjects: true }) as {
  decode(source: Uint8Array, end?: number): unknown
  decodeMultiple(source: Uint8Array, each: (value: unknown) => void): void
}
// Short input is read from here: cbor-x makes a DataView for each source and hangs it on the array it was given.
const scratch = new Uint8Array(COPY_UP_TO)
// cbor-x keeps a view of the last source it read; after a long one it is given this to hold.
const nothing = Uint8Array.of(0xf6)
const tally: Tally = { items: 0, shapes: undefined }

// What the item being read has shown so far.
const UNREAD: unique symbol = Symbol('unread')
let shared: (object | typeof UNREAD)[] = []
let knots = false
let pictures: object[] = []
let copyAll = false

/** Stands where an object refers to one it is part of, until that one is complete. */
class Knot {
  readonly id: number
  constructor(id: number) {
    this.id = id
  }
}

/** @throws MalformedError, TooLargeError */
export function readItem(bytes: Uint8Array, limits: CodecLimits, copy: boolean): unknown {
  const source = sourceOf(bytes, limits.bytes)
  const length = bytes.byteLength
  tally.items = 0
  tally.shapes = undefined
  const end = guardItem(source, 0, length, limits, tally)
  if (end !== length) throw new MalformedError(`not a value: ${length - end} bytes behind its end`)
  copyAll = copy
  try {
    return finished(decoder.decode(source, length))
  } catch (error) {
    throw wrapped(error)
  } finally {
    forget()
    if (source !== scratch) decoder.decode(nothing)
  }
}

/** Reads items one behind the other, up to the end. @throws MalformedError, TooLargeError */
export function readSequence(bytes: Uint8Array, limits: CodecLimits, copy: boolean): unknown[] {
  const values: unknown[] = []
  const length = bytes.byteLength
  if (length === 0) return values
  let source = sourceOf(bytes, limits.bytes + CHUNK_SLACK)
  tally.items = 0
  tally.shapes = noShapes()
  for (let position = 0; position < length;) {
    position = guardItem(source, position, length, limits, tally)
    if (tally.items > limits.items + CHUNK_SLACK) {
      throw new TooLargeError(`the chunk has more than ${limits.items + CHUNK_SLACK} items`, `byte ${position}`)
    }
  }
  if (source === scratch) source = scratch.subarray(0, length)
  copyAll = copy
  try {
    decoder.decodeMultiple(source, (value) => {
      values.push(finished(value))
      forget()
    })
    return values
  } catch (error) {
    throw wrapped(error)
  } finally {
    forget()
    decoder.decode(nothing)
  }
}

/** The same bytes as a plain Uint8Array that nobody else can change while we read. */
function sourceOf(bytes: Uint8Array, limit: number): Uint8Array {
  if (!(bytes instanceof Uint8Array)) throw new MalformedError('not a value: not even bytes')
  const { byteLength } = bytes
  if (byteLength > limit) throw new TooLargeError(`${byteLength} bytes (limit ${limit})`, 'value')
  if (byteLength <= COPY_UP_TO) {
    scratch.set(bytes)
    return scratch
  }
  if (bytes.buffer instanceof ArrayBuffer) return new Uint8Array(bytes.buffer, bytes.byteOffset, byteLength)
  return Uint8Array.prototype.slice.call(bytes) // shared memory: another thread could change it behind the guard
}

function finished(value: unknown): unknown {
  // The guard lets no tag pass that has no handler here; should one ever, this is a protocol error and not a value.
  if (value instanceof Tag) throw malformed(`tag ${(value as { tag: number }).tag} was not understood`)
  if (knots) tie(value)
  for (const picture of pictures) freeze(picture)
  return value
}

function forget(): void {
  if (shared.length > 0) shared = []
  if (pictures.length > 0) pictures = []
  knots = false
}

function wrapped(error: unknown): ErrandError {
  if (error instanceof MalformedError || error instanceof TooLargeError) return error
  return new MalformedError('not a value: the decoder gave up', { cause: error })
}

function malformed(what: string, cause?: unknown): MalformedError {
  return new MalformedError(`not a value: ${what}`, { cause })
}

// Walks with a list of their own: what is cyclic or shared can be longer than any stack.

/** Puts the objects meant in the place of knots. */
function tie(root: unknown): void {
  const met = new Set<object>()
  const open: object[] = []
  const visit = (value: unknown): void => {
    if (typeof value === 'object' && value !== null && !met.has(value)) {
      met.add(value)
      open.push(value)
    }
  }
  const untied = (value: unknown): unknown => {
    if (value instanceof Knot) return shared[value.id]
    visit(value)
    return value
  }
  visit(root)
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) {
        const before: unknown = value[i]
        const after = untied(before)
        if (after !== before) value[i] = after
      }
    } else if (value instanceof Map) {
      // All entries again, for the order's sake.
      const entries = [...value]
      value.clear()
      for (const [key, member] of entries) value.set(untied(key), untied(member))
    } else if (value instanceof Set) {
      const members = [...value]
      value.clear()
      for (const member of members) value.add(untied(member))
    } else if (hasFields(value)) {
      for (const key of Object.getOwnPropertyNames(value)) {
        const before: unknown = (value as Record<string, unknown>)[key]
        const after = untied(before)
        if (after !== before) Object.defineProperty(value, key, { value: after })
      }
    }
  }
}

/** Freezes an object and all that it holds. What has no freezing (bytes, Map and Set content) stays as it is. */
function freeze(root: object): void {
  const open: unknown[] = [root]
  for (let value = open.pop(); value !== undefined || open.length > 0; value = open.pop()) {
    if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) continue
    Object.freeze(value)
    if (value instanceof Map) for (const entry of value) open.push(...entry)
    else if (value instanceof Set) open.push(...value)
    else for (const key of Object.getOwnPropertyNames(value)) open.push((value as Record<string, unknown>)[key])
  }
}

function hasFields(value: object): boolean {
  return !(ArrayBuffer.isView(value) || value instanceof Date || value instanceof RegExp || value instanceof URL)
}

// The handlers. Each takes content whose kind the guard has checked, and runs in time linear in it.

type Handler = ((content: never) => unknown) & { handlesRead?: boolean }

function handle(tag: number, decode: Handler): void {
  addExtension({ tag, decode } as unknown as Parameters<typeof addExtension>[0])
}

/** Tags cbor-x would act on by itself: date texts, fractions, packing, strings in bundles, generic objects, records. */
for (const tag of [0, 4, 5, 6, 14, 15, 27, 51, 105, 65, 66, 67, 73, 74, 75, 81, 82]) {
  handle(tag, () => {
    throw malformed(`tag ${tag} is not spoken here`)
  })
}

handle(TAG.date, (seconds: unknown) => {
  if (typeof seconds !== 'number') throw malformed('a date that is no number')
  return new Date(Math.round(seconds * 1000))
})
handle(TAG.farDate, (time: unknown) => {
  if (typeof time !== 'number') throw malformed('a date that is no number')
  return new Date(time)
})

function integer(bytes: Uint8Array): bigint {
  if (bytes.byteLength > MAX_BIGINT_BITS / 8) throw new TooLargeError('the value is too large to take: BigInt', 'value')
  // Hexadecimal text is the one way into a BigInt that takes linear time.
  const digits = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
  return digits === '' ? 0n : BigInt(`0x${digits}`)
}
handle(TAG.bigint, integer)
handle(TAG.negativeBigint, (bytes: Uint8Array) => -1n - integer(bytes))

const readShared: Handler = (read: () => unknown) => {
  const id = shared.length
  shared.push(UNREAD)
  const value = read()
  if (typeof value !== 'object' || value === null || value instanceof Knot)
    throw malformed('a shared thing is no object')
  shared[id] = value
  return value
}
readShared.handlesRead = true
handle(TAG.shared, readShared)
handle(TAG.reference, (id: number) => {
  const value = shared[id]
  if (value === undefined) throw malformed('reference to nothing')
  if (value !== UNREAD) return value
  knots = true
  return new Knot(id)
})

handle(TAG.url, (text: string) => {
  const url = URL.parse(text)
  if (url === null) throw malformed('not a URL')
  return url
})
handle(TAG.set, (members: unknown[]) => new Set(members))
handle(TAG.negativeZero, () => -0)
handle(TAG.text, (bytes: Uint8Array) => {
  if (bytes.byteLength % 2 === 1) throw malformed('half a character')
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf16le')
})
handle(TAG.regexp, (text: string) => {
  const end = text.lastIndexOf('/')
  if (end < 1 || !text.startsWith('/')) throw malformed('not a RegExp')
  if (end - 1 > MAX_REGEXP) throw new TooLargeError('the value is too large to take: RegExp', 'value')
  try {
    return new RegExp(text.slice(1, end), text.slice(end + 1))
  } catch (error) {
    throw malformed('not a RegExp', error)
  }
})

for (const [name, tag] of Object.entries(TYPED_ARRAY_TAG)) {
  const kind = (globalThis as Record<string, unknown>)[name] as Float64ArrayConstructor | undefined
  if (kind === undefined) continue
  handle(tag, (bytes: Uint8Array<ArrayBuffer>) => {
    const size = kind.BYTES_PER_ELEMENT
    if (bytes.byteLength % size !== 0) throw malformed(`bytes that do not fill a ${name}`)
    const from = isView(bytes) && bytes.byteOffset % size === 0 ? bytes : bytes.slice()
    return new kind(from.buffer, from.byteOffset, from.byteLength / size)
  })
}
handle(TAG.arrayBuffer, (bytes: Uint8Array) => bytes.slice().buffer)
handle(TAG.dataView, (bytes: Uint8Array) => {
  const from = isView(bytes) ? bytes : bytes.slice()
  return new DataView(from.buffer, from.byteOffset, from.byteLength)
})

function isView(bytes: Uint8Array): boolean {
  return bytes.byteLength > COPY_UP_TO && !copyAll
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw malformed('a name that is no text')
  return value
}

/** Reads `field, value` pairs into own properties. `__proto__` is a name like any other: no setter ever runs. */
function readFields(object: object, pairs: readonly unknown[], from: number, hidden: number): void {
  for (let i = from; i < pairs.length; i += 2) {
    const key = text(pairs[i])
    const enumerable = (i - from) / 2 >= hidden
    Object.defineProperty(object, key, { value: pairs[i + 1], writable: true, enumerable, configurable: true })
  }
}

handle(TAG.object, (flat: readonly unknown[]) => {
  const object = {}
  readFields(object, flat, 1, 0)
  if (flat[0] !== null) nameClass(object, text(flat[0]))
  return object
})
handle(TAG.snapshot, (value: unknown) => {
  if (typeof value !== 'object' || value === null) throw malformed('a snapshot is no object')
  pictures.push(value)
  return value
})

handle(TAG.error, (flat: readonly unknown[]) => {
  const [base, own, name, message, stack, hidden] = flat
  const kind = ERROR_CLASSES.get(text(base))
  if (kind === undefined) throw malformed('an error of no known kind')
  if (typeof hidden !== 'number') throw malformed('an error without a count of fields')
  const error = newError(
    kind,
    base as string,
    message === null ? undefined : text(message),
    name === null ? undefined : text(name),
  )
  if (name !== null && base !== 'DOMException') hide(error, 'name', text(name))
  if (stack !== null) hide(error, 'stack', text(stack))
  readFields(error, flat, 6, hidden)
  if (own !== null) nameClass(error, text(own))
  return error
})

function newError(kind: ErrorConstructor, base: string, message: string | undefined, name: string | undefined): Error {
  // Our own stack would be wrong here and costs more than all the rest.
  const { stackTraceLimit } = Error
  Reflect.set(Error, 'stackTraceLimit', 0)
  try {
    if (base === 'DOMException') return new DOMException(message, name)
    if (base === 'AggregateError') return new AggregateError([], message)
    if (base === 'SuppressedError') return new SuppressedError(undefined, undefined, message)
    return new kind(message)
  } finally {
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit)
  }
}

function hide(error: Error, key: string, value: string): void {
  Object.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true })
}
