// What programs call, over a line that loses requests or their answers: the calls do not notice, nothing is done twice.
import type { Transport } from '@errand/transport'
import type { MemoryNetwork } from '@errand/transport/memory'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Answers } from '../src/answers.ts'
import { codeOf } from '../src/errors.ts'
import type { PeerHost } from '../src/peer.ts'
import { type RawChunk, singleRecord, valuesOf } from '../src/record.ts'
import type { Job, Peer, Session } from '../src/surface.ts'
import type { WireEvent } from '../src/wire.ts'
import type { ExecutionIO, ExecutionSpec } from '../src/engine/engine.ts'
import { Faults, type Loss } from './support/faulty-transport.ts'
import { outputs, refusal, until, within } from './support/peers.ts'
import { questionOf, ScriptedEngine, type ScriptedExecution } from './support/scripted-engine.ts'
import { scriptedPair } from './support/scripted-pair.ts'

let network: MemoryNetwork
let faults: Faults
let engine: ListeningEngine
let far: PeerHost
let here: Peer

/** Remembers what it was sent, and with which ids it was started. */
class ListeningEngine extends ScriptedEngine {
  readonly startIds: string[] = []
  readonly inputs: unknown[] = []

  override start(spec: ExecutionSpec, io: ExecutionIO): ScriptedExecution {
    this.startIds.push(spec.work.startId)
    const execution = super.start(spec, io) as ScriptedExecution
    Object.assign(execution, {
      input: (chunk: RawChunk) => {
        this.inputs.push(...valuesOf(chunk))
        io.inputRead?.(chunk.bytes.byteLength)
      },
    })
    return execution
  }
}

beforeEach(async () => {
  faults = new Faults()
  const listening = new ListeningEngine(() => false, {
    stop: ({ io }) => io.ended({ outcome: 'stopped' }),
    suspend: ({ io }) => io.suspended?.(),
    answer: ({ io }, question) => io.answered?.(question),
  })
  const options = { engine: listening, line: (inner: Transport) => faults.over(inner) }
  ;({ network, engine, far, here } = await scriptedPair(options))
})
afterEach(async () => {
  await Promise.all([here.close(), far.close()])
})

const execution = (job: Job): ScriptedExecution => engine.executions.find((one) => one.job === job.instanceId)!

interface Call {
  readonly type: WireEvent['type']
  readonly act: (session: Session, job: Job) => PromiseLike<unknown>
  readonly so: (session: Session, job: Job, outcome: unknown) => unknown
}

const calls: Readonly<Record<string, Call>> = {
  'connect, with a new session': {
    type: 'session.open',
    act: () => here.connect('far', { name: 'new' }),
    so: async (_, __, outcome) => {
      const there = (await here.sessions({ on: 'far' })).filter(({ name }) => name === 'new')
      expect(there).toHaveLength(1)
      // Ours over the link there is now, and not on its way to its end.
      expect(there[0]).toMatchObject({ state: 'Opened', expiresAt: undefined })
      await (outcome as Session).close()
    },
  },
  'connect, to one that was left': {
    type: 'session.attach',
    act: async (session) => {
      await session.disconnect()
      return here.connect('far', { session: session.instanceId })
    },
    so: async (session) => {
      expect(session.state).toBe('Opened')
      expect(await here.sessions({ on: 'far' })).toMatchObject([{ state: 'Opened', expiresAt: undefined }])
      expect(await session.jobs()).toHaveLength(1)
    },
  },
  'session.start': {
    type: 'start',
    act: (session) => session.start({ code: '2' }, { name: 'second' }),
    so: async (session) => {
      expect(await session.jobs({ name: 'second' })).toHaveLength(1)
      expect(engine.startIds).toHaveLength(2)
    },
  },
  'session.run': {
    type: 'run',
    act: (session) => {
      const run = session.run({ code: '2' })
      void until('it has begun', () => engine.executions[1]).then(({ io }) => {
        io.chunk(singleRecord('output', 'said'))
        io.ended({ outcome: 'completed' })
      })
      return run
    },
    so: (_, __, outcome) => {
      expect(outcome).toBe('said')
      expect(engine.startIds).toHaveLength(2)
    },
  },
  'session.jobs': {
    type: 'jobs',
    act: (session) => session.jobs(),
    so: (_, __, outcome) => expect(outcome).toHaveLength(1),
  },
  'job.send, again and again': {
    type: 'send',
    act: async (_, job) => {
      for (let n = 0; n < 20; n++) await job.send(n)
    },
    so: () => expect(engine.inputs).toEqual(Array.from({ length: 20 }, (_, n) => n)),
  },
  'job.send, without waiting': {
    type: 'send',
    act: (_, job) => Promise.all(Array.from({ length: 300 }, (_, n) => job.send(`${n}`.padEnd(2000)))),
    so: () => expect(engine.inputs.map(Number)).toEqual(Array.from({ length: 300 }, (_, n) => n)),
  },
  'job.endInput': {
    type: 'end-input',
    act: (_, job) => job.endInput(),
    so: (_, job) => expect(execution(job).calls.filter((call) => call === 'end input')).toHaveLength(1),
  },
  'job.answer': {
    type: 'answer',
    act: async (_, job) => {
      execution(job).io.asked?.(questionOf('1'))
      await job.wait({ for: ['Blocked'] })
      await job.answer('yes')
    },
    so: async (_, job) => {
      expect(execution(job).calls.filter((call) => call.startsWith('answer'))).toEqual(['answer 1'])
      await job.wait({ for: ['Running'] })
    },
  },
  'job.suspend': {
    type: 'suspend',
    act: (_, job) => job.suspend(),
    so: (_, job) => {
      expect(job.state).toBe('Suspended')
      expect(execution(job).calls).toEqual(['suspend'])
    },
  },
  'job.stop': {
    type: 'stop',
    act: (_, job) => job.stop(),
    so: (_, job) => {
      expect(job.state).toBe('Stopped')
      expect(execution(job).calls).toEqual(['stop'])
    },
  },
  'job.remove': {
    type: 'remove',
    act: (_, job) => job.remove({ force: true }),
    so: async (session) => expect(await session.jobs()).toEqual([]),
  },
  'job.receive': {
    type: 'acknowledge',
    act: (_, job) => {
      for (let n = 0; n < 10; n++) execution(job).io.chunk(singleRecord('output', n))
      return outputs(job.receive())
    },
    so: async (_, job, outcome) => {
      expect(outcome).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
      expect(await outputs(job.receive())).toEqual([])
    },
  },
  'session.close': {
    type: 'close',
    act: (session) => session.close(),
    so: async () => expect(await here.sessions({ on: 'far' })).toEqual([]),
  },
  'session.disconnect, for so long': {
    type: 'disconnect',
    act: (session) => session.disconnect({ idleTimeout: '5h' }),
    so: async (session) => {
      expect(session.state).toBe('Disconnected')
      const [there] = await here.sessions({ on: 'far' })
      expect(there).toMatchObject({ state: 'Disconnected', idleTimeout: 5 * 3_600_000 })
      expect(
        far.session({ kind: 'owner', peer: '', owner: '', may: () => true }, session.instanceId)!.snapshot,
      ).toMatchObject({ idleTimeout: 5 * 3_600_000, expiresAt: expect.any(Date) })
    },
  },
}

const ways: Readonly<Record<string, readonly Loss[]>> = {
  'its request lost': ['request'],
  'its reply lost': ['reply'],
  'both lost, and again': ['request', 'reply', 'reply'],
}

describe.each(Object.keys(calls))('%s', (name) => {
  test.each(Object.keys(ways))('%s', async (way) => {
    const { type, act, so } = calls[name]!
    const session = await here.connect('far')
    const job = await session.start({ code: '1' })
    faults.lose(type, ...ways[way]!)
    const outcome = await within(
      name,
      Promise.resolve(act(session, job)).catch((error: unknown) => error),
    )
    // A run is over when it was read to its end, whether its answer has come or not.
    await until('it got through', () => faults.sent > ways[way]!.length)
    await so(session, job, outcome)
  })
})

describe('a far peer that remembers nothing of what it was asked', () => {
  /** As after a restart that kept its sessions: nothing is known over the next link. */
  const forgets = (): void => {
    // oxlint-disable-next-line typescript/unbound-method -- called with the one it is of
    const meet = Answers.prototype.meet
    vi.spyOn(Answers.prototype, 'meet').mockImplementation(function (this: Answers, client) {
      this.forget(client)
      return meet.call(this, client)
    })
  }
  afterEach(() => void vi.restoreAllMocks())

  test('a start is found again by its id', async () => {
    const session = await here.connect('far')
    forgets()
    faults.lose('start', 'reply')
    const job = await session.start({ code: '1' })
    expect(engine.startIds).toHaveLength(1)
    expect(await session.jobs()).toMatchObject([{ instanceId: job.instanceId }])
  })

  test.each(['run', 'send', 'answer', 'end-input', 'suspend'] as const)('%s: the outcome is unknown', async (type) => {
    const session = await here.connect('far')
    const job = await session.start({ code: '1' })
    const { type: lost, act } = Object.values(calls).find((call) => call.type === type)!
    forgets()
    faults.lose(lost, 'reply')
    // One that goes on: what comes of a run may be read before it is known what became of its request.
    const error = await refusal(type, () => (type === 'run' ? session.run({ code: '2' }) : act(session, job)))
    expect(codeOf(error)).toBe('OUTCOME_UNKNOWN')
    expect(error.message).toContain('unknown')
    expect(engine.startIds.length).toBeLessThanOrEqual(2)
    expect(engine.inputs.length).toBeLessThanOrEqual(1)
  })
})

test('a request whose link does not come back is not said to have failed: its outcome is unknown', async () => {
  const session = await here.connect('far', { lostAfter: 300 })
  const job = await session.start({ code: '1' })
  const start = engine.start.bind(engine)
  engine.start = (...given) => {
    network.cut('here', 'far')
    network.lose('here', 'far')
    return start(...given)
  }
  const error = await refusal('a start', () => session.start({ code: '2' }))
  expect(codeOf(error)).toBe('PEER_LOST')
  expect(error.message).toContain('unknown')
  expect(job.state).toBe('Disconnected')
  network.heal('here', 'far')
  await session.connect()
  expect(await session.jobs()).toHaveLength(2)
})
