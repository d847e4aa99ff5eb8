// G3 against a plain model: a job's records are a list, a reader's cursor a number. Whatever the line does, and whoever
// comes back from where, each handle gets each record once and in order, from where its reader stopped.
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { describe, expect, test } from 'vitest'
import { PeerHandle } from '../src/peer-handle.ts'
import { createPeer, PeerHost } from '../src/peer.ts'
import type { Job, JobRecord, Peer, Session } from '../src/surface.ts'
import { until } from './support/peers.ts'
import { ToldEngine, type ToldJob } from './support/told-engine.ts'

const SEEDS = 240
/** Worlds at once: they wait more than they work. */
const TOGETHER = 60
const STEPS = 25
/** Records that may come again after a crash (docs/GUARANTEES.md, G3). */
const WINDOW = 256
const READERS = ['owner', 'audit', 'slow'] as const

type Draw = (most: number) => number

function draws(seed: number): Draw {
  let state = Math.imul(seed + 1, 0x9e37_79b1)
  return (most) => {
    // mulberry32, Tommy Ettinger, public domain
    state = (state + 0x6d2b_79f5) | 0
    let drawn = Math.imul(state ^ (state >>> 15), state | 1)
    drawn ^= drawn + Math.imul(drawn ^ (drawn >>> 7), drawn | 61)
    return ((drawn ^ (drawn >>> 14)) >>> 0) % most
  }
}

/** What the model knows of a reader: the records before `least` were acknowledged, those before `most` handed over. */
interface Place {
  least: number
  most: number
}

/** One reading of one client. It may take so many records, and holds the last one until it may take more. */
class Reader {
  readonly done: Promise<void>
  readonly #place: Place
  readonly #leave = new AbortController()
  #may = 0
  #more = Promise.withResolvers<void>()
  #next: number | undefined
  #gone = false

  /** `known`: what this client's handle has given to this reader before. */
  constructor(job: Job, reader: string, place: Place, known: number | undefined) {
    this.#place = place
    this.#next = known
    this.done = this.#read(job, reader)
    this.done.catch(() => undefined) // asked for at the end
  }

  get next(): number | undefined {
    return this.#next
  }

  take(count: number): void {
    this.#may += count
    this.#more.resolve()
  }

  /** As a consumer that breaks out of its loop. */
  async leave(): Promise<void> {
    this.#leave.abort()
    this.#more.resolve()
    await this.done
  }

  /** Its process is gone: what it still gets, nobody gets. */
  die(): void {
    this.#gone = true
    this.#leave.abort()
    this.#more.resolve()
  }

  async #read(job: Job, reader: string): Promise<void> {
    for await (const record of job.receive({ reader, follow: true, signal: this.#leave.signal })) {
      if (this.#gone) return
      const place = this.#place
      if (this.#next === undefined) {
        if (record.seq > place.most) throw new Error(`a hole: begins at ${record.seq}, and had ${place.most}`)
        if (record.seq < place.least) throw new Error(`again: begins at ${record.seq}, and had taken ${place.least}`)
      } else if (record.seq !== this.#next) throw new Error(`${record.seq} comes where ${this.#next} should`)
      if (record.kind !== 'output' || record.value !== record.seq) throw new Error(`${record.seq} is not what was said`)
      this.#next = record.seq + 1
      place.most = Math.max(place.most, this.#next)
      while (--this.#may < 0 && !this.#leave.signal.aborted) {
        this.#may = 0
        this.#more = Promise.withResolvers()
        await this.#more.promise
      }
    }
  }
}

/** A program with a key of the owner's, attached to the session. */
class Client {
  readonly name: string
  readonly peer: Peer
  readonly session: Session
  readonly job: Job
  readonly readers = new Map<string, Reader>()
  /** How far each reader of this handle is, also when its reading is over. */
  readonly known = new Map<string, number | undefined>()

  constructor(name: string, peer: Peer, session: Session, job: Job) {
    this.name = name
    this.peer = peer
    this.session = session
    this.job = job
  }
}

class World {
  readonly network: MemoryNetwork
  readonly log: string[] = []
  readonly #draw: Draw
  readonly #places = new Map<string, Place>(READERS.map((reader) => [reader, { least: 0, most: 0 }]))
  #far!: PeerHost
  #told!: ToldJob
  #client!: Client
  #session = ''
  #job = ''
  #cut = false
  readonly #over: Promise<unknown>[] = []

  constructor(seed: number) {
    this.#draw = draws(seed)
    this.network = createMemoryNetwork({ seed, latency: [0, 1 + this.#draw(4)] })
  }

  async run(): Promise<void> {
    const engine = new ToldEngine()
    this.#far = await PeerHost.open({
      ...CLOCKS,
      name: 'far',
      transport: memory({ network: this.network, name: 'far' }),
      policy: {
        owners: { me: ['a', 'b'] },
        peers: { a: ['connect', 'run:script'], b: ['connect', 'run:script'] },
      },
    })
    Object.assign(this.#far, {
      engines: () => ({ runspace: engine, thread: engine, process: engine, machine: engine }),
    })
    try {
      const peer = await this.#peer('a')
      const session = await peer.connect('far')
      const job = await session.start({ code: 'what it is told' })
      this.#session = session.instanceId
      this.#job = job.instanceId
      this.#told = engine.jobs.get(job.instanceId)!
      this.#client = new Client('a', peer, session, job)
      for (let step = 0; step < STEPS; step++) await this.#step()
      await this.#finish()
    } finally {
      this.network.heal(['a', 'b'], 'far')
      await Promise.allSettled([this.#client?.peer.close(), this.#far.close(), ...this.#over])
    }
  }

  async #peer(name: string): Promise<Peer> {
    return new PeerHandle(
      await PeerHost.open({
        ...CLOCKS,
        name,
        transport: memory({ network: this.network, name }),
        policy: { peers: { far: [] } },
      }),
    )
  }

  async #step(): Promise<void> {
    const deed = this.#draw(20)
    if (deed < 6) this.#say(1 + this.#draw(60))
    else if (deed < 11) this.#take()
    else if (deed < 13) this.#do('lose', () => this.network.lose(this.#client.name, 'far'))
    else if (deed < 14) this.#do('cut', () => (this.network.cut(['a', 'b'], 'far'), (this.#cut = true)))
    else if (deed < 16) this.#heal()
    else if (deed < 17) await this.#stopReading()
    else if (deed < 18) await this.#disconnect()
    else if (deed < 19) await this.#crash()
    else await this.#pass(5)
    await this.#pass(this.#draw(4))
  }

  #do(what: string, act: () => void): void {
    this.log.push(what)
    act()
  }

  async #pass(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms))
  }

  #say(count: number): void {
    this.#do(`say ${count}`, () => this.#told.say(count))
  }

  #heal(): void {
    if (this.#cut) this.#do('heal', () => this.network.heal(['a', 'b'], 'far'))
    this.#cut = false
  }

  #take(): void {
    const reader = READERS[this.#draw(READERS.length)]!
    const count = 1 + this.#draw(reader === 'slow' ? 3 : 80)
    this.log.push(`${reader} takes ${count}`)
    this.#reader(reader).take(count)
  }

  #reader(name: string): Reader {
    const { readers, known, job } = this.#client
    let reader = readers.get(name)
    if (!reader) {
      readers.set(name, (reader = new Reader(job, name, this.#places.get(name)!, known.get(name))))
    }
    return reader
  }

  /** One reader leaves its loop, and may come back to the same handle. */
  async #stopReading(): Promise<void> {
    const [name] = [...this.#client.readers.keys()]
    if (name === undefined) return
    this.log.push(`${name} leaves`)
    const reader = this.#client.readers.get(name)!
    this.#client.readers.delete(name)
    await reader.leave()
    if (reader.next !== undefined) this.#client.known.set(name, reader.next)
  }

  /** Leaves in order: what was handed over counts. */
  async #disconnect(): Promise<void> {
    this.#heal()
    await until('it is attached', () => this.#client.session.state === 'Opened')
    this.log.push('disconnect')
    const lost = this.#client
    while (this.#client.readers.size > 0) await this.#stopReading()
    await lost.session.disconnect()
    for (const [reader, next = 0] of lost.known) {
      const place = this.#places.get(reader)!
      place.least = Math.max(place.least, next)
    }
    await lost.peer.close()
    await this.#comeBack()
  }

  /** Killed: what it had not said to have taken may come again. */
  async #crash(): Promise<void> {
    this.log.push('crash')
    const { name, readers, peer } = this.#client
    for (const reader of readers.values()) reader.die()
    this.network.kill(name)
    for (const place of this.#places.values()) place.least = Math.max(place.least, place.most - WINDOW)
    this.#over.push(peer.close(), ...[...readers.values()].map((reader) => reader.done.catch(() => undefined)))
    this.#heal()
    await this.#comeBack()
  }

  /** From the same key or another one of the owner's. */
  async #comeBack(): Promise<void> {
    const name = this.#draw(2) === 0 ? 'a' : 'b'
    this.log.push(`comes back as ${name}`)
    const peer = await this.#peer(name)
    // Until the far peer has noticed that the last one is gone it is that one's.
    const session = await until('it is free', () =>
      peer.connect('far', { session: this.#session }).catch((error: { code?: string }) => {
        // On a machine that is busy with other worlds a peer may be silent for too long, too.
        if (error.code !== 'SESSION_STATE' && error.code !== 'PEER_UNREACHABLE') throw error
        return undefined
      }),
    )
    this.#client = new Client(name, peer, session, await session.job(this.#job))
  }

  /** The rest, to the last record, by every reader. */
  async #finish(): Promise<void> {
    this.#heal()
    this.#say(3)
    this.#told.end()
    for (const name of READERS) {
      const reader = this.#reader(name)
      reader.take(Number.POSITIVE_INFINITY)
      await reader.done
      this.#client.readers.delete(name)
      this.#client.known.set(name, reader.next)
      expect(this.#places.get(name)!.most, name).toBe(this.#told.said)
    }
    // All of it was acknowledged: another handle gets nothing again.
    await this.#disconnect()
    for (const reader of READERS)
      for await (const { seq } of this.#client.job.receive({ reader })) throw new Error(`${seq} again for ${reader}`)
  }
}

/** What is silent for so long is lost. */
const CLOCKS = { heartbeat: 30, suspicion: 250 }

describe('records, whatever the line and the clients do', () => {
  const seeds = Array.from({ length: SEEDS }, (_, seed) => seed)
  const batches = Array.from({ length: Math.ceil(SEEDS / TOGETHER) }, (_, n) =>
    seeds.slice(n * TOGETHER, (n + 1) * TOGETHER),
  )

  test.each(batches)(
    'come to each handle once and in order (seeds from %i)',
    { timeout: 120_000 },
    async (...batch) => {
      const failed: string[] = []
      await Promise.all(
        batch.map(async (seed) => {
          const world = new World(seed)
          try {
            await world.run()
          } catch (error) {
            failed.push(`seed ${seed}: ${(error as Error).message}\n  ${world.log.join(', ')}`)
          }
        }),
      )
      expect(failed).toEqual([])
    },
  )

  test.each([
    [20_000, 1],
    [300, 100],
    [40, 500],
  ])('of a client that is killed in a burst (%i, %i times): at most 256 come again', async (each, times) => {
    const network = createMemoryNetwork({ seed: each, latency: 5 })
    const engine = new ToldEngine()
    const far = await PeerHost.open({
      name: 'far',
      transport: memory({ network, name: 'far' }),
      policy: {
        owners: { me: ['a', 'b'] },
        peers: { a: ['connect', 'run:script'], b: ['connect', 'run:script'] },
      },
    })
    Object.assign(far, { engines: () => ({ runspace: engine, thread: engine, process: engine, machine: engine }) })
    const [a, b] = await Promise.all(
      ['a', 'b'].map((name) =>
        createPeer({ name, transport: memory({ network, name }), policy: { peers: { far: [] } } }),
      ),
    )
    const session = await a!.connect('far')
    const job = await session.start({ code: 'what it is told' })
    for (let n = 0; n < times; n++) engine.jobs.get(job.instanceId)!.say(each)
    let last = -1
    for await (const { seq } of job.receive()) {
      last = seq
      if (seq < 11_000) continue
      network.kill('a')
      break
    }
    const again = await until('it is free', () =>
      b!.connect('far', { session: session.instanceId }).catch(() => undefined),
    )
    const { value } = await (await again.job(job.id)).receive()[Symbol.asyncIterator]().next()
    expect((value as JobRecord).seq).toBeLessThanOrEqual(last + 1)
    expect((value as JobRecord).seq).toBeGreaterThan(last - WINDOW)
    await Promise.all([a!.close(), b!.close(), far.close()])
  })
})
