// The pre-pass for what cbor-x gets wrong: one walk that turns any value into a tree of plain containers and Tags.
//
// Every object met becomes a slot, a Tag without a number that cbor-x writes as nothing. When the object is met again its
// slot gets the number of "shared", and the second place a reference to it; both are numbered in the order of writing.

import { types } from 'node:util'
import { Tag } from 'cbor-x/index-no-eval'
import { HIDDEN_ERROR_FIELDS, SNAPSHOT, builtInOf, className, classOf } from './codec-class.ts'
import {
  LastKeys,
  extraOfBigint,
  extraOfBytes,
  extraOfRegExp,
  extraOfShape,
  extraOfTag,
  extraOfText,
  extraOfUrl,
} from './codec-cost.ts'
import { collides, collision } from './codec-hash.ts'
import type { CodecLimits } from './codec-limits.ts'
import { MAX_BIGINT_BITS, MAX_REGEXP } from './codec-limits.ts'
import { obstacleOf } from './codec-obstacle.ts'
import { isAwkward, isAwkwardKey, isExactInSeconds } from './codec-plain.ts'
import { type Step as Shape, Shaped, type Shapes } from './codec-shapes.ts'
import { TAG, TYPED_ARRAY_TAG } from './codec-tags.ts'
import { NotTransferableError, TooLargeError } from './errors.ts'

export interface TreeOptions {
  readonly limits: CodecLimits
  /** Replace what cannot travel by a marker instead of throwing. */
  readonly lossy: boolean
  /** What the value is called in paths. */
  readonly name: string
}

class Slot extends Tag {
  declare tag: number
  id = -1
}

/** One step of the way to a value: a field, an index, or a place in a Map or Set, as the text to append. */
type Step = string | number | { readonly text: () => string }

const TypedArray: object = Object.getPrototypeOf(Uint8Array.prototype)
const TYPED_ARRAY = viewGetters(TypedArray)
const DATA_VIEW = viewGetters(DataView.prototype)
/** The intrinsic name, whatever a subclass says and wherever the array was made; undefined for a DataView. */
const kindOf = (view: ArrayBufferView): unknown => Reflect.get(TypedArray, Symbol.toStringTag, view)

/**
 * The tree that cbor-x writes for `value`. Calls getters and snapshot methods; copies bytes only by view.
 * @throws NotTransferableError, TooLargeError with the path of what is the matter
 */
export function treeOf(value: unknown, options: TreeOptions, shapes?: Shapes): { tree: unknown; items: number } {
  const conversion = new Conversion(options, shapes)
  const tree = conversion.run(value)
  return { tree, items: conversion.items }
}

class Conversion {
  items = 1
  readonly #options: TreeOptions
  readonly #shapes: Shapes | undefined
  #bytesLeft: number
  readonly #lastKeys = new LastKeys()
  /** Shapes whose lists will be defined, by the first object of each that is written. */
  readonly #defining = new Set<Shape>()
  readonly #slots = new Map<object, Slot>()
  /** Those who have slots, in order. */
  readonly #met: object[] = []
  readonly #references: { readonly tag: Tag; readonly slot: Slot }[] = []
  readonly #steps: Step[] = []

  constructor(options: TreeOptions, shapes: Shapes | undefined) {
    this.#options = options
    this.#shapes = shapes
    this.#bytesLeft = options.limits.bytes
  }

  run(value: unknown): unknown {
    const tree = this.#convert(value, 0)
    // Slots stand in the order of writing, which is the order in which a reader counts the marks.
    let id = 0
    for (const slot of this.#slots.values()) if (slot.tag === TAG.shared) slot.id = id++
    for (const reference of this.#references) reference.tag.value = reference.slot.id
    return tree
  }

  #convert(value: unknown, depth: number): unknown {
    switch (typeof value) {
      case 'string':
        return this.#text(value)
      case 'number':
        return Object.is(value, -0) ? new Tag(0, TAG.negativeZero) : value
      case 'bigint':
        return this.#bigint(value)
      case 'function':
      case 'symbol':
        return this.#refuse(value, obstacleOf(value)!, depth)
      case 'object':
        return value === null ? null : this.#object(value, depth)
      default:
        return value
    }
  }

  /** The value one step further. */
  #at(step: Step, value: unknown, depth: number): unknown {
    this.#steps.push(step)
    const tree = this.#convert(value, depth)
    this.#steps.pop()
    return tree
  }

  #object(value: object, depth: number): unknown {
    const steps = this.#steps.length
    const met = this.#met.length
    const references = this.#references.length
    try {
      return this.#whole(value, depth)
    } catch (error) {
      if (error instanceof NotTransferableError || error instanceof TooLargeError) throw error
      // A proxy's trap, a class with a hostile getter. What was met in it has not been written, so nobody may refer to it;
      // that it was counted is no harm.
      this.#steps.length = steps
      this.#references.length = references
      while (this.#met.length > met) this.#slots.delete(this.#met.pop()!)
      return this.#refuse(value, `an object that throws when it is read (${messageOf(error)})`, depth, error)
    }
  }

  #whole(value: object, depth: number): unknown {
    const met = this.#slots.get(value)
    if (met !== undefined) {
      met.tag = TAG.shared
      const tag = new Tag(0, TAG.reference)
      this.#references.push({ tag, slot: met })
      return tag
    }
    if (types.isBoxedPrimitive(value) && !types.isSymbolObject(value)) return this.#convert(unboxed(value), depth)

    let content = value
    const hook = (value as { [SNAPSHOT]?: unknown })[SNAPSHOT]
    if (typeof hook === 'function') {
      let picture: unknown
      try {
        picture = hook.call(value)
      } catch (error) {
        return this.#refuse(value, `a snapshot that failed (${messageOf(error)})`, depth, error)
      }
      // A primitive has no identity to share and nothing to freeze.
      if (typeof picture !== 'object' || picture === null) return this.#convert(picture, depth)
      content = picture
    }
    const obstacle = obstacleOf(content)
    if (obstacle !== undefined) return this.#refuse(content, obstacle, depth)

    const slot = this.#slot(value)
    slot.value =
      typeof hook === 'function'
        ? this.#tag(this.#picture(content, depth, value), TAG.snapshot)
        : this.#body(value, depth + 1)
    return slot
  }

  /** What the snapshot method of `live` returned, under the class name of `live`. */
  #picture(picture: object, depth: number, live: object): unknown {
    if (picture === live) return this.#body(picture, depth + 1)
    if (this.#slots.has(picture)) return this.#object(picture, depth)
    const slot = this.#slot(picture)
    slot.value = this.#body(picture, depth + 1, classOf(live))
    return slot
  }

  #slot(value: object): Slot {
    const slot = new Slot(undefined, undefined as never)
    this.#slots.set(value, slot)
    this.#met.push(value)
    return slot
  }

  #body(value: object, depth: number, name?: string): unknown {
    if (Array.isArray(value)) return this.#array(value, depth)
    if (types.isMap(value)) return this.#map(value, depth)
    if (types.isSet(value)) return this.#set(value, depth)
    if (types.isDate(value)) return dateTree(Date.prototype.getTime.call(value))
    if (types.isRegExp(value)) return this.#regexp(value)
    if (ArrayBuffer.isView(value)) return this.#view(value, depth)
    if (types.isArrayBuffer(value)) {
      return this.#bytes(TAG.arrayBuffer, value, 0, Reflect.get(ArrayBuffer.prototype, 'byteLength', value) as number)
    }
    if (value instanceof URL) {
      this.#count(extraOfUrl(value.href.length))
      return this.#tag(this.#spelled(value.href), TAG.url)
    }
    if (types.isNativeError(value) || value instanceof Error) return this.#error(value, depth)

    const decoded = className(value)
    const fields = this.#fields(value, depth, name ?? decoded ?? classOf(value))
    // A snapshot that is passed on stays one.
    return decoded !== undefined && Object.isFrozen(value) ? this.#tag(fields, TAG.snapshot) : fields
  }

  #fields(value: object, depth: number, name: string | undefined): unknown {
    const keys = Object.keys(value)
    if (name !== undefined || keys.some((key) => isAwkwardKey(key) || isAwkward(key))) {
      this.#open(1 + keys.length * 2, depth)
      const flat: unknown[] = [name === undefined ? null : this.#text(name)]
      for (const [place, key] of keys.entries()) {
        flat.push(this.#name(key, place, depth), this.#field(value, key, depth))
      }
      return this.#tag(flat, TAG.object)
    }
    const shape = this.#shapes?.of(keys, this.#defining.size)
    const isKnown = shape !== undefined && (shape.number >= 0 || this.#defining.has(shape))
    this.#open(isKnown ? keys.length : keys.length * 2, depth)
    if (shape !== undefined && !isKnown) {
      this.#count(extraOfShape(keys.length))
      this.#defining.add(shape)
    }
    const values = keys.map((key, place) => {
      if (shape === undefined) this.#count(this.#lastKeys.extra(depth, place, key))
      this.#spend(key.length)
      return this.#field(value, key, depth)
    })
    if (shape !== undefined) return new Shaped(this.#shapes!, shape, values)
    return Object.fromEntries(keys.map((key, i) => [key, values[i]]))
  }

  #field(value: object, key: string, depth: number): unknown {
    this.#steps.push(key)
    let tree: unknown
    let content: unknown
    let failure: { readonly error: unknown } | undefined
    try {
      content = (value as Record<string, unknown>)[key]
    } catch (error) {
      failure = { error }
    }
    if (failure === undefined) tree = this.#convert(content, depth)
    else tree = this.#refuseGetter(failure.error, depth)
    this.#steps.pop()
    return tree
  }

  #array(value: readonly unknown[], depth: number): unknown {
    const length = value.length
    // Of a Proxy it may be anything.
    if (length >>> 0 !== length) return this.#refuse(value, 'an array without a length', depth - 1)
    this.#open(length, depth)
    const out: unknown[] = Array.from({ length })
    for (let i = 0; i < length; i++) {
      this.#steps.push(i)
      out[i] = this.#element(value, i, depth)
      this.#steps.pop()
    }
    return out
  }

  #element(value: readonly unknown[], index: number, depth: number): unknown {
    let content: unknown
    try {
      content = value[index]
    } catch (error) {
      return this.#refuseGetter(error, depth)
    }
    return this.#convert(content, depth)
  }

  #map(value: Map<unknown, unknown>, depth: number): Map<unknown, unknown> {
    const size = Reflect.get(Map.prototype, 'size', value) as number
    this.#open(size * 2 + extraOfTag(TAG.map), depth)
    if (collides(size, Map.prototype.keys.call(value))) throw collision(this.#path(), this.#path())
    const out = new Map<unknown, unknown>()
    // All at once: what a getter adds meanwhile has not been counted.
    const entries = [...Map.prototype.entries.call(value)]
    for (let i = 0; i < size; i++) {
      const [key, member] = entries[i]!
      const newKey = this.#key({ text: () => `.keys()[${i}]` }, key, depth)
      const text = (): string => (isPrimitive(key) ? `.get(${quote(key)})` : `.values()[${i}]`)
      out.set(newKey, this.#at({ text }, member, depth))
    }
    return out
  }

  #set(value: Set<unknown>, depth: number): Tag {
    const size = Reflect.get(Set.prototype, 'size', value) as number
    this.#open(size, depth)
    if (collides(size, Set.prototype.values.call(value))) throw collision(this.#path(), this.#path())
    const out = [...Set.prototype.values.call(value)]
    for (let i = 0; i < size; i++) out[i] = this.#key({ text: () => `.values()[${i}]` }, out[i], depth)
    return this.#tag(out, TAG.set)
  }

  /** A key of a Map, a member of a Set. Two objects that arrive as primitives might arrive as one. */
  #key(step: Step, value: unknown, depth: number): unknown {
    this.#steps.push(step)
    let tree = this.#convert(value, depth)
    if (typeof value === 'object' && value !== null && !isObjectTree(tree)) {
      tree = this.#refuse(value, 'a key or member that would arrive as a primitive', depth)
    }
    this.#steps.pop()
    return tree
  }

  /** [built-in class, own class | null, name | null, message | null, stack | null, number of hidden fields, field, value, …] */
  #error(value: Error, depth: number): Tag {
    const base = builtInOf(value)
    const own = className(value) ?? classOf(value)
    const shown = Object.keys(value).filter((key) => key !== 'message' && key !== 'stack')
    const hidden = HIDDEN_ERROR_FIELDS.filter((key) => Object.hasOwn(value, key) && !shown.includes(key))
    // Each is read once: a getter may say something else the next time.
    const { name, message, stack } = value as { name: unknown; message: unknown; stack?: unknown }
    // A code may also be a getter of the class; DOMException's follows from its name.
    const code = shown.includes('code') || base === 'DOMException' ? undefined : (value as { code?: unknown }).code
    const isCoded = typeof code === 'string' || typeof code === 'number'
    const count = hidden.length + (isCoded ? 1 : 0)
    this.#open(6 + (count + shown.length) * 2, depth)
    // What a DOMException is called without a name is "Error".
    const isUsual = name === base && base !== 'DOMException'
    const flat: unknown[] = [
      base,
      own === undefined || own === base ? null : this.#text(own),
      typeof name !== 'string' || isUsual || shown.includes('name') ? null : this.#text(name),
      message === '' && !Object.hasOwn(value, 'message') ? null : this.#text(String(message)),
      typeof stack === 'string' ? this.#text(stack) : null,
      count,
    ]
    let place = 0
    for (const key of hidden) flat.push(this.#name(key, place++, depth), this.#field(value, key, depth))
    if (isCoded) flat.push(this.#name('code', place++, depth), this.#at('code', code, depth))
    for (const key of shown) flat.push(this.#name(key, place++, depth), this.#field(value, key, depth))
    return this.#tag(flat, TAG.error)
  }

  /** The name of a field, where it stands as text like any other. */
  #name(key: string, place: number, depth: number): unknown {
    this.#count(this.#lastKeys.extra(depth, place, isAwkward(key) ? undefined : key))
    return this.#text(key)
  }

  #text(value: string): unknown {
    if (!isAwkward(value)) {
      this.#count(extraOfText(Buffer.byteLength(value)))
      return this.#spelled(value)
    }
    this.#spend(value.length)
    this.#count(extraOfBytes(value.length * 2))
    return this.#tag(Buffer.from(value, 'utf16le'), TAG.text)
  }

  /** Text that is ASCII or has been looked at. */
  #spelled(value: string): string {
    this.#spend(value.length)
    return value
  }

  #bigint(value: bigint): unknown {
    const negative = value < 0n
    const magnitude = negative ? -1n - value : value
    // cbor-x takes -2^64, which has 64 bits too, for longer.
    if (magnitude <= 0xffff_ffff_ffff_ffffn && value !== -0x1_0000_0000_0000_0000n) return value
    let digits = magnitude.toString(16)
    if (digits.length > MAX_BIGINT_BITS / 4) {
      throw this.#tooLarge(`is a BigInt of more than ${MAX_BIGINT_BITS} bits`)
    }
    if (digits.length % 2 === 1) digits = `0${digits}`
    this.#count(extraOfBigint(digits.length / 2))
    return this.#tag(Buffer.from(digits, 'hex'), negative ? TAG.negativeBigint : TAG.bigint)
  }

  #regexp(value: RegExp): Tag {
    const source = wellFormed(value.source, value.flags)
    if (source.length > MAX_REGEXP) throw this.#tooLarge(`is a RegExp longer than ${MAX_REGEXP} characters`)
    const text = `/${source}/${value.flags}`
    this.#count(extraOfRegExp(text))
    return this.#tag(this.#spelled(text), TAG.regexp)
  }

  #view(value: ArrayBufferView, depth: number): unknown {
    const name = kindOf(value)
    const tag = typeof name === 'string' ? TYPED_ARRAY_TAG[name] : TAG.dataView
    if (tag === undefined) return this.#refuse(value, 'an array of a kind errand does not know', depth - 1)
    // What it says of itself may be wrong, and then what is beside it would be sent.
    const of = name === undefined ? DATA_VIEW : TYPED_ARRAY
    return this.#bytes(tag, of.buffer.call(value), of.byteOffset.call(value), of.byteLength.call(value))
  }

  #bytes(tag: number, buffer: ArrayBuffer, offset: number, length: number): unknown {
    this.#spend(length)
    this.#count(extraOfBytes(length))
    // A Buffer, because cbor-x writes that one class of bytes without a tag of its own.
    return this.#tag(Buffer.from(buffer, offset, length), tag)
  }

  #refuse(value: unknown, what: string, depth: number, cause?: unknown): unknown {
    if (!this.#options.lossy) throw this.#refusal(`is ${what}`, cause)
    this.#open(3, depth + 1)
    const name = this.#name('$dropped', 0, depth + 1)
    return this.#tag(['Dropped', name, this.#text(this.#label(value, what))], TAG.object)
  }

  #refuseGetter(error: unknown, depth: number): unknown {
    return this.#refuse(undefined, `a getter that throws (${messageOf(error)})`, depth, error)
  }

  /** `function onClick`, `symbol id`, `a Promise`. */
  #label(value: unknown, what: string): string {
    if (typeof value === 'symbol') return `symbol ${value.description ?? ''}`.trim()
    if (typeof value !== 'function') return what
    const last = this.#steps.at(-1)
    return `function ${typeof last === 'string' ? last : nameOf(value)}`.trim()
  }

  #refusal(what: string, cause?: unknown): NotTransferableError {
    const path = this.#path()
    return new NotTransferableError(`${path} ${what} and cannot travel`, path, {
      cause,
      hint: 'send plain data in its place; class instances travel as their fields',
    })
  }

  #tooLarge(what: string): TooLargeError {
    const path = this.#path()
    return new TooLargeError(`${path} ${what}`, path)
  }

  #open(items: number, depth: number): void {
    if (depth > this.#options.limits.depth) throw this.#tooLarge(`is nested deeper than ${this.#options.limits.depth}`)
    this.#count(items)
  }

  /** A value of a kind that may count for more than one. */
  #tag(content: unknown, tag: number): Tag {
    this.#count(extraOfTag(tag))
    return new Tag(content, tag)
  }

  #count(items: number): void {
    this.items += items
    if (this.items > this.#options.limits.items) {
      throw this.#tooLarge(`brings the value to more than ${this.#options.limits.items} items`)
    }
  }

  /** A lower bound of the size, so that nothing enormous is built only to be refused. */
  #spend(bytes: number): void {
    if ((this.#bytesLeft -= bytes) < 0) {
      throw this.#tooLarge(`brings the value to more than ${this.#options.limits.bytes} bytes`)
    }
  }

  #path(): string {
    let path = this.#options.name
    for (const step of this.#steps) {
      if (typeof step === 'number') path += `[${step}]`
      else if (typeof step === 'object') path += step.text()
      else path += /^[\p{ID_Start}_$][\p{ID_Continue}$]*$/u.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`
    }
    return path
  }
}

function dateTree(time: number): unknown {
  return isExactInSeconds(time) ? new Date(time) : new Tag(time, TAG.farDate)
}

/** What a character of a pattern is: one that is escaped goes with its backslash. */
const ESCAPED_OR_HALF = /\\[\s\S]|\p{Surrogate}/gu
const ESCAPED_HALF = /\\ud[89a-f]/i

/** The same pattern, with halves of characters as escapes. */
function wellFormed(pattern: string, flags: string): string {
  // In braces a half does not join one beside it that was an escape already.
  const braces = (flags.includes('u') || flags.includes('v')) && ESCAPED_HALF.test(pattern)
  return pattern.replace(ESCAPED_OR_HALF, (token) => {
    if (token.isWellFormed()) return token
    // In the place of its backslash, too, if it has one.
    const digits = token.charCodeAt(token.length - 1).toString(16)
    return braces ? `\\u{${digits}}` : `\\u${digits}`
  })
}

interface ViewGetters {
  readonly buffer: (this: ArrayBufferView) => ArrayBuffer
  readonly byteOffset: (this: ArrayBufferView) => number
  readonly byteLength: (this: ArrayBufferView) => number
}

function viewGetters(prototype: object): ViewGetters {
  const keys = ['buffer', 'byteOffset', 'byteLength'] as const
  const getters = keys.map((key) => [
    key,
    Reflect.get(Object.getOwnPropertyDescriptor(prototype, key)!, 'get') as unknown,
  ])
  return Object.fromEntries(getters) as unknown as ViewGetters
}

/** What it holds, whatever its own `valueOf` says. */
function unboxed(value: object): unknown {
  if (types.isStringObject(value)) return String.prototype.valueOf.call(value)
  if (types.isNumberObject(value)) return Number.prototype.valueOf.call(value)
  if (types.isBooleanObject(value)) return Boolean.prototype.valueOf.call(value)
  return BigInt.prototype.valueOf.call(value as unknown as bigint)
}

/** This stands for an object that keeps its identity, or for one that was dropped. */
function isObjectTree(tree: unknown): boolean {
  return tree instanceof Slot || (tree instanceof Tag && (tree.tag === TAG.reference || tree.tag === TAG.object))
}

function isPrimitive(value: unknown): boolean {
  return (typeof value !== 'object' || value === null) && typeof value !== 'function' && typeof value !== 'symbol'
}

function quote(key: unknown): string {
  return typeof key === 'string' ? JSON.stringify(key) : typeof key === 'bigint' ? `${key}n` : String(key)
}

/** What was thrown may itself throw when it is asked. */
function messageOf(error: unknown): string {
  try {
    if (!(error instanceof Error)) return isPrimitive(error) ? String(error) : 'something that is not an Error'
    const message: unknown = error.message
    if (typeof message === 'string') return message
  } catch {
    // It says nothing, then.
  }
  return 'something that does not say what'
}

function nameOf(value: { readonly name: unknown }): string {
  try {
    return typeof value.name === 'string' ? value.name : ''
  } catch {
    return '' // a Proxy that was revoked
  }
}
