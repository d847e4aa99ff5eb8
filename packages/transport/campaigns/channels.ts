// npm run -s campaign -- channels [COUNT] [CARRIER…]: opens and closes COUNT channels (10 000) on each carrier, in every
// way there is, and throws unless the process is afterwards as it was before: heap, handles, timers, listeners, objects.

import { EventEmitter, getEventListeners } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { queryObjects, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { FramedChannel } from '../src/channel.ts'
import { type Channel, DeniedError, type Protocol, type Transport, type TransportHost } from '../src/index.ts'
import { createMemoryNetwork, memory } from '../src/memory.ts'
import { socket } from '../src/socket.ts'

/** Bytes of heap that each open and close may leave behind: the promise (docs/GUARANTEES.md). */
export const MOST_SLOPE = 64
/** Opened and closed before anything is measured: until then code is compiled, and pools grow to their size. */
const WARM_UP = 1_000
const SAMPLE_EVERY = 500
const AT_ONCE = 10

const PROTOCOLS: readonly Protocol[] = ['echo', 'aborts', 'refuses', 'beats', 'unknown'].map((name) => ({
  name: `/campaign/${name}/1`,
  maxFrame: 1024,
  maxChannels: 256,
  ...(name === 'beats' && { heartbeat: { interval: 1_000, suspicion: 4_000 } }),
}))
const [ECHO, ABORTS, REFUSES, BEATS, UNKNOWN] = PROTOCOLS as [Protocol, Protocol, Protocol, Protocol, Protocol]

export type CarrierName = 'memory' | 'socket' | 'libp2p'

/** How things stand; what nobody can reach any more is not counted. */
interface State {
  readonly heap: number
  /** Instances there are. A timer or listener of ours that is left holds its channel; one of libp2p's, its stream. */
  readonly channels: number
  readonly emitters: number
  readonly eventTargets: number
  /** What keeps the process alive: sockets, servers, timers. */
  readonly handles: number
  readonly listeners: number
}

export interface Report {
  readonly carrier: CarrierName
  /** Bytes of heap per open and close, over the second half. */
  readonly slope: number
  readonly before: State
  readonly after: State
  readonly seconds: number
  /** Node's own warnings: too many listeners, say. */
  readonly warnings: readonly string[]
}

export async function run(args: readonly string[]): Promise<void> {
  const numbers = args.filter((arg) => /^\d+$/.test(arg)).map(Number)
  const named = args.filter((arg): arg is CarrierName => ['memory', 'socket', 'libp2p'].includes(arg))
  if (numbers.length + named.length !== args.length)
    throw new Error(`not a number and not a carrier: ${args.join(' ')}`)
  const broken: string[] = []
  console.log('carrier   B/channel  heap before → after KiB  alive before → after  seconds')
  for (const carrier of named.length > 0 ? named : (['memory', 'socket', 'libp2p'] as const)) {
    const report = await openAndClose(carrier, numbers[0] ?? 10_000)
    const { slope, before, after, seconds } = report
    const heap = [before, after].map((state) => Math.round(state.heap / 1024)).join(' → ')
    const alive = [before, after].map((state) => `${total(state)}`).join(' → ')
    console.log(
      [
        carrier.padEnd(8),
        slope.toFixed(1).padStart(10),
        heap.padStart(24),
        alive.padStart(21),
        seconds.toFixed(1).padStart(8),
      ].join(' '),
    )
    console.log(`          ${JSON.stringify(before)}\n          ${JSON.stringify(after)}`)
    if (slope >= MOST_SLOPE) broken.push(`${carrier}: ${slope.toFixed(1)} B of heap per channel`)
    broken.push(...leftBehind(report).map((what) => `${carrier}: ${what}`))
  }
  if (broken.length > 0) throw new Error(`left behind by open and close:\n${broken.join('\n')}`)
}

/** What there is more of than before. A handful is the system's own coming and going, and not one for each channel. */
export function leftBehind({ before, after, warnings }: Report): string[] {
  const more = (Object.keys(before) as (keyof State)[])
    .filter((what) => what !== 'heap')
    .filter((what) => after[what] - before[what] > 3)
    .map((what) => `${what} ${before[what]} → ${after[what]}`)
  return [...more, ...warnings]
}

/** Opens and closes so many channels between two peers of this process. */
export async function openAndClose(carrier: CarrierName, count: number): Promise<Report> {
  const { listener, dialer, dispose } = await places(carrier)
  const { signal } = new AbortController()
  const warnings: string[] = []
  const onWarning = (warning: Error): void => {
    if (warning.name !== 'ExperimentalWarning') warnings.push(`${warning.name}: ${warning.message}`)
  }
  process.on('warning', onWarning)
  try {
    await listener.start(HOST)
    await dialer.start({ ...HOST, admits: () => true })
    // It holds the connection open, where there is one.
    const witness = await dialer.open(listener.id, ECHO.name, { addresses: listener.addresses })
    const open = (protocol: Protocol): Promise<Channel> =>
      dialer.open(listener.id, protocol.name, { addresses: listener.addresses, signal })
    await many(open, signal, Math.min(WARM_UP, count / 2))
    const before = await stateOf(signal)
    const started = performance.now()
    const samples: [number, number][] = []
    for (let done = 0; done < count;) {
      const some = Math.min(SAMPLE_EVERY, count - done)
      await many(open, signal, some)
      done += some
      samples.push([done, await heapOf(before)])
    }
    const seconds = (performance.now() - started) / 1000
    const after = await stateOf(signal, before)
    witness.abort()
    const slope = slopeOf(samples.slice(Math.floor(samples.length / 2)))
    return { carrier, slope, before, after, seconds, warnings }
  } finally {
    process.off('warning', onWarning)
    await Promise.all([listener.close(), dialer.close()])
    await dispose()
  }
}

const HOST: TransportHost = {
  protocols: PROTOCOLS,
  admits: (_, protocol) => protocol !== UNKNOWN.name,
  accept(channel) {
    if (channel.protocol === REFUSES.name) throw new DeniedError('not today')
    void serve(channel)
  },
}

/** Sends back what it gets; aborts at the first value where the protocol says so. */
async function serve(channel: Channel): Promise<void> {
  try {
    for await (const value of channel) {
      if (channel.protocol === ABORTS.name) channel.abort(new DeniedError('enough'))
      else await channel.send(value)
    }
    await channel.end()
  } catch {
    // the other side has gone, or we have
  }
}

async function many(open: (protocol: Protocol) => Promise<Channel>, signal: AbortSignal, count: number): Promise<void> {
  let left = count
  const one = async (): Promise<void> => {
    while (left > 0) await ways[left-- % ways.length]!(open, signal).catch(expected)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, one))
}

type Way = (open: (protocol: Protocol) => Promise<Channel>, signal: AbortSignal) => Promise<void>

/** A value each way, then an end in order. */
const inOrder =
  (protocol: Protocol): Way =>
  async (open, signal) => {
    const channel = await open(protocol)
    await channel.send('ping', { signal })
    await channel.end()
    for await (const value of channel) if (value !== 'ping') throw new Error(`${String(value)} came back`)
    const { error } = await channel.closed
    if (error !== undefined) throw error
  }

const ways: readonly Way[] = [
  inOrder(ECHO),
  inOrder(ECHO),
  inOrder(ECHO),
  inOrder(BEATS),
  // Aborted by the opener, with something under way.
  async (open, signal) => {
    const channel = await open(ECHO)
    await channel.send('ping', { signal })
    channel.abort(new DeniedError('changed my mind'))
    await channel.closed
  },
  // Aborted by the acceptor.
  async (open) => {
    const channel = await open(ABORTS)
    await channel.send('ping')
    for await (const _ of channel);
  },
  // Left by its reader.
  async (open) => {
    await using channel = await open(ECHO)
    await channel.send('ping')
    for await (const _ of channel) break
  },
  // Refused by the host, and by the policy.
  async (open) => void (await open(REFUSES)),
  async (open) => void (await open(UNKNOWN)),
  // Aborted at once, with nothing said.
  async (open) => (await open(ECHO)).abort(),
]

/** What the ways above are meant to end with. */
function expected(error: unknown): void {
  if ((error as { code?: unknown }).code !== 'DENIED') throw error
}

async function places(
  carrier: CarrierName,
): Promise<{ listener: Transport; dialer: Transport; dispose: () => Promise<void> | void }> {
  if (carrier === 'memory') {
    const network = createMemoryNetwork()
    return {
      listener: memory({ network, name: 'bob' }),
      dialer: memory({ network, name: 'alice' }),
      dispose() {
        if (network.size > 0) throw new Error(`${network.size} ends of channels are left on the network`)
      },
    }
  }
  if (carrier === 'socket') {
    const directory = await mkdtemp(join(tmpdir(), 'errand-channels-'))
    const path = join(directory, 'peer.sock')
    const dispose = (): Promise<void> => rm(directory, { recursive: true })
    return { listener: socket({ path, listen: true }), dialer: socket({ path }), dispose }
  }
  const { libp2p } = await import('../src/libp2p.ts')
  return { listener: libp2p({ listen: ['/ip4/127.0.0.1/tcp/0'] }), dialer: libp2p(), dispose: () => {} }
}

/** How things stand once nothing is under way any more, by what it was `before`: waited for, for three seconds. */
async function stateOf(signal: AbortSignal, before?: State): Promise<State> {
  await quiet(before)
  const alive = (of: Parameters<typeof queryObjects>[0]): number => queryObjects(of, { format: 'count' })
  const counts = {
    channels: alive(FramedChannel),
    emitters: alive(EventEmitter),
    eventTargets: alive(EventTarget),
    handles: process.getActiveResourcesInfo().length,
    listeners: getEventListeners(signal, 'abort').length,
  }
  return { heap: await heapOf(before), ...counts }
}

async function heapOf(before?: State): Promise<number> {
  await quiet(before)
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}

/** An aborted channel may keep its carrier for a second. */
async function quiet(before: State | undefined): Promise<void> {
  if (before === undefined) return delay(1_500)
  for (let waited = 0; waited < 3_000; waited += 10) {
    await delay(10)
    if (process.getActiveResourcesInfo().length <= before.handles) return
  }
}

function total(state: State): number {
  const { heap: _, ...counts } = state
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

/** By least squares. */
function slopeOf(samples: readonly (readonly [number, number])[]): number {
  const mean = (of: (sample: readonly [number, number]) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length
  const [meanX, meanY] = [mean(([x]) => x), mean(([, y]) => y)]
  return mean(([x, y]) => (x - meanX) * (y - meanY)) / mean(([x]) => (x - meanX) ** 2)
}
