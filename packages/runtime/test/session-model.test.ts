// Sessions against plain models: the one that hosts it, as each of two clients sees it; and the one that holds it, over a
// network that comes and goes. Time is the test's. What fails prints the seed and the path to it.
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { PeerUnreachableError, PeerLostError, SessionNotFoundError, SessionStateError } from '../src/errors.ts'
import type { Link } from '../src/link.ts'
import { RemoteSession } from '../src/remote-session.ts'
import type { LostRun } from '../src/sent-calls.ts'
import { HostSession, type SessionHome } from '../src/session.ts'
import { memoryStore } from '../src/store/memory.ts'
import type { SessionSnapshot, SessionState } from '../src/surface.ts'
import { Outcomes, ScriptedEngine, settled } from './support/scripted-engine.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** One thing that happens to both, after which they agree. */
class Step<Model extends object, Real> implements fc.AsyncCommand<Model, Real> {
  readonly #name: string
  readonly #act: (model: Model, real: Real) => void | Promise<void>
  readonly #agree: (model: Model, real: Real) => void

  constructor(
    name: string,
    act: (model: Model, real: Real) => void | Promise<void>,
    agree: (model: Model, real: Real) => void,
  ) {
    this.#name = name
    this.#act = act
    this.#agree = agree
  }

  check(): boolean {
    return true
  }

  async run(model: Model, real: Real): Promise<void> {
    await this.#act(model, real)
    await settled()
    this.#agree(model, real)
  }

  toString(): string {
    return this.#name
  }
}

describe('a session and its model, where it is', () => {
  const IDLE = 60_000
  const clients = ['a', 'b'] as const

  interface Model {
    attached: string | undefined
    /** Milliseconds that are left of the lease. */
    lease: number | undefined
    over: boolean
    outcomes: string[]
  }
  interface Real {
    session: HostSession
    outcomes: Outcomes
    closed: number
  }

  function agree(model: Model, { session, outcomes, closed }: Real): void {
    const { attached, over } = model
    for (const client of clients) {
      const mine = attached === client
      expect([client, session.snapshotFor(client)]).toEqual([
        client,
        expect.objectContaining({
          state: over ? 'Closed' : mine ? 'Opened' : 'Disconnected',
          availability: over ? 'None' : mine ? 'Available' : attached === undefined ? 'None' : 'Busy',
          expiresAt: model.lease === undefined ? undefined : new Date(Date.now() + model.lease),
        }),
      ])
    }
    expect(outcomes.all).toEqual(model.outcomes)
    expect([closed, vi.getTimerCount()]).toEqual([over ? 1 : 0, model.lease === undefined ? 0 : 1])
  }

  const step = (name: string, act: (model: Model, real: Real) => void): Step<Model, Real> => new Step(name, act, agree)
  const end = (model: Model): void => {
    model.over = true
    model.lease = undefined
  }
  const attach = (client: string, force: boolean): Step<Model, Real> =>
    step(`${client} attaches${force ? ' by force' : ''}`, (model, { session, outcomes }) => {
      outcomes.follow(() => session.attach(client, force))
      if (model.over) return void model.outcomes.push('SESSION_CLOSED')
      if (model.attached !== undefined && model.attached !== client && !force)
        return void model.outcomes.push('SESSION_STATE')
      model.outcomes.push('ok')
      model.attached = client
      model.lease = undefined
    })
  const detach = (client: string): Step<Model, Real> =>
    step(`${client} leaves`, (model, { session }) => {
      session.detach(client)
      if (model.attached !== client) return
      model.attached = undefined
      if (!model.over) model.lease = IDLE
    })
  const elapse = step('half the lease goes by', (model) => {
    vi.advanceTimersByTime(IDLE / 2)
    if (model.lease === undefined) return
    model.lease -= IDLE / 2
    if (model.lease === 0) end(model)
  })
  const close = step('it is closed', (model, { session, outcomes }) => {
    outcomes.follow(() => session.close(0))
    model.outcomes.push('ok')
    end(model)
  })
  const ask = step('it is asked', (model, { session, outcomes }) => {
    outcomes.follow(() => session.request({ type: 'jobs', filter: {} }))
    model.outcomes.push(model.over ? 'SESSION_CLOSED' : 'ok')
  })

  test('agree after every step, whoever comes and goes', async () => {
    const client = fc.constantFrom(...clients)
    const steps = [
      fc.tuple(client, fc.boolean()).map(([who, force]) => attach(who, force)),
      client.map(detach),
      client.map(detach),
      fc.constantFrom(elapse, ask),
      fc.constantFrom(elapse, ask, close),
    ]
    const property = fc.asyncProperty(fc.commands(steps, { maxCommands: 30, size: 'max' }), async (commands) => {
      const store = memoryStore()
      const engine = new ScriptedEngine()
      const real = { outcomes: new Outcomes(), closed: 0 }
      const home: SessionHome = {
        id: 'b',
        name: 'b',
        store,
        stopGrace: 0,
        temporaryLease: IDLE,
        idleTimeout: IDLE,
        engines: () => ({ runspace: engine, thread: engine, process: engine, machine: engine }),
        target: () => expect.fail('nobody goes on from here'),
        sessionRef: () => expect.fail('nobody asks for another'),
        sessionClosed: () => void real.closed++,
      }
      const session = new HostSession(home, 1, 'persistent', 'owner')
      session.attach('a')
      const model: Model = { attached: 'a', lease: undefined, over: false, outcomes: [] }
      await fc.asyncModelRun(() => ({ model, real: Object.assign(real, { session }) }), commands)
      await session.close(0)
      expect(vi.getTimerCount()).toBe(0)
    })
    await fc.assert(property, { numRuns: 100 })
  })
})

describe('a session and its model, as its holder sees it', () => {
  const LOST_AFTER = 240_000
  /** Longer than the longest pause between two attempts. */
  const WHILE = 60_000
  /** `taken`: it is there, and another client has it. */
  type World = 'there' | 'unreachable' | 'gone' | 'taken'

  const FAR: SessionSnapshot = Object.freeze({
    id: 1,
    instanceId: '11111111-1111-4111-8111-111111111111',
    name: 'Runspace1',
    location: 'b',
    peerId: 'b',
    transport: 'local',
    configurationName: 'errand',
    computerType: 'RemoteMachine',
    state: 'Opened',
    availability: 'Available',
    buffering: 'block',
    idleTimeout: 7_200_000,
    jobs: 0,
    epoch: 1,
  })

  /** As much of a link as a session needs. */
  class ScriptedLink {
    readonly closed: Promise<Error | undefined>
    readonly #world: () => World
    readonly #ended = Promise.withResolvers<Error | undefined>()
    open = true
    tell: ((snapshot: SessionSnapshot) => void) | undefined

    constructor(world: () => World) {
      this.#world = world
      this.closed = this.#ended.promise
    }

    lose(): void {
      this.open = false
      this.#ended.resolve(new Error('the line is cut'))
    }

    async ask(_: unknown, event: { type: string; force?: boolean }): Promise<unknown> {
      if (!this.open) throw new PeerLostError('the link is gone')
      if (this.#world() === 'gone') throw new SessionNotFoundError(FAR.name, 'b')
      if (this.#world() === 'taken' && !event.force && event.type !== 'disconnect')
        throw new SessionStateError('another client has it')
      return event.type === 'close' ? { ...FAR, state: 'Closed' } : FAR
    }

    watch(_: unknown, listener: (snapshot: SessionSnapshot) => void): () => void {
      this.tell = listener
      return () => {
        if (this.tell === listener) this.tell = undefined
      }
    }
  }

  class Real {
    readonly outcomes = new Outcomes()
    world: World = 'there'
    ended = 0
    readonly states: SessionState[] = []
    link: ScriptedLink
    readonly session: RemoteSession

    constructor() {
      this.link = new ScriptedLink(() => this.world)
      this.session = new RemoteSession(
        {
          link: async () => {
            if (!this.link.open) {
              if (this.world === 'unreachable') throw new PeerUnreachableError('b does not answer')
              this.link = new ScriptedLink(() => this.world)
            }
            return this.link as unknown as Link
          },
          takeUp: async () => undefined,
          leave: () => expect.fail('nothing was run'),
          took: () => expect.fail('nothing was run'),
          sessionRef: () => expect.fail('nobody asks for another'),
          ended: () => void this.ended++,
        },
        { id: 1, location: 'b', peerId: 'b', transport: 'memory', lostAfter: LOST_AFTER, temporary: false },
        this.link as unknown as Link,
        FAR,
      )
      this.session.onChange(() => this.states.push(this.session.state))
    }
  }

  class Model {
    world: World = 'there'
    linked = true
    state: SessionState = 'Opened'
    /** Milliseconds since the link was lost. */
    lost = 0
    outcomes: string[] = []
    /** Who waits for it to be connected. */
    connecting: number[] = []
    /** It is tried because of them alone. */
    commanded = false
    /** One of them takes it from whoever has it. */
    force = false

    get over(): boolean {
      return this.state === 'Closed' || this.state === 'Broken'
    }

    settle(state: SessionState, outcome: string): void {
      this.state = state
      this.force = false
      for (const index of this.connecting.splice(0)) this.outcomes[index] = outcome
    }

    /** Dials, where there is no link. */
    dial(): boolean {
      this.linked ||= this.world !== 'unreachable'
      return this.linked
    }

    /** One attempt to attach again. Its failure is the answer of who connects by command; a retry goes on all the same. */
    attempt(): void {
      if (!this.dial()) {
        this.settle(this.commanded ? 'Disconnected' : 'Connecting', 'PEER_UNREACHABLE')
      } else if (this.world === 'gone') this.settle('Broken', 'SESSION_NOT_FOUND')
      else if (this.world === 'taken' && !this.force) this.settle('Disconnected', 'SESSION_STATE')
      else this.settle('Opened', 'ok')
    }
  }

  function agree(model: Model, { session, outcomes, ended, states }: Real): void {
    expect([session.state, outcomes.all, ended]).toEqual([model.state, model.outcomes, model.over ? 1 : 0])
    expect(session.snapshot.availability).toBe(model.state === 'Opened' ? 'Available' : 'None')
    expect(states.filter((state) => state === 'Closed' || state === 'Broken').length > 0).toBe(model.over)
  }

  const step = (name: string, act: (model: Model, real: Real) => void | Promise<void>): Step<Model, Real> =>
    new Step(name, act, agree)
  const become = (world: World): Step<Model, Real> =>
    step(`it is ${world}`, (model, real) => {
      model.world = world
      real.world = world
    })
  const lose = step('the link is lost', (model, real) => {
    real.link.lose()
    const had = model.linked
    model.linked = false
    if (!had || model.state !== 'Opened') return
    model.state = 'Connecting'
    model.commanded = false
    model.lost = 0
    model.attempt()
  })
  const elapse = step('a while goes by', async (model) => {
    await vi.advanceTimersByTimeAsync(WHILE)
    if (model.state !== 'Connecting') return
    model.lost += WHILE
    model.attempt()
    if (model.state === 'Connecting' && model.lost >= LOST_AFTER) model.settle('Disconnected', 'PEER_UNREACHABLE')
  })
  const disconnect = step('it is left', (model, { session, outcomes }) => {
    outcomes.follow(() => session.request({ type: 'disconnect' }))
    if (model.over) return void model.outcomes.push(model.state === 'Closed' ? 'SESSION_CLOSED' : 'SESSION_NOT_FOUND')
    // Refused by a session that is not there any more: it stays as it was.
    if (model.state === 'Opened' && model.world === 'gone') return void model.outcomes.push('SESSION_NOT_FOUND')
    model.outcomes.push('ok')
    if (model.state !== 'Disconnected') model.settle('Disconnected', 'SESSION_STATE')
  })
  const taken = step('another client takes it', (model, real) => {
    if (model.world !== 'there') return
    model.world = 'taken'
    real.world = 'taken'
    real.link.tell?.({ ...FAR, state: 'Disconnected', availability: 'Busy' })
    if (model.state === 'Opened') model.settle('Disconnected', 'SESSION_STATE')
  })
  const connectBy = (force: boolean): Step<Model, Real> =>
    step(`it is connected${force ? ' by force' : ''}`, (model, { session, outcomes }) => {
      outcomes.follow(() => session.connect(undefined, { force }))
      if (model.over) return void model.outcomes.push(model.state === 'Closed' ? 'SESSION_CLOSED' : 'SESSION_NOT_FOUND')
      if (model.state === 'Opened') return void model.outcomes.push('ok')
      model.connecting.push(model.outcomes.push('pending') - 1)
      model.force ||= force
      // Also while it is being retried it is tried at once.
      if (model.state === 'Connecting') return model.attempt()
      model.state = 'Connecting'
      model.commanded = true
      model.lost = 0
      model.attempt()
    })
  const connect = connectBy(false)
  const close = step('it is closed', (model, { session, outcomes }) => {
    outcomes.follow(() => session.close())
    const reached = model.over || model.dial()
    const theirs = !model.over && model.world === 'taken'
    model.outcomes.push(!reached ? 'PEER_UNREACHABLE' : theirs ? 'SESSION_STATE' : 'ok')
    if (!model.over) model.settle('Closed', 'SESSION_STATE')
  })
  const closedThere = step('it is closed there', (model, real) => {
    real.link.tell?.({ ...FAR, state: 'Closed' })
    if (model.state === 'Opened') model.settle('Closed', 'SESSION_STATE')
  })

  test('of runs that nobody has read, the latest 64 are left behind when it is lost, and none that was never sent', async () => {
    let world: World = 'there'
    let link = new ScriptedLink(() => world)
    const left: LostRun[] = []
    const session: RemoteSession = new RemoteSession(
      {
        link: async () => {
          if (world === 'unreachable') throw new PeerUnreachableError('b does not answer')
          return (link = new ScriptedLink(() => world)) as unknown as Link
        },
        takeUp: async () => undefined,
        leave: (_, runs) => void left.push(...runs),
        took: () => expect.fail('nothing was taken'),
        sessionRef: () => expect.fail('nobody asks for another'),
        ended: () => undefined,
      },
      { id: 1, location: 'b', peerId: 'b', transport: 'memory', lostAfter: LOST_AFTER, temporary: false },
      link as unknown as Link,
      FAR,
    )
    const run = (n: number): Promise<unknown> =>
      session.request({ type: 'run', spec: { kind: 'code', source: '1', command: '1', startId: String(n) } })
    for (let n = 0; n < 66; n++) await run(n)
    await session.request({ type: 'acknowledge', reader: 'owner', seqs: [['65', 3]] })
    world = 'unreachable'
    link.lose()
    await settled()
    const outcomes = new Outcomes()
    outcomes.follow(() => run(66))
    await vi.advanceTimersByTimeAsync(LOST_AFTER)
    expect([session.state, outcomes.all]).toEqual(['Disconnected', ['PEER_LOST']])
    expect(left.map(({ id }) => id)).toEqual(Array.from({ length: 64 }, (_, n) => String(n + 2)))
    expect(left.map(({ taken }) => taken)).toEqual([...Array.from({ length: 63 }, () => 0), 3])
    await session.close().catch(() => undefined) // it cannot be told
    await vi.advanceTimersByTimeAsync(WHILE)
  })

  test('agree after every step, whatever becomes of the link', async () => {
    const steps = [
      fc.constantFrom<World>('there', 'unreachable', 'unreachable', 'gone').map(become),
      fc.constantFrom(lose, elapse),
      fc.constantFrom(lose, elapse),
      fc.constantFrom(disconnect, connect),
      fc.constantFrom(disconnect, connect, connect, connectBy(true), close, closedThere),
      fc.constantFrom(taken, become('there'), connectBy(true)),
    ]
    const property = fc.asyncProperty(fc.commands(steps, { maxCommands: 30, size: 'max' }), async (commands) => {
      const real = new Real()
      const model = new Model()
      await settled() // it has attached
      await fc.asyncModelRun(() => ({ model, real }), commands)
      await close.run(model, real)
      expect(real.outcomes.all).not.toContain('pending')
      // A pause between two attempts may still run out.
      await vi.advanceTimersByTimeAsync(WHILE)
      expect(vi.getTimerCount()).toBe(0)
    })
    await fc.assert(property, { numRuns: 100 })
  })
})
