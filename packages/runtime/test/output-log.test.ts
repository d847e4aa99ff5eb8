import { describe, expect, it } from 'vitest'
import { OutputLog, OWNER } from '../src/output-log.ts'
import fc from 'fast-check'
import { CREDIT_BYTES, gapChunk, isGap, RecordWriter, recordsOf, type Chunk, type RawChunk } from '../src/record.ts'
import { memoryStore } from '../src/store/memory.ts'
import type { StoredLog } from '../src/store/store.ts'
import type { Buffering } from '../src/surface.ts'
import { SlowLog } from './support/scripted-engine.ts'

const raw = (count: number, size = 10, errors = 0): RawChunk => ({ count, errors, bytes: new Uint8Array(size) })

async function logWith(
  limit = 1000,
  buffering: Buffering = 'block',
  stored?: StoredLog,
): Promise<{ log: OutputLog; credits: number[] }> {
  const credits: number[] = []
  const kept = stored ?? (await memoryStore().log('job'))
  const log = new OutputLog(kept, limit, (bytes) => credits.push(bytes), buffering)
  return { log, credits }
}

/** What a reader gets: `n` for a record, `-n` for a gap of so many; each with its number. */
async function given(log: OutputLog, from: number, until = log.endOf(false)): Promise<(readonly [number, number])[]> {
  const found: (readonly [number, number])[] = []
  for (let next = from; ;) {
    const chunks = await log.more(next, until)
    if (chunks.length === 0) return found
    for (const chunk of chunks) {
      const { first, count } = chunk
      if (first >= until) return found
      if (isGap(chunk)) {
        const [gap] = recordsOf({ ...chunk, from, job: 'j', location: 'l' })
        if (gap?.kind === 'gap') found.push([gap.seq, -gap.dropped])
      } else for (let seq = Math.max(first, from); seq < first + count; seq++) found.push([seq, seq])
      next = first + count
    }
  }
}

/** Every number from `from` to `end` is there once: as a record or in a gap, in order. */
function wholeness(found: readonly (readonly [number, number])[], from: number): { end: number; dropped: number } {
  let [next, dropped] = [from, 0]
  for (const [seq, what] of found) {
    const count = what < 0 ? -what : 1
    expect(seq).toBe(next + count - 1)
    next += count
    if (what < 0) dropped += count
  }
  return { end: next, dropped }
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

it('is not moved for ever where nothing of it arrives, and goes on where it was', async () => {
  const { log } = await logWith()
  log.append(raw(2))
  const dead: StoredLog = Object.assign(await memoryStore().log('dead'), { append: async () => undefined })
  await expect(log.moveTo(dead)).rejects.toMatchObject({ code: 'STORE_FAILED' })
  log.append(raw(1))
  expect(await given(log, 0)).toEqual([
    [0, 0],
    [1, 1],
    [2, 2],
  ])
})

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

  it('goes on only when the owner is a little below the limit again', async () => {
    const { log, credits } = await logWith(32 * 572)
    for (let count = 0; count < 32; count++) log.append(raw(1, 60))
    expect([log.paused, credits.length]).toEqual([true, 31])
    await log.acknowledge(OWNER, 1)
    expect(log.paused).toBe(true)
    await log.acknowledge(OWNER, 3)
    expect([log.paused, credits.at(-1)]).toEqual([false, 60])
  })

  it('takes nothing more when its store has refused a chunk, and says so once', async () => {
    const refused: Error[] = []
    let fails = false
    const stored = new SlowLog(async () => {
      if (fails) throw new Error('the disk is gone')
    })
    const log = new OutputLog(stored, 1000, () => {})
    log.onFailed((error) => refused.push(error))
    log.append(raw(2))
    await log.settled
    fails = true
    log.append(raw(1))
    log.append(raw(1))
    await log.seal()
    expect(refused.map(({ message }) => message)).toEqual(['the disk is gone'])
    expect(stored.accepted).toBe(2)
  })

  it('takes nothing after it was sealed', async () => {
    const { log } = await logWith()
    await log.seal()
    log.append(raw(1))
    expect(log.end).toBe(0)
  })
})

describe('a log that drops', () => {
  it('keeps no producer back: the oldest go, and a gap says how many where a reader meets it', async () => {
    const { log, credits } = await logWith(10 * 522, 'drop')
    for (let count = 0; count < 100; count++) log.append(raw(3))
    expect([log.paused, credits.length, log.end]).toEqual([false, 100, 300])
    expect(log.start).toBeGreaterThan(260)
    const found = await given(log, log.cursor(OWNER))
    expect(found[0]).toEqual([log.start - 1, -log.start])
    expect(wholeness(found, 0)).toEqual({ end: 300, dropped: log.start })
    // Who never came before has missed as much, and who comes for some of it that.
    expect(log.cursor('new')).toBe(0)
    expect((await given(log, 200))[0]).toEqual([log.start - 1, -(log.start - 200)])
    // Told once: the owner goes on behind it.
    await log.acknowledge(OWNER, log.start)
    expect(wholeness(await given(log, log.cursor(OWNER)), log.start)).toEqual({ end: 300, dropped: 0 })
  })

  it('drops nothing of which its owner keeps up, whatever others have left', async () => {
    const { log } = await logWith(10 * 522, 'drop', (await memoryStore({ logLimit: 10 * 522 }).log('job')) as StoredLog)
    await log.acknowledge('slow', 0)
    for (let count = 0; count < 100; count++) {
      log.append(raw(1))
      if (count === 30) await log.acknowledge('slow', 5)
      expect(log.start).toBeLessThanOrEqual(log.cursor(OWNER))
      await log.acknowledge(OWNER, count + 1)
    }
    // Retention took what its owner has read; who was slower is told.
    const found = await given(log, log.cursor('slow'))
    expect(found[0]).toEqual([log.start - 1, 5 - log.start])
    expect(wholeness(found, 5).end).toBe(100)
  })

  it('keeps the newest, however large it is', async () => {
    const { log, credits } = await logWith(1000, 'drop')
    for (let count = 0; count < 3; count++) log.append(raw(2, 5000))
    expect([log.start, log.end, credits.length]).toEqual([4, 6, 3])
    expect(await given(log, 0)).toEqual([
      [3, -4],
      [4, 4],
      [5, 5],
    ])
  })

  it('tells a reader in the middle of the log what went meanwhile, and one that does not follow no more than its part', async () => {
    const { log } = await logWith(10 * 522, 'drop')
    for (let count = 0; count < 8; count++) log.append(raw(1))
    const until = log.endOf(false)
    expect((await log.more(0, until)).length).toBe(8)
    for (let count = 0; count < 40; count++) log.append(raw(1))
    expect(log.start).toBeGreaterThan(8)
    expect(await given(log, 4, until)).toEqual([[7, -4]])
    expect(wholeness(await given(log, 4), 4).end).toBe(48)
    expect((await log.more(8, until)).length).toBe(0)
  })

  it('lets a producer go that waits when it becomes one, and keeps one back when it is one no more', async () => {
    const { log, credits } = await logWith(10 * 522)
    let news = 0
    log.onChange(() => news++)
    for (let count = 0; count < 12; count++) log.append(raw(1))
    expect([log.paused, credits.length]).toEqual([true, 9])
    news = 0
    log.setBuffering('drop')
    expect([log.paused, credits.at(-1), news]).toEqual([false, 30, 1])
    expect(wholeness(await given(log, 0), 0)).toEqual({ end: 12, dropped: log.start })
    log.setBuffering('block')
    while (!log.paused) log.append(raw(1))
    const { start } = log
    log.append(raw(1))
    expect([log.paused, log.start]).toEqual([true, start])
  })

  it('waits for a store that takes its time to forget, and not for ever where it cannot', async () => {
    const kept = (await memoryStore().log('job')) as StoredLog
    const asked: PromiseWithResolvers<void>[] = []
    const slow: StoredLog = Object.assign(Object.create(kept) as StoredLog, {
      append: (chunk: Chunk) => kept.append(chunk),
      read: (from: number, most: number) => kept.read(from, most),
      cursor: (reader: string) => kept.cursor(reader),
      bytesFrom: (seq: number) => kept.bytesFrom(seq),
      setCursor: (reader: string, seq: number) => kept.setCursor(reader, seq),
      forget: async (seq: number) => {
        asked.push(Promise.withResolvers())
        await asked.at(-1)!.promise
        await kept.forget(seq)
      },
    })
    for (const name of ['start', 'end', 'accepted'] as const) {
      Object.defineProperty(slow, name, { get: () => kept[name] })
    }
    const { log, credits } = await logWith(10 * 522, 'drop', slow)
    for (let count = 0; count < 12; count++) log.append(raw(1))
    // Asked once, however much comes meanwhile.
    expect([asked.length, credits.length]).toEqual([1, 9])
    asked[0]!.reject(new Error('the disk is full'))
    await new Promise((resolve) => setImmediate(resolve))
    log.append(raw(1))
    expect(asked.length).toBe(2)
    asked[1]!.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    expect(credits.reduce((sum, bytes) => sum + bytes, 0)).toBe(130)
    expect(wholeness(await given(log, 0), 0)).toEqual({ end: 13, dropped: log.start })
  })

  it('copies a gap as one chunk, with the numbers of all that is gone, and what it has not of one that it has in part', async () => {
    const { log: copy, credits } = await logWith(10_000)
    copy.append(raw(5), 0)
    copy.append(gapChunk(100), 5)
    copy.append(raw(5), 105)
    expect([copy.end, credits.length]).toEqual([110, 3])
    expect(wholeness(await given(copy, 0), 0)).toEqual({ end: 110, dropped: 100 })
    expect((await given(copy, 50))[0]).toEqual([104, -55])
    // Read again over there, from 0: by then more had gone.
    copy.append(gapChunk(130), 0)
    expect(copy.end).toBe(130)
    expect(credits.at(-1)).toBe(gapChunk(130).bytes.byteLength)
    expect(wholeness(await given(copy, 0), 0)).toEqual({ end: 130, dropped: 120 })
    copy.append(gapChunk(130), 0)
    expect(copy.end).toBe(130)
  })

  it('says a gap for what its store has left out as damaged, also at the end of what there is', async () => {
    const { log } = await logWith()
    for (let count = 0; count < 5; count++) log.append(raw(2))
    const stored = log.stored as { read: StoredLog['read'] }
    const read = stored.read.bind(log.stored)
    stored.read = async (from, most) => (await read(from, most)).filter(({ first }) => first !== 4 && first !== 8)
    expect(wholeness(await given(log, 0), 0)).toEqual({ end: 10, dropped: 4 })
    expect(await given(log, 8)).toEqual([[9, -2]])
  })

  it('loses nothing without saying so: what came and what is gone is what was said, whatever happens', async () => {
    const act = fc.oneof(
      fc.record({ say: fc.integer({ min: 1, max: 5 }), size: fc.integer({ min: 1, max: 2000 }) }),
      fc.record({ read: fc.integer({ min: 1, max: 8 }) }),
      fc.record({ mode: fc.constantFrom<Buffering>('block', 'drop') }),
    )
    const property = fc.asyncProperty(fc.array(act, { maxLength: 60 }), async (acts) => {
      const { log, credits } = await logWith(
        4000,
        'drop',
        (await memoryStore({ logLimit: 4000 }).log('job')) as StoredLog,
      )
      const found: (readonly [number, number])[] = []
      let [said, next, credit] = [0, 0, 2000]
      const take = async (most: number): Promise<void> => {
        for (const [seq, what] of (await given(log, next)).slice(0, most)) {
          found.push([seq, what])
          next = seq + 1
        }
        await log.acknowledge(OWNER, next)
      }
      for (const one of acts) {
        if ('mode' in one) log.setBuffering(one.mode)
        else if ('read' in one) await take(one.read)
        else if (credit + credits.reduce((sum, bytes) => sum + bytes, 0) > 0) {
          credit -= one.size
          said += one.say
          log.append(raw(one.say, one.size))
        }
        // What is kept unread is bounded in both: by the limit, and what one producer may be ahead.
        expect(log.stored.bytesFrom(log.cursor(OWNER))).toBeLessThan(4000 + 2 * (2000 + 512) + 512 * 60)
        if (!log.paused) expect(credit + credits.reduce((sum, bytes) => sum + bytes, 0)).toBe(2000)
      }
      await take(Number.POSITIVE_INFINITY)
      expect(wholeness(found, 0).end).toBe(said)
    })
    await fc.assert(property, { numRuns: 200 })
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

  it('leaves nothing behind at a signal that lives as long as the script, however often it waits', async () => {
    const writer = new RecordWriter(() => undefined, 1)
    const { signal } = new AbortController()
    let listeners = 0
    signal.addEventListener = () => void listeners++
    signal.removeEventListener = () => void listeners--
    for (let n = 0; n < 10; n++) {
      writer.write('output', 'x'.repeat(200))
      writer.flush()
      const waiting = writer.ready(signal)
      expect(listeners).toBe(1)
      writer.credit(220)
      await waiting
      expect(listeners).toBe(0)
    }
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

describe('a log of which the newest is kept', () => {
  it.each([
    ['nobody reads', false],
    ['all of it is read at once', true],
  ])('has no more than its limit where %s', async (_, reads) => {
    const stored = await memoryStore().log('job')
    let credit = 0
    const log = new OutputLog(stored, 10_000, (bytes) => (credit += bytes), 'drop', 0, true)
    for (let n = 0; n < 1000; n++) {
      log.append(raw(1, 100))
      if (reads) await log.acknowledge(OWNER, log.end)
      expect(log.bytes).toBeLessThanOrEqual(10_000)
    }
    expect([credit, log.paused, log.end]).toEqual([100_000, false, 1000])
    const { end, dropped } = wholeness(await given(log, 0), 0)
    expect(end).toBe(1000)
    expect(dropped).toBeGreaterThan(900)
  })
})
