// What cannot travel: values that are a place, a promise or a process rather than data.

import { types } from 'node:util'

/** Says in words what stands in the way of `value` travelling; undefined when nothing does. */
export function obstacleOf(value: unknown): string | undefined {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (typeof value !== 'object' || value === null) return undefined
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return undefined
  if (types.isPromise(value)) return 'a Promise'
  if (types.isWeakMap(value)) return 'a WeakMap'
  if (types.isWeakSet(value)) return 'a WeakSet'
  if (value instanceof WeakRef) return 'a WeakRef'
  if (value instanceof FinalizationRegistry) return 'a FinalizationRegistry'
  if (types.isSymbolObject(value)) return 'a symbol'
  if (types.isGeneratorObject(value)) return 'a generator'
  if (types.isMapIterator(value) || types.isSetIterator(value) || value instanceof Iterator) return 'an iterator'
  if (types.isSharedArrayBuffer(value)) return 'a SharedArrayBuffer'
  if (types.isExternal(value)) return 'a native handle'
  if (types.isKeyObject(value) || types.isCryptoKey(value)) return 'a cryptographic key'
  // Their content is behind the scenes: as data they would arrive as an empty object and nobody would know.
  if (value instanceof EventTarget) return 'an event target'
  if (value instanceof Blob) return 'a Blob'
  if (value instanceof ReadableStream || value instanceof WritableStream) return 'a stream'
  const methods = value as { [name: string]: unknown }
  if (isMethod(methods.pipe) && isMethod(methods.on)) return 'a stream'
  if (isMethod(methods.ref) && isMethod(methods.unref) && (isMethod(methods.on) || isMethod(methods.hasRef))) {
    return 'a live handle (a server, a process, a timer)'
  }
  return undefined
}

function isMethod(value: unknown): boolean {
  return typeof value === 'function'
}
