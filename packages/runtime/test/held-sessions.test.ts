// Sessions elsewhere, as whoever holds them leaves, loses, closes and wants them back: nothing hangs, nothing is left over
// there for nobody, and what it shows is so.
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Link } from '../src/link.ts'
import { codeOf, PeerUnreachableError, ProtocolError, SessionNotFoundError } from '../src/errors.ts'
import { createPeer, type PeerHost } from '../src/peer.ts'
import { RemoteSession, type RemoteSessionHome } from '../src/remote-session.ts'
import { singleRecord } from '../src/record.ts'
import type { Peer, SessionSnapshot, SessionState } from '../src/surface.ts'
import { keptDisk } from './support/kept-store.ts'
import { outputs, refusal, until, within } from './support/peers.ts'
import { ScriptedEngine, settled } from './support/scripted-engine.ts'
import { loseFar, scriptedFar, scriptedPair, type ScriptedPairOptions } from './support/scripted-pair.ts'

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

const hosted = async (): Promise<number> => ((await far.ask({ type: 'local.status' })) as { sessions: number }).sessions

describe('a peer that goes down in order', () => {
  test('is waited for as one that was lost, also when it is asked while it is going', async () => {
    const disk = keptDisk()
    const slow = new ScriptedEngine()
    await start({ engine: slow, far: { store: disk.open() } })
    const session = await here.connect('far')
    const seen = new Set<SessionState>()
    const watching = (async () => {
      for await (const { state } of session.watch()) seen.add(state)
    })()
    await session.start({ code: '1' })
    await until('it runs there', () => engine.executions.length === 1)
    const closing = far.close()
    network.lose('here', 'far')
    await until('it says that it is going', () => session.snapshot.reason?.message.includes('going down'))
    expect([session.state, codeOf(session.snapshot.reason)]).toEqual(['Connecting', 'PEER_UNREACHABLE'])
    engine.executions[0]!.io.ended({ outcome: 'stopped' })
    await closing
    far = await scriptedFar(network, slow, { store: disk.open() })
    await until('it is back', () => session.state === 'Opened')
    await session.close()
    await watching
    expect([...seen]).not.toContain('Broken')
  })

  test('leaves nothing behind over there that was temporary, nor anything here that goes on trying', async () => {
    await start()
    const brief = await here.connect('far', { temporary: true })
    const kept = await here.connect('far')
    await here.close()
    expect([brief.state, kept.state]).toEqual(['Closed', 'Disconnected'])
    // Long before its lease.
    await until('the temporary one is gone', async () => (await hosted()) === 1)
  })

  test('while a session is tried again: it is not tried any more, at once', async () => {
    await start()
    const [kept, brief] = [await here.connect('far'), await here.connect('far', { temporary: true })]
    loseFar(network)
    await until('both are lost', () => kept.state === 'Connecting' && brief.state === 'Connecting')
    await here.close()
    expect([kept.state, brief.state]).toEqual(['Disconnected', 'Closed'])
  })
})

describe('a connection', () => {
  test('that is given up while somebody else’s hangs gives up at once', async () => {
    await start()
    network.freeze('far')
    const first = here.connect('far')
    const leave = new AbortController()
    const second = refusal('the second', () => here.connect('far', { signal: leave.signal }))
    await settled()
    leave.abort(new Error('enough'))
    expect((await within('giving up', second, 2_000)).message).toBe('enough')
    network.thaw('far')
    expect((await first).state).toBe('Opened')
  })

  test('to a peer that never says who it is fails after a while', async () => {
    await start()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const silent = memory({ network, name: 'silent' })
      const { protocols } = await import('../src/wire.ts')
      const channels = protocols({ interval: 3_600_000, suspicion: 7_200_000 })
      await silent.start({ admits: () => true, protocols: channels, accept: (channel) => void drain(channel) })
      const patient = memory({ network, name: 'patient' })
      const beats = { heartbeat: 3_600_000, suspicion: 7_200_000 }
      const peer = await createPeer({
        ...beats,
        name: 'patient',
        transport: patient,
        policy: { peers: { silent: [] } },
      })
      const error = peer.connect('silent').catch((thrown: unknown) => thrown)
      await turns()
      await vi.advanceTimersByTimeAsync(30_001)
      expect(codeOf(await error)).toBe('PEER_UNREACHABLE')
      await Promise.all([peer.close(), silent.close()])
    } finally {
      vi.useRealTimers()
    }
  })

  test('whose session is still being written when it is asked for again over the next link: it is ours there', async () => {
    const disk = keptDisk()
    const store = disk.open()
    const gate = Promise.withResolvers<void>()
    let held = 0
    const rows = store.rows!
    const put: typeof rows.put = async (kind, key, value, options) => {
      if (kind === 'session' && (value as { kind: string }).kind === 'persistent' && held++ === 0) await gate.promise
      return rows.put(kind, key, value, options)
    }
    await start({ far: { store: { ...store, rows: { ...rows, put } } } })
    const connecting = here.connect('far')
    await until('it is being written', () => held > 0)
    network.lose('here', 'far')
    await until('it is asked for again', () => here.peers().then(([peer]) => peer?.connected))
    gate.resolve()
    const session = await connecting
    expect((await session.start({ code: '1' })).state).toBe('Running')
    expect(await here.sessions({ on: 'far' })).toMatchObject([{ state: 'Opened', expiresAt: undefined }])
  })

  test('by command that is given up does not come about later, here or there', async () => {
    await start()
    const session = await here.connect('far')
    await session.disconnect()
    loseFar(network)
    network.heal('here', 'far')
    network.freeze('far')
    const leave = new AbortController()
    const outcome = refusal('connecting', () => session.connect({ signal: leave.signal }))
    await until('it is tried', () => session.state === 'Connecting')
    leave.abort(new Error('enough'))
    expect((await within('giving up', outcome)).message).toBe('enough')
    expect(session.state).toBe('Disconnected')
    network.thaw('far')
    await until('it is free there', async () => {
      const [there] = await here.sessions({ on: 'far' })
      return there?.state === 'Disconnected' && there.availability === 'None'
    })
    expect(session.state).toBe('Disconnected')
  })
})

/** A session over a link that answers as the test says, and never by itself. */
class Held {
  readonly asked: string[] = []
  readonly lost = Promise.withResolvers<Error | undefined>()
  readonly session: RemoteSession
  answer: (type: string) => Promise<unknown> = () => new Promise(() => undefined)
  dial: () => Promise<Link> = () => Promise.reject(new PeerUnreachableError('not there'))

  constructor() {
    const far = { instanceId: 'x', name: 's', idleTimeout: 7_200_000 } as SessionSnapshot
    const told = {
      open: true,
      closed: this.lost.promise,
      memory: 'm',
      wasLeft: false,
      watch: () => () => undefined,
      ask: (_: unknown, { type }: { type: string }, { signal }: { signal?: AbortSignal } = {}) => {
        this.asked.push(type)
        const { promise, reject } = Promise.withResolvers<never>()
        signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        return Promise.race([this.answer(type), promise])
      },
    }
    const fields = Object.entries(told).map(([name, value]) => [name, { value }] as const)
    const link = Object.create(Link.prototype, Object.fromEntries(fields)) as Link
    const home: RemoteSessionHome = {
      link: () => this.dial(),
      takeUp: async () => undefined,
      leave: () => undefined,
      took: () => undefined,
      sessionRef: () => this.session,
      ended: () => undefined,
    }
    const options = { id: 1, location: 'far', peerId: 'far', transport: 'memory', lostAfter: 600_000, temporary: false }
    this.session = new RemoteSession(home, options, link, far)
  }
}

describe('a peer that lives and does not answer', () => {
  beforeEach(() => start())
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  test('a close settles all the same, and says that it was told; the grace of its jobs is waited for', async () => {
    const { session, asked } = new Held()
    const outcome = session.close(5_000).catch((thrown: unknown) => thrown as Error)
    await vi.advanceTimersByTimeAsync(64_000)
    expect(session.state).toBe('Opened')
    await vi.advanceTimersByTimeAsync(2_000)
    const error = await outcome
    expect([codeOf(error), session.state, asked]).toEqual(['TIMEOUT', 'Closed', ['close']])
    expect(error).toMatchObject({ message: expect.stringContaining('was told to close') })
    expect(vi.getTimerCount()).toBe(0)
  })

  test.each(['close', 'disconnect'] as const)('who gives up a %s does not wait, and it goes on', async (type) => {
    const { session, asked } = new Held()
    const gone = AbortSignal.abort(new Error('before'))
    await refusal('one that is not begun', () => session.request({ type }, undefined, { signal: gone }))
    expect([session.state, asked]).toEqual(['Opened', []])
    const leave = new AbortController()
    const outcome = refusal(type, () => session.request({ type }, undefined, { signal: leave.signal }))
    await vi.advanceTimersByTimeAsync(100)
    leave.abort(new Error('enough'))
    expect((await outcome).message).toBe('enough')
    expect(asked).toEqual([type])
    await vi.advanceTimersByTimeAsync(61_000)
    expect(session.state).toBe(type === 'close' ? 'Closed' : 'Disconnected')
    expect(vi.getTimerCount()).toBe(0)
  })

  test('a disconnect leaves it, and says that nobody over there is known to have heard', async () => {
    const { session } = new Held()
    const outcome = refusal('leaving', () => session.request({ type: 'disconnect' }))
    await vi.advanceTimersByTimeAsync(10_001)
    const error = await outcome
    expect([codeOf(error), session.state]).toEqual(['TIMEOUT', 'Disconnected'])
    expect(error.message).toContain('is left')
  })

  test('two closes are one', async () => {
    const held = new Held()
    held.answer = () => Promise.resolve({ state: 'Closed' })
    await Promise.all([held.session.close(), held.session.close()])
    expect([held.session.state, held.asked]).toEqual(['Closed', ['close']])
  })

  test('whoever asks for a job of a session that has ended hears that no more news can come', async () => {
    const held = new Held()
    held.answer = () => Promise.resolve({ state: 'Closed' })
    await held.session.close()
    const lost = Promise.withResolvers<Error>()
    held.session.watchJob('job', () => undefined, lost.resolve)
    expect(codeOf(await lost.promise)).toBe('SESSION_CLOSED')
  })
})

describe('attaching again', () => {
  beforeEach(() => start())
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  test('nothing but an answer about the session ends it: what else fails is tried again, then it is given up', async () => {
    const held = new Held()
    held.dial = () => Promise.reject(new ProtocolError('somebody else has that address now'))
    held.lost.resolve(undefined)
    await vi.advanceTimersByTimeAsync(599_000)
    expect([held.session.state, codeOf(held.session.snapshot.reason)]).toEqual(['Connecting', 'PROTOCOL'])
    await vi.advanceTimersByTimeAsync(2_000)
    expect([held.session.state, codeOf(held.session.snapshot.reason)]).toEqual(['Disconnected', 'PEER_UNREACHABLE'])
    held.dial = () => Promise.reject(new SessionNotFoundError('s', 'far'))
    const outcome = held.session.connect().catch((thrown: unknown) => thrown)
    await vi.advanceTimersByTimeAsync(1_000)
    expect([codeOf(await outcome), held.session.state]).toEqual(['SESSION_NOT_FOUND', 'Broken'])
  })
})

test('a disconnect that is refused changes nothing: its jobs show what they do', async () => {
  await start()
  const session = await here.connect('far')
  const job = await session.start({ code: '1' })
  await job.wait({ for: ['Running'] })
  const seen: string[] = []
  const watching = (async () => {
    for await (const { state } of job.watch()) seen.push(state)
  })()
  expect(codeOf(await refusal('leaving', () => session.disconnect({ idleTimeout: 1 })))).toBe('USAGE')
  expect([session.state, job.state]).toEqual(['Opened', 'Running'])
  await job.stop()
  await watching
  expect(seen).not.toContain('Disconnected')
})

test('a run that was received is not left a second time when its session is lost', async () => {
  await start()
  const session = await here.connect('far', { lostAfter: 100 })
  const run = session.run({ code: '1' })
  await until('it runs there', () => engine.executions.length === 1)
  await session.disconnect()
  await refusal('its caller', () => run)
  const job = await session.receive()
  loseFar(network)
  await until('it is given up', () => session.state === 'Disconnected')
  await settled()
  expect((await here.jobs()).map(({ id }) => id)).toEqual([job!.id])
})

test('whoever has been told that its records are over may be killed: they are taken over there, too', async () => {
  await start({ network: createMemoryNetwork({ latency: 20 }) })
  const session = await here.connect('far')
  const job = await here.start({ code: '1' }, { on: session })
  const { io } = await until('it runs there', () => engine.executions[0])
  for (const n of [1, 2]) io.chunk(singleRecord('output', n))
  io.ended({ outcome: 'completed' })
  expect(await outputs(job.receive({ follow: true }))).toEqual([1, 2])
  network.kill('here')
  const killed = here
  here = await createPeer({
    name: 'here',
    transport: memory({ network, name: 'here' }),
    policy: { peers: { far: [] } },
  })
  const again = await here.connect('far', { session: session.instanceId, force: true })
  expect(await again.receive()).toBeUndefined()
  await killed.close()
})

test('the end of what is here already does not wait for a link that is gone', async () => {
  await start()
  const session = await here.connect('far')
  const job = await here.start({ code: '1' }, { on: session })
  const { io } = await until('it runs there', () => engine.executions[0])
  io.chunk(singleRecord('output', 1))
  io.ended({ outcome: 'completed' })
  await job.wait()
  loseFar(network)
  await until('the link is missed', () => session.state === 'Connecting')
  expect(await within('its end', outputs(job.receive({ follow: true })))).toEqual([1])
  expect(session.state).toBe('Connecting')
})

/** What is said to it is read, and not answered. */
async function drain(channel: AsyncIterable<unknown>): Promise<void> {
  try {
    for await (const _ of channel);
  } catch {
    // it was given up
  }
}

async function turns(): Promise<void> {
  for (let n = 0; n < 50; n++) await settled()
}
