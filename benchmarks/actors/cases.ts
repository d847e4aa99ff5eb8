// The cases of the suite `actors`: actors on a peer in this process and on one in another, beside XState alone, nact, and
// processes of two Erlang nodes. Each contestant has a process for itself; they take turns within one run.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { PeerHost } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { type Row, type Skipped, check, inTurns, progress, row, timed } from '../transport/row.ts'
import { erlangNodes, type Nodes } from './erlang.ts'
import type { Order, Told } from './player.ts'

const suite = 'actors'

const TURNS = 5
const EVENTS = 200_000
const CALLS = 10_000
const RUNS = 200
const FEW = 100
const MANY = 10_000
const FLOOD = 1_000_000
/** Between two requests of who looks whether the peer still answers, in ms. */
const ASKED_EVERY = 10

/** What one contestant does in a turn. */
interface Feat {
  readonly by: 'here' | 'there' | 'xstate' | 'nact' | 'erlang here' | 'erlang there'
  readonly feat: string
  readonly count: number
  /** As the row says it. */
  readonly as: string
}

interface Case {
  readonly name: string
  readonly unit: string
  readonly ours: Feat
  /** By what is put behind the name of the case. */
  readonly peers: Readonly<Record<string, Feat>>
  /** What is told of what was measured. */
  readonly told?: (figure: number) => number
}

const NAMES: Readonly<Record<Feat['by'], string>> = {
  here: 'an actor on this peer',
  there: 'an actor on another peer, encrypted',
  xstate: 'XState alone',
  nact: 'nact',
  'erlang here': 'Erlang, one node',
  'erlang there': 'Erlang, two nodes, not encrypted',
}

function feat(by: Feat['by'], what: string, count: number, as = NAMES[by]): Feat {
  return { by, feat: what, count, as }
}

/** The same by each of them. */
function others(what: string, count: number): Record<string, Feat> {
  return {
    '': feat('xstate', what, count),
    '-nact': feat('nact', what, count),
    '-erlang': feat('erlang here', what, count),
  }
}

const perSecond = (us: number): number => 1e6 / us

const measurements: readonly Case[] = [
  { name: 'actors-send', unit: 'events/s', ours: feat('here', 'send', EVENTS), peers: others('send', EVENTS) },
  {
    name: 'actors-send-remote',
    unit: 'events/s',
    ours: feat('there', 'send', EVENTS),
    peers: {
      '': feat('xstate', 'send', EVENTS, 'XState alone, nothing sent anywhere'),
      '-erlang': feat('erlang there', 'send', EVENTS),
    },
  },
  { name: 'actors-ask', unit: 'µs', ours: feat('here', 'ask', CALLS), peers: others('ask', CALLS) },
  {
    name: 'actors-ask-remote',
    unit: 'µs',
    ours: feat('there', 'ask', CALLS),
    peers: {
      '': feat('there', 'ping', CALLS, 'a bare request over the same link, as an empty run begins and ends with'),
      '-run': feat('there', 'run', RUNS, 'an empty session.run over the same link'),
      '-erlang': feat('erlang there', 'ask', CALLS),
    },
  },
  {
    name: 'actors-10000',
    unit: 'µs',
    ours: feat('here', 'many', MANY, 'made, sent to, stopped: each of 10 000'),
    peers: { '': feat('here', 'many', FEW, 'each of 100') },
  },
  {
    name: 'actors-10000-remote',
    unit: 'µs',
    ours: feat('there', 'many', MANY, 'made, sent to, stopped on another peer: each of 10 000'),
    peers: { '': feat('there', 'many', FEW, 'each of 100') },
  },
  {
    name: 'actors-many',
    unit: 'actors/s',
    ours: feat('here', 'many', MANY, 'each a job: listed, watched'),
    peers: others('many', MANY),
    told: perSecond,
  },
  {
    name: 'actors-memory',
    unit: 'KiB',
    ours: feat('here', 'memory', MANY, 'each a job: listed'),
    peers: others('memory', MANY),
  },
]

const FLOOD_CASES = ['actors-flood-control', 'actors-flood-memory'] as const

export const cases: readonly string[] = [
  ...measurements.flatMap(({ name, peers }) => Object.keys(peers).map((suffix) => name + suffix)),
  ...FLOOD_CASES,
]

type Do = (feat: string, count: number) => Promise<number>

/** The rows of these cases. */
export async function* actors(asked: ReadonlySet<string>): AsyncGenerator<Row | Skipped> {
  await using stack = new AsyncDisposableStack()
  const company = new Company(stack)
  for (const one of measurements) {
    const chosen = Object.entries(one.peers).filter(([suffix]) => asked.has(one.name + suffix))
    const contestants: Record<string, () => Promise<number>> = {}
    for (const [suffix, peer] of chosen) {
      const open = await company.of(peer.by)
      if (typeof open === 'string') yield { suite, case: one.name + suffix, skipped: open }
      else contestants[suffix] = () => open(peer.feat, peer.count)
    }
    if (Object.keys(contestants).length === 0) continue
    const ours = await company.ours(one.ours.by)
    contestants['ours'] = () => ours(one.ours.feat, one.ours.count)
    const results = await inTurns(TURNS, contestants)
    const told = one.told ?? ((figure: number) => figure)
    for (const [suffix, peer] of chosen) {
      if (!(suffix in contestants)) continue
      yield row({
        ...{ suite, case: one.name + suffix, unit: one.unit },
        ...{ ours: told(results['ours']!), peer: told(results[suffix]!) },
        peerName: `${peer.as}; ours: ${one.ours.as}`,
      })
    }
  }
  if (FLOOD_CASES.some((name) => asked.has(name))) yield* flood(company, asked)
}

/** A million events to one actor, and meanwhile what its peer says to somebody else. */
async function* flood(company: Company, asked: ReadonlySet<string>): AsyncGenerator<Row> {
  const sender = await company.ours('there')
  const far = await company.far()
  const peer = await PeerHost.open({ name: 'asker', transport: libp2p({ listen: [] }) })
  company.closes(() => peer.close())
  await peer.ask({ type: 'local.join', ticket: far.ticket })
  const ping = (): Promise<unknown> => peer.ask({ type: 'local.ping', on: 'far' })
  const during = async (what: Promise<unknown>): Promise<number> => {
    let over = false
    void what.finally(() => (over = true)).catch(() => undefined)
    const times: number[] = []
    while (!over) {
      times.push((await timed(ping)) / 1000)
      await delay(ASKED_EVERY)
    }
    return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)]!
  }
  progress('flood')
  await sender('send', EVENTS)
  const [begun, idle] = [await far.size(), await during(delay(3_000))]
  let most = begun
  const looking = setInterval(() => void far.size().then((size) => (most = Math.max(most, size))), 100)
  const sending = sender('send', FLOOD)
  const busy = await during(sending)
  clearInterval(looking)
  check('events in a second', (await sending) > 0, true)
  most = Math.max(most, await far.size())
  progress('')
  const all = [
    row({
      ...{ suite, case: FLOOD_CASES[0], unit: 'ms', ours: busy, peer: idle },
      peerName: 'p99 of a request when nothing is sent; ours: while a million events are',
    }),
    row({
      ...{ suite, case: FLOOD_CASES[1], unit: 'MiB', ours: Math.max(most - begun, 0.1), peer: 100 },
      peerName: 'what a million events would take at 100 bytes each; ours: by how much the peer has grown',
    }),
  ]
  for (const one of all) if (asked.has(one.case)) yield one
}

interface FarPeer {
  readonly ticket: string
  /** MiB. */
  size(): Promise<number>
}

/** The contestants, each begun when it is needed first; they end with the stack. */
class Company {
  readonly #stack: AsyncDisposableStack
  readonly #open = new Map<string, Promise<Do>>()
  #nodes: Promise<Nodes | string> | undefined
  #far: Promise<FarPeer> | undefined

  constructor(stack: AsyncDisposableStack) {
    this.#stack = stack
  }

  /** What does it; or why it cannot be had here. */
  async of(by: Feat['by']): Promise<Do | string> {
    if (by === 'erlang here' || by === 'erlang there') {
      const nodes = await (this.#nodes ??= this.#erlang())
      return typeof nodes === 'string'
        ? nodes
        : (what, count) => nodes.order(what, by === 'erlang here' ? 'here' : 'there', count)
    }
    return this.ours(by)
  }

  async ours(by: Feat['by']): Promise<Do> {
    const open = this.#open.get(by) ?? this.#player(by)
    this.#open.set(by, open)
    return open
  }

  /** With the stack. */
  closes(close: () => Promise<void>): void {
    this.#stack.defer(close)
  }

  far(): Promise<FarPeer> {
    return (this.#far ??= this.#startFar())
  }

  async #startFar(): Promise<FarPeer> {
    const child = this.#process('far.ts')
    const [ticket] = (await first(child)) as [string]
    return {
      ticket,
      async size() {
        child.send('size')
        return ((await first(child)) as [number])[0]
      },
    }
  }

  async #player(by: string): Promise<Do> {
    const child = this.#process('player.ts', by, ...(by === 'there' ? [(await this.far()).ticket] : []))
    await first(child)
    return async (what, count) => {
      child.send({ feat: what, count } satisfies Order)
      const [told] = (await first(child)) as [Told]
      if ('error' in told) throw new Error(`${by}: ${told.error}`)
      return told.value
    }
  }

  async #erlang(): Promise<Nodes | string> {
    const folder = mkdtempSync(join(tmpdir(), 'errand-bench-'))
    this.#stack.defer(() => rmSync(folder, { recursive: true, force: true }))
    const nodes = await erlangNodes(folder)
    return typeof nodes === 'string' ? nodes : this.#stack.use(nodes)
  }

  #process(file: string, ...args: readonly string[]): ChildProcess {
    const child = fork(fileURLToPath(new URL(file, import.meta.url)), args, { execArgv: ['--conditions=source'] })
    const exit = once(child, 'exit')
    this.#stack.defer(async () => {
      if (child.exitCode === null && child.signalCode === null) child.disconnect()
      await exit
    })
    return child
  }
}

/** What it says next. @throws Error when it ends instead */
async function first(child: ChildProcess): Promise<unknown[]> {
  const over = new AbortController()
  const { signal } = over
  try {
    const exit = once(child, 'exit', { signal }).then(([code]) => {
      throw new Error(`the process ${child.spawnargs.slice(2).join(' ')} exited with ${String(code)}`)
    })
    return (await Promise.race([once(child, 'message', { signal }), exit])) as unknown[]
  } finally {
    over.abort()
  }
}
