// Who sends beyond what was granted, on a lane or a link, is ended: it does not fill the memory of who was to take it.
import { decode, encode, type Channel } from '@errand/transport'
import { describe, expect, it, test, vi } from 'vitest'
import type { Engine } from '../src/engine/engine.ts'
import {
  ANSWERS_FULL,
  LaneChannel,
  LaneEngine,
  OPEN_LINKS,
  OVERDRAFT_BYTES,
  serveLane,
  type Isolate,
  type LaneMessage,
} from '../src/engine/lane.ts'
import { pipeLane } from '../src/engine/process-isolate.ts'
import { createPeer } from '../src/index.ts'
import { JobInput } from '../src/job-input.ts'
import { Link, type LinkServer } from '../src/link.ts'
import { CREDIT_BYTES } from '../src/record.ts'
import { memoryStore } from '../src/store/memory.ts'
import { OPEN_REQUESTS, OPEN_WATCHES, type ControlMessage } from '../src/wire.ts'
import { scriptedJob, settled } from './support/scripted-engine.ts'

const MIB = 1024 * 1024
const bytesOf = (size: number): Uint8Array => new Uint8Array(size)

/** An isolate that says what the test does. */
function isolateOf(): {
  isolate: Isolate
  say: (...messages: LaneMessage[]) => void
  told: LaneMessage[]
  killed: () => boolean
} {
  let take: (messages: readonly LaneMessage[]) => void = () => undefined
  let killed = false
  const told: LaneMessage[] = []
  const gone = Promise.withResolvers<{ signal: string }>()
  const isolate: Isolate = {
    server: { perform: async () => undefined } as unknown as Isolate['server'],
    wire: { post: (messages) => told.push(...messages), receive: (listener) => void (take = listener) },
    pid: undefined,
    exited: gone.promise,
    hold: () => undefined,
    kill: () => {
      killed = true
      gone.resolve({ signal: 'SIGKILL' })
    },
    get killed() {
      return killed
    },
  }
  return { isolate, say: (...messages) => take(messages), told, killed: () => killed }
}

describe('an isolate', () => {
  const running = (limit?: number): ReturnType<typeof isolateOf> & { job: ReturnType<typeof scriptedJob> } => {
    const one = isolateOf()
    const job = scriptedJob({ engine: new LaneEngine(one.isolate, () => undefined) }, undefined, limit)
    job.start()
    return { ...one, job }
  }

  it('may say what it was granted, and with its ending what its script said without a yield; not more', async () => {
    // A log of which nobody reads: it grants nothing once it is full.
    const { say, killed, job } = running(1)
    say(['chunk', 1, 1, 0, bytesOf(CREDIT_BYTES)])
    let beyond = 0
    for (; beyond < OVERDRAFT_BYTES; beyond += MIB) say(['chunk', 1, 1, 0, bytesOf(MIB)])
    expect(killed()).toBe(false)
    say(['chunk', 1, 1, 0, bytesOf(1)])
    expect(killed()).toBe(true)
    const { end } = job.log!
    // What was under way when it was ended is not taken either.
    say(['chunk', 1, 1, 0, bytesOf(MIB)], ['ended', 1, encode({ outcome: 'completed' })])
    expect(job.log!.end).toBe(end)
    const last = await job.finished
    expect(last).toMatchObject({ state: 'Failed', reason: { code: 'ENGINE_EXIT' } })
    expect(last.reason!.message).toContain('said more than it was given credit for')
  })

  it('is asked for names of a few lines at once, until it has answered, whoever waits still', async () => {
    const { isolate, say, told } = isolateOf()
    const engine = new LaneEngine(isolate, () => undefined)
    const asked = (): number => told.filter(([kind]) => kind === 'complete').length
    const none = { names: [], on: '', more: 0 }
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const first = Array.from({ length: 8 }, () => engine.complete('a'))
      expect(await engine.complete('a')).toEqual(none)
      await vi.advanceTimersByTimeAsync(60_000)
      expect(await Promise.all(first)).toEqual(first.map(() => none))
      expect(asked()).toBe(8)
      // They are still being worked at there.
      expect(await engine.complete('a')).toEqual(none)
      await settled()
      expect(asked()).toBe(8)
      say(['completed', 3, new Uint8Array(0)])
      const found = { names: ['ab'], on: 'a', more: 0 }
      const next = engine.complete('a')
      say(['completed', 9, encode(found)])
      expect(await next).toEqual(found)
      expect(asked()).toBe(9)
    } finally {
      vi.useRealTimers()
    }
  })

  it('answers also where its engine throws, or knows no names', async () => {
    const said: LaneMessage[] = []
    let take: (messages: readonly LaneMessage[]) => void = () => undefined
    const wire = {
      post: (messages: readonly LaneMessage[]) => void said.push(...messages),
      receive: (listener: typeof take) => void (take = listener),
    }
    const engine = {
      complete: (text: string) => {
        if (text === 'a') throw new Error('changed')
        return Promise.reject(new Error('changed'))
      },
    } as unknown as Engine
    serveLane(engine, wire, { onLink: () => undefined })
    take([
      ['complete', 1, 'a'],
      ['complete', 2, 'b'],
    ])
    serveLane({} as Engine, wire, { onLink: () => undefined })
    take([['complete', 3, 'c']])
    await expect.poll(() => said.length).toBe(3)
    expect(new Set(said.map(([kind, n]) => `${kind} ${n}`))).toEqual(
      new Set(['completed 1', 'completed 2', 'completed 3']),
    )
  })

  it('that is read may say as much as it likes', async () => {
    const { say, killed, job } = running()
    for (let n = 0; n < 100; n++) {
      say(['chunk', 1, 1, 0, bytesOf(MIB)])
      await job.acknowledge('owner', n + 1)
    }
    expect(killed()).toBe(false)
    say(['ended', 1, encode({ outcome: 'completed' })])
    expect((await job.finished).state).toBe('Completed')
  })

  it('does not use up the numbers of a log with chunks that hold less than they say', async () => {
    const { say, killed, job } = running()
    say(['chunk', 1, 2 ** 50, 0, bytesOf(16)])
    expect([killed(), job.log!.end]).toEqual([true, 0])
    expect((await job.finished).reason!.message).toContain('said what no isolate says')
  })

  it('has a link to its session for each of its scripts, and not as many as it likes', async () => {
    const { say, killed } = running()
    for (let n = 1; n <= OPEN_LINKS; n++) say(['link', n, encode({})])
    expect(killed()).toBe(false)
    say(['link', OPEN_LINKS + 1, encode({})])
    expect(killed()).toBe(true)
  })
})

describe('what the scripts of an isolate ask for', () => {
  it('is not answered without end to one that does not read', async () => {
    const { isolate, say, killed } = isolateOf()
    const channels: LaneChannel[] = []
    let waiting = 0
    const wire = Object.defineProperty({ ...isolate.wire }, 'waiting', { get: () => waiting })
    const engine = new LaneEngine({ ...isolate, wire }, (channel) => void channels.push(channel as LaneChannel))
    say(['link', 1, encode({})])
    waiting = ANSWERS_FULL
    await channels[0]!.send('an answer')
    expect(killed()).toBe(false)
    waiting++
    await channels[0]!.send('one more')
    expect(killed()).toBe(true)
    await settled()
    expect(engine.gone).toBe(true)
  })

  it('is counted until it has left for the process', async () => {
    const gates: PromiseWithResolvers<void>[] = []
    const channel = {
      send: () => (gates.push(Promise.withResolvers()), gates.at(-1)!.promise),
      async *[Symbol.asyncIterator]() {
        await new Promise<never>(() => {})
        yield
      },
    } as unknown as Channel
    const { wire } = pipeLane(Promise.resolve(channel))
    await settled()
    wire.post([['link', 1, bytesOf(1000)]])
    wire.post([
      ['link', 1, bytesOf(10)],
      ['credit', 1, 5],
      ['link', 2, null],
    ])
    await settled()
    expect([wire.waiting, gates.length]).toEqual([1010, 1])
    gates[0]!.resolve()
    await settled()
    expect([wire.waiting, gates.length]).toEqual([10, 2])
    gates[1]!.resolve()
    await settled()
    expect(wire.waiting).toBe(0)
  })
})

describe('the input of a job', () => {
  it('takes so many chunks of which nobody reads, however small, and none that hold nothing', async () => {
    const input = new JobInput()
    const small = { count: 1, errors: 0, bytes: bytesOf(1) }
    let refused: unknown
    let taken = 0
    const room: Promise<void>[] = []
    for (; taken < 1_000_000 && refused === undefined; taken++) {
      const sent = input.send(small)
      sent.catch((error: unknown) => (refused = error))
      room.push(sent)
      if (taken % 10_000 === 0) await settled()
    }
    expect(refused).toMatchObject({ code: 'LIMIT' })
    expect(taken).toBeLessThan(160_000)
    await input.send({ count: 0, errors: 0, bytes: bytesOf(0) })
    input.close(() => new Error('over'))
    expect((await Promise.allSettled(room)).length).toBe(taken)
  })
})

describe('a hostile script', { timeout: 60_000 }, () => {
  /** Takes the port that its records leave by, and sends past everything that counts them. */
  async function* worker(): AsyncGenerator<number> {
    const { MessagePort } = process.getBuiltinModule('node:worker_threads')
    const postMessage = Reflect.get(MessagePort.prototype, 'postMessage') as typeof MessagePort.prototype.postMessage
    let port: typeof MessagePort.prototype | undefined
    let x = 0
    MessagePort.prototype.postMessage = function (this: typeof MessagePort.prototype, value: unknown, list?: never) {
      const [first] = Array.isArray(value) ? (value as unknown[][]) : []
      if (first?.[0] === 'chunk') [port, x] = [this, first[1] as number]
      return postMessage.call(this, value, list!)
    } as typeof postMessage
    yield 1
    while (!port) await new Promise((resolve) => setImmediate(resolve))
    for (let n = 0; n < 64; n++) postMessage.call(port, [['chunk', x, 1, 0, new Uint8Array(1024 * 1024)]])
    await new Promise((resolve) => setTimeout(resolve, 600_000))
  }

  /** Writes frames of its own into the pipe that its records leave by. */
  async function* child(): AsyncGenerator<number> {
    const { writeSync } = process.getBuiltinModule('node:fs')
    yield 1
    await new Promise((resolve) => setTimeout(resolve, 50))
    const size = 1024 * 1024
    const write = (bytes: Uint8Array): void => {
      for (let at = 0; at < bytes.length;) {
        try {
          at += writeSync(3, bytes, at)
        } catch (error) {
          if ((error as { code?: string }).code !== 'EAGAIN') throw error
        }
      }
    }
    // { m: [['chunk', 1, 1, 0, bytes]] }
    const head = Buffer.from('a1616d8185656368756e6b010100d8405a00100000', 'hex')
    for (let n = 0; n < 64; n++) {
      const header = Buffer.alloc(4)
      header.writeUInt32BE(head.length + size)
      write(header)
      write(head)
      write(new Uint8Array(size))
    }
    await new Promise((resolve) => setTimeout(resolve, 600_000))
  }

  test.each([
    ['thread', worker],
    ['process', child],
  ] as const)('of a %s that sends past its credit ends with it, and the peer goes on', async (engine, script) => {
    const small = await createPeer({ name: 'small', store: memoryStore({ logLimit: MIB }) })
    try {
      const job = await small.start(script as () => AsyncGenerator<number>, { engine })
      const last = await job.finished
      expect(last).toMatchObject({ state: 'Failed', reason: { code: 'ENGINE_EXIT' } })
      expect(last.reason!.message).toContain('said more than it was given credit for')
      expect(await (await small.start(() => 'well', { engine })).output()).toEqual(['well'])
    } finally {
      await small.close()
    }
  })
})

describe('a link', () => {
  /** A link, and its other side to be spoken by hand. */
  function linkTo(server?: LinkServer): { link: Link; say: (value: unknown) => void; heard: ControlMessage[] } {
    const heard: ControlMessage[] = []
    const channel: LaneChannel = new LaneChannel('other', (bytes) => {
      if (bytes) heard.push(decode(bytes) as ControlMessage)
    })
    const link = new Link(channel, channel, { client: 'other' }, server)
    return { link, say: (value) => channel.deliver(encode(value)), heard }
  }
  const chunk = (r: number, size: number, first = 0): object => {
    return { t: 'chunk', r, job: 'j', location: 'l', first, count: 1, errors: 0, from: first, bytes: bytesOf(size) }
  }

  it('ends where a read is sent more than it gave credit for', async () => {
    const { link, say } = linkTo()
    const reading = link.read({ session: 's', job: 'j' }, { reader: 'owner' })
    const first = reading.next()
    await settled()
    say(chunk(1, CREDIT_BYTES - 1))
    // One may overdraw it.
    say(chunk(1, MIB, 1))
    await settled()
    expect(link.open).toBe(true)
    say(chunk(1, 1, 2))
    expect(await link.closed).toMatchObject({ code: 'PROTOCOL' })
    expect((await first).value).toMatchObject({ first: 0 })
    await reading.next().catch(() => undefined)
  })

  it('goes on with one that waits for its credit, however much it is sent', async () => {
    const { link, say, heard } = linkTo()
    const reading = link.read({ session: 's', job: 'j' }, { reader: 'owner' })
    const taken: number[] = []
    const over = (async () => {
      for (;;) {
        const step = await reading.next()
        if (step.done) return
        taken.push(step.value.first)
      }
    })()
    await settled()
    let credit = CREDIT_BYTES
    for (let first = 0; first < 200; first++) {
      while (credit <= 0) {
        await settled()
        for (const message of heard.splice(0)) if (message.t === 'credit') credit += message.bytes
      }
      credit -= 60_000
      say(chunk(1, 60_000, first))
    }
    say({ t: 'end', r: 1 })
    await over
    expect([taken.length, link.open]).toEqual([200, true])
    link.abort(new Error('enough'))
  })

  it('ends where a number is used for a second read while the first goes on', async () => {
    const never = { read: () => Object.assign((async function* () {})(), { next: () => new Promise<never>(() => {}) }) }
    const { link, say } = linkTo(never as unknown as LinkServer)
    const read = { t: 'read', r: 1, to: {}, read: { reader: 'x' }, credit: 1 }
    say(read)
    await settled()
    expect(link.open).toBe(true)
    say(read)
    expect(await link.closed).toMatchObject({ code: 'PROTOCOL' })
  })

  it('has so many requests under way, whatever their ids are', async () => {
    let asked = 0
    const server = { handle: () => (asked++, new Promise<never>(() => {})) } as unknown as LinkServer
    const { link, say, heard } = linkTo(server)
    for (let n = 0; n < OPEN_REQUESTS + 5; n++) say({ t: 'ask', id: 1, to: {}, event: { type: 'ping' } })
    await settled()
    expect(asked).toBe(OPEN_REQUESTS)
    expect(
      heard.filter((message) => message.t === 'no' && (message.error as { code?: string }).code === 'LIMIT').length,
    ).toBe(5)
    link.abort(new Error('enough'))
  })

  it('watches so much for the other side, and asks it for no more', async () => {
    let watched = 0
    const server = { watch: () => (watched++, () => watched--) } as unknown as LinkServer
    const { link, say } = linkTo(server)
    for (let n = 0; n < OPEN_WATCHES; n++) {
      say({ t: 'watch', w: n, to: { session: 's', job: String(n) } })
      if (n % 256 === 255) await settled()
    }
    expect([watched, link.open]).toEqual([OPEN_WATCHES, true])
    // One that was let go of makes room.
    say({ t: 'unwatch', w: 0 })
    say({ t: 'watch', w: 0, to: { session: 's', job: 'another' } })
    await settled()
    expect(link.open).toBe(true)
    say({ t: 'watch', w: OPEN_WATCHES, to: { session: 's', job: 'one more' } })
    expect(await link.closed).toMatchObject({ code: 'PROTOCOL' })
    expect(watched).toBe(0)

    const { link: ours } = linkTo()
    const stops = Array.from({ length: OPEN_WATCHES }, (_, n) => ours.watch({ job: String(n) }, () => undefined))
    expect(() => ours.watch({ job: 'one more' }, () => undefined)).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    stops[0]!()
    ours.watch({ job: 'one more' }, () => undefined)
    ours.abort(new Error('enough'))
  })
})
