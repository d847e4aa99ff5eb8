// A supervisor's host over ports that do what the test says, in an order that it chooses; time is the test's. What the machine
// decides is in supervisor-model.test.ts; here is who does it, when word of it comes late, twice, or not at all.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ActorAddress, ChildSpec, Down, Ref, SupervisorOptions, SupervisorSnapshot } from '../src/actor-surface.ts'
import { codeOf, DeniedError, PeerUnreachableError, UsageError } from '../src/errors.ts'
import { type Incarnation, supervise, type SupervisorHost, type SupervisorPorts } from '../src/supervisor.ts'
import { Outcomes, settled } from './support/scripted-engine.ts'

const BROKE = new Error('it broke')

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** A start that waits for the test, and what came of it. */
class Start {
  readonly id: string
  readonly place: string | undefined
  readonly signal: AbortSignal
  readonly address: ActorAddress
  readonly #onStop: () => void
  readonly #up = Promise.withResolvers<Incarnation>()
  readonly #down = Promise.withResolvers<Pick<Down, 'reason' | 'error'>>()
  /** Times that it was told to stop; once, where nothing is wrong. */
  stops = 0
  /** Of the stop. */
  late: AbortSignal | undefined
  /** What a stop leads to. */
  obeys = true
  settled = false

  constructor(id: string, place: string | undefined, signal: AbortSignal, number: number, onStop: () => void) {
    this.#onStop = onStop
    this.id = id
    this.place = place
    this.signal = signal
    this.address = { peer: place ?? 'here', path: `session/${number}`, epoch: 1 }
  }

  get promise(): Promise<Incarnation> {
    return this.#up.promise
  }

  up(): this {
    this.settled = true
    this.#up.resolve({
      address: this.address,
      down: this.#down.promise,
      stop: async (signal) => {
        this.stops++
        this.#onStop()
        this.late = signal
        if (this.obeys) return this.down('stopped')
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
      },
    })
    return this
  }

  fails(error: Error): void {
    this.settled = true
    this.#up.reject(error)
  }

  down(reason: Down['reason'], error?: Error): void {
    this.#down.resolve({ reason, error })
  }
}

/** Starts come up by themselves unless the test holds them. */
class Ports implements SupervisorPorts {
  readonly starts: Start[] = []
  /** Under what names, in order. */
  readonly names: string[] = []
  readonly closing = new AbortController()
  readonly over: AbortSignal = this.closing.signal
  held: (start: Start) => boolean = () => false
  onStop: (start: Start) => void = () => undefined
  /** Ends a start when it is wanted no more, as a peer does. */
  heeds = true

  start(child: ChildSpec<any>, name: string, place: string | undefined, signal: AbortSignal): Promise<Incarnation> {
    this.names.push(name)
    const start: Start = new Start(child.id, place, signal, this.starts.length, () => this.onStop(start))
    this.starts.push(start)
    if (this.heeds) signal.addEventListener('abort', () => start.fails(signal.reason as Error))
    if (!this.held(start)) start.up()
    return start.promise
  }

  async follow(name: string): Promise<Ref<any>> {
    return { address: { peer: 'here', path: '', epoch: 0, follow: { peer: 'here', name } } } as unknown as Ref<any>
  }

  /** The latest start of that child. */
  last(id: string): Start {
    const start = this.starts.findLast((one) => one.id === id)
    if (!start) throw new Error(`${id} was not started`)
    return start
  }

  get ids(): string[] {
    return this.starts.map(({ id }) => id)
  }
}

const spec = (id: string, more: Partial<ChildSpec<any>> = {}): ChildSpec<any> => ({
  id,
  machine: { name: 'worker', machine: undefined as never, events: {} },
  ...more,
})
const options = (more: Partial<SupervisorOptions> = {}): SupervisorOptions => ({
  name: 'crew',
  children: [spec('a'), spec('b'), spec('c')],
  ...more,
})
const states = (supervisor: SupervisorHost): string =>
  supervisor
    .getSnapshot()
    .children.map(({ state }) => state)
    .join(' ')
const valueOf = (supervisor: SupervisorHost): string => supervisor.getSnapshot().value

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms)
  await settled()
}

describe('starts and stops', () => {
  test('children are started in order, each when the one before it is up, and stopped from the last one on', async () => {
    const ports = new Ports()
    ports.held = () => true
    const supervisor = supervise(ports, options())
    const outcomes = new Outcomes()
    outcomes.follow(() => supervisor.ready())
    for (const id of ['a', 'b', 'c']) {
      await settled()
      expect([valueOf(supervisor), outcomes.all]).toEqual(['Starting', ['pending']])
      expect(ports.ids.at(-1)).toBe(id)
      ports.last(id).up()
    }
    await settled()
    expect([valueOf(supervisor), outcomes.all]).toEqual(['Running', ['ok']])
    expect(supervisor.getSnapshot().children.map(({ address }) => address?.path)).toEqual([
      'session/0',
      'session/1',
      'session/2',
    ])
    for (const start of ports.starts) start.obeys = false
    const stopped: string[] = []
    outcomes.follow(() => supervisor.stop())
    for (const id of ['c', 'b', 'a']) {
      await settled()
      stopped.push(
        ports.starts
          .filter(({ stops }) => stops > 0)
          .map((one) => one.id)
          .join(''),
      )
      expect(valueOf(supervisor)).toBe('Stopping')
      ports.last(id).down('stopped')
    }
    await settled()
    expect(stopped).toEqual(['c', 'bc', 'abc'])
    expect([valueOf(supervisor), outcomes.all]).toEqual(['Stopped', ['ok', 'ok']])
    expect(ports.starts.map(({ stops }) => stops)).toEqual([1, 1, 1])
    expect(await supervisor.finished).toBe(supervisor.getSnapshot())
  })

  test('stop while starting: the start is told, and what it was that came up all the same is stopped', async () => {
    const ports = new Ports()
    ports.held = ({ id }) => id === 'b'
    ports.heeds = false
    const supervisor = supervise(ports, options())
    await settled()
    expect(states(supervisor)).toBe('running starting waiting')
    const outcomes = new Outcomes()
    outcomes.follow(() => supervisor.ready())
    outcomes.follow(() => supervisor.stop())
    const b = ports.last('b')
    await settled()
    // Told, and waited for: a is not stopped before b is known to be down.
    expect([b.signal.aborted, states(supervisor), ports.last('a').stops]).toEqual([true, 'running stopping ended', 0])
    b.up()
    await settled()
    expect([b.stops, ports.last('a').stops, valueOf(supervisor)]).toEqual([1, 1, 'Stopped'])
    expect(ports.ids).toEqual(['a', 'b'])
    expect(outcomes.all).toEqual(['ACTOR_GONE', 'ok'])
  })

  test('a start that never settles is given up, another place is tried, and what comes up late is stopped', async () => {
    const ports = new Ports()
    ports.held = ({ place }) => place === 'server01'
    ports.heeds = false
    const children = [spec('a', { on: ['server01', 'server02'], startWithin: '1s' })]
    const supervisor = supervise(ports, options({ children }))
    await pass(999)
    expect(states(supervisor)).toBe('starting')
    await pass(1)
    expect([valueOf(supervisor), ports.starts.map(({ place }) => place)]).toEqual(['Running', ['server01', 'server02']])
    const [first, second] = ports.starts as [Start, Start]
    expect([first.signal.aborted, second.signal.aborted]).toEqual([true, false])
    first.up()
    await settled()
    expect([first.stops, second.stops]).toEqual([1, 0])
    // Neither its coming nor its end is news of the child.
    expect([valueOf(supervisor), supervisor.getSnapshot().children[0]!.address]).toEqual(['Running', second.address])
    await supervisor.stop()
  })

  test('a stop that never settles is given up; it is still tried to be stopped, for as long as it may be there', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, options({ children: [spec('a', { stopWithin: '3s' })] }))
    await settled()
    const a = ports.last('a')
    a.obeys = false
    const outcomes = new Outcomes()
    outcomes.follow(() => supervisor.stop())
    await pass(2_999)
    expect([valueOf(supervisor), outcomes.all]).toEqual(['Stopping', ['pending']])
    await pass(1)
    expect([valueOf(supervisor), outcomes.all, a.late?.aborted]).toEqual(['Stopped', ['ok'], false])
    await pass(116_999)
    expect(a.late?.aborted).toBe(false)
    await pass(1)
    expect([a.late?.aborted, codeOf(a.late?.reason), vi.getTimerCount()]).toEqual([true, 'TIMEOUT', 0])
  })

  test('dispose during a pause: nothing is started any more, and no timer is left', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, options({ children: [spec('a')], backOff: { delay: '10s' } }))
    await settled()
    ports.last('a').down('error', BROKE)
    await settled()
    expect(supervisor.getSnapshot()).toMatchObject({
      value: 'Restarting',
      children: [
        { state: 'waiting', due: new Date(Date.now() + 10_000), reason: 'error', error: BROKE, address: undefined },
      ],
    })
    await supervisor[Symbol.asyncDispose]()
    expect([valueOf(supervisor), vi.getTimerCount()]).toEqual(['Stopped', 0])
    await pass(60_000)
    expect(ports.ids).toEqual(['a'])
  })

  test('to stop twice, and after the end, is to stop; who gives up waiting does not keep it from that', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, options({ children: [spec('a')] }))
    await settled()
    ports.last('a').obeys = false
    const gone = new AbortController()
    const outcomes = new Outcomes()
    outcomes.follow(() => supervisor.stop({ signal: gone.signal }))
    outcomes.follow(() => supervisor.stop())
    gone.abort(new DeniedError('enough'))
    await settled()
    expect(outcomes.all).toEqual(['DENIED', 'pending'])
    ports.last('a').down('stopped')
    await settled()
    outcomes.follow(() => supervisor.stop())
    await settled()
    expect([outcomes.all, valueOf(supervisor), ports.last('a').stops]).toEqual([['DENIED', 'ok', 'ok'], 'Stopped', 1])
  })
})

describe('the peer that it runs on', () => {
  test('closes: nothing is started any more, and what is up is stopped in order', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, options({ children: [spec('a'), spec('b'), spec('c')] }))
    await settled()
    // What monitors hears of nothing any more: in the same turn, and behind it.
    ports.closing.abort()
    ports.last('a').down('gone')
    await settled()
    expect([valueOf(supervisor), ports.starts.map(({ stops }) => stops), vi.getTimerCount()]).toEqual([
      'Stopped',
      [1, 1, 1],
      0,
    ])
    const late = supervise(ports, options({ children: [spec('late')] }))
    await settled()
    expect(valueOf(late)).toBe('Stopped')
  })
})

describe('children that go down', () => {
  test('down while another is starting: both come up, each once', async () => {
    const ports = new Ports()
    ports.held = ({ id }) => id === 'b'
    const supervisor = supervise(ports, options({ children: [spec('a'), spec('b')] }))
    await settled()
    ports.last('a').down('error', BROKE)
    await pass(100)
    expect([states(supervisor), ports.ids]).toEqual(['running starting', ['a', 'b', 'a']])
    ports.last('b').up()
    await settled()
    expect([valueOf(supervisor), supervisor.getSnapshot().children.map(({ restarts }) => restarts)]).toEqual([
      'Running',
      [1, 0],
    ])
    await supervisor.stop()
  })

  test('two downs in one turn are two restarts of one for one, and one of all', async () => {
    for (const [strategy, times] of [
      ['one-for-one', 2],
      ['one-for-all', 1],
    ] as const) {
      const ports = new Ports()
      const supervisor = supervise(ports, options({ strategy, intensity: { times }, children: [spec('a'), spec('b')] }))
      await settled()
      const [a, b] = ports.starts as [Start, Start]
      a.down('error', BROKE)
      b.down('error', BROKE)
      await pass(100)
      expect([valueOf(supervisor), ports.ids]).toEqual(['Running', ['a', 'b', 'a', 'b']])
      expect([a.stops, b.stops]).toEqual([1, 1]) // what was made for them is cleared away
      await supervisor.stop()
    }
  })

  test('a notice that comes twice, or after another is up, is of the one that it is about', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, options({ children: [spec('a')] }))
    await settled()
    const first = ports.last('a')
    first.down('error', BROKE)
    await pass(100)
    first.down('unreachable')
    await settled()
    expect([valueOf(supervisor), ports.starts.length]).toEqual(['Running', 2])
    await supervisor.stop()
  })

  test('an unreachable one is replaced elsewhere, and stopped for as long as it may be there', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, options({ children: [spec('a', { on: ['server01', 'server02'] })] }))
    await settled()
    const first = ports.last('a')
    first.obeys = false
    first.down('unreachable', new PeerUnreachableError('server01 does not answer'))
    await pass(100)
    const second = ports.last('a')
    expect([valueOf(supervisor), second.place, first.stops, first.late?.aborted]).toEqual([
      'Running',
      'server02',
      1,
      false,
    ])
    expect(supervisor.getSnapshot().children[0]).toMatchObject({
      address: second.address,
      on: 'server02',
      restarts: 1,
      reason: 'unreachable',
    })
    await pass(119_900)
    expect(first.late?.aborted).toBe(true)
    await supervisor.stop()
  })

  test('where nobody is there to start it the pauses grow, and it is started when somebody is', async () => {
    const ports = new Ports()
    ports.held = () => true
    const children = [spec('a', { on: 'server01' })]
    const supervisor = supervise(ports, options({ children, intensity: { times: 0 }, backOff: { most: '1s' } }))
    const waits: number[] = []
    for (let n = 0; n < 6; n++) {
      await settled()
      ports.last('a').fails(new PeerUnreachableError('server01 does not answer'))
      await settled()
      const { due } = supervisor.getSnapshot().children[0]!
      waits.push(due!.getTime() - Date.now())
      await pass(waits.at(-1)!)
    }
    expect(waits).toEqual([100, 200, 400, 800, 1_000, 1_000])
    ports.last('a').up()
    await settled()
    expect(valueOf(supervisor)).toBe('Running')
    await supervisor.stop()
  })

  test('more failures than it may take end it: the last failure is why, and who waits hears of it', async () => {
    const ports = new Ports()
    ports.held = ({ id }) => id === 'b'
    const supervisor = supervise(
      ports,
      options({ children: [spec('a'), spec('b')], intensity: { times: 1, within: '10s' }, backOff: { delay: 0 } }),
    )
    const outcomes = new Outcomes()
    outcomes.follow(() => supervisor.ready())
    const denied = new DeniedError('no grant')
    await settled()
    ports.last('b').fails(denied)
    await pass(0)
    ports.last('b').fails(denied)
    await settled()
    const snapshot = await supervisor.finished
    expect(snapshot).toMatchObject({
      status: 'error',
      value: 'Failed',
      children: [{ state: 'ended' }, { state: 'ended' }],
    })
    expect(outcomes.all).toEqual(['RESTART_INTENSITY'])
    expect(snapshot.error).toMatchObject({
      name: 'SupervisorFailedError',
      cause: denied,
      message: "supervisor 'crew' gave up: more than 1 restart within 10000 ms were needed, the last of 'b'",
    })
    expect([ports.last('a').stops, vi.getTimerCount()]).toEqual([1, 0])
    await supervisor.stop()
    expect(valueOf(supervisor)).toBe('Failed')
  })

  test('of children that all have done their work it is done', async () => {
    const ports = new Ports()
    const children = [spec('a', { restart: 'transient' }), spec('b', { restart: 'temporary' })]
    const supervisor = supervise(ports, options({ children }))
    await settled()
    ports.last('b').down('error', BROKE)
    await settled()
    expect([valueOf(supervisor), states(supervisor)]).toEqual(['Running', 'running ended'])
    ports.last('a').down('exit')
    expect(await supervisor.finished).toMatchObject({ status: 'done', value: 'Done', error: undefined })
    expect(ports.starts.map(({ stops }) => stops)).toEqual([1, 1])
  })
})

describe('supervisors in supervisors', () => {
  const nested = (restart: 'permanent' | 'transient' = 'permanent'): SupervisorOptions =>
    options({
      strategy: 'rest-for-one',
      children: [
        spec('a'),
        { id: 'inner', restart, supervisor: { children: [spec('x'), spec('y')], intensity: { times: 1 } } },
        spec('c'),
      ],
    })

  test('an inner one is started and stopped in its turn, with its children in theirs', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, nested())
    await settled()
    expect([valueOf(supervisor), ports.ids]).toEqual(['Running', ['a', 'x', 'y', 'c']])
    expect(supervisor.getSnapshot().children[1]).toMatchObject({
      id: 'inner',
      state: 'running',
      supervisor: { name: 'crew/inner', value: 'Running', children: [{ id: 'x' }, { id: 'y' }] },
    })
    expect(ports.names).toEqual(['crew/a', 'crew/inner/x', 'crew/inner/y', 'crew/c'])
    expect((await supervisor.child('inner/y')).address.follow).toEqual({ peer: 'here', name: 'crew/inner/y' })
    for (const path of ['nobody', 'inner', 'inner/a', 'a/x', '', 'inner/']) {
      await expect(supervisor.child(path)).rejects.toThrow(UsageError)
    }
    const order: string[] = []
    ports.onStop = ({ id }) => order.push(id)
    await supervisor.stop()
    expect(order).toEqual(['c', 'y', 'x', 'a'])
  })

  test('what an inner one cannot mend is a failure of one child of the outer one', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, nested())
    await settled()
    ports.last('x').down('error', BROKE)
    await pass(100)
    expect(ports.ids.slice(4)).toEqual(['x'])
    ports.last('x').down('error', BROKE)
    await settled()
    // Its own children are down by then, and so is the one behind it.
    expect([ports.last('y').stops, ports.last('c').stops, ports.last('a').stops]).toEqual([1, 1, 0])
    expect(supervisor.getSnapshot().children[1]).toMatchObject({
      state: 'waiting',
      reason: 'error',
      error: { code: 'RESTART_INTENSITY', cause: BROKE },
    })
    await pass(100)
    expect([valueOf(supervisor), ports.ids.slice(5)]).toEqual(['Running', ['x', 'y', 'c']])
    await supervisor.stop()
  })

  test('one that fails again and again takes the outer one with it', async () => {
    const ports = new Ports()
    const children = [{ id: 'inner', supervisor: { children: [spec('x')], intensity: { times: 0 } } }]
    const supervisor = supervise(ports, options({ children, intensity: { times: 2 } }))
    for (let n = 0; n < 3; n++) {
      await pass(1_000)
      ports.last('x').down('error', BROKE)
    }
    expect((await supervisor.finished).error).toMatchObject({
      code: 'RESTART_INTENSITY',
      message: expect.stringContaining("'inner'"),
      cause: { code: 'RESTART_INTENSITY', message: expect.stringContaining("'crew/inner'"), cause: BROKE },
    })
    expect(ports.starts.length).toBe(3)
  })

  test('stopped while an inner one is starting, all that it has started is down first', async () => {
    const ports = new Ports()
    ports.held = ({ id }) => id === 'y'
    const supervisor = supervise(ports, nested())
    await settled()
    expect(states(supervisor)).toBe('running starting waiting')
    const x = ports.last('x')
    x.obeys = false
    const stopping = supervisor.stop()
    await settled()
    expect([ports.last('y').signal.aborted, x.stops, ports.last('a').stops]).toEqual([true, 1, 0])
    x.down('stopped')
    await stopping
    expect([ports.last('a').stops, valueOf(supervisor)]).toEqual([1, 'Stopped'])
  })

  test('an inner one that has done its work has done it', async () => {
    const ports = new Ports()
    const inner = { children: [spec('x', { restart: 'transient' })] }
    const supervisor = supervise(
      ports,
      options({ children: [{ id: 'inner', restart: 'transient', supervisor: inner }] }),
    )
    await settled()
    ports.last('x').down('exit')
    expect(await supervisor.finished).toMatchObject({ value: 'Done', children: [{ state: 'ended', reason: 'exit' }] })
  })
})

describe('who watches it', () => {
  test('is told of each change, once, and of its end', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, options({ children: [spec('a')] }))
    const seen: string[] = []
    const watched: SupervisorSnapshot[] = []
    const watching = (async () => {
      for await (const snapshot of supervisor.watch()) watched.push(snapshot)
    })()
    const show = ({ value, children }: SupervisorSnapshot): string => `${value} ${children[0]!.state}`
    const subscription = supervisor.subscribe(
      (snapshot) => seen.push(show(snapshot)),
      undefined,
      () => seen.push('complete'),
    )
    supervisor.subscribe(() => seen.push('never')).unsubscribe()
    await settled()
    ports.last('a').down('exit')
    await pass(100)
    await supervisor.stop()
    await watching
    expect(seen).toEqual([
      'Running running',
      'Restarting waiting',
      'Restarting starting',
      'Running running',
      'Stopping stopping',
      'Stopped ended',
      'complete',
    ])
    expect(watched.map(show).at(0)).toBe('Starting starting')
    expect(watched.map(show).at(-1)).toBe('Stopped ended')
    subscription.unsubscribe()
    const after: string[] = []
    supervisor.subscribe({ next: () => after.push('next'), complete: () => after.push('complete') })
    for await (const snapshot of supervisor.watch()) after.push(show(snapshot))
    expect(after).toEqual(['complete', 'Stopped ended'])
  })

  test('is told why it failed, as an error', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, options({ children: [spec('a')], intensity: { times: 0 } }))
    const errors: unknown[] = []
    supervisor.subscribe(
      () => undefined,
      (error) => errors.push(error),
      () => errors.push('complete'),
    )
    await settled()
    ports.last('a').down('error', BROKE)
    const { error } = await supervisor.finished
    supervisor.subscribe({ error: (late) => errors.push(late) })
    expect(errors).toEqual([error, error])
  })

  test('ends its watch by its signal, and leaves nothing behind', async () => {
    const ports = new Ports()
    const supervisor = supervise(ports, options({ children: [spec('a')] }))
    const gone = new AbortController()
    const seen: string[] = []
    const watching = (async () => {
      for await (const { value } of supervisor.watch({ signal: gone.signal })) seen.push(value)
    })()
    await settled()
    gone.abort()
    await watching
    expect(seen).toEqual(['Starting', 'Running'])
    await supervisor.stop()
  })
})

describe('what it is told to do', () => {
  const machine = spec('a')
  const deep = (depth: number): SupervisorOptions =>
    depth === 0 ? { children: [machine] } : { children: [{ id: 'in', supervisor: deep(depth - 1) }] }
  const bad: [string, Partial<SupervisorOptions>][] = [
    ['no children', { children: [] }],
    ['more than 1024 children', { children: Array.from({ length: 1025 }, (_, n) => spec(String(n))) }],
    ["two children 'a'", { children: [machine, machine] }],
    ["'crew/a/b' is no name for a child", { children: [spec('a/b')] }],
    ["'crew/' is no name for a child", { children: [spec('')] }],
    ['at most 128', { name: 'n'.repeat(127), children: [spec('a')] }],
    ['the strategy of', { strategy: 'all-for-one' as never }],
    ['the restart of', { children: [spec('a', { restart: 'always' as never })] }],
    ['the name of a peer', { children: [spec('a', { on: [] })] }],
    ['the name of a peer', { children: [spec('a', { on: '' })] }],
    ['more than 64 places', { children: [spec('a', { on: Array.from({ length: 65 }, (_, n) => `p${n}`) })] }],
    ['from 0 to 10000', { intensity: { times: 10_001 } }],
    ['from 0 to 10000', { intensity: { times: 0.5 } }],
    ['from 1 to 86400000', { intensity: { within: 0 } }],
    ['from 1 to 1000', { backOff: { factor: 0.5 } }],
    ['from 0 to 86400000', { backOff: { most: '25h' } }],
    ['from 1 to 86400000', { children: [spec('a', { startWithin: 0 })] }],
    ['is not a duration', { children: [spec('a', { stopWithin: 'soon' as never })] }],
    ['no deeper than 16', deep(16)],
    ["'' is no name", { name: '' }],
    ["'my crew' is no name", { name: 'my crew' }],
  ]
  test.each(bad)('%s', (message, more) => {
    const ports = new Ports()
    expect(() => supervise(ports, options(more))).toThrow(message)
    expect(() => supervise(ports, options(more))).toThrow(UsageError)
    expect(ports.starts).toEqual([])
  })

  test('as deep and as many as may be', async () => {
    const ports = new Ports()
    await using inner = supervise(ports, deep(15))
    await using wide = supervise(ports, { children: Array.from({ length: 1024 }, (_, n) => spec(String(n))) })
    await Promise.all([inner.ready(), wide.ready()])
    expect(ports.starts.length).toBe(1025)
    expect(ports.names).toContain(`supervisor/${'in/'.repeat(15)}a`)
  })
})
