// Refs and monitors against a plain model, over two and three peers and a network that loses, cuts, doubles and delays, while actors end,
// fail, are started again, peers and programs die, and grants come and go. What fails prints the seed and the path to it.
//
// What is promised: events of one sender are handled in order and none twice, whatever kind they are; one that was told to have
// been taken is handled for as long as the actor lives; what is said of an ask is true; one that was started again never
// handles what was meant for an earlier one; when all is well again each ref shows what is true, and each monitor has told once
// what was.
import { encode } from '@errand/transport'
import { createMemoryNetwork, type MemoryNetwork } from '@errand/transport/memory'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { assign, setup } from 'xstate'
import { codeOf } from '../src/errors.ts'
import {
  defineMachine,
  reply,
  type ActorAddress,
  type ActorInspection,
  type Down,
  type Grant,
  type JobSnapshot,
  type Monitor,
  type Peer,
  type Ref,
} from '../src/index.ts'
import type { HostSession } from '../src/session.ts'
import { machineSpec } from '../src/work.ts'
import { ActorWorld, routesOf } from './support/actor-world.ts'
import { Faults, type Loss } from './support/faulty-transport.ts'
import { until, within } from './support/peers.ts'

const SEED = Number(process.env['ERRAND_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
/** Worlds side by side: they wait more than they work. */
const SIDE_BY_SIDE = 6
const RUNS = Number(process.env['ERRAND_RUNS'] ?? 6)

/** Soon noticed. */
const CLOCKS = { heartbeat: 25, suspicion: 250 }
type Name = 'here' | 'third'
const OTHERS: readonly Grant[] = ['connect', 'jobs:read', 'jobs:send']

// ── the actors ────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Sent {
  readonly type: 'take' | 'ask' | 'hold'
  /** The process that sends, and the number of this among what it sends to this actor. */
  readonly from: string
  readonly n: number
  /** Whom it is meant for. */
  readonly life: number
}

/** What one of an actor's lives has handled, as it says itself. */
interface Life {
  readonly handled: Sent[]
  ended: boolean
}

const witnesses = new Map<string, Life[]>()

const witness = defineMachine({
  name: 'witness',
  machine: setup({
    types: {
      input: {} as { id: string },
      context: {} as { id: string; life: number; count: number },
      events: {} as Sent | { type: 'finish' } | { type: 'break' },
      output: {} as { count: number },
    },
    actions: {
      note: ({ context, event }) => {
        if ('n' in event) witnesses.get(context.id)![context.life - 1]!.handled.push(event)
      },
      count: assign({ count: ({ context }) => context.count + 1 }),
    },
  }).createMachine({
    context: ({ input: { id } }) => {
      const lives = witnesses.get(id)!
      lives.push({ handled: [], ended: false })
      return { id, life: lives.length, count: 0 }
    },
    initial: 'on',
    output: ({ context: { count } }) => ({ count }),
    states: {
      on: {
        on: {
          take: { actions: ['note', 'count'] },
          ask: { actions: ['note', 'count', reply(({ event }) => event.n)] },
          // Nobody is ever answered.
          hold: { actions: ['note', 'count'] },
          finish: 'off',
          break: {
            actions: () => {
              throw new Error('broken as told')
            },
          },
        },
      },
      off: { type: 'final' },
    },
  }),
  events: { take: true, ask: true, hold: true, finish: true, break: true },
})

// ── the world ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** An actor that was spawned. */
interface Actor {
  readonly id: string
  readonly path: string
  readonly job: string
  readonly session: HostSession
  /** It is started again when it fails. */
  readonly again: boolean
  /** Which of its lives is the present one. */
  life: number
  /** How it ended, or that its peer was killed under it. */
  over: 'done' | 'error' | 'stopped' | 'lost' | undefined
  suspended: boolean
}

/** One thing that was sent, and what its sender was told of it. */
interface Deed {
  readonly kind: 'send' | 'tell' | 'ask' | 'hold'
  readonly held: Held
  readonly actor: Actor
  readonly event: Sent
  /** pending; taken, or answered; or why not. */
  told: string
  settled: Promise<void> | undefined
}

interface Held {
  readonly ref: Ref<typeof witness>
  readonly client: Client
  readonly actor: Actor
  readonly life: number
  /** Its client could not see others' actors for a while since it was made. */
  revoked: boolean
  let: boolean
}

/** A monitor, and what it has told. */
interface Watching {
  readonly monitor: Monitor
  readonly client: Client
  readonly actor: Actor
  readonly life: number
  readonly told: Down[]
}

/** A program: of the same name there may be one after the other. */
interface Client {
  readonly name: Name
  readonly process: string
  readonly peer: Peer
  readonly last: Map<string, number>
  dead: boolean
}

interface Kind {
  readonly seed: number
  /** At most, in ms. */
  readonly latency: number
  readonly lostAfter: number
  readonly names: readonly Name[]
}

class World {
  readonly network: MemoryNetwork
  readonly faults: Readonly<Record<Name, Faults>> = { here: new Faults(), third: new Faults() }
  readonly actors: Actor[] = []
  readonly refs: Held[] = []
  readonly deeds: Deed[] = []
  readonly monitors: Watching[] = []
  readonly clients = new Map<Name, Client>()
  readonly cut = new Set<Name>()
  granted = true
  #world!: ActorWorld
  #session: HostSession | undefined
  #processes = 0
  readonly #over: Promise<unknown>[] = []
  readonly #names: readonly Name[]

  constructor({ seed, latency, names }: Kind) {
    this.network = createMemoryNetwork({ seed, latency: [0, latency] })
    this.#names = names
  }

  static async open(kind: Kind): Promise<World> {
    const world = new World(kind)
    world.#world = await ActorWorld.open({
      machines: [witness],
      network: world.network,
      peers: { here: ['connect', 'spawn:witness'], third: OTHERS },
      far: CLOCKS,
      others: { ...CLOCKS, lostAfter: kind.lostAfter },
      over: (transport, name) => world.faults[name as Name].over(transport),
    })
    for (const name of kind.names) await world.begin(name)
    await world.spawn(false)
    return world
  }

  /** A program of that name begins; the one before it is gone. */
  async begin(name: Name): Promise<void> {
    const before = this.clients.get(name)
    if (before) {
      before.dead = true
      this.network.kill(name)
      this.#over.push(before.peer.close())
    }
    const there = name === 'here' && !before ? this.#world.here : await this.#world.add(name)
    const process = `${name}#${++this.#processes}`
    this.clients.set(name, { name, process, peer: there, last: new Map(), dead: false })
  }

  /** Owned by here: its own session, which stays when far is restarted only in that there is another one. */
  async spawn(again: boolean): Promise<void> {
    const { host } = this.#world
    if (!this.#session) {
      const owner = { kind: 'peer', peer: 'here', owner: 'here', may: () => true } as const
      const link = { client: 'the test' } as never
      const options = { openId: crypto.randomUUID() }
      const opened = await host.peerEvent(owner, link, { type: 'session.open', options }, AbortSignal.timeout(10_000))
      this.#session = host.hosted((opened as { instanceId: string }).instanceId)!
    }
    const session = this.#session
    const id = crypto.randomUUID()
    witnesses.set(id, [])
    const spec = await machineSpec('witness', { input: { id } })
    const rule = again ? { restart: { times: 100, within: 60_000 } } : {}
    const job = (await session.request({ type: 'start', spec: { ...spec, ...rule } })) as JobSnapshot
    await until('that it has begun', () => witnesses.get(id)!.length === 1)
    const path = `${session.instanceId}/${job.instanceId}`
    const actor: Actor = { id, path, job: job.instanceId, session, again, life: 1, over: undefined, suspended: false }
    this.actors.push(actor)
    for (const client of this.clients.values()) await this.hold(client, actor)
  }

  async hold(client: Client, actor: Actor): Promise<Held> {
    const life = actor.life
    const address: ActorAddress = { peer: 'far', path: actor.path, epoch: life }
    const ref = await client.peer.ref<typeof witness>(address, {
      onRefused: (error, event) => {
        const { from, n } = event as Sent
        const deed = this.deeds.find((one) => one.actor === actor && one.event.from === from && one.event.n === n)
        if (deed?.kind === 'send') deed.told = codeOf(error) ?? error.message
      },
    })
    const held: Held = { ref, client, actor, life, revoked: client.name === 'third' && !this.granted, let: false }
    this.refs.push(held)
    return held
  }

  monitor(client: Client, actor: Actor, life: number): void {
    const address: ActorAddress = { peer: 'far', path: actor.path, epoch: life }
    const monitor = client.peer.monitor(address)
    const watching: Watching = { monitor, client, actor, life, told: [] }
    this.monitors.push(watching)
    const read = async (): Promise<void> => {
      for await (const down of monitor) watching.told.push(down)
    }
    this.#over.push(read())
  }

  /** Refs that can be used. */
  get held(): Held[] {
    return this.refs.filter((one) => !one.let && !one.client.dead)
  }

  do(held: Held, kind: Deed['kind']): void {
    const { ref, client, actor, life } = held
    const n = (client.last.get(actor.id) ?? 0) + 1
    client.last.set(actor.id, n)
    const type = kind === 'ask' || kind === 'hold' ? kind : 'take'
    const event: Sent = { type, from: client.process, n, life }
    const deed: Deed = { kind, held, actor, event, told: 'pending', settled: undefined }
    this.deeds.push(deed)
    const refused = (error: unknown): void => void (deed.told = codeOf(error) ?? String(error))
    if (kind === 'send') {
      try {
        ref.send(event)
        deed.told = 'sent'
      } catch (error) {
        refused(error)
      }
      return
    }
    const done =
      kind === 'tell'
        ? ref.tell(event).then(() => void (deed.told = 'taken'), refused)
        : ref.ask<number>(event, { timeout: kind === 'hold' ? 300 : 20_000 }).then((answer) => {
            deed.told = answer.outcome
            if (answer.outcome === 'ok' && answer.value !== n) deed.told = `answered ${String(answer.value)}`
          }, refused)
    deed.settled = done
  }

  async end(actor: Actor, how: 'done' | 'error' | 'stopped'): Promise<void> {
    const { session, job, life, again } = actor
    if (how === 'stopped') await session.request({ type: 'actor.stop', epoch: life }, job)
    else {
      if (actor.suspended) await this.suspend(actor, false)
      const event = encode({ type: how === 'done' ? 'finish' : 'break' })
      // Nobody answers that: it has ended.
      await session.request({ type: 'actor.ask', epoch: life, event, timeout: 5_000 }, job).catch(() => undefined)
    }
    witnesses.get(actor.id)![life - 1]!.ended = true
    if (how !== 'error' || !again) return void (actor.over = how)
    await until('its next life', () => witnesses.get(actor.id)!.length > life)
    actor.life++
  }

  async suspend(actor: Actor, still: boolean): Promise<void> {
    await actor.session.request({ type: still ? 'suspend' : 'resume' }, actor.job)
    actor.suspended = still
  }

  /** far is killed, and begins anew with nothing of what it had. */
  async restart(): Promise<void> {
    this.network.kill('far')
    this.#over.push(this.#world.far.close())
    for (const actor of this.actors) actor.over ??= 'lost'
    this.#session = undefined
    this.granted = true
    await this.#world.restart()
  }

  async grant(granted: boolean): Promise<void> {
    this.granted = granted
    if (!granted) for (const one of this.refs) if (one.client.name === 'third') one.revoked = true
    await this.#world.far.allow('third', granted ? [...OTHERS] : ['connect'])
  }

  heal(name: Name): void {
    this.network.heal(name, 'far')
    this.cut.delete(name)
  }

  // ── when all is well again ────────────────────────────────────────────────────────────────────────────────────────

  async settle(): Promise<void> {
    this.network.thaw('far')
    for (const name of this.#names) {
      this.heal(name)
      this.faults[name].lose('')
    }
    for (const actor of this.actors) if (actor.suspended && !actor.over) await this.suspend(actor, false)
    for (const deed of this.deeds) {
      const what = `${deed.kind} ${deed.event.n} of ${deed.event.from}`
      if (deed.settled && !this.#isDead(deed)) await within(what, deed.settled, 25_000)
    }
    for (const client of this.clients.values()) {
      await until('that all is sent', () => routesOf(client.peer).outboxes.waiting === 0)
    }
    for (const actor of this.actors) {
      if (actor.over) continue
      await until('that all is handled', async () => (await this.#seen(actor)).inbox === 0)
    }
    for (const held of this.held) await this.#truth(held)
    for (const watching of this.monitors) await this.#toldOnce(watching)
    this.#judge()
  }

  #seen({ session, job }: Actor): Promise<ActorInspection> {
    return session.request({ type: 'actor.inspect' }, job) as Promise<ActorInspection>
  }

  #isDead({ event }: Deed): boolean {
    return ![...this.clients.values()].some(({ process }) => process === event.from)
  }

  /** Each ref shows what is true. */
  async #truth({ ref, client, actor, life, revoked }: Held): Promise<void> {
    const there = !actor.over && actor.life === life
    const who = `${client.process}, life ${life}`
    // Whoever was refused once is not asked again; who was away meanwhile may not have heard of it.
    if (there && revoked) {
      if (!this.granted) await until(`${who}: that it is gone`, () => ref.state === 'gone')
      if (ref.state === 'gone') {
        expect(codeOf(ref.reason)).toBe('DENIED')
        return
      }
    }
    if (!there) {
      await until(`${who}: that it is gone`, () => ref.state === 'gone')
      const { status, output } = ref.getSnapshot()
      const may = actor.life > life ? ['gone', 'error'] : [actor.over, 'gone']
      expect([who, may]).toEqual([who, expect.arrayContaining([status])])
      if (status === 'done') expect(output).toEqual({ count: this.#handled(actor, life).length })
      return
    }
    await until(`${who}: that it shows what it has handled, live`, () => {
      const { context } = ref.getSnapshot()
      return ref.state === 'live' && context?.count === this.#handled(actor, life).length && context.life === life
    })
    expect(ref.reason).toBeUndefined()
  }

  /** One that has ended, or may not be seen, is told of; one that is there not, but that it could not be reached. */
  async #toldOnce({ client, actor, life, told, monitor }: Watching): Promise<void> {
    if (client.dead) return
    const there = !actor.over && actor.life === life
    const sees = client.name === 'here' || this.granted
    const who = `a monitor of ${client.process}, of life ${life}`
    if (!there || !sees) await within(who, monitor.down)
    const may = there ? ['unreachable', 'gone'] : DOWNS[actor.life > life ? 'error' : actor.over!]
    for (const { reason } of told) expect([who, may]).toEqual([who, expect.arrayContaining([reason])])
    if (there && client.name === 'here') expect(told.filter(({ reason }) => reason === 'gone')).toEqual([])
    if (told[0]?.reason === 'exit') expect(told[0].output).toEqual({ count: this.#handled(actor, life).length })
    expect(told.length).toBeLessThanOrEqual(1)
  }

  #handled(actor: Actor, life: number): readonly Sent[] {
    return witnesses.get(actor.id)![life - 1]!.handled
  }

  #judge(): void {
    for (const actor of this.actors) {
      for (const [index, { handled }] of witnesses.get(actor.id)!.entries()) {
        const last = new Map<string, number>()
        for (const { from, n, life } of handled) {
          expect(`${n} of ${from} is handled by life ${index + 1}`).toBe(`${n} of ${from} is handled by life ${life}`)
          // In order, and none twice.
          expect(n).toBeGreaterThan(last.get(from) ?? 0)
          last.set(from, n)
        }
      }
    }
    for (const deed of this.deeds) this.#judgeDeed(deed)
  }

  #judgeDeed(deed: Deed): void {
    const { kind, actor, event, told } = deed
    const what = `${kind} ${event.n} of ${event.from} to life ${event.life}, ${actor.over ?? 'at work'}: ${told}`
    const lives = actor.life === event.life && !actor.over
    const handled = this.#handled(actor, event.life).some(({ from, n }) => from === event.from && n === event.n)
    const say = (claim: boolean, why: string): void => {
      if (!claim) throw new Error(`${what}, and it was ${handled ? '' : 'not '}handled: ${why}`)
    }
    if (told === 'pending') return say(this.#isDead(deed), 'it hangs')
    if (kind === 'ask' || kind === 'hold') {
      if (told === 'ok') say(handled && kind === 'ask', 'ok only where it was handled')
      else if (told === 'error') say(!handled, 'an error only where it was not handled')
      else say(told === 'unknown', 'an outcome is ok, error or unknown')
    } else if (told === 'taken' || told === 'sent') {
      if (lives && told === 'taken') say(handled, 'lost, though it was taken')
      // A program ends with what it had yet to send; who has let go of its ref is not told what was refused.
      if (lives && !this.#isDead(deed) && !deed.held.let) say(handled, 'lost')
    } else say(MAY_BE_TOLD.has(told) || this.#isDead(deed), 'there is no such reason')
  }

  async close(): Promise<void> {
    this.network.thaw('far')
    for (const name of this.#names) this.heal(name)
    for (const { ref, client } of this.refs) if (!client.dead) ref[Symbol.dispose]()
    for (const { monitor } of this.monitors) monitor[Symbol.dispose]()
    const alive = this.actors.filter(({ over }) => !over)
    // Nothing of them is left at either end.
    for (const actor of alive) await until('that nobody watches', async () => (await this.#seen(actor)).watchers === 0)
    for (const { peer } of this.clients.values()) expect(routesOf(peer).outboxes.size).toBe(0)
    await this.#world[Symbol.asyncDispose]()
    await Promise.all([...this.clients.values()].map(({ peer }) => peer.close()))
    await Promise.all(this.#over)
    for (const { id } of this.actors) witnesses.delete(id)
  }
}

/**
 * What may be said of one that has ended so. Unreachable: before that. Gone: it was over when it was to be monitored, or its peer
 * knows of no such session any more, which it says to nobody who may not look.
 */
const DOWNS: Readonly<Record<NonNullable<Actor['over']>, readonly Down['reason'][]>> = {
  done: ['exit', 'unreachable', 'gone', 'peer lost'],
  error: ['error', 'unreachable', 'gone', 'peer lost'],
  stopped: ['stopped', 'unreachable', 'gone', 'peer lost'],
  lost: ['peer lost', 'unreachable', 'gone'],
}

const MAY_BE_TOLD: ReadonlySet<string> = new Set([
  'ACTOR_GONE',
  'SESSION_NOT_FOUND',
  'JOB_NOT_FOUND',
  'DENIED',
  'PEER_LOST',
  'PEER_UNREACHABLE',
])

// ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** One thing that happens to the world, whatever its state. */
class Step implements fc.AsyncCommand<object, World> {
  readonly #name: string
  readonly #act: (world: World) => unknown

  constructor(name: string, act: (world: World) => unknown) {
    this.#name = name
    this.#act = act
  }

  check(): boolean {
    return true
  }

  async run(_: object, world: World): Promise<void> {
    await this.#act(world)
  }

  toString(): string {
    return this.#name
  }
}

const pick = <T>(all: readonly T[], index: number): T | undefined => all[index % all.length]
const index = fc.nat(50)
const working = (world: World): Actor[] => world.actors.filter(({ over }) => !over)
const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const act = (what: string, does: (world: World, n: number) => unknown): fc.Arbitrary<Step> =>
  index.map((n) => new Step(`${what} (${n})`, (world) => does(world, n)))
const send = (kind: Deed['kind'], most: number): fc.Arbitrary<Step> =>
  fc.tuple(index, fc.integer({ min: 1, max: most })).map(
    ([n, times]) =>
      new Step(`${kind} ${times} (${n})`, (world) => {
        const held = pick(world.held, n)
        for (let time = 0; held && time < times; time++) world.do(held, kind)
      }),
  )
const toActor = (what: string, does: (world: World, actor: Actor) => unknown): fc.Arbitrary<Step> =>
  act(what, (world, n) => {
    const actor = pick(working(world), n)
    return actor && does(world, actor)
  })

function steps(names: readonly Name[]): fc.Arbitrary<Step>[] {
  const name = fc.constantFrom(...names)
  const client = (what: string, does: (world: World, who: Name) => unknown): fc.Arbitrary<Step> =>
    name.map((who) => new Step(`${what}: ${who}`, (world) => does(world, who)))
  const sending = [send('send', 40), send('tell', 4), send('ask', 3), send('send', 3), send('tell', 1), send('hold', 1)]
  const faults = fc
    .tuple(name, fc.constantFrom('actor.tell', 'actor.ask'), fc.constantFrom<Loss>('request', 'reply'))
    .map(
      ([who, type, loss]) =>
        new Step(`${who} loses the next ${loss} of ${type}`, ({ faults: all }) => all[who].lose(type, loss)),
    )
  const doubled = fc
    .tuple(name, fc.constantFrom('actor.tell', 'actor.ask'))
    .map(
      ([who, type]) => new Step(`the next ${type} of ${who} comes twice`, ({ faults: all }) => all[who].double(type)),
    )
  const line = [
    client('its link is lost', ({ network }, who) => network.lose(who, 'far')),
    client('it is cut off', ({ network, cut }, who) => (network.cut(who, 'far'), cut.add(who))),
    client('it is healed', (world, who) => world.heal(who)),
    faults,
    doubled,
    act('far stands still', ({ network }) => network.freeze('far')),
    act('far goes on', ({ network }) => network.thaw('far')),
    fc.integer({ min: 1, max: 60 }).map((ms) => new Step(`${ms} ms go by`, () => pass(ms))),
    fc.constant(new Step('long enough to be suspected', () => pass(400))),
  ]
  const ends = [
    toActor('it is stopped', (world, actor) => world.end(actor, 'stopped')),
    toActor('it has done its work', (world, actor) => world.end(actor, 'done')),
    toActor('it fails', (world, actor) => world.end(actor, 'error')),
    toActor('it fails', (world, actor) => world.end(actor, 'error')),
    act('another one', (world) => world.spawn(false)),
    act('another one, which is started again', (world) => world.spawn(true)),
    act('another one, which is started again', (world) => world.spawn(true)),
  ]
  const refs = [
    act('one more ref', (world, n) => {
      const actor = pick(world.actors, n)
      const holder = pick([...world.clients.values()], n)
      return actor && holder && world.hold(holder, actor)
    }),
    act('one ref is let go of', (world, n) => {
      const held = pick(world.held, n)
      if (!held) return
      held.let = true
      held.ref[Symbol.dispose]()
    }),
    act('one more monitor', (world, n) => {
      const actor = pick(world.actors, n)
      const holder = pick([...world.clients.values()], n)
      if (actor && holder) world.monitor(holder, actor, actor.life)
    }),
    toActor('it stands still', (world, actor) => world.suspend(actor, true)),
    toActor('it goes on', (world, actor) => actor.suspended && world.suspend(actor, false)),
  ]
  const rare = [
    ...ends,
    client('its program is killed, and begins again', (world, who) => world.begin(who)),
    act('far is killed, and begins again', (world) => world.restart()),
    ...(names.includes('third')
      ? [act('third may not', (world) => world.grant(false)), act('third may', (world) => world.grant(true))]
      : []),
  ]
  return [
    ...sending,
    ...sending,
    ...sending,
    ...line,
    ...line,
    ...refs,
    fc.oneof(...ends),
    fc.oneof(...ends),
    fc.oneof(...rare),
  ]
}

const kind = (names: readonly Name[]): fc.Arbitrary<Kind> =>
  fc.record({
    seed: fc.nat(2 ** 31),
    latency: fc.constantFrom(0, 3, 20),
    lostAfter: fc.constantFrom(60_000, 60_000, 300),
    names: fc.constant(names),
  })

describe.each<[string, Name[]]>([
  ['two peers', ['here']],
  ['three peers', ['here', 'third']],
])('refs and their model, over %s', (_, names) => {
  afterEach(() => witnesses.clear())

  test('what is handled, told and shown is true in the end', { timeout: 240_000 }, async () => {
    // oxlint-disable-next-line no-console -- a failure names its own seed, and a hang does not
    console.log(`ref-model: ERRAND_TEST_SEED=${SEED}`)
    const property = fc.asyncProperty(
      kind(names),
      fc.commands(steps(names), { maxCommands: 60, size: 'max' }),
      async (how, commands) => {
        const world = await World.open(how)
        try {
          await fc.asyncModelRun(() => ({ model: {}, real: world }), commands)
          await world.settle()
        } finally {
          await world.close()
        }
      },
    )
    const side = async (n: number): Promise<void> =>
      fc.assert(property, { seed: SEED + n, numRuns: RUNS, interruptAfterTimeLimit: 200_000 })
    await Promise.all(Array.from({ length: SIDE_BY_SIDE }, (__, n) => side(n)))
  })
})
