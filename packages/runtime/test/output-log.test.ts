import { describe, expect, it } from 'vitest'
import { OutputLog, OWNER } from '../src/output-log.ts'
import { CREDIT_BYTES, RecordWriter, recordsOf, type Chunk, type RawChunk } from '../src/record.ts'
import { memoryStore } from '../src/store/memory.ts'

const raw = (count: number, size = 10, errors = 0): RawChunk => ({ count, errors, bytes: new Uint8Array(size) })

async function logWith(limit = 1000): Promise<{ log: OutputLog; credits: number[] }> {
  const credits: number[] = []
  const log = new OutputLog(await memoryStore().log('job'), limit, (bytes) => credits.push(bytes))
  return { log, credits }
}

async function* reading(log: OutputLog, follow?: boolean, signal?: AbortSignal): AsyncGenerator<Chunk> {
  const until = log.endOf(follow)
  for (let next = 0; ;) {
    const chunks = await log.more(next, until, signal)
    if (chunks.length === 0) return
    yield* chunks
    next = chunks.at(-1)!.first + chunks.at(-1)!.count
  }
}

async function all(chunks: AsyncIterable<Chunk>): Promise<number[]> {
  const firsts: number[] = []
  for await (const { first } of chunks) firsts.push(first)
  return firsts
}

describe('the output log', () => {
  it('numbers chunks in order of arrival and counts errors without decoding', async () => {
    const { log } = await logWith()
    log.append(raw(2))
    log.append(raw(3, 10, 2))
    expect([log.end, log.errors]).toEqual([5, 2])
    expect(await all(reading(log))).toEqual([0, 2])
  })

  it('is there again when its job has ended, also where nothing was said', async () => {
    const { log } = await logWith()
    log.append(raw(2))
    const again = OutputLog.over(log.stored)
    expect([again.sealed, again.end, again.hasMoreData]).toEqual([true, 2, true])
    expect(await all(reading(again, true))).toEqual([0])
    const empty = OutputLog.over()
    expect([empty.sealed, empty.end, empty.hasMoreData]).toEqual([true, 0, false])
    expect(await all(reading(empty, true))).toEqual([])
    await empty.acknowledge(OWNER, 0)
  })

  it('gives a reader what there is and ends, unless it follows', async () => {
    const { log } = await logWith()
    log.append(raw(1))
    const chunks = reading(log)
    expect((await chunks.next()).value?.first).toBe(0)
    log.append(raw(1))
    expect((await chunks.next()).done).toBe(true)
  })

  it('gives a follower what comes until the log is sealed', async () => {
    const { log } = await logWith()
    const followed = all(reading(log, true))
    log.append(raw(1))
    await new Promise((resolve) => setImmediate(resolve))
    log.append(raw(1))
    await log.seal()
    expect(await followed).toEqual([0, 1])
  })

  it('lets a follower go when its signal aborts', async () => {
    const { log } = await logWith()
    const abort = new AbortController()
    const followed = all(reading(log, true, abort.signal))
    abort.abort()
    expect(await followed).toEqual([])
  })

  it('has more data until it is sealed and the owner has read it; other readers do not count', async () => {
    const { log } = await logWith()
    log.append(raw(2))
    expect(log.hasMoreData).toBe(true)
    await log.acknowledge(OWNER, 2)
    expect(log.hasMoreData).toBe(true)
    await log.seal()
    expect(log.hasMoreData).toBe(false)
    const { log: second } = await logWith()
    second.append(raw(2))
    await second.seal()
    await second.acknowledge('somebody', 2)
    expect(second.hasMoreData).toBe(true)
  })

  it('gives credit back at once while the owner is within the limit', async () => {
    const { log, credits } = await logWith()
    log.append(raw(1, 60))
    expect(credits).toEqual([60])
  })

  it('keeps the credit back when the owner leaves too much unread, and gives it when it reads', async () => {
    const { log, credits } = await logWith()
    for (let count = 0; count < 4; count++) log.append(raw(1, 60))
    expect(credits).toEqual([60])
    expect(log.paused).toBe(true)
    await log.acknowledge('somebody', 4)
    expect(credits).toEqual([60])
    await log.acknowledge(OWNER, 3)
    expect(credits).toEqual([60, 180])
    expect(log.paused).toBe(false)
  })

  it('takes a copy only where it ends: what it has is skipped, a hole is refused', async () => {
    const { log, credits } = await logWith()
    log.begin(0, 42)
    log.append(raw(5), 40)
    expect([log.start, log.end, log.cursor(OWNER)]).toEqual([40, 45, 42])
    log.append(raw(5), 40)
    expect(log.end).toBe(45)
    // Its bytes are credit all the same: the sender counted them.
    expect(credits).toEqual([10, 10])
    expect(() => log.append(raw(1), 46)).toThrow(/ends at 45/)
  })

  it('takes nothing after it was sealed', async () => {
    const { log } = await logWith()
    await log.seal()
    log.append(raw(1))
    expect(log.end).toBe(0)
  })
})

describe('the record writer', () => {
  const flushed = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  it('encodes at once: what the script changes afterwards is not what was said', async () => {
    const chunks: RawChunk[] = []
    const writer = new RecordWriter((chunk) => chunks.push(chunk))
    const value = { n: 0 }
    for (let n = 1; n <= 3; n++) {
      value.n = n
      writer.write('output', value)
    }
    await flushed()
    // One, or several where the machine took its time.
    const records = chunks.flatMap((chunk) => recordsOf({ ...chunk, first: 0, from: 0, job: 'j', location: 'l' }))
    expect(records.map((record) => (record as { value: unknown }).value)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
  })

  it('sends while there is credit, then waits; the ending sends everything', async () => {
    const chunks: RawChunk[] = []
    const writer = new RecordWriter((chunk) => chunks.push(chunk))
    const big = 'x'.repeat(70_000)
    for (let n = 0; n < 10; n++) writer.write('output', big)
    const sent = chunks.length
    expect(sent).toBe(Math.ceil(CREDIT_BYTES / 70_000))
    expect(writer.full).toBe(true)
    writer.credit(70_000)
    expect(chunks.length).toBe(sent + 1)
    writer.end()
    expect(chunks.length).toBe(10)
  })

  it('wakes who waits for credit, and who is told to stop', async () => {
    const writer = new RecordWriter(() => undefined, 1)
    writer.write('output', 'x')
    await flushed()
    const abort = new AbortController()
    const woken: string[] = []
    const first = writer.ready(abort.signal).then(() => woken.push('credit'))
    writer.credit(100)
    await first
    writer.write('output', 'x'.repeat(200))
    await flushed()
    const second = writer.ready(abort.signal).then(() => woken.push('abort'))
    abort.abort()
    await second
    expect(woken).toEqual(['credit', 'abort'])
  })

  it('refuses at its bound what was said without a yield', () => {
    const writer = new RecordWriter(() => undefined, 0)
    const big = 'x'.repeat(1 << 20)
    expect(() => {
      for (let n = 0; n < 40; n++) writer.write('warning', big)
    }).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })

  it('drops and marks what cannot travel, and goes on', async () => {
    const chunks: RawChunk[] = []
    const writer = new RecordWriter((chunk) => chunks.push(chunk))
    writer.write('output', { good: 1, bad: () => 1 })
    await flushed()
    const [record] = recordsOf({ ...chunks[0]!, first: 0, from: 0, job: 'j', location: 'l' })
    expect(record).toMatchObject({
      kind: 'output',
      value: { good: 1, bad: { $dropped: expect.stringContaining('function') } },
    })
  })
})
