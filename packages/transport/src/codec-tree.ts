// The pre-pass for what cbor-x gets wrong: one walk that turns any value into a tree of plain containers and Tags.
//
// Every object met becomes a slot, a Tag without a number that cbor-x writes as nothing. When the object is met again its
// slot gets the number of "shared", and the second place a reference to it; both are numbered in the order of writing.

import { types } from 'node:util'
import { Tag } from 'cbor-x/index-no-eval'
import { ERROR_CLASSES, HIDDEN_ERROR_FIELDS, SNAPSHOT, className } from './codec-class.ts'
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
import { Shaped, type Shapes } from './codec-shapes.ts'
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
  readonly #slots = new Map<object, Slot>()
  readonly #references: { readonly tag: Tag; readonly slot: Slot }[] = []
  readonly #steps: Step[] = []

  constructor(options: TreeOptions, shapes: Shapes | undefined) {
    this.#options = options
    this.#shapes = shapes
    this.#bytesLeft = options.limits.bytes
  }

  run(value: unknown): unknown {
    let tree: unknown
    try {
      tree = this.#convert(value, 0)
    } catch (error) {
      if (error instanceof NotTransferableError || error instanceof TooLargeError) throw error
      // A proxy's trap, a class with a hostile getter: the steps still say where.
      throw this.#refusal(`threw while it was read: ${messageOf(error)}`, error)
    }
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

  #object(value: object, depth: number): unknown {
    const met = this.#slots.get(value)
    if (met !== undefined) {
      met.tag = TAG.shared
      const tag = new Tag(0, TAG.reference)
      this.#references.push({ tag, slot: met })
      return tag
    }
    if (types.isBoxedPrimitive(value) && !types.isSymbolObject(value)) return this.#convert(value.valueOf(), depth)

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
    return slot
  }

  #body(value: object, depth: number, name?: string): unknown {
    if (Array.isArray(value)) return this.#array(value, depth)
    if (types.isMap(value)) return this.#map(value, depth)
    if (types.isSet(value)) return this.#set(value, depth)
    if (types.isDate(value)) return dateTree(Date.prototype.getTime.call(value))
    if (types.isRegExp(value)) return this.#regexp(value)
    if (ArrayBuffer.isView(value)) return this.#view(value, depth)
    if (types.isArrayBuffer(value)) return this.#bytes(TAG.arrayBuffer, value, value, depth)
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
      for (const key of keys) flat.push(this.#text(key), this.#field(value, key, depth))
      return this.#tag(flat, TAG.object)
    }
    this.#open(keys.length * 2, depth)
    const shape = this.#shapes?.of(keys)
    // Whether its list is to be defined shows only when it is written.
    if (shape !== undefined && shape.number < 0) this.#count(extraOfShape(keys.length))
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
    else tree = this.#refuse(undefined, `a getter that throws (${messageOf(failure.error)})`, depth, failure.error)
    this.#steps.pop()
    return tree
  }

  #array(value: readonly unknown[], depth: number): unknown[] {
    const length = value.length
    this.#open(length, depth)
    const out: unknown[] = Array.from({ length })
    for (let i = 0; i < length; i++) {
      this.#steps.push(i)
      out[i] = this.#convert(value[i], depth)
      this.#steps.pop()
    }
    return out
  }

  #map(value: Map<unknown, unknown>, depth: number): Map<unknown, unknown> {
    this.#open(value.size * 2 + extraOfTag(TAG.map), depth)
    if (collides(value.size, Map.prototype.keys.call(value))) throw collision(this.#path(), this.#path())
    const out = new Map<unknown, unknown>()
    let i = 0
    for (const [key, member] of Map.prototype.entries.call(value)) {
      const index = i++
      this.#steps.push({ text: () => `.keys()[${index}]` })
      const newKey = this.#convert(key, depth)
      this.#steps.pop()
      this.#steps.push({ text: () => (isPrimitive(key) ? `.get(${quote(key)})` : `.values()[${index}]`) })
      out.set(newKey, this.#convert(member, depth))
      this.#steps.pop()
    }
    return out
  }

  #set(value: Set<unknown>, depth: number): Tag {
    this.#open(value.size, depth)
    if (collides(value.size, Set.prototype.values.call(value))) throw collision(this.#path(), this.#path())
    const out: unknown[] = []
    for (const member of Set.prototype.values.call(value)) {
      const index = out.length
      this.#steps.push({ text: () => `.values()[${index}]` })
      out.push(this.#convert(member, depth))
      this.#steps.pop()
    }
    return this.#tag(out, TAG.set)
  }

  /** [built-in class, own class | null, name | null, message | null, stack | null, number of hidden fields, field, value, …] */
  #error(value: Error, depth: number): Tag {
    const base = builtInOf(value)
    const own = className(value) ?? classOf(value)
    const shown = Object.keys(value).filter((key) => key !== 'message' && key !== 'stack')
    const hidden = HIDDEN_ERROR_FIELDS.filter((key) => Object.hasOwn(value, key) && !shown.includes(key))
    // A code may also be a getter of the class; DOMException's follows from its name.
    if (!shown.includes('code') && base !== 'DOMException') {
      const code = (value as { code?: unknown }).code
      if (typeof code === 'string' || typeof code === 'number') hidden.push('code')
    }
    const fields = [...hidden, ...shown]
    this.#open(6 + fields.length * 2, depth)
    const name: unknown = value.name
    const stack: unknown = value.stack
    const flat: unknown[] = [
      base,
      own === undefined || own === base ? null : this.#text(own),
      typeof name !== 'string' || name === base || shown.includes('name') ? null : this.#text(name),
      value.message === '' && !Object.hasOwn(value, 'message') ? null : this.#text(String(value.message)),
      typeof stack === 'string' ? this.#text(stack) : null,
      hidden.length,
    ]
    for (const key of fields) flat.push(this.#text(key), this.#field(value, key, depth))
    return this.#tag(flat, TAG.error)
  }

  #text(value: string): unknown {
    if (!isAwkward(value)) {
      this.#count(extraOfText(Buffer.byteLength(value)))
      return this.#spelled(value)
    }
    this.#spend(value.length)
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
    if (magnitude <= 0xffff_ffff_ffff_ffffn) return value
    let digits = magnitude.toString(16)
    if (digits.length > MAX_BIGINT_BITS / 4) {
      throw this.#tooLarge(`is a BigInt of more than ${MAX_BIGINT_BITS} bits`)
    }
    if (digits.length % 2 === 1) digits = `0${digits}`
    this.#count(extraOfBigint(digits.length / 2))
    return this.#tag(Buffer.from(digits, 'hex'), negative ? TAG.negativeBigint : TAG.bigint)
  }

  #regexp(value: RegExp): Tag {
    // Escaped, the text is well-formed whatever the pattern holds.
    const source = value.source.replace(LONE_SURROGATE, (unit) => `\\u${unit.charCodeAt(0).toString(16)}`)
    if (source.length > MAX_REGEXP) throw this.#tooLarge(`is a RegExp longer than ${MAX_REGEXP} characters`)
    const text = `/${source}/${value.flags}`
    this.#count(extraOfRegExp(text))
    return this.#tag(this.#spelled(text), TAG.regexp)
  }

  #view(value: ArrayBufferView, depth: number): unknown {
    const name = kindOf(value)
    const tag = typeof name === 'string' ? TYPED_ARRAY_TAG[name] : TAG.dataView
    if (tag === undefined) return this.#refuse(value, 'an array of a kind errand does not know', depth - 1)
    return this.#bytes(tag, value.buffer, value, depth)
  }

  #bytes(
    tag: number,
    buffer: ArrayBufferLike,
    part: { byteLength: number; byteOffset?: number },
    depth: number,
  ): unknown {
    const length = part.byteLength
    if (length === 0 && (buffer as ArrayBuffer).detached) {
      return this.#refuse(buffer, 'an ArrayBuffer that was given away', depth - 1)
    }
    this.#spend(length)
    this.#count(extraOfBytes(length))
    // A Buffer, because cbor-x writes that one class of bytes without a tag of its own.
    return this.#tag(Buffer.from(buffer as ArrayBuffer, part.byteOffset ?? 0, length), tag)
  }

  #refuse(value: unknown, what: string, depth: number, cause?: unknown): unknown {
    if (!this.#options.lossy) throw this.#refusal(`is ${what}`, cause)
    this.#open(3, depth + 1)
    return this.#tag(['Dropped', '$dropped', this.#text(this.#label(value, what))], TAG.object)
  }

  /** `function onClick`, `symbol id`, `a Promise`. */
  #label(value: unknown, what: string): string {
    if (typeof value === 'symbol') return `symbol ${value.description ?? ''}`.trim()
    if (typeof value !== 'function') return what
    const last = this.#steps.at(-1)
    return `function ${typeof last === 'string' ? last : value.name}`.trim()
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

const LONE_SURROGATE = /\p{Surrogate}/gu

/** The name of the class `value` is an instance of; undefined for plain objects and the nameless. */
function classOf(value: object): string | undefined {
  const constructor: unknown = Object.getPrototypeOf(value)?.constructor
  if (typeof constructor !== 'function' || typeof constructor.name !== 'string') return undefined
  return constructor.name === 'Object' || constructor.name === '' ? undefined : constructor.name
}

/** The nearest class of this error that every JavaScript has. By name: the error may come from another realm. */
function builtInOf(value: Error): string {
  let proto: unknown = Object.getPrototypeOf(value)
  while (typeof proto === 'object' && proto !== null) {
    const name: unknown = (proto as { constructor?: { name?: unknown } }).constructor?.name
    if (typeof name === 'string' && ERROR_CLASSES.has(name)) return name
    proto = Object.getPrototypeOf(proto)
  }
  return 'Error'
}

function isPrimitive(value: unknown): boolean {
  return (typeof value !== 'object' || value === null) && typeof value !== 'function' && typeof value !== 'symbol'
}

function quote(key: unknown): string {
  return typeof key === 'string' ? JSON.stringify(key) : typeof key === 'bigint' ? `${key}n` : String(key)
}

function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message
  return isPrimitive(error) ? String(error) : 'something that is not an Error'
}
