// Bytes to values: the guard, then cbor-x with handlers of our own, then the knots of cyclic values.
//
// `cbor-x/decode-no-eval` is a copy of cbor-x's decoder that nobody else in the process uses, without `new Function`: what
// is set here for all its users, handlers of tags and the reader of text, is ours alone.

import * as cborX from 'cbor-x/decode-no-eval'
import { BESIDE, copyOf } from './codec-bytes.ts'
import { ERROR_CLASSES, HIDDEN_ERROR_FIELDS, nameClass } from './codec-class.ts'
import { type Findings, beginSequence, guardItem } from './codec-guard.ts'
import type { CodecLimits } from './codec-limits.ts'
import { CHUNK_SLACK, DEFAULT_LIMITS, MAX_BIGINT_BITS, MAX_BYTES, MAX_REGEXP } from './codec-limits.ts'
import { Knot, freeze, tie } from './codec-knots.ts'
import type { KeyList } from './codec-shapes.ts'
import { OTHER, readSmall } from './codec-small.ts'
import { RECORD, RECORD_DEFINITION, RECORD_SHAPES, TAG, TYPED_ARRAY_TAG } from './codec-tags.ts'
import { ErrandError, MalformedError, TooLargeError } from './errors.ts'

/** What this build exports; its types are those of the whole. */
const { Decoder, Tag, addExtension, read, setExtractor } = cborX as unknown as {
  Tag: new (value: unknown, tag: number) => { readonly tag: number }
  Decoder: new (options: object) => { decodeMultiple(source: Uint8Array, each: (value: unknown) => unknown): void }
  addExtension(this: void, extension: { tag: number; decode: Handler }): void
  /** Reads the next item. */
  read(this: void): unknown
  /** Who is asked for text: for the string that is next, or for all from there on in the order of reading. */
  setExtractor(
    this: void,
    extract: (position: number, end: number, length: number, source: Uint8Array) => string | string[],
  ): void
}

/**
 * Decoded bytes up to this many are copies; longer ones are views of the input. A view keeps the whole input alive, so
 * a short one would be a bad bargain; a copy costs as much as the bytes, so a long one would be.
 */
const COPY_UP_TO = 4096

// Short input is read from here: cbor-x makes a DataView for each source and hangs it on the array it was given.
const scratch = new Uint8Array(COPY_UP_TO)
const scratchBuffer = Buffer.from(scratch.buffer)
// cbor-x keeps a view of the last source it read; after a long one it is given this to hold.
const nothing = Uint8Array.of(0xf6)

const NONE: never[] = []
// What cbor-x is reading, what the guard found there, and what has been read.
let source: Uint8Array = nothing
let texts: string[] = []
let definitions: readonly KeyList[] = NONE
let values: unknown[] = NONE
let single: unknown
/** Items yet to come, so that it stops where the input ends and not where the scratch does. */
let awaited = 0

const lists: (KeyList | undefined)[] = Array.from({ length: RECORD_SHAPES })
let defined = 0
// Where cbor-x looks for records by their tags: each is told to read itself.
const structures: { read(): object }[] = Array.from({ length: 0x2000 })
structures[RECORD_DEFINITION & 0x1fff] = {
  read() {
    // The list holds for what is in the object too, so it is noted before that is read.
    const list = definitions[defined++]!
    lists[list.number] = list
    return list.object(read() as unknown[], 2)
  },
}
for (let number = 0; number < RECORD_SHAPES; number++) {
  structures[(RECORD + number) & 0x1fff] = {
    read() {
      const list = lists[number]!
      return list.object(read() as unknown[], 0)
    },
  }
}
const decoder = new Decoder({ useRecords: false, mapsAsObjects: true, structures })

setExtractor((position, _end, length, from) => {
  if (from === source) return texts
  // Somebody else uses this build after all: they get what they asked for.
  return Buffer.from(from.buffer, from.byteOffset, from.byteLength).toString('utf8', position, position + length)
})

const takeNone = (): boolean => false

function takeOne(value: unknown): boolean {
  single = finished(value)
  return false
}

function take(value: unknown): boolean {
  values.push(finished(value))
  forget()
  return --awaited > 0
}

// What the item being read has shown so far.
let shared: (object | undefined)[] = []
let knots = false
let pictures: object[] = []
let copyAll = false

/** @throws MalformedError, TooLargeError */
export function readItem(bytes: Uint8Array, limits: CodecLimits, copy: boolean): unknown {
  // Under limits of somebody's own it is counted like all else.
  const alone = limits === DEFAULT_LIMITS && bytes instanceof Uint8Array ? loneBytes(bytes) : undefined
  if (alone !== undefined) {
    copyAll = copy
    return ownBytes(alone)
  }
  const from = sourceOf(bytes, limits.bytes)
  const length = bytes.byteLength
  if (from === scratch && limits === DEFAULT_LIMITS) {
    const small = readSmall(scratch, scratchBuffer, length, copy)
    if (small !== OTHER) return small
  }
  const findings: Findings = { items: 0, texts: [], definitions: undefined }
  const end = guardItem(from, bufferOf(from), 0, length, limits, findings)
  if (end !== length) throw new MalformedError(`not a value: ${length - end} bytes behind its end`)
  readFrom(from, findings, takeOne, copy)
  const value = single
  single = undefined
  return value
}

/** Reads items one behind the other, up to the end. @throws MalformedError, TooLargeError */
export function readSequence(bytes: Uint8Array, limits: CodecLimits, copy: boolean): unknown[] {
  const length = bytes.byteLength
  const from = sourceOf(bytes, limits.bytes + CHUNK_SLACK)
  const buffer = bufferOf(from)
  const findings: Findings = { items: 0, texts: [], definitions: [] }
  beginSequence()
  try {
    let count = 0
    for (let position = 0; position < length; count++) {
      position = guardItem(from, buffer, position, length, limits, findings)
      if (findings.items > limits.items + CHUNK_SLACK) {
        throw new TooLargeError(`the chunk has more than ${limits.items + CHUNK_SLACK} items`, `byte ${position}`)
      }
    }
    const all: unknown[] = []
    if (count > 0) {
      values = all
      awaited = count
      readFrom(from, findings, take, copy)
    }
    return all
  } finally {
    values = NONE
    // Keys may be long.
    if (findings.definitions!.length > 0) {
      beginSequence()
      lists.fill(undefined)
    }
  }
}

function readFrom(from: Uint8Array, findings: Findings, each: (value: unknown) => boolean, copy: boolean): void {
  source = from
  texts = findings.texts
  definitions = findings.definitions ?? NONE
  defined = 0
  // What the last item has shown, if the stack ended before it was forgotten.
  forget()
  copyAll = copy
  try {
    decoder.decodeMultiple(from, each)
  } catch (error) {
    throw wrapped(error)
  } finally {
    forget()
    definitions = NONE
    if (from !== scratch) {
      source = nothing
      texts = NONE
      decoder.decodeMultiple(nothing, takeNone)
    }
  }
}

function bufferOf(from: Uint8Array): Buffer {
  return from === scratch ? scratchBuffer : Buffer.from(from.buffer, from.byteOffset, from.byteLength)
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
  if (value instanceof Tag) throw malformed(`tag ${value.tag} was not understood`)
  if (knots) tie(value, shared)
  for (const picture of pictures) freeze(picture instanceof Knot ? shared[picture.id]! : picture)
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

// The handlers. Each takes content whose kind the guard has checked, and runs in time linear in it.

type Handler = ((content: never) => unknown) & { handlesRead?: boolean }

function handle(tag: number, decode: Handler): void {
  addExtension({ tag, decode })
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

const wordBytes = new Uint8Array(16)
const words = new DataView(wordBytes.buffer)

function integer(bytes: Uint8Array): bigint {
  if (bytes.byteLength > MAX_BIGINT_BITS / 8) throw new TooLargeError('the value is too large to take: BigInt', 'value')
  if (bytes.byteLength <= 16) {
    words.setBigUint64(0, 0n)
    words.setBigUint64(8, 0n)
    wordBytes.set(bytes, 16 - bytes.byteLength)
    return (words.getBigUint64(0) << 64n) | words.getBigUint64(8)
  }
  // Of longer ones, hexadecimal text is the one way into a BigInt that takes linear time.
  const digits = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
  return BigInt(`0x${digits}`)
}
handle(TAG.bigint, integer)
handle(TAG.negativeBigint, (bytes: Uint8Array) => -1n - integer(bytes))

const readShared: Handler = (read: () => unknown) => {
  const id = shared.length
  shared.push(undefined)
  const value = read()
  if (typeof value !== 'object' || value === null) throw malformed('a shared thing is no object')
  // A snapshot may be what holds it, but not itself.
  if (value instanceof Knot && value.id >= id) throw malformed('a shared thing that is nothing but itself')
  shared[id] = value
  return value
}
readShared.handlesRead = true
handle(TAG.shared, readShared)
handle(TAG.reference, (id: number) => {
  if (id >= shared.length) throw malformed('reference to nothing')
  const value = shared[id]
  if (value !== undefined) return value
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
  let made: RegExp
  try {
    made = new RegExp(text.slice(1, end), text.slice(end + 1))
  } catch (error) {
    throw malformed('not a RegExp', error)
  }
  // A slash that is not escaped, flags in another order: passed on, it would not be the same, and perhaps too long.
  if (`/${made.source}/${made.flags}` !== text) throw malformed('a RegExp that is not written as it prints')
  return made
})

const alignedBytes = new Uint8Array(BESIDE)

for (const [name, tag] of Object.entries(TYPED_ARRAY_TAG)) {
  const kind = (globalThis as Record<string, unknown>)[name] as Float64ArrayConstructor | undefined
  if (kind === undefined || name === 'Uint8Array') continue
  const aligned = new kind(alignedBytes.buffer)
  handle(tag, (bytes: Uint8Array<ArrayBuffer>) => {
    const size = kind.BYTES_PER_ELEMENT
    const { byteLength } = bytes
    if (byteLength % size !== 0) throw malformed(`bytes that do not fill a ${name}`)
    if (byteLength <= BESIDE) {
      alignedBytes.set(bytes)
      const own = new kind(byteLength / size)
      own.set(aligned.subarray(0, own.length))
      return own
    }
    const from = isView(bytes) && bytes.byteOffset % size === 0 ? bytes : bytes.slice()
    return new kind(from.buffer, from.byteOffset, from.byteLength / size)
  })
}

handle(TYPED_ARRAY_TAG.Uint8Array!, ownBytes)

function ownBytes(bytes: Uint8Array<ArrayBuffer>): Uint8Array {
  return isView(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : copyOf(bytes, copyAll)
}

/** A Uint8Array and nothing else, the commonest value of all: there is nothing to look for in it, or to put together. */
function loneBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  if (bytes[0] !== 0xd8 || bytes[1] !== 0x40 || !(bytes.buffer instanceof ArrayBuffer)) return undefined
  const head = bytes[2]!
  let start = 3
  let length = head & 0x1f
  if (head < 0x40 || head > 0x5a) return undefined
  if (head >= 0x58) {
    const digits = 1 << (head - 0x58)
    length = 0
    while (start < 3 + digits) length = length * 256 + bytes[start++]!
  }
  // Whatever is wrong with it is found out, and said, in the usual way.
  const { byteLength } = bytes
  if (start + length !== byteLength || byteLength > MAX_BYTES) return undefined
  return new Uint8Array(bytes.buffer, bytes.byteOffset + start, length)
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
    const value = pairs[i + 1]
    const enumerable = (i - from) / 2 >= hidden
    // Defining it keeps the object from becoming a table until it has so many fields that each takes microseconds.
    if (enumerable && !(key in object)) (object as Record<string, unknown>)[key] = value
    else Object.defineProperty(object, key, { value, writable: true, enumerable, configurable: true })
  }
}

handle(TAG.object, (flat: readonly unknown[]) => {
  const object = {}
  // The name first: it is common to all, whatever their fields.
  if (flat[0] !== null) nameClass(object, text(flat[0]))
  readFields(object, flat, 1, 0)
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
  if (own === base) throw malformed('an error with a class of its own that is not')
  checkErrorFields(flat, base as string, hidden)
  const error = newError(
    kind,
    base as string,
    message === null ? undefined : text(message),
    name === null ? undefined : text(name),
  )
  if (name !== null && base !== 'DOMException') hide(error, 'name', text(name))
  if (stack !== null) hide(error, 'stack', text(stack))
  readFields(error, flat, 6, hidden as number)
  if (own !== null) nameClass(error, text(own))
  return error
})

/** The hidden fields are those that errors hide, and none stands for what has a place of its own. */
function checkErrorFields(flat: readonly unknown[], base: string, hidden: unknown): void {
  if (!(typeof hidden === 'number' && Number.isInteger(hidden) && hidden * 2 <= flat.length - 6)) {
    throw malformed('an error with a wrong count of fields')
  }
  for (let i = 6; i < flat.length; i += 2) {
    const key = flat[i] as string
    if (i >= 6 + hidden * 2) {
      if (key === 'message' || key === 'stack') throw malformed(`an error with a field ${key}`)
    } else if (key === 'code') {
      const code = flat[i + 1]
      if (base === 'DOMException' || (typeof code !== 'string' && typeof code !== 'number')) {
        throw malformed('an error that hides its code')
      }
    } else if (!HIDDEN_ERROR_FIELDS.includes(key)) throw malformed('an error with another field that is hidden')
  }
}

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
