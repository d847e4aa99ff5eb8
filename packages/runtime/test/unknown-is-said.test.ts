// G7: what cannot be reached is Disconnected, never Failed, until its lease has run out; the truth shows within 2 s after
// it is there again; and who gets no answer hears that the outcome is unknown.
import type { MemoryNetwork } from '@errand/transport/memory'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { codeOf, PeerUnreachableError } from '../src/errors.ts'
import type { Link } from '../src/link.ts'
import type { PeerHost } from '../src/peer.ts'
import { RemoteSession, type RemoteSessionHome } from '../src/remote-session.ts'
import { singleRecord } from '../src/record.ts'
import type { Job, JobState, Peer, SessionSnapshot } from '../src/index.ts'
import { outputs, refusal, until, within } from './support/peers.ts'
import type { ScriptedEngine } from './support/scripted-engine.ts'
import { loseFar, scriptedPair, type ScriptedPairOptions } from './support/scripted-pair.ts'

let network: MemoryNetwork
let engine: ScriptedEngine
let far: PeerHost
let here: Peer

async function start(options: ScriptedPairOptions = {}): Promise<void> {
  ;({ network, engine, far, here } = await scriptedPair(options))
}

afterEach(async () => {
  network.heal('here', 'far')
  await Promise.all([here.close(), far.close()])
})

/** The states that it shows, from now on, each once in a row. */
function statesOf(job: Job): JobState[] {
  const seen: JobState[] = []
  void (async () => {
    for await (const { state } of job.watch()) if (seen.at(-1) !== state) seen.push(state)
  })()
  return seen
}

describe('a peer that cannot be reached', () => {
  test('makes its jobs Disconnected, with the reason, and Failed only when their lease must have run out', async () => {
    await start({ far: { idleTimeout: 1500 } })
    const session = await here.connect('far', { lostAfter: 300 })
    const child = await here.start({ code: '1' }, { on: session })
    await until('it runs there', () => engine.executions.length === 1)
    const seen = statesOf(child)
    loseFar(network)
    await child.wait({ for: ['Disconnected'] })
    expect(codeOf(child.children[0]!.reason)).toBe('PEER_UNREACHABLE')
    await until('it is given up', () => session.state === 'Disconnected')
    const givenUp = performance.now()
    expect(child.state).toBe('Disconnected')
    expect(await within('its end', child.finished)).toMatchObject({ state: 'Failed' })
    // Not before the lease, counted from when we knew that nobody was attached.
    expect(performance.now() - givenUp).toBeGreaterThan(1400)
    expect(codeOf(child.children[0]!.reason)).toBe('PEER_LOST')
    expect(child.children[0]!.reason!.message).toContain('unknown')
    await until('it is told', () => seen.at(-1) === 'Failed')
    expect(seen.filter((state) => state !== 'NotStarted')).toEqual(['Running', 'Disconnected', 'Failed'])
  })

  test('that had not said yet that it has begun: the same, and once', async () => {
    await start()
    const session = await here.connect('far', { lostAfter: 300 })
    const begin = engine.start.bind(engine)
    engine.start = (...given) => {
      loseFar(network)
      return begin(...given)
    }
    const child = await here.start({ code: '1' }, { on: session })
    await until('it is given up', () => session.state === 'Disconnected')
    await child.wait({ for: ['Disconnected'] })
    engine.executions[0]!.io.chunk(singleRecord('output', 'meanwhile'))
    engine.executions[0]!.io.ended({ outcome: 'completed' })
    network.heal('here', 'far')
    await session.connect()
    expect(await within('its end', child.finished)).toMatchObject({ state: 'Completed' })
    expect(await outputs(child.receive())).toEqual(['meanwhile'])
    expect(engine.executions).toHaveLength(1)
  })

  test('whose job lives there: Disconnected, for as long as it takes, and then as it is', async () => {
    await start()
    const session = await here.connect('far', { lostAfter: 300 })
    const job = await session.start({ code: '1' })
    const seen = statesOf(job)
    loseFar(network)
    await until('it is given up', () => session.state === 'Disconnected')
    expect(job.state).toBe('Disconnected')
    engine.executions[0]!.io.chunk(singleRecord('output', 'meanwhile'))
    engine.executions[0]!.io.ended({ outcome: 'completed' })
    network.heal('here', 'far')
    await session.connect()
    expect(await within('its end', job.finished)).toMatchObject({ state: 'Completed' })
    expect(await outputs(job.receive())).toEqual(['meanwhile'])
    await until('it is told', () => seen.at(-1) === 'Completed')
    expect(seen).toEqual(['Running', 'Disconnected', 'Completed'])
  })

  test('on a temporary session: Disconnected while it is tried again, Failed PEER_LOST with what is known when not any more', async () => {
    await start()
    const job = await here.start({ code: '1' }, { on: 'far', lostAfter: 500 })
    await until('it runs there', () => engine.executions.length === 1)
    const seen = statesOf(job)
    loseFar(network)
    expect(await within('its end', job.finished)).toMatchObject({ state: 'Failed' })
    expect(codeOf(job.children[0]!.reason)).toBe('PEER_LOST')
    expect(job.children[0]!.reason!.message).toContain('unknown')
    await until('it is told', () => seen.at(-1) === 'Failed')
    expect(seen).toEqual(['Running', 'Disconnected', 'Failed'])
  })

  test('and is there again: what happened meanwhile shows within 2 s', async () => {
    await start()
    const session = await here.connect('far')
    const [ends, goesOn] = [await session.start({ code: '1' }), await session.start({ code: '2' })]
    loseFar(network)
    await Promise.all([ends, goesOn].map((job) => job.wait({ for: ['Disconnected'] })))
    engine.executions[0]!.io.ended({ outcome: 'completed' })
    await new Promise((resolve) => setTimeout(resolve, 700))
    network.heal('here', 'far')
    const healed = performance.now()
    await within('its end', ends.finished)
    await goesOn.wait({ for: ['Running'] })
    expect(performance.now() - healed).toBeLessThan(2000)
    expect([ends.state, goesOn.state]).toEqual(['Completed', 'Running'])
  })

  test('cannot be closed: that it was not told is said', async () => {
    await start()
    const session = await here.connect('far')
    await session.disconnect()
    loseFar(network)
    const error = await refusal('closing', () => session.close())
    expect(codeOf(error)).toBe('PEER_UNREACHABLE')
    expect(error.message).toContain('could not be told')
  })
})

describe('a lost link', () => {
  afterEach(() => vi.useRealTimers())
  beforeEach(() => start())

  test('is tried again at least every second for minutes, then every ten', async () => {
    vi.useFakeTimers()
    const tries: number[] = []
    const lost = Promise.withResolvers<Error | undefined>()
    const link = { open: true, closed: lost.promise, memory: 'm', watch: () => () => undefined } as unknown as Link
    const home: RemoteSessionHome = {
      link: () => {
        tries.push(performance.now())
        return Promise.reject(new PeerUnreachableError('not there'))
      },
      takeUp: async () => undefined,
      leave: () => undefined,
      took: () => undefined,
      sessionRef: () => session,
      ended: () => undefined,
    }
    const options = { id: 1, location: 'far', peerId: 'far', transport: 'memory', lostAfter: 600_000, temporary: false }
    const session = new RemoteSession(home, options, link, { instanceId: 'x', name: 's' } as SessionSnapshot)
    lost.resolve(undefined)
    await vi.advanceTimersByTimeAsync(599_000)
    const pauses = tries.slice(1).map((at, index) => at - tries[index]!)
    const early = pauses.filter((_, index) => tries[index]! - tries[0]! < 239_000)
    expect(early.length).toBeGreaterThan(230)
    expect(Math.max(...early)).toBeLessThanOrEqual(1_000)
    const late = pauses.filter((_, index) => tries[index]! - tries[0]! > 241_000)
    expect(late.length).toBeGreaterThan(30)
    expect(Math.min(...late)).toBeGreaterThan(5_000)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(session.state).toBe('Disconnected')
  })
})
