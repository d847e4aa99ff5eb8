// The end of a link, channel by channel: what the other side said before it went is heard.
import { afterEach, expect, test, vi } from 'vitest'
import { Link, type LinkServer } from '../src/link.ts'
import { singleRecord } from '../src/record.ts'
import { Half } from './support/half.ts'

afterEach(() => vi.useRealTimers())

function linked(): { control: Half; data: Half; link: Link; read: () => ReturnType<Link['read']> } {
  const control = new Half()
  const data = new Half()
  const link = new Link(control, data, { client: 'c' })
  return { control, data, link, read: () => link.read({ session: 's', job: 'j' }, { reader: 'owner', follow: true }) }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const said = { job: 'j', location: 'far', first: 0, from: 0, ...singleRecord('output', 1) }

test('what is still on its way on the other channel arrives, also where this side speaks meanwhile', async () => {
  const { control, data, link, read } = linked()
  const reading = read()
  const first = reading.next()
  control.goes()
  // Nobody hears it; what is to be read is not lost for that.
  const stop = link.watch({ session: 's' }, () => {})
  await turn()
  expect(link.open).toBe(false)
  stop()
  await expect(link.ask({}, { type: 'ping' })).rejects.toMatchObject({ code: 'PEER_LOST' })
  await expect(read().next()).rejects.toMatchObject({ code: 'PEER_LOST' })
  data.says({ t: 'chunk', r: 1, ...said })
  data.says({ t: 'end', r: 1, job: { state: 'Stopped' } })
  expect((await first).value).toMatchObject({ first: 0, count: 1 })
  expect(await reading.next()).toMatchObject({ done: true, value: { state: 'Stopped' } })
  data.goes()
  expect(await link.closed).toBeUndefined()
})

test('a side that goes down in order says so behind everything else, and one that breaks does not', async () => {
  const { control, data, link } = linked()
  void link.watch({ session: 's' }, () => {})
  await link.close()
  expect(control.sent.at(-1)).toEqual({ t: 'bye' })
  expect(link.wasLeft).toBe(false)

  const [left, broken] = [linked(), linked()]
  left.control.says({ t: 'bye' })
  left.control.goes()
  left.data.goes()
  expect(await left.link.closed).toBeUndefined()
  expect(left.link.wasLeft).toBe(true)
  broken.control.goes(new Error('cut'))
  await broken.link.closed
  expect(broken.link.wasLeft).toBe(false)
  data.goes()
})

test('a request that was under way fails when the other channel has ended', async () => {
  const { control, data, link } = linked()
  const answer = link.ask({}, { type: 'ping' })
  await turn()
  control.goes()
  await turn()
  data.goes()
  await expect(answer).rejects.toMatchObject({ code: 'PEER_LOST' })
})

test('what had arrived on one channel before it broke is read to its end where the other broke first', async () => {
  const heard: unknown[] = []
  const control = new Half()
  const data = new Half()
  const server = { handle: async (_: Link, __: object, event: object) => void heard.push(event) }
  const link = new Link(control, data, { client: 'c' }, server as unknown as LinkServer)
  const says = (seq: number): void => {
    const event = { type: 'acknowledge', reader: 'owner', seqs: [['j', seq]] }
    control.says({ t: 'ask', id: seq, to: { session: 's', job: 'j' }, event })
  }
  data.goes(new Error('reset'))
  // As a socket gives it: piece by piece, a turn each.
  for (const seq of [1, 2, 3]) {
    await turn()
    expect(link.open).toBe(false)
    says(seq)
  }
  await turn()
  control.goes(new Error('reset, too'))
  expect(await link.closed).toMatchObject({ message: 'reset' })
  expect(heard).toMatchObject([1, 2, 3].map((seq) => ({ seqs: [['j', seq]] })))
})

test('a channel that breaks takes the other with it, soon', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const { control, data, link, read } = linked()
  const first = read().next()
  first.catch(() => {}) // looked at below, when it has failed already
  control.goes(new Error('cut'))
  await turn()
  await vi.advanceTimersByTimeAsync(250)
  expect(await link.closed).toMatchObject({ message: 'cut' })
  await expect(first).rejects.toMatchObject({ code: 'PEER_LOST' })
  await expect(data.send(1)).rejects.toThrow()
  expect(vi.getTimerCount()).toBe(0)
})

test('who talks nonsense is not listened to any longer', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const { control, data, link } = linked()
  control.says({ t: 'nonsense' })
  expect(await link.closed).toMatchObject({ code: 'PROTOCOL' })
  await expect(data.send(1)).rejects.toThrow()
  expect(vi.getTimerCount()).toBe(0)
})

test('one that stays after a goodbye is not waited for for long', async () => {
  vi.useFakeTimers()
  const { control, link, read } = linked()
  const first = read().next()
  first.catch(() => {}) // looked at below, when it has failed already
  control.goes()
  await vi.advanceTimersByTimeAsync(2_000)
  expect(await link.closed).toBeUndefined()
  await expect(first).rejects.toMatchObject({ code: 'PEER_LOST' })
  expect(vi.getTimerCount()).toBe(0)
})
