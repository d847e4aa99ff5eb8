// What is seen of an actor through the job that it is: everything known of it, what has happened in it, and what becomes of an
// event that is sent to it; here, on another peer, in a process of its own, and over a link that is lost.
import { describe, expect, test } from 'vitest'
import type { ActorHost } from '../src/actor-host.ts'
import { ActorGoneError } from '../src/errors.ts'
import { FollowedActors, FOLLOWED_MOST } from '../src/followed-actors.ts'
import { createPeer, type ActorTransition, type Job, type JobSnapshot, type Peer, type Session } from '../src/index.ts'
import type { PeerRef } from '../src/peer-handle.ts'
import { machineSpec } from '../src/work.ts'
import { counter, machines, review, worker } from './fixtures/machines.ts'
import { machines as processMachines, review as processReview } from './fixtures/process-machines.ts'
import { pair } from './support/pair.ts'
import { refusal, until, within } from './support/peers.ts'

const GRANTS = ['connect', 'run:script', 'spawn:review', 'spawn:counter', 'spawn:worker'] as const

interface Place extends AsyncDisposable {
  readonly table: Pick<Session, 'startMachine' | 'start' | 'job'>
  /** The link is lost, and there again. */
  readonly lose?: () => void
}

const places: Record<string, () => Promise<Place>> = {
  async here() {
    const peer: Peer = await createPeer({ name: 'here', machines: [...machines, review] })
    return { table: peer, [Symbol.asyncDispose]: () => peer.close() }
  },
  async 'in a host process'() {
    const peer: Peer = await createPeer({ name: 'here', machines: [...processMachines, processReview] })
    return { table: peer, [Symbol.asyncDispose]: () => peer.close() }
  },
  async 'on another peer'() {
    const both = await pair({ far: { machines: [...machines, review], policy: { peers: { here: [...GRANTS] } } } })
    const session = await both.here.connect('far')
    return {
      table: session,
      lose: () => both.network.lose('here', 'far'),
      [Symbol.asyncDispose]: () => both[Symbol.asyncDispose](),
    }
  },
}

const line = ({ event, from, to, ignored }: ActorTransition): string =>
  `${event}: ${ignored ? 'ignored' : `${JSON.stringify(from)} → ${JSON.stringify(to)}`}`

describe.each(Object.entries(places))('%s', (_, make) => {
  test('everything known of an actor', async () => {
    await using place = await make()
    const job = await place.table.startMachine(review, { name: 'mine' })
    expect(job.snapshot).toMatchObject({ type: 'MachineJob', name: 'mine', state: 'Running', command: 'review' })
    const seen = await job.inspect()
    expect(seen).toMatchObject({
      machine: 'review',
      address: { path: `${job.snapshot.session}/${job.instanceId}`, epoch: 1, machine: 'review' },
      durable: false,
      status: 'active',
      value: 'waiting',
      context: { notes: 0, open: false },
      accepts: ['approve', 'note', 'close', 'ask'],
      inbox: 0,
      transitions: [],
    })
    // The next first; by the clock of its peer.
    expect(seen.timers.map(({ event }) => event)).toEqual(['after patience (3600000 ms)', 'after 7200000 ms'])
    const left = seen.timers[0]!.due.getTime() - seen.at.getTime()
    expect(left).toBeGreaterThan(3_500_000)
    expect(left).toBeLessThanOrEqual(3_600_000)
    // As it is called, what of it is public, and where it is.
    expect(seen.chart).toMatchObject({
      key: 'review',
      active: true,
      initial: 'waiting',
      states: [
        {
          key: 'waiting',
          active: true,
          on: [
            { event: 'approve', public: true, targets: ['approved'], guard: 'isOpen' },
            { event: 'note', public: true, targets: [], actions: ['remember'] },
            { event: 'close' },
            { event: 'ask', targets: ['asking'] },
            { event: 'hidden', public: false },
            // The language puts numbers first.
            { event: 'after 7200000 ms', public: false, targets: ['approved'] },
            { event: 'after patience (3600000 ms)' },
          ],
        },
        { key: 'asking', active: false, invokes: ['lookup'], on: [{ event: 'done of lookup', targets: ['pausing'] }] },
        { key: 'pausing' },
        { key: 'approved', kind: 'final' },
      ],
    })
  })

  test('what has happened in it, by itself too, and what it ignored', async () => {
    await using place = await make()
    const job = await place.table.startMachine(review)
    const seen: ActorTransition[] = []
    const following = (async () => {
      for await (const one of job.transitions()) seen.push(one)
    })()
    for (const type of ['note', 'close', 'approve'] as const)
      await job.tell({ type, ...(type === 'approve' && { by: 'Ann' }) })
    // In one batch: it is away for some 20 ms.
    await Promise.all(['ask', 'note', 'close'].map((type) => job.tell({ type })))
    await until('that it waits again', () => seen.some(({ event }) => event === 'after 20 ms'))
    expect(seen.filter(({ event }) => event !== 'close' && event !== 'note').map(line)).toEqual([
      // Its guard did not let it.
      'approve: ignored',
      'ask: "waiting" → "asking"',
      'done of lookup: "asking" → "pausing"',
      'after 20 ms: "pausing" → "waiting"',
    ])
    // What does something and leads nowhere was not ignored, unless its state has nothing for it.
    expect(seen.slice(0, 2).map(line)).toEqual(['note: "waiting" → "waiting"', 'close: "waiting" → "waiting"'])
    expect(seen.filter(({ event }) => event === 'note').map(({ ignored }) => ignored)).toEqual([undefined, true])
    expect(seen.map(({ seq }) => seq)).toEqual(seen.map((one, index) => index + 1))
    expect((await job.inspect()).transitions).toEqual(seen)
    await job.stop()
    await within('the end', following)
  })

  test('who comes later hears of the last sixteen, or of those behind one', async () => {
    await using place = await make()
    const job = await place.table.startMachine(review)
    for (let n = 0; n < 40; n++) await job.tell({ type: 'note' })
    await until('that all are handled', async () => (await job.inspect()).inbox === 0)
    expect((await job.inspect()).transitions.map(({ seq }) => seq)).toEqual(
      Array.from({ length: 16 }, (_, n) => n + 25),
    )
    const first = async (after?: number): Promise<number> => {
      for await (const { seq } of job.transitions(after === undefined ? {} : { after })) return seq
      return -1
    }
    expect(await first()).toBe(25)
    expect(await first(39)).toBe(40)
  })

  test('who follows it hears of all that led to its end, however quick that was', async () => {
    await using place = await make()
    const job = await place.table.startMachine(counter)
    const following = job.transitions()[Symbol.asyncIterator]()
    await job.tell({ type: 'pause' })
    expect(line((await following.next()).value!)).toBe('pause: "counting" → "paused"')
    // Nobody asks while it ends.
    for (const type of ['go on', 'finish']) await job.tell({ type })
    expect((await job.wait()).state).toBe('Completed')
    const rest: string[] = []
    for (let step = await following.next(); !step.done; step = await following.next()) rest.push(line(step.value))
    expect(rest).toEqual(['go on: "paused" → "counting"', 'finish: "counting" → "finished"'])
    // Whoever asks only now is told nothing: what it was is known no more.
    expect(await Array.fromAsync(job.transitions())).toEqual([])
    expect(await refusal('inspect', () => job.inspect())).toMatchObject({ code: 'ACTOR_GONE' })
  })

  test('what fails it is told too', async () => {
    await using place = await make()
    const job = await place.table.startMachine(counter)
    const seen: string[] = []
    const following = (async () => {
      for await (const one of job.transitions()) seen.push(line(one))
    })()
    await job.tell({ type: 'note', text: 'x' })
    await until('that it is followed', () => seen.length > 0)
    await job.tell({ type: 'break' })
    await within('the end', following)
    expect((await job.wait()).state).toBe('Failed')
    expect(seen.at(-1)).toBe('break: "counting" → "counting"')
  })

  test('is asked, and what comes of it is never thrown', async () => {
    await using place = await make()
    const job = await place.table.startMachine(counter)
    await job.tell({ type: 'add', n: 7 })
    expect(await job.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 7 })
    const coming = job.ask({ type: 'later' })
    await until('that it has the question', async () => (await job.inspect()).transitions.at(-1)?.event === 'later')
    await job.tell({ type: 'now' })
    expect(await within('its answer', coming)).toEqual({ outcome: 'ok', value: 'now' })
    for (const [event, code] of [
      ['go on', 'EVENT_NOT_ACCEPTED'],
      ['secret', 'INVALID_EVENT'],
    ] as const)
      expect(await job.ask({ type: event })).toMatchObject({ outcome: 'error', error: { code } })
    expect(await job.ask({ type: 'note', text: 'x' }, { timeout: 20 })).toMatchObject({
      outcome: 'unknown',
      error: { code: 'OUTCOME_UNKNOWN' },
    })
    const given = job.ask({ type: 'later' }, { signal: AbortSignal.timeout(20) })
    expect((await refusal('it was given up', () => given)).name).toBe('TimeoutError')
    await job.stop()
    expect(await job.ask({ type: 'total' })).toMatchObject({ outcome: 'error', error: { code: 'ACTOR_GONE' } })
    const other: Job = await place.table.start({ code: 'await sleep(60_000)' })
    expect(await other.ask({ type: 'total' })).toMatchObject({ outcome: 'error', error: { code: 'USAGE' } })
    await other.stop()
  })

  test('an event that it does not take is refused, and what is no actor takes none', async () => {
    await using place = await make()
    const job = await place.table.startMachine(review)
    expect(await refusal('not public', () => job.tell({ type: 'hidden' }))).toMatchObject({ code: 'INVALID_EVENT' })
    expect(await refusal('does not fit', () => job.tell({ type: 'approve' }))).toMatchObject({
      code: 'INVALID_EVENT',
      message: expect.stringContaining('a name') as string,
    })
    expect((await job.inspect()).transitions).toEqual([])
    await job.stop()
    expect(await refusal('gone', () => job.tell({ type: 'note' }))).toMatchObject({ code: 'ACTOR_GONE' })
    const other: Job = await place.table.start({ code: 'await sleep(60_000)' })
    expect(await refusal('no actor', () => other.tell({ type: 'note' }))).toMatchObject({ code: 'USAGE' })
    expect(await refusal('no actor', () => other.inspect())).toMatchObject({ code: 'USAGE' })
    expect(await refusal('no actor', () => Array.fromAsync(other.transitions()))).toMatchObject({ code: 'USAGE' })
    await other.stop()
  })

  test('a machine that is not offered, or an input that does not fit, starts nothing', async () => {
    await using place = await make()
    const none = await refusal('not offered', () => place.table.startMachine('nobody'))
    expect(['MACHINE_NOT_OFFERED', 'DENIED']).toContain((none as { code?: string }).code)
    const input = { input: { from: 'x' as never } }
    // By its name alone nothing is known of it here: it is refused over there.
    expect(await refusal('its input', () => place.table.startMachine('counter', input))).toMatchObject({
      code: 'INVALID_INPUT',
    })
    expect(await refusal('its input', () => place.table.startMachine(counter, input))).toMatchObject({
      code: 'INVALID_INPUT',
    })
  })

  test('one that is given up ends', async () => {
    await using place = await make()
    const job = await place.table.startMachine(worker)
    const leave = new AbortController()
    const following = Array.fromAsync(job.transitions({ signal: leave.signal }))
    await job.tell({ type: 'rest', ms: 60_000 })
    leave.abort()
    await within('the end of following', following)
    expect((await job.inspect()).value).toBe('resting')
  })
})

test('a job that is tried again is followed through its attempts', async () => {
  await using peer = await createPeer({ name: 'here', machines })
  const { local } = (peer as unknown as { via: PeerRef }).via
  // A spawned machine is not tried again; a supervisor does that, and this is what its parts are made of.
  const spec = { ...(await machineSpec(counter, {})), retry: { times: 1, delay: 1, factor: 1 } }
  const { instanceId } = (await local.request({ type: 'start', spec })) as JobSnapshot
  const job = await peer.job(instanceId)
  const seen: string[] = []
  const following = (async () => {
    for await (const one of job.transitions()) seen.push(`${one.seq} ${line(one)}`)
  })()
  await job.tell({ type: 'pause' })
  await until('that it is followed', () => seen.length === 1)
  await job.tell({ type: 'break' })
  await until('its second attempt', () => job.snapshot.epoch === 2 && job.state === 'Running')
  await job.tell({ type: 'pause' })
  await until('that it is followed', () => seen.length === 3)
  await job.tell({ type: 'finish' })
  await within('the end', following)
  expect(seen).toEqual([
    '1 pause: "counting" → "paused"',
    '2 break: "paused" → "paused"',
    '1 pause: "counting" → "paused"',
    '2 finish: "paused" → "finished"',
  ])
})

test('following goes on over a link that was lost: nothing twice, nothing missed', async () => {
  await using place = await places['on another peer']!()
  const job = await place.table.startMachine(review)
  const seen: number[] = []
  const following = (async () => {
    for await (const { seq } of job.transitions()) seen.push(seq)
  })()
  for (let n = 1; n <= 30; n++) {
    await job.tell({ type: 'note' })
    if (n % 10 === 0) {
      await until('what was told', () => seen.at(-1) === n)
      place.lose!()
    }
  }
  await job.tell({ type: 'note' })
  await until('the last one', () => seen.at(-1) === 31)
  expect(seen).toEqual(Array.from({ length: 31 }, (_, n) => n + 1))
  await job.stop()
  await within('the end', following)
})

test('of so many actors that have ended who follows them is told the rest, and of no more', async () => {
  const followed = new FollowedActors()
  const actor = (name: number): ActorHost => ({ name }) as unknown as ActorHost
  const gone = (): never => {
    throw new ActorGoneError('it has ended')
  }
  for (let n = 0; n <= FOLLOWED_MOST; n++) await followed.followed(String(n), () => actor(n))
  expect(await refusal('the first', () => followed.followed('0', gone))).toMatchObject({ code: 'ACTOR_GONE' })
  expect(await followed.followed('1', gone)).toEqual({ name: 1 })
  const other = await refusal('another error', () =>
    followed.followed('1', () => {
      throw new Error('no such job')
    }),
  )
  expect(other.message).toBe('no such job')
})
