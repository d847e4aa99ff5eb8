// npm run -s durable [-- --kills N] [--events N] [--seed S]: a peer with a durable machine that has timers and work is killed
// (SIGKILL) at random instants, 200 times, while another peer sends it 1 000 events; each time it is started again over
// the same file. After each restart its state is held against that of a run without faults, and at the end all of it; what
// its actions did lies in a file, in which nothing may stand twice, and no ring too early. Prints what it saw; throws where
// a promise was broken.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { libp2p } from '@errand/transport/libp2p'
import { createPeer, type Peer, type Ref } from '../src/index.ts'
import { faultless, hashOf, PULSE, type ClockworkState, type Tick } from './fixtures/clockwork.ts'
import type { DurablePeerOptions } from './fixtures/durable-peer.ts'

const PROGRAM = fileURLToPath(new URL('./fixtures/durable-peer.ts', import.meta.url))
/** A life that is killed by the clock and not by what it has come to. */
const BLIND = 0.25
/** So long it is at work before it is killed, at most, in milliseconds. */
const AT_WORK = 150
/** What takes longer never comes, in milliseconds. */
const PATIENCE = 60_000

export interface DurableCampaign {
  readonly kills: number
  readonly events: number
  readonly seed: number
  /** What to start; default its source. */
  readonly program?: string
}

export interface DurableReport {
  readonly lives: number
  /** Lives after which its state was looked at. */
  readonly looked: number
  readonly ticks: number
  readonly rings: number
  readonly works: number
  readonly pulses: number
  /** Of all that was handled, what its actions did not come to do: they are done once at most. */
  readonly undone: number
  /** Works that were begun again. */
  readonly again: number
  /** How late a ring was at most, with its peer away meanwhile, in milliseconds. */
  readonly latest: number
}

/** Numbers from 0 up to `below`, itself not among them: the same for the same seed. */
function drawn(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

class Server {
  readonly #options: Omit<DurablePeerOptions, 'port' | 'ticket'>
  readonly #program: string
  #port = 0
  #child: ChildProcess | undefined
  #said = ''

  constructor(options: Omit<DurablePeerOptions, 'port' | 'ticket'>, program: string) {
    this.#options = options
    this.#program = program
  }

  /** Settles when it is ready; gives a ticket the first time. */
  async start(): Promise<{ ticket?: string }> {
    const options: DurablePeerOptions = { ...this.#options, port: this.#port, ticket: this.#port === 0 }
    const child = fork(this.#program, [JSON.stringify(options)], {
      execArgv: ['--conditions=source', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child = child
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#said += text))
    const ready = Promise.withResolvers<{ ticket?: string; addresses: string[] }>()
    child.once('message', (message) => ready.resolve(message as never))
    child.once('exit', (code, signal) => {
      if (signal === 'SIGKILL') ready.resolve({ addresses: [] })
      else ready.reject(new Error(`the peer has ended by itself (${code})\n${this.#said}`))
    })
    const { ticket, addresses } = await ready.promise
    if (addresses[0]) this.#port = Number(/\/tcp\/(\d+)/.exec(addresses[0])![1])
    return ticket === undefined ? {} : { ticket }
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
}

/** The events it is sent. */
function ticksOf(count: number, draw: (below: number) => number): Tick[] {
  return Array.from({ length: count }, (_, index) => ({
    type: 'tick',
    n: index + 1,
    ...(draw(3) === 0 && { ring: draw(4) === 0 ? 0 : draw(800) }),
    ...(draw(6) === 0 && { work: true }),
  }))
}

async function within<T>(what: string, outcome: Promise<T>): Promise<T> {
  const late = new AbortController()
  try {
    return await Promise.race([
      outcome,
      delay(PATIENCE, undefined, { signal: late.signal }).then(() => {
        throw new Error(`nothing came of it in ${PATIENCE} ms: ${what}`)
      }),
    ])
  } finally {
    late.abort()
  }
}

/** @throws Error that says what was broken, and the seed */
export async function campaign({ kills, events, seed, program = PROGRAM }: DurableCampaign): Promise<DurableReport> {
  const folder = mkdtempSync(join(tmpdir(), 'errand-durable-'))
  const [home, file] = [join(folder, 'server01'), join(folder, 'notes')]
  mkdirSync(home, { mode: 0o700 })
  const draw = drawn(seed)
  const server = new Server({ home, file, every: 1 + draw(40) }, program)
  const ticks = ticksOf(events, draw)
  let laptop: Peer | undefined
  try {
    const { ticket } = await within('its first start', server.start())
    laptop = await createPeer({
      name: 'laptop',
      transport: libp2p({ keyFile: join(folder, 'key') }),
      heartbeat: 250,
      suspicion: 1_000,
      lostAfter: '10m',
    })
    await laptop.join(ticket!)
    const session = await laptop.connect('server01', { name: 'clockwork' })
    const ref = (await session.spawn('clockwork')) as unknown as Ref
    const sender = new Sender(ref, ticks)
    let looked = 0
    for (let life = 1; life <= kills; life++) {
      const blind = draw(100) < BLIND * 100
      if (!blind) {
        check(await sender.look(), ticks, sender, `in life ${life}`)
        looked++
      }
      sender.allow(Math.floor((events * life) / kills))
      await delay(blind ? draw(1_000) : draw(AT_WORK))
      await server.kill()
      const starting = within('a start', server.start())
      // Also while it starts: whoever kills it looks at no clock of its.
      if (draw(100) >= BLIND * 100) await starting
      else starting.catch(() => undefined)
    }
    await within('all of them to be told', sender.done)
    const expected = await faultless(ticks)
    const last = await settled(sender, expected)
    check(last, ticks, sender, 'at the end')
    compare(last, expected)
    return { lives: kills + 1, looked: looked + 1, ...readNotes(file, ticks) }
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
  } finally {
    await server.kill()
    await laptop?.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Tells one after the other, as many as it may by now; each is told once, over as many lives of the peer as that takes. */
class Sender {
  readonly #ref: Ref
  readonly #ticks: readonly Tick[]
  #allowed = 0
  #more = Promise.withResolvers<void>()
  /** Sent, and answered. */
  sent = 0
  told = 0
  readonly done: Promise<void>

  constructor(ref: Ref, ticks: readonly Tick[]) {
    this.#ref = ref
    this.#ticks = ticks
    this.done = this.#send()
    this.done.catch(() => undefined) // whoever waits for it is told
  }

  allow(count: number): void {
    this.#allowed = Math.max(this.#allowed, count)
    this.#more.resolve()
  }

  async #send(): Promise<void> {
    const telling: Promise<void>[] = []
    for (const tick of this.#ticks) {
      while (this.sent >= this.#allowed) {
        this.#more = Promise.withResolvers()
        await this.#more.promise
      }
      this.sent++
      telling.push(this.#ref.tell(tick as never).then(() => void this.told++))
      // Some go in a batch, some alone.
      if (tick.n % 3 !== 0) await telling.at(-1)
    }
    await Promise.all(telling)
  }

  /** How it is; asked anew where nobody knows what came of that. */
  async look(): Promise<{ state: ClockworkState; told: number }> {
    for (;;) {
      const { told } = this
      const asked = await within(
        'its state',
        this.#ref.ask<ClockworkState>({ type: 'state' } as never, { timeout: '20s' }),
      )
      if (asked.outcome === 'ok') return { state: asked.value, told }
      if (asked.outcome === 'error') throw asked.error
    }
  }
}

/** Against what it must be behind so many events, whatever its clocks have come to. */
function check(
  { state, told }: { readonly state: ClockworkState; readonly told: number },
  ticks: readonly Tick[],
  sender: Sender,
  when: string,
): void {
  const { count, hash, rung, worked, todo } = state
  const must = (holds: boolean, what: string): void => {
    if (!holds) throw new Error(`${when}: ${what}`)
  }
  must(count >= told, `it has ${count} events, and ${told} were accepted`)
  must(count <= sender.sent, `it has ${count} events, and ${sender.sent} were sent`)
  must(hash === ticks.slice(0, count).reduce((sum, { n }) => hashOf(sum, n), 0), `its ${count} events are others`)
  for (const [n, times] of rung) {
    must(times === 1, `${n} rang ${times} times`)
    must(n <= count && ticks[n - 1]!.ring !== undefined, `${n} rang, and never was to`)
  }
  const works = ticks.slice(0, count).flatMap(({ n, work }) => (work ? [n] : []))
  for (const [n, times] of worked) must(times === 1, `work ${n} was done ${times} times`)
  const known = [...worked.keys(), ...todo]
  must(JSON.stringify(known) === JSON.stringify(works), `of its works ${works.join()} it knows ${known.join()}`)
}

/** When everything has rung and is done. */
async function settled(sender: Sender, expected: ClockworkState): Promise<{ state: ClockworkState; told: number }> {
  const deadline = performance.now() + PATIENCE
  for (;;) {
    const seen = await sender.look()
    const { rung, worked } = seen.state
    if (rung.size >= expected.rung.size && worked.size >= expected.worked.size) return seen
    if (performance.now() > deadline) {
      const lost = [...expected.rung.keys()].filter((n) => !rung.has(n))
      throw new Error(`timers were lost: ${lost.join()}; ${worked.size} of ${expected.worked.size} works are done`)
    }
    await delay(100)
  }
}

function compare({ state }: { readonly state: ClockworkState }, expected: ClockworkState): void {
  const plain = ({ count, hash, rung, worked, todo }: ClockworkState): string =>
    JSON.stringify([
      count,
      hash,
      [...rung].toSorted(([a], [b]) => a - b),
      [...worked].toSorted(([a], [b]) => a - b),
      todo,
    ])
  if (plain(state) !== plain(expected)) throw new Error(`it is ${plain(state)}\nand without faults ${plain(expected)}`)
}

/** What its actions did. @throws Error where something was done twice, too early, or again though it was done */
function readNotes(file: string, ticks: readonly Tick[]): Omit<DurableReport, 'lives' | 'looked'> {
  const at = new Map<string, bigint>()
  const begun = new Map<number, number>()
  const broken: string[] = []
  let last = 0
  let again = 0
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []
  for (const line of lines) {
    const [what = '', n = '', time = ''] = line.split(' ')
    if (what === 'work') {
      if (begun.has(Number(n))) again++
      begun.set(Number(n), (begun.get(Number(n)) ?? 0) + 1)
      if (at.has(`done ${n}`)) broken.push(`work ${n} was done, and begun again`)
      continue
    }
    const key = `${what} ${n}`
    // What it waits for in a state it says when it is entered: also that once.
    if (at.has(key)) broken.push(`${key} twice`)
    at.set(key, BigInt(time))
    if (what === 'long') broken.push(`${key}: it was called off, or is not due today`)
    if (what === 'tick') {
      if (Number(n) <= last) broken.push(`tick ${n} behind ${last}`)
      last = Number(n)
    }
  }
  const since = (from: string, to: string): number | undefined => {
    const [set, rang] = [at.get(from), at.get(to)]
    return set !== undefined && rang !== undefined ? Number(rang - set) / 1e6 : undefined
  }
  let [rings, pulses, latest] = [0, 0, 0]
  for (const { n, ring } of ticks) {
    const ms = ring === undefined ? undefined : since(`tick ${n}`, `rang ${n}`)
    if (ms === undefined) continue
    rings++
    latest = Math.max(latest, ms - ring!)
    if (ms < ring!) broken.push(`ring ${n} came after ${ms} ms instead of ${ring}`)
  }
  for (let n = 0; at.has(`pulse ${n}`) || at.has(`pulse ${n + 1}`); n++) {
    const ms = since(`waits ${n}`, `pulse ${n}`)
    if (ms === undefined) continue
    pulses++
    if (ms < PULSE) broken.push(`pulse ${n} came after ${ms} ms instead of ${PULSE}`)
  }
  if (broken.length > 0) throw new Error(broken.slice(0, 10).join('; '))
  const noted = (what: string): number => [...at.keys()].filter((key) => key.startsWith(`${what} `)).length
  const wanted = ticks.filter(({ ring }) => ring !== undefined).length
  const works = ticks.filter(({ work }) => work).length
  const undone = ticks.length - noted('tick') + wanted - noted('rang') + works - noted('done')
  return { ticks: noted('tick'), rings, works: begun.size, pulses, undone, again, latest: Math.round(latest) }
}

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      kills: { type: 'string', default: '200' },
      events: { type: 'string', default: '1000' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    },
  })
  const [kills, events, seed] = [values.kills, values.events, values.seed].map(Number) as [number, number, number]
  if (![kills, events, seed].every((value) => Number.isInteger(value) && value >= 0))
    throw new Error(`durable [--kills N] [--events N] [--seed S], not '${args.join(' ')}'`)
  console.log(`seed ${seed}`)
  const report = await campaign({ kills, events, seed })
  for (const [what, count] of Object.entries(report)) console.log(`${what.padEnd(8)} ${count}`)
}
