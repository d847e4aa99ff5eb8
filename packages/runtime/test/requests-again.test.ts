// Every request of the wire, lost, lost on the way back, doubled, late: done once, one answer, the same for all.
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encode, type Transport } from '@errand/transport'
import { createMemoryNetwork, memory } from '@errand/transport/memory'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Answers } from '../src/answers.ts'
import { codeOf } from '../src/errors.ts'
import type { EventsAnswer } from '../src/event-feed.ts'
import { Link } from '../src/link.ts'
import { LinkAcceptor, openLink } from '../src/link-handshake.ts'
import { PeerHost } from '../src/peer.ts'
import { singleRecord } from '../src/record.ts'
import { type Principal, Server } from '../src/serve.ts'
import type { JobSnapshot, SessionSnapshot } from '../src/surface.ts'
import {
  type Address,
  OPEN_ASKS,
  OPEN_REQUESTS,
  protocols,
  REPEAT,
  type WireEvent,
  type WorkSpec,
} from '../src/wire.ts'
import { Faults, type Loss } from './support/faulty-transport.ts'
import { until } from './support/peers.ts'
import { questionOf, ScriptedEngine, type ScriptedExecution } from './support/scripted-engine.ts'

const BEAT = { interval: 60_000, suspicion: 240_000 }
const owner: Principal = { kind: 'owner', peer: 'local', owner: '', may: () => true }
const network = createMemoryNetwork()
let folder: string
let engine: ScriptedEngine
let far: PeerHost
/** A peer beyond that one, for what it holds and asks elsewhere. */
let third: PeerHost
let door: Transport
let answers: Answers
let names = 0

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'errand-'))
  engine = new ScriptedEngine(() => false, {
    stop: ({ io }) => io.ended({ outcome: 'stopped' }),
    suspend: ({ io }) => io.suspended?.(),
    answer: ({ io }, question) => io.answered?.(question),
  })
  const engines = () => ({ runspace: engine, thread: engine, process: engine, machine: engine })
  far = await PeerHost.open({
    name: 'far',
    home: folder,
    transport: memory({ network, name: 'far' }),
    policy: { peers: { third: [] } },
  })
  third = await PeerHost.open({
    name: 'third',
    transport: memory({ network, name: 'third' }),
    policy: { peers: { far: ['connect', 'run:script', 'jobs:read'] } },
  })
  for (const host of [far, third]) Object.assign(host, { engines })
  answers = new Answers()
  door = memory({ network, name: 'door' })
  const acceptor = new LinkAcceptor(
    { client: 'far', name: 'far' },
    () => new Server(owner, far, answers),
    () => undefined,
  )
  await door.start({
    admits: () => true,
    protocols: protocols(BEAT),
    accept: (channel) => (channel.protocol.includes('control') ? acceptor.control(channel) : acceptor.data(channel)),
  })
})
afterAll(async () => {
  await Promise.all([door.close(), far.close(), third.close()])
  await rm(folder, { recursive: true })
})

/** Somebody who asks the far peer, and asks again under the same id while the link breaks. */
class Asker implements AsyncDisposable {
  readonly #faults: Faults
  readonly #transport: Transport
  readonly #self = { client: crypto.randomUUID(), name: 'asker' }
  #link: Link | undefined

  private constructor(faults: Faults, transport: Transport) {
    this.#faults = faults
    this.#transport = transport
  }

  static async meet(faults = new Faults()): Promise<Asker> {
    const transport = memory({ network, name: `asker${++names}` })
    await transport.start({ admits: () => true, protocols: protocols(BEAT), accept: (channel) => channel.abort() })
    return new Asker(faults, transport)
  }

  async link(): Promise<Link> {
    if (this.#link?.open) return this.#link
    return (this.#link = await openLink({
      transport: this.#faults.over(this.#transport),
      peer: 'door',
      self: this.#self,
    }))
  }

  async ask(to: Address, event: WireEvent, id = Link.requestId()): Promise<unknown> {
    for (;;) {
      const link = await this.link()
      try {
        return await link.ask(to, event, { id })
      } catch (error) {
        if (codeOf(error) !== 'PEER_LOST') throw error
        await link.closed
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link?.close()
    await this.#transport.close()
  }
}

const spec = (more: Partial<WorkSpec> = {}): WorkSpec => ({
  kind: 'code',
  source: '1',
  command: '1',
  startId: crypto.randomUUID(),
  ...more,
})

/** What a request is asked of, and what must be so when it has been answered. */
interface Case {
  readonly to: Address
  readonly event: WireEvent
  /** It is refused, each time. */
  readonly refused?: string
  readonly effect?: (answer: unknown) => unknown
}

/** A session, and in it a job that runs until it is told something. */
class World {
  readonly asker: Asker
  session!: SessionSnapshot
  job!: JobSnapshot
  at!: ScriptedExecution

  private constructor(asker: Asker) {
    this.asker = asker
  }

  static async make(asker: Asker): Promise<World> {
    const world = new World(asker)
    const open: WireEvent = { type: 'session.open', options: { openId: crypto.randomUUID() } }
    world.session = (await asker.ask({}, open)) as SessionSnapshot
    world.job = (await asker.ask(world.here, { type: 'start', spec: spec({ input: true }) })) as JobSnapshot
    world.at = engine.executions.find(({ job }) => job === world.job.instanceId)!
    return world
  }

  get here(): Address {
    return { session: this.session.instanceId }
  }
  get there(): Address {
    return { ...this.here, job: this.job.instanceId }
  }

  calls(what: string): number {
    return this.at.calls.filter((call) => call.startsWith(what)).length
  }

  async jobs(): Promise<JobSnapshot[]> {
    return (await this.asker.ask(this.here, { type: 'jobs', filter: {} })) as JobSnapshot[]
  }

  sessionsOn(on: string): Promise<SessionSnapshot[]> {
    return this.asker.ask({}, { type: 'local.sessions', on }) as Promise<SessionSnapshot[]>
  }

  async hold(name: string): Promise<SessionSnapshot> {
    return (await this.asker.ask({}, { type: 'local.connect', to: 'third', options: { name } })) as SessionSnapshot
  }
}

/** Answers that are kept of one client: as many as may be under way. */
const KEPT = OPEN_REQUESTS + OPEN_ASKS

type Cases = { readonly [T in WireEvent['type']]: (world: World) => Case | Promise<Case> }

const cases: Cases = {
  start: (world) => ({
    to: world.here,
    event: { type: 'start', spec: spec({ name: 'mine' }) },
    effect: async () => expect((await world.jobs()).filter(({ name }) => name === 'mine')).toHaveLength(1),
  }),
  run: ({ here }) => {
    const work = spec()
    const executions = () => engine.executions.filter(({ job }) => job === work.startId)
    return { to: here, event: { type: 'run', spec: work }, effect: () => expect(executions()).toHaveLength(1) }
  },
  jobs: ({ here }) => ({ to: here, event: { type: 'jobs', filter: {} } }),
  // What comes of them where there is an actor: actors.test.ts.
  'actor.tell': ({ there }) => ({
    to: there,
    event: { type: 'actor.tell', epoch: 1, from: 'a', seq: 1, count: 1, bytes: encode({ type: 'go' }) },
    refused: 'USAGE',
  }),
  'actor.ask': ({ there }) => ({
    to: there,
    event: { type: 'actor.ask', epoch: 1, event: encode({ type: 'go' }), timeout: 1000 },
    refused: 'USAGE',
  }),
  'actor.stop': ({ there }) => ({ to: there, event: { type: 'actor.stop', epoch: 1 }, refused: 'USAGE' }),
  'actor.inspect': ({ there }) => ({ to: there, event: { type: 'actor.inspect' }, refused: 'USAGE' }),
  'actor.transitions': ({ there }) => ({ to: there, event: { type: 'actor.transitions' }, refused: 'USAGE' }),
  job: ({ here, job }) => ({ to: here, event: { type: 'job', which: job.id } }),
  runs: ({ here }) => ({ to: here, event: { type: 'runs' } }),
  complete: ({ here }) => ({ to: here, event: { type: 'complete', text: 'proc' } }),
  stop: (world) => ({
    to: world.there,
    event: { type: 'stop' },
    effect: (answer) => {
      expect(answer).toMatchObject({ state: 'Stopped' })
      expect(world.calls('stop')).toBe(1)
    },
  }),
  remove: (world) => ({
    to: world.there,
    event: { type: 'remove', force: true },
    effect: async () => expect(await world.jobs()).toEqual([]),
  }),
  send: (world) => ({
    to: world.there,
    event: { type: 'send', count: 1, bytes: singleRecord('output', 'input').bytes },
    effect: () => expect(world.calls('input')).toBe(1),
  }),
  'end-input': (world) => ({
    to: world.there,
    event: { type: 'end-input' },
    effect: () => expect(world.calls('end input')).toBe(1),
  }),
  answer: async (world) => {
    world.at.io.asked?.(questionOf('1'))
    await until('it asks', async () => (await world.jobs())[0]?.state === 'Blocked')
    return {
      to: world.there,
      event: { type: 'answer', value: encode('yes') },
      effect: () => expect(world.calls('answer 1')).toBe(1),
    }
  },
  suspend: (world) => ({
    to: world.there,
    event: { type: 'suspend' },
    effect: () => expect(world.calls('suspend')).toBe(1),
  }),
  resume: async (world) => {
    await world.asker.ask(world.there, { type: 'suspend' })
    return { to: world.there, event: { type: 'resume' }, effect: () => expect(world.calls('resume')).toBe(1) }
  },
  throttle: async (world) => {
    const on = [{ peer: 'third' }, { peer: 'third' }]
    const parent = (await world.asker.ask(world.here, { type: 'start', spec: spec(), on })) as JobSnapshot
    return { to: { ...world.here, job: parent.instanceId }, event: { type: 'throttle', most: 1 } }
  },
  items: ({ there }) => ({ to: there, event: { type: 'items', from: 0, limit: 1 }, refused: 'JOB_STATE' }),
  acknowledge: ({ there, at, job }) => {
    at.io.chunk(singleRecord('output', 1))
    at.io.chunk(singleRecord('output', 2))
    return { to: there, event: { type: 'acknowledge', reader: 'owner', seqs: [[job.instanceId, 1]] } }
  },
  save: ({ there, at }) => {
    const path = join(folder, `saved-${++names}`)
    at.io.chunk(singleRecord('output', 'said'))
    return {
      to: there,
      event: { type: 'save', path, read: { reader: 'owner' } },
      // What was saved once has been taken: done twice, the file would be empty.
      effect: async () => expect(await readFile(path, 'utf8')).toBe('said\n'),
    }
  },
  disconnect: (world) => ({
    to: world.here,
    event: { type: 'disconnect', idleTimeout: 3_600_000 },
    effect: (answer) => expect(answer).toMatchObject({ state: 'Disconnected', idleTimeout: 3_600_000 }),
  }),
  connect: async (world) => ({
    to: { session: (await world.hold(`held${++names}`)).instanceId },
    event: { type: 'connect' },
    effect: (answer) => expect(answer).toMatchObject({ state: 'Opened' }),
  }),
  receive: async (world) => {
    const name = `held${++names}`
    const session = (await world.hold(name)).instanceId
    const run = { type: 'run', spec: spec() } as const
    await world.asker.ask({ session }, run)
    return {
      to: { session },
      event: { type: 'receive', name },
      effect: async () => {
        const { local } = (await world.asker.ask({}, { type: 'local.status' })) as { local: SessionSnapshot }
        const jobs = world.asker.ask({ session: local.instanceId }, { type: 'jobs', filter: { name } })
        expect(await jobs).toHaveLength(1)
      },
    }
  },
  close: (world) => ({
    to: world.here,
    event: { type: 'close' },
    effect: async () => {
      const left = (await world.asker.ask({}, { type: 'sessions' })) as SessionSnapshot[]
      expect(left.find(({ instanceId }) => instanceId === world.session.instanceId)).toBeUndefined()
    },
  }),
  session: ({ here }) => ({ to: here, event: { type: 'session' } }),
  events: ({ here }) => ({ to: here, event: { type: 'events' } }),
  ping: () => ({ to: {}, event: { type: 'ping' } }),
  'session.open': ({ asker }) => {
    const name = `opened${++names}`
    return {
      to: {},
      event: { type: 'session.open', options: { openId: crypto.randomUUID(), name } },
      effect: async () => {
        const all = (await asker.ask({}, { type: 'sessions' })) as SessionSnapshot[]
        expect(all.filter((one) => one.name === name)).toHaveLength(1)
      },
    }
  },
  'session.attach': ({ session }) => ({ to: {}, event: { type: 'session.attach', session: session.instanceId } }),
  'session.home': () => ({ to: {}, event: { type: 'session.home' } }),
  sessions: () => ({ to: {}, event: { type: 'sessions' } }),
  'local.connect': (world) => {
    const name = `held${++names}`
    return {
      to: {},
      event: { type: 'local.connect', to: 'third', options: { name } },
      effect: async () => expect((await world.sessionsOn('third')).filter((one) => one.name === name)).toHaveLength(1),
    }
  },
  'local.home': (world) => ({
    to: {},
    event: { type: 'local.home', on: 'third' },
    effect: async () => expect((await world.sessionsOn('third')).filter(({ name }) => name === 'home')).toHaveLength(1),
  }),
  'local.sessions': () => ({ to: {}, event: { type: 'local.sessions', state: 'Broken' } }),
  'local.session': async (world) => ({
    to: {},
    event: { type: 'local.session', which: (await world.hold(`held${++names}`)).instanceId },
  }),
  'local.launch': () => {
    const path = join(folder, `launched-${++names}`)
    return {
      to: {},
      event: { type: 'local.launch', argv: ['sh', '-c', `echo once >> ${path}; echo >> ${path}.done`] },
      effect: async () => {
        await until('it has run', () => existsSync(`${path}.done`))
        expect(await readFile(path, 'utf8')).toBe('once\n')
      },
    }
  },
  'local.events': async ({ asker }) => {
    const event = { type: 'local.events' } as const
    let { cursor } = (await asker.ask({}, event)) as EventsAnswer
    // Told behind all that has happened so far: from then on the cursor stays.
    const last = `last${++names}`
    await asker.ask({}, { type: 'local.allow', peer: last, grants: ['connect'] })
    for (let told = false; !told;) {
      const answer = (await asker.ask({}, { ...event, cursor })) as EventsAnswer
      told = answer.events.some((one) => one.kind === 'peer' && one.peer.name === last)
      cursor = answer.cursor
    }
    return { to: {}, event }
  },
  'local.peers': () => ({ to: {}, event: { type: 'local.peers' } }),
  'local.ping': () => ({ to: {}, event: { type: 'local.ping', on: 'third' } }),
  'local.invite': () => ({ to: {}, event: { type: 'local.invite' } }),
  'local.join': async () => {
    // Good for one: whoever joins with it twice is refused.
    const ticket = (await third.ask({ type: 'local.invite', grants: ['connect', 'run:script'] })) as string
    return { to: {}, event: { type: 'local.join', ticket, name: 'third' } }
  },
  'local.allow': () => ({ to: {}, event: { type: 'local.allow', peer: 'somebody', grants: ['connect'] } }),
  'local.deny': async (world) => {
    await world.asker.ask({}, { type: 'local.allow', peer: 'nobody', grants: [] })
    // Once: a second time there is nobody to forget.
    return { to: {}, event: { type: 'local.deny', peer: 'nobody', forget: true } }
  },
  'names.watch': () => ({ to: {}, event: { type: 'names.watch', name: 'nobody' } }),
  'groups.watch': () => ({ to: {}, event: { type: 'groups.watch', group: 'empty' } }),
  'local.register': ({ job, here }) => {
    const name = `name${++names}`
    // Of a peer that nobody knows: whether it is there cannot be known either.
    const address = { peer: 'nobody', path: `${here.session}/${job.instanceId}`, epoch: 1 }
    return {
      to: {},
      event: { type: 'local.register', name, address },
      effect: () => expect(far.names.holder(name)).toEqual(address),
    }
  },
  'local.unregister': ({ job, here }) => {
    const name = `name${++names}`
    far.names.register(name, { peer: 'nobody', path: `${here.session}/${job.instanceId}`, epoch: 1 })
    return {
      to: {},
      event: { type: 'local.unregister', name },
      // Done twice it would say that nobody had it.
      effect: (answer) => expect(answer).toBe(true),
    }
  },
  'local.whereis': () => ({ to: {}, event: { type: 'local.whereis', name: 'nobody', on: 'third' } }),
  'local.group': () => ({ to: {}, event: { type: 'local.group', group: 'empty', on: ['third'] } }),
  'local.status': () => ({ to: {}, event: { type: 'local.status' } }),
  'local.shutdown': () => ({ to: {}, event: { type: 'local.shutdown' }, refused: 'JOB_NOT_FINISHED' }),
}

const many = (loss: Loss): Loss[] => Array.from({ length: 12 }, () => loss)
/** Losses in their order; `double`, `late`: the one request there is. */
const ways: Readonly<Record<string, readonly Loss[] | 'double' | 'late'>> = {
  'the request is lost': ['request'],
  'the reply is lost': ['reply'],
  'the request is lost many times': many('request'),
  'the reply is lost many times': many('reply'),
  'both are lost by turns': ['request', 'reply', 'request', 'reply', 'reply', 'request'],
  'the request is doubled': 'double',
  'the request comes behind later ones': 'late',
}

/** How often the far peer did one of this type. */
async function counted(type: string, act: () => Promise<void>): Promise<number> {
  let count = 0
  const peerEvent = far.peerEvent.bind(far)
  const sessionEvent = far.sessionEvent.bind(far)
  Object.assign(far, {
    peerEvent: (...given: Parameters<PeerHost['peerEvent']>) => {
      if (given[2].type === type) count++
      return peerEvent(...given)
    },
    sessionEvent: (...given: Parameters<PeerHost['sessionEvent']>) => {
      if (given[3].type === type) count++
      return sessionEvent(...given)
    },
  })
  try {
    await act()
  } finally {
    for (const own of ['peerEvent', 'sessionEvent']) Reflect.deleteProperty(far, own)
  }
  return count
}

/** What a ping measures is another each time it is done. */
function untimed(type: WireEvent['type'], answer: unknown): unknown {
  if (type !== 'ping' && type !== 'local.ping') return answer
  return { ...(answer as object), at: 0, ms: 0, off: 0 }
}

describe.each(Object.keys(REPEAT) as WireEvent['type'][])('%s', (type) => {
  test.each(Object.keys(ways))('%s', async (way) => {
    const faults = new Faults()
    await using asker = await Asker.meet(faults)
    const world = await World.make(asker)
    const { to, event, refused, effect } = await Promise.resolve(cases[type](world))
    expect(event.type).toBe(type)
    const before = faults.answers.length
    const done = await counted(type, async () => {
      const losses = ways[way]!
      const asking = (): Promise<unknown> => asker.ask(to, event).catch((error: unknown) => error)
      let answer: unknown
      if (losses === 'double') {
        faults.double(type)
        answer = await asking()
      } else if (losses === 'late') {
        faults.delay(type, 2)
        const late = asking()
        // Of another kind, or they would wait as well.
        const other = type === 'ping' ? ({ type: 'local.peers' } as const) : ({ type: 'ping' } as const)
        await Promise.all([asker.ask({}, other), asker.ask({}, other)])
        answer = await late
      } else {
        faults.lose(type, ...losses)
        answer = await asking()
        expect(faults.sent).toBe(losses.length + 1)
      }
      expect(codeOf(answer)).toBe(refused)
      const seen = faults.answers.slice(before)
      expect(seen.length).toBeGreaterThan(0)
      for (const one of seen) expect(untimed(type, one)).toEqual(untimed(type, answer))
      await Promise.resolve(effect?.(answer))
    })
    if (REPEAT[type] === 'again') expect(done).toBeGreaterThan(0)
    else expect(done).toBe(1)
    if (type !== 'close') await asker.ask(world.here, { type: 'close' })
  })
})

describe('the memory of answers', () => {
  test('keeps only what its client has not said to have heard', async () => {
    await using asker = await Asker.meet()
    const world = await World.make(asker)
    const before = answers.size
    const start = (): Promise<unknown> => asker.ask(world.here, { type: 'start', spec: spec() })
    for (let n = 0; n < 50; n++) await start()
    // The last one's answer has not been said to be heard yet.
    expect(answers.size - before).toBeLessThanOrEqual(1)
    await Promise.all(Array.from({ length: 50 }, start))
    for (let n = 0; n < 50; n++) await asker.ask(world.here, { type: 'jobs', filter: {} })
    expect(answers.size - before).toBeLessThanOrEqual(0)
    await asker.ask(world.here, { type: 'close' })
  })

  test('beyond its bound the oldest is forgotten: asked again, it is refused and not done again', async () => {
    const memory = new Answers()
    let done = 0
    const ask = (id: number, type: WireEvent['type'] = 'run'): Promise<unknown> =>
      memory.once('client', id, { type } as WireEvent, async () => ++done)
    for (let id = 1; id <= KEPT + 1; id++) expect(await ask(id)).toBe(id)
    await expect(ask(1)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', message: expect.stringContaining('unknown') })
    expect(await ask(2)).toBe(2)
    expect(done).toBe(KEPT + 1)
    // What may be done again is.
    expect(await ask(1, 'jobs')).toBe(KEPT + 2)
  })

  test('that is full of requests under way refuses the next one', async () => {
    const memory = new Answers()
    const ask = (id: number): Promise<unknown> =>
      memory.once('client', id, { type: 'send' } as WireEvent, () => new Promise(() => undefined))
    for (let id = 1; id <= KEPT; id++) void ask(id)
    await expect(ask(KEPT + 1)).rejects.toMatchObject({ code: 'LIMIT' })
  })

  test('of a client that was away for too long is gone, and has another name when it is back', () => {
    const memory = new Answers()
    const name = memory.meet('a')
    expect(memory.meet('a')).toBe(name)
    memory.leave('a')
    expect(memory.meet('a')).toBe(name)
    memory.leave('a')
    const now = performance.now()
    const later = Object.getOwnPropertyDescriptor(performance, 'now')
    Object.defineProperty(performance, 'now', { configurable: true, value: () => now + 601_000 })
    try {
      memory.meet('b')
      expect(memory.meet('a')).not.toBe(name)
    } finally {
      if (later) Object.defineProperty(performance, 'now', later)
      else Reflect.deleteProperty(performance, 'now')
    }
  })
})
