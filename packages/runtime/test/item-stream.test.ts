// The items of batches one by one: an ItemStream against the async generator that it stands for. Calls in any order, waited
// for or not, give the same answers, and the same is taken at the same point of what goes on behind it.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ItemStream } from '../src/item-stream.ts'

interface Source {
  readonly batches: readonly (readonly number[])[]
  /** Before which batch it waits for something. */
  readonly slow: readonly boolean[]
  readonly end: 'ends' | 'throws'
  readonly close: 'closes' | 'cannot be closed'
}

/** `wait`: for this call and all before it, as `for await` does; otherwise the next comes at once. */
interface Step {
  readonly call: 'next' | 'return' | 'throw' | 'abort'
  readonly wait: boolean
}

type Make = (source: AsyncGenerator<number[], void>, taken: (item: number) => void, signal: AbortSignal) => Stream
type Stream = Pick<AsyncGenerator<number, void>, 'next' | 'return' | 'throw'>

/** What it stands for, written out. */
async function* generator(
  source: AsyncGenerator<number[], void>,
  taken: (item: number) => void,
  signal: AbortSignal,
): AsyncGenerator<number, void> {
  try {
    for (;;) {
      const step = await source.next()
      if (step.done) return
      for (const item of step.value) {
        if (signal.aborted) break
        let isTaken = true
        try {
          yield item
        } catch (error) {
          isTaken = false
          throw error
        } finally {
          if (isTaken) taken(item)
        }
      }
    }
  } finally {
    await source.return()
  }
}

const itemStream: Make = (source, taken, signal) => new ItemStream(source, taken, signal)

/** What came of each call, in the order in which it came; and what went on behind the stream. */
async function play(make: Make, { batches, slow, end, close }: Source, steps: readonly Step[]) {
  const answers: string[] = []
  const behind: string[] = []
  const abort = new AbortController()
  async function* source(): AsyncGenerator<number[], void> {
    try {
      for (const [index, batch] of batches.entries()) {
        behind.push(`asked for batch ${index}`)
        if (slow[index]) await new Promise<void>((resolve) => setImmediate(resolve))
        if (abort.signal.aborted) return
        yield [...batch]
      }
      if (end === 'throws') throw new Error('the source broke')
    } finally {
      behind.push('closed')
      if (close !== 'closes') await Promise.reject(new Error('it cannot be closed'))
    }
  }
  const stream = make(source(), (item) => behind.push(`taken ${item}`), abort.signal)
  const asked: Promise<void>[] = []
  for (const [index, { call, wait }] of steps.entries()) {
    if (call === 'abort') {
      // What was called before, and not waited for, may or may not hear of it.
      await Promise.all(asked)
      abort.abort()
      continue
    }
    const answer =
      call === 'next' ? stream.next() : call === 'return' ? stream.return() : stream.throw(new Error('mine'))
    const told = answer.then(
      ({ value, done }) => void answers.push(`${index} ${call}: ${done ? `done ${String(value)}` : `item ${value}`}`),
      (error: Error) => void answers.push(`${index} ${call}: ! ${error.message}`),
    )
    asked.push(told)
    if (wait) await told
  }
  await Promise.all(asked)
  return { answers, behind }
}

const source: fc.Arbitrary<Source> = fc.array(fc.tuple(fc.nat(4), fc.boolean()), { maxLength: 5 }).chain((shape) => {
  let last = 0
  return fc.record({
    batches: fc.constant(shape.map(([size]) => Array.from({ length: size }, () => ++last))),
    slow: fc.constant(shape.map(([, slow]) => slow)),
    end: fc.constantFrom('ends', 'ends', 'throws'),
    close: fc.constantFrom('closes', 'closes', 'closes', 'cannot be closed'),
  })
})
const step: fc.Arbitrary<Step> = fc.record({
  call: fc.oneof(
    { weight: 12, arbitrary: fc.constant('next' as const) },
    { weight: 1, arbitrary: fc.constantFrom('return', 'throw', 'abort') },
  ),
  wait: fc.boolean(),
})

describe('a stream of items', () => {
  test('gives what an async generator would, whatever is called and whether it is waited for', async () => {
    const plays = fc.asyncProperty(source, fc.array(step, { maxLength: 20 }), async (what, steps) => {
      expect(await play(itemStream, what, steps)).toEqual(await play(generator, what, steps))
    })
    await fc.assert(plays, { numRuns: 500 })
  })

  test('who asks three times at once gets three items, and has taken two', async () => {
    const three: Step[] = Array.from({ length: 3 }, () => ({ call: 'next', wait: false }))
    const batches = [[1, 2], [3]]
    for (const slow of [true, false]) {
      const { answers, behind } = await play(
        itemStream,
        { batches, slow: [slow, slow], end: 'ends', close: 'closes' },
        three,
      )
      expect(answers).toEqual(['0 next: item 1', '1 next: item 2', '2 next: item 3'])
      expect(behind).toEqual(['asked for batch 0', 'taken 1', 'taken 2', 'asked for batch 1'])
    }
  })

  test('who leaves while another waits for an item waits for his turn, and has taken what came', async () => {
    const arrived = Promise.withResolvers<void>()
    const taken: number[] = []
    async function* late(): AsyncGenerator<number[], void> {
      await arrived.promise
      yield [1, 2]
    }
    const stream = new ItemStream(late(), (item) => taken.push(item))
    const item = stream.next()
    const left = stream.return()
    // There is one more, but he comes behind who left.
    const more = item.then(() => stream.next())
    arrived.resolve()
    expect(await item).toEqual({ value: 1, done: false })
    expect(await left).toEqual({ value: undefined, done: true })
    expect(await more).toEqual({ value: undefined, done: true })
    expect(taken).toEqual([1])
  })

  test('it is known for what it stands for', () => {
    async function* none(): AsyncGenerator<number[], void> {}
    const stream = new ItemStream(none(), () => {})
    expect(Object.prototype.toString.call(stream)).toBe('[object AsyncGenerator]')
    expect(stream[Symbol.asyncIterator]()).toBe(stream)
  })

  test('`await using` leaves it', async () => {
    const { behind } = await (async () => {
      const behind: string[] = []
      async function* two(): AsyncGenerator<number[], void> {
        try {
          yield [1, 2]
        } finally {
          behind.push('closed')
        }
      }
      await using stream = new ItemStream(two(), (item) => behind.push(`taken ${item}`))
      await stream.next()
      return { behind }
    })()
    expect(behind).toEqual(['taken 1', 'closed'])
  })
})
