// What cannot travel: values that are a place, a promise or a process rather than data.

import { types } from 'node:util'

/**
 * Objects whose content is behind the scenes, by what `Object.prototype.toString` calls them. As data they would arrive
 * empty and nobody would know. By name, because asking `instanceof` loads half of Node's web platform.
 */
const HOST_OBJECTS: Readonly<Record<string, string>> = {
  Promise: 'a Promise',
  WeakMap: 'a WeakMap',
  WeakSet: 'a WeakSet',
  WeakRef: 'a WeakRef',
  FinalizationRegistry: 'a FinalizationRegistry',
  Symbol: 'a symbol',
  Generator: 'a generator',
  AsyncGenerator: 'a generator',
  SharedArrayBuffer: 'a SharedArrayBuffer',
  Blob: 'a Blob',
  File: 'a File',
  CryptoKey: 'a cryptographic key',
  ReadableStream: 'a stream',
  WritableStream: 'a stream',
  TransformStream: 'a stream',
  AbortController: 'an AbortController',
  FormData: 'a FormData',
  Headers: 'a Headers object',
  Request: 'a Request',
  Response: 'a Response',
  URLSearchParams: 'a URLSearchParams',
}

/** What was found out about a class, by its prototype: asking takes 10 µs. */
const known = new WeakMap<object, string | false>()

/** Says in words what stands in the way of `value` travelling; undefined when nothing does. */
export function obstacleOf(value: unknown): string | undefined {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (typeof value !== 'object' || value === null) return undefined
  if (ArrayBuffer.isView(value)) return obstacleOfView(value)
  if (isData(value)) return undefined
  if (types.isArrayBuffer(value) && value.detached) return GIVEN_AWAY
  if (types.isProxy(value) && BEHIND.some((kind) => value instanceof kind))
    return 'a Proxy of what keeps its content to itself'
  // What it has of its own says nothing about its class.
  if (TELLTALES.some((key) => Object.hasOwn(value, key))) return ask(value)
  const proto = Object.getPrototypeOf(value) as object
  let obstacle = known.get(proto)
  if (obstacle === undefined) {
    obstacle = ask(value) ?? false
    known.set(proto, obstacle)
  }
  return obstacle === false ? undefined : obstacle
}

const GIVEN_AWAY = 'an ArrayBuffer that was given away'

function obstacleOfView(view: ArrayBufferView): string | undefined {
  if (!types.isDataView(view) && view.byteLength > 0) return undefined
  const { detached, resizable } = view.buffer as ArrayBuffer
  if (detached) return GIVEN_AWAY
  if (!resizable) return undefined
  try {
    // Where its buffer has shrunk, a typed array looks empty but for those who would read it.
    if (types.isDataView(view)) Reflect.get(DataView.prototype, 'byteLength', view)
    else Uint8Array.prototype.at.call(view as Uint8Array, 0)
    return undefined
  } catch {
    return 'a view beyond the end of its buffer'
  }
}

/** A Proxy of one of these has the methods and not the content, which would be lost without a word. */
const BEHIND = [
  Map,
  Set,
  Date,
  RegExp,
  ArrayBuffer,
  DataView,
  URL,
  Object.getPrototypeOf(Uint8Array) as typeof Uint8Array,
]

/** The properties that `ask` goes by. */
const TELLTALES = ['constructor', 'pipe', 'on', 'ref', 'unref', 'hasRef', Symbol.toStringTag] as const

function ask(value: object): string | undefined {
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  if (Object.hasOwn(HOST_OBJECTS, tag)) return HOST_OBJECTS[tag]
  // The same again for those that go by another name.
  if (types.isPromise(value)) return HOST_OBJECTS.Promise
  if (types.isWeakMap(value) || types.isWeakSet(value) || value instanceof WeakRef) return 'a weak reference'
  if (types.isGeneratorObject(value)) return HOST_OBJECTS.Generator
  if (types.isSymbolObject(value)) return HOST_OBJECTS.Symbol
  if (types.isSharedArrayBuffer(value)) return HOST_OBJECTS.SharedArrayBuffer
  if (tag.endsWith('Iterator') || value instanceof Iterator) return 'an iterator'
  if (types.isExternal(value)) return 'a native handle'
  // By name first: the question itself loads node:crypto.
  const name: unknown = (value as { constructor?: { name?: unknown } | null }).constructor?.name
  if (typeof name === 'string' && name.endsWith('KeyObject') && types.isKeyObject(value)) return HOST_OBJECTS.CryptoKey
  if (value instanceof EventTarget) return 'an event target'
  const methods = value as { [name: string]: unknown }
  if (isMethod(methods.pipe) && isMethod(methods.on)) return 'a stream'
  // Of a library of actors. Behind it is all of that library; whoever has an address to send gives it a snapshot method.
  if (isMethod(methods.send) && isMethod(methods.subscribe) && isMethod(methods.getSnapshot)) return 'an actor'
  if (isMethod(methods.ref) && isMethod(methods.unref) && (isMethod(methods.on) || isMethod(methods.hasRef))) {
    return 'a live handle (a server, a process, a timer)'
  }
  return undefined
}

/** The kinds that need no further question, which are nearly all there is. */
function isData(value: object): boolean {
  const proto: unknown = Object.getPrototypeOf(value)
  return (
    proto === Object.prototype ||
    proto === null ||
    Array.isArray(value) ||
    value instanceof Error ||
    types.isMap(value) ||
    types.isSet(value) ||
    types.isDate(value)
  )
}

function isMethod(value: unknown): boolean {
  return typeof value === 'function'
}
