// The cases of the suite `transport`: values over a channel, beside the same over a bare libp2p stream on the same
// stack and over TCP. Two processes on loopback; whatever is compared is measured in turns.

import { codec } from './codec.ts'
import { Far } from './far.ts'
import { type Row, inTurns, median, row, timed, typical } from './row.ts'
import * as values from './values.ts'
import * as wire from './wire.ts'

const MiB = 1024 * 1024
/** Many and short, so that the machine is the same for all who take part in one. */
const TURNS = 15
const BULK = 64 * MiB
const ROUND_TRIPS = 400
const MESSAGES = 25_000
const REQUESTS = 15_000
const FLYING = 128
const STREAMED = 256 * MiB
const STREAMED_TURNS = 5

const suite = 'transport'

/** Rows of the same contestants stand together, for a case and its `-raw` share our own figure. */
type Measurement = (far: Far) => Promise<Row[]>

async function bulk(far: Far): Promise<Row[]> {
  const mebibyte = new Uint8Array(MiB).fill(7)
  const quarter = mebibyte.subarray(0, MiB / 4)
  const [channel, stream, socket] = [await far.channel('sink'), await far.stream('sink'), await far.socket('sink')]
  const rate = (seconds: number): number => BULK / MiB / seconds
  const { ours, whole, quarters, raw } = await inTurns(TURNS, {
    ours: async () => rate(await values.pour(channel, mebibyte, BULK / MiB, 1)),
    whole: async () => rate(await wire.pour(stream, mebibyte, BULK / MiB)),
    quarters: async () => rate(await wire.pour(stream, quarter, BULK / quarter.length)),
    raw: async () => rate(await wire.pour(socket, mebibyte, BULK / MiB)),
  })
  // The faster of the two ways to write the peer.
  const size = whole > quarters ? '1 MiB' : '256 KiB'
  return [
    row({
      suite,
      case: 'bulk-1MiB',
      unit: 'MiB/s',
      ours,
      peer: Math.max(whole, quarters),
      peerName: `bare libp2p stream, ${size} a send`,
    }),
    row({ suite, case: 'bulk-1MiB-raw', unit: 'MiB/s', ours, peer: raw, peerName: 'TCP' }),
  ]
}

async function stackBulk(far: Far): Promise<Row[]> {
  const quarter = new Uint8Array(MiB / 4).fill(7)
  const [ours, usual] = [await far.stream('sink', 'errand'), await far.stream('sink', 'noise')]
  const rate = (seconds: number): number => BULK / MiB / seconds
  const rates = await inTurns(TURNS, {
    ours: async () => rate(await wire.pour(ours, quarter, BULK / quarter.length)),
    usual: async () => rate(await wire.pour(usual, quarter, BULK / quarter.length)),
  })
  return [
    row({
      suite,
      case: 'stack-bulk',
      unit: 'MiB/s',
      ours: rates.ours,
      peer: rates.usual,
      peerName: 'libp2p with noise and yamux',
    }),
  ]
}

async function rtt(far: Far): Promise<Row[]> {
  const [channel, stream, socket] = [await far.channel('echo'), await far.stream('echo'), await far.socket('echo')]
  const message = new Uint8Array(wire.MESSAGE)
  let id = 0
  const times = await inTurns(TURNS, {
    ours: () => typical(ROUND_TRIPS, () => values.roundTrip(channel, values.request(id++))),
    bare: () => typical(ROUND_TRIPS, () => wire.roundTrip(stream, message)),
    raw: () => typical(ROUND_TRIPS, () => wire.roundTrip(socket, message)),
  })
  const of = { suite, unit: 'µs', ours: times.ours } as const
  return [
    row({ ...of, case: 'rtt-small', peer: times.bare, peerName: 'bare libp2p stream, 100 bytes' }),
    row({ ...of, case: 'rtt-small-raw', peer: times.raw, peerName: 'TCP, 100 bytes' }),
  ]
}

async function oneway(far: Far): Promise<Row[]> {
  const [channel, stream, socket] = [await far.channel('sink'), await far.stream('sink'), await far.socket('sink')]
  const message = new Uint8Array(wire.MESSAGE)
  const rate = (seconds: number): number => MESSAGES / seconds
  const rates = await inTurns(TURNS, {
    ours: async () => rate(await values.pour(channel, message, MESSAGES, 100)),
    bare: async () => rate(await wire.pour(stream, message, MESSAGES)),
    raw: async () => rate(await wire.pour(socket, message, MESSAGES)),
  })
  const of = { suite, unit: 'values/s', ours: rates.ours } as const
  return [
    row({ ...of, case: 'oneway-100B', peer: rates.bare, peerName: 'bare libp2p stream, one send each' }),
    row({ ...of, case: 'oneway-100B-raw', peer: rates.raw, peerName: 'TCP, one write each' }),
  ]
}

async function requests(far: Far): Promise<Row[]> {
  const [channel, stream, socket] = [await far.channel('echo'), await far.stream('answer'), await far.socket('answer')]
  const rate = (seconds: number): number => REQUESTS / seconds
  const rates = await inTurns(TURNS, {
    ours: async () => rate(await values.ask(channel, FLYING, REQUESTS)),
    bare: async () => rate(await wire.ask(stream, FLYING, REQUESTS)),
    raw: async () => rate(await wire.ask(socket, FLYING, REQUESTS)),
  })
  const of = { suite, unit: 'requests/s', ours: rates.ours } as const
  return [
    row({ ...of, case: 'requests-128', peer: rates.bare, peerName: 'bare libp2p stream, batched the same' }),
    row({ ...of, case: 'requests-128-raw', peer: rates.raw, peerName: 'TCP, batched the same' }),
  ]
}

async function pingUnderBulk(far: Far): Promise<Row[]> {
  const mebibyte = new Uint8Array(MiB).fill(7)
  const message = new Uint8Array(wire.MESSAGE)
  const [channel, pingChannel] = [await far.channel('sink'), await far.channel('echo')]
  const [stream, pingStream] = [await far.stream('sink'), await far.stream('echo')]
  const count = STREAMED / MiB
  const times = await inTurns(STREAMED_TURNS, {
    ours: () =>
      typicalWhile(values.pour(channel, mebibyte, count, 1), () => values.roundTrip(pingChannel, values.request(1))),
    bare: () => typicalWhile(wire.pour(stream, mebibyte, count), () => wire.roundTrip(pingStream, message)),
  })
  return [
    row({
      suite,
      case: 'ping-under-bulk',
      unit: 'ms',
      ours: times.ours / 1000,
      peer: times.bare / 1000,
      peerName: 'bare libp2p streams',
    }),
  ]
}

/** The peer of the case itself is JSON; the others beside it are cases of their own. */
async function codecs(): Promise<Row[]> {
  const rows = await codec()
  return rows.map((one) =>
    one.peerName === 'JSON' ? one : { ...one, case: `${one.case}-${one.peerName.split('.')[0]}` },
  )
}

const CODECS = ['codec-rows-plain', 'codec-rows-dates', 'codec-bytes']

/** What is measured together. */
const measurements: readonly { readonly cases: readonly string[]; readonly run: Measurement }[] = [
  { cases: ['bulk-1MiB', 'bulk-1MiB-raw'], run: bulk },
  { cases: ['stack-bulk'], run: stackBulk },
  { cases: ['rtt-small', 'rtt-small-raw'], run: rtt },
  { cases: ['oneway-100B', 'oneway-100B-raw'], run: oneway },
  { cases: ['requests-128', 'requests-128-raw'], run: requests },
  { cases: ['ping-under-bulk'], run: pingUnderBulk },
  { cases: CODECS.flatMap((name) => [name, `${name}-structuredClone`, `${name}-v8`]), run: codecs },
]

export const cases: readonly string[] = measurements.flatMap((one) => one.cases)

/** The rows of these cases. */
export async function* transport(asked: ReadonlySet<string>): AsyncGenerator<Row> {
  const wanted = measurements.filter((one) => one.cases.some((name) => asked.has(name)))
  // What needs no second process is last, and shares the machine with an idle one.
  await using far = await Far.start()
  for (const { run } of wanted) yield* (await run(far)).filter((one) => asked.has(one.case))
}

/** Median of the calls made, one a millisecond, until something else is done; in microseconds. */
async function typicalWhile(work: Promise<unknown>, call: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  let working = true
  const done = work.finally(() => (working = false))
  while (working) {
    times.push(await timed(call))
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await done
  return median(times)
}
