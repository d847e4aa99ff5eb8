// What nobody waits for: it goes ahead of what shows that it is so, or soon, and it is never lost or out of its place.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Link, type JobReading, type LinkServer } from '../src/link.ts'
import { singleRecord } from '../src/record.ts'
import type { JobSnapshot } from '../src/surface.ts'
import type { SessionEvent } from '../src/wire.ts'
import { Half } from './support/half.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => vi.useRealTimers())

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const to = { session: 's' }
const job = { state: 'Completed', streamed: false, location: 'here', children: [], command: 'long', id: 0 }

/** The answering side of a link, and what stands behind it. */
class Answering implements LinkServer {
  readonly control = new Half()
  readonly data = new Half()
  readonly link: Link = new Link(this.control, this.data, { client: 'c' }, this)
  /** What is pushed to who watches the session. */
  push: (snapshot: unknown) => void = () => {}
  goOn: () => void = () => {}

  async handle(_: Link, __: unknown, { type }: { type: string }): Promise<unknown> {
    if (type === 'close') throw new Error('refused')
    return { large: 'answer' }
  }

  async *read(): JobReading {
    await new Promise<void>((resolve) => (this.goOn = resolve))
    yield { job: 'j', location: 'here', first: 0, from: 0, ...singleRecord('output', 1) }
    await new Promise<void>((resolve) => (this.goOn = resolve))
    return job as unknown as JobSnapshot
  }

  watch(_: Link, __: unknown, push: (snapshot: unknown) => void): () => void {
    this.push = push
    return () => {}
  }

  async asked(id: number, event: SessionEvent, late = true): Promise<void> {
    this.control.says({ t: 'ask', id, to, event, ...(late && { late }) })
    await turn()
  }

  async watched(): Promise<void> {
    this.control.says({ t: 'watch', w: 7, to })
    await turn()
  }
}

let far: Answering
beforeEach(() => (far = new Answering()))
afterEach(() => far.link.close())

const states = (): unknown[] =>
  far.control.sent.flatMap((message) => {
    const { t, snapshot, changed } = message as { t: string } & Record<'snapshot' | 'changed', { availability: string }>
    return t === 'state' ? [(snapshot ?? changed).availability] : []
  })

test('a late answer comes without a value and soon, though nothing else is said; another one at once', async () => {
  await far.asked(1, { type: 'session' })
  expect(far.control.sent).toEqual([])
  await far.asked(2, { type: 'session' }, false)
  expect(far.control.sent).toEqual([{ t: 'ok', id: 2, value: { large: 'answer' } }])
  await vi.advanceTimersByTimeAsync(5)
  expect(far.control.sent.slice(1)).toEqual([{ t: 'ok', id: 1 }])
})

test('a refusal is never late', async () => {
  await far.asked(1, { type: 'close' })
  expect(far.control.sent).toMatchObject([{ t: 'no', id: 1, error: { message: 'refused' } }])
})

test('what is late goes ahead of the next chunk, and of the end', async () => {
  await far.watched()
  far.control.says({ t: 'read', r: 1, to: { ...to, job: 'j' }, read: { reader: 'owner' }, credit: 1000 })
  await far.asked(1, { type: 'session' })
  far.push({ availability: 'Busy' })
  expect([far.control.sent, far.data.sent]).toEqual([[], []])
  far.goOn()
  await turn()
  expect(far.data.sent).toMatchObject([{ t: 'chunk' }])
  expect(far.control.sent).toEqual([
    { t: 'ok', id: 1 },
    { t: 'state', w: 7, snapshot: { availability: 'Busy' } },
  ])
  await far.asked(2, { type: 'session' })
  far.goOn()
  await turn()
  expect(far.data.sent[1]).toMatchObject({ t: 'end', job: { command: 'long' } })
  expect(far.control.sent[2]).toEqual({ t: 'ok', id: 2 })
})

test('of a session that was busy for a moment nothing is told; of one that stays so, and then is not, both', async () => {
  await far.watched()
  far.push({ availability: 'Available' })
  await vi.advanceTimersByTimeAsync(5)
  far.push({ availability: 'Busy' })
  far.push({ availability: 'Available' })
  await vi.advanceTimersByTimeAsync(5)
  expect(states()).toEqual(['Available'])
  far.push({ availability: 'Busy' })
  await vi.advanceTimersByTimeAsync(5)
  far.push({ availability: 'Available' })
  await vi.advanceTimersByTimeAsync(5)
  expect(states()).toEqual(['Available', 'Busy', 'Available'])
})

test('who watches anew is told, also what was told before', async () => {
  await far.watched()
  far.push({ availability: 'Available' })
  await vi.advanceTimersByTimeAsync(5)
  far.control.says({ t: 'unwatch', w: 7 })
  await far.watched()
  far.push({ availability: 'Available' })
  await vi.advanceTimersByTimeAsync(5)
  expect(states()).toEqual(['Available', 'Available'])
})

test('no more than 64 wait', async () => {
  for (let id = 1; id <= 63; id++) far.control.says({ t: 'ask', id, to, event: { type: 'session' }, late: true })
  await turn()
  expect(far.control.sent.length).toBe(0)
  await far.asked(64, { type: 'session' })
  expect(far.control.sent.length).toBe(64)
})

test('a link that is closed says it first, and leaves no timer behind', async () => {
  await far.asked(1, { type: 'session' })
  await far.link.close()
  expect(far.control.sent).toEqual([{ t: 'ok', id: 1 }, { t: 'bye' }])
  expect(vi.getTimerCount()).toBe(0)
})

test('one that breaks leaves none either', async () => {
  await far.asked(1, { type: 'session' })
  far.control.goes(new Error('cut'))
  await turn()
  // The other channel had time to break as well.
  await vi.advanceTimersByTimeAsync(250)
  await far.link.closed
  expect(vi.getTimerCount()).toBe(0)
})

test('a brief read ends with how it ended, and nothing else', async () => {
  const read = { reader: 'owner', brief: true }
  far.control.says({ t: 'read', r: 1, to: { ...to, job: 'j' }, read, credit: 1000 })
  for (let step = 0; step < 2; step++) {
    await turn()
    far.goOn()
  }
  await turn()
  expect(far.data.sent[1]).toEqual({
    t: 'end',
    r: 1,
    job: { state: 'Completed', reason: undefined, streamed: false, location: 'here', children: [] },
  })
})
