// The CBOR tags errand speaks. Every other tag is refused before anything is decoded. The table stands in codec.ts.

/** Tag numbers by meaning. 1280..1288 are errand's own, kept below 1283 + the engine's sparse-array gap so that cbor-x's handler table stays dense. */
export const TAG = {
  date: 1,
  bigint: 2,
  negativeBigint: 3,
  shared: 28,
  reference: 29,
  url: 32,
  set: 258,
  map: 259,
  negativeZero: 1280,
  text: 1281,
  regexp: 1282,
  arrayBuffer: 1283,
  dataView: 1284,
  object: 1285,
  snapshot: 1286,
  error: 1287,
  farDate: 1288,
} as const

/** Typed arrays by their intrinsic name: RFC 8746's tags, little-endian only (every platform Node 24 is built for but s390x). */
export const TYPED_ARRAY_TAG: Readonly<Record<string, number>> = {
  Uint8Array: 64,
  Uint8ClampedArray: 68,
  Uint16Array: 69,
  Uint32Array: 70,
  BigUint64Array: 71,
  Int8Array: 72,
  Int16Array: 77,
  Int32Array: 78,
  BigInt64Array: 79,
  Float16Array: 84,
  Float32Array: 85,
  Float64Array: 86,
}

/** How this platform orders the bytes of its typed arrays. */
export const LITTLE_ENDIAN: boolean = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** cbor-x's records: the tag of a definition, and the tag of shape 0; 256 shapes follow one another. */
export const RECORD_DEFINITION = 57343
export const RECORD = 57344
export const RECORD_SHAPES = 256
