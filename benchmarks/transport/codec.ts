// The codec beside what a program would use in its place: JSON (with base64 for bytes and a reviver for dates where the
// rows hold them), structuredClone and v8.serialize. Each case is encode + decode of the whole, all of them in turns.
import { deserialize, serialize } from 'node:v8'
import { isDeepStrictEqual } from 'node:util'
import { createChunkWriter, decode, decodeChunk, encode } from '@errand/transport'
import { type Row, median, row } from './row.ts'

const ROWS = 1000
/** Odd, so that the median is one of them. Each is a batch of at least `BATCH_MS`. */
const TURNS = 15
const BATCH_MS = 40
/** Turns before, not counted: the engine compiles what is hot, some of it twice. */
const WARM_TURNS = 15

interface Contender {
  readonly name: string
  /** There and back once; gives what arrived. */
  readonly trip: () => unknown
}

const HOSTS = ['web-01', 'web-02', 'db-primary', 'cache-eu-west']

/** An event as a log or a queue holds it: eight fields. */
function plainRow(i: number): object {
  return {
    id: 1_000_000 + i,
    at: 1_753_000_000_000 + i * 61_007,
    kind: i % 3 === 0 ? 'request.finished' : 'request.started',
    host: HOSTS[(i >> 2) % HOSTS.length],
    path: `/api/v1/orders/${4711 + i * 7}`,
    took: ((i * 7919) % 10_007) / 1000,
    ok: i % 11 !== 0,
    user: { id: i % 97, name: `user-${i % 97}`, admin: i % 13 === 0 },
  }
}

/** The same with what JSON has no word for. */
function richRow(i: number): object {
  const digest = new Uint8Array(32)
  for (let at = 0; at < digest.length; at++) digest[at] = (i * 31 + at * 17) & 0xff
  return {
    id: 1_000_000 + i,
    kind: i % 3 === 0 ? 'upload.finished' : 'upload.started',
    host: HOSTS[(i >> 2) % HOSTS.length],
    name: `archive-${i}.tar.gz`,
    size: i * 4099,
    created: new Date(1_753_000_000_000 + i * 61_007),
    modified: new Date(1_753_100_000_000 + i * 17),
    digest,
  }
}

// JSON's own way with dates is `toJSON`, and one pattern tells them from other text when they come back.
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

function replacer(this: unknown, _key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? { $bytes: Buffer.from(value).toString('base64') } : value
}

function reviver(_key: string, value: unknown): unknown {
  if (typeof value === 'string') return value.length === 24 && ISO.test(value) ? new Date(value) : value
  if (typeof value === 'object' && value !== null && '$bytes' in value) {
    return new Uint8Array(Buffer.from((value as { $bytes: string }).$bytes, 'base64'))
  }
  return value
}

function chunked(rows: readonly object[]): unknown {
  const writer = createChunkWriter()
  for (const row of rows) writer.add(row)
  return decodeChunk(writer.finish())
}

function others(value: unknown): Contender[] {
  return [
    { name: 'structuredClone', trip: () => structuredClone(value) },
    { name: 'v8.serialize', trip: () => deserialize(serialize(value)) },
  ]
}

export async function codec(): Promise<Row[]> {
  const plain = Array.from({ length: ROWS }, (_, i) => plainRow(i))
  const rich = Array.from({ length: ROWS }, (_, i) => richRow(i))
  const mebibyte = new Uint8Array(1024 * 1024).map((_, i) => (i * 7) ^ (i >> 8))
  return [
    ...measure('codec-rows-plain', plain, ROWS, 'rows/s', [
      { name: 'errand', trip: () => chunked(plain) },
      { name: 'JSON', trip: () => JSON.parse(JSON.stringify(plain)) },
      ...others(plain),
    ]),
    ...measure('codec-rows-dates', rich, ROWS, 'rows/s', [
      { name: 'errand', trip: () => chunked(rich) },
      { name: 'JSON', trip: () => JSON.parse(JSON.stringify(rich, replacer), reviver) },
      ...others(rich),
    ]),
    ...measure('codec-bytes', mebibyte, 1, 'MiB/s', [
      { name: 'errand', trip: () => decode(encode(mebibyte)) },
      {
        name: 'JSON',
        trip: () => {
          const text = JSON.stringify({ $bytes: Buffer.from(mebibyte.buffer).toString('base64') })
          return new Uint8Array(Buffer.from((JSON.parse(text) as { $bytes: string }).$bytes, 'base64'))
        },
      },
      ...others(mebibyte),
    ]),
  ]
}

/** Rates of each contender in turns, ours first; a rate counts only when what arrived is what was sent. */
function measure(name: string, value: unknown, size: number, unit: string, contenders: Contender[]): Row[] {
  const rates = contenders.map((contender): number[] => {
    if (!isDeepStrictEqual(contender.trip(), value)) throw new Error(`${name}: ${contender.name} changed the value`)
    return []
  })
  for (let turn = -WARM_TURNS; turn < TURNS; turn++) {
    contenders.forEach((contender, at) => {
      const rate = perSecond(contender) * size
      if (turn >= 0) rates[at]!.push(rate)
    })
  }
  const [ours, ...peers] = rates.map(median)
  return peers.map((peer, at) =>
    row({ suite: 'transport', case: name, unit, ours: ours!, peer, peerName: contenders[at + 1]!.name }),
  )
}

/** By the CPU time of all threads, the collector's too: whatever else the machine does meets nobody. */
function perSecond({ trip }: Contender): number {
  const begun = performance.now()
  const before = process.cpuUsage()
  let trips = 0
  while (performance.now() - begun < BATCH_MS) {
    trip()
    trips++
  }
  const { user, system } = process.cpuUsage(before)
  return (trips / (user + system)) * 1e6
}
