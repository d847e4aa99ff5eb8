// The names a script finds where it runs, whatever the process that sends it happens to have.
import { builtinModules } from 'node:module'

// Object.getOwnPropertyNames(globalThis) of Node 24.21 started without flags; the test compares it with the Node it
// runs on. A fixed list, because a test runner, a REPL or a polyfill puts names of its own on the sender's globalThis.
const text = `
  AggregateError Array ArrayBuffer AsyncDisposableStack Atomics BigInt BigInt64Array BigUint64Array Boolean DataView Date
  DisposableStack Error EvalError FinalizationRegistry Float16Array Float32Array Float64Array Function Infinity Int16Array
  Int32Array Int8Array Intl Iterator JSON Map Math NaN Number Object Promise Proxy RangeError ReferenceError Reflect RegExp
  Set SharedArrayBuffer String SuppressedError Symbol SyntaxError TypeError URIError Uint16Array Uint32Array Uint8Array
  Uint8ClampedArray WeakMap WeakRef WeakSet WebAssembly decodeURI decodeURIComponent encodeURI encodeURIComponent escape
  eval globalThis isFinite isNaN parseFloat parseInt undefined unescape

  AbortController AbortSignal Blob BroadcastChannel Buffer ByteLengthQueuingStrategy CloseEvent CompressionStream
  CountQueuingStrategy Crypto CryptoKey CustomEvent DOMException DecompressionStream Event EventTarget File FormData
  Headers MessageChannel MessageEvent MessagePort Navigator Performance PerformanceEntry PerformanceMark
  PerformanceMeasure PerformanceObserver PerformanceObserverEntryList PerformanceResourceTiming
  ReadableByteStreamController ReadableStream ReadableStreamBYOBReader ReadableStreamBYOBRequest
  ReadableStreamDefaultController ReadableStreamDefaultReader Request Response SubtleCrypto TextDecoder
  TextDecoderStream TextEncoder TextEncoderStream TransformStream TransformStreamDefaultController URL URLPattern
  URLSearchParams WebSocket WritableStream WritableStreamDefaultController WritableStreamDefaultWriter atob btoa
  clearImmediate clearInterval clearTimeout console crypto fetch global navigator performance process queueMicrotask
  setImmediate setInterval setTimeout structuredClone`

/** Every global of a plain Node 24 process, ES built-ins included. */
export const globalNames: ReadonlySet<string> = new Set(text.trim().split(/\s+/))

/** Built-in modules whose name is an identifier: what Node's REPL shows by name (`fs`, `path`, `os`, …). */
export const builtinNames: ReadonlySet<string> = new Set(
  builtinModules.filter((name) => /^[a-z]\w*$/.test(name) && !globalNames.has(name)),
)
