// What is watched over a link: told whole once and then by what has changed, to who listens, in its order, to its end.
import { decode, encode, FrameTooLargeError } from '@errand/transport'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Link, type LinkServer } from '../src/link.ts'
import { changeOf, Watches } from '../src/link-watches.ts'
import { OPEN_WATCHES, type Address, type ControlMessage } from '../src/wire.ts'
import { Half } from './support/half.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const at = new Date(0)
const session = { session: 's' }
const of = { session: 's', job: 'j' }
const begun = { instanceId: 'j', state: 'NotStarted', history: [{ state: 'NotStarted', at }], pid: undefined }
const running = { ...begun, state: 'Running', history: [...begun.history, { state: 'Running', at }], pid: 7 }
const blocked = { ...running, state: 'Blocked', question: { id: '1', prompt: 'well?' } }
const over = { ...running, state: 'Completed', history: [...running.history, { state: 'Completed', at }] }

/** One end of a channel to another; what is longer than `most` bytes is too large. */
class Joined extends Half {
  other: Joined | undefined
  most = Infinity
  /** Whoever sends waits for it. */
  room: Promise<void> | undefined
  override async send(value: unknown): Promise<void> {
    const bytes = encode(value)
    if (bytes.byteLength > this.most) throw new FrameTooLargeError('too large')
    await super.send(value)
    this.other!.says(decode(bytes))
    await this.room
  }
}

function joined(): readonly [Joined, Joined] {
  const ends = [new Joined(), new Joined()] as const
  ;[ends[0].other, ends[1].other] = [ends[1], ends[0]]
  return ends
}

/** Who watches, and who is watched. */
function links(answer: (event: string) => unknown = () => begun) {
  const [control, data] = [joined(), joined()]
  const watched: { to: Address; push: (snapshot: unknown) => void; stopped: boolean }[] = []
  const server: Partial<LinkServer> = {
    handle: async (_, __, { type }) => answer(type),
    watch: (_, to, push) => {
      const one = { to, push, stopped: false }
      watched.push(one)
      return () => void (one.stopped = true)
    },
  }
  const near = new Link(control[0], data[0], { client: 'far' })
  const far = new Link(control[1], data[1], { client: 'near' }, server as LinkServer)
  onTestFinished(async () => {
    await Promise.all([near.close(), far.close()])
  })
  const said = (end: Joined): string[] => end.sent.map((message) => (message as ControlMessage).t)
  const start = (): Promise<unknown> =>
    near.ask(
      session,
      { type: 'start', spec: { kind: 'code', command: '', startId: 'x' } },
      { watch: true, id: Link.requestId() },
    )
  return { near, far, watched, start, control, data, said }
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => vi.useRealTimers())

describe('what has changed', () => {
  it('is every field that is another one, and those that are gone; lists are looked into', () => {
    expect(changeOf(begun, { ...begun, history: [...begun.history] })).toBeUndefined()
    expect(changeOf(begun, running)).toEqual({ state: 'Running', history: running.history, pid: 7 })
    expect(changeOf(blocked, running)).toEqual({ state: 'Running', question: undefined })
    expect(changeOf({ a: undefined }, {})).toBeUndefined()
    expect(changeOf({ a: [1, 2] }, { a: [1, 3] })).toEqual({ a: [1, 3] })
  })
})

describe('a watch', () => {
  it('tells the whole, then what has changed, and who listens hears the whole each time', async () => {
    const { near, watched, control } = links()
    const heard: unknown[] = []
    near.watch(of, (snapshot) => heard.push(snapshot))
    await turn()
    watched[0]!.push(running)
    watched[0]!.push(blocked)
    watched[0]!.push({ ...blocked })
    watched[0]!.push(running)
    await turn()
    expect(heard).toEqual([running, blocked, { ...running, question: undefined }])
    expect(control[1].sent.slice(1)).toEqual([
      { t: 'state', w: 1, changed: { state: 'Blocked', question: blocked.question } },
      { t: 'state', w: 1, changed: { state: 'Running', question: undefined } },
    ])
  })

  it('of a job is over with its end, at both ends, and nobody says so', async () => {
    const { near, watched, control, said } = links()
    const heard: string[] = []
    const stop = near.watch<{ state: string }>(of, ({ state }) => heard.push(state))
    await turn()
    watched[0]!.push(blocked)
    watched[0]!.push(over)
    await turn()
    expect([heard, watched[0]!.stopped]).toEqual([['Blocked', 'Completed'], true])
    watched[0]!.push({ ...over, pid: 8 })
    stop()
    await turn()
    expect([said(control[0]), said(control[1])]).toEqual([['watch'], ['state', 'state']])
  })

  it('is let go of by its last listener', async () => {
    const { near, watched, control, said } = links()
    const stops = [near.watch(of, () => {}), near.watch(of, () => {})]
    await turn()
    stops[0]!()
    stops[0]!()
    await turn()
    expect(watched[0]!.stopped).toBe(false)
    stops[1]!()
    await turn()
    expect([watched.length, watched[0]!.stopped, said(control[0])]).toEqual([1, true, ['watch', 'unwatch']])
  })

  it('says late that a job has begun, and not at all where it is over by then', async () => {
    const { near, watched } = links()
    const heard: string[] = []
    near.watch<{ state: string }>(of, ({ state }) => heard.push(state))
    await turn()
    watched[0]!.push(begun)
    watched[0]!.push(running)
    await turn()
    expect(heard).toEqual(['NotStarted'])
    await vi.advanceTimersByTimeAsync(5)
    expect(heard).toEqual(['NotStarted', 'Running'])
    near.watch<{ state: string }>({ ...of, job: 'k' }, ({ state }) => heard.push(state))
    await turn()
    for (const snapshot of [begun, running, over]) watched[1]!.push(snapshot)
    await vi.advanceTimersByTimeAsync(5)
    expect(heard.slice(2)).toEqual(['NotStarted', 'Completed'])
  })

  it('that asks something is told so at once', async () => {
    const { near, watched } = links()
    const heard: string[] = []
    near.watch<{ state: string }>(of, ({ state }) => heard.push(state))
    await turn()
    for (const snapshot of [begun, running, blocked]) watched[0]!.push(snapshot)
    await turn()
    expect(heard).toEqual(['NotStarted', 'Blocked'])
  })

  it('of what is too large goes another way, and what follows does not overtake it', async () => {
    const { near, watched, control, data, said } = links()
    control[1].most = 200
    const heard: { state: string; history: unknown[] }[] = []
    near.watch<(typeof heard)[number]>(of, (snapshot) => heard.push(snapshot))
    await turn()
    watched[0]!.push(blocked)
    await turn()
    const history = Array.from({ length: 20 }, () => ({ state: 'Blocked', at }))
    watched[0]!.push({ ...blocked, history })
    await turn()
    watched[0]!.push({ ...over, history: [] })
    await turn()
    expect(heard.map(({ state, history: { length } }) => [state, length])).toEqual([
      ['Blocked', 2],
      ['Blocked', 20],
      ['Completed', 0],
    ])
    expect([said(control[1]), said(data[1])]).toEqual([['state'], ['blob', 'blob']])
  })

  it('of an actor that changes all the time has one change on its way, whoever is slow to take it', async () => {
    const { near, watched, control } = links()
    const actor = { session: 's', job: 'j', actor: 1 }
    const active = { status: 'active', epoch: 1, seq: 0, value: 'on' }
    const heard: { seq: number }[] = []
    near.watch<{ seq: number }>(actor, (state) => heard.push(state))
    await turn()
    const { promise: room, resolve } = Promise.withResolvers<void>()
    control[1].room = room
    for (let seq = 1; seq <= 10_000; seq++) watched[0]!.push({ ...active, seq })
    await turn()
    expect(control[1].sent).toHaveLength(1)
    control[1].room = undefined
    resolve()
    await turn()
    // What has happened in between is one more.
    expect(control[1].sent).toHaveLength(2)
    expect(heard.map(({ seq }) => seq)).toEqual([1, 10_000])
    // Its end does not wait.
    control[1].room = new Promise(() => undefined)
    watched[0]!.push({ ...active, seq: 10_001 })
    watched[0]!.push({ ...active, seq: 10_002 })
    watched[0]!.push({ ...active, status: 'done', seq: 10_003 })
    await turn()
    expect(heard.at(-1)).toMatchObject({ status: 'done', seq: 10_003 })
    expect(control[1].sent).toHaveLength(4)
  })

  it('ends with its link, and says why', async () => {
    const { near } = links()
    const lost: unknown[] = []
    near.watch(
      of,
      () => {},
      (cause) => lost.push(cause?.message),
    )
    await turn()
    near.abort(new Error('cut'))
    expect(lost).toEqual(['cut'])
  })
})

describe('a start that is watched', () => {
  it('begins with its answer: three messages are all', async () => {
    const { near, watched, start, control, said } = links()
    const heard: string[] = []
    const job = (await start()) as { instanceId: string }
    near.watch<{ state: string }>({ ...session, job: job.instanceId }, ({ state }) => heard.push(state))
    await turn()
    // The server may say at once what the answer has said.
    for (const snapshot of [begun, running, over]) watched[0]!.push(snapshot)
    await turn()
    expect([heard, watched[0]!.stopped]).toEqual([['Completed'], true])
    expect([said(control[0]), said(control[1])]).toEqual([['ask'], ['ok', 'state']])
    expect(control[1].sent[1]).toMatchObject({ changed: { state: 'Completed' } })
  })

  it('has its news kept until it is listened to in the same turn', async () => {
    const { near, far, watched, start } = links()
    const heard: string[] = []
    const answered = start().then(async () => {
      // What comes with the answer is read before whoever has that gets to listen.
      for (let i = 0; i < 50; i++) await Promise.resolve()
      near.watch<{ state: string }>(of, ({ state }) => heard.push(state))
    })
    for (let i = 0; i < 100 && watched.length === 0; i++) await Promise.resolve()
    watched[0]!.push(over)
    await answered
    expect([heard, far.open]).toEqual([['Completed'], true])
  })

  it('is let go of where nobody listens', async () => {
    const { watched, start, control, said } = links()
    await start()
    await turn()
    await turn()
    expect([watched[0]!.stopped, said(control[0])]).toEqual([true, ['ask', 'unwatch']])
  })

  it('is let go of where it was given up', async () => {
    const { near, watched, control, said } = links()
    const enough = new AbortController()
    const asked = near.ask(
      session,
      { type: 'start', spec: { kind: 'code', command: '', startId: 'x' } },
      { watch: true, signal: enough.signal },
    )
    enough.abort(new Error('enough'))
    await expect(asked).rejects.toThrow('enough')
    await turn()
    await turn()
    expect(said(control[0])).toEqual(['ask', 'give-up', 'unwatch'])
    expect(watched.every(({ stopped }) => stopped)).toBe(true)
  })

  it('of a job that is watched already, or over, is none', async () => {
    const { near, watched, start } = links()
    near.watch(of, () => {})
    await start()
    await turn()
    await turn()
    expect(watched.map(({ stopped }) => stopped)).toEqual([false, true])
    const { start: again, control: ends } = links(() => over)
    await again()
    expect(ends[1].sent).toEqual([{ t: 'ok', id: expect.any(Number), value: over }])
  })

  it('is none beside too many', () => {
    const watches = new Watches('far', () => {})
    for (let n = 1; n < OPEN_WATCHES; n++) watches.watch({ job: `${n}` }, () => {}, undefined)
    expect(watches.offer()).toBe(OPEN_WATCHES)
    watches.watch(of, () => {}, undefined)
    expect(watches.offer()).toBeUndefined()
  })

  it('whose answer is too large has its news behind that', async () => {
    const { near, watched, start, control, data, said } = links()
    control[1].most = 50
    const heard: string[] = []
    const asked = start()
    for (let i = 0; i < 100 && watched.length === 0; i++) await Promise.resolve()
    for (let i = 0; i < 10; i++) await Promise.resolve()
    watched[0]!.push(blocked)
    await asked
    near.watch<{ state: string }>(of, ({ state }) => heard.push(state))
    await turn()
    watched[0]!.push(over)
    await turn()
    expect(heard.at(-1)).toBe('Completed')
    expect([said(control[1]), said(data[1])]).toEqual([[], ['blob', 'blob', 'blob']])
  })
})
