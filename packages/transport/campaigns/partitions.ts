// npm run -s campaign -- partitions [SCENARIO…]: two peers in two processes and two network namespaces, and what may happen
// to the cable between them or to one of them. Prints what each side saw, and when; throws where a promise was broken.
// Needs root and iproute2.

import { mkdtempSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Protocol } from '../src/index.ts'
import { Namespaces, obstacle } from './fixtures/namespaces.ts'
import type { Count, PeerOptions } from './fixtures/partition-peer.ts'
import { type Closed, PeerProcess } from './fixtures/peer-process.ts'
import { within } from './fixtures/told-process.ts'

/** Signs of life as the peers of the mesh give them on their control channels. */
const INTERVAL = 1_000
const SUSPICION = 4_000
/** When silence must have been noticed: the suspicion, half an interval, and a second for a machine that has other work. */
const NOTICED = SUSPICION + INTERVAL / 2 + 1_000
const CONTROL: Protocol = {
  name: '/campaign/control/1',
  maxFrame: 64 * 1024,
  heartbeat: { interval: INTERVAL, suspicion: SUSPICION },
}
const BULK: Protocol = { name: '/campaign/bulk/1', maxFrame: 1024 * 1024 }
const PORT = 4001

/** What the table says of one scenario. */
interface Row {
  scenario: string
  a: string
  b: string
  values: string
  left: string
}

interface Stage {
  readonly net: Namespaces
  /** For key files. */
  readonly directory: string
  /** A peer on one side; killed when the scenario is over. */
  peer(side: 'a' | 'b', options?: Partial<PeerOptions>): Promise<PeerProcess>
}

/** A scenario's row, without its name; or why this machine cannot play it. */
type Scenario = (stage: Stage) => Promise<Omit<Row, 'scenario'> | string>

/** A and B, a control and a bulk channel that A has opened to B, values on both. */
async function met(stage: Stage, options: Partial<PeerOptions> = {}): Promise<{ a: PeerProcess; b: PeerProcess }> {
  const [a, b] = await Promise.all([stage.peer('a'), stage.peer('b', options)])
  await talk(a, b)
  return { a, b }
}

async function talk(a: PeerProcess, b: PeerProcess, patience = 0): Promise<void> {
  for (const { name } of [CONTROL, BULK]) {
    await a.tell({ do: 'open', peer: b.peer, protocol: name, addresses: b.addresses, patience })
  }
  const { received } = await b.count()
  await a.tell({ do: 'send' })
  await until('values', async () => (await b.count()).received > received + 50)
}

/** Looks again and again; each look is a question and its answer, so this is no busy loop. */
async function until(what: string, there: () => Promise<boolean>, ms = 10_000): Promise<void> {
  const since = performance.now()
  while (!(await there())) {
    if (performance.now() - since > ms) throw new Error(`${what}: not within ${ms} ms`)
    await delay(50)
  }
}

/** Both channels end in order, every value once, and both processes by themselves. */
async function allArrived(a: PeerProcess, b: PeerProcess): Promise<Pick<Row, 'values' | 'left'>> {
  for (const { closed } of [a, b]) expect(closed.length === 0, 'a channel was lost', closed)
  await a.tell({ do: 'halt' })
  for (const it of [a, b]) {
    await it.hasClosed(2, 20_000)
    for (const { code } of it.closed) expect(code === undefined, 'a channel did not end in order', it.closed)
  }
  const [from, to] = [await a.count(), await b.count()]
  expect(from.sent === to.received, 'values were lost or doubled', [from, to])
  const left = await nothingLeft([a, b], false)
  return { values: values(from, to), left }
}

function values(from: Count, to: Count): string {
  for (const { wrong } of [from, to]) expect(wrong === undefined, 'values were lost or doubled', wrong)
  expect(to.received <= from.sent, 'values came from nowhere', [from, to])
  expect(from.echoed > 0, 'the control channel carried nothing', from)
  return `${from.sent} / ${to.received}`
}

/** No channel; no connection either, where it was lost; and nothing that keeps a process whose transport is closed. */
async function nothingLeft(peers: readonly PeerProcess[], lost = true): Promise<string> {
  for (const peer of peers) {
    await until('the end of what was lost', async () => {
      const { channels, sockets } = await peer.count()
      return channels === 0 && (!lost || sockets === 0)
    })
  }
  await Promise.all(peers.map((peer) => peer.end()))
  return 'nothing'
}

/** Both channels were lost, and that is what they say, in time. */
async function sawLoss(peer: PeerProcess, since: number, limit = NOTICED): Promise<string> {
  const closed = await peer.hasClosed(2, limit + 5_000)
  for (const { code } of closed) expect(code === 'PEER_UNREACHABLE', 'another end than a lost peer', closed)
  const after = last(closed) - since
  expect(after <= limit, `noticed after ${after} ms, the limit is ${limit}`, closed)
  return `PEER_UNREACHABLE after ${after} ms`
}

function last(closed: readonly Closed[]): number {
  return Math.max(...closed.map(({ at }) => at))
}

function expect(holds: boolean, what: string, seen: unknown): void {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(seen)}`)
}

/** Something that lasts for so long, and is then over, while both go on talking; afterwards they still are. */
async function passes(stage: Stage, ms: number, begin: () => void, end: () => void): Promise<Omit<Row, 'scenario'>> {
  const { a, b } = await met(stage)
  return passing(a, b, ms, begin, end)
}

/** Ten seconds under a queueing discipline, where the kernel has it. */
async function spoilt(stage: Stage, discipline: readonly string[]): Promise<Omit<Row, 'scenario'> | string> {
  const { net } = stage
  const spoil = (): boolean => net.spoil(...discipline)
  if (!spoil()) return `this kernel has no ${discipline[0]} (module sch_${discipline[0]})`
  net.mend()
  return passes(
    stage,
    10_000,
    () => void spoil(),
    () => net.mend(),
  )
}

async function passing(
  a: PeerProcess,
  b: PeerProcess,
  ms: number,
  begin: () => void,
  end: () => void,
): Promise<Omit<Row, 'scenario'>> {
  begin()
  await delay(ms)
  end()
  const over = Date.now()
  const { received } = await b.count()
  await until('values after it', async () => (await b.count()).received > received)
  const again = Date.now() - over
  // What lay in between might still be called death: long enough to hear of that.
  await delay(NOTICED)
  const seen = `nothing; values again ${again} ms after it`
  return { a: 'nothing', b: seen, ...(await allArrived(a, b)) }
}

const SCENARIOS: Record<string, Scenario> = {
  'link down 3 s, then up': (stage) =>
    passes(
      stage,
      3_000,
      () => stage.net.link('down'),
      () => stage.net.link('up'),
    ),

  'every packet lost for 2 s, nobody told': (stage) =>
    passes(
      stage,
      2_000,
      () => (['a', 'b'] as const).forEach((side) => stage.net.lose(side, true)),
      () => (['a', 'b'] as const).forEach((side) => stage.net.lose(side, false)),
    ),

  'link down for good': async (stage) => {
    const { a, b } = await met(stage)
    const since = Date.now()
    stage.net.link('down')
    const [seenA, seenB] = await Promise.all([sawLoss(a, since), sawLoss(b, since)])
    return { a: seenA, b: seenB, values: values(await a.count(), await b.count()), left: await nothingLeft([a, b]) }
  },

  'what A sends is lost, what B sends is not': async (stage) => {
    const { a, b } = await met(stage)
    const since = Date.now()
    stage.net.lose('a', true)
    // A may hear B until B has given up: its silence begins then.
    const [seenB, seenA] = await Promise.all([sawLoss(b, since), sawLoss(a, since, 2 * NOTICED)])
    const counted = values(await a.count(), await b.count())
    return { a: seenA, b: seenB, values: counted, left: await nothingLeft([a, b]) }
  },

  'B frozen for 3 s': async (stage) => {
    const { a, b } = await met(stage)
    return passing(
      a,
      b,
      3_000,
      () => void b.child.kill('SIGSTOP'),
      () => void b.child.kill('SIGCONT'),
    )
  },

  'B frozen; thawed 10 s later, and opened anew': async (stage) => {
    const { a, b } = await met(stage)
    const since = Date.now()
    b.child.kill('SIGSTOP')
    const seenA = await sawLoss(a, since)
    await delay(Math.max(0, since + 10_000 - Date.now()))
    b.child.kill('SIGCONT')
    const seenB = await sawLoss(b, since, 10_000 + NOTICED)
    const counted = values(await a.count(), await b.count())
    await a.tell({ do: 'open', peer: b.peer, protocol: CONTROL.name, addresses: b.addresses })
    await Promise.all([a.end(), b.end()])
    return { a: seenA, b: seenB, values: counted, left: 'nothing' }
  },

  'B killed': async (stage) => {
    const { a, b } = await met(stage)
    const since = Date.now()
    b.kill()
    // The kernel says so: no need to wait for silence.
    const seenA = await sawLoss(a, since, 1_000)
    const { sent } = await a.count()
    return { a: seenA, b: 'dead', values: `${sent} / dead`, left: await nothingLeft([a]) }
  },

  'B killed, and back at its address 2 s later': async (stage) => {
    const home = { keyFile: join(stage.directory, 'b') }
    const { a, b } = await met(stage, home)
    const since = Date.now()
    b.kill()
    const seenA = await sawLoss(a, since, 1_000)
    await delay(2_000)
    const starting = stage.peer('b', home).then((peer) => ({ peer, up: Date.now() }))
    // A asks before there is anybody, and goes on asking.
    await a.tell({ do: 'open', peer: b.peer, protocol: CONTROL.name, addresses: b.addresses, patience: 20_000 })
    const opened = Date.now()
    const { peer: again, up } = await starting
    expect(again.peer === b.peer, 'it is somebody else now', again.peer)
    await a.tell({ do: 'open', peer: b.peer, protocol: BULK.name })
    await a.tell({ do: 'send' })
    await until('values', async () => (await again.count()).received > 50)
    await a.tell({ do: 'halt' })
    const ended = await again.hasClosed(2, 20_000)
    expect(!ended.some(({ code }) => code), 'a channel did not end in order', ended)
    const { received, wrong } = await again.count()
    expect(wrong === undefined, 'values were lost or doubled', wrong)
    return {
      a: `${seenA}; a channel again ${Math.max(0, opened - up)} ms after B was up`,
      b: 'dead; A again',
      values: `… / ${received} by the new B`,
      left: await nothingLeft([a, again], false),
    }
  },

  'B killed, and back 40 s later; A has it as bootstrap': async (stage) => {
    const home = { keyFile: join(stage.directory, 'b') }
    const first = await stage.peer('b', home)
    const a = await stage.peer('a', { listen: [], bootstrap: [...first.addresses] })
    // B knows no address of A: it has one when A has come.
    const reach = (b: PeerProcess): Promise<unknown> =>
      b.tell({ do: 'open', peer: a.peer, protocol: CONTROL.name, patience: 25_000 })
    await reach(first)
    const since = Date.now()
    first.kill()
    await a.hasClosed(1, NOTICED)
    const seenA = last(a.closed) - since
    await delay(40_000)
    const again = await stage.peer('b', home)
    const up = Date.now()
    await reach(again)
    const back = Date.now() - up
    await Promise.all([a.end(), again.end()])
    return {
      a: `PEER_UNREACHABLE after ${seenA} ms`,
      b: `A again ${back} ms after its start`,
      values: 'none sent',
      left: 'nothing',
    }
  },

  '50 ms more each way, 1 % lost, for 10 s': (stage) => spoilt(stage, ['netem', 'delay', '50ms', 'loss', '1%']),

  '20 Mbit/s with a queue of 50 ms that overflows, for 10 s': (stage) =>
    spoilt(stage, ['tbf', 'rate', '20mbit', 'burst', '16kb', 'latency', '50ms']),

  'two homes on one network, with mdns': async (stage) => {
    const here = (name: string, mdns: boolean): Promise<PeerProcess> =>
      stage.peer('a', {
        mdns,
        keyFile: join(stage.directory, name),
        listen: [`/ip4/${stage.net.addresses.a}/tcp/0`],
      })
    const [a, b, deaf] = await Promise.all([here('a', true), here('b', true), here('c', false)])
    const open = (from: PeerProcess, to: PeerProcess, patience: number): Promise<unknown> =>
      from.tell({ do: 'open', peer: to.peer, protocol: CONTROL.name, patience })
    const since = Date.now()
    await open(a, b, 20_000)
    const found = Date.now() - since
    await open(b, a, 20_000)
    // Without: neither to find nor to be found.
    for (const [from, to] of [
      [deaf, b],
      [a, deaf],
    ] as const) {
      const code = await open(from, to, 3_000).then(
        () => 'a channel',
        (error: { code?: string }) => error.code,
      )
      expect(code === 'PEER_UNREACHABLE', 'found without mdns', code)
    }
    await Promise.all([a.end(), b.end(), deaf.end()])
    return {
      a: `B by its id alone after ${found} ms`,
      b: 'A by its id alone',
      values: 'none sent',
      left: 'nothing',
    }
  },
}

async function play(scenario: Scenario, net: Namespaces, root: string): Promise<Omit<Row, 'scenario'> | string> {
  const directory = await mkdtemp(join(root, 'scenario-'))
  const peers: PeerProcess[] = []
  const stage: Stage = {
    net,
    directory,
    async peer(side, options = {}) {
      const listen = [`/ip4/${net.addresses[side]}/tcp/${PORT}`]
      const peer = await PeerProcess.start(net.enter(side), { listen, protocols: [CONTROL, BULK], ...options })
      peers.push(peer)
      return peer
    },
  }
  try {
    return await within(150_000, 'the scenario', scenario(stage))
  } finally {
    for (const peer of peers) peer.kill()
    await Promise.all(peers.map(({ exit }) => exit))
    net.mend()
  }
}

/** `args`: parts of the names of scenarios; none: all of them. */
export async function run(args: readonly string[]): Promise<void> {
  const why = obstacle()
  if (why !== undefined) {
    console.error(why)
    process.exit(2)
  }
  const names = Object.keys(SCENARIOS).filter((name) => args.length === 0 || args.some((part) => name.includes(part)))
  if (names.length === 0) throw new Error(`no such scenario; there are: ${Object.keys(SCENARIOS).join('; ')}`)
  // Leaving, also in the middle, removes the key files, the namespaces and whoever is in them.
  const root = mkdtempSync(join(tmpdir(), 'errand-partitions-'))
  process.once('exit', () => rmSync(root, { recursive: true, force: true }))
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
  using net = new Namespaces()
  const rows: Row[] = []
  const failures: Error[] = []
  for (const scenario of names) {
    console.error(`… ${scenario}`)
    try {
      const result = await play(SCENARIOS[scenario]!, net, root)
      if (typeof result === 'string') rows.push({ scenario, a: `skipped: ${result}`, b: '', values: '', left: '' })
      else rows.push({ scenario, ...result })
    } catch (error) {
      rows.push({ scenario, a: 'FAILED', b: '', values: '', left: '' })
      failures.push(new Error(`${scenario}: ${(error as Error).message}`, { cause: error }))
    }
  }
  print(rows)
  if (failures.length > 0) throw new AggregateError(failures, failures.map(({ message }) => message).join('\n'))
}

function print(rows: readonly Row[]): void {
  const head: Row = { scenario: 'scenario', a: 'A saw', b: 'B saw', values: 'sent / received', left: 'left behind' }
  const columns = ['scenario', 'a', 'b', 'values', 'left'] as const
  const widths = columns.map((column) => Math.max(...[head, ...rows].map((row) => row[column].length)))
  const line = (cells: readonly string[]): string => `| ${cells.map((it, i) => it.padEnd(widths[i]!)).join(' | ')} |`
  console.log(line(columns.map((column) => head[column])))
  console.log(line(widths.map((width) => '-'.repeat(width))))
  for (const row of rows) console.log(line(columns.map((column) => row[column])))
}
